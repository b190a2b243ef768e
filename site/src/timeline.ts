// The axis of the scrubber: time as pixels. The time in which the user paused
// is cut out, and in a lab what is idle for long; the cut is drawn.

import { arrival, type PacketEvent, type Rows } from "./rows.ts";

export interface Piece {
  t0: number;
  t1: number;
  x0: number;
  x1: number;
}

export interface Axis {
  pieces: Piece[];
  /** Places of the cuts. */
  cuts: number[];
  x(t: number): number;
  t(x: number): number;
  ticks: { x: number; label: string }[];
}

const CUT = 14; // width of a cut
const SHORT = 50e6; // a pause shorter than this is no cut

/** An idle time is cut that is longer than this share of all that remains. */
const IDLE = 0.5;

export function axis(rows: Rows, until: number, left: number, right: number): Axis {
  const busy = busyTimes(rows), end = busy.reduce((t, b) => Math.max(t, b[1]), until); // what is under way at the end still arrives
  const pauses = busy.length ? idle(busy, end) : rows.list.flatMap((r): [number, number][] => {
    const to = r.until ?? end;
    return r.kind === "pause" && to - r.t > SHORT ? [[r.t, to]] : [];
  });
  const spans: [number, number][] = [];
  let from = 0;
  for (const [t0, t1] of pauses) {
    spans.push([from, t0]);
    from = t1;
  }
  if (from < end || spans.length === 0) spans.push([from, Math.max(end, from + 1)]);
  const cuts = spans.length - 1, total = spans.reduce((n, [a, b]) => n + b - a, 0) || 1, scale = Math.max(0, right - left - cuts * CUT) / total;
  const pieces: Piece[] = [];
  let x = left;
  for (const [t0, t1] of spans) {
    const w = (t1 - t0) * scale;
    pieces.push({ t0, t1, x0: x, x1: x + w });
    x += w + CUT;
  }
  const toX = (t: number) => {
    for (const p of pieces) {
      if (t < p.t0) return p.x0 - CUT / 2;
      if (t <= p.t1) return p.x0 + (t - p.t0) * scale;
    }
    return pieces.at(-1)!.x1;
  };
  const toT = (at: number) => {
    for (const p of pieces) if (at <= p.x1) return Math.max(p.t0, p.t0 + (at - p.x0) / (scale || 1));
    return end;
  };
  return { pieces, cuts: pieces.slice(1).map((p) => p.x0 - CUT / 2), x: toX, t: toT, ticks: ticks(pieces, scale) };
}

/** When rows began and packets were under way, in a lab. */
function busyTimes(rows: Rows): [number, number][] {
  const packets = rows.captured ? [] : rows.packets.map((n): [number, number] => {
    const e = rows.trace!.events[n] as PacketEvent;
    return [e.t, arrival(e)];
  });
  return packets.length ? [...packets, ...rows.list.map((r): [number, number] => [r.t, r.t])] : [];
}

/** The times in which nothing is under way, if they are long in comparison with the others. */
function idle(busy: [number, number][], end: number): [number, number][] {
  const gaps: [number, number][] = [];
  let at = 0;
  for (const [t0, t1] of busy.sort((a, b) => a[0] - b[0])) {
    if (t0 > at) gaps.push([at, t0]);
    at = Math.max(at, t1);
  }
  let rest = end;
  const long = gaps.sort((a, b) => b[1] - b[0] - a[1] + a[0]).filter(([t0, t1]) => {
    const is = t1 - t0 > (rest - t1 + t0) * IDLE;
    if (is) rest -= t1 - t0;
    return is;
  });
  return long.sort((a, b) => a[0] - b[0]);
}

/** Round times, at least so many pixels apart. */
const APART = 62;

function ticks(pieces: readonly Piece[], scale: number): Axis["ticks"] {
  if (scale <= 0) return [];
  let step = 1e4; // 10 us
  for (let i = 0; step * scale < APART && i < 40; i++) step *= [2, 2.5, 2][i % 3]!;
  const out: Axis["ticks"] = [], digits = step < 1e5 ? 2 : step < 1e6 ? 1 : 0;
  let last = -Infinity;
  for (const p of pieces) {
    for (let t = Math.ceil(p.t0 / step) * step; t <= p.t1; t += step) {
      const x = p.x0 + (t - p.t0) * scale;
      if (x - last < APART - 1) continue;
      out.push({ x, label: t === 0 ? "0 ms" : (t / 1e6).toFixed(digits) });
      last = x;
    }
  }
  return out;
}
