// What every view is a function of: the trace up to the cursor, and what the
// session is doing. A new object for every change, so that elements see it.

import type { EngineState, Pending } from "./engine.ts";
import type { Rows } from "./rows.ts";
import type { Step } from "./steps.ts";
import type { TraceStore } from "./trace.ts";

/** What the main part of the page shows. */
export type Pane = "ladder" | "transcript" | "findings" | "chart" | "mail";
/** Whether time is a scale of the ladder. */
export type Scale = "rows" | "time";
/** Which packets have rows: those that a reader looks for, or every one. */
export type Packets = "few" | "all";

export interface View {
  trace: TraceStore | undefined;
  /** The rows up to the cursor. */
  rows: Rows;
  /** All rows there are. */
  all: Rows;
  /** Events before the cursor, and all there are. */
  upto: number;
  total: number;
  state: EngineState;
  /** The trace was opened from a file, not run. */
  replay: boolean;
  /** What waits to be sent, when the cursor is at the end. */
  pending: Pending | undefined;
  /** What the plan will do, or would have done. */
  steps: Step[];
  /** How the two lanes are called. */
  server: string;
  /** Why the engine crashed. */
  crash: string;
  /** The session is, or will be, in the lab. */
  lab: boolean;
  scale: Scale;
  packets: Packets;
  /** The playhead, in nanoseconds: between two events while it plays. */
  time: number;
  playing: boolean;
  /** Lab time per real time, 0 for all at once. */
  speed: number;
}

/** The time that the views show. */
export function now(v: View): number {
  return v.time;
}

/** There is something to draw over time: the lab's packets, or what the proxy measured. */
export function charted(v: View): boolean {
  return v.lab || v.all.samples.length > 0;
}

/** The trace ends at the cursor. */
export function atEnd(v: View): boolean {
  return v.upto >= v.total;
}

/** A place in the ladder: a row, or a record, certificate, packet or opened handshake message below it. */
export interface Place {
  row: number;
  record?: number;
  certificate?: number;
  packet?: number;
  message?: number;
}

export function keyOf(p: Place): string {
  return p.record !== undefined ? `r${p.row}-e${p.record}` : p.certificate !== undefined ? `r${p.row}-c${p.certificate}`
    : p.packet !== undefined ? `r${p.row}-p${p.packet}` : p.message !== undefined ? `r${p.row}-m${p.message}` : `r${p.row}`;
}

export function placeOf(key: string): Place | undefined {
  const m = /^r(\d+)(?:-([ecpm])(\d+))?$/.exec(key);
  if (!m) return undefined;
  const place: Place = { row: Number(m[1]) };
  if (m[2] === "e") place.record = Number(m[3]);
  if (m[2] === "c") place.certificate = Number(m[3]);
  if (m[2] === "p") place.packet = Number(m[3]);
  if (m[2] === "m") place.message = Number(m[3]);
  return place;
}
