import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsFor, hexLines, Layout, wrap, wrapProse, type Measure } from "../../src/layout.ts";
import { rowsOf } from "../../src/rows.ts";
import { stateLine, type Transition } from "../../src/states.ts";
import { outlineIn, stepsOf } from "../../src/steps.ts";
import { axis } from "../../src/timeline.ts";
import { transcript } from "../../src/transcript.ts";
import { verdict } from "../../src/verdict.ts";
import { keyOf, placeOf } from "../../src/view.ts";
import { dump, plainOffset, sealFields } from "../../src/dump.ts";
import * as format from "../../src/format.ts";
import type { TraceStore } from "../../src/trace.ts";
import { accepted, long, partial, paused, refused, untrusted, wordy, QUEUE_ID } from "../fixtures/traces.ts";

const MEASURE: Measure = { wire: 7.5, prose: (s) => s.length * 6.5 };
const layoutOf = (t: TraceStore, open: string[] = [], width = 800) => new Layout(rowsOf(t), columnsFor(width), MEASURE, new Set(open), new Set()).update();

for (const width of [390, 560, 800, 1000]) {
  test(`rows stand one below the other, and their text inside the lanes, at ${width} px`, () => {
    for (const t of [accepted(), partial(), refused(), untrusted(), wordy(), paused()]) {
      const c = columnsFor(width), closed = layoutOf(t, [], width), l = layoutOf(t, closed.rows.list.map((r) => keyOf({ row: r.i })), width);
      for (const layout of [closed, l]) {
        layout.rows.list.forEach((row, i) => {
          const parts = layout.parts(i);
          let y = 0;
          for (const p of parts) {
            assert.equal(p.y, y, `row ${row.n} ${p.type}`);
            y += p.h;
          }
          assert.equal(layout.y[i + 1]! - layout.y[i]!, y);
          const [head] = parts;
          if (head?.type !== "head") return;
          assert.ok(head.x >= c.a && head.x + head.w <= c.b + 1, `row ${row.n} reaches from ${head.x} to ${head.x + head.w}`);
          if (!c.compact) assert.ok(row.dir === "in" ? head.x - c.a >= 48 : c.b - head.x - head.w >= 24, `an arrow can be seen in row ${row.n}`);
        });
      }
      assert.ok(l.height > closed.height || t.events.length < 6);
    }
  });
}

test("a layout that grew is the same as one made at once", () => {
  for (const t of [accepted(), paused(), untrusted(), wordy()]) {
    const rows = rowsOf(t, 0), grown = new Layout(rows, columnsFor(800), MEASURE, new Set(), new Set());
    for (let n = 0; n <= t.events.length; n++) {
      rows.readTo(n);
      grown.update();
    }
    assert.deepEqual(grown.y, layoutOf(t).y);
  }
});

test("a row is found by its height", () => {
  const l = layoutOf(wordy());
  l.rows.list.forEach((_, i) => assert.equal(l.at(l.y[i]! + 1), i));
  assert.equal(l.at(-5), 0);
  assert.equal(l.at(1e9), l.rows.list.length - 1);
});

test("an SMTP row opens into its record, and that into bytes", () => {
  const t = accepted(), row = rowsOf(t).list[13]!, record = keyOf({ row: 13, record: rowsOf(t).carriers(row)[0]! });
  assert.deepEqual(layoutOf(t, ["r13"]).parts(13).map((p) => p.type), ["head", "record"]);
  assert.deepEqual(layoutOf(t, ["r13", record]).parts(13).map((p) => [p.type, p.level]), [["head", 1], ["record", 2], ["hex", 3]]);
  assert.deepEqual(layoutOf(t, ["r2"]).parts(2).map((p) => p.type), ["head", "hex"], "in clear there is no record");
  assert.deepEqual(layoutOf(t, ["r8"]).parts(8).map((p) => p.type), ["head", "keywords", "record"]);
  assert.deepEqual(layoutOf(t, ["r6"]).parts(6).map((p) => p.type).slice(0, 4), ["head", "facts", "certificate", "certificate"]);
});

test("keys of places", () => {
  for (const key of ["r3", "r3-e17", "r12-c0"]) assert.equal(keyOf(placeOf(key)!), key);
  assert.equal(placeOf("x"), undefined);
});

