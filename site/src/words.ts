// How rows are worded: in the ladder, in the transcript, in the inspector alike.

import * as format from "./format.ts";
import { firsthand, type PacketEvent, type Row, type Rows, type Wait } from "./rows.ts";
import type { EventOfKind, HandshakeData, MailData, RecordData, Span, TraceStore } from "./trace.ts";

export interface Words {
  /** What was said, or what this row stands for. */
  main: string;
  /** A lower-ranking continuation in the wire face. */
  par?: string;
  /** A remark in prose. */
  note?: string;
  /** What the link did to it, where it did not arrive. */
  fate?: string;
}

export function wordsOf(rows: Rows, row: Row, revealed: ReadonlySet<number> = new Set()): Words {
  const words = ownWords(rows, row, revealed), first = row.packets[0];
  if (first === undefined) return words;
  const on = linkWords(rows, row, rows.packetsOf(row)), note = [words.note, ...on.notes].filter(Boolean).join(", ");
  return { ...words, ...(note && { note }), ...(on.fate && { fate: on.fate }) };
}

function ownWords(rows: Rows, row: Row, revealed: ReadonlySet<number>): Words {
  const e = rows.event(row);
  switch (row.kind) {
    case "connect": {
      const d = (e as EventOfKind<"tunnel", "opened">).data;
      if (!row.ok) return { main: e.text ?? "connecting", ...(row.ok === false && e.kind !== "failed" && { note: "given up" }) };
      const main = `TCP connection to ${d.address ?? d.host},`, s = rows.samples[0]?.data;
      if (d.connect === undefined) return { main };
      if (!s?.retransmits) return { main, par: `1 RTT, ${format.duration(d.connect)}` };
      return { main, par: format.duration(d.connect), note: `its SYN was sent ${s.retransmits === 1 ? "twice" : `${s.retransmits + 1} times`}${s.rtt ? `; the round trip is ${format.duration(s.rtt)}` : ""}` };
    }
    case "handshake": {
      if (row.ok === undefined) return { main: "TLS handshake" };
      const d = e.data as HandshakeData;
      if (!row.ok) return { main: `${d.version ?? "TLS"} handshake failed`, ...(d.reason && { note: d.reason }) };
      return { main: `${d.version} handshake, ${d.roundTrips ?? 1} RTT,`, par: [d.group, shortSuite(d.suite ?? "")].filter(Boolean).join(", "),
        ...(!d.verified && { note: "not trusted" }) };
    }
    case "record": {
      const d = e.data as RecordData;
      const ticket = d.type === "handshake" && rows.sealed && row.dir === "in" && { note: "a session ticket, RFC 8446, 4.6.1" };
      return { main: `TLS ${d.type.replaceAll("_", " ")}`, par: format.bytes(e.at?.len ?? 0), ...ticket };
    }
    case "message": {
      const d = (e as EventOfKind<"smtp", "message">).data, notes = [];
      if (d.stuffed) notes.push(`${format.count(d.stuffed, "line")} dot-stuffed`);
      if (d.normalized) notes.push(`${format.count(d.normalized, "line end")} made CR LF`);
      if (d.edited) notes.push("edited");
      return { main: "message text", par: format.bytes(d.size), ...(notes.length && { note: notes.join(", ") }) };
    }
    case "command":
    case "response": {
      const d = (e as EventOfKind<"smtp", "command">).data, notes = [d.raw && "sent raw", d.edited && "edited"].filter(Boolean);
      const main = revealed.has(row.e) ? shown(rows.trace!, row.e) : (e.text ?? "");
      return { main, ...(notes.length && { note: notes.join(", ") }) };
    }
    case "reply": {
      const d = (e as EventOfKind<"smtp", "reply">).data, main = e.text ?? "";
      const odd = d.oddities?.length ? `odd: ${d.oddities.join(", ")}` : d.verb === "" ? "unsolicited" : undefined;
      const more = d.extensions?.length ? format.count(d.extensions.length, "keyword") : d.lines.length > 1 ? format.count(d.lines.length, "line") : undefined;
      const note = [more, odd].filter(Boolean).join(", ");
      return { main, ...(note && { note }) };
    }
    case "pause":
      if (rows.trace!.meta.mode === "lab") return { main: row.until === undefined ? (e.text ?? "paused") : "you paused, and the lab stood still" };
      return { main: row.until === undefined ? (e.text ?? "paused") : `you paused for ${format.duration(row.until - row.t)}` };
    case "dns":
      if (e.layer === "dns" && (e.kind === "lookup" || e.kind === "policy")) return lookupWords(rows, row);
      return { main: e.text ?? "DNS", note: row.parts.length ? "two datagrams, the lab's own resolver" : "not answered" };
    case "segment":
      return segmentWords(rows, row);
    case "datagram":
    case "packet":
      return row.again ? { main: copyOf(row) } : { main: e.text ?? row.kind };
    case "mail":
      return { main: mailAction(e as EventOfKind<"mail", "queued">) };
    default:
      return { main: e.text ?? row.kind };
  }
}

