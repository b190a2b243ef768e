package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// zone is a DNS: answers by "TYPE name". At what is not in it there is nothing.
type zone struct {
	answers  map[string]any // records as "10 mx.example.net", an rcode, or an error
	policies map[string]*trace.PolicyData

	mu    sync.Mutex
	asked []string
}

func (z *zone) Lookup(_ context.Context, name, recordType string) (*trace.LookupData, error) {
	question := recordType + " " + name
	z.mu.Lock()
	z.asked = append(z.asked, question)
	z.mu.Unlock()
	d := &trace.LookupData{Name: name, Type: recordType, RCode: "NOERROR", Records: []trace.ResourceRecord{}, Took: time.Millisecond}
	switch a := z.answers[question].(type) {
	case error:
		return nil, a
	case string:
		d.RCode = a
	case []string:
		for _, value := range a {
			r := trace.ResourceRecord{Name: name, Type: recordType, TTL: 300, Data: value}
			switch recordType {
			case "MX":
				_, err := fmt.Sscan(value, &r.Preference, &r.Host)
				if err != nil {
					panic(err)
				}
			case "PTR":
				r.Host = value
			case "TXT":
				r.Text = value
			default:
				r.Address = value
			}
			d.Records = append(d.Records, r)
		}
	}
	return d, nil
}

func (z *zone) Policy(_ context.Context, domain string) (*trace.PolicyData, error) {
	if p := z.policies[domain]; p != nil {
		return p, nil
	}
	return nil, &tunnel.Error{Code: tunnel.CodeTimeout, Message: "Nobody answered."}
}

// hosts are what can be dialed: an address, or why not.
type hosts map[string]any

func (h hosts) dial(ctx context.Context, t session.Target, report func(tunnel.Status)) (net.Conn, error) {
	if err, ok := h[t.Host].(error); ok {
		return nil, err
	}
	return dialTo(h[t.Host].(string))(ctx, t, report)
}

func refuses(host string) error {
	return &tunnel.Error{Code: tunnel.CodeRefused, Message: host + " refused the connection."}
}

