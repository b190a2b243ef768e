// The chart of one connection: what its sender has under way and what bounds that, over
// time; in the lab from its packets, elsewhere as the proxy measures its own TCP. Loaded when it is asked for, with uPlot, which draws the lines.

import { css, html, LitElement, nothing, svg, type PropertyValues, type TemplateResult } from "lit";
import UPlot from "uplot";
import { act } from "./actions.ts";
import { connections, flightOf, indexAt, ownConnection, largest, remembered, type Connection, type Flight, type Line, type Mark } from "./flight.ts";
import * as format from "./format.ts";
import { cross, provenance } from "./icons.ts";
import { resized } from "./resized.ts";
import { shared } from "./tokens.ts";
import type { Source } from "./trace.ts";
import { atEnd, now, type View } from "./view.ts";

interface Style {
  line: Line;
  name: string;
  src: Source;
  rfc: string;
  colour: "--tcp" | "--ink" | "--soft";
  width: number;
  dash?: number[];
}

/** Drawn in this order, named in the reverse. */
const OCTETS: Style[] = [
  { line: "window", name: "receive window of", src: "simulated", rfc: "RFC 9293, 3.8.6", colour: "--soft", width: 1.5, dash: [1.5, 3] },
  { line: "ssthresh", name: "slow start threshold", src: "simulated", rfc: "RFC 5681, 3.1", colour: "--ink", width: 1, dash: [6, 4] },
  { line: "cwnd", name: "congestion window", src: "simulated", rfc: "RFC 5681, 3.1", colour: "--ink", width: 1.5 },
  { line: "inFlight", name: "bytes in flight", src: "derived", rfc: "RFC 5681, 2", colour: "--tcp", width: 1.5 },
];
const TIMES: Style[] = [
  { line: "srtt", name: "smoothed round trip", src: "simulated", rfc: "RFC 6298, 2", colour: "--soft", width: 1.5, dash: [1.5, 3] },
  { line: "rto", name: "retransmission timer", src: "simulated", rfc: "RFC 6298, 2", colour: "--ink", width: 1.5 },
];

const MARKS: Record<Mark["kind"], string> = { lost: "lost or damaged on the way", again: "sent again", zero: "receive window closed" };

/** The scale is logarithmic by itself where the largest line is so many times the most in flight. */
const FAR = 8;

/** Room above the lines for the marks, and beside them for the numbers. */
const STRIP = 22, NUMBERS = 72;

