// What a plan will do when nothing goes wrong: the dashed rows of a ladder that
// has not been drawn yet, and the round trips still to come.

import { parseAddress, signsIn, target, type Config, type Form, type Mechanism, type Security } from "./plan.ts";

/** One wait of the client, planned. */
export interface Step {
  /** Station of the state line: also what the client says, where it says anything. */
  verb: "connect" | "greeting" | "EHLO" | "STARTTLS" | "tls" | "AUTH" | "response" | "MAIL" | "RCPT" | "DATA" | "message" | "QUIT";
  /** What goes out, "" for a greeting. */
  text: string;
  /** The code that means success, "" where no reply answers. */
  expect: string;
}

/** The part of a plan that decides the steps: that of the form, or of a saved trace. */
export interface Outline {
  host: string;
  port: number;
  security: Security;
  ehlo: string;
  auth: Mechanism | undefined;
  messages: { from: string; to: string[] }[];
}

export function outlineOf(f: Form, config: Config | undefined): Outline {
  const { host, port } = target(f, config);
  return {
    host: host || parseAddress(f.address)?.host || "the server", port, security: f.security, ehlo: f.ehlo || "[127.0.0.1]",
    auth: signsIn(f) ? f.signIn[f.mode].mechanism : undefined,
    messages: [{ from: f.from, to: f.to.filter((t) => t.trim()) }],
  };
}

/** The outline of the plan in a trace's meta; undefined when there is none that can be read. */
export function outlineIn(plan: unknown): Outline | undefined {
  const p = plan as { target?: { host?: string; port?: number }; security?: Security; ehlo?: string;
    auth?: { mechanism?: Mechanism }; messages?: { from?: string; to?: string[] }[] } | undefined;
  if (!p?.target) return undefined;
  return {
    host: p.target.host ?? "the server", port: p.target.port ?? 0, security: p.security ?? "starttls", ehlo: p.ehlo ?? "",
    auth: p.auth ? (p.auth.mechanism ?? "") : undefined,
    messages: (p.messages ?? []).map((m) => ({ from: m.from ?? "", to: m.to ?? [] })),
  };
}

export const DOTS = "••••••••";

export function stepsOf(o: Outline): Step[] {
  const ehlo: Step = { verb: "EHLO", text: `EHLO ${o.ehlo}`, expect: "250" };
  const greeting: Step = { verb: "greeting", text: "", expect: "220" };
  const tls: Step = { verb: "tls", text: "TLS handshake", expect: "" };
  const steps: Step[] = [{ verb: "connect", text: `connect to ${o.host}, port ${o.port}`, expect: "" }];
  if (o.security === "tls") steps.push(tls);
  steps.push(greeting, ehlo);
  if (o.security === "starttls") steps.push({ verb: "STARTTLS", text: "STARTTLS", expect: "220" }, tls, ehlo);
  if (o.auth === "LOGIN") {
    steps.push({ verb: "AUTH", text: "AUTH LOGIN", expect: "334" });
    steps.push({ verb: "response", text: DOTS, expect: "334" }, { verb: "response", text: DOTS, expect: "235" });
  } else if (o.auth !== undefined) steps.push({ verb: "AUTH", text: `AUTH ${o.auth || "PLAIN"} ${DOTS}`, expect: "235" });
  for (const m of o.messages) {
    steps.push({ verb: "MAIL", text: `MAIL FROM:<${m.from}>`, expect: "250" });
    for (const to of m.to) steps.push({ verb: "RCPT", text: `RCPT TO:<${to}>`, expect: "250" });
    steps.push({ verb: "DATA", text: "DATA", expect: "354" }, { verb: "message", text: "message text", expect: "250" });
  }
  steps.push({ verb: "QUIT", text: "QUIT", expect: "221" });
  return steps;
}
