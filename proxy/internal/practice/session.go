package practice

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

var (
	errNeedTLS = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0},
		Message: "Must issue a STARTTLS command first"}
	errNeedAuth = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0},
		Message: "Authentication required"}
	errInClear = &smtp.SMTPError{Code: 523, EnhancedCode: smtp.EnhancedCode{5, 7, 10},
		Message: "TLS is required"}
	errRequireTLS = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0},
		Message: "REQUIRETLS needs TLS (RFC 8689, 4.2.1)"}
	errBusy = &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1},
		Message: "Too much mail is arriving at once, try again later"}
	errStorage = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0},
		Message: "The message could not be stored"}
)

// session is one client between EHLO and its end; go-smtp makes a new one after STARTTLS.
type session struct {
	server *Server
	role   *role
	conn   *smtp.Conn
	front  *front

	// With BDAT go-smtp runs Data in a goroutine of its own, and Reset may
	// come meanwhile.
	mu            sync.Mutex
	authenticated bool
	envelope      envelope
}

// envelope is one mail transaction (RFC 5321, 3.3).
type envelope struct {
	reversePath  string
	forwardPaths []string
	utf8         bool // SMTPUTF8 was asked for
	begun        bool
	asked        []string // parameters, of what this server only keeps in mind
}

func (s *session) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.envelope.begun
}

func (s *session) signedIn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.authenticated
}

func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelope = envelope{}
}

func (s *session) Logout() error { return nil }

func (s *session) AuthMechanisms() []string {
	if !s.role.auth || s.front.tlsState() == nil {
		return nil
	}
	return s.sasl().Mechanisms()
}

func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if !s.role.auth {
		return nil, errNotHere
	}
	if s.front.tlsState() == nil {
		return nil, errInClear
	}
	if exchange := s.sasl().New(mechanism); exchange != nil {
		return exchange, nil
	}
	return nil, errMechanism
}

func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	encrypted := s.front.tlsState() != nil
	if s.role.auth && !s.authenticated && s.front.xclient["LOGIN"] == "" {
		if !encrypted {
			return errNeedTLS
		}
		return errNeedAuth
	}
	if from != "" {
		if err := checkPath(from, opts.UTF8, smtp.EnhancedCode{5, 1, 7}); err != nil {
			return err
		}
	}
	e := envelope{reversePath: from, utf8: opts.UTF8, begun: true, asked: slices.Clone(s.front.asked)}
	if opts.RequireTLS {
		if !encrypted {
			return errRequireTLS
		}
		e.asked = append(e.asked, "REQUIRETLS")
	}
	if opts.Return != "" {
		e.asked = append(e.asked, "RET="+string(opts.Return))
	}
	if opts.EnvelopeID != "" {
		e.asked = append(e.asked, "ENVID="+opts.EnvelopeID)
	}
	s.envelope = e
	return nil
}

func (s *session) Rcpt(to string, opts *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := checkPath(to, s.envelope.utf8, smtp.EnhancedCode{5, 1, 3}); err != nil {
		return err
	}
	if t, ok := findTrick(to); ok && !t.afterData {
		return t.reply
	}
	s.envelope.forwardPaths = append(s.envelope.forwardPaths, to)
	ask := func(text string) {
		s.envelope.asked = append(s.envelope.asked, text+" for <"+quotePath(to)+">")
	}
	if len(opts.Notify) > 0 {
		var conditions []string
		for _, n := range opts.Notify {
			conditions = append(conditions, string(n))
		}
		ask("NOTIFY=" + strings.Join(conditions, ","))
	}
	if since := opts.RequireRecipientValidSince; !since.IsZero() {
		ask("RRVS=" + since.Format(time.RFC3339))
	}
	return nil
}

