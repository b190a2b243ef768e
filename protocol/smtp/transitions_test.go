package smtp

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ways lead to every state in which something can be sent or received.
var ways = map[State]script{
	StateConnect: {},
	StateRefused: refused,
	StateGreeted: greeting,
	StateReady:   ready,
	StateTLS:     inTLS,
	StateAuth:    inAuth,
	StateMail:    inMail,
	StateRcpt:    inRcpt,
	StateData:    inData,
	StateMessage: afterDot,
	StateChunks:  inChunks,
	StateFailed:  inFailed,
	StateQuit:    afterQuit,
	StateClosed:  {"220 mx\r\n", "421 closing\r\n"},
	StateDesync:  {"what?\r\n"},
}

// samples is one valid command for each verb that can be sent.
var samples = map[Verb]Command{
	VerbEhlo:     must(Ehlo("page.example")),
	VerbHelo:     must(Helo("page.example")),
	VerbMail:     must(Mail("ada@example.org")),
	VerbRcpt:     must(Rcpt("bob@example.net")),
	VerbData:     Data(),
	VerbBdat:     Bdat([]byte("Subject: x\r\n\r\nx\r\n"), false),
	VerbRset:     Rset(),
	VerbVrfy:     must(Vrfy("bob")),
	VerbExpn:     must(Expn("list")),
	VerbHelp:     must(Help("")),
	VerbNoop:     Noop(),
	VerbQuit:     Quit(),
	VerbStartTLS: StartTLS(),
	VerbAuth:     must(Auth("LOGIN", nil)),
	VerbLhlo:     must(Lhlo("page.example")),
	VerbEtrn:     must(Etrn("example.org")),
	VerbXclient:  must(Xclient("ADDR=192.0.2.1")),
	VerbXforward: must(Xforward("NAME=spike.example")),
	VerbResponse: must(Response("*")),
	VerbMessage:  Message([]byte("Subject: x\r\n\r\nx\r\n")),
}

func TestTableIsWellFormed(t *testing.T) {
	seen := map[string]bool{}
	guards := []string{"", guardEhlo, guardLhlo, guardHelo, guardStartTLS, guardAuth, guardBdat, guardData, guardOffered, guardRaw, guardGroup, guardMore}
	for _, row := range Transitions {
		assert.True(t, row.From == AnyState || ways[row.From] != nil, row)
		assert.NotNil(t, ways[row.Next], row)
		assert.Regexp(t, `^(RFC \d+, \d|Postfix, X)`, row.RFC)
		assert.Contains(t, guards, row.Guard)
		key := string(row.From) + " " + row.On
		if row.Guard == guardMore {
			key += " and more"
		}
		assert.False(t, seen[key], "twice: %s", key)
		seen[key] = true
	}
	for s, way := range ways {
		c, _ := run(t, way, 0, whole)
		assert.Equal(t, s, c.State())
	}
	b, err := json.Marshal(Transitions[0])
	require.NoError(t, err)
	assert.JSONEq(t, `{"from": "connect", "on": "greeting 2yz", "next": "greeted", "rfc": "RFC 5321, 3.1"}`, string(b))
}

// Every row is taken by a walk that its columns describe.
func TestEveryRowIsTaken(t *testing.T) {
	for _, row := range Transitions {
		from := []State{row.From}
		if row.From == AnyState {
			switch {
			case row.On == "reply 421", row.On == "desync", row.On == "eof":
				from = []State{StateRefused, StateGreeted, StateReady, StateAuth, StateMail, StateRcpt, StateMessage, StateChunks, StateFailed, StateQuit}
			case row.On == "AUTH 334":
				from = []State{StateRefused, StateGreeted, StateMail, StateRcpt}
			case row.On == "DATA 354":
				from = []State{StateRefused, StateGreeted, StateReady, StateMail}
			case row.On == "STARTTLS 220":
				from = []State{StateRefused, StateGreeted, StateMail, StateRcpt}
			}
		}
		for _, s := range from {
			t.Run(fmt.Sprintf("%s on %s", s, row.On), func(t *testing.T) {
				way := wayTo(s, row)
				_, events := run(t, append(way[:len(way):len(way)], stepsFor(row)...), len(way), whole)
				found := false
				for _, e := range events {
					switch e := e.(type) {
					case *ReplyReceived:
						found = found || e.On == row.On && e.State == row.Next
					case StateChange:
						found = found || e == StateChange{s, row.Next, row.On}
					}
				}
				assert.True(t, found, "%+v was not taken:\n%s", row, show(events, 0))
			})
		}
	}
}

