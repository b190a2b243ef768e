package dissect

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	dnsHeader = 12 // RFC 1035, 4.1.1
	// maxName is the longest name on the wire, and maxLabel the longest label
	// (RFC 1035, 2.3.4).
	maxName  = 255
	maxLabel = 63
	// maxJumps is how many pointers are followed: more than a name has labels are
	// of no use.
	maxJumps = 127
)

// message is the DNS message that a cutter is inside of: names are compressed by
// offsets from its start.
type message struct {
	*cutter
	start int
}

// dns takes apart a DNS message, from pos to end. What is not one is left to the
// caller.
func (c *cutter) dns() {
	m := message{c, c.pos}
	b := c.text()
	if len(b) < dnsHeader {
		return
	}
	flags := binary.BigEndian.Uint16(b[2:])
	c.group(0, m.start+dnsHeader, "DNS", "dns.header", dnsKind(flags))
	c.leaf(1, m.start+2, "id", "dns.id", fmt.Sprintf("0x%04x", binary.BigEndian.Uint16(b)))
	c.leaf(1, m.start+4, "flags", dnsFlagsEntry(flags), dnsFlags(flags))
	var counts [4]int
	for i, name := range [...]string{"questions", "answers", "authority records", "additional records"} {
		counts[i] = int(binary.BigEndian.Uint16(b[4+2*i:]))
		c.leaf(1, c.pos+2, name, "dns.count", strconv.Itoa(counts[i]))
	}
	for section, record := range [...]func(section string) bool{m.question, m.record, m.record, m.record} {
		name := [...]string{"question", "answer", "authority", "additional"}[section]
		for range counts[section] {
			if c.full() || !record(name) {
				value := ""
				if !c.full() {
					value = "malformed"
				}
				c.leaf(0, c.end, "rest", "field.rest", value)
				return
			}
		}
	}
	c.leaf(0, c.end, "rest", "field.rest", "after the last record")
}

func (m message) question(section string) bool {
	name, to, ok := m.name(m.pos)
	if !ok || to+4 > m.end {
		return false
	}
	kind := binary.BigEndian.Uint16(m.b[to:])
	m.group(0, to+4, section, "dns.question", name+" "+dnsType(kind))
	m.leaf(1, to, "name", "dns.name", name)
	m.kindAndClass(kind)
	return true
}

func (m message) kindAndClass(kind uint16) {
	m.leaf(1, m.pos+2, "type", dnsTypeEntry(kind), dnsType(kind))
	class := binary.BigEndian.Uint16(m.b[m.pos:])
	value := strconv.Itoa(int(class))
	if class == 1 {
		value = "IN"
	}
	m.leaf(1, m.pos+2, "class", "dns.class", value)
}

func (m message) record(section string) bool {
	name, to, ok := m.name(m.pos)
	if !ok || to+10 > m.end {
		return false
	}
	kind := binary.BigEndian.Uint16(m.b[to:])
	end := to + 10 + int(binary.BigEndian.Uint16(m.b[to+8:]))
	if end > m.end {
		return false
	}
	head := len(m.fields)
	m.group(0, end, section, dnsTypeEntry(kind), name+" "+dnsType(kind))
	m.leaf(1, to, "name", "dns.name", name)
	if kind == typeOPT {
		m.optHead()
	} else {
		m.kindAndClass(kind)
		ttl := strconv.FormatUint(uint64(binary.BigEndian.Uint32(m.b[m.pos:])), 10)
		m.leaf(1, m.pos+4, "time to live", "dns.ttl", ttl+" s")
	}
	m.leaf(1, m.pos+2, "length", "field.length", strconv.Itoa(end-m.pos-2))

	outer, mark, start := m.end, len(m.fields), m.pos
	m.end = end
	summary, ok := m.data(kind)
	m.end = outer
	if !ok || m.pos != end {
		m.cutter.fields, m.pos = m.fields[:mark], start
		m.leaf(1, end, "data", dnsTypeEntry(kind), "malformed")
		return true
	}
	if summary != "" {
		m.fields[head].Value += " " + summary
	}
	return true
}

