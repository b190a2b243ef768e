package smtp

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The seventeenth case of the list: LMTP (RFC 2033).

var (
	lmtpReady = asLMTP(ready)
	ok        = script{"250 ok\r\n"}
)

// lmtpRcpt has these recipients accepted.
func lmtpRcpt(recipients ...string) script {
	s := join(lmtpReady, script{must(Mail("ada@example.org"))}, ok)
	for _, r := range recipients {
		s = join(s, script{must(Rcpt(r))}, ok)
	}
	return s
}

func TestCase17_Greeting(t *testing.T) {
	start := script{lmtp{}, "220 mx LMTP\r\n"}
	checkScript(t, start, script{must(Lhlo("")), "500 what?\r\n"}, `
		deadline LHLO 5m0s
		output #1 LHLO "LHLO page.example\r\n"
		reply #1 LHLO 500 ["what?"] (LHLO any) greeted
		deadline  0s`)
	c, _ := run(t, start, 0, whole)
	for _, cmd := range []Command{must(Ehlo("")), must(Helo(""))} {
		_, err := c.Submit(cmd)
		assert.ErrorContains(t, err, string(cmd.Verb)+` cannot be sent in state "greeted"; legal now: LHLO`)
	}
	c, _ = run(t, greeting, 0, whole)
	_, err := c.Submit(must(Lhlo("")))
	assert.ErrorContains(t, err, "LHLO cannot be sent")
	c, _ = run(t, lmtpReady, 0, whole)
	assert.Equal(t, "mx.example.net", c.Server().Domain)
	_, offered := c.Server().Ext("PIPELINING")
	assert.True(t, offered)
}

// Every recipient that was accepted has its reply, in order, and one that was
// accepted twice has two.
func TestCase17_ReplyForEachRecipient(t *testing.T) {
	three := lmtpRcpt("bob@example.net", "eve@example.net", "bob@example.net")
	data := join(three, script{must(Rcpt("nobody@example.net")), "550 no\r\n", Data(), "354 go on\r\n", Message([]byte("x\r\n"))})
	for _, test := range []struct {
		name       string
		prelude, s script
		want       string
	}{
		{"mixed", data, script{"250 2.1.5 bob\r\n452 4.2.2 eve-is-full\r\n250-2.1.5 bob\r\n250 2.1.5 again\r\n", Quit()}, `
			reply #8 message 250 ["2.1.5 bob"] 2.1.5 (message any) message
			deadline message 10m0s
			reply #8 message 452 ["4.2.2 eve-is-full"] 4.2.2 (message any) message
			deadline message 10m0s
			reply #8 message 250 ["2.1.5 bob" "2.1.5 again"] 2.1.5 (message any) ready
			deadline  0s
			state message -> ready (message any)
			deadline QUIT 5m0s
			output #9 QUIT "QUIT\r\n"`},
		{"lost in the middle", data, script{"250 a\r\n25", eof{}}, `
			reply #8 message 250 ["a"] (message any) message
			deadline message 10m0s
			deadline  0s
			state message -> closed (eof)
			closed expected=false awaiting=message in message partial 25`},
		{"421 in the middle", data, script{"250 a\r\n421 b\r\n", eof{}}, `
			reply #8 message 250 ["a"] (message any) message
			deadline message 10m0s
			reply #8 message 421 ["b"] (reply 421) closed
			deadline  0s
			state message -> closed (reply 421)
			closed expected=true awaiting=message in closed`},
		{"a reply too many", data, script{"250 a\r\n250 b\r\n250 c\r\n250 d\r\n"}, `
			reply #8 message 250 ["a"] (message any) message
			deadline message 10m0s
			reply #8 message 250 ["b"] (message any) message
			deadline message 10m0s
			reply #8 message 250 ["c"] (message any) ready
			deadline  0s
			state message -> ready (message any)
			reply #0  250 ["d"] () ready
			state ready -> desync (desync)
			desync unsolicited at +21 in ready`},
		{"the last chunk", three, script{Bdat([]byte("x"), false), "250 ok\r\n", Bdat(nil, true), "250 a\r\n550 b\r\n250 c\r\n"}, `
			deadline BDAT 10m0s
			output #6 BDAT "BDAT 1\r\n"
			deadline message 3m0s
			output #6 message "x" {Size:1 Stuffed:0 Normalized:0 Long:0}
			deadline BDAT 10m0s
			reply #6 BDAT 250 ["ok"] (BDAT 2yz) chunks
			deadline  0s
			state rcpt -> chunks (BDAT 2yz)
			deadline BDAT 10m0s
			output #7 BDAT "BDAT 0 LAST\r\n"
			reply #7 BDAT 250 ["a"] (BDAT LAST any) message
			deadline BDAT 10m0s
			state chunks -> message (BDAT LAST any)
			reply #7 BDAT 550 ["b"] (BDAT LAST any) message
			deadline BDAT 10m0s
			reply #7 BDAT 250 ["c"] (BDAT LAST any) ready
			deadline  0s
			state message -> ready (BDAT LAST any)`},
		{"nobody accepted, yet 354", lmtpReady, script{
			must(Mail("ada@example.org")), must(Rcpt("nobody@example.net")), Data(), "250 a\r\n550 b\r\n354 c\r\n", Message(nil), "503 d\r\n"}, `
			deadline MAIL 5m0s
			output #2 MAIL "MAIL FROM:<ada@example.org>\r\n"
			output #3 RCPT "RCPT TO:<nobody@example.net>\r\n"
			output #4 DATA "DATA\r\n"
			reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
			deadline RCPT 5m0s
			state ready -> mail (MAIL 2yz)
			reply #3 RCPT 550 ["b"] (RCPT any) mail
			deadline DATA 2m0s
			reply #4 DATA 354 ["c"] (DATA 354) data
			deadline  0s
			state mail -> data (DATA 354)
			deadline message 3m0s
			output #5 message ".\r\n" {Size:0 Stuffed:0 Normalized:0 Long:0}
			state data -> message (message sent)
			deadline message 10m0s
			reply #5 message 503 ["d"] (message any) ready
			deadline  0s
			state message -> ready (message any)`},
	} {
		t.Run(test.name, func(t *testing.T) { checkScript(t, test.prelude, test.s, test.want) })
	}
}

// The recipients of one transaction have no part in the next one.
func TestCase17_NextTransaction(t *testing.T) {
	first := join(lmtpRcpt("bob@example.net", "eve@example.net"), script{Data(), "354 go on\r\n", Message([]byte("x")), "250 a\r\n250 b\r\n"})
	c, _ := run(t, join(first, script{must(Mail("ada@example.org")), "250 ok\r\n", must(Rcpt("bob@example.net")), "250 ok\r\n",
		Data(), "354 go on\r\n", Message([]byte("x")), "250 a\r\n"}), 0, whole)
	assert.Equal(t, StateReady, c.State())
	c, _ = run(t, join(lmtpRcpt("bob@example.net", "eve@example.net"), script{Rset(), "250 ok\r\n", must(Mail("ada@example.org")), "250 ok\r\n",
		must(Rcpt("bob@example.net")), "250 ok\r\n", Data(), "354 go on\r\n", Message([]byte("x")), "250 a\r\n"}), 0, whole)
	assert.Equal(t, StateReady, c.State())
}
