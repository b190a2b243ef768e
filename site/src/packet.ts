// What the inspector says of a packet of the lab: its layers, what the link did to
// it, what a capture makes of it and what really happened. Pure.

import * as format from "./format.ts";
import { isSegment } from "./flight.ts";
import type { EventOfKind, Range, Span, StateData, TraceEvent, TraceStore } from "./trace.ts";
import { arrival, isPacket, type PacketEvent, type Row, type Rows } from "./rows.ts";

/** A header and what it is around: from off to the end of the packet. */
export interface PacketLayer {
  id: "ip" | "tcp" | "udp" | "dns" | "tls" | "smtp" | "data";
  name: string;
  off: number;
  /** Where the next layer begins. */
  next: number;
}

const FRAGMENT = 6, TCP = 6, UDP = 17, UDP_HEADER = 8, TCP_OFFSET = 12;

/** The IP header of a packet: its version, its length, and the octet that says what it is around (RFC 791, 3.1; RFC 8200, 3). */
export function ipOf(trace: TraceStore, e: PacketEvent): { name: string; length: number; protocol: number } {
  const [first = 0] = trace.bytes({ ...e.at!, len: Math.min(e.at!.len, 1) });
  return first >> 4 === 6 ? { name: "IPv6", length: 40, protocol: 6 } : { name: "IPv4", length: (first & 15) * 4 || 20, protocol: 9 };
}

/** The layers of a packet, outermost first; what it carries counts as one. */
export function layersOf(trace: TraceStore, e: PacketEvent): PacketLayer[] {
  const b = trace.bytes(e.at!), { name: ip, length: header, protocol } = ipOf(trace, e), fragment = ip === "IPv4" && ((b[FRAGMENT]! & 0x3f) | b[FRAGMENT + 1]!) !== 0;
  const out: PacketLayer[] = [{ id: "ip", name: ip, off: 0, next: Math.min(header, b.length) }];
  let at = header;
  if (b[protocol] === TCP && !fragment) {
    at += (b[header + TCP_OFFSET]! >> 4) * 4;
    out.push({ id: "tcp", name: "TCP", off: header, next: Math.min(at, b.length) });
  } else if (b[protocol] === UDP && !fragment) {
    at += UDP_HEADER;
    out.push({ id: "udp", name: "UDP", off: header, next: Math.min(at, b.length) });
  }
  if (at >= b.length) return out;
  const c = e.data.carries, sealed = c?.stream.startsWith("wire") && c.off + c.len > trace.clear(c.stream);
  const [id, name] = e.layer === "dns" ? (["dns", "DNS"] as const) : sealed ? (["tls", "TLS"] as const) : c ? (["smtp", "SMTP"] as const) : (["data", "data"] as const);
  return [...out, { id, name, off: at, next: b.length }];
}

/** What the link did to a packet, as far as is known at a time. */
export function fateWords(trace: TraceStore, e: PacketEvent, now: number): { text: string; bad: boolean } {
  if (!e.data.fate) return { text: capturedWords(e), bad: false };
  const { fate, held, flip } = e.data, arrives = arrival(e), to = trace.host(e.to ?? ""), way = format.duration(arrives - e.t), sent = `Sent at ${format.ms(e.t)} ms`;
  if (fate === "lost") return { text: `${sent}, lost on the link: ${to} never gets it.`, bad: true };
  const there = now < arrives ? `${sent}, still under way: it will be there at ${format.ms(arrives)} ms` : `${sent}, there at ${format.ms(arrives)} ms, ${way} one way`;
  if (fate === "corrupted" && flip) {
    const was = trace.bytes({ ...e.at!, off: e.at!.off + flip.offset, len: 1 })[0] ?? 0;
    return { bad: true, text: `${there}, damaged: bit 0x${format.hex(flip.mask, 2)} of octet ${flip.offset} flipped, ${format.hex(was, 2)} became ${format.hex(was ^ flip.mask, 2)}. ${caughtBy(trace, e)}` };
  }
  if (fate === "reordered") return { text: `${there}. The link held it back for ${format.duration(held ?? 0)}, so that later packets could overtake it.`, bad: false };
  if (e.data.of !== undefined) return { text: `${there}. A copy: the link delivered this packet twice.`, bad: false };
  return { text: `${there}.`, bad: false };
}

/** A capture sees what its own system does, and not the network card. */
function capturedWords(e: PacketEvent): string {
  const at = `at ${(e.data.captured ?? "").replace(/.*T|Z$/g, "")} UTC by the clock there`;
  return e.dir === "in" ? `Captured as it reached the proxy, ${at}. What came in several pieces may have been joined before, and what came from the same host has no checksum.`
    : `Captured as it left the proxy, ${at}. A network card may divide it and fill in its checksum after that.`;
}

