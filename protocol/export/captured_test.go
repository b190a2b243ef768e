package export_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

// byTheProxy is when a capture begins, by a clock that is not the page's.
var byTheProxy = time.Date(2031, time.May, 4, 3, 2, 1, 123456789, time.UTC)

// captured runs a plan of one message against a server, and has its packets captured.
func captured(t *testing.T, server *realservers.Server, data string) (*trace.Trace, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	text, err := json.Marshal(map[string]any{
		"target": map[string]any{"mode": "live", "host": server.Host, "port": server.SubmissionPort}, "security": "starttls",
		"tls":      map[string]any{"serverName": server.ServerName, "ca": []string{server.CA}},
		"auth":     map[string]any{"mechanism": "PLAIN", "username": server.Username, "password": server.Password},
		"messages": []any{map[string]any{"from": server.Username, "to": []string{server.Recipient}, "data": data}},
	})
	require.NoError(t, err)
	plan, err := session.ParsePlan(text)
	require.NoError(t, err)
	var keys bytes.Buffer
	var s *session.Session
	s = session.New(session.Config{Plan: plan, Tool: "smtpscope/test", KeyLog: &keys, Dial: func(ctx context.Context, target session.Target, report func(tunnel.Status)) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(target.Host, strconv.Itoa(target.Port)))
		if err != nil {
			return nil, err
		}
		tap := &exporttest.Tap{Conn: conn, Local: conn.LocalAddr().(*net.TCPAddr).AddrPort(), Remote: conn.RemoteAddr().(*net.TCPAddr).AddrPort(),
			See: func(at time.Time, ip []byte) { s.Packet(tunnel.Packet{Time: at, IP: ip}) }}
		report(tunnel.Status{Stage: tunnel.StageDialing, Address: tap.Remote.String()})
		tap.Open(byTheProxy)
		report(tunnel.Status{Stage: tunnel.StageOpened, Address: tap.Remote.String(), Local: tap.Local.String()})
		return tap, nil
	}})
	tr := s.Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
	return decoded(t, tr), keys.Bytes()
}

// The file of a session whose packets were captured has those, by the clock of the capture,
// and tshark reads them down to the message.
func TestTSharkReadsACapturedSession(t *testing.T) {
	server := realservers.ForTest(t, realservers.GoSMTP)
	tr, keys := captured(t, server, typed)
	c := export.Captured(tr)
	c.Secrets = keys
	assert.True(t, strings.HasPrefix(c.Comment, "Captured at the proxy"), c.Comment)
	assert.Equal(t, []export.Interface{{Name: "proxy", Description: "captured at the proxy"}}, c.Interfaces)
	shark := func(args ...string) []string {
		return exporttest.TShark(t, c, append([]string{"-d", fmt.Sprintf("tcp.port==%d,smtp", server.SubmissionPort)}, args...)...)
	}
	assert.Equal(t, "EHLO\t[127.0.0.1]\nSTAR\tTLS\nEHLO\t[127.0.0.1]\nAUTH\tPLAIN AGFkYUBleGFtcGxlLm9yZwBBbmFseXRpY2FsLTE4NDM=\n"+
		"MAIL\tFROM:<ada@example.org> SIZE="+strconv.Itoa(len(typed))+"\nRCPT\tTO:<grace@example.net>\nDATA\t\nQUIT\t",
		strings.Join(shark("-Y", "smtp.req.command", "-T", "fields", "-e", "smtp.req.command", "-e", "smtp.req.parameter"), "\n"))
	assert.Equal(t, []string{"The engine"}, shark("-Y", "imf", "-T", "fields", "-e", "imf.subject"))
	assert.Empty(t, exporttest.Malformed(t, c))
	assert.Empty(t, shark("-Y", "tcp.analysis.flags"), "a connection without trouble")
	assert.Equal(t, []string{fmt.Sprintf("%d.%09d\tproxy", byTheProxy.Unix(), byTheProxy.Nanosecond())},
		shark("-Y", "frame.number == 1 && tcp.flags.syn == 1", "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.interface_name"))

	// Who asks for the file gets this one, without the secrets unless they are asked for.
	for _, secrets := range []bool{false, true} {
		var file, want bytes.Buffer
		require.NoError(t, export.Write(&file, tr, export.Request{Format: export.PCAPNG, Host: "client", Secrets: secrets, Keys: keys}))
		of, with := tr, keys
		if !secrets {
			of, with = tr.Redact(), nil
		}
		c := export.Captured(of)
		c.Secrets = with
		require.NoError(t, export.WritePCAPNG(&want, c))
		assert.Equal(t, want.Bytes(), file.Bytes())
	}
	var text, svg bytes.Buffer
	require.NoError(t, export.Write(&text, tr, export.Request{Format: export.Text}))
	assert.Contains(t, text.String(), "proxy > server: SYN  seq 0")
	require.NoError(t, export.Write(&svg, tr, export.Request{Format: export.SVG}))
	assert.Contains(t, svg.String(), "captured packet")
}

// Of packets that the trace has only the heads of, the file has the heads, with the lengths that the packets had.
func TestCapturedHeads(t *testing.T) {
	const messages = trace.PacketsKept + 1<<20
	tr, _ := captured(t, realservers.ForTest(t, realservers.GoSMTP), "Subject: long\r\n\r\n"+strings.Repeat(strings.Repeat("x", 70)+"\r\n", messages/72))
	c := export.Captured(tr)
	heads, octets := 0, 0
	for i, p := range c.Packets {
		assert.GreaterOrEqual(t, p.Length, len(p.Bytes), "packet %d", i)
		octets += p.Length
		if p.Length > len(p.Bytes) {
			heads++
			assert.Len(t, p.Bytes, trace.PacketHead)
		}
	}
	assert.Greater(t, octets, messages)
	assert.Positive(t, heads)
	assert.Contains(t, c.Comment, fmt.Sprintf(" Of %d packets only the heads are here", heads))
	assert.Len(t, exporttest.TShark(t, c, "-Y", "frame.cap_len < frame.len", "-T", "fields", "-e", "frame.number"), heads)
	assert.Empty(t, exporttest.TShark(t, c, "-Y", "tcp.analysis.flags"), "no octet is missing between them")
}
