package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// What a domain may make a session do.
const (
	maxExchanges = 8               // mail servers that are tried
	tryFor       = 2 * time.Minute // no other one is tried after that
	maxQuestions = 16              // at the side of the session
	maxAtOnce    = 4               // of them
	maxNames     = 2               // of an address, that are looked up in turn
	// answersWait is how long a session that is over waits for answers.
	answersWait = 3 * time.Second
)

// dialDomain connects to the first of the domain's mail servers that can be.
func (s *Session) dialDomain(ctx context.Context) *failure {
	s.survey = newSurvey(ctx, s)
	hosts, f := s.exchanges(ctx)
	if f != nil {
		return f
	}
	domain, until := s.plan.Target.Domain, s.rec.Elapsed()+tryFor
	s.survey.domain(domain)
	var tried []string
	permanent := true
	for i, host := range hosts {
		s.turnTo(host)
		err := s.dialHost(ctx)
		if err == nil {
			s.others = hosts[i+1:]
			s.survey.host(host, s.plan.Target.Port, s.conn.raw.RemoteAddr())
			return nil
		}
		f = s.dialFailure(err)
		if ctx.Err() != nil || !another(err) {
			return f
		}
		if f.code == trace.CodeNameNotFound {
			s.survey.ask(host, "A", nil)
			s.survey.ask(host, "AAAA", nil)
		}
		tried = append(tried, fmt.Sprintf("%s (%s)", smtp.Escape(host), f.code))
		permanent = permanent && f.permanent
		if i+1 == len(hosts) {
			break
		}
		if s.rec.Elapsed() > until {
			tried = append(tried, fmt.Sprintf("%d more not tried within %v", len(hosts)-i-1, tryFor))
			permanent = false
			break
		}
		s.note(fmt.Sprintf("%s The next mail server of %s is tried: %s.", f.message, domain, smtp.Escape(hosts[i+1])))
	}
	if f.permanent = permanent; len(tried) > 1 {
		f.message = fmt.Sprintf("No mail server of %s could be connected: %s. The last one: %s", domain, strings.Join(tried, ", "), f.message)
	}
	return f
}

// elsewhere tells of a server that did not greet whom a sender would try next. A
// trace has the bytes of one connection, so this session does not.
func (s *Session) elsewhere() string {
	if len(s.others) == 0 {
		return ""
	}
	return fmt.Sprintf(" A sender would go on to the next mail server of %s, %s.", s.plan.Target.Domain, smtp.Escape(s.others[0]))
}

// turnTo makes a mail server the target.
func (s *Session) turnTo(host string) {
	s.plan.Target.Host = host
	if s.config.Plan.TLS.ServerName == "" {
		s.plan.TLS.ServerName = host
	}
}

// another tells whether it can go better with another mail server. What the proxy
// says of itself holds for all.
func another(err error) bool {
	if errors.Is(err, tunnel.ErrLost) {
		return false
	}
	switch tunnel.DialError(err, "", 0).Code {
	case tunnel.CodeRefused, tunnel.CodeTimeout, tunnel.CodeNameNotFound, tunnel.CodeNoRoute, tunnel.CodeReset, tunnel.CodeDenied:
		return true
	}
	return false
}

// exchanges asks which mail servers take mail for the domain, in the order in which a sender tries them.
func (s *Session) exchanges(ctx context.Context) ([]string, *failure) {
	domain := s.plan.Target.Domain
	if s.config.Lookup == nil {
		return nil, &failure{code: trace.CodeUnsupported, permanent: true,
			message: fmt.Sprintf("The mail servers of %s cannot be found: there is nobody here to ask the DNS. Name one of them as target.host.", domain)}
	}
	answer, err := s.lookUp(ctx, domain, "MX")
	switch {
	case err != nil:
		if f := tunnelFailure(err); f != nil {
			return nil, f
		}
		return nil, &failure{code: trace.CodeClosed, message: smtp.Escape(err.Error())}
	case answer.RCode == "NXDOMAIN":
		return nil, &failure{code: trace.CodeNameNotFound, permanent: true,
			message: fmt.Sprintf("%s is not in the DNS (NXDOMAIN): mail for it comes back at once. Check the spelling of the domain.", domain)}
	case answer.RCode != "NOERROR":
		return nil, &failure{code: trace.CodeTimeout,
			message: fmt.Sprintf("The DNS cannot say for now which mail servers %s has (%s): its name servers are out of order, or its DNSSEC is. A sender waits and tries again later.", domain, smtp.Escape(answer.RCode))}
	}
	var hosts []string
	null := false
	for _, r := range answer.Records {
		switch {
		case r.Type != "MX" || len(hosts) == maxExchanges || slices.Contains(hosts, r.Host):
		case r.Host == "." || r.Host == "":
			null = true
		default:
			hosts = append(hosts, r.Host)
		}
	}
	if len(hosts) == 0 && null {
		return nil, &failure{code: trace.CodeUnsupported, permanent: true,
			message: fmt.Sprintf("%s takes no mail at all: its only MX is the null MX (RFC 7505). Senders return mail for it at once. Check the spelling of the domain.", domain)}
	}
	if len(hosts) == 0 {
		s.note(fmt.Sprintf("%s has no MX record, so the host of that name is tried itself (RFC 5321, 5.1).", domain))
		hosts = []string{domain}
	}
	return hosts, nil
}

