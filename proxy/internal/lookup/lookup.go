// Package lookup asks the DNS what somebody who debugs mail wants to know of a
// domain: its mail servers, their addresses and names, and the policies that it
// publishes. It keeps answers for as long as their TTL says, and fetches the
// MTA-STS policy, the one of them that lives on a web server.
//
// It is a stub resolver: it asks the resolvers of its machine, or the one that
// it is given, and believes them. It does not validate DNSSEC itself; AD is what
// the resolver says. What may be asked and told is decided by package policy.
// The package refuses to know what the answers mean for a delivery, and of HTTP
// servers and who asks.
package lookup

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/metrics"
	"smtpscope/proxy/internal/policy"
)

// Limits. They bound what strangers can make this package hold and send.
const (
	totalTimeout = 8 * time.Second // for all resolvers together
	tryTimeout   = 2 * time.Second // for one of them
	rounds       = 2               // a datagram may be lost
	maxServers   = 3               // as the C library has it
	maxAtOnce    = 64              // look-ups under way
	maxAnswers   = 1024            // in the cache
	maxPolicies  = 64              // in theirs
	maxRecords   = 100             // of one answer
	maxText      = 16 << 10        // characters of all records of one answer
	maxTTL       = time.Hour
	maxNegative  = 5 * time.Minute // for "no such name" and "no such record"
	failureTTL   = 5 * time.Second // for SERVFAIL and its like (RFC 9520, 3.2)
)

// types are what can be asked.
var types = map[string]uint16{
	"A": dns.TypeA, "AAAA": dns.TypeAAAA, "MX": dns.TypeMX, "PTR": dns.TypePTR, "TLSA": dns.TypeTLSA, "TXT": dns.TypeTXT,
}

// Config is what a Resolver is made of.
type Config struct {
	Policy *policy.Policy
	// Server is the resolver to ask; the zero value means those of
	// /etc/resolv.conf, which is read anew for every question.
	Server netip.AddrPort
	// Roots are what certificates of MTA-STS hosts are verified against; nil
	// means the system's.
	Roots   *x509.CertPool
	Metrics *metrics.Metrics // nil counts nothing
}

// Resolver answers questions. It is safe for concurrent use.
type Resolver struct {
	config   Config
	answers  *cache[question, *Answer]
	policies *cache[string, *Policy] // by domain

	// These are replaced in tests.
	servers    func() ([]string, error)
	dialPublic dialFunc
	tryTimeout time.Duration
}

// question is asked of the DNS: a name in lower case without its final dot, and
// a type.
type question struct {
	name  string
	qtype uint16
}

// What is found goes into a trace as it is.
type (
	Answer = trace.LookupData
	Record = trace.ResourceRecord
	Policy = trace.PolicyData
)

// New makes a resolver.
func New(cfg Config) *Resolver {
	r := &Resolver{config: cfg, servers: systemServers, dialPublic: cfg.Policy.DialPublic, tryTimeout: tryTimeout}
	slots := make(chan struct{}, maxAtOnce)
	r.answers = newCache(slots, maxAnswers, totalTimeout, r.resolve)
	r.policies = newCache(slots, maxPolicies, policyTimeout, r.fetchPolicy)
	if cfg.Server.IsValid() {
		r.servers = func() ([]string, error) { return []string{cfg.Server.String()}, nil }
	}
	return r
}

// Lookup asks for the records of a type (A, AAAA, MX, PTR, TLSA, TXT) at a name;
// PTR is asked with an address. That there are none is an answer. An error is
// always a *tunnel.Error: a question that cannot be asked or may not, or no
// resolver that answers.
func (r *Resolver) Lookup(ctx context.Context, name, recordType string) (*Answer, error) {
	q, err := r.admit(name, recordType)
	if err != nil {
		return nil, err
	}
	answer, kept, err := r.answers.get(ctx, q)
	if err != nil || kept < 0 {
		return answer, err
	}
	old := *answer
	old.Cached, old.Age = true, kept
	old.Records = slices.Clone(old.Records)
	for i := range old.Records {
		old.Records[i].TTL -= min(old.Records[i].TTL, uint32(kept/time.Second))
	}
	return &old, nil
}

func (r *Resolver) admit(name, recordType string) (question, error) {
	qtype, ok := types[strings.ToUpper(recordType)]
	switch {
	case !ok:
		return question{}, badRequest("%q is not a type of record that is looked up here. Use A, AAAA, MX, PTR, TLSA or TXT.", shorten(recordType))
	case qtype != dns.TypePTR:
		name, err := r.config.Policy.AdmitQuestion(name)
		return question{name, qtype}, err
	}
	address, err := netip.ParseAddr(name)
	if err != nil || address.Zone() != "" {
		return question{}, badRequest("%q is not an address. PTR is looked up by address, as in 192.0.2.1 or 2001:db8::1.", shorten(name))
	}
	if err := r.config.Policy.AdmitReverse(address); err != nil {
		return question{}, err
	}
	reverse, err := dns.ReverseAddr(address.Unmap().String())
	return question{strings.TrimSuffix(reverse, "."), qtype}, err
}

// resolve asks, and tells the metrics how that ended.
func (r *Resolver) resolve(ctx context.Context, q question) (*Answer, time.Duration, error) {
	started := time.Now()
	answer, good, err := r.exchange(ctx, q)
	if r.config.Metrics != nil {
		outcome := "silence"
		if answer != nil {
			outcome = answer.RCode
			if strings.HasPrefix(outcome, "RCODE") {
				outcome = "other" // a label has few values
			}
		}
		r.config.Metrics.LookedUp(dns.TypeToString[q.qtype], outcome, time.Since(started))
	}
	return answer, good, err
}

func badRequest(format string, args ...any) error {
	return &tunnel.Error{Code: tunnel.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

// shorten keeps a hostile text from filling the message.
func shorten(s string) string { return cut(s, 80) }

func cut(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
