// The rows of the ladder: what of a trace is one thing to a reader. Numbers are
// stable: a row keeps its number whatever happens later, so that links can cite it.
//
// The statuses of the tunnel fold into one row, a TLS handshake with its records
// into one, and a TLS record that carries SMTP is found below the row that it
// carries, by the range of text.* that both name.

import { Rounds } from "./rounds.ts";
import type { Direction, EventOfKind, Extension, Layer, RecordData, TraceEvent, TraceStore } from "./trace.ts";

export type RowKind =
  | "connect" | "handshake" | "record"
  | "command" | "response" | "message" | "reply" | "closed" | "desync"
  | "note" | "error" | "pause";

export interface Row {
  /** Position in Rows.list. */
  i: number;
  /** The number shown; 0 for a pause, which is a separator. */
  n: number;
  kind: RowKind;
  layer: Layer;
  dir: Direction | undefined;
  t: number;
  /** The event that says most: of a handshake the one that ends it. */
  e: number;
  /** What was folded into the row, in order. */
  parts: number[];
  /** Number of the round trip that it belongs to; 0 for none. */
  round: number;
  /** The row that answers this command, or the command that this reply answers. */
  other: Row | undefined;
  /** A handshake or connection that came about, or did not; undefined while it is open. */
  ok: boolean | undefined;
  /** For a pause: when it ended. */
  until: number | undefined;
}

export interface KeywordChange {
  keyword: Extension;
  change: "same" | "new" | "gone";
}

export class Rows {
  readonly list: Row[] = [];
  readonly rounds = new Rounds();
  /** Replies to EHLO that list extensions. */
  readonly greetings: Row[] = [];
  /** The row from which on both sides speak inside TLS. */
  sealed: Row | undefined;
  /** How many events were read. */
  seen = 0;

  #numbers = 0;
  #connect: Row | undefined;
  #handshake: Row | undefined; // open
  #lastHandshake: Row | undefined;
  #pause: Row | undefined;
  #byEvent = new Map<number, Row>();
  #carriers: Record<Direction, number[]> = { out: [], in: [] };

  constructor(readonly trace: TraceStore | undefined) {}

  /** Reads the events of the trace up to, not including, the one at upto. */
  readTo(upto: number): this {
    const events = this.trace?.events ?? [];
    for (; this.seen < Math.min(upto, events.length); this.seen++) this.#read(events[this.seen]!);
    return this;
  }

  event(row: Row): TraceEvent {
    return this.trace!.events[row.e]!;
  }

  rowOf(event: number): Row | undefined {
    return this.#byEvent.get(event);
  }

