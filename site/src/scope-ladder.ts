// The ladder: one row for each thing that happened, windowed, with its arrows.
//
// Properties in; "scope-pick" (a place was chosen), "scope-toggle" (a place was
// opened or closed) and "scope-reveal" (a secret shall be read) out.

import { css, html, LitElement, nothing, svg, type PropertyValues, type TemplateResult } from "lit";
import { box } from "./box.ts";
import { keywordEntry } from "./book.ts";
import * as format from "./format.ts";
import { cross, head, provenance, severity } from "./icons.ts";
import { columnsFor, FACT_NAME, Layout, type Columns, type Measure, type Part } from "./layout.ts";
import type { Round } from "./rounds.ts";
import type { Row } from "./rows.ts";
import { DOTS } from "./steps.ts";
import { shared } from "./tokens.ts";
import type { EventOfKind } from "./trace.ts";
import { atEnd, now, placeOf, type View } from "./view.ts";
import { LAYER_NAME, masked, visible } from "./words.ts";

/** How far beyond what is seen rows are kept ready, in pixels. */
const MARGIN = 160;

/** A row that has not happened. */
interface Planned {
  dir: "out" | "in" | "both";
  layer: "TCP" | "TLS" | "SMTP";
  text: string;
  note: string;
  /** Number of the row, where it is certain. */
  n: number;
  /** Round trip that it would belong to, at its first row. */
  round: number;
}

export class ScopeLadder extends LitElement {
  static override properties = {
    view: { attribute: false },
    selected: { attribute: false },
    open: { attribute: false },
    revealed: { attribute: false },
    following: { attribute: false },
  };
  declare view: View;
  declare selected: string;
  declare open: ReadonlySet<string>;
  declare revealed: ReadonlySet<number>;
  /** The selection was not chosen by the user: it goes along with what happens. */
  declare following: boolean;

  #layout: Layout | undefined;
  #measure: Measure | undefined;
  #columns: Columns = columnsFor(800);
  #top = 0;
  #height = 600;
  #follow = true; // the end was in sight, and stays in sight
  #grew = false;
  #resize = new ResizeObserver((entries) => this.#measured(entries));

  constructor() {
    super();
    this.selected = "";
    this.open = new Set();
    this.revealed = new Set();
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#resize.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#resize.disconnect();
  }

