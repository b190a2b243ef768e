package experiment

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"
)

// unrecorded stands for the event of a packet that has none.
const unrecorded = -1

// packets writes the lab's packets into the trace, and what TCP says of them.
type packets struct {
	mu     sync.Mutex
	rec    *trace.Recorder
	client string // its traffic has a direction
	flows  map[[2]netip.AddrPort]*flow
	opened int
	events map[int]int       // event of each packet, by its number in the lab
	flying []internet.Packet // TCP segments under way, in the order in which they arrive
	taken  int
}

// flow is one TCP connection.
type flow struct {
	number int
	ends   [2]*end // its initiator, and the other host
	syns   int     // sent by its initiator
	// The streams that it carries, of its initiator and of the other host; "" until it is known.
	streams [2]string
}

// end is one host of a flow.
type end struct {
	host  string
	view  dissect.Flow // what a capture on this host sees
	sent  dissect.Sent
	state trace.StateData // the last one written
}

func newPackets(rec *trace.Recorder, client string) *packets {
	return &packets{rec: rec, client: client, flows: map[[2]netip.AddrPort]*flow{}, events: map[int]int{}}
}

// sent records a packet that was put on a link.
func (p *packets) sent(packet internet.Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrived(packet.Sent)
	b := packet.Bytes
	data := trace.PacketData{Arrives: int64(packet.Arrives), Fate: trace.Fate(packet.Fate), Held: int64(packet.Held)}
	if f := packet.Flip; f != nil { // the trace has what was sent
		data.Flip = &trace.Flip{Offset: f.Offset, Mask: f.Mask}
		b = slices.Clone(b)
		b[f.Offset] ^= f.Mask
	}
	e := trace.Event{Src: trace.Simulated, From: packet.From, To: packet.To, Dir: p.direction(packet)}
	if of, ok := p.events[packet.Of]; ok {
		data.Of = &of
	}
	segment, isTCP := dissect.ParseSegment(b)
	var analysis dissect.Analysis
	var side *end
	var f *flow
	switch {
	case isTCP:
		e.Layer, e.Kind = trace.LayerTCP, trace.KindSegment
		f, side = p.flow(packet, segment)
		if side == f.ends[0] && segment.Flags.Has(dissect.SYN) && packet.Of < 0 {
			f.syns++
		}
		if packet.Of < 0 {
			analysis, _ = side.view.Add(packet.Sent, segment)
		}
		p.describe(&e, &data, f, side, segment, analysis, packet.Of >= 0)
	default:
		p.datagram(&e, &data, b)
	}
	special := packet.Fate != internet.Delivered || data.Segment != nil && data.Segment.Again != nil || analysis.Marks != 0 ||
		isTCP && segment.Flags.Has(dissect.SYN|dissect.FIN|dissect.RST)
	p.taken++
	event := unrecorded
	if p.taken <= trace.PacketsRecorded || special {
		at := p.rec.Packet(b)
		e.At, e.Data = &at, trace.Encode(data)
		if p.taken <= trace.PacketsWithFields || special {
			e.Fields = dissect.Packet(b)
		}
		event = p.rec.Add(e)
		p.events[packet.Seq] = event
	}
	if !isTCP {
		return
	}
	if segment.Len() > 0 && packet.Of < 0 {
		side.sent.Add(data.Segment.Seq, segment.Len(), event)
	}
	if packet.Fate != internet.Lost {
		p.fly(packet)
	}
	if event != unrecorded {
		p.remark(side.host, event, analysis)
	}
}

// fly keeps a segment until it reaches its host.
func (p *packets) fly(packet internet.Packet) {
	i, _ := slices.BinarySearchFunc(p.flying, packet, func(a, b internet.Packet) int {
		return cmp.Or(cmp.Compare(a.Arrives, b.Arrives), cmp.Compare(a.Seq, b.Seq))
	})
	p.flying = slices.Insert(p.flying, i, packet)
}

