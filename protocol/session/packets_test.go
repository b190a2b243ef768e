package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/export/exporttest"
	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

var (
	proxyEnd  = netip.MustParseAddrPort("198.51.100.7:40000")
	serverEnd = netip.MustParseAddrPort("192.0.2.25:25")
	// captureBegan is by the proxy's clock, which is not that of these tests.
	captureBegan = time.Date(2031, time.May, 4, 3, 2, 1, 123456789, time.UTC)
)

// The packets of a session in TLS carry all of its bytes, whichever comes first: the packet or
// what is in it.
func TestCapturedSession(t *testing.T) {
	ca := newAuthority(t)
	config := ca.good(t)
	addr, done := script{"S: 220 hi", "C: EHLO *", "S: 250-mx", "S: 250 STARTTLS", "C: STARTTLS", "S: 220 go", "TLS",
		"C: EHLO *", "S: 250 mx", "C: MAIL FROM:*", "S: 250 ok", "C: RCPT TO:*", "S: 250 ok", "C: DATA", "S: 354 go", "M", "S: 250 queued", "C: QUIT", "S: 221 bye"}.listen(t, config)
	plan := parse(t, planJSON(t, map[string]any{"security": "starttls", "tls": map[string]any{"ca": []string{ca.PEM}}}))
	var s *session.Session
	s = session.New(session.Config{Plan: plan, Tool: "x", Dial: func(ctx context.Context, target session.Target, report func(tunnel.Status)) (net.Conn, error) {
		conn, err := dialTo(addr)(ctx, target, func(tunnel.Status) {})
		if err != nil {
			return nil, err
		}
		report(tunnel.Status{Stage: tunnel.StageDialing, Address: serverEnd.String()})
		tap := &exporttest.Tap{Conn: conn, Local: proxyEnd, Remote: serverEnd, See: func(at time.Time, ip []byte) { s.Packet(tunnel.Packet{Time: at, IP: ip}) }}
		tap.Open(captureBegan)
		report(tunnel.Status{Stage: tunnel.StageOpened, Address: serverEnd.String(), Local: proxyEnd.String()})
		return tap, nil
	}})
	tr := s.Run(t.Context())
	require.NoError(t, (<-done).err)
	require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
	checkTrace(t, tr)

	seen := map[string][]byte{}
	var at time.Time
	packets := 0
	for _, e := range tr.Events {
		if e.At == nil || e.At.Stream != trace.Packets {
			continue
		}
		packets++
		var d trace.PacketData
		require.NoError(t, json.Unmarshal(e.Data, &d))
		assert.Equal(t, trace.Captured, e.Src)
		assert.Equal(t, trace.LayerTCP, e.Layer)
		assert.Equal(t, map[trace.Direction][2]string{trace.Out: {"proxy", "server"}, trace.In: {"server", "proxy"}}[e.Dir], [2]string{e.From, e.To})
		assert.Empty(t, d.Fate)
		assert.Zero(t, d.Arrives)
		assert.Zero(t, d.Segment.Flow)
		assert.True(t, d.Captured.After(at), "event %d: %s", e.N, d.Captured)
		at = d.Captured
		assert.NotEmpty(t, e.Fields)
		if d.Carries != nil {
			packet, whole := tr.Streams[trace.Packets].Bytes(e.At.Off, e.At.Len)
			require.True(t, whole)
			assert.Equal(t, int64(len(seen[d.Carries.Stream])), d.Carries.Off)
			seen[d.Carries.Stream] = append(seen[d.Carries.Stream], packet[len(packet)-int(d.Carries.Len):]...)
		}
	}
	assert.Equal(t, captureBegan.Add(time.Duration(packets-1)*time.Millisecond), at, "all of them, by the proxy's clock to the nanosecond")
	for _, stream := range []string{trace.WireOut, trace.WireIn} {
		want, _ := tr.Streams[stream].Bytes(0, tr.Streams[stream].Len())
		assert.Equal(t, want, seen[stream], stream)
	}
}

