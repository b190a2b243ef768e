// A newcomer: opens the page and presses Run.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { closeBrowser, openPage, startProgram } from "./harness.ts";
import { Scope, shadowText } from "./scope.ts";

after(closeBrowser);

test("one press of Run sends a message and shows every step", async (t) => {
  const program = await startProgram(t);
  const wasm: string[] = [], roots: string[] = [];
  const page = await openPage(t, "about:blank");
  page.on("request", (r) => r.url().endsWith(".wasm") && wasm.push(r.url()));
  page.on("request", (r) => r.url().endsWith(".der") && roots.push(r.url()));
  await page.goto(program.url);
  const scope = new Scope(page);
  await scope.target("Practice", "STARTTLS");
  assert.deepEqual(wasm, [], "nothing heavy is loaded before the first run");

  const { events, result } = await scope.run();
  assert.equal(result.outcome, "accepted");
  assert.equal(result.phase, "quit");
  assert.match(result.messages[0]!.queueID!, /^[a-z2-7]{26}$/);
  assert.equal(wasm.length, 1);
  assert.deepEqual(roots, [], "no public authority vouches for the practice server");

  const story = events.filter((e) => !["record", "start", "decrypted", "sample"].includes(e.kind)).map((e) => `${e.layer}/${e.kind} ${(e.text ?? "").split(" ")[0]}`);
  assert.deepEqual(story, [
    "tunnel/dialing connecting", "tunnel/opened connected",
    "smtp/reply 220", "smtp/command EHLO", "smtp/reply 250-Hello", "smtp/command STARTTLS", "smtp/reply 220",
    "tls/handshake TLS", "smtp/command EHLO", "smtp/reply 250-Hello", "smtp/command AUTH", "smtp/reply 235",
    "smtp/command MAIL", "smtp/reply 250", "smtp/command RCPT", "smtp/reply 250", "smtp/command DATA", "smtp/reply 354",
    "smtp/message message,", "smtp/reply 250", "smtp/command QUIT", "smtp/reply 221", "smtp/closed connection",
  ]);
  const opened = events.find((e) => e.kind === "opened")!;
  assert.equal(opened.src, "measured");
  assert.match(String(opened.data!["address"]), /^127\.0\.0\.1:\d+$/);
  assert.ok(Number(opened.data!["connect"]) > 0, "the proxy measured the connect time");
  const tls = events.find((e) => e.kind === "handshake")!.data as { version: string; suite: string; group: string; verified: boolean; chain: unknown[] };
  assert.equal(tls.version, "TLS 1.3");
  assert.equal(tls.verified, true);
  assert.ok(tls.suite && tls.group && tls.chain.length > 0);

  const rows = (await scope.rows()).join("\n");
  for (const part of ["127.0.0.1", "220 mail.practice.test", "EHLO [127.0.0.1]", "STARTTLS", "TLS 1.3", "AUTH PLAIN ••••••••", "MAIL FROM:<ada@example.org>"]) {
    assert.ok(rows.includes(part), `the ladder shows ${part}:\n${rows}`);
  }
  assert.ok(!rows.includes("AGFkYQ"), "the password is masked");
  assert.ok((await scope.verdict()).includes(result.messages[0]!.queueID!), "the verdict names the queue id");

  await scope.button(/what the server stored/i).click();
  const stored = await page.getByRole("dialog").innerText();
  assert.match(stored, /Return-Path: <ada@example\.org>/);
  assert.match(stored, /Received: from/);
  assert.match(stored, /Subject: Notes on the engine/);
});

test("a warm run takes less than a second", async (t) => {
  const program = await startProgram(t);
  const scope = new Scope(await openPage(t, program.url));
  await scope.target("Practice", "STARTTLS");
  await scope.run();
  const { result } = await scope.run();
  assert.ok(result.elapsed < 1e9, `${result.elapsed / 1e6} ms`);
});

test("None and implicit TLS", async (t) => {
  const program = await startProgram(t);
  const scope = new Scope(await openPage(t, program.url));
  await scope.target("Practice", "Implicit TLS");
  const sealed = await scope.run();
  assert.equal(sealed.result.outcome, "accepted");
  const kinds = sealed.events.map((e) => e.kind);
  assert.ok(kinds.indexOf("handshake") < kinds.indexOf("reply"), "TLS comes before the greeting");
  await scope.target("Practice", "None");
  const open = await scope.run();
  assert.equal(open.result.outcome, "accepted");
  assert.ok(!open.events.some((e) => e.layer === "tls"));
});

