//go:build js && wasm

// Command lab is what runs in the page's Worker when it experiments in the lab.
// It is thin: it wires an experiment and the page together. An instance runs one
// experiment: whoever starts it has seeded the randomness of its Go runtime, and
// starts another one for the next.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/hack-pad/hackpadfs/mem"

	"smtpscope/protocol"
	"smtpscope/protocol/session"
	"smtpscope/wasm/bridge"
	"smtpscope/wasm/internet/experiment"
)

const tool = "smtpscope/" + protocol.Version

// turn is how long the lab works until it lets the page have a word.
const turn = 40 * time.Millisecond

type lab struct {
	sink   *bridge.Sink
	run    *experiment.Experiment // nil until one runs
	cancel context.CancelFunc
	goOn   chan struct{} // the session no longer waits for its user
	keys   bytes.Buffer  // TLS secrets of the session
}

func main() {
	l := &lab{sink: &bridge.Sink{}, goOn: make(chan struct{}, 1)}
	bridge.Listen(l.receive)
	select {}
}

func (l *lab) receive(m bridge.Message) {
	if m.Type() == "run" {
		l.start(m)
		return
	}
	if l.cancel == nil {
		return // nothing runs yet
	}
	switch s := l.run.Session(); m.Type() {
	case "pause":
		s.Pause()
	case "resume":
		s.Resume()
	case "step":
		s.Step()
	case "send":
		s.Send(m.Text("text"))
	case "cancel":
		l.cancel()
	default:
		panic("the page sent a message of the unknown type " + m.Type())
	}
}

func (l *lab) start(m bridge.Message) {
	plan, err := session.ParsePlan([]byte(m.Text("plan")))
	var earlier experiment.Again
	if text := m.Text("again"); err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &earlier)
	}
	if err == nil {
		files, _ := mem.NewFS() // it has no way to fail
		l.run, err = experiment.New(experiment.Config{Plan: plan, Tool: tool, Files: files, Sink: l.sink, Pending: l.pending, KeyLog: &l.keys,
			Again: earlier})
	}
	if err != nil {
		t := session.Unrunnable(tool, err, l.sink)
		bridge.PostJSON("start", "meta", t.Meta)
		l.sink.Flush()
		bridge.Done(t, nil)
		return
	}
	go l.drive()
}

// drive lets time go in the lab until everything is over.
func (l *lab) drive() {
	ctx, cancel := context.WithCancel(context.Background())
	if err := l.run.Start(ctx); err != nil {
		panic(err)
	}
	l.cancel = cancel
	bridge.PostJSON("start", "meta", l.run.Session().Meta())
	for {
		began := time.Now()
		over := l.run.Run(func() bool { return time.Since(began) > turn })
		l.sink.Flush()
		switch {
		case over:
			cancel()
			bridge.Done(l.run.Result(), l.keys.Bytes())
			return
		case l.run.Waiting():
			<-l.goOn
		default:
			time.Sleep(time.Millisecond) // messages of the page come in
		}
	}
}

func (l *lab) pending(p *session.Pending) {
	if p != nil {
		l.sink.Flush()
		b, err := json.Marshal(p)
		if err != nil {
			panic(err)
		}
		bridge.Post("pending", map[string]any{"pending": string(b), "number": l.run.Sends()})
		return
	}
	bridge.Post("resumed", nil)
	select {
	case l.goOn <- struct{}{}:
	default:
	}
}
