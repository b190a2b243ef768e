import assert from "node:assert/strict";
import { test } from "node:test";
import { Desk } from "../../src/desk.ts";
import type { WorkerLike } from "../../src/engine.ts";

class FakeDesk implements WorkerLike {
  asked: { type: string; id: string; what: string; input: string; files: Uint8Array[] }[] = [];
  terminated = false;
  onmessage: ((e: MessageEvent) => void) | null = null;
  onerror: ((e: ErrorEvent) => void) | null = null;
  postMessage(m: unknown): void {
    this.asked.push(m as FakeDesk["asked"][0]);
  }
  terminate(): void {
    this.terminated = true;
  }
  says(data: object): void {
    this.onmessage!({ data } as MessageEvent);
  }
}

const QUESTION = { format: "text", trace: { v: 1 }, host: "client", secrets: false, keys: "" };
const bytes = (text: string) => new TextEncoder().encode(text);

function setUp(deadline?: number) {
  const workers: FakeDesk[] = [];
  const desk = new Desk(() => {
    workers.push(new FakeDesk());
    return workers.at(-1)!;
  }, deadline);
  return { desk, workers };
}

test("answers find their questions, in any order", async () => {
  const { desk, workers } = setUp(), first = desk.ask("export", QUESTION), second = desk.ask("export", QUESTION), [w] = workers;
  assert.equal(workers.length, 1, "one worker for all");
  assert.deepEqual(w!.asked.map((m) => [m.type, m.what, m.input]), Array(2).fill(["ask", "export", JSON.stringify(QUESTION)]));
  w!.says({ type: "ready" });
  w!.says({ type: "answer", id: w!.asked[1]!.id, value: bytes("two") });
  w!.says({ type: "answer", id: w!.asked[0]!.id, problem: "trace.v: is 2" });
  await assert.rejects(first, /trace\.v: is 2/);
  assert.deepEqual(await second, bytes("two"));
});

test("files travel beside their question, and not within its JSON", async () => {
  const { desk, workers } = setUp(), question = { from: "", to: [], cc: [], subject: "", text: "", html: "", attachments: [{ name: "a", type: "text/plain" }], date: "", id: "" };
  const answer = desk.ask("compose", question, [bytes("x")]), [asked] = workers[0]!.asked;
  assert.deepEqual([JSON.parse(asked!.input), asked!.files], [question, [bytes("x")]]);
  workers[0]!.says({ type: "answer", id: asked!.id, value: { data: "s", alternatives: {} } });
  assert.deepEqual(await answer, { data: "s", alternatives: {} });
});

test("a crash ends what was asked, and the next question has a new worker", async () => {
  const { desk, workers } = setUp(), lost = desk.ask("export", QUESTION);
  workers[0]!.says({ type: "crash", message: "panic: out of range\n\ngoroutine 1" });
  await assert.rejects(lost, /The program that writes files stopped\. panic: out of range$/);
  assert.ok(workers[0]!.terminated);
  const next = desk.ask("export", QUESTION);
  workers[1]!.says({ type: "answer", id: workers[1]!.asked[0]!.id, value: bytes("x") });
  assert.deepEqual(await next, bytes("x"));
});

test("a script that does not load is an error, and silence is one too", async () => {
  const { desk, workers } = setUp(1), silent = desk.ask("export", QUESTION);
  await assert.rejects(silent, /no answer within/);
  const lost = desk.ask("export", QUESTION);
  workers[1]!.onerror!({ message: "" } as ErrorEvent);
  await assert.rejects(lost, /could not be loaded/);
});
