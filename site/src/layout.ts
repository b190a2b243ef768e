// Where everything in the ladder stands: rows of known height one below the
// other, and below an opened row what it is made of. Pure: the widths of the
// two faces come in from outside.

import { lanes, type Columns, type Lane } from "./columns.ts";
import * as format from "./format.ts";
import { ipOf } from "./packet.ts";
import { arrival, isPacket, landed, type KeywordChange, type PacketEvent, type Row, type Rows } from "./rows.ts";
import { countBefore } from "./search.ts";
import { TimeScale, unitFor, type Mark } from "./timescale.ts";
import type { Certificate, Direction, EventOfKind, HandshakeData, MailData, Range, SampleData, Source, Span, TraceStore, TunnelData } from "./trace.ts";
import { keyOf, placeOf, type Packets, type Place, type Scale } from "./view.ts";
import { commonName, FATE_WORDS, packetWords, visible, wordsOf, type Words } from "./words.ts";


/** Widths of text: of one character of the bold wire face, and of any prose. */
export interface Measure {
  wire: number;
  prose(text: string): number;
}

/** The least that is left of an arrow beside its text. */
const ARROW = 48;
/** Room of the disclosure triangle. */
const TWISTY = 14;
const MAX_LINES = 4;
const HEX_MAX = 256;
const LINES_MAX = 48;
/** Packets that are listed below one row. */
const PACKETS_MAX = 24;
/** Room of a mark, or of the loop of a look-up, beside a lane. */
const MARK = 12;
/** Lengths of the octets of a packet, two pixels each: of its payload, and of a header that is drawn whole. */
const PAYLOAD_MAX = 80, OCTET = 2;

/** Octets to scale, from left to right. */
export type Bar = { of: "tls" | "out" | "in" | "tcp" | "ink" | "rest"; w: number; cut?: boolean }[];

/** Part of a row: its head, or something that opened below it. y is relative to the row. */
export type Part = { y: number; h: number; key: string; level: number; place?: Place; open?: boolean } & (
  | { type: "head"; words: Words; lines: string[]; x: number; w: number; packet: PacketEvent | undefined }
  | { type: "prose"; lines: string[] }
  | { type: "pause"; text: string }
  | { type: "keywords"; items: { text: string; rfc: string; change: KeywordChange["change"]; remark: string }[]; rows: number }
  | { type: "lines"; lines: string[]; tone: "out" | "in" | "soft" }
  | { type: "facts"; facts: [string, string][]; tone: "ink" | "bad" }
  | { type: "record"; text: string; par: string; bar: Bar | undefined; dir: Direction; arrow: boolean }
  | { type: "certificate"; text: string; par: string }
  | { type: "handshake"; text: string; par: string; dir: Direction }
  | { type: "packet"; text: string; par: string; bar: Bar | undefined; layer: "tcp" | "ink" | "dns"; src: Source }
  | { type: "hex"; lines: HexLine[]; per: number; rest: string }
);

/** What has a place of its own in the ladder: a row, or, when all packets are shown, a packet between two rows. */
export interface Item {
  row: Row;
  packet: PacketEvent | undefined;
}

export interface HexLine {
  off: number;
  hex: string;
  ascii: string;
  /** Bytes here that were never kept; then hex and ascii are empty. */
  gap: number;
}

/** Where the layout was before an item, to go back to. */
interface Before {
  scale: Mark | undefined;
  beats: number;
  rows: number;
  quiet: number;
}

/**
 * The layout of the rows up to the cursor. It grows with them: what was laid
 * out before is looked at again only when it was opened or its row changed.
 */
export class Layout {
  readonly items: Item[] = [];
  /** Top of each item, and the end of the last. */
  readonly y: number[] = [0];
  readonly lanes: Lane[];
  readonly time: TimeScale | undefined;
  #heights: number[] = [];
  #parts: (Part[] | undefined)[] = [];
  #before: Before[] = [];
  #rowItems: number[] = []; // item of each row
  #packetItems = new Map<number, number>(); // item of each packet that has one
  #changes = 0;
  #rowsTaken = 0;
  #quietTaken = 0;
  #read = 0;
  #beats: number[] = []; // when packets leave and arrive, in order
  #beat = 0;
  #until = 0; // when the last packet that is drawn arrives
  #x: Map<string, number>;

