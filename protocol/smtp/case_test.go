package smtp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The cases that clients get wrong, numbered as in the project's list of them.

func TestCase01_BareCodes(t *testing.T) {
	// RFC 5321, 4.2: clients process the code alone, with or without the space.
	checkScript(t, ready, script{Noop(), "250\r\n", Noop(), "250 \r\n", Noop(), "250-a\r\n250\r\n", Noop(), "250-\r\n250-b\r\n250 \r\n"}, `
		deadline NOOP 5m0s
		output #2 NOOP "NOOP\r\n"
		reply #2 NOOP 250 [""] (NOOP any) ready
		deadline  0s
		deadline NOOP 5m0s
		output #3 NOOP "NOOP\r\n"
		reply #3 NOOP 250 [""] (NOOP any) ready
		deadline  0s
		deadline NOOP 5m0s
		output #4 NOOP "NOOP\r\n"
		reply #4 NOOP 250 ["a" ""] (NOOP any) ready
		deadline  0s
		deadline NOOP 5m0s
		output #5 NOOP "NOOP\r\n"
		reply #5 NOOP 250 ["" "b" ""] (NOOP any) ready
		deadline  0s`)
}

func TestCase02_MixedCodes(t *testing.T) {
	checkScript(t, ready, script{Noop(), "250-a\r\n550 b\r\n250 c\r\n", eof{}}, `
		deadline NOOP 5m0s
		output #2 NOOP "NOOP\r\n"
		deadline  0s
		state ready -> desync (desync)
		desync mixed-codes at +7 in ready
		state desync -> closed (eof)
		closed expected=false awaiting=NOOP in desync`)
}

func TestCase02_MissingSeparator(t *testing.T) {
	checkScript(t, ready, script{Noop(), "250Ok\r\n", Noop(), "250\tOk\r\n"}, `
		deadline NOOP 5m0s
		output #2 NOOP "NOOP\r\n"
		reply #2 NOOP 250 ["Ok"] [no-separator] (NOOP any) ready
		deadline  0s
		deadline NOOP 5m0s
		output #3 NOOP "NOOP\r\n"
		reply #3 NOOP 250 ["\tOk"] [no-separator] (NOOP any) ready
		deadline  0s`)
}

func TestCase03_BareLF(t *testing.T) {
	checkScript(t, nil, script{"220-mx\n220 caf\xc3\xa9\r\n"}, `
		deadline greeting 5m0s
		reply #0 greeting 220 ["mx" "café"] [bare-lf non-ascii] (greeting 2yz) greeted
		deadline  0s
		state connect -> greeted (greeting 2yz)`)
}

func TestCase03_LongLine(t *testing.T) {
	legal := "250 " + strings.Repeat("x", MaxLegalReply-len("250 \r\n"))
	_, events := run(t, append(ready[:len(ready):len(ready)], Noop(), legal+"\r\n", Noop(), legal+"y\r\n"), len(ready), whole)
	assert.Empty(t, events[2].(*ReplyReceived).Reply.Oddities)
	assert.Equal(t, []Oddity{OddityLongLine}, events[6].(*ReplyReceived).Reply.Oddities)

	most := "250 " + strings.Repeat("x", MaxReplyLine-len("250 \r\n"))
	for _, test := range []struct{ name, server, want string }{
		{"the limit", most + "\r\n", "[long-line] (NOOP any) ready deadline  0s"},
		{"over it", most + "y\r\n", "desync long-line at +0 in ready"},
		{"no end", most + "yyyyyyyyyyyyy", "desync long-line at +0 in ready"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := append(ready[:len(ready):len(ready)], Noop(), test.server)
			c, events := run(t, s, len(ready), whole)
			assert.Contains(t, strings.Join(strings.Split(show(events, int(c.in)-len(test.server)), "\n"), " "), test.want)
			_, again := run(t, s, len(ready), bytewise)
			assert.Equal(t, events, again)
		})
	}
}

func TestCase03_EndlessReply(t *testing.T) {
	for _, test := range []struct{ name, line string }{
		{"lines", "250-\r\n"},
		{"octets", "250-" + strings.Repeat("x", 500) + "\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, events := run(t, append(ready[:len(ready):len(ready)], Noop(), strings.Repeat(test.line, 3*MaxReplyLines)), len(ready), whole)
			desync := events[len(events)-1].(Desync)
			assert.Equal(t, CauseLongReply, desync.Cause)
			assert.LessOrEqual(t, cap(c.parser.buf), 4*(MaxReply+MaxReplyLine), "memory is bounded")
			assert.LessOrEqual(t, len(c.parser.texts), MaxReplyLines)
		})
	}
	full := strings.Repeat("250-\r\n", MaxReplyLines-1) + "250 done\r\n"
	_, events := run(t, append(ready[:len(ready):len(ready)], Noop(), full), len(ready), whole)
	assert.Len(t, events[2].(*ReplyReceived).Reply.Lines, MaxReplyLines)
}

