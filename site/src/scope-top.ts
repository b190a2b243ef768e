// The top bar: what to talk to, and the controls of the session.

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { act, type Action } from "./actions.ts";
import type { Format } from "./files.ts";
import { bars, caret, control, halves, logo } from "./icons.ts";
import { securityOf, target, type Config, type Form } from "./plan.ts";
import { SPEEDS } from "./scope-clock.ts";
import { addressControl, modeControl, securityControl } from "./target.ts";
import { shared } from "./tokens.ts";
import { atEnd, type Pane, type View } from "./view.ts";

export type Width = "wide" | "mid" | "phone";

const SECURITY_WORDS = { none: "no TLS", starttls: "STARTTLS", tls: "implicit TLS" } as const;

const PANES: Record<Pane, string> = { ladder: "the ladder", transcript: "the transcript", findings: "the findings", chart: "the chart", mail: "the mail" };

/** What every trace can be saved as. */
const FILES: readonly [Format, string, string][] = [["json", "The trace", "JSON, opens here again"], ["text", "The transcript", "text"], ["markdown", "A report", "Markdown"], ["svg", "The ladder", "SVG"]];

/** An experiment that stands before its end can be run again up to there, and led another way. */
function takes(v: View): boolean {
  return v.lab && !!v.trace && !v.replay && !atEnd(v);
}

/** Run, Step, Pause, Reset: in the top bar, at the thumb on a phone. In the lab they also play what was recorded. */
export function transport(host: EventTarget, v: View, o: { iconsOnly?: boolean } = {}): TemplateResult {
  const busy = v.state === "loading" || v.state === "running", paused = v.state === "paused", open = busy || paused;
  const behind = v.lab && !!v.trace && !atEnd(v), stands = behind && !v.playing, word = (w: string) => (o.iconsOnly ? html`<span class="vh">${w}</span>` : w);
  const run = html`<button class="btn go" ?disabled=${busy || v.playing} title=${stands ? "R: play on from here" : "R"} @click=${() => act(host, { do: "run" })}
    @pointerenter=${() => host.dispatchEvent(new Event("scope-intent", { bubbles: true }))} @focus=${() => host.dispatchEvent(new Event("scope-intent", { bubbles: true }))}>${control("run")}Run</button>`;
  const step = html`<button class="btn" ?disabled=${v.state === "loading"} title=${behind ? "S: to the next row of SMTP" : "S"} @click=${() => act(host, { do: "step" })}>${control("step")}Step</button>`;
  const pause = html`<button class="btn" ?disabled=${!open && !behind} aria-pressed=${stands || (paused && !v.playing)} title="P" @click=${() => act(host, { do: "pause" })}>${control("pause")}${word("Pause")}</button>`;
  const reset = html`<button class="btn" ?disabled=${!open && !v.trace && !v.crash} @click=${() => act(host, { do: "reset" })}>${control("reset")}${word("Reset")}</button>`;
  const take = takes(v) ? html`<button class="btn take" title="run again from the seed up to here, and pause before the next send" @click=${() => act(host, { do: "takeover" })}>Take over<span> here</span></button>` : nothing;
  return o.iconsOnly ? html`${reset}${pause}${step}${run}` : html`${run}${step}${pause}${reset}${take}`;
}

export class ScopeTop extends LitElement {
  static override properties = {
    view: { attribute: false },
    form: { attribute: false },
    config: { attribute: false },
    width: { attribute: false },
    problem: { attribute: false },
    planOpen: { attribute: false },
    secrets: { attribute: false },
    show: { attribute: false },
  };
  declare view: View;
  declare form: Form;
  declare config: Config | undefined;
  declare width: Width;
  declare problem: string | undefined;
  declare planOpen: boolean;
  declare secrets: boolean;
  declare show: Pane;

