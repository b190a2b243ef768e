// The trace: what every view reads. The types are those of the Go package
// protocol/trace; the names and units too (all durations are nanoseconds).

import { countBefore } from "./search.ts";

export const VERSION = 1;

export type Mode = "lab" | "practice" | "live";
export type Layer = "tunnel" | "dns" | "ip" | "udp" | "tcp" | "tls" | "smtp" | "mail" | "app";
export type Direction = "out" | "in";
export type Source = "observed" | "measured" | "captured" | "simulated" | "derived";
/** With a number: the text of a connection between two mail servers. */
export type StreamName = "wire.out" | "wire.in" | "text.out" | "text.in" | `text.${Direction}.${number}` | "tls.out" | "tls.in" | "packets" | "mail";
export type Outcome = "accepted" | "partial" | "rejected" | "failed" | "unknown";

/** Half open, relative to the start of its event's range. */
export type Span = [from: number, to: number];

export interface Range {
  stream: StreamName;
  off: number;
  len: number;
}

export interface Field {
  name: string;
  off: number;
  len: number;
  value?: string;
  depth?: number;
  book?: string;
}

interface EventBase {
  n: number;
  t: number;
  dir?: Direction;
  /** Connection of layer smtp that it belongs to: absent for the page's own. */
  hop?: number;
  from?: string;
  to?: string;
  src: Source;
  at?: Range;
  text?: string;
  fields?: Field[];
  secret?: Span[];
}

export interface TunnelData {
  host?: string;
  port?: number;
  addresses?: string[];
  address?: string;
  local?: string;
  resolve?: number;
  connect?: number;
  /** The name of the tunnel in the proxy's log. */
  session?: string;
  /** Of failed: why the address could not be connected. */
  problem?: string;
  direct?: boolean;
}

/** What a resolver said to the proxy. */
export interface LookupData {
  name: string;
  type: string;
  rcode: string;
  records: ResourceRecord[];
  ad: boolean;
  notes?: string[];
  withheld?: number;
  omitted?: number;
  server?: string;
  network?: string;
  took: number;
  cached: boolean;
  age?: number;
  problem?: string;
}

export interface ResourceRecord {
  name: string;
  type: string;
  ttl: number;
  data: string;
  address?: string;
  host?: string;
  preference?: number;
  text?: string;
}

/** A domain's MTA-STS policy. */
export interface PolicyData {
  domain: string;
  url?: string;
  status?: number;
  text?: string;
  mode?: string;
  mx?: string[];
  maxAge?: number;
  problem?: string;
  took: number;
}

export type Fate = "delivered" | "lost" | "reordered" | "corrupted" | "duplicated";

/** Of a packet that was captured nobody knows its fate; its time is when the page was told of it. */
export interface PacketData {
  arrives?: number;
  fate?: Fate;
  /** When it passed the proxy, by the clock there (RFC 3339). */
  captured?: string;
  held?: number;
  of?: number;
  flip?: { offset: number; mask: number };
  segment?: SegmentData;
  carries?: Range;
}

export interface SegmentData {
  flow: number;
  flags: string;
  seq: number;
  ack?: number;
  window: number;
  len: number;
  options?: string;
  inFlight: number;
  again?: number;
}

export interface AnalysisData {
  packet: number;
  host: string;
  marks: string[];
  duplicateACK?: number;
}

export interface StateData {
  host: string;
  flow: number;
  packet: number;
  name: string;
  cwnd: number;
  ssthresh?: number;
  congestion: string;
  rto: number;
  srtt?: number;
  rttvar?: number;
  inner?: {
    outstanding: number; inFlight: number; sendWindow: number; receiveWindow: number; sendBuffered: number; unread: number; mss: number;
  };
}

/** What TCP_INFO says at the proxy. Times are nanoseconds; what is absent is not known, or 0. */
export interface SampleData {
  state: string;
  rtt?: number;
  rttvar?: number;
  minRTT?: number;
  rto?: number;
  /** Segments. */
  cwnd?: number;
  ssthresh?: number;
  mss?: number;
  unacked?: number;
  inFlight?: number;
  retransmits?: number;
  deliveryRate?: number;
  sendWindow?: number;
  receiveWindow?: number;
  sendScale?: number;
  receiveScale?: number;
}

export interface MailData {
  host: string;
  queueID: string;
  from: string;
  to: string[];
  size?: number;
  attempt?: number;
  next?: string;
  hop?: number;
  reason?: string;
  retry?: number;
  mailbox?: string;
}

export interface RecordData {
  type: string;
  version: string;
  plain?: Range;
  sealed?: number;
  count?: number;
}