func TestCase04_ControlBytes(t *testing.T) {
	_, events := run(t, script{"220 \x1b[31mred\x00\x7f\tx\xff\r\n"}, 0, bytewise)
	r := events[1].(*ReplyReceived).Reply
	assert.Equal(t, []string{"\x1b[31mred\x00\x7f\tx\xff"}, r.Lines, "the text is kept")
	assert.Equal(t, []string{`\x1b[31mred\x00\x7f\tx\xff`}, r.EscapedLines())
	assert.Equal(t, []Oddity{OddityControl, OddityNonASCII}, r.Oddities)
}

func TestCase04_ControlBytesElsewhere(t *testing.T) {
	c, events := run(t, append(greeting[:1:1], must(Ehlo("")), "250-\x1b]0;mx\r\n250-SI\x00ZE\r\n250-X \x1b[2J\r\n250 HELP\r\n"), 1, whole)
	assert.Equal(t, `\x1b]0;mx`, c.Server().Domain)
	assert.Equal(t, []Extension{{"HELP", []string{}}}, c.Server().Extensions)
	assert.Contains(t, events[2].(*ReplyReceived).Reply.Oddities, OddityKeyword)

	_, events = run(t, append(ready[:len(ready):len(ready)], Noop(), "\x1b[2Jgo away\r\n"), len(ready), whole)
	desync := events[len(events)-1].(Desync)
	assert.Equal(t, CauseNotReply, desync.Cause)
	assert.Contains(t, desync.Reason, `\x1b[2Jgo away`)

	_, events = run(t, append(ready[:len(ready):len(ready)], "250-\x07", eof{}), len(ready), whole)
	assert.Equal(t, `250-\x07`, events[len(events)-1].(Closed).Partial)
}

func TestCase05_421AtAnyMoment(t *testing.T) {
	checkScript(t, ready, script{must(Mail("")), "421-4.3.2 mx\r\n421 4.3.2 closing\r\n", eof{}}, `
		deadline MAIL 5m0s
		output #2 MAIL "MAIL FROM:<>\r\n"
		reply #2 MAIL 421 ["4.3.2 mx" "4.3.2 closing"] 4.3.2 (reply 421) closed
		deadline  0s
		state ready -> closed (reply 421)
		closed expected=true awaiting= in closed`)
	for _, prelude := range []script{inMail, inRcpt, afterDot, inAuth, afterTLS} {
		s := append(prelude[:len(prelude):len(prelude)], "421 closing\r\n", eof{})
		for _, split := range []splitting{whole, bytewise} {
			c, events := run(t, s, len(prelude), split)
			assert.Equal(t, 421, events[0].(*ReplyReceived).Reply.Code)
			assert.Equal(t, "reply 421", events[0].(*ReplyReceived).On)
			assert.True(t, events[len(events)-1].(Closed).Expected)
			assert.Equal(t, StateClosed, c.State())
			assert.Empty(t, c.Legal())
		}
	}
}

func TestCase05_Stale421(t *testing.T) {
	// The server sent it before it saw our command (RFC 5321, 3.8).
	checkScript(t, ready, script{"421 idle for too long\r\n", eof{}}, `
		reply #0  421 ["idle for too long"] (reply 421) closed
		state ready -> closed (reply 421)
		closed expected=true awaiting= in closed`)
	checkScript(t, ready, script{"42", Noop(), "1 idle for too long\r\n", eof{}}, `
		deadline NOOP 5m0s
		output #2 NOOP "NOOP\r\n"
		reply #0  421 ["idle for too long"] (reply 421) closed
		deadline  0s
		state ready -> closed (reply 421)
		closed expected=true awaiting=NOOP in closed`)
	checkScript(t, ready, script{"421 a\r\n421 b\r\n250 c\r\n", eof{}}, `
		reply #0  421 ["a"] (reply 421) closed
		state ready -> closed (reply 421)
		reply #0  421 ["b"] (reply 421) closed
		reply #0  250 ["c"] () closed
		state closed -> desync (desync)
		desync unsolicited at +14 in closed
		state desync -> closed (eof)
		closed expected=true awaiting= in desync`)
}

func TestCase05_Greetings(t *testing.T) {
	checkScript(t, nil, script{"220-mx.example.net\r\n220-no spam\r\n220 go\r\n"}, `
		deadline greeting 5m0s
		reply #0 greeting 220 ["mx.example.net" "no spam" "go"] (greeting 2yz) greeted
		deadline  0s
		state connect -> greeted (greeting 2yz)`)
	for _, test := range []struct {
		code     int
		on       string
		expected bool
	}{
		{421, "greeting 421", true},
		{450, "greeting 4yz", false},
		{521, "greeting 5yz", false},
		{554, "greeting 5yz", false},
	} {
		t.Run(fmt.Sprint(test.code), func(t *testing.T) {
			checkScript(t, nil, script{fmt.Sprintf("%d no\r\n", test.code), eof{}}, fmt.Sprintf(`
				deadline greeting 5m0s
				reply #0 greeting %d ["no"] (%s) refused
				deadline  0s
				state connect -> refused (%s)
				state refused -> closed (eof)
				closed expected=%v awaiting= in refused`, test.code, test.on, test.on, test.expected))
			c, _ := run(t, script{fmt.Sprintf("%d no\r\n", test.code)}, 0, whole)
			assert.Equal(t, []Verb{VerbQuit}, c.Legal())
			_, err := c.Submit(must(Ehlo("page.example")))
			assert.EqualError(t, err, `EHLO cannot be sent in state "refused"; legal now: QUIT`)
		})
	}
}

