package practice

import (
	"github.com/emersion/go-smtp"

	"smtpscope/protocol/sasl/saslserver"
)

var (
	errCredentials = &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8},
		Message: "Authentication failed: user name or password is wrong"}
	errMechanism = &smtp.SMTPError{Code: 504, EnhancedCode: smtp.EnhancedCode{5, 5, 4},
		Message: "This mechanism is not offered"}
	errMalformed = &smtp.SMTPError{Code: 501, EnhancedCode: smtp.EnhancedCode{5, 5, 2},
		Message: "The response does not have the form that the mechanism asks for"}
	errNotHere = &smtp.SMTPError{Code: 502, EnhancedCode: smtp.EnhancedCode{5, 5, 1},
		Message: "No AUTH on this port, use 587 or 465"}
)

// sasl is the server's side of AUTH on a connection.
func (s *session) sasl() saslserver.Config {
	return saslserver.Config{
		Password: func(username string) (string, bool) { return Password, username == Username },
		Accept: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.authenticated = true
		},
		TLS: s.front.tlsState(), Wrong: errCredentials, Malformed: errMalformed,
	}
}
