// Where to and how secured: the controls of the top bar, or of the plan on a
// narrow page.

import { html, nothing, type LitElement, type TemplateResult } from "lit";
import { act, edit } from "./actions.ts";
import { hostPort, securityOf, target, type Config, type Form, type RunMode, type Security } from "./plan.ts";

export interface TargetProps {
  form: Form;
  config: Config | undefined;
  locked: boolean;
  problem: string | undefined;
}

const MODES: [RunMode, string][] = [["lab", "Lab"], ["practice", "Practice"], ["live", "Live"]];
const SECURITY: [Security, string][] = [["none", "None"], ["starttls", "STARTTLS"], ["tls", "Implicit TLS"]];

/** Why there is no choice of security over UDP. */
export const WITHOUT_TCP = "TLS needs a stream of bytes in order, and datagrams are none.";

const WHOSE: Record<Exclude<RunMode, "live">, string> = {
  lab: "the mail server that the page talks to in the lab: it follows from the route and the envelope",
  practice: "the practice server of this page",
};

/** One of a few values; why tells what keeps the others from being chosen. */
export function segment<T extends string>(name: string, legend: string, values: readonly (readonly [T, string])[], value: T, locked: boolean, choose: (v: T) => void, why?: string): TemplateResult {
  return html`<span class="seg" role="radiogroup" aria-label=${legend} aria-description=${why ?? nothing} title=${why ?? nothing}>${values.map(([v, words]) => html`
    <label><input type="radio" name=${name} .checked=${v === value} ?disabled=${locked || !!why} @change=${() => choose(v)}><span data-text=${words}>${words}</span></label>`)}</span>`;
}

export function modeControl(host: EventTarget, p: TargetProps): TemplateResult {
  return segment("mode", "Where", MODES, p.form.mode, p.locked, (mode) => edit(host, { mode }));
}

export function addressControl(host: LitElement, p: TargetProps): TemplateResult {
  const { mode, address } = p.form, t = target(p.form, p.config), own = mode !== "live";
  return html`<input class="addr" aria-label="domain, or host and port" spellcheck="false" autocapitalize="none" autocomplete="off" inputmode="url"
    placeholder="example.net" .value=${!own ? address : t.host ? hostPort(t.host, t.port) : ""} ?readonly=${own || p.locked}
    aria-invalid=${p.problem ? "true" : nothing} title=${p.problem ?? (own ? WHOSE[mode] : nothing)}
    @input=${(e: InputEvent) => edit(host, { address: (e.target as HTMLInputElement).value })}
    @keydown=${(e: KeyboardEvent) => e.key === "Enter" && !p.locked && act(host, { do: "run" })}>`;
}

export function securityControl(host: EventTarget, p: TargetProps): TemplateResult {
  const { form } = p, why = form.mode === "lab" && form.lab.transport === "udp" ? WITHOUT_TCP : undefined;
  return segment("security", "Security", SECURITY, securityOf(form), p.locked, (security) => edit(host, { security }), why);
}
