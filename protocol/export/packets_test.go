package export_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/export"
	"smtpscope/protocol/trace"
)

// sent is a packet of a trace. Times are in milliseconds.
type sent struct {
	at, arrives int64
	way         string // "a>b"
	bytes       string
	fate        trace.Fate // default: delivered
	held        int64
	flip        *trace.Flip
	of          int // event of what this is a copy of, plus 1
}

func traceOf(packets []sent) *trace.Trace {
	var now time.Duration
	rec := trace.NewRecorder(trace.Meta{Tool: "smtpscope/test", Seed: 7, Hosts: []trace.Host{{ID: "a", Name: "A"}, {ID: "b", Name: "B"}}},
		func() time.Time { return start.Add(now) }, nil)
	for _, p := range packets {
		now = time.Duration(p.at) * time.Millisecond
		d := trace.PacketData{Arrives: p.arrives * int64(time.Millisecond), Fate: p.fate, Held: p.held * int64(time.Millisecond), Flip: p.flip}
		if d.Fate == "" {
			d.Fate = trace.FateDelivered
		}
		if p.of > 0 {
			of := p.of - 1
			d.Of = &of
		}
		at := rec.Packet([]byte(p.bytes))
		from, to, _ := strings.Cut(p.way, ">")
		rec.Add(trace.Event{Layer: trace.LayerIP, Kind: trace.KindPacket, Src: trace.Simulated, From: from, To: to, At: &at, Data: trace.Encode(d)})
	}
	return rec.Finish(trace.Result{})
}

