package exporttest

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Tap is a connection of which a capture sees the packets: each Write is a segment with its
// acknowledgment, and so is each Read before it returns. The segments are made up, and what
// they carry is real.
type Tap struct {
	net.Conn
	Local, Remote netip.AddrPort
	// See gets each packet, one at a time.
	See func(at time.Time, ip []byte)

	mu   sync.Mutex
	at   time.Time
	next [2]uint32 // sequence numbers, of this end and of the other
}

// Open begins a capture at a time, from where each packet is a millisecond later than the one before,
// with the three segments that open a connection.
func (t *Tap) Open(at time.Time) {
	t.at, t.next = at, [2]uint32{1000, 4294967000} // the latter wraps around soon
	t.segment(0, SYN, nil)
	t.segment(1, SYN|ACK, nil)
	t.segment(0, ACK, nil)
}

func (t *Tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > 0 {
		t.segment(1, PSH|ACK, p[:n])
		t.segment(0, ACK, nil)
	}
	return n, err
}

func (t *Tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.segment(0, PSH|ACK, p)
	t.segment(1, ACK, nil)
	return t.Conn.Write(p)
}

// segment is one that this end (0) or the other sends.
func (t *Tap) segment(from int, flags byte, payload []byte) {
	s := TCP{Src: t.Local, Dst: t.Remote, Seq: t.next[from], Flags: flags, Window: 0xffff, Payload: payload}
	if from == 1 {
		s.Src, s.Dst = s.Dst, s.Src
	}
	if flags&ACK != 0 {
		s.Ack = t.next[1-from]
	}
	t.next[from] += uint32(len(payload))
	if flags&(SYN|FIN) != 0 {
		t.next[from]++
	}
	t.See(t.at, s.Packet())
	t.at = t.at.Add(time.Millisecond)
}
