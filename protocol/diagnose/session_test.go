package diagnose_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/diagnose"
	smtpsession "smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// serve plays the server's side of a dialogue: a step is what it says, after it
// has read a line where that begins with ">", or after a handshake where it is "TLS".
// It closes at the end.
func serve(t *testing.T, config *tls.Config, steps ...string) smtpsession.Dialer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { conn.Close() }()
		r := bufio.NewReader(conn)
		for _, step := range steps {
			if step == "TLS" {
				secure := tls.Server(conn, config)
				if secure.Handshake() != nil {
					io.Copy(io.Discard, conn) // the client says why, and goes
					return
				}
				conn, r = secure, bufio.NewReader(secure)
				continue
			}
			answer, reads := strings.CutPrefix(step, ">")
			if reads {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
			io.WriteString(conn, answer)
		}
	}()
	return func(ctx context.Context, _ smtpsession.Target, _ func(tunnel.Status)) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
}

// selfSigned is a server's certificate of its own making.
func selfSigned(t *testing.T, versions uint16) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.net"}, DNSNames: []string{"mx.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS10, MaxVersion: versions}
}

// The traces of real sessions have what the rules look for.
func TestRealSessions(t *testing.T) {
	const (
		hi      = "220 mx.example.net ESMTP\r\n"
		offers  = "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n"
		message = "Subject: x\r\n\r\nx\r\n"
	)
	for _, c := range []struct {
		name     string
		security string
		data     string
		config   *tls.Config
		steps    []string
		want     []string
		text     string // of the first
	}{
		{name: "nothing to remark upon", security: "none", data: message,
			steps: []string{hi, ">" + offers, ">250 2.1.0 ok\r\n", ">250 2.1.5 ok\r\n", ">354 go\r\n", ">", ">", ">", ">250 2.0.0 ok\r\n", ">221 2.0.0 bye\r\n"}},
		{name: "bytes before TLS", security: "starttls", steps: []string{hi, ">" + offers, ">220 2.0.0 go\r\n250 injected\r\n"},
			want: []string{"error plaintext-after-220"}, text: `More came in the clear behind the answer to STARTTLS: "250 injected\x0d\x0a".`},
		{name: "a greeting for TLS", security: "tls", steps: []string{hi},
			want: []string{"error wrong-tls-mode"}, text: `TLS was begun, and the server answered in the clear: "220 mx.example.net ESMTP".`},
		{name: "TLS for a greeting", security: "none", steps: []string{"\x15\x03\x03\x00\x02\x02\x0a"},
			want: []string{"error wrong-tls-mode"}, text: "The server sent a TLS record where a reply was expected."},
		{name: "a reply too many", security: "none", data: message, steps: []string{hi, ">" + offers + "250 2.0.0 ok\r\n", ">"},
			want: []string{"error early-talker"}, text: `The server sent "250 2.0.0 ok", which nothing had asked for.`},
		{name: "no reply", security: "none", steps: []string{"SSH-2.0-OpenSSH_9.2\r\n"},
			want: []string{"error malformed-reply"}, text: "The session ended because of what the server sent: a reply starts with a code of three digits from 200 to 599 (RFC 5321, 4.2), but this came: SSH-2.0-OpenSSH_9.2."},
		{name: "hangs up", security: "none", data: message, steps: []string{hi, ">" + offers, ">"},
			want: []string{"error closed-without-quit"}, text: "The connection was closed when MAIL FROM:<ada@example.org> SIZE=17 was to be answered, and no 421 said why."},
		{name: "too large", security: "none", data: "\r\n" + strings.Repeat("x", 1000), steps: []string{hi, ">" + offers, ">221 2.0.0 bye\r\n"},
			want: []string{"error size-below-message"}, text: "The message has 1004 octets and the server takes at most 1000 (SIZE, RFC 1870). It was not sent."},
		{name: "self-signed", security: "starttls", config: selfSigned(t, tls.VersionTLS13), steps: []string{hi, ">" + offers, ">220 2.0.0 go\r\n", "TLS"},
			want: []string{"error cert-untrusted"}, text: "The certificate of CN=mx.example.net is signed by itself."},
		{name: "TLS 1.0", security: "starttls", config: selfSigned(t, tls.VersionTLS10), steps: []string{hi, ">" + offers, ">220 2.0.0 go\r\n", "TLS"},
			want: []string{"error weak-tls"}, text: "Too weak by now: no TLS 1.2 or 1.3."},
		{name: "put off and hung up upon", security: "none", data: message, steps: []string{hi, ">" + offers, ">250 2.1.0 ok\r\n", ">451 4.7.1 later\r\n", ">"},
			want: []string{"note greylisting-likely", "note closed-without-quit"}, text: `RCPT was put off: "451 4.7.1 later".`},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := map[string]any{"target": map[string]any{"mode": "live", "host": "mx.example.net", "port": 587}, "security": c.security, "ehlo": "page.example"}
			if c.data != "" {
				plan["messages"] = []any{map[string]any{"from": "ada@example.org", "to": []string{"grace@example.net"}, "data": c.data}}
			}
			b, err := json.Marshal(plan)
			require.NoError(t, err)
			p, err := smtpsession.ParsePlan(b)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			tr := smtpsession.New(smtpsession.Config{Plan: p, Dial: serve(t, c.config, c.steps...), Tool: "smtpscope/test"}).Run(ctx)
			require.NoError(t, ctx.Err(), "the session hung")

			assert.Equal(t, tr.Findings, diagnose.Findings(tr))
			require.Equal(t, c.want, ids(tr.Findings), "%+v", tr.Findings)
			if c.want != nil {
				assert.Equal(t, c.text, tr.Findings[0].Text)
			}
			for _, f := range tr.Findings {
				for _, n := range f.Events {
					assert.NotEqual(t, trace.LayerTunnel, tr.Events[n].Layer)
				}
			}
		})
	}
}
