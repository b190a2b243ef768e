import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine, type WorkerLike } from "../../src/engine.ts";
import type { Finding, TraceStore } from "../../src/trace.ts";
import { accepted } from "../fixtures/traces.ts";

class FakeWorker implements WorkerLike {
  orders: { type: string; text?: string }[] = [];
  terminated = false;
  onmessage: ((e: MessageEvent) => void) | null = null;
  onerror: ((e: ErrorEvent) => void) | null = null;
  postMessage(m: unknown): void {
    this.orders.push(m as { type: string });
  }
  terminate(): void {
    this.terminated = true;
  }
  says(data: object): void {
    this.onmessage!({ data } as MessageEvent);
  }
}

const PLAN = { target: { mode: "practice" as const, host: "mail.practice.test" } };

function setUp() {
  const workers: FakeWorker[] = [], states: string[] = [];
  const engine: Engine = new Engine(() => {
    workers.push(new FakeWorker());
    return workers.at(-1)!;
  }, { change: () => states.at(-1) === engine.state || states.push(engine.state), events: () => {} });
  return { engine, workers, states };
}

const WAY = { tunnel: "ws://x/tunnel", api: "http://x/api/v1/", roots: "http://x/roots" };

const PENDING = { type: "pending", pending: JSON.stringify({ kind: "command", verb: "EHLO", text: "EHLO x", size: 6, legal: ["EHLO"], secret: [] }) };

const FINDINGS: Finding[] = [{ id: "slow-reply", severity: "warn", text: "The reply took 3 s.", events: [4] }];

/** What a worker says of a session, up to its result. */
function plays(w: FakeWorker, t: TraceStore, events = t.events): void {
  w.says({ type: "start", meta: JSON.stringify(t.meta) });
  const streams = [...t.streams].map(([name, s]) => ({ name, off: 0, bytes: s.bytes(0, s.length) }));
  w.says({ type: "batch", events: JSON.stringify(events), streams });
}

test("a session from run to result", async () => {
  const { engine, workers, states } = setUp(), t = accepted();
  const over = engine.run(PLAN, WAY);
  assert.equal(workers.length, 1);
  assert.deepEqual(workers[0]!.orders, [{ type: "run", plan: JSON.stringify(PLAN), ...WAY }]);
  workers[0]!.says({ type: "ready" });
  plays(workers[0]!, t);
  workers[0]!.says({ type: "done", result: JSON.stringify(t.result), findings: JSON.stringify(FINDINGS), keys: "CLIENT_RANDOM 00 11" });
  t.findings = FINDINGS;
  assert.equal(JSON.stringify(await over), JSON.stringify(t));
  assert.equal(engine.keys, "CLIENT_RANDOM 00 11");
  assert.ok(!JSON.stringify(engine.trace).includes("CLIENT_RANDOM"), "keys are no part of the trace");
  engine.forget();
  assert.equal(engine.keys, "");
  assert.deepEqual(states, ["loading", "running", "done"]);
});

test("an experiment is told of no address", () => {
  const { engine, workers } = setUp(), plan = { target: { mode: "lab" as const, host: "mx.example.net" }, seed: 7 };
  void engine.run(plan, WAY);
  assert.deepEqual(workers[0]!.orders, [{ type: "run", plan: JSON.stringify(plan), seed: 7, again: "" }]);
});

test("a worker serves many sessions, one at a time", async () => {
  const { engine, workers } = setUp(), t = accepted();
  const first = engine.run(PLAN, WAY);
  await assert.rejects(engine.run(PLAN, WAY), /a session is open/);
  plays(workers[0]!, t);
  workers[0]!.says({ type: "done", result: JSON.stringify(t.result), findings: "null", keys: "" });
  assert.deepEqual((await first).findings, []);
  void engine.run(PLAN, WAY);
  assert.equal(workers.length, 1);
  assert.equal(engine.trace, undefined);
});

test("pause, step, send and resume", () => {
  const { engine, workers } = setUp();
  void engine.run(PLAN, WAY);
  const w = workers[0]!, last = () => w.orders.at(-1);
  w.says({ type: "start", meta: JSON.stringify(accepted().meta) });
  engine.step();
  assert.deepEqual(last(), { type: "pause" }, "a step while it runs stops it");
  assert.throws(() => engine.send("NOOP"), /nothing is pending/);
  w.says(PENDING);
  assert.equal(engine.state, "paused");
  assert.equal(engine.pending!.verb, "EHLO");
  engine.send("NOOP");
  assert.deepEqual(last(), { type: "send", text: "NOOP" });
  w.says({ type: "resumed" });
  assert.equal(engine.state, "running");
  assert.equal(engine.pending, undefined);
  w.says(PENDING);
  engine.step();
  assert.deepEqual(last(), { type: "step" });
  engine.resume();
  assert.deepEqual(last(), { type: "resume" });
  engine.cancel();
  assert.deepEqual(last(), { type: "cancel" });
});

test("a crash keeps the trace, says why, and the next run has a new worker", async () => {
  const { engine, workers } = setUp(), t = accepted(), half = t.events.slice(0, 20);
  const over = engine.run(PLAN, WAY);
  plays(workers[0]!, t, half);
  workers[0]!.says({ type: "crash", message: "panic: index out of range\n\ngoroutine 1" });
  const trace = await over;
  assert.equal(engine.state, "crashed");
  assert.ok(workers[0]!.terminated);
  assert.equal(trace.events.length, half.length);
  assert.deepEqual(trace.result!.error, { code: "crashed", message: "panic: index out of range\n\ngoroutine 1" });
  assert.equal(trace.result!.outcome, "failed");
  const again = engine.run(PLAN, WAY);
  assert.equal(workers.length, 2);
  assert.equal(engine.crash, "");
  plays(workers[1]!, t);
  workers[1]!.says({ type: "done", result: JSON.stringify(t.result), findings: "null", keys: "" });
  assert.equal((await again).result!.outcome, "accepted");
});

test("a crash before anything happened still has a trace", async () => {
  const { engine, workers } = setUp(), over = engine.run(PLAN, WAY);
  workers[0]!.onerror!({ message: "" } as ErrorEvent);
  const trace = await over;
  assert.equal(trace.result!.phase, "connect");
  assert.equal(trace.host("server"), "mail.practice.test");
  assert.match(engine.crash, /could not be loaded/);
});

test("what the page does not understand is a crash, not a silence", async () => {
  const { engine, workers } = setUp(), over = engine.run(PLAN, WAY), w = workers[0]!;
  w.says({ type: "start", meta: JSON.stringify(accepted().meta) });
  w.says({ type: "batch", events: JSON.stringify(accepted().events.slice(3)), streams: [] });
  assert.match((await over).result!.error!.message, /event 3 arrived where 0 was due/);
});

test("a disposed engine keeps its promise", async () => {
  const { engine, workers } = setUp(), over = engine.run(PLAN, WAY);
  engine.dispose();
  assert.equal((await over).result!.error!.code, "cancelled");
  assert.ok(workers[0]!.terminated);
  assert.equal(engine.state, "idle");
});
