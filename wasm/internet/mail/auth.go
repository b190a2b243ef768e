package mail

import (
	"errors"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

var (
	errCredentials = reply(535, 5, 7, 8, "Authentication failed: user name or password is wrong")
	errMechanism   = reply(504, 5, 5, 4, "Unknown mechanism, PLAIN and LOGIN are offered")
	errNoAccounts  = reply(502, 5, 5, 1, "There is nobody here who could sign in")
	errMalformed   = reply(501, 5, 5, 2, "The response does not have the form that the mechanism asks for")
)

// AuthMechanisms implements smtp.AuthSession.
func (s *inbound) AuthMechanisms() []string {
	if len(s.server.Accounts) == 0 {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

// Auth implements smtp.AuthSession.
func (s *inbound) Auth(mechanism string) (sasl.Server, error) {
	switch {
	case len(s.server.Accounts) == 0:
		return nil, errNoAccounts
	case mechanism == sasl.Plain:
		return plain{sasl.NewPlainServer(s.signIn)}, nil
	case mechanism == sasl.Login:
		return &login{session: s}, nil
	}
	return nil, errMechanism
}

// signIn judges credentials. Nobody may act for someone else.
func (s *inbound) signIn(identity, username, password string) error {
	right, known := s.server.Accounts[username]
	if !known || right != password || identity != "" && identity != username {
		return errCredentials
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signedIn = true
	return nil
}

// plain gives go-sasl's own errors the code of RFC 4954, 4; go-smtp would call a
// malformed response a temporary failure.
type plain struct{ sasl.Server }

func (p plain) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := p.Server.Next(response)
	if r := (*smtp.SMTPError)(nil); err != nil && !errors.As(err, &r) {
		err = errMalformed
	}
	return challenge, done, err
}

// login is AUTH LOGIN, which has no RFC, only habit: two prompts, two answers; an
// initial response is the user name.
type login struct {
	session  *inbound
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
	return nil, true, l.session.signIn("", *l.username, string(response))
}
