// The rows of the ladder: one for each thing that happened, windowed, with its
// arrows; in a lab also on a scale of time. Fetched with the first session.

import { css, html, nothing, svg, type ReactiveController, type TemplateResult } from "lit";
import { Ink, LEAVES, loop, strokeOf, TimeArrows } from "./arrows.ts";
import { box } from "./box.ts";
import { keywordEntry, look } from "./book.ts";
import { columnsFor, lanes, type Columns } from "./columns.ts";
import { findingsOf, SEVERITY_GLYPH, SEVERITY_WORD } from "./findings.ts";
import * as format from "./format.ts";
import { provenance, severity } from "./icons.ts";
import { FACT_NAME, Layout, wrapProse, type Bar, type Item, type Measure, type Part } from "./layout.ts";
import { plannedArrow, plannedRow, textAt, type Planned } from "./outline.ts";
import type { Round } from "./rounds.ts";
import { arrival, landed, type Row } from "./rows.ts";
import type { ScopeLadder } from "./scope-ladder.ts";
import { countBefore } from "./search.ts";
import { DOTS } from "./steps.ts";
import type { EventOfKind, Source } from "./trace.ts";
import { atEnd, now, placeOf, type Scale, type View } from "./view.ts";
import { LAYER_NAME, masked, visible, waitWords } from "./words.ts";

/** How far beyond what is seen rows are kept ready, in pixels. */
const MARGIN = 160;
/** Where the playhead is kept, of the height of the ladder. */
const AHEAD = 0.8;
/** Width of what is said beside a wait, and the least room that it and its title need. */
const ASIDE = 340, ASIDE_LEAST = 52, TITLE_LEAST = 22;
/** A font of 11 px beside the one of 12 px that is measured. */
const SMALLER = 11 / 12;

/** Draws a ladder for its element. */
export class LadderRows implements ReactiveController {
  #layout: Layout | undefined;
  #measure: Measure | undefined;
  #columns: Columns = columnsFor(800);
  #top = 0; // of what is drawn
  #scrollTop = 0; // of the document
  #follow = true; // the end was in sight, and stays in sight
  #grew = false;
  #before: View | undefined; // what was drawn last
  #size: ScopeLadder["size"] | undefined;
  #shown = ""; // the selection that was drawn last
  #seen = false; // it was in sight until the ladder got another size

  constructor(readonly host: ScopeLadder) {
    host.addController(this);
  }

  get view(): View {
    return this.host.view;
  }

  get selected(): string {
    return this.host.selected;
  }

