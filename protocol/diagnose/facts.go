package diagnose

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"smtpscope/protocol/trace"
)

// facts are what the rules look at, the dialogue on the client's own connection, and what they found.
type facts struct {
	*trace.Trace
	plan  plan
	turns []*turn
	clear *turn // the last reply before TLS that accepted EHLO or HELO
	offer *turn // the last one at all

	tls       *trace.Event // the handshake that was done, or the alert that ended it; nil without TLS
	handshake trace.HandshakeData
	tlsFrom   *trace.Range // where wire.in becomes TLS
	hello     string       // the version that the server chose, or what its alert says of versions

	desync, closed *trace.Event
	unanswered     []*trace.Event // what the client sent and got no reply to

	opened  trace.TunnelData
	lookups []lookup         // in the order of their answers
	policy  trace.PolicyData // of MTA-STS, at the event policed
	policed int

	found []trace.Finding
}

// plan is as much of session.Plan as the rules need.
type plan struct {
	Target struct {
		Host string `json:"host"`
		Port int    `json:"port"`
	} `json:"target"`
	Security string    `json:"security"`
	Auth     *struct{} `json:"auth"`
	Lab      struct {
		Transport string `json:"transport"`
	} `json:"lab"`
}

// turn is a reply, and what it answers.
type turn struct {
	trace.ReplyData
	event    int
	end      int64         // where it ends in text.in
	command  *trace.Event  // nil for the greeting, and for what nobody asked for
	wait     time.Duration // since the server could have spoken
	prompt   bool          // the first reply to what was sent: its wait has a round trip in it
	secure   bool
	signedIn bool  // before this reply
	offer    *turn // what was offered before this reply, nil for nothing
}

func gather(t *trace.Trace) *facts {
	f := &facts{Trace: t}
	json.Unmarshal(t.Meta.Plan, &f.plan) //nolint:errcheck // a trace without a plan, or with a strange one, is one without wishes
	var (
		since            int64 // T from which on the server could have spoken
		sent             bool  // something was, since the last reply
		secure, signedIn bool
		verb             string // of the last command
	)
	for i := range t.Events {
		e := &t.Events[i]
		if e.Hop != 0 {
			continue
		}
		switch e.Kind {
		case trace.KindOpened:
			since = e.T
			read(e, &f.opened)
		case trace.KindLookup:
			f.lookup(e)
		case trace.KindPolicy:
			if read(e, &f.policy) {
				f.policed = e.N
			}
		case trace.KindSegment:
			if len(f.turns) == 0 && e.From == trace.HostClient { // until the last of the three that open a connection
				since = e.T
			}
		case trace.KindStart:
			if e.Dir == trace.In {
				f.tlsFrom = e.At
			}
		case trace.KindRecord:
			f.record(e)
		case trace.KindHandshake, trace.KindAlert:
			var d trace.HandshakeData
			if read(e, &d) {
				f.tls, f.handshake, since, secure = e, d, e.T, e.Kind == trace.KindHandshake
			}
		case trace.KindCommand, trace.KindResponse, trace.KindMessage:
			since, sent = e.T, true
			if e.Kind == trace.KindMessage && verb == "BDAT" {
				continue // its reply answers the line
			}
			verb, _, _ = strings.Cut(e.Text, " ")
			f.unanswered = append(f.unanswered, e)
		case trace.KindReply:
			r := &turn{event: e.N, wait: time.Duration(e.T - since), prompt: sent, secure: secure, signedIn: signedIn}
			if !read(e, &r.ReplyData) {
				continue
			}
			if e.At != nil {
				r.end = e.At.End()
			}
			f.answer(r)
			since, sent, signedIn = e.T, false, signedIn || r.Code == 235
		case trace.KindClosed:
			f.closed = e
		case trace.KindDesync:
			f.desync = e
		}
	}
	return f
}

func read(e *trace.Event, into any) bool { return json.Unmarshal(e.Data, into) == nil }

// record looks for what the server says of TLS versions.
func (f *facts) record(e *trace.Event) {
	for i := range e.Fields {
		switch field := &e.Fields[i]; {
		case e.Dir != trace.In || f.hello != "":
		case field.Name == "legacy_version":
			f.hello = field.Value
		case field.Book == "tls.alert.protocol_version":
			f.hello = "no TLS 1.2 or 1.3"
		}
	}
}

// answer takes a reply into the dialogue.
func (f *facts) answer(r *turn) {
	for i, e := range f.unanswered {
		if r.Answers != nil && *r.Answers == e.N {
			r.command = e
			f.unanswered = append(f.unanswered[:i], f.unanswered[i+1:]...)
			break
		}
	}
	r.offer = f.offer
	f.turns = append(f.turns, r)
	if r.Code/100 == 2 && r.is("EHLO LHLO HELO") {
		f.offer = r
		if !r.secure {
			f.clear = r
		}
	}
}

// last is the last reply, and a turn of nothing where there is none.
func (f *facts) last() *turn {
	if len(f.turns) == 0 {
		return &turn{}
	}
	return f.turns[len(f.turns)-1]
}

// tail is the beginning of what the server said behind the last reply.
func (f *facts) tail() string { return f.excerpt(trace.TextIn, f.last().end) }

func (f *facts) excerpt(stream string, from int64) string {
	s := f.Streams[stream]
	if s == nil {
		return ""
	}
	b, _ := s.Bytes(from, min(80, s.Len()-from))
	return string(b)
}

// failed tells whether the session ended with an error of that code.
func (f *facts) failed(code trace.ErrorCode) bool {
	return f.Result != nil && f.Result.Error != nil && f.Result.Error.Code == code
}

// is tells whether the reply answers one of the verbs, "" standing for all.
func (t *turn) is(verbs string) bool { return verbs == "" || has(verbs, t.Verb) }

// has tells whether a word is in a list.
func has(list, word string) bool {
	for _, w := range strings.Fields(list) {
		if w == word {
			return true
		}
	}
	return false
}

// extension returns nil when it is not offered. The receiver may be nil.
func (t *turn) extension(keyword string) *trace.Extension {
	if t != nil {
		for i := range t.Extensions {
			if t.Extensions[i].Keyword == keyword {
				return &t.Extensions[i]
			}
		}
	}
	return nil
}

func (t *turn) offers(keyword string) bool { return t.extension(keyword) != nil }

// mechanisms are those of AUTH, in a list of words.
func (t *turn) mechanisms() string {
	if x := t.extension("AUTH"); x != nil {
		return strings.Join(x.Params, " ")
	}
	return ""
}

func (t *turn) text() string { return strings.Join(t.Lines, " ") }

// quote is the reply as a sentence quotes it.
func (t *turn) quote() string { return quote(strconv.Itoa(t.Code) + " " + t.text()) }

func quote(s string) string {
	const most = 120
	if len(s) > most {
		n := most
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return `"` + s + `"`
}
