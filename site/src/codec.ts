// Reads a saved trace, as strictly as protocol/trace does: what is unknown, out
// of order or out of range is an error that says where.

import { fromBase64, isStreamName, Stream, TraceStore, VERSION, type Finding, type PacketData, type SavedTrace, type Source, type TraceEvent } from "./trace.ts";

export class TraceError extends Error {
  override name = "TraceError";
}

/** A type as data: "string", "string?", [element] for an array, {} for an object, a function for the rest. */
type Shape = string | [Shape] | { [key: string]: Shape } | ((v: unknown, path: string) => void);

const FIELD = { name: "string", off: "int", len: "int", value: "string?", depth: "int?", book: "string?" };
const RANGE = { stream: "string", off: "int", len: "int" };
const ERROR = { code: "string", message: "string", rule: "string?", retryAfter: "int?" };

const TUNNEL = {
  host: "string?", port: "int?", addresses: optional(["string"]), address: "string?", local: "string?",
  resolve: "int?", connect: "int?", session: "string?", problem: "string?", direct: "boolean?",
};
const LOOKUP = {
  name: "string", type: "string", rcode: "string", ad: "boolean", notes: optional(["string"]), withheld: "int?", omitted: "int?", server: "string?",
  network: "string?", took: "int", cached: "boolean", age: "int?", problem: "string?",
  records: [{ name: "string", type: "string", ttl: "int", data: "string", address: "string?", host: "string?", preference: "int?", text: "string?" }],
} satisfies Shape;
const POLICY = {
  domain: "string", url: "string?", status: "int?", text: "string?", mode: "string?", mx: optional(["string"]), maxAge: "int?", problem: "string?", took: "int",
};
const HANDSHAKE = {
  started: "int", version: "string?", suite: "string?", group: "string?", serverName: "string?", alpn: "string?",
  resumed: "boolean?", roundTrips: "int?", verified: "boolean", problem: "string?", reason: "string?",
  chain: optional([{
    subject: "string", issuer: "string", names: optional(["string"]), notBefore: "string", notAfter: "string",
    key: "string", signature: "string", sha256: "string", der: "string",
  }]),
};
const COMMAND = { verb: "string", raw: "boolean?", edited: "boolean?", deadline: "int?" };
const PAUSE = { verb: "string", edited: "boolean?" };

const PACKET = {
  arrives: "int?", fate: "string?", captured: "string?", held: "int?", of: "int?", flip: optional({ offset: "int", mask: "int" }), carries: optional(RANGE),
  segment: optional({
    flow: "int", flags: "string", seq: "int", ack: "int?", window: "int", len: "int", options: "string?", inFlight: "int", again: "int?",
  }),
};
const STATE = {
  host: "string", flow: "int", packet: "int", name: "string", cwnd: "int", ssthresh: "int?", congestion: "string",
  rto: "int", srtt: "int?", rttvar: "int?",
  inner: optional({
    outstanding: "int", inFlight: "int", sendWindow: "int", receiveWindow: "int", sendBuffered: "int", unread: "int", mss: "int",
  }),
};
const SAMPLE = {
  state: "string", rtt: "int?", rttvar: "int?", minRTT: "int?", rto: "int?", cwnd: "int?", ssthresh: "int?", mss: "int?", unacked: "int?", inFlight: "int?",
  retransmits: "int?", deliveryRate: "int?", sendWindow: "int?", receiveWindow: "int?", sendScale: "int?", receiveScale: "int?",
};
const MAIL = {
  host: "string", queueID: "string", from: "string", to: nullable(["string"]), size: "int?", attempt: "int?", next: "string?", hop: "int?",
  reason: "string?", retry: "int?", mailbox: "string?",
};

const KINDS: Record<string, Record<string, Shape | null>> = {
  tunnel: { resolving: TUNNEL, addresses: TUNNEL, dialing: TUNNEL, failed: TUNNEL, opened: TUNNEL },
  dns: { query: PACKET, answer: PACKET, lookup: LOOKUP, policy: POLICY },
  ip: { packet: PACKET },
  udp: { datagram: PACKET },
  tcp: { segment: PACKET, state: STATE, sample: SAMPLE, analysis: { packet: "int", host: "string", marks: ["string"], duplicateACK: "int?" } },
  mail: { queued: MAIL, attempt: MAIL, deferred: MAIL, relayed: MAIL, bounced: MAIL, delivered: MAIL },
  tls: {
    start: null, handshake: HANDSHAKE, alert: HANDSHAKE,
    record: { type: "string", version: "string", plain: optional(RANGE), sealed: "int?", count: "int?" },
    decrypted: { type: "string", records: nullable(["int"]) },
  },
  smtp: {
    command: COMMAND, response: COMMAND, closed: null, desync: null,
    message: { started: "int", size: "int", stuffed: "int", normalized: "int", edited: "boolean?" },
    reply: {
      code: "int", enhanced: "string?", lines: ["string"], answers: "int?", verb: "string?", oddities: optional(["string"]),
      state: "string", legal: optional(["string"]), extensions: optional([{ keyword: "string", params: optional(["string"]) }]),
    },
  },
  app: { pause: PAUSE, resume: PAUSE, note: null, error: ERROR },
};

