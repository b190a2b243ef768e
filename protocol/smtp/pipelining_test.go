package smtp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The twelfth case of the list: groups of commands (RFC 2920).

// group is sent before any of it is answered.
func group(recipients ...string) script {
	s := script{must(Mail("ada@example.org"))}
	for _, r := range recipients {
		s = append(s, must(Rcpt(r)))
	}
	return append(s, Data())
}

// groupOut is what the steps of group("bob@example.net", "eve@example.net") give.
const groupOut = `
	deadline MAIL 5m0s
	output #2 MAIL "MAIL FROM:<ada@example.org>\r\n"
	output #3 RCPT "RCPT TO:<bob@example.net>\r\n"
	output #4 RCPT "RCPT TO:<eve@example.net>\r\n"
	output #5 DATA "DATA\r\n" `

func TestCase12_Group(t *testing.T) {
	two := group("bob@example.net", "eve@example.net")
	for _, test := range []struct {
		name string
		s    script
		want string
	}{
		{"accepted", script{"250 2.1.0 a\r\n250-2.1.5 b\r\n250 2.1.5 c\r\n251 d\r\n354 e\r\n", Message([]byte("x\r\n")), "250 f\r\n"}, `
			reply #2 MAIL 250 ["2.1.0 a"] 2.1.0 (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 250 ["2.1.5 b" "2.1.5 c"] 2.1.5 (RCPT 2yz) rcpt
			deadline RCPT 5m0s
			state mail -> rcpt (RCPT 2yz)
			reply #4 RCPT 251 ["d"] (RCPT any) rcpt
			deadline DATA 2m0s
			reply #5 DATA 354 ["e"] (DATA 354) data
			deadline  0s
			state rcpt -> data (DATA 354)
			deadline message 3m0s
			output #6 message "x\r\n.\r\n" {Size:3 Stuffed:0 Normalized:0 Long:0}
			state data -> message (message sent)
			deadline message 10m0s
			reply #6 message 250 ["f"] (message any) ready
			deadline  0s
			state message -> ready (message any)`},
		{"one recipient refused", script{"250 a\r\n550 b\r\n250 c\r\n354 d\r\n"}, `
			reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 550 ["b"] (RCPT any) mail
			deadline RCPT 5m0s
			reply #4 RCPT 250 ["c"] (RCPT 2yz) rcpt
			deadline DATA 2m0s
			state mail -> rcpt (RCPT 2yz)
			reply #5 DATA 354 ["d"] (DATA 354) data
			deadline  0s
			state rcpt -> data (DATA 354)`},
		{"all recipients refused", script{"250 a\r\n550 b\r\n450 c\r\n554 d\r\n", Rset(), "250 e\r\n"}, `
			reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 550 ["b"] (RCPT any) mail
			deadline RCPT 5m0s
			reply #4 RCPT 450 ["c"] (RCPT any) mail
			deadline DATA 2m0s
			reply #5 DATA 554 ["d"] (DATA 5yz) mail
			deadline  0s
			deadline RSET 5m0s
			output #6 RSET "RSET\r\n"
			reply #6 RSET 250 ["e"] (RSET 2yz) ready
			deadline  0s
			state mail -> ready (RSET 2yz)`},
		{"all recipients refused, yet 354", script{"250 a\r\n550 b\r\n550 c\r\n354 d\r\n", Message(nil), "554 e\r\n"}, `
			reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 550 ["b"] (RCPT any) mail
			deadline RCPT 5m0s
			reply #4 RCPT 550 ["c"] (RCPT any) mail
			deadline DATA 2m0s
			reply #5 DATA 354 ["d"] (DATA 354) data
			deadline  0s
			state mail -> data (DATA 354)
			deadline message 3m0s
			output #6 message ".\r\n" {Size:0 Stuffed:0 Normalized:0 Long:0}
			state data -> message (message sent)
			deadline message 10m0s
			reply #6 message 554 ["e"] (message any) ready
			deadline  0s
			state message -> ready (message any)`},
		{"everything refused", script{"550 a\r\n503 b\r\n503 c\r\n503 d\r\n", Noop(), "250 e\r\n"}, `
			reply #2 MAIL 550 ["a"] (MAIL any) ready
			deadline RCPT 5m0s
			reply #3 RCPT 503 ["b"] (RCPT 5yz) ready
			deadline RCPT 5m0s
			reply #4 RCPT 503 ["c"] (RCPT 5yz) ready
			deadline DATA 2m0s
			reply #5 DATA 503 ["d"] (DATA 5yz) ready
			deadline  0s
			deadline NOOP 5m0s
			output #6 NOOP "NOOP\r\n"
			reply #6 NOOP 250 ["e"] (NOOP any) ready
			deadline  0s`},
		{"MAIL refused and closed", script{"550 a\r\n", eof{}}, `
			reply #2 MAIL 550 ["a"] (MAIL any) ready
			deadline RCPT 5m0s
			deadline  0s
			state ready -> closed (eof)
			closed expected=false awaiting=RCPT in ready`},
		{"421 in the middle", script{"250 a\r\n421 b\r\n", eof{}}, `
			reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 421 ["b"] (reply 421) closed
			deadline  0s
			state mail -> closed (reply 421)
			closed expected=true awaiting=RCPT in closed`},
		{"421 and more", script{"250 a\r\n421 b\r\n503 c\r\n421 d\r\n", eof{}}, `
			reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 421 ["b"] (reply 421) closed
			deadline  0s
			state mail -> closed (reply 421)
			reply #4 RCPT 503 ["c"] () closed
			reply #5 DATA 421 ["d"] (reply 421) closed
			closed expected=true awaiting= in closed`},
		{"one reply too many", script{"250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n"}, `
			reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 250 ["b"] (RCPT 2yz) rcpt
			deadline RCPT 5m0s
			state mail -> rcpt (RCPT 2yz)
			reply #4 RCPT 250 ["c"] (RCPT any) rcpt
			deadline DATA 2m0s
			reply #5 DATA 354 ["d"] (DATA 354) data
			deadline  0s
			state rcpt -> data (DATA 354)
			reply #0  250 ["e"] () data
			state data -> desync (desync)
			desync unsolicited at +28 in data`},
		{"out of order", script{"250 a\r\n354 b\r\n250 c\r\n250 d\r\n"}, `
			reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 354 ["b"] () mail
			deadline  0s
			state mail -> desync (desync)
			desync unexpected-code at +7 in mail`},
		{"a recipient without a sender", script{"550 a\r\n250 b\r\n"}, `
			reply #2 MAIL 550 ["a"] (MAIL any) ready
			deadline RCPT 5m0s
			reply #3 RCPT 250 ["b"] () ready
			deadline  0s
			state ready -> desync (desync)
			desync unexpected-code at +7 in ready`},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkScript(t, ready, append(two[:len(two):len(two)], test.s...), groupOut+test.want)
		})
	}
}

