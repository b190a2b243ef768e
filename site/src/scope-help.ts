// Keys and glyphs: what can be pressed, and what the signs of the ladder mean.

import { css, html, LitElement, type TemplateResult } from "lit";
import { control, HUES, provenance } from "./icons.ts";
import { shared } from "./tokens.ts";

const KEYS = [
  ["R", "run, or go on"],
  ["S", "step: send what is pending, stop before what follows"],
  ["P", "pause before the next send"],
  ["C", "type SMTP by hand"],
  ["↑ ↓ Home End", "move along the rows"],
  ["→ Enter", "open a row: what carried it, its bytes"],
  ["←", "close it"],
  [", .", "to the packet before and after, in the lab"],
  ["< >", "to the row of SMTP before and after, in the lab"],
  ["?", "this list"],
] as const;

const SOURCES = [
  ["observed", "observed: bytes that this page sent or read"],
  ["measured", "measured: reported by the proxy that holds the TCP connection"],
  ["captured", "captured: a packet of that connection, as the proxy saw it"],
  ["simulated", "simulated: a packet of the lab’s real TCP/IP stacks, or what they say of themselves"],
  ["derived", "derived: worked out from the others"],
] as const;

export class ScopeHelp extends LitElement {
  show(): void {
    const dialog = this.renderRoot.querySelector("dialog")!;
    if (!dialog.open) dialog.showModal();
  }

  protected override render(): TemplateResult {
    return html`<dialog aria-labelledby="title"><div class="box">
      <div class="head"><h2 id="title">Keys and glyphs</h2><form method="dialog"><button class="close" aria-label="close">${control("close")}</button></form></div>
      <dl>${KEYS.map(([k, w]) => html`<dt class="wire">${k}</dt><dd>${w}</dd>`)}</dl>
      <dl>${SOURCES.map(([s, w]) => html`<dt>${provenance(s, false)}</dt><dd>${w}</dd>`)}</dl>
      <dl class="hues">${HUES.map(([h, w]) => html`<dt><svg width="22" height="8" aria-hidden="true"><path class=${h} d="M0 4H22"/></svg></dt><dd>${w}</dd>`)}</dl>
    </div></dialog>`;
  }

  static override styles = [shared, css`
    dialog { font: var(--t3)/1.4 var(--prose); }
    .box { padding: var(--s4) var(--s5) var(--s5); display: grid; gap: var(--s3); } .head { display: flex; justify-content: space-between; align-items: center; gap: var(--s4); } h2 { font-size: var(--t4); }
    .close { width: 28px; height: 28px; display: grid; place-items: center; margin-right: -8px; }
    dl { display: grid; grid-template-columns: 132px 1fr; gap: 4px var(--s3); align-items: center; } dl + dl { border-top: 1px solid var(--rule); padding-top: var(--s3); }
    .hues path { stroke-width: 2; } .out { stroke: var(--out); } .in { stroke: var(--in); } .tls { stroke: var(--tls); } .tcp { stroke: var(--tcp); } .dns { stroke: var(--dns); }
  `];
}

customElements.define("scope-help", ScopeHelp);
