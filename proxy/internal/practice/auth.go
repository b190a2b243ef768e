package practice

import (
	"crypto/sha256"
	"crypto/subtle"

	gosasl "github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"smtpscope/protocol/sasl"
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

// newExchange is the server's side of AUTH. Nobody may act for someone else.
func newExchange(mechanism string, accept func()) gosasl.Server {
	return sasl.NewServer(mechanism, func(identity, username, password string) error {
		if identity != "" && identity != username {
			return errCredentials
		}
		if err := checkCredentials(username, password); err != nil {
			return err
		}
		accept()
		return nil
	}, errMalformed)
}
