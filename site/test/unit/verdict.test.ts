import assert from "node:assert/strict";
import { test } from "node:test";
import { duration } from "../../src/format.ts";
import { lostTime } from "../../src/rounds.ts";
import { rowsOf } from "../../src/rows.ts";
import { verdict } from "../../src/verdict.ts";
import { lossy } from "../fixtures/lab.ts";
import type { MessageResult, Outcome, Result } from "../../src/trace.ts";
import { MS, Segments, connected } from "../fixtures/segments.ts";

const ACCEPTED = { outcome: "accepted", phase: "quit", messages: [{ outcome: "accepted", queueID: "S1", recipients: [{ to: "grace@example.net", outcome: "accepted" }] }] } as const;
const result = { ...ACCEPTED, messages: ACCEPTED.messages.map((m) => ({ ...m, recipients: m.recipients.map((r) => ({ ...r })) })) };

const words = (s: Segments, r: Parameters<Segments["done"]>[0] = result) => {
  const t = s.done(r);
  return verdict(t, t.result!);
};

test("without losses: round trips and time", () => {
  assert.equal(words(connected().at(640)).text, "mail.example.org took the message for 1 recipient, queued as S1, after 8 round trips, 640 ms.");
});

test("what lost segments cost is what the tally says", () => {
  const t = lossy(), spent = lostTime(rowsOf(t)).time;
  assert.ok(spent > 0);
  assert.ok(verdict(t, t.result!).text.endsWith(` and cost ${duration(spent)}.`), verdict(t, t.result!).text);
});

test("several, some damaged; what happens after the session does not count", () => {
  const s = connected();
  s.at(100).tcp("server", "client", "ACK", 1, 1, "", { fate: "lost" });
  s.tcp("server", "client", "ACK", 1, 1, "", { fate: "corrupted", flip: { offset: 22, mask: 1 } });
  s.tcp("server", "mx", "SYN", 0, 0, "", { fate: "lost", flow: 1 });
  const t = s.at(200).done(result);
  s.at(300).tcp("client", "server", "ACK", 1, 1, "", { fate: "lost" });
  assert.match(verdict(t, t.result!).text, /; 2 segments were lost or damaged\.$/);
});

test("nobody answers: the error says what was tried", () => {
  const s = new Segments(), r = { outcome: "failed", phase: "connect", error: { code: "timeout", message: "mail.example.org did not answer." } } as const;
  const first = s.tcp("client", "server", "SYN", 0, 0, "", { fate: "lost" });
  for (const t of [1000, 3000, 7000]) s.at(t).tcp("client", "server", "SYN", 0, 0, "", { fate: "lost", again: first });
  assert.equal(words(s.at(127_000), r).text, "mail.example.org did not answer.", "the error says it all");
});

test("what became of the message behind the server", () => {
  const s = connected().at(640);
  s.mail("queued", { host: "server", queueID: "S1" });
  assert.equal(words(s).after, "It is still on its way.");
  s.mail("deferred", { host: "server", queueID: "S1", reason: "451 4.7.1 Greylisted", retry: 1_800_000 * MS });
  assert.equal(words(s).after, "mail.example.org put it off once: 451 4.7.1 Greylisted. It is still on its way.");
  s.at(1_801_000).mail("delivered", { host: "mx", queueID: "M1", mailbox: "grace@example.net" }, "\n");
  const v = words(s);
  assert.equal(v.after, "mail.example.org put it off once: 451 4.7.1 Greylisted. It reached the mailbox of grace@example.net at 30 min 1 s.");
  assert.deepEqual([v.title, v.tone], ["Accepted", "good"]);
});

test("accepted and then given up is not good", () => {
  const s = connected().at(640);
  s.mail("queued", { host: "server", queueID: "S1" });
  s.mail("bounced", { host: "server", queueID: "S1", reason: "550 5.1.1 No such mailbox here" });
  s.mail("delivered", { host: "server", queueID: "B1", from: "", to: ["ada@example.org"], mailbox: "ada@example.org" }, "\n");
  const v = words(s);
  assert.deepEqual([v.title, v.tone], ["Accepted, not delivered", "note"]);
  assert.equal(v.after, "mail.example.org gave it up for grace@example.net: 550 5.1.1 No such mailbox here. A bounce tells ada@example.org.");
});

test("outside of the lab nothing is said of packets", () => {
  const s = connected().at(640);
  Object.assign(s.store.meta, { mode: "live" });
  assert.equal(words(s).text, "mail.example.org took the message for 1 recipient, queued as S1.");
});

test("several messages and recipients: how many of them were taken, and as what", () => {
  const message = (outcome: Outcome, queueID: string, ...recipients: Outcome[]): MessageResult => ({ outcome, ...(queueID && { queueID }), recipients: recipients.map((outcome, i) => ({ to: `${i}@example.net`, outcome })) });
  const said = (...messages: MessageResult[]) => {
    const outcome = messages.every((m) => m.outcome === "accepted") ? "accepted" : "partial";
    const t = connected().done({ outcome, phase: "quit", ...(outcome === "partial" && { error: { code: "rejected", message: "Why." } }), messages } as Pick<Result, "outcome" | "phase">);
    Object.assign(t.meta, { mode: "practice" });
    const v = verdict(t, t.result!);
    return [v.text.replace("mail.example.org took ", ""), ...v.messages.map((m) => m.name).filter(Boolean)];
  };
  const one = message("accepted", "A", "accepted", "accepted");
  assert.deepEqual(said(one), ["the message for 2 recipients, queued as A."]);
  assert.deepEqual(said(one, message("accepted", "B", "accepted", "accepted")), ["2 messages for 4 recipients.", "Message 1, queued as A", "Message 2, queued as B"]);
  assert.deepEqual(said(one, message("accepted", "", "accepted")), ["2 messages for 3 recipients.", "Message 1, queued as A", "Message 2"]);
  assert.deepEqual(said(one, message("rejected", "", "rejected")), ["1 of 2 messages for 2 of 3 recipients. Why.", "Message 1, queued as A", "Message 2"]);
  assert.deepEqual(said(message("partial", "A", "rejected", "accepted")), ["the message for 1 of 2 recipients, queued as A. Why."], "as LMTP answers for each");
});
