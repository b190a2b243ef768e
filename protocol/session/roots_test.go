package session_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

type loadRoots func(context.Context) (*x509.CertPool, error)

// judged plays a plan against a script, with roots of the test's own.
func judged(t *testing.T, ctx context.Context, edits map[string]any, s script, config *tls.Config, roots loadRoots) *trace.Trace {
	client, server := net.Pipe()
	done := make(chan outcome, 1)
	go func() { done <- s.serve(server, config) }()
	tr := session.New(session.Config{Plan: parse(t, planJSON(t, edits)), Tool: "smtpscope/test", Roots: roots,
		Dial: func(context.Context, session.Target, func(tunnel.Status)) (net.Conn, error) { return client, nil }}).Run(ctx)
	client.Close()
	<-done
	checkTrace(t, tr)
	return tr
}

func handshakeOf(t *testing.T, tr *trace.Trace) (h trace.HandshakeData) {
	e := event(t, tr, func(e trace.Event) bool { return e.Kind == trace.KindHandshake || e.Kind == trace.KindAlert })
	require.NoError(t, json.Unmarshal(e.Data, &h))
	return h
}

func poolOf(authorities ...*authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.cert)
	}
	return pool
}

func TestRoots(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	for _, c := range []struct {
		name   string
		roots  *x509.CertPool
		ca     []string // of the plan
		reason string
	}{
		{"lead to the server", poolOf(ca), []string{}, ""},
		{"lead elsewhere", poolOf(stranger), []string{}, "untrusted"},
		{"lead elsewhere, the plan's to the server", poolOf(stranger), []string{ca.PEM}, ""},
		{"lead to the server, the plan's elsewhere", poolOf(ca), []string{stranger.PEM}, ""},
		{"none", poolOf(), []string{}, "untrusted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.roots.Clone()
			tr := judged(t, t.Context(), map[string]any{"security": "tls", "tls": map[string]any{"ca": c.ca}}, join(script{"TLS"}, hello, deliver, leave), ca.good(t),
				func(context.Context) (*x509.CertPool, error) { return c.roots, nil })
			h := handshakeOf(t, tr)
			assert.Equal(t, c.reason == "", h.Verified)
			assert.Equal(t, c.reason, h.Reason)
			assert.Equal(t, c.reason == "", tr.Result.Outcome == trace.Accepted, tr.Result.Error)
			assert.True(t, before.Equal(c.roots), "what one plan trusts is not trusted by the next session")
		})
	}
}

func TestRootsThatCannotBeLoaded(t *testing.T) {
	ca := newAuthority(t)
	fails := func(context.Context) (*x509.CertPool, error) { return nil, errors.New("the shelf is empty") }

	edits := map[string]any{"security": "tls", "tls": map[string]any{"ca": []string{ca.PEM}}}
	tr := judged(t, t.Context(), edits, script{"TLS"}, ca.good(t), fails)
	assert.Equal(t, "tls", tr.Result.Phase)
	assert.Equal(t, trace.CodeTLS, tr.Result.Error.Code)
	assert.Contains(t, tr.Result.Error.Message, "could not be loaded: the shelf is empty. See")
	assert.False(t, tr.Result.Permanent)
	assert.Zero(t, tr.Streams[trace.TextOut].Len(), "nothing was sent")
	h := handshakeOf(t, tr)
	assert.Len(t, h.Chain, 2)
	assert.Empty(t, h.Reason, "the certificate is not to blame")
	for _, f := range tr.Findings {
		assert.NotContains(t, f.ID, "cert")
	}

	edits = map[string]any{"security": "tls", "tls": map[string]any{"insecure": true}}
	tr = judged(t, t.Context(), edits, join(script{"TLS"}, hello, deliver, leave), ca.good(t), fails)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.False(t, handshakeOf(t, tr).Verified)
	note := event(t, tr, func(e trace.Event) bool { return e.Kind == trace.KindNote })
	assert.Contains(t, note.Text, "the shelf is empty")
}

func TestRootsThatNeverArrive(t *testing.T) {
	never := func(ctx context.Context) (*x509.CertPool, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	edits := map[string]any{"security": "tls"}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		tr := judged(t, t.Context(), edits, script{"TLS"}, newAuthority(t).good(t), never)
		assert.Equal(t, 30*time.Second, time.Since(start), "they are waited for no longer than the handshake")
		assert.Equal(t, trace.CodeTLS, tr.Result.Error.Code)
		assert.Contains(t, tr.Result.Error.Message, "could not be loaded")
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		tr := judged(t, ctx, edits, script{"TLS"}, newAuthority(t).good(t), never)
		assert.Equal(t, time.Second, time.Since(start))
		assert.Equal(t, trace.CodeCancelled, tr.Result.Error.Code)
	})
}

func TestRootsAreNotAskedForWithoutTLS(t *testing.T) {
	tr := judged(t, t.Context(), nil, join(hello, deliver, leave), nil, func(context.Context) (*x509.CertPool, error) {
		t.Error("asked for")
		return nil, errors.New("asked for")
	})
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
}
