package saslserver_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/sasl/saslserver"
)

func TestServer(t *testing.T) {
	wrong, malformed := errors.New("wrong"), errors.New("malformed")
	accepted := 0
	config := saslserver.Config{
		Password: func(username string) (string, bool) { return "secret", username == "ada" },
		Accept:   func() { accepted++ }, Wrong: wrong, Malformed: malformed,
	}
	for _, c := range []struct {
		name, mechanism string
		responses       []string // the first one initial; "-" for none
		challenges      []string
		err             error
	}{
		{"plain", "PLAIN", []string{"\x00ada\x00secret"}, nil, nil},
		{"plain, asked for", "PLAIN", []string{"-", "\x00ada\x00secret"}, []string{""}, nil},
		{"plain, wrong", "PLAIN", []string{"\x00ada\x00guess"}, nil, wrong},
		{"plain, for someone else", "PLAIN", []string{"grace\x00ada\x00secret"}, nil, wrong},
		{"plain, nobody", "PLAIN", []string{"\x00eve\x00secret"}, nil, wrong},
		{"plain, malformed", "PLAIN", []string{"ada secret"}, nil, malformed},
		{"login", "LOGIN", []string{"-", "ada", "secret"}, []string{"Username:", "Password:"}, nil},
		{"login, initial response", "LOGIN", []string{"ada", "secret"}, []string{"Password:"}, nil},
		{"login, wrong", "LOGIN", []string{"ada", "guess"}, []string{"Password:"}, wrong},
		{"login, empty", "LOGIN", []string{"-", "", ""}, []string{"Username:", "Password:"}, wrong},
		{"SCRAM, malformed", "SCRAM-SHA-256", []string{"x"}, nil, malformed},
		{"SCRAM, nobody", "SCRAM-SHA-1", []string{"-", "n,,n=eve,r=abc"}, []string{""}, wrong},
		{"SCRAM, bound to nothing", "SCRAM-SHA-1", []string{"p=tls-exporter,,n=ada,r=abc"}, nil, wrong},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := config.New(c.mechanism)
			accepted = 0
			for i, text := range c.responses {
				response := []byte(text)
				if text == "-" {
					response = nil
				}
				challenge, done, err := s.Next(response)
				if i < len(c.responses)-1 {
					require.NoError(t, err)
					require.False(t, done)
					require.Equal(t, c.challenges[i], string(challenge))
					continue
				}
				assert.ErrorIs(t, err, c.err)
				assert.True(t, done || err != nil)
				assert.Equal(t, c.err == nil, accepted == 1)
			}
		})
	}
	assert.Nil(t, config.New("CRAM-MD5"))
	assert.Nil(t, config.New("SCRAM-SHA-256-PLUS"), "nothing to bind to")
	assert.Equal(t, []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"}, config.Mechanisms())
}
