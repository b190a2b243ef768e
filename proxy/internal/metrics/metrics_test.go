package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

// scrape gives the lines of our own series.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	assert.Contains(t, w.Header().Get("Content-Type"), "text/plain; version=0.0.4")
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	var own []string
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "smtpscope_") {
			own = append(own, line)
		}
	}
	assert.Contains(t, string(body), "go_goroutines ", "the Go runtime's own are there too")
	return strings.Join(own, "")
}

func TestSeries(t *testing.T) {
	m := New("1.2.3")
	m.TunnelRefused("origin")
	for range 4 {
		m.TunnelStarted()
	}
	m.Dialed(40 * time.Millisecond)
	m.Dialed(1010 * time.Millisecond)
	m.Up(100)
	m.Up(20)
	m.Down(3)
	m.Stalled()
	m.Packets(12, 1)
	m.Packets(30, 0)
	m.TunnelEnded(ByTarget, nil)
	m.TunnelEnded(ByProxy, &tunnel.Error{Code: tunnel.CodeDenied, Rule: "loopback"})
	m.TunnelEnded(ByProxy, &tunnel.Error{Code: tunnel.CodeTimeout})
	m.LookedUp("MX", "found", 3*time.Millisecond)

	got := scrape(t, m)
	for _, line := range []string{
		`smtpscope_build_info{version="1.2.3"} 1`,
		`smtpscope_tunnels_open 1`,
		`smtpscope_tunnels_ended_total{by="target"} 1`,
		`smtpscope_tunnels_ended_total{by="proxy"} 2`,
		`smtpscope_tunnels_refused_total{reason="origin"} 1`,
		`smtpscope_tunnel_errors_total{code="denied",rule="loopback"} 1`,
		`smtpscope_tunnel_errors_total{code="timeout",rule=""} 1`,
		`smtpscope_tunnel_bytes_total{direction="up"} 120`,
		`smtpscope_tunnel_bytes_total{direction="down"} 3`,
		`smtpscope_credit_stalls_total 1`,
		`smtpscope_packets_total{outcome="sent"} 42`,
		`smtpscope_packets_total{outcome="lost"} 1`,
		`smtpscope_dial_seconds_bucket{le="1"} 1`,
		`smtpscope_dial_seconds_bucket{le="2"} 2`,
		`smtpscope_dial_seconds_count 2`,
		`smtpscope_lookup_seconds_count{outcome="found",type="MX"} 1`,
	} {
		assert.Contains(t, got, line+"\n")
	}
}

// Counts that are there from the first scrape on can be told from those that a fault hides.
func TestSeriesBeforeAnythingHappened(t *testing.T) {
	got := scrape(t, New(""))
	for _, line := range []string{"smtpscope_tunnels_open 0", `smtpscope_tunnel_bytes_total{direction="down"} 0`, "smtpscope_credit_stalls_total 0", `smtpscope_packets_total{outcome="lost"} 0`, "smtpscope_dial_seconds_count 0"} {
		assert.Contains(t, got, line+"\n")
	}
}

func TestTwoProxiesInOneProcess(t *testing.T) {
	one, two := New(""), New("")
	one.TunnelStarted()
	assert.Contains(t, scrape(t, two), "smtpscope_tunnels_open 0\n")
}

func TestConcurrentUse(t *testing.T) {
	m := New("")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				m.Up(1)
				m.TunnelStarted()
				m.TunnelEnded(ByPage, nil)
			}
		})
	}
	wg.Wait()
	got := scrape(t, m)
	assert.Contains(t, got, `smtpscope_tunnel_bytes_total{direction="up"} 8000`+"\n")
	assert.Contains(t, got, "smtpscope_tunnels_open 0\n")
}

func BenchmarkUp(b *testing.B) {
	m := New("")
	for b.Loop() {
		m.Up(1400)
	}
}
