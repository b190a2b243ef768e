package smtp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Reply is what the server says (RFC 5321, 4.2).
type Reply struct {
	Code int
	// Enhanced is the status code of RFC 2034 and RFC 3463, zero when there is none that counts.
	Enhanced EnhancedCode
	// Lines is the text of each line behind code and separator, without the line
	// end. It is as the server sent it: show EscapedLines instead.
	Lines []string
	// Oddities are the deviations that were accepted, each once.
	Oddities []Oddity
}

// EnhancedCode is class.subject.detail of RFC 3463, 2.
type EnhancedCode struct{ Class, Subject, Detail int }

// Oddity is a deviation from the grammar of replies that leaves no doubt about
// what is meant.
type Oddity string

const (
	OddityBareLF      Oddity = "bare-lf"           // a line ended by LF alone
	OddityBareCR      Oddity = "bare-cr"           // a CR that ends no line
	OddityNoSeparator Oddity = "no-separator"      // text right behind the code: "250Ok"
	OddityLongLine    Oddity = "long-line"         // over MaxLegalReply octets
	OddityCodeRange   Oddity = "code-range"        // second digit over 5, outside the grammar of 4.2
	OddityControl     Oddity = "control"           // control bytes in the text
	OddityNonASCII    Oddity = "non-ascii"         // text beyond ASCII
	OddityEnhanced    Oddity = "enhanced-mismatch" // an enhanced code whose class contradicts the code; ignored
	OddityKeyword     Oddity = "bad-keyword"       // a line of an EHLO reply that is no extension; ignored
)

// Positive reports a 2yz code: it is done.
func (r *Reply) Positive() bool { return r.Code/100 == 2 }

// Intermediate reports a 3yz code: the server waits for the rest of the command.
func (r *Reply) Intermediate() bool { return r.Code/100 == 3 }

// Temporary reports a 4yz code: the same command may succeed later.
func (r *Reply) Temporary() bool { return r.Code/100 == 4 }

// Permanent reports a 5yz code: the same command will fail again.
func (r *Reply) Permanent() bool { return r.Code/100 == 5 }

// EscapedLines is Lines, each through Escape.
func (r *Reply) EscapedLines() []string {
	lines := make([]string, len(r.Lines))
	for i, l := range r.Lines {
		lines[i] = Escape(l)
	}
	return lines
}

// String is "5.1.1", or "" for the zero code.
func (e EnhancedCode) String() string {
	if e == (EnhancedCode{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", e.Class, e.Subject, e.Detail)
}

// readEnhanced sets Enhanced from the text. The class must repeat the first
// digit of the code, and 3yz has none (RFC 2034, 4).
func (r *Reply) readEnhanced() {
	e, ok := parseEnhanced(r.Lines[0])
	switch {
	case !ok:
	case e.Class == r.Code/100:
		r.Enhanced = e
	default:
		r.Oddities = append(r.Oddities, OddityEnhanced)
	}
}

// parseEnhanced reads the status code at the start of a text: class "2", "4" or
// "5", then two numbers of up to three digits (RFC 3463, 2).
func parseEnhanced(text string) (e EnhancedCode, ok bool) {
	if len(text) < len("2.0.0") || text[1] != '.' || text[0] != '2' && text[0] != '4' && text[0] != '5' {
		return e, false
	}
	word, _, _ := strings.Cut(text[2:], " ")
	subject, detail, _ := strings.Cut(word, ".")
	s, ok1 := parseNumber(subject)
	d, ok2 := parseNumber(detail)
	if !ok1 || !ok2 {
		return e, false
	}
	return EnhancedCode{int(text[0] - '0'), s, d}, true
}

func parseNumber(digits string) (n int, ok bool) {
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return 0, false
		}
		n = n*10 + int(digits[i]-'0')
	}
	return n, 1 <= len(digits) && len(digits) <= 3
}

// Escape makes the text of a server safe for logs, terminals and web pages:
// everything but printable characters becomes \t, \xNN, \uNNNN or \UNNNNNNNN, and
// so does what is not UTF-8. It is for people and is not meant to be undone: a
// backslash stays as it is.
func Escape(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return s[:i] + escape(s[i:])
		}
	}
	return s
}

func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\t':
			b.WriteString(`\t`)
		case r < utf8.RuneSelf && !strconv.IsPrint(r), r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case strconv.IsPrint(r):
			b.WriteString(s[i : i+size])
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += size
	}
	return b.String()
}

// oddities as bits, in the order in which Reply.Oddities lists them.
var oddityBits = [...]Oddity{
	OddityBareLF, OddityBareCR, OddityNoSeparator, OddityLongLine, OddityCodeRange, OddityControl, OddityNonASCII,
}

const (
	bitBareLF = 1 << iota
	bitBareCR
	bitNoSeparator
	bitLongLine
	bitCodeRange
	bitControl
	bitNonASCII
)

// replyParser collects the lines of one reply. Its buffers are used again for
// the next one, so that a line costs no allocation.
type replyParser struct {
	buf   []byte   // the reply so far, as received
	line  int      // where its unfinished line starts
	texts [][2]int // the text of each finished line
	code  int
	odd   int // bits of oddityBits
}

// violation is why bytes are not a reply.
type violation struct {
	cause  Cause
	reason string
	at     int // octets of the reply before the offence
}

