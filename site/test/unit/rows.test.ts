import assert from "node:assert/strict";
import { test } from "node:test";
import { rowsOf, Rows } from "../../src/rows.ts";
import type { RecordData } from "../../src/trace.ts";
import { accepted, long, partial, paused, refused, untrusted, wordy } from "../fixtures/traces.ts";

const shape = (r: Rows) => r.list.map((x) => `${x.n} ${x.kind}${x.ok === false ? " failed" : ""} ${r.trace!.events[x.e]!.text?.split(" ")[0] ?? ""}`);

test("one row for each thing that happened", () => {
  assert.deepEqual(shape(rowsOf(accepted())), [
    "1 connect connected", "2 reply 220", "3 command EHLO", "4 reply 250-mail.practice.test", "5 command STARTTLS", "6 reply 220",
    "7 handshake TLS", "8 command EHLO", "9 reply 250-mail.practice.test", "10 command AUTH", "11 reply 235",
    "12 command MAIL", "13 reply 250", "14 command RCPT", "15 reply 250", "16 command DATA", "17 reply 354",
    "18 message message,", "19 reply 250", "20 command QUIT", "21 reply 221", "22 record ", "23 closed connection",
  ]);
});

test("numbers are stable: at every cursor the rows are the first of all rows", () => {
  for (const t of [accepted(), partial(), paused(), untrusted(), wordy()]) {
    const all = rowsOf(t), grown = new Rows(t);
    for (let upto = 0; upto <= t.events.length; upto++) {
      const some = rowsOf(t, upto);
      grown.readTo(upto);
      assert.deepEqual(some.list.map((r) => [r.n, r.kind, r.dir ?? ""]), all.list.slice(0, some.list.length).map((r) => [r.n, r.kind, r.dir ?? ""]));
      assert.deepEqual(grown.list.map((r) => [r.n, r.e, r.round]), some.list.map((r) => [r.n, r.e, r.round]));
    }
  }
});

test("the records of SMTP are found below the row that they carry", () => {
  const t = accepted(), rows = rowsOf(t);
  let carried = 0;
  for (const row of rows.list) {
    const e = rows.event(row), records = rows.carriers(row);
    if (row.layer !== "smtp" || !e.at) continue;
    const inside = row.n > 7;
    assert.equal(records.length, inside ? 1 : 0, `row ${row.n}`);
    for (const n of records) {
      const plain = (t.events[n]!.data as RecordData).plain!;
      assert.deepEqual([plain.stream, plain.off, plain.len], [e.at.stream, e.at.off, e.at.len]);
      carried++;
    }
  }
  assert.equal(carried, 14);
});

test("a handshake folds its records, also those that come after it", () => {
  const t = accepted(), rows = rowsOf(t), tls = rows.list[6]!;
  assert.equal(tls.ok, true);
  assert.equal(rows.sealed, tls);
  assert.deepEqual(tls.parts.map((n) => t.events[n]!.kind), ["start", "start", ...Array<string>(8).fill("record")]);
  assert.ok(tls.parts.at(-1)! > tls.e, "the session ticket");
});

test("replies know their commands and commands their replies", () => {
  const rows = rowsOf(accepted());
  assert.equal(rows.list[1]!.other, undefined);
  assert.equal(rows.list[11]!.other, rows.list[12]);
  assert.equal(rows.list[12]!.other, rows.list[11]);
});

test("keywords are compared with the reply to EHLO before", () => {
  const rows = rowsOf(accepted()), [first, second] = rows.greetings, { list, since } = rows.keywords(second!);
  assert.equal(since, first);
  assert.deepEqual(list.filter((k) => k.change !== "same").map((k) => `${k.keyword.keyword} ${k.change}`), ["AUTH new", "STARTTLS gone"]);
  assert.equal(rows.keywords(first!).since, undefined);
});

test("round trips are numbered like the result counts them", () => {
  for (const t of [accepted(), partial(), wordy(), refused(), untrusted()]) {
    assert.equal(rowsOf(t).rounds.done, t.result!.roundTrips);
  }
  const rows = rowsOf(accepted());
  assert.deepEqual(rows.list.map((r) => r.round), [1, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 0, 0]);
  for (const r of rows.rounds.list) assert.ok(r.to! >= r.from, `round ${r.n}`);
});

test("a round that has no answer yet is open", () => {
  const rows = rowsOf(accepted(), accepted().events.findIndex((e) => e.text === "DATA") + 1), open = rows.rounds.list.at(-1)!;
  assert.equal(open.to, undefined);
  assert.equal(open.what, "DATA");
  assert.equal(rows.rounds.done, open.n - 1);
});

test("failures have rows of their own", () => {
  assert.deepEqual(shape(rowsOf(refused())), ["1 connect connecting", "2 error mx.example.net"]);
  const u = rowsOf(untrusted());
  assert.deepEqual(shape(u).slice(-2), ["7 handshake failed The", "8 error TLS"]);
  assert.equal(u.sealed, undefined);
});

test("a pause is a separator without a number", () => {
  const rows = rowsOf(paused()), pauses = rows.list.filter((r) => r.kind === "pause");
  assert.deepEqual(pauses.map((r) => r.n), [0, 0]);
  assert.ok(pauses[0]!.until! - pauses[0]!.t > 2e9);
  assert.equal(pauses[1]!.until, undefined);
});

test("ten thousand rows are read in well under a second", () => {
  const t = long(10_000), from = performance.now();
  const rows = rowsOf(t);
  assert.ok(rows.list.length > 10_000);
  assert.ok(performance.now() - from < 500);
});
