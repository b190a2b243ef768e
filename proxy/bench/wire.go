//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"time"

	"smtpscope/protocol/tunnel"
)

// framing is what a relay puts inside a WebSocket's binary messages.
type framing int

const (
	plain     framing = iota // bytes
	wisp                     // Wisp 1: type, stream, payload; the server tells how many messages it has room for
	smtpscope                // the protocol of package tunnel
)

// Frames of Wisp 1.
const (
	wispConnect  = 1
	wispData     = 2
	wispContinue = 3
	wispClose    = 4
	wispStream   = 1
)

// link is a page's connection to a target: through a relay, or without one. It is a WebSocket
// client with a masking key of 0, which costs this side nothing and the relay as much as any other.
// One goroutine may read and, where there is no credit to wait for, another may write.
type link struct {
	conn    net.Conn
	in      *bufio.Reader
	framing framing
	direct  bool

	left    int          // payload of the message that is being read
	room    int64        // what the relay takes: messages of Wisp, bytes of smtpscope
	half    *tunnel.Half // of smtpscope; room stands for what it may send
	regrant bool         // grant what was read, once it is much
	taken   int          // read and not granted yet
	ended   bool         // the target has ended its side
	header  [24]byte
	gather  net.Buffers
}

// ending is how a relay ended a link, in the words that a page could show.
type ending struct{ how string }

func (e *ending) Error() string { return e.how }

const patience = 20 * time.Second

// dial opens a link to the target. credit is granted at the start; with regrant what is read later too.
func dial(r *contender, listen, target string, buffer int, credit uint32, regrant bool) (*link, error) {
	address := listen
	if r.command == nil {
		address = target
	}
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	l := &link{conn: conn, in: bufio.NewReaderSize(conn, buffer), framing: r.framing, direct: r.command == nil, regrant: regrant}
	if l.direct {
		return l, nil
	}
	if err := l.open(r.path, listen, target, credit); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l, nil
}

func (l *link) open(path, listen, target string, credit uint32) error {
	if path == "" {
		path = "/"
	}
	subprotocol := ""
	switch l.framing {
	case plain:
		subprotocol = "Sec-WebSocket-Protocol: binary\r\n"
	case smtpscope:
		subprotocol = "Sec-WebSocket-Protocol: " + tunnel.Subprotocol + "\r\n"
	}
	_, err := fmt.Fprintf(l.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", path, listen, listen, subprotocol)
	if err != nil {
		return err
	}
	status, err := l.in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.Contains(status, " 101 ") {
		return &ending{"HTTP " + strings.TrimSpace(status)}
	}
	for line := ""; line != "\r\n"; {
		if line, err = l.in.ReadString('\n'); err != nil {
			return err
		}
	}
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return err
	}
	var number uint16
	if _, err := fmt.Sscan(port, &number); err != nil {
		return err
	}
	switch l.framing {
	case wisp:
		for l.room == 0 { // CONTINUE for stream 0 comes first
			if err := l.next(); err != nil {
				return err
			}
		}
		connect := []byte{wispConnect, wispStream, 0, 0, 0, 1, 0, 0}
		binary.LittleEndian.PutUint16(connect[6:], number)
		return l.message(append(connect, host...))
	case smtpscope:
		l.half = tunnel.NewPage()
		b, err := l.half.AppendOpen(nil, tunnel.Open{Host: host, Port: int(number)})
		if err != nil {
			return err
		}
		if err := l.message(b); err != nil {
			return err
		}
		return l.grant(credit)
	}
	return nil
}

func (l *link) grant(n uint32) error {
	if n == 0 {
		return nil
	}
	b, err := l.half.AppendCredit(nil, n)
	if err != nil {
		return err
	}
	return l.message(b)
}

// message writes one binary message.
func (l *link) message(b []byte) error {
	_, err := l.conn.Write(append(appendFrameHeader(nil, opBinary, len(b)), b...))
	return err
}

const (
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// appendFrameHeader appends the header of a client's whole message, with a masking key of 0.
func appendFrameHeader(dst []byte, opcode byte, n int) []byte {
	const final, masked = 0x80, 0x80
	dst = append(dst, final|opcode)
	switch {
	case n < 126:
		dst = append(dst, masked|byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, masked|127), uint64(n))
	}
	return append(dst, 0, 0, 0, 0)
}

