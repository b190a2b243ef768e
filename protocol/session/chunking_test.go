package session_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
)

// BDAT in place of DATA (RFC 3030).

func chunked(pipelining bool, data string) map[string]any {
	edits := letters(data)
	edits["options"] = map[string]any{"chunking": true, "pipelining": pipelining, "size": false}
	return edits
}

var offerChunks = script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250-8BITMIME", "S: 250-CHUNKING", "S: 250-BINARYMIME", "S: 250 PIPELINING"}

// oneByOne answers each command of the envelope by 250.
func oneByOne(mail string) script {
	return script{"C: " + mail, "S: 250 a", asked[1], "S: 250 b", asked[2], "S: 250 c"}
}

func TestChunking(t *testing.T) {
	for name, most := range splittings() {
		t.Run(name, func(t *testing.T) {
			s := join(offerChunks, oneByOne("MAIL FROM:<a@example.org>"), script{"B 6 LAST", "S: 250 2.0.0 Ok: queued as 4F2C"}, leave)
			tr, out, writes := pipelined(t, chunked(false, ".\nx"), s, most)
			require.NoError(t, out.err)
			assert.Equal(t, ".\r\nx\r\n", out.message)
			assert.Equal(t, []string{"BDAT 6 LAST\r\n.\r\nx\r\n", "QUIT\r\n"}, writes[len(writes)-2:])
			assert.Equal(t, []string{"command BDAT 6 LAST", "message message, 6 bytes", "reply 250 2.0.0 Ok: queued as 4F2C",
				"command QUIT", "reply 221 2.0.0 bye", "closed connection closed by the server"}, dialogue(tr)[9:])
			assert.Equal(t, "4F2C", tr.Result.Messages[0].QueueID)
			assert.Equal(t, 8, tr.Result.RoundTrips) // connect, greeting, EHLO, MAIL, RCPT, RCPT, BDAT, QUIT
			checkChunks(t, tr)
		})
		t.Run(name+", in a group", func(t *testing.T) {
			s := join(offerChunks, asked[:3], script{"B 3 LAST", "S: 250 a", "S: 250 b", "S: 250 c", "S: 250 d"}, leave)
			tr, out, writes := pipelined(t, chunked(true, "x\r\n"), s, most)
			require.NoError(t, out.err)
			assert.Equal(t, "x\r\n", out.message)
			assert.Equal(t, strings.TrimSuffix(groupOfTwo, "DATA\r\n")+"BDAT 3 LAST\r\nx\r\n", writes[1], "one write has all of it")
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
			assert.Equal(t, 5, tr.Result.RoundTrips) // connect, greeting, EHLO, all of the message, QUIT
			checkChunks(t, tr)
		})
	}
}

// checkChunks asserts that the octets of each BDAT are an event behind that of its
// line, and that the reply answers the line.
func checkChunks(t *testing.T, tr *trace.Trace) {
	var chunks []trace.Event
	answered := map[int]int{}
	for i, e := range tr.Events {
		switch {
		case e.Kind == trace.KindCommand && strings.HasPrefix(e.Text, "BDAT"):
			chunks = append(chunks, e)
		case e.Kind == trace.KindMessage:
			var d trace.MessageData
			require.NoError(t, json.Unmarshal(e.Data, &d))
			line := chunks[len(chunks)-1]
			assert.Equal(t, line.At.End(), e.At.Off, "event %d", i)
			assert.Equal(t, e.At.Len, d.Size)
			assert.Zero(t, d.Stuffed+d.Normalized)
			assert.GreaterOrEqual(t, d.Started, line.T)
			assert.True(t, strings.HasPrefix(line.Text+" ", "BDAT "+strings.TrimSuffix(strings.TrimPrefix(e.Text, "message, "), " bytes")+" "))
		case e.Kind == trace.KindReply:
			var d trace.ReplyData
			require.NoError(t, json.Unmarshal(e.Data, &d))
			if d.Verb == "BDAT" {
				answered[*d.Answers]++
			}
		}
	}
	for _, c := range chunks {
		assert.Equal(t, 1, answered[c.N], "one reply a chunk")
	}
}

