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
