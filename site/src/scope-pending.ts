// What waits to be sent while the session is paused: to be read, changed, sent. A
// line is completed while it is typed, and looked at before it goes out. When the
// plan has no message, the line is the console: it starts empty.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { act } from "./actions.ts";
import { look } from "./book.ts";
import { contextOf, history, objection, suggestions, template, type Context, type Suggestion } from "./complete.ts";
import type { Pending } from "./engine.ts";
import * as format from "./format.ts";
import { control, severity } from "./icons.ts";
import { shared } from "./tokens.ts";
import type { View } from "./view.ts";
import { masked, visible } from "./words.ts";

/** How many suggestions are listed. */
const MOST = 10;

export class ScopePending extends LitElement {
  static override properties = {
    view: { attribute: false },
    pending: { attribute: false },
    draft: { attribute: false },
    envelope: { attribute: false },
    typing: { attribute: false },
    console: { attribute: false },
    text: { state: true },
    shown: { state: true },
    open: { state: true },
    at: { state: true },
  };
  declare view: View;
  /** What would be sent next; what was sent last while that is not answered, and view.pending is undefined. */
  declare pending: Pending;
  /** A command chosen elsewhere. */
  declare draft: { verb: string } | undefined;
  /** Addresses for a plan that has none. */
  declare envelope: { from: string; to: readonly string[] };
  /** The user was typing when this came into being. */
  declare typing: boolean;
  /** The plan has no message: commands come from the user. */
  declare console: boolean;
  declare text: string;
  /** The secret is readable. */
  declare shown: boolean;
  /** The suggestions are listed. */
  declare open: boolean;
  /** Index of the suggestion that Enter takes, -1 for none. */
  declare at: number;

  #back = -1; // how far into the history
  #caret: number | undefined; // to be set when it is drawn

  constructor() {
    super();
    this.text = "";
    this.shown = this.open = this.typing = this.console = false;
    this.at = -1;
    this.envelope = { from: "", to: [] };
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get("pending") as Pending | undefined;
    // What was typed stays when it was not taken.
    if (changed.has("pending") && !(this.pending.problem && before?.verb === this.pending.verb)) {
      this.text = this.#empty() ? "" : this.pending.text;
      this.shown = this.open = false;
      this.#back = -1;
    }
    if (changed.has("draft") && this.draft) {
      this.#take(template(this.draft.verb, this.#context));
      this.typing = true;
    }
  }

  protected override updated(changed: PropertyValues<this>): void {
    const box = this.#input;
    if (box && this.typing && (changed.has("pending") || changed.has("draft") || changed.has("typing"))) box.focus({ preventScroll: true });
    if (box && this.#caret !== undefined) box.setSelectionRange(this.#caret, this.#caret);
    this.#caret = undefined;
    this.renderRoot.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  get #input(): HTMLInputElement | HTMLTextAreaElement | null {
    return this.renderRoot.querySelector("input, textarea");
  }

  get #context(): Context {
    return contextOf(this.view, this.envelope);
  }

