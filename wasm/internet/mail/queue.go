package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"smtpscope/protocol/trace"
)

// When a message is tried again, and when no more (RFC 5321, 4.5.4.1).
const (
	firstRetry   = 30 * time.Minute // each wait is twice the one before it
	longestRetry = 4 * time.Hour
	giveUp       = 5 * 24 * time.Hour // after the message came
)

// queued is a message on its way to the recipients of one domain.
type queued struct {
	envelope
	text     []byte
	domain   string // "": all that goes to Server.Next
	arrived  time.Time
	attempts int
	due      time.Time // of the next attempt
}

// accept takes the responsibility for a message (RFC 5321, 2.1): it delivers to
// the mailboxes here and queues the rest.
func (v *server) accept(e envelope, text []byte) error {
	s := v.system
	s.mu.Lock()
	defer s.mu.Unlock()
	var owners, remote []string
	for _, to := range e.to {
		owner := strings.ToLower(to)
		switch {
		case !v.local(to):
			remote = append(remote, to)
		case !slices.Contains(owners, owner):
			if err := v.deliver(e, to, text); err != nil {
				return err
			}
			owners = append(owners, owner)
		}
	}
	if len(remote) == 0 {
		return nil
	}
	e.to = remote
	v.event(trace.KindQueued, trace.MailData{QueueID: e.id, From: e.from, To: e.to, Size: len(text)}, nil)
	v.enqueue(e, text)
	return nil
}

// enqueue splits a message by domains and gets the worker going. System.mu is held.
func (v *server) enqueue(e envelope, text []byte) {
	now := v.system.config.Now()
	from := len(v.queue)
	for _, to := range e.to {
		domain := strings.ToLower(domainOf(to))
		if v.Next != "" {
			domain = ""
		}
		i := slices.IndexFunc(v.queue[from:], func(m *queued) bool { return m.domain == domain })
		if i < 0 {
			i = len(v.queue) - from
			v.queue = append(v.queue, &queued{envelope: envelope{id: e.id, from: e.from}, text: text, domain: domain, arrived: now, due: now})
		}
		m := v.queue[from+i]
		m.to = append(m.to, to)
	}
	if v.working {
		v.wake()
		return
	}
	v.working = true
	go v.work()
}

// work sends what is queued, one message after another, until nothing is left or
// the lab is closed.
func (v *server) work() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		m := v.first(cancel)
		if m == nil {
			cancel()
			return
		}
		// It sleeps also when the message is due: whoever brought it has finished then,
		// so that the order of what they do does not depend on the scheduler.
		err := v.Host.Sleep(ctx, m.due.Sub(v.system.config.Now()))
		cancel()
		if errors.Is(err, net.ErrClosed) || err == nil && !v.send(m) {
			return
		}
	}
}

// first is the message that is due first. Wake is called when another one comes.
func (v *server) first(wake context.CancelFunc) *queued {
	v.system.mu.Lock()
	defer v.system.mu.Unlock()
	if len(v.queue) == 0 {
		v.working = false
		return nil
	}
	v.wake = wake
	return slices.MinFunc(v.queue, func(a, b *queued) int { return a.due.Compare(b.due) })
}

// send makes one attempt. It returns false when the lab was closed meanwhile.
func (v *server) send(m *queued) bool {
	m.attempts++
	o := v.attempt(m)
	// An attempt that the lab's end broke off has no outcome.
	if v.Host.Sleep(context.Background(), 0) != nil {
		return false
	}
	v.settle(m, o)
	return true
}

// settle draws the consequences of an attempt.
func (v *server) settle(m *queued, o outcome) {
	s, now := v.system, v.system.config.Now()
	expiry := m.arrived.Add(giveUp)
	if !now.Before(expiry) {
		o.expire()
	}
	wait := firstRetry
	for range m.attempts - 1 {
		wait = min(2*wait, longestRetry)
	}
	if m.due = now.Add(wait); m.due.After(expiry) {
		m.due = expiry
	}

	s.mu.Lock()
	for _, f := range o.together() {
		data := m.data(o.next)
		data.To, data.Hop = f.to, o.hop
		if f.kind != trace.KindRelayed {
			data.Reason = f.reason
		}
		if f.kind == trace.KindDeferred {
			data.Retry = int64(m.due.Sub(s.start))
		}
		v.event(f.kind, data, nil)
	}
	s.mu.Unlock()

	if failed := o.of(trace.KindBounced); len(failed) > 0 && m.from != "" {
		v.bounce(m, o.next, failed)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	m.to = nil
	for _, f := range o.of(trace.KindDeferred) {
		m.to = append(m.to, f.to)
	}
	if len(m.to) == 0 {
		v.queue = slices.DeleteFunc(v.queue, func(o *queued) bool { return o == m })
	}
}

// data is what every event of an attempt says.
func (m *queued) data(next string) trace.MailData {
	return trace.MailData{QueueID: m.id, From: m.from, To: m.to, Size: len(m.text), Attempt: m.attempts, Next: next}
}

// outcome is what an attempt led to.
type outcome struct {
	next  string // the server that was tried last, or the domain when none is known
	hop   int    // the number of the connection to it, 0 for none
	fates []fate
}

// fate is what became of one recipient in one attempt.
type fate struct {
	to     string
	kind   trace.Kind // relayed, deferred or bounced
	status string     // enhanced code (RFC 3463)
	reason string     // the reply, or what happened
	reply  string     // "" when none decided it
}

func (o *outcome) of(kind trace.Kind) (some []fate) {
	for _, f := range o.fates {
		if f.kind == kind {
			some = append(some, f)
		}
	}
	return some
}

// expire gives up what would be tried again.
func (o *outcome) expire() {
	for i := range o.fates {
		if f := &o.fates[i]; f.kind == trace.KindDeferred {
			f.kind, f.status = trace.KindBounced, "4.4.7" // RFC 3463, 3.5: delivery time expired
			f.reason = fmt.Sprintf("not delivered within %v; the last attempt: %s", giveUp, f.reason)
		}
	}
}

// sameFate is recipients to whom the same happened for the same reason.
type sameFate struct {
	fate
	to []string
}

func (o *outcome) together() (all []sameFate) {
	for _, f := range o.fates {
		i := slices.IndexFunc(all, func(s sameFate) bool { return s.kind == f.kind && s.reason == f.reason })
		if i < 0 {
			i = len(all)
			all = append(all, sameFate{fate: f})
		}
		all[i].to = append(all[i].to, f.to)
	}
	return all
}