/** Which checksum notices the bit that flipped (RFC 1071). */
function caughtBy(trace: TraceStore, e: PacketEvent): string {
  const layers = layersOf(trace, e), inner = layers.find((l) => l.id === "tcp" || l.id === "udp");
  const name = e.data.flip!.offset < layers[0]!.next ? "IPv4 header checksum" : inner ? `${inner.name} checksum` : undefined;
  return name ? `The ${name} shows it, so ${trace.host(e.to ?? "")} drops the packet.` : "No checksum covers it here.";
}

/** Whether what a retransmission repeats was needed: the lab, and who is at the receiver, knows what the sender can only guess. */
export function truthOf(trace: TraceStore, e: PacketEvent): { first: PacketEvent; text: string } | undefined {
  const again = e.data.segment?.again, first = again === undefined ? e.data.of : again, of = first === undefined ? undefined : trace.events[first];
  if (!of || !isPacket(of)) return undefined;
  if (again === undefined) return { first: of, text: "The link made this copy; TCP sent it once." };
  const { fate } = of.data, repeats = `It repeats octets sent first at ${format.ms(of.t)} ms.`;
  if (fate === "lost") return { first: of, text: `${repeats} That segment was lost, so this one is needed.` };
  if (fate === "corrupted") return { first: of, text: `${repeats} That segment was damaged and dropped, so this one is needed.` };
  if (!fate && of.dir !== "in") return { first: of, text: `${repeats} Whether that segment came through cannot be seen at the proxy.` };
  return { first: of, text: `${repeats} That segment came through at ${format.ms(arrival(of))} ms: only its acknowledgment was late or lost.` };
}

/** The rows of what a packet carries, as far as they are known. */
export function carried(rows: Rows, e: PacketEvent): Row[] {
  const out = new Set<Row>(), c = e.data.carries, trace = rows.trace!;
  const find = (r: Range, deep: boolean): void => {
    for (let n = 0; n < rows.seen; n++) {
      const x = trace.events[n]!;
      if (x.at?.stream !== r.stream || x.at.off >= r.off + r.len || x.at.off + x.at.len <= r.off) continue;
      if (x.layer === "tls" && x.kind === "record" && x.data.plain && deep) find(x.data.plain, false);
      else if (x.layer === "smtp" || x.layer === "tls") add(rows.rowOf(x.n));
    }
  };
  const add = (row: Row | undefined): void => {
    if (row) out.add(row);
  };
  if (!c) return [];
  find(c, true);
  const text = c.stream === "wire.out" ? "text.out" : c.stream === "wire.in" ? "text.in" : undefined, clear = text ? trace.clear(c.stream) : 0;
  if (text && c.off < clear) find({ stream: text, off: c.off, len: Math.min(c.len, clear - c.off) }, false);
  return [...out].sort((a, b) => a.i - b.i);
}

/** Where secrets lie in a packet, unless they are shown: those of a text that it carries in clear. */
export function secretsIn(trace: TraceStore, e: PacketEvent, revealed: ReadonlySet<number>): Span[] {
  const c = e.data.carries;
  if (!c) return [];
  const wire = c.stream.startsWith("wire"), text = wire ? c.stream.replace("wire", "text") : c.stream, end = wire ? Math.min(c.off + c.len, trace.clear(c.stream)) : c.off + c.len;
  const shift = e.at!.len - c.len - c.off, out: Span[] = [];
  for (const x of trace.events) {
    if (!x.secret || x.at?.stream !== text || revealed.has(x.n)) continue;
    for (const [from, to] of x.secret) {
      const a = Math.max(x.at.off + from, c.off), b = Math.min(x.at.off + to, end);
      if (a < b) out.push([a + shift, b + shift]);
    }
  }
  return out;
}

/** The state that the stack of a host was in after a packet, as far as events before upto tell. */
export function stateAfter(trace: TraceStore, e: TraceEvent, host: string, upto: number): StateData | undefined {
  if (!isSegment(e)) return undefined;
  const t = e.from === host ? e.t : arrival(e);
  let last: StateData | undefined;
  for (let n = 0; n < Math.min(upto, trace.events.length) && trace.events[n]!.t <= t; n++) {
    const s = trace.events[n]!;
    if (s.layer !== "tcp" || s.kind !== "state" || s.data.flow !== e.data.segment.flow || s.data.host !== host) continue;
    if (s.data.packet === e.n) return s.data;
    last = s.data;
  }
  // Only news is written, but of its buffers the stack tells nothing when it sends.
  if (!last) return undefined;
  const { inner: _, ...still } = last;
  return still;
}

/** What a segment says, counted as its two ends do: numbers from the initial ones on, the window scaled. */
export function segmentFacts(e: EventOfKind<"tcp", "segment">): [string, string][] {
  const s = e.data.segment;
  if (!s) return [];
  const facts: [string, string][] = [["sequence", s.len ? `${format.number(s.seq)} to ${format.number(s.seq + s.len - 1)}` : format.number(s.seq)]];
  if (s.flags.includes("ACK")) facts.push(["acknowledges", `all before ${format.number(s.ack ?? 0)}`]);
  return [...facts, ["window", `${format.bytes(s.window)}, scaled`]];
}
