package smtp

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The sixteenth case of the list: BDAT (RFC 3030).

func TestCase16_Chunks(t *testing.T) {
	for _, test := range []struct {
		name string
		s    script
		want string
	}{
		{"one", script{Bdat([]byte(".\n\r.\r\n"), true), "250 2.0.0 queued\r\n"}, `
			deadline BDAT 10m0s
			output #4 BDAT "BDAT 6 LAST\r\n"
			deadline message 3m0s
			output #4 message ".\n\r.\r\n" {Size:6 Stuffed:0 Normalized:0 Long:0}
			deadline BDAT 10m0s
			reply #4 BDAT 250 ["2.0.0 queued"] 2.0.0 (BDAT LAST 2yz) ready
			deadline  0s
			state rcpt -> ready (BDAT LAST 2yz)`},
		{"an empty one is the last", script{Bdat([]byte("a"), false), "250 a\r\n", Bdat([]byte("b"), false), "251 b\r\n", Bdat(nil, true), "250 c\r\n"}, `
			deadline BDAT 10m0s
			output #4 BDAT "BDAT 1\r\n"
			deadline message 3m0s
			output #4 message "a" {Size:1 Stuffed:0 Normalized:0 Long:0}
			deadline BDAT 10m0s
			reply #4 BDAT 250 ["a"] (BDAT 2yz) chunks
			deadline  0s
			state rcpt -> chunks (BDAT 2yz)
			deadline BDAT 10m0s
			output #5 BDAT "BDAT 1\r\n"
			deadline message 3m0s
			output #5 message "b" {Size:1 Stuffed:0 Normalized:0 Long:0}
			deadline BDAT 10m0s
			reply #5 BDAT 251 ["b"] (BDAT 2yz) chunks
			deadline  0s
			deadline BDAT 10m0s
			output #6 BDAT "BDAT 0 LAST\r\n"
			reply #6 BDAT 250 ["c"] (BDAT LAST 2yz) ready
			deadline  0s
			state chunks -> ready (BDAT LAST 2yz)`},
		{"refused", script{Bdat([]byte("a"), false), "552 5.2.3 no\r\n", Rset(), "250 b\r\n"}, `
			deadline BDAT 10m0s
			output #4 BDAT "BDAT 1\r\n"
			deadline message 3m0s
			output #4 message "a" {Size:1 Stuffed:0 Normalized:0 Long:0}
			deadline BDAT 10m0s
			reply #4 BDAT 552 ["5.2.3 no"] 5.2.3 (BDAT any) failed
			deadline  0s
			state rcpt -> failed (BDAT any)
			deadline RSET 5m0s
			output #5 RSET "RSET\r\n"
			reply #5 RSET 250 ["b"] (RSET 2yz) ready
			deadline  0s
			state failed -> ready (RSET 2yz)`},
		{"a 354 means nothing", script{Bdat(nil, true), "354 go\r\n"}, `
			deadline BDAT 10m0s
			output #4 BDAT "BDAT 0 LAST\r\n"
			reply #4 BDAT 354 ["go"] () rcpt
			deadline  0s
			state rcpt -> desync (desync)
			desync unexpected-code at +0 in rcpt`},
		{"closed", script{Bdat([]byte("a"), true), eof{}}, `
			deadline BDAT 10m0s
			output #4 BDAT "BDAT 1 LAST\r\n"
			deadline message 3m0s
			output #4 message "a" {Size:1 Stuffed:0 Normalized:0 Long:0}
			deadline BDAT 10m0s
			deadline  0s
			state rcpt -> closed (eof)
			closed expected=false awaiting=BDAT in rcpt`},
		{"421", script{Bdat([]byte("a"), true), "421 a\r\n", eof{}}, `
			deadline BDAT 10m0s
			output #4 BDAT "BDAT 1 LAST\r\n"
			deadline message 3m0s
			output #4 message "a" {Size:1 Stuffed:0 Normalized:0 Long:0}
			deadline BDAT 10m0s
			reply #4 BDAT 421 ["a"] (reply 421) closed
			deadline  0s
			state rcpt -> closed (reply 421)
			closed expected=true awaiting= in closed`},
	} {
		t.Run(test.name, func(t *testing.T) { checkScript(t, inRcpt, test.s, test.want) })
	}
}