test("texts are broken at spaces, or where they must", () => {
  assert.deepEqual(wrap("one two three", 8, 4), ["one two", "three"]);
  assert.deepEqual(wrap("abcdefghijkl", 5, 4), ["abcde", "fghij", "kl"]);
  assert.deepEqual(wrap("a b c d e f g h i j", 3, 2), ["a b", "c …"]);
  assert.deepEqual(wrap("", 5, 2), [""]);
  assert.deepEqual(wrapProse("one two three", 50, (s) => s.length * 10), ["one", "two", "three"]);
});

test("a dump names what it leaves out, and hides secrets", () => {
  const b = Uint8Array.from({ length: 40 }, (_, i) => i + 65);
  const d = hexLines([{ off: 100, bytes: b }, { off: 140, gap: 1000 }, { off: 1140, bytes: b }], 100, 16, 50, [[0, 2]]);
  assert.equal(d.lines[0]!.hex.slice(0, 8), "•• •• 43");
  assert.equal(d.lines[0]!.ascii.slice(0, 3), "••C");
  assert.deepEqual(d.lines.map((l) => [l.off, l.gap]), [[0, 0], [16, 0], [32, 0], [40, 1000], [1040, 0]]);
  assert.match(d.rest, /30 more bytes/);
});

test("the bytes of a text and of its record lie side by side", () => {
  const t = accepted(), rows = rowsOf(t), row = rows.list[13]!, e = rows.event(row), record = t.events[rows.carriers(row)[0]!]!;
  assert.ok(record.layer === "tls" && record.kind === "record");
  assert.equal(plainOffset(record.data), 5);
  assert.equal(plainOffset({ ...record.data, sealed: 24 }), 13);
  assert.equal(plainOffset({ ...record.data, sealed: 0 }), undefined);
  assert.deepEqual(sealFields(record.data, 29, "TLS_CHACHA20_POLY1305_SHA256").map((f) => [f.name, f.off]), [["inner type", 29], ["Poly1305 tag", 30]]);
  const d = dump(t, e.at!, e.fields!, [], 512);
  assert.equal(d.fields[d.owner[20]!]!.name, "domain", "the innermost field owns a byte");
  assert.ok(d.owner.every((o) => o >= 0));
  assert.equal(dump(t, e.at!, [], [], 10).rest, 19);
});

const TABLE: Transition[] = [
  { from: "rcpt", on: "RSET 2yz", next: "ready", rfc: "RFC 5321, 4.1.1.5" }, { from: "rcpt", on: "QUIT any", next: "quit", rfc: "RFC 5321, 4.1.1.10" },
  { from: "rcpt", on: "DATA 354", next: "data", rfc: "RFC 5321, 4.1.1.4" }, { from: "rcpt", on: "RCPT any", next: "rcpt", rfc: "RFC 5321, 3.3" },
];
const line = (t: TraceStore, upto = Infinity) => stateLine(rowsOf(t, upto), stepsOf(outlineIn(t.meta.plan)!), false, TABLE);

