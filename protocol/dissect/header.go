package dissect

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"smtpscope/protocol/smtp"
)

// contentType is what Content-Type says of a body (RFC 2045, 5.1).
type contentType struct{ kind, subtype, boundary string }

// field takes apart a header field that reaches to to.
func (m *mimeMessage) field(depth, to int, content *contentType) {
	if m.byData && m.b[m.pos] == '.' {
		m.stuffedDot(depth)
	}
	m.end = m.pos + trimLineEnd(m.b[m.pos:to])
	name := m.fieldName()
	if name == nil {
		m.leaf(depth, m.end, "line", "field.not-a-header", "")
		m.lineEnd(depth, to)
		m.end = len(m.b)
		return
	}
	m.group(depth, to, string(name), entry("header.", name), "")
	depth++
	m.leaf(depth, m.pos+len(name), "field-name", "field.field-name", "")
	m.spaces(depth)
	m.delimiter(depth, m.pos+1)
	m.folding(depth)
	switch strings.TrimPrefix(lower(name), "resent-") {
	case "from", "to", "cc", "bcc", "sender", "reply-to":
		m.addresses(depth)
	case "received":
		m.received(depth)
	case "content-type":
		*content = m.contentType(depth)
	case "content-disposition":
		m.leaf(depth, m.tokenEnd(), "disposition-type", "field.disposition-type", "")
		m.parameters(depth)
	case "content-transfer-encoding":
		m.leaf(depth, m.tokenEnd(), "mechanism", "field.transfer-encoding", "")
	case "date":
		m.leaf(depth, m.end, "date-time", "field.date-time", "")
	case "message-id", "in-reply-to", "references", "content-id":
		m.messageIDs(depth)
	}
	if m.full() {
		m.rest(depth, m.end)
	}
	m.leaf(depth, m.end, "unstructured", "field.unstructured", readable(m.b[m.pos:m.end]))
	m.lineEnd(depth, to)
	m.end = len(m.b)
}

// fieldName is the name in front of the colon, or nil (RFC 5322, 2.2).
func (m *mimeMessage) fieldName() []byte {
	name, _, ok := bytes.Cut(m.b[m.pos:m.end], []byte(":"))
	name = bytes.TrimRight(name, " \t") // allowed of old (RFC 5322, 4.5)
	if !ok || len(name) == 0 || len(name) > maxToken || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil
	}
	return name
}

const blanks = " \t\r\n"

// folding steps over white space, also where it goes on in the next line.
func (m *mimeMessage) folding(depth int) {
	rest := bytes.TrimLeft(m.b[m.pos:m.end], blanks)
	to := m.end - len(rest)
	if bytes.IndexByte(m.b[m.pos:to], '\n') < 0 {
		m.spaces(depth)
	}
	m.leaf(depth, to, "delimiter", "field.folding", "folding white space")
}

// comments steps over white space and comments (RFC 5322, 3.2.2).
func (m *mimeMessage) comments(depth int) {
	for m.folding(depth); m.pos < m.end && m.b[m.pos] == '(' && !m.full(); m.folding(depth) {
		m.leaf(depth, m.commentEnd(m.pos), "comment", "field.comment", "")
	}
}

// commentEnd is where the comment at pos ends.
func (m *mimeMessage) commentEnd(pos int) int {
	for open := 0; pos < m.end; pos++ {
		switch m.b[pos] {
		case '\\':
			pos++
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				return pos + 1
			}
		}
	}
	return m.end
}

// next is where the first of some characters stands, outside of quoted strings,
// comments and angle brackets, or the end.
func (m *mimeMessage) next(characters string) int {
	closed := true // as far as is known, there is a > further on
	for pos := m.pos; pos < m.end; pos++ {
		ch := m.b[pos]
		if strings.IndexByte(characters, ch) >= 0 {
			return pos
		}
		switch ch {
		case '"':
			for pos++; pos < m.end && m.b[pos] != '"'; pos++ {
				if m.b[pos] == '\\' {
					pos++
				}
			}
		case '(':
			pos = m.commentEnd(pos) - 1
		case '<':
			if !closed {
				break
			}
			n := bytes.IndexByte(m.b[pos:m.end], '>')
			if closed = n >= 0; closed {
				pos += n
			}
		}
	}
	return m.end
}

