// Round trips: each time that the client waited for the server.

import type { Rows } from "./rows.ts";

/** One wait. A TLS handshake may be several: n to n + count - 1. */
export interface Round {
  n: number;
  count: number;
  /** When the client began to wait, and when it knew the answer; undefined while it waits. */
  from: number;
  to: number | undefined;
  /** Indexes of the first and the last row that belong to it. */
  first: number;
  last: number;
  what: string;
}

/** Numbers the rounds in the order in which they begin. Commands that are sent as a group share one (RFC 2920). */
export class Rounds {
  readonly list: Round[] = [];
  #open: Round | undefined;
  #asked = 0; // commands of the open round that were not answered

  /** The round trips that are over. */
  get done(): number {
    const last = this.list.findLast((r) => r.to !== undefined);
    return last ? last.n + last.count - 1 : 0;
  }

  /** Begins a wait, or goes on with the one that is open; returns its number. */
  begin(t: number, row: number, what: string): number {
    if (!this.#open) {
      const last = this.list.at(-1);
      this.#open = { n: last ? last.n + last.count : 1, count: 1, from: t, to: undefined, first: row, last: row, what };
      this.list.push(this.#open);
    }
    this.#open.last = Math.max(this.#open.last, row);
    return this.#open.n;
  }

  /** Something is sent that will be answered. */
  ask(t: number, row: number, what: string): number {
    this.#asked++;
    return this.begin(t, row, what);
  }

  /** An answer ends the wait when it is the last that the client waits for. */
  answer(t: number, row: number, what: string): number {
    this.#asked--;
    return this.#asked > 0 ? this.begin(t, row, what) : this.end(t, row, what);
  }

  /** Ends the wait, one that was not begun included. */
  end(t: number, row: number, what: string, count = 1): number {
    const n = this.begin(t, row, what), r = this.#open!;
    r.to = t;
    r.count = count;
    this.drop();
    return n;
  }

  /** What comes along with an answer belongs to its round, and is no wait of its own. */
  extend(n: number, t: number, row: number): number {
    const r = this.list.findLast((r) => r.n <= n);
    if (r) {
      r.to = t;
      r.last = Math.max(r.last, row);
    }
    return n;
  }

  /** Gives up the wait that is open: it will have no answer. */
  drop(): void {
    this.#open = undefined;
    this.#asked = 0;
  }
}

/** What timers of TCP added to round trips of the page. */
export interface LostTime {
  time: number;
  /** Segments that did not arrive, for which a timer had to end. */
  segments: number;
  /** By the numbers of the round trips. */
  rounds: Map<number, number>;
}

/** How much longer round trips took because segments were lost that only a timer could find out about. */
export function lostTime(rows: Rows): LostTime {
  const out: LostTime = { time: 0, segments: 0, rounds: new Map() }, { list } = rows.rounds;
  for (const row of rows.list) {
    const wait = row.again && row.dir ? rows.waitOf(row) : undefined;
    if (!wait || !rows.needed(row)) continue;
    const round = list.find((r) => r.to !== undefined && wait.before >= r.from && wait.to <= r.to);
    if (!round) continue;
    const time = wait.to - wait.before;
    out.time += time;
    out.segments++;
    out.rounds.set(round.n, (out.rounds.get(round.n) ?? 0) + time);
  }
  return out;
}
