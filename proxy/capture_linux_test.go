package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/capture"
	"smtpscope/proxy/internal/web"
)

// offered is what the program says that it measures.
func (p *program) offered(t *testing.T) web.Instrument {
	t.Helper()
	_, body := p.get(t, "/api/v1/config")
	var offer struct{ Instrument web.Instrument }
	require.NoError(t, json.Unmarshal([]byte(body), &offer))
	return offer.Instrument
}

// packets is how many a page gets that wants them, in a session of QUIT.
func (p *program) packets(t *testing.T) (n int) {
	t.Helper()
	w, _ := p.upgrade(t, p.url)
	send := func(message []byte, err error) {
		require.NoError(t, err)
		w.send(message)
	}
	send(w.half.AppendOpen(nil, tunnel.Open{Host: "mail.practice.test", Port: 25, Wants: []string{tunnel.WantTCPInfo, tunnel.WantPackets}}))
	send(w.half.AppendCredit(nil, 1000))
	greeted := false
	for {
		frame, ok := w.next()
		switch {
		case !ok:
			require.True(t, greeted)
			require.NoError(t, w.conn.Close())
			return n
		case frame.Type == tunnel.TypePacket:
			n++
		case frame.Type == tunnel.TypeEOF:
			send(w.half.AppendEOF(nil))
		case frame.Type == tunnel.TypeData && !greeted:
			greeted = true
			message := []byte("\x00QUIT\r\n")
			send(message, w.half.FrameData(message))
		}
	}
}

func TestCapture(t *testing.T) {
	if err := capture.Prepare(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	p := startProgram(t, "--capture")
	assert.Equal(t, web.Instrument{TCPInfo: true, Packets: true}, p.offered(t))
	assert.GreaterOrEqual(t, p.packets(t), 8, "the handshake, two lines, two ends")
	assert.NotContains(t, p.stderr.String(), "--capture")
}

func TestWithoutCapture(t *testing.T) {
	p := startProgram(t)
	assert.Equal(t, web.Instrument{TCPInfo: true, WhyNoPackets: "the proxy was started without --capture"}, p.offered(t))
	assert.Zero(t, p.packets(t))
}

// In a user namespace of its own the program has no capability over the network.
func TestCaptureWithoutTheCapability(t *testing.T) {
	none := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	probe := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^$")
	probe.SysProcAttr = none
	if err := probe.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Skipf("NOT RUN: this system makes no user namespace: %v", err)
	}
	cmd, p := childWith(t, none, "--capture")
	offered := p.offered(t)
	assert.False(t, offered.Packets)
	assert.Contains(t, offered.WhyNoPackets, "CAP_NET_RAW")
	assert.Zero(t, p.packets(t), "and the program goes on")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait()) // after which its log is whole
	var lines []string
	for line := range strings.Lines(p.stderr.String()) {
		if strings.Contains(line, "--capture") {
			lines = append(lines, line)
		}
	}
	require.Len(t, lines, 1)
	for _, grant := range []string{"setcap cap_net_raw=ep", "AmbientCapabilities=CAP_NET_RAW", "--cap-add NET_RAW", "capabilities.add"} {
		assert.Contains(t, lines[0], grant)
	}
}
