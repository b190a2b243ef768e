// The plan form as data, and the plan that follows from it.

export type RunMode = "lab" | "practice" | "live";
export type Security = "none" | "starttls" | "tls";
/** As protocol/sasl knows them; "" is the best that is offered. */
export type Mechanism = "" | "PLAIN" | "LOGIN" | "CRAM-MD5" | "XOAUTH2" | "OAUTHBEARER" | "EXTERNAL" | "ANONYMOUS";
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

/** What protocol/session accepts, as far as this page asks for it. */
export interface Plan {
  target: { mode: RunMode; host: string; port: number };
  security: Security;
  tls: { serverName: string; ca: string[]; insecure: boolean };
  ehlo: string;
  auth?: { mechanism: Mechanism; username: string; password: string };
  messages: { from: string; to: string[]; data: string }[];
  options: { pipelining: boolean; chunking: boolean; smtputf8: boolean };
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
    ports: { smtp: number; submission: number; submissions: number };
    username: string;
    password: string;
    ca: string;
  } | null;
  live: { public: boolean; allow: string[] | null };
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

export interface Form {
  mode: RunMode;
  /** Live target as typed: host, host:port or [address]:port. */
  address: string;
  security: Security;
  from: string;
  to: string[];
  signIn: Record<RunMode, SignIn>;
  message: string;
  file?: LongMessage;
  ehlo: string;
  serverName: string;
  ca: string;
  insecure: boolean;
  /** Extensions to use where the server offers them. */
  pipelining: boolean;
  chunking: boolean;
  smtputf8: boolean;
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

/** The account at the lab's submission server, which is in nobody's hands but the reader's. */
export const LAB_ACCOUNT = { username: "ada", password: "enchantress" };

const DEFAULT_PORT: Record<Security, number> = { none: 25, starttls: 587, tls: 465 };

/** From this size on, a text is a LongMessage: a text box of it would freeze the page. */
export const EDIT_LIMIT = 256 << 10;

export function defaultForm(now = new Date(), id = randomId()): Form {
  return {
    mode: "lab", address: "", security: "starttls",
    from: "ada@example.org", to: ["grace@example.net"],
    signIn: {
      lab: { on: false, mechanism: "PLAIN", username: "", password: "" },
      practice: { on: true, mechanism: "PLAIN", username: "", password: "" },
      live: { on: false, mechanism: "", username: "", password: "" },
    },
    message: defaultMessage(now, id),
    ehlo: "", serverName: "", ca: "", insecure: false, pipelining: false, chunking: false, smtputf8: false,
    link: { ...WIRE, delay: "40ms" }, lab: LAB, seed: String(SEED),
  };
}

function randomId(): string {
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
}

/** Reads "host", "host:port", "[2001:db8::1]:25"; undefined when it is none of these. */
export function parseAddress(text: string): Address | undefined {
  const t = text.trim();
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+))(?::(\d{1,5}))?$/.exec(t);
  if (!m) return /^[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,}$/.test(t) ? { host: t, port: undefined } : undefined;
  const port = m[3] === undefined ? undefined : Number(m[3]);
  if (port !== undefined && (port < 1 || port > 65535)) return undefined;
  return { host: (m[1] ?? m[2])!, port };
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
  return f.to.map(domain).find(Boolean) ?? "example.net";
}

/** Host and port that a run would go to, as far as they are known. */
export function target(f: Form, config: Config | undefined): { host: string; port: number } {
  const security = securityOf(f), port = DEFAULT_PORT[security];
  switch (f.mode) {
    case "lab":
      return routeOf(f) === "direct"
        ? { host: `mx.${recipientDomain(f)}`, port: security === "tls" ? port : 25 }
        : { host: `mail.${domain(f.from) || "example.org"}`, port };
    case "practice": {
      const p = config?.practice;
      return { host: p?.host ?? "", port: p ? { none: p.ports.smtp, starttls: p.ports.submission, tls: p.ports.submissions }[security] : port };
    }
    case "live": {
      const a = parseAddress(f.address);
      return { host: a?.host ?? "", port: a?.port ?? port };
    }
  }
}

/** The practice server offers AUTH only inside TLS, so without TLS its account is of no use. */
export function signsIn(f: Form): boolean {
  return f.signIn[f.mode].on && !(f.mode === "practice" && f.security === "none") && !datagrams(f);
}

