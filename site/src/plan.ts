// The plan form as data, and the plan that follows from it.

export type RunMode = "lab" | "practice" | "live";
export type Security = "none" | "starttls" | "tls";
/** As protocol/sasl knows them; "" is the best that is offered. */
export type Mechanism = "" | "PLAIN" | "LOGIN" | "CRAM-MD5" | "XOAUTH2" | "OAUTHBEARER" | "EXTERNAL" | "ANONYMOUS"
  | "SCRAM-SHA-1" | "SCRAM-SHA-256" | "SCRAM-SHA-1-PLUS" | "SCRAM-SHA-256-PLUS";
export type Route = "direct" | "submission" | "chain";

/** How any two hosts of the lab are joined: texts as the plan has them, "40ms" and "10Mbit", and probabilities. */
export interface Link {
  delay: string;
  bandwidth: string;
  loss: number;
  reorder: number;
  duplicate: number;
  corrupt: number;
  /** Octets of the largest IP packet; 0 for the usual 1500. */
  mtu: number;
}

/** How the recipients' mail server behaves; without any of it, well. */
export interface Behaviour {
  greetingDelay: string;
  greylist: string;
  down: string;
  shutdown: "" | "MAIL" | "RCPT" | "DATA";
  mailboxFull: boolean;
  unknown: string[];
  noPipelining: boolean;
  noSTARTTLS: boolean;
  size: number;
  readRate: string;
  receiveBuffer: number;
}

/** Who takes part in the lab. */
export interface Lab {
  route: Route;
  relays: number;
  transport: "tcp" | "udp";
  server: Behaviour;
}

/** The extensions to use, as protocol/session has them. */
export interface Options {
  size: boolean;
  body: "" | "7bit" | "8bitmime" | "binarymime";
  pipelining: boolean;
  chunking: boolean;
  smtputf8: boolean;
  requiretls: boolean;
  protocol: "smtp" | "lmtp";
  dsn: { notify: string[]; ret: "" | "full" | "hdrs"; envid: string };
  /** Seconds and what then, "120;R". */
  deliverby: string;
  priority: number;
  /** Seconds, or a time as RFC 3339. */
  hold: string;
  /** RSET between two messages. */
  rset: boolean;
  /** A time as RFC 3339. */
  rrvs: string;
  /** By the names of Postfix's attributes; without those that are "". */
  xclient: Record<string, string>;
  xforward: Record<string, string>;
}

/** A composed message in encodings that need an extension, where they differ from the one that needs none. */
export type Alternatives = { [K in "8bitmime" | "binarymime"]?: string };

/** What protocol/session accepts, as far as this page asks for it. */
export interface Plan {
  target: { mode: RunMode; host: string; port: number; domain?: string };
  security: Security;
  tls: { serverName: string; ca: string[]; insecure: boolean };
  ehlo: string;
  auth?: { mechanism: Mechanism; username: string; password: string };
  /** Lines that are sent once signed in. */
  commands?: string[];
  messages: { from: string; to: string[]; data: string; alternatives?: Alternatives }[];
  /** What differs from the engine's default. */
  options: Partial<Options>;
  pace: { step: boolean; breakpoints: string[] };
  /** Of mode lab alone. */
  link?: Link;
  lab?: Lab;
  seed?: number;
}

/** What GET api/v1/config answers. */
export interface Config {
  version: string;
  practice: {
    host: string;
    ports: { smtp: number; submission: number; submissions: number; lmtp: number };
    username: string;
    password: string;
    ca: string;
  } | null;
  live: { public: boolean; allow: string[] | null };
  /** Whether the proxy asks the DNS for its pages. */
  lookup?: boolean;
  /** Absent where nothing is said of it. */
  instrument?: { tcpinfo: boolean; why?: string };
}

export interface SignIn {
  on: boolean;
  mechanism: Mechanism;
  username: string;
  /** Or the access token. */
  password: string;
}

/** What a mechanism proves the user by. */
export function proofOf(m: Mechanism): "password" | "token" | undefined {
  switch (m) {
    case "XOAUTH2": case "OAUTHBEARER": return "token";
    case "EXTERNAL": case "ANONYMOUS": return undefined;
    default: return "password";
  }
}

