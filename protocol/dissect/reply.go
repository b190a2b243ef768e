package dissect

import (
	"bytes"

	"smtpscope/protocol/trace"
)

// Reply takes apart a reply of one or more lines.
func Reply(raw []byte) []trace.Field {
	return lines(raw, func(c *cutter, code, _ int) { replyText(c, code) })
}

// EHLOReply takes apart the reply to EHLO: after its first line, each line names
// an extension (RFC 5321, 4.1.1.1). A refusal is taken apart as any other reply.
func EHLOReply(raw []byte) []trace.Field {
	return lines(raw, func(c *cutter, code, line int) {
		switch {
		case code != 250:
			replyText(c, code)
		case line == 0:
			c.leaf(0, c.word(), "domain", "field.server-domain", "")
			c.spaces(0)
			c.leaf(0, c.end, "ehlo-greet", "field.greet", "")
		default:
			ehloLine(c)
		}
	})
}

// lines calls text for the text of each line, between separator and line end.
func lines(raw []byte, text func(c *cutter, code, line int)) []trace.Field {
	c := &cutter{b: raw}
	for line := 0; c.pos < len(raw); line++ {
		if c.full() {
			c.rest(0, len(raw))
			break
		}
		to := len(raw)
		if n := bytes.IndexByte(raw[c.pos:], '\n'); n >= 0 {
			to = c.pos + n + 1
		}
		c.end = c.pos + trimLineEnd(raw[c.pos:to])
		if code := replyCode(c.text()); code < 0 {
			c.leaf(0, c.end, "line", "field.not-a-reply", "")
		} else {
			c.leaf(0, c.pos+3, "reply-code", "reply."+string(c.text()[:3]), "")
			separator(c)
			text(c, code, line)
		}
		c.lineEnd(0, to)
	}
	return c.fields
}

// replyCode returns the three digits that b starts with, or -1.
func replyCode(b []byte) int {
	if len(b) < 3 {
		return -1
	}
	code := 0
	for _, ch := range b[:3] {
		if !isDigit(ch) {
			return -1
		}
		code = code*10 + int(ch-'0')
	}
	return code
}

// separator may be missing: "250Text" is wrong, and seen.
func separator(c *cutter) {
	if c.pos == c.end {
		return
	}
	switch c.b[c.pos] {
	case '-':
		c.leaf(0, c.pos+1, "separator", "field.separator", "another line follows")
	case ' ':
		c.leaf(0, c.pos+1, "separator", "field.separator", "last line")
	}
}

func replyText(c *cutter, code int) {
	if code == 334 {
		c.leaf(0, c.end, "challenge", "field.challenge", "")
		return
	}
	enhancedCode(c, code)
	c.leaf(0, c.end, "text", "field.text", "")
}

// enhancedCode takes apart a code such as 5.1.1 at the start of the text. It
// must agree with the reply code (RFC 2034); one that does not is left whole.
func enhancedCode(c *cutter, code int) {
	b := c.text()
	if len(b) < 2 || b[0] != '2' && b[0] != '4' && b[0] != '5' || b[1] != '.' {
		return
	}
	subject := digits(b[2:])
	if subject == 0 || len(b) < 3+subject || b[2+subject] != '.' {
		return
	}
	detail := digits(b[3+subject:])
	n := 3 + subject + detail
	if detail == 0 || n < len(b) && b[n] != ' ' {
		return
	}
	to := c.pos + n
	if int(b[0]-'0') != code/100 {
		c.leaf(0, to, "enhanced-code", "field.enhanced-mismatch", "")
	} else {
		id := "enhanced." + string(b[:n])
		c.group(0, to, "enhanced-code", id, "")
		c.leaf(1, c.pos+1, "class", entry("enhanced.class.", b[:1]), "")
		c.delimiter(1, c.pos+1)
		c.leaf(1, c.pos+subject, "subject", entry("enhanced.subject.", b[2:2+subject]), "")
		c.delimiter(1, c.pos+1)
		c.leaf(1, to, "detail", id, "")
	}
	c.spaces(0)
}

// digits returns how many digits b starts with, or 0 when there are more than
// the three that RFC 3463, 2 allows.
func digits(b []byte) int {
	n := 0
	for n < len(b) && isDigit(b[n]) {
		n++
		if n > 3 {
			return 0
		}
	}
	return n
}

// ehloLine takes apart a keyword and its parameters.
func ehloLine(c *cutter) {
	to := c.word()
	name := c.b[c.pos:to]
	// "AUTH=PLAIN LOGIN" is an old form that some servers still show.
	if len(name) >= 5 && lower(name[:5]) == "auth=" {
		name = name[:4]
	}
	auth := lower(name) == "auth"
	c.leaf(0, c.pos+len(name), "ehlo-keyword", entry("keyword.", name), "")
	if c.pos < to {
		c.delimiter(0, c.pos+1)
	}
	for c.pos < c.end {
		if c.full() {
			c.rest(0, c.end)
			return
		}
		c.spaces(0)
		if auth {
			mechanism(c, c.word())
		} else {
			c.leaf(0, c.word(), "ehlo-param", "field.ehlo-param", "")
		}
	}
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
