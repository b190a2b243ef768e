package dissect

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"smtpscope/protocol/trace"
)

const tcpHeader = 20 // without options (RFC 9293, 3.1)

// TCPFlags are the control bits of a segment (RFC 9293, 3.1).
type TCPFlags uint16

const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE // RFC 3168, 6.1
	CWR
	AE // RFC 9768, 3.1
)

var flagNames = [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"}

// Has tells whether any of the given flags is set.
func (f TCPFlags) Has(any TCPFlags) bool { return f&any != 0 }

// String is such as "SYN, ACK".
func (f TCPFlags) String() string {
	var names []string
	for i, name := range flagNames {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Segment is what the headers of a TCP segment say.
type Segment struct {
	Src, Dst netip.AddrPort
	Seq, Ack uint32
	Flags    TCPFlags
	// Window is the number on the wire. Flow knows the scale.
	Window uint16
	// MSS is 0 where the option is absent.
	MSS uint16
	// WindowScale is the shift count (RFC 7323, 2), or -1 where the option is absent.
	WindowScale   int
	SACKPermitted bool
	// SACK are the blocks [from, to) that arrived beyond Ack (RFC 2018, 3).
	SACK [][2]uint32
	// Timestamps are TSval and TSecr (RFC 7323, 3), nil where the option is absent.
	Timestamps *[2]uint32
	// Payload is where the data stands in the packet.
	Payload trace.Span
	// ChecksumOK is true where both the checksum of TCP and the one of the IPv4
	// header are right. A host drops a segment for which it is false. So do not
	// those that pass through a network card that fills it in: a capture on the
	// sending host may show them before.
	ChecksumOK bool
}

// Len is how many sequence numbers the segment takes: its data, and one each for
// SYN and FIN.
func (s Segment) Len() uint32 {
	n := s.dataLen()
	if s.Flags.Has(SYN) {
		n++
	}
	if s.Flags.Has(FIN) {
		n++
	}
	return n
}

func (s Segment) dataLen() uint32 { return uint32(s.Payload[1] - s.Payload[0]) }

// ParseSegment reads the headers of a TCP segment. It is false for anything
// else, and for fragments and packets that are cut off.
func ParseSegment(ip []byte) (Segment, bool) {
	d, problem := parseDatagram(ip)
	if problem != "" || !d.whole || d.protocol != protocolTCP {
		return Segment{}, false
	}
	b := ip[d.header:d.end]
	head, ok := tcpHeaderLen(b)
	if !ok {
		return Segment{}, false
	}
	s := Segment{
		Src:         netip.AddrPortFrom(d.src, binary.BigEndian.Uint16(b)),
		Dst:         netip.AddrPortFrom(d.dst, binary.BigEndian.Uint16(b[2:])),
		Seq:         binary.BigEndian.Uint32(b[4:]),
		Ack:         binary.BigEndian.Uint32(b[8:]),
		Flags:       tcpFlags(b),
		Window:      binary.BigEndian.Uint16(b[14:]),
		WindowScale: -1,
		Payload:     trace.Span{int64(d.header + head), int64(d.end)},
		ChecksumOK:  sumOK(pseudoSum(d, b)) && (d.v6 || sumOK(internetSum(0, ip[:d.header]))),
	}
	for options := b[tcpHeader:head]; len(options) > 0; {
		n := optionLen(options)
		if n == 0 || options[0] == optionEnd {
			break
		}
		s.option(options[0], options[min(n, optionHead):n])
		options = options[n:]
	}
	return s, true
}

// Kinds of options (IANA, TCP parameters).
const (
	optionMSS           = 2
	optionWindowScale   = 3
	optionSACKPermitted = 4
	optionSACK          = 5
	optionTimestamps    = 8
)

func (s *Segment) option(kind byte, data []byte) {
	switch {
	case kind == optionMSS && len(data) == 2:
		s.MSS = binary.BigEndian.Uint16(data)
	case kind == optionWindowScale && len(data) == 1:
		s.WindowScale = int(data[0])
	case kind == optionSACKPermitted && len(data) == 0:
		s.SACKPermitted = true
	case kind == optionSACK && len(data)%8 == 0:
		s.SACK = sackBlocks(data)
	case kind == optionTimestamps && len(data) == 8:
		s.Timestamps = &[2]uint32{binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])}
	}
}

func sackBlocks(data []byte) [][2]uint32 {
	var blocks [][2]uint32
	for ; len(data) >= 8; data = data[8:] {
		blocks = append(blocks, [2]uint32{binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])})
	}
	return blocks
}

func tcpFlags(b []byte) TCPFlags { return TCPFlags(binary.BigEndian.Uint16(b[12:]) & 0x01ff) }

