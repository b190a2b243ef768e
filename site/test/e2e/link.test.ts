// The whole program over links whose round trip is known: page, tunnel, the kernel's TCP, a mail server in another
// network namespace. What a session costs, and what the page says of its TCP, must be what the link does.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { closeBrowser, openPage, startProgram, within } from "./harness.ts";
import { Scope, type Saved } from "./scope.ts";

const MS = 1e6;
/** The exit code of bin/linktest where the system makes no such network. */
const UNAVAILABLE = 69;
/** How the tests call the links. */
const NONE = 0, NEAR = 1, FAR = 2, LOST_COMMAND = 3, LOST_SYN = 4;
const LINKS = [{ delay: 0 }, { delay: 20 }, { delay: 50, mtu: 1400 }, { delay: 20, loseUp: 2 }, { delay: 20, loseSYN: true }];

interface Network {
  hosts: string[];
  serverName: string;
  ca: string;
}

interface Options {
  pipelining?: boolean;
  ca?: string;
  serverName?: string;
}

function plan(host: string, o: Options): unknown {
  return {
    target: { mode: "live", host, port: 25 }, security: o.ca ? "starttls" : "none",
    ...(o.ca && { tls: { serverName: o.serverName, ca: [o.ca] } }),
    messages: [{ from: "ada@example.org", to: ["grace@example.net"], data: "Subject: x\r\n\r\nHello.\r\n" }],
    options: { pipelining: o.pipelining ?? false },
  };
}

type Sample = Partial<Record<"rtt" | "minRTT" | "rto" | "cwnd" | "mss" | "retransmits", number>>;

/** What was measured before an event. */
const samples = (s: Saved, before = Infinity): Sample[] => s.events.filter((e) => e.kind === "sample" && e.n < before).map((e) => e.data as Sample);
const connect = (s: Saved): number => s.events.find((e) => e.kind === "opened")!.data!["connect"] as number;

/** By how much a timer of the kernel, which counts in ticks, may be early, and a busy machine late: the next retransmission is far off. */
const SLACK = 10 * MS, NOISE = 300 * MS;

const ms = (ns: number): string => `${(ns / MS).toFixed(1)} ms`;
/** The round trip of a link. */
const R = (link: number): number => 2 * LINKS[link]!.delay * MS;

/** Says a figure where the first process finds it. */
const say = (text: string): void => console.log(`measured: ${text}`);

function between(low: number, value: number, high: number, what: string): void {
  assert.ok(value >= low && value <= high, `${what}: ${ms(value)}, not from ${ms(low)} to ${ms(high)}`);
}

/** What every session over a link shows, however busy the machine is. */
function agrees(s: Saved, link: number, trips: number): void {
  const r = R(link);
  assert.equal(s.result.outcome, "accepted", JSON.stringify(s.result.error));
  assert.equal(s.result.roundTrips, trips);
  assert.ok(s.result.elapsed >= trips * r, "no session is faster than its link");
  assert.ok(connect(s) >= r, "nor is a connection");
  assert.ok(samples(s).length > 0, "one comes with the connection");
  for (const m of samples(s)) {
    assert.ok(m.minRTT! >= r && m.rtt! >= r, "nor a round trip");
    assert.equal(m.mss, (LINKS[link]!.mtu ?? 1500) - 20 - 20 - 12, "what the headers of IP and TCP and its timestamps leave");
    assert.ok(m.cwnd! >= 1 && m.rto! > m.rtt!, JSON.stringify(m));
  }
}

/** What of a session is not as a link makes it that loses nothing; here is what such a session takes without a delay. */
function late(s: Saved, link: number, trips: number, here: number): Map<string, string> {
  const r = R(link), last = samples(s).at(-1)!;
  const out = new Map<string, string>(([
    ["the session", s.result.elapsed, trips * r * 1.05 + here], ["the connection", connect(s), r * 1.05 + 2 * MS],
    ["minRTT", last.minRTT!, r * 1.05 + 2 * MS], ["rtt", last.rtt!, r * 1.05 + 2 * MS],
  ] as const).filter(([, took, most]) => took > most).map(([what, took, most]) => [what, `${ms(took)}, more than ${ms(most)}`]));
  if (last.retransmits) out.set("retransmits", `${last.retransmits}, where nothing is lost`);
  if (last.cwnd! < 10) out.set("cwnd", `${last.cwnd}, and it was 10 at first (RFC 6928)`);
  return out;
}

/** A busy machine makes everything longer, and timers end: each thing has to be as the link makes it in one of so many sessions. */
const TRIES = 10;

/** The same for a session over a link that loses a segment of each. */
async function tried(what: () => Promise<void>): Promise<void> {
  for (let i = 1; ; i++) {
    try {
      return await what();
    } catch (e) {
      if (i === TRIES / 2) throw e;
    }
  }
}