// runDomain runs a plan for the mail servers of example.net.
func runDomain(t testing.TB, z *zone, h hosts, edits map[string]any) *trace.Trace {
	all := map[string]any{"target": map[string]any{"mode": "live", "domain": "example.net"}}
	for k, v := range edits {
		all[k] = v
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tr := session.New(session.Config{Plan: parse(t, planJSON(t, all)), Dial: h.dial, Tool: "x", Lookup: z.Lookup, Policy: z.Policy}).Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	checkTrace(t, tr)
	return tr
}

// told are the texts of the events of some kind.
func told(tr *trace.Trace, kind trace.Kind) (texts []string) {
	for _, e := range tr.Events {
		if e.Kind == kind {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// A session goes to the first mail server that can be connected, under its own name.
func TestDomain(t *testing.T) {
	ca := newAuthority(t)
	addr, done := join(hello[:3], script{"S: 250 STARTTLS", "C: STARTTLS", "S: 220 go", "TLS", "C: EHLO *", "S: 250 mx"}, deliver, leave).listen(t, ca.good(t))
	z := &zone{answers: map[string]any{
		"MX example.net":           []string{"20 mx.example.net", "10 down.example.net", "30 spare.example.net"},
		"TXT example.net":          []string{"site=1", "v=spf1 mx -all"},
		"TXT _mta-sts.example.net": []string{"v=STSv1; id=1"},
		"PTR 127.0.0.1":            []string{"localhost.example"},
		"A localhost.example":      "NXDOMAIN",
	}, policies: map[string]*trace.PolicyData{"example.net": {Domain: "example.net", Mode: "enforce", MX: []string{"*.example.net"}, MaxAge: 86400}}}
	tr := runDomain(t, z, hosts{"down.example.net": refuses("down.example.net"), serverName: addr}, map[string]any{
		"security": "starttls", "tls": map[string]any{"ca": []string{ca.PEM}}})
	require.NoError(t, (<-done).err)
	require.Nil(t, tr.Result.Error)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.Equal(t, "example.net", tr.Meta.Hosts[2].Name)
	assert.Equal(t, []string{"down.example.net refused the connection. The next mail server of example.net is tried: mx.example.net."}, told(tr, trace.KindNote))

	first := tr.Events[0]
	assert.Equal(t, trace.Event{Layer: trace.LayerDNS, Kind: trace.KindLookup, T: first.T, From: trace.HostClient, To: trace.HostProxy, Src: trace.Measured,
		Text: "MX example.net: 10 down.example.net, 20 mx.example.net, 30 spare.example.net", Data: first.Data}, first)
	var d trace.LookupData
	require.NoError(t, json.Unmarshal(first.Data, &d))
	assert.Equal(t, []trace.ResourceRecord{
		{Name: "example.net", Type: "MX", TTL: 300, Data: "10 down.example.net", Host: "down.example.net", Preference: 10},
		{Name: "example.net", Type: "MX", TTL: 300, Data: "20 mx.example.net", Host: "mx.example.net", Preference: 20},
		{Name: "example.net", Type: "MX", TTL: 300, Data: "30 spare.example.net", Host: "spare.example.net", Preference: 30}}, d.Records)
	assert.ElementsMatch(t, []string{
		"MX example.net: 10 down.example.net, 20 mx.example.net, 30 spare.example.net",
		"TXT example.net: v=spf1 mx -all, site=1", "TXT _dmarc.example.net: none", "TXT _mta-sts.example.net: v=STSv1; id=1", "TXT _smtp._tls.example.net: none",
		"TLSA _25._tcp.mx.example.net: none", "A mx.example.net: none", "PTR 127.0.0.1: localhost.example", "A localhost.example: no such name",
	}, told(tr, trace.KindLookup))
	assert.Equal(t, []string{"MTA-STS policy of example.net: enforce, *.example.net, max_age 86400"}, told(tr, trace.KindPolicy))
}

// Servers of one preference are tried in any order (RFC 5321, 5.1), each once, and
// no more than a limit of them.
func TestMailServersInTurn(t *testing.T) {
	many := []string{"10 late.example.net", "5 a.example.net", "5 b.example.net", "5 a.example.net", "0 ."}
	h := hosts{}
	for _, name := range []string{"late", "a", "b"} {
		h[name+".example.net"] = refuses(name + ".example.net")
	}
	for i := range 9 {
		name := fmt.Sprintf("n%d.example.net", i)
		many, h[name] = append(many, "20 "+name), refuses(name)
	}
	first := map[string]bool{}
	for i := 0; i < 200 && len(first) < 2; i++ {
		var dialed []string
		z := &zone{answers: map[string]any{"MX example.net": many}}
		dial := func(_ context.Context, t session.Target, _ func(tunnel.Status)) (net.Conn, error) {
			dialed = append(dialed, t.Host)
			return nil, refuses(t.Host)
		}
		plan := parse(t, planJSON(t, map[string]any{"target": map[string]any{"mode": "live", "domain": "example.net"}}))
		session.New(session.Config{Plan: plan, Dial: dial, Tool: "x", Lookup: z.Lookup}).Run(t.Context())
		require.Len(t, dialed, 8)
		require.ElementsMatch(t, []string{"a.example.net", "b.example.net"}, dialed[:2])
		require.Equal(t, "late.example.net", dialed[2])
		first[dialed[0]] = true
		assert.Empty(t, plan.Target.Host, "the plan is its owner's")
	}
	assert.Len(t, first, 2, "equals are tried in any order")
}

func TestDomainFailures(t *testing.T) {
	notFound := &tunnel.Error{Code: tunnel.CodeNameNotFound, Message: "It has no address."}
	for _, c := range []struct {
		name      string
		mx        any
		hosts     hosts
		code      trace.ErrorCode
		permanent bool
		want      string
		asked     []string // besides what the domain publishes
	}{
		{"no such domain", "NXDOMAIN", nil, trace.CodeNameNotFound, true,
			"example.net is not in the DNS (NXDOMAIN): mail for it comes back at once. Check the spelling of the domain.", nil},
		{"a broken zone", "SERVFAIL", nil, trace.CodeTimeout, false,
			"The DNS cannot say for now which mail servers example.net has (SERVFAIL): its name servers are out of order, or its DNSSEC is. A sender waits and tries again later.", nil},
		{"a silent resolver", &tunnel.Error{Code: tunnel.CodeTimeout, Message: "No DNS server answered."}, nil, trace.CodeTimeout, false, "No DNS server answered.", nil},
		{"a domain that may not be asked about", &tunnel.Error{Code: tunnel.CodeDenied, Rule: "not-allowed", Message: "Denied."}, nil, trace.CodeDenied, true, "Denied.", nil},
		{"a proxy that has gone", errors.New("The program does not answer."), nil, trace.CodeClosed, false, "The program does not answer.", nil},
		{"null MX", []string{"0 ."}, nil, trace.CodeUnsupported, true,
			"example.net takes no mail at all: its only MX is the null MX (RFC 7505). Senders return mail for it at once. Check the spelling of the domain.", nil},
		{"its own host refuses", nil, hosts{"example.net": refuses("example.net")}, trace.CodeRefused, false, "example.net refused the connection.", nil},
		{"one server without an address", []string{"10 a.example.net"}, hosts{"a.example.net": notFound}, trace.CodeNameNotFound, true, "It has no address.",
			[]string{"A a.example.net", "AAAA a.example.net"}},
		{"all of several", []string{"10 a.example.net", "20 b.example.net"}, hosts{"a.example.net": refuses("a.example.net"), "b.example.net": notFound}, trace.CodeNameNotFound, false,
			"No mail server of example.net could be connected: a.example.net (refused), b.example.net (name-not-found). The last one: It has no address.",
			[]string{"A b.example.net", "AAAA b.example.net"}},
		{"the proxy has enough", []string{"10 a.example.net", "20 b.example.net"}, hosts{"a.example.net": &tunnel.Error{Code: tunnel.CodeQuota, Rule: "client-rate", Message: "Too soon.", RetryAfter: 7}},
			trace.CodeQuota, false, "Too soon.", nil},
		{"the proxy goes", []string{"10 a.example.net", "20 b.example.net"}, hosts{"a.example.net": fmt.Errorf("gone: %w", tunnel.ErrLost)}, trace.CodeClosed, false, "gone: the tunnel was lost", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := &zone{answers: map[string]any{"MX example.net": c.mx}}
			r := runDomain(t, z, c.hosts, nil).Result
			assert.Equal(t, trace.Failed, r.Outcome)
			assert.Equal(t, "connect", r.Phase)
			assert.Equal(t, c.code, r.Error.Code)
			assert.Equal(t, c.permanent, r.Permanent)
			assert.Equal(t, c.want, r.Error.Message)
			var asked []string
			for _, q := range z.asked {
				if !strings.HasPrefix(q, "TXT ") && !strings.HasPrefix(q, "MX ") {
					asked = append(asked, q)
				}
			}
			assert.ElementsMatch(t, c.asked, asked)
		})
	}
}

// Without an MX the host of that name takes the mail, which is remarked upon.
func TestImplicitMX(t *testing.T) {
	addr, done := join(hello, deliver, leave).listen(t, nil)
	tr := runDomain(t, &zone{}, hosts{"example.net": addr}, nil)
	require.NoError(t, (<-done).err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.Equal(t, []string{"example.net has no MX record, so the host of that name is tried itself (RFC 5321, 5.1)."}, told(tr, trace.KindNote))
}

// A server that refuses to talk is looked at, and the one that a sender would try
// next is named.
func TestRefusedGreetingNamesTheNext(t *testing.T) {
	addr, done := script{"S: 421 4.3.2 busy", "CLOSE"}.listen(t, nil)
	z := &zone{answers: map[string]any{"MX example.net": []string{"10 a.example.net", "20 b.example.net"}}}
	r := runDomain(t, z, hosts{"a.example.net": addr}, nil).Result
	<-done
	assert.Equal(t, trace.Rejected, r.Outcome)
	assert.True(t, strings.HasSuffix(r.Error.Message, " A sender would go on to the next mail server of example.net, b.example.net."), r.Error.Message)
}

func TestNobodyToAsk(t *testing.T) {
	plan := parse(t, planJSON(t, map[string]any{"target": map[string]any{"mode": "live", "domain": "example.net"}}))
	tr := session.New(session.Config{Plan: plan, Dial: hosts{}.dial, Tool: "x"}).Run(t.Context())
	checkTrace(t, tr)
	assert.Equal(t, trace.CodeUnsupported, tr.Result.Error.Code)
}

// Mail servers that do not answer take no more than some minutes together.
func TestSilentMailServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{answers: map[string]any{"MX example.net": []string{"1 a", "2 b", "3 c", "4 d", "5 e", "6 f"}}}
		dial := func(_ context.Context, t session.Target, _ func(tunnel.Status)) (net.Conn, error) {
			time.Sleep(time.Minute)
			return nil, &tunnel.Error{Code: tunnel.CodeTimeout, Message: t.Host + " did not answer."}
		}
		plan := parse(t, planJSON(t, map[string]any{"target": map[string]any{"mode": "live", "domain": "example.net"}}))
		begun := time.Now()
		tr := session.New(session.Config{Plan: plan, Dial: dial, Tool: "x", Lookup: z.Lookup}).Run(t.Context())
		assert.Equal(t, 3*time.Minute, time.Since(begun))
		assert.Equal(t, "No mail server of example.net could be connected: a (timeout), b (timeout), c (timeout), 3 more not tried within 2m0s. The last one: c did not answer.", tr.Result.Error.Message)
		assert.False(t, tr.Result.Permanent)
	})
}

// The end of a session waits for answers, but only so long, and a user who ends it
// waits for none.
func TestLateAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		leave time.Duration // when the user does
		want  time.Duration
	}{"waited for": {time.Hour, 3 * time.Second}, "cancelled": {time.Second, time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := &zone{answers: map[string]any{"MX example.net": []string{"1 a.example.net"}}}
				most, open := 0, 0
				lookup := func(ctx context.Context, name, recordType string) (*trace.LookupData, error) {
					if recordType == "MX" {
						return z.Lookup(ctx, name, recordType)
					}
					z.mu.Lock()
					open++
					most = max(most, open)
					z.mu.Unlock()
					<-ctx.Done()
					return nil, errors.New("It was not answered in time.")
				}
				dial := func(context.Context, session.Target, func(tunnel.Status)) (net.Conn, error) {
					return nil, &tunnel.Error{Code: tunnel.CodeNameNotFound, Message: "It has no address."}
				}
				plan := parse(t, planJSON(t, map[string]any{"target": map[string]any{"mode": "live", "domain": "example.net"}}))
				ctx, cancel := context.WithTimeout(t.Context(), c.leave)
				defer cancel()
				begun := time.Now()
				tr := session.New(session.Config{Plan: plan, Dial: dial, Tool: "x", Lookup: lookup}).Run(ctx)
				assert.Equal(t, c.want, time.Since(begun))
				assert.Equal(t, 4, most, "so many questions at one time")
				texts := told(tr, trace.KindLookup)
				assert.Len(t, texts, 5)
				for _, text := range texts[1:] {
					assert.True(t, strings.HasSuffix(text, ": no answer. It was not answered in time."), text)
				}
				assert.Equal(t, trace.KindError, tr.Events[len(tr.Events)-1].Kind, "nothing comes after the end")
			})
		})
	}
}

