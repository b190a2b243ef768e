package practice

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

var (
	errCredentials = &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8},
		Message: "Authentication failed: user name or password is wrong"}
	errMechanism = &smtp.SMTPError{Code: 504, EnhancedCode: smtp.EnhancedCode{5, 5, 4},
		Message: "Unknown mechanism, PLAIN and LOGIN are offered"}
	errMalformed = &smtp.SMTPError{Code: 501, EnhancedCode: smtp.EnhancedCode{5, 5, 2},
		Message: "The response does not have the form that the mechanism asks for"}
	errNotHere = &smtp.SMTPError{Code: 502, EnhancedCode: smtp.EnhancedCode{5, 5, 1},
		Message: "No AUTH on this port, use 587 or 465"}
)

// checkCredentials takes the same time for every wrong answer of any length.
func checkCredentials(username, password string) error {
	if sameText(username, Username)&sameText(password, Password) != 1 {
		return errCredentials
	}
	return nil
}

func sameText(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

// newPlain is AUTH PLAIN (RFC 4616). Nobody may act for someone else.
func newPlain(accept func()) sasl.Server {
	return smtpErrors{sasl.NewPlainServer(func(identity, username, password string) error {
		if identity != "" && identity != username {
			return errCredentials
		}
		if err := checkCredentials(username, password); err != nil {
			return err
		}
		accept()
		return nil
	})}
}

// smtpErrors gives go-sasl's own errors the code of RFC 4954, 6; without it
// go-smtp would call a malformed response a temporary failure.
type smtpErrors struct{ sasl.Server }

func (s smtpErrors) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := s.Server.Next(response)
	if reply := (*smtp.SMTPError)(nil); err != nil && !errors.As(err, &reply) {
		err = errMalformed
	}
	return challenge, done, err
}

// login is AUTH LOGIN, which has no RFC, only habit: two prompts, two answers;
// an initial response is the user name.
type login struct {
	accept   func()
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
	if err := checkCredentials(*l.username, string(response)); err != nil {
		return nil, false, err
	}
	l.accept()
	return nil, true, nil
}