// RSET leads a group, so that a transaction that came to nothing costs no round trip of its own.
func TestCase12_RSETLeads(t *testing.T) {
	checkScript(t, inMail, script{Rset(), must(Mail("")), "250 a\r\n250 b\r\n"}, `
		deadline RSET 5m0s
		output #3 RSET "RSET\r\n"
		output #4 MAIL "MAIL FROM:<>\r\n"
		reply #3 RSET 250 ["a"] (RSET 2yz) ready
		deadline MAIL 5m0s
		state mail -> ready (RSET 2yz)
		reply #4 MAIL 250 ["b"] (MAIL 2yz) mail
		deadline  0s
		state ready -> mail (MAIL 2yz)`)
	// Who refuses RSET keeps the old recipients: nobody knows whose the new ones are.
	checkScript(t, inRcpt, script{Rset(), must(Mail("")), must(Rcpt("eve@example.net")), "500 a\r\n250 b\r\n250 c\r\n"}, `
		deadline RSET 5m0s
		output #4 RSET "RSET\r\n"
		output #5 MAIL "MAIL FROM:<>\r\n"
		output #6 RCPT "RCPT TO:<eve@example.net>\r\n"
		reply #4 RSET 500 ["a"] (RSET any) rcpt
		deadline MAIL 5m0s
		reply #5 MAIL 250 ["b"] () rcpt
		deadline  0s
		state rcpt -> desync (desync)
		desync unexpected-code at +7 in rcpt`)
}