func (m *mimeMessage) tokenEnd() int { return m.next(blanks + ";(") }

// addresses takes apart a list of mailboxes, which may stand in groups (RFC 5322, 3.4).
func (m *mimeMessage) addresses(depth int) {
	for m.comments(depth); m.pos < m.end && !m.full(); m.comments(depth) {
		switch to := m.next(",;:"); {
		case to == m.pos:
			m.delimiter(depth, to+1)
		case to < m.end && m.b[to] == ':':
			m.leaf(depth, to, "group name", "field.group-name", readable(m.b[m.pos:to]))
		default:
			m.mailbox(depth, m.pos+len(bytes.TrimRight(m.b[m.pos:to], blanks)))
		}
	}
}

func (m *mimeMessage) mailbox(depth, to int) {
	outer := m.end
	m.end = to
	m.group(depth, to, "mailbox", "field.mailbox", "")
	depth++
	if angle := m.next("<"); angle < to {
		name := bytes.TrimRight(m.b[m.pos:angle], blanks)
		m.leaf(depth, m.pos+len(name), "display-name", "field.display-name", readable(name))
		m.folding(depth)
		address(&m.cutter, depth, m.pos+pathLen(m.b[m.pos:to]))
	} else {
		address(&m.cutter, depth, m.next(blanks+"("))
	}
	m.comments(depth)
	m.rest(depth, to)
	m.end = outer
}

// clauseValue is what the value of a clause of Received is, "" where that is no
// clause (RFC 5321, 4.4).
func clauseValue(keyword string) (name, id string) {
	switch keyword {
	case "from", "by":
		return "domain", "field.domain"
	case "via":
		return "link", "field.link"
	case "with":
		return "protocol", "field.received-protocol"
	case "id":
		return "string", "field.queue-id"
	case "for":
		return "path", "field.forward-path"
	}
	return "", ""
}

func (m *mimeMessage) received(depth int) {
	for m.comments(depth); m.pos < m.end && !m.full(); m.comments(depth) {
		if m.b[m.pos] == ';' {
			m.delimiter(depth, m.pos+1)
			m.folding(depth)
			m.leaf(depth, m.end, "date-time", "field.date-time", "")
			return
		}
		to := m.tokenEnd()
		keyword := lower(m.b[m.pos:to])
		value, id := clauseValue(keyword)
		if value == "" {
			m.leaf(depth, to, "word", "field.unexpected", "")
			continue
		}
		clause := m.begin(depth, keyword, "field.received-"+keyword)
		m.leaf(depth+1, to, "keyword", "field.keyword", "")
		m.folding(depth + 1)
		m.leaf(depth+1, m.tokenEnd(), value, id, "")
		m.comments(depth + 1)
		m.finish(clause)
	}
}

func (m *mimeMessage) contentType(depth int) (content contentType) {
	to := m.tokenEnd()
	kind, subtype, ok := bytes.Cut(m.b[m.pos:to], []byte("/"))
	content = contentType{kind: lower(kind), subtype: lower(subtype)}
	m.leaf(depth, m.pos+len(kind), "type", "field.media-type", "")
	if ok {
		m.delimiter(depth, m.pos+1)
	}
	m.leaf(depth, to, "subtype", "field.media-subtype", "")
	content.boundary = m.parameters(depth)
	return content
}

// parameters takes apart those of a MIME field, and returns the boundary if it is one of them.
func (m *mimeMessage) parameters(depth int) (boundary string) {
	for m.comments(depth); m.pos < m.end && m.b[m.pos] == ';' && !m.full(); m.comments(depth) {
		m.delimiter(depth, m.pos+1)
		m.comments(depth)
		to := m.next(";")
		to = m.pos + len(bytes.TrimRight(m.b[m.pos:to], blanks))
		if to == m.pos {
			continue
		}
		m.group(depth, to, "parameter", "field.mime-parameter", "")
		attribute, text, ok := bytes.Cut(m.b[m.pos:to], []byte("="))
		m.leaf(depth+1, m.pos+len(attribute), "attribute", "field.mime-attribute", "")
		if ok {
			m.delimiter(depth+1, m.pos+1)
		}
		value := unquoted(text)
		if lower(attribute) == "boundary" {
			boundary = value
		}
		if value == string(text) {
			value = ""
		}
		m.leaf(depth+1, to, "value", "field.mime-value", smtp.Escape(value))
	}
	return boundary
}

