// The verdict in words, from the result alone.

import * as format from "./format.ts";
import type { Outcome, Result, TraceStore } from "./trace.ts";

export interface Verdict {
  tone: "good" | "bad" | "note";
  /** One or two words. */
  title: string;
  /** What happened, where, what to do next. */
  text: string;
  queueIDs: string[];
  /** The event that decided it. */
  event: number | undefined;
  recipients: { to: string; outcome: Outcome; event: number | undefined }[];
}

const TITLES: Record<Outcome, [string, Verdict["tone"]]> = {
  accepted: ["Accepted", "good"], partial: ["Accepted in part", "note"], rejected: ["Rejected", "bad"], failed: ["Failed", "bad"], unknown: ["Outcome unknown", "bad"],
};

export function verdict(trace: TraceStore, r: Result): Verdict {
  const queueIDs = r.messages.flatMap((m) => (m.queueID ? [m.queueID] : []));
  const recipients = r.messages.flatMap((m) => m.recipients.map((x) => ({ to: x.to, outcome: x.outcome, event: x.event })));
  const [title, tone] = r.error?.code === "cancelled" ? (["Ended", "note"] as const) : TITLES[r.outcome];
  // A failed handshake says more about itself than the error that follows from it.
  const event = r.reply?.event ?? trace.events.findLast((e) => (r.phase === "tls" ? e.kind === "alert" : e.kind === "error"))?.n
    ?? trace.events.findLast((e) => e.kind === "error")?.n;
  return { tone, title: title === "Accepted" && r.messages.length === 0 ? "Done" : title, text: text(trace, r), queueIDs, event, recipients };
}

function text(trace: TraceStore, r: Result): string {
  const taken = r.messages.flatMap((m) => m.recipients).filter((x) => x.outcome === "accepted").length, server = trace.host("server");
  if (r.outcome === "accepted" && r.messages.length === 0) return `${server} answered and the session ended in order. No message was to be sent.`;
  const id = r.messages.find((m) => m.queueID)?.queueID;
  const accepted = `${server} took the message for ${format.count(taken, "recipient")}${id ? `, queued as ${id}` : ""}.`;
  if (r.outcome === "accepted") return accepted;
  const error = r.error?.message ?? "";
  return r.outcome === "partial" ? `${accepted} ${error}` : error;
}