  get #scroller(): HTMLElement | null {
    return this.renderRoot.querySelector<HTMLElement>(".scroll");
  }

  /** Sizes come from the observer: to ask for them would cost a layout of the page. */
  #measured(entries: readonly ResizeObserverEntry[]): void {
    const { width, height } = entries.at(-1)!.contentRect;
    if (columnsFor(Math.max(320, width)).width !== this.#columns.width) this.#layout = undefined;
    this.#columns = columnsFor(Math.max(320, width));
    this.#height = height;
    this.#grew ||= !!this.view?.pending;
    this.requestUpdate();
  }

  #measureText(): Measure {
    const style = getComputedStyle(this), canvas = document.createElement("canvas").getContext("2d")!;
    const size = (token: string) => style.getPropertyValue(token).trim();
    canvas.font = `700 ${size("--tw")} ${size("--wire")}`;
    const wire = canvas.measureText("M".repeat(64)).width / 64;
    const prose = document.createElement("canvas").getContext("2d")!;
    prose.font = `${size("--t2")} ${size("--prose")}`;
    return { wire, prose: (s) => prose.measureText(s).width };
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get("view") as View | undefined;
    if (changed.has("open") || changed.has("revealed") || this.#layout?.rows !== this.view.rows) this.#layout = undefined;
    if (changed.has("view")) {
      if (before?.trace !== this.view.trace) this.#follow = true;
      this.#grew ||= !!this.view.trace && (before?.upto !== this.view.upto || before?.pending !== this.view.pending);
    }
    this.#measure ??= this.#measureText();
    this.#layout ??= new Layout(this.view.rows, this.#columns, this.#measure, this.open, this.revealed);
    this.#layout.update();
    // The window is put where the scroll position will be, so that one rendering is enough.
    if (this.#grew && this.#follow && this.following) this.#top = Math.max(0, this.#extent(this.#planned().length) - this.#height);
  }

  #extent(planned: number): number {
    return this.#layout!.height + planned * this.#columns.row + 12;
  }

  protected override updated(changed: PropertyValues<this>): void {
    const s = this.#scroller;
    if (!s) return;
    if (changed.has("selected") && this.selected && !(this.following && this.#follow)) this.#reveal(this.selected);
    else if (this.#grew && this.#follow) this.#toEnd(s);
    this.#grew = false;
  }

  #toEnd(s: HTMLElement): void {
    s.scrollTop = s.scrollHeight;
    this.#scrolled();
  }

  /** Scrolls so that a place can be seen. */
  #reveal(key: string): void {
    const place = placeOf(key), layout = this.#layout, s = this.#scroller;
    if (!place || !layout || !s || place.row >= this.view.rows.list.length) return;
    const part = layout.parts(place.row).find((p) => p.key === key) ?? layout.parts(place.row)[0]!;
    const top = layout.y[place.row]! + part.y;
    if (top < s.scrollTop + 8) s.scrollTop = top - 8;
    else if (top + part.h > s.scrollTop + s.clientHeight - 8) s.scrollTop = top + part.h - s.clientHeight + 8;
    this.#scrolled();
  }

  #scrolled(): void {
    const s = this.#scroller!;
    if (s.scrollTop === this.#top) return;
    this.#top = s.scrollTop;
    this.#follow = s.scrollTop + s.clientHeight >= s.scrollHeight - 24;
    this.requestUpdate();
  }

  #emit(type: "scope-pick" | "scope-toggle" | "scope-reveal", key: string): void {
    this.dispatchEvent(new CustomEvent(type, { detail: key, bubbles: true }));
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
    const page = Math.max(1, Math.floor(this.#height / this.#columns.row) - 2);
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
    const layout = this.#layout!, rows = this.view.rows.list;
    if (rows.length === 0) return;
    const step = Math.sign(by);
    let at = placeOf(this.selected)?.row ?? (by > 0 ? -1 : rows.length), key = this.selected;
    let here = at >= 0 && at < rows.length ? layout.places(at) : [], i = here.findIndex((p) => p.key === key);
    for (let left = Math.abs(by); left > 0; left--) {
      i += step;
      while (i < 0 || i >= here.length) {
        at += step;
        if (at < 0 || at >= rows.length) return key !== this.selected ? this.#emit("scope-pick", key) : undefined;
        here = layout.places(at);
        i = step > 0 ? 0 : here.length - 1;
      }
      key = here[i]!.key;
    }
    this.#emit("scope-pick", key);
  }

  #part(): Part | undefined {
    const place = placeOf(this.selected);
    if (!place || place.row >= this.view.rows.list.length) return undefined;
    return this.#layout!.parts(place.row).find((p) => p.key === this.selected);
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

  protected override render(): TemplateResult {
    const layout = this.#layout!, c = this.#columns, planned = this.#planned();
    const end = layout.height, height = this.#extent(planned.length);
    const from = Math.max(0, this.#top - MARGIN), to = this.#top + this.#height + MARGIN;
    const rows = this.view.rows.list, shown: number[] = [];
    const first = rows.length ? layout.at(from) : 0;
    for (let i = first; i < rows.length && layout.y[i]! < to; i++) shown.push(i);
    const kept = placeOf(this.selected)?.row;
    if (kept !== undefined && kept < rows.length && !shown.includes(kept)) shown.push(kept); // a selected row stays in the document
    const active = kept !== undefined && kept < rows.length ? this.selected : nothing;
    return html`
      <div class="scroll ${c.compact ? "compact" : ""}" role="treegrid" aria-label="ladder" tabindex="0" aria-activedescendant=${active}
        @scroll=${() => this.#scrolled()} @click=${(e: MouseEvent) => this.#clicked(e)} @keydown=${(e: KeyboardEvent) => this.#keyed(e)}>
        <div class="sizer" role="presentation" ${box({ height })}>
          ${this.#drawing(shown, planned, from, Math.min(to, height))}
          ${shown.flatMap((i) => this.#row(rows[i]!))}
          ${planned.map((p, i) => this.#plannedRow(p, end + i * c.row))}
          ${this.#nowWord(end)}
        </div>
      </div>`;
  }

  #planned(): Planned[] {
    const v = this.view;
    if (v.pending && atEnd(v)) {
      const p = v.pending, hidden = p.kind !== "message" && p.secret.length > 0;
      const text = p.kind === "message" ? `message text, ${format.bytes(p.size)}` : visible(hidden ? masked(p.text, p.secret) : p.text);
      const n = (v.rows.list.findLast((r) => r.n > 0)?.n ?? 0) + 1;
      return [{ dir: "out", layer: "SMTP", text: p.kind === "response" && !hidden ? DOTS : text, note: "next; Step sends it", n, round: 0 }];
    }
    if (v.rows.list.length > 0 || !atEnd(v)) return [];
    return v.steps.flatMap((s, i): Planned[] => {
      const base = { note: "", n: 0, layer: "SMTP" as const, text: s.text };
      const reply: Planned = { ...base, dir: "in", text: `${s.expect}?`, round: 0 };
      if (s.verb === "connect") return [{ ...base, dir: "both", layer: "TCP", text: s.text, round: i + 1 }];
      if (s.verb === "tls") return [{ ...base, dir: "both", layer: "TLS", round: i + 1 }];
      if (s.verb === "greeting") return [{ ...reply, round: i + 1 }];
      return [{ ...base, dir: "out", round: i + 1 }, reply];
    });
  }

  /** Not keyed: a row that scrolls out lends its elements to one that scrolls in, which is much cheaper than new ones. */
  #row(row: Row): TemplateResult[] {
    const layout = this.#layout!, top = layout.y[row.i]!;
    return layout.parts(row.i).map((p) => this.#partRow(row, p, top + p.y));
  }

  #partRow(row: Row, p: Part, y: number): TemplateResult {
    switch (p.type) {
      case "head": return this.#head(row, p, y);
      case "prose": return this.#prose(row, p, y);
      case "pause": return p.h === 0 ? html`` : html`<div class="part pause" role="row" ${box({ top: y, height: p.h })}><span role="gridcell">${p.text}</span></div>`;
      case "record":
      case "certificate": return this.#under(p, y);
      default: return html`<div class="part ${p.type}" role="row" aria-level=${p.level} ${box({ top: y, height: p.h })}><div role="gridcell" class="in-lanes" ${box(this.#inLanes())}>${this.#detail(p)}</div></div>`;
    }
  }

  #inLanes() {
    const c = this.#columns;
    return { left: c.out + (c.compact ? 6 : 12), right: c.width - c.b + (c.compact ? 8 : 14) };
  }

  #gutter(row: Row): TemplateResult {
    const c = this.#columns;
    return html`${c.compact ? nothing : html`<span class="n" role="gridcell">${row.n}</span>`}
      <span class="t" role="gridcell" ${box({ width: c.t })}>${c.compact && row.t >= 1e10 ? Math.round(row.t / 1e6) : format.ms(row.t)}</span>
      ${c.compact ? nothing : html`<span class="tag" role="gridcell" ${box({ left: c.tag })}>${LAYER_NAME[row.layer]}</span>`}`;
  }

  #provenance(row: Row): TemplateResult {
    return html`<span class="prov-cell" role="gridcell" ${box({ left: this.#columns.prov - 5 })}>${provenance(this.view.rows.event(row).src)}</span>`;
  }

  #head(row: Row, p: Extract<Part, { type: "head" }>, y: number): TemplateResult {
    const c = this.#columns, e = this.view.rows.event(row), sel = p.key === this.selected;
    const refused = row.kind === "reply" && (e as EventOfKind<"smtp", "reply">).data.code >= 400;
    const place = c.compact && row.dir === "in" ? { right: c.width - c.b + 6 } : { left: p.x };
    const { words } = p, secret = !!e.secret?.length && row.kind !== "reply", leaf = row.kind === "closed";
    return html`
      <div class="part row ${row.layer} ${row.dir ?? ""} ${row.kind} ${sel ? "sel" : ""}" role="row" id=${p.key} data-key=${p.key}
        aria-level="1" aria-selected=${sel} aria-expanded=${leaf ? nothing : !!p.open} ${box({ top: y, height: p.h })}>
        ${this.#gutter(row)}
        <span class="say" role="gridcell" ${box(place)}>${leaf ? nothing : html`<i class="twisty" aria-hidden="true"></i>`}${refused || row.ok === false ? html`${severity("error")}` : nothing}${
          p.lines.map((l, i) => html`<span class="l">${l}${i === p.lines.length - 1 ? this.#tail(words, secret, row) : nothing}</span>`)}</span>
        ${this.#provenance(row)}
      </div>`;
  }

  #tail(words: { par?: string; note?: string }, secret: boolean, row: Row): TemplateResult {
    return html`${words.par ? html` <span class="par">${words.par}</span>` : nothing}${words.note ? html` <small>${words.note}</small>` : nothing}${
      secret ? html` <button class="eye link" tabindex="-1">${this.revealed.has(row.e) ? "hide" : "show"}</button>` : nothing}`;
  }

  #prose(row: Row, p: Extract<Part, { type: "prose" }>, y: number): TemplateResult {
    const c = this.#columns, sel = p.key === this.selected;
    return html`
      <div class="part row app ${row.kind} ${sel ? "sel" : ""}" role="row" id=${p.key} data-key=${p.key} aria-level="1" aria-selected=${sel} ${box({ top: y, height: p.h })}>
        ${this.#gutter(row)}
        <span class="say prose" role="gridcell" ${box({ left: c.out, right: c.width - c.b + 10 })}>${severity(row.kind === "note" ? "advice" : "error")}<span>${p.lines.join(" ")}</span></span>
        ${this.#provenance(row)}
      </div>`;
  }

  #under(p: Extract<Part, { type: "record" | "certificate" }>, y: number): TemplateResult {
    const c = this.#columns, sel = p.key === this.selected, left = c.out + (c.compact ? 2 : 14);
    const arrow = p.type === "record" && p.arrow ? (p.dir === "out" ? "client: " : "server: ") : "";
    return html`
      <div class="part row under tls ${sel ? "sel" : ""}" role="row" id=${p.key} data-key=${p.key} aria-level="2" aria-selected=${sel} aria-expanded=${!!p.open} ${box({ top: y, height: p.h })}>
        <span class="say" role="gridcell" ${box({ left })}><i class="twisty" aria-hidden="true"></i><b>${arrow}${p.text}</b> <span class="par">${p.par}</span></span>
        <span class="prov-cell" role="gridcell" ${box({ left: c.prov - 5 })}>${provenance("observed")}</span>
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

  #plannedRow(p: Planned, y: number): TemplateResult {
    const c = this.#columns, right = c.compact && p.dir === "in";
    return html`
      <div class="part row todo" role="row" ${box({ top: y, height: c.row })}>
        ${c.compact ? nothing : html`<span class="n" role="gridcell">${p.n || nothing}</span><span class="tag" role="gridcell" ${box({ left: c.tag })}>${p.layer}</span>`}
        <span class="say" role="gridcell" ${box(right ? { right: c.width - c.b + 6 } : { left: p.dir === "in" ? c.in : c.out, maxWidth: c.b - c.out - 24 })}>${p.text}${p.note ? html` <small>${p.note}</small>` : nothing}</span>
      </div>`;
  }

  #nowWord(y: number): TemplateResult | typeof nothing {
    const v = this.view, word = !atEnd(v) ? "cursor at" : v.state === "paused" ? "paused at" : "";
    return word ? html`<p class="nowword" ${box({ top: y })}>${word} ${format.ms(now(v))} ms</p>` : nothing;
  }

  #drawing(shown: number[], planned: Planned[], from: number, to: number): TemplateResult {
    const layout = this.#layout!, c = this.#columns, v = this.view, rows = v.rows.list, end = layout.height, total = end + planned.length * c.row;
    const ink = new Ink(), bars: TemplateResult[] = [], still: TemplateResult[] = [], gaps: [number, number][] = [];
    for (const i of shown) {
      const row = rows[i]!, y = layout.y[i]!, parts = layout.parts(i), h = parts[0]!;
      if (h.type === "head") this.#arrow(row, y + this.#arrowAt(h.h), ink);
      if (parts.length > 1) {
        gaps.push([y + h.h, layout.y[i + 1]!]);
        const mid = (y + h.h + layout.y[i + 1]!) / 2;
        still.push(svg`<path class="still" d="M${c.rt[0] + 4} ${mid}l12 -5M${c.rt[0] + 4} ${mid + 4}l12 -5"/>`);
      }
      for (const p of parts) if (p.type === "record" && p.bar && !c.compact) bars.push(bar(c.b - 16, y + p.y + p.h / 2, p.bar, p.dir));
    }
    planned.forEach((p, i) => this.#plannedArrow(p, end + i * c.row + this.#arrowAt(c.row), ink));
    const lanes = segments(4, Math.max(total, 8), gaps), top = Math.floor(from);
    const { sealed } = v.rows, inside = sealed ? Math.max(layout.y[sealed.i + 1]!, from) : Infinity;
    const lost = v.rows.list.slice(-3).some((r) => r.kind === "closed");
    const lane = (x: number) => svg`
      ${lanes.map(([a, b, dotted]) => (b < from || a > to ? nothing : svg`<path class="lane ${dotted ? "stop" : v.trace ? "" : "todo"}" d="M${x} ${Math.max(a, from)}V${Math.min(b, to)}"/>`))}
      ${lost && total < to ? svg`<path class="lane" d="M${x - 6} ${total}h12"/>` : nothing}`;
    return html`<svg class="art" aria-hidden="true" width=${c.width} height=${Math.max(1, Math.ceil(to) - top)} viewBox="0 ${top} ${c.width} ${Math.max(1, Math.ceil(to) - top)}" ${box({ top })}>
      ${this.#pick()}${this.#bands(from, to)}${still}${planned.map((p, i) => this.#plannedRound(p, end + i * c.row))}
      ${lane(c.a)}${lane(c.b)}
      ${inside < Math.min(total, to) ? svg`<path class="sealed" d="M${c.a + 3} ${inside}V${Math.min(total, to)}M${c.b - 3} ${inside}V${Math.min(total, to)}"/>` : nothing}
      ${v.trace && (v.pending || !atEnd(v)) ? svg`<path class="now" d="M0 ${end}H${c.width}"/>` : nothing}
      ${ink.drawn()}${bars}</svg>`;
  }

  #arrowAt(h: number): number {
    return this.#columns.compact ? h - 8 : 10;
  }

  #arrow(row: Row, y: number, ink: Ink): void {
    const { a, b } = this.#columns, broken = b - 70;
    if (row.kind === "closed") return;
    if (row.kind !== "connect" && row.kind !== "handshake") {
      const cls = row.layer === "tls" ? "tls" : row.dir === "in" ? "in" : "out";
      ink.line(cls, a, b, y);
      ink.head(cls, row.dir === "in" ? head(a, y, "left") : head(b, y, "right"));
      return;
    }
    // A double arrow stands for several packets; it stops at a cross where it did not come about.
    const cls = row.kind === "connect" ? "tcp" : "tls", over = !!this.view.trace?.result && atEnd(this.view);
    if (row.ok === undefined) {
      ink.line(over ? cls : `${cls} open`, a, over ? broken : b, y);
      if (over) ink.cross(broken, y);
      else ink.head("todo", head(b, y, "right"));
      return;
    }
    ink.line(cls, a, b, y - 1.5);
    ink.head(cls, head(b, y - 1.5, "right"));
    ink.line(cls, row.ok ? a : broken, b, y + 1.5);
    if (row.ok) ink.head(cls, head(a, y + 1.5, "left"));
    else ink.cross(broken, y + 1.5);
  }

  #plannedArrow(p: Planned, y: number, ink: Ink): void {
    const { a, b } = this.#columns;
    ink.line("todo", a, b, y);
    if (p.dir !== "in") ink.head("todo", head(b, y, "right"));
    if (p.dir !== "out") ink.head("todo", head(a, y, "left"));
  }

  #plannedRound(p: Planned, y: number): TemplateResult | typeof nothing {
    const c = this.#columns, x = (c.rt[0] + c.rt[1]) / 2;
    return p.round ? svg`<text class="rt-n todo" x=${x} y=${y + this.#textAt()}>${p.round}</text>` : nothing;
  }

  #textAt(): number {
    return this.#columns.compact ? 17 : 14;
  }

  #pick(): TemplateResult | typeof nothing {
    const place = placeOf(this.selected), layout = this.#layout!, c = this.#columns;
    if (!place || place.row >= this.view.rows.list.length) return nothing;
    const parts = layout.parts(place.row), p = parts.find((x) => x.key === this.selected) ?? parts[0]!, y = layout.y[place.row]!;
    return svg`<rect class="pick" x="0" y=${y + p.y} width=${c.width} height=${p.h}/><rect class="edge" x="0" y=${y} width="3" height=${layout.y[place.row + 1]! - y}/>`;
  }

  #bands(from: number, to: number): TemplateResult[] {
    const layout = this.#layout!, c = this.#columns, out: TemplateResult[] = [], [x, x2] = c.rt;
    const rounds = this.view.rows.rounds.list;
    let lo = 0, hi = rounds.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (layout.y[rounds[mid]!.last + 1]! < from) lo = mid + 1;
      else hi = mid;
    }
    for (let i = lo; i < rounds.length; i++) {
      const r: Round = rounds[i]!, y = layout.y[r.first]!, y2 = layout.y[r.last + 1]!;
      if (y > to) break;
      const name = r.count === 1 ? (r.n < 1000 ? String(r.n) : "") : r.n < 9 ? `${r.n}–${r.n + r.count - 1}` : `${r.n}+`;
      out.push(svg`<rect class="rt ${r.n % 2 ? "odd" : ""}" x=${x} y=${y} width=${x2 - x} height=${y2 - y}/>`);
      const middle = r.last === r.first + 1 && !this.open.has(`r${r.first}`) ? (layout.y[r.first]! + layout.y[r.last]!) / 2 + this.#textAt() : y + this.#textAt();
      out.push(svg`<text class="rt-n ${r.to === undefined ? "todo" : ""}" x=${(x + x2) / 2} y=${middle}>${name}</text>`);
    }
    return out;
  }

  static override styles = [shared, css`
    :host { display: block; position: relative; background: var(--paper); overflow: hidden; min-height: 0; }
    .scroll { position: absolute; inset: 0; overflow: auto; overflow-x: hidden; overflow-anchor: none; scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    .scroll:focus-visible { outline-offset: -2px; }
    .sizer { position: relative; min-height: 100%; contain: layout; }
    .art { position: absolute; left: 0; pointer-events: none; }
    .part { position: absolute; left: 0; right: 0; contain: strict; }
    .row { cursor: default; line-height: 20px; }
    .row > * { position: absolute; top: 0; white-space: nowrap; }
    .n, .t, .tag { font: var(--t1)/20px var(--wire); }
    .n { left: 0; width: 26px; text-align: right; color: var(--soft); }
    .t { left: 0; text-align: right; }
    .say { padding: 0 6px 0 0; background: var(--paper); font: var(--tw)/15px var(--wire); top: 2px; margin-top: .5px; white-space: pre; max-width: calc(100% - 60px); }
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
    .record .say { font-weight: 400; font-size: var(--t1); }
    .par { font-weight: 400; font-size: var(--t1); }
    small { font: 400 var(--t1)/15px var(--prose); color: var(--soft); padding-left: 2px; }
    .say > .glyph { display: inline-block; vertical-align: -1px; margin: 0 5px 0 0; stroke: var(--bad); }
    .app .tag { color: var(--soft); }
    .say.prose { white-space: normal; display: grid; grid-template-columns: 14px 1fr; gap: 4px; font: var(--t2)/16px var(--prose); padding-left: 4px; top: 3px; max-width: none; }
    .say.prose .glyph { margin: 3px 0 0; stroke: var(--ink); }
    .error .say.prose .glyph, .desync .say.prose .glyph { stroke: var(--bad); }
    .prov-cell { width: 10px; top: 5px; }
    .sel .say { background: var(--mark); }
    .sel .n, .sel .t { color: var(--ink); font-weight: 700; }
    .todo .say { color: var(--soft); padding: 0 6px 0 3px; overflow: hidden; text-overflow: ellipsis; } .todo .tag { color: var(--soft); }
    .eye { font: 400 var(--t1)/15px var(--prose); color: var(--soft); padding: 0 2px; position: relative; }
    .eye::after { content: ""; position: absolute; inset: -5px -4px; }
    .under .say { font-size: var(--t1); line-height: 16px; background: none; }
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
    .nowword { position: absolute; right: 0; z-index: 1; font: 600 var(--t1)/15px var(--prose); background: var(--ink); color: var(--paper); padding: 0 5px; white-space: nowrap; }

    .compact .row { line-height: 16px; }
    .compact .t { line-height: 16px; top: 5px; }
    .compact .say { top: 5px; font-size: var(--t2); line-height: 16px; margin: 0; background: none; max-width: calc(100% - 110px); }
    .compact .tunnel .say, .compact .par { font-size: var(--t1); }
    .compact .under .say { top: 4px; max-width: calc(100% - 100px); overflow: hidden; text-overflow: ellipsis; } .compact .under .prov-cell { top: 7px; }
    .compact .prov-cell { top: 8px; }
    .compact .say.prose { top: 5px; max-width: none; }
    .compact dl, .compact .hex { padding-left: 4px; }
    .compact .pause::before { left: 62px; }

    .lane { stroke: var(--ink); stroke-width: 1.5; } .lane.stop { stroke-dasharray: 1.5 3.5; } .lane.todo { stroke: var(--rule-strong); }
    .sealed { stroke: var(--tls); stroke-width: 1.5; }
    .arrow { fill: none; stroke-width: 1.5; } .arrow.tcp, .arrow.tls { stroke-width: 1; }
    .arrow.out { stroke: var(--out); } .arrow.in { stroke: var(--in); } .arrow.tcp { stroke: var(--tcp); } .arrow.tls { stroke: var(--tls); }
    .arrow.open { stroke-dasharray: 5 4; }
    .arrow.todo { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 5 4; }
    .head.out { fill: var(--out); } .head.in { fill: var(--in); } .head.tcp { fill: var(--tcp); } .head.tls { fill: var(--tls); }
    .head.todo { fill: var(--paper); stroke: var(--soft); }
    .cross { stroke: var(--bad); stroke-width: 2; fill: none; }
    .rt { fill: var(--band-b); } .rt.odd { fill: var(--band-a); }
    .rt-n { font: 600 var(--t1)/1 var(--wire); fill: var(--ink); text-anchor: middle; } .rt-n.todo { font-weight: 400; fill: var(--soft); }
    .pick { fill: var(--mark); } .edge { fill: var(--ink); }
    .still { fill: none; stroke: var(--soft); }
    .now { stroke: var(--ink); }
    .b-tls { fill: var(--tls); } .b-out { fill: var(--out); } .b-in { fill: var(--in); } .b-cut { stroke: var(--paper); stroke-width: 1.5; }
  `];
}

