import assert from "node:assert/strict";
import { test } from "node:test";
import { carried, fateWords, layersOf, secretsIn, stateAfter, truthOf } from "../../src/packet.ts";
import { rowsOf, type PacketEvent } from "../../src/rows.ts";
import { MS, Segments, connected } from "../fixtures/segments.ts";

const packet = (s: Segments, n: number) => s.store.events[n] as PacketEvent;
const said = (s: Segments, n: number, now = Infinity) => fateWords(s.store, packet(s, n), now);

test("the layers of a packet, each with what it is around", () => {
  const s = connected();
  const layers = (n: number) => layersOf(s.store, packet(s, n)).map((l) => `${l.name} ${l.off} to ${l.next}`);
  assert.deepEqual(layers(s.tcp("client", "server", "ACK", 1, 1, "QUIT\r\n")), ["IPv4 0 to 20", "TCP 20 to 52", "SMTP 52 to 58"]);
  assert.deepEqual(layers(s.tcp("client", "server", "ACK", 7, 1)), ["IPv4 0 to 20", "TCP 20 to 52"]);
  assert.deepEqual(layers(s.udp("client", "server", "HELO\r\n")), ["IPv4 0 to 20", "UDP 20 to 28", "SMTP 28 to 34"]);
  assert.deepEqual(layers(s.udp("client", "dns", "????", { kind: "query" })), ["IPv4 0 to 20", "UDP 20 to 28", "DNS 28 to 32"]);
  s.add({ layer: "tls", kind: "start", at: { stream: "wire.out", off: s.store.stream("wire.out").length, len: 0 } });
  assert.deepEqual(layers(s.tcp("client", "server", "ACK", 7, 1, "sealed")).at(-1), "TLS 52 to 58");
});

test("the headers of a later fragment belong to no transport", () => {
  const s = new Segments(), n = s.udp("client", "server", "rest");
  s.store.stream("packets").overwrite(6, Uint8Array.of(0, 185));
  assert.deepEqual(layersOf(s.store, packet(s, n)).map((l) => l.name), ["IPv4", "SMTP"]);
});

test("what the link did, in words", () => {
  const s = connected().at(100);
  assert.match(said(s, s.tcp("client", "server", "ACK", 1, 1, "x")).text, /^Sent at 100\.0 ms, there at 140\.0 ms, 40\.0 ms one way\.$/);
  const lost = said(s, s.tcp("client", "server", "ACK", 2, 1, "x", { fate: "lost" }));
  assert.deepEqual(lost, { text: "Sent at 100.0 ms, lost on the link: mail.example.org never gets it.", bad: true });
  assert.match(said(s, s.tcp("client", "server", "ACK", 3, 1, "x", { of: 4, fate: "duplicated" })).text, /A copy/);
  assert.match(said(s, s.store.events.length - 1, 101 * MS).text, /still under way: it will be there at 140\.0 ms/);
});

test("a flipped bit: where, what it became, and which checksum shows it", () => {
  const s = connected(), bit = (offset: number) => said(s, s.tcp("client", "server", "ACK", 1, 1, "A", { fate: "corrupted", flip: { offset, mask: 0x20 } })).text;
  assert.match(bit(52), /bit 0x20 of octet 52 flipped, 41 became 61\. The TCP checksum shows it, so mail\.example\.org drops the packet/);
  assert.match(bit(9), /octet 9 flipped, 06 became 26\. The IPv4 header checksum/);
  const n = s.udp("client", "server", "A", { fate: "corrupted", flip: { offset: 28, mask: 1 } });
  assert.match(said(s, n).text, /The UDP checksum/);
});

test("the lab knows whether a retransmission was needed", () => {
  const s = connected(), truth = (o: object) => {
    const first = s.tcp("client", "server", "ACK", 1, 1, "x", o), again = s.tcp("client", "server", "ACK", 1, 1, "x", { again: first });
    return truthOf(s.store, packet(s, again))!.text;
  };
  assert.match(truth({ fate: "lost" }), /was lost, so this one is needed/);
  assert.match(truth({ fate: "corrupted", flip: { offset: 1, mask: 1 } }), /damaged and dropped, so this one is needed/);
  assert.match(truth({}), /came through at .* ms: only its acknowledgment was late or lost/);
  assert.equal(truthOf(s.store, packet(s, 0)), undefined);
});

test("secrets in clear are found in the packets that carry them, until they are shown", () => {
  const s = connected(), line = "AUTH PLAIN c2VjcmV0\r\n", b = new TextEncoder().encode(line);
  s.store.append([], [{ name: "text.out", off: 0, bytes: b }]);
  const command = s.add({ layer: "smtp", kind: "command", dir: "out", at: { stream: "text.out", off: 0, len: b.length }, secret: [[11, 19]], text: "AUTH PLAIN", data: { verb: "AUTH" } });
  const first = s.tcp("client", "server", "ACK", 1, 1, line.slice(0, 14)), second = s.tcp("client", "server", "ACK", 15, 1, line.slice(14));
  assert.deepEqual(secretsIn(s.store, packet(s, first), new Set()), [[63, 66]]);
  assert.deepEqual(secretsIn(s.store, packet(s, second), new Set()), [[52, 57]]);
  assert.deepEqual(secretsIn(s.store, packet(s, first), new Set([command])), []);
  assert.deepEqual(carried(rowsOf(s.store), packet(s, second)).map((r) => r.kind), ["command"]);
});

test("the state after a packet: of the sender when it was sent, of the receiver when it came", () => {
  const s = connected(), inner = { outstanding: 0, inFlight: 0, sendWindow: 9, receiveWindow: 9, sendBuffered: 0, unread: 0, mss: 1000 };
  const before = s.at(90).tcp("server", "client", "ACK", 1, 1);
  s.at(130).state("client", before, { cwnd: 11, inner });
  const n = s.at(140).tcp("client", "server", "ACK", 1, 1, "x");
  s.at(180).state("server", n, { cwnd: 3, inner });
  s.at(200).state("client", n, { cwnd: 99 });
  const of = (host: string, upto = Infinity) => stateAfter(s.store, packet(s, n), host, upto);
  assert.equal(of("client")!.cwnd, 11);
  assert.equal(of("client")!.inner, undefined, "of its buffers nothing was said when it sent");
  assert.deepEqual([of("server")!.cwnd, of("server")!.inner], [3, inner]);
  assert.equal(of("server", n + 1), undefined, "not known before");
});