/** Where a logarithmic axis has numbers; below the first of them it is linear. */
const DECADES = [0, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

const ROWS = 500;
const MS = 1e6;
const LONG = 20_000 * MS;

export class ScopeChart extends LitElement {
  static override properties = {
    view: { attribute: false },
    why: { attribute: false },
    chosen: { state: true },
    log: { state: true },
    hover: { state: true },
    table: { state: true },
  };
  declare view: View;
  /** Why the proxy cannot measure; "" when it can. */
  declare why: string;
  /** Connection and sender, "0 client"; "" for the page's own. */
  declare chosen: string;
  /** Undefined as long as the ranges decide. */
  declare log: boolean | undefined;
  /** Index of the point under the pointer. */
  declare hover: number | undefined;
  declare table: boolean;

  #connections = remembered(connections);
  #flight = remembered((trace, key): Flight => {
    const [flow, host] = key.split(" ") as [string, string];
    return flightOf(trace, this.#connections(trace).find((c) => c.flow === Number(flow))!, host);
  });
  #plots: { plot: UPlot; styles: Style[] }[] = [];
  #drawn: Flight | undefined;
  #drawnAs = "";
  #colours = "";
  #dark = matchMedia("(prefers-color-scheme: dark)");
  #themed = (): void => this.requestUpdate();

  constructor() {
    super();
    resized(this, () => this.#fit());
    this.chosen = this.why = "";
    this.table = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#dark.addEventListener("change", this.#themed);
    this.requestUpdate();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#dark.removeEventListener("change", this.#themed);
    this.#destroy();
  }

  /** The connection that is shown, and who sends. */
  #shown(): { key: string; connection: Connection; flight: Flight } | undefined {
    const { trace } = this.view, all = trace ? this.#connections(trace) : [];
    const [flow, host] = this.chosen.split(" "), connection = all.find((c) => this.chosen && c.flow === Number(flow)) ?? ownConnection(all);
    if (!trace || !connection) return undefined;
    const key = `${connection.flow} ${host && (host === connection.from || host === connection.to) ? host : connection.from}`;
    return { key, connection, flight: this.#flight(trace, key) };
  }

  protected override render(): TemplateResult {
    const s = this.#shown();
    if (!s) return html`<p class="none">${this.#nothing()}</p>`;
    const { flight } = s, i = this.hover ?? indexAt(flight.times, now(this.view)), log = this.#log(flight);
    const at = this.hover === undefined ? now(this.view) : flight.times[this.hover]!;
    return html`<div class="head">
        <label>Connection <select @change=${(e: Event) => this.#choose((e.target as HTMLSelectElement).value)}>${this.#options(s.key)}</select></label>
        <span class="seg" role="radiogroup" aria-label="scale of the octets">${([false, true] as const).map((on) => html`<label><input type="radio" name="scale" .checked=${on === log} @change=${() => (this.log = on)}><span data-text=${on ? "Log" : "Linear"}>${on ? "Log" : "Linear"}</span></label>`)}</span></div>
      <p class="say">${flight.measured ? this.#measured(flight) : this.#sentence(flight, indexAt(flight.times, now(this.view)))}</p>
      <div class="stage" tabindex="0" role="group" aria-label="chart; left and right go from packet to packet" @keydown=${(e: KeyboardEvent) => this.#key(e)}>
        ${this.#legend(OCTETS, flight, i, at, `octets, ${log ? "logarithmic" : "linear"}`)}<div class="plot octets"></div>
        ${this.#legend(TIMES, flight, i, at, "milliseconds")}<div class="plot times"></div></div>
      ${this.#kinds(flight)}
      <details @toggle=${(e: Event) => (this.table = (e.target as HTMLDetailsElement).open)}><summary>The same as a table</summary>${this.table ? this.#table(flight) : nothing}</details>`;
  }

  #nothing(): string {
    const { trace, lab, replay } = this.view, shows = "The chart shows what TCP has under way and what holds it back";
    if (trace && lab) return "There was no TCP connection in this session, so there is nothing to draw.";
    if (lab) return `${shows}. It is drawn from the packets and from the state of TCP: press Run.`;
    if (trace && replay) return `${shows}. Nothing of that was measured in this session.`;
    if (this.why) return `${shows}, but here nothing is measured: ${this.why}. Choose Lab to see it.`;
    return trace ? "Nothing has been measured yet: that begins when the proxy is connected to the mail server." : `${shows}, as the proxy measures it on its way to the mail server: press Run.`;
  }

  #options(key: string): TemplateResult[] {
    const { trace } = this.view, all = this.#connections(trace!), name = (id: string) => (id === "client" ? "this page" : trace!.host(id));
    return all.flatMap((c) => [[c.from, c.to], ...(c.measured ? [] : [[c.to, c.from]])].map(([a, b]) => html`
      <option value="${c.flow} ${a}" .selected=${key === `${c.flow} ${a}`}>${all.length > 1 ? `${c.flow + 1}: ` : ""}${name(a!)} sends to ${name(b!)}</option>`));
  }

  #choose(key: string): void {
    this.chosen = key;
    this.hover = undefined;
  }

  #log(f: Flight): boolean {
    if (this.log !== undefined) return this.log;
    return Math.max(largest(f.lines.window), largest(f.lines.cwnd)) > FAR * largest(f.lines.inFlight);
  }

  #sentence(f: Flight, i: number): string {
    if (i < 0) return `This connection begins at ${format.ms(f.times[0]!)} ms, after the cursor.`;
    const t = now(this.view), count = (kind: Mark["kind"]) => f.marks.filter((m) => m.kind === kind && m.t <= t).length, lost = count("lost"), again = count("again"), zero = count("zero");
    const most = largest(f.lines.inFlight.slice(0, i + 1)), host = f.host === "client" ? "This page" : this.view.trace!.host(f.host);
    return `${host} had at most ${format.bytes(most)} under way. ${[
      lost ? `${format.count(lost, "segment")} did not get through` : "Nothing was lost", again ? `${format.number(again)} sent again` : "",
      zero ? `the receiver closed its window ${zero === 1 ? "once" : `${zero} times`}` : "",
    ].filter(Boolean).join(", ")}.`;
  }

  #measured(f: Flight): string {
    const { samples } = this.view.rows, s = samples.at(-1)?.data;
    if (!s) return `The first measurement is that of ${format.ms(f.times[0]!)} ms, after the cursor.`;
    return [
      `Measured ${samples.length === 1 ? "once" : `${format.number(samples.length)} times`} at the proxy, which sends to ${this.view.trace!.host(f.peer)}: whenever its TCP has changed, ten times a second at most.`,
      s.rtt ? `The round trip is ${format.duration(s.rtt)} ± ${format.duration(s.rttvar ?? 0)}${s.minRTT ? `, at its best ${format.duration(s.minRTT)}` : ""}.` : "",
      s.retransmits ? `${format.count(s.retransmits, "segment was", "segments were")} sent again.` : "Nothing was sent again.",
      s.deliveryRate ? `Last delivered at ${s.deliveryRate < 1e7 ? `${format.number(Math.round(s.deliveryRate / 1e3))} kB` : `${format.number(Math.round(s.deliveryRate / 1e6))} MB`} a second.` : "",
      s.sendScale ? `Windows are scaled by ${2 ** s.sendScale} and ${2 ** (s.receiveScale ?? 0)} (RFC 7323).` : "",
    ].filter(Boolean).join(" ");
  }

  #legend(styles: Style[], f: Flight, i: number, at: number, unit: string): TemplateResult {
    return html`<div class="legend"><span class="unit">${unit} <b class="num">at ${format.ms(at)} ms</b></span>${styles.toReversed().map((s) => {
      const v = i < 0 ? null : (f.lines[s.line][i] ?? null), ref = format.references(s.rfc)[0]!;
      return html`<span class=${s.line}><svg width="22" height="8" aria-hidden="true"><path d="M0 4H22" stroke-width=${s.width} stroke-dasharray=${s.dash?.join(" ") ?? "none"}/></svg>
        <a href=${ref.url!} title=${ref.text} target="_blank" rel="noreferrer">${s.name}${s.line === "window" ? ` ${this.view.trace!.host(f.peer)}` : nothing}</a>
        <b class="num">${v === null ? "none yet" : styles === TIMES ? format.duration(v) : format.number(v)}</b>${provenance(f.measured ? "measured" : s.src)}</span>`;
    })}</div>`;
  }

  #kinds(f: Flight): TemplateResult | typeof nothing {
    const kinds = (Object.keys(MARKS) as Mark["kind"][]).filter((k) => f.marks.some((m) => m.kind === k));
    if (kinds.length === 0) return nothing;
    const shape = { lost: svg`<path class="bad" d=${cross(5, 5)}/>`, again: svg`<circle cx="5" cy="5" r="3.6"/>`, zero: svg`<path d="M1 1.5H9M1 1.5V9M9 1.5V9"/>` };
    return html`<p class="kinds">${kinds.map((k) => html`<span><svg width="10" height="10" aria-hidden="true">${shape[k]}</svg>${MARKS[k]}</span>`)}${f.measured ? html`<span>${provenance("measured", false)}from the proxy's TCP</span>`
      : html`<span>${provenance("derived", false)}from the packets</span><span>${provenance("simulated", false)}from the stack itself</span>`}</p>`;
  }

  #table(f: Flight): TemplateResult {
    const v = (line: Line, i: number, make: (n: number) => string) => (f.lines[line][i] == null ? "" : make(f.lines[line][i]!));
    const marks = new Map<number, string[]>();
    for (const m of f.marks) marks.set(m.t, [...(marks.get(m.t) ?? []), MARKS[m.kind]]);
    return html`<div class="wide"><table><thead><tr><th>ms</th><th>in flight</th><th>congestion window</th><th>threshold</th><th>receive window</th><th>timer</th><th>round trip</th><th>what</th></tr></thead><tbody>${f.times.slice(0, ROWS).map((t, i) => html`
      <tr><td>${format.ms(t)}</td><td>${v("inFlight", i, format.number)}</td><td>${v("cwnd", i, format.number)}</td><td>${v("ssthresh", i, format.number)}</td><td>${v("window", i, format.number)}</td><td>${v("rto", i, format.duration)}</td><td>${v("srtt", i, format.duration)}</td><td>${marks.get(t)?.join(", ")}</td></tr>`)}</tbody></table></div>
      ${f.times.length > ROWS ? html`<p class="soft">The first ${format.number(ROWS)} of ${format.number(f.times.length)} changes.</p>` : nothing}`;
  }

  // ---- the drawing

  protected override updated(_changed: PropertyValues<this>): void {
    const s = this.#shown();
    if (!s) return this.#destroy();
    const { flight } = s, as = `${s.key} ${this.#log(flight)}`, css = getComputedStyle(this), colours = ["--ink", "--rule"].map((c) => css.getPropertyValue(c)).join();
    if (as !== this.#drawnAs || this.#plots.length === 0) this.#draw(flight, as);
    else if (flight !== this.#drawn) for (const { plot, styles } of this.#plots) plot.setData(data(flight, styles));
    else if (colours !== this.#colours) for (const { plot } of this.#plots) plot.redraw(false, true);
    this.#drawn = flight;
    this.#colours = colours;
    this.#playhead();
  }

  #destroy(): void {
    for (const { plot } of this.#plots) plot.destroy();
    this.#plots = [];
    this.#drawn = undefined;
  }

  #draw(f: Flight, as: string): void {
    this.#destroy();
    this.#drawnAs = as;
    this.#drawn = f; // the first drawing asks for it
    for (const [styles, place] of [[OCTETS, ".octets"], [TIMES, ".times"]] as const) {
      const at = this.renderRoot.querySelector<HTMLElement>(place)!, plot = new UPlot(this.#plotOptions(f, styles, at), data(f, styles), at);
      for (const cls of ["veil", "head"]) plot.over.append(Object.assign(document.createElement("div"), { className: cls }));
      plot.over.addEventListener("click", (e) => this.#click(plot, e));
      this.#plots.push({ plot, styles });
    }
  }

  #plotOptions(f: Flight, styles: Style[], at: HTMLElement): UPlot.Options {
    const octets = styles === OCTETS, log = octets && this.#log(f), colour = (name: string) => getComputedStyle(this).getPropertyValue(name).trim();
    const seconds = f.times.at(-1)! - f.times[0]! > LONG, font = `11px ${colour("--wire")}`;
    const axis = { stroke: () => colour("--soft"), font, ticks: { stroke: () => colour("--rule-strong"), width: 1, size: 4 }, grid: { stroke: () => colour("--rule"), width: 1 } };
    return {
      width: at.clientWidth, height: at.clientHeight, padding: [octets ? STRIP : 8, 12, 0, 0], legend: { show: false },
      cursor: { sync: { key: "scope-chart" }, drag: { x: false, y: false }, points: { show: false }, y: false },
      scales: { x: { time: false, range: (_, min, max) => [min, max > min ? max : min + 1] }, y: { distr: log ? 4 : 1, asinh: DECADES[1]!, range: (_, __, max) => [0, log ? Math.max(max, 100) * 1.4 : Math.max(max, 1) * 1.06] } },
      axes: [
        { ...axis, size: 26, values: (_, at) => at.map((v, i) => `${format.number(seconds ? v / 1000 : v)}${i ? "" : seconds ? " s" : " ms"}`) },
        { ...axis, size: NUMBERS, values: (_, at) => at.map((v) => format.number(v)), ...(log && { splits: (_: UPlot, __: number, ___: number, max: number) => DECADES.filter((v) => v <= max), filter: (_: UPlot, at: number[]) => at }) },
      ],
      series: [{}, ...styles.map((s): UPlot.Series => ({
        stroke: () => colour(s.colour), width: s.width, points: { show: false }, ...(s.dash && { dash: s.dash }), paths: UPlot.paths.stepped!({ align: 1 }),
        ...(s.line === "inFlight" && { fill: () => `color-mix(in srgb, ${colour("--tcp")} 28%, transparent)` }),
      }))],
      hooks: {
        setCursor: [(u) => this.#hovered(u)],
        draw: octets ? [(u) => marks(u, this.#drawn?.marks ?? [], colour)] : [],
      },
    };
  }

  #hovered(u: UPlot): void {
    if (u.cursor.idx !== this.hover) this.hover = u.cursor.idx ?? undefined;
  }

  #click(u: UPlot, e: MouseEvent): void {
    const t = u.posToVal(e.clientX - u.over.getBoundingClientRect().left, "x") * MS, { events } = this.view.trace!;
    act(this, { do: "cursor", upto: events.findLastIndex((x) => x.t <= t) + 1 });
  }

  #key(e: KeyboardEvent): void {
    const by = ({ ArrowLeft: -1, ArrowRight: 1 } as const)[e.key];
    if (by) act(this, { do: "packet", by });
    else if (e.key === "Home") act(this, { do: "cursor", upto: 0 });
    else if (e.key === "End") act(this, { do: "end" });
    else return;
    e.preventDefault();
    e.stopPropagation();
  }

  /** The time of the cursor as a line; what comes after it is paler. */
  #playhead(): void {
    const t = now(this.view) / MS, over = atEnd(this.view) && !this.view.playing;
    for (const { plot } of this.#plots) {
      const [veil, head] = [".veil", ".head"].map((c) => plot.over.querySelector<HTMLElement>(c)!) as [HTMLElement, HTMLElement];
      const x = Math.min(Math.max(plot.valToPos(t, "x"), 0), plot.over.clientWidth);
      head.style.left = veil.style.left = `${x}px`;
      head.hidden = veil.hidden = over;
    }
  }

  #fit(): void {
    for (const { plot } of this.#plots) {
      const at = plot.root.parentElement!;
      plot.setSize({ width: at.clientWidth, height: at.clientHeight });
    }
    this.#playhead();
  }

  static override styles = [shared, css`
    :host { display: block; overflow: auto; background: var(--paper); padding: var(--s2) var(--s3) var(--s4); scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; container: chart / inline-size; }
    .none { color: var(--soft); padding: var(--s4); max-width: 60ch; line-height: 20px; }
    .head { display: flex; flex-wrap: wrap; gap: var(--s2) var(--s4); align-items: center; justify-content: space-between; }
    label:has(select) { display: flex; gap: var(--s2); align-items: center; font-size: var(--t2); min-width: 0; }
    select { height: 28px; border: 1px solid var(--rule-strong); border-radius: var(--radius); padding: 0 var(--s2); background: var(--paper); max-width: 100%; }
    .say { padding: var(--s2) 0; line-height: 20px; }
    .stage { display: block; } .stage:focus-visible { outline-offset: 4px; }
    .plot { height: clamp(180px, 34cqh, 420px); min-width: 0; } .plot.times { height: clamp(110px, 17cqh, 180px); }
    .legend { display: flex; flex-wrap: wrap; gap: 2px var(--s4); font-size: var(--t2); line-height: 18px; padding-top: 4px; border-top: 1px solid var(--rule); } .legend + .plot { margin-bottom: var(--s2); }
    .legend span { display: inline-flex; gap: 5px; align-items: center; white-space: nowrap; } .legend b { font-weight: 400; min-width: 7ch; text-align: right; } .unit { color: var(--soft); } .unit b { min-width: 0; }
    .legend svg:not(.glyph) path { stroke: var(--ink); fill: none; } .legend .inFlight > svg:first-child path { stroke: var(--tcp); } .legend .window > svg:first-child path, .legend .srtt > svg:first-child path { stroke: var(--soft); }
    .kinds { display: flex; flex-wrap: wrap; gap: 2px var(--s4); font-size: var(--t2); color: var(--soft); padding: var(--s1) 0 var(--s2); } .kinds span { display: inline-flex; gap: 5px; align-items: center; }
    .kinds svg:not(.glyph) { stroke: var(--ink); fill: none; stroke-width: 1.4; } .kinds .bad { stroke: var(--bad); stroke-width: 1.8; }
    summary { cursor: pointer; font-size: var(--t2); line-height: 28px; } .wide { overflow-x: auto; }
    table { border-collapse: collapse; font: var(--t2)/18px var(--wire); } th { font: 600 var(--t1)/18px var(--prose); text-align: right; vertical-align: bottom; } td { text-align: right; border-top: 1px solid var(--rule); } th, td { padding: 0 var(--s2); } th:last-child, td:last-child { text-align: left; font-family: var(--prose); white-space: nowrap; }
    @container chart (max-width: 520px) { .legend span:not(.unit) { flex: 1 1 100%; } .legend span a { flex: 1; } .legend b { text-align: right; min-width: 9ch; } label:has(select) { font-size: 0; gap: 0; } select { font-size: var(--t2); height: 44px; } }

    /* what uPlot needs */
    .uplot, .uplot * { box-sizing: border-box; } .uplot { width: min-content; line-height: 1.5; }
    .u-wrap { position: relative; user-select: none; } .u-over, .u-under, .u-axis { position: absolute; } .u-under { overflow: hidden; } .u-over { cursor: crosshair; overflow: hidden; }
    .uplot canvas { display: block; position: relative; width: 100%; height: 100%; }
    .u-cursor-x { position: absolute; left: 0; top: 0; height: 100%; border-right: 1px dashed var(--soft); pointer-events: none; will-change: transform; } .u-off, .u-select, .u-cursor-y, .u-cursor-pt { display: none; }
    .veil { position: absolute; top: 0; bottom: 0; right: 0; background: var(--paper); opacity: .66; pointer-events: none; }
    .u-over .head { position: absolute; top: 0; bottom: 0; width: 1.5px; margin-left: -.75px; background: var(--ink); pointer-events: none; }
  `];
}

