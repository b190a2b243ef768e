package experiment

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"smtpscope/protocol/export/exporttest"
	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"
)

// Packets that are too many to be recorded have passed nevertheless: what is said
// of the others takes them into account.
func TestPacketsBeyondThoseRecorded(t *testing.T) {
	var now time.Duration
	start := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	rec := trace.NewRecorder(trace.Meta{}, func() time.Time { return start.Add(now) }, nil)
	p := newPackets(rec, trace.HostClient)
	client, server := netip.MustParseAddrPort("192.0.2.10:49152"), netip.MustParseAddrPort("203.0.113.25:25")
	seq, number := uint32(0), 0
	send := func(flags byte, seq uint32, payload string, fate internet.Fate) {
		now += 10 * time.Millisecond
		p.sent(internet.Packet{Seq: number, Sent: now, Arrives: now + 5*time.Millisecond, From: trace.HostClient, To: trace.HostServer, Fate: fate, Of: -1,
			Bytes: exporttest.TCP{Src: client, Dst: server, Seq: seq, Ack: 1, Flags: flags, Window: 1000, Payload: []byte(payload)}.Packet()})
		number++
	}
	next := func(fate internet.Fate) {
		send(exporttest.ACK, seq, "octets", fate)
		seq += uint32(len("octets"))
	}
	send(exporttest.SYN, seq, "", internet.Delivered)
	seq++
	for number < trace.PacketsRecorded+10 {
		next(internet.Delivered)
	}
	missing := seq
	next(internet.Lost)
	send(exporttest.ACK, missing, "octets", internet.Delivered)
	send(exporttest.ACK, missing-6, "octets", internet.Delivered) // of the first there is no event
	send(exporttest.FIN|exporttest.ACK, seq, "", internet.Delivered)
	p.arrive(now + time.Second)

	tr := rec.Finish(trace.Result{})
	var segments []trace.Event
	var remarks []trace.AnalysisData
	for _, e := range tr.Events {
		switch e.Kind {
		case trace.KindSegment:
			segments = append(segments, e)
		case trace.KindAnalysis:
			remarks = append(remarks, dataOf[trace.AnalysisData](t, e))
		}
	}
	assert.Len(t, segments, trace.PacketsRecorded+4)
	lost, again, unknown := segments[trace.PacketsRecorded], segments[trace.PacketsRecorded+1], segments[trace.PacketsRecorded+2]
	assert.Equal(t, &lost.N, dataOf[trace.PacketData](t, again).Segment.Again)
	assert.Nil(t, dataOf[trace.PacketData](t, unknown).Segment.Again)
	assert.Equal(t, []trace.AnalysisData{
		{Packet: again.N, Host: trace.HostClient, Marks: []string{"retransmission"}},
		{Packet: unknown.N, Host: trace.HostClient, Marks: []string{"retransmission"}},
		{Packet: unknown.N, Host: trace.HostServer, Marks: []string{"retransmission"}},
	}, remarks)
}
