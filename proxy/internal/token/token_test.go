package token

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/policy"
)

const (
	secretA = "this is a secret of enough characters, A"
	secretB = "this is a secret of enough characters, B"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func key(t *testing.T, text string) *Key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	k, err := ReadKey(path)
	require.NoError(t, err)
	return k
}

func allow(t *testing.T, text string) policy.Target {
	t.Helper()
	target, err := policy.ParseTarget(text)
	require.NoError(t, err)
	return target
}

// forge signs any payload.
func forge(secret, payload string) string {
	text := encoding.EncodeToString([]byte(payload))
	return text + "." + encoding.EncodeToString(sign([]byte(secret), text))
}

func TestMintAndVerify(t *testing.T) {
	k := key(t, secretA)
	text := k.Mint(allow(t, "MX.example.net.:25,587"), 5000, noon.Add(5*time.Minute))
	assert.Regexp(t, `^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$`, text)
	budget, err := k.Verify(tunnel.Open{Host: "mx.Example.net", Port: 587, Token: text}, noon)
	require.Nil(t, err)
	assert.EqualValues(t, 5000, budget.Bytes)
	assert.True(t, budget.Expires.Equal(noon.Add(5*time.Minute)))
	assert.Regexp(t, `^[A-Z0-9]{26}$`, budget.ID)

	other, err := k.Verify(tunnel.Open{Host: "mx.example.net", Port: 25, Token: k.Mint(allow(t, "mx.example.net:25"), 5000, noon.Add(time.Minute))}, noon)
	require.Nil(t, err)
	assert.NotEqual(t, budget.ID, other.ID, "each token has its own account")
}

func TestVerifyRefuses(t *testing.T) {
	k := key(t, secretA)
	good := k.Mint(allow(t, "mx.example.net:25"), 5000, noon.Add(5*time.Minute))
	payload, signature, _ := strings.Cut(good, ".")
	claim := func(change func(*claims)) string {
		c := claims{ID: "X", Target: "mx.example.net:25", Expires: noon.Add(time.Minute).Unix(), Bytes: 1}
		change(&c)
		text, err := json.Marshal(c)
		require.NoError(t, err)
		return forge(secretA, string(text))
	}
	flip := func(text string, at int) string {
		b := []byte(text)
		b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
		return string(b)
	}
	tests := []struct {
		name, token, host string
		port              int
		at                time.Time
		rule, says        string
	}{
		{"missing", "", "mx.example.net", 25, noon, RuleMissing, "--target mx.example.net:25"},
		{"missing, IPv6", "", "2001:db8::1", 25, noon, RuleMissing, "--target [2001:db8::1]:25"},
		{"missing, no host", "", "a b", 25, noon, RuleMissing, "--target that target"},
		{"the last moment has passed", good, "mx.example.net", 25, noon.Add(5 * time.Minute), RuleExpired, "good until 2026-11-22 12:05:00 UTC"},
		{"other host", good, "mx.example.com", 25, noon, RuleTarget, "made for mx.example.net:25, not for mx.example.com:25"},
		{"below the host", good, "a.mx.example.net", 25, noon, RuleTarget, "made for"},
		{"other port", good, "mx.example.net", 587, noon, RuleTarget, "not for mx.example.net:587"},
		{"signature changed", payload + "." + flip(signature, 0), "mx.example.net", 25, noon, RuleSignature, "its signature is wrong"},
		{"payload changed", flip(payload, 9) + "." + signature, "mx.example.net", 25, noon, RuleSignature, "its signature is wrong"},
		{"signature cut", good[:len(good)-4], "mx.example.net", 25, noon, RuleSignature, "copied whole"},
		{"no signature", payload + ".", "mx.example.net", 25, noon, RuleSignature, "signature is wrong"},
		{"no dot", payload, "mx.example.net", 25, noon, RuleSignature, "form of one"},
		{"trailing bits", good[:len(good)-1] + "_", "mx.example.net", 25, noon, RuleSignature, ""},
		{"padding", good + "=", "mx.example.net", 25, noon, RuleSignature, "form of one"},
		{"other key", forge(secretB, `{"id":"X","target":"mx.example.net:25","exp":9999999999,"bytes":1}`), "mx.example.net", 25, noon, RuleSignature, "signature is wrong"},
		{"endless", strings.Repeat("A", longestText) + "." + signature, "mx.example.net", 25, noon, RuleSignature, "none is longer than 2048"},
		{"signed, not base64", "*." + encoding.EncodeToString(sign([]byte(secretA), "*")), "mx.example.net", 25, noon, RuleSignature, "form of one"},
		{"signed, no JSON", forge(secretA, "{"), "mx.example.net", 25, noon, RuleSignature, "not one of this proxy"},
		{"signed, no target", claim(func(c *claims) { c.Target = "" }), "mx.example.net", 25, noon, RuleSignature, "another version"},
		{"signed, no id", claim(func(c *claims) { c.ID = "" }), "mx.example.net", 25, noon, RuleSignature, "another version"},
		{"signed, no bytes", claim(func(c *claims) { c.Bytes = 0 }), "mx.example.net", 25, noon, RuleSignature, "another version"},
		{"signed, no expiry", claim(func(c *claims) { c.Expires = 0 }), "mx.example.net", 25, noon, RuleExpired, "1970"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			budget, err := k.Verify(tunnel.Open{Host: tt.host, Port: tt.port, Token: tt.token}, tt.at)
			require.Nil(t, budget)
			require.NotNil(t, err)
			assert.Equal(t, tunnel.CodeDenied, err.Code)
			assert.Equal(t, tt.rule, err.Rule)
			assert.Contains(t, err.Message, tt.says)
			assert.Contains(t, err.Message, "(rule "+tt.rule+").")
			assert.NotContains(t, err.Message, encoding.EncodeToString(sign([]byte(secretA), payload)), "nothing helps who guesses")
		})
	}
	_, err := k.Verify(tunnel.Open{Host: "mx.example.net", Port: 25, Token: good}, noon.Add(5*time.Minute-1))
	assert.Nil(t, err, "the last moment")
	_, err = k.Verify(tunnel.Open{Host: "mx.example.net", Port: 25, Token: good + "\n"}, noon)
	assert.Nil(t, err, "the end of a line that was copied with it")
}

