// What one end of a TCP connection has under way, and what lets it send more: the lines of
// the chart, from the packets and states of the lab or from what the proxy measured of its
// own TCP. Pure, and cheap enough to be made anew when the trace grew.

import { arrival, landed } from "./rows.ts";
import { countBefore } from "./search.ts";
import type { EventOfKind, PacketData, SegmentData, TraceEvent, TraceStore } from "./trace.ts";

type Segment = EventOfKind<"tcp", "segment"> & { data: PacketData & { segment: SegmentData } };

export interface Connection {
  flow: number;
  /** Who opened it, and who answers. */
  from: string;
  to: string;
  /** The one that the page talks on, not two mail servers. */
  own: boolean;
  /** Known by measurements at its sender only, without packets. */
  measured: boolean;
}

/** Something that happened to what the sender had under way. */
export interface Mark {
  t: number;
  kind: "lost" | "again" | "zero";
  event: number;
}

export interface Flight {
  /** The host that sends, and the one that acknowledges. */
  host: string;
  peer: string;
  measured: boolean;
  /** When a line changes, in nanoseconds; each line has a value for each time, null where it is not known yet. */
  times: number[];
  lines: Record<Line, (number | null)[]>;
  marks: Mark[];
}

/**
 * Octets: inFlight from the packets, or measured; cwnd and ssthresh from the stack, which
 * counts segments; window as the peer announced it. Nanoseconds: rto and srtt.
 */
export type Line = "inFlight" | "cwnd" | "ssthresh" | "window" | "rto" | "srtt";

const LINES: readonly Line[] = ["inFlight", "cwnd", "ssthresh", "window", "rto", "srtt"];

/** The payload of a segment until the stack tells (RFC 9293, 3.7.1). */
const DEFAULT_MSS = 536;

/** The flow of what is measured: a tunnel is one connection. */
const MEASURED = 0;

export function connections(trace: TraceStore): Connection[] {
  const all = new Map<number, Connection>();
  for (const e of trace.events) {
    if (isSample(e) && !all.has(MEASURED)) all.set(MEASURED, { flow: MEASURED, from: e.from!, to: e.to!, own: true, measured: true });
    if (!isSimulated(e)) continue;
    const c = all.get(e.data.segment.flow);
    if (!c) all.set(e.data.segment.flow, { flow: e.data.segment.flow, from: e.from!, to: e.to!, own: false, measured: false });
    else if (e.data.carries?.stream.startsWith("wire")) c.own = true;
  }
  return [...all.values()];
}

/** The connection that the page talks on; until it carries something, one that the page opened. */
export function ownConnection(all: readonly Connection[]): Connection | undefined {
  return all.find((c) => c.own) ?? all.find((c) => c.from === "client");
}

/** A segment that could be read; a copy that a link made says nothing new. */
export function isSegment(e: TraceEvent): e is Segment {
  return e.layer === "tcp" && e.kind === "segment" && !!e.data.segment && e.data.of === undefined;
}

/** Of a connection whose packets were captured, the proxy's system tells more than they do. */
function isSimulated(e: TraceEvent): e is Segment {
  return isSegment(e) && e.src !== "captured";
}

function isSample(e: TraceEvent): e is EventOfKind<"tcp", "sample"> {
  return e.layer === "tcp" && e.kind === "sample";
}

