// Findings in words and glyphs, and the rows that they rest on.

import * as format from "./format.ts";
import type { Row, Rows } from "./rows.ts";
import type { Finding, Severity } from "./trace.ts";

/** From the gravest. */
export const SEVERITIES = ["error", "warn", "note", "chat"] as const satisfies readonly Severity[];

export const SEVERITY_WORD: Record<Severity, string> = { error: "error", warn: "warning", note: "note", chat: "remark" };

export const SEVERITY_GLYPH = { error: "error", warn: "advice", note: "note", chat: "chat" } as const;

/** "1 error, 2 warnings, 3 notes"; "" for none. */
export function tally(findings: readonly Finding[]): string {
  const parts = SEVERITIES.map((s) => [findings.filter((f) => f.severity === s).length, SEVERITY_WORD[s]] as const);
  return parts.filter(([n]) => n > 0).map(([n, word]) => format.count(n, word)).join(", ");
}

/** The rows of the evidence, in order. */
export function evidence(all: Rows, f: Finding): Row[] {
  return [...new Set(f.events.flatMap((n) => all.rowOf(n) ?? []))].sort((a, b) => a.i - b.i);
}

const byRow = new WeakMap<readonly Finding[], Map<number, Finding[]>>();

/** What rests on a row, the gravest first. Rows are those of the whole trace. */
export function findingsOf(all: Rows, row: Row): readonly Finding[] {
  const findings = all.trace?.findings ?? [];
  let found = byRow.get(findings);
  if (!found) {
    byRow.set(findings, (found = new Map()));
    for (const f of [...findings].sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))) {
      for (const { i } of evidence(all, f)) found.set(i, [...(found.get(i) ?? []), f]);
    }
  }
  return found.get(row.i) ?? [];
}
