package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hack-pad/hackpadfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet/labtest"
)

func TestDirect(t *testing.T) {
	files := memory(t)
	var tr *trace.Trace
	lab(t, Config{Plan: planOf(t, base()), Files: files}, func(t *testing.T, e *Experiment) {
		require.NoError(t, e.Start(t.Context()))
		require.True(t, e.Run(never))
		tr = e.Result()
	})
	require.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.EqualValues(t, 42, tr.Meta.Seed)
	assert.Equal(t, []trace.Host{
		{ID: "client", Name: "this page", Address: "192.0.2.10"},
		{ID: "server", Name: "mx.example.net", Address: "203.0.113.25"},
		{ID: "dns", Name: "DNS", Address: "192.0.2.53"},
	}, tr.Meta.Hosts)

	var dns, flags []string
	for _, e := range tr.Events {
		switch e.Layer {
		case trace.LayerDNS:
			dns = append(dns, e.Text)
		case trace.LayerTCP:
			if e.Kind == trace.KindSegment {
				flags = append(flags, e.From+" "+dataOf[trace.PacketData](t, e).Segment.Flags)
			}
		}
	}
	assert.Equal(t, []string{"MX example.net?", "MX example.net? 10 mx.example.net", "A mx.example.net?", "A mx.example.net? 203.0.113.25"}, dns)
	assert.Equal(t, []string{"client SYN", "server SYN, ACK", "client ACK"}, flags[:3])
	for _, from := range []string{"client", "server"} {
		assert.Contains(t, flags, from+" FIN, ACK")
	}
	assert.Equal(t, []string{"delivered"}, kindsOf(tr, trace.LayerMail))

	saved, err := json.Marshal(tr)
	require.NoError(t, err)
	_, err = trace.Decode(saved)
	assert.NoError(t, err)

	found, err := hackpadfs.ReadDir(files, ".")
	require.NoError(t, err)
	assert.Len(t, found, 1, "the mailbox is on the file system")
}

// The trace's layers fit: what a segment carries is what the streams have there,
// and every octet of the connection is carried.
func TestSegmentsCarryTheStreams(t *testing.T) {
	for _, security := range []string{"none", "starttls", "tls"} {
		t.Run(security, func(t *testing.T) {
			tr := run(t, base(settings{"security": security, "link": settings{"delay": "40ms", "loss": .05, "reorder": .1, "duplicate": .05, "corrupt": .05, "mtu": 296}}))
			require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
			carried := map[string][]bool{trace.WireOut: make([]bool, tr.Streams[trace.WireOut].Len()), trace.WireIn: make([]bool, tr.Streams[trace.WireIn].Len())}
			for _, e := range tr.Events {
				if e.Layer != trace.LayerTCP || e.Kind != trace.KindSegment {
					continue
				}
				d := dataOf[trace.PacketData](t, e)
				if d.Segment.Len == 0 || d.Of != nil {
					assert.Nil(t, d.Carries)
					continue
				}
				require.NotNil(t, d.Carries, "%+v", e)
				packet, whole := tr.Streams[trace.Packets].Bytes(e.At.Off, e.At.Len)
				require.True(t, whole)
				want, _ := tr.Streams[d.Carries.Stream].Bytes(d.Carries.Off, d.Carries.Len)
				assert.Equal(t, string(want), string(packet[len(packet)-len(want):]), "event %d", e.N)
				if d.Fate != trace.FateLost {
					for i := range d.Carries.Len {
						carried[d.Carries.Stream][d.Carries.Off+i] = true
					}
				}
			}
			for stream, octets := range carried {
				assert.NotContains(t, octets, false, stream)
			}
		})
	}
}

func TestRetransmissionsNameTheFirst(t *testing.T) {
	tr := run(t, base(settings{"seed": 3, "link": settings{"delay": "40ms", "loss": .15}}))
	var again, lost int
	for _, e := range tr.Events {
		if e.Kind != trace.KindSegment {
			continue
		}
		d := dataOf[trace.PacketData](t, e)
		if d.Fate == trace.FateLost {
			lost++
		}
		if d.Segment.Again == nil {
			continue
		}
		again++
		first := dataOf[trace.PacketData](t, tr.Events[*d.Segment.Again])
		assert.Nil(t, first.Segment.Again)
		assert.Less(t, *d.Segment.Again, e.N)
		assert.GreaterOrEqual(t, d.Segment.Seq, first.Segment.Seq)
	}
	assert.NotZero(t, lost)
	assert.NotZero(t, again)
}

