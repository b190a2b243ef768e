package relay

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/metrics"
)

// value is that of a series in the metrics; "" when there is none.
func value(t *testing.T, m *metrics.Metrics, series string) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(w.Body.String())
	if found == nil {
		return ""
	}
	return found[1]
}

func TestSessionIsInEveryStatusAndInTheLog(t *testing.T) {
	host, port := target(t, echo)
	log := &records{}
	r, url := start(t, Config{Logger: slog.New(slog.NewJSONHandler(log, nil)), Dial: func(ctx context.Context, o tunnel.Open, report func(tunnel.Status)) (net.Conn, error) {
		report(tunnel.Status{Stage: tunnel.StageDialing})
		return direct(ctx, o, report)
	}})
	p := connect(t, url)
	p.ask(host, port, 100)
	var seen []string
	for range 2 { // dialing, opened
		f, err := p.next()
		require.NoError(t, err)
		require.Equal(t, tunnel.TypeStatus, f.Type)
		seen = append(seen, f.Status.Session)
	}
	p.eof()
	p.drain(false)
	require.Eventually(t, func() bool { return r.Tunnels() == 0 }, patience, time.Millisecond)
	for _, l := range log.lines(t) {
		seen = append(seen, l["session"].(string))
	}
	require.Len(t, seen, 4)
	for _, session := range seen {
		assert.Regexp(t, "^[A-Z2-7]{12}$", session)
		assert.Equal(t, seen[0], session)
	}
}

func TestMetricsOfASession(t *testing.T) {
	host, port := target(t, echo)
	m := metrics.New("")
	r, url := start(t, Config{Metrics: m})
	p := connect(t, url)
	p.open(host, port, 10)
	assert.Equal(t, "1", value(t, m, "smtpscope_tunnels_open"))
	assert.Equal(t, "1", value(t, m, "smtpscope_dial_seconds_count"))
	assert.Equal(t, "0", value(t, m, "smtpscope_credit_stalls_total"))
	p.write([]byte("0123456789 and what is beyond the credit"), whole)
	require.Eventually(t, func() bool { return value(t, m, "smtpscope_credit_stalls_total") == "1" }, patience, time.Millisecond)
	p.grant(100)
	p.eof()
	assert.Len(t, p.drain(false).data, 40)
	require.Eventually(t, func() bool { return r.Tunnels() == 0 }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return value(t, m, "smtpscope_tunnels_open") == "0" }, patience, time.Millisecond)
	assert.Equal(t, "40", value(t, m, `smtpscope_tunnel_bytes_total{direction="up"}`))
	assert.Equal(t, "40", value(t, m, `smtpscope_tunnel_bytes_total{direction="down"}`))
	assert.Equal(t, "1", value(t, m, `smtpscope_tunnels_ended_total{by="target"}`))
}

func TestMetricsOfWhatGoesWrong(t *testing.T) {
	m := metrics.New("")
	_, url := start(t, Config{Metrics: m, Dial: func(context.Context, tunnel.Open, func(tunnel.Status)) (net.Conn, error) {
		return nil, &tunnel.Error{Code: tunnel.CodeDenied, Message: "Not that.", Rule: "loopback"}
	}})
	p := connect(t, url)
	p.ask("localhost", 25, 100)
	require.NotNil(t, p.drain(false).err)
	status, _ := get(t, url, upgrade("Sec-Websocket-Protocol", "chat"))
	require.Equal(t, http.StatusBadRequest, status)
	status, _ = get(t, url, upgrade("Sec-Websocket-Version", "12"))
	require.Equal(t, http.StatusBadRequest, status)
	gone := connect(t, url)
	require.NoError(t, gone.ws.CloseNow())

	require.Eventually(t, func() bool { return value(t, m, "smtpscope_tunnels_open") == "0" }, patience, time.Millisecond)
	for series, want := range map[string]string{
		`smtpscope_tunnel_errors_total{code="denied",rule="loopback"}`: "1",
		`smtpscope_tunnels_ended_total{by="proxy"}`:                    "1",
		`smtpscope_tunnels_ended_total{by="page"}`:                     "1",
		`smtpscope_tunnels_refused_total{reason="subprotocol"}`:        "1",
		`smtpscope_tunnels_refused_total{reason="handshake"}`:          "1",
		`smtpscope_dial_seconds_count`:                                 "0",
	} {
		assert.Equal(t, want, value(t, m, series), series)
	}
}

func TestFull(t *testing.T) {
	host, port := target(t, echo)
	r, url := start(t, Config{MaxTunnels: 1})
	assert.False(t, r.Full())
	p := connect(t, url)
	p.open(host, port, 100)
	assert.True(t, r.Full())
	require.NoError(t, p.ws.CloseNow())
	require.Eventually(t, func() bool { return !r.Full() }, patience, time.Millisecond)
}
