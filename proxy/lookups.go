package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/lookup"
	"smtpscope/proxy/internal/metrics"
	"smtpscope/proxy/internal/policy"
	"smtpscope/proxy/internal/quota"
)

// questionFactor is how many look-ups a client may make for every tunnel that it may
// open: the mail servers of a domain, their addresses and the domain's policies are
// about a dozen.
const questionFactor = 12

// parseResolver reads the value of --resolver.
func (o *options) parseResolver(text string) error {
	address, err := netip.ParseAddrPort(text)
	if err != nil || address.Port() == 0 {
		return fmt.Errorf("%q: write address and port of a DNS server, as in 192.0.2.53:53 or [2001:db8::53]:53", text)
	}
	o.resolver = address
	return nil
}

// newLookup is what answers a page's questions to the DNS. It is nil when nothing
// but the practice server may be dialed, and when dialing needs a token: a token
// is for a mail server, and who has none is to get nothing here.
func (o *options) newLookup(p *policy.Policy, counts *metrics.Metrics) *lookup.Resolver {
	if o.tokenKey != "" || !o.public && len(o.allow.items) == 0 {
		return nil
	}
	return lookup.New(lookup.Config{Policy: p, Server: o.resolver, Metrics: counts})
}

// dialResolver is what looks up the names that are dialed: that of --resolver, or nil
// for the system's.
func (o *options) dialResolver() policy.Resolver {
	if !o.resolver.IsValid() {
		return nil
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, o.resolver.String())
	}}
}

// admitQuestion decides whether a client may look something up now. What it is given
// is to be closed when that is done.
func (a *admission) admitQuestion(remote string) (*quota.Tunnel, *tunnel.Error) {
	admitted, denial := a.questions.Open(clientOf(remote), nil)
	if denial != nil && denial.Rule == quota.RuleClientRate {
		denial.Message = fmt.Sprintf("One client may make %d look-ups a minute through this proxy. Try again in %d seconds (rule %s).", a.questionRate, denial.RetryAfter, denial.Rule)
	}
	return admitted, denial
}
