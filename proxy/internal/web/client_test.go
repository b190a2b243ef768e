package web

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func proxies(t *testing.T, texts ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, text := range texts {
		p, err := ParseProxy(text)
		require.NoError(t, err)
		out = append(out, p)
	}
	return out
}

func TestClientAddress(t *testing.T) {
	trusted := proxies(t, "10.0.0.0/8", "2001:db8:1::/48")
	tests := []struct {
		name      string
		peer      string
		forwarded []string
		want      string
	}{
		{"no proxy", "203.0.113.7:4711", nil, "203.0.113.7"},
		{"IPv4 in IPv6", "[::ffff:203.0.113.7]:4711", nil, "203.0.113.7"},
		{"a client that pretends", "203.0.113.7:4711", []string{"192.0.2.1"}, "203.0.113.7"},
		{"one proxy", "10.0.0.1:80", []string{"203.0.113.7"}, "203.0.113.7"},
		{"one proxy, by IPv4 in IPv6", "[::ffff:10.0.0.1]:80", []string{"203.0.113.7"}, "203.0.113.7"},
		{"a proxy, and a client that pretends", "10.0.0.1:80", []string{"192.0.2.1, 10.9.9.9, 203.0.113.7"}, "203.0.113.7"},
		{"two proxies", "10.0.0.1:80", []string{"192.0.2.1, 203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{"header lines are one list", "10.0.0.1:80", []string{"192.0.2.1", "203.0.113.7", "10.0.0.2"}, "203.0.113.7"},
		{"an untrusted proxy is the client", "10.0.0.1:80", []string{"203.0.113.7, 198.51.100.9"}, "198.51.100.9"},
		{"IPv6", "[2001:db8:1::1]:80", []string{"2001:db8:2::7"}, "2001:db8:2::7"},
		{"with ports", "10.0.0.1:80", []string{"203.0.113.7:4711, [2001:db8:1::2]:80"}, "203.0.113.7"},
		{"in brackets", "10.0.0.1:80", []string{"[2001:db8:2::7]"}, "2001:db8:2::7"},
		{"with a zone", "10.0.0.1:80", []string{"fe80::1%eth0"}, "fe80::1"},
		{"a proxy that says nothing", "10.0.0.1:80", nil, "10.0.0.1"},
		{"a proxy that says nonsense", "10.0.0.1:80", []string{"192.0.2.1, unknown"}, "10.0.0.1"},
		{"a second proxy that says nonsense", "10.0.0.1:80", []string{"192.0.2.1, , 10.0.0.2"}, "10.0.0.2"},
		{"only proxies", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Proxies = trusted
			var seen string
			cfg.Tunnel = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.RemoteAddr })
			get(t, cfg, "/tunnel", func(r *http.Request) {
				r.RemoteAddr = tt.peer
				r.Header["X-Forwarded-For"] = tt.forwarded
			})
			address, err := netip.ParseAddrPort(seen)
			require.NoError(t, err)
			assert.Equal(t, tt.want, address.Addr().Unmap().String())
		})
	}
}

func TestForwardedForIsNotBelievedByDefault(t *testing.T) {
	cfg := testConfig()
	var log strings.Builder
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	var seen []string
	cfg.Tunnel = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.RemoteAddr) })
	s, err := New(cfg)
	require.NoError(t, err)
	for range 2 {
		ask(s, "/tunnel", header("X-Forwarded-For", "203.0.113.7"), func(r *http.Request) { r.RemoteAddr = "127.0.0.1:4711" })
	}
	assert.Equal(t, []string{"127.0.0.1:4711", "127.0.0.1:4711"}, seen)
	assert.Equal(t, 1, strings.Count(log.String(), "--trusted-proxy"), "the operator is told once: %s", log.String())
}

func TestParseProxy(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::1/128", "2001:db8::/32": "2001:db8::/32",
	} {
		p, err := ParseProxy(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, p.String())
	}
	for text, says := range map[string]string{
		"":                    "as in 10.0.0.0/8",
		"proxy.example":       "as in 10.0.0.0/8",
		"10.0.0.1/33":         "as in 10.0.0.0/8",
		"fe80::1%eth0":        "as in 10.0.0.0/8",
		"10.0.0.1/8":          "write 10.0.0.0/8",
		"0.0.0.0/0":           "everybody",
		"::/0":                "everybody",
		"::ffff:10.0.0.0/104": "as such",
	} {
		_, err := ParseProxy(text)
		assert.ErrorContains(t, err, says, text)
	}
}

func FuzzClient(f *testing.F) {
	f.Add("10.0.0.1:80", "203.0.113.7, 10.0.0.2")
	f.Add("203.0.113.7:1", "[::1]:2,,unknown")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", forwarded)
		address, _ := client(r, trusted)
		if known, err := netip.ParseAddrPort(peer); err == nil && !trusted[0].Contains(known.Addr().Unmap()) {
			assert.Equal(t, known.Addr().Unmap().WithZone(""), address, "a peer that is no proxy is the client")
		}
	})
}
