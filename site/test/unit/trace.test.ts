import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decode, TraceError } from "../../src/codec.ts";
import { progress, Stream, TraceStore, type TraceEvent } from "../../src/trace.ts";
import { accepted, long, partial, paused, refused, remarked, untrusted, wordy } from "../fixtures/traces.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (b: Uint8Array) => new TextDecoder().decode(b);

test("a stream keeps what it is given, and names the gaps", () => {
  const s = new Stream();
  s.append(0, bytes("head"));
  s.append(4, bytes("+more"));
  s.append(100, bytes("tail"));
  assert.equal(s.length, 104);
  assert.equal(text(s.bytes(0, 104)), "head+moretail");
  assert.deepEqual(s.pieces(7, 95).map((p) => ("gap" in p ? [p.off, p.gap] : [p.off, text(p.bytes)])), [[7, "re"], [9, 91], [100, "ta"]]);
  assert.deepEqual(s.toJSON(), { len: 104, parts: [{ off: 0, bytes: btoa("head+more") }, { off: 100, bytes: btoa("tail") }] });
  assert.throws(() => s.append(50, bytes("x")), /overwrite/);
});

test("a stream may be known to be longer than its bytes, which then still arrive", () => {
  const s = new Stream();
  s.append(0, bytes("abc"));
  s.extend(10);
  s.append(3, bytes("def"));
  assert.equal(text(s.bytes(0, 10)), "abcdef");
  assert.equal(s.length, 10);
});

test("every split of a stream reads the same", () => {
  const whole = bytes("0123456789abcdef");
  for (let cut = 0; cut <= whole.length; cut++) {
    const s = new Stream();
    s.append(0, whole.subarray(0, cut));
    s.append(cut, whole.subarray(cut));
    for (let from = 0; from < whole.length; from++) assert.equal(text(s.bytes(from, 5)), text(whole.subarray(from, from + 5)));
    assert.equal(s.toJSON(), btoa("0123456789abcdef"));
  }
});

test("a store refuses events out of order and unknown streams", () => {
  const t = new TraceStore({ tool: "t", mode: "live", started: "", hosts: [] });
  assert.throws(() => t.append([{ n: 1 } as TraceEvent]), /event 1 arrived where 0 was due/);
  assert.throws(() => t.append([], [{ name: "wire.up", off: 0, bytes: bytes("x") }]), /unknown stream/);
});

for (const [name, make] of Object.entries({ accepted, partial, refused, untrusted, wordy, paused, remarked })) {
  test(`a saved trace reads back: ${name}`, () => {
    const t = make(), json = JSON.stringify(t), back = decode(json);
    assert.equal(JSON.stringify(back), json);
  });
}

test("a saved trace with an elision reads back", () => {
  const t = accepted();
  t.stream("wire.out").append(1 << 20, bytes("tail"));
  const back = decode(JSON.stringify(t));
  assert.equal(back.stream("wire.out").length, (1 << 20) + 4);
  assert.equal(JSON.stringify(back), JSON.stringify(t));
});

const saved = () => JSON.parse(JSON.stringify(remarked()));
const broken: [string, (t: any) => void, RegExp][] = [
  ["other version", (t) => (t.v = 2), /trace.v: is 2, this page reads version 1/],
  ["unknown key", (t) => (t.meta.color = 1), /trace.meta: unknown key "color"/],
  ["unknown mode", (t) => (t.meta.mode = "dream"), /trace.meta.mode: "dream" is unknown/],
  ["unknown stream", (t) => (t.streams["wire.up"] = ""), /unknown stream "wire.up"/],
  ["no base64", (t) => (t.streams["wire.in"] = "%"), /trace.streams.wire.in: is not base64/],
  ["parts out of order", (t) => (t.streams["wire.in"] = { len: 9, parts: [{ off: 8, bytes: "QUJD" }] }), /parts\[0\]: out of order or beyond len/],
  ["unknown kind", (t) => (t.events[4].kind = "record"), /events\[4\]: unknown kind "record" in layer "smtp"/],
  ["unknown layer", (t) => (t.events[4].layer = "ftp"), /unknown kind "reply" in layer "ftp"/],
  ["unknown source", (t) => (t.events[4].src = "guessed"), /events\[4\].src: "guessed" is unknown/],
  ["out of order", (t) => (t.events[0].n = 5), /events\[0\].n: is 5, its position is 0/],
  ["before the start", (t) => (t.events[0].t = -1), /events\[0\].t: is negative/],
  ["range outside", (t) => (t.events[4].at.len = 1e6), /events\[4\].at: reaches outside/],
  ["secret backwards", (t) => (t.events.find((e: any) => e.secret).secret = [[9, 2]]), /secret\[0\]: reaches outside/],
  ["data of another kind", (t) => (t.events[5].data = { code: 250 }), /events\[5\].data: unknown key "code"/],
  ["data missing", (t) => delete t.events[5].data, /events\[5\].data: want an object/],
  ["wrong type", (t) => (t.events[4].data.code = "220"), /events\[4\].data.code: want a whole number/],
  ["answers a later event", (t) => (t.events[4].data.answers = 9), /answers: reaches outside/],
  ["a record that comes later", (t) => (t.events.find((e: any) => e.kind === "decrypted").data.records = [99]), /data.records: reaches outside/],
  ["a finding of no known weight", (t) => (t.findings[0].severity = "bad"), /findings\[0\].severity: "bad" is unknown/],
  ["a finding without evidence", (t) => (t.findings[1].events = []), /findings\[1\]: a finding has an id and at least one event/],
  ["a finding about nothing", (t) => (t.findings[2].events = [1e4]), /findings\[2\].events: reaches outside/],
  ["unknown outcome", (t) => (t.result.outcome = "fine"), /result.outcome: "fine" is unknown/],
];
for (const [name, breakIt, want] of broken) {
  test(`a broken trace is named: ${name}`, () => {
    const t = saved();
    breakIt(t);
    assert.throws(() => decode(JSON.stringify(t)), (e) => e instanceof TraceError && want.test(e.message));
  });
}

