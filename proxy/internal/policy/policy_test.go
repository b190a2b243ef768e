package policy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

// answers is a resolver that gives each look-up of a name the next answer, and
// the last one again and again.
type answers struct {
	mu    sync.Mutex
	names map[string][][]string
	asked []string
	err   error
}

func (r *answers) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, name)
	if r.err != nil {
		return nil, r.err
	}
	list, ok := r.names[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if len(list) > 1 {
		r.names[name] = list[1:]
	}
	var out []netip.Addr
	for _, text := range list[0] {
		out = append(out, netip.MustParseAddr(text))
	}
	return out, nil
}

func always(addresses ...string) [][]string { return [][]string{addresses} }

// listen accepts connections on loopback and counts them.
func listen(t *testing.T) (netip.AddrPort, func() int) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	count := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			count++
			mu.Unlock()
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().(*net.TCPAddr).AddrPort(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// closedPort is a loopback port on which nothing listens.
func closedPort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func targets(t *testing.T, entries ...string) []Target {
	t.Helper()
	var out []Target
	for _, e := range entries {
		target, err := ParseTarget(e)
		require.NoError(t, err)
		out = append(out, target)
	}
	return out
}

type outcome struct {
	conn     net.Conn
	err      *tunnel.Error
	statuses []tunnel.Status
}

func (o outcome) stages() string {
	var s []string
	for _, status := range o.statuses {
		s = append(s, string(status.Stage))
	}
	return strings.Join(s, " ")
}

func dial(t *testing.T, p *Policy, host string, port int) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var o outcome
	conn, err := p.Dial(ctx, tunnel.Open{Host: host, Port: port}, func(s tunnel.Status) { o.statuses = append(o.statuses, s) })
	if err != nil {
		require.ErrorAs(t, err, &o.err, "every error is one for the tunnel")
		require.Nil(t, conn)
		return o
	}
	o.conn = conn
	t.Cleanup(func() { conn.Close() })
	return o
}

// world replaces the network beyond loopback: after Control has judged the
// address, the connection is made to the listener that stands in for it. What
// it saw judged is what would have been dialed.
type world struct {
	mu     sync.Mutex
	stand  map[string]netip.AddrPort // address that is dialed -> listener
	fail   map[string]error
	hang   map[string]bool
	dialed []string
}

func (w *world) dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	if err := d.Control(network, address, nil); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	to, ok := w.stand[address]
	err, hang := w.fail[address], w.hang[address]
	w.mu.Unlock()
	switch {
	case hang:
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("test dialed %s, which stands for nothing", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, to.String())
}

func (w *world) policy(cfg Config) *Policy {
	p := New(cfg)
	p.dial = w.dial
	return p
}

func TestPractice(t *testing.T) {
	listener, accepted := listen(t)
	p := New(Config{
		PracticeHost: "mail.practice.test",
		Practice:     map[int]netip.AddrPort{25: listener, 587: listener},
		Resolver:     &answers{err: errors.New("the practice host must not be looked up")},
	})
	for _, host := range []string{"mail.practice.test", "Mail.Practice.Test", "mail.practice.test."} {
		o := dial(t, p, host, 25)
		require.NotNil(t, o.conn, "%v", o.err)
		require.Equal(t, "dialing opened", o.stages())
		opened := o.statuses[1]
		assert.Equal(t, "mail.practice.test", opened.Host)
		assert.Equal(t, 25, opened.Port)
		assert.Equal(t, listener.String(), opened.Address)
		assert.Equal(t, o.conn.LocalAddr().String(), opened.Local)
		assert.Positive(t, opened.Connect)
		assert.Less(t, opened.Connect, 5*time.Second)
	}
	require.Eventually(t, func() bool { return accepted() == 3 }, 5*time.Second, time.Millisecond)

	o := dial(t, p, "mail.practice.test", 2525)
	assert.Equal(t, tunnel.CodeDenied, o.err.Code)
	assert.Equal(t, RulePracticePort, o.err.Rule)
	assert.Contains(t, o.err.Message, "Use port 25 or 587.")

	off := New(Config{PracticeHost: "mail.practice.test"})
	o = dial(t, off, "mail.practice.test", 25)
	assert.Equal(t, RulePracticeOff, o.err.Rule)
}

