// What can be typed next: the commands that are legal, with the addresses of the
// plan and the parameters that the server offered; and what is wrong with a line
// before it is sent.

import { outlineIn } from "./steps.ts";
import type { EventOfKind, Extension } from "./trace.ts";
import type { View } from "./view.ts";

/** What a line is completed from. */
export interface Context {
  /** Verbs that the client may send. */
  legal: readonly string[];
  /** The line that the plan has next. */
  planned: string;
  offered: readonly Extension[];
  ehlo: string;
  from: string;
  /** Recipients that were not named in this transaction. */
  to: readonly string[];
  /** A real server is sent nothing that is out of order. */
  strict: boolean;
}

export interface Suggestion {
  /** The whole line. */
  text: string;
  /** Where the caret belongs. */
  caret: number;
  /** Entry of the book that says what it is. */
  book: string;
}

/** What a paused session offers to whoever types; the form knows addresses that a plan without messages does not have. */
export function contextOf(v: View, form: { from: string; to: readonly string[] }): Context {
  const { rows } = v, outline = outlineIn(v.trace?.meta.plan), message = outline?.messages[0] ?? form, greeting = rows.greetings.at(-1);
  const said = rows.list.filter((r) => r.kind === "command" && !r.hop).map((r) => rows.event(r).text ?? "");
  const named = said.slice(said.findLastIndex((l) => /^MAIL /i.test(l)) + 1).flatMap((l) => /^RCPT TO:<(.*?)>/i.exec(l)?.[1] ?? []);
  return {
    legal: v.pending?.legal ?? [], planned: v.pending && !v.pending.secret.length ? v.pending.text : "", ehlo: outline?.ehlo ?? "", from: message.from, to: message.to.filter((t) => !named.includes(t)),
    offered: greeting ? ((rows.event(greeting) as EventOfKind<"smtp", "reply">).data.extensions ?? []) : [], strict: v.trace?.meta.mode === "live",
  };
}

/** Lines that were sent in this session, the last one first, each once; what was secret in them is not among them. */
export function history(v: View): string[] {
  const { rows } = v, sent = rows.list.filter((r) => r.kind === "command" && !r.hop && !rows.event(r).secret?.length);
  return [...new Set(sent.map((r) => rows.event(r).text ?? "").reverse())];
}

/** A command as a line to be completed, and where its caret belongs. */
export function template(verb: string, c: Context): Suggestion {
  const line = (text: string, caret = text.length) => ({ text, caret, book: `command.${verb.toLowerCase()}` });
  switch (verb) {
    case "MAIL": return line(`MAIL FROM:<${c.from}>`);
    case "RCPT": return line(`RCPT TO:<${c.to[0] ?? ""}>`, c.to[0] ? undefined : 9);
    case "EHLO": case "HELO": case "LHLO": return line(`${verb} ${c.ehlo}`);
    case "AUTH": return line(`AUTH ${mechanisms(c)[0] ?? ""}`);
    case "VRFY": case "EXPN": return line(`${verb} ${c.to[0] ?? "postmaster"}`);
    case "BDAT": return line("BDAT 0 LAST", 5);
    default: return line(verb);
  }
}

function mechanisms(c: Context): readonly string[] {
  return c.offered.find((e) => e.keyword.toUpperCase() === "AUTH")?.params ?? [];
}

/** Parameters by the command that takes them, and the keyword of EHLO that allows each. */
const PARAMS: Record<string, readonly (readonly [param: string, keyword: string])[]> = {
  MAIL: [
    ["SIZE=", "SIZE"], ["BODY=8BITMIME", "8BITMIME"], ["BODY=BINARYMIME", "BINARYMIME"], ["SMTPUTF8", "SMTPUTF8"], ["RET=HDRS", "DSN"], ["RET=FULL", "DSN"], ["ENVID=", "DSN"],
    ["REQUIRETLS", "REQUIRETLS"], ["BY=3600;R", "DELIVERBY"], ["MT-PRIORITY=3", "MT-PRIORITY"], ["HOLDFOR=3600", "FUTURERELEASE"], ["HOLDUNTIL=", "FUTURERELEASE"], ["AUTH=<>", "AUTH"],
  ],
  RCPT: [["NOTIFY=SUCCESS,FAILURE,DELAY", "DSN"], ["NOTIFY=NEVER", "DSN"], ["ORCPT=rfc822;", "DSN"], ["RRVS=", "RRVS"]],
};

