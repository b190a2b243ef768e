// The rows of the ladder: what of a trace is one thing to a reader. Numbers are
// stable: a row keeps its number whatever happens later, so that links can cite it.
//
// The statuses of the tunnel fold into one row for each address that is tried, what is
// asked of the DNS at the side of the session into another, a TLS handshake with its records
// into one, and a TLS record that carries SMTP is found below the row that it
// carries, by the range of text.* that both name. A segment, of a lab or captured, is found
// below the row of the bytes that it carries; one that carries none has a row of
// its own when something happened to it or it says something remarkable. What
// the client reads begins as the row of a segment, when that is sent, and becomes
// that of the text when it is read.

import { Channel, touching } from "./channel.ts";
import { Rounds } from "./rounds.ts";
import { countBefore } from "./search.ts";
import type { AnalysisData, Direction, EventOfKind, Extension, Fate, Layer, PacketData, Range, RecordData, StateData, TraceEvent, TraceStore } from "./trace.ts";
import type { Place } from "./view.ts";

export type RowKind =
  | "connect" | "handshake" | "record"
  | "command" | "response" | "message" | "reply" | "closed" | "desync"
  | "dns" | "segment" | "datagram" | "packet" | "mail"
  | "note" | "error" | "pause";

export interface Row {
  /** Position in Rows.list. */
  i: number;
  /** The number shown; 0 for a pause, which is a separator. */
  n: number;
  kind: RowKind;
  layer: Layer;
  dir: Direction | undefined;
  /** Hosts, by their ids. */
  from: string | undefined;
  to: string | undefined;
  /** Connection of two mail servers that it belongs to; 0 for the page's own. */
  hop: number;
  /** When it began: in a lab, what a server says begins when it is sent. */
  t: number;
  /** The event that says most: of a handshake the one that ends it. */
  e: number;
  /** What was folded into the row, in order. */
  parts: number[];
  /** Number of the round trip that it belongs to; 0 for none. */
  round: number;
  /** The row that answers this command, or the command that this reply answers. */
  other: Row | undefined;
  /** A handshake or connection that came about, or did not; undefined while it is open. */
  ok: boolean | undefined;
  /** For a pause: when it ended. */
  until: number | undefined;
  /** When its first octet left. */
  sent: number;
  /** When its last octet is there; undefined where it was lost and not sent again yet. */
  arrives: number | undefined;
  /** What the link did to its first packet. */
  fate: Fate | undefined;
  /** The events of the packets that carry it, in order; retransmissions have rows of their own. */
  packets: number[];
  /** The row that this retransmits or is a copy of. */
  again: Row | undefined;
}

/** A wait that ended because a timer of TCP sent something again. */
export interface Wait {
  timer: "connection" | "retransmission" | "probe";
  /** From the last sign of life to the retransmission. */
  from: number;
  to: number;
  /** When it was sent before. */
  before: number;
  /** Segments that were in flight. */
  flight: number;
  /** The timer as the stack had set it, where it says so. */
  rto: number | undefined;
  /** How often it was sent before. */
  tries: number;
}

export type PacketEvent = TraceEvent & { data: PacketData };

export function isPacket(e: TraceEvent): e is PacketEvent {
  return e.at?.stream === "packets";
}

/** One TCP connection. */
interface Flow {
  initiator: string;
  synACK: Row | undefined;
  established: boolean;
  /** Hosts that announced a window of 0, and the packet that took that back. */
  shut: Set<string>;
  reopened: number;
  /** Rows of what a host says more than once. */
  repeats: Map<string, Row>;
  /** When a host sent or got something, in order but for what was overtaken. */
  signs: Map<string, number[]>;
  states: Map<string, EventOfKind<"tcp", "state">[]>;
}

/** Marks that are worth a row, although they belong to a packet that carries no text, or text of another row. */
const TOLD = ["duplicate-ack", "zero-window", "zero-window-probe", "zero-window-probe-ack", "keep-alive", "keep-alive-ack"];

export interface KeywordChange {
  keyword: Extension;
  change: "same" | "new" | "gone";
}

