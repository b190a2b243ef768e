import assert from "node:assert/strict";
import { test } from "node:test";
import { contextOf, history, objection, suggestions, template, type Context } from "../../src/complete.ts";
import { rowsOf } from "../../src/rows.ts";
import type { View } from "../../src/view.ts";
import { accepted } from "../fixtures/traces.ts";

const READY: Context = {
  legal: ["EHLO", "MAIL", "RSET", "NOOP", "VRFY", "AUTH", "QUIT"], planned: "QUIT", ehlo: "[127.0.0.1]", from: "ada@example.org", to: ["grace@example.net", "bob@example.net"], strict: false,
  offered: [{ keyword: "SIZE", params: ["1000"] }, { keyword: "DSN" }, { keyword: "8BITMIME" }, { keyword: "AUTH", params: ["PLAIN", "CRAM-MD5"] }],
};
const MAIL: Context = { ...READY, legal: ["RCPT", "RSET", "QUIT"], planned: "RSET" };
const lines = (typed: string, c = READY) => suggestions(typed, c).map((s) => s.text);

test("an empty line lists what is legal, the plan's own first", () => {
  assert.deepEqual(lines(""), ["QUIT", "EHLO [127.0.0.1]", "MAIL FROM:<ada@example.org>", "RSET", "NOOP", "VRFY grace@example.net", "AUTH PLAIN"]);
});

test("a verb is completed with the plan's addresses, letter case aside", () => {
  assert.deepEqual(lines("ma"), ["MAIL FROM:<ada@example.org>"]);
  assert.deepEqual(lines("RCPT", MAIL), ["RCPT TO:<grace@example.net>", "RCPT TO:<bob@example.net>"]);
  assert.deepEqual(lines("rcpt to:<b", MAIL), ["RCPT TO:<bob@example.net>"]);
  assert.deepEqual(lines("AUTH "), ["AUTH PLAIN", "AUTH CRAM-MD5"]);
  assert.deepEqual(lines("RCPT"), [], "not what is out of order");
  assert.deepEqual(lines("MAIL FROM:<x@"), [], "nor over what was typed");
});

test("parameters are those that EHLO offered, each key once", () => {
  const path = "MAIL FROM:<ada@example.org>";
  assert.deepEqual(lines(path), ["SIZE=", "BODY=8BITMIME", "RET=HDRS", "RET=FULL", "ENVID=", "AUTH=<>"].map((p) => `${path} ${p}`));
  assert.deepEqual(lines(`${path} SIZE=10 re`), [`${path} SIZE=10 RET=HDRS`, `${path} SIZE=10 RET=FULL`]);
  assert.deepEqual(lines(`${path} RET=FULL ret`), []);
  assert.deepEqual(lines("RCPT TO:<grace@example.net> N", MAIL), ["NOTIFY=SUCCESS,FAILURE,DELAY", "NOTIFY=NEVER"].map((p) => `RCPT TO:<grace@example.net> ${p}`));
  assert.deepEqual(lines(`${path} `, { ...READY, offered: [] }), []);
});

test("a template leaves the caret where something is missing", () => {
  const t = template("RCPT", { ...MAIL, to: [] });
  assert.equal(t.text.slice(t.caret), ">");
  assert.equal(template("STARTTLS", READY).text, "STARTTLS");
});

test("what is wrong is said before it is sent", () => {
  for (const fine of ["", "QUIT", "quit", "MAIL FROM:<> SIZE=10 RET=HDRS", "VRFY x"]) assert.equal(objection(fine, READY), "", fine);
  assert.match(objection("RCPT TO:<x@example.net>", READY), /^RCPT is not legal now: EHLO, MAIL, .* are\. Send it all the same/);
  assert.match(objection("DATA", { ...READY, strict: true }), /A real server is not sent it\.$/);
  assert.match(objection("MAIL FROM: ada@example.org", READY), /MAIL FROM:<address> is the form of it.*4\.1\.1\.2/);
  assert.match(objection("RCPT TO:grace", MAIL), /4\.1\.1\.3/);
  assert.match(objection("MAIL FROM:<> BODY=BINARYMIME SMTPUTF8", READY), /SMTPUTF8 was not offered/);
});

test("what a session offers follows from its trace", () => {
  const trace = accepted(), at = (upto: number) => ({ trace, rows: rowsOf(trace, upto), pending: { kind: "command", verb: "RCPT", text: "RCPT TO:<x>", size: 1, legal: ["RCPT"], secret: [] } }) as unknown as View;
  const rcpt = trace.events.find((e) => e.text?.startsWith("RCPT"))!.n, form = { from: "f@example.org", to: ["t@example.org"] };
  assert.deepEqual(contextOf(at(rcpt), form).to, ["grace@example.net"]);
  assert.deepEqual(contextOf(at(rcpt + 1), form).to, [], "she was named");
  assert.ok(contextOf(at(rcpt), form).offered.some((e) => e.keyword === "AUTH"), "of the EHLO inside TLS");
  assert.deepEqual(history(at(rcpt + 1)), ["RCPT TO:<grace@example.net>", "MAIL FROM:<ada@example.org> SIZE=243", "EHLO [127.0.0.1]", "STARTTLS"], "no secret, nothing twice");
});
