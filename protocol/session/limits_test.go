package session_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
)

// What a server limits goes to it in several transactions, or not at all (RFC 9422).
func TestLimits(t *testing.T) {
	to := func(recipients ...string) map[string]any {
		return map[string]any{"from": "", "to": recipients, "data": "x\r\n"}
	}
	one := to("a@b.example")
	three := to("a@b.example", "c@B.example", "d@e.example")
	mail := script{"C: MAIL FROM:<>", "S: 250 ok"}
	data := script{"C: DATA", "S: 354 go", "M", "S: 250 Ok: queued as 1"}
	rcpt := func(address, reply string) script { return script{"C: RCPT TO:<" + address + ">", "S: " + reply} }
	a, c, d := rcpt("a@b.example", "250 a"), rcpt("c@B.example", "250 c"), rcpt("d@e.example", "250 d")
	for _, test := range []struct {
		name, limits string
		options      map[string]any
		messages     []any
		script       script // from MAIL to the message
		outcome      trace.Outcome
		says         string
		results      []string // outcome, queue id and recipients of each message
		note         bool
	}{
		{"no limit", "X=1", nil, []any{three}, join(mail, a, c, d, data), trace.Accepted, "", []string{"accepted 1: accepted accepted accepted"}, false},
		{"not reached", "RCPTMAX=3 RCPTDOMAINMAX=2 MAILMAX=1", nil, []any{three}, join(mail, a, c, d, data), trace.Accepted, "", []string{"accepted 1: accepted accepted accepted"}, false},
		{"syntax error", "RCPTMAX=1 MAILMAX=x", nil, []any{three}, join(mail, a, c, d, data), trace.Accepted, "", []string{"accepted 1: accepted accepted accepted"}, false},
		{"recipients", "RCPTMAX=2", nil, []any{three, one}, join(mail, a, c, data, mail, d, data, mail, a, data), trace.Accepted, "",
			[]string{"accepted 1: accepted accepted accepted", "accepted 1: accepted"}, true},
		{"domains", "RCPTDOMAINMAX=1", nil, []any{three}, join(mail, a, c, data, mail, d, data), trace.Accepted, "", []string{"accepted 1: accepted accepted accepted"}, true},
		{"the first refused", "RCPTMAX=2", nil, []any{three},
			join(mail, rcpt("a@b.example", "550 a"), rcpt("c@B.example", "550 c"), script{"C: RSET", "S: 250 ok"}, mail, d, data),
			trace.Partial, "550 a", []string{"partial 1: rejected rejected accepted"}, true},
		{"the second refused", "RCPTMAX=2", nil, []any{three}, join(mail, a, c, data, mail, d, script{"C: DATA", "S: 354 go", "M", "S: 554 no"}),
			trace.Partial, "554 no", []string{"partial 1: accepted accepted rejected"}, true},
		{"all refused", "RCPTMAX=2", nil, []any{three}, join(script{"C: MAIL FROM:<>", "S: 550 no", "C: MAIL FROM:<>", "S: 550 no"}),
			trace.Rejected, "550 no", []string{"rejected : rejected rejected rejected"}, true},
		{"one of the first refused", "RCPTMAX=2", nil, []any{three}, join(mail, a, rcpt("c@B.example", "450 c"), data, mail, d, data),
			trace.Partial, "450 c", []string{"partial 1: accepted rejected accepted"}, true},
		{"transactions", "MAILMAX=1", nil, []any{one, one, three}, join(mail, a, data), trace.Partial, "limit of mail transactions in one session is 1 ",
			[]string{"accepted 1: accepted", "failed : failed", "failed : failed failed failed"}, false},
		{"transactions and recipients", "MAILMAX=2 RCPTMAX=1", nil, []any{three, one}, join(mail, a, data, mail, c, data), trace.Partial, "limit of mail transactions in one session is 2 ",
			[]string{"partial 1: accepted accepted failed", "failed : failed"}, true},
		{"in groups", "RCPTMAX=2", map[string]any{"pipelining": true, "size": false}, []any{three},
			join(mail[:1], a[:1], c[:1], data[:1], mail[1:], a[1:], c[1:], data[1:], mail[:1], d[:1], data[:1], mail[1:], d[1:], data[1:]),
			trace.Accepted, "", []string{"accepted 1: accepted accepted accepted"}, true},
		{"in chunks", "RCPTMAX=2", map[string]any{"chunking": true, "size": false}, []any{three},
			join(mail, a, c, script{"B 3 LAST", "S: 250 Ok: queued as 1"}, mail, d, script{"B 3 LAST", "S: 250 Ok: queued as 2"}),
			trace.Accepted, "", []string{"accepted 1: accepted accepted accepted"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			edits := map[string]any{"messages": test.messages, "options": map[string]any{"size": false}}
			if test.options != nil {
				edits["options"] = test.options
			}
			s := join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250-PIPELINING", "S: 250-CHUNKING", "S: 250 LIMITS " + test.limits}, test.script, leave)
			for name, most := range splittings() {
				t.Run(name, func(t *testing.T) {
					tr, out, _ := pipelined(t, edits, s, most)
					require.NoError(t, out.err)
					assert.Equal(t, test.outcome, tr.Result.Outcome)
					if test.says != "" {
						assert.Contains(t, tr.Result.Error.Message, test.says)
					}
					var results []string
					for _, m := range tr.Result.Messages {
						words := []string{string(m.Outcome), m.QueueID + ":"}
						for _, r := range m.Recipients {
							words = append(words, string(r.Outcome))
							assert.Equal(t, r.Outcome == trace.Accepted, r.Outcome == trace.Accepted && r.Event != nil, "%s has its reply", r.To)
						}
						results = append(results, strings.Join(words, " "))
					}
					assert.Equal(t, test.results, results)
					noted := false
					for _, e := range tr.Events {
						noted = noted || e.Kind == trace.KindNote && strings.Contains(e.Text, "LIMITS")
					}
					assert.Equal(t, test.note, noted)
				})
			}
		})
	}
	// What is lost with the connection is that of one transaction.
	edits := map[string]any{"messages": []any{to("a@b.example", "c@B.example", "d@e.example", "f@g.example")}, "options": map[string]any{"size": false}}
	lost := join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 LIMITS RCPTMAX=1"}, mail, a, data, mail, c, script{"C: DATA", "S: 354 go", "M", "CLOSE"})
	tr, out := run(t, edits, lost, nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.Partial, tr.Result.Outcome)
	var got []trace.Outcome
	for _, r := range tr.Result.Messages[0].Recipients {
		got = append(got, r.Outcome)
	}
	assert.Equal(t, []trace.Outcome{trace.Accepted, trace.Unknown, trace.Failed, trace.Failed}, got)
}