// The practice listeners are reachable by the practice name only.
func TestPracticeIsTheOnlyLoopbackTarget(t *testing.T) {
	listener, accepted := listen(t)
	port := int(listener.Port())
	resolver := &answers{names: map[string][][]string{
		"localhost": always("127.0.0.1"), "evil.example.net": always("127.0.0.1", "::1", "::ffff:127.0.0.1"),
	}}
	configs := map[string]Config{
		"nothing":      {},
		"public":       {Public: true},
		"other allows": {Allow: targets(t, "mx.example.org:25", "evil.example.net:25,"+fmt.Sprint(port), "*.example.net:"+fmt.Sprint(port))},
		"wildcard and the address": {Allow: targets(t, "*.example.net:"+fmt.Sprint(port),
			"127.0.0.2:"+fmt.Sprint(port), "127.0.0.1:1")},
	}
	for name, cfg := range configs {
		cfg.Resolver = resolver
		cfg.PracticeHost, cfg.Practice = "mail.practice.test", map[int]netip.AddrPort{25: listener}
		for _, host := range []string{"127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1", "0.0.0.0", "evil.example.net", "64:ff9b::7f00:1"} {
			for _, p := range []int{port, 25} {
				o := dial(t, New(cfg), host, p)
				require.NotNil(t, o.err, "%s: %s:%d was dialed", name, host, p)
				assert.Equal(t, tunnel.CodeDenied, o.err.Code, "%s: %s:%d: %s", name, host, p, o.err)
				assert.NotContains(t, o.stages(), "dialing")
			}
		}
	}
	assert.Zero(t, accepted())
}

func TestAllowedAddress(t *testing.T) {
	listener, _ := listen(t)
	p := New(Config{Allow: targets(t, listener.String()), Resolver: &answers{}})
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1"} {
		o := dial(t, p, host, int(listener.Port()))
		require.NotNil(t, o.conn, "%v", o.err)
		assert.Equal(t, "dialing opened", o.stages())
		assert.Equal(t, listener.String(), o.statuses[1].Address)
		assert.Equal(t, "127.0.0.1", o.statuses[1].Host)
	}
	o := dial(t, p, "127.0.0.1", 25)
	assert.Equal(t, RulePort, o.err.Rule)
	o = dial(t, p, "127.0.0.2", int(listener.Port()))
	assert.Equal(t, RuleNotAllowed, o.err.Rule)
}

func TestAllowedName(t *testing.T) {
	listener, accepted := listen(t)
	port := int(listener.Port())
	resolver := &answers{names: map[string][][]string{
		"mx.example.net": always("127.0.0.1"), "localhost": always("::1", "127.0.0.1"), "app.localhost": always("10.0.0.1"),
	}}
	nameOnly := New(Config{Allow: targets(t, fmt.Sprintf("mx.example.net:%d", port)), Resolver: resolver})
	o := dial(t, nameOnly, "mx.example.net", port)
	require.NotNil(t, o.err, "a name alone must not lead to loopback")
	assert.Equal(t, "loopback", o.err.Rule)
	assert.Equal(t, fmt.Sprintf("mx.example.net has the address 127.0.0.1. That is a special address (loopback, RFC 1122, 3.2.1.3), "+
		"which rule loopback denies. If that is meant, the operator of this proxy can permit it with --allow 127.0.0.1:%d.", port), o.err.Message)
	assert.Equal(t, "resolving addresses", o.stages())
	assert.Equal(t, []string{"127.0.0.1"}, o.statuses[1].Addresses)
	assert.Zero(t, accepted())

	both := New(Config{Allow: targets(t, fmt.Sprintf("mx.example.net:%d", port), fmt.Sprintf("127.0.0.1:%d", port)), Resolver: resolver})
	o = dial(t, both, "MX.example.net", port)
	require.NotNil(t, o.conn, "%v", o.err)
	assert.Equal(t, "resolving addresses dialing opened", o.stages())
	assert.Equal(t, "mx.example.net", o.statuses[0].Host)
	assert.Positive(t, o.statuses[1].Resolve)

	otherPort := New(Config{Allow: targets(t, fmt.Sprintf("mx.example.net:%d", port), "127.0.0.1:25"), Resolver: resolver})
	o = dial(t, otherPort, "mx.example.net", port)
	require.NotNil(t, o.err, "the address is allowed with another port only")
	assert.Equal(t, "loopback", o.err.Rule)

	local := New(Config{Allow: targets(t, fmt.Sprintf("localhost:%d", port), fmt.Sprintf("app.localhost:%d", port)), Resolver: resolver})
	o = dial(t, local, "localhost", port)
	require.NotNil(t, o.conn, "%v", o.err)
	assert.Equal(t, listener.String(), o.statuses[len(o.statuses)-1].Address, "nothing listens on ::1, so the next address counts")
	o = dial(t, local, "app.localhost", port)
	require.NotNil(t, o.err, "localhost stands for loopback, not for every special address")
	assert.Equal(t, "private", o.err.Rule)
}