async function inside(t: TestContext, { hosts, serverName, ca }: Network): Promise<void> {
  const program = await startProgram(t, ...hosts.flatMap((h) => ["--allow", `${h}:25`]));
  const scope = new Scope(await openPage(t, program.url));
  const session = async (link: number, o: Options, trips: number): Promise<Saved> => {
    const s = await scope.runPlan(plan(hosts[link]!, o));
    agrees(s, link, trips);
    return s;
  };

  for (const [name, link, o, trips] of [
    ["command by command", NEAR, {}, 8], // SYN, greeting, EHLO, MAIL, RCPT, DATA, the message, QUIT
    ["with PIPELINING", NEAR, { pipelining: true }, 6],
    ["command by command", FAR, {}, 8],
    ["with PIPELINING", FAR, { pipelining: true }, 6],
    ["with PIPELINING and STARTTLS", FAR, { pipelining: true, ca, serverName }, 9], // STARTTLS, the handshake, EHLO again
  ] as const) {
    const what = `${name}, ${trips} times ${ms(R(link))}`;
    await t.test(what, async () => {
      await session(NONE, o, trips); // what runs for the first time takes longer
      let slow: Map<string, string> | undefined;
      for (let i = 1; i <= TRIES && slow?.size !== 0; i++) {
        const here = (await session(NONE, o, trips)).result.elapsed, s = await session(link, o, trips), last = samples(s).at(-1)!;
        const again = late(s, link, trips, here);
        slow = slow ? new Map([...slow].filter(([what]) => again.has(what))) : again;
        say(`${what}: ${ms(s.result.elapsed)}, without a delay ${ms(here)}; connection ${ms(connect(s))}, rtt ${ms(last.rtt!)}, minRTT ${ms(last.minRTT!)}`);
      }
      assert.deepEqual([...slow!], []);
    });
  }

  await t.test("a SYN that was lost is told from a long round trip", () => tried(async () => {
    const s = await session(LOST_SYN, {}, 8), r = R(LOST_SYN), [first] = samples(s);
    say(`SYN is lost: connection ${ms(connect(s))}, rtt ${ms(first!.rtt!)}`);
    between(1000 * MS + r - SLACK, connect(s), 1000 * MS + r + NOISE, "the connection: a second (RFC 6298, 2.1), and a round trip");
    between(r, first!.rtt!, r + NOISE, "rtt");
    assert.equal(first!.retransmits, 1);
    const words = /its SYN was sent twice; the round trip is \d+(\.\d)? ms/;
    await scope.page.locator("scope-ladder .row", { hasText: words }).waitFor();
    const text = await scope.element.evaluate(async (e) => (await (e as HTMLElement & { export(format: string): Promise<Blob> }).export("text")).text());
    assert.match(text, words, "and so does the transcript");
  }));

  await t.test("a command that was lost and sent again", () => tried(async () => {
    const s = await session(LOST_COMMAND, {}, 8), r = R(LOST_COMMAND);
    const mail = s.events.find((e) => e.text?.startsWith("MAIL"))!, reply = s.events.find((e) => e.kind === "reply" && e.n > mail.n)!;
    const before = samples(s, mail.n).at(-1)!, last = samples(s).at(-1)!;
    say(`MAIL is lost: answered after ${ms(reply.t - mail.t)}, the timer was ${ms(before.rto!)}`);
    assert.equal(before.retransmits ?? 0, 0);
    assert.equal(last.retransmits, 1);
    between(before.rto! + r - SLACK, reply.t - mail.t, before.rto! + r + NOISE, "the reply to MAIL: its timer (RFC 6298), and a round trip");
    between(r, last.minRTT!, r + NOISE, "minRTT");
    await scope.page.getByRole("radio", { name: "Windows", exact: true }).check({ force: true });
    await scope.page.locator("scope-chart").getByText("1 segment was sent again.").waitFor();
  }));
}

/** The tests of this file run in a second process, which is in the network that bin/linktest makes. */
const network = process.env["LINKS"] && JSON.parse(process.env["LINKS"]) as Network;
if (network) {
  after(closeBrowser);
  test("inside", (t) => inside(t, network));
} else test("sessions over links with a known round trip", async (t) => {
  const path = join(process.cwd(), "bin/linktest");
  if (!existsSync(path)) throw new Error("bin/linktest is missing: run make test-e2e");
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(path, [JSON.stringify(LINKS), process.execPath, "--enable-source-maps", "--test-reporter=tap", fileURLToPath(import.meta.url)], { env, stdio: ["ignore", "pipe", "pipe"] });
  let out = "", log = "";
  child.stdout.on("data", (b: Buffer) => (out += b));
  child.stderr.on("data", (b: Buffer) => (log += b));
  t.after(() => child.kill());
  const [code] = await within(90_000, "the tests inside", once(child, "close"));
  if (code === UNAVAILABLE) return t.skip(`NOT RUN: ${log.trim()}`);
  for (const [figures] of out.matchAll(/measured: .*/g)) t.diagnostic(figures);
  assert.equal(code, 0, out + log);
  assert.match(out, /^# pass 8$/m, out); // seven, and what they are inside of
});
