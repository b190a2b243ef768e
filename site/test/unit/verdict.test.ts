import assert from "node:assert/strict";
import { test } from "node:test";
import { verdict } from "../../src/verdict.ts";
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

test("a lost segment, and what its timer cost", () => {
  const s = connected();
  const lost = s.at(560).tcp("client", "server", "PSH, ACK", 1, 1, "MAIL\r\n", { fate: "lost" });
  const again = s.at(760).tcp("client", "server", "PSH, ACK", 1, 1, "MAIL\r\n", { again: lost });
  s.state("client", again, { cwnd: 1, ssthresh: 2, congestion: "timeout recovery", rto: 400 * MS });
  s.at(800).tcp("server", "client", "ACK", 1, 7);
  assert.match(words(s.at(920)).text, /after 8 round trips, 920 ms; one segment was lost and cost 200 ms\.$/);
});

test("both sides wait: time that passes for both counts once", () => {
  const s = connected(), again = (from: string, to: string, at: number, o: { again: number }) => {
    const n = s.at(at).tcp(from, to, "PSH, ACK", 1, 1, "x\r\n", o);
    s.state(from, n, { cwnd: 1, ssthresh: 2, congestion: "timeout recovery", rto: 400 * MS });
  };
  const out = s.at(560).tcp("client", "server", "PSH, ACK", 1, 1, "x\r\n", { fate: "lost" });
  const back = s.at(600).tcp("server", "client", "PSH, ACK", 1, 1, "x\r\n", { fate: "lost" });
  again("client", "server", 760, { again: out });
  again("server", "client", 800, { again: back });
  assert.match(words(s.at(920)).text, /; 2 segments were lost and cost 240 ms\.$/);
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

test("nobody answers: how often it was tried, and why in vain", () => {
  const s = new Segments(), r = { outcome: "failed", phase: "connect", error: { code: "timeout", message: "mail.example.org did not answer." } } as const;
  const first = s.tcp("client", "server", "SYN", 0, 0, "", { fate: "lost" });
  for (const t of [1000, 3000, 7000]) s.at(t).tcp("client", "server", "SYN", 0, 0, "", { fate: "lost", again: first });
  assert.equal(words(s.at(127_000), r).text, "TCP sent its SYN 4 times in 7000 ms, waiting longer after each (RFC 6298, 5.5): every packet was lost on the link. mail.example.org did not answer.");
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
