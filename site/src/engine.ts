// The engine is Go in a Worker: one for real servers, one for the lab. This is its
// life: it is started by the first run, and replaced after a crash. It knows
// messages, not what they mean for a view.

import { progress, TraceStore, type ErrorInfo, type Finding, type Meta, type Mode, type Result, type Span, type TraceEvent } from "./trace.ts";

/** Which engine: a program of wasm/. */
export type Kind = "live" | "lab";

/** What the engine has to know of a plan. */
export interface Runnable {
  target: { mode: Mode; host: string; domain?: string };
  seed?: number;
}

/** What the engine would send next, while it is paused. */
export interface Pending {
  kind: "command" | "response" | "message";
  verb: string;
  /** The line without CRLF, or the message; "" when it is too long to be edited. */
  text: string;
  size: number;
  legal: string[];
  secret: Span[];
  /** Why what was sent instead was not taken. */
  problem?: string;
}

export type EngineState = "idle" | "loading" | "running" | "paused" | "done" | "crashed";

/** How a session gets at a real server, by URLs. */
export interface Way {
  /** Of the proxy: where tunnels begin, and what its API's addresses begin with. */
  tunnel: string;
  api: string;
  /** The certificates of public authorities. */
  roots: string;
  /** Some proxies want one. */
  token?: string | undefined;
}

type FromWorker =
  | { type: "ready" }
  | { type: "start"; meta: string }
  | { type: "batch"; events: string; streams: { name: string; off: number; bytes: Uint8Array }[] }
  | { type: "pending"; pending: string; number?: number }
  | { type: "resumed" }
  | { type: "done"; result: string; findings: string; keys: string }
  | { type: "crash"; message: string };

type Order =
  | ({ type: "run"; plan: string } & Way)
  | { type: "run"; plan: string; seed: number; again: string }
  | { type: "send"; text: string }
  | { type: "pause" | "resume" | "step" | "cancel" };

/** The part of Worker that is used, so that tests need none. */
export interface WorkerLike {
  postMessage(message: unknown): void;
  terminate(): void;
  onmessage: ((e: MessageEvent) => void) | null;
  onerror: ((e: ErrorEvent) => void) | null;
}

export interface EngineEvents {
  /** State, trace or pending changed. */
  change(): void;
  /** These events were appended to the trace. */
  events(events: TraceEvent[]): void;
}

export class Engine {
  state: EngineState = "idle";
  trace: TraceStore | undefined;
  pending: Pending | undefined;
  /** The engine's last words, when the state is crashed. */
  crash = "";
  /** The secrets of the last session's TLS, in NSS key log format: never part of its trace. */
  keys = "";

  #workers: Partial<Record<Kind, WorkerLike>> = {};
  #kind: Kind = "live";
  #finish: ((t: TraceStore) => void) | undefined;
  #plan: Runnable | undefined;
  /** How pauses were ended, by how much had been sent before: a run that is taken up repeats it. */
  #answers: Record<number, { do: "step" | "resume" | "send"; text?: string }> = {};
  #number = 0; // of sends before the pause

  constructor(
    readonly spawn: (kind: Kind) => WorkerLike,
    readonly on: EngineEvents,
  ) {}

  /** Whether a session is open. */
  get busy(): boolean {
    return this.state === "loading" || this.state === "running" || this.state === "paused";
  }

  /** Starts the worker, which then loads Go, so that the first run has less to wait for. */
  warmUp(kind: Kind): void {
    this.#get(kind);
  }

  /** Runs a plan. The promise is kept when the session is over, however it ended. */
  run(plan: Runnable, way: Way): Promise<TraceStore> {
    this.#answers = {};
    return this.#run(plan, "", way);
  }