const EVENT = {
  n: "int", t: "int", layer: "string", kind: "string", dir: "string?", hop: "int?", from: "string?", to: "string?", src: "string",
  at: optional(RANGE), text: "string?", fields: optional([FIELD]), data: () => {}, secret: optional([["int"]]),
};

const FINDING = { id: "string", severity: "string", text: "string", events: ["int"] } satisfies Shape;

const TRACE = {
  v: "int",
  meta: {
    tool: "string", mode: "string", started: "string", plan: () => {}, seed: "int?",
    hosts: nullable([{ id: "string", name: "string", address: "string?" }]),
  },
  streams: (v: unknown, path: string) => {
    for (const name of Object.keys(object(v, path))) {
      if (!isStreamName(name)) throw new TraceError(`${path}: unknown stream "${name}"`);
    }
  },
  events: [EVENT],
  result: optional({
    outcome: "string", phase: "string", permanent: "boolean", roundTrips: "int", elapsed: "int", error: optional(ERROR),
    reply: optional({ code: "int", enhanced: "string?", lines: nullable(["string"]), event: "int" }),
    messages: nullable([{
      outcome: "string", queueID: "string?", recipients: nullable([{ to: "string", outcome: "string", event: "int?" }]),
    }]),
  }),
  findings: optional([FINDING]),
} satisfies Shape;

function optional(s: Shape): Shape {
  return (v, path) => {
    if (v !== undefined) check(v, s, path);
  };
}

/** Go writes a nil slice as null. */
function nullable(s: Shape): Shape {
  return (v, path) => {
    if (v !== null) check(v, s, path);
  };
}

function object(v: unknown, path: string): Record<string, unknown> {
  if (typeof v !== "object" || v === null || Array.isArray(v)) throw new TraceError(`${path}: want an object`);
  return v as Record<string, unknown>;
}

function check(v: unknown, shape: Shape, path: string): void {
  if (typeof shape === "function") return shape(v, path);
  if (Array.isArray(shape)) {
    if (!Array.isArray(v)) throw new TraceError(`${path}: want an array`);
    v.forEach((x, i) => check(x, shape[0], `${path}[${i}]`));
    return;
  }
  if (typeof shape === "object") {
    const o = object(v, path);
    for (const key of Object.keys(o)) if (!Object.hasOwn(shape, key)) throw new TraceError(`${path}: unknown key "${key}"`);
    for (const [key, s] of Object.entries(shape)) check(o[key], s, `${path}.${key}`);
    return;
  }
  const type = shape.replace("?", "");
  if (v === undefined && shape !== type) return;
  if (v === undefined) throw new TraceError(`${path}: missing`);
  if (type === "int" ? !Number.isSafeInteger(v) : typeof v !== type) throw new TraceError(`${path}: want ${type === "int" ? "a whole number" : `a ${type}`}`);
}

/** Reads the text of a saved trace. Errors are TraceErrors, ready to be shown. */
export function decode(text: string): TraceStore {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (e) {
    throw new TraceError(`This is not JSON: ${(e as Error).message}`);
  }
  check(json, TRACE, "trace");
  const saved = json as SavedTrace;
  if (saved.v !== VERSION) throw new TraceError(`trace.v: is ${saved.v}, this page reads version ${VERSION}`);
  oneOf(saved.meta.mode, ["lab", "practice", "live"], "trace.meta.mode");
  const store = new TraceStore({ ...saved.meta, hosts: saved.meta.hosts ?? [] });
  for (const [name, s] of Object.entries(saved.streams)) if (isStreamName(name)) store.streams.set(name, stream(s, `trace.streams.${name}`));
  saved.events.forEach((e, i) => {
    checkEvent(e, i, store);
    store.append([e]);
  });
  if (saved.result) {
    oneOf(saved.result.outcome, ["accepted", "partial", "rejected", "failed", "unknown"], "trace.result.outcome");
    store.result = { ...saved.result, messages: saved.result.messages ?? [] };
  }
  saved.findings?.forEach((f, i) => checkFinding(f, store.events.length, `trace.findings[${i}]`));
  store.findings = saved.findings ?? [];
  return store;
}