/** A message too long for a text box, or chosen as a file. */
export interface LongMessage {
  name: string;
  size: number;
  text: string;
}

export interface Attachment {
  name: string;
  /** Media type. */
  type: string;
  data: Uint8Array<ArrayBuffer>;
}

/** What a message is composed of. From and To are those of the envelope while they are "". */
export interface Fields {
  from: string;
  to: string;
  cc: string;
  subject: string;
  text: string;
  html: string;
  attachments: Attachment[];
}

/** A mail transaction: the envelope, and the message in it. */
export interface Transaction {
  from: string;
  to: string[];
  /** Whether the message is written as it is sent, or composed of fields. */
  way: "raw" | "fields";
  /** The message's source; "" while it is to be composed. */
  text: string;
  file?: LongMessage | undefined;
  alternatives?: Alternatives | undefined;
  fields: Fields;
  /** Why the fields could not be composed; the field is "" where it is none of them. */
  problem?: { field: keyof Fields | ""; text: string } | undefined;
  /** What the fields could not take over from a source. */
  left?: string | undefined;
}

export interface Form {
  mode: RunMode;
  /** Live target as typed: a domain, host:port or [address]:port. */
  address: string;
  security: Security;
  /** None: look at the server and leave. */
  transactions: Transaction[];
  signIn: Record<RunMode, SignIn>;
  ehlo: string;
  serverName: string;
  ca: string;
  insecure: boolean;
  /** As typed, one a line. */
  commands: string;
  options: Options;
  link: Link;
  lab: Lab;
  /** As typed. */
  seed: string;
}

/** What the engine takes for what a plan of mode lab leaves out. */
const WIRE: Link = { delay: "", bandwidth: "", loss: 0, reorder: 0, duplicate: 0, corrupt: 0, mtu: 0 };
const WELL: Behaviour = {
  greetingDelay: "", greylist: "", down: "", shutdown: "", mailboxFull: false, unknown: [],
  noPipelining: false, noSTARTTLS: false, size: 0, readRate: "", receiveBuffer: 0,
};
const LAB: Lab = { route: "direct", relays: 2, transport: "tcp", server: WELL };
const SEED = 1;

export const MAX_RELAYS = 4;

/** The attributes that Postfix's XCLIENT and XFORWARD have. */
const blank = (names: string): Record<string, string> => Object.fromEntries(names.split(" ").map((n) => [n, ""]));
/** What the engine takes for an option that a plan leaves out. */
const OPTIONS: Options = {
  size: true, body: "", pipelining: false, chunking: false, smtputf8: false, requiretls: false, protocol: "smtp",
  dsn: { notify: [], ret: "", envid: "" }, deliverby: "", priority: 0, hold: "", rset: false, rrvs: "",
  xclient: blank("NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"), xforward: blank("NAME ADDR PORT PROTO HELO IDENT SOURCE"),
};

/** The verbs of the commands that may come first. */
export const COMMANDS = ["VRFY", "EXPN", "HELP", "NOOP", "ETRN", "RSET"];

export const NO_FIELDS: Fields = { from: "", to: "", cc: "", subject: "", text: "", html: "", attachments: [] };

/** The account at the lab's submission server, which is in nobody's hands but the reader's. */
export const LAB_ACCOUNT = { username: "ada", password: "enchantress" };

const DEFAULT_PORT: Record<Security, number> = { none: 25, starttls: 587, tls: 465 };
const LMTP_PORT = 24;

/** The port where none is said. Those who send to a domain are mail servers themselves. */
function usualPort(security: Security, lmtp: boolean, domain: boolean): number {
  return lmtp ? LMTP_PORT : domain && security !== "tls" ? 25 : DEFAULT_PORT[security];
}

/** From this size on, a text is a LongMessage: a text box of it would freeze the page. */
export const EDIT_LIMIT = 256 << 10;

