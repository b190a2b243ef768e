// The session as a command of another tool: to be read, copied, taken home.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { TOOLS, type Format } from "./files.ts";
import { control } from "./icons.ts";
import { shared } from "./tokens.ts";

type Tool = (typeof TOOLS)[number][0];

export class ScopeCommand extends LitElement {
  static override properties = { write: { attribute: false }, tool: { state: true }, text: { state: true }, problem: { state: true }, copied: { state: true } };
  /** Writes the session in some format. */
  declare write: (format: Format) => Promise<Blob>;
  declare tool: Tool;
  declare text: string;
  declare problem: string;
  declare copied: boolean;

  constructor() {
    super();
    this.tool = "swaks";
    this.text = this.problem = "";
    this.copied = false;
  }

  show(): void {
    this.renderRoot.querySelector("dialog")!.showModal();
    void this.#choose(this.tool);
  }

  async #choose(tool: Tool): Promise<void> {
    this.tool = tool;
    this.text = this.problem = "";
    this.copied = false;
    let text = "", problem = "";
    try {
      text = await (await this.write(tool)).text();
    } catch (e) {
      problem = e instanceof Error ? e.message : String(e);
    }
    if (this.tool !== tool) return; // another one was chosen meanwhile
    this.text = text;
    this.problem = problem;
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.text);
      this.copied = true;
    } catch {
      // No permission, or no secure origin: the text is marked, for the user's own keys.
      getSelection()?.selectAllChildren(this.renderRoot.querySelector("pre")!);
    }
  }

  protected override render(): TemplateResult {
    return html`<dialog aria-labelledby="title"><div class="box">
      <div class="head"><h2 id="title">The same session by other means</h2><form method="dialog"><button class="close" aria-label="close">${control("close")}</button></form></div>
      <span class="seg" role="radiogroup" aria-label="tool">${TOOLS.map(([tool, words]) => html`
        <label><input type="radio" name="tool" .checked=${tool === this.tool} @change=${() => this.#choose(tool)}><span data-text=${words}>${words}</span></label>`)}</span>
      <pre tabindex="0" aria-label="the command" aria-busy=${!this.text && !this.problem}>${this.problem ? html`<span class="bad" role="alert">It cannot be written: ${this.problem}</span>` : this.text || "Writing it …"}</pre>
      <div class="foot"><span role="status">${this.copied ? "Copied." : nothing}</span>
        <button class="btn" ?disabled=${!this.text} @click=${() => this.#copy()}>Copy</button>
        <button class="btn" ?disabled=${!this.text} @click=${() => this.dispatchEvent(new CustomEvent<Format>("scope-save", { detail: this.tool }))}>Download</button></div>
    </div></dialog>`;
  }

  static override styles = [shared, css`
    dialog { width: min(860px, calc(100vw - 32px)); max-width: none; font: var(--t3)/1.4 var(--prose); }
    .box { padding: var(--s4) var(--s5) var(--s5); display: grid; gap: var(--s3); grid-template-columns: minmax(0, 1fr); } .head { display: flex; justify-content: space-between; align-items: center; } h2 { font-size: var(--t4); }
    .close { width: 28px; height: 28px; display: grid; place-items: center; margin-right: -8px; } .seg { justify-self: start; max-width: 100%; flex-wrap: wrap; }
    pre { font: var(--t2)/17px var(--wire); white-space: pre; overflow: auto; height: min(440px, 56vh); background: var(--panel); padding: var(--s3); border-left: 2px solid var(--rule-strong); }
    .bad { white-space: normal; font-family: var(--prose); }
    .foot { display: flex; gap: var(--s3); align-items: center; justify-content: flex-end; }
    @media (max-width: 699px) { .btn { height: 44px; } .seg label { height: 44px; } }
  `];
}

customElements.define("scope-command", ScopeCommand);
