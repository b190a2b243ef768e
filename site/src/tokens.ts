// The design tokens, both themes. Contrast on paper / panel / mark stands beside
// each colour; every one is 4.5 or more. Hue names the layer; on the SMTP layer
// it names who speaks.

import { css, unsafeCSS } from "lit";

const LIGHT = `
  --paper: #fdfdfb;       /* the ladder */
  --panel: #f4f4f0;       /* plan and inspector */
  --rule: #dddcd5;        /* hairlines (no text, no meaning) */
  --rule-strong: #a9aaa4; /* borders of controls */
  --band-a: #e3e4df;      /* round trip, odd */
  --band-b: #f0f0ec;      /* round trip, even */
  --mark: #fff1ad;        /* selection and the field under the pointer; always with an ink edge */
  --ink: #1a1c1e;         /* 16.8 15.5 15.0 */
  --soft: #565c60;        /*  6.7  6.2  6.0 */
  --out: #0b449c;         /*  8.9  8.2  7.9  SMTP, the client speaks */
  --in: #964800;          /*  6.4  5.9  5.7  SMTP, the server speaks */
  --tls: #78175a;         /* 10.0  9.2  8.9 */
  --tcp: #2a7368;         /*  5.5  5.1  4.9 */
  --dns: #433f12;         /* 10.5  9.7  9.4  DNS datagrams */
  --bad: #b3001b;         /*  7.0  6.5  6.3  always with a cross or the word */
  color-scheme: light;`;

const DARK = `
  --paper: #0f1214;
  --panel: #15191c;
  --rule: #2a3034;
  --rule-strong: #545d62;
  --band-a: #2b3236;
  --band-b: #1b2023;
  --mark: #332e0c;
  --ink: #e6e7e3;         /* 15.1 14.2 11.0 */
  --soft: #a3abae;        /*  8.1  7.6  5.9 */
  --out: #7fb5f8;         /*  8.8  8.3  6.4 */
  --in: #f79a52;          /*  8.7  8.2  6.3 */
  --tls: #e3a4d1;         /*  9.4  8.8  6.8 */
  --tcp: #42a498;         /*  6.3  5.9  4.6 */
  --dns: #c9cb9a;         /* 11.2 10.5  8.1 */
  --bad: #ff8f8f;         /*  8.6  8.1  6.2 */
  color-scheme: dark;`;

export const tokens = css`
  :host {
    --s1: 4px; --s2: 8px; --s3: 12px; --s4: 16px; --s5: 24px; --s6: 32px; /* a 4 px grid */
    --radius: 2px; /* controls only */
    --t1: 11px;    /* gutter numbers, notes, lower layers */
    --t2: 12px;    /* labels, hex, fields */
    --tw: 12.5px;  /* the wire: SMTP rows of the ladder */
    --t3: 13px;    /* prose, controls */
    --t4: 15px;    /* the one sentence that counts */
    --t5: 20px;    /* the clock */
    --prose: system-ui, -apple-system, "Segoe UI", sans-serif;
    --wire: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
    ${unsafeCSS(LIGHT)}
  }
  @media (prefers-color-scheme: dark) { :host(:not([theme="light"])) { ${unsafeCSS(DARK)} } }
  :host([theme="dark"]) { ${unsafeCSS(DARK)} }
`;

/** What all elements share: a reset, and the controls. */
export const shared = css`
  *, *::before, *::after { box-sizing: border-box; }
  h2, h3, p, ol, ul, dl, dd, pre, figure, fieldset { margin: 0; padding: 0; border: 0; }
  ol, ul { list-style: none; }
  h2, h3 { font-size: var(--t3); font-weight: 600; }
  button, input, select, textarea { font: inherit; color: inherit; background: none; border: 0; padding: 0; margin: 0; border-radius: 0; min-width: 0; }
  button { cursor: pointer; text-align: left; }
  button:disabled { cursor: default; color: var(--soft); }
  :focus-visible { outline: 2px solid var(--out); outline-offset: 1px; }
  a, .link { color: inherit; text-decoration: underline; text-decoration-color: var(--rule-strong); text-underline-offset: 2px; }
  a:hover, .link:hover { text-decoration-color: currentColor; }
  .wire { font-family: var(--wire); }
  .num { font-family: var(--wire); font-variant-numeric: tabular-nums; }
  .soft { color: var(--soft); }
  .bad { color: var(--bad); }
  .vh { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  [hidden] { display: none !important; }
  svg { display: block; flex: none; }
  .glyph { width: 10px; height: 10px; stroke: var(--ink); fill: var(--ink); stroke-width: 1.2; overflow: visible; }

  .seg { display: inline-flex; border: 1px solid var(--rule-strong); border-radius: var(--radius); }
  .seg label { position: relative; display: flex; align-items: center; height: 26px; padding: 0 7px; color: var(--soft); border-right: 1px solid var(--rule); white-space: nowrap; cursor: pointer; }
  .seg label:last-child { border-right: 0; }
  .seg input { position: absolute; inset: 0; opacity: 0; cursor: inherit; appearance: none; }
  .seg label:has(:checked) { color: var(--ink); font-weight: 600; box-shadow: inset 0 -3px 0 var(--ink); }
  .seg label:has(:focus-visible) { outline: 2px solid var(--out); outline-offset: 1px; }
  .seg label:has(:disabled) { cursor: default; }
  .seg span::after { content: attr(data-text); display: block; height: 0; overflow: hidden; visibility: hidden; font-weight: 600; } /* no jump when chosen */

  .btn { height: 28px; padding: 0 var(--s3) 0 10px; border: 1px solid var(--rule-strong); border-radius: var(--radius); display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
  .btn svg { fill: currentColor; }
  .btn:hover:not(:disabled) { border-color: var(--ink); }
  .btn:disabled { border-color: var(--rule); }
  .btn.go { background: var(--ink); border-color: var(--ink); color: var(--paper); font-weight: 600; }
  .btn.go:disabled { background: none; border-color: var(--rule); color: var(--soft); }
  .btn[aria-pressed="true"] { box-shadow: inset 0 -3px 0 var(--ink); font-weight: 600; }
  .btn.bare { border-color: transparent; padding: 0 6px; }
  .btn.bare:hover { border-color: var(--rule-strong); }

  input[type="checkbox"] { appearance: none; width: 13px; height: 13px; flex: none; border: 1px solid var(--soft); border-radius: 1px; background: var(--paper); cursor: pointer; }
  input[type="checkbox"]:checked { background: var(--ink); box-shadow: inset 0 0 0 2px var(--paper); }
  ::placeholder { color: var(--soft); opacity: 1; }

  dialog { border: 1px solid var(--rule-strong); border-radius: var(--radius); background: var(--paper); color: var(--ink); padding: 0; max-width: min(720px, calc(100vw - 32px)); max-height: calc(100dvh - 32px); overflow: auto; }
  dialog::backdrop { background: rgb(0 0 0 / .4); }
  @media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; scroll-behavior: auto !important; } }
`;
