// The time scale of the ladder: which height a time has. Time runs down at one
// slope everywhere. Where a row needs room although no time goes by, the height
// jumps; where nothing happens for long, time is cut, and the cut has a height.

import { countBefore } from "./search.ts";

/** Height at which the ladder begins. */
const TOP = 4;
/** An idle time that would be higher than this is cut: its ends are drawn, and a break of this height. In pixels. */
const LONG = 204, EDGE = 24, BREAK = 64;

/** Room without time, or, with its times, time without room. */
export interface Gap {
  from: number;
  to: number;
  cut: [t0: number, t1: number] | undefined;
}

/** How far a scale was drawn. */
export interface Mark {
  pieces: number;
  gaps: number;
  t: number;
  y: number;
  free: number;
  jumpAt: number;
  jumpBy: number;
}

export class TimeScale {
  readonly gaps: Gap[] = [];
  #t: number[] = [0]; // where each piece begins
  #y: number[] = [TOP];
  #end: number[] = [Infinity]; // the height at which it ends
  #now = 0;
  #at = TOP;
  #free = TOP; // below the last row
  #jumpAt = 0; // the height at which the last row takes room, and how much is still to be taken
  #jumpBy = 0;

  /** Pixels in a nanosecond. */
  constructor(readonly slope: number) {}

  /** The end of the last row. */
  get free(): number {
    return this.#free;
  }

  mark(): Mark {
    return { pieces: this.#t.length, gaps: this.gaps.length, t: this.#now, y: this.#at, free: this.#free, jumpAt: this.#jumpAt, jumpBy: this.#jumpBy };
  }

  /** Goes back to a mark: what was placed since is forgotten. */
  back(m: Mark): void {
    this.#t.length = this.#y.length = this.#end.length = m.pieces;
    this.#end[m.pieces - 1] = Infinity;
    this.gaps.length = m.gaps;
    this.#now = m.t;
    this.#at = m.y;
    this.#free = m.free;
    this.#jumpAt = m.jumpAt;
    this.#jumpBy = m.jumpBy;
  }

  /** Puts a row at a time and returns its top. Only so much of its height is the row; the rest takes room but no time. */
  place(t: number, height: number, row: number): number {
    this.beat(t);
    if (this.#at < this.#free) this.#jump(this.#free);
    this.#free = this.#at + height;
    this.#jumpAt = this.#at + row;
    this.#jumpBy = Math.max(0, height - row);
    return this.#at;
  }

  /** Something happens at a time, so that it is not idle up to it. Times before the last one count as that. */
  beat(t: number): void {
    if (t <= this.#now) return;
    if ((t - this.#now) * this.slope > LONG) {
      const t0 = this.#now + EDGE / this.slope, t1 = t - EDGE / this.slope;
      this.#run(t0);
      this.#jump(this.#at + BREAK, [t0, t1]);
      this.#now = this.#t[this.#t.length - 1] = t1;
    }
    this.#run(t);
  }

  #run(t: number): void {
    let to = this.#at + (t - this.#now) * this.slope;
    if (this.#jumpBy && to > this.#jumpAt + 0.5) {
      this.#now += (this.#jumpAt - this.#at) / this.slope;
      this.#at = this.#jumpAt;
      const by = this.#jumpBy;
      this.#jump(this.#at + by);
      to += by;
    }
    this.#at = to;
    this.#now = t;
  }

  #jump(to: number, cut?: [number, number]): void {
    this.gaps.push({ from: this.#at, to, cut });
    this.#end[this.#end.length - 1] = this.#at;
    this.#t.push(this.#now);
    this.#y.push(to);
    this.#end.push(Infinity);
    this.#at = to;
    this.#jumpBy = 0;
  }

  /** The height of a time: of several, the first. Beyond what was placed, time goes on. */
  y(t: number): number {
    const lo = Math.max(0, countBefore(this.#t.length, (i) => this.#t[i]! < t - 0.5) - 1);
    const y = Math.min(this.#end[lo]!, this.#y[lo]! + Math.max(0, t - this.#t[lo]!) * this.slope);
    return lo === this.#t.length - 1 && this.#jumpBy && y > this.#jumpAt + 0.5 ? y + this.#jumpBy : y;
  }

  /** The time at a height. */
  t(y: number): number {
    const lo = Math.max(0, countBefore(this.#y.length, (i) => this.#y[i]! <= y) - 1);
    return this.#t[lo]! + Math.max(0, Math.min(y, this.#end[lo]!) - this.#y[lo]!) / this.slope;
  }

  /** The height of a time of which it is not known yet whether it is idle. */
  playhead(t: number): number {
    return Math.min(this.y(t), Math.max(this.#at + LONG, this.#free));
  }
}

const LEAST = 2e6, USUAL = 40e6, MOST = 2e9;

/** The time that is as high as a row, in nanoseconds: the way between two hosts in round numbers, within reason. */
export function unitFor(delay: number | undefined): number {
  return Math.min(MOST, Math.max(LEAST, Number((delay || USUAL).toPrecision(2))));
}
