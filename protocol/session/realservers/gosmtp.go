package realservers

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"slices"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"smtpscope/protocol/sasl/saslserver"
)

// maxRecipients is what go-smtp announces with LIMITS (RFC 9422).
const maxRecipients = 50

// goSMTP is the emersion/go-smtp server, in this process, with a mailbox in memory.
type goSMTP struct {
	servers []*smtp.Server
	serving sync.WaitGroup

	mu     sync.Mutex
	stored [][]byte
	logged bytes.Buffer
	failed error // of Serve
}

func startGoSMTP(_ context.Context, ws *workspace) (ports, backend, error) {
	g := &goSMTP{}
	var at ports
	for _, listener := range []struct {
		port               *int
		implicit, mustAuth bool
		lmtp               bool
	}{
		{port: &at.smtp},
		{port: &at.lmtp, lmtp: true},
		{port: &at.submission, mustAuth: true},
		{port: &at.submissions, mustAuth: true, implicit: true},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports{}, nil, errors.Join(err, g.stop())
		}
		*listener.port = l.Addr().(*net.TCPAddr).Port
		config := &tls.Config{Certificates: []tls.Certificate{ws.tls.Pair}}
		if listener.implicit {
			l = tls.NewListener(l, config)
		}
		server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
			session := &goSMTPSession{mailbox: g}
			if listener.mustAuth {
				return &goSMTPAuthSession{goSMTPSession: session, conn: c}, nil
			}
			return session, nil
		}))
		server.Domain = ServerName
		server.TLSConfig = config
		server.MaxMessageBytes = MaxMessageSize
		server.MaxRecipients = maxRecipients
		server.LMTP = listener.lmtp
		server.EnableSMTPUTF8, server.EnableREQUIRETLS, server.EnableBINARYMIME, server.EnableDSN = true, true, true, true
		server.EnableRRVS, server.EnableDELIVERBY, server.EnableMTPRIORITY = true, true, true
		server.ErrorLog = log.New(g, "", log.LstdFlags)
		g.servers = append(g.servers, server)
		g.serving.Go(func() {
			if err := server.Serve(l); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.failed = errors.Join(g.failed, err)
			}
		})
	}
	return at, g, nil
}

func (g *goSMTP) messages(context.Context) ([][]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.stored), g.failed
}

// Write takes the server's log.
func (g *goSMTP) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.logged.Write(p)
}

func (g *goSMTP) log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	text := g.logged.Bytes()
	return string(text[max(0, len(text)-logTailBytes):])
}

func (g *goSMTP) exited() <-chan struct{} { return nil }

func (g *goSMTP) stop() error {
	var err error
	for _, server := range g.servers {
		err = errors.Join(err, server.Close())
	}
	g.serving.Wait()
	return errors.Join(err, g.failed)
}

// goSMTPSession accepts mail for Recipient.
type goSMTPSession struct{ mailbox *goSMTP }

func (s *goSMTPSession) Reset()                               {}
func (s *goSMTPSession) Logout() error                        { return nil }
func (s *goSMTPSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *goSMTPSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to != Recipient {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox here"}
	}
	return nil
}

func (s *goSMTPSession) Data(r io.Reader) error {
	message, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mailbox.mu.Lock()
	defer s.mailbox.mu.Unlock()
	s.mailbox.stored = append(s.mailbox.stored, message)
	return nil
}

// goSMTPAuthSession accepts mail after AUTH only.
type goSMTPAuthSession struct {
	*goSMTPSession
	conn          *smtp.Conn
	authenticated bool
}

func (s *goSMTPAuthSession) Mail(from string, opts *smtp.MailOptions) error {
	if !s.authenticated {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "authentication required"}
	}
	return s.goSMTPSession.Mail(from, opts)
}

// mechanisms are those with passwords.
func (s *goSMTPAuthSession) mechanisms() saslserver.Config {
	c := saslserver.Config{
		Password:  func(username string) (string, bool) { return Password, username == Username },
		Accept:    func() { s.authenticated = true },
		Wrong:     smtp.ErrAuthFailed,
		Malformed: &smtp.SMTPError{Code: 501, EnhancedCode: smtp.EnhancedCode{5, 5, 2}, Message: "malformed response"},
	}
	if state, ok := s.conn.TLSConnectionState(); ok {
		c.TLS = &state
	}
	return c
}

func (s *goSMTPAuthSession) AuthMechanisms() []string {
	return append(s.mechanisms().Mechanisms(), sasl.OAuthBearer, sasl.External, sasl.Anonymous)
}

func (s *goSMTPAuthSession) Auth(mechanism string) (sasl.Server, error) {
	judge := func(ok bool) error {
		if !ok {
			return smtp.ErrAuthFailed
		}
		s.authenticated = true
		return nil
	}
	switch mechanism {
	case sasl.OAuthBearer:
		return sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
			if judge(o.Username == Username && o.Token == Password) != nil {
				return &sasl.OAuthBearerError{Status: "invalid_token"}
			}
			return nil
		}), nil
	case sasl.External: // that the client is on this machine is proof enough
		return sasl.NewExternalServer(func(identity string) error { return judge(identity == Username) }), nil
	case sasl.Anonymous:
		return sasl.NewAnonymousServer(func(string) error { return judge(true) }), nil
	}
	if server := s.mechanisms().New(mechanism); server != nil {
		return server, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}
