package dissect

import (
	"bytes"
	"slices"

	"smtpscope/protocol/trace"
)

// maxNesting is how deep parts are looked for in parts; forwarded bounces reach about five.
const maxNesting = 8

// Message takes apart a message, or as much of its beginning as there is: the header
// section (RFC 5322, 2.2) and the structure of MIME (RFC 2046, 5). One that was
// sent by DATA has a second dot in front of lines that begin with one, and ends with a
// line that is a dot (RFC 5321, 4.5.2); one that was sent by BDAT has neither.
func Message(raw []byte, byData bool) []trace.Field {
	m := &mimeMessage{cutter: cutter{b: raw, end: len(raw)}, byData: byData}
	m.entity(0)
	if to := m.nextLine(m.pos); m.isFinal(m.b[m.pos:to]) {
		m.leaf(0, m.pos+1, "final dot", "field.final-dot", "")
		m.end = m.pos
		m.lineEnd(0, to)
	}
	m.rest(0, len(raw))
	return m.fields
}

type mimeMessage struct {
	cutter
	byData bool
	// boundaries are those of the parts in hand, the outermost first.
	boundaries []string
	nesting    int
}

// begin notes a field that ends where finish is called for it, or not at all when
// nothing was noted in between.
func (m *mimeMessage) begin(depth int, name, id string) int {
	m.group(depth, m.pos, name, id, "")
	return len(m.fields) - 1
}

func (m *mimeMessage) finish(field int) {
	f := &m.fields[field]
	if f.Len = int64(m.pos) - f.Off; f.Len == 0 {
		m.fields = m.fields[:field]
	}
}

// entity takes apart a header section and the body that it describes.
func (m *mimeMessage) entity(depth int) {
	content := m.headerSection(depth)
	if n := lineBreak(m.b[m.pos:]); n > 0 {
		m.leaf(depth, m.pos+n, "empty line", "field.empty-line", "")
	}
	switch {
	case m.nesting == maxNesting:
		m.run(depth, "body", "field.body")
	case content.kind == "multipart" && content.boundary != "":
		m.nesting++
		m.multipart(depth, content.boundary)
		m.nesting--
	case content.kind == "message" && (content.subtype == "rfc822" || content.subtype == "global"):
		m.nesting++
		body := m.begin(depth, "body", "field.body")
		m.entity(depth + 1)
		m.finish(body)
		m.nesting--
	default:
		m.run(depth, "body", "field.body")
	}
}

func (m *mimeMessage) headerSection(depth int) (content contentType) {
	section := m.begin(depth, "header section", "field.header-section")
	for m.pos < len(m.b) && !m.full() {
		to := m.nextLine(m.pos)
		line := m.b[m.pos:to]
		if lineBreak(line) > 0 || m.isFinal(line) || m.delimits(line) >= 0 {
			break
		}
		for to < len(m.b) && isSpace(m.b[to]) { // folded (RFC 5322, 2.2.3)
			to = m.nextLine(to)
		}
		m.field(depth+1, to, &content)
	}
	m.finish(section)
	return content
}

// multipart takes apart a body of parts (RFC 2046, 5.1.1).
func (m *mimeMessage) multipart(depth int, boundary string) {
	body := m.begin(depth, "body", "field.body")
	level := len(m.boundaries)
	m.boundaries = append(m.boundaries, boundary)
	m.run(depth+1, "preamble", "field.preamble")
	over := false
	for !over && !m.full() {
		// The line end before the boundary belongs to it.
		start := m.pos + lineBreak(m.b[m.pos:])
		to := m.nextLine(start)
		if m.delimits(m.b[start:to]) != level {
			break
		}
		line := bytes.TrimRight(m.b[start:to], " \t\r\n")
		if over = len(line) > len("--")+len(boundary); over {
			m.leaf(depth+1, to, "closing boundary", "field.closing-boundary", "")
			break
		}
		m.leaf(depth+1, to, "boundary", "field.boundary", "")
		part := m.begin(depth+1, "body part", "field.body-part")
		m.entity(depth + 2)
		m.finish(part)
	}
	m.boundaries = m.boundaries[:level]
	if over {
		m.run(depth+1, "epilogue", "field.epilogue")
	}
	m.finish(body)
}

// run notes everything up to the next boundary, the final dot or the end. Dots that
// were stuffed are not part of it.
func (m *mimeMessage) run(depth int, name, id string) {
	if m.full() {
		return
	}
	var dots []int
	to, delimiter := m.pos, false
	for to < len(m.b) {
		next := m.nextLine(to)
		line := m.b[to:next]
		if delimiter = m.delimits(line) >= 0; delimiter || m.isFinal(line) {
			break
		}
		if m.byData && line[0] == '.' && len(dots) < maxFields {
			dots = append(dots, to)
		}
		to = next
	}
	if delimiter {
		to = m.pos + trimLineEnd(m.b[m.pos:to])
	}
	if len(dots) == 0 {
		m.leaf(depth, to, name, id, "")
		return
	}
	m.group(depth, to, name, id, plural(len(dots), "stuffed dot"))
	for _, dot := range dots {
		if m.full() {
			m.rest(depth+1, to)
			return
		}
		m.leaf(depth+1, dot, "text", "field.body", "")
		m.stuffedDot(depth + 1)
	}
	m.leaf(depth+1, to, "text", "field.body", "")
}

func (m *mimeMessage) stuffedDot(depth int) {
	m.leaf(depth, m.pos+1, "stuffed dot", "field.stuffed-dot", "")
}

// isFinal tells the line that ends the message.
func (m *mimeMessage) isFinal(line []byte) bool { return m.byData && string(line) == ".\r\n" }

// delimits is the level of the part that a line is a boundary of, or -1.
func (m *mimeMessage) delimits(line []byte) int {
	if len(m.boundaries) == 0 || !bytes.HasPrefix(line, []byte("--")) {
		return -1
	}
	name := string(bytes.TrimRight(line[2:], " \t\r\n"))
	return slices.IndexFunc(m.boundaries, func(b string) bool { return name == b || name == b+"--" })
}

// nextLine is where the line behind the one at pos begins.
func (m *mimeMessage) nextLine(pos int) int {
	if n := bytes.IndexByte(m.b[pos:], '\n'); n >= 0 {
		return pos + n + 1
	}
	return len(m.b)
}

// lineBreak is the length of the line end that b begins with.
func lineBreak(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte("\r\n")):
		return 2
	case bytes.HasPrefix(b, []byte("\n")):
		return 1
	}
	return 0
}
