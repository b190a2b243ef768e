import assert from "node:assert/strict";
import { test } from "node:test";
import { lostTime } from "../../src/rounds.ts";
import { isPacket, rowsOf, Rows, type PacketEvent } from "../../src/rows.ts";
import { TraceStore, type RecordData, type TraceEvent } from "../../src/trace.ts";
import { wordsOf } from "../../src/words.ts";
import { bulk, Lab, lossy, lost, onWire } from "../fixtures/lab.ts";
import { Script } from "../fixtures/script.ts";
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

test("in LMTP the replies to one message, one for each recipient, are of one round trip", () => {
  const s = new Script().connect().in("220 mail.practice.test LMTP", "greeted").out("LHLO x").in("250 mail.practice.test", "ready").out("MAIL FROM:<ada@example.org>").in("250 ok", "mail")
    .out("RCPT TO:<grace@example.net>").in("250 ok", "rcpt").out("RCPT TO:<bob@example.net>").in("250 ok", "rcpt").out("DATA").in("354 go", "data").message("x\r\n");
  s.wait(2).in("250 for grace", "message").wait(3).in("452 for bob", "ready", [], { again: true });
  const second = s.last, last = s.wait(1).out("QUIT").wait(1).in("221 bye", "quit").last, rows = rowsOf(s.store), rounds = rows.rounds.list;
  const [one, two] = rows.list.filter((r) => r.kind === "reply" && r.other?.kind === "message");
  assert.deepEqual([one!.round, two!.round, rounds[7]!.what, rounds[7]!.to, rounds[7]!.last], [8, 8, "message", s.store.events[second]!.t, two!.i]);
  assert.deepEqual([rows.rowOf(last)!.round, rows.rounds.done], [9, 9]);
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

// ---- the lab

const brief = (r: Rows) => r.list.map((x) => [x.n, x.kind, x.from, x.to, x.packets.length, x.again?.n ?? 0].join(" "));
const ms = (ns: number | undefined) => ns === undefined ? undefined : Math.round(ns / 1e6);

test("in a lab, numbers are stable at every cursor", () => {
  for (const t of [lossy(), lost(), bulk(6)]) {
    const all = rowsOf(t), grown = new Rows(t);
    for (let upto = 0; upto <= t.events.length; upto++) {
      const some = rowsOf(t, upto);
      grown.readTo(upto);
      assert.deepEqual(some.list.map((r) => [r.i, r.n, r.t, r.from, r.to]), all.list.slice(0, some.list.length).map((r) => [r.i, r.n, r.t, r.from, r.to]));
      assert.deepEqual(brief(grown), brief(some));
    }
  }
});

test("an experiment over a bad link has a row for each thing that happened", () => {
  const t = lossy(), rows = rowsOf(t), kinds = (k: string) => rows.list.filter((r) => r.kind === k).length;
  assert.equal(rows.rounds.done, t.result!.roundTrips);
  assert.deepEqual([kinds("dns"), kinds("command"), kinds("reply"), kinds("message"), kinds("handshake"), kinds("mail")], [2, 7, 9, 1, 1, 1]);
  const packets = t.events.filter((e) => isPacket(e) && e.layer === "tcp"), quiet = new Set(rows.quiet.map((q) => q.e));
  for (const e of packets) assert.ok(rows.rowOf(e.n) || quiet.has(e.n), `packet ${e.n} is nowhere`);
  for (const e of packets as PacketEvent[]) if (e.data.fate !== "delivered") assert.ok(rows.rowOf(e.n), `packet ${e.n} was ${e.data.fate}, and has no row`);
  for (const r of rows.list) if (r.kind === "command" || r.kind === "message") assert.equal(r.packets.length, 1, `row ${r.n}`);
  const ehlo = rows.list.find((r) => r.kind === "reply" && r.packets.length > 1)!;
  assert.deepEqual([ms(ehlo.t), ms(ehlo.arrives), ehlo.packets.length], [1170, 1490, 7], "a reply of seven records begins with the first and is there when the last was sent again");
});

test("a lost command arrives in its retransmission, which a timer sent", () => {
  const t = lost(), rows = rowsOf(t);
  assert.deepEqual(brief(rows), ["1 segment client server 1 0", "2 segment server client 1 0", "3 segment client server 1 0",
    "4 command client server 1 0", "5 segment client server 1 4", "6 reply server client 1 0"]);
  const [, , ack, command, again, reply] = rows.list;
  assert.deepEqual([ack!.ok, command!.fate, ms(command!.sent), ms(command!.arrives)], [true, "lost", 120, 360]);
  assert.equal(rowsOf(t, 6).list[3]!.arrives, undefined, "before it is sent again, nobody knows");
  const wait = rows.waitOf(again!)!;
  assert.deepEqual([wait.timer, ms(wait.from), ms(wait.to), wait.flight, wait.tries], ["retransmission", 120, 320, 1, 1]);
  assert.deepEqual([ms(reply!.t), reply!.other], [360, command], "a reply begins when it is sent");
  assert.deepEqual([rows.rounds.list.map((r) => ms(r.to! - r.from)), lostTime(rows).segments, ms(lostTime(rows).time)], [[80, 280], 1, 200]);
});

test("what is read begins as a segment and becomes the reply", () => {
  const t = lost(), at = t.events.findIndex((e) => e.layer === "smtp" && e.kind === "reply");
  assert.deepEqual(rowsOf(t, at).list.at(-1)!.kind, "segment");
  assert.deepEqual([rowsOf(t).list.at(-1)!.kind, rowsOf(t).list.length], ["reply", rowsOf(t, at).list.length]);
});

test("copies, flipped bits and overtaken segments", () => {
  const s = new Lab().connect(), flipped = s.say("NOOP", { fate: "corrupted" }), copied = s.say("NOOP"), copy = s.segment("client", "server", { of: copied, fate: "duplicated", len: 6 });
  const at = s.bytes("text.in", "250 one two\r\n"), wire = onWire(at);
  s.wait(40).segment("server", "client", { carries: { ...wire, len: 6 }, fate: "reordered", held: 9 });
  s.segment("server", "client", { carries: { ...wire, off: 6, len: at.len - 6 } });
  s.wait(50).reply("250 one two", at, copied - 1);
  const rows = rowsOf(s.store), [one, two, three, reply] = rows.list.slice(3);
  assert.deepEqual([one!.fate, one!.arrives, rows.rowOf(flipped)], ["corrupted", undefined, one]);
  assert.deepEqual([two!.kind, three!.kind, three!.again, rows.rowOf(copy)], ["command", "segment", two, three]);
  assert.deepEqual([reply!.kind, reply!.packets.length, ms(reply!.t), ms(reply!.arrives), reply!.fate], ["reply", 2, 160, 209, "reordered"]);
  assert.deepEqual([wordsOf(rows, one!).fate, wordsOf(rows, three!).main, wordsOf(rows, reply!).note], ["dropped: the checksum caught a flipped bit", "a copy that the link made, of row 5", "2 segments, held back 9.00 ms, overtaken"]);
});

test("a long message is the row that its first segment began", () => {
  const t = bulk(6), rows = rowsOf(t), message = rows.list[3]!, before = rowsOf(t, t.events.length - 1).list;
  assert.deepEqual([message.kind, message.packets.length, ms(message.t), before[3]!.kind, before[3]!.packets.length], ["message", 6, 121, "segment", 6]);
  assert.deepEqual(brief(rows).slice(4), ["5 segment server client 2 0", "6 segment client server 1 4"], "two duplicate ACKs are one row");
  assert.equal(wordsOf(rows, message).note, "6 segments, 1 lost");
  assert.match(wordsOf(rows, rows.list[4]!).main, /^2 × duplicate ACK {2}ack 3001$/);
  assert.equal(wordsOf(rows, rows.list[5]!).note, "duplicate ACKs asked for it");
  assert.equal(rows.waitOf(rows.list[5]!), undefined, "no timer had to end");
  assert.deepEqual(rows.placeOf(message.packets[2]!), { row: 3, packet: message.packets[2]! });
});

test("several replies in one segment: the first is its row", () => {
  const s = new Lab().connect(), out = ["MAIL FROM:<>", "RCPT TO:<a@b>"].map((l) => s.command(l, s.bytes("text.out", `${l}\r\n`)));
  s.segment("client", "server", { carries: { stream: "wire.out", off: 0, len: 29 } });
  const in_ = [s.bytes("text.in", "250 one\r\n"), s.bytes("text.in", "250 two\r\n")];
  s.wait(40).segment("server", "client", { carries: { stream: "wire.in", off: 0, len: 18 } });
  s.wait(40).reply("250 one", in_[0]!, out[0]);
  s.reply("250 two", in_[1]!, out[1]);
  const rows = rowsOf(s.store), [mail, rcpt, one, two] = rows.list.slice(3);
  assert.deepEqual([mail!.packets, rcpt!.packets, two!.packets], [mail!.packets, mail!.packets, one!.packets]);
  assert.deepEqual([ms(one!.t), ms(two!.t), two!.other], [160, 160, rcpt]);
  assert.equal(wordsOf(rows, two!).note, "in the same segment as row 6");
});

test("a closed window, a probe, and the window that opens again", () => {
  const s = new Lab().connect(), zero = s.segment("server", "client", { window: 0 });
  s.remark(zero, "server", "zero-window");
  const probe = s.wait(400).segment("client", "server", { carries: { stream: "wire.out", off: 0, len: 1 } });
  s.remark(probe, "client", "zero-window-probe");
  const update = s.wait(40).segment("server", "client", { window: 4096 }), noise = s.segment("server", "client", { window: 8192 });
  s.remark(update, "server", "window-update");
  s.remark(noise, "server", "window-update");
  const rows = rowsOf(s.store);
  assert.deepEqual(rows.list.slice(3).map((r) => wordsOf(rows, r).main.split("  ")[0]), ["zero window", "window probe", "window update"], "a window that only grows has no row");
});

test("what mail servers say to each other has rows, but is no round trip", () => {
  const s = new Lab(["client", "server", "mx"]).connect("server", "mx"), said = s.say("QUIT", { hop: 1, from: "server", to: "mx" }), at = s.bytes("text.in.1", "221 Bye\r\n");
  s.wait(40).segment("mx", "server", { carries: at });
  s.wait(40).reply("221 Bye", at, said - 1, { from: "mx", to: "server", hop: 1 });
  s.add({ layer: "mail", kind: "relayed", from: "server", data: { host: "server", queueID: "4F2C", from: "", to: ["a@b"], next: "mx.example", attempt: 1, hop: 1 } });
  const rows = rowsOf(s.store);
  assert.deepEqual(brief(rows).slice(3), ["4 command server mx 1 0", "5 reply mx server 1 0", "6 mail server  0 0"]);
  assert.deepEqual([rows.rounds.list.length, rows.lastReply, rows.list[4]!.hop, rows.list[4]!.other], [0, undefined, 1, rows.list[3]]);
});

test("commands that go out as a group share a round trip", () => {
  const t = new TraceStore({ tool: "t", mode: "live", started: "", hosts: [] }), events: TraceEvent[] = [];
  let off = 0;
  const command = (verb: string, at: number) => {
    events.push({ n: events.length, t: at, layer: "smtp", kind: "command", dir: "out", src: "observed", at: { stream: "text.out", off, len: 6 }, text: verb, data: { verb } } as TraceEvent);
    off += 6;
    return events.length - 1;
  };
  const reply = (answers: number | undefined, verb: string, at: number) => events.push({ n: events.length, t: at, layer: "smtp", kind: "reply", dir: "in", src: "observed", at: { stream: "text.in", off: at, len: 5 }, text: "250",
    data: { code: 250, lines: [""], verb, state: "mail", ...(answers !== undefined && { answers }) } } as TraceEvent);
  reply(undefined, "greeting", 10);
  const group = ["MAIL", "RCPT", "DATA"].map((v) => command(v, 20));
  group.forEach((n, i) => reply(n, events[n]!.text!, 100 + 10 * i));
  reply(undefined, "", 150); // a 421 that nobody asked for
  reply(command("QUIT", 200), "QUIT", 300);
  const bdat = command("BDAT", 400); // its octets are an event of their own, and have no reply of their own
  events.push({ n: events.length, t: 400, layer: "smtp", kind: "message", dir: "out", src: "observed", at: { stream: "text.out", off, len: 5 }, data: { started: 400, size: 5, stuffed: 0, normalized: 0 } } as TraceEvent);
  reply(bdat, "BDAT", 480);
  t.append(events);
  const rows = rowsOf(t);
  assert.deepEqual(rows.rounds.list.map((r) => [r.n, r.from, r.to]), [[1, 10, 10], [2, 20, 120], [3, 200, 300], [4, 400, 480]]);
  assert.deepEqual(rows.list.map((r) => r.round), [1, 2, 2, 2, 2, 2, 2, 0, 3, 3, 4, 4, 4]);
});
