package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/metrics"
	"smtpscope/proxy/internal/quota"
)

// line is one tunnel. Two goroutines serve it once the target is dialed: receive takes the page's
// frames, and carry reads the target. While there are bytes for the target a third, up, writes them:
// receive never waits for the target, so it sees at once when the page exceeds its credit or goes.
type line struct {
	relay    *Relay
	ws       *socket
	session  string // names the line in the log and in the page
	remote   string // the page's address
	log      *slog.Logger
	started  time.Time
	ctx      context.Context // ends with the line
	cancel   context.CancelFunc
	asked    chan tunnel.Open // gets the OPEN
	said     chan struct{}    // closed when ERROR, if there is one, has been written
	received chan struct{}    // closed when receive has ended
	writing  chan struct{}    // holds a token while up writes to the target
	ring     *ring            // page to target
	head     [128]byte        // the start of every message, for receive only
	taken    int              // by the target, and not granted yet; for up only
	samples  *sampler         // of the target, for carry and finish only
	packets  *packets         // of the target, for connect, and then for carry and finish

	bytesUp, bytesDown atomic.Int64
	active             atomic.Int64 // when DATA last moved, since started

	write sync.Mutex // held while a frame is made and written, so that the wire has the order of half

	mu        sync.Mutex
	credit    sync.Cond // on mu: the page granted, or the line has ended
	half      *tunnel.Half
	open      tunnel.Open
	target    net.Conn
	permit    *quota.Tunnel // set before there is a target
	deaf      error         // what stopped the writing to the target
	lingering bool          // the target has sent all; the page may still send
	ended     bool
	gone      bool          // the page has gone: nothing can be said to it
	err       *tunnel.Error // what it is to be told
	timers    []*time.Timer
	watchdog  *time.Timer
}

func newLine(r *Relay, ws *socket, session, remote string, log *slog.Logger) *line {
	l := &line{relay: r, ws: ws, session: session, remote: remote, log: log, started: time.Now(), asked: make(chan tunnel.Open, 1), said: make(chan struct{}), received: make(chan struct{}), writing: make(chan struct{}, 1), ring: newRing(), half: tunnel.NewProxy()}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.credit.L = &l.mu
	return l
}

// fail ends the line with an ERROR. Of several endings the first counts.
func (l *line) fail(err *tunnel.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(err)
}

// end is to be called with mu held; without an error the line closes cleanly.
func (l *line) end(err *tunnel.Error) {
	if l.ended {
		return
	}
	l.ended, l.err = true, err
	l.ring.drop()
	if l.target != nil {
		_ = l.target.SetDeadline(time.Unix(1, 0))
	}
	l.timers = append(l.timers, time.AfterFunc(l.relay.waits.close, l.ws.kill))
	l.cancel()
	l.credit.Broadcast()
}

// pageGone ends the line without a word. What the page has sent still goes to the target.
func (l *line) pageGone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended, l.gone = true, true
	l.ring.close()
	if l.target != nil {
		_ = l.target.SetReadDeadline(time.Unix(1, 0))
		_ = l.target.SetWriteDeadline(time.Now().Add(l.relay.waits.flush))
		l.push()
	}
	l.cancel()
	l.credit.Broadcast()
}

// after is time.AfterFunc for the life of the line.
func (l *line) after(d time.Duration, f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timers = append(l.timers, time.AfterFunc(d, f))
}

// serve runs the line; it returns before the line ends. What connecting and the first message need
// of stack would stay for as long as their goroutines do: each hands over to a fresh one.
func (l *line) serve() {
	go l.receive()
	if l.connect() == nil {
		l.ring.drop()
		l.finish()
		return
	}
	go l.carry()
}

// carry is what is left to do once the target is dialed.
func (l *line) carry() {
	l.samples = l.sampler(l.target)
	l.push() // the page may have ended already
	l.down()
	if l.ctx.Err() == nil {
		l.ring.wait() // the target has sent all; let the page end too
	}
	l.finish()
}

// finish ends the line for good.
func (l *line) finish() {
	l.mu.Lock()
	l.end(nil)
	gone, err := l.gone, l.err
	l.mu.Unlock()
	l.samples.stop(!gone)
	if err != nil {
		l.packets.flush(0) // nothing may follow ERROR
		_ = l.send(func(dst []byte) ([]byte, error) { return l.half.AppendError(dst, err) })
	}
	close(l.said)
	l.ring.wait()
	if l.target != nil {
		_ = l.target.Close()
	}
	l.permit.Close()
	if !gone {
		if err == nil {
			l.packets.flush(lastPackets)
		}
		code := tunnel.Code("")
		if err != nil {
			code = err.Code
		}
		l.ws.close(code)
	}
	l.ws.kill()
	l.ws.free()
	l.packets.close()
	<-l.received
	l.mu.Lock()
	for _, t := range l.timers {
		t.Stop()
	}
	l.mu.Unlock()
	l.report(gone, err)
	l.relay.leave(l)
}

