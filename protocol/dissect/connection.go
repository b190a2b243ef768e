package dissect

import (
	"fmt"
	"sort"
	"strings"

	"smtpscope/protocol/trace"
)

// Describe puts a segment of a connection into the terms of a trace, and into one line:
// "SYN seq 0 win 65535 mss 1460 sack".
func Describe(flow int, s Segment, a Analysis) (*trace.SegmentData, string) {
	d := &trace.SegmentData{
		Flow: flow, Flags: s.Flags.String(), Seq: a.Seq, Ack: a.Ack, Window: a.Window, Len: int(s.dataLen()),
		Options: optionWords(s), InFlight: a.InFlight,
	}
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	add("%s seq %d", d.Flags, d.Seq)
	if s.Flags.Has(ACK) {
		add("ack %d", d.Ack)
	}
	if d.Len > 0 {
		add("len %d", d.Len)
	}
	add("win %d", d.Window)
	if d.Options != "" && s.Flags.Has(SYN) {
		add("%s", d.Options)
	}
	return d, strings.Join(words, " ")
}

func optionWords(s Segment) string {
	var out []string
	if s.MSS > 0 {
		out = append(out, fmt.Sprintf("mss %d", s.MSS))
	}
	if s.SACKPermitted {
		out = append(out, "sack")
	}
	for _, b := range s.SACK {
		out = append(out, fmt.Sprintf("sack %d octets", b[1]-b[0]))
	}
	if s.Timestamps != nil {
		out = append(out, "ts")
	}
	if s.WindowScale >= 0 {
		out = append(out, fmt.Sprintf("ws %d", s.WindowScale))
	}
	return strings.Join(out, " ")
}

// Remark is the event of what a capture on a host makes of the packet of another event.
// It is false where there is nothing remarkable.
func (a Analysis) Remark(packet int, host string) (trace.Event, bool) {
	d := trace.AnalysisData{Packet: packet, Host: host, Marks: a.Marks.Names(), DuplicateACK: a.DuplicateACK}
	return trace.Event{
		Layer: trace.LayerTCP, Kind: trace.KindAnalysis, Src: trace.Derived, Data: trace.Encode(d),
		Text: fmt.Sprintf("%s, as %s sees it", strings.Join(d.Marks, ", "), host),
	}, a.Marks != 0
}

// Over tells whether a SYN is not one of this connection but begins a later one
// between the same ports.
func (f *Flow) Over(syn Segment) bool {
	again := *f // it keeps a fixed amount of memory and no pointers
	a, ok := again.Add(0, syn)
	return !ok || a.Seq != 0
}

// Sent is what one end of a connection has sent, and the event of the segment in which it sent
// each sequence number first. The numbers count from the initial one. The zero value is ready for use.
type Sent struct{ runs []sentRun }

// sentRun is a run of sequence numbers. Those of one Sent are in order and have nothing in common.
type sentRun struct {
	from, to uint32
	event    int
}

// First is the event that Add was told of when the sequence number was new. It is
// false for one that still is.
func (s *Sent) First(seq uint32) (event int, known bool) {
	i, known := s.find(seq)
	if !known {
		return 0, false
	}
	return s.runs[i].event, true
}

// Add takes n sequence numbers from seq on, as far as they are new.
func (s *Sent) Add(seq, n uint32, event int) {
	i, known := s.find(seq)
	if known {
		return
	}
	to := seq + n
	if i < len(s.runs) { // it was overtaken
		to = min(to, s.runs[i].from)
	}
	s.runs = append(s.runs, sentRun{})
	copy(s.runs[i+1:], s.runs[i:])
	s.runs[i] = sentRun{seq, to, event}
}

// find is the first run that ends behind a sequence number, and whether that is in it.
func (s *Sent) find(seq uint32) (int, bool) {
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].to > seq })
	return i, i < len(s.runs) && s.runs[i].from <= seq
}
