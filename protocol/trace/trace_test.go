package trace_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
)

// clock ticks one microsecond at every look.
func clock() func() time.Time {
	t := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	return func() time.Time { t = t.Add(time.Microsecond); return t }
}

func newRecorder(sink trace.Sink) *trace.Recorder {
	return trace.NewRecorder(trace.Meta{Tool: "smtpscope/test", Mode: trace.ModeLive,
		Hosts: []trace.Host{{ID: trace.HostClient, Name: "this page"}}}, clock(), sink)
}

// authTrace is a session in clear whose AUTH line carries a secret.
func authTrace() *trace.Trace {
	r := newRecorder(nil)
	line := []byte("AUTH PLAIN AGFkYQBlbmdpbmU=\r\n")
	at := r.Append(trace.TextOut, line)
	r.Append(trace.WireOut, line)
	spans := []trace.Span{{11, 27}}
	r.Add(trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindCommand, Dir: trace.Out, Src: trace.Observed, At: &at,
		Secret: spans, Text: trace.Mask("AUTH PLAIN AGFkYQBlbmdpbmU=", spans), Data: trace.Encode(trace.CommandData{Verb: "AUTH"})})
	return r.Finish(trace.Result{Outcome: trace.Accepted, Phase: "quit"})
}

func TestRoundTrip(t *testing.T) {
	before := authTrace()
	b, err := json.Marshal(before)
	require.NoError(t, err)
	after, err := trace.Decode(b)
	require.NoError(t, err)
	again, err := json.Marshal(after)
	require.NoError(t, err)
	assert.JSONEq(t, string(b), string(again))
	assert.Equal(t, before.Events, after.Events)
}

// sampled is a session in which the proxy measured.
func sampled() *trace.Trace {
	r := newRecorder(nil)
	r.Add(trace.Event{Layer: trace.LayerTCP, Kind: trace.KindSample, Src: trace.Measured, From: trace.HostProxy, To: trace.HostServer,
		Data: trace.Encode(trace.SampleData{State: "ESTABLISHED", RTT: 40 * time.Millisecond, RTTVar: 5 * time.Millisecond, MinRTT: 39 * time.Millisecond,
			RTO: 240 * time.Millisecond, CongestionWindow: 10, SlowStartThreshold: 7, MSS: 1448, Unacked: 3, InFlight: 4000, Retransmits: 1,
			DeliveryRate: 125_000, SendWindow: 65_535, ReceiveWindow: 64_256, SendScale: 7, ReceiveScale: 8})})
	return r.Finish(trace.Result{Outcome: trace.Accepted, Phase: "quit"})
}

