// Package session runs a Plan: it is the one place where a socket, TLS and the
// SMTP state machine meet. It writes everything that happens into a trace and
// lets its user pause, step and change what is about to be sent.
//
// It does not know browsers, WebSockets or the lab: a Dialer hands it a
// net.Conn, and time comes from Config.Now and the connection's deadlines.
package session

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"smtpscope/protocol/diagnose"
	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// Dialer opens the connection to the target and reports how it went about it.
// It must end by itself when nobody answers. Its error is best a *tunnel.Error,
// whose code and words go into the result.
type Dialer func(ctx context.Context, t Target, report func(tunnel.Status)) (net.Conn, error)

// Config is what a session needs from outside. Plan, Dial and Tool are required.
type Config struct {
	Plan *Plan
	Dial Dialer
	Tool string // name and version for the trace, "smtpscope/0.1.0"
	Sink trace.Sink
	// Hosts are who takes part, for the trace; default: client, proxy and server.
	Hosts []trace.Host
	// Pending is told what waits to be sent whenever the session pauses, and nil when it goes on.
	Pending func(*Pending)
	Now     func() time.Time // default time.Now
	// Roots are what certificates are judged by, besides tls.ca; default: those of the
	// system. It is asked during the handshake, and must return when ctx ends.
	Roots func(ctx context.Context) (*x509.CertPool, error)
	// Lookup asks the DNS for the records of a type, A, AAAA, MX, TLSA, TXT or, with an
	// address for a name, PTR; Policy fetches the MTA-STS policy of a domain. A plan with
	// target.domain needs the former. That there is nothing is no error; those are best
	// *tunnel.Error. Both may be called at the same time as anything else, must end by
	// themselves when nobody answers, and return when ctx ends.
	Lookup func(ctx context.Context, name, recordType string) (*trace.LookupData, error)
	Policy func(ctx context.Context, domain string) (*trace.PolicyData, error)
	// NFKC is normalisation form KC of Unicode, which SCRAM asks for (RFC 4013). Without
	// it, it takes ASCII only.
	NFKC   func(string) string
	KeyLog io.Writer // TLS secrets in NSS key log format; they are not part of the trace
}

// Pending is what a paused session would send next.
type Pending struct {
	Kind   trace.Kind   `json:"kind"` // command, response or message
	Verb   string       `json:"verb"`
	Text   string       `json:"text"`   // the line without CRLF, or the message; "" when Size is over editLimit
	Size   int          `json:"size"`   // of what is pending, in bytes
	Legal  []string     `json:"legal"`  // the verbs that may be sent instead
	Secret []trace.Span `json:"secret"` // spans of Text that a display masks
	// Problem says why what the user sent instead was not taken; the session still waits.
	Problem string `json:"problem,omitempty"`
}

// Limits that are this program's own.
const (
	// silenceHint is when a missing greeting is remarked upon.
	silenceHint = 10 * time.Second
	// lastWords is how long a session that cannot send any more waits for what the server still says.
	lastWords = 2 * time.Second
	// editLimit is the longest message that a paused session hands out for editing.
	editLimit = 256 << 10
)

// Session is one run of a plan. Run may be called once; the other methods may
// be called from any goroutine.
type Session struct {
	config Config
	plan   *Plan // of the run: with target.domain, its host is the mail server that is tried
	rec    *trace.Recorder
	client *smtp.Client
	conn   *conduit
	reader *reader
	plot   plot
	user   user
	survey *survey  // nil without target.domain
	others []string // mail servers of the domain that come after the one connected

	packets packets // captured at the proxy

	phase      string
	awaited    smtp.Deadline
	hinted     bool // the long silence before the greeting has been remarked upon
	paused     bool
	last       smtp.Verb // what was sent or answered last, for the breakpoints after it
	asked      bool      // the server owes an answer and has not begun to give it
	roundTrips int
	unsent     []byte // the commands of the group that is being put together
	commands   map[smtp.Handle]*command
	sasl       exchange
	secrets    []string // masked where a server echoes them
	lost       error    // why nothing more can be read

	messageFrom int64 // T and offset at which the message being sent began
	messageAt   int64
	chunked     bool // the next chunk of BDAT goes on with a message
	dotSent     bool // the final dot, or the last octet of the last BDAT, is out and not answered yet
}