// lookUp asks the DNS. The answer, or why there is none, is an event. Its mail servers
// come by preference, and at random among equals (RFC 5321, 5.1).
func (s *Session) lookUp(ctx context.Context, name, recordType string) (*trace.LookupData, error) {
	d, err := s.config.Lookup(ctx, name, recordType)
	if err != nil {
		d = &trace.LookupData{Name: name, Type: recordType, Problem: err.Error()}
	}
	if d.Records == nil {
		d.Records = []trace.ResourceRecord{}
	}
	if recordType == "MX" {
		rand.Shuffle(len(d.Records), func(i, j int) { d.Records[i], d.Records[j] = d.Records[j], d.Records[i] })
		slices.SortStableFunc(d.Records, func(a, b trace.ResourceRecord) int { return cmp.Compare(a.Preference, b.Preference) })
	}
	s.answered(trace.KindLookup, lookupText(d), d)
	return d, err
}

// fetchPolicy asks for the MTA-STS policy of a domain, likewise.
func (s *Session) fetchPolicy(ctx context.Context, domain string) {
	d, err := s.config.Policy(ctx, domain)
	if err != nil {
		d = &trace.PolicyData{Domain: domain, Problem: err.Error()}
	}
	s.answered(trace.KindPolicy, policyText(d), d)
}

func (s *Session) answered(kind trace.Kind, text string, data any) {
	s.rec.Add(trace.Event{Layer: trace.LayerDNS, Kind: kind, Src: trace.Measured, From: trace.HostClient, To: trace.HostProxy,
		Text: text, Data: trace.Encode(data)})
}

// survey asks, at the side of a session, what is published about the domain and the
// mail server that was connected. Nothing in the session waits for it but the end.
type survey struct {
	session *Session
	ctx     context.Context // of all questions
	cancel  context.CancelFunc
	group   sync.WaitGroup
	slots   chan struct{}

	mu    sync.Mutex
	asked []string
}

func newSurvey(ctx context.Context, s *Session) *survey {
	ctx, cancel := context.WithCancel(ctx)
	return &survey{session: s, ctx: ctx, cancel: cancel, slots: make(chan struct{}, maxAtOnce)}
}

// end waits for the answers that are still to come, but not for ever.
func (v *survey) end() {
	defer time.AfterFunc(answersWait, v.cancel).Stop()
	v.group.Wait()
	v.cancel()
}

// ask asks a question once. Then gets the answer, if there is one.
func (v *survey) ask(name, recordType string, then func(*trace.LookupData)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	question := recordType + " " + name
	if len(v.asked) == maxQuestions || slices.Contains(v.asked, question) {
		return
	}
	v.asked = append(v.asked, question)
	v.group.Go(func() {
		select {
		case v.slots <- struct{}{}:
		case <-v.ctx.Done():
			return
		}
		d, err := v.session.lookUp(v.ctx, name, recordType)
		<-v.slots
		if err == nil && then != nil {
			then(d)
		}
	})
}

// domain asks for the policies that a domain publishes in the DNS.
func (v *survey) domain(name string) {
	v.ask(name, "TXT", nil) // SPF (RFC 7208)
	v.ask("_dmarc."+name, "TXT", nil)
	v.ask("_mta-sts."+name, "TXT", func(d *trace.LookupData) {
		announced := 0
		for _, r := range d.Records {
			if strings.HasPrefix(r.Text, "v=STSv1") {
				announced++
			}
		}
		if announced == 1 && v.session.config.Policy != nil { // RFC 8461, 3.1
			v.session.fetchPolicy(v.ctx, name)
		}
	})
	v.ask("_smtp._tls."+name, "TXT", nil)
}

// host asks about a mail server, and what the names of its address are, and
// whether they lead back there.
func (v *survey) host(name string, port int, at net.Addr) {
	v.ask(fmt.Sprintf("_%d._tcp.%s", port, name), "TLSA", nil) // RFC 7672, 2.2.3
	end, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return
	}
	address, family := end.Addr().Unmap(), "AAAA"
	if address.Is4() {
		family = "A"
	}
	v.ask(name, family, nil)
	v.ask(address.WithZone("").String(), "PTR", func(d *trace.LookupData) {
		names := 0
		for _, r := range d.Records {
			if r.Type == "PTR" && names < maxNames {
				names++
				v.ask(r.Host, family, nil)
			}
		}
	})
}
