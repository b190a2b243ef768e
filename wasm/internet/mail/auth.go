package mail

import (
	"slices"

	gosasl "github.com/emersion/go-sasl"

	"smtpscope/protocol/sasl"
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
	return []string{gosasl.Plain, gosasl.Login}
}

// Auth implements smtp.AuthSession.
func (s *inbound) Auth(mechanism string) (gosasl.Server, error) {
	switch {
	case len(s.server.Accounts) == 0:
		return nil, errNoAccounts
	case slices.Contains(s.AuthMechanisms(), mechanism):
		return sasl.NewServer(mechanism, s.signIn, errMalformed), nil
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
