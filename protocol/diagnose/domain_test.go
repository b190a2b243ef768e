package diagnose_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/diagnose"
	smtpsession "smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

const (
	toDomain = `{"target":{"mode":"live","domain":"example.net","port":25},"security":"starttls"}`

	mx    = "DNS MX example.net ok 10 mx.example.net"
	twoMX = "DNS MX example.net ok 10 mx.example.net|20 mx2.example.net"
	mxAD  = "DNS MX example.net AD 10 mx.example.net"
	open  = "OPEN mx.example.net 192.0.2.25:25"
	open6 = "OPEN mx.example.net [2001:db8::25]:25"
	ptr   = "DNS PTR 25.2.0.192.in-addr.arpa "
	ptr6  = "DNS PTR 5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa "
	tlsa  = "DNS TLSA _25._tcp.mx.example.net "
)

// about plays a session with a domain's mail server, up to its name.
func about(s ...string) session { return session{plan: toDomain, script: s} }

// secured is one in which TLS was done, with the chain of testdata.
func secured(edit func(h *trace.HandshakeData, c *trace.Certificate), s ...string) session {
	h := handshake(edit)
	b, err := os.ReadFile("testdata/chain.pem")
	if err != nil {
		panic(err)
	}
	for i := range h.Chain {
		block, rest := pem.Decode(b)
		h.Chain[i].DER, b = block.Bytes, rest
	}
	return session{plan: toDomain, tls: h, script: append(script{open, greeting, ehlo, offering("STARTTLS"), "C: STARTTLS", "S: 220 2.0.0 go", "TLS"}, s...)}
}

func found(id, name string, s session, severity trace.Severity, text string, events ...string) ruleCase {
	return ruleCase{id: id, name: name, session: s, severity: severity, text: text, events: events}
}

func notFound(id, name string, s session) ruleCase { return ruleCase{id: id, name: name, session: s} }

