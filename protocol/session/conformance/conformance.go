// Package conformance is a suite of mail servers that put a client to the test: for each of the cases that SMTP clients get
// wrong a script of what the server says and wants to hear, the plan that a session runs against it, and what must come of it.
//
// It does not run the client. The test of this package does so natively, and site/test/e2e through a browser, by way of cmd.
package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"time"

	"smtpscope/protocol/session/realservers"
	"smtpscope/protocol/trace"
)

// Groups are the cases that SMTP clients get wrong, as the project numbers them from 1.
var Groups = [...]string{
	"replies without text",
	"replies of several codes",
	"line ends, splits and endless replies",
	"control octets in replies",
	"421 at any moment, and refusing greetings",
	"EHLO, HELO and keywords",
	"before and after TLS",
	"replies that nothing asked for",
	"AUTH exchanges",
	"SIZE, and what a message needs",
	"recipients one by one",
	"groups of commands",
	"354 and dots",
	"smuggling",
	"lost after the final dot",
	"BDAT",
	"LMTP",
	"enhanced status codes",
	"LIMITS, xtext and injection",
	"limits of length and time",
}

// Case is one server and what a client makes of it.
type Case struct {
	Group  int
	Name   string // unique
	Script Script
	Plan   Plan
	Want   Want
	// Slow: minutes pass before the client has had enough, so only a test that makes its own time can run it.
	Slow bool
	// Whole: the case is that octets come in one piece.
	Whole bool
	// Page: this is one of those that also run in a browser.
	Page bool
}

// Plan has the keys of a session's plan that differ from one small message in clear.
type Plan map[string]any

// Want is what the result of the trace must hold, and the server have seen.
type Want struct {
	Outcome    trace.Outcome   `json:"outcome"`
	Phase      string          `json:"phase,omitempty"` // "": it depends on who is faster
	Error      trace.ErrorCode `json:"error,omitempty"`
	Says       string          `json:"says,omitempty"`       // part of the words of the error
	Reply      int             `json:"reply,omitempty"`      // code of the reply that decided
	Permanent  bool            `json:"permanent,omitempty"`  // trying again is of no use
	Recipients []trace.Outcome `json:"recipients,omitempty"` // of all messages, in order
	Message    *string         `json:"message,omitempty"`    // what the server got
	Shows      string          `json:"shows,omitempty"`      // part of the text of some event
	Oddity     string          `json:"oddity,omitempty"`     // a deviation that is taken, and remarked upon at some reply
}

// Server is a case's server at work on a loopback port, for one session.
type Server struct {
	Case Case
	Host string
	Port int

	listener net.Listener
	identity realservers.Identity
	report   Report
	done     chan struct{}
}

// Start starts the server of a case. Octetwise, it says each octet by itself.
func Start(c Case, identity realservers.Identity, octetwise bool) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the server of %q: %w", c.Name, err)
	}
	s := &Server{Case: c, Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port,
		listener: l, identity: identity, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.report = s.serve(octetwise)
	}()
	return s, nil
}

func (s *Server) serve(octetwise bool) Report {
	conn, err := s.listener.Accept()
	s.listener.Close()
	if err != nil {
		return Report{Err: fmt.Errorf("nobody connected: %w", err)}
	}
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		conn.Close()
		return Report{Err: err}
	}
	return s.Case.Script.Perform(conn, s.identity.Pair, octetwise)
}

// Plan is the plan in JSON that is to be run against this server.
func (s *Server) Plan() ([]byte, error) { return s.Case.PlanFor(s.Host, s.Port, s.identity.CA) }

// Stop ends the wait for a session, and returns what the server saw in the one that there was.
func (s *Server) Stop() Report {
	s.listener.Close()
	<-s.done
	return s.report
}

// PlanFor is the case's plan in JSON, for a server at this place whose certificate this authority signed.
func (c Case) PlanFor(host string, port int, ca string) ([]byte, error) {
	plan := map[string]any{
		"target":   map[string]any{"mode": trace.ModeLive, "host": host, "port": port},
		"security": "none",
		"tls":      map[string]any{"serverName": realservers.ServerName, "ca": []string{ca}},
		"messages": []any{letter(text, grace)},
	}
	maps.Copy(plan, c.Plan)
	return json.Marshal(plan)
}