export class Rows {
  readonly list: Row[] = [];
  readonly rounds = new Rounds();
  /** Replies to EHLO that list extensions. */
  readonly greetings: Row[] = [];
  /** Packets that stand for no row, in order, and the row that each comes after. */
  readonly quiet: { e: number; row: number }[] = [];
  /** The row from which on both sides speak inside TLS. */
  sealed: Row | undefined;
  /** How many events were read. */
  seen = 0;

  #chunk = false; // BDAT was said last: the message text follows it
  /** Indexes of rows that changed after they were added, in order: whoever draws rows reads on from where it was. */
  readonly changes: number[] = [];
  /** Packets that did not arrive and were sent again later, by their events. */
  readonly losses: [lost: number, again: number][] = [];
  /** There are packets that the proxy captured. */
  captured = false;
  /** All packets but those of the DNS, in order; how long the first of them was under way, and how long the slowest, in nanoseconds. */
  readonly packets: number[] = [];
  delay: number | undefined;
  slowest = 0;
  /** The mail server that was tried last. */
  server: string | undefined;
  /** What the proxy measured of its TCP. */
  readonly samples: EventOfKind<"tcp", "sample">[] = [];

  #numbers = 0;
  #connect: Row | undefined; // the newest
  #dials = new Map<string, Row>(); // connections that are being made, by address; "" while the name is looked up
  #published: Row | undefined; // what the DNS says besides the MX
  #joined: Row | undefined; // the client's end of the TCP handshake
  #handshake: Row | undefined; // open
  #lastHandshake: Row | undefined;
  #pause: Row | undefined;
  #byEvent = new Map<number, Row>();
  #carriers: Record<Direction, number[]> = { out: [], in: [] };
  #channels = new Map<string, Channel>();
  #flows = new Map<number, Flow>();
  #remarks = new Map<number, AnalysisData[]>();
  #landing = new Map<Row, { missing: Set<number>; latest: number }>();
  #lost = new Map<number, { rows: Row[]; made: number }>(); // packets that did not arrive: whom that concerns, and when what they carried came
  #tries = new Map<number, number[]>(); // every time that a segment was sent
  #queries = new Map<string, Row>();
  #waits = new Map<Row, Wait | undefined>();
  #unread: Row[] = []; // datagrams to the client

  constructor(readonly trace: TraceStore | undefined) {}

  /** Reads the events of the trace up to, not including, the one at upto. */
  readTo(upto: number): this {
    const events = this.trace?.events ?? [];
    for (; this.seen < Math.min(upto, events.length); this.seen++) this.#read(events[this.seen]!);
    return this;
  }

  event(row: Row): TraceEvent {
    return this.trace!.events[row.e]!;
  }

  /** The row of an event; for a packet, the one that it carries or that stands for it. */
  rowOf(event: number): Row | undefined {
    return this.#byEvent.get(event);
  }

  /** Where an event stands in the ladder. */
  placeOf(event: number): Place | undefined {
    const row = this.#byEvent.get(event), e = this.trace?.events[event];
    if (row && e?.layer === "tls" && e.kind === "decrypted") return { row: row.i, message: event };
    if (row) return row.packets.length > 1 && row.packets[0] !== event && row.packets.includes(event) ? { row: row.i, packet: event } : { row: row.i };
    const q = this.quiet.find((x) => x.e === event);
    return q && { row: q.row, packet: event };
  }

