package session

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// Packet records a packet that the proxy captured. It is for whoever dials: each packet of a
// connection that the report of its Dialer has named, in the order in which they came,
// until the connection is closed. Packets of any other are left out.
func (s *Session) Packet(p tunnel.Packet) { s.packets.captured(p) }

// heldPackets is how many packets wait while a connection is made.
const heldPackets = 256

// packets writes captured packets into the trace, and what TCP says of them.
type packets struct {
	mu     sync.Mutex
	rec    *trace.Recorder
	named  []netip.AddrPort // the servers' ends of connections
	flows  []*flow
	own    [2]netip.AddrPort // the connection that carries the session, once it is known
	making bool              // a connection is being made: more will be named
	held   []tunnel.Packet   // from the first on that cannot be understood yet
	seen   int
}

// flow is one TCP connection, as the proxy sees it.
type flow struct {
	number    int
	addresses [2]netip.AddrPort // the proxy's and the server's
	began     time.Time
	view      dissect.Flow
	ends      [2]end
}

type end struct {
	sent  dissect.Sent
	begun bool // its SYN was seen, so that it is known where in its stream a segment belongs
}

// dialing says that a connection is being made, or no longer.
func (p *packets) dialing(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.making = on; on {
		p.own = [2]netip.AddrPort{}
	}
	p.release()
}

// status learns which connections there are.
func (p *packets) status(st tunnel.Status) {
	server, err := netip.ParseAddrPort(st.Address)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if server = unmapped(server); !slices.Contains(p.named, server) {
		p.named = append(p.named, server)
	}
	if st.Stage == tunnel.StageOpened {
		proxy, _ := netip.ParseAddrPort(st.Local)
		p.own = [2]netip.AddrPort{unmapped(proxy), server}
	}
	p.release()
}

func (p *packets) captured(packet tunnel.Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) == 0 && !p.early(packet) {
		p.add(packet)
		return
	}
	packet.IP = slices.Clone(packet.IP)
	p.held = append(p.held, packet)
	if len(p.held) == heldPackets {
		making := p.making
		p.making = false
		p.release()
		p.making = making
	}
}

// early tells whether a packet overtook the report of its connection, or that it is open: the
// proxy sends both as they come.
func (p *packets) early(packet tunnel.Packet) bool {
	if !p.making {
		return false
	}
	s, isTCP := dissect.ParseSegment(packet.IP)
	return isTCP && (p.direction(s) == "" || s.Payload[1] > s.Payload[0] && p.own == [2]netip.AddrPort{})
}

func (p *packets) release() {
	for len(p.held) > 0 && !p.early(p.held[0]) {
		p.add(p.held[0])
		p.held = p.held[1:]
	}
}

func (p *packets) add(packet tunnel.Packet) {
	ip := packet.IP
	e := trace.Event{Layer: trace.LayerIP, Kind: trace.KindPacket, Src: trace.Captured, Text: fmt.Sprintf("IP packet, %d octets", len(ip))}
	data := trace.PacketData{Captured: packet.Time.UTC()}
	s, isTCP := dissect.ParseSegment(ip)
	var a dissect.Analysis
	var from *end
	if isTCP {
		ip = ip[:s.Payload[1]] // a link pads what is short
		if e.Dir = p.direction(s); e.Dir == "" {
			return
		}
		e.Layer, e.Kind = trace.LayerTCP, trace.KindSegment
		a, from = p.describe(&e, &data, s, packet.Time)
	}
	p.seen++
	special := a.Marks != 0 || isTCP && (s.Flags.Has(dissect.SYN|dissect.FIN|dissect.RST) || data.Segment.Again != nil)
	if p.seen > trace.PacketsRecorded && !special {
		return
	}
	at := p.rec.Packet(ip)
	e.At, e.Data = &at, trace.Encode(data)
	if p.seen <= trace.PacketsWithFields || special {
		e.Fields = dissect.TCPPacket(ip)
	}
	n := p.rec.Add(e)
	if from != nil && s.Len() > 0 {
		from.sent.Add(a.Seq, s.Len(), n)
	}
	if remark, remarkable := a.Remark(n, trace.HostProxy); remarkable {
		p.rec.Add(remark)
	}
}

func (p *packets) direction(s dissect.Segment) trace.Direction {
	switch {
	case slices.Contains(p.named, s.Dst):
		return trace.Out
	case slices.Contains(p.named, s.Src):
		return trace.In
	}
	return ""
}

// describe says what a segment means to the proxy, and returns the end that sent it.
func (p *packets) describe(e *trace.Event, data *trace.PacketData, s dissect.Segment, at time.Time) (dissect.Analysis, *end) {
	key, from, stream := [2]netip.AddrPort{s.Src, s.Dst}, 0, trace.WireOut
	e.From, e.To = trace.HostProxy, trace.HostServer
	if e.Dir == trace.In {
		key, from, stream = [2]netip.AddrPort{s.Dst, s.Src}, 1, trace.WireIn
		e.From, e.To = e.To, e.From
	}
	f := p.flow(key, at)
	a, _ := f.view.Add(at.Sub(f.began), s)
	side := &f.ends[from]
	side.begun = side.begun || s.Flags.Has(dissect.SYN)
	data.Segment, e.Text = dissect.Describe(f.number, s, a)
	if first, again := side.sent.First(a.Seq); again && s.Len() > 0 {
		data.Segment.Again = &first
	}
	if n := data.Segment.Len; n > 0 && key == p.own && side.begun && a.Offset >= 0 {
		data.Carries = &trace.Range{Stream: stream, Off: a.Offset, Len: int64(n)}
	}
	return a, side
}

// flow finds a connection, or begins one.
func (p *packets) flow(addresses [2]netip.AddrPort, at time.Time) *flow {
	for _, f := range p.flows {
		if f.addresses == addresses {
			return f
		}
	}
	f := &flow{number: len(p.flows), addresses: addresses, began: at}
	p.flows = append(p.flows, f)
	return f
}

// unmapped is an address as packets have it.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
