//go:build js && wasm

// Command live is what runs in the page's Worker when it talks to a real mail
// server: a session over the tunnel. It is thin: it wires the session, the
// WebSocket and the page together and decides nothing.
package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"smtpscope/protocol"
	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
	"smtpscope/wasm/bridge"
	"smtpscope/wasm/roots"
	"smtpscope/wasm/websock"
)

const tool = "smtpscope/" + protocol.Version

// dialWait bounds the whole of resolving and connecting.
const dialWait = 60 * time.Second

// live is the engine as the page drives it: one session at a time.
type live struct {
	session *session.Session // nil when none runs
	cancel  context.CancelFunc
	roots   *x509.CertPool // nil until a session has fetched them
}

func main() {
	l := &live{}
	bridge.Listen(l.receive)
	select {}
}

func (l *live) receive(m bridge.Message) {
	if m.Type() == "run" {
		l.run([]byte(m.Text("plan")), m.Text("tunnel"), api(m.Text("api")), m.Text("token"), m.Text("roots"))
		return
	}
	if l.session == nil {
		return // the session ended while the page's message was on its way
	}
	switch m.Type() {
	case "pause":
		l.session.Pause()
	case "resume":
		l.session.Resume()
	case "step":
		l.session.Step()
	case "send":
		l.session.Send(m.Text("text"))
	case "cancel":
		l.cancel()
	default:
		panic("the page sent a message of the unknown type " + m.Type())
	}
}

func (l *live) run(text []byte, url string, proxy api, token, rootsURL string) {
	if l.session != nil {
		return
	}
	sink := bridge.NewSink()
	plan, err := session.ParsePlan(text)
	if err == nil && plan.Target.Mode == trace.ModeLab {
		err = &session.PlanError{Problem: "target.mode: the lab has an engine of its own."}
	}
	if err != nil {
		t := session.Unrunnable(tool, err, sink)
		bridge.PostJSON("start", "meta", t.Meta)
		sink.Flush()
		bridge.Done(t, nil)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var keys bytes.Buffer
	var s *session.Session
	config := session.Config{
		Plan: plan, Tool: tool, Sink: sink, KeyLog: &keys, NFKC: bridge.NFKC, Lookup: proxy.lookup, Policy: proxy.policy, Pending: func(p *session.Pending) { sink.Flush(); pending(p) },
		Dial: func(ctx context.Context, t session.Target, report func(tunnel.Status)) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialWait)
			defer cancel()
			open := tunnel.Open{Host: t.Host, Port: t.Port, Token: token, Wants: []string{tunnel.WantTCPInfo, tunnel.WantPackets}}
			return websock.Dial(ctx, url, open, websock.Report{Status: report, Packet: s.Packet})
		},
	}
	if plan.Target.Mode == trace.ModeLive && plan.Security != session.None { // no public authority vouches for the practice server
		config.Roots = l.fetchRoots(ctx, rootsURL)
	}
	s = session.New(config)
	l.session, l.cancel = s, cancel
	bridge.PostJSON("start", "meta", s.Meta())
	go func() {
		t := s.Run(ctx)
		cancel()
		l.session = nil
		sink.Flush()
		bridge.Done(t, keys.Bytes())
	}()
}

// fetchRoots begins to fetch the roots, unless an earlier session has, and returns what waits for them.
func (l *live) fetchRoots(ctx context.Context, url string) func(context.Context) (*x509.CertPool, error) {
	if l.roots != nil {
		return func(context.Context) (*x509.CertPool, error) { return l.roots, nil }
	}
	done, failed := make(chan struct{}), error(nil)
	go func() {
		defer close(done)
		file, err := bridge.Fetch(ctx, url)
		if err != nil {
			failed = err
			return
		}
		if l.roots, err = roots.Pool(file); err != nil {
			failed = fmt.Errorf("%s: %w", url, err)
		}
	}()
	return func(ctx context.Context) (*x509.CertPool, error) {
		select {
		case <-done:
			return l.roots, failed
		case <-ctx.Done():
			return nil, fmt.Errorf("%s has not arrived in time", url)
		}
	}
}

func pending(p *session.Pending) {
	if p == nil {
		bridge.Post("resumed", nil)
		return
	}
	bridge.PostJSON("pending", "pending", p)
}
