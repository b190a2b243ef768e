// The columns and lanes of a ladder: where they stand, whatever its rows are.

import type { TraceStore } from "./trace.ts";
import type { Scale } from "./view.ts";

/** The columns of a ladder of some width, in pixels. */
export interface Columns {
  width: number;
  compact: boolean;
  n: number; // right edges of the two numbers
  t: number;
  rt: [number, number];
  tag: number;
  a: number; // the outer lanes
  b: number;
  out: number; // where the two sides' texts start
  in: number;
  prov: number; // centre of the provenance glyph
  row: number; // height of a row
  line: number; // height of a line of text
  under: boolean; // arrows are drawn under their texts
}

/** Below this width there is no room for row numbers and layer tags, nor for a scale of time. */
const COMPACT = 600;

export function columnsFor(width: number, lanes = 2, scale: Scale = "rows"): Columns {
  if (width < COMPACT) {
    const a = 68, b = width - 38;
    return { width, compact: true, n: 0, t: 42, rt: [46, 60], tag: 0, a, b, out: a + 4, in: a + 4, prov: width - 19, row: 34, line: 16, under: true };
  }
  const a = 158, b = width - 38, under = lanes > 2 && scale === "rows";
  return {
    width, compact: false, n: 26, t: 74, rt: [82, 102], tag: 110, a, b, out: a + 12, in: Math.round(a + (b - a) * 0.44), prov: width - 18,
    row: under ? 30 : 20, line: 15, under,
  };
}

/** A host that carries mail, and where its lane is. */
export interface Lane {
  id: string;
  name: string;
  address: string;
  x: number;
}

/** The lanes of a trace, in the order in which mail travels; the client's and the server's where there is none. */
export function lanes(trace: TraceStore | undefined, c: Pick<Columns, "a" | "b">): Lane[] {
  const all = trace?.meta.hosts ?? [], carry = trace?.meta.mode === "lab" ? all.filter((h) => h.id !== "dns") : [];
  const hosts = carry.length > 1 ? carry : ["client", "server"].map((id) => all.find((h) => h.id === id) ?? { id, name: "" });
  return hosts.map((h, i) => ({ id: h.id, name: h.name, address: h.address ?? "", x: Math.round(c.a + ((c.b - c.a) * i) / (hosts.length - 1)) }));
}
