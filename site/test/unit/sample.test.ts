import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "../../src/codec.ts";
import { connections, flightOf, indexAt, largest, ownConnection, type Line } from "../../src/flight.ts";
import { connectFacts } from "../../src/layout.ts";
import { Rows } from "../../src/rows.ts";
import type { SampleData, TraceStore } from "../../src/trace.ts";
import { charted, type View } from "../../src/view.ts";
import { wordsOf } from "../../src/words.ts";

const MS = 1e6;
const SAMPLE: SampleData = { state: "ESTABLISHED", rtt: 12 * MS, rttvar: 3 * MS, minRTT: 11 * MS, rto: 212 * MS, cwnd: 10, mss: 1448, sendWindow: 65536, receiveWindow: 64256, sendScale: 7, receiveScale: 8 };

/** A session over a tunnel: connected after `connect`, then measured; times in milliseconds. */
function live(connect: number, ...samples: [at: number, data: object][]): string {
  const events = [
    { t: 0, layer: "tunnel", kind: "dialing", data: { address: "192.0.2.1:25" } },
    { t: connect * MS, layer: "tunnel", kind: "opened", text: "connected", data: { address: "192.0.2.1:25", connect: connect * MS } },
    ...samples.map(([at, data]) => ({ t: at * MS, layer: "tcp", kind: "sample", from: "proxy", to: "server", data })),
  ].map((e, n) => ({ n, src: "measured", ...e }));
  return JSON.stringify({ v: 1, meta: { tool: "", mode: "live", started: "2026-01-01T00:00:00Z", hosts: [{ id: "proxy", name: "proxy" }, { id: "server", name: "mx.example.net" }] }, streams: {}, events });
}

function rowsOf(trace: TraceStore, upto = trace.events.length): Rows {
  return new Rows(trace).readTo(upto);
}

test("samples are read as strictly as the rest of a trace, and written the same", () => {
  const saved = live(12, [12, { ...SAMPLE, ssthresh: 7, unacked: 3, inFlight: 4000, retransmits: 1, deliveryRate: 125000 }]);
  assert.deepEqual(JSON.parse(JSON.stringify(decode(saved))), JSON.parse(saved));
  for (const [data, want] of [[{ ...SAMPLE, jitter: 1 }, /unknown key "jitter"/], [{ ...SAMPLE, rtt: "1ms" }, /data\.rtt: want a whole number/], [{ rtt: 1 }, /data\.state: missing/]] as const) {
    assert.throws(() => decode(live(12, [12, data])), want);
  }
});

test("what the proxy measured is drawn by the chart of the lab: segments become octets", () => {
  const trace = decode(live(12, [12, SAMPLE], [112, { ...SAMPLE, inFlight: 4000, unacked: 3 }], [212, { ...SAMPLE, cwnd: 5, ssthresh: 7, inFlight: 1448, unacked: 1, retransmits: 2, rto: 424 * MS }]));
  const [c] = connections(trace), f = flightOf(trace, c!), at = (line: Line, ms: number) => f.lines[line][indexAt(f.times, ms * MS)];
  assert.deepEqual([c, ownConnection([c!])], [{ flow: 0, from: "proxy", to: "server", own: true, measured: true }, c]);
  assert.deepEqual([f.host, f.peer, f.measured], ["proxy", "server", true]);
  assert.deepEqual((["inFlight", "cwnd", "ssthresh", "window", "rto", "srtt"] as const).map((l) => at(l, 12)), [0, 14480, null, 65536, 212 * MS, 12 * MS]);
  assert.deepEqual([at("inFlight", 111), at("inFlight", 112), largest(f.lines.inFlight)], [0, 4000, 4000]);
  assert.deepEqual([at("cwnd", 212), at("ssthresh", 212), at("rto", 212)], [7240, 10136, 424 * MS]);
  assert.deepEqual(f.marks, [{ t: 212 * MS, kind: "again", event: 4 }]);
  assert.deepEqual(flightOf(trace, c!, "server").times, [], "the other side is not measured");
});

test("a window of 0 is marked where the system tells the window at all", () => {
  const { sendWindow: _, ...silent } = SAMPLE;
  const marks = (...s: object[]) => {
    const trace = decode(live(1, ...s.map((data, i): [number, object] => [1 + i, data])));
    return flightOf(trace, connections(trace)[0]!).marks.map((m) => [m.kind, m.event]);
  };
  assert.deepEqual(marks(SAMPLE, silent, silent, SAMPLE, silent), [["zero", 3], ["zero", 6]]);
  assert.deepEqual(marks(silent, silent), []);
});

test("a SYN that was lost is said beside the connect time, which is then no round trip", () => {
  const words = (text: string, upto?: number) => {
    const rows = rowsOf(decode(text), upto);
    return wordsOf(rows, rows.list[0]!);
  };
  assert.deepEqual(words(live(12, [12, SAMPLE])), { main: "TCP connection to 192.0.2.1:25,", par: "1 RTT, 12.0 ms" });
  assert.deepEqual(words(live(1012, [1012, { ...SAMPLE, retransmits: 1 }])),
    { main: "TCP connection to 192.0.2.1:25,", par: "1012 ms", note: "its SYN was sent twice; the round trip is 12.0 ms" });
  assert.equal(words(live(3010, [3010, { ...SAMPLE, retransmits: 2 }])).note, "its SYN was sent 3 times; the round trip is 12.0 ms");
  assert.deepEqual(words(live(12, [12, SAMPLE], [112, { ...SAMPLE, retransmits: 1 }])).par, "1 RTT, 12.0 ms", "what is sent again later is no SYN");
  assert.deepEqual(words(live(1012, [1012, { ...SAMPLE, retransmits: 1 }]), 2).par, "1 RTT, 1012 ms", "before the cursor nothing is known of it");

  const rows = rowsOf(decode(live(1012, [1012, { ...SAMPLE, retransmits: 1 }], [1112, { ...SAMPLE, rtt: MS }]))), [row] = rows.list;
  assert.equal(rows.list.length, 1, "samples have no rows");
  assert.deepEqual(connectFacts(row!.parts.map((n) => rows.trace!.events[n]! as Parameters<typeof connectFacts>[0][number])), [
    ["dialed", "192.0.2.1:25"], ["SYN to open", "1012 ms"], ["round trip", "12.0 ms ± 3.00 ms, as TCP measured it"], ["SYN sent", "2 times"],
    ["segments", "at most 1,448 bytes, 10 at first"],
  ]);
  assert.equal(rows.samples.length, 2);
});

test("there is a small chart in the lab, and where something was measured", () => {
  const view = (lab: boolean, text: string) => ({ lab, all: rowsOf(decode(text)) }) as View;
  assert.deepEqual([view(true, live(1)), view(false, live(1)), view(false, live(1, [2, SAMPLE]))].map(charted), [true, false, true]);
});