  get #scroller(): HTMLElement | null {
    return this.host.renderRoot.querySelector<HTMLElement>(".scroll");
  }

  /** Time is a scale only where packets have times, and where there is room. */
  get #scale(): Scale {
    const { view: v } = this;
    return v.scale === "time" && v.lab && !columnsFor(this.host.size.width).compact ? "time" : "rows";
  }

  #measureText(): Measure {
    const style = getComputedStyle(this.host), canvas = document.createElement("canvas").getContext("2d")!;
    const size = (token: string) => style.getPropertyValue(token).trim();
    canvas.font = `700 ${size("--tw")} ${size("--wire")}`;
    const wire = canvas.measureText("M".repeat(64)).width / 64;
    const prose = document.createElement("canvas").getContext("2d")!;
    prose.font = `${size("--t2")} ${size("--prose")}`;
    return { wire, prose: (s) => prose.measureText(s).width };
  }

  /** Before each drawing: what changed since the last one. */
  hostUpdate(): void {
    const before = this.#before, { view: v, open, revealed, size } = this.host, scale = this.#scale, old = this.#layout;
    if (before !== v) {
      if (before?.trace !== v.trace) this.#follow = true;
      this.#grew ||= !!v.trace && (before?.upto !== v.upto || before?.pending !== v.pending || (scale === "time" && before?.time !== v.time));
    }
    if (this.#size !== size) {
      this.#grew ||= !!v.pending;
      this.#seen = this.#sees(this.#size?.height ?? 0);
    }
    this.#before = v;
    this.#size = size;
    this.#measure ??= this.#measureText();
    this.#columns = columnsFor(size.width, lanes(v.trace, columnsFor(size.width)).length, scale);
    if (!old || old.open !== open || old.revealed !== revealed || old.rows !== v.rows || old.columns.width !== this.#columns.width || !!old.time !== (scale === "time") || old.packets !== v.packets) {
      this.#layout = new Layout(v.rows, this.#columns, this.#measure, open, revealed, scale, v.packets);
    }
    this.#layout!.update();
    // The window is put where the scroll position will be, so that one rendering is enough.
    if (this.#grew && this.#follow && this.host.following) this.#top = this.#followed();
  }

  /** The height at which things are now: below the last row, or on the time scale where its time is. */
  #nowAt(): number {
    const { time } = this.#layout!;
    return time && this.view.trace ? Math.max(this.#plannedAt() - (this.view.pending ? 0 : this.#columns.row), time.playhead(now(this.view))) : this.#layout!.height;
  }

  /** The time up to which arrows are drawn. */
  #playhead(): number {
    const v = this.view;
    return v.playing || v.pending || !atEnd(v) ? now(v) : Infinity;
  }

  /** Where rows stand that have not happened. */
  #plannedAt(): number {
    const layout = this.#layout!;
    return layout.time && this.view.trace ? Math.max(layout.y.at(-1)!, this.view.pending ? layout.time.playhead(now(this.view)) : 0) : layout.height;
  }

  #extent(planned: number): number {
    const layout = this.#layout!;
    return Math.max(layout.height, this.#plannedAt() + planned * this.#columns.row, layout.time && !atEnd(this.view) ? this.#nowAt() + 24 : 0) + 12;
  }

  /** The scroll position that shows what happens now. */
  #followed(): number {
    const end = Math.max(0, this.#extent(this.#planned().length) - this.host.size.height);
    return this.#layout!.time && !atEnd(this.view) ? Math.min(end, Math.max(0, Math.round(this.#nowAt() - this.host.size.height * AHEAD))) : end;
  }

  hostUpdated(): void {
    const s = this.#scroller, chosen = this.#shown !== this.selected || this.#seen;
    this.#shown = this.selected;
    this.#seen = false;
    if (!s) return;
    if (chosen && this.selected && !(this.host.following && this.#follow)) this.#reveal(this.selected);
    else if (this.#grew && this.#follow) {
      const top = this.#followed();
      if (top !== this.#scrollTop) s.scrollTop = top; // which costs a layout of the page
      this.#scrollTop = this.#top = top;
    }
    this.#grew = false;
  }

  /** Whether some of the selected row can be seen in a ladder of some height. */
  #sees(height: number): boolean {
    const layout = this.#layout, i = layout?.itemAt(this.selected);
    return i !== undefined && layout!.y[i]! < this.#scrollTop + height && layout!.y[i]! + layout!.room(i) > this.#scrollTop;
  }

  /** Scrolls so that a place can be seen. */
  #reveal(key: string): void {
    const layout = this.#layout!, s = this.#scroller, i = layout.itemAt(key);
    if (!s || i === undefined) return;
    const part = layout.parts(i).find((p) => p.key === key) ?? layout.parts(i)[0]!;
    const top = layout.y[i]! + part.y;
    if (top < s.scrollTop + 8) s.scrollTop = top - 8;
    else if (top + part.h > s.scrollTop + s.clientHeight - 8) s.scrollTop = top + part.h - s.clientHeight + 8;
    this.#scrolled();
  }

  #scrolled(): void {
    const s = this.#scroller!;
    this.#scrollTop = s.scrollTop;
    if (s.scrollTop === this.#top) return;
    this.#top = s.scrollTop;
    const at = this.#layout!.time && !atEnd(this.view) ? this.#nowAt() : s.scrollHeight - 24;
    this.#follow = s.scrollTop + s.clientHeight >= at && s.scrollTop <= at;
    this.host.requestUpdate();
  }

  #emit(type: "scope-pick" | "scope-toggle" | "scope-reveal", key: string): void {
    this.host.dispatchEvent(new CustomEvent(type, { detail: key, bubbles: true }));
  }

  #clicked(e: MouseEvent): void {
    const at = (e.target as Element).closest<HTMLElement>("[data-key]");
    if (!at) return;
    const key = at.dataset["key"]!, target = e.target as Element;
    if (target.closest(".eye")) this.#emit("scope-reveal", key);
    else if (target.closest(".twisty") || (key === this.selected && target.closest(".say"))) this.#emit("scope-toggle", key);
    if (key !== this.selected) this.#emit("scope-pick", key);
  }

  #keyed(e: KeyboardEvent): void {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const page = Math.max(1, Math.floor(this.host.size.height / this.#columns.row) - 2);
    const moves: Record<string, () => void> = {
      ArrowDown: () => this.#move(1), ArrowUp: () => this.#move(-1),
      PageDown: () => this.#move(page), PageUp: () => this.#move(-page),
      Home: () => this.#move(-Infinity), End: () => this.#move(Infinity),
      ArrowRight: () => this.#deeper(), ArrowLeft: () => this.#shallower(),
      Enter: () => this.selected && this.#emit("scope-toggle", this.selected),
      " ": () => this.selected && this.#emit("scope-toggle", this.selected),
    };
    const move = moves[e.key];
    if (!move) return;
    e.preventDefault();
    e.stopPropagation();
    move();
  }

  #move(by: number): void {
    const layout = this.#layout!, { items } = layout;
    if (items.length === 0) return;
    const step = Math.sign(by);
    let at = layout.itemAt(this.selected) ?? (by > 0 ? -1 : items.length), key = this.selected;
    let here = at >= 0 && at < items.length ? layout.places(at) : [], i = here.findIndex((p) => p.key === key);
    for (let left = Math.abs(by); left > 0; left--) {
      i += step;
      while (i < 0 || i >= here.length) {
        at += step;
        if (at < 0 || at >= items.length) return key !== this.selected ? this.#emit("scope-pick", key) : undefined;
        here = layout.places(at);
        i = step > 0 ? 0 : here.length - 1;
      }
      key = here[i]!.key;
    }
    this.#emit("scope-pick", key);
  }

  #part(): Part | undefined {
    const i = this.#layout!.itemAt(this.selected);
    return i === undefined ? undefined : this.#layout!.parts(i).find((p) => p.key === this.selected);
  }

  #deeper(): void {
    const p = this.#part();
    if (p?.open === false) this.#emit("scope-toggle", this.selected);
    else if (p?.open) this.#move(1);
  }

  #shallower(): void {
    const p = this.#part(), place = placeOf(this.selected);
    if (p?.open) this.#emit("scope-toggle", this.selected);
    else if (p && p.level > 1) this.#emit("scope-pick", `r${place!.row}`);
  }

  // ---- drawing

  render(): TemplateResult {
    const layout = this.#layout!, c = this.#columns, planned = this.#planned(), end = this.#plannedAt(), height = this.#extent(planned.length);
    const from = Math.max(0, this.#top - MARGIN), to = this.#top + this.host.size.height + MARGIN;
    const { items, y } = layout, shown: number[] = [];
    for (let i = items.length ? layout.at(from) : 0; i < items.length && y[i]! < to; i++) shown.push(i);
    const kept = layout.itemAt(this.selected);
    if (kept !== undefined && !shown.includes(kept)) shown.push(kept); // a selected row stays in the document
    return html`
      <div class="scroll ${c.compact ? "compact" : ""} ${layout.time ? "time" : ""} ${layout.lanes.length > 2 ? "many" : ""}" role="treegrid" aria-label="ladder" tabindex="0" aria-activedescendant=${kept === undefined ? nothing : this.selected}
        @scroll=${() => this.#scrolled()} @click=${(e: MouseEvent) => this.#clicked(e)} @keydown=${(e: KeyboardEvent) => this.#keyed(e)}>
        <div class="sizer" role="presentation" ${box({ height })}>
          ${this.#drawing(shown, planned, from, Math.min(to, height))}
          ${shown.flatMap((i) => this.#item(i))}
          ${layout.time ? this.#asides(from, to) : nothing}
          ${planned.map((p, i) => plannedRow(p, end + i * c.row, c))}
          ${this.#nowWord()}
        </div>
      </div>`;
  }

  /** What waits to be sent. */
  #planned(): Planned[] {
    const v = this.view, p = atEnd(v) ? v.pending : undefined;
    if (!p) return [];
    const hidden = p.kind !== "message" && p.secret.length > 0;
    const text = p.kind === "message" ? `message text, ${format.bytes(p.size)}` : visible(hidden ? masked(p.text, p.secret) : p.text);
    const n = (v.rows.list.findLast((r) => r.n > 0)?.n ?? 0) + 1;
    return [{ dir: "out", layer: "SMTP", text: p.kind === "response" && !hidden ? DOTS : text, note: "next; Step sends it", n, round: 0 }];
  }

  /** Not keyed: a row that scrolls out lends its elements to one that scrolls in, which is much cheaper than new ones. */
  #item(i: number): TemplateResult[] {
    const layout = this.#layout!, top = layout.y[i]!;
    return layout.parts(i).map((p) => this.#partRow(layout.items[i]!, p, top + p.y));
  }

  #partRow(item: Item, p: Part, y: number): TemplateResult {
    const { row } = item;
    switch (p.type) {
      case "head": return this.#head(item, p, y);
      case "prose": return this.#prose(row, p, y);
      case "pause": return p.h === 0 ? html`` : html`<div class="part pause" role="row" ${box({ top: y, height: p.h })}><span role="gridcell">${p.text}</span></div>`;
      case "record":
      case "packet":
      case "handshake":
      case "certificate": return this.#under(p, y);
      default: return html`<div class="part ${p.type}" role="row" aria-level=${p.level} ${box({ top: y, height: p.h })}><div role="gridcell" class="in-lanes" ${box(this.#inLanes())}>${this.#detail(p)}</div></div>`;
    }
  }

  #inLanes() {
    const c = this.#columns;
    return { left: c.out + (c.compact ? 6 : 12), right: c.width - c.b + (c.compact ? 8 : 14) };
  }

  #gutter(n: number, t: number, tag: string): TemplateResult {
    const c = this.#columns;
    return html`${c.compact ? nothing : html`<span class="n" role="gridcell">${n || nothing}</span>`}
      <span class="t" role="gridcell" ${box({ width: c.t })}>${timeText(t)}</span>
      ${c.compact ? nothing : html`<span class="tag" role="gridcell" ${box({ left: c.tag })}>${tag}</span>`}`;
  }

  #provenance(src: Source): TemplateResult {
    return html`<span class="prov-cell" role="gridcell" ${box({ left: this.#columns.prov - 5 })}>${provenance(src)}</span>`;
  }

  #head({ row, packet }: Item, p: Extract<Part, { type: "head" }>, y: number): TemplateResult {
    const c = this.#columns, e = packet ?? this.view.rows.event(row), sel = p.key === this.selected;
    const refused = !packet && row.kind === "reply" && (e as EventOfKind<"smtp", "reply">).data.code >= 400;
    const right = c.compact && row.dir === "in" && this.#layout!.lanes.length === 2, place = right ? { right: c.width - c.b + 6 } : { left: p.x };
    const { words } = p, secret = !packet && !!e.secret?.length && row.kind !== "reply", leaf = row.kind === "closed";
    const is = packet ? `${packet.layer} quiet` : `${row.layer} ${row.dir ?? ""} ${row.kind}`, full = p.lines.length === 1 && p.lines[0] !== words.main;
    return html`
      <div class="part row ${is} ${sel ? "sel" : ""}" role="row" id=${p.key} data-key=${p.key}
        aria-level="1" aria-selected=${sel} aria-expanded=${leaf ? nothing : !!p.open} ${box({ top: y, height: p.h })}>
        ${this.#gutter(packet ? 0 : row.n, packet?.t ?? row.t, LAYER_NAME[packet?.layer ?? row.layer])}
        <span class="say" role="gridcell" title=${full ? words.main : nothing} ${box({ ...place, ...(this.#layout!.time && { maxWidth: c.b - p.x - 6 }) })}>${leaf ? nothing : html`<i class="twisty" aria-hidden="true"></i>`}${refused || (row.ok === false && row.kind !== "connect") ? html`${severity("error")}` : nothing}${
          p.lines.map((l, i) => html`<span class="l">${l}${i === p.lines.length - 1 ? this.#tail(words, secret, row) : nothing}</span>`)}${words.fate ? html`<span class="vh">, ${words.fate}</span>` : nothing}</span>
        ${packet ? nothing : this.#found(row)}${this.#provenance(e.src)}
      </div>`;
  }

  /** The gravest of what rests on this row. */
  #found(row: Row): TemplateResult | typeof nothing {
    const [first, ...more] = findingsOf(this.view.all, row), c = this.#columns;
    if (!first) return nothing;
    const words = [first, ...more].map((f) => `${SEVERITY_WORD[f.severity]}: ${look(`finding.${f.id}`)?.title ?? f.id}`).join("; ");
    return html`<span class="found" role="gridcell" title=${words} ${box({ left: c.compact ? c.prov - 5 : c.tag + 32 })}>${severity(SEVERITY_GLYPH[first.severity])}<span class="vh">${words}</span></span>`;
  }

  #tail(words: { par?: string; note?: string }, secret: boolean, row: Row): TemplateResult {
    return html`${words.par ? html` <span class="par">${words.par}</span>` : nothing}${words.note ? html` <small>${words.note}</small>` : nothing}${
      secret ? html` <button class="eye link" tabindex="-1">${this.host.revealed.has(row.e) ? "hide" : "show"}</button>` : nothing}`;
  }

  #prose(row: Row, p: Extract<Part, { type: "prose" }>, y: number): TemplateResult {
    const c = this.#columns, sel = p.key === this.selected;
    return html`
      <div class="part row app ${row.kind} ${sel ? "sel" : ""}" role="row" id=${p.key} data-key=${p.key} aria-level="1" aria-selected=${sel} ${box({ top: y, height: p.h })}>
        ${this.#gutter(row.n, row.t, LAYER_NAME[row.layer])}
        <span class="say prose" role="gridcell" ${box({ left: c.out, right: c.width - c.b + 10 })}>${severity(row.kind === "note" ? "advice" : "error")}<span>${p.lines.join(" ")}</span></span>
        ${this.#found(row)}${this.#provenance(this.view.rows.event(row).src)}
      </div>`;
  }

  #under(p: Extract<Part, { type: "record" | "certificate" | "packet" | "handshake" }>, y: number): TemplateResult {
    const c = this.#columns, sel = p.key === this.selected, left = c.out + (c.compact ? 2 : 14) * (p.type === "handshake" ? p.level : p.level - 1), leaf = !p.place;
    const who = (p.type === "record" && p.arrow) || p.type === "handshake" ? (p.dir === "out" ? "client: " : "server: ") : "";
    const src = p.type === "packet" ? p.src : p.type === "handshake" ? "derived" : "observed";
    return html`
      <div class="part row under ${p.type === "packet" ? p.layer : "tls"} ${sel ? "sel" : ""}" role="row" id=${leaf ? nothing : p.key} data-key=${leaf ? nothing : p.key}
        aria-level=${p.level} aria-selected=${leaf ? nothing : sel} aria-expanded=${leaf ? nothing : !!p.open} ${box({ top: y, height: p.h })}>
        <span class="say" role="gridcell" ${box({ left })}>${leaf ? html`<i class="leaf"></i>` : html`<i class="twisty" aria-hidden="true"></i>`}<b>${who}${p.text}</b> <span class="par">${p.par}</span></span>
        <span class="prov-cell" role="gridcell" ${box({ left: c.prov - 5 })}>${provenance(src)}</span>
      </div>`;
  }

  #detail(p: Part): TemplateResult {
    switch (p.type) {
      case "keywords":
        return html`<ul class="kw" ${box({ height: p.rows * 16 + 2 })}>${p.items.map((k) => html`
          <li class=${k.change}><span class="k">${k.text}</span>${k.remark ? html`<em>${k.remark}</em>` : nothing}<small>${k.change === "gone" ? "" : (keywordEntry(k.rfc)?.section.replace(/,.*/, "") ?? "")}</small></li>`)}</ul>`;
      case "lines":
        return html`<pre class=${p.tone}>${p.lines.join("\n")}</pre>`;
      case "facts":
        return html`<dl class=${p.tone}>${p.facts.map(([name, value]) => html`<div><dt ${box({ width: FACT_NAME })}>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
      case "hex":
        return html`<pre class="hex">${p.lines.map((l) => html`<span class="l">${l.gap
          ? html`<i>… ${format.bytes(l.gap)} were not kept …</i>`
          : html`<i>${format.hex(l.off, 4)}</i>  ${l.hex.padEnd(p.per * 3 - 1)}   ${l.ascii}`}</span>`)}${p.rest ? html`<span class="l"><i>${p.rest}</i></span>` : nothing}</pre>`;
      default:
        return html``;
    }
  }

  #nowWord(): TemplateResult | typeof nothing {
    const v = this.view, word = v.playing ? "" : !atEnd(v) ? "cursor at" : v.state === "paused" ? "paused at" : "";
    if (!word && !v.playing) return nothing;
    const { time } = this.#layout!, { compact } = this.#columns, mute = compact ? "vh" : ""; // on a phone the column of times is free below the line
    return html`<p class="nowword" ${box({ top: this.#nowAt() + (time ? LEAVES : 0), ...(compact ? { left: 0 } : { right: 0 }) })}><span class=${mute}>${word} </span>${format.ms(now(v))}<span class=${mute}> ms</span></p>`;
  }

  /** What the waits between rows are for, and what of time is cut out. */
  #asides(from: number, to: number): TemplateResult[] {
    const layout = this.#layout!, c = this.#columns, { rows } = layout, time = layout.time!, out: TemplateResult[] = [];
    const told = new Set<number>();
    for (let i = layout.items.length ? layout.at(from) : 0; i < layout.items.length && layout.y[i]! < to + 2 * MARGIN; i++) {
      const { row, packet } = layout.items[i]!, wait = packet || i === 0 ? undefined : rows.waitOf(row);
      const top = i && layout.y[i - 1]! + layout.room(i - 1), room = layout.y[i]! - top;
      if (!wait || room < TITLE_LEAST) continue;
      const words = waitWords(wait), lane = layout.lane(row.from), right = lane > (c.a + c.b) / 2;
      const lines = room < ASIDE_LEAST ? [] : wrapProse(words.text, ASIDE, (s) => layout.measure.prose(s) * SMALLER), h = (lines.length + 1) * 14;
      const y = top + (room - h) / 2 + 4;
      for (const g of time.gaps) if (g.cut && g.from >= top - 30 && g.to <= layout.y[i]! + 30) told.add(g.from);
      out.push(html`<div class="aside ${right ? "right" : ""}" role="row" ${box({ top: y, height: h })}>
        <p role="gridcell" ${box(right ? { right: c.width - lane + 30 } : { left: lane + 22 })}><b>${words.title}</b>${lines.map((l) => html`<br>${l}`)}</p>
        <span class="prov-cell" role="gridcell" ${box({ left: c.prov - 5 })}>${provenance("derived")}</span></div>`);
    }
    for (const g of time.gaps) {
      if (!g.cut || told.has(g.from) || g.to < from || g.from > to) continue;
      out.push(html`<p class="aside cut" role="row" ${box({ top: (g.from + g.to) / 2 - 8, height: 16 })}><span role="gridcell" ${box({ left: c.a + 22 })}>${format.duration(g.cut[1] - g.cut[0])} in which nothing happens, cut out</span></p>`);
    }
    return out;
  }

  #drawing(shown: number[], planned: Planned[], from: number, to: number): TemplateResult {
    const layout = this.#layout!, c = this.#columns, v = this.view, { time, items } = layout, end = this.#plannedAt(), total = Math.max(time ? this.#extent(planned.length) - 12 : 0, end + planned.length * c.row);
    const ink = new Ink(), bars: TemplateResult[] = [], still: TemplateResult[] = [], gaps: [number, number][] = [], braces: string[] = [];
    for (const i of shown) {
      const y = layout.y[i]!, parts = layout.parts(i), h = parts[0]!, bottom = y + layout.room(i);
      if (h.type === "head") this.#arrow(items[i]!, y, h.h, ink);
      if (parts.length > 1) {
        if (!time) gaps.push([y + h.h, bottom]);
        still.push(this.#break((y + h.h + bottom) / 2));
      }
      if (c.b - c.a > 480) for (const p of parts) if ((p.type === "record" || p.type === "packet") && p.bar) bars.push(...bar(c.b - 16, y + p.y + p.h / 2, p.bar));
    }
    if (time && v.trace) {
      new TimeArrows(layout, ink, this.#playhead()).draw(from, to);
      for (const g of time.gaps) {
        gaps.push([g.from, g.to]);
        if (g.cut && g.to > from && g.from < to) still.push(this.#break((g.from + g.to) / 2), ...layout.lanes.map((l) => cutMark(l.x, (g.from + g.to) / 2)));
      }
      for (let i = layout.items.length ? layout.at(from) : 0; i < items.length && layout.y[i]! < to + 2 * MARGIN; i++) {
        const wait = i && !items[i]!.packet ? layout.rows.waitOf(items[i]!.row) : undefined, y2 = layout.y[i]!;
        if (!wait || y2 - layout.y[i - 1]! - layout.room(i - 1) < TITLE_LEAST) continue;
        const x = layout.lane(items[i]!.row.from), side = x > (c.a + c.b) / 2 ? -1 : 1, y1 = Math.max(time.y(wait.before) + 16, layout.y[i - 1]! + layout.room(i - 1));
        braces.push(`M${x + 16 * side} ${y1}h${-5 * side}V${y2 - 1}h${5 * side}`);
      }
    }
    const pieces = segments(4, Math.max(total, 8), gaps), top = Math.floor(from), inside = this.#sealedAt(), height = Math.max(1, Math.ceil(to) - top);
    const lost = !v.lab && v.rows.list.slice(-3).some((r) => r.kind === "closed");
    const lane = (x: number) => svg`
      ${pieces.map(([a, b, dotted]) => (b < from || a > to ? nothing : svg`<path class="lane ${dotted ? "stop" : v.trace ? "" : "todo"}" d="M${x} ${Math.max(a, from)}V${Math.min(b, to)}"/>`))}
      ${lost && total < to ? svg`<path class="lane" d="M${x - 6} ${total}h12"/>` : nothing}`;
    const tls = [layout.lane("client") + 3, (v.rows.sealed ? layout.lane("server") : c.b) - 3].map((x) => `M${x} ${Math.max(inside, from)}V${Math.min(total, to)}`).join("");
    return html`<svg class="art" aria-hidden="true" width=${c.width} height=${height} viewBox="0 ${top} ${c.width} ${height}" ${box({ top })}>
      ${this.#pick()}${this.#bands(from, to)}${still}
      ${layout.lanes.map((l) => lane(l.x))}
      ${inside < Math.min(total, to) ? svg`<path class="sealed" d=${tls}/>` : nothing}
      <path class="brace" d=${braces.join("")}/>
      ${v.trace && (v.pending || !atEnd(v)) ? svg`<path class="now" d="M0 ${this.#nowAt() + (time ? LEAVES : 0)}H${c.width}"/>` : nothing}
      ${ink.drawn()}${planned.map((p, i) => this.#plannedArrow(p, end + i * c.row))}${bars}</svg>`;
  }

  /** The height from which on both sides speak inside TLS. */
  #sealedAt(): number {
    const layout = this.#layout!, { sealed } = layout.rows;
    if (!sealed) return Infinity;
    if (layout.time) return layout.time.y(layout.rows.event(sealed).t) + LEAVES;
    const i = layout.itemOf(sealed.i)!;
    return layout.y[i]! + layout.room(i);
  }

  #break(y: number): TemplateResult {
    const x = this.#columns.rt[0] + 4;
    return svg`<path class="still" d="M${x} ${y}l12 -5M${x} ${y + 4}l12 -5"/>`;
  }

  #arrowAt(h: number): number {
    return this.#columns.under ? h - 8 : 10;
  }

  #arrow({ row, packet }: Item, y: number, h: number, ink: Ink): void {
    const layout = this.#layout!, { rows, time } = layout, of = packet ?? row, way = layout.way(of.from, of.to, of.dir), at = y + this.#arrowAt(h);
    if (row.kind === "dns" && !packet) return loop(ink, layout.lane(row.from), y + LEAVES);
    if (row.kind === "mail" && !packet) return ink.mark(layout.lane(row.from), y + (this.#columns.under ? 12 : 10));
    if (!way || row.kind === "closed") return;
    const [x1, x2] = way;
    if (time && this.view.trace) {
      const first = rows.packetsOf(row)[0];
      // What shares its packet with an earlier row goes with that.
      if (!packet && first && rows.rowOf(first.n) !== row && landed(first) && arrival(first) <= this.#playhead()) ink.arrow(strokeOf(row), x1, y + LEAVES, x2, Math.max(y + LEAVES, time.y(arrival(first)) + LEAVES));
      return;
    }
    if (!packet && (row.kind === "connect" || row.kind === "handshake")) return this.#double(row, x1, x2, at, ink);
    const cls = strokeOf(packet ? rows.rowOf(packet.n) : row), fate = packet?.data.fate ?? row.fate;
    if (!packet && row.packets.length > 1 && row.layer === "smtp") {
      ink.arrow(cls, x1, at - 1.5, x2, at - 1.5);
      ink.arrow(cls, x1, at + 1.5, x2, at + 1.5);
      return;
    }
    const x = fate === "lost" ? x1 + (x2 - x1) * 0.8 : x2;
    ink.line(cls, x1, at, x, at);
    if (fate === "lost") return ink.cross(x, at);
    ink.head(cls, x1, at, x2, at);
    if (fate === "corrupted") ink.cross(x2 - Math.sign(x2 - x1) * 16, at);
  }

  /** A double arrow stands for several packets; it stops at a cross where it did not come about. */
  #double(row: Row, x1: number, x2: number, y: number, ink: Ink): void {
    const cls = row.kind === "connect" ? "tcp" : "tls", over = !!this.view.trace?.result && atEnd(this.view), broken = x2 - 70;
    if (row.ok === undefined) {
      ink.line(over ? cls : `${cls} open`, x1, y, over ? broken : x2, y);
      if (over) ink.cross(broken, y);
      else ink.head("todo", x1, y, x2, y);
      return;
    }
    ink.arrow(cls, x1, y - 1.5, x2, y - 1.5);
    if (row.ok) return ink.arrow(cls, x2, y + 1.5, x1, y + 1.5);
    ink.line(cls, broken, y + 1.5, x2, y + 1.5);
    ink.cross(broken, y + 1.5);
  }

  #plannedArrow(p: Planned, top: number): TemplateResult {
    const layout = this.#layout!, { time, lanes: all } = layout, y1 = top + (time ? LEAVES : this.#arrowAt(this.#columns.row));
    return plannedArrow(p, layout.lane("client"), all.find((l) => l.id === "server")?.x ?? this.#columns.b, y1, y1 + (time ? this.#columns.row : 0));
  }

  #pick(): TemplateResult | typeof nothing {
    const layout = this.#layout!, c = this.#columns, i = layout.itemAt(this.selected);
    if (i === undefined) return nothing;
    const parts = layout.parts(i), p = parts.find((x) => x.key === this.selected) ?? parts[0]!, y = layout.y[i]!;
    return svg`<rect class="pick" x="0" y=${y + p.y} width=${c.width} height=${p.h}/><rect class="edge" x="0" y=${y} width="3" height=${layout.room(i)}/>`;
  }

  /** From where to where a round trip goes: on the time scale as long as it lasted. */
  #bandOf(r: Round, next: Round | undefined): [number, number] {
    const layout = this.#layout!, { y, time } = layout, first = layout.itemOf(r.first)!, last = layout.itemOf(r.last)!;
    if (!time) return [y[first]!, y[last]! + layout.room(last)];
    const from = Math.max(time.y(r.from), layout.rows.list[r.first]!.t <= r.from ? y[first]! : 0);
    if (r.to === undefined) return [from, Math.max(y[last]! + this.#columns.row, this.#nowAt())];
    return [from, next?.from === r.to ? this.#bandOf(next, undefined)[0] : time.y(r.to)];
  }

  #bands(from: number, to: number): TemplateResult[] {
    const layout = this.#layout!, c = this.#columns, out: TemplateResult[] = [], [x, x2] = c.rt, lead = layout.time ? LEAVES : 0;
    const rounds = this.view.rows.rounds.list;
    for (let i = countBefore(rounds.length, (j) => this.#bandOf(rounds[j]!, rounds[j + 1])[1] < from); i < rounds.length; i++) {
      const r: Round = rounds[i]!, [y, y2] = this.#bandOf(r, rounds[i + 1]);
      if (y > to) break;
      const name = r.count === 1 ? (r.n < 1000 ? String(r.n) : "") : r.n < 9 ? `${r.n}–${r.n + r.count - 1}` : `${r.n}+`;
      out.push(svg`<rect class="rt ${r.n % 2 ? "odd" : ""}" x=${x} y=${y + lead} width=${x2 - x} height=${Math.max(0, y2 - y)}/>`);
      const close = !layout.time && r.last === r.first + 1 && !this.host.open.has(`r${r.first}`);
      const middle = close ? (y + layout.y[layout.itemOf(r.last)!]!) / 2 + textAt(c) : layout.time ? y + lead + Math.min((y2 - y) / 2, c.row) + 4 : y + textAt(c);
      out.push(svg`<text class="rt-n ${r.to === undefined ? "todo" : ""}" x=${(x + x2) / 2} y=${middle}>${name}</text>`);
    }
    return out;
  }
}

/** Milliseconds as long as there is room for their fraction, then seconds. */
function timeText(t: number): string {
  if (t >= 1e13) return `${Math.round(t / 1e9)} s`;
  return t >= 1e10 ? String(Math.round(t / 1e6)) : format.ms(t);
}

/** Where time is cut, a lane is too. */
function cutMark(x: number, y: number): TemplateResult {
  return svg`<path class="cut-gap" d="M${x - 7} ${y + 4}l14 -6"/><path class="still" d="M${x - 6} ${y}l12 -5M${x - 6} ${y + 6}l12 -5"/>`;
}

/** Cuts a lane into pieces: dotted where an opened row takes room but no time. */
function segments(from: number, to: number, gaps: readonly [number, number][]): [number, number, boolean][] {
  const out: [number, number, boolean][] = [];
  let at = from;
  for (const [a, b] of [...gaps].sort((x, y) => x[0] - y[0])) {
    if (a > at) out.push([at, a, false]);
    out.push([a, b, true]);
    at = b;
  }
  if (at < to) out.push([at, to, false]);
  return out;
}

/** Octets to scale, 2 px each, that end at one place. A long part is cut. */
function bar(right: number, y: number, parts: Bar): TemplateResult[] {
  let x = right;
  return parts.toReversed().map((p) => {
    x -= p.w;
    const left = x;
    x -= p.of === "rest" ? 0 : 2;
    return svg`${p.of === "rest" ? svg`<rect class="b-rest" x=${left + .5} y=${y - 3.5} width=${Math.max(0, p.w - 1)} height="7"/>` : svg`<rect class="b-${p.of}" x=${left} y=${y - 4} width=${p.w} height="8"/>`}
      ${p.cut ? svg`<path class="b-cut" d="M${left + p.w / 2 - 5} ${y + 6}l6 -12m4 0l-6 12"/>` : nothing}`;
  });
}

export const rowStyles = css`
  .t { left: 0; text-align: right; }
  .say .l { display: block; }
  .say .l:first-of-type { display: inline; }
  .say .l + .l { padding-left: 14px; }
  .twisty { display: inline-block; width: 14px; height: 15px; vertical-align: top; position: relative; cursor: pointer; }
  .twisty::before { content: ""; position: absolute; left: 4px; top: 4px; border: 3.5px solid transparent; border-right-width: 0; border-left: 5px solid var(--soft); }
  [aria-expanded="true"] > .say > .twisty::before { left: 3px; top: 5px; border: 3.5px solid transparent; border-bottom-width: 0; border-top: 5px solid var(--ink); }
  .twisty::after { content: ""; position: absolute; inset: -4px -2px; }
  .smtp .say { font-weight: 700; } .smtp.out .say { color: var(--out); } .smtp.in .say { color: var(--in); }
  .smtp.closed .say { color: var(--soft); font-weight: 400; padding-left: 14px; }
  .tunnel .say { font-size: var(--t1); color: var(--tcp); } .tunnel .tag { color: var(--tcp); }
  .tls .say { color: var(--tls); font-weight: 700; } .tls .tag { color: var(--tls); }
  .tcp .say, .dns .say, .udp .say, .ip .say { font-size: var(--t1); } .tcp .say, .tcp .tag { color: var(--tcp); } .dns .say, .dns .tag { color: var(--dns); } .tcp.quiet .say { color: var(--soft); }
  .mail .say { font: var(--t2)/15px var(--prose); } .mail .tag { color: var(--soft); }
  .record .say { font-weight: 400; font-size: var(--t1); }
  .par { font-weight: 400; font-size: var(--t1); }
  .say > .glyph { display: inline-block; vertical-align: -1px; margin: 0 5px 0 0; stroke: var(--bad); }
  .app .tag { color: var(--soft); }
  .say.prose { white-space: normal; display: grid; grid-template-columns: 14px 1fr; gap: 4px; font: var(--t2)/16px var(--prose); padding-left: 4px; top: 3px; max-width: none; }
  .say.prose .glyph { margin: 3px 0 0; stroke: var(--ink); }
  .error .say.prose .glyph, .desync .say.prose .glyph { stroke: var(--bad); }
  .prov-cell, .found { width: 10px; top: 5px; } .found .sev-error { stroke: var(--bad); }
  .sel .say { background: var(--mark); }
  .sel .n, .sel .t { color: var(--ink); font-weight: 700; }
  .eye { font: 400 var(--t1)/15px var(--prose); color: var(--soft); padding: 0 2px; position: relative; }
  .eye::after { content: ""; position: absolute; inset: -5px -4px; }
  .under .say { font-size: var(--t1); line-height: 16px; background: none; } .under.tcp .say { color: var(--tcp); } .under.dns .say { color: var(--dns); } .under.ink .say { color: var(--ink); } .leaf { display: inline-block; width: 14px; }
  .aside { position: absolute; left: 0; right: 0; } .aside p, .aside span { position: absolute; top: 0; font: var(--t1)/14px var(--prose); color: var(--soft); white-space: nowrap; } .aside b { color: var(--ink); font-weight: 400; } .aside.right p { text-align: right; } .aside .prov-cell { top: 2px; }
  .pause { font: var(--t1)/18px var(--prose); color: var(--soft); text-align: right; padding-right: 46px; }
  .pause span { background: var(--paper); padding: 0 4px; position: relative; }
  .pause::before { content: ""; position: absolute; left: 110px; right: 44px; top: 9px; border-top: 1px dashed var(--rule-strong); }
  .in-lanes { position: absolute; top: 2px; overflow: hidden; }
  .kw { display: grid; grid-auto-flow: column; grid-template-rows: repeat(auto-fill, 16px); grid-auto-columns: auto; column-gap: 24px; font: var(--t2)/16px var(--wire); color: var(--in); padding: 2px 0 0 6px; }
  .kw li { display: flex; gap: 6px; white-space: pre; min-width: 0; }
  .kw .k { overflow: hidden; text-overflow: ellipsis; }
  .kw small { margin-left: auto; line-height: 16px; }
  .kw .new .k { font-weight: 700; } .kw .gone .k { color: var(--soft); text-decoration: line-through; }
  .kw em { font: 600 var(--t1)/16px var(--prose); color: var(--ink); flex: none; }
  pre { font: var(--t1)/15px var(--wire); white-space: pre; overflow: hidden; padding-left: 6px; }
  pre.out { color: var(--out); } pre.in { color: var(--in); } pre.soft { color: var(--soft); }
  .hex .l { display: block; white-space: pre; } .hex i { font-style: normal; color: var(--soft); }
  .hex { padding-left: 20px; }
  dl { font: var(--t1)/16px var(--prose); padding-left: 20px; }
  dl div { display: flex; white-space: pre; } dt { color: var(--soft); flex: none; } dd { font-family: var(--wire); overflow: hidden; text-overflow: ellipsis; }
  dl.bad dt { color: var(--bad); font-weight: 600; } dl.bad dd { font-family: var(--prose); font-size: var(--t2); }
  .nowword { position: absolute; z-index: 1; font: 600 var(--t1)/15px var(--prose); background: var(--ink); color: var(--paper); padding: 0 5px; white-space: nowrap; }
  .time .say { overflow: hidden; text-overflow: ellipsis; }
  .compact .t { line-height: 16px; top: 5px; }
  .compact .l { overflow: hidden; text-overflow: ellipsis; }
  .compact :is(.tunnel, .tcp, .dns, .udp, .ip) .say, .compact .par { font-size: var(--t1); }
  .compact .under .say { top: 4px; max-width: calc(100% - 100px); overflow: hidden; text-overflow: ellipsis; } .compact .under .prov-cell { top: 7px; }
  .compact .prov-cell { top: 8px; } .compact .found { top: 21px; }
  .compact .say.prose { top: 5px; max-width: none; }
  .compact dl, .compact .hex { padding-left: 4px; }
  .compact .pause::before { left: 62px; }
  .lane.stop { stroke-dasharray: 1.5 3.5; }
  .sealed { stroke: var(--tls); stroke-width: 1.5; }
  .arrow.tcp, .arrow.tls, .arrow.dns, .arrow.ink { stroke-width: 1; } .arrow.dns { stroke: var(--dns); } .arrow.ink { stroke: var(--ink); }
  .arrow.out { stroke: var(--out); } .arrow.in { stroke: var(--in); } .arrow.tcp { stroke: var(--tcp); } .arrow.tls { stroke: var(--tls); }
  .arrow.open { stroke-dasharray: 5 4; }
  .head.out { fill: var(--out); } .head.in { fill: var(--in); } .head.tcp { fill: var(--tcp); } .head.tls { fill: var(--tls); } .head.dns { fill: var(--dns); } .head.ink { fill: var(--ink); }
  .cross { stroke: var(--bad); stroke-width: 2; fill: none; } .link { stroke: var(--bad); stroke-dasharray: 2.5 3; fill: none; } .link-end { stroke: var(--bad); fill: var(--paper); }
  .label { font: var(--t1)/1 var(--prose); paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; fill: var(--soft); } .label.bad { font-weight: 600; fill: var(--bad); } .label.out { fill: var(--out); } .label.in { fill: var(--in); } .label.tls { fill: var(--tls); }
  .brace { stroke: var(--soft); fill: none; } .cut-gap { stroke: var(--paper); stroke-width: 6; } .mark { fill: var(--paper); stroke: var(--ink); stroke-width: 1.5; }
  .rt { fill: var(--band-b); } .rt.odd { fill: var(--band-a); }
  .pick { fill: var(--mark); } .edge { fill: var(--ink); }
  .still { fill: none; stroke: var(--soft); }
  .now { stroke: var(--ink); }
  .b-tls { fill: var(--tls); } .b-out { fill: var(--out); } .b-in { fill: var(--in); } .b-tcp { fill: var(--tcp); } .b-ink { fill: var(--ink); } .b-rest { fill: none; stroke: var(--soft); } .b-cut { stroke: var(--paper); stroke-width: 1.5; }
`;
