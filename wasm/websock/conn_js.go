package websock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall/js"
	"time"

	"smtpscope/protocol/tunnel"
)

const (
	// Window is the credit that the proxy gets; a connection holds no more unread bytes.
	Window = 256 << 10
	// chunk is the most that one Write hands to the browser at once.
	chunk = 64 << 10
	// highWater is how much the browser may hold unsent before Write waits. It says when that
	// has gone only when it is asked, every poll.
	highWater = 256 << 10
	poll      = 5 * time.Millisecond
	// lastPackets is how long Close waits for the proxy to send what it captured of the end.
	lastPackets = 300 * time.Millisecond
)

// conn is a tunnel whose target is, or is about to be, connected. The browser calls the
// on* methods one at a time and waits for them: they never block.
type conn struct {
	url    string
	target string
	ws     js.Value
	events map[string]js.Func
	report Report

	writing sync.Mutex // one Write at a time
	out     []byte     // its buffer: headroom and payload

	mu        sync.Mutex
	changed   sync.Cond // on mu: anything below
	half      *tunnel.Half
	asked     bool           // OPEN has been sent
	dialed    bool           // Dial has returned: samples and packets are reported at once
	reports   []tunnel.Frame // for Dial to report
	captured  bool           // packets have come
	scratch   []byte         // the message being taken
	in        bytes.Buffer   // DATA not read yet
	taken     int            // DATA read and not granted again
	end       error          // why nothing more comes, other than EOF
	closed    bool           // Close has been called
	read      deadline
	write     deadline
	local     addr
	remote    addr
	pollTimer *time.Timer
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// lost is an error about the tunnel itself.
type lost struct {
	text   string
	causes []error
}

func (e *lost) Error() string   { return e.text }
func (e *lost) Unwrap() []error { return e.causes }

// Report gets what the proxy tells of the connection, in order: until the target is connected from Dial
// itself, and samples and packets after that from the browser's event, so its functions must not block. Either may be nil.
type Report struct {
	Status func(tunnel.Status)
	Packet func(tunnel.Packet) // its IP is only valid during the call
}

func (r Report) pass(f tunnel.Frame) {
	switch {
	case f.Status != nil && r.Status != nil:
		r.Status(*f.Status)
	case f.Packet != nil && r.Packet != nil:
		r.Packet(*f.Packet)
	}
}

// Dial opens a tunnel through the proxy at url (ws: or wss:) and returns when its target is connected.
//
// What the proxy reports by ERROR comes back as that *tunnel.Error, here and later from Read and Write.
// When the tunnel itself fails the error matches tunnel.ErrLost, and in mid-session also
// io.ErrUnexpectedEOF. The end of ctx ends Dial only.
//
// The connection has a CloseWrite method.
func Dial(ctx context.Context, url string, open tunnel.Open, report Report) (net.Conn, error) {
	half := tunnel.NewPage()
	hello, err := half.AppendOpen(nil, open)
	if err != nil {
		return nil, &tunnel.Error{Code: tunnel.CodeBadRequest, Message: fmt.Sprintf("The target cannot be asked for: %v.", err)}
	}
	grant, err := half.AppendCredit(nil, Window)
	if err != nil {
		return nil, err
	}
	c := &conn{url: url, target: net.JoinHostPort(open.Host, strconv.Itoa(open.Port)), report: report, half: half}
	c.changed.L = &c.mu
	if err := ctx.Err(); err != nil {
		return nil, c.late(err)
	}
	if err := c.start(func() {
		c.send(hello)
		c.send(grant)
	}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	if err := c.await(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// start makes the WebSocket; opened is called when it is open.
func (c *conn) start(opened func()) (err error) {
	defer func() {
		if thrown := recover(); thrown != nil {
			problem, ok := thrown.(js.Error)
			if !ok {
				panic(thrown)
			}
			err = &lost{fmt.Sprintf("The browser cannot open a tunnel to %s: %s. Check the address of the proxy; a page that came by https can use wss: only.", c.url, problem.Get("message").String()),
				[]error{tunnel.ErrLost}}
		}
	}()
	c.ws = js.Global().Get("WebSocket").New(c.url, tunnel.Subprotocol)
	c.ws.Set("binaryType", "arraybuffer")
	c.events = map[string]js.Func{
		"onopen":    js.FuncOf(func(js.Value, []js.Value) any { c.onOpen(opened); return nil }),
		"onmessage": js.FuncOf(func(_ js.Value, args []js.Value) any { c.onMessage(args[0].Get("data")); return nil }),
		// An error event says nothing, and a close event always follows.
		"onclose": js.FuncOf(func(_ js.Value, args []js.Value) any {
			c.onClose(args[0].Get("code").Int(), args[0].Get("reason").String())
			return nil
		}),
	}
	for name, f := range c.events {
		c.ws.Set(name, f)
	}
	return nil
}

// detach is to be called with mu held, when nothing more is wanted from the browser.
func (c *conn) detach() {
	for name, f := range c.events {
		c.ws.Set(name, js.Null())
		f.Release()
	}
	c.events = nil
}

// send hands a whole message to the browser, with mu held.
func (c *conn) send(message []byte) {
	b := js.Global().Get("Uint8Array").New(len(message))
	js.CopyBytesToJS(b, message)
	c.ws.Call("send", b)
}

func (c *conn) onOpen(opened func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over() {
		return
	}
	if name := c.ws.Get("protocol").String(); name != tunnel.Subprotocol {
		c.fail(&lost{fmt.Sprintf("What answers at %s does not speak %s: it is not smtpscope, or of another version. Check the address of the proxy.", c.url, tunnel.Subprotocol), []error{tunnel.ErrLost}})
		return
	}
	opened()
	c.asked = true
}

func (c *conn) onMessage(data js.Value) {
	now, err := c.take(data)
	if err != nil {
		c.mu.Lock()
		c.fail(err)
		c.mu.Unlock()
	}
	c.report.pass(now)
}

// take accepts one message. It returns what is to be reported at once.
func (c *conn) take(data js.Value) (now tunnel.Frame, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over() {
		return now, nil
	}
	if data.Type() != js.TypeObject {
		return now, tunnel.Violation("proxy", fmt.Errorf("text message: %w: every frame is binary", tunnel.ErrUnknownType))
	}
	n := data.Get("byteLength").Int()
	if n > tunnel.MaxMessage {
		return now, tunnel.Violation("proxy", fmt.Errorf("message of %d bytes: %w: at most %d", n, tunnel.ErrTooLong, tunnel.MaxMessage))
	}
	if n > cap(c.scratch) {
		c.scratch = make([]byte, n)
	}
	message := c.scratch[:n]
	js.CopyBytesToGo(message, js.Global().Get("Uint8Array").New(data))
	frame, err := c.half.Receive(message)
	if err != nil {
		return now, err
	}
	defer c.changed.Broadcast()
	switch frame.Type {
	case tunnel.TypeStatus, tunnel.TypePacket:
		c.captured = c.captured || frame.Packet != nil
		if c.dialed {
			return frame, nil
		}
		if frame.Packet != nil {
			frame.Packet.IP = bytes.Clone(frame.Packet.IP) // the next message comes to the same place
		}
		c.reports = append(c.reports, frame)
	case tunnel.TypeData:
		c.in.Write(frame.Data)
	case tunnel.TypeError:
		c.end = frame.Error
	}
	return now, nil
}

func (c *conn) onClose(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reason != "" {
		reason = fmt.Sprintf(", %q", reason)
	}
	switch {
	case c.over():
	case !c.asked:
		c.end = &lost{fmt.Sprintf("The tunnel at %s could not be opened. Is smtpscope still running? If it is, then it refused: because it does not accept pages of this origin (--origin), is being stopped, or is full. "+
			"Browsers do not tell a page which; the log of smtpscope does.", c.url), []error{tunnel.ErrLost}}
	case !c.half.Opened():
		c.end = &lost{fmt.Sprintf("The tunnel at %s was lost before %s was connected (close code %d%s). Is smtpscope still running?", c.url, c.target, code, reason),
			[]error{tunnel.ErrLost, io.ErrUnexpectedEOF}}
	case c.half.ReceivedEOF():
		c.end = fmt.Errorf("%s has closed the connection, and the tunnel with it: %w", c.target, io.ErrClosedPipe)
	default:
		c.end = &lost{fmt.Sprintf("The tunnel at %s was lost in mid-session (close code %d%s): smtpscope was stopped, or the network between this page and it broke. What %s did after that is not known here.",
			c.url, code, reason, c.target), []error{tunnel.ErrLost, io.ErrUnexpectedEOF}}
	}
	c.detach()
	c.changed.Broadcast()
}

// over tells, with mu held, whether what the browser still has to say no longer counts.
func (c *conn) over() bool { return c.closed || c.end != nil }

// fail ends the tunnel from this side, with mu held.
func (c *conn) fail(err error) {
	if c.over() {
		return
	}
	c.end = err
	c.shut()
	c.changed.Broadcast()
}

// shut closes the WebSocket, with mu held. What was handed to the browser is sent before (RFC 6455, 7.1.1
// and the WebSocket standard of the WHATWG); code 1000 is the only registered one that a page may use.
func (c *conn) shut() {
	c.detach()
	c.ws.Call("close", 1000)
}

// await reports what the proxy tells until the target is connected.
func (c *conn) await(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case len(c.reports) > 0:
			f := c.reports[0]
			c.reports = c.reports[1:]
			if s := f.Status; s != nil && s.Stage == tunnel.StageOpened {
				c.local, c.remote = addr(s.Local), addr(s.Address)
			}
			c.mu.Unlock()
			c.report.pass(f)
			c.mu.Lock()
		case c.half.Opened():
			c.dialed = true
			return nil
		case c.end != nil:
			return c.end
		case ctx.Err() != nil:
			return c.late(ctx.Err())
		default:
			c.changed.Wait()
		}
	}
}

// late says what had not happened when the context ended.
func (c *conn) late(err error) error {
	text := fmt.Sprintf("The tunnel at %s did not answer: is smtpscope still running?", c.url)
	switch {
	case errors.Is(err, context.Canceled):
		text = fmt.Sprintf("Opening the tunnel to %s was called off.", c.target)
	case c.asked:
		text = fmt.Sprintf("The tunnel at %s did not say in time whether %s can be connected. Try again; the log of smtpscope may tell why.", c.url, c.target)
	}
	return &lost{text, []error{tunnel.ErrLost, err}}
}

// Read returns everything that arrived before it reports why no more does: io.EOF when the
// target ended its side, or the reason of the end.
func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.read.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case c.in.Len() > 0:
			n, _ := c.in.Read(p)
			c.taken += n
			return n, c.topUp()
		case c.half.ReceivedEOF():
			return 0, io.EOF
		case c.end != nil:
			return 0, c.end
		}
		c.changed.Wait()
	}
}

