package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
)

// play runs a plan and calls at with everything that the session pauses for.
func play(t *testing.T, edits map[string]any, s script, at func(*session.Session, *session.Pending)) (*trace.Trace, outcome) {
	addr, done := s.listen(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var ses *session.Session
	ses = session.New(session.Config{Plan: parse(t, planJSON(t, edits)), Dial: dialTo(addr), Tool: "x", Pending: func(p *session.Pending) {
		if p != nil {
			at(ses, p)
		}
	}})
	tr := ses.Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	checkTrace(t, tr)
	return tr, <-done
}

func pausedBefore(tr *trace.Trace) (verbs []string) {
	for _, e := range tr.Events {
		if e.Kind == trace.KindPause {
			verbs = append(verbs, e.Text)
		}
	}
	return verbs
}

func TestStepShowsEverySend(t *testing.T) {
	var seen []string
	tr, out := play(t, map[string]any{"pace": map[string]any{"step": true}}, join(hello, deliver, leave),
		func(s *session.Session, p *session.Pending) {
			seen = append(seen, p.Verb+": "+p.Text)
			s.Step()
		})
	require.NoError(t, out.err)
	assert.Equal(t, []string{"EHLO: EHLO [127.0.0.1]", "MAIL: MAIL FROM:<ada@example.org> SIZE=92", "RCPT: RCPT TO:<grace@example.net>",
		"DATA: DATA", "message: " + message, "QUIT: QUIT"}, seen)
	assert.Len(t, pausedBefore(tr), 6)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
}

func TestBreakpoints(t *testing.T) {
	tr, _ := play(t, map[string]any{"pace": map[string]any{"breakpoints": []string{"after:EHLO", "before:data"}}}, join(hello, deliver, leave),
		func(s *session.Session, p *session.Pending) { s.Resume() })
	assert.Equal(t, []string{"paused before MAIL", "paused before DATA"}, pausedBefore(tr))
}

func TestEditWhatIsPending(t *testing.T) {
	tr, out := play(t, map[string]any{"pace": map[string]any{"breakpoints": []string{"before:RCPT", "before:message"}}},
		join(hello, script{"C: MAIL *", "S: 250 ok", "C: RCPT to:<other@example.net>", "S: 250 ok", "C: DATA", "S: 354 go", "M", "S: 250 ok"}, leave),
		func(s *session.Session, p *session.Pending) {
			switch p.Kind {
			case trace.KindMessage:
				s.Send("Subject: edited\r\n\r\nbody\r\n")
				s.Pause() // Send stops before what follows too
			default:
				if p.Verb == "RCPT" {
					s.Send("rcpt to:<other@example.net>")
				} else {
					s.Resume()
				}
			}
		})
	require.NoError(t, out.err)
	assert.Equal(t, "Subject: edited\r\n\r\nbody\r\n", out.message)
	assert.Equal(t, "other@example.net", tr.Result.Messages[0].Recipients[0].To)
}

// The rules may be broken on purpose, but only at practice.
func TestIllegalEdit(t *testing.T) {
	t.Run("live says why not", func(t *testing.T) {
		problems := 0
		_, out := play(t, map[string]any{"pace": map[string]any{"breakpoints": []string{"before:MAIL"}}}, join(hello, deliver, leave),
			func(s *session.Session, p *session.Pending) {
				if p.Problem == "" {
					s.Send("DATA")
					return
				}
				problems++
				assert.Contains(t, p.Problem, "DATA is not legal now")
				s.Resume()
			})
		require.NoError(t, out.err)
		assert.Equal(t, 1, problems)
	})
	t.Run("practice sends it", func(t *testing.T) {
		tr, out := play(t, map[string]any{"target": map[string]any{"mode": "practice"}, "pace": map[string]any{"breakpoints": []string{"before:MAIL"}}},
			join(hello, script{"C: DATA", "S: 503 5.5.1 MAIL first"}, deliver, leave),
			func(s *session.Session, p *session.Pending) {
				if p.Problem == "" && len(p.Legal) > 0 && p.Verb == "MAIL" && !seenRaw(s) {
					s.Send("DATA")
				} else {
					s.Resume()
				}
			})
		require.NoError(t, out.err)
		assert.Contains(t, dialogue(tr), "command DATA")
		assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	})
	t.Run("nobody sends a line break", func(t *testing.T) {
		tr, out := play(t, map[string]any{"target": map[string]any{"mode": "practice"}, "pace": map[string]any{"breakpoints": []string{"before:MAIL"}}},
			join(hello, deliver, leave),
			func(s *session.Session, p *session.Pending) {
				if p.Problem == "" {
					s.Send("NOOP\r\nQUIT")
				} else {
					s.Resume()
				}
			})
		require.NoError(t, out.err)
		assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	})
}

var rawSeen = map[*session.Session]bool{}

func seenRaw(s *session.Session) bool {
	seen := rawSeen[s]
	rawSeen[s] = true
	return seen
}

// What the server says while the user thinks is heard.
func TestServerLeavesDuringPause(t *testing.T) {
	for name, c := range map[string]struct {
		script script
		code   trace.ErrorCode
	}{
		"421":    {join(hello, script{"S: 421 4.4.2 idle too long", "CLOSE"}), trace.CodeRejected},
		"closed": {join(hello, script{"CLOSE"}), trace.CodeClosed},
	} {
		t.Run(name, func(t *testing.T) {
			tr, _ := play(t, map[string]any{"pace": map[string]any{"breakpoints": []string{"before:MAIL"}}}, c.script,
				func(*session.Session, *session.Pending) {})
			assert.Equal(t, c.code, tr.Result.Error.Code, tr.Result.Error.Message)
		})
	}
}

// A message whose DATA was refused is sent after all when the user asks again.
func TestDATAAgain(t *testing.T) {
	asked := 0
	tr, out := play(t, map[string]any{"pace": map[string]any{"breakpoints": []string{"after:DATA"}},
		"messages": []any{letter("one\r\n"), letter("two\r\n")}},
		join(hello, script{"C: MAIL *", "S: 250 ok", "C: RCPT *", "S: 250 ok", "C: RCPT *", "S: 550 no", "C: DATA", "S: 451 later", "C: DATA", "S: 354 go", "M", "S: 250 ok",
			"C: MAIL *", "S: 550 no"}, leave),
		func(s *session.Session, p *session.Pending) {
			if p.Verb == "RSET" && asked == 0 {
				asked++
				s.Send("DATA")
			} else {
				s.Resume()
			}
		})
	require.NoError(t, out.err)
	assert.Equal(t, "one\r\n", out.message)
	assert.Equal(t, trace.Partial, tr.Result.Messages[0].Outcome)
}
