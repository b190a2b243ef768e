// Rows that have not happened: what a plan will do, in order and without times.

import { css, html, nothing, svg, type TemplateResult } from "lit";
import { box } from "./box.ts";
import { columnsFor, type Columns } from "./columns.ts";
import { head } from "./icons.ts";
import type { View } from "./view.ts";

/** A row that has not happened. */
export interface Planned {
  dir: "out" | "in" | "both";
  layer: "TCP" | "TLS" | "SMTP";
  text: string;
  note: string;
  /** Number of the row, where it is certain. */
  n: number;
  /** Round trip that it would belong to, at its first row. */
  round: number;
}

/** What the plan will do: the commands of a round trip, and then what answers them. */
function planned(v: View): Planned[] {
  const out: Planned[] = [], { steps } = v;
  for (let i = 0; i < steps.length;) {
    const group = steps.slice(i).filter((s) => s.round === steps[i]!.round), from = out.length;
    i += group.length;
    for (const { verb, text } of group) {
      if (!text) continue;
      const layer = verb === "connect" ? "TCP" : verb === "tls" ? "TLS" : "SMTP";
      out.push({ dir: layer === "SMTP" ? "out" : "both", layer, text, note: "", n: 0, round: 0 });
    }
    for (const { expect } of group) if (expect) out.push({ dir: "in", layer: "SMTP", text: `${expect}?`, note: "", n: 0, round: 0 });
    out[from]!.round = group[0]!.round;
  }
  return out;
}

/** A ladder of which nothing has happened yet. */
export function outline(v: View, width: number, height: number): TemplateResult {
  const c = columnsFor(width), rows = planned(v), total = rows.length * c.row;
  const at = (i: number) => i * c.row + (c.under ? c.row - 8 : 10);
  return html`
    <div class="scroll ${c.compact ? "compact" : ""}" role="treegrid" aria-label="ladder" tabindex="0"><div class="sizer" role="presentation" ${box({ height: total + 12 })}>
      <svg class="art" aria-hidden="true" width=${c.width} height=${Math.max(total + 12, height)}>
        ${rows.map((p, i) => (p.round ? svg`<text class="rt-n todo" x=${(c.rt[0] + c.rt[1]) / 2} y=${i * c.row + textAt(c)}>${p.round}</text>` : nothing))}
        ${[c.a, c.b].map((x) => svg`<path class="lane todo" d="M${x} 4V${Math.max(total, 8)}"/>`)}
        ${rows.map((p, i) => plannedArrow(p, c.a, c.b, at(i), at(i)))}
      </svg>
      ${rows.map((p, i) => plannedRow(p, i * c.row, c))}
    </div></div>`;
}

/** The base line of a number in a row. */
export function textAt(c: Columns): number {
  return c.under ? 17 : 14;
}

export function plannedRow(p: Planned, y: number, c: Columns): TemplateResult {
  const right = c.compact && p.dir === "in";
  return html`
    <div class="part row todo" role="row" ${box({ top: y, height: c.row })}>
      ${c.compact ? nothing : html`<span class="n" role="gridcell">${p.n || nothing}</span><span class="tag" role="gridcell" ${box({ left: c.tag })}>${p.layer}</span>`}
      <span class="say" role="gridcell" ${box(right ? { right: c.width - c.b + 6 } : { left: p.dir === "in" ? c.in : c.out, maxWidth: c.b - c.out - 24 })}>${p.text}${p.note ? html` <small>${p.note}</small>` : nothing}</span>
    </div>`;
}

/** Between the lanes a and b, from one height to another. */
export function plannedArrow(p: Planned, a: number, b: number, y1: number, y2: number): TemplateResult {
  const out = p.dir !== "in", heads = (out ? head(b, y2, "right") : "") + (p.dir !== "out" ? head(a, p.dir === "both" ? y1 : y2, "left") : "");
  return svg`<path class="arrow todo" d="M${out ? a : b} ${y1}L${out ? b : a} ${y2}"/><path class="head todo" d=${heads}/>`;
}

export const outlineStyles = css`
  .scroll { position: absolute; inset: 0; overflow: auto; overflow-x: hidden; overflow-anchor: none; scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
  .scroll:focus-visible { outline-offset: -2px; }
  .sizer { position: relative; min-height: 100%; contain: layout; }
  .art { position: absolute; left: 0; pointer-events: none; }
  .part { position: absolute; left: 0; right: 0; contain: strict; }
  .row { cursor: default; line-height: 20px; }
  .row > * { position: absolute; top: 0; white-space: nowrap; }
  .n, .t, .tag { font: var(--t1)/20px var(--wire); }
  .n { left: 0; width: 26px; text-align: right; color: var(--soft); }
  .say { padding: 0 6px 0 0; background: var(--paper); font: var(--tw)/15px var(--wire); top: 2px; margin-top: .5px; white-space: pre; max-width: calc(100% - 60px); }
  .todo .say { color: var(--soft); padding: 0 6px 0 3px; overflow: hidden; text-overflow: ellipsis; } .todo .tag { color: var(--soft); }
  small { font: 400 var(--t1)/15px var(--prose); color: var(--soft); padding-left: 2px; }
  .compact .row { line-height: 16px; }
  .compact .say { top: 5px; font-size: var(--t2); line-height: 16px; margin: 0; max-width: calc(100% - 110px); overflow: hidden; } .compact:not(.many) .say { background: none; }
  .lane { stroke: var(--ink); stroke-width: 1.5; } .lane.todo { stroke: var(--rule-strong); }
  .arrow { fill: none; stroke-width: 1.5; } .arrow.todo { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 5 4; } .head.todo { fill: var(--paper); stroke: var(--soft); }
  .rt-n { font: 600 var(--t1)/1 var(--wire); fill: var(--ink); text-anchor: middle; } .rt-n.todo { font-weight: 400; fill: var(--soft); }
`;