test("a row opens to its bytes", async (t) => {
  const program = await startProgram(t);
  const page = await openPage(t, program.url);
  const scope = new Scope(page);
  await scope.target("Practice", "STARTTLS");
  await scope.run();
  await page.locator("scope-ladder .row .say", { hasText: "RCPT TO:<grace@example.net>" }).click();
  const inspector = page.locator("scope-inspector");
  await inspector.getByText("forward-path").first().waitFor();
  const text = await shadowText(inspector);
  assert.match(text, /local-part\s+grace/);
  assert.match(text, /52 43 50 54 20 54 4f 3a/, "the bytes of RCPT TO:");
  assert.match(text, /RFC 5321/);
  assert.match(text, /17 03 03/, "the TLS record as it crossed the link");
});

test("Step shows what is pending, and it can be edited", async (t) => {
  const program = await startProgram(t);
  const page = await openPage(t, program.url);
  const scope = new Scope(page);
  await scope.target("Practice", "STARTTLS");
  const pending = page.getByLabel(/to be sent/);
  await scope.button("Step").click();
  for (const want of [/^EHLO/, /^STARTTLS/, /^EHLO/, /^AUTH PLAIN/, /^MAIL FROM:/, /^RCPT TO:<grace/]) {
    await scope.until("paused");
    await page.waitForFunction((source) => {
      const find = (root: ParentNode): boolean => [...root.querySelectorAll<HTMLElement>("*")].some((e) =>
        ((e instanceof HTMLInputElement || e instanceof HTMLTextAreaElement) && new RegExp(source).test(e.value)) || (e.shadowRoot !== null && find(e.shadowRoot)));
      return find(document);
    }, want.source.replace("AUTH PLAIN", "AUTH"));
    if (want.source.includes("RCPT")) break;
    await scope.button("Step").click();
  }
  await pending.first().fill("RCPT TO:<later@example.net>");
  await pending.first().press("Enter");
  await page.locator("scope-ladder .row .say", { hasText: "RCPT TO:<later@example.net>" }).waitFor();
  await scope.until("paused");
  await scope.button("Run").click();
  await scope.until("done");
  const { result } = await scope.saved();
  assert.equal(result.messages[0]!.recipients[0]!.to, "later@example.net");
  assert.equal(result.outcome, "rejected");
  assert.match(await scope.verdict(), /451/);
});

test("Pause stops before the next send, Run goes on", async (t) => {
  const program = await startProgram(t);
  const page = await openPage(t, program.url);
  const scope = new Scope(page);
  await scope.target("Practice", "STARTTLS");
  await scope.run(); // so that Go is loaded
  await page.keyboard.press("s");
  await scope.until("paused");
  await page.keyboard.press("s");
  await scope.until("paused");
  await page.keyboard.press("r");
  await scope.until("done");
  const { events, result } = await scope.saved();
  assert.equal(result.outcome, "accepted");
  assert.ok(events.filter((e) => e.kind === "pause").length >= 1);
});

test("a saved trace replays without the program's engine, and holds no password", async (t) => {
  const program = await startProgram(t);
  const page = await openPage(t, program.url);
  const scope = new Scope(page);
  await scope.target("Practice", "STARTTLS");
  const saved = await scope.run();
  const bytes = Object.values(saved.streams).map((s) => Buffer.from(typeof s === "string" ? s : "", "base64").toString("latin1")).join("");
  assert.ok(!bytes.includes(Buffer.from("\0ada\0engine").toString("base64")));
  assert.ok(!JSON.stringify(saved).includes("engine\""), "not in the plan either");

  const other = await openPage(t, program.url);
  let wasm = false;
  other.on("request", (r) => (wasm ||= r.url().endsWith(".wasm")));
  await other.locator("smtp-scope").evaluate((e, text) => {
    (e as HTMLElement & { trace: unknown }).trace = JSON.parse(text);
  }, JSON.stringify(saved));
  await other.locator("scope-ladder .row .say", { hasText: "MAIL FROM" }).first().waitFor();
  assert.equal(wasm, false);
});
