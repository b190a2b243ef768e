package policy

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

func TestAdmitQuestion(t *testing.T) {
	public := Config{Public: true}
	allow := Config{Allow: targets(t, "mx.example.net:25", "*.example.org:25", "relay.lan:25", "192.168.1.10:25", "localhost:25")}
	tests := []struct {
		name, ask string
		config    Config
		code      tunnel.Code
		rule      string
	}{
		{"public name", "Example.NET.", public, "", ""},
		{"underscores", "_25._tcp.mx.example.net", public, "", ""},
		{"public, no dot", "intranet", public, tunnel.CodeDenied, RuleSpecialUseName},
		{"public, special", "db.corp.internal", public, tunnel.CodeDenied, RuleSpecialUseName},
		{"public, localhost", "localhost", public, tunnel.CodeDenied, RuleSpecialUseName},
		{"public, reverse by name", "1.0.0.10.in-addr.arpa", public, tunnel.CodeDenied, RuleReverseName},
		{"public, address", "192.0.1.1", public, tunnel.CodeBadRequest, ""},
		{"public, number", "0x7f.1", public, tunnel.CodeBadRequest, ""},
		{"public, empty", "", public, tunnel.CodeBadRequest, ""},
		{"public, NUL", "a\x00.example.net", public, tunnel.CodeBadRequest, ""},
		{"allowed name", "MX.example.net", allow, "", ""},
		{"below an allowed name", "_25._tcp.mx.example.net", allow, "", ""},
		{"above an allowed name", "example.net", allow, tunnel.CodeDenied, RuleNotAllowed},
		{"beside an allowed name", "amx.example.net", allow, tunnel.CodeDenied, RuleNotAllowed},
		{"below a wildcard", "mx1.example.org", allow, "", ""},
		{"domain of a wildcard", "example.org", allow, "", ""},
		{"allowed private name", "relay.lan", allow, "", ""},
		{"localhost although allowed", "localhost", allow, tunnel.CodeDenied, RuleSpecialUseName},
		{"another name", "example.com", allow, tunnel.CodeDenied, RuleNotAllowed},
		{"practice only", "example.com", Config{}, tunnel.CodeDenied, RuleNoQuestions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, err := New(tt.config).AdmitQuestion(tt.ask)
			if tt.code == "" {
				require.NoError(t, err)
				assert.Regexp(t, `^[a-z0-9_.-]+[a-z]$`, name)
				return
			}
			var e *tunnel.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tt.code, e.Code)
			assert.Equal(t, tt.rule, e.Rule)
			assert.Contains(t, e.Message, tt.rule)
			assert.Empty(t, name)
		})
	}
}

func TestAdmitReverse(t *testing.T) {
	public, allow := New(Config{Public: true}), New(Config{Allow: targets(t, "mx.example.net:25", "192.168.1.10:25")})
	for _, address := range []string{"192.0.1.1", "2001:4860::25"} {
		require.NoError(t, public.AdmitReverse(netip.MustParseAddr(address)))
		require.NoError(t, allow.AdmitReverse(netip.MustParseAddr(address)))
		require.ErrorContains(t, New(Config{}).AdmitReverse(netip.MustParseAddr(address)), RuleNoQuestions)
	}
	require.NoError(t, allow.AdmitReverse(netip.MustParseAddr("192.168.1.10")))
	for _, address := range []string{"192.168.1.11", "127.0.0.1", "::ffff:10.0.0.1", "169.254.169.254", "fd00::1", "64:ff9b::a00:1"} {
		require.ErrorContains(t, public.AdmitReverse(netip.MustParseAddr(address)), RuleSpecialAddress)
		require.ErrorContains(t, allow.AdmitReverse(netip.MustParseAddr(address)), RuleSpecialAddress)
	}
}

func TestWhatAnswersAreTold(t *testing.T) {
	p := New(Config{Public: true, Allow: targets(t, "relay.lan:25", "*.corp.internal:25", "10.0.0.9:25")})
	inner, outer := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.1.1")
	assert.True(t, p.TellsAddress("mx.example.net", outer))
	assert.False(t, p.TellsAddress("mx.example.net", inner))
	assert.False(t, p.TellsAddress("mx.corp.internal", inner), "a wildcard trusts nobody")
	assert.False(t, p.TellsAddress("mx.example.net", netip.MustParseAddr("::ffff:10.0.0.1")))
	assert.True(t, p.TellsAddress("relay.lan", inner))

	for name, told := range map[string]bool{
		"mx.hoster.example.com": true, "db.internal": false, "mx.corp.internal": true, "intranet": false,
		"1.1.0.192.in-addr.arpa": true, "1.0/25.1.0.192.in-addr.arpa": true, "1.0.0.10.in-addr.arpa": false, "9.0.0.10.in-addr.arpa": true,
		"x.0/25.0.0.10.in-addr.arpa": false, "10.in-addr.arpa": false, "168.192.in-addr.arpa": false,
		"d.f.ip6.arpa": false, "0.6.8.4.1.0.0.2.ip6.arpa": true,
	} {
		assert.Equal(t, told, p.TellsName(name), name)
	}

	assert.False(t, p.TellsResolver(inner))
	assert.True(t, p.TellsResolver(outer))
	assert.True(t, New(Config{Allow: targets(t, "relay.lan:25")}).TellsResolver(inner))
}

func TestDialPublic(t *testing.T) {
	listener, accepted := listen(t)
	w := &world{stand: map[string]netip.AddrPort{"192.0.1.1:443": listener, "127.0.0.1:443": listener, "10.0.0.1:443": listener}}
	p := w.policy(Config{Allow: targets(t, "inner.example.net:443", "10.0.0.1:443", "127.0.0.1:443"), Resolver: &answers{names: map[string][][]string{
		"mta-sts.example.net": always("10.0.0.1", "192.0.1.1"), "inner.example.net": always("10.0.0.1"),
	}}})
	conn, err := p.DialPublic(context.Background(), "tcp", "mta-sts.example.net:443")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	assert.Equal(t, []string{"192.0.1.1:443"}, w.dialed)
	for _, target := range []string{"inner.example.net:443", "127.0.0.1:443", "[::1]:443", "10.0.0.1:443", "nowhere.example.net:443", "no-port", "127.1:443", "mx.example.net:x"} {
		_, err := p.DialPublic(context.Background(), "tcp", target)
		require.Error(t, err, target)
	}
	assert.Len(t, w.dialed, 1)
	require.Eventually(t, func() bool { return accepted() == 1 }, 5*time.Second, time.Millisecond)
}