func TestCase06_FallBackToHELO(t *testing.T) {
	checkScript(t, greeting, script{must(Ehlo("page.example")), "502 what?\r\n", must(Helo("page.example")), "250-mx\r\n250 STARTTLS\r\n"}, `
		deadline EHLO 5m0s
		output #1 EHLO "EHLO page.example\r\n"
		reply #1 EHLO 502 ["what?"] (EHLO any) greeted
		deadline  0s
		deadline HELO 5m0s
		output #2 HELO "HELO page.example\r\n"
		reply #2 HELO 250 ["mx" "STARTTLS"] (HELO 2yz) ready
		deadline  0s
		state greeted -> ready (HELO 2yz)`)

	helo := must(Helo("page.example"))
	for _, test := range []struct {
		name string
		s    script
		ok   bool
	}{
		{"instead of EHLO", greeting, true}, // RFC 5321, 3.2
		{"after 5yz", script{greeting[0], must(Ehlo("a.example")), "500 no\r\n"}, true},
		{"after 4yz", script{greeting[0], must(Ehlo("a.example")), "451 later\r\n"}, false},
		{"after 4yz, then 5yz", script{greeting[0], must(Ehlo("a.example")), "451 later\r\n", must(Ehlo("a.example")), "500 no\r\n"}, true},
		{"after 421", script{greeting[0], must(Ehlo("a.example")), "421 closing\r\n"}, false},
		{"after TLS", afterTLS, false},
		{"after TLS and 5yz", append(afterTLS[:len(afterTLS):len(afterTLS)], must(Ehlo("a.example")), "500 no\r\n"), false},
		{"again", ready, true},
		{"after the end of the connection", script{greeting[0], must(Ehlo("a.example")), eof{}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := run(t, test.s, 0, whole)
			assert.Equal(t, test.ok, strings.Contains(fmt.Sprint(c.Legal()), "HELO"))
			_, err := c.Submit(helo)
			assert.Equal(t, test.ok, err == nil)
		})
	}
	// HELO offers nothing, whatever follows in its reply.
	c, _ := run(t, append(greeting[:1:1], helo, "250-mx\r\n250 STARTTLS\r\n"), 0, whole)
	assert.Equal(t, "mx", c.Server().Domain)
	assert.Empty(t, c.Server().Extensions)
}

func TestCase06_Keywords(t *testing.T) {
	c, events := run(t, append(greeting[:1:1], must(Ehlo("page.example")),
		"250-mx\r\n250-auth=login\r\n250-SiZe 10\r\n250-AUTH PLAIN LOGIN\r\n250-8bitmime\r\n250 AUTH CRAM-MD5\r\n"), 1, whole)
	assert.Equal(t, []Extension{
		{"AUTH", []string{"login", "PLAIN", "CRAM-MD5"}},
		{"SIZE", []string{"10"}},
		{"8BITMIME", []string{}},
	}, c.Server().Extensions)
	assert.Empty(t, events[2].(*ReplyReceived).Reply.Oddities)
	_, ok := c.Server().Ext("8BitMime")
	assert.True(t, ok)
	_, ok = c.Server().Ext("PIPELINING")
	assert.False(t, ok)
}

func TestCase07_TLS(t *testing.T) {
	checkScript(t, ready, script{StartTLS(), "220 go\r\n", tlsDone{}, must(Ehlo("page.example")), "250-mx\r\n250 STARTTLS\r\n"}, `
		deadline STARTTLS 5m0s
		output #2 STARTTLS "STARTTLS\r\n"
		reply #2 STARTTLS 220 ["go"] (STARTTLS 220) tls
		deadline  0s
		state ready -> tls (STARTTLS 220)
		upgrade
		state tls -> greeted (tls done)
		deadline EHLO 5m0s
		output #3 EHLO "EHLO page.example\r\n"
		reply #3 EHLO 250 ["mx" "STARTTLS"] (EHLO 2yz) ready
		deadline  0s
		state greeted -> ready (EHLO 2yz)`)

	c, _ := run(t, inTLS, 0, whole)
	assert.Empty(t, c.Legal())
	_, err := c.Submit(Noop())
	assert.EqualError(t, err, `NOOP cannot be sent in state "tls": nothing can`)

	c, _ = run(t, afterTLS, 0, whole)
	assert.Equal(t, &Server{}, c.Server(), "nothing is known any more")
	assert.Equal(t, []Verb{VerbEhlo, VerbRset, VerbNoop, VerbHelp, VerbVrfy, VerbExpn, VerbQuit}, c.Legal())

	c, _ = run(t, append(afterTLS[:len(afterTLS):len(afterTLS)], must(Ehlo("")), "250-mx\r\n250 STARTTLS\r\n"), 0, whole)
	assert.NotContains(t, c.Legal(), VerbStartTLS, "not twice, whatever the server says")
}