func TestCase12_WhatMayJoin(t *testing.T) {
	first := func(s script, cmd ...any) script { return append(s[:len(s):len(s)], cmd...) }
	mail, rcpt := must(Mail("")), must(Rcpt("bob@example.net"))
	withoutOffer := script{greeting[0], must(Ehlo("")), "250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n"}
	afterHelo := script{greeting[0], must(Helo("page.example")), "250 mx\r\n"}
	forgotten := append(afterTLS[:len(afterTLS):len(afterTLS)], must(Ehlo("")), "250 mx\r\n")
	anytime := []Verb{VerbEhlo, VerbHelo, VerbRset, VerbNoop, VerbHelp, VerbVrfy, VerbExpn, VerbQuit}
	for _, test := range []struct {
		name  string
		s     script
		ahead State
		legal []Verb
		err   string // of another RCPT
	}{
		{"behind MAIL", first(ready, mail), StateMail, append([]Verb{VerbRcpt}, anytime...), ""},
		{"behind RCPT", first(ready, mail, rcpt), StateRcpt, append([]Verb{VerbRcpt, VerbData, VerbBdat}, anytime...), ""},
		{"behind RSET", first(inRcpt, Rset()), StateReady, append([]Verb{VerbStartTLS, VerbAuth, VerbMail, VerbEtrn, VerbXclient, VerbXforward}, anytime...),
			`RCPT cannot be sent in state "ready"; legal now: EHLO, HELO, STARTTLS, AUTH, XCLIENT, XFORWARD, ETRN, MAIL, RSET, NOOP, HELP, VRFY, EXPN, QUIT`},
		{"behind RSET before EHLO", first(greeting, Rset()), StateGreeted, nil, "RCPT cannot be sent while the reply to RSET is awaited"},
		{"behind DATA", first(ready, mail, rcpt, Data()), StateReady, nil, "RCPT cannot be sent while the reply to DATA is awaited"},
		{"behind NOOP", first(ready, mail, Noop()), StateReady, nil, "RCPT cannot be sent while the reply to NOOP is awaited"},
		{"behind QUIT", first(ready, mail, Quit()), StateReady, nil, "RCPT cannot be sent while the reply to QUIT is awaited"},
		{"behind EHLO", first(inMail, must(Ehlo(""))), StateMail, nil, "RCPT cannot be sent while the reply to EHLO is awaited"},
		{"behind VRFY", first(inMail, must(Vrfy("bob"))), StateMail, nil, "RCPT cannot be sent while the reply to VRFY is awaited"},
		{"behind STARTTLS", first(ready, StartTLS()), StateReady, nil, "RCPT cannot be sent while the reply to STARTTLS is awaited"},
		{"behind AUTH", first(ready, must(Auth("PLAIN", nil))), StateReady, nil, "RCPT cannot be sent while the reply to AUTH is awaited"},
		{"behind a raw line", first(ready, Raw("MAIL FROM:<>")), StateReady, nil, "RCPT cannot be sent while the reply to MAIL is awaited"},
		{"behind the message", afterDot, StateMessage, nil, "RCPT cannot be sent while the reply to the message is awaited"},
		{"behind half of the message", first(inData, Message(make([]byte, 3*MaxChunk)), pull(2)), StateData, nil,
			"RCPT cannot be sent while the reply to the message is awaited"},
		{"once MAIL is refused", first(ready, mail, rcpt, rcpt, "550 no\r\n"), StateReady, append([]Verb{VerbStartTLS, VerbAuth, VerbMail, VerbEtrn, VerbXclient, VerbXforward}, anytime...),
			`RCPT cannot be sent in state "ready"; legal now: EHLO, HELO, STARTTLS, AUTH, XCLIENT, XFORWARD, ETRN, MAIL, RSET, NOOP, HELP, VRFY, EXPN, QUIT`},
		{"not offered", first(withoutOffer, mail), StateReady, nil, "RCPT cannot be sent while the reply to MAIL is awaited"},
		{"after HELO", first(afterHelo, mail), StateReady, nil, "RCPT cannot be sent while the reply to MAIL is awaited"},
		{"offered before TLS only", first(forgotten, mail), StateReady, nil, "RCPT cannot be sent while the reply to MAIL is awaited"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := run(t, test.s, 0, whole)
			assert.Equal(t, test.ahead, c.Ahead())
			assert.ElementsMatch(t, test.legal, c.Legal())
			_, err := c.Submit(rcpt)
			if test.err == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, test.err)
			}
		})
	}
	_, err := NewClient(Options{}).Submit(rcpt)
	assert.EqualError(t, err, "RCPT cannot be sent while the reply to the connection is awaited")
}

