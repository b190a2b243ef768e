package experiment

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hack-pad/hackpadfs"
	"golang.org/x/text/unicode/norm"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
	"smtpscope/wasm/internet"
	"smtpscope/wasm/internet/mail"
)

// Config is what an experiment needs from outside. Plan, Tool and Files are required.
type Config struct {
	Plan    *session.Plan // of mode lab
	Tool    string        // for the trace, "smtpscope/0.1.0"
	Files   hackpadfs.FS  // where the mailboxes are
	Sink    trace.Sink
	Pending func(*session.Pending) // as in session.Config
	KeyLog  io.Writer              // as in session.Config
	Settle  func()                 // as in internet.Config

	// Again takes up an earlier run.
	Again Again
}

// Again repeats what the user of an earlier run did, up to a point: sends are the
// commands, responses and messages of the page's own connection.
type Again struct {
	Sends   int            `json:"sends"`   // after so many, pause; the zero value does not
	Answers map[int]Answer `json:"answers"` // to pauses, by the number of sends before them
}

// Answer ends a pause.
type Answer struct {
	Do   string `json:"do"` // "step", "resume" or "send"
	Text string `json:"text,omitempty"`
}

// Experiment is a plan that is being run. Its methods but Session's belong to one
// goroutine, the driver.
type Experiment struct {
	config  Config
	lab     *internet.Lab
	session *session.Session
	mail    *mail.System
	packets *packets
	places  []place

	mu      sync.Mutex
	waiting bool // for the user
	sends   int
	hops    int
	trace   *trace.Trace // of the session, when it is over
}

// stillness is how long nothing has to happen until an experiment counts as over:
// what TCP waits for then (2 MSL, RFC 9293, 3.6.1) sends no packet.
const stillness = 10 * time.Second

// New builds the lab of a plan; internet.Config.Settle says where to call it. The
// error is a *session.PlanError: the plan asks for what the lab cannot do.
func New(c Config) (*Experiment, error) {
	if c.Plan.Target.Mode != trace.ModeLab {
		return nil, &session.PlanError{Problem: fmt.Sprintf("target.mode: %q is not for the lab.", c.Plan.Target.Mode)}
	}
	if c.Pending == nil {
		c.Pending = func(*session.Pending) {}
	}
	e := &Experiment{config: c, places: places(c.Plan)}
	if err := e.build(); err != nil {
		return nil, &session.PlanError{Problem: strings.TrimPrefix(err.Error(), "internet: ") + "."}
	}
	return e, nil
}

// build makes the network.
func (e *Experiment) build() error {
	p := e.config.Plan
	c := internet.Config{
		Seed: p.Seed, Link: internet.Link(p.Link), Settle: e.config.Settle,
		Tap:   func(packet internet.Packet) { e.packets.sent(packet) },
		State: func(s internet.State) { e.packets.arrive(e.lab.Elapsed()); e.packets.state(s) },
	}
	for i, h := range e.places {
		host := internet.HostConfig{ID: h.id, Address: h.address}
		if i == len(e.places)-1 {
			host.ReadRate, host.ReceiveBuffer = h.quirks.ReadRate, h.quirks.ReceiveBuffer
		}
		c.Hosts = append(c.Hosts, host)
		c.Links = append(c.Links, internet.Between{A: h.id, B: hostDNS, Link: internet.Link{Delay: resolverDelay}})
	}
	c.Hosts = append(c.Hosts, internet.HostConfig{ID: hostDNS, Address: "192.0.2.53", Zone: zone(e.places)})
	var err error
	e.lab, err = internet.New(c)
	return err
}

// hosts are the lanes of the trace.
func (e *Experiment) hosts() (hosts []trace.Host) {
	for _, p := range e.places {
		hosts = append(hosts, trace.Host{ID: p.id, Name: p.name, Address: p.address})
	}
	return append(hosts, trace.Host{ID: hostDNS, Name: "DNS", Address: "192.0.2.53"})
}

// Start starts the servers, and lets the session begin as far as it gets without
// an event of the lab. Ending ctx ends the session.
func (e *Experiment) Start(ctx context.Context) error {
	c := e.config
	ca, err := newAuthority(c.Plan.Seed, e.lab.Now)
	if err != nil {
		return err
	}
	plan := *c.Plan
	plan.TLS.CA = append([]string{ca.pem}, plan.TLS.CA...)
	e.session = session.New(session.Config{Plan: &plan, Dial: e.dial, Tool: c.Tool, Sink: sink{e}, Hosts: e.hosts(),
		Pending: e.pending, Now: e.lab.Now, KeyLog: c.KeyLog, NFKC: norm.NFKC.String})
	e.packets = newPackets(e.session.Recorder(), trace.HostClient)
	domains := map[string][]string{}
	for _, p := range e.places {
		domains[p.name] = p.domains
	}
	e.mail = mail.New(mail.Config{Now: e.lab.Now, Files: c.Files, Seed: c.Plan.Seed, Event: e.mailed, Hop: e.hop,
		TLS: func(name string) *tls.Config { return ca.config(append([]string{name}, domains[name]...)...) }})
	for _, p := range e.places[1:] {
		s, err := p.server(e.lab.Host(p.id))
		if err != nil {
			return err
		}
		if err := e.mail.Start(s); err != nil {
			return err
		}
	}
	e.pauseAt(0)
	go func() {
		t := e.session.Run(ctx)
		e.mu.Lock()
		e.trace, e.waiting = t, false
		e.mu.Unlock()
		e.config.Pending(nil)
	}()
	return nil
}

