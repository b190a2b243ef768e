// What became of mail: who has which message in which mailbox, what waits in which
// queue, and the way that a message says it took. A pure function of the trace.

import type { EventOfKind, MailData, TraceEvent, TraceStore } from "./trace.ts";

export type MailEvent = Extract<TraceEvent, { layer: "mail" }>;
type Delivered = EventOfKind<"mail", "delivered">;

export interface HeaderField {
  name: string;
  /** Unfolded (RFC 5322, 2.2.3). */
  value: string;
}

/** One server on the way of a message, as its Received line has it (RFC 5321, 4.4). */
export interface Stop {
  /** Name that the one before gave, and the address that it came from. */
  from: string;
  address: string;
  by: string;
  with: string;
  id: string;
  for: string;
  date: string;
  /** When the server answered for the message, if the trace tells: dates have no milliseconds. */
  t: number | undefined;
  /** How often it was put off before the next server took it, and why. */
  deferred: MailData[];
}

/** What a bounce says, as fields of message/delivery-status: of the message, then of each recipient (RFC 3464, 2). */
export interface Report {
  fields: HeaderField[][];
}

export interface Letter {
  e: Delivered;
  header: HeaderField[];
  /** The header as it stands in the mailbox, and the body. */
  head: string;
  body: string;
  /** Octets in the middle that the trace has not kept. */
  elided: number;
  /** The newest first, as written. */
  stops: Stop[];
  report: Report | undefined;
}

export interface Waiting {
  host: string;
  queueID: string;
  /** What happened last. */
  e: MailEvent;
  since: number;
  to: string[];
}

export interface Post {
  boxes: { owner: string; letters: Delivered[] }[];
  waiting: Waiting[];
  /** Given up. */
  bounced: EventOfKind<"mail", "bounced">[];
}

/** All mail of the events before upto; mailboxes by owner, messages by time. */
export function post(trace: TraceStore, upto = Infinity): Post {
  const boxes = new Map<string, Delivered[]>(), waiting = new Map<string, Waiting>(), bounced: Post["bounced"] = [];
  for (const e of mailEvents(trace, upto)) {
    const { host, queueID, to } = e.data, key = `${host} ${queueID}`, w = waiting.get(key);
    if (e.kind === "delivered") {
      const owner = e.data.mailbox ?? to[0] ?? "";
      boxes.set(owner, [...(boxes.get(owner) ?? []), e]);
      continue;
    }
    if (e.kind === "bounced") bounced.push(e);
    if (e.kind === "queued") waiting.set(key, { host, queueID, e, since: e.t, to });
    else if (w) {
      w.e = e;
      if (e.kind === "relayed" || e.kind === "bounced") w.to = w.to.filter((x) => !to.includes(x));
      if (w.to.length === 0) waiting.delete(key);
    }
  }
  return {
    boxes: [...boxes].map(([owner, letters]) => ({ owner, letters })).sort((a, b) => (a.owner < b.owner ? -1 : 1)),
    waiting: [...waiting.values()], bounced,
  };
}

function mailEvents(trace: TraceStore, upto: number): MailEvent[] {
  return trace.events.filter((e): e is MailEvent => e.layer === "mail" && e.n < upto);
}

/** What happened to a message at one server, and under which id it came there and went on. */
export function story(trace: TraceStore, queueID: string, upto = Infinity): { events: MailEvent[]; before: string | undefined; after: string[] } {
  const all = mailEvents(trace, upto), events = all.filter((e) => e.data.queueID === queueID), after: string[] = [];
  const next = (e: MailEvent) => (e.kind === "relayed" && e.data.hop ? acceptedAs(trace, e.data.hop) : undefined);
  for (const e of events) {
    const id = next(e);
    if (id) after.push(id);
  }
  return { events, before: all.find((e) => next(e) === queueID)?.data.queueID, after };
}

/** The queue id with which the server at the end of a hop accepted the message. */
function acceptedAs(trace: TraceStore, hop: number): string | undefined {
  for (const e of trace.events) {
    if (e.hop !== hop || e.layer !== "smtp" || e.kind !== "reply" || e.data.verb !== "message") continue;
    const id = /\bqueued as (\w+)/i.exec(e.data.lines.join(" "))?.[1];
    if (id) return id;
  }
  return undefined;
}