function checkFinding(f: Finding, events: number, path: string): void {
  oneOf(f.severity, ["chat", "note", "warn", "error"], `${path}.severity`);
  if (!f.id || f.events.length === 0) throw new TraceError(`${path}: a finding has an id and at least one event`);
  for (const n of f.events) inside(n, 1, events, `${path}.events`);
}

function checkEvent(e: TraceEvent, i: number, store: TraceStore): void {
  const path = `trace.events[${i}]`;
  if (e.n !== i) throw new TraceError(`${path}.n: is ${e.n}, its position is ${i}`);
  if (e.t < 0) throw new TraceError(`${path}.t: is negative`);
  const kind = KINDS[e.layer]?.[e.kind];
  if (kind === undefined) throw new TraceError(`${path}: unknown kind "${e.kind}" in layer "${e.layer}"`);
  oneOf(e.src, ["observed", "measured", "captured", "simulated", "derived"], `${path}.src`);
  oneOf(e.dir ?? "", ["", "out", "in"], `${path}.dir`);
  if (kind) check(e.data, kind, `${path}.data`);
  else if (e.data !== undefined) throw new TraceError(`${path}.data: ${e.layer}/${e.kind} has none`);
  const len = e.at?.len ?? 0;
  if (e.at) inside(e.at.off, e.at.len, store.streams.get(e.at.stream)?.length ?? -1, `${path}.at`);
  e.fields?.forEach((f, j) => inside(f.off, f.len, len, `${path}.fields[${j}]`));
  e.secret?.forEach(([from, to], j) => inside(from, to - from, len, `${path}.secret[${j}]`));
  if (e.layer === "tls" && e.kind === "record" && e.data.plain) {
    const p = e.data.plain;
    inside(p.off, p.len, store.streams.get(p.stream)?.length ?? -1, `${path}.data.plain`);
  }
  if (e.layer === "tls" && e.kind === "decrypted") e.data.records?.forEach((n) => inside(n, 1, i, `${path}.data.records`));
  if (e.at?.stream === "packets") checkPacket(e.data as PacketData, i, e.src, `${path}.data`);
  if (e.layer === "tcp" && (e.kind === "analysis" || e.kind === "state")) inside(e.data.packet, 1, i, `${path}.data.packet`);
  if (e.layer === "smtp" && e.kind === "reply" && e.data.answers !== undefined) inside(e.data.answers, 1, i, `${path}.data.answers`);
}

function checkPacket(d: PacketData, i: number, src: Source, path: string): void {
  oneOf(d.fate ?? "", src === "captured" ? [""] : ["delivered", "lost", "reordered", "corrupted", "duplicated"], `${path}.fate`);
  if (d.of !== undefined) inside(d.of, 1, i, `${path}.of`);
  if (d.segment?.again !== undefined) inside(d.segment.again, 1, i, `${path}.segment.again`);
  if (d.carries && !isStreamName(d.carries.stream)) throw new TraceError(`${path}.carries: unknown stream "${d.carries.stream}"`);
}

function inside(off: number, len: number, size: number, path: string): void {
  if (off < 0 || len < 0 || off + len > size) throw new TraceError(`${path}: reaches outside what it is a part of`);
}

function oneOf(v: string, values: readonly string[], path: string): void {
  if (!values.includes(v)) throw new TraceError(`${path}: "${v}" is unknown`);
}

function stream(saved: unknown, path: string): Stream {
  const s = new Stream();
  if (typeof saved === "string") {
    s.append(0, base64(saved, path));
    return s;
  }
  check(saved, { len: "int", parts: [{ off: "int", bytes: "string" }] }, path);
  const { len, parts } = saved as { len: number; parts: { off: number; bytes: string }[] };
  parts.forEach((p, i) => {
    const b = base64(p.bytes, `${path}.parts[${i}]`);
    if (p.off < s.length || b.length === 0 || p.off + b.length > len) throw new TraceError(`${path}.parts[${i}]: out of order or beyond len`);
    s.append(p.off, b);
  });
  if (len < 0) throw new TraceError(`${path}.len: is negative`);
  s.extend(len);
  return s;
}

function base64(text: string, path: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch {
    throw new TraceError(`${path}: is not base64`);
  }
}
