// What a plan will do when nothing goes wrong: the dashed rows of a ladder that
// has not been drawn yet, and the round trips still to come.

import { ehloOf, parseAddress, securityOf, signsIn, target, type Config, type Form, type Mechanism, type Security } from "./plan.ts";

/** What the client says, or only waits for, and what is hoped for then. */
export interface Step {
  /** Station of the state line: also what the client says, where it says anything. */
  verb: "connect" | "greeting" | "EHLO" | "STARTTLS" | "tls" | "AUTH" | "response" | "MAIL" | "RCPT" | "DATA" | "message" | "QUIT";
  /** What goes out, "" for a greeting. */
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
  messages: { from: string; to: string[] }[];
  /** The commands of a mail transaction go out as a group, and BDAT sends the message, if the server offers that. */
  pipelining: boolean;
  chunking: boolean;
}

export function outlineOf(f: Form, config: Config | undefined): Outline {
  const { host, port } = target(f, config);
  return {
    host: host || parseAddress(f.address)?.host || "the server", port,
    connection: f.mode === "lab" ? f.lab.transport : "proxy", security: securityOf(f), ehlo: ehloOf(f),
    auth: signsIn(f) ? f.signIn[f.mode].mechanism : undefined,
    messages: [{ from: f.from, to: f.to.filter((t) => t.trim()) }],
    pipelining: f.pipelining, chunking: f.chunking,
  };
}

/** The outline of the plan in a trace's meta; undefined when there is none that can be read. */
export function outlineIn(plan: unknown): Outline | undefined {
  const p = plan as { target?: { mode?: string; host?: string; port?: number }; security?: Security; ehlo?: string; lab?: { transport?: string };
    auth?: { mechanism?: Mechanism }; messages?: { from?: string; to?: string[] }[]; options?: { pipelining?: boolean; chunking?: boolean }; pace?: { step?: boolean } } | undefined;
  if (!p?.target) return undefined;
  return {
    host: p.target.host ?? "the server", port: p.target.port ?? 0,
    connection: p.target.mode !== "lab" ? "proxy" : p.lab?.transport === "udp" ? "udp" : "tcp",
    security: p.security ?? "starttls", ehlo: p.ehlo ?? "",
    auth: p.auth ? (p.auth.mechanism ?? "") : undefined,
    messages: (p.messages ?? []).map((m) => ({ from: m.from ?? "", to: m.to ?? [] })),
    pipelining: !!p.options?.pipelining && !p.pace?.step, // who steps through a group sends it one by one
    chunking: !!p.options?.chunking,
  };
}

export const DOTS = "••••••••";

export function stepsOf(o: Outline): Step[] {
  const steps: Step[] = [];
  let round = 0;
  const wait = (verb: Step["verb"], text: string, expect = "") => steps.push({ verb, text, expect, round: ++round });
  const join = (verb: Step["verb"], text: string, expect: string) => steps.push({ verb, text, expect, round: o.pipelining ? round : ++round });
  const ehlo = () => wait("EHLO", `EHLO ${o.ehlo}`, "250"), tls = () => wait("tls", "TLS handshake");
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
  const responses = { LOGIN: 2, "CRAM-MD5": 1 }[o.auth as string] ?? 0; // where the server speaks first
  if (responses > 0) {
    wait("AUTH", `AUTH ${o.auth}`, "334");
    for (let left = responses - 1; left >= 0; left--) wait("response", DOTS, left ? "334" : "235");
  } else if (o.auth !== undefined) wait("AUTH", `AUTH ${o.auth || "PLAIN"} ${DOTS}`, "235");
  for (const m of o.messages) {
    wait("MAIL", `MAIL FROM:<${m.from}>`, "250");
    for (const to of m.to) join("RCPT", `RCPT TO:<${to}>`, "250");
    if (o.chunking) {
      join("message", "BDAT, message text", "250");
      continue;
    }
    join("DATA", "DATA", "354");
    wait("message", "message text", "250");
  }
  wait("QUIT", "QUIT", "221");
  return steps;
}

/** How often the plan waits for the server. */
export function roundTrips(steps: readonly Step[]): number {
  return steps.at(-1)?.round ?? 0;
}
