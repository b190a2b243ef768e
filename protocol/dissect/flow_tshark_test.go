package dissect_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/export"
	"smtpscope/protocol/export/exporttest"
)

// reading is what Flow says of one segment, in the words of tshark.
func reading(a dissect.Analysis) exporttest.Segment {
	s := exporttest.Segment{
		Marks: exporttest.Marks(a.Marks.Names()), Seq: fmt.Sprint(a.Seq), Ack: fmt.Sprint(a.Ack), Window: fmt.Sprint(a.Window), InFlight: fmt.Sprint(a.InFlight),
	}
	if a.DuplicateACK > 0 {
		s.DuplicateACK = fmt.Sprint(a.DuplicateACK)
	}
	return s
}

// agree reads packets, of any number of connections to port 25, with Flow and
// with tshark, and returns how often it met each mark. edit takes out what is
// not to be compared.
func agree(t *testing.T, packets []export.Packet, edit func(ours, theirs *exporttest.Segment)) map[string]int {
	t.Helper()
	theirs := exporttest.Segments(t, export.Capture{Packets: packets})
	require.Len(t, theirs, len(packets))
	flows := map[netip.AddrPort]*dissect.Flow{}
	history := map[netip.AddrPort][]string{}
	met := map[string]int{}
	for i, p := range packets {
		s, ok := dissect.ParseSegment(p.Bytes)
		require.True(t, ok)
		client := s.Src
		if client.Port() == 25 {
			client = s.Dst
		}
		if flows[client] == nil {
			flows[client] = &dissect.Flow{}
		}
		a, ok := flows[client].Add(p.Time.Sub(start), s)
		require.True(t, ok)
		ours := reading(a)
		edit(&ours, &theirs[i])
		history[client] = append(history[client], fmt.Sprintf("%d: %v %d > %d %v seq %d ack %d window %d length %d sack %v: %+v",
			i+1, p.Time.Sub(start), s.Src.Port(), s.Dst.Port(), s.Flags, s.Seq, s.Ack, s.Window, s.Payload[1]-s.Payload[0], s.SACK, ours))
		for _, m := range ours.Marks {
			met[m]++
		}
		require.Equal(t, theirs[i], ours, "tshark says otherwise of packet %d, the last of\n%s", i+1, strings.Join(history[client], "\n"))
	}
	return met
}

// Every mark, on segments whose numbers do to each other whatever numbers may do.
// Acknowledgments of what tshark did not see are left out: it has rules of its own
// for what follows them.
func TestFlowAgreesWithTSharkOnSoup(t *testing.T) {
	s := &soup{rng: rand.New(rand.NewPCG(1, 2))}
	for port := range uint16(400) {
		s.connection(2000+port, 60)
	}
	met := agree(t, s.packets, func(ours, theirs *exporttest.Segment) {
		ours.InFlight, theirs.InFlight = "", ""
		for _, s := range []*exporttest.Segment{ours, theirs} {
			s.Marks = without(s.Marks, "ack_lost_segment")
		}
	})
	for _, mark := range without(exporttest.MarkFields, "ack_lost_segment") {
		assert.Greater(t, met[mark], 20, mark)
	}
}

func without(list []string, name string) []string {
	var out []string
	for _, s := range list {
		if s != name {
			out = append(out, s)
		}
	}
	return out
}

type soup struct {
	rng     *rand.Rand
	now     time.Duration
	packets []export.Packet
}

func (s *soup) connection(port uint16, segments int) {
	rng := s.rng
	one := func(in int) bool { return rng.IntN(in) == 0 }
	addr := [2]netip.AddrPort{netip.AddrPortFrom(clientAddr.Addr(), port), serverAddr}
	var next, acked [2]uint32
	var window [2]uint16
	for i := range 2 {
		next[i] = rng.Uint32()
		if one(3) {
			// Soon to wrap around, but not to 0 sharp, which tshark takes for unknown.
			next[i] = -uint32(rng.IntN(3000)) - 5000
		}
		window[i] = uint16(1 + rng.IntN(5000))
	}
	send := func(from int, flags byte, seq, ack uint32, window uint16, options []byte, n int) {
		s.packets = append(s.packets, export.Packet{Time: start.Add(s.now), Bytes: exporttest.TCP{
			Src: addr[from], Dst: addr[1-from], Seq: seq, Ack: ack, Flags: flags, Window: window, Options: options, Payload: make([]byte, n),
		}.Packet()})
		s.now += [...]time.Duration{
			0, 100 * time.Microsecond, time.Millisecond, 4 * time.Millisecond, 18 * time.Millisecond, 30 * time.Millisecond,
		}[rng.IntN(6)]
	}
	if !one(4) {
		var scale [2][]byte
		for i := range scale {
			if (i == 0 || scale[0] != nil) && !one(3) {
				scale[i] = []byte{3, 3, byte(rng.IntN(9)), 1}
			}
		}
		for range 1 + rng.IntN(2) {
			send(0, exporttest.SYN, next[0], 0, window[0], scale[0], 0)
		}
		for range 1 + rng.IntN(2) {
			send(1, exporttest.SYN|exporttest.ACK, next[1], next[0]+1, window[1], scale[1], 0)
		}
		next[0]++
		next[1]++
		if !one(4) {
			send(0, exporttest.ACK, next[0], next[1], window[0], nil, 0)
		}
	}
	acked[0], acked[1] = next[1], next[0]
	for range segments {
		from := rng.IntN(2)
		seq, ack, win, n := next[from], acked[from], window[from], 0
		flags := byte(exporttest.ACK)
		var options []byte
		switch rng.IntN(25) {
		case 0, 1, 2, 3, 4, 5:
			n = 1 + rng.IntN(500)
		case 6:
			n = 1
		case 7: // after a gap
			seq += uint32(rng.IntN(600))
			n = rng.IntN(300)
		case 8, 9, 10: // again, or late
			seq -= uint32(rng.IntN(900))
			n = rng.IntN(500)
		case 11:
			seq--
			n = rng.IntN(3)
		case 12, 13, 14, 15:
			ack = next[1-from]
		case 16, 17: // repeats itself
		case 18:
			ack -= uint32(rng.IntN(500))
		case 19:
			ack, win = next[1-from], 0
		case 20:
			win = uint16(rng.IntN(4) * 500)
		case 21: // fills the window
			n = 1
			if room := acked[1-from] + uint32(window[1-from]) - seq; room < 1900 {
				n = int(room)
			}
		case 22:
			ack = next[1-from]
			if one(6) {
				flags |= [...]byte{exporttest.FIN, exporttest.RST}[rng.IntN(2)]
			}
		case 23:
			options = sackOption([2]uint32{ack + uint32(rng.IntN(500)), ack + 500 + uint32(rng.IntN(500))})
		case 24: // asks again and again for what the other then sends
			ack -= uint32(100 + rng.IntN(500))
			for range 1 + rng.IntN(4) {
				send(from, flags, seq, ack, win, nil, 0)
			}
			acked[from] = ack
			from = 1 - from
			seq, ack, win, n = ack, acked[from], window[from], 50
		}
		probe := n == 1 && seq == next[from] && window[1-from] == 0
		send(from, flags, seq, ack, win, options, n)
		end := seq + uint32(n) + uint32(flags&exporttest.FIN)
		if int32(end-next[from]) > 0 && !probe {
			next[from] = end
		}
		acked[from], window[from] = ack, win
	}
}

func sackOption(blocks ...[2]uint32) []byte {
	b := []byte{1, 1, 5, byte(2 + 8*len(blocks))}
	for _, block := range blocks {
		for _, n := range block {
			b = append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		}
	}
	return b
}
