// The plan as a form: envelope, sign-in, message, TLS, and what the lab is made of.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { edit } from "./actions.ts";
import * as format from "./format.ts";
import { caret, control } from "./icons.ts";
import { BANDWIDTHS, CHANCES, chanceWords, DELAYS, durationWords, including, milliseconds, MTUS, nearest, type Choices } from "./knobs.ts";
import { ehloOf, LAB_ACCOUNT, MAX_RELAYS, messageSize, problems, proofOf, routeOf, securityOf, signsIn, target, withMessage, withRoute, type Behaviour, type Config, type Form, type Lab, type Link, type Mechanism, type Route, type SignIn } from "./plan.ts";
import { addressControl, modeControl, securityControl, segment, WITHOUT_TCP } from "./target.ts";
import { shared } from "./tokens.ts";

const ROUTES: Choices<Route> = [["direct", "Direct"], ["submission", "Submission"], ["chain", "Chain"]];
const TRANSPORTS: Choices<Lab["transport"]> = [["tcp", "TCP"], ["udp", "UDP"]];
const SHUTDOWNS: Choices<Behaviour["shutdown"]> = [["", "never"], ["MAIL", "at MAIL"], ["RCPT", "at RCPT"], ["DATA", "at DATA"]];

const MECHANISMS: Choices<Mechanism | "off"> = [
  ["off", "not at all"], ["PLAIN", "PLAIN"], ["LOGIN", "LOGIN"], ["CRAM-MD5", "CRAM-MD5"], ["XOAUTH2", "XOAUTH2"],
  ["OAUTHBEARER", "OAUTHBEARER"], ["EXTERNAL", "EXTERNAL"], ["ANONYMOUS", "ANONYMOUS"], ["", "best that is offered"],
];
/** Who signs in, where it is not a user with an account: neither has to be said. */
const WHO: Partial<Record<Mechanism, string>> = { EXTERNAL: "Identity", ANONYMOUS: "Trace" };

