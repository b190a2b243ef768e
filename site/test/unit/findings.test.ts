import assert from "node:assert/strict";
import { test } from "node:test";
import { evidence, findingsOf, tally } from "../../src/findings.ts";
import { columnsFor } from "../../src/columns.ts";
import { Layout } from "../../src/layout.ts";
import { rowsOf } from "../../src/rows.ts";
import { accepted, remarked } from "../fixtures/traces.ts";

test("the tally names the gravest first, and nothing when there is nothing", () => {
  assert.equal(tally(remarked().findings), "1 warning, 1 note, 1 remark");
  assert.equal(tally([...remarked().findings, ...remarked().findings].map((f) => ({ ...f, severity: "error" as const }))), "6 errors");
  assert.equal(tally(accepted().findings), "");
});

test("a finding leads to its rows, and a row to what rests on it", () => {
  const t = remarked(), rows = rowsOf(t), [vrfy, certificate] = t.findings;
  assert.deepEqual(evidence(rows, vrfy!).map((r) => rows.event(r).text), ["VRFY grace", "252 2.5.2 Perhaps"]);
  assert.deepEqual(evidence(rows, certificate!).map((r) => r.kind), ["handshake"]);
  const reply = rows.list.find((r) => rows.event(r).text?.startsWith("252"))!;
  assert.deepEqual(findingsOf(rows, reply).map((f) => f.id), ["vrfy-discloses", "slow-reply"], "the gravest first");
  assert.deepEqual(findingsOf(rows, rows.list[0]!), []);
});

test("opened handshake messages stand below the record that brought them", () => {
  const t = remarked(), rows = rowsOf(t), handshake = rows.list.find((r) => r.kind === "handshake")!;
  assert.deepEqual(rows.decrypted(handshake).map((e) => [e.dir, e.data.type]), [["in", "encrypted_extensions"], ["in", "certificate"], ["out", "finished"]]);
  const [certificate] = rows.decrypted(handshake).slice(1), key = `r${handshake.i}-m${certificate!.n}`;
  assert.deepEqual(rows.placeOf(certificate!.n), { row: handshake.i, message: certificate!.n });
  const layout = new Layout(rows, columnsFor(800), { wire: 7.5, prose: (s) => s.length * 6.5 }, new Set([`r${handshake.i}`, key]), new Set()).update();
  const parts = layout.parts(layout.itemOf(handshake.i)!), at = parts.findIndex((p) => p.key === key);
  assert.equal(parts[at - 1]!.key, `r${handshake.i}-e${certificate!.data.records[0]}`);
  assert.equal(parts[at]!.type, "handshake");
  assert.equal(parts[at + 1]!.type, "hex", "it opens into its bytes");
});
