package session_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"smtpscope/protocol/sasl/saslserver"
	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
)

// serveSASL is the server's side of one AUTH. Behind the mechanism may stand how it misbehaves:
// early (235 before its proof), forged (a wrong proof), few (one iteration), lines (a 334 of two lines), garbled (no base64).
func serveSASL(conn net.Conn, r *bufio.Reader, arg string) error {
	mechanism, twist, _ := strings.Cut(arg, " ")
	config := saslserver.Config{
		Password: func(username string) (string, bool) { return secret, username == "tim" || username == "jürgen" },
		Accept:   func() {}, Wrong: errors.New("535 5.7.8 wrong"), Malformed: errors.New("501 5.5.2 malformed"),
	}
	if t, ok := conn.(*tls.Conn); ok {
		state := t.ConnectionState()
		config.TLS = &state
	}
	server := config.New(mechanism)
	if server == nil {
		return fmt.Errorf("%s cannot be served here", mechanism)
	}
	line, err := r.ReadString('\n')
	response, found := strings.CutPrefix(strings.TrimSuffix(line, "\r\n"), "AUTH "+mechanism+" ")
	if err != nil || !found {
		return fmt.Errorf("want AUTH %s, got %q, %w", mechanism, line, err)
	}
	say := func(s string) { io.WriteString(conn, s+"\r\n") } //nolint:errcheck // the client's side is what is tested
	for step := 1; ; step++ {
		text, err := base64.StdEncoding.DecodeString(response)
		if err != nil {
			return err
		}
		challenge, done, err := server.Next(text)
		switch {
		case twist == "early" && step == 2:
			done = true
		case twist == "forged" && step == 2:
			challenge = []byte("v=" + strings.Repeat("A", 43) + "=")
		case twist == "few":
			challenge = []byte(strings.Replace(string(challenge), "i=4096", "i=1", 1))
		}
		switch {
		case err != nil:
			say(err.Error())
			return nil
		case done:
			say("235 2.7.0 ok")
			return nil
		case twist == "garbled" && step == 2:
			say("334 <no base64>")
		case twist == "lines" && step == 2:
			say("334-" + base64.StdEncoding.EncodeToString(challenge))
			say("334 ")
		default:
			say("334 " + base64.StdEncoding.EncodeToString(challenge))
		}
		if line, err = r.ReadString('\n'); err != nil {
			return err
		}
		if response = strings.TrimSuffix(line, "\r\n"); response == "*" {
			say("501 5.7.0 cancelled")
			return nil
		}
	}
}