func TestCase07_NoGreetingAfterTLS(t *testing.T) {
	checkScript(t, afterTLS, script{"220 mx again\r\n"}, `
		reply #0  220 ["mx again"] () greeted
		state greeted -> desync (desync)
		desync unsolicited at +0 in greeted`)
}

func TestCase07_PlaintextBehind220(t *testing.T) {
	const want = `
		reply #2 STARTTLS 220 ["go"] (STARTTLS 220) tls
		deadline  0s
		state ready -> tls (STARTTLS 220)
		state tls -> desync (desync)
		desync plaintext at +8 in tls
		state desync -> closed (eof)
		closed expected=false awaiting= in desync`
	prelude := append(ready[:len(ready):len(ready)], StartTLS())
	for _, behind := range []string{"250 injected\r\n", "2", "\x16\x03\x01\x00\x05", "\n"} {
		checkScript(t, prelude, script{"220 go\r\n" + behind, eof{}}, want)
	}
	// Even when the driver has been told to start, it has not told that it did.
	checkScript(t, inTLS, script{"250 injected\r\n"}, `
		state tls -> desync (desync)
		desync plaintext at +0 in tls`)

	c, events := run(t, append(prelude[:len(prelude):len(prelude)], "220 go\r\n250 injected\r\n", tlsDone{}), len(prelude), whole)
	assert.NotContains(t, show(events, 0), "upgrade")
	assert.Equal(t, StateDesync, c.State(), "TLSDone changes nothing")
	assert.Contains(t, events[len(events)-1].(Desync).Reason, "CVE-2011-0411")
}

func TestCase07_HandshakeFails(t *testing.T) {
	checkScript(t, inTLS, script{eof{}}, `
		state tls -> closed (eof)
		closed expected=false awaiting= in tls`)
}

func TestCase07_TLSDoneOutOfPlace(t *testing.T) {
	checkScript(t, ready, script{tlsDone{}}, "")
	checkScript(t, append(ready[:len(ready):len(ready)], StartTLS()), script{"220 go\r\n", pull(0), tlsDone{}}, `
		reply #2 STARTTLS 220 ["go"] (STARTTLS 220) tls
		deadline  0s
		state ready -> tls (STARTTLS 220)
		upgrade`)
}

func TestCase08_Unsolicited(t *testing.T) {
	checkScript(t, ready, script{"250 surprise\r\n", eof{}}, `
		reply #0  250 ["surprise"] () ready
		state ready -> desync (desync)
		desync unsolicited at +0 in ready
		state desync -> closed (eof)
		closed expected=false awaiting= in desync`)
	// Two replies in one segment, and bytes that came before the command that
	// they would seem to answer.
	checkScript(t, ready, script{Noop(), "250 ok\r\n550 no\r\n", eof{}}, `
		deadline NOOP 5m0s
		output #2 NOOP "NOOP\r\n"
		reply #2 NOOP 250 ["ok"] (NOOP any) ready
		deadline  0s
		reply #0  550 ["no"] () ready
		state ready -> desync (desync)
		desync unsolicited at +8 in ready
		state desync -> closed (eof)
		closed expected=false awaiting= in desync`)
	checkScript(t, ready, script{"250 sur", must(Mail("ada@example.org")), "prise\r\n250 ok\r\n", eof{}}, `
		deadline MAIL 5m0s
		output #2 MAIL "MAIL FROM:<ada@example.org>\r\n"
		reply #0  250 ["surprise"] () ready
		deadline  0s
		state ready -> desync (desync)
		desync unsolicited at +0 in ready
		state desync -> closed (eof)
		closed expected=false awaiting=MAIL in desync`)
	c, _ := run(t, script{"220 a\r\n220 b\r\n"}, 0, whole)
	assert.Equal(t, StateDesync, c.State())
	_, err := c.Submit(Quit())
	assert.EqualError(t, err, `QUIT cannot be sent in state "desync": nothing can`)
}

func TestCase08_ReplyBeforeTheCommandIsSent(t *testing.T) {
	checkScript(t, ready, script{Noop(), pull(0), "250 surprise\r\n"}, `
		deadline NOOP 5m0s
		output #2 NOOP "NOOP\r\n"
		reply #0  250 ["surprise"] () ready
		deadline  0s
		state ready -> desync (desync)
		desync unsolicited at +0 in ready`)
}