// topUp grants again what has been read, once it is worth a frame.
func (c *conn) topUp() error {
	if c.taken < Window/4 || c.over() || c.half.ReceivedEOF() {
		return nil
	}
	message, err := c.half.AppendCredit(nil, uint32(c.taken))
	if err != nil {
		return err
	}
	c.taken = 0
	c.send(message)
	return nil
}

// Write returns when the browser has taken all of p. It waits as long as the proxy grants no credit.
func (c *conn) Write(p []byte) (written int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return written, net.ErrClosed
		case c.end != nil:
			return written, c.end
		case c.half.SentEOF():
			return written, fmt.Errorf("write after CloseWrite: %w", io.ErrClosedPipe)
		case c.write.passed:
			return written, os.ErrDeadlineExceeded
		case written == len(p):
			return written, nil
		}
		if n := min(c.half.Sendable(), len(p)-written, chunk); n > 0 && !c.congested() {
			c.out = append(append(c.out[:0], 0), p[written:written+n]...)
			if err := c.half.FrameData(c.out); err != nil {
				return written, err
			}
			c.send(c.out)
			written += n
			if written == len(p) {
				return written, nil
			}
			continue
		}
		c.changed.Wait()
	}
}

// congested tells whether the browser holds too much unsent, and sees to it that the question comes again.
func (c *conn) congested() bool {
	if c.ws.Get("bufferedAmount").Float() <= highWater {
		return false
	}
	if c.pollTimer == nil {
		c.pollTimer = time.AfterFunc(poll, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.pollTimer = nil
			c.changed.Broadcast()
		})
	}
	return true
}

