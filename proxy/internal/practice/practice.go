// Package practice is the mail server that smtpscope brings along: a real SMTP and
// LMTP server on loopback, with STARTTLS, implicit TLS and AUTH, that keeps what it
// is sent in a small mailbox so that it can be read back byte for byte.
//
// It refuses to know anything of delivery. It accepts mail for every address,
// opens no connection of its own and looks nothing up, so nothing that is sent
// to it can ever leave this machine. It also knows nothing of tunnels and web
// pages: it offers listeners and a message by its queue id.
package practice

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/hack-pad/hackpadfs"
	"github.com/hack-pad/hackpadfs/mem"
)

const (
	// Host is the name under which a page asks for the practice server. The
	// top-level domain test never exists in the DNS (RFC 6761, 6.2).
	Host = "mail.practice.test"

	// Username and Password are the one account. They are no secret: they are
	// shown to everyone who opens the page.
	Username = "ada"
	Password = "engine"
)

// The ports that the page asks for. The listeners behind them are ephemeral.
const (
	PortSMTP        = 25  // no TLS at first, STARTTLS offered, no AUTH (RFC 5321)
	PortSubmission  = 587 // STARTTLS, then AUTH, then MAIL (RFC 6409)
	PortSubmissions = 465 // TLS from the first byte, then AUTH (RFC 8314, 3.3)
	PortLMTP        = 24  // LMTP, STARTTLS offered, no AUTH (RFC 2033)
)

// limits are what keep a practice server small. Tests make them smaller.
type limits struct {
	message    int64         // octets of one message, announced with SIZE (RFC 1870)
	recipients int           // RFC 5321, 4.5.3.1.8 asks for at least 100
	line       int           // octets of one line; above every limit of 4.5.3.1, far below what hurts
	wait       time.Duration // RFC 5321, 4.5.3.2.7 asks for at least 5 minutes; a class that paused needs more
	write      time.Duration
	linger     time.Duration // how long the rest of an unreadable message is read before closing
	inFlight   int64         // octets of all messages that are being received at one time
	storeBytes int64
	storeCount int
}

var defaults = limits{
	message:    30 << 20,
	recipients: 100,
	line:       64 << 10,
	wait:       10 * time.Minute,
	write:      time.Minute,
	linger:     5 * time.Second,
	inFlight:   128 << 20,
	storeBytes: 64 << 20,
	storeCount: 200,
}

// Config is what a practice server is made of. The zero value is good.
type Config struct {
	// FS holds the mailbox; nil means memory. Files that are there already
	// with names of this package's making are kept as messages.
	FS hackpadfs.FS
	// Logger hears about connections that failed and messages that were
	// stored, never about their contents. Nil means silence.
	Logger *slog.Logger
}

// Server is a running practice server.
type Server struct {
	limits    limits
	log       *slog.Logger
	authority *authority
	mailbox   *mailbox
	inFlight  atomic.Int64

	roles   map[int]*role
	serving sync.WaitGroup
}

// role is one of the listeners and how it behaves.
type role struct {
	port     int
	implicit bool // TLS from the first byte
	auth     bool // AUTH offered, and required before MAIL
	lmtp     bool
	tls      *tls.Config
	server   *smtp.Server
	listener net.Listener
	address  netip.AddrPort
}

func (r *role) protocol() string {
	if r.lmtp {
		return "LMTP"
	}
	return "ESMTP"
}

// Start makes the certificates, listens on ephemeral loopback ports and
// serves them until Close.
func Start(cfg Config) (*Server, error) { return start(cfg, defaults) }

func start(cfg Config, lim limits) (*Server, error) {
	s := &Server{limits: lim, log: cfg.Logger, roles: map[int]*role{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	files := cfg.FS
	if files == nil {
		memory, err := mem.NewFS()
		if err != nil {
			return nil, fmt.Errorf("practice server: make a file system in memory: %w", err)
		}
		files = memory
	}
	var err error
	if s.mailbox, err = openMailbox(files, lim.storeBytes, lim.storeCount); err != nil {
		return nil, fmt.Errorf("practice server: open the mailbox: %w", err)
	}
	if s.authority, err = newAuthority(time.Now); err != nil {
		return nil, fmt.Errorf("practice server: make certificates: %w", err)
	}
	for _, r := range []*role{
		{port: PortSMTP},
		{port: PortSubmission, auth: true},
		{port: PortSubmissions, auth: true, implicit: true},
		{port: PortLMTP, lmtp: true},
	} {
		if err := s.listen(r); err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("practice server: listen on loopback for port %d: %w", r.port, err)
		}
	}
	return s, nil
}

func (s *Server) listen(r *role) error {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.address = ln.Addr().(*net.TCPAddr).AddrPort()
	r.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.authority.certificate}

	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		f := c.Conn().(*front)
		f.session = &session{server: s, role: r, conn: c, front: f}
		return f.session, nil
	}))
	server.Domain = Host
	server.LMTP = r.lmtp
	server.MaxMessageBytes = s.limits.message
	server.MaxRecipients = s.limits.recipients
	server.MaxLineLength = s.limits.line
	server.ReadTimeout = s.limits.wait
	server.WriteTimeout = s.limits.write
	// The mailbox keeps octets as they are, and says on top of a message what was
	// asked for besides. What a real server would do about it, such as to send
	// notifications (RFC 3461), this one does not: it sends nothing.
	server.EnableSMTPUTF8 = true
	server.EnableBINARYMIME = true
	server.EnableREQUIRETLS = true
	server.EnableDSN = true
	server.EnableRRVS = true
	server.AllowInsecureAuth = true // TLS is the front's
	server.ErrorLog = serverLog{s.log, r.port}

	r.listener, r.server = ln, server
	s.roles[r.port] = r
	s.serving.Go(func() {
		if err := server.Serve(fronts{ln, s, r}); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Error("practice server stopped listening", "port", r.port, "error", err)
		}
	})
	return nil
}

