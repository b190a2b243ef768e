package mail

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"smtpscope/protocol/trace"
)

// What the server of the recipients takes, and one that relays does not.
func TestExtensions(t *testing.T) {
	extended := map[string]any{"smtputf8": true, "chunking": true, "body": "binarymime", "rrvs": "2026-01-01T00:00:00Z", "requiretls": true}
	w := scene{servers: map[string]Server{"mx": exchange, "mail": submission}}.run(t, func(w *world) {
		tr := w.send("mx.example.net", map[string]any{"security": "starttls", "options": extended, "from": "jürgen@example.org", "to": []string{"Грейс@example.net"}, "data": "Subject: ü\n\n\x00"})
		assert.Equal(w, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
		tr = w.submit(map[string]any{"options": extended})
		assert.Equal(w, trace.CodeUnsupported, tr.Result.Error.Code)
		tr = w.send("mx.example.net", map[string]any{"options": map[string]any{"smtputf8": true}, "to": []string{"x@example.net"}, "commands": []string{"VRFY x"}})
		assert.Equal(w, trace.Accepted, tr.Result.Outcome)
	})
	got := w.inbox("грейс@example.net")
	assert.Len(t, got, 1)
	assert.Contains(t, got[0], "Return-Path: <jürgen@example.org>\r\n")
	assert.Contains(t, got[0], "with UTF8SMTPS id ")
	assert.Contains(t, got[0], "Subject: ü\n\n\x00")

	w = scene{servers: map[string]Server{"mx": exchange}}.run(t, func(w *world) {
		replies := w.talk("tcp", "mx.example.net:25", ehlo, "MAIL FROM:<jürgen@example.org>", from, "RCPT TO:<jürgen@example.net>", "QUIT")
		assert.Contains(w, replies[2], "501 5.1.7 ")
		assert.Contains(w, replies[4], "501 5.1.3 ")
	})
	assert.Empty(t, w.events)
}

// By LMTP each recipient has an answer.
func TestLMTP(t *testing.T) {
	w := scene{servers: map[string]Server{"mx": quirky(exchange, Quirks{Unknown: []string{"carol@example.net"}})}}.run(t, func(w *world) {
		tr := w.send("mx.example.net", map[string]any{"target": map[string]any{"mode": "live", "host": "mx.example.net", "port": 24}, "security": "starttls",
			"options": map[string]any{"protocol": "lmtp", "pipelining": true}, "to": []string{"bob@example.net", "carol@example.net", "dave@example.net"}})
		assert.Equal(w, trace.Partial, tr.Result.Outcome, "%+v", tr.Result.Error)
		var said []trace.Outcome
		for _, r := range tr.Result.Messages[0].Recipients {
			said = append(said, r.Outcome)
		}
		assert.Equal(w, []trace.Outcome{trace.Accepted, trace.Rejected, trace.Accepted}, said)
	})
	assert.Contains(t, w.inbox("bob@example.net")[0], "with LMTPS id ")
	assert.Len(t, w.inbox("dave@example.net"), 1)
}

// SCRAM, by whoever may sign in.
func TestScram(t *testing.T) {
	for _, c := range []struct {
		mechanism, security string
		port                int
	}{{"", "none", 587}, {"SCRAM-SHA-1", "starttls", 587}, {"SCRAM-SHA-256-PLUS", "starttls", 587}, {"SCRAM-SHA-1-PLUS", "tls", 465}} {
		scene{servers: map[string]Server{"mail": submission, "mx": exchange}}.run(t, func(w *world) {
			for password, outcome := range map[string]trace.Outcome{"engine": trace.Accepted, "motor": trace.Rejected} {
				tr := w.submit(map[string]any{"security": c.security, "target": map[string]any{"mode": "live", "host": "mail.example.org", "port": c.port},
					"auth": map[string]any{"mechanism": c.mechanism, "username": "ada", "password": password}})
				assert.Equal(w, outcome, tr.Result.Outcome, "%+v", tr.Result.Error)
			}
		})
	}
}
