package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/session/conformance"
	"smtpscope/protocol/session/realservers"
	"smtpscope/protocol/trace"
	"smtpscope/proxy/internal/quota"
)

// prompt is what a session takes at most that nobody keeps waiting.
const prompt = 5 * time.Second

// runThrough runs a plan through the proxy at url, as a page does, and fails when that takes longer than limit.
func runThrough(t *testing.T, url string, plan *session.Plan, limit time.Duration) *trace.Trace {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tr := session.New(session.Config{Plan: plan, Dial: dialThrough(url), Tool: "smtpscope/test"}).Run(ctx)
	assert.NoError(t, ctx.Err(), "it must end within %s", limit)
	return tr
}

func parsePlan(t *testing.T, plan string) *session.Plan {
	t.Helper()
	parsed, err := session.ParsePlan([]byte(plan))
	require.NoError(t, err)
	return parsed
}

// toPractice is a plan for one message to the practice server.
const toPractice = `{"target": {"mode": "practice", "port": 25}, "security": "none",
	"messages": [{"from": "ada@example.org", "to": ["grace@example.net"], "data": "Subject: x\r\n\r\nx\r\n"}]}`

// A target that resets the connection is reported as just that, in the phase in which it did.
func TestTargetResets(t *testing.T) {
	greeting, ehlo := "S: 220 mx.example.net ESMTP", []string{"C: EHLO *", "S: 250-mx.example.net", "S: 250-AUTH PLAIN", "S: 250 STARTTLS"}
	mail, rcpt, data := []string{"C: MAIL FROM:*", "S: 250 ok"}, []string{"C: RCPT TO:*", "S: 250 ok"}, []string{"C: DATA", "S: 354 go"}
	tls := []string{"C: STARTTLS", "S: 220 go", "TLS"}
	long := conformance.Plan{"messages": []any{map[string]any{"from": "ada@example.org", "to": []string{"grace@example.net"},
		"data": strings.Repeat(strings.Repeat("long ", 15)+"\r\n", 16<<20/77)}}}
	starttls := conformance.Plan{"security": "starttls"}
	signIn := conformance.Plan{"security": "starttls", "auth": map[string]any{"mechanism": "PLAIN", "username": "ada", "password": "engine"}}
	tests := []struct {
		name    string
		steps   [][]string
		plan    conformance.Plan
		outcome trace.Outcome
		phase   string
	}{
		{"before the greeting", nil, nil, trace.Failed, "connect|greeting"}, // the reset may come before the proxy knows that it is connected
		{"in the greeting", [][]string{{"S~ 220 mx.exam"}}, nil, trace.Failed, "connect|greeting"},
		{"in the first handshake", [][]string{{`C~ \x16`}}, conformance.Plan{"security": "tls"}, trace.Failed, "tls"},
		{"at EHLO", [][]string{{greeting}, ehlo[:1]}, nil, trace.Failed, "ehlo"},
		{"in the reply to EHLO", [][]string{{greeting}, ehlo[:3]}, nil, trace.Failed, "ehlo"},
		{"at STARTTLS", [][]string{{greeting}, ehlo, tls[:1]}, starttls, trace.Failed, "starttls"},
		{"in the handshake", [][]string{{greeting}, ehlo, tls[:2], {`C~ \x16`}}, starttls, trace.Failed, "tls"},
		{"at AUTH", [][]string{{greeting}, ehlo, tls, ehlo, {"C: AUTH PLAIN*"}}, signIn, trace.Failed, "auth"},
		{"at MAIL", [][]string{{greeting}, ehlo, mail[:1]}, nil, trace.Failed, "mail"},
		{"at RCPT", [][]string{{greeting}, ehlo, mail, rcpt[:1]}, nil, trace.Failed, "rcpt"},
		{"at DATA", [][]string{{greeting}, ehlo, mail, rcpt, data[:1]}, nil, trace.Failed, "data"},
		{"in the message", [][]string{{greeting}, ehlo, mail, rcpt, data, {"C: long *"}}, long, trace.Failed, "message"},
		{"after the dot", [][]string{{greeting}, ehlo, mail, rcpt, data, {"M"}}, nil, trace.Unknown, "message"},
		{"after QUIT", [][]string{{greeting}, ehlo, mail, rcpt, data, {"M", "S: 250 ok", "C: QUIT"}}, nil, trace.Accepted, "quit"},
	}
	identity, err := realservers.NewIdentity()
	require.NoError(t, err)
	var servers []*conformance.Server
	args := []string{"--practice=false"}
	for _, tt := range tests {
		script := conformance.Script{}
		for _, steps := range append(tt.steps, []string{"RESET"}) {
			script = append(script, steps...)
		}
		server, err := conformance.Start(conformance.Case{Name: tt.name, Script: script, Plan: tt.plan}, identity, false)
		require.NoError(t, err)
		t.Cleanup(func() { server.Stop() })
		servers = append(servers, server)
		args = append(args, "--allow", fmt.Sprintf("%s:%d", server.Host, server.Port))
	}
	p := startProgram(t, args...)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := servers[i].Plan()
			require.NoError(t, err)
			tr := runThrough(t, p.url, parsePlan(t, string(plan)), prompt)
			require.NoError(t, servers[i].Stop().Err)
			require.Equal(t, tt.outcome, tr.Result.Outcome, "%+v", tr.Result.Error)
			assert.Contains(t, strings.Split(tt.phase, "|"), tr.Result.Phase)
			if tt.outcome == trace.Accepted {
				return
			}
			assert.Equal(t, trace.CodeClosed, tr.Result.Error.Code)
			assert.Regexp(t, fmt.Sprintf("^127.0.0.1:%d (reset|dropped) the connection", servers[i].Port), tr.Result.Error.Message)
			assert.Equal(t, tt.outcome == trace.Unknown, strings.Contains(tr.Result.Error.Message, "look in the mailbox before sending it again"))
			assert.False(t, tr.Result.Permanent, "it is worth trying again")
		})
	}

	t.Run("when it is connected", func(t *testing.T) {
		plan, err := servers[0].Plan() // which has served its one session
		require.NoError(t, err)
		tr := runThrough(t, p.url, parsePlan(t, string(plan)), prompt)
		require.Equal(t, trace.Failed, tr.Result.Outcome)
		assert.Equal(t, "connect", tr.Result.Phase)
		assert.Equal(t, trace.CodeRefused, tr.Result.Error.Code)
	})
}

