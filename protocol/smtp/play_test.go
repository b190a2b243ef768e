package smtp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A script is what happens to a client, in order: a string is bytes of the
// server, a Command is submitted, and the types below say what they are.
// After each step all events are taken, unless a pull follows.
type (
	script  []any
	eof     struct{}
	tlsDone struct{}
	pull    int      // take this many events only
	lmtp    struct{} // as the first step: the client speaks LMTP
)

var (
	greeting  = script{"220 mx.example.net ESMTP\r\n"}
	ready     = append(greeting, must(Ehlo("page.example")), "250-mx.example.net\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250-ETRN\r\n250-XCLIENT NAME ADDR\r\n250-XFORWARD NAME\r\n250 SIZE 1000\r\n")
	inMail    = append(ready[:len(ready):len(ready)], must(Mail("ada@example.org")), "250 ok\r\n")
	inRcpt    = append(inMail[:len(inMail):len(inMail)], must(Rcpt("bob@example.net")), "250 ok\r\n")
	inData    = append(inRcpt[:len(inRcpt):len(inRcpt)], Data(), "354 go on\r\n")
	inChunks  = append(inRcpt[:len(inRcpt):len(inRcpt)], Bdat([]byte("x"), false), "250 ok\r\n")
	inFailed  = append(inRcpt[:len(inRcpt):len(inRcpt)], Bdat([]byte("x"), false), "452 full\r\n")
	afterDot  = append(inData[:len(inData):len(inData)], Message([]byte("x")))
	inAuth    = append(ready[:len(ready):len(ready)], must(Auth("LOGIN", nil)), "334 VXNlcg==\r\n")
	inTLS     = append(ready[:len(ready):len(ready)], StartTLS(), "220 go on\r\n")
	afterTLS  = append(inTLS[:len(inTLS):len(inTLS)], tlsDone{})
	afterQuit = append(ready[:len(ready):len(ready)], Quit(), "221 bye\r\n")
	refused   = script{"554 no mail here\r\n"}
)

// asLMTP is a script with LHLO in place of EHLO.
func asLMTP(s script) script {
	out := script{lmtp{}}
	for _, step := range s {
		if c, ok := step.(Command); ok && c.Verb == VerbEhlo {
			c.Verb = VerbLhlo
			step = c
		}
		out = append(out, step)
	}
	return out
}

func must(c Command, err error) Command {
	if err != nil {
		panic(err)
	}
	return c
}

func ptr(s string) *string { return &s }

// splitting cuts a server's bytes into the pieces that Receive gets.
type splitting func(s string) []string

func whole(s string) []string { return []string{s} }

func bytewise(s string) []string { return strings.Split(s, "") }

func randomly(seed uint64) splitting {
	r := rand.New(rand.NewPCG(seed, 0))
	return func(s string) (pieces []string) {
		for s != "" {
			n := 1 + r.IntN(min(len(s), 1+r.IntN(40)))
			pieces = append(pieces, s[:n])
			s = s[n:]
		}
		return pieces
	}
}

// run plays a script on a new client and returns the events of the steps from the given one on.
func run(t testing.TB, s script, from int, split splitting) (*Client, []Event) {
	t.Helper()
	_, isLMTP := append(s[:len(s):len(s)], nil)[0].(lmtp)
	c := NewClient(Options{Name: "page.example", LMTP: isLMTP})
	var events []Event
	var in strings.Builder
	var out sent
	take := func(step, most int) {
		for ; most != 0; most-- {
			e := c.Next()
			if e == nil {
				return
			}
			checkEvent(t, e, in.String(), &out)
			if step >= from {
				if o, ok := e.(*Output); ok { // which is good until the next call of Next
					kept := *o
					kept.Bytes = bytes.Clone(o.Bytes)
					e = &kept
				}
				events = append(events, e)
			}
		}
	}
	take(0, -1)
	for i, step := range s {
		switch step := step.(type) {
		case string:
			for _, piece := range split(step) {
				in.WriteString(piece)
				c.Receive([]byte(piece))
			}
		case Command:
			_, err := c.Submit(step)
			require.NoError(t, err, "step %d", i)
		case eof:
			c.ReceiveEOF()
		case tlsDone:
			c.TLSDone()
		case lmtp:
		case pull:
			take(i, int(step))
			continue
		default:
			panic(fmt.Sprintf("step %d is a %T", i, step))
		}
		if i+1 < len(s) {
			if _, ok := s[i+1].(pull); ok {
				continue
			}
		}
		take(i, -1)
	}
	return c, events
}

