import assert from "node:assert/strict";
import { test } from "node:test";
import { keepForm, keptForm } from "../../src/keep.ts";
import { BANDWIDTHS, CHANCES, chanceWords, DELAYS, durationWords, including, milliseconds, nearest } from "../../src/knobs.ts";
import { addition, completed, dateTime, defaultForm, defaultMessage, EDIT_LIMIT, formOf, keepable, messageSize, NO_FIELDS, parseAddress, planOf, problems, proofOf, routeOf, securityOf, signsIn, target, uncomposed, withMessage, withRoute, withTransaction, type Config, type Form, type Mechanism, type Options, type Plan, type Transaction } from "../../src/plan.ts";
import { clock } from "../../src/scope-clock.ts";
import { localOf, rfc3339Of } from "../../src/scope-options.ts";
import { outlineIn, outlineOf, roundTrips, stepsOf } from "../../src/steps.ts";
import { rowsOf } from "../../src/rows.ts";
import { accepted } from "../fixtures/traces.ts";

const CONFIG: Config = {
  version: "0.1.0",
  practice: { host: "mail.practice.test", ports: { smtp: 25, submission: 587, submissions: 465, lmtp: 24 }, username: "ada", password: "engine", ca: "-----BEGIN CERTIFICATE-----\n" },
  live: { public: false, allow: ["mx.example.net:25"] },
};

const practising = (): Form => ({ ...defaultForm(), mode: "practice" });

/** A form of one transaction with this in it. */
const sending = (patch: Partial<Transaction>, f = defaultForm()): Form => ({ ...f, transactions: [{ ...f.transactions[0]!, ...patch }] });

const using = (options: Partial<Options>, f = defaultForm()): Form => ({ ...f, options: { ...f.options, ...options } });

test("the form as it is found makes a plan for the lab, and needs no proxy", () => {
  const p = planOf(defaultForm(), undefined, false);
  assert.deepEqual(p.target, { mode: "lab", host: "example.net", port: 25 });
  assert.equal(p.auth, undefined);
  assert.equal(p.security, "starttls");
  assert.equal(p.link?.delay, "40ms");
  assert.equal(p.seed, 1);
  assert.deepEqual(problems(defaultForm(), undefined), {});
});

test("a form that practises", () => {
  const p = planOf(practising(), CONFIG, false);
  assert.deepEqual(p.target, { mode: "practice", host: "mail.practice.test", port: 587 });
  assert.deepEqual(p.auth, { mechanism: "PLAIN", username: "ada", password: "engine" });
  assert.deepEqual(p.tls.ca, [CONFIG.practice!.ca]);
  assert.equal(p.security, "starttls");
  assert.match(p.messages[0]!.data, /^Date: .*\r\nFrom: .*\r\n(.*\r\n)*Message-ID: <[^@>]+@example\.org>\r\n\r\n/);
});

