import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "../../src/codec.ts";
import { connectFacts } from "../../src/layout.ts";

const opened = (data: object) => JSON.stringify({
  v: 1, meta: { tool: "", mode: "live", started: "2026-01-01T00:00:00Z", plan: null, hosts: null }, streams: {},
  events: [{ n: 0, t: 1, layer: "tunnel", kind: "opened", src: "measured", data }],
});

test("what the proxy's log calls the session is among the facts of the connection", () => {
  const trace = decode(opened({ address: "192.0.2.1:25", session: "K7QM2ZPVATNB" }));
  const events = trace.events as unknown as Parameters<typeof connectFacts>[0];
  assert.deepEqual(connectFacts(events), [["dialed", "192.0.2.1:25"], ["proxy's log", "session K7QM2ZPVATNB"]]);
  assert.deepEqual(connectFacts([{ kind: "opened", t: 1, data: { direct: true } }]), [], "without a proxy there is none");
  assert.throws(() => decode(opened({ session: 7 })), /session/);
});
