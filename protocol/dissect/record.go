package dissect

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"smtpscope/protocol/trace"
)

const (
	recordHeader = 5 // type, version, length (RFC 8446, 5.1)
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
	kind, known := nameOf(recordTypes, uint16(raw[0]))
	if !known || len(raw) > 1 && raw[1] != 3 {
		c.leaf(0, c.end, "not TLS", "field.not-tls", "")
		return c.fields
	}
	if len(raw) < recordHeader {
		c.leaf(0, c.end, "rest", "field.rest", "incomplete record")
		return c.fields
	}
	c.leaf(0, 1, "type", entry("tls.record.", kind), fmt.Sprintf("%d %s", raw[0], kind))
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
			c.handshake(false)
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
	name, known := nameOf(alerts, uint16(c.b[c.pos]))
	if !known {
		name = "unknown"
	}
	c.leaf(0, c.pos+1, "description", entry("tls.alert.", name), fmt.Sprintf("%d %s", c.b[c.pos], name))
}

// clearHandshake tells whether p is a run of handshake messages in the clear,
// of which the last may go on in the next record. In TLS 1.2 an encrypted
// record of type handshake looks the same from outside.
func clearHandshake(p []byte) bool {
	for len(p) > 0 {
		if len(p) < handshakeHeader {
			return false
		}
		if _, known := nameOf(handshakeTypes, uint16(p[0])); !known {
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

// vector notes a vector of bytes that begins with its length, a number of that size.
func (c *cutter) vector(depth, size int, name, id string) bool {
	n, ok := c.vectorLen(size)
	if ok {
		c.leaf(depth, c.pos+size+n, name, id, byteCount(n))
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
	n := 0
	for _, digit := range b[:size] {
		n = n<<8 | int(digit)
	}
	return n, size+n <= len(b)
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func byteCount(n int) string { return plural(n, "byte") }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