// A chunk ends a group, octets and all (RFC 3030, 4.2).
func TestCase16_Group(t *testing.T) {
	sent := script{must(Mail("")), must(Rcpt("postmaster")), Bdat([]byte("a\r\n"), true)}
	out := `
		deadline MAIL 5m0s
		output #2 MAIL "MAIL FROM:<>\r\n"
		output #3 RCPT "RCPT TO:<postmaster>\r\n"
		output #4 BDAT "BDAT 3 LAST\r\n"
		deadline message 3m0s
		output #4 message "a\r\n" {Size:3 Stuffed:0 Normalized:0 Long:0}
		deadline MAIL 5m0s `
	checkScript(t, ready, append(sent[:3:3], "250 a\r\n250 b\r\n250 c\r\n"), out+`
		reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
		deadline RCPT 5m0s
		state ready -> mail (MAIL 2yz)
		reply #3 RCPT 250 ["b"] (RCPT 2yz) rcpt
		deadline BDAT 10m0s
		state mail -> rcpt (RCPT 2yz)
		reply #4 BDAT 250 ["c"] (BDAT LAST 2yz) ready
		deadline  0s
		state rcpt -> ready (BDAT LAST 2yz)`)
	checkScript(t, ready, append(sent[:3:3], "250 a\r\n550 b\r\n554 c\r\n"), out+`
		reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
		deadline RCPT 5m0s
		state ready -> mail (MAIL 2yz)
		reply #3 RCPT 550 ["b"] (RCPT any) mail
		deadline BDAT 10m0s
		reply #4 BDAT 554 ["c"] (BDAT 5yz) mail
		deadline  0s`)
	// Nobody can say who got a message that had no recipient.
	checkScript(t, ready, append(sent[:3:3], "250 a\r\n550 b\r\n250 c\r\n"), out+`
		reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
		deadline RCPT 5m0s
		state ready -> mail (MAIL 2yz)
		reply #3 RCPT 550 ["b"] (RCPT any) mail
		deadline BDAT 10m0s
		reply #4 BDAT 250 ["c"] () mail
		deadline  0s
		state mail -> desync (desync)
		desync unexpected-code at +14 in mail`)
	c, _ := run(t, append(ready[:len(ready):len(ready)], sent...), 0, whole)
	assert.Empty(t, c.Legal(), "nothing joins behind a chunk")
}

// Replies of the group may come while the octets are on their way; one to the chunk may not.
func TestCase16_RepliesBetweenOctets(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 2*MaxChunk+1)
	sent := script{must(Mail("")), pull(0), must(Rcpt("postmaster")), pull(0), Bdat(big, true), pull(6)} // 3 lines, 2 deadlines, 64 KiB
	_, events := run(t, append(append(ready[:len(ready):len(ready)], sent...), "250 a\r\n250 b\r\n", "250 c\r\n"), len(ready), whole)
	var octets []byte
	var replies int
	for _, e := range events {
		switch e := e.(type) {
		case *Output:
			if e.Verb == VerbMessage {
				assert.Equal(t, len(octets) == 0, e.First)
				octets = append(octets, e.Bytes...)
				assert.Equal(t, len(octets) == len(big), e.Last)
			}
		case *ReplyReceived:
			replies++
			assert.Equal(t, replies == 3, len(octets) == len(big), "the first two came after the first octets")
		}
	}
	assert.Equal(t, big, octets)
	assert.Equal(t, 3, replies)
	_, events = run(t, append(append(ready[:len(ready):len(ready)], sent...), "250 a\r\n250 b\r\n552 c\r\n"), len(ready), whole)
	assert.Equal(t, CauseEarly, events[len(events)-1].(Desync).Cause)
	for _, e := range events {
		if out, ok := e.(*Output); ok {
			assert.False(t, out.Verb == VerbMessage && out.Last, "the rest of the octets is not sent")
		}
	}
	_, events = run(t, append(append(ready[:len(ready):len(ready)], sent...), "421 a\r\n", eof{}), len(ready), whole)
	assert.Equal(t, Closed{Expected: true, Awaiting: VerbRcpt, State: StateClosed}, events[len(events)-1])
}

