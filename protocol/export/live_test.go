package export_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/export"
	"smtpscope/protocol/export/exporttest"
	"smtpscope/protocol/session"
	"smtpscope/protocol/session/realservers"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

const typed = "From: Ada <ada@example.org>\r\nTo: Grace <grace@example.net>\r\nSubject: The engine\r\n" +
	"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n.\r\n..two dots\r\n$HOME `id` \"quoted\" 'single' \\n\r\n"

// live runs a plan against a real server.
func live(t *testing.T, server *realservers.Server, edits map[string]any) (*trace.Trace, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := map[string]any{
		"target": map[string]any{"mode": "live", "host": server.Host, "port": server.SubmissionPort}, "security": "starttls",
		"tls":      map[string]any{"serverName": server.ServerName, "ca": []string{server.CA}},
		"auth":     map[string]any{"mechanism": "PLAIN", "username": server.Username, "password": server.Password},
		"messages": []any{map[string]any{"from": server.Username, "to": []string{server.Recipient}, "data": typed}},
	}
	for key, value := range edits {
		if all[key] = value; value == nil {
			delete(all, key)
		}
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	plan, err := session.ParsePlan(text)
	require.NoError(t, err)
	var keys bytes.Buffer
	tr := session.New(session.Config{Plan: plan, Tool: "smtpscope/test", KeyLog: &keys,
		Dial: func(ctx context.Context, target session.Target, report func(tunnel.Status)) (net.Conn, error) {
			began := time.Now()
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(target.Host, strconv.Itoa(target.Port)))
			if err == nil {
				report(tunnel.Status{Stage: tunnel.StageOpened, Host: target.Host, Port: target.Port,
					Address: conn.RemoteAddr().String(), Local: conn.LocalAddr().String(), Connect: time.Since(began)})
			}
			return conn, err
		}}).Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	return decoded(t, tr), keys.Bytes()
}

// decoded is a trace as the page saves it.
func decoded(t *testing.T, tr *trace.Trace) *trace.Trace {
	t.Helper()
	b, err := json.Marshal(tr)
	require.NoError(t, err)
	saved, err := trace.Decode(b)
	require.NoError(t, err)
	return saved
}

// tshark makes a session of what is synthesized, down to the message.
func TestTSharkReadsASynthesizedSession(t *testing.T) {
	server := realservers.ForTest(t, realservers.GoSMTP)
	plain := map[string]any{"security": "none", "auth": nil, "target": map[string]any{"mode": "live", "host": server.Host, "port": server.SMTPPort}}
	pipelined := map[string]any{"options": map[string]any{"pipelining": true}}
	maps.Copy(pipelined, plain)
	transaction := "MAIL\tFROM:<ada@example.org> SIZE=" + strconv.Itoa(len(typed)) + "\nRCPT\tTO:<grace@example.net>\nDATA\t\nQUIT\t"
	for _, x := range []struct {
		name  string
		edits map[string]any
		want  string
	}{
		{"STARTTLS", nil, "EHLO\t[127.0.0.1]\nSTAR\tTLS\nEHLO\t[127.0.0.1]\nAUTH\tPLAIN AGFkYUBleGFtcGxlLm9yZwBBbmFseXRpY2FsLTE4NDM=\n" + transaction},
		{"implicit TLS", map[string]any{"security": "tls", "target": map[string]any{"mode": "live", "host": server.Host, "port": server.SubmissionsPort}},
			"EHLO\t[127.0.0.1]\nAUTH\tPLAIN AGFkYUBleGFtcGxlLm9yZwBBbmFseXRpY2FsLTE4NDM=\n" + transaction},
		{"no TLS", plain, "EHLO\t[127.0.0.1]\n" + transaction},
		{"PIPELINING", pipelined, "EHLO\t[127.0.0.1]\n" + transaction},
	} {
		t.Run(x.name, func(t *testing.T) {
			tr, keys := live(t, server, x.edits)
			require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
			c := export.Segments(tr)
			c.Secrets = keys
			for i, p := range c.Packets {
				assert.True(t, strings.HasPrefix(p.Comment, "synthesized"), "packet %d says so", i)
			}
			assert.Contains(t, c.Comment, "Synthesized")
			var plan session.Plan
			require.NoError(t, json.Unmarshal(tr.Meta.Plan, &plan))
			port := strconv.Itoa(plan.Target.Port)
			as := []string{"-d", "tcp.port==" + port + ",smtp"}
			if x.name == "implicit TLS" {
				as = []string{"-d", "tcp.port==" + port + ",tls", "-d", "tls.port==" + port + ",smtp"}
			}
			shark := func(args ...string) []string { return exporttest.TShark(t, c, append(as, args...)...) }
			assert.Equal(t, x.want, strings.Join(shark("-Y", "smtp.req.command", "-T", "fields", "-e", "smtp.req.command", "-e", "smtp.req.parameter"), "\n"))
			assert.Equal(t, []string{"The engine"}, shark("-Y", "imf", "-T", "fields", "-e", "imf.subject"))
			assert.Equal(t, []string{"221"}, shark("-Y", "smtp.response.code == 221", "-T", "fields", "-e", "smtp.response.code"))
			assert.Empty(t, exporttest.Malformed(t, c))
			assert.Empty(t, shark("-Y", "tcp.analysis.flags"), "a connection without trouble")
			for i := range c.Packets[1:] {
				assert.False(t, c.Packets[i+1].Time.Before(c.Packets[i].Time), "packet %d is in order", i+1)
			}
		})
	}
}

