// Package dissect takes bytes apart into named fields with their ranges, so
// that a view can show what each byte of a command, a reply, a message, a TLS
// record or an IP packet is.
//
// These functions are pure: no state from one call to the next, no judgement on
// what is allowed. Secrets are named and never shown. The functions never fail:
// what cannot be taken apart is a field too. Every byte belongs to exactly one
// field that has no nested fields, so the leaves side by side are the input.
//
// For programs there is Segment, the headers of a TCP segment, and Flow, which
// follows a connection through its segments: it alone keeps state.
package dissect

import (
	"bytes"
	"strconv"
	"strings"

	"smtpscope/protocol/trace"
)

const (
	// maxFields bounds the work on hostile input; a real reply to EHLO takes
	// about 150. Where it is reached, one field "rest" covers what remains.
	maxFields = 1000
	// maxToken is the longest word that gets an id of its own; the longest that
	// the book knows is shorter.
	maxToken = 64
)

// cutter walks over b from pos to end and notes fields on the way.
type cutter struct {
	b      []byte
	pos    int // the first byte that belongs to no leaf yet
	end    int // where the part in hand ends
	fields []trace.Field
}

// leaf notes the bytes up to to as a field and steps over them. An empty range
// is no field.
func (c *cutter) leaf(depth, to int, name, id, value string) {
	if to <= c.pos {
		return
	}
	c.group(depth, to, name, id, value)
	c.pos = to
}

// group notes a field whose parts follow one level deeper.
func (c *cutter) group(depth, to int, name, id, value string) {
	c.fields = append(c.fields, trace.Field{
		Name: name, Off: int64(c.pos), Len: int64(to - c.pos), Value: value, Depth: depth, Book: id,
	})
}

func (c *cutter) delimiter(depth, to int) {
	c.leaf(depth, to, "delimiter", "field.delimiter", "")
}

func (c *cutter) rest(depth, to int) {
	c.leaf(depth, to, "rest", "field.rest", "")
}

func (c *cutter) full() bool { return len(c.fields) >= maxFields }

// text is what is left of the part in hand.
func (c *cutter) text() []byte { return c.b[c.pos:c.end] }

// spaces steps over white space.
func (c *cutter) spaces(depth int) {
	to := c.pos
	for to < c.end && isSpace(c.b[to]) {
		to++
	}
	var value string
	switch n := to - c.pos; {
	case n == 0:
		return
	case bytes.IndexByte(c.b[c.pos:to], '\t') >= 0:
		value = "white space"
	case n == 1:
		value = "SP"
	default:
		value = strconv.Itoa(n) + " SP"
	}
	c.leaf(depth, to, "delimiter", "field.delimiter", value)
}

// word is where the word at pos ends: at white space or at the end of the part.
func (c *cutter) word() int {
	to := c.pos
	for to < c.end && !isSpace(c.b[to]) {
		to++
	}
	return to
}

// lineEnd steps over the line end, which stands at end and reaches to to.
func (c *cutter) lineEnd(depth, to int) {
	value := "CR LF"
	switch string(c.b[c.end:to]) {
	case "\n":
		value = "LF"
	case "\r":
		value = "CR"
	}
	c.leaf(depth, to, "line end", "field.line-end", value)
}

// trimLineEnd returns where the line end of b starts: CR LF, or a lone CR or LF.
func trimLineEnd(b []byte) int {
	n := len(b)
	if n > 0 && b[n-1] == '\n' {
		n--
		if n > 0 && b[n-1] == '\r' {
			n--
		}
		return n
	}
	if n > 0 && b[n-1] == '\r' {
		n--
	}
	return n
}

// entry is the book's id for a word such as the keyword of an extension. Words
// that no id can hold share one.
func entry[T string | []byte](prefix string, word T) string {
	name := lower([]byte(word))
	if name == "" || len(name) > maxToken || strings.ContainsFunc(name, notInID) {
		name = "other"
	}
	return prefix + name
}

func notInID(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}

// lower folds ASCII letters only: in UTF-8 there are letters that a Unicode
// folding would turn into those of a command.
func lower(b []byte) string {
	out := make([]byte, len(b))
	for i, ch := range b {
		if 'A' <= ch && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		out[i] = ch
	}
	return string(out)
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' }
