// The packets of a session, captured at the proxy: below the rows that they carry, and in the file.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { violations } from "./axe.ts";
import { closeBrowser, openPage, startProgram, type Program } from "./harness.ts";
import { Scope, type Saved } from "./scope.ts";

after(closeBrowser);

const PLAN = {
  target: { mode: "practice" }, security: "starttls",
  messages: [{ from: "ada@example.org", to: ["grace@example.net"], data: "Subject: The engine\r\n\r\nHello.\r\n" }],
};

interface Packet { captured: string; carries?: { stream: "wire.out" | "wire.in"; off: number; len: number }; segment: { flags: string; seq: number; len: number; again?: number } }

/** A program that captures, or undefined where this system does not let it: then the test was not run. */
async function capturing(t: TestContext): Promise<Program | undefined> {
  const program = await startProgram(t, "--capture");
  const { instrument } = (await (await fetch(`${program.url}/api/v1/config`)).json()) as { instrument: { packets: boolean; whyNoPackets?: string } };
  if (instrument.packets) return program;
  t.skip(`NOT RUN: ${instrument.whyNoPackets}`);
  return undefined;
}

const packetsOf = (saved: Saved) => saved.events.filter((e) => e.src === "captured").map((e) => ({ ...e, data: e.data as unknown as Packet }));

/** A stream of the trace, all of which is kept. */
function bytes(saved: Saved, name: string): Buffer {
  const s = saved.streams[name];
  assert.equal(typeof s, "string", name);
  return Buffer.from(s as string, "base64");
}

for (const [width, height] of [[1440, 900], [390, 844]] as const) {
  test(`the real packets carry what the page said and read, at ${width}x${height}`, async (t) => {
    const program = await capturing(t);
    if (!program) return;
    const page = await openPage(t, program.url), scope = new Scope(page);
    await page.setViewportSize({ width, height });
    const saved = await scope.runPlan(PLAN), packets = packetsOf(saved);
    assert.equal(saved.result.outcome, "accepted", JSON.stringify(saved.result));

    assert.deepEqual(packets.slice(0, 3).map((p) => [p.data.segment.flags, p.from, p.to]), [["SYN", "proxy", "server"], ["SYN, ACK", "server", "proxy"], ["ACK", "proxy", "server"]]);
    assert.ok(packets.some((p) => p.from === "server" && p.data.segment.flags.includes("FIN")), "the end of the connection is there");
    const times = packets.map((p) => p.data.captured.padEnd(30, "0"));
    assert.deepEqual(times, times.toSorted(), "each was captured after the one before");
    assert.ok(Math.abs(Date.parse(packets[0]!.data.captured) - Date.now()) < 60_000, packets[0]!.data.captured);
    const all = bytes(saved, "packets"), seen = { "wire.out": 0, "wire.in": 0 };
    let off = 0;
    for (const p of packets) {
      const at = (p as unknown as { at: { off: number; len: number } }).at, c = p.data.carries;
      assert.equal(at.off, off);
      off += at.len;
      if (!c || p.data.segment.again !== undefined) continue;
      assert.deepEqual(all.subarray(at.off + at.len - c.len, at.off + at.len), bytes(saved, c.stream).subarray(c.off, c.off + c.len), `event ${p.n}`);
      seen[c.stream] += c.len;
    }
    assert.deepEqual(seen, { "wire.out": bytes(saved, "wire.out").length, "wire.in": bytes(saved, "wire.in").length }, "all of it");

    // An SMTP row opens into its record, that into its segment, and that into the packet.
    const part = (text: string) => page.locator("scope-ladder .row", { hasText: text }).first();
    assert.equal(await page.locator("scope-ladder .row.segment", { hasText: "PSH" }).count(), 0, "what carries text has no row of its own");
    await scope.pick("QUIT");
    await page.keyboard.press("Enter");
    await part("TLS record").click();
    await page.keyboard.press("Enter");
    await part("TCP segment").click();
    await page.keyboard.press("Enter");
    await part("IPv4").getByRole("img", { name: "captured packet" }).waitFor();
    await page.locator("scope-inspector", { hasText: "Captured as it left the proxy" }).waitFor();
    assert.deepEqual(await violations(page), []);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
    if (width < 1000) return;

    await page.getByLabel("every packet").check();
    await page.locator("scope-ladder .row.quiet").first().waitFor();

    const folder = mkdtempSync(join(tmpdir(), "captured-")), path = join(folder, "session.pcapng");
    t.after(() => rmSync(folder, { recursive: true }));
    const tshark = (...args: string[]) => execFileSync("tshark", ["-n", "-r", path, "-d", `tcp.port==${port},smtp`, ...args], { env: { ...process.env, HOME: folder }, stdio: ["ignore", "pipe", "ignore"] }).toString().trim().split("\n");
    const port = (saved.events.find((e) => e.kind === "opened")!.data!["address"] as string).replace(/.*:/, "");
    writeFileSync(path, await scope.packets("client", true));
    assert.deepEqual(tshark("-Y", "imf", "-T", "fields", "-e", "imf.subject"), ["The engine"], "the keys open it");
    assert.equal(tshark("-T", "fields", "-e", "frame.number").length, packets.length);
    assert.deepEqual(new Set(tshark("-T", "fields", "-e", "frame.interface_description")), new Set(["captured at the proxy"]));
  });
}
