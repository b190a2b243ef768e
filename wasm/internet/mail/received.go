package mail

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// received is the line that every server puts on top of a message (RFC 5321, 4.4).
func (s *inbound) received(e envelope) string {
	address := "[" + s.client() + "]"
	var b strings.Builder
	fmt.Fprintf(&b, "Received: from %s (%s)\r\n\tby %s with %s id %s", clientName(s.conn.Hostname(), address), address, s.server.Name, s.with(e.utf8), e.id)
	if len(e.to) == 1 { // of several, each would learn of the others (RFC 5321, 7.2)
		fmt.Fprintf(&b, "\r\n\tfor <%s>", e.to[0])
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", s.server.date())
	return b.String()
}

// with names the protocol (RFC 3848; RFC 6531, 4.3).
func (s *inbound) with(utf8 bool) string {
	_, upgraded := s.conn.TLSConnectionState()
	secure := upgraded || s.line.door.implicit != nil
	if !secure && !s.line.extended {
		return "SMTP"
	}
	name := "ESMTP"
	if s.line.door.lmtp {
		name = "LMTP"
	}
	if utf8 {
		name = "UTF8" + strings.TrimPrefix(name, "E")
	}
	if secure {
		name += "S"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signedIn {
		name += "A"
	}
	return name
}

// clientName is what the client calls itself where that can stand in a header
// field, else its address.
func clientName(name, address string) string {
	odd := func(r rune) bool {
		return !strings.ContainsRune("-.:[]_0123456789", r) && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if name == "" || strings.ContainsFunc(name, odd) {
		return address
	}
	return name
}

// date is the present time as header fields have it (RFC 5322, 3.3).
func (v *server) date() string { return v.system.config.Now().Format(time.RFC1123Z) }

// header is the part of a message in front of its first empty line.
func header(text []byte) []byte {
	for at := 0; at < len(text); {
		n := bytes.IndexByte(text[at:], '\n') + 1
		if n == 0 {
			break
		}
		if len(bytes.TrimRight(text[at:at+n], "\r\n")) == 0 {
			return text[:at]
		}
		at += n
	}
	return text
}

// hops counts the servers that a message has passed (RFC 5321, 6.3).
func hops(text []byte) (n int) {
	const field = "Received:"
	for l := range bytes.Lines(header(text)) {
		if len(l) >= len(field) && strings.EqualFold(string(l[:len(field)]), field) {
			n++
		}
	}
	return n
}
