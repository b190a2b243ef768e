package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// user is what the person at the controls wants.
type user struct {
	mu     sync.Mutex
	step   bool // pause before the next send
	waits  bool // the session is paused
	orders []order
	woken  chan struct{}
}

// order lets a paused session send: what is pending, or text instead of it.
type order struct{ text *string }

// Pause makes the session stop before its next send.
func (s *Session) Pause() { s.user.set(true, nil) }

// Resume lets a paused session run on.
func (s *Session) Resume() { s.user.set(false, &order{}) }

// Step lets a paused session send what is pending and stop before what follows.
func (s *Session) Step() { s.user.set(true, &order{}) }

// Send lets a paused session send this instead of what is pending: a line
// without CRLF, or the whole message where the message is pending. It stops
// again before what follows.
func (s *Session) Send(text string) { s.user.set(true, &order{&text}) }

func (u *user) set(step bool, o *order) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.step = step
	if o != nil && u.waits {
		u.orders = append(u.orders, *o)
		select {
		case u.woken <- struct{}{}:
		default:
		}
	}
}

func (u *user) wantsStep() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.step
}

// wait tells whether orders are taken.
func (u *user) wait(on bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waits, u.orders = on, nil
	select {
	case <-u.woken:
	default:
	}
}

func (u *user) next() (order, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.orders) == 0 {
		return order{}, false
	}
	o := u.orders[0]
	u.orders = u.orders[1:]
	return o, true
}

// pauses tells whether the session stops before it sends this.
func (s *Session) pauses(next smtp.Command) bool {
	if s.user.wantsStep() {
		return true
	}
	is := func(when string, verb smtp.Verb) bool {
		return slices.ContainsFunc(s.plan.Pace.Breakpoints, func(b string) bool {
			return strings.EqualFold(b, when+":"+string(verb))
		})
	}
	return is("before", next.Verb) || s.last != "" && is("after", s.last)
}

// pause shows what is pending and waits for the user, who may send another text
// instead. It reports false when the server spoke meanwhile: then everything has
// to be looked at afresh.
func (s *Session) pause(ctx context.Context, next smtp.Command, problem string) (text *string, ok bool, f *failure) {
	if !s.paused {
		s.paused = true
		s.rec.Add(trace.Event{Layer: trace.LayerApp, Kind: trace.KindPause, Src: trace.Observed,
			Text: "paused before " + string(next.Verb), Data: trace.Encode(trace.PauseData{Verb: string(next.Verb)})})
	}
	s.user.wait(true)
	defer s.user.wait(false)
	s.config.Pending(s.pending(next, problem))
	for {
		got, heard := s.reader.wait(ctx, time.Time{}, s.user.woken)
		if ctx.Err() != nil {
			return nil, false, s.closedFailure(ctx.Err())
		}
		if heard {
			if errors.Is(got.err, os.ErrDeadlineExceeded) && len(got.bytes) == 0 {
				continue // a deadline from before the pause
			}
			return nil, false, s.take(got)
		}
		if o, ok := s.user.next(); ok {
			return o.text, true, nil
		}
	}
}

// resumed records that the user let the session go on.
func (s *Session) resumed(next smtp.Command, edited bool) {
	s.paused = false
	s.config.Pending(nil)
	s.rec.Add(trace.Event{Layer: trace.LayerApp, Kind: trace.KindResume, Src: trace.Observed,
		Data: trace.Encode(trace.PauseData{Verb: string(next.Verb), Edited: edited})})
}

func (s *Session) pending(next smtp.Command, problem string) *Pending {
	p := &Pending{Kind: trace.KindCommand, Verb: string(next.Verb), Text: next.Line(), Legal: []string{}, Secret: secretSpans(next), Problem: problem}
	switch next.Verb {
	case smtp.VerbMessage:
		p.Kind, p.Text = trace.KindMessage, string(next.Message)
	case smtp.VerbResponse:
		p.Kind = trace.KindResponse
	}
	p.Size = len(p.Text)
	if p.Size > editLimit {
		p.Text = ""
	}
	for _, v := range s.client.Legal() {
		p.Legal = append(p.Legal, string(v))
	}
	return p
}

// edit turns what the user typed instead of next into a command, or says why it
// cannot be sent; nil is next itself. Breaking the rules on purpose is for practice only.
func (s *Session) edit(next smtp.Command, text *string) (cmd command, problem string) {
	cmd.Command = next
	if text == nil || next.Verb != smtp.VerbMessage && *text == next.Line() {
		return cmd, ""
	}
	var err error
	switch next.Verb {
	case smtp.VerbMessage:
		cmd.Command, cmd.edited = smtp.Message([]byte(*text)), *text != string(next.Message)
		return cmd, ""
	case smtp.VerbResponse:
		cmd.Command, err = smtp.Response(*text)
	default:
		cmd.Command, err = smtp.ParseCommand(*text)
	}
	cmd.edited = *text != next.Line()
	legal := s.client.Legal()
	switch {
	case err == nil && slices.Contains(legal, cmd.Verb):
		return cmd, ""
	case s.plan.Target.Mode != trace.ModeLive:
		cmd.Command = smtp.Raw(*text)
		return cmd, ""
	case err != nil:
		return cmd, err.Error()
	}
	return cmd, fmt.Sprintf("%s is not legal now. A real server is only sent what RFC 5321 allows here: %s.", cmd.Verb, joinVerbs(legal))
}

func joinVerbs(verbs []smtp.Verb) string {
	var names []string
	for _, v := range verbs {
		names = append(names, string(v))
	}
	return strings.Join(names, ", ")
}