  /** The packets that carry a row. */
  packetsOf(row: Row): PacketEvent[] {
    return row.packets.map((n) => this.#packet(n));
  }

  /** What captures at the hosts remark about a packet. */
  remarks(packet: number): readonly AnalysisData[] {
    return this.#remarks.get(packet) ?? [];
  }

  /** The TLS records that carry a row, or none: their events' positions. */
  carriers(row: Row): number[] {
    const at = this.event(row).at;
    if (!at || !row.dir || row.hop || !at.stream.startsWith("text")) return [];
    const all = this.#carriers[row.dir], plain = (n: number) => (this.trace!.events[n]!.data as RecordData).plain!;
    const end = (n: number) => plain(n).off + plain(n).len, out: number[] = [];
    for (let i = countBefore(all.length, (j) => end(all[j]!) <= at.off); i < all.length && plain(all[i]!).off < at.off + at.len; i++) out.push(all[i]!);
    return out;
  }

  /** The handshake messages that were opened below a row, in order. */
  decrypted(row: Row): EventOfKind<"tls", "decrypted">[] {
    return row.parts.map((n) => this.trace!.events[n]!).filter((e): e is EventOfKind<"tls", "decrypted"> => e.layer === "tls" && e.kind === "decrypted");
  }

  /** The segments that carry a range of the page's own wire, as far as they were sent. */
  carrying(range: Range): PacketEvent[] {
    const c = this.#channels.get(range.stream.replace("wire", "text"));
    return c ? touching(c.segments, range.off, range.off + range.len).map((s) => this.#packet(s.e)) : [];
  }

  /** The extensions of a reply to EHLO, compared with those of the one before. */
  keywords(row: Row): { list: KeywordChange[]; since: Row | undefined } {
    const of = (r: Row) => (this.event(r) as EventOfKind<"smtp", "reply">).data.extensions ?? [];
    const since = row.hop ? undefined : this.greetings[this.greetings.indexOf(row) - 1], before = since && of(since), now = of(row);
    const list: KeywordChange[] = now.map((keyword) => ({
      keyword, change: !before || before.some((b) => b.keyword === keyword.keyword) ? "same" : "new",
    }));
    for (const b of before ?? []) if (!now.some((k) => k.keyword === b.keyword)) list.push({ keyword: b, change: "gone" });
    return { list, since };
  }

  /** The last reply that says what state the client is in. */
  get lastReply(): EventOfKind<"smtp", "reply"> | undefined {
    const row = this.list.findLast((r) => r.kind === "reply" && !r.hop);
    return row && (this.event(row) as EventOfKind<"smtp", "reply">);
  }

  /** The wait that a retransmission ended, where a timer caused it; in the words of the stack's own state. */
  waitOf(row: Row): Wait | undefined {
    if (!row.again) return undefined;
    if (!this.#waits.has(row)) this.#waits.set(row, this.#wait(row));
    return this.#waits.get(row);
  }

  #wait(row: Row): Wait | undefined {
    const e = row.kind === "segment" ? this.#packet(row.packets[0]!) : undefined, s = e?.data.segment;
    if (!e || s?.again === undefined) return undefined;
    const flow = this.#flows.get(s.flow)!, tries = this.#tries.get(s.again)!, states = flow.states.get(e.from!) ?? [];
    const earlier = tries.slice(0, tries.indexOf(e.n)), before = this.#packet(earlier.at(-1)!).t;
    const after = states.find((x) => x.data.packet === e.n && x.n > e.n)?.data, prior = states.findLast((x) => x.n < e.n)?.data;
    let sign = before;
    const signs = flow.signs.get(e.from!) ?? [];
    for (let i = signs.length - 1; i >= 0 && i > signs.length - 256; i--) if (signs[i]! < e.t) sign = Math.max(sign, signs[i]!);
    const timer = timerOf(s.flags, e.t - before, e.t - sign, prior, after);
    if (!timer) return undefined;
    const outstanding = prior?.inner?.outstanding ?? 0, flight = outstanding > 1 ? outstanding : s.inFlight <= s.len ? 1 : 0;
    return { timer, from: timer === "retransmission" ? sign : before, to: e.t, before, flight, rto: timer === "retransmission" ? prior?.rto : undefined, tries: earlier.length };
  }

  /** Whether nothing of what a retransmission carries had arrived before, as far as is known. */
  needed(row: Row): boolean {
    const e = this.#packet(row.packets[0]!), tries = this.#tries.get(e.data.segment?.again ?? -1) ?? [];
    return tries.every((n) => n >= e.n || !landed(this.#packet(n)) || e.src === "captured" && e.dir === "out");
  }

  #packet(n: number): PacketEvent {
    return this.trace!.events[n] as PacketEvent;
  }

  #add(e: TraceEvent, kind: RowKind, t = e.t): Row {
    const row: Row = {
      i: this.list.length, n: kind === "pause" ? 0 : ++this.#numbers, kind, layer: e.layer, dir: e.dir, from: e.from, to: e.to, hop: e.hop ?? 0,
      t, e: e.n, parts: [], round: 0, other: undefined, ok: undefined, until: undefined,
      sent: t, arrives: undefined, fate: undefined, packets: [], again: undefined,
    };
    this.list.push(row);
    this.#byEvent.set(e.n, row);
    return row;
  }

  #fold(e: TraceEvent, row: Row): void {
    row.parts.push(e.n);
    this.#byEvent.set(e.n, row);
    this.#touch(row);
  }

  #touch(row: Row): void {
    this.changes.push(row.i);
    this.#waits.delete(row);
  }

