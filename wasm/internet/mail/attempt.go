package mail

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"

	"smtpscope/protocol/session"
	protocol "smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// attempt tries to send a message to the servers that take it, the best first
// (RFC 5321, 5.1), until one of them has heard what it is about.
func (v *server) attempt(m *queued) outcome {
	names, f := v.exchanges(m.domain)
	if f != nil {
		return m.all(m.domain, *f)
	}
	var best outcome
	for i, name := range names {
		if v.Host.Sleep(context.Background(), 0) != nil {
			return outcome{} // the lab's end, not this server, has failed the one before
		}
		v.system.mu.Lock()
		v.event(trace.KindAttempt, m.data(name), nil)
		v.system.mu.Unlock()
		o, heard := v.try(m, name)
		if heard {
			return o
		}
		// As long as one of them may take it later, there is hope.
		if i == 0 || len(best.of(trace.KindDeferred)) == 0 || len(o.of(trace.KindDeferred)) > 0 {
			best = o
		}
	}
	return best
}

// all is the outcome that is the same for every recipient.
func (m *queued) all(next string, f fate) outcome {
	o := outcome{next: next}
	for _, to := range m.to {
		f.to = to
		o.fates = append(o.fates, f)
	}
	return o
}

// exchanges are the names of the servers that take mail for a domain, or why there is none.
func (v *server) exchanges(domain string) ([]string, *fate) {
	if domain == "" {
		return []string{v.Next}, nil
	}
	found, err := v.Host.LookupMX(context.Background(), domain)
	if err != nil {
		return nil, new(lookupFailure(err, "5.1.2"))
	}
	if len(found) == 0 {
		found = []*net.MX{{Host: domain}} // its address will do
	}
	if len(found) == 1 && found[0].Host == "." {
		return nil, &fate{kind: trace.KindBounced, status: "5.1.10", reason: domain + " takes no mail: it has a null MX (RFC 7505)"}
	}
	name := func(mx *net.MX) string { return strings.TrimSuffix(mx.Host, ".") }
	// A server that is one of them sends to better ones only, or mail would circle.
	if i := slices.IndexFunc(found, func(mx *net.MX) bool { return strings.EqualFold(name(mx), v.Name) }); i >= 0 {
		own := found[i].Pref
		found = slices.DeleteFunc(found, func(mx *net.MX) bool { return mx.Pref >= own })
	}
	if len(found) == 0 {
		return nil, &fate{kind: trace.KindBounced, status: "5.4.6", reason: "mail for " + domain + " loops back to " + v.Name}
	}
	var names []string
	for _, mx := range found {
		names = append(names, name(mx))
	}
	return names, nil
}

// lookupFailure tells a name that does not exist from a DNS that does not answer.
// Status is for the former.
func lookupFailure(err error, status string) fate {
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) && !dns.IsTemporary && !dns.IsTimeout {
		return fate{kind: trace.KindBounced, status: status, reason: err.Error()}
	}
	return fate{kind: trace.KindDeferred, status: "4.4.3", reason: err.Error()}
}

// try sends a message to one server. Heard is false when it did not come to a mail
// transaction, so that another server may be tried.
func (v *server) try(m *queued, name string) (o outcome, heard bool) {
	ctx := context.Background()
	conn, err := v.Host.Dial(ctx, "tcp", net.JoinHostPort(name, strconv.Itoa(portSMTP)))
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		return m.all(name, lookupFailure(err, "5.4.4")), false
	}
	if err != nil {
		return m.all(name, fate{kind: trace.KindDeferred, status: "4.4.1", reason: err.Error()}), false
	}
	sink, hop := v.system.config.Hop(v.Host.ID(), name, conn)
	t := session.New(session.Config{Plan: v.plan(m, name), Tool: v.Name, Sink: sink, Now: v.system.config.Now,
		Dial: func(context.Context, session.Target, func(tunnel.Status)) (net.Conn, error) { return conn, nil },
	}).Run(ctx)
	o = outcome{next: name, hop: hop, fates: fates(t, m.to)}
	return o, !slices.Contains([]string{"connect", "greeting", "ehlo"}, t.Result.Phase)
}

// plan is the dialogue that brings a message to a server.
func (v *server) plan(m *queued, name string) *session.Plan {
	p, err := session.ParsePlan(trace.Encode(map[string]any{
		"target":   map[string]any{"mode": trace.ModeLive, "host": name, "port": portSMTP},
		"security": session.None, "ehlo": v.Name,
		"messages": []any{map[string]any{"from": m.from, "to": m.to}},
	}))
	if err != nil {
		panic(err) // names and paths were judged when they came
	}
	p.Messages[0].Data = string(m.text) // JSON would change octets that are not UTF-8
	return p
}

// fates reads from the trace of an attempt what became of each recipient.
func fates(t *trace.Trace, to []string) []fate {
	replies := map[int]trace.ReplyData{} // by event
	var last, goodbye *trace.ReplyData   // to what decides about all recipients; the last 421
	for _, e := range t.Events {
		if e.Layer != trace.LayerSMTP || e.Kind != trace.KindReply {
			continue
		}
		var r trace.ReplyData
		if err := json.Unmarshal(e.Data, &r); err != nil {
			panic(err) // protocol/session wrote it
		}
		replies[e.N] = r
		switch protocol.Verb(r.Verb) {
		case protocol.VerbGreeting, protocol.VerbEhlo, protocol.VerbHelo, protocol.VerbMail, protocol.VerbData, protocol.VerbMessage:
			last = &r
		}
		if r.Code == 421 {
			goodbye = &r
		}
	}
	if last == nil || last.Code < 400 {
		last = goodbye
	}

	var all []fate
	for i, recipient := range t.Result.Messages[0].Recipients {
		f := fate{to: to[i]}
		own, asked := trace.ReplyData{}, false
		if recipient.Event != nil {
			own, asked = replies[*recipient.Event]
		}
		switch {
		case recipient.Outcome == trace.Accepted:
			f.kind = trace.KindRelayed
		case asked && own.Code >= 400:
			f.refused(own)
		case last != nil:
			f.refused(*last)
		default:
			f.failed(t.Result)
		}
		all = append(all, f)
	}
	return all
}

// refused is the fate that a reply of 4yz or 5yz means.
func (f *fate) refused(r trace.ReplyData) {
	f.kind, f.status = trace.KindDeferred, "4.0.0"
	if r.Code >= 500 {
		f.kind, f.status = trace.KindBounced, "5.0.0"
	}
	if r.Enhanced != "" {
		f.status = r.Enhanced
	}
	words := []string{strconv.Itoa(r.Code)}
	for i, l := range r.Lines {
		if i > 0 { // the enhanced code stands in every line (RFC 2034, 4)
			l = strings.TrimPrefix(strings.TrimPrefix(l, r.Enhanced), " ")
		}
		words = append(words, l)
	}
	f.reply = strings.Join(words, " ")
	f.reason = f.reply
}

// failed is the fate that no reply decided. What this side refused to send it
// will refuse again; a connection may hold next time.
func (f *fate) failed(r *trace.Result) {
	f.kind, f.status, f.reason = trace.KindDeferred, "4.4.2", r.Error.Message
	switch {
	case r.Permanent && r.Error.Code == trace.CodeRejected:
		f.kind, f.status = trace.KindBounced, "5.3.4" // longer than SIZE allows
	case r.Permanent && r.Error.Code == trace.CodeUnsupported:
		f.kind, f.status = trace.KindBounced, "5.6.3" // 8-bit text without 8BITMIME
	}
}
