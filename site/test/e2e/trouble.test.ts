// What can go wrong has a verdict, a row and words that say what to do, and the
// page goes on from there.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { after as endAfter, closeBrowser, openPage, scratch, startProgram } from "./harness.ts";
import { Scope } from "./scope.ts";

after(closeBrowser);

const message = { from: "ada@example.org", to: ["grace@example.net"], data: "Subject: x\r\n\r\nx\r\n" };

function plan(port: number, more: object = {}): object {
  return { target: { mode: "live", host: "localhost", port }, security: "none", messages: [message], ...more };
}

/** A server on loopback that does as it is told. */
async function listen(t: TestContext, serve: (s: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((s) => {
    sockets.add(s);
    s.on("error", () => {});
    serve(s);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  endAfter(t, () => {
    for (const s of sockets) s.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Answers each line in turn, then closes. */
function answers(...replies: string[]): (s: Socket) => void {
  return (s) => {
    const next = () => {
      const r = replies.shift();
      if (r === undefined) s.end();
      else s.write(r + "\r\n");
    };
    s.on("data", next);
    next();
  };
}

test("targets that cannot be reached", async (t) => {
  const port = await listen(t, () => {});
  const gone = createServer();
  await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
  const free = (gone.address() as AddressInfo).port;
  await new Promise((resolve) => gone.close(resolve));
  const program = await startProgram(t, "--allow", `localhost:${free}`, "--allow", "nowhere.invalid:25", "--allow", `*.example.org:${port}`);
  const scope = new Scope(await openPage(t, program.url));

  await scope.showsError(await scope.runPlan(plan(free)), "refused", /refused/);
  await scope.showsError(await scope.runPlan(plan(25, { target: { mode: "live", host: "nowhere.invalid", port: 25 } })), "name-not-found", "nowhere.invalid");
  const denied = await scope.runPlan(plan(port));
  await scope.showsError(denied, "denied", "--allow");
  assert.equal(denied.result.error!.rule, "port");
  const other = await scope.runPlan(plan(25, { target: { mode: "live", host: "169.254.169.254", port: 25 } }));
  assert.equal(other.result.error!.code, "denied");
  assert.ok(other.result.error!.rule);
  assert.ok((await scope.verdict()).includes(other.result.error!.rule), "the rule is named");
});

test("servers that misbehave", async (t) => {
  const cases: [string, (s: Socket) => void, object, string, string][] = [
    ["closes at once", (s) => s.end(), {}, "closed", "before its greeting"],
    ["closes at MAIL", answers("220 mx", "250 mx"), {}, "closed", "at MAIL"],
    ["last words", answers("220 mx", "421 4.3.2 shutting down"), {}, "rejected", "shutting down"],
    ["garbage for EHLO", answers("220 mx", "hello <b>you</b>\x1b[31m there"), {}, "protocol", "not an SMTP reply"],
    ["endless reply", (s) => { s.write("220 mx\r\n"); s.on("data", () => { const more = () => { while (s.writable && s.write("250-on and on\r\n".repeat(100))); s.once("drain", more); }; more(); }); }, {}, "protocol", "not an SMTP reply"],
    ["TLS bytes on a plain port", (s) => s.write(Buffer.from([0x15, 3, 3, 0, 2, 2, 0x46])), {}, "tls", "implicit TLS"],
    ["clear text on a TLS port", answers("220 mx ESMTP"), { security: "tls" }, "tls", "clear text"],
    ["no STARTTLS", answers("220 mx", "250 mx", "221 bye"), { security: "starttls" }, "unsupported", "does not offer STARTTLS"],
  ];
  for (const [name, serve, more, code, words] of cases) {
    await t.test(name, async (t) => {
      const port = await listen(t, serve);
      const program = await startProgram(t, "--allow", `localhost:${port}`, "--allow", `127.0.0.1:${port}`);
      const page = await openPage(t, program.url);
      const scope = new Scope(page);
      const saved = await scope.runPlan(plan(port, more));
      await scope.showsError(saved, code, words);
      assert.ok((await scope.rows()).length > 1, "what happened until then is kept and shown");
      assert.equal(await page.locator("scope-ladder b", { hasText: "you" }).count(), 0, "a server's text is text, never markup");
    });
  }
});

test("the proxy goes away in mid-session, and comes back", async (t) => {
  const program = await startProgram(t);
  const page = await openPage(t, program.url, { expectedErrors: /WebSocket|net::ERR/ });
  const scope = new Scope(page);
  await scope.target("Practice", "STARTTLS");
  await scope.button("Step").click();
  await scope.until("paused");
  await program.stop("SIGKILL");
  await scope.until("done");
  await scope.showsError(await scope.saved(), "closed", /tunnel/i);
  assert.ok((await scope.rows()).some((r) => r.includes("220 ")), "the greeting is still shown");
  await scope.button("Run").click();
  await scope.until("done");
  await scope.showsError(await scope.saved(), "closed", /smtpscope/i);
});

test("a proxy that is told to stop says so", async (t) => {
  const program = await startProgram(t, "--drain", "200ms");
  const scope = new Scope(await openPage(t, program.url));
  await scope.target("Practice", "STARTTLS");
  await scope.button("Step").click();
  await scope.until("paused");
  assert.equal(await program.stop("SIGTERM"), 0);
  await scope.until("done");
  await scope.showsError(await scope.saved(), "shutdown");
});

test("plans that cannot be run name what is wrong", async (t) => {
  const program = await startProgram(t);
  const scope = new Scope(await openPage(t, program.url));
  const to = (address: string) => ({ target: { mode: "practice" }, messages: [{ ...message, to: [address] }] });
  await scope.showsError(await scope.runPlan({ target: { mode: "practice", port: "587" } }), "bad-plan", "target.port", "whole number");
  await scope.showsError(await scope.runPlan({ target: { mode: "practice" }, colour: 1 }), "bad-plan", "colour", "unknown key");
  await scope.showsError(await scope.runPlan(to("a@example.net>\r\nRSET")), "bad-plan", "messages[0].to[0]");
  await scope.showsError(await scope.runPlan(to("a@example.net\n")), "bad-plan", "messages[0].to[0]");
  assert.equal((await scope.runPlan(to("a@example.net"))).result.outcome, "accepted", "and the next plan runs");
});

test("a message of 25 MB arrives", async (t) => {
  const program = await startProgram(t);
  const page = await openPage(t, program.url);
  const scope = new Scope(page);
  const line = "0123456789abcdef".repeat(60) + "\r\n";
  const data = "Subject: long\r\n\r\n" + line.repeat(Math.ceil((25 << 20) / line.length));
  const saved = await scope.runPlan({
    target: { mode: "practice" }, security: "none", messages: [{ ...message, data }],
  });
  assert.equal(saved.result.outcome, "accepted", JSON.stringify(saved.result.error));
  assert.ok(JSON.stringify(saved).length < 4 << 20, "the trace keeps head and tail");
  const stored = await (await fetch(new URL(`api/v1/practice/messages/${saved.result.messages[0]!.queueID}`, program.url))).text();
  assert.ok(stored.endsWith(data), "byte for byte");
});

test("a panic in the engine is shown with its text, and the page starts again", async (t) => {
  const dir = scratch(t), wasm = join(dir, "panic.wasm");
  execFileSync("go", ["build", "-o", wasm, "./wasm/bridge/testdata/panic"], { env: { ...process.env, GOOS: "js", GOARCH: "wasm" } });
  const program = await startProgram(t);
  const page = await openPage(t, program.url);
  await page.context().route(/live-.*\.wasm$/, (route) => route.fulfill({ body: readFileSync(wasm), contentType: "application/wasm" }));
  const scope = new Scope(page);
  await scope.target("Practice", "STARTTLS");
  await scope.button("Run").click();
  await scope.until("crashed");
  await page.getByText("the engine met a case that nobody thought of").first().waitFor();
  assert.equal((await scope.saved()).result.error!.code, "crashed");

  await page.context().unroute(/live-.*\.wasm$/);
  await scope.button(/start again/i).click();
  await scope.button("Run").click();
  await scope.until("done");
  assert.equal((await scope.saved()).result.outcome, "accepted");
});
