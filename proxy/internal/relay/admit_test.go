package relay

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/quota"
)

// limited admits by a gate with these limits, whose store is counted in memory.
func limited(l quota.Limits) func(string, tunnel.Open) (*quota.Tunnel, *tunnel.Error) {
	gate := quota.New(quota.Config{Name: "live", Limits: l, Session: time.Hour, Store: quota.NewMemory(nil)})
	return func(remote string, _ tunnel.Open) (*quota.Tunnel, *tunnel.Error) {
		return gate.Open(netip.MustParseAddrPort(remote).Addr(), nil)
	}
}

func TestAdmitIsAskedBeforeTheDialer(t *testing.T) {
	no := &tunnel.Error{Code: tunnel.CodeQuota, Message: "Not so soon.", Rule: "client-rate", RetryAfter: 7}
	var remote string
	var asked tunnel.Open
	_, url := start(t, Config{
		Admit: func(r string, open tunnel.Open) (*quota.Tunnel, *tunnel.Error) {
			remote, asked = r, open
			return nil, no
		},
		Dial: func(context.Context, tunnel.Open, func(tunnel.Status)) (net.Conn, error) {
			t.Error("dialed")
			return nil, io.EOF
		},
	})
	p := connect(t, url)
	p.send(func(dst []byte) ([]byte, error) {
		return p.half.AppendOpen(dst, tunnel.Open{Host: "mx.example.net", Port: 25, Token: "T"})
	})
	end := p.drain(false)
	require.NotNil(t, end.err)
	assert.Equal(t, no.Code, end.err.Code)
	assert.Equal(t, no.Rule, end.err.Rule)
	assert.Equal(t, no.RetryAfter, end.err.RetryAfter)
	assert.Equal(t, no.Message, end.err.Message)
	assert.Equal(t, "T", asked.Token)
	address, err := netip.ParseAddrPort(remote)
	require.NoError(t, err)
	assert.True(t, address.Addr().IsLoopback())
}

// Whoever asks for nothing takes a place as well, and may not take all of them.
func TestSilentPagesOfOneClientAreBounded(t *testing.T) {
	enter := limited(quota.Limits{ClientOpen: 2})
	r, url := start(t, Config{MaxTunnels: 100, Enter: func(remote string) (*quota.Tunnel, *tunnel.Error) { return enter(remote, tunnel.Open{}) }})
	first := connect(t, url)
	connect(t, url)
	status, body := get(t, url, upgrade())
	assert.Equal(t, http.StatusTooManyRequests, status)
	assert.Contains(t, body, "may have 2 tunnels open at one time")
	require.NoError(t, first.ws.CloseNow())
	require.Eventually(t, func() bool { return r.Tunnels() == 1 }, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		status, _ := get(t, url, upgrade("Sec-Websocket-Version", "12")) // entered, then refused as a handshake
		return status == http.StatusBadRequest
	}, patience, time.Millisecond)
}

func TestATunnelCountsAsOpenUntilItEnds(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{Admit: limited(quota.Limits{ClientOpen: 1})})
	for range 3 { // each would be refused if the one before it were still counted
		p := connect(t, url)
		p.open(host, port, 100)

		second := connect(t, url)
		second.ask(host, port, 100)
		end := second.drain(false)
		require.NotNil(t, end.err)
		assert.Equal(t, tunnel.CodeTooMany, end.err.Code)

		p.eof()
		require.Nil(t, p.drain(false).err)
	}
	refused := connect(t, url)
	refused.ask("127.0.0.1", 1, 100)
	require.NotNil(t, refused.drain(false).err)
	connect(t, url).open(host, port, 100) // who was refused by the target left no trace either
}

func TestTheDialerKnowsTheTunnel(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{
		Admit: limited(quota.Limits{TargetOpen: 1}),
		Dial: func(ctx context.Context, open tunnel.Open, report func(tunnel.Status)) (net.Conn, error) {
			if _, denial := quota.Reach(ctx, netip.MustParseAddrPort("198.51.100.25:25")); denial != nil {
				return nil, denial
			}
			return direct(ctx, open, report)
		},
	})
	connect(t, url).open(host, port, 100)
	second := connect(t, url)
	second.ask(host, port, 100)
	end := second.drain(false)
	require.NotNil(t, end.err)
	assert.Equal(t, quota.RuleTargetOpen, end.err.Rule)
}

func TestBytesAreLimitedBothWays(t *testing.T) {
	const most = 100_000
	for _, tt := range []struct {
		name  string
		serve func(t *testing.T, got chan<- int) func(*net.TCPConn)
		send  int
	}{
		{"up", func(t *testing.T, got chan<- int) func(*net.TCPConn) {
			return func(conn *net.TCPConn) {
				n, _ := io.Copy(io.Discard, conn)
				got <- int(n)
			}
		}, 2 * most},
		{"down", func(t *testing.T, got chan<- int) func(*net.TCPConn) {
			return func(conn *net.TCPConn) {
				_, _ = conn.Write(make([]byte, 2*most))
				got <- 0
			}
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan int, 1)
			host, port := target(t, tt.serve(t, got))
			_, url := start(t, Config{Admit: limited(quota.Limits{SessionBytes: most})})
			p := connect(t, url)
			p.open(host, port, 4*most)
			ended := make(chan rest, 1)
			go func() { ended <- p.drain(false) }()
			p.write(make([]byte, tt.send), func() int { return 1000 })
			end := <-ended
			require.NotNil(t, end.err)
			assert.Equal(t, tunnel.CodeQuota, end.err.Code)
			assert.Equal(t, quota.RuleSessionBytes, end.err.Rule)
			assert.LessOrEqual(t, <-got, most)
			assert.LessOrEqual(t, len(end.data), most)
		})
	}
}
