package export

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"sort"
	"time"

	"smtpscope/protocol/trace"
)

// Segments are packets that carry the bytes of a session, of which none was
// captured: the page sees a connection and no packets. The bytes and their times are
// those of the trace; all else is made up, and the comments say so. Sequence numbers
// are offsets in the streams of the wire, plus one.
func Segments(t *trace.Trace) Capture {
	s := synthesis{t: t, addr: endpoints(t), sent: map[trace.Direction]int64{}, fin: map[trace.Direction]uint32{}}
	s.run()
	c := Capture{
		OS: "synthesized", Application: t.Meta.Tool, Packets: s.packets,
		Comment: "Synthesized: no packet of this file was captured. The bytes that TCP carries are those that crossed the connection, at the times at which the page sent or read them." +
			" Headers, acknowledgments and the sizes of segments are made up.",
		Interfaces: []Interface{{Name: "synthesized", Description: "what the page sent and read, as TCP segments"}},
	}
	if s.missing > 0 {
		c.Comment += fmt.Sprintf(" %d octets are missing: of a long message the trace keeps the head and the tail. Sequence numbers jump there, and TLS cannot be opened behind it.", s.missing)
	}
	return c
}

// synthesis builds the packets of one connection.
type synthesis struct {
	t       *trace.Trace
	addr    map[trace.Direction]netip.AddrPort // of who sends
	sent    map[trace.Direction]int64          // octets of the wire so far
	fin     map[trace.Direction]uint32         // 1 once it has been sent
	at      int64                              // T of the last packet
	tls     bool
	missing int64
	packets []Packet
}

// Flags of a TCP header (RFC 9293, 3.1).
const (
	flagFIN = 1 << iota
	flagSYN
	_
	flagPSH
	flagACK
)

func (s *synthesis) run() {
	opened := false
	open := func(from, to int64) {
		if opened {
			return
		}
		opened = true
		s.at = from
		s.send(trace.Out, flagSYN, nil, "")
		s.at = to
		s.send(trace.In, flagSYN|flagACK, nil, "")
		s.send(trace.Out, flagACK, nil, "")
	}
	handshake, closedBy := false, trace.Out
	var finished []*trace.Event // what the client says at the end of a handshake is recorded ahead of what it answers
	for i := range s.t.Events {
		e := &s.t.Events[i]
		switch {
		case e.Layer == trace.LayerTunnel && e.Kind == trace.KindOpened:
			var d trace.TunnelData
			_ = json.Unmarshal(e.Data, &d) // Decode has read it
			open(max(0, e.T-int64(d.Connect)), e.T)
		case e.Layer == trace.LayerTLS && e.Kind == trace.KindStart:
			handshake, s.tls = true, true
		case e.Layer == trace.LayerTLS && (e.Kind == trace.KindHandshake || e.Kind == trace.KindAlert):
			handshake = false
			for _, f := range finished {
				s.carry(f)
			}
		case e.Layer == trace.LayerSMTP && e.Kind == trace.KindClosed && e.Hop == 0:
			closedBy = trace.In
		case handshake && e.Dir == trace.Out && s.sealed(e):
			finished = append(finished, e)
		case s.onWire(e):
			open(e.T, e.T)
			s.carry(e)
		}
	}
	if !opened || s.t.Result == nil {
		return
	}
	s.at = max(s.at, int64(s.t.Result.Elapsed))
	for _, dir := range []trace.Direction{trace.Out, trace.In} {
		if w := s.t.Streams[wire(dir)]; w != nil { // what no event names
			s.data(dir, w.Len(), s.at, "read, and belongs to no event")
		}
	}
	for _, dir := range []trace.Direction{closedBy, opposite(closedBy)} {
		s.send(dir, flagFIN|flagACK, nil, "")
	}
	s.send(closedBy, flagACK, nil, "")
}

