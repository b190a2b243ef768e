package smtp

import "bytes"

// MessageStats is what became of a message on its way to the wire.
type MessageStats struct {
	// Size counts octets as RFC 1870, 5 wants them: line ends as CRLF, without the
	// dots of transparency and without the final dot.
	Size int64
	// Stuffed counts lines that got a second dot (RFC 5321, 4.5.2).
	Stuffed int
	// Normalized counts line ends that were not CRLF, a missing final one included.
	Normalized int
	// Long counts lines over MaxTextLine.
	Long int
}

// Measure says what sending a message will do to it, for the SIZE parameter of MAIL.
func Measure(message []byte) MessageStats {
	t := newTransparency(message)
	buf := make([]byte, 0, 4096)
	for last := false; !last; {
		buf, last = t.fill(buf[:0])
	}
	return t.stats
}

// Text is a message as BDAT sends it unless it is BODY=BINARYMIME: each line
// ended by CRLF, and nothing else changed (RFC 3030, 2). A message that is like
// this already is returned as it is.
func Text(message []byte) []byte {
	stats := Measure(message)
	if stats.Normalized == 0 {
		return message
	}
	t := newTransparency(message)
	t.plain = true
	text, _ := t.fill(make([]byte, 0, stats.Size+8))
	return text
}

// transparency turns a message into what DATA sends: each line ended by CRLF, a
// second dot before a line that starts with one, a line of a single dot at the end
// (RFC 5321, 4.1.1.4 and 4.5.2).
//
// CR and LF alone count as line ends too. Left as they are, "LF . LF" or "CR . CR"
// could end the message for a server that is lax about line ends, and what
// follows would be read as commands: SMTP smuggling (CVE-2023-51764 to 51766).
type transparency struct {
	text []byte
	pos  int
	// cr and lf are where the next of each is, so that no byte is searched twice.
	cr, lf int
	inLine int  // octets of the current line that are out; 0 at its start
	plain  bool // only line ends are changed
	stats  MessageStats
}

func newTransparency(text []byte) *transparency {
	return &transparency{text: text, cr: find(text, 0, '\r'), lf: find(text, 0, '\n')}
}

// find is the index of the first b at or after from, or len(text).
func find(text []byte, from int, b byte) int {
	if i := bytes.IndexByte(text[from:], b); i >= 0 {
		return from + i
	}
	return len(text)
}

// fill appends to buf until its capacity is used or the final dot is in it.
// The capacity must be at least 8.
func (t *transparency) fill(buf []byte) (_ []byte, last bool) {
	// The most that is added at once besides text: CRLF, final dot, CRLF.
	const tail = len("\r\n.\r\n")
	for {
		room := cap(buf) - len(buf) - tail
		if room < 2 {
			return buf, false
		}
		if t.pos == len(t.text) {
			if t.inLine > 0 {
				t.stats.Normalized++
				buf = t.endLine(buf)
			}
			if t.plain {
				return buf, true
			}
			return append(buf, ".\r\n"...), true
		}
		if t.inLine == 0 && t.text[t.pos] == '.' && !t.plain {
			t.stats.Stuffed++
			buf = append(buf, '.')
			room--
		}
		if n := t.clean(room); n > 0 {
			buf = append(buf, t.text[t.pos-n:t.pos]...)
			continue
		}
		end := min(t.cr, t.lf)
		n := min(end-t.pos, room)
		buf = append(buf, t.text[t.pos:t.pos+n]...)
		t.pos += n
		t.inLine += n
		if t.pos < end || end == len(t.text) {
			continue
		}
		buf = t.endLine(buf)
		if t.lf == t.cr+1 && t.lf < len(t.text) {
			t.pos += 2
		} else {
			t.stats.Normalized++
			t.pos++
		}
		if t.cr < t.pos {
			t.cr = find(t.text, t.pos, '\r')
		}
		if t.lf < t.pos {
			t.lf = find(t.text, t.pos, '\n')
		}
	}
}

// clean steps over whole lines that are sent as they are, up to room octets of
// them, and says how many octets they have.
func (t *transparency) clean(room int) int {
	from := t.pos
	if t.inLine > 0 {
		return 0
	}
	for t.lf < len(t.text) && t.cr == t.lf-1 && t.lf < from+room && (t.text[t.pos] != '.' || t.plain) {
		t.count(t.lf + 1 - t.pos)
		t.pos = t.lf + 1
		t.cr, t.lf = find(t.text, t.pos, '\r'), find(t.text, t.pos, '\n')
	}
	return t.pos - from
}

// count takes in a line of so many octets, its end among them.
func (t *transparency) count(octets int) {
	t.stats.Size += int64(octets)
	if octets > MaxTextLine {
		t.stats.Long++
	}
}

func (t *transparency) endLine(buf []byte) []byte {
	t.count(t.inLine + len("\r\n"))
	t.inLine = 0
	return append(buf, "\r\n"...)
}