  #outside = (e: Event): void => {
    const menu = this.renderRoot.querySelector("details");
    if (menu?.open && !e.composedPath().includes(menu)) menu.open = false;
  };

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("pointerdown", this.#outside);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener("pointerdown", this.#outside);
  }

  #menu(action: Action): void {
    this.renderRoot.querySelector("details")!.open = false;
    act(this, action);
  }

  protected override render(): TemplateResult {
    const p = { form: this.form, config: this.config, locked: this.#locked, problem: this.problem };
    return html`
      <h1 class="mark ${takes(this.view) ? "slim" : ""}">${logo}<span>smtpscope</span></h1>
      ${this.width === "wide"
        ? html`<div class="lead">${modeControl(this, p)}${addressControl(this, p)}</div>
          <div class="lead"><span class="k">Security</span>${securityControl(this, p)}</div>
          <div class="transport">${transport(this, this.view)}</div>`
        : html`<button class="btn what" aria-expanded=${this.planOpen} @click=${() => act(this, { do: "plan" })}>${this.#summary()}${caret}</button>
          ${this.width === "mid" ? html`<div class="transport">${transport(this, this.view)}</div>` : nothing}`}
      <div class="end">${this.#details()}${this.width === "phone" ? nothing : this.#theme()}</div>`;
  }

  get #locked(): boolean {
    return this.view.playing || this.view.state === "loading" || this.view.state === "running" || this.view.state === "paused";
  }

  #summary(): TemplateResult {
    const { mode } = this.form, t = target(this.form, this.config);
    const where = mode === "lab" ? "Lab" : mode === "practice" ? "Practice" : t.host || "Live";
    return html`<span class="clip">${where}, ${SECURITY_WORDS[securityOf(this.form)]}${this.width === "phone" ? "" : `, port ${t.port}`}</span>`;
  }

  #theme(): TemplateResult {
    return html`<button class="btn bare" aria-label="light or dark" @click=${() => act(this, { do: "theme" })}>${halves}</button>`;
  }

  #details(): TemplateResult {
    const v = this.view, { trace } = v, phone = this.width === "phone", inLab = trace?.meta.mode === "lab";
    const save = (format: Format, words: string, what: string, host?: string) => html`<button ?disabled=${!trace} @click=${() => this.#menu({ do: "save", format, ...(host && { host }) })}>${words} <small>${what}</small></button>`;
    const hosts = inLab ? trace.meta.hosts.filter((h) => h.id !== "dns") : [];
    return html`
      <details class="menu" @keydown=${(e: KeyboardEvent) => e.key === "Escape" && this.#close(e)}>
        <summary class="btn ${phone ? "bare" : ""}">${phone ? html`<span class="vh">Menu</span>${bars}` : html`Save${caret}`}</summary>
        <div class="sheet">
          ${phone ? html`<p>Save</p>` : nothing}${FILES.map(([format, words, what]) => save(format, words, what))}
          ${inLab ? hosts.map((h) => save("pcapng", `Packets at ${h.id === "client" ? "this page" : h.name}`, "pcapng", h.id)) : save("pcapng", "Packets", "pcapng, synthesized from the bytes", "client")}
          <button ?disabled=${!trace} @click=${() => this.#menu({ do: "command" })}>As a command … <small>swaks, curl, Go and others</small></button>
          <label><input type="checkbox" .checked=${this.secrets} @change=${(e: Event) => act(this, { do: "secrets", include: (e.target as HTMLInputElement).checked })}> include secrets: passwords, TLS keys</label>
          <hr>
          <button ?disabled=${this.#locked} @click=${() => this.#menu({ do: "console" })}>Type SMTP by hand <small>C</small></button>
          <button @click=${() => this.#menu({ do: "open" })}>Open a saved trace … <small>or drop it here</small></button>
          <button @click=${() => this.#menu({ do: "help" })}>Keys and glyphs <small>?</small></button>
          ${phone ? html`<hr>${this.#pocket()}` : nothing}
        </div>
      </details>`;
  }

  /** What a phone has no room for elsewhere. */
  #pocket(): TemplateResult {
    const v = this.view, panes = (v.lab ? ["ladder", "transcript", "findings", "chart", "mail"] : ["ladder", "transcript", "findings", "chart"]) satisfies Pane[];
    return html`
      ${takes(v) ? html`<button @click=${() => this.#menu({ do: "takeover" })}>Take over here</button>` : nothing}
      ${v.lab ? html`<label>Lab time <select @change=${(e: Event) => act(this, { do: "speed", speed: SPEEDS[(e.target as HTMLSelectElement).selectedIndex]![0] })}>
          ${SPEEDS.map(([speed, words]) => html`<option ?selected=${speed === v.speed}>${words}</option>`)}</select></label>
        <label><input type="checkbox" .checked=${v.packets === "all"} @change=${(e: Event) => act(this, { do: "packets", packets: (e.target as HTMLInputElement).checked ? "all" : "few" })}> every packet has a row</label>` : nothing}
      ${panes.filter((what) => what !== this.show).map((what) => html`<button @click=${() => this.#menu({ do: "show", what })}>Show ${PANES[what]}</button>`)}
      <button @click=${() => this.#menu({ do: "theme" })}>Light or dark</button>`;
  }

  #close(e: KeyboardEvent): void {
    const menu = e.currentTarget as HTMLDetailsElement;
    menu.open = false;
    menu.querySelector("summary")!.focus();
    e.stopPropagation();
  }

  static override styles = [shared, css`
    :host { display: flex; align-items: center; gap: var(--s3); padding: 0 var(--s4); min-width: 0; }
    .mark { margin: 0; flex: none; display: flex; align-items: center; gap: var(--s2); font-size: var(--t4); font-weight: 600; letter-spacing: -.01em; }
    .slim ~ .transport .take span { display: none; }
    .lead { display: flex; align-items: center; gap: var(--s2); min-width: 0; } .lead + .lead { flex: none; }
    .k { color: var(--soft); font-size: var(--t2); }
    .addr { width: 208px; height: 28px; padding: 0 var(--s2); border: 1px solid var(--rule-strong); border-radius: var(--radius); font-family: var(--wire); font-size: var(--t2); text-overflow: ellipsis; }
    .addr:read-only { color: var(--soft); }
    .addr[aria-invalid] { border-color: var(--bad); }
    .transport { display: flex; gap: 6px; }
    .end { margin-left: auto; display: flex; gap: var(--s2); align-items: center; flex: none; }
    .what { flex: 0 1 auto; min-width: 0; gap: var(--s2); }
    .clip { overflow: hidden; text-overflow: ellipsis; }
    .menu { position: relative; }
    summary { list-style: none; cursor: pointer; user-select: none; } summary::-webkit-details-marker { display: none; }
    .sheet { position: absolute; right: 0; top: calc(100% + 4px); z-index: 5; width: 316px; max-height: calc(100cqh - 60px); overflow: auto; background: var(--paper); border: 1px solid var(--rule-strong); border-radius: var(--radius); padding: var(--s1) 0; font-size: var(--t3); }
    .sheet button, .sheet label { display: flex; width: 100%; align-items: center; gap: var(--s2); padding: 7px var(--s3); }
    .sheet button { justify-content: space-between; } .sheet p { padding: 7px var(--s3); font-weight: 600; }
    .sheet button:hover:not(:disabled) { background: var(--mark); }
    .sheet button:focus-visible { outline-offset: -2px; }
    .sheet select { margin-left: auto; } .sheet small { color: var(--soft); font-size: var(--t1); }
    .sheet hr { border: 0; border-top: 1px solid var(--rule); margin: var(--s1) 0; }
    :host([layout="wide"]) .mark { width: 232px; }
    :host([layout="phone"]) { padding: 0 var(--s3); gap: var(--s2); }
    :host([layout="phone"]) .what { margin-left: auto; height: 36px; font-size: var(--t2); }
    :host([layout="phone"]) .end { margin-left: 0; }
    :host([layout="phone"]) summary { width: 40px; height: 40px; justify-content: center; padding: 0; }
    :host([layout="phone"]) .sheet button, :host([layout="phone"]) .sheet label { min-height: 44px; }
    @container scope (max-width: 800px) { :host([layout="mid"]) .mark > span { display: none; } }
    @container scope (min-width: 1500px) { .slim ~ .transport .take span { display: inline; } }
    @container scope (max-width: 1340px) { :host([layout="mid"]) .slim > span { display: none; } :host([layout="wide"]) .mark { width: auto; } :host([layout="wide"]) .k { display: none; } .addr { width: 190px; } }
    @container scope (max-width: 1260px) { :host([layout="wide"]) { gap: var(--s2); padding: 0 var(--s3); } :host([layout="wide"]) .mark > span, .slim ~ .lead .addr[readonly] { display: none; } }
  `];
}

customElements.define("scope-top", ScopeTop);
