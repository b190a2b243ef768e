// The strip below the ladder: an invitation before, progress during, the verdict after.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import * as format from "./format.ts";
import { tally } from "./findings.ts";
import { severity } from "./icons.ts";
import { shared } from "./tokens.ts";
import type { RecipientResult } from "./trace.ts";
import { verdict } from "./verdict.ts";
import { atEnd, now, type View } from "./view.ts";

/** How long the server may be silent before that is worth words, in milliseconds. */
const SILENCE = 1500;

export class ScopeVerdict extends LitElement {
  static override properties = {
    view: { attribute: false },
    invite: { attribute: false },
    problem: { attribute: false },
    storage: { attribute: false },
    writes: { attribute: false },
    waited: { state: true },
  };
  declare view: View;
  /** One sentence on what Run will do. */
  declare invite: string;
  /** Why nothing can be run, such as a proxy that is gone. */
  declare problem: string;
  /** The server's storage can be read: it is the practice server. */
  declare storage: boolean;
  /** Its user may be invited to say everything by hand. */
  declare writes: boolean;
  /** Milliseconds since something last happened. */
  declare waited: number;

  #since = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.invite = this.problem = "";
    this.storage = this.writes = false;
    this.waited = 0;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (!changed.has("view")) return;
    this.#since = performance.now();
    this.waited = 0;
    clearInterval(this.#timer);
    if (this.view.state === "running" || this.view.state === "loading") this.#timer = setInterval(() => (this.waited = performance.now() - this.#since), 500);
  }

  protected override render(): TemplateResult {
    const v = this.view;
    if (v.crash) return this.#bad("The engine crashed", v.crash.split("\n")[0]!, html`<button class="btn" @click=${() => act(this, { do: "run" })}>Start again</button>`, v.crash);
    if (this.problem) return this.#bad("Not available", this.problem, html`<button class="btn" @click=${() => act(this, { do: "retry" })}>Try again</button>`);
    if (v.state === "loading") return html`<p class="say">${v.lab ? "Starting the lab: TCP/IP stacks, DNS and mail servers" : "Starting the engine: the SMTP client and TLS"} as WebAssembly, loaded once.${this.#stop()}</p>`;
    if (v.state === "running") return html`<p class="say">${this.waited > SILENCE && !v.lab ? html`Waiting for ${this.#awaited()}, ${Math.floor(this.waited / 1000)} s so far.` : html`<span class="soft">Running.</span>`}${this.#stop()}</p>`;
    if (v.trace && !atEnd(v)) return html`<p class="say">Shown up to ${format.ms(now(v))} ms of ${format.ms(v.trace.elapsed)} ms.<button class="btn" @click=${() => act(this, { do: "end" })}>To the end</button></p>`;
    if (v.trace?.result) return this.#verdict();
    if (v.trace) return html`<p class="say">This trace has no result: it was saved before the session ended.</p>`;
    return html`<p class="say invite"><span>${this.invite}</span>${this.writes ? html`<button class="btn" title="C: a session without a message, that stops before each command" @click=${() => act(this, { do: "console" })}>Type it by hand</button>` : nothing}</p>`;
  }

  #stop(): TemplateResult | typeof nothing {
    return this.waited > SILENCE ? html`<button class="btn" @click=${() => act(this, { do: "stop" })}>Stop</button>` : nothing;
  }

