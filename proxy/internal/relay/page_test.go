package relay

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"smtpscope/protocol/tunnel"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// target is a TCP server on loopback that serves every connection with serve.
func target(t testing.TB, serve func(*net.TCPConn)) (host string, port int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(2 * patience))
				serve(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return "127.0.0.1", l.Addr().(*net.TCPAddr).Port
}

// direct is the Dialer of most tests.
func direct(ctx context.Context, open tunnel.Open, _ func(tunnel.Status)) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(open.Host, itoa(open.Port)))
}

// start serves a relay; change may alter it before it runs. It is gone, with all its tunnels, when the test ends.
func start(t testing.TB, config Config, change ...func(*Relay)) (*Relay, string) {
	if config.Dial == nil {
		config.Dial = direct
	}
	r := New(config)
	for _, f := range change {
		f(r)
	}
	server := httptest.NewServer(r)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, r.Shutdown(ctx), "a tunnel hangs")
		server.Close()
	})
	return r, server.URL
}

// page is a small, well-behaved page.
type page struct {
	t       testing.TB
	ws      *websocket.Conn
	ctx     context.Context
	mu      sync.Mutex
	changed *sync.Cond
	half    *tunnel.Half
	over    bool
}

func connect(t testing.TB, url string) *page { return connectBy(t, url, nil) }

func connectBy(t testing.TB, url string, client *http.Client) *page {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{tunnel.Subprotocol}, HTTPClient: client})
	if err != nil {
		cancel()
		require.NoError(t, err)
	}
	t.Cleanup(cancel)
	return newPage(t, ctx, ws)
}

func newPage(t testing.TB, ctx context.Context, ws *websocket.Conn) *page {
	ws.SetReadLimit(tunnel.MaxMessage)
	p := &page{t: t, ws: ws, ctx: ctx, half: tunnel.NewPage()}
	p.changed = sync.NewCond(&p.mu)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return p
}

func (p *page) raw(message []byte) error {
	return p.ws.Write(p.ctx, websocket.MessageBinary, message)
}

func (p *page) send(build func([]byte) ([]byte, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	message, err := build(nil)
	if assert.NoError(p.t, err) {
		_ = p.raw(message)
	}
}

func (p *page) grant(n int) {
	p.send(func(dst []byte) ([]byte, error) { return p.half.AppendCredit(dst, uint32(n)) })
}

func (p *page) eof() { p.send(p.half.AppendEOF) }

// ask sends OPEN and grants a window.
func (p *page) ask(host string, port, window int) {
	p.wish(tunnel.Open{Host: host, Port: port}, window)
}

func (p *page) wish(open tunnel.Open, window int) {
	p.send(func(dst []byte) ([]byte, error) { return p.half.AppendOpen(dst, open) })
	if window > 0 {
		p.grant(window)
	}
}

// next reads one frame.
func (p *page) next() (tunnel.Frame, error) {
	_, message, err := p.ws.Read(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	if err != nil {
		p.over = true
		return tunnel.Frame{}, err
	}
	f, err := p.half.Receive(message)
	require.NoError(p.t, err)
	return f, nil
}

// open asks and waits until the proxy has granted.
func (p *page) open(host string, port, window int) {
	p.ask(host, port, window)
	for {
		f, err := p.next()
		require.NoError(p.t, err)
		require.Nil(p.t, f.Error)
		if f.Type == tunnel.TypeCredit {
			return
		}
	}
}

// write sends b as credit comes, in frames of at most size bytes. Somebody must call next meanwhile.
func (p *page) write(b []byte, size func() int) (sent int) {
	buf := make([]byte, tunnel.MaxMessage)
	for sent < len(b) {
		p.mu.Lock()
		for p.half.Sendable() == 0 && !p.over {
			p.changed.Wait()
		}
		if p.over {
			p.mu.Unlock()
			return sent
		}
		n := min(p.half.Sendable(), len(b)-sent, size())
		copy(buf[1:], b[sent:sent+n])
		assert.NoError(p.t, p.half.FrameData(buf[:1+n]))
		err := p.raw(buf[:1+n])
		p.mu.Unlock()
		if err != nil {
			return sent
		}
		sent += n
	}
	return sent
}

// quit makes write give up.
func (p *page) quit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.changed.Broadcast()
}

func whole() int { return tunnel.MaxData }

// rest is what a page gets until the end.
type rest struct {
	data  []byte
	eof   bool
	err   *tunnel.Error
	close websocket.StatusCode // -1 without a Close frame
	lost  error
}

// drain reads to the end and grants what it reads; it answers EOF by EOF when asked to.
func (p *page) drain(answer bool) (r rest) {
	for {
		f, err := p.next()
		if err != nil {
			r.close, r.lost = websocket.CloseStatus(err), err
			return r
		}
		switch f.Type {
		case tunnel.TypeData:
			r.data = append(r.data, f.Data...)
			p.grant(len(f.Data))
		case tunnel.TypeEOF:
			r.eof = true
			if answer {
				p.eof()
			}
		case tunnel.TypeError:
			r.err = f.Error
		}
	}
}

// get is a plain HTTP request to the relay.
func get(t testing.TB, url string, header http.Header) (int, string) {
	req, err := http.NewRequest("GET", url, nil)
	require.NoError(t, err)
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, strings.TrimSpace(string(b))
}

func upgrade(extra ...string) http.Header {
	h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {tunnel.Subprotocol}}
	for i := 0; i < len(extra); i += 2 {
		h[extra[i]] = []string{extra[i+1]}
	}
	return h
}
