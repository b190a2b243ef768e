package relay

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/http"
)

// wire is the connection under a WebSocket, as the library gets it at Hijack. It lets the library
// keep small buffers only, and still writes every frame at once: what the library writes
// piecemeal, header first, leaves the wire in one system call.
//
// It knows no more of WebSocket than the length of a server's frame (RFC 6455, 5.2).
type wire struct {
	net.Conn
	early []byte // what net/http had read ahead

	// For the library's one writer at a time.
	start [frameStart]byte // of a frame whose rest is yet to come
	held  int              // bytes in start
	rest  int              // bytes of the frame that follow them
	parts [2][]byte
	both  net.Buffers // of parts, here for not being allocated every time
}

const (
	// frameStart holds the longest header of a server's frame, and more.
	frameStart = 16
	// readAhead is enough for a command of SMTP, its reply, or a header; longer payload
	// is read to where it belongs.
	readAhead = 512
)

// hijacker takes the connection away from net/http, and leaves net/http its buffers.
type hijacker struct {
	http.ResponseWriter
	wire *wire
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early := make([]byte, rw.Reader.Buffered())
	_, _ = rw.Reader.Read(early)
	h.wire = &wire{Conn: conn, early: early}
	return h.wire, bufio.NewReadWriter(bufio.NewReaderSize(h.wire, readAhead), bufio.NewWriterSize(h.wire, frameStart)), nil
}

func (w *wire) Read(p []byte) (int, error) {
	if len(w.early) > 0 {
		n := copy(p, w.early)
		w.early = w.early[n:]
		return n, nil
	}
	return w.Conn.Read(p)
}

// Write is called with a frame's first bytes, the whole header among them, and then with the
// rest of it, if that did not fit into a buffer of frameStart bytes.
func (w *wire) Write(p []byte) (int, error) {
	if w.rest > 0 {
		held := w.held
		w.held, w.rest = 0, w.rest-len(p)
		w.parts = [2][]byte{w.start[:held], p}
		w.both = w.parts[:]
		n, err := w.both.WriteTo(w.Conn)
		w.parts = [2][]byte{} // p goes back to its owner
		return max(0, int(n)-held), err
	}
	if rest := frameLength(p) - len(p); rest > 0 {
		w.held, w.rest = copy(w.start[:], p), rest
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// frameLength is how long the frame is that begins with b.
func frameLength(b []byte) int {
	switch n := int(b[1]); {
	case n < 126:
		return 2 + n
	case n == 126:
		return 4 + int(binary.BigEndian.Uint16(b[2:]))
	default:
		return 10 + int(binary.BigEndian.Uint64(b[2:]))
	}
}
