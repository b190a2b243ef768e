// The arrows of the ladder. In rows mode they are horizontal; on the time scale
// they leave when a packet leaves and land when it lands.

import { svg, type TemplateResult } from "lit";
import { cross } from "./icons.ts";
import type { Layout } from "./layout.ts";
import { arrival, landed, type PacketEvent, type Row, type Rows } from "./rows.ts";
import { countBefore } from "./search.ts";
import { FATE_WORDS } from "./words.ts";

/** Where in a row its arrow leaves. */
export const LEAVES = 3;
/** How far a lost packet gets, unless text is in the way. */
const LOST_AT = 0.62, LOST_MOST = 0.88;
/** Segments that leave and land so close to each other are one double arrow, up to some height of it. In pixels. */
const CLOSE = 4, FLIGHT = 16;

interface Label {
  x: number;
  y: number;
  end: boolean;
  cls: string;
  text: string;
}

/** Collects strokes: all of one kind are one path. */
export class Ink {
  #lines: Record<string, string> = {};
  #heads: Record<string, string> = {};
  #crosses = "";
  #links = "";
  #ends = "";
  #marks = "";
  #labels: Label[] = [];

  line(cls: string, x1: number, y1: number, x2: number, y2: number): void {
    this.#lines[cls] = `${this.#lines[cls] ?? ""}M${x1} ${px(y1)}L${px(x2)} ${px(y2)}`;
  }

  /** The head of an arrow that comes from x1, y1 and lands at x2, y2. */
  head(cls: string, x1: number, y1: number, x2: number, y2: number): void {
    const length = Math.hypot(x2 - x1, y2 - y1) || 1, dx = ((x2 - x1) / length) * 9, dy = ((y2 - y1) / length) * 9;
    const d = `M${px(x2)} ${px(y2)}L${px(x2 - dx + dy * 0.36)} ${px(y2 - dy - dx * 0.36)}L${px(x2 - dx - dy * 0.36)} ${px(y2 - dy + dx * 0.36)}Z`;
    this.#heads[cls] = (this.#heads[cls] ?? "") + d;
  }

  arrow(cls: string, x1: number, y1: number, x2: number, y2: number): void {
    this.line(cls, x1, y1, x2, y2);
    this.head(cls, x1, y1, x2, y2);
  }

  cross(x: number, y: number): void {
    this.#crosses += cross(px(x), px(y));
  }

  /** From where something was lost down to where it was sent again. */
  link(x: number, y1: number, y2: number): void {
    this.#links += `M${px(x)} ${px(y1)}V${px(y2 - 2.5)}`;
    this.#ends += `M${px(x - 2.5)} ${px(y2)}a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0`;
  }

  /** Something happens at a host. */
  mark(x: number, y: number): void {
    this.#marks += `M${x - 3.5} ${px(y - 3.5)}h7v7h-7Z`;
  }

  label(l: Label): void {
    this.#labels.push(l);
  }

