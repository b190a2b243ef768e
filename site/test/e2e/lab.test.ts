// A teacher, an author: experiments in the page, with no mail server and no program behind it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after as afterAll, test, type TestContext } from "node:test";
import { violations } from "./axe.ts";
import { after, closeBrowser, openPage, scratch, startProgram } from "./harness.ts";
import { Scope, shadowText, type Saved } from "./scope.ts";

afterAll(closeBrowser);

/** What TestGolden of wasm/internet/experiment runs natively. */
const GOLDEN = JSON.parse(readFileSync("wasm/internet/experiment/testdata/golden.json", "utf8")) as Saved & { meta: { plan: Plan } };

interface Plan {
  messages: { data: string }[];
  [key: string]: unknown;
}

const TROUBLED = { delay: "40ms", bandwidth: "10Mbit", loss: 0.1, reorder: 0.1, duplicate: 0.05, corrupt: 0.05 };

function plan(more: object = {}): object {
  return {
    target: { mode: "lab" }, seed: 42, link: { delay: "40ms" },
    messages: [{ from: "ada@example.org", to: ["grace@example.net"], data: GOLDEN.meta.plan.messages[0]!.data }], ...more,
  };
}

async function open(t: TestContext): Promise<Scope> {
  const program = await startProgram(t), scope = new Scope(await openPage(t, program.url));
  await scope.speed(0);
  return scope;
}

/** The octets of all packets of a trace. */
function packets(t: Saved): string {
  const s = t.streams["packets"];
  assert.ok(typeof s === "string", "every packet is kept");
  return s;
}

test("one press of Run plays a session, packet by packet, without any program but this page", async (t) => {
  const program = await startProgram(t), page = await openPage(t, "about:blank"), asked: string[] = [];
  page.on("request", (r) => asked.push(new URL(r.url()).pathname));
  page.on("websocket", (w) => asked.push(w.url()));
  await page.goto(program.url);
  const scope = new Scope(page);
  await scope.speed(0);
  await scope.button("Run").waitFor();
  assert.ok(!asked.some((a) => a.endsWith(".wasm")), "nothing heavy is loaded before the first run");
  const { events, result, meta } = await scope.run();
  assert.equal(meta.mode, "lab");
  assert.equal(result.outcome, "accepted");
  assert.equal(result.roundTrips, 11);
  assert.deepEqual(asked.filter((a) => /wasm$|tunnel/.test(a)).map((a) => a.replace(/-.*/, "")), ["/assets/lab"], "the lab's engine and nothing else");
  const told = events.filter((e) => e.layer === "dns" || (e.layer === "tcp" && e.kind === "segment")).map((e) => e.text ?? "");
  assert.match(told[0]!, /^MX example\.net/);
  assert.match(told[4]!, /^SYN seq 0/);
  assert.match(told[5]!, /^SYN, ACK seq 0 ack 1/);
  assert.equal(told.filter((w) => w.startsWith("FIN")).length, 2, "both sides end");
  const rows = (await scope.rows()).join("\n");
  for (const part of ["QUIT", "221", "FIN"]) assert.ok(rows.includes(part), `the ladder shows ${part}:\n${rows}`);
  assert.match(await scope.verdict(), /11 round trips/);
});

test("the page computes what the native test computes", async (t) => {
  const scope = await open(t), saved = await scope.runPlan(plan({ security: "none" }));
  saved.meta.tool = "";
  assert.deepEqual(saved, GOLDEN);
});

test("same plan and seed, same packets: again, taken up halfway, and outside of a worker", async (t) => {
  const scope = await open(t), p = plan({ security: "starttls", link: TROUBLED, seed: 7 });
  const first = await scope.runPlan(p);
  assert.ok(packets(first) === packets(await scope.runPlan(p)), "again");
  assert.ok(packets(first) !== packets(await scope.runPlan(plan({ security: "starttls", link: TROUBLED, seed: 8 }))), "another seed");

  await scope.runPlan(p);
  const slider = scope.page.getByRole("slider", { name: "cursor in time" });
  await slider.focus();
  for (let i = 0; i < 12; i++) await slider.press("ArrowLeft");
  await scope.button(/^Take over/).click();
  await scope.until("paused");
  await scope.button("Run").click();
  await scope.until("done");
  assert.ok(packets(first) === packets(await scope.saved()), "taken up and gone on with");

  // The worker's script, on a page of its own.
  const page = await scope.page.context().newPage();
  await page.goto(scope.page.url());
  const worker = await scope.page.evaluate(() => performance.getEntriesByType("resource").map((r) => r.name).find((n) => /worker-.*\.js$/.test(n)));
  const wasm = scope.page.workers()[0] && await scope.page.workers()[0]!.evaluate(() => performance.getEntriesByType("resource").map((r) => r.name).find((n) => /lab-.*\.wasm$/.test(n)));
  assert.ok(worker && wasm, "the worker's script and the engine are known");
  const stream = await page.evaluate(async ([script, engine, text]) => {
    const chunks: { off: number; bytes: Uint8Array }[] = [];
    const global = globalThis as unknown as { postMessage: (m: unknown) => void; onmessage: (e: { data: unknown }) => void };
    const over = new Promise<void>((resolve, reject) => {
      global.postMessage = (m) => {
        const message = m as { type: string; message?: string; streams?: { name: string; off: number; bytes: Uint8Array }[] };
        if (message.type === "batch") chunks.push(...message.streams!.filter((s) => s.name === "packets"));
        if (message.type === "done") resolve();
        if (message.type === "crash") reject(new Error(message.message));
      };
    });
    await new Promise((resolve, reject) => {
      const s = document.createElement("script");
      s.src = script!;
      s.onload = resolve;
      s.onerror = reject;
      document.head.append(s);
    });
    global.onmessage({ data: { wasm: engine, seeded: true } });
    global.onmessage({ data: { type: "run", plan: text, seed: 7, again: "" } });
    await over;
    return btoa(chunks.map((c) => String.fromCharCode(...c.bytes)).join(""));
  }, [worker, wasm, JSON.stringify(p)] as const);
  assert.ok(packets(first) === stream, "outside of a worker");
});

