// An engineer with a question: what does the session say, what does it mean, what
// else could be sent, and how to take it home.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test, type TestContext } from "node:test";
import { violations } from "./axe.ts";
import { closeBrowser, openPage, startProgram } from "./harness.ts";
import { Scope, shadowText, type Saved } from "./scope.ts";

after(closeBrowser);

async function open(t: TestContext, o: { width?: number; height?: number } = {}): Promise<Scope> {
  const program = await startProgram(t), scope = new Scope(await openPage(t, program.url, { ...o, reducedMotion: true }));
  return scope;
}

/** A session whose trace says more than the practice server gives cause for. */
async function remarked(scope: Scope): Promise<Saved> {
  await scope.target("Practice", "STARTTLS");
  const saved = await scope.run(), said = (text: string) => saved.events.find((e) => e.text?.startsWith(text))!.n;
  saved.findings = [
    { id: "slow-reply", severity: "warn", text: "DATA was answered after 5.2 s.", events: [said("DATA"), said("354")] },
    { id: "no-size", severity: "note", text: "SIZE is not offered.", events: [said("250-Hello")] },
  ];
  await scope.element.evaluate((e, text) => void ((e as HTMLElement & { trace: unknown }).trace = JSON.parse(text)), JSON.stringify(saved));
  await scope.page.getByText("1 warning, 1 note").waitFor();
  return saved;
}

test("findings: from the verdict to the evidence, and back", async (t) => {
  const scope = await open(t), { page } = scope;
  await remarked(scope);
  await page.getByRole("button", { name: "1 warning, 1 note" }).click();
  const findings = page.locator("scope-findings"), text = await shadowText(findings);
  for (const part of [/Warning\s+Slow replies\s+DATA was answered after 5\.2 s/, /What to do/, /RFC 5321/, /Seen in row \d+: DATA, row \d+: 354/]) assert.match(text, part);
  assert.deepEqual(await violations(page), []);
  await findings.getByRole("button", { name: /^row \d+: 354/ }).click();
  const chosen = page.locator("scope-ladder .row.sel", { hasText: "354" });
  await chosen.waitFor();
  await scope.sees(chosen);
  assert.match(await chosen.innerText(), /warning: Slow replies/, "the row is marked, in words too");
  await page.locator("scope-inspector").getByRole("button", { name: "Slow replies" }).click();
  await findings.waitFor();
});

test("a session without anything to remark upon says so", async (t) => {
  const scope = await open(t), { page } = scope, saved = await scope.runPlan({ target: { mode: "practice" } });
  delete saved.findings;
  await scope.element.evaluate((e, text) => void ((e as HTMLElement & { trace: unknown }).trace = JSON.parse(text)), JSON.stringify(saved));
  await page.getByRole("radio", { name: /^Findings/ }).check({ force: true });
  await page.getByRole("heading", { name: "Nothing to remark upon" }).waitFor();
  assert.deepEqual(await violations(page), []);
});

test("what TLS encrypted of its handshake is opened, field by field and byte by byte", async (t) => {
  const scope = await open(t), { page } = scope;
  await scope.target("Practice", "STARTTLS");
  const saved = await scope.run();
  assert.ok(!JSON.stringify(saved).includes("HANDSHAKE_TRAFFIC_SECRET"), "the keys are no part of the trace");
  await scope.pick("TLS 1.3 handshake");
  await page.keyboard.press("ArrowRight");
  await page.locator("scope-ladder .under", { hasText: /server: certificate \d/ }).locator(".say").click();
  const inspector = page.locator("scope-inspector");
  await inspector.getByText("derived", { exact: true }).waitFor();
  // The keyboard goes through the fields, and their bytes light up; then through the bytes, and their field does.
  const fields = inspector.getByRole("grid", { name: "fields" }), lit = inspector.locator("pre.hex .hit"), field = inspector.locator("tr.hit");
  await fields.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assert.match(await field.innerText(), /0\s+msg_type\s+11 certificate/);
  assert.equal((await lit.first().innerText()).trim(), "0b");
  await inspector.locator("pre.hex").focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  assert.match(await field.innerText(), /1–3\s+length/);
  // So does the pointer, in both directions, and in the ciphertext.
  await scope.pick("MAIL FROM");
  await inspector.locator("tr", { hasText: "local-part" }).hover();
  assert.deepEqual((await lit.allInnerTexts()).map((x) => x.trim()).slice(0, 2), ["61 64 61", "ada"]);
  assert.ok((await lit.count()) >= 4, "its ciphertext lights up too");
  await inspector.locator("pre.hex").nth(1).locator("i[data-f='0']").first().click();
  assert.match(await field.first().innerText(), /verb\s+MAIL/);
  assert.deepEqual(await violations(page), []);
});

