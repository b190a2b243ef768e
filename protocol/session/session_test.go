package session_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

var (
	hello   = script{"S: 220 mx ESMTP", "C: EHLO [127.0.0.1]", "S: 250-mx", "S: 250 SIZE 100000"}
	deliver = script{"C: MAIL FROM:<ada@example.org>*", "S: 250 2.1.0 ok", "C: RCPT TO:<grace@example.net>", "S: 250 2.1.5 ok",
		"C: DATA", "S: 354 go", "M", "S: 250 2.0.0 Ok: queued as 4F2C"}
	leave = script{"C: QUIT", "S: 221 2.0.0 bye", "CLOSE"}
)

func join(parts ...script) (all script) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestMessageInClear(t *testing.T) {
	tr, out := run(t, nil, join(hello, deliver, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, message, out.message)
	r := tr.Result
	assert.Equal(t, trace.Accepted, r.Outcome)
	assert.Equal(t, "quit", r.Phase)
	assert.Equal(t, "4F2C", r.Messages[0].QueueID)
	assert.Equal(t, trace.Accepted, r.Messages[0].Recipients[0].Outcome)
	assert.Equal(t, 250, r.Reply.Code)
	assert.Equal(t, []string{"Ok: queued as 4F2C"}, r.Reply.Lines)
	assert.Equal(t, 8, r.RoundTrips) // connect, greeting, EHLO, MAIL, RCPT, DATA, message, QUIT
	assert.Equal(t, []string{
		"reply 220 mx ESMTP", "command EHLO [127.0.0.1]", "reply 250-mx",
		fmt.Sprintf("command MAIL FROM:<ada@example.org> SIZE=%d", len(message)), "reply 250 2.1.0 ok",
		"command RCPT TO:<grace@example.net>", "reply 250 2.1.5 ok", "command DATA", "reply 354 go",
		fmt.Sprintf("message message, %d bytes", len(message)), "reply 250 2.0.0 Ok: queued as 4F2C",
		"command QUIT", "reply 221 2.0.0 bye", "closed connection closed by the server",
	}, dialogue(tr))
	text, _ := tr.Streams[trace.TextOut].Bytes(0, 1<<20)
	wire, _ := tr.Streams[trace.WireOut].Bytes(0, 1<<20)
	assert.Equal(t, text, wire, "without TLS the wire is the text")
}

// What the proxy measures is in the trace, before and after the connection is handed over.
func TestSamples(t *testing.T) {
	addr, done := join(hello, deliver, leave).listen(t, nil)
	var report func(tunnel.Status)
	p := parse(t, planJSON(t, nil))
	s := session.New(session.Config{Plan: p, Tool: "smtpscope/test", Dial: func(ctx context.Context, to session.Target, f func(tunnel.Status)) (net.Conn, error) {
		report = f
		conn, err := dialTo(addr)(ctx, to, f)
		f(tunnel.Status{Stage: tunnel.StageSample, Sample: &tunnel.Sample{State: "ESTABLISHED", RTT: 12 * time.Millisecond, CongestionWindow: 10}})
		return conn, err
	}})
	tr := s.Run(t.Context())
	require.NoError(t, (<-done).err)
	report(tunnel.Status{Stage: tunnel.StageSample, Sample: &tunnel.Sample{State: "CLOSE-WAIT", RTT: 12 * time.Millisecond, CongestionWindow: 8, Retransmits: 2}})
	var samples []trace.Event
	for _, e := range tr.Events {
		if e.Kind == trace.KindSample {
			samples = append(samples, e)
		}
	}
	require.Len(t, samples, 2)
	assert.Equal(t, "ESTABLISHED, round trip 12ms, congestion window 10", samples[0].Text)
	assert.Equal(t, "CLOSE-WAIT, round trip 12ms, congestion window 8, 2 sent again", samples[1].Text)
	assert.Equal(t, [...]any{trace.LayerTCP, trace.Measured, trace.HostProxy, trace.HostServer, `{"state":"ESTABLISHED","rtt":12000000,"cwnd":10}`},
		[...]any{samples[0].Layer, samples[0].Src, samples[0].From, samples[0].To, string(samples[0].Data)})
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
}

func TestSTARTTLSAndAuth(t *testing.T) {
	ca := newAuthority(t)
	edits := map[string]any{"security": "starttls", "tls": map[string]any{"ca": []string{ca.PEM}},
		"auth": map[string]any{"mechanism": "PLAIN", "username": "ada", "password": "hunter2hunter2"}}
	s := join(script{"S: 220 mx ESMTP", "C: EHLO *", "S: 250-mx", "S: 250 STARTTLS", "C: STARTTLS", "S: 220 go", "TLS",
		"C: EHLO *", "S: 250-mx", "S: 250 AUTH PLAIN LOGIN", "C: AUTH PLAIN AGFkYQBodW50ZXIyaHVudGVyMg==",
		"S: 235 2.7.0 welcome hunter2hunter2"}, deliver, leave)
	tr, out := run(t, edits, s, ca.good(t))
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.Equal(t, 12, tr.Result.RoundTrips)

	var h trace.HandshakeData
	for _, e := range tr.Events {
		if e.Kind == trace.KindHandshake {
			require.NoError(t, json.Unmarshal(e.Data, &h))
		}
	}
	assert.Equal(t, "TLS 1.3", h.Version)
	assert.Equal(t, "X25519MLKEM768", h.Group)
	assert.True(t, h.Verified)
	assert.Len(t, h.Chain, 2)
	assert.Equal(t, []string{serverName}, h.Chain[0].Names)

	b, err := json.Marshal(tr.Redact())
	require.NoError(t, err)
	for _, secret := range []string{"hunter2", "AGFkYQBodW50ZXIy", "aHVudGVyMmh1bnRlcjI"} {
		assert.NotContains(t, string(b), secret)
	}
	for _, name := range []string{trace.TextOut, trace.TextIn} {
		text, _ := tr.Redact().Streams[name].Bytes(0, 1<<20)
		assert.NotContains(t, string(text), "hunter2")
		assert.NotContains(t, string(text), "AGFkYQ")
	}
	text, _ := tr.Streams[trace.TextOut].Bytes(0, 1<<20)
	assert.Contains(t, string(text), "AGFkYQ", "the trace itself keeps what was sent")
}

func TestImplicitTLSAndLogin(t *testing.T) {
	ca := newAuthority(t)
	edits := map[string]any{"security": "tls", "tls": map[string]any{"ca": []string{ca.PEM}},
		"auth": map[string]any{"mechanism": "LOGIN", "username": "ada", "password": "engine"}}
	s := join(script{"TLS", "S: 220 mx ESMTP", "C: EHLO *", "S: 250-mx", "S: 250 AUTH LOGIN", "C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6",
		"C: YWRh", "S: 334 UGFzc3dvcmQ6", "C: ZW5naW5l", "S: 235 ok"}, deliver, leave)
	tr, out := run(t, edits, s, ca.good(t))
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	for _, e := range tr.Redact().Events {
		if e.Kind == trace.KindResponse {
			assert.Equal(t, "••••••••", e.Text)
		}
	}
}

// Every way in which a server can refuse or vanish has a verdict and words.
func TestVerdicts(t *testing.T) {
	auth := map[string]any{"auth": map[string]any{"mechanism": "PLAIN", "username": "ada", "password": "engine"}}
	starttls := map[string]any{"security": "starttls"}
	two := map[string]any{"messages": []any{map[string]any{"from": "", "to": []string{"a@example.net", "b@example.net"}, "data": "x"}}}
	mail := script{"C: MAIL *", "S: 250 ok"}
	rcpt := script{"C: RCPT *", "S: 250 ok"}
	data := script{"C: DATA", "S: 354 go"}
	for _, c := range []struct {
		name    string
		edits   map[string]any
		script  script
		outcome trace.Outcome
		phase   string
		code    trace.ErrorCode
		says    string
	}{
		{"greeting 554", nil, script{"S: 554 no mail here", "C: QUIT", "S: 221 bye", "CLOSE"}, trace.Rejected, "greeting", "rejected", "554 no mail here"},
		{"greeting 421", nil, script{"S: 421 busy", "CLOSE"}, trace.Rejected, "greeting", "rejected", "try again later"},
		{"closed before greeting", nil, script{"CLOSE"}, trace.Failed, "greeting", "closed", "before its greeting"},
		{"closed in the greeting", nil, script{"S~ 220 m", "CLOSE"}, trace.Failed, "greeting", "closed", "before its greeting"},
		{"closed at EHLO", nil, script{"S: 220 mx", "C: EHLO *", "CLOSE"}, trace.Failed, "ehlo", "closed", "at EHLO"},
		{"closed in the EHLO reply", nil, script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S~ 250-SI", "CLOSE"}, trace.Failed, "ehlo", "closed", "at EHLO"},
		{"EHLO and HELO refused", nil, script{"S: 220 mx", "C: EHLO *", "S: 502 no", "C: HELO *", "S: 504 no", "C: QUIT", "S: 221 bye", "CLOSE"}, trace.Rejected, "ehlo", "rejected", "504 no"},
		{"EHLO garbage", nil, script{"S: 220 mx", "C: EHLO *", "S: hello there, welcome", "HANG"}, trace.Failed, "ehlo", "protocol", "is not an SMTP reply"},
		{"another protocol", nil, script{"S: SSH-2.0-OpenSSH_9.2", "HANG"}, trace.Failed, "greeting", "protocol", "another protocol"},
		{"mixed codes", nil, script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 251 SIZE", "HANG"}, trace.Failed, "ehlo", "protocol", "5321, 4.2"},
		{"unsolicited reply", nil, script{"S: 220 mx", "C: EHLO *", `S~ 250 mx\r\n250 surprise\r\n`, "HANG"}, trace.Failed, "", "desync", "rather than guess"},
		{"STARTTLS missing", starttls, join(hello, leave), trace.Failed, "starttls", "unsupported", "does not offer STARTTLS"},
		{"STARTTLS refused", starttls, join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 STARTTLS", "C: STARTTLS", "S: 454 4.7.0 no"}, leave), trace.Rejected, "starttls", "rejected", "454 4.7.0 no"},
		{"closed at STARTTLS", starttls, script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 STARTTLS", "C: STARTTLS", "CLOSE"}, trace.Failed, "starttls", "closed", "at STARTTLS"},
		{"bytes behind the 220", starttls, script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 STARTTLS", "C: STARTTLS", `S~ 220 go\r\n250 gotcha\r\n`, "HANG"}, trace.Failed, "starttls", "desync", "CVE-2011-0411"},
		{"closed in the handshake", starttls, script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 STARTTLS", "C: STARTTLS", "S: 220 go", "CLOSE"}, trace.Failed, "tls", "closed", "TLS handshake"},
		{"AUTH missing", auth, join(hello, leave), trace.Failed, "auth", "unsupported", "does not offer AUTH"},
		{"AUTH refused", auth, join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 AUTH PLAIN", "C: AUTH *", "S: 535 5.7.8 no"}, leave), trace.Rejected, "auth", "rejected", "Check the user name"},
		{"mechanism missing", auth, join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 AUTH LOGIN"}, leave), trace.Failed, "auth", "unsupported", "LOGIN"},
		{"closed at AUTH", auth, script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 AUTH PLAIN", "C: AUTH *", "CLOSE"}, trace.Failed, "auth", "closed", "while signing in"},
		{"MAIL refused", nil, join(hello, script{"C: MAIL *", "S: 530 5.7.0 sign in"}, leave), trace.Rejected, "mail", "rejected", "530 5.7.0 sign in"},
		{"MAIL refused and closed", nil, join(hello, script{"C: MAIL *", "S: 550 go away", "CLOSE"}), trace.Rejected, "mail", "rejected", "550 go away"},
		{"421 at MAIL", nil, join(hello, script{"C: MAIL *", "S: 421 shutting down", "CLOSE"}), trace.Rejected, "mail", "rejected", "try again later"},
		{"closed at MAIL", nil, join(hello, script{"C: MAIL *", "CLOSE"}), trace.Failed, "mail", "closed", "at MAIL"},
		{"RCPT refused", nil, join(hello, mail, script{"C: RCPT *", "S: 550 5.1.1 unknown"}, leave), trace.Rejected, "rcpt", "rejected", "Check the spelling"},
		{"greylisted", nil, join(hello, mail, script{"C: RCPT *", "S: 451 4.7.1 later"}, leave), trace.Rejected, "rcpt", "rejected", "greylisting"},
		{"one of two", two, join(hello, mail, script{"C: RCPT *", "S: 550 5.1.1 unknown"}, rcpt, data, script{"M", "S: 250 ok"}, leave), trace.Partial, "rcpt", "rejected", "550 5.1.1"},
		{"closed at RCPT", nil, join(hello, mail, script{"C: RCPT *", "CLOSE"}), trace.Failed, "rcpt", "closed", "at RCPT"},
		{"DATA refused", nil, join(hello, mail, rcpt, script{"C: DATA", "S: 503 no"}, leave), trace.Rejected, "data", "rejected", "503 no"},
		{"closed at DATA", nil, join(hello, mail, rcpt, script{"C: DATA", "CLOSE"}), trace.Failed, "data", "closed", "at DATA"},
		{"message refused", nil, join(hello, mail, rcpt, data, script{"M", "S: 554 5.6.0 spam"}, leave), trace.Rejected, "message", "rejected", "554 5.6.0 spam"},
		{"closed after the final dot", nil, join(hello, mail, rcpt, data, script{"M", "CLOSE"}), trace.Unknown, "message", "closed", "may have accepted it"},
		{"closed instead of 221", nil, join(hello, deliver, script{"C: QUIT", "CLOSE"}), trace.Accepted, "quit", "", ""},
		{"TLS on a plain port", nil, script{`S~ \u0015\u0003\u0003\u0000\u0002\u0002F`, "HANG"}, trace.Failed, "greeting", "tls", "implicit TLS"},
		{"plain text on a TLS port", map[string]any{"security": "tls"}, script{"S: 220 mx ESMTP", "HANG"}, trace.Failed, "tls", "tls", "220 mx ESMTP"},
		{"message too large", map[string]any{"messages": []any{map[string]any{"from": "", "to": []string{"a@example.net"}, "data": strings.Repeat("x", 100001)}}},
			join(hello, leave), trace.Rejected, "mail", "rejected", "100003 octets"},
		{"bytes above 127", map[string]any{"messages": []any{map[string]any{"from": "", "to": []string{"a@example.net"}, "data": "Grüße"}}},
			join(hello, leave), trace.Failed, "mail", "unsupported", "8BITMIME"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, out := run(t, c.edits, c.script, nil)
			if c.phase != "" { // what is sent when a surprise arrives is a race
				require.NoError(t, out.err)
				assert.Equal(t, c.phase, tr.Result.Phase)
			}
			assert.Equal(t, c.outcome, tr.Result.Outcome)
			if c.code == "" {
				return
			}
			assert.Equal(t, c.code, tr.Result.Error.Code)
			assert.Contains(t, tr.Result.Error.Message, c.says)
		})
	}
}

func TestCertificates(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	day := 24 * time.Hour
	now := time.Now()
	for _, c := range []struct {
		name, reason, says string
		signer             *authority
		cert               string
		from, to           time.Time
	}{
		{"untrusted", "untrusted", "not a trusted authority", stranger, serverName, now.Add(-day), now.Add(day)},
		{"wrong name", "wrong-name", "is for other.example, not for mx.example.net", ca, "other.example", now.Add(-day), now.Add(day)},
		{"expired", "expired", "expired on", ca, serverName, now.Add(-2 * day), now.Add(-day)},
		{"not yet valid", "not-yet-valid", "valid only from", ca, serverName, now.Add(day), now.Add(2 * day)},
	} {
		edits := map[string]any{"security": "tls", "tls": map[string]any{"ca": []string{ca.PEM}}}
		find := func(tr *trace.Trace, kind trace.Kind) (h trace.HandshakeData) {
			for _, e := range tr.Events {
				if e.Kind == kind {
					require.NoError(t, json.Unmarshal(e.Data, &h))
				}
			}
			return h
		}
		t.Run(c.name+" fails closed", func(t *testing.T) {
			tr, _ := run(t, edits, script{"TLS"}, c.signer.leaf(t, c.cert, c.from, c.to))
			assert.Equal(t, trace.Failed, tr.Result.Outcome)
			assert.Equal(t, "tls", tr.Result.Phase)
			assert.Equal(t, trace.CodeTLS, tr.Result.Error.Code)
			assert.Contains(t, tr.Result.Error.Message, c.says)
			h := find(tr, trace.KindAlert)
			assert.Equal(t, c.reason, h.Reason)
			assert.NotEmpty(t, h.Chain, "the chain is shown although it is not trusted")
			assert.Zero(t, tr.Streams[trace.TextOut].Len(), "nothing was sent")
		})
		t.Run(c.name+" but insecure", func(t *testing.T) {
			insecure := map[string]any{"security": "tls", "tls": map[string]any{"ca": []string{ca.PEM}, "insecure": true}}
			tr, out := run(t, insecure, join(script{"TLS"}, hello, deliver, leave), c.signer.leaf(t, c.cert, c.from, c.to))
			require.NoError(t, out.err)
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
			h := find(tr, trace.KindHandshake)
			assert.False(t, h.Verified)
			assert.Equal(t, c.reason, h.Reason)
		})
	}
}

func TestDialErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	for _, c := range []struct {
		name string
		dial session.Dialer
		code trace.ErrorCode
		rule string
		says string
	}{
		{"refused", dialTo(l.Addr().String()), "refused", "", "refused"},
		{"denied", func(context.Context, session.Target, func(tunnel.Status)) (net.Conn, error) {
			return nil, &tunnel.Error{Code: tunnel.CodeDenied, Message: "not allowed", Rule: "loopback"}
		}, "denied", "loopback", "not allowed"},
		{"lost", func(context.Context, session.Target, func(tunnel.Status)) (net.Conn, error) {
			return nil, fmt.Errorf("%w: is smtpscope still running?", tunnel.ErrLost)
		}, "closed", "", "still running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := session.New(session.Config{Plan: parse(t, planJSON(t, nil)), Dial: c.dial, Tool: "x"}).Run(t.Context())
			checkTrace(t, tr)
			assert.Equal(t, trace.Failed, tr.Result.Outcome)
			assert.Equal(t, "connect", tr.Result.Phase)
			assert.Equal(t, c.code, tr.Result.Error.Code)
			assert.Equal(t, c.rule, tr.Result.Error.Rule)
			assert.Contains(t, tr.Result.Error.Message, c.says)
			assert.Equal(t, trace.Failed, tr.Result.Messages[0].Outcome)
		})
	}
}

func TestBytesOfTheMessage(t *testing.T) {
	long := strings.Repeat(strings.Repeat("0123456789abcdef", 62)+"\r\n", 25<<20/994)
	ca := newAuthority(t)
	for _, c := range []struct{ name, data, want string }{
		{"no final newline", "a\r\nb", "a\r\nb\r\n"},
		{"bare LF", "a\nb\n", "a\r\nb\r\n"},
		{"only a dot", ".", ".\r\n"},
		{"smuggling", "a\n.\nMAIL FROM:<x>\r\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n\r\n.\r\n"},
		{"empty", "", ""},
		{"25 MB", long, long},
	} {
		t.Run(c.name, func(t *testing.T) {
			edits := map[string]any{"security": "tls", "tls": map[string]any{"ca": []string{ca.PEM}},
				"messages": []any{map[string]any{"from": "", "to": []string{"a@example.net"}, "data": c.data}}}
			s := join(script{"TLS", "S: 220 mx", "C: EHLO *", "S: 250 mx", "C: MAIL *", "S: 250 ok", "C: RCPT *", "S: 250 ok", "C: DATA", "S: 354 go", "M", "S: 250 ok"}, leave)
			tr, out := run(t, edits, s, ca.good(t))
			require.NoError(t, out.err)
			require.Equal(t, len(c.want), len(out.message))
			assert.True(t, c.want == out.message, "the server got what was typed")
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
			b, err := json.Marshal(tr)
			require.NoError(t, err)
			assert.Less(t, len(b), 2<<20, "the trace of a long message is bounded")
			assert.Less(t, len(tr.Events), 120)
		})
	}
}

// A server that answers in the middle of the message is heard.
func TestReplyBeforeTheFinalDot(t *testing.T) {
	long := "x\r\n" + strings.Repeat(strings.Repeat("y", 990)+"\r\n", 12<<10)
	edits := map[string]any{"messages": []any{map[string]any{"from": "", "to": []string{"a@example.net"}, "data": long}}}
	for _, c := range []struct{ reply, says string }{
		{"S: 421 4.3.2 shutting down", "421"},
		{"S: 552 5.3.4 too big already", "552 5.3.4 too big already"},
	} {
		s := script{"S: 220 mx", "C: EHLO *", "S: 250 mx", "C: MAIL *", "S: 250 ok", "C: RCPT *", "S: 250 ok", "C: DATA", "S: 354 go", "C: x", c.reply, "HANG"}
		tr, _ := run(t, edits, s, nil)
		assert.Equal(t, trace.Rejected, tr.Result.Outcome)
		assert.Equal(t, "message", tr.Result.Phase)
		assert.Contains(t, tr.Result.Error.Message, c.says)
	}
}

// PLAIN's initial response that does not fit into a command line answers the empty challenge.
func TestLongInitialResponse(t *testing.T) {
	password := strings.Repeat("long", 1500)
	edits := map[string]any{"auth": map[string]any{"mechanism": "PLAIN", "username": "ada", "password": password}}
	s := join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 AUTH PLAIN", "C: AUTH PLAIN*", "S: 334 ",
		"C: " + base64.StdEncoding.EncodeToString([]byte("\x00ada\x00"+password)), "S: 235 ok"}, deliver, leave)
	tr, out := run(t, edits, s, nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
}

// In a bubble time is virtual: a silent server costs five minutes of nobody's time.
func TestSilenceEndsAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go io.Copy(io.Discard, server)
		defer server.Close()
		start := time.Now()
		tr := session.New(session.Config{Plan: parse(t, planJSON(t, nil)), Tool: "x",
			Dial: func(context.Context, session.Target, func(tunnel.Status)) (net.Conn, error) { return client, nil }}).Run(t.Context())
		checkTrace(t, tr)
		assert.Equal(t, trace.CodeTimeout, tr.Result.Error.Code)
		assert.Contains(t, tr.Result.Error.Message, "5m0s")
		assert.Equal(t, "greeting", tr.Result.Phase)
		assert.Equal(t, trace.KindNote, tr.Events[0].Kind, "a long silence is remarked upon")
		assert.InDelta(t, 5*time.Minute, time.Since(start), float64(15*time.Second))
	})
}

func TestEndlessReply(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "220 mx\r\n")
		for {
			if _, err := io.WriteString(conn, "250-on and on\r\n"); err != nil {
				return
			}
		}
	}()
	tr := session.New(session.Config{Plan: parse(t, planJSON(t, nil)), Dial: dialTo(l.Addr().String()), Tool: "x"}).Run(t.Context())
	checkTrace(t, tr)
	assert.Contains(t, []trace.ErrorCode{trace.CodeProtocol, trace.CodeDesync}, tr.Result.Error.Code)
	assert.Less(t, tr.Streams[trace.TextIn].Len(), int64(1<<20))
}

func TestCancel(t *testing.T) {
	addr, _ := script{"HANG"}.listen(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	s := session.New(session.Config{Plan: parse(t, planJSON(t, nil)), Tool: "x", Dial: func(ctx context.Context, g session.Target, r func(tunnel.Status)) (net.Conn, error) {
		defer cancel()
		return dialTo(addr)(ctx, g, r)
	}})
	tr := s.Run(ctx)
	checkTrace(t, tr)
	assert.Equal(t, trace.CodeCancelled, tr.Result.Error.Code)
}
