// The scales of the lab's knobs: what a plan has as text or as a probability, as
// positions of a slider and as words.

/** One way, in milliseconds. */
export const DELAYS = [0, 1, 2, 5, 10, 20, 30, 40, 60, 80, 100, 150, 200, 250, 300, 400, 500] as const;

/** In per cent. */
export const CHANCES = [0, 0.5, 1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50] as const;

/** Values of a plan, and how they are called. */
export type Choices<T> = readonly (readonly [T, string])[];

export const BANDWIDTHS: Choices<string> = [
  ["", "no limit"], ["1Gbit", "1 Gbit/s"], ["100Mbit", "100 Mbit/s"], ["10Mbit", "10 Mbit/s"], ["1Mbit", "1 Mbit/s"],
  ["256kbit", "256 kbit/s"], ["64kbit", "64 kbit/s, ISDN"], ["56kbit", "56 kbit/s, modem"], ["9600bit", "9600 bit/s"],
];

export const MTUS: Choices<number> = [[9000, "9000, jumbo"], [1500, "1500, Ethernet"], [1280, "1280, IPv6 minimum"], [576, "576, RFC 1122"], [296, "296, slow serial line"]];

const UNITS: Record<string, number> = { ns: 1e-6, us: 1e-3, "µs": 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5 };

/** A duration as Go writes it, "40ms" or "1m30s", in milliseconds; undefined when it is none. */
export function milliseconds(text: string): number | undefined {
  if (text === "") return 0;
  if (!/^(?:\d*\.?\d+(?:ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  return [...text.matchAll(/([\d.]+)(\D+)/g)].reduce((sum, [, n, unit]) => sum + Number(n) * UNITS[unit!]!, 0);
}

/** "40 ms", "1.5 s", "10 min"; what cannot be read stays as it is. */
export function durationWords(text: string): string {
  const ms = milliseconds(text);
  if (ms === undefined) return text;
  return ms < 1e3 ? `${round(ms)} ms` : ms < 6e4 ? `${round(ms / 1e3)} s` : `${round(ms / 6e4)} min`;
}

export function chanceWords(probability: number): string {
  return `${round(probability * 100)} %`;
}

function round(n: number): number {
  return Number(n.toFixed(2));
}

/** Where a slider with this scale stands for a value. */
export function nearest(scale: readonly number[], value: number): number {
  return scale.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(scale[best]! - value) ? i : best), 0);
}

/** The choices with what a plan says, where that is none of them. */
export function including<T extends string | number>(choices: Choices<T>, value: T): Choices<T> {
  return choices.some(([v]) => v === value) ? choices : [...choices, [value, String(value)]];
}