// Session is for pausing, stepping and sending. It may be used by any goroutine,
// from Start on.
func (e *Experiment) Session() *session.Session { return e.session }

// Elapsed is the time in the lab.
func (e *Experiment) Elapsed() time.Duration { return e.lab.Elapsed() }

// Run lets events of the lab happen, one at a time, until the experiment is over
// or waits for its user, and as long as until, which it asks before each, says
// false. It returns true when the experiment is over.
func (e *Experiment) Run(until func() bool) bool {
	e.lab.Run(func() bool {
		e.packets.arrive(e.lab.Elapsed())
		return e.Waiting() || e.Over() || until()
	})
	return e.Over()
}

// Waiting tells whether the session waits for its user. Time stands still then.
func (e *Experiment) Waiting() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.waiting
}

// Over tells whether everything has come to rest: the session, the connections
// and the queues of the mail servers.
func (e *Experiment) Over() bool {
	if e.Result() == nil || !e.mail.Idle() {
		return false
	}
	next, ok := e.lab.Next()
	return !ok || next-e.lab.Elapsed() > stillness
}

// Result is the session's trace when the session is over, else nil. The trace
// grows until the experiment is over.
func (e *Experiment) Result() *trace.Trace {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.trace
}

// Close ends everything.
func (e *Experiment) Close() { e.lab.Close() }

// sink counts what is sent.
type sink struct{ *Experiment }

// Event implements trace.Sink.
func (s sink) Event(e trace.Event) {
	if s.config.Sink != nil {
		s.config.Sink.Event(e)
	}
	if e.Layer != trace.LayerSMTP || e.Hop != 0 || e.Kind != trace.KindCommand && e.Kind != trace.KindResponse && e.Kind != trace.KindMessage {
		return
	}
	s.mu.Lock()
	s.sends++
	n := s.sends
	s.mu.Unlock()
	s.pauseAt(n)
}

// Bytes implements trace.Sink.
func (s sink) Bytes(stream string, off int64, b []byte) {
	if s.config.Sink != nil {
		s.config.Sink.Bytes(stream, off, b)
	}
}

// pauseAt makes the session pause where the earlier run did, and where this one is to be taken up.
func (e *Experiment) pauseAt(sends int) {
	again := e.config.Again
	_, paused := again.Answers[sends]
	if paused && sends < again.Sends || sends == again.Sends && sends > 0 {
		e.session.Pause()
	}
}

// Sends counts the commands, responses and messages that the session has sent.
func (e *Experiment) Sends() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sends
}

// pending answers for the user what was answered in the earlier run.
func (e *Experiment) pending(p *session.Pending) {
	e.mu.Lock()
	sends := e.sends
	repeated := sends < e.config.Again.Sends
	e.waiting = p != nil && !repeated
	e.mu.Unlock()
	if p == nil || !repeated {
		e.config.Pending(p)
		return
	}
	switch a := e.config.Again.Answers[sends]; a.Do {
	case "step":
		e.session.Step()
	case "send":
		e.session.Send(a.Text)
	default:
		e.session.Resume()
	}
}

// dial finds the mail exchange of a domain, or else the host of that name
// (RFC 5321, 5.1), and connects to it.
func (e *Experiment) dial(ctx context.Context, t session.Target, _ func(tunnel.Status)) (net.Conn, error) {
	client := e.lab.Host(trace.HostClient)
	names := []string{t.Host}
	if _, err := netip.ParseAddr(t.Host); err != nil && e.config.Plan.Lab.Route == session.Direct {
		mx, err := client.LookupMX(ctx, t.Host)
		if err != nil {
			return nil, err
		}
		for i, x := range mx {
			if i == 0 {
				names = nil
			}
			names = append(names, strings.TrimSuffix(x.Host, "."))
		}
	}
	var conn net.Conn
	err := errors.New("no server to connect to")
	for _, name := range names {
		conn, err = client.Dial(ctx, e.config.Plan.Lab.Transport, net.JoinHostPort(name, strconv.Itoa(t.Port)))
		if err == nil {
			e.packets.name(ends(conn), trace.WireOut, trace.WireIn)
			return conn, nil
		}
	}
	if syns := e.packets.unanswered(); errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return nil, &tunnel.Error{Code: tunnel.CodeTimeout, Message: fmt.Sprintf(
			"TCP gave up after %v: %d SYNs to %s, each after waiting twice as long as before, and no answer (RFC 9293, 3.8.3). The link loses what is sent over it: lower its loss.",
			e.lab.Elapsed().Round(time.Second), syns, net.JoinHostPort(t.Host, strconv.Itoa(t.Port)))}
	}
	return nil, err
}