func (p *packets) direction(packet internet.Packet) trace.Direction {
	switch p.client {
	case packet.From:
		return trace.Out
	case packet.To:
		return trace.In
	}
	return ""
}

// flow finds the connection of a segment, and the host that sends it.
func (p *packets) flow(packet internet.Packet, s dissect.Segment) (*flow, *end) {
	key := [2]netip.AddrPort{s.Src, s.Dst}
	if f := p.flows[key]; f != nil && !(s.Flags.Has(dissect.SYN) && !s.Flags.Has(dissect.ACK) && f.ends[0].view.Over(s)) {
		return f, f.ends[0]
	}
	if f := p.flows[[2]netip.AddrPort{s.Dst, s.Src}]; f != nil {
		return f, f.ends[1]
	}
	f := &flow{number: p.opened, ends: [2]*end{{host: packet.From}, {host: packet.To}}}
	p.opened++
	p.flows[key] = f
	return f, f.ends[0]
}

// name tells which streams a connection carries.
func (p *packets) name(ends [2]netip.AddrPort, out, in string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flows[ends]; f != nil {
		f.streams = [2]string{out, in}
	}
}

// describe says what a segment means to the host that sends it.
func (p *packets) describe(e *trace.Event, data *trace.PacketData, f *flow, side *end, s dissect.Segment, a dissect.Analysis, copied bool) {
	data.Segment, e.Text = dissect.Describe(f.number, s, a)
	d := data.Segment
	if copied { // it says what its original says
		e.Text = "a copy"
		return
	}
	if first, again := side.sent.First(d.Seq); again && s.Len() > 0 && first != unrecorded {
		d.Again = &first
	}
	stream := f.streams[0]
	if side == f.ends[1] {
		stream = f.streams[1]
	}
	if d.Len > 0 && stream != "" && a.Offset >= 0 {
		data.Carries = &trace.Range{Stream: stream, Off: a.Offset, Len: int64(d.Len)}
	}
}

// unanswered is how many SYNs the client has sent for a connection that was not answered.
func (p *packets) unanswered() (syns int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.flows {
		if _, answered := f.ends[1].sent.First(0); f.ends[0].host == p.client && !answered {
			syns = max(syns, f.syns)
		}
	}
	return syns
}

// arrive takes note of the segments that have reached their host by now.
func (p *packets) arrive(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrived(now)
}

func (p *packets) arrived(now time.Duration) {
	for len(p.flying) > 0 && p.flying[0].Arrives <= now {
		packet := p.flying[0]
		p.flying = slices.Delete(p.flying, 0, 1)
		s, ok := dissect.ParseSegment(packet.Bytes)
		if !ok || !s.ChecksumOK {
			continue // the host drops it
		}
		f, side := p.flow(packet, s)
		receiver := f.ends[0]
		if side == receiver {
			receiver = f.ends[1]
		}
		a, _ := receiver.view.Add(packet.Arrives, s)
		if event, recorded := p.events[packet.Seq]; recorded {
			p.remark(receiver.host, event, a)
		}
	}
}

func (p *packets) remark(host string, packet int, a dissect.Analysis) {
	if e, remarkable := a.Remark(packet, host); remarkable {
		p.rec.Add(e)
	}
}

