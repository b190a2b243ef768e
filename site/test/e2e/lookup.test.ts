// Who knows only a domain types that: its mail servers are tried in turn, and what it publishes is told.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, test, type TestContext } from "node:test";
import { violations } from "./axe.ts";
import { after as endAfter, closeBrowser, openPage, startMailServers, startProgram, within } from "./harness.ts";
import { Scope, type Saved } from "./scope.ts";

after(closeBrowser);

const TYPES: Record<number, string> = { 1: "A", 15: "MX", 16: "TXT", 12: "PTR", 28: "AAAA", 52: "TLSA" };

function name(text: string): Buffer {
  return Buffer.concat([...text.split(".").filter(Boolean).map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)])), Buffer.from([0])]);
}

/** The value of a record, as it is on the wire. */
function value(type: string, text: string): Buffer {
  switch (type) {
    case "A": return Buffer.from(text.split(".").map(Number));
    case "MX": {
      const [preference, host] = text.split(" ");
      return Buffer.concat([Buffer.from([0, Number(preference)]), name(host!)]);
    }
    default: return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
  }
}

/** A DNS server on loopback that knows these records, "MX example.net": ["10 mx.example.net"], of missing names that there is nothing, and of every other that it has none. */
async function serveDNS(t: TestContext, zone: Record<string, string[]>, missing: string[] = []): Promise<string> {
  const socket = createSocket("udp4");
  socket.on("message", (ask, from) => {
    let at = 12;
    const labels: string[] = [];
    for (let n = ask[at]!; n > 0; n = ask[at]!) {
      labels.push(ask.toString("latin1", at + 1, at + 1 + n));
      at += 1 + n;
    }
    const type = TYPES[ask.readUInt16BE(at + 1)]!, found = zone[`${type} ${labels.join(".")}`] ?? [], head = Buffer.alloc(12);
    ask.copy(head, 0, 0, 2);
    head.writeUInt16BE(missing.includes(labels.join(".")) ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(found.length, 6);
    const answers = found.map((text) => {
      const data = value(type, text), fixed = Buffer.alloc(12);
      fixed.writeUInt16BE(0xc00c, 0);
      ask.copy(fixed, 2, at + 1, at + 5);
      fixed.writeUInt32BE(60, 6);
      fixed.writeUInt16BE(data.length, 10);
      return Buffer.concat([fixed, data]);
    });
    socket.send(Buffer.concat([head, ask.subarray(12, at + 5), ...answers]), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  endAfter(t, () => socket.close());
  return `127.0.0.1:${socket.address().port}`;
}

/** The flags of a program that may look up example.net, and connect to these of its hosts on a port of loopback. */
function reaching(port: number, ...hosts: string[]): string[] {
  return ["example.net", ...hosts, "127.0.0.1", "127.0.0.2"].flatMap((host) => ["--allow", `${host}:${port}`]);
}

/** The answers of the DNS, as the trace has them. */
function answers(s: Saved): string[] {
  return s.events.filter((e) => e.layer === "dns").map((e) => e.text ?? "");
}

test("the first mail server of a domain refuses, the second one takes the message", async (t) => {
  const dns = await serveDNS(t, {
    "MX example.net": ["20 mx.example.net", "10 down.example.net"], "A down.example.net": ["127.0.0.2"], "A mx.example.net": ["127.0.0.1"],
    "TXT example.net": ["site=1", "v=spf1 mx -all"], "TXT _dmarc.example.net": ["v=DMARC1; p=none"],
  });
  const servers = await startMailServers(t, "postfix"), postfix = servers.get("postfix"), port = postfix.submissionPort;
  const program = await startProgram(t, "--resolver", dns, ...reaching(port, "down.example.net", "mx.example.net"));
  const scope = new Scope(await openPage(t, program.url, { expectedErrors: /403/ })), { page } = scope;
  await scope.target("Live", "STARTTLS", `${postfix.recipient.split("@")[0]}@example.net:${port}`);
  await page.getByLabel("From", { exact: true }).fill(postfix.username);
  await page.getByLabel("To", { exact: true }).fill(postfix.recipient);
  await page.getByRole("combobox", { name: "How" }).selectOption("PLAIN");
  await page.getByLabel("User", { exact: true }).fill(postfix.username);
  await page.getByLabel("Password", { exact: true }).fill(postfix.password);
  await page.getByText(/authorit/i).first().click();
  await page.getByLabel(/certificates of authorities/).fill(postfix.ca);

  const saved = await scope.run();
  assert.equal(saved.result.outcome, "accepted", JSON.stringify(saved.result.error));
  assert.equal((await servers.messages("postfix")).length, 1);
  assert.match(await scope.verdict(), /mx\.example\.net took the message/);
  const handshake = saved.events.find((e) => e.kind === "handshake")!.data as { serverName: string; verified: boolean };
  assert.deepEqual([handshake.serverName, handshake.verified], ["mx.example.net", true], "the certificate is judged by the name of the mail server");
  assert.equal(answers(saved)[0], "MX example.net: 10 down.example.net, 20 mx.example.net");
  for (const text of ["TXT example.net: v=spf1 mx -all, site=1", "TXT _dmarc.example.net: v=DMARC1; p=none", `TLSA _${port}._tcp.mx.example.net: none`]) assert.ok(answers(saved).includes(text), text);

  const rows = await scope.rows();
  assert.match(rows[0]!, /^MX example\.net: 10 down\.example\.net, 20 mx\.example\.net/);
  assert.equal(rows.filter((r) => /^(MX|TXT|TLSA|A|PTR) /.test(r)).length, 1, "SMTP is the story");
  assert.ok(rows.some((r) => /published: .*SPF.*DMARC/.test(r)), rows.join("\n"));
  await scope.pick("MX example.net");
  await page.locator("scope-inspector").getByText("down.example.net").first().waitFor();
  assert.deepEqual(await violations(page), []);
});

test("domains without a mail server end in words", async (t) => {
  const program = await startProgram(t, "--public", "--resolver", await serveDNS(t, { "MX example.org": ["0 ."], "MX example.net": ["10 mx.example.net"] }, ["missing.example.com"]));
  const scope = new Scope(await openPage(t, program.url, { expectedErrors: /403/ }));
  await scope.target("Live", "None", "example.org");
  await scope.showsError(await scope.run(), "unsupported", "example.org takes no mail at all: its only MX is the null MX (RFC 7505)");
  await scope.target("Live", "None", "missing.example.com");
  await scope.showsError(await scope.run(), "name-not-found", "missing.example.com is not in the DNS (NXDOMAIN)");
  await scope.target("Live", "None", "example.net");
  const saved = await scope.run();
  await scope.showsError(saved, "name-not-found", "mx.example.net");
  assert.ok(answers(saved).includes("A mx.example.net: none"), "which shows why");
  await scope.target("Live", "None", "db.internal");
  await scope.showsError(await scope.run(), "denied", "db.internal");
});

test("a DNS that is silent ends in words", async (t) => {
  const silent = createSocket("udp4");
  silent.bind(0, "127.0.0.1");
  await once(silent, "listening");
  endAfter(t, () => silent.close());
  const program = await startProgram(t, "--public", "--resolver", `127.0.0.1:${silent.address().port}`), scope = new Scope(await openPage(t, program.url, { expectedErrors: /504/ }));
  await scope.target("Live", "None", "example.net");
  await scope.showsError(await within(15_000, "the session ends", scope.run()), "timeout", "no resolver of this proxy answered in time");
});

test("where nothing is looked up a mail server must be named", async (t) => {
  const program = await startProgram(t), scope = new Scope(await openPage(t, program.url));
  await scope.target("Live", "None", "example.net");
  await scope.button("Run").click();
  await scope.page.getByText("This proxy does not ask the DNS for the mail servers of a domain.").first().waitFor();
});
