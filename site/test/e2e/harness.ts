// What the end-to-end tests share: the program, real mail servers, a real browser.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { TestContext } from "node:test";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";

/** Everything is started from the root of the repository, by `make test-e2e`. */
const root = process.cwd();
const WAIT = 20_000;

function start(program: string, args: string[]): ChildProcess {
  const path = join(root, program);
  if (!existsSync(path)) throw new Error(`${program} is missing: run make build`);
  return spawn(path, args, { cwd: root, stdio: ["pipe", "pipe", "pipe"] });
}

const cleanups = new WeakMap<TestContext, (() => unknown)[]>();

/** Does something after the test; what was begun last is ended first, so that no page outlives its program. */
export function after(t: TestContext, end: () => unknown): void {
  let stack = cleanups.get(t);
  if (!stack) {
    const all: (() => unknown)[] = [];
    cleanups.set(t, (stack = all));
    t.after(async () => {
      const errors: unknown[] = [];
      for (const f of all.reverse()) {
        try {
          await f();
        } catch (e) {
          errors.push(e);
        }
      }
      if (errors.length) throw errors[0];
    });
  }
  stack.push(end);
}

/** Fails when a promise is not kept in time, instead of waiting for ever. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export interface Program {
  url: string;
  log(): string;
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts bin/smtpscope on a port of its own and ends it with the test. */
export async function startProgram(t: TestContext, ...args: string[]): Promise<Program> {
  const child = start("bin/smtpscope", ["--listen", "127.0.0.1:0", ...args]);
  let log = "";
  child.stderr!.on("data", (b: Buffer) => (log += b));
  const exit = once(child, "exit");
  const line = await within(WAIT, "smtpscope starts", Promise.race([
    once(createInterface(child.stdout!), "line").then(([text]) => String(text)),
    exit.then(() => { throw new Error(`smtpscope ended at once: ${log}`); }),
  ]));
  const url = /http:\/\/\S+/.exec(line)?.[0];
  if (!url) throw new Error(`smtpscope did not say where it is: ${line}`);
  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    return (await within(WAIT, "smtpscope stops", exit))[0] as number | null;
  };
  after(t, () => stop("SIGKILL"));
  return { url, log: () => log, stop };
}

export interface MailServer {
  name: string;
  host: string;
  serverName: string;
  submissionPort: number;
  submissionsPort: number;
  ca: string;
  username: string;
  password: string;
  recipient: string;
  missing?: string;
}

export interface MailServers {
  get(name: string): MailServer;
  messages(name: string): Promise<Buffer[]>;
}

/** Starts real mail servers and ends them with the test. */
export async function startMailServers(t: TestContext, ...names: string[]): Promise<MailServers> {
  const child = start("bin/realservers", names);
  let log = "";
  child.stderr!.on("data", (b: Buffer) => (log += b));
  const lines = new Lines(createInterface(child.stdout!));
  const exit = once(child, "exit");
  after(t, async () => {
    child.stdin!.end();
    await within(WAIT, "the mail servers stop", exit);
  });
  const servers = new Map<string, MailServer>();
  for (;;) {
    const text = await within(2 * WAIT, "the mail servers start", Promise.race([
      lines.next(),
      exit.then(() => { throw new Error(`the mail servers ended: ${log}`); }),
    ]));
    const value = JSON.parse(text) as MailServer & { ready?: boolean };
    if (value.ready) break;
    servers.set(value.name, value);
  }
  return {
    get(name) {
      const s = servers.get(name);
      if (!s || s.missing) throw new Error(`${name} cannot run here: ${s?.missing ?? "it did not start"}`);
      return s;
    },
    async messages(name) {
      child.stdin!.write(`messages ${name}\n`);
      const answer = JSON.parse(await within(2 * WAIT, "the mailbox is read", lines.next())) as { messages?: string[]; error?: string };
      if (!answer.messages) throw new Error(`the mailbox of ${name} cannot be read: ${answer.error}`);
      return answer.messages.map((m) => Buffer.from(m, "base64"));
    },
  };
}

class Lines {
  #ready: string[] = [];
  #waiting: ((line: string) => void)[] = [];
  constructor(source: Interface) {
    source.on("line", (line) => {
      const w = this.#waiting.shift();
      if (w) w(line);
      else this.#ready.push(line);
    });
  }
  next(): Promise<string> {
    const line = this.#ready.shift();
    return line === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(line);
  }
}

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

let browser: Promise<Browser> | undefined;

/** One Chromium for all tests of a file; each test has a context of its own. */
export function theBrowser(): Promise<Browser> {
  const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) throw new Error(`no Chromium at ${executablePath}: install the package chromium, or set CHROMIUM`);
  return (browser ??= chromium.launch({ executablePath, args: FLAGS }));
}

export async function closeBrowser(): Promise<void> {
  await (await browser)?.close();
  browser = undefined;
}

export interface PageOptions {
  width?: number;
  height?: number;
  dark?: boolean;
  reducedMotion?: boolean;
  /** Errors on the console that this test causes on purpose. */
  expectedErrors?: RegExp;
}

/** Opens a page; the test fails when its console shows an error. */
export async function openPage(t: TestContext, url: string, o: PageOptions = {}): Promise<Page> {
  const context: BrowserContext = await (await theBrowser()).newContext({
    viewport: { width: o.width ?? 1440, height: o.height ?? 900 },
    colorScheme: o.dark ? "dark" : "light",
    reducedMotion: o.reducedMotion ? "reduce" : "no-preference",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  const errors: string[] = [];
  page.on("console", (m) => {
    if (m.type() === "error" && !o.expectedErrors?.test(m.text())) errors.push(m.text());
  });
  page.on("pageerror", (e) => errors.push(String(e)));
  after(t, async () => {
    await context.close();
    if (errors.length) throw new Error(`the console shows errors:\n${errors.join("\n")}`);
  });
  await page.goto(url);
  return page;
}

/** A folder that is gone after the test. */
export function scratch(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "smtpscope-e2e-"));
  after(t, () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
