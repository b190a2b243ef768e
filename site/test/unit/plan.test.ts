import assert from "node:assert/strict";
import { test } from "node:test";
import { dateTime, defaultForm, defaultMessage, EDIT_LIMIT, formOf, keepable, messageSize, parseAddress, planOf, problems, withMessage, type Config } from "../../src/plan.ts";
import { outlineOf, stepsOf } from "../../src/steps.ts";
import { rowsOf } from "../../src/rows.ts";
import { accepted } from "../fixtures/traces.ts";

const CONFIG: Config = {
  version: "0.1.0",
  practice: { host: "mail.practice.test", ports: { smtp: 25, submission: 587, submissions: 465 }, username: "ada", password: "engine", ca: "-----BEGIN CERTIFICATE-----\n" },
  live: { public: false, allow: ["mx.example.net:25"] },
};

test("the form as it is found makes a plan that practises", () => {
  const p = planOf(defaultForm(), CONFIG, false);
  assert.deepEqual(p.target, { mode: "practice", host: "mail.practice.test", port: 587 });
  assert.deepEqual(p.auth, { mechanism: "PLAIN", username: "ada", password: "engine" });
  assert.deepEqual(p.tls.ca, [CONFIG.practice!.ca]);
  assert.equal(p.security, "starttls");
  assert.match(p.messages[0]!.data, /^Date: .*\r\nFrom: .*\r\n(.*\r\n)*Message-ID: <[^@>]+@example\.org>\r\n\r\n/);
});

test("security chooses the port; a typed port wins", () => {
  const f = { ...defaultForm(), mode: "live" as const, address: "mx.example.net" };
  assert.equal(planOf({ ...f, security: "none" }, CONFIG, false).target.port, 25);
  assert.equal(planOf({ ...f, security: "tls" }, CONFIG, false).target.port, 465);
  assert.equal(planOf({ ...f, address: "mx.example.net:2525" }, CONFIG, true).target.port, 2525);
});

test("nothing of the practice account goes to a live host", () => {
  const f = { ...defaultForm(), mode: "live" as const, address: "mx.example.net:25" }, text = JSON.stringify(planOf(f, CONFIG, false));
  assert.doesNotMatch(text, /engine"/);
  assert.doesNotMatch(text, /BEGIN CERTIFICATE/);
  assert.equal(planOf(f, CONFIG, false).auth, undefined);
});

test("without TLS the practice account is not used", () => {
  assert.equal(planOf({ ...defaultForm(), security: "none" }, CONFIG, false).auth, undefined);
});

test("addresses", () => {
  for (const [text, want] of [
    ["mx.example.net", { host: "mx.example.net", port: undefined }], [" mx.example.net:25 ", { host: "mx.example.net", port: 25 }],
    ["[2001:db8::1]:587", { host: "2001:db8::1", port: 587 }], ["2001:db8::1", { host: "2001:db8::1", port: undefined }],
    ["192.0.2.1:465", { host: "192.0.2.1", port: 465 }],
    ["", undefined], ["a b", undefined], ["host:99999", undefined], ["host:0", undefined], ["http://host/", undefined], ["host:", undefined],
  ] as const) assert.deepEqual(parseAddress(text), want, text);
});

test("what keeps a form from being run is named", () => {
  assert.deepEqual(problems(defaultForm(), CONFIG), {});
  assert.ok(problems({ ...defaultForm(), mode: "live" }, CONFIG).address);
  assert.ok(problems({ ...defaultForm(), mode: "live", address: "a b" }, CONFIG).address);
  assert.ok(problems({ ...defaultForm(), to: [" "] }, CONFIG).to);
  assert.ok(problems(defaultForm(), { ...CONFIG, practice: null }).mode);
});

test("message sizes are counted as RFC 1870 does", () => {
  for (const [text, want] of [["", 0], ["a", 3], ["a\n", 3], ["a\r\n", 3], ["a\rb", 6], ["é\n", 4], ["\n\n", 4]] as const) assert.equal(messageSize(text), want, JSON.stringify(text));
});

test("a long text is not put into the box", () => {
  const long = withMessage("x".repeat(EDIT_LIMIT + 1), "big.eml");
  assert.deepEqual([long.message, long.file?.name, long.file?.size], ["", "big.eml", EDIT_LIMIT + 3]);
  assert.equal(withMessage("short", "a.eml").file, undefined);
  assert.equal(planOf({ ...defaultForm(), ...long }, CONFIG, false).messages[0]!.data.length, EDIT_LIMIT + 1);
});

test("what is kept in the browser has no password", () => {
  const f = defaultForm();
  f.signIn.live.password = f.signIn.practice.password = "hunter2";
  f.file = { name: "big.eml", size: 1, text: "long" };
  const text = JSON.stringify(keepable(f));
  assert.doesNotMatch(text, /hunter2|long"/);
});

test("a plan goes into the form and comes out the same", () => {
  const f = { ...defaultForm(), mode: "live" as const, address: "mx.example.net:2525", security: "tls" as const, to: ["a@example.net", "b@example.net"], ca: "PEM", insecure: true };
  f.signIn.live = { on: true, mechanism: "LOGIN", username: "u", password: "p" };
  const p = planOf(f, CONFIG, false);
  assert.deepEqual(planOf(formOf(p, defaultForm()), CONFIG, false), p);
});

test("the default message is RFC 5322", () => {
  const d = new Date(2026, 10, 2, 3, 4, 5);
  assert.match(dateTime(d), /^Mon, 2 Nov 2026 03:04:05 [+-]\d{4}$/);
  assert.ok(defaultMessage(d, "x").split("\n").every((l) => l.length <= 78));
});

test("planned steps are those that a session without trouble takes", () => {
  const steps = stepsOf(outlineOf(defaultForm(), CONFIG)), rows = rowsOf(accepted());
  assert.equal(steps.length, rows.rounds.done);
  const verbs = steps.map((s) => s.verb).filter((v) => v !== "connect" && v !== "greeting" && v !== "tls");
  assert.deepEqual(verbs, rows.list.filter((r) => ["command", "message"].includes(r.kind)).map((r) => (rows.event(r).data as { verb?: string }).verb ?? "message"));
  assert.equal(stepsOf({ ...outlineOf(defaultForm(), CONFIG), security: "tls" }).map((s) => s.verb).join(" "), "connect tls greeting EHLO AUTH MAIL RCPT DATA message QUIT");
});
