package sasl

import (
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPlain(t *testing.T) {
	c, err := New("plain", "ada", "engine")
	require.NoError(t, err)
	mechanism, initial, err := c.Start()
	require.NoError(t, err)
	assert.Equal(t, "PLAIN", mechanism)
	assert.Equal(t, "\x00ada\x00engine", string(initial))

	_, err = c.Next(nil)
	assert.ErrorIs(t, err, sasl.ErrUnexpectedServerChallenge)
}

// The client must satisfy a server that is not ours.
func TestPlainAgainstServer(t *testing.T) {
	var identity, username, password string
	server := sasl.NewPlainServer(func(i, u, p string) error {
		identity, username, password = i, u, p
		return nil
	})
	c, err := New("PLAIN", "ada@example.org", "pass word")
	require.NoError(t, err)
	_, initial, err := c.Start()
	require.NoError(t, err)
	_, done, err := server.Next(initial)
	require.NoError(t, err)
	assert.True(t, done)
	assert.Equal(t, []string{"", "ada@example.org", "pass word"}, []string{identity, username, password})
}

func TestLoginAnswersAnyPrompts(t *testing.T) {
	for _, prompts := range [][2]string{
		{"Username:", "Password:"},
		{"User Name\x00", "Password\x00"},
		{"Benutzer", "Passwort"},
		{"", ""},
	} {
		t.Run(prompts[0], func(t *testing.T) {
			c, err := New("Login", "ada", "engine")
			require.NoError(t, err)
			mechanism, initial, err := c.Start()
			require.NoError(t, err)
			assert.Equal(t, "LOGIN", mechanism)
			assert.Nil(t, initial, "the server speaks first")

			first, err := c.Next([]byte(prompts[0]))
			require.NoError(t, err)
			second, err := c.Next([]byte(prompts[1]))
			require.NoError(t, err)
			assert.Equal(t, "ada", string(first))
			assert.Equal(t, "engine", string(second))

			_, err = c.Next([]byte("and your pet's name?"))
			require.ErrorIs(t, err, sasl.ErrUnexpectedServerChallenge)
			assert.ErrorContains(t, err, "third")
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct{ name, mechanism, username, password, want string }{
		{"unknown mechanism", "CRAM-MD5", "ada", "engine", `sasl: the mechanism "CRAM-MD5" is not available; choose from PLAIN, LOGIN`},
		{"no mechanism", "", "ada", "engine", `sasl: the mechanism "" is not available; choose from PLAIN, LOGIN`},
		{"no user name", "PLAIN", "", "engine", "sasl: the user name is empty"},
		{"no password", "LOGIN", "ada", "", "sasl: the password is empty"},
		{"NUL in user name", "PLAIN", "a\x00da", "engine", "sasl: the user name contains a NUL, which no mechanism can carry"},
		{"NUL in password", "PLAIN", "ada", "eng\x00ine", "sasl: the password contains a NUL, which no mechanism can carry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := New(test.mechanism, test.username, test.password)
			assert.Nil(t, c)
			assert.EqualError(t, err, test.want)
		})
	}
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name    string
		offered []string
		wanted  string
		want    string
		err     string
	}{
		{"best", []string{"LOGIN", "SCRAM-SHA-256", "PLAIN"}, "", "PLAIN", ""},
		{"only one that is known", []string{"XOAUTH2", "login"}, "", "LOGIN", ""},
		{"wanted", []string{"PLAIN", "LOGIN"}, "login", "LOGIN", ""},
		{"wanted and not offered", []string{"LOGIN", "XOAUTH2"}, "PLAIN", "", "sasl: the server does not offer PLAIN; it offers LOGIN, XOAUTH2"},
		{"wanted and unknown", []string{"XOAUTH2"}, "xoauth2", "", `sasl: the mechanism "XOAUTH2" is not available; choose from PLAIN, LOGIN`},
		{"nothing in common", []string{"XOAUTH2"}, "", "", "sasl: the server offers no mechanism that is available here (PLAIN, LOGIN); it offers XOAUTH2"},
		{"nothing offered", nil, "", "", "sasl: the server offers no mechanism that is available here (PLAIN, LOGIN); it offers none"},
		{"nothing offered, wanted", nil, "PLAIN", "", "sasl: the server does not offer PLAIN; it offers none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Choose(test.offered, test.wanted)
			assert.Equal(t, test.want, got)
			if test.err == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, test.err)
			}
		})
	}
}
