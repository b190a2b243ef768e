// <smtp-scope>: an SMTP session, every byte of it.
//
// Attributes: mode="lab|practice|live|replay" plan="url|#id" trace="url"
// proxy="wss://…" token="what the proxy wants to see" view="full|compact" step autoplay="off" theme="light|dark"
// speed="0|1|0.1|0.01|0.001": lab time per real time, 0 for all at once.
// Properties: plan, trace, state. Methods: run, step, pause, reset, send, export.
// Events, all bubbling and composed: scope-event (a TraceEvent), scope-state,
// scope-done (the trace), scope-error.
//
// It owns the state; every element inside gets it as properties and answers with events.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import * as assets from "virtual:assets";
import type { Action } from "./actions.ts";
import type { Compose } from "./compose.ts";
import type { Desk } from "./desk.ts";
import { Engine, type EngineState, type Pending, type WorkerLike } from "./engine.ts";
import { FORMATS, type Format } from "./files.ts";
import * as format from "./format.ts";
import { control, HUES, provenance, SOURCE_WORDS } from "./icons.ts";
import { keepForm, keepTheme, keptForm, keptTheme } from "./keep.ts";
import { box } from "./box.ts";
import { columnsFor, lanes } from "./columns.ts";
import { completed, defaultForm, formOf, planOf, problems, securityOf, target, uncomposed, type Config, type Form, type Plan, type RunMode } from "./plan.ts";
import { rowsOf, Rows } from "./rows.ts";
import { outlineIn, outlineOf, stepsOf } from "./steps.ts";
import { shared, tokens } from "./tokens.ts";
import type { EventOfKind, Source, TraceEvent, TraceStore } from "./trace.ts";
import { verdict } from "./verdict.ts";
import { Player } from "./player.ts";
import { charted, placeOf, type Packets, type Pane, type Scale, type View } from "./view.ts";
import { transport, type Width } from "./scope-top.ts";
import { eventsUntil } from "./search.ts";
import { unitFor } from "./timescale.ts";
import "./scope-clock.ts";
import "./scope-ladder.ts";
import "./scope-plan.ts";
import "./scope-scrubber.ts";
import "./scope-states.ts";
import "./scope-tally.ts";
import "./scope-top.ts";
import "./scope-verdict.ts";

/** The folder that holds index.html; scripts lie in a folder of it. */
const BASE = new URL("..", import.meta.url);

const WIDE = 1100, PHONE = 700;

/** From so many events on, what stands around the ladder is drawn at most once in so many milliseconds. */
const BUSY = 500, PAUSE = 250;

/** How long a session that was cancelled may take to say so. */
const GRACE = 1500;

/** How long the line of a paused session stays while what it sent is not answered. */
const HOLD = 1500;

const LAB_INVITES = {
  none: "Press Run: a simulated internet of real TCP/IP stacks, inside this page, carries one message to {host} without encryption. Every packet is drawn. The dashed rows are the plan.",
  starttls: "Press Run: a simulated internet of real TCP/IP stacks, inside this page, carries one message to {host}, with TLS on the way. Every packet is drawn. The dashed rows are the plan.",
  tls: "Press Run: a simulated internet of real TCP/IP stacks, inside this page, carries one message to {host} inside TLS. Every packet is drawn. The dashed rows are the plan.",
} as const;

const PANES: [Pane, string][] = [["ladder", "Ladder"], ["transcript", "Transcript"], ["findings", "Findings"], ["chart", "Windows"], ["mail", "Mailboxes"]];

const INVITES = {
  none: "Press Run: this page sends one message to {host} without encryption, and draws every step and every byte. The dashed rows are the plan.",
  starttls: "Press Run: this page sends one message to {host}, upgrades to TLS on the way, and draws every step and every byte. The dashed rows are the plan.",
  tls: "Press Run: this page sends one message to {host} inside TLS from the first byte, and draws every step. The dashed rows are the plan.",
} as const;

export class SmtpScope extends LitElement {
  static override properties = {
    mode: { reflect: true },
    planSource: { attribute: "plan" },
    traceSource: { attribute: "trace" },
    proxy: {},
    token: {},
    view: { reflect: true },
    stepping: { attribute: "step", type: Boolean },
    autoplay: {},
    theme: { reflect: true },
    speed: { type: Number },
    width: { attribute: "layout", reflect: true },
  };
  declare mode: string;
  declare planSource: string | undefined;
  declare traceSource: string | undefined;
  declare proxy: string | undefined;
  declare token: string | undefined;
  declare view: "full" | "compact";
  declare stepping: boolean;
  declare autoplay: string | null;
  declare theme: "light" | "dark" | undefined;
  declare speed: number;
  declare width: Width;

  #engine = new Engine((kind) => this.#spawn(kind), { change: () => this.#changed(), events: (e) => this.#recorded(e) });
  #form: Form;
  #untouched: string; // the default message
  #given: Partial<Plan> = {}; // a plan from elsewhere
  #own = false; // the form was changed since
  #config: Config | undefined;
  #problem = "";
  #replay: TraceStore | undefined;
  #rows = new Rows(undefined);
  #past: { upto: number; rows: Rows } | undefined;
  #cursor: number | undefined;
  #selected = "";
  #shown = ""; // by the inspector
  #picked = false; // the user chose a row, so the selection no longer follows
  #open: ReadonlySet<string> = new Set();
  #revealed: ReadonlySet<number> = new Set();
  #show: Pane = "ladder";
  #scale: Scale = "time";
  #packets: Packets = "few";
  #player = new Player(() => this.#played());
  #planOpen = false;
  #sheet = false;
  #checked = false;
  #secrets = false;
  #draft: { verb: string } | undefined;
  #held: { pending: Pending; until: ReturnType<typeof setTimeout> } | undefined; // was sent step by step, and is not answered
  #typing = false;
  #stored: { id: string; text: string } | undefined;
  #said = "";
  #state: EngineState = "idle";
  #frame = 0;
  #calm: View | undefined; // what the views around the ladder show
  #calmed = 0;
  #later: ReturnType<typeof setTimeout> | undefined;
  #resize = new ResizeObserver(() => this.#measure());
  #keys = (e: KeyboardEvent): void => this.#keyed(e);

  constructor() {
    super();
    this.mode = "lab";
    this.view = "full";
    this.stepping = false;
    this.speed = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 1;
    this.width = "wide";
    const fresh = defaultForm();
    this.#untouched = fresh.transactions[0]!.text;
    this.#form = fresh;
  }

  // ---- what other programs use

  /** The plan of the next run: an object as protocol/session reads it. Setting it fills the form. */
  get plan(): Plan {
    return this.#plan(this.stepping);
  }

  set plan(plan: Partial<Plan>) {
    this.#given = plan;
    this.#own = false;
    this.#form = formOf(plan, this.#form);
    this.requestUpdate();
  }

