package dissect_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/export"
	"smtpscope/protocol/export/exporttest"
	"smtpscope/protocol/trace"
)

var (
	start      = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	clientAddr = netip.MustParseAddrPort("192.0.2.1:49152")
	serverAddr = netip.MustParseAddrPort("192.0.2.25:25")
	client6    = netip.MustParseAddrPort("[2001:db8::1]:49152")
	server6    = netip.MustParseAddrPort("[2001:db8::25]:25")
	resolver   = netip.MustParseAddrPort("192.0.2.53:53")
)

var handshakeOptions = []byte{2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7}

func synPacket() []byte {
	return exporttest.TCP{
		Src: clientAddr, Dst: serverAddr, Seq: 0xfffffffe, Flags: exporttest.SYN | exporttest.ECE | exporttest.CWR, Window: 64240,
		Options: handshakeOptions,
	}.Packet()
}

func dataPacket6() []byte {
	return exporttest.TCP{
		Src: server6, Dst: client6, Seq: 1, Ack: 2, Flags: exporttest.ACK | exporttest.PSH, Window: 501,
		Options: sackOption([2]uint32{100, 200}, [2]uint32{300, 400}), Payload: []byte("220 mx\r\n"),
	}.Packet()
}

// changed returns a packet with some bytes overwritten.
func changed(packet []byte, at int, bytes ...byte) []byte {
	packet = slices.Clone(packet)
	copy(packet[at:], bytes)
	return packet
}

