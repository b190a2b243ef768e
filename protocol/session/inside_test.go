package session_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
)

// decrypted lists the handshake messages that were opened, "in certificate", and
// asserts what holds for each of them.
func decrypted(t *testing.T, tr *trace.Trace) (messages []string) {
	t.Helper()
	next := map[string]int64{}
	for _, e := range tr.Events {
		if e.Kind == trace.KindHandshake || e.Kind == trace.KindAlert {
			next = nil // nothing is opened after the handshake
		}
		if e.Kind != trace.KindDecrypted {
			continue
		}
		require.NotNil(t, next, "event %d", e.N)
		require.Equal(t, trace.Derived, e.Src)
		require.Equal(t, "tls."+string(e.Dir), e.At.Stream)
		require.Equal(t, next[e.At.Stream], e.At.Off, "one stands behind the other")
		next[e.At.Stream] = e.At.End()
		raw, whole := tr.Streams[e.At.Stream].Bytes(e.At.Off, e.At.Len)
		require.True(t, whole)
		require.Equal(t, len(raw)-4, int(raw[1])<<16|int(raw[2])<<8|int(raw[3]))

		var d trace.DecryptedData
		require.NoError(t, json.Unmarshal(e.Data, &d))
		require.NotEmpty(t, d.Records)
		for i, n := range d.Records {
			record := tr.Events[n]
			require.Equal(t, trace.KindRecord, record.Kind)
			require.Equal(t, e.Dir, record.Dir)
			require.Less(t, n, e.N)
			require.True(t, i == 0 || n > d.Records[i-1])
			first, _ := tr.Streams[record.At.Stream].Bytes(record.At.Off, 1)
			require.Equal(t, []byte{23}, first, "record %d is encrypted", n)
		}
		require.Equal(t, d.Type, e.Fields[0].Name)
		require.Equal(t, e.At.Len, e.Fields[0].Len)
		require.True(t, strings.HasPrefix(e.Text, d.Type+", "), e.Text)
		messages = append(messages, string(e.Dir)+" "+d.Type)
	}
	return messages
}

func event(t *testing.T, tr *trace.Trace, match func(trace.Event) bool) trace.Event {
	t.Helper()
	for _, e := range tr.Events {
		if match(e) {
			return e
		}
	}
	require.Fail(t, "no such event")
	return trace.Event{}
}

var (
	overTLS    = map[string]any{"security": "tls"}
	serverSays = []string{"in encrypted_extensions", "in certificate", "in certificate_verify", "in finished"}
)

// What TLS 1.3 encrypts of a handshake can be read, whatever course it takes.
func TestEncryptedHandshake(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name   string
		change func(*tls.Config)
		want   []string
	}{
		{"plain", func(*tls.Config) {}, append(serverSays, "out finished")},
		{"the client is asked for a certificate", func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert },
			append([]string{"in encrypted_extensions", "in certificate_request", "in certificate", "in certificate_verify", "in finished"}, "out certificate", "out finished")},
		{"another group is asked for", func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, append(serverSays, "out finished")},
		{"a chain longer than a record", func(c *tls.Config) {
			for range 50 {
				c.Certificates[0].Certificate = append(c.Certificates[0].Certificate, ca.cert.Raw)
			}
		}, append(serverSays, "out finished")},
		{"TLS 1.2 shows all but Finished", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := ca.good(t)
			c.change(config)
			var log bytes.Buffer
			tr := encrypted(t, config, ca.PEM, &log)
			require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
			assert.Equal(t, c.want, decrypted(t, tr))
			assert.NotZero(t, log.Len(), "who keeps the secrets is told them too")

			var h trace.HandshakeData
			done := event(t, tr, func(e trace.Event) bool { return e.Kind == trace.KindHandshake })
			require.NoError(t, json.Unmarshal(done.Data, &h))
			if c.want == nil {
				return
			}
			chain := event(t, tr, func(e trace.Event) bool { return e.Kind == trace.KindDecrypted && e.Fields[0].Name == "certificate" })
			raw, _ := tr.Streams[chain.At.Stream].Bytes(chain.At.Off, chain.At.Len)
			certificates := 0
			for _, f := range chain.Fields[1:] {
				if f.Name == "certificate" {
					require.Equal(t, h.Chain[certificates].DER, raw[f.Off+3:f.Off+f.Len])
					certificates++
				}
			}
			assert.Equal(t, len(h.Chain), certificates)
			var d trace.DecryptedData
			require.NoError(t, json.Unmarshal(chain.Data, &d))
			assert.Equal(t, len(h.Chain) > 10, len(d.Records) > 1)
		})
	}
}

