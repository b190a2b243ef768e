package tcpinfo

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"smtpscope/proxy/internal/linktest"
)

// The tests of this file see what the kernel says over a link with a delay and losses that
// they choose. They run in a network of their own, which a second process of this test makes.
const inside = "TCPINFO_TEST_INSIDE"

func TestLink(t *testing.T) {
	if os.Getenv(inside) != "" {
		t.Run("RoundTrip", linkRoundTrip)
		t.Run("LostSYN", linkLostSYN)
		t.Run("LostSegment", linkLostSegment)
		return
	}
	out := linktest.Again(t, inside)
	require.Equal(t, 3, strings.Count(out, "--- PASS: TestLink/"), "%s", out)
}

// connect dials over a link a server that reads everything; took is how long that lasted.
func connect(t *testing.T, c linktest.Config) (conn net.Conn, took time.Duration) {
	link, err := linktest.New(c)
	if errors.Is(err, linktest.ErrUnavailable) {
		t.Skipf("NOT RUN: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, link.Close()) })
	go func() {
		c, err := link.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(io.Discard, c)
	}()
	started := time.Now()
	dialer := net.Dialer{Timeout: 20 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		// What a loss does to the windows is up to the congestion control: Reno's is RFC 5681.
		var failed error
		if err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
		}); err != nil {
			return err
		}
		return failed
	}}
	conn, err = dialer.Dial("tcp4", link.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn, time.Since(started)
}

func linkRoundTrip(t *testing.T) {
	const delay = 150 * time.Millisecond
	conn, took := connect(t, linktest.Config{Delay: delay})
	s, err := Read(conn)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, s.RTT, 2*delay)
	assert.Less(t, s.RTT, 3*delay)
	assert.GreaterOrEqual(t, s.MinRTT, 2*delay)
	assert.GreaterOrEqual(t, took, 2*delay)
	assert.Zero(t, s.Retransmits)

	_, err = conn.Write(make([]byte, 5000))
	require.NoError(t, err)
	s, err = Read(conn)
	require.NoError(t, err)
	assert.Equal(t, int64(5000), s.InFlight, "nothing can be acknowledged before a round trip is over")
	assert.Equal(t, 4, s.Unacked, "of %d octets each", s.MSS)
	assert.Eventually(t, func() bool {
		s, err = Read(conn)
		return err == nil && s.Unacked == 0
	}, 10*time.Second, time.Millisecond)
	assert.Zero(t, s.InFlight)
}

func linkLostSYN(t *testing.T) {
	const delay = 5 * time.Millisecond
	lost := false
	conn, took := connect(t, linktest.Config{Delay: delay, Drop: func(p linktest.Packet) bool {
		if lost || !p.Up || p.Flags&linktest.SYN == 0 {
			return false
		}
		lost = true
		return true
	}})
	s, err := Read(conn)
	require.NoError(t, err)
	assert.Equal(t, 1, s.Retransmits)
	assert.Greater(t, took, time.Second)
	assert.GreaterOrEqual(t, s.RTT, 2*delay)
	assert.Less(t, s.RTT, 500*time.Millisecond)
}

func linkLostSegment(t *testing.T) {
	seen := 0
	conn, _ := connect(t, linktest.Config{Delay: 10 * time.Millisecond, Drop: func(p linktest.Packet) bool {
		if p.Payload > 0 {
			seen++
		}
		return p.Payload > 0 && seen == 5
	}})
	before, err := Read(conn)
	require.NoError(t, err)
	assert.Zero(t, before.SlowStartThreshold)
	_, err = conn.Write(make([]byte, 20_000))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, err := Read(conn)
		return err == nil && s.Unacked == 0
	}, 10*time.Second, time.Millisecond)
	after, err := Read(conn)
	require.NoError(t, err)
	assert.Positive(t, after.Retransmits)
	assert.Positive(t, after.SlowStartThreshold, "a loss sets it (RFC 5681, 3.1)")
	assert.Less(t, after.SlowStartThreshold, before.CongestionWindow)
}
