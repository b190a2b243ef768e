package realservers

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"slices"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

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
	}{
		{port: &at.smtp},
		{port: &at.submission, mustAuth: true},
		{port: &at.submissions, mustAuth: true, implicit: true},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports{}, nil, errors.Join(err, g.stop())
		}
		*listener.port = l.Addr().(*net.TCPAddr).Port
		config := &tls.Config{Certificates: []tls.Certificate{ws.tls.pair}}
		if listener.implicit {
			l = tls.NewListener(l, config)
		}
		server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
			session := &goSMTPSession{mailbox: g}
			if listener.mustAuth {
				return &goSMTPAuthSession{goSMTPSession: session}, nil
			}
			return session, nil
		}))
		server.Domain = ServerName
		server.TLSConfig = config
		server.MaxMessageBytes = MaxMessageSize
		server.EnableSMTPUTF8, server.EnableDSN, server.EnableBINARYMIME = true, true, true
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
	authenticated bool
}

func (s *goSMTPAuthSession) Mail(from string, opts *smtp.MailOptions) error {
	if !s.authenticated {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "authentication required"}
	}
	return s.goSMTPSession.Mail(from, opts)
}

func (s *goSMTPAuthSession) AuthMechanisms() []string { return []string{sasl.Plain, sasl.Login} }

func (s *goSMTPAuthSession) Auth(mechanism string) (sasl.Server, error) {
	check := func(username, password string) error {
		if subtle.ConstantTimeCompare([]byte(username+"\x00"+password), []byte(Username+"\x00"+Password)) != 1 {
			return smtp.ErrAuthFailed
		}
		s.authenticated = true
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, username, password string) error { return check(username, password) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	default:
		return nil, smtp.ErrAuthUnknownMechanism
	}
}

// loginServer is the server side of LOGIN (draft-murchison-sasl-login), which go-sasl has for clients only. A client may
// send the username as its initial response.
type loginServer struct {
	check    func(username, password string) error
	username *string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case l.username == nil:
		username := string(response)
		l.username = &username
		return []byte("Password:"), false, nil
	default:
		return nil, true, l.check(*l.username, string(response))
	}
}