// wayTo leads to the state of a row, in the protocol that its guard is about.
func wayTo(s State, row Transition) script {
	way := ways[s]
	rcpt := script{samples[VerbRcpt], "250 ok\r\n"}
	chunk, last := samples[VerbBdat], Bdat([]byte("x"), true)
	switch {
	case row.Guard == guardMore && row.On == "message any":
		way = join(inRcpt, rcpt, script{Data(), "354 go on\r\n", samples[VerbMessage]})
	case row.Guard == guardMore && s == StateRcpt:
		way = join(inRcpt, rcpt)
	case row.Guard == guardMore && s == StateChunks:
		way = join(inRcpt, rcpt, script{chunk, "250 ok\r\n"})
	case row.Guard == guardMore:
		way = join(inRcpt, rcpt, rcpt, script{last, "250 ok\r\n"})
	case row.On == "BDAT LAST any":
		way = join(inRcpt, rcpt, script{last, "250 ok\r\n"})
	case row.Guard != guardLhlo:
		return way
	}
	return asLMTP(way)
}

func join(scripts ...script) script { return slices.Concat(scripts...) }

// stepsFor takes a row, from its state on.
func stepsFor(row Transition) script {
	switch row.On {
	case "eof":
		return script{eof{}}
	case "desync":
		return script{"what?\r\n"}
	case "reply 421":
		return script{"421 closing\r\n"}
	case "tls done":
		return script{tlsDone{}}
	case "message sent":
		return script{samples[VerbMessage]}
	}
	verb, codes, _ := strings.Cut(row.On, " ")
	codes, last := strings.CutPrefix(codes, "LAST ")
	code := strings.Replace(codes, "yz", "99", 1)
	if codes == "any" {
		code = "599"
	}
	reply := code + " x\r\n"
	cmd, sent := samples[Verb(verb)]
	if last {
		cmd = Bdat(cmd.Message, true)
	}
	switch row.Guard {
	case guardRaw:
		cmd = Raw(cmd.Line())
	case guardGroup: // all that leads up to the command is refused, back to the state of the row
		mail, rcpt := samples[VerbMail], samples[VerbRcpt]
		switch {
		case row.From == StateMail:
			return script{rcpt, cmd, "550 no\r\n", reply}
		case cmd.Verb == VerbRcpt:
			return script{mail, cmd, "550 no\r\n", reply}
		}
		return script{mail, rcpt, cmd, "550 no\r\n503 no\r\n", reply}
	}
	if !sent || row.From == StateMessage { // the greeting, and what follows the final dot
		return script{reply}
	}
	return script{cmd, reply}
}

// A command is legal where the table has a row for its verb, and nowhere else.
func TestLegalIsTheTable(t *testing.T) {
	all := map[string]script{}
	for s, way := range ways {
		all["SMTP "+string(s)], all["LMTP "+string(s)] = way, asLMTP(way)
	}
	for name, way := range all {
		protocol, state, _ := strings.Cut(name, " ")
		s := State(state)
		c, _ := run(t, way, 0, whole)
		awaiting := s == StateConnect || s == StateMessage
		for verb, cmd := range samples {
			want := !awaiting && slices.ContainsFunc(Transitions, func(row Transition) bool {
				v, _, _ := strings.Cut(row.On, " ")
				// The ways offer all that guards ask for.
				other := protocol == "LMTP" && (row.Guard == guardEhlo || row.Guard == guardHelo) || protocol == "SMTP" && row.Guard == guardLhlo
				return row.From == s && v == string(verb) && !other && row.Guard != guardGroup && row.Guard != guardMore
			})
			t.Run(fmt.Sprintf("%s in %s", verb, name), func(t *testing.T) {
				assert.Equal(t, want, slices.Contains(c.Legal(), verb))
				c, _ := run(t, way, 0, whole)
				_, err := c.Submit(cmd)
				assert.Equal(t, want, err == nil)
				if !want {
					var e *NotLegalError
					require.ErrorAs(t, err, &e)
					assert.Equal(t, s, e.State)
					assert.Equal(t, c.Legal(), e.Legal)
				}
			})
		}
	}
}