export function defaultForm(now = new Date(), id = randomId()): Form {
  return {
    mode: "lab", address: "", security: "starttls",
    transactions: [{ from: "ada@example.org", to: ["grace@example.net"], way: "raw", text: defaultMessage(now, id), fields: NO_FIELDS }],
    signIn: {
      lab: { on: false, mechanism: "PLAIN", username: "", password: "" },
      practice: { on: true, mechanism: "PLAIN", username: "", password: "" },
      live: { on: false, mechanism: "", username: "", password: "" },
    },
    ehlo: "", serverName: "", ca: "", insecure: false, commands: "", options: OPTIONS,
    link: { ...WIRE, delay: "40ms" }, lab: LAB, seed: String(SEED),
  };
}

export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(6)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** A short message with the two header fields that RFC 5322, 3.6 requires. */
export function defaultMessage(now: Date, id: string): string {
  return [
    `Date: ${dateTime(now)}`,
    "From: Ada <ada@example.org>",
    "To: Grace <grace@example.net>",
    "Subject: Notes on the engine",
    `Message-ID: <${id}@example.org>`,
    "",
    "The engine weaves algebraic patterns",
    "just as the loom weaves flowers and leaves.",
    "",
  ].join("\n");
}

/** RFC 5322, 3.3. */
export function dateTime(d: Date): string {
  const pad = (n: number) => String(Math.abs(n)).padStart(2, "0"), east = -d.getTimezoneOffset();
  const day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][d.getDay()];
  const month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][d.getMonth()];
  const zone = `${east < 0 ? "-" : "+"}${pad(Math.trunc(east / 60))}${pad(east % 60)}`;
  return `${day}, ${d.getDate()} ${month} ${d.getFullYear()} ${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())} ${zone}`;
}

/** Octets of a text as RFC 1870 counts them: every line end is CR LF, the last one included. */
export function messageSize(text: string): number {
  const bytes = new TextEncoder().encode(text);
  let n = bytes.length;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === 0x0a && bytes[i - 1] !== 0x0d) n++;
    else if (bytes[i] === 0x0d && bytes[i + 1] !== 0x0a) n++;
  }
  const last = bytes.at(-1);
  return n > 0 && last !== 0x0a && last !== 0x0d ? n + 2 : n;
}

export interface Address {
  host: string;
  /** Undefined where none was typed. */
  port: number | undefined;
  /** The host is a domain, and its mail servers are meant. */
  domain: boolean;
}

/** Reads "example.net", "grace@example.net", "host:port", "[2001:db8::1]:25"; undefined when it is none of these. */
export function parseAddress(text: string): Address | undefined {
  const t = text.trim();
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+))(?::(\d{1,5}))?$/.exec(t);
  if (!m) return /^[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,}$/.test(t) ? { host: t, port: undefined, domain: false } : undefined;
  const port = m[3] === undefined ? undefined : Number(m[3]);
  if (port !== undefined && (port < 1 || port > 65535)) return undefined;
  const name = m[2] ?? "", at = name.includes("@"), domain = at || port === undefined ? ascii(name.replace(/.*@|\.$/g, "")) : "";
  if (/^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*$/.test(domain)) return { host: domain, port, domain: true };
  return at ? undefined : { host: m[1] ?? name, port, domain: false };
}

/** The form of a name that the DNS has; "" where it has none. */
function ascii(name: string): string {
  try {
    return new URL(`http://${name}`).hostname;
  } catch {
    return "";
  }
}

/** Datagrams are no stream that TLS could be in, and there is no sign-in over them. */
function datagrams(f: Form): boolean {
  return f.mode === "lab" && f.lab.transport === "udp";
}

/** What the form's choice comes to. */
export function securityOf(f: Form): Security {
  return datagrams(f) ? "none" : f.security;
}

/** The way that mail takes in the lab; datagrams go only as far as the first server. */
export function routeOf(f: Form): Route {
  return datagrams(f) ? "direct" : f.lab.route;
}

/** The lab's servers speak SMTP. */
export function protocolOf(f: Form): Options["protocol"] {
  return f.mode === "lab" ? "smtp" : f.options.protocol;
}

/** A submission server wants its users to sign in, an MX has none. */
export function withRoute(f: Form, route: Route): Partial<Form> {
  return { lab: { ...f.lab, route }, signIn: { ...f.signIn, lab: { ...f.signIn.lab, on: route !== "direct" } } };
}

/** The domain of an address in lower case, "" where it is none that the DNS could have. */
function domain(address: string): string {
  const at = address.lastIndexOf("@"), d = address.slice(at + 1).trim().toLowerCase();
  return at < 0 || d.startsWith("[") ? "" : d;
}