func (m *mimeMessage) messageIDs(depth int) {
	for m.comments(depth); m.pos < m.end && m.b[m.pos] == '<' && !m.full(); m.comments(depth) {
		to := m.pos + pathLen(m.b[m.pos:m.end])
		m.group(depth, to, "msg-id", "field.msg-id", "")
		m.delimiter(depth+1, m.pos+1)
		if at := bytes.IndexByte(m.b[m.pos:to], '@'); at >= 0 {
			m.leaf(depth+1, m.pos+at, "id-left", "field.id-left", "")
			m.delimiter(depth+1, m.pos+1)
		}
		inner := to
		if m.b[to-1] == '>' {
			inner--
		}
		m.leaf(depth+1, inner, "id-right", "field.id-right", "")
		m.delimiter(depth+1, to)
	}
}

// unquoted is what a quoted string says, or b where it is none.
func unquoted(b []byte) string {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return string(b)
	}
	var out []byte
	for i := 1; i < len(b)-1; i++ {
		if b[i] == '\\' && i+1 < len(b)-1 {
			i++
		}
		if b[i] != '\r' && b[i] != '\n' {
			out = append(out, b[i])
		}
	}
	return string(out)
}

// readable is what a text says where that is not what its bytes show, else "": what a
// quoted string holds, and encoded words decoded (RFC 2047).
func readable(b []byte) string {
	text := unquoted(b)
	var out strings.Builder
	decoded := false
	for rest := text; rest != ""; {
		start := strings.Index(rest, "=?")
		if start < 0 {
			out.WriteString(rest)
			break
		}
		word, n := encodedWord(rest[start:])
		if n == 0 {
			out.WriteString(rest[:start+2])
			rest = rest[start+2:]
			continue
		}
		if between := rest[:start]; !decoded || strings.Trim(between, blanks) != "" { // RFC 2047, 6.2
			out.WriteString(between)
		}
		out.WriteString(word)
		decoded, rest = true, rest[start+n:]
	}
	if !decoded && text == string(b) {
		return ""
	}
	return smtp.Escape(out.String())
}

// encodedWord decodes the encoded word that s begins with, and returns its length;
// 0 where it is none, or in a character set that is not known here.
func encodedWord(s string) (word string, n int) {
	parts := strings.SplitN(s, "?", 5) // =, charset, encoding, text, =...
	if len(parts) < 5 || !strings.HasPrefix(parts[4], "=") {
		return "", 0
	}
	n = len("=?") + len(parts[1]) + len("?") + len(parts[2]) + len("?") + len(parts[3]) + len("?=")
	var octets []byte
	switch parts[2] {
	case "B", "b":
		var err error
		if octets, err = base64.StdEncoding.DecodeString(parts[3]); err != nil {
			return "", 0
		}
	case "Q", "q":
		octets = quotedPrintable(parts[3])
	default:
		return "", 0
	}
	charset, _, _ := strings.Cut(parts[1], "*") // of the language (RFC 2231, 5)
	switch lower([]byte(charset)) {
	case "utf-8", "us-ascii":
		return string(octets), n
	case "iso-8859-1":
		runes := make([]rune, len(octets))
		for i, b := range octets {
			runes[i] = rune(b)
		}
		return string(runes), n
	}
	return "", 0
}

// quotedPrintable is the Q encoding (RFC 2047, 4.2).
func quotedPrintable(s string) (out []byte) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			out = append(out, ' ')
		case s[i] == '=' && i+2 < len(s):
			if b, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				out = append(out, b...)
				i += 2
				continue
			}
			fallthrough
		default:
			out = append(out, s[i])
		}
	}
	return out
}