func TestChunkingVerdicts(t *testing.T) {
	envelope := oneByOne("MAIL FROM:<a@example.org>")
	group := append(asked[:3:3], "B 3 LAST")
	for _, c := range []struct {
		name       string
		edits      map[string]any
		script     script
		outcome    trace.Outcome
		phase      string
		says       string
		recipients string
	}{
		{"empty", chunked(false, ""), join(offerChunks, envelope, script{"B 0 LAST", "S: 250 d"}, leave), trace.Accepted, "quit", "", "accepted accepted"},
		{"refused", chunked(false, "x\r\n"), join(offerChunks, envelope, script{"B 3 LAST", "S: 554 5.6.0 spam"}, leave), trace.Rejected, "message", "554 5.6.0 spam", "rejected rejected"},
		{"closed", chunked(false, "x\r\n"), join(offerChunks, envelope, script{"B 3 LAST", "CLOSE"}), trace.Unknown, "message", "may have accepted it", "unknown unknown"},
		{"empty and closed", chunked(false, ""), join(offerChunks, envelope, script{"B 0 LAST", "CLOSE"}), trace.Unknown, "message", "may have accepted it", "unknown unknown"},
		{"421", chunked(false, "x\r\n"), join(offerChunks, envelope, script{"B 3 LAST", "S: 421 later", "CLOSE"}), trace.Rejected, "message", "421 later", "failed failed"},
		{"group, one recipient refused", chunked(true, "x\r\n"), join(offerChunks, group, script{"S: 250 a", "S: 550 b", "S: 250 c", "S: 250 d"}, leave), trace.Partial, "rcpt", "550 b", "rejected accepted"},
		{"group, all refused", chunked(true, "x\r\n"), join(offerChunks, group, script{"S: 250 a", "S: 550 b", "S: 550 c", "S: 554 d"}, leave), trace.Rejected, "rcpt", "550 b", "rejected rejected"},
		{"group, all refused and closed", chunked(true, "x\r\n"), join(offerChunks, group, script{"S: 250 a", "S: 550 b", "S: 550 c", "CLOSE"}), trace.Rejected, "rcpt", "550 b", "rejected rejected"},
		{"group, MAIL refused", chunked(true, "x\r\n"), join(offerChunks, group, script{"S: 550 a", "S: 503 b", "S: 503 c", "S: 503 d"}, leave), trace.Rejected, "mail", "550 a", "rejected rejected"},
		{"group, closed without a word", chunked(true, "x\r\n"), join(offerChunks, group, script{"CLOSE"}), trace.Unknown, "mail", "may have accepted it", "unknown unknown"},
		{"not offered", chunked(true, "x\r\n"), join(offer, asked, script{"S: 250 a", "S: 250 b", "S: 250 c", "S: 354 d", "M", "S: 250 e"}, leave), trace.Accepted, "quit", "", "accepted accepted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, most := range splittings() {
				t.Run(name, func(t *testing.T) {
					tr, out, _ := pipelined(t, c.edits, c.script, most)
					require.NoError(t, out.err)
					assert.Equal(t, c.outcome, tr.Result.Outcome)
					assert.Equal(t, c.phase, tr.Result.Phase)
					if c.says != "" {
						assert.Contains(t, tr.Result.Error.Message, c.says)
					}
					var recipients []string
					for _, to := range tr.Result.Messages[0].Recipients {
						recipients = append(recipients, string(to.Outcome))
					}
					assert.Equal(t, c.recipients, strings.Join(recipients, " "))
					noted := false
					for _, e := range tr.Events {
						noted = noted || e.Kind == trace.KindNote && strings.Contains(e.Text, "does not offer CHUNKING")
					}
					assert.Equal(t, c.name == "not offered", noted)
				})
			}
		})
	}
}

