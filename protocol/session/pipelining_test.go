package session_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// tapped is a connection of which every read returns as many bytes as most
// allows, and every write is kept.
type tapped struct {
	net.Conn
	most   func() int
	writes []string
}

func (c *tapped) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(len(p), c.most())]) }

func (c *tapped) Write(p []byte) (int, error) {
	c.writes = append(c.writes, string(p))
	return c.Conn.Write(p)
}

// splittings are ways to cut what the server says.
func splittings() map[string]func() int {
	r := rand.New(rand.NewPCG(1, 2))
	return map[string]func() int{
		"whole": func() int { return 1 << 20 }, "byte by byte": func() int { return 1 }, "at random": func() int { return 1 + r.IntN(12) },
	}
}

// pipelined plays a plan with options.pipelining and returns what the client wrote, write by write.
func pipelined(t *testing.T, edits map[string]any, s script, most func() int) (*trace.Trace, outcome, []string) {
	plan := map[string]any{"options": map[string]any{"pipelining": true}}
	for k, v := range edits {
		plan[k] = v
	}
	addr, done := s.listen(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn := &tapped{most: most}
	tr := session.New(session.Config{Plan: parse(t, planJSON(t, plan)), Tool: "x",
		Dial: func(ctx context.Context, target session.Target, report func(tunnel.Status)) (c net.Conn, err error) {
			conn.Conn, err = dialTo(addr)(ctx, target, report)
			return conn, err
		}}).Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	checkTrace(t, tr)
	return tr, <-done, conn.writes
}

var (
	offer   = script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S: 250 PIPELINING"}
	noOffer = script{"S: 220 mx", "C: EHLO *", "S: 250 mx"}
	asked   = script{"C: MAIL FROM:<a@example.org>", "C: RCPT TO:<b@example.net>", "C: RCPT TO:<c@example.net>", "C: DATA"}
)

// letter is a message of the plan to two recipients, b and c.
func letter(text string) map[string]any {
	return map[string]any{"from": "a@example.org", "to": []string{"b@example.net", "c@example.net"}, "data": text}
}

func letters(texts ...string) map[string]any {
	var all []any
	for _, text := range texts {
		all = append(all, letter(text))
	}
	return map[string]any{"messages": all}
}

const groupOfTwo = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n"

func TestPipelining(t *testing.T) {
	s := join(offer, asked, script{"S: 250 2.1.0 a", "S: 250 2.1.5 b", "S: 250 2.1.5 c", "S: 354 d", "M", "S: 250 2.0.0 Ok: queued as 4F2C"}, leave)
	for name, most := range splittings() {
		t.Run(name, func(t *testing.T) {
			tr, out, writes := pipelined(t, letters("x\r\n"), s, most)
			require.NoError(t, out.err)
			assert.Equal(t, "x\r\n", out.message)
			assert.Equal(t, []string{"EHLO [127.0.0.1]\r\n", groupOfTwo, "x\r\n.\r\n", "QUIT\r\n"}, writes)
			assert.Equal(t, []string{
				"reply 220 mx", "command EHLO [127.0.0.1]", "reply 250-mx",
				"command MAIL FROM:<a@example.org>", "command RCPT TO:<b@example.net>", "command RCPT TO:<c@example.net>", "command DATA",
				"reply 250 2.1.0 a", "reply 250 2.1.5 b", "reply 250 2.1.5 c", "reply 354 d",
				"message message, 3 bytes", "reply 250 2.0.0 Ok: queued as 4F2C",
				"command QUIT", "reply 221 2.0.0 bye", "closed connection closed by the server",
			}, dialogue(tr))
			r := tr.Result
			assert.Equal(t, trace.Accepted, r.Outcome)
			assert.Equal(t, "quit", r.Phase)
			assert.Equal(t, "4F2C", r.Messages[0].QueueID)
			assert.Equal(t, 6, r.RoundTrips) // connect, greeting, EHLO, the group, message, QUIT
			checkAnswers(t, tr)
		})
	}
}

// checkAnswers asserts that each reply names its command, and that each command is a range of its own.
func checkAnswers(t *testing.T, tr *trace.Trace) {
	text, _ := tr.Streams[trace.TextOut].Bytes(0, 1<<20)
	deadlines := map[string]time.Duration{"MAIL": smtp.WaitMail, "RCPT": smtp.WaitRcpt, "DATA": smtp.WaitData}
	var commands []trace.Event
	for _, e := range tr.Events {
		switch e.Kind {
		case trace.KindCommand, trace.KindMessage:
			commands = append(commands, e)
			if e.Kind == trace.KindCommand {
				assert.Equal(t, e.Text+"\r\n", string(text[e.At.Off:e.At.End()]))
				var d trace.CommandData
				require.NoError(t, json.Unmarshal(e.Data, &d))
				if want, ok := deadlines[d.Verb]; ok {
					assert.Equal(t, want, d.Deadline)
				}
			}
		case trace.KindReply:
			var d trace.ReplyData
			require.NoError(t, json.Unmarshal(e.Data, &d))
			if d.Answers != nil {
				require.NotEmpty(t, commands)
				assert.Equal(t, commands[0].N, *d.Answers)
				commands = commands[1:]
			}
		}
	}
}

// One TLS record carries the group, and the offer that counts is that after STARTTLS.
func TestPipeliningInTLS(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name, before, after string
		records             int // that carry MAIL, RCPT, RCPT, DATA
	}{
		{"offered at last", "250 STARTTLS", "250 PIPELINING", 1},
		{"offered in clear only", "250-PIPELINING\\r\\n250 STARTTLS", "250 SIZE", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			edits := map[string]any{"security": "starttls", "tls": map[string]any{"ca": []string{ca.PEM}},
				"options": map[string]any{"pipelining": true, "size": false}, "messages": letters("x")["messages"]}
			s := join(script{"S: 220 mx", "C: EHLO *", "S: 250-mx", "S~ " + c.before + `\r\n`, "C: STARTTLS", "S: 220 go", "TLS", "C: EHLO *", "S: 250-mx", "S: " + c.after})
			ok := script{"S: 250 ok", "S: 250 ok", "S: 250 ok", "S: 354 go"}
			if c.records == 1 {
				s = join(s, asked, ok)
			} else {
				for i := range asked {
					s = append(s, asked[i], ok[i])
				}
			}
			tr, out := run(t, edits, join(s, script{"M", "S: 250 ok"}, leave), ca.good(t))
			require.NoError(t, out.err)
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
			text, _ := tr.Streams[trace.TextOut].Bytes(0, 1<<20)
			from := int64(bytes.Index(text, []byte("MAIL")))
			records := 0
			for _, e := range tr.Events {
				var d trace.RecordData
				if e.Kind == trace.KindRecord && json.Unmarshal(e.Data, &d) == nil && d.Plain != nil && d.Plain.Stream == trace.TextOut &&
					d.Plain.Off < from+int64(len(groupOfTwo)) && d.Plain.End() > from {
					records++
				}
			}
			assert.Equal(t, c.records, records)
		})
	}
}