// state records what the TCP of a host says of a connection, when it is news.
func (p *packets) state(s internet.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	event, ok := p.events[s.Packet]
	if !ok {
		return
	}
	f, i := p.flows[[2]netip.AddrPort{s.Local, s.Remote}], 0
	if f == nil {
		f, i = p.flows[[2]netip.AddrPort{s.Remote, s.Local}], 1
	}
	if f == nil {
		return
	}
	d := trace.StateData{Host: s.Host, Flow: f.number, Name: s.Name,
		CongestionWindow: s.CongestionWindow, SlowStartThreshold: s.SlowStartThreshold, Congestion: s.Congestion,
		RTO: int64(s.RTO), SRTT: int64(s.SRTT), RTTVar: int64(s.RTTVar)}
	side := f.ends[i]
	if n := s.Inner; n != nil {
		d.Inner = &trace.InnerData{Outstanding: n.Outstanding, InFlight: n.InFlight, SendWindow: n.SendWindow, ReceiveWindow: n.ReceiveWindow,
			SendBuffered: n.SendBuffered, Unread: n.Unread, MSS: n.MSS}
	}
	if sameState(side.state, d) {
		return
	}
	side.state = d
	d.Packet = event
	p.rec.Add(trace.Event{Layer: trace.LayerTCP, Kind: trace.KindState, Src: trace.Simulated, Data: trace.Encode(d),
		Text: fmt.Sprintf("%s %s, congestion window %d, RTO %v", s.Host, s.Name, s.CongestionWindow, s.RTO.Round(time.Millisecond))})
}

// sameState tells whether b says nothing that a has not said.
func sameState(a, b trace.StateData) bool {
	inner := b.Inner == nil || a.Inner != nil && *a.Inner == *b.Inner
	a.Inner, b.Inner = nil, nil
	return inner && a == b
}

// datagram describes what is no TCP segment.
func (p *packets) datagram(e *trace.Event, data *trace.PacketData, b []byte) {
	const ipHeader, udpHeader, protocolUDP, dnsPort = 20, 8, 17, 53
	e.Layer, e.Kind, e.Text = trace.LayerIP, trace.KindPacket, fmt.Sprintf("IP packet, %d octets", len(b))
	fragment := len(b) < ipHeader+udpHeader || b[6]&0x3f != 0 || b[7] != 0
	if fragment || b[9] != protocolUDP {
		return
	}
	payload := b[ipHeader+udpHeader:]
	source, destination := int(b[ipHeader])<<8|int(b[ipHeader+1]), int(b[ipHeader+2])<<8|int(b[ipHeader+3])
	e.Layer, e.Kind = trace.LayerUDP, trace.KindDatagram
	e.Text = fmt.Sprintf("datagram, %d octets", len(payload))
	if source != dnsPort && destination != dnsPort {
		p.carries(e, data, payload)
		return
	}
	var m dnsmessage.Message
	if m.Unpack(payload) != nil || len(m.Questions) == 0 {
		return
	}
	e.Layer, e.Kind = trace.LayerDNS, trace.KindQuery
	if m.Response {
		e.Kind = trace.KindAnswer
	}
	e.Text = dnsWords(m)
}

// carries finds the bytes of a datagram of the client at the end of what it has
// written. What a server sent is known to the trace only when it is read.
func (p *packets) carries(e *trace.Event, data *trace.PacketData, payload []byte) {
	if e.From != p.client || len(payload) == 0 {
		return
	}
	n := int64(len(payload))
	at := trace.Range{Stream: trace.WireOut, Off: p.rec.Len(trace.WireOut) - n, Len: n}
	if at.Off >= 0 && string(p.rec.Bytes(at)) == string(payload) {
		data.Carries = &at
	}
}

func dnsWords(m dnsmessage.Message) string {
	q := m.Questions[0]
	name := func(n dnsmessage.Name) string { return strings.TrimSuffix(n.String(), ".") }
	question := strings.TrimPrefix(q.Type.String(), "Type") + " " + name(q.Name) + "?"
	if !m.Response {
		return question
	}
	var answers []string
	for _, r := range m.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			answers = append(answers, netip.AddrFrom4(body.A).String())
		case *dnsmessage.MXResource:
			answers = append(answers, fmt.Sprintf("%d %s", body.Pref, name(body.MX)))
		}
	}
	switch {
	case m.RCode == dnsmessage.RCodeNameError:
		answers = []string{"no such name"}
	case m.RCode != dnsmessage.RCodeSuccess:
		answers = []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	case len(answers) == 0:
		answers = []string{"no such record"}
	}
	return question + " " + strings.Join(answers, ", ")
}