test("the state line: where the session was, is, and may go", () => {
  const at = line(paused()), names = at.stations.map((s) => s.name);
  assert.deepEqual(names, ["Connect", "Greeting", "EHLO", "STARTTLS", "TLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "Message", "QUIT"]);
  assert.equal(names[at.here], "RCPT");
  assert.deepEqual(at.stations.map((s) => s.status), [...Array<string>(8).fill("done"), "here", "next", "later", "next"]);
  assert.deepEqual(at.stations.slice(6).map((s) => s.code), ["235", "250", "250", "354?", "250?", "221?"]);
  assert.deepEqual(at.branches.filter((b) => b.may).map((b) => `${b.label} to ${names[b.to]}`), ["RSET to AUTH", "QUIT to QUIT"]);
});

test("the state line marks where it went wrong", () => {
  assert.deepEqual(line(untrusted()).stations.filter((s) => s.failed).map((s) => s.name), ["TLS"]);
  assert.deepEqual(line(partial()).stations.filter((s) => s.failed).map((s) => [s.name, s.code]), [["RCPT", "550"]]);
  assert.deepEqual(line(refused()).stations.filter((s) => s.failed).map((s) => s.name), ["Connect"]);
  assert.equal(line(accepted(), 0).here, -1);
  assert.ok(line(accepted()).stations.every((s) => !s.failed && s.status !== "later"));
});

test("the axis maps time to pixels and back, and cuts out pauses", () => {
  const t = paused(), rows = rowsOf(t), a = axis(rows, t.elapsed, 20, 1000);
  assert.equal(a.cuts.length, 1);
  let last = -1;
  for (const row of rows.list.filter((r) => r.kind !== "pause")) {
    const x = a.x(row.t);
    assert.ok(x >= last && x >= 20 && x <= 1000, `row ${row.n} at ${x}`);
    assert.ok(Math.abs(a.t(x) - row.t) < 1000, `row ${row.n}: ${a.t(x)} for ${row.t}`);
    last = x;
  }
  assert.ok(a.ticks.length > 4);
  assert.ok(a.ticks.every((k, i) => i === 0 || k.x - a.ticks[i - 1]!.x >= 60));
  assert.equal(axis(rowsOf(undefined), 1, 20, 1000).pieces.length, 1);
});

test("the verdict in words", () => {
  const v = (t: TraceStore) => verdict(t, t.result!);
  assert.deepEqual([v(accepted()).title, v(accepted()).text], ["Accepted", `mail.practice.test took the message for 1 recipient, queued as ${QUEUE_ID}.`]);
  const p = partial();
  assert.equal(v(p).title, "Accepted in part");
  assert.equal(p.events[v(p).event!]!.text?.slice(0, 9), "550 5.1.1");
  const u = untrusted();
  assert.deepEqual([v(u).tone, u.events[v(u).event!]!.kind], ["bad", "alert"], "the handshake says most");
  assert.match(v(refused()).text, /refused the connection on port 25/);
  const cancelled = accepted();
  cancelled.result = { ...cancelled.result!, outcome: "failed", error: { code: "cancelled", message: "You ended the session." } };
  assert.equal(v(cancelled).title, "Ended");
});

test("the transcript has every line, and no secret unless asked", () => {
  const t = accepted(), text = transcript(t, false);
  assert.match(text, /C: EHLO \[127\.0\.0\.1\]\n/);
  assert.match(text, /S: 250-mail\.practice\.test greets \[127\.0\.0\.1\]\n +250-PIPELINING\n/);
  assert.match(text, /AUTH PLAIN ••••••••\n/);
  assert.match(text, /-- TLS 1\.3 handshake, 1 RTT, X25519MLKEM768, ChaCha20-Poly1305, certificate trusted\n/);
  assert.match(text, new RegExp(`queued as ${QUEUE_ID}\\ngrace@example.net: accepted\\n$`));
  assert.doesNotMatch(text, /AGFkYQ/);
  assert.match(transcript(t, true), /AUTH PLAIN AGFkYQBlbmdpbmU=\n/);
  for (const other of [partial(), refused(), untrusted(), wordy(), paused()]) assert.doesNotMatch(transcript(other, false), /undefined|\[object/);
});

test("numbers and references", () => {
  assert.deepEqual([420_000, 12_340_000, 720e6, 12.4e9, 200e9].map(format.duration), ["0.42 ms", "12.3 ms", "720 ms", "12.4 s", "3 min 20 s"]);
  assert.equal(format.bytes(25_000_000), "25,000,000 bytes");
  assert.deepEqual(format.references("RFC 5321, 3.1; RFC 7504, 3").map((r) => r.url), ["https://www.rfc-editor.org/rfc/rfc5321#section-3.1", "https://www.rfc-editor.org/rfc/rfc7504#section-3"]);
  assert.equal(format.references("RFC 8446, B.4")[0]!.url, "https://www.rfc-editor.org/rfc/rfc8446#appendix-B.4");
  assert.equal(format.references("IANA, TLS Supported Groups")[0]!.url, undefined);
});

test("ten thousand rows are laid out and looked up quickly", () => {
  const l = layoutOf(long(10_000)), from = performance.now();
  for (let i = 0; i < 1000; i++) l.parts(l.at(i * 200));
  assert.ok(performance.now() - from < 300);
});
