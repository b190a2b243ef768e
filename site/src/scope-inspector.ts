// The inspector: what the chosen row is, what it means, its fields and bytes. In the
// lab it goes down to the packets that carried it.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import { enhancedEntry, eventEntry, look, replyEntry, type Entry } from "./book.ts";
import { dump, fieldText, plainOffset, recordEvent, sealFields, suiteOf, type Dump, type DumpField } from "./dump.ts";
import { findingsOf, SEVERITY_GLYPH } from "./findings.ts";
import * as format from "./format.ts";
import { control, provenance, severity, SOURCE_WORDS } from "./icons.ts";
import { certificateFacts, connectFacts, handshakeFacts } from "./layout.ts";
import { story } from "./mailbox.ts";
import { carried, fateWords, layersOf, secretsIn, segmentFacts, stateAfter, truthOf, type PacketLayer } from "./packet.ts";
import { resized } from "./resized.ts";
import { arrival, isPacket, landed, type PacketEvent, type Row } from "./rows.ts";
import type { Width } from "./scope-top.ts";
import { shared } from "./tokens.ts";
import type { EventOfKind, HandshakeData, LookupData, MailData, PolicyData, Source, StateData, TraceEvent } from "./trace.ts";
import { now, placeOf, type Place, type View } from "./view.ts";
import { commonName, mailWords, visible, waitWords, wordsOf } from "./words.ts";

type Tab = "fields" | "bytes" | "next";
/** A layer of a packet, the TLS record around a text, or the row itself. */
type Depth = PacketLayer["id"] | "own";

interface Level {
  id: Depth;
  tone: string;
  words: string;
}