var packetExamples = []example{
	// The header is a well-known sample, so its checksum is not of our own making.
	{"UDP, header only", mustHex("45000073000040004011b861c0a80001c0a800c7"), `
			IPv4 "E\x00\x00s\x00\x00@\x00@\x11\xb8a\xc0\xa8\x00\x01\xc0\xa8\x00\xc7" (192.168.0.1 to 192.168.0.199) ip.v4
				version, header length "E" (4, 20 bytes) ip.version
				DSCP, ECN "\x00" (DSCP 0, not ECN-capable) ip.dscp
				total length "\x00s" (115) ip.length
				identification "\x00\x00" (0x0000) ip.id
				flags, fragment offset "@\x00" (don't fragment) ip.fragment
				time to live "@" (64) ip.ttl
				protocol "\x11" (17 UDP) ip.protocol
				header checksum "\xb8a" (0xb861 ok) ip.checksum
				source address "\xc0\xa8\x00\x01" (192.168.0.1) ip.address
				destination address "\xc0\xa8\x00\xc7" (192.168.0.199) ip.address`},
	{"SYN", string(synPacket()), `
			IPv4 "E\x00\x00<\x00\x01@\x00@\x06\xb6\xa0\xc0\x00\x02\x01\xc0\x00\x02\x19" (192.0.2.1 to 192.0.2.25) ip.v4
				version, header length "E" (4, 20 bytes) ip.version
				DSCP, ECN "\x00" (DSCP 0, not ECN-capable) ip.dscp
				total length "\x00<" (60) ip.length
				identification "\x00\x01" (0x0001) ip.id
				flags, fragment offset "@\x00" (don't fragment) ip.fragment
				time to live "@" (64) ip.ttl
				protocol "\x06" (6 TCP) ip.protocol
				header checksum "\xb6\xa0" (0xb6a0 ok) ip.checksum
				source address "\xc0\x00\x02\x01" (192.0.2.1) ip.address
				destination address "\xc0\x00\x02\x19" (192.0.2.25) ip.address
			TCP "\xc0\x00\x00\x19\xff\xff\xff\xfe\x00\x00\x00\x00\xa0\xc2\xfa\xf0\b\x15\x00\x00\x02\x04\x05\xb4\x04\x02\b\n\x00\x00\x00\a\x00\x00\x00\x00\x01\x03\x03\a" (49152 to 25, SYN, ECE, CWR) tcp.header
				source port "\xc0\x00" (49152) port.49152
				destination port "\x00\x19" (25) port.25
				sequence number "\xff\xff\xff\xfe" (4294967294) tcp.seq
				acknowledgment number "\x00\x00\x00\x00" (0, not in use) tcp.ack
				data offset "\xa0" (40 bytes) tcp.offset
				flags "\xc2" (SYN, ECE, CWR) tcp.flag.syn
				window "\xfa\xf0" (64240) tcp.window
				checksum "\b\x15" (0x0815 ok) tcp.checksum
				urgent pointer "\x00\x00" (0, not in use) tcp.urgent
				options "\x02\x04\x05\xb4\x04\x02\b\n\x00\x00\x00\a\x00\x00\x00\x00\x01\x03\x03\a" (20 bytes) tcp.options
					maximum segment size "\x02\x04\x05\xb4" (1460) tcp.option.mss
					SACK permitted "\x04\x02" tcp.option.sack-permitted
					timestamps "\b\n\x00\x00\x00\a\x00\x00\x00\x00" (7, echo of 0) tcp.option.timestamps
					no operation "\x01" tcp.option.padding
					window scale "\x03\x03\a" (7, windows count times 128) tcp.option.window-scale`},
	{"data over IPv6", string(dataPacket6()), `
			IPv6 "` + "`\\x00\\x00\\x00\\x000\\x06@ \\x01\\r\\xb8\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00% \\x01\\r\\xb8\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01" + `" (2001:db8::25 to 2001:db8::1) ip.v6
				version, traffic class, flow label "` + "`\\x00\\x00\\x00" + `" (6, DSCP 0, not ECN-capable, flow 0x00000) ip.flow
				payload length "\x000" (48) ip.length
				next header "\x06" (6 TCP) ip.protocol
				hop limit "@" (64) ip.ttl
				source address " \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00%" (2001:db8::25) ip.address
				destination address " \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" (2001:db8::1) ip.address
			TCP "\x00\x19\xc0\x00\x00\x00\x00\x01\x00\x00\x00\x02\xa0\x18\x01\xf5[7\x00\x00\x01\x01\x05\x12\x00\x00\x00d\x00\x00\x00\xc8\x00\x00\x01,\x00\x00\x01\x90" (25 to 49152, PSH, ACK) tcp.header
				source port "\x00\x19" (25) port.25
				destination port "\xc0\x00" (49152) port.49152
				sequence number "\x00\x00\x00\x01" (1) tcp.seq
				acknowledgment number "\x00\x00\x00\x02" (2) tcp.ack
				data offset "\xa0" (40 bytes) tcp.offset
				flags "\x18" (PSH, ACK) tcp.flag.psh
				window "\x01\xf5" (501) tcp.window
				checksum "[7" (0x5b37 ok) tcp.checksum
				urgent pointer "\x00\x00" (0, not in use) tcp.urgent
				options "\x01\x01\x05\x12\x00\x00\x00d\x00\x00\x00\xc8\x00\x00\x01,\x00\x00\x01\x90" (20 bytes) tcp.options
					no operation "\x01" tcp.option.padding
					no operation "\x01" tcp.option.padding
					SACK "\x05\x12\x00\x00\x00d\x00\x00\x00\xc8\x00\x00\x01,\x00\x00\x01\x90" (100 to 200, 300 to 400) tcp.option.sack
			payload "220 mx\r\n" (8 bytes) tcp.payload`},
	{"not IP", "220 mx", `
			rest "220 mx" (not an IP packet) field.rest`},
	{"too short", "E\x00\x00", `
			rest "E\x00\x00" (incomplete header) field.rest`},
}

func mustHex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestPacket(t *testing.T) { run(t, dissect.Packet, outline, packetExamples) }

