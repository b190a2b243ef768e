import assert from "node:assert/strict";
import { test } from "node:test";
import { Ink, TimeArrows } from "../../src/arrows.ts";
import { columnsFor, lanes } from "../../src/columns.ts";
import { hexLines, Layout, wrap, wrapProse, type Measure } from "../../src/layout.ts";
import { rowsOf } from "../../src/rows.ts";
import { stateLine, type Transition } from "../../src/states.ts";
import { outlineIn, stepsOf } from "../../src/steps.ts";
import { axis } from "../../src/timeline.ts";
import { TimeScale, unitFor } from "../../src/timescale.ts";
import { lineOf } from "../../src/transcript.ts";
import { verdict } from "../../src/verdict.ts";
import { keyOf, placeOf, type Packets } from "../../src/view.ts";
import { dump, plainOffset, sealFields } from "../../src/dump.ts";
import * as format from "../../src/format.ts";
import type { TraceStore } from "../../src/trace.ts";
import { bulk, Lab, lossy, lost } from "../fixtures/lab.ts";
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

/** The transcript as its readers have it. */
function transcript(t: TraceStore): string {
  const rows = rowsOf(t);
  return rows.list.map((row) => lineOf(rows, row)).map((l) => `${l.who || "--"}: ${l.lines.join("\n")}\n`).join("");
}

