// The transcript: the same rows as text, for screen readers and for copying.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { act } from "./actions.ts";
import * as format from "./format.ts";
import { roundTrips } from "./steps.ts";
import { shared } from "./tokens.ts";
import { lineOf } from "./transcript.ts";
import type { View } from "./view.ts";

/** Lines in the document at a time. */
const PAGE = 1000;

export class ScopeTranscript extends LitElement {
  static override properties = { view: { attribute: false }, selected: { attribute: false }, earlier: { state: true } };
  declare view: View;
  declare selected: string;
  /** How many pages before the last are shown. */
  declare earlier: number;

  constructor() {
    super();
    this.selected = "";
    this.earlier = 0;
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has("view") && changed.get("view") && (changed.get("view") as View).trace !== this.view.trace) this.earlier = 0;
  }

  protected override updated(changed: PropertyValues<this>): void {
    if (changed.has("view") && (changed.get("view") as View | undefined)?.upto !== this.view.upto) this.scrollTop = this.scrollHeight;
  }

  protected override render(): TemplateResult {
    const { rows } = this.view, list = rows.list, from = Math.max(0, list.length - PAGE * (this.earlier + 1));
    if (!this.view.trace) return html`<p class="empty">Nothing was said yet. The plan has ${format.count(roundTrips(this.view.steps), "round trip")}.</p>`;
    return html`
      ${from > 0 ? html`<button class="link soft" @click=${() => this.earlier++}>Show ${format.number(Math.min(PAGE, from))} earlier</button>` : nothing}
      <div role="log" aria-label="transcript"><ol>${repeat(list.slice(from), (r) => r.i, (row) => {
        const l = lineOf(rows, row), key = `r${row.i}`;
        return html`<li class="${l.tone} ${key === this.selected ? "sel" : ""}" @click=${() => row.n && act(this, { do: "pick", key })}>
          <span class="n">${row.n || ""}</span><time>${format.ms(row.t)}<span class="vh"> ms</span></time>
          <b>${l.who === "C" ? html`C<span class="vh">lient</span>` : l.who === "S" ? html`S<span class="vh">erver</span>` : ""}</b><pre>${l.lines.join("\n")}</pre></li>`;
      })}</ol></div>`;
  }

  static override styles = [shared, css`
    :host { display: block; overflow: auto; background: var(--paper); padding: var(--s2) 0 var(--s4); scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    .empty { padding: var(--s2) var(--s4); color: var(--soft); } button { margin: var(--s1) var(--s4); font-size: var(--t2); }
    li { display: grid; grid-template-columns: 26px 48px 18px minmax(0, 1fr); column-gap: 0; padding: 1px var(--s4) 1px 0; line-height: 18px; }
    .n, time { font: var(--t1)/18px var(--wire); text-align: right; } .n { color: var(--soft); }
    b { font: 700 var(--t1)/18px var(--wire); text-align: right; color: var(--soft); }
    pre { font: var(--t2)/18px var(--wire); white-space: pre-wrap; overflow-wrap: anywhere; padding-left: var(--s3); }
    .out pre { color: var(--out); } .in pre { color: var(--in); } .tls pre { color: var(--tls); } .tcp pre { color: var(--tcp); } .soft pre { color: var(--soft); font-family: var(--prose); } .bad pre { color: var(--bad); font-family: var(--prose); }
    .sel { background: var(--mark); box-shadow: inset 3px 0 0 var(--ink); }
  `];
}

customElements.define("scope-transcript", ScopeTranscript);
