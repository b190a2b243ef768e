package session_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
)

// offering is a server that offers these mechanisms.
func offering(mechanisms string) script {
	return script{"S: 220 mx ESMTP", "C: EHLO *", "S: 250-mx", "S: 250 AUTH " + mechanisms}
}

func signIn(mechanism, username, password string) map[string]any {
	return map[string]any{"auth": map[string]any{"mechanism": mechanism, "username": username, "password": password}}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// split makes the server write every octet by itself.
func (s script) split() (out script) {
	for _, step := range s {
		line, ok := strings.CutPrefix(step, "S: ")
		if !ok {
			out = append(out, step)
			continue
		}
		for _, octet := range strings.Split(line+"\r\n", "") {
			escaped, _ := json.Marshal(octet) //nolint:errcheck // a string
			out = append(out, "S~ "+strings.Trim(string(escaped), `"`))
		}
	}
	return out
}

const (
	secret  = "tanstaaftanstaaf"
	rfc7628 = "n,a=tim@example.org,\x01host=" + serverName + "\x01port=25\x01auth=Bearer " + secret + "\x01\x01"
	xoauth2 = "user=tim@example.org\x01auth=Bearer " + secret + "\x01\x01"
)

// With each mechanism the session signs in, and neither what it sent nor what the
// server repeats of it is in the trace that others may see.
func TestMechanisms(t *testing.T) {
	for _, c := range []struct {
		name, mechanism, username, password string
		dialogue                            script
		shown                               []string // of the sign-in, in the redacted trace
	}{
		{"PLAIN", "PLAIN", "tim@example.org", secret,
			script{"C: AUTH PLAIN " + b64("\x00tim@example.org\x00"+secret), "S: 235 2.7.0 hello tim@example.org, " + secret},
			[]string{"command AUTH PLAIN ••••••••", "reply 235 2.7.0 hello tim@example.org, ••••••••"}},
		{"LOGIN", "LOGIN", "tim@example.org", secret,
			script{"C: AUTH LOGIN", "S: 334 " + b64("Username:"), "C: " + b64("tim@example.org"), "S: 334 " + b64("Password for tim@example.org:"), "C: " + b64(secret), "S: 235 2.7.0 hello tim@example.org"},
			[]string{"command AUTH LOGIN", "reply 334 " + b64("Username:"), "response ••••••••", "reply 334 " + b64("Password for tim@example.org:"), "response ••••••••", "reply 235 2.7.0 hello tim@example.org"}},
		{"LOGIN, taken without the password", "LOGIN", "tim@example.org", secret,
			script{"C: AUTH LOGIN", "S: 334 " + b64("Username:"), "C: " + b64("tim@example.org"), "S: 235 2.7.0 we know you"},
			[]string{"command AUTH LOGIN", "reply 334 " + b64("Username:"), "response ••••••••", "reply 235 2.7.0 we know you"}},
		{"CRAM-MD5, RFC 2195", "CRAM-MD5", "tim", secret,
			script{"C: AUTH CRAM-MD5", "S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+", "C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw",
				"S: 235 2.7.0 dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw is right, " + secret},
			[]string{"command AUTH CRAM-MD5", "reply 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+", "response ••••••••", "reply 235 2.7.0 •••••••• is right, ••••••••"}},
		{"CRAM-MD5, taken without a challenge", "CRAM-MD5", "tim", secret,
			script{"C: AUTH CRAM-MD5", "S: 235 2.7.0 we know you"},
			[]string{"command AUTH CRAM-MD5", "reply 235 2.7.0 we know you"}},
		{"XOAUTH2", "XOAUTH2", "tim@example.org", secret,
			script{"C: AUTH XOAUTH2 " + b64(xoauth2), "S: 235 2.7.0 hello tim@example.org, " + secret},
			[]string{"command AUTH XOAUTH2 ••••••••", "reply 235 2.7.0 hello tim@example.org, ••••••••"}},
		{"XOAUTH2, long", "XOAUTH2", "tim@example.org", strings.Repeat(secret, 100),
			script{"C: AUTH XOAUTH2", "S: 334 ", "C: " + b64("user=tim@example.org\x01auth=Bearer "+strings.Repeat(secret, 100)+"\x01\x01"), "S: 235 2.7.0 hello"},
			[]string{"command AUTH XOAUTH2", "reply 334 ", "response ••••••••", "reply 235 2.7.0 hello"}},
		{"OAUTHBEARER", "OAUTHBEARER", "tim@example.org", secret,
			script{"C: AUTH OAUTHBEARER " + b64(rfc7628), "S: 235 2.7.0 hello, " + secret},
			[]string{"command AUTH OAUTHBEARER ••••••••", "reply 235 2.7.0 hello, ••••••••"}},
		{"EXTERNAL", "EXTERNAL", "", "",
			script{"C: AUTH EXTERNAL =", "S: 235 2.7.0 hello"},
			[]string{"command AUTH EXTERNAL =", "reply 235 2.7.0 hello"}},
		{"EXTERNAL, as someone", "EXTERNAL", "tim@example.org", "",
			script{"C: AUTH EXTERNAL " + b64("tim@example.org"), "S: 235 2.7.0 hello tim@example.org"},
			[]string{"command AUTH EXTERNAL ••••••••", "reply 235 2.7.0 hello tim@example.org"}},
		{"ANONYMOUS", "ANONYMOUS", "", "",
			script{"C: AUTH ANONYMOUS =", "S: 235 2.7.0 hello"},
			[]string{"command AUTH ANONYMOUS =", "reply 235 2.7.0 hello"}},
		{"ANONYMOUS, RFC 4505", "ANONYMOUS", "sirhc", "",
			script{"C: AUTH ANONYMOUS c2lyaGM=", "S: 235 2.7.0 hello sirhc"},
			[]string{"command AUTH ANONYMOUS ••••••••", "reply 235 2.7.0 hello sirhc"}},
	} {
		for _, way := range []string{"whole", "split"} {
			t.Run(c.name+", "+way, func(t *testing.T) {
				s := join(offering(c.mechanism), c.dialogue, deliver, leave)
				if way == "split" {
					s = s.split()
				}
				tr, out := run(t, signIn(strings.ToLower(c.mechanism), c.username, c.password), s, nil)
				require.NoError(t, out.err)
				require.Equal(t, trace.Accepted, tr.Result.Outcome)
				assert.Equal(t, c.shown, dialogue(tr)[3:3+len(c.shown)])
				assertHidden(t, tr, c.dialogue)
			})
		}
	}
}

// assertHidden asserts that a trace others may see holds no response of the client,
// and neither the secret nor its digest.
func assertHidden(t *testing.T, tr *trace.Trace, s script) {
	hidden := []string{secret, "b913a602c7eda7a495b4e6e7334d3890"}
	for _, step := range s {
		if line, ok := strings.CutPrefix(step, "C: "); ok {
			words := strings.Fields(line)
			if last := words[len(words)-1]; (words[0] != "AUTH" || len(words) == 3) && last != "=" && last != "*" {
				hidden = append(hidden, last)
			}
		}
	}
	redacted := tr.Redact()
	texts := map[string]string{}
	for name, stream := range redacted.Streams {
		text, _ := stream.Bytes(0, stream.Len())
		texts[name] = string(text)
	}
	redacted.Streams = nil
	b, err := json.Marshal(redacted)
	require.NoError(t, err)
	texts["events"] = string(b)
	for name, text := range texts {
		for _, h := range hidden {
			assert.False(t, strings.Contains(text, h), "%s holds %s", name, h)
		}
	}
}

// A refusal is in words that fit the mechanism, and nothing but QUIT follows.
func TestSignInRefused(t *testing.T) {
	said := func(json string) string { return "S: 334 " + b64(json) }
	for _, c := range []struct {
		name, mechanism string
		dialogue        script
		says            string
	}{
		{"password", "CRAM-MD5", script{"C: AUTH CRAM-MD5", "S: 334 " + b64("<1@mx>"), "C: dGltQGV4YW1wbGUub3Jn*", "S: 535 5.7.8 no"},
			"The server refused the sign-in: 535 5.7.8 no. Check the user name and the password, and whether this account may sign in with a password."},
		{"token, in two steps", "XOAUTH2", script{"C: AUTH XOAUTH2 *", said(`{"status":"401","schemes":"bearer","scope":"https://mail.example.net/"}`), "C: ", "S: 535 5.7.8 no"},
			`The server refused the sign-in: 535 5.7.8 no. The server says "401" of the token: it has expired, was withdrawn or is another user's. Get a new one for the scope "https://mail.example.net/".`},
		{"token by RFC 7628", "OAUTHBEARER", script{"C: AUTH OAUTHBEARER *", said(`{"status":"invalid_token"}`), "C: AQ==", "S: 535-5.7.1 Username and Password", "S: 535 5.7.1 not accepted"},
			`The server refused the sign-in: 535 5.7.1 Username and Password not accepted. The server says "invalid_token" of the token: it has expired, was withdrawn or is another user's. Get a new one.`},
		{"token, at once", "XOAUTH2", script{"C: AUTH XOAUTH2 *", "S: 535 5.7.3 Authentication unsuccessful"},
			"The server refused the sign-in: 535 5.7.3 Authentication unsuccessful. Check the user name and the token: it may have expired, or not allow sending mail."},
		{"token, repeated", "XOAUTH2", script{"C: AUTH XOAUTH2 *", said(`{"status":"` + secret + `"}`), "C: ", "S: 535 5.7.8 " + secret},
			"The server refused the sign-in: 535 5.7.8 ••••••••. Check the user name and the token: it may have expired, or not allow sending mail."},
		{"token, for now", "XOAUTH2", script{"C: AUTH XOAUTH2 *", "S: 454 4.7.0 busy"},
			"The server refused the sign-in: 454 4.7.0 busy. This is temporary: try again later."},
		{"no certificate", "EXTERNAL", script{"C: AUTH EXTERNAL *", "S: 535 5.7.8 no"},
			"The server refused the sign-in: 535 5.7.8 no. EXTERNAL goes by what the connection itself proves, mostly a certificate of the client, and this client shows none."},
		{"nobody", "ANONYMOUS", script{"C: AUTH ANONYMOUS *", "S: 535 5.7.8 no"},
			"The server refused the sign-in: 535 5.7.8 no. The server takes nobody without an account here: sign in by another mechanism."},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, out := run(t, signIn(c.mechanism, "tim@example.org", secret), join(offering(c.mechanism), c.dialogue, leave), nil)
			require.NoError(t, out.err)
			assert.Equal(t, trace.Rejected, tr.Result.Outcome)
			assert.Equal(t, "auth", tr.Result.Phase)
			assert.Equal(t, c.says, tr.Result.Error.Message)
			assertHidden(t, tr, nil)
			for _, text := range dialogue(tr) {
				assert.NotContains(t, text, b64(`{"status":"`+secret), "a challenge that repeats the secret")
			}
		})
	}
}