  /** The trace that is shown; undefined before the first run. */
  get trace(): TraceStore | undefined {
    return this.#replay ?? this.#engine.trace;
  }

  /** Shows a saved trace: what JSON.parse makes of one. */
  set trace(saved: unknown) {
    void this.#openText(JSON.stringify(saved), "the trace");
  }

  /** idle, loading, running, paused, done or crashed. */
  get state(): EngineState {
    return this.#replay ? "done" : this.#engine.state;
  }

  /** Runs the plan; goes on with a session that is paused. Resolves to the trace, also when the session failed. */
  async run(): Promise<TraceStore> {
    if (this.#engine.state === "paused") {
      this.#engine.resume();
      return this.#running!;
    }
    return this.#start(this.stepping);
  }

  /** Sends what is pending and stops again; starts a session that stops before each send when none is open. */
  async step(): Promise<void> {
    if (this.#engine.busy) this.#engine.step();
    else void this.#start(true).catch(() => {});
  }

  /** Stops before the next send. */
  pause(): void {
    this.#engine.pause();
  }

  /** Ends the session that is open and forgets the trace. */
  async reset(): Promise<void> {
    if (this.#engine.busy) {
      this.#engine.cancel();
      await Promise.race([this.#running?.catch(() => {}), new Promise((r) => setTimeout(r, GRACE))]);
      if (this.#engine.busy) this.#engine.dispose();
    }
    this.#engine.forget();
    this.#replay = undefined;
    this.#fresh();
    this.#changed();
  }

  /** While paused: sends this in place of what is pending. */
  send(line: string): void {
    this.#engine.send(line);
  }

  /**
   * The trace as a file: "json", "text", "markdown", "svg", "pcapng" with the packets as one of the hosts saw them, or what
   * does the same by other means: "swaks", "openssl", "curl", "python", "go". Secrets, which the keys of TLS are too, are left
   * out unless they are asked for.
   */
  async export(format: string, options: { secrets?: boolean; host?: string } = {}): Promise<Blob> {
    const { trace } = this;
    if (!Object.hasOwn(FORMATS, format)) throw new Error(`cannot export "${format}": this version knows ${Object.keys(FORMATS).join(", ")}`);
    if (!trace) throw new Error("there is no trace to export: run a session first");
    return new Blob([await this.#body(trace, format as Format, options)], { type: FORMATS[format as Format][0] });
  }

  async #body(trace: TraceStore, format: Format, options: { secrets?: boolean; host?: string }): Promise<BlobPart> {
    if (format === "json") return JSON.stringify(options.secrets ? trace : trace.redact());
    // The keys are those of the last run, and not of a trace from elsewhere.
    const secrets = !!options.secrets, keys = secrets && !this.#replay ? this.#engine.keys : "";
    return (await (await this.#desk()).ask("export", { format, trace, host: options.host ?? "client", secrets, keys })) as BlobPart;
  }

  #write = (format: Format): Promise<Blob> => this.export(format, { secrets: this.#secrets });

  #desks: Promise<Desk> | undefined;

  /** What writes files and messages: fetched when it is first asked for something. */
  #desk(): Promise<Desk> {
    return (this.#desks ??= import("./desk.ts").then((d) => new d.Desk(() => this.#spawn("desk"))).catch((e: unknown) => {
      this.#desks = undefined; // the next try starts anew
      throw new Error(`Part of this page could not be loaded: ${message(e)}`);
    }));
  }

  #compose: Compose = async (fields, files) => (await this.#desk()).ask("compose", fields, files);

  // ---- life

  override connectedCallback(): void {
    super.connectedCallback();
    this.#resize.observe(this);
    (this.view === "full" ? document : this).addEventListener("keydown", this.#keys as EventListener);
    if (!this.hasAttribute("theme") && this.view === "full") this.theme = keptTheme();
    if (this.view === "full") this.#form = keptForm(this.#form);
    if (this.hasAttribute("mode") && this.mode !== "replay") this.#form = { ...this.#form, mode: this.mode as RunMode };
    void this.#prepare();
  }

  protected override firstUpdated(): void {
    this.#resize.observe(this.renderRoot.querySelector(".main")!);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#resize.disconnect();
    document.removeEventListener("keydown", this.#keys);
    this.removeEventListener("keydown", this.#keys as EventListener);
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#later);
    this.#engine.dispose();
  }

  async #prepare(): Promise<void> {
    // A page in the lab needs no program behind it.
    if (this.mode !== "replay") await this.#configure(this.#form.mode === "lab");
    try {
      if (this.planSource) this.plan = await this.#loadPlan(this.planSource);
      if (this.traceSource) {
        const url = new URL(this.traceSource, document.baseURI), answer = await fetch(url);
        if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
        await this.#openText(await answer.text(), this.traceSource);
      }
    } catch (e) {
      this.#fail(`What this page should show cannot be loaded: ${message(e)}`);
    }
    if (this.autoplay !== null && this.autoplay !== undefined && this.autoplay !== "off") void this.run().catch(() => {});
  }

  async #loadPlan(source: string): Promise<Partial<Plan>> {
    if (source.startsWith("#")) {
      const text = document.getElementById(source.slice(1))?.textContent;
      if (text == null) throw new Error(`no element ${source} holds a plan`);
      return JSON.parse(text) as Partial<Plan>;
    }
    const answer = await fetch(new URL(source, document.baseURI));
    if (!answer.ok) throw new Error(`${source} answered ${answer.status}`);
    return (await answer.json()) as Partial<Plan>;
  }

  /** Asks the proxy what it offers; false when it does not answer. */
  async #configure(quietly = false): Promise<boolean> {
    const url = this.#api("config");
    try {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`it answered ${answer.status}`);
      this.#config = (await answer.json()) as Config;
      this.#problem = "";
    } catch (e) {
      if (!quietly) this.#fail(`The smtpscope program behind this page does not answer at ${url.host || url}: ${message(e)}. See that it runs.`);
    }
    this.requestUpdate();
    return !!this.#config;
  }

  get #tunnel(): URL {
    const url = this.proxy ? new URL(this.proxy, document.baseURI) : new URL("tunnel", BASE);
    url.protocol = url.protocol.replace(/^http/, "ws");
    return url;
  }

  #api(path: string): URL {
    const url = new URL(`api/v1/${path}`, this.#tunnel);
    url.protocol = url.protocol.replace(/^ws/, "http");
    return url;
  }

  #spawn(kind: "live" | "lab" | "desk"): WorkerLike {
    const url = new URL(assets.worker, BASE);
    // A worker's script may not come from another origin, but it may load from there.
    const own = url.origin === location.origin ? url.href : URL.createObjectURL(new Blob([`importScripts(${JSON.stringify(url.href)});`], { type: "text/javascript" }));
    const w = new Worker(own);
    w.postMessage({ wasm: new URL(assets[kind], BASE).href, seeded: kind === "lab" });
    return w;
  }

  // ---- running

  #running: Promise<TraceStore> | undefined;

  /** A plan from elsewhere as it was given, until its user changes the form; then the form counts for what it shows. */
  #plan(step: boolean): Plan {
    const own = planOf(this.#form, this.#config, step), given = this.#given;
    if (!this.#own && given.target) return completed(given, own);
    return { ...own, pace: { ...own.pace, breakpoints: given.pace?.breakpoints ?? [] } };
  }

  /** By hand: the session has no message, and stops before each command for its user to write one. */
  async #start(step: boolean, byHand = false): Promise<TraceStore> {
    if (!this.#inLab && !this.#config && !(await this.#configure())) throw new Error(this.#problem);
    if (!byHand && uncomposed(this.#form)) {
      await (await import("./compose.ts")).settle(() => this.#form, (f) => (this.#form = f), this.#compose);
      if (this.#engine.busy) return this.#running!; // Run was pressed again meanwhile
    }
    const wrong = Object.entries(problems(this.#form, this.#config)).flatMap(([field, text]) => (byHand && field !== "address" && field !== "mode" && field !== "seed" ? [] : [text]));
    if (wrong.length && (this.#own || !this.#given.target)) {
      this.#checked = this.#planOpen = true;
      this.requestUpdate();
      throw new Error(wrong[0]);
    }
    this.#problem = "";
    this.#checked = this.#planOpen = false;
    this.#replay = undefined;
    this.#fresh();
    this.#running = this.#engine.run({ ...this.#plan(step), ...(byHand && { messages: [] }) }, { tunnel: this.#tunnel.href, api: this.#api("").href, roots: new URL(assets.roots, BASE).href, ...(this.token && { token: this.token }) });
    this.#typing = byHand;
    this.#fetchDetail();
    if (this.#inLab && !step) this.#play(0);
    return this.#running;
  }

  /** Whether the next run is an experiment. */
  get #inLab(): boolean {
    return (!this.#own && this.#given.target?.mode || this.#form.mode) === "lab";
  }

  // ---- playing an experiment

  /** Lets the trace go by from a time on, at the speed that is set. */
  #play(from: number): void {
    if (this.speed <= 0) return this.#player.stop();
    this.#player.play(from, this.speed, () => this.trace, () => this.#engine.state === "loading" || this.#engine.state === "running");
  }

  /** The player has come to another time. */
  #played(): void {
    const { trace } = this, t = this.#player.time;
    if (trace && t !== undefined) this.#cursor = eventsUntil(trace.events, t);
    else if (trace && !this.#engine.busy) this.#landed();
    else this.#cursor = undefined;
    this.requestUpdate();
  }

  /** The end of an experiment that was played. */
  #landed(): void {
    this.#cursor = undefined;
    this.#announce();
  }

  /** Goes on from the cursor, or plays once more from the start. */
  #playOn(): void {
    const { trace } = this;
    if (!trace) return;
    this.#picked = false;
    if (this.speed <= 0) return this.#moveCursor(Infinity);
    this.#play(this.#cursor === undefined ? 0 : this.#time(trace));
  }

  #time(trace: TraceStore): number {
    return this.#player.time ?? (this.#cursor === undefined ? trace.elapsed : (trace.events[this.#cursor - 1]?.t ?? 0));
  }

  /** Runs the experiment again up to the cursor, and pauses there. */
  #takeOver(): void {
    const { trace } = this, upto = this.#cursor;
    if (!trace || upto === undefined || this.#replay) return;
    const sends = trace.events.slice(0, upto).filter((e) => e.layer === "smtp" && !e.hop && (e.kind === "command" || e.kind === "response" || e.kind === "message")).length;
    this.#fresh();
    this.#running = this.#engine.takeUp(sends);
  }

  /** Moves the cursor to the next or previous event of a sort. */
  #hop(by: 1 | -1, wanted: (e: TraceEvent) => boolean): void {
    const events = this.trace?.events ?? [], upto = this.#cursor ?? events.length;
    let i = by > 0 ? upto : upto - 2;
    while (i >= 0 && i < events.length && !wanted(events[i]!)) i += by;
    this.#player.stop();
    this.#picked = false;
    this.#moveCursor(by < 0 && i < 0 ? 0 : i + 1);
  }

  #details: Promise<typeof import("./detail.ts")> | undefined;

  /** What looks into a session, and the book: fetched once. */
  #detail(): Promise<typeof import("./detail.ts")> {
    return (this.#details ??= import("./detail.ts").then((d) => {
      this.requestUpdate();
      return d;
    }).catch((e: unknown) => {
      this.#details = undefined; // the next try starts anew
      throw new Error(`Part of this page could not be loaded: ${message(e)}`);
    }));
  }

  #fetchDetail(): void {
    this.#detail().catch((e: unknown) => this.#fail(message(e)));
  }