// encrypted runs a small session inside TLS from its first byte on.
func encrypted(t *testing.T, config *tls.Config, ca string, keys io.Writer) *trace.Trace {
	addr, done := script{"TLS", "S: 220 mx ESMTP", "C: EHLO *", "S: 250 mx", "C: MAIL *", "S: 250 ok", "C: RCPT *", "S: 250 ok", "C: DATA", "S: 354 go", "M", "S: 250 ok", "C: QUIT", "S: 221 bye", "CLOSE"}.listen(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	plan := planJSON(t, map[string]any{"security": "tls", "tls": map[string]any{"ca": []string{ca}}})
	tr := session.New(session.Config{Plan: parse(t, plan), Dial: dialTo(addr), Tool: "smtpscope/test", KeyLog: keys}).Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	require.NoError(t, (<-done).err)
	checkTrace(t, tr)
	return tr
}

// A certificate that nobody trusts is shown nevertheless.
func TestEncryptedHandshakeFails(t *testing.T) {
	tr, _ := run(t, overTLS, script{"TLS"}, newAuthority(t).good(t))
	assert.Equal(t, "tls", tr.Result.Phase)
	messages := decrypted(t, tr)
	require.GreaterOrEqual(t, len(messages), 2)
	assert.Equal(t, serverSays[:2], messages[:2])
	assert.NotContains(t, messages, "out finished")
}

// Where AES is slow, as it is in a page, the two ends choose ChaCha20-Poly1305.
func TestEncryptedHandshakeWithoutAES(t *testing.T) {
	if os.Getenv("SMTPSCOPE_TEST_WITHOUT_AES") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEncryptedHandshakeWithoutAES$", "-test.v")
		cmd.Env = append(os.Environ(), "SMTPSCOPE_TEST_WITHOUT_AES=1", "GODEBUG=cpu.aes=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return
	}
	ca := newAuthority(t)
	tr := encrypted(t, ca.good(t), ca.PEM, nil)
	assert.Equal(t, append(serverSays, "out finished"), decrypted(t, tr))
	done := event(t, tr, func(e trace.Event) bool { return e.Kind == trace.KindHandshake })
	assert.Contains(t, done.Text, "TLS_CHACHA20_POLY1305_SHA256")
}

// handshakeDone is a sink that is called when a handshake is complete.
type handshakeDone func()

func (done handshakeDone) Event(e trace.Event) {
	if e.Kind == trace.KindHandshake {
		done()
	}
}

func (handshakeDone) Bytes(string, int64, []byte) {}

// All suites, as OpenSSL speaks them.
func TestEncryptedHandshakeWithOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		missing := "openssl cannot run here: it is missing; run .ci/setup to fetch it"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip("NOT RUN: " + missing)
	}
	ca := newAuthority(t)
	leaf := ca.good(t).Certificates[0]
	dir := t.TempDir()
	certificate := filepath.Join(dir, "certificate.pem")
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(certificate, append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), 0o600))

	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		t.Run(suite, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			server := exec.CommandContext(ctx, "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-tls1_3", "-ciphersuites", suite, "-naccept", "1")
			stdin, err := server.StdinPipe() // it ends when that is closed
			require.NoError(t, err)
			defer stdin.Close()
			out, err := server.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, server.Start())
			defer func() {
				cancel()
				server.Wait() //nolint:errcheck // how it ends does not matter
			}()
			var addr string
			for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
				if port, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
					_, port, err = net.SplitHostPort(port)
					require.NoError(t, err)
					addr = net.JoinHostPort("127.0.0.1", port)
				}
			}
			require.NotEmpty(t, addr, "openssl says where it listens")
			go io.Copy(io.Discard, out) //nolint:errcheck // what else it says is of no interest

			plan := planJSON(t, map[string]any{"security": "tls", "tls": map[string]any{"ca": []string{ca.PEM}}})
			enough, stop := context.WithCancel(ctx)
			tr := session.New(session.Config{Plan: parse(t, plan), Dial: dialTo(addr), Tool: "smtpscope/test", Sink: handshakeDone(stop)}).Run(enough)
			require.NoError(t, ctx.Err(), "the session hung")
			assert.Equal(t, append(serverSays, "out finished"), decrypted(t, tr))
			done := event(t, tr, func(e trace.Event) bool { return e.Kind == trace.KindHandshake })
			assert.Contains(t, done.Text, suite)
		})
	}
}