// CloseWrite tells the target that no more comes. Reading goes on.
func (c *conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.end != nil:
		return c.end
	case c.half.SentEOF():
		return nil
	}
	message, err := c.half.AppendEOF(nil)
	if err != nil {
		return err
	}
	c.send(message)
	c.changed.Broadcast()
	return nil
}

// Close ends the tunnel in good order. What was written still reaches the target. It may be called again.
// Where packets are captured it waits for the last of them, but not for long.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.captured && c.dialed && !c.closed {
		c.linger()
	}
	if c.closed {
		return nil
	}
	c.closed = true
	c.shut()
	c.in = bytes.Buffer{}
	for _, d := range []*deadline{&c.read, &c.write} {
		d.stop()
	}
	if c.pollTimer != nil {
		c.pollTimer.Stop()
	}
	c.changed.Broadcast()
	return nil
}

// linger ends this side, with mu held, and leaves it to the proxy to close the WebSocket once the target has
// ended its own: a browser that was told to close it drops what still comes.
func (c *conn) linger() {
	if !c.over() && !c.half.SentEOF() {
		if message, err := c.half.AppendEOF(nil); err == nil {
			c.send(message)
		}
	}
	late := false
	timer := time.AfterFunc(lastPackets, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		late = true
		c.changed.Broadcast()
	})
	defer timer.Stop()
	for !c.over() && !late {
		c.changed.Wait()
	}
}

// LocalAddr is the proxy's end of the connection to the target.
func (c *conn) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// RemoteAddr is the address of the target that the proxy dialed.
func (c *conn) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}

func (c *conn) SetDeadline(t time.Time) error      { return c.setDeadline(t, &c.read, &c.write) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadline(t, &c.read) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, &c.write) }

func (c *conn) setDeadline(t time.Time, which ...*deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	for _, d := range which {
		d.set(t, c)
	}
	c.changed.Broadcast()
	return nil
}

// deadline is one direction's; conn.mu guards it.
type deadline struct {
	timer  *time.Timer
	passed bool
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) set(t time.Time, c *conn) {
	d.stop()
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.timer == timer { // not replaced meanwhile
			d.passed = true
			c.changed.Broadcast()
		}
	})
	d.timer = timer
}
