import assert from "node:assert/strict";
import { test } from "node:test";
import { rowsOf } from "../../src/rows.ts";
import { stateLine } from "../../src/states.ts";
import { outlineIn, stepsOf } from "../../src/steps.ts";
import { Script } from "../fixtures/script.ts";

const PLAN = { target: { mode: "lab", host: "example.net", port: 25 }, security: "none", ehlo: "[127.0.0.1]", lab: { transport: "tcp" },
  messages: [{ from: "ada@example.org", to: ["grace@example.net"] }] };

/** A script of a lab whose TCP handshake has so many segments. */
function lab(segments = 3): Script {
  const s = new Script(PLAN, "lab", "mx.example.net");
  for (const [dir, flags] of ([["out", "SYN"], ["in", "SYN, ACK"], ["out", "ACK"]] as const).slice(0, segments)) segment(s.wait(40), dir, flags);
  return s;
}

function segment(s: Script, dir: "out" | "in" | undefined, flags: string, from = dir === "in" ? "server" : "client", to = dir === "in" ? "client" : "server"): void {
  s.add({ layer: "tcp", kind: "segment", ...(dir && { dir }), src: "simulated", from, to, at: { stream: "packets", off: 0, len: 0 }, text: flags, fields: [],
    data: { fate: "delivered", arrives: s.now + 40e6, segment: { flow: dir ? 0 : 1, flags, seq: 0, ack: 0, window: 1000, len: 0, inFlight: 0 } } });
}

const line = (s: Script, upto = Infinity) => stateLine(rowsOf(s.store, upto), stepsOf(outlineIn(PLAN)!), false, []);

test("in the lab, the handshake of TCP is where a session connects", () => {
  for (const [segments, code] of [[1, ""], [2, "SYN ACK"], [3, "SYN ACK"]] as const) {
    const at = line(lab(segments));
    assert.deepEqual([at.here, at.stations[0]!.status, at.stations[0]!.code], [0, "here", code], `${segments} segments`);
  }
  const greeted = line(lab().in("220 mx.example.net", "greeted", ["EHLO", "QUIT"]));
  assert.deepEqual(greeted.stations.map((s) => s.status).slice(0, 3), ["done", "here", "next"]);
});

test("what two mail servers say to each other is not where the session is", () => {
  const s = lab().in("220 mx.example.net", "greeted", ["EHLO"]);
  segment(s, undefined, "SYN", "server", "mx");
  s.add({ layer: "smtp", kind: "command", src: "simulated", hop: 1, from: "server", to: "mx", text: "MAIL FROM:<>", data: { verb: "MAIL", deadline: 0 }, fields: [] });
  s.add({ layer: "smtp", kind: "reply", src: "simulated", hop: 1, from: "mx", to: "server", text: "550 no", data: { code: 550, lines: ["no"], verb: "MAIL", state: "ready" }, fields: [] });
  const at = line(s);
  assert.equal(at.stations[at.here]!.name, "Greeting");
  assert.ok(at.stations.every((x) => !x.failed));
});

test("a late copy of a SYN does not lead back", () => {
  const s = lab().in("220 mx.example.net", "greeted", ["EHLO"]);
  segment(s, "out", "SYN");
  assert.equal(line(s).here, 1);
});

test("the stations of a plan are those where it goes on, by the name that is said there", () => {
  const plan = { ...PLAN, commands: ["VRFY ada"], options: { protocol: "lmtp", rset: true, xclient: { NAME: "a.example" } }, messages: [...PLAN.messages, ...PLAN.messages] };
  const { stations } = stateLine(rowsOf(lab(0).store, Infinity), stepsOf(outlineIn(plan)!), false, []);
  assert.deepEqual(stations.map((s) => s.name), ["Connect", "Greeting", "LHLO", "MAIL", "RCPT", "DATA", "Message", "QUIT"]);
});
