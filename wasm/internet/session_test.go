package internet

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
	"smtpscope/wasm/internet/labtest"
)

// server is go-smtp with a mailbox.
type server struct{ messages []string }

func (s *server) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return mailSession{s}, nil }

type mailSession struct{ *server }

func (mailSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (mailSession) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (mailSession) Reset()                                 {}
func (mailSession) Logout() error                          { return nil }

func (s mailSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		s.messages = append(s.messages, string(b))
		s.server.messages = s.messages
	}
	return err
}

// serve runs go-smtp with the deadlines that a server sets, on the wall clock.
func (s *server) serve(config *tls.Config) func(net.Listener) {
	return func(l net.Listener) {
		g := gosmtp.NewServer(s)
		g.Domain, g.TLSConfig = "mx.mail.example", config
		g.ReadTimeout, g.WriteTimeout = 5*time.Minute, 5*time.Minute
		g.ErrorLog = log.New(io.Discard, "", 0)
		g.Serve(l)
	}
}

// certificate is one that signs itself.
func certificate(t *testing.T, now time.Time) (*tls.Config, string) {
	seed := [ed25519.SeedSize]byte{1}
	key := ed25519.NewKeyFromSeed(seed[:])
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, DNSNames: []string{"mx.mail.example"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, string(text)
}

// run plays a plan against go-smtp in a lab.
func run(t *testing.T, c Config, network, security string, message string) (tr *trace.Trace, got []string) {
	t.Helper()
	config, ca := certificate(t, defaultStart)
	plan, err := session.ParsePlan(trace.Encode(map[string]any{
		"target": map[string]any{"mode": "live", "host": "mail.example", "port": 25}, "security": security, "ehlo": "client.example",
		"tls":      map[string]any{"ca": []string{ca}, "serverName": "mx.mail.example"},
		"messages": []any{map[string]any{"from": "ada@example.org", "to": []string{"bob@mail.example"}, "data": message}},
	}))
	require.NoError(t, err)
	// The first verification of a certificate reads files. Under Node.js that goes
	// on outside of Go, where the lab cannot see that somebody is busy.
	x509.SystemCertPool()
	mail := &server{}
	within(t, c, func(t *testing.T, l *Lab) {
		config.Time = l.Now
		require.NoError(t, l.Host("mx").Serve(network, 25, mail.serve(config)))
		client := l.Host("client")
		s := session.New(session.Config{Plan: plan, Tool: "smtpscope/test", Now: l.Now,
			Dial: func(ctx context.Context, target session.Target, report func(tunnel.Status)) (net.Conn, error) {
				mx, err := client.LookupMX(ctx, target.Host)
				if err != nil {
					return nil, err
				}
				addresses, err := client.LookupA(ctx, mx[0].Host)
				if err != nil {
					return nil, err
				}
				return client.Dial(ctx, network, netip.AddrPortFrom(addresses[0], uint16(target.Port)).String())
			}})
		play(t, l, func() { tr = s.Run(t.Context()) })
	})
	return tr, mail.messages
}

var letter = "Subject: hello\r\n\r\n" + strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 200)

func TestSession(t *testing.T) {
	for _, c := range []struct {
		network, security string
		link              Link
	}{
		{"tcp", "none", Link{Delay: "40ms"}},
		{"tcp", "starttls", Link{Delay: "40ms"}},
		{"tcp", "starttls", Link{Delay: "40ms", Bandwidth: "1Mbit", Loss: 0.05, Reorder: 0.05, Duplicate: 0.05, Corrupt: 0.05, MTU: 576}},
		{"udp", "none", Link{Delay: "40ms"}},
	} {
		name := c.network + " " + c.security + " " + strconv.FormatFloat(c.link.Loss, 'f', -1, 64)
		t.Run(name, func(t *testing.T) {
			tr, got := run(t, config(c.link), c.network, c.security, letter)
			require.NotNil(t, tr.Result)
			assert.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
			assert.Equal(t, []string{letter}, got)
			assert.Greater(t, tr.Result.Elapsed, 8*80*time.Millisecond, "the trace is on the lab's clock")
			assert.Equal(t, defaultStart, tr.Meta.Started)
		})
	}
}

// The session counts the round trips that its packets make.
func TestSessionTakesItsRoundTrips(t *testing.T) {
	for security, want := range map[string]int{
		"none":     2 + 8,  // two look-ups; SYN, greeting, EHLO, MAIL, RCPT, DATA, message, QUIT
		"starttls": 2 + 11, // STARTTLS, TLS 1.3, EHLO again
	} {
		tr, _ := run(t, config(Link{Delay: "40ms"}), "tcp", security, "Subject: short\r\n\r\nHello.\r\n")
		require.Equal(t, trace.Accepted, tr.Result.Outcome)
		assert.Equal(t, want, 2+tr.Result.RoundTrips, security)
		assert.InEpsilon(t, float64(want)*0.080, tr.Result.Elapsed.Seconds(), 0.01, security)
	}
}

// A session without TLS repeats itself to the last nanosecond and octet.
func TestSessionIsRepeatable(t *testing.T) {
	link := Link{Delay: "25ms", Bandwidth: "10Mbit", Loss: 0.03, Reorder: 0.03, Duplicate: 0.01, Corrupt: 0.01}
	message := strings.Repeat(letter, 20)
	once := func(seed int64) string {
		var rec record
		c := config(link)
		c.Seed = seed
		rec.on(&c)
		tr, got := run(t, c, "tcp", "none", message)
		require.Equal(t, []string{message}, got)
		b, err := json.Marshal(tr)
		require.NoError(t, err)
		return rec.digest() + string(b)
	}
	first := once(7)
	labtest.UnderLoad(func() {
		for range 3 {
			require.Equal(t, first, once(7))
		}
	})
	assert.NotEqual(t, first, once(8))
}