func TestScram(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name, mechanism, offers, sasl string
		security                      string
		shown                         string // of what the client said first
	}{
		{"in clear", "SCRAM-SHA-1", "SCRAM-SHA-1 PLAIN", "SCRAM-SHA-1", "none", "n,,n=tim,r="},
		{"best in clear", "", "PLAIN SCRAM-SHA-1 SCRAM-SHA-256 CRAM-MD5", "SCRAM-SHA-256", "none", "n,,n=tim,r="},
		{"best in TLS", "", "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS", "tls", "p=tls-exporter,,n=tim,r="},
		{"bound, SHA-1", "scram-sha-1-plus", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1-PLUS", "tls", "p=tls-exporter,,n=tim,r="},
		{"not bound, although offered", "SCRAM-SHA-256", "SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "tls", "n,,n=tim,r="},
	} {
		t.Run(c.name, func(t *testing.T) {
			edits := signIn(c.mechanism, "tim", secret)
			edits["security"], edits["tls"] = c.security, map[string]any{"ca": []string{ca.PEM}}
			s := join(offering(c.offers), script{"SASL " + c.sasl}, deliver, leave)
			if c.security == "tls" {
				s = join(script{"TLS"}, s)
			}
			tr, out := run(t, edits, s, ca.good(t))
			require.NoError(t, out.err)
			require.Equal(t, trace.Accepted, tr.Result.Outcome, tr.Result.Error)
			text, _ := tr.Streams[trace.TextOut].Bytes(0, 1<<20)
			_, auth, _ := strings.Cut(string(text), "\r\nAUTH ")
			first, err := base64.StdEncoding.DecodeString(strings.Fields(auth)[1])
			require.NoError(t, err)
			assert.True(t, strings.HasPrefix(string(first), c.shown), "%s", first)
			assert.Equal(t, []string{"response ••••••••", "response "}, sent(tr, "response"))
			assertHidden(t, tr, nil)
		})
	}
}

// sent are the events of a kind with their texts.
func sent(tr *trace.Trace, kind string) (lines []string) {
	for _, line := range dialogue(tr) {
		if strings.HasPrefix(line, kind+" ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// The ninth case of the list: who cannot prove that it knows the password is not believed.
func TestCase09_Scram(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name, twist string
		outcome     trace.Outcome
		code        trace.ErrorCode
		says        string
		cancelled   bool
	}{
		{"an early 235", "early", trace.Failed, trace.CodeProtocol, "The server accepted the sign-in without proof that it knows the password, which SCRAM-SHA-256 demands (RFC 5802, 5)", false},
		{"a forged proof", "forged", trace.Failed, trace.CodeProtocol, "could not prove that it knows the password", true},
		{"few iterations", "few", trace.Failed, trace.CodeProtocol, "the server asks for 1 iterations; this client wants 4096 at least", true},
		{"two lines", "lines", trace.Failed, trace.CodeProtocol, "not one line of base64", true},
		{"no base64", "garbled", trace.Failed, trace.CodeProtocol, "not one line of base64", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, out := run(t, signIn("SCRAM-SHA-256", "tim", secret), join(offering("SCRAM-SHA-256"), script{"SASL SCRAM-SHA-256 " + c.twist}, leave), nil)
			require.NoError(t, out.err)
			assert.Equal(t, c.outcome, tr.Result.Outcome)
			assert.Equal(t, "auth", tr.Result.Phase)
			assert.Equal(t, c.code, tr.Result.Error.Code)
			assert.Contains(t, tr.Result.Error.Message, c.says)
			assert.Equal(t, c.cancelled, strings.Contains(strings.Join(dialogue(tr), "\n"), "response *"))
			assertHidden(t, tr, nil)
		})
	}

	tr, out := run(t, signIn("SCRAM-SHA-1", "tim", "guess"), join(offering("SCRAM-SHA-1"), script{"SASL SCRAM-SHA-1"}, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Rejected, tr.Result.Outcome)
	assert.Equal(t, "The server refused the sign-in: 535 5.7.8 wrong. Check the user name and the password, and whether this account may sign in with a password.", tr.Result.Error.Message)

	// Somebody has taken SCRAM-SHA-256-PLUS out of the offer: the server that made it sees that.
	edits := signIn("", "tim", secret)
	edits["security"], edits["tls"] = "tls", map[string]any{"ca": []string{ca.PEM}}
	tr, out = run(t, edits, join(script{"TLS"}, offering("SCRAM-SHA-256"), script{"SASL SCRAM-SHA-256"}, leave), ca.good(t))
	require.NoError(t, out.err)
	assert.Equal(t, trace.Rejected, tr.Result.Outcome)
}

// Beyond ASCII SCRAM needs a hand to normalise.
func TestScramNormalises(t *testing.T) {
	for _, nfkc := range []func(string) string{nil, norm.NFKC.String} {
		s := join(offering("SCRAM-SHA-1"), script{"SASL SCRAM-SHA-1"}, deliver, leave)
		if nfkc == nil {
			s = join(offering("SCRAM-SHA-1"), leave)
		}
		addr, done := s.listen(t, nil)
		plan := parse(t, planJSON(t, signIn("SCRAM-SHA-1", "ju\u0308rgen", secret)))
		tr := session.New(session.Config{Plan: plan, Dial: dialTo(addr), Tool: "x", NFKC: nfkc}).Run(t.Context())
		require.NoError(t, (<-done).err)
		if nfkc == nil {
			assert.Contains(t, tr.Result.Error.Message, "the user name has characters beyond ASCII, which SCRAM wants normalised")
		} else {
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
		}
	}
}

// TLS 1.2 has the exporter only with the extended master secret, which both sides of crypto/tls use.
func TestScramBoundToTLS12(t *testing.T) {
	ca := newAuthority(t)
	config := ca.good(t)
	config.MaxVersion = tls.VersionTLS12
	edits := signIn("SCRAM-SHA-256-PLUS", "tim", secret)
	edits["security"], edits["tls"] = "tls", map[string]any{"ca": []string{ca.PEM}}
	tr, out := run(t, edits, join(script{"TLS"}, offering("SCRAM-SHA-256-PLUS"), script{"SASL SCRAM-SHA-256-PLUS"}, deliver, leave), config)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
}

// Whoever signs in by hand, and by another mechanism, owes no proof of SCRAM.
func TestScramReplacedByHand(t *testing.T) {
	edits := signIn("SCRAM-SHA-256", "tim", secret)
	edits["pace"] = map[string]any{"breakpoints": []string{"before:AUTH"}}
	plain := "AUTH PLAIN " + b64("\x00tim\x00"+secret)
	tr, out := play(t, edits, join(offering("SCRAM-SHA-256 PLAIN"), script{"C: " + plain, "S: 235 ok"}, deliver, leave), func(s *session.Session, p *session.Pending) {
		if p.Verb == "AUTH" {
			s.Send(plain)
		} else {
			s.Resume()
		}
	})
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
}