// An answer to BDAT before it is sent answers nothing.
func TestCase16_AnsweredBeforeSent(t *testing.T) {
	_, events := run(t, append(inRcpt[:len(inRcpt):len(inRcpt)], Bdat([]byte("x"), true), pull(0), "250 a\r\n"), len(inRcpt), whole)
	assert.Contains(t, show(events, 0), "desync unsolicited")
}

func TestCase16_WhatIsNotMixed(t *testing.T) {
	refuse := func(s script, cmd Command, want string) {
		t.Helper()
		c, _ := run(t, s, 0, whole)
		_, err := c.Submit(cmd)
		assert.ErrorContains(t, err, want)
	}
	binary := append(ready[:len(ready):len(ready)], must(Mail("", "body=binarymime")), "250 ok\r\n", samples[VerbRcpt], "250 ok\r\n")
	refuse(inChunks, Data(), `DATA cannot be sent in state "chunks"`)
	refuse(inChunks, samples[VerbRcpt], `RCPT cannot be sent in state "chunks"`)
	refuse(inData, samples[VerbBdat], `BDAT cannot be sent in state "data"`)
	refuse(inFailed, samples[VerbBdat], `BDAT cannot be sent in state "failed"`)
	refuse(inFailed, samples[VerbMail], `MAIL cannot be sent in state "failed"`)
	refuse(binary, Data(), `DATA cannot be sent in state "rcpt"; legal now: RCPT, BDAT`)
	refuse(append(ready[:2:2], "250 mx\r\n", samples[VerbMail], "250 ok\r\n", samples[VerbRcpt], "250 ok\r\n"), samples[VerbBdat], `BDAT cannot be sent`)
	c, _ := run(t, append(binary, Rset(), "250 ok\r\n", samples[VerbMail], "250 ok\r\n", samples[VerbRcpt], "250 ok\r\n"), 0, whole)
	assert.Contains(t, c.Legal(), VerbData, "the next transaction is another one")
}

func TestCase16_Size(t *testing.T) {
	for arg, want := range map[string]string{
		"":                     "the argument is the size",
		"x":                    "the argument is the size",
		"-3":                   "the argument is the size",
		"3 FIRST":              "the argument is the size",
		"3 LAST LAST":          "the argument is the size",
		"3 ":                   "the argument is the size",
		"2":                    "the chunk, which has 3 octets",
		"4 LAST":               "the chunk, which has 3 octets",
		"18446744073709551619": "the chunk, which has 3 octets",
	} {
		assert.ErrorContains(t, Command{Verb: VerbBdat, Arg: arg, Message: []byte("abc")}.check(), want, arg)
	}
	for arg, final := range map[string]bool{"3": false, "3 LAST": true, "003 last": true} {
		c := Command{Verb: VerbBdat, Arg: arg, Message: []byte("abc")}
		assert.NoError(t, c.check(), arg)
		assert.Equal(t, final, c.Final(), arg)
	}
	c, err := ParseCommand("bdat 0 last")
	require.NoError(t, err)
	assert.True(t, c.Final())
	assert.True(t, Raw("BDAT 5 LAST").Final())
	assert.True(t, Message(nil).Final())
	assert.False(t, Data().Final())
	_, err = ParseCommand("BDAT 5 LAST")
	assert.ErrorContains(t, err, "has 0 octets")
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a\r\n", ".": ".\r\n", ".\n.\r..\r\n\r\r\n": ".\r\n.\r\n..\r\n\r\n\r\n", "\n": "\r\n",
	} {
		assert.Equal(t, want, string(Text([]byte(in))), "%q", in)
	}
	same := []byte("a\r\n.\r\n")
	assert.Same(t, &same[0], &Text(same)[0], "not copied")
	dots := bytes.Repeat([]byte(".\n"), 100_000)
	assert.Equal(t, bytes.Repeat([]byte(".\r\n"), 100_000), Text(dots))
}
