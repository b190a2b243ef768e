// The verdict in words: from the result and, in the lab, from what the link did to
// the packets and what became of the message behind the server.

import * as format from "./format.ts";
import { lostTime } from "./rounds.ts";
import { isPacket, rowsOf, type PacketEvent, type Rows } from "./rows.ts";
import type { MailData, MessageResult, Outcome, RecipientResult, Result, TraceEvent, TraceStore } from "./trace.ts";

export interface Verdict {
  tone: "good" | "bad" | "note";
  /** One or two words. */
  title: string;
  /** What happened, where, what to do next. */
  text: string;
  /** What became of the message afterwards, "" when nothing is known of that. */
  after: string;
  queueIDs: string[];
  /** The event that decided it. */
  event: number | undefined;
  /** Each with a name where there are several. */
  messages: { name: string; recipients: RecipientResult[] }[];
}

const TITLES: Record<Outcome, [string, Verdict["tone"]]> = {
  accepted: ["Accepted", "good"], partial: ["Accepted in part", "note"], rejected: ["Rejected", "bad"], failed: ["Failed", "bad"], unknown: ["Outcome unknown", "bad"],
};

export function verdict(trace: TraceStore, r: Result, rows: Rows = rowsOf(trace)): Verdict {
  const queueIDs = r.messages.flatMap((m) => (m.queueID ? [m.queueID] : []));
  const messages = r.messages.map((m, i) => ({ name: r.messages.length > 1 ? `Message ${i + 1}${m.queueID ? `, queued as ${m.queueID}` : ""}` : "", recipients: m.recipients }));
  const [title, tone] = r.error?.code === "cancelled" ? (["Ended", "note"] as const) : TITLES[r.outcome];
  // A failed handshake says more about itself than the error that follows from it.
  const event = r.reply?.event ?? trace.events.findLast((e) => (r.phase === "tls" ? e.kind === "alert" : e.kind === "error"))?.n
    ?? trace.events.findLast((e) => e.kind === "error")?.n;
  const mail = aftermath(trace), lost = mail.bounced > 0 && r.outcome === "accepted";
  return {
    tone: lost ? "note" : tone, text: text(trace, r, rows), after: mail.text, queueIDs, event, messages,
    title: lost ? (mail.delivered ? "Accepted, delivered in part" : "Accepted, not delivered") : title === "Accepted" && r.messages.length === 0 ? "Done" : title,
  };
}

function text(trace: TraceStore, r: Result, rows: Rows): string {
  const server = rows.server ?? trace.host("server"), lab = trace.meta.mode === "lab", price = lab ? cost(trace, r, rows) : "";
  const spent = `${lab ? `, after ${format.count(r.roundTrips, "round trip")}, ${format.duration(r.elapsed)}` : ""}${price && `; ${price}`}.`;
  if (r.outcome === "accepted" && r.messages.length === 0) return `${server} answered and the session ended in order${spent} No message was to be sent.`;
  const accepted = `${server} took ${taken(r.messages)}${spent}`;
  if (r.outcome === "accepted") return accepted;
  const error = r.error?.message ?? "";
  if (r.outcome === "partial") return `${accepted} ${error}`;
  const unanswered = lab && r.phase === "connect" && r.error?.code === "timeout"; // it says what was lost
  return [!unanswered && price && `${price[0]!.toUpperCase()}${price.slice(1)}.`, error].filter(Boolean).join(" ");
}

/** "the message for 1 recipient, queued as A", "1 of 2 messages for 3 of 5 recipients". */
function taken(all: MessageResult[]): string {
  const some = all.filter((m) => m.outcome === "accepted" || m.outcome === "partial"), id = all.length === 1 && all[0]!.queueID;
  const recipients = all.flatMap((m) => m.recipients), got = recipients.filter((x) => x.outcome === "accepted");
  const what = all.length === 1 ? "the message" : some.length === all.length ? `${all.length} messages` : `${some.length} of ${all.length} messages`;
  const whom = `${got.length < recipients.length ? `${got.length} of ` : ""}${format.count(recipients.length, "recipient")}`;
  return `${what} for ${whom}${id ? `, queued as ${id}` : ""}`;
}

/** The packets between the page and its server. */
function own(trace: TraceStore): PacketEvent[] {
  return trace.events.filter((e): e is PacketEvent => isPacket(e) && !!e.dir && e.layer !== "dns");
}

/** "one segment was lost and cost 200 ms": what did not get through, and how long TCP's timers waited because of it. */
function cost(trace: TraceStore, r: Result, rows: Rows): string {
  const failed = own(trace).filter((e) => e.t <= r.elapsed && (e.data.fate === "lost" || e.data.fate === "corrupted"));
  if (failed.length === 0) return "";
  const what = failed.some((e) => e.layer === "tcp") ? "segment" : "datagram";
  const how = ["lost", "corrupted"].filter((fate) => failed.some((e) => e.data.fate === fate)).map((fate) => (fate === "lost" ? "lost" : "damaged")).join(" or ");
  const spent = lostTime(rows).time, said = failed.length === 1 ? `one ${what} was ${how}` : `${format.count(failed.length, what)} were ${how}`;
  return spent > 0 ? `${said} and cost ${format.duration(spent)}` : said;
}

/** What became of the messages of the session behind the server that took them; bounces are mail of their own. */
function aftermath(trace: TraceStore): { text: string; delivered: number; bounced: number } {
  const mail = trace.events.filter((e): e is TraceEvent & { data: MailData } => e.layer === "mail" && e.data.from !== "");
  const of = (kind: string) => mail.filter((e) => e.kind === kind), delivered = of("delivered"), bounced = of("bounced");
  const over = delivered.length + bounced.reduce((n, e) => n + e.data.to.length, 0), expected = new Set(mail.filter((e) => e.data.host === "server").flatMap((e) => e.data.to)).size;
  const off = of("deferred"), says: string[] = [];
  const names = (events: typeof mail) => format.list([...new Set(events.flatMap((e) => e.data.mailbox ?? e.data.to))]);
  if (off.length) says.push(`${trace.host(off[0]!.data.host)} put it off ${off.length === 1 ? "once" : `${off.length} times`}: ${off[0]!.data.reason ?? ""}.`);
  if (delivered.length) says.push(`It reached the mailbox${delivered.length > 1 ? "es" : ""} of ${names(delivered)} at ${format.duration(delivered.at(-1)!.t)}.`);
  if (bounced.length) says.push(`${trace.host(bounced[0]!.data.host)} gave it up for ${names(bounced)}: ${bounced[0]!.data.reason ?? ""}. A bounce tells ${bounced[0]!.data.from}.`);
  if (mail.length && over < expected) says.push("It is still on its way.");
  return { text: says.join(" "), delivered: delivered.length, bounced: bounced.length };
}