// onWire tells whether an event has bytes on the wire of its own: in TLS, records
// have them and what these carry does not.
func (s *synthesis) onWire(e *trace.Event) bool {
	switch {
	case e.At == nil || e.Hop != 0:
		return false
	case e.At.Stream == wire(e.Dir):
		return e.At.Len > 0
	}
	return !s.tls && (e.At.Stream == trace.TextOut || e.At.Stream == trace.TextIn)
}

// sealed tells whether an event is a record whose type TLS hides.
func (s *synthesis) sealed(e *trace.Event) bool {
	const applicationData = 23
	if e.Kind != trace.KindRecord {
		return false
	}
	b, _ := s.t.Streams[e.At.Stream].Bytes(e.At.Off, 1)
	return len(b) == 1 && b[0] == applicationData
}

// carry sends the bytes of an event, and what came before them.
func (s *synthesis) carry(e *trace.Event) {
	if e.Kind == trace.KindMessage {
		var d trace.MessageData
		_ = json.Unmarshal(e.Data, &d) // as above
		s.at = max(s.at, d.Started)
	}
	s.data(e.Dir, e.At.End(), e.T, fmt.Sprintf("event %d, %s %s", e.N, e.Layer, e.Kind))
}

// data sends a stream up to an offset; the last segment leaves at t.
func (s *synthesis) data(dir trace.Direction, until, t int64, what string) {
	const pieces = 2 // segments for each acknowledgment (RFC 9293, 3.8.6.3)
	size, from, began := s.segmentSize(), s.sent[dir], s.at
	for n := 1; s.sent[dir] < until; n++ {
		off := s.sent[dir]
		b, skipped := s.next(wire(dir), off, min(size, until-off), until)
		comment := what
		if skipped > 0 {
			s.missing += skipped
			s.sent[dir] += skipped
			comment = fmt.Sprintf("%s; %d octets before these were not kept", what, skipped)
		}
		if end := s.sent[dir] + int64(len(b)); t > began {
			s.at = began + int64(float64(t-began)*float64(end-from)/float64(until-from))
		}
		if len(b) == 0 {
			return
		}
		last := s.sent[dir]+int64(len(b)) >= until
		flags := byte(flagACK)
		if last {
			flags |= flagPSH
		}
		s.send(dir, flags, b, comment)
		if last || n%pieces == 0 {
			s.send(opposite(dir), flagACK, nil, "")
		}
	}
}

// next returns up to n bytes of a stream from an offset on, and how many had to be
// skipped because they were not kept.
func (s *synthesis) next(stream string, off, n, until int64) (b []byte, skipped int64) {
	w := s.t.Streams[stream]
	if first, _ := w.Bytes(off, 1); len(first) == 0 {
		skipped = int64(sort.Search(int(until-off), func(k int) bool {
			b, _ := w.Bytes(off, int64(k)+1)
			return len(b) > 0
		}))
		off, n = off+skipped, min(n, until-off-skipped)
	}
	b, whole := w.Bytes(off, n)
	if !whole { // a gap begins in between
		kept := sort.Search(int(n), func(k int) bool {
			_, whole := w.Bytes(off, int64(k)+1)
			return !whole
		})
		b, _ = w.Bytes(off, int64(kept))
	}
	return b, skipped
}

// send adds a packet.
func (s *synthesis) send(dir trace.Direction, flags byte, payload []byte, what string) {
	back := opposite(dir)
	seq := uint32(s.sent[dir])
	if flags&flagSYN == 0 {
		seq += 1 + s.fin[dir]
	}
	var ack uint32
	if flags&flagACK != 0 {
		ack = uint32(s.sent[back]) + 1 + s.fin[back]
	}
	var options []byte
	if flags&flagSYN != 0 {
		options = binary.BigEndian.AppendUint16([]byte{2, 4}, uint16(s.segmentSize())) // maximum segment size (RFC 9293, 3.7.1)
	}
	comment := "synthesized"
	if what != "" {
		comment += ": " + what
	}
	s.packets = append(s.packets, Packet{
		Time: s.t.Meta.Started.Add(time.Duration(s.at)), Comment: comment,
		Bytes: tcpPacket(s.addr[dir], s.addr[back], seq, ack, flags, options, payload),
	})
	s.sent[dir] += int64(len(payload))
	if flags&flagFIN != 0 {
		s.fin[dir] = 1
	}
}

