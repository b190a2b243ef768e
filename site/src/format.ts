// Numbers and references as text. A number never goes without its unit.

/** Nanoseconds as milliseconds with one decimal, for a column headed "ms". */
export function ms(ns: number): string {
  return (ns / 1e6).toFixed(1);
}

/** A span of time in the unit that suits it: "0.42 ms", "720 ms", "12.4 s", "3 min 20 s". */
export function duration(ns: number): string {
  const t = ns / 1e6;
  if (t < 9.995) return `${t.toFixed(2)} ms`;
  if (t < 99.95) return `${t.toFixed(1)} ms`;
  if (t < 9_999.5) return `${Math.round(t)} ms`;
  if (t < 119_950) return `${(t / 1000).toFixed(1)} s`;
  const s = Math.round(t / 1000);
  return `${Math.floor(s / 60)} min ${s % 60} s`;
}

/** "1 byte", "25,000,000 bytes". */
export function bytes(n: number): string {
  return count(n, "byte");
}

export function count(n: number, noun: string, plural = `${noun}s`): string {
  return `${number(n)} ${n === 1 ? noun : plural}`;
}

export function number(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

export interface Reference {
  text: string;
  url: string | undefined;
}

/** "RFC 5321, 4.1.1.3; RFC 7504, 3" as references, with addresses where these are RFCs. */
export function references(section: string): Reference[] {
  return section.split("; ").map((text) => {
    const m = /^RFC (\d+)(?:, ([\w.]+))?$/.exec(text);
    if (!m) return { text, url: undefined };
    const [, rfc, part] = m;
    const anchor = !part ? "" : /^\d/.test(part) ? `#section-${part}` : `#appendix-${part}`;
    const words = !part ? "" : /^\d/.test(part) ? `, section ${part}` : `, appendix ${part}`;
    return { text: `RFC ${rfc}${words}`, url: `https://www.rfc-editor.org/rfc/rfc${rfc}${anchor}` };
  });
}

/** "a", "a and b", "a, b and c". */
export function list(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** "23 November 2026, 10:00 UTC" for a time as RFC 3339. */
export function date(rfc3339: string): string {
  const d = new Date(rfc3339);
  if (Number.isNaN(d.getTime())) return rfc3339;
  return d.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short", timeZone: "UTC" }).replace(" at ", ", ") + " UTC";
}

/** Printable ASCII as it is, everything else as a middle dot. */
export function ascii(b: number): string {
  return b > 0x1f && b < 0x7f ? String.fromCharCode(b) : "·";
}

export function hex(n: number, digits: number): string {
  return n.toString(16).padStart(digits, "0");
}
