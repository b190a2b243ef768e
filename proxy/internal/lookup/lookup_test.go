package lookup

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/policy"
)

// script answers a question. It returns nil to stay silent.
type script func(ask *dns.Msg, network string) *dns.Msg

// server is a DNS server on loopback that does what the test says, by UDP and TCP.
type server struct {
	address string
	mu      sync.Mutex
	asked   []string // network, type and name
	last    *dns.Msg
}

func serve(t *testing.T, answer script) *server {
	t.Helper()
	packets, listener := bind(t)
	s := &server{address: packets.LocalAddr().String()}
	for network, d := range map[string]*dns.Server{"udp": {PacketConn: packets}, "tcp": {Listener: listener}} {
		ready, done := make(chan struct{}), make(chan error, 1)
		d.NotifyStartedFunc = func() { close(ready) }
		d.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, ask *dns.Msg) {
			s.mu.Lock()
			s.asked = append(s.asked, network+" "+dns.TypeToString[ask.Question[0].Qtype]+" "+ask.Question[0].Name)
			s.last = ask
			s.mu.Unlock()
			if response := answer(ask, network); response != nil {
				_ = w.WriteMsg(response)
			}
		})
		go func() { done <- d.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() {
			assert.NoError(t, d.Shutdown())
			assert.NoError(t, <-done)
		})
	}
	return s
}

// bind finds a port that is free for UDP and TCP.
func bind(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		packets, err := net.ListenPacket("udp4", listener.Addr().String())
		if err == nil {
			return packets, listener
		}
		listener.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil
}

func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// received is the last question.
func (s *server) received() *dns.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// zone answers from records, without knowing anything of delegation.
func zone(lines ...string) script {
	var records []dns.RR
	for _, line := range lines {
		record, err := dns.NewRR(line)
		if err != nil {
			panic(err)
		}
		records = append(records, record)
	}
	return func(ask *dns.Msg, _ string) *dns.Msg {
		response := new(dns.Msg).SetReply(ask)
		response.RecursionAvailable = true
		response.Answer = records
		return response
	}
}

// reply is zone with a change.
func reply(change func(response *dns.Msg), lines ...string) script {
	answer := zone(lines...)
	return func(ask *dns.Msg, network string) *dns.Msg {
		response := answer(ask, network)
		change(response)
		return response
	}
}

func rules(t *testing.T, allow ...string) *policy.Policy {
	t.Helper()
	cfg := policy.Config{Public: len(allow) == 0}
	for _, text := range allow {
		target, err := policy.ParseTarget(text)
		require.NoError(t, err)
		cfg.Allow = append(cfg.Allow, target)
	}
	return policy.New(cfg)
}

// clock is a time that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func resolver(t *testing.T, p *policy.Policy, servers ...string) (*Resolver, *clock) {
	t.Helper()
	r := New(Config{Policy: p})
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	r.answers.now, r.policies.now = c.Now, c.Now
	r.servers = func() ([]string, error) { return servers, nil }
	return r, c
}

func lookup(t *testing.T, r *Resolver, name, recordType string) *Answer {
	t.Helper()
	a, err := r.Lookup(t.Context(), name, recordType)
	require.NoError(t, err)
	return a
}

func failed(t *testing.T, r *Resolver, name, recordType string) *tunnel.Error {
	t.Helper()
	a, err := r.Lookup(t.Context(), name, recordType)
	var e *tunnel.Error
	require.ErrorAs(t, err, &e)
	assert.Nil(t, a)
	return e
}