var domainCases = []ruleCase{
	found("null-mx", "alone", about("DNS MX example.net ok 0 ."), trace.Error, "example.net takes no mail: it has a null MX.", "MX example.net"),
	found("null-mx", "beside others", about("DNS MX example.net ok 0 .|10 mx.example.net"), trace.Error,
		"example.net takes no mail: it has a null MX, and names mail servers beside it, which it must not.", "MX example.net"),
	notFound("null-mx", "no MX", about("DNS MX example.net ok")),

	found("mx-is-alias", "one of two", about(twoMX, "DNS A mx2.example.net ok CNAME web.example.net|CNAME a.example.org|192.0.2.80"), trace.Note,
		"The MX of example.net names mx2.example.net, an alias for web.example.net.", "MX example.net", "A mx2.example.net"),
	notFound("mx-is-alias", "the domain itself, without an MX", about("DNS MX example.net ok", "DNS A example.net ok CNAME web.example.net|192.0.2.80")),
	notFound("mx-is-alias", "the name of the address", about(mx, open, ptr+"ok host25.example.org", "DNS A host25.example.org ok CNAME mx.example.net|192.0.2.25")),

	found("mx-without-address", "nothing to connect to", about(mx, "DNS A mx.example.net NXDOMAIN", "DNS AAAA mx.example.net NXDOMAIN"), trace.Error,
		"Mail for example.net is to go to mx.example.net, which has no address.", "MX example.net", "A mx.example.net", "AAAA mx.example.net"),
	found("mx-without-address", "and another that has", about(twoMX, "DNS A mx.example.net ok", "DNS AAAA mx.example.net ok", "OPEN mx2.example.net 192.0.2.26:25"), trace.Warn,
		"Mail for example.net is to go to mx.example.net, which has no address.", "MX example.net", "A mx.example.net", "AAAA mx.example.net"),
	found("mx-without-address", "neither MX nor address", about("DNS MX example.net ok", "DNS A example.net ok", "DNS AAAA example.net ok"), trace.Error,
		"Mail for example.net is to go to example.net, which has no address.", "MX example.net", "A example.net", "AAAA example.net"),
	found("mx-without-address", "two", about(twoMX, "DNS A mx.example.net ok", "DNS AAAA mx.example.net ok", "DNS A mx2.example.net ok", "DNS AAAA mx2.example.net ok"), trace.Error,
		"Mail for example.net is to go to mx.example.net, which has no address.", "MX example.net",
		"A mx.example.net", "AAAA mx.example.net", "A mx2.example.net", "AAAA mx2.example.net"),
	notFound("mx-without-address", "by IPv6 only", about(mx, "DNS A mx.example.net ok", "DNS AAAA mx.example.net ok 2001:db8::25")),
	notFound("mx-without-address", "only IPv4 was asked for", about(mx, "DNS A mx.example.net ok")),
	notFound("mx-without-address", "half an answer", about(mx, "DNS A mx.example.net ok", "DNS AAAA mx.example.net SERVFAIL")),
	notFound("mx-without-address", "the proxy does not tell it", about(mx, "DNS A mx.example.net withheld", "DNS AAAA mx.example.net ok")),

	found("no-spf", "other texts", about(mx, "DNS TXT example.net ok v=spf10 -all|spf1=v|a verification"), trace.Note, "There is no SPF record at example.net.", "TXT example.net"),
	notFound("no-spf", "in capitals", about(mx, "DNS TXT example.net ok V=SPF1 -all")),
	notFound("no-spf", "of no mechanism", about(mx, "DNS TXT example.net ok v=spf1")),
	notFound("no-spf", "by an alias", about(mx, "DNS TXT example.net ok CNAME a.example.org|v=spf1 -all")),
	notFound("no-spf", "no answer", about(mx, "DNS TXT example.net SERVFAIL")),
	notFound("no-spf", "too much for an answer", about(mx, "DNS TXT example.net omitted a verification")),
	notFound("no-spf", "of another domain", about(mx, "DNS TXT example.org ok")),

	found("several-spf", "two", about(mx, "DNS TXT example.net ok v=spf1 -all|v=spf1 mx -all"), trace.Warn,
		"2 SPF records are at example.net, so that none counts.", "TXT example.net"),
	notFound("several-spf", "and another text", about(mx, "DNS TXT example.net ok v=spf1 -all|v=spf2.0/pra -all")),

	found("no-dmarc", "nothing there", about(mx, "DNS TXT _dmarc.example.net NXDOMAIN"), trace.Note, "There is no DMARC record at _dmarc.example.net.", "TXT _dmarc.example.net"),
	notFound("no-dmarc", "with spaces", about(mx, "DNS TXT _dmarc.example.net ok v = DMARC1 ; p=none")),
	notFound("no-dmarc", "nobody answers", about(mx, "DNS TXT _dmarc.example.net -")),

	found("several-dmarc", "two", about(mx, "DNS TXT _dmarc.example.net ok v=DMARC1; p=none|v=DMARC1; p=reject"), trace.Warn,
		"2 DMARC records are at _dmarc.example.net, so that none counts.", "TXT _dmarc.example.net"),
	notFound("several-dmarc", "in small letters it is none", about(mx, "DNS TXT _dmarc.example.net ok v=DMARC1; p=none|v=dmarc1; p=none")),

	found("no-tls-rpt", "nothing there", about(mx, "DNS TXT _smtp._tls.example.net NXDOMAIN"), trace.Chat,
		"There is no TLS-RPT record at _smtp._tls.example.net.", "TXT _smtp._tls.example.net"),
	found("no-tls-rpt", "two", about(mx, "DNS TXT _smtp._tls.example.net ok v=TLSRPTv1; rua=a|v=TLSRPTv1; rua=b"), trace.Warn,
		"2 TLS-RPT records are at _smtp._tls.example.net, so that none counts.", "TXT _smtp._tls.example.net"),
	notFound("no-tls-rpt", "one", about(mx, "DNS TXT _smtp._tls.example.net ok v=TLSRPTv1;rua=mailto:tls@example.net")),

	found("no-mta-sts", "nothing there", about(mx, "DNS TXT _mta-sts.example.net ok"), trace.Note, "There is no MTA-STS record at _mta-sts.example.net.", "TXT _mta-sts.example.net"),
	notFound("no-mta-sts", "one", about(mx, "DNS TXT _mta-sts.example.net ok v=STSv1; id=1", "POLICY enforce mx.example.net")),
	notFound("no-mta-sts", "a domain that takes no mail", about("DNS MX example.net ok 0 .", "DNS TXT _mta-sts.example.net ok")),

	found("mta-sts-broken", "no policy", about(mx, "DNS TXT _mta-sts.example.net ok v=STSv1; id=1", "POLICY - The server answered with HTTP status 404."), trace.Warn,
		"A record announces an MTA-STS policy, and there is none that counts. The server answered with HTTP status 404.", "policy"),
	found("mta-sts-broken", "two records", about(mx, "DNS TXT _mta-sts.example.net ok v=STSv1; id=1|v=STSv1; id=2"), trace.Warn,
		"2 MTA-STS records are at _mta-sts.example.net, so that none counts.", "TXT _mta-sts.example.net"),
	found("mta-sts-broken", "enforced, and no TLS", about(mx, open, greeting, ehlo, postfix, "POLICY enforce *.example.net"), trace.Error,
		"The MTA-STS policy (mode enforce) wants TLS, and STARTTLS is not offered.", "250-mx.example.net", "policy"),
	found("mta-sts-broken", "tested, and no TLS", about(mx, open, greeting, ehlo, postfix, "POLICY testing *.example.net"), trace.Warn,
		"The MTA-STS policy (mode testing) wants TLS, and STARTTLS is not offered.", "250-mx.example.net", "policy"),
	found("mta-sts-broken", "enforced, and a certificate that does not hold", secured(distrusted("expired"), mx, "POLICY enforce *.example.net"), trace.Error,
		"The MTA-STS policy (mode enforce) wants a certificate that holds, and this one does not.", "handshake", "policy"),
	notFound("mta-sts-broken", "the proxy could not ask", about(mx, "DNS TXT _mta-sts.example.net ok v=STSv1; id=1", "POLICY unfetched Too many look-ups are under way.")),
	notFound("mta-sts-broken", "withdrawn", secured(distrusted("expired"), mx, "POLICY none")),
	notFound("mta-sts-broken", "verified", secured(nil, mx, "POLICY enforce *.example.net")),
	notFound("mta-sts-broken", "compared with another name", secured(func(h *trace.HandshakeData, c *trace.Certificate) {
		distrusted("wrong-name")(h, c)
		h.ServerName = "smtp.example.net"
	}, mx, "POLICY enforce *.example.net")),

	found("mta-sts-mx-mismatch", "enforced", about(twoMX, "POLICY enforce mx.example.net"), trace.Error,
		"The MTA-STS policy (mode enforce) leaves out mx2.example.net.", "MX example.net", "policy"),
	found("mta-sts-mx-mismatch", "tested", about(twoMX, "POLICY testing *.mx.example.net example.net *.net"), trace.Warn,
		"The MTA-STS policy (mode testing) leaves out mx.example.net.", "MX example.net", "policy"),
	found("mta-sts-mx-mismatch", "the domain itself", about("DNS MX example.net ok", "POLICY enforce *.example.net"), trace.Error,
		"The MTA-STS policy (mode enforce) leaves out example.net.", "MX example.net", "policy"),
	notFound("mta-sts-mx-mismatch", "one label, and capitals", about(twoMX, "POLICY enforce MX.example.net *.Example.net")),
	notFound("mta-sts-mx-mismatch", "withdrawn", about(twoMX, "POLICY none")),

	found("no-dane", "nothing there", about(mxAD, tlsa+"NXDOMAIN"), trace.Chat, "No TLSA record at _25._tcp.mx.example.net counts: there is none.", "TLSA _25._tcp.mx.example.net"),
	found("no-dane", "without DNSSEC", secured(nil, mxAD, tlsa+"ok 3 1 1 00"), trace.Note,
		"No TLSA record at _25._tcp.mx.example.net counts: the resolver does not vouch for them by DNSSEC.", "TLSA _25._tcp.mx.example.net"),
	found("no-dane", "an MX without DNSSEC", secured(nil, mx, tlsa+"AD 3 1 1 00"), trace.Note,
		"No TLSA record at _25._tcp.mx.example.net counts: the resolver does not vouch for the MX by DNSSEC.", "MX example.net"),
	found("no-dane", "of no use", secured(nil, mxAD, tlsa+"AD 1 1 1 00|0 0 1 00|3 1 3 00|3 1 1|3 2 1 00"), trace.Note,
		"No TLSA record at _25._tcp.mx.example.net counts: none has the usage 2 or 3.", "TLSA _25._tcp.mx.example.net"),
	notFound("no-dane", "vouched for", about(mxAD, tlsa+"AD 3 1 1 00")),
	notFound("no-dane", "no answer", about(mxAD, tlsa+"SERVFAIL")),

	found("dane-mismatch", "of neither", secured(nil, mxAD, tlsa+"AD 3 1 1 00|2 0 1 00|1 1 1 00"), trace.Error,
		`The TLSA records at _25._tcp.mx.example.net, "3 1 1, 2 0 1", fit no certificate that the server sent.`, "handshake", "TLSA _25._tcp.mx.example.net"),
	notFound("dane-mismatch", "one fits", secured(nil, mxAD, tlsa+"AD 3 1 1 00|"+leafKey)),
	notFound("dane-mismatch", "without DNSSEC it does not count", secured(nil, mxAD, tlsa+"ok 3 1 1 00")),
	notFound("dane-mismatch", "no certificate was sent", about(mxAD, open, greeting, tlsa+"AD 3 1 1 00")),
	notFound("dane-mismatch", "a certificate that cannot be read", session{plan: toDomain, tls: handshake(nil), script: script{open, greeting, mxAD, "TLS", tlsa + "AD 3 1 1 00"}}),
	notFound("dane-mismatch", "of another port", secured(nil, mxAD, "DNS TLSA _465._tcp.mx.example.net AD 3 1 1 00")),
	notFound("dane-mismatch", "of another server", secured(nil, mxAD, "DNS TLSA _25._tcp.mx2.example.net AD 3 1 1 00")),

	found("no-fcrdns", "no name", about(mx, open, ptr+"NXDOMAIN"), trace.Note, "The address 192.0.2.25 has no name (PTR).", "PTR 25.2.0.192.in-addr.arpa"),
	found("no-fcrdns", "leads elsewhere", about(mx, open, ptr+"ok mx.example.net|host25.example.org", "DNS A mx.example.net ok 192.0.2.26", "DNS A host25.example.org NXDOMAIN"), trace.Note,
		`The address 192.0.2.25 is called "mx.example.net, host25.example.org", which does not lead back to it.`,
		"PTR 25.2.0.192.in-addr.arpa", "A mx.example.net", "A host25.example.org"),
	found("no-fcrdns", "of IPv6", about(mx, open6, ptr6+"ok mx.example.net", "DNS A mx.example.net ok 192.0.2.25", "DNS AAAA mx.example.net ok"), trace.Note,
		`The address 2001:db8::25 is called "mx.example.net", which does not lead back to it.`,
		"PTR "+strings.Fields(ptr6)[2], "AAAA mx.example.net"),
	notFound("no-fcrdns", "the second leads back", about(mx, open, ptr+"ok a.example.net|mx.example.net", "DNS A a.example.net NXDOMAIN", "DNS A mx.example.net ok 192.0.2.24|192.0.2.25")),
	notFound("no-fcrdns", "a name that was not asked about", about(mx, open, ptr+"ok a.example.net|mx.example.net", "DNS A a.example.net NXDOMAIN")),
	notFound("no-fcrdns", "no answer", about(mx, open, ptr+"SERVFAIL")),
	notFound("no-fcrdns", "the other address could not be asked for", about(mx, open, ptr+"ok mx.example.net", "DNS A mx.example.net -")),
	found("no-fcrdns", "of IPv4, written as IPv6", about(mx, "OPEN mx.example.net [::ffff:192.0.2.25]:25", ptr+"ok mx.example.net", "DNS A mx.example.net ok 192.0.2.26"), trace.Note,
		`The address 192.0.2.25 is called "mx.example.net", which does not lead back to it.`, "PTR 25.2.0.192.in-addr.arpa", "A mx.example.net"),

	found("banner-name-mismatch", "PTR", about(mx, open, ptr+"ok a.example.org", greeting), trace.Chat,
		`The server greets as mx.example.net, and its address 192.0.2.25 is called "a.example.org".`, "PTR 25.2.0.192.in-addr.arpa", greeting[3:]),
	notFound("banner-name-mismatch", "the second PTR", about(mx, open, ptr+"ok a.example.org|mx.example.net", greeting)),
	notFound("banner-name-mismatch", "no PTR", about(mx, open, ptr+"ok", greeting)),
}

