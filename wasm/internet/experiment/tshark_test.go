//go:build !js

package experiment

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/export"
	"smtpscope/protocol/export/exporttest"
	"smtpscope/protocol/trace"
)

// troubles are runs in which something happens to packets and windows. No two have
// the same seed, so that no two connections begin alike.
var troubles = []struct {
	seed, seeds int
	size        int // of the message; 0: a short one
	security    string
	link        settings
	server      settings
}{
	{seed: 100, seeds: 12, security: "none", link: settings{"delay": "40ms", "loss": .1, "reorder": .1, "duplicate": .05}},
	{seed: 200, seeds: 8, security: "starttls", link: settings{"delay": "40ms", "loss": .1, "reorder": .1, "duplicate": .05}},
	{seed: 300, seeds: 4, security: "none", size: 200_000,
		link: settings{"delay": "25ms", "bandwidth": "10Mbit", "loss": .03, "reorder": .03, "duplicate": .01}},
	{seed: 400, seeds: 2, security: "starttls", size: 200_000,
		link: settings{"delay": "25ms", "loss": .03, "reorder": .03, "duplicate": .01}},
	{seed: 500, seeds: 6, security: "none", size: 20_000,
		link: settings{"delay": "25ms", "loss": .02, "reorder": .05, "duplicate": .02, "corrupt": .1}},
	{seed: 600, seeds: 3, security: "none", size: 60_000,
		link: settings{"delay": "40ms", "loss": .02}, server: settings{"readRate": "64kbit", "receiveBuffer": 8192}},
}

// What a trace says of TCP is what Wireshark makes of a capture on either host,
// packet by packet. Wireshark finds fault with those packets that the link has
// corrupted, and with no others.
func TestTSharkAgrees(t *testing.T) {
	var traces []*trace.Trace
	for _, x := range troubles {
		for i := range x.seeds {
			s := base(settings{"seed": x.seed + i, "security": x.security, "link": x.link})
			if x.server != nil {
				s["lab"] = settings{"server": x.server}
			}
			if x.size > 0 {
				s["messages"] = []settings{{"from": "ada@example.org", "to": []string{"grace@example.net"}, "data": long(x.size)}}
			}
			tr := run(t, s)
			require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
			traces = append(traces, tr)
		}
	}
	met := map[string]int{}
	for _, host := range []string{trace.HostClient, trace.HostServer} {
		var all, segments export.Capture // all runs, one behind the other: tshark takes long to start
		var faulty []string
		var want []remarks
		for i, tr := range traces {
			tr.Meta.Started = tr.Meta.Started.AddDate(0, 0, i)
			c := export.Packets(tr, host)
			spoiled := spoiled(tr, host)
			for n, p := range c.Packets {
				if spoiled(p) {
					faulty = append(faulty, fmt.Sprint(len(all.Packets)+n+1))
				}
			}
			all.Packets = append(all.Packets, c.Packets...)
			ours := remarksOf(t, tr, host)
			for _, p := range c.Packets {
				// A host drops what is spoiled. Wireshark takes it for what it looks like.
				if spoiled(p) || !isTCP(p) {
					continue
				}
				same := ours[passage(p.Time, p.Bytes)]
				require.NotEmpty(t, same, "run %d: the trace has none of the packets at %v", i, p.Time.Sub(tr.Meta.Started))
				ours[passage(p.Time, p.Bytes)] = same[1:]
				segments.Packets = append(segments.Packets, p)
				want = append(want, same[0])
			}
		}
		var numbers []string
		for _, line := range exporttest.Malformed(t, all) {
			numbers = append(numbers, strings.Fields(line)[0])
		}
		require.Equal(t, faulty, numbers)

		got := exporttest.Segments(t, segments)
		require.Len(t, got, len(want))
		for i, r := range want {
			got[i].InFlight = "" // it counts what is sent again although it was acknowledged
			if !r.sent {
				got[i].Seq, got[i].Ack, got[i].Window = "", "", ""
			}
			require.Equal(t, got[i], r.Segment, "run with seed %d, event %d, on %s", r.seed, r.event, host)
			for _, mark := range r.Marks {
				met[mark]++
			}
		}
	}
	never := []string{
		"ack_lost_segment",                           // a capture on one of the two hosts misses nothing
		"zero_window_probe", "zero_window_probe_ack", // this stack probes with what Wireshark calls a keep-alive
	}
	for _, mark := range exporttest.MarkFields {
		if slices.Contains(never, mark) {
			assert.Zero(t, met[mark], mark)
		} else {
			assert.NotZero(t, met[mark], mark)
		}
	}
}

// remarks are what a trace says of a segment that passed a host.
type remarks struct {
	exporttest.Segment
	sent  bool // by the host; else without numbers
	seed  int64
	event int
}

// passage is what a packet is known by when it passes a host.
func passage(at time.Time, b []byte) string { return fmt.Sprintf("%d %x", at.UnixNano(), b) }

