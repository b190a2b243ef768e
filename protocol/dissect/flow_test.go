package dissect_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/book"
	"smtpscope/protocol/dissect"
	"smtpscope/protocol/export"
	"smtpscope/protocol/export/exporttest"
)

// step is one segment of a connection, and what is remarkable about it.
type step struct {
	after  time.Duration // since the one before
	server bool          // it sent this one
	flags  string        // "S", "A", "SA", "FA", "R", "RA", "PA"
	seq    uint32        // from the initial one, as is ack
	size   int
	ack    uint32
	window uint16
	want   string // names of the marks
}

const ms = time.Millisecond

// opening is a handshake of 20 ms.
var opening = []step{
	{0, false, "S", 0, 0, 0, 5000, ""},
	{10 * ms, true, "SA", 0, 0, 1, 5000, ""},
	{10 * ms, false, "A", 1, 0, 1, 5000, ""},
}

var flows = map[string][]step{
	"in order": {
		{ms, true, "PA", 1, 20, 1, 5000, ""},
		{ms, false, "A", 1, 0, 21, 5000, ""},
		{ms, false, "PA", 1, 100, 21, 5000, ""},
		{ms, true, "PA", 21, 20, 101, 5000, ""},
		{ms, false, "FA", 101, 0, 41, 5000, ""},
		{ms, true, "A", 41, 0, 102, 5000, ""},
		{ms, true, "FA", 41, 0, 102, 5000, ""},
		{ms, false, "A", 102, 0, 42, 5000, ""},
	},
	"timer": {
		{ms, false, "A", 1, 100, 1, 5000, ""},
		{250 * ms, false, "A", 1, 100, 1, 5000, "retransmission"},
		{ms, true, "A", 1, 0, 101, 5000, ""},
		{ms, false, "A", 1, 100, 1, 5000, "spurious-retransmission"},
	},
	"fast retransmission": {
		{ms, false, "A", 1, 100, 1, 5000, ""},
		{ms, false, "A", 101, 100, 1, 5000, ""},
		{ms, false, "A", 201, 100, 1, 5000, ""},
		{ms, false, "A", 301, 100, 1, 5000, ""},
		{ms, true, "A", 1, 0, 1, 5000, "duplicate-ack"},
		{ms, true, "A", 1, 0, 1, 5000, "duplicate-ack"},
		{ms, true, "A", 1, 0, 1, 5000, "duplicate-ack"},
		{ms, false, "A", 1, 100, 1, 5000, "fast-retransmission"},
		{ms, true, "A", 1, 0, 401, 5000, ""},
	},
	"too late for a fast retransmission": {
		{ms, false, "A", 1, 100, 1, 5000, ""},
		{ms, true, "A", 1, 0, 1, 5000, "duplicate-ack"},
		{ms, true, "A", 1, 0, 1, 5000, "duplicate-ack"},
		{21 * ms, false, "A", 1, 100, 1, 5000, "retransmission"},
	},
	"overtaken": {
		{ms, false, "A", 101, 100, 1, 5000, "lost-segment"},
		{19 * ms, false, "A", 1, 100, 1, 5000, "out-of-order"},
	},
	"lost before this point": {
		{ms, false, "A", 101, 100, 1, 5000, "lost-segment"},
		{20 * ms, false, "A", 1, 100, 1, 5000, "retransmission"},
	},
	"two duplicates are enough": {
		{ms, false, "A", 1, 100, 1, 5000, ""},
		{ms, true, "A", 1, 0, 1, 5000, "duplicate-ack"},
		{ms, true, "A", 1, 0, 1, 5000, "duplicate-ack"},
		{19 * ms, false, "A", 1, 100, 1, 5000, "fast-retransmission"},
	},
	"unseen": {
		{ms, true, "A", 1, 0, 301, 5000, "acked-lost-segment"},
		{ms, false, "A", 301, 100, 1, 5000, "lost-segment"},
		{ms, true, "A", 1, 0, 401, 5000, ""},
	},
	"windows": {
		{ms, true, "A", 1, 0, 1, 1000, "window-update"},
		{ms, false, "A", 1, 1000, 1, 5000, "window-full"},
		{ms, true, "A", 1, 0, 1001, 0, "zero-window"},
		{200 * ms, false, "A", 1001, 1, 1, 5000, "zero-window-probe"},
		{ms, true, "A", 1, 0, 1001, 0, "zero-window zero-window-probe-ack"},
		{200 * ms, true, "A", 1, 0, 1001, 3000, "window-update"},
		{ms, false, "A", 1001, 500, 1, 5000, ""},
	},
	"keep-alive": {
		{ms, false, "A", 1, 10, 1, 5000, ""},
		{ms, true, "A", 1, 0, 11, 5000, ""},
		{ms, false, "A", 10, 1, 1, 5000, "keep-alive"},
		{ms, true, "A", 1, 0, 11, 5000, "keep-alive-ack"},
		{ms, false, "A", 10, 0, 1, 5000, "keep-alive"},
		{ms, true, "A", 1, 0, 11, 5000, "keep-alive-ack"},
	},
	"reset": {
		{ms, false, "A", 1, 10, 1, 5000, ""},
		{ms, true, "RA", 500, 0, 11, 0, ""},
	},
	"FIN again": {
		{ms, false, "FA", 1, 10, 1, 5000, ""},
		{250 * ms, false, "FA", 1, 10, 1, 5000, "retransmission"},
		{ms, true, "A", 1, 0, 12, 5000, ""},
	},
}

