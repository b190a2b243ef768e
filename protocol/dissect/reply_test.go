package dissect_test

import (
	"testing"

	"smtpscope/protocol/dissect"
)

var replyExamples = []example{
	{"with enhanced code", "250 2.1.5 Ok\r\n", `
			reply-code "250" reply.250
			separator " " (last line) field.separator
			enhanced-code "2.1.5" enhanced.2.1.5
				class "2" enhanced.class.2
				delimiter "." field.delimiter
				subject "1" enhanced.subject.1
				delimiter "." field.delimiter
				detail "5" enhanced.2.1.5
			delimiter " " (SP) field.delimiter
			text "Ok" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"bare code", "250\r\n", `
			reply-code "250" reply.250
			line end "\r\n" (CR LF) field.line-end`},
	{"code and space", "250 \r\n", `
			reply-code "250" reply.250
			separator " " (last line) field.separator
			line end "\r\n" (CR LF) field.line-end`},
	{"several lines", "550-5.7.509 Refused\r\n550 5.7.509\n", `
			reply-code "550" reply.550
			separator "-" (another line follows) field.separator
			enhanced-code "5.7.509" enhanced.5.7.509
				class "5" enhanced.class.5
				delimiter "." field.delimiter
				subject "7" enhanced.subject.7
				delimiter "." field.delimiter
				detail "509" enhanced.5.7.509
			delimiter " " (SP) field.delimiter
			text "Refused" field.text
			line end "\r\n" (CR LF) field.line-end
			reply-code "550" reply.550
			separator " " (last line) field.separator
			enhanced-code "5.7.509" enhanced.5.7.509
				class "5" enhanced.class.5
				delimiter "." field.delimiter
				subject "7" enhanced.subject.7
				delimiter "." field.delimiter
				detail "509" enhanced.5.7.509
			line end "\n" (LF) field.line-end`},
	{"unknown subject", "450 4.12.1 x", `
			reply-code "450" reply.450
			separator " " (last line) field.separator
			enhanced-code "4.12.1" enhanced.4.12.1
				class "4" enhanced.class.4
				delimiter "." field.delimiter
				subject "12" enhanced.subject.12
				delimiter "." field.delimiter
				detail "1" enhanced.4.12.1
			delimiter " " (SP) field.delimiter
			text "x" field.text`},
	{"contradictory class", "250 5.1.1 odd\r\n", `
			reply-code "250" reply.250
			separator " " (last line) field.separator
			enhanced-code "5.1.1" field.enhanced-mismatch
			delimiter " " (SP) field.delimiter
			text "odd" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"enhanced code on 3yz", "354 2.0.0 go\r\n", `
			reply-code "354" reply.354
			separator " " (last line) field.separator
			enhanced-code "2.0.0" field.enhanced-mismatch
			delimiter " " (SP) field.delimiter
			text "go" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"no enhanced code: an address", "220 2.example.net\r\n", `
			reply-code "220" reply.220
			separator " " (last line) field.separator
			text "2.example.net" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"no enhanced code: four digits", "250 2.1000.1 x\r\n", `
			reply-code "250" reply.250
			separator " " (last line) field.separator
			text "2.1000.1 x" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"no enhanced code: no space behind", "250 2.1.5-x\r\n", `
			reply-code "250" reply.250
			separator " " (last line) field.separator
			text "2.1.5-x" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"no enhanced code: cut short", "250 2.1.\r\n", `
			reply-code "250" reply.250
			separator " " (last line) field.separator
			text "2.1." field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"no separator", "250Ok\r\n", `
			reply-code "250" reply.250
			text "Ok" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"challenge", "334 VXNlcm5hbWU6\r\n", `
			reply-code "334" reply.334
			separator " " (last line) field.separator
			challenge "VXNlcm5hbWU6" field.challenge
			line end "\r\n" (CR LF) field.line-end`},
	{"empty challenge", "334 \r\n", `
			reply-code "334" reply.334
			separator " " (last line) field.separator
			line end "\r\n" (CR LF) field.line-end`},
	{"unknown code", "471 later\r\n", `
			reply-code "471" reply.471
			separator " " (last line) field.separator
			text "later" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"code of no class", "999 x\r\n", `
			reply-code "999" reply.999
			separator " " (last line) field.separator
			text "x" field.text
			line end "\r\n" (CR LF) field.line-end`},
	{"not a reply", "SSH-2.0-OpenSSH\r\n\r\n25\r\n", `
			line "SSH-2.0-OpenSSH" field.not-a-reply
			line end "\r\n" (CR LF) field.line-end
			line end "\r\n" (CR LF) field.line-end
			line "25" field.not-a-reply
			line end "\r\n" (CR LF) field.line-end`},
	{"bytes that are no text", "250 \x1b[2J\xff\r\x00\r\n", `
			reply-code "250" reply.250
			separator " " (last line) field.separator
			text "\x1b[2J\xff\r\x00" field.text
			line end "\r\n" (CR LF) field.line-end`},
}

func TestReply(t *testing.T) { run(t, dissect.Reply, outline, replyExamples) }

var ehloExamples = []example{
	{"as servers send it", "250-mx.example.net greets [192.0.2.10]\r\n250-SIZE 10485760\r\n250-AUTH PLAIN X-NEW\r\n250-AUTH=LOGIN\r\n250-x-private a b\r\n250 8bitmime\r\n", `
			reply-code "250" reply.250
			separator "-" (another line follows) field.separator
			domain "mx.example.net" field.server-domain
			ehlo-greet "greets [192.0.2.10]" field.greet
			reply-code "250" reply.250
			separator "-" (another line follows) field.separator
			ehlo-keyword "SIZE" keyword.size
			ehlo-param "10485760" field.ehlo-param
			reply-code "250" reply.250
			separator "-" (another line follows) field.separator
			ehlo-keyword "AUTH" keyword.auth
			mechanism "PLAIN" mechanism.plain
			mechanism "X-NEW" mechanism.x-new
			reply-code "250" reply.250
			separator "-" (another line follows) field.separator
			ehlo-keyword "AUTH" keyword.auth
			mechanism "LOGIN" mechanism.login
			reply-code "250" reply.250
			separator "-" (another line follows) field.separator
			ehlo-keyword "x-private" keyword.x-private
			ehlo-param "a" field.ehlo-param
			ehlo-param "b" field.ehlo-param
			reply-code "250" reply.250
			separator " " (last line) field.separator
			ehlo-keyword "8bitmime" keyword.8bitmime`},
	{"one line", "250 mx.example.net\r\n", `
			reply-code "250" reply.250
			separator " " (last line) field.separator
			domain "mx.example.net" field.server-domain`},
	{"bare code", "250\r\n", `
			reply-code "250" reply.250`},
	{"odd spaces", "250-\r\n250- SIZE  1 \r\n250 AUTH= PLAIN\r\n", `
			reply-code "250" reply.250
			separator "-" (another line follows) field.separator
			reply-code "250" reply.250
			separator "-" (another line follows) field.separator
			ehlo-param "SIZE" field.ehlo-param
			ehlo-param "1" field.ehlo-param
			reply-code "250" reply.250
			separator " " (last line) field.separator
			ehlo-keyword "AUTH" keyword.auth
			mechanism "PLAIN" mechanism.plain`},
	{"refused", "502 5.5.1 What?\r\n", `
			reply-code "502" reply.502
			separator " " (last line) field.separator
			enhanced-code "5.5.1" enhanced.5.5.1
				class "5" enhanced.class.5
				subject "5" enhanced.subject.5
				detail "1" enhanced.5.5.1
			text "What?" field.text`},
}

func TestEHLOReply(t *testing.T) { run(t, dissect.EHLOReply, brief, ehloExamples) }