func TestSample(t *testing.T) {
	b, err := json.Marshal(sampled())
	require.NoError(t, err)
	after, err := trace.Decode(b)
	require.NoError(t, err)
	assert.Equal(t, sampled().Events, after.Events)
	assert.JSONEq(t, `{"state":"ESTABLISHED","rtt":40000000,"rttvar":5000000,"minRTT":39000000,"rto":240000000,"cwnd":10,"ssthresh":7,"mss":1448,
		"unacked":3,"inFlight":4000,"retransmits":1,"deliveryRate":125000,"sendWindow":65535,"receiveWindow":64256,"sendScale":7,"receiveScale":8}`,
		string(after.Events[0].Data))
	_, err = trace.Decode(bytes.Replace(b, []byte(`"rttvar"`), []byte(`"jitter"`), 1))
	assert.ErrorContains(t, err, `events[0]: data: json: unknown field "jitter"`)
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	whole, err := json.Marshal(authTrace())
	require.NoError(t, err)
	for _, c := range []struct{ name, old, new, want string }{
		{"other version", `"v":1`, `"v":2`, "v is 2, this program reads version 1"},
		{"unknown key", `"meta":{`, `"meta":{"color":1,`, `unknown field "color"`},
		{"unknown mode", `"mode":"live"`, `"mode":"dream"`, `meta.mode: unknown mode "dream"`},
		{"unknown stream", `"wire.in"`, `"wire.up"`, `unknown or empty stream "wire.up"`},
		{"unknown kind", `"kind":"command"`, `"kind":"record"`, `events[0]: unknown kind "record" in layer "smtp"`},
		{"unknown layer", `"layer":"smtp"`, `"layer":"ftp"`, `unknown kind "command" in layer "ftp"`},
		{"unknown source", `"src":"observed"`, `"src":"guessed"`, `unknown src "guessed"`},
		{"unknown direction", `"dir":"out"`, `"dir":"up"`, `unknown dir "up"`},
		{"out of order", `"n":0`, `"n":5`, "n is 5, its position is 0"},
		{"before the start", `"t":1000`, `"t":-1`, "t is negative"},
		{"range outside", `"len":29`, `"len":30`, "outside text.out, which has 29"},
		{"range overflow", `"off":0,"len":29`, `"off":29,"len":9223372036854775807`, "outside text.out"},
		{"secret outside", `[[11,27]]`, `[[11,60]]`, "secret[0]: outside"},
		{"secret backwards", `[[11,27]]`, `[[27,11]]`, "secret[0]: outside"},
		{"data of another kind", `{"verb":"AUTH"}`, `{"code":250}`, `data: json: unknown field "code"`},
		{"something behind", `"roundTrips":0,`, `"roundTrips":0,`, ""},
		{"cut off", `]`, ``, "trace: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Contains(t, string(whole), c.old)
			_, err := trace.Decode([]byte(strings.Replace(string(whole), c.old, c.new, 1)))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err = trace.Decode(append(whole, "{}"...))
	require.ErrorContains(t, err, "something follows")
}

func TestRedactInClear(t *testing.T) {
	full := authTrace()
	b, err := json.Marshal(full.Redact())
	require.NoError(t, err)
	clean, err := trace.Decode(b)
	require.NoError(t, err)
	for _, name := range []string{trace.TextOut, trace.WireOut} {
		got, whole := clean.Streams[name].Bytes(0, 29)
		require.True(t, whole)
		assert.Equal(t, "AUTH PLAIN ****************\r\n", string(got), name)
	}
	assert.NotContains(t, clean.Events[0].Text, "AGFk")
	got, _ := full.Streams[trace.TextOut].Bytes(11, 16)
	assert.Equal(t, "AGFkYQBlbmdpbmU=", string(got), "the original is left alone")
}

// Inside TLS the wire carries ciphertext at other offsets: it must not be touched.
func TestRedactInsideTLS(t *testing.T) {
	r := newRecorder(nil)
	r.Append(trace.TextOut, []byte("EHLO x\r\n"))
	wire := r.Append(trace.WireOut, []byte("EHLO x\r\n"))
	r.Add(trace.Event{Layer: trace.LayerTLS, Kind: trace.KindStart, Dir: trace.Out, Src: trace.Observed,
		At: &trace.Range{Stream: trace.WireOut, Off: wire.End()}})
	sealed := bytes.Repeat([]byte{0xe5}, 40)
	r.Append(trace.WireOut, sealed)
	at := r.Append(trace.TextOut, []byte("c2VjcmV0\r\n"))
	r.Add(trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindResponse, Dir: trace.Out, Src: trace.Observed, At: &at,
		Secret: []trace.Span{{0, 8}}, Data: trace.Encode(trace.CommandData{Verb: "response"})})
	clean := r.Finish(trace.Result{Outcome: trace.Accepted}).Redact()

	text, _ := clean.Streams[trace.TextOut].Bytes(at.Off, at.Len)
	assert.Equal(t, "********\r\n", string(text))
	onWire, _ := clean.Streams[trace.WireOut].Bytes(wire.End(), 40)
	assert.Equal(t, sealed, onWire)
}

func TestMask(t *testing.T) {
	for _, c := range []struct {
		line  string
		spans []trace.Span
		want  string
	}{
		{"AUTH PLAIN abc", []trace.Span{{11, 14}}, "AUTH PLAIN ••••••••"},
		{"abc", []trace.Span{{0, 3}}, "••••••••"},
		{"abcdef", []trace.Span{{1, 2}, {1, 4}, {5, 99}}, "a••••••••••••••••e••••••••"},
		{"abc", nil, "abc"},
		{"", []trace.Span{{0, 5}}, ""},
	} {
		assert.Equal(t, c.want, trace.Mask(c.line, c.spans))
	}
}

// A stream keeps everything up to its limits, and head and tail of what is longer.
func TestLongMessageKeepsHeadAndTail(t *testing.T) {
	for _, size := range []int{0, 1, trace.BulkHead, trace.BulkHead + 1, trace.BulkHead + trace.BulkTail,
		trace.BulkHead + 2*trace.BulkTail, trace.BulkHead + 2*trace.BulkTail + 1, 1 << 20} {
		sink := &memory{}
		r := newRecorder(sink)
		r.Append(trace.TextOut, []byte("DATA\r\n"))
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i * 7)
		}
		r.Bulk(trace.TextOut, true)
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(9000))
			r.Append(trace.TextOut, rest[:n])
			rest = rest[n:]
		}
		r.Bulk(trace.TextOut, false)
		r.Append(trace.TextOut, []byte(".\r\n"))

		s := r.Finish(trace.Result{}).Streams[trace.TextOut]
		sent := append(append([]byte("DATA\r\n"), body...), ".\r\n"...)
		require.EqualValues(t, len(sent), s.Len(), size)
		_, whole := s.Bytes(0, s.Len())
		assert.Equal(t, size <= trace.BulkHead+2*trace.BulkTail, whole, size)

		b, err := json.Marshal(s)
		require.NoError(t, err)
		var back trace.Stream
		require.NoError(t, json.Unmarshal(b, &back))
		for _, from := range []*trace.Stream{s, &back} {
			head, ok := from.Bytes(0, int64(min(len(sent), trace.BulkHead)))
			assert.True(t, ok, size)
			assert.Equal(t, sent[:len(head)], head, size)
			n := int64(min(len(sent), trace.BulkTail))
			tail, ok := from.Bytes(s.Len()-n, n)
			assert.True(t, ok, size)
			assert.Equal(t, sent[int64(len(sent))-n:], tail, size)
		}
		for off, b := range sink.bytes {
			assert.Equal(t, sent[off:off+int64(len(b))], b, "what the sink heard, size %d", size)
		}
		assert.LessOrEqual(t, len(b), (trace.BulkHead+3*trace.BulkTail)*4/3+200, "memory is bounded")
	}
}

