package tcpinfo

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run", "^TestLink$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Skipf("NOT RUN: this system makes no network namespace: %v", err)
	}
	require.NoError(t, err, "%s", out)
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	require.Equal(t, 3, strings.Count(string(out), "--- PASS: TestLink/"), "%s", out)
}

// Addresses of the link: whatever is sent to far comes back as if from far, to the same port here.
const near, far = "10.9.0.1", "10.9.0.2"

// link is a TUN device that sends every packet back, after a delay, with its addresses
// exchanged: a connection to far reaches a listener on near, and checksums stay right.
type link struct {
	delay time.Duration // one way
	drop  func(p []byte) bool
}

func (l *link) start(t *testing.T) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("NOT RUN: /dev/net/tun: %v", err)
	}
	request, err := unix.NewIfreq("shaper0")
	require.NoError(t, err)
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	tun := os.NewFile(uintptr(fd), "tun")
	configure(t)
	var late sync.WaitGroup
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		for {
			p := make([]byte, 2000)
			n, err := tun.Read(p)
			if err != nil {
				return
			}
			if p = p[:n]; p[0]>>4 != 4 || l.drop != nil && l.drop(p) {
				continue
			}
			source := [4]byte(p[12:16])
			copy(p[12:16], p[16:20])
			copy(p[16:20], source[:])
			late.Add(1)
			time.AfterFunc(l.delay, func() {
				defer late.Done()
				_, _ = tun.Write(p)
			})
		}
	}()
	t.Cleanup(func() {
		late.Wait()
		_ = tun.Close()
		<-reading
	})
}

// configure gives the device its address and mask, and sets it going.
func configure(t *testing.T) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer unix.Close(s)
	for _, step := range []struct {
		request uint
		address string
	}{{unix.SIOCSIFADDR, near}, {unix.SIOCSIFNETMASK, "255.255.255.0"}} {
		r, err := unix.NewIfreq("shaper0")
		require.NoError(t, err)
		require.NoError(t, r.SetInet4Addr(net.ParseIP(step.address).To4()))
		require.NoError(t, unix.IoctlIfreq(s, step.request, r))
	}
	r, err := unix.NewIfreq("shaper0")
	require.NoError(t, err)
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	require.NoError(t, unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r))
}

// connect dials over the link a server that reads everything; took is how long that lasted.
func (l *link) connect(t *testing.T) (conn net.Conn, took time.Duration) {
	l.start(t)
	listener, err := net.Listen("tcp4", near+":0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(io.Discard, c)
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
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
	conn, err = dialer.Dial("tcp4", net.JoinHostPort(far, port))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn, time.Since(started)
}

// header is a segment's: its flags and the length of its payload.
func header(p []byte) (flags byte, payload int) {
	ip := int(p[0]&15) * 4
	return p[ip+13], int(binary.BigEndian.Uint16(p[2:])) - ip - int(p[ip+12]>>4)*4
}

const (
	synFlag = 2
	ackFlag = 16
)

func linkRoundTrip(t *testing.T) {
	l := &link{delay: 150 * time.Millisecond}
	conn, took := l.connect(t)
	s, err := Read(conn)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, s.RTT, 2*l.delay)
	assert.Less(t, s.RTT, 3*l.delay)
	assert.GreaterOrEqual(t, s.MinRTT, 2*l.delay)
	assert.GreaterOrEqual(t, took, 2*l.delay)
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
	lost := false
	l := &link{delay: 5 * time.Millisecond}
	l.drop = func(p []byte) bool {
		flags, _ := header(p)
		if lost || flags&(synFlag|ackFlag) != synFlag {
			return false
		}
		lost = true
		return true
	}
	conn, took := l.connect(t)
	s, err := Read(conn)
	require.NoError(t, err)
	assert.Equal(t, 1, s.Retransmits)
	assert.Greater(t, took, time.Second)
	assert.GreaterOrEqual(t, s.RTT, 2*l.delay)
	assert.Less(t, s.RTT, 500*time.Millisecond)
}

func linkLostSegment(t *testing.T) {
	seen := 0
	l := &link{delay: 10 * time.Millisecond}
	l.drop = func(p []byte) bool {
		if _, payload := header(p); payload > 0 {
			seen++
			return seen == 5
		}
		return false
	}
	conn, _ := l.connect(t)
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