/** What keeps the form from being run, by the name of its field; empty when nothing does. */
export function problems(f: Form, config: Config | undefined): Partial<Record<"address" | "to" | "from" | "mode" | "seed", string>> {
  const out: ReturnType<typeof problems> = {};
  if (f.mode === "practice" && config && !config.practice) out.mode = "This proxy offers no practice server. Choose Lab or Live.";
  if (f.mode === "live" && !f.address.trim()) out.address = "Name a mail server, such as mx.example.net:25.";
  else if (f.mode === "live" && !parseAddress(f.address)) out.address = "This is no host and port. Write mx.example.net:25, or [2001:db8::1]:25.";
  if (!f.to.some((t) => t.trim())) out.to = "Name at least one recipient.";
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

export function planOf(f: Form, config: Config | undefined, step: boolean): Plan {
  const practice = f.mode === "practice" ? config?.practice : undefined;
  const known = f.mode === "lab" ? LAB_ACCOUNT : practice, { host, port } = target(f, config), route = routeOf(f);
  return {
    // Directly, mail goes to a domain, and its MX is looked up (RFC 5321, 5.1).
    target: { mode: f.mode, host: f.mode === "lab" && route === "direct" ? recipientDomain(f) : host, port },
    security: securityOf(f),
    tls: {
      serverName: f.serverName.trim(),
      ca: [practice?.ca, f.ca].filter((pem): pem is string => !!pem?.trim()),
      insecure: f.insecure,
    },
    ehlo: ehloOf(f),
    ...(signsIn(f) && { auth: accountOf(f.signIn[f.mode], known) }),
    messages: [{ from: f.from.trim(), to: f.to.map((t) => t.trim()).filter(Boolean), data: f.file?.text ?? f.message.replace(/\r?\n/g, "\r\n") }], // a text box has only LF
    options: { pipelining: f.pipelining, chunking: f.chunking, smtputf8: f.smtputf8 },
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
  const { target: to, tls, auth, messages, link, lab } = plan, mode = to?.mode && to.mode in base.signIn ? to.mode : base.mode;
  const whole = to?.mode === "lab"; // what it leaves out has the engine's default
  const [message] = messages ?? [], data = message?.data;
  const form: Form = {
    ...base, mode,
    address: mode === "live" && to?.host ? hostPort(to.host, to.port) : base.address,
    security: plan.security ?? base.security,
    from: message?.from ?? base.from,
    to: message?.to?.length ? [...message.to] : base.to,
    ehlo: plan.ehlo ?? base.ehlo,
    serverName: tls?.serverName ?? base.serverName,
    ca: tls?.ca ? tls.ca.join("\n") : base.ca,
    insecure: tls?.insecure ?? base.insecure,
    pipelining: plan.options?.pipelining ?? base.pipelining,
    chunking: plan.options?.chunking ?? base.chunking,
    smtputf8: plan.options?.smtputf8 ?? base.smtputf8,
    link: filled(whole ? WIRE : base.link, link),
    lab: { ...filled(whole ? LAB : base.lab, lab), server: filled(whole ? WELL : base.lab.server, lab?.server) },
    seed: plan.seed !== undefined ? String(plan.seed) : whole ? String(SEED) : base.seed,
    signIn: { ...base.signIn, [mode]: auth
      ? { on: true, mechanism: auth.mechanism ?? "", username: auth.username ?? "", password: auth.password ?? "" }
      : { ...base.signIn[mode], on: mode === "practice" } }, // a plan cannot know the account of this page's practice server
  };
  if (data !== undefined) Object.assign(form, withMessage(data, "message"));
  return form;
}

type PartialPlan = { [K in keyof Plan]?: DeepPartial<Plan[K]> };
type DeepPartial<T> = T extends string[] ? T : T extends (infer E)[] ? Partial<E>[] : T extends object ? { [K in keyof T]?: DeepPartial<T[K]> } : T;

/** The fields of one, with what the other has of them; a null of Go's is nothing. */
function filled<T extends object>(base: T, given: { [K in keyof T]?: unknown } | undefined): T {
  return Object.fromEntries(Object.entries(base).map(([k, v]) => [k, given?.[k as keyof T] ?? v])) as T;
}

/** The form's message fields for a text: a box for a short one, name and size for a long one. */
export function withMessage(text: string, name: string): { message: string; file: LongMessage | undefined } {
  if (text.length <= EDIT_LIMIT) return { message: text.replaceAll("\r\n", "\n"), file: undefined };
  return { message: "", file: { name, size: messageSize(text), text } };
}

export function hostPort(host: string, port: number | undefined): string {
  const h = host.includes(":") ? `[${host}]` : host;
  return port ? `${h}:${port}` : h;
}

/** What may be kept in the browser: no password or token, no long message. */
export function keepable(f: Form): Form {
  const quiet = (s: SignIn) => ({ ...s, password: "" });
  const { file: _, ...rest } = f;
  return { ...rest, signIn: { lab: quiet(f.signIn.lab), practice: quiet(f.signIn.practice), live: quiet(f.signIn.live) } };
}
