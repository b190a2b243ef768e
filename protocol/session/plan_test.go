package session_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
)

func TestParsePlanErrors(t *testing.T) {
	const lead = "The plan cannot be run. "
	for _, c := range []struct{ name, plan, want string }{
		{"empty", ``, "It is not JSON: unexpected end of JSON input."},
		{"cut off", `{"target": {"mode": "live"`, "It is not JSON: unexpected end of JSON input."},
		{"no JSON", `{target: 1}`, "It is not JSON: invalid character 't' looking for beginning of object key string."},
		{"a second value", `{"target": {"mode": "live", "host": "a"}} {}`, "It is not JSON: invalid character '{' after top-level value."},
		{"no JSON behind an offence", `{"color": 1, "x"}`, "It is not JSON: invalid character '}' after object key."},
		{"a list", `[]`, "plan: want an object, got a list."},
		{"null", `null`, "plan: want an object, got null."},
		{"unknown key", `{"color": 1}`, "color: unknown key; known here are target, security, tls, ehlo, auth, commands, messages, options, pace, link, lab, seed."},
		{"unknown key inside", `{"messages": [{}, {"bcc": []}]}`, "messages[1].bcc: unknown key; known here are from, to, data, alternatives."},
		{"another case", `{"Target": {}}`, "Target: unknown key; known here are target, security, tls, ehlo, auth, commands, messages, options, pace, link, lab, seed."},
		{"twice", `{"target": {"mode": "live", "mode": "lab"}}`, "target.mode: the key comes twice; say it once."},
		{"twice, escaped", `{"ehlo": "a", "\u0065hlo": "b"}`, "ehlo: the key comes twice; say it once."},
		{"text for an object", `{"target": "mx.example.net"}`, "target: want an object, got a text."},
		{"null for an object", `{"auth": null}`, "auth: want an object, got null."},
		{"object for a list", `{"messages": {}}`, "messages: want a list, got an object."},
		{"null for a list", `{"messages": null}`, "messages: want a list, got null."},
		{"text for a list", `{"messages": [{"to": "a@example.net"}]}`, "messages[0].to: want a list, got a text."},
		{"number for a text", `{"messages": [{"to": ["a@example.net", 7]}]}`, "messages[0].to[1]: want a text, got 7."},
		{"null for a text", `{"ehlo": null}`, "ehlo: want a text, got null."},
		{"list for a text", `{"ehlo": []}`, "ehlo: want a text, got a list."},
		{"text for a truth", `{"pace": {"step": "yes"}}`, "pace.step: want true or false, got a text."},
		{"fraction", `{"target": {"port": 25.5}}`, "target.port: want a whole number, got 25.5."},
		{"power of ten", `{"target": {"port": 1e3}}`, "target.port: want a whole number, got 1e3."},
		{"too large", `{"seed": 9223372036854775808}`, "seed: want a whole number, got 9223372036854775808."},
		{"text for a number", `{"link": {"loss": "0.1"}}`, "link.loss: want a number, got a text."},
		{"truth for a number", `{"link": {"loss": true}}`, "link.loss: want a number, got true."},
		{"long", `{"ehlo": ` + strings.Repeat("1", 50) + `}`, "ehlo: want a text, got " + strings.Repeat("1", 40) + "…."},
		{"unknown mechanism", `{"target": {"mode": "live", "host": "a"}, "auth": {"mechanism": "ntlm", "username": "u", "password": "p"}}`,
			`auth.mechanism: sasl: the mechanism "NTLM" is not available; choose from SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER, EXTERNAL, ANONYMOUS.`},
		{"bound to no TLS", `{"target": {"mode": "live", "host": "a"}, "security": "none", "auth": {"mechanism": "SCRAM-SHA-1-PLUS", "username": "u", "password": "p"}}`,
			`auth.mechanism: SCRAM-SHA-1-PLUS is bound to TLS, and security is "none".`},
		{"no token", `{"target": {"mode": "live", "host": "a"}, "auth": {"mechanism": "XOAUTH2", "username": "u"}}`, "auth.mechanism: sasl: the token is empty."},
		{"unusable option", `{"target": {"mode": "live", "host": "a"}, "options": {"protocol": "uucp"}}`,
			`options.protocol: "uucp" is unknown; want "smtp" or "lmtp".`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := session.ParsePlan([]byte(c.plan))
			var e *session.PlanError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, lead+c.want, err.Error())
		})
	}
}

func TestParsePlan(t *testing.T) {
	p, err := session.ParsePlan([]byte(` {"target": {"mode": "live", "host": "mx.example.net"}, "auth": {"username": "a"}, "messages": [
		{"from": "", "to": ["a@example.net", "b@example.net"], "data": "\ud83d\ude00\u0000\r\n\"\\\/"}],
		"options": {"pipelining": true, "size": false}, "tls": {"ca": []}} `))
	require.NoError(t, err)
	assert.Equal(t, &session.Plan{
		Target:   session.Target{Mode: "live", Host: "mx.example.net", Port: 587},
		Security: session.STARTTLS, EHLO: "[127.0.0.1]",
		TLS:      session.TLS{ServerName: "mx.example.net", CA: []string{}},
		Auth:     &session.Auth{Username: "a"},
		Messages: []session.Message{{To: []string{"a@example.net", "b@example.net"}, Data: "😀\x00\r\n\"\\/"}},
		Options:  session.Options{Pipelining: true, Protocol: "smtp"},
	}, p)
}

// FuzzParsePlan wants any plan that is taken to have been JSON, and any error to be one that can be shown.
func FuzzParsePlan(f *testing.F) {
	f.Add(planJSON(f, nil))
	f.Add([]byte(`{"target": {"mode": "lab"}, "link": {"loss": 0.1}, "messages": [{"to": ["a@b"], "data": "\ud83d"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := session.ParsePlan(b)
		if valid := json.Valid(b); err != nil {
			require.Equal(t, !valid, strings.HasPrefix(err.Error(), "The plan cannot be run. It is not JSON: "))
		} else {
			require.True(t, valid)
		}
	})
}

// A plan carries its messages: reading it must cost little more than the bytes of one that is long.
func BenchmarkParsePlan(b *testing.B) {
	line := strings.Repeat("0123456789abcdef", 4) + "\r\n"
	plan := planJSON(b, map[string]any{"messages": []any{map[string]any{
		"from": "", "to": []string{"grace@example.net"}, "data": strings.Repeat(line, 25<<20/len(line))}}})
	b.SetBytes(int64(len(plan)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := session.ParsePlan(plan)
		require.NoError(b, err)
	}
}