func TestDomainPlan(t *testing.T) {
	target := func(more string) string { return `{"target": {"mode": "live", "domain": "example.net"` + more + `}` }
	for _, c := range []struct {
		plan string
		port int
	}{
		{target("") + `}`, 25}, {target("") + `, "security": "none"}`, 25}, {target("") + `, "security": "tls"}`, 465},
		{target("") + `, "options": {"protocol": "lmtp"}}`, 24}, {target(`, "port": 2525`) + `}`, 2525},
	} {
		p, err := session.ParsePlan([]byte(c.plan))
		require.NoError(t, err, c.plan)
		assert.Equal(t, session.Target{Mode: trace.ModeLive, Domain: "example.net", Port: c.port}, p.Target, c.plan)
		assert.Empty(t, p.TLS.ServerName, "it is that of the mail server")
	}
	for plan, want := range map[string]string{
		`{"target": {"mode": "live", "domain": "example.net", "host": "mx.example.net"}}`: "target.host, target.domain: both are there; say target.host for one mail server, or target.domain for those that take a domain's mail.",
		`{"target": {"mode": "lab", "domain": "example.net"}}`:                            "target.domain: its mail servers are looked up in mode live only, and this is mode lab; say target.host.",
		`{"target": {"mode": "practice", "domain": "example.net"}}`:                       "target.domain: its mail servers are looked up in mode live only, and this is mode practice; say target.host.",
		`{"target": {"mode": "live", "domain": "192.0.2.1"}}`:                             `target.domain: "192.0.2.1" is an address; say target.host.`,
		`{"target": {"mode": "live", "domain": "[192.0.2.1]"}}`:                           `target.domain: "[192.0.2.1]" is an address; say target.host.`,
		`{"target": {"mode": "live", "domain": "a b"}}`:                                   `target.domain: `,
		`{"target": {"mode": "live", "domain": "bücher.example"}}`:                        `target.domain: `,
		`{"target": {"mode": "live", "domain": "example.net."}}`:                          `target.domain: `,
	} {
		_, err := session.ParsePlan([]byte(plan))
		var e *session.PlanError
		require.ErrorAs(t, err, &e, plan)
		assert.Contains(t, e.Problem, want)
		t.Log(e.Problem)
	}
}
