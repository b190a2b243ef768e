package session_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
)

// What is asked comes once signed in and before the first message, and a refusal
// ends nothing.
func TestCommands(t *testing.T) {
	edits := signIn("PLAIN", "tim", secret)
	edits["commands"] = []string{"VRFY grace", "expn staff", "HELP", "NOOP", "ETRN example.org", "RSET"}
	for name, etrn := range map[string]bool{"all offered": true, "no ETRN": false} {
		t.Run(name, func(t *testing.T) {
			offers, asks := script{"S: 250 AUTH PLAIN"}, script{}
			if etrn {
				offers, asks = script{"S: 250-ETRN", "S: 250 AUTH PLAIN"}, script{"C: ETRN example.org", "S: 459 nothing"}
			}
			tr, out := run(t, edits, join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx"}, offers, script{"C: AUTH PLAIN *", "S: 235 ok",
				"C: VRFY grace", "S: 252 perhaps", "C: EXPN staff", "S: 502 5.5.1 no", "C: HELP", "S: 214 see the RFC", "C: NOOP", "S: 250 ok"},
				asks, script{"C: RSET", "S: 250 ok"}, deliver, leave), nil)
			require.NoError(t, out.err)
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
			assert.Contains(t, dialogue(tr), "reply 502 5.5.1 no")
			if !etrn {
				assert.Equal(t, []string{"The server does not offer ETRN (RFC 1985): it is not asked to send its mail."}, notes(tr))
			}
		})
	}

	edits = map[string]any{"commands": []string{"VRFY grace"}, "messages": []any{}}
	tr, out := run(t, edits, join(hello, script{"C: VRFY grace", "S: 421 busy", "CLOSE"}), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Rejected, tr.Result.Outcome, "but a 421 does")

	for line, want := range map[string]string{
		"MAIL FROM:<>":   `commands[1]: "MAIL FROM:<>" is not for this list; want VRFY, EXPN, HELP, NOOP, ETRN, RSET.`,
		"QUIT":           `commands[1]: "QUIT" is not for this list; want VRFY, EXPN, HELP, NOOP, ETRN, RSET.`,
		"TURN":           "this client never sends it",
		"VRFY":           "commands[1]: VRFY: a name is missing (RFC 5321, 4.1.1).",
		"NOOP a\r\nQUIT": "commands[1]: NOOP",
	} {
		_, err := session.ParsePlan(planJSON(t, map[string]any{"commands": []string{"HELP", line}}))
		assert.ErrorContains(t, err, want, line)
	}
}

// Whoever replaces what is asked is asked again, and NOOP by hand is not the plan's.
func TestCommandsByHand(t *testing.T) {
	edits := map[string]any{"commands": []string{"NOOP", "VRFY grace"}, "pace": map[string]any{"breakpoints": []string{"before:EHLO", "before:VRFY"}}}
	seen := 0
	tr, out := play(t, edits, join(script{"S: 220 mx", "C: NOOP", "S: 250 ok", "C: EHLO *", "S: 250 mx", "C: NOOP", "S: 250 ok", "C: HELP", "S: 214 no", "C: VRFY bob", "S: 250 bob"}, deliver, leave),
		func(s *session.Session, p *session.Pending) {
			switch seen++; seen {
			case 1:
				s.Send("NOOP")
			case 2, 3: // stops before each send from here on
				s.Step()
			case 4:
				s.Send("HELP")
			case 5:
				s.Send("VRFY bob")
			default:
				s.Resume()
			}
		})
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
}