func TestNeverAllowed(t *testing.T) {
	p := New(Config{
		Allow:    targets(t, "mx.example.net:25", "169.254.0.1:25"),
		Public:   true,
		Resolver: &answers{names: map[string][][]string{"mx.example.net": always("169.254.169.254", "::ffff:169.254.169.254", "fe80::1%lo", "0.0.0.0", "::", "ff02::1")}},
	})
	o := dial(t, p, "mx.example.net", 25)
	assert.Equal(t, tunnel.CodeDenied, o.err.Code)
	assert.Equal(t, "metadata", o.err.Rule)
	assert.Contains(t, o.err.Message, "No setting of this proxy permits it.")
	assert.Equal(t, "resolving addresses", o.stages())
}

func TestDeniedBeforeLookup(t *testing.T) {
	resolver := &answers{err: errors.New("must not be asked")}
	practice := map[int]netip.AddrPort{25: netip.MustParseAddrPort("127.0.0.1:1")}
	tests := []struct {
		name, host string
		port       int
		config     Config
		rule, says string
	}{
		{"nothing but practice", "mx.example.net", 25, Config{Practice: practice}, RulePracticeOnly, "dials its practice server mail.practice.test only, not mx.example.net (rule practice-only). The operator can permit it with --allow mx.example.net:25."},
		{"nothing at all", "mx.example.net", 25, Config{}, RuleNotAllowed, "dials nothing at all"},
		{"another host", "mx.example.com", 25, Config{Allow: targets(t, "mx.example.net:25")}, RuleNotAllowed, "--allow mx.example.com:25"},
		{"another port", "mx.example.net", 465, Config{Allow: targets(t, "mx.example.net:25,587", "*.example.net:25")}, RulePort, "on port 25 or 587 only, not on 465"},
		{"public, another port", "mx.example.com", 80, Config{Public: true}, RulePort, "on port 25, 465, 587 or 2525 only, not on 80"},
		{"public, address, another port", "2001:4860:4860::8888", 53, Config{Public: true}, RulePort, "--allow [2001:4860:4860::8888]:53"},
		{"public, no dot", "intranet", 25, Config{Public: true}, RuleSpecialUseName, "has no dot"},
		{"public, localhost", "localhost", 25, Config{Public: true}, RuleSpecialUseName, "no dot"},
		{"public, mDNS", "printer.local", 25, Config{Public: true}, RuleSpecialUseName, "RFC 6762"},
		{"public, internal", "db.corp.internal", 25, Config{Public: true}, RuleSpecialUseName, "not in the public DNS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.Resolver, tt.config.PracticeHost = resolver, "mail.practice.test"
			o := dial(t, New(tt.config), tt.host, tt.port)
			require.NotNil(t, o.err)
			assert.Equal(t, tunnel.CodeDenied, o.err.Code)
			assert.Equal(t, tt.rule, o.err.Rule)
			assert.Contains(t, o.err.Message, tt.says)
			assert.Empty(t, o.statuses)
		})
	}
	assert.Empty(t, resolver.asked)
}

