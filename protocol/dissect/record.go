package dissect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"smtpscope/protocol/book"
	"smtpscope/protocol/trace"
)

const (
	recordHeader    = 5 // type, version, length (RFC 8446, 5.1)
	handshakeHeader = 4 // type, 24 bits of length (RFC 8446, 4)
	randomLen       = 32
	// minFragment is the shortest record that is believed to hold the start of
	// a longer handshake message: no sender has to cut earlier (RFC 6066, 4).
	// Shorter ones of type handshake are the encrypted Finished of TLS 1.2.
	minFragment = 512
	// maxMessage is the longest handshake message that is believed; the largest
	// seen are certificate chains.
	maxMessage = 1 << 16
)

// Record takes apart one TLS record. It looks into the handshake where that is
// not encrypted, and into alerts; other content has no visible parts.
func Record(raw []byte) []trace.Field {
	c := &cutter{b: raw, end: len(raw)}
	if len(raw) == 0 {
		return nil
	}
	kind, known := recordTypes[raw[0]]
	if !known || len(raw) > 1 && raw[1] != 3 {
		c.leaf(0, c.end, "not TLS", "field.not-tls", "")
		return c.fields
	}
	if len(raw) < recordHeader {
		c.leaf(0, c.end, "rest", "field.rest", "incomplete record")
		return c.fields
	}
	c.leaf(0, 1, "type", entry("tls.record.", []byte(kind), "field.rest"), fmt.Sprintf("%d %s", raw[0], kind))
	c.version(0, "legacy_record_version", "field.legacy-version")
	length := int(binary.BigEndian.Uint16(raw[3:]))
	c.length(0, 2, length)
	if recordHeader+length > len(raw) {
		c.leaf(0, len(raw), "rest", "field.rest", "incomplete record")
		return c.fields
	}
	c.end = recordHeader + length
	switch {
	case kind == "handshake" && clearHandshake(c.text()):
		for c.pos < c.end {
			if c.full() {
				c.rest(0, c.end)
				break
			}
			c.handshake()
		}
	case kind == "handshake":
		c.leaf(0, c.end, "fragment", "field.fragment", byteCount(length))
	case kind == "alert" && length == 2:
		c.alert()
	case kind == "change_cipher_spec" && length == 1:
		c.leaf(0, c.end, kind, "tls.record.change_cipher_spec", "")
	default:
		c.leaf(0, c.end, "encrypted_record", "field.encrypted-record", "encrypted payload, "+byteCount(length))
	}
	c.rest(0, len(raw))
	return c.fields
}

func (c *cutter) alert() {
	level := "unknown"
	switch c.b[c.pos] {
	case 1:
		level = "warning"
	case 2:
		level = "fatal"
	}
	c.leaf(0, c.pos+1, "level", "field.alert-level", fmt.Sprintf("%d %s", c.b[c.pos], level))
	name, known := alerts[c.b[c.pos]]
	if !known {
		name = "unknown"
	}
	c.leaf(0, c.pos+1, "description", entry("tls.alert.", []byte(name), "tls.alert.other"), fmt.Sprintf("%d %s", c.b[c.pos], name))
}

// clearHandshake tells whether p is a run of handshake messages in the clear,
// of which the last may go on in the next record. In TLS 1.2 an encrypted
// record of type handshake looks the same from outside.
func clearHandshake(p []byte) bool {
	for len(p) > 0 {
		if len(p) < handshakeHeader {
			return false
		}
		if _, known := handshakeTypes[p[0]]; !known {
			return false
		}
		n := handshakeHeader + uint24(p[1:])
		if n > len(p) {
			return n <= maxMessage && len(p) >= minFragment
		}
		p = p[n:]
	}
	return true
}

