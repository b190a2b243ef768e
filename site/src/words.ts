// How rows are worded: in the ladder, in the transcript, in the inspector alike.

import * as format from "./format.ts";
import type { Row, Rows } from "./rows.ts";
import type { EventOfKind, HandshakeData, RecordData, Span, TraceStore } from "./trace.ts";

export interface Words {
  /** What was said, or what this row stands for. */
  main: string;
  /** A lower-ranking continuation in the wire face. */
  par?: string;
  /** A remark in prose. */
  note?: string;
}

export function wordsOf(rows: Rows, row: Row, revealed: ReadonlySet<number> = new Set()): Words {
  const e = rows.event(row);
  switch (row.kind) {
    case "connect": {
      const d = (e as EventOfKind<"tunnel", "opened">).data;
      if (!row.ok) return { main: e.text ?? "connecting" };
      return { main: `TCP connection to ${d.address ?? d.host},`, ...(d.connect !== undefined && { par: `1 RTT, ${format.duration(d.connect)}` }) };
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
      return { main: `TLS ${d.type.replaceAll("_", " ")}`, par: format.bytes(e.at?.len ?? 0) };
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
      return { main: row.until === undefined ? (e.text ?? "paused") : `you paused for ${format.duration(row.until - row.t)}` };
    default:
      return { main: e.text ?? row.kind };
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

export const LAYER_NAME = { tunnel: "TCP", tls: "TLS", smtp: "SMTP", app: "page" } as const;

export const SOURCE_WORDS = {
  observed: "observed in the page", measured: "measured at the proxy", captured: "captured packet",
  simulated: "simulated in the lab", derived: "derived",
} as const;
