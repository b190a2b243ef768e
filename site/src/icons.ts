// Every drawing of a fixed size. Shape carries the meaning, never colour.

import { html, svg, type TemplateResult } from "lit";
import type { Source } from "./trace.ts";

/** What the colours of the ladder mean. */
export const HUES = [["out", "SMTP, the client speaks"], ["in", "SMTP, the server speaks"], ["tls", "TLS"], ["tcp", "TCP"], ["dns", "DNS"]] as const;

const PROVENANCE: Record<Source, TemplateResult> = {
  observed: svg`<circle cx="5" cy="5" r="3.4"/>`,
  measured: svg`<circle cx="5" cy="5" r="3.4" fill="none"/><path d="M5 1.6a3.4 3.4 0 0 0 0 6.8z" stroke="none"/>`,
  captured: svg`<rect x="1.8" y="1.8" width="6.4" height="6.4"/>`,
  simulated: svg`<path d="M5 .9L9.1 5 5 9.1.9 5Z" fill="none"/>`,
  derived: svg`<path d="M1.6 3.5H8.4M1.6 6.5H8.4" fill="none" stroke-width="1.5"/>`,
};

export const SOURCE_WORDS = {
  observed: "observed in the page", measured: "measured at the proxy", captured: "captured packet",
  simulated: "simulated in the lab", derived: "derived",
} as const;

/** Where something is known from. Named for readers who do not see it, unless words stand beside it. */
export function provenance(src: Source, named = true): TemplateResult {
  return named
    ? html`<svg class="glyph prov" viewBox="0 0 10 10" role="img" aria-label=${SOURCE_WORDS[src]}>${PROVENANCE[src]}</svg>`
    : html`<svg class="glyph prov" viewBox="0 0 10 10" aria-hidden="true">${PROVENANCE[src]}</svg>`;
}

const SEVERITY = {
  advice: svg`<path d="M5 .8L9.6 9.2H.4Z" fill="none"/>`,
  chat: svg`<path d="M1 1.2H9V6.8H4.6L2.4 9V6.8H1Z" fill="none"/>`,
  note: svg`<path d="M2 1V9.4M2 1.6H8.4L6.6 4 8.4 6.4H2" fill="none"/>`,
  good: svg`<path d="M1.2 5.4L4 8.2 9 1.8" fill="none" stroke-width="1.6"/>`,
  error: svg`<path d="M1.4 1.4L8.6 8.6M8.6 1.4L1.4 8.6" fill="none" stroke-width="1.8"/>`,
};

export function severity(of: keyof typeof SEVERITY): TemplateResult {
  return html`<svg class="glyph sev-${of}" viewBox="0 0 10 10" aria-hidden="true">${SEVERITY[of]}</svg>`;
}

const CONTROL = {
  run: svg`<path d="M1.5 .5L9 5 1.5 9.5Z"/>`,
  step: svg`<path d="M.5 .5L6.5 5 .5 9.5Z"/><path d="M7.5 .5H9.5V9.5H7.5Z"/>`,
  pause: svg`<path d="M1 .5H4V9.5H1ZM6 .5H9V9.5H6Z"/>`,
  reset: svg`<path d="M.5 .5H2.5V9.5H.5ZM9.5 .5V9.5L3.5 5Z"/>`,
  close: svg`<path d="M1.4 1.4L8.6 8.6M8.6 1.4L1.4 8.6" fill="none" stroke="currentColor" stroke-width="1.4"/>`,
};

export function control(of: keyof typeof CONTROL): TemplateResult {
  return html`<svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">${CONTROL[of]}</svg>`;
}

export const caret = html`<svg width="8" height="5" viewBox="0 0 8 5" aria-hidden="true"><path d="M0 0H8L4 5Z"/></svg>`;

export const bars = html`<svg width="16" height="12" viewBox="0 0 16 12" aria-hidden="true"><path d="M0 1H16M0 6H16M0 11H16" stroke="currentColor" stroke-width="1.5"/></svg>`;

export const halves = html`<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" stroke-width="1.4"/><path d="M8 1.8a6.2 6.2 0 0 1 0 12.4z"/></svg>`;

/** Two lanes and one round trip. */
export const logo = html`<svg width="18" height="18" viewBox="0 0 18 18" aria-hidden="true"><path d="M2 1V17M16 1V17M2 3.5L16 8.5 2 13.5" fill="none" stroke="currentColor" stroke-width="1.6"/></svg>`;

/** Head of an arrow that lands at x, y, as path data. */
export function head(x: number, y: number, to: "left" | "right"): string {
  return `M${x} ${y}L${x + (to === "right" ? -9 : 9)} ${y - 3.2}V${y + 3.2}Z`;
}

/** A cross around x, y, as path data. */
export function cross(x: number, y: number, r = 4): string {
  return `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
}