func TestBadRequests(t *testing.T) {
	p := New(Config{Public: true, Resolver: &answers{err: errors.New("must not be asked")}})
	for _, host := range []string{
		"", ".", "a..b", "mx.example.net\x00", "mx.example.net\r\n", "user@mx.example.net", "smtp://mx.example.net", "mx.example.net:25",
		"[::1]", "fe80::1%lo", "::1%lo", "127.1", "0x7f.1", "2130706433", "017700000001", "127.0.0.01", "1.2.3.4.5", "mx.example.net/x", "bücher.example",
		"mx%2eexample.net", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 200) + "example", "-a.example", "a b.example", "*.example.net",
	} {
		o := dial(t, p, host, 25)
		require.NotNil(t, o.err, "%q", host)
		assert.Equal(t, tunnel.CodeBadRequest, o.err.Code, "%q: %s", host, o.err)
		assert.LessOrEqual(t, len(o.err.Message), 400)
	}
	for _, port := range []int{-1, 0, 65536, 1 << 30} {
		o := dial(t, p, "mx.example.net", port)
		assert.Equal(t, tunnel.CodeBadRequest, o.err.Code)
		assert.Contains(t, o.err.Message, "from 1 to 65535")
	}
}

func TestPublic(t *testing.T) {
	listener, _ := listen(t)
	w := &world{stand: map[string]netip.AddrPort{"192.0.1.1:25": listener, "[2001:4860::25]:587": listener}}
	resolver := &answers{names: map[string][][]string{
		"mx.example.net":  always("192.0.1.1"),
		"mx6.example.net": always("10.0.0.1", "2001:4860::25", "127.0.0.1"),
		"in.example.net":  always("10.0.0.1", "fd00::1"),
	}}
	p := w.policy(Config{Public: true, Resolver: resolver})

	o := dial(t, p, "mx.example.net", 25)
	require.NotNil(t, o.conn, "%v", o.err)
	assert.Equal(t, "resolving addresses dialing opened", o.stages())
	assert.Equal(t, "192.0.1.1:25", o.statuses[2].Address)

	o = dial(t, p, "mx6.example.net", 587)
	require.NotNil(t, o.conn, "%v", o.err)
	assert.Equal(t, []string{"2001:4860::25"}, o.statuses[1].Addresses, "private answers are not told")
	assert.Equal(t, []string{"192.0.1.1:25", "[2001:4860::25]:587"}, w.dialed, "denied addresses are skipped")

	o = dial(t, p, "in.example.net", 25)
	require.NotNil(t, o.err)
	assert.Equal(t, "private", o.err.Rule)
	assert.NotContains(t, o.err.Message, "10.0.0.1", "a private DNS must not be read through the proxy")
	assert.Empty(t, o.statuses[1].Addresses)

	o = dial(t, p, "192.0.1.1", 25)
	require.NotNil(t, o.conn, "%v", o.err)
	for _, host := range []string{"10.0.0.1", "127.0.0.1", "169.254.169.254", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1"} {
		o = dial(t, p, host, 25)
		require.NotNil(t, o.err, host)
		assert.Equal(t, tunnel.CodeDenied, o.err.Code, host)
		assert.NotEmpty(t, o.err.Rule)
	}
	assert.Len(t, w.dialed, 3)
}

// An address that an --allow entry opens stays closed to wildcards and --public.
func TestWildcardNeverReachesSpecialAddresses(t *testing.T) {
	listener, accepted := listen(t)
	port := int(listener.Port())
	resolver := &answers{names: map[string][][]string{"mx.example.org": always("127.0.0.1"), "mx.example.com": always("127.0.0.1")}}
	p := New(Config{Allow: targets(t, fmt.Sprintf("*.example.org:%d", port), listener.String(), "127.0.0.1:25"), Public: true, Resolver: resolver})
	for host, port := range map[string]int{"mx.example.org": port, "mx.example.com": 25} {
		o := dial(t, p, host, port)
		require.NotNil(t, o.err, host)
		assert.Equal(t, "loopback", o.err.Rule)
		assert.Contains(t, o.err.Message, "Only public addresses may be reached this way.")
	}
	assert.Zero(t, accepted())
}

