package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

func TestSessionInPageAndLog(t *testing.T) {
	p := startProgram(t, "--log", "json")
	w := p.open(t, "mail.practice.test", 25)
	session := w.until(tunnel.TypeStatus).Status.Session
	require.NotEmpty(t, session)
	w.do("")
	assert.Equal(t, "221 2.0.0 Bye", w.do("QUIT\r\n"))
	w.until(tunnel.TypeEOF)
	require.NoError(t, w.conn.Close())
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "tunnel closed") }, 10*time.Second, time.Millisecond)
	var named []string
	for line := range strings.Lines(p.stderr.String()) {
		var record map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &record), "each line is one JSON object: %s", line)
		if record["session"] == session {
			named = append(named, record["msg"].(string))
		}
	}
	assert.Equal(t, []string{"tunnel opened", "tunnel closed"}, named)
}

func TestMetrics(t *testing.T) {
	p := startProgram(t, "--metrics", "127.0.0.1:0")
	address := regexp.MustCompile(`msg=metrics url=(http://127\.0\.0\.1:\d+/metrics)`).FindStringSubmatch(p.stderr.String())
	require.NotNil(t, address, p.stderr)
	p.open(t, "mail.practice.test", 25).do("")
	p.open(t, "10.0.0.1", 25).until(tunnel.TypeError)
	scrape := func() string {
		res, err := (&http.Client{Timeout: 10 * time.Second}).Get(address[1])
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return string(body)
	}
	denied := `smtpscope_tunnel_errors_total{code="denied",rule="practice-only"} 1` + "\n"
	require.Eventually(t, func() bool { return strings.Contains(scrape(), denied) }, 10*time.Second, 10*time.Millisecond)
	counts := scrape()
	assert.Contains(t, counts, "smtpscope_tunnels_open 1\n")
	assert.Contains(t, counts, `smtpscope_build_info{version="0.1.0"} 1`+"\n")
	assert.Regexp(t, `smtpscope_tunnel_bytes_total\{direction="down"\} [1-9]`, counts)
	assert.NotContains(t, counts, "10.0.0.1", "what a page chooses is no label")

	status, _ := p.get(t, "/metrics")
	assert.Equal(t, http.StatusNotFound, status, "the page's listener has no metrics")
	_, offer := p.get(t, "/api/v1/config")
	assert.NotContains(t, offer, strings.TrimPrefix(address[1], "http://"))
}

func TestReadyWhenFullAndAgain(t *testing.T) {
	p := startProgram(t, "--max-tunnels", "1")
	w := p.open(t, "mail.practice.test", 25)
	w.do("")
	status, body := p.get(t, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "full\n", body)
	status, _ = p.get(t, "/healthz")
	assert.Equal(t, http.StatusOK, status, "full is not ill")
	require.NoError(t, w.conn.Close())
	require.Eventually(t, func() bool {
		status, body := p.get(t, "/readyz")
		return status == http.StatusOK && body == "ready\n"
	}, 10*time.Second, time.Millisecond)
}

func TestOperationsErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"--metrics", "9025"}, `--metrics "9025": write address and port`},
		{[]string{"--log", "xml"}, `--log "xml": it is text or json`},
		{[]string{"--config", "/nonexistent/smtpscope.conf"}, "--config: open /nonexistent/smtpscope.conf"},
	} {
		code, _, stderr := runOnce(t, tt.args...)
		assert.Equal(t, exitUsage, code, tt.args)
		assert.Contains(t, stderr, tt.says)
	}
	p := startProgram(t)
	code, _, stderr := runOnce(t, "--listen", "127.0.0.1:0", "--metrics", p.host())
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "choose another port with --metrics")
}

// startNATS is a NATS server with JetStream.
func startNATS(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.True(t, s.ReadyForConnections(30*time.Second))
	return s
}

func TestReplicasShareQuotas(t *testing.T) {
	port := greeter(t)
	url := startNATS(t).ClientURL()
	args := []string{"--allow", fmt.Sprintf("127.0.0.1:%d", port), "--rate", "1", "--nats", url}
	one, other := startProgram(t, args...), startProgram(t, args...)
	assert.Equal(t, "220 mx.example.net", one.open(t, "127.0.0.1", port).do(""))
	e := other.open(t, "127.0.0.1", port).until(tunnel.TypeError).Error
	assert.Equal(t, tunnel.CodeQuota, e.Code)
	assert.Equal(t, "client-rate", e.Rule, "one replica knows what the other permitted")
}

func TestNATSIsMissing(t *testing.T) {
	code, stdout, stderr := runOnce(t, "--listen", "127.0.0.1:0", "--nats", "nats://ada:secret@127.0.0.1:1")
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, stdout, "it does not serve without its quotas")
	assert.Contains(t, stderr, "--nats: connect to NATS: nats: no servers available for connection")
	assert.NotContains(t, stderr, "secret")
}