/** The policies that a domain publishes as TXT, by what their names begin with; SPF has none of its own. */
const POLICY: Partial<Record<string, string>> = { _d: "DMARC", _m: "MTA-STS", _s: "TLS-RPT" };

/** What the DNS said: of the MX in full, of the rest what there is and what there is not. */
function lookupWords(rows: Rows, row: Row): Words {
  const events = row.parts.map((n) => rows.trace!.events[n] as EventOfKind<"dns", "lookup">), { text = "", data } = events[0]!;
  if (data.type === "MX") return { main: text, par: data.cached ? "" : format.duration(data.took), note: [data.cached ? "answered before" : "", data.ad ? "DNSSEC" : ""].filter(Boolean).join(", ") };
  const said: Record<string, string[]> = { "published: ": [], "not published: ": [] };
  for (const { text = "", data: d } of events) {
    const txt = d.type === "TXT"; // the text has the policy first
    if (!d.problem && (txt || d.type === "TLSA" || d.type === "PTR")) said[(txt ? text.includes(": v=") : d.records.length) ? "published: " : "not published: "]!.push(txt ? (POLICY[d.name.slice(0, 2)] ?? "SPF") : d.type);
  }
  return { main: Object.entries(said).filter(([, w]) => w.length).map(([how, w]) => how + w.join(", ")).join("; ") || text, note: format.count(events.length, "answer") };
}

/** What became of the packets that carry a row. */
function linkWords(rows: Rows, row: Row, packets: readonly PacketEvent[]): { fate: string | undefined; notes: string[] } {
  const notes: string[] = [], d = packets[0]!.data, several = row.layer === "smtp" && packets.length > 1;
  const gone = packets.filter((p) => p.data.fate === "lost").length, bad = packets.filter((p) => p.data.fate === "corrupted").length;
  if (several) {
    notes.push(format.count(packets.length, packets[0]!.layer === "udp" ? "datagram" : "segment"));
    if (gone) notes.push(`${gone} lost`);
    if (bad) notes.push(`${bad} corrupted`);
  }
  const shared = row.layer === "smtp" ? rows.rowOf(packets[0]!.n) : undefined;
  if (shared && shared !== row) notes.push(`in the same ${packets[0]!.layer === "udp" ? "datagram" : "segment"} as row ${shared.n}`);
  if (d.fate === "reordered") notes.push(`held back ${format.duration(d.held ?? 0)}, overtaken`);
  return { notes, fate: FATE_WORDS[d.fate ?? ""] };
}

export const FATE_WORDS: Partial<Record<string, string>> = { lost: "lost on the link", corrupted: "dropped: the checksum caught a flipped bit" };

function copyOf(row: Row): string {
  return `a copy that the link made${row.again?.n ? `, of row ${row.again.n}` : ""}`;
}