// A name that is public when looked at and loopback when dialed.
func TestRebinding(t *testing.T) {
	listener, accepted := listen(t)
	port := 2525
	w := &world{stand: map[string]netip.AddrPort{"192.0.1.1:2525": listener, "127.0.0.1:2525": listener}}
	resolver := &answers{names: map[string][][]string{"rebind.example.net": {{"192.0.1.1"}, {"127.0.0.1"}}}}
	p := w.policy(Config{Public: true, Resolver: resolver})

	o := dial(t, p, "rebind.example.net", port)
	require.NotNil(t, o.conn, "%v", o.err)
	assert.Equal(t, []string{"rebind.example.net"}, resolver.asked, "one look-up for one connection")
	assert.Equal(t, []string{"192.0.1.1:2525"}, w.dialed)

	o = dial(t, p, "rebind.example.net", port)
	require.NotNil(t, o.err, "the second answer is loopback")
	assert.Equal(t, "loopback", o.err.Rule)
	assert.Len(t, w.dialed, 1)

	// And if the system were to dial something else than it was told to:
	honest := p.dial
	p.dial = func(ctx context.Context, d *net.Dialer, network, _ string) (net.Conn, error) {
		return honest(ctx, d, network, "127.0.0.1:2525")
	}
	resolver.names["rebind.example.net"] = always("192.0.1.1")
	o = dial(t, p, "rebind.example.net", port)
	require.NotNil(t, o.err, "the judgement is on what is dialed")
	assert.Equal(t, "loopback", o.err.Rule)
	assert.Len(t, w.dialed, 1)

	p.dial = func(ctx context.Context, d *net.Dialer, network, _ string) (net.Conn, error) {
		return honest(ctx, d, network, "/run/mail.sock")
	}
	o = dial(t, p, "rebind.example.net", port)
	require.NotNil(t, o.err)
	assert.Equal(t, RuleUnjudgedAddress, o.err.Rule)
	require.Eventually(t, func() bool { return accepted() == 1 }, 5*time.Second, time.Millisecond)
}

func TestOrderOfAddresses(t *testing.T) {
	var found []netip.Addr
	for _, text := range []string{"2001:4860::1", "2001:4860::2", "2001:4860::3", "192.0.1.1", "::ffff:192.0.1.1", "192.0.1.2"} {
		found = append(found, netip.MustParseAddr(text))
	}
	var order []string
	for _, address := range interleave(found) {
		order = append(order, address.String())
	}
	assert.Equal(t, []string{"2001:4860::1", "192.0.1.1", "2001:4860::2", "192.0.1.2", "2001:4860::3"}, order)
}

func TestNextAddressAfterFailure(t *testing.T) {
	listener, _ := listen(t)
	w := &world{
		stand: map[string]netip.AddrPort{"192.0.1.2:25": listener},
		fail: map[string]error{
			"192.0.1.1:25":      &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
			"[2001:4860::1]:25": &net.OpError{Op: "dial", Err: errors.New("no route")},
		},
	}
	p := w.policy(Config{Public: true, Resolver: &answers{names: map[string][][]string{
		"mx.example.net": always("192.0.1.1", "192.0.1.2", "2001:4860::1"),
	}}})
	o := dial(t, p, "mx.example.net", 25)
	require.NotNil(t, o.conn, "%v", o.err)
	assert.Equal(t, []string{"192.0.1.1:25", "[2001:4860::1]:25", "192.0.1.2:25"}, w.dialed)
	assert.Equal(t, "resolving addresses dialing failed dialing failed dialing opened", o.stages())
}

