// The findings: what the session says about the server, what that means, what to
// do about it, and the rows that it rests on.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import { look } from "./book.ts";
import { evidence, SEVERITIES, SEVERITY_GLYPH, SEVERITY_WORD, tally } from "./findings.ts";
import * as format from "./format.ts";
import { provenance, severity } from "./icons.ts";
import type { Row } from "./rows.ts";
import { shared } from "./tokens.ts";
import type { Finding } from "./trace.ts";
import type { View } from "./view.ts";
import { visible, wordsOf } from "./words.ts";

/** Rows of evidence that are named. */
const MOST = 6;

export class ScopeFindings extends LitElement {
  static override properties = { view: { attribute: false }, back: { attribute: false } };
  declare view: View;
  /** There is no other way back to the ladder. */
  declare back: boolean;

  constructor() {
    super();
    this.back = false;
  }

  protected override render(): TemplateResult {
    const { trace } = this.view, findings = [...(trace?.findings ?? [])].sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
    const back = this.back ? html`<button class="link" @click=${() => act(this, { do: "show", what: "ladder" })}>Back to the ladder</button>` : nothing;
    if (!trace?.result) return html`<div class="head"><h2>No findings yet</h2>${back}</div><p class="empty">They follow from the whole session: what the server offers, how it answers, its certificate, its times. ${trace ? "This one is not over." : "Run one."}</p>`;
    if (findings.length === 0) return html`<div class="head"><h2>${severity("good")}Nothing to remark upon</h2>${back}</div><p class="empty">The session shows nothing about ${trace.host("server")} that a mail administrator would want to know.</p>`;
    return html`
      <div class="head"><h2>${upper(tally(findings))}</h2><span class="soft">${provenance("derived", false)} derived from the session with ${trace.host("server")}</span>${back}</div>
      <ol>${findings.map((f) => this.#finding(f))}</ol>`;
  }

  #finding(f: Finding): TemplateResult {
    const entry = look(`finding.${f.id}`), rows = evidence(this.view.all, f);
    return html`<li>
      <p class="sev ${f.severity}">${severity(SEVERITY_GLYPH[f.severity])}${upper(SEVERITY_WORD[f.severity])}</p>
      <div><h3>${entry?.title ?? f.id}</h3>
        <p class="seen">${visible(f.text)}</p>
        ${entry ? html`<p>${entry.means} <span class="soft">${format.references(entry.section).map((r, i) => html`${i ? "; " : nothing}${r.url ? html`<a href=${r.url} target="_blank" rel="noreferrer">${r.text}</a>` : r.text}`)}</span></p>` : nothing}
        ${entry?.do ? html`<p class="todo"><b>What to do</b> ${entry.do}</p>` : nothing}
        ${rows.length ? html`<p class="rows">Seen in ${rows.slice(0, MOST).map((row, i) => html`${i ? ", " : nothing}${this.#link(row)}`)}${rows.length > MOST ? html` and ${format.count(rows.length - MOST, "more row")}` : nothing}</p>` : nothing}
      </div></li>`;
  }

  #link(row: Row): TemplateResult {
    const main = wordsOf(this.view.all, row).main.replace(/,$/, ""), words = main.length > 44 ? `${main.slice(0, 43)}…` : main;
    return html`<button class="link" @click=${() => this.#show(row)}>row ${row.n}: <span class="wire">${words}</span></button>`;
  }

  #show(row: Row): void {
    act(this, { do: "show", what: "ladder" });
    act(this, { do: "pick", key: `r${row.i}` });
  }

  static override styles = [shared, css`
    :host { display: block; overflow: auto; background: var(--paper); padding: 0 var(--s4) var(--s4); scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; font-size: var(--t3); line-height: 19px; }
    .head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px var(--s3); padding: var(--s3) 0 var(--s2); } h2 { font-size: var(--t4); display: flex; align-items: baseline; gap: var(--s2); }
    .head .soft { font-size: var(--t2); } .head .glyph { display: inline-block; } .head .link { margin-left: auto; font-size: var(--t2); min-height: 24px; }
    .empty { max-width: 64ch; color: var(--soft); }
    li { display: grid; grid-template-columns: 92px minmax(0, 76ch); gap: var(--s3); padding: 11px 0 12px; border-top: 1px solid var(--rule); } ol li:first-child { border-top-color: var(--rule-strong); }
    .sev { display: flex; align-items: baseline; gap: var(--s2); font-size: var(--t2); } .sev.error, .sev.warn { font-weight: 600; } .sev.error { color: var(--bad); } .sev.error .glyph { stroke: var(--bad); } .sev.chat { color: var(--soft); }
    h3 { line-height: 19px; overflow-wrap: anywhere; } .seen { overflow-wrap: anywhere; padding: 1px 0 4px; } li p { text-wrap: pretty; } a { white-space: nowrap; }
    .todo { margin-top: 5px; padding-left: var(--s2); border-left: 2px solid var(--rule-strong); } .todo b { font-weight: 600; }
    .rows { font-size: var(--t2); color: var(--soft); margin-top: 5px; overflow-wrap: anywhere; } .rows .link { font-size: inherit; color: var(--ink); min-height: 24px; }
    @container scope (max-width: 699px) { li { grid-template-columns: 1fr; gap: 2px; } .rows .link { min-height: 32px; } }
  `];
}

function upper(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}

customElements.define("scope-findings", ScopeFindings);