// Each host sees what it sent when it sent it, and what reached it when it did.
func TestPacketsAsAHostSeesThem(t *testing.T) {
	for _, x := range []struct {
		name    string
		packets []sent
		a, b    []string // "milliseconds bytes (comment)"
	}{
		{name: "delivered",
			packets: []sent{{at: 1, arrives: 5, way: "a>b", bytes: "x"}, {at: 6, arrives: 9, way: "b>a", bytes: "y"}},
			a:       []string{"1 x", "9 y"}, b: []string{"5 x", "6 y"}},
		{name: "under way at the same time",
			packets: []sent{{at: 1, arrives: 5, way: "a>b", bytes: "x"}, {at: 2, arrives: 6, way: "b>a", bytes: "y"}, {at: 3, arrives: 7, way: "a>b", bytes: "z"}},
			a:       []string{"1 x", "3 z", "6 y"}, b: []string{"2 y", "5 x", "7 z"}},
		{name: "lost",
			packets: []sent{{at: 1, arrives: 5, way: "a>b", bytes: "x", fate: trace.FateLost}},
			a:       []string{"1 x (lost on the link)"}},
		{name: "corrupted: sent whole",
			packets: []sent{{at: 1, arrives: 5, way: "a>b", bytes: "xyz", fate: trace.FateCorrupted, flip: &trace.Flip{Offset: 1, Mask: 0x20}}},
			a:       []string{"1 xyz (corrupted on the link: bit 0x20 of octet 1)"}, b: []string{"5 xYz (corrupted on the link: bit 0x20 of octet 1)"}},
		{name: "corrupted outside of what a trace from elsewhere has",
			packets: []sent{{at: 1, arrives: 5, way: "a>b", bytes: "x", fate: trace.FateCorrupted, flip: &trace.Flip{Offset: 1, Mask: 1}}},
			a:       []string{"1 x (corrupted on the link: bit 0x01 of octet 1)"}, b: []string{"5 x (corrupted on the link: bit 0x01 of octet 1)"}},
		{name: "duplicated: sent once",
			packets: []sent{{at: 1, arrives: 5, way: "a>b", bytes: "x"}, {at: 1, arrives: 6, way: "a>b", bytes: "x", fate: trace.FateDuplicated, of: 1}},
			a:       []string{"1 x"}, b: []string{"5 x", "6 x (a copy that the link made)"}},
		{name: "duplicated, and the trace has no event of the first",
			packets: []sent{{at: 1, arrives: 6, way: "a>b", bytes: "x", fate: trace.FateDuplicated}},
			b:       []string{"6 x (a copy that the link made)"}},
		{name: "reordered: in the order of arrival",
			packets: []sent{{at: 1, arrives: 9, way: "a>b", bytes: "x", fate: trace.FateReordered, held: 4}, {at: 2, arrives: 6, way: "a>b", bytes: "y"}},
			a:       []string{"1 x (held back by the link for 4ms)", "2 y"}, b: []string{"6 y", "9 x (held back by the link for 4ms)"}},
		{name: "arrive at one instant: in the order in which they were sent",
			packets: []sent{{at: 1, arrives: 9, way: "a>b", bytes: "x"}, {at: 2, arrives: 9, way: "a>b", bytes: "y"}, {at: 3, arrives: 9, way: "a>b", bytes: "z"}},
			a:       []string{"1 x", "2 y", "3 z"}, b: []string{"9 x", "9 y", "9 z"}},
		{name: "an answer is sent at the instant in which the question arrives",
			packets: []sent{{at: 1, arrives: 5, way: "a>b", bytes: "x"}, {at: 5, arrives: 9, way: "b>a", bytes: "y"}},
			a:       []string{"1 x", "9 y"}, b: []string{"5 x", "5 y"}},
		{name: "between other hosts",
			packets: []sent{{at: 1, arrives: 5, way: "b>c", bytes: "x"}, {at: 2, arrives: 6, way: "c>b", bytes: "y"}},
			b:       []string{"1 x", "6 y"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			tr := traceOf(x.packets)
			for host, want := range map[string][]string{"a": x.a, "b": x.b} {
				c := export.Packets(tr, host)
				var got []string
				for _, p := range c.Packets {
					line := fmt.Sprintf("%d %s", p.Time.Sub(start).Milliseconds(), p.Bytes)
					if p.Comment != "" {
						line += " (" + p.Comment + ")"
					}
					got = append(got, line)
				}
				assert.Equal(t, want, got, "on %s", host)
				assert.Equal(t, fmt.Sprintf("A simulated network, seed 7, as the host %q saw it.", host), c.Comment)
				assert.Equal(t, []export.Interface{{Name: host, Description: "a capture on the host " + strings.ToUpper(host)}}, c.Interfaces)
				require.NoError(t, export.WritePCAPNG(&bytes.Buffer{}, c))
			}
			assert.Equal(t, traceOf(x.packets), tr, "the trace is as it was")
		})
	}
}

// What the trace keeps only the head of is left out, and said to be.
func TestPacketsThatWereElided(t *testing.T) {
	long := strings.Repeat("x", 60_000)
	var packets []sent
	for i := range int64(trace.PacketsKept/len(long) + 3) {
		packets = append(packets, sent{at: i, arrives: i + 5, way: "a>b", bytes: long}, sent{at: i, arrives: i + 5, way: "b>a", bytes: "short"})
	}
	packets = append(packets, sent{at: 1000, arrives: 1005, way: "a>b", bytes: long, fate: trace.FateLost})
	tr := traceOf(packets)
	for host, missing := range map[string]string{"a": " 3 packets are missing", "b": " 2 packets are missing"} {
		c := export.Packets(tr, host)
		assert.Contains(t, c.Comment, missing)
		sizes := map[int]int{}
		for _, p := range c.Packets {
			sizes[len(p.Bytes)]++
		}
		assert.Equal(t, map[int]int{len(long): len(packets)/2 - 2, len("short"): len(packets) / 2}, sizes)
	}
}

func TestPacketsOfATraceWithoutAny(t *testing.T) {
	assert.Empty(t, export.Packets(traceOf(nil), "a").Packets)
	assert.Empty(t, export.Packets(traceOf([]sent{{at: 1, arrives: 2, way: "a>b", bytes: "x"}}), "nobody").Packets)
}
