package dissect

import (
	"net/netip"
	"time"
)

// Marks are what Flow finds remarkable about a segment. The definitions are those
// of Wireshark ("TCP Analysis" in its user's guide), so that both say the same of
// one capture. They are judgements from the outside: a program that sees the
// packets alone cannot always tell a segment that was sent again from one that
// was overtaken.
type Marks uint16

const (
	// Retransmission: bytes that were seen before, or that fill an old gap. At
	// most one of the first four is set.
	Retransmission Marks = 1 << iota
	// FastRetransmission: sent again because of duplicate ACKs, at once after them.
	FastRetransmission
	// SpuriousRetransmission: the other side had acknowledged all of it before.
	SpuriousRetransmission
	// OutOfOrder: fills a gap so soon that it was overtaken rather than sent again.
	OutOfOrder
	// LostSegment: there is a gap before this segment: the previous one was lost,
	// overtaken, or not captured.
	LostSegment
	// AckedLostSegment: acknowledges bytes that were never seen.
	AckedLostSegment
	// DuplicateACK repeats the last acknowledgment with no other news.
	DuplicateACK
	// ZeroWindow: the receiver has no room left.
	ZeroWindow
	// ZeroWindowProbe: one byte beyond a closed window, to learn whether it opened.
	ZeroWindowProbe
	// ZeroWindowProbeACK: the answer that it did not.
	ZeroWindowProbeACK
	// WindowUpdate: no news but another window.
	WindowUpdate
	// WindowFull: this segment fills the window that the receiver announced.
	WindowFull
	// KeepAlive: repeats the byte before the next one, to draw an answer.
	KeepAlive
	// KeepAliveACK is that answer.
	KeepAliveACK
)

var markNames = [...]string{
	"retransmission", "fast-retransmission", "spurious-retransmission", "out-of-order", "lost-segment", "acked-lost-segment",
	"duplicate-ack", "zero-window", "zero-window-probe", "zero-window-probe-ack", "window-update", "window-full",
	"keep-alive", "keep-alive-ack",
}

// Has tells whether any of the given marks is set.
func (m Marks) Has(any Marks) bool { return m&any != 0 }