export interface Certificate {
  subject: string;
  issuer: string;
  names?: string[];
  notBefore: string;
  notAfter: string;
  key: string;
  signature: string;
  sha256: string;
  der: string;
}

/** An encrypted handshake message, and the events of the records that carried it. */
export interface DecryptedData {
  type: string;
  records: number[];
}

export interface HandshakeData {
  started: number;
  version?: string;
  suite?: string;
  group?: string;
  serverName?: string;
  alpn?: string;
  resumed?: boolean;
  roundTrips?: number;
  chain?: Certificate[];
  verified: boolean;
  problem?: string;
  reason?: string;
}

export interface CommandData {
  verb: string;
  raw?: boolean;
  edited?: boolean;
  deadline?: number;
}

export interface MessageData {
  started: number;
  size: number;
  stuffed: number;
  normalized: number;
  edited?: boolean;
}

export interface Extension {
  keyword: string;
  params?: string[];
}

export interface ReplyData {
  code: number;
  enhanced?: string;
  lines: string[];
  answers?: number;
  verb?: string;
  oddities?: string[];
  state: string;
  legal?: string[];
  extensions?: Extension[];
}

export interface PauseData {
  verb: string;
  edited?: boolean;
}

export interface ErrorInfo {
  code: string;
  message: string;
  rule?: string;
  retryAfter?: number;
}

interface Kinds {
  tunnel: { resolving: TunnelData; addresses: TunnelData; dialing: TunnelData; failed: TunnelData; opened: TunnelData };
  dns: { query: PacketData; answer: PacketData; lookup: LookupData; policy: PolicyData };
  ip: { packet: PacketData };
  udp: { datagram: PacketData };
  tcp: { segment: PacketData; analysis: AnalysisData; state: StateData; sample: SampleData };
  mail: { queued: MailData; attempt: MailData; deferred: MailData; relayed: MailData; bounced: MailData; delivered: MailData };
  tls: { start: undefined; record: RecordData; handshake: HandshakeData; alert: HandshakeData; decrypted: DecryptedData };
  smtp: {
    command: CommandData; response: CommandData; message: MessageData;
    reply: ReplyData; closed: undefined; desync: undefined;
  };
  app: { pause: PauseData; resume: PauseData; note: undefined; error: ErrorInfo };
}

type EventOf<L extends Layer> = {
  [K in keyof Kinds[L]]: EventBase & { layer: L; kind: K }
    & (Kinds[L][K] extends undefined ? { data?: undefined } : { data: Kinds[L][K] });
}[keyof Kinds[L]];

export type TraceEvent = { [L in Layer]: EventOf<L> }[Layer];

/** The events of one kind of one layer. */
export type EventOfKind<L extends Layer, K extends string> = Extract<TraceEvent, { layer: L; kind: K }>;

export interface Meta {
  tool: string;
  mode: Mode;
  started: string;
  plan?: unknown;
  seed?: number;
  hosts: { id: string; name: string; address?: string }[];
}

export interface ResultReply {
  code: number;
  enhanced?: string;
  lines: string[];
  event: number;
}

export interface RecipientResult {
  to: string;
  outcome: Outcome;
  event?: number;
}

export interface MessageResult {
  outcome: Outcome;
  queueID?: string;
  recipients: RecipientResult[];
}

export interface Result {
  outcome: Outcome;
  phase: string;
  permanent: boolean;
  reply?: ResultReply;
  error?: ErrorInfo;
  messages: MessageResult[];
  roundTrips: number;
  elapsed: number;
}

/** From worth knowing to what broke this session or will break others. */
export type Severity = "chat" | "note" | "warn" | "error";

/** A conclusion about the server or the session: what package diagnose made of the trace. */
export interface Finding {
  id: string;
  severity: Severity;
  /** What was seen here. What it means is in the book. */
  text: string;
  /** The evidence: at least one event, in order. */
  events: number[];
}

/** A trace as JSON. */
export interface SavedTrace {
  v: number;
  meta: Meta;
  streams: Partial<Record<StreamName, SavedStream>>;
  events: TraceEvent[];
  result?: Result;
  findings?: Finding[];
}

type SavedStream = string | { len: number; parts: { off: number; bytes: string }[] };

/** Part of a stream: bytes that were kept, or a gap of which only the length is known. */
export type Piece = { off: number; bytes: Uint8Array } | { off: number; gap: number };

/**
 * An append-only run of bytes with the offsets of the connection. What lies
 * between two chunks that do not touch is an elision: it was never kept.
 */