  #awaited(): string {
    const { list, rounds } = this.view.rows, open = rounds.list.findLast((r) => r.to === undefined), last = list.at(-1);
    if (open?.what === "connect" || !last) return `${this.view.server} to accept the connection`;
    if (open?.what === "TLS handshake") return "the TLS handshake";
    if (open) return `the reply to ${open.what === "message" ? "the message" : open.what}`;
    return last.kind === "connect" || last.kind === "note" ? "the greeting" : "the server";
  }

  #bad(title: string, text: string, button: TemplateResult, details = ""): TemplateResult {
    return html`<div class="verdict bad">${severity("error")}<p><b>${title}.</b> ${text}</p>${button}</div>
      ${details.includes("\n") ? html`<pre tabindex="0" aria-label="the engine's last words">${details}</pre>` : nothing}`;
  }

  #verdict(): TemplateResult {
    const v = this.view, d = verdict(v.trace!, v.trace!.result!, v.all), row = d.event === undefined ? undefined : v.all.rowOf(d.event);
    const glyph = d.tone === "good" ? severity("good") : d.tone === "note" ? severity("note") : severity("error");
    const found = tally(v.trace!.findings), all = d.messages.flatMap((m) => m.recipients);
    const each = d.messages.length > 1 ? all.some((x) => x.outcome === "accepted") : all.some((x) => x.outcome !== all[0]!.outcome); // they have more to say than the sentence
    return html`
      <div class="verdict ${d.tone}">${glyph}<div>
        <p><b>${d.title}.</b> ${d.text} ${d.after} ${row && d.tone !== "good" ? html`<button class="link soft" @click=${() => act(this, { do: "pick", key: `r${row.i}` })}>Row ${row.n}</button>` : nothing}${found ? html` <button class="link soft found" @click=${() => act(this, { do: "show", what: "findings" })}>${found}</button>` : nothing}</p>
        ${each ? html`<ul>${d.messages.map((m) => (m.name ? html`<li>${m.name}: ${m.recipients.map((r, i) => html`${i ? ", " : nothing}${this.#recipient(r, true)}`)}</li>` : m.recipients.map((r) => html`<li>${this.#recipient(r)}</li>`)))}</ul>` : nothing}</div>
        ${d.after ? html`<button class="btn" @click=${() => act(this, { do: "show", what: "mail" })}>Read the mailboxes</button>` : nothing}
        ${this.storage && d.queueIDs.length ? html`<button class="btn" @click=${() => act(this, { do: "stored" })}>Read what the server stored</button>` : nothing}
      </div>`;
  }

  /** Briefly: of one who got the message, the address says it. */
  #recipient(r: RecipientResult, briefly = false): TemplateResult {
    const row = r.event === undefined ? undefined : this.view.all.rowOf(r.event), good = r.outcome === "accepted";
    return html`<span class=${good ? "" : "no"}><span class="wire">${r.to}</span>${briefly && good ? nothing : html` ${r.outcome}${row ? html`, <button class="link soft" @click=${() => act(this, { do: "pick", key: `r${row.i}` })}>row ${row.n}</button>` : nothing}`}</span>`;
  }

  static override styles = [shared, css`
    :host { display: block; border-top: 1px solid var(--rule-strong); background: var(--panel); padding: 9px var(--s3); max-height: 40cqh; overflow: auto; }
    .say { line-height: 20px; display: flex; align-items: center; justify-content: space-between; gap: var(--s3); min-height: 28px; }
    .invite > span { font-size: var(--t4); } .say .btn { flex: none; }
    .verdict { display: grid; grid-template-columns: 14px 1fr auto; gap: var(--s2); align-items: start; min-height: 28px; }
    .verdict > .glyph { width: 13px; height: 13px; margin-top: 4px; } .bad > .glyph { stroke: var(--bad); }
    .verdict p { font-size: var(--t4); line-height: 21px; overflow-wrap: anywhere; } .verdict.bad { color: var(--ink); } .verdict.bad p b { color: var(--bad); }
    .verdict .link { font-size: var(--t3); white-space: nowrap; } .link + .found { margin-left: var(--s2); }
    ul { font-size: var(--t2); line-height: 18px; padding-top: 2px; overflow-wrap: anywhere; } .no { color: var(--bad); }
    pre { font: var(--t1)/15px var(--wire); max-height: 150px; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; padding: var(--s2) 0 0 22px; color: var(--soft); }
    @container scope (max-width: 699px) { .verdict { grid-template-columns: 14px 1fr; } .verdict .btn { grid-column: 2; justify-self: start; height: 44px; } .verdict p, .invite > span { font-size: var(--t3); line-height: 19px; } }
  `];
}

customElements.define("scope-verdict", ScopeVerdict);