// Time stands still while the session waits for its user.
func TestPausedOvernight(t *testing.T) {
	var pending []string
	plan := planOf(t, base(settings{"security": "starttls", "pace": settings{"step": true}}))
	lab(t, Config{Plan: plan, Pending: func(p *session.Pending) {
		if p != nil {
			pending = append(pending, p.Text)
		}
	}}, func(t *testing.T, e *Experiment) {
		require.NoError(t, e.Start(t.Context()))
		for !e.Run(never) {
			require.True(t, e.Waiting())
			at := e.Elapsed()
			time.Sleep(labtest.Overnight)
			require.False(t, e.Run(never))
			require.Equal(t, at, e.Elapsed())
			switch {
			case strings.HasPrefix(pending[len(pending)-1], "RCPT"):
				e.Session().Send("RCPT TO:<hopper@example.net>")
			default:
				e.Session().Step()
			}
			labtest.Settled()
		}
		tr := e.Result()
		require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
		assert.InDelta(t, 11*roundTrip, tr.Result.Elapsed, float64(5*time.Millisecond))
	})
	assert.Len(t, pending, 8)
}

// A run can be taken up anywhere: what happened up to there happens again.
func TestTakenUp(t *testing.T) {
	plan := planOf(t, base(settings{"link": settings{"delay": "40ms", "loss": .1}}))
	once := run(t, base(settings{"link": settings{"delay": "40ms", "loss": .1}}))
	const sends = 3 // EHLO, MAIL, RCPT
	again := Again{Sends: sends, Answers: map[int]Answer{1: {Do: "send", Text: "MAIL FROM:<ada@example.org> SIZE=7"}}}
	var where int
	play := func(again Again, answer func(*Experiment)) (tr *trace.Trace) {
		lab(t, Config{Plan: plan, Again: again}, func(t *testing.T, e *Experiment) {
			require.NoError(t, e.Start(t.Context()))
			require.False(t, e.Run(never))
			require.True(t, e.Waiting())
			assert.Equal(t, sends, e.Sends())
			where = len(e.session.Recorder().Bytes(trace.Range{Stream: trace.Packets, Len: 1 << 20}))
			for answer(e); ; e.Session().Resume() {
				labtest.Settled()
				if e.Run(never) {
					break
				}
			}
			tr = e.Result()
		})
		return tr
	}
	same := play(Again{Sends: sends}, func(e *Experiment) { e.Session().Resume() })
	a, _ := once.Streams[trace.Packets].Bytes(0, once.Streams[trace.Packets].Len())
	b, _ := same.Streams[trace.Packets].Bytes(0, same.Streams[trace.Packets].Len())
	assert.Equal(t, a, b, "to go on as before changes nothing")
	assert.Positive(t, where)

	edited := play(again, func(e *Experiment) { e.Session().Send("RSET") })
	text, _ := edited.Streams[trace.TextOut].Bytes(0, 200)
	assert.Contains(t, string(text), "SIZE=7\r\nRCPT TO:<grace@example.net>\r\nRSET\r\n")
}

func TestBadSettingsAreNamed(t *testing.T) {
	for _, c := range []struct {
		settings settings
		want     string
	}{
		{settings{"link": settings{"loss": 1.5}}, "link.loss: 1.5 is not between 0 and 1"},
		{settings{"link": settings{"mtu": 20}}, "link.mtu: 20 is below 68"},
		{settings{"link": settings{"delay": "fast"}}, `link.delay: "fast" is not a duration`},
		{settings{"link": settings{"bandwidth": "much"}}, `link.bandwidth: "much" is not a bandwidth`},
		{settings{"link": settings{"loss": "some"}}, "link.loss: want a number, got a text"},
		{settings{"link": settings{"speed": 1}}, "link.speed: unknown key"},
		{settings{"lab": settings{"route": "scenic"}}, `lab.route: "scenic" is unknown`},
		{settings{"lab": settings{"relays": 9}}, "lab.relays: 9 is not between 1 and 4"},
		{settings{"lab": settings{"server": settings{"greylist": "soon"}}}, `lab.server.greylist: "soon" is not a duration`},
		{settings{"lab": settings{"server": settings{"readRate": "slow"}}}, `readRate: "slow" is not a bandwidth`},
		{settings{"lab": settings{"server": settings{"receiveBuffer": 1}}}, "receiveBuffer: 1 is not between"},
		{settings{"lab": settings{"transport": "udp"}, "security": "tls"}, `security: TLS needs a stream`},
		{settings{"seed": 1.5}, "seed: want a whole number, got 1.5"},
	} {
		t.Run(c.want, func(t *testing.T) {
			plan, err := session.ParsePlan(trace.Encode(base(c.settings)))
			if err == nil {
				_, err = New(Config{Plan: plan, Files: memory(t), Settle: labtest.Settle()})
			}
			var problem *session.PlanError
			require.ErrorAs(t, err, &problem)
			assert.Contains(t, err.Error(), c.want)
		})
	}
}