export class Stream {
  #chunks: { off: number; bytes: Uint8Array }[] = [];
  #kept = 0; // end of the last chunk
  #len = 0;

  get length(): number {
    return this.#len;
  }

  append(off: number, bytes: Uint8Array): void {
    if (off < this.#kept) throw new Error(`bytes at ${off} would overwrite the ${this.#kept} that are there`);
    if (bytes.length > 0) this.#chunks.push({ off, bytes });
    this.#kept = off + bytes.length;
    this.extend(this.#kept);
  }

  /** Says that the stream reaches to len although its last bytes are not here, or not yet. */
  extend(len: number): void {
    this.#len = Math.max(this.#len, len);
  }

  /** What there is of [off, off+len), in order, gaps named. */
  pieces(off: number, len: number): Piece[] {
    const end = Math.min(off + len, this.#len), out: Piece[] = [];
    let at = off;
    for (let i = this.#find(off); i < this.#chunks.length; i++) {
      const c = this.#chunks[i]!, from = Math.max(at, c.off), to = Math.min(end, c.off + c.bytes.length);
      if (c.off >= end) break;
      if (from >= to) continue;
      if (from > at) out.push({ off: at, gap: from - at });
      out.push({ off: from, bytes: c.bytes.subarray(from - c.off, to - c.off) });
      at = to;
    }
    if (at < end) out.push({ off: at, gap: end - at });
    return out;
  }

  /** The bytes of [off, off+len) that were kept, side by side. */
  bytes(off: number, len: number): Uint8Array {
    const kept = this.pieces(off, len).flatMap((p) => ("bytes" in p ? [p.bytes] : []));
    if (kept.length === 1) return kept[0]!;
    const out = new Uint8Array(kept.reduce((n, b) => n + b.length, 0));
    let at = 0;
    for (const b of kept) {
      out.set(b, at);
      at += b.length;
    }
    return out;
  }

  clone(): Stream {
    const s = new Stream();
    for (const c of this.#chunks) s.append(c.off, c.bytes.slice());
    s.extend(this.#len);
    return s;
  }

  /** Overwrites [off, off+len) with asterisks wherever it was kept. */
  mask(off: number, len: number): void {
    for (const p of this.pieces(off, len)) if ("bytes" in p) p.bytes.fill(0x2a);
  }

  /** Puts bytes at off, wherever bytes were kept. */
  overwrite(off: number, bytes: Uint8Array): void {
    for (const p of this.pieces(off, bytes.length)) if ("bytes" in p) p.bytes.set(bytes.subarray(p.off - off, p.off - off + p.bytes.length));
  }

  toJSON(): SavedStream {
    const runs: { off: number; end: number }[] = [];
    for (const c of this.#chunks) {
      const last = runs.at(-1);
      if (last?.end === c.off) last.end += c.bytes.length;
      else runs.push({ off: c.off, end: c.off + c.bytes.length });
    }
    const parts = runs.map((r) => ({ off: r.off, bytes: toBase64(this.bytes(r.off, r.end - r.off)) }));
    if (this.#len === 0) return "";
    if (runs.length === 1 && runs[0]!.off === 0 && runs[0]!.end === this.#len) return parts[0]!.bytes;
    return { len: this.#len, parts };
  }

  #find(off: number): number {
    return countBefore(this.#chunks.length, (i) => this.#chunks[i]!.off + this.#chunks[i]!.bytes.length <= off);
  }
}

const STREAM = /^(?:(?:wire|tls)\.(?:out|in)|text\.(?:out|in)(?:\.[1-9]\d{0,5})?|packets|mail)$/;

export function isStreamName(name: string): name is StreamName {
  return STREAM.test(name);
}

/** The IPv4 header: as much of a packet as is no payload for certain. */
const IPV4_HEADER = 20;

/** A trace that grows: batches of events and chunks of streams are appended to it. */
export class TraceStore {
  readonly events: TraceEvent[] = [];
  readonly streams = new Map<StreamName, Stream>();
  result: Result | undefined;
  findings: readonly Finding[] = [];

  constructor(readonly meta: Meta) {}

  /** A stream; one that nothing was written to yet is empty. */
  stream(name: StreamName): Stream {
    let s = this.streams.get(name);
    if (!s) this.streams.set(name, (s = new Stream()));
    return s;
  }

  /** Appends in place; an event out of order means that something was lost, and is an error. */
  append(events: readonly TraceEvent[], chunks: readonly { name: string; off: number; bytes: Uint8Array }[] = []): void {
    for (const c of chunks) {
      if (!isStreamName(c.name)) throw new Error(`unknown stream ${c.name}`);
      this.stream(c.name).append(c.off, c.bytes);
    }
    for (const e of events) {
      if (e.n !== this.events.length) throw new Error(`event ${e.n} arrived where ${this.events.length} was due`);
      this.events.push(e);
      if (e.at) this.stream(e.at.stream).extend(e.at.off + e.at.len);
    }
  }

  bytes(r: Range): Uint8Array {
    return this.stream(r.stream).bytes(r.off, r.len);
  }

  /** The time of the last event, or of the result: in a lab, things happen when the session is over. */
  get elapsed(): number {
    return Math.max(this.result?.elapsed ?? 0, this.events.at(-1)?.t ?? 0);
  }

  host(id: string): string {
    return this.meta.hosts.find((h) => h.id === id)?.name ?? id;
  }

  /** A copy in which every secret byte reads "*". Texts are masked when they are written. */
  redact(): TraceStore {
    const copy = new TraceStore(this.meta);
    for (const [name, s] of this.streams) copy.streams.set(name, s.clone());
    copy.events.push(...this.events);
    copy.result = this.result;
    copy.findings = this.findings;
    let secrets = false;
    for (const e of this.events) {
      for (const [from, to] of (e.at && e.secret) ?? []) {
        const { stream, off } = e.at!, wire = stream === "text.out" ? "wire.out" : stream === "text.in" ? "wire.in" : undefined;
        copy.stream(stream).mask(off + from, to - from);
        // Until TLS starts, the wire carries the same bytes at the same offsets.
        if (wire) copy.stream(wire).mask(off + from, Math.min(to - from, this.clear(wire) - off - from));
        secrets = true;
      }
    }
    if (secrets) copy.#maskPackets();
    return copy;
  }

  /** Makes packets carry what the streams show now; what carries something unknown loses its payload. */
  #maskPackets(): void {
    const packets = this.stream("packets");
    for (const e of this.events) {
      if (e.at?.stream !== "packets") continue;
      const { carries, segment } = e.data as PacketData, end = e.at.off + e.at.len;
      if (carries) {
        for (const p of this.stream(carries.stream).pieces(carries.off, carries.len)) {
          if ("bytes" in p) packets.overwrite(end - carries.len + p.off - carries.off, p.bytes);
        }
      } else if (e.layer === "udp" || e.layer === "ip") packets.mask(e.at.off + IPV4_HEADER, e.at.len - IPV4_HEADER);
      else if (segment) packets.mask(end - segment.len, segment.len);
    }
  }

  /** The offset in a wire stream at which TLS starts, or its length. */
  clear(wire: StreamName): number {
    for (const e of this.events) if (e.layer === "tls" && e.kind === "start" && e.at?.stream === wire) return e.at.off;
    return this.stream(wire).length;
  }

  toJSON(): SavedTrace {
    return {
      v: VERSION, meta: this.meta, streams: Object.fromEntries(this.streams) as never, events: this.events,
      ...(this.result && { result: this.result }), ...(this.findings.length && { findings: [...this.findings] }),
    };
  }
}

const PHASES: Record<string, string> = {
  greeting: "greeting", EHLO: "ehlo", HELO: "ehlo", STARTTLS: "starttls", AUTH: "auth", response: "auth",
  MAIL: "mail", RCPT: "rcpt", DATA: "data", BDAT: "message", message: "message", QUIT: "quit",
};

/** How far a session came that has no result of its own: as protocol/session counts it. */
export function progress(t: TraceStore): { phase: string; roundTrips: number } {
  let phase = "connect", roundTrips = 0;
  for (const e of t.events) {
    if (e.hop) continue;
    if (e.layer === "tunnel" && e.kind === "opened") {
      phase = "greeting";
      roundTrips++;
    } else if (e.layer === "tls" && e.kind === "start") phase = "tls";
    else if (e.layer === "tls" && e.kind === "handshake") roundTrips += e.data.roundTrips ?? 0;
    else if (e.layer === "smtp" && e.kind === "reply") roundTrips++;
    else if (e.layer === "smtp" && (e.kind === "command" || e.kind === "response")) phase = PHASES[e.data.verb] ?? phase;
    else if (e.layer === "smtp" && e.kind === "message") phase = "message";
  }
  return { phase, roundTrips };
}

const CHUNK = 0x8000;

export function toBase64(b: Uint8Array): string {
  let s = "";
  for (let i = 0; i < b.length; i += CHUNK) s += String.fromCharCode(...b.subarray(i, i + CHUNK));
  return btoa(s);
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
