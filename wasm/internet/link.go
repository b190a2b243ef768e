package internet

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Link is how two hosts are joined. Both directions are alike, and each is a
// queue of its own: packets leave it in the order in which they came, one after
// the other at the bandwidth, and spend the delay on the way. The queue has no
// end, so that nothing is lost but by Loss. The zero value is a perfect, short wire.
type Link struct {
	Delay     string  `json:"delay"`     // one way, "40ms"; default and least: 1 us
	Bandwidth string  `json:"bandwidth"` // per second, "64kbit", "10Mbit", "1.5Gbit"; default without limit
	Loss      float64 `json:"loss"`      // probability that a packet is lost
	Reorder   float64 `json:"reorder"`   // that it is held back for a while, at most half the delay or 1 ms
	Duplicate float64 `json:"duplicate"` // that it arrives twice
	Corrupt   float64 `json:"corrupt"`   // that one of its bits is flipped, anywhere
	MTU       int     `json:"mtu"`       // octets of the largest IP packet; default 1500
}

// Limits of a link.
const (
	defaultMTU = 1500
	// minMTU: every module must be able to forward a datagram of 68 octets
	// (RFC 791, 3.2). Hosts need only accept 576, but a link may be smaller.
	minMTU   = 68
	maxMTU   = math.MaxUint16
	maxDelay = 24 * time.Hour
	// minDelay is that of 200 m of fibre. Whatever two stacks say to each other takes
	// some time, so that they cannot go on for ever within one instant.
	minDelay = time.Microsecond
	// minHold is the longest that a packet is held back where the link has no delay.
	minHold = time.Millisecond
)

// Check says what is wrong with the settings. It names the key: "link.loss: …".
func (l Link) Check() error {
	_, err := l.parse()
	return err
}

// settings is a Link that was understood.
type settings struct {
	delay, hold                       time.Duration
	bits                              float64 // per second, 0 without limit
	loss, reorder, duplicate, corrupt float64
	mtu                               int
}

func (l Link) parse() (settings, error) {
	s := settings{loss: l.Loss, reorder: l.Reorder, duplicate: l.Duplicate, corrupt: l.Corrupt, mtu: l.MTU}
	if l.Delay != "" {
		d, err := time.ParseDuration(l.Delay)
		switch {
		case err != nil:
			return s, fmt.Errorf(`link.delay: %q is not a duration; write it like "40ms" or "1.5s"`, l.Delay)
		case d < 0 || d > maxDelay:
			return s, fmt.Errorf("link.delay: %s is not between 0 and %v", l.Delay, maxDelay)
		}
		s.delay = d
	}
	var err error
	if s.bits, err = parseRate(l.Bandwidth); err != nil {
		return s, fmt.Errorf("link.bandwidth: %w", err)
	}
	for _, p := range []struct {
		key   string
		value float64
	}{{"loss", l.Loss}, {"reorder", l.Reorder}, {"duplicate", l.Duplicate}, {"corrupt", l.Corrupt}} {
		if !(p.value >= 0 && p.value <= 1) {
			return s, fmt.Errorf("link.%s: %v is not between 0 and 1", p.key, p.value)
		}
	}
	switch {
	case s.mtu == 0:
		s.mtu = defaultMTU
	case s.mtu < minMTU:
		return s, fmt.Errorf("link.mtu: %d is below %d, the smallest that IPv4 permits (RFC 791, 3.2)", s.mtu, minMTU)
	case s.mtu > maxMTU:
		return s, fmt.Errorf("link.mtu: %d is above %d, the length of the longest IP packet (RFC 791, 3.1)", s.mtu, maxMTU)
	}
	s.delay = max(s.delay, minDelay)
	s.hold = max(s.delay/2, minHold)
	return s, nil
}

var rateUnits = []struct {
	name string
	bits float64
}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}}

