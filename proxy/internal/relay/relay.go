// Package relay is the proxy's end of the tunnel: it accepts WebSockets, dials what
// their pages ask for, and carries the bytes both ways, with bounded memory, to the
// last byte.
//
// How a tunnel ends, and what the page gets before the Close frame:
//
//   - the target closes: all DATA, EOF; then Close once the page has sent EOF too, or has
//     sent nothing for a few seconds;
//   - the target resets the connection, or the network breaks: all DATA that was read, then
//     ERROR reset (or timeout, no-route);
//   - dialing fails, or the policy says no: ERROR with the code that fits;
//   - the page breaks the protocol: ERROR bad-request or credit;
//   - Config.Admit says no, or what it permitted is used up: ERROR quota or too-many;
//   - nothing moves for Config.Idle, or the session lasts longer than Config.Total: ERROR timeout;
//   - the proxy stops: ERROR shutdown; it is full: ERROR too-many;
//   - the page goes: what it had sent still reaches the target, then the target sees the end.
//
// A page that wants it gets samples of what TCP does between proxy and target, from the opening
// to the end of the connection, and, where the operator has permitted that, its packets.
//
// The package judges no target and knows no address: that is the Dialer's part. Nor does it look
// at the bytes, or log them.
package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/metrics"
	"smtpscope/proxy/internal/quota"
)

// Dialer connects to what a page asked for. It may call report, from any goroutine, for each stage that
// it passes before it returns. If it does not report StageOpened the relay does. A *tunnel.Error reaches
// the page as it is, any other error as tunnel.DialError puts it. Dialer must return when ctx ends.
//
// A connection without CloseWrite (as *net.TCPConn has) cannot be closed in one direction only:
// such a target is not told that the page sends no more.
type Dialer func(ctx context.Context, open tunnel.Open, report func(tunnel.Status)) (net.Conn, error)

// Config says how to relay. Only Dial is needed; a zero value elsewhere means the default.
type Config struct {
	Dial Dialer
	// CheckOrigin refuses pages by an error, which is answered with status 403. Without it a
	// page must come from the host that it asks.
	CheckOrigin func(*http.Request) error
	// Enter decides, before the WebSocket is accepted, whether the page at remote (the RemoteAddr
	// of its request) has room for one more, whatever it will ask for: a page that asks for nothing
	// takes a place as well. The answer to one too many is status 429.
	Enter func(remote string) (*quota.Tunnel, *tunnel.Error)
	// Admit decides, before the Dialer is asked, whether the page at remote may have what it asked for
	// now, and how much of it. The Dialer gets the tunnel in its context; the relay counts every
	// byte in it and closes it.
	Admit func(remote string, open tunnel.Open) (*quota.Tunnel, *tunnel.Error)
	// Logger gets one line when a tunnel opens and one when it ends.
	Logger *slog.Logger
	// Metrics counts; nil when nobody wants to know.
	Metrics *metrics.Metrics
	// Idle is how long a tunnel may carry no DATA.
	Idle time.Duration
	// Total is how long a tunnel may last.
	Total time.Duration
	// MaxTunnels is how many there may be at a time.
	MaxTunnels int
	// Packets is whether pages that want them get the packets of their connections (package capture). The
	// Dialer must tell of each connection what Watch wants to know.
	Packets bool
}

// Defaults of Config.
const (
	// DefaultIdle is longer than a mail server waits for a command (5 minutes: RFC 5321,
	// 4.5.3.2.7), so that the page sees the server's own 421.
	DefaultIdle       = 10 * time.Minute
	DefaultTotal      = 2 * time.Hour
	DefaultMaxTunnels = 256
)

// Window is the credit that the relay grants to a page; a tunnel holds no more of its bytes. A page that
// sends messages of 64 KiB waits for credit less often than with 256 KiB, and a stalled tunnel, which holds
// one frame of the other direction too, still costs less than 1 MB.
const Window = 384 << 10

// sessionLength is enough of rand.Text (5 bits a letter) for no two tunnels of any number of
// proxies to be confused in one log, and little enough to be read out over a telephone.
const sessionLength = 12

// waits are the limits that are nobody's to choose.
type waits struct {
	open   time.Duration // for OPEN
	dial   time.Duration // for the Dialer
	linger time.Duration // for a page or a target to go on, after the other side has ended
	flush  time.Duration // for the target to take what a page left behind
	settle time.Duration // for a write to say that the target has reset the connection
	close  time.Duration // for ERROR and the closing handshake
}

var defaultWaits = waits{open: 10 * time.Second, dial: 30 * time.Second, linger: 5 * time.Second, flush: 10 * time.Second, settle: 50 * time.Millisecond, close: 5 * time.Second}

// Relay is an http.Handler: mount it where pages open their tunnels.
type Relay struct {
	config Config
	log    *slog.Logger
	waits  waits

	mu       sync.Mutex
	lines    map[*line]struct{}
	admitted int // lines, and those still in the HTTP handshake
	draining bool
	cut      *tunnel.Error // what lines get that are accepted after Shutdown ran out of time
	once     sync.Once
	empty    chan struct{} // closed when draining and admitted is 0
}

