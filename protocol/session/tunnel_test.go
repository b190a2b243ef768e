package session_test

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// All that the proxy reports of the connection is in the trace.
func TestTunnelData(t *testing.T) {
	status := tunnel.Status{Stage: tunnel.StageOpened, Host: serverName, Port: 25, Addresses: []string{"192.0.2.1"}, Address: "192.0.2.1:25",
		Local: "198.51.100.7:40000", Resolve: time.Millisecond, Connect: 2 * time.Millisecond, Session: "K7QM2ZPVATNB"}
	dial := func(_ context.Context, _ session.Target, report func(tunnel.Status)) (net.Conn, error) {
		report(status)
		return nil, &tunnel.Error{Code: tunnel.CodeShutdown, Message: "Stopped."}
	}
	tr := session.New(session.Config{Plan: parse(t, planJSON(t, nil)), Dial: dial, Tool: "x"}).Run(t.Context())
	var opened []trace.TunnelData
	for _, e := range tr.Events {
		if e.Layer == trace.LayerTunnel && e.Kind == trace.KindOpened {
			var data trace.TunnelData
			require.NoError(t, json.Unmarshal(e.Data, &data))
			opened = append(opened, data)
		}
	}
	assert.Equal(t, []trace.TunnelData{{Host: serverName, Port: 25, Addresses: []string{"192.0.2.1"}, Address: "192.0.2.1:25",
		Local: "198.51.100.7:40000", Resolve: time.Millisecond, Connect: 2 * time.Millisecond, Session: "K7QM2ZPVATNB"}}, opened)
}

// Each address that is dialed has its line, and what a proxy says of it is no markup.
func TestTunnelText(t *testing.T) {
	dial := func(_ context.Context, _ session.Target, report func(tunnel.Status)) (net.Conn, error) {
		for _, st := range []tunnel.Status{
			{Stage: tunnel.StageResolving, Host: serverName},
			{Stage: tunnel.StageAddresses, Host: serverName, Addresses: []string{"2001:db8::25", "192.0.2.1", "192.0.2.2"}},
			{Stage: tunnel.StageDialing, Address: "[2001:db8::25]:25"},
			{Stage: tunnel.StageFailed, Address: "[2001:db8::25]:25", Connect: 61_400, Problem: "network is unreachable"},
			{Stage: tunnel.StageFailed, Address: "192.0.2.1:25", Connect: 17*time.Second + 961*time.Millisecond, Problem: "no answer"},
			{Stage: tunnel.StageFailed, Address: "192.0.2.2:25", Connect: time.Millisecond, Problem: "\x1b[31m\r\n"},
			{Stage: tunnel.StageOpened, Address: "192.0.2.1:25", Connect: 2 * time.Millisecond},
		} {
			report(st)
		}
		return nil, &tunnel.Error{Code: tunnel.CodeShutdown, Message: "Stopped."}
	}
	tr := session.New(session.Config{Plan: parse(t, planJSON(t, nil)), Dial: dial, Tool: "x"}).Run(t.Context())
	var lines []string
	for _, e := range tr.Events {
		if e.Layer == trace.LayerTunnel {
			lines = append(lines, string(e.Kind)+": "+e.Text)
		}
	}
	assert.Equal(t, []string{
		"resolving: looking up " + serverName,
		"addresses: " + serverName + " is 2001:db8::25, 192.0.2.1, 192.0.2.2",
		"dialing: connecting to [2001:db8::25]:25",
		"failed: could not connect to [2001:db8::25]:25: network is unreachable, after 60µs",
		"failed: could not connect to 192.0.2.1:25: no answer, after 18s",
		`failed: could not connect to 192.0.2.2:25: \x1b[31m\x0d\x0a, after 1ms`,
		"opened: connected to 192.0.2.1:25 in 2ms",
	}, lines)
}
