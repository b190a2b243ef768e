// The page against a real Postfix: what is typed is what its maildir holds.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { closeBrowser, openPage, startMailServers, startProgram, type MailServer } from "./harness.ts";
import { Scope } from "./scope.ts";

after(closeBrowser);

const message = (subject: string) => [
  "From: Ada <ada@example.org>", "To: Grace <grace@example.net>", `Subject: ${subject}`,
  "Date: Sun, 22 Nov 2026 10:00:00 +0000", `Message-ID: <${subject}@example.org>`, "",
  "A first line.", ".", "..two dots", "  blanks at both ends  ", "", "the end without a line end",
].join("\n");

/** Fills in the form as an engineer would. */
async function fillIn(scope: Scope, server: MailServer, security: "STARTTLS" | "Implicit TLS", text: string): Promise<void> {
  const page = scope.page, port = security === "STARTTLS" ? server.submissionPort : server.submissionsPort;
  await scope.target("Live", security, `${server.host}:${port}`);
  await page.getByLabel("From", { exact: true }).fill(server.username);
  await page.getByLabel("To", { exact: true }).fill(server.recipient);
  await page.getByRole("combobox", { name: "How" }).selectOption("PLAIN");
  await page.getByLabel("User", { exact: true }).fill(server.username);
  await page.getByLabel("Password", { exact: true }).fill(server.password);
  await page.getByLabel("message", { exact: true }).fill(text);
  await page.getByLabel("TLS name").fill(server.serverName);
  const pem = page.getByLabel(/certificates of authorities/);
  if (!(await pem.isVisible())) await page.getByText(/authorit/i).first().click();
  await pem.fill(server.ca);
}

for (const security of ["STARTTLS", "Implicit TLS"] as const) {
  test(`a message to Postfix, ${security}, AUTH and a CA given in the plan`, async (t) => {
    const servers = await startMailServers(t, "postfix");
    const postfix = servers.get("postfix");
    const program = await startProgram(t, "--allow", `${postfix.host}:${postfix.submissionPort},${postfix.submissionsPort}`);
    const scope = new Scope(await openPage(t, program.url));
    const text = message(security.replace(" ", "-"));
    await fillIn(scope, postfix, security, text);
    const { result, events } = await scope.run();
    assert.equal(result.outcome, "accepted", JSON.stringify(result.error));
    assert.match(result.messages[0]!.queueID!, /^[0-9A-Za-z]{8,}$/);
    assert.ok(events.some((e) => e.kind === "handshake" && e.data!["verified"] === true));
    const stored = await servers.messages("postfix");
    assert.equal(stored.length, 1);
    assert.equal(stored[0]!.toString("latin1"), text.replaceAll("\n", "\r\n") + "\r\n");
    assert.ok(!program.log().includes(postfix.password), "the proxy's log has no password");
  });
}

test("Postfix with the wrong password, without the CA, and by another name", async (t) => {
  const servers = await startMailServers(t, "postfix");
  const postfix = servers.get("postfix");
  const program = await startProgram(t, "--allow", `${postfix.host}:${postfix.submissionPort}`);
  const scope = new Scope(await openPage(t, program.url));
  const page = scope.page, roots: string[] = [];
  page.on("request", (r) => r.url().endsWith(".der") && roots.push(r.url()));
  await fillIn(scope, postfix, "STARTTLS", message("wrong"));
  assert.deepEqual(roots, [], "they are not fetched before a session needs them");

  await page.getByLabel("Password", { exact: true }).fill("not-the-password");
  await scope.showsError(await scope.run(), "rejected", "535", "Check the user name");

  await page.getByLabel("Password", { exact: true }).fill(postfix.password);
  await page.getByLabel("TLS name").fill("other.example");
  await scope.showsError(await scope.run(), "tls", "not for other.example");

  await page.getByLabel("TLS name").fill(postfix.serverName);
  await page.getByLabel(/certificates of authorities/).fill("");
  await scope.showsError(await scope.run(), "tls", "not a trusted authority");
  assert.equal((await servers.messages("postfix")).length, 0);
  assert.equal(roots.length, 1, "sessions share what the first has fetched");
});

test("a run whose roots do not arrive says so, and the next one fetches them again", async (t) => {
  const servers = await startMailServers(t, "postfix");
  const postfix = servers.get("postfix");
  const program = await startProgram(t, "--allow", `${postfix.host}:${postfix.submissionPort}`);
  const scope = new Scope(await openPage(t, program.url, { expectedErrors: /ERR_FAILED/ }));
  await fillIn(scope, postfix, "STARTTLS", message("again"));
  let refused = 0;
  await scope.page.context().route("**/*.der", async (route) => {
    refused++;
    await route.abort();
  });
  await scope.showsError(await scope.run(), "tls", /roots-\w+\.der could not be fetched/, "try again");
  assert.equal(refused, 1);
  await scope.page.context().unroute("**/*.der");
  const { result } = await scope.run();
  assert.equal(result.outcome, "accepted", JSON.stringify(result.error));
  assert.equal((await servers.messages("postfix")).length, 1);
});

