// The clock: what time the views show, and in the lab how fast it goes.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import * as format from "./format.ts";
import { shared } from "./tokens.ts";
import { now, type View } from "./view.ts";

/** Lab time per real time. */
export const SPEEDS = [[0, "at once"], [1, "1/1"], [0.1, "1/10"], [0.01, "1/100"], [0.001, "1/1000"]] as const;

export class ScopeClock extends LitElement {
  static override properties = { view: { attribute: false }, words: { attribute: false } };
  declare view: View;
  /** What the session is doing. */
  declare words: string;

  protected override render(): TemplateResult {
    const v = this.view, time = clock(now(v));
    return html`
      <span class="num time ${time.length > 10 ? "long" : ""}">${time}</span>
      ${v.lab ? html`<span class="steps">${this.#packet(-1, "previous packet", v.upto > 0)}${this.#packet(1, "next packet", v.upto < v.total)}</span>` : nothing}
      <p title=${this.words}>${this.words}</p>
      ${v.lab ? html`<label class="speed"><span>speed</span><select title="lab time per real time" @change=${(e: Event) => act(this, { do: "speed", speed: SPEEDS[(e.target as HTMLSelectElement).selectedIndex]![0] })}>
        ${SPEEDS.map(([speed, words]) => html`<option ?selected=${speed === v.speed} .selected=${speed === v.speed}>${words}</option>`)}</select></label>` : nothing}`;
  }

  #packet(by: 1 | -1, name: string, may: boolean): TemplateResult {
    return html`<button aria-label=${name} title="${name} (${by < 0 ? "," : "."})" ?disabled=${!may || !this.view.trace} @click=${() => act(this, { do: "packet", by })}>
      <svg width="9" height="10" viewBox="0 0 9 10" aria-hidden="true"><path d=${by < 0 ? "M1 .5V9.5M8.5 .5V9.5L3.5 5Z" : "M8 .5V9.5M.5 .5V9.5L5.5 5Z"}/></svg></button>`;
  }

  static override styles = [shared, css`
    :host { display: grid; grid-template: 24px 16px / minmax(0, 1fr) auto; column-gap: var(--s2); padding: 3px var(--s4) 0; line-height: 1.2; white-space: nowrap; overflow: hidden; }
    .time { font-size: var(--t5); letter-spacing: -.02em; line-height: 24px; } .time.long { font-size: var(--t4); }
    p { grid-column: 1; font-size: var(--t1); line-height: 16px; color: var(--soft); overflow: hidden; text-overflow: ellipsis; }
    .steps { display: flex; justify-content: flex-end; } .steps button { width: 24px; height: 24px; display: grid; place-items: center; border: 1px solid transparent; border-radius: var(--radius); }
    .steps button:hover:not(:disabled) { border-color: var(--rule-strong); } .steps button:focus-visible, select:focus-visible { outline-offset: -2px; } .steps path { fill: currentColor; stroke: currentColor; stroke-width: 1; }
    @container scope (max-width: 1340px) { .speed > span { position: absolute; clip-path: inset(50%); } }
    .speed { display: flex; align-items: center; gap: var(--s1); font-size: var(--t1); color: var(--soft); } .speed select { height: 18px; color: var(--ink); font: var(--t1)/16px var(--wire); background: inherit; cursor: pointer; }
  `];
}

/** "920.0 ms"; from 100 seconds on, minutes and hours. */
export function clock(ns: number): string {
  if (ns < 1e11) return `${format.ms(ns)} ms`;
  const tenths = Math.floor(ns / 1e8), minutes = Math.floor(tenths / 600), seconds = (tenths % 600) / 10;
  return minutes < 60 ? `${minutes} min ${seconds.toFixed(1)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min ${Math.floor(seconds)} s`;
}

customElements.define("scope-clock", ScopeClock);
