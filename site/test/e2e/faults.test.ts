// Whatever breaks around a session, the page says what it was, in time, and the next session is as good as any.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { after as endAfter, closeBrowser, openPage, scratch, startProgram, within } from "./harness.ts";
import { Scope, type Saved } from "./scope.ts";

after(closeBrowser);

/** What a session takes at most that nobody keeps waiting. */
const PROMPT = 6_000;

const message = { from: "ada@example.org", to: ["grace@example.net"], data: "Subject: x\r\n\r\nx\r\n" };
const practice = { target: { mode: "practice" }, security: "none", messages: [message] };

function live(port: number, more: object = {}): object {
  return { target: { mode: "live", host: "localhost", port }, security: "none", messages: [message], ...more };
}

/** A server on loopback that answers each line in turn, and resets the connection at the line for which it has no answer. */
async function resetting(t: TestContext, ...replies: string[]): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((s) => {
    const left = [...replies];
    let heard = "", inMessage = false;
    sockets.add(s);
    s.on("error", () => {});
    s.write(left.shift() + "\r\n");
    s.on("data", (b) => {
      heard += b.toString("latin1");
      for (let end = heard.indexOf("\r\n"); end >= 0; end = heard.indexOf("\r\n")) {
        const line = heard.slice(0, end);
        heard = heard.slice(end + 2);
        if (inMessage && line !== ".") continue;
        const reply = left.shift();
        if (reply === undefined) {
          s.resetAndDestroy();
          return;
        }
        inMessage = reply.startsWith("354");
        s.write(reply + "\r\n");
      }
      if (left.length === 0 && heard && !inMessage) s.resetAndDestroy(); // a handshake has no lines
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  endAfter(t, () => {
    for (const s of sockets) s.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test("a target that resets the connection", async (t) => {
  const hello = ["220 mx.example.net", "250-mx.example.net\r\n250 STARTTLS"], envelope = ["250 ok", "250 ok", "354 go"];
  const cases: [string, string[], object, string, string, RegExp][] = [
    ["at EHLO", hello.slice(0, 1), {}, "failed", "ehlo", /reset the connection/],
    ["in the handshake", [...hello, "220 go"], { security: "starttls" }, "failed", "tls", /reset the connection/],
    ["at RCPT", [...hello, "250 ok"], {}, "failed", "rcpt", /reset the connection/],
    ["after the final dot", [...hello, ...envelope], {}, "unknown", "message", /reset the connection[^]*look in the mailbox before sending it again/],
  ];
  const ports: number[] = [];
  for (const [, replies] of cases) ports.push(await resetting(t, ...replies));
  const program = await startProgram(t, ...ports.flatMap((p) => ["--allow", `localhost:${p}`, "--allow", `127.0.0.1:${p}`]));
  const scope = new Scope(await openPage(t, program.url));
  for (const [i, [name, , more, outcome, phase, words]] of cases.entries()) {
    await t.test(name, async () => {
      const saved = await within(PROMPT, "the session ends", scope.runPlan(live(ports[i]!, more)));
      assert.equal(saved.result.outcome, outcome, JSON.stringify(saved.result));
      assert.equal(saved.result.phase, phase);
      await scope.showsError(saved, "closed", words);
    });
  }
});

test("the proxy is killed while a long message is on its way, and started again", async (t) => {
  const program = await startProgram(t);
  const scope = new Scope(await openPage(t, program.url, { expectedErrors: /WebSocket|net::ERR/ }));
  const line = "0123456789abcdef".repeat(60) + "\r\n";
  const long = { ...practice, messages: [{ ...message, data: "Subject: long\r\n\r\n" + line.repeat(20_000) }] };
  const run = scope.runPlan(long);
  await scope.page.waitForFunction(() => {
    const e = document.querySelector("smtp-scope") as HTMLElement & { state: string; trace?: { events: { kind: string; text?: string }[] } };
    return e.state === "running" && e.trace?.events.some((v) => v.kind === "reply" && v.text?.startsWith("354"));
  });
  await program.stop("SIGKILL");
  await scope.showsError(await within(PROMPT, "the session ends", run), "closed", /tunnel/i, /smtpscope was stopped|lost/);

  await startProgram(t, "--listen", new URL(program.url).host);
  const next = await within(2 * PROMPT, "the next session ends", scope.runPlan(practice));
  assert.equal(next.result.outcome, "accepted", JSON.stringify(next.result.error));
});

// Each waits for a deadline of the proxy.
test("what the proxy needs fails it", { concurrency: true }, async (t) => {
  await Promise.all([
    t.test("a DNS server that does not answer", silentDNS),
    t.test("the accounts that proxies share are lost, and found again", lostAccounts),
  ]);
});

async function silentDNS(t: TestContext): Promise<void> {
  const deaf = createSocket("udp4");
  deaf.bind(0, "127.0.0.1");
  await once(deaf, "listening");
  endAfter(t, () => deaf.close());
  const program = await startProgram(t, "--resolver", `127.0.0.1:${deaf.address().port}`, "--allow", "mx.example.net:25");
  const scope = new Scope(await openPage(t, program.url));
  const saved = await within(12_000, "the look-up is given up", scope.runPlan({ ...practice, target: { mode: "live", host: "mx.example.net", port: 25 } }));
  await scope.showsError(saved, "timeout", "Looking up mx.example.net took too long: no DNS server answered.");
  assert.equal(saved.result.phase, "connect");
}

/** A NATS server with JetStream, whose accounts are in dir. */
async function startNATS(t: TestContext, program: string, dir: string, port: number): Promise<() => Promise<void>> {
  const child = spawn(program, ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", dir], { stdio: ["ignore", "ignore", "pipe"] });
  const exit = once(child, "exit");
  let log = "";
  await within(20_000, "NATS starts", new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (b: Buffer) => {
      log += b;
      if (log.includes("Server is ready")) resolve();
    });
    void exit.then(() => reject(new Error(`NATS ended: ${log}`)));
  }));
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await within(PROMPT, "NATS ends", exit);
  };
  endAfter(t, stop);
  return stop;
}

async function lostAccounts(t: TestContext): Promise<void> {
  const dir = scratch(t), nats = join(dir, "nats-server");
  await promisify(execFile)("go", ["build", "-o", nats, "github.com/nats-io/nats-server/v2"]);
  const free = createServer();
  free.listen(0, "127.0.0.1");
  await once(free, "listening");
  const port = (free.address() as AddressInfo).port;
  await new Promise((resolve) => free.close(resolve));
  const kill = await startNATS(t, nats, join(dir, "store"), port);
  const program = await startProgram(t, "--nats", `nats://127.0.0.1:${port}`, "--rate", "1000");
  const scope = new Scope(await openPage(t, program.url));
  const run = (): Promise<Saved> => within(2 * PROMPT, "a session ends", scope.runPlan(practice));
  assert.equal((await run()).result.outcome, "accepted");
  await kill();
  const refused = await run();
  await scope.showsError(refused, "too-many", "cannot keep account", /Try again in/);
  assert.equal(refused.result.error!.rule, "quota-store");
  assert.equal(refused.result.phase, "connect");
  await startNATS(t, nats, join(dir, "store"), port);
  await within(20_000, "the proxy finds the accounts again", (async () => {
    while ((await run()).result.outcome !== "accepted");
  })());
}
