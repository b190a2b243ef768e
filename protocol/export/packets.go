package export

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"smtpscope/protocol/trace"
)

// Packets is what a capture on one host of a lab would have seen: the packets that
// it sent when it sent them, and those that reached it when they did, with the bit
// that was flipped on the way. Packets of which the trace kept only the head are
// left out, and counted in the comment.
func Packets(t *trace.Trace, host string) Capture {
	c := Capture{
		OS: "simulated", Application: t.Meta.Tool,
		Comment:    fmt.Sprintf("A simulated network, seed %d, as the host %q saw it.", t.Meta.Seed, host),
		Interfaces: []Interface{{Name: host, Description: "a capture on the host " + name(t, host)}},
	}
	var flying []arrival
	land := func(until int64) {
		for len(flying) > 0 && flying[0].at <= until {
			c.Packets = append(c.Packets, flying[0].packet)
			flying = flying[1:]
		}
	}
	elided := 0
	for _, e := range t.Events {
		if e.At == nil || e.At.Stream != trace.Packets || e.From != host && e.To != host {
			continue
		}
		var d trace.PacketData
		b, whole := t.Streams[trace.Packets].Bytes(e.At.Off, e.At.Len)
		sent := e.From == host
		switch {
		case json.Unmarshal(e.Data, &d) != nil,
			sent && d.Fate == trace.FateDuplicated, // the link made the copy, after the host had sent the packet
			!sent && d.Fate == trace.FateLost:
			continue
		case !whole:
			elided++
			continue
		}
		land(e.T)
		if sent {
			c.Packets = append(c.Packets, packet(t, e.T, b, d))
			continue
		}
		if f := d.Flip; f != nil && f.Offset >= 0 && f.Offset < len(b) {
			b[f.Offset] ^= f.Mask
		}
		i, _ := slices.BinarySearchFunc(flying, arrival{at: d.Arrives, n: e.N}, func(a, b arrival) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.n, b.n))
		})
		flying = slices.Insert(flying, i, arrival{d.Arrives, e.N, packet(t, d.Arrives, b, d)})
	}
	land(math.MaxInt64)
	if elided > 0 {
		c.Comment += fmt.Sprintf(" %d packets are missing: of so many the trace keeps only the heads.", elided)
	}
	return c
}

// Captured are the packets that the proxy captured, at the times of its clock. Of many packets
// the trace has only the heads; then so has the capture.
func Captured(t *trace.Trace) Capture {
	c := Capture{
		Application: t.Meta.Tool, Comment: "Captured at the proxy, of the connection to the mail server alone. Times are those of the clock there." +
			" A network card may divide what the proxy sends, and fill in checksums, after the capture; what comes may have been joined before.",
		Interfaces: []Interface{{Name: name(t, trace.HostProxy), Description: "captured at the proxy"}},
	}
	short := int64(0)
	for _, e := range t.Events {
		if !isCaptured(e) {
			continue
		}
		var d trace.PacketData
		if json.Unmarshal(e.Data, &d) != nil {
			continue
		}
		b, whole := t.Streams[trace.Packets].Bytes(e.At.Off, e.At.Len)
		if !whole {
			short++
		}
		if d.Captured.IsZero() { // in a trace from elsewhere
			d.Captured = t.Meta.Started.Add(time.Duration(e.T))
		}
		c.Packets = append(c.Packets, Packet{Time: d.Captured, Bytes: b, Length: int(e.At.Len)})
	}
	if short > 0 {
		c.Comment += fmt.Sprintf(" Of %s only the heads are here, as in the trace: TLS cannot be opened behind the first.", count(short, "packet"))
	}
	return c
}

func isCaptured(e trace.Event) bool {
	return e.Src == trace.Captured && e.At != nil && e.At.Stream == trace.Packets
}

// arrival is a packet under way to the host.
type arrival struct {
	at     int64
	n      int
	packet Packet
}

// packet comments on what the simulation did.
func packet(t *trace.Trace, at int64, b []byte, d trace.PacketData) Packet {
	p := Packet{Time: t.Meta.Started.Add(time.Duration(at)), Bytes: b}
	switch {
	case d.Fate == trace.FateLost:
		p.Comment = "lost on the link"
	case d.Flip != nil:
		p.Comment = fmt.Sprintf("corrupted on the link: bit %#02x of octet %d", d.Flip.Mask, d.Flip.Offset)
	case d.Fate == trace.FateReordered:
		p.Comment = "held back by the link for " + time.Duration(d.Held).String()
	case d.Fate == trace.FateDuplicated:
		p.Comment = "a copy that the link made"
	}
	return p
}

func name(t *trace.Trace, host string) string {
	for _, h := range t.Meta.Hosts {
		if h.ID == host {
			return h.Name
		}
	}
	return host
}