  /** The line starts empty. */
  #empty(): boolean {
    return this.console && this.pending.kind === "command";
  }

  /** Sent, and not answered yet. */
  get #waits(): boolean {
    return !this.view.pending;
  }

  /** What the user wrote instead; undefined when it is what is pending anyway, or nothing. */
  get edited(): string | undefined {
    return this.text === this.pending.text || this.#tooLong() || (this.#empty() && !this.text.trim()) ? undefined : this.text;
  }

  #hidden(): boolean {
    return !this.shown && this.pending.secret.length > 0 && this.text === this.pending.text;
  }

  #send(): void {
    if (this.#waits) return;
    if (this.#empty() && !this.text.trim()) this.open = true;
    else act(this, { do: "step" });
  }

  #tooLong(): boolean {
    return this.pending.kind === "message" && this.pending.text === "" && this.pending.size > 0;
  }

  #listed(c: Context): Suggestion[] {
    return this.open && !this.#waits && this.pending.kind === "command" && !this.#hidden() ? suggestions(this.text, c).slice(0, MOST) : [];
  }

  #take(s: Suggestion): void {
    this.text = s.text;
    this.#caret = s.caret;
    this.shown = this.open = true;
    this.at = -1;
  }

  #typed(text: string): void {
    this.text = text;
    this.open = true;
    this.at = this.#back = -1;
  }

  #keyed(e: KeyboardEvent): void {
    const list = this.#listed(this.#context), keys: Record<string, () => boolean> = {
      Enter: () => {
        if (list[this.at]) this.#take(list[this.at]!);
        else this.#send();
        return true;
      },
      Tab: () => {
        if (e.shiftKey || list.length === 0) return false;
        this.#take(list[Math.max(0, this.at)]!);
        return true;
      },
      ArrowDown: () => {
        if (this.#back >= 0) this.#recall(this.#back - 1);
        else if (this.pending.kind === "command" && !this.open) this.open = true;
        else this.at = Math.min(list.length - 1, this.at + 1);
        return true;
      },
      ArrowUp: () => {
        if (this.at >= 0) this.at--;
        else this.#recall(this.#back + 1);
        return true;
      },
      Escape: () => {
        if (!this.open) return false;
        this.open = false;
        this.at = -1;
        return true;
      },
    };
    if (e.isComposing || e.ctrlKey || e.metaKey || e.altKey || !keys[e.key]?.()) return;
    e.preventDefault();
    e.stopPropagation();
  }

  /** Lines of before: 0 is the last that was sent, -1 the one that is being written. */
  #recall(back: number): void {
    const lines = history(this.view), line = back < 0 ? "" : lines[back];
    if (line === undefined || this.pending.kind !== "command" || this.#hidden()) return;
    this.#back = Math.max(-1, back);
    this.text = line;
    this.#caret = line.length;
    this.open = false;
  }

  protected override render(): TemplateResult {
    const p = this.pending, c = this.#context, waits = this.#waits, list = this.#listed(c), text = this.text.trim();
    const wrong = waits || p.kind !== "command" || this.#hidden() || text === p.text ? "" : objection(text, c);
    return html`
      <p class="say">${this.#words()}</p>
      <div class="edit">
        ${list.length ? this.#list(list) : nothing}${this.#box(list)}
        ${p.secret.length && this.text === p.text ? html`<button class="link soft" @click=${() => (this.shown = !this.shown)}>${this.shown ? "Hide" : "Show"}</button>` : nothing}
        ${this.text !== p.text && !this.#empty() && !this.#tooLong() && !waits ? html`<button class="link soft" @click=${() => { this.text = p.text; this.shown = this.open = false; }}>Undo</button>` : nothing}
        <button class="btn" ?disabled=${waits} @click=${() => this.#send()}>${control("step")}Send</button>
      </div>
      <p class="about" id="about">${p.problem && this.text !== p.text ? html`<span role="alert">Not sent: ${p.problem}</span>` : wrong ? html`${severity("advice")}${wrong}` : nothing}</p>`;
  }

  #words(): TemplateResult {
    const p = this.pending, name = p.verb === "message" ? "Message text" : p.verb === "response" ? "Response" : p.verb;
    if (this.#waits) return html`<span class="soft">Sent. Waiting for the reply.</span>`;
    if (!this.#empty()) return html`<b>${name}</b> is next. <span class="soft">${look(`command.${p.verb.toLowerCase()}`)?.means}</span>`;
    const verb = /^\S*/.exec(this.text)![0].toUpperCase(), means = verb && this.pending.legal.includes(verb) ? look(`command.${verb.toLowerCase()}`)?.means : undefined;
    return means ? html`<b>${verb}</b> <span class="soft">${means}</span>`
      : html`Type a command. <span class="soft">Arrow down lists what is legal; Step would send <span class="wire">${visible(p.secret.length ? masked(p.text, p.secret) : p.text)}</span>.</span>`;
  }

  #list(list: readonly Suggestion[]): TemplateResult {
    return html`<ul id="list" role="listbox" aria-label="what can be sent now">${list.map((s, i) => html`
      <li id="s${i}" role="option" aria-selected=${i === this.at} @pointerdown=${(e: Event) => e.preventDefault()} @click=${() => { this.#take(s); this.#input?.focus(); }}>
        <span class="wire">${s.text}</span><small>${look(s.book)?.means}</small></li>`)}</ul>`;
  }

  #box(list: readonly Suggestion[]): TemplateResult {
    const p = this.pending;
    if (this.#tooLong()) return html`<p class="long">${format.bytes(p.size)}, too long to be edited here.</p>`;
    if (p.kind === "message") {
      return html`<textarea aria-label="message to be sent" spellcheck="false" wrap="off" placeholder="Subject: ..." .value=${this.text} ?readonly=${this.#waits} @input=${(e: InputEvent) => (this.text = (e.target as HTMLTextAreaElement).value)}
        @keydown=${(e: KeyboardEvent) => e.key === "Enter" && (e.ctrlKey || e.metaKey) && this.#send()}></textarea>`;
    }
    const hidden = this.#hidden(), command = p.kind === "command";
    return html`<input aria-label="${command ? "command" : "SASL response"} to be sent" spellcheck="false" autocapitalize="none" autocomplete="off" ?readonly=${hidden || this.#waits} .value=${hidden ? masked(this.text, p.secret) : this.text}
      role=${command ? "combobox" : nothing} aria-autocomplete=${command ? "list" : nothing} aria-expanded=${command ? list.length > 0 : nothing} aria-controls=${list.length ? "list" : nothing}
      aria-activedescendant=${this.at >= 0 && list[this.at] ? `s${this.at}` : nothing} aria-describedby="about" placeholder=${this.console && command ? "a command" : nothing}
      @input=${(e: InputEvent) => this.#typed((e.target as HTMLInputElement).value)} @keydown=${(e: KeyboardEvent) => this.#keyed(e)} @click=${() => (this.open ||= !this.text)} @blur=${() => (this.open = false)}>`;
  }

  static override styles = [shared, css`
    :host { display: block; padding: 7px var(--s3) 7px; background: var(--panel); border-top: 1px solid var(--rule-strong); }
    .say { line-height: 18px; margin-bottom: 6px; } .say b { font-family: var(--wire); color: var(--out); }
    .edit { position: relative; display: flex; gap: var(--s3); align-items: center; }
    input, textarea { flex: 1; min-width: 0; background: var(--paper); border: 1px solid var(--rule-strong); border-radius: var(--radius); font: 700 var(--tw)/1.2 var(--wire); color: var(--out); padding: 0 var(--s2); height: 28px; }
    ::placeholder { font-weight: 400; }
    input:focus, textarea:focus { border-color: var(--ink); }
    input:read-only { color: var(--soft); }
    textarea { font: var(--t2)/16px var(--wire); height: 132px; padding: var(--s1) var(--s2); resize: vertical; color: var(--ink); }
    .edit:has(textarea) { align-items: flex-end; }
    .long { flex: 1; color: var(--soft); } .link { font-size: var(--t2); flex: none; }
    .about { font-size: var(--t2); line-height: 16px; min-height: 20px; padding-top: 4px; color: var(--soft); } .about [role] { color: var(--bad); } .about .glyph { display: inline-block; margin-right: 6px; vertical-align: -1px; }
    ul { position: absolute; z-index: 3; left: 0; right: 0; bottom: calc(100% + 3px); max-height: min(330px, 50cqh); overflow: auto; background: var(--paper); border: 1px solid var(--ink); border-radius: var(--radius); padding: var(--s1) 0; }
    li { display: grid; grid-template-columns: minmax(0, 300px) 1fr; gap: var(--s3); align-items: baseline; padding: 3px var(--s2); cursor: pointer; line-height: 18px; }
    li .wire { font-size: var(--tw); color: var(--out); overflow-wrap: anywhere; } li small { font-size: var(--t1); color: var(--soft); line-height: 15px; }
    li:hover, [aria-selected="true"] { background: var(--mark); } [aria-selected="true"] { box-shadow: inset 3px 0 0 var(--ink); }
    @container scope (max-width: 699px) { .btn { height: 44px; } input { height: 44px; font-size: 16px; } .say .soft { display: none; } li { grid-template-columns: 1fr; gap: 0; padding: 8px var(--s2); } }
  `];
}

customElements.define("scope-pending", ScopePending);
