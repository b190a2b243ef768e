// The mailboxes: what was delivered to whom, how it came there, and what waits.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import { enhancedEntry, look } from "./book.ts";
import * as format from "./format.ts";
import { provenance } from "./icons.ts";
import { letter, post, value, type HeaderField, type Letter, type MailEvent, type Stop, type Waiting } from "./mailbox.ts";
import { shared } from "./tokens.ts";
import type { EventOfKind } from "./trace.ts";
import { placeOf, type View } from "./view.ts";
import { visible } from "./words.ts";

/** Characters of a body shown at first, and how many more at each request. */
const FIRST = 8_000, MORE = 64_000;

/** What the fields of a delivery report say, with their sections of RFC 3464. */
const REPORT: Record<string, [string, string]> = {
  "original-envelope-id": ["the id that the sender gave", "2.2.1"], "reporting-mta": ["who says so", "2.2.2"], "dsn-gateway": ["gateway that translated this", "2.2.3"],
  "received-from-mta": ["where it had the message from", "2.2.4"], "arrival-date": ["when it got the message", "2.2.5"],
  "original-recipient": ["whom the sender named", "2.3.1"], "final-recipient": ["who did not get it", "2.3.2"], "action": ["what was done", "2.3.3"],
  "status": ["why, as a code", "2.3.4"], "remote-mta": ["the server that refused", "2.3.5"], "diagnostic-code": ["what that server said", "2.3.6"],
  "last-attempt-date": ["the last try", "2.3.7"], "final-log-id": ["id in its log", "2.3.8"], "will-retry-until": ["how long it goes on trying", "2.3.9"],
};

const ACTIONS: Record<string, string> = { failed: "given up", delayed: "not yet; tried again", delivered: "delivered", relayed: "handed to a server that sends no reports", expanded: "sent on to several" };

/** How a server took a message (RFC 3848). */
const WITH: Record<string, string> = {
  SMTP: "SMTP", ESMTP: "SMTP with extensions", ESMTPS: "SMTP inside TLS", ESMTPA: "SMTP, signed in", ESMTPSA: "SMTP inside TLS, signed in",
};

export class ScopeMail extends LitElement {
  static override properties = {
    view: { attribute: false },
    selected: { attribute: false },
    chosen: { state: true },
    limit: { state: true },
  };
  declare view: View;
  /** The row that is selected elsewhere; a delivery chooses its message here. */
  declare selected: string;
  /** The delivery whose message is shown, as an event. */
  declare chosen: number | undefined;
  declare limit: number;