// command is what was submitted, and its event once it is sent.
type command struct {
	smtp.Command
	event  int
	edited bool
}

// New prepares a session.
func New(c Config) *Session {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Pending == nil {
		c.Pending = func(*Pending) {}
	}
	if c.Hosts == nil {
		c.Hosts = []trace.Host{
			{ID: trace.HostClient, Name: "this client"},
			{ID: trace.HostProxy, Name: "proxy"},
			{ID: trace.HostServer, Name: cmp.Or(c.Plan.Target.Host, c.Plan.Target.Domain)},
		}
	}
	meta := trace.Meta{Tool: c.Tool, Mode: c.Plan.Target.Mode, Plan: c.Plan.public(), Hosts: c.Hosts}
	if c.Plan.Target.Mode == trace.ModeLab {
		meta.Seed = c.Plan.Seed
	}
	plan := *c.Plan
	s := &Session{
		config: c, plan: &plan, phase: "connect",
		rec:      trace.NewRecorder(meta, c.Now, c.Sink),
		client:   smtp.NewClient(smtp.Options{Name: c.Plan.EHLO, LMTP: c.Plan.Options.Protocol == lmtp}),
		plot:     plot{plan: &plan, nfkc: c.NFKC},
		user:     user{step: c.Plan.Pace.Step, woken: make(chan struct{}, 1)},
		commands: map[smtp.Handle]*command{},
	}
	s.plot.binding = s.binding
	s.packets.rec = s.rec
	return s
}

// Meta is the meta of the trace that Run will return.
func (s *Session) Meta() trace.Meta { return s.rec.Meta() }

// Recorder is what the session writes to, for those who know more of what happens.
func (s *Session) Recorder() *trace.Recorder { return s.rec }

// Unrunnable is the trace of a plan that ParsePlan refused.
func Unrunnable(tool string, err error, sink trace.Sink) *trace.Trace {
	info := &trace.ErrorInfo{Code: trace.CodeBadPlan, Message: err.Error()}
	r := trace.NewRecorder(trace.Meta{Tool: tool, Mode: trace.ModeLive, Hosts: []trace.Host{}}, time.Now, sink)
	r.Add(trace.Event{Layer: trace.LayerApp, Kind: trace.KindError, Src: trace.Derived, Text: info.Message, Data: trace.Encode(info)})
	return r.Finish(trace.Result{Outcome: trace.Failed, Phase: "connect", Permanent: true, Error: info})
}

// Run does what the plan says and returns the trace. It always ends: every wait
// has a deadline, but those for the user, which ctx ends. What went wrong is in
// the trace's result.
func (s *Session) Run(ctx context.Context) *trace.Trace {
	f := s.run(ctx)
	if f != nil && ctx.Err() != nil {
		f = s.afterDot(&failure{code: trace.CodeCancelled, message: "You ended the session " + s.where() + "."})
	}
	if s.survey != nil {
		s.survey.end()
	}
	result := s.plot.verdict(s.phase, f)
	result.RoundTrips = s.roundTrips
	if e := result.Error; e != nil && e.Code != trace.CodeCancelled && result.Phase == "greeting" {
		e.Message += s.elsewhere()
	}
	if result.Error != nil {
		s.rec.Add(trace.Event{Layer: trace.LayerApp, Kind: trace.KindError, Src: trace.Derived,
			Text: result.Error.Message, Data: trace.Encode(result.Error)})
	}
	t := s.rec.Finish(result)
	t.Findings = diagnose.Findings(t)
	return t
}

func (s *Session) run(ctx context.Context) *failure {
	if f := s.dial(ctx); f != nil {
		return f
	}
	s.reader = newReader(s.conn)
	defer s.reader.stop()
	defer context.AfterFunc(ctx, func() { s.conn.raw.Close() })()

	if s.plan.Security == Implicit {
		if f := s.startTLS(ctx); f != nil {
			return f
		}
		s.plot.secure = true
	}
	s.phase, s.asked = "greeting", true
	for {
		over, f := s.settle(ctx)
		if over || f != nil {
			return f
		}
		if next, ok := s.next(); ok {
			f = s.send(ctx, next)
		} else if len(s.unsent) > 0 {
			f = s.flush(ctx)
		} else {
			f = s.await(ctx)
		}
		if f != nil {
			return f
		}
	}
}