// Every way in which a group can fail has the verdict that one command at a time would have had.
func TestPipeliningVerdicts(t *testing.T) {
	both := letters("one\r\n", "two\r\n")
	accepted := script{"S: 250 a", "S: 250 b", "S: 250 c", "S: 354 d", "M", "S: 250 e"}
	for _, c := range []struct {
		name       string
		edits      map[string]any
		script     script
		outcome    trace.Outcome
		phase      string
		code       trace.ErrorCode
		says       string
		recipients string // outcomes of those of the first message, and whether there is a reply to each
		message    string // the last one that the server read
	}{
		{"not offered", letters("x\r\n"), join(noOffer, script{asked[0], "S: 250 a", asked[1], "S: 250 b", asked[2], "S: 250 c", asked[3], "S: 354 d", "M", "S: 250 e"}, leave),
			trace.Accepted, "quit", "", "", "accepted+ accepted+", "x\r\n"},
		{"one recipient refused", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 550 5.1.1 b", "S: 250 c", "S: 354 d", "M", "S: 250 e"}, leave),
			trace.Partial, "rcpt", "rejected", "550 5.1.1 b", "rejected+ accepted+", "x\r\n"},
		{"all recipients refused, DATA too", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 550 b", "S: 450 c", "S: 554 no valid recipients"}, leave),
			trace.Rejected, "rcpt", "rejected", "550 b", "rejected+ rejected+", ""},
		{"all recipients refused, yet 354", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 550 b", "S: 550 c", "S: 354 d", "C: .", "S: 554 e"}, leave),
			trace.Rejected, "rcpt", "rejected", "550 b", "rejected+ rejected+", ""},
		{"and the dot accepted", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 550 b", "S: 550 c", "S: 354 d", "C: .", "S: 250 queued as 1"}, leave),
			trace.Rejected, "rcpt", "rejected", "550 b", "rejected+ rejected+", ""},
		{"MAIL refused, yet 354", letters("x\r\n"), join(offer, asked, script{"S: 550 a", "S: 503 b", "S: 503 c", "S: 354 d", "C: .", "S: 503 e"}, leave),
			trace.Rejected, "mail", "rejected", "550 a", "rejected+ rejected+", ""},
		{"DATA refused", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 250 b", "S: 250 c", "S: 451 d"}, leave),
			trace.Rejected, "data", "rejected", "451 d", "rejected+ rejected+", ""},
		{"everything refused", letters("x\r\n"), join(offer, asked, script{"S: 550 5.7.1 a", "S: 503 b", "S: 503 c", "S: 503 d"}, leave),
			trace.Rejected, "mail", "rejected", "550 5.7.1 a", "rejected+ rejected+", ""},
		{"MAIL refused and closed", letters("x\r\n"), join(offer, asked, script{"S: 550 go away", "CLOSE"}),
			trace.Rejected, "mail", "rejected", "550 go away", "rejected rejected", ""},
		{"recipients refused and closed", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 550 b", "S: 550 c", "CLOSE"}),
			trace.Rejected, "rcpt", "rejected", "550 b", "rejected+ rejected+", ""},
		{"closed without a word", letters("x\r\n"), join(offer, asked, script{"CLOSE"}), trace.Failed, "mail", "closed", "at MAIL", "failed failed", ""},
		{"closed in the middle", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 250 b", "CLOSE"}), trace.Failed, "rcpt", "closed", "at RCPT", "failed+ failed", ""},
		{"421 in the middle", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 421 4.3.2 closing", "CLOSE"}),
			trace.Rejected, "rcpt", "rejected", "421 4.3.2 closing", "rejected+ failed", ""},
		{"421 to all", letters("x\r\n"), join(offer, asked, script{"S: 421 a", "S: 421 b", "S: 421 c", "S: 421 d", "CLOSE"}),
			trace.Rejected, "mail", "rejected", "421 a", "rejected+ rejected+", ""},
		{"out of order", letters("x\r\n"), join(offer, asked, script{"S: 354 d", "S: 250 a", "HANG"}), trace.Failed, "mail", "desync", "rather than guess", "rejected rejected", ""},
		{"message refused", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 250 b", "S: 250 c", "S: 354 d", "M", "S: 554 spam"}, leave),
			trace.Rejected, "message", "rejected", "554 spam", "rejected+ rejected+", "x\r\n"},
		{"closed after the final dot", letters("x\r\n"), join(offer, asked, script{"S: 250 a", "S: 250 b", "S: 250 c", "S: 354 d", "M", "CLOSE"}),
			trace.Unknown, "message", "closed", "may have accepted it", "unknown+ unknown+", "x\r\n"},
		{"two messages", both, join(offer, asked, accepted, asked, accepted, leave), trace.Accepted, "quit", "", "", "accepted+ accepted+", "two\r\n"},
		{"the first refused at MAIL", both, join(offer, asked, script{"S: 550 a", "S: 503 b", "S: 503 c", "S: 503 d"}, asked, accepted, leave),
			trace.Partial, "mail", "rejected", "550 a", "rejected+ rejected+", "two\r\n"},
		{"RSET leads the second", both, join(offer, asked, script{"S: 250 a", "S: 550 b", "S: 550 c", "S: 503 d", "C: RSET"}, asked, script{"S: 250 reset"}, accepted, leave),
			trace.Partial, "rcpt", "rejected", "550 b", "rejected+ rejected+", "two\r\n"},
		{"RSET refused", both, join(offer, asked, script{"S: 250 a", "S: 250 b", "S: 250 c", "S: 451 d", "C: RSET"}, asked, script{"S: 500 what", "S: 503 nested", "HANG"}),
			trace.Failed, "mail", "desync", "rather than guess", "rejected+ rejected+", ""},
		{"the dot, then the second", both, join(offer, asked, script{"S: 250 a", "S: 550 b", "S: 550 c", "S: 354 d", "C: .", "S: 250 e"}, asked, accepted, leave),
			trace.Partial, "rcpt", "rejected", "550 b", "rejected+ rejected+", "two\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, most := range splittings() {
				t.Run(name, func(t *testing.T) {
					tr, out, _ := pipelined(t, c.edits, c.script, most)
					require.NoError(t, out.err)
					r := tr.Result
					assert.Equal(t, c.outcome, r.Outcome)
					assert.Equal(t, c.phase, r.Phase)
					if c.code != "" {
						require.NotNil(t, r.Error)
						assert.Equal(t, c.code, r.Error.Code)
						assert.Contains(t, r.Error.Message, c.says)
					}
					var recipients []string
					for _, to := range r.Messages[0].Recipients {
						s := string(to.Outcome)
						if to.Event != nil {
							s += "+"
						}
						recipients = append(recipients, s)
					}
					assert.Equal(t, c.recipients, strings.Join(recipients, " "))
					assert.Equal(t, c.message, out.message)
					checkAnswers(t, tr)
				})
			}
		})
	}
}

