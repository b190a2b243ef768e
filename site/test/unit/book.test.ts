import { deepEqual, equal, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import book from "virtual:book";
import { eventEntry, look, openBook } from "../../src/book.ts";
import type { TraceEvent } from "../../src/trace.ts";

openBook(book);

test("look resolves an id as book.Lookup does", () => {
  const cases = JSON.parse(readFileSync("protocol/book/testdata/lookup.json", "utf8")) as Record<string, string>;
  ok(Object.keys(cases).length > 0);
  for (const [id, want] of Object.entries(cases)) {
    ok(want === "" || book[want], want);
    deepEqual(look(id), want ? book[want] : undefined, id);
  }
});

test("look takes the first of several ids", () => {
  equal(look(undefined, "nothing", "reply.250", "reply.550"), book["reply.250"]);
  equal(look(), undefined);
  equal(look(undefined), undefined);
});

test("an event is explained by what happened", () => {
  const entry = (e: object) => eventEntry(e as TraceEvent);
  equal(entry({ layer: "smtp", kind: "command", data: { verb: "RCPT" } }), book["command.rcpt"]);
  equal(entry({ layer: "smtp", kind: "command", data: { verb: "XYZZY" } }), book["command.other"]);
  equal(entry({ layer: "smtp", kind: "reply", data: { verb: "greeting", code: 220 } }), book["command.greeting"]);
  equal(entry({ layer: "smtp", kind: "reply", data: { verb: "RCPT", code: 571 } }), book["reply.5yz"]);
  equal(entry({ layer: "tls", kind: "record", data: { type: "alert" } }), book["tls.record.alert"]);
  equal(entry({ layer: "tls", kind: "record", data: { type: "unheard-of" } }), book["event.tls.record"]);
  equal(entry({ layer: "tls", kind: "decrypted", data: { type: "finished", records: [] } }), book["tls.handshake.finished"]);
  equal(entry({ layer: "tcp", kind: "segment", data: { segment: { flags: "SYN, ACK" } } }), book["tcp.flag.syn"]);
  equal(entry({ layer: "tcp", kind: "segment", data: { segment: { flags: "PSH, ACK" } } }), book["event.tcp.segment"]);
  equal(entry({ layer: "tcp", kind: "state", data: {} }), book["event.tcp.state"]);
  equal(entry({ layer: "app", kind: "error", data: { code: "refused" } }), book["error.refused"]);
});
