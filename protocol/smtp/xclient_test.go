package smtp

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// After XCLIENT the session begins anew, for another client.
func TestXclient(t *testing.T) {
	cmd := must(Xclient("NAME=spike.example", "ADDR=192.0.2.1"))
	checkScript(t, ready, script{cmd, "220 mx.example.net ESMTP\r\n", must(Ehlo("spike.example")), "250 mx\r\n"}, `
		deadline XCLIENT 5m0s
		output #2 XCLIENT "XCLIENT NAME=spike.example ADDR=192.0.2.1\r\n"
		reply #2 XCLIENT 220 ["mx.example.net ESMTP"] (XCLIENT 220) greeted
		deadline  0s
		state ready -> greeted (XCLIENT 220)
		deadline EHLO 5m0s
		output #3 EHLO "EHLO spike.example\r\n"
		reply #3 EHLO 250 ["mx"] (EHLO 2yz) ready
		deadline  0s
		state greeted -> ready (EHLO 2yz)`)
	checkScript(t, ready, script{cmd, "550 5.7.0 not you\r\n"}, `
		deadline XCLIENT 5m0s
		output #2 XCLIENT "XCLIENT NAME=spike.example ADDR=192.0.2.1\r\n"
		reply #2 XCLIENT 550 ["5.7.0 not you"] 5.7.0 (XCLIENT 5yz) ready
		deadline  0s`)
	checkScript(t, ready, script{cmd, "250 ok\r\n"}, `
		deadline XCLIENT 5m0s
		output #2 XCLIENT "XCLIENT NAME=spike.example ADDR=192.0.2.1\r\n"
		reply #2 XCLIENT 250 ["ok"] () ready
		deadline  0s
		state ready -> desync (desync)
		desync unexpected-code at +0 in ready`)

	signedIn := join(ready, script{must(Auth("PLAIN", ptr("AGEAYg=="))), "235 ok\r\n"})
	c, _ := run(t, join(signedIn, script{cmd, "220 mx2\r\n"}), 0, whole)
	assert.Equal(t, &Server{Greeting: c.Server().Greeting}, c.Server(), "what the server offered was for the client before")
	assert.Equal(t, []string{"mx2"}, c.Server().Greeting.Lines)
	c, _ = run(t, join(signedIn, script{cmd, "220 mx2\r\n", must(Ehlo("")), "250-mx\r\n250 AUTH PLAIN\r\n"}), 0, whole)
	assert.Contains(t, c.Legal(), VerbAuth)
	assert.NotContains(t, c.Legal(), VerbXclient, "no longer offered")
}

func TestXforwardAndEtrn(t *testing.T) {
	checkScript(t, ready, script{must(Xforward("NAME=spike.example")), "250 ok\r\n", must(Etrn("@example.org")), "252 2.0.0 pending\r\n"}, `
		deadline XFORWARD 5m0s
		output #2 XFORWARD "XFORWARD NAME=spike.example\r\n"
		reply #2 XFORWARD 250 ["ok"] (XFORWARD any) ready
		deadline  0s
		deadline ETRN 5m0s
		output #3 ETRN "ETRN @example.org\r\n"
		reply #3 ETRN 252 ["2.0.0 pending"] 2.0.0 (ETRN any) ready
		deadline  0s`)
	c, _ := run(t, join(greeting, script{must(Ehlo("")), "250 mx\r\n"}), 0, whole)
	for _, cmd := range []Command{must(Xclient("NAME=x")), must(Xforward("NAME=x")), must(Etrn("example.org"))} {
		_, err := c.Submit(cmd)
		assert.ErrorContains(t, err, string(cmd.Verb)+` cannot be sent in state "ready"`, "not offered")
	}
}

// Verbs of the past are known, and why they are not sent.
func TestNeverSent(t *testing.T) {
	for line, want := range map[string]string{
		"SEND FROM:<ada@example.org>": "never sends it: it puts a message on the recipient's terminal, and servers no longer have it; it can be sent as a raw line (RFC 5321, F.6)",
		"soml from:<>":                "terminal",
		"SAML FROM:<>":                "terminal",
		"TURN":                        "the server would become the client",
		"ATRN example.org":            "this one takes no mail; it can be sent as a raw line (RFC 5321, F.1; RFC 2645, 5.2)",
		"VERB":                        "Sendmail's own",
		"ONEX":                        "Sendmail's own",
	} {
		_, err := ParseCommand(line)
		assert.ErrorContains(t, err, want, line)
		assert.Equal(t, Verb(""), Raw(line).Verb)
	}
}
