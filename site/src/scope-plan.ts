// The plan as a form: envelope, sign-in, message, TLS, and what the lab is made of.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { edit } from "./actions.ts";
import type { Compose } from "./compose.ts";
import { check, controls, field, fold, more, opens, problem, select, slider } from "./controls.ts";
import * as format from "./format.ts";
import { control } from "./icons.ts";
import { BANDWIDTHS, CHANCES, chanceWords, DELAYS, durationWords, milliseconds, MTUS, type Choices } from "./knobs.ts";
import { addition, ehloOf, LAB_ACCOUNT, MAX_RELAYS, messageSize, NO_FIELDS, problems, proofOf, protocolOf, routeOf, securityOf, signsIn, target, withMessage, withRoute, withTransaction, type Behaviour, type Config, type Form, type Lab, type Link, type Mechanism, type Options, type Route, type SignIn, type Transaction } from "./plan.ts";
import type { Width } from "./scope-top.ts";
import { addressControl, modeControl, securityControl, segment, WITHOUT_TCP } from "./target.ts";
import { shared } from "./tokens.ts";

const ROUTES: Choices<Route> = [["direct", "Direct"], ["submission", "Submission"], ["chain", "Chain"]];
const TRANSPORTS: Choices<Lab["transport"]> = [["tcp", "TCP"], ["udp", "UDP"]];
const SHUTDOWNS: Choices<Behaviour["shutdown"]> = [["", "never"], ["MAIL", "at MAIL"], ["RCPT", "at RCPT"], ["DATA", "at DATA"]];