func TestNothingArrives(t *testing.T) {
	tr := run(t, base(settings{"link": settings{"loss": 1}}))
	require.Equal(t, trace.Failed, tr.Result.Outcome)
	require.Equal(t, trace.CodeTimeout, tr.Result.Error.Code)
	assert.Contains(t, tr.Result.Error.Message, "TCP gave up after 2m7s")
	assert.Contains(t, tr.Result.Error.Message, "7 SYNs")
	segments := packetsOf(t, tr, trace.KindSegment)
	require.Len(t, segments, 7)
	for _, s := range segments {
		assert.Equal(t, trace.FateLost, s.Fate)
	}
}

func TestUDPShowsWhatBreaks(t *testing.T) {
	udp := settings{"lab": settings{"transport": "udp"}}
	tr := run(t, base(udp))
	assert.Equal(t, trace.Accepted, tr.Result.Outcome, "nothing breaks where nothing is lost")
	assert.NotEmpty(t, packetsOf(t, tr, trace.KindDatagram))
	assert.Empty(t, packetsOf(t, tr, trace.KindSegment))

	outcomes := map[string]int{}
	for seed := range 20 {
		tr := run(t, base(udp, settings{"seed": seed + 1, "link": settings{"delay": "40ms", "loss": .1, "duplicate": .1}}))
		require.NotNil(t, tr.Result)
		code := "none"
		if tr.Result.Error != nil {
			code = string(tr.Result.Error.Code)
		}
		outcomes[fmt.Sprintf("%s %s", tr.Result.Outcome, code)]++
	}
	assert.Greater(t, len(outcomes), 2, "%v", outcomes)
	assert.Positive(t, outcomes["failed timeout"]+outcomes["unknown timeout"], "%v", outcomes)
}

func TestSecretsStayOutOfWhatIsHandedOn(t *testing.T) {
	plans := map[string]settings{
		"tcp": base(signedIn, settings{"lab": settings{"route": "submission"}, "link": settings{"mtu": 120, "loss": .1}}),
		"udp": base(settings{"lab": settings{"transport": "udp"}, "auth": settings{"mechanism": "PLAIN", "username": Username, "password": Password}}),
	}
	secret := "AGFkYQBlbmNoYW50cmVzcw" // base64 of NUL ada NUL enchantress
	for name, s := range plans {
		t.Run(name, func(t *testing.T) {
			tr := run(t, s)
			open, _ := tr.Streams[trace.Packets].Bytes(0, tr.Streams[trace.Packets].Len())
			if name == "tcp" {
				require.Contains(t, string(open), secret[:8], "the packets of the lab are in clear")
			}
			closed := tr.Redact()
			for stream, s := range closed.Streams {
				b, _ := s.Bytes(0, s.Len())
				for i := range len(secret) - 8 {
					assert.NotContains(t, string(b), secret[i:i+8], "%s", stream)
				}
			}
			text, err := json.Marshal(closed.Meta)
			require.NoError(t, err)
			assert.NotContains(t, string(text), Password)
		})
	}
}

// The golden trace is what the page's run of the same plan is compared with, too.
// Should it change, the commit has to say why; UPDATE=1 writes it anew.
func TestGolden(t *testing.T) {
	const path = "testdata/golden.json"
	tr := run(t, base())
	tr.Meta.Tool = ""
	got, err := json.Marshal(tr)
	require.NoError(t, err)
	if os.Getenv("UPDATE") == "1" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, strings.TrimSpace(string(want)), string(got))
}

func TestCancelled(t *testing.T) {
	lab(t, Config{Plan: planOf(t, base())}, func(t *testing.T, e *Experiment) {
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, e.Start(ctx))
		require.False(t, e.Run(func() bool { return e.Sends() == 2 }))
		cancel()
		require.True(t, e.Run(never))
		assert.Equal(t, trace.CodeCancelled, e.Result().Result.Error.Code)
	})
}