// New returns a Relay. It panics without a Dialer.
func New(config Config) *Relay {
	if config.Dial == nil {
		panic("relay: Config.Dial is nil")
	}
	if config.Idle == 0 {
		config.Idle = DefaultIdle
	}
	if config.Total == 0 {
		config.Total = DefaultTotal
	}
	if config.MaxTunnels == 0 {
		config.MaxTunnels = DefaultMaxTunnels
	}
	if config.Metrics == nil {
		config.Metrics = metrics.New("")
	}
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Relay{config: config, log: log, waits: defaultWaits, lines: make(map[*line]struct{}), empty: make(chan struct{})}
}

// ServeHTTP upgrades the request to a WebSocket and returns when the target is dialed, or cannot be: the tunnel goes on
// without the request, whose buffers and goroutine would cost as much as the tunnel does.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	refuse := func(status int, reason string, err error) {
		r.log.Warn("tunnel refused", "reason", reason, "status", status, "remote", req.RemoteAddr, "origin", req.Header.Get("Origin"), "error", err)
		r.config.Metrics.TunnelRefused(reason)
		http.Error(w, err.Error(), status)
	}
	if r.config.CheckOrigin != nil {
		if err := r.config.CheckOrigin(req); err != nil {
			refuse(http.StatusForbidden, "origin", err)
			return
		}
	}
	if req.Header.Get("Sec-WebSocket-Key") != "" && !offers(req, tunnel.Subprotocol) {
		refuse(http.StatusBadRequest, "subprotocol", fmt.Errorf("this address speaks the WebSocket subprotocol %s only: reload the page if it is older than the proxy", tunnel.Subprotocol))
		return
	}
	if r.config.Enter != nil {
		place, denial := r.config.Enter(req.RemoteAddr)
		if denial != nil {
			w.Header().Set("Retry-After", strconv.Itoa(denial.RetryAfter))
			refuse(http.StatusTooManyRequests, "client", denial)
			return
		}
		defer place.Close()
	}
	full, err := r.admit()
	if err != nil {
		w.Header().Set("Retry-After", "5")
		refuse(http.StatusServiceUnavailable, "unavailable", err)
		return
	}
	ws, err := accept(w, req, r.config.CheckOrigin != nil)
	if err != nil {
		r.release()
		r.log.Warn("tunnel refused", "reason", "handshake", "remote", req.RemoteAddr, "origin", req.Header.Get("Origin"), "error", err)
		r.config.Metrics.TunnelRefused("handshake")
		return
	}
	session := rand.Text()[:sessionLength]
	l := newLine(r, ws, session, req.RemoteAddr, r.log.With("session", session, "remote", req.RemoteAddr))
	r.config.Metrics.TunnelStarted()
	if full {
		l.fail(&tunnel.Error{Code: tunnel.CodeTooMany, RetryAfter: 30,
			Message: fmt.Sprintf("The proxy carries %d tunnels already, as many as it may. Try again when other sessions have ended.", r.config.MaxTunnels)})
	}
	r.enter(l)
	l.serve()
}

func offers(req *http.Request, subprotocol string) bool {
	for _, line := range req.Header.Values("Sec-WebSocket-Protocol") {
		if slices.ContainsFunc(strings.Split(line, ","), func(s string) bool { return strings.TrimSpace(s) == subprotocol }) {
			return true
		}
	}
	return false
}

// admit counts a tunnel in. When the relay is full it still takes as many again, to
// tell them so in a frame: a browser does not show its page why a handshake was refused.
func (r *Relay) admit() (full bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.draining:
		return false, errors.New("the proxy is being stopped: try again in a moment")
	case r.admitted >= 2*r.config.MaxTunnels:
		return false, errors.New("the proxy carries as many tunnels as it may: try again later")
	}
	full = r.admitted >= r.config.MaxTunnels
	r.admitted++
	return full, nil
}

func (r *Relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.admitted--
	r.settle()
}

// settle is to be called with mu held.
func (r *Relay) settle() {
	if r.draining && r.admitted == 0 {
		r.once.Do(func() { close(r.empty) })
	}
}

func (r *Relay) enter(l *line) {
	r.mu.Lock()
	r.lines[l] = struct{}{}
	cut := r.cut
	r.mu.Unlock()
	if cut != nil {
		l.fail(cut)
	}
}

func (r *Relay) leave(l *line) {
	r.mu.Lock()
	delete(r.lines, l)
	r.mu.Unlock()
	r.release()
}

// Full tells whether a new tunnel would be told that there are too many.
func (r *Relay) Full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.admitted >= r.config.MaxTunnels
}

// Tunnels is how many tunnels there are now.
func (r *Relay) Tunnels() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lines)
}

// Shutdown admits no new tunnel and waits for those that there are. When ctx ends first it
// cuts them off with ERROR shutdown, waits until they have closed, and returns the
// error of ctx.
func (r *Relay) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	r.draining = true
	r.settle()
	r.mu.Unlock()
	select {
	case <-r.empty:
		return nil
	case <-ctx.Done():
	}
	stop := &tunnel.Error{Code: tunnel.CodeShutdown, Message: "The proxy is being stopped, so this session was cut off. Try again in a moment."}
	r.mu.Lock()
	r.cut = stop
	for l := range r.lines {
		go l.fail(stop)
	}
	r.mu.Unlock()
	select {
	case <-r.empty:
	case <-time.After(2 * r.waits.close): // a Dialer that does not heed its context
	}
	return ctx.Err()
}
