// Bytes side by side with the fields that they belong to: what the inspector's
// tables and dumps are drawn from.

import * as format from "./format.ts";
import { DOTS } from "./steps.ts";
import type { EventOfKind, Field, HandshakeData, Range, RecordData, Span, TraceEvent, TraceStore } from "./trace.ts";

/** A field of a dump. Extra fields belong to the TLS record around the text, not to the text. */
export interface DumpField extends Field {
  extra?: boolean;
}

export interface Dump {
  /** Bytes shown, and how many of the range were never kept or are not shown yet. */
  bytes: Uint8Array;
  /** Offset of the first byte, as the dump counts it. */
  first: number;
  fields: DumpField[];
  /** Index into fields of the innermost field of each byte, -1 for none. */
  owner: Int32Array;
  secret: readonly Span[];
  /** Bytes of the range that stand after those shown, kept or not. */
  rest: number;
  /** Of the rest, bytes that were never kept. */
  elided: number;
}

/** The bytes of a range, at most max of them, with their fields. */
export function dump(trace: TraceStore, at: Range, fields: readonly DumpField[], secret: readonly Span[], max: number, tail?: Uint8Array): Dump {
  const stream = trace.stream(at.stream), pieces = stream.pieces(at.off, at.len), gap = pieces.find((p) => "gap" in p);
  let bytes = stream.bytes(at.off, Math.min(max, (gap?.off ?? at.off + at.len) - at.off));
  const elided = pieces.reduce((n, p) => n + ("gap" in p ? p.gap : 0), 0), rest = at.len - bytes.length;
  if (tail && rest === 0) {
    const joined = new Uint8Array(bytes.length + tail.length);
    joined.set(bytes);
    joined.set(tail, bytes.length);
    bytes = joined;
  }
  const owner = new Int32Array(bytes.length).fill(-1);
  fields.forEach((f, i) => {
    // A nested field comes after the one around it, so it overwrites it.
    for (let b = f.off; b < Math.min(f.off + f.len, bytes.length); b++) owner[b] = i;
  });
  return { bytes, first: 0, fields: [...fields], owner, secret, rest, elided };
}

/** How the plaintext lies in a record: where it starts, or undefined when the cipher hides that. */
export function plainOffset(d: RecordData): number | undefined {
  if (!d.sealed || !d.plain) return undefined;
  return d.sealed === 24 ? 5 + 8 : 5; // an explicit nonce stands first (RFC 5288, 3)
}

/** The fields that a TLS 1.3 record adds behind its text (RFC 8446, 5.2), as offsets of the text. */
export function sealFields(d: RecordData, len: number, suite: string): DumpField[] {
  const tag = suite.includes("POLY1305") ? "Poly1305 tag" : suite.includes("GCM") ? "GCM tag" : "tag";
  if (d.sealed !== 17) return [];
  return [
    { name: "inner type", off: len, len: 1, value: "23 application_data", extra: true },
    { name: tag, off: len + 1, len: 16, value: "16 bytes", extra: true },
  ];
}

/** The suite that the records of a trace are sealed with. */
export function suiteOf(trace: TraceStore): string {
  const e = trace.events.findLast((x) => x.layer === "tls" && x.kind === "handshake");
  return (e?.data as HandshakeData | undefined)?.suite ?? "";
}

/** The text of a field's bytes, its secrets dots; of what is no text the hex. */
export function fieldText(trace: TraceStore, e: TraceEvent, f: DumpField, secret: readonly Span[]): string {
  const kept = f.value === DOTS && secret.length < (e.secret?.length ?? 0); // a secret that its user asked for is in the bytes
  if (f.value !== undefined && !kept) return f.value;
  if (!e.at) return "";
  if (secret.some(([from, to]) => f.off < to && f.off + f.len > from)) return DOTS;
  const b = trace.stream(e.at.stream).bytes(e.at.off + f.off, Math.min(f.len, 200));
  const odd = b.filter((x) => x < 0x20 || x > 0x7e).length, plain = b.every((x) => x > 0x1f && x !== 0x7f);
  const text = plain ? new TextDecoder().decode(b) : odd * 3 > b.length ? [...b].map((x) => format.hex(x, 2)).join(" ") : [...b].map(format.ascii).join("");
  return f.len > 200 ? `${text}…` : text;
}

/** The range of a record event. */
export function recordEvent(trace: TraceStore, n: number): EventOfKind<"tls", "record"> {
  return trace.events[n] as EventOfKind<"tls", "record">;
}
