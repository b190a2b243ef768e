// The page as a person uses it: by labels, roles and keys.

import assert from "node:assert/strict";
import type { Locator, Page } from "playwright-core";

/** What of a saved trace the tests look at; the page's own types are not used, so that they are tested too. */
export interface Saved {
  v: number;
  meta: { tool: string; mode: string; plan?: unknown };
  findings?: { id: string; severity: string; text: string; events: number[] }[];
  streams: Record<string, string | { len: number; parts: { off: number; bytes: string }[] }>;
  events: { n: number; t: number; layer: string; kind: string; src: string; hop?: number; from?: string; to?: string; text?: string; data?: Record<string, unknown> }[];
  result: {
    outcome: string; phase: string; permanent: boolean; roundTrips: number; elapsed: number;
    reply?: { code: number; lines: string[] };
    error?: { code: string; message: string; rule?: string };
    messages: { outcome: string; queueID?: string; recipients: { to: string; outcome: string }[] }[];
  };
}

type Element = HTMLElement & {
  state: string;
  speed: number;
  plan: unknown;
  run(): Promise<unknown>;
  export(format: string, options?: { secrets?: boolean; host?: string }): Promise<Blob>;
};

/** The text of an element that draws itself in a shadow root. */
export function shadowText(l: Locator): Promise<string> {
  return l.evaluate((e) => [...e.shadowRoot!.children].map((c) => (c as HTMLElement).innerText).join("\n"));
}

export class Scope {
  constructor(readonly page: Page) {}

  get element(): Locator {
    return this.page.locator("smtp-scope");
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, exact: typeof name === "string" });
  }

  /** Chooses where the session goes, as in the top bar. */
  async target(mode: "Lab" | "Practice" | "Live", security: "None" | "STARTTLS" | "Implicit TLS", address?: string): Promise<void> {
    await this.page.getByRole("radio", { name: mode, exact: true }).check({ force: true });
    await this.page.getByRole("radio", { name: security, exact: true }).check({ force: true });
    if (address) await this.page.getByLabel("host and port").fill(address);
  }

  /** How fast experiments go by; 0 for all at once. */
  async speed(speed: number): Promise<void> {
    await this.element.evaluate((e, s) => void ((e as Element).speed = s), speed);
  }

  /** The packets as a capture file. */
  async packets(host: string, secrets = false): Promise<Buffer> {
    const text = await this.element.evaluate(async (e, o) => {
      const bytes = new Uint8Array(await (await (e as Element).export("pcapng", o)).arrayBuffer());
      return Array.from(bytes, (b) => String.fromCharCode(b)).join("");
    }, { host, secrets });
    return Buffer.from(text, "latin1");
  }

  async state(): Promise<string> {
    return this.element.evaluate((e) => (e as Element).state);
  }

  async until(state: string): Promise<void> {
    await this.page.waitForFunction((want) => (document.querySelector("smtp-scope") as Element).state === want, state);
  }

  /** Presses Run and waits for the end of the session. */
  async run(): Promise<Saved> {
    await this.button("Run").click();
    await this.until("done");
    return this.saved();
  }

  /** Runs a plan that no form could make. */
  async runPlan(plan: unknown): Promise<Saved> {
    await this.element.evaluate(async (e, p) => {
      (e as Element).plan = p;
      await (e as Element).run();
      await new Promise(requestAnimationFrame); // until it is drawn
    }, plan);
    return this.saved();
  }

  async saved(): Promise<Saved> {
    const text = await this.element.evaluate(async (e) => (await (e as Element).export("json")).text());
    return JSON.parse(text) as Saved;
  }

  /** The ladder's rows as a reader sees them. */
  async rows(): Promise<string[]> {
    return this.page.locator("scope-ladder .row .say").allInnerTexts();
  }

  /** Chooses a row, and sees that it is the chosen one, and in sight. Rows that come into sight take the elements of others, so it is scrolled to first. */
  async pick(text: string): Promise<void> {
    const row = this.page.locator("scope-ladder .row .say", { hasText: text }).first(), chosen = this.page.locator("scope-ladder .row.sel", { hasText: text });
    await row.scrollIntoViewIfNeeded();
    await this.page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
    await row.click();
    await chosen.waitFor();
    await this.sees(chosen);
  }

  /** Fails unless a part of the ladder comes to stand within what is shown of it. */
  async sees(part: Locator): Promise<void> {
    await part.evaluate(async (e) => {
      const inside = () => {
        const r = e.getBoundingClientRect(), frame = e.closest(".scroll")!.getBoundingClientRect();
        return r.top >= frame.top && r.bottom <= frame.bottom;
      };
      for (let i = 0; i < 60 && !inside(); i++) await new Promise((r) => requestAnimationFrame(r));
      if (!inside()) throw new Error(`out of sight: ${(e as HTMLElement).innerText}`);
    });
  }

  /** What the page says of the outcome. */
  async verdict(): Promise<string> {
    return shadowText(this.page.locator("scope-verdict"));
  }

  /** The page shows, in words, what the result says. */
  async showsError(saved: Saved, code: string, ...words: (string | RegExp)[]): Promise<void> {
    assert.equal(saved.result.error?.code, code, JSON.stringify(saved.result));
    const verdict = await this.verdict();
    for (const w of words) assert.match(verdict, typeof w === "string" ? new RegExp(w.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")) : w);
  }
}
