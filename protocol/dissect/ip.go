package dissect

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"smtpscope/protocol/trace"
)

const (
	ipv4Header = 20 // without options (RFC 791, 3.1)
	ipv6Header = 40 // RFC 8200, 3

	protocolTCP = 6
	protocolUDP = 17

	portDNS = 53
)

// Packet takes apart one IP packet: IPv4 or IPv6, TCP or UDP inside, and DNS in
// that. The payload of TCP is one field; what it means is for others to say.
func Packet(ip []byte) []trace.Field { return packet(ip, (*cutter).udp) }

// TCPPacket is Packet for a program that sees no datagrams of UDP: it takes none apart,
// and so needs to know nothing of the DNS.
func TCPPacket(ip []byte) []trace.Field { return packet(ip, func(*cutter, datagram) {}) }

func packet(ip []byte, udp func(*cutter, datagram)) []trace.Field {
	c := &cutter{b: ip, end: len(ip)}
	d, problem := parseDatagram(ip)
	switch {
	case len(ip) == 0:
		return nil
	case d.header == 0:
		c.leaf(0, len(ip), "rest", "field.rest", problem)
		return c.fields
	case d.v6:
		c.ipv6(d)
	default:
		c.ipv4(d)
	}
	if problem != "" {
		c.leaf(0, len(ip), "rest", "field.rest", problem)
		return c.fields
	}
	c.end = d.end
	switch {
	case d.offset > 0:
		c.leaf(0, c.end, "fragment", "ip.fragment", fmt.Sprintf("bytes %d to %d", d.offset, d.offset+d.end-d.header-1))
	case d.protocol == protocolTCP:
		c.tcp(d)
	case d.protocol == protocolUDP:
		udp(c, d)
	}
	c.leaf(0, c.end, "payload", "ip.payload", byteCount(c.end-c.pos))
	c.leaf(0, len(ip), "rest", "field.rest", "after the end of the packet")
	return c.fields
}

// datagram is what an IP header says.
type datagram struct {
	src, dst netip.Addr
	v6       bool
	protocol byte
	header   int // its length; 0 where there is no header
	end      int // where the packet ends by its own account, as far as the bytes reach
	offset   int // of a fragment
	// whole is false for fragments and where bytes are missing: the checksum of
	// what is inside cannot be verified.
	whole bool
}

// parseDatagram says in words what is wrong with the header, if anything is.
// Where d.header is not 0, its fixed part is there nevertheless.
func parseDatagram(ip []byte) (d datagram, problem string) {
	var version byte
	if len(ip) > 0 {
		version = ip[0] >> 4
	}
	switch {
	case version == 4 && len(ip) >= ipv4Header:
		d.src, d.dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
		d.protocol = ip[9]
		d.header = int(ip[0]&0x0f) * 4
		total := int(binary.BigEndian.Uint16(ip[2:]))
		fragment := binary.BigEndian.Uint16(ip[6:])
		d.offset = int(fragment&0x1fff) * 8
		d.end = min(total, len(ip))
		d.whole = total <= len(ip) && d.offset == 0 && fragment&moreFragments == 0
		switch {
		case d.header < ipv4Header:
			d.header = ipv4Header
			return d, "header length below 20"
		case d.header > len(ip):
			d.header = len(ip)
			return d, "incomplete header"
		case total < d.header:
			return d, "total length shorter than the header"
		}
	case version == 6 && len(ip) >= ipv6Header:
		d.v6 = true
		d.src, d.dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
		d.protocol = ip[6]
		d.header = ipv6Header
		total := ipv6Header + int(binary.BigEndian.Uint16(ip[4:]))
		d.end = min(total, len(ip))
		d.whole = total <= len(ip)
	case version == 4 || version == 6:
		return d, "incomplete header"
	default:
		return d, "not an IP packet"
	}
	return d, ""
}

const (
	dontFragment  = 0x4000
	moreFragments = 0x2000
)

func (c *cutter) ipv4(d datagram) {
	c.group(0, d.header, "IPv4", "ip.v4", d.src.String()+" to "+d.dst.String())
	c.leaf(1, 1, "version, header length", "ip.version", fmt.Sprintf("4, %d bytes", int(c.b[0]&0x0f)*4))
	c.leaf(1, 2, "DSCP, ECN", "ip.dscp", trafficClass(c.b[1]))
	c.leaf(1, 4, "total length", "ip.length", strconv.Itoa(int(binary.BigEndian.Uint16(c.b[2:]))))
	c.leaf(1, 6, "identification", "ip.id", fmt.Sprintf("0x%04x", binary.BigEndian.Uint16(c.b[4:])))
	c.leaf(1, 8, "flags, fragment offset", "ip.fragment", fragmentation(binary.BigEndian.Uint16(c.b[6:]), d.offset))
	c.leaf(1, 9, "time to live", "ip.ttl", strconv.Itoa(int(c.b[8])))
	c.leaf(1, 10, "protocol", "ip.protocol", protocolName(d.protocol))
	c.leaf(1, 12, "header checksum", "ip.checksum", verdict(c.b[10:], internetSum(0, c.b[:d.header])))
	c.leaf(1, 16, "source address", "ip.address", d.src.String())
	c.leaf(1, 20, "destination address", "ip.address", d.dst.String())
	if c.pos == d.header {
		return
	}
	c.group(1, d.header, "options", "ip.option", byteCount(d.header-c.pos))
	c.options(2, d.header, func(kind byte, _ []byte) (name, id, value string) {
		name, _ = nameOf(ipOptions, uint16(kind))
		if name == "" {
			name = "option"
		}
		return name, "ip.option", strconv.Itoa(int(kind))
	})
}

