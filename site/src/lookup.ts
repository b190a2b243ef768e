// What the DNS says of a domain's mail: who takes it, in the order in which a
// sender tries them (RFC 5321, 5.1), and what the domain publishes about it. The
// questions go through the proxy; what they mean is worked out here.

import { duration } from "./format.ts";

/** What GET api/v1/lookup answers; times are in nanoseconds. */
export interface Answer {
  name: string;
  type: string;
  rcode: string;
  records: { name: string; type: string; ttl: number; data: string; address?: string; host?: string; preference?: number; text?: string }[];
  ad: boolean;
  notes?: string[];
  withheld?: number;
  omitted?: number;
  server?: string;
  network: string;
  took: number;
  cached: boolean;
  age?: number;
}

/** What GET api/v1/mta-sts answers. */
export interface Policy {
  url: string;
  mode?: "enforce" | "testing" | "none";
  mx?: string[];
  maxAge?: number;
  problem?: string;
}

/** The proxy, as far as it looks things up. It throws an Error with words for the user. */
export interface Source {
  lookup(name: string, type: string): Promise<Answer>;
  policy(domain: string): Promise<Policy>;
}

export type Level = "good" | "chat" | "note" | "error";

export interface Remark {
  level: Level;
  what: string;
  text: string;
  section: string;
}

export interface MailServer {
  host: string;
  /** Absent for the domain's own host, which stands in where there is no MX. */
  preference: number | undefined;
  addresses: string[];
  /** Records that say which certificate it must show; only those that DNSSEC vouches for. */
  tlsa: number;
  /** Why it cannot be tried, in words. */
  problem: string | undefined;
}

export interface Survey {
  domain: string;
  /** In the order in which a sender tries them. */
  servers: MailServer[];
  remarks: Remark[];
  /** How the first question was answered, in a few words. */
  answered: string;
}

/** Of more mail servers the first are asked about. */
export const MOST = 8;

/** The proxy at the address of its API, which ends in a slash. */
export function proxy(api: URL): Source {
  const get = async <T>(path: string, query: Record<string, string>): Promise<T> => {
    const url = new URL(`${path}?${new URLSearchParams(query)}`, api);
    const response = await fetch(url).catch(() => {
      throw new Error(`The smtpscope program behind this page does not answer at ${url.host}. See that it runs.`);
    });
    if (response.ok) return (await response.json()) as T;
    const said = await response.text();
    let words = said.trim();
    try {
      words = (JSON.parse(said) as { message: string }).message;
    } catch {
      // Something else than the program answered, or it has no look-ups: in plain text.
    }
    throw new Error(words || `It answered ${response.status}.`);
  };
  return { lookup: (name, type) => get<Answer>("lookup", { name, type }), policy: (domain) => get<Policy>("mta-sts", { domain }) };
}

/** Asks for everything. It throws when not even the first question was answered. */
export async function survey(domain: string, ask: Source): Promise<Survey> {
  const first = await ask.lookup(domain, "MX");
  const answered = `${first.cached ? "answered before" : `answered in ${duration(first.took)}`}${first.server ? ` by ${first.server}` : ""}${first.ad ? "; its resolver vouches for it by DNSSEC" : ""}`;
  const remarks: Remark[] = [], remark = (level: Level, what: string, section: string, text: string) => void remarks.push({ level, what, section, text });
  if (first.rcode === "NXDOMAIN") {
    remark("error", "No such domain", "RFC 8020", `${domain} is not in the DNS: mail for it comes back at once. Check the spelling.`);
    return { domain, servers: [], remarks, answered };
  }
  if (first.rcode !== "NOERROR") {
    const why = first.notes?.length ? ` It adds: ${first.notes.join("; ")}.` : "";
    remark("error", "No usable answer", "RFC 5321, 5.1", `The resolver says ${first.rcode} for the MX of ${domain}.${why} A sender waits and tries again later.`);
    return { domain, servers: [], remarks, answered };
  }
  const mx = first.records.filter((r) => r.type === "MX").sort((a, b) => (a.preference ?? 0) - (b.preference ?? 0));
  if (mx.some((r) => r.host === ".")) {
    if (mx.length === 1) remark("note", "Takes no mail", "RFC 7505", `${domain} publishes a null MX: it takes no mail at all, and senders return it at once.`);
    else remark("error", "Null MX among others", "RFC 7505, 3", `${domain} says that it takes no mail, and names mail servers too. A null MX must stand alone.`);
  }
  const named = mx.filter((r) => r.host !== ".");
  if (mx.length === 0) remark("note", "No MX", "RFC 5321, 5.1", `${domain} names no mail server, so a sender tries the host ${domain} itself.`);
  if (named.length > MOST) remark("chat", "More mail servers", "RFC 5321, 5.1", `${domain} names ${named.length} mail servers; the first ${MOST} are asked about here.`);
  const hosts = mx.length === 0 ? [{ host: domain, preference: undefined }] : named.slice(0, MOST).map((r) => ({ host: r.host!, preference: r.preference ?? 0 }));
  const [servers, published] = await Promise.all([Promise.all(hosts.map((h) => server(h.host, h.preference, first.ad, ask, remark))), policies(domain, ask)]);
  for (const r of [...reach(servers), ...published(servers)]) remarks.push(r);
  return { domain, servers, remarks, answered };
}

type Say = (level: Level, what: string, section: string, text: string) => void;