func TestTypes(t *testing.T) {
	tests := []struct {
		name, recordType, asked string
		zone                    []string
		want                    []Record
	}{
		{"example.net", "MX", "udp MX example.net.", []string{"example.net. 300 MX 10 MX1.example.net.", "example.net. 300 MX 0 mx0.example.net."}, []Record{
			{Name: "example.net", Type: "MX", TTL: 300, Data: "10 MX1.example.net.", Host: "mx1.example.net", Preference: 10},
			{Name: "example.net", Type: "MX", TTL: 300, Data: "0 mx0.example.net.", Host: "mx0.example.net"},
		}},
		{"null.example.net", "mx", "udp MX null.example.net.", []string{"null.example.net. 60 MX 0 ."}, []Record{
			{Name: "null.example.net", Type: "MX", TTL: 60, Data: "0 .", Host: "."},
		}},
		{"MX.example.net.", "A", "udp A mx.example.net.", []string{"mx.example.net. 60 A 192.0.1.25"}, []Record{
			{Name: "mx.example.net", Type: "A", TTL: 60, Data: "192.0.1.25", Address: "192.0.1.25"},
		}},
		{"mx.example.net", "aaaa", "udp AAAA mx.example.net.", []string{"mx.example.net. 60 AAAA 2001:4860::25"}, []Record{
			{Name: "mx.example.net", Type: "AAAA", TTL: 60, Data: "2001:4860::25", Address: "2001:4860::25"},
		}},
		{"example.net", "TXT", "udp TXT example.net.", []string{`example.net. 60 TXT "v=spf1 ip4:192.0.1.0/24 " "-all"`, `example.net. 60 TXT "a\"b\\c\009\195\188\255"`}, []Record{
			{Name: "example.net", Type: "TXT", TTL: 60, Data: `"v=spf1 ip4:192.0.1.0/24 " "-all"`, Text: "v=spf1 ip4:192.0.1.0/24 -all"},
			{Name: "example.net", Type: "TXT", TTL: 60, Data: `"a\"b\\c\009\195\188\255"`, Text: "a\"b\\c\tü\uFFFD"},
		}},
		{"_dmarc.example.net", "TXT", "udp TXT _dmarc.example.net.", []string{`_dmarc.example.net. 60 TXT "v=DMARC1; p=reject"`}, []Record{
			{Name: "_dmarc.example.net", Type: "TXT", TTL: 60, Data: `"v=DMARC1; p=reject"`, Text: "v=DMARC1; p=reject"},
		}},
		{"_smtp._tls.example.net", "TXT", "udp TXT _smtp._tls.example.net.", []string{`_smtp._tls.example.net. 60 TXT "v=TLSRPTv1; rua=mailto:tls@example.net"`}, []Record{
			{Name: "_smtp._tls.example.net", Type: "TXT", TTL: 60, Data: `"v=TLSRPTv1; rua=mailto:tls@example.net"`, Text: "v=TLSRPTv1; rua=mailto:tls@example.net"},
		}},
		{"_25._tcp.mx.example.net", "TLSA", "udp TLSA _25._tcp.mx.example.net.", []string{"_25._tcp.mx.example.net. 60 TLSA 3 1 1 ABCDEF01"}, []Record{
			{Name: "_25._tcp.mx.example.net", Type: "TLSA", TTL: 60, Data: "3 1 1 abcdef01"},
		}},
		{"192.0.1.25", "PTR", "udp PTR 25.1.0.192.in-addr.arpa.", []string{"25.1.0.192.in-addr.arpa. 60 PTR mx.example.net."}, []Record{
			{Name: "25.1.0.192.in-addr.arpa", Type: "PTR", TTL: 60, Data: "mx.example.net.", Host: "mx.example.net"},
		}},
		{"::ffff:192.0.1.25", "PTR", "udp PTR 25.1.0.192.in-addr.arpa.", nil, []Record{}},
		{"2001:4860::25", "PTR", "udp PTR 5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.8.4.1.0.0.2.ip6.arpa.", nil, []Record{}},
	}
	for _, tt := range tests {
		t.Run(tt.recordType+" "+tt.name, func(t *testing.T) {
			s := serve(t, zone(tt.zone...))
			r, _ := resolver(t, rules(t), s.address)
			a := lookup(t, r, tt.name, tt.recordType)
			assert.Equal(t, "NOERROR", a.RCode)
			assert.Equal(t, tt.want, a.Records)
			assert.Equal(t, strings.ToUpper(tt.recordType), a.Type)
			assert.Equal(t, []string{tt.asked}, s.questions())
			assert.Equal(t, "udp", a.Network)
			assert.Positive(t, a.Took)
			assert.False(t, a.Cached)
			assert.Empty(t, a.Server, "a public proxy does not tell the address of a resolver in its own network")
		})
	}
}

