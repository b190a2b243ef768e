import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "../../src/codec.ts";
import { columnsFor } from "../../src/columns.ts";
import { Layout } from "../../src/layout.ts";
import { Rows } from "../../src/rows.ts";
import { outlineIn, stepsOf } from "../../src/steps.ts";
import { lineOf } from "../../src/transcript.ts";
import { wordsOf } from "../../src/words.ts";

const PLAN = { target: { mode: "live", host: "", domain: "example.net", port: 25 } };

const lookup = (type: string, name: string, said: string, records: object[], more: object = {}) => ({
  layer: "dns", kind: "lookup", from: "client", to: "proxy", text: `${type} ${name}: ${said}`,
  data: { name, type, rcode: "NOERROR", records: records.map((r) => ({ name, type, ttl: 300, data: "", ...r })), ad: false, took: 2e6, cached: false, ...more },
});
const dial = (kind: string, host: string, data: object = {}) => ({ layer: "tunnel", kind, from: "client", to: "server", text: `${kind} ${host}`, data: { host, ...data } });

/** A session with the mail servers of example.net, the first of which refuses. */
function tried(upto = Infinity): Rows {
  const events = [
    lookup("MX", "example.net", "10 down.example.net, 20 mx.example.net", [{ data: "20 mx.example.net.", host: "mx.example.net", preference: 20 }, { data: "10 down.example.net.", host: "down.example.net", preference: 10 }], { ad: true }),
    dial("resolving", "down.example.net"),
    lookup("TXT", "example.net", "v=spf1 -all, <b>x</b>", [{ text: "<b>x</b>" }, { text: "v=spf1 -all" }], { cached: true, age: 1e9 }),
    lookup("TXT", "_dmarc.example.net", "v=DMARC1; p=none", [{ text: "v=DMARC1; p=none" }]),
    dial("dialing", "down.example.net", { address: "192.0.2.2:25" }),
    dial("failed", "down.example.net", { address: "192.0.2.2:25", problem: "refused" }),
    { layer: "app", kind: "note", text: "The next one is tried." },
    lookup("TXT", "_mta-sts.example.net", "x", [{ text: "x" }]),
    lookup("TXT", "_smtp._tls.example.net", "no answer. Silence.", [], { rcode: "", problem: "Silence." }),
    dial("resolving", "mx.example.net"),
    dial("opened", "mx.example.net", { address: "192.0.2.1:25", connect: 1e6 }),
    lookup("TLSA", "_25._tcp.mx.example.net", "none", []),
    lookup("A", "mx.example.net", "192.0.2.1", [{ address: "192.0.2.1" }]),
    { layer: "dns", kind: "policy", from: "client", to: "proxy", text: "MTA-STS policy of example.net: none. 404", data: { domain: "example.net", problem: "404", took: 1 } },
  ].map((e, n) => ({ ...e, n, t: n * 1e6, src: e.layer === "app" ? "derived" : "measured" }));
  const trace = decode(JSON.stringify({ v: 1, meta: { tool: "", mode: "live", started: "2026-01-01T00:00:00Z", plan: PLAN, hosts: [{ id: "client", name: "this page" }, { id: "server", name: "example.net" }] }, streams: {}, events }));
  assert.deepEqual(JSON.parse(JSON.stringify(trace)).events, events);
  return new Rows(trace).readTo(upto);
}

const told = (rows: Rows) => rows.list.map((r) => Object.values(wordsOf(rows, r)).join(" | "));

test("the MX has a row, what is published another, and each mail server that is tried", () => {
  const rows = tried();
  assert.deepEqual(told(rows), [
    "MX example.net: 10 down.example.net, 20 mx.example.net | 2.00 ms | DNSSEC",
    "failed down.example.net",
    "published: SPF, DMARC; not published: MTA-STS, TLSA | 7 answers",
    "The next one is tried.",
    "TCP connection to 192.0.2.1:25, | 1 RTT, 1.00 ms",
  ]);
  assert.deepEqual(rows.list[2]!.parts, [2, 3, 7, 8, 11, 12, 13]);
  assert.equal(rows.server, "mx.example.net");
  assert.equal(told(tried(4))[2], "published: SPF, DMARC | 2 answers");
  assert.equal(tried(4).server, "down.example.net");
  const grown = tried(0);
  for (let upto = 0; upto <= 14; upto++) assert.deepEqual(told(grown.readTo(upto)), told(tried(upto)));
});

test("a look-up opens into its records or answers, and is told in the transcript", () => {
  const rows = tried(), layout = new Layout(rows, columnsFor(800), { wire: 7.5, prose: (s) => s.length * 6.5 }, new Set(["r0", "r2"]), new Set()).update();
  const lines = (i: number) => layout.parts(i).flatMap((p) => (p.type === "lines" ? p.lines : []));
  assert.deepEqual(lines(0), ["example.net 300 MX 20 mx.example.net.", "example.net 300 MX 10 down.example.net."]);
  assert.deepEqual([lines(2).length, lines(2)[0], lines(2)[6]], [7, "TXT example.net: v=spf1 -all, <b>x</b>", "MTA-STS policy of example.net: none. 404"]);
  assert.deepEqual(lineOf(rows, rows.list[0]!).lines, ["client > proxy: MX example.net: 10 down.example.net, 20 mx.example.net, DNSSEC"]);
});

test("a trace whose answers are of another form is not opened", () => {
  const text = JSON.stringify(tried().trace);
  for (const [was, is] of [['"rcode":"NOERROR"', '"rcode":7'], ['"ttl":300', '"ttl":"300"'], ['"problem":"404"', '"problem":404']] as const) assert.throws(() => decode(text.replace(was, is)), /data/);
});

test("a plan with a domain connects to a mail server of it", () => {
  assert.equal(stepsOf(outlineIn(PLAN)!)[0]!.text, "connect to a mail server of example.net, port 25");
});
