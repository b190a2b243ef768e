// The ladder: one row for each thing that happened; before that, what is planned.
//
// Properties in; "scope-pick" (a place was chosen), "scope-toggle" (a place was
// opened or closed) and "scope-reveal" (a secret shall be read) out.

import { adoptStyles, css, LitElement, type TemplateResult } from "lit";
import type { LadderRows } from "./ladder-rows.ts";
import { outline, outlineStyles } from "./outline.ts";
import { resized } from "./resized.ts";
import { shared } from "./tokens.ts";
import { atEnd, type View } from "./view.ts";

const LEAST = 320; // pixels

export class ScopeLadder extends LitElement {
  static override properties = {
    view: { attribute: false },
    selected: { attribute: false },
    open: { attribute: false },
    revealed: { attribute: false },
    following: { attribute: false },
    size: { state: true },
  };
  declare view: View;
  declare selected: string;
  declare open: ReadonlySet<string>;
  declare revealed: ReadonlySet<number>;
  /** The selection was not chosen by the user: it goes along with what happens. */
  declare following: boolean;
  declare size: { width: number; height: number };

  #rows: LadderRows | undefined;
  #loading = false;

  constructor() {
    super();
    // Sizes come from the observer: to ask for them would cost a layout of the page.
    resized(this, (entries) => {
      const { width, height } = entries.at(-1)!.contentRect;
      this.size = { width: Math.max(LEAST, width), height };
    });
    this.selected = "";
    this.open = new Set();
    this.revealed = new Set();
    this.size = { width: 800, height: 600 };
  }

  /** What draws rows is fetched with the first session; when that fails, the next thing that happens is the next try. */
  #load(): void {
    if (this.#loading) return;
    this.#loading = true;
    import("./ladder-rows.ts").then((m) => {
      adoptStyles(this.renderRoot as ShadowRoot, [...ScopeLadder.styles, m.rowStyles]);
      this.#rows = new m.LadderRows(this);
      this.requestUpdate();
    }, () => (this.#loading = false));
  }

  protected override render(): TemplateResult {
    const { view: v, size } = this, begun = v.rows.list.length > 0 || !!v.pending || !atEnd(v);
    if (v.trace) this.#load();
    return begun && this.#rows ? this.#rows.render() : outline(v, size.width, size.height);
  }

  static override styles = [shared, css`:host { display: block; position: relative; background: var(--paper); overflow: hidden; min-height: 0; }`, outlineStyles];
}

customElements.define("scope-ladder", ScopeLadder);
