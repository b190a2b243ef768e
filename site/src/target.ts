// Where to and how secured: the controls of the top bar, or of the plan on a
// narrow page.

import { html, nothing, type LitElement, type TemplateResult } from "lit";
import { act, edit } from "./actions.ts";
import { hostPort, securityOf, target, type Config, type Form, type RunMode, type Security } from "./plan.ts";

export interface TargetProps {
  form: Form;
  /** lookup: whether the proxy asks the DNS for its pages. */
  config: (Config & { lookup?: boolean }) | undefined;
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
  return html`<input class="addr" aria-label="host and port" spellcheck="false" autocapitalize="none" autocomplete="off" inputmode="url"
    placeholder="mx.example.net:25" .value=${!own ? address : t.host ? hostPort(t.host, t.port) : ""} ?readonly=${own || p.locked}
    aria-invalid=${p.problem ? "true" : nothing} title=${p.problem ?? (own ? WHOSE[mode] : nothing)}
    @input=${(e: InputEvent) => edit(host, { address: (e.target as HTMLInputElement).value })}
    @keydown=${(e: KeyboardEvent) => e.key === "Enter" && !p.locked && act(host, { do: "run" })}>${own || !p.config?.lookup ? nothing : lookupControl(host, p)}`;
}

/** The domain in what was typed, for who knows no host and port, if it could be one. */
export function domainOf(address: string): string | undefined {
  const d = address.trim().toLowerCase().replace(/^.*@/, "").replace(/:25$/, "").replace(/\.$/, "");
  return /^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)+[a-z][a-z0-9-]*$/.test(d) ? d : undefined;
}

function lookupControl(host: LitElement, p: TargetProps): TemplateResult {
  const domain = domainOf(p.form.address);
  return html`<button class="btn" ?disabled=${p.locked || !domain} aria-haspopup="dialog" title=${domain ? `who takes mail for ${domain}?` : "who takes mail for a domain? Type one, such as example.net"}
    @click=${() => void lookUp(host, domain!)}>MX<span class="vh"> of the domain</span></button>`;
}

async function lookUp(host: LitElement, domain: string): Promise<void> {
  const { ScopeLookup } = await import("./scope-lookup.ts");
  let dialog = host.renderRoot.querySelector<InstanceType<typeof ScopeLookup>>("scope-lookup");
  if (!dialog) {
    dialog = new ScopeLookup();
    host.renderRoot.append(dialog);
  }
  await dialog.show(domain, api(host), (address) => edit(host, { address }));
}

/** Where the proxy of the <smtp-scope> that this is a part of has its API. */
function api(part: LitElement): URL {
  const { proxy } = (part.getRootNode() as ShadowRoot).host as Element & { proxy?: string };
  const url = new URL("api/v1/", proxy ? new URL(proxy, document.baseURI) : new URL("..", import.meta.url));
  url.protocol = url.protocol.replace(/^ws/, "http");
  return url;
}

export function securityControl(host: EventTarget, p: TargetProps): TemplateResult {
  const { form } = p, why = form.mode === "lab" && form.lab.transport === "udp" ? WITHOUT_TCP : undefined;
  return segment("security", "Security", SECURITY, securityOf(form), p.locked, (security) => edit(host, { security }), why);
}