function segmentWords(rows: Rows, row: Row): Words {
  const e = rows.packetsOf(row)[0]!, s = e.data.segment;
  if (e.data.of !== undefined || !s) return { main: s ? copyOf(row) : (e.text ?? "segment") };
  const flags = s.flags.replaceAll(", ", " "), numbers = `seq ${s.seq}${s.ack === undefined ? "" : ` ack ${s.ack}`}`, times = row.packets.length;
  if (s.again !== undefined) {
    const note = againWords(rows, row);
    return { main: `retransmission of ${row.again ? `row ${row.again.n}` : "a segment"}  seq ${s.seq}${s.len ? ` len ${s.len}` : ""}`, ...(note && { note }) };
  }
  if (s.flags.includes("SYN")) return { main: `${flags}  ${numbers}  ${s.options ?? ""}` };
  const counted = times > 1 ? `${times} × ` : "";
  if (s.flags.includes("RST")) return { main: `${counted}${flags}  ${numbers}`, note: "no such connection here, RFC 9293, 3.5.2" };
  if (s.flags.includes("FIN")) return { main: `${flags}  ${numbers}`, note: "nothing more will be sent, RFC 9293, 3.6" };
  if (row.ok) return { main: `${flags}  ${numbers}  win ${s.window}`, note: "established, RFC 9293, 3.5" };
  const marks = rows.remarks(e.n).filter((r) => firsthand(e, r)).flatMap((r) => r.marks), size = s.len ? `len ${s.len}` : `win ${s.window}`;
  if (marks.includes("duplicate-ack")) return { main: `${counted}duplicate ACK  ack ${s.ack}`, note: `what begins at ${s.ack} is missing or came twice` };
  if (marks.includes("zero-window-probe")) return { main: `window probe  ${numbers}  len ${s.len}`, note: "is there room again? RFC 9293, 3.8.6.1" };
  if (s.window === 0) return { main: `zero window  ${numbers}`, note: "the receiver has no room: stop sending" };
  if (marks.includes("window-update")) return { main: `window update  ${numbers}  ${size}`, note: "there is room again" };
  if (marks.includes("keep-alive")) return { main: `keep-alive  ${numbers}` };
  return { main: `${flags}  ${numbers}  ${size}` };
}

/** A packet that stands for no row. */
export function packetWords(rows: Rows, e: PacketEvent): Words {
  const s = e.data.segment, row = rows.rowOf(e.n);
  if (!s) return { main: e.text ?? e.kind };
  const main = `${s.flags.replaceAll(", ", " ")}  seq ${s.seq}${s.ack === undefined ? "" : ` ack ${s.ack}`}  ${s.len ? `len ${s.len}` : `win ${s.window}`}`, fate = FATE_WORDS[e.data.fate ?? ""];
  const notes = [row && `of row ${row.n}`, e.data.fate === "reordered" && `held back ${format.duration(e.data.held ?? 0)}, overtaken`].filter(Boolean).join(", ");
  return { main, ...(notes && { note: notes }), ...(fate && { fate }) };
}

const TIMERS: Record<Wait["timer"], string> = { connection: "the connection timer", retransmission: "the retransmission timer", probe: "the probe for a lost tail" };

function againWords(rows: Rows, row: Row): string {
  const e = rows.packetsOf(row)[0]!, marks = rows.remarks(e.n).flatMap((r) => r.marks), wait = rows.waitOf(row);
  const needless = rows.needed(row) && !marks.includes("spurious-retransmission") ? "" : ", needlessly: it had arrived";
  if (wait) return `after ${format.duration(wait.to - wait.before)}, ${TIMERS[wait.timer]}${needless}`;
  if (marks.includes("fast-retransmission")) return `duplicate ACKs asked for it${needless}`;
  if (e.src === "captured") return `after ${format.duration(e.t - rows.trace!.events[e.data.segment!.again!]!.t)}${needless}`;
  return `the ACKs show a gap${needless}`;
}