export function flightOf(trace: TraceStore, c: Connection, host = c.from): Flight {
  const peer = host === c.from ? c.to : c.from, out: Flight = { host, peer, measured: c.measured, times: [], lines: { inFlight: [], cwnd: [], ssthresh: [], window: [], rto: [], srtt: [] }, marks: [] };
  const now: Record<Line, number | null> = { inFlight: 0, cwnd: null, ssthresh: null, window: null, rto: null, srtt: null };
  let mss = DEFAULT_MSS, next = 0, acked = 0, again = 0;
  for (const { t, e, arrived } of happenings(trace, c.flow, host)) {
    if (e.kind === "state") {
      const s = e.data;
      mss = s.inner?.mss ?? mss;
      if (s.cwnd > 0) now.cwnd = s.cwnd * mss;
      now.ssthresh = s.ssthresh ? s.ssthresh * mss : null;
      if (s.rto > 0) now.rto = s.rto;
      now.srtt = s.srtt ?? null;
    } else if (e.kind === "sample") {
      const s = e.data, window = s.sendWindow ?? (now.window === null ? null : 0); // a system that told it once knows it
      mss = s.mss ?? mss;
      now.inFlight = s.inFlight ?? 0;
      now.cwnd = s.cwnd ? s.cwnd * mss : null;
      now.ssthresh = s.ssthresh ? s.ssthresh * mss : null;
      now.rto = s.rto ?? null;
      now.srtt = s.rtt ?? null;
      if ((s.retransmits ?? 0) > again) out.marks.push({ t, kind: "again", event: e.n });
      if (window === 0 && now.window !== 0) out.marks.push({ t, kind: "zero", event: e.n });
      again = s.retransmits ?? 0;
      now.window = window;
    } else {
      const { segment: s, fate } = e.data;
      if (arrived) {
        acked = Math.max(acked, s.ack ?? 0);
        now.inFlight = Math.min(now.inFlight!, Math.max(next - acked, 0));
        if (!s.flags.includes("RST")) {
          if (s.window === 0 && now.window !== 0) out.marks.push({ t, kind: "zero", event: e.n });
          now.window = s.window;
        }
      } else {
        next = Math.max(next, s.seq + s.len + (/SYN|FIN/.test(s.flags) ? 1 : 0));
        now.inFlight = s.inFlight;
        mss = mssIn(s.options) ?? mss;
        if (s.again !== undefined) out.marks.push({ t, kind: "again", event: e.n });
        if (fate === "lost" || fate === "corrupted") out.marks.push({ t, kind: "lost", event: e.n });
      }
    }
    // Of what happens at one instant, the end counts.
    const i = out.times.at(-1) === t ? out.times.length - 1 : out.times.push(t) - 1;
    for (const line of LINES) out.lines[line][i] = now[line];
  }
  return out;
}

type Happening = { t: number; e: Segment | EventOfKind<"tcp", "state" | "sample">; arrived: boolean };

/** What a host sends, gets and becomes on one connection, in the order of time. */
function happenings(trace: TraceStore, flow: number, host: string): Happening[] {
  const out: Happening[] = [];
  for (const e of trace.events) {
    if (isSample(e) && flow === MEASURED && e.from === host || e.layer === "tcp" && e.kind === "state" && e.data.flow === flow && e.data.host === host) out.push({ t: e.t, e, arrived: false });
    else if (!isSimulated(e) || e.data.segment.flow !== flow) continue;
    else if (e.from === host) out.push({ t: e.t, e, arrived: false });
    else if (landed(e)) out.push({ t: arrival(e), e, arrived: true });
  }
  return out.sort((a, b) => a.t - b.t);
}

function mssIn(options: string | undefined): number | undefined {
  const mss = /\bmss (\d+)/.exec(options ?? "")?.[1];
  return mss === undefined ? undefined : Number(mss);
}

/** The index of the last time that is not after t, -1 for none. */
export function indexAt(times: readonly number[], t: number): number {
  return countBefore(times.length, (i) => times[i]! <= t) - 1;
}

/** The largest value of a line, 0 for none. */
export function largest(line: readonly (number | null)[]): number {
  return line.reduce((most: number, v) => Math.max(most, v ?? 0), 0);
}

/** Keeps what was made of a trace until that grows. */
export function remembered<T>(make: (trace: TraceStore, key: string) => T): (trace: TraceStore, key?: string) => T {
  let of: TraceStore | undefined, length = -1, by = "", made: T;
  return (trace, key = "") => {
    if (of !== trace || length !== trace.events.length || by !== key) {
      made = make(trace, key);
      [of, length, by] = [trace, trace.events.length, key];
    }
    return made;
  };
}
