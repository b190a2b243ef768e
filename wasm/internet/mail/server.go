package mail

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"

	protocol "smtpscope/protocol/smtp"
)

// Server is one mail server as its administrator would configure it.
type Server struct {
	Host    *internet.Host
	Name    string   // domain name of the host: in the greeting, in Received, in bounces
	Domains []string // mail for these goes to mailboxes here

	// Accounts are passwords by user names. With any, AUTH is offered, also without
	// TLS, and whoever has signed in may send to anybody. Who
	// has not cannot submit: not on ports 587 and 465 (RFC 6409, 4.3), and on port 25
	// not from an address of Domains. Other servers still bring mail for Domains there.
	Accounts map[string]string

	Relay bool   // takes mail for any domain from anybody, as servers of the early internet did
	Next  string // where all that is not local goes, the name of a smart host; "": to the MX of its domain

	Quirks Quirks
}

// Ports that a server listens on.
const (
	portLMTP        = 24 // RFC 2033; only at a final server
	portSMTP        = 25
	portSubmission  = 587 // RFC 6409
	portSubmissions = 465 // RFC 8314, 3.3: TLS from the first octet on
)

// Limits of a server.
const (
	// patience is how long it waits for a command, for a block of a message and for
	// its replies to be taken (RFC 5321, 4.5.3.2.7).
	patience = 5 * time.Minute
	// linger is how long it waits for a client to close after a 421.
	linger = 30 * time.Second
	// maxMessage is announced with SIZE (RFC 1870) unless the quirks say otherwise.
	maxMessage = 50_000_000
	// maxRecipients of one message: RFC 5321, 4.5.3.1.8 asks for at least 100.
	maxRecipients = 100
	// maxLine is above every limit of RFC 5321, 4.5.3.1, so that the lines that real
	// programs send get through.
	maxLine = 64 << 10
	// maxReceived is how many servers a message may have passed (RFC 5321, 6.3).
	maxReceived = 100
)

// server is a Server that was started.
type server struct {
	Server
	system *System
	tls    *tls.Config // nil: none

	// Guarded by System.mu.
	greylist map[triplet]time.Time
	queue    []*queued
	working  bool
	wake     context.CancelFunc // ends the worker's sleep
}

// final reports that whatever this server takes is for mailboxes here.
func (v *server) final() bool { return len(v.Accounts) == 0 && !v.Relay }

// Start makes a server listen: on TCP ports 25, 587 and, if it has TLS, 465, and on
// UDP port 25 to show what SMTP is like without TCP. With Quirks.Down it does so later.
func (s *System) Start(c Server) error {
	v := &server{Server: c, system: s, greylist: map[triplet]time.Time{}, wake: func() {}, tls: s.config.TLS(c.Name)}
	if _, err := protocol.Ehlo(c.Name); err != nil {
		return fmt.Errorf("mail: server on %s: name: %w", c.Host.ID(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.servers, func(o *server) bool { return o.Host == c.Host }) {
		return fmt.Errorf("mail: %s: host %s has a mail server already; give every server a host of its own", c.Name, c.Host.ID())
	}
	s.servers = append(s.servers, v)
	if c.Quirks.Down == 0 {
		return v.listen()
	}
	go func() {
		if c.Host.Sleep(context.Background(), c.Quirks.Down) == nil {
			v.listen() //nolint:errcheck // no port is taken, and a lab that is closed needs no server
		}
	}()
	return nil
}

func (v *server) listen() error {
	upgrade := v.tls
	if v.Quirks.NoSTARTTLS || v.Quirks.NoPipelining {
		upgrade = nil
	}
	doors := []door{
		{network: "tcp", port: portSMTP, upgrade: upgrade},
		{network: "udp", port: portSMTP},
		{network: "tcp", port: portSubmission, upgrade: upgrade, submission: true},
	}
	if v.tls != nil {
		doors = append(doors, door{network: "tcp", port: portSubmissions, implicit: v.tls, submission: true})
	}
	if v.final() {
		doors = append(doors, door{network: "tcp", port: portLMTP, upgrade: upgrade, lmtp: true})
	}
	for _, d := range doors {
		if err := v.Host.Serve(d.network, d.port, func(l net.Listener) { v.serve(d, l) }); err != nil {
			return fmt.Errorf("mail: %s cannot listen: %w", v.Name, err)
		}
	}
	return nil
}

// door is a port and what clients find behind it.
type door struct {
	network    string
	port       int
	upgrade    *tls.Config // for STARTTLS; nil: not offered
	implicit   *tls.Config // for TLS from the first octet on; nil: none
	submission bool        // only who has signed in may send
	lmtp       bool
}

// serve runs go-smtp until the listener is closed.
func (v *server) serve(d door, l net.Listener) {
	g := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return newInbound(v, c), nil
	}))
	g.Domain = v.Name
	g.TLSConfig = d.upgrade
	g.MaxMessageBytes = maxMessage
	if n := v.Quirks.Size; n > 0 {
		g.MaxMessageBytes = int64(n)
	}
	g.MaxRecipients = maxRecipients
	g.MaxLineLength = maxLine
	g.ReadTimeout, g.WriteTimeout = patience, patience
	g.AllowInsecureAuth = true
	g.LMTP = d.lmtp
	// Who relays would have to find all of these at the next server.
	g.EnableSMTPUTF8, g.EnableBINARYMIME, g.EnableREQUIRETLS, g.EnableRRVS = v.final(), v.final(), v.final(), v.final()
	g.ErrorLog = log.New(io.Discard, "", 0)
	g.Serve(lines{l, v, d}) //nolint:errcheck // that the lab was closed is no error
}

// local reports whether a path leads to a mailbox here.
func (v *server) local(path string) bool {
	return slices.ContainsFunc(v.Domains, func(d string) bool { return strings.EqualFold(d, domainOf(path)) })
}

// event reports what became of a message. System.mu is held.
func (v *server) event(kind trace.Kind, data trace.MailData, message []byte) {
	data.Host = v.Host.ID()
	v.system.config.Event(kind, data, message)
}
