// The plan as a form: envelope, sign-in, message, TLS.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { edit } from "./actions.ts";
import * as format from "./format.ts";
import { control } from "./icons.ts";
import { messageSize, problems, signsIn, withMessage, type Config, type Form, type Mechanism, type SignIn } from "./plan.ts";
import { addressControl, modeControl, securityControl } from "./target.ts";
import { shared } from "./tokens.ts";

export class ScopePlan extends LitElement {
  static override properties = {
    form: { attribute: false },
    config: { attribute: false },
    locked: { attribute: false },
    /** Show where to and how secured, too. */
    target: { attribute: false },
    checked: { attribute: false },
    fileProblem: { state: true },
  };
  declare form: Form;
  declare config: Config | undefined;
  declare locked: boolean;
  declare target: boolean;
  /** A run was tried: show what keeps it. */
  declare checked: boolean;
  declare fileProblem: string;

  constructor() {
    super();
    this.fileProblem = "";
  }

  protected override render(): TemplateResult {
    const wrong = this.checked ? problems(this.form, this.config) : {};
    return html`
      ${this.target ? this.#target(wrong.address) : nothing}
      ${[wrong.mode, this.target ? undefined : wrong.address].map((w) => (w ? html`<p class="problem" role="alert">${w}</p>` : nothing))}
      ${this.#live()}${this.#envelope(wrong)}${this.#signIn()}${this.#message()}${this.#tls()}
      <p class="end">${this.locked ? "Locked while a session is open; Reset unlocks it." : html`<span class="vh">The plan is kept in this browser, without the password.</span>`}</p>`;
  }

