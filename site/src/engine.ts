// The engine is Go in a Worker. This is its life: it is started by the first
// run, and replaced after a crash. It knows messages, not what they mean for a view.

import { progress, TraceStore, type ErrorInfo, type Meta, type Result, type Span, type TraceEvent } from "./trace.ts";

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

type FromWorker =
  | { type: "ready" }
  | { type: "start"; meta: string }
  | { type: "batch"; events: string; streams: { name: string; off: number; bytes: Uint8Array }[] }
  | { type: "pending"; pending: string }
  | { type: "resumed" }
  | { type: "done"; result: string }
  | { type: "crash"; message: string };

type Order =
  | { type: "run"; plan: string; tunnel: string }
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

  #worker: WorkerLike | undefined;
  #finish: ((t: TraceStore) => void) | undefined;
  #plan: { target: { mode: "practice" | "live"; host: string } } | undefined;

  constructor(
    readonly spawn: () => WorkerLike,
    readonly on: EngineEvents,
  ) {}

  /** Whether a session is open. */
  get busy(): boolean {
    return this.state === "loading" || this.state === "running" || this.state === "paused";
  }

  /** Starts the worker, which then loads Go, so that the first run has less to wait for. */
  warmUp(): void {
    this.#get();
  }

  /** Runs a plan. The promise is kept when the session is over, however it ended. */
  run(plan: { target: { mode: "practice" | "live"; host: string } }, tunnel: string): Promise<TraceStore> {
    if (this.busy) return Promise.reject(new Error("a session is open; reset it before the next run"));
    this.trace = this.pending = undefined;
    this.crash = "";
    this.#plan = plan;
    this.state = "loading";
    const over = new Promise<TraceStore>((resolve) => (this.#finish = resolve));
    this.#order({ type: "run", plan: JSON.stringify(plan), tunnel });
    this.on.change();
    return over;
  }

  pause(): void {
    if (this.busy) this.#order({ type: "pause" });
  }

  /** Goes on without stopping again. */
  resume(): void {
    if (this.state === "paused") this.#order({ type: "resume" });
  }

  /** Sends what is pending and stops before what follows. */
  step(): void {
    if (this.state === "paused") this.#order({ type: "step" });
    else this.pause();
  }

  /** Sends this in place of what is pending. */
  send(text: string): void {
    if (this.state !== "paused") throw new Error("nothing is pending: pause the session before you send a line");
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
  }

  /** Drops the trace of a session that is over. */
  forget(): void {
    if (this.busy) throw new Error("a session is open");
    this.state = "idle";
    this.trace = undefined;
    this.crash = "";
  }

  #get(): WorkerLike {
    if (this.#worker) return this.#worker;
    const w = this.spawn();
    w.onmessage = (e) => this.#receive(e.data as FromWorker);
    w.onerror = (e) => this.#crashed(e.message || "The worker's script could not be loaded.");
    return (this.#worker = w);
  }

  #order(o: Order): void {
    this.#get().postMessage(o);
  }

  #receive(m: FromWorker): void {
    if (m.type === "crash") return this.#crashed(m.message);
    try {
      this.#take(m);
    } catch (e) {
      this.#crashed(`The page did not understand its engine: ${e instanceof Error ? e.message : String(e)}`);
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
        this.state = "paused";
        break;
      case "resumed":
        this.pending = undefined;
        this.state = "running";
        break;
      case "done":
        if (this.trace) this.trace.result = JSON.parse(m.result) as Result;
        this.#over("done");
        return;
    }
    this.on.change();
  }

  #crashed(message: string): void {
    this.#drop();
    this.crash = message.trim() || "The engine stopped without a word.";
    if (this.busy) this.#end({ code: "crashed", message: this.crash });
    this.#over("crashed");
  }

  /** Writes the result that the engine can no longer write. */
  #end(error: ErrorInfo): void {
    this.trace ??= new TraceStore({
      tool: "smtpscope", mode: this.#plan!.target.mode, started: new Date().toISOString(),
      hosts: [{ id: "client", name: "this page" }, { id: "server", name: this.#plan!.target.host }],
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
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}
