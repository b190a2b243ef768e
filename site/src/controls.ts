// The controls that the plan is made of.

import { css, html, noChange, nothing, type TemplateResult } from "lit";
import { Directive, directive, type ElementPart } from "lit/directive.js";
import { caret } from "./icons.ts";
import { including, nearest, type Choices } from "./knobs.ts";

export interface FieldLook {
  type?: string;
  /** What the label alone would not tell a reader who does not see where it stands. */
  name?: string;
  problem?: string | undefined;
  placeholder?: string;
  /** Beside the field. */
  extra?: unknown;
}

export function field(label: string, value: string, locked: boolean, change: (v: string) => void, o: FieldLook = {}): TemplateResult {
  return html`<div class="field ${o.extra ? "wide" : ""}"><label><span>${label}</span><input type=${o.type ?? "text"} .value=${value} ?readonly=${locked} spellcheck="false" autocapitalize="none" autocomplete="off"
    aria-label=${o.name ?? nothing} placeholder=${o.placeholder ?? nothing} aria-invalid=${o.problem ? "true" : nothing} @input=${(e: InputEvent) => change((e.target as HTMLInputElement).value)}></label>${o.extra ?? nothing}</div>
    ${problem(o.problem)}`;
}

export function problem(text: string | undefined): TemplateResult | typeof nothing {
  return text ? html`<p class="problem" role="alert">${text}</p>` : nothing;
}

export function check(words: unknown, on: boolean, locked: boolean, change: (on: boolean) => void, note?: string): TemplateResult {
  return html`<label class="check"><input type="checkbox" .checked=${on} ?disabled=${locked} @change=${(e: Event) => change((e.target as HTMLInputElement).checked)}><span>${words}</span>${note ? html`<small>${note}</small>` : nothing}</label>`;
}

export function select<T extends string | number>(label: string, value: T, choices: Choices<T>, locked: boolean, change: (v: T) => void): TemplateResult {
  const all = including(choices, value);
  return html`<label class="knob"><span>${label}</span><select ?disabled=${locked} @change=${(e: Event) => change(all[(e.target as HTMLSelectElement).selectedIndex]![0])}>
    ${all.map(([v, words]) => html`<option ?selected=${v === value} .selected=${v === value}>${words}</option>`)}</select></label>`;
}

export function slider(label: string, scale: readonly number[], at: number, words: string, locked: boolean, change: (v: number) => void): TemplateResult {
  return html`<label class="knob"><span>${label}</span><input type="range" min="0" max=${scale.length - 1} step="1" .value=${String(nearest(scale, at))} aria-valuetext=${words} ?disabled=${locked}
    @input=${(e: InputEvent) => change(scale[Number((e.target as HTMLInputElement).value)]!)}><output>${words}</output></label>`;
}

