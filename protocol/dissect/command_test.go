package dissect_test

import (
	"strings"
	"testing"

	"smtpscope/protocol/dissect"
)

var commandExamples = []example{
	{"MAIL", "MAIL FROM:<ada@example.org> SIZE=512\r\n", `
			verb "MAIL" command.mail
			keyword "FROM:" field.keyword
			reverse-path "<ada@example.org>" field.reverse-path
				local-part "ada" field.local-part
				domain "example.org" field.domain
			esmtp-param "SIZE=512" param.size
				esmtp-keyword "SIZE" field.esmtp-keyword
				esmtp-value "512" field.esmtp-value`},
	{"lower case", "rcpt to:<a@b>\r\n", `
			verb "rcpt" command.rcpt
			keyword "to:" field.keyword
			forward-path "<a@b>" field.forward-path
				local-part "a" field.local-part
				domain "b" field.domain`},
	{"null reverse-path", "MAIL FROM:<> BODY=8BITMIME SMTPUTF8 x-new=1 XFOO\r\n", `
			verb "MAIL" command.mail
			keyword "FROM:" field.keyword
			reverse-path "<>" (null) field.null-path
			esmtp-param "BODY=8BITMIME" param.body
				esmtp-keyword "BODY" field.esmtp-keyword
				esmtp-value "8BITMIME" field.esmtp-value
			esmtp-param "SMTPUTF8" param.smtputf8
			esmtp-param "x-new=1" param.x-new
				esmtp-keyword "x-new" field.esmtp-keyword
				esmtp-value "1" field.esmtp-value
			esmtp-param "XFOO" param.xfoo`},
	{"null forward-path", "RCPT TO:<>\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<>" field.forward-path`},
	{"postmaster without domain", "RCPT TO:<Postmaster>\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<Postmaster>" field.forward-path
				local-part "Postmaster" field.local-part`},
	{"source route", "RCPT TO:<@hosta.int,@jkl.org:userc@d.bar.org>\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<@hosta.int,@jkl.org:userc@d.bar.org>" field.forward-path
				source-route "@hosta.int,@jkl.org:" field.source-route
				local-part "userc" field.local-part
				domain "d.bar.org" field.domain`},
	{"route through a literal", "RCPT TO:<@[IPv6:::1]:a@b>\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<@[IPv6:::1]:a@b>" field.forward-path
				source-route "@[IPv6:::1]:" field.source-route
				local-part "a" field.local-part
				domain "b" field.domain`},
	{"quoted local-part", `MAIL FROM:<"a @> \"b\""@example.org> RET=HDRS` + "\r\n", `
			verb "MAIL" command.mail
			keyword "FROM:" field.keyword
			reverse-path "<\"a @> \\\"b\\\"\"@example.org>" field.reverse-path
				local-part "\"a @> \\\"b\\\"\"" field.local-part
				domain "example.org" field.domain
			esmtp-param "RET=HDRS" param.ret
				esmtp-keyword "RET" field.esmtp-keyword
				esmtp-value "HDRS" field.esmtp-value`},
	{"quote without end", `RCPT TO:<"a@b> NOTIFY=NEVER` + "\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<\"a@b>" field.forward-path
				local-part "\"a@b" field.local-part
			esmtp-param "NOTIFY=NEVER" param.notify
				esmtp-keyword "NOTIFY" field.esmtp-keyword
				esmtp-value "NEVER" field.esmtp-value`},
	{"address literal", "RCPT TO:<ada@[IPv6:2001:db8::1]>\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<ada@[IPv6:2001:db8::1]>" field.forward-path
				local-part "ada" field.local-part
				address-literal "[IPv6:2001:db8::1]" field.address-literal`},
	{"internationalised", "RCPT TO:<δοκιμή@παράδειγμα.gr> \r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<δοκιμή@παράδειγμα.gr>" field.forward-path
				local-part "δοκιμή" field.local-part
				domain "παράδειγμα.gr" field.domain`},
	{"no brackets, space after the colon", "MAIL FROM: ada@example.org SIZE=1\r\n", `
			verb "MAIL" command.mail
			keyword "FROM:" field.keyword
			reverse-path "ada@example.org" field.reverse-path
				local-part "ada" field.local-part
				domain "example.org" field.domain
			esmtp-param "SIZE=1" param.size
				esmtp-keyword "SIZE" field.esmtp-keyword
				esmtp-value "1" field.esmtp-value`},
	{"bracket without end", "RCPT TO:<a@b NOTIFY=NEVER\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<a@b" field.forward-path
				local-part "a" field.local-part
				domain "b" field.domain
			esmtp-param "NOTIFY=NEVER" param.notify
				esmtp-keyword "NOTIFY" field.esmtp-keyword
				esmtp-value "NEVER" field.esmtp-value`},
	{"two at signs", "RCPT TO:<a@b@c>\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<a@b@c>" field.forward-path
				local-part "a@b" field.local-part
				domain "c" field.domain`},
	{"empty parts", "RCPT TO:<@> = A= =B\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<@>" field.forward-path
			esmtp-param "=" param.other
			esmtp-param "A=" param.a
				esmtp-keyword "A" field.esmtp-keyword
			esmtp-param "=B" param.other
				esmtp-value "B" field.esmtp-value`},
	{"value with equals signs", "RCPT TO:<a@b> ORCPT=rfc822;a+3Db@c=d\r\n", `
			verb "RCPT" command.rcpt
			keyword "TO:" field.keyword
			forward-path "<a@b>" field.forward-path
				local-part "a" field.local-part
				domain "b" field.domain
			esmtp-param "ORCPT=rfc822;a+3Db@c=d" param.orcpt
				esmtp-keyword "ORCPT" field.esmtp-keyword
				esmtp-value "rfc822;a+3Db@c=d" field.esmtp-value`},
	{"no path", "MAIL FROM:\r\n", `
			verb "MAIL" command.mail
			keyword "FROM:" field.keyword`},
	{"lone bracket", "MAIL FROM:<\r\n", `
			verb "MAIL" command.mail
			keyword "FROM:" field.keyword
			reverse-path "<" field.reverse-path`},
	{"wrong keyword", "MAIL TO:<a@b>\r\n", `
			verb "MAIL" command.mail
			argument "TO:<a@b>" field.unexpected`},
	{"space before the colon", "MAIL FROM :<a@b>\r\n", `
			verb "MAIL" command.mail
			argument "FROM :<a@b>" field.unexpected`},
	{"EHLO", "EHLO [192.0.2.10]\r\n", `
			verb "EHLO" command.ehlo
			address-literal "[192.0.2.10]" field.address-literal`},
	{"HELO with more", "HELO page.example hello\r\n", `
			verb "HELO" command.helo
			domain "page.example" field.domain
			argument "hello" field.unexpected`},
	{"EHLO without name", "EHLO\r\n", `
			verb "EHLO" command.ehlo`},
	{"AUTH", "AUTH PLAIN AGFkYQBlbmdpbmU=\r\n", `
			verb "AUTH" command.auth
			mechanism "PLAIN" mechanism.plain
			initial-response "AGFkYQBlbmdpbmU=" field.initial-response
				authcid "FkYQ" (ada) field.username
				password "lbmdpbmU=" (••••••••) field.password`},
	{"AUTH without response", "AUTH X-NEW\r\n", `
			verb "AUTH" command.auth
			mechanism "X-NEW" mechanism.x-new`},
	{"AUTH with more", "AUTH EXTERNAL = x y\r\n", `
			verb "AUTH" command.auth
			mechanism "EXTERNAL" mechanism.external
			initial-response "=" (empty) field.initial-response
			argument "x y" field.unexpected`},
	{"word too long for an id", "AUTH " + strings.Repeat("A", 65) + "\r\n", `
			verb "AUTH" command.auth
			mechanism "` + strings.Repeat("A", 65) + `" mechanism.other`},
	{"LHLO", "LHLO client.example\r\n", `
			verb "LHLO" command.lhlo
			domain "client.example" field.domain`},
	{"XCLIENT", "XCLIENT NAME=spike.example ADDR=192.0.2.1\r\n", `
			verb "XCLIENT" command.xclient
			esmtp-param "NAME=spike.example" param.name
				esmtp-keyword "NAME" field.esmtp-keyword
				esmtp-value "spike.example" field.esmtp-value
			esmtp-param "ADDR=192.0.2.1" param.addr
				esmtp-keyword "ADDR" field.esmtp-keyword
				esmtp-value "192.0.2.1" field.esmtp-value`},
	{"ETRN", "ETRN example.net\r\n", `
			verb "ETRN" command.etrn
			argument "example.net" field.argument`},
	{"VRFY", "VRFY Smith  Jones\r\n", `
			verb "VRFY" command.vrfy
			argument "Smith  Jones" field.argument`},
	{"EXPN", "EXPN Example-People\r\n", `
			verb "EXPN" command.expn
			argument "Example-People" field.argument`},
	{"HELP", "HELP\r\n", `
			verb "HELP" command.help`},
	{"NOOP", "NOOP x\r\n", `
			verb "NOOP" command.noop
			argument "x" field.argument`},
	{"DATA", "DATA\r\n", `
			verb "DATA" command.data`},
	{"RSET with argument", "RSET now\r\n", `
			verb "RSET" command.rset
			argument "now" field.unexpected`},
	{"STARTTLS", "STARTTLS\r\n", `
			verb "STARTTLS" command.starttls`},
	{"QUIT", "QUIT\r\n", `
			verb "QUIT" command.quit`},
	{"unknown verb", "XYZZY <a@b> c\r\n", `
			line "XYZZY <a@b> c" command.other`},
	{"leading space", " NOOP\r\n", `
			line " NOOP" command.other`},
	{"no folding beyond ASCII", "MA\u0131L FROM:<>\r\n", `
			line "MAıL FROM:<>" command.other`},
	{"bytes that are no text", "\x00\xff\x1b[2J\r\n", `
			line "\x00\xff\x1b[2J" command.other`},
	{"line end only", "\r\n", ``},
}

