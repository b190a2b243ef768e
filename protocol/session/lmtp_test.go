package session_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
)

// The seventeenth case of the list: LMTP (RFC 2033), where the message is answered
// once for each recipient that was accepted.

func lmtpPlan(options map[string]any, to ...string) map[string]any {
	o := map[string]any{"protocol": "lmtp"}
	for k, v := range options {
		o[k] = v
	}
	return map[string]any{"options": o, "messages": []any{map[string]any{"from": "a@example.org", "to": to, "data": "x\r\n"}}}
}

var (
	lhlo    = script{"S: 220 mx LMTP", "C: LHLO *", "S: 250-mx", "S: 250-PIPELINING", "S: 250 CHUNKING"}
	sender  = script{"C: MAIL FROM:<a@example.org>", "S: 250 ok"}
	theData = script{"C: DATA", "S: 354 go", "M"}
)

func rcpt(to, reply string) script { return script{"C: RCPT TO:<" + to + ">", "S: " + reply} }

// verdicts are what became of each recipient.
func verdicts(tr *trace.Trace) (out []string) {
	for _, m := range tr.Result.Messages {
		for _, r := range m.Recipients {
			out = append(out, r.To+" "+string(r.Outcome))
		}
	}
	return out
}

func TestCase17_Verdicts(t *testing.T) {
	const bob, eve = "bob@example.net", "eve@example.net"
	both := join(sender, rcpt(bob, "250 ok"), rcpt(eve, "250 ok"))
	for _, c := range []struct {
		name     string
		options  map[string]any
		to       []string
		script   script
		outcome  trace.Outcome
		verdicts []string
		queueID  string
		says     string
	}{
		{"all", nil, []string{bob, eve}, join(both, theData, script{"S: 250 2.1.5 queued as B1", "S: 250 2.1.5 queued as E1"}, leave),
			trace.Accepted, []string{bob + " accepted", eve + " accepted"}, "B1", ""},
		{"partial", nil, []string{bob, eve}, join(both, theData, script{"S: 452 4.2.2 full", "S: 250 2.1.5 queued as E1"}, leave),
			trace.Partial, []string{bob + " rejected", eve + " accepted"}, "E1", "The server refused the message: 452 4.2.2 full."},
		{"none", nil, []string{bob, eve}, join(both, theData, script{"S: 452 4.2.2 full", "S: 550 5.1.1 gone"}, leave),
			trace.Rejected, []string{bob + " rejected", eve + " rejected"}, "", "452 4.2.2 full"},
		{"one refused at RCPT", nil, []string{"nobody@example.net", bob, eve},
			join(sender, rcpt("nobody@example.net", "550 no"), rcpt(bob, "250 ok"), rcpt(eve, "250 ok"), theData, script{"S: 250 ok", "S: 552 5.2.2 full"}, leave),
			trace.Partial, []string{"nobody@example.net rejected", bob + " accepted", eve + " rejected"}, "", "The server refused a recipient: 550 no."},
		{"twice the same", nil, []string{bob, bob}, join(sender, rcpt(bob, "250 ok"), rcpt(bob, "250 ok"), theData, script{"S: 250 ok", "S: 250 ok"}, leave),
			trace.Accepted, []string{bob + " accepted", bob + " accepted"}, "", ""},
		{"421 in the middle", nil, []string{bob, eve, "pat@example.net"},
			join(both, rcpt("pat@example.net", "250 ok"), theData, script{"S: 250 ok", "S: 421 4.3.2 closing", "CLOSE"}),
			trace.Partial, []string{bob + " accepted", eve + " rejected", "pat@example.net unknown"}, "", "look in the mailboxes of the other recipients"},
		{"421 at first", nil, []string{bob, eve}, join(both, theData, script{"S: 421 4.3.2 closing", "CLOSE"}),
			trace.Unknown, []string{bob + " rejected", eve + " unknown"}, "", "421 4.3.2 closing"},
		{"lost in the middle", nil, []string{bob, eve}, join(both, theData, script{"S: 250 ok", "CLOSE"}),
			trace.Partial, []string{bob + " accepted", eve + " unknown"}, "", "the server may have accepted it"},
		{"lost before the first", nil, []string{bob, eve}, join(both, theData, script{"CLOSE"}),
			trace.Unknown, []string{bob + " unknown", eve + " unknown"}, "", "the server may have accepted it"},
		{"chunks", map[string]any{"chunking": true}, []string{bob, eve}, join(both, script{"B 3 LAST", "S: 250 ok", "S: 550 5.7.1 spam"}, leave),
			trace.Partial, []string{bob + " accepted", eve + " rejected"}, "", "550 5.7.1 spam"},
		{"chunks, 421 in the middle", map[string]any{"chunking": true}, []string{bob, eve}, join(both, script{"B 3 LAST", "S: 421 closing", "CLOSE"}),
			trace.Unknown, []string{bob + " rejected", eve + " unknown"}, "", "421 closing"},
		{"chunks for one, refused", map[string]any{"chunking": true}, []string{bob}, join(sender, rcpt(bob, "250 ok"), script{"B 3 LAST", "S: 550 5.7.1 spam"}, leave),
			trace.Rejected, []string{bob + " rejected"}, "", "550 5.7.1 spam"},
		{"in a group", map[string]any{"pipelining": true}, []string{bob, eve}, join(script{"C: MAIL FROM:<a@example.org>", "C: RCPT TO:<bob@example.net>", "C: RCPT TO:<eve@example.net>", "C: DATA",
			"S: 250 ok", "S: 550 no", "S: 250 ok", "S: 354 go", "M", "S: 250 ok"}, leave),
			trace.Partial, []string{bob + " rejected", eve + " accepted"}, "", "The server refused a recipient"},
		{"nobody, 503", map[string]any{"pipelining": true}, []string{bob}, join(script{"C: MAIL FROM:<a@example.org>", "C: RCPT TO:<bob@example.net>", "C: DATA",
			"S: 250 ok", "S: 550 no", "S: 503 nobody"}, leave),
			trace.Rejected, []string{bob + " rejected"}, "", "550 no"},
	} {
		for name, most := range splittings() {
			t.Run(c.name+", "+name, func(t *testing.T) {
				tr, out, _ := pipelined(t, lmtpPlan(c.options, c.to...), join(lhlo, c.script), most)
				require.NoError(t, out.err)
				assert.Equal(t, c.outcome, tr.Result.Outcome)
				assert.Equal(t, c.verdicts, verdicts(tr))
				assert.Equal(t, c.queueID, tr.Result.Messages[0].QueueID)
				if c.says != "" {
					require.NotNil(t, tr.Result.Error)
					assert.Contains(t, tr.Result.Error.Message, c.says)
				}
			})
		}
	}
}

