// How long the page takes, in Chromium: "make bench" prints it. Nothing here passes or fails.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Page } from "playwright-core";
import { closeBrowser, theBrowser } from "../e2e/harness.ts";

const RUNS = 15;

interface Sample {
  /** From the call of run to the first event of SMTP, to the start of the session, and from there to its end, in ms. */
  first: number;
  start: number;
  compute: number;
  events: number;
  packets: number;
}

type Element = HTMLElement & { speed: number; plan: unknown; run(): Promise<{ events: { layer: string; at?: { stream: string } }[] }> };

function plan(mode: string, security: string, link: object, more: object = {}): object {
  return {
    target: { mode }, security, seed: 42, ...(mode === "lab" && { link }),
    messages: [{ from: "ada@example.org", to: ["grace@example.net"], data: "Subject: Notes\r\n\r\nThe engine weaves algebraic patterns.\r\n" }], ...more,
  };
}

async function sample(page: Page, p: object): Promise<Sample> {
  return page.evaluate(async (text) => {
    const scope = document.querySelector("smtp-scope") as Element;
    scope.speed = 0;
    scope.plan = JSON.parse(text);
    const began = performance.now();
    let start = 0, first = 0;
    const started = (e: Event) => { if ((e as CustomEvent<{ state: string }>).detail.state === "running") start ||= performance.now(); };
    const heard = (e: Event) => { if ((e as CustomEvent<{ layer: string }>).detail.layer === "smtp") first ||= performance.now(); };
    scope.addEventListener("scope-state", started);
    scope.addEventListener("scope-event", heard);
    const { events } = await scope.run(), end = performance.now();
    scope.removeEventListener("scope-state", started);
    scope.removeEventListener("scope-event", heard);
    return { first: first - began, start: start - began, compute: end - start, events: events.length, packets: events.filter((e) => e.at?.stream === "packets").length };
  }, JSON.stringify(p));
}

function median(numbers: number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
}

const program = spawn("bin/smtpscope", ["--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "ignore"] });
const [line] = (await once(createInterface(program.stdout), "line")) as [string];
const url = /http:\/\/\S+/.exec(line)![0];
try {
  console.log(`medians of ${RUNS} runs in one page, in ms; the first run stands apart: it loads and compiles the engine`);
  console.log("what                              packets  events   first run   to start   compute   to first SMTP");
  for (const [what, p] of [
    ["lab, none", plan("lab", "none", { delay: "40ms" })],
    ["lab, STARTTLS", plan("lab", "starttls", { delay: "40ms" })],
    ["lab, STARTTLS, 5 % loss", plan("lab", "starttls", { delay: "40ms", loss: 0.05 })],
    ["lab, none, 1 MB", plan("lab", "none", { delay: "40ms" }, { messages: [{ from: "ada@example.org", to: ["grace@example.net"], data: ("x".repeat(62) + "\r\n").repeat(16_000) }] })],
    ["practice, STARTTLS", plan("practice", "starttls", {})],
  ] as const) {
    const page = await (await (await theBrowser()).newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce" })).newPage();
    await page.goto(url);
    await page.waitForFunction(() => !!document.querySelector("smtp-scope")?.shadowRoot);
    await page.waitForTimeout(300); // the page asks the program for its configuration
    const cold = await sample(page, p), warm: Sample[] = [];
    for (let i = 0; i < RUNS; i++) {
      warm.push(await sample(page, p));
      await page.waitForTimeout(50); // the ladder is drawn
    }
    const of = (key: keyof Sample) => median(warm.map((s) => s[key])), ms = (n: number, w: number) => n.toFixed(0).padStart(w);
    console.log(`${what.padEnd(33)} ${ms(cold.packets, 8)}${ms(cold.events, 8)}${ms(cold.start + cold.compute, 12)}${ms(of("start"), 11)}${ms(of("compute"), 10)}${ms(of("first"), 16)}`);
    await page.context().close();
  }
} finally {
  await closeBrowser();
  program.kill();
}
