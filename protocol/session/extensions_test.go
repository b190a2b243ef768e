package session_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
)

// extensionCase is a dialogue with a server that offers some extensions.
type extensionCase struct {
	name    string
	options map[string]any
	message map[string]any // default: one to grace
	offer   string         // the lines of the reply to EHLO behind the first, one behind the other
	script  script         // from MAIL on
	outcome trace.Outcome
	says    string   // in the error
	notes   []string // parts of those, in order
}

// check plays the case with the server's bytes whole, byte by byte and split at random.
func (c extensionCase) check(t *testing.T) {
	m := map[string]any{"from": "ada@example.org", "to": []string{"grace@example.net"}, "data": "x\r\n"}
	for k, v := range c.message {
		m[k] = v
	}
	s := join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx"}, ehloLines(c.offer), c.script, leave)
	for name, most := range splittings() {
		t.Run(name, func(t *testing.T) {
			tr, out, _ := pipelined(t, map[string]any{"options": c.options, "messages": []any{m}}, s, most)
			require.NoError(t, out.err)
			assert.Equal(t, c.outcome, tr.Result.Outcome, tr.Result.Error)
			if c.says != "" {
				require.NotNil(t, tr.Result.Error)
				assert.Contains(t, tr.Result.Error.Message, c.says)
			}
			var notes []string
			for _, e := range tr.Events {
				if e.Kind == trace.KindNote {
					notes = append(notes, e.Text)
				}
			}
			require.Len(t, notes, len(c.notes), "%q", notes)
			for i, want := range c.notes {
				assert.Contains(t, notes[i], want)
			}
		})
	}
}

// ehloLines are the lines of the reply to EHLO behind the first, from "SIZE 10, DSN".
func ehloLines(offer string) (s script) {
	lines := strings.Split(offer, ", ")
	for _, l := range lines[:len(lines)-1] {
		s = append(s, "S: 250-"+l)
	}
	return append(s, "S: 250 "+lines[len(lines)-1])
}

// given is the envelope after MAIL and then the message, with every reply positive.
func given(mail, rcpt string) script {
	return script{"C: " + mail, "S: 250 ok", "C: " + rcpt, "S: 250 ok", "C: DATA", "S: 354 go", "M", "S: 250 ok"}
}

const toGrace = "RCPT TO:<grace@example.net>"

func TestSMTPUTF8(t *testing.T) {
	asked := map[string]any{"smtputf8": true, "size": false}
	both := "8BITMIME, SMTPUTF8"
	for _, c := range []extensionCase{
		{name: "not needed", options: asked, offer: both, script: given("MAIL FROM:<ada@example.org>", toGrace), outcome: trace.Accepted},
		{name: "sender", options: asked, message: map[string]any{"from": "jürgen@bücher.example"}, offer: both,
			script: given("MAIL FROM:<jürgen@bücher.example> SMTPUTF8", toGrace), outcome: trace.Accepted},
		{name: "recipient", options: asked, message: map[string]any{"to": []string{"用户@例子.广告"}}, offer: both,
			script: given("MAIL FROM:<ada@example.org> SMTPUTF8", "RCPT TO:<用户@例子.广告>"), outcome: trace.Accepted},
		{name: "header", options: asked, message: map[string]any{"data": "Subject: Grüße\n\nx\n"}, offer: both,
			script: given("MAIL FROM:<ada@example.org> BODY=8BITMIME SMTPUTF8", toGrace), outcome: trace.Accepted},
		{name: "body alone", options: asked, message: map[string]any{"data": "Subject: x\r\n\r\nGrüße\r\n"}, offer: both,
			script: given("MAIL FROM:<ada@example.org> BODY=8BITMIME", toGrace), outcome: trace.Accepted},
		{name: "not asked for", options: map[string]any{"size": false}, message: map[string]any{"data": "Subject: Grüße\r\n\r\nx\r\n"}, offer: both,
			script: given("MAIL FROM:<ada@example.org> BODY=8BITMIME", toGrace), outcome: trace.Accepted},
		{name: "not offered, not needed", options: asked, offer: "8BITMIME", script: given("MAIL FROM:<ada@example.org>", toGrace), outcome: trace.Accepted},
		{name: "not offered, sender", options: asked, message: map[string]any{"from": "jürgen@example.org"}, offer: "8BITMIME",
			outcome: trace.Failed, says: "The message has a sender beyond ASCII, and the server does not offer SMTPUTF8"},
		{name: "not offered, recipient", options: asked, message: map[string]any{"to": []string{"grace@example.net", "bob@bücher.example"}}, offer: "8BITMIME",
			outcome: trace.Failed, says: "a recipient beyond ASCII"},
		{name: "not offered, header", options: asked, message: map[string]any{"data": "Subject: Grüße\r\n\r\nx\r\n"}, offer: "8BITMIME",
			outcome: trace.Failed, says: "a header field beyond ASCII"},
		{name: "without 8BITMIME", options: asked, message: map[string]any{"data": "Subject: Grüße\r\n\r\nx\r\n"}, offer: "SMTPUTF8",
			outcome: trace.Failed, says: "8BITMIME"},
	} {
		t.Run(c.name, c.check)
	}
}