// report writes the line of the log that says how it went.
func (l *line) report(gone bool, err *tunnel.Error) {
	attrs := []any{"host", l.open.Host, "port", l.open.Port, "address", "", "up", l.bytesUp.Load(), "down", l.bytesDown.Load(), "duration", time.Since(l.started).Round(time.Microsecond)}
	if l.target != nil {
		attrs[5] = l.target.RemoteAddr().String()
	}
	if sent, lost := l.packets.total(); sent+lost > 0 {
		attrs = append(attrs, "packets", sent, "lost", lost)
	}
	by := metrics.ByTarget
	switch {
	case err != nil:
		by = metrics.ByProxy
		l.log.Warn("tunnel closed", append(attrs, "by", by, "code", string(err.Code), "rule", err.Rule, "error", err.Message)...)
	case gone:
		by = metrics.ByPage
		l.log.Info("tunnel closed", append(attrs, "by", by, "code", "")...)
	default:
		l.log.Info("tunnel closed", append(attrs, "by", by, "code", "")...)
	}
	l.relay.config.Metrics.TunnelEnded(by, err)
}

// connect gets from OPEN to the first CREDIT. It returns nil when the line has ended.
func (l *line) connect() net.Conn {
	r := l.relay
	l.after(r.config.Total, func() {
		l.fail(&tunnel.Error{Code: tunnel.CodeTimeout, Message: fmt.Sprintf("The session lasted longer than the %s that the proxy allows, so it was closed. Start a new one.", r.config.Total)})
	})
	late := time.AfterFunc(r.waits.open, func() {
		l.fail(&tunnel.Error{Code: tunnel.CodeBadRequest, Message: fmt.Sprintf("The page did not say within %s what to connect to (no OPEN frame). Reload the page.", r.waits.open)})
	})
	defer late.Stop()
	var open tunnel.Open
	select {
	case open = <-l.asked:
		late.Stop()
	case <-l.ctx.Done():
		return nil
	}

	ctx, cancel := context.WithTimeout(l.ctx, r.waits.dial)
	defer cancel()
	if r.config.Admit != nil {
		permit, denial := r.config.Admit(l.remote, open)
		if denial != nil {
			l.fail(denial)
			return nil
		}
		l.permit, ctx = permit, permit.Context(ctx)
	}
	// Should the Dialer be stuck because the page takes no STATUS, this frees it.
	stuck := time.AfterFunc(r.waits.dial+r.waits.close, l.ws.kill)
	defer stuck.Stop()
	ctx = l.capture(ctx, open)
	started := time.Now()
	target, err := r.config.Dial(ctx, open, l.status)
	if err != nil {
		l.fail(tunnel.DialError(err, open.Host, open.Port))
		return nil
	}
	r.config.Metrics.Dialed(time.Since(started))
	l.packets.opened(target)
	l.mu.Lock()
	l.target = target
	opened, ended := l.half.Opened(), l.ended
	l.mu.Unlock()
	if ended {
		return nil
	}
	l.log.Info("tunnel opened", "host", open.Host, "port", open.Port, "address", target.RemoteAddr().String(), "after", time.Since(l.started).Round(time.Microsecond))
	if !opened {
		l.status(tunnel.Status{Stage: tunnel.StageOpened, Host: open.Host, Port: open.Port, Address: target.RemoteAddr().String(), Local: target.LocalAddr().String()})
	}
	l.touch()
	l.mu.Lock()
	l.watchdog = time.AfterFunc(r.config.Idle, l.watch)
	l.timers = append(l.timers, l.watchdog)
	l.mu.Unlock()
	if l.send(func(dst []byte) ([]byte, error) { return l.half.AppendCredit(dst, Window) }) != nil {
		l.pageGone()
	}
	return target
}

// status passes on what the Dialer reports.
func (l *line) status(s tunnel.Status) {
	if s.Stage != tunnel.StageSample {
		s.Session = l.session
	}
	err := l.send(func(dst []byte) ([]byte, error) { return l.half.AppendStatus(dst, s) })
	if errors.Is(err, tunnel.ErrOrder) && l.ctx.Err() == nil {
		l.log.Error("the dialer reported out of order", "stage", string(s.Stage), "error", err)
	}
}

// send makes a frame and writes it.
func (l *line) send(build func(dst []byte) ([]byte, error)) error {
	l.write.Lock()
	defer l.write.Unlock()
	l.mu.Lock()
	message, err := build(nil)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return l.ws.write(message)
}

// sendData writes a DATA frame from a buffer with headroom.
func (l *line) sendData(buf []byte) error {
	l.write.Lock()
	defer l.write.Unlock()
	l.mu.Lock()
	err := l.half.FrameData(buf)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return l.ws.write(buf)
}