func TestTriesAreBounded(t *testing.T) {
	w := &world{fail: map[string]error{}}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("192.0.1.%d", i))
		w.fail[fmt.Sprintf("192.0.1.%d:25", i)] = errors.New("unreachable")
	}
	p := w.policy(Config{Public: true, Resolver: &answers{names: map[string][][]string{"mx.example.net": always(many...)}}})
	o := dial(t, p, "mx.example.net", 25)
	require.NotNil(t, o.err)
	assert.Len(t, w.dialed, maxTries)
	assert.Len(t, o.statuses[1].Addresses, tunnel.MaxAddresses)
}

func TestFailures(t *testing.T) {
	port := closedPort(t)
	refused := fmt.Sprintf("127.0.0.1:%d", port)
	t.Run("refused", func(t *testing.T) {
		o := dial(t, New(Config{Allow: targets(t, refused)}), "127.0.0.1", port)
		require.NotNil(t, o.err)
		assert.Equal(t, tunnel.CodeRefused, o.err.Code)
		assert.Empty(t, o.err.Rule)
	})
	t.Run("refused counts more than denied and unroutable", func(t *testing.T) {
		p := New(Config{Allow: targets(t, refused, fmt.Sprintf("mx.example.net:%d", port)), Resolver: &answers{names: map[string][][]string{
			"mx.example.net": always("10.0.0.1", "127.0.0.1"),
		}}})
		o := dial(t, p, "mx.example.net", port)
		require.NotNil(t, o.err)
		assert.Equal(t, tunnel.CodeRefused, o.err.Code)
	})
	t.Run("name not found", func(t *testing.T) {
		o := dial(t, New(Config{Public: true, Resolver: &answers{}}), "nowhere.example.net", 25)
		require.NotNil(t, o.err)
		assert.Equal(t, tunnel.CodeNameNotFound, o.err.Code)
		assert.Contains(t, o.err.Message, "nowhere.example.net")
		assert.Equal(t, "resolving", o.stages())
	})
	t.Run("name without address", func(t *testing.T) {
		p := New(Config{Public: true, Resolver: &answers{names: map[string][][]string{"empty.example.net": always()}}})
		o := dial(t, p, "empty.example.net", 25)
		require.NotNil(t, o.err)
		assert.Equal(t, tunnel.CodeNameNotFound, o.err.Code)
	})
	t.Run("look-up takes too long", func(t *testing.T) {
		p := New(Config{Public: true, Resolver: silent{}})
		p.resolveTimeout = 20 * time.Millisecond
		o := dial(t, p, "slow.example.net", 25)
		require.NotNil(t, o.err)
		assert.Equal(t, tunnel.CodeTimeout, o.err.Code)
		assert.Contains(t, o.err.Message, "Looking up slow.example.net took too long")
	})
	t.Run("no answer to the SYN", func(t *testing.T) {
		w := &world{hang: map[string]bool{"192.0.1.1:25": true, "192.0.1.2:25": true}}
		p := w.policy(Config{Public: true, Resolver: &answers{names: map[string][][]string{"mx.example.net": always("192.0.1.1", "192.0.1.2")}}})
		p.connectTimeout = 40 * time.Millisecond
		o := dial(t, p, "mx.example.net", 25)
		require.NotNil(t, o.err)
		assert.Equal(t, tunnel.CodeTimeout, o.err.Code)
		assert.NotEmpty(t, w.dialed)
	})
	t.Run("called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := New(Config{Allow: targets(t, refused)}).Dial(ctx, tunnel.Open{Host: "127.0.0.1", Port: port}, func(tunnel.Status) {})
		var e *tunnel.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, tunnel.CodeShutdown, e.Code)
	})
}

// silent never answers.
type silent struct{}