test("what the link does is drawn, and a knob changes it", async (t) => {
  const scope = await open(t), { page } = scope;
  const loss = page.getByRole("slider", { name: "Loss" });
  await loss.focus();
  for (let i = 0; i < 20 && !/^1[0-9]/.test((await loss.getAttribute("aria-valuetext")) ?? ""); i++) await loss.press("ArrowRight");
  const saved = await scope.run();
  const segments = saved.events.filter((e) => e.kind === "segment").map((e) => e.data as { fate: string; segment: { again?: number } });
  assert.ok(segments.some((s) => s.fate === "lost"), "something is lost");
  assert.ok(segments.some((s) => s.segment.again !== undefined), "and sent again");
  await page.getByRole("treegrid").focus();
  await page.keyboard.press("Home");
  const seen = new Set<string>();
  for (let i = 0; i < 20; i++) {
    for (const r of await scope.rows()) seen.add(r);
    await page.keyboard.press("PageDown");
  }
  const rows = [...seen].join("\n");
  assert.match(rows, /lost on the link/);
  assert.match(rows, /retransmission of row \d+/);
});

test("bad settings are named, a dead link is told apart", async (t) => {
  const scope = await open(t);
  for (const [link, words] of [[{ loss: 1.5 }, /link\.loss: 1\.5/], [{ mtu: 20 }, /link\.mtu: 20/], [{ delay: "fast" }, /link\.delay: "fast"/]] as const) {
    await scope.showsError(await scope.runPlan(plan({ link })), "bad-plan", words);
  }
  await scope.showsError(await scope.runPlan(plan({ link: { delay: "40ms", loss: 1 } })), "timeout", /TCP gave up after 2m7s: 7 SYNs/);
});

test("mail goes over a submission server to a mailbox, which can be read", async (t) => {
  const scope = await open(t), { page } = scope;
  await page.getByRole("radio", { name: "Submission", exact: true }).check({ force: true });
  const saved = await scope.run();
  assert.equal(saved.result.outcome, "accepted");
  assert.deepEqual(saved.events.filter((e) => e.layer === "mail").map((e) => e.kind), ["queued", "attempt", "delivered", "relayed"]);
  assert.ok(saved.events.some((e) => e.hop === 1 && e.text?.startsWith("MAIL FROM")), "the servers' dialogue is in the trace");
  await page.getByRole("radio", { name: "Mailboxes", exact: true }).check({ force: true });
  const mail = page.locator("scope-mail");
  await mail.getByText("grace@example.net").first().waitFor();
  const text = await shadowText(mail);
  for (const part of ["Return-Path", "mx.example.net", "mail.example.org", "The engine weaves"]) assert.ok(text.includes(part), `${part} in\n${text}`);
});

test("a trace plays, stands still, steps by packets, and is taken over", async (t) => {
  const scope = await open(t), { page } = scope;
  await scope.speed(1);
  await scope.button("Run").click();
  await page.waitForFunction(() => /QUIT/.test(document.querySelector("smtp-scope")!.shadowRoot!.querySelector("scope-ladder")!.shadowRoot!.textContent ?? ""));
  await scope.until("done");
  await page.getByText(/Accepted/).first().waitFor(); // it has played to the end

  const time = page.locator("scope-clock .time"), end = await time.innerText();
  const back = page.locator("scope-clock").getByRole("button", { name: "previous packet" });
  for (let i = 0; i < 3; i++) await back.click();
  assert.notEqual(await time.innerText(), end);
  const slider = page.getByRole("slider", { name: "cursor in time" });
  await slider.press("Home");
  await page.locator("scope-clock").getByRole("button", { name: "next packet" }).click();
  assert.equal(await time.innerText(), "0.0 ms");
  await page.keyboard.press(">");
  await page.keyboard.press(">");
  await page.keyboard.press(">");
  await scope.button(/^Take over/).click();
  await scope.until("paused");
  const pending = page.getByLabel(/to be sent/);
  await pending.first().fill("HELP");
  await pending.first().press("Enter");
  await page.locator("scope-ladder .row .say", { hasText: "HELP" }).first().waitFor();
  await scope.until("paused");
  await scope.button("Run").click();
  await scope.until("done");
  assert.equal((await scope.saved()).result.outcome, "accepted");
});

