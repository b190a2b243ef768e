import assert from "node:assert/strict";
import { test } from "node:test";
import { covers, MOST, proxy, survey, type Answer, type Policy, type Source } from "../../src/lookup.ts";
import { domainOf } from "../../src/target.ts";

type Zone = Record<string, Partial<Answer> | Error>;

const A = (address: string) => ({ name: "", type: "A", ttl: 60, data: address, address });
const MX = (preference: number, host: string) => ({ name: "", type: "MX", ttl: 60, data: "", preference, host });
const TXT = (text: string) => ({ name: "", type: "TXT", ttl: 60, data: "", text });
const TLSA = { name: "", type: "TLSA", ttl: 60, data: "3 1 1 00" };

/** A DNS that knows these records; everything else has none. */
function dns(zone: Zone, policy: Policy | Error = new Error("no policy was to be asked for")): Source & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    async lookup(name, type) {
      asked.push(`${type} ${name}`);
      const found = zone[`${type} ${name}`] ?? {};
      if (found instanceof Error) throw found;
      return { name, type, rcode: "NOERROR", records: [], ad: false, network: "udp", took: 2_000_000, cached: false, ...found };
    },
    async policy(domain) {
      asked.push(`policy ${domain}`);
      if (policy instanceof Error) throw policy;
      return policy;
    },
  };
}

const what = (s: { remarks: { what: string; level: string }[] }) => s.remarks.map((r) => `${r.level} ${r.what}`);

test("mail servers come in the order in which a sender tries them", async () => {
  const s = await survey("example.net", dns({
    "MX example.net": { records: [MX(20, "b.example.net"), MX(0, "a.example.net"), MX(10, "c.example.net")] },
    "A a.example.net": { records: [A("192.0.2.1")] }, "AAAA a.example.net": { records: [A("2001:db8::1")] },
    "A b.example.net": { records: [A("192.0.2.2")] }, "A c.example.net": { records: [A("192.0.2.3")] },
  }));
  assert.deepEqual(s.servers.map((m) => [m.preference, m.host, m.addresses.join(" "), m.problem]), [
    [0, "a.example.net", "2001:db8::1 192.0.2.1", undefined], [10, "c.example.net", "192.0.2.3", undefined], [20, "b.example.net", "192.0.2.2", undefined],
  ]);
  assert.deepEqual(what(s), ["chat No DANE", "note No SPF", "note No DMARC", "note No MTA-STS", "note No TLS-RPT"]);
  assert.equal(s.answered, "answered in 2.00 ms");
});

test("without an MX the host of the domain itself is tried", async () => {
  const s = await survey("example.net", dns({ "A example.net": { records: [A("192.0.2.1")] } }));
  assert.deepEqual(s.servers.map((m) => [m.preference, m.host]), [[undefined, "example.net"]]);
  assert.equal(s.remarks[0]!.what, "No MX");
});

test("a null MX takes no mail, and nothing more is asked of servers", async () => {
  const d = dns({ "MX example.net": { records: [MX(0, ".")] } }), s = await survey("example.net", d);
  assert.deepEqual(s.servers, []);
  assert.equal(what(s)[0], "note Takes no mail");
  assert.ok(d.asked.every((q) => !/^(A|AAAA|TLSA) /.test(q)), d.asked.join());
  const odd = await survey("example.net", dns({ "MX example.net": { records: [MX(0, "."), MX(5, "a.example.net")] }, "A a.example.net": { records: [A("192.0.2.1")] } }));
  assert.equal(what(odd)[0], "error Null MX among others");
  assert.deepEqual(odd.servers.map((m) => m.host), ["a.example.net"]);
});

test("a domain that is not there, or not to be had, is asked about once", async () => {
  for (const [rcode, first] of [["NXDOMAIN", "error No such domain"], ["SERVFAIL", "error No usable answer"]] as const) {
    const d = dns({ "MX example.net": { rcode, notes: ["DNSSEC Bogus"] } }), s = await survey("example.net", d);
    assert.deepEqual(what(s), [first]);
    assert.deepEqual(d.asked, ["MX example.net"]);
    if (rcode === "SERVFAIL") assert.match(s.remarks[0]!.text, /SERVFAIL.*DNSSEC Bogus/);
  }
  await assert.rejects(survey("example.net", dns({ "MX example.net": new Error("It is not allowed.") })), /It is not allowed\./);
});

test("what keeps a server from being tried", async () => {
  const s = await survey("example.net", dns({
    "MX example.net": { records: [MX(1, "none.example.net"), MX(2, "inner.example.net"), MX(3, "denied.example.com"), MX(4, "alias.example.net")] },
    "A inner.example.net": { withheld: 1 },
    "A denied.example.com": new Error("It is not among the hosts."), "AAAA denied.example.com": new Error("It is not among the hosts."),
    "A alias.example.net": { records: [{ name: "", type: "CNAME", ttl: 1, data: "", host: "b.example.net" }, A("192.0.2.4")] },
  }));
  assert.deepEqual(s.servers.map((m) => m.problem), ["It has no address in the DNS.", "It has only special addresses, which this proxy neither tells nor dials.", "It is not among the hosts.", undefined]);
  assert.equal(what(s).filter((w) => w === "error Cannot be tried").length, 3);
  assert.ok(what(s).includes("note MX is an alias"));
});