type memory struct {
	events []trace.Event
	bytes  map[int64][]byte
}

func (m *memory) Event(e trace.Event) { m.events = append(m.events, e) }

func (m *memory) Bytes(_ string, off int64, b []byte) {
	if m.bytes == nil {
		m.bytes = map[int64][]byte{}
	}
	m.bytes[off] = bytes.Clone(b)
}

func TestStreamRefusesPartsThatDoNotFit(t *testing.T) {
	for _, text := range []string{
		`{"len":2,"parts":[{"off":0,"bytes":"YWJj"}]}`,
		`{"len":9,"parts":[{"off":3,"bytes":"YWJj"},{"off":0,"bytes":"YWJj"}]}`,
		`{"len":9,"parts":[{"off":-1,"bytes":"YWJj"}]}`,
		`{"len":9,"parts":[{"off":9223372036854775807,"bytes":"YWJj"}]}`,
		`{"len":-1,"parts":[]}`,
		`{"len":9,"parts":[{"off":0,"bytes":""}]}`,
		`{"size":9}`,
		`"not base64"`,
		`7`,
	} {
		var s trace.Stream
		assert.Error(t, json.Unmarshal([]byte(text), &s), text)
	}
}

func TestSinkHearsEventsInOrder(t *testing.T) {
	sink := &memory{}
	r := newRecorder(sink)
	for range 3 {
		r.Add(trace.Event{Layer: trace.LayerApp, Kind: trace.KindNote, Src: trace.Derived, Text: "x"})
	}
	tr := r.Finish(trace.Result{})
	assert.Equal(t, tr.Events, sink.events)
	for i := range 3 {
		assert.Equal(t, i, tr.Events[i].N)
	}
	assert.Less(t, tr.Events[0].T, tr.Events[2].T)
}

func FuzzDecode(f *testing.F) {
	b, err := json.Marshal(authTrace())
	require.NoError(f, err)
	f.Add(b)
	b, err = json.Marshal(sampled())
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"v":1,"meta":{"mode":"live","hosts":[]},"streams":{"wire.in":{"len":5,"parts":[]}},"events":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := trace.Decode(b)
		if err != nil {
			return
		}
		tr.Redact()
		_, err = json.Marshal(tr)
		require.NoError(t, err)
	})
}