// A message over the limit comes in several chunks, each with its reply, and after
// a refusal no more of it: RSET, and the next message.
func TestSeveralChunks(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 9<<20/64)
	for _, c := range []struct {
		name    string
		script  script
		outcome trace.Outcome
		message int // octets that the server read
	}{
		{"accepted", join(oneByOne("MAIL *"), script{"B 4194304", "S: 250 a", "B 4194304", "S: 250 b", "B 1048576 LAST", "S: 250 c"},
			oneByOne("MAIL *"), script{"B 2 LAST", "S: 250 d"}, leave), trace.Accepted, len(long) + 2},
		{"the second refused", join(oneByOne("MAIL *"), script{"B 4194304", "S: 250 a", "B 4194304", "S: 452 4.3.1 full", "C: RSET", "S: 250 reset"},
			oneByOne("MAIL *"), script{"B 2 LAST", "S: 250 d"}, leave), trace.Partial, 8<<20 + 2},
		{"closed between", join(oneByOne("MAIL *"), script{"B 4194304", "S: 250 a", "B 4194304", "CLOSE"}), trace.Failed, 8 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			edits := letters(long, "\n")
			edits["options"] = map[string]any{"chunking": true}
			tr, out := run(t, edits, join(offerChunks, c.script), nil)
			require.NoError(t, out.err)
			assert.Equal(t, c.outcome, tr.Result.Outcome, tr.Result.Error)
			assert.Len(t, out.message, c.message)
			if c.outcome == trace.Accepted {
				assert.True(t, out.message == long+"\r\n", "byte-exact")
				checkChunks(t, tr)
			}
			b, err := json.Marshal(tr)
			require.NoError(t, err)
			assert.Less(t, len(b), 2<<20, "the trace of a long message is bounded")
		})
	}
}

func TestBinaryMIME(t *testing.T) {
	data := "Subject: x\n\n.\r\r\n\x00\nü"
	edits := chunked(false, data)
	edits["options"].(map[string]any)["body"] = "binarymime"
	s := join(offerChunks, oneByOne("MAIL FROM:<a@example.org> BODY=BINARYMIME"), script{"B *", "S: 250 d"}, leave)
	for name, most := range splittings() {
		t.Run(name, func(t *testing.T) {
			tr, out, _ := pipelined(t, edits, s, most)
			require.NoError(t, out.err)
			assert.Equal(t, data, out.message, "byte-exact")
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
		})
	}
	t.Run("not offered", func(t *testing.T) {
		for _, other := range []string{"CHUNKING", "BINARYMIME"} {
			tr, out := run(t, edits, join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 " + other}, leave), nil)
			require.NoError(t, out.err)
			assert.Equal(t, trace.CodeUnsupported, tr.Result.Error.Code)
			assert.Contains(t, tr.Result.Error.Message, "BINARYMIME and CHUNKING")
		}
	})
	_, err := session.ParsePlan(planJSON(t, map[string]any{"options": map[string]any{"body": "binarymime"}}))
	assert.ErrorContains(t, err, "say options.chunking true")
}

// The octets of a chunk in TLS are carried by the records of its write, its line among them.
func TestChunkingInTLS(t *testing.T) {
	ca := newAuthority(t)
	edits := chunked(true, strings.Repeat("x", 70<<10))
	edits["security"], edits["tls"] = "tls", map[string]any{"ca": []string{ca.PEM}}
	tr, out := run(t, edits, join(script{"TLS"}, offerChunks, asked[:3], script{"B 71682 LAST", "S: 250 a", "S: 250 b", "S: 250 c", "S: 250 d"}, leave), ca.good(t))
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	text, _ := tr.Streams[trace.TextOut].Bytes(0, 1<<20)
	assert.Equal(t, 1, bytes.Count(text, []byte("BDAT 71682 LAST\r\nxxx")))
	checkChunks(t, tr)
}

// Who pauses before a chunk sees its line and may send it as it is.
func TestChunkingPauses(t *testing.T) {
	edits := chunked(true, "x\r\n")
	edits["pace"] = map[string]any{"breakpoints": []string{"before:BDAT"}}
	s := join(offerChunks, asked[:3], script{"S: 250 a", "S: 250 b", "S: 250 c", "B 3 LAST", "S: 250 d"}, leave)
	tr, out := play(t, edits, s, func(s *session.Session, p *session.Pending) {
		if p.Problem == "" && p.Text == "BDAT 3 LAST" {
			s.Send("BDAT 4 LAST") // which a live server is not sent
			return
		}
		assert.Contains(t, p.Problem+p.Verb, "has 0 octets")
		s.Resume()
	})
	require.NoError(t, out.err)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.Equal(t, []string{"paused before BDAT"}, pausedBefore(tr))
}
