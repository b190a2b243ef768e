// The small chart at the foot of the wide page: what the page has under way, and
// how much TCP lets it have under way. The large one is scope-chart.

import { css, html, LitElement, nothing, svg, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import { connections, flightOf, indexAt, largest, ownConnection, remembered, type Flight } from "./flight.ts";
import * as format from "./format.ts";
import { provenance } from "./icons.ts";
import { shared } from "./tokens.ts";
import { now, type View } from "./view.ts";

/** Where the lines are drawn. */
const LEFT = 12, RIGHT = 142, TOP = 34, BOTTOM = 94;

/** Labels closer than this would overlap. */
const LABEL = 11;

export class ScopeFlight extends LitElement {
  static override properties = { view: { attribute: false } };
  declare view: View;

  #flight = remembered((trace): Flight | undefined => {
    const own = ownConnection(connections(trace));
    return own && flightOf(trace, own);
  });

  protected override render(): TemplateResult {
    const { trace } = this.view, flight = trace && this.#flight(trace), i = flight ? indexAt(flight.times, now(this.view)) : -1;
    return html`<button @click=${() => act(this, { do: "show", what: "chart" })}>
      <span class="name">Bytes in flight, cwnd <small>(log)</small>${flight?.measured ? provenance("measured", false) : html`${provenance("derived", false)}${provenance("simulated", false)}`}</span><span class="vh">${i < 0 ? "" : `: ${this.#words(flight!, i)}.`} Open the chart</span>
      <svg width="200" height="106" fill="none" aria-hidden="true"><path class="axis" d="M${LEFT} ${BOTTOM + 0.5}H${RIGHT}"/>${i < 0 ? nothing : this.#lines(flight!, i)}</svg></button>`;
  }

  #words(f: Flight, i: number): string {
    const cwnd = f.lines.cwnd[i];
    return `${format.bytes(f.lines.inFlight[i] ?? 0)} in flight${cwnd ? `, congestion window ${format.number(cwnd)}` : ""}`;
  }

  #lines(f: Flight, i: number): TemplateResult {
    const first = f.times[0]!, span = Math.max(f.times.at(-1)! - first, 1), end = Math.min(now(this.view), f.times.at(-1)!);
    const x = (t: number) => LEFT + ((t - first) / span) * (RIGHT - LEFT);
    const peak = largest(f.lines.inFlight.slice(0, i + 1)), widest = largest(f.lines.cwnd.slice(0, i + 1)), top = Math.log1p(Math.max(peak, widest, 1));
    const y = (v: number) => BOTTOM - (Math.log1p(v) / top) * (BOTTOM - TOP);
    const flying = steps(f, "inFlight", i, x, y, end), window = steps(f, "cwnd", i, x, y, end), cwnd = f.lines.cwnd[i] ?? undefined;
    const lost = new Set(f.marks.filter((m) => m.kind === "lost" && m.t <= end).map((m) => Math.round(x(m.t)) + 0.5));
    const at = f.times[f.lines.inFlight.indexOf(peak)]!, labels = [{ v: 0, cls: "tcp", y: BOTTOM }];
    if (cwnd) labels.push({ v: cwnd, cls: "", y: y(cwnd) });
    if (widest && Math.abs(y(widest) - y(cwnd ?? 0)) >= LABEL) labels.push({ v: widest, cls: "soft", y: y(widest) });
    return svg`${flying && svg`<path class="flying" d="M${LEFT} ${BOTTOM}${flying}V${BOTTOM}Z"/>`}
      ${window && svg`<path class="window" d="M${window.slice(1)}"/>`}
      ${[...lost].map((at) => svg`<path class="lost" d="M${at} ${TOP}V${BOTTOM}"/>`)}
      ${labels.map((l) => svg`<text class=${l.cls} x=${RIGHT + 5} y=${l.y + 4}>${brief(l.v)}</text>`)}
      ${peak ? svg`<text class="tcp mid" x=${Math.min(Math.max(x(at), LEFT + 16), RIGHT - 16)} y=${y(peak) - 4}>${brief(peak)}</text>` : nothing}`;
  }

  static override styles = [shared, css`
    :host { display: block; overflow: hidden; }
    button { display: block; position: relative; width: 200px; height: 106px; }
    .name { position: absolute; left: 12px; top: 6px; font-size: var(--t2); line-height: 1; display: flex; gap: 4px; align-items: baseline; white-space: nowrap; } small { font-size: var(--t1); color: var(--soft); }
    button:focus-visible { outline-offset: -3px; }
    .axis { stroke: var(--soft); } .flying { fill: var(--tcp); fill-opacity: .28; stroke: var(--tcp); } .window { stroke: var(--ink); stroke-width: 1.5; }
    .lost { stroke: var(--bad); stroke-dasharray: 2.5 3; }
    text { font: var(--t1)/1 var(--wire); fill: var(--ink); } text.tcp { fill: var(--tcp); } text.soft { fill: var(--soft); } .mid { text-anchor: middle; }
  `];
}

/** A number in the little room beside the lines. */
function brief(v: number): string {
  return v < 1e6 ? format.number(v) : `${(v / 1e6).toFixed(1)}M`;
}

/** A step line up to a time, as path data; of what falls on one pixel, the most. */
function steps(f: Flight, line: "inFlight" | "cwnd", upto: number, x: (t: number) => number, y: (v: number) => number, end: number): string {
  const column = (k: number) => Math.round(x(f.times[k]!));
  let out = "";
  for (let i = 0; i <= upto;) {
    const at = column(i);
    let most = 0;
    for (; i <= upto && column(i) === at; i++) most = Math.max(most, f.lines[line][i] ?? 0);
    const last = f.lines[line][i - 1];
    if (last === null || last === undefined) continue;
    out += `L${at} ${y(most).toFixed(1)}${most === last ? "" : `V${y(last).toFixed(1)}`}H${i <= upto ? column(i) : x(end).toFixed(1)}`;
  }
  return out;
}

customElements.define("scope-flight", ScopeFlight);
