// The scrubber: the session over time; dragging moves the cursor back.

import { css, html, LitElement, nothing, svg, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import * as format from "./format.ts";
import { resized } from "./resized.ts";
import { landed, type PacketEvent, type Row, type Rows } from "./rows.ts";
import type { Width } from "./scope-top.ts";
import { roundTrips } from "./steps.ts";
import { axis, type Axis } from "./timeline.ts";
import { shared } from "./tokens.ts";
import { now, type View } from "./view.ts";

const LINE = 18; // y of the line between the two sides

interface Layer {
  cls: string;
  h: number;
  id: number;
}

const TICK: Record<"out" | "in" | "tcp" | "tls" | "under" | "soft" | "segment" | "dns" | "text.out" | "text.in", Layer> = {
  out: { cls: "out", h: 9, id: 1 }, in: { cls: "in", h: 9, id: 2 }, tcp: { cls: "tcp", h: 8, id: 3 },
  tls: { cls: "tls", h: 8, id: 4 }, under: { cls: "tls", h: 4, id: 5 }, soft: { cls: "soft", h: 5, id: 6 },
  segment: { cls: "tcp", h: 4, id: 7 }, dns: { cls: "dns", h: 5, id: 8 }, "text.out": { cls: "out", h: 6, id: 9 }, "text.in": { cls: "in", h: 6, id: 10 },
};

export class ScopeScrubber extends LitElement {
  static override properties = { view: { attribute: false }, width: { attribute: false }, room: { state: true } };
  declare view: View;
  declare width: Width;
  declare room: number;

  #axis: Axis | undefined;
  #axisOf = ""; // what it was made for
  #dragging = false;

  constructor() {
    super();
    resized(this, () => (this.room = this.clientWidth));
    this.room = 1180;
    this.width = "wide";
  }

  protected override render(): TemplateResult {
    const v = this.view, right = this.room - (this.width === "phone" ? 16 : 68), left = 16 + 27 * (this.width === "phone" ? 0 : 1);
    if (!v.trace) return html`<svg width=${this.room} height="46" aria-hidden="true">${this.#planned(left, right)}${this.#names(right)}</svg>`;
    const rows = v.all, end = Math.max(v.trace.elapsed, 1), made = `${v.trace.meta.started} ${rows.seen} ${end} ${left} ${right}`;
    if (this.#axisOf !== made) this.#axis = axis(rows, end, left, right);
    this.#axisOf = made;
    const a = this.#axis!;
    const cursor = a.x(now(v)), last = v.rows.list.findLast((r) => r.n > 0);
    return html`
      <svg width=${this.room} height="46" role="slider" tabindex="0" aria-label="cursor in time" aria-valuemin="0" aria-valuemax=${v.total} aria-valuenow=${v.upto}
        aria-valuetext="${format.ms(now(v))} ms${last ? `, row ${last.n}` : ""}"
        @pointerdown=${(e: PointerEvent) => this.#down(e)} @pointermove=${(e: PointerEvent) => this.#dragging && this.#at(e)} @pointerup=${() => (this.#dragging = false)} @pointercancel=${() => (this.#dragging = false)}
        @keydown=${(e: KeyboardEvent) => this.#keyed(e)}>
        ${this.#bands(rows, a)}
        ${this.#names(right)}${this.#ticks(rows, a)}
        ${a.ticks.map((t) => svg`<text class="ax" x=${t.x} y="44" text-anchor=${t.x < 30 ? "start" : "middle"}>${t.label}</text>`)}
        ${a.cuts.map((x) => svg`<path class="gap" d="M${x - 6} ${LINE}h12"/><path class="cut" d="M${x - 4} ${LINE + 6}l4 -12m4 0l-4 12"/>`)}
        <path class="head" d="M${cursor - 5} 0h10v4l-5 5l-5 -5Z"/><path class="needle" d="M${cursor} 6V36"/>
      </svg>`;
  }

  #names(right: number): TemplateResult {
    return svg`<path class="line" d="M16 ${LINE}H${right + 4}"/>${this.width === "phone" ? nothing : svg`<text class="side" x=${right + 14} y="14">client</text><text class="side" x=${right + 14} y="30">server</text>`}`;
  }

  /** Before anything happened: what is planned, in order, without a scale. */
  #planned(left: number, right: number): TemplateResult[] {
    const { steps } = this.view, rounds = roundTrips(steps), step = (right - left) / Math.max(rounds, 1);
    const tick = (at: number, up: boolean) => svg`<rect class="ghost" x=${at} y=${up ? LINE - 14.5 : LINE + .5} width="2.5" height="14"/>`;
    return Array.from({ length: rounds }, (_, i) => {
      const x = left + i * step, group = steps.filter((s) => s.round === i + 1), apart = (step * .4) / group.length;
      return [svg`<rect class="ghost faint" x=${x + .5} y="2.5" width=${step} height="31"/>`,
        ...group.flatMap((s, j) => [!s.text ? svg`` : tick(x + step * .15 + j * apart, true), tick(x + step * .65 + j * apart * .7, false)])];
    }).flat();
  }

  /** The bands of the round trips; those that share a pixel are drawn once. */
  #bands(rows: Rows, a: Axis): TemplateResult[] {
    const d: [string, string] = ["", ""];
    let at = -Infinity;
    for (const r of rows.rounds.list) {
      if (r.to === undefined) continue;
      const x0 = a.x(r.from), x1 = a.x(r.to);
      if (x1 < at + 0.75) continue;
      d[r.n % 2]! += `M${x0.toFixed(1)} 2H${x1.toFixed(1)}V34H${x0.toFixed(1)}Z`;
      at = x1;
    }
    return [svg`<path class="rt" d=${d[0]}/>`, svg`<path class="rt odd" d=${d[1]}/>`];
  }

  /**
   * A tick is built like what it stands for: TLS next to the line, SMTP outermost.
   * Ticks of one pixel are one, and all ticks of one colour are one path.
   */
  #ticks(rows: Rows, a: Axis): TemplateResult[] {
    const seen = new Set<number>(), upto = this.view.upto, sealed = rows.sealed?.i ?? Infinity, paths: Record<string, string> = {}, crosses: TemplateResult[] = [];
    const draw = (x: number, up: boolean, layers: readonly Layer[], later: boolean) => {
      const key = Math.round(x) * 64 + layers.at(-1)!.id * 4 + (up ? 2 : 0) + (later ? 1 : 0);
      if (seen.has(key)) return;
      seen.add(key);
      let at = 0;
      for (const { cls, h } of layers) {
        const y = up ? LINE - at - h : LINE + at;
        const name = later ? "ghost" : cls;
        paths[name] = (paths[name] ?? "") + `M${(x - 2).toFixed(1)} ${y}h4v${h}h-4z`;
        at += h;
      }
    };
    for (const n of rows.packets) {
      const e = rows.trace!.events[n] as PacketEvent, row = rows.rowOf(n), x = a.x(e.t), up = forwards(rows, e), later = n >= upto;
      draw(x, up, layersOf(row, sealed), later);
      if (!landed(e) && !later) crosses.push(svg`<path class="cross" d="M${x + 2} ${up ? 3 : 26}l6 6m0 -6l-6 6"/>`);
    }
    for (const row of rows.list) {
      if (row.kind === "pause" || row.kind === "note" || row.kind === "mail" || (row.packets.length > 0 && row.kind !== "dns")) continue;
      const x = a.x(row.t), later = (row.parts[0] ?? row.e) >= upto;
      if (row.kind === "error" || row.kind === "desync") crosses.push(svg`<path class="cross" d="M${x - 3} 5l6 6m0 -6l-6 6"/>`);
      else if (row.kind === "dns") {
        draw(x, true, [TICK.dns], later);
        for (const p of rows.packetsOf(row).slice(1)) draw(a.x(p.t), false, [TICK.dns], later);
      } else if (row.kind === "connect") {
        draw(x, true, [TICK.tcp], later);
        if (row.ok) draw(a.x(rows.event(row).t), false, [TICK.tcp], later);
      } else if (row.kind === "handshake") {
        for (const n of row.parts) {
          const e = rows.trace!.events[n]!;
          if (e.kind === "record") draw(a.x(e.t), e.dir === "out", [TICK.tls], later);
        }
      } else if (row.kind === "closed") draw(x, false, [TICK.soft], later);
      else if (row.kind === "record") draw(x, row.dir === "out", [TICK.tls], later);
      else draw(x, row.dir === "out", row.i > sealed ? [TICK.under, TICK[row.dir!]] : [TICK[row.dir!]], later);
    }
    return [...Object.entries(paths).map(([name, d]) => svg`<path class=${name === "ghost" ? "ghost" : `k-${name}`} d=${d}/>`), ...crosses];
  }

  #down(e: PointerEvent): void {
    (e.currentTarget as Element).setPointerCapture(e.pointerId);
    this.#dragging = true;
    this.#at(e);
  }

  #at(e: PointerEvent): void {
    const box = this.getBoundingClientRect(), events = this.view.trace!.events, x = e.clientX - box.left;
    const t = this.#axis!.t(x), last = this.#axis!.pieces.at(-1)!;
    let upto = events.length;
    if (x < last.x1 - 2) while (upto > 0 && events[upto - 1]!.t > t) upto--;
    act(this, { do: "cursor", upto });
  }

  #keyed(e: KeyboardEvent): void {
    const { all, upto, total } = this.view, by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[e.key];
    const to = by === 1 ? all.list.find((r) => last(r) > upto) : all.list.findLast((r) => last(r) < upto);
    if (e.key === "Home" || (by === -1 && !to)) act(this, { do: "cursor", upto: 0 });
    else if (e.key === "End" || (by === 1 && !to)) act(this, { do: "cursor", upto: total });
    else if (by && to) act(this, { do: "cursor", upto: last(to) });
    else return;
    e.preventDefault();
    e.stopPropagation();
  }

  static override styles = [shared, css`
    :host { display: block; overflow: hidden; }
    svg { cursor: ew-resize; touch-action: none; } svg[aria-hidden] { cursor: default; } svg:focus-visible { outline-offset: -2px; }
    .line { stroke: var(--soft); } .gap { stroke: var(--paper); stroke-width: 3; } .cut { stroke: var(--soft); fill: none; }
    .rt { fill: var(--band-b); } .rt.odd { fill: var(--band-a); }
    .k-out { fill: var(--out); } .k-in { fill: var(--in); } .k-tls { fill: var(--tls); } .k-tcp { fill: var(--tcp); } .k-soft { fill: var(--soft); } .k-dns { fill: var(--dns); }
    .ghost { fill: none; stroke: var(--soft); } .ghost.faint { stroke-dasharray: 2 3; stroke-opacity: .45; }
    .cross { stroke: var(--bad); stroke-width: 1.6; fill: none; }
    .ax { font: var(--t1)/1 var(--wire); fill: var(--soft); } .side { font: var(--t1)/1 var(--prose); fill: var(--soft); }
    .head { fill: var(--ink); } .needle { stroke: var(--ink); stroke-width: 1.5; }
  `];
}

/** With the mail, or against it: the hosts are named in that order. */
function forwards(rows: Rows, e: PacketEvent): boolean {
  if (e.dir) return e.dir === "out";
  const { hosts } = rows.trace!.meta, at = (id: string | undefined) => hosts.findIndex((h) => h.id === id);
  return at(e.from) < at(e.to);
}

/** What a packet is built of, from the line outwards. */
function layersOf(row: Row | undefined, sealed: number): Layer[] {
  if (row?.layer === "smtp") return [TICK.segment, ...(row.i > sealed && !row.hop ? [TICK.under] : []), TICK[`text.${row.dir ?? "out"}`]];
  return row?.layer === "tls" ? [TICK.segment, TICK.under] : [row?.layer === "udp" || row?.layer === "ip" ? TICK.soft : TICK.segment];
}

/** The cursor that shows a row in full: behind the last event that is part of it. */
function last(r: Row): number {
  return Math.max(r.e, r.parts.at(-1) ?? 0) + 1;
}

customElements.define("scope-scrubber", ScopeScrubber);

