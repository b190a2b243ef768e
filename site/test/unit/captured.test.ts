import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, TraceError } from "../../src/codec.ts";
import { columnsFor } from "../../src/columns.ts";
import { connections } from "../../src/flight.ts";
import { Layout } from "../../src/layout.ts";
import { carried, fateWords, layersOf, truthOf } from "../../src/packet.ts";
import { isPacket, rowsOf, type PacketEvent, type Row, type Rows } from "../../src/rows.ts";
import { axis } from "../../src/timeline.ts";
import { TraceStore, type PacketData, type TraceEvent } from "../../src/trace.ts";
import { keyOf } from "../../src/view.ts";
import { wordsOf } from "../../src/words.ts";
import { Script } from "../fixtures/script.ts";

const MS = 1e6, HEADERS = 40;

interface Segment { flags?: string; seq?: number; ack?: number; len?: number; again?: number; carries?: boolean; v6?: boolean }

/** A packet that the proxy captured, with real lengths in its headers. */
function captured(store: TraceStore, dir: "out" | "in", o: Segment = {}): number {
  const n = store.events.length, len = o.len ?? 0, seq = o.seq ?? 0, t = store.events.at(-1)?.t ?? 0, ip = o.v6 ? 40 : 20;
  const bytes = new Uint8Array(ip + 20 + len), off = store.stream("packets").length;
  bytes.set(o.v6 ? [0x60, 0, 0, 0, 0, 20 + len, 6] : [0x45, 0, 0, HEADERS + len, 0, 0, 0, 0, 64, 6]);
  bytes[ip + 12] = 5 << 4;
  const carries = (o.carries ?? len > 0) && { carries: { stream: `wire.${dir}`, off: seq - 1, len } };
  store.append([{
    n, t, layer: "tcp", kind: "segment", src: "captured", dir, from: dir === "out" ? "proxy" : "server", to: dir === "out" ? "server" : "proxy",
    at: { stream: "packets", off, len: bytes.length }, text: o.flags ?? "ACK",
    data: { captured: `2026-11-22T10:00:00.${String(123456789 + n)}Z`, ...carries, segment: { flow: 0, flags: o.flags ?? (len ? "PSH, ACK" : "ACK"), seq, ack: o.ack ?? 1, window: 65535, len, inFlight: len, ...(o.again !== undefined && { again: o.again }) } },
  } as unknown as TraceEvent], [{ name: "packets", off, bytes }]);
  return n;
}

/** A session as a script has it, with a segment for every run of bytes on the wire: told of before the events that say what it is, or after. */
function session(when: "before" | "after"): TraceStore {
  const script = new Script().connect().wait(1).in("220 ready").out("EHLO x").in(["250-mx", "250 STARTTLS"]).out("STARTTLS").in("220 go").startTLS()
    .wait(1).out("EHLO x").in("250 mx").out("MAIL FROM:<a@b.example>").in("250 ok").out("QUIT").in("221 bye").closed().done({ outcome: "accepted", phase: "quit" });
  const store = new TraceStore(script.meta), from = { out: 0, in: 0 };
  for (const [name, s] of script.streams) for (const p of s.pieces(0, s.length)) if ("bytes" in p) store.append([], [{ name, off: p.off, bytes: p.bytes }]);
  const moved = new Map<number, number>(), add = (e: TraceEvent) => {
    const copy = structuredClone(e) as TraceEvent & { data?: { answers?: number } };
    copy.n = store.events.length;
    if (copy.data?.answers !== undefined) copy.data.answers = moved.get(copy.data.answers)!;
    moved.set(e.n, copy.n);
    store.append([copy]);
  };
  for (const e of script.events) {
    const wire = e.at?.stream.startsWith("wire") ? e.at : e.at && e.layer === "smtp" && e.at.off < script.clear(e.at.stream.replace("text", "wire") as never) ? e.at : undefined;
    const dir = e.dir!, to = wire && wire.len ? wire.off + wire.len : 0, tell = () => {
      if (to > from[dir]) captured(store, dir, { seq: from[dir] + 1, len: to - from[dir] });
      from[dir] = Math.max(from[dir], to);
    };
    // What the page says is on its way only when it was said.
    if (when === "before" && dir === "in") tell();
    add(e);
    if (when === "after" || dir === "out") tell();
    if (e.kind === "opened") {
      captured(store, "out", { flags: "SYN" });
      captured(store, "in", { flags: "SYN, ACK" });
      captured(store, "out", { seq: 1 });
    }
  }
  captured(store, "in", { flags: "FIN, ACK", seq: from.in + 1 });
  captured(store, "out", { seq: from.out + 1, ack: from.in + 2 });
  store.result = script.result;
  return store;
}

