// What a plan will do when nothing goes wrong: the dashed rows of a ladder that
// has not been drawn yet, and the round trips still to come.

import { planOf, type Config, type Form, type Mechanism, type Options, type Plan, type RunMode, type Security } from "./plan.ts";

/** What the client says, or only waits for, and what is hoped for then. */
export interface Step {
  /** Station of the state line; "command" is none: the session stays where it is. */
  verb: "connect" | "greeting" | "EHLO" | "STARTTLS" | "tls" | "AUTH" | "response" | "MAIL" | "RCPT" | "DATA" | "message" | "command" | "QUIT";
  /** What goes out, "" where only the server speaks. */
  text: string;
  /** The code that means success, "" where no reply answers. */
  expect: string;
  /** The round trip that it is part of, from 1: commands of a group share one (RFC 2920). */
  round: number;
}

/** The part of a plan that decides the steps: that of the form, or of a saved trace. */
export interface Outline {
  host: string;
  port: number;
  /** How the connection comes about: the proxy makes it, TCP shakes hands in the lab, or nothing does. */
  connection: "proxy" | "tcp" | "udp";
  security: Security;
  ehlo: string;
  auth: Mechanism | undefined;
  commands: string[];
  messages: { from: string; to: string[] }[];
  /** Where the server offers it, if an extension: so is it hoped. */
  options: Partial<Pick<Options, "pipelining" | "chunking" | "protocol" | "rset" | "xclient" | "xforward">>;
}

export function outlineOf(f: Form, config: Config | undefined): Outline {
  return outlineIn(planOf(f, config, false))!;
}

/** The outline of the plan in a trace's meta; undefined when there is none that can be read. */
export function outlineIn(plan: unknown): Outline | undefined {
  const p = plan as Partial<{ [K in keyof Plan]: Plan[K] | null }> & { target?: { mode?: RunMode; host?: string; domain?: string; port?: number }; messages?: Partial<Plan["messages"][number]>[] | null } | undefined;
  if (!p?.target) return undefined;
  return {
    host: p.target.host || (p.target.domain ? `a mail server of ${p.target.domain}` : "the server"), port: p.target.port ?? 0,
    connection: p.target.mode !== "lab" ? "proxy" : p.lab?.transport === "udp" ? "udp" : "tcp",
    security: p.security ?? "starttls", ehlo: p.ehlo ?? "",
    auth: p.auth ? (p.auth.mechanism ?? "") : undefined,
    commands: p.commands ?? [],
    messages: (p.messages ?? []).map((m) => ({ from: m.from ?? "", to: m.to ?? [] })),
    options: { ...p.options, pipelining: !!p.options?.pipelining && !p.pace?.step }, // who steps through a group sends it one by one
  };
}

export const DOTS = "••••••••";

/** What the server answers on success, where it is not 250. */
const CODES: Record<string, string> = { HELP: "214", VRFY: "252" };

export function stepsOf(o: Outline): Step[] {
  const steps: Step[] = [], { pipelining, chunking, protocol, rset, xclient, xforward } = o.options, lmtp = protocol === "lmtp";
  let round = 0;
  const wait = (verb: Step["verb"], text: string, expect = "") => steps.push({ verb, text, expect, round: ++round });
  const join = (verb: Step["verb"], text: string, expect: string) => steps.push({ verb, text, expect, round: pipelining ? round : ++round });
  const hello = `${lmtp ? "LHLO" : "EHLO"} ${o.ehlo}`, ehlo = () => wait("EHLO", hello, "250"), tls = () => wait("tls", "TLS handshake");
  if (o.connection === "proxy") wait("connect", `connect to ${o.host}, port ${o.port}`);
  if (o.connection === "tcp") wait("connect", "SYN, SYN ACK");
  if (o.security === "tls") tls();
  wait("greeting", "", "220");
  ehlo();
  if (o.security === "starttls") {
    wait("STARTTLS", "STARTTLS", "220");
    tls();
    ehlo();
  }
  const attributes = (verb: string, of: Record<string, string> | undefined) => [verb, ...Object.entries(of ?? {}).map(([name, value]) => `${name}=${value}`)].join(" ");
  if (Object.keys(xclient ?? {}).length) {
    wait("command", attributes("XCLIENT", xclient), "220");
    wait("command", hello, "250"); // a session of another client begins
  }
  if (o.auth !== undefined) for (const [i, [text, expect]] of exchange(o.auth).entries()) wait(i ? "response" : "AUTH", text, expect);
  if (Object.keys(xforward ?? {}).length) wait("command", attributes("XFORWARD", xforward), "250");
  for (const c of o.commands) wait("command", c, CODES[c.split(" ")[0]!.toUpperCase()] ?? "250");
  for (const [i, m] of o.messages.entries()) {
    const again = rset && i > 0;
    if (again) wait("command", "RSET", "250");
    (again ? join : wait)("MAIL", `MAIL FROM:<${m.from}>`, "250");
    for (const to of m.to) join("RCPT", `RCPT TO:<${to}>`, "250");
    if (chunking) join("message", "BDAT, message text", "250");
    else {
      join("DATA", "DATA", "354");
      wait("message", "message text", "250");
    }
    if (lmtp) for (const _ of m.to.slice(1)) steps.push({ verb: "message", text: "", expect: "250", round }); // a reply for each recipient (RFC 2033, 4.2)
  }
  wait("QUIT", "QUIT", "221");
  return steps;
}

/** A sign-in: what the client sends, and what answers it. */
function exchange(mechanism: Mechanism): [text: string, expect: string][] {
  const first = `AUTH ${mechanism || "PLAIN"}`;
  if (mechanism.startsWith("SCRAM")) return [[`${first} ${DOTS}`, "334"], [DOTS, "334"], ["empty response", "235"]]; // the server proves itself, too
  switch (mechanism) {
    case "LOGIN": return [[first, "334"], [DOTS, "334"], [DOTS, "235"]];
    case "CRAM-MD5": return [[first, "334"], [DOTS, "235"]];
    default: return [[`${first} ${DOTS}`, "235"]];
  }
}

/** How often the plan waits for the server. */
export function roundTrips(steps: readonly Step[]): number {
  return steps.at(-1)?.round ?? 0;
}