const key = (param: string) => param.replace(/=.*/s, "").toUpperCase();
const offers = (c: Context, keyword: string) => c.offered.some((e) => e.keyword.toUpperCase() === keyword);

/** Lines that what was typed may become, the most likely first. */
export function suggestions(typed: string, c: Context): Suggestion[] {
  const verb = /^\S*/.exec(typed)![0].toUpperCase(), whole = (text: string, book = `command.${verb.toLowerCase()}`) => ({ text, caret: text.length, book });
  const path = /^((?:MAIL FROM|RCPT TO):<[^>]*>)(.*)$/is.exec(typed);
  if (path) return params(typed, verb, path[2]!, c);
  const out: Suggestion[] = [];
  const planned = /^\S*/.exec(c.planned)![0].toUpperCase();
  for (const v of [planned, ...c.legal]) {
    if (!c.legal.includes(v) || v === "message" || v === "response" || !v.startsWith(verb) || (typed.includes(" ") && v !== verb)) continue;
    out.push(v === planned ? { ...whole(c.planned, `command.${v.toLowerCase()}`) } : template(v, c));
  }
  if (!c.legal.includes(verb)) return goingOn(typed, out);
  if (verb === "RCPT") out.push(...c.to.map((t) => whole(`RCPT TO:<${t}>`)));
  if (verb === "VRFY" || verb === "EXPN") out.push(...["postmaster", ...c.to].map((t) => whole(`${verb} ${t}`)));
  if (verb === "AUTH") out.push(...mechanisms(c).map((m) => whole(`AUTH ${m}`, `mechanism.${m.toLowerCase()}`)));
  return goingOn(typed, out);
}

/** Those that go on from what was typed, each once. */
function goingOn(typed: string, all: readonly Suggestion[]): Suggestion[] {
  return all.filter((s, i) => s.text.toUpperCase().startsWith(typed.toUpperCase()) && s.text !== typed && all.findIndex((o) => o.text === s.text) === i);
}

/** The parameters that may follow a path. */
function params(typed: string, verb: string, rest: string, c: Context): Suggestion[] {
  const words = rest.split(" "), last = words.pop()!, before = typed.slice(0, typed.length - last.length);
  if (rest && !rest.startsWith(" ")) return [];
  return (PARAMS[verb] ?? [])
    .filter(([p, k]) => offers(c, k) && !words.some((w) => key(w) === key(p)) && p.toUpperCase().startsWith(last.toUpperCase()) && p !== last)
    .map(([p]) => {
      const text = `${rest ? before : `${before} `}${p}`;
      return { text, caret: text.length, book: `param.${key(p).toLowerCase()}` };
    });
}

/** Why a line is not what should be sent now; "" when nothing speaks against it. */
export function objection(line: string, c: Context): string {
  const verb = /^\S*/.exec(line)![0].toUpperCase(), known = c.legal.filter((v) => v !== "message" && v !== "response");
  if (!line) return "";
  if (!known.includes(verb)) {
    const order = `${verb} is not legal now: ${known.join(", ")} ${known.length === 1 ? "is" : "are"}.`;
    return `${order} ${c.strict ? "A real server is not sent it." : "Send it all the same, and see what the server makes of it."}`;
  }
  const path = verb === "MAIL" ? /^MAIL FROM:<[^>]*>(.*)$/is.exec(line) : verb === "RCPT" ? /^RCPT TO:<[^>]*>(.*)$/is.exec(line) : undefined;
  if (path === null) return `${verb === "MAIL" ? "MAIL FROM:<address>" : "RCPT TO:<address>"} is the form of it: no space after the colon, and angle brackets (RFC 5321, ${verb === "MAIL" ? "4.1.1.2" : "4.1.1.3"}).`;
  const given = path?.[1]?.trim().split(/ +/).filter(Boolean).map(key) ?? [];
  const odd = given.find((k) => !(PARAMS[verb] ?? []).some(([p, keyword]) => key(p) === k && offers(c, keyword)));
  return odd ? `${odd} was not offered in the reply to EHLO: a server answers 555 (RFC 5321, 4.1.1.11).` : "";
}