  #target(problem: string | undefined): TemplateResult {
    const p = { form: this.form, config: this.config, locked: this.locked, problem };
    return html`<section><h2>Server</h2><div class="stack">${modeControl(this, p)}${addressControl(this, p)}${problem ? html`<p class="problem" role="alert">${problem}</p>` : nothing}${securityControl(this, p)}</div></section>`;
  }

  /** What this proxy lets a live session reach. */
  #live(): TemplateResult | typeof nothing {
    const live = this.config?.live;
    if (this.form.mode !== "live" || !live) return nothing;
    const hosts = live.allow ?? [];
    const words = live.public ? "This proxy connects to public mail servers on ports 25, 465, 587 and 2525."
      : hosts.length ? html`This proxy may connect to <span class="wire">${hosts.join(", ")}</span>.`
      : html`This proxy connects to no live server. Start it with <span class="wire">--allow host:port</span>.`;
    return html`<p class="hint">${words}</p>`;
  }

  #field(label: string, value: string, change: (v: string) => void, o: { type?: string; problem?: string | undefined; placeholder?: string; extra?: unknown } = {}): TemplateResult {
    return html`<div class="field ${o.extra ? "wide" : ""}"><label><span>${label}</span><input type=${o.type ?? "text"} .value=${value} ?readonly=${this.locked} spellcheck="false" autocapitalize="none" autocomplete="off"
      placeholder=${o.placeholder ?? nothing} aria-invalid=${o.problem ? "true" : nothing} @input=${(e: InputEvent) => change((e.target as HTMLInputElement).value)}></label>${o.extra ?? nothing}</div>
      ${o.problem ? html`<p class="problem">${o.problem}</p>` : nothing}`;
  }

  #envelope(wrong: ReturnType<typeof problems>): TemplateResult {
    const { to } = this.form, set = (i: number, v: string) => edit(this, { to: to.map((t, j) => (j === i ? v : t)) });
    const remove = (i: number) => html`<button class="drop" aria-label="remove this recipient" @click=${() => edit(this, { to: to.filter((_, j) => j !== i) })}>${control("close")}</button>`;
    return html`<section><h2>Envelope <small>RFC 5321</small></h2>
      ${this.#field("From", this.form.from, (from) => edit(this, { from }), { placeholder: "<> the null reverse-path" })}
      ${to.map((t, i) => this.#field(i === 0 ? "To" : "and", t, (v) => set(i, v), { problem: i === 0 ? wrong.to : undefined, extra: to.length > 1 && !this.locked ? remove(i) : undefined }))}
      ${this.locked ? nothing : html`<div class="field"><button class="add link" @click=${() => edit(this, { to: [...to, ""] })}>Add a recipient</button></div>`}
    </section>`;
  }

  #signIn(): TemplateResult {
    const { mode, security } = this.form, s = this.form.signIn[mode], practice = mode === "practice" ? this.config?.practice : undefined;
    const set = (patch: Partial<SignIn>) => edit(this, { signIn: { ...this.form.signIn, [mode]: { ...s, ...patch } } });
    const choice = s.on ? s.mechanism || "best" : "off";
    const choose = (v: string) => set(v === "off" ? { on: false } : { on: true, mechanism: (v === "best" ? "" : v) as Mechanism });
    return html`<section><h2>Sign in <small>RFC 4954</small></h2>
      <div class="field"><label><span>How</span><select .value=${choice} ?disabled=${this.locked} @change=${(e: Event) => choose((e.target as HTMLSelectElement).value)}>
        ${([["off", "not at all"], ["PLAIN", "PLAIN"], ["LOGIN", "LOGIN"], ["best", "best that is offered"]] as const).map(([v, w]) => html`<option value=${v} ?selected=${v === choice}>${w}</option>`)}
      </select></label></div>
      ${s.on && !signsIn(this.form) ? html`<p class="hint">Not used without TLS: the practice server takes mail on port 25 from anybody.</p>`
        : s.on ? html`
          ${this.#field("User", s.username, (username) => set({ username }), { placeholder: practice?.username ?? "" })}
          ${this.#field("Password", s.password, (password) => set({ password }), { type: "password", placeholder: practice ? "•".repeat(practice.password.length) : "" })}
          ${security === "none" ? html`<p class="problem">Without TLS everybody on the path can read the password.</p>` : nothing}` : nothing}
    </section>`;
  }

  #message(): TemplateResult {
    const { message, file } = this.form, size = file?.size ?? messageSize(message);
    return html`<section class="grow"><h2>Message <small>${format.bytes(size)}</small></h2>
      ${file
        ? html`<p class="file"><span class="wire">${file.name}</span> <button class="link soft" ?disabled=${this.locked} @click=${() => edit(this, { file: undefined })}>Remove</button></p>
          <p class="hint">Too long to be edited here. Sent as it is, with line ends made CR LF.</p>`
        : html`<textarea class="msg" spellcheck="false" aria-label="message" ?readonly=${this.locked} .value=${message} @input=${(e: InputEvent) => this.#typed((e.target as HTMLTextAreaElement).value)}></textarea>`}
      ${this.locked ? nothing : html`<label class="add choose"><input type="file" class="vh" accept=".eml,.txt,message/rfc822,text/*" @change=${(e: Event) => this.#chosen(e.target as HTMLInputElement)}><span class="link">Choose a file</span></label>`}
      ${this.fileProblem ? html`<p class="problem" role="alert">${this.fileProblem}</p>` : nothing}
    </section>`;
  }

  #typed(text: string): void {
    edit(this, withMessage(text, "pasted text"));
  }

  async #chosen(input: HTMLInputElement): Promise<void> {
    const file = input.files?.[0];
    input.value = "";
    if (!file) return;
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      this.fileProblem = "";
      edit(this, withMessage(text, file.name));
    } catch (e) {
      this.fileProblem = e instanceof TypeError
        ? `${file.name} is not UTF-8 text. A message is text: attachments in it are base64 (RFC 2045, 6.8). Save it as .eml.`
        : `${file.name} cannot be read: ${(e as Error).message}`;
    }
  }

  #tls(): TemplateResult {
    const { ehlo, serverName, ca, insecure, security } = this.form;
    return html`<section><h2>Names and trust</h2>
      ${this.#field("EHLO", ehlo, (v) => edit(this, { ehlo: v }), { placeholder: "[127.0.0.1]" })}
      ${security === "none" ? nothing : html`
        ${this.#field("TLS name", serverName, (v) => edit(this, { serverName: v }), { placeholder: "that of the host" })}
        <details ?open=${!!ca}><summary><span class="link">Trust another authority</span></summary>
          <textarea class="pem" aria-label="certificates of authorities, PEM" spellcheck="false" placeholder="-----BEGIN CERTIFICATE-----" ?readonly=${this.locked} .value=${ca} @input=${(e: InputEvent) => edit(this, { ca: (e.target as HTMLTextAreaElement).value })}></textarea></details>
        <label class="check"><input type="checkbox" .checked=${insecure} ?disabled=${this.locked} @change=${(e: Event) => edit(this, { insecure: (e.target as HTMLInputElement).checked })}><span>Go on with a certificate that is not trusted</span></label>
        ${insecure ? html`<p class="problem">Whoever is on the path can then read and change everything, the password too.</p>` : nothing}`}
    </section>`;
  }

  static override styles = [shared, css`
    :host { display: flex; flex-direction: column; background: var(--panel); padding: var(--s2) var(--s4) 0; overflow: auto; font-size: var(--t2); scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    section { padding: 10px 0 var(--s3); border-bottom: 1px solid var(--rule); }
    section.grow { flex: 1 0 auto; display: flex; flex-direction: column; }
    section:last-of-type { border-bottom: 0; }
    h2 { display: flex; justify-content: space-between; align-items: baseline; margin-bottom: 4px; }
    h2 small { font-weight: 400; font-size: var(--t1); color: var(--soft); }
    .field { position: relative; min-height: 24px; }
    .field label { display: grid; grid-template-columns: 64px 1fr; align-items: baseline; }
    .field label > span { color: var(--soft); }
    .field.wide input { padding-right: 22px; }
    input:not([type="checkbox"]), select { height: 22px; border-bottom: 1px solid var(--rule-strong); font-family: var(--wire); font-size: var(--t2); width: 100%; }
    input:focus, select:focus { border-bottom-color: var(--ink); }
    input[aria-invalid] { border-bottom-color: var(--bad); }
    input:read-only, textarea:read-only { color: var(--soft); }
    select { font-family: inherit; cursor: pointer; background: var(--panel); }
    .drop { position: absolute; right: 0; top: 2px; width: 20px; height: 20px; display: grid; place-items: center; color: var(--soft); }
    .drop:hover { color: var(--ink); }
    .add { color: var(--soft); }
    .field > .add { margin-left: 64px; line-height: 24px; }
    .choose { cursor: pointer; margin-top: 6px; align-self: flex-start; } .choose:focus-within .link { outline: 2px solid var(--out); outline-offset: 1px; }
    .msg { flex: 1 1 auto; width: 100%; min-height: 138px; resize: none; font: var(--t1)/15px var(--wire); border-left: 2px solid var(--rule-strong); padding-left: var(--s2); overflow: auto; display: block; white-space: pre-wrap; overflow-wrap: anywhere; scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    .msg:focus-visible, .pem:focus-visible { outline-offset: 2px; }
    .pem { width: 100%; height: 62px; resize: vertical; font: var(--t1)/15px var(--wire); border: 1px solid var(--rule-strong); padding: var(--s1); margin-top: 4px; display: block; }
    details { padding: 3px 0; } summary { list-style: none; color: var(--soft); cursor: pointer; } summary::-webkit-details-marker { display: none; }
    .check { display: grid; grid-template-columns: 20px 1fr; align-items: start; padding: 3px 0; line-height: 15px; cursor: pointer; } .check input { margin-top: 1px; }
    .hint { color: var(--soft); font-size: var(--t1); line-height: 15px; padding: 4px 0; overflow-wrap: anywhere; }
    .problem { color: var(--bad); font-size: var(--t1); line-height: 15px; padding: 3px 0; }
    .file { line-height: 20px; overflow-wrap: anywhere; }
    .end { font-size: var(--t1); line-height: 15px; color: var(--soft); padding: var(--s1) 0 var(--s3); }
    .stack { display: flex; flex-direction: column; align-items: flex-start; gap: var(--s2); padding-top: 2px; }
    .stack .addr { height: 28px; padding: 0 var(--s2); border: 1px solid var(--rule-strong); border-radius: var(--radius); }
    :host([layout="phone"]) { font-size: var(--t3); padding: 0 var(--s4) var(--s4); }
    :host([layout="phone"]) .field { min-height: 36px; } :host([layout="phone"]) .field label { grid-template-columns: 84px 1fr; }
    :host([layout="phone"]) input:not([type="checkbox"]), :host([layout="phone"]) select { height: 34px; font-size: 16px; }
    :host([layout="phone"]) .msg { font-size: var(--t2); min-height: 180px; }
    :host([layout="phone"]) .seg label { height: 38px; padding: 0 12px; }
    :host([layout="phone"]) .field > .add { margin-left: 84px; line-height: 36px; }
    :host([layout="phone"]) .check, :host([layout="phone"]) .choose, :host([layout="phone"]) summary { min-height: 36px; align-items: center; }
  `];
}

customElements.define("scope-plan", ScopePlan);