test("security chooses the port; a typed port wins", () => {
  const f = { ...defaultForm(), mode: "live" as const, address: "localhost" };
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

test("without TLS, and over LMTP, the practice account is not used", () => {
  assert.equal(planOf({ ...using({ protocol: "lmtp" }), mode: "practice" }, CONFIG, false).auth, undefined);
  assert.equal(planOf({ ...practising(), security: "none" }, CONFIG, false).auth, undefined);
});

test("route and envelope choose the lab's server, security its port", () => {
  const f = sending({ from: "ada@Example.ORG", to: ["nobody", "grace@[192.0.2.1]", " grace@Example.NET "] });
  const over = (route: "direct" | "submission" | "chain", security: Form["security"] = "starttls"): Form => ({ ...f, ...withRoute(f, route), security });
  const cases: [Form, string, string][] = [
    [over("direct"), "mx.example.net:25", "example.net:25"], [over("direct", "none"), "mx.example.net:25", "example.net:25"],
    [over("direct", "tls"), "mx.example.net:465", "example.net:465"],
    [over("submission"), "mail.example.org:587", "mail.example.org:587"], [over("submission", "none"), "mail.example.org:25", "mail.example.org:25"],
    [over("chain", "tls"), "mail.example.org:465", "mail.example.org:465"],
    [sending({ from: "" }, over("chain")), "mail.example.org:587", "mail.example.org:587"], [sending({ to: ["x"] }), "mx.example.net:25", "example.net:25"],
  ];
  for (const [form, shown, asked] of cases) {
    const t = target(form, undefined), p = planOf(form, undefined, false).target;
    assert.deepEqual([`${t.host}:${t.port}`, `${p.host}:${p.port}`], [shown, asked]);
  }
});

test("the lab's submission server is signed in to, its MX is not", () => {
  const f = defaultForm();
  assert.equal(planOf(f, undefined, false).auth, undefined);
  const submission = { ...f, ...withRoute(f, "submission") };
  assert.deepEqual(planOf(submission, undefined, false).auth, { mechanism: "PLAIN", username: "ada", password: "enchantress" });
  assert.equal(planOf({ ...submission, ...withRoute(submission, "direct") }, undefined, false).auth, undefined);
});

test("what proves the user goes into the plan, a known account's password for no token", () => {
  const signed = (form: Form, mechanism: Mechanism, username = "", password = "") =>
    planOf({ ...form, signIn: { ...form.signIn, [form.mode]: { on: true, mechanism, username, password } } }, CONFIG, false).auth;
  const live: Form = { ...defaultForm(), mode: "live", address: "mx.example.net" }, lab: Form = { ...defaultForm(), ...withRoute(defaultForm(), "submission") };
  for (const mechanism of ["", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"] as const) {
    assert.equal(proofOf(mechanism), "password");
    assert.deepEqual(signed(practising(), mechanism), { mechanism, username: "ada", password: "engine" });
    assert.deepEqual(signed(lab, mechanism, "u"), { mechanism, username: "u", password: "enchantress" });
    assert.deepEqual(signed(live, mechanism, "u", "p"), { mechanism, username: "u", password: "p" });
  }
  for (const mechanism of ["XOAUTH2", "OAUTHBEARER"] as const) {
    assert.equal(proofOf(mechanism), "token");
    for (const form of [practising(), lab, live]) {
      assert.deepEqual(signed(form, mechanism), { mechanism, username: "", password: "" });
      assert.deepEqual(signed(form, mechanism, "u", "ya29"), { mechanism, username: "u", password: "ya29" });
    }
  }
  for (const mechanism of ["EXTERNAL", "ANONYMOUS"] as const) {
    assert.equal(proofOf(mechanism), undefined);
    for (const form of [practising(), lab, live]) assert.deepEqual(signed(form, mechanism, "u", "typed before"), { mechanism, username: "u", password: "" });
  }
});

test("over datagrams there is neither TLS nor sign-in nor another route, and the choices are kept", () => {
  const f = { ...defaultForm(), ...withRoute(defaultForm(), "chain") }, udp: Form = { ...f, lab: { ...f.lab, transport: "udp" } };
  const p = planOf(udp, undefined, false);
  assert.deepEqual([p.security, p.lab?.route, p.auth, p.target.port], ["none", "direct", undefined, 25]);
  assert.deepEqual([securityOf(udp), routeOf(udp), signsIn(udp)], ["none", "direct", false]);
  assert.deepEqual(planOf({ ...udp, lab: { ...udp.lab, transport: "tcp" } }, undefined, false), planOf(f, undefined, false));
  assert.equal(planOf({ ...udp, mode: "live", address: "mx.example.net" }, undefined, false).security, "starttls");
});

test("only the lab is told of links, servers and seeds", () => {
  for (const mode of ["practice", "live"] as const) {
    const p = planOf({ ...using({ pipelining: true }), mode }, CONFIG, false);
    assert.deepEqual([p.link, p.lab, p.seed, p.options], [undefined, undefined, undefined, { pipelining: true }]);
  }
});

test("without a port a domain is meant, whose mail servers are tried", () => {
  const f: Form = { ...defaultForm(), mode: "live", address: "example.net" };
  assert.deepEqual(planOf(f, CONFIG, false).target, { mode: "live", host: "", port: 25, domain: "example.net" });
  assert.equal(planOf({ ...f, security: "tls" }, CONFIG, false).target.port, 465);
  assert.equal(planOf({ ...f, ...using({ protocol: "lmtp" }), mode: "live", address: "example.net" }, CONFIG, false).target.port, 24);
  assert.deepEqual(planOf({ ...f, address: "grace@example.net:2525" }, CONFIG, false).target, { mode: "live", host: "", port: 2525, domain: "example.net" });
  for (const address of ["example.net", "@example.net:2525", "mx.example.net:25", "[2001:db8::1]:587"]) assert.equal(formOf(planOf({ ...f, address }, CONFIG, false), defaultForm()).address, address);
  assert.equal(formOf(JSON.parse(`{"target": {"mode": "live", "host": "mx.example.net"}, "security": "none"}`) as Plan, defaultForm()).address, "mx.example.net:25", "a host stays one");
  assert.deepEqual(problems(f, { ...CONFIG, lookup: true }), {});
  assert.match(problems(f, { ...CONFIG, lookup: false }).address!, /Name one and its port/);
  assert.deepEqual(problems({ ...f, address: "mx.example.net:25" }, { ...CONFIG, lookup: false }), {});
});

test("addresses", () => {
  const host = (name: string, port?: number) => ({ host: name, port, domain: false }), domain = (name: string, port?: number) => ({ host: name, port, domain: true });
  for (const [text, want] of [
    ["example.net", domain("example.net")], ["Example.NET.", domain("example.net")], ["grace@example.net", domain("example.net")], ["@example.net:2525", domain("example.net", 2525)],
    ["b\u00fccher.example", domain("xn--bcher-kva.example")], ["localhost", host("localhost")], ["192.0.2.1", host("192.0.2.1")], ["_x.example.net", host("_x.example.net")],
    [" mx.example.net:25 ", host("mx.example.net", 25)], ["[2001:db8::1]:587", host("2001:db8::1", 587)], ["2001:db8::1", host("2001:db8::1")], ["192.0.2.1:465", host("192.0.2.1", 465)],
    ["", undefined], ["@", undefined], ["grace@", undefined], ["grace@localhost", undefined], ["grace@192.0.2.1", undefined], ["a b", undefined], ["host:99999", undefined], ["host:0", undefined], ["http://host/", undefined], ["host:", undefined],
  ] as const) assert.deepEqual(parseAddress(text), want, text);
});

test("what keeps a form from being run is named", () => {
  assert.deepEqual(problems(practising(), CONFIG), {});
  for (const seed of ["", "x", "1.5", "-1", "1234567890123456"]) assert.ok(problems({ ...defaultForm(), seed }, CONFIG).seed, seed);
  assert.deepEqual(problems({ ...practising(), seed: "x" }, CONFIG), {});
  assert.ok(problems({ ...defaultForm(), mode: "live" }, CONFIG).address);
  assert.ok(problems({ ...defaultForm(), mode: "live", address: "a b" }, CONFIG).address);
  assert.ok(problems(sending({ to: [" "] }), CONFIG).to);
  assert.ok(problems(practising(), { ...CONFIG, practice: null }).mode);
});

test("message sizes are counted as RFC 1870 does", () => {
  for (const [text, want] of [["", 0], ["a", 3], ["a\n", 3], ["a\r\n", 3], ["a\rb", 6], ["é\n", 4], ["\n\n", 4]] as const) assert.equal(messageSize(text), want, JSON.stringify(text));
});

test("a long text is not put into the box", () => {
  const long = withMessage("x".repeat(EDIT_LIMIT + 1), "big.eml");
  assert.deepEqual([long.text, long.file?.name, long.file?.size], ["", "big.eml", EDIT_LIMIT + 3]);
  assert.equal(withMessage("short", "a.eml").file, undefined);
  assert.equal(planOf(sending(long), CONFIG, false).messages[0]!.data.length, EDIT_LIMIT + 1);
});

test("what is kept in the browser has no password and no token", () => {
  const f = sending({ file: { name: "big.eml", size: 1, text: "long" }, fields: { ...NO_FIELDS, attachments: [{ name: "a.png", type: "image/png", data: new Uint8Array([137, 80, 78]) }] } });
  f.signIn.live.mechanism = "XOAUTH2";
  f.signIn.live.password = f.signIn.practice.password = f.signIn.lab.password = "hunter2";
  const text = JSON.stringify(keepable(f));
  assert.doesNotMatch(text, /hunter2|long"|iVBO/);
});

test("what an earlier version kept in the browser still loads, and what this one keeps too", (t) => {
  const storage = new Map<string, string>();
  Object.defineProperty(globalThis, "localStorage", { configurable: true, value: { getItem: (k: string) => storage.get(k) ?? null, setItem: (k: string, v: string) => void storage.set(k, v) } });
  t.after(() => Reflect.deleteProperty(globalThis, "localStorage"));
  storage.set("smtpscope.plan", JSON.stringify({ mode: "live", address: "mx.example.net:25", security: "tls", from: "a@example.org", to: ["b@example.net"],
    signIn: { practice: { on: false, mechanism: "LOGIN", username: "", password: "" }, live: { on: true, mechanism: "", username: "u", password: "" } },
    ehlo: "[127.0.0.1]", serverName: "", ca: "", insecure: false }));
  const fresh = defaultForm(), old = keptForm(fresh);
  assert.deepEqual([old.mode, old.address, old.signIn.live.username, old.signIn.practice.on], ["live", "mx.example.net:25", "u", false]);
  assert.deepEqual([old.lab, old.link, old.seed, old.options, old.signIn.lab, old.transactions], [fresh.lab, fresh.link, fresh.seed, fresh.options, fresh.signIn.lab, fresh.transactions]);

  const f: Form = { ...fresh, ...withRoute(fresh, "chain"), link: { ...fresh.link, loss: 0.08 }, seed: "42", commands: "VRFY ada\nHELP",
    options: { ...fresh.options, size: false, pipelining: true, protocol: "lmtp", dsn: { notify: ["delay"], ret: "full", envid: "e1" }, priority: -4, hold: "60", xclient: { ...fresh.options.xclient, NAME: "mx.example.net" } } };
  const [first] = fresh.transactions, fields = { ...NO_FIELDS, subject: "Hello", text: "the text" };
  f.transactions = [first!, { ...first!, to: ["x@example.net", "y@example.net"], way: "fields", text: "", fields }, { ...first!, text: "other" }];
  f.lab = { ...f.lab, server: { ...f.lab.server, unknown: ["x@example.net"], greylist: "10m" } };
  keepForm(f, first!.text);
  const today = defaultForm(new Date(0), "y");
  assert.deepEqual(keptForm(today), { ...f, transactions: [today.transactions[0], ...f.transactions.slice(1)] }, "the Date of an untouched message is of today");
  keepForm({ ...f, transactions: [] }, first!.text);
  assert.deepEqual(keptForm(today).transactions, []);
});

test("a plan of the lab goes into the form and comes out the same", () => {
  const fresh = defaultForm(), f: Form = { ...fresh, ...withRoute(fresh, "chain"), seed: "42",
    link: { delay: "1.5s", bandwidth: "64kbit", loss: 0.08, reorder: 0.01, duplicate: 0.02, corrupt: 0.03, mtu: 576 } };
  f.lab = { ...f.lab, relays: 4, server: { greetingDelay: "8s", greylist: "10m", down: "45m", shutdown: "RCPT", mailboxFull: true, unknown: ["x@example.net"],
    noPipelining: true, noSTARTTLS: true, size: 200, readRate: "16kbit", receiveBuffer: 4096 } };
  const p = planOf(f, undefined, false);
  assert.deepEqual(p.lab, f.lab);
  assert.deepEqual(p.link, f.link);
  assert.deepEqual(planOf(formOf(p, defaultForm()), undefined, false), p);
});

test("what a plan of the lab leaves out is shown as the engine takes it, and run as it was given", () => {
  const base: Form = { ...defaultForm(), seed: "7", link: { ...defaultForm().link, delay: "500ms", loss: 0.5 }, signIn: { ...defaultForm().signIn, lab: { on: true, mechanism: "LOGIN", username: "", password: "" } } };
  const given: Partial<Plan> = { target: { mode: "lab", host: "", port: 0 } }, f = formOf(given, base);
  assert.deepEqual([f.link.delay, f.link.loss, f.seed, f.signIn.lab.on], ["", 0, "1", false]);
  assert.deepEqual(completed(given, planOf(f, undefined, false)), { ...given, pace: { step: false } });
  assert.equal(formOf({ link: { loss: 0.1 } }, base).link.delay, "500ms", "a part of a plan changes that part");
  const saved = JSON.parse(`{"target": {"mode": "lab"}, "lab": {"server": {"unknown": null}}}`) as Plan;
  assert.deepEqual(formOf(saved, base).lab.server.unknown, [], "the null of an empty slice");
});

test("a mode that this page does not know keeps the one that it has", () => {
  assert.equal(formOf(JSON.parse(`{"target": {"mode": "moon"}}`) as Plan, defaultForm()).mode, "lab");
});

test("a plan goes into the form and comes out the same", () => {
  const f = { ...defaultForm(), mode: "live" as const, address: "mx.example.net:2525", security: "tls" as const, ca: "PEM", insecure: true };
  f.signIn.live = { on: true, mechanism: "LOGIN", username: "u", password: "p" };
  const p = planOf(f, CONFIG, false);
  assert.deepEqual(planOf(formOf(p, defaultForm()), CONFIG, false), p);
});

test("all that a plan can say goes into the form and comes out the same", () => {
  const p: Plan = { ...planOf(practising(), CONFIG, false), commands: ["VRFY ada", "ETRN example.net"],
    messages: [
      { from: "", to: ["a@example.net", "b@example.net"], data: "Subject: 1\r\n\r\n7 bits\r\n", alternatives: { "8bitmime": "Subject: 1\r\n\r\n8 bits\r\n" } },
      { from: "ada@example.org", to: ["c@example.net"], data: "Subject: 2\r\n\r\n\r\n" },
    ],
    options: { size: false, body: "binarymime", pipelining: true, chunking: true, smtputf8: true, requiretls: true, protocol: "lmtp", dsn: { notify: ["success", "delay"], ret: "hdrs", envid: "QQ314159" },
      deliverby: "120;R", priority: -3, hold: "2026-12-24T18:00:00Z", rset: true, rrvs: "2014-04-03T23:01:00Z", xclient: { NAME: "mx.example.net", ADDR: "192.0.2.1" }, xforward: { SOURCE: "REMOTE" } } };
  p.target.port = 24;
  delete p.auth;
  assert.deepEqual(planOf(formOf(p, using({ rset: true, requiretls: false }, sending({ way: "fields", text: "" }))), CONFIG, false), p);
  const none: Plan = { ...planOf(practising(), CONFIG, false), messages: [] };
  assert.deepEqual(planOf(formOf(none, formOf(p, defaultForm())), CONFIG, false), none, "what a plan leaves out is as the engine has it");
});

test("only practice is told who else the client is, and the lab speaks SMTP", () => {
  const f = using({ protocol: "lmtp", xclient: { NAME: "a" }, xforward: { NAME: "b", ADDR: " " } });
  assert.deepEqual(planOf({ ...f, mode: "practice" }, CONFIG, false).options, { protocol: "lmtp", xclient: { NAME: "a" }, xforward: { NAME: "b" } });
  assert.deepEqual(planOf({ ...f, mode: "live", address: "mx.example.net" }, CONFIG, false).options, { protocol: "lmtp" });
  assert.deepEqual(planOf(f, CONFIG, false).options, {});
  assert.equal(target({ ...f, mode: "live", address: "mx.example.net" }, CONFIG).port, 24);
  assert.equal(target({ ...f, mode: "live", address: "mx.example.net:2424" }, CONFIG).port, 2424);
  assert.equal(target(f, CONFIG).port, 25);
  assert.ok(problems({ ...f, mode: "practice", security: "tls" }, CONFIG).mode);
  assert.deepEqual(problems({ ...f, mode: "practice" }, CONFIG), {});
});

test("commands of a form are lines, and of the verbs that may come first", () => {
  const f = { ...defaultForm(), commands: "\n vrfy ada \n\nHELP\n" };
  assert.deepEqual(planOf(f, undefined, false).commands, ["vrfy ada", "HELP"]);
  assert.deepEqual(problems(f, undefined), {});
  assert.match(problems({ ...f, commands: "NOOP\nQUIT" }, undefined).commands!, /^QUIT /);
  assert.equal(planOf(defaultForm(), undefined, false).commands, undefined);
});

test("several messages: what is wrong names which", () => {
  const f = defaultForm(), two: Form = { ...f, transactions: [f.transactions[0]!, { ...addition(f), to: [""] }] };
  assert.equal(problems(two, undefined).to, "Message 2: Name at least one recipient.");
  const bad: Form = { ...f, transactions: [...f.transactions, { ...addition(f), problem: { field: "cc", text: "No." } }] };
  assert.equal(problems(bad, undefined).message, "Message 2: No.");
  assert.deepEqual(addition(f).to, f.transactions[0]!.to);
  assert.notEqual(addition(f).text, addition(f).text, "each has a Message-ID of its own");
  assert.deepEqual(problems({ ...f, transactions: [] }, undefined), {});
});

test("what changes in a message that is composed of fields makes it be composed anew", () => {
  const f = sending({ way: "fields", text: "composed", alternatives: { "8bitmime": "c" } });
  assert.equal(uncomposed(f), false);
  for (const patch of [{ to: ["x@example.net"] }, { fields: { ...NO_FIELDS, subject: "s" } }]) assert.equal(uncomposed({ ...f, ...withTransaction(f, 0, patch) }), true);
  assert.equal(uncomposed(sending({ way: "fields", text: "", file: { name: "composed message", size: 1, text: "long" } })), false);
  assert.equal(uncomposed(sending({ text: "" })), false, "an empty message is one, too");
});

test("the default message is RFC 5322", () => {
  const d = new Date(2026, 10, 2, 3, 4, 5);
  assert.match(dateTime(d), /^Mon, 2 Nov 2026 03:04:05 [+-]\d{4}$/);
  assert.ok(defaultMessage(d, "x").split("\n").every((l) => l.length <= 78));
});

test("planned steps are those that a session without trouble takes", () => {
  const steps = stepsOf(outlineOf(practising(), CONFIG)), rows = rowsOf(accepted());
  assert.equal(roundTrips(steps), rows.rounds.done);
  const verbs = steps.map((s) => s.verb).filter((v) => v !== "connect" && v !== "greeting" && v !== "tls");
  assert.deepEqual(verbs, rows.list.filter((r) => ["command", "message"].includes(r.kind)).map((r) => (rows.event(r).data as { verb?: string }).verb ?? "message"));
  assert.equal(stepsOf({ ...outlineOf(practising(), CONFIG), security: "tls" }).map((s) => s.verb).join(" "), "connect tls greeting EHLO AUTH MAIL RCPT DATA message QUIT");
});

test("planned steps of the lab", () => {
  const f = defaultForm(), words = (form: Form) => stepsOf(outlineOf(form, undefined)).slice(0, 2).map((s) => `${s.round} ${s.verb} ${s.text}`);
  assert.deepEqual(words(f), ["1 connect SYN, SYN ACK", "2 greeting "]);
  assert.deepEqual(words({ ...f, lab: { ...f.lab, transport: "udp" } }), ["1 greeting ", "2 EHLO EHLO [192.0.2.10]"], "nothing is set up before datagrams");
  for (const transport of ["tcp", "udp"] as const) {
    const form: Form = { ...f, lab: { ...f.lab, transport } };
    assert.deepEqual(stepsOf(outlineIn(planOf(form, undefined, false))!), stepsOf(outlineOf(form, undefined)), "the same from the plan in a trace");
  }
});

test("a sign-in takes as many exchanges as its mechanism has", () => {
  const auth = (mechanism: Mechanism) => {
    const f: Form = { ...defaultForm(), ...withRoute(defaultForm(), "submission") };
    f.signIn.lab = { on: true, mechanism, username: "", password: "" };
    const steps = stepsOf(outlineOf(f, undefined));
    assert.deepEqual(stepsOf(outlineIn(planOf(f, undefined, false))!), steps, "the same from the plan in a trace");
    return steps.filter((s) => s.verb === "AUTH" || s.verb === "response").map((s) => `${s.text} ${s.expect}`).join(", ");
  };
  assert.equal(auth(""), "AUTH PLAIN •••••••• 235");
  assert.equal(auth("LOGIN"), "AUTH LOGIN 334, •••••••• 334, •••••••• 235");
  assert.equal(auth("CRAM-MD5"), "AUTH CRAM-MD5 334, •••••••• 235");
  for (const m of ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"] as const) assert.equal(auth(m), `AUTH ${m} •••••••• 334, •••••••• 334, empty response 235`);
  for (const m of ["PLAIN", "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "ANONYMOUS"] as const) assert.equal(auth(m), `AUTH ${m} •••••••• 235`);
});

test("a group of commands is one round trip", () => {
  const f: Form = { ...using({ pipelining: true }, sending({ to: ["a@example.net", "b@example.net"] })), security: "none" };
  const rounds = (form: Form) => stepsOf(outlineOf(form, undefined)).map((s) => `${s.round} ${s.verb}`).join(", ");
  assert.equal(rounds(f), "1 connect, 2 greeting, 3 EHLO, 4 MAIL, 4 RCPT, 4 RCPT, 4 DATA, 5 message, 6 QUIT");
  assert.equal(rounds(using({ chunking: true }, f)), "1 connect, 2 greeting, 3 EHLO, 4 MAIL, 4 RCPT, 4 RCPT, 4 message, 5 QUIT");
  assert.equal(rounds(using({ pipelining: false }, f)), "1 connect, 2 greeting, 3 EHLO, 4 MAIL, 5 RCPT, 6 RCPT, 7 DATA, 8 message, 9 QUIT");
  assert.equal(roundTrips(stepsOf(outlineIn(planOf(f, undefined, false))!)), 6);
  assert.equal(roundTrips(stepsOf(outlineIn(planOf(f, undefined, true))!)), 9, "who steps sends one command at a time");
});

test("planned steps of commands, of several messages, and of LMTP", () => {
  const plan = (f: Form) => stepsOf(outlineOf(f, CONFIG)).map((s) => `${s.round} ${s.text || s.verb} ${s.expect}`.trim());
  const f: Form = { ...practising(), security: "none", commands: "VRFY ada\nHELP\nNOOP" }, two: Form = { ...using({ rset: true, chunking: true }, f), transactions: [...f.transactions, ...f.transactions] };
  assert.deepEqual(plan(f).slice(3, 7), ["4 VRFY ada 252", "5 HELP 214", "6 NOOP 250", "7 MAIL FROM:<ada@example.org> 250"]);
  assert.deepEqual(plan(two).slice(6), [
    "7 MAIL FROM:<ada@example.org> 250", "8 RCPT TO:<grace@example.net> 250", "9 BDAT, message text 250", "10 RSET 250",
    "11 MAIL FROM:<ada@example.org> 250", "12 RCPT TO:<grace@example.net> 250", "13 BDAT, message text 250", "14 QUIT 221"]);
  const group = (form: Form) => plan(using({ pipelining: true }, form)).filter((s) => s.startsWith("6 ")).map((s) => s.slice(2).split(/[: ]/)[0]).join(" ");
  assert.equal(group({ ...two, commands: "HELP" }), "RSET MAIL RCPT BDAT,", "RSET leads the group");
  const lmtp = using({ protocol: "lmtp", pipelining: true, xclient: { NAME: "mx.example.net", ADDR: "192.0.2.1" }, xforward: { NAME: "b" } }, sending({ to: ["a@example.net", "b@example.net"] }, { ...f, commands: "" }));
  assert.deepEqual(plan(lmtp), [
    "1 connect to mail.practice.test, port 24", "2 greeting 220", "3 LHLO [127.0.0.1] 250", "4 XCLIENT NAME=mx.example.net ADDR=192.0.2.1 220", "5 LHLO [127.0.0.1] 250", "6 XFORWARD NAME=b 250",
    "7 MAIL FROM:<ada@example.org> 250", "7 RCPT TO:<a@example.net> 250", "7 RCPT TO:<b@example.net> 250", "7 DATA 354", "8 message text 250", "8 message 250", "9 QUIT 221"]);
  for (const form of [f, two, lmtp]) assert.deepEqual(stepsOf(outlineIn(JSON.parse(JSON.stringify(planOf(form, CONFIG, false))))!), stepsOf(outlineOf(form, CONFIG)), "the same from the plan in a trace");
  assert.equal(plan({ ...f, commands: "", transactions: [] }).at(-1), "4 QUIT 221", "no message: look and leave");
});

test("times of the browser’s own control and of a plan", () => {
  for (const local of ["2026-12-24T18:00", "2014-04-03T23:01"]) assert.equal(localOf(rfc3339Of(local)), local);
  assert.equal(rfc3339Of(localOf("2026-12-24T18:00:00Z")), "2026-12-24T18:00:00Z");
  assert.deepEqual([localOf(""), rfc3339Of("")], ["", ""]);
});

test("knobs stand where a plan says, and say what it says", () => {
  for (const [text, ms, words] of [["", 0, "0 ms"], ["40ms", 40, "40 ms"], ["1.5s", 1500, "1.5 s"], ["1m30s", 90_000, "1.5 min"], ["250us", 0.25, "0.25 ms"], ["10m", 600_000, "10 min"], ["soon", undefined, "soon"], ["5", undefined, "5"]] as const) {
    assert.equal(milliseconds(text), ms, text);
    assert.equal(durationWords(text), words);
  }
  assert.deepEqual([40, 35, 1500].map((ms) => DELAYS[nearest(DELAYS, ms)]), [40, 30, 500]);
  assert.deepEqual([0, 0.08, 0.07].map((p) => CHANCES[nearest(CHANCES, p * 100)]), [0, 8, 8]);
  assert.deepEqual([0.08, 0.005, 0.07, 1].map(chanceWords), ["8 %", "0.5 %", "7 %", "100 %"]);
  assert.deepEqual(CHANCES.map((c) => (c / 100) * 100).map((c) => nearest(CHANCES, c)), CHANCES.map((_, i) => i), "every position of a slider is found again");
  assert.equal(including(BANDWIDTHS, "10Mbit"), BANDWIDTHS);
  assert.deepEqual(including(BANDWIDTHS, "3Mbit").at(-1), ["3Mbit", "3Mbit"]);
});

test("the clock never goes without a unit", () => {
  for (const [ns, want] of [[0, "0.0 ms"], [920e6, "920.0 ms"], [99_999e6, "99999.0 ms"], [1e11, "1 min 40.0 s"], [179.97e9, "2 min 59.9 s"], [5400e9, "1 h 30 min 0 s"]] as const) assert.equal(clock(ns), want);
});
