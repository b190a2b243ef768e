package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"github.com/emersion/go-smtp"
)

// lines hands go-smtp its connections.
type lines struct {
	net.Listener
	server *server
	door   door
}

// Accept implements net.Listener.
func (l lines) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := &line{Conn: c, raw: c, server: l.server, door: l.door}
	if l.door.implicit != nil {
		n.Conn = tls.Server(c, l.door.implicit)
	}
	return n, nil
}

// line is a connection as go-smtp uses it: above implicit TLS, below STARTTLS. It
// does for a server what go-smtp cannot be told: when to greet, what to leave out
// of the reply to EHLO, and how to hang up. A reply of several lines, which go-smtp
// writes one by one, it sends as a whole.
type line struct {
	net.Conn
	raw      net.Conn // the lab's
	server   *server
	door     door
	greeted  bool
	extended bool   // the client said EHLO, not HELO
	held     []byte // lines of a reply that has more
}

// lineOf finds the line of a connection of go-smtp.
func lineOf(c *smtp.Conn) *line {
	conn := c.Conn()
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	return conn.(*line)
}

// Write implements net.Conn. Go-smtp writes a line at a time; what is no line of a
// reply is TLS behind STARTTLS, whose records do not begin with a digit.
func (l *line) Write(p []byte) (int, error) {
	if !l.greeted {
		l.greeted = true
		if err := l.greet(); err != nil {
			return 0, err
		}
	}
	switch {
	case bytes.HasPrefix(p, []byte("250-")):
		l.extended = true
		if !l.server.Quirks.NoPipelining || string(p) != "250-PIPELINING\r\n" {
			l.held = append(l.held, p...)
		}
		return len(p), nil
	case bytes.HasPrefix(p, []byte("354 ")) && l.server.Quirks.Shutdown == "DATA":
		l.hangUp(l, l.server.shuttingDown())
		return 0, net.ErrClosed
	}
	whole := append(l.held, p...)
	l.held = nil
	if _, err := l.Conn.Write(whole); err != nil {
		return 0, err
	}
	return len(p), nil
}

// greet lets the time pass that comes before the greeting: TLS, and the delay
// that the quirks ask for.
func (l *line) greet() error {
	deadline := func() error { return l.SetDeadline(l.server.system.config.Now().Add(patience)) }
	if t, ok := l.Conn.(*tls.Conn); ok {
		if err := deadline(); err != nil {
			return err
		}
		if err := t.Handshake(); err != nil {
			return err
		}
	}
	if d := l.server.Quirks.GreetingDelay; d > 0 {
		if err := l.server.Host.Sleep(context.Background(), d); err != nil {
			return err
		}
	}
	return deadline()
}

// hangUp answers and closes the connection, of which conn is the uppermost layer.
// What the client has sent meanwhile is read before that: a connection that is
// closed with input unread is reset, and that can overtake the reply (RFC 1122, 4.2.2.13).
func (l *line) hangUp(conn net.Conn, r *smtp.SMTPError) {
	defer conn.Close()
	if conn.SetDeadline(l.server.system.config.Now().Add(linger)) != nil {
		return
	}
	text := fmt.Sprintf("%d %d.%d.%d %s\r\n", r.Code, r.EnhancedCode[0], r.EnhancedCode[1], r.EnhancedCode[2], r.Message)
	if _, err := io.WriteString(conn, text); err != nil {
		return
	}
	for _, layer := range []net.Conn{conn, l.Conn} {
		if t, ok := layer.(*tls.Conn); ok && t.CloseWrite() != nil {
			return
		}
	}
	if l.raw.(interface{ CloseWrite() error }).CloseWrite() != nil {
		return // UDP has no end of what is sent
	}
	io.Copy(io.Discard, l.raw) //nolint:errcheck // the connection is over either way
}

// shuttingDown is the reply of Quirks.Shutdown (RFC 5321, 3.8).
func (v *server) shuttingDown() *smtp.SMTPError {
	return reply(421, 4, 3, 2, v.Name+" is shutting down and closes the connection")
}
