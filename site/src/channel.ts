// One direction of a connection: which segments carry which part of its bytes, and
// which rows the text in them has. Segments are known when they are sent, or when the
// page is told that they were captured; text to the client only when it is read.

import type { Row } from "./rows.ts";
import { countBefore } from "./search.ts";

interface Span {
  off: number;
  end: number;
}

/** Bytes of a packet, and its event. */
export interface Carried extends Span {
  e: number;
}

/** A TLS record: bytes of the wire, the text in them if it is known, and the row that it has if it carries none. */
interface Sealed extends Span {
  plain: Span | undefined;
  row: Row | undefined;
}

/** What of a list in order, whose items do not overlap, touches [off, end). */
export function touching<T extends Span>(list: readonly T[], off: number, end: number): T[] {
  const out: T[] = [];
  for (let i = countBefore(list.length, (j) => list[j]!.end <= off); i < list.length && list[i]!.off < end; i++) out.push(list[i]!);
  return out;
}

export class Channel {
  /** Segments that carried new bytes, in order. */
  readonly segments: Carried[] = [];
  /** Text that has rows, in order. */
  readonly texts: (Span & { row: Row })[] = [];
  readonly records: Sealed[] = [];
  /** Offset at which TLS starts. */
  start = Infinity;
  /** A row that segments began, whose text is not known yet. */
  open: Row | undefined;

  /** Takes in a segment with new bytes. One that was overtaken on its way to the proxy comes after those behind it. */
  take(s: Carried): void {
    const i = countBefore(this.segments.length, (j) => this.segments[j]!.off < s.off);
    this.segments.splice(i, 0, { ...s, end: Math.min(s.end, this.segments[i]?.off ?? s.end) });
  }

  /** The rows of what is at [off, end) of the wire, as far as they are known. */
  rowsAt(off: number, end: number): Row[] {
    const rows = touching(this.texts, off, Math.min(end, this.start)).map((t) => t.row);
    for (const r of touching(this.records, Math.max(off, this.start), end)) {
      if (r.row) rows.push(r.row);
      if (r.plain) rows.push(...touching(this.texts, r.plain.off, r.plain.end).map((t) => t.row));
    }
    return rows;
  }

  /** Rows whose text is written, and which no record carries yet. */
  waiting(end: number): Row[] {
    if (end <= this.start || end <= (this.records.at(-1)?.end ?? this.start)) return [];
    const sealed = this.records.findLast((r) => r.plain)?.plain?.end ?? this.start;
    return touching(this.texts, sealed, Infinity).map((t) => t.row);
  }

  /** The bytes of the wire that carry text. */
  wire(text: Span): Span | undefined {
    if (text.off < this.start) return text;
    let first: Span | undefined, last: Span | undefined;
    for (let i = this.records.length - 1; i >= 0; i--) {
      const r = this.records[i]!;
      if (!r.plain || r.plain.off >= text.end) continue;
      if (r.plain.end <= text.off) break;
      last ??= r;
      first = r;
    }
    return first && last && { off: first.off, end: last.end };
  }
}