// tcpHeaderLen is the length of the header with options, and whether the bytes
// hold it.
func tcpHeaderLen(b []byte) (int, bool) {
	if len(b) < tcpHeader {
		return 0, false
	}
	n := int(b[12]>>4) * 4
	return n, n >= tcpHeader && n <= len(b)
}

func (c *cutter) tcp(d datagram) {
	start, b := c.pos, c.text()
	if len(b) < tcpHeader {
		c.leaf(0, c.end, "rest", "field.rest", "incomplete TCP header")
		return
	}
	head, ok := tcpHeaderLen(b)
	if !ok {
		head = tcpHeader
	}
	src, dst := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	flags := tcpFlags(b)
	c.group(0, start+head, "TCP", "tcp.header", fmt.Sprintf("%d to %d, %s", src, dst, flags))
	c.leaf(1, start+2, "source port", port(src), strconv.Itoa(int(src)))
	c.leaf(1, start+4, "destination port", port(dst), strconv.Itoa(int(dst)))
	c.leaf(1, start+8, "sequence number", "tcp.seq", strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[4:])), 10))
	ack := strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[8:])), 10)
	if !flags.Has(ACK) {
		ack += ", not in use"
	}
	c.leaf(1, start+12, "acknowledgment number", "tcp.ack", ack)
	c.leaf(1, start+13, "data offset", "tcp.offset", dataOffset(b[12]))
	c.leaf(1, start+14, "flags", flagsEntry(flags), flags.String())
	c.leaf(1, start+16, "window", "tcp.window", strconv.Itoa(int(binary.BigEndian.Uint16(b[14:]))))
	c.leaf(1, start+18, "checksum", "tcp.checksum", segmentVerdict(d, b, b[16:]))
	urgent := strconv.Itoa(int(binary.BigEndian.Uint16(b[18:])))
	if !flags.Has(URG) {
		urgent += ", not in use"
	}
	c.leaf(1, start+20, "urgent pointer", "tcp.urgent", urgent)
	if !ok {
		problem := "data offset is wrong"
		if !d.whole {
			problem = "incomplete TCP header"
		}
		c.leaf(0, c.end, "rest", "field.rest", problem)
		return
	}
	if end := start + head; c.pos < end {
		c.group(1, end, "options", "tcp.options", byteCount(end-c.pos))
		c.options(2, end, tcpOption)
	}
	c.leaf(0, c.end, "payload", "tcp.payload", byteCount(c.end-c.pos))
}

// dataOffset describes the byte that also holds three reserved bits and AE.
func dataOffset(b byte) string {
	s := fmt.Sprintf("%d bytes", int(b>>4)*4)
	if b&1 != 0 {
		s += ", AE"
	}
	if b&0x0e != 0 {
		s += ", reserved bits set"
	}
	return s
}

// flagsEntry explains the flag that says most about a segment.
func flagsEntry(f TCPFlags) string {
	for _, flag := range []struct {
		flag TCPFlags
		id   string
	}{
		{RST, "rst"}, {SYN, "syn"}, {FIN, "fin"}, {URG, "urg"}, {ECE, "ece"}, {CWR, "cwr"}, {PSH, "psh"}, {ACK, "ack"},
	} {
		if f.Has(flag.flag) {
			return "tcp.flag." + flag.id
		}
	}
	return "tcp.flag.none"
}

func tcpOption(kind byte, data []byte) (name, id, value string) {
	switch {
	case kind == optionEnd:
		return "end of options", "tcp.option.padding", ""
	case kind == optionNOP:
		return "no operation", "tcp.option.padding", ""
	case kind == optionMSS && len(data) == 2:
		return "maximum segment size", "tcp.option.mss", strconv.Itoa(int(binary.BigEndian.Uint16(data)))
	case kind == optionWindowScale && len(data) == 1:
		return "window scale", "tcp.option.window-scale", fmt.Sprintf("%d, windows count times %d", data[0], 1<<min(data[0], maxWindowScale))
	case kind == optionSACKPermitted && len(data) == 0:
		return "SACK permitted", "tcp.option.sack-permitted", ""
	case kind == optionSACK && len(data)%8 == 0:
		var blocks []string
		for _, b := range sackBlocks(data) {
			blocks = append(blocks, fmt.Sprintf("%d to %d", b[0], b[1]))
		}
		return "SACK", "tcp.option.sack", strings.Join(blocks, ", ")
	case kind == optionTimestamps && len(data) == 8:
		return "timestamps", "tcp.option.timestamps", fmt.Sprintf("%d, echo of %d", binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:]))
	}
	return "option", "tcp.option.other", fmt.Sprintf("%d, %s", kind, byteCount(optionHead+len(data)))
}
