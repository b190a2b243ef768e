import assert from "node:assert/strict";
import { test } from "node:test";
import { addresses, composed, difference, settle, turned, type Compose } from "../../src/compose.ts";
import { defaultForm, EDIT_LIMIT, NO_FIELDS, problems, withTransaction, type Fields, type Form, type Transaction } from "../../src/plan.ts";

const NOW = new Date("2026-11-23T10:00:00Z");

const writing = (fields: Partial<Fields>, envelope: Partial<Transaction> = {}): Transaction => ({ ...defaultForm().transactions[0]!, way: "fields", text: "", fields: { ...NO_FIELDS, ...fields }, ...envelope });

/** A desk that remembers what it was asked, and answers so. */
function desk(answer: Awaited<ReturnType<Compose>> | Error = { data: "Subject: s\r\n\r\nt\r\n", alternatives: {} }) {
  const asked: (Parameters<Compose>[0] & { files: Uint8Array[] })[] = [];
  const compose: Compose = async (fields, files) => {
    asked.push({ ...fields, files });
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { asked, compose };
}

test("the header has the envelope's addresses until others are typed", async () => {
  const { asked, compose } = desk(), f: Form = { ...defaultForm(), transactions: [
    writing({ subject: "s", text: "t" }, { to: [" a@example.net", "", "b@example.net"] }),
    writing({ from: "Ada <ada@example.com>", to: `"King, Ada" <a@example.net>, b@example.net`, cc: "c@example.net", attachments: [{ name: "a.png", type: "image/png", data: new Uint8Array([137, 80, 78]) }] }),
    { ...defaultForm().transactions[0]!, text: "by hand" },
  ] };
  const out = await composed(f, compose, NOW);
  assert.deepEqual(asked.map((a) => [a.from, a.to, a.cc, a.attachments, a.files, a.date]), [
    ["ada@example.org", ["a@example.net", "b@example.net"], [], [], [], "2026-11-23T10:00:00.000Z"],
    ["Ada <ada@example.com>", [`"King, Ada" <a@example.net>`, "b@example.net"], ["c@example.net"], [{ name: "a.png", type: "image/png" }], [new Uint8Array([137, 80, 78])], "2026-11-23T10:00:00.000Z"],
  ]);
  assert.match(asked[0]!.id, /^<[0-9a-f]+@example\.org>$/);
  assert.match(asked[1]!.id, /@example\.com>$/);
  assert.deepEqual(out.transactions.map((t) => t.text), ["Subject: s\n\nt\n", "Subject: s\n\nt\n", "by hand"]);
  assert.equal(await composed(out, compose, NOW), out, "nothing is composed twice");
  assert.equal(asked.length, 2);
});

test("a composed message has its other encodings, and a long one is no text for a box", async () => {
  const one = async (answer: Parameters<typeof desk>[0]) => (await composed({ ...defaultForm(), transactions: [writing({})] }, desk(answer).compose)).transactions[0]!;
  assert.deepEqual((await one({ data: "a", alternatives: { "8bitmime": "b" } })).alternatives, { "8bitmime": "b" });
  assert.equal((await one({ data: "a", alternatives: {} })).alternatives, undefined);
  const long = await one({ data: "x".repeat(EDIT_LIMIT + 1), alternatives: {} });
  assert.deepEqual([long.text, long.file?.name], ["", "composed message"]);
});

test("what is wrong stands at its field, and keeps the form from being run", async () => {
  for (const [said, want] of [
    [`to: "x" is not an address; write it like ada@example.org`, { field: "to", text: `"x" is not an address; write it like ada@example.org.` }],
    ["attachments[1]: it is too long", { field: "attachments", text: "It is too long." }],
    ["date: missing", { field: "", text: "Date: missing." }],
    ["The program that writes files stopped.", { field: "", text: "The program that writes files stopped." }],
  ] as const) {
    const bad = await composed({ ...defaultForm(), transactions: [writing({})] }, desk(new Error(said)).compose);
    assert.deepEqual(bad.transactions[0]!.problem, want);
    assert.equal(problems(bad, undefined).message, want.text);
    assert.equal((await composed(bad, desk().compose)).transactions[0]!.problem, undefined, "the next try may succeed");
  }
});

test("who runs a plan waits for what is being composed, and for what is changed meanwhile", async () => {
  let form: Form = { ...defaultForm(), transactions: [writing({ subject: "first" })] };
  const asked: { subject: string; answer: () => void }[] = [];
  const compose: Compose = ({ subject }) => new Promise((resolve) => asked.push({ subject, answer: () => resolve({ data: subject, alternatives: {} }) }));
  const early = composed(form, compose), late = settle(() => form, (f) => (form = f), compose);
  assert.equal(asked.length, 1, "the same is composed once");
  form = { ...form, ...withTransaction(form, 0, { fields: { ...NO_FIELDS, subject: "second" } }) };
  asked[0]!.answer();
  assert.equal((await early).transactions[0]!.text, "first");
  while (asked.length < 2) await Promise.resolve();
  asked[1]!.answer();
  await late;
  assert.equal(form.transactions[0]!.text, "second");
  form = { ...form, transactions: [writing({})] };
  await settle(() => form, (f) => (form = f), desk(new Error("to: no")).compose);
  assert.equal(form.transactions[0]!.problem!.field, "to", "what cannot be composed is not tried for ever");
});

test("lists of addresses", () => {
  for (const [list, want] of [["", []], [" a@b , ,c@d ", ["a@b", "c@d"]], [`"x, \\" y" <a@b>, c@d (e, f)`, [`"x, \\" y" <a@b>`, "c@d (e, f)"]]] as const) assert.deepEqual(addresses(list), want);
});

test("where header and envelope differ is said", () => {
  const to = ["a@example.net", "b@example.net"];
  for (const [fields, envelope, want] of [
    [{}, {}, ""], [{ from: "Ada <ADA@example.org>" }, {}, ""], [{ to: "a@example.net", cc: "B <b@example.net>" }, { to }, ""],
    [{ from: "x@example.org" }, {}, "From differs"], [{ to: "a@example.net" }, { to }, "To and Cc differ"], [{ from: "x@example.org", to: "y@example.net" }, {}, "From and To differ"], [{ from: "" }, { from: "" }, ""],
  ] as const) assert.equal(difference(writing(fields, { ...envelope, ...("to" in envelope ? { to: [...envelope.to] } : {}) } as Partial<Transaction>)).split(" from the envelope")[0], want);
});

test("a source becomes fields, and says what it leaves behind", async () => {
  const read = async (text: string) => {
    const t = await turned({ ...writing({}), way: "raw", text }, "fields", desk().compose);
    return [t.fields!.from, t.fields!.to, t.fields!.subject, t.fields!.text, t.left];
  };
  assert.deepEqual(await read("Date: x\nFrom: Ada <ada@example.org>\nTo: a@example.net,\n b@example.net\nSubject: one\n\ttwo\nMessage-ID: <1@x>\n\nfirst\n\nsecond\n"),
    ["Ada <ada@example.org>", "a@example.net, b@example.net", "one two", "first\n\nsecond\n", undefined]);
  assert.deepEqual(await read("Subject: s\nX-Mailer: m\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"), ["", "", "s", "", "X-Mailer, the multipart/mixed body"]);
  assert.deepEqual(await read("Content-Transfer-Encoding: base64\n\nYQ==\n"), ["", "", "", "", "the text/plain body"]);
  assert.equal((await turned({ ...writing({}), way: "raw", text: "Content-Type: text/html; charset=utf-8\n\n<p>x\n" }, "fields", desk().compose)).fields!.html, "<p>x\n");
  assert.deepEqual(await read("\nno header\n"), ["", "", "", "no header\n", undefined]);
  assert.deepEqual(await read("no header at all"), ["", "", "", "", undefined]);
});

test("from fields to the source and back nothing is lost", async () => {
  const fields = { ...NO_FIELDS, subject: "s", attachments: [{ name: "a", type: "text/plain", data: new Uint8Array([97]) }] }, t = writing(fields), { compose } = desk();
  const raw = await turned(t, "raw", compose);
  assert.deepEqual([raw.way, raw.text], ["raw", "Subject: s\n\nt\n"]);
  const back = await turned({ ...t, ...raw }, "fields", compose);
  assert.deepEqual([back.way, back.fields, back.text], ["fields", undefined, ""], "the fields stay as they are");
  assert.deepEqual(await turned(t, "raw", desk(new Error("cc: no")).compose), { problem: { field: "cc", text: "No." } }, "the way stays until that is mended");
});
