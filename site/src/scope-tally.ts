// The tally: how many round trips, and how long.

import { css, html, LitElement, nothing, svg, type TemplateResult } from "lit";
import * as format from "./format.ts";
import { provenance } from "./icons.ts";
import { shared } from "./tokens.ts";
import { atEnd, now, type View } from "./view.ts";

export class ScopeTally extends LitElement {
  static override properties = { view: { attribute: false }, room: { state: true } };
  declare view: View;
  declare room: number;

  #resize = new ResizeObserver(() => (this.room = this.clientWidth - 32));

  constructor() {
    super();
    this.room = 348;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#resize.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#resize.disconnect();
  }

  protected override render(): TemplateResult {
    const v = this.view, { rounds } = v.rows, done = rounds.done;
    const total = v.trace?.result && atEnd(v) ? Math.max(done, 1) : Math.max(v.steps.length, done);
    const over = rounds.list.filter((r) => r.to !== undefined), waited = over.reduce((n, r) => n + r.to! - r.from, 0);
    const paused = v.rows.list.reduce((n, r) => (r.kind === "pause" ? n + (r.until ?? now(v)) - r.t : n), 0);
    if (!v.trace) {
      return html`<p class="big">${total} round trips planned</p><p class="sub">each one a wait for the server</p>${this.#blocks(0, total)}`;
    }
    return html`
      <p class="big">${v.trace.result && atEnd(v) ? done : `${done} of ${total}`} ${total === 1 ? "round trip" : "round trips"}, ${format.duration(waited)} ${provenance("derived")}</p>
      <p class="sub">${format.duration(now(v))} on the clock${paused ? `, ${format.duration(paused)} of it paused` : ""}</p>
      ${this.#blocks(done, total)}${over.length > 1 && over.length < 120 ? this.#scale(over, waited) : nothing}`;
  }

  #blocks(done: number, total: number): TemplateResult {
    const w = Math.min(24, this.room / total), named = w >= 15;
    if (w < 3) return html``;
    return html`<svg width=${this.room} height="15" aria-hidden="true">${Array.from({ length: Math.min(total, 400) }, (_, i) => {
      const x = i * w, n = i + 1;
      return svg`${n <= done ? svg`<rect class="rt ${n % 2 ? "odd" : ""}" x=${x} y="0" width=${w} height="15"/>` : svg`<rect class="ghost" x=${x + .5} y=".5" width=${Math.max(1, w - 1)} height="14"/>`}
        ${named ? svg`<text class="n ${n > done ? "todo" : ""}" x=${x + w / 2} y="11.5">${n}</text>` : nothing}`;
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
    .n { font: 600 var(--t1)/1 var(--wire); fill: var(--ink); text-anchor: middle; } .n.todo { font-weight: 400; fill: var(--soft); }
    .label { font: var(--t1)/1 var(--prose); fill: var(--soft); }
    .scale { margin-top: 5px; }
  `];
}

customElements.define("scope-tally", ScopeTally);
