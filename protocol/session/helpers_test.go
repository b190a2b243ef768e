package session_test

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
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  string
}

func newAuthority(t testing.TB) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"},
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(2, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func (a *authority) leaf(t testing.TB, name string, from, to time.Time) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, tpl, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}}}
}

func (a *authority) good(t testing.TB) *tls.Config {
	return a.leaf(t, serverName, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
}

const serverName = "mx.example.net"

// script is a server's side of a dialogue, a line a step:
//
//	S: 220 hi      says this line
//	S~ 220 h       says these bytes, no line end; Go escapes are understood
//	C: EHLO *      wants this line; a star at the end stands for anything
//	M              reads a message up to its final dot
//	B 7 LAST       wants BDAT with this argument (a star at the end as above) and adds its octets to the message
//	SASL PLAIN     wants AUTH with this mechanism and decides about tim and his secret; see serveSASL
//	TLS            does the server's half of a handshake
//	CLOSE          closes
//	HANG           reads until the client closes
type script []string

type outcome struct {
	message string // the last one read
	err     error  // what did not go by the script
}

func (s script) serve(conn net.Conn, config *tls.Config) (out outcome) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	for _, step := range s {
		op, arg, _ := strings.Cut(step, " ")
		switch op {
		case "S:":
			if _, err := io.WriteString(conn, arg+"\r\n"); err != nil {
				return outcome{out.message, fmt.Errorf("%s: %w", step, err)}
			}
		case "S~":
			io.WriteString(conn, unescape(arg))
		case "C:":
			line, err := r.ReadString('\n')
			if err != nil {
				return outcome{out.message, fmt.Errorf("%s: %w", step, err)}
			}
			got := strings.TrimSuffix(line, "\r\n")
			if prefix, star := strings.CutSuffix(arg, "*"); got != arg && !(star && strings.HasPrefix(got, prefix)) {
				return outcome{out.message, fmt.Errorf("want %q, got %q", arg, got)}
			}
		case "M":
			var b strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return outcome{b.String(), fmt.Errorf("%s: %w", step, err)}
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			out.message = b.String()
		case "B":
			line, err := r.ReadString('\n')
			if err != nil {
				return outcome{out.message, fmt.Errorf("%s: %w", step, err)}
			}
			got := strings.TrimSuffix(line, "\r\n")
			var size int
			fmt.Sscanf(got, "BDAT %d", &size)
			octets := make([]byte, size)
			if _, err := io.ReadFull(r, octets); err != nil {
				return outcome{out.message, fmt.Errorf("%s: %w", step, err)}
			}
			out.message += string(octets)
			if prefix, star := strings.CutSuffix("BDAT "+arg, "*"); got != prefix && !(star && strings.HasPrefix(got, prefix)) {
				return outcome{out.message, fmt.Errorf("want BDAT %q, got %q", arg, got)}
			}
		case "TLS":
			t := tls.Server(conn, config)
			if err := t.Handshake(); err != nil {
				return outcome{out.message, err}
			}
			conn, r = t, bufio.NewReader(t)
		case "SASL":
			if err := serveSASL(conn, r, arg); err != nil {
				return outcome{out.message, err}
			}
		case "CLOSE":
			return out
		case "HANG":
			io.Copy(io.Discard, r)
			return out
		default:
			panic("unknown step " + step)
		}
	}
	io.Copy(io.Discard, r)
	return out
}

func unescape(s string) string {
	var out string
	if err := json.Unmarshal([]byte(`"`+s+`"`), &out); err != nil {
		panic(err)
	}
	return out
}

// listen serves one connection by the script.
func (s script) listen(t testing.TB, config *tls.Config) (addr string, done <-chan outcome) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	ch := make(chan outcome, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			ch <- outcome{err: err}
			return
		}
		ch <- s.serve(conn, config)
	}()
	return l.Addr().String(), ch
}

// dialTo ignores the target's name and dials addr, like a name server of the test's own.
func dialTo(addr string) session.Dialer {
	return func(ctx context.Context, t session.Target, report func(tunnel.Status)) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			report(tunnel.Status{Stage: tunnel.StageOpened, Host: t.Host, Port: t.Port, Address: addr, Connect: time.Millisecond})
		}
		return conn, err
	}
}

