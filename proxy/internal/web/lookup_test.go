package web

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/lookup"
	"smtpscope/proxy/internal/policy"
	"smtpscope/proxy/internal/quota"
)

// withLookup is a server that may look up public names, at a DNS server which
// says of all of them that their mail server is mx.example.net.
func withLookup(t *testing.T, origins ...string) Config {
	t.Helper()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	ready, done := make(chan struct{}), make(chan error, 1)
	d := &dns.Server{PacketConn: packets, NotifyStartedFunc: func() { close(ready) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, ask *dns.Msg) {
		m := new(dns.Msg).SetReply(ask)
		record, err := dns.NewRR(ask.Question[0].Name + " 60 MX 10 mx.example.net.")
		assert.NoError(t, err)
		m.Answer = append(m.Answer, record)
		assert.NoError(t, w.WriteMsg(m))
	})}
	go func() { done <- d.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		assert.NoError(t, d.Shutdown())
		assert.NoError(t, <-done)
	})
	cfg := testConfig(origins...)
	cfg.Lookup = lookup.New(lookup.Config{
		Policy: policy.New(policy.Config{Public: true}),
		Server: netip.MustParseAddrPort(packets.LocalAddr().String()),
	})
	return cfg
}

func denial(t *testing.T, res *http.Response) tunnel.Error {
	t.Helper()
	var e tunnel.Error
	require.NoError(t, json.Unmarshal([]byte(body(t, res)), &e))
	return e
}

func TestLookup(t *testing.T) {
	cfg := withLookup(t)
	res := get(t, cfg, "/api/v1/lookup?name=example.net&type=MX")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
	assert.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
	var a lookup.Answer
	require.NoError(t, json.Unmarshal([]byte(body(t, res)), &a))
	require.Len(t, a.Records, 1)
	assert.Equal(t, "mx.example.net", a.Records[0].Host)
	assert.Contains(t, body(t, get(t, cfg, "/api/v1/config")), `"lookup":true`)
}

func TestLookupRefusals(t *testing.T) {
	cfg := withLookup(t)
	tests := []struct {
		target string
		status int
		code   tunnel.Code
		rule   string
	}{
		{"/api/v1/lookup", http.StatusBadRequest, tunnel.CodeBadRequest, ""},
		{"/api/v1/lookup?name=example.net&type=ANY", http.StatusBadRequest, tunnel.CodeBadRequest, ""},
		{"/api/v1/lookup?name=db.internal&type=A", http.StatusForbidden, tunnel.CodeDenied, policy.RuleSpecialUseName},
		{"/api/v1/mta-sts", http.StatusBadRequest, tunnel.CodeBadRequest, ""},
		{"/api/v1/mta-sts?domain=db.internal", http.StatusForbidden, tunnel.CodeDenied, policy.RuleSpecialUseName},
	}
	for _, tt := range tests {
		res := get(t, cfg, tt.target)
		assert.Equal(t, tt.status, res.StatusCode, tt.target)
		assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
		e := denial(t, res)
		assert.Equal(t, tt.code, e.Code, tt.target)
		assert.Equal(t, tt.rule, e.Rule, tt.target)
		assert.NotEmpty(t, e.Message)
	}
	assert.Equal(t, http.StatusMethodNotAllowed, get(t, cfg, "/api/v1/lookup?name=example.net&type=MX", method(http.MethodPost)).StatusCode)
	assert.Equal(t, http.StatusMisdirectedRequest, get(t, cfg, "/api/v1/lookup?name=example.net&type=MX", host("evil.example")).StatusCode)
}

func TestLookupIsOff(t *testing.T) {
	for _, target := range []string{"/api/v1/lookup?name=example.net&type=MX", "/api/v1/mta-sts?domain=example.net"} {
		res := get(t, testConfig(), target)
		assert.Equal(t, http.StatusNotFound, res.StatusCode)
		assert.Contains(t, body(t, res), "--allow or --public")
	}
}

// Pages of other sites can send requests here, and must not have this server ask
// for them.
func TestLookupOfOtherSites(t *testing.T) {
	cfg := withLookup(t, "https://docs.example")
	tests := []struct {
		name, origin, site string
		status             int
	}{
		{"a program", "", "", http.StatusOK},
		{"this page", "", "same-origin", http.StatusOK},
		{"typed into the browser", "", "none", http.StatusOK},
		{"this page, with Origin", "http://127.0.0.1:8025", "same-origin", http.StatusOK},
		{"a named page", "https://docs.example", "cross-site", http.StatusOK},
		{"another page", "https://evil.example", "cross-site", http.StatusForbidden},
		{"another page, by an image", "", "cross-site", http.StatusForbidden},
		{"another port of this host", "", "same-site", http.StatusForbidden},
		{"a sandboxed page", "null", "cross-site", http.StatusForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := get(t, cfg, "/api/v1/lookup?name=example.net&type=MX", func(r *http.Request) {
				if tt.origin != "" {
					r.Header.Set("Origin", tt.origin)
				}
				if tt.site != "" {
					r.Header.Set("Sec-Fetch-Site", tt.site)
				}
			})
			require.Equal(t, tt.status, res.StatusCode)
			if tt.status != http.StatusOK {
				assert.Equal(t, "origin", denial(t, res).Rule)
			}
		})
	}
}

func TestLookupQuota(t *testing.T) {
	cfg := withLookup(t)
	var asked []string
	cfg.AdmitQuestion = func(remote string) (*quota.Tunnel, *tunnel.Error) {
		if asked = append(asked, remote); len(asked) > 1 {
			return nil, &tunnel.Error{Code: tunnel.CodeQuota, Rule: "client-rate", Message: "Not so much.", RetryAfter: 7}
		}
		return nil, nil
	}
	from := func(r *http.Request) { r.RemoteAddr = "192.0.2.7:1234" }
	assert.Equal(t, http.StatusOK, get(t, cfg, "/api/v1/lookup?name=example.net&type=MX", from).StatusCode)
	for _, target := range []string{"/api/v1/lookup?name=example.net&type=MX", "/api/v1/mta-sts?domain=example.net"} {
		res := get(t, cfg, target, from)
		assert.Equal(t, http.StatusTooManyRequests, res.StatusCode)
		assert.Equal(t, "7", res.Header.Get("Retry-After"))
		e := denial(t, res)
		assert.Equal(t, tunnel.CodeQuota, e.Code)
		assert.Equal(t, "client-rate", e.Rule)
	}
	assert.Equal(t, []string{"192.0.2.7:1234", "192.0.2.7:1234", "192.0.2.7:1234"}, asked)
}