// A proxy that is killed takes its sessions with it, and each of them says so; the one that is started in its place is as good.
func TestProxyIsKilledUnderLoad(t *testing.T) {
	cmd, p := child(t)
	plan := parsePlan(t, toPractice)
	var accepted, lost atomic.Int64
	killed := make(chan struct{})
	var pages sync.WaitGroup
	for range 8 {
		pages.Go(func() {
			for {
				tr := runThrough(t, p.url, plan, 2*prompt)
				if tr.Result.Outcome == trace.Accepted {
					accepted.Add(1)
					continue
				}
				lost.Add(1)
				select {
				case <-killed:
				case <-time.After(prompt):
					assert.Fail(t, "a session failed before the proxy was killed", "%+v", tr.Result)
				}
				assert.Equal(t, trace.CodeClosed, tr.Result.Error.Code)
				assert.Contains(t, tr.Result.Error.Message, "the tunnel")
				return
			}
		})
	}
	require.Eventually(t, func() bool { return accepted.Load() >= 20 }, 20*time.Second, time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	close(killed)
	pages.Wait()
	_ = cmd.Wait()
	assert.EqualValues(t, 8, lost.Load())

	_, again := child(t, "--listen", p.host())
	require.Equal(t, p.url, again.url)
	tr := runThrough(t, p.url, plan, 2*prompt)
	assert.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
}

// When the node dies that leads the accounts, sessions go on: those that begin before another leads
// may be refused, in words that do not blame the mail server.
func TestNATSNodeIsKilled(t *testing.T) {
	t.Parallel()
	nodes, urls := startNATSCluster(t)
	p := startProgram(t, "--nats", urls, "--rate", "1000")
	plan := parsePlan(t, toPractice)
	require.Equal(t, trace.Accepted, runThrough(t, p.url, plan, 2*prompt).Result.Outcome)

	const bucket = "KV_smtpscope-quota"
	var leader *server.Server
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if n.JetStreamIsStreamLeader("$G", bucket) {
				leader = n
			}
		}
		return leader != nil
	}, 30*time.Second, 10*time.Millisecond)
	leader.Shutdown()
	leader.WaitForShutdown()
	var refused int
	for deadline := time.Now().Add(30 * time.Second); ; refused++ {
		require.True(t, time.Now().Before(deadline), "no session succeeds any more")
		tr := runThrough(t, p.url, plan, 3*prompt)
		if tr.Result.Outcome == trace.Accepted {
			break
		}
		assert.Equal(t, "connect", tr.Result.Phase)
		assert.Equal(t, trace.CodeTooMany, tr.Result.Error.Code)
		assert.Equal(t, quota.RuleStore, tr.Result.Error.Rule)
		assert.Positive(t, tr.Result.Error.RetryAfter)
		assert.Contains(t, tr.Result.Error.Message, "Try again")
	}
	t.Logf("%d sessions were refused meanwhile", refused)
}

