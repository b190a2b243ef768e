// Who knows only a domain finds its mail servers, and what it publishes.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, test, type TestContext } from "node:test";
import { violations } from "./axe.ts";
import { after as endAfter, closeBrowser, openPage, startProgram } from "./harness.ts";
import { Scope } from "./scope.ts";

after(closeBrowser);

const TYPES: Record<number, string> = { 1: "A", 15: "MX", 16: "TXT", 28: "AAAA", 52: "TLSA" };

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

/** A DNS server on loopback that knows these records, "MX example.net": ["10 mx.example.net"], and of every other name that it has none. */
async function serveDNS(t: TestContext, zone: Record<string, string[]>): Promise<string> {
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
    head.writeUInt16BE(0x8180, 2);
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

test("a domain's mail servers", async (t) => {
  const dns = await serveDNS(t, {
    "MX example.net": ["20 mx2.example.net", "10 mx1.example.net"], "A mx1.example.net": ["192.0.1.25"], "A mx2.example.net": ["192.168.0.1"],
    "TXT example.net": ["v=spf1 mx -all"], "MX example.org": ["0 ."],
  });
  const program = await startProgram(t, "--public", "--resolver", dns), scope = new Scope(await openPage(t, program.url, { expectedErrors: /403/ }));
  const dialog = scope.page.getByRole("dialog", { name: /Who takes mail for/ }), mx = scope.button(/^MX/);
  await scope.target("Live", "None");
  assert.ok(await mx.isDisabled(), "there is no domain yet");

  await scope.target("Live", "None", "example.net");
  await mx.click();
  await dialog.getByText("v=spf1 mx -all").waitFor();
  assert.deepEqual((await dialog.getByRole("row").allInnerTexts()).slice(1).map((r) => r.split(/\s*\t\s*/).slice(0, 3)), [
    ["10", "mx1.example.net", "192.0.1.25"], ["20", "mx2.example.net", "It has only special addresses, which this proxy neither tells nor dials."],
  ]);
  assert.ok(await dialog.getByRole("button", { name: "use mx2.example.net" }).isDisabled());
  assert.deepEqual(await violations(scope.page), []);
  await dialog.getByRole("button", { name: "use mx1.example.net" }).click();
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await scope.page.getByLabel("host and port").inputValue(), "mx1.example.net:25");

  await scope.target("Live", "None", "grace@example.org");
  await mx.click();
  await dialog.getByText("example.org publishes a null MX").waitFor();
  assert.equal(await dialog.getByRole("row").count(), 0);
  await scope.page.keyboard.press("Escape");

  await scope.target("Live", "None", "db.internal.");
  await mx.click();
  await dialog.getByRole("alert").getByText("db.internal is not a public name").waitFor();
});

test("without look-ups there is nothing to press", async (t) => {
  const program = await startProgram(t), scope = new Scope(await openPage(t, program.url));
  await scope.target("Live", "None", "example.net");
  assert.equal(await scope.button(/^MX/).count(), 0);
});
