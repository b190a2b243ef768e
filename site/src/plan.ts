// The plan form as data, and the plan that follows from it.

export type RunMode = "practice" | "live";
export type Security = "none" | "starttls" | "tls";
export type Mechanism = "" | "PLAIN" | "LOGIN";

/** What protocol/session accepts, as far as this page asks for it. */
export interface Plan {
  target: { mode: RunMode; host: string; port: number };
  security: Security;
  tls: { serverName: string; ca: string[]; insecure: boolean };
  ehlo: string;
  auth?: { mechanism: Mechanism; username: string; password: string };
  messages: { from: string; to: string[]; data: string }[];
  pace: { step: boolean; breakpoints: string[] };
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
  password: string;
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
}

export const DEFAULT_PORT: Record<Security, number> = { none: 25, starttls: 587, tls: 465 };

/** From this size on, a text is a LongMessage: a text box of it would freeze the page. */
export const EDIT_LIMIT = 256 << 10;

export function defaultForm(now = new Date(), id = randomId()): Form {
  return {
    mode: "practice", address: "", security: "starttls",
    from: "ada@example.org", to: ["grace@example.net"],
    signIn: {
      practice: { on: true, mechanism: "PLAIN", username: "", password: "" },
      live: { on: false, mechanism: "", username: "", password: "" },
    },
    message: defaultMessage(now, id),
    ehlo: "[127.0.0.1]", serverName: "", ca: "", insecure: false,
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

export function portFor(mode: RunMode, security: Security, config: Config | undefined): number {
  const p = mode === "practice" ? config?.practice?.ports : undefined;
  return p ? { none: p.smtp, starttls: p.submission, tls: p.submissions }[security] : DEFAULT_PORT[security];
}

/** Host and port that a run would go to, as far as they are known. */
export function target(f: Form, config: Config | undefined): { host: string; port: number } {
  const port = portFor(f.mode, f.security, config);
  if (f.mode === "practice") return { host: config?.practice?.host ?? "", port };
  const a = parseAddress(f.address);
  return { host: a?.host ?? "", port: a?.port ?? port };
}

/** The practice server offers AUTH only inside TLS, so without TLS its account is of no use. */
export function signsIn(f: Form): boolean {
  return f.signIn[f.mode].on && !(f.mode === "practice" && f.security === "none");
}

/** What keeps the form from being run, by the name of its field; empty when nothing does. */
export function problems(f: Form, config: Config | undefined): Partial<Record<"address" | "to" | "from" | "mode", string>> {
  const out: ReturnType<typeof problems> = {};
  if (f.mode === "practice" && config && !config.practice) out.mode = "This proxy offers no practice server. Choose Live.";
  if (f.mode === "live" && !f.address.trim()) out.address = "Name a mail server, such as mx.example.net:25.";
  else if (f.mode === "live" && !parseAddress(f.address)) out.address = "This is no host and port. Write mx.example.net:25, or [2001:db8::1]:25.";
  if (!f.to.some((t) => t.trim())) out.to = "Name at least one recipient.";
  return out;
}

export function planOf(f: Form, config: Config | undefined, step: boolean): Plan {
  const { on: _, ...account } = f.signIn[f.mode], practice = f.mode === "practice" ? config?.practice : undefined;
  return {
    target: { mode: f.mode, ...target(f, config) },
    security: f.security,
    tls: {
      serverName: f.serverName.trim(),
      ca: [practice?.ca, f.ca].filter((pem): pem is string => !!pem?.trim()),
      insecure: f.insecure,
    },
    ehlo: f.ehlo.trim() || "[127.0.0.1]",
    ...(signsIn(f) && { auth: practice
      ? { ...account, username: account.username || practice.username, password: account.password || practice.password }
      : account }),
    messages: [{ from: f.from.trim(), to: f.to.map((t) => t.trim()).filter(Boolean), data: f.file?.text ?? f.message.replace(/\r?\n/g, "\r\n") }], // a text box has only LF
    pace: { step, breakpoints: [] },
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
  const { target: to, tls, auth, messages } = plan, mode = to?.mode === "live" ? "live" : to?.mode === "practice" ? "practice" : base.mode;
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
    signIn: { ...base.signIn, [mode]: auth
      ? { on: true, mechanism: auth.mechanism ?? "", username: auth.username ?? "", password: auth.password ?? "" }
      : { ...base.signIn[mode], on: mode === "practice" } }, // a plan cannot know the account of this page's practice server
  };
  if (data !== undefined) Object.assign(form, withMessage(data, "message"));
  return form;
}

type PartialPlan = { [K in keyof Plan]?: Plan[K] extends (infer E)[] ? Partial<E>[] : Plan[K] extends string ? Plan[K] : Partial<Plan[K]> };

/** The form's message fields for a text: a box for a short one, name and size for a long one. */
export function withMessage(text: string, name: string): { message: string; file: LongMessage | undefined } {
  if (text.length <= EDIT_LIMIT) return { message: text.replaceAll("\r\n", "\n"), file: undefined };
  return { message: "", file: { name, size: messageSize(text), text } };
}

export function hostPort(host: string, port: number | undefined): string {
  const h = host.includes(":") ? `[${host}]` : host;
  return port ? `${h}:${port}` : h;
}

/** What may be kept in the browser: no password, no long message. */
export function keepable(f: Form): Form {
  const quiet = (s: SignIn) => ({ ...s, password: "" });
  const { file: _, ...rest } = f;
  return { ...rest, signIn: { practice: quiet(f.signIn.practice), live: quiet(f.signIn.live) } };
}