func TestCase09_Auth(t *testing.T) {
	checkScript(t, ready, script{
		must(Auth("LOGIN", nil)), "334 VXNlcm5hbWU6\r\n", must(Response("YWRh")), "334\r\n", must(Response("")), "334 \r\n",
		must(Response("ZW5naW5l")), "235 2.7.0 welcome\r\n",
	}, `
		deadline AUTH 5m0s
		output #2 AUTH "AUTH LOGIN\r\n"
		reply #2 AUTH 334 ["VXNlcm5hbWU6"] (AUTH 334) auth
		deadline  0s
		state ready -> auth (AUTH 334)
		deadline response 5m0s
		output #3 response "YWRh\r\n" secret "YWRh"
		reply #3 response 334 [""] (response 334) auth
		deadline  0s
		deadline response 5m0s
		output #4 response "\r\n"
		reply #4 response 334 [""] (response 334) auth
		deadline  0s
		deadline response 5m0s
		output #5 response "ZW5naW5l\r\n" secret "ZW5naW5l"
		reply #5 response 235 ["2.7.0 welcome"] 2.7.0 (response any) ready
		deadline  0s
		state auth -> ready (response any)`)
	checkScript(t, inAuth, script{must(Response("*")), "501 5.0.0 cancelled\r\n"}, `
		deadline response 5m0s
		output #3 response "*\r\n"
		reply #3 response 501 ["5.0.0 cancelled"] 5.0.0 (response any) ready
		deadline  0s
		state auth -> ready (response any)`)
	checkScript(t, ready, script{must(Auth("PLAIN", ptr("AGEAYg=="))), "535 5.7.8 no\r\n", must(Auth("EXTERNAL", ptr("="))), "235 2.7.0 yes\r\n"}, `
		deadline AUTH 5m0s
		output #2 AUTH "AUTH PLAIN AGEAYg==\r\n" secret "AGEAYg=="
		reply #2 AUTH 535 ["5.7.8 no"] 5.7.8 (AUTH any) ready
		deadline  0s
		deadline AUTH 5m0s
		output #3 AUTH "AUTH EXTERNAL =\r\n"
		reply #3 AUTH 235 ["2.7.0 yes"] 2.7.0 (AUTH any) ready
		deadline  0s`)
}

func TestCase09_AuthOnce(t *testing.T) {
	auth := must(Auth("PLAIN", ptr("AGEAYg==")))
	done := append(ready[:len(ready):len(ready)], auth, "235 ok\r\n")
	for _, test := range []struct {
		name string
		s    script
		ok   bool
	}{
		{"before EHLO", greeting, false},
		{"offered", ready, true},
		{"not offered", append(greeting[:1:1], must(Ehlo("")), "250 mx\r\n"), false},
		{"after a failure", append(ready[:len(ready):len(ready)], auth, "535 no\r\n"), true},
		{"after success", done, false},
		{"after success and EHLO", append(done[:len(done):len(done)], must(Ehlo("")), "250-mx\r\n250 AUTH PLAIN\r\n"), false},
		{"after success and TLS", append(done[:len(done):len(done)], StartTLS(), "220 go\r\n", tlsDone{}, must(Ehlo("")), "250-mx\r\n250 AUTH PLAIN\r\n"), true},
		{"in a mail transaction", inMail, false},
		{"with recipients", inRcpt, false},
		{"in an exchange", inAuth, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := run(t, test.s, 0, whole)
			_, err := c.Submit(auth)
			if test.ok {
				assert.NoError(t, err)
			} else {
				var e *NotLegalError
				require.ErrorAs(t, err, &e)
				assert.Equal(t, VerbAuth, e.Verb)
				assert.NotContains(t, e.Legal, VerbAuth)
			}
		})
	}
}

func TestCase09_LongExchangeLines(t *testing.T) {
	line := strings.Repeat("QUJD", (MaxAuthLine-2)/4)
	c, events := run(t, append(inAuth[:len(inAuth):len(inAuth)], must(Response(line)), "334 "+line+"\r\n"), len(inAuth), bytewise)
	assert.Equal(t, line+"\r\n", string(events[1].(*Output).Bytes))
	assert.Equal(t, line, events[2].(*ReplyReceived).Reply.Lines[0])
	assert.Equal(t, StateAuth, c.State())
	_, err := Response(line + "QUJD")
	assert.EqualError(t, err, "response: the line has 12290 octets, the limit is 12288 (RFC 4954, 4)")

	_, err = Auth("PLAIN", ptr(strings.Repeat("QUJD", 125)))
	assert.EqualError(t, err, "initial response: it makes a line of 513 octets, the limit is 512; "+
		"leave it out and send it as the first response (RFC 4954, 4)")
	_, err = Auth("PLAI", ptr(strings.Repeat("QUJD", 125)))
	assert.NoError(t, err)
}

func TestCase11_RecipientsDoNotStopEachOther(t *testing.T) {
	rcpt := must(Rcpt("bob@example.net"))
	c, events := run(t, append(inMail[:len(inMail):len(inMail)], rcpt, "550 5.1.1 no\r\n", rcpt, "251 will forward\r\n", rcpt, "452 4.5.3 too many\r\n",
		rcpt, "252 will try\r\n", Data(), "354 go on\r\n"), len(inMail), whole)
	var on []string
	for _, e := range events {
		if r, ok := e.(*ReplyReceived); ok {
			on = append(on, r.On+" "+string(r.State))
		}
	}
	// Any 2yz accepts a recipient: only the first digit counts (RFC 5321, 4.3.2).
	assert.Equal(t, []string{"RCPT any mail", "RCPT 2yz rcpt", "RCPT any rcpt", "RCPT any rcpt", "DATA 354 data"}, on)
	assert.Equal(t, []Verb{VerbMessage}, c.Legal())
}

