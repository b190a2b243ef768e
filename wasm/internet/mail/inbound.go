package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/emersion/go-smtp"
)

var (
	errNeedAuth  = reply(530, 5, 7, 0, "Authentication required")
	errSender    = reply(501, 5, 1, 7, "The reverse-path is not a mailbox of RFC 5321, 4.1.2")
	errRecipient = reply(501, 5, 1, 3, "The forward-path is not a mailbox of RFC 5321, 4.1.2")
	errRelaying  = reply(550, 5, 7, 1, "Relaying denied: the recipient is not of this server, and you have not signed in")
	errUnknown   = reply(550, 5, 1, 1, "No such mailbox here")
	errGreylist  = reply(451, 4, 7, 1, "Greylisted, try again later")
	errFull      = reply(452, 4, 2, 2, "The mailbox is full")
	errHops      = reply(554, 5, 4, 6, fmt.Sprintf("The message has passed more than %d servers: it goes in circles", maxReceived))
	errStorage   = reply(451, 4, 3, 0, "The message could not be stored")
	errLongLine  = reply(500, 5, 5, 2, fmt.Sprintf("A line of the message is longer than %d octets (RFC 5321, 4.5.3.1.6 allows 1000), closing", maxLine))
	errSilence   = reply(421, 4, 4, 2, fmt.Sprintf("Nothing of the message came for %v, closing", patience))
)

func reply(code, class, subject, detail int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}

// inbound is one client between EHLO and its end; go-smtp makes a new one after STARTTLS.
type inbound struct {
	server *server
	conn   *smtp.Conn
	line   *line

	// With BDAT go-smtp runs Data in a goroutine of its own, and Reset may come meanwhile.
	mu       sync.Mutex
	signedIn bool
	envelope envelope
}

// envelope is what a mail transaction says of its message (RFC 5321, 2.3.1).
type envelope struct {
	id   string // the message's queue id
	from string // reverse-path
	to   []string
	utf8 bool // SMTPUTF8 was asked for
}

func newInbound(v *server, c *smtp.Conn) *inbound {
	return &inbound{server: v, conn: c, line: lineOf(c)}
}

// Reset implements smtp.Session.
func (s *inbound) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelope = envelope{}
}

// Logout implements smtp.Session.
func (s *inbound) Logout() error { return nil }

// Mail implements smtp.Session.
func (s *inbound) Mail(from string, opts *smtp.MailOptions) error {
	if s.server.Quirks.Shutdown == "MAIL" {
		return s.hangUp(s.server.shuttingDown())
	}
	if from != "" {
		from = quoted(from)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case from != "" && !valid(from, opts.UTF8):
		return errSender
	case len(s.server.Accounts) > 0 && !s.signedIn && (s.line.door.submission || s.server.local(from)):
		return errNeedAuth
	}
	s.envelope = envelope{from: from, utf8: opts.UTF8}
	return nil
}

// Rcpt implements smtp.Session.
func (s *inbound) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.server.Quirks.Shutdown == "RCPT" {
		return s.hangUp(s.server.shuttingDown())
	}
	to = quoted(to)
	s.mu.Lock()
	defer s.mu.Unlock()
	local := s.server.local(to)
	switch {
	case !valid(to, s.envelope.utf8):
		return errRecipient
	case !local && !s.signedIn && !s.server.Relay:
		return errRelaying
	case local && s.server.unknown(to):
		return errUnknown
	case !s.signedIn && s.server.greylisted(s.client(), s.envelope.from, to):
		return errGreylist
	case local && s.server.Quirks.MailboxFull:
		return errFull
	}
	s.envelope.to = append(s.envelope.to, to)
	return nil
}

// Data implements smtp.Session: it takes the message, or says why not.
func (s *inbound) Data(r io.Reader) error {
	s.mu.Lock()
	e := s.envelope
	e.to, e.id = slices.Clone(e.to), s.server.system.newID(s.server.Name)
	s.mu.Unlock()

	text, err := s.read(r)
	switch {
	case errors.Is(err, smtp.ErrTooLongLine):
		return s.hangUp(errLongLine) // go-smtp has lost its place in the input
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s.hangUp(errSilence)
	case err != nil:
		return err
	case s.server.Quirks.Shutdown == "DATA":
		return s.hangUp(s.server.shuttingDown())
	case hops(text) > maxReceived:
		return errHops
	}
	if err := s.server.accept(e, append([]byte(s.received(e)), text...)); err != nil {
		return errStorage
	}
	return reply(250, 2, 0, 0, "Ok: queued as "+e.id)
}

// read reads a message in pieces and moves the deadline along: go-smtp sets one
// for all of the message, and RFC 5321, 4.5.3.2.5 means one for each block.
func (s *inbound) read(r io.Reader) ([]byte, error) {
	var text bytes.Buffer
	piece := make([]byte, 4<<10)
	for {
		if err := s.line.SetReadDeadline(s.server.system.config.Now().Add(patience)); err != nil {
			return nil, err
		}
		n, err := r.Read(piece)
		text.Write(piece[:n])
		if err == io.EOF {
			return text.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// hangUp ends the connection with a reply. What it returns is that reply, for
// go-smtp, which cannot send it any more.
func (s *inbound) hangUp(r *smtp.SMTPError) error {
	s.line.hangUp(s.conn.Conn(), r)
	return r
}

// client is the address that the client has.
func (s *inbound) client() string {
	host, _, _ := net.SplitHostPort(s.line.RemoteAddr().String()) // in the lab there is always a port
	return host
}