  /** Runs the last experiment again, in which the same happens, up to a number of sends; then it pauses. */
  takeUp(sends: number): Promise<TraceStore> {
    const plan = this.#plan;
    if (plan?.target.mode !== "lab") return Promise.reject(new Error("only an experiment in the lab can be taken up"));
    for (const n of Object.keys(this.#answers)) if (Number(n) >= sends) delete this.#answers[Number(n)];
    return this.#run(plan, JSON.stringify({ sends, answers: this.#answers }));
  }

  #run(plan: Runnable, again: string, way?: Way): Promise<TraceStore> {
    if (this.busy) return Promise.reject(new Error("a session is open; reset it before the next run"));
    this.trace = this.pending = undefined;
    this.crash = this.keys = "";
    this.#plan = plan;
    this.#kind = plan.target?.mode === "lab" ? "lab" : "live";
    this.state = "loading";
    const over = new Promise<TraceStore>((resolve) => (this.#finish = resolve)), text = JSON.stringify(plan);
    this.#order(this.#kind === "lab" ? { type: "run", plan: text, seed: plan.seed ?? 1, again } : { type: "run", plan: text, ...way! });
    this.on.change();
    return over;
  }

  pause(): void {
    if (this.busy) this.#order({ type: "pause" });
  }

  /** Goes on without stopping again. */
  resume(): void {
    if (this.state !== "paused") return;
    this.#answers[this.#number] = { do: "resume" };
    this.#order({ type: "resume" });
  }

  /** Sends what is pending and stops before what follows. */
  step(): void {
    if (this.state !== "paused") return this.pause();
    this.#answers[this.#number] = { do: "step" };
    this.#order({ type: "step" });
  }

  /** Sends this in place of what is pending. */
  send(text: string): void {
    if (this.state !== "paused") throw new Error("nothing is pending: pause the session before you send a line");
    this.#answers[this.#number] = { do: "send", text };
    this.#order({ type: "send", text });
  }

  cancel(): void {
    if (this.busy) this.#order({ type: "cancel" });
  }

  /** Ends everything at once; the trace so far is dropped. */
  dispose(): void {
    this.#drop();
    if (this.busy) {
      this.#end({ code: "cancelled", message: "The session was ended." });
      this.#over("done");
    }
    this.state = "idle";
    this.trace = undefined;
    this.keys = "";
  }

  /** Drops the trace of a session that is over. */
  forget(): void {
    if (this.busy) throw new Error("a session is open");
    this.state = "idle";
    this.trace = undefined;
    this.crash = this.keys = "";
  }

  #get(kind: Kind): WorkerLike {
    const there = this.#workers[kind];
    if (there) return there;
    const w = this.spawn(kind);
    w.onmessage = (e) => this.#receive(e.data as FromWorker, kind);
    w.onerror = (e) => this.#crashed(e.message || "The worker's script could not be loaded.", kind);
    return (this.#workers[kind] = w);
  }

  #order(o: Order): void {
    this.#get(this.#kind).postMessage(o);
  }

  #receive(m: FromWorker, kind: Kind): void {
    if (m.type === "crash") return this.#crashed(m.message, kind);
    try {
      this.#take(m);
    } catch (e) {
      this.#crashed(`The page did not understand its engine: ${e instanceof Error ? e.message : String(e)}`, kind);
    }
  }

  #take(m: Exclude<FromWorker, { type: "crash" }>): void {
    switch (m.type) {
      case "ready":
        return;
      case "start":
        this.trace = new TraceStore(JSON.parse(m.meta) as Meta);
        this.state = "running";
        break;
      case "batch": {
        const events = JSON.parse(m.events) as TraceEvent[];
        this.trace?.append(events, m.streams);
        this.on.events(events);
        break;
      }
      case "pending":
        this.pending = JSON.parse(m.pending) as Pending;
        this.#number = m.number ?? 0;
        this.state = "paused";
        break;
      case "resumed":
        this.pending = undefined;
        this.state = "running";
        break;
      case "done":
        if (this.trace) {
          this.trace.result = JSON.parse(m.result) as Result;
          this.trace.findings = (JSON.parse(m.findings) as Finding[] | null) ?? [];
        }
        this.keys = m.keys;
        this.#over("done");
        return;
    }
    this.on.change();
  }

  #crashed(message: string, kind: Kind): void {
    this.#workers[kind]?.terminate();
    delete this.#workers[kind];
    if (kind !== this.#kind) return;
    this.crash = message.trim() || "The engine stopped without a word.";
    if (this.busy) this.#end({ code: "crashed", message: this.crash });
    this.#over("crashed");
  }

  /** Writes the result that the engine can no longer write. */
  #end(error: ErrorInfo): void {
    this.trace ??= new TraceStore({
      tool: "smtpscope", mode: this.#plan!.target.mode, started: new Date().toISOString(),
      hosts: [{ id: "client", name: "this page" }, { id: "server", name: this.#plan!.target.host || (this.#plan!.target.domain ?? "") }],
    });
    const { phase, roundTrips } = progress(this.trace);
    this.trace.result ??= {
      outcome: "failed", phase, permanent: false, error, messages: [], roundTrips, elapsed: this.trace.elapsed,
    };
  }

  #over(state: "done" | "crashed"): void {
    this.state = state;
    this.pending = undefined;
    const finish = this.#finish;
    this.#finish = undefined;
    this.on.change();
    if (this.trace) finish?.(this.trace);
  }

  #drop(): void {
    for (const w of Object.values(this.#workers)) w.terminate();
    this.#workers = {};
  }
}