// optHead takes apart type, class and TTL of the OPT record, where they mean
// something else (RFC 6891, 6.1.2 and 6.1.3).
func (m message) optHead() {
	m.leaf(1, m.pos+2, "type", dnsTypeEntry(typeOPT), "OPT")
	m.leaf(1, m.pos+2, "UDP payload size", "dns.type.opt", strconv.Itoa(int(binary.BigEndian.Uint16(m.b[m.pos:]))))
	value := fmt.Sprintf("extended RCODE %d, version %d", m.b[m.pos], m.b[m.pos+1])
	if m.b[m.pos+2]&0x80 != 0 {
		value += ", DNSSEC OK"
	}
	m.leaf(1, m.pos+4, "extended RCODE, version, flags", "dns.type.opt", value)
}

// Types of records (IANA, DNS parameters).
const (
	typeA     = 1
	typeNS    = 2
	typeCNAME = 5
	typeSOA   = 6
	typePTR   = 12
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeOPT   = 41
)

var dnsTypes = []numbered{
	{typeA, "A"}, {typeNS, "NS"}, {typeCNAME, "CNAME"}, {typeSOA, "SOA"}, {typePTR, "PTR"}, {typeMX, "MX"}, {typeTXT, "TXT"},
	{typeAAAA, "AAAA"}, {typeOPT, "OPT"},
	{33, "SRV"}, {43, "DS"}, {46, "RRSIG"}, {47, "NSEC"}, {48, "DNSKEY"}, {52, "TLSA"}, {64, "SVCB"}, {65, "HTTPS"}, {255, "ANY"}, {257, "CAA"},
}

func dnsType(kind uint16) string {
	if name, known := nameOf(dnsTypes, kind); known {
		return name
	}
	return "TYPE" + strconv.Itoa(int(kind)) // RFC 3597, 5
}

func dnsTypeEntry(kind uint16) string {
	return entry("dns.type.", dnsType(kind))
}

// data takes apart the data of a record, from pos to end, and sums it up. It is
// false where they do not have the form of their type.
func (m message) data(kind uint16) (summary string, ok bool) {
	id := dnsTypeEntry(kind)
	switch kind {
	case typeA, typeAAAA:
		address, ok := netip.AddrFromSlice(m.text())
		if !ok || address.Is4() != (kind == typeA) {
			return "", false
		}
		m.leaf(1, m.end, "address", id, address.String())
		return address.String(), true
	case typeNS, typeCNAME, typePTR:
		return m.nameField("target", id)
	case typeMX:
		if len(m.text()) < 2 {
			return "", false
		}
		preference := strconv.Itoa(int(binary.BigEndian.Uint16(m.text())))
		m.leaf(1, m.pos+2, "preference", id, preference)
		exchange, ok := m.nameField("exchange", id)
		return preference + " " + exchange, ok
	case typeTXT:
		return "", m.strings(id)
	case typeSOA:
		return m.soa(id)
	case typeOPT:
		return "", m.optOptions(id)
	}
	m.leaf(1, m.end, "data", id, byteCount(len(m.text())))
	return "", true
}

func (m message) nameField(field, id string) (string, bool) {
	name, to, ok := m.name(m.pos)
	if !ok {
		return "", false
	}
	m.leaf(1, to, field, id, name)
	return name, true
}

// strings takes apart the strings of a TXT record, of which there is at least
// one (RFC 1035, 3.3.14).
func (m message) strings(id string) bool {
	if m.pos == m.end {
		return false
	}
	for m.pos < m.end {
		if m.full() {
			m.rest(1, m.end)
			break
		}
		n := int(m.b[m.pos])
		if m.pos+1+n > m.end {
			return false
		}
		text := m.b[m.pos+1 : m.pos+1+n]
		m.leaf(1, m.pos+1+n, "text", id, printable(text, ""))
	}
	return true
}

func (m message) soa(id string) (summary string, ok bool) {
	primary, ok := m.nameField("primary server", id)
	if !ok {
		return "", false
	}
	if _, ok = m.nameField("mailbox", id); !ok || len(m.text()) != 20 {
		return "", false
	}
	for _, field := range [...]string{"serial", "refresh", "retry", "expire", "minimum"} {
		value := strconv.FormatUint(uint64(binary.BigEndian.Uint32(m.text())), 10)
		if field != "serial" {
			value += " s"
		}
		m.leaf(1, m.pos+4, field, id, value)
	}
	return primary, true
}