// leafKey is of the server's certificate in testdata/chain.pem: the SHA-256 of what
// "openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER" makes of it.
const leafKey = "3 1 1 4123893c98fecf13e9e2b5ec976edc27f0c3c74d475d7b05817a6da48e1cd727"

// What fits the chain of testdata/chain.pem, by the sums that openssl and sha256sum make.
func TestTLSA(t *testing.T) {
	const (
		leafSum = "6c2bc55901bfaffb4f6952a83187513afb526545af3792297827673cca9bd32f"
		caSum   = "fd37e5c9060b7e3636e45ba6bf96a684e72d32b2005c1abf3d62ab9c01202dbc"
		caKey   = "086ef799d7030561763730ad5754ed5106c2bb5325aa9291b78f79c16f204540"
	)
	for _, c := range []struct {
		name, record string
		mismatch     bool
	}{
		{"the server's key", leafKey, false},
		{"in capitals and in parts", strings.ToUpper(leafKey[:20] + " " + leafKey[20:]), false},
		{"the server's certificate", "3 0 1 " + leafSum, false},
		{"by SHA-512", "3 0 2 d439b728342465df8e8e7146fa4ebd8f17f42ebb0173026603316bc95c09503aff8ef12c5b09478c83f7c57a63310d5b83e18d3f037b76ff032d55b4ed563115", false},
		{"the server's key by SHA-512", "3 1 2 5a5407e6afc83bd23d822de9e5b6217a68ae3181e05100cacac1362b943843f97c4617250d7162c480bfe0b25b1eddfb172160af0c70d2fd7d8e6a8c9603658b", false},
		{"the server's key in full", "3 1 0 3059301306072a8648ce3d020106082a8648ce3d030107034200048f90094d000e2663a53d7748ef719fa35171693d59b43e445c28171a40246463c839986ff77e4e6273c1831b1c08ae0f998597b30b887e85b00f35f9fce7d26d", false},
		{"the issuer's certificate", "2 0 1 " + caSum, false},
		{"the issuer's key", "2 1 1 " + caKey, false},
		{"the issuer's key, for the server's", "3 1 1 " + caKey, true},
		{"the sum of the key, for that of the certificate", "3 0 1 " + leafKey[6:], true},
		{"the wrong sum", "3 1 2 " + leafKey[6:], true},
		{"an issuer elsewhere", "2 1 1 " + strings.Repeat("00", 32), true},
		{"an issuer in full need not be sent", "2 0 0 00", false},
		{"a server's certificate in full", "3 0 0 00", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := secured(nil, mxAD, tlsa+"AD "+c.record).trace(t)
			got := ids(diagnose.Findings(tr))
			if c.mismatch {
				assert.Contains(t, got, "error dane-mismatch")
			} else {
				assert.NotContains(t, got, "error dane-mismatch")
			}
			assert.NotContains(t, got, "note no-dane", "the record counts")
		})
	}
}