func TestCase13_DataNeeds354(t *testing.T) {
	prelude := append(inRcpt[:len(inRcpt):len(inRcpt)], Data())
	for _, test := range []struct {
		reply string
		state State
	}{
		{"354 go on\r\n", StateData},
		{"451 later\r\n", StateRcpt},
		{"503 no\r\n", StateRcpt},
		{"554 no valid recipients\r\n", StateRcpt},
		{"421 closing\r\n", StateClosed},
		{"250 ok\r\n", StateDesync},
		{"334 ok\r\n", StateDesync},
	} {
		t.Run(test.reply[:3], func(t *testing.T) {
			c, _ := run(t, append(prelude[:len(prelude):len(prelude)], test.reply), 0, bytewise)
			assert.Equal(t, test.state, c.State())
			_, err := c.Submit(Message(nil))
			assert.Equal(t, test.state == StateData, err == nil)
		})
	}
	c, _ := run(t, inMail, 0, whole)
	_, err := c.Submit(Data())
	assert.Error(t, err, "no recipient yet")
}

func TestCase13_Dots(t *testing.T) {
	for _, test := range []struct{ name, text, wire string }{
		{"empty", "", ".\r\n"},
		{"dot", ".", "..\r\n.\r\n"},
		{"dot line", ".\r\n", "..\r\n.\r\n"},
		{"two dots", "..", "...\r\n.\r\n"},
		{"first byte", ".a\r\nb\r\n", "..a\r\nb\r\n.\r\n"},
		{"later line", "a\r\n.b\r\n..\r\n", "a\r\n..b\r\n...\r\n.\r\n"},
		{"inside of a line", "a.b.\r\n", "a.b.\r\n.\r\n"},
		{"no final line end", "a\r\nb", "a\r\nb\r\n.\r\n"},
		{"empty line", "\r\n", "\r\n.\r\n"},
		{"header only", "A: b\r\n\r\n", "A: b\r\n\r\n.\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, events := run(t, append(inData[:len(inData):len(inData)], Message([]byte(test.text))), len(inData), whole)
			assert.Equal(t, test.wire, string(events[1].(*Output).Bytes))
		})
	}
}

func TestCase14_Smuggling(t *testing.T) {
	const next = "MAIL FROM:<eve@example.com>"
	for _, test := range []struct{ name, end, wire string }{
		{"CRLF.CRLF", "\r\n.\r\n", "\r\n..\r\n"},
		{"LF.LF", "\n.\n", "\r\n..\r\n"},
		{"CR.CR", "\r.\r", "\r\n..\r\n"},
		{"LF.CRLF", "\n.\r\n", "\r\n..\r\n"},
		{"CR.CRLF", "\r.\r\n", "\r\n..\r\n"},
		{"CRLF.LF", "\r\n.\n", "\r\n..\r\n"},
		{"CRLF.CR", "\r\n.\r", "\r\n..\r\n"},
		{"LF.CR", "\n.\r", "\r\n..\r\n"},
		{"CR.LF", "\r.\n", "\r\n..\r\n"},
		{"CRCRLF.CRLF", "\r\r\n.\r\n", "\r\n\r\n..\r\n"},
		{"LFCR.LFCR", "\n\r.\n\r", "\r\n\r\n..\r\n\r\n"},
		{"NUL", "\r\n\x00.\r\n", "\r\n\x00.\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, events := run(t, append(inData[:len(inData):len(inData)], Message([]byte("hi"+test.end+next))), len(inData), whole)
			wire := string(events[1].(*Output).Bytes)
			assert.Equal(t, "hi"+test.wire+next+"\r\n.\r\n", wire)
			assert.Equal(t, len(wire)-3, strings.Index(wire, "\n.\r\n")+1, "the only line of one dot is the last")
		})
	}
}

func TestCase15_LostAfterFinalDot(t *testing.T) {
	checkScript(t, inData, script{Message([]byte("x\r\n")), eof{}}, `
		deadline message 3m0s
		output #5 message "x\r\n.\r\n" {Size:3 Stuffed:0 Normalized:0 Long:0}
		state data -> message (message sent)
		deadline message 10m0s
		deadline  0s
		state message -> closed (eof)
		closed expected=false awaiting=message in message`)
	checkScript(t, afterDot, script{"250 2.0", eof{}}, `
		deadline  0s
		state message -> closed (eof)
		closed expected=false awaiting=message in message partial 250 2.0`)
	checkScript(t, afterDot, script{"garbage\r\n", eof{}}, `
		deadline  0s
		state message -> desync (desync)
		desync not-a-reply at +0 in message
		state desync -> closed (eof)
		closed expected=false awaiting=message in desync`)
	// Before the final dot the server cannot have accepted it.
	checkScript(t, inData, script{Message(make([]byte, 3*MaxChunk)), pull(2), eof{}}, `
		deadline message 3m0s
		output #5 message `+fmt.Sprintf("%q", make([]byte, MaxChunk-5))+` first=true last=false
		deadline  0s
		state data -> closed (eof)
		closed expected=false awaiting=message in data`)
}