// startNATSCluster is three nodes; urls has them all.
func startNATSCluster(t *testing.T) (nodes []*server.Server, urls string) {
	t.Helper()
	var ports []int
	var routes, addresses []string
	for range 3 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, "nats://"+l.Addr().String())
		require.NoError(t, l.Close())
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("node-%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
			JetStreamMaxMemory: 128 << 20, JetStreamMaxStore: 1 << 30,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}, Routes: server.RoutesFromStr(strings.Join(routes, ",")),
		})
		require.NoError(t, err)
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		nodes = append(nodes, s)
	}
	for _, n := range nodes {
		require.True(t, n.ReadyForConnections(30*time.Second))
		addresses = append(addresses, n.ClientURL())
	}
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if n.JetStreamIsLeader() && len(n.JetStreamClusterPeers()) == len(nodes) {
				return true
			}
		}
		return false
	}, 60*time.Second, 10*time.Millisecond, "three nodes and a leader")
	return nodes, strings.Join(addresses, ",")
}

// A DNS server that does not answer is named as what it is, in time.
func TestSilentDNSServer(t *testing.T) {
	t.Parallel()
	deaf, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = deaf.Close() })
	p := startProgram(t, "--resolver", deaf.LocalAddr().String(), "--allow", "mx.example.net:25")
	t.Run("session", func(t *testing.T) {
		t.Parallel()
		tr := runThrough(t, p.url, parsePlan(t, `{"target": {"mode": "live", "host": "mx.example.net", "port": 25}, "security": "none"}`), 12*time.Second)
		assert.Equal(t, trace.Failed, tr.Result.Outcome)
		assert.Equal(t, "connect", tr.Result.Phase)
		assert.Equal(t, trace.CodeTimeout, tr.Result.Error.Code)
		assert.Contains(t, tr.Result.Error.Message, "Looking up mx.example.net took too long: no DNS server answered.")
		var shown []trace.Kind
		for _, e := range tr.Events {
			if e.Layer == trace.LayerTunnel {
				shown = append(shown, e.Kind)
			}
		}
		assert.Equal(t, []trace.Kind{trace.KindResolving}, shown, "the row at which it stopped")
	})
	t.Run("look-up", func(t *testing.T) {
		t.Parallel()
		started := time.Now()
		status, text := p.get(t, "/api/v1/lookup?name=mx.example.net&type=A")
		assert.Less(t, time.Since(started), 10*time.Second)
		assert.Equal(t, http.StatusGatewayTimeout, status)
		var refusal struct{ Code string }
		require.NoError(t, json.Unmarshal([]byte(text), &refusal))
		assert.Equal(t, "timeout", refusal.Code)
	})
}