const shape = (rows: Rows) => rows.list.map((r) => `${r.kind} ${r.kind === "segment" ? (rows.event(r).data as PacketData).segment!.flags : wordsOf(rows, r).main}`);

for (const when of ["before", "after"] as const) {
  test(`packets are below the rows that they carry, when the page is told ${when} it reads them`, () => {
    const t = session(when), rows = rowsOf(t);
    assert.deepEqual(shape(rows), [
      "connect TCP connection to 127.0.0.1:40587,", "segment SYN", "segment SYN, ACK", "segment ACK",
      "reply 220 ready", "command EHLO x", "reply 250-mx", "command STARTTLS", "reply 220 go", "handshake TLS 1.3 handshake, 1 RTT,",
      "command EHLO x", "reply 250 mx", "command MAIL FROM:<a@b.example>", "reply 250 ok", "command QUIT", "reply 221 bye", "record TLS alert", "closed connection closed by the server", "segment FIN, ACK",
    ]);
    for (const r of rows.list) {
      if (["connect", "segment", "closed"].includes(r.kind)) continue;
      assert.ok(r.packets.length > 0, `${wordsOf(rows, r).main} was carried`);
      for (const p of rows.packetsOf(r)) assert.equal(p.dir, r.kind === "handshake" ? p.dir : r.dir);
      if (r.layer === "smtp") assert.deepEqual(carried(rows, rows.packetsOf(r)[0]!).map((x: Row) => x.i), [r.i], "and that leads back");
    }
    assert.deepEqual(rows.quiet.map((q) => (t.events[q.e]!.data as PacketData).segment!.len > 0), rows.quiet.map((_, i) => i < rows.quiet.length - 1), "the rest is an acknowledgment");
    assert.equal(rows.captured, true);
  });

  test(`packets do not count as round trips, when the page is told ${when} it reads them`, () => {
    const t = session(when), without = new TraceStore(t.meta), plain = rowsOf(t);
    const kept = t.events.filter((e) => !isPacket(e)), n = new Map(kept.map((e, i) => [e.n, i]));
    without.append(kept.map((e, i) => {
      const answers = e.layer === "smtp" && e.kind === "reply" ? e.data.answers : undefined;
      return { ...e, n: i, ...(answers !== undefined && { data: { ...(e.data as object), answers: n.get(answers) } }) } as TraceEvent;
    }));
    const rounds = (r: Rows) => r.rounds.list.map((x) => `${x.n} ${x.count} ${x.what} ${x.from} ${x.to}`);
    assert.deepEqual(rounds(plain), rounds(rowsOf(without)));
    assert.deepEqual(connections(t), [], "and the chart is of what the proxy measures");
    const a = axis(plain, t.elapsed, 0, 1000), b = axis(rowsOf(without), t.elapsed, 0, 1000);
    assert.deepEqual(a.pieces, b.pieces, "nothing of the time is cut out");
  });
}

test("a row opens into its record, that into the segment, and that into its bytes", () => {
  const t = session("after"), rows = rowsOf(t), row = rows.list.find((r) => wordsOf(rows, r).main.startsWith("MAIL"))!;
  const keys = [keyOf({ row: row.i }), keyOf({ row: row.i, record: rows.carriers(row)[0]! }), keyOf({ row: row.i, packet: row.packets[0]! })];
  const parts = new Layout(rows, columnsFor(800), { wire: 7.2, prose: (s) => s.length * 6 }, new Set(keys), new Set()).update().parts(row.i);
  assert.deepEqual(parts.map((p) => `${p.type}${"src" in p ? ` ${p.src}` : ""}`), ["head", "record", "packet captured", "packet captured", "hex"]);
});