func (c *cutter) ipv6(d datagram) {
	c.group(0, d.header, "IPv6", "ip.v6", d.src.String()+" to "+d.dst.String())
	word := binary.BigEndian.Uint32(c.b)
	c.leaf(1, 4, "version, traffic class, flow label", "ip.flow", fmt.Sprintf("6, %s, flow 0x%05x", trafficClass(byte(word>>20)), word&0xfffff))
	c.leaf(1, 6, "payload length", "ip.length", strconv.Itoa(int(binary.BigEndian.Uint16(c.b[4:]))))
	c.leaf(1, 7, "next header", "ip.protocol", protocolName(d.protocol))
	c.leaf(1, 8, "hop limit", "ip.ttl", strconv.Itoa(int(c.b[7])))
	c.leaf(1, 24, "source address", "ip.address", d.src.String())
	c.leaf(1, 40, "destination address", "ip.address", d.dst.String())
}

// options takes apart the options of IPv4 or of TCP, which have the same form
// (RFC 791, 3.1; RFC 9293, 3.2). describe gets an option's kind and its data.
func (c *cutter) options(depth, to int, describe func(kind byte, data []byte) (name, id, value string)) {
	for c.pos < to {
		n := optionLen(c.b[c.pos:to])
		if n == 0 {
			c.leaf(depth, to, "rest", "field.rest", "malformed option")
			return
		}
		data := c.b[c.pos+min(n, 2) : c.pos+n]
		name, id, value := describe(c.b[c.pos], data)
		end := c.b[c.pos] == optionEnd
		c.leaf(depth, c.pos+n, name, id, value)
		if end {
			c.leaf(depth, to, "padding", id, byteCount(to-c.pos))
		}
	}
}

const (
	optionEnd  = 0
	optionNOP  = 1
	optionHead = 2 // kind and length
)

// optionLen is the length of the option that b starts with, or 0 where it is
// malformed. b is not empty.
func optionLen(b []byte) int {
	if b[0] == optionEnd || b[0] == optionNOP {
		return 1
	}
	if len(b) < optionHead || b[1] < optionHead || int(b[1]) > len(b) {
		return 0
	}
	return int(b[1])
}

func trafficClass(b byte) string {
	return fmt.Sprintf("DSCP %d, %s", b>>2, [...]string{"not ECN-capable", "ECT(1)", "ECT(0)", "congestion experienced"}[b&3])
}

func fragmentation(word uint16, offset int) string {
	var parts []string
	if word&dontFragment != 0 {
		parts = append(parts, "don't fragment")
	}
	if word&moreFragments != 0 {
		parts = append(parts, "more fragments")
	}
	if offset > 0 || word&moreFragments != 0 {
		parts = append(parts, "offset "+strconv.Itoa(offset))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func protocolName(number byte) string {
	if name, known := nameOf(protocols, uint16(number)); known {
		return fmt.Sprintf("%d %s", number, name)
	}
	return strconv.Itoa(int(number))
}

// port is the book's id for a port.
func port(number uint16) string {
	return "port." + strconv.Itoa(int(number))
}

// internetSum adds b to the sum of RFC 1071. Every part but the last has an even
// length.
func internetSum(sum uint64, b []byte) uint64 {
	for len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) > 0 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// pseudoSum starts the sum that TCP and UDP make over addresses, protocol,
// length and the segment itself (RFC 9293, 3.1; RFC 8200, 8.1).
func pseudoSum(d datagram, segment []byte) uint64 {
	sum := internetSum(internetSum(0, d.src.AsSlice()), d.dst.AsSlice())
	return internetSum(sum+uint64(d.protocol)+uint64(len(segment)), segment)
}

func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// sumOK tells whether bytes that include their checksum have that sum.
func sumOK(sum uint64) bool { return fold(sum) == 0xffff }

// verdict says whether the checksum that field starts with is right; sum is over
// all that it covers, itself included.
func verdict(field []byte, sum uint64) string {
	got := binary.BigEndian.Uint16(field)
	if sumOK(sum) {
		return fmt.Sprintf("0x%04x ok", got)
	}
	return fmt.Sprintf("0x%04x bad, should be 0x%04x", got, ^fold(sum-uint64(got)))
}

// segmentVerdict is verdict for the checksum of a transport protocol.
func segmentVerdict(d datagram, segment, field []byte) string {
	if !d.whole {
		return fmt.Sprintf("0x%04x not checked, the packet is not whole", binary.BigEndian.Uint16(field))
	}
	return verdict(field, pseudoSum(d, segment))
}

// Names as the registries of IANA give them.

var protocols = []numbered{
	{1, "ICMP"},
	{2, "IGMP"},
	{6, "TCP"},
	{17, "UDP"},
	{41, "IPv6"},
	{43, "IPv6-Route"},
	{44, "IPv6-Frag"},
	{47, "GRE"},
	{50, "ESP"},
	{58, "IPv6-ICMP"},
	{60, "IPv6-Opts"},
	{132, "SCTP"},
}

var ipOptions = []numbered{
	{0, "end of options"},
	{1, "no operation"},
	{7, "record route"},
	{68, "timestamp"},
	{131, "loose source route"},
	{137, "strict source route"},
	{148, "router alert"},
}
