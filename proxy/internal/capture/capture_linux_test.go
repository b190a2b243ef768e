package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"smtpscope/protocol/tunnel"
)

const patience = 20 * time.Second

// needPackets leaves a test out where this program may not capture. It returns when packets have the times
// at which they are seen, not at which they are read.
func needPackets(t testing.TB) {
	t.Helper()
	if err := Prepare(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	remote := listen(t, "127.0.0.1:0")
	require.Eventually(t, func() bool {
		conn, c := dial(t, remote)
		defer c.Close()
		echo(t, conn, "x")
		begun := time.Now()
		p, err := c.Read()
		require.NoError(t, err)
		return p.Time.Before(begun)
	}, patience, time.Millisecond)
}

// listen returns a listener on loopback that echoes.
func listen(t testing.TB, address string) netip.AddrPort {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// dial connects, and captures from before the SYN on.
func dial(t testing.TB, remote netip.AddrPort) (*net.TCPConn, *Capture) {
	var c *Capture
	dialer := net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		if err := raw.Control(func(fd uintptr) {
			var any unix.Sockaddr = &unix.SockaddrInet4{}
			if remote.Addr().Is6() {
				any = &unix.SockaddrInet6{}
			}
			failed = unix.Bind(int(fd), any)
			bound, err := unix.Getsockname(int(fd))
			if failed = errors.Join(failed, err); failed != nil {
				return
			}
			port := 0
			switch a := bound.(type) {
			case *unix.SockaddrInet4:
				port = a.Port
			case *unix.SockaddrInet6:
				port = a.Port
			}
			c, failed = Open(uint16(port), remote)
		}); err != nil {
			return err
		}
		return failed
	}}
	conn, err := dialer.Dial("tcp", remote.String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn.(*net.TCPConn), c
}

func echo(t testing.TB, conn net.Conn, text string) {
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, len(text)))
	require.NoError(t, err)
}

// segment is what the tests look at.
type segment struct {
	flags   string
	out     bool
	payload string
}

func dissect(t *testing.T, p tunnel.Packet, local uint16) segment {
	tcp := p.IP[40:]
	if p.IP[0]>>4 == 4 {
		require.Equal(t, len(p.IP), int(binary.BigEndian.Uint16(p.IP[2:])), "the whole packet")
		tcp = p.IP[int(p.IP[0]&0xf)*4:]
	}
	var flags []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK"} {
		if tcp[13]&(1<<i) != 0 && name != "PSH" {
			flags = append(flags, name)
		}
	}
	return segment{strings.Join(flags, " "), binary.BigEndian.Uint16(tcp) == local, string(tcp[int(tcp[12]>>4)*4:])}
}

func TestConnection(t *testing.T) {
	needPackets(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			remote := listen(t, address)
			stranger, err := net.Dial("tcp", remote.String())
			require.NoError(t, err)
			defer stranger.Close()
			began := time.Now()
			conn, c := dial(t, remote)
			defer c.Close()
			echo(t, stranger, "nobody's business")
			echo(t, conn, "NOOP\r\n")
			echo(t, stranger, "nobody's business")
			require.NoError(t, conn.CloseWrite())
			_, err = io.Copy(io.Discard, conn)
			require.NoError(t, err)

			c.End(patience)
			var seen []segment
			local, last := conn.LocalAddr().(*net.TCPAddr).AddrPort().Port(), began
			for fins := 0; fins < 2 || seen[len(seen)-1].flags != "ACK"; {
				p, err := c.Read()
				require.NoError(t, err, "%v", seen)
				assert.False(t, p.Time.Before(last), "%s after %s", p.Time, last)
				last = p.Time
				s := dissect(t, p, local)
				if seen = append(seen, s); s.flags == "FIN ACK" {
					fins++
				}
			}
			assert.WithinRange(t, last, began, time.Now())
			// What else may come between are acknowledgements.
			var telling []segment
			for _, s := range seen {
				if s.flags != "ACK" || s.payload != "" {
					telling = append(telling, s)
				}
			}
			assert.Equal(t, []segment{{"SYN", true, ""}, {"SYN ACK", false, ""}, {"ACK", true, "NOOP\r\n"}, {"ACK", false, "NOOP\r\n"}, {"FIN ACK", true, ""}, {"FIN ACK", false, ""}}, telling)
			assert.Equal(t, segment{"SYN", true, ""}, seen[0])
			assert.Equal(t, segment{"ACK", true, ""}, seen[2], "each once, so that the third is the end of the handshake")
		})
	}
}

