package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/quota"
	"smtpscope/proxy/internal/token"
)

func TestPublicLimits(t *testing.T) {
	o, err := parse(nil)
	require.NoError(t, err)
	assert.Equal(t, quota.Limits{}, o.limits, "a proxy for oneself has none")
	assert.Equal(t, 2*time.Hour, o.session)

	strict := quota.Limits{ClientOpen: 4, ClientRate: 10, TargetOpen: 16, TargetRate: 60, SessionBytes: 256e3, HourBytes: 1e6}
	o, err = parse([]string{"--public"})
	require.NoError(t, err)
	assert.Equal(t, strict, o.limits)
	assert.Equal(t, 30*time.Minute, o.session)
	assert.Equal(t, 6*time.Minute, o.idle)

	t.Setenv("SMTPSCOPE_SESSION_BYTES", "5MB")
	t.Setenv("SMTPSCOPE_IDLE", "1m")
	o, err = parse([]string{"--public", "--rate", "0", "--session", "2h"})
	require.NoError(t, err)
	strict.SessionBytes, strict.ClientRate = 5e6, 0
	assert.Equal(t, strict, o.limits, "who says otherwise gets it")
	assert.Equal(t, 2*time.Hour, o.session)
	assert.Equal(t, time.Minute, o.idle)
}

func TestLimitErrors(t *testing.T) {
	for _, tt := range []struct{ flag, value, says string }{
		{"--rate", "-1", "--rate -1: write a number above zero, or 0 for no limit"},
		{"--max-per-ip", "-1", "--max-per-ip -1"},
		{"--session-bytes", "1 MB", "as in 500kB, 1MB or 64KiB"},
		{"--trusted-proxy", "10.0.0.1/8", "write 10.0.0.0/8"},
		{"--trusted-proxy", "0.0.0.0/0", "everybody"},
	} {
		code, _, stderr := runOnce(t, tt.flag, tt.value)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, stderr, tt.says)
	}
	code, _, stderr := runOnce(t, "--listen", "127.0.0.1:0", "--token-key", filepath.Join(t.TempDir(), "none"))
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "token key: open ")
}

func TestQuotas(t *testing.T) {
	p := startProgram(t, "--rate", "1", "--allow", "localhost:1", "--drain", "10ms")
	ask := func(host string, port int) *tunnel.Error {
		return p.open(t, host, port).until(tunnel.TypeError).Error
	}
	assert.Equal(t, tunnel.CodeRefused, ask("localhost", 1).Code)
	e := ask("localhost", 1)
	assert.Equal(t, tunnel.CodeQuota, e.Code)
	assert.Equal(t, quota.RuleClientRate, e.Rule)
	assert.Positive(t, e.RetryAfter)
	assert.LessOrEqual(t, e.RetryAfter, 60)
	for range practiceFactor {
		p.open(t, "mail.practice.test", 25).do("")
	}
	assert.Equal(t, quota.RuleClientRate, ask("Mail.Practice.Test.", 25).Rule, "the practice server is for all, but not for one alone")
}

func TestSilentPages(t *testing.T) {
	p := startProgram(t, "--max-per-ip", "1", "--drain", "10ms")
	var held []*wire
	for range practiceFactor {
		w, res := p.upgrade(t, p.url)
		require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
		held = append(held, w)
	}
	_, res := p.upgrade(t, p.url)
	assert.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	assert.Equal(t, "30", res.Header.Get("Retry-After"))
	for _, w := range held {
		_ = w.conn.Close()
	}
}

func TestTargetQuota(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	p := startProgram(t, "--max-per-target", "1", "--allow", fmt.Sprintf("localhost:%d", port), "--allow", fmt.Sprintf("127.0.0.1:%d", port), "--drain", "10ms")
	p.open(t, "127.0.0.1", port).until(tunnel.TypeCredit)
	e := p.open(t, "localhost", port).until(tunnel.TypeError).Error
	assert.Equal(t, quota.RuleTargetOpen, e.Rule, "another name for the same address is the same target")
	assert.Equal(t, tunnel.CodeTooMany, e.Code)
}