// capture is what a proxy reports, in order: stages, packets, and what is to be done meanwhile.
type capture []any

// seg is a packet that the proxy sends to a server, or the server to it.
type seg struct {
	server  string // default: serverEnd
	in      bool
	flags   byte
	seq     uint32 // from the initial one
	ack     uint32
	payload string
	padding int
}

const isnOut, isnIn = 4294967290, 77 // the former wraps around soon

func (s seg) bytes() []byte {
	server := serverEnd
	if s.server != "" {
		server = netip.MustParseAddrPort(s.server)
	}
	local := proxyEnd
	if server.Addr().Is6() {
		local = netip.MustParseAddrPort("[2001:db8::7]:40001")
	}
	p := exporttest.TCP{Src: local, Dst: server, Seq: isnOut + s.seq, Flags: s.flags, Window: 1000, Payload: []byte(s.payload)}
	if s.flags&exporttest.ACK != 0 {
		p.Ack = isnIn + s.ack
	}
	if s.in {
		p.Src, p.Dst, p.Seq = server, local, isnIn+s.seq
		if s.flags&exporttest.ACK != 0 {
			p.Ack = isnOut + s.ack
		}
	}
	return append(p.Packet(), make([]byte, s.padding)...)
}

type stage struct {
	stage   tunnel.Stage
	address string // default: serverEnd
	local   string // default: proxyEnd
}

