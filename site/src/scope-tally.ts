// The tally: how many round trips, and how long.

import { css, html, LitElement, nothing, svg, type TemplateResult } from "lit";
import * as format from "./format.ts";
import { provenance } from "./icons.ts";
import { resized } from "./resized.ts";
import { lostTime, type LostTime } from "./rounds.ts";
import { roundTrips } from "./steps.ts";
import { shared } from "./tokens.ts";
import { atEnd, now, type View } from "./view.ts";

export class ScopeTally extends LitElement {
  static override properties = { view: { attribute: false }, room: { state: true } };
  declare view: View;
  declare room: number;


  constructor() {
    super();
    resized(this, () => (this.room = this.clientWidth - 32));
    this.room = 348;
  }

  protected override render(): TemplateResult {
    const v = this.view, { rounds } = v.rows, done = rounds.done;
    const total = v.trace?.result && atEnd(v) ? Math.max(done, 1) : Math.max(roundTrips(v.steps), done);
    const over = rounds.list.filter((r) => r.to !== undefined), lost = lostTime(v.rows), waited = over.reduce((n, r) => n + r.to! - r.from, 0) - lost.time;
    const paused = v.lab ? 0 : v.rows.list.reduce((n, r) => (r.kind === "pause" ? n + (r.until ?? now(v)) - r.t : n), 0);
    if (!v.trace) {
      return html`<p class="big">${total} round trips planned</p><p class="sub">each one a wait for the server</p>${this.#blocks(0, total, undefined)}`;
    }
    const clock = `${format.duration(v.lab ? Math.min(now(v), over.at(-1)?.to ?? now(v)) : now(v))} on the clock`;
    return html`
      <p class="big">${v.trace.result && atEnd(v) ? format.count(done, "round trip") : `${done} of ${format.count(total, "round trip")}`}, ${format.duration(waited)} ${provenance("derived")}</p>
      <p class="sub">${lost.time ? `and ${format.duration(lost.time)} for ${format.count(lost.segments, "lost segment")}: ${clock}` : `${clock}${paused ? `, ${format.duration(paused)} of it paused` : ""}`}</p>
      ${this.#blocks(done, total, lost)}${over.length > 1 && over.length < 120 ? this.#scale(over, waited + lost.time) : nothing}`;
  }

  #blocks(done: number, total: number, lost: LostTime | undefined): TemplateResult {
    const waits = [...(lost?.rounds ?? [])], gap = Math.min(52, (this.room * 0.5) / Math.max(waits.length, 1)), w = Math.min(24, (this.room - gap * waits.length) / total), named = w >= 15;
    if (w < 3) return html``;
    let x = -w;
    return html`<svg width=${this.room} height="15" aria-hidden="true">${Array.from({ length: Math.min(total, 400) }, (_, i) => {
      const n = i + 1, wait = lost?.rounds.get(n), at = (x += w);
      if (wait) x += gap;
      return svg`${n <= done ? svg`<rect class="rt ${n % 2 ? "odd" : ""}" x=${at} y="0" width=${w} height="15"/>` : svg`<rect class="ghost" x=${at + .5} y=".5" width=${Math.max(1, w - 1)} height="14"/>`}
        ${named ? svg`<text class="n ${n > done ? "todo" : ""}" x=${at + w / 2} y="11.5">${n}</text>` : nothing}
        ${wait ? svg`<rect class="wait" x=${at + w + .5} y=".5" width=${gap - 1} height="14"/>${gap > 48 ? svg`<text class="n lost" x=${at + w + gap / 2} y="11.5">${format.duration(wait)}</text>` : nothing}` : nothing}`;
    })}</svg>`;
  }

  /** The same rounds, each as wide as it lasted. */
  #scale(over: readonly { n: number; count: number; from: number; to: number | undefined; what: string }[], waited: number): TemplateResult {
    const label = 54, width = this.room - label;
    let x = 0;
    return html`<svg width=${this.room} height="15" class="scale" role="img" aria-label="share of each round trip in the waiting time">${over.map((r) => {
      const w = ((r.to! - r.from) / Math.max(waited, 1)) * width, at = x;
      x += w;
      return svg`<rect class="rt ${r.n % 2 ? "odd" : ""}" x=${at} y="0" width=${w} height="15"><title>${r.n}, ${r.what}: ${format.duration(r.to! - r.from)}</title></rect>${w > 16 ? svg`<text class="n" x=${at + w / 2} y="11.5">${r.n}</text>` : nothing}`;
    })}<text class="label" x=${width + 8} y="11.5">to scale</text></svg>`;
  }

  static override styles = [shared, css`
    :host { display: block; padding: var(--s2) var(--s4) 0; overflow: hidden; }
    p { line-height: 18px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
    .big { font-size: var(--t4); font-weight: 600; line-height: 20px; } .big .glyph { display: inline; margin-left: 4px; }
    .sub { font-size: var(--t2); color: var(--soft); margin-bottom: 5px; }
    .rt { fill: var(--band-b); } .rt.odd { fill: var(--band-a); }
    .ghost { fill: none; stroke: var(--soft); }
    .n { font: 600 var(--t1)/1 var(--wire); fill: var(--ink); text-anchor: middle; } .n.todo { font-weight: 400; fill: var(--soft); } .n.lost { font-weight: 400; fill: var(--bad); } .wait { fill: none; stroke: var(--bad); stroke-dasharray: 2 3; }
    .label { font: var(--t1)/1 var(--prose); fill: var(--soft); }
    .scale { margin-top: 5px; }
  `];
}

customElements.define("scope-tally", ScopeTally);
