// The worker that Go runs in. Its first message names the WebAssembly file; what
// comes before Go listens is kept for it.
//
// Go registers globalThis.smtpscopeReceive and posts to the page by itself. When
// it stops, which it never should, its last words are posted as a crash.

import "virtual:wasm_exec";

declare const Go: new () => { importObject: WebAssembly.Imports; run(instance: WebAssembly.Instance): Promise<void> };

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

scope.onmessage = (first) => {
  scope.onmessage = (e) => {
    if (receive && waiting.length === 0) receive(e.data);
    else waiting.push(e.data);
  };
  boot((first.data as { live: string }).live).then(
    () => crash("The engine stopped."),
    (e: unknown) => crash(e instanceof Error ? `The engine could not be started: ${e.message}` : String(e)),
  );
};

async function boot(url: string): Promise<void> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status} ${response.statusText}`);
  const go = new Go();
  const { instance } = await WebAssembly.instantiateStreaming(response, go.importObject);
  await go.run(instance);
}

function crash(why: string): void {
  scope.postMessage({ type: "crash", message: words.trim() || why });
}