func (c *cutter) handshake() {
	start, recordEnd := c.pos, c.end
	length := uint24(c.b[start+1:])
	end := start + handshakeHeader + length
	whole := end <= recordEnd
	body := c.b[start+handshakeHeader : min(end, recordEnd)]
	name := handshakeTypes[c.b[start]]
	if whole && name == "server_hello" && isRetry(body) {
		name = "hello_retry_request"
	}
	c.end = start + handshakeHeader + len(body)
	c.group(0, c.end, name, "tls.handshake."+name, byteCount(handshakeHeader+length))
	c.leaf(1, start+1, "msg_type", "tls.handshake."+name, fmt.Sprintf("%d %s", c.b[start], handshakeTypes[c.b[start]]))
	c.length(1, 3, length)
	switch {
	case !whole:
		c.leaf(1, c.end, "fragment", "field.fragment", byteCount(len(body)))
	case name == "client_hello":
		c.clientHello()
	case name == "server_hello" || name == "hello_retry_request":
		c.serverHello(name)
	}
	c.leaf(1, c.end, "body", "field.rest", byteCount(c.end-c.pos))
	c.end = recordEnd
}

func (c *cutter) clientHello() {
	if len(c.text()) < 2+randomLen {
		return
	}
	c.version(1, "legacy_version", "field.legacy-version")
	c.leaf(1, c.pos+randomLen, "random", "field.random", "")
	if !c.vector(1, "legacy_session_id", "field.legacy") {
		return
	}
	n, ok := c.vectorLen(2)
	if !ok {
		return
	}
	c.leaf(1, c.pos+2+n, "cipher_suites", "field.cipher-suites", plural(n/2, "suite"))
	if c.vector(1, "legacy_compression_methods", "field.legacy") {
		c.extensions("client_hello")
	}
}

func (c *cutter) serverHello(name string) {
	if len(c.text()) < 2+randomLen {
		return
	}
	c.version(1, "legacy_version", "field.legacy-version")
	if name == "hello_retry_request" {
		c.leaf(1, c.pos+randomLen, "random", "tls.handshake."+name, "marks a "+name)
	} else {
		c.leaf(1, c.pos+randomLen, "random", "field.random", "")
	}
	if !c.vector(1, "legacy_session_id_echo", "field.legacy") || len(c.text()) < 3 {
		return
	}
	suite, known := suites[binary.BigEndian.Uint16(c.text())]
	if !known {
		suite = fmt.Sprintf("0x%04X", binary.BigEndian.Uint16(c.text()))
	}
	c.leaf(1, c.pos+2, "cipher_suite", entry("tls.suite.", []byte(suite), "tls.suite.other"), suite)
	c.leaf(1, c.pos+1, "legacy_compression_method", "field.legacy", "")
	c.extensions(name)
}

func (c *cutter) extensions(message string) {
	n, ok := c.vectorLen(2)
	if !ok || c.pos+2+n != c.end {
		return
	}
	c.group(1, c.end, "extensions", "field.extension", byteCount(n))
	c.length(2, 2, n)
	for c.pos < c.end {
		if c.full() || !c.extension(message) {
			c.rest(2, c.end)
		}
	}
}

// extension takes one extension apart. It is false, and nothing is noted, where
// the extension does not fit into what is left.
func (c *cutter) extension(message string) bool {
	b := c.text()
	if len(b) < 4 {
		return false
	}
	number, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	if 4+n > len(b) {
		return false
	}
	name, known := extensionTypes[number]
	if !known {
		name = "extension"
	}
	id := entry("tls.extension.", []byte(name), "field.extension")
	start, outer := c.pos, c.end
	end := start + 4 + n
	label := fmt.Sprintf("%d %s", number, name)

	inside, ok := extensionParts[number]
	if ok && n > 0 {
		mark := len(c.fields)
		c.group(2, end, name, id, byteCount(4+n))
		c.leaf(3, start+2, "extension_type", id, label)
		c.length(3, 2, n)
		c.end = end
		ok = inside(c, message)
		c.end = outer
		if ok && c.pos == end {
			return true
		}
		c.fields, c.pos = c.fields[:mark], start
	}
	c.leaf(2, end, name, id, label+", "+byteCount(n))
	return true
}

