package relay

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

// recorder keeps what is written to it, and fails from some byte on.
type recorder struct {
	net.Conn
	bytes.Buffer
	writes int
	room   int
}

var errFull = errors.New("full")

func (r *recorder) Read(p []byte) (int, error) { return r.Buffer.Read(p) }

func (r *recorder) Write(p []byte) (int, error) {
	r.writes++
	n := min(len(p), r.room)
	r.room -= n
	_, _ = r.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// frame is a server's frame with n bytes of payload.
func frame(n int) (header, payload []byte) {
	header = []byte{0x82, byte(n)}
	switch {
	case n > 65535:
		header = binary.BigEndian.AppendUint64([]byte{0x82, 127}, uint64(n))
	case n > 125:
		header = binary.BigEndian.AppendUint16([]byte{0x82, 126}, uint16(n))
	}
	for i := range n {
		payload = append(payload, byte(i))
	}
	return header, payload
}

// As the library writes: header and payload into a buffer, then a flush.
func TestFramesLeaveTheWireWhole(t *testing.T) {
	r := &recorder{room: 1 << 30}
	w := &wire{Conn: r}
	out := bufio.NewWriterSize(w, frameStart)
	for _, n := range []int{0, 1, 13, 14, 15, 16, 17, 28, 30, 31, 125, 126, 127, 65535, 65536, tunnel.MaxMessage, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r.Reset()
			r.writes = 0
			header, payload := frame(n)
			_, _ = out.Write(header)
			_, err := out.Write(payload)
			require.NoError(t, err)
			require.NoError(t, out.Flush())
			assert.Equal(t, append(header, payload...), r.Bytes())
			assert.LessOrEqual(t, r.writes, 2, "head and rest, which a TCP connection takes in one call")
			assert.Zero(t, w.rest)
			assert.Zero(t, w.held)
		})
	}
}

func TestWireSaysHowMuchOfTheRestWasWritten(t *testing.T) {
	header, payload := frame(1000)
	start := append(header, payload...)[:frameStart]
	for room, want := range map[int]int{0: 0, 10: 0, frameStart: 0, frameStart + 5: 5} {
		w := &wire{Conn: &recorder{room: room}}
		n, err := w.Write(start)
		require.NoError(t, err)
		require.Equal(t, frameStart, n)
		n, err = w.Write(payload[frameStart-len(header):])
		assert.ErrorIs(t, err, errFull)
		assert.Equal(t, want, n, "room for %d", room)
	}
}

// A client need not wait for the answer to its handshake; net/http has then read some of its frames.
func TestFramesRightBehindTheHandshake(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var b bytes.Buffer
	_, _ = fmt.Fprint(&b, "GET / HTTP/1.1\r\nHost: a\r\n")
	for k, v := range upgrade() {
		_, _ = fmt.Fprintf(&b, "%s: %s\r\n", k, v[0])
	}
	_, _ = b.WriteString("\r\n")
	open, err := tunnel.NewPage().AppendOpen(nil, tunnel.Open{Host: host, Port: port})
	require.NoError(t, err)
	for _, message := range [][]byte{open, {5, 0, 0, 1, 0}} {
		_, _ = b.Write([]byte{0x82, 0x80 | byte(len(message)), 0, 0, 0, 0})
		_, _ = b.Write(message)
	}
	_, err = conn.Write(b.Bytes())
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		line, err = in.ReadString('\n')
		require.NoError(t, err)
	}
	half := tunnel.NewPage()
	_, err = half.AppendOpen(nil, tunnel.Open{Host: host, Port: port})
	require.NoError(t, err)
	for {
		var head [4]byte
		_, err := io.ReadFull(in, head[:2])
		require.NoError(t, err)
		n := int(head[1])
		if n == 126 {
			_, err = io.ReadFull(in, head[2:])
			require.NoError(t, err)
			n = int(binary.BigEndian.Uint16(head[2:]))
		}
		message := make([]byte, n)
		_, err = io.ReadFull(in, message)
		require.NoError(t, err)
		f, err := half.Receive(message)
		require.NoError(t, err)
		require.Nil(t, f.Error)
		if f.Type == tunnel.TypeCredit {
			return
		}
	}
}
