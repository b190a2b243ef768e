package session_test

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/session/realservers"
	"smtpscope/protocol/trace"
)

// The same plans against every real server, side by side: what is typed is what
// the mailbox holds, byte for byte, and the verdict reads the same.
func TestInterop(t *testing.T) {
	plans := []struct {
		name, security, mechanism, data string
	}{
		{"STARTTLS and PLAIN", "starttls", "PLAIN", typed("starttls", "A line.\r\n")},
		{"STARTTLS and LOGIN", "starttls", "LOGIN", typed("login", "A line.\r\n")},
		{"STARTTLS and CRAM-MD5", "starttls", "CRAM-MD5", typed("cram", "A line.\r\n")},
		{"implicit TLS", "tls", "PLAIN", typed("implicit", "A line.\r\n")},
		{"dots", "starttls", "PLAIN", typed("dots", ".\r\n..\r\n.a\r\n...\r\n\r\n.\r\n")},
		{"no final newline", "starttls", "PLAIN", typed("open", "the end")},
		{"long", "tls", "PLAIN", typed("long", strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 1<<15))},
	}
	for _, kind := range realservers.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := realservers.ForTest(t, kind)
			var delivered []string
			for _, p := range plans {
				tr := runReal(t, server, p.security, p.mechanism, server.Password, p.data)
				if kind == realservers.Chasquid && p.mechanism == "LOGIN" || kind != realservers.Postfix && p.mechanism == "CRAM-MD5" {
					require.NotNil(t, tr.Result.Error, p.name)
					assert.Equal(t, trace.CodeUnsupported, tr.Result.Error.Code, p.name)
					assert.Contains(t, tr.Result.Error.Message, "does not offer "+p.mechanism)
					continue
				}
				require.Equal(t, trace.Accepted, tr.Result.Outcome, "%s: %+v\n%s", p.name, tr.Result.Error, server.Log())
				assert.Equal(t, "quit", tr.Result.Phase, p.name)
				b, err := json.Marshal(tr.Redact())
				require.NoError(t, err)
				assert.NotContains(t, string(b), server.Password)
				want := p.data
				if !strings.HasSuffix(want, "\r\n") {
					want += "\r\n"
				}
				delivered = append(delivered, want)
			}
			messages, err := server.Messages(t.Context())
			require.NoError(t, err)
			require.Len(t, messages, len(delivered))
			for i, want := range delivered {
				assert.True(t, want == string(messages[i]), "the mailbox holds what was typed; got %.300q", messages[i])
			}

			t.Run("pipelining", func(t *testing.T) { testPipelining(t, server, len(delivered)) })
			t.Run("extensions", func(t *testing.T) { testExtensions(t, server) })
			t.Run("wrong password", func(t *testing.T) {
				tr := runReal(t, server, "starttls", "PLAIN", "not-the-password", typed("no", "x\r\n"))
				assert.Equal(t, trace.Rejected, tr.Result.Outcome)
				assert.Equal(t, "auth", tr.Result.Phase)
				require.NotNil(t, tr.Result.Reply)
				assert.Equal(t, 535, tr.Result.Reply.Code)
			})
			t.Run("TLS on the plain port", func(t *testing.T) {
				tr := runAt(t, server, server.SubmissionPort, "tls", "PLAIN", server.Password, typed("no", "x\r\n"))
				assert.Equal(t, trace.CodeTLS, tr.Result.Error.Code)
				assert.Contains(t, tr.Result.Error.Message, "clear text")
			})
		})
	}
}

// In groups the same messages fare as they do one command at a time, in fewer
// round trips where the server offers PIPELINING.
func testPipelining(t *testing.T, server *realservers.Server, before int) {
	const nobody = "nobody@nowhere.invalid"
	messages := []any{
		map[string]any{"from": server.Username, "to": []string{nobody}, "data": typed("nobody", "x\r\n")},
		map[string]any{"from": server.Username, "to": []string{nobody, server.Recipient}, "data": typed("some", "x\r\n")},
		map[string]any{"from": server.Username, "to": []string{server.Recipient}, "data": typed("all", ".\r\n")},
	}
	play := func(pipelining bool) *trace.Trace {
		return runPlan(t, server, server.SubmissionPort, "starttls", "PLAIN", server.Password,
			map[string]any{"options": map[string]any{"pipelining": pipelining}, "messages": messages})
	}
	alone, grouped := play(false), play(true)
	if a, g := alone.Result.RoundTrips, grouped.Result.RoundTrips; server.Kind == realservers.Aiosmtpd {
		assert.Equal(t, a, g, "aiosmtpd does not offer PIPELINING")
	} else {
		assert.LessOrEqual(t, g, a-2*len(messages), "MAIL, RCPT and DATA of each message are one round trip")
	}
	for _, tr := range []*trace.Trace{alone, grouped} { // what differs from run to run
		tr.Result.RoundTrips, tr.Result.Elapsed, tr.Result.Reply = 0, 0, nil
		for i := range tr.Result.Messages {
			tr.Result.Messages[i].QueueID = ""
			for j := range tr.Result.Messages[i].Recipients {
				tr.Result.Messages[i].Recipients[j].Event = nil
			}
		}
	}
	assert.Equal(t, alone.Result, grouped.Result)
	assert.Equal(t, trace.Accepted, grouped.Result.Messages[2].Outcome, server.Log())
	delivered, err := server.Messages(t.Context())
	require.NoError(t, err)
	delivered = delivered[before:]
	half := len(delivered) / 2
	assert.Equal(t, delivered[:half], delivered[half:])
	assert.Equal(t, typed("all", ".\r\n"), string(delivered[len(delivered)-1]))
}