/** Opens what comes to hold something. To close it is its user's. */
export const opens = directive(class extends Directive {
  #held = false;

  override update({ element }: ElementPart, [holds]: [boolean]): typeof noChange {
    if (holds && !this.#held) (element as HTMLDetailsElement).open = true;
    this.#held = holds;
    return noChange;
  }

  override render(_holds: boolean): typeof noChange {
    return noChange;
  }
});

/** A section that opens; what it holds, in short, is beside its name. */
export function fold(title: string, short: string, holds: boolean, body: unknown, opened?: () => void): TemplateResult {
  return html`<section class="fold"><details ${opens(holds)} @toggle=${(e: Event) => tell(e, opened)}><summary><h2><span class="caret">${caret}</span>${title} <small>${short}</small></h2></summary>${body}</details></section>`;
}

/** Part of a section that opens. */
export function more(title: string, active: number, body: unknown, opened?: () => void): TemplateResult {
  return html`<details ${opens(active > 0)} @toggle=${(e: Event) => tell(e, opened)}><summary class="more"><span class="caret">${caret}</span>${title} ${active ? html`<small>${active} on</small>` : nothing}</summary>${body}</details>`;
}

function tell(e: Event, opened: (() => void) | undefined): void {
  if ((e.target as HTMLDetailsElement).open) opened?.();
}

export const controls = css`
  h2 { display: flex; justify-content: space-between; align-items: baseline; margin-bottom: 4px; }
  h2 small { font-weight: 400; font-size: var(--t1); color: var(--soft); }
  .field { position: relative; min-height: 24px; }
  .field label { display: grid; grid-template-columns: 64px 1fr; align-items: baseline; }
  .field label > span { color: var(--soft); }
  .field.wide input { padding-right: 26px; }
  input:not([type="checkbox"], [type="range"], [type="radio"]), select { height: 24px; text-overflow: ellipsis; border-bottom: 1px solid var(--rule-strong); font-family: var(--wire); font-size: var(--t2); width: 100%; }
  input:focus, select:focus { border-bottom-color: var(--ink); }
  input[aria-invalid] { border-bottom-color: var(--bad); }
  input:read-only, textarea:read-only { color: var(--soft); }
  select { font-family: inherit; cursor: pointer; background: var(--panel); }
  .drop { position: absolute; right: 0; top: 0; width: 24px; height: 24px; display: grid; place-items: center; color: var(--soft); }
  .drop:hover { color: var(--ink); }
  .add { color: var(--soft); }
  .field > .add { margin-left: 64px; line-height: 24px; }
  .choose { cursor: pointer; } .choose:focus-within .link { outline: 2px solid var(--out); outline-offset: 1px; }
  .ends { display: flex; justify-content: space-between; align-items: baseline; gap: var(--s2); line-height: 24px; color: var(--soft); } .ends small { font-size: var(--t1); }
  .box { display: block; width: 100%; resize: vertical; font: var(--t1)/15px var(--wire); border-left: 2px solid var(--rule-strong); padding-left: var(--s2); white-space: pre-wrap; overflow-wrap: anywhere; scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
  .box:focus-visible { outline-offset: 2px; }
  details { padding: 2px 0; } summary { list-style: none; line-height: 24px; color: var(--soft); cursor: pointer; } summary::-webkit-details-marker { display: none; }
  .fold { padding: var(--s2) 0; } .fold > details, .fold h2 { padding: 0; margin: 0; } .fold h2 { color: var(--ink); line-height: 24px; justify-content: flex-start; gap: 6px; white-space: nowrap; } .fold small { margin-left: auto; overflow: hidden; text-overflow: ellipsis; } .fold > details[open] > summary { padding-bottom: 4px; }
  .more { display: flex; align-items: center; gap: 6px; color: var(--ink); white-space: nowrap; } .more small { font-size: var(--t1); color: var(--soft); margin-left: auto; }
  .caret { display: inline-block; transform: rotate(-90deg); } details[open] > summary .caret { transform: none; } .caret svg { fill: currentColor; }
  .knob { display: grid; grid-template-columns: 90px 1fr; column-gap: 6px; align-items: center; min-height: 24px; } .knob:has(output) { grid-template-columns: 90px 1fr 48px; } .knob output { font-family: var(--wire); text-align: right; } .knob > span:first-child { color: var(--soft); }
  .knob .seg { justify-self: start; } section > .seg { display: flex; } section > .seg label { flex: 1 1 auto; justify-content: center; } section > .seg, .knob .seg { margin-top: 2px; } section > .seg label, .knob .seg label { height: 24px; padding: 0 5px; }
  [type="range"] { appearance: none; width: 100%; height: 24px; cursor: pointer; }
  [type="range"]::-webkit-slider-runnable-track { height: 1px; background: var(--soft); } [type="range"]::-moz-range-track { height: 1px; background: var(--soft); }
  [type="range"]::-webkit-slider-thumb { appearance: none; width: 6px; height: 13px; margin-top: -6px; background: var(--ink); } [type="range"]::-moz-range-thumb { width: 6px; height: 13px; border: 0; border-radius: 0; background: var(--ink); }
  [type="range"]:disabled { cursor: default; } [type="range"]:disabled::-webkit-slider-thumb { background: var(--soft); } [type="range"]:disabled::-moz-range-thumb { background: var(--soft); }
  .check { display: grid; grid-template-columns: 20px 1fr auto; align-items: start; min-height: 24px; padding: 5px 0 4px; line-height: 15px; cursor: pointer; } .check input { margin-top: 1px; } .check small { font-size: var(--t1); color: var(--soft); } .check .wire { overflow-wrap: anywhere; }
  .hint { color: var(--soft); font-size: var(--t1); line-height: 15px; padding: 4px 0; overflow-wrap: anywhere; }
  .problem { color: var(--bad); font-size: var(--t1); line-height: 15px; padding: 3px 0; overflow-wrap: anywhere; }
  :host([layout="phone"]) .field { min-height: 36px; } :host([layout="phone"]) .field label { grid-template-columns: 84px 1fr; }
  :host([layout="phone"]) input:not([type="checkbox"], [type="range"], [type="radio"]), :host([layout="phone"]) select { height: 34px; font-size: 16px; }
  :host([layout="phone"]) .box { font-size: 16px; line-height: 20px; }
  :host([layout="phone"]) .seg label { height: 38px; padding: 0 12px; } :host([layout="phone"]) .knob { min-height: 38px; grid-template-columns: 110px 1fr; } :host([layout="phone"]) .knob:has(output) { grid-template-columns: 110px 1fr 64px; }
  :host([layout="phone"]) [type="range"] { height: 38px; } :host([layout="phone"]) [type="range"]::-webkit-slider-thumb { width: 10px; height: 22px; margin-top: -11px; } :host([layout="phone"]) [type="range"]::-moz-range-thumb { width: 10px; height: 22px; }
  :host([layout="phone"]) .field > .add { margin-left: 84px; line-height: 36px; }
  :host([layout="phone"]) .check, :host([layout="phone"]) .ends, :host([layout="phone"]) .more, :host([layout="phone"]) .fold h2 { min-height: 36px; align-items: center; } :host([layout="phone"]) .drop { width: 36px; height: 36px; }
`;