// Write sends p in one message, as soon as the relay has room for it.
func (l *link) Write(p []byte) (int, error) {
	if l.direct {
		return l.conn.Write(p)
	}
	var head []byte
	switch l.framing {
	case plain:
		head = appendFrameHeader(l.header[:0], opBinary, len(p))
	case wisp:
		if err := l.waitForRoom(1); err != nil {
			return 0, err
		}
		head = append(appendFrameHeader(l.header[:0], opBinary, 5+len(p)), wispData, wispStream, 0, 0, 0)
	case smtpscope:
		if err := l.waitForRoom(len(p)); err != nil {
			return 0, err
		}
		head = append(appendFrameHeader(l.header[:0], opBinary, 1+len(p)), byte(tunnel.TypeData))
	}
	parts := append(l.gather[:0], head, p)
	if _, err := parts.WriteTo(l.conn); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (l *link) waitForRoom(n int) error {
	for l.room < int64(n) {
		if l.left > 0 {
			return errors.New("payload came while the link waited for room to write")
		}
		if err := l.next(); err != nil {
			return err
		}
	}
	l.room -= int64(n)
	return nil
}

// Read reads payload.
func (l *link) Read(p []byte) (int, error) {
	if l.direct {
		return l.in.Read(p)
	}
	for l.left == 0 {
		if l.ended {
			return 0, io.EOF
		}
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n, err := l.in.Read(p[:min(len(p), l.left)])
	l.left -= n
	if l.half != nil && n > 0 {
		if violation := l.half.ReceiveData(n); violation != nil {
			return n, violation
		}
		if l.taken += n; l.regrant && l.taken >= 1<<20 {
			if err := l.grant(uint32(l.taken)); err != nil {
				return n, err
			}
			l.taken = 0
		}
	}
	return n, err
}

// next reads the head of one message, and all of it when it carries no payload.
func (l *link) next() error {
	opcode, n, err := l.frame()
	if err != nil {
		return err
	}
	switch opcode {
	case opBinary:
	case opPing, opPong:
		_, err := l.in.Discard(n)
		return err
	case opClose:
		code := uint16(1005)
		if n >= 2 {
			var b [2]byte
			if _, err := io.ReadFull(l.in, b[:]); err != nil {
				return err
			}
			code = binary.BigEndian.Uint16(b[:])
		}
		return &ending{fmt.Sprintf("close %d", code)}
	default:
		return fmt.Errorf("the relay sent a frame with opcode %d", opcode)
	}
	switch l.framing {
	case wisp:
		return l.nextWisp(n)
	case smtpscope:
		return l.nextTunnel(n)
	}
	l.left = n
	return nil
}

// frame reads the header of a frame; a server does not mask.
func (l *link) frame() (opcode byte, n int, err error) {
	var b [8]byte
	if _, err := io.ReadFull(l.in, b[:2]); err != nil {
		return 0, 0, err
	}
	opcode, n = b[0]&0x0f, int(b[1])
	switch n {
	case 126:
		_, err = io.ReadFull(l.in, b[:2])
		n = int(binary.BigEndian.Uint16(b[:]))
	case 127:
		_, err = io.ReadFull(l.in, b[:8])
		n = int(binary.BigEndian.Uint64(b[:]))
	}
	return opcode, n, err
}

func (l *link) nextWisp(n int) error {
	var head [5]byte
	if n < len(head) {
		return fmt.Errorf("a Wisp packet of %d bytes", n)
	}
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return err
	}
	n -= len(head)
	if head[0] == wispData {
		l.left = n
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(l.in, b); err != nil {
		return err
	}
	switch {
	case head[0] == wispContinue && n == 4:
		l.room = int64(binary.LittleEndian.Uint32(b))
	case head[0] == wispClose && n == 1:
		return &ending{fmt.Sprintf("CLOSE %#02x", b[0])}
	default:
		return fmt.Errorf("a Wisp packet of type %d with %d bytes", head[0], n)
	}
	return nil
}

func (l *link) nextTunnel(n int) error {
	kind, err := l.in.Peek(1)
	if err != nil {
		return err
	}
	if tunnel.Type(kind[0]) == tunnel.TypeData {
		l.left = n - 1
		_, err := l.in.Discard(1)
		return err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(l.in, b); err != nil {
		return err
	}
	f, err := l.half.Receive(b)
	if err != nil {
		return err
	}
	switch f.Type {
	case tunnel.TypeCredit:
		l.room += int64(f.Credit)
	case tunnel.TypeEOF:
		l.ended = true
	case tunnel.TypeError:
		return &ending{"ERROR " + string(f.Error.Code)}
	}
	return nil
}

// CloseWrite says that the page sends no more, where the framing has a word for it.
func (l *link) CloseWrite() error {
	switch {
	case l.direct:
		return l.conn.(*net.TCPConn).CloseWrite()
	case l.half != nil:
		b, err := l.half.AppendEOF(nil)
		if err != nil {
			return err
		}
		return l.message(b)
	}
	return errors.ErrUnsupported
}

// Close ends the link without ceremony.
func (l *link) Close() error { return l.conn.Close() }

// ask tells the target how to serve this link, and waits until it has understood.
func (l *link) ask(format string, args ...any) error {
	if _, err := fmt.Fprintf(l, format+"\n", args...); err != nil {
		return err
	}
	answer := make([]byte, 3)
	if _, err := io.ReadFull(l, answer); err != nil {
		return err
	}
	if string(answer) != "ok\n" {
		return fmt.Errorf("the target answered %q", answer)
	}
	return nil
}