// What a server offers it takes, and what the mailbox holds is what was typed.
func testExtensions(t *testing.T, server *realservers.Server) {
	everywhere := map[realservers.Kind]string{
		realservers.Postfix:  "SMTPUTF8 CHUNKING DSN",
		realservers.GoSMTP:   "SMTPUTF8 CHUNKING BINARYMIME DSN",
		realservers.Aiosmtpd: "SMTPUTF8",
		realservers.Chasquid: "SMTPUTF8",
	}
	for _, c := range []struct {
		name, needs string
		options     map[string]any
		from, data  string
		sends       string // part of what was sent
	}{
		{"SMTPUTF8", "SMTPUTF8", map[string]any{"smtputf8": true}, server.Username, typed("Grüße", "Grüße\r\n"), "BODY=8BITMIME SMTPUTF8"},
		{"CHUNKING", "CHUNKING", map[string]any{"chunking": true}, server.Username, typed("chunks", ".\r\n"), " LAST\r\n"},
		{"CHUNKING in a group", "CHUNKING", map[string]any{"chunking": true, "pipelining": true}, server.Username, typed("group", "..\r\n"), " LAST\r\n"},
		{"CHUNKING, several", "CHUNKING", map[string]any{"chunking": true}, server.Username,
			typed("several", strings.Repeat(strings.Repeat("x", 76)+"\r\n", 5<<20/78)), "BDAT 4194304\r\n"},
		{"DSN", "DSN", map[string]any{"dsn": map[string]any{"notify": []string{"failure", "delay"}, "ret": "hdrs", "envid": "a+b"}}, server.Username,
			typed("notified", "x\r\n"), "ENVID=a+2Bb"},
		{"BINARYMIME", "BINARYMIME", map[string]any{"chunking": true, "body": "binarymime"}, server.Username, typed("binary", "a\n.\r\x00\nb"), "BODY=BINARYMIME"},
	} {
		if !strings.Contains(everywhere[server.Kind], c.needs) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			before, err := server.Messages(t.Context())
			require.NoError(t, err)
			tr := runPlan(t, server, server.SubmissionPort, "starttls", "PLAIN", server.Password, map[string]any{"options": c.options,
				"messages": []any{map[string]any{"from": c.from, "to": []string{server.Recipient}, "data": c.data}}})
			require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v\n%s", tr.Result.Error, server.Log())
			text, _ := tr.Streams[trace.TextOut].Bytes(0, 64<<10)
			assert.Contains(t, string(text), c.sends)
			after, err := server.Messages(t.Context())
			require.NoError(t, err)
			require.Len(t, after, len(before)+1)
			assert.True(t, c.data == string(after[len(before)]), "the mailbox holds what was typed; got %.300q", after[len(before)])
		})
	}
}

func typed(subject, body string) string {
	return "From: Ada <ada@example.org>\r\nTo: Grace <grace@example.net>\r\nSubject: " + subject +
		"\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + subject + "@example.org>\r\n\r\n" + body
}

func runReal(t *testing.T, server *realservers.Server, security, mechanism, password, data string) *trace.Trace {
	port := server.SubmissionPort
	if security == "tls" {
		port = server.SubmissionsPort
	}
	return runAt(t, server, port, security, mechanism, password, data)
}

func runAt(t *testing.T, server *realservers.Server, port int, security, mechanism, password, data string) *trace.Trace {
	return runPlan(t, server, port, security, mechanism, password, map[string]any{
		"messages": []any{map[string]any{"from": server.Username, "to": []string{server.Recipient}, "data": data}}})
}

func runPlan(t *testing.T, server *realservers.Server, port int, security, mechanism, password string, edits map[string]any) *trace.Trace {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := map[string]any{
		"target": map[string]any{"mode": "live", "host": server.Host, "port": port}, "security": security,
		"tls":  map[string]any{"serverName": server.ServerName, "ca": []string{server.CA}},
		"auth": map[string]any{"mechanism": mechanism, "username": server.Username, "password": password},
	}
	maps.Copy(all, edits)
	plan := planJSON(t, all)
	tr := session.New(session.Config{Plan: parse(t, plan), Tool: "smtpscope/test",
		Dial: dialTo(net.JoinHostPort(server.Host, strconv.Itoa(port)))}).Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	checkTrace(t, tr)
	return tr
}
