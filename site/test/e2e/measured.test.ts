// What the proxy sees of its TCP, and a page cannot: measured in a live session, and drawn.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { violations } from "./axe.ts";
import { closeBrowser, openPage, startProgram } from "./harness.ts";
import { Scope } from "./scope.ts";

after(closeBrowser);

const MS = 1e6, LINUX = process.platform === "linux";

/** A mail server that takes its time for every answer, so that there is a session to measure. */
async function slowServer(): Promise<{ port: number; close: () => void }> {
  const server = createServer((socket) => {
    let data = false;
    const say = (text: string) => setTimeout(() => socket.write(`${text}\r\n`), 150);
    socket.on("error", () => {});
    socket.write("220 slow.example ESMTP\r\n");
    socket.on("data", (b: Buffer) => {
      const text = b.toString("latin1");
      if (data) {
        data = !text.endsWith("\r\n.\r\n");
        if (!data) say("250 2.0.0 Ok: queued as 4F2C");
      } else if (text.startsWith("QUIT")) socket.end("221 2.0.0 bye\r\n");
      else {
        data = text.startsWith("DATA");
        say(data ? "354 go" : text.startsWith("EHLO") ? "250 slow.example" : "250 2.0.0 ok");
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: (server.address() as { port: number }).port, close: () => server.close() };
}

for (const [width, height] of [[1440, 900], [390, 844]] as const) {
  test(`what TCP does beyond the proxy is in the trace and in the chart, at ${width}x${height}`, { skip: !LINUX && "TCP_INFO is read on Linux only" }, async (t) => {
    const mail = await slowServer();
    t.after(mail.close);
    const program = await startProgram(t, "--allow", `127.0.0.1:${mail.port}`), page = await openPage(t, program.url);
    await page.setViewportSize({ width, height });
    const scope = new Scope(page);
    const { events, result } = await scope.runPlan({
      target: { mode: "live", host: "127.0.0.1", port: mail.port }, security: "none",
      messages: [{ from: "ada@example.org", to: ["grace@example.net"], data: "Subject: x\r\n\r\nHello.\r\n" }],
    });
    assert.equal(result.outcome, "accepted");
    const samples = events.filter((e) => e.kind === "sample"), opened = events.findIndex((e) => e.kind === "opened");
    assert.ok(samples.length >= 3, `${samples.length} measurements of a session of ${result.elapsed / MS} ms`);
    assert.ok(samples.every((e) => e.src === "measured" && e.layer === "tcp"));
    assert.equal(events[opened + 1]!.kind, "sample", "the first one comes with the connection");
    for (const key of ["rtt", "cwnd", "mss", "rto"]) assert.ok(Number(samples[0]!.data![key]) > 0, key);
    assert.deepEqual([samples[0]!.data!["state"], samples.at(-1)!.data!["state"]], ["ESTABLISHED", "CLOSE-WAIT"], "the last one when the server has ended");

    if (width > 1000) await page.getByRole("radio", { name: "Windows", exact: true }).check({ force: true });
    else {
      await page.locator("scope-top summary").last().click();
      await scope.button("Show the chart").click();
    }
    const chart = page.locator("scope-chart");
    await chart.locator("canvas").first().waitFor();
    assert.match(await chart.locator(".say").innerText(), new RegExp(`^Measured ${samples.length} times at the proxy, which sends to 127\\.0\\.0\\.1`));
    assert.ok(await chart.getByRole("img", { name: "measured at the proxy" }).count() >= 4, "each line says where it is known from");
    assert.deepEqual(await violations(page), []);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
  });
}
