package dissect_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"smtpscope/protocol/dissect"
)

// letter is sent by DATA; forwarded is a bounce with the message that it is about.
const (
	letter = "Received: from a.example (a.example [192.0.2.1])\r\n\tby mx.example.net with ESMTPS id 4F2C\r\n\tfor <grace@example.net>; Thu, 1 Jan 2026 00:00:00 +0000\r\n" +
		"From: \"Ada \\\"L.\\\"\" <ada@example.org>\r\nTo: =?utf-8?Q?G=C3=B6del?=\r\n =?utf-8?B?LCBLLg==?= <kurt@example.net>, (the) grace@example.net\r\n" +
		"Cc: them: a@b, c@[192.0.2.1];\r\nSubject: =?iso-8859-1?q?M=F6bius_?= strip\r\nMessage-ID: <1@example.org>\r\n" +
		"Content-Type: text/plain; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nnotes\r\n..one\r\n..\r\n.\r\n"

	forwarded = "MIME-Version: 1.0\r\nContent-Type: multipart/report;\r\n report-type=delivery-status; boundary=\"a b\"\r\n\r\n" +
		"preamble\r\n--a b\r\n\r\nsorry\r\n--a b  \r\nContent-Type: message/rfc822\r\n\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n" +
		"--a\r\nContent-Type: text/plain\r\n\r\n--a\r\n\r\nhtml\r\n--a b--\r\nepilogue\r\n"
)