// Every character counts: no change of one leaves a token good.
func TestEveryCharacterIsSigned(t *testing.T) {
	k := key(t, secretA)
	good := k.Mint(allow(t, "mx.example.net:25"), 5000, noon.Add(5*time.Minute))
	for i := range good {
		for _, c := range []byte("AQgw-_.") {
			changed := []byte(good)
			if changed[i] == c {
				continue
			}
			changed[i] = c
			_, err := k.Verify(tunnel.Open{Host: "mx.example.net", Port: 25, Token: string(changed)}, noon)
			require.NotNil(t, err, "%q at %d", c, i)
		}
	}
}

func TestKeysCanBeReplaced(t *testing.T) {
	open := func(k *Key) tunnel.Open {
		return tunnel.Open{Host: "mx.example.net", Port: 25, Token: k.Mint(allow(t, "*.example.net:25"), 1, noon.Add(time.Minute))}
	}
	before, during, after := key(t, secretA), key(t, secretB+"\n"+secretA+"\n"), key(t, secretB)
	for _, tt := range []struct {
		minted, checks *Key
		good           bool
	}{{before, during, true}, {during, after, true}, {during, before, false}, {before, after, false}} {
		_, err := tt.checks.Verify(open(tt.minted), noon)
		assert.Equal(t, tt.good, err == nil)
	}
}

func TestReadKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	for text, says := range map[string]string{
		"":                      "holds none; make one with: openssl rand",
		"\n \r\n":               "holds none",
		"short\n":               "line 1 of",
		secretA + "\n\nshort":   "line 3 of",
		strings.Repeat("x", 31): "has 31 characters, and at least 32 are needed",
	} {
		path := filepath.Join(dir, "key")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := ReadKey(path)
		assert.ErrorContains(t, err, says, "%q", text)
		assert.NotContains(t, err.Error(), "enough characters, A", "an error does not tell a secret")
	}
	_, err := ReadKey(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzVerify(f *testing.F) {
	k := &Key{secrets: [][]byte{[]byte(secretA)}}
	f.Add("", "mx.example.net", 25)
	f.Add(forge(secretB, `{"id":"X","target":"mx.example.net:25","exp":9999999999,"bytes":1}`), "mx.example.net", 25)
	f.Fuzz(func(t *testing.T, text, host string, port int) {
		if budget, err := k.Verify(tunnel.Open{Host: host, Port: port, Token: text}, noon); err == nil {
			t.Fatalf("a guess was good for %d bytes: %q", budget.Bytes, text)
		}
	})
}