/** The domain that the lab's mail is for, as protocol/session finds it. */
function recipientDomain(f: Form): string {
  return f.transactions.flatMap((t) => t.to).map(domain).find(Boolean) ?? "example.net";
}

/** Host and port that a run would go to, as far as they are known; a domain stands for its mail servers. */
export function target(f: Form, config: Config | undefined): { host: string; port: number; domain?: boolean } {
  const security = securityOf(f), lmtp = protocolOf(f) === "lmtp", port = usualPort(security, lmtp, false);
  switch (f.mode) {
    case "lab":
      return routeOf(f) === "direct"
        ? { host: `mx.${recipientDomain(f)}`, port: security === "tls" ? port : 25 }
        : { host: `mail.${f.transactions.map((t) => domain(t.from)).find(Boolean) ?? "example.org"}`, port };
    case "practice": {
      const p = config?.practice;
      return { host: p?.host ?? "", port: !p ? port : lmtp ? p.ports.lmtp : { none: p.ports.smtp, starttls: p.ports.submission, tls: p.ports.submissions }[security] };
    }
    case "live": {
      const a = parseAddress(f.address);
      return { host: a?.host ?? "", port: a?.port ?? usualPort(security, lmtp, !!a?.domain), domain: !!a?.domain };
    }
  }
}

/** The practice server offers AUTH only inside TLS, and not in LMTP, so there its account is of no use. */
export function signsIn(f: Form): boolean {
  return f.signIn[f.mode].on && !(f.mode === "practice" && (f.security === "none" || protocolOf(f) === "lmtp")) && !datagrams(f);
}

/** The commands that come first, as a plan has them. */
function commandsOf(f: Form): string[] {
  return f.commands.split("\n").map((c) => c.trim()).filter(Boolean);
}

/** What keeps the form from being run, by the name of its field; empty when nothing does. */
export function problems(f: Form, config: Config | undefined): Partial<Record<"address" | "to" | "message" | "mode" | "commands" | "seed", string>> {
  const out: ReturnType<typeof problems> = {}, several = f.transactions.length > 1;
  const first = (wrong: (t: Transaction) => unknown): [number, string] => {
    const i = f.transactions.findIndex(wrong);
    return [i, several ? `Message ${i + 1}: ` : ""];
  };
  if (f.mode === "practice" && config && !config.practice) out.mode = "This proxy offers no practice server. Choose Lab or Live.";
  else if (f.mode === "practice" && protocolOf(f) === "lmtp" && f.security === "tls") out.mode = "The practice server has no implicit TLS for LMTP. Choose None or STARTTLS.";
  const to = parseAddress(f.address);
  if (f.mode === "live" && !f.address.trim()) out.address = "Name a domain, such as example.net, or a mail server, such as mx.example.net:25.";
  else if (f.mode === "live" && !to) out.address = "This is no domain, and no host and port. Write example.net, mx.example.net:25, or [2001:db8::1]:25.";
  else if (f.mode === "live" && to?.domain && config?.lookup === false) out.address = "This proxy does not ask the DNS for the mail servers of a domain. Name one and its port, such as mx.example.net:25.";
  const [lonely, of] = first((t) => !t.to.some((r) => r.trim())), [bad, its] = first((t) => t.problem);
  if (lonely >= 0) out.to = `${of}Name at least one recipient.`;
  if (bad >= 0) out.message = its + f.transactions[bad]!.problem!.text;
  const odd = commandsOf(f).find((c) => !COMMANDS.includes(c.split(" ")[0]!.toUpperCase()));
  if (odd) out.commands = `${odd} cannot come first: that can ${COMMANDS.slice(0, -1).join(", ")} and RSET.`;
  if (f.mode === "lab" && !/^\d{1,15}$/.test(f.seed.trim())) out.seed = "A seed is a whole number of at most 15 digits, such as 42.";
  return out;
}

/** What the client calls itself: the address literal (RFC 5321, 4.1.3) of its host, unless another name was typed. */
export function ehloOf(f: Form): string {
  return f.ehlo.trim() || (f.mode === "lab" ? "[192.0.2.10]" : "[127.0.0.1]");
}