// The page writes traces too. This one was saved by it, secrets masked.
func TestTraceSavedByThePage(t *testing.T) {
	b, err := os.ReadFile("testdata/saved-by-the-page.json")
	require.NoError(t, err)
	tr, err := trace.Decode(b)
	require.NoError(t, err)
	assert.Equal(t, trace.Partial, tr.Result.Outcome)
	assert.NotZero(t, tr.Streams[trace.WireIn].Len())
	again, err := json.Marshal(tr)
	require.NoError(t, err)
	assert.JSONEq(t, string(b), string(again), "both sides write the same")
	redacted, err := json.Marshal(tr.Redact())
	require.NoError(t, err)
	assert.JSONEq(t, string(b), string(redacted), "the page has masked every secret")
	assert.NotContains(t, string(b), base64.StdEncoding.EncodeToString([]byte("\x00ada\x00engine")))
}

// Whatever packet may carry a secret carries none when it is redacted: where it is not known what it
// carries it loses its payload.
func TestRedactPackets(t *testing.T) {
	const line, header = "AUTH PLAIN c2VjcmV0\r\n", "this stands for 40 octets of the headers."
	secret := []trace.Span{{11, 19}}
	r := trace.NewRecorder(trace.Meta{Mode: trace.ModeLive}, time.Now, nil)
	r.Append(trace.WireOut, []byte(line))
	at := r.Append(trace.TextOut, []byte(line))
	r.Add(trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindCommand, Src: trace.Observed, At: &at, Secret: secret, Data: trace.Encode(trace.CommandData{Verb: "AUTH"})})
	carries := trace.Range{Stream: trace.WireOut, Off: 5, Len: int64(len(line)) - 5}
	for _, x := range []struct {
		layer trace.Layer
		kind  trace.Kind
		data  trace.PacketData
		want  string
	}{
		{trace.LayerTCP, trace.KindSegment, trace.PacketData{Segment: &trace.SegmentData{Len: len(line) - 5}, Carries: &carries}, header + "PLAIN ********\r\n"},
		{trace.LayerTCP, trace.KindSegment, trace.PacketData{Segment: &trace.SegmentData{Len: len(line) - 5}}, header + "****************"},
		{trace.LayerIP, trace.KindPacket, trace.PacketData{}, header[:20] + "*************************************"},
	} {
		at := r.Packet([]byte(header + line[5:]))
		n := r.Add(trace.Event{Layer: x.layer, Kind: x.kind, Src: trace.Captured, At: &at, Data: trace.Encode(x.data)})
		tr := r.Finish(trace.Result{Outcome: trace.Accepted}).Redact()
		got, _ := tr.Streams[trace.Packets].Bytes(at.Off, at.Len)
		assert.Equal(t, x.want, string(got), "event %d", n)
	}
}

// What became of a packet is known in a lab, and not where it was captured.
func TestFates(t *testing.T) {
	for _, x := range []struct {
		src     trace.Source
		fate    trace.Fate
		problem string
	}{
		{trace.Simulated, trace.FateLost, ""},
		{trace.Captured, "", ""},
		{trace.Captured, trace.FateDelivered, `fate "delivered" of a packet that is captured`},
		{trace.Simulated, "", `fate "" of a packet that is simulated`},
		{trace.Simulated, "eaten", `fate "eaten" of a packet that is simulated`},
	} {
		r := trace.NewRecorder(trace.Meta{Mode: trace.ModeLive, Hosts: []trace.Host{}}, time.Now, nil)
		at := r.Packet([]byte("x"))
		captured := time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)
		r.Add(trace.Event{Layer: trace.LayerIP, Kind: trace.KindPacket, Src: x.src, At: &at, Data: trace.Encode(trace.PacketData{Fate: x.fate, Captured: captured})})
		b, err := json.Marshal(r.Finish(trace.Result{Outcome: trace.Accepted}))
		require.NoError(t, err)
		_, err = trace.Decode(b)
		if x.problem == "" {
			assert.NoError(t, err)
			assert.Contains(t, string(b), `"captured":"2026-11-22T10:00:00.123456789Z"`)
			continue
		}
		assert.ErrorContains(t, err, x.problem)
	}
}