func TestClientsBehindATrustedProxy(t *testing.T) {
	ask := func(p *program, client string) *tunnel.Error {
		w := p.openFor(t, client, "localhost", 1, "")
		defer w.conn.Close() // the program waits for pages to answer its Close frame
		return w.until(tunnel.TypeError).Error
	}
	flags := []string{"--rate", "1", "--allow", "localhost:1"}
	p := startProgram(t, append(flags, "--trusted-proxy", "127.0.0.0/8")...)
	assert.Equal(t, tunnel.CodeRefused, ask(p, "203.0.113.7").Code)
	assert.Equal(t, tunnel.CodeQuota, ask(p, "192.0.2.1, 203.0.113.7").Code, "what the client says of itself is not believed")
	assert.Equal(t, tunnel.CodeRefused, ask(p, "203.0.113.8").Code)
	assert.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "remote=203.0.113.7:0") }, 10*time.Second, time.Millisecond, "the log tells who it really was")

	p = startProgram(t, flags...)
	assert.Equal(t, tunnel.CodeRefused, ask(p, "203.0.113.7").Code)
	assert.Equal(t, tunnel.CodeQuota, ask(p, "203.0.113.8").Code, "nobody is believed")
}

func TestTokens(t *testing.T) {
	port := greeter(t)
	target := fmt.Sprintf("127.0.0.1:%d", port)
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("0123456789", 4)+"\n"), 0o600))
	mintFor := func(target string, args ...string) string {
		code, stdout, stderr := runOnce(t, append([]string{"token", "--key", file, "--target", target}, args...)...)
		require.Equal(t, exitOK, code, stderr)
		return strings.TrimSpace(stdout)
	}
	p := startProgram(t, "--token-key", file, "--allow", target)
	refusal := func(permit string) *tunnel.Error {
		return p.openFor(t, "", "127.0.0.1", port, permit).until(tunnel.TypeError).Error
	}
	good := mintFor(target, "--bytes", "30B")
	assert.Equal(t, "220 mx.example.net", p.openFor(t, "", "127.0.0.1", port, good).do(""))
	assert.Equal(t, quota.RuleTokenBytes, refusal(good).Rule, "20 of 30 bytes are used, and the reply has 20 again")
	assert.Equal(t, token.RuleMissing, refusal("").Rule)
	assert.Equal(t, token.RuleSignature, refusal(good+"A").Rule)
	assert.Equal(t, token.RuleTarget, refusal(mintFor("mx.example.net:25")).Rule)
	assert.Equal(t, token.RuleExpired, refusal(mintFor(target, "--for", "1ns")).Rule)
	other := p.openFor(t, "", "127.0.0.1", port+1, mintFor(fmt.Sprintf("127.0.0.1:%d", port+1)))
	assert.Equal(t, "port", other.until(tunnel.TypeError).Error.Rule, "a token does not widen the policy")
	assert.Equal(t, "220 mail.practice.test ESMTP Service Ready", p.open(t, "mail.practice.test", 25).do(""), "practice needs none")
	assert.NotContains(t, p.stderr.String(), good, "logs carry no tokens")
}

func TestMintErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte("short"), 0o600))
	target := []string{"--target", "mx.example.net:25"}
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "--key is missing"},
		{[]string{"--key", file}, "--target is missing"},
		{[]string{"--key", file, "--target", "mx.example.net"}, "name the ports as well"},
		{append(target, "--key", file), "openssl rand -base64 48"},
		{append(target, "--key", file, "--for", "25h"), "up to 24h0m0s"},
		{append(target, "--key", file, "--for", "0s"), "above zero"},
		{append(target, "--key", file, "--bytes", "0"), "at least one byte"},
		{append(target, "--key", file, "--bytes", "1M"), "as in 500kB"},
		{append(target, "--key", file, "more"), `"more" is not a flag of smtpscope token`},
	} {
		code, stdout, stderr := runOnce(t, append([]string{"token"}, tt.args...)...)
		assert.Equal(t, exitUsage, code, tt.args)
		assert.Empty(t, stdout)
		assert.Contains(t, stderr, tt.says)
		assert.True(t, strings.HasSuffix(stderr, "Try smtpscope token --help.\n"), stderr)
	}
	code, stdout, _ := runOnce(t, "token", "--help")
	assert.Equal(t, exitOK, code)
	for _, name := range []string{"--key", "--target", "--for", "--bytes"} {
		assert.Contains(t, stdout, "  "+name)
	}
}