/** A wait that a timer of TCP ended: what it was, and why it took so long. */
export function waitWords(w: Wait): { title: string; text: string } {
  const title = `${format.ms(w.to - w.from)} ms of silence: ${TIMERS[w.timer]}.`, one = w.flight === 1;
  switch (w.timer) {
    case "connection":
      return { title, text: w.tries === 1 ? "Nothing was measured yet, so it waits 1 s. RFC 6298, 2.1." : `Try ${w.tries} had no answer either: it waits twice as long as before. RFC 6298, 5.5.` };
    case "retransmission":
      return {
        title,
        text: [one ? "One segment was in flight, so no duplicate ACK could come back early." : "", w.tries > 1 ? "It doubles with each try: RFC 6298, 5.5."
          : w.rto === FLOOR ? "RFC 6298; this stack's floor is 200 ms." : "RFC 6298: the round trip, and four times its variation."].filter(Boolean).join(" "),
      };
    case "probe":
      return { title, text: one
        ? "One segment was in flight, so no duplicate ACK could come back early: two round trips, and 200 ms for an ACK that may be delayed. RFC 8985, 7.2."
        : "The last segments sent have nobody behind them who could draw duplicate ACKs: two round trips. RFC 8985, 7.2." };
  }
}

/** The least that the retransmission timer of the lab's stack waits. */
const FLOOR = 200e6;

/** What a mail server does with a message, and which one. */
export function mailWords(trace: TraceStore, e: { kind: string; data: MailData }): string {
  return `${trace.host(e.data.host)}: ${mailAction(e)}`;
}

/** Without the server, which its lane shows. */
function mailAction(e: { kind: string; data: MailData }): string {
  const d = e.data, reason = d.reason ? `: ${visible(d.reason)}` : "";
  switch (e.kind) {
    case "queued": return `queued for ${format.list(d.to)}, as ${d.queueID}`;
    case "attempt": return `tries ${d.next ?? "the next server"} with ${d.queueID}${(d.attempt ?? 1) > 1 ? `, attempt ${d.attempt}` : ""}`;
    case "deferred": return `${d.queueID} deferred until ${format.duration(d.retry ?? 0)}${reason}`;
    case "relayed": return `${d.next ?? "the next server"} has accepted ${d.queueID}`;
    case "bounced": return d.from === "" ? `${d.queueID} dropped, as there is no sender to tell${reason}` : `${d.queueID} bounced, ${d.from} is told${reason}`;
    default: return `in the mailbox of ${d.mailbox ?? format.list(d.to)}, as ${d.queueID}`;
  }
}

/** The text of an event with its secrets readable. */
export function shown(trace: TraceStore, event: number): string {
  const e = trace.events[event]!;
  return e.at ? decodeLine(trace.bytes(e.at)) : (e.text ?? "");
}

const utf8 = new TextDecoder();

/** A line without its line end, control bytes made visible. */
export function decodeLine(b: Uint8Array): string {
  return visible(utf8.decode(b).replace(/\r?\n$/, ""));
}

/** Control characters, and those that reorder text, as escapes. */
export function visible(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, (c) => `\\x${format.hex(c.charCodeAt(0), 2)}`);
}

/** Secret spans of bytes as dots, eight for each whatever its length. */
export function masked(text: string, spans: readonly Span[]): string {
  let out = "", at = 0;
  for (const [from, to] of spans) {
    if (from < at) continue;
    out += text.slice(at, from) + "••••••••";
    at = to;
  }
  return out + text.slice(at);
}

export function shortSuite(suite: string): string {
  const cipher = /(CHACHA20_POLY1305|AES_\d+_(?:GCM|CCM|CBC)(?:_8)?)/.exec(suite)?.[1];
  if (!cipher) return suite;
  return cipher === "CHACHA20_POLY1305" ? "ChaCha20-Poly1305" : cipher.replaceAll("_", "-");
}

/** The common name in a distinguished name, or all of it. */
export function commonName(dn: string): string {
  return /(?:^|,)CN=((?:\\.|[^,\\])+)/.exec(dn)?.[1] ?? dn;
}

export const LAYER_NAME = { tunnel: "TCP", dns: "DNS", ip: "IP", udp: "UDP", tcp: "TCP", tls: "TLS", smtp: "SMTP", mail: "mail", app: "page" } as const;
