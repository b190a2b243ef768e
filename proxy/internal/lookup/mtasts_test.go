package lookup

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/policy"
)

const goodPolicy = "version: STSv1\r\nmode: enforce\r\nmx: MX.example.net\r\nmx: *.mail.example.net\r\nmax_age: 604800\r\n"

// webServer is one that has a certificate for name, and a resolver
// that reaches it whatever host it dials.
func webServer(t *testing.T, name string, handler http.HandlerFunc) (*Resolver, *[]string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	server.StartTLS()
	t.Cleanup(server.Close)

	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	r := New(Config{Policy: rules(t), Roots: roots})
	var dialed []string
	r.dialPublic = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed = append(dialed, address)
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	return r, &dialed
}

// text is a handler that serves the policy.
func text(policy string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(policy))
	}
}

func TestMTASTS(t *testing.T) {
	var asked *http.Request
	r, dialed := webServer(t, "mta-sts.example.net", func(w http.ResponseWriter, q *http.Request) {
		asked = q
		text(goodPolicy)(w, q)
	})
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	r.policies.now = c.Now
	p, err := r.MTASTS(t.Context(), "Example.NET.")
	require.NoError(t, err)
	assert.Positive(t, p.Took)
	p.Took = 0
	assert.Equal(t, &Policy{
		Domain: "example.net", URL: "https://mta-sts.example.net/.well-known/mta-sts.txt", Status: 200, Text: goodPolicy,
		Mode: "enforce", MX: []string{"mx.example.net", "*.mail.example.net"}, MaxAge: 604800,
	}, p)
	assert.Equal(t, []string{"mta-sts.example.net:443"}, *dialed)
	assert.Equal(t, "/.well-known/mta-sts.txt", asked.URL.Path)
	assert.Equal(t, "mta-sts.example.net", asked.Host)
	assert.Empty(t, asked.Header.Get("Cookie"))

	again := func() int {
		_, err := r.MTASTS(t.Context(), "example.net")
		require.NoError(t, err)
		return len(*dialed)
	}
	c.pass(policyTTL - 1)
	assert.Equal(t, 1, again(), "many visitors make one request")
	c.pass(1)
	assert.Equal(t, 2, again())
}

func TestMTASTSProblems(t *testing.T) {
	served := func(change func(http.Header), status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			change(w.Header())
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	plain := func(http.Header) {}
	tests := []struct {
		name, certificate string
		handler           http.HandlerFunc
		says              string
		status            int
	}{
		{"certificate of another name", "www.example.net", text(goodPolicy), "The certificate of mta-sts.example.net does not hold", 0},
		{"redirect", "", served(func(h http.Header) { h.Set("Location", "https://mta-sts.example.net/other") }, 301, ""), "redirects are not followed", 301},
		{"not found", "", served(plain, 404, "no"), "HTTP status 404", 404},
		{"another type", "", served(func(h http.Header) { h.Set("Content-Type", "text/html") }, 200, goodPolicy), `comes as "text/html"`, 200},
		{"no type", "", served(func(h http.Header) { h["Content-Type"] = nil }, 200, goodPolicy), `comes as ""`, 200},
		{"too long", "", text(goodPolicy + strings.Repeat("x: y\r\n", maxPolicy/6)), "longer than 65536 bytes", 200},
		{"breaks off", "", served(func(h http.Header) { h.Set("Content-Length", "1000") }, 200, goodPolicy), "The policy broke off", 200},
		{"version", "", text(strings.Replace(goodPolicy, "STSv1", "STSv2", 1)), `The version is "STSv2"`, 200},
		{"empty", "", text(""), `The version is ""`, 200},
		{"mode", "", text(strings.Replace(goodPolicy, "enforce", "ENFORCE", 1)), `The mode is "ENFORCE"`, 200},
		{"max_age", "", text(strings.Replace(goodPolicy, "604800", "a week", 1)), `max_age is "a week"`, 200},
		{"no mx", "", text("version: STSv1\nmode: testing\nmax_age: 1\n"), "names no mail server", 200},
		{"very many mx", "", text(goodPolicy + strings.Repeat("mx: a.example\n", maxMX)), "more than 200 mail servers", 200},
		{"no field", "", text(goodPolicy + "<html>\n"), `no field: "<html>"`, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.certificate == "" {
				tt.certificate = "mta-sts.example.net"
			}
			r, dialed := webServer(t, tt.certificate, tt.handler)
			p, err := r.MTASTS(t.Context(), "example.net")
			require.NoError(t, err)
			assert.Contains(t, p.Problem, tt.says)
			assert.Empty(t, p.Mode)
			assert.Empty(t, p.MX)
			assert.Equal(t, tt.status, p.Status)
			assert.LessOrEqual(t, len(p.Text), maxPolicy)
			assert.Len(t, *dialed, 1)
		})
	}
}

func TestMTASTSLenience(t *testing.T) {
	r, _ := webServer(t, "mta-sts.example.net", text("max_age:99999999999\nmode : none\nmode: enforce\n\nfuture: thing\nversion:  STSv1"))
	p, err := r.MTASTS(t.Context(), "example.net")
	require.NoError(t, err)
	assert.Empty(t, p.Problem)
	assert.Equal(t, "none", p.Mode)
	assert.Equal(t, maxAge, p.MaxAge)
}

func TestPoliciesKeptAreBounded(t *testing.T) {
	r, _ := webServer(t, "mta-sts.example.net", text(goodPolicy))
	for i := range maxPolicies + 10 {
		p, err := r.MTASTS(t.Context(), fmt.Sprintf("d%d.example.net", i))
		require.NoError(t, err)
		assert.NotEmpty(t, p.Problem, "the certificate is another host's")
	}
	assert.LessOrEqual(t, len(r.policies.entries), maxPolicies)
}

func TestMTASTSTimeout(t *testing.T) {
	r, _ := webServer(t, "mta-sts.example.net", nil)
	r.dialPublic = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return nil, context.DeadlineExceeded
	}
	p, err := r.MTASTS(t.Context(), "example.net")
	require.NoError(t, err)
	assert.Equal(t, "mta-sts.example.net did not hand out the policy within 10s.", p.Problem)
}

// The host is judged as everything that is dialed; nothing here opens a way to
// the network inside.
func TestMTASTSReachesPublicAddressesOnly(t *testing.T) {
	s := serve(t, zone())
	r, _ := resolver(t, policy.New(policy.Config{Public: true, Resolver: inner{}}), s.address)
	p, err := r.MTASTS(t.Context(), "example.net")
	require.NoError(t, err)
	assert.Contains(t, p.Problem, "rule private")
	assert.NotContains(t, p.Problem, "10.0.0.1")
	assert.Zero(t, p.Status)

	for _, domain := range []string{"corp.internal", "localhost", "127.0.0.1", "example.net/..", strings.Repeat("a.", 124) + "net"} {
		_, err := r.MTASTS(t.Context(), domain)
		var e *tunnel.Error
		require.ErrorAs(t, err, &e, domain)
	}
}

// inner is a DNS in which every name has an address in the network inside.
type inner struct{}

func (inner) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
}