func TestCase18_EnhancedCodes(t *testing.T) {
	for _, test := range []struct {
		reply string
		want  string
		odd   []Oddity
	}{
		{"250 2.1.0 ok\r\n", "2.1.0", nil},
		{"250 2.1.0\r\n", "2.1.0", nil},
		{"250-2.1.0 a\r\n250 2.1.5 b\r\n", "2.1.0", nil},
		{"550 5.123.999 no\r\n", "5.123.999", nil},
		{"550 4.1.1 no\r\n", "", []Oddity{OddityEnhanced}},
		{"250 5.1.1 ok\r\n", "", []Oddity{OddityEnhanced}},
		{"450 4.1 no\r\n", "", nil},
		{"450 4.1.1234 no\r\n", "", nil},
		{"450 4.1.x no\r\n", "", nil},
		{"450 4.+1.1 no\r\n", "", nil},
		{"450 3.1.1 no\r\n", "", nil},
		{"450 4..1 no\r\n", "", nil},
		{"450 4.1.1.1 no\r\n", "", nil},
		{"550\r\n", "", nil},
	} {
		t.Run(strings.TrimSpace(test.reply), func(t *testing.T) {
			_, events := run(t, append(ready[:len(ready):len(ready)], Noop(), test.reply), len(ready), whole)
			r := events[2].(*ReplyReceived).Reply
			assert.Equal(t, test.want, r.Enhanced.String())
			assert.Equal(t, test.odd, r.Oddities)
		})
	}
	_, events := run(t, append(inRcpt[:len(inRcpt):len(inRcpt)], Data(), "354 2.0.0 go on\r\n"), len(inRcpt), whole)
	assert.Equal(t, []Oddity{OddityEnhanced}, events[2].(*ReplyReceived).Reply.Oddities, "3yz has none")
	_, events = run(t, script{"220 2.0.0 mx\r\n", must(Ehlo("")), "250 2.0.0 mx\r\n"}, 0, whole)
	assert.Zero(t, events[1].(*ReplyReceived).Reply.Enhanced, "the greeting has none")
	assert.Zero(t, events[6].(*ReplyReceived).Reply.Enhanced, "EHLO has none")
}

func TestCase19_Injection(t *testing.T) {
	text := func(v Verb) func(string) (Command, error) {
		return func(s string) (Command, error) { return Command{Verb: v, Arg: s}.checked() }
	}
	makers := map[string]func(string) (Command, error){
		"EHLO":          Ehlo,
		"HELO":          Helo,
		"MAIL":          func(s string) (Command, error) { return Mail(s) },
		"MAIL quoted":   func(s string) (Command, error) { return Mail(`"` + s + `"@example.org`) },
		"MAIL domain":   func(s string) (Command, error) { return Mail("ada@" + s) },
		"MAIL param":    func(s string) (Command, error) { return Mail("", "X="+s) },
		"MAIL literal":  func(s string) (Command, error) { return Mail("ada@[" + s + "]") },
		"MAIL by hand":  text(VerbMail),
		"RCPT":          func(s string) (Command, error) { return Rcpt(s) },
		"RCPT param":    func(s string) (Command, error) { return Rcpt("postmaster", s) },
		"RCPT by hand":  func(s string) (Command, error) { return text(VerbRcpt)("TO:<" + s + ">") },
		"DATA by hand":  text(VerbData),
		"RSET by hand":  text(VerbRset),
		"QUIT by hand":  text(VerbQuit),
		"TLS by hand":   text(VerbStartTLS),
		"NOOP by hand":  text(VerbNoop),
		"VRFY":          Vrfy,
		"EXPN":          Expn,
		"HELP":          Help,
		"AUTH":          func(s string) (Command, error) { return Auth(s, nil) },
		"AUTH response": func(s string) (Command, error) { return Auth("PLAIN", &s) },
		"response":      Response,
		"typed":         ParseCommand,
		"typed NOOP":    func(s string) (Command, error) { return ParseCommand("NOOP " + s) },
		"raw":           func(s string) (Command, error) { return Raw(s).checked() },
		"raw NOOP":      func(s string) (Command, error) { return Raw("NOOP " + s).checked() },
		"verb":          func(s string) (Command, error) { return Command{Verb: Verb("NOOP" + s)}.checked() },
	}
	for name, command := range makers {
		t.Run(name, func(t *testing.T) {
			for _, bad := range []string{"\r\nRSET", "\nRSET", "\rRSET", "QUJD\r\n", "a\nb", "a\rb", "a\x00b", "\x00"} {
				_, err := command(bad)
				var e *SyntaxError
				require.ErrorAs(t, err, &e, "%q", bad)
				assert.False(t, strings.ContainsAny(err.Error(), "\r\n\x00"), "errors can be shown: %s", err)
			}
		})
	}

	_, err := Mail("ada\r\nRCPT TO:<eve@example.com>@example.org")
	assert.EqualError(t, err, `reverse-path "ada\r\nRCPT TO:<eve@example.com>@example.org": `+
		`CR would end the command line and start another one, after 3 octets (RFC 5321, 4.1.2)`)
	_, err = Ehlo("page\x00.example")
	assert.EqualError(t, err, `domain "page\x00.example": NUL is not allowed in a domain, only letters, digits and hyphens are, after 4 octets (RFC 5321, 4.1.2)`)
	_, err = Rcpt("bob@bücher.example")
	assert.ErrorContains(t, err, "SMTPUTF8")
	_, err = Rcpt("jürgen@example.org")
	assert.ErrorContains(t, err, "SMTPUTF8")

	c, _ := run(t, ready, 0, whole)
	_, err = c.Submit(Command{Verb: VerbMail, Arg: "FROM:<ada@example.org>\r\nRSET"})
	require.Error(t, err)
	assert.Nil(t, c.Next(), "nothing is sent")
	assert.Equal(t, StateReady, c.State())
	_, err = c.Submit(must(Mail("ada@example.org")))
	assert.NoError(t, err)
}

