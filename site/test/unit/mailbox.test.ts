import assert from "node:assert/strict";
import { test } from "node:test";
import { fields, letter, post, story } from "../../src/mailbox.ts";
import type { EventOfKind } from "../../src/trace.ts";
import { MS, Segments } from "../fixtures/segments.ts";

const LETTER = `Return-Path: <ada@example.org>
Received: from mail.example.org ([192.0.2.11])
\tby mx.example.net with ESMTP id MX1
\tfor <grace@example.net>;
\tThu, 01 Jan 2026 00:30:01 +0000
Received: from [127.0.0.1] ([192.0.2.10])
\tby mail.example.org with ESMTPSA id S1
\tfor <grace@example.net>;
\tThu, 01 Jan 2026 00:00:00 +0000
Subject: Notes
 on the engine

The body: <b>not markup</b>

Received: in the body
`;

const BOUNCE = `Return-Path: <>
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="cut"

--cut
Content-Type: text/plain

In words.

--cut
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.org

Final-Recipient: rfc822; grace@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No such
 mailbox here

Final-Recipient: rfc822; bob@example.net
Status: 5.2.2

--cut--
`;

/** Greylisted, delivered half an hour later. */
function relayed(): Segments {
  const s = new Segments();
  s.at(840).mail("queued", { host: "server", queueID: "S1" });
  s.mail("attempt", { host: "server", queueID: "S1", attempt: 1, next: "mx.example.net" });
  s.at(1200).mail("deferred", { host: "server", queueID: "S1", attempt: 1, hop: 1, reason: "451 4.7.1 Greylisted", retry: 1_801_200 * MS });
  s.at(1_801_200).mail("attempt", { host: "server", queueID: "S1", attempt: 2, next: "mx.example.net" });
  s.at(1_801_500).mail("delivered", { host: "mx", queueID: "MX1", mailbox: "grace@example.net" }, LETTER);
  s.hop(2, "in", "250 2.0.0 Ok: queued as MX1", "message");
  s.at(1_801_600).mail("relayed", { host: "server", queueID: "S1", attempt: 2, hop: 2, next: "mx.example.net" });
  return s;
}

test("where the mail is, at every moment", () => {
  const s = relayed(), at = (upto: number) => {
    const p = post(s.store, upto);
    return [p.boxes.map((b) => `${b.owner} ${b.letters.length}`), p.waiting.map((w) => `${w.queueID} ${w.e.kind}`)];
  };
  assert.deepEqual(at(0), [[], []]);
  assert.deepEqual(at(1), [[], ["S1 queued"]]);
  assert.deepEqual(at(3), [[], ["S1 deferred"]]);
  assert.deepEqual(at(5), [["grace@example.net 1"], ["S1 attempt"]], "its server does not know yet that it was accepted");
  assert.deepEqual(at(Infinity), [["grace@example.net 1"], []]);
});

test("a queued message waits for the recipients that are left", () => {
  const s = new Segments(), to = ["a@example.net", "b@example.net"];
  s.mail("queued", { host: "server", queueID: "S1", to });
  const gone = s.mail("bounced", { host: "server", queueID: "S1", to: [to[0]!], reason: "550 5.1.1 no" });
  const p = post(s.store);
  assert.deepEqual(p.waiting.map((w) => w.to), [["b@example.net"]]);
  assert.deepEqual(p.bounced.map((e) => e.n), [gone]);
  s.mail("relayed", { host: "server", queueID: "S1", to: [to[1]!] });
  assert.deepEqual(post(s.store).waiting, []);
});

test("the way of a message: the newest server first, with the times that the trace knows", () => {
  const s = relayed(), l = letter(s.store, post(s.store).boxes[0]!.letters[0]!);
  assert.deepEqual(l.stops.map((x) => [x.by, x.from, x.address, x.with, x.id, x.for]), [
    ["mx.example.net", "mail.example.org", "192.0.2.11", "ESMTP", "MX1", "grace@example.net"],
    ["mail.example.org", "[127.0.0.1]", "192.0.2.10", "ESMTPSA", "S1", "grace@example.net"],
  ]);
  assert.deepEqual(l.stops.map((x) => x.t), [1_801_500 * MS, 840 * MS]);
  assert.deepEqual(l.stops.map((x) => x.deferred.map((d) => d.reason)), [[], ["451 4.7.1 Greylisted"]]);
  assert.equal(l.body, "The body: <b>not markup</b>\n\nReceived: in the body\n");
  assert.equal(l.header.find((f) => f.name === "Subject")!.value, "Notes on the engine");
  assert.equal(l.report, undefined);
  assert.equal(letter(s.store, l.e), l, "read once");
});

test("a Received line that nobody would write so is shown as it is", () => {
  const s = new Segments(), n = s.mail("delivered", { host: "mx", queueID: "Q" }, "Received: by magic\n\n");
  assert.deepEqual(letter(s.store, s.store.events[n] as EventOfKind<"mail", "delivered">).stops.map((x) => [x.from, x.by]), [["by magic", ""]]);
});

test("a bounce: the fields of the message, then those of each recipient", () => {
  const s = new Segments(), n = s.mail("delivered", { host: "server", queueID: "B1", from: "" }, BOUNCE);
  const { report } = letter(s.store, s.store.events[n] as EventOfKind<"mail", "delivered">);
  assert.deepEqual(report!.fields.map((g) => g.map((f) => `${f.name}: ${f.value}`)), [
    ["Reporting-MTA: dns; mail.example.org"],
    ["Final-Recipient: rfc822; grace@example.net", "Action: failed", "Status: 5.1.1", "Diagnostic-Code: smtp; 550 5.1.1 No such mailbox here"],
    ["Final-Recipient: rfc822; bob@example.net", "Status: 5.2.2"],
  ]);
});

test("a message without a header, and one without a body", () => {
  const s = new Segments(), read = (text: string) => letter(s.store, s.store.events[s.mail("delivered", { host: "mx", queueID: "Q" }, text)] as EventOfKind<"mail", "delivered">);
  assert.deepEqual([read("\nbody\n").body, read("\nbody\n").header], ["body\n", []]);
  assert.deepEqual([read("Subject: x\n").body, read("Subject: x\n").header.length], ["", 1]);
});

test("the story of a queue id, and what it was called before and after", () => {
  const s = relayed();
  assert.deepEqual(story(s.store, "S1").events.map((e) => e.kind), ["queued", "attempt", "deferred", "attempt", "relayed"]);
  assert.deepEqual([story(s.store, "S1").after, story(s.store, "MX1").before], [["MX1"], "S1"]);
  assert.deepEqual(story(s.store, "S1", 3).after, [], "not before it happened");
});

test("header fields are unfolded, and what is none is left out", () => {
  assert.deepEqual(fields("A: 1\n\t2\nno field\nB :3"), [{ name: "A", value: "1 2" }, { name: "B", value: "3" }]);
});