// A domain that does all of it right, and one that is asked for nothing.
func TestCleanDomain(t *testing.T) {
	s := secured(nil, ehlo, postfix, mxAD, "DNS TXT example.net ok v=spf1 mx -all", "DNS TXT _dmarc.example.net ok v=DMARC1; p=reject",
		"DNS TXT _mta-sts.example.net ok v=STSv1; id=1", "POLICY enforce mx.example.net", "DNS TXT _smtp._tls.example.net ok v=TLSRPTv1; rua=mailto:tls@example.net",
		tlsa+"AD "+leafKey, ptr+"ok mx.example.net", "DNS A mx.example.net ok 192.0.2.25")
	require.Empty(t, diagnose.Findings(s.trace(t)))

	silent := about(mx, open, greeting, ehlo, offering("STARTTLS"), "DNS TXT example.net -", "DNS TXT _dmarc.example.net -", "DNS TXT _mta-sts.example.net -",
		"DNS TXT _smtp._tls.example.net -", tlsa+"-", ptr+"-", "POLICY unfetched It was called off.")
	assert.Empty(t, diagnose.Findings(silent.trace(t)), "absence of an answer says nothing")
	unanswered := about("DNS MX example.net SERVFAIL", "DNS TXT example.net ok", tlsa+"ok")
	assert.Empty(t, diagnose.Findings(unanswered.trace(t)), "without mail servers nothing is judged")
}