  #read(e: TraceEvent): void {
    if (isPacket(e) && e.layer !== "dns") {
      this.captured ||= e.src === "captured";
      this.packets.push(e.n);
      this.delay ??= arrival(e) - e.t;
      this.slowest = Math.max(this.slowest, arrival(e) - e.t);
    }
    switch (e.layer) {
      case "tunnel": return this.#readTunnel(e);
      case "tls": return this.#readTLS(e);
      case "smtp": return this.#readSMTP(e);
      case "app": return this.#readApp(e);
      case "dns": return e.kind === "lookup" || e.kind === "policy" ? this.#readLookup(e) : this.#readDNS(e);
      case "udp": return this.#readDatagram(e);
      case "tcp": return e.kind === "segment" ? this.#readSegment(e) : e.kind === "analysis" ? this.#readAnalysis(e) : e.kind === "sample" ? this.#readSample(e) : this.#readState(e);
      case "ip":
        this.#addPacket(e);
        return;
      case "mail":
        this.#add(e, "mail");
    }
  }

  // ---- packets

  #addPacket(e: PacketEvent): Row {
    const row = this.#add(e, ({ dns: "dns", tcp: "segment", udp: "datagram" } as const)[e.layer as string] ?? "packet");
    this.#carry(row, e);
    return row;
  }

  /** A packet carries part of a row. */
  #carry(row: Row, e: PacketEvent): void {
    const at = row.packets.findLastIndex((n) => n <= e.n);
    if (row.packets[at] === e.n) return;
    row.packets.splice(at + 1, 0, e.n);
    this.#touch(row);
    let l = this.#landing.get(row);
    if (!l) this.#landing.set(row, (l = { missing: new Set(), latest: 0 }));
    const lost = landed(e) ? undefined : (this.#lost.get(e.n) ?? { rows: [], made: Infinity });
    if (lost) this.#lost.set(e.n, { rows: [...lost.rows, row], made: lost.made });
    if (lost?.made === Infinity) l.missing.add(e.n);
    else l.latest = Math.max(l.latest, lost?.made ?? arrival(e));
    if (at < 0) {
      row.sent = e.t;
      row.fate = e.data.fate;
    }
    row.arrives = l.missing.size ? undefined : l.latest;
    if (!this.#byEvent.has(e.n)) this.#byEvent.set(e.n, row);
  }

  /** What a packet carried came after all, in another one. */
  #made(up: number, other: PacketEvent): void {
    const lost = this.#lost.get(up);
    if (!lost || lost.made <= arrival(other) || !landed(other)) return;
    lost.made = arrival(other);
    for (const row of lost.rows) {
      const l = this.#landing.get(row);
      if (!l) continue;
      l.missing.delete(up);
      this.#touch(row);
      l.latest = Math.max(l.latest, lost.made);
      row.arrives = l.missing.size ? undefined : l.latest;
    }
  }

  #channel(stream: string): Channel {
    const name = stream.replace("wire", "text");
    let c = this.#channels.get(name);
    if (!c) this.#channels.set(name, (c = new Channel()));
    return c;
  }

  #readSegment(e: EventOfKind<"tcp", "segment">): void {
    const { segment: s, of } = e.data;
    if (!s || of !== undefined) {
      const row = this.#addPacket(e);
      if (of !== undefined) {
        row.again = this.#byEvent.get(of);
        this.#made(of, e);
      }
      return;
    }
    const flow = this.#flow(s.flow, e), has = (flag: string) => s.flags.includes(flag);
    if (has("SYN")) this.#readSYN(e, flow);
    else if (s.again !== undefined) this.#retransmitted(e, s.again);
    else if (has("RST")) this.#repeat(flow, `RST ${e.from}`, e);
    else if (s.len > 0) {
      this.#readData(e);
      if (!flow.established) this.#establish(flow, e, undefined);
    } else if (has("FIN")) this.#addPacket(e);
    else if (!flow.established && flow.synACK && e.from === flow.initiator) this.#establish(flow, e, this.#addPacket(e));
    else if (unusual(e)) this.#addPacket(e);
    else this.quiet.push({ e: e.n, row: Math.max(0, this.list.length - 1) });
  }

  #flow(number: number, e: EventOfKind<"tcp", "segment">): Flow {
    let f = this.#flows.get(number);
    if (!f) {
      f = { initiator: e.from!, synACK: undefined, established: false, shut: new Set(), reopened: -1, repeats: new Map(), signs: new Map(), states: new Map() };
      this.#flows.set(number, f);
    }
    const sign = (host: string, t: number) => {
      const all = f.signs.get(host);
      if (all) all.push(t);
      else f.signs.set(host, [t]);
    };
    sign(e.from!, e.t);
    if (landed(e)) sign(e.to!, arrival(e));
    const { window, flags } = e.data.segment!;
    if (/SYN|RST/.test(flags)) return f;
    if (window === 0) f.shut.add(e.from!);
    else if (f.shut.delete(e.from!)) f.reopened = e.n;
    return f;
  }

  #readSYN(e: EventOfKind<"tcp", "segment">, flow: Flow): void {
    const s = e.data.segment!, row = s.again === undefined ? this.#addPacket(e) : this.#retransmitted(e, s.again);
    if (s.flags !== "SYN") flow.synACK ??= row;
    if (e.dir && !flow.established && !this.#connect) row.round = this.rounds.begin(e.t, row.i, "connect");
  }

  #establish(flow: Flow, e: EventOfKind<"tcp", "segment">, row: Row | undefined): void {
    flow.established = true;
    if (row) row.ok = true;
    if (!e.dir || !flow.synACK || this.#connect) return; // the tunnel tells
    this.rounds.end(e.t, flow.synACK.i, "connect");
    this.#joined = row;
  }

  #retransmitted(e: EventOfKind<"tcp", "segment">, first: number): Row {
    const row = this.#addPacket(e);
    row.again = this.#byEvent.get(first);
    this.#made(first, e);
    let tries = this.#tries.get(first);
    if (!tries) this.#tries.set(first, (tries = [first]));
    if (!landed(this.#packet(tries.at(-1)!))) this.losses.push([tries.at(-1)!, e.n]);
    tries.push(e.n);
    return row;
  }

  /** What a host says again and again is one row. */
  #repeat(flow: Flow, key: string, e: PacketEvent): Row {
    const row = flow.repeats.get(key);
    if (!row || unusual(e)) {
      const added = this.#addPacket(e);
      if (!row) flow.repeats.set(key, added);
      return added;
    }
    this.#fold(e, row);
    this.#carry(row, e);
    this.quiet.push({ e: e.n, row: this.list.length - 1 });
    return row;
  }

  /** New bytes: they belong to the rows of the text in them, or begin one. */
  #readData(e: EventOfKind<"tcp", "segment"> | EventOfKind<"udp", "datagram">): void {
    const r = e.data.carries;
    if (!r) {
      const row = this.#addPacket(e);
      if (e.layer !== "udp") return;
      if (e.dir === "in") this.#unread.push(row);
      else if (e.dir && !this.#joined) {
        this.#joined = row; // there is no handshake: the first datagram draws the greeting
        row.round = this.rounds.begin(e.t, row.i, "greeting");
      }
      return;
    }
    const c = this.#channel(r.stream), end = r.off + r.len;
    c.take({ off: r.off, end, e: e.n });
    let rows = this.#handshake && r.off >= c.start ? [this.#handshake] : c.rowsAt(r.off, end);
    if (rows.length === 0 && e.dir !== "in") rows = c.waiting(end);
    if (rows.length === 0) rows = [(c.open ??= this.#addPacket(e))];
    for (const row of rows) this.#carry(row, e);
    if (rows[0]!.packets[0] !== e.n) this.quiet.push({ e: e.n, row: this.list.length - 1 });
  }

  #readDatagram(e: EventOfKind<"udp", "datagram">): void {
    if (e.data.of === undefined) return this.#readData(e);
    const row = this.#addPacket(e);
    row.again = this.#byEvent.get(e.data.of);
    if (e.dir === "in") this.#unread.push(row);
  }

  #readDNS(e: EventOfKind<"dns", "query"> | EventOfKind<"dns", "answer">): void {
    const question = (e.text ?? "").replace(/\?.*/, "");
    if (e.kind === "query") {
      this.#queries.set(`${e.from} ${question}`, this.#addPacket(e));
      return;
    }
    const key = `${e.to} ${question}`, row = this.#queries.get(key);
    if (!row) {
      this.#addPacket(e);
      return;
    }
    this.#queries.delete(key);
    row.e = e.n;
    this.#fold(e, row);
    this.#carry(row, e);
  }

  /** The MX begins the session, and nothing in it waits for the rest. */
  #readLookup(e: EventOfKind<"dns", "lookup"> | EventOfKind<"dns", "policy">): void {
    const mx = e.kind === "lookup" && e.data.type === "MX", row = mx || !this.#published ? this.#add(e, "dns") : this.#published;
    if (!mx) this.#published = row;
    this.#fold(e, row);
  }

  #readAnalysis(e: EventOfKind<"tcp", "analysis">): void {
    const d = e.data, packet = this.#packet(d.packet), s = packet.data.segment;
    this.#remarks.set(d.packet, [...(this.#remarks.get(d.packet) ?? []), d]);
    const told = this.#byEvent.get(d.packet);
    if (told) this.#touch(told);
    const flow = s && this.#flows.get(s.flow);
    if (!flow || !firsthand(packet, d)) return;
    if (!d.marks.some((m) => TOLD.includes(m) || (m === "window-update" && flow.reopened === d.packet))) return;
    const row = told, probe = d.marks.includes("zero-window-probe");
    if (row && !(probe && row.packets[0] !== d.packet)) return;
    const at = this.quiet.findLastIndex((q) => q.e === d.packet);
    if (at >= 0) this.quiet.splice(at, 1);
    if (d.marks.includes("duplicate-ack")) this.#repeat(flow, `duplicate ${packet.from} ${s.ack}`, packet);
    else this.#addPacket(packet);
  }

  #readState(e: EventOfKind<"tcp", "state">): void {
    const about = this.#byEvent.get(e.data.packet);
    if (about?.again) this.#touch(about);
    const flow = this.#flows.get(e.data.flow), states = flow?.states.get(e.data.host);
    if (states) states.push(e);
    else flow?.states.set(e.data.host, [e]);
  }

  /** The first one, taken when the connection was opened, tells of its SYN. */
  #readSample(e: EventOfKind<"tcp", "sample">): void {
    if (this.samples.push(e) === 1 && this.#connect) this.#fold(e, this.#connect);
  }

  // ---- what they carry

  /** The row of text or of a record: the one that its segments began, or a new one. */
  #claim(e: TraceEvent, kind: RowKind, c: Channel, wire: { off: number; end: number } | undefined): Row {
    const found = wire ? touching(c.segments, wire.off, wire.end).map((s) => this.#packet(s.e)) : [], [first] = found;
    let row = c.open;
    if (row && first && row.packets[0] === first.n) {
      for (const n of row.packets) this.#byEvent.delete(n);
      row.packets = [];
      this.#landing.delete(row);
      this.#become(row, e, kind);
      c.open = undefined;
    } else row = this.#add(e, kind, first && e.dir === "in" ? first.t : e.t);
    for (const p of found) this.#carry(row, p);
    return row;
  }

  #become(row: Row, e: TraceEvent, kind: RowKind): void {
    this.#touch(row);
    Object.assign(row, { kind, layer: e.layer, dir: e.dir, from: e.from, to: e.to, hop: e.hop ?? 0, e: e.n });
    this.#byEvent.set(e.n, row);
  }

  #say(e: Extract<TraceEvent, { layer: "smtp" }>): Row {
    if (!e.at) return this.#add(e, e.kind);
    const c = this.#channel(e.at.stream), text = { off: e.at.off, end: e.at.off + e.at.len };
    const row = this.#datagram(e) ?? this.#claim(e, e.kind, c, c.wire(text));
    c.texts.push({ ...text, row });
    return row;
  }

  /** The datagram in which a reply came: the trace does not say, but its bytes do. */
  #datagram(e: Extract<TraceEvent, { layer: "smtp" }>): Row | undefined {
    if (e.kind !== "reply" || this.#unread.length === 0) return undefined;
    const text = this.trace!.bytes(e.at!), header = 28;
    const i = this.#unread.findIndex((r) => {
      const p = this.#packet(r.packets[0]!), { stream, off, len } = p.at!;
      if (!landed(p) || arrival(p) > e.t || len - header !== text.length) return false;
      const payload = this.trace!.stream(stream).bytes(off + header, text.length);
      return text.every((b, i) => b === payload[i]);
    });
    if (i < 0) return undefined;
    const row = this.#unread[i]!;
    this.#unread.splice(0, i + 1);
    this.#become(row, e, "reply");
    return row;
  }

  #readTunnel(e: Extract<TraceEvent, { layer: "tunnel" }>): void {
    if (e.kind === "resolving") this.#giveUp(); // it is the next server's turn
    const at = e.data.address ?? "", row = (this.#connect = this.#dials.get(at) ?? this.#dials.get("") ?? this.#add(e, "connect"));
    this.#dials.delete("");
    this.#dials.set(at, row);
    this.server = e.data.host ?? this.server;
    this.#fold(e, row);
    row.e = e.n;
    row.dir = "out";
    if (e.kind === "failed") {
      row.ok = false;
      this.#dials.delete(at);
    }
    if (e.kind !== "opened") {
      row.round = this.rounds.begin(e.t, row.i, "connect");
      return;
    }
    row.ok = true;
    this.#dials.delete(at);
    this.#giveUp();
    row.round = this.rounds.end(e.t, row.i, "connect");
  }

  /** Ends the attempts that nobody waits for any more. */
  #giveUp(): void {
    for (const row of this.#dials.values()) {
      row.ok = false;
      this.#touch(row);
    }
    this.#dials.clear();
  }

  #readTLS(e: Extract<TraceEvent, { layer: "tls" }>): void {
    switch (e.kind) {
      case "start": {
        const row = (this.#handshake ??= this.#add(e, "handshake"));
        this.#fold(e, row);
        row.dir = "out";
        row.round = this.rounds.begin(e.t, row.i, "TLS handshake");
        if (e.at) this.#channel(e.at.stream).start = e.at.off;
        return;
      }
      case "handshake":
      case "alert": {
        const row = (this.#handshake ??= this.#add(e, "handshake", e.data.started));
        this.#byEvent.set(e.n, row);
        this.#touch(row);
        row.e = e.n;
        row.ok = e.kind === "handshake";
        this.#lastHandshake = row;
        this.#handshake = undefined;
        if (row.ok) {
          row.round = this.rounds.end(e.t, row.i, "TLS handshake", Math.max(e.data.roundTrips ?? 1, 1));
          this.sealed = row;
        } else this.rounds.drop();
        return;
      }
      case "record": return this.#readRecord(e);
      case "decrypted": {
        const row = this.#handshake ?? this.#lastHandshake;
        if (row) this.#fold(e, row);
      }
    }
  }

  #readRecord(e: EventOfKind<"tls", "record">): void {
    const c = this.#channel(e.at!.stream), wire = { off: e.at!.off, end: e.at!.off + e.at!.len }, plain = e.data.plain;
    const sealed = { ...wire, plain: plain && { off: plain.off, end: plain.off + plain.len }, row: undefined as Row | undefined };
    c.records.push(sealed);
    const segments = touching(c.segments, wire.off, wire.end).map((s) => this.#packet(s.e));
    if (plain && e.dir) {
      this.#carriers[e.dir].push(e.n);
      for (const { row } of touching(c.texts, sealed.plain!.off, sealed.plain!.end)) for (const s of segments) this.#carry(row, s);
      return;
    }
    // After the handshake a server sends tickets (RFC 8446, 4.6.1).
    const open = this.#handshake ?? (e.data.type === "handshake" && segments.length === 0 ? this.#lastHandshake : undefined);
    sealed.row = open ?? this.#claim(e, "record", c, wire);
    if (!open) return;
    this.#fold(e, open);
    for (const s of segments) this.#carry(open, s);
  }

  #readSMTP(e: Extract<TraceEvent, { layer: "smtp" }>): void {
    if (e.kind === "closed" || e.kind === "desync") {
      this.#add(e, e.kind);
      if (!e.hop) this.rounds.drop();
      return;
    }
    const row = this.#say(e), answers = e.kind === "reply" ? e.data.answers : undefined, asked = answers === undefined ? undefined : this.#byEvent.get(answers);
    const further = asked?.other !== undefined; // in LMTP each recipient has a reply to the message (RFC 2033, 4.2)
    if (e.kind === "message" && row.packets.length === 0) row.t = row.sent = e.data.started;
    row.other = asked;
    if (asked) asked.other = row;
    if (e.hop) return;
    if (e.kind !== "reply") {
      const chunk = e.kind === "message" && this.#chunk; // the reply answers its BDAT
      row.round = chunk ? this.rounds.begin(row.t, row.i, "message") : this.rounds.ask(row.t, row.i, e.kind === "message" ? "message" : e.data.verb);
      this.#chunk = e.kind === "command" && e.data.verb === "BDAT";
      return;
    }
    // Nothing is sent to draw the greeting: that wait began when the one before it ended.
    if (e.data.verb === "greeting") {
      const first = this.#joined ?? row;
      first.round = this.rounds.begin(this.rounds.list.at(-1)?.to ?? e.t, first.i, "greeting");
    }
    if (further) row.round = this.rounds.extend(asked!.round, e.t, row.i);
    else if (e.data.answers !== undefined) row.round = this.rounds.answer(e.t, row.i, e.data.verb!);
    else if (e.data.verb) row.round = this.rounds.end(e.t, row.i, e.data.verb);
    if (e.data.extensions) this.greetings.push(row);
  }

  #readApp(e: Extract<TraceEvent, { layer: "app" }>): void {
    switch (e.kind) {
      case "pause":
        this.#pause = this.#add(e, "pause");
        return;
      case "resume":
        if (this.#pause) {
          this.#pause.until = e.t;
          this.#fold(e, this.#pause);
        }
        this.#pause = undefined;
        return;
      case "note":
      case "error":
        this.#add(e, e.kind);
    }
  }
}