// What a packet with something odd in it shows of that.
func TestPacketOddities(t *testing.T) {
	syn := synPacket()
	udp := exporttest.UDP(clientAddr, netip.AddrPortFrom(serverAddr.Addr(), 9), []byte("odd"))
	udp6 := exporttest.UDP(client6, netip.AddrPortFrom(server6.Addr(), 9), []byte("x"))
	options := exporttest.TCP{Src: clientAddr, Dst: serverAddr, Options: []byte{0, 9, 9, 9}}.Packet()
	withIPOptions := append(slices.Clone(syn[:20]), append([]byte{148, 4, 0, 0, 99, 3, 4, 0}, syn[20:]...)...)
	withIPOptions[0], withIPOptions[3] = 0x47, byte(len(withIPOptions))
	for name, x := range map[string]struct {
		packet []byte
		want   string // fields as "name=value", all of which are there
	}{
		"flipped bit in the payload of IP": {changed(syn, 33, syn[33]^1), "checksum=0x0815 bad, should be 0x0814|header checksum=0xb6a0 ok"},
		"flipped bit in the IP header":     {changed(syn, 8, 63), "header checksum=0xb6a0 bad, should be 0xb7a0"},
		"header length below 20":           {changed(syn, 0, 0x44), "version, header length=4, 16 bytes|rest=header length below 20"},
		"header length beyond the end":     {changed(syn, 0, 0x4f)[:30], "rest=|version, header length=4, 60 bytes"},
		"total length below the header":    {changed(syn, 2, 0, 19), "rest=total length shorter than the header"},
		"cut off":                          {syn[:50], "checksum=0x0815 not checked, the packet is not whole|rest=incomplete TCP header"},
		"cut off in the TCP header":        {syn[:39], "rest=incomplete TCP header"},
		"padded":                           {append(slices.Clone(syn), 0, 0), "window scale=7, windows count times 128|rest=after the end of the packet"},
		"first fragment":                   {changed(udp, 6, 0x20, 0), "flags, fragment offset=more fragments, offset 0|checksum=0xe84e not checked, the packet is not whole"},
		"later fragment":                   {changed(udp, 6, 0, 2), "flags, fragment offset=offset 16|fragment=bytes 16 to 26"},
		"congestion experienced":           {changed(syn, 1, 0xb9+2), "DSCP, ECN=DSCP 46, congestion experienced"},
		"another protocol":                 {changed(syn, 9, 132), "protocol=132 SCTP|payload=40 bytes"},
		"an unknown protocol":              {changed(syn, 9, 200), "protocol=200|payload=40 bytes"},
		"IP options":                       {withIPOptions, "router alert=148|option=99|end of options=0|flags=SYN, ECE, CWR"},
		"data offset below 20":             {changed(syn, 32, 0x40), "data offset=16 bytes|rest=data offset is wrong"},
		"reserved bits and AE":             {changed(syn, 32, 0xa5), "data offset=40 bytes, AE, reserved bits set|flags=SYN, ECE, CWR, AE"},
		"no flags":                         {changed(syn, 33, 0), "flags=none"},
		"all flags":                        {changed(syn, 32, 0xa1, 0xff), "flags=FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE|urgent pointer=0|acknowledgment number=0"},
		"option with length 0":             {changed(syn, 41, 0), "rest=malformed option"},
		"option beyond the header":         {changed(syn, 59, 0, 4), "window scale=0, windows count times 1"},
		"unknown option":                   {changed(syn, 40, 99), "option=99, 4 bytes"},
		"option of a wrong length":         {changed(syn, 41, 3), "option=2, 3 bytes"},
		"scale too large":                  {changed(syn, 59, 200), "window scale=200, windows count times 16384"},
		"end of options":                   {options, "end of options=|padding=3 bytes"},
		"UDP":                              {udp, "checksum=0xe84e ok|length=11|payload=3 bytes"},
		"UDP without checksum":             {changed(udp, 26, 0, 0), "checksum=none"},
		"UDP without checksum over IPv6":   {changed(udp6, 46, 0, 0), "checksum=0x0000 bad, IPv6 demands one"},
		"UDP shorter than IP says":         {changed(udp, 24, 0, 9, 0, 0), "length=9|payload=1 byte|rest=after the end of the datagram"},
		"UDP longer than IP says":          {changed(udp, 24, 0, 99), "length=99|checksum=0xe84e not checked, the length is wrong|rest=length is wrong"},
		"UDP header cut off":               {udp[:25], "rest=incomplete UDP header"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := dissect.Packet(x.packet)
			check(t, x.packet, fields)
			var got []string
			for _, f := range fields {
				got = append(got, f.Name+"="+f.Value)
			}
			for _, want := range strings.Split(x.want, "|") {
				if want != "rest=" {
					assert.Contains(t, got, want)
				}
			}
		})
	}
}

// The entry is that of the flag which says most.
func TestFlagEntries(t *testing.T) {
	for flags, want := range map[dissect.TCPFlags]string{
		dissect.SYN | dissect.ACK:               "tcp.flag.syn",
		dissect.RST | dissect.ACK:               "tcp.flag.rst",
		dissect.FIN | dissect.PSH | dissect.ACK: "tcp.flag.fin",
		dissect.ACK | dissect.ECE:               "tcp.flag.ece",
		dissect.ACK | dissect.CWR:               "tcp.flag.cwr",
		dissect.ACK | dissect.URG:               "tcp.flag.urg",
		dissect.ACK:                             "tcp.flag.ack",
		0:                                       "tcp.flag.none",
	} {
		packet := exporttest.TCP{Src: clientAddr, Dst: serverAddr, Flags: byte(flags)}.Packet()
		assert.Equal(t, want, find(t, dissect.Packet(packet), "flags").Book, flags)
	}
}

