package smtp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConstructors(t *testing.T) {
	for want, c := range map[string]Command{
		"EHLO page.example":                         must(Ehlo("page.example")),
		"EHLO [192.0.2.1]":                          must(Ehlo("[192.0.2.1]")),
		"HELO [IPv6:2001:db8::1]":                   must(Helo("[IPv6:2001:db8::1]")),
		"MAIL FROM:<>":                              must(Mail("")),
		"MAIL FROM:<ada@example.org> SIZE=10 X":     must(Mail("ada@example.org", "SIZE=10", "X")),
		"RCPT TO:<bob@example.net>":                 must(Rcpt("bob@example.net")),
		"RCPT TO:<Postmaster> NOTIFY=NEVER":         must(Rcpt("Postmaster", "NOTIFY=NEVER")),
		`RCPT TO:<"a> SIZE=1"@example.net> NOTIFY=`: {Verb: VerbRcpt, Arg: `TO:<"a> SIZE=1"@example.net> NOTIFY=`},
		"DATA":                  Data(),
		"":                      Message([]byte("x")),
		"RSET":                  Rset(),
		"NOOP":                  Noop(),
		"QUIT":                  Quit(),
		"STARTTLS":              StartTLS(),
		"AUTH LOGIN":            must(Auth("LOGIN", nil)),
		"AUTH PLAIN AGEAYg==":   must(Auth("PLAIN", ptr("AGEAYg=="))),
		"AUTH EXTERNAL =":       must(Auth("EXTERNAL", ptr("="))),
		"YWRh":                  must(Response("YWRh")),
		"VRFY ada lovelace":     must(Vrfy("ada lovelace")),
		"EXPN list@example.org": must(Expn("list@example.org")),
		"HELP":                  must(Help("")),
		"HELP MAIL":             must(Help("MAIL")),
		"LHLO page.example":     must(Lhlo("page.example")),
		"ETRN @example.org":     must(Etrn("@example.org")),
		"XCLIENT NAME=spike.example ADDR=IPV6:2001:db8::1": must(Xclient("NAME=spike.example", "ADDR=IPV6:2001:db8::1")),
		"XFORWARD IDENT=a+20b":                             must(Xforward("IDENT=" + Xtext("a b"))),
		"any  Thing ":                                      Raw("any  Thing "),
	} {
		assert.Equal(t, want, c.Line())
	}
	assert.Equal(t, VerbMail, Raw("mail from:<x").Verb)
	assert.Equal(t, VerbAuth, Raw(" auth\tPLAIN x").Verb)
	assert.Equal(t, Verb(""), Raw("message").Verb)
}

