// The trace: what every view reads. The types are those of the Go package
// protocol/trace; the names and units too (all durations are nanoseconds).

export const VERSION = 1;

export type Mode = "lab" | "practice" | "live";
export type Layer = "tunnel" | "tls" | "smtp" | "app";
export type Direction = "out" | "in";
export type Source = "observed" | "measured" | "captured" | "simulated" | "derived";
export type StreamName = "wire.out" | "wire.in" | "text.out" | "text.in";
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
  direct?: boolean;
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
  tunnel: { resolving: TunnelData; addresses: TunnelData; dialing: TunnelData; opened: TunnelData };
  tls: { start: undefined; record: RecordData; handshake: HandshakeData; alert: HandshakeData };
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

export type TraceEvent = EventOf<"tunnel"> | EventOf<"tls"> | EventOf<"smtp"> | EventOf<"app">;

/** The events of one kind of one layer. */
export type EventOfKind<L extends Layer, K extends string> = Extract<TraceEvent, { layer: L; kind: K }>;

export interface Meta {
  tool: string;
  mode: Mode;
  started: string;
  plan?: unknown;
  seed?: number;
  hosts: { id: string; name: string }[];
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

/** A trace as JSON. */
export interface SavedTrace {
  v: number;
  meta: Meta;
  streams: Partial<Record<StreamName, SavedStream>>;
  events: TraceEvent[];
  result?: Result;
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

  toJSON(): SavedStream {
    const parts: { off: number; bytes: Uint8Array }[] = [];
    for (const p of this.pieces(0, this.#len)) {
      const last = parts.at(-1);
      if (!("bytes" in p)) continue;
      if (last && last.off + last.bytes.length === p.off) last.bytes = concat(last.bytes, p.bytes);
      else parts.push({ off: p.off, bytes: p.bytes });
    }
    const [first] = parts;
    if (this.#len === 0) return "";
    if (parts.length === 1 && first!.bytes.length === this.#len) return toBase64(first!.bytes);
    return { len: this.#len, parts: parts.map((p) => ({ off: p.off, bytes: toBase64(p.bytes) })) };
  }

  #find(off: number): number {
    let lo = 0, hi = this.#chunks.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1, c = this.#chunks[mid]!;
      if (c.off + c.bytes.length <= off) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

export const STREAMS: readonly StreamName[] = ["wire.out", "wire.in", "text.out", "text.in"];

/** A trace that grows: batches of events and chunks of streams are appended to it. */
export class TraceStore {
  readonly events: TraceEvent[] = [];
  readonly streams: Record<StreamName, Stream>;
  result: Result | undefined;

  constructor(readonly meta: Meta, streams?: Record<StreamName, Stream>) {
    this.streams = streams ?? { "wire.out": new Stream(), "wire.in": new Stream(), "text.out": new Stream(), "text.in": new Stream() };
  }

  /** Appends in place; an event out of order means that something was lost, and is an error. */
  append(events: readonly TraceEvent[], chunks: readonly { name: string; off: number; bytes: Uint8Array }[] = []): void {
    for (const c of chunks) {
      const s = this.streams[c.name as StreamName];
      if (!s) throw new Error(`unknown stream ${c.name}`);
      s.append(c.off, c.bytes);
    }
    for (const e of events) {
      if (e.n !== this.events.length) throw new Error(`event ${e.n} arrived where ${this.events.length} was due`);
      this.events.push(e);
      if (e.at) this.streams[e.at.stream]?.extend(e.at.off + e.at.len);
    }
  }

  bytes(r: Range): Uint8Array {
    return this.streams[r.stream].bytes(r.off, r.len);
  }

  /** The time of the last event, or of the result. */
  get elapsed(): number {
    return this.result?.elapsed ?? this.events.at(-1)?.t ?? 0;
  }

  host(id: string): string {
    return this.meta.hosts.find((h) => h.id === id)?.name ?? id;
  }

  /** A copy in which every secret byte reads "*". Texts are masked when they are written. */
  redact(): TraceStore {
    const streams = Object.fromEntries(STREAMS.map((n) => [n, this.streams[n].clone()])) as Record<StreamName, Stream>;
    const copy = new TraceStore(this.meta, streams);
    copy.events.push(...this.events);
    copy.result = this.result;
    for (const e of this.events) {
      for (const [from, to] of (e.at && e.secret) ?? []) {
        const { stream, off } = e.at!, wire = stream === "text.out" ? "wire.out" : stream === "text.in" ? "wire.in" : undefined;
        streams[stream].mask(off + from, to - from);
        // Until TLS starts, the wire carries the same bytes at the same offsets.
        if (wire) streams[wire].mask(off + from, Math.min(to - from, this.clear(wire) - off - from));
      }
    }
    return copy;
  }

  /** The offset in a wire stream at which TLS starts, or its length. */
  clear(wire: StreamName): number {
    for (const e of this.events) if (e.layer === "tls" && e.kind === "start" && e.at?.stream === wire) return e.at.off;
    return this.streams[wire].length;
  }

  toJSON(): SavedTrace {
    return { v: VERSION, meta: this.meta, streams: this.streams as never, events: this.events, ...(this.result && { result: this.result }) };
  }
}

const PHASES: Record<string, string> = {
  greeting: "greeting", EHLO: "ehlo", HELO: "ehlo", STARTTLS: "starttls", AUTH: "auth", response: "auth",
  MAIL: "mail", RCPT: "rcpt", DATA: "data", message: "message", QUIT: "quit",
};

/** How far a session came that has no result of its own: as protocol/session counts it. */
export function progress(t: TraceStore): { phase: string; roundTrips: number } {
  let phase = "connect", roundTrips = 0;
  for (const e of t.events) {
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