var messageExamples = []example{
	{"letter", letter, `
			header section ` + strconv.Quote(letter[:strings.Index(letter, "\r\n\r\n")+2]) + ` field.header-section
				Received "Received: from a.example (a.example [192.0.2.1])\r\n\tby mx.example.net with ESMTPS id 4F2C\r\n\tfor <grace@example.net>; Thu, 1 Jan 2026 00:00:00 +0000\r\n" header.received
					field-name "Received" field.field-name
					from "from a.example (a.example [192.0.2.1])\r\n\t" field.received-from
						keyword "from" field.keyword
						domain "a.example" field.domain
						comment "(a.example [192.0.2.1])" field.comment
					by "by mx.example.net " field.received-by
						keyword "by" field.keyword
						domain "mx.example.net" field.domain
					with "with ESMTPS " field.received-with
						keyword "with" field.keyword
						protocol "ESMTPS" field.received-protocol
					id "id 4F2C\r\n\t" field.received-id
						keyword "id" field.keyword
						string "4F2C" field.queue-id
					for "for <grace@example.net>" field.received-for
						keyword "for" field.keyword
						path "<grace@example.net>" field.forward-path
					date-time "Thu, 1 Jan 2026 00:00:00 +0000" field.date-time
				From "From: \"Ada \\\"L.\\\"\" <ada@example.org>\r\n" header.from
					field-name "From" field.field-name
					mailbox "\"Ada \\\"L.\\\"\" <ada@example.org>" field.mailbox
						display-name "\"Ada \\\"L.\\\"\"" (Ada "L.") field.display-name
						local-part "ada" field.local-part
						domain "example.org" field.domain
				To "To: =?utf-8?Q?G=C3=B6del?=\r\n =?utf-8?B?LCBLLg==?= <kurt@example.net>, (the) grace@example.net\r\n" header.to
					field-name "To" field.field-name
					mailbox "=?utf-8?Q?G=C3=B6del?=\r\n =?utf-8?B?LCBLLg==?= <kurt@example.net>" field.mailbox
						display-name "=?utf-8?Q?G=C3=B6del?=\r\n =?utf-8?B?LCBLLg==?=" (Gödel, K.) field.display-name
						local-part "kurt" field.local-part
						domain "example.net" field.domain
					comment "(the)" field.comment
					mailbox "grace@example.net" field.mailbox
						local-part "grace" field.local-part
						domain "example.net" field.domain
				Cc "Cc: them: a@b, c@[192.0.2.1];\r\n" header.cc
					field-name "Cc" field.field-name
					group name "them" field.group-name
					mailbox "a@b" field.mailbox
						local-part "a" field.local-part
						domain "b" field.domain
					mailbox "c@[192.0.2.1]" field.mailbox
						local-part "c" field.local-part
						address-literal "[192.0.2.1]" field.address-literal
				Subject "Subject: =?iso-8859-1?q?M=F6bius_?= strip\r\n" header.subject
					field-name "Subject" field.field-name
					unstructured "=?iso-8859-1?q?M=F6bius_?= strip" (Möbius  strip) field.unstructured
				Message-ID "Message-ID: <1@example.org>\r\n" header.message-id
					field-name "Message-ID" field.field-name
					msg-id "<1@example.org>" field.msg-id
						id-left "1" field.id-left
						id-right "example.org" field.id-right
				Content-Type "Content-Type: text/plain; charset=\"utf-8\"\r\n" header.content-type
					field-name "Content-Type" field.field-name
					type "text" field.media-type
					subtype "plain" field.media-subtype
					parameter "charset=\"utf-8\"" field.mime-parameter
						attribute "charset" field.mime-attribute
						value "\"utf-8\"" (utf-8) field.mime-value
				Content-Transfer-Encoding "Content-Transfer-Encoding: 8bit\r\n" header.content-transfer-encoding
					field-name "Content-Transfer-Encoding" field.field-name
					mechanism "8bit" field.transfer-encoding
			empty line "\r\n" field.empty-line
			body "notes\r\n..one\r\n..\r\n" (2 stuffed dots) field.body
				text "notes\r\n" field.body
				stuffed dot "." field.stuffed-dot
				text ".one\r\n" field.body
				stuffed dot "." field.stuffed-dot
				text ".\r\n" field.body
			final dot "." field.final-dot`},
	{"no header", "hello\r\n.\r\n", `
			header section "hello\r\n" field.header-section
				line "hello" field.not-a-header
			final dot "." field.final-dot`},
	{"only a header, cut off", "Subject: x", `
			header section "Subject: x" field.header-section
				Subject "Subject: x" header.subject
					field-name "Subject" field.field-name
					unstructured "x" field.unstructured`},
	{"dots in the header section, something behind the end", "..x\r\n\r\n.\r\nQUIT\r\n", `
			header section "..x\r\n" field.header-section
				stuffed dot "." field.stuffed-dot
				line ".x" field.not-a-header
			empty line "\r\n" field.empty-line
			final dot "." field.final-dot
			rest "QUIT\r\n" field.rest`},
	{"a boundary that begins like another", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--bb\r\n--b\r\n\r\nx\r\n--b--\r\n.\r\n", `
			header section "Content-Type: multipart/mixed; boundary=b\r\n" field.header-section
				Content-Type "Content-Type: multipart/mixed; boundary=b\r\n" header.content-type
					field-name "Content-Type" field.field-name
					type "multipart" field.media-type
					subtype "mixed" field.media-subtype
					parameter "boundary=b" field.mime-parameter
						attribute "boundary" field.mime-attribute
						value "b" field.mime-value
			empty line "\r\n" field.empty-line
			body "--bb\r\n--b\r\n\r\nx\r\n--b--\r\n" field.body
				preamble "--bb" field.preamble
				boundary "\r\n--b\r\n" field.boundary
				body part "\r\nx" field.body-part
					empty line "\r\n" field.empty-line
					body "x" field.body
				closing boundary "\r\n--b--\r\n" field.closing-boundary
			final dot "." field.final-dot`},
}

func TestMessage(t *testing.T) { run(t, message, brief, messageExamples) }

// By BDAT a dot is a dot.
func TestMessageByBDAT(t *testing.T) {
	raw := "Subject: x\r\n\r\n..\r\n.\r\nmore\r\n"
	fields := dissect.Message([]byte(raw), false)
	check(t, []byte(raw), fields)
	last := fields[len(fields)-1]
	assert.Equal(t, "body", last.Name)
	assert.Equal(t, "..\r\n.\r\nmore\r\n", text([]byte(raw), last))
}

// The boundary of an outer part ends the parts inside of it, whether these were ended or not.
func TestNestedParts(t *testing.T) {
	raw := []byte(forwarded)
	fields := dissect.Message(raw, false)
	check(t, raw, fields)
	var got []string
	for _, f := range fields {
		switch f.Name {
		case "body part", "preamble", "epilogue", "boundary", "closing boundary", "body":
			got = append(got, strings.Repeat(" ", f.Depth)+f.Name+" "+strings.ReplaceAll(text(raw, f), "\r\n", "|"))
		}
	}
	inner := "Content-Type: multipart/alternative; boundary=a||--a|Content-Type: text/plain||--a||html"
	assert.Equal(t, []string{
		"body preamble|--a b||sorry|--a b  |Content-Type: message/rfc822||" + inner + "|--a b--|epilogue|",
		" preamble preamble",
		" boundary |--a b|",
		" body part |sorry",
		"  body sorry",
		" boundary |--a b  |",
		" body part Content-Type: message/rfc822||" + inner,
		"  body " + inner,
		"   body --a|Content-Type: text/plain||--a||html",
		"    boundary --a|",
		"    body part Content-Type: text/plain||",
		"    boundary --a|",
		"    body part |html",
		"     body html",
		" closing boundary |--a b--|",
		" epilogue epilogue|",
	}, got)
}

// Parts in parts are looked for only so deep, and messages in messages too.
func TestNestingIsBounded(t *testing.T) {
	for name, layer := range map[string]string{
		"multipart": "Content-Type: multipart/mixed; boundary=b%\r\n\r\n--b%\r\n",
		"message":   "Content-Type: message/rfc822\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for i := range 100 {
				b.WriteString(strings.ReplaceAll(layer, "%", strings.Repeat("x", i)))
			}
			raw := []byte(b.String())
			fields := dissect.Message(raw, true)
			check(t, raw, fields)
			deepest := 0
			for _, f := range fields {
				deepest = max(deepest, f.Depth)
			}
			assert.Greater(t, deepest, 8)
			assert.Less(t, deepest, 24)
		})
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range append(seedsOf(messageExamples), forwarded) {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, byData bool) { check(t, raw, dissect.Message(raw, byData)) })
}