async function server(host: string, preference: number | undefined, vouched: boolean, ask: Source, remark: Say): Promise<MailServer> {
  const found: MailServer = { host, preference, addresses: [], tlsa: 0, problem: undefined };
  const answers = await Promise.allSettled([ask.lookup(host, "AAAA"), ask.lookup(host, "A"), ask.lookup(`_25._tcp.${host}`, "TLSA")]);
  const [, , tlsa] = answers;
  let withheld = 0;
  for (const a of answers.slice(0, 2)) {
    if (a.status === "rejected") {
      found.problem = words(a.reason);
      continue;
    }
    if (preference !== undefined && a.value.type === "A" && a.value.records.some((r) => r.type === "CNAME"))
      remark("note", "MX is an alias", "RFC 2181, 10.3", `${host} is an alias (CNAME). An MX must name a host that has addresses itself; some senders refuse others.`);
    found.addresses.push(...a.value.records.flatMap((r) => r.address ?? []));
    withheld += a.value.withheld ?? 0;
  }
  if (found.addresses.length > 0) found.problem = undefined;
  else found.problem ??= withheld ? "It has only special addresses, which this proxy neither tells nor dials." : "It has no address in the DNS.";
  // RFC 7672, 2.2: as long as DNSSEC does not vouch for every step, there is no DANE.
  if (tlsa.status === "fulfilled" && tlsa.value.ad && (vouched || preference === undefined)) found.tlsa = tlsa.value.records.filter((r) => r.type === "TLSA").length;
  return found;
}

/** What there is to say of the servers together. */
function reach(servers: MailServer[]): Remark[] {
  const out: Remark[] = [];
  for (const s of servers) if (s.problem) out.push({ level: "error", what: "Cannot be tried", section: "RFC 5321, 5.1", text: `${s.host}: ${s.problem}` });
  const dane = servers.filter((s) => s.tlsa > 0);
  if (servers.length > 0)
    out.push(
      dane.length === servers.length
        ? { level: "good", what: "DANE", section: "RFC 7672", text: "DNSSEC vouches for the certificate of every mail server: nobody on the way can take TLS away." }
        : dane.length > 0
          ? { level: "note", what: "DANE", section: "RFC 7672", text: `Only ${dane.map((s) => s.host).join(", ")} ${dane.length === 1 ? "has" : "have"} TLSA records that DNSSEC vouches for.` }
          : { level: "chat", what: "No DANE", section: "RFC 7672", text: "No mail server has TLSA records that DNSSEC vouches for." },
    );
  return out;
}

/** What the domain publishes about its mail, to be told when its servers are known. */
async function policies(domain: string, ask: Source): Promise<(servers: MailServer[]) => Remark[]> {
  const texts = async (name: string, version: RegExp): Promise<string[] | Error> => {
    try {
      return (await ask.lookup(name, "TXT")).records.flatMap((r) => (r.text !== undefined && version.test(r.text) ? r.text : []));
    } catch (e) {
      return new Error(words(e));
    }
  };
  const [spf, dmarc, sts, rpt] = await Promise.all([
    texts(domain, /^v=spf1(?: |$)/i), texts(`_dmarc.${domain}`, /^v\s*=\s*DMARC1\s*(?:;|$)/), texts(`_mta-sts.${domain}`, /^v=STSv1\s*;/), texts(`_smtp._tls.${domain}`, /^v=TLSRPTv1\s*;/),
  ]);
  const policy = Array.isArray(sts) && sts.length === 1 ? await ask.policy(domain).catch((e: unknown): Policy => ({ url: "", problem: words(e) })) : undefined;
  const told = (what: string, section: string, found: string[] | Error, none: string): Remark => {
    if (found instanceof Error) return { level: "note", what, section, text: found.message };
    if (found.length === 0) return { level: "note", what: `No ${what}`, section, text: none };
    return found.length === 1
      ? { level: "good", what, section, text: found[0]! }
      : { level: "error", what: `Several ${what} records`, section, text: `There are ${found.length} where one must be, so none counts.` };
  };
  return (servers) => [
    told("SPF", "RFC 7208", spf, "Receivers cannot tell who may send for this domain."),
    told("DMARC", "RFC 7489", dmarc, `Nothing at _dmarc.${domain} says what receivers should do with mail that fails SPF and DKIM.`),
    policy ? judged(policy, servers) : told("MTA-STS", "RFC 8461", sts, "Senders without DANE take the mail also without TLS, or with a certificate that does not hold."),
    told("TLS-RPT", "RFC 8460", rpt, "Nobody is told when TLS to these servers fails."),
  ];
}

/** An MTA-STS policy beside the mail servers that there are. */
function judged(p: Policy, servers: MailServer[]): Remark {
  const section = "RFC 8461", what = "MTA-STS";
  if (p.problem) return { level: "error", what, section, text: `A record announces a policy, but there is none. ${p.problem}` };
  const missing = servers.filter((s) => s.preference !== undefined && !p.mx!.some((pattern) => covers(pattern, s.host)));
  if (missing.length > 0 && p.mode !== "none")
    return { level: "error", what: "MTA-STS names others", section: "RFC 8461, 4.1", text: `The policy (${p.mode}) leaves out ${missing.map((s) => s.host).join(", ")}: ${p.mode === "enforce" ? "senders that know it do not deliver there." : "senders that know it report that as a failure."}` };
  return { level: p.mode === "enforce" ? "good" : "note", what, section, text: `${p.mode}, for ${p.mx?.join(", ") || "no server"}` };
}

/** A policy's name of a mail server; "*." stands for one label (RFC 8461, 4.1). */
export function covers(pattern: string, host: string): boolean {
  return pattern.startsWith("*.") ? host.slice(host.indexOf(".")) === pattern.slice(1) && host.includes(".") : pattern === host;
}

function words(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