test("the packets open in Wireshark, their TLS with the keys, and never a secret without", async (t) => {
  const scope = await open(t);
  const auth = { mechanism: "PLAIN", username: "ada", password: "enchantress" };
  await scope.runPlan(plan({ auth, security: "starttls", lab: { route: "submission" }, link: { delay: "40ms", loss: 0.05 } }));
  const secret = Buffer.from("\0ada\0enchantress").toString("base64"), folder = scratch(t);
  const shows = (bytes: Buffer, filter: string) => {
    const path = join(folder, "capture.pcapng");
    writeFileSync(path, bytes);
    return execFileSync("tshark", ["-n", "-r", path, "-Y", filter], { env: { ...process.env, HOME: folder }, stdio: ["ignore", "pipe", "ignore"] }).toString();
  };
  const open_ = await scope.packets("client", true), closed = await scope.packets("client");
  assert.match(shows(open_, "smtp"), /MAIL FROM:<ada@example\.org>/);
  assert.match(shows(open_, "dns"), /mail\.example\.org/);
  assert.doesNotMatch(shows(closed, "smtp"), /MAIL FROM/);
  await scope.runPlan(plan({ auth, security: "none", lab: { route: "submission" } }));
  assert.ok(!(await scope.packets("client")).includes(secret.slice(0, 12)));
  assert.ok((await scope.packets("client", true)).includes(secret));
});

test("a page without any program behind it runs the lab, in an element that a document holds", async (t) => {
  const types: Record<string, string> = { html: "text/html", js: "text/javascript", css: "text/css", wasm: "application/wasm" };
  const server = createServer((request, response) => {
    const path = new URL(request.url!, "http://x").pathname.slice(1);
    try {
      const body = path === "doc.html" ? docs : readFileSync(join("site/dist", path));
      response.writeHead(200, { "content-type": types[path.split(".").at(-1)!] ?? "", "content-security-policy": "default-src 'none'; connect-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  const page_ = readFileSync("site/dist/index.html", "utf8"), script = /src="(assets\/page-[^"]+)"/.exec(page_)![1]!;
  const docs = `<!doctype html><html lang="en"><title>Docs</title><h1>Why TCP?</h1><script type="module" src="${script}"></script>
    <script type="application/json" id="lesson">${JSON.stringify(plan({ link: { delay: "20ms", loss: 0.05 } }))}</script>
    <smtp-scope mode="lab" view="compact" plan="#lesson" speed="0"></smtp-scope>`;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(t, () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }));
  const { port } = server.address() as { port: number };
  const page = await openPage(t, `http://127.0.0.1:${port}/doc.html`, { expectedErrors: /404/ }), scope = new Scope(page);
  const { result } = await scope.run();
  assert.equal(result.outcome, "accepted");
  assert.ok((await scope.rows()).length > 5);
});

const pictures = ".cache/pictures";
mkdirSync(pictures, { recursive: true });

for (const [width, height] of [[1440, 900], [1000, 800], [390, 844]] as const) {
  for (const dark of [false, true]) {
    test(`${width}x${height} ${dark ? "dark" : "light"}: accessible, nothing cut, a picture`, async (t) => {
      const program = await startProgram(t);
      const page = await openPage(t, program.url, { width, height, dark, reducedMotion: true });
      const scope = new Scope(page);
      await scope.button("Run").waitFor();
      assert.deepEqual(await violations(page), [], "before the first run");
      await scope.runPlan(plan({ security: "starttls", link: { delay: "40ms", loss: 0.05 }, seed: 5 }));
      await scope.pick("RCPT TO");
      if (width > 1100) for (const key of ["ArrowRight", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
      assert.deepEqual(await violations(page), [], "with a row open");
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
      await page.screenshot({ path: `${pictures}/${width}x${height}-${dark ? "dark" : "light"}.png` });
      if (width < 1000) return;
      for (const [pane, tag] of [["Windows", "scope-chart"], ["Mailboxes", "scope-mail"], ["Transcript", "scope-transcript"]] as const) {
        await page.getByRole("radio", { name: pane, exact: true }).check({ force: true });
        await page.locator(tag).waitFor();
        assert.deepEqual(await violations(page), [], pane);
      }
    });
  }
}
