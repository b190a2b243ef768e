// Where everything in the ladder stands: rows of known height one below the
// other, and below an opened row what it is made of. Pure: the widths of the
// two faces come in from outside.

import * as format from "./format.ts";
import type { KeywordChange, Row, Rows } from "./rows.ts";
import type { Certificate, EventOfKind, HandshakeData, Range, Span, TunnelData } from "./trace.ts";
import { keyOf, type Place } from "./view.ts";
import { commonName, visible, wordsOf, type Words } from "./words.ts";

/** The columns of a ladder of some width, in pixels. */
export interface Columns {
  width: number;
  compact: boolean;
  n: number; // right edges of the two numbers
  t: number;
  rt: [number, number];
  tag: number;
  a: number; // the lanes
  b: number;
  out: number; // where the two sides' texts start
  in: number;
  prov: number; // centre of the provenance glyph
  row: number; // height of a row
  line: number; // height of a line of text
}

/** Below this width there is no room for row numbers and layer tags. */
const COMPACT = 600;

export function columnsFor(width: number): Columns {
  if (width < COMPACT) {
    const a = 68, b = width - 38;
    return { width, compact: true, n: 0, t: 42, rt: [46, 60], tag: 0, a, b, out: a + 4, in: a + 4, prov: width - 19, row: 34, line: 16 };
  }
  const a = 158, b = width - 38;
  return { width, compact: false, n: 26, t: 74, rt: [82, 102], tag: 110, a, b, out: a + 12, in: Math.round(a + (b - a) * 0.44), prov: width - 18, row: 20, line: 15 };
}

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

/** Part of a row: its head, or something that opened below it. y is relative to the row. */
export type Part = { y: number; h: number; key: string; level: number; place?: Place; open?: boolean } & (
  | { type: "head"; words: Words; lines: string[]; x: number; w: number }
  | { type: "prose"; lines: string[] }
  | { type: "pause"; text: string }
  | { type: "keywords"; items: { text: string; rfc: string; change: KeywordChange["change"]; remark: string }[]; rows: number }
  | { type: "lines"; lines: string[]; tone: "out" | "in" | "soft" }
  | { type: "facts"; facts: [string, string][]; tone: "ink" | "bad" }
  | { type: "record"; text: string; par: string; bar: { head: number; plain: number; sealed: number } | undefined; dir: "out" | "in"; arrow: boolean }
  | { type: "certificate"; text: string; par: string }
  | { type: "hex"; lines: HexLine[]; per: number; rest: string }
);

export interface HexLine {
  off: number;
  hex: string;
  ascii: string;
  /** Bytes here that were never kept; then hex and ascii are empty. */
  gap: number;
}

/**
 * The layout of the rows up to the cursor. It grows with them: what was laid
 * out before is looked at again only when it was opened or its row changed.
 */
export class Layout {
  /** Top of each row, and the end of the last. */
  readonly y: number[] = [0];
  #tallies: number[] = []; // what each row was laid out from
  #parts: (Part[] | undefined)[] = [];

  constructor(
    readonly rows: Rows,
    readonly columns: Columns,
    readonly measure: Measure,
    readonly open: ReadonlySet<string>,
    readonly revealed: ReadonlySet<number>,
  ) {}

  get height(): number {
    return this.y.at(-1)!;
  }

