// Where to and how secured: the controls of the top bar, or of the plan on a
// narrow page.

import { html, nothing, type TemplateResult } from "lit";
import { act, edit } from "./actions.ts";
import { hostPort, target, type Config, type Form, type RunMode, type Security } from "./plan.ts";

export interface TargetProps {
  form: Form;
  config: Config | undefined;
  locked: boolean;
  problem: string | undefined;
}

const MODES: [RunMode, string][] = [["practice", "Practice"], ["live", "Live"]];
const SECURITY: [Security, string][] = [["none", "None"], ["starttls", "STARTTLS"], ["tls", "Implicit TLS"]];

function segment<T extends string>(name: string, legend: string, values: readonly [T, string][], value: T, locked: boolean, choose: (v: T) => void): TemplateResult {
  return html`<span class="seg" role="radiogroup" aria-label=${legend}>${values.map(([v, words]) => html`
    <label><input type="radio" name=${name} .checked=${v === value} ?disabled=${locked} @change=${() => choose(v)}><span data-text=${words}>${words}</span></label>`)}</span>`;
}

export function modeControl(host: EventTarget, p: TargetProps): TemplateResult {
  return segment("mode", "Where", MODES, p.form.mode, p.locked, (mode) => edit(host, { mode }));
}

export function addressControl(host: EventTarget, p: TargetProps): TemplateResult {
  const practice = p.form.mode === "practice", t = target(p.form, p.config);
  return html`<input class="addr" aria-label="host and port" spellcheck="false" autocapitalize="none" autocomplete="off" inputmode="url"
    placeholder="mx.example.net:25" .value=${practice ? (t.host ? hostPort(t.host, t.port) : "") : p.form.address} ?readonly=${practice || p.locked}
    aria-invalid=${p.problem ? "true" : nothing} title=${p.problem ?? (practice ? "the practice server of this page" : nothing)}
    @input=${(e: InputEvent) => edit(host, { address: (e.target as HTMLInputElement).value })}
    @keydown=${(e: KeyboardEvent) => e.key === "Enter" && !p.locked && act(host, { do: "run" })}>`;
}

export function securityControl(host: EventTarget, p: TargetProps): TemplateResult {
  return segment("security", "Security", SECURITY, p.form.security, p.locked, (security) => edit(host, { security }));
}