func (s step) packet(client netip.AddrPort, isn [2]uint32) []byte {
	flags := byte(0)
	for _, ch := range s.flags {
		flags |= map[rune]byte{
			'F': exporttest.FIN, 'S': exporttest.SYN, 'R': exporttest.RST, 'P': exporttest.PSH, 'A': exporttest.ACK,
		}[ch]
	}
	p := exporttest.TCP{
		Src: client, Dst: serverAddr, Seq: isn[0] + s.seq, Ack: isn[1] + s.ack, Flags: flags, Window: s.window, Payload: make([]byte, s.size),
	}
	if s.server {
		p.Src, p.Dst, p.Seq, p.Ack = p.Dst, p.Src, isn[1]+s.seq, isn[0]+s.ack
	}
	if flags&exporttest.ACK == 0 {
		p.Ack = 0
	}
	return p.Packet()
}

func follow(t *testing.T, steps []step, isn [2]uint32) []dissect.Analysis {
	t.Helper()
	var f dissect.Flow
	var now time.Duration
	var out []dissect.Analysis
	for _, s := range steps {
		now += s.after
		segment, ok := dissect.ParseSegment(s.packet(clientAddr, isn))
		require.True(t, ok)
		a, ok := f.Add(now, segment)
		require.True(t, ok)
		out = append(out, a)
	}
	return out
}

func TestFlow(t *testing.T) {
	for name, steps := range flows {
		steps = append(append([]step(nil), opening...), steps...)
		t.Run(name, func(t *testing.T) {
			// The same anywhere in the space of sequence numbers.
			for _, isn := range [][2]uint32{{1000, 5000}, {1<<32 - 50, 1<<32 - 150}, {1<<31 - 3, 1 << 31}, {1<<32 - 1, 1<<32 - 2}} {
				got := follow(t, steps, isn)
				for i, s := range steps {
					assert.Equal(t, s.want, strings.Join(got[i].Marks.Names(), " "), "segment %d from %d", i, isn)
					assert.Equal(t, s.seq, got[i].Seq)
					assert.Equal(t, s.ack, got[i].Ack)
					assert.EqualValues(t, s.window, got[i].Window)
				}
			}
		})
	}
}

// The tables above are what tshark says, too, apart from what acknowledges unseen
// bytes: it reports some of them twice.
func TestFlowTablesAgreeWithTShark(t *testing.T) {
	var packets []export.Packet
	var now time.Duration
	client := clientAddr
	for _, steps := range flows {
		client = netip.AddrPortFrom(client.Addr(), client.Port()+1)
		for _, s := range append(append([]step(nil), opening...), steps...) {
			now += s.after
			packets = append(packets, export.Packet{Time: start.Add(now), Bytes: s.packet(client, [2]uint32{1000, 5000})})
		}
	}
	agree(t, packets, func(ours, theirs *exporttest.Segment) {
		for _, s := range []*exporttest.Segment{ours, theirs} {
			s.InFlight, s.Marks = "", without(s.Marks, "ack_lost_segment")
		}
	})
}