func (m message) optOptions(id string) bool {
	for m.pos < m.end {
		if m.full() {
			m.rest(1, m.end)
			break
		}
		b := m.text()
		if len(b) < 4 {
			return false
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if 4+n > len(b) {
			return false
		}
		m.leaf(1, m.pos+4+n, "option", id, fmt.Sprintf("%d, %s", binary.BigEndian.Uint16(b), byteCount(4+n)))
	}
	return true
}

// name reads the name at pos, and says where it ends there. A pointer leads to
// bytes before those that it stands among (RFC 1035, 4.1.4), so that there is no
// loop; bytes outside the message or the record do not count.
func (m message) name(pos int) (name string, to int, ok bool) {
	end := m.end
	var out strings.Builder
	size, jumps, segment := 1, 0, pos
	for {
		if pos >= end || jumps > maxJumps {
			return "", 0, false
		}
		n := int(m.b[pos])
		switch {
		case n == 0:
			if jumps == 0 {
				to = pos + 1
			}
			if out.Len() == 0 {
				return ".", to, true
			}
			return out.String(), to, true
		case n <= maxLabel:
			size += 1 + n
			if pos+1+n > end || size > maxName {
				return "", 0, false
			}
			if out.Len() > 0 {
				out.WriteByte('.')
			}
			out.WriteString(printable(m.b[pos+1:pos+1+n], "."))
			pos += 1 + n
		case n >= 0xc0:
			if pos+2 > end {
				return "", 0, false
			}
			if jumps == 0 {
				to = pos + 2
			}
			jumps++
			target := m.start + int(binary.BigEndian.Uint16(m.b[pos:])&0x3fff)
			if target >= segment {
				return "", 0, false
			}
			pos, segment, end = target, target, segment
		default:
			return "", 0, false
		}
	}
}

// printable makes bytes safe to show, in the form of zone files (RFC 1035, 5.1):
// a backslash and three digits, or a backslash alone before what is visible but
// has a meaning; escape lists such characters besides the backslash itself.
func printable(b []byte, escape string) string {
	var out strings.Builder
	for _, ch := range b {
		switch {
		case ch < ' ' || ch > '~' || ch == ' ' && escape != "":
			fmt.Fprintf(&out, `\%03d`, ch)
		case ch == '\\' || strings.IndexByte(escape, ch) >= 0:
			out.WriteByte('\\')
			out.WriteByte(ch)
		default:
			out.WriteByte(ch)
		}
	}
	return out.String()
}

var rcodes = []numbered{
	{0, "NOERROR"}, {1, "FORMERR"}, {2, "SERVFAIL"}, {3, "NXDOMAIN"}, {4, "NOTIMP"}, {5, "REFUSED"}, {6, "YXDOMAIN"}, {7, "YXRRSET"},
	{8, "NXRRSET"}, {9, "NOTAUTH"}, {10, "NOTZONE"},
}

func rcode(flags uint16) string {
	if name, known := nameOf(rcodes, flags&0xf); known {
		return name
	}
	return "RCODE " + strconv.Itoa(int(flags&0xf))
}

const isResponse = 0x8000

func dnsKind(flags uint16) string {
	if flags&isResponse == 0 {
		return "query"
	}
	return "response, " + rcode(flags)
}

func dnsFlags(flags uint16) string {
	parts := []string{"query"}
	if flags&isResponse != 0 {
		parts[0] = "response"
	}
	if opcode := flags >> 11 & 0xf; opcode != 0 {
		parts = append(parts, "opcode "+strconv.Itoa(int(opcode)))
	}
	for _, f := range [...]struct {
		bit  uint16
		name string
	}{
		{0x0400, "authoritative"}, {0x0200, "truncated"}, {0x0100, "recursion desired"}, {0x0080, "recursion available"},
		{0x0020, "authenticated data"}, {0x0010, "checking disabled"},
	} {
		if flags&f.bit != 0 {
			parts = append(parts, f.name)
		}
	}
	if flags&isResponse != 0 {
		parts = append(parts, rcode(flags))
	}
	return strings.Join(parts, ", ")
}

func dnsFlagsEntry(flags uint16) string {
	if flags&isResponse == 0 {
		return "dns.flags"
	}
	return entry("dns.rcode.", rcode(flags))
}
