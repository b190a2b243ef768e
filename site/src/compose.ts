// A message of fields: what of it goes to the desk, what comes back, and what of a
// source can be had as fields.

import type { Answers, Questions } from "./desk.ts";
import { NO_FIELDS, randomId, uncomposed, withMessage, type Fields, type Form, type Transaction } from "./plan.ts";

/** Writes the source of a message; files are the contents of its attachments. An error begins with the name of the field that is to be mended. */
export type Compose = (fields: Questions["compose"], files: Uint8Array[]) => Promise<Answers["compose"]>;

/** What all attachments of a message may have together, in octets: more than most servers take. */
export const ATTACHED = 10_000_000;

/** The form with every message composed, or with the reason why it is not. */
export async function composed(f: Form, compose: Compose, now = new Date()): Promise<Form> {
  if (!uncomposed(f)) return f;
  return { ...f, transactions: await Promise.all(f.transactions.map((t) => source(t, compose, now))) };
}

/** Composes what a form has of fields, and once more what was changed meanwhile. */
export async function settle(read: () => Form, write: (f: Form) => void, compose: Compose): Promise<void> {
  for (let before = read(); uncomposed(before); before = read()) {
    const after = await composed(before, compose);
    if (read() === before) return write(after);
  }
}

/** What changes with the way in which a message is written. */
export async function turned(t: Transaction, way: Transaction["way"], compose: Compose, now = new Date()): Promise<Partial<Transaction>> {
  if (way === "fields") {
    const known = Object.values(t.fields).some((v) => v.length > 0); // the source is what was composed of them
    return { way, ...(!known && fieldsIn(t.file?.text ?? t.text)), text: "", file: undefined, alternatives: undefined };
  }
  const { text, file, alternatives, problem } = await source(t, compose, now);
  return problem ? { problem } : { way, text, file, alternatives };
}

/** What is being composed: nobody has to wait twice for the same. */
const underWay = new WeakMap<Transaction, Promise<Transaction>>();

/** A transaction with the source of its message. */
export async function source(t: Transaction, compose: Compose, now = new Date()): Promise<Transaction> {
  if (t.way === "raw" || t.text || t.file) return t;
  const known = underWay.get(t);
  if (known) return known;
  const one = written(t, compose, now);
  underWay.set(t, one);
  return one.finally(() => underWay.delete(t));
}

async function written(t: Transaction, compose: Compose, now: Date): Promise<Transaction> {
  try {
    const { data, alternatives } = await compose(draft(t, now), t.fields.attachments.map((a) => a.data));
    return { ...t, ...withMessage(data, "composed message"), alternatives: Object.keys(alternatives).length ? alternatives : undefined, problem: undefined };
  } catch (e) {
    return { ...t, problem: problemIn((e as Error).message) };
  }
}

function draft(t: Transaction, now: Date): Questions["compose"] {
  const { subject, text, html, attachments } = t.fields, { from, to } = header(t), domain = /@([^\s@<>]+)>?\s*$/.exec(from)?.[1];
  return {
    from, to: addresses(to), cc: addresses(t.fields.cc), subject, text, html,
    attachments: attachments.map(({ name, type }) => ({ name, type })),
    date: now.toISOString(), id: domain ? `<${randomId()}@${domain}>` : "",
  };
}

/** From and To of the header: those of the envelope, unless others were typed. */
export function header(t: Transaction): { from: string; to: string } {
  return { from: t.fields.from.trim() || t.from.trim(), to: t.fields.to.trim() || t.to.map((r) => r.trim()).filter(Boolean).join(", ") };
}

/** The addresses of a list, "Ada, Countess <ada@example.org>" in quotes among them. */
export function addresses(list: string): string[] {
  return [...list.matchAll(/(?:"(?:\\.|[^"\\])*"|<[^>]*>|\([^)]*\)|[^,])+/g)].map(([a]) => a.trim()).filter(Boolean);
}

/** Just the mailbox of an address. */
function mailbox(address: string): string {
  return (/<([^>]*)>\s*$/.exec(address)?.[1] ?? address).trim().toLowerCase();
}

/** Where header and envelope differ, in words; they may. */
export function difference(t: Transaction): string {
  const shown = header(t), same = (a: string[], b: string[]) => a.map(mailbox).sort().join() === b.map(mailbox).sort().join();
  const from = !same([shown.from], [t.from]), to = !same([...addresses(shown.to), ...addresses(t.fields.cc)], t.to.filter((r) => r.trim()));
  if (!from && !to) return "";
  return `${from && to ? "From and To" : from ? "From" : "To and Cc"} ${from && !to ? "differs" : "differ"} from the envelope. Servers go by the envelope, readers see these.`;
}

const FIELDS = ["from", "to", "cc", "subject", "text", "html", "attachments"] as const satisfies (keyof Fields)[];

/** The field that an error of the desk begins with, and the rest as a sentence. */
function problemIn(message: string): NonNullable<Transaction["problem"]> {
  const [, name, rest] = /^(\w+)(?:\[\d+\])?: (.*)$/s.exec(message) ?? [], field = FIELDS.find((f) => f === name) ?? "";
  const text = field ? rest! : message, whole = text.charAt(0).toUpperCase() + text.slice(1);
  return { field, text: /[.!?]$/.test(whole) ? whole : `${whole}.` };
}

/** Header fields that are fields here, or are written anew. */
const OWN = new Set(["from", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding"]);

/** The fields that a source has, and what of it they leave behind. */
function fieldsIn(source: string): Pick<Transaction, "fields" | "left"> {
  const text = source.replaceAll("\r\n", "\n"), end = text.startsWith("\n") ? 0 : text.indexOf("\n\n");
  const head = end < 0 ? text : text.slice(0, end), body = end < 0 ? "" : text.slice(end).replace(/^\n\n?/, "");
  const lines = head.replace(/\n[ \t]+/g, " ").split("\n").flatMap((l) => {
    const m = /^([!-9;-~]+)[ \t]*:[ \t]*(.*)$/.exec(l);
    return m ? [[m[1]!, m[2]!.trim()] as const] : [];
  });
  const value = (name: string) => lines.filter(([n]) => n.toLowerCase() === name).map(([, v]) => v).join(", ");
  const type = value("content-type").split(";")[0]!.trim().toLowerCase() || "text/plain", readable = /^(?:[78]bit|binary|$)/i.test(value("content-transfer-encoding"));
  const of = (t: string) => (readable && type === t ? body : "");
  const left = [...new Set(lines.map(([n]) => n).filter((n) => !OWN.has(n.toLowerCase()))), ...(readable && /^text\/(?:plain|html)$/.test(type) ? [] : [`the ${type} body`])];
  return {
    fields: { ...NO_FIELDS, from: value("from"), to: value("to"), cc: value("cc"), subject: value("subject"), text: of("text/plain"), html: of("text/html") },
    left: left.length ? left.join(", ") : undefined,
  };
}
