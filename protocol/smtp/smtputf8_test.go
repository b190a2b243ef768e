package smtp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Addresses beyond ASCII (RFC 6531).

func TestInternationalAddresses(t *testing.T) {
	for _, good := range []string{
		"jürgen@example.org",
		"用户@例子.广告",
		`"jürgen müller"@example.org`,
		"ada@bücher.example",
		"ada@bü-cher.xn--nxasmq6b.example",
	} {
		c, err := Mail(good, "SMTPUTF8")
		require.NoError(t, err, good)
		assert.Equal(t, "MAIL FROM:<"+good+"> SMTPUTF8", c.Line())
		_, err = ParseCommand("mail from:<" + good + "> size=1 smtputf8")
		assert.NoError(t, err, good)
		_, err = RcptUTF8(good)
		assert.NoError(t, err, good)
		_, err = Rcpt(good)
		assert.ErrorContains(t, err, "needs the parameter SMTPUTF8 (RFC 6531)", good)
		for _, c := range []Command{{Verb: VerbMail, Arg: "FROM:<" + good + ">"}, {Verb: VerbMail, Arg: "FROM:<" + good + "> BODY=8BITMIME"}} {
			assert.ErrorContains(t, c.check(), "needs the parameter SMTPUTF8 (RFC 6531)", good)
		}
		_, err = Mail(good)
		assert.ErrorContains(t, err, "needs the parameter SMTPUTF8 (RFC 6531)", good)
	}
	for bad, want := range map[string]string{
		"j\xfcrgen@example.org":               "must be UTF-8",
		"ada@b\xc3":                           "must be UTF-8",
		"ü..l@example.org":                    "a dot at the start",
		"ü l@example.org":                     "a space is not allowed",
		"ü\r\nRSET@example.org":               "CR would end",
		"ada@-ü.example":                      "a label of a domain",
		"ada@ü..example":                      "a dot in a domain",
		"ada@[ü]":                             "an address literal",
		strings.Repeat("ü", 33) + "@a":        "the local-part has 66 octets",
		"a@" + strings.Repeat("ü.", 85) + "a": "the domain has 256 octets",
	} {
		_, err := RcptUTF8(bad)
		var e *SyntaxError
		require.ErrorAs(t, err, &e, "%q", bad)
		assert.ErrorContains(t, err, want, "%q", bad)
		_, err = Mail(bad, "SMTPUTF8")
		assert.ErrorContains(t, err, want, "%q", bad)
	}
	_, err := Ehlo("bücher.example")
	assert.ErrorContains(t, err, "xn--", "EHLO has A-labels only")
}

func TestInternationalNames(t *testing.T) {
	for _, name := range []func(string) (Command, error){Vrfy, Expn} {
		_, err := name("jürgen SMTPUTF8")
		assert.NoError(t, err)
		_, err = name("jürgen")
		assert.ErrorContains(t, err, "SMTPUTF8")
		_, err = name("SMTPUTF8 jürgen") // the first word is the name
		assert.ErrorContains(t, err, "SMTPUTF8")
		_, err = name("j\xfcrgen SMTPUTF8")
		assert.ErrorContains(t, err, "must be UTF-8")
	}
	_, err := Help("jürgen SMTPUTF8")
	assert.ErrorContains(t, err, "SMTPUTF8")
}

// A recipient beyond ASCII belongs to a transaction that began with SMTPUTF8 (RFC 6531, 3.4).
func TestRecipientsFollowTheirMAIL(t *testing.T) {
	bob := must(RcptUTF8("bob@bücher.example"))
	refuse := func(s script) {
		c, _ := run(t, s, 0, whole)
		_, err := c.Submit(bob)
		assert.EqualError(t, err, `forward-path "TO:<bob@bücher.example>": a character beyond ASCII needs the parameter SMTPUTF8 of MAIL, `+
			`which this transaction began without, after 9 octets (RFC 6531, 3.4)`)
		assert.Nil(t, c.Next(), "nothing is sent")
	}
	mail := must(Mail("jürgen@example.org", "SMTPUTF8"))
	refuse(inMail)
	refuse(append(ready[:len(ready):len(ready)], mail, "550 no\r\n", must(Mail("ada@example.org")), "250 ok\r\n"))
	checkScript(t, ready, script{mail, bob, "250 a\r\n250 b\r\n"}, `
		deadline MAIL 5m0s
		output #2 MAIL "MAIL FROM:<jürgen@example.org> SMTPUTF8\r\n"
		output #3 RCPT "RCPT TO:<bob@bücher.example>\r\n"
		reply #2 MAIL 250 ["a"] (MAIL 2yz) mail
		deadline RCPT 5m0s
		state ready -> mail (MAIL 2yz)
		reply #3 RCPT 250 ["b"] (RCPT 2yz) rcpt
		deadline  0s
		state mail -> rcpt (RCPT 2yz)`)
	_, events := run(t, append(ready[:len(ready):len(ready)], Raw("mail from:<> smtputf8"), "250 a\r\n", bob), len(ready), whole)
	assert.Contains(t, show(events, 0), "bücher")
}
