import assert from "node:assert/strict";
import { test } from "node:test";
import { connections, flightOf, indexAt, largest, ownConnection, remembered, type Flight, type Line } from "../../src/flight.ts";
import { MS, Segments, connected } from "../fixtures/segments.ts";

const at = (f: Flight, line: Line, ms: number) => f.lines[line][indexAt(f.times, ms * MS)];

test("what is in flight goes up when it is sent and down when it is acknowledged", () => {
  const s = connected();
  s.at(100).tcp("client", "server", "ACK", 1, 1, "x".repeat(100), { inFlight: 100 });
  s.tcp("client", "server", "ACK", 101, 1, "x".repeat(100), { inFlight: 200 });
  s.at(140).tcp("server", "client", "ACK", 1, 101);
  s.at(141).tcp("server", "client", "ACK", 1, 201);
  const f = flightOf(s.store, connections(s.store)[0]!);
  assert.deepEqual([99, 100, 179, 180, 181].map((t) => at(f, "inFlight", t)), [0, 200, 200, 100, 0]);
  assert.equal(largest(f.lines.inFlight), 200);
  assert.ok(f.times.every((t, i) => i === 0 || t > f.times[i - 1]!), "each time once, in order");
});

test("an acknowledgment that was lost or damaged changes nothing, nor does a copy", () => {
  const s = connected();
  const data = s.at(100).tcp("client", "server", "ACK", 1, 1, "x".repeat(10), { fate: "lost" });
  s.at(140).tcp("server", "client", "ACK", 1, 11, "", { fate: "lost" });
  s.tcp("server", "client", "ACK", 1, 11, "", { fate: "corrupted", flip: { offset: 30, mask: 1 } });
  s.tcp("server", "client", "ACK", 0, 0, "", { fate: "duplicated", of: data, window: 0 });
  const again = s.at(300).tcp("client", "server", "ACK", 1, 1, "x".repeat(10), { again: data });
  const f = flightOf(s.store, connections(s.store)[0]!);
  assert.equal(at(f, "inFlight", 300), 10);
  assert.deepEqual(f.marks.map((m) => [m.kind, m.event]), [["lost", data], ["again", again]]);
  assert.deepEqual(largest(f.lines.window), 65535);
});

test("the stack counts segments, the chart octets", () => {
  const s = connected();
  const data = s.at(100).tcp("client", "server", "ACK", 1, 1, "x");
  const f = () => flightOf(s.store, connections(s.store)[0]!);
  assert.equal(at(f(), "cwnd", 0), null, "unknown before the handshake");
  assert.equal(at(f(), "cwnd", 100), 10 * 1000, "by the MSS of its SYN");
  assert.equal(at(f(), "ssthresh", 100), null, "none as long as nothing is lost");
  s.at(300).state("client", data, { cwnd: 1, ssthresh: 2, rto: 400 * MS, inner: { outstanding: 1, inFlight: 1, sendWindow: 1, receiveWindow: 1, sendBuffered: 1, unread: 0, mss: 1420 } });
  assert.deepEqual((["cwnd", "ssthresh", "rto", "srtt"] as const).map((l) => at(f(), l, 300)), [1420, 2840, 400 * MS, null]);
});

test("a window that closes is marked once, until it opens again", () => {
  const s = connected();
  for (const [t, window] of [[100, 0], [101, 0], [102, 500], [103, 0]] as const) s.at(t).tcp("server", "client", "ACK", 1, 1, "", { window });
  s.at(200).tcp("server", "client", "RST", 1, 0, "", { window: 0 });
  const f = flightOf(s.store, connections(s.store)[0]!);
  assert.deepEqual(f.marks.map((m) => m.t / MS), [140, 143]);
});

test("both sides of every connection can be shown; the page's own is the first choice", () => {
  const s = new Segments();
  s.tcp("server", "mx", "SYN", 0, 0, "", { flow: 0 });
  s.at(1).tcp("client", "server", "SYN", 0, 0, "", { flow: 1 });
  assert.equal(ownConnection(connections(s.store))!.flow, 1, "before it carries anything");
  s.at(81).tcp("server", "client", "ACK", 1, 1, "220 ready\r\n", { flow: 1 });
  const [hop, own] = connections(s.store);
  assert.deepEqual([hop!.own, own!.own, ownConnection([hop!, own!])], [false, true, own]);
  const f = flightOf(s.store, own!, "server");
  assert.deepEqual([f.host, f.peer, at(f, "inFlight", 81)], ["server", "client", 11]);
  assert.equal(ownConnection([]), undefined);
});

test("a flight is made again only when its trace has grown", () => {
  const s = connected();
  let made = 0;
  const get = remembered((_, key) => [key, ++made] as const);
  assert.deepEqual([get(s.store, "a"), get(s.store, "a")], [["a", 1], ["a", 1]]);
  assert.deepEqual(get(s.store, "b"), ["b", 2]);
  s.tcp("client", "server", "ACK", 1, 1);
  assert.deepEqual(get(s.store, "b"), ["b", 3]);
});