func TestCapturedPackets(t *testing.T) {
	const (
		syn, ack, psh, fin, rst = exporttest.SYN, exporttest.ACK, exporttest.PSH | exporttest.ACK, exporttest.FIN | exporttest.ACK, exporttest.RST
	)
	dialing, opened := stage{stage: tunnel.StageDialing}, stage{stage: tunnel.StageOpened}
	handshake := capture{dialing, seg{flags: syn}, seg{in: true, flags: syn | ack, ack: 1}, seg{flags: ack, seq: 1, ack: 1}, opened}
	with := func(more ...any) capture { return append(slices.Clone(handshake), more...) }
	opening := []string{
		"out SYN seq 0 win 1000", "in SYN, ACK seq 0 ack 1 win 1000", "out ACK seq 1 ack 1 win 1000",
	}
	const other = "[2001:db8::25]:25"
	for _, x := range []struct {
		name    string
		capture capture
		// want are the events of packets and remarks: direction, flow beyond 0, text, what is carried, what is said again.
		want []string
	}{
		{"a connection from its first segment to its last", with(
			seg{in: true, flags: psh, seq: 1, ack: 1, payload: "220 hi\r\n"}, seg{flags: ack, seq: 1, ack: 9},
			seg{flags: psh, seq: 1, ack: 9, payload: "QUIT\r\n"}, seg{in: true, flags: fin, seq: 9, ack: 7}, seg{flags: fin, seq: 7, ack: 10}, seg{in: true, flags: ack, seq: 10, ack: 8}),
			append(slices.Clone(opening),
				"in PSH, ACK seq 1 ack 1 len 8 win 1000 = wire.in 0 8", "out ACK seq 1 ack 9 win 1000", "out PSH, ACK seq 1 ack 9 len 6 win 1000 = wire.out 0 6",
				"in FIN, ACK seq 9 ack 7 win 1000", "out FIN, ACK seq 7 ack 10 win 1000", "in ACK seq 10 ack 8 win 1000")},
		{"the greeting comes before the report that the connection is open, and waits for it",
			capture{dialing, seg{flags: syn}, seg{in: true, flags: syn | ack, ack: 1}, seg{flags: ack, seq: 1, ack: 1},
				seg{in: true, flags: psh, seq: 1, ack: 1, payload: "220 hi\r\n"}, seg{flags: ack, seq: 1, ack: 9}, opened},
			append(slices.Clone(opening), "opened", "in PSH, ACK seq 1 ack 1 len 8 win 1000 = wire.in 0 8", "out ACK seq 1 ack 9 win 1000")},
		{"a SYN overtakes the report of its connection",
			capture{seg{flags: syn}, seg{in: true, flags: syn | ack, ack: 1}, dialing, seg{flags: ack, seq: 1, ack: 1}, opened, seg{flags: psh, seq: 1, ack: 1, payload: "EHLO"}},
			append(slices.Clone(opening), "opened", "out PSH, ACK seq 1 ack 1 len 4 win 1000 = wire.out 0 4")},
		{"nothing is reported but that the connection is open",
			capture{seg{flags: syn}, seg{in: true, flags: syn | ack, ack: 1}, seg{flags: ack, seq: 1, ack: 1}, opened}, append([]string{"opened"}, opening...)},
		{"no connection opens: what waited is there, and carries nothing of the session",
			capture{dialing, seg{flags: syn}, seg{in: true, flags: psh, seq: 1, ack: 1, payload: "220 hi\r\n"}},
			[]string{"out SYN seq 0 win 1000", "in PSH, ACK seq 1 ack 1 len 8 win 1000"}},
		{"two attempts race: only the one that wins carries the session",
			capture{stage{stage: tunnel.StageDialing, address: other}, seg{server: other, flags: syn}, dialing, seg{flags: syn}, seg{in: true, flags: syn | ack, ack: 1},
				seg{flags: ack, seq: 1, ack: 1}, seg{server: other, in: true, flags: syn | ack, ack: 1}, opened, seg{server: other, in: true, flags: psh, seq: 1, ack: 1, payload: "220 late\r\n"},
				seg{server: other, flags: rst, seq: 1}, seg{in: true, flags: psh, seq: 1, ack: 1, payload: "220 hi\r\n"}},
			[]string{"out SYN seq 0 win 1000", "out flow 1 SYN seq 0 win 1000", "in flow 1 SYN, ACK seq 0 ack 1 win 1000", "out flow 1 ACK seq 1 ack 1 win 1000", "in SYN, ACK seq 0 ack 1 win 1000", "opened",
				"in PSH, ACK seq 1 ack 1 len 10 win 1000", "out RST seq 1 win 1000", "in flow 1 PSH, ACK seq 1 ack 1 len 8 win 1000 = wire.in 0 8"}},
		{"a SYN is sent again",
			capture{dialing, seg{flags: syn}, seg{flags: syn}}, []string{"out SYN seq 0 win 1000", "out SYN seq 0 win 1000 again 0", "retransmission"}},
		{"octets are sent again, and come again that came before", with(
			seg{flags: psh, seq: 1, ack: 1, payload: "EHLO"}, seg{flags: psh, seq: 1, ack: 1, payload: "EHLO"}, seg{in: true, flags: psh, seq: 1, ack: 5, payload: "250"},
			seg{flags: ack, seq: 5, ack: 4}, seg{in: true, flags: psh, seq: 1, ack: 5, payload: "250"}),
			append(slices.Clone(opening), "out PSH, ACK seq 1 ack 1 len 4 win 1000 = wire.out 0 4", "out PSH, ACK seq 1 ack 1 len 4 win 1000 = wire.out 0 4 again 3", "retransmission",
				"in PSH, ACK seq 1 ack 5 len 3 win 1000 = wire.in 0 3", "out ACK seq 5 ack 4 win 1000", "in PSH, ACK seq 1 ack 5 len 3 win 1000 = wire.in 0 3 again 5", "spurious-retransmission")},
		{"a segment is overtaken on its way to the proxy: nothing is sent again", with(
			seg{in: true, flags: psh, seq: 4, ack: 1, payload: " hi"}, seg{in: true, flags: psh, seq: 1, ack: 1, payload: "220"}, seg{in: true, flags: psh, seq: 7, ack: 1, payload: "\r\n"}),
			append(slices.Clone(opening), "in PSH, ACK seq 4 ack 1 len 3 win 1000 = wire.in 3 3", "lost-segment", "in PSH, ACK seq 1 ack 1 len 3 win 1000 = wire.in 0 3", "out-of-order",
				"in PSH, ACK seq 7 ack 1 len 2 win 1000 = wire.in 6 2")},
		{"the capture missed how it began: nobody knows what the segments carry",
			capture{dialing, opened, seg{flags: psh, seq: 1, ack: 1, payload: "EHLO"}, seg{in: true, flags: psh, seq: 1, ack: 5, payload: "250"}},
			[]string{"out PSH, ACK seq 1 ack 1 len 4 win 1000", "in PSH, ACK seq 1 ack 5 len 3 win 1000"}},
		{"a link pads short packets", with(seg{flags: psh, seq: 1, ack: 1, payload: "Q", padding: 5}),
			append(slices.Clone(opening), "out PSH, ACK seq 1 ack 1 len 1 win 1000 = wire.out 0 1")},
		{"addresses of IPv4 in the form of IPv6 are those of IPv4",
			capture{stage{stage: tunnel.StageDialing, address: "[::ffff:192.0.2.25]:25"}, seg{flags: syn}, seg{in: true, flags: syn | ack, ack: 1}, seg{flags: ack, seq: 1, ack: 1},
				stage{stage: tunnel.StageOpened, address: "[::ffff:192.0.2.25]:25", local: "[::ffff:198.51.100.7]:40000"}, seg{flags: psh, seq: 1, ack: 1, payload: "QUIT"}},
			append(slices.Clone(opening), "out PSH, ACK seq 1 ack 1 len 4 win 1000 = wire.out 0 4")},
		{"IPv6", capture{stage{stage: tunnel.StageDialing, address: other}, seg{server: other, flags: syn}, stage{stage: tunnel.StageOpened, address: other, local: "[2001:db8::7]:40001"},
			seg{server: other, flags: psh, seq: 1, ack: 1, payload: "QUIT"}},
			[]string{"out SYN seq 0 win 1000", "out PSH, ACK seq 1 ack 1 len 4 win 1000 = wire.out 0 4"}},
		{"of a connection that the proxy has not named there is nothing",
			capture{seg{server: "192.0.2.26:25", flags: syn}, dialing, seg{flags: syn}, opened, seg{server: "192.0.2.26:25", flags: syn}}, []string{"out SYN seq 0 win 1000"}},
		{"no segment", with([]byte("not IP"), seg{flags: psh, seq: 1, ack: 1, payload: "QUIT"}.bytes()[:30]), append(slices.Clone(opening), "IP packet, 6 octets", "IP packet, 30 octets")},
	} {
		t.Run(x.name, func(t *testing.T) {
			tr := x.capture.run(t)
			checkTrace(t, tr)
			var got []string
			for _, e := range tr.Events {
				switch {
				case e.Kind == trace.KindOpened && slices.Contains(x.want, "opened"):
					got = append(got, "opened")
				case e.Kind == trace.KindAnalysis:
					var d trace.AnalysisData
					require.NoError(t, json.Unmarshal(e.Data, &d))
					assert.Equal(t, "proxy", d.Host)
					assert.Equal(t, e.N-1, d.Packet)
					got = append(got, strings.Join(d.Marks, " "))
				case e.At != nil && e.At.Stream == trace.Packets:
					got = append(got, packetLine(t, tr, e))
				}
			}
			assert.Equal(t, x.want, got)
		})
	}
}

