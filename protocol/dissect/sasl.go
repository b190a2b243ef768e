package dissect

import (
	"bytes"
	"encoding/base64"
	"strings"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// hidden stands for a secret, whatever it is and however long.
const hidden = "••••••••"

// Response takes apart a line of the client in an exchange of a SASL mechanism
// (RFC 4954, 4). The initial response has number 0, also where it follows AUTH on
// its line. Secrets are named and never shown.
func Response(mechanism string, number int, line []byte) []trace.Field {
	c := &cutter{b: line, end: trimLineEnd(line)}
	if string(c.text()) == "*" {
		c.leaf(0, c.end, "cancel", "field.cancel", "")
	}
	c.encoded(c.end, "response", "field.response", responseParts(mechanism, number))
	c.lineEnd(0, len(line))
	return c.fields
}

// Challenge takes apart a reply with code 334 in an exchange of a SASL mechanism.
func Challenge(mechanism string, raw []byte) []trace.Field {
	return lines(raw, func(c *cutter, code, _ int) {
		if code == 334 {
			c.encoded(c.end, "challenge", "field.challenge", challengeParts(mechanism))
		}
		replyText(c, code)
	})
}

// encoded takes apart the base64 up to to: what it says is laid over the
// characters that hold it. A character that holds bits of two parts goes to the
// first of them.
func (c *cutter) encoded(to int, name, id string, parts func(*cutter)) {
	text := c.b[c.pos:to]
	if string(text) == "=" {
		c.leaf(0, to, name, id, "empty")
	}
	clear := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(clear, text)
	if parts == nil || err != nil || n == 0 || bytes.IndexByte(text, '\r') >= 0 {
		c.leaf(0, to, name, id, "")
		return
	}
	in := &cutter{b: clear[:n], end: n}
	parts(in)
	in.leaf(0, n, "rest", "field.rest", hidden)

	start := c.pos
	at := func(octet int64) int {
		if octet == int64(n) {
			return to // with what fills the last group
		}
		return start + (4*int(octet)+2)/3
	}
	c.group(0, to, name, id, "")
	for _, f := range in.fields {
		c.pos = at(f.Off)
		c.group(f.Depth+1, at(f.Off+f.Len), f.Name, f.Book, f.Value)
	}
	c.pos = to
}

// responseParts says how what the client sends is taken apart, nil where nobody knows.
func responseParts(mechanism string, number int) func(*cutter) {
	mechanism = strings.ToUpper(mechanism)
	switch {
	case strings.HasPrefix(mechanism, "SCRAM-") && number == 0: // RFC 5802, 7
		return func(c *cutter) {
			c.gs2Header()
			c.attributes()
		}
	case strings.HasPrefix(mechanism, "SCRAM-"):
		return (*cutter).attributes
	case mechanism == "XOAUTH2":
		return (*cutter).pairs
	case mechanism == "OAUTHBEARER": // RFC 7628, 3.1
		return func(c *cutter) {
			if number == 0 {
				c.gs2Header()
			}
			c.pairs()
		}
	case mechanism == "LOGIN" && number > 0:
		return func(c *cutter) { c.leaf(0, c.end, "password", "field.password", hidden) }
	case number > 0:
		return nil
	}
	switch mechanism {
	case "PLAIN":
		return (*cutter).plain
	case "LOGIN":
		return func(c *cutter) { c.shown(c.end, "user name", "field.username") }
	case "CRAM-MD5": // RFC 2195, 2
		return func(c *cutter) {
			if space := bytes.LastIndexByte(c.b, ' '); space >= 0 {
				c.shown(space, "user name", "field.username")
				c.spaces(0)
				c.leaf(0, c.end, "digest", "field.digest", hidden)
			}
		}
	case "EXTERNAL": // RFC 4422, A
		return func(c *cutter) { c.shown(c.end, "authzid", "field.authzid") }
	case "ANONYMOUS": // RFC 4505, 2
		return func(c *cutter) { c.shown(c.end, "trace information", "field.trace-information") }
	}
	return nil
}

// challengeParts is the same for what the server sends.
func challengeParts(mechanism string) func(*cutter) {
	mechanism = strings.ToUpper(mechanism)
	switch {
	case strings.HasPrefix(mechanism, "SCRAM-"):
		return (*cutter).attributes
	case mechanism == "LOGIN":
		return func(c *cutter) { c.shown(c.end, "prompt", "field.prompt") }
	case mechanism == "CRAM-MD5":
		return func(c *cutter) { c.shown(c.end, "message identifier", "field.sasl-challenge") }
	case mechanism == "XOAUTH2", mechanism == "OAUTHBEARER": // RFC 7628, 3.2.2
		return func(c *cutter) { c.shown(c.end, "error", "field.sasl-error") }
	}
	return nil
}

// shown notes the octets up to to, which base64 hides from the eye, as text.
func (c *cutter) shown(to int, name, id string) {
	c.leaf(0, to, name, id, smtp.Escape(string(c.b[c.pos:to])))
}

// mark steps over the octet that separates two parts.
func (c *cutter) mark() {
	if c.pos < c.end {
		c.leaf(0, c.pos+1, "delimiter", "field.delimiter", smtp.Escape(string(c.b[c.pos:c.pos+1])))
	}
}

// until is where the next octet b stands, or the end.
func (c *cutter) until(b byte) int {
	if n := bytes.IndexByte(c.text(), b); n >= 0 {
		return c.pos + n
	}
	return c.end
}

// plain takes apart the message of PLAIN (RFC 4616, 2).
func (c *cutter) plain() {
	if bytes.Count(c.b, []byte{0}) < 2 {
		return
	}
	c.shown(c.until(0), "authzid", "field.authzid")
	c.mark()
	c.shown(c.until(0), "authcid", "field.username")
	c.mark()
	c.leaf(0, c.end, "password", "field.password", hidden)
}

// gs2Header takes apart what precedes the message of a mechanism that may be bound
// to the channel (RFC 5801, 4).
func (c *cutter) gs2Header() {
	flag := c.until(',')
	if flag == c.end {
		return
	}
	c.shown(flag, "gs2-cb-flag", "field.gs2-cb-flag")
	c.mark()
	c.shown(c.until(','), "gs2-authzid", "field.authzid")
	c.mark()
}

// attributeName is what a letter of SCRAM stands for (RFC 5802, 5.1). Who has the proof
// or the verifier besides the rest can try passwords.
func attributeName(letter byte) (name, id string, secret bool) {
	switch letter {
	case 'a':
		return "authzid", "field.authzid", false
	case 'c':
		return "channel-binding", "field.channel-binding", false
	case 'e':
		return "server-error", "field.sasl-error", false
	case 'i':
		return "iteration-count", "field.iteration-count", false
	case 'n':
		return "username", "field.username", false
	case 'p':
		return "proof", "field.proof", true
	case 'r':
		return "nonce", "field.nonce", false
	case 's':
		return "salt", "field.salt", false
	case 'v':
		return "verifier", "field.verifier", true
	}
	return "attribute", "field.attribute", true
}

func (c *cutter) attributes() {
	for c.pos < c.end && !c.full() {
		to := c.until(',')
		b := c.b[c.pos:to]
		var letter byte
		if len(b) >= 2 && b[1] == '=' {
			letter = b[0]
		}
		name, id, secret := attributeName(letter)
		value := hidden
		if !secret {
			value = smtp.Escape(string(b))
		}
		c.leaf(0, to, name, id, value)
		c.mark()
	}
}

// pairs takes apart keys and values that octets 1 separate (RFC 7628, 3.1). Of those
// that are not known, nothing is shown.
func (c *cutter) pairs() {
	const separator = '\x01'
	for c.pos < c.end && !c.full() {
		to := c.until(separator)
		key, value, _ := bytes.Cut(c.b[c.pos:to], []byte("="))
		switch string(key) {
		case "user":
			c.leaf(0, to, "user", "field.username", smtp.Escape(string(value)))
		case "host":
			c.leaf(0, to, "host", "field.host", smtp.Escape(string(value)))
		case "port":
			c.leaf(0, to, "port", "field.port", smtp.Escape(string(value)))
		case "auth":
			c.leaf(0, to, "auth", "field.token", hidden)
		default:
			c.leaf(0, to, "pair", "field.pair", hidden)
		}
		c.mark()
	}
}