test("by hand: a line is completed, objected to, sent all the same, and recalled", async (t) => {
  const scope = await open(t), { page } = scope;
  await scope.target("Practice", "None");
  await scope.button("Type it by hand").click();
  await scope.until("paused");
  const line = page.getByRole("combobox", { name: "command to be sent" }), options = page.getByRole("option"), said = (text: string) => page.locator("scope-ladder .row .say", { hasText: text }).first().waitFor();
  await line.waitFor();
  assert.ok(await line.evaluate((e) => (e.getRootNode() as ShadowRoot).activeElement === e), "one can type at once");
  await page.keyboard.press("ArrowDown");
  await options.filter({ hasText: "EHLO [127.0.0.1]" }).waitFor();
  assert.deepEqual(await violations(page), [], "the suggestions are open");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.equal(await line.inputValue(), "EHLO [127.0.0.1]");
  await page.keyboard.press("Enter");
  await said("250-Hello");
  await page.keyboard.type("RCPT TO:<x@example.net>");
  await page.getByText("RCPT is not legal now").waitFor();
  await page.keyboard.press("Enter");
  await said("502");
  await page.keyboard.type("ma");
  await page.keyboard.press("Tab");
  assert.equal(await line.inputValue(), "MAIL FROM:<ada@example.org>");
  await page.keyboard.type(" bo");
  assert.deepEqual(await options.locator(".wire").allInnerTexts(), ["MAIL FROM:<ada@example.org> BODY=8BITMIME", "MAIL FROM:<ada@example.org> BODY=BINARYMIME"]);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await said("250 2.0.0 Roger");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowUp");
  assert.equal(await line.inputValue(), "RCPT TO:<x@example.net>");
  await page.keyboard.press("Enter");
  await said("I'll make sure");
  await line.fill("QUIT");
  await page.keyboard.press("Enter");
  await scope.until("done");
  const sent = (await scope.saved()).events.filter((e) => e.kind === "command").map((e) => e.text);
  assert.deepEqual(sent, ["EHLO [127.0.0.1]", "RCPT TO:<x@example.net>", "MAIL FROM:<ada@example.org> BODY=8BITMIME", "RCPT TO:<x@example.net>", "QUIT"]);
});

test("a session can be taken home in every form, without its secrets", async (t) => {
  const scope = await open(t), { page } = scope;
  await scope.target("Practice", "STARTTLS");
  await scope.run();
  const password = Buffer.from("\0ada\0engine").toString("base64");
  for (const [name, extension, holds] of [["The transcript", "txt", /C: MAIL FROM/], ["A report", "md", /^# /m], ["The ladder", "svg", /^<svg/], ["Packets", "pcapng", /^\n\r\r\n/]] as const) {
    await page.locator("summary", { hasText: "Save" }).click();
    const [download] = await Promise.all([page.waitForEvent("download"), scope.button(new RegExp(`^${name}`)).click()]);
    assert.ok(download.suggestedFilename().endsWith(`.${extension}`), download.suggestedFilename());
    const text = readFileSync(await download.path(), "latin1");
    assert.match(text, holds, name);
    assert.ok(!text.includes(password), `${name} keeps the password`);
  }
  await page.locator("summary", { hasText: "Save" }).click();
  await scope.button(/^As a command/).click();
  const dialog = page.getByRole("dialog", { name: "The same session by other means" }), command = dialog.locator("pre");
  for (const [tool, holds] of [["swaks", /swaks /], ["openssl", /s_client/], ["curl", /curl /], ["Python", /import smtplib/], ["Go", /package main/]] as const) {
    await dialog.getByRole("radio", { name: tool }).check({ force: true });
    await command.filter({ hasText: holds }).waitFor();
  }
  assert.deepEqual(await violations(page), []);
  const [download] = await Promise.all([page.waitForEvent("download"), dialog.getByRole("button", { name: "Download" }).click()]);
  assert.ok(download.suggestedFilename().endsWith(".go"));
  assert.equal(readFileSync(await download.path(), "utf8"), await command.evaluate((e) => e.textContent));
});

test("on a phone a row at the lower edge stays in sight when its sheet opens", async (t) => {
  const scope = await open(t, { width: 390, height: 844 }), { page } = scope;
  await scope.runPlan({ target: { mode: "lab" }, security: "starttls", seed: 5, messages: [{ from: "ada@example.org", to: ["grace@example.net"], data: "Subject: x\r\n\r\nx\r\n" }] });
  const ladder = (await page.locator("scope-ladder").boundingBox())!;
  await page.mouse.move(ladder.x + 150, ladder.y + 100);
  await page.mouse.wheel(0, -300);
  await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
  await page.mouse.click(ladder.x + 150, ladder.y + ladder.height - 40);
  await page.locator("scope-inspector").waitFor();
  assert.ok((await page.locator("scope-ladder").boundingBox())!.height < ladder.height, "the sheet takes room");
  await scope.sees(page.locator("scope-ladder .row.sel"));
});
