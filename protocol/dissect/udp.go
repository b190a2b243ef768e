package dissect

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

const udpHeader = 8 // RFC 768

func (c *cutter) udp(d datagram) {
	start, b := c.pos, c.text()
	if len(b) < udpHeader {
		c.leaf(0, c.end, "rest", "field.rest", "incomplete UDP header")
		return
	}
	src, dst := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	length := int(binary.BigEndian.Uint16(b[4:]))
	c.group(0, start+udpHeader, "UDP", "udp.header", fmt.Sprintf("%d to %d", src, dst))
	c.leaf(1, start+2, "source port", port(src), strconv.Itoa(int(src)))
	c.leaf(1, start+4, "destination port", port(dst), strconv.Itoa(int(dst)))
	c.leaf(1, start+6, "length", "udp.length", strconv.Itoa(length))
	if length < udpHeader || d.whole && length > len(b) {
		c.leaf(1, start+8, "checksum", "udp.checksum", fmt.Sprintf("0x%04x not checked, the length is wrong", binary.BigEndian.Uint16(b[6:])))
		c.leaf(0, c.end, "rest", "field.rest", "length is wrong")
		return
	}
	b = b[:min(length, len(b))]
	c.leaf(1, start+8, "checksum", "udp.checksum", udpVerdict(d, b))
	after := c.end
	c.end = start + len(b)
	if src == portDNS || dst == portDNS {
		c.dns()
	}
	c.leaf(0, c.end, "payload", "udp.payload", byteCount(c.end-c.pos))
	c.leaf(0, after, "rest", "field.rest", "after the end of the datagram")
	c.end = after
}

// udpVerdict knows that over IPv4 a checksum of 0 stands for none (RFC 768).
func udpVerdict(d datagram, b []byte) string {
	if binary.BigEndian.Uint16(b[6:]) == 0 {
		if d.v6 {
			return "0x0000 bad, IPv6 demands one"
		}
		return "none"
	}
	return segmentVerdict(d, b, b[6:])
}