func (silent) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// What is reported must fit into the frames that carry it.
func TestReportsFitTheTunnel(t *testing.T) {
	listener, _ := listen(t)
	long := strings.Repeat(strings.Repeat("a", 59)+".", 4) + "example.net"
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("2001:4860:1111:2222:3333:4444:5555:%x", i+0x1000))
	}
	w := &world{stand: map[string]netip.AddrPort{"[2001:4860:1111:2222:3333:4444:5555:1000]:25": listener}}
	p := w.policy(Config{Public: true, Resolver: &answers{names: map[string][][]string{long: always(many...)}}})
	opened := func() *tunnel.Half {
		open, err := tunnel.NewPage().AppendOpen(nil, tunnel.Open{Host: long, Port: 25})
		require.NoError(t, err)
		proxy := tunnel.NewProxy()
		_, err = proxy.Receive(open)
		require.NoError(t, err)
		return proxy
	}
	o := dial(t, p, long, 25)
	require.NotNil(t, o.conn, "%v", o.err)
	require.Equal(t, "resolving addresses dialing opened", o.stages())
	proxy := opened()
	for _, status := range o.statuses {
		_, err := proxy.AppendStatus(nil, status)
		assert.NoError(t, err, status.Stage)
	}
	o = dial(t, New(Config{Allow: targets(t, "mx.example.net:25")}), long, 25)
	require.NotNil(t, o.err)
	_, err := opened().AppendError(nil, o.err)
	assert.NoError(t, err)
	assert.Contains(t, o.err.Message, "--allow "+long+":25")
}

// Counting comes after judging: what is denied is not counted, and what is counted is
// the address that is dialed.
func TestReach(t *testing.T) {
	type note struct{}
	ctx := context.WithValue(t.Context(), note{}, "a page")
	const first, second, inner = "8.8.8.8", "8.8.4.4", "10.0.0.1"
	listener, _ := listen(t)
	full := &tunnel.Error{Code: tunnel.CodeQuota, Message: "Not so soon.", RetryAfter: 7}
	for _, tt := range []struct {
		name    string
		found   []string
		full    map[string]bool
		reached string
		dialed  int
		code    tunnel.Code
	}{
		{"counted as dialed", []string{first}, nil, "8.8.8.8:25", 1, ""},
		{"full, so not dialed", []string{first}, map[string]bool{first: true}, "8.8.8.8:25", 0, tunnel.CodeQuota},
		{"the next address has room", []string{first, second}, map[string]bool{first: true}, "8.8.8.8:25 8.8.4.4:25", 1, ""},
		{"denied, so not counted", []string{inner}, nil, "", 0, tunnel.CodeDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var reached []string
			w := &world{stand: map[string]netip.AddrPort{first + ":25": listener, second + ":25": listener}}
			p := w.policy(Config{Public: true, Resolver: &answers{names: map[string][][]string{"mx.example.com": always(tt.found...)}}, Reach: func(ctx context.Context, address netip.AddrPort) (func(), *tunnel.Error) {
				assert.Equal(t, "a page", ctx.Value(note{}))
				reached = append(reached, address.String())
				if tt.full[address.Addr().String()] {
					return nil, full
				}
				return nil, nil
			}})
			conn, err := p.Dial(ctx, tunnel.Open{Host: "mx.example.com", Port: 25}, func(tunnel.Status) {})
			assert.Equal(t, tt.reached, strings.Join(reached, " "))
			assert.Len(t, w.dialed, tt.dialed)
			if tt.code == "" {
				require.NoError(t, err)
				assert.NoError(t, conn.Close())
				return
			}
			var e *tunnel.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tt.code, e.Code)
		})
	}
}

func TestPracticeIsKnownByName(t *testing.T) {
	p := New(Config{PracticeHost: "mail.practice.test"})
	assert.True(t, p.Practice("MAIL.practice.test."))
	for _, host := range []string{"", "mail.practice.test.example.net", "x.mail.practice.test", "127.0.0.1", "mail.practice.test\x00"} {
		assert.False(t, p.Practice(host), host)
	}
	assert.False(t, New(Config{}).Practice(""))
}

func TestLive(t *testing.T) {
	assert.Equal(t, Live{Allow: []string{}}, New(Config{}).Live())
	p := New(Config{Public: true, Allow: targets(t, "mx.example.net:587,25", "[::1]:25")})
	assert.Equal(t, Live{Public: true, Allow: []string{"mx.example.net:25,587", "[::1]:25"}}, p.Live())
}