test("the transcript has every line, and no secret", () => {
  const text = transcript(accepted());
  assert.match(text, /C: EHLO \[127\.0\.0\.1\]\n/);
  assert.match(text, /S: 250-mail\.practice\.test greets \[127\.0\.0\.1\]\n250-PIPELINING\n/);
  assert.match(text, /AUTH PLAIN ••••••••\n/);
  assert.match(text, /--: TLS 1\.3 handshake, 1 RTT, X25519MLKEM768, ChaCha20-Poly1305, certificate trusted\n/);
  assert.match(text, new RegExp(`S: 250 2\\.0\\.0 OK: queued as ${QUEUE_ID}\\n`));
  assert.doesNotMatch(text, /AGFkYQ/);
  for (const other of [partial(), refused(), untrusted(), wordy(), paused()]) assert.doesNotMatch(transcript(other), /undefined|\[object/);
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

// ---- the lab

const timed = (t: TraceStore, open: string[] = [], packets: Packets = "few", upto = Infinity) =>
  new Layout(rowsOf(t, upto), columnsFor(800, 2, "time"), MEASURE, new Set(open), new Set(), "time", packets).update();
const MS = 1e6;

test("the time scale: rows take room, time has one slope, and what is idle for long is cut", () => {
  const s = new TimeScale(20 / unitFor(40.0432 * MS)), tops: number[] = [];
  for (const t of [0, 0, 40, 80, 85, 125, 325, 1_800_000]) tops.push(s.place(t * MS, 20, 20));
  assert.deepEqual(tops.slice(0, 7), [4, 24, 44, 64, 84, 104, 204], "40 ms are a row; what is closer takes room");
  assert.equal(s.y(0), 4, "of several heights of a time, the first");
  assert.ok(Math.abs(s.y(60 * MS) - 54) < 0.1, "half way between two rows");
  assert.deepEqual(s.gaps.map((g) => !!g.cut), [false, false, true]);
  assert.ok(tops[7]! - tops[6]! < 150);
  const cut = s.gaps[2]!;
  assert.deepEqual([s.t(cut.from + 1), s.y(900_000 * MS)], [cut.cut![0], cut.from]);
  let last = -1;
  for (let t = 0; t < 1_800_100; t += 7) {
    const y = s.y(t * MS);
    assert.ok(y >= last, `at ${t} ms`);
    last = y;
  }
});

test("a time scale goes back to where it was", () => {
  const s = new TimeScale(1e-6);
  s.place(0, 60, 20);
  const before = s.mark();
  const tops = () => [s.place(50 * MS, 20, 20), s.place(5000 * MS, 20, 20), s.place(5001 * MS, 20, 20)];
  const once = tops(), gaps = JSON.stringify(s.gaps);
  s.back(before);
  assert.deepEqual([tops(), JSON.stringify(s.gaps)], [once, gaps]);
});

test("an opened row takes room but no time", () => {
  const closed = timed(lost()), open = timed(lost(), ["r3"]), more = open.room(3) - closed.room(3);
  assert.ok(more > 0);
  assert.deepEqual(open.y.slice(0, 4), closed.y.slice(0, 4));
  assert.deepEqual(open.y.slice(4, 6), closed.y.slice(4, 6).map((y) => y + more));
  assert.ok(Math.abs(open.time!.y(140 * MS) - closed.time!.y(140 * MS)) < 0.1, "its arrow lands where it did");
});

test("waiting is drawn at full length", () => {
  const l = timed(lost()), { list } = l.rows, at = (i: number) => l.y[l.itemOf(i)!]!;
  assert.deepEqual([list[3]!.kind, list[4]!.again?.n], ["command", 4]);
  assert.ok(Math.abs(at(4) - at(3) - 100) < 0.1, "the 200 ms of the timer are 100 px");
});

test("rows on the time scale: in order, none over another, and nothing moves when more happens", () => {
  for (const packets of ["few", "all"] as const) {
    for (const t of [lossy(), lost(), bulk(6)]) {
      const whole = timed(t, [], packets), rows = rowsOf(t, 0), grown = new Layout(rows, columnsFor(800, 2, "time"), MEASURE, new Set(), new Set(), "time", packets);
      for (let n = 0; n <= t.events.length; n++) {
        rows.readTo(n);
        grown.update();
        grown.items.forEach((_, i) => assert.ok(i === 0 || grown.y[i]! >= grown.y[i - 1]! + grown.room(i - 1) - 0.01, `item ${i}`));
        if (packets === "few") assert.deepEqual(grown.y.slice(0, grown.items.length), whole.y.slice(0, grown.items.length), `at ${n}`);
      }
      assert.deepEqual([grown.y, grown.items.map((i) => [i.row.i, i.packet?.n])], [whole.y, whole.items.map((i) => [i.row.i, i.packet?.n])]);
    }
  }
});

test("every packet: rows keep their numbers, and packets stand between them", () => {
  const t = lossy(), few = timed(t), all = timed(t, [], "all");
  assert.equal(all.items.length, few.items.length + all.rows.quiet.length);
  assert.deepEqual(all.items.filter((i) => !i.packet).map((i) => i.row.n), few.items.map((i) => i.row.n));
  const shown = new Set(all.items.flatMap((i) => i.packet?.n ?? i.row.packets[0] ?? []));
  for (const e of t.events) if (e.layer === "tcp" && e.kind === "segment") assert.ok(shown.has(e.n), `packet ${e.n}`);
  for (const [i, item] of all.items.entries()) assert.equal(all.itemAt(all.parts(i)[0]!.key), i, `${item.row.n} ${item.packet?.n}`);
});

test("an SMTP row of a lab opens into record, segment, packet and bytes", () => {
  const t = lossy(), rows = rowsOf(t), row = rows.list.find((r) => r.kind === "command" && r.i > rows.sealed!.i && r.fate === "delivered")!;
  const key = keyOf({ row: row.i }), record = keyOf({ row: row.i, record: rows.carriers(row)[0]! }), packet = keyOf({ row: row.i, packet: row.packets[0]! });
  const levels = (...open: string[]) => timed(t, open).parts(row.i).map((p) => [p.type, p.level]);
  assert.deepEqual(levels(key), [["head", 1], ["record", 2]]);
  assert.deepEqual(levels(key, record), [["head", 1], ["record", 2], ["packet", 3]]);
  assert.deepEqual(levels(key, record, packet).slice(0, 4), [["head", 1], ["record", 2], ["packet", 3], ["packet", 4]]);
  const bars = timed(t, [key, record, packet]).parts(row.i).flatMap((p) => ("bar" in p && p.bar ? [p.bar.reduce((w, b) => w + b.w, 0)] : []));
  assert.deepEqual([bars[1]! - bars[0]!, bars[2]! - bars[1]!], [64, 40], "32 octets of TCP and 20 of IPv4, two pixels each");
  assert.deepEqual(timed(t, ["r3"]).parts(3).map((p) => p.type).slice(0, 3), ["head", "facts", "packet"], "a segment opens into what its header says");
});

test("arrows end at the playhead, and what is lost at a cross", () => {
  const drawn = (t: TraceStore, playhead: number) => {
    const l = timed(t), ink = new Ink();
    new TimeArrows(l, ink, playhead * MS).draw(0, 1000);
    const flat = (x: unknown): unknown[] => (Array.isArray(x) ? x.flatMap(flat) : x && typeof x === "object" && "values" in x ? (x as { values: unknown[] }).values.flatMap(flat) : [x]);
    return flat(ink.drawn()).map(String);
  };
  const c = columnsFor(800), y = timed(lost()).y[3]! + 3, all = drawn(lost(), Infinity), x = c.a + (c.b - c.a) * 0.62, at = y + 20 * 0.62;
  const round = (n: number) => Math.round(n * 10) / 10;
  assert.ok(all.includes(`M${c.a} ${round(y)}L${round(x)} ${round(at)}`), "the command stops");
  assert.ok(all.some((d) => d.startsWith(`M${round(x) - 4} ${round(at) - 4}l8 8`)), "at a cross");
  assert.ok(all.includes("lost on the link"));
  const early = drawn(lost(), 120 + 10);
  assert.ok(early.includes(`M${c.a} ${round(y)}L${round(c.a + (c.b - c.a) / 4)} ${round(y + 5)}`), "a quarter of its way after a quarter of its time");
  assert.ok(!early.includes("lost on the link"));
  const message = drawn(bulk(12), Infinity).find((d) => d.startsWith(`M${c.a} ${round(timed(bulk(12)).y[3]! + 3)}L`))!;
  assert.equal(message.split("M").length - 1, 2 + 1 + 2, "of twelve segments three and eight go together, and one is lost");
});

test("one lane for each host that carries mail", () => {
  const c = columnsFor(800), hosts = (...ids: string[]) => lanes(new Lab(ids).store, c).map((l) => [l.id, l.x]);
  assert.deepEqual(hosts("client", "server"), [["client", c.a], ["server", c.b]]);
  assert.deepEqual(hosts("client", "server", "mx"), [["client", c.a], ["server", (c.a + c.b) / 2], ["mx", c.b]]);
  assert.deepEqual([lanes(undefined, c).map((l) => l.x), lanes(accepted(), c).map((l) => l.id)], [[c.a, c.b], ["client", "server"]]);
  const s = new Lab(["client", "server", "relay1", "relay2", "mx"]).connect().connect("relay2", "mx");
  s.say("MAIL FROM:<somebody.with.a.long.name@example.org> SIZE=1000", { hop: 1, from: "relay2", to: "mx" });
  for (const [width, scale] of [[800, "time"], [800, "rows"], [390, "rows"]] as const) {
    const columns = columnsFor(width, 5, scale), l = new Layout(rowsOf(s.store), columns, MEASURE, new Set(), new Set(), scale).update();
    l.items.forEach((_, i) => {
      const head = l.parts(i)[0]!;
      assert.ok(head.type === "head" && head.x >= columns.a && head.x + head.w <= columns.b + 1, `row ${i} at ${width} px, ${scale}`);
    });
  }
});

test("the axis of a lab cuts out what is idle for long", () => {
  const s = new Lab().connect();
  s.wait(1_800_000).say("QUIT");
  const a = axis(rowsOf(s.store), s.store.elapsed, 20, 1000);
  assert.equal(a.cuts.length, 1);
  assert.ok(a.x(100 * MS) > 400 && a.x(1_000_000 * MS) < 980);
  assert.equal(axis(rowsOf(lossy()), lossy().elapsed, 20, 1000).cuts.length, 0);
});

test("the transcript of a lab names what happened to packets and mail", () => {
  const text = transcript(lossy());
  assert.match(text, /--: client > server: SYN {2}seq 0 {2}mss 1460/);
  assert.match(text, /retransmission of row 10 {2}seq 19 len 10, after 360 ms, the probe for a lost tail/);
  assert.match(text, /server > client: ACK {2}seq 220 ack 1449 {2}win 522752, lost on the link/);
  assert.match(text, /mx\.example\.net: in the mailbox of grace@example\.net, as 088DC3AE78/);
  assert.doesNotMatch(text, /undefined|\[object/);
});