/** What is told to be out of order, when it is. */
const VERBS = ["EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "QUIT"];

/** Bytes shown at first, and how many more at each request. */
const FIRST = 512, MORE = 4096;

export class ScopeInspector extends LitElement {
  static override properties = {
    view: { attribute: false },
    selected: { attribute: false },
    revealed: { attribute: false },
    width: { attribute: false },
    tab: { state: true },
    depth: { state: true },
    which: { state: true },
    hot: { state: true },
    caret: { state: true },
    limit: { state: true },
    room: { state: true },
  };
  declare view: View;
  declare selected: string;
  declare revealed: ReadonlySet<number>;
  declare width: Width;
  declare tab: Tab;
  /** Undefined: the innermost that the row has. */
  declare depth: Depth | undefined;
  /** Which of several packets is shown. */
  declare which: number;
  /** Field under the pointer, as an index. */
  declare hot: number;
  /** Byte that the arrow keys have come to, -1 for none. */
  declare caret: number;
  declare limit: number;
  /** Bytes on one line. */
  declare room: number;

  #pinned = -1;

  constructor() {
    super();
    resized(this, () => (this.room = this.clientWidth >= 960 ? 16 : 8));
    this.selected = "";
    this.revealed = new Set();
    this.width = "wide";
    this.tab = "fields";
    this.which = 0;
    this.hot = this.caret = -1;
    this.limit = FIRST;
    this.room = 8;
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has("selected")) return;
    this.hot = this.caret = this.#pinned = -1;
    this.limit = FIRST;
    this.depth = undefined;
    this.which = 0;
  }

  protected override updated(changed: PropertyValues<this>): void {
    if (changed.has("selected")) this.scrollTop = 0;
    // Whoever chose a field sees its bytes, and the other way round.
    if (this.#pinned >= 0 && (changed.has("hot") || changed.has("caret") || changed.has("tab"))) for (const box of this.renderRoot.querySelectorAll<HTMLElement>(".scrolls")) show(box);
  }

  #row(): { row: Row; place: Place } | undefined {
    const place = placeOf(this.selected), row = place && this.view.rows.list[place.row];
    return row && row.n > 0 ? { row, place } : undefined;
  }

  protected override render(): TemplateResult {
    const at = this.#row();
    if (!at) return html`<div class="empty"><p>Choose a row to see what it means, its fields and its bytes.</p></div>${this.#legal()}`;
    const { row, place } = at, packets = this.#packets(row, place), levels = this.#levels(row, place, packets);
    const depth = levels.find((l) => l.id === this.depth)?.id ?? levels.at(-1)?.id, packet = packets[Math.min(this.which, packets.length - 1)];
    // Of a packet that stands for itself, the header that names it is shown first.
    const shown = this.depth === undefined && packet?.layer !== "dns" && this.#alone(row, place) ? (levels.findLast((l) => l.id === "tcp" || l.id === "udp")?.id ?? depth) : depth;
    const body = packet && shown && shown !== "own" && !(shown === "tls" && !this.#alone(row, place)) ? this.#packet(row, packet, packets, shown) : this.#own(row, place, shown);
    return html`${this.#header(row, place)}${this.#meaning(row, place)}${this.#found(row)}${body === nothing ? nothing : this.#phoneTabs()}
      ${levels.length && (this.#on("fields") || this.#on("bytes")) ? this.#breadcrumb(levels, shown!) : nothing}${body}${this.#on("next") ? this.#legal() : nothing}`;
  }

  /** A packet that carries nothing with a row, or that was asked for by itself. */
  #alone(row: Row, place: Place): boolean {
    return place.packet !== undefined || (isPacket(this.view.rows.event(row)) && place.record === undefined);
  }

  /** The packets that a place can be followed down to. */
  #packets(row: Row, place: Place): PacketEvent[] {
    const { rows } = this.view, trace = rows.trace!;
    if (place.certificate !== undefined || place.message !== undefined) return [];
    if (place.packet !== undefined) return [trace.events[place.packet] as PacketEvent];
    const record = place.record ?? (row.kind === "record" ? row.e : undefined);
    return record === undefined ? rows.packetsOf(row) : rows.carrying(trace.events[record]!.at!);
  }

  #levels(row: Row, place: Place, packets: PacketEvent[]): Level[] {
    const { rows } = this.view, trace = rows.trace!, e = rows.event(row), smtp = row.dir === "in" ? "in" : "out", packet = packets[Math.min(this.which, packets.length - 1)];
    const layers = packet ? layersOf(trace, packet) : [], alone = this.#alone(row, place);
    const out: Level[] = layers.filter((l) => alone || l.id === "ip" || l.id === "tcp" || l.id === "udp")
      .map((l) => ({ id: l.id, tone: l.id === "smtp" ? (packet!.dir === "in" ? "in" : "out") : l.id, words: `${l.name} ${format.number(layers.at(-1)!.next - l.off)}` }));
    if (alone) return out;
    const record = place.record ?? (row.kind === "record" ? row.e : undefined), carriers = record === undefined && row.layer === "smtp" ? rows.carriers(row) : [];
    if (record !== undefined) return out.length ? [...out, { id: "own", tone: "tls", words: `TLS ${format.bytes(trace.events[record]!.at!.len)}` }] : [];
    if (carriers.length) out.push({ id: "tls", tone: "tls", words: `TLS ${format.number(carriers.reduce((n, i) => n + recordEvent(trace, i).at!.len, 0))}` });
    if (row.layer === "smtp" && e.at) out.push({ id: "own", tone: smtp, words: `SMTP ${format.bytes(e.at.len)}${out.length ? "" : ", in clear"}` });
    else if (row.kind === "handshake" && out.length) out.push({ id: "own", tone: "tls", words: "TLS handshake" });
    return out;
  }

  /** What is shown of a row itself. */
  #own(row: Row, place: Place, depth: Depth | undefined): TemplateResult | typeof nothing {
    const { rows } = this.view;
    if (place.certificate !== undefined) return this.#certificate(row, place.certificate);
    if (place.message !== undefined) return this.#opened(rows.trace!.events[place.message]!);
    if (place.record !== undefined || row.kind === "record") return this.#recordBody(row, place.record ?? row.e, 0, 1);
    if (row.kind === "connect") return this.#facts(connectFacts(row.parts.map((n) => rows.trace!.events[n] as EventOfKind<"tunnel", "opened"> | EventOfKind<"tcp", "sample">)));
    if (row.kind === "handshake") return this.#handshake(row);
    if (row.kind === "dns") return html`${row.parts.map((n) => this.#answer(rows.trace!.events[n]!))}`;
    if (row.kind === "mail") return this.#mail(rows.event(row).data as MailData);
    if (row.layer !== "smtp" || !rows.event(row).at) return nothing;
    if (!this.#on("fields") && !this.#on("bytes")) return html``;
    const carriers = rows.carriers(row);
    return depth === "tls" ? html`${carriers.slice(0, 12).map((n, i) => this.#recordBody(row, n, i, carriers.length))}` : this.#text(row, rows.event(row), carriers);
  }

  /** On a phone one part is shown at a time. */
  #on(tab: Tab): boolean {
    return this.width !== "phone" || this.tab === tab;
  }

  #header(row: Row, place: Place): TemplateResult {
    const e = this.#event(row, place), { title, tone } = this.#title(row, place);
    const src: Source = place.record !== undefined || place.certificate !== undefined ? "observed" : e.src;
    return html`<div class="head"><h2 class=${tone}>${title}</h2><span class="soft">row ${row.n}</span>
      <span class="who">${provenance(src, false)}${SOURCE_WORDS[src]}</span>
      ${this.width === "wide" ? nothing : html`<button class="close" aria-label="close the inspector" @click=${() => act(this, { do: "sheet" })}>${control("close")}</button>`}</div>`;
  }

  /** What is shown: the event of the row, or the packet or handshake message that is chosen. */
  #event(row: Row, place: Place): TraceEvent {
    if (place.message !== undefined) return this.view.trace!.events[place.message]!;
    const packets = this.#alone(row, place) ? this.#packets(row, place) : [];
    return packets[Math.min(this.which, packets.length - 1)] ?? this.view.rows.event(row);
  }

  #title(row: Row, place: Place): { title: string; tone: string } {
    const e = this.#event(row, place);
    if (place.certificate !== undefined) return { title: `Certificate ${place.certificate + 1}`, tone: "tls" };
    if (place.record !== undefined) return { title: "TLS record", tone: "tls" };
    if (e.layer === "tls" && e.kind === "decrypted") return { title: e.data.type, tone: "tls" };
    if (isPacket(e)) return { title: packetTitle(e), tone: e.layer };
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
    const e = this.#event(row, place), more: unknown[] = [], host = (id: string | undefined) => (id === "client" ? "this page" : this.view.trace!.host(id ?? ""));
    let entry: Entry | undefined = eventEntry(e);
    if (e.from && e.to && (row.hop || isPacket(e))) more.push(`From ${host(e.from)} to ${host(e.to)}.`);
    if (place.certificate !== undefined) entry = look("tls.handshake.certificate");
    else if (place.record !== undefined) entry = look("event.tls.record");
    else if (e.layer === "tls" && e.kind === "decrypted") {
      entry = look(`tls.handshake.${e.data.type}`);
      const records = e.data.records ?? [];
      more.push(html`From the ${e.dir === "out" ? "client" : "server"}, encrypted in ${records.length === 1 ? "a TLS record" : format.count(records.length, "TLS record")} (${
        records.map((n, i) => html`${i ? ", " : nothing}<button class="link" @click=${() => act(this, { do: "pick", key: `r${row.i}-e${n}` })}>${format.bytes(recordEvent(this.view.trace!, n).at!.len)}</button>`)}) and opened with the session’s own secrets.`);
    }
    else if (row.kind === "connect" && row.ok) entry = look("event.tunnel.opened");
    let means = entry?.means ?? wordsOf(this.view.rows, row).main, todo = row.kind === "reply" ? undefined : entry?.do;
    if (row.kind === "mail") {
      more.push(means);
      means = `${wordsOf(this.view.rows, row).main}.`;
    }
    if (row.kind === "reply" && place.record === undefined && place.packet === undefined) {
      const d = (e as EventOfKind<"smtp", "reply">).data, code = replyEntry(d.code), fine = d.enhanced ? enhancedEntry(d.enhanced) : undefined;
      todo = fine?.do ?? code?.do;
      if (d.verb === "greeting") means = `${means} ${d.code < 300 ? "" : (code?.means ?? "")}`.trim();
      else if (fine) {
        means = `${fine.title}: ${fine.means}`;
        more.push(html`${code?.title ?? d.code} (${this.#refs(code)}).`);
        entry = fine;
      }
    }
    if (row.kind === "error" || row.kind === "note" || row.kind === "desync") {
      const said = wordsOf(this.view.rows, row).main;
      return html`<p class="means">${said}</p><p class="more">${entry ? html`${entry.title}: ${entry.means} ${this.#refs(entry)}` : nothing}</p>${this.#todo(entry?.do, "What to do")}`;
    }
    if (place.record === undefined && place.certificate === undefined && place.packet === undefined && place.message === undefined) more.push(this.#timing(row), this.#journey(row));
    return html`<p class="means">${means}</p><p class="more">${this.#refs(entry)}${entry ? "." : nothing}${more.map((m) => html` ${m}`)}</p>${
      place.record === undefined && place.packet === undefined ? this.#todo(todo, row.kind === "reply" ? "What a client does next" : "What to do") : nothing}`;
  }

  #todo(text: string | undefined, name: string): TemplateResult | typeof nothing {
    return text ? html`<p class="todo"><b>${name}</b> ${text}</p>` : nothing;
  }

  /** The conclusions that rest on this row. */
  #found(row: Row): TemplateResult | typeof nothing {
    const found = findingsOf(this.view.all, row);
    if (found.length === 0) return nothing;
    return html`<ul class="found">${found.map((f) => html`<li>${severity(SEVERITY_GLYPH[f.severity])}<span><button class="link" @click=${() => act(this, { do: "show", what: "findings" })}>${
      look(`finding.${f.id}`)?.title ?? f.id}</button> ${visible(f.text)}</span></li>`)}</ul>`;
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
      return html`Answered in ${this.#rowLink(other)}, ${format.duration(rows.event(other).t - sent)} later: ${[d.code, d.enhanced].filter(Boolean).join(" ")}${entry ? html`, ${lower(entry.title)} (${this.#refs(entry)})` : nothing}.`;
    }
    if (row.kind === "reply" && other) {
      const sent = other.kind === "message" ? rows.event(other).t : other.t;
      return html`Answers ${this.#rowLink(other)}, ${wordsOf(rows, other).main.split(" ")[0]}, after ${format.duration(rows.event(row).t - sent)}.`;
    }
    const d = rows.event(row).layer === "smtp" && (row.kind === "command" || row.kind === "response") ? (rows.event(row) as EventOfKind<"smtp", "command">).data : undefined;
    if (d?.deadline && !other) return html`The client waits ${format.duration(d.deadline)} for the reply (RFC 5321, 4.5.3.2).`;
    return nothing;
  }

  /** How a text crossed the link. */
  #journey(row: Row): TemplateResult | typeof nothing {
    const { rows, trace } = this.view, packets = row.layer === "smtp" ? rows.packetsOf(row) : [];
    if (packets.length === 0) return nothing;
    const again = rows.list.filter((r) => r.again === row && rows.packetsOf(r)[0]?.data.segment?.again !== undefined), there = trace!.host(row.to ?? "");
    const one = packets.length === 1, lost = packets.filter((p) => p.data.fate === "lost" || p.data.fate === "corrupted").length, kind = packets[0]!.layer === "udp" ? "datagram" : "segment";
    const gone = !lost ? nothing : one ? html`Its ${kind} did not get through` : html`${lost} of its ${format.count(packets.length, kind)} did not get through`;
    return html`${lost ? gone : one ? html`One ${kind}` : format.count(packets.length, kind)}${again.length ? html`, sent again in ${again.map((r, i) => html`${i ? ", " : nothing}${this.#rowLink(r)}`)}` : nothing}${
      packets[0]!.src === "captured" ? html`, captured at the proxy` : row.arrives === undefined ? html`: not all of it is at ${there}` : html`: all of it at ${there} ${format.duration(row.arrives - row.sent)} after it was sent`}.`;
  }

  #breadcrumb(levels: Level[], chosen: Depth): TemplateResult {
    if (levels.length === 1) return html`<div class="depth" role="presentation"><span class="chosen ${levels[0]!.tone}">${levels[0]!.words}</span></div>`;
    return html`<div class="depth" role="tablist" aria-label="layer">${levels.map((l, i) => html`${i ? html`<span aria-hidden="true">&gt;</span>` : nothing}${this.#tabButton(levels, l, chosen)}`)}</div>`;
  }

  #tabButton(levels: Level[], l: Level, chosen: Depth): TemplateResult {
    return html`<button role="tab" class=${l.tone} aria-selected=${l.id === chosen} tabindex=${l.id === chosen ? 0 : -1}
      @click=${() => this.#go(l.id)} @keydown=${(e: KeyboardEvent) => this.#tabKey(e, levels, l)}>${l.words}</button>`;
  }

  #go(depth: Depth, which = this.which): void {
    this.depth = depth;
    this.which = which;
    this.hot = this.caret = this.#pinned = -1;
  }

  async #tabKey(e: KeyboardEvent, levels: Level[], l: Level): Promise<void> {
    const by = ({ ArrowLeft: -1, ArrowRight: 1 } as const)[e.key], to = by && levels[levels.indexOf(l) + by];
    if (!by) return;
    e.preventDefault();
    e.stopPropagation();
    if (!to) return;
    this.#go(to.id);
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
    const words = row.hop ? `As ${trace.host(row.from ?? "")} wrote it, in clear` : !carriers.length ? "Bytes, in clear on the wire" : row.dir === "out" ? "Plaintext, as the page wrote it" : "Plaintext, as the page read it";
    return html`<div class="cols"><div>
      ${this.#on("fields") ? this.#fields(e, d, secret) : nothing}
      ${e.secret?.length && this.#on("fields") ? html`<p class="more"><button class="link" @click=${() => this.dispatchEvent(new CustomEvent("scope-reveal", { detail: this.selected, bubbles: true }))}>${this.revealed.has(row.e) ? "Hide the secret" : "Show the secret"}</button></p>` : nothing}</div><div>
      ${this.#on("bytes") ? html`${this.#dump(words, seal.length ? `${format.number(at.len)} + 1 bytes` : format.bytes(at.len), d, { tone: (i) => (seal.length && i >= at.len ? "tls" : "") })}
      ${only ? this.#sealed(only, at.off, d) : carriers.length > 1 ? html`<p class="more">${format.count(carriers.length, "TLS record")} carried it: choose TLS above.</p>` : nothing}` : nothing}</div></div>`;
  }

  /** The record around a text: bytes of the text and their ciphertext light up together. */
  #sealed(e: EventOfKind<"tls", "record">, textOff: number, text: Dump): TemplateResult {
    const from = plainOffset(e.data), d = dump(this.view.trace!, e.at!, [], [], this.limit);
    const shift = from === undefined ? undefined : from - (e.data.plain!.off - textOff);
    return this.#dump("TLS record on the link", `5 + ${format.number(e.at!.len - 5)} bytes, RFC 8446, 5.2`, d, { head: from ?? 5, tone: () => "tls", text, shift });
  }

  /** An encrypted handshake message, as the keys of the session open it. */
  #opened(e: TraceEvent): TemplateResult {
    const d = dump(this.view.trace!, e.at!, e.fields ?? [], e.secret ?? [], this.limit);
    return html`<div class="cols"><div>${this.#on("fields") ? this.#fields(e, d, e.secret ?? []) : nothing}</div><div>${
      this.#on("bytes") ? this.#dump("Plaintext, opened with the session’s secrets", format.bytes(e.at!.len), d, { tone: () => "" }) : nothing}</div></div>`;
  }

  #recordBody(row: Row, n: number, i: number, of: number): TemplateResult {
    const trace = this.view.trace!, e = recordEvent(trace, n), d = dump(trace, e.at!, e.fields ?? [], [], this.limit);
    const plain = e.data.plain && !e.data.count ? `, ${format.count(e.data.plain.len, "byte")} of text` : "";
    const name = of > 1 ? html`<h3>Record ${i + 1} of ${of}<small>row ${row.n}</small></h3>` : nothing;
    return html`${name}<div class="cols"><div>${this.#on("fields") ? this.#fields(e, d, []) : nothing}</div><div>
      ${this.#on("bytes") ? this.#dump(e.data.count ? `${format.number(e.data.count)} records` : "As it crossed the link", format.bytes(e.at!.len) + plain, d, { tone: () => "tls" }) : nothing}</div></div>`;
  }

  #fields(e: TraceEvent, d: Dump, secret: readonly [number, number][], within: [number, number] = [0, Infinity]): TemplateResult | typeof nothing {
    const visible = d.fields.map((f, i) => [f, i] as const).filter(([f]) => f.name !== "delimiter" && f.off >= within[0] && f.off < within[1]);
    const hot = d.fields[this.hot], entry = hot && look(hot.book), text = (f: DumpField) => fieldText(this.view.trace!, e, f, secret);
    if (visible.length === 0) return nothing;
    return html`
      <div class="scrolls"><table class="fields ${within[1] === Infinity ? "" : "headers"}" role="grid" tabindex="0" aria-label="fields" aria-activedescendant=${visible.some(([, i]) => i === this.hot) ? `f${e.n}-${this.hot}` : nothing}
        @keydown=${(k: KeyboardEvent) => this.#fieldKey(k, visible.map(([, i]) => i))} @pointerleave=${() => (this.hot = this.#pinned)}>
        <tbody>${visible.map(([f, i]) => html`
          <tr id="f${e.n}-${i}" aria-selected=${i === this.hot} class="${this.#hit(d.fields, f.off, f.off + f.len, !!f.extra) ? "hit" : ""} ${f.extra ? "tls" : ""} d${Math.min(f.depth ?? 0, 4)}" @pointerenter=${() => (this.hot = i)} @click=${() => this.#pin(i)}>
            <td>${f.len === 1 ? f.off : `${f.off}–${f.off + f.len - 1}`}</td><td>${f.name.split(/(?<=_)/).map((part) => html`${part}<wbr>`)}</td><td><span>${text(f)}</span></td></tr>`)}</tbody>
      </table></div>
      <p class="about" aria-live="polite">${hot ? html`<b>${hot.name}</b> <span class="wire">${clip(text(hot))}</span>${entry ? html`<br>${entry.means} ${this.#refs(entry)}` : nothing}` : html`Point at a field or a byte: they light up together.`}</p>`;
  }

  #fieldKey(e: KeyboardEvent, order: number[]): void {
    const at = order.indexOf(this.hot), to = { ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, Home: 0, End: order.length - 1 }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    e.stopPropagation();
    this.#choose(order[Math.max(0, Math.min(order.length - 1, to))] ?? -1);
  }

  /** Chosen once more, a field is let go. */
  #pin(i: number): void {
    this.#choose(this.#pinned === i ? -1 : i);
  }

  #choose(field: number, caret = -1): void {
    this.#pinned = this.hot = field;
    this.caret = caret;
  }

  /** Whether a range of bytes lies in the field under the pointer. */
  #hit(fields: readonly DumpField[], from: number, to: number, extra = false): boolean {
    const h = fields[this.hot];
    return !!h && !!h.extra === extra && from >= h.off && to <= h.off + h.len;
  }

  #dump(name: string, right: string, d: Dump, o: DumpOptions): TemplateResult {
    const per = this.room, lines: TemplateResult[] = [], text = o.text ?? d, shift = o.text ? o.shift : 0, f = shift === undefined ? undefined : text.fields[this.hot];
    const owner = (i: number) => (shift === undefined ? -1 : ownerOf(text, i - shift)), lights = (i: number) => !!f && i - shift! >= f.off && i - shift! < f.off + f.len;
    const caret = o.text || this.caret < 0 ? -1 : this.caret;
    const hidden = (i: number) => d.secret.some(([from, to]) => i >= from && i < to);
    // The head of a record has a line of its own, so that its bytes stand below those of the text.
    for (let at = 0, end = 0; at < d.bytes.length; at = end) {
      const hex: TemplateResult[] = [], ascii: TemplateResult[] = [];
      end = Math.min(at === 0 && o.head ? o.head : at + per, d.bytes.length);
      for (let i = at; i < end;) {
        const own = owner(i), lit = lights(i), tone = o.tone(i);
        let j = i + 1;
        while (j < end && i !== caret && j !== caret && owner(j) === own && lights(j) === lit && o.tone(j) === tone) j++;
        const part = [...d.bytes.subarray(i, j)], cls = `${lit ? "hit" : ""} ${i === caret ? "caret" : ""} ${tone}`;
        hex.push(html`${i > at ? " " : ""}<i class=${cls} data-f=${own}>${part.map((b, k) => (hidden(i + k) ? "••" : format.hex(b, 2))).join(" ")}</i>`);
        ascii.push(html`<i class=${cls} data-f=${own}>${part.map((b, k) => (hidden(i + k) ? "•" : format.ascii(b))).join("")}</i>`);
        i = j;
      }
      lines.push(html`<span class="l"><span class="o">${format.hex(at, 4)}</span>  ${hex}${" ".repeat((per - (end - at)) * 3 + 3)}${ascii}</span>`);
    }
    return html`<p class="hexname"><span>${name}</span><span>${right}</span></p>
      <pre class="hex scrolls" tabindex="0" aria-label=${name} @keydown=${(e: KeyboardEvent) => o.text || this.#byteKey(e, d)} @pointerover=${(e: PointerEvent) => this.#overByte(e)} @pointerleave=${() => (this.hot = this.#pinned)} @click=${(e: MouseEvent) => this.#clickByte(e)}>${lines}</pre>
      ${d.rest > 0 ? html`<p class="more">${d.elided ? `${format.bytes(d.elided)} of ${format.number(d.bytes.length + d.rest)} were not kept: of a long message the trace has head and tail. ` : ""}${
        d.rest > d.elided ? html`<button class="link" @click=${() => (this.limit += MORE)}>Show more</button>, ${format.count(d.rest - d.elided, "byte")} left.` : nothing}</p>` : nothing}`;
  }

  #overByte(e: PointerEvent): void {
    const f = (e.target as Element).closest<HTMLElement>("[data-f]")?.dataset["f"];
    if (f !== undefined) this.hot = Number(f) >= 0 ? Number(f) : this.#pinned;
  }

  /** The arrow keys go from byte to byte, and choose the field of each. */
  #byteKey(e: KeyboardEvent, d: Dump): void {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.room, ArrowDown: this.room, Home: -Infinity, End: Infinity }[e.key];
    if (by === undefined || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    e.stopPropagation();
    const at = this.caret < 0 ? (d.fields[this.hot]?.off ?? 0) : Math.max(0, Math.min(d.bytes.length - 1, this.caret + by));
    this.#choose(d.owner[at] ?? -1, at);
  }

  #clickByte(e: MouseEvent): void {
    const f = Number((e.target as Element).closest<HTMLElement>("[data-f]")?.dataset["f"] ?? -1);
    if (f >= 0) this.#pin(f);
  }

  // ---- packets

  #packet(row: Row, e: PacketEvent, all: PacketEvent[], depth: Depth): TemplateResult {
    const trace = this.view.trace!, layers = layersOf(trace, e), layer = layers.find((l) => l.id === depth) ?? layers.at(-1)!, fate = fateWords(trace, e, now(this.view));
    const secret = secretsIn(trace, e, this.revealed), d = dump(trace, e.at!, e.fields ?? [], secret, this.limit), flip = e.data.flip?.offset;
    const within: [number, number] = [layer.off, layer.next], deep = layer.id === "smtp" ? (e.dir === "in" ? "in" : "out") : layer.id;
    const tone = (i: number) => `${i < within[0] || i >= within[1] ? "dim" : `lay ${deep}`}${i === flip ? " flip" : ""}`;
    return html`${all.length > 1 ? this.#chooser(row, e, all, depth) : nothing}
      ${this.#on("fields") ? html`<p class="fate">${fate.bad ? severity("error") : nothing}<span>${fate.text}</span></p>${this.#remarks(row, e)}` : nothing}
      <div class="cols"><div>${this.#on("fields") ? html`${layer.id === "tcp" ? this.#segment(e) : nothing}${this.#carried(row, e, layer)}
        ${e.fields?.length ? this.#fields(e, d, secret, within) : html`<p class="more">Of so many packets the trace keeps the fields of the first only, and of those that something happened to.</p>`}` : nothing}</div><div>
        ${this.#on("bytes") ? this.#dump(`${layers[0]!.name} packet${flip === undefined ? "" : ", as it was sent"}`, format.bytes(e.at!.len), d, { tone }) : nothing}</div></div>
      ${this.#on("fields") && layer.id === "tcp" ? this.#states(e) : nothing}`;
  }

  #chooser(row: Row, e: PacketEvent, all: PacketEvent[], depth: Depth): TemplateResult {
    const i = all.indexOf(e), own = this.view.rows.rowOf(e.n), to = (by: number) => this.#go(depth, i + by);
    return html`<p class="which"><button class="btn" aria-label="earlier packet of this row" ?disabled=${i === 0} @click=${() => to(-1)}>&lt;</button>
      <span>packet ${i + 1} of ${all.length}</span><button class="btn" aria-label="later packet of this row" ?disabled=${i === all.length - 1} @click=${() => to(1)}>&gt;</button>${own && own !== row ? this.#rowLink(own) : nothing}</p>`;
  }

  /** What captures make of it, and what really happened. */
  #remarks(row: Row, e: PacketEvent): TemplateResult | typeof nothing {
    const { rows, trace } = this.view, remarks = rows.remarks(e.n), truth = truthOf(trace!, e), wait = row.packets.includes(e.n) && row.packets[0] === e.n ? rows.waitOf(row) : undefined;
    if (remarks.length === 0 && !truth) return nothing;
    const first = truth && rows.rowOf(truth.first.n), named = (id: string) => (id === "client" ? "the page" : id === "proxy" ? "the proxy" : trace!.host(id));
    return html`<ul class="remarks">
      ${truth ? html`<li>${provenance(e.src)}<span>${truth.text}${first && first !== row ? html` ${this.#rowLink(first, `Row ${first.n}`)}.` : nothing}</span></li>` : nothing}
      ${wait ? html`<li>${provenance("derived")}<span>${waitWords(wait).title} ${waitWords(wait).text}</span></li>` : nothing}
      ${remarks.flatMap((r) => r.marks.map((mark) => {
        const entry = look(`tcp.analysis.${mark}`);
        return html`<li>${provenance("derived")}<span>${entry?.title ?? mark}${mark === "duplicate-ack" && r.duplicateACK ? ` no. ${r.duplicateACK}` : ""}, as ${named(r.host)} sees it. <span class="soft">${entry?.means} ${this.#refs(entry)}</span></span></li>`;
      }))}</ul>`;
  }

  /** The numbers that the two ends count with, beside those on the wire. */
  #segment(e: PacketEvent): TemplateResult | typeof nothing {
    if (e.layer !== "tcp" || e.kind !== "segment" || !e.data.segment || e.data.of !== undefined) return nothing;
    return html`<dl class="facts">${segmentFacts(e).map(([name, value]) => html`<div><dt>${name}</dt><dd class="wire">${value}</dd></div>`)}
      <div><dt>in flight</dt><dd class="wire">${format.bytes(e.data.segment.inFlight)} ${provenance("derived")}</dd></div></dl>`;
  }

  #carried(row: Row, e: PacketEvent, layer: PacketLayer): TemplateResult | typeof nothing {
    if (layer.id === "ip" || layer.id === "dns" || !e.data.carries) return nothing;
    const found = carried(this.view.rows, e).filter((r) => r !== row), { off, len } = e.data.carries;
    return html`<p class="more">Carries bytes ${format.number(off)} to ${format.number(off + len - 1)} of what ${this.view.trace!.host(e.from === "proxy" ? "client" : (e.from ?? ""))} says${found.length ? html`: ${found.map((r, i) => html`${i ? ", " : nothing}${this.#rowLink(r)}`)}` : nothing}.</p>`;
  }

  /** The TCP of both ends: after it was sent, and after it arrived. */
  #states(e: PacketEvent): TemplateResult | typeof nothing {
    const { trace, rows } = this.view, there = landed(e) && now(this.view) >= arrival(e);
    const ends = [[e.from!, "sent"], ...(there ? [[e.to!, "arrived"]] : [])] as [string, string][];
    const states = ends.map(([host, when]) => ({ host, when, s: stateAfter(trace!, e, host, rows.seen) })).filter((x) => x.s);
    if (states.length === 0) return nothing;
    return html`<h3>TCP after it <small>${provenance("simulated", false)} from the stacks</small></h3>
      <table class="states"><thead><tr><td></td>${states.map(({ host, when }) => html`<th scope="col">${host === "client" ? "this page" : trace!.host(host)}<small>when it ${when === "sent" ? "was sent" : "arrived"}</small></th>`)}</tr></thead>
      <tbody>${STATE.map(([name, of, why]) => {
        const values = states.map(({ s }) => of(s!));
        return values.every((v) => v === undefined) ? nothing : html`<tr><th scope="row" title=${why}>${name}</th>${values.map((v) => html`<td>${v}</td>`)}</tr>`;
      })}</tbody></table>`;
  }

  // ---- mail

  #mail(d: MailData): TemplateResult {
    if (!this.#on("fields")) return html``;
    const { trace, rows } = this.view, { events, before, after } = story(trace!, d.queueID, rows.seen), facts: [string, string][] = [
      ["at", trace!.host(d.host)], ["queue id", d.queueID], ["from", `<${d.from}>`], ["to", d.to.map((x) => `<${x}>`).join(", ")],
    ];
    if (d.size) facts.push(["size", format.bytes(d.size)]);
    if (d.next) facts.push(["next server", d.next]);
    if (d.reason) facts.push(["reason", d.reason]);
    if (d.retry) facts.push(["next attempt", `at ${format.duration(d.retry)}`]);
    if (d.mailbox) facts.push(["mailbox", d.mailbox]);
    const link = (id: string) => {
      const e = story(trace!, id, rows.seen).events[0], row = e && rows.rowOf(e.n);
      return row ? html`<button class="link wire" @click=${() => act(this, { do: "pick", key: `r${row.i}` })}>${id}</button>` : html`<span class="wire">${id}</span>`;
    };
    return html`<dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd class="wire">${visible(value)}</dd></div>`)}</dl>
      <h3>What happened to it there</h3><ol class="story">${before ? html`<li><span></span><span>came as ${link(before)}</span></li>` : nothing}
      ${events.map((e) => {
        const row = rows.rowOf(e.n);
        return html`<li><span class="num">${format.ms(e.t)}</span><span>${visible(mailWords(trace!, e))}${row && row !== this.#row()?.row ? html`, ${this.#rowLink(row)}` : nothing}</span></li>`;
      })}${after.map((id) => html`<li><span></span><span>went on as ${link(id)}</span></li>`)}</ol>
      <p class="more"><button class="link" @click=${() => act(this, { do: "show", what: "mail" })}>Open the mailboxes and queues</button></p>`;
  }

  // ---- what was agreed

  #facts(facts: readonly [string, string][], explain: Record<string, Entry | undefined> = {}): TemplateResult {
    return html`${this.#on("fields") ? html`<dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd><span class="wire">${value}</span>${
      explain[name] ? html`<small>${explain[name].means} ${this.#refs(explain[name])}</small>` : nothing}</dd></div>`)}</dl>` : nothing}`;
  }

  /** What the DNS said, or the web server that has the MTA-STS policy. */
  #answer(e: TraceEvent): TemplateResult | typeof nothing {
    if (!this.#on("fields") || e.layer !== "dns" || (e.kind !== "lookup" && e.kind !== "policy")) return nothing;
    const d = e.data, took = "cached" in d && d.cached ? `asked ${format.duration(d.age ?? 0)} before` : format.duration(d.took), type = e.kind === "lookup" ? look(`dns.type.${e.data.type.toLowerCase()}`, "dns.type.other") : look("event.dns.policy");
    return html`<h3><span>${e.kind === "lookup" ? `${e.data.type} ${visible(e.data.name)}` : `MTA-STS policy of ${visible(e.data.domain)}`}</span> <small>${took}${"ad" in d && d.ad ? ", DNSSEC" : nothing}</small></h3>
      ${this.#facts(e.kind === "lookup" ? lookupFacts(e.data) : policyFacts(e.data))}<p class="more">${type?.means} ${this.#refs(type)}</p>`;
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
    const messages = this.view.rows.decrypted(row), inside = messages.length && this.#on("fields") ? html`<h3>Messages that were encrypted <small>${provenance("derived", false)} opened</small></h3><ol class="chain">${messages.map((e) => html`
      <li><button class="link wire" @click=${() => act(this, { do: "pick", key: `r${row.i}-m${e.n}` })}>${e.dir === "out" ? "client: " : "server: "}${e.data.type}</button><small>${format.bytes(e.at!.len)}</small></li>`)}</ol>` : nothing;
    return html`${d.problem ? html`<p class="problem">${d.problem}</p>` : nothing}${this.#facts(handshakeFacts(d), explain)}${chain}${inside}`;
  }

  #certificate(row: Row, i: number): TemplateResult {
    const c = (this.view.rows.event(row).data as HandshakeData).chain![i]!;
    return this.#facts(certificateFacts(c));
  }

  // ---- what may come next

  #legal(): TemplateResult | typeof nothing {
    const v = this.view, last = v.rows.lastReply;
    const legal = v.pending?.legal ?? last?.data.legal ?? [];
    const state = last && look(`state.${last.data.state}`);
    if (legal.length === 0) return this.width === "phone" ? html`<p class="more">Nothing can be sent now. ${state?.means}</p>` : nothing;
    const no = VERBS.filter((x) => !legal.includes(x)), types = v.pending?.kind === "command";
    return html`<h3>Legal next <small>at ${format.ms(now(v))} ms${state ? html`, ${lower(state.title)}` : nothing}</small></h3>
      ${state ? html`<p class="more">${state.means} ${this.#refs(state)}</p>` : nothing}
      <dl class="next">${legal.map((verb) => {
        const entry = look(`command.${verb.toLowerCase()}`), word = verb === "message" ? "text" : verb === "response" ? "base64" : verb;
        return html`<div><dt class=${verb === v.pending?.verb ? "planned" : ""}>${types ? html`<button class="link" title="put it into the line below the ladder" @click=${() => act(this, { do: "draft", verb })}>${word}</button>` : word}</dt><dd>${entry?.means} ${this.#refs(entry)}</dd></div>`;
      })}</dl>
      ${no.length ? html`<p class="more">Out of order now, and to be answered 503: ${no.map((verb, i) => html`${i ? ", " : nothing}<s class="wire">${verb}</s>`)}.</p>` : nothing}`;
  }

  static override styles = [shared, css`
    :host { display: block; background: var(--panel); font-size: var(--t3); overflow: auto; padding: 0 var(--s4) var(--s4); scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    .head { display: flex; align-items: baseline; gap: var(--s2); min-height: 36px; padding-top: 10px; flex-wrap: wrap; }
    h2 { font: 700 var(--t4)/1.2 var(--wire); overflow-wrap: anywhere; }
    .out { color: var(--out); } .in { color: var(--in); } .tls { color: var(--tls); } .tcp, .udp { color: var(--tcp); } .dns { color: var(--dns); }
    .who { margin-left: auto; font-size: var(--t1); color: var(--soft); display: inline-flex; gap: 5px; align-items: center; }
    .close { width: 28px; height: 28px; display: grid; place-items: center; align-self: center; margin: -6px -8px -6px 0; }
    .empty { padding: 14px 0 var(--s2); color: var(--soft); }
    .means { line-height: 18px; padding-top: 4px; }
    .more { font-size: var(--t2); color: var(--soft); margin: 3px 0 9px; line-height: 17px; }
    .more .link { font-size: inherit; }
    :host([layout="mid"]) .cols { display: grid; grid-template-columns: 1fr 1.3fr; gap: var(--s5); } :host([layout="mid"]) .cols .hexname:first-child { border-top: 0; margin-top: 0; }
    .problem { color: var(--bad); font-size: var(--t2); line-height: 17px; margin-bottom: 9px; }
    .depth { display: flex; gap: 0 var(--s2); font: var(--t1)/24px var(--wire); border-top: 1px solid var(--rule); border-bottom: 1px solid var(--rule-strong); white-space: pre; overflow: hidden; }
    .depth button { padding: 0 2px; } .depth span { color: var(--soft); } .depth .chosen { font-weight: 700; box-shadow: inset 0 -3px 0 currentColor; }
    .depth .chosen.out { color: var(--out); } .depth .chosen.in { color: var(--in); }
    .depth [aria-selected="true"] { font-weight: 700; box-shadow: inset 0 -3px 0 currentColor; }
    .depth button:focus-visible { outline-offset: -2px; }
    .fields { width: 100%; border-collapse: collapse; table-layout: fixed; font-size: var(--t2); margin: 4px 0 2px; }
    .fields:focus-visible { outline-offset: 2px; }
    .fields td { height: 18px; padding: 0; line-height: 18px; vertical-align: top; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
    .fields td:nth-child(1) { font: var(--t1)/18px var(--wire); color: var(--soft); width: 62px; padding-left: 4px; }
    .fields td:nth-child(2) { width: 132px; padding-right: 6px; white-space: normal; overflow-wrap: anywhere; }
    .fields td:nth-child(3) { font-family: var(--wire); }
    @container scope (max-width: 1300px) { .fields td:nth-child(1) { width: 56px; } .fields td:nth-child(2) { width: 110px; } }
    .headers td { white-space: normal; overflow-wrap: anywhere; height: auto; } .fields.headers td:nth-child(1) { width: 50px; } .fields.headers td:nth-child(2) { width: 158px; overflow-wrap: normal; }
    .fields .d1 td:nth-child(2) { padding-left: 10px; } .fields .d2 td:nth-child(2) { padding-left: 20px; } .fields .d3 td:nth-child(2) { padding-left: 30px; } .fields .d4 td:nth-child(2) { padding-left: 38px; }
    .fields .tls td { color: var(--tls); }
    .fields .hit td { background: var(--mark); box-shadow: inset 0 -1px 0 var(--ink); color: var(--ink); }
    .about { font-size: var(--t1); line-height: 15px; height: 60px; overflow: auto; scrollbar-width: thin; color: var(--soft); margin: 2px 0 4px; overflow-wrap: anywhere; /* of one height, or the bytes would run away from the pointer */ } .about b { font-weight: 600; color: var(--ink); } .about .wire { color: var(--ink); }
    .scrolls { max-height: 292px; overflow: auto; scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; } :host([layout="phone"]) .scrolls { max-height: none; }
    .todo { font-size: var(--t2); line-height: 17px; margin: -3px 0 9px; padding-left: var(--s2); border-left: 2px solid var(--rule-strong); } .todo b { font-weight: 600; }
    .found { margin: 0 0 9px; font-size: var(--t2); line-height: 17px; } .found li { display: grid; grid-template-columns: 16px 1fr; padding: 2px 0; } .found .glyph { margin-top: 4px; } .found .link { font-size: inherit; font-weight: 600; } .sev-error { stroke: var(--bad); }
    .hexname span + span { text-align: right; } .hexname { font-size: var(--t1); color: var(--soft); display: flex; justify-content: space-between; gap: var(--s2); line-height: 17px; border-top: 1px solid var(--rule); padding-top: 2px; margin-top: 4px; }
    .hex { font: var(--t2)/16px var(--wire); white-space: pre; padding: 0 0 2px 4px; }
    .hex .l { display: block; } .hex .tls { color: var(--tls); } .hex .o { color: var(--soft); } .hex i { font-style: normal; } .hex .lay { font-weight: 600; } .hex .dim { color: var(--soft); } .hex .flip { color: var(--bad); font-weight: 700; text-decoration: underline; text-decoration-thickness: 2px; }
    .fate { font-size: var(--t2); line-height: 17px; padding: 6px 0 2px; } .fate { display: flex; gap: var(--s2); } .fate .glyph { margin-top: 4px; stroke: var(--bad); }  .which { display: flex; gap: var(--s2); align-items: center; font-size: var(--t2); padding-top: 6px; } .which .btn { height: 22px; padding: 0 8px; font-family: var(--wire); }
    .remarks { font-size: var(--t2); line-height: 16px; padding: 4px 0; } .remarks li { display: grid; grid-template-columns: 16px 1fr; padding: 2px 0; } .remarks .glyph { margin-top: 3px; } .remarks .link { font-size: inherit; }
    .facts .glyph { display: inline-block; }
    .states { width: 100%; border-collapse: collapse; font-size: var(--t2); } .states th { text-align: left; font-weight: 400; color: var(--soft); line-height: 17px; vertical-align: top; padding: 1px 4px 1px 0; } .states thead th { color: var(--ink); } .states thead small { display: block; font-size: var(--t1); color: var(--soft); } .states td { font-family: var(--wire); line-height: 17px; padding: 1px 4px 1px 0; } h3 .glyph { display: inline-block; vertical-align: -1px; }
    .story li { display: grid; grid-template-columns: 72px 1fr; gap: var(--s2); font-size: var(--t2); line-height: 17px; padding: 2px 0; } .story .num { text-align: right; color: var(--soft); } .story span { overflow-wrap: anywhere; } .story .link { font-size: inherit; }
    .hex .caret { outline: 1px solid var(--ink); }
    i.hit { background: var(--mark); box-shadow: 0 1px 0 var(--ink); color: var(--ink) !important; }
    .facts { font-size: var(--t2); border-top: 1px solid var(--rule); padding-top: 4px; }
    .facts div { display: grid; grid-template-columns: 96px 1fr; padding: 2px 0; line-height: 17px; } dt { color: var(--soft); } dd { overflow-wrap: anywhere; min-width: 0; }
    .facts small { display: block; font-size: var(--t1); color: var(--soft); line-height: 15px; padding-bottom: 2px; }
    .chain li { display: flex; justify-content: space-between; gap: var(--s2); font-size: var(--t2); line-height: 24px; } .chain small { color: var(--soft); font-size: var(--t1); flex: none; }
    .chain .link { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    h3 { font-size: var(--t2); display: flex; justify-content: space-between; gap: var(--s2); border-top: 1px solid var(--rule-strong); padding-top: 5px; margin-top: 10px; line-height: 18px; }
    h3 span { overflow-wrap: anywhere; } h3 small { font-weight: 400; color: var(--soft); font-size: var(--t1); }
    .next { font-size: var(--t2); line-height: 16px; } .next div { display: grid; grid-template-columns: 84px 1fr; padding: 3px 0; } .next dd { color: var(--soft); } .next a { white-space: nowrap; }
    .next dt { font: var(--t2)/16px var(--wire); color: var(--out); } .next .planned { font-weight: 700; } .next .link { font: inherit; min-height: 24px; margin: -4px 0; text-align: left; } s { text-decoration-color: var(--rule-strong); }
    .tabs { display: flex; border-bottom: 1px solid var(--rule-strong); margin: 2px calc(-1 * var(--s4)) 6px; padding: 0 var(--s3); }
    .tabs button { height: 40px; padding: 0 var(--s3); color: var(--soft); } .tabs [aria-pressed="true"] { color: var(--ink); font-weight: 600; box-shadow: inset 0 -3px 0 var(--ink); }
  `];
}

interface DumpOptions {
  /** Class of a byte. */
  tone: (i: number) => string;
  /** Bytes in the first line, where that is a header. */
  head?: number;
  /** The dump whose fields these bytes belong to, if not their own, and how far they stand behind its bytes; undefined where a cipher hides that. */
  text?: Dump;
  shift?: number | undefined;
}

/** The field of a byte; those that stand behind the bytes of a dump are its seal. */
function ownerOf(d: Dump, i: number): number {
  return i < d.bytes.length ? (d.owner[i] ?? -1) : d.fields.findIndex((f) => f.extra && i >= f.off && i < f.off + f.len);
}

/** An answer of the DNS, record by record. */
function lookupFacts(d: LookupData): [string, string][] {
  const facts: [string, string | undefined][] = [
    ["no answer", d.problem], ...d.records.map((r): [string, string] => [`${r.type}, ${format.number(r.ttl)} s`, (r.name === d.name ? "" : `${r.name} `) + (r.text ?? r.data)]),
    ["answer", d.problem || d.records.length ? undefined : d.rcode === "NOERROR" ? "no such record" : d.rcode],
    ["remarks", d.notes?.join("; ")], ["withheld", d.withheld ? `${format.count(d.withheld, "record")}, by the policy of this proxy` : undefined],
    ["left out", d.omitted ? format.count(d.omitted, "record") : undefined], ["resolver", d.server && `${d.server}, by ${d.network ?? "udp"}`],
  ];
  return facts.flatMap(([name, value]) => (value ? [[name, visible(value)] as [string, string]] : []));
}

function policyFacts(d: PolicyData): [string, string][] {
  const facts: [string, string | undefined][] = [
    ["no policy", d.problem], ["fetched from", d.url], ["mode", d.mode], ["mail servers", d.mx?.join(", ")], ["kept for", d.maxAge === undefined ? undefined : format.count(d.maxAge, "second")],
  ];
  return facts.flatMap(([name, value]) => (value ? [[name, visible(value)] as [string, string]] : []));
}

function clip(text: string): string {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

/** Scrolls a box, and nothing around it, to what is lit in it. */
function show(box: HTMLElement): void {
  const lit = box.querySelector(".caret, .hit")?.getBoundingClientRect(), frame = box.getBoundingClientRect();
  if (!lit) return;
  if (lit.top < frame.top) box.scrollTop -= frame.top - lit.top;
  else if (lit.bottom > frame.bottom) box.scrollTop += lit.bottom - frame.bottom;
}

/** What is told of a TCP state, and what it means. */
const STATE: [name: string, of: (s: StateData) => string | undefined, why: string][] = [
  ["state", (s) => s.name, "RFC 9293, 3.3.2"],
  ["congestion window", (s) => (s.cwnd ? format.count(s.cwnd, "segment") : undefined), "how much may be under way, RFC 5681"],
  ["slow start threshold", (s) => (s.ssthresh ? format.count(s.ssthresh, "segment") : undefined), "from here on it grows slowly, RFC 5681, 3.1; absent until something was lost"],
  ["recovery", (s) => (s.congestion === "open" ? undefined : s.congestion), "what it does about losses, RFC 5681, 3.2"],
  ["retransmission timer", (s) => (s.rto ? format.duration(s.rto) : undefined), "RFC 6298"],
  ["smoothed round trip", (s) => (s.srtt ? format.duration(s.srtt) : undefined), "RFC 6298, 2"],
  ["in flight", (s) => s.inner && format.bytes(s.inner.inFlight), "sent and not acknowledged"],
  ["may send", (s) => s.inner && format.bytes(s.inner.sendWindow), "the peer's receive window"],
  ["has room for", (s) => s.inner && format.bytes(s.inner.receiveWindow), "its own receive window"],
  ["not acknowledged", (s) => (s.inner?.sendBuffered ? format.bytes(s.inner.sendBuffered) : undefined), "in the send buffer"],
  ["not read", (s) => (s.inner?.unread ? format.bytes(s.inner.unread) : undefined), "arrived, and the program has not taken it"],
];

function packetTitle(e: PacketEvent): string {
  const s = e.data.segment;
  if (e.data.of !== undefined) return "Copy";
  if (s?.again !== undefined) return "Retransmission";
  return (s && /SYN|FIN|RST/.test(s.flags) ? s.flags.replaceAll(", ", " ") : eventEntry(e)?.title) ?? "Packet";
}

/** A book title in the middle of a sentence; names in capitals stay. */
function lower(title: string): string {
  return /^[A-Z][a-z]/.test(title) ? title[0]!.toLowerCase() + title.slice(1) : title;
}

customElements.define("scope-inspector", ScopeInspector);