func TestParseSegment(t *testing.T) {
	s, ok := dissect.ParseSegment(synPacket())
	require.True(t, ok)
	assert.Equal(t, dissect.Segment{
		Src: clientAddr, Dst: serverAddr, Seq: 0xfffffffe, Flags: dissect.SYN | dissect.ECE | dissect.CWR, Window: 64240,
		MSS: 1460, WindowScale: 7, SACKPermitted: true, Timestamps: &[2]uint32{7, 0}, Payload: trace.Span{60, 60}, ChecksumOK: true,
	}, s)
	assert.EqualValues(t, 1, s.Len())

	packet := dataPacket6()
	s, ok = dissect.ParseSegment(packet)
	require.True(t, ok)
	assert.Equal(t, dissect.Segment{
		Src: server6, Dst: client6, Seq: 1, Ack: 2, Flags: dissect.ACK | dissect.PSH, Window: 501, WindowScale: -1,
		SACK: [][2]uint32{{100, 200}, {300, 400}}, Payload: trace.Span{80, 88}, ChecksumOK: true,
	}, s)
	assert.Equal(t, "220 mx\r\n", string(packet[s.Payload[0]:s.Payload[1]]))
	assert.EqualValues(t, 8, s.Len())

	// Bytes after the end of the packet are no payload.
	s, ok = dissect.ParseSegment(append(packet, "padding"...))
	require.True(t, ok)
	assert.Equal(t, trace.Span{80, 88}, s.Payload)

	for name, bad := range map[string][]byte{
		"TCP":       changed(synPacket(), 30, 1),
		"IP header": changed(synPacket(), 8, 1),
	} {
		s, ok = dissect.ParseSegment(bad)
		assert.True(t, ok, name)
		assert.False(t, s.ChecksumOK, name)
	}
	for name, other := range map[string][]byte{
		"empty":             nil,
		"cut off":           synPacket()[:59],
		"too short for TCP": changed(synPacket(), 2, 0, 39),
		"fragment":          changed(synPacket(), 6, 0x20),
		"UDP":               changed(synPacket(), 9, 17),
		"bad data offset":   changed(synPacket(), 32, 0xf0),
		"bad header length": changed(synPacket(), 0, 0x41),
	} {
		_, ok = dissect.ParseSegment(other)
		assert.False(t, ok, name)
	}
}

// Checksums of packets with flipped bits are right or wrong for tshark as they
// are for us, and what both read from the headers is the same.
func TestPacketAgreesWithTShark(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var packets [][]byte
	for range 300 {
		src, dst := clientAddr, serverAddr
		if rng.IntN(2) == 0 {
			src, dst = client6, server6
		}
		payload := make([]byte, rng.IntN(50))
		for i := range payload {
			payload[i] = byte(rng.IntN(256))
		}
		packet := exporttest.TCP{
			Src: src, Dst: dst, Seq: rng.Uint32(), Ack: rng.Uint32(), Flags: byte(rng.IntN(256)), Window: uint16(rng.IntN(1 << 16)),
			Options: handshakeOptions, Payload: payload,
		}.Packet()
		if rng.IntN(3) == 0 {
			// Not where the headers start: other lengths make other packets.
			at := len(packet) - 1 - rng.IntN(len(payload)+len(handshakeOptions)+6)
			packet[at] ^= 1 << rng.IntN(8)
		}
		packets = append(packets, packet)
	}
	var c export.Capture
	for _, p := range packets {
		c.Packets = append(c.Packets, export.Packet{Time: start, Bytes: p})
	}
	lines := exporttest.TShark(t, c, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "tcp.relative_sequence_numbers:FALSE",
		"-T", "fields", "-e", "ip.ttl", "-e", "ipv6.hlim", "-e", "tcp.seq_raw", "-e", "tcp.ack_raw", "-e", "tcp.flags", "-e", "tcp.window_size_value",
		"-e", "tcp.checksum.status", "-e", "tcp.hdr_len", "-e", "tcp.len")
	require.Len(t, lines, len(packets))
	bad := 0
	for i, p := range packets {
		s, ok := dissect.ParseSegment(p)
		require.True(t, ok)
		status := 1
		if !s.ChecksumOK {
			status = 0
			bad++
		}
		ttl := "64\t"
		if s.Src.Addr().Is6() {
			ttl = "\t64"
		}
		head, size := 40, s.Payload[1]-s.Payload[0]
		assert.Equal(t, fmt.Sprintf("%s\t%d\t%d\t0x%04x\t%d\t%d\t%d\t%d", ttl, s.Seq, s.Ack, uint16(s.Flags), s.Window, status, head, size), lines[i])
		verdict := find(t, dissect.Packet(p), "checksum").Value
		assert.Equal(t, !s.ChecksumOK, strings.Contains(verdict, " bad"), verdict)
	}
	assert.Greater(t, bad, 50)
}

