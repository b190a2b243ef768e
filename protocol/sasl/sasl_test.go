package sasl

import (
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPlain(t *testing.T) {
	c, err := New("plain", Account{Username: "ada", Password: "engine"})
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
	c, err := New("PLAIN", Account{Username: "ada@example.org", Password: "pass word"})
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
			c, err := New("Login", Account{Username: "ada", Password: "engine"})
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

// The dialogue of RFC 2195, 2.
func TestCRAMMD5(t *testing.T) {
	c, err := New("cram-md5", Account{Username: "tim", Password: "tanstaaftanstaaf"})
	require.NoError(t, err)
	mechanism, initial, err := c.Start()
	require.NoError(t, err)
	assert.Equal(t, "CRAM-MD5", mechanism)
	assert.Nil(t, initial, "the server speaks first")
	answer, err := c.Next([]byte("<1896.697170952@postoffice.reston.mci.net>"))
	require.NoError(t, err)
	assert.Equal(t, "tim b913a602c7eda7a495b4e6e7334d3890", string(answer))

	_, err = c.Next([]byte("<1897.697170953@postoffice.reston.mci.net>"))
	require.ErrorIs(t, err, sasl.ErrUnexpectedServerChallenge)
	assert.ErrorContains(t, err, "a second")
	assert.Empty(t, Refused(c))
}

// What EXTERNAL and ANONYMOUS have to say is said at once; nil would mean that the server speaks first.
func TestWithoutPassword(t *testing.T) {
	for _, mechanism := range []string{"EXTERNAL", "ANONYMOUS"} {
		for _, username := range []string{"", "ada@example.org", "sirhc"} {
			c, err := New(mechanism, Account{Username: username})
			require.NoError(t, err)
			name, initial, err := c.Start()
			require.NoError(t, err)
			assert.Equal(t, mechanism, name)
			require.NotNil(t, initial)
			assert.Equal(t, username, string(initial))
			_, err = c.Next(nil)
			require.ErrorIs(t, err, sasl.ErrUnexpectedServerChallenge)
			assert.NotContains(t, Refused(c), "password")
			assert.NotEmpty(t, Refused(c))
		}
	}
}

func TestNewRefuses(t *testing.T) {
	const known = "choose from SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER, EXTERNAL, ANONYMOUS"
	const noToken = "sasl: the token contains a space, a line end or another character that no token has (RFC 6750, 2.1)"
	for _, test := range []struct{ name, mechanism, username, password, want string }{
		{"unknown mechanism", "NTLM", "ada", "engine", `sasl: the mechanism "NTLM" is not available; ` + known},
		{"no mechanism", "", "ada", "engine", `sasl: the mechanism "" is not available; ` + known},
		{"no user name", "PLAIN", "", "engine", "sasl: the user name is empty"},
		{"no password", "LOGIN", "ada", "", "sasl: the password is empty"},
		{"no password to hash", "CRAM-MD5", "ada", "", "sasl: the password is empty"},
		{"NUL in user name", "PLAIN", "a\x00da", "engine", "sasl: the user name contains a NUL, which no mechanism can carry"},
		{"NUL in password", "PLAIN", "ada", "eng\x00ine", "sasl: the password contains a NUL, which no mechanism can carry"},
		{"NUL in identity", "EXTERNAL", "a\x00da", "", "sasl: the user name contains a NUL, which no mechanism can carry"},
		{"no user of the token", "XOAUTH2", "", "ya29", "sasl: the user name is empty"},
		{"no token", "xoauth2", "ada", "", "sasl: the token is empty"},
		{"no token, by RFC 7628", "OAUTHBEARER", "", "", "sasl: the token is empty"},
		{"line end behind the token", "OAUTHBEARER", "ada", "ya29\n", noToken},
		{"separator in the token", "XOAUTH2", "ada", "ya29\x01user=eve", noToken},
		{"separator in the user name", "XOAUTH2", "ada\x01auth=Bearer x", "ya29", "sasl: the user name contains an octet 1, which separates the parts of XOAUTH2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := New(test.mechanism, Account{Username: test.username, Password: test.password})
			assert.Nil(t, c)
			assert.EqualError(t, err, test.want)
		})
	}
}

func TestChoose(t *testing.T) {
	const none = "sasl: the server offers no mechanism that is chosen unless named (SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5); it offers "
	for _, test := range []struct {
		name    string
		offered []string
		wanted  string
		clear   bool
		want    string
		err     string
	}{
		{"best", []string{"LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "CRAM-MD5", "PLAIN", "scram-sha-256-plus"}, "", false, "SCRAM-SHA-256-PLUS", ""},
		{"SCRAM-SHA-256", []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256"}, "", false, "SCRAM-SHA-256", ""},
		{"SCRAM-SHA-1-PLUS", []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}, "", false, "SCRAM-SHA-1-PLUS", ""},
		{"PLAIN", []string{"LOGIN", "CRAM-MD5", "PLAIN"}, "", false, "PLAIN", ""},
		{"LOGIN", []string{"CRAM-MD5", "LOGIN"}, "", false, "LOGIN", ""},
		{"CRAM-MD5", []string{"CRAM-MD5", "XOAUTH2"}, "", false, "CRAM-MD5", ""},
		{"best in clear", []string{"LOGIN", "PLAIN", "cram-md5", "SCRAM-SHA-1"}, "", true, "SCRAM-SHA-1", ""},
		{"second best in clear", []string{"LOGIN", "PLAIN", "cram-md5"}, "", true, "CRAM-MD5", ""},
		{"third best in clear", []string{"LOGIN", "PLAIN"}, "", true, "PLAIN", ""},
		{"nothing to bind to", []string{"SCRAM-SHA-256-PLUS", "LOGIN"}, "", true, "LOGIN", ""},
		{"only one that is known", []string{"GSSAPI", "login"}, "", false, "LOGIN", ""},
		{"wanted", []string{"PLAIN", "LOGIN"}, "login", false, "LOGIN", ""},
		{"wanted in clear", []string{"CRAM-MD5", "LOGIN"}, "login", true, "LOGIN", ""},
		{"wanted, with a token", []string{"PLAIN", "XOAUTH2"}, "xoauth2", false, "XOAUTH2", ""},
		{"wanted and not offered", []string{"LOGIN", "XOAUTH2"}, "PLAIN", false, "", "sasl: the server does not offer PLAIN; it offers LOGIN, XOAUTH2"},
		{"wanted and unknown", []string{"NTLM"}, "ntlm", false, "",
			`sasl: the mechanism "NTLM" is not available; choose from SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER, EXTERNAL, ANONYMOUS`},
		{"never unless named", []string{"XOAUTH2", "OAUTHBEARER", "EXTERNAL", "ANONYMOUS"}, "", true, "", none + "XOAUTH2, OAUTHBEARER, EXTERNAL, ANONYMOUS"},
		{"nothing offered", nil, "", false, "", none + "none"},
		{"nothing offered, wanted", nil, "PLAIN", false, "", "sasl: the server does not offer PLAIN; it offers none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := Account{Offered: test.offered}
			if !test.clear {
				a.Binding = []byte("x")
			}
			got, err := Choose(a, test.wanted, !test.clear)
			assert.Equal(t, test.want, got)
			if test.err == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, test.err)
			}
		})
	}
}