// A window probe for which the receiver had room was no gap.
func TestProbeTaken(t *testing.T) {
	got := follow(t, append(append([]step(nil), opening...),
		step{ms, true, "A", 1, 0, 1, 0, "zero-window"},
		step{200 * ms, false, "A", 1, 1, 1, 5000, "zero-window-probe"},
		step{ms, true, "A", 1, 0, 2, 4999, ""},
		step{ms, false, "A", 2, 100, 1, 5000, ""},
		step{ms, true, "A", 1, 0, 102, 4899, ""},
	), [2]uint32{1, 2})
	var marks []string
	for _, a := range got[3:] {
		marks = append(marks, strings.Join(a.Marks.Names(), " "))
	}
	assert.Equal(t, []string{"zero-window", "zero-window-probe", "", "", ""}, marks)
	assert.EqualValues(t, 1, got[6].Offset)
	assert.EqualValues(t, 1, got[4].InFlight)
	assert.EqualValues(t, 0, got[5].PeerInFlight)
}

func TestFlowOffsetsAndFlight(t *testing.T) {
	steps := append(append([]step(nil), opening...),
		step{ms, false, "A", 1, 1000, 1, 5000, ""},
		step{ms, false, "A", 1001, 500, 1, 5000, ""},
		step{ms, true, "A", 1, 30, 601, 5000, ""},
		step{ms, false, "FA", 1501, 10, 31, 5000, ""},
		step{ms, true, "A", 31, 0, 1512, 5000, ""},
		step{ms, false, "A", 1512, 0, 31, 5000, ""},
	)
	for _, isn := range [][2]uint32{{0, 0}, {1<<32 - 700, 1<<32 - 1}} {
		got := follow(t, steps, isn)
		for i, want := range []struct {
			offset                 int64
			inFlight, peerInFlight uint32
		}{
			{0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 1000, 0}, {1000, 1500, 0}, {0, 30, 900}, {1500, 910, 0}, {30, 0, 0}, {1511, 0, 0},
		} {
			assert.Equal(t, want.offset, got[i].Offset, "segment %d", i)
			assert.Equal(t, want.inFlight, got[i].InFlight, "segment %d", i)
			assert.Equal(t, want.peerInFlight, got[i].PeerInFlight, "segment %d", i)
		}
	}
}

// More than 4 GB: sequence numbers come round, offsets do not.
func TestFlowOffsetBeyondTheSequenceSpace(t *testing.T) {
	var f dissect.Flow
	s := dissect.Segment{Src: clientAddr, Dst: serverAddr, Flags: dissect.ACK, Window: 1, WindowScale: -1}
	const size = 1 << 30
	s.Payload[1] = size
	for i := range int64(9) {
		s.Seq = uint32(1000 + i*size)
		a, ok := f.Add(time.Duration(i), s)
		require.True(t, ok)
		assert.Equal(t, i*size, a.Offset)
		assert.Zero(t, a.Marks)
	}
	s.Seq = 1000
	a, _ := f.Add(10, s)
	assert.Equal(t, int64(8*size), a.Offset, "the nearest of the places that it can be")
}

func TestFlowSACKAndScale(t *testing.T) {
	var f dissect.Flow
	add := func(s dissect.Segment) dissect.Analysis {
		t.Helper()
		a, ok := f.Add(0, s)
		require.True(t, ok)
		return a
	}
	out := dissect.Segment{Src: clientAddr, Dst: serverAddr, Flags: dissect.SYN, Window: 1000, WindowScale: 2}
	in := dissect.Segment{Src: serverAddr, Dst: clientAddr, Flags: dissect.SYN | dissect.ACK, Ack: 1, Window: 1000, WindowScale: 20}
	assert.EqualValues(t, 1000, add(out).Window, "no scale in a SYN")
	assert.EqualValues(t, 1000, add(in).Window)
	out.Flags, out.WindowScale, out.Seq, out.Ack, out.Payload[1] = dissect.ACK, -1, 1, 1, 3000
	a := add(out)
	assert.EqualValues(t, 4000, a.Window)
	assert.EqualValues(t, 3000, a.InFlight)

	in.Flags, in.WindowScale, in.Seq = dissect.ACK, -1, 1
	in.SACK = [][2]uint32{{1001, 1501}, {2001, 2501}}
	a = add(in)
	assert.EqualValues(t, 1000<<14, a.Window, "14 at most")
	assert.EqualValues(t, 2000, a.PeerInFlight)
	in.Ack, in.SACK = 1501, [][2]uint32{{1, 501}, {2001, 2501}, {9000, 9100}}
	assert.EqualValues(t, 1000, add(in).PeerInFlight, "blocks that were acknowledged, or never sent, do not count")
	in.SACK = nil
	assert.EqualValues(t, 1500, add(in).PeerInFlight)
}

