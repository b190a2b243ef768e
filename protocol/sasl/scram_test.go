package sasl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/xdg-go/scram"
	"golang.org/x/text/unicode/norm"
)

// vectors are the examples of RFC 5802, 5 and RFC 7677, 3.
var vectors = map[string]struct{ nonce, first, serverFirst, final, serverFinal string }{
	"SCRAM-SHA-1": {"fyko+d2lbbFgONRv9qkxdawL", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
	"SCRAM-SHA-256": {"rOprNGfwEbeRWgbNEkqO", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
}

// vector is the client of an example, with its nonce.
func vector(t *testing.T, mechanism string) *scramClient {
	c, err := New(mechanism, Account{Username: "user", Password: "pencil"})
	require.NoError(t, err)
	s := c.(*scramClient)
	s.nonce = vectors[mechanism].nonce
	return s
}

func TestScramVectors(t *testing.T) {
	for mechanism, v := range vectors {
		s := vector(t, mechanism)
		name, first, err := s.Start()
		require.NoError(t, err)
		assert.Equal(t, mechanism, name)
		assert.Equal(t, v.first, string(first))
		final, err := s.Next([]byte(v.serverFirst))
		require.NoError(t, err)
		assert.Equal(t, v.final, string(final))
		assert.Contains(t, Unproven(s), "without proof")
		last, err := s.Next([]byte(v.serverFinal))
		require.NoError(t, err)
		assert.Empty(t, last)
		assert.Empty(t, Unproven(s))
		_, err = s.Next(nil)
		assert.ErrorContains(t, err, "two challenges")
	}
}

// What a server says that is wrong, or not the one that knows the password.
func TestScramRefusesServer(t *testing.T) {
	v := vectors["SCRAM-SHA-256"]
	const nonce = "r=rOprNGfwEbeRWgbNEkqOx"
	for first, want := range map[string]string{
		"":                                "is not nonce, salt and iteration count",
		nonce + ",s=QQ==":                 "is not nonce, salt and iteration count",
		"s=QQ==," + nonce + ",i=4096":     "is not nonce, salt and iteration count",
		"m=x," + nonce + ",s=QQ==,i=4096": "is not nonce, salt and iteration count",
		"r=another,s=QQ==,i=4096":         "does not continue this client's",
		"r=" + v.nonce + ",s=QQ==,i=4096": "does not continue this client's",
		nonce + ",s=Q,i=4096":             "is not nonce, salt and iteration count",
		nonce + ",s=,i=4096":              "is not nonce, salt and iteration count",
		nonce + ",s=QQ==,i=many":          "is not nonce, salt and iteration count",
		nonce + ",s=QQ==,i=4095":          "asks for 4095 iterations; this client wants 4096 at least",
		nonce + ",s=QQ==,i=-1":            "asks for -1 iterations",
		nonce + ",s=QQ==,i=1000001":       "computes 1000000 at most",
		nonce + ",s=QQ==,i=99999999":      "computes 1000000 at most",
	} {
		_, err := vector(t, "SCRAM-SHA-256").Next([]byte(first))
		assert.ErrorContains(t, err, want, first)
	}
	for _, final := range []string{"", "v=", "v=!", strings.Replace(v.serverFinal, "6", "7", 1), "x=" + v.serverFinal[2:]} {
		s := vector(t, "SCRAM-SHA-256")
		_, err := s.Next([]byte(v.serverFirst))
		require.NoError(t, err)
		_, err = s.Next([]byte(final))
		assert.ErrorContains(t, err, "could not prove that it knows the password", final)
		assert.NotEmpty(t, Unproven(s))
	}
	for reason, want := range map[string]string{"invalid-proof": "Check the user name and the password", "channel-bindings-dont-match": "somebody may be in between"} {
		s := vector(t, "SCRAM-SHA-256")
		_, err := s.Next([]byte(v.serverFirst))
		require.NoError(t, err)
		answer, err := s.Next([]byte("e=" + reason))
		require.NoError(t, err)
		assert.Empty(t, answer)
		assert.NotEmpty(t, Unproven(s))
		assert.Contains(t, Refused(s), `"`+reason+`"`)
		assert.Contains(t, Refused(s), want)
	}
}

// The flag of channel binding says what the client can do and what it saw offered (RFC 5802, 6).
func TestScramChannelBinding(t *testing.T) {
	binding := []byte("0123456789abcdef0123456789abcdef")
	for _, c := range []struct {
		name, mechanism string
		binding         []byte
		offered         []string
		header          string
		err             string
	}{
		{"no TLS", "SCRAM-SHA-256", nil, []string{"SCRAM-SHA-256"}, "n,,", ""},
		{"the offer is missing", "SCRAM-SHA-256", binding, []string{"SCRAM-SHA-256", "PLAIN"}, "y,,", ""},
		{"offered, and not wanted", "SCRAM-SHA-256", binding, []string{"SCRAM-SHA-256", "scram-sha-256-plus"}, "n,,", ""},
		{"with another hash", "SCRAM-SHA-256", binding, []string{"SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"}, "n,,", ""},
		{"bound", "SCRAM-SHA-256-PLUS", binding, []string{"SCRAM-SHA-256-PLUS"}, "p=tls-exporter,,", ""},
		{"bound, SHA-1", "scram-sha-1-plus", binding, nil, "p=tls-exporter,,", ""},
		{"nothing to bind to", "SCRAM-SHA-1-PLUS", nil, nil, "", "sasl: SCRAM-SHA-1-PLUS is bound to TLS by tls-exporter (RFC 9266), which needs TLS 1.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := New(c.mechanism, Account{Username: "user", Password: "pencil", Binding: c.binding, Offered: c.offered})
			require.NoError(t, err)
			_, first, err := client.Start()
			if c.err != "" {
				assert.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.True(t, strings.HasPrefix(string(first), c.header+"n=user,r="), "%s", first)
		})
	}
}

// The client satisfies a server that is not ours, and finds out one that is not the right one.
func TestScramAgainstServer(t *testing.T) {
	bound := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("0123456789abcdef0123456789abcdef")}
	for _, c := range []struct {
		name, mechanism, username, password, guess string
		binding                                    []byte
		offered                                    []string
		serverError                                string
	}{
		{name: "SHA-256", mechanism: "SCRAM-SHA-256", username: "ada", password: "engine"},
		{name: "SHA-1", mechanism: "SCRAM-SHA-1", username: "ada", password: "engine"},
		{name: "comma and equals sign", mechanism: "SCRAM-SHA-256", username: "a,b=c", password: "p,q=r"},
		{name: "beyond ASCII", mechanism: "SCRAM-SHA-256", username: "Jürgen\u00adß", password: "Ⅸ\u00a0ﬁ"},
		{name: "wrong", mechanism: "SCRAM-SHA-256", username: "ada", password: "engine", guess: "motor", serverError: "invalid-proof"},
		{name: "bound", mechanism: "SCRAM-SHA-256-PLUS", username: "ada", password: "engine", binding: bound.Data},
		{name: "bound, SHA-1", mechanism: "SCRAM-SHA-1-PLUS", username: "ada", password: "engine", binding: bound.Data},
		{name: "bound to another connection", mechanism: "SCRAM-SHA-256-PLUS", username: "ada", password: "engine", binding: []byte("x"), serverError: "channel-bindings-dont-match"},
		{name: "the offer was taken away", mechanism: "SCRAM-SHA-256", username: "ada", password: "engine", binding: bound.Data, offered: []string{"SCRAM-SHA-256"},
			serverError: "server-does-support-channel-binding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			hash := scram.SHA1
			if strings.HasPrefix(c.mechanism, "SCRAM-SHA-256") {
				hash = scram.SHA256
			}
			right := c.password
			if c.guess != "" {
				c.password = c.guess
			}
			owner, err := hash.NewClient(c.username, right, "") // SASLprep by another hand
			require.NoError(t, err)
			stored, err := owner.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
			require.NoError(t, err)
			var asked string
			server, err := hash.NewServer(func(username string) (scram.StoredCredentials, error) { asked = username; return stored, nil })
			require.NoError(t, err)
			conversation := server.NewConversation()
			if c.binding != nil {
				conversation = server.NewConversationWithChannelBinding(bound)
			}

			client, err := New(c.mechanism, Account{Username: c.username, Password: c.password, Binding: c.binding, Offered: c.offered, NFKC: norm.NFKC.String})
			require.NoError(t, err)
			_, text, err := client.Start()
			for err == nil {
				var challenge string
				if challenge, err = conversation.Step(string(text)); err != nil {
					assert.Equal(t, "e="+c.serverError, challenge)
					return
				}
				if text, err = client.Next([]byte(challenge)); len(text) == 0 {
					break
				}
			}
			require.NoError(t, err)
			require.Empty(t, c.serverError)
			assert.True(t, conversation.Valid())
			assert.Empty(t, Unproven(client))
			if c.username != "a,b=c" && c.username != "ada" {
				assert.Equal(t, "Jürgenß", asked)
			}
		})
	}
}