  #showPane(what: Pane): void {
    this.#show = what;
    if (what !== "ladder") this.#fetchDetail();
    if (what === "chart") import("./scope-chart.ts").catch((e: unknown) => this.#fail(`The chart could not be loaded: ${message(e)}`));
  }

  /** The user is about to press Run. */
  #intent(): void {
    if (!this.#config && !this.#inLab) return;
    this.#engine.warmUp(this.#inLab ? "lab" : "live");
    this.#fetchDetail();
  }

  /** Forgets what belongs to one trace. */
  #fresh(): void {
    this.#player.stop();
    this.#cursor = this.#past = this.#draft = undefined;
    this.#release();
    this.#typing = false;
    this.#selected = "";
    this.#picked = this.#sheet = false;
    this.#open = new Set();
    this.#revealed = new Set();
    this.#said = "";
  }

  #changed(): void {
    const { state } = this;
    if (state !== this.#state) {
      this.#state = state;
      this.#tell("scope-state", { state });
      if (state !== "running") this.#release();
      if (state === "paused") this.#said = `Paused. ${this.#engine.pending?.verb ?? ""} is next.`;
      if (state === "done" || state === "crashed") this.#over(state);
    }
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.requestUpdate();
    });
  }

  #over(state: "done" | "crashed"): void {
    const { trace } = this;
    if (state === "crashed") this.#tell("scope-error", { message: this.#engine.crash });
    if (!trace?.result) return;
    if (!this.#player.playing) this.#announce();
    this.#tell("scope-done", { trace });
  }

  /** Says how a session ended, when its end is shown. */
  #announce(): void {
    const { trace } = this;
    if (!trace?.result) return;
    const v = verdict(trace, trace.result, this.#rows.trace === trace ? this.#rows.readTo(Infinity) : undefined);
    this.#said = [`${v.title}.`, v.text, v.after].filter(Boolean).join(" ");
    if (!this.#picked && v.event !== undefined) {
      const row = rowsOf(trace).rowOf(v.event);
      if (row) this.#selected = `r${row.i}`;
    }
  }

  #recorded(events: TraceEvent[]): void {
    for (const e of events) this.#tell("scope-event", e);
  }

  #tell(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }

  #fail(text: string): void {
    this.#problem = text;
    this.#tell("scope-error", { message: text });
    this.requestUpdate();
  }

  // ---- saved traces

  async #openText(text: string, name: string): Promise<void> {
    let trace: TraceStore;
    try {
      trace = (await this.#detail()).decode(text);
    } catch (e) {
      this.#notice(`${name} is not a trace that this page can read`, message(e));
      return;
    }
    if (this.#engine.busy) {
      this.#notice("A session is open", "Reset it before you open a saved trace.");
      return;
    }
    this.#replay = trace;
    this.#fresh();
    this.#problem = "";
    this.#state = "done";
    this.#tell("scope-state", { state: "done" });
    this.#over("done");
    this.requestUpdate();
  }

  async #openFile(file: File | undefined): Promise<void> {
    if (file) await this.#openText(await file.text(), file.name);
  }

  #dropped(e: DragEvent): void {
    const file = e.dataTransfer?.files[0];
    if (!file) return;
    e.preventDefault();
    void this.#openFile(file);
  }

  async #save(format: Format, host: string | undefined): Promise<void> {
    try {
      const blob = await this.export(format, { secrets: this.#secrets, ...(host && { host }) }), a = document.createElement("a");
      a.href = URL.createObjectURL(blob);
      a.download = `smtpscope-${this.trace!.meta.started.slice(0, 19).replaceAll(":", "")}.${FORMATS[format][1]}`;
      a.click();
      setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
    } catch (e) {
      this.#notice("The file could not be written", message(e));
    }
  }

  async #readStored(): Promise<void> {
    const id = this.trace?.result?.messages.find((m) => m.queueID)?.queueID;
    if (!id) return;
    try {
      const answer = await fetch(this.#api(`practice/messages/${encodeURIComponent(id)}`));
      if (!answer.ok) throw new Error(answer.status === 404 ? "The practice server no longer has it: it forgets when it is restarted, and old messages make room for new ones." : `It answered ${answer.status}.`);
      this.#stored = { id, text: await answer.text() };
      await this.#dialog("stored");
    } catch (e) {
      this.#notice("The message cannot be read back", message(e));
    }
  }

  #noticed: { title: string; text: string } | undefined;

  #notice(title: string, text: string): void {
    this.#noticed = { title, text };
    this.#tell("scope-error", { message: `${title}: ${text}` });
    void this.#dialog("notice");
  }

  async #dialog(id: "stored" | "notice"): Promise<void> {
    this.requestUpdate();
    await this.updateComplete;
    const d = this.renderRoot.querySelector<HTMLDialogElement>(`#${id}`);
    if (d && !d.open) d.showModal();
  }

  // ---- what the user wants

  #acted(a: Action): void {
    switch (a.do) {
      case "run": this.#ran(); break;
      case "step": this.#stepped(); break;
      case "pause": this.#paused(); break;
      case "reset": void this.reset(); break;
      case "stop": this.#engine.cancel(); break;
      case "retry": void this.#configure(); break;
      case "save": void this.#save(a.format, a.host); break;
      case "secrets": this.#secrets = a.include; break;
      case "show": this.#showPane(a.what); break;
      case "scale": this.#scale = a.scale; break;
      case "packets": this.#packets = a.packets; break;
      case "speed": this.#sped(a.speed); break;
      case "packet": this.#hop(a.by, (e) => e.at?.stream === "packets"); break;
      case "smtp": this.#hop(a.by, (e) => e.layer === "smtp"); break;
      case "takeover": this.#takeOver(); break;
      case "console": this.#byHand(); break;
      case "command": void this.#fetched("scope-command"); break;
      case "plan": this.#planOpen = !this.#planOpen; break;
      case "sheet": this.#sheet = false; break;
      case "end": this.#moveCursor(Infinity); break;
      case "help": void this.#fetched("scope-help"); break;
      case "open": this.renderRoot.querySelector<HTMLInputElement>("#file")!.click(); break;
      case "stored": void this.#readStored(); break;
      case "draft": this.#draft = { verb: a.verb }; break;
      case "theme": this.#toggleTheme(); break;
      case "pick": this.#pick(a.key); break;
      case "cursor": this.#moveCursor(a.upto); break;
    }
    this.requestUpdate();
  }

  /** Run: goes on with what is paused or stands still, or starts. */
  #ran(): void {
    this.#sendEdited();
    if (this.#short && !this.#engine.busy) this.#playOn();
    else void this.run().catch(() => {});
  }

  /** An experiment is shown up to a cursor before its end. */
  get #short(): boolean {
    return this.#cursor !== undefined && this.trace?.meta.mode === "lab";
  }

  /** Step: what is sent next; in an experiment that stands before its end, the next row of SMTP. */
  #stepped(): void {
    if (this.#short) this.#hop(1, (e) => e.layer === "smtp");
    else {
      this.#hold();
      this.#sendEdited() || void this.step();
    }
  }

  /** Keeps the line of a paused session where it is, so that who types can type on. */
  #hold(): void {
    const { pending } = this.#engine, line = this.renderRoot.querySelector("scope-pending");
    if (!pending || !line) return;
    this.#typing = !!line.shadowRoot?.activeElement;
    this.#release();
    this.#held = { pending, until: setTimeout(() => { this.#release(); this.requestUpdate(); }, HOLD) };
  }

  #release(): void {
    clearTimeout(this.#held?.until);
    this.#held = undefined;
  }

  /** A session in which the user says everything. */
  #byHand(): void {
    if (!this.#engine.busy) void this.#start(true, true).catch(() => {});
  }

  /** Shows a dialog that is fetched with the first session, or now. */
  async #fetched(dialog: "scope-help" | "scope-command"): Promise<void> {
    try {
      await this.#detail();
      await this.updateComplete;
      this.renderRoot.querySelector<Element & { show(): void }>(dialog)!.show();
    } catch (e) {
      this.#fail(message(e));
    }
  }

  #paused(): void {
    if (this.#player.playing) this.#player.pause();
    else if (this.#short) this.#playOn();
    else if (this.#engine.state === "paused") this.#engine.resume();
    else this.#engine.pause();
  }

  #sped(speed: number): void {
    this.speed = speed;
    const { trace } = this;
    if (!this.#player.playing || !trace) return;
    if (speed > 0) this.#play(this.#time(trace));
    else this.#moveCursor(Infinity);
  }

  /** Sends what the user wrote in place of what is pending, if anything; what was not changed the engine has in full. */
  #sendEdited(): boolean {
    const text = this.renderRoot.querySelector<Element & { edited?: string }>("scope-pending")?.edited;
    if (this.#engine.state !== "paused" || text === undefined) return false;
    this.send(text);
    return true;
  }

  #pick(key: string): void {
    const place = placeOf(key);
    if (!place) return;
    if (place.row >= this.#visible().list.length) this.#moveCursor(this.trace!.events.length);
    if (place.record !== undefined || place.certificate !== undefined || place.packet !== undefined || place.message !== undefined) this.#open = new Set([...this.#open, `r${place.row}`]);
    this.#selected = key;
    this.#picked = this.#sheet = true;
    this.requestUpdate();
  }

  #toggle(key: string): void {
    const open = new Set(this.#open);
    if (!open.delete(key)) open.add(key);
    this.#open = open;
    this.requestUpdate();
  }

  #reveal(key: string): void {
    const place = placeOf(key), row = place && this.#rows.list[place.row];
    if (!row) return;
    const revealed = new Set(this.#revealed);
    if (!revealed.delete(row.e)) revealed.add(row.e);
    this.#revealed = revealed;
    this.requestUpdate();
  }

  #moveCursor(upto: number): void {
    this.#player.stop();
    this.#cursor = upto >= (this.trace?.events.length ?? 0) ? undefined : upto;
    const rows = this.#visible().list, at = placeOf(this.#selected)?.row ?? Infinity;
    if (!this.#picked || at >= rows.length) {
      const last = rows.findLast((r) => r.n > 0);
      this.#selected = last ? `r${last.i}` : "";
    }
    this.requestUpdate();
  }

  #toggleTheme(): void {
    const dark = this.theme ? this.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    this.theme = dark ? "light" : "dark";
    if (this.view === "full") keepTheme(this.theme);
    this.#tell("scope-theme", { theme: this.theme });
  }

  #edited(patch: Partial<Form>): void {
    this.#own = true;
    this.#form = { ...this.#form, ...patch };
    if (this.view === "full") keepForm(this.#form, this.#untouched);
    this.requestUpdate();
  }

  #keyed(e: KeyboardEvent): void {
    const at = e.composedPath()[0] as Element;
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || at.matches?.("input:not([type=radio], [type=checkbox]), textarea, select, dialog, dialog *")) return;
    const keys: Record<string, () => void> = {
      r: () => this.#engine.state === "running" || this.#player.playing || this.#acted({ do: "run" }),
      s: () => this.#acted({ do: "step" }),
      c: () => this.#acted({ do: "console" }),
      p: () => (this.#engine.busy || this.#cursor !== undefined) && this.#acted({ do: "pause" }),
      "?": () => this.#acted({ do: "help" }),
      ",": () => this.trace && this.#acted({ do: "packet", by: -1 }),
      ".": () => this.trace && this.#acted({ do: "packet", by: 1 }),
      "<": () => this.trace && this.#acted({ do: "smtp", by: -1 }),
      ">": () => this.trace && this.#acted({ do: "smtp", by: 1 }),
      Escape: () => this.#away(),
    };
    const done = keys[e.key];
    if (!done) return;
    e.preventDefault();
    done();
  }

  /** Closes what lies over the ladder. */
  #away(): void {
    this.#planOpen = this.#sheet = false;
    this.requestUpdate();
  }

  #measure(): void {
    const w = this.clientWidth, main = this.renderRoot.querySelector(".main");
    this.width = w >= WIDE ? "wide" : w >= PHONE ? "mid" : "phone";
    if (!main || main.clientWidth === this.#room) return;
    this.#room = main.clientWidth;
    this.requestUpdate();
  }

  /** The width of the ladder. */
  #room = 800;

  // ---- drawing

  /** The rows up to the cursor. */
  #visible(): Rows {
    const { trace } = this;
    if (this.#rows.trace !== trace) this.#rows = new Rows(trace);
    this.#rows.readTo(Infinity);
    if (this.#cursor === undefined || !trace) return this.#rows;
    if (this.#past?.rows.trace !== trace || this.#past.upto > this.#cursor) this.#past = { upto: this.#cursor, rows: new Rows(trace) };
    this.#past.upto = this.#cursor;
    return this.#past.rows.readTo(this.#cursor);
  }

  #look(): View {
    const { trace } = this, rows = this.#visible(), total = trace?.events.length ?? 0, atEnd = this.#cursor === undefined;
    const outline = (trace && outlineIn(trace.meta.plan)) ?? outlineOf(this.#form, this.#config);
    const t = target(this.#form, this.#config);
    return {
      trace, rows, all: this.#rows, upto: this.#cursor ?? total, total, state: this.state, replay: !!this.#replay,
      pending: atEnd ? this.#engine.pending : undefined, steps: stepsOf(outline),
      server: trace ? (rows.server ?? trace.host("server")) : t.host || "mail server", crash: this.#replay ? "" : this.#engine.crash,
      lab: trace ? trace.meta.mode === "lab" : this.#inLab, scale: this.#scale, packets: this.#packets,
      time: trace ? this.#time(trace) : 0, playing: this.#player.playing, speed: this.speed,
    };
  }

  /** In a flood of events, the views around the ladder follow more slowly than the ladder. */
  #calmView(v: View): View {
    const old = this.#calm, now = performance.now();
    if (old && v.state === "running" && old.state === v.state && old.trace === v.trace && old.upto !== v.upto && v.total > BUSY && now - this.#calmed < PAUSE) {
      this.#later ??= setTimeout(() => {
        this.#later = undefined;
        this.requestUpdate();
      }, PAUSE);
      return old;
    }
    this.#calmed = now;
    return (this.#calm = v);
  }

  /** Unless the user chose a row, the selection follows what the server said last. */
  protected override willUpdate(changed: PropertyValues<this>): void {
    super.willUpdate(changed);
    if (this.#picked || !this.#engine.busy && !this.#player.playing) return;
    const last = this.#visible().list.findLast((r) => r.layer !== "app");
    if (last) this.#selected = `r${last.i}`;
  }

  protected override render(): TemplateResult {
    const v = this.#look(), calm = this.#calmView(v), full = this.view === "full", locked = this.#engine.busy, wide = this.width === "wide", phone = this.width === "phone";
    const wrong = this.#checked ? problems(this.#form, this.#config) : {};
    if (!v.lab && this.#show === "mail") this.#show = "ladder"; // it is of mailboxes that only the lab has
    const reveal = (e: CustomEvent<string>) => this.#reveal(e.detail), pending = v.pending ?? this.#held?.pending;
    const inspector = full && !v.trace && wide ? this.#guide() : full && v.trace && (wide || this.#sheet) ? html`<scope-inspector class="insp" aria-label="inspector" role="region" layout=${this.width} .view=${calm} .selected=${calm === v ? (this.#shown = this.#selected) : this.#shown} .revealed=${this.#revealed} .width=${this.width} @scope-reveal=${reveal}></scope-inspector>` : nothing;
    return html`
      <div class="frame ${full ? "full" : "compact"} ${inspector === nothing ? "" : "inspected"}"
        @scope-do=${(e: CustomEvent<Action>) => this.#acted(e.detail)} @scope-edit=${(e: CustomEvent<Partial<Form>>) => this.#edited(e.detail)}
        @scope-intent=${() => this.#intent()} @dragover=${(e: DragEvent) => e.preventDefault()} @drop=${(e: DragEvent) => this.#dropped(e)}>
        ${full ? html`
          <scope-top class="top" role="banner" layout=${this.width} .view=${v} .form=${this.#form} .config=${this.#config} .width=${this.width} .problem=${wrong.address} .show=${this.#show} .planOpen=${this.#planOpen} .secrets=${this.#secrets}></scope-top>
          ${phone ? nothing : html`<scope-clock class="clock" role="region" aria-label="time" .view=${v} .words=${this.#clockWords(v)}></scope-clock>`}
          <scope-scrubber class="scrub" .view=${calm} .width=${this.width}></scope-scrubber>
          ${wide || this.#planOpen ? html`<scope-plan class="plan" role="region" aria-label="plan" layout=${this.width} .form=${this.#form} .config=${this.#config} .locked=${locked} .target=${!wide} .checked=${this.#checked} .compose=${this.#compose}></scope-plan>` : nothing}` : nothing}
        <main class="main">
          ${full && !phone ? this.#tools(v) : nothing}
          ${this.#show === "ladder" || this.#show === "transcript" ? this.#lanes(v) : nothing}
          ${this.#show === "ladder"
            ? html`<scope-ladder .view=${v} .selected=${this.#selected} .following=${!this.#picked} .open=${this.#open} .revealed=${this.#revealed} @scope-pick=${(e: CustomEvent<string>) => this.#pick(e.detail)} @scope-toggle=${(e: CustomEvent<string>) => this.#toggle(e.detail)} @scope-reveal=${reveal}></scope-ladder>`
            : this.#show === "transcript" ? html`<scope-transcript tabindex="0" .view=${v} .selected=${this.#selected}></scope-transcript>`
            : this.#show === "findings" ? html`<scope-findings class="pane" .view=${v} .back=${!full || phone}></scope-findings>`
            : this.#show === "chart" ? html`<scope-chart class="pane" .view=${v} .why=${this.#config?.instrument?.why ?? ""}></scope-chart>`
            : html`<scope-mail class="pane" .view=${v} .selected=${this.#selected}></scope-mail>`}
          ${phone && inspector !== nothing && !pending ? nothing : pending
            ? html`<scope-pending .view=${v} .pending=${pending} .draft=${this.#draft} .typing=${this.#typing} .console=${!v.steps.some((s) => s.verb === "MAIL")} .envelope=${planOf(this.#form, this.#config, true).messages[0] ?? { from: "", to: [] }}></scope-pending>`
            : html`<scope-verdict .view=${v} .problem=${this.#problem} .invite=${this.#invite(v)} .writes=${full && this.mode !== "replay"} .storage=${v.trace?.meta.mode === "practice" && !!this.#config?.practice && !this.#replay}></scope-verdict>`}
          ${full && (wide || (this.width === "mid" && inspector === nothing)) ? this.#legend(v) : nothing}
        </main>
        ${inspector}
        ${full ? html`<footer class="foot ${charted(v) ? "flight" : ""}"><scope-states .view=${calm} .width=${this.width}></scope-states>${wide && charted(v) ? html`<scope-flight .view=${calm}></scope-flight>` : nothing}${wide ? html`<scope-tally .view=${calm}></scope-tally>` : nothing}</footer>` : nothing}
        ${full ? (phone ? html`<section class="bar" aria-label="session">${transport(this.#relay, v, { iconsOnly: true })}</section>` : nothing)
          : html`<section class="bar" aria-label="session">${transport(this.#relay, v)}<span class="num">${format.ms(v.trace?.elapsed ?? 0)} ms</span><span class="soft">${this.#clockWords(v)}</span></section>`}
      </div>
      <div class="vh" role="status" aria-live="polite">${this.#said}</div>
      <input id="file" type="file" hidden accept=".json,application/json" @change=${(e: Event) => this.#chosen(e.target as HTMLInputElement)}>
      ${this.#dialogs()}`;
  }

  /** The bottom bar's buttons speak through this element itself. */
  get #relay(): EventTarget {
    return this.#relayTarget;
  }

  #relayTarget = (() => {
    const t = new EventTarget();
    t.addEventListener("scope-do", (e) => this.#acted((e as CustomEvent<Action>).detail));
    t.addEventListener("scope-intent", () => this.#intent());
    return t;
  })();

  async #chosen(input: HTMLInputElement): Promise<void> {
    const file = input.files?.[0];
    await this.#openFile(file);
    input.value = "";
  }

  #clockWords(v: View): string {
    const last = v.rows.list.findLast((r) => r.n > 0);
    if (!v.trace) return v.state === "loading" ? "starting the engine" : "not started";
    const after = last ? `after row ${last.n}` : "";
    if (this.#cursor !== undefined) return last ? after : "before the first row";
    if (v.state === "paused") return `paused ${after}`;
    if (v.state === "running") return after ? `running, ${after}` : "running";
    return v.replay ? "from a saved trace" : v.crash ? "crashed" : (v.trace.result?.error?.code === "cancelled" ? "ended" : "finished");
  }

  #invite(v: View): string {
    const { form, host } = { form: this.#form, host: v.server };
    if (this.mode === "replay") return "Open a saved trace, or drop one here.";
    const where = form.mode === "practice" ? "the practice server" : host === "mail server" ? "the mail server that you name" : host;
    return (form.mode === "lab" ? LAB_INVITES : INVITES)[securityOf(form)].replace("{host}", where);
  }

  /** What of an experiment the main part shows, and how. */
  #tools(v: View): TemplateResult {
    const panes = PANES.filter(([what]) => v.lab || what !== "mail").map(([what, words]): [Pane, string] => [what, what === "findings" && v.trace?.findings.length ? `${words} ${v.trace.findings.length}` : words]);
    const radio = <T extends string>(name: string, legend: string, values: readonly (readonly [T, string])[], value: T, choose: (v: T) => void) => html`<span class="seg" role="radiogroup" aria-label=${legend}>${values.map(([w, words]) => html`
      <label><input type="radio" name=${name} .checked=${w === value} @change=${() => choose(w)}><span data-text=${words}>${words}</span></label>`)}</span>`;
    return html`<div class="tools">
      ${radio("show", "show", panes, this.#show, (what) => this.#acted({ do: "show", what }))}
      ${(v.lab || v.all.captured) && this.#show === "ladder" ? html`<label class="every"><input type="checkbox" .checked=${v.packets === "all"} @change=${(e: Event) => this.#acted({ do: "packets", packets: (e.target as HTMLInputElement).checked ? "all" : "few" })}>every packet</label>` : nothing}
      ${v.lab && this.#show === "ladder" ? html`${v.trace && this.#scale === "time" ? html`<span class="ruler"><svg width="9" height="20" aria-hidden="true"><path d="M1 .5h7M1 19.5h7M4.5 .5v19"/></svg>${format.duration(unitFor(v.all.delay))}</span>` : nothing}
        ${radio("scale", "rows", [["rows", "Rows"], ["time", "Time scale"]] as const, this.#scale, (scale) => this.#acted({ do: "scale", scale }))}` : nothing}</div>`;
  }

  #lanes(v: View): TemplateResult {
    const opened = v.rows.list.find((r) => r.kind === "connect" && r.ok), d = opened ? (v.rows.event(opened) as EventOfKind<"tunnel", "opened">).data : undefined;
    const t = target(this.#form, this.#config), phone = this.width === "phone" || this.view === "compact";
    const client = v.trace?.host("client") ?? "this page", address = d?.address ?? (v.trace ? "" : t.host ? `port ${t.port}` : "");
    const hosts = lanes(v.trace, columnsFor(Math.max(320, this.#room))), between = hosts.slice(1, -1), ends = v.lab && v.trace ? hosts : [];
    const short = (name: string) => (between.length > 1 ? name.split(".")[0]! : name);
    const near = ends[0]?.address ?? (d?.local ? `proxy ${d.local}` : ""), far = ends.at(-1)?.address ?? address, last = between.length ? short(hosts.at(-1)!.name) : v.server;
    const apart = hosts[1]!.x - hosts[0]!.x - 8;
    return html`<div class="lanes ${between.length ? "many" : ""}">
      <span class="col n">row</span><span class="col t">ms</span><span class="col rt">RT</span>
      <div class="host a"><b>${client === "this client" ? "this page" : client}</b>${phone ? nothing : html`<span>${near}</span>`}</div>
      ${phone ? nothing : between.map((h) => html`<div class="host c" ${box({ left: h.x, maxWidth: apart })}><b>${short(h.name)}</b><span>${h.address}</span></div>`)}
      ${this.width === "phone" || v.lab || this.view === "full" ? nothing : html`<span class="seg" role="radiogroup" aria-label="show as">${PANES.slice(0, 2).map(([what, words]) => html`
        <label><input type="radio" name="show" .checked=${what === this.#show} @change=${() => this.#acted({ do: "show", what })}><span data-text=${words}>${words}</span></label>`)}</span>`}
      <div class="host b"><b>${last}</b>${phone ? nothing : html`<span>${far}</span>`}</div>
    </div>`;
  }

  /** What stands in the inspector's place before there is anything to inspect. */
  #guide(): TemplateResult {
    const { mode } = this.#form;
    return html`<aside class="insp guide" aria-label="how to read the ladder"><h2>How to read the ladder</h2>
      <p>Each row is one thing that happened, in order, with its time. What the client says starts at the left, what the server says at the right; the arrow points to who hears it.</p>
      <dl class="hues">${HUES.map(([h, w]) => html`<dt><svg width="30" height="10" aria-hidden="true"><path class=${h} d=${h === "in" ? "M30 5H2" : "M0 5H28"}/><path class="tip ${h}" d=${h === "in" ? "M0 5l8 -3.2v6.4Z" : "M30 5l-8 -3.2v6.4Z"}/></svg></dt><dd>${w}</dd>`)}</dl>
      <p>Open a row to find the TLS record that carried it, and the bytes of both.</p>
      <p>The grey bands number the round trips: each one is a wait for the server.</p>
      <p>Step stops before each command. Change it before it goes out, and see what the server makes of it.</p>
      ${mode === "practice" ? html`<p class="soft">The practice server is part of the program that serves this page. It keeps what it is sent and delivers nothing.</p>` : nothing}
      ${mode === "lab" ? html`<p>In the lab time is a scale: an arrow leaves when its packet is sent, and lands when it arrives. Give the link loss, and see what TCP makes of it.</p>
        <p class="soft">Nothing leaves this page. The same plan and seed give the same packets, octet for octet.</p>` : nothing}</aside>`;
  }

  #legend(v: View): TemplateResult {
    const sources: Source[] = ["observed", v.lab ? "simulated" : "measured", ...(v.all.captured ? (["captured"] as const) : []), "derived"];
    return html`<div class="legend">${sources.map((s) => html`<span>${provenance(s, false)}${SOURCE_WORDS[s]}</span>`)}
      <span class="inside"><svg class="glyph" viewBox="0 0 10 10" aria-hidden="true"><path d="M3.5 0V10" stroke-width="1.5"/><path class="sealed" d="M6.5 0V10" stroke-width="1.5"/></svg>inside TLS</span></div>`;
  }

  #dialogs(): TemplateResult {
    const closer = (words: string) => html`<form method="dialog"><button class="btn">${words}</button></form>`;
    return html`
      <scope-help></scope-help>
      <dialog id="stored" aria-labelledby="stored-title"><div class="box"><div class="head"><h2 id="stored-title">What the server stored</h2><form method="dialog"><button class="close" aria-label="close">${control("close")}</button></form></div>
        <p class="soft">Queue id <span class="wire">${this.#stored?.id}</span>. The server put the first lines on top; the rest is the message as it arrived.</p>
        <pre tabindex="0" aria-label="the stored message">${this.#stored?.text.slice(0, 200_000)}</pre></div></dialog>
      <scope-command .write=${this.#write} @scope-save=${(e: CustomEvent<Format>) => void this.#save(e.detail, undefined)}></scope-command>
      <dialog id="notice" role="alertdialog" aria-labelledby="notice-title"><div class="box"><h2 id="notice-title">${this.#noticed?.title}</h2><p>${this.#noticed?.text}</p>${closer("Close")}</div></dialog>`;
  }

  static override styles = [tokens, shared, css`
    :host { display: block; position: relative; container: scope / size; font: var(--t3)/1.4 var(--prose); color: var(--ink); background: var(--paper); overflow: clip; -webkit-text-size-adjust: 100%; }
    :host(:not([view="compact"])) { min-height: 480px; }
    :host([view="compact"]) { height: 420px; border: 1px solid var(--rule-strong); }
    .frame { position: absolute; inset: 0; display: grid; }
    .full { grid-template: 44px 46px minmax(0, 1fr) 106px / 260px minmax(0, 1fr) 380px; grid-template-areas: "top top top" "clock scrub scrub" "plan main insp" "foot foot foot"; }
    .top { grid-area: top; border-bottom: 1px solid var(--rule); }
    .clock { grid-area: clock; border-bottom: 1px solid var(--rule-strong); border-right: 1px solid var(--rule); }
    .scrub { grid-area: scrub; border-bottom: 1px solid var(--rule-strong); }
    .plan { grid-area: plan; border-right: 1px solid var(--rule); }
    .main { grid-area: main; container: main / inline-size; display: flex; flex-direction: column; min-width: 0; min-height: 0; }
    .main > * { flex: none; } .main > scope-ladder, .main > scope-transcript, .main > .pane { flex: 1 1 0; min-height: 0; }
    .tools { height: 32px; display: flex; align-items: center; gap: var(--s3); padding: 0 var(--s3); border-bottom: 1px solid var(--rule); background: var(--paper); white-space: nowrap; }
    .tools .seg label { height: 22px; font-size: var(--t2); } .tools .every { margin-left: auto; display: flex; gap: 5px; align-items: center; font-size: var(--t2); color: var(--soft); cursor: pointer; }
    .insp { grid-area: insp; border-left: 1px solid var(--rule); }
    .foot { grid-area: foot; border-top: 1px solid var(--rule-strong); display: grid; grid-template-columns: minmax(0, 1fr) 380px; } .foot > * + * { border-left: 1px solid var(--rule); }
    .foot.flight { grid-template-columns: minmax(0, 1fr) 200px 380px; }

    .ruler { display: flex; gap: 4px; align-items: center; font: var(--t1)/1 var(--wire); } .ruler path { stroke: var(--ink); fill: none; }
    .lanes { height: 36px; position: relative; border-bottom: 1px solid var(--rule); font-size: var(--t2); background: var(--paper); }
    .lanes > * { position: absolute; white-space: nowrap; }
    .col { bottom: 2px; font-size: var(--t1); color: var(--soft); text-align: right; } .col.n { width: 26px; } .col.t { width: 74px; } .col.rt { left: 82px; width: 20px; text-align: center; }
    .host { top: 3px; } .host b { font-size: var(--t3); font-weight: 600; display: block; line-height: 16px; overflow: hidden; text-overflow: ellipsis; } .host span { font: var(--t1)/13px var(--wire); color: var(--soft); display: block; overflow: hidden; text-overflow: ellipsis; }
    .host.a { left: 151px; max-width: calc(50% - 250px); } .host.b { right: 31px; text-align: right; max-width: calc(50% - 146px); }
    .lanes .seg { left: calc(50% + 30px); top: 6px; transform: translateX(-50%); } .lanes .seg label { height: 22px; font-size: var(--t2); }
    @container main (max-width: 599px) { .col.n { display: none; } .col.t { width: 42px; } .col.rt { left: 46px; width: 14px; } .host.a { left: 61px; max-width: calc(50% - 146px); } }
    .legend { height: 22px; display: flex; gap: 14px; align-items: center; padding: 0 var(--s3); border-top: 1px solid var(--rule); font-size: var(--t1); white-space: nowrap; overflow: hidden; background: var(--paper); }
    .legend span { display: inline-flex; gap: 5px; align-items: center; } .legend .inside { margin-left: auto; } .sealed { stroke: var(--tls); }
    .host.c { transform: translateX(-50%); text-align: center; max-width: 22%; } .many .host { max-width: 22%; }

    @container scope (max-width: 1300px) { .full { grid-template-columns: 228px minmax(0, 1fr) 328px; } .foot { grid-template-columns: minmax(0, 1fr) 328px; } .foot.flight { grid-template-columns: minmax(0, 1fr) 200px 328px; } }
    :host([layout="mid"]) .full { grid-template: 48px 46px minmax(0, 1fr) auto 32px / 200px minmax(0, 1fr); grid-template-areas: "top top" "clock scrub" "main main" "insp insp" "foot foot"; }
    :host([layout="mid"]) .foot, :host([layout="phone"]) .foot, :host([layout="mid"]) .foot.flight, :host([layout="phone"]) .foot.flight { grid-template-columns: minmax(0, 1fr); padding: 0 var(--s2); }
    :host([layout="mid"]) .insp { border-left: 0; border-top: 1px solid var(--rule-strong); max-height: 44cqh; }
    :host([layout="mid"]) .plan, :host([layout="phone"]) .plan { position: absolute; z-index: 4; top: 48px; left: 0; bottom: 0; width: min(420px, 100%); border-right: 1px solid var(--rule-strong); }
    :host([layout="phone"]) .full { grid-template: 44px 46px minmax(0, 1fr) auto auto 60px / minmax(0, 1fr); grid-template-areas: "top" "scrub" "main" "foot" "insp" "bar"; }
    :host([layout="phone"]) .plan { top: 44px; bottom: 60px; width: 100%; border-right: 0; }
    :host([layout="phone"]) .lanes { height: 34px; }
    :host([layout="phone"]) .insp { border-left: 0; border-top: 1px solid var(--rule-strong); max-height: 38cqh; }
    :host([layout="phone"]) .foot { border-top: 1px solid var(--rule); }
    :host([layout="phone"]) .host { top: 9px; } :host([layout="phone"]) .host.a { left: 66px; max-width: 40%; } :host([layout="phone"]) .host.b { max-width: 40%; }
    :host([layout="phone"]) .lanes .seg { left: 50%; }
    .bar { grid-area: bar; }
    :host([layout="phone"]) .full .bar { display: grid; grid-template-columns: 52px 52px 1fr 1.4fr; gap: var(--s2); padding: var(--s2) var(--s3); border-top: 1px solid var(--rule-strong); background: var(--paper); z-index: 4; }
    :host([layout="phone"]) .full .bar .btn { height: 44px; justify-content: center; padding: 0; }
    .compact { grid-template: minmax(0, 1fr) 42px / minmax(0, 1fr); grid-template-areas: "main" "bar"; }
    .compact .bar { display: flex; align-items: center; gap: 6px; padding: 0 var(--s3); border-top: 1px solid var(--rule-strong); } .compact .bar .num { margin-left: auto; }

    .guide { background: var(--panel); padding: 12px var(--s4); line-height: 19px; overflow: auto; } .guide h2 { font-size: var(--t4); margin-bottom: var(--s2); } .guide p { margin-bottom: var(--s2); text-wrap: pretty; }
    .guide dl { display: grid; grid-template-columns: 40px 1fr; align-items: center; padding: 2px 0 var(--s2); }
    .box { padding: var(--s4) var(--s5) var(--s5); display: grid; gap: var(--s3); } .box .head { display: flex; justify-content: space-between; align-items: center; gap: var(--s4); }
    .box h2 { font-size: var(--t4); } .box .close { width: 28px; height: 28px; display: grid; place-items: center; margin-right: -8px; }
    .box pre { font: var(--t2)/17px var(--wire); white-space: pre; overflow: auto; max-height: 60vh; background: var(--panel); padding: var(--s3); border-left: 2px solid var(--rule-strong); }
    .hues path { stroke-width: 2; fill: none; } .hues .tip { stroke: none; } .tip.out { fill: var(--out); } .tip.in { fill: var(--in); } .tip.tls { fill: var(--tls); } .tip.tcp { fill: var(--tcp); } path.out { stroke: var(--out); } path.in { stroke: var(--in); } path.tls { stroke: var(--tls); } path.tcp { stroke: var(--tcp); } .tip.dns { fill: var(--dns); } path.dns { stroke: var(--dns); }
  `];
}

function message(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}

customElements.define("smtp-scope", SmtpScope);
