// What waits to be sent while the session is paused: to be read, changed, sent.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import { look } from "./book.ts";
import type { Pending } from "./engine.ts";
import * as format from "./format.ts";
import { control } from "./icons.ts";
import { shared } from "./tokens.ts";
import { masked } from "./words.ts";

export class ScopePending extends LitElement {
  static override properties = {
    pending: { attribute: false },
    draft: { attribute: false },
    text: { state: true },
    shown: { state: true },
  };
  declare pending: Pending;
  /** A text proposed from elsewhere, such as a legal verb that was chosen. */
  declare draft: { text: string } | undefined;
  declare text: string;
  /** The secret is readable. */
  declare shown: boolean;

  constructor() {
    super();
    this.text = "";
    this.shown = false;
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get("pending") as Pending | undefined;
    // What was typed stays when it was not taken.
    if (changed.has("pending") && !(this.pending.problem && before?.verb === this.pending.verb)) {
      this.text = this.pending.text;
      this.shown = false;
    }
    if (changed.has("draft") && this.draft) {
      this.text = this.draft.text;
      this.shown = true;
    }
  }

  protected override updated(changed: PropertyValues<this>): void {
    if (changed.has("draft") && this.draft) {
      const box = this.renderRoot.querySelector("input");
      box?.focus();
      const between = this.draft.text.indexOf("<>") + 1;
      if (between) box?.setSelectionRange(between, between);
    }
  }

  /** What the user wrote instead; undefined when it is what is pending anyway. */
  get edited(): string | undefined {
    return this.text === this.pending.text || this.#tooLong() ? undefined : this.text;
  }

  #hidden(): boolean {
    return !this.shown && this.pending.secret.length > 0 && this.text === this.pending.text;
  }

  #send(): void {
    act(this, { do: "step" });
  }

  #tooLong(): boolean {
    return this.pending.kind === "message" && this.pending.text === "" && this.pending.size > 0;
  }

  protected override render(): TemplateResult {
    const p = this.pending, what = p.kind === "message" ? "message" : p.kind === "response" ? "SASL response" : "command";
    const means = look(`command.${p.verb.toLowerCase()}`)?.means;
    return html`
      <p class="say"><b>${p.verb === "message" ? "Message text" : p.verb === "response" ? "Response" : p.verb}</b> is next. <span class="soft">${means}</span></p>
      <div class="edit">
        ${this.#box(what)}
        ${p.secret.length && this.text === p.text ? html`<button class="link soft" @click=${() => (this.shown = !this.shown)}>${this.shown ? "Hide" : "Show"}</button>` : nothing}
        ${this.text !== p.text && !this.#tooLong() ? html`<button class="link soft" @click=${() => { this.text = p.text; this.shown = false; }}>Undo</button>` : nothing}
        <button class="btn" @click=${() => this.#send()}>${control("step")}Send</button>
      </div>
      ${p.problem ? html`<p class="problem" role="alert">Not sent: ${p.problem}</p>` : nothing}`;
  }

  #box(what: string): TemplateResult {
    const p = this.pending;
    if (this.#tooLong()) return html`<p class="long">${format.bytes(p.size)}, too long to be edited here.</p>`;
    if (p.kind === "message") {
      return html`<textarea aria-label="message to be sent" spellcheck="false" wrap="off" .value=${this.text} @input=${(e: InputEvent) => (this.text = (e.target as HTMLTextAreaElement).value)}
        @keydown=${(e: KeyboardEvent) => e.key === "Enter" && (e.ctrlKey || e.metaKey) && this.#send()}></textarea>`;
    }
    const hidden = this.#hidden();
    return html`<input aria-label="${what} to be sent" spellcheck="false" autocapitalize="none" autocomplete="off" ?readonly=${hidden} .value=${hidden ? masked(this.text, p.secret) : this.text}
      @input=${(e: InputEvent) => (this.text = (e.target as HTMLInputElement).value)} @keydown=${(e: KeyboardEvent) => e.key === "Enter" && this.#send()}>`;
  }

  static override styles = [shared, css`
    :host { display: block; padding: 7px var(--s3) 9px; background: var(--panel); border-top: 1px solid var(--rule-strong); }
    .say { line-height: 18px; margin-bottom: 6px; } .say b { font-family: var(--wire); color: var(--out); }
    .edit { display: flex; gap: var(--s3); align-items: center; }
    input, textarea { flex: 1; min-width: 0; background: var(--paper); border: 1px solid var(--rule-strong); border-radius: var(--radius); font: 700 var(--tw)/1.2 var(--wire); color: var(--out); padding: 0 var(--s2); height: 28px; }
    input:focus, textarea:focus { border-color: var(--ink); }
    input:read-only { color: var(--soft); }
    textarea { font: var(--t2)/16px var(--wire); height: 132px; padding: var(--s1) var(--s2); resize: vertical; color: var(--ink); }
    .edit:has(textarea) { align-items: flex-end; }
    .long { flex: 1; color: var(--soft); } .link { font-size: var(--t2); flex: none; }
    .problem { color: var(--bad); font-size: var(--t2); line-height: 16px; padding-top: 6px; }
    @container scope (max-width: 699px) { .btn { height: 44px; } input { height: 44px; font-size: 16px; } .say .soft { display: none; } }
  `];
}

customElements.define("scope-pending", ScopePending);