func packetLine(t *testing.T, tr *trace.Trace, e trace.Event) string {
	var d trace.PacketData
	require.NoError(t, json.Unmarshal(e.Data, &d))
	assert.Equal(t, trace.Captured, e.Src)
	line := e.Text
	if e.Dir != "" {
		line = string(e.Dir) + " " + line
	}
	if s := d.Segment; s != nil {
		if s.Flow > 0 {
			line = fmt.Sprintf("%s flow %d %s", e.Dir, s.Flow, e.Text)
		}
		if d.Carries != nil {
			line += fmt.Sprintf(" = %s %d %d", d.Carries.Stream, d.Carries.Off, d.Carries.Len)
		}
		if s.Again != nil {
			packet := 0
			for _, earlier := range tr.Events[:*s.Again] {
				if earlier.At != nil && earlier.At.Stream == trace.Packets {
					packet++
				}
			}
			line += fmt.Sprintf(" again %d", packet)
		}
		b, _ := tr.Streams[trace.Packets].Bytes(e.At.Off, e.At.Len)
		segment, ok := dissect.ParseSegment(b)
		assert.True(t, ok)
		assert.Equal(t, int64(len(b)), segment.Payload[1], "nothing of the link is left")
	}
	return line
}

// run lets a session hear what the proxy reports. Its server then says nothing and closes.
func (c capture) run(t *testing.T) *trace.Trace {
	var s *session.Session
	at := captureBegan
	s = session.New(session.Config{Plan: parse(t, planJSON(t, nil)), Tool: "x", Dial: func(_ context.Context, _ session.Target, report func(tunnel.Status)) (net.Conn, error) {
		err := error(&tunnel.Error{Code: tunnel.CodeTimeout, Message: "Nobody answered."})
		var conn net.Conn
		for _, one := range c {
			at = at.Add(time.Millisecond)
			switch one := one.(type) {
			case stage:
				st := tunnel.Status{Stage: one.stage, Address: one.address, Local: one.local}
				if st.Address == "" {
					st.Address = serverEnd.String()
				}
				if st.Local == "" {
					st.Local = proxyEnd.String()
				}
				report(st)
				if one.stage == tunnel.StageOpened {
					near, far := net.Pipe()
					far.Close()
					conn, err = near, nil
				}
			case seg:
				b := one.bytes()
				s.Packet(tunnel.Packet{Time: at, IP: b})
				clear(b) // it was valid during the call
			case []byte:
				s.Packet(tunnel.Packet{Time: at, IP: one})
			case func(*session.Session):
				one(s)
			}
		}
		return conn, err
	}})
	return s.Run(t.Context())
}

