// Package sasl makes the clients of SASL mechanisms (RFC 4422) with which AUTH
// proves who the user is: PLAIN and LOGIN.
//
// It refuses to know SMTP: base64, the AUTH command and its replies are the
// caller's. A client is stepped with Start and then, for each challenge, Next.
package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
)

// Client is one exchange. Start returns the mechanism and its initial response, nil
// when the server speaks first; Next answers a challenge, both without base64. When the
// initial response could not be sent with the AUTH command, it answers the
// first challenge, which is empty then (RFC 4422, 5.1).
type Client = sasl.Client

// mechanisms in the order of preference. LOGIN never became a standard, and does what
// PLAIN does in more round trips.
var mechanisms = []string{sasl.Plain, sasl.Login}

// New returns the client of a mechanism, in any case of its name.
func New(mechanism, username, password string) (Client, error) {
	// The parts of PLAIN are separated by NUL (RFC 4616, 2); LOGIN has no use for it either.
	switch {
	case username == "":
		return nil, errors.New("sasl: the user name is empty")
	case password == "":
		return nil, errors.New("sasl: the password is empty")
	case strings.Contains(username, "\x00"):
		return nil, errors.New("sasl: the user name contains a NUL, which no mechanism can carry")
	case strings.Contains(password, "\x00"):
		return nil, errors.New("sasl: the password contains a NUL, which no mechanism can carry")
	}
	switch strings.ToUpper(mechanism) {
	case sasl.Plain:
		return sasl.NewPlainClient("", username, password), nil
	case sasl.Login:
		return &login{answers: []string{username, password}}, nil
	}
	return nil, unknown(mechanism)
}

// Choose picks a mechanism from those that the server offers: the one wanted,
// or the best one when wanted is empty.
func Choose(offered []string, wanted string) (string, error) {
	offers := func(m string) bool {
		return slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, m) })
	}
	list := strings.Join(offered, ", ")
	if list == "" {
		list = "none"
	}
	if wanted != "" {
		wanted = strings.ToUpper(wanted)
		switch {
		case !slices.Contains(mechanisms, wanted):
			return "", unknown(wanted)
		case !offers(wanted):
			return "", fmt.Errorf("sasl: the server does not offer %s; it offers %s", wanted, list)
		}
		return wanted, nil
	}
	for _, m := range mechanisms {
		if offers(m) {
			return m, nil
		}
	}
	return "", fmt.Errorf("sasl: the server offers no mechanism that is available here (%s); it offers %s",
		strings.Join(mechanisms, ", "), list)
}

func unknown(mechanism string) error {
	return fmt.Errorf("sasl: the mechanism %q is not available; choose from %s", mechanism, strings.Join(mechanisms, ", "))
}

// login answers the first prompt with the user name and the second one with the
// password. The texts are not looked at: servers prompt "Username:", "User Name", in other
// languages or not at all. The library's client wants "Password:" to the letter.
type login struct{ answers []string }

func (l *login) Start() (mechanism string, initial []byte, err error) { return sasl.Login, nil, nil }

func (l *login) Next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, fmt.Errorf("sasl: LOGIN has two prompts, but the server sent a third: %w", sasl.ErrUnexpectedServerChallenge)
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(answer), nil
}