  /** Takes in rows that are new, and those that changed: only a row that waits for something changes. */
  update(): this {
    const { list } = this.rows;
    let from = Math.min(this.#parts.length, list.length);
    for (let i = from - 1; i >= 0 && i >= from - 6; i--) if (this.#tally(list[i]!) !== this.#tallies[i]) from = i;
    const { sealed } = this.rows;
    if (sealed && sealed.i < from && this.#tally(sealed) !== this.#tallies[sealed.i]) from = sealed.i;
    this.y.length = from + 1;
    for (let i = from; i < list.length; i++) {
      const row = list[i]!;
      this.#tallies[i] = this.#tally(row);
      this.#parts[i] = undefined;
      this.y[i + 1] = this.y[i]! + this.#height(row);
    }
    this.#parts.length = list.length;
    return this;
  }

  /** What is drawn for a row, from its head down. */
  parts(i: number): Part[] {
    return (this.#parts[i] ??= this.#build(this.rows.list[i]!));
  }

  /** The row at a height. */
  at(y: number): number {
    let lo = 0, hi = this.y.length - 1;
    while (lo < hi - 1) {
      const mid = (lo + hi) >> 1;
      if (this.y[mid]! <= y) lo = mid;
      else hi = mid;
    }
    return lo;
  }

  /** Every place that can be selected in a row, from its head down. */
  places(i: number): Part[] {
    return this.parts(i).filter((p) => p.place);
  }

  #tally(row: Row): number {
    return row.e * 64 + row.parts.length * 4 + (row.ok === undefined ? 0 : 1) + (row.until === undefined ? 0 : 2);
  }

  #height(row: Row): number {
    const parts = (this.#parts[row.i] = this.#build(row)), last = parts.at(-1)!;
    return last.y + last.h;
  }

  #build(row: Row): Part[] {
    const { columns: c, rows } = this, place: Place = { row: row.i }, key = keyOf(place);
    if (row.kind === "pause") return [{ type: "pause", key, y: 0, h: row.until === undefined ? 0 : 18, level: 1, text: wordsOf(rows, row).main }];
    const words = wordsOf(rows, row, this.revealed);
    if (row.kind === "note" || row.kind === "error" || row.kind === "desync") {
      const lines = wrapProse(words.main, c.b - c.out - 24, this.measure.prose);
      return [{ type: "prose", key, place, y: 0, h: lines.length * 16 + (c.compact ? 12 : 8), level: 1, lines }];
    }
    const parts: Part[] = [this.#head(row, words, place, key)];
    if (this.open.has(key)) {
      const b = new Builder(parts, c);
      this.#opened(b, row);
      if (parts.length > 1) b.space(6);
    }
    return parts;
  }

  #head(row: Row, words: Words, place: Place, key: string): Part {
    const { columns: c, measure } = this, open = this.open.has(key);
    const tail = tailWidth(words, measure);
    const room = c.compact ? c.b - c.a - 8 - TWISTY : c.b - c.a - 12 - ARROW - TWISTY - 10;
    const fit = Math.max(8, Math.floor(room / measure.wire));
    let lines = wrap(words.main, fit, MAX_LINES);
    const last = (s: string[]) => s.at(-1)!.length * measure.wire;
    // What follows the text stays on its last line, or begins a line of its own.
    if (tail && last(lines) + tail > room) lines = [...lines, ""];
    const w = Math.max(...lines.map((l, i) => l.length * measure.wire + (i === lines.length - 1 ? tail : 0))) + TWISTY + 8;
    const x = row.dir !== "in" ? c.out : c.compact ? Math.max(c.out, c.b - 6 - w) : Math.max(c.a + 12 + ARROW, Math.min(c.in, c.b - 10 - w));
    return { type: "head", key, place, open, level: 1, y: 0, h: c.row + (lines.length - 1) * c.line, words, lines, x, w };
  }

  #opened(b: Builder, row: Row): void {
    const { rows } = this, e = rows.event(row);
    switch (row.kind) {
      case "connect":
        b.facts(row, connectFacts(row.parts.map((n) => rows.trace!.events[n]! as EventOfKind<"tunnel", "opened">)));
        return;
      case "handshake":
        this.#openHandshake(b, row);
        return;
      case "record":
        b.hex(this.#hex(e.at!, []), keyOf({ row: row.i }));
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
    if (carriers.length === 0) b.hex(this.#hex(e.at, secret), keyOf({ row: row.i }));
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
    for (const n of row.parts) if (events[n]!.kind === "record") this.#record(b, row, n);
  }

  #record(b: Builder, row: Row, n: number): void {
    const e = this.rows.trace!.events[n] as EventOfKind<"tls", "record">, d = e.data, len = e.at!.len;
    const place = { row: row.i, record: n }, key = keyOf(place), open = this.open.has(key);
    const plain = d.plain?.len ?? 0, sealed = d.sealed ?? 0, sums = d.plain && !d.count && sealed;
    b.add({
      type: "record", key, place, open, level: 2, h: b.c.compact ? 24 : 20, dir: e.dir ?? "out", arrow: !d.plain,
      text: d.count ? `${format.number(d.count)} TLS records` : "TLS record",
      par: [d.plain ? "" : d.type.replaceAll("_", " "), sums ? `${format.number(len)} = 5+${format.number(plain)}+${sealed} bytes` : format.bytes(len)].filter(Boolean).join(", "),
      bar: d.plain ? { head: 5 * (d.count ?? 1), plain, sealed: sealed * (d.count ?? 1) } : undefined,
    });
    if (open) b.hex(this.#hex(e.at!, []), key);
  }

  #hex(at: Range, secret: readonly Span[]): { lines: HexLine[]; per: number; rest: string } {
    const c = this.columns, per = c.b - c.a > 560 ? 16 : 8;
    return { ...hexLines(this.rows.trace!.streams[at.stream].pieces(at.off, at.len), at.off, per, HEX_MAX, secret), per };
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

function tailWidth(w: Words, m: Measure): number {
  const small = 0.88; // the smaller face of what follows, beside the bold one
  return (w.par ? (w.par.length + 1) * m.wire * small + 4 : 0) + (w.note ? m.prose(w.note) + 8 : 0);
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
  const pieces = rows.trace!.streams[at.stream].pieces(at.off, Math.min(at.len, 64 << 10));
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

export function connectFacts(events: readonly { kind: string; t: number; data: TunnelData }[]): [string, string][] {
  const all: TunnelData = Object.assign({}, ...events.map((e) => e.data)), facts: [string, string][] = [];
  const dns = all.addresses?.length ? `${all.host} is ${all.addresses.join(", ")}` : undefined;
  if (dns) facts.push(["looked up", dns + (all.resolve === undefined ? "" : `, in ${format.duration(all.resolve)}`)]);
  if (all.address) facts.push(["dialed", all.address]);
  if (all.connect !== undefined) facts.push(["SYN to open", format.duration(all.connect)]);
  if (all.local) facts.push(["proxy's end", all.local]);
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
