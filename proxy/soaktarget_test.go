package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// How a target of the soak behaves. The page asks for it in the head of what it sends.
type kind int

const (
	echoes  kind = iota // sends back all that it reads, then ends
	sinks               // reads to the end
	sources             // sends while it reads
	halves              // sends and ends its side, then reads
	sips                // reads slowly
	silent              // neither reads nor sends
	resets              // resets the connection when it has read so much
	kinds
)

// headSize is the length of what a page sends first: id, kind, how much to send, when to reset.
const headSize = 8 + 3*4

func (c scenario) head() []byte {
	head := binary.BigEndian.AppendUint64(nil, c.id)
	for _, n := range []int{int(c.kind), c.down, c.after} {
		head = binary.BigEndian.AppendUint32(head, uint32(n))
	}
	return head
}

// visit is what a target saw of one tunnel. done is closed when it has seen all.
type visit struct {
	leave     chan struct{} // closed when the page is done: what the silent target waits for
	done      chan struct{}
	got, sent int64
	wrong     error
}

// listen starts the target of all tunnels.
func (s *soak) listen() {
	dead, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(s.t, err)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(s.t, err)
	s.port, s.deadPort = l.Addr().(*net.TCPAddr).Port, dead.Addr().(*net.TCPAddr).Port
	require.NoError(s.t, dead.Close())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(conn.(*net.TCPConn)) })
		}
	})
	s.t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
}

func (s *soak) serve(conn *net.TCPConn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(s.patience))
	head := make([]byte, headSize)
	if _, err := io.ReadFull(conn, head); err != nil {
		return // the page went before it said what it wants
	}
	field := func(i int) int64 { return int64(binary.BigEndian.Uint32(head[8+4*i:])) }
	id, kind, down, after := binary.BigEndian.Uint64(head), kind(field(0)), field(1), field(2)
	found, ok := s.visits.Load(id)
	if !ok {
		s.t.Errorf("a target was asked by a page that there is not, %d", id)
		return
	}
	v := found.(*visit)
	v.got = headSize
	defer close(v.done)
	up := newStream(id, upward)
	// How a connection ends is for the page to judge; the bytes are to be right until then.
	take := func(from io.Reader) {
		n, err := up.compare(from)
		v.got += n
		if errors.Is(err, errWrong) {
			v.wrong = err
		}
	}
	give := func() {
		n, _ := io.Copy(conn, io.LimitReader(newStream(id, downward), down))
		v.sent += n
		_ = conn.CloseWrite()
	}
	switch kind {
	case echoes:
		echo := counter{to: conn}
		take(io.TeeReader(conn, &echo))
		v.sent = echo.n
	case sinks:
		take(conn)
	case sources:
		var giving sync.WaitGroup
		giving.Go(give)
		take(conn)
		giving.Wait()
	case halves:
		give()
		take(conn)
	case sips:
		take(slowly{conn})
	case silent:
		<-v.leave
		take(conn)
	case resets:
		take(io.LimitReader(conn, after))
		_ = conn.SetLinger(0)
	}
}

// counter counts what gets through to a writer.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// slowly reads a piece every millisecond.
type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.Reader.Read(p[:min(len(p), 16<<10)])
}

// The two directions of a tunnel.
const (
	upward byte = iota
	downward
)

// stream is the bytes of one direction of a tunnel: each one is known by its place.
type stream struct{ source *rand.ChaCha8 }

func newStream(id uint64, direction byte) *stream {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], id)
	seed[8] = direction
	return &stream{rand.NewChaCha8(seed)}
}

func (s *stream) next(p []byte) { _, _ = s.source.Read(p) }

func (s *stream) Read(p []byte) (int, error) { return s.source.Read(p) }

// compare reads to the end, which is no error, and says how many bytes there were.
func (s *stream) compare(from io.Reader) (n int64, err error) {
	got, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		m, err := from.Read(got)
		s.next(want[:m])
		if !bytes.Equal(got[:m], want[:m]) {
			return n, fmt.Errorf("%w between %d and %d", errWrong, n, n+int64(m))
		}
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
