// The state line at the foot, and its small form for narrow pages.

import { css, html, LitElement, nothing, svg, type TemplateResult } from "lit";
import transitions from "virtual:transitions";
import { resized } from "./resized.ts";
import type { Width } from "./scope-top.ts";
import { stateLine, type Branch, type StateLine } from "./states.ts";
import { roundTrips } from "./steps.ts";
import { shared } from "./tokens.ts";
import { atEnd, type View } from "./view.ts";

const Y = 62;

export class ScopeStates extends LitElement {
  static override properties = { view: { attribute: false }, width: { attribute: false }, room: { state: true } };
  declare view: View;
  declare width: Width;
  declare room: number;


  constructor() {
    super();
    resized(this, () => (this.room = this.clientWidth));
    this.room = 860;
    this.width = "wide";
  }

  protected override render(): TemplateResult {
    const v = this.view, over = !!v.trace?.result && atEnd(v), line = stateLine(v.rows, v.steps, over, transitions);
    return this.width === "wide" ? this.#full(line) : this.#small(line);
  }

  #words(line: StateLine): string {
    const at = line.stations[line.here];
    if (!at) return "state line: not started";
    const next = line.stations.filter((s) => s.status === "next").map((s) => s.name);
    return `state line: now at ${at.name}${next.length ? `; next may be ${next.join(", ")}` : ""}`;
  }

  #full(line: StateLine): TemplateResult {
    const { stations, here } = line, gap = (this.room - 80) / Math.max(stations.length - 1, 1), x = (i: number) => 40 + i * gap;
    const here2 = Math.max(here, 0), adjacent = stations[here + 1]?.status === "next";
    return html`<svg width=${this.room} height="106" role="img" aria-label=${this.#words(line)} class=${gap < 66 ? "tight" : ""}>
      <g class="all">${this.#branches(line, x)}
      ${here > 0 ? svg`<path class="trk done" d="M${x(0)} ${Y}H${x(here)}"/>` : nothing}
      ${adjacent ? svg`<path class="trk may" d="M${x(here)} ${Y}H${x(here + 1)}"/>` : nothing}
      ${here2 + (adjacent ? 1 : 0) < stations.length - 1 ? svg`<path class="trk" d="M${x(here2 + (adjacent ? 1 : 0))} ${Y}H${x(stations.length - 1)}"/>` : nothing}
      ${stations.map((s, i) => svg`
        ${s.status === "here"
          ? svg`<circle class="stn here" cx=${x(i)} cy=${Y} r="8"/>${s.failed ? nothing : svg`<circle class="dot" cx=${x(i)} cy=${Y} r="3.5"/>`}`
          : svg`<circle class="stn ${s.failed ? "here" : s.status}" cx=${x(i)} cy=${Y} r=${s.failed ? 7 : 5}/>`}
        ${s.failed ? svg`<path class="cross" d="M${x(i) - 3.2} ${Y - 3.2}l6.4 6.4m0 -6.4l-6.4 6.4"/>` : nothing}
        <text class="name ${s.status}" x=${x(i)} y="85">${s.name}</text>
        <text class="code ${s.code.endsWith("?") || !/^\d/.test(s.code) ? "exp" : Number(s.code[0]) > 3 ? "bad" : ""}" x=${x(i)} y="101">${s.code}</text>`)}
      </g></svg>`;
  }

  #branches(line: StateLine, x: (i: number) => number): TemplateResult[] {
    const levels: Branch[] = [];
    return line.branches.map((b) => {
      const lo = Math.min(b.from, b.to), hi = Math.max(b.from, b.to);
      const clash = levels.filter((o) => Math.min(o.from, o.to) < hi && Math.max(o.from, o.to) > lo).length;
      levels.push(b);
      const h = b.may ? 20 + Math.min(clash, 1) * 22 : 22, y = Y - h, k = Math.min(h * 0.6, (x(hi) - x(lo)) / 3), mid = (x(lo) + x(hi)) / 2;
      const under = line.branches.some((o) => o.may && o !== b && Math.min(o.from, o.to) < hi && Math.max(o.from, o.to) > lo);
      if (!b.may && under) return svg``;
      return svg`<path class="trk ${b.may ? "may" : "not"}" d="M${x(lo)} ${Y}L${x(lo) + k} ${y}H${x(hi) - k}L${x(hi)} ${Y}"><title>${b.rfc}</title></path>
        <text class="way ${b.may ? "may" : ""}" x=${mid} y=${y - 5}>${b.label}</text>`;
    });
  }

  #small(line: StateLine): TemplateResult {
    const { stations, here } = line, rounds = this.view.rows.rounds, x = (i: number) => 16 + i * 14;
    const total = this.view.trace?.result && atEnd(this.view) ? rounds.done : Math.max(roundTrips(this.view.steps), rounds.done), open = rounds.list.at(-1)?.to === undefined && rounds.list.length > 0;
    const at = stations[here], n = Math.min(total, rounds.done + (open ? 1 : 0));
    return html`<p class="small"><svg width=${x(stations.length - 1) + 12} height="30" aria-hidden="true">
      ${here > 0 ? svg`<path class="trk done thin" d="M${x(0)} 15H${x(here)}"/>` : nothing}<path class="trk thin2" d="M${x(Math.max(here, 0))} 15H${x(stations.length - 1)}"/>
      ${stations.map((s, i) => svg`<circle class="stn ${s.status}" cx=${x(i)} cy="15" r=${s.status === "here" ? 5 : 3}/>`)}</svg>
      <span>${at ? html`<b>${at.name}</b>, round trip ${n} of ${total}` : html`${total} round trips planned`}</span></p>`;
  }

  static override styles = [shared, css`
    :host { display: block; overflow: hidden; }
    .trk { fill: none; stroke: var(--rule-strong); stroke-width: 2; } .trk.done { stroke: var(--ink); stroke-width: 4; } .trk.done.thin { stroke-width: 3; } .trk.thin2 { stroke-width: 1.5; }
    .trk.may { stroke: var(--out); stroke-width: 1.5; } .trk.not { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
    .stn { fill: var(--paper); stroke: var(--soft); stroke-width: 1.2; } .stn.done { fill: var(--ink); stroke: var(--ink); stroke-width: 2; }
    .stn.here { stroke: var(--ink); stroke-width: 2.5; } .stn.next { stroke: var(--out); stroke-width: 1.8; } .dot { fill: var(--ink); }
    .cross { stroke: var(--bad); stroke-width: 2; fill: none; }
    .name { font: var(--t2)/1 var(--prose); fill: var(--ink); text-anchor: middle; } .name.here { font-weight: 700; } .name.next { fill: var(--out); } .name.later { fill: var(--soft); }
    .tight .name { font-size: var(--t1); }
    .code { font: var(--t1)/1 var(--wire); fill: var(--in); text-anchor: middle; } .code.exp { fill: var(--soft); } .code.bad { fill: var(--bad); font-weight: 700; }
    .way { font: var(--t1)/1 var(--prose); fill: var(--soft); text-anchor: middle; } .way.may { fill: var(--out); font-family: var(--wire); }
    .small { display: flex; align-items: center; gap: var(--s2); height: 30px; font-size: var(--t2); white-space: nowrap; } .small b { font-weight: 700; }
  `];
}

customElements.define("scope-states", ScopeStates);