// The RFC says it in prose: this is the same, written down a second time.
func TestLegal(t *testing.T) {
	anytime := []Verb{VerbEhlo, VerbHelo, VerbRset, VerbNoop, VerbHelp, VerbVrfy, VerbExpn, VerbQuit}
	for s, want := range map[State][]Verb{
		StateConnect: nil,
		StateRefused: {VerbQuit},
		StateGreeted: anytime,
		StateReady:   append([]Verb{VerbStartTLS, VerbAuth, VerbMail, VerbEtrn, VerbXclient, VerbXforward}, anytime...),
		StateTLS:     nil,
		StateAuth:    {VerbResponse},
		StateMail:    append([]Verb{VerbRcpt}, anytime...),
		StateRcpt:    append([]Verb{VerbRcpt, VerbData, VerbBdat}, anytime...),
		StateChunks:  append([]Verb{VerbBdat}, anytime...),
		StateFailed:  anytime,
		StateData:    {VerbMessage},
		StateMessage: nil,
		StateQuit:    nil,
		StateClosed:  nil,
		StateDesync:  nil,
	} {
		c, _ := run(t, ways[s], 0, whole)
		assert.ElementsMatch(t, want, c.Legal(), s)
		inLMTP := slices.DeleteFunc(slices.Clone(want), func(v Verb) bool { return v == VerbEhlo || v == VerbHelo })
		if len(inLMTP) < len(want) {
			inLMTP = append(inLMTP, VerbLhlo)
		}
		c, _ = run(t, asLMTP(ways[s]), 0, whole)
		assert.ElementsMatch(t, inLMTP, c.Legal(), "LMTP, %s", s)
	}
}

func TestNothingIsLegalWhileAReplyIsAwaited(t *testing.T) {
	c, _ := run(t, append(ready[:len(ready):len(ready)], Noop()), 0, whole)
	assert.Empty(t, c.Legal())
	for _, cmd := range []Command{Rset(), Raw("RSET"), Raw("XYZZY")} {
		_, err := c.Submit(cmd)
		assert.ErrorContains(t, err, "cannot be sent while the reply to NOOP is awaited")
	}
	c = NewClient(Options{})
	_, err := c.Submit(Noop())
	assert.EqualError(t, err, "NOOP cannot be sent while the reply to the connection is awaited")
}

// Whatever happens, the client moves along the rows of the table only.
func TestNoTransitionOutsideOfTheTable(t *testing.T) {
	codes := []int{220, 221, 235, 250, 251, 334, 354, 421, 450, 451, 500, 503, 554}
	states := slices.Sorted(maps.Keys(ways))
	verbs := slices.Sorted(maps.Keys(samples))
	taken := map[Transition]int{}
	for seed := range uint64(8000) {
		r := rand.New(rand.NewPCG(seed, 1))
		way := ways[states[r.IntN(len(states))]]
		if seed%2 == 0 {
			way = asLMTP(way)
		}
		c, _ := run(t, way, 0, whole)
		state := c.State()
		guards := map[Handle][]string{} // of the rows that are not for every command
		var answered Handle
		take := func() {
			for e := c.Next(); e != nil; e = c.Next() {
				var step Transition
				switch e := e.(type) {
				case UpgradeTLS:
					c.TLSDone()
					continue
				case StateChange:
					require.Equal(t, state, e.From, "state changes follow each other")
					state = e.To
					step = Transition{From: e.From, On: e.On, Next: e.To}
				case *ReplyReceived:
					answered = e.Handle
					if e.On == "" {
						continue
					}
					step = Transition{From: state, On: e.On, Next: e.State}
				default:
					continue
				}
				i := slices.IndexFunc(Transitions, func(row Transition) bool {
					special := row.Guard == guardRaw || row.Guard == guardGroup
					return (row.From == step.From || row.From == AnyState) && row.On == step.On && row.Next == step.Next &&
						(!special || slices.Contains(guards[answered], row.Guard))
				})
				require.GreaterOrEqual(t, i, 0, "%+v is not in the table", step)
				taken[Transitions[i]]++
			}
		}
		for range 40 {
			// Mostly a legal command, or a group of them, and a reply, at times something else.
			for legal := c.Legal(); len(legal) > 0; legal = c.Legal() {
				onward := slices.DeleteFunc(slices.Clone(legal), func(v Verb) bool { return v != VerbMail && v != VerbRcpt && v != VerbData && v != VerbBdat })
				if len(onward) > 0 && r.IntN(2) == 0 {
					legal = onward
				}
				cmd := samples[legal[r.IntN(len(legal))]]
				if cmd.Verb == VerbBdat && r.IntN(2) == 0 {
					cmd = Bdat(nil, true)
				}
				if r.IntN(8) == 0 && c.Ahead() != StateData {
					cmd = Raw(samples[verbs[r.IntN(len(verbs))]].Line())
				}
				behind := len(c.pending) > 0
				handle, err := c.Submit(cmd)
				require.NoError(t, err)
				if cmd.Raw {
					guards[handle] = append(guards[handle], guardRaw)
				}
				if behind {
					guards[handle] = append(guards[handle], guardGroup)
				}
				take()
				if r.IntN(3) == 0 {
					break
				}
			}
			switch r.IntN(100) {
			case 0:
				c.ReceiveEOF()
			case 1:
				c.Receive([]byte("250 x\r\n250 y\r\n"))
			default:
				if len(c.pending) > 0 {
					code := codes[r.IntN(len(codes))]
					for range 5 { // most walks shall go on
						if _, ok := onReply(c.state, c.pending[0], code); ok {
							break
						}
						code = codes[r.IntN(len(codes))]
					}
					c.Receive(fmt.Appendf(nil, "%[1]d-x\r\n%[1]d-PIPELINING\r\n%[1]d-CHUNKING\r\n%[1]d-AUTH PLAIN\r\n%[1]d-ETRN\r\n%[1]d-XCLIENT NAME\r\n%[1]d-XFORWARD NAME\r\n%[1]d STARTTLS\r\n", code))
				}
			}
			take()
			require.Equal(t, state, c.State(), "State is what the events say")
		}
	}
	for _, row := range Transitions {
		assert.Positive(t, taken[row], "the walks have not met %+v", row)
	}
}