  constructor() {
    super();
    this.selected = "";
    this.limit = FIRST;
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has("selected") || !this.view.trace) return;
    const place = placeOf(this.selected), row = place && this.view.all.list[place.row], e = row && this.view.all.event(row);
    if (e?.layer === "mail" && e.kind === "delivered") this.#choose(e.n);
  }

  #choose(n: number): void {
    this.chosen = n;
    this.limit = FIRST;
  }

  protected override render(): TemplateResult {
    const { trace, upto } = this.view, all = trace ? post(trace, upto) : undefined, letters = all?.boxes.flatMap((b) => b.letters) ?? [];
    if (!all || (letters.length === 0 && all.waiting.length === 0 && all.bounced.length === 0)) return html`<p class="none">${this.#nothing()}</p>`;
    const shown = letters.find((l) => l.n === this.chosen) ?? letters.toSorted((a, b) => a.n - b.n).at(-1);
    return html`<div class="panes"><nav aria-label="mailboxes and queues">
        <p class="say">${this.#sentence(letters.length, all.boxes.length, all.waiting.length)}</p>
        ${all.boxes.map((b) => html`<h3>${visible(b.owner)}<small>${format.count(b.letters.length, "message")}</small></h3><ul>${b.letters.map((l) => this.#entry(l, l === shown))}</ul>`)}
        ${all.waiting.length ? html`<h3>Waiting<small>in a queue</small></h3><ul>${all.waiting.map((w) => this.#waiting(w))}</ul>` : nothing}
        ${all.bounced.length ? html`<h3>Given up</h3><ul>${all.bounced.map((e) => this.#bounced(e))}</ul>` : nothing}
      </nav>${shown ? this.#letter(letter(trace!, shown)) : html`<p class="none">Nothing is in a mailbox yet.</p>`}</div>`;
  }

  #nothing(): string {
    const { trace, upto, total } = this.view;
    if (!trace) return "Here the mailboxes of the lab will be: run a session that sends a message, and read what arrives.";
    return upto < total ? "No mail has come this far yet. Go on to see where the message ends up." : "No server accepted a message, so there is no mail. The ladder shows why.";
  }

  #sentence(messages: number, boxes: number, waiting: number): string {
    const parts = [messages ? `${format.count(messages, "message")} in ${format.count(boxes, "mailbox", "mailboxes")}` : "", waiting ? `${format.count(waiting, "message")} waiting in a queue` : ""].filter(Boolean);
    return parts.length ? `${parts.join(", ")}.` : "Nothing waits, and nothing was delivered.";
  }

  #entry(e: EventOfKind<"mail", "delivered">, current: boolean): TemplateResult {
    const { header, report } = letter(this.view.trace!, e);
    return html`<li><button class="letter" aria-pressed=${current} @click=${() => this.#choose(e.n)}>
      <b>${visible(value(header, "subject") ?? "(no subject)")}</b><small>${report ? "a bounce" : html`from ${visible(e.data.from || "<>")}`}, at ${format.duration(e.t)}</small></button></li>`;
  }

  #waiting(w: Waiting): TemplateResult {
    const d = w.e.data, host = this.view.trace!.host(w.host);
    const what = w.e.kind === "deferred" ? html`put off until ${format.duration(d.retry ?? 0)}: ${visible(d.reason ?? "")}`
      : w.e.kind === "attempt" ? html`attempt ${d.attempt}, to ${visible(d.next ?? "")}` : html`queued`;
    return html`<li class="item">${this.#rowLink(w.e, w.queueID)}<small>at ${host} for ${visible(w.to.join(", "))}, since ${format.duration(w.since)}: ${what}</small></li>`;
  }

  #bounced(e: EventOfKind<"mail", "bounced">): TemplateResult {
    const d = e.data;
    return html`<li class="item">${this.#rowLink(e, d.queueID)}<small>by ${this.view.trace!.host(d.host)} at ${format.duration(e.t)}, for ${visible(d.to.join(", "))}: ${visible(d.reason ?? "")}${
      d.from === "" ? ". Nobody is told: it has no sender (RFC 5321, 6.1)" : html`. Its sender ${visible(d.from)} is told`}.</small></li>`;
  }

  #rowLink(e: MailEvent, words: string): TemplateResult {
    const row = this.view.rows.rowOf(e.n);
    return row ? html`<button class="link wire" @click=${() => act(this, { do: "pick", key: `r${row.i}` })}>${words}</button>` : html`<span class="wire">${words}</span>`;
  }

  #letter(l: Letter): TemplateResult {
    const subject = value(l.header, "subject"), row = this.view.rows.rowOf(l.e.n), told = l.header.filter((f) => f.name.toLowerCase() !== "received");
    return html`<article aria-label="message"><h2>${visible(subject ?? "(no subject)")}</h2>
      <p class="more">${provenance("simulated")}Delivered at ${format.duration(l.e.t)}, ${format.bytes(l.e.at?.len ?? 0)}${row ? html`, <button class="link" @click=${() => act(this, { do: "pick", key: `r${row.i}` })}>row ${row.n}</button>` : nothing}</p>
      ${l.report ? this.#report(l.report.fields) : nothing}
      ${l.stops.length ? html`<h3>The way it took<small>newest on top, as written</small></h3>${this.#way(l)}` : nothing}
      <h3>Header<small>${format.count(l.header.length, "field")}</small></h3>
      <table><tbody>${told.map((f) => html`<tr><th scope="row">${f.name}</th><td>${visible(f.value)}</td></tr>`)}</tbody></table>
      <details><summary>As it stands in the mailbox</summary><pre tabindex="0" aria-label="header as stored">${visible(l.head)}</pre></details>
      <h3>Body<small>as text</small></h3>
      <pre class="body" tabindex="0" aria-label="body of the message">${visible(l.body.slice(0, this.limit))}</pre>
      ${l.body.length > this.limit ? html`<p class="more"><button class="link" @click=${() => (this.limit += MORE)}>Show more</button>, ${format.count(l.body.length - this.limit, "character")} left.</p>` : nothing}
      ${l.elided ? html`<p class="more">${format.bytes(l.elided)} from its middle were not kept: of a long message the trace has head and tail.</p>` : nothing}</article>`;
  }

  #way(l: Letter): TemplateResult {
    const first = l.stops.at(-1)!;
    return html`<ol class="way">${l.stops.map((s, i) => this.#stop(s, l.stops[i + 1]))}
      <li><b>${this.#origin(first)}</b><small>${visible(first.from)}${first.address && first.from !== `[${first.address}]` ? `, ${visible(first.address)}` : ""}</small></li></ol>`;
  }

  #origin(s: Stop): string {
    return this.view.trace!.meta.hosts.find((h) => h.id === "client")?.address === s.address ? "This page" : "The first sender";
  }

  #stop(s: Stop, before: Stop | undefined): TemplateResult {
    const how = WITH[s.with.toUpperCase()], spent = s.t !== undefined && before?.t !== undefined ? s.t - before.t : undefined, off = before?.deferred ?? [];
    return html`<li><b>${visible(s.by)}</b><small>${how ? html`${how} (<span class="wire">${s.with}</span>), ` : s.with ? `${visible(s.with)}, ` : nothing}id <span class="wire">${visible(s.id)}</span>${s.for ? html`, for ${visible(s.for)}` : nothing}<br>${visible(s.date)}${
      s.t === undefined ? nothing : html` <span class="at">${format.duration(s.t)}</span>`}</small>
      ${spent === undefined ? nothing : html`<i>${format.duration(spent)} later ${provenance("derived")}${off.length ? html`<br>put off ${off.length === 1 ? "once" : `${off.length} times`}: ${visible(off[0]!.reason ?? "")}` : nothing}</i>`}</li>`;
  }

  #report(groups: HeaderField[][]): TemplateResult {
    const [message = [], ...recipients] = groups, reporter = value(message, "reporting-mta")?.replace(/^.*?;\s*/, "");
    return html`<h3>What this bounce says<small><a href=${format.references("RFC 3464")[0]!.url!} target="_blank" rel="noreferrer">RFC 3464</a></small></h3>
      <p class="tells">${recipients.map((r) => html`${reporter ?? "A server"} could not get the message to ${address(value(r, "final-recipient"))}: ${
        enhancedEntry(value(r, "status") ?? "")?.means ?? "see what the other server said."} `)}</p>
      ${groups.map((g) => html`<table class="report"><tbody>${g.map((f) => this.#reportField(f))}</tbody></table>`)}`;
  }

  #reportField(f: HeaderField): TemplateResult {
    const name = f.name.toLowerCase(), [means, section] = REPORT[name] ?? ["", ""], ref = section && format.references(`RFC 3464, ${section}`)[0]!;
    const more = name === "status" ? enhancedEntry(f.value)?.title : name === "action" ? ACTIONS[f.value.toLowerCase()] : name === "diagnostic-code" ? look(`reply.${/\d{3}/.exec(f.value)?.[0]}`)?.title : undefined;
    return html`<tr><th scope="row">${f.name}</th><td>${visible(f.value)}<small>${means}${more ? html`: ${more}` : nothing}${ref ? html` <a href=${ref.url!} title=${ref.text} target="_blank" rel="noreferrer">${section}</a>` : nothing}</small></td></tr>`;
  }

  static override styles = [shared, css`
    :host { display: block; overflow: auto; background: var(--paper); container: mail / inline-size; scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    .none { color: var(--soft); padding: var(--s4); max-width: 60ch; line-height: 20px; }
    .panes { display: grid; grid-template-columns: minmax(180px, 240px) minmax(0, 1fr); min-height: 100%; }
    nav { border-right: 1px solid var(--rule); padding: var(--s3) 0 var(--s4); } nav .say, nav h3, .item { padding-left: var(--s3); padding-right: var(--s3); }
    .say { line-height: 18px; padding-bottom: var(--s2); }
    h3 { font-size: var(--t2); display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 var(--s2); border-top: 1px solid var(--rule); padding-top: 5px; margin-top: 10px; line-height: 18px; overflow-wrap: anywhere; }
    small { font-size: var(--t1); color: var(--soft); font-weight: 400; } nav h3 small, article h3 small { flex: none; }
    .letter { display: block; width: 100%; padding: 4px var(--s3); border-left: 3px solid transparent; } .letter b { display: block; font-weight: 400; line-height: 17px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .letter small { display: block; line-height: 15px; }
    .letter[aria-pressed="true"] { background: var(--mark); border-left-color: var(--ink); } .letter[aria-pressed="true"] b { font-weight: 600; } .letter[aria-pressed="true"] small { color: var(--ink); } .letter:hover { background: var(--mark); } .letter:focus-visible { outline-offset: -2px; }
    .item { padding-top: 3px; padding-bottom: 3px; font-size: var(--t2); } .item small { display: block; line-height: 15px; overflow-wrap: anywhere; }
    article { padding: var(--s3) var(--s4) var(--s5); min-width: 0; } h2 { font-size: var(--t4); line-height: 20px; overflow-wrap: anywhere; }
    .more { font-size: var(--t2); color: var(--soft); line-height: 18px; display: flex; gap: 4px; align-items: center; } .more .link { font-size: inherit; } article > h3 { border-top-color: var(--rule-strong); }
    .tells { line-height: 19px; padding: 4px 0; }
    table { border-collapse: collapse; width: 100%; font-size: var(--t2); } th { text-align: left; font-weight: 400; color: var(--soft); width: 132px; vertical-align: top; padding: 2px var(--s2) 2px 0; line-height: 17px; overflow-wrap: anywhere; } td { font-family: var(--wire); line-height: 17px; padding: 2px 0; overflow-wrap: anywhere; vertical-align: top; }
    .report td small { display: block; font-family: var(--prose); line-height: 15px; } .report + .report { border-top: 1px solid var(--rule); }
    summary { cursor: pointer; font-size: var(--t2); line-height: 26px; }
    pre { font: var(--t2)/17px var(--wire); white-space: pre-wrap; overflow-wrap: anywhere; background: var(--panel); border-left: 2px solid var(--rule-strong); padding: var(--s2) var(--s3); margin-top: 4px; }
    .way { padding: 6px 0 2px; font-size: var(--t2); } .way li { position: relative; padding: 0 0 10px 20px; line-height: 17px; }
    .way li::before { content: ""; position: absolute; left: 3px; top: 4px; width: 9px; height: 9px; border-radius: 50%; background: var(--ink); }
    .way li:last-child::before { background: var(--paper); border: 1.5px solid var(--ink); } .way li:not(:last-child)::after { content: ""; position: absolute; left: 6.5px; top: 13px; bottom: -4px; width: 2px; background: var(--ink); }
    .way b { font-weight: 600; overflow-wrap: anywhere; } .way small { display: block; line-height: 15px; overflow-wrap: anywhere; } .way i { display: block; font-style: normal; padding: 5px 0 0 var(--s2); line-height: 16px; } .way i .glyph { display: inline-block; vertical-align: -1px; }
    .way .at { font-family: var(--wire); padding-left: var(--s2); }
    @container mail (max-width: 560px) { .panes { grid-template-columns: minmax(0, 1fr); align-content: start; } nav { border-right: 0; border-bottom: 1px solid var(--rule-strong); } .letter { min-height: 44px; } th { width: 100px; } }
  `];
}

/** The address in a field such as "rfc822; grace@example.net". */
function address(field: string | undefined): string {
  return visible(field?.replace(/^.*?;\s*/, "") ?? "its recipient");
}

customElements.define("scope-mail", ScopeMail);