// A challenge that cannot be answered is cancelled.
func TestChallengesThatCannotBeAnswered(t *testing.T) {
	challenge := "S: 334 " + b64("<1@mx>")
	for _, c := range []struct {
		name, mechanism, password string
		dialogue                  script
		code                      trace.ErrorCode
		says                      string
	}{
		{"no base64", "CRAM-MD5", secret, script{"C: AUTH CRAM-MD5", "S: 334 <1@mx>"}, trace.CodeProtocol, "not one line of base64"},
		{"two lines", "CRAM-MD5", secret, script{"C: AUTH CRAM-MD5", "S: 334-PDFA", "S: 334 bXg+"}, trace.CodeProtocol, "not one line of base64"},
		{"one too many", "CRAM-MD5", secret, script{"C: AUTH CRAM-MD5", challenge, "C: dGlt*", challenge}, trace.CodeProtocol, "the server sent a second"},
		{"a second refusal", "XOAUTH2", secret, script{"C: AUTH XOAUTH2 *", "S: 334 e30=", "C: ", "S: 334 e30="}, trace.CodeProtocol, "the server sent a second"},
		{"none expected", "EXTERNAL", "", script{"C: AUTH EXTERNAL *", "S: 334 "}, trace.CodeProtocol, "does not fit the mechanism"},
		{"too long an answer", "LOGIN", strings.Repeat(secret, 600), script{"C: AUTH LOGIN", "S: 334 ", "C: dGlt*", "S: 334 "}, trace.CodeUnsupported, "the limit is 12288"},
		{"too long a first response", "XOAUTH2", strings.Repeat(secret, 600), script{"C: AUTH XOAUTH2", "S: 334 "}, trace.CodeUnsupported, "the limit is 12288"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, out := run(t, signIn(c.mechanism, "tim", c.password), join(offering(c.mechanism), c.dialogue, script{"C: *", "S: 501 5.7.0 cancelled"}, leave), nil)
			require.NoError(t, out.err)
			assert.Equal(t, trace.Failed, tr.Result.Outcome)
			assert.Equal(t, "auth", tr.Result.Phase)
			assert.Equal(t, c.code, tr.Result.Error.Code)
			assert.Contains(t, tr.Result.Error.Message, c.says)
			assert.Contains(t, dialogue(tr), "response *")
			assertHidden(t, tr, nil)
		})
	}
}