const utf8 = new TextDecoder();
const letters = new WeakMap<Delivered, Letter>();

/** A message as it stands in the mailbox. It is read once: nothing about it changes later. */
export function letter(trace: TraceStore, e: Delivered): Letter {
  const known = letters.get(e);
  if (known) return known;
  const made = read(trace, e);
  letters.set(e, made);
  return made;
}

function read(trace: TraceStore, e: Delivered): Letter {
  const pieces = e.at ? trace.stream(e.at.stream).pieces(e.at.off, e.at.len) : [];
  const text = pieces.map((p) => ("bytes" in p ? utf8.decode(p.bytes) : "")).join("").replaceAll("\r\n", "\n");
  const { head, body } = split(text), header = fields(head);
  return {
    e, header, head, body, elided: pieces.reduce((n, p) => n + ("gap" in p ? p.gap : 0), 0),
    stops: stops(trace, header), report: report(header, body),
  };
}

function split(text: string): { head: string; body: string } {
  const at = text.startsWith("\n") ? 0 : text.indexOf("\n\n") + 1;
  return at === 0 && !text.startsWith("\n") ? { head: text, body: "" } : { head: text.slice(0, at), body: text.slice(at + 1) };
}

export function fields(head: string): HeaderField[] {
  const out: HeaderField[] = [];
  for (const line of head.split("\n")) {
    const m = /^([!-9;-~]+)[ \t]*:[ \t]*(.*)$/.exec(line);
    if (m) out.push({ name: m[1]!, value: m[2]! });
    else if (/^[ \t]/.test(line) && out.length) out.at(-1)!.value += ` ${line.trim()}`;
  }
  return out;
}

export function value(header: readonly HeaderField[], name: string): string | undefined {
  return header.find((f) => f.name.toLowerCase() === name)?.value;
}

/** A value and its parameters (RFC 2045, 5.1). */
function parameters(text: string): { value: string; of: Record<string, string> } {
  const [first = "", ...rest] = text.split(";"), of: Record<string, string> = {};
  for (const p of rest) {
    const m = /^\s*([\w-]+)\s*=\s*(?:"([^"]*)"|(\S+))\s*$/.exec(p);
    if (m) of[m[1]!.toLowerCase()] = m[2] ?? m[3]!;
  }
  return { value: first.trim().toLowerCase(), of };
}

function report(header: readonly HeaderField[], body: string): Report | undefined {
  const type = parameters(value(header, "content-type") ?? "");
  if (type.value !== "multipart/report" || type.of["report-type"]?.toLowerCase() !== "delivery-status" || !type.of["boundary"]) return undefined;
  const parts = `\n${body}`.split(`\n--${type.of["boundary"]}`).slice(1).map((p) => split(p.replace(/^[ \t]*\n/, "")));
  const status = parts.find((p) => parameters(value(fields(p.head), "content-type") ?? "").value === "message/delivery-status");
  return status && { fields: status.body.split(/\n\n+/).map(fields).filter((f) => f.length > 0) };
}

const STOP = /^from (\S+)(?: \(\[?(?:IPv6:)?([^\])]*)\]?\))? by (\S+)(?: with (\S+))?(?: id (\S+))?(?: for <?([^>;]*)>?)?;\s*(.*)$/;

function stops(trace: TraceStore, header: readonly HeaderField[]): Stop[] {
  const events = mailEvents(trace, Infinity);
  return header.filter((f) => f.name.toLowerCase() === "received").map((f): Stop => {
    const [, from = f.value, address = "", by = "", how = "", id = "", whom = "", date = ""] = STOP.exec(f.value) ?? [];
    const own = events.filter((e) => id && e.data.queueID === id);
    return { from, address, by, with: how, id, for: whom, date, t: own[0]?.t, deferred: own.filter((e) => e.kind === "deferred").map((e) => e.data) };
  });
}