// One reply too many is seen when it comes at once. When it comes later nobody can
// tell it from the reply to what was sent in between.
func TestPipeliningSurplus(t *testing.T) {
	s := join(offer, asked, script{`S~ 250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n`, "HANG"})
	tr, out, writes := pipelined(t, letters("x\r\n"), s, splittings()["whole"])
	require.NoError(t, out.err)
	assert.Equal(t, trace.CodeDesync, tr.Result.Error.Code)
	assert.Equal(t, trace.Failed, tr.Result.Messages[0].Outcome)
	assert.Equal(t, groupOfTwo, writes[len(writes)-1], "no message was sent")
}

// Without a group, too, a server that keeps a transaction is left.
func TestRSETRefused(t *testing.T) {
	s := join(noOffer, script{asked[0], "S: 250 a", asked[1], "S: 550 b", asked[2], "S: 550 c", "C: RSET", "S: 500 what"}, leave)
	tr, out := run(t, letters("one", "two"), s, nil)
	require.NoError(t, out.err)
	assert.Equal(t, trace.CodeProtocol, tr.Result.Error.Code)
	assert.Contains(t, tr.Result.Error.Message, "500 to RSET")
	assert.Equal(t, "mail", tr.Result.Phase)
	assert.Equal(t, trace.Rejected, tr.Result.Messages[0].Outcome)
	assert.Equal(t, trace.Failed, tr.Result.Messages[1].Outcome)
}