// The option counts only where both have it (RFC 7323, 2.2).
func TestFlowScaleOfOneSide(t *testing.T) {
	for _, scales := range [][2]int{{-1, 3}, {3, -1}} {
		var f dissect.Flow
		for i, flags := range []dissect.TCPFlags{dissect.SYN, dissect.SYN | dissect.ACK, dissect.ACK, dissect.ACK} {
			s := dissect.Segment{Src: clientAddr, Dst: serverAddr, Flags: flags, Window: 100, WindowScale: -1}
			if i%2 == 1 {
				s.Src, s.Dst = s.Dst, s.Src
			}
			if i < 2 {
				s.WindowScale = scales[i]
			}
			a, ok := f.Add(0, s)
			require.True(t, ok)
			assert.EqualValues(t, 100, a.Window, "segment %d", i)
		}
	}
}

func TestFlowTakesOneConnectionOnly(t *testing.T) {
	var f dissect.Flow
	s := dissect.Segment{Src: clientAddr, Dst: serverAddr, Flags: dissect.SYN}
	_, ok := f.Add(0, s)
	require.True(t, ok)
	before := f
	for _, other := range []netip.AddrPort{netip.AddrPortFrom(clientAddr.Addr(), 1), client6, serverAddr} {
		_, ok = f.Add(0, dissect.Segment{Src: other, Dst: serverAddr})
		assert.False(t, ok)
		_, ok = f.Add(0, dissect.Segment{Src: serverAddr, Dst: other})
		assert.False(t, ok)
	}
	assert.Equal(t, before, f)
}

func TestMarksHaveEntries(t *testing.T) {
	names := dissect.Marks(1<<16 - 1).Names()
	assert.Len(t, names, 14)
	for _, name := range names {
		_, ok := book.Lookup("tcp.analysis." + name)
		assert.True(t, ok, name)
	}
	assert.Empty(t, dissect.Marks(0).Names())
}

// Whatever comes, Add returns and contradicts itself in nothing.
func FuzzFlow(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x50\x00\x00\x12\x00\x01\x50\x00\x01\x10\x01\x01\x50\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var flow dissect.Flow
		var now time.Duration
		for ; len(raw) >= 6; raw = raw[6:] {
			s := dissect.Segment{
				Src: clientAddr, Dst: serverAddr, Flags: dissect.TCPFlags(raw[0]), Seq: uint32(int8(raw[1])) * 100, Ack: uint32(int8(raw[2])) * 100,
				Window: uint16(raw[3]) * 16, WindowScale: int(int8(raw[4])), SACK: [][2]uint32{{uint32(raw[4]), uint32(raw[3])}},
			}
			s.Payload[1] = int64(raw[5]) * 10
			if raw[4]&1 != 0 {
				s.Src, s.Dst = s.Dst, s.Src
			}
			now += time.Duration(raw[4]) * time.Millisecond
			a, ok := flow.Add(now, s)
			require.True(t, ok)
			again := a.Marks & (dissect.Retransmission | dissect.FastRetransmission | dissect.SpuriousRetransmission | dissect.OutOfOrder)
			switch {
			case a.Marks.Has(dissect.DuplicateACK) != (a.DuplicateACK > 0):
				require.Fail(t, "a duplicate without a count, or a count without one", "%+v", a)
			case again&(again-1) != 0:
				require.Fail(t, "it cannot be both", "%+v", a)
			case s.Payload[1] == 0 && a.Marks.Has(dissect.WindowFull|dissect.ZeroWindowProbe):
				require.Fail(t, "no data, no use of the window", "%+v", a)
			}
		}
	})
}
