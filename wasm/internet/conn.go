package internet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// flow is what a conn reads from and writes to, without ever waiting. Only the
// driver calls it.
type flow interface {
	read(p []byte) (int, tcpip.Error)
	write(p []byte) (int, tcpip.Error) // as much as can be taken
	closeWrite() tcpip.Error
	close()
}

// conn is a program's end of a connection. It implements net.Conn.
type conn struct {
	socket
	network       string
	local, remote net.Addr
	flow          flow
	closing       atomic.Bool
	nonce         uint16 // drawn when it was dialed, for the DNS

	// The driver's own.
	closed      bool
	reading     deadline
	writing     deadline
	readAgainAt time.Duration // when a slow program comes back
}

// deadline is on the lab's clock.
type deadline struct {
	alarm  *timer
	passed bool
}

// newConn makes a connection on the driver, which gives it its number.
func (h *Host) newConn(network string, local, remote netip.AddrPort) *conn {
	h.lab.sockets++
	c := &conn{network: network, nonce: uint16(h.chance.Uint64())}
	c.host, c.id = h, maxPort+h.lab.sockets
	if network == "udp" {
		c.local, c.remote = net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote)
	} else {
		c.local, c.remote = net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(remote)
	}
	return c
}

// maxPort is the number of the last socket that listens.
const maxPort = 65535