// Names are such as "duplicate-ack". The book has an entry "tcp.analysis." + name
// for each.
func (m Marks) Names() []string {
	var names []string
	for i, name := range markNames {
		if m.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

// Analysis is what a segment means in its connection.
type Analysis struct {
	Marks Marks
	// DuplicateACK counts the duplicates so far of this acknowledgment, this one
	// included. It is 0 without that mark.
	DuplicateACK int
	// Seq and Ack count from the initial sequence numbers. Ack is 0 where it is
	// not in use.
	Seq, Ack uint32
	// Offset is where the segment's payload starts in the stream of its sender:
	// the sequence number - ISN - 1, without wrapping around at 4 GB. A keep-alive
	// before the first byte has -1.
	Offset int64
	// Window is how many bytes the segment's sender has room for, counted from Ack.
	Window uint32
	// InFlight is how many bytes the segment's sender has sent and not seen
	// acknowledged, selectively or not, after this segment. PeerInFlight is the
	// same of the other side.
	InFlight, PeerInFlight uint32
}

// Flow follows one TCP connection through its segments, in the order in which
// they passed one point. The zero value is ready for use. It keeps a fixed
// amount of memory.
//
// It believes what it is given. To see what the hosts see, leave out segments
// whose checksum is wrong; Wireshark does not.
type Flow struct {
	ends     [2]flowEnd
	started  bool
	synAt    time.Duration
	answered bool // a SYN with ACK was seen
	// roundTrip is the time of the handshake as seen from here, 0 when unknown.
	roundTrip time.Duration
}

// flowEnd is one of the two hosts, and what it has sent.
type flowEnd struct {
	addr netip.AddrPort

	isn      uint32
	numbered bool // isn is known

	sent   bool   // at least one segment, so that the next four count
	next   uint32 // the highest sequence number sent, plus one
	offset int64  // where next is in the stream
	nextAt time.Duration
	solid  uint32 // up to here there is no gap
	fin    bool   // next counts a FIN

	// What its latest segment said.
	hasACK   bool
	ack      uint32
	ackAt    time.Duration
	window   uint16
	unscaled bool // window came in a SYN, where no scale applies (RFC 7323, 2.2)
	marks    Marks
	dupACKs  int

	synced bool // its SYN was seen, so that the next two are known
	scaled bool // it has the option
	scale  int  // shift count of the windows that it announces

	// What the other side has acknowledged.
	isAcked bool
	acked   uint32
	sacked  [maxSACK][2]uint32
}

const (
	// fastWithin is how soon after the duplicate ACKs a retransmission must come
	// to be their consequence.
	fastWithin = 20 * time.Millisecond
	// overtakenWithin is how soon a segment must come to have been overtaken,
	// where the time of a round trip is unknown.
	overtakenWithin = 3 * time.Millisecond
	// maxWindowScale is the highest shift count (RFC 7323, 2.3).
	maxWindowScale = 14
	// maxSACK is how many blocks fit into a header (RFC 2018, 3).
	maxSACK = 4
)

// Add takes the next segment, which passed at t. It is false, and nothing
// changes, for a segment of another connection.
func (f *Flow) Add(t time.Duration, s Segment) (Analysis, bool) {
	from, to := f.sides(s)
	if from == nil {
		return Analysis{}, false
	}
	f.open(from, to, s, t)
	m := ackMarks(from, to, s)
	switch {
	case s.Ack != from.ack:
		from.dupACKs = 0
	case m.Has(DuplicateACK):
		from.dupACKs++
	}
	if s.Flags.Has(ACK) && to.acknowledge(s) {
		m |= AckedLostSegment
	}
	if s.Len() > 0 && !m.Has(KeepAlive) {
		m |= f.dataMark(from, to, s, t)
	}
	if !m.Has(ZeroWindowProbe) {
		from.advance(s, t)
	}
	from.hasACK, from.ack, from.ackAt = s.Flags.Has(ACK), s.Ack, t
	from.window, from.unscaled = s.Window, s.Flags.Has(SYN)
	from.marks = m
	if f.answered && f.roundTrip == 0 && s.Flags&(SYN|ACK) == ACK {
		f.roundTrip = t - f.synAt
	}

	a := Analysis{
		Marks:        m,
		Seq:          s.Seq - from.isn,
		Offset:       from.offsetOf(s),
		Window:       from.windowBytes(),
		InFlight:     from.inFlight(),
		PeerInFlight: to.inFlight(),
	}
	if m.Has(ZeroWindowProbe) {
		a.InFlight++
	}
	if m.Has(DuplicateACK) {
		a.DuplicateACK = from.dupACKs
	}
	if s.Flags.Has(ACK) {
		a.Ack = s.Ack - to.isn
	}
	return a, true
}

func (f *Flow) sides(s Segment) (from, to *flowEnd) {
	if !f.started {
		f.started = true
		f.ends[0].addr, f.ends[1].addr = s.Src, s.Dst
	}
	switch {
	case s.Src == f.ends[0].addr && s.Dst == f.ends[1].addr:
		return &f.ends[0], &f.ends[1]
	case s.Src == f.ends[1].addr && s.Dst == f.ends[0].addr:
		return &f.ends[1], &f.ends[0]
	}
	return nil, nil
}

// open takes from the handshake what the rest depends on. Where no SYN was seen,
// the first segment is taken for the first after it.
func (f *Flow) open(from, to *flowEnd, s Segment, t time.Duration) {
	if !from.numbered {
		from.isn, from.numbered = s.Seq, true
		if !s.Flags.Has(SYN) {
			from.isn--
		}
	}
	if !to.numbered && s.Flags.Has(ACK) {
		to.isn, to.numbered = s.Ack-1, true
	}
	if !s.Flags.Has(SYN) {
		return
	}
	from.synced = true
	from.scaled, from.scale = s.WindowScale >= 0, max(0, min(s.WindowScale, maxWindowScale))
	if !s.Flags.Has(ACK) {
		f.synAt = t
		return
	}
	f.answered = true
	// Both must have the option, or it counts for neither (RFC 7323, 2.2).
	if to.synced && from.scaled != to.scaled {
		from.scale, to.scale = 0, 0
	}
}

// ackMarks are those of a segment's numbers and window, apart from what its data
// are.
func ackMarks(from, to *flowEnd, s Segment) Marks {
	var m Marks
	length := s.dataLen()
	plain := !s.Flags.Has(SYN | FIN | RST)
	inOrder := from.sent && s.Seq == from.next
	if length == 1 && inOrder && to.sent && to.window == 0 {
		return ZeroWindowProbe
	}
	if s.Window == 0 && plain {
		m |= ZeroWindow
	}
	if from.sent && after(s.Seq, from.next) && !s.Flags.Has(RST) {
		m |= LostSegment
	}
	if from.sent && length <= 1 && s.Seq == from.next-1 && plain {
		m |= KeepAlive
	}
	if length > 0 && plain && to.synced && s.Seq+length == to.ack+to.windowBytes() {
		m |= WindowFull
	}
	if length > 0 || !plain || !inOrder || s.Ack != from.ack {
		return m
	}
	// It says the same as the segment before it, but for the window.
	switch {
	case s.Window == 0 && from.window == 0 && to.marks.Has(ZeroWindowProbe):
		m |= ZeroWindowProbeACK
	case s.Window == 0:
	case s.Window != from.window:
		m |= WindowUpdate
	case to.marks.Has(KeepAlive):
		m |= KeepAliveACK
	default:
		m |= DuplicateACK
	}
	return m
}

// dataMark is Retransmission, one of its kin, or none.
func (f *Flow) dataMark(from, to *flowEnd, s Segment, t time.Duration) Marks {
	length := s.dataLen()
	if length > 0 && to.hasACK && !after(s.Seq+length, to.ack) {
		return SpuriousRetransmission
	}
	// One byte was seen and more follow it: the byte was a window probe, which
	// the receiver may drop, and this is new.
	probed := length > 1 && s.Seq == from.next-1
	if !from.sent || probed || !after(from.next, s.Seq) {
		return 0
	}
	overtaken := f.roundTrip
	if overtaken == 0 {
		overtaken = overtakenWithin
	}
	switch {
	case to.dupACKs >= 2 && to.ack == s.Seq && t-to.ackAt < fastWithin:
		return FastRetransmission
	case t-from.nextAt < overtaken && s.Seq+s.Len() != from.next:
		return OutOfOrder
	}
	return Retransmission
}

// advance counts what the segment adds to what its sender has sent.
func (e *flowEnd) advance(s Segment, t time.Duration) {
	end := s.Seq + s.Len()
	if !e.sent {
		e.sent, e.next, e.solid = true, end, end
		e.offset = int64(int32(end - e.isn - 1))
		e.nextAt, e.fin = t, s.Flags.Has(FIN)
		return
	}
	if after(end, e.next) {
		e.offset += int64(end - e.next)
		e.next, e.nextAt, e.fin = end, t, s.Flags.Has(FIN)
	}
	if !after(s.Seq, e.solid) && after(end, e.solid) {
		e.solid = e.next
	}
}

// acknowledge takes the other side's acknowledgment, and says whether it covers
// bytes that were not seen.
func (e *flowEnd) acknowledge(s Segment) (unseen bool) {
	if e.sent && e.marks.Has(ZeroWindowProbe) && s.Ack == e.next+1 {
		// The receiver had room for the probe.
		if e.solid == e.next {
			e.solid++
		}
		e.next++
		e.offset++
	}
	if unseen = e.sent && after(s.Ack, e.solid); unseen {
		// One report is enough for all the gaps up to here.
		e.solid = e.next
		if after(s.Ack, e.next) {
			e.solid = s.Ack
		}
	}
	if !e.isAcked || after(s.Ack, e.acked) {
		e.isAcked, e.acked = true, s.Ack
	}
	clear(e.sacked[:])
	copy(e.sacked[:], s.SACK)
	return unseen
}

// offsetOf follows the highest sequence number around the end of 32 bits.
func (e *flowEnd) offsetOf(s Segment) int64 {
	seq := s.Seq
	if s.Flags.Has(SYN) {
		seq++
	}
	return e.offset + int64(int32(seq-e.next))
}

func (e *flowEnd) inFlight() uint32 {
	first := e.isn + 1
	if e.isAcked {
		first = e.acked
	}
	if !e.sent || !after(e.next, first) {
		return 0
	}
	n := e.next - first
	if e.fin {
		n--
	}
	for _, block := range e.sacked {
		// A block below the acknowledgment reports a duplicate (RFC 2883, 4).
		if size := block[1] - block[0]; !after(first, block[0]) && !after(block[1], e.next) && after(block[1], block[0]) {
			n -= min(n, size)
		}
	}
	return n
}

func (e *flowEnd) windowBytes() uint32 {
	if e.unscaled {
		return uint32(e.window)
	}
	return uint32(e.window) << e.scale
}

// after compares sequence numbers, which wrap around (RFC 9293, 3.4).
func after(a, b uint32) bool { return int32(a-b) > 0 }