// sent is what has been output.
type sent struct {
	octets int64
	lines  strings.Builder // all but the octets of BDAT
	bdat   Handle          // the last BDAT
}

// checkEvent checks what holds for every event: the ranges are those of the bytes.
func checkEvent(t testing.TB, e Event, in string, out *sent) {
	switch e := e.(type) {
	case *Output:
		require.Equal(t, out.octets, e.Off, "outputs follow each other")
		require.LessOrEqual(t, len(e.Bytes), max(MaxChunk, MaxAuthLine))
		out.octets += int64(len(e.Bytes))
		if e.Verb == VerbMessage && e.Handle == out.bdat {
			return
		}
		if e.Verb == VerbBdat {
			out.bdat = e.Handle
		}
		out.lines.Write(e.Bytes)
		for _, s := range e.Secret {
			require.True(t, 0 <= s[0] && s[0] < s[1] && s[1] <= int64(len(e.Bytes)-2), "a secret inside of the line")
		}
		if e.Last {
			require.True(t, strings.HasSuffix(out.lines.String(), "\r\n"))
			rest := strings.ReplaceAll(out.lines.String(), "\r\n", "")
			require.False(t, strings.ContainsAny(rest, "\r\n"), "neither CR nor LF alone is ever sent")
		}
	case *ReplyReceived:
		text := in[e.Off : e.Off+e.Len]
		require.True(t, strings.HasPrefix(text, fmt.Sprint(e.Reply.Code)))
		require.Equal(t, len(e.Reply.Lines), strings.Count(text, "\n"))
		require.True(t, strings.HasSuffix(text, "\n"))
	case StateChange:
		require.NotEqual(t, e.From, e.To)
	}
}

// checkScript plays the prelude and the script with the bytes of the server whole, one by
// one, and split at random, and wants the same events each time: those of
// the script are given as show writes them.
func checkScript(t *testing.T, prelude, s script, want string) {
	t.Helper()
	all := append(prelude[:len(prelude):len(prelude)], s...)
	_, events := run(t, all, len(prelude), whole)
	before := 0
	for _, step := range prelude {
		if s, ok := step.(string); ok {
			before += len(s)
		}
	}
	got := show(events, before)
	assert.Equal(t, strings.Join(strings.Fields(want), " "), strings.Join(strings.Fields(got), " "), "got\n%s", got)
	_, again := run(t, all, len(prelude), bytewise)
	assert.Equal(t, events, again, "byte by byte")
	for seed := range uint64(20) {
		_, again := run(t, all, len(prelude), randomly(seed))
		assert.Equal(t, events, again, "split at random, seed %d", seed)
	}
}

// show writes events in a form that tests can quote. That of a desync counts from where
// the script starts; checkEvent takes care of the other offsets.
func show(events []Event, before int) string {
	var b strings.Builder
	for _, e := range events {
		switch e := e.(type) {
		case *Output:
			fmt.Fprintf(&b, "output #%d %s %q", e.Handle, e.Verb, e.Bytes)
			if e.Raw {
				b.WriteString(" raw")
			}
			for _, s := range e.Secret {
				fmt.Fprintf(&b, " secret %q", e.Bytes[s[0]:s[1]])
			}
			if !e.First || !e.Last {
				fmt.Fprintf(&b, " first=%v last=%v", e.First, e.Last)
			}
			if e.Message != nil {
				fmt.Fprintf(&b, " %+v", *e.Message)
			}
		case *ReplyReceived:
			fmt.Fprintf(&b, "reply #%d %s %d %q", e.Handle, e.Verb, e.Reply.Code, e.Reply.Lines)
			if e.Reply.Enhanced != (EnhancedCode{}) {
				fmt.Fprintf(&b, " %s", e.Reply.Enhanced)
			}
			if len(e.Reply.Oddities) > 0 {
				fmt.Fprintf(&b, " %s", e.Reply.Oddities)
			}
			fmt.Fprintf(&b, " (%s) %s", e.On, e.State)
		case StateChange:
			fmt.Fprintf(&b, "state %s -> %s (%s)", e.From, e.To, e.On)
		case UpgradeTLS:
			b.WriteString("upgrade")
		case Deadline:
			fmt.Fprintf(&b, "deadline %s %s", e.Verb, e.Wait)
		case Desync:
			fmt.Fprintf(&b, "desync %s at +%d in %s", e.Cause, int(e.Off)-before, e.State)
		case Closed:
			fmt.Fprintf(&b, "closed expected=%v awaiting=%s in %s", e.Expected, e.Awaiting, e.State)
			if e.Partial != "" {
				fmt.Fprintf(&b, " partial %s", e.Partial)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
