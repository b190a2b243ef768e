// What every view is a function of: the trace up to the cursor, and what the
// session is doing. A new object for every change, so that elements see it.

import type { EngineState, Pending } from "./engine.ts";
import type { Rows } from "./rows.ts";
import type { Step } from "./steps.ts";
import type { TraceStore } from "./trace.ts";

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
}

/** The time that the views show: that of the last event before the cursor, or of the end. */
export function now(v: View): number {
  if (!v.trace) return 0;
  return v.upto >= v.total ? v.trace.elapsed : (v.trace.events[v.upto - 1]?.t ?? 0);
}

/** The trace ends at the cursor. */
export function atEnd(v: View): boolean {
  return v.upto >= v.total;
}

/** A place in the ladder: a row, or a record or certificate below it. */
export interface Place {
  row: number;
  record?: number;
  certificate?: number;
}

export function keyOf(p: Place): string {
  return p.record !== undefined ? `r${p.row}-e${p.record}` : p.certificate !== undefined ? `r${p.row}-c${p.certificate}` : `r${p.row}`;
}

export function placeOf(key: string): Place | undefined {
  const m = /^r(\d+)(?:-([ec])(\d+))?$/.exec(key);
  if (!m) return undefined;
  const place: Place = { row: Number(m[1]) };
  if (m[2] === "e") place.record = Number(m[3]);
  if (m[2] === "c") place.certificate = Number(m[3]);
  return place;
}
