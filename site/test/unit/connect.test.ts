import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "../../src/codec.ts";
import { connectFacts } from "../../src/layout.ts";
import { Rows } from "../../src/rows.ts";
import { lineOf } from "../../src/transcript.ts";
import { wordsOf } from "../../src/words.ts";

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

const SIX = "[2001:db8::25]:25", SLOW = "[2001:db8::26]:25", FOUR = "192.0.2.1:25", MS = 1e6;

/** Addresses of one name, raced: one refuses, one is silent, one answers unless the page is told no more. */
function raced(upto?: number): Rows {
  const events = [
    { t: 0, kind: "resolving", text: "looking up mx.example.net", data: { host: "mx.example.net" } },
    { t: 9, kind: "addresses", text: "mx.example.net is 3 addresses", data: { host: "mx.example.net", addresses: ["2001:db8::25", "2001:db8::26", "192.0.2.1"], resolve: 9 * MS } },
    { t: 10, kind: "dialing", text: `connecting to ${SIX}`, data: { host: "mx.example.net", address: SIX } },
    { t: 260, kind: "dialing", text: `connecting to ${SLOW}`, data: { host: "mx.example.net", address: SLOW } },
    { t: 300, kind: "failed", text: `could not connect to ${SIX}: <b>refused</b>, after 290ms`, data: { host: "mx.example.net", address: SIX, connect: 290 * MS, problem: "<b>refused</b>" } },
    { t: 300, kind: "dialing", text: `connecting to ${FOUR}`, data: { host: "mx.example.net", address: FOUR } },
    { t: 310, kind: "opened", text: `connected to ${FOUR}`, data: { host: "mx.example.net", address: FOUR, connect: 10 * MS } },
  ].map((e, n) => ({ ...e, n, t: e.t * MS, layer: "tunnel", src: "measured", from: "client", to: "server" }));
  const trace = decode(JSON.stringify({ v: 1, meta: { tool: "", mode: "live", started: "2026-01-01T00:00:00Z", hosts: [] }, streams: {}, events }));
  assert.deepEqual(JSON.parse(JSON.stringify(trace)).events, events);
  return new Rows(trace).readTo(upto ?? events.length);
}

const told = (rows: Rows) => rows.list.map((r) => [r.t / MS, r.ok, Object.values(wordsOf(rows, r)).join(" | ")]);

test("each address that is dialed has a row, the look-up is part of the first", () => {
  assert.deepEqual(told(raced(1)), [[0, undefined, "looking up mx.example.net"]]);
  assert.deepEqual(told(raced(4)), [[0, undefined, `connecting to ${SIX}`], [260, undefined, `connecting to ${SLOW}`]]);
  const failure = [0, false, `could not connect to ${SIX}: <b>refused</b>, after 290ms`];
  assert.deepEqual(told(raced(6)), [failure, [260, undefined, `connecting to ${SLOW}`], [300, undefined, `connecting to ${FOUR}`]]);
  const rows = raced();
  assert.deepEqual(told(rows), [failure, [260, false, `connecting to ${SLOW} | given up`], [300, true, `TCP connection to ${FOUR}, | 1 RTT, 10.0 ms`]]);
  assert.deepEqual(rows.list.map((r) => r.parts), [[0, 1, 2, 4], [3], [5, 6]]);
  assert.deepEqual(rows.rounds.list.map((r) => [r.n, r.from, r.to, r.first, r.last]), [[1, 0, 310 * MS, 0, 2]], "one wait for all of them");
  const grown = raced(0);
  for (let upto = 0; upto <= 7; upto++) assert.deepEqual(told(grown.readTo(upto)), told(raced(upto)));
});

test("a failure is among the facts of its address, and in the transcript", () => {
  const rows = raced(), facts = rows.list.map((r) => connectFacts(r.parts.map((n) => rows.trace!.events[n]) as unknown as Parameters<typeof connectFacts>[0]));
  assert.deepEqual(facts, [
    [["looked up", "mx.example.net is 2001:db8::25, 2001:db8::26, 192.0.2.1, in 9.00 ms"], ["dialed", SIX], ["SYN to failure", "290 ms"], ["problem", "<b>refused</b>"]],
    [["dialed", SLOW]],
    [["dialed", FOUR], ["SYN to open", "10.0 ms"]],
  ]);
  assert.deepEqual(rows.list.map((r) => lineOf(rows, r)).map((l) => [l.tone, ...l.lines]), [
    ["tcp", `could not connect to ${SIX}: <b>refused</b>, after 290ms`], ["tcp", `connecting to ${SLOW}, given up`], ["tcp", `TCP connection to ${FOUR}, 1 RTT, 10.0 ms`],
  ]);
  const text = JSON.stringify(rows.trace);
  assert.throws(() => decode(text.replace('"problem":"<b>refused</b>"', '"problem":7')), /problem/);
});