// A command may join until the last moment: after replies of the group have come, too.
func TestCase12_Joining(t *testing.T) {
	checkScript(t, ready, script{must(Mail("")), must(Rcpt("bob@example.net")), "250 a\r\n", Data(), "250 b\r\n354 c\r\n"}, `
		deadline MAIL 5m0s
		output #2 MAIL "MAIL FROM:<>\r\n"
		output #3 RCPT "RCPT TO:<bob@example.net>\r\n"
		reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
		deadline RCPT 5m0s
		state ready -> mail (MAIL 2yz)
		output #4 DATA "DATA\r\n"
		reply #3 RCPT 250 ["b"] (RCPT 2yz) rcpt
		deadline DATA 2m0s
		state mail -> rcpt (RCPT 2yz)
		reply #4 DATA 354 ["c"] (DATA 354) data
		deadline  0s
		state rcpt -> data (DATA 354)`)
}

// A reply to a command of which the Output has not been taken answers nothing.
func TestCase12_AnsweredBeforeSent(t *testing.T) {
	_, events := run(t, append(ready[:len(ready):len(ready)], must(Mail("")), pull(0), must(Rcpt("postmaster")), pull(2), "250 a\r\n250 b\r\n"), len(ready), whole)
	assert.Contains(t, show(events, 0), "desync unsolicited")
}

func TestCase12_GroupsAreBounded(t *testing.T) {
	fill := func(address string) (*Client, int) {
		c, _ := run(t, inMail, 0, whole)
		rcpt := must(Rcpt(address))
		octets := 0
		for range 2 * MaxGroupCommands {
			if len(c.Legal()) == 0 {
				break
			}
			_, err := c.Submit(rcpt)
			require.NoError(t, err)
			octets += len(rcpt.Line()) + 2
		}
		_, err := c.Submit(rcpt)
		var e *NotLegalError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, VerbRcpt, e.Awaiting)
		for c.Next() != nil {
		}
		return c, octets
	}
	t.Run("commands", func(t *testing.T) {
		c, octets := fill("a@b.example")
		assert.Len(t, c.pending, MaxGroupCommands)
		assert.LessOrEqual(t, octets, MaxGroup)
		c.Receive([]byte("250 ok\r\n"))
		assert.Contains(t, c.Legal(), VerbRcpt, "a reply makes room")
	})
	t.Run("octets", func(t *testing.T) {
		c, octets := fill(strings.Repeat("x", MaxLocalPart) + "@example.net")
		assert.Less(t, len(c.pending), MaxGroupCommands)
		assert.LessOrEqual(t, octets, MaxGroup)
		assert.Greater(t, octets, MaxGroup-2*MaxCommandLine)
		c.Receive([]byte(strings.Repeat("250 ok\r\n", len(c.pending))))
		assert.Equal(t, StateRcpt, c.State())
		assert.Empty(t, c.pending)
	})
}

// The deadline in force is that of the oldest command without a reply.
func TestCase12_Deadlines(t *testing.T) {
	s := append(ready[:len(ready):len(ready)], group("bob@example.net")...)
	for i, want := range []time.Duration{WaitMail, WaitRcpt, WaitData, 0} {
		t.Run(fmt.Sprintf("after %d replies", i), func(t *testing.T) {
			_, events := run(t, append(s[:len(s):len(s)], strings.Repeat("250 ok\r\n", min(i, 2))+strings.Repeat("354 go\r\n", max(0, i-2))), len(ready), whole)
			var running time.Duration
			for _, e := range events {
				if d, ok := e.(Deadline); ok {
					running = d.Wait
				}
			}
			assert.Equal(t, want, running)
		})
	}
}