// Close stops listening and closes every connection.
func (s *Server) Close() error {
	var errs []error
	for _, r := range s.roles {
		// The listener first and by hand: go-smtp knows it only once Serve runs.
		if err := r.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
		if err := r.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, smtp.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	s.serving.Wait()
	return errors.Join(errs...)
}

// Listeners maps the ports that a page asks for to the loopback addresses that
// serve them.
func (s *Server) Listeners() map[int]netip.AddrPort {
	out := make(map[int]netip.AddrPort, len(s.roles))
	for port, r := range s.roles {
		out[port] = r.address
	}
	return out
}

// Message returns the stored message with this queue id: Return-Path and
// Received, then the original octets. The error is fs.ErrNotExist when there
// is none, or no longer.
func (s *Server) Message(queueID string) ([]byte, error) { return s.mailbox.get(queueID) }

// Info is what a page needs to know to use the practice server.
type Info struct {
	Host     string  `json:"host"`
	Ports    Ports   `json:"ports"`
	Username string  `json:"username"`
	Password string  `json:"password"`
	CA       string  `json:"ca"` // PEM
	Tricks   []Trick `json:"tricks"`
}

// Ports are named as in the service name registry.
type Ports struct {
	SMTP        int `json:"smtp"`
	Submission  int `json:"submission"`
	Submissions int `json:"submissions"`
	LMTP        int `json:"lmtp"`
}

// Info describes this server.
func (s *Server) Info() Info {
	info := Info{
		Host:     Host,
		Ports:    Ports{PortSMTP, PortSubmission, PortSubmissions, PortLMTP},
		Username: Username,
		Password: Password,
		CA:       s.authority.pem,
	}
	for _, t := range tricks {
		info.Tricks = append(info.Tricks, Trick{To: t.localPart + "@example.net", Reply: replyText(t.reply)})
	}
	return info
}

// Trick is a recipient that teaches a failure.
type Trick struct {
	To    string `json:"to"`    // any domain does
	Reply string `json:"reply"` // what the server answers
}

// trick is a local-part, in lower case, and the reply that it always earns.
type trick struct {
	localPart string
	afterData bool // the reply comes after the message, not to RCPT
	reply     *smtp.SMTPError
}

var tricks = []trick{
	{"reject", false, &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1},
		Message: "No such mailbox here (this practice address always says so)"}},
	{"later", false, &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1},
		Message: "Greylisted, try again later (this practice address always says so)"}},
	{"full", false, &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2},
		Message: "The mailbox is full (this practice address always says so)"}},
	{"bounce-data", true, &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0},
		Message: "The message was read and is refused (this practice address always says so)"}},
}

// findTrick looks at the local-part only, and without regard to case.
func findTrick(forwardPath string) (trick, bool) {
	at := strings.LastIndexByte(forwardPath, '@')
	if at < 0 {
		return trick{}, false
	}
	for _, t := range tricks {
		if strings.EqualFold(forwardPath[:at], t.localPart) {
			return t, true
		}
	}
	return trick{}, false
}

func replyText(e *smtp.SMTPError) string {
	return fmt.Sprintf("%d %d.%d.%d %s", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], e.Message)
}

// serverLog carries go-smtp's complaints to slog. They are about connections:
// failed handshakes, resets. Go-smtp puts no payload into them.
type serverLog struct {
	log  *slog.Logger
	port int
}

func (l serverLog) Printf(format string, v ...any) {
	l.log.Info("practice server", "port", l.port, "event", fmt.Sprintf(format, v...))
}

func (l serverLog) Println(v ...any) {
	l.log.Info("practice server", "port", l.port, "event", strings.TrimSpace(fmt.Sprintln(v...)))
}
