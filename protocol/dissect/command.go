package dissect

import (
	"bytes"

	"smtpscope/protocol/trace"
)

// Command takes apart one command line, its line end included.
func Command(line []byte) []trace.Field {
	c := &cutter{b: line, end: trimLineEnd(line)}
	verbEnd := c.word()
	var verb string
	if verbEnd <= maxToken {
		verb = lower(line[:verbEnd])
	}
	if arguments(c, verb) {
		c.leaf(0, c.end, "argument", "field.unexpected", "")
	}
	c.leaf(0, c.end, "line", "command.other", "")
	c.lineEnd(0, len(line))
	return c.fields
}

// arguments takes apart those of a command, if there should be any. It is false
// where nobody knows the verb, and nothing is noted then.
func arguments(c *cutter, verb string) bool {
	take := argument
	switch verb {
	case "auth":
		take = authArguments
	case "bdat":
		take = chunk
	case "ehlo", "helo", "lhlo":
		take = clientName
	case "mail":
		take = func(c *cutter) { path(c, "from:", "reverse-path") }
	case "rcpt":
		take = func(c *cutter) { path(c, "to:", "forward-path") }
	case "xclient", "xforward":
		take = parameters
	case "etrn", "expn", "help", "noop", "vrfy":
	case "data", "quit", "rset", "starttls":
		take = func(*cutter) {}
	default:
		return false
	}
	c.leaf(0, c.pos+len(verb), "verb", "command."+verb, "")
	c.spaces(0)
	take(c)
	return true
}

// chunk takes apart the arguments of BDAT (RFC 3030, 2).
func chunk(c *cutter) {
	c.leaf(0, c.word(), "chunk-size", "field.chunk-size", "")
	c.spaces(0)
	c.leaf(0, c.word(), "end-marker", "field.keyword", "")
	c.spaces(0)
}

func argument(c *cutter) {
	c.leaf(0, c.end, "argument", "field.argument", "")
}

func clientName(c *cutter) {
	domain(c, 0, c.word())
	c.spaces(0)
}

func authArguments(c *cutter) {
	name := string(c.b[c.pos:c.word()])
	mechanism(c, c.word())
	c.spaces(0)
	c.encoded(c.word(), "initial-response", "field.initial-response", responseParts(name, 0))
	c.spaces(0)
}

func mechanism(c *cutter, to int) {
	c.leaf(0, to, "mechanism", entry("mechanism.", c.b[c.pos:to]), "")
}

func domain(c *cutter, depth, to int) {
	if c.pos < to && c.b[c.pos] == '[' {
		c.leaf(depth, to, "address-literal", "field.address-literal", "")
	}
	c.leaf(depth, to, "domain", "field.domain", "")
}

// path takes apart the arguments of MAIL and RCPT; keyword is in lower case. It
// accepts what is wrong but seen: a space after the colon, no brackets.
func path(c *cutter, keyword, name string) {
	n := len(keyword)
	if len(c.text()) < n || lower(c.text()[:n]) != keyword {
		return
	}
	c.leaf(0, c.pos+n, "keyword", "field.keyword", "")
	c.spaces(0)
	to := c.pos + pathLen(c.text())
	switch {
	case name == "reverse-path" && string(c.b[c.pos:to]) == "<>":
		c.leaf(0, to, name, "field.null-path", "null")
	case to > c.pos:
		c.group(0, to, name, "field."+name, "")
		address(c, 1, to)
	}
	parameters(c)
}

func parameters(c *cutter) {
	for c.pos < c.end {
		if c.full() {
			c.rest(0, c.end)
			return
		}
		c.spaces(0)
		parameter(c)
	}
}

// address takes apart the path or address up to to, brackets included.
func address(c *cutter, depth, to int) {
	inner := to
	if c.b[c.pos] == '<' {
		c.delimiter(depth, c.pos+1)
		if inner > c.pos && c.b[inner-1] == '>' {
			inner--
		}
	}
	c.leaf(depth, c.pos+sourceRouteLen(c.b[c.pos:inner]), "source-route", "field.source-route", "")
	if at := lastAt(c.b[c.pos:inner]); at >= 0 {
		at += c.pos
		c.leaf(depth, at, "local-part", "field.local-part", "")
		c.delimiter(depth, at+1)
		domain(c, depth, inner)
	} else {
		// RCPT TO:<Postmaster> has no domain and is legal (RFC 5321, 4.1.1.3).
		c.leaf(depth, inner, "local-part", "field.local-part", "")
	}
	c.delimiter(depth, to)
}

func parameter(c *cutter) {
	to := c.word()
	equals := bytes.IndexByte(c.b[c.pos:to], '=')
	if equals < 0 {
		c.leaf(0, to, "esmtp-param", entry("param.", c.b[c.pos:to]), "")
		return
	}
	keyword := c.b[c.pos : c.pos+equals]
	c.group(0, to, "esmtp-param", entry("param.", keyword), "")
	c.leaf(1, c.pos+equals, "esmtp-keyword", "field.esmtp-keyword", "")
	c.delimiter(1, c.pos+1)
	c.leaf(1, to, "esmtp-value", "field.esmtp-value", "")
}

// pathLen returns the length of the path that b starts with. Brackets and
// spaces in a quoted local-part do not end it (RFC 5321, 4.1.2).
func pathLen(b []byte) int {
	bracketed := len(b) > 0 && b[0] == '<'
	n := unquotedIndex(b, func(ch byte) bool {
		if bracketed {
			return ch == '>'
		}
		return isSpace(ch)
	})
	switch {
	case n >= 0 && bracketed:
		return n + 1
	case n >= 0:
		return n
	case !bracketed:
		return len(b)
	}
	if n = bytes.IndexByte(b, '>'); n >= 0 {
		return n + 1
	}
	if n = bytes.IndexByte(b, ' '); n >= 0 {
		return n
	}
	return len(b)
}

// sourceRouteLen returns the length of "@a,@b:" at the start of b. A colon
// inside an address literal does not end it.
func sourceRouteLen(b []byte) int {
	if len(b) == 0 || b[0] != '@' {
		return 0
	}
	literal := false
	for i, ch := range b {
		switch ch {
		case '[':
			literal = true
		case ']':
			literal = false
		case ':':
			if !literal {
				return i + 1
			}
		}
	}
	return 0
}

// lastAt returns the index of the last @ outside quotes, or -1.
func lastAt(b []byte) int {
	last := -1
	unquotedScan(b, func(i int, ch byte) bool {
		if ch == '@' {
			last = i
		}
		return true
	})
	return last
}

func unquotedIndex(b []byte, match func(byte) bool) int {
	found := -1
	unquotedScan(b, func(i int, ch byte) bool {
		if match(ch) {
			found = i
		}
		return found < 0
	})
	return found
}

// unquotedScan calls visit for each byte outside a quoted string until visit
// returns false. A backslash in a quoted string takes the meaning from the byte
// after it (RFC 5321, 4.1.2, quoted-pairSMTP).
func unquotedScan(b []byte, visit func(i int, ch byte) bool) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch {
		case quoted && b[i] == '\\':
			i++
		case b[i] == '"':
			quoted = !quoted
		case !quoted && !visit(i, b[i]):
			return
		}
	}
}