/** What the plan says of the sign-in. An account that is known fills in what was not typed, where it has a password to prove it. */
function accountOf({ mechanism, username, password }: SignIn, known: { username: string; password: string } | null | undefined): NonNullable<Plan["auth"]> {
  const proof = proofOf(mechanism);
  if (proof !== "password") return { mechanism, username, password: proof ? password : "" };
  return { mechanism, username: username || known?.username || "", password: password || known?.password || "" };
}

/** What the plan says of the options: those that are not as the engine has them anyway. */
function optionsOf(f: Form): Partial<Options> {
  const said = (attributes: Record<string, string>) => (f.mode === "practice" ? Object.fromEntries(Object.entries(attributes).filter(([, v]) => v.trim())) : {});
  const o = { ...f.options, protocol: protocolOf(f) }, usual: Options = { ...OPTIONS, xclient: {}, xforward: {} };
  const all = Object.entries({ ...o, xclient: said(o.xclient), xforward: said(o.xforward) }) as [keyof Options, unknown][];
  return Object.fromEntries(all.filter(([k, v]) => JSON.stringify(v) !== JSON.stringify(usual[k])));
}

export function planOf(f: Form, config: Config | undefined, step: boolean): Plan {
  const practice = f.mode === "practice" ? config?.practice : undefined;
  const known = f.mode === "lab" ? LAB_ACCOUNT : practice, { host, port, domain } = target(f, config), route = routeOf(f), commands = commandsOf(f);
  return {
    // Directly, mail goes to a domain, and its MX is looked up (RFC 5321, 5.1).
    target: { mode: f.mode, host: f.mode === "lab" && route === "direct" ? recipientDomain(f) : domain ? "" : host, port, ...(domain && { domain: host }) },
    security: securityOf(f),
    tls: {
      serverName: f.serverName.trim(),
      ca: [...new Set([practice?.ca, f.ca])].filter((pem): pem is string => !!pem?.trim()),
      insecure: f.insecure,
    },
    ehlo: ehloOf(f),
    ...(signsIn(f) && { auth: accountOf(f.signIn[f.mode], known) }),
    ...(commands.length && { commands }),
    messages: f.transactions.map(({ from, to, text, file, alternatives }) => ({
      from: from.trim(), to: to.map((t) => t.trim()).filter(Boolean), data: file?.text ?? text.replace(/\r?\n/g, "\r\n"), // a text box has only LF
      ...(alternatives && { alternatives }),
    })),
    options: optionsOf(f),
    pace: { step, breakpoints: [] },
    ...(f.mode === "lab" && { link: f.link, lab: { ...f.lab, route }, seed: Number(f.seed) }),
  };
}

/**
 * A plan from elsewhere with what it cannot know: how this page's practice server
 * is trusted and signed in to. Everything else, also what is wrong with it, is the engine's to judge.
 */
export function completed(given: Partial<Plan>, own: Plan): Plan {
  const plan = { ...given, pace: { ...given.pace, step: own.pace.step || !!given.pace?.step } } as Plan;
  if (own.target.mode !== "practice") return plan;
  return { ...(own.auth && { auth: own.auth }), ...plan, tls: { ...plan.tls, ca: own.tls.ca } };
}