const MECHANISMS: Choices<Mechanism | "off"> = [
  ["off", "not at all"], ["", "best that is offered"],
  ...(["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "ANONYMOUS"] as const).map((m) => [m, m] as const),
];
const WAYS: Choices<Transaction["way"]> = [["raw", "Raw"], ["fields", "Fields"]];
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
    /** How the page is laid out. */
    layout: {},
    compose: { attribute: false },
    tab: { state: true },
    turning: { state: true },
    failure: { state: true },
  };
  declare form: Form;
  declare config: Config | undefined;
  declare locked: boolean;
  declare target: boolean;
  /** A run was tried: show what keeps it. */
  declare checked: boolean;
  declare layout: Width;
  declare compose: Compose;
  declare tab: number;
  /** The source is being composed of the fields. */
  declare turning: boolean;
  declare failure: string;

  constructor() {
    super();
    this.tab = 0;
    this.turning = false;
    this.failure = "";
  }

  protected override firstUpdated(): void {
    if (this.form.transactions.some((t) => t.way === "fields")) this.#fetch(import("./scope-compose.ts"));
  }

  protected override render(): TemplateResult {
    const wrong = this.checked ? problems(this.form, this.config) : {}, lab = this.form.mode === "lab", shown = this.form.transactions[this.#at];
    return html`
      ${this.target ? this.#target(wrong.address) : nothing}
      ${[wrong.mode, this.target ? undefined : wrong.address].map(problem)}
      ${this.#live()}${lab ? this.#route() : nothing}${this.#signIn()}${this.#messages()}${shown ? html`${this.#envelope(shown, wrong.to)}${this.#message(shown, wrong.message)}` : nothing}${this.#offers()}
      ${lab ? html`${this.#link(wrong.seed)}${this.#server()}` : nothing}${this.#session(wrong.commands)}${this.#tls()}
      <p class="end">${lab ? "Same plan and seed, same packets. " : nothing}${lab || this.locked ? "Locked while a run is open; Reset unlocks it." : nothing}${this.locked ? nothing : html`<span class="vh">The plan is kept in this browser, without password and token.</span>`}</p>`;
  }

  #target(wrong: string | undefined): TemplateResult {
    const p = { form: this.form, config: this.config, locked: this.locked, problem: wrong };
    return html`<section><h2>Server</h2><div class="stack">${modeControl(this, p)}${addressControl(this, p)}${problem(wrong)}${securityControl(this, p)}</div></section>`;
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

  #route(): TemplateResult {
    const { form, locked } = this, { lab } = form, route = routeOf(form);
    const relays = Array.from({ length: MAX_RELAYS }, (_, i) => [i + 1, format.count(i + 1, "relay")] as const);
    const words = { direct: "Straight to the MX of the recipient.", submission: "To a submission server, which hands it on.", chain: "To a submission server, then from relay to relay." };
    return html`<section><h2>Route</h2>
      ${segment("route", "Route", ROUTES, route, locked, (r) => edit(this, withRoute(form, r)), lab.transport === "udp" ? "Datagrams go only as far as the first server." : undefined)}
      <p class="hint">${words[route]}</p>
      ${route === "chain" ? select("On the way", lab.relays, relays, locked, (n) => edit(this, { lab: { ...lab, relays: n } })) : nothing}
    </section>`;
  }

  #link(wrong: string | undefined): TemplateResult {
    const { locked } = this, { link, lab, seed } = this.form, set = (patch: Partial<Link>) => edit(this, { link: { ...link, ...patch } });
    const chance = (label: string, key: "loss" | "reorder" | "duplicate" | "corrupt") =>
      slider(label, CHANCES, link[key] * 100, chanceWords(link[key]), locked, (v) => set({ [key]: v / 100 }));
    const udp = lab.transport === "udp", mtu = link.mtu || 1500;
    const unusual = [link.reorder, link.duplicate, link.corrupt, mtu !== 1500, udp].filter(Boolean).length;
    return html`<section><h2>Lab link <small>between any two hosts</small></h2>
      ${slider("One-way delay", DELAYS, milliseconds(link.delay) ?? 0, durationWords(link.delay), locked, (v) => set({ delay: `${v}ms` }))}
      ${chance("Loss", "loss")}
      ${select("Bandwidth", link.bandwidth, BANDWIDTHS, locked, (bandwidth) => set({ bandwidth }))}
      <label class="knob"><span>Seed</span><input inputmode="numeric" .value=${seed} ?readonly=${locked} spellcheck="false" autocomplete="off" aria-invalid=${wrong ? "true" : nothing}
        title="of all that is left to chance" @input=${(e: InputEvent) => edit(this, { seed: (e.target as HTMLInputElement).value })}></label>
      ${problem(wrong)}
      ${more("Reorder, MTU, UDP …", unusual, html`
        ${chance("Reorder", "reorder")}${chance("Duplicate", "duplicate")}${chance("Corrupt", "corrupt")}
        ${select("MTU", mtu, MTUS, locked, (v) => set({ mtu: v }))}
        <div class="knob"><span>Transport</span>${segment("transport", "Transport", TRANSPORTS, lab.transport, locked, (transport) => edit(this, { lab: { ...lab, transport } }))}</div>
        ${udp ? html`<p class="hint">${WITHOUT_TCP} Nothing is sent again, either.</p>` : nothing}`)}
    </section>`;
  }

  /** What may be wrong with the recipients' mail server. */
  #server(): TemplateResult {
    const { form, locked } = this, { lab } = form, s = lab.server, set = (patch: Partial<Behaviour>) => edit(this, { lab: { ...lab, server: { ...s, ...patch } } });
    const known = [...new Set([...form.transactions.flatMap((t) => t.to).map((t) => t.trim()).filter(Boolean), ...s.unknown])], count = (...on: unknown[]) => on.filter(Boolean).length;
    return html`<section><h2>The server <small>${target({ ...form, lab: { ...lab, route: "direct" } }, undefined).host}</small></h2>
      ${more("Refuses mail", count(s.mailboxFull, s.greylist, s.size, s.shutdown, ...s.unknown), html`
        ${known.map((who) => check(html`<span class="wire">${who}</span> does not exist`, s.unknown.includes(who), locked, (on) => set({ unknown: on ? [...s.unknown, who] : s.unknown.filter((u) => u !== who) })))}
        ${check("Every mailbox is full", s.mailboxFull, locked, (mailboxFull) => set({ mailboxFull }))}
        ${check(`Greylisting: a stranger has to come back after ${durationWords(s.greylist || USUAL.greylist)}`, !!s.greylist, locked, (on) => set({ greylist: on ? USUAL.greylist : "" }))}
        ${check(`No message over ${format.bytes(s.size || USUAL.size)}`, !!s.size, locked, (on) => set({ size: on ? USUAL.size : 0 }))}
        ${select("Hangs up, 421", s.shutdown, SHUTDOWNS, locked, (shutdown) => set({ shutdown }))}`)}
      ${more("Offers less", count(s.noSTARTTLS, s.noPipelining), html`
        ${check("No STARTTLS", s.noSTARTTLS, locked, (noSTARTTLS) => set({ noSTARTTLS }))}
        ${check("No PIPELINING, and so no STARTTLS", s.noPipelining, locked, (noPipelining) => set({ noPipelining }))}`)}
      ${more("Is slow, or down", count(s.greetingDelay, s.down, s.readRate), html`
        ${check(`Greets after ${durationWords(s.greetingDelay || USUAL.greetingDelay)}`, !!s.greetingDelay, locked, (on) => set({ greetingDelay: on ? USUAL.greetingDelay : "" }))}
        ${check(`Is down for the first ${durationWords(s.down || USUAL.down)}`, !!s.down, locked, (on) => set({ down: on ? USUAL.down : "" }))}
        ${check(`Reads ${s.readRate || USUAL.readRate} a second: a long message finds its window closed`, !!s.readRate, locked, (on) => set(on ? { readRate: USUAL.readRate, receiveBuffer: USUAL.receiveBuffer } : { readRate: "", receiveBuffer: 0 }))}`)}
    </section>`;
  }

  #offers(): TemplateResult {
    const { form, locked } = this, o = form.options, set = (patch: Partial<Options>) => edit(this, { options: { ...o, ...patch } });
    const others = [o.body, !o.size, o.requiretls, o.dsn.notify.length || o.dsn.ret || o.dsn.envid, o.deliverby, o.priority, o.hold, o.rrvs].filter(Boolean).length;
    return html`<section><h2>Use, if offered</h2>
      ${check("Pipelining", o.pipelining, locked, (pipelining) => set({ pipelining }), "RFC 2920")}
      ${check("CHUNKING", o.chunking, locked, (chunking) => set({ chunking, body: chunking || o.body !== "binarymime" ? o.body : "" }), "RFC 3030")}
      ${check("SMTPUTF8", o.smtputf8, locked, (smtputf8) => set({ smtputf8 }), "RFC 6531")}
      ${more("More extensions", others, html`<scope-options layout=${this.layout} .form=${form} .locked=${locked} @scope-edit=${this.#passOn}></scope-options>`, this.#fetchOptions)}</section>`;
  }

  /** What is sent between the sign-in and the first message, and in which protocol. */
  #session(wrong: string | undefined): TemplateResult {
    const { form, locked } = this, lab = form.mode === "lab", n = form.commands.split("\n").filter((c) => c.trim()).length;
    const short = `${lab ? "" : `${protocolOf(form).toUpperCase()}, `}${n ? format.count(n, "command") : "no commands"}`;
    return fold(lab ? "Commands first" : "Session", short, !!wrong || n > 0 || protocolOf(form) !== "smtp",
      html`<scope-session layout=${this.layout} .form=${form} .locked=${locked} .problem=${wrong} @scope-edit=${this.#passOn}></scope-session>`, this.#fetchOptions);
  }

  #fetchOptions = () => this.#fetch(import("./scope-options.ts"));

  /** A part of this form that was not needed until now. */
  #fetch(part: Promise<unknown>): void {
    part.then(() => (this.failure = ""), (e: Error) => (this.failure = `A part of this form could not be loaded: ${e.message}`));
  }

  /** What a part of this form wants goes where this form's own wishes go. */
  #passOn = (e: CustomEvent<Partial<Form>>) => edit(this, e.detail);

  /** The mail transaction that is shown. */
  get #at(): number {
    return Math.min(this.tab, this.form.transactions.length - 1);
  }

  #set(patch: Partial<Transaction>): void {
    edit(this, withTransaction(this.form, this.#at, patch));
  }

  #put(transactions: Transaction[], tab: number): void {
    this.tab = tab;
    edit(this, { transactions });
  }

  #add = () => this.#put([...this.form.transactions, addition(this.form)], this.form.transactions.length);

  #remove = () => this.#put(this.form.transactions.filter((_, i) => i !== this.#at), Math.max(0, this.#at - 1));

  /** That there are several mail transactions in the session, or none. */
  #messages(): TemplateResult | typeof nothing {
    const { form, locked } = this, { transactions, options } = form;
    if (transactions.length === 1) return nothing;
    return transactions.length === 0
      ? html`<section><h2>Message</h2><p class="hint">None: the session looks at the server, and leaves.</p>${locked ? nothing : html`<p class="ends"><button class="link" @click=${this.#add}>Send a message</button></p>`}</section>`
      : html`<section><h2>Messages <small>in one session</small></h2>
        <div class="tabs">${segment("transaction", "which message", transactions.map((_, i) => [String(i), String(i + 1)] as const), String(this.#at), false, (i) => (this.tab = Number(i)))}
          ${locked ? nothing : html`<button class="link" @click=${this.#add}>Add</button><button class="link" @click=${this.#remove}>Remove ${this.#at + 1}</button>`}</div>
        ${check("RSET between two", options.rset, locked, (rset) => edit(this, { options: { ...options, rset } }), "RFC 5321")}</section>`;
  }

  #envelope(t: Transaction, wrong: string | undefined): TemplateResult {
    const { locked } = this, set = (i: number, v: string) => this.#set({ to: t.to.map((r, j) => (j === i ? v : r)) });
    const remove = (i: number) => html`<button class="drop" aria-label="remove this recipient" @click=${() => this.#set({ to: t.to.filter((_, j) => j !== i) })}>${control("close")}</button>`;
    return html`<section><h2>Envelope <small>RFC 5321</small></h2>
      ${field("From", t.from, locked, (from) => this.#set({ from }), { placeholder: "<> the null reverse-path" })}
      ${t.to.map((r, i) => field(i === 0 ? "To" : "and", r, locked, (v) => set(i, v), { problem: i === 0 ? wrong : undefined, extra: t.to.length > 1 && !locked ? remove(i) : undefined }))}
      ${locked ? nothing : html`<div class="field"><button class="add link" @click=${() => this.#set({ to: [...t.to, ""] })}>Add a recipient</button></div>`}
    </section>`;
  }

  #signIn(): TemplateResult {
    const { mode } = this.form, s = this.form.signIn[mode], account = mode === "lab" ? LAB_ACCOUNT : mode === "practice" ? this.config?.practice : undefined;
    const set = (patch: Partial<SignIn>) => edit(this, { signIn: { ...this.form.signIn, [mode]: { ...s, ...patch } } });
    const choice = s.on ? s.mechanism : "off", proof = proofOf(s.mechanism), known = proof === "password" ? account : undefined;
    const choose = (v: Mechanism | "off") => set(v === "off" ? { on: false } : { on: true, mechanism: v });
    const unused = mode === "practice" ? protocolOf(this.form) === "lmtp" ? "Not used: the practice server has no sign-in for LMTP." : "Not used without TLS: the practice server takes mail on port 25 from anybody." : "Not used: there is no sign-in over UDP.";
    const body = html`
      <div class="field"><label><span>How</span><select ?disabled=${this.locked} @change=${(e: Event) => choose(MECHANISMS[(e.target as HTMLSelectElement).selectedIndex]![0])}>
        ${MECHANISMS.map(([v, w]) => html`<option value=${v || "best"} ?selected=${v === choice} .selected=${v === choice}>${w}</option>`)}
      </select></label></div>
      ${s.on && !signsIn(this.form) ? html`<p class="hint">${unused}</p>`
        : s.on ? html`
          ${field(WHO[s.mechanism] ?? "User", s.username, this.locked, (username) => set({ username }), { placeholder: known?.username ?? "" })}
          ${proof ? field(proof === "token" ? "Token" : "Password", s.password, this.locked, (password) => set({ password }), { type: "password", placeholder: known ? "•".repeat(known.password.length) : "" }) : nothing}
          ${proof && securityOf(this.form) === "none" ? problem(exposed(s.mechanism, proof)) : nothing}` : nothing}`;
    const short = signsIn(this.form) ? [s.mechanism || "AUTH", s.username || (known && LAB_ACCOUNT.username)].filter(Boolean).join(", ") : "not at all";
    return mode === "lab" ? fold("Sign in", short, false, body) : html`<section><h2>Sign in <small>RFC 4954</small></h2>${body}</section>`;
  }

  #message(t: Transaction, wrong: string | undefined): TemplateResult {
    const { locked } = this, { text, file } = t, way = this.turning ? "raw" : t.way, alone = this.form.transactions.length === 1;
    return html`<section class="grow ${this.form.mode === "lab" ? "short" : ""}"><h2>Message ${segment("way", "Message written as", WAYS, way, locked, (w) => void this.#turn(w))}</h2>
      ${way === "fields"
        ? html`<scope-compose layout=${this.layout} .transaction=${t} .compose=${this.compose} .locked=${locked} @scope-fields=${(e: CustomEvent<Partial<Transaction>>) => this.#composed(t, e.detail)}></scope-compose>`
        : file
          ? html`<p class="file"><span class="wire">${file.name}</span> <button class="link soft" ?disabled=${locked} @click=${() => this.#set({ file: undefined, alternatives: undefined })}>Remove</button></p>
            <p class="hint">Too long to be edited here. Sent as it is, with line ends made CR LF.</p>
            ${this.#foot(file.size)}`
          : html`<textarea class="msg box" spellcheck="false" aria-label="message" ?readonly=${locked || this.turning} .value=${text} @input=${(e: InputEvent) => this.#typed((e.target as HTMLTextAreaElement).value)}></textarea>
            ${this.#foot(messageSize(text))}`}
      ${problem(this.failure)}${wrong && !t.problem ? problem(wrong) : nothing}
      ${alone && !locked ? html`<p class="ends"><button class="link" @click=${this.#add}>Add a message</button><button class="link" @click=${this.#remove}>No message</button></p>` : nothing}
    </section>`;
  }

  /** What the fields became, unless their message was changed or left meanwhile. */
  #composed(t: Transaction, patch: Partial<Transaction>): void {
    if (this.form.transactions[this.#at] === t) this.#set(patch);
  }

  #foot(size: number): TemplateResult {
    return html`<p class="ends">${this.locked ? html`<span></span>` : html`<label class="choose"><input type="file" class="vh" accept=".eml,.txt,message/rfc822,text/*" @change=${(e: Event) => this.#chosen(e.target as HTMLInputElement)}><span class="link">Choose a file</span></label>`}<small>${format.bytes(size)}</small></p>`;
  }

  #typed(text: string): void {
    this.#set({ ...withMessage(text, "pasted text"), fields: NO_FIELDS });
  }

  /** From the source to fields, or back. */
  async #turn(way: Transaction["way"]): Promise<void> {
    const i = this.#at, before = this.form.transactions[i]!;
    this.turning = way === "raw";
    try {
      const [{ turned }] = await Promise.all([import("./compose.ts"), import("./scope-compose.ts")]), after = await turned(before, way, this.compose);
      this.failure = "";
      if (this.form.transactions[i] === before) edit(this, withTransaction(this.form, i, after));
    } catch (e) {
      this.failure = `A part of this form could not be loaded: ${(e as Error).message}`;
    }
    this.turning = false;
  }

  async #chosen(input: HTMLInputElement): Promise<void> {
    const file = input.files?.[0];
    input.value = "";
    if (!file) return;
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      this.failure = "";
      this.#set({ ...withMessage(text, file.name), fields: NO_FIELDS });
    } catch (e) {
      this.failure = e instanceof TypeError
        ? `${file.name} is not UTF-8 text. A message is text: attachments in it are base64 (RFC 2045, 6.8). Save it as .eml.`
        : `${file.name} cannot be read: ${(e as Error).message}`;
    }
  }

  #tls(): TemplateResult {
    const { locked } = this, { ehlo, serverName, ca, insecure, mode } = this.form;
    const body = html`
      ${field(protocolOf(this.form) === "lmtp" ? "LHLO" : "EHLO", ehlo, locked, (v) => edit(this, { ehlo: v }), { placeholder: ehloOf(this.form) })}
      ${securityOf(this.form) === "none" ? nothing : html`
        ${field("TLS name", serverName, locked, (v) => edit(this, { serverName: v }), { placeholder: "that of the host" })}
        <details ${opens(!!ca)}><summary><span class="link">Trust another authority</span></summary>
          <textarea class="pem" aria-label="certificates of authorities, PEM" spellcheck="false" placeholder="-----BEGIN CERTIFICATE-----" ?readonly=${locked} .value=${ca} @input=${(e: InputEvent) => edit(this, { ca: (e.target as HTMLTextAreaElement).value })}></textarea></details>
        ${check("Go on with a certificate that is not trusted", insecure, locked, (on) => edit(this, { insecure: on }))}
        ${insecure ? problem("Whoever is on the path can then read and change everything, the password too.") : nothing}`}`;
    return mode === "lab" ? fold("Names and trust", ehloOf(this.form), !!serverName || !!ca || insecure, body) : html`<section><h2>Names and trust</h2>${body}</section>`;
  }

  static override styles = [shared, controls, css`
    :host { display: flex; flex-direction: column; background: var(--panel); padding: var(--s2) var(--s4) 0; overflow: auto; font-size: var(--t2); scrollbar-width: thin; scrollbar-color: var(--rule-strong) transparent; }
    section { padding: 10px 0 var(--s3); border-bottom: 1px solid var(--rule); }
    section.grow { flex: 1 0 auto; display: flex; flex-direction: column; padding-bottom: var(--s2); }
    section:last-of-type { border-bottom: 0; }
    h2:has(.seg) { align-items: center; } h2 .seg label { height: 22px; font-size: var(--t2); font-weight: 400; }
    .tabs { display: flex; align-items: center; gap: var(--s3); color: var(--soft); } .tabs .seg { margin-right: auto; flex-wrap: wrap; } .tabs .seg label { height: 24px; }
    .msg { flex: 1 1 auto; min-height: 138px; resize: none; overflow: auto; }
    .short .msg { min-height: 93px; }
    .pem { width: 100%; height: 62px; resize: vertical; font: var(--t1)/15px var(--wire); border: 1px solid var(--rule-strong); padding: var(--s1); margin-top: 4px; display: block; } .pem:focus-visible { outline-offset: 2px; }
    .file { line-height: 20px; overflow-wrap: anywhere; }
    .end { font-size: var(--t1); line-height: 15px; color: var(--soft); padding: var(--s1) 0 var(--s3); }
    .stack { display: flex; flex-direction: column; align-items: flex-start; gap: var(--s2); padding-top: 2px; }
    .stack .addr { height: 28px; padding: 0 var(--s2); border: 1px solid var(--rule-strong); border-radius: var(--radius); }
    :host([layout="phone"]) { font-size: var(--t3); padding: 0 var(--s4) var(--s4); }
    :host([layout="phone"]) .msg { min-height: 180px; }
  `];
}

/** What a sign-in without TLS gives away. */
function exposed(m: Mechanism, proof: string): string {
  if (m.endsWith("PLUS")) return "This binds the sign-in to TLS, and there is none.";
  return m.startsWith("SCRAM") || m === "CRAM-MD5" ? "Without TLS everybody on the path can try passwords against the response." : `Without TLS everybody on the path can read the ${proof}.`;
}

customElements.define("scope-plan", ScopePlan);
