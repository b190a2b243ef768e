// The worker that Go runs in. Its first message names the WebAssembly file, and
// whether its randomness is seeded; what comes before Go listens is kept for it.
//
// An engine with seeded randomness is a lab: each of its runs is a new instance
// of Go whose every random byte follows from the seed of the run, so that two
// runs of one plan are the same. Nothing else may be run like that.
//
// Go registers globalThis.smtpscopeReceive and posts to the page by itself. When
// it stops, which it never should, its last words are posted as a crash.

import "virtual:wasm_exec";

interface Program {
  importObject: WebAssembly.Imports & { gojs: Record<string, (sp: number) => void> };
  mem: DataView;
  run(instance: WebAssembly.Instance): Promise<void>;
}

declare const Go: new () => Program;

const scope = globalThis as unknown as {
  fs: { writeSync(fd: number, bytes: Uint8Array): number };
  postMessage(message: unknown): void;
  onmessage: ((e: MessageEvent) => void) | null;
};

/** How much of what Go writes to standard error is kept: its end. */
const LAST_WORDS = 16 << 10;

let words = "";
const decoder = new TextDecoder();
scope.fs.writeSync = (fd, bytes) => {
  if (fd === 2) words = (words + decoder.decode(bytes, { stream: true })).slice(-LAST_WORDS);
  return bytes.length;
};

let receive: ((message: unknown) => void) | undefined;
const waiting: unknown[] = [];
Object.defineProperty(globalThis, "smtpscopeReceive", {
  set(f: (message: unknown) => void) {
    receive = f;
    queueMicrotask(() => {
      for (const m of waiting.splice(0)) f(m);
    });
  },
});

let code: Promise<WebAssembly.Module>;
let seeded = false;

scope.onmessage = (first) => {
  const { wasm, seeded: lab } = first.data as { wasm: string; seeded: boolean };
  seeded = lab;
  code = load(wasm);
  scope.onmessage = (e) => {
    const m = e.data as { type: string; seed?: number };
    if (seeded && (m.type === "run" || !started)) start(m.seed ?? 0);
    if (receive && waiting.length === 0) receive(m);
    else waiting.push(m);
  };
  if (seeded) code.catch(failed);
  else start(0);
};

async function load(url: string): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status} ${response.statusText}`);
  return WebAssembly.compileStreaming(response);
}

let started = false;

/** Starts a new instance of Go; one that ran before hears no more messages. */
function start(seed: number): void {
  started = true;
  receive = undefined;
  boot(seed).then(() => crash("The engine stopped."), failed);
}

function failed(e: unknown): void {
  crash(e instanceof Error ? `The engine could not be started: ${e.message}` : String(e));
}

async function boot(seed: number): Promise<void> {
  const go = new Go();
  if (seeded) {
    const next = random(seed);
    // func getRandomData(r []byte)
    go.importObject.gojs["runtime.getRandomData"] = (sp) => {
      sp >>>= 0;
      const at = go.mem.getUint32(sp + 8, true), len = go.mem.getUint32(sp + 16, true);
      for (let i = 0; i < len; i++) go.mem.setUint8(at + i, next());
    };
  }
  const instance = await WebAssembly.instantiate(await code, go.importObject);
  await go.run(instance);
}

/** Bytes that follow from a seed: the generator sfc32. They are for repeating, not for keeping secrets. */
function random(seed: number): () => number {
  let a = seed >>> 0, b = Math.floor(seed / 2 ** 32) >>> 0, c = 0x9e3779b9, counter = 1;
  const next = () => {
    const t = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + t) | 0;
    return t >>> 24;
  };
  for (let i = 0; i < 32; i++) next();
  return next;
}

function crash(why: string): void {
  scope.postMessage({ type: "crash", message: words.trim() || why });
}