func (l *line) touch() { l.active.Store(int64(time.Since(l.started))) }

// watch ends the line when nothing has moved for too long.
func (l *line) watch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := l.relay.config.Idle
	if l.lingering {
		limit = min(limit, l.relay.waits.linger)
	}
	if left := limit - (time.Since(l.started) - time.Duration(l.active.Load())); left > 0 {
		if !l.ended {
			l.watchdog.Reset(left)
		}
		return
	}
	if l.lingering {
		l.end(nil)
		return
	}
	l.end(&tunnel.Error{Code: tunnel.CodeTimeout, Message: fmt.Sprintf("The session was idle: for %s no byte passed either way, so the proxy closed the connection to %s. Start a new session.",
		limit, net.JoinHostPort(l.open.Host, strconv.Itoa(l.open.Port)))})
}

// receive takes messages from the page until there are no more; after the end of the line it discards them.
func (l *line) receive() {
	if l.message() {
		go func() {
			for l.message() {
			}
			close(l.received)
		}()
		return
	}
	close(l.received)
}

// message takes one message; it returns false when there are no more.
func (l *line) message() bool {
	message, binary, err := l.ws.next()
	if err != nil {
		l.pageGone()
		return false
	}
	if err := l.take(message, binary); err != nil {
		var violation *tunnel.Error
		if !errors.As(err, &violation) {
			l.pageGone()
			return false
		}
		l.fail(violation)
		<-l.said
	}
	if _, err := io.Copy(io.Discard, message); err != nil {
		l.pageGone()
		return false
	}
	return true
}