test("what is no trace at all is named", () => {
  assert.throws(() => decode("<!doctype html>"), /This is not JSON/);
  assert.throws(() => decode("[]"), /trace: want an object/);
});

const PASSWORD = "AGFkYQBlbmdpbmU=";
const everything = (t: TraceStore) => JSON.stringify(t) + [...t.streams.values()].map((s) => text(s.bytes(0, s.length))).join("");

test("redaction leaves no secret, and the original alone", () => {
  const t = accepted();
  assert.match(everything(t), new RegExp(PASSWORD));
  const clean = t.redact();
  assert.doesNotMatch(everything(clean), new RegExp(PASSWORD));
  assert.match(everything(clean), /AUTH PLAIN \*{16}\r\n/);
  assert.match(everything(t), new RegExp(PASSWORD));
  // Inside TLS the wire carries ciphertext at other offsets.
  assert.equal(clean.stream("wire.out").toJSON(), t.stream("wire.out").toJSON());
  assert.ok(decode(JSON.stringify(clean)));
});

test("redaction in clear covers the wire too", () => {
  const t = new TraceStore({ tool: "t", mode: "live", started: "", hosts: [] });
  const line = bytes("AUTH PLAIN c2VjcmV0\r\n");
  t.append([{ n: 0, t: 0, layer: "smtp", kind: "command", dir: "out", src: "observed", at: { stream: "text.out", off: 0, len: line.length }, secret: [[11, 19]], data: { verb: "AUTH" } }],
    [{ name: "text.out", off: 0, bytes: line }, { name: "wire.out", off: 0, bytes: line.slice() }]);
  const clean = t.redact();
  for (const name of ["text.out", "wire.out"] as const) assert.equal(text(clean.stream(name).bytes(0, 21)), "AUTH PLAIN ********\r\n", name);
});

test("progress counts as the engine does", () => {
  assert.deepEqual(progress(accepted()), { phase: "quit", roundTrips: accepted().result!.roundTrips });
  assert.deepEqual(progress(refused()), { phase: "connect", roundTrips: 0 });
  assert.equal(progress(long(10)).phase, "rcpt");
});

test("a trace that protocol/trace reads too is read and written alike", () => {
  const saved = readFileSync("protocol/trace/testdata/saved-by-the-page.json", "utf8");
  assert.deepEqual(JSON.parse(JSON.stringify(decode(saved))), JSON.parse(saved));
});

test("redaction reaches into packets", () => {
  const t = new TraceStore({ tool: "t", mode: "lab", started: "", hosts: [] });
  const line = bytes("AUTH PLAIN c2VjcmV0\r\n"), packet = bytes(`${"h".repeat(40)}${text(line)}`), other = bytes(`${"h".repeat(20)}c2VjcmV0`);
  const at = (off: number, len: number) => ({ stream: "packets" as const, off, len }), data = { arrives: 0, fate: "delivered" as const };
  t.append([
    { n: 0, t: 0, layer: "smtp", kind: "command", dir: "out", src: "observed", at: { stream: "text.out", off: 0, len: line.length }, secret: [[11, 19]], data: { verb: "AUTH" } },
    { n: 1, t: 0, layer: "tcp", kind: "segment", src: "simulated", at: at(0, packet.length), data: { ...data, carries: { stream: "wire.out", off: 0, len: line.length } } },
    { n: 2, t: 0, layer: "ip", kind: "packet", src: "simulated", at: at(packet.length, other.length), data },
  ], [
    { name: "text.out", off: 0, bytes: line }, { name: "wire.out", off: 0, bytes: line.slice() },
    { name: "packets", off: 0, bytes: packet }, { name: "packets", off: packet.length, bytes: other },
  ]);
  const clean = t.redact(), shown = text(clean.stream("packets").bytes(0, packet.length + other.length));
  assert.equal(shown, `${"h".repeat(40)}AUTH PLAIN ********\r\n${"h".repeat(20)}********`);
  assert.match(text(t.stream("packets").bytes(0, packet.length)), /c2VjcmV0/, "the original is left alone");
});