// next is what to send now: when nothing is awaited what the plan asks for, and
// then, with options.pipelining, what the client lets join it in a group (RFC 2920).
// What is sent waits for all its replies before another group begins. A group
// ends where the session pauses, so whoever steps sees one command at a time.
func (s *Session) next() (smtp.Command, bool) {
	if s.awaited.Wait == 0 {
		return s.plot.next(s.client)
	}
	if !s.plan.Options.Pipelining || len(s.unsent) == 0 || len(s.client.Legal()) == 0 {
		return smtp.Command{}, false
	}
	next, ok := s.plot.next(s.client)
	return next, ok && slices.Contains(s.client.Legal(), next.Verb) && !s.pauses(next)
}

func (s *Session) dial(ctx context.Context) *failure {
	if s.plan.Target.Domain != "" {
		return s.dialDomain(ctx)
	}
	if err := s.dialHost(ctx); err != nil {
		return s.dialFailure(err)
	}
	return nil
}

// dialHost connects to the target's host.
func (s *Session) dialHost(ctx context.Context) error {
	s.packets.dialing(true)
	conn, err := s.config.Dial(ctx, s.plan.Target, s.tunnelStatus)
	s.packets.dialing(false)
	if err != nil {
		return err
	}
	if conn.RemoteAddr().Network() != "udp" {
		s.roundTrips++ // SYN, SYN ACK
	}
	s.conn = newConduit(s.rec, conn)
	return nil
}

func (s *Session) dialFailure(err error) *failure {
	f := tunnelFailure(err)
	if f == nil && errors.Is(err, tunnel.ErrLost) {
		f = s.closedFailure(err)
	}
	if f == nil {
		f = tunnelFailure(tunnel.DialError(err, s.plan.Target.Host, s.plan.Target.Port))
	}
	return f
}

func (s *Session) tunnelStatus(st tunnel.Status) {
	if st.Stage == tunnel.StageSample {
		s.rec.Add(trace.Event{Layer: trace.LayerTCP, Kind: trace.KindSample, Src: trace.Measured, From: trace.HostProxy, To: trace.HostServer,
			Text: sampleText(*st.Sample), Data: trace.Encode(trace.SampleData(*st.Sample))})
		return
	}
	kinds := map[tunnel.Stage]trace.Kind{
		tunnel.StageResolving: trace.KindResolving, tunnel.StageAddresses: trace.KindAddresses,
		tunnel.StageDialing: trace.KindDialing, tunnel.StageFailed: trace.KindFailed, tunnel.StageOpened: trace.KindOpened,
	}
	kind, ok := kinds[st.Stage]
	if !ok {
		return
	}
	data := trace.TunnelData{Host: st.Host, Port: st.Port, Addresses: st.Addresses, Address: st.Address,
		Local: st.Local, Resolve: st.Resolve, Connect: st.Connect, Session: st.Session, Problem: st.Problem}
	s.rec.Add(trace.Event{Layer: trace.LayerTunnel, Kind: kind, Src: trace.Measured, From: trace.HostClient, To: trace.HostServer,
		Text: tunnelText(st), Data: trace.Encode(data)})
	s.packets.status(st)
}