// idle reports that no byte of a next reply has come.
func (p *replyParser) idle() bool { return len(p.buf) == 0 }

// feed takes bytes up to the end of a reply and says how many, and whether the
// reply is complete. What it finds does not depend on how the bytes are split.
func (p *replyParser) feed(b []byte) (n int, done bool, bad *violation) {
	for n < len(b) {
		rest := b[n:]
		lf := bytes.IndexByte(rest, '\n')
		if lf >= 0 {
			rest = rest[:lf+1]
		}
		if room := MaxReplyLine - (len(p.buf) - p.line); len(rest) > room {
			rest, lf = rest[:room+1], -1
		}
		p.buf = append(p.buf, rest...)
		n += len(rest)
		if looksLikeTLS(p.buf) {
			return n, false, &violation{CauseTLS, "the server sent a TLS record where a reply was expected: " +
				"this port speaks TLS from the start, as port 465 does (RFC 8314, 3.3)", 0}
		}
		if len(p.buf)-p.line > MaxReplyLine {
			return n, false, &violation{CauseLongLine, fmt.Sprintf("a line of a reply is longer than %d octets, where %d are legal "+
				"(RFC 5321, 4.5.3.1.5): %s", MaxReplyLine, MaxLegalReply, Escape(excerpt(p.buf[p.line:]))), p.line}
		}
		if lf < 0 {
			break
		}
		if done, bad = p.finishLine(); done || bad != nil {
			return n, done, bad
		}
	}
	return n, false, nil
}

// looksLikeTLS reports the head of a TLS record: a content type from
// change_cipher_spec to application_data and major version 3 (RFC 8446, 5.1).
func looksLikeTLS(b []byte) bool {
	return len(b) >= 2 && b[0] >= 0x14 && b[0] <= 0x17 && b[1] == 0x03
}

// finishLine reads the line that is now complete in the buffer.
func (p *replyParser) finishLine() (done bool, bad *violation) {
	line := p.buf[p.line:]
	text := line[:len(line)-1]
	if len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	} else {
		p.odd |= bitBareLF
	}
	if len(line) > MaxLegalReply {
		p.odd |= bitLongLine
	}
	fail := func(cause Cause, format string, args ...any) (bool, *violation) {
		return false, &violation{cause, fmt.Sprintf(format, args...), p.line}
	}

	code, ok := parseCode(text)
	if !ok {
		return fail(CauseNotReply, "a reply starts with a code of three digits from 200 to 599 (RFC 5321, 4.2), but this came: %s",
			Escape(excerpt(text)))
	}
	if len(p.texts) > 0 && code != p.code {
		return fail(CauseMixedCodes, "all lines of a reply have the same code (RFC 5321, 4.2.1), but %d came after %d: %s",
			code, p.code, Escape(excerpt(text)))
	}
	p.code = code
	if text[1] > '5' {
		p.odd |= bitCodeRange
	}

	from, last := p.line+3, true
	if len(text) > 3 {
		switch text[3] {
		case ' ':
			from++
		case '-':
			from++
			last = false
		default:
			p.odd |= bitNoSeparator
		}
	}
	p.texts = append(p.texts, [2]int{from, p.line + len(text)})
	p.odd |= scan(p.buf[from : p.line+len(text)])
	p.line = len(p.buf)

	if last {
		return true, nil
	}
	if len(p.texts) >= MaxReplyLines {
		return fail(CauseLongReply, "the reply goes on after %d lines, the most that this client takes", MaxReplyLines)
	}
	if len(p.buf) > MaxReply {
		return fail(CauseLongReply, "the reply goes on after %d octets, the most that this client takes", MaxReply)
	}
	return false, nil
}

// parseCode reads the code of a line. Servers must not send a first digit other
// than 2 to 5 (RFC 5321, 4.2), and a fourth digit means that it is no code.
func parseCode(line []byte) (code int, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) ||
		len(line) > 3 && isDigit(line[3]) {
		return 0, false
	}
	return int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0'), true
}

// scan finds what is not in textstring = 1*(%d09 / %d32-126) (RFC 5321, 4.2).
func scan(text []byte) (odd int) {
	// Eight octets at a time, as long as all of them are %d32-126.
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		if x := binary.LittleEndian.Uint64(text); (x|(x-' '*each)|(x+each))&high != 0 {
			break
		}
	}
	for _, b := range text {
		if b-' ' < 0x7f-' ' || b == '\t' {
			continue
		}
		switch {
		case b >= 0x80:
			odd |= bitNonASCII
		case b == '\r':
			odd |= bitBareCR
		default:
			odd |= bitControl
		}
	}
	return odd
}

// take hands out the complete reply and starts over. All texts share one string;
// they lie in room where there is enough of it.
func (p *replyParser) take(r *Reply, room []string) {
	r.Code = p.code
	if r.Lines = room[:min(len(p.texts), len(room))]; len(p.texts) > len(room) {
		r.Lines = make([]string, len(p.texts))
	}
	all := string(p.buf)
	for i, t := range p.texts {
		r.Lines[i] = all[t[0]:t[1]]
	}
	if p.odd != 0 {
		for i, o := range oddityBits {
			if p.odd&(1<<i) != 0 {
				r.Oddities = append(r.Oddities, o)
			}
		}
	}
	p.buf, p.texts, p.line, p.odd = p.buf[:0], p.texts[:0], 0, 0
}