// answer is a DNS message in a packet from the resolver.
func answer(message string) []byte { return exporttest.UDP(resolver, clientAddr, []byte(message)) }

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

// dnsHead has the given flags and counts.
func dnsHead(flags, questions, answers, authority, additional int) string {
	return "\xbe\xef" + u16(flags) + u16(questions) + u16(answers) + u16(authority) + u16(additional)
}

// dnsRecord has class IN and lives for 300 s.
func dnsRecord(name string, kind int, data string) string {
	return name + u16(kind) + "\x00\x01\x00\x00\x01\x2c" + u16(len(data)) + data
}

// Offset 12 is where the question's name stands.
const dnsQuestion = "\x07example\x03net\x00"

var mxAnswer = answer(dnsHead(0x8180, 1, 2, 0, 2) + dnsQuestion + "\x00\x0f\x00\x01" +
	dnsRecord("\xc0\x0c", 15, "\x00\x0a\x02mx\xc0\x0c") +
	dnsRecord("\xc0\x0c", 15, "\x00\x14\x00") +
	dnsRecord("\xc0\x2b", 1, "\xc0\x00\x02\x19") +
	"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x0c\x00\x0a\x00\x08abcdefgh")

func TestDNS(t *testing.T) {
	packet := mxAnswer
	fields := dissect.Packet(packet)
	check(t, packet, fields)
	i := slices.IndexFunc(fields, func(f trace.Field) bool { return f.Name == "DNS" })
	require.Positive(t, i)
	var got strings.Builder
	for _, f := range fields[i:] {
		fmt.Fprintf(&got, "%s%s (%s) %s\n", strings.Repeat("  ", f.Depth), f.Name, f.Value, f.Book)
	}
	assert.Equal(t, strings.TrimSpace(`
DNS (response, NOERROR) dns.header
  id (0xbeef) dns.id
  flags (response, recursion desired, recursion available, NOERROR) dns.rcode.noerror
  questions (1) dns.count
  answers (2) dns.count
  authority records (0) dns.count
  additional records (2) dns.count
question (example.net MX) dns.question
  name (example.net) dns.name
  type (MX) dns.type.mx
  class (IN) dns.class
answer (example.net MX 10 mx.example.net) dns.type.mx
  name (example.net) dns.name
  type (MX) dns.type.mx
  class (IN) dns.class
  time to live (300 s) dns.ttl
  length (7) field.length
  preference (10) dns.type.mx
  exchange (mx.example.net) dns.type.mx
answer (example.net MX 20 .) dns.type.mx
  name (example.net) dns.name
  type (MX) dns.type.mx
  class (IN) dns.class
  time to live (300 s) dns.ttl
  length (3) field.length
  preference (20) dns.type.mx
  exchange (.) dns.type.mx
additional (mx.example.net A 192.0.2.25) dns.type.a
  name (mx.example.net) dns.name
  type (A) dns.type.a
  class (IN) dns.class
  time to live (300 s) dns.ttl
  length (4) field.length
  address (192.0.2.25) dns.type.a
additional (. OPT) dns.type.opt
  name (.) dns.name
  type (OPT) dns.type.opt
  UDP payload size (1232) dns.type.opt
  extended RCODE, version, flags (extended RCODE 0, version 0, DNSSEC OK) dns.type.opt
  length (12) field.length
  option (10, 12 bytes) dns.type.opt`), strings.TrimSpace(got.String()))
}