func TestScramNeverRepeatsItsNonce(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		c, err := New("SCRAM-SHA-256", Account{Username: "u", Password: "p"})
		require.NoError(t, err)
		_, first, err := c.Start()
		require.NoError(t, err)
		require.False(t, seen[string(first)])
		seen[string(first)] = true
	}
}

// The examples of RFC 4013, 3, and what else a client meets.
func TestPrepare(t *testing.T) {
	for in, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX",
		"a\u3000b": "a b", "x\u200by": "x y", "\u0627\u0644": "\u0627\u0644", "a b": "a b", "\u0627 1 \u0628": "\u0627 1 \u0628",
	} {
		got, err := prepare("password", in, norm.NFKC.String)
		assert.NoError(t, err, "%q", in)
		assert.Equal(t, want, got)
	}
	for in, want := range map[string]string{
		"\u0007":           "U+0007, which SCRAM does not allow",
		"\u0627\u0031":     "mixes letters of both writing directions",
		"\u0627a\u0628":    "mixes letters of both writing directions",
		"\u00ad":           "nothing is left",
		"a\ue000":          "U+E000",
		"a\ufffe":          "U+FFFE",
		"\U0001fffe":       "U+1FFFE",
		"\U000e0041":       "U+E0041",
		"\u202ea":          "U+202E",
		"\xff":             "not UTF-8",
		"\u0340\u2028":     "which SCRAM does not allow",
		"\U0010fffd\u0020": "U+10FFFD",
	} {
		_, err := prepare("password", in, norm.NFKC.String)
		assert.ErrorContains(t, err, "the password", "%q", in)
		assert.ErrorContains(t, err, want, "%q", in)
	}
	_, err := New("SCRAM-SHA-1", Account{Username: "ada", Password: "Schlüssel"})
	assert.EqualError(t, err, "sasl: the password has characters beyond ASCII, which SCRAM wants normalised (RFC 4013), and this program cannot do that: choose PLAIN or LOGIN, inside TLS")
	_, err = New("SCRAM-SHA-1", Account{Username: "Jürgen", Password: "x"})
	assert.ErrorContains(t, err, "the user name has characters beyond ASCII")
}