func TestRawLines(t *testing.T) {
	checkScript(t, greeting, script{Raw("rcpt to:<bob@example.net>"), "503 first EHLO\r\n", Raw("XYZZY  a b "), "354 well\r\n", Raw(""), "500 eh\r\n"}, `
		deadline RCPT 5m0s
		output #1 RCPT "rcpt to:<bob@example.net>\r\n" raw
		reply #1 RCPT 503 ["first EHLO"] () greeted
		deadline  0s
		deadline  5m0s
		output #2  "XYZZY  a b \r\n" raw
		reply #2  354 ["well"] () greeted
		deadline  0s
		deadline  5m0s
		output #3  "\r\n" raw
		reply #3  500 ["eh"] () greeted
		deadline  0s`)
	// A raw line that is legal is a command like any other.
	checkScript(t, ready, script{Raw("mail FROM:<>"), "250 ok\r\n"}, `
		deadline MAIL 5m0s
		output #2 MAIL "mail FROM:<>\r\n" raw
		reply #2 MAIL 250 ["ok"] (MAIL 2yz) mail
		deadline  0s
		state ready -> mail (MAIL 2yz)`)
	checkScript(t, inAuth, script{Raw("QUIT"), "501 no base64\r\n"}, `
		deadline response 5m0s
		output #3 response "QUIT\r\n" raw secret "QUIT"
		reply #3 response 501 ["no base64"] (response any) ready
		deadline  0s
		state auth -> ready (response any)`)
	checkScript(t, greeting, script{Raw("AUTH  PLAIN AGEAYg== x"), "500 no\r\n"}, `
		deadline AUTH 5m0s
		output #1 AUTH "AUTH  PLAIN AGEAYg== x\r\n" raw secret "AGEAYg== x"
		reply #1 AUTH 500 ["no"] () greeted
		deadline  0s`)
	for _, s := range []State{StateConnect, StateTLS, StateData, StateMessage, StateQuit, StateClosed, StateDesync} {
		c, _ := run(t, ways[s], 0, whole)
		_, err := c.Submit(Raw("NOOP"))
		var e *NotLegalError
		assert.ErrorAs(t, err, &e, s)
	}
}

func TestEarlyReply(t *testing.T) {
	start := append(inData[:len(inData):len(inData)], Message(make([]byte, 3*MaxChunk)), pull(2))
	checkScript(t, start, script{"552 5.3.4 too big\r\n", eof{}}, `
		reply #5 message 552 ["5.3.4 too big"] 5.3.4 () data
		deadline  0s
		state data -> desync (desync)
		desync early at +0 in data
		state desync -> closed (eof)
		closed expected=false awaiting= in desync`)
	checkScript(t, start, script{"421 4.3.2 closing\r\n", eof{}}, `
		reply #5 message 421 ["4.3.2 closing"] 4.3.2 (reply 421) closed
		deadline  0s
		state data -> closed (reply 421)
		closed expected=true awaiting= in closed`)
	checkScript(t, start, script{"250 thanks\r\n", eof{}}, `
		reply #0  250 ["thanks"] () data
		deadline  0s
		state data -> desync (desync)
		desync early at +0 in data
		state desync -> closed (eof)
		closed expected=false awaiting=message in desync`)
	// Its first byte is what counts, not its last.
	_, events := run(t, append(inData[:len(inData):len(inData)], Message([]byte("x")), pull(0), "2", pull(9), "50 ok\r\n"), len(inData), whole)
	assert.Contains(t, show(events, 0), "desync early")
	assert.Equal(t, StateMessage, events[len(events)-1].(Desync).State, "the final dot was out by then")
}
