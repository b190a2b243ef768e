package sasl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
)

// bearer is XOAUTH2 or OAUTHBEARER: an access token (RFC 6750) in place of a password.
// A server refuses in two steps: a challenge says why in JSON, and only when the
// client has answered it comes the refusal (RFC 7628, 3.2.2). The library's client of
// OAUTHBEARER leaves that answer out.
type bearer struct {
	mechanism, initial string
	answer             string // to the challenge
	token              string
	challenged         bool
	said               tokenError
}

// tokenError is what the server says of a token.
type tokenError struct {
	Status string `json:"status"` // of RFC 6750, 3.1, or of HTTP
	Scope  string `json:"scope"`
}

func newBearer(mechanism string, a Account) (Client, error) {
	switch {
	case a.Username == "" && mechanism == xoauth2:
		return nil, errors.New("sasl: the user name is empty")
	case strings.Contains(a.Username, "\x01"):
		return nil, fmt.Errorf("sasl: the user name contains an octet 1, which separates the parts of %s", mechanism)
	case a.Password == "":
		return nil, errors.New("sasl: the token is empty")
	case strings.ContainsFunc(a.Password, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("sasl: the token contains a space, a line end or another character that no token has (RFC 6750, 2.1)")
	}
	b := &bearer{mechanism: mechanism, token: a.Password}
	if mechanism == xoauth2 {
		b.initial = "user=" + a.Username + "\x01auth=Bearer " + a.Password + "\x01\x01"
		return b, nil
	}
	// The header of GS2 (RFC 5801, 4), then pairs (RFC 7628, 3.1).
	identity := ""
	if a.Username != "" {
		identity = "a=" + escaped(escaped(a.Username, "=", "=3D"), ",", "=2C")
	}
	b.answer = "\x01"
	b.initial = fmt.Sprintf("n,%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01", identity, a.Host, a.Port, a.Password)
	return b, nil
}

// escaped is strings.ReplaceAll, which nothing else in the page's engine has a use for: it is 5 kB of WebAssembly.
func escaped(s, old, as string) string { return strings.Join(strings.Split(s, old), as) }

func (b *bearer) Start() (mechanism string, initial []byte, err error) {
	return b.mechanism, []byte(b.initial), nil
}

func (b *bearer) Next(challenge []byte) ([]byte, error) {
	if b.challenged {
		return nil, fmt.Errorf("sasl: %s has one challenge, but the server sent a second: %w", b.mechanism, sasl.ErrUnexpectedServerChallenge)
	}
	b.challenged = true
	if json.Unmarshal(challenge, &b.said) != nil || strings.Contains(b.said.Status+b.said.Scope, b.token) {
		b.said.Status = ""
	}
	return []byte(b.answer), nil
}

func (b *bearer) refused() string {
	if b.said.Status == "" {
		return "Check the user name and the token: it may have expired, or not allow sending mail."
	}
	meaning := "it is not taken"
	switch b.said.Status {
	case "invalid_token", "401":
		meaning = "it has expired, was withdrawn or is another user's"
	case "insufficient_scope", "403":
		meaning = "it does not allow sending mail"
	case "invalid_request", "400":
		meaning = "it could not be read"
	}
	words := fmt.Sprintf("The server says %q of the token: %s. Get a new one", b.said.Status, meaning)
	if b.said.Scope != "" {
		words += fmt.Sprintf(" for the scope %q", b.said.Scope)
	}
	return words + "."
}
