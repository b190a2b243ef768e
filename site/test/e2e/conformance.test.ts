// A dozen of the servers that put a client to the test, through the page: the engine in the browser comes to the verdict
// that the native one does, and says on the wire what the scripts want to hear.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test, type TestContext } from "node:test";
import { after as endAfter, closeBrowser, openPage, scratch, startProgram, within } from "./harness.ts";
import { Scope, type Saved } from "./scope.ts";

after(closeBrowser);

const WAIT = 20_000;

interface Case {
  group: number;
  name: string;
  port: number;
  plan: object;
  want: {
    outcome: string; phase?: string; error?: string; says?: string; reply?: number; permanent?: boolean;
    recipients?: string[]; message?: string; shows?: string; oddity?: string;
  };
  ready?: boolean;
}

interface Report {
  message: string;
  error?: string;
}

/** Starts the servers, and returns how to ask what one of them saw. */
async function startServers(t: TestContext): Promise<{ cases: Case[]; report(port: number): Promise<Report> }> {
  const program = join(scratch(t), "conformance");
  execFileSync("go", ["build", "-o", program, "./protocol/session/conformance/cmd"]);
  const child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
  const exit = once(child, "exit");
  endAfter(t, async () => {
    child.stdin.end();
    await within(WAIT, "the servers stop", exit);
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async <T>(what: string) => JSON.parse(String((await within(WAIT, what, lines.next())).value)) as T;
  const cases: Case[] = [];
  for (;;) {
    const c = await next<Case>("the servers start");
    if (c.ready) break;
    cases.push(c);
  }
  return {
    cases,
    report(port) {
      child.stdin.write(`report ${port}\n`);
      return next<Report>("a server reports");
    },
  };
}

function compare({ want }: Case, { result, events }: Saved, saw: Report): void {
  assert.equal(saw.error, undefined, "the server heard what it wants to hear");
  const shown = JSON.stringify(result);
  assert.equal(result.outcome, want.outcome, shown);
  assert.equal(result.error?.code, want.error, shown);
  assert.equal(result.permanent, want.permanent ?? false, shown);
  if (want.phase) assert.equal(result.phase, want.phase, shown);
  if (want.reply) assert.equal(result.reply?.code, want.reply, shown);
  if (want.says) assert.ok(result.error!.message.includes(want.says), shown);
  if (want.recipients) assert.deepEqual(result.messages.flatMap((m) => m.recipients.map((r) => r.outcome)), want.recipients);
  if (want.message !== undefined) assert.equal(saw.message, want.message);
  if (want.shows) assert.ok(events.some((e) => e.text?.includes(want.shows!)), `shows ${want.shows}`);
  if (want.oddity) assert.ok(events.some((e) => (e.data?.["oddities"] as string[] | undefined)?.includes(want.oddity!)), `remarks upon ${want.oddity}`);
}

test("servers that put a client to the test", async (t) => {
  const { cases, report } = await startServers(t);
  assert.ok(cases.length >= 12);
  const program = await startProgram(t, "--allow", `127.0.0.1:${cases.map((c) => c.port).join(",")}`);
  const page = await openPage(t, program.url);
  const scope = new Scope(page);
  for (const c of cases) {
    await t.test(`${c.group} ${c.name}`, async () => {
      const saved = await scope.runPlan(c.plan);
      compare(c, saved, await report(c.port));
      const verdict = await scope.verdict();
      assert.ok(!/[\u0000-\u0008\u000b-\u001f\u007f]/.test(verdict), "no control octet is shown raw");
      assert.equal(await page.locator("scope-ladder b", { hasText: "gone" }).count(), 0, "a server's text is text, never markup");
    });
  }
});
