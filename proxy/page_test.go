//lint:file-ignore SA1019 nhooyr.io/websocket is marked deprecated since it changed its name.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"nhooyr.io/websocket"

	"smtpscope/protocol/session"
	"smtpscope/protocol/tunnel"
)

// pageWindow is the credit that a page of the tests grants, like a browser's.
const pageWindow = 256 << 10

// page is a page's end of a tunnel as a net.Conn, outside of a browser. What it gets
// wrong on purpose, a test does with frame and tcp.
type page struct {
	ws   *websocket.Conn
	tcp  *net.TCPConn  // under it
	over chan struct{} // closed when nothing more comes
	gate sync.Mutex    // whoever holds it keeps the page from reading

	writing sync.Mutex // held while a frame is made and written

	mu       sync.Mutex
	changed  sync.Cond // on mu: anything below
	half     *tunnel.Half
	statuses []tunnel.Status // not reported yet
	opened   tunnel.Status
	session  string // the proxy's name for the tunnel
	in       bytes.Buffer
	taken    int   // read and not granted again
	up, down int64 // DATA sent and received
	end      error // why nothing more comes, other than EOF
	code     websocket.StatusCode
	read     deadline
	write    deadline
}

// deadline is one direction's; page.mu guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// connect makes the WebSocket.
func connect(ctx context.Context, url string) (*page, error) {
	p := &page{half: tunnel.NewPage(), over: make(chan struct{})}
	p.changed.L = &p.mu
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			p.tcp = conn.(*net.TCPConn)
		}
		return conn, err
	}}}
	ws, _, err := websocket.Dial(ctx, url+"/tunnel", &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"Origin": {url}}, Subprotocols: []string{tunnel.Subprotocol},
	})
	if err != nil {
		return nil, fmt.Errorf("the tunnel at %s cannot be opened: %w (%v)", url, tunnel.ErrLost, err)
	}
	ws.SetReadLimit(tunnel.MaxMessage)
	p.ws = ws
	go p.receive()
	return p, nil
}

// dialThrough is a session.Dialer that goes through the proxy at url.
func dialThrough(url string) session.Dialer {
	return func(ctx context.Context, target session.Target, report func(tunnel.Status)) (net.Conn, error) {
		p, err := connect(ctx, url)
		if err != nil {
			return nil, err
		}
		if err := p.open(ctx, tunnel.Open{Host: target.Host, Port: target.Port}, report); err != nil {
			_ = p.Close()
			return nil, err
		}
		return p, nil
	}
}

// ask sends OPEN and grants a window.
func (p *page) ask(open tunnel.Open) error {
	p.mu.Lock()
	messages, err := p.half.AppendOpen(nil, open)
	hello := len(messages)
	if err == nil {
		messages, err = p.half.AppendCredit(messages, pageWindow)
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if err := p.frame(messages[:hello]); err != nil {
		return err
	}
	// To OPEN the proxy may have said no already.
	_ = p.frame(messages[hello:])
	return nil
}

// open asks, and waits until the target is connected.
func (p *page) open(ctx context.Context, open tunnel.Open, report func(tunnel.Status)) error {
	defer context.AfterFunc(ctx, p.wake)()
	if err := p.ask(open); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case len(p.statuses) > 0:
			s := p.statuses[0]
			p.statuses = p.statuses[1:]
			p.mu.Unlock()
			report(s)
			p.mu.Lock()
		case p.half.Opened():
			return nil
		case p.end != nil:
			return p.end
		case ctx.Err() != nil:
			return fmt.Errorf("the tunnel did not open in time: %w: %w", tunnel.ErrLost, ctx.Err())
		default:
			p.changed.Wait()
		}
	}
}

// frame sends one message as it is.
func (p *page) frame(message []byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return p.put(message)
}

func (p *page) send(build func(dst []byte) ([]byte, error)) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	message, err := build(nil)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	return p.put(message)
}

// put writes a message. Why that fails is told by the other direction, if by any.
func (p *page) put(message []byte) error {
	err := p.ws.Write(context.Background(), websocket.MessageBinary, message)
	if err == nil {
		return nil
	}
	select {
	case <-p.over:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.end
	case <-time.After(5 * time.Second):
		return fmt.Errorf("%w (%v)", tunnel.ErrLost, err)
	}
}

// receive takes frames to the end.
func (p *page) receive() {
	defer close(p.over)
	for {
		p.pass()
		_, message, err := p.ws.Read(context.Background())
		if err == nil {
			err = p.take(message)
		}
		if err != nil {
			p.mu.Lock()
			if p.end == nil {
				p.end = fmt.Errorf("%w in mid-session: %w (%v)", tunnel.ErrLost, io.ErrUnexpectedEOF, err)
			}
			p.code = websocket.CloseStatus(err)
			p.mu.Unlock()
			_ = p.SetDeadline(time.Time{}) // nobody waits any more
			_ = p.ws.CloseNow()
			return
		}
	}
}