/** As uPlot wants it: milliseconds, then each line. */
function data(f: Flight, styles: readonly Style[]): UPlot.AlignedData {
  const scale = styles === TIMES ? MS : 1;
  return [f.times.map((t) => t / MS), ...styles.map((s) => f.lines[s.line].map((v) => (v === null ? null : v / scale)))];
}

/** What happened to segments, above the lines; for what is lost, a line through them. */
function marks(u: UPlot, all: readonly Mark[], colour: (name: string) => string): void {
  const { ctx } = u, dpr = devicePixelRatio, r = 3.6 * dpr, y = u.bbox.top - 11 * dpr;
  ctx.save();
  for (const m of all) {
    const x = u.valToPos(m.t / MS, "x", true);
    ctx.strokeStyle = colour(m.kind === "lost" ? "--bad" : "--ink");
    ctx.lineWidth = (m.kind === "lost" ? 1.8 : 1.4) * dpr;
    ctx.setLineDash([]);
    ctx.beginPath();
    if (m.kind === "again") ctx.arc(x, y, r, 0, 2 * Math.PI);
    else if (m.kind === "lost") {
      ctx.moveTo(x - r, y - r);
      ctx.lineTo(x + r, y + r);
      ctx.moveTo(x + r, y - r);
      ctx.lineTo(x - r, y + r);
    } else {
      ctx.moveTo(x - r, y + r);
      ctx.lineTo(x - r, y - r);
      ctx.lineTo(x + r, y - r);
      ctx.lineTo(x + r, y + r);
    }
    ctx.stroke();
    if (m.kind !== "lost") continue;
    ctx.lineWidth = dpr;
    ctx.setLineDash([2.5 * dpr, 3 * dpr]);
    ctx.beginPath();
    ctx.moveTo(x, y + 2 * r);
    ctx.lineTo(x, u.bbox.top + u.bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

customElements.define("scope-chart", ScopeChart);