// A real session with a domain asks what the rules look for.
func TestRealDomain(t *testing.T) {
	config := selfSigned(t, tls.VersionTLS13)
	sum := sha256.Sum256(config.Certificates[0].Certificate[0])
	own := "3 0 1 " + hex.EncodeToString(sum[:])
	offers := "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n"
	record := func(recordType, data string) trace.ResourceRecord {
		r := trace.ResourceRecord{Type: recordType, Data: data}
		switch recordType {
		case "A":
			r.Address = data
		case "TXT":
			r.Text = data
		default:
			r.Host = data
		}
		return r
	}
	for _, c := range []struct {
		name   string
		zone   map[string][]string
		policy trace.PolicyData
		want   []string
	}{
		{name: "all but the authority", zone: map[string][]string{
			"TXT example.net": {"v=spf1 mx -all"}, "TXT _dmarc.example.net": {"v=DMARC1; p=reject"}, "TXT _mta-sts.example.net": {"v=STSv1; id=1"},
			"TXT _smtp._tls.example.net": {"v=TLSRPTv1; rua=mailto:tls@example.net"}, "TLSA _25._tcp.mx.example.net": {own},
			"PTR 127.0.0.1": {"mx.example.net"}, "A mx.example.net": {"127.0.0.1"},
		}, policy: trace.PolicyData{Domain: "example.net", URL: "https://mta-sts.example.net/.well-known/mta-sts.txt", Mode: "testing", MX: []string{"mx.example.net"}},
			want: []string{"warn mta-sts-broken", "warn cert-untrusted"}},
		{name: "nothing is there", zone: map[string][]string{},
			want: []string{"warn cert-untrusted", "note no-spf", "note no-dmarc", "note no-mta-sts", "note no-fcrdns", "chat no-tls-rpt", "chat no-dane"}},
		{name: "another certificate", zone: map[string][]string{
			"TXT example.net": {"v=spf1 mx -all"}, "TXT _dmarc.example.net": {"v=DMARC1; p=reject"}, "TXT _mta-sts.example.net": {"v=STSv1; id=1"},
			"TXT _smtp._tls.example.net": {"v=TLSRPTv1; rua=mailto:tls@example.net"}, "TLSA _25._tcp.mx.example.net": {"3 1 1 00"},
			"PTR 127.0.0.1": {"a.example.org"}, "A a.example.org": {"192.0.2.1"},
		}, policy: trace.PolicyData{Domain: "example.net", URL: "https://mta-sts.example.net/.well-known/mta-sts.txt", Mode: "enforce", MX: []string{"smtp.example.net"}},
			want: []string{"error mta-sts-mx-mismatch", "error mta-sts-broken", "error dane-mismatch", "warn cert-untrusted", "note no-fcrdns", "chat banner-name-mismatch"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := json.Marshal(map[string]any{"target": map[string]any{"mode": "live", "domain": "example.net"}, "security": "starttls", "tls": map[string]any{"insecure": true}, "ehlo": "page.example"})
			require.NoError(t, err)
			p, err := smtpsession.ParsePlan(plan)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			dial := serve(t, config, "220 mx.example.net ESMTP\r\n", ">"+offers, ">220 2.0.0 go\r\n", "TLS", ">"+offers, ">221 2.0.0 bye\r\n")
			tr := smtpsession.New(smtpsession.Config{Plan: p, Tool: "smtpscope/test",
				Dial: func(ctx context.Context, to smtpsession.Target, report func(tunnel.Status)) (net.Conn, error) {
					conn, err := dial(ctx, to, report)
					if err == nil {
						report(tunnel.Status{Stage: tunnel.StageOpened, Host: to.Host, Port: to.Port, Address: conn.RemoteAddr().String()})
					}
					return conn, err
				},
				Lookup: func(_ context.Context, name, recordType string) (*trace.LookupData, error) {
					d := &trace.LookupData{Name: name, Type: recordType, RCode: "NOERROR", Records: []trace.ResourceRecord{}, AD: true}
					if recordType == "MX" {
						d.Records = append(d.Records, record("MX", "mx.example.net"))
					}
					for _, data := range c.zone[recordType+" "+name] {
						d.Records = append(d.Records, record(recordType, data))
					}
					return d, nil
				},
				Policy: func(context.Context, string) (*trace.PolicyData, error) { return &c.policy, nil },
			}).Run(ctx)
			require.NoError(t, ctx.Err(), "the session hung")
			assert.ElementsMatch(t, c.want, ids(tr.Findings), "%+v", tr.Findings)
		})
	}
}