func TestDNSAgreesWithTShark(t *testing.T) {
	c := export.Capture{Packets: []export.Packet{{Time: start, Bytes: mxAnswer}}}
	assert.Empty(t, exporttest.Malformed(t, c))
	assert.Equal(t, []string{"0xbeef\t0x8180\texample.net\t10,20\tmx.example.net,<Root>\t192.0.2.25\t300,300,300\t1232"},
		exporttest.TShark(t, c, "-T", "fields", "-e", "dns.id", "-e", "dns.flags", "-e", "dns.qry.name", "-e", "dns.mx.preference",
			"-e", "dns.mx.mail_exchange", "-e", "dns.a", "-e", "dns.resp.ttl", "-e", "dns.rr.udp_payload_size"))
}

// The data of one record of each type, and what is shown of them.
func TestDNSRecords(t *testing.T) {
	for name, x := range map[string]struct {
		kind int
		data string
		want string // name=value of the fields in the data
	}{
		"AAAA":                {28, "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x19", "address=2001:db8::19"},
		"CNAME":               {5, "\x05other\xc0\x0c", "target=other.example.net"},
		"NS":                  {2, "\x02ns\xc0\x14", "target=ns.net"},
		"PTR":                 {12, "\x02mx\x00", "target=mx"},
		"TXT":                 {16, "\x06v=spf1\x04 -\x07\\", "text=v=spf1|text= -\\007\\\\"},
		"SOA":                 {6, "\x02ns\xc0\x0c\x04root\xc0\x0c" + "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x05", "primary server=ns.example.net|mailbox=root.example.net|serial=1|refresh=2 s|retry=3 s|expire=4 s|minimum=5 s"},
		"other":               {99, "abc", "data=3 bytes"},
		"odd name":            {5, "\x04a.b\xff\x02\\ \x00", "target=a\\.b\\255.\\\\\\032"},
		"A too short":         {1, "abc", "data=malformed"},
		"A too long":          {1, strings.Repeat("a", 16), "data=malformed"},
		"MX too short":        {15, "\x00", "data=malformed"},
		"MX without name":     {15, "\x00\x01", "data=malformed"},
		"MX with more":        {15, "\x00\x01\x00x", "data=malformed"},
		"TXT beyond the end":  {16, "\x01a\x05b", "data=malformed"},
		"TXT without strings": {16, "", ""},
		"SOA too short":       {6, "\x00\x00\x00\x00", "data=malformed"},
		"OPT beyond the end":  {41, "\x00\x0a\x00\x09", "data=malformed"},
		"loop":                {5, "\xc0\x29", "data=malformed"},
		"loop of two":         {5, "\x01a\xc0\x29", "data=malformed"},
		"pointer ahead":       {5, "\xc0\x2b\x01a\x00", "data=malformed"},
		"pointer cut off":     {5, "\xc0", "data=malformed"},
		"reserved label":      {5, "\x80a", "data=malformed"},
		"name too long":       {5, strings.Repeat("\x3f"+strings.Repeat("a", 63), 4) + "\x00", "data=malformed"},
		"longest name":        {5, strings.Repeat("\x3f"+strings.Repeat("a", 63), 3) + "\x3d" + strings.Repeat("a", 61) + "\x00", "target=" + strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("a", 61)},
	} {
		t.Run(name, func(t *testing.T) {
			packet := answer(dnsHead(0x8180, 1, 1, 0, 0) + dnsQuestion + "\x00\xff\x00\x01" + dnsRecord("\xc0\x0c", x.kind, x.data))
			fields := dissect.Packet(packet)
			check(t, packet, fields)
			last := -1
			for i, f := range fields {
				if f.Name == "length" {
					last = i
				}
			}
			var got []string
			for _, f := range fields[last+1:] {
				got = append(got, f.Name+"="+f.Value)
			}
			assert.Equal(t, x.want, strings.Join(got, "|"))
		})
	}
}

func TestDNSFlags(t *testing.T) {
	for flags, want := range map[int]string{
		0x0100: "query, recursion desired dns.flags",
		0x0000: "query dns.flags",
		0x2800: "query, opcode 5 dns.flags",
		0x8583: "response, authoritative, recursion desired, recursion available, NXDOMAIN dns.rcode.nxdomain",
		0x8382: "response, truncated, recursion desired, recursion available, SERVFAIL dns.rcode.servfail",
		0x81b5: "response, recursion desired, recursion available, authenticated data, checking disabled, REFUSED dns.rcode.refused",
		0x800f: "response, RCODE 15 dns.rcode.other",
		0x8004: "response, NOTIMP dns.rcode.notimp",
	} {
		fields := dissect.Packet(answer(dnsHead(flags, 0, 0, 0, 0)))
		i := slices.IndexFunc(fields, func(f trace.Field) bool { return f.Name == "DNS" })
		require.Positive(t, i)
		f := find(t, fields[i:], "flags")
		assert.Equal(t, want, f.Value+" "+f.Book)
	}
}

