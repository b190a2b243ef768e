// Who takes mail for a domain: its mail servers as a sender would try them, each to
// be chosen as the target, and what the domain publishes. Fetched when it is asked for.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { control, provenance, severity } from "./icons.ts";
import { proxy, survey, type MailServer, type Survey } from "./lookup.ts";
import { shared } from "./tokens.ts";

const PORT = 25; // between mail servers there is no other

export class ScopeLookup extends LitElement {
  static override properties = { domain: { state: true }, found: { state: true }, problem: { state: true } };
  declare domain: string;
  declare found: Survey | undefined;
  declare problem: string;

  constructor() {
    super();
    this.domain = this.problem = "";
  }

  #choose: (address: string) => void = () => {};

  /** Asks the proxy, at the address of its API, and shows what it finds. choose takes the mail server that is picked, as host:port. */
  async show(domain: string, api: URL, choose: (address: string) => void): Promise<void> {
    this.#choose = choose;
    this.domain = domain;
    this.found = undefined;
    this.problem = "";
    await this.updateComplete;
    const dialog = this.renderRoot.querySelector("dialog")!;
    if (!dialog.open) dialog.showModal();
    try {
      const found = await survey(domain, proxy(api));
      if (this.domain === domain) this.found = found;
    } catch (e) {
      if (this.domain === domain) this.problem = e instanceof Error ? e.message : String(e);
    }
  }

  #take(s: MailServer): void {
    this.#choose(`${s.host}:${PORT}`);
    this.renderRoot.querySelector("dialog")!.close();
  }

  protected override render(): TemplateResult {
    const { domain, found, problem } = this;
    return html`<dialog aria-labelledby="title"><div class="box">
      <div class="head"><h2 id="title">Who takes mail for <span class="wire">${domain}</span></h2><form method="dialog"><button class="close" aria-label="close">${control("close")}</button></form></div>
      <div role="status">${problem ? html`<p class="bad" role="alert">${severity("error")} ${problem}</p>` : found ? nothing : html`<p class="soft">Asking the DNS …</p>`}</div>
      ${found ? this.#found(found) : nothing}
    </div></dialog>`;
  }

  #found(s: Survey): TemplateResult {
    return html`
      ${s.servers.length === 0 ? nothing : html`<table><caption class="vh">Mail servers, in the order in which a sender tries them</caption>
        <thead><tr><th scope="col" class="pref">MX</th><th scope="col">Host</th><th scope="col">Addresses</th><th><span class="vh">Choice</span></th></tr></thead>
        <tbody>${s.servers.map((m) => html`<tr>
          <td class="num pref">${m.preference ?? "none"}</td><td class="wire">${m.host}</td>
          <td class=${m.problem ? "bad" : "wire"}>${m.problem ?? m.addresses.join(", ")}</td>
          <td><button class="btn" ?disabled=${!!m.problem} aria-label="use ${m.host}" @click=${() => this.#take(m)}>Use</button></td></tr>`)}</tbody></table>
        <p class="hint">A sender tries the lowest number first, and the next when none of the addresses answers; among equals it chooses at random.</p>`}
      <dl>${s.remarks.map((r) => html`<dt>${severity(r.level)}${r.what}<small>${r.section}</small></dt><dd class=${r.level === "good" ? "wire" : ""}>${r.text}</dd>`)}</dl>
      <p class="hint">${provenance("measured", false)} Asked by the proxy: ${s.answered}.</p>`;
  }

  static override styles = [shared, css`
    :host { display: contents; }
    dialog { width: min(760px, calc(100vw - 32px)); max-width: none; font: var(--t3)/1.4 var(--prose); }
    .box { padding: var(--s4) var(--s5) var(--s5); display: grid; gap: var(--s3); grid-template-columns: minmax(0, 1fr); }
    .head { display: flex; justify-content: space-between; align-items: center; gap: var(--s3); } h2 { font-size: var(--t4); overflow-wrap: anywhere; }
    .close { width: 28px; height: 28px; display: grid; place-items: center; margin-right: -8px; flex: none; }
    table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 400; font-size: var(--t2); color: var(--soft); }
    th, td { padding: 4px var(--s3) 4px 0; vertical-align: baseline; overflow-wrap: anywhere; } td { border-top: 1px solid var(--rule); } th:last-child, td:last-child { padding-right: 0; text-align: right; }
    td.wire, td.num { font-size: var(--t2); } .pref { width: 48px; overflow-wrap: normal; }
    dl { display: grid; grid-template-columns: 176px minmax(0, 1fr); gap: 6px var(--s3); } dt { display: grid; grid-template-columns: 16px 1fr; align-items: baseline; align-content: start; } dt small { grid-column: 2; color: var(--soft); font-size: var(--t1); }
    dd { overflow-wrap: anywhere; } dd.wire { font-size: var(--t2); }
    .hint { color: var(--soft); font-size: var(--t2); } .hint svg, p.bad svg { display: inline; }
    .bad .glyph, .sev-error { stroke: var(--bad); }
    @media (max-width: 699px) { .box { padding: var(--s3) var(--s3) var(--s4); } .btn { height: 44px; } dl { grid-template-columns: minmax(0, 1fr); gap: 2px; } dd { padding: 0 0 var(--s2) 16px; } .pref { width: 36px; } }
  `];
}

customElements.define("scope-lookup", ScopeLookup);
