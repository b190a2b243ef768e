// <scope-options> and <scope-session>: what of a plan is seldom asked for. Fetched
// when it is.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { edit } from "./actions.ts";
import { check, controls, field, more, problem, select, slider } from "./controls.ts";
import type { Choices } from "./knobs.ts";
import { COMMANDS, protocolOf, securityOf, type Form, type Options } from "./plan.ts";
import { segment } from "./target.ts";
import { shared } from "./tokens.ts";

const BODIES: Choices<Options["body"]> = [["", "as needed"], ["7bit", "7BIT"], ["8bitmime", "8BITMIME"], ["binarymime", "BINARYMIME"]];
const RETURNS: Choices<Options["dsn"]["ret"]> = [["", "as the server likes"], ["hdrs", "the header"], ["full", "the whole message"]];
const LATE: Choices<string> = [["R", "return it"], ["N", "notify me"], ["RT", "return it, and trace"], ["NT", "notify me, and trace"]];
const HOLDS: Choices<"" | "for" | "until"> = [["", "not"], ["for", "for seconds"], ["until", "until"]];
const PRIORITIES = Array.from({ length: 19 }, (_, i) => i - 9);
const PROTOCOLS: Choices<Options["protocol"]> = [["smtp", "SMTP"], ["lmtp", "LMTP"]];

/** What a hold is asked for with first. */
const HOLD = "3600";

/** A command of each verb. RSET has nothing to say before the first message. */
const SAMPLES: Record<string, string> = { VRFY: "VRFY grace", EXPN: "EXPN staff", HELP: "HELP", NOOP: "NOOP", ETRN: "ETRN example.net" };

abstract class Part extends LitElement {
  static override properties = { form: { attribute: false }, locked: { attribute: false }, problem: { attribute: false } };
  declare form: Form;
  declare locked: boolean;
  declare problem: string | undefined;

  protected set(patch: Partial<Options>): void {
    edit(this, { options: { ...this.form.options, ...patch } });
  }

  static override styles = [shared, controls, css`
    :host { display: block; }
    fieldset { padding: 6px 0 var(--s2); border-top: 1px solid var(--rule); min-width: 0; } fieldset:first-of-type { border-top: 0; padding-top: 2px; }
    h3 { display: flex; justify-content: space-between; align-items: baseline; font-size: var(--t2); line-height: 20px; } h3 small { font-weight: 400; font-size: var(--t1); color: var(--soft); }
    .hint { padding: 0 0 4px; } .knob + .hint { padding-top: 5px; }
    .checks { display: grid; grid-template-columns: 1fr 1fr; }
    .by { display: grid; grid-template-columns: 64px auto 1fr; column-gap: 6px; align-items: center; } .by .knob { display: contents; } .by .knob span { position: absolute; clip-path: inset(50%); }
    .chips { display: flex; flex-wrap: wrap; column-gap: var(--s3); } .chips button { line-height: 24px; font-family: var(--wire); }
    .time .field label { display: block; } .time .field span { position: absolute; clip-path: inset(50%); }
    .pair .field label { grid-template-columns: 84px 1fr; }
    :host([layout="phone"]) .chips button { min-height: 36px; }
  `];
}

