// Lets a trace go by in its own time, slowed as the user likes. What lies far
// ahead is not waited for: time jumps there, and the ladder draws the jump.

import { eventsUntil } from "./search.ts";
import type { TraceStore } from "./trace.ts";

const NS = 1e6; // nanoseconds in a millisecond

/** Of real time: a wait longer than LONG is cut to LEAD before its end. In nanoseconds. */
const LONG = 2500 * NS, LEAD = 400 * NS;

export class Player {
  /** Where the playhead is, in nanoseconds of the trace; undefined at its end, and before its start. */
  time: number | undefined;
  playing = false;

  #frame = 0;
  #last = 0;
  #speed = 1;
  #trace: () => TraceStore | undefined = () => undefined;
  #grows: () => boolean = () => false;

  constructor(readonly changed: () => void) {}

  /** Plays from a time on, to the end of a trace that may still grow, and may not be there yet. */
  play(from: number, speed: number, trace: () => TraceStore | undefined, grows: () => boolean): void {
    this.time = from;
    this.#speed = speed;
    this.#trace = trace;
    this.#grows = grows;
    if (this.playing) return;
    this.playing = true;
    this.#last = performance.now();
    this.#frame = requestAnimationFrame((t) => this.#tick(t));
  }

  /** Stands still. */
  pause(): void {
    cancelAnimationFrame(this.#frame);
    this.playing = false;
    this.changed();
  }

  /** Forgets where it was. */
  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.playing = false;
    this.time = undefined;
  }

  #tick(at: number): void {
    const real = Math.max(0, at - this.#last) * NS, trace = this.#trace();
    this.#last = at;
    if (trace) this.time = this.#next(trace, this.time! + real * this.#speed);
    else if (!this.#grows()) this.time = undefined;
    if (this.time === undefined) this.playing = false;
    else this.#frame = requestAnimationFrame((t) => this.#tick(t));
    this.changed();
  }

  /** The time to show: never beyond what is known, and beyond what nobody wants to wait for. */
  #next(trace: TraceStore, t: number): number | undefined {
    const { events } = trace, end = events.at(-1)?.t ?? 0;
    if (t >= end) return this.#grows() ? end : undefined;
    const next = events[eventsUntil(events, t)]!.t;
    return (next - t) / this.#speed > LONG ? next - LEAD * this.#speed : t;
  }
}
