package session_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
)

// said lists what fields of a name say in the events of a trace.
func said(tr *trace.Trace, name string) (values []string) {
	for _, e := range tr.Events {
		for _, f := range e.Fields {
			if f.Name == name {
				values = append(values, f.Value)
			}
		}
	}
	return values
}

// Each line of AUTH is taken apart by the mechanism and by its place in the exchange.
func TestSignInFields(t *testing.T) {
	login := script{"C: AUTH LOGIN", "S: 334 " + b64("Username:"), "C: " + b64("tim@example.org"), "S: 334 " + b64("Password:"), "C: " + b64(secret), "S: 235 hello"}
	tr, out := run(t, signIn("LOGIN", "tim@example.org", secret), join(offering("LOGIN"), login, deliver, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, []string{"Username:", "Password:"}, said(tr, "prompt"))
	assert.Equal(t, []string{"tim@example.org"}, said(tr, "user name"))
	assert.Equal(t, []string{"••••••••"}, said(tr, "password"))

	cram := script{"C: AUTH CRAM-MD5", "S: 334 " + b64("<1896@x>"), "C: *", "S: 235 hello"}
	tr, out = run(t, signIn("CRAM-MD5", "tim", secret), join(offering("CRAM-MD5"), cram, deliver, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, []string{"<1896@x>"}, said(tr, "message identifier"))
	assert.Equal(t, []string{"tim"}, said(tr, "user name"))
	assert.Equal(t, []string{"••••••••"}, said(tr, "digest"))
}

// No field says a secret, also where it is the user name, where the server repeats it,
// or where passwords can be tried with it.
func TestFieldsHideSecrets(t *testing.T) {
	const odd = "tab\tand ünicode"
	for _, c := range []struct {
		name, mechanism, username, password string
		dialogue                            script
		hidden                              []string
	}{
		{"user name and password are one", "PLAIN", secret, secret, script{"C: AUTH PLAIN *", "S: 535 no", "C: QUIT", "S: 221 bye", "CLOSE"}, []string{secret}},
		{"the prompt is the password", "LOGIN", "tim", secret,
			script{"C: AUTH LOGIN", "S: 334 " + b64("is it "+secret+"?"), "C: *", "S: 535 no", "C: QUIT", "S: 221 bye", "CLOSE"}, []string{secret, b64("is it " + secret + "?")}},
		{"the prompt is an odd password", "LOGIN", "tim", odd,
			script{"C: AUTH LOGIN", "S: 334 " + b64(odd), "C: *", "S: 535 no", "C: QUIT", "S: 221 bye", "CLOSE"}, []string{odd, `tab\\tand`, b64(odd)}},
		{"the verifier of SCRAM", "SCRAM-SHA-256", "tim", secret,
			script{"C: AUTH SCRAM-SHA-256 *", "S: 334 " + b64("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), "C: *", "S: 501 cancelled", "C: QUIT", "S: 221 bye", "CLOSE"},
			[]string{"6rriTRBi", b64("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, out := run(t, signIn(c.mechanism, c.username, c.password), join(offering(c.mechanism), c.dialogue), nil)
			require.NoError(t, out.err)
			redacted := tr.Redact()
			text, _ := redacted.Streams[trace.TextIn].Bytes(0, redacted.Streams[trace.TextIn].Len())
			redacted.Meta.Plan = nil // it has the user name
			redacted.Streams = nil
			events, err := json.Marshal(redacted)
			require.NoError(t, err)
			for _, h := range c.hidden {
				assert.NotContains(t, string(events), h)
				assert.NotContains(t, string(text), h)
			}
		})
	}
}

// A message is taken apart whichever way it goes, and as far as it is kept.
func TestMessageFields(t *testing.T) {
	bdat := map[string]any{"options": map[string]any{"chunking": true}}
	chunking := script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 CHUNKING"}
	long := strings.TrimSuffix(message, ".leading dot\r\n") + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 5000)
	plan := func(data string) map[string]any {
		return map[string]any{"messages": []any{map[string]any{"from": "ada@example.org", "to": []string{"grace@example.net"}, "data": data}}}
	}
	events := func(tr *trace.Trace) (list []trace.Event) {
		for _, e := range tr.Events {
			if e.Kind == trace.KindMessage {
				list = append(list, e)
			}
		}
		return list
	}
	names := func(fields []trace.Field) string {
		var names []string
		for _, f := range fields {
			if f.Depth == 0 {
				names = append(names, f.Name)
			}
		}
		return strings.Join(names, ", ")
	}

	tr, out := run(t, nil, join(script{"S: 220 mx", "C: EHLO *", "S: 250 mx"}, deliver, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, "header section, empty line, body, final dot, line end", names(events(tr)[0].Fields))
	assert.Contains(t, said(tr, "body"), "1 stuffed dot")
	assert.Len(t, said(tr, "mailbox"), 2)

	tr, out = run(t, plan(long), join(script{"S: 220 mx", "C: EHLO *", "S: 250 mx"}, deliver, leave), nil)
	require.NoError(t, out.err)
	e := events(tr)[0]
	require.Greater(t, e.At.Len, int64(trace.BulkHead+2*trace.BulkTail), "not all of it is kept")
	assert.Equal(t, "header section, empty line, body", names(e.Fields))
	last := e.Fields[len(e.Fields)-1]
	assert.EqualValues(t, trace.BulkHead, last.Off+last.Len)

	mail := script{"C: MAIL FROM:<ada@example.org>*", "S: 250 ok", "C: RCPT TO:<grace@example.net>", "S: 250 ok"}
	tr, out = run(t, bdat, join(chunking, mail, script{"B 92 LAST", "S: 250 ok"}, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, "header section, empty line, body", names(events(tr)[0].Fields))
	assert.NotContains(t, said(tr, "body"), "1 stuffed dot")
}