// A proxy that never says what it connected cannot make the page keep packets for that forever.
func TestCapturedPacketsThatWait(t *testing.T) {
	c := capture{stage{stage: tunnel.StageDialing}, seg{flags: exporttest.SYN}}
	for i := range uint32(1000) {
		c = append(c, seg{in: true, flags: exporttest.ACK, seq: 1 + i, ack: 1, payload: "x"})
	}
	recorded := int64(0)
	tr := append(c, func(s *session.Session) { recorded = s.Recorder().Len(trace.Packets) }).run(t)
	assert.Greater(t, recorded, tr.Streams[trace.Packets].Len()*7/10, "most were there before the end")
	var packets []trace.Event
	for _, e := range tr.Events {
		if e.At != nil && e.At.Stream == trace.Packets {
			packets = append(packets, e)
		}
	}
	assert.Len(t, packets, 1001)
	checkTrace(t, tr)
}

// Of very many packets only those have events to which something happened, and of many not all have fields.
func TestCapturedPacketsBeyondThoseRecorded(t *testing.T) {
	c := capture{stage{stage: tunnel.StageDialing}, seg{flags: exporttest.SYN}, seg{in: true, flags: exporttest.SYN | exporttest.ACK, ack: 1}, stage{stage: tunnel.StageOpened}}
	seq := uint32(1)
	for range trace.PacketsRecorded {
		c = append(c, seg{flags: exporttest.ACK, seq: seq, ack: 1, payload: "x"})
		seq++
	}
	c = append(c, seg{in: true, flags: exporttest.FIN | exporttest.ACK, seq: 1, ack: seq})
	events, fields := 0, 0
	last := ""
	for _, e := range c.run(t).Events {
		if e.At == nil || e.At.Stream != trace.Packets {
			continue
		}
		events++
		if len(e.Fields) > 0 {
			fields++
		}
		last = e.Text
	}
	assert.Equal(t, trace.PacketsRecorded+1, events)
	assert.Equal(t, trace.PacketsWithFields+1, fields)
	assert.Contains(t, last, "FIN")
}