func notes(tr *trace.Trace) (texts []string) {
	for _, e := range tr.Events {
		if e.Kind == trace.KindNote {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

func TestRSETBetweenMessages(t *testing.T) {
	m := map[string]any{"from": "a@example.org", "to": []string{"b@example.net"}, "data": "x\r\n"}
	one := script{"C: MAIL FROM:<a@example.org>", "S: 250 ok", "C: RCPT TO:<b@example.net>", "S: 250 ok", "C: DATA", "S: 354 go", "M", "S: 250 ok"}
	refused := script{"C: MAIL FROM:<a@example.org>", "S: 250 ok", "C: RCPT TO:<b@example.net>", "S: 550 no"}
	rset := script{"C: RSET", "S: 250 ok"}
	edits := map[string]any{"options": map[string]any{"rset": true}, "messages": []any{m, m, m}}
	ehlo := script{"S: 220 mx", "C: EHLO *", "S: 250 mx"}
	tr, out := run(t, edits, join(ehlo, one, rset, refused, rset, one, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Partial, tr.Result.Outcome)

	// In a group it leads (RFC 2920, 3.1).
	edits["options"], edits["messages"] = map[string]any{"rset": true, "pipelining": true}, []any{m, m}
	group := script{"C: MAIL FROM:<a@example.org>", "C: RCPT TO:<b@example.net>", "C: DATA", "S: 250 ok", "S: 250 ok", "S: 354 go", "M", "S: 250 ok"}
	tr, out, writes := pipelined(t, edits, join(offer, group, script{"C: RSET"}, group[:3], script{"S: 250 ok"}, group[3:], leave), splittings()["whole"])
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.Contains(t, writes, "RSET\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
}

// Of the encodings that a message has, the server gets the best that it takes.
func TestAlternatives(t *testing.T) {
	message := map[string]any{"data": "=FC\r\n", "alternatives": map[string]any{"8bitmime": "ü\r\n", "binarymime": "\x00ü\n"}}
	const from = "MAIL FROM:<ada@example.org>"
	rcpt := script{"S: 250 ok", "C: " + toGrace, "S: 250 ok"}
	data := script{"C: DATA", "S: 354 go", "M", "S: 250 ok"}
	for _, c := range []struct {
		name, body, offer string
		chunking          bool
		script            script
		sent              string
	}{
		{"nothing offered", "", "SIZE 10", false, join(script{"C: " + from + " SIZE=5"}, rcpt, data), "=FC\r\n"},
		{"8BITMIME", "", "8BITMIME, SIZE 10", false, join(script{"C: " + from + " SIZE=4 BODY=8BITMIME"}, rcpt, data), "ü\r\n"},
		{"8BITMIME, not wanted", "7bit", "8BITMIME", false, join(script{"C: " + from}, rcpt, data), "=FC\r\n"},
		{"BINARYMIME", "", "8BITMIME, BINARYMIME, CHUNKING, SIZE 10", true, join(script{"C: " + from + " SIZE=4 BODY=BINARYMIME"}, rcpt, script{"B 4 LAST", "S: 250 ok"}), "\x00ü\n"},
		{"BINARYMIME, wanted", "binarymime", "8BITMIME, BINARYMIME, CHUNKING", true, join(script{"C: " + from + " BODY=BINARYMIME"}, rcpt, script{"B 4 LAST", "S: 250 ok"}), "\x00ü\n"},
		{"BINARYMIME, no chunks wanted", "", "8BITMIME, BINARYMIME, CHUNKING", false, join(script{"C: " + from + " BODY=8BITMIME"}, rcpt, data), "ü\r\n"},
		{"BINARYMIME, 8BITMIME wanted", "8bitmime", "8BITMIME, BINARYMIME, CHUNKING", true, join(script{"C: " + from + " BODY=8BITMIME"}, rcpt, script{"B 4 LAST", "S: 250 ok"}), "ü\r\n"},
		{"CHUNKING without BINARYMIME", "", "8BITMIME, CHUNKING", true, join(script{"C: " + from + " BODY=8BITMIME"}, rcpt, script{"B 4 LAST", "S: 250 ok"}), "ü\r\n"},
		{"CHUNKING alone", "", "CHUNKING", true, join(script{"C: " + from}, rcpt, script{"B 5 LAST", "S: 250 ok"}), "=FC\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := map[string]any{"from": "ada@example.org", "to": []string{"grace@example.net"}}
			for k, v := range message {
				m[k] = v
			}
			edits := map[string]any{"messages": []any{m}, "options": map[string]any{"body": c.body, "chunking": c.chunking}}
			tr, out := run(t, edits, join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx"}, ehloLines(c.offer), c.script, leave), nil)
			require.NoError(t, out.err)
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
			assert.Equal(t, c.sent, out.message)
			assert.NotContains(t, string(tr.Meta.Plan), "alternatives", "the trace's meta is no second copy of a message")
		})
	}
}

func TestRRVS(t *testing.T) {
	asked := map[string]any{"size": false, "rrvs": "2026-01-01T01:00:00+01:00"}
	for _, c := range []extensionCase{
		{name: "offered", options: asked, offer: "RRVS", script: given("MAIL FROM:<ada@example.org>", toGrace+" RRVS=2026-01-01T00:00:00Z"), outcome: trace.Accepted},
		{name: "not offered", options: asked, offer: "SIZE", script: given("MAIL FROM:<ada@example.org>", toGrace), outcome: trace.Accepted,
			notes: []string{"The server does not offer RRVS (RFC 7293)"}},
	} {
		t.Run(c.name, c.check)
	}
	_, err := session.ParsePlan(planJSON(t, map[string]any{"options": map[string]any{"rrvs": "yesterday"}}))
	assert.EqualError(t, err, `The plan cannot be run. options.rrvs: "yesterday"; want a time like "2026-01-01T00:00:00Z" (RFC 7293).`)
}

// A server that trusts this client takes it for another one, and the session begins anew.
func TestXclientAndXforward(t *testing.T) {
	attributes := map[string]any{"NAME": "spike.example", "ADDR": "IPV6:2001:db8::1", "LOGIN": "a b"}
	practice := map[string]any{"mode": "practice", "host": serverName}
	edits := signIn("PLAIN", "tim", secret)
	edits["target"] = practice
	edits["options"] = map[string]any{"size": false, "xclient": attributes, "xforward": map[string]any{"NAME": "spike.example", "SOURCE": "LOCAL"}}
	ehlo := script{"C: EHLO *", "S: 250-mx", "S: 250-XCLIENT NAME ADDR", "S: 250-XFORWARD NAME SOURCE", "S: 250 AUTH PLAIN"}
	tr, out := run(t, edits, join(script{"S: 220 mx"}, ehlo, script{"C: XCLIENT NAME=spike.example ADDR=IPV6:2001:db8::1", "S: 220 mx"}, ehlo,
		script{"C: AUTH PLAIN *", "S: 235 ok", "C: XFORWARD NAME=spike.example SOURCE=LOCAL", "S: 550 not you"}, deliver, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome, "what is logged does not matter to the mail")
	assert.Equal(t, []string{`The attributes that the server takes from this client with XCLIENT (Postfix) are "NAME ADDR": the rest of the plan's is left out.`}, notes(tr))

	tr, out = run(t, edits, join(script{"S: 220 mx"}, ehlo, script{"C: XCLIENT *", "S: 550 5.7.0 not you"}, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Rejected, tr.Result.Outcome, "mail as somebody else would be another test")
	assert.Contains(t, tr.Result.Error.Message, "550 5.7.0 not you")

	tr, out = run(t, edits, join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250-XFORWARD ADDR", "S: 250 AUTH PLAIN", "C: AUTH PLAIN *", "S: 235 ok"}, deliver, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.Len(t, notes(tr), 2)

	for _, options := range []map[string]any{{"xclient": attributes}, {"xforward": map[string]any{"NAME": "x"}}} {
		_, err := session.ParsePlan(planJSON(t, map[string]any{"options": options}))
		assert.EqualError(t, err, "The plan cannot be run. options.xclient, options.xforward: they are not sent to a live server, which would believe them; leave them out, or use the practice server.")
	}
	for want, xclient := range map[string]any{
		"options.xclient: parameter":                                 map[string]any{"TWO=WORDS": "red"},
		"options.xclient.NAME: want a text, got 7":                   map[string]any{"NAME": 7},
		"options.xclient: want an object, got a list":                []string{},
		"options.xclient: parameter \"NAME=\": the value is missing": map[string]any{"NAME": ""},
	} {
		_, err := session.ParsePlan(planJSON(t, map[string]any{"target": practice, "options": map[string]any{"xclient": xclient}}))
		assert.ErrorContains(t, err, want)
	}
	_, err := session.ParsePlan([]byte(`{"target": {"mode": "practice"}, "options": {"xclient": {"NAME": "a", "NAME": "b"}}}`))
	assert.ErrorContains(t, err, "options.xclient.NAME: the key comes twice")
}
