package mail

import (
	"crypto/tls"
	"net"

	"github.com/emersion/go-sasl"

	"smtpscope/protocol/sasl/saslserver"
)

var (
	errCredentials = reply(535, 5, 7, 8, "Authentication failed: user name or password is wrong")
	errMechanism   = reply(504, 5, 5, 4, "This mechanism is not offered")
	errNoAccounts  = reply(502, 5, 5, 1, "There is nobody here who could sign in")
	errMalformed   = reply(501, 5, 5, 2, "The response does not have the form that the mechanism asks for")
)

// AuthMechanisms implements smtp.AuthSession.
func (s *inbound) AuthMechanisms() []string {
	if len(s.server.Accounts) == 0 {
		return nil
	}
	return s.sasl().Mechanisms()
}

// Auth implements smtp.AuthSession.
func (s *inbound) Auth(mechanism string) (sasl.Server, error) {
	if len(s.server.Accounts) == 0 {
		return nil, errNoAccounts
	}
	if exchange := s.sasl().New(mechanism); exchange != nil {
		return exchange, nil
	}
	return nil, errMechanism
}

// sasl is the server's side of AUTH on a connection.
func (s *inbound) sasl() saslserver.Config {
	c := saslserver.Config{
		Password: func(username string) (string, bool) {
			password, known := s.server.Accounts[username]
			return password, known
		},
		Accept: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.signedIn = true
		},
		Wrong: errCredentials, Malformed: errMalformed,
	}
	for _, conn := range []net.Conn{s.conn.Conn(), s.line.Conn} { // STARTTLS, or TLS from the first octet on
		if t, ok := conn.(*tls.Conn); ok {
			state := t.ConnectionState()
			c.TLS = &state
		}
	}
	return c
}
