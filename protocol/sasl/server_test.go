package sasl_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/sasl"
)

func TestServer(t *testing.T) {
	wrong, malformed := errors.New("wrong"), errors.New("malformed")
	judge := func(identity, username, password string) error {
		if identity != "" || username != "ada" || password != "secret" {
			return wrong
		}
		return nil
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
		{"plain, malformed", "PLAIN", []string{"ada secret"}, nil, malformed},
		{"login", "LOGIN", []string{"-", "ada", "secret"}, []string{"Username:", "Password:"}, nil},
		{"login, initial response", "LOGIN", []string{"ada", "secret"}, []string{"Password:"}, nil},
		{"login, wrong", "LOGIN", []string{"ada", "guess"}, []string{"Password:"}, wrong},
		{"login, empty", "LOGIN", []string{"-", "", ""}, []string{"Username:", "Password:"}, wrong},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sasl.NewServer(c.mechanism, judge, malformed)
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
			}
		})
	}
	assert.Nil(t, sasl.NewServer("CRAM-MD5", judge, malformed))
}
