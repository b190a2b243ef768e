package web

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestServeMetrics(t *testing.T) {
	counts := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "counts 1\n") })
	start := func(listen string) string {
		l, err := net.Listen("tcp4", listen)
		require.NoError(t, err)
		server := ServeMetrics(l, counts, slog.New(slog.DiscardHandler))
		t.Cleanup(func() { assert.NoError(t, server.Close()) })
		return l.Addr().String()
	}
	local := start("127.0.0.1:0")
	_, port, err := net.SplitHostPort(start("0.0.0.0:0"))
	require.NoError(t, err)
	for _, tt := range []struct {
		name, address, method, path, host string
		status                            int
		says                              string
	}{
		{"a scrape", local, http.MethodGet, "/metrics", "", http.StatusOK, "counts 1\n"},
		{"by name", local, http.MethodGet, "/metrics", "localhost", http.StatusOK, "counts 1\n"},
		{"another path", local, http.MethodGet, "/", "", http.StatusNotFound, "/metrics"},
		{"another method", local, http.MethodPost, "/metrics", "", http.StatusMethodNotAllowed, "GET, HEAD"},
		{"a rebound name on loopback", local, http.MethodGet, "/metrics", "rebound.example", http.StatusMisdirectedRequest, "--metrics"},
		{"any name on a network", "127.0.0.1:" + port, http.MethodGet, "/metrics", "smtpscope.internal", http.StatusOK, "counts 1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+tt.address+tt.path, nil)
			require.NoError(t, err)
			req.Host = tt.host
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			assert.Equal(t, tt.status, res.StatusCode)
			assert.Contains(t, string(body), tt.says)
			assert.Equal(t, "default-src 'none'; frame-ancestors 'none'", res.Header.Get("Content-Security-Policy"))
			assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
			assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
		})
	}
}