// hear wakes the calls of a socket when the stack says that it is ready.
func (s *socket) hear(q *waiter.Queue) {
	entry := waiter.NewFunctionEntry(waiter.ReadableEvents|waiter.WritableEvents|waiter.EventErr|waiter.EventHUp,
		func(mask waiter.EventMask) {
			if mask&(waiter.ReadableEvents|waiter.EventErr|waiter.EventHUp) != 0 {
				s.wake(callRead)
			}
			if mask&(waiter.WritableEvents|waiter.EventErr|waiter.EventHUp) != 0 {
				s.wake(callWrite)
			}
		})
	q.EventRegister(&entry)
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.closing.Load() {
		return 0, c.fail("read", net.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.host.lab.ask(&call{socket: &c.socket, kind: callRead, try: func(k *call) bool {
		switch {
		case c.closed:
			k.err = net.ErrClosed
		case c.reading.passed:
			k.err = os.ErrDeadlineExceeded
		case c.host.lab.clock.elapsed() < c.readAgainAt:
			return false
		default:
			n, err := c.flow.read(p)
			if wouldBlock(err) {
				return false
			}
			k.n, k.err = n, errorOf(err, "read")
			c.pause(n)
		}
		return true
	}})
	return n, c.fail("read", err)
}

// pause keeps a slow program from reading again too soon.
func (c *conn) pause(n int) {
	if c.host.readRate == 0 || n == 0 {
		return
	}
	d := time.Duration(float64(n) * 8 * 1e9 / c.host.readRate)
	c.readAgainAt = c.host.lab.clock.elapsed() + d
	c.host.lab.clock.after(d, nil, func() { c.wake(callRead) })
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.closing.Load() {
		return 0, c.fail("write", net.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.host.lab.ask(&call{socket: &c.socket, kind: callWrite, try: func(k *call) bool {
		switch {
		case c.closed:
			k.err = net.ErrClosed
		case c.writing.passed:
			k.err = os.ErrDeadlineExceeded
		default:
			n, err := c.flow.write(p[k.n:])
			k.n += n
			if wouldBlock(err) {
				return false
			}
			k.err = errorOf(err, "write")
		}
		return true
	}})
	return n, c.fail("write", err)
}

// CloseWrite sends FIN behind what was written; reading goes on.
func (c *conn) CloseWrite() error {
	_, err := c.host.lab.ask(&call{socket: &c.socket, kind: callClose, try: func(k *call) bool {
		k.err = errorOf(c.flow.closeWrite(), "shutdown")
		return true
	}})
	return c.fail("close", err)
}

// Close implements net.Conn. It does not wait, so that it can be called with any
// lock held.
func (c *conn) Close() error {
	if c.closing.Swap(true) {
		return c.fail("close", net.ErrClosed)
	}
	c.host.lab.post(&call{socket: &c.socket, kind: callClose, try: func(*call) bool {
		c.closeNow()
		return true
	}})
	return nil
}

// closeNow is Close on the driver.
func (c *conn) closeNow() {
	c.closing.Store(true)
	c.closed = true
	c.reading.stop()
	c.writing.stop()
	c.flow.close()
	c.wake(callRead | callWrite)
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn. A deadline made from Lab.Now is kept exactly.
// One made from time.Now is taken as a duration from now on, so that it runs on
// the lab's clock and a paused lab cannot miss it. What the program spent between
// time.Now and here is rounded away: the duration is rounded up to 10 ms, to
// 100 ms from 1 s on and to 1 s from 10 s on.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadline(t, &c.reading, &c.writing) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadline(t, &c.reading) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, &c.writing) }

func (c *conn) setDeadline(t time.Time, which ...*deadline) error {
	if c.closing.Load() {
		return c.fail("set", net.ErrClosed)
	}
	d := c.host.lab.until(t)
	c.host.lab.post(&call{socket: &c.socket, kind: callSet, try: func(*call) bool {
		for _, x := range which {
			x.stop()
			x.passed = !t.IsZero() && d <= 0
			if !t.IsZero() && d > 0 && !c.closed {
				x.alarm = c.host.lab.clock.after(d, nil, func() { x.passed = true; c.wake(callRead | callWrite) })
			}
		}
		c.wake(callRead | callWrite)
		return true
	}})
	return nil
}

func (d *deadline) stop() {
	if d.alarm != nil {
		d.alarm.Stop()
	}
}

// until is how far away a deadline is on the lab's clock.
func (l *Lab) until(t time.Time) time.Duration {
	if t.Location() == zone {
		return t.Sub(l.Now())
	}
	d := time.Until(t)
	grain := 10 * time.Millisecond
	switch {
	case d > 10*time.Second:
		grain = time.Second
	case d > time.Second:
		grain = 100 * time.Millisecond
	case d <= 0:
		return d
	}
	return (d + grain - 1) / grain * grain
}

func (c *conn) fail(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return opError(op, c.network, c.local, c.remote, err)
}

func wouldBlock(err tcpip.Error) bool {
	_, is := err.(*tcpip.ErrWouldBlock)
	return is
}

// listener implements net.Listener.
type listener struct {
	socket
	network string
	address net.Addr
	closing atomic.Bool
	// next is the next connection, if there is one, and shut closes the endpoint.
	// Only the driver calls them.
	next   func() (*conn, tcpip.Error)
	shut   func()
	closed bool
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if l.closing.Load() {
		return nil, opError("accept", l.network, nil, l.address, net.ErrClosed)
	}
	var accepted *conn
	_, err := l.host.lab.ask(&call{socket: &l.socket, kind: callRead, try: func(k *call) bool {
		if l.closed {
			k.err = net.ErrClosed
			return true
		}
		c, err := l.next()
		if wouldBlock(err) {
			return false
		}
		accepted, k.err = c, errorOf(err, "accept")
		return true
	}})
	if err != nil {
		return nil, opError("accept", l.network, nil, l.address, err)
	}
	return accepted, nil
}

// Close implements net.Listener. Like conn.Close it does not wait.
func (l *listener) Close() error {
	if l.closing.Swap(true) {
		return opError("close", l.network, nil, l.address, net.ErrClosed)
	}
	l.host.lab.post(&call{socket: &l.socket, kind: callClose, try: func(*call) bool {
		l.closed = true
		l.shut()
		l.wake(callRead)
		return true
	}})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.address }

// dial connects to one address. The purpose tells it from other calls that dial
// the same address at the same instant; greet sends the datagram that Dial speaks of.
func (h *Host) dial(ctx context.Context, network string, to netip.AddrPort, purpose string, greet bool) (*conn, error) {
	connect, remote := h.connectTCP, net.Addr(net.TCPAddrFromAddrPort(to))
	if network == "udp" {
		connect, remote = h.connectUDP, net.UDPAddrFromAddrPort(to)
	}
	if !to.Addr().Is4() {
		return nil, opError("dial", network, nil, remote, errorOf(&tcpip.ErrNetworkUnreachable{}, "connect"))
	}
	var (
		s      = &socket{host: h}
		try    *attempt
		gaveUp bool
		made   *conn
	)
	c := &call{socket: s, kind: callWrite, detail: network + " " + to.String() + " " + purpose, done: make(chan struct{})}
	c.try = func(k *call) bool {
		switch {
		case gaveUp && try != nil:
			try.abandon()
			return true
		case gaveUp:
			return true
		case try == nil:
			try = connect(s, to)
		}
		done, err := try.poll()
		switch {
		case err != nil:
			k.err = errorOf(err, "connect")
			try.abandon()
		case !done:
			return false
		default:
			made = try.conn()
			if greet {
				_, err := made.flow.write(nil)
				k.err = errorOf(err, "write")
			}
		}
		return true
	}
	if h.lab.post(c) {
		select {
		case <-c.done:
		case <-ctx.Done():
			h.lab.post(&call{socket: s, kind: callClose, try: func(*call) bool {
				gaveUp = true
				if made != nil {
					made.closeNow()
				}
				s.wake(callWrite)
				return true
			}})
			return nil, opError("dial", network, nil, remote, ctx.Err())
		}
	}
	if c.err != nil {
		return nil, opError("dial", network, nil, remote, c.err)
	}
	return made, nil
}

// attempt is a connection being made. Only the driver uses it.
type attempt struct {
	poll    func() (done bool, err tcpip.Error)
	conn    func() *conn
	abandon func()
}
