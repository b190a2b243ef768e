// Package saslserver makes the servers of SASL mechanisms (RFC 4422), for the mail
// servers that this project runs for practice and in its lab. It is apart from
// package sasl so that a page that only signs in does not carry it.
//
// It keeps no accounts: it asks for passwords and says who is right.
package saslserver

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// Server is one exchange.
type Server = sasl.Server

// Config is what all exchanges on a connection have in common.
type Config struct {
	// Password is that of a user, and false when there is no such user.
	Password func(username string) (string, bool)
	// Accept is told that the client has proved who it is. Nobody may act for someone else.
	Accept func()
	// TLS is the connection's, nil without.
	TLS *tls.ConnectionState
	// Wrong is the error of credentials that are wrong, Malformed that of a response
	// that does not have the form that the mechanism asks for.
	Wrong, Malformed error
}

// Mechanisms are those that can be offered on a connection, the best first.
func (c Config) Mechanisms() []string {
	m := []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", sasl.Plain, sasl.Login}
	if !c.binding().IsSupported() {
		m = slices.DeleteFunc(m, func(m string) bool { return strings.HasSuffix(m, "-PLUS") })
	}
	return m
}

// New returns the server of a mechanism, nil for one that is not among Mechanisms.
func (c Config) New(mechanism string) Server {
	if !slices.Contains(c.Mechanisms(), mechanism) {
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		p := &plain{malformed: c.Malformed}
		p.Server = sasl.NewPlainServer(func(identity, username, password string) error {
			p.judged = true
			return c.judge(identity, username, password)
		})
		return p
	case sasl.Login:
		return &login{judge: c.judge}
	}
	return c.newScram(mechanism)
}

// binding is what SCRAM can be bound to TLS by (RFC 9266).
func (c Config) binding() scram.ChannelBinding {
	b, err := scram.NewTLSExporterBinding(c.TLS)
	if err != nil {
		return scram.ChannelBinding{}
	}
	return b
}

// judge takes the same time for every wrong password of a user.
func (c Config) judge(identity, username, password string) error {
	right, known := c.Password(username)
	x, y := sha256.Sum256([]byte(right)), sha256.Sum256([]byte(password))
	if subtle.ConstantTimeCompare(x[:], y[:]) != 1 || !known || identity != "" && identity != username {
		return c.Wrong
	}
	c.Accept()
	return nil
}

// plain replaces go-sasl's own errors.
type plain struct {
	Server
	judged    bool
	malformed error
}

func (p *plain) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := p.Server.Next(response)
	if err != nil && !p.judged {
		err = p.malformed
	}
	return challenge, done, err
}

// login is LOGIN, which has no RFC, only habit: two prompts, two answers; an
// initial response is the user name.
type login struct {
	judge    func(identity, username, password string) error
	prompted bool
	username *string
}

func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil && !l.prompted:
		l.prompted = true
		return []byte("Username:"), false, nil
	case l.username == nil:
		username := string(response)
		l.username = &username
		return []byte("Password:"), false, nil
	}
	return nil, true, l.judge("", *l.username, string(response))
}

// iterations are as many as RFC 5802, 5.1 asks for at least: this server hashes anew for every sign-in.
const iterations = 4096

// errNobody says that there is no such user.
var errNobody = errors.New("saslserver: no such user")

// scramServer is SCRAM (RFC 5802). Its last message is a challenge, which the client
// answers with nothing (RFC 4954, 4).
type scramServer struct {
	Config
	conversation *scram.ServerConversation
	asked        bool
}

func (c Config) newScram(mechanism string) Server {
	hash := scram.SHA1
	if strings.HasPrefix(mechanism, "SCRAM-SHA-256") {
		hash = scram.SHA256
	}
	server, err := hash.NewServer(func(username string) (scram.StoredCredentials, error) {
		password, known := c.Password(username)
		if !known {
			return scram.StoredCredentials{}, errNobody
		}
		client, err := hash.NewClient(username, password, "")
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		salt := hmac.New(sha256.New, []byte("salt"))
		salt.Write([]byte(username))
		return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt.Sum(nil)[:16]), Iters: iterations})
	})
	if err != nil {
		return nil
	}
	s := &scramServer{Config: c, conversation: server.NewConversationWithChannelBinding(c.binding())}
	if strings.HasSuffix(mechanism, "-PLUS") {
		s.conversation = server.NewConversationWithChannelBindingRequired(c.binding())
	}
	return s
}

func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil && !s.asked:
		s.asked = true
		return nil, false, nil
	case s.conversation.Done() && s.conversation.Valid():
		s.Accept()
		return nil, true, nil
	}
	text, err := s.conversation.Step(string(response))
	switch {
	case err == nil:
		return []byte(text), false, nil
	case text == "":
		return nil, true, s.Malformed
	}
	return nil, true, s.Wrong
}