/** Collects strokes: all of one kind are one path. */
class Ink {
  #lines: Record<string, string> = {};
  #heads: Record<string, string> = {};
  #crosses = "";

  line(cls: string, x1: number, x2: number, y: number): void {
    this.#lines[cls] = `${this.#lines[cls] ?? ""}M${x1} ${y}H${x2}`;
  }

  head(cls: string, d: string): void {
    this.#heads[cls] = (this.#heads[cls] ?? "") + d;
  }

  cross(x: number, y: number): void {
    this.#crosses += cross(x, y);
  }

  /** Heads above lines. */
  drawn(): TemplateResult[] {
    return [
      ...Object.entries(this.#lines).map(([cls, d]) => svg`<path class="arrow ${cls}" d=${d}/>`),
      ...Object.entries(this.#heads).map(([cls, d]) => svg`<path class="head ${cls}" d=${d}/>`),
      svg`<path class="cross" d=${this.#crosses}/>`,
    ];
  }
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

/** A record to scale, 2 px per byte: header, content, and what seals it. A long one is cut. */
function bar(right: number, y: number, b: { head: number; plain: number; sealed: number }, dir: "out" | "in"): TemplateResult {
  const max = 110, cut = b.plain * 2 > max, plain = cut ? max : b.plain * 2, sealed = Math.min(b.sealed * 2, 40), header = Math.min(b.head * 2, 20);
  const x0 = right - header - plain - sealed - 4;
  return svg`<rect class="b-tls" x=${x0} y=${y - 4} width=${header} height="8"/><rect class="b-${dir}" x=${x0 + header + 2} y=${y - 4} width=${plain} height="8"/>
    ${cut ? svg`<path class="b-cut" d="M${x0 + header + 50} ${y + 6}l6 -12m4 0l-6 12"/>` : nothing}<rect class="b-tls" x=${x0 + header + plain + 4} y=${y - 4} width=${sealed} height="8"/>`;
}

customElements.define("scope-ladder", ScopeLadder);

