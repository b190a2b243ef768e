// The desk is Go in a Worker of its own, with no socket and no session: it writes
// files of traces, and messages. It is fetched by whoever asks first. A crash ends
// what was asked; the next question has a new desk.

import type { WorkerLike } from "./engine.ts";
import type { Alternatives } from "./plan.ts";

/** What can be asked for, and of what. A trace comes with its secrets: an export without them leaves them out itself. */
export interface Questions {
  export: { format: string; trace: unknown; host: string; secrets: boolean; keys: string };
  compose: {
    from: string; to: string[]; cc: string[]; subject: string; text: string; html: string;
    attachments: { name: string; type: string }[]; date: string; id: string;
  };
}

/** What there is for an answer: the bytes of a file, or the source of a message. */
export interface Answers {
  export: Uint8Array;
  compose: { data: string; alternatives: Alternatives };
}

type FromDesk = { type: "ready" } | { type: "answer"; id: string; value?: unknown; problem?: string } | { type: "crash"; message: string };

/** How long an answer may take, the program's way to the page included. */
const DEADLINE = 60_000;

interface Asked {
  resolve(value: unknown): void;
  reject(why: Error): void;
  timer: ReturnType<typeof setTimeout>;
}

export class Desk {
  #worker: WorkerLike | undefined;
  #asked = new Map<string, Asked>();
  #count = 0;

  constructor(
    readonly spawn: () => WorkerLike,
    readonly deadline = DEADLINE,
  ) {}

  /** Asks, with the contents of files beside the question. An error says in words why there is no answer. */
  ask<W extends keyof Questions>(what: W, input: Questions[W], files: Uint8Array[] = []): Promise<Answers[W]> {
    const id = String(++this.#count), worker = (this.#worker ??= this.#start());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#end(`It gave no answer within ${Math.round(this.deadline / 1000)} s.`), this.deadline);
      this.#asked.set(id, { resolve: resolve as Asked["resolve"], reject, timer });
      worker.postMessage({ type: "ask", id, what, input: JSON.stringify(input), files });
    });
  }

  #start(): WorkerLike {
    const w = this.spawn();
    w.onmessage = (e) => this.#receive(e.data as FromDesk);
    w.onerror = (e) => this.#end(e.message || "The worker's script could not be loaded.");
    return w;
  }

  #receive(m: FromDesk): void {
    if (m.type === "crash") return this.#end(m.message.split("\n")[0]!);
    const asked = m.type === "answer" ? this.#asked.get(m.id) : undefined;
    if (m.type !== "answer" || !asked) return;
    this.#asked.delete(m.id);
    clearTimeout(asked.timer);
    if (m.value !== undefined) asked.resolve(m.value);
    else asked.reject(new Error(m.problem ?? "The answer is empty."));
  }

  /** Nothing more can be expected of this worker. */
  #end(why: string): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    for (const a of asked) {
      clearTimeout(a.timer);
      a.reject(new Error(`The program that writes files stopped. ${why}`));
    }
  }
}