// extensionParts take the content of an extension apart, from pos to end. They
// are false where it is malformed.
var extensionParts = map[uint16]func(c *cutter, message string) bool{
	0: func(c *cutter, _ string) bool { // RFC 6066, 3
		if !c.list(2) || len(c.text()) == 0 {
			return false
		}
		c.leaf(3, c.pos+1, "name_type", "tls.extension.server_name", fmt.Sprint(c.b[c.pos]))
		if !c.list(2) {
			return false
		}
		c.leaf(3, c.end, "host_name", "tls.extension.server_name", "")
		return true
	},
	10: func(c *cutter, _ string) bool { // RFC 8446, 4.2.7
		if !c.list(2) || len(c.text())%2 != 0 {
			return false
		}
		for c.pos < c.end && !c.full() {
			c.namedGroup("named_group")
		}
		c.rest(3, c.end)
		return true
	},
	43: func(c *cutter, message string) bool { // RFC 8446, 4.2.1
		if message != "client_hello" {
			if len(c.text()) != 2 {
				return false
			}
			c.version(3, "selected_version", "")
			return true
		}
		if !c.list(1) || len(c.text())%2 != 0 {
			return false
		}
		for c.pos < c.end && !c.full() {
			c.version(3, "version", "")
		}
		c.rest(3, c.end)
		return true
	},
	51: func(c *cutter, message string) bool { // RFC 8446, 4.2.8
		switch message {
		case "hello_retry_request":
			if len(c.text()) != 2 {
				return false
			}
			c.namedGroup("selected_group")
			return true
		case "server_hello":
			return c.keyShare()
		}
		if !c.list(2) {
			return false
		}
		for c.pos < c.end && !c.full() {
			if !c.keyShare() {
				return false
			}
		}
		c.rest(3, c.end)
		return true
	},
}

func (c *cutter) keyShare() bool {
	b := c.text()
	if len(b) < 4 {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if 4+n > len(b) {
		return false
	}
	c.namedGroup("group")
	c.leaf(3, c.pos+2+n, "key_exchange", "tls.extension.key_share", "public key, "+byteCount(n))
	return true
}

// namedGroup needs two bytes.
func (c *cutter) namedGroup(name string) {
	number := binary.BigEndian.Uint16(c.text())
	group, known := groups[number]
	if !known {
		group = fmt.Sprintf("0x%04X", number)
	}
	c.leaf(3, c.pos+2, name, entry("tls.group.", []byte(group), "tls.group.other"), group)
}

// version needs two bytes. Without an id it is explained by its value.
func (c *cutter) version(depth int, name, id string) {
	number := binary.BigEndian.Uint16(c.b[c.pos:])
	value, known := versions[number]
	if id == "" {
		id = book.First("tls.version."+strings.TrimPrefix(value, "TLS "), "tls.version.other")
	}
	if !known {
		value = fmt.Sprintf("0x%04X", number)
	}
	c.leaf(depth, c.pos+2, name, id, value)
}

// vector notes a vector of bytes with a length of one byte.
func (c *cutter) vector(depth int, name, id string) bool {
	n, ok := c.vectorLen(1)
	if ok {
		c.leaf(depth, c.pos+1+n, name, id, byteCount(n))
	}
	return ok
}

// list steps over the length of a list that must fill the extension.
func (c *cutter) list(size int) bool {
	n, ok := c.vectorLen(size)
	if !ok || c.pos+size+n != c.end {
		return false
	}
	c.length(3, size, n)
	return true
}

func (c *cutter) length(depth, size, n int) {
	c.leaf(depth, c.pos+size, "length", "field.length", strconv.Itoa(n))
}

// vectorLen reads the length of the vector at pos, and whether it fits.
func (c *cutter) vectorLen(size int) (int, bool) {
	b := c.text()
	if len(b) < size {
		return 0, false
	}
	n := int(b[0])
	if size == 2 {
		n = int(binary.BigEndian.Uint16(b))
	}
	return n, size+n <= len(b)
}

// isRetry tells a hello_retry_request from a server_hello, which has the same
// type, by its fixed random (RFC 8446, 4.1.3).
func isRetry(body []byte) bool {
	return len(body) >= 2+randomLen && bytes.Equal(body[2:2+randomLen], retryRandom)
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func byteCount(n int) string { return plural(n, "byte") }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
