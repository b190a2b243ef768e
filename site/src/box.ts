// Places an element by the CSS object model: style attributes are forbidden by
// the page's Content-Security-Policy, and Lit's styleMap begins with one.

import { noChange } from "lit";
import { directive, Directive, PartType, type ElementPart, type PartInfo } from "lit/directive.js";

type Sizes = Partial<Record<"top" | "left" | "right" | "width" | "height" | "maxWidth", number>>;

class Box extends Directive {
  #now: Record<string, number | undefined> = {};

  constructor(part: PartInfo) {
    super(part);
    if (part.type !== PartType.ELEMENT) throw new Error("box() belongs into the tag of an element");
  }

  override render(_sizes: Sizes): unknown {
    return noChange;
  }

  override update(part: ElementPart, [sizes]: [Sizes]): unknown {
    const style = (part.element as HTMLElement).style;
    for (const key of new Set([...Object.keys(this.#now), ...Object.keys(sizes)]) as Set<keyof Sizes>) {
      if (this.#now[key] !== sizes[key]) style[key] = sizes[key] === undefined ? "" : `${sizes[key]}px`;
    }
    this.#now = sizes;
    return noChange;
  }
}

/** Sets these sizes, in pixels; one that is left out is taken back. */
export const box = directive(Box);
