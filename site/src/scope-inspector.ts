// The inspector: what the chosen row is, what it means, its fields and bytes.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import { enhancedEntry, eventEntry, look, replyEntry, type Entry } from "./book.ts";
import { dump, fieldText, plainOffset, recordEvent, sealFields, suiteOf, type Dump, type DumpField } from "./dump.ts";
import * as format from "./format.ts";
import { control, provenance } from "./icons.ts";
import { certificateFacts, connectFacts, handshakeFacts } from "./layout.ts";
import type { Row } from "./rows.ts";
import type { Width } from "./scope-top.ts";
import { shared } from "./tokens.ts";
import type { EventOfKind, HandshakeData, Source, TraceEvent } from "./trace.ts";
import { now, placeOf, type Place, type View } from "./view.ts";
import { commonName, SOURCE_WORDS, wordsOf } from "./words.ts";

type Tab = "fields" | "bytes" | "next";
type Depth = "smtp" | "tls";

/** Bytes shown at first, and how many more at each request. */
const FIRST = 512, MORE = 4096;

const VERBS = ["EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "message", "RSET", "NOOP", "VRFY", "QUIT"];

export class ScopeInspector extends LitElement {
  static override properties = {
    view: { attribute: false },
    selected: { attribute: false },
    revealed: { attribute: false },
    width: { attribute: false },
    tab: { state: true },
    depth: { state: true },
    hot: { state: true },
    limit: { state: true },
    room: { state: true },
  };
  declare view: View;
  declare selected: string;
  declare revealed: ReadonlySet<number>;
  declare width: Width;
  declare tab: Tab;
  declare depth: Depth;
  /** Field under the pointer, as an index. */
  declare hot: number;
  declare limit: number;
  /** Bytes on one line. */
  declare room: number;

  #pinned = -1;
  #resize = new ResizeObserver(() => (this.room = this.clientWidth >= 960 ? 16 : 8));

  constructor() {
    super();
    this.selected = "";
    this.revealed = new Set();
    this.width = "wide";
    this.tab = "fields";
    this.depth = "smtp";
    this.hot = -1;
    this.limit = FIRST;
    this.room = 8;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#resize.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#resize.disconnect();
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has("selected")) return;
    this.hot = this.#pinned = -1;
    this.limit = FIRST;
    this.depth = placeOf(this.selected)?.record === undefined ? "smtp" : "tls";
  }

  protected override updated(changed: PropertyValues<this>): void {
    if (changed.has("selected")) this.scrollTop = 0;
  }

  #row(): { row: Row; place: Place } | undefined {
    const place = placeOf(this.selected), row = place && this.view.rows.list[place.row];
    return row && row.n > 0 ? { row, place } : undefined;
  }

  protected override render(): TemplateResult {
    const at = this.#row();
    if (!at) return html`<div class="empty"><p>Choose a row to see what it means, its fields and its bytes.</p></div>${this.#legal()}`;
    const { row, place } = at, { rows } = this.view;
    const body = place.certificate !== undefined ? this.#certificate(row, place.certificate)
      : place.record !== undefined || row.kind === "record" ? this.#record(row, place.record ?? row.e)
      : row.kind === "connect" ? this.#facts(connectFacts(row.parts.map((n) => rows.trace!.events[n] as EventOfKind<"tunnel", "opened">)))
      : row.kind === "handshake" ? this.#handshake(row)
      : row.layer === "smtp" && rows.event(row).at ? this.#said(row)
      : nothing;
    return html`${this.#header(row, place)}${this.#meaning(row, place)}${body}${this.#on("next") ? this.#legal() : nothing}`;
  }

  /** On a phone one part is shown at a time. */
  #on(tab: Tab): boolean {
    return this.width !== "phone" || this.tab === tab;
  }

  #header(row: Row, place: Place): TemplateResult {
    const e = this.view.rows.event(row), { title, tone } = this.#title(row, place);
    const src: Source = place.record !== undefined || place.certificate !== undefined ? "observed" : e.src;
    return html`<div class="head"><h2 class=${tone}>${title}</h2><span class="soft">row ${row.n}</span>
      <span class="who">${provenance(src, false)}${SOURCE_WORDS[src]}</span>
      ${this.width === "wide" ? nothing : html`<button class="close" aria-label="close the inspector" @click=${() => act(this, { do: "sheet" })}>${control("close")}</button>`}</div>`;
  }

  #title(row: Row, place: Place): { title: string; tone: string } {
    const e = this.view.rows.event(row);
    if (place.certificate !== undefined) return { title: `Certificate ${place.certificate + 1}`, tone: "tls" };
    if (place.record !== undefined) return { title: "TLS record", tone: "tls" };
    const smtp = row.dir === "in" ? "in" : "out";
    if (row.kind === "reply") {
      const d = (e as EventOfKind<"smtp", "reply">).data;
      return { title: [d.code, d.enhanced].filter(Boolean).join(" "), tone: smtp };
    }
    if (row.kind === "handshake" && row.ok === false) return { title: "TLS handshake failed", tone: "bad" };
    const tone = row.layer === "tls" ? "tls" : row.layer === "tunnel" ? "tcp" : row.kind === "error" || row.kind === "desync" ? "bad" : row.layer === "smtp" ? smtp : "";
    return { title: eventEntry(e)?.title ?? (row.kind === "note" ? "Note" : "Event"), tone };
  }

  #meaning(row: Row, place: Place): TemplateResult {
    const e = this.view.rows.event(row), more: unknown[] = [];
    let entry: Entry | undefined = eventEntry(e);
    if (place.certificate !== undefined) entry = look("tls.handshake.certificate");
    else if (place.record !== undefined) entry = look("event.tls.record");
    else if (row.kind === "connect" && row.ok) entry = look("event.tunnel.opened");
    let means = entry?.means ?? wordsOf(this.view.rows, row).main;
    if (row.kind === "reply" && place.record === undefined) {
      const d = (e as EventOfKind<"smtp", "reply">).data, code = replyEntry(d.code), fine = d.enhanced ? enhancedEntry(d.enhanced) : undefined;
      if (d.verb === "greeting") means = `${means} ${d.code < 300 ? "" : (code?.means ?? "")}`.trim();
      else if (fine) {
        means = `${fine.title}: ${fine.means}`;
        more.push(html`${code?.title ?? d.code} (${this.#refs(code)}).`);
        entry = fine;
      }
    }
    if (row.kind === "error" || row.kind === "note" || row.kind === "desync") {
      const said = wordsOf(this.view.rows, row).main;
      return html`<p class="means">${said}</p><p class="more">${entry ? html`${entry.title}: ${entry.means} ${this.#refs(entry)}` : nothing}</p>`;
    }
    if (place.record === undefined && place.certificate === undefined) more.push(this.#timing(row));
    return html`<p class="means">${means}</p><p class="more">${this.#refs(entry)}${entry ? "." : nothing}${more.map((m) => html` ${m}`)}</p>`;
  }

  #refs(entry: Entry | undefined): TemplateResult | typeof nothing {
    if (!entry) return nothing;
    return html`${format.references(entry.section).map((r, i) => html`${i ? "; " : nothing}${r.url ? html`<a href=${r.url} target="_blank" rel="noreferrer">${r.text}</a>` : r.text}`)}`;
  }

  #rowLink(row: Row, words = `row ${row.n}`): TemplateResult {
    return html`<button class="link" @click=${() => act(this, { do: "pick", key: `r${row.i}` })}>${words}</button>`;
  }

  #timing(row: Row): TemplateResult | typeof nothing {
    const { rows } = this.view, { other } = row;
    if (row.kind === "handshake" && row.ok !== undefined) {
      return html`Took ${format.duration(rows.event(row).t - row.t)}${(rows.event(row).data as HandshakeData).roundTrips ? html`, ${format.count((rows.event(row).data as HandshakeData).roundTrips!, "round trip")}` : nothing}.`;
    }
    if (row.dir === "out" && other) {
      const d = (rows.event(other) as EventOfKind<"smtp", "reply">).data, fine = d.enhanced ? enhancedEntry(d.enhanced) : undefined, entry = fine ?? replyEntry(d.code);
      const sent = row.kind === "message" ? rows.event(row).t : row.t;
      return html`Answered in ${this.#rowLink(other)}, ${format.duration(other.t - sent)} later: ${[d.code, d.enhanced].filter(Boolean).join(" ")}${entry ? html`, ${lower(entry.title)} (${this.#refs(entry)})` : nothing}.`;
    }
    if (row.kind === "reply" && other) {
      const sent = other.kind === "message" ? rows.event(other).t : other.t;
      return html`Answers ${this.#rowLink(other)}, ${wordsOf(rows, other).main.split(" ")[0]}, after ${format.duration(row.t - sent)}.`;
    }
    const d = rows.event(row).layer === "smtp" && (row.kind === "command" || row.kind === "response") ? (rows.event(row) as EventOfKind<"smtp", "command">).data : undefined;
    if (d?.deadline && !other) return html`The client waits ${format.duration(d.deadline)} for the reply (RFC 5321, 4.5.3.2).`;
    return nothing;
  }

  // ---- what was said, and the record that carried it

  #said(row: Row): TemplateResult {
    const { rows } = this.view, carriers = rows.carriers(row), e = rows.event(row), trace = rows.trace!;
    const depth = carriers.length ? this.depth : "smtp";
    const tone = row.dir === "in" ? "in" : "out", wireLen = carriers.reduce((n, i) => n + recordEvent(trace, i).at!.len, 0);
    const tabs = carriers.length
      ? html`<div class="depth" role="tablist" aria-label="layer">
          ${this.#tabButton("tls", "tls", `TLS ${format.number(wireLen)}`, depth)}<span aria-hidden="true">&gt;</span>${this.#tabButton("smtp", tone, `SMTP ${format.bytes(e.at!.len)}`, depth)}</div>`
      : html`<div class="depth" role="presentation"><span class="chosen ${tone}">SMTP ${format.bytes(e.at!.len)}, in clear</span></div>`;
    const body = depth === "tls" ? html`${carriers.slice(0, 12).map((n, i) => this.#recordBody(row, n, i, carriers.length))}` : this.#text(row, e, carriers);
    return html`${this.#phoneTabs()}${this.#on("fields") || this.#on("bytes") ? html`${tabs}${body}` : nothing}`;
  }

  #tabButton(id: Depth, tone: string, words: string, chosen: Depth): TemplateResult {
    return html`<button role="tab" class=${tone} aria-selected=${id === chosen} tabindex=${id === chosen ? 0 : -1}
      @click=${() => this.#go(id)} @keydown=${(e: KeyboardEvent) => this.#tabKey(e, id)}>${words}</button>`;
  }

  #go(depth: Depth): void {
    this.depth = depth;
    this.hot = this.#pinned = -1;
  }

  async #tabKey(e: KeyboardEvent, id: Depth): Promise<void> {
    if (e.key !== "ArrowLeft" && e.key !== "ArrowRight") return;
    e.preventDefault();
    e.stopPropagation();
    this.#go(id === "tls" ? "smtp" : "tls");
    await this.updateComplete;
    this.renderRoot.querySelector<HTMLElement>('[role="tab"][aria-selected="true"]')?.focus();
  }

  #phoneTabs(): TemplateResult | typeof nothing {
    if (this.width !== "phone") return nothing;
    const tabs: [Tab, string][] = [["fields", "Fields"], ["bytes", "Bytes"], ["next", "Next"]];
    return html`<div class="tabs">${tabs.map(([id, words]) => html`<button aria-pressed=${id === this.tab} @click=${() => (this.tab = id)}>${words}</button>`)}</div>`;
  }

  #text(row: Row, e: TraceEvent, carriers: number[]): TemplateResult {
    const trace = this.view.trace!, secret = this.revealed.has(row.e) ? [] : (e.secret ?? []), at = e.at!;
    const only = carriers.length === 1 ? recordEvent(trace, carriers[0]!) : undefined;
    const seal = only ? sealFields(only.data, at.len, suiteOf(trace)) : [];
    const d = dump(trace, at, [...(e.fields ?? []), ...seal], secret, this.limit, seal.length ? Uint8Array.of(23) : undefined);
    const words = row.dir === "out" ? "Plaintext, as the page wrote it" : "Plaintext, as the page read it";
    return html`<div class="cols"><div>
      ${this.#on("fields") ? this.#fields(e, d, secret) : nothing}
      ${e.secret?.length && this.#on("fields") ? html`<p class="more"><button class="link" @click=${() => this.dispatchEvent(new CustomEvent("scope-reveal", { detail: this.selected, bubbles: true }))}>${this.revealed.has(row.e) ? "Hide the secret" : "Show the secret"}</button></p>` : nothing}</div><div>
      ${this.#on("bytes") ? html`${this.#dump(carriers.length ? words : "Bytes, in clear on the wire", seal.length ? `${format.number(at.len)} + 1 bytes` : format.bytes(at.len), d, { tail: seal.length ? at.len : Infinity })}
      ${only ? this.#sealed(only, at.off) : carriers.length > 1 ? html`<p class="more">${format.count(carriers.length, "TLS record")} carried it: choose TLS above.</p>` : nothing}` : nothing}</div></div>`;
  }

  /** The record around a text: bytes of the text and their ciphertext light up together. */
  #sealed(e: EventOfKind<"tls", "record">, textOff: number): TemplateResult {
    const from = plainOffset(e.data), d = dump(this.view.trace!, e.at!, [], [], this.limit);
    const shift = from === undefined ? undefined : from - (e.data.plain!.off - textOff);
    return this.#dump("TLS record, as it crossed the link", `5 + ${format.number(e.at!.len - 5)} bytes, RFC 8446, 5.2`, d, { shift, head: from ?? 5, tone: "tls" });
  }

  #record(row: Row, n: number): TemplateResult {
    return html`${this.#phoneTabs()}${this.#recordBody(row, n, 0, 1)}`;
  }

  #recordBody(row: Row, n: number, i: number, of: number): TemplateResult {
    const trace = this.view.trace!, e = recordEvent(trace, n), d = dump(trace, e.at!, e.fields ?? [], [], this.limit);
    const plain = e.data.plain && !e.data.count ? `, ${format.count(e.data.plain.len, "byte")} of text` : "";
    const name = of > 1 ? html`<h3>Record ${i + 1} of ${of}<small>row ${row.n}</small></h3>` : nothing;
    return html`${name}<div class="cols"><div>${this.#on("fields") ? this.#fields(e, d, []) : nothing}</div><div>
      ${this.#on("bytes") ? this.#dump(e.data.count ? `${format.number(e.data.count)} records` : "As it crossed the link", format.bytes(e.at!.len) + plain, d, { tone: "tls" }) : nothing}</div></div>`;
  }

  #fields(e: TraceEvent, d: Dump, secret: readonly [number, number][]): TemplateResult | typeof nothing {
    const visible = d.fields.map((f, i) => [f, i] as const).filter(([f]) => f.name !== "delimiter");
    const hot = d.fields[this.hot], entry = hot && look(hot.book);
    if (visible.length === 0) return nothing;
    return html`
      <table class="fields" tabindex="0" aria-label="fields" @keydown=${(k: KeyboardEvent) => this.#fieldKey(k, visible.map(([, i]) => i))} @pointerleave=${() => (this.hot = this.#pinned)}>
        <tbody>${visible.map(([f, i]) => html`
          <tr class="${this.#hit(d.fields, f.off, f.off + f.len, !!f.extra) ? "hit" : ""} ${f.extra ? "tls" : ""} d${Math.min(f.depth ?? 0, 3)}" @pointerenter=${() => (this.hot = i)} @click=${() => this.#pin(i)}>
            <td>${f.len === 1 ? f.off : `${f.off}–${f.off + f.len - 1}`}</td><td>${f.name}</td><td><span>${fieldText(this.view.trace!, e, f, secret)}</span></td></tr>`)}</tbody>
      </table>
      <p class="about">${entry ? html`${entry.means} ${this.#refs(entry)}` : html`Point at a field or a byte: they light up together.`}</p>`;
  }

  #fieldKey(e: KeyboardEvent, order: number[]): void {
    const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (!by) return;
    e.preventDefault();
    e.stopPropagation();
    const at = order.indexOf(this.hot);
    this.#pinned = this.hot = order[Math.max(0, Math.min(order.length - 1, at < 0 ? 0 : at + by))] ?? -1;
    this.renderRoot.querySelector("tr.hit")?.scrollIntoView({ block: "nearest" });
  }

  #pin(i: number): void {
    this.#pinned = this.hot = this.#pinned === i ? -1 : i;
  }

  /** Whether a range of bytes lies in the field under the pointer. */
  #hit(fields: readonly DumpField[], from: number, to: number, extra = false): boolean {
    const h = fields[this.hot];
    return !!h && !!h.extra === extra && from >= h.off && to <= h.off + h.len;
  }

  #dump(name: string, right: string, d: Dump, o: { shift?: number | undefined; head?: number; tone?: string; tail?: number } = {}): TemplateResult {
    const per = this.room, lines: TemplateResult[] = [], h = this.#hotRange(o.shift);
    // With a shift, this is a record around a text whose fields are those under the pointer.
    const shifted = o.shift !== undefined, owner = (i: number) => (shifted ? -1 : d.owner[i]!);
    const hidden = (i: number) => d.secret.some(([from, to]) => i >= from && i < to);
    // The head of a record has a line of its own, so that its bytes stand below those of the text.
    for (let at = 0, end = 0; at < d.bytes.length; at = end) {
      const hex: TemplateResult[] = [], ascii: TemplateResult[] = [];
      end = Math.min(at === 0 && o.head ? o.head : at + per, d.bytes.length);
      for (let i = at; i < end;) {
        const own = owner(i), lit = !!h && i >= h[0] && i < h[1], seal = i < (o.head ?? 0) || i >= (o.tail ?? Infinity);
        let j = i + 1;
        while (j < end && owner(j) === own && (!!h && j >= h[0] && j < h[1]) === lit && (j < (o.head ?? 0) || j >= (o.tail ?? Infinity)) === seal) j++;
        const part = [...d.bytes.subarray(i, j)], cls = `${lit ? "hit" : ""} ${seal || o.tone === "tls" ? "lt" : ""}`;
        hex.push(html`${i > at ? " " : ""}<i class=${cls} data-f=${own}>${part.map((b, k) => (hidden(i + k) ? "••" : format.hex(b, 2))).join(" ")}</i>`);
        ascii.push(html`<i class=${cls} data-f=${own}>${part.map((b, k) => (hidden(i + k) ? "•" : format.ascii(b))).join("")}</i>`);
        i = j;
      }
      lines.push(html`<span class="l"><span class="o">${format.hex(at, 4)}</span>  ${hex}${" ".repeat((per - (end - at)) * 3 + 3)}${ascii}</span>`);
    }
    return html`<p class="hexname"><span>${name}</span><span>${right}</span></p>
      <pre class="hex" tabindex="0" aria-label=${name} @pointerover=${(e: PointerEvent) => this.#overByte(e)} @pointerleave=${() => (this.hot = this.#pinned)} @click=${(e: MouseEvent) => this.#clickByte(e)}>${lines}</pre>
      ${d.rest > 0 ? html`<p class="more">${d.elided ? `${format.bytes(d.elided)} of ${format.number(d.bytes.length + d.rest)} were not kept: of a long message the trace has head and tail. ` : ""}${
        d.rest > d.elided ? html`<button class="link" @click=${() => (this.limit += MORE)}>Show more</button>, ${format.count(d.rest - d.elided, "byte")} left.` : nothing}</p>` : nothing}`;
  }

  #hotRange(shift: number | undefined): [number, number] | undefined {
    const at = this.#row();
    if (!at || this.hot < 0) return undefined;
    const e = at.place.record !== undefined ? this.view.trace!.events[at.place.record]! : this.view.rows.event(at.row);
    const carriers = this.view.rows.carriers(at.row);
    const shownRecord = this.depth === "tls" && at.place.record === undefined && carriers.length ? recordEvent(this.view.trace!, carriers[0]!) : undefined;
    const seal = !shownRecord && carriers.length === 1 && at.place.record === undefined ? sealFields(recordEvent(this.view.trace!, carriers[0]!).data, e.at?.len ?? 0, suiteOf(this.view.trace!)) : [];
    const f = [...((shownRecord ?? e).fields ?? []), ...seal][this.hot];
    if (!f) return undefined;
    const by = shift ?? 0;
    return [f.off + by, f.off + f.len + by];
  }

  #overByte(e: PointerEvent): void {
    const f = (e.target as Element).closest<HTMLElement>("[data-f]")?.dataset["f"];
    if (f !== undefined) this.hot = Number(f) >= 0 ? Number(f) : this.#pinned;
  }

  #clickByte(e: MouseEvent): void {
    const f = Number((e.target as Element).closest<HTMLElement>("[data-f]")?.dataset["f"] ?? -1);
    if (f >= 0) this.#pin(f);
  }

  // ---- what was agreed

  #facts(facts: readonly [string, string][], explain: Record<string, Entry | undefined> = {}): TemplateResult {
    return html`${this.#phoneTabs()}${this.#on("fields") ? html`<dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd><span class="wire">${value}</span>${
      explain[name] ? html`<small>${explain[name].means} ${this.#refs(explain[name])}</small>` : nothing}</dd></div>`)}</dl>` : nothing}`;
  }

  #handshake(row: Row): TemplateResult {
    const d = this.view.rows.event(row).data as HandshakeData | undefined;
    if (!d || row.ok === undefined) return html``;
    const id = (s: string | undefined) => s?.toLowerCase().replaceAll(/[^a-z0-9.]+/g, "_");
    const explain = {
      version: look(`tls.version.${d.version?.replace("TLS ", "")}`), "cipher suite": look(`tls.suite.${id(d.suite)}`, "tls.suite.other"),
      "key exchange": d.group ? look(`tls.group.${id(d.group)}`, "tls.group.other") : undefined,
      certificate: d.reason ? look(`cert.${d.reason}`) : undefined,
    };
    const chain = d.chain?.length && this.#on("fields") ? html`<h3>Certificates <small>as the server sent them</small></h3><ol class="chain">${d.chain.map((c, i) => html`
      <li><button class="link wire" @click=${() => act(this, { do: "pick", key: `r${row.i}-c${i}` })}>${commonName(c.subject)}</button><small>until ${format.date(c.notAfter).split(",")[0]}</small></li>`)}</ol>` : nothing;
    return html`${d.problem ? html`<p class="problem">${d.problem}</p>` : nothing}${this.#facts(handshakeFacts(d), explain)}${chain}`;
  }

  #certificate(row: Row, i: number): TemplateResult {
    const c = (this.view.rows.event(row).data as HandshakeData).chain![i]!;
    return this.#facts(certificateFacts(c));
  }

  // ---- what may come next

  #legal(): TemplateResult | typeof nothing {
    const v = this.view, last = v.rows.lastReply;
    const legal = v.pending?.legal ?? last?.data.legal ?? [];
    if (legal.length === 0) return nothing;
    const state = last ? look(`state.${last.data.state}`)?.title : undefined, no = VERBS.filter((x) => !legal.includes(x) && x !== "message" && x !== "HELO");
    return html`<h3>Legal next <small>at ${format.ms(now(v))} ms${state ? html`, ${lower(state)}` : nothing}</small></h3>
      <p class="next">${legal.map((verb) => html`<button class=${verb === v.pending?.verb ? "planned" : ""} ?disabled=${!v.pending || v.pending.kind !== "command"} @click=${() => act(this, { do: "draft", text: draftOf(verb) })}>${verb}</button>`)}${
        no.map((verb) => html`<span class="no"><s>${verb}</s> 503?</span>`)}</p>`;
  }

  static override styles = [shared, css`
    :host { display: block; background: var(--panel); font-size: var(--t3); overflow: auto; padding: 0 var(--s4) var(--s4); scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    .head { display: flex; align-items: baseline; gap: var(--s2); min-height: 36px; padding-top: 10px; flex-wrap: wrap; }
    h2 { font: 700 var(--t4)/1.2 var(--wire); overflow-wrap: anywhere; }
    .out { color: var(--out); } .in { color: var(--in); } .tls { color: var(--tls); } .tcp { color: var(--tcp); }
    .who { margin-left: auto; font-size: var(--t1); color: var(--soft); display: inline-flex; gap: 5px; align-items: center; }
    .close { width: 28px; height: 28px; display: grid; place-items: center; align-self: center; margin: -6px -8px -6px 0; }
    .empty { padding: 14px 0 var(--s2); color: var(--soft); }
    .means { line-height: 18px; padding-top: 4px; }
    .more { font-size: var(--t2); color: var(--soft); margin: 3px 0 9px; line-height: 17px; }
    .more .link { font-size: inherit; }
    :host([layout="mid"]) .cols { display: grid; grid-template-columns: 1fr 1.3fr; gap: var(--s5); } :host([layout="mid"]) .cols .hexname:first-child { border-top: 0; margin-top: 0; }
    .problem { color: var(--bad); font-size: var(--t2); line-height: 17px; margin-bottom: 9px; }
    .depth { display: flex; gap: var(--s3); font: var(--t1)/24px var(--wire); border-top: 1px solid var(--rule); border-bottom: 1px solid var(--rule-strong); white-space: pre; overflow: hidden; }
    .depth button { padding: 0 2px; } .depth span { color: var(--soft); } .depth .chosen { font-weight: 700; box-shadow: inset 0 -3px 0 currentColor; }
    .depth .chosen.out { color: var(--out); } .depth .chosen.in { color: var(--in); }
    .depth [aria-selected="true"] { font-weight: 700; box-shadow: inset 0 -3px 0 currentColor; }
    .depth button:focus-visible { outline-offset: -2px; }
    .fields { width: 100%; border-collapse: collapse; table-layout: fixed; font-size: var(--t2); margin: 4px 0 2px; }
    .fields:focus-visible { outline-offset: 2px; }
    .fields td { height: 18px; padding: 0; line-height: 18px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
    .fields td:nth-child(1) { font: var(--t1)/18px var(--wire); color: var(--soft); width: 62px; padding-left: 4px; }
    .fields td:nth-child(2) { width: 124px; }
    .fields td:nth-child(3) { font-family: var(--wire); }
    @container scope (max-width: 1300px) { .fields td:nth-child(1) { width: 56px; } .fields td:nth-child(2) { width: 102px; } }
    .fields .d1 td:nth-child(2) { padding-left: 12px; } .fields .d2 td:nth-child(2) { padding-left: 24px; } .fields .d3 td:nth-child(2) { padding-left: 36px; }
    .fields .tls td { color: var(--tls); }
    .fields .hit td { background: var(--mark); box-shadow: inset 0 -1px 0 var(--ink); color: var(--ink); }
    .about { font-size: var(--t1); line-height: 15px; min-height: 30px; color: var(--soft); margin: 2px 0 4px; }
    .hexname span + span { text-align: right; } .hexname { font-size: var(--t1); color: var(--soft); display: flex; justify-content: space-between; gap: var(--s2); line-height: 17px; border-top: 1px solid var(--rule); padding-top: 2px; margin-top: 4px; }
    .hex { font: var(--t2)/16px var(--wire); white-space: pre; padding: 0 0 2px 4px; overflow-x: auto; scrollbar-width: thin; }
    .hex .l { display: block; } .hex .o { color: var(--soft); } .hex i { font-style: normal; } .hex .lt { color: var(--tls); }
    i.hit { background: var(--mark); box-shadow: 0 1px 0 var(--ink); color: var(--ink) !important; }
    .facts { font-size: var(--t2); border-top: 1px solid var(--rule); padding-top: 4px; }
    .facts div { display: grid; grid-template-columns: 96px 1fr; padding: 2px 0; line-height: 17px; } dt { color: var(--soft); } dd { overflow-wrap: anywhere; min-width: 0; }
    .facts small { display: block; font-size: var(--t1); color: var(--soft); line-height: 15px; padding-bottom: 2px; }
    .chain li { display: flex; justify-content: space-between; gap: var(--s2); font-size: var(--t2); line-height: 24px; } .chain small { color: var(--soft); font-size: var(--t1); flex: none; }
    .chain .link { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    h3 { font-size: var(--t2); display: flex; justify-content: space-between; gap: var(--s2); border-top: 1px solid var(--rule-strong); padding-top: 5px; margin-top: 10px; line-height: 18px; }
    h3 small { font-weight: 400; color: var(--soft); font-size: var(--t1); }
    .next button { min-width: 24px; text-align: center; } .next { font: var(--t2)/24px var(--wire); display: flex; flex-wrap: wrap; gap: 0 14px; }
    .next button, .next button:disabled { color: var(--out); }
    .next .planned, .next button:hover:not(:disabled) { font-weight: 700; text-decoration: underline; text-underline-offset: 3px; text-decoration-thickness: 2px; }
    .next .no { color: var(--soft); }
    .tabs { display: flex; border-bottom: 1px solid var(--rule-strong); margin: 2px calc(-1 * var(--s4)) 6px; padding: 0 var(--s3); }
    .tabs button { height: 40px; padding: 0 var(--s3); color: var(--soft); } .tabs [aria-pressed="true"] { color: var(--ink); font-weight: 600; box-shadow: inset 0 -3px 0 var(--ink); }
  `];
}

/** A book title in the middle of a sentence; names in capitals stay. */
function lower(title: string): string {
  return /^[A-Z][a-z]/.test(title) ? title[0]!.toLowerCase() + title.slice(1) : title;
}

/** What a legal verb looks like as a line to be completed. */
function draftOf(verb: string): string {
  return { MAIL: "MAIL FROM:<>", RCPT: "RCPT TO:<>", EHLO: "EHLO [127.0.0.1]", HELO: "HELO [127.0.0.1]", AUTH: "AUTH PLAIN", VRFY: "VRFY postmaster" }[verb] ?? verb;
}

customElements.define("scope-inspector", ScopeInspector);