// plan is a plan in JSON for one small message, changed by the given edits of its keys.
func planJSON(t testing.TB, edits map[string]any) []byte {
	p := map[string]any{
		"target":   map[string]any{"mode": "live", "host": serverName},
		"security": "none",
		"messages": []any{map[string]any{"from": "ada@example.org", "to": []string{"grace@example.net"}, "data": message}},
	}
	for k, v := range edits {
		if v == nil {
			delete(p, k)
			continue
		}
		p[k] = v
	}
	b, err := json.Marshal(p)
	require.NoError(t, err)
	return b
}

const message = "From: Ada <ada@example.org>\r\nTo: Grace <grace@example.net>\r\nSubject: Notes\r\n\r\n.leading dot\r\n"

func parse(t testing.TB, b []byte) *session.Plan {
	p, err := session.ParsePlan(b)
	require.NoError(t, err)
	return p
}

// run plays a plan against a script and checks what every trace must hold.
func run(t testing.TB, edits map[string]any, s script, config *tls.Config) (*trace.Trace, outcome) {
	addr, done := s.listen(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tr := session.New(session.Config{Plan: parse(t, planJSON(t, edits)), Dial: dialTo(addr), Tool: "smtpscope/test"}).Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	checkTrace(t, tr)
	select {
	case out := <-done:
		return tr, out
	case <-ctx.Done():
		t.Fatal("the server hung")
		return nil, outcome{}
	}
}

// checkTrace asserts what holds for every trace.
func checkTrace(t testing.TB, tr *trace.Trace) {
	b, err := json.Marshal(tr)
	require.NoError(t, err)
	_, err = trace.Decode(b)
	require.NoError(t, err, "a trace can be read back")
	require.NotNil(t, tr.Result)
	if tr.Result.Outcome == trace.Accepted {
		require.Nil(t, tr.Result.Error)
	} else {
		require.NotNil(t, tr.Result.Error)
		last := tr.Events[len(tr.Events)-1]
		require.Equal(t, trace.KindError, last.Kind, "the ladder shows why it ended")
		require.Equal(t, tr.Result.Error.Message, last.Text)
		require.NotEmpty(t, tr.Result.Error.Message)
	}
	checkRecords(t, tr)
}

// checkRecords asserts that records tile the wire from where TLS starts, and that
// every SMTP event inside TLS is carried by records.
func checkRecords(t testing.TB, tr *trace.Trace) {
	next := map[string]int64{}
	carried := map[string]int64{}
	for _, e := range tr.Events {
		switch {
		case e.Kind == trace.KindStart:
			next[e.At.Stream] = e.At.Off
		case e.Kind == trace.KindRecord:
			require.Equal(t, next[e.At.Stream], e.At.Off, "event %d", e.N)
			next[e.At.Stream] = e.At.End()
			var d trace.RecordData
			require.NoError(t, json.Unmarshal(e.Data, &d))
			if d.Plain != nil {
				carried[d.Plain.Stream] += d.Plain.Len
			}
		}
	}
	if len(next) == 0 || tr.Result.Phase == "tls" {
		return
	}
	for text, wire := range map[string]string{trace.TextOut: trace.WireOut, trace.TextIn: trace.WireIn} {
		start := int64(0)
		for _, e := range tr.Events {
			if e.Kind == trace.KindStart && e.At.Stream == wire {
				start = e.At.Off
			}
		}
		require.Equal(t, tr.Streams[text].Len()-start, carried[text], "%s after TLS is carried by records", text)
		require.Equal(t, tr.Streams[wire].Len(), next[wire], "records cover %s", wire)
	}
}

// kinds lists the events of some layers, "smtp/command MAIL FROM:<…>".
func dialogue(tr *trace.Trace) (lines []string) {
	for _, e := range tr.Events {
		if e.Layer == trace.LayerSMTP {
			lines = append(lines, string(e.Kind)+" "+e.Text)
		}
	}
	return lines
}
