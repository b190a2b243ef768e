// <scope-compose>: a message as fields. Fetched when they are wanted.

import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { ATTACHED, difference, header, source, type Compose } from "./compose.ts";
import { controls, field, more, problem } from "./controls.ts";
import * as format from "./format.ts";
import { control } from "./icons.ts";
import { messageSize, type Attachment, type Fields, type Transaction } from "./plan.ts";
import { shared } from "./tokens.ts";

export class ScopeCompose extends LitElement {
  static override properties = {
    transaction: { attribute: false },
    compose: { attribute: false },
    locked: { attribute: false },
    refused: { state: true },
    busy: { state: true },
  };
  declare transaction: Transaction;
  declare compose: Compose;
  declare locked: boolean;
  /** Why files were not attached. */
  declare refused: string;
  declare busy: boolean;

  constructor() {
    super();
    this.refused = "";
    this.busy = false;
  }

  /** The fields were changed for good, and are not here yet. */
  #due = true;

  protected override updated(changed: PropertyValues<this>): void {
    if (!this.#due || !changed.has("transaction")) return;
    this.#due = false;
    void this.#compose();
  }

  protected override render(): TemplateResult {
    const t = this.transaction, { fields, problem: wrong } = t, { locked } = this, shown = header(t), differs = difference(t), size = t.file?.size ?? messageSize(t.text);
    const at = (name: keyof Fields | "") => (wrong?.field === name ? wrong.text : undefined);
    const line = (label: string, name: "from" | "to" | "cc" | "subject", placeholder = "") =>
      field(label, fields[name], locked, (v) => this.#set({ [name]: v }), { name: `${label}, in the header`, placeholder, problem: at(name) });
    const text = (label: string, name: "text" | "html", rows: number) =>
      html`<textarea class="box" rows=${rows} spellcheck="false" aria-label=${label} aria-invalid=${at(name) ? "true" : nothing} ?readonly=${locked} .value=${fields[name]} @input=${(e: InputEvent) => this.#set({ [name]: (e.target as HTMLTextAreaElement).value })}></textarea>${problem(at(name))}`;
    return html`<div @change=${(e: Event) => (e.target as HTMLInputElement).type !== "file" && void this.#compose()}>
      ${line("From", "from", shown.from)}${line("To", "to", shown.to)}${line("Cc", "cc")}${line("Subject", "subject")}
      ${differs ? html`<p class="hint">${differs}</p>` : nothing}
      ${t.left ? html`<p class="hint">Not taken over from the source: ${t.left}.</p>` : nothing}
      <div class="text">${text("text", "text", 6)}</div>
      ${more("HTML", fields.html ? 1 : 0, html`${text("HTML", "html", 5)}<p class="hint">Readers see this, or the text where they cannot.</p>`)}
      ${fields.attachments.length ? html`<ul aria-label="attachments">${fields.attachments.map((a, i) => this.#attachment(a, i))}</ul>` : nothing}
      ${problem(at("attachments"))}${problem(this.refused)}${problem(at(""))}
      <p class="ends">${locked ? html`<span></span>` : html`<label class="choose"><input type="file" multiple class="vh" @change=${(e: Event) => this.#attach(e.target as HTMLInputElement)}><span class="link">Attach files</span></label>`}<small>${size ? format.bytes(size) : this.busy ? "composing …" : "composed when it is sent"}</small></p>
    </div>`;
  }

  #attachment(a: Attachment, i: number): TemplateResult {
    return html`<li><span class="wire">${a.name}</span><small>${format.bytes(a.data.length)}</small>${this.locked ? nothing
      : html`<button class="drop" aria-label="remove ${a.name}" @click=${() => this.#changed({ attachments: this.transaction.fields.attachments.filter((_, j) => j !== i) })}>${control("close")}</button>`}</li>`;
  }

  #set(patch: Partial<Fields>): void {
    this.#tell({ fields: { ...this.transaction.fields, ...patch } });
  }

  #changed(patch: Partial<Fields>): void {
    this.refused = "";
    this.#set(patch);
    this.#due = true;
  }

  #tell(patch: Partial<Transaction>): void {
    this.dispatchEvent(new CustomEvent("scope-fields", { detail: patch }));
  }

  /** Once a field is filled in: its size, or what is wrong with it. */
  async #compose(): Promise<void> {
    const before = this.transaction;
    this.busy = true;
    const { text, file, alternatives, problem } = await source(before, this.compose);
    this.busy = false;
    if (this.transaction === before && before.way === "fields" && !before.text && !before.file) this.#tell({ text, file, alternatives, problem });
  }

  async #attach(input: HTMLInputElement): Promise<void> {
    const files = [...(input.files ?? [])], before = this.transaction.fields.attachments;
    input.value = "";
    const sum = before.reduce((n, a) => n + a.data.length, 0) + files.reduce((n, f) => n + f.size, 0);
    if (sum > ATTACHED) {
      this.refused = `With ${format.list(files.map((f) => f.name))} the attachments would have ${format.bytes(sum)}; at most ${format.bytes(ATTACHED)} can be sent from here.`;
      return;
    }
    try {
      this.#changed({ attachments: [...before, ...(await Promise.all(files.map(read)))] });
    } catch (e) {
      this.refused = `A file cannot be read: ${(e as Error).message}`;
    }
  }

  static override styles = [shared, controls, css`
    :host { display: block; }
    .text { padding-top: 6px; }
    ul { padding: 2px 0; } li { position: relative; display: flex; gap: var(--s2); align-items: baseline; min-height: 24px; line-height: 24px; padding-right: 28px; } li .wire { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } li small { margin-left: auto; color: var(--soft); font-size: var(--t1); white-space: nowrap; }
    :host([layout="phone"]) li { min-height: 36px; line-height: 36px; padding-right: 40px; }
  `];
}

async function read(file: File): Promise<Attachment> {
  return { name: file.name, type: file.type || "application/octet-stream", data: new Uint8Array(await file.arrayBuffer()) };
}

customElements.define("scope-compose", ScopeCompose);