// A group ends where the session pauses: whoever steps sees one command at a time.
func TestPipeliningPauses(t *testing.T) {
	one := func(replies ...string) (s script) {
		for i, r := range replies {
			s = append(s, asked[i], r)
		}
		return s
	}
	rest := join(script{"M", "S: 250 e"}, leave)
	for _, c := range []struct {
		name   string
		pace   map[string]any
		script script // of which every C: behind an S: has waited for it
		pauses int
	}{
		{"stepping", map[string]any{"step": true}, join(offer, one("S: 250 a", "S: 250 b", "S: 250 c", "S: 354 d"), rest), 7},
		{"before", map[string]any{"breakpoints": []string{"before:DATA"}},
			join(offer, asked[:3], script{"S: 250 a", "S: 250 b", "S: 250 c", "C: DATA", "S: 354 d"}, rest), 1},
		{"after", map[string]any{"breakpoints": []string{"after:MAIL"}},
			join(offer, asked[:1], script{"S: 250 a"}, asked[1:], script{"S: 250 b", "S: 250 c", "S: 354 d"}, rest), 1},
		{"elsewhere", map[string]any{"breakpoints": []string{"after:EHLO", "before:message"}},
			join(offer, asked, script{"S: 250 a", "S: 250 b", "S: 250 c", "S: 354 d"}, rest), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			edits := letters("x\r\n")
			edits["options"], edits["pace"] = map[string]any{"pipelining": true}, c.pace
			tr, out := play(t, edits, c.script, func(s *session.Session, p *session.Pending) {
				if c.pace["step"] == true {
					s.Step()
				} else {
					s.Resume()
				}
			})
			require.NoError(t, out.err)
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
			assert.Len(t, pausedBefore(tr), c.pauses)
			want := []string{}
			for _, step := range c.script {
				switch {
				case strings.HasPrefix(step, "C: EHLO"):
				case strings.HasPrefix(step, "C: "):
					want = append(want, "command "+step[3:])
				case strings.HasPrefix(step, "S: 250 ") && len(step) == len("S: 250 a"), strings.HasPrefix(step, "S: 354"):
					want = append(want, "reply "+step[3:])
				}
			}
			var got []string
			for _, line := range dialogue(tr) {
				if strings.HasPrefix(line, "command ") && !strings.Contains(line, "EHLO") || len(line) == len("reply 250 a") {
					got = append(got, line)
				}
			}
			assert.Equal(t, want, got)
		})
	}
}