func TestCommand(t *testing.T) { run(t, dissect.Command, brief, commandExamples) }

// Where each byte belongs, delimiters and line end included.
func TestCommandInFull(t *testing.T) {
	run(t, dissect.Command, outline, []example{
		{"MAIL", "MAIL  FROM:<@x:a@b>\tSIZE=1 \r\n", `
			verb "MAIL" command.mail
			delimiter "  " (2 SP) field.delimiter
			keyword "FROM:" field.keyword
			reverse-path "<@x:a@b>" field.reverse-path
				delimiter "<" field.delimiter
				source-route "@x:" field.source-route
				local-part "a" field.local-part
				delimiter "@" field.delimiter
				domain "b" field.domain
				delimiter ">" field.delimiter
			delimiter "\t" (white space) field.delimiter
			esmtp-param "SIZE=1" param.size
				esmtp-keyword "SIZE" field.esmtp-keyword
				delimiter "=" field.delimiter
				esmtp-value "1" field.esmtp-value
			delimiter " " (SP) field.delimiter
			line end "\r\n" (CR LF) field.line-end`},
		{"LF", "NOOP\n", `
			verb "NOOP" command.noop
			line end "\n" (LF) field.line-end`},
		{"CR", "NOOP\r", `
			verb "NOOP" command.noop
			line end "\r" (CR) field.line-end`},
		{"none", "NOOP", `
			verb "NOOP" command.noop`},
		{"two lines at once", "NOOP a\r\nNOOP\r\n", `
			verb "NOOP" command.noop
			delimiter " " (SP) field.delimiter
			argument "a\r\nNOOP" field.argument
			line end "\r\n" (CR LF) field.line-end`},
	})
}