export class ScopeOptions extends Part {
  protected override render(): TemplateResult {
    const { form, locked } = this, o = form.options, [by = "", late = "R"] = o.deliverby.split(";"), hold = o.hold === "" ? "" : /^\d+$/.test(o.hold) ? "for" : "until";
    return html`
      ${part("Body", "RFC 6152, RFC 3030", select("Declared", o.body, BODIES, locked, (body) => this.set({ body, chunking: o.chunking || body === "binarymime" })))}
      ${part("SIZE", "RFC 1870", check("Say beforehand how long the message is", o.size, locked, (size) => this.set({ size })))}
      ${part("REQUIRETLS", "RFC 8689", html`${check("TLS on every hop, or the message comes back", o.requiretls, locked, (requiretls) => this.set({ requiretls }))}
        ${o.requiretls && securityOf(form) === "none" ? problem("It has to begin on this one: choose STARTTLS or implicit TLS.") : nothing}`)}
      ${this.#dsn()}
      ${part("DELIVERBY", "RFC 2852", html`<p class="hint">Deliver within so many seconds, or else</p><div class="by">
        <input type="number" min="-999999999" max="999999999" placeholder="none" aria-label="deliver within seconds" .value=${by} ?readonly=${locked} @input=${(e: InputEvent) => this.#by((e.target as HTMLInputElement).value, late)}><span>s</span>
        ${select("or else", late, LATE, locked, (l) => this.#by(by, l))}</div>`)}
      ${part("MT-PRIORITY", "RFC 6710", slider("Priority", PRIORITIES, o.priority, o.priority > 0 ? `+${o.priority}` : String(o.priority), locked, (priority) => this.set({ priority })))}
      ${part("FUTURERELEASE", "RFC 4865", html`${select("Hold it", hold, HOLDS, locked, (h) => this.set({ hold: h === "" ? "" : h === "for" ? HOLD : new Date(Date.now() + 36e5).toISOString().slice(0, 17) + "00Z" }))}
        ${hold === "for" ? field("Seconds", o.hold, locked, (v) => this.set({ hold: v.replace(/\D/g, "") || "1" }), { type: "number" }) : hold ? this.#time("Until", o.hold, (v) => this.set({ hold: v || HOLD })) : nothing}`)}
      ${part("RRVS", "RFC 7293", html`<p class="hint">Only if each address has been the same person’s since</p>${this.#time("Since", o.rrvs, (rrvs) => this.set({ rrvs }))}`)}
      <p class="hint">What the server does not offer is left out, and remarked upon. Without REQUIRETLS, or an SMTPUTF8 that it needs, a message is not sent.</p>`;
  }

  #dsn(): TemplateResult {
    const { locked } = this, { dsn } = this.form.options, set = (patch: Partial<Options["dsn"]>) => this.set({ dsn: { ...dsn, ...patch } });
    const notify = (what: string, on: boolean) => set({ notify: !on ? dsn.notify.filter((n) => n !== what) : what === "never" ? [what] : [...dsn.notify.filter((n) => n !== "never"), what] });
    return part("DSN", "RFC 3461", html`<p class="hint">Notify the sender of</p><div class="checks">
      ${(["success", "failure", "delay", "never"] as const).map((n) => check(n === "never" ? "nothing, ever" : n, dsn.notify.includes(n), locked, (on) => notify(n, on)))}</div>
      ${select("Returning", dsn.ret, RETURNS, locked, (ret) => set({ ret }))}
      <div class="pair">${field("Envelope id", dsn.envid, locked, (envid) => set({ envid }), { placeholder: "ENVID" })}</div>`);
  }

  #by(seconds: string, late: string): void {
    this.set({ deliverby: seconds ? `${seconds};${late}` : "" });
  }

  #time(label: string, rfc3339: string, change: (v: string) => void): TemplateResult {
    return html`<div class="time">${field(label, localOf(rfc3339), this.locked, (v) => change(rfc3339Of(v)), { type: "datetime-local" })}</div>`;
  }
}

export class ScopeSession extends Part {
  protected override render(): TemplateResult {
    const { form, locked } = this, practice = form.mode === "practice", lines = form.commands ? form.commands.split("\n").length : 0;
    return html`
      ${form.mode === "lab" ? nothing : html`<div class="knob"><span>Protocol</span>${segment("protocol", "Protocol", PROTOCOLS, protocolOf(form), locked, (protocol) => this.set({ protocol }))}</div>
        <p class="hint">${protocolOf(form) === "lmtp" ? "To a mail store: after the message each recipient has a reply of its own (RFC 2033)." : "LMTP, RFC 2033, is how a mail server hands mail to a mail store."}</p>`}
      <p class="hint">Commands, one a line, sent before the first message. A refusal ends nothing.</p>
      <textarea class="box" rows=${Math.min(Math.max(lines + 1, 2), 8)} spellcheck="false" autocapitalize="none" aria-label="commands before the first message" aria-invalid=${this.problem ? "true" : nothing} placeholder="VRFY grace"
        ?readonly=${locked} .value=${form.commands} @input=${(e: InputEvent) => edit(this, { commands: (e.target as HTMLTextAreaElement).value })}></textarea>
      ${problem(this.problem)}
      ${locked ? nothing : html`<div class="chips">${COMMANDS.filter((verb) => verb in SAMPLES).map((verb) => html`<button class="link soft" aria-label="add ${verb}" @click=${() => this.#add(SAMPLES[verb]!)}>${verb}</button>`)}</div>`}
      ${practice ? html`${this.#attributes("XCLIENT", "xclient", "Be another client, as a trusted proxy may say.")}${this.#attributes("XFORWARD", "xforward", "Say in logs where the message came from.")}` : nothing}`;
  }

  #add(command: string): void {
    edit(this, { commands: [...this.form.commands.split("\n").filter((c) => c.trim()), command].join("\n") });
  }

  /** What Postfix lets trusted clients say of another one. */
  #attributes(title: string, key: "xclient" | "xforward", means: string): TemplateResult {
    const given = this.form.options[key], { locked } = this;
    return more(title, Object.values(given).filter(Boolean).length, html`<p class="hint">${means} An extension of Postfix.</p>
      <div class="pair wire">${Object.entries(given).map(([name, value]) => field(name, value, locked, (v) => this.set({ [key]: { ...given, [name]: v } })))}</div>`);
  }
}

/** An extension: its keyword, where it is written, and what can be asked of it. */
function part(keyword: string, rfc: string, body: unknown): TemplateResult {
  return html`<fieldset aria-label=${keyword}><h3>${keyword} <small>${rfc}</small></h3>${body}</fieldset>`;
}

/** A time as RFC 3339 has it, as the browser's own control has it: in the reader's zone, "2026-12-24T18:00". */
export function localOf(rfc3339: string): string {
  const t = Date.parse(rfc3339);
  return Number.isNaN(t) ? "" : new Date(t - new Date(t).getTimezoneOffset() * 6e4).toISOString().slice(0, 16);
}

/** The other way; "" where nothing was chosen. */
export function rfc3339Of(local: string): string {
  const t = Date.parse(local);
  return Number.isNaN(t) ? "" : `${new Date(t).toISOString().slice(0, 19)}Z`;
}

customElements.define("scope-options", ScopeOptions);
customElements.define("scope-session", ScopeSession);