// Neither side of a connection without any buffer waits for the other to read:
// net.Pipe has none, and the server reads 4096 bytes at a time and answers each
// command before it reads on.
func TestPipeliningDoesNotDeadlock(t *testing.T) {
	const recipients = 1000
	synctest.Test(t, func(t *testing.T) {
		var to []string
		for i := range recipients {
			to = append(to, fmt.Sprintf("user%04d@long.name.of.a.host.example.net", i))
		}
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			r := bufio.NewReaderSize(server, 4096)
			io.WriteString(server, "220 mx\r\n")
			for {
				line, err := r.ReadString('\n')
				reply := "250 " + strings.Repeat("ok", 200) + "\r\n"
				switch {
				case err != nil:
					return
				case strings.HasPrefix(line, "EHLO"):
					reply = "250-mx\r\n250 PIPELINING\r\n"
				case line == "DATA\r\n":
					reply = "354 go\r\n"
				case line == "x\r\n":
					reply = ""
				case line == "QUIT\r\n":
					reply = "221 bye\r\n"
				}
				io.WriteString(server, reply)
				if line == "QUIT\r\n" {
					return
				}
			}
		}()
		conn := &tapped{Conn: client, most: func() int { return 1 << 20 }}
		start := time.Now()
		tr := session.New(session.Config{Tool: "x", Plan: parse(t, planJSON(t, map[string]any{"options": map[string]any{"pipelining": true},
			"messages": []any{map[string]any{"from": "", "to": to, "data": "x\r\n"}}})),
			Dial: func(context.Context, session.Target, func(tunnel.Status)) (net.Conn, error) { return conn, nil }}).Run(t.Context())
		checkTrace(t, tr)
		require.Equal(t, trace.Accepted, tr.Result.Outcome, tr.Result.Error)
		assert.Zero(t, time.Since(start), "nobody waited for a deadline")
		assert.Len(t, tr.Result.Messages[0].Recipients, recipients)
		groups := 0
		for _, w := range conn.writes {
			assert.LessOrEqual(t, len(w), smtp.MaxGroup)
			assert.LessOrEqual(t, strings.Count(w, "\r\n"), smtp.MaxGroupCommands)
			if strings.Contains(w, "RCPT") {
				groups++
			}
		}
		assert.Less(t, groups, recipients/50)
		assert.Equal(t, groups+5, tr.Result.RoundTrips) // connect, greeting, EHLO, message, QUIT
	})
}

// The time that runs is that of the oldest command without a reply.
func TestPipeliningTimeout(t *testing.T) {
	for replies, want := range map[string]string{
		"":                   "at MAIL within 5m0s",
		"250 a\r\n":          "at RCPT within 5m0s",
		"250 a\r\n250 b\r\n": "at DATA within 2m0s",
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			go func() {
				r := bufio.NewReader(server)
				io.WriteString(server, "220 mx\r\n")
				r.ReadString('\n')
				io.WriteString(server, "250-mx\r\n250 PIPELINING\r\n")
				r.ReadString('\n')
				io.WriteString(server, replies)
				io.Copy(io.Discard, r)
			}()
			tr := session.New(session.Config{Tool: "x", Plan: parse(t, planJSON(t, map[string]any{"options": map[string]any{"pipelining": true}})),
				Dial: func(context.Context, session.Target, func(tunnel.Status)) (net.Conn, error) { return client, nil }}).Run(t.Context())
			checkTrace(t, tr)
			assert.Equal(t, trace.CodeTimeout, tr.Result.Error.Code)
			assert.Contains(t, tr.Result.Error.Message, want)
		})
	}
}