func TestQuestionSent(t *testing.T) {
	s := serve(t, reply(func(r *dns.Msg) { r.AuthenticatedData = true }, "mx.example.net. 60 A 192.0.1.25"))
	r, _ := resolver(t, rules(t, "mx.example.net:25"), s.address)
	a := lookup(t, r, "mx.example.net", "A")
	assert.True(t, a.AD)
	assert.Equal(t, s.address, a.Server)
	asked := s.received()
	assert.True(t, asked.RecursionDesired)
	assert.True(t, asked.AuthenticatedData, "asks whether the answer is authentic")
	assert.False(t, asked.CheckingDisabled)
	require.NotNil(t, asked.IsEdns0())
	assert.EqualValues(t, udpSize, asked.IsEdns0().UDPSize())
}

func TestAuthenticatedData(t *testing.T) {
	s := serve(t, zone("mx.example.net. 60 A 192.0.1.25"))
	r, _ := resolver(t, rules(t), s.address)
	assert.False(t, lookup(t, r, "mx.example.net", "A").AD)
}

func TestJSON(t *testing.T) {
	s := serve(t, zone("example.net. 300 MX 10 mx.example.net."))
	r, _ := resolver(t, rules(t, "example.net:25"), s.address)
	a := lookup(t, r, "example.net", "MX")
	a.Took = 1500
	text, err := json.Marshal(a)
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"example.net","type":"MX","rcode":"NOERROR","ad":false,"network":"udp","server":"`+s.address+`","took":1500,"cached":false,
		"records":[{"name":"example.net","type":"MX","ttl":300,"data":"10 mx.example.net.","host":"mx.example.net","preference":10}]}`, string(text))
}

func TestTruncatedAnswerComesByTCP(t *testing.T) {
	whole := zone("example.net. 60 TXT long")
	cut := func(r *dns.Msg) { r.Truncated, r.Answer = true, nil }
	s := serve(t, func(ask *dns.Msg, network string) *dns.Msg {
		r := whole(ask, network)
		if network == "udp" {
			cut(r)
		}
		return r
	})
	r, _ := resolver(t, rules(t), s.address)
	a := lookup(t, r, "example.net", "TXT")
	assert.Equal(t, "tcp", a.Network)
	assert.Len(t, a.Records, 1)
	assert.Equal(t, []string{"udp TXT example.net.", "tcp TXT example.net."}, s.questions())
}

func TestAbsence(t *testing.T) {
	soa := "example.net. 900 SOA ns.example.net. post.example.net. 1 2 3 4 60"
	tests := []struct {
		name    string
		rcode   int
		records []string
		want    string
	}{
		{"no such name", dns.RcodeNameError, nil, "NXDOMAIN"},
		{"no such record", dns.RcodeSuccess, nil, "NOERROR"},
		{"alias to nothing", dns.RcodeNameError, []string{"mx.example.net. 600 CNAME gone.example.net."}, "NXDOMAIN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, reply(func(r *dns.Msg) {
				r.Rcode = tt.rcode
				record, err := dns.NewRR(soa)
				if err == nil {
					r.Ns = append(r.Ns, record)
				}
			}, tt.records...))
			r, c := resolver(t, rules(t), s.address)
			a := lookup(t, r, "mx.example.net", "A")
			assert.Equal(t, tt.want, a.RCode)
			assert.Len(t, a.Records, len(tt.records))
			c.pass(59 * time.Second)
			assert.True(t, lookup(t, r, "mx.example.net", "A").Cached, "kept as long as the SOA's minimum says")
			c.pass(time.Second)
			assert.False(t, lookup(t, r, "mx.example.net", "A").Cached)
		})
	}
	t.Run("without SOA it is not kept", func(t *testing.T) {
		s := serve(t, reply(func(r *dns.Msg) { r.Rcode = dns.RcodeNameError }))
		r, _ := resolver(t, rules(t), s.address)
		lookup(t, r, "mx.example.net", "A")
		assert.False(t, lookup(t, r, "mx.example.net", "A").Cached)
		assert.Len(t, s.questions(), 2)
	})
}

func TestFailureIsAnAnswer(t *testing.T) {
	s := serve(t, reply(func(r *dns.Msg) {
		r.Rcode = dns.RcodeServerFailure
		r.SetEdns0(udpSize, false)
		r.IsEdns0().Option = append(r.IsEdns0().Option,
			&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "no signature"}, &dns.EDNS0_EDE{InfoCode: 4711})
	}))
	r, c := resolver(t, rules(t), s.address)
	a := lookup(t, r, "example.net", "MX")
	assert.Equal(t, "SERVFAIL", a.RCode)
	assert.Equal(t, []string{"DNSSEC Bogus: no signature", "extended error 4711"}, a.Notes)
	assert.Empty(t, a.Records)
	assert.True(t, lookup(t, r, "example.net", "MX").Cached)
	c.pass(failureTTL)
	assert.False(t, lookup(t, r, "example.net", "MX").Cached)
	assert.Len(t, s.questions(), 2, "a failure that was told is not asked for again at once")
}

func TestNextServer(t *testing.T) {
	good := serve(t, zone("mx.example.net. 60 A 192.0.1.25"))
	bad := serve(t, reply(func(r *dns.Msg) { r.Rcode = dns.RcodeRefused }))
	packets, listener := bind(t)
	closed := packets.LocalAddr().String()
	packets.Close()
	listener.Close()
	r, _ := resolver(t, rules(t), closed, bad.address, good.address)
	assert.Equal(t, "NOERROR", lookup(t, r, "mx.example.net", "A").RCode)
	r, _ = resolver(t, rules(t), closed, bad.address)
	assert.Equal(t, "REFUSED", lookup(t, r, "mx.example.net", "A").RCode)
	r, _ = resolver(t, rules(t), closed)
	e := failed(t, r, "mx.example.net", "A")
	assert.Equal(t, tunnel.CodeNoRoute, e.Code)
	assert.Contains(t, e.Message, "--resolver")
}

func TestSilentServer(t *testing.T) {
	s := serve(t, func(*dns.Msg, string) *dns.Msg { return nil })
	r, _ := resolver(t, rules(t), s.address)
	r.tryTimeout = 30 * time.Millisecond
	e := failed(t, r, "mx.example.net", "A")
	assert.Equal(t, tunnel.CodeTimeout, e.Code)
	assert.Contains(t, e.Message, "no resolver of this proxy answered in time")
	require.Eventually(t, func() bool { return len(s.questions()) == rounds }, 5*time.Second, time.Millisecond)

	r.tryTimeout, r.answers.limit = time.Minute, 30*time.Millisecond
	assert.Equal(t, tunnel.CodeTimeout, failed(t, r, "mx.example.net", "A").Code, "one deadline for all")
}

func TestLostDatagramIsAskedAgain(t *testing.T) {
	answer := zone("mx.example.net. 60 A 192.0.1.25")
	var count atomic.Int32
	s := serve(t, func(ask *dns.Msg, network string) *dns.Msg {
		if count.Add(1) == 1 {
			return nil
		}
		return answer(ask, network)
	})
	r, _ := resolver(t, rules(t), s.address)
	r.tryTimeout = 500 * time.Millisecond
	assert.Len(t, lookup(t, r, "mx.example.net", "A").Records, 1)
}

// A caller that leaves neither waits on nor takes the answer from the others.
func TestCallerLeaves(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	answer := zone("mx.example.net. 60 A 192.0.1.25")
	s := serve(t, func(ask *dns.Msg, network string) *dns.Msg {
		close(arrived)
		<-release
		return answer(ask, network)
	})
	r, _ := resolver(t, rules(t), s.address)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := r.Lookup(ctx, "mx.example.net", "A")
		left <- err
	}()
	<-arrived
	cancel()
	require.ErrorContains(t, <-left, "called off")
	close(release)
	assert.Len(t, lookup(t, r, "mx.example.net", "A").Records, 1)
	assert.Len(t, s.questions(), 1, "asked once for both")
}

func TestAliases(t *testing.T) {
	chain := []string{
		"mx.example.net. 60 CNAME a.example.com.", "A.example.com. 30 CNAME b.example.com.", "b.example.com. 90 A 192.0.1.25",
	}
	s := serve(t, zone(chain...))
	r, c := resolver(t, rules(t), s.address)
	a := lookup(t, r, "mx.example.net", "A")
	require.Len(t, a.Records, 3)
	assert.Equal(t, Record{Name: "mx.example.net", Type: "CNAME", TTL: 60, Data: "a.example.com.", Host: "a.example.com"}, a.Records[0])
	assert.Equal(t, "b.example.com", a.Records[2].Name)
	assert.Equal(t, "192.0.1.25", a.Records[2].Address)
	c.pass(30 * time.Second)
	assert.False(t, lookup(t, r, "mx.example.net", "A").Cached, "the shortest TTL of the chain counts")

	circle := serve(t, zone("a.example.net. 60 CNAME b.example.net.", "b.example.net. 60 CNAME a.example.net."))
	r, _ = resolver(t, rules(t), circle.address)
	assert.LessOrEqual(t, len(lookup(t, r, "a.example.net", "A").Records), maxAliases)
}

// What a private DNS says is not to be read through the proxy.
func TestPrivateAnswers(t *testing.T) {
	addresses := []string{"mx.example.net. 60 A 10.0.0.1", "mx.example.net. 60 A 192.0.1.25"}
	mapped := []string{"mx.example.net. 60 AAAA ::ffff:10.0.0.1", "mx.example.net. 60 AAAA fd00::1", "mx.example.net. 60 AAAA 64:ff9b::a00:1"}
	alias := []string{"mx.example.net. 60 CNAME db.corp.internal.", `db.corp.internal. 60 TXT "secret"`}
	reverse := []string{"25.1.0.192.in-addr.arpa. 60 CNAME 1.0.0.10.in-addr.arpa.", "1.0.0.10.in-addr.arpa. 60 PTR secret.example.net."}
	tests := []struct {
		name, ask, recordType string
		rules                 *policy.Policy
		zone                  []string
		told                  []string
		withheld              int
	}{
		{"private addresses", "mx.example.net", "A", rules(t), addresses, []string{"192.0.1.25"}, 1},
		{"in IPv6 dress", "mx.example.net", "AAAA", rules(t), mapped, nil, 3},
		{"below a wildcard", "mx.example.net", "A", rules(t, "*.example.net:25"), addresses, []string{"192.0.1.25"}, 1},
		{"of a host that the operator named", "mx.example.net", "A", rules(t, "mx.example.net:25"), addresses, []string{"10.0.0.1", "192.0.1.25"}, 0},
		{"behind an alias", "mx.example.net", "TXT", rules(t), alias, []string{"db.corp.internal."}, 1},
		{"behind an alias that was opened", "mx.example.net", "TXT", rules(t, "mx.example.net:25", "*.corp.internal:25"), alias, []string{"db.corp.internal.", `"secret"`}, 0},
		{"names of private addresses", "192.0.1.25", "PTR", rules(t), reverse, []string{"1.0.0.10.in-addr.arpa."}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, zone(tt.zone...))
			r, _ := resolver(t, tt.rules, s.address)
			a := lookup(t, r, tt.ask, tt.recordType)
			var told []string
			for _, record := range a.Records {
				told = append(told, record.Data)
			}
			assert.Equal(t, tt.told, told)
			assert.Equal(t, tt.withheld, a.Withheld)
		})
	}
	t.Run("whether a private name exists", func(t *testing.T) {
		s := serve(t, reply(func(r *dns.Msg) { r.Rcode = dns.RcodeNameError }, alias[0]))
		r, _ := resolver(t, rules(t), s.address)
		a := lookup(t, r, "mx.example.net", "TXT")
		assert.Equal(t, "NOERROR", a.RCode)
		assert.Equal(t, 1, a.Withheld)
	})
}

func TestDeniedQuestionsAreNotSent(t *testing.T) {
	s := serve(t, zone())
	public, _ := resolver(t, rules(t), s.address)
	only, _ := resolver(t, rules(t, "mx.example.net:25"), s.address)
	for _, tt := range []struct {
		r                *Resolver
		name, recordType string
		code             tunnel.Code
		says             string
	}{
		{public, "db.internal", "A", tunnel.CodeDenied, "special-use-name"},
		{public, "localhost", "A", tunnel.CodeDenied, "special-use-name"},
		{public, "intranet", "MX", tunnel.CodeDenied, "special-use-name"},
		{public, "1.0.0.10.in-addr.arpa", "TXT", tunnel.CodeDenied, "reverse-name"},
		{public, "10.0.0.1", "PTR", tunnel.CodeDenied, "special-address"},
		{public, "::ffff:127.0.0.1", "PTR", tunnel.CodeDenied, "special-address"},
		{public, "fe80::1%lo", "PTR", tunnel.CodeBadRequest, "not an address"},
		{public, "example.net", "PTR", tunnel.CodeBadRequest, "not an address"},
		{public, "192.0.1.1", "A", tunnel.CodeBadRequest, "Only PTR is asked by address"},
		{public, "example.net", "ANY", tunnel.CodeBadRequest, "Use A, AAAA, MX, PTR, TLSA or TXT."},
		{public, "example.net", "AXFR", tunnel.CodeBadRequest, "Use A"},
		{public, "example.net", "", tunnel.CodeBadRequest, "Use A"},
		{public, "", "A", tunnel.CodeBadRequest, "missing"},
		{public, "a b.example.net", "A", tunnel.CodeBadRequest, "cannot be a name"},
		{public, strings.Repeat("a", 70) + ".net", "A", tunnel.CodeBadRequest, "63 characters"},
		{only, "example.net", "MX", tunnel.CodeDenied, "--allow example.net:25"},
		{New(Config{Policy: policy.New(policy.Config{})}), "example.net", "MX", tunnel.CodeDenied, "no-questions"},
	} {
		e := failed(t, tt.r, tt.name, tt.recordType)
		assert.Equal(t, tt.code, e.Code, "%s %s", tt.name, tt.recordType)
		assert.Contains(t, e.Message, tt.says)
		assert.LessOrEqual(t, len(e.Message), 400)
	}
	assert.Empty(t, s.questions())
}

func TestCache(t *testing.T) {
	s := serve(t, zone("mx.example.net. 100 A 192.0.1.25", "mx.example.net. 40 A 192.0.1.26"))
	r, c := resolver(t, rules(t), s.address)
	fresh := lookup(t, r, "mx.example.net", "A")
	c.pass(39*time.Second + 900*time.Millisecond)
	kept := lookup(t, r, "MX.example.net.", "a")
	assert.True(t, kept.Cached)
	assert.Equal(t, 39*time.Second+900*time.Millisecond, kept.Age)
	assert.EqualValues(t, 61, kept.Records[0].TTL)
	assert.EqualValues(t, 1, kept.Records[1].TTL)
	assert.Equal(t, fresh.Took, kept.Took)
	assert.EqualValues(t, 100, fresh.Records[0].TTL, "an answer that was given out does not change")
	lookup(t, r, "mx.example.net", "AAAA")
	assert.Len(t, s.questions(), 2, "the type is a part of the question")
	c.pass(100 * time.Millisecond)
	assert.False(t, lookup(t, r, "mx.example.net", "A").Cached)
}

func TestLifetime(t *testing.T) {
	for _, tt := range []struct {
		ttl  uint32
		keep time.Duration
	}{{0, 0}, {5, 5 * time.Second}, {1 << 31, 0}, {1<<31 - 1, maxTTL}} {
		s := serve(t, zone(fmt.Sprintf("mx.example.net. %d A 192.0.1.25", tt.ttl)))
		r, c := resolver(t, rules(t), s.address)
		lookup(t, r, "mx.example.net", "A")
		if tt.keep > 0 {
			c.pass(tt.keep - 1)
			assert.True(t, lookup(t, r, "mx.example.net", "A").Cached, "TTL %d", tt.ttl)
			c.pass(1)
		}
		assert.False(t, lookup(t, r, "mx.example.net", "A").Cached, "TTL %d", tt.ttl)
	}
}

func TestCacheIsBounded(t *testing.T) {
	s := serve(t, reply(func(r *dns.Msg) {
		record, _ := dns.NewRR(r.Question[0].Name + " 60 A 192.0.1.25")
		r.Answer = []dns.RR{record}
	}))
	r, c := resolver(t, rules(t), s.address)
	for i := range maxAnswers + 50 {
		lookup(t, r, fmt.Sprintf("h%d.example.net", i), "A")
	}
	assert.LessOrEqual(t, len(r.answers.entries), maxAnswers)
	c.pass(time.Minute)
	lookup(t, r, "mx.example.net", "A")
	assert.Len(t, r.answers.entries, 1, "what has expired goes first")
}

func TestAtOnceIsBounded(t *testing.T) {
	release := make(chan struct{})
	answer := zone()
	s := serve(t, func(ask *dns.Msg, network string) *dns.Msg {
		<-release
		return answer(ask, network)
	})
	r, _ := resolver(t, rules(t), s.address)
	r.tryTimeout, r.answers.limit = time.Minute, time.Minute
	var wg sync.WaitGroup
	for i := range maxAtOnce {
		wg.Go(func() {
			_, err := r.Lookup(t.Context(), fmt.Sprintf("h%d.example.net", i), "A")
			assert.NoError(t, err)
		})
	}
	require.Eventually(t, func() bool { return len(r.answers.slots) == maxAtOnce }, 5*time.Second, time.Millisecond)
	e := failed(t, r, "one.more.example.net", "A")
	assert.Equal(t, tunnel.CodeTooMany, e.Code)
	assert.Positive(t, e.RetryAfter)
	_, err := r.MTASTS(t.Context(), "example.net")
	require.ErrorContains(t, err, "as many as this proxy makes")
	close(release)
	wg.Wait()
	require.Eventually(t, func() bool { return len(r.answers.slots) == 0 }, 5*time.Second, time.Millisecond)
	lookup(t, r, "one.more.example.net", "A")
}

// What does not answer the question is passed over, as is what is no message.
func TestForgeries(t *testing.T) {
	packets, listener := bind(t)
	defer listener.Close()
	defer packets.Close()
	go func() {
		buffer := make([]byte, 2048)
		n, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		ask := new(dns.Msg)
		if ask.Unpack(buffer[:n]) != nil {
			return
		}
		forged := func(change func(m *dns.Msg)) []byte {
			m := zone("mx.example.net. 60 A 192.0.1.66")(ask, "udp")
			change(m)
			wire, _ := m.Pack()
			return wire
		}
		honest := forged(func(m *dns.Msg) { m.Answer[0].(*dns.A).A = net.IPv4(192, 0, 1, 25) })
		cut := forged(func(*dns.Msg) {})
		for _, wire := range [][]byte{
			{}, {1, 2, 3}, make([]byte, 12), cut[:len(cut)-3],
			forged(func(m *dns.Msg) { m.Id++ }),
			forged(func(m *dns.Msg) { m.Response = false }),
			forged(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
			forged(func(m *dns.Msg) { m.Question = nil }),
			forged(func(m *dns.Msg) { m.Question[0].Name = "mx.example.com." }),
			forged(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }),
			forged(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
			honest,
		} {
			_, _ = packets.WriteTo(wire, from)
		}
	}()
	r, _ := resolver(t, rules(t), packets.LocalAddr().String())
	a := lookup(t, r, "mx.example.net", "A")
	require.Len(t, a.Records, 1)
	assert.Equal(t, "192.0.1.25", a.Records[0].Address)
}

func TestHostileAnswers(t *testing.T) {
	t.Run("records that nobody asked for", func(t *testing.T) {
		s := serve(t, zone("mx.example.com. 60 A 192.0.1.66", "mx.example.net. 60 TXT x", "mx.example.net. 60 CH A 192.0.1.67", "mx.example.net. 60 A 192.0.1.25"))
		r, _ := resolver(t, rules(t), s.address)
		a := lookup(t, r, "mx.example.net", "A")
		require.Len(t, a.Records, 1)
		assert.Equal(t, "192.0.1.25", a.Records[0].Address)
	})
	t.Run("very many", func(t *testing.T) {
		var lines []string
		for i := range 500 {
			lines = append(lines, fmt.Sprintf("mx.example.net. 60 A 192.0.1.%d", i%256))
		}
		s := serve(t, cutOverUDP(zone(lines...)))
		r, _ := resolver(t, rules(t), s.address)
		a := lookup(t, r, "mx.example.net", "A")
		assert.Len(t, a.Records, maxRecords)
		assert.Equal(t, 500-maxRecords, a.Omitted)
	})
	t.Run("very long", func(t *testing.T) {
		var lines []string
		for i := range 60 {
			lines = append(lines, fmt.Sprintf(`example.net. 60 TXT "%d%s" "%s"`, i, strings.Repeat("a", 250), strings.Repeat("b", 255)))
		}
		s := serve(t, cutOverUDP(zone(lines...)))
		r, _ := resolver(t, rules(t), s.address)
		a := lookup(t, r, "example.net", "TXT")
		text, err := json.Marshal(a)
		require.NoError(t, err)
		assert.Less(t, len(text), 2*maxText)
		assert.Equal(t, 60, len(a.Records)+a.Omitted)
		assert.Positive(t, a.Omitted)
	})
	t.Run("control characters", func(t *testing.T) {
		s := serve(t, reply(func(m *dns.Msg) {
			m.Answer = []dns.RR{
				&dns.MX{Hdr: dns.RR_Header{Name: "example.net.", Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 60}, Preference: 1, Mx: `\027[2J\010.example.net.`},
			}
		}))
		r, _ := resolver(t, rules(t), s.address)
		a := lookup(t, r, "example.net", "MX")
		require.Len(t, a.Records, 1)
		assert.Equal(t, `\027[2j\010.example.net`, a.Records[0].Host)
		assert.Equal(t, `1 \027[2J\010.example.net.`, a.Records[0].Data)
	})
	t.Run("another code", func(t *testing.T) {
		s := serve(t, reply(func(m *dns.Msg) { m.Rcode = 13 }))
		r, _ := resolver(t, rules(t), s.address)
		assert.Equal(t, "RCODE13", lookup(t, r, "example.net", "MX").RCode)
	})
	t.Run("nonsense by TCP", func(t *testing.T) {
		s := serve(t, func(ask *dns.Msg, network string) *dns.Msg {
			m := zone()(ask, network)
			m.Truncated = network == "udp"
			if network == "tcp" {
				m.Id++
			}
			return m
		})
		r, _ := resolver(t, rules(t), s.address)
		assert.Equal(t, tunnel.CodeNoRoute, failed(t, r, "example.net", "MX").Code)
	})
}

// cutOverUDP has the answer come by TCP.
func cutOverUDP(answer script) script {
	return func(ask *dns.Msg, network string) *dns.Msg {
		m := answer(ask, network)
		if network == "udp" {
			m.Truncated, m.Answer = true, nil
		}
		return m
	}
}

func TestSystemServers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	require.NoError(t, os.WriteFile(file, []byte("nameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver 192.0.2.54\nnameserver 192.0.2.55\n"), 0o600))
	servers, err := serversIn(file)
	require.NoError(t, err)
	assert.Equal(t, []string{"192.0.2.53:53", "[2001:db8::53]:53", "192.0.2.54:53"}, servers)

	require.NoError(t, os.WriteFile(file, []byte("search example.net\n"), 0o600))
	for _, name := range []string{file, filepath.Join(t.TempDir(), "missing")} {
		_, err = serversIn(name)
		require.ErrorContains(t, err, "--resolver")
	}
}

func TestNamedServer(t *testing.T) {
	s := serve(t, zone("mx.example.net. 60 A 192.0.1.25"))
	r := New(Config{Policy: rules(t), Server: netip.MustParseAddrPort(s.address)})
	assert.Len(t, lookup(t, r, "mx.example.net", "A").Records, 1)
}