test("very many servers are bounded", async () => {
  const d = dns({ "MX example.net": { records: Array.from({ length: 40 }, (_, i) => MX(i, `m${i}.example.net`)) } }), s = await survey("example.net", d);
  assert.equal(s.servers.length, MOST);
  assert.ok(d.asked.length < 4 * MOST);
  assert.ok(what(s).includes("chat More mail servers"));
});

test("DANE counts only where DNSSEC vouches for the MX and for the TLSA", async () => {
  const zone = (mx: boolean, tlsa: boolean): Zone => ({
    "MX example.net": { ad: mx, records: [MX(1, "a.example.net")] }, "A a.example.net": { records: [A("192.0.2.1")] },
    "TLSA _25._tcp.a.example.net": { ad: tlsa, records: [TLSA] },
  });
  for (const [mx, tlsa, expected] of [[true, true, "good DANE"], [false, true, "chat No DANE"], [true, false, "chat No DANE"]] as const)
    assert.ok(what(await survey("example.net", dns(zone(mx, tlsa)))).includes(expected), `${mx} ${tlsa}`);
});

test("what the domain publishes", async () => {
  const zone: Zone = {
    "MX example.net": { records: [MX(1, "a.example.net")] }, "A a.example.net": { records: [A("192.0.2.1")] },
    "TXT example.net": { records: [TXT("v=spf1 mx -all"), TXT("v=spf10 no"), TXT("other")] },
    "TXT _dmarc.example.net": { records: [TXT("v=DMARC1; p=none"), TXT("v=DMARC1; p=reject")] },
    "TXT _mta-sts.example.net": { records: [TXT("v=STSv1; id=1")] },
    "TXT _smtp._tls.example.net": new Error("No resolver answered."),
  };
  const policy = (p: Partial<Policy>) => dns(zone, { url: "", mode: "enforce", mx: ["a.example.net"], ...p });
  assert.deepEqual(what(await survey("example.net", policy({}))).slice(1), ["good SPF", "error Several DMARC records", "good MTA-STS", "note TLS-RPT"]);
  const sts = async (d: Source) => (await survey("example.net", d)).remarks.find((r) => r.what.startsWith("MTA-STS"))!;
  assert.equal((await sts(policy({ mode: "testing" }))).level, "note");
  assert.match((await sts(policy({ mx: ["*.mail.example.net"] }))).text, /leaves out a\.example\.net: senders that know it do not deliver there/);
  assert.match((await sts(policy({ problem: "The certificate does not hold." }))).text, /announces a policy, but there is none\. The certificate does not hold\./);
  assert.equal((await sts(dns(zone, new Error("gone")))).level, "error");
});

test("patterns of MTA-STS stand for one label", () => {
  for (const [pattern, host, yes] of [
    ["mx.example.net", "mx.example.net", true], ["mx.example.net", "amx.example.net", false], ["*.example.net", "mx.example.net", true],
    ["*.example.net", "a.mx.example.net", false], ["*.example.net", "example.net", false], ["*.example.net", "mxexample.net", false], ["*.", "a", false],
  ] as const) assert.equal(covers(pattern, host), yes, `${pattern} ${host}`);
});

test("the domain in what was typed", () => {
  for (const [typed, domain] of [
    ["example.net", "example.net"], [" Example.NET. ", "example.net"], ["ada@example.net", "example.net"], ["mx.example.net:25", "mx.example.net"],
    ["xn--bcher-kva.example", "xn--bcher-kva.example"], ["example.net:587", undefined], ["192.0.2.1", undefined], ["[2001:db8::1]:25", undefined], ["2001:db8::1", undefined],
    ["intranet", undefined], ["", undefined], ["a..b", undefined], ["-a.example", undefined], ["bücher.example", undefined],
  ] as const) assert.equal(domainOf(typed), domain, typed);
});

test("the proxy's words are the error", async (t) => {
  const urls: string[] = [];
  const reply = (body: string, status: number) => t.mock.method(globalThis, "fetch", async (url: URL) => {
    urls.push(url.href);
    return new Response(body, { status });
  });
  const p = proxy(new URL("http://127.0.0.1:8025/api/v1/"));
  reply('{"rcode":"NOERROR"}', 200);
  assert.equal((await p.lookup("a&b", "MX")).rcode, "NOERROR");
  await p.policy("example.net");
  assert.deepEqual(urls, ["http://127.0.0.1:8025/api/v1/lookup?name=a%26b&type=MX", "http://127.0.0.1:8025/api/v1/mta-sts?domain=example.net"]);
  reply('{"code":"quota","message":"Not so much."}', 429);
  await assert.rejects(p.lookup("a", "MX"), /^Error: Not so much\.$/);
  reply("This server looks nothing up.\n", 404);
  await assert.rejects(p.lookup("a", "MX"), /^Error: This server looks nothing up\.$/);
  t.mock.method(globalThis, "fetch", async () => {
    throw new TypeError("Failed to fetch");
  });
  await assert.rejects(p.lookup("a", "MX"), /does not answer at 127\.0\.0\.1:8025/);
});
