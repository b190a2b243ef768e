package dissect_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/export/exporttest"
	"smtpscope/protocol/trace"
)

var near, far = netip.MustParseAddrPort("192.0.2.10:40000"), netip.MustParseAddrPort("203.0.113.25:25")

func parsed(t *testing.T, s exporttest.TCP) dissect.Segment {
	t.Helper()
	segment, ok := dissect.ParseSegment(s.Packet())
	require.True(t, ok)
	return segment
}

func TestDescribe(t *testing.T) {
	var flow dissect.Flow
	for _, x := range []struct {
		segment exporttest.TCP
		data    trace.SegmentData
		text    string
	}{
		{exporttest.TCP{Src: near, Dst: far, Seq: 500, Flags: exporttest.SYN, Window: 1000, Options: []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 3, 3, 7}},
			trace.SegmentData{Flow: 3, Flags: "SYN", Window: 1000, Options: "mss 1460 sack ts ws 7"}, "SYN seq 0 win 1000 mss 1460 sack ts ws 7"},
		{exporttest.TCP{Src: far, Dst: near, Seq: 900, Ack: 501, Flags: exporttest.SYN | exporttest.ACK, Window: 2000, Options: []byte{3, 3, 0}},
			trace.SegmentData{Flow: 3, Flags: "SYN, ACK", Ack: 1, Window: 2000, Options: "ws 0"}, "SYN, ACK seq 0 ack 1 win 2000 ws 0"},
		{exporttest.TCP{Src: near, Dst: far, Seq: 501, Ack: 901, Flags: exporttest.PSH | exporttest.ACK, Window: 10, Payload: []byte("QUIT\r\n"), Options: []byte{5, 10, 0, 0, 4, 0, 0, 0, 4, 8}},
			trace.SegmentData{Flow: 3, Flags: "PSH, ACK", Seq: 1, Ack: 1, Window: 1280, Len: 6, InFlight: 6, Options: "sack 8 octets"}, "PSH, ACK seq 1 ack 1 len 6 win 1280"},
	} {
		s := parsed(t, x.segment)
		a, ok := flow.Add(0, s)
		require.True(t, ok)
		data, text := dissect.Describe(3, s, a)
		assert.Equal(t, &x.data, data)
		assert.Equal(t, x.text, text)
	}
}

// A SYN that is sent again is of the same connection; one with another number begins the next.
func TestOver(t *testing.T) {
	syn := exporttest.TCP{Src: near, Dst: far, Seq: 500, Flags: exporttest.SYN}
	var flow dissect.Flow
	_, ok := flow.Add(0, parsed(t, syn))
	require.True(t, ok)
	assert.False(t, flow.Over(parsed(t, syn)))
	syn.Seq = 70_000
	assert.True(t, flow.Over(parsed(t, syn)))
	a, ok := flow.Add(time.Second, parsed(t, exporttest.TCP{Src: near, Dst: far, Seq: 501, Flags: exporttest.ACK}))
	require.True(t, ok)
	assert.Equal(t, uint32(1), a.Seq, "to have asked changes nothing")
}

func TestRemark(t *testing.T) {
	_, remarkable := dissect.Analysis{}.Remark(4, "proxy")
	assert.False(t, remarkable)
	e, remarkable := dissect.Analysis{Marks: dissect.DuplicateACK | dissect.ZeroWindow, DuplicateACK: 2}.Remark(4, "proxy")
	assert.True(t, remarkable)
	assert.Equal(t, trace.Event{Layer: trace.LayerTCP, Kind: trace.KindAnalysis, Src: trace.Derived, Text: "duplicate-ack, zero-window, as proxy sees it",
		Data: trace.Encode(trace.AnalysisData{Packet: 4, Host: "proxy", Marks: []string{"duplicate-ack", "zero-window"}, DuplicateACK: 2})}, e)
}

func TestSent(t *testing.T) {
	var s dissect.Sent
	s.Add(1, 10, 100)
	s.Add(21, 10, 101) // 11 to 20 were overtaken
	s.Add(5, 3, 102)   // again
	s.Add(11, 15, 103) // and more than is missing
	s.Add(31, 1, 104)
	for seq, want := range map[uint32]int{0: -1, 1: 100, 5: 100, 10: 100, 11: 103, 20: 103, 21: 101, 25: 101, 30: 101, 31: 104, 32: -1} {
		event, known := s.First(seq)
		if !known {
			event = -1
		}
		assert.Equal(t, want, event, "%d", seq)
	}
}

// A segment has the same fields from both; a datagram is left whole.
func TestTCPPacket(t *testing.T) {
	segment := exporttest.TCP{Src: near, Dst: far, Flags: exporttest.SYN, Options: []byte{2, 4, 5, 0xb4}, Payload: []byte("x")}.Packet()
	assert.Equal(t, dissect.Packet(segment), dissect.TCPPacket(segment))
	fields := dissect.TCPPacket(exporttest.UDP(near, far, []byte("EHLO x\r\n")))
	assert.Equal(t, trace.Field{Name: "payload", Off: 20, Len: 16, Value: "16 bytes", Book: "ip.payload"}, fields[len(fields)-1])
}