/** A plan from elsewhere put into the form; what it leaves out keeps its place. */
export function formOf(plan: PartialPlan, base: Form): Form {
  const { target: to, tls, auth, messages, link, lab, commands } = plan, mode = to?.mode && to.mode in base.signIn ? to.mode : base.mode;
  const whole = to?.mode === "lab"; // what it leaves out has the engine's default
  const o = plan.options, usual = to || o ? OPTIONS : base.options;
  return {
    ...base, mode,
    address: mode === "live" && to ? addressOf(to, usualPort(plan.security ?? base.security, o?.protocol === "lmtp", !!to.domain)) || base.address : base.address,
    security: plan.security ?? base.security,
    transactions: messages?.map((m, i) => transactionOf(m, base.transactions[i] ?? addition(base))) ?? base.transactions,
    ehlo: plan.ehlo ?? base.ehlo,
    serverName: tls?.serverName ?? base.serverName,
    ca: tls?.ca ? tls.ca.join("\n") : base.ca,
    insecure: tls?.insecure ?? base.insecure,
    commands: commands ? commands.join("\n") : to ? "" : base.commands,
    options: { ...filled(usual, o), dsn: filled(usual.dsn, o?.dsn), xclient: filled(usual.xclient, o?.xclient), xforward: filled(usual.xforward, o?.xforward) },
    link: filled(whole ? WIRE : base.link, link),
    lab: { ...filled(whole ? LAB : base.lab, lab), server: filled(whole ? WELL : base.lab.server, lab?.server) },
    seed: plan.seed !== undefined ? String(plan.seed) : whole ? String(SEED) : base.seed,
    signIn: { ...base.signIn, [mode]: auth
      ? { on: true, mechanism: auth.mechanism ?? "", username: auth.username ?? "", password: auth.password ?? "" }
      : { ...base.signIn[mode], on: mode === "practice" } }, // a plan cannot know the account of this page's practice server
  };
}

function transactionOf({ from, to, data, alternatives }: Partial<Plan["messages"][number]>, base: Transaction): Transaction {
  const t: Transaction = { ...base, from: from ?? base.from, to: to?.length ? [...to] : base.to };
  return data === undefined ? t : { ...t, way: "raw", ...withMessage(data, "message"), alternatives };
}

/** One more mail transaction: of the last one's envelope, with a message of its own. */
export function addition(f: Form): Transaction {
  const [fresh] = defaultForm().transactions, { from, to } = f.transactions.at(-1) ?? fresh!;
  return { ...fresh!, from, to };
}

/** The form with a change to one of its transactions. What was composed of the one before is of no use for the new one. */
export function withTransaction(f: Form, i: number, patch: Partial<Transaction>): Partial<Form> {
  return { transactions: f.transactions.map((t, j) => (j !== i ? t : t.way === "raw" ? { ...t, ...patch } : { ...t, text: "", file: undefined, alternatives: undefined, problem: undefined, ...patch })) };
}

/** Whether a message is still to be composed of its fields. */
export function uncomposed(f: Form): boolean {
  return f.transactions.some((t) => t.way === "fields" && !t.text && !t.file);
}

type PartialPlan = { [K in keyof Plan]?: DeepPartial<Plan[K]> };
type DeepPartial<T> = T extends string[] ? T : T extends (infer E)[] ? Partial<E>[] : T extends object ? { [K in keyof T]?: DeepPartial<T[K]> } : T;

/** The fields of one, with what the other has of them; a null of Go's is nothing. */
function filled<T extends object>(base: T, given: { [K in keyof T]?: unknown } | undefined): T {
  return Object.fromEntries(Object.entries(base).map(([k, v]) => [k, given?.[k as keyof T] ?? v])) as T;
}

/** A source for the form: a box for a short one, name and size for a long one. */
export function withMessage(source: string, name: string): Pick<Transaction, "text" | "file" | "alternatives"> {
  const short = source.length <= EDIT_LIMIT;
  return { text: short ? source.replaceAll("\r\n", "\n") : "", file: short ? undefined : { name, size: messageSize(source), text: source }, alternatives: undefined };
}

/** What is typed for a live target: behind an @ a domain may have a port, too. */
function addressOf({ host, domain, port }: Partial<Plan["target"]>, usual: number): string {
  if (domain) return port && port !== usual ? hostPort(`@${domain}`, port) : domain;
  return host ? hostPort(host, port || usual) : "";
}

export function hostPort(host: string, port: number | undefined): string {
  const h = host.includes(":") ? `[${host}]` : host;
  return port ? `${h}:${port}` : h;
}

/** What may be kept in the browser: no password or token, no long message, no attachment, nothing that is composed anew. */
export function keepable(f: Form): Form {
  const quiet = (s: SignIn) => ({ ...s, password: "" });
  const small = ({ from, to, way, text, fields }: Transaction): Transaction => ({ from, to, way, text: way === "raw" ? text : "", fields: { ...fields, attachments: [] } });
  return { ...f, transactions: f.transactions.map(small), signIn: { lab: quiet(f.signIn.lab), practice: quiet(f.signIn.practice), live: quiet(f.signIn.live) } };
}
