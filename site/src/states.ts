// The state line: where the session has been, where it is, and where the table
// of transitions lets it go.

import type { Row, Rows } from "./rows.ts";
import type { Step } from "./steps.ts";
import type { EventOfKind } from "./trace.ts";

/** A row of the table that drives the client (protocol/smtp). */
export interface Transition {
  from: string;
  on: string;
  guard?: string;
  next: string;
  rfc: string;
}

export type StationId = Exclude<Step["verb"], "command"> | "EHLO again";

export interface Station {
  id: StationId;
  name: string;
  /** What the server said there, with a question mark where it has not spoken yet. */
  code: string;
  status: "done" | "here" | "next" | "later";
  /** It went wrong there. */
  failed: boolean;
}

/** A way that leaves the main track. */
export interface Branch {
  from: number;
  to: number;
  label: string;
  rfc: string;
  /** May be taken now, or was left aside by the plan. */
  may: boolean;
}

export interface StateLine {
  stations: Station[];
  /** Index of the station where the session is, -1 before it began. */
  here: number;
  branches: Branch[];
}

const NAMES: Record<StationId, string> = {
  connect: "Connect", greeting: "Greeting", EHLO: "EHLO", "EHLO again": "EHLO", STARTTLS: "STARTTLS", tls: "TLS",
  AUTH: "AUTH", response: "AUTH", MAIL: "MAIL", RCPT: "RCPT", DATA: "DATA", message: "Message", QUIT: "QUIT",
};

interface Stop {
  id: StationId;
  name: string;
  expect: string;
}

/** The stations of a plan, each once. */
function route(steps: readonly Step[]): Stop[] {
  const out: Stop[] = [];
  for (const s of steps) {
    if (s.verb === "command") continue;
    const again = s.verb === "EHLO" && out.some((o) => o.id === "EHLO");
    const id: StationId = again ? "EHLO again" : s.verb === "response" ? "AUTH" : s.verb, known = out.find((o) => o.id === id);
    if (known) known.expect = s.expect;
    else out.push({ id, name: s.text.startsWith("LHLO") ? "LHLO" : NAMES[id], expect: s.expect });
  }
  return out;
}

/** The station that a row is about, where there is one. */
function stationOf(rows: Rows, row: Row, inside: boolean): StationId | undefined {
  const e = rows.event(row);
  switch (row.kind) {
    case "connect": return "connect";
    case "segment": return row.dir && (row.ok || (e as EventOfKind<"tcp", "segment">).data.segment?.flags.includes("SYN")) ? "connect" : undefined;
    case "handshake": return "tls";
    case "message": return "message";
    case "response": return "AUTH";
    case "reply": {
      const { verb } = (e as EventOfKind<"smtp", "reply">).data;
      if (verb === "greeting") return "greeting";
      return row.other ? stationOf(rows, row.other, inside) : undefined;
    }
    case "command": {
      const { verb } = (e as EventOfKind<"smtp", "command">).data;
      if (verb === "EHLO" || verb === "HELO" || verb === "LHLO") return inside ? "EHLO again" : "EHLO";
      if (verb === "BDAT") return "message";
      return verb in NAMES ? (verb as StationId) : undefined;
    }
    default: return undefined;
  }
}

export function stateLine(rows: Rows, steps: readonly Step[], over: boolean, table: readonly Transition[]): StateLine {
  const way = route(steps), ids = way.map((s) => s.id), again = ids.includes("EHLO again");
  const visited = new Set<StationId>(), codes = new Map<StationId, string>();
  let here = -1, inside = false, waiting = false, failed: StationId | undefined;
  for (const row of rows.list) {
    if (row.hop) continue; // two mail servers among themselves
    if (row.kind === "handshake" && row.ok) inside = again;
    const e = rows.event(row), id = stationOf(rows, row, inside);
    if (id && !ids.includes(id)) insert(ids, way, id);
    const i = id && !(id === "connect" && here > 0) ? ids.indexOf(id) : -1; // a late copy of a SYN opens nothing
    if (i >= 0 && row.kind === "segment" && row.dir === "in") codes.set("connect", "SYN ACK");
    if (i >= 0) {
      visited.add(id!);
      here = i;
      waiting = row.kind !== "reply" && row.ok === undefined;
    }
    if (row.kind === "handshake" && row.ok === false) failed = "tls";
    if (row.kind === "reply") {
      const d = (e as EventOfKind<"smtp", "reply">).data;
      if (id) codes.set(id, String(d.code));
      if (id && d.code >= 400) failed = id;
      if (d.verb === "RSET" && d.code < 300) here = Math.max(0, ids.indexOf("MAIL") - 1);
    }
    if (row.kind === "error" && (e as EventOfKind<"app", "error">).data.code !== "rejected") failed ??= ids[here];
  }
  const last = rows.lastReply, legal = over || waiting ? [] : (last?.data.legal ?? []), branches: Branch[] = [];
  const reach = (verb: string) => (verb === "RSET" ? Math.max(0, ids.indexOf("MAIL") - 1) : (verb === "EHLO" || verb === "HELO") && here >= ids.indexOf("EHLO") && inside && here === ids.indexOf("tls")
    ? ids.indexOf("EHLO again") : ids.indexOf(verb as StationId));
  for (const verb of legal) {
    const t = table.find((x) => x.from === last!.data.state && x.on.split(" ")[0] === verb && x.next !== x.from);
    const to = reach(verb);
    if (!t || to < 0 || to === here || Math.abs(to - here) === 1 || (to < here && verb !== "RSET")) continue;
    branches.push({ from: here, to, label: verb, rfc: t.rfc, may: true });
  }
  const greeting = ids.indexOf("greeting"), ehlo = ids.indexOf("EHLO"), after = ids.indexOf("EHLO again") + 1;
  if (again && greeting > 0) branches.push({ from: greeting - 1, to: greeting, label: "TLS first, port 465", rfc: "RFC 8314, 3.3", may: false });
  if (again && ehlo >= 0 && after < ids.length) branches.push({ from: ehlo, to: after, label: "without STARTTLS", rfc: "RFC 3207, 4", may: false });
  const next = new Set(legal.filter((verb) => verb !== "RSET").map(reach));
  const stations = way.map(({ id, name, expect }, i): Station => ({
    id, name,
    code: codes.get(id) ?? (id === "connect" ? "" : id === "tls" ? (visited.has(id) && rows.sealed ? "Finished" : "") : expect ? `${expect}?` : ""),
    failed: id === failed,
    status: i === here ? "here" : visited.has(id) ? "done" : next.has(i) && i > here ? "next" : "later",
  }));
  return { stations, here, branches };
}

/** A station that the plan does not have, put where a session would pass it. */
function insert(ids: StationId[], way: Stop[], id: StationId): void {
  const order: StationId[] = ["connect", "greeting", "EHLO", "STARTTLS", "tls", "EHLO again", "AUTH", "MAIL", "RCPT", "DATA", "message", "QUIT"];
  const rank = order.indexOf(id);
  let at = ids.findIndex((x) => order.indexOf(x) > rank);
  if (at < 0) at = ids.length;
  ids.splice(at, 0, id);
  way.splice(at, 0, { id, name: NAMES[id], expect: "" });
}