func TestParseCommand(t *testing.T) {
	for in, want := range map[string]string{
		"ehlo page.example":            "EHLO page.example",
		" QUIT  ":                      "QUIT",
		"Mail from:<ada@example.org>":  "MAIL from:<ada@example.org>",
		"MAIL FROM:<> BODY=8BITMIME":   "MAIL FROM:<> BODY=8BITMIME",
		"RCPT To:<postmaster>":         "RCPT To:<postmaster>",
		`RCPT TO:<"a> b"@example.net>`: `RCPT TO:<"a> b"@example.net>`,
		`RCPT TO:<"\">"@example.net>`:  `RCPT TO:<"\">"@example.net>`,
		"starttls":                     "STARTTLS",
		"auth plain AGEAYg==":          "AUTH plain AGEAYg==",
		"NOOP  two  spaces":            "NOOP  two  spaces",
		"help":                         "HELP",
		"lhlo page.example":            "LHLO page.example",
		"etrn #queue":                  "ETRN #queue",
		"xclient name=[UNAVAILABLE]":   "XCLIENT name=[UNAVAILABLE]",
	} {
		c, err := ParseCommand(in)
		if assert.NoError(t, err, in) {
			assert.Equal(t, want, c.Line())
			assert.False(t, c.Raw)
			assert.NoError(t, c.check())
		}
	}
	for in, want := range map[string]string{
		"":                                "does not know the verb",
		"XYZZY":                           "raw line",
		"message":                         "does not know the verb",
		"response":                        "does not know the verb",
		"EHLO":                            "a domain or an address literal is missing",
		"EHLO two words":                  `a space is not allowed in a domain`,
		"MAIL":                            "starts with FROM:",
		"MAIL TO:<ada@example.org>":       "starts with FROM:",
		"MAIL FROM: <ada@example.org>":    "no space is allowed on either side of the colon",
		"MAIL FROM :<ada@example.org>":    "starts with FROM:",
		"MAIL FROM:ada@example.org":       "in angle brackets",
		"MAIL FROM:<ada@example.org":      "in angle brackets",
		"MAIL FROM:<ada@example.org>X=1":  "follow after a space",
		"MAIL FROM:<ada@example.org>  X":  "the keyword of a parameter",
		"MAIL FROM:<ada@example.org> X=":  "the value is missing",
		"MAIL FROM:<a@b> X=1=2":           "xtext",
		"MAIL FROM:<a@b> -X":              "the keyword of a parameter",
		"MAIL FROM:<a@b> X=\xe9":          "SMTPUTF8",
		"RCPT TO:<>":                      "an address is missing",
		"RCPT TO:<bob>":                   "a domain is missing",
		"RCPT TO:<@a.example:b@c.example": "in angle brackets",
		"DATA now":                        "takes no argument",
		"QUIT 1":                          "takes no argument",
		"STARTTLS x":                      "takes no argument",
		"VRFY":                            "a name is missing",
		"EXPN":                            "a name is missing",
		"ETRN":                            "a name is missing",
		"LHLO":                            "a domain or an address literal is missing",
		"XCLIENT":                         "the keyword of a parameter",
		"XCLIENT NAME=a=b":                "xtext",
		"NOOP \x1b":                       "the control byte 0x1b is not allowed",
		"AUTH":                            "a SASL mechanism has",
		"AUTH PLÄIN":                      "a SASL mechanism has",
		"AUTH ABCDEFGHIJKLMNOPQRSTU":      "a SASL mechanism has",
		"AUTH PLAIN not-base64":           "must be base64",
		"AUTH PLAIN AGE= AYg=":            "must be base64",
	} {
		_, err := ParseCommand(in)
		var e *SyntaxError
		if assert.ErrorAs(t, err, &e, in) {
			assert.ErrorContains(t, err, want, in)
			assert.Regexp(t, `RFC \d+, \d`, e.RFC)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{
		"ada@example.org",
		"a@b",
		"ada.lovelace+engine@sub-domain.example.org",
		"!#$%&'*+-/=?^_`{|}~@example.org",
		`"ada lovelace"@example.org`,
		`""@example.org`,
		`"a\"b\\c\@d"@example.org`,
		`"@"@example.org`,
		`">"@example.org`,
		"ada@123.example",
		"ada@xn--bcher-kva.example",
		"ada@[192.0.2.1]",
		"ada@[IPv6:2001:db8::1]",
		"ada@[ipv6:::ffff:192.0.2.1]",
		"ada@[IPv6:2001:db8:0:0:0:0:0:1]",
	} {
		c, err := Mail(good)
		if assert.NoError(t, err, good) {
			assert.Equal(t, "MAIL FROM:<"+good+">", c.Line())
			assert.NoError(t, c.check(), "what was made can be submitted")
		}
	}
	for bad, want := range map[string]string{
		"ada":                          "a domain is missing",
		"ada@":                         "a domain or an address literal is missing",
		"@example.org":                 "the local-part is missing",
		"@a.example:ada@example.org":   "source route",
		"<ada@example.org>":            "without angle brackets",
		"ada@example.org>":             `'>' is not allowed in a domain`,
		"ada>@example.org":             `'>' is not allowed in a local-part without quotes`,
		".ada@example.org":             "a dot at the start",
		"ada..l@example.org":           "a dot at the start",
		"ada.@example.org":             "a dot at the end",
		"ada lovelace@example.org":     "a space is not allowed in a local-part without quotes",
		"ada,bob@example.org":          `',' is not allowed`,
		"ada@bob@example.org":          `'@' is not allowed in a domain`,
		`"ada@example.org`:             "the closing quote",
		`"ada\`:                        "is not allowed in a quoted local-part",
		`"ada"lovelace@example.org`:    "between the quoted local-part and the @",
		`"ada"`:                        "a domain is missing",
		"\"ad\x07a\"@example.org":      "the control byte 0x07",
		"ada@.example.org":             "a dot in a domain",
		"ada@example..org":             "a dot in a domain",
		"ada@example.org.":             "a dot in a domain",
		"ada@-example.org":             "a label of a domain",
		"ada@example-.org":             "a label of a domain",
		"ada@example.org-":             "a label of a domain",
		"ada@exa_mple.org":             `'_' is not allowed in a domain`,
		"ada@exa mple.org":             "a space is not allowed in a domain",
		"ada@bücher.example":           "SMTPUTF8",
		"ädä@example.org":              "SMTPUTF8",
		`"ädä"@example.org`:            "SMTPUTF8",
		"ada@[192.0.2]":                "an address literal looks like",
		"ada@[192.0.2.256]":            "an address literal looks like",
		"ada@[192.0.2.1":               "an address literal looks like",
		"ada@[192.0.2.1]x":             "an address literal looks like",
		"ada@[2001:db8::1]":            "an address literal looks like",
		"ada@[IPv6:192.0.2.1]":         "an address literal looks like",
		"ada@[IPv6:fe80::1%eth0]":      "an address literal looks like",
		"ada@[X400:whatever]":          "an address literal looks like",
		"ada@[]":                       "an address literal looks like",
		" ada@example.org":             "a space is not allowed",
		strings.Repeat("x", 65) + "@a": "the local-part has 65 octets, the limit is 64",
	} {
		_, err := Rcpt(bad)
		var e *SyntaxError
		if assert.ErrorAs(t, err, &e, "%q", bad) {
			assert.ErrorContains(t, err, want, "%q", bad)
			assert.Equal(t, "forward-path", e.What)
			assert.Equal(t, bad, e.Value)
			assert.Less(t, e.At, len(bad)+1)
		}
	}
}

func TestSecrets(t *testing.T) {
	for line, want := range map[string]string{
		"AUTH":                  "",
		"AUTH LOGIN":            "",
		"AUTH EXTERNAL =":       "",
		"AUTH PLAIN AGEAYg==":   "AGEAYg==",
		"auth\tplain  AGE AYg=": "AGE AYg=",
		" AUTH PLAIN x":         "x",
		"NOOP AUTH PLAIN x":     "",
	} {
		got := ""
		for _, s := range secrets(Raw(line).Verb, line) {
			got += line[s[0]:s[1]]
		}
		assert.Equal(t, want, got, line)
	}
	assert.Equal(t, []Span{{0, 4}}, secrets(VerbResponse, "YWRh"))
	assert.Empty(t, secrets(VerbResponse, ""))
	assert.Empty(t, secrets(VerbResponse, "*"))
}

func TestSyntaxErrorsKeepSecrets(t *testing.T) {
	for _, secret := range []string{"hunter2!", strings.Repeat("aHVudGVy", 100) + "!"} {
		_, err := Auth("PLAIN", &secret)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), secret[:6])
		_, err = Response(secret)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), secret[:6])
		_, err = ParseCommand("AUTH PLAIN " + secret)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), secret[:6])
	}
}

func TestDefaultName(t *testing.T) {
	c := NewClient(Options{Name: "[192.0.2.1]"})
	c.Receive([]byte("220 mx\r\n"))
	for c.Next() != nil {
	}
	_, err := c.Submit(must(Ehlo("")))
	require.NoError(t, err)
	c.Next()
	assert.Equal(t, "EHLO [192.0.2.1]\r\n", string(c.Next().(*Output).Bytes))

	c = NewClient(Options{})
	c.Receive([]byte("220 mx\r\n"))
	_, err = c.Submit(must(Helo("")))
	assert.EqualError(t, err, "domain: a domain or an address literal is missing (RFC 5321, 4.1.2)")
}