func TestCase20_Limits(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	labels := func(n int) string { return strings.Repeat("x.", n)[:n-1] + "x" }
	for _, test := range []struct {
		name string
		make func(n int) (Command, error)
		most int
		want string
	}{
		{"local-part", func(n int) (Command, error) { return Rcpt(x(n) + "@example.org") }, MaxLocalPart, "4.5.3.1.1"},
		{"quoted local-part", func(n int) (Command, error) { return Rcpt(`"` + x(n-2) + `"@example.org`) }, MaxLocalPart, "4.5.3.1.1"},
		{"domain", func(n int) (Command, error) { return Ehlo(labels(n)) }, MaxDomain, "4.5.3.1.2"},
		{"path", func(n int) (Command, error) { return Mail("ab@" + labels(n-5)) }, MaxPath, "4.5.3.1.3"},
		{"VRFY", func(n int) (Command, error) { return Vrfy(x(n - 7)) }, MaxCommandLine, "4.5.3.1.4"},
		{"NOOP", func(n int) (Command, error) { return ParseCommand("NOOP " + x(n-7)) }, MaxCommandLine, "4.5.3.1.4"},
		{"parameters", func(n int) (Command, error) { return Mail("", "A="+x(n-2)) }, MaxParameters, "4.5.3.1.4"},
		{"raw line", func(n int) (Command, error) { return Raw(x(n - 2)).checked() }, MaxAuthLine, "RFC 4954, 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.make(test.most)
			assert.NoError(t, err)
			_, err = test.make(test.most + 1)
			var e *SyntaxError
			require.ErrorAs(t, err, &e)
			assert.Contains(t, e.RFC, test.want)
			assert.Contains(t, e.Problem, fmt.Sprint(test.most), "the limit is named")
		})
	}

	line := x(MaxTextLine - 2)
	assert.Equal(t, 0, Measure([]byte(line)).Long)
	assert.Equal(t, 0, Measure([]byte("."+line[1:])).Long, "the dot that is added does not count")
	assert.Equal(t, 2, Measure([]byte(line+"x\n"+line+"\nx"+line)).Long)
}

func TestCase20_Deadlines(t *testing.T) {
	for _, test := range []struct {
		s    script
		want time.Duration
	}{
		{script{}, 5 * time.Minute}, // the greeting
		{append(greeting[:1:1], must(Ehlo(""))), 5 * time.Minute},
		{append(ready[:len(ready):len(ready)], StartTLS()), 5 * time.Minute},
		{append(inAuth[:len(inAuth):len(inAuth)], must(Response("*"))), 5 * time.Minute},
		{append(ready[:len(ready):len(ready)], must(Mail(""))), 5 * time.Minute},
		{append(inMail[:len(inMail):len(inMail)], must(Rcpt("postmaster"))), 5 * time.Minute},
		{append(inRcpt[:len(inRcpt):len(inRcpt)], Data()), 2 * time.Minute},
		{append(inData[:len(inData):len(inData)], Message(make([]byte, 2*MaxChunk)), pull(1)), 3 * time.Minute},
		{append(inData[:len(inData):len(inData)], Message(make([]byte, 2*MaxChunk)), pull(3)), 3 * time.Minute},
		{afterDot, 10 * time.Minute},
		{append(ready[:len(ready):len(ready)], Quit()), 5 * time.Minute},
		{greeting, 0},
		{ready, 0},
		{inData, 0},
		{inTLS, 0},
		{append(afterDot[:len(afterDot):len(afterDot)], eof{}), 0},
		{append(afterDot[:len(afterDot):len(afterDot)], "what\r\n"), 0},
	} {
		_, events := run(t, test.s, 0, whole)
		var running time.Duration
		for _, e := range events {
			if d, ok := e.(Deadline); ok {
				running = d.Wait
			}
		}
		assert.Equal(t, test.want, running, "after %v", test.s[max(0, len(test.s)-1):])
	}
}