// parseRate reads bits per second; "" is no limit, 0.
func parseRate(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	lower := strings.ToLower(text)
	for _, u := range rateUnits {
		number, ok := strings.CutSuffix(lower, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		rate := n * u.bits
		switch {
		case err != nil:
		case !(rate >= 1 && rate <= 1e12):
			return 0, fmt.Errorf("%s is not between 1bit and 1000Gbit", text)
		default:
			return rate, nil
		}
	}
	return 0, fmt.Errorf(`%q is not a bandwidth; write it like "10Mbit" or "64kbit"`, text)
}

// direction is one way of a link.
type direction struct {
	settings
	lab    *Lab
	from   *Host
	to     *port
	chance *chance

	mu   sync.Mutex
	free int64 // when the line is free for the next packet
}

// send puts a packet on the line. It never delivers by itself: the stack that
// sends holds locks that the delivery may need.
//
// Every packet draws the same number of random numbers whatever becomes of it,
// so that a change of one setting leaves what the others do alone.
func (d *direction) send(b []byte) {
	if d.lab.stopped.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	lost := d.chance.float() < d.loss
	held := d.chance.float() < d.reorder
	hold := d.chance.float()
	twice := d.chance.float() < d.duplicate
	corrupted := d.chance.float() < d.corrupt
	where := d.chance.Uint64()

	p := Packet{From: d.from.id, To: d.to.host.id, Bytes: b, Fate: Delivered, Of: -1}
	p.Sent = d.lab.clock.elapsed()
	p.Arrives = d.line(p.Sent, len(b))
	switch {
	case lost:
		p.Fate = Lost
		d.lab.report(p)
		return
	case corrupted:
		p.Fate = Corrupted
		p.Flip = &Flip{Offset: int(where>>3) % len(b), Mask: 1 << (where & 7)}
		p.Bytes = bytes.Clone(b)
		p.Bytes[p.Flip.Offset] ^= p.Flip.Mask
	case held:
		p.Fate = Reordered
	}
	if held {
		p.Held = 1 + time.Duration(hold*float64(d.hold))
		p.Arrives += p.Held
	}
	original := d.deliver(p)
	if twice {
		copied := Packet{From: p.From, To: p.To, Bytes: bytes.Clone(b), Fate: Duplicated, Of: original, Sent: p.Sent}
		copied.Arrives = d.line(p.Sent, len(b))
		d.deliver(copied)
	}
}

// line occupies the line for n bytes and returns when the last of them arrives.
func (d *direction) line(now time.Duration, n int) time.Duration {
	d.free = max(d.free, int64(now))
	if d.bits > 0 {
		d.free += int64(math.Ceil(float64(n) * 8 * 1e9 / d.bits))
	}
	return time.Duration(d.free) + d.delay
}

// deliver reports a packet and sets the time at which it reaches the other stack.
func (d *direction) deliver(p Packet) int {
	p.Seq = d.lab.report(p)
	d.lab.clock.after(p.Arrives-p.Sent, d.to.host, func() { d.to.receive(p) })
	return p.Seq
}

// port is a host's end of a link: the network interface of its stack. It
// implements stack.LinkEndpoint.
type port struct {
	host *Host
	out  *direction

	mu     sync.Mutex
	inward stack.NetworkDispatcher
}

var _ stack.LinkEndpoint = (*port)(nil)

// receive hands a packet to the stack. TCP works on it in a goroutine of the
// stack's, which the driver waits for.
func (p *port) receive(packet Packet) {
	p.mu.Lock()
	inward := p.inward
	p.mu.Unlock()
	if inward == nil {
		return
	}
	p.host.arriving = &packet
	b := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet.Bytes)})
	defer b.DecRef()
	inward.DeliverNetworkPacket(header.IPv4ProtocolNumber, b)
}

// WritePackets implements stack.LinkWriter.
func (p *port) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for _, packet := range packets.AsSlice() {
		v := packet.ToView()
		p.out.send(bytes.Clone(v.AsSlice()))
		v.Release()
	}
	return packets.Len(), nil
}

// Attach implements stack.NetworkLinkEndpoint.
func (p *port) Attach(d stack.NetworkDispatcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inward = d
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (p *port) IsAttached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inward != nil
}

// MTU implements stack.NetworkLinkEndpoint.
func (p *port) MTU() uint32 { return uint32(p.out.mtu) }

// SetMTU implements stack.NetworkLinkEndpoint. The MTU is the link's.
func (p *port) SetMTU(uint32) {}

// Capabilities implements stack.NetworkLinkEndpoint: none, so that the stack
// computes and checks every checksum itself.
func (p *port) Capabilities() stack.LinkEndpointCapabilities { return 0 }

// The rest of stack.LinkEndpoint is about link layers, which the lab has none of.

func (p *port) MaxHeaderLength() uint16                 { return 0 }
func (p *port) LinkAddress() tcpip.LinkAddress          { return "" }
func (p *port) SetLinkAddress(tcpip.LinkAddress)        {}
func (p *port) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (p *port) AddHeader(*stack.PacketBuffer)           {}
func (p *port) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (p *port) Wait()                                   {}
func (p *port) Close()                                  {}
func (p *port) SetOnCloseAction(func())                 {}