  /** Heads above lines. */
  drawn(): TemplateResult[] {
    return [
      ...Object.entries(this.#lines).map(([cls, d]) => svg`<path class="arrow ${cls}" d=${d}/>`),
      ...Object.entries(this.#heads).map(([cls, d]) => svg`<path class="head ${cls}" d=${d}/>`),
      svg`<path class="link" d=${this.#links}/><path class="link-end" d=${this.#ends}/><path class="cross" d=${this.#crosses}/><path class="mark" d=${this.#marks}/>`,
      ...this.#labels.map((l) => svg`<text class="label ${l.cls}" x=${px(l.x)} y=${px(l.y)} text-anchor=${l.end ? "end" : "start"}>${l.text}</text>`),
    ];
  }
}

function px(n: number): number {
  return Math.round(n * 10) / 10;
}

/** The kind of stroke for what a packet carries. */
export function strokeOf(row: Row | undefined): string {
  if (row?.layer === "smtp") return row.dir === "in" ? "in" : "out";
  return row?.layer === "tls" ? "tls" : row?.layer === "udp" || row?.layer === "ip" ? "ink" : "tcp";
}

/** A look-up, drawn as a loop at the lane of the host that asks. */
export function loop(ink: Ink, x: number, y: number): void {
  ink.line("dns", x, y, x + 10, y);
  ink.line("dns", x + 10, y, x + 10, y + 10);
  ink.arrow("dns", x + 10, y + 10, x, y + 10);
}

interface Arrow {
  e: PacketEvent;
  row: Row | undefined;
  item: number | undefined; // whose first packet it is
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

/** Arrows on the time scale. */
export class TimeArrows {
  readonly #layout: Layout;
  readonly #rows: Rows;
  readonly #ink: Ink;
  readonly #head: number; // the playhead
  #flights = new Map<string, Arrow[]>();
  #labels: Label[] = [];

  constructor(layout: Layout, ink: Ink, playhead: number) {
    this.#layout = layout;
    this.#rows = layout.rows;
    this.#ink = ink;
    this.#head = playhead;
  }

  /** Draws what is under way between two heights. */
  draw(from: number, to: number): void {
    const rows = this.#rows, { packets } = rows, events = rows.trace!.events, time = this.#layout.time!;
    const t0 = time.t(from - 30) - rows.slowest, t1 = time.t(to);
    for (let i = countBefore(packets.length, (j) => events[packets[j]!]!.t < t0); i < packets.length; i++) {
      const e = events[packets[i]!] as PacketEvent;
      if (e.t > t1) break;
      const a = this.#arrow(e);
      if (a && Math.max(a.y1, a.y2) >= from) this.#add(a);
    }
    for (const f of this.#flights.values()) this.#flight(f);
    for (const [lost, again] of rows.losses) this.#link(events[lost] as PacketEvent, events[again] as PacketEvent, from, to);
  }

  /** Where the arrow of a packet is; none for one that is not shown. */
  #arrow(e: PacketEvent): Arrow | undefined {
    const layout = this.#layout, time = layout.time!, row = this.#rows.rowOf(e.n), way = layout.way(e.from, e.to, e.dir);
    const own = row?.packets[0] === e.n ? layout.itemOf(row.i) : layout.packetItem(e.n);
    if (!way || (!row && own === undefined)) return undefined;
    const y1 = (own !== undefined ? layout.y[own]! : time.y(e.t)) + LEAVES;
    return { e, row, item: own, x1: way[0], y1, x2: way[1], y2: Math.max(y1, time.y(arrival(e)) + LEAVES) };
  }

  #add(a: Arrow): void {
    const key = `${a.row?.i} ${a.e.from}`, flight = this.#flights.get(key), last = flight?.at(-1);
    const joins = flight && last && a.e.data.fate === "delivered" && a.item === undefined && a.y1 - last.y1 < CLOSE && Math.abs(a.y2 - last.y2) < CLOSE && a.y1 - flight[0]!.y1 < FLIGHT;
    if (joins) {
      flight.push(a);
      return;
    }
    if (flight) this.#flight(flight);
    this.#flights.delete(key);
    if (a.e.data.fate === "delivered" && arrival(a.e) <= this.#head) this.#flights.set(key, [a]);
    else this.#single(a);
  }

  /** Segments that go together: a double arrow, and how many there are. */
  #flight(f: readonly Arrow[]): void {
    const a = f[0]!, b = f.at(-1)!, cls = strokeOf(a.row);
    if (f.length === 1) return this.#ink.arrow(cls, a.x1, a.y1, a.x2, a.y2);
    const apart = Math.max(0, 3 - (b.y1 - a.y1)), inFlight = arrival(b.e) > this.#head;
    this.#ink.arrow(cls, a.x1, a.y1, a.x2, a.y2);
    if (inFlight) this.#single({ ...b, y1: b.y1 + apart, y2: b.y2 + apart });
    else this.#ink.arrow(cls, b.x1, b.y1 + apart, b.x2, b.y2 + apart);
    const back = a.x2 < a.x1;
    // A row says by itself how many there are, where they are all.
    if (f.length < 3 || f.length >= (a.row?.packets.length ?? 0) || a.row?.layer === "tls") return;
    const label = { x: a.x2 + (back ? 14 : -14), y: a.y2 - 7, end: !back, cls, text: `${f.length} segments` };
    this.#label(label, [0]);
  }

  /** Writes where there is room: at the first of some heights. */
  #label(l: Label, heights: readonly number[]): boolean {
    const dy = heights.find((d) => this.#free({ ...l, y: l.y + d }));
    if (dy === undefined) return false;
    const label = { ...l, y: l.y + dy };
    this.#labels.push(label);
    this.#ink.label(label);
    return true;
  }

  #span(l: Label): [number, number] {
    const width = this.#layout.measure.prose(l.text) + 6;
    return l.end ? [l.x - width, l.x] : [l.x, l.x + width];
  }

  /** Whether a label is in nobody's way. */
  #free(l: Label): boolean {
    const layout = this.#layout, [left, right] = this.#span(l);
    if (this.#labels.some((o) => Math.abs(o.y - l.y) < 11 && this.#span(o)[0] < right && this.#span(o)[1] > left)) return false;
    for (let i = Math.max(0, layout.at(l.y - 26)); i < layout.items.length && layout.y[i]! < l.y; i++) {
      const head = layout.parts(i)[0]!;
      if (head.type !== "head" || layout.y[i]! + 18 < l.y - 8 || layout.y[i]! > l.y) continue;
      if (head.x < right && head.x + head.w > left) return false;
    }
    return true;
  }

  #single(a: Arrow): void {
    const { e, x1, y1, x2, y2 } = a, cls = strokeOf(a.row), way = arrival(e) - e.t, done = way > 0 ? Math.min(1, Math.max(0, (this.#head - e.t) / way)) : 1;
    const f = landed(e) ? 1 : this.#stops(a), at = Math.min(f, done), x = x1 + (x2 - x1) * at, y = y1 + (y2 - y1) * at;
    if (done >= f && f === 1) return this.#ink.arrow(cls, x1, y1, x2, y2);
    this.#ink.line(cls, x1, y1, x, y);
    if (done < f) return;
    this.#ink.cross(x, y);
    if (e.data.fate === "corrupted") this.#ink.head(cls, x1, y1, x2, y2);
    this.#fate(a, x, y);
  }

  /** How far along its way a packet that does not arrive gets: beyond the text, which is drawn above it. */
  #stops(a: Arrow): number {
    const { x1, x2 } = a, width = Math.abs(x2 - x1);
    if (a.e.data.fate === "corrupted") return (width - 16) / width;
    const text = a.item === undefined ? undefined : this.#layout.parts(a.item)[0], past = x2 > x1 ? (text?.type === "head" ? text.x + text.w + 12 - x1 : 0) : text?.type === "head" ? x1 - text.x + 14 : 0;
    return Math.min(LOST_MOST, Math.max(LOST_AT, past / width));
  }

  /** Says at the cross what became of it. */
  #fate(a: Arrow, x: number, y: number): void {
    const text = FATE_WORDS[a.e.data.fate ?? ""], back = a.x2 < a.x1, lost = a.e.data.fate === "lost";
    if (!text || this.#layout.lanes.length > 2) return;
    // Beyond the cross where that is midway, before it where it is at the end.
    const end = lost === back, label = { x: x + (end ? -10 : 10), y: y + 3.5, end, cls: "bad", text };
    if (!this.#label(label, [0, -8, 9])) this.#label({ ...label, text: text.split(/[: ]/)[0]! }, [0, -8, 9]);
  }

  #link(lost: PacketEvent, again: PacketEvent, from: number, to: number): void {
    const a = this.#arrow(lost), b = this.#arrow(again);
    if (!a || !b || a.y1 > to || b.y2 < from) return;
    const f = this.#stops(a), y1 = a.y1 + (a.y2 - a.y1) * f, y2 = b.y1 + (b.y2 - b.y1) * f;
    this.#ink.link(a.x1 + (a.x2 - a.x1) * f, y1 + 6, y2);
  }
}