test("a segment that was overtaken, and one that came again", () => {
  const t = new Script().connect().store, late = "250 ok\r\n";
  captured(t, "in", { seq: 5, len: 4 });
  const first = captured(t, "in", { seq: 1, len: 4 });
  t.append([], ["text.in", "wire.in"].map((name) => ({ name, off: 0, bytes: new TextEncoder().encode(late) })));
  t.append([{ n: t.events.length, t: 9 * MS, layer: "smtp", kind: "reply", dir: "in", from: "server", to: "client", src: "observed", at: { stream: "text.in", off: 0, len: 8 }, text: "250 ok", data: { code: 250, lines: ["ok"], verb: "greeting", state: "ready" } } as unknown as TraceEvent]);
  const again = captured(t, "in", { seq: 1, len: 4, again: first }), out = captured(t, "out", { seq: 1, len: 4, carries: false }), repeated = captured(t, "out", { seq: 1, len: 4, again: out, carries: false });
  t.append([{ n: t.events.length, t: 9 * MS, layer: "tcp", kind: "analysis", src: "derived", data: { packet: again, host: "proxy", marks: ["spurious-retransmission"] } } as unknown as TraceEvent]);
  const rows = rowsOf(t), reply = rows.list.find((r) => r.kind === "reply")!, words = (n: number) => wordsOf(rows, rows.rowOf(n)!);
  assert.deepEqual(rows.packetsOf(reply).map((p) => p.data.segment!.seq), [5, 1], "both carry it");
  assert.deepEqual(rows.carrying({ stream: "wire.in", off: 0, len: 4 }).map((p) => p.n), [first], "each its part");
  assert.match(words(again).note!, /needlessly: it had arrived/);
  assert.doesNotMatch(words(repeated).note!, /needlessly|gap/, "what became of the first one is not known");
  const truth = (n: number) => truthOf(t, t.events[n] as PacketEvent)!.text;
  assert.match(truth(again), /came through/);
  assert.match(truth(repeated), /cannot be seen at the proxy/);
});

test("what is said of a captured packet", () => {
  const t = new Script().connect().in("220 x").out("NOOP").store, out = t.events[captured(t, "out", { seq: 1, len: 4 })] as PacketEvent, back = t.events[captured(t, "in", { seq: 1, len: 4, v6: true })] as PacketEvent;
  assert.deepEqual(fateWords(t, out, 0), { bad: false, text: `Captured as it left the proxy, at 10:00:00.${123456789 + out.n} UTC by the clock there. A network card may divide it and fill in its checksum after that.` });
  assert.match(fateWords(t, back, 0).text, /^Captured as it reached the proxy, at 10:00:00/);
  assert.deepEqual([out, back].map((e) => layersOf(t, e).map((l) => `${l.name} ${l.off}`)), [["IPv4 0", "TCP 20", "SMTP 40"], ["IPv6 0", "TCP 40", "SMTP 60"]]);
});

test("a captured packet has no fate, and one of the lab has one", () => {
  const t = session("after"), n = t.events.findIndex(isPacket), saved = (change: (e: { src: string; data: PacketData }) => void) => {
    const json = JSON.parse(JSON.stringify(t)) as { events: { src: string; data: PacketData }[] };
    change(json.events[n]!);
    return () => decode(JSON.stringify(json));
  };
  assert.equal(saved(() => {})().events.length, t.events.length);
  assert.throws(saved((e) => (e.data.fate = "delivered")), TraceError);
  assert.throws(saved((e) => (e.src = "simulated")), TraceError);
});

test("redaction leaves no payload of which nobody knows what it is", () => {
  const t = new Script().connect().out("AUTH PLAIN c2VjcmV0", { secret: "c2VjcmV0" }).store;
  const known = t.events[captured(t, "out", { seq: 1, len: 21 })]!, unknown = t.events[captured(t, "out", { seq: 1, len: 21, carries: false })]!;
  const r = t.redact(), payload = (e: TraceEvent) => new TextDecoder().decode(r.bytes(e.at!).subarray(HEADERS));
  assert.equal(payload(known), "AUTH PLAIN ********\r\n");
  assert.equal(payload(unknown), "*".repeat(21));
});