// take handles one message. It returns a *tunnel.Error when the page broke the protocol, any
// other error when the page was lost.
func (l *line) take(message io.Reader, binary bool) error {
	if l.ctx.Err() != nil {
		return nil
	}
	if !binary {
		return tunnel.Violation("page", fmt.Errorf("text message: %w: every frame is binary", tunnel.ErrUnknownType))
	}
	n, err := io.ReadFull(message, l.head[:])
	whole := err == io.EOF || err == io.ErrUnexpectedEOF // exactly these: a broken connection gives others
	if err != nil && !whole {
		return err
	}
	head := l.head[:n]
	if n > 0 && tunnel.Type(head[0]) == tunnel.TypeData {
		return l.takeData(head[1:], message, whole)
	}
	if !whole {
		rest, err := io.ReadAll(io.LimitReader(message, tunnel.MaxJSON))
		if err != nil {
			return err
		}
		head = append(head[:n:n], rest...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	frame, err := l.half.Receive(head)
	if err != nil || l.ended {
		return err
	}
	switch frame.Type {
	case tunnel.TypeOpen:
		l.open = *frame.Open
		l.asked <- l.open
	case tunnel.TypeCredit:
		l.credit.Signal()
	case tunnel.TypeEOF:
		l.ring.close()
		if l.target != nil {
			l.push()
		}
	}
	return nil
}

// takeData moves a DATA payload into the ring, first its head, then the rest.
func (l *line) takeData(head []byte, message io.Reader, whole bool) error {
	if err := l.account(len(head)); err != nil {
		return err
	}
	for b := head; len(b) > 0; {
		n := copy(l.ring.reserve(), b)
		l.ring.commit(n)
		if n == 0 { // dropped
			return nil
		}
		b = b[n:]
	}
	if whole {
		l.push()
	}
	for total := len(head); !whole; {
		l.mu.Lock()
		allowed := min(l.half.Receivable(), int64(tunnel.MaxData-total))
		l.mu.Unlock()
		if allowed == 0 {
			return l.expectEnd(total, message)
		}
		space := l.ring.reserve()
		if space == nil {
			return nil
		}
		n, err := message.Read(space[:min(allowed, int64(len(space)))])
		if err != nil && err != io.EOF {
			l.ring.commit(0) // where a frame breaks off, the library returns its last bytes as they came, still masked (RFC 6455, 5.3)
			return err
		}
		if n > 0 {
			if broken := l.account(n); broken != nil {
				l.ring.commit(0)
				return broken
			}
		}
		l.ring.commit(n)
		l.push()
		total += n
		whole = err == io.EOF
	}
	return nil
}

// expectEnd reads on where a DATA message must end.
func (l *line) expectEnd(total int, message io.Reader) error {
	n, err := io.ReadFull(message, l.head[:1])
	switch {
	case n == 0 && err == io.EOF:
		return nil
	case n == 0:
		return err
	case total == tunnel.MaxData:
		return tunnel.Violation("page", fmt.Errorf("%s frame: %w: more than %d bytes", tunnel.TypeData, tunnel.ErrTooLong, tunnel.MaxData))
	}
	return l.account(n)
}

func (l *line) account(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.half.ReceiveData(n)
}

// push sees to it that what is in the ring gets to the target.
func (l *line) push() {
	if l.ring.claim() {
		go l.up()
	}
}

// up writes to the target what the ring holds, and grants the page as much again. It ends with the bytes; the
// end of the page it passes on.
func (l *line) up() {
	for {
		b, last := l.ring.next()
		if last {
			break
		}
		if len(b) == 0 {
			return
		}
		if denial := l.permit.Use(len(b)); denial != nil {
			l.fail(denial)
			break
		}
		l.writing <- struct{}{}
		n, err := l.target.Write(b)
		if err != nil {
			l.targetDeaf(err)
		}
		<-l.writing
		l.ring.advance(n)
		l.bytesUp.Add(int64(n))
		l.relay.config.Metrics.Up(n)
		l.touch()
		if err != nil {
			l.ring.drop()
			break
		}
		if l.taken += n; l.taken >= Window/4 {
			l.grant(l.taken)
			l.taken = 0
		}
	}
	if c, ok := l.target.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	l.ring.finish()
}

// targetDeaf notes why the target can no longer be written to.
func (l *line) targetDeaf(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		// It may have said why before it stopped listening: down reads on, but not for ever.
		l.deaf = err
		_ = l.target.SetReadDeadline(time.Now().Add(l.relay.waits.linger))
	}
}

// grant gives credit back to the page, unless it has sent all. When the page has gone, there
// may still be bytes of it to be written: up goes on.
func (l *line) grant(n int) {
	err := l.send(func(dst []byte) ([]byte, error) {
		if l.half.ReceivedEOF() {
			return nil, errNoNeed
		}
		return l.half.AppendCredit(dst, uint32(n))
	})
	if err != nil && err != errNoNeed && !errors.Is(err, tunnel.ErrOrder) {
		l.pageGone()
	}
}

var errNoNeed = errors.New("no need")

// down reads the target to its end and sends it to the page, as far as there is credit.
// It returns early when the line has ended.
func (l *line) down() {
	from := newSource(l.target)
	defer from.release()
	for {
		allowed := l.allowance(from.release)
		if allowed == 0 {
			return
		}
		b, err := from.read(allowed)
		if n := len(b) - 1; n > 0 {
			if denial := l.permit.Use(n); denial != nil {
				l.fail(denial)
				return
			}
			if l.sendData(b) != nil {
				l.pageGone()
				return
			}
			l.bytesDown.Add(int64(n))
			l.relay.config.Metrics.Down(n)
			l.touch()
		}
		switch {
		case err == nil:
		case err == io.EOF:
			if reset := l.concealed(); reset != nil {
				l.targetBroke(reset)
				return
			}
			l.targetEnded()
			return
		default:
			l.targetBroke(err)
			return
		}
	}
}

// allowance waits for credit and returns it; 0 when the line has ended. wait is called before waiting.
func (l *line) allowance(wait func()) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	// At first the credit is only on its way, right behind OPEN.
	if !l.ended && l.half.Sendable() == 0 && l.bytesDown.Load() > 0 {
		l.relay.config.Metrics.Stalled()
	}
	for !l.ended && l.half.Sendable() == 0 {
		wait()
		l.credit.Wait()
	}
	if l.ended {
		return 0
	}
	if l.deaf != nil {
		_ = l.target.SetReadDeadline(time.Now().Add(l.relay.waits.linger))
	}
	return l.half.Sendable()
}

// concealed is the reset of which reading says that it is an orderly end: the system tells a reset
// once, and it was up's write that heard it. A write that goes on has not heard of any.
func (l *line) concealed() error {
	select {
	case l.writing <- struct{}{}:
		<-l.writing
	case <-time.After(l.relay.waits.settle):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.deaf, syscall.ECONNRESET) {
		return l.deaf
	}
	return nil
}

// targetEnded tells the page that all has been sent, and gives it a while to end its side.
func (l *line) targetEnded() {
	l.samples.stop(true)
	err := l.send(func(dst []byte) ([]byte, error) {
		if l.ended { // by the end itself, which is about to be told: an EOF before it would hide it
			return nil, errNoNeed
		}
		return l.half.AppendEOF(dst)
	})
	if err != nil {
		if err != errNoNeed {
			l.pageGone()
		}
		return
	}
	l.touch()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lingering = true
	if !l.ended {
		l.watchdog.Reset(l.relay.waits.linger)
	}
}

// targetBroke says why the target can no longer be read. When that is only because
// it could no longer be written to, then that is the reason.
func (l *line) targetBroke(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if timeout := net.Error(nil); l.deaf != nil && errors.As(err, &timeout) && timeout.Timeout() {
		err = l.deaf
	}
	l.end(tunnel.LostError(err, l.open.Host, l.open.Port))
}