// pass waits for the gate.
func (p *page) pass() {
	p.gate.Lock()
	defer p.gate.Unlock()
}

func (p *page) take(message []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	frame, err := p.half.Receive(message)
	if err != nil {
		p.end = err
		return err
	}
	switch frame.Type {
	case tunnel.TypeStatus:
		p.session = frame.Status.Session
		if frame.Status.Stage == tunnel.StageOpened {
			p.opened = *frame.Status
		}
		p.statuses = append(p.statuses, *frame.Status)
	case tunnel.TypeData:
		p.down += int64(len(frame.Data))
		p.in.Write(frame.Data)
	case tunnel.TypeError:
		p.end = frame.Error
	}
	return nil
}

func (p *page) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

func (p *page) Read(b []byte) (int, error) {
	p.mu.Lock()
	for p.in.Len() == 0 && p.end == nil && !p.half.ReceivedEOF() && !p.read.passed() {
		p.changed.Wait()
	}
	n, grant := 0, 0
	var err error
	switch {
	case p.in.Len() > 0:
		n, _ = p.in.Read(b)
		if p.taken += n; p.taken >= pageWindow/4 && p.end == nil && !p.half.ReceivedEOF() {
			grant, p.taken = p.taken, 0
		}
	case p.half.ReceivedEOF():
		err = io.EOF
	case p.end != nil:
		err = p.end
	default:
		err = os.ErrDeadlineExceeded
	}
	p.mu.Unlock()
	if grant > 0 {
		// Should the tunnel have ended, the next Read says so.
		_ = p.send(func(dst []byte) ([]byte, error) { return p.half.AppendCredit(dst, uint32(grant)) })
	}
	return n, err
}

func (p *page) Write(b []byte) (int, error) {
	for written := 0; ; {
		p.mu.Lock()
		for p.half.Sendable() == 0 && p.end == nil && !p.write.passed() && !p.half.SentEOF() {
			p.changed.Wait()
		}
		n, end, late := min(p.half.Sendable(), len(b)-written), p.end, p.write.passed()
		p.mu.Unlock()
		switch {
		case written == len(b):
			return written, nil
		case end != nil:
			return written, end
		case late:
			return written, os.ErrDeadlineExceeded
		case n == 0:
			return written, io.ErrClosedPipe
		}
		err := p.send(func(dst []byte) ([]byte, error) {
			frame := append(append(dst, 0), b[written:written+n]...)
			if err := p.half.FrameData(frame); err != nil {
				return nil, err
			}
			p.up += int64(n)
			return frame, nil
		})
		if err != nil {
			return written, err
		}
		written += n
	}
}

// CloseWrite sends EOF.
func (p *page) CloseWrite() error { return p.send(p.half.AppendEOF) }

// Close ends the tunnel in good order.
func (p *page) Close() error {
	return p.ws.Close(websocket.StatusNormalClosure, "")
}

// abort resets the TCP connection, as a machine does that is switched off and on.
func (p *page) abort() {
	_ = p.tcp.SetLinger(0)
	_ = p.tcp.Close()
}

// wait returns when nothing more comes.
func (p *page) wait(ctx context.Context) error {
	select {
	case <-p.over:
		return nil
	case <-ctx.Done():
		return errors.New("the tunnel does not end")
	}
}

// verdict is how it ended, once it has: the ERROR or nil, and the code of the Close frame or -1.
func (p *page) verdict() (*tunnel.Error, websocket.StatusCode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var failure *tunnel.Error
	if errors.As(p.end, &failure) {
		return failure, -1
	}
	return nil, p.code
}

func (p *page) LocalAddr() net.Addr  { return pageAddr(p.opened.Local) }
func (p *page) RemoteAddr() net.Addr { return pageAddr(p.opened.Address) }

type pageAddr string

func (pageAddr) Network() string  { return "tcp" }
func (a pageAddr) String() string { return string(a) }

func (p *page) SetDeadline(t time.Time) error      { return p.setDeadline(t, &p.read, &p.write) }
func (p *page) SetReadDeadline(t time.Time) error  { return p.setDeadline(t, &p.read) }
func (p *page) SetWriteDeadline(t time.Time) error { return p.setDeadline(t, &p.write) }

func (p *page) setDeadline(t time.Time, which ...*deadline) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range which {
		if d.timer != nil {
			d.timer.Stop()
		}
		*d = deadline{at: t}
		if !t.IsZero() {
			d.timer = time.AfterFunc(time.Until(t), p.wake)
		}
	}
	p.changed.Broadcast()
	return nil
}

// isRefusal tells whether err is what a proxy says that has no room.
func isRefusal(err error) bool {
	var failure *tunnel.Error
	return errors.As(err, &failure) && failure.Code == tunnel.CodeTooMany && strings.HasSuffix(failure.Rule, "-open")
}
