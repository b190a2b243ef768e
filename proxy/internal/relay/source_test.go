package relay

import (
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pair is a connection and its other end.
func pair(t *testing.T) (near, far *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	b, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

func TestSource(t *testing.T) {
	near, far := pair(t)
	s := newSource(near)
	if s.raw != nil {
		require.NoError(t, s.raw.Control(func(fd uintptr) {
			s.limit = 100
			assert.False(t, s.readReady(fd))
		}))
		assert.Nil(t, s.buf, "nothing has come, so it holds nothing")
	}
	_, _ = io.WriteString(far, "220 ready\r\n")
	b, err := s.read(4)
	require.NoError(t, err)
	assert.Equal(t, "220 ", string(b[1:]))
	b, err = s.read(100)
	require.NoError(t, err)
	assert.Equal(t, "ready\r\n", string(b[1:]))
	s.release()
	assert.Nil(t, s.buf)

	_ = near.SetReadDeadline(time.Unix(1, 0))
	b, err = s.read(100)
	assert.Empty(t, b)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_ = near.SetReadDeadline(time.Time{})

	_, _ = io.WriteString(far, "421 bye\r\n")
	_ = far.CloseWrite()
	b, err = s.read(100)
	require.NoError(t, err)
	assert.Equal(t, "421 bye\r\n", string(b[1:]))
	_, err = s.read(100)
	assert.Equal(t, io.EOF, err)

	other, reset := pair(t)
	_ = reset.SetLinger(0)
	_ = reset.Close()
	_, err = newSource(other).read(100)
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	var operation *net.OpError
	assert.ErrorAs(t, err, &operation)
}

func TestSourceOfAPipe(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		_, _ = io.WriteString(far, "220 ready\r\n")
		_ = far.Close()
	}()
	s := newSource(near)
	b, err := s.read(1000)
	require.NoError(t, err)
	assert.Equal(t, "220 ready\r\n", string(b[1:]))
	_, err = s.read(1000)
	assert.Equal(t, io.EOF, err)
}

// What an idle tunnel costs are these two, and one of the library.
func TestAnIdleTunnelIsTwoGoroutines(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{})
	const tunnels = 10
	for range tunnels {
		p := connect(t, url)
		p.open(host, port, 1000)
		p.write([]byte("NOOP\r\n"), whole)
		f, err := p.next()
		require.NoError(t, err)
		require.Equal(t, "NOOP\r\n", string(f.Data))
	}
	b := make([]byte, 1<<20)
	require.Eventually(t, func() bool { // the last up may still be ending
		n := 0
		for _, stack := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
			if strings.Contains(stack, "relay.(*line).") || strings.Contains(stack, "relay.(*Relay).ServeHTTP") {
				n++
			}
		}
		return n == 2*tunnels
	}, patience, 10*time.Millisecond)
}