// Of a long message the middle is not there, and the file says so.
func TestSynthesizedLongMessage(t *testing.T) {
	server := realservers.ForTest(t, realservers.GoSMTP)
	data := typed + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 4000)
	for name, edits := range map[string]map[string]any{
		"TLS":    {},
		"no TLS": {"security": "none", "auth": nil, "target": map[string]any{"mode": "live", "host": server.Host, "port": server.SMTPPort}},
	} {
		t.Run(name, func(t *testing.T) {
			edits["messages"] = []any{map[string]any{"from": server.Username, "to": []string{server.Recipient}, "data": data}}
			tr, keys := live(t, server, edits)
			require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
			c := export.Segments(tr)
			c.Secrets = keys
			assert.Contains(t, c.Comment, "octets are missing")
			var jumps []string
			payload := map[bool]int64{}
			for _, p := range c.Packets {
				if strings.Contains(p.Comment, "were not kept") {
					jumps = append(jumps, p.Comment)
				}
				payload[bytes.Equal(p.Bytes[12:16], c.Packets[0].Bytes[12:16]) && bytes.Equal(p.Bytes[20:22], c.Packets[0].Bytes[20:22])] += int64(len(p.Bytes) - 40)
			}
			require.Len(t, jumps, 1)
			out := tr.Streams[trace.WireOut]
			kept, whole := out.Bytes(0, out.Len())
			assert.False(t, whole)
			assert.EqualValues(t, len(kept)+4, payload[true], "all that was kept, and the option of the SYN")
			assert.Empty(t, exporttest.Malformed(t, c))
			assert.Len(t, exporttest.TShark(t, c, "-Y", "tcp.analysis.lost_segment"), 1)
		})
	}
}

// What a session that came to nothing leaves to show.
func TestSynthesizedFragments(t *testing.T) {
	var now time.Duration
	record := func(write func(*trace.Recorder)) *trace.Trace {
		rec := trace.NewRecorder(trace.Meta{Tool: "smtpscope/test", Mode: trace.ModeLive, Started: start}, func() time.Time { return start.Add(now) }, nil)
		write(rec)
		return decoded(t, rec.Finish(trace.Result{Outcome: trace.Failed}))
	}
	say := func(rec *trace.Recorder, dir trace.Direction, kind trace.Kind, data any, text string) {
		wire, stream := trace.WireOut, trace.TextOut
		if dir == trace.In {
			wire, stream = trace.WireIn, trace.TextIn
		}
		rec.Append(wire, []byte(text))
		at := rec.Append(stream, []byte(text))
		rec.Add(trace.Event{Layer: trace.LayerSMTP, Kind: kind, Dir: dir, Src: trace.Observed, At: &at, Data: trace.Encode(data)})
	}
	opened := func(address, local string) trace.Event {
		return trace.Event{Layer: trace.LayerTunnel, Kind: trace.KindOpened, Src: trace.Measured,
			Data: trace.Encode(trace.TunnelData{Port: 2525, Address: address, Local: local, Connect: time.Second})}
	}

	assert.Empty(t, export.Segments(record(func(*trace.Recorder) {})).Packets, "no connection came about")

	for name, x := range map[string]struct{ address, local, want string }{
		"IPv6":              {"[2001:db8::25]:25", "[2001:db8::7]:4711", "2001:db8::7\t2001:db8::25"},
		"IPv4 in IPv6":      {"[::ffff:198.51.100.25]:25", "198.51.100.7:4711", "198.51.100.7\t198.51.100.25"},
		"unknown":           {"", "", "192.0.2.10\t203.0.113.25"},
		"a pipe":            {"pipe", "pipe", "192.0.2.10\t203.0.113.25"},
		"one end":           {"[2001:db8::25]:25", "", "2001:db8::10\t2001:db8::25"},
		"ends do not match": {"198.51.100.25:25", "[2001:db8::7]:4711", "192.0.2.10\t198.51.100.25"},
	} {
		t.Run(name, func(t *testing.T) {
			c := export.Segments(record(func(rec *trace.Recorder) {
				rec.Add(opened(x.address, x.local))
				say(rec, trace.In, trace.KindReply, trace.ReplyData{Code: 220}, "220 hi\r\n")
				rec.Append(trace.WireIn, []byte("half a li"))
				rec.Add(trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindClosed, Dir: trace.In, Src: trace.Observed})
			}))
			var segments []string
			for i, line := range exporttest.TShark(t, c, "-T", "fields", "-e", "ip.src", "-e", "ipv6.src", "-e", "ip.dst", "-e", "ipv6.dst",
				"-e", "tcp.flags.str", "-e", "tcp.seq", "-e", "tcp.ack", "-e", "tcp.len") {
				f := strings.Fields(strings.ReplaceAll(line, "·", ""))
				if i == 0 {
					assert.Equal(t, x.want, f[0]+"\t"+f[1])
				}
				segments = append(segments, strings.Join(f[2:], " "))
			}
			assert.Equal(t, []string{"S 0 0 0", "AS 0 1 0", "A 1 1 0", "AP 1 1 8", "A 1 9 0", "AP 9 1 9", "A 1 18 0", "AF 18 1 0", "AF 1 19 0", "A 19 2 0"}, segments,
				"the server closed")
			assert.Empty(t, exporttest.Malformed(t, c))
		})
	}
}
