// The session as text: one line for each row, for eyes and ears alike.

import * as format from "./format.ts";
import type { Row, Rows } from "./rows.ts";
import type { EventOfKind, HandshakeData, TraceStore } from "./trace.ts";
import { mailWords, visible, wordsOf } from "./words.ts";

export interface TranscriptLine {
  n: number;
  t: number;
  /** "C" the client, "S" the server, "" neither. */
  who: "C" | "S" | "";
  lines: string[];
  tone: "out" | "in" | "tls" | "tcp" | "soft" | "bad";
}

/** How much of a message the transcript quotes. */
const QUOTE = 4096;

export function lineOf(rows: Rows, row: Row): TranscriptLine {
  const line = lineIn(rows, row);
  // Between mail servers, both are named.
  return row.hop ? { ...line, who: "", lines: line.lines.map((l, i) => (i === 0 ? `${row.from} > ${row.to}: ${l}` : l)) } : line;
}

function lineIn(rows: Rows, row: Row): TranscriptLine {
  const e = rows.event(row), base = { n: row.n, t: row.t };
  switch (row.kind) {
    case "reply": {
      const d = (e as EventOfKind<"smtp", "reply">).data;
      return { ...base, who: "S", tone: "in", lines: d.lines.map((l, i) => `${d.code}${i < d.lines.length - 1 ? "-" : l === "" ? "" : " "}${l}`) };
    }
    case "command":
    case "response":
      return { ...base, who: "C", tone: "out", lines: [e.text ?? ""] };
    case "message":
      return { ...base, who: "C", tone: "out", lines: quote(rows.trace!, e as EventOfKind<"smtp", "message">) };
    case "handshake": {
      const d = e.data as HandshakeData | undefined, { main, par } = wordsOf(rows, row);
      const trust = row.ok && d ? (d.verified ? ", certificate trusted" : `, certificate not trusted: ${d.problem ?? ""}`) : "";
      return { ...base, who: "", tone: row.ok === false ? "bad" : "tls", lines: [`${[main, par].filter(Boolean).join(" ")}${trust}${row.ok === false && d?.problem ? `: ${d.problem}` : ""}`] };
    }
    case "connect": {
      const { main, par, note } = wordsOf(rows, row);
      return { ...base, who: "", tone: "tcp", lines: [[[main, par].filter(Boolean).join(" "), note].filter(Boolean).join(", ")] };
    }
    case "record": {
      const { main, par } = wordsOf(rows, row);
      return { ...base, who: row.dir === "in" ? "S" : "C", tone: "tls", lines: [`${main}, ${par}`] };
    }
    case "dns":
    case "segment":
    case "datagram":
    case "packet": {
      const { main, note, fate } = wordsOf(rows, row);
      return { ...base, who: "", tone: row.kind === "segment" ? "tcp" : "soft", lines: [[`${row.from} > ${row.to}: ${main}`, note, fate].filter(Boolean).join(", ")] };
    }
    case "mail":
      return { ...base, who: "", tone: "soft", lines: [mailWords(rows.trace!, e as EventOfKind<"mail", "queued">)] };
    default:
      return { ...base, who: "", tone: row.kind === "error" || row.kind === "desync" ? "bad" : "soft", lines: [wordsOf(rows, row).main] };
  }
}

function quote(trace: TraceStore, e: EventOfKind<"smtp", "message">): string[] {
  const at = e.at!, head = trace.stream(at.stream).bytes(at.off, Math.min(at.len, QUOTE));
  const lines = new TextDecoder().decode(head).replace(/\r?\n$/, "").split(/\r?\n/).map(visible);
  return at.len > QUOTE ? [...lines, `[${format.bytes(at.len - QUOTE)} more]`] : lines;
}