// Data reads the message to its end, stores it and answers with its queue id.
func (s *session) Data(r io.Reader) error {
	stored, env, received, err := s.store(r)
	defer s.server.inFlight.Add(-received)
	if err != nil {
		return err
	}
	for _, to := range env.forwardPaths {
		if t, ok := findTrick(to); ok && t.afterData {
			return t.reply
		}
	}
	return stored()
}

// LMTPData does so for each recipient (RFC 2033, 4.2).
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	stored, env, received, err := s.store(r)
	defer s.server.inFlight.Add(-received)
	if err != nil {
		return err
	}
	for _, to := range env.forwardPaths {
		if t, ok := findTrick(to); ok && t.afterData {
			status.SetStatus(to, t.reply)
		} else {
			status.SetStatus(to, stored())
		}
	}
	return nil
}

// store reads the message to its end. What it returns stores it and says so, once or
// for each recipient.
func (s *session) store(r io.Reader) (stored func() error, env envelope, received int64, err error) {
	s.mu.Lock()
	env = s.envelope
	env.forwardPaths = slices.Clone(env.forwardPaths)
	s.mu.Unlock()

	var message bytes.Buffer
	id := newQueueID()
	s.writeTrace(&message, env, id)
	received, err = s.receive(&message, r)
	if errors.Is(err, smtp.ErrTooLongLine) {
		s.hangUp(fmt.Sprintf("500 5.5.2 A line of the message is longer than %d octets (RFC 5321, 4.5.3.1.6 allows 1000), closing", s.server.limits.line))
	}
	return sync.OnceValue(func() error {
		switch err := s.server.mailbox.put(id, message.Bytes()); {
		case errors.Is(err, errTooBig):
			return smtp.ErrDataTooLarge
		case err != nil:
			s.server.log.Error("practice message not stored", "error", err)
			return errStorage
		}
		s.server.log.Info("practice message stored", "octets", received, "recipients", len(env.forwardPaths))
		return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "OK: queued as " + id}
	}), env, received, err
}

// receive reads the message in pieces. It moves the deadline along, since
// go-smtp sets one for the whole message and RFC 5321, 4.5.3.2.5 means one for
// each block of data, and it holds the sum of all messages in flight down. The
// pieces are small because go-smtp's reader returns none that is not full.
func (s *session) receive(into *bytes.Buffer, r io.Reader) (received int64, err error) {
	piece := make([]byte, 4<<10)
	for {
		if err := s.conn.Conn().SetReadDeadline(time.Now().Add(s.server.limits.wait)); err != nil {
			return received, err
		}
		n, err := r.Read(piece)
		received += int64(n)
		if s.server.inFlight.Add(int64(n)) > s.server.limits.inFlight {
			return received, errBusy
		}
		into.Write(piece[:n])
		if err == io.EOF {
			return received, nil
		}
		if err != nil {
			return received, err
		}
	}
}

// hangUp answers and closes. Go-smtp loses its place in the input after a line
// that is too long: it would answer twice and then close with input unread,
// which makes the kernel drop the reply on its way (RFC 1122, 4.2.2.13). So the
// reply goes out here, and the input is read to its end first.
func (s *session) hangUp(reply string) {
	conn := s.conn.Conn()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(s.server.limits.linger)); err != nil {
		return
	}
	if _, err := io.WriteString(conn, reply+"\r\n"); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, s.server.limits.message))
}

