package experiment

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"
	"smtpscope/wasm/internet/mail"
)

// server is the configuration of a place's mail server.
func (p place) server(h *internet.Host) (mail.Server, error) {
	s := mail.Server{Host: h, Name: p.name, Domains: p.domains, Relay: p.relay, Next: p.next}
	if p.submission {
		s.Accounts = map[string]string{Username: Password}
	}
	q := p.quirks
	s.Quirks = mail.Quirks{Shutdown: q.Shutdown, MailboxFull: q.MailboxFull, Unknown: q.Unknown,
		NoPipelining: q.NoPipelining, NoSTARTTLS: q.NoSTARTTLS, Size: q.Size}
	var err error
	if s.Quirks.GreetingDelay, err = session.LabDuration(q.GreetingDelay); err != nil {
		return s, err
	}
	if s.Quirks.Greylist, err = session.LabDuration(q.Greylist); err != nil {
		return s, err
	}
	s.Quirks.Down, err = session.LabDuration(q.Down)
	return s, err
}

// mailed records what became of a message.
func (e *Experiment) mailed(kind trace.Kind, data trace.MailData, message []byte) {
	rec := e.session.Recorder()
	ev := trace.Event{Layer: trace.LayerMail, Kind: kind, Src: trace.Simulated, From: data.Host, Data: trace.Encode(data), Text: mailWords(kind, data)}
	if message != nil {
		rec.Bulk(trace.Mail, true)
		at := rec.Append(trace.Mail, message)
		rec.Bulk(trace.Mail, false)
		ev.At = &at
	}
	rec.Add(ev)
}

// hop begins to record the dialogue of two mail servers.
func (e *Experiment) hop(host, next string, conn net.Conn) (trace.Sink, int) {
	rec := e.session.Recorder()
	h := &hop{rec: rec, began: int64(rec.Elapsed()), from: host, to: next, events: map[int]int{}}
	for _, p := range e.places {
		if p.name == next {
			h.to = p.id
		}
	}
	e.mu.Lock()
	e.hops++
	h.number = e.hops
	e.mu.Unlock()
	e.packets.name(ends(conn), trace.Hop(trace.TextOut, h.number), trace.Hop(trace.TextIn, h.number))
	return h, h.number
}

// ends are the two addresses of a connection, as packets name them.
func ends(conn net.Conn) [2]netip.AddrPort {
	address := func(a net.Addr) netip.AddrPort {
		switch a := a.(type) {
		case *net.TCPAddr:
			return a.AddrPort()
		case *net.UDPAddr:
			return a.AddrPort()
		}
		return netip.AddrPort{}
	}
	return [2]netip.AddrPort{address(conn.LocalAddr()), address(conn.RemoteAddr())}
}

// hop copies the SMTP of a connection between two servers into the trace. It
// implements trace.Sink: what it hears has its own numbers and offsets.
type hop struct {
	rec      *trace.Recorder
	number   int
	began    int64 // T here of 0 there
	from, to string
	events   map[int]int // numbers here by those there
}

// Event implements trace.Sink.
func (h *hop) Event(e trace.Event) {
	if e.Layer != trace.LayerSMTP {
		return // the packets show the rest
	}
	e.Hop, e.Src = h.number, trace.Simulated
	host := map[string]string{trace.HostClient: h.from, trace.HostServer: h.to}
	e.From, e.To = host[e.From], host[e.To]
	if e.At != nil {
		at := *e.At
		at.Stream = trace.Hop(at.Stream, h.number)
		if missing := at.End() - h.rec.Len(at.Stream); missing > 0 {
			h.rec.Skip(at.Stream, missing)
		}
		e.At = &at
	}
	switch e.Kind {
	case trace.KindReply:
		e.Data = rewrite(e.Data, func(d *trace.ReplyData) {
			if d.Answers != nil {
				n := h.events[*d.Answers]
				d.Answers = &n
			}
		})
	case trace.KindMessage:
		e.Data = rewrite(e.Data, func(d *trace.MessageData) { d.Started += h.began })
	}
	h.events[e.N] = h.rec.Add(e)
}

// rewrite changes the data of an event, which protocol/session wrote.
func rewrite[T any](data json.RawMessage, change func(*T)) json.RawMessage {
	var d T
	if err := json.Unmarshal(data, &d); err != nil {
		panic(err)
	}
	change(&d)
	return trace.Encode(d)
}

// Bytes implements trace.Sink.
func (h *hop) Bytes(stream string, off int64, b []byte) {
	if stream != trace.TextOut && stream != trace.TextIn {
		return
	}
	stream = trace.Hop(stream, h.number)
	if gap := off - h.rec.Len(stream); gap > 0 {
		h.rec.Skip(stream, gap)
	}
	h.rec.Append(stream, b)
}

// mailWords is the event in one line.
func mailWords(kind trace.Kind, d trace.MailData) string {
	to := strings.Join(d.To, ", ")
	switch kind {
	case trace.KindQueued:
		return fmt.Sprintf("%s queued for %s", d.QueueID, to)
	case trace.KindAttempt:
		return fmt.Sprintf("%s: attempt %d, to %s", d.QueueID, d.Attempt, d.Next)
	case trace.KindDeferred:
		return fmt.Sprintf("%s deferred, next attempt at %v: %s", d.QueueID, time.Duration(d.Retry).Round(time.Second), d.Reason)
	case trace.KindRelayed:
		return fmt.Sprintf("%s accepted by %s", d.QueueID, d.Next)
	case trace.KindBounced:
		return fmt.Sprintf("%s given up for %s: %s", d.QueueID, to, d.Reason)
	case trace.KindDelivered:
		return fmt.Sprintf("%s in the mailbox of %s", d.QueueID, d.Mailbox)
	}
	return ""
}