// Without a wish the best mechanism depends on who can listen.
func TestBestMechanism(t *testing.T) {
	const offers = "ANONYMOUS XOAUTH2 CRAM-MD5 LOGIN PLAIN"
	tr, out := run(t, signIn("", "tim", secret), join(offering(offers), script{"C: AUTH CRAM-MD5", "S: 334 " + b64("<1@mx>"), "C: dGlt*", "S: 235 ok"}, deliver, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)

	ca := newAuthority(t)
	edits := signIn("", "tim", secret)
	edits["security"], edits["tls"] = "tls", map[string]any{"ca": []string{ca.PEM}}
	tr, out = run(t, edits, join(script{"TLS"}, offering(offers), script{"C: AUTH PLAIN *", "S: 235 ok"}, deliver, leave), ca.good(t))
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)

	tr, out = run(t, signIn("", "tim", secret), join(offering("XOAUTH2 OAUTHBEARER EXTERNAL ANONYMOUS"), leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.CodeUnsupported, tr.Result.Error.Code)
	assert.Contains(t, tr.Result.Error.Message, "chosen unless named (SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5)")
}

// Who signed in cannot do it again (RFC 4954, 4), and what waits to be sent shows what is no secret.
func TestSignInStepByStep(t *testing.T) {
	var seen []string
	edits := signIn("EXTERNAL", "", "")
	edits["pace"] = map[string]any{"breakpoints": []string{"before:AUTH", "before:MAIL"}}
	_, out := play(t, edits, join(offering("EXTERNAL"), script{"C: AUTH EXTERNAL =", "S: 235 ok"}, deliver, leave),
		func(s *session.Session, p *session.Pending) {
			seen = append(seen, trace.Mask(p.Text, p.Secret)+" "+p.Problem)
			if p.Verb == "MAIL" && p.Problem == "" {
				s.Send("AUTH EXTERNAL =")
			} else {
				s.Resume()
			}
		})
	require.NoError(t, out.err)
	require.Len(t, seen, 3)
	assert.Equal(t, "AUTH EXTERNAL = ", seen[0])
	assert.Contains(t, seen[2], "AUTH is not legal now")
}