// Messages that break off or lie about their counts.
func TestDNSMalformed(t *testing.T) {
	for name, x := range map[string]struct{ message, want string }{
		"header cut off":        {"\xbe\xef\x01", "payload=3 bytes"},
		"question cut off":      {dnsHead(0x0100, 1, 0, 0, 0) + "\x07example\x03net\x00\x00\x0f", "rest=malformed"},
		"record cut off":        {dnsHead(0x8180, 0, 1, 0, 0) + dnsRecord("\x00", 1, "abcd")[:12], "rest=malformed"},
		"more than there are":   {dnsHead(0x8180, 0, 65535, 65535, 65535) + dnsRecord("\x00", 1, "abcd"), "address=97.98.99.100"},
		"bytes after the end":   {dnsHead(0x0100, 0, 0, 0, 0) + "more", "rest=after the last record"},
		"name without an end":   {dnsHead(0x0100, 1, 0, 0, 0) + "\x07example", "rest=malformed"},
		"pointer to the header": {dnsHead(0x0100, 1, 0, 0, 0) + "\xc0\x04\x00\x01\x00\x01", "name=."},
	} {
		t.Run(name, func(t *testing.T) {
			packet := answer(x.message)
			fields := dissect.Packet(packet)
			check(t, packet, fields)
			f := fields[len(fields)-1]
			got := f.Name + "=" + f.Value
			if name == "pointer to the header" {
				got = "name=" + find(t, fields, "name").Value
			}
			assert.Equal(t, x.want, got)
		})
	}
}

// Messages that are made to cost much.
func TestHostilePackets(t *testing.T) {
	const size = 60_000
	record := func(kind int, data string) string {
		return dnsHead(0x8180, 0, 1, 0, 0) + dnsRecord("\x00", kind, data)
	}
	for name, x := range map[string]struct {
		message string
		bounded bool // by the number of fields
	}{
		"questions": {dnsHead(0x0100, 65535, 0, 0, 0) + strings.Repeat("\x00\x00\x01\x00\x01", size/5), true},
		"records":   {dnsHead(0x8180, 0, 65535, 0, 0) + strings.Repeat(dnsRecord("\x00", 1, "abcd"), size/15), true},
		"strings":   {record(16, strings.Repeat("\x00", size)), true},
		"options":   {record(41, strings.Repeat("\x00\x01\x00\x00", size/4)), true},
		"pointers":  {dnsHead(0x8180, 0, 1, 0, 0) + dnsRecord("\x00", 99, pointers(8000)) + strings.Repeat("\xff\xff", 1000), false},
	} {
		t.Run(name, func(t *testing.T) {
			packet := answer(x.message)
			fields := dissect.Packet(packet)
			check(t, packet, fields)
			if x.bounded {
				rest := fields[len(fields)-1]
				assert.Equal(t, "rest", rest.Name)
				assert.Empty(t, rest.Value)
				assert.Greater(t, rest.Len, int64(len(packet)/2))
			}
		})
	}
}

// pointers are that many names, each but the first a pointer to the one before.
func pointers(n int) string {
	const at = 12 + 11 // where the data of the first record start
	var b strings.Builder
	b.WriteString("\x00\x00")
	for i := range n - 1 {
		b.WriteString(u16(0xc000 | (at + 2*i)))
	}
	return b.String()
}

// A name behind more pointers than a name has labels is not followed.
func TestPointersAreBounded(t *testing.T) {
	for n, want := range map[int]string{100: "target=.", 200: "data=malformed"} {
		head := dnsHead(0x8180, 0, 2, 0, 0) + dnsRecord("\x00", 99, pointers(n))
		packet := answer(head + dnsRecord("\x00", 5, u16(0xc000|(12+11+2*(n-1)))))
		fields := dissect.Packet(packet)
		check(t, packet, fields)
		last := fields[len(fields)-1]
		assert.Equal(t, want, last.Name+"="+last.Value)
	}
}