func TestRefusedConnection(t *testing.T) {
	needPackets(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	remote := l.Addr().(*net.TCPAddr).AddrPort()
	require.NoError(t, l.Close())
	port := freePort(t)
	c, err := Open(port, remote)
	require.NoError(t, err)
	defer c.Close()
	_, err = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}}).Dial("tcp", remote.String())
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	c.End(0)
	for _, want := range []segment{{"SYN", true, ""}, {"RST ACK", false, ""}} {
		p, err := c.Read()
		require.NoError(t, err)
		assert.Equal(t, want, dissect(t, p, port))
	}
	_, err = c.Read()
	assert.Equal(t, io.EOF, err)
}

func freePort(t *testing.T) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// What was captured before End is read after it; what comes later is not.
func TestEnd(t *testing.T) {
	needPackets(t)
	conn, c := dial(t, listen(t, "127.0.0.1:0"))
	defer c.Close()
	echo(t, conn, "before")
	c.End(0)
	var texts []string
	for {
		p, err := c.Read()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if text := dissect(t, p, 0).payload; text != "" {
			texts = append(texts, text)
		}
	}
	assert.Equal(t, []string{"before", "before"}, texts)

	waiting := make(chan error, 1)
	_, other := dial(t, listen(t, "127.0.0.1:0"))
	defer other.Close()
	go func() {
		for {
			if _, err := other.Read(); err != nil {
				waiting <- err
				return
			}
		}
	}()
	other.End(0)
	select {
	case err := <-waiting:
		assert.Equal(t, io.EOF, err)
	case <-time.After(patience):
		assert.Fail(t, "End frees whoever waits")
	}
}

// Whoever does not read loses packets, and costs no more than the queue.
func TestNobodyReads(t *testing.T) {
	needPackets(t)
	conn, c := dial(t, listen(t, "127.0.0.1:0"))
	const size = 16 << 20
	go func() { _, _ = conn.Write(make([]byte, size)) }()
	_, err := io.CopyN(io.Discard, conn, size)
	require.NoError(t, err)
	c.End(0)
	kept := 0
	for {
		p, err := c.Read()
		if err != nil {
			require.Equal(t, io.EOF, err)
			break
		}
		kept += len(p.IP)
	}
	assert.Positive(t, kept)
	assert.LessOrEqual(t, kept, queue)
	assert.Positive(t, c.Close())
}

func TestReadAfterClose(t *testing.T) {
	needPackets(t)
	c, err := Open(1, netip.MustParseAddrPort("127.0.0.1:1"))
	require.NoError(t, err)
	assert.Zero(t, c.Close())
	_, err = c.Read()
	assert.ErrorContains(t, err, "closed")
}

// Without the capability nothing is captured, and the error says how to change that. A user namespace has
// every capability, but none over a network that is not its own.
func TestWithoutTheCapability(t *testing.T) {
	if os.Getenv("CAPTURE_TEST_INSIDE") != "" {
		_, err := Open(1, netip.MustParseAddrPort("127.0.0.1:1"))
		require.ErrorIs(t, err, unix.EPERM)
		assert.Equal(t, err, Prepare())
		assert.ErrorContains(t, err, "setcap cap_net_raw=ep")
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^TestWithoutTheCapability$", "-test.v", "-test.timeout", patience.String())
	cmd.Env = append(os.Environ(), "CAPTURE_TEST_INSIDE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Skipf("NOT RUN: this system makes no user namespace: %v", err)
	}
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: TestWithoutTheCapability")
}

func BenchmarkOpen(b *testing.B) {
	needPackets(b)
	for b.Loop() {
		c, err := Open(1, netip.MustParseAddrPort("127.0.0.1:1"))
		require.NoError(b, err)
		b.StopTimer()
		c.Close()
		b.StartTimer()
	}
}
