// Package sasl makes the clients of SASL mechanisms (RFC 4422) with which AUTH
// proves who the user is: SCRAM-SHA-256, SCRAM-SHA-1, each also bound to TLS, PLAIN,
// LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER, EXTERNAL and ANONYMOUS.
//
// It refuses to know SMTP: base64, the AUTH command and its replies are the
// caller's. A client is stepped with Start and then, for each challenge, Next.
package sasl

import (
	"crypto/hmac"
	"crypto/md5"
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

// Account is who signs in, and where.
type Account struct {
	// Username is for EXTERNAL the identity to act as, and for ANONYMOUS what the
	// server may note; these, and OAUTHBEARER, go without one too.
	Username string
	// Password is the access token for XOAUTH2 and OAUTHBEARER. EXTERNAL and ANONYMOUS have no use for it.
	Password string
	// The server, which OAUTHBEARER names.
	Host string
	Port int
	// What SCRAM asks for besides: what tls-exporter gives on this connection (RFC 9266),
	// nil for nothing; the mechanisms that the server offers; and normalisation form KC of
	// Unicode, without which user name and password are ASCII.
	Binding []byte
	Offered []string
	NFKC    func(string) string
}

// What go-sasl has no name for.
const (
	cramMD5 = "CRAM-MD5" // RFC 2195
	xoauth2 = "XOAUTH2"  // Google's forerunner of OAUTHBEARER
)

// mechanisms are all that New knows.
var mechanisms = []string{scramSHA256Plus, scramSHA256, scramSHA1Plus, scramSHA1, sasl.Plain, sasl.Login, cramMD5, xoauth2, sasl.OAuthBearer, sasl.External, sasl.Anonymous}

// Those that are chosen when none is wanted, the best first: they take a password. SCRAM
// does not give it away, not even to the server, which has to know it too. Without SCRAM,
// CRAM-MD5 does not give it away in clear; inside TLS that gains nothing, and the
// server has to store the password for it. LOGIN never became a standard, and does what
// PLAIN does in more round trips.
var (
	preferred        = []string{scramSHA256Plus, scramSHA256, scramSHA1Plus, scramSHA1, sasl.Plain, sasl.Login, cramMD5}
	preferredInClear = []string{scramSHA256, scramSHA1, cramMD5, sasl.Plain, sasl.Login}
)

// New returns the client of a mechanism, in any case of its name.
func New(mechanism string, a Account) (Client, error) {
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(mechanisms, mechanism) {
		return nil, unknown(mechanism)
	}
	// The parts of PLAIN are separated by NUL (RFC 4616, 2); the others have no use for it either.
	if strings.Contains(a.Username, "\x00") {
		return nil, errors.New("sasl: the user name contains a NUL, which no mechanism can carry")
	}
	switch mechanism {
	case sasl.External:
		return sasl.NewExternalClient(a.Username), nil
	case sasl.Anonymous:
		return sasl.NewAnonymousClient(a.Username), nil
	case xoauth2, sasl.OAuthBearer:
		return newBearer(mechanism, a)
	}
	switch {
	case a.Username == "":
		return nil, errors.New("sasl: the user name is empty")
	case a.Password == "":
		return nil, errors.New("sasl: the password is empty")
	case strings.Contains(a.Password, "\x00"):
		return nil, errors.New("sasl: the password contains a NUL, which no mechanism can carry")
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainClient("", a.Username, a.Password), nil
	case sasl.Login:
		return &login{answers: []string{a.Username, a.Password}}, nil
	case scramSHA256Plus, scramSHA256, scramSHA1Plus, scramSHA1:
		return newScram(mechanism, a)
	}
	return &cram{username: a.Username, password: a.Password}, nil
}

// Choose picks a mechanism from those that the server offers the account: the one
// wanted, or when wanted is empty the best one that takes a password. Secure says that
// nobody on the path can read what is sent.
func Choose(a Account, wanted string, secure bool) (string, error) {
	offers := func(m string) bool {
		return slices.ContainsFunc(a.Offered, func(o string) bool { return strings.EqualFold(o, m) })
	}
	list := strings.Join(a.Offered, ", ")
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
	best := preferred
	if !secure {
		best = preferredInClear
	}
	for _, m := range best {
		if offers(m) && (a.Binding != nil || !strings.HasSuffix(m, "-PLUS")) {
			return m, nil
		}
	}
	return "", fmt.Errorf("sasl: the server offers no mechanism that is chosen unless named (%s); it offers %s",
		strings.Join(preferred, ", "), list)
}

// Refused says what it means and what to do when the server refuses the exchange, in
// sentences; "" where the user name or the password are to be checked, or c is nil.
func Refused(c Client) string {
	if c == nil {
		return ""
	}
	mechanism, _, _ := c.Start() //nolint:errcheck // it only says again what it said first
	switch mechanism {
	case sasl.External:
		return "EXTERNAL goes by what the connection itself proves, mostly a certificate of the client, and this client shows none."
	case sasl.Anonymous:
		return "The server takes nobody without an account here: sign in by another mechanism."
	}
	switch c := c.(type) {
	case *bearer:
		return c.refused()
	case *scramClient:
		return c.refused()
	}
	return ""
}

// Unproven says why a server that accepts the exchange now is not to be believed, in
// sentences; "" when it is.
func Unproven(c Client) string {
	if s, ok := c.(*scramClient); ok {
		return s.unproven()
	}
	return ""
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

// cram answers the one challenge of CRAM-MD5 with its HMAC under the password (RFC 2195, 2).
type cram struct {
	username, password string
	answered           bool
}

func (c *cram) Start() (mechanism string, initial []byte, err error) { return cramMD5, nil, nil }

func (c *cram) Next(challenge []byte) ([]byte, error) {
	if c.answered {
		return nil, fmt.Errorf("sasl: CRAM-MD5 has one challenge, but the server sent a second: %w", sasl.ErrUnexpectedServerChallenge)
	}
	c.answered = true
	digest := hmac.New(md5.New, []byte(c.password))
	digest.Write(challenge)
	return fmt.Appendf(nil, "%s %x", c.username, digest.Sum(nil)), nil
}