// Without the option the plan is refused in words that name it.
func TestPlanNeedsSMTPUTF8(t *testing.T) {
	for key, edits := range map[string]map[string]any{
		"messages[0].from":  {"from": "jürgen@example.org", "to": []string{"a@b"}, "data": ""},
		"messages[0].to[1]": {"from": "", "to": []string{"a@b", "jürgen@example.org"}, "data": ""},
	} {
		_, err := session.ParsePlan(planJSON(t, map[string]any{"messages": []any{edits}}))
		assert.EqualError(t, err, `The plan cannot be run. `+key+`: "jürgen@example.org" has characters beyond ASCII, which needs SMTPUTF8 (RFC 6531): say options.smtputf8 true.`)
		_, err = session.ParsePlan(planJSON(t, map[string]any{"messages": []any{edits}, "options": map[string]any{"smtputf8": true}}))
		assert.NoError(t, err)
	}
}

func TestDSN(t *testing.T) {
	dsn := func(d map[string]any) map[string]any { return map[string]any{"size": false, "dsn": d} }
	all := map[string]any{"notify": []string{"success", "failure", "delay"}, "ret": "hdrs", "envid": "a+b c"}
	for _, c := range []extensionCase{
		{name: "all of it", options: dsn(all), offer: "DSN", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> RET=HDRS ENVID=a+2Bb+20c", toGrace+" NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;grace@example.net")},
		{name: "never", options: dsn(map[string]any{"notify": []string{"never"}}), offer: "DSN", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org>", toGrace+" NOTIFY=NEVER ORCPT=rfc822;grace@example.net")},
		{name: "full", options: dsn(map[string]any{"ret": "full"}), offer: "DSN", outcome: trace.Accepted,
			message: map[string]any{"to": []string{"grace+list@example.net"}},
			script:  given("MAIL FROM:<ada@example.org> RET=FULL", "RCPT TO:<grace+list@example.net> ORCPT=rfc822;grace+2Blist@example.net")},
		{name: "international", options: map[string]any{"size": false, "smtputf8": true, "dsn": map[string]any{"notify": []string{"delay"}}}, offer: "DSN, 8BITMIME, SMTPUTF8",
			message: map[string]any{"to": []string{"jürgen@example.net"}}, outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> SMTPUTF8", `RCPT TO:<jürgen@example.net> NOTIFY=DELAY ORCPT=utf-8;j\x{FC}rgen@example.net`)},
		{name: "not offered", options: dsn(all), offer: "HELP", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org>", toGrace), notes: []string{"does not offer DSN"}},
		{name: "not asked for", options: dsn(map[string]any{"notify": []string{}}), offer: "DSN", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org>", toGrace)},
	} {
		t.Run(c.name, c.check)
	}
}

func TestDeliveryTimes(t *testing.T) {
	with := func(key string, value any) map[string]any { return map[string]any{"size": false, key: value} }
	for _, c := range []extensionCase{
		{name: "BY", options: with("deliverby", "120;r"), offer: "DELIVERBY", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> BY=120;R", toGrace)},
		{name: "BY at the limit", options: with("deliverby", "120;RT"), offer: "DELIVERBY 120", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> BY=120;RT", toGrace)},
		{name: "BY below the limit", options: with("deliverby", "119;R"), offer: "DELIVERBY 120", outcome: trace.Failed, says: "needs 120 at least"},
		{name: "BY below the limit, to notify", options: with("deliverby", "-60;N"), offer: "DELIVERBY 120", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> BY=-60;N", toGrace)},
		{name: "BY not offered", options: with("deliverby", "120;R"), offer: "HELP", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org>", toGrace), notes: []string{"DELIVERBY (RFC 2852)"}},
		{name: "priority", options: with("priority", -9), offer: "MT-PRIORITY MIXER", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> MT-PRIORITY=-9", toGrace)},
		{name: "priority not offered", options: with("priority", 3), offer: "HELP", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org>", toGrace), notes: []string{"MT-PRIORITY (RFC 6710)"}},
		{name: "hold for", options: with("hold", "3600"), offer: "FUTURERELEASE 3600 2030-01-01T00:00:00Z", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> HOLDFOR=3600", toGrace)},
		{name: "hold for too long", options: with("hold", "3601"), offer: "FUTURERELEASE 3600 2030-01-01T00:00:00Z", outcome: trace.Failed, says: "3600 at most"},
		{name: "hold until", options: with("hold", "2030-01-01T01:00:00+01:00"), offer: "FUTURERELEASE 3600 2030-01-01T00:00:00Z", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> HOLDUNTIL=2030-01-01T00:00:00Z", toGrace)},
		{name: "hold until too late", options: with("hold", "2030-01-01T00:00:01Z"), offer: "FUTURERELEASE 3600 2030-01-01T00:00:00Z", outcome: trace.Failed, says: "until 2030-01-01T00:00:00Z at most"},
		{name: "hold, limits that cannot be read", options: with("hold", "9999"), offer: "FUTURERELEASE soon", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org> HOLDFOR=9999", toGrace)},
		{name: "hold not offered", options: with("hold", "3600"), offer: "HELP", outcome: trace.Accepted,
			script: given("MAIL FROM:<ada@example.org>", toGrace), notes: []string{"the message is not held"}},
	} {
		t.Run(c.name, c.check)
	}
}

// REQUIRETLS wants TLS, a certificate that is trusted, and the offer (RFC 8689, 4.2.1).
func TestRequireTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	for _, c := range []struct {
		name, security, offer string
		signer                *authority
		says                  string // "" when the message is sent
	}{
		{"sent", "tls", "REQUIRETLS", ca, ""},
		{"in clear", "none", "REQUIRETLS", nil, "is not in TLS"},
		{"not trusted", "tls", "REQUIRETLS", stranger, "is not trusted"},
		{"not offered", "tls", "HELP", ca, "does not offer it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			edits := map[string]any{"security": c.security, "options": map[string]any{"requiretls": true, "size": false},
				"tls": map[string]any{"ca": []string{ca.PEM}, "insecure": true}}
			s := script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 " + c.offer}
			var config *tls.Config
			if c.security == "tls" {
				s, config = join(script{"TLS"}, s), c.signer.good(t)
			}
			if c.says == "" {
				s = join(s, given("MAIL FROM:<ada@example.org> REQUIRETLS", toGrace))
			}
			tr, out := run(t, edits, join(s, leave), config)
			require.NoError(t, out.err)
			if c.says == "" {
				assert.Equal(t, trace.Accepted, tr.Result.Outcome)
				return
			}
			assert.Equal(t, trace.Failed, tr.Result.Outcome)
			assert.Equal(t, "mail", tr.Result.Phase)
			assert.Equal(t, trace.CodeUnsupported, tr.Result.Error.Code)
			assert.Contains(t, tr.Result.Error.Message, c.says)
		})
	}
}

func TestOptionErrors(t *testing.T) {
	for options, want := range map[string]string{
		`{"body": "9bit"}`:                                      `options.body: "9bit" is unknown`,
		`{"dsn": {"notify": ["always"]}}`:                       `options.dsn.notify[0]: "always" is unknown`,
		`{"dsn": {"notify": ["delay", "never"]}}`:               `options.dsn.notify[1]: "never" stands alone`,
		`{"dsn": {"notify": ["delay", "delay"]}}`:               `options.dsn.notify[1]: "delay" comes twice`,
		`{"dsn": {"ret": "all"}}`:                               `options.dsn.ret: "all" is unknown`,
		`{"dsn": {"envid": "ü"}}`:                               "options.dsn.envid: \"ü\" is not printable ASCII",
		`{"dsn": {"envid": "` + strings.Repeat("=", 34) + `"}}`: "options.dsn.envid: it has 102 octets as xtext, the limit is 100",
		`{"dsn": {"id": ""}}`:                                   "options.dsn.id: unknown key; known here are notify, ret, envid",
		`{"dsn": []}`:                                           "options.dsn: want an object, got a list",
		`{"deliverby": "soon"}`:                                 `options.deliverby: "soon"; want seconds`,
		`{"deliverby": "120"}`:                                  `options.deliverby: "120"; want seconds`,
		`{"deliverby": "120;X"}`:                                `options.deliverby: "120;X"; want seconds`,
		`{"deliverby": "0;R"}`:                                  `options.deliverby: "0;R"; a message that is to be returned`,
		`{"deliverby": "1234567890;N"}`:                         `options.deliverby: "1234567890;N"; want seconds`,
		`{"deliverby": 120}`:                                    "options.deliverby: want a text, got 120",
		`{"priority": 10}`:                                      "options.priority: 10 is not between -9 and 9",
		`{"priority": "high"}`:                                  "options.priority: want a whole number",
		`{"hold": "0"}`:                                         `options.hold: "0"; want seconds`,
		`{"hold": "tomorrow"}`:                                  `options.hold: "tomorrow"; want seconds`,
		`{"requireTLS": true}`:                                  "options.requireTLS: unknown key",
	} {
		_, err := session.ParsePlan([]byte(`{"target": {"mode": "live", "host": "a"}, "options": ` + options + `}`))
		assert.ErrorContains(t, err, "The plan cannot be run. "+want, options)
	}
}
