package relay

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"smtpscope/protocol/tunnel"
)

// scripted is a target whose Read ends in the midst of a Write, which goes on until the test says so.
type scripted struct {
	net.Conn
	begun, ended chan struct{} // Write, Read
	goOn         chan error
}

func (c *scripted) Write([]byte) (int, error) {
	close(c.begun)
	<-c.ended
	return 0, <-c.goOn
}

func (c *scripted) Read([]byte) (int, error) {
	<-c.begun
	defer close(c.ended)
	return 0, io.EOF
}

func (c *scripted) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

func dialScripted(t *testing.T) (*scripted, *page) {
	conn, other := net.Pipe()
	t.Cleanup(func() { _ = other.Close() })
	c := &scripted{Conn: conn, begun: make(chan struct{}), ended: make(chan struct{}), goOn: make(chan error, 1)}
	_, url := start(t, Config{Dial: func(context.Context, tunnel.Open, func(tunnel.Status)) (net.Conn, error) { return c, nil }})
	p := connect(t, url)
	p.open("mx.example.net", 25, tunnel.MaxData)
	return c, p
}

// The system tells a reset to one call only. When that is the write, reading says that all is well.
func TestAResetThatOnlyTheWriteHeard(t *testing.T) {
	c, p := dialScripted(t)
	c.goOn <- &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	require.Equal(t, 4, p.write([]byte("QUIT"), whole))
	r := p.drain(true)
	assert.False(t, r.eof, "it was no orderly end")
	require.NotNil(t, r.err)
	assert.Equal(t, tunnel.CodeReset, r.err.Code)
}

// A target that has said its last words may leave the page's unread for as long as it likes.
func TestTheEndOfATargetThatTakesNoMoreIsToldAtOnce(t *testing.T) {
	c, p := dialScripted(t)
	require.Equal(t, 4, p.write([]byte("QUIT"), whole))
	for {
		f, err := p.next()
		require.NoError(t, err)
		if f.Type == tunnel.TypeEOF {
			break
		}
	}
	c.goOn <- syscall.EPIPE
	p.eof()
	r := p.drain(false)
	assert.Nil(t, r.err)
}

// Of a frame that breaks off the target gets what came of it, or less, and nothing else.
func TestAFrameThatBreaksOff(t *testing.T) {
	text := bytes.Repeat([]byte("text"), 10_000)
	for _, sent := range []int{1, 100, 200, 5_000, 39_999} {
		got := make(chan []byte, 1)
		host, port := target(t, func(conn *net.TCPConn) {
			b, _ := io.ReadAll(conn)
			got <- b
		})
		_, url := start(t, Config{})
		var tcp net.Conn
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			tcp, err = new(net.Dialer).DialContext(ctx, network, address)
			return tcp, err
		}}}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{tunnel.Subprotocol}})
		require.NoError(t, err)
		p := newPage(t, ctx, ws)
		p.open(host, port, tunnel.MaxData)
		p.write([]byte("whole "), whole)

		mask := []byte{1, 2, 3, 4}
		frame := append(binary.BigEndian.AppendUint16([]byte{0x82, 0x80 | 126}, uint16(1+len(text))), mask...)
		for i, b := range append([]byte{byte(tunnel.TypeData)}, text[:sent]...) {
			frame = append(frame, b^mask[i%4])
		}
		_, err = tcp.Write(frame)
		require.NoError(t, err)
		require.NoError(t, tcp.Close())
		select {
		case b := <-got:
			b, isWhole := bytes.CutPrefix(b, []byte("whole "))
			assert.True(t, isWhole)
			assert.True(t, bytes.HasPrefix(text[:sent], b), "%d bytes sent, got %d bytes that end in %q", sent, len(b), b[max(0, len(b)-20):])
		case <-ctx.Done():
			t.Fatal("the target is not told the end")
		}
	}
}