/** When a packet is there; one that was captured, when the page was told of it. */
export function arrival(e: PacketEvent): number {
  return e.data.arrives ?? e.t;
}

/** A packet got to where it was sent, as it was sent, as far as is known. */
export function landed(e: PacketEvent): boolean {
  return e.data.fate !== "lost" && e.data.fate !== "corrupted";
}

function unusual(e: PacketEvent): boolean {
  return (e.data.fate ?? "delivered") !== "delivered";
}

/** Whether a remark on a packet is that of a capture where it was sent, or where it was captured. */
export function firsthand(e: PacketEvent, d: AnalysisData): boolean {
  return e.src === "captured" || d.host === e.from;
}

/** What a receiver may delay an acknowledgment by, in the eyes of the stack's probe timer (RFC 8985, 7.2). */
const DELAYED_ACK = 200e6;

/** Which timer sent a segment again; undefined where the stack knew better than a timer that it was lost. */
function timerOf(flags: string, since: number, silence: number, prior: StateData | undefined, after: StateData | undefined): Wait["timer"] | undefined {
  if (flags.includes("SYN")) return "connection";
  if (after?.congestion === "timeout recovery") return "retransmission";
  if (/recovery/.test(after?.congestion ?? "") || !prior?.srtt) return undefined;
  const near = (a: number, b: number) => Math.abs(a - b) < Math.max(2e6, b / 50);
  return [since, silence].some((t) => near(t, 2 * prior.srtt!) || near(t, 2 * prior.srtt! + DELAYED_ACK)) ? "probe" : undefined;
}

/** The rows of the first events of a trace. */
export function rowsOf(trace: TraceStore | undefined, upto = Infinity): Rows {
  return new Rows(trace).readTo(upto);
}