// segmentSize is the largest payload in an Ethernet frame of 1500 octets.
func (s *synthesis) segmentSize() int64 {
	if s.addr[trace.Out].Addr().Is4() {
		return 1460
	}
	return 1440
}

func wire(dir trace.Direction) string {
	if dir == trace.In {
		return trace.WireIn
	}
	return trace.WireOut
}

func opposite(dir trace.Direction) trace.Direction {
	if dir == trace.In {
		return trace.Out
	}
	return trace.In
}

// endpoints are the addresses of the proxy's connection, or of documentation (RFC
// 5737, RFC 3849) where they are not known.
func endpoints(t *trace.Trace) map[trace.Direction]netip.AddrPort {
	var d trace.TunnelData
	for _, e := range t.Events {
		if e.Layer == trace.LayerTunnel && e.Kind == trace.KindOpened {
			_ = json.Unmarshal(e.Data, &d) // as above
		}
	}
	port := uint16(25)
	if d.Port > 0 && d.Port <= 65535 {
		port = uint16(d.Port)
	}
	server, err := netip.ParseAddrPort(d.Address)
	if err != nil {
		server = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.25"), port)
	}
	server = plain(server)
	client, err := netip.ParseAddrPort(d.Local)
	if client = plain(client); err != nil || client.Addr().Is4() != server.Addr().Is4() {
		address := "192.0.2.10"
		if server.Addr().Is6() {
			address = "2001:db8::10"
		}
		client = netip.AddrPortFrom(netip.MustParseAddr(address), 49152)
	}
	return map[trace.Direction]netip.AddrPort{trace.Out: client, trace.In: server}
}

// plain takes zones and mappings of IPv4 off, which no packet has.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// tcpPacket is a segment in an IP packet, checksums filled in (RFC 9293, 3.1; RFC
// 791, 3.1; RFC 8200, 3).
func tcpPacket(from, to netip.AddrPort, seq, ack uint32, flags byte, options, payload []byte) []byte {
	const protocol, window = 6, 65535
	size := 20 + len(options) + len(payload)
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()

	var p []byte
	if from.Addr().Is4() {
		p = append(p, 0x45, 0)
		p = binary.BigEndian.AppendUint16(p, uint16(20+size))
		p = append(p, 0, 0, 0x40, 0, 64, protocol, 0, 0) // don't fragment, so no identification (RFC 6864)
		p = append(append(p, src...), dst...)
		binary.BigEndian.PutUint16(p[10:], checksum(0, p))
	} else {
		p = append(p, 0x60, 0, 0, 0)
		p = binary.BigEndian.AppendUint16(p, uint16(size))
		p = append(p, protocol, 64)
		p = append(append(p, src...), dst...)
	}
	head := len(p)
	p = binary.BigEndian.AppendUint16(p, from.Port())
	p = binary.BigEndian.AppendUint16(p, to.Port())
	p = binary.BigEndian.AppendUint32(p, seq)
	p = binary.BigEndian.AppendUint32(p, ack)
	p = append(p, byte(20+len(options))<<2, flags)
	p = binary.BigEndian.AppendUint16(p, window)
	p = append(p, 0, 0, 0, 0)
	p = append(append(p, options...), payload...)

	pseudo := uint32(protocol) + uint32(size) // the pseudo-header, besides the addresses
	for _, a := range [][]byte{src, dst} {
		pseudo = sum(pseudo, a)
	}
	binary.BigEndian.PutUint16(p[head+16:], checksum(pseudo, p[head:]))
	return p
}

// checksum is that of RFC 1071, over what was added up before and b.
func checksum(before uint32, b []byte) uint16 {
	total := sum(before, b)
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return ^uint16(total)
}

func sum(total uint32, b []byte) uint32 {
	for i, c := range b {
		if i%2 == 0 {
			total += uint32(c) << 8
		} else {
			total += uint32(c)
		}
	}
	return total
}