// The event of a recipient is the reply that decided about it, and each answers the message.
func TestCase17_Events(t *testing.T) {
	tr, out := run(t, lmtpPlan(nil, "bob@example.net", "eve@example.net"),
		join(lhlo, sender, rcpt("bob@example.net", "250 ok"), rcpt("eve@example.net", "250 ok"), theData, script{"S: 250 for bob", "S: 452 for eve"}, leave), nil)
	require.NoError(t, out.err)
	for i, want := range []string{"250 for bob", "452 for eve"} {
		e := tr.Events[*tr.Result.Messages[0].Recipients[i].Event]
		assert.Equal(t, want, e.Text)
	}
	assert.Equal(t, []string{"reply 220 mx LMTP", "command LHLO [127.0.0.1]", "reply 250-mx"}, dialogue(tr)[:3])
	assert.Equal(t, 9, tr.Result.RoundTrips, "connect, greeting, LHLO, MAIL, 2 RCPT, DATA, message, QUIT")
}

// There is no HELO in LMTP.
func TestCase17_LHLORefused(t *testing.T) {
	tr, out := run(t, lmtpPlan(nil, "bob@example.net"), join(script{"S: 220 mx", "C: LHLO *", "S: 500 5.5.1 this is no LMTP"}, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Rejected, tr.Result.Outcome)
	assert.Equal(t, "ehlo", tr.Result.Phase)
}

// Two messages, of which each has its recipients.
func TestCase17_NextMessage(t *testing.T) {
	plan := lmtpPlan(nil, "bob@example.net", "eve@example.net")
	plan["messages"] = append(plan["messages"].([]any), map[string]any{"from": "a@example.org", "to": []string{"pat@example.net"}, "data": "y\r\n"})
	tr, out := run(t, plan, join(lhlo, sender, rcpt("bob@example.net", "250 ok"), rcpt("eve@example.net", "250 ok"), theData, script{"S: 452 full", "S: 250 ok"},
		sender, rcpt("pat@example.net", "250 ok"), theData, script{"S: 250 ok"}, leave), nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Partial, tr.Result.Outcome)
	assert.Equal(t, []string{"bob@example.net rejected", "eve@example.net accepted", "pat@example.net accepted"}, verdicts(tr))
	assert.Equal(t, trace.Partial, tr.Result.Messages[0].Outcome)
	assert.Equal(t, trace.Accepted, tr.Result.Messages[1].Outcome)
}

func TestPlanOfLMTP(t *testing.T) {
	p, err := session.ParsePlan([]byte(`{"target": {"mode": "practice"}, "options": {"protocol": "lmtp"}}`))
	require.NoError(t, err)
	assert.Equal(t, 24, p.Target.Port)
	_, err = session.ParsePlan([]byte(`{"target": {"mode": "practice", "port": 25}, "options": {"protocol": "lmtp"}}`))
	assert.EqualError(t, err, "The plan cannot be run. target.port: LMTP must not be spoken on port 25 (RFC 2033, 5).")
}