// settle handles everything that the client has to say. It reports true when the session is over.
func (s *Session) settle(ctx context.Context) (over bool, f *failure) {
	for ev := s.client.Next(); ev != nil; ev = s.client.Next() {
		switch ev := ev.(type) {
		case *smtp.Output:
			if f = s.output(ctx, ev); f != nil {
				return true, f
			}
		case *smtp.ReplyReceived:
			s.reply(ev)
		case smtp.Deadline:
			s.awaited = ev
			if p, ok := phases[ev.Verb]; ok {
				s.phase = p
			}
		case smtp.UpgradeTLS:
			if f = s.startTLS(ctx); f != nil {
				return true, f
			}
			s.plot.secure = true
			s.client.TLSDone()
		case smtp.Desync:
			return true, s.desync(ev)
		case smtp.Closed:
			s.rec.Add(trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindClosed, Dir: trace.In, Src: trace.Observed,
				From: trace.HostServer, To: trace.HostClient, Text: "connection closed by the server"})
			if ev.Expected {
				return true, nil
			}
			if s.plot.abandoned && (ev.Awaiting == smtp.VerbRcpt || ev.Awaiting == smtp.VerbData || ev.Awaiting == smtp.VerbBdat) {
				return true, s.plot.rejection // the rest of a group has no answer, because what it began with was refused
			}
			return true, s.closedFailure(s.lost)
		}
	}
	return false, nil
}

func (s *Session) desync(ev smtp.Desync) *failure {
	s.rec.Add(trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindDesync, Dir: trace.In, Src: trace.Derived,
		From: trace.HostServer, To: trace.HostClient, Text: smtp.Escape(ev.Reason)})
	if ev.Cause == smtp.CauseEarly && s.plot.rejection != nil {
		return s.plot.rejection // the server refused the message before it had seen it all
	}
	f := &failure{code: trace.CodeDesync, permanent: true}
	where := fmt.Sprintf("%s port %d", s.plan.Target.Host, s.plan.Target.Port)
	switch ev.Cause {
	case smtp.CauseTLS:
		f.code = trace.CodeTLS
		f.message = fmt.Sprintf("%s sent TLS bytes where an SMTP reply was expected: this port wants TLS from the first byte. Choose implicit TLS, or port 587 or 25.", where)
	case smtp.CausePlaintext:
		f.message = "The server sent more bytes behind its answer to STARTTLS, before TLS began. Somebody on the path could have put them there (CVE-2011-0411), so the session ended; nothing secret was sent."
	case smtp.CauseNotReply, smtp.CauseMixedCodes, smtp.CauseLongLine, smtp.CauseLongReply:
		f.code = trace.CodeProtocol
		f.message = fmt.Sprintf("What %s sent %s is not an SMTP reply (RFC 5321, 4.2): %s. See its bytes; the port may belong to another protocol.", where, s.where(), smtp.Escape(ev.Reason))
	default:
		f.message = fmt.Sprintf("Replies can no longer be matched to commands: %s. The session ended rather than guess.", smtp.Escape(ev.Reason))
	}
	return s.afterDot(f)
}

// await waits for the server within the deadline of what is awaited.
func (s *Session) await(ctx context.Context) *failure {
	wait := s.awaited.Wait
	if wait == 0 {
		wait = lastWords
	}
	hint := s.awaited.Verb == smtp.VerbGreeting && !s.hinted && silenceHint < wait
	if hint {
		wait = silenceHint
	}
	got, ok := s.reader.wait(ctx, s.config.Now().Add(wait), nil)
	if !ok {
		return s.closedFailure(ctx.Err())
	}
	if hint && errors.Is(got.err, os.ErrDeadlineExceeded) {
		s.hinted = true
		s.note(fmt.Sprintf("No greeting after %v. A server that wants TLS from the first byte waits like this: if this goes on, try implicit TLS. It may also be slow on purpose.", silenceHint))
		return nil
	}
	return s.take(got)
}

// take feeds what was read to the client.
func (s *Session) take(got chunk) *failure {
	s.client.Receive(got.bytes)
	switch {
	case got.err == nil:
	case errors.Is(got.err, os.ErrDeadlineExceeded) && s.awaited.Wait > 0:
		return s.afterDot(&failure{code: trace.CodeTimeout,
			message: fmt.Sprintf("The server did not answer %s within %v, the time that RFC 5321, 4.5.3.2 grants. Try again later.", s.where(), s.awaited.Wait)})
	default:
		s.lost = got.err
		s.client.ReceiveEOF()
	}
	return nil
}

func (s *Session) note(text string) {
	s.rec.Add(trace.Event{Layer: trace.LayerApp, Kind: trace.KindNote, Src: trace.Derived, Text: text})
}