  /** The TLS records that carry a row, or none: their events' positions. */
  carriers(row: Row): number[] {
    const at = this.event(row).at;
    if (!at || !row.dir || !at.stream.startsWith("text")) return [];
    const all = this.#carriers[row.dir], plain = (n: number) => (this.trace!.events[n]!.data as RecordData).plain!;
    let lo = 0, hi = all.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1, p = plain(all[mid]!);
      if (p.off + p.len <= at.off) lo = mid + 1;
      else hi = mid;
    }
    const out: number[] = [];
    for (; lo < all.length && plain(all[lo]!).off < at.off + at.len; lo++) out.push(all[lo]!);
    return out;
  }

  /** The extensions of a reply to EHLO, compared with those of the one before. */
  keywords(row: Row): { list: KeywordChange[]; since: Row | undefined } {
    const of = (r: Row) => (this.event(r) as EventOfKind<"smtp", "reply">).data.extensions ?? [];
    const since = this.greetings[this.greetings.indexOf(row) - 1], before = since && of(since), now = of(row);
    const list: KeywordChange[] = now.map((keyword) => ({
      keyword, change: !before || before.some((b) => b.keyword === keyword.keyword) ? "same" : "new",
    }));
    for (const b of before ?? []) if (!now.some((k) => k.keyword === b.keyword)) list.push({ keyword: b, change: "gone" });
    return { list, since };
  }

  /** The last reply that says what state the client is in. */
  get lastReply(): EventOfKind<"smtp", "reply"> | undefined {
    const row = this.list.findLast((r) => r.kind === "reply");
    return row && (this.event(row) as EventOfKind<"smtp", "reply">);
  }

  #add(e: TraceEvent, kind: RowKind, t = e.t): Row {
    const row: Row = {
      i: this.list.length, n: kind === "pause" ? 0 : ++this.#numbers, kind, layer: e.layer, dir: e.dir, t, e: e.n,
      parts: [], round: 0, other: undefined, ok: undefined, until: undefined,
    };
    this.list.push(row);
    this.#byEvent.set(e.n, row);
    return row;
  }

  #fold(e: TraceEvent, row: Row): void {
    row.parts.push(e.n);
    this.#byEvent.set(e.n, row);
  }

  #read(e: TraceEvent): void {
    switch (e.layer) {
      case "tunnel": return this.#readTunnel(e);
      case "tls": return this.#readTLS(e);
      case "smtp": return this.#readSMTP(e);
      case "app": return this.#readApp(e);
    }
  }

  #readTunnel(e: Extract<TraceEvent, { layer: "tunnel" }>): void {
    const row = (this.#connect ??= this.#add(e, "connect"));
    this.#fold(e, row);
    row.e = e.n;
    row.dir = "out";
    if (e.kind !== "opened") {
      row.round = this.rounds.begin(e.t, row.i, "connect");
      return;
    }
    row.ok = true;
    row.round = this.rounds.end(e.t, row.i, "connect");
  }

  #readTLS(e: Extract<TraceEvent, { layer: "tls" }>): void {
    switch (e.kind) {
      case "start": {
        const row = (this.#handshake ??= this.#add(e, "handshake"));
        this.#fold(e, row);
        row.dir = "out";
        row.round = this.rounds.begin(e.t, row.i, "TLS handshake");
        return;
      }
      case "handshake":
      case "alert": {
        const row = (this.#handshake ??= this.#add(e, "handshake", e.data.started));
        this.#byEvent.set(e.n, row);
        row.e = e.n;
        row.ok = e.kind === "handshake";
        this.#lastHandshake = row;
        this.#handshake = undefined;
        if (row.ok) {
          row.round = this.rounds.end(e.t, row.i, "TLS handshake", Math.max(e.data.roundTrips ?? 1, 1));
          this.sealed = row;
        } else this.rounds.drop();
        return;
      }
      case "record": {
        const open = this.#handshake ?? (e.data.type === "handshake" ? this.#lastHandshake : undefined);
        if (e.data.plain && e.dir) this.#carriers[e.dir].push(e.n);
        else if (open) this.#fold(e, open);
        else this.#add(e, "record");
      }
    }
  }

  #readSMTP(e: Extract<TraceEvent, { layer: "smtp" }>): void {
    switch (e.kind) {
      case "command":
      case "response":
      case "message": {
        const t = e.kind === "message" ? e.data.started : e.t;
        const row = this.#add(e, e.kind, t);
        row.round = this.rounds.begin(t, row.i, e.kind === "message" ? "message" : e.data.verb);
        return;
      }
      case "reply": {
        const row = this.#add(e, "reply"), asked = e.data.answers === undefined ? undefined : this.#byEvent.get(e.data.answers);
        // Nothing is sent to draw the greeting: that wait began when the one before it ended.
        if (e.data.verb === "greeting") this.rounds.begin(this.rounds.list.at(-1)?.to ?? e.t, row.i, "greeting");
        row.round = this.rounds.end(e.t, row.i, e.data.verb || "unsolicited reply");
        row.other = asked;
        if (asked) asked.other = row;
        if (e.data.extensions) this.greetings.push(row);
        return;
      }
      case "closed":
      case "desync":
        this.#add(e, e.kind);
        this.rounds.drop();
    }
  }

  #readApp(e: Extract<TraceEvent, { layer: "app" }>): void {
    switch (e.kind) {
      case "pause":
        this.#pause = this.#add(e, "pause");
        return;
      case "resume":
        if (this.#pause) {
          this.#pause.until = e.t;
          this.#fold(e, this.#pause);
        }
        this.#pause = undefined;
        return;
      case "note":
      case "error":
        this.#add(e, e.kind);
    }
  }
}

/** The rows of the first events of a trace. */
export function rowsOf(trace: TraceStore | undefined, upto = Infinity): Rows {
  return new Rows(trace).readTo(upto);
}
