package sasl

import (
	"encoding/base64"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The examples of RFC 7628, 4.1, and of Google's description of XOAUTH2.
func TestBearer(t *testing.T) {
	const token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
	for _, test := range []struct {
		name, mechanism string
		account         Account
		want, encoded   string
	}{
		{"RFC 7628", "OAUTHBEARER", Account{Username: "user@example.com", Password: token, Host: "server.example.com", Port: 143},
			"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer " + token + "\x01\x01",
			"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"},
		{"RFC 7628, submission", "oauthbearer", Account{Username: "user@example.com", Password: token, Host: "server.example.com", Port: 587},
			"n,a=user@example.com,\x01host=server.example.com\x01port=587\x01auth=Bearer " + token + "\x01\x01",
			"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"},
		{"no user name", "OAUTHBEARER", Account{Username: "", Password: "t", Host: "mx", Port: 465}, "n,,\x01host=mx\x01port=465\x01auth=Bearer t\x01\x01", ""},
		{"a comma and an equals sign", "OAUTHBEARER", Account{Username: "a,b=c", Password: "t", Host: "mx", Port: 465}, "n,a=a=2Cb=3Dc,\x01host=mx\x01port=465\x01auth=Bearer t\x01\x01", ""},
		{"Google", "XOAUTH2", Account{Username: "someuser@example.com", Password: "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", Host: "smtp.example.com", Port: 587},
			"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01",
			"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := New(test.mechanism, test.account)
			require.NoError(t, err)
			_, initial, err := c.Start()
			require.NoError(t, err)
			assert.Equal(t, test.want, string(initial))
			if test.encoded != "" {
				assert.Equal(t, test.encoded, base64.StdEncoding.EncodeToString(initial))
			}
		})
	}
}

// The client must satisfy a server that is not ours, also when it refuses.
func TestBearerAgainstServer(t *testing.T) {
	var got sasl.OAuthBearerOptions
	for _, refusal := range []*sasl.OAuthBearerError{nil, {Status: "invalid_token", Schemes: "bearer"}} {
		server := sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError { got = o; return refusal })
		c, err := New("OAUTHBEARER", Account{Username: "ada@example.org", Password: "ya29.x", Host: "mx.example.net", Port: 465})
		require.NoError(t, err)
		_, initial, err := c.Start()
		require.NoError(t, err)
		challenge, done, err := server.Next(initial)
		require.NoError(t, err)
		assert.Equal(t, sasl.OAuthBearerOptions{Username: "ada@example.org", Token: "ya29.x", Host: "mx.example.net", Port: 465}, got)
		assert.Equal(t, refusal == nil, done)
		if refusal != nil {
			answer, err := c.Next(challenge)
			require.NoError(t, err)
			_, done, err = server.Next(answer)
			assert.True(t, done)
			assert.ErrorIs(t, err, refusal)
		}
	}
}

func TestBearerRefused(t *testing.T) {
	const unsaid = "Check the user name and the token: it may have expired, or not allow sending mail."
	for _, test := range []struct{ name, challenge, want string }{
		{"RFC 7628", `{"status":"invalid_token","scope":"example_scope","openid-configuration":"https://example.com/.well-known/openid-configuration"}`,
			`The server says "invalid_token" of the token: it has expired, was withdrawn or is another user's. Get a new one for the scope "example_scope".`},
		{"Google", `{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}` + "\n",
			`The server says "401" of the token: it has expired, was withdrawn or is another user's. Get a new one for the scope "https://mail.google.com/".`},
		{"scope", `{"status":"insufficient_scope"}`, `The server says "insufficient_scope" of the token: it does not allow sending mail. Get a new one.`},
		{"malformed", `{"status":"400"}`, `The server says "400" of the token: it could not be read. Get a new one.`},
		{"its own words", `{"status":"\u001b[31mno"}`, `The server says "\x1b[31mno" of the token: it is not taken. Get a new one.`},
		{"scope alone", `{"scope":"mail"}`, unsaid},
		{"no JSON", "no", unsaid},
		{"empty", "", unsaid},
		{"another kind of status", `{"status":401}`, unsaid},
		{"the token itself", `{"status":"ya29\u002esecret"}`, unsaid},
	} {
		t.Run(test.name, func(t *testing.T) {
			for mechanism, answer := range map[string]string{"XOAUTH2": "", "OAUTHBEARER": "\x01"} {
				c, err := New(mechanism, Account{Username: "ada", Password: "ya29.secret"})
				require.NoError(t, err)
				assert.Equal(t, unsaid, Refused(c), "before any challenge")
				got, err := c.Next([]byte(test.challenge))
				require.NoError(t, err)
				assert.Equal(t, answer, string(got))
				assert.Equal(t, test.want, Refused(c))
				_, err = c.Next(nil)
				assert.ErrorIs(t, err, sasl.ErrUnexpectedServerChallenge)
			}
		})
	}
}