// writeTrace puts Return-Path and Received on top, as the server that makes
// final delivery does (RFC 5321, 4.4).
func (s *session) writeTrace(w *bytes.Buffer, env envelope, id string) {
	address := "unknown"
	if host, _, err := net.SplitHostPort(s.conn.Conn().RemoteAddr().String()); err == nil {
		address = "[" + host + "]"
	}
	fmt.Fprintf(w, "Return-Path: <%s>\r\n", quotePath(env.reversePath))
	writeList(w, "X-Practice-Asked", env.asked)
	writeList(w, "X-Practice-XCLIENT", s.front.xclient.list())
	writeList(w, "X-Practice-XFORWARD", s.front.xforward.list())
	fmt.Fprintf(w, "Received: from %s (%s)\r\n", traceName(s.conn.Hostname(), address), address)
	state := s.front.tlsState()
	clauses := []string{"by", Host, "with", s.protocol(env, state != nil), "id", id}
	// With several recipients a "for" would tell each of the others (RFC 5321, 7.2).
	if len(env.forwardPaths) == 1 {
		clauses = append(clauses, "\r\n\tfor", "<"+quotePath(env.forwardPaths[0])+">")
	}
	if state != nil {
		clauses = append(clauses, "\r\n\ttls", tls.CipherSuiteName(state.CipherSuite)) // RFC 8314, 4.3
	}
	fmt.Fprintf(w, "\t%s;\r\n\t%s\r\n", strings.ReplaceAll(strings.Join(clauses, " "), " \r\n", "\r\n"), time.Now().Format(time.RFC1123Z))
}

// writeList writes a header field with an item a line, none when there are no items.
func writeList(w *bytes.Buffer, field string, items []string) {
	if len(items) > 0 {
		fmt.Fprintf(w, "%s: %s\r\n", field, strings.Join(items, ";\r\n\t"))
	}
}

// protocol is the value of "with" (RFC 3848; RFC 6531, 4.3).
func (s *session) protocol(env envelope, encrypted bool) string {
	name := s.role.protocol()
	if env.utf8 {
		name = "UTF8" + strings.TrimPrefix(name, "E") // UTF8SMTP, UTF8LMTP
	}
	if encrypted {
		name += "S"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.authenticated {
		name += "A"
	}
	return name
}

// traceName is the name that the client gave in EHLO when it can stand in a
// header field, and otherwise the address that it came from.
func traceName(name, otherwise string) string {
	bad := func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && r != ':' && r != '[' && r != ']' && !isAlnum(r)
	}
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, bad) {
		return otherwise
	}
	return name
}

func isAlnum(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// checkPath holds an address to the limits of RFC 5321, 4.5.3.1 and keeps out
// what could not stand in a header field. Go-smtp has taken quotes off already.
func checkPath(path string, utf8Allowed bool, syntax smtp.EnhancedCode) error {
	at := strings.LastIndexByte(path, '@')
	if at < 0 {
		return &smtp.SMTPError{Code: 501, EnhancedCode: syntax, Message: "The address has no @"}
	}
	local, domain := path[:at], path[at+1:]
	problem := ""
	switch {
	case len(local) > 64:
		problem = "The local-part is longer than 64 octets (RFC 5321, 4.5.3.1.1)"
	case len(domain) > 255:
		problem = "The domain is longer than 255 octets (RFC 5321, 4.5.3.1.2)"
	case !utf8.ValidString(path):
		problem = "The address is not UTF-8"
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		problem = "The address holds a control character"
	case strings.ContainsAny(domain, " \"(),;<>@\\"):
		problem = "The domain holds a character that no domain has"
	}
	if problem != "" {
		return &smtp.SMTPError{Code: 501, EnhancedCode: syntax, Message: problem}
	}
	if !utf8Allowed && strings.ContainsFunc(path, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 6, 7}, // RFC 6531, 3.5
			Message: "An address beyond ASCII needs SMTPUTF8 in MAIL FROM"}
	}
	return nil
}

// quotePath restores the quotes that a local-part needs (RFC 5321, 4.1.2).
func quotePath(path string) string {
	at := strings.LastIndexByte(path, '@')
	if at < 0 {
		return path
	}
	local := path[:at]
	atom := local != "" && !strings.HasPrefix(local, ".") && !strings.HasSuffix(local, ".") && !strings.Contains(local, "..") &&
		!strings.ContainsFunc(local, func(r rune) bool {
			return r < utf8.RuneSelf && !isAlnum(r) && !strings.ContainsRune(".!#$%&'*+-/=?^_`{|}~", r)
		})
	if atom {
		return path
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"` + path[at:]
}
