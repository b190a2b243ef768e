//go:build js && wasm

// Command live is what runs in the page's Worker when it talks to a real mail
// server: a session over the tunnel. It is thin: it wires the session, the
// WebSocket and the page together and decides nothing.
package main

import (
	"context"
	"net"
	"time"

	_ "golang.org/x/crypto/x509roots/fallback" // a page has no system roots

	"smtpscope/protocol"
	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
	"smtpscope/wasm/bridge"
	"smtpscope/wasm/websock"
)

const tool = "smtpscope/" + protocol.Version

// dialWait bounds the whole of resolving and connecting.
const dialWait = 60 * time.Second

// live is the engine as the page drives it: one session at a time.
type live struct {
	session *session.Session // nil when none runs
	cancel  context.CancelFunc
}

func main() {
	l := &live{}
	bridge.Listen(l.receive)
	select {}
}

func (l *live) receive(m bridge.Message) {
	if m.Type() == "run" {
		l.run([]byte(m.Text("plan")), m.Text("tunnel"))
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

func (l *live) run(text []byte, url string) {
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
		bridge.PostJSON("done", "result", t.Result)
		return
	}
	s := session.New(session.Config{
		Plan: plan, Tool: tool, Sink: sink, Pending: func(p *session.Pending) { sink.Flush(); pending(p) },
		Dial: func(ctx context.Context, t session.Target, report func(tunnel.Status)) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialWait)
			defer cancel()
			return websock.Dial(ctx, url, tunnel.Open{Host: t.Host, Port: t.Port}, report)
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	l.session, l.cancel = s, cancel
	bridge.PostJSON("start", "meta", s.Meta())
	go func() {
		t := s.Run(ctx)
		cancel()
		l.session = nil
		sink.Flush()
		bridge.PostJSON("done", "result", t.Result)
	}()
}

func pending(p *session.Pending) {
	if p == nil {
		bridge.Post("resumed", nil)
		return
	}
	bridge.PostJSON("pending", "pending", p)
}