  constructor(
    readonly rows: Rows,
    readonly columns: Columns,
    readonly measure: Measure,
    readonly open: ReadonlySet<string>,
    readonly revealed: ReadonlySet<number>,
    scale: Scale = "rows",
    readonly packets: Packets = "few",
  ) {
    this.lanes = lanes(rows.trace, columns);
    this.#x = new Map(this.lanes.map((l) => [l.id, l.x]));
    if (scale === "time") this.time = new TimeScale(columns.row / unitFor(rows.delay ?? firstDelay(rows.trace)));
  }

  /** The end of the last row, or of the last arrow. */
  get height(): number {
    return this.time ? Math.max(this.y.at(-1)!, this.time.y(this.#until)) : this.y.at(-1)!;
  }

  /** Takes in rows that are new, and those that changed. */
  update(): this {
    const { rows } = this, { changes } = rows;
    let from = this.items.length;
    for (const i of new Set(changes.slice(this.#changes))) {
      const at = this.#rowItems[i];
      if (at === undefined || at >= from) continue;
      this.#parts[at] = undefined;
      if (this.#heightOf(at) !== this.#heights[at]) from = at;
    }
    this.#changes = changes.length;
    // A packet that turned out to be remarkable has become a row.
    for (let i = from - 1; i >= Math.max(0, from - 8); i--) {
      const p = this.items[i]!.packet;
      if (p && rows.quiet[this.#before[i]!.quiet]?.e !== p.n) from = i;
    }
    this.#rewind(from);
    this.#hear();
    for (let item = this.#next(); item; item = this.#next()) this.#lay(item);
    return this;
  }

  #rewind(from: number): void {
    const b = this.#before[from];
    if (!b) return;
    for (const { packet } of this.items.slice(from)) if (packet) this.#packetItems.delete(packet.n);
    this.items.length = this.#parts.length = this.#heights.length = this.#before.length = from;
    this.y.length = from + 1;
    this.#rowItems.length = this.#rowsTaken = b.rows;
    this.#quietTaken = b.quiet;
    this.#beat = b.beats;
    if (b.scale) this.time!.back(b.scale);
  }

  /** Packets that leave or arrive keep time from being cut. */
  #hear(): void {
    if (!this.time) return;
    for (; this.#read < this.rows.seen; this.#read++) {
      const e = this.rows.trace!.events[this.#read]!;
      if (!isPacket(e)) continue;
      for (const t of landed(e) ? [e.t, arrival(e)] : [e.t]) {
        const at = this.#beats.findLastIndex((b) => b <= t);
        if (at === this.#beats.length - 1) this.#beats.push(t);
        else this.#beats.splice(at + 1, 0, t);
      }
      if (this.packets === "all" || this.rows.rowOf(e.n)) this.#until = Math.max(this.#until, arrival(e));
    }
  }

  /** The row or packet that comes next. */
  #next(): Item | undefined {
    const { list, quiet } = this.rows, q = this.packets === "all" ? quiet[this.#quietTaken] : undefined;
    if (q && q.row < this.#rowsTaken) return { row: list[q.row]!, packet: this.rows.trace!.events[q.e] as PacketEvent };
    const row = list[this.#rowsTaken];
    return row && { row, packet: undefined };
  }

  #lay(item: Item): void {
    const i = this.items.push(item) - 1, { time } = this;
    this.#before.push({ scale: time?.mark(), beats: this.#beat, rows: this.#rowsTaken, quiet: this.#quietTaken });
    if (item.packet) {
      this.#quietTaken++;
      this.#packetItems.set(item.packet.n, i);
    } else {
      this.#rowsTaken++;
      this.#rowItems.push(i);
    }
    const h = (this.#heights[i] = this.#heightOf(i));
    if (time) {
      const t = item.packet?.t ?? item.row.t;
      for (; this.#beat < this.#beats.length && this.#beats[this.#beat]! <= t; this.#beat++) time.beat(this.#beats[this.#beat]!);
      this.y[i] = time.place(t, h, Math.min(h, this.columns.row));
      this.y[i + 1] = time.free;
    } else this.y[i + 1] = this.y[i]! + h;
  }

  /** What is drawn for an item, from its head down. */
  parts(i: number): Part[] {
    return (this.#parts[i] ??= this.#build(this.items[i]!));
  }

  /** How much room an item takes. */
  room(i: number): number {
    return this.#heights[i]!;
  }

  #heightOf(i: number): number {
    const last = this.parts(i).at(-1)!;
    return last.y + last.h;
  }

  /** The item at a height. */
  at(y: number): number {
    return Math.max(0, countBefore(this.items.length, (i) => this.y[i]! <= y) - 1);
  }

  /** The item of a row. */
  itemOf(row: number): number | undefined {
    return this.#rowItems[row];
  }

  /** The item of a packet that stands for no row. */
  packetItem(packet: number): number | undefined {
    return this.#packetItems.get(packet);
  }

  /** The item that a place is in. */
  itemAt(key: string): number | undefined {
    const place = placeOf(key), packet = place?.packet === undefined ? undefined : this.#packetItems.get(place.packet);
    if (!place) return undefined;
    return packet !== undefined && this.items[packet]!.row.i === place.row ? packet : this.#rowItems[place.row];
  }

  /** Every place that can be selected in an item, from its head down. */
  places(i: number): Part[] {
    return this.parts(i).filter((p) => p.place);
  }

  /** The lanes between which something goes; none where it stays at its host. */
  way(from: string | undefined, to: string | undefined, dir: Direction | undefined): [from: number, to: number] | undefined {
    const { a, b } = this.columns, out: [number, number] = [a, b], x1 = this.#x.get(from ?? ""), x2 = this.#x.get(to ?? "");
    if (x1 !== undefined && x2 !== undefined) return [x1, x2];
    return from === undefined || to === undefined || from === "proxy" || to === "proxy" ? dir === "in" ? [b, a] : dir === "out" ? out : undefined : undefined;
  }

  /** The lane of a host. */
  lane(host: string | undefined): number {
    return this.#x.get(host ?? "") ?? this.columns.a;
  }

  #build(item: Item): Part[] {
    const { columns: c, rows } = this, { row, packet } = item, place: Place = packet ? { row: row.i, packet: packet.n } : { row: row.i }, key = keyOf(place);
    if (packet) {
      const parts = [this.#head(packetWords(rows, packet), packet, place, key, packet)];
      if (this.open.has(key)) this.#openPacket(new Builder(parts, c), packet, key, undefined, 1);
      return parts;
    }
    if (row.kind === "pause") return [{ type: "pause", key, y: 0, h: row.until === undefined ? 0 : 18, level: 1, text: wordsOf(rows, row).main }];
    const words = wordsOf(rows, row, this.revealed);
    if (row.kind === "note" || row.kind === "error" || row.kind === "desync") {
      const lines = wrapProse(words.main, c.b - c.out - 24, this.measure.prose);
      return [{ type: "prose", key, place, y: 0, h: lines.length * 16 + (c.compact ? 12 : 8), level: 1, lines }];
    }
    const parts: Part[] = [this.#head(words, row, place, key, undefined)], [head] = parts;
    if (this.open.has(key)) {
      const b = new Builder(parts, c);
      if (head!.type === "head" && head!.lines.length === 1 && head!.lines[0] !== words.main) {
        b.lines(row, wrap(words.main, Math.floor((c.b - c.out - 32) / this.measure.wire), 12), row.dir === "in" ? "in" : row.layer === "smtp" ? "out" : "soft");
      }
      this.#opened(b, row);
      if (parts.length > 1) b.space(6);
    }
    return parts;
  }

  #head(words: Words, of: { from?: string | undefined; to?: string | undefined; dir?: Direction | undefined; layer: string }, place: Place, key: string, packet: PacketEvent | undefined): Part {
    const { columns: c, measure } = this, open = this.open.has(key), many = this.lanes.length > 2, small = of.layer !== "smtp" && of.layer !== "tls" && of.layer !== "tunnel";
    // Where there is no room at the end of its arrow, the text says what became of it.
    if (words.fate && (c.under || many)) words = { ...words, note: [words.fate, words.note].filter(Boolean).join(", ") };
    if (many && c.compact && this.way(of.from, of.to, of.dir)) words = { ...words, note: [`${of.from} > ${of.to}`, words.note].filter(Boolean).join(", ") };
    const wire = of.layer === "mail" ? 0 : small ? measure.wire * SMALL : measure.wire, widthOf = (s: string) => (wire ? s.length * wire : measure.prose(s));
    const tail = tailWidth(words, measure), way = this.way(of.from, of.to, of.dir);
    const l = way ? Math.min(...way) : this.lane(of.from), r = way ? Math.max(...way) : c.b, back = way ? way[1] < way[0] : of.dir === "in";
    const from = c.compact ? c.a : many ? l : c.a, outer = c.under ? 8 : 12 + (many ? 10 : way ? ARROW + 10 : 0);
    // Beside the last lane there is no room: what happens there stands before it.
    const before = !way && !c.compact && l > (c.a + c.b) / 2, loop = of.layer === "dns" ? MARK : 0, room = (c.compact ? c.b - c.a - 8 : before ? l - c.a - 24 : c.b - Math.min(from, c.b - 400) - outer) - TWISTY - loop;
    const fit = Math.max(8, Math.floor(room / (wire || PROSE)));
    let lines = this.time ? [cut(words.main, room, widthOf)] : wrap(words.main, fit, MAX_LINES);
    // What follows the text stays on its last line, or begins a line of its own.
    if (tail && !this.time && widthOf(lines.at(-1)!) + tail > room) lines = [...lines, ""];
    const w = Math.min(room + TWISTY + 4, Math.max(...lines.map((s, i) => widthOf(s) + (i === lines.length - 1 ? tail : 0))) + TWISTY + 8);
    const first = c.compact ? c.out + loop : l + c.out - c.a + loop, last = c.b - (c.under && !c.compact ? 4 : 10) - w;
    const x = before ? l - MARK - w
      : !back ? (many ? Math.max(c.out, Math.min(first, last)) : c.out + loop)
      : c.compact ? Math.max(c.out, many ? c.out : c.b - 6 - w)
      : many ? Math.max(c.out, Math.min(c.under ? first : w + ARROW + 22 < r - l ? Math.max(l + 12 + ARROW, r - 10 - w) : first, last))
      : Math.max(c.a + 12 + ARROW, Math.min(c.in, c.b - 10 - w));
    return { type: "head", key, place, open, level: 1, y: 0, h: c.row + (lines.length - 1) * c.line, words, lines, x, w, packet };
  }

  #opened(b: Builder, row: Row): void {
    const { rows } = this, e = rows.event(row);
    switch (row.kind) {
      case "connect":
        b.facts(row, connectFacts(row.parts.map((n) => rows.trace!.events[n]! as EventOfKind<"tunnel", "opened"> | EventOfKind<"tcp", "sample">)));
        return;
      case "handshake":
        this.#openHandshake(b, row);
        return;
      case "record":
        if (row.packets.length) this.#packets(b, row, rows.packetsOf(row), 2, undefined);
        else b.hex(this.#hex(e.at!, []), keyOf({ row: row.i }));
        return;
      case "dns":
        if (row.packets.length) this.#packets(b, row, rows.packetsOf(row), 2, undefined);
        else b.lines(row, row.parts.flatMap((n) => answerLines(rows.trace!.events[n] as EventOfKind<"dns", "lookup">)), "soft");
        return;
      case "segment":
      case "datagram":
      case "packet": {
        const packets = rows.packetsOf(row), [first] = packets;
        b.facts(row, packetFacts(first!));
        if (packets.length > 1) this.#packets(b, row, packets, 2, undefined);
        else this.#openPacket(b, first!, keyOf({ row: row.i }), undefined, 1);
        return;
      }
      case "mail":
        b.facts(row, mailFacts(rows.trace!, (e as EventOfKind<"mail", "queued">).data));
        return;
      case "reply": {
        const d = (e as EventOfKind<"smtp", "reply">).data;
        if (d.extensions?.length) b.keywords(row, keywordItems(rows, row));
        else if (d.lines.length > 1) b.lines(row, d.lines.map((l, i) => `${d.code}${i < d.lines.length - 1 ? "-" : " "}${l}`), "in");
        break;
      }
      case "message":
        b.lines(row, textLines(rows, e.at!), "out");
        break;
      case "closed":
        return;
    }
    if (!e.at) return;
    const carriers = rows.carriers(row), secret = this.revealed.has(row.e) ? [] : (e.secret ?? []);
    for (const n of carriers) this.#record(b, row, n);
    if (carriers.length > 0) return;
    if (row.packets.length) this.#packets(b, row, rows.packetsOf(row), 2, undefined);
    else b.hex(this.#hex(e.at, secret), keyOf({ row: row.i }));
  }

  /** The packets that carry something, each of which opens into its bytes. */
  #packets(b: Builder, row: Row, packets: readonly PacketEvent[], level: number, whole: Bar | undefined): void {
    for (const e of packets.slice(0, PACKETS_MAX)) {
      const place = { row: row.i, packet: e.n }, key = keyOf(place), open = this.open.has(key), s = e.data.segment;
      const of = e.data.fate ?? "delivered", fate = of === "delivered" ? "" : `, ${FATE_WORDS[of] ?? of}`;
      b.add({
        type: "packet", key, place, open, level, h: b.c.compact ? 24 : 20, layer: s ? "tcp" : "dns", src: e.src,
        text: s ? "TCP segment" : "UDP datagram", bar: payloadBar(ipOf(this.rows.trace!, e).length, e, whole),
        par: s ? `seq ${s.seq}${s.ack === undefined ? "" : ` ack ${s.ack}`} ${s.flags.replaceAll(", ", " ")} len ${s.len}${fate}` : `${e.text ?? ""}${fate}`,
      });
      if (open) this.#openPacket(b, e, key, whole, level);
    }
    if (packets.length > PACKETS_MAX) b.lines(row, [`… ${format.count(packets.length - PACKETS_MAX, "more packet")}: show every packet to see them`], "soft");
  }

  #openPacket(b: Builder, e: PacketEvent, key: string, whole: Bar | undefined, level: number): void {
    const { hosts } = this.rows.trace!.meta, at = (id: string | undefined) => hosts.find((h) => h.id === id)?.address ?? id ?? "";
    const way = (e.src === "captured" && e.fields?.[0]?.value) || `${at(e.from)} > ${at(e.to)}`;
    b.add({
      type: "packet", key: `i${key}`, level: level + 1, h: b.c.compact ? 24 : 20, layer: "ink", src: e.src, text: ipOf(this.rows.trace!, e).name,
      par: `${way}, ${format.bytes(e.at!.len)}`, bar: packetBar(ipOf(this.rows.trace!, e).length, e, whole),
    });
    b.hex(this.#hex(e.at!, []), key);
  }

  #openHandshake(b: Builder, row: Row): void {
    const events = this.rows.trace!.events, d = events[row.e]!.data as HandshakeData | undefined;
    if (row.ok !== undefined && d) {
      if (d.problem) b.facts(row, [["not trusted", d.problem]], "bad", this.measure.prose);
      b.facts(row, handshakeFacts(d));
      d.chain?.forEach((cert, i) => {
        const place = { row: row.i, certificate: i }, key = keyOf(place), open = this.open.has(key);
        b.add({ type: "certificate", key, place, open, level: 2, h: b.c.compact ? 24 : 20, text: `certificate ${i + 1}`, par: commonName(cert.subject) });
        if (open) b.facts(row, certificateFacts(cert));
      });
    }
    const messages = this.rows.decrypted(row);
    for (const n of row.parts) {
      if (events[n]!.kind !== "record") continue;
      this.#record(b, row, n);
      for (const e of messages) if (e.data.records?.at(-1) === n) this.#message(b, row, e);
    }
  }

  /** A handshake message, below the record that brought the last of it. */
  #message(b: Builder, row: Row, e: EventOfKind<"tls", "decrypted">): void {
    const place = { row: row.i, message: e.n }, key = keyOf(place), open = this.open.has(key), records = e.data.records!.length;
    b.add({
      type: "handshake", key, place, open, level: 2, h: b.c.compact ? 24 : 20, dir: e.dir ?? "in",
      text: e.data.type, par: `${format.bytes(e.at!.len)}, from ${records === 1 ? "the record above" : `${records} records, the last one above`}`,
    });
    if (open) b.hex(this.#hex(e.at!, []), key);
  }

  #record(b: Builder, row: Row, n: number): void {
    const { rows } = this, e = rows.trace!.events[n] as EventOfKind<"tls", "record">, d = e.data, len = e.at!.len;
    const place = { row: row.i, record: n }, key = keyOf(place), open = this.open.has(key);
    const plain = d.plain?.len ?? 0, sealed = d.sealed ?? 0, sums = d.plain && !d.count && sealed;
    const bar: Bar | undefined = d.plain && [
      { of: "tls", w: Math.min(5 * (d.count ?? 1) * OCTET, 20) }, { of: e.dir ?? "out", ...octets(plain) }, { of: "tls", w: Math.min(sealed * (d.count ?? 1) * OCTET, 40) },
    ];
    b.add({
      type: "record", key, place, open, level: 2, h: b.c.compact ? 24 : 20, dir: e.dir ?? "out", arrow: !d.plain,
      text: d.count ? `${format.number(d.count)} TLS records` : "TLS record",
      par: [d.plain ? "" : d.type.replaceAll("_", " "), sums ? `${format.number(len)} = 5+${format.number(plain)}+${sealed} bytes` : format.bytes(len)].filter(Boolean).join(", "),
      bar,
    });
    if (!open) return;
    const packets = rows.carrying(e.at!);
    if (packets.length) this.#packets(b, row, packets, 3, bar && packets.length === 1 && packets[0]!.data.carries?.len === len ? bar : undefined);
    else b.hex(this.#hex(e.at!, []), key);
  }

  #hex(at: Range, secret: readonly Span[]): { lines: HexLine[]; per: number; rest: string } {
    const c = this.columns, per = c.b - c.a > 560 ? 16 : 8;
    return { ...hexLines(this.rows.trace!.stream(at.stream).pieces(at.off, at.len), at.off, per, HEX_MAX, secret), per };
  }
}

/** Stacks parts below a head. */
class Builder {
  constructor(
    readonly parts: Part[],
    readonly c: Columns,
  ) {}

  get y(): number {
    const last = this.parts.at(-1)!;
    return last.y + last.h;
  }

  add(p: DistributiveOmit<Part, "y">): void {
    this.parts.push({ ...p, y: this.y } as Part);
  }

  /** Room below the last part, that belongs to it. */
  space(h: number): void {
    this.parts.at(-1)!.h += h;
  }

  keywords(row: Row, items: Extract<Part, { type: "keywords" }>["items"]): void {
    const rows = Math.ceil(items.length / (this.c.compact ? 1 : 2));
    this.add({ type: "keywords", key: `k${row.i}`, level: 2, h: rows * 16 + 8, items, rows });
  }

  lines(row: Row, lines: string[], tone: "out" | "in" | "soft"): void {
    this.add({ type: "lines", key: `l${row.i}-${this.parts.length}`, level: 2, h: lines.length * 15 + 6, lines, tone });
  }

  facts(row: Row, facts: [string, string][], tone: "ink" | "bad" = "ink", prose?: Measure["prose"]): void {
    const room = this.c.b - this.c.out - (this.c.compact ? 16 : 32) - FACT_NAME;
    const lines = facts.flatMap(([name, value]) => {
      const wrapped = prose ? wrapProse(value, room, prose) : wrap(value, Math.max(12, Math.floor(room / 6.8)), 6);
      return wrapped.map((l, i): [string, string] => [i === 0 ? name : "", l]);
    });
    if (lines.length > 0) this.add({ type: "facts", key: `f${row.i}-${this.parts.length}`, level: 2, h: lines.length * 16 + 6, facts: lines, tone });
  }

  hex(hex: { lines: HexLine[]; per: number; rest: string }, key: string): void {
    const n = hex.lines.length + (hex.rest ? 1 : 0);
    if (n > 0) this.add({ type: "hex", key: `h${key}`, level: 3, h: n * 15 + 6, ...hex });
  }
}

/** Width of the names of facts. */
export const FACT_NAME = 96;

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** The smaller face of lower layers and of what follows a text, beside the bold one; and the usual width of a letter of prose. */
const SMALL = 0.88, PROSE = 6.2;

function tailWidth(w: Words, m: Measure): number {
  return (w.par ? (w.par.length + 1) * m.wire * SMALL + 4 : 0) + (w.note ? m.prose(w.note) + 8 : 0);
}

/** As much of a text as fits on a line. */
function cut(text: string, room: number, width: (s: string) => number): string {
  if (width(text) <= room) return text;
  let lo = 1, hi = text.length;
  while (lo < hi - 1) {
    const mid = (lo + hi) >> 1;
    if (width(`${text.slice(0, mid)}…`) <= room) lo = mid;
    else hi = mid;
  }
  return `${text.slice(0, lo)}…`;
}

/** The way of the first packet between two mail hosts, before rows were read. */
function firstDelay(trace: TraceStore | undefined): number | undefined {
  const e = trace?.events.find((x): x is PacketEvent => isPacket(x) && x.layer !== "dns");
  return e && arrival(e) - e.t;
}

function octets(n: number): { w: number; cut?: boolean } {
  return n * OCTET > PAYLOAD_MAX ? { w: PAYLOAD_MAX, cut: true } : { w: n * OCTET };
}

const widthOf = (bar: Bar) => bar.reduce((w, b) => w + b.w, 0);

/** Header and payload; the payload as long as what it is known to be. */
function payloadBar(ip: number, e: PacketEvent, whole: Bar | undefined): Bar {
  const payload = e.data.segment?.len ?? Math.max(0, e.at!.len - ip - UDP_HEADER), header = e.at!.len - ip - payload;
  const rest: Bar = whole ? [{ of: "rest", w: widthOf(whole) }] : payload ? [{ of: "rest", ...octets(payload) }] : [];
  return [{ of: "tcp", w: header * OCTET }, ...rest];
}

function packetBar(ip: number, e: PacketEvent, whole: Bar | undefined): Bar {
  return [{ of: "ink", w: ip * OCTET }, { of: "rest", w: widthOf(payloadBar(ip, e, whole)) }];
}

const UDP_HEADER = 8;

/** What the header of a packet says, and what became of it. */
export function packetFacts(e: PacketEvent): [string, string][] {
  const d = e.data, s = d.segment, there = arrival(e);
  const facts: [string, string | undefined][] = [
    ...(d.fate ? [["sent", `${format.ms(e.t)} ms`], landed(e) ? ["arrived", `${format.ms(there)} ms, ${format.duration(there - e.t)} later`] : ["fate", FATE_WORDS[d.fate]]]
      : [["captured", d.captured]]) as [string, string | undefined][],
    ["numbers", s && `seq ${s.seq}${s.ack === undefined ? "" : `, ack ${s.ack}`}, ${format.bytes(s.len)}`],
    ["flags", s?.flags], ["window", s && format.bytes(s.window)], ["options", s?.options], ["in flight", s && s.len ? format.bytes(s.inFlight) : undefined],
  ];
  return facts.filter((f): f is [string, string] => !!f[1]);
}

/** An answer of the DNS: that which begins a session as zone files have it, others in a line each. */
function answerLines(e: EventOfKind<"dns", "lookup">): string[] {
  return e.data.type === "MX" && e.data.records.length ? e.data.records.map((r) => visible(`${r.name} ${r.ttl} ${r.type} ${r.data}`)) : [visible(e.text ?? "")];
}

function mailFacts(trace: TraceStore, d: MailData): [string, string][] {
  const facts: [string, string | undefined][] = [
    ["at", trace.host(d.host)], ["queue id", d.queueID], ["reverse-path", `<${d.from}>`], ["forward-path", d.to.map((t) => `<${t}>`).join(", ")],
    ["size", d.size ? format.bytes(d.size) : undefined], ["next server", d.next], ["attempt", d.attempt ? String(d.attempt) : undefined],
    ["reason", d.reason], ["tried again at", d.retry ? format.duration(d.retry) : undefined], ["mailbox", d.mailbox],
  ];
  return facts.filter((f): f is [string, string] => !!f[1]);
}

/** Breaks a text after fit characters, at a space where there is one; more than max lines end in "…". */
export function wrap(text: string, fit: number, max: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > fit && lines.length < max - 1) {
    const space = rest.lastIndexOf(" ", fit), cut = space > fit * 0.5 ? space : fit;
    lines.push(rest.slice(0, cut));
    rest = rest.slice(cut).trimStart();
  }
  lines.push(rest.length > fit ? `${rest.slice(0, fit - 1)}…` : rest);
  return lines;
}

export function wrapProse(text: string, room: number, width: (s: string) => number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    if (line && width(longer) > room) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

function keywordItems(rows: Rows, row: Row): Extract<Part, { type: "keywords" }>["items"] {
  const { list, since } = rows.keywords(row), d = (rows.event(row) as EventOfKind<"smtp", "reply">).data, said = d.lines.slice(1);
  return list.map(({ keyword, change }, i) => {
    const text = change === "gone" ? [keyword.keyword, ...(keyword.params ?? [])].join(" ") : (said[i] ?? keyword.keyword);
    const separator = i === said.length - 1 || (change === "gone" && i === list.length - 1) ? " " : "-";
    return {
      text: `${d.code}${separator}${text}`, change, rfc: keyword.keyword,
      remark: since && change !== "same" ? `${change} since row ${since.n}` : "",
    };
  });
}

/** The lines of a text as it was sent, the first and, if they were kept, the last. */
function textLines(rows: Rows, at: Range): string[] {
  const pieces = rows.trace!.stream(at.stream).pieces(at.off, Math.min(at.len, 64 << 10));
  const out: string[] = [];
  for (const p of pieces) {
    if ("gap" in p) out.push(`… ${format.bytes(p.gap)} were not kept …`);
    else out.push(...utf8.decode(p.bytes).replace(/\r?\n$/, "").split(/\r?\n/).map(visible));
  }
  const lines = out.map((l) => (l.length > 400 ? `${l.slice(0, 400)}…` : l));
  if (lines.length <= LINES_MAX) return lines;
  return [...lines.slice(0, LINES_MAX), `… ${format.count(lines.length - LINES_MAX, "more line")}`];
}

const utf8 = new TextDecoder();

/** A dump of at most max bytes, and in words what it leaves out. Secrets are dots. */
export function hexLines(
  pieces: readonly ({ off: number; bytes: Uint8Array } | { off: number; gap: number })[], start: number, per: number, max: number, secret: readonly Span[],
): { lines: HexLine[]; rest: string } {
  const lines: HexLine[] = [];
  let left = max, rest = 0;
  const hidden = (i: number) => secret.some(([from, to]) => i >= from && i < to);
  for (const p of pieces) {
    if ("gap" in p) {
      if (left > 0) lines.push({ off: p.off - start, hex: "", ascii: "", gap: p.gap });
      else rest += p.gap;
      continue;
    }
    rest += Math.max(0, p.bytes.length - left);
    const shown = p.bytes.subarray(0, left), from = p.off - start;
    left -= shown.length;
    for (let i = 0; i < shown.length; i += per) {
      const part = [...shown.subarray(i, i + per)];
      lines.push({
        off: from + i, gap: 0,
        hex: part.map((b, j) => (hidden(from + i + j) ? "••" : format.hex(b, 2))).join(" "),
        ascii: part.map((b, j) => (hidden(from + i + j) ? "•" : format.ascii(b))).join(""),
      });
    }
  }
  return { lines, rest: rest ? `… ${format.count(rest, "more byte")}, in the inspector` : "" };
}

export function connectFacts(events: readonly { kind: string; t: number; data: TunnelData | SampleData }[]): [string, string][] {
  const all: TunnelData & Partial<SampleData> = Object.assign({}, ...events.map((e) => e.data)), facts: [string, string][] = [];
  const dns = all.addresses?.length ? `${all.host} is ${all.addresses.join(", ")}` : undefined;
  if (dns) facts.push(["looked up", dns + (all.resolve === undefined ? "" : `, in ${format.duration(all.resolve)}`)]);
  if (all.address) facts.push(["dialed", all.address]);
  if (all.connect !== undefined) facts.push([all.problem ? "SYN to failure" : "SYN to open", format.duration(all.connect)]);
  if (all.problem) facts.push(["problem", all.problem]);
  if (all.rtt !== undefined) facts.push(["round trip", `${format.duration(all.rtt)} ± ${format.duration(all.rttvar ?? 0)}, as TCP measured it`]);
  if (all.retransmits) facts.push(["SYN sent", `${all.retransmits + 1} times`]);
  if (all.mss) facts.push(["segments", `at most ${format.bytes(all.mss)}, ${all.cwnd} at first`]);
  if (all.local) facts.push(["proxy's end", all.local]);
  if (all.session) facts.push(["proxy's log", `session ${all.session}`]);
  return facts;
}

export function handshakeFacts(d: HandshakeData): [string, string][] {
  const facts: [string, string | undefined][] = [
    ["version", d.version], ["cipher suite", d.suite], ["key exchange", d.group], ["server name", d.serverName], ["ALPN", d.alpn],
    ["resumed", d.resumed ? "yes" : undefined],
    ["certificate", d.chain?.length ? (d.verified ? "trusted, and the name fits" : "not trusted") : undefined],
  ];
  return facts.filter((f): f is [string, string] => !!f[1]);
}

export function certificateFacts(c: Certificate): [string, string][] {
  const facts: [string, string | undefined][] = [
    ["subject", c.subject], ["names", c.names?.join(", ")], ["issuer", c.issuer],
    ["valid from", format.date(c.notBefore)], ["valid until", format.date(c.notAfter)],
    ["key", c.key], ["signature", c.signature], ["SHA-256", c.sha256.replace(/(.{8})(?=.)/g, "$1 ")],
  ];
  return facts.filter((f): f is [string, string] => !!f[1]);
}