// remarksOf finds what the trace says of the segments that passed a host, in the
// order in which those of one passage did.
func remarksOf(t *testing.T, tr *trace.Trace, host string) map[string][]remarks {
	t.Helper()
	analyses := map[int]trace.AnalysisData{}
	for _, e := range tr.Events {
		if e.Kind == trace.KindAnalysis {
			if a := dataOf[trace.AnalysisData](t, e); a.Host == host {
				analyses[a.Packet] = a
			}
		}
	}
	all := map[string][]remarks{}
	for _, e := range tr.Events {
		if e.Kind != trace.KindSegment {
			continue
		}
		d := dataOf[trace.PacketData](t, e)
		sent := e.From == host && d.Fate != trace.FateDuplicated
		arrived := e.To == host && d.Fate != trace.FateLost && d.Flip == nil
		if !sent && !arrived {
			continue
		}
		a := analyses[e.N]
		r := remarks{sent: sent, seed: tr.Meta.Seed, event: e.N, Segment: exporttest.Segment{Marks: exporttest.Marks(a.Marks)}}
		if a.DuplicateACK > 0 {
			r.DuplicateACK = fmt.Sprint(a.DuplicateACK)
		}
		at := d.Arrives
		if s := d.Segment; sent {
			at = e.T
			r.Seq, r.Ack, r.Window = fmt.Sprint(s.Seq), fmt.Sprint(s.Ack), fmt.Sprint(s.Window)
		}
		b, whole := tr.Streams[trace.Packets].Bytes(e.At.Off, e.At.Len)
		require.True(t, whole)
		key := passage(tr.Meta.Started.Add(time.Duration(at)), b)
		all[key] = append(all[key], r)
	}
	return all
}

// Where the octets of an IPv4 header stand (RFC 791, 3.1).
const (
	ipProtocol    = 9
	ipSource      = 12
	ipDestination = 16
)

func isTCP(p export.Packet) bool { return p.Bytes[ipProtocol] == 6 }

// spoiled tells of the packets in a capture on a host which ones reached it with a
// flipped bit. Of those that it sent, the bit was flipped behind it.
func spoiled(tr *trace.Trace, host string) func(export.Packet) bool {
	own := addressOf(tr, host)
	return func(p export.Packet) bool {
		return strings.HasPrefix(p.Comment, "corrupted") && !bytes.HasPrefix(p.Bytes[ipSource:], own)
	}
}

func addressOf(tr *trace.Trace, host string) []byte {
	i := slices.IndexFunc(tr.Meta.Hosts, func(h trace.Host) bool { return h.ID == host })
	return netip.MustParseAddr(tr.Meta.Hosts[i].Address).AsSlice()
}

// With the session's key log, and not without it, tshark reads what TLS carried.
func TestTSharkDecrypts(t *testing.T) {
	plan := planOf(t, base(settings{"security": "starttls", "seed": 5, "link": settings{"delay": "40ms", "loss": .1, "reorder": .1, "duplicate": .1}}))
	var keys bytes.Buffer
	var tr *trace.Trace
	lab(t, Config{Plan: plan, KeyLog: &keys}, func(t *testing.T, e *Experiment) {
		require.NoError(t, e.Start(t.Context()))
		require.True(t, e.Run(never))
		tr = e.Result()
	})
	require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
	for _, host := range []string{trace.HostClient, trace.HostServer} {
		c := export.Packets(tr, host)
		commands := func() string {
			return strings.Join(exporttest.TShark(t, c, append(exporttest.InOrder,
				"-Y", "smtp.req.command", "-T", "fields", "-e", "smtp.req.command", "-e", "smtp.req.parameter")...), "\n")
		}
		assert.Equal(t, "EHLO\t[192.0.2.10]\nSTAR\tTLS", commands(), "for tshark, four letters are the command")
		c.Secrets = keys.Bytes()
		assert.Contains(t, commands(), "MAIL\tFROM:<ada@example.org>")
		assert.Equal(t, []string{"Notes on the engine"}, exporttest.TShark(t, c, append(exporttest.InOrder, "-Y", "imf", "-T", "fields", "-e", "imf.subject")...))
	}
}

// A capture on a host has its connections, and no others.
func TestCaptureHasTheConnectionsOfItsHost(t *testing.T) {
	tr := run(t, base(signedIn, settings{"lab": settings{"route": "submission"}}))
	for host, want := range map[string][]string{
		trace.HostClient: {"192.0.2.10,198.51.100.25"},
		trace.HostServer: {"192.0.2.10,198.51.100.25", "198.51.100.25,203.0.113.25"},
		hostMX:           {"198.51.100.25,203.0.113.25"},
	} {
		c := export.Packets(tr, host)
		syns := exporttest.TShark(t, c, "-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0", "-T", "fields", "-e", "ip.addr")
		assert.Equal(t, want, syns, host)
		own := addressOf(tr, host)
		for i, p := range c.Packets {
			from, to := p.Bytes[ipSource:], p.Bytes[ipDestination:]
			assert.True(t, bytes.HasPrefix(from, own) || bytes.HasPrefix(to, own), "packet %d of %s", i+1, host)
		}
	}
}
