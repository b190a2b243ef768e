// What is kept in the browser between visits. Storage may be full, forbidden or
// broken: nothing here ever throws.

import { keepable, type Form } from "./plan.ts";

const FORM = "smtpscope.plan", THEME = "smtpscope.theme";

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // It is only a convenience.
  }
}

export function keptTheme(): "light" | "dark" | undefined {
  const t = read(THEME);
  return t === "light" || t === "dark" ? t : undefined;
}

export function keepTheme(theme: "light" | "dark"): void {
  write(THEME, theme);
}

/** The form of the last visit, over a fresh one: of what was kept, only what has the right type is taken. */
export function keptForm(fresh: Form): Form {
  try {
    const kept = JSON.parse(read(FORM) ?? "null") as { transactions?: unknown[] } | null;
    if (kept === null) return fresh;
    const { transactions } = kept, [usual] = fresh.transactions;
    return { ...merge(fresh, kept), transactions: Array.isArray(transactions) ? transactions.map((t) => merge(usual!, t)) : fresh.transactions };
  } catch {
    return fresh;
  }
}

/** A message is kept only once it was changed, so that the Date of an untouched one is of today. */
export function keepForm(f: Form, untouched: string): void {
  write(FORM, JSON.stringify(keepable(f), (key, value: unknown) => (key === "text" && value === untouched ? undefined : value)));
}

function merge<T>(fresh: T, kept: unknown): T {
  if (Array.isArray(fresh)) return (Array.isArray(kept) && kept.every((x) => typeof x === "string") ? kept : fresh) as T;
  if (typeof fresh !== "object" || fresh === null) return typeof kept === typeof fresh ? (kept as T) : fresh;
  if (typeof kept !== "object" || kept === null) return fresh;
  return Object.fromEntries(Object.entries(fresh).map(([k, v]) => [k, merge(v, (kept as Record<string, unknown>)[k])])) as T;
}
