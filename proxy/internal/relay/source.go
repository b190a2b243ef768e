package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"smtpscope/protocol/tunnel"
)

type large [tunnel.MaxMessage]byte

var larges = sync.Pool{New: func() any { return new(large) }}

// source reads a target as much at a time as a DATA frame carries, and holds a buffer only while there
// is something in it: a target that says nothing costs none.
//
// That takes a connection whose descriptor can be read without waiting. With any other (a pipe, another system)
// a buffer is held while the source waits.
type source struct {
	conn  net.Conn
	raw   syscall.RawConn // nil for a connection that has none
	ready func(fd uintptr) bool

	buf   *large // nil when it has none
	limit int
	n     int
	err   error
}

func newSource(conn net.Conn) *source {
	s := &source{conn: conn}
	if c, ok := conn.(syscall.Conn); ok && canReadNow {
		s.raw, _ = c.SyscallConn()
	}
	s.ready = s.readReady
	return s
}

// read waits for at most limit bytes and returns them behind one byte of headroom. They are good
// until release or the next read.
func (s *source) read(limit int) ([]byte, error) {
	if s.limit = 1 + limit; s.raw == nil {
		s.borrow()
		n, err := s.conn.Read(s.buf[1:s.limit])
		return s.buf[:1+n], err
	}
	s.n, s.err = 0, nil
	err := s.raw.Read(s.ready)
	if err == nil {
		err = s.err
	}
	if s.n == 0 {
		return nil, err
	}
	return s.buf[:1+s.n], err
}

// readReady reads what has come; false when nothing has.
func (s *source) readReady(fd uintptr) bool {
	s.borrow()
	n, err := readNow(fd, s.buf[1:s.limit])
	switch {
	case errors.Is(err, syscall.EAGAIN):
		s.release()
		return false
	case err != nil:
		s.err = &net.OpError{Op: "read", Net: s.conn.RemoteAddr().Network(), Source: s.conn.LocalAddr(), Addr: s.conn.RemoteAddr(), Err: err}
	case n == 0:
		s.err = io.EOF
	}
	s.n = max(n, 0)
	return true
}

func (s *source) borrow() {
	if s.buf == nil {
		s.buf = larges.Get().(*large)
	}
}

// release gives the buffer back.
func (s *source) release() {
	if s.buf != nil {
		larges.Put(s.buf)
		s.buf = nil
	}
}