/** What a behaviour is set to when it is asked for. */
const USUAL = { greylist: "10m", greetingDelay: "8s", down: "45m", size: 200, readRate: "16kbit", receiveBuffer: 4096 } as const;

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
    const wrong = this.checked ? problems(this.form, this.config) : {}, lab = this.form.mode === "lab";
    return html`
      ${this.target ? this.#target(wrong.address) : nothing}
      ${[wrong.mode, this.target ? undefined : wrong.address].map((w) => (w ? html`<p class="problem" role="alert">${w}</p>` : nothing))}
      ${this.#live()}${lab ? this.#route() : nothing}${this.#envelope(wrong)}${this.#signIn()}${this.#message()}${this.#offers()}
      ${lab ? html`${this.#link(wrong.seed)}${this.#server()}` : nothing}${this.#tls()}
      <p class="end">${lab ? "Same plan and seed, same packets. " : nothing}${lab || this.locked ? "Locked while a run is open; Reset unlocks it." : nothing}${this.locked ? nothing : html`<span class="vh">The plan is kept in this browser, without password and token.</span>`}</p>`;
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

  /** A section that opens; what it holds, in short, is beside its name. */
  #fold(title: string, short: string, open: boolean, body: unknown): TemplateResult {
    return html`<section class="fold"><details ?open=${open}><summary><h2><span class="caret">${caret}</span>${title} <small>${short}</small></h2></summary>${body}</details></section>`;
  }

  /** Part of a section that opens. */
  #more(title: string, active: number, body: unknown): TemplateResult {
    return html`<details ?open=${active > 0}><summary class="more"><span class="caret">${caret}</span>${title} ${active ? html`<small>${active} on</small>` : nothing}</summary>${body}</details>`;
  }

  #check(words: unknown, on: boolean, change: (on: boolean) => void, note?: string): TemplateResult {
    return html`<label class="check"><input type="checkbox" .checked=${on} ?disabled=${this.locked} @change=${(e: Event) => change((e.target as HTMLInputElement).checked)}><span>${words}</span>${note ? html`<small>${note}</small>` : nothing}</label>`;
  }

  #select<T extends string | number>(label: string, value: T, choices: Choices<T>, change: (v: T) => void): TemplateResult {
    const all = including(choices, value);
    return html`<label class="knob"><span>${label}</span><select ?disabled=${this.locked} @change=${(e: Event) => change(all[(e.target as HTMLSelectElement).selectedIndex]![0])}>
      ${all.map(([v, words]) => html`<option ?selected=${v === value} .selected=${v === value}>${words}</option>`)}</select></label>`;
  }

  #slider(label: string, scale: readonly number[], at: number, words: string, change: (v: number) => void): TemplateResult {
    return html`<label class="knob"><span>${label}</span><input type="range" min="0" max=${scale.length - 1} step="1" .value=${String(nearest(scale, at))} aria-valuetext=${words} ?disabled=${this.locked}
      @input=${(e: InputEvent) => change(scale[Number((e.target as HTMLInputElement).value)]!)}><output>${words}</output></label>`;
  }

  #route(): TemplateResult {
    const { form } = this, { lab } = form, route = routeOf(form);
    const relays = Array.from({ length: MAX_RELAYS }, (_, i) => [i + 1, format.count(i + 1, "relay")] as const);
    const words = { direct: "Straight to the MX of the recipient.", submission: "To a submission server, which hands it on.", chain: "To a submission server, then from relay to relay." };
    return html`<section><h2>Route</h2>
      ${segment("route", "Route", ROUTES, route, this.locked, (r) => edit(this, withRoute(form, r)), lab.transport === "udp" ? "Datagrams go only as far as the first server." : undefined)}
      <p class="hint">${words[route]}</p>
      ${route === "chain" ? this.#select("On the way", lab.relays, relays, (n) => edit(this, { lab: { ...lab, relays: n } })) : nothing}
    </section>`;
  }

  #link(wrong: string | undefined): TemplateResult {
    const { link, lab, seed } = this.form, set = (patch: Partial<Link>) => edit(this, { link: { ...link, ...patch } });
    const chance = (label: string, key: "loss" | "reorder" | "duplicate" | "corrupt") =>
      this.#slider(label, CHANCES, link[key] * 100, chanceWords(link[key]), (v) => set({ [key]: v / 100 }));
    const udp = lab.transport === "udp", mtu = link.mtu || 1500;
    const more = [link.reorder, link.duplicate, link.corrupt, mtu !== 1500, udp].filter(Boolean).length;
    return html`<section><h2>Lab link <small>between any two hosts</small></h2>
      ${this.#slider("One-way delay", DELAYS, milliseconds(link.delay) ?? 0, durationWords(link.delay), (v) => set({ delay: `${v}ms` }))}
      ${chance("Loss", "loss")}
      ${this.#select("Bandwidth", link.bandwidth, BANDWIDTHS, (bandwidth) => set({ bandwidth }))}
      <label class="knob"><span>Seed</span><input inputmode="numeric" .value=${seed} ?readonly=${this.locked} spellcheck="false" autocomplete="off" aria-invalid=${wrong ? "true" : nothing}
        title="of all that is left to chance" @input=${(e: InputEvent) => edit(this, { seed: (e.target as HTMLInputElement).value })}></label>
      ${wrong ? html`<p class="problem">${wrong}</p>` : nothing}
      ${this.#more("Reorder, MTU, UDP …", more, html`
        ${chance("Reorder", "reorder")}${chance("Duplicate", "duplicate")}${chance("Corrupt", "corrupt")}
        ${this.#select("MTU", mtu, MTUS, (v) => set({ mtu: v }))}
        <div class="knob"><span>Transport</span>${segment("transport", "Transport", TRANSPORTS, lab.transport, this.locked, (transport) => edit(this, { lab: { ...lab, transport } }))}</div>
        ${udp ? html`<p class="hint">${WITHOUT_TCP} Nothing is sent again, either.</p>` : nothing}`)}
    </section>`;
  }

  /** What may be wrong with the recipients' mail server. */
  #server(): TemplateResult {
    const { form } = this, { lab } = form, s = lab.server, set = (patch: Partial<Behaviour>) => edit(this, { lab: { ...lab, server: { ...s, ...patch } } });
    const known = [...new Set([...form.to.map((t) => t.trim()).filter(Boolean), ...s.unknown])], count = (...on: unknown[]) => on.filter(Boolean).length;
    return html`<section><h2>The server <small>${target({ ...form, lab: { ...lab, route: "direct" } }, undefined).host}</small></h2>
      ${this.#more("Refuses mail", count(s.mailboxFull, s.greylist, s.size, s.shutdown, ...s.unknown), html`
        ${known.map((who) => this.#check(html`<span class="wire">${who}</span> does not exist`, s.unknown.includes(who), (on) => set({ unknown: on ? [...s.unknown, who] : s.unknown.filter((u) => u !== who) })))}
        ${this.#check("Every mailbox is full", s.mailboxFull, (mailboxFull) => set({ mailboxFull }))}
        ${this.#check(`Greylisting: a stranger has to come back after ${durationWords(s.greylist || USUAL.greylist)}`, !!s.greylist, (on) => set({ greylist: on ? USUAL.greylist : "" }))}
        ${this.#check(`No message over ${format.bytes(s.size || USUAL.size)}`, !!s.size, (on) => set({ size: on ? USUAL.size : 0 }))}
        ${this.#select("Hangs up, 421", s.shutdown, SHUTDOWNS, (shutdown) => set({ shutdown }))}`)}
      ${this.#more("Offers less", count(s.noSTARTTLS, s.noPipelining), html`
        ${this.#check("No STARTTLS", s.noSTARTTLS, (noSTARTTLS) => set({ noSTARTTLS }))}
        ${this.#check("No PIPELINING, and so no STARTTLS", s.noPipelining, (noPipelining) => set({ noPipelining }))}`)}
      ${this.#more("Is slow, or down", count(s.greetingDelay, s.down, s.readRate), html`
        ${this.#check(`Greets after ${durationWords(s.greetingDelay || USUAL.greetingDelay)}`, !!s.greetingDelay, (on) => set({ greetingDelay: on ? USUAL.greetingDelay : "" }))}
        ${this.#check(`Is down for the first ${durationWords(s.down || USUAL.down)}`, !!s.down, (on) => set({ down: on ? USUAL.down : "" }))}
        ${this.#check(`Reads ${s.readRate || USUAL.readRate} a second: a long message finds its window closed`, !!s.readRate, (on) => set(on ? { readRate: USUAL.readRate, receiveBuffer: USUAL.receiveBuffer } : { readRate: "", receiveBuffer: 0 }))}`)}
    </section>`;
  }

  #offers(): TemplateResult {
    return html`<section><h2>Use, if offered</h2>${this.#check("Pipelining", this.form.pipelining, (pipelining) => edit(this, { pipelining }), "RFC 2920")}
      ${this.#check("CHUNKING", this.form.chunking, (chunking) => edit(this, { chunking }), "RFC 3030")}
      ${this.#check("SMTPUTF8", this.form.smtputf8, (smtputf8) => edit(this, { smtputf8 }), "RFC 6531")}</section>`;
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
    const { mode } = this.form, s = this.form.signIn[mode], account = mode === "lab" ? LAB_ACCOUNT : mode === "practice" ? this.config?.practice : undefined;
    const set = (patch: Partial<SignIn>) => edit(this, { signIn: { ...this.form.signIn, [mode]: { ...s, ...patch } } });
    const choice = s.on ? s.mechanism : "off", proof = proofOf(s.mechanism), known = proof === "password" ? account : undefined;
    const choose = (v: Mechanism | "off") => set(v === "off" ? { on: false } : { on: true, mechanism: v });
    const unused = mode === "practice" ? "Not used without TLS: the practice server takes mail on port 25 from anybody." : "Not used: there is no sign-in over UDP.";
    const body = html`
      <div class="field"><label><span>How</span><select ?disabled=${this.locked} @change=${(e: Event) => choose(MECHANISMS[(e.target as HTMLSelectElement).selectedIndex]![0])}>
        ${MECHANISMS.map(([v, w]) => html`<option value=${v || "best"} ?selected=${v === choice} .selected=${v === choice}>${w}</option>`)}
      </select></label></div>
      ${s.on && !signsIn(this.form) ? html`<p class="hint">${unused}</p>`
        : s.on ? html`
          ${this.#field(WHO[s.mechanism] ?? "User", s.username, (username) => set({ username }), { placeholder: known?.username ?? "" })}
          ${proof ? this.#field(proof === "token" ? "Token" : "Password", s.password, (password) => set({ password }), { type: "password", placeholder: known ? "•".repeat(known.password.length) : "" }) : nothing}
          ${proof && securityOf(this.form) === "none" ? html`<p class="problem">${s.mechanism === "CRAM-MD5"
            ? "Without TLS everybody on the path can try passwords against the response." : `Without TLS everybody on the path can read the ${proof}.`}</p>` : nothing}` : nothing}`;
    const short = signsIn(this.form) ? [s.mechanism || "AUTH", s.username || (known && LAB_ACCOUNT.username)].filter(Boolean).join(", ") : "not at all";
    return mode === "lab" ? this.#fold("Sign in", short, false, body) : html`<section><h2>Sign in <small>RFC 4954</small></h2>${body}</section>`;
  }

  #message(): TemplateResult {
    const { message, file } = this.form, size = file?.size ?? messageSize(message);
    return html`<section class="grow ${this.form.mode === "lab" ? "short" : ""}"><h2>Message <small>${format.bytes(size)}</small></h2>
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
    const { ehlo, serverName, ca, insecure, mode } = this.form;
    const body = html`
      ${this.#field("EHLO", ehlo, (v) => edit(this, { ehlo: v }), { placeholder: ehloOf(this.form) })}
      ${securityOf(this.form) === "none" ? nothing : html`
        ${this.#field("TLS name", serverName, (v) => edit(this, { serverName: v }), { placeholder: "that of the host" })}
        <details ?open=${!!ca}><summary><span class="link">Trust another authority</span></summary>
          <textarea class="pem" aria-label="certificates of authorities, PEM" spellcheck="false" placeholder="-----BEGIN CERTIFICATE-----" ?readonly=${this.locked} .value=${ca} @input=${(e: InputEvent) => edit(this, { ca: (e.target as HTMLTextAreaElement).value })}></textarea></details>
        ${this.#check("Go on with a certificate that is not trusted", insecure, (on) => edit(this, { insecure: on }))}
        ${insecure ? html`<p class="problem">Whoever is on the path can then read and change everything, the password too.</p>` : nothing}`}`;
    return mode === "lab" ? this.#fold("Names and trust", ehloOf(this.form), !!serverName || !!ca || insecure, body) : html`<section><h2>Names and trust</h2>${body}</section>`;
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
    .choose { cursor: pointer; margin-top: 6px; align-self: flex-start; } .choose:focus-within .link { outline: 2px solid var(--out); outline-offset: 1px; }
    .msg { flex: 1 1 auto; width: 100%; min-height: 138px; resize: none; font: var(--t1)/15px var(--wire); border-left: 2px solid var(--rule-strong); padding-left: var(--s2); overflow: auto; display: block; white-space: pre-wrap; overflow-wrap: anywhere; scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    .short .msg { min-height: 93px; }
    .msg:focus-visible, .pem:focus-visible { outline-offset: 2px; }
    .pem { width: 100%; height: 62px; resize: vertical; font: var(--t1)/15px var(--wire); border: 1px solid var(--rule-strong); padding: var(--s1); margin-top: 4px; display: block; }
    details { padding: 2px 0; } summary { list-style: none; line-height: 24px; color: var(--soft); cursor: pointer; } summary::-webkit-details-marker { display: none; }
    .fold { padding: var(--s2) 0; } .fold details, .fold h2 { padding: 0; margin: 0; } .fold h2 { color: var(--ink); line-height: 24px; justify-content: flex-start; gap: 6px; } .fold small { margin-left: auto; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .fold details[open] > summary { padding-bottom: 4px; }
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
    .problem { color: var(--bad); font-size: var(--t1); line-height: 15px; padding: 3px 0; }
    .file { line-height: 20px; overflow-wrap: anywhere; }
    .end { font-size: var(--t1); line-height: 15px; color: var(--soft); padding: var(--s1) 0 var(--s3); }
    .stack { display: flex; flex-direction: column; align-items: flex-start; gap: var(--s2); padding-top: 2px; }
    .stack .addr { height: 28px; padding: 0 var(--s2); border: 1px solid var(--rule-strong); border-radius: var(--radius); }
    :host([layout="phone"]) { font-size: var(--t3); padding: 0 var(--s4) var(--s4); }
    :host([layout="phone"]) .field { min-height: 36px; } :host([layout="phone"]) .field label { grid-template-columns: 84px 1fr; }
    :host([layout="phone"]) input:not([type="checkbox"], [type="range"], [type="radio"]), :host([layout="phone"]) select { height: 34px; font-size: 16px; }
    :host([layout="phone"]) .msg { font-size: var(--t2); min-height: 180px; }
    :host([layout="phone"]) .seg label { height: 38px; padding: 0 12px; } :host([layout="phone"]) .knob { min-height: 38px; grid-template-columns: 110px 1fr; } :host([layout="phone"]) .knob:has(output) { grid-template-columns: 110px 1fr 64px; }
    :host([layout="phone"]) [type="range"] { height: 38px; } :host([layout="phone"]) [type="range"]::-webkit-slider-thumb { width: 10px; height: 22px; margin-top: -11px; } :host([layout="phone"]) [type="range"]::-moz-range-thumb { width: 10px; height: 22px; }
    :host([layout="phone"]) .field > .add { margin-left: 84px; line-height: 36px; }
    :host([layout="phone"]) .check, :host([layout="phone"]) .choose, :host([layout="phone"]) .more, :host([layout="phone"]) .fold h2 { min-height: 36px; align-items: center; }
  `];
}

customElements.define("scope-plan", ScopePlan);
