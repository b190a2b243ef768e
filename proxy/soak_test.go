//lint:file-ignore SA1019 nhooyr.io/websocket is marked deprecated since it changed its name.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/quota"
)

var (
	soakFor  = flag.Duration("soak", 0, "let TestSoak last so long, with 2,000 tunnels at a time (and 10,000 open files) instead of 200 for some seconds")
	soakSeed = flag.Uint64("soak-seed", 0, "let TestSoak choose what a run chose that printed this seed")
)

// Tunnels open, send, stall and die in every way, many at a time. No goroutine, descriptor
// or memory stays behind, every byte that arrives is the right one, and what page,
// proxy and target counted agrees.
func TestSoak(t *testing.T) {
	s := &soak{t: t, most: 200, lasts: 6 * time.Second, calm: 500 * time.Millisecond, patience: 30 * time.Second, log: newLedger()}
	if *soakFor > 0 {
		s.most, s.lasts, s.calm, s.patience = 2000, *soakFor, 20*time.Second, 60*time.Second
	}
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("to repeat this: -soak-seed %d", seed)
	s.listen()
	// Little more than there are pages: what ended tunnels do not give back is soon missed.
	room := s.most + s.most/8
	s.proxy = startLogging(t, s.log, "--log", "json", "--metrics", "127.0.0.1:0", "--drain", "10ms", "--practice=false",
		"--allow", fmt.Sprintf("127.0.0.1:%d,%d", s.port, s.deadPort), "--max-tunnels", strconv.Itoa(4*s.most),
		"--max-per-ip", strconv.Itoa(room), "--max-per-target", strconv.Itoa(room), "--hour-bytes", "1000000MB", "--session-bytes", "1000MB")

	s.crowd(20, seed, 0) // what is made once and kept is there after it
	s.settled()
	s.log.forget()
	before := s.holds()
	var peak atomic.Uint64
	watching := s.watch(&peak)
	s.crowd(s.most, seed, s.lasts)
	watching()
	s.settled()
	s.log.forget()
	s.leaks(before)
	after := heap()
	s.accounts()
	s.hasRoom(room)
	t.Logf("%d tunnels (%d in order, %d of them without a closing handshake, %d refused for want of room), %d MB up, %d MB down, heap %d MB at most, %d MB before and %d MB after",
		s.accepted.Load(), s.orderly.Load(), s.hasty.Load(), s.refused.Load(), s.log.up.Load()>>20, s.log.down.Load()>>20, peak.Load()>>20, before.heap>>20, after>>20)
}

// crowd is so many pages that open one tunnel after another for so long.
func (s *soak) crowd(most int, seed uint64, lasts time.Duration) {
	ends := time.Now().Add(lasts)
	var pages sync.WaitGroup
	for i := range most {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		pages.Go(func() {
			time.Sleep(time.Duration(r.Int64N(int64(s.calm)))) // not all of them in the same moment
			for s.tunnel(r); time.Now().Before(ends) && !s.t.Failed(); {
				s.tunnel(r)
			}
		})
	}
	pages.Wait()
}

// soak is one run.
type soak struct {
	t        *testing.T
	most     int           // tunnels at a time
	lasts    time.Duration // all of it
	calm     time.Duration // what a tunnel may do nothing for
	patience time.Duration // what a tunnel must end in
	log      *ledger
	proxy    *program
	port     int // of the target
	deadPort int // nobody listens there
	ids      atomic.Uint64
	visits   sync.Map // id to *visit

	accepted, orderly, hasty, refused atomic.Int64
}

// How a page behaves.
type manner int

const (
	finishes manner = iota // sends all, reads all
	stalls                 // the same, but for a while it does not read
	leaves                 // closes the WebSocket
	aborts                 // resets the TCP connection
	violates               // breaks the tunnel's protocol
	astray                 // asks for what cannot be reached, or is not permitted
)

// When a page does what its manner is.
type moment int

const (
	beforeOpen moment = iota
	afterOpen
	inSession
)

// scenario is one tunnel's.
type scenario struct {
	id       uint64
	kind     kind
	manner   manner
	moment   moment
	up, down int           // bytes beyond the head
	after    int           // bytes of up, for the target that resets
	calm     time.Duration // with the tunnel open and nothing sent
	acts     time.Duration // at the latest, in the session
	stall    time.Duration
	choice   int // of one violation, or of one wrong target
}

func (s *soak) choose(r *rand.Rand) scenario {
	size := func() int {
		switch n := r.IntN(20); {
		case n == 0:
			return 1 + r.IntN(1<<20)
		case n < 5:
			return 1 + r.IntN(64<<10)
		}
		return 1 + r.IntN(2<<10)
	}
	span := func(most time.Duration) time.Duration { return time.Duration(r.Int64N(int64(most))) }
	c := scenario{id: s.ids.Add(1), kind: kind(r.IntN(int(kinds))), up: size(), down: size(), calm: span(s.calm), acts: span(50 * time.Millisecond), stall: span(time.Second), choice: r.IntN(4)}
	c.after = r.IntN(c.up)
	c.manner = [...]manner{finishes, finishes, finishes, finishes, stalls, stalls, leaves, leaves, aborts, aborts, violates, astray}[r.IntN(12)]
	c.moment = [...]moment{beforeOpen, afterOpen, inSession, inSession, inSession, inSession}[r.IntN(6)]
	switch {
	case c.kind == silent && c.manner < leaves:
		c.manner = leaves + manner(r.IntN(2)) // nothing else would end it
	case c.kind == resets && c.manner == violates:
		c.kind = echoes // or it would be chance which of the two is first
	}
	if c.manner < leaves {
		c.moment = inSession
	}
	return c
}

// tunnel plays one.
func (s *soak) tunnel(r *rand.Rand) {
	c := s.choose(r)
	if err := s.play(c, r); err != nil {
		s.t.Errorf("%+v: %v", c, err)
	}
}

func (s *soak) play(c scenario, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	p, err := connect(ctx, s.proxy.url)
	if err != nil {
		return err
	}
	s.accepted.Add(1)
	defer p.ws.CloseNow()
	_ = p.SetDeadline(time.Now().Add(s.patience))
	v := &visit{leave: make(chan struct{}), done: make(chan struct{})}
	s.visits.Store(c.id, v)
	defer s.visits.Delete(c.id)

	if c.manner == astray {
		return s.stray(ctx, c, p)
	}
	switch c.moment {
	case beforeOpen:
		c.act(p)
	case afterOpen:
		err = p.ask(s.target())
		c.act(p)
	case inSession:
		err = p.open(ctx, s.target(), func(tunnel.Status) {})
		if isRefusal(err) {
			s.refused.Add(1)
			return p.wait(ctx)
		}
		if err == nil {
			err = s.converse(ctx, c, p, r)
		}
	}
	if err == nil {
		err = p.wait(ctx)
	}
	close(v.leave)
	if err != nil {
		return err
	}
	failure, code := p.verdict()
	if failure != nil && isRefusal(failure) {
		s.refused.Add(1)
		return nil
	}
	if failure == nil && code == -1 && c.manner < leaves && c.kind != resets {
		s.hasty.Add(1) // the page was too busy for a closing handshake, for which the proxy waits some seconds
		code = websocket.StatusNormalClosure
	}
	if err := c.judge(failure, code); err != nil {
		return err
	}
	return s.compare(ctx, c, p, v)
}

func (s *soak) target() tunnel.Open { return tunnel.Open{Host: "127.0.0.1", Port: s.port} }

// stray asks for what it cannot have.
func (s *soak) stray(ctx context.Context, c scenario, p *page) error {
	target, want := tunnel.Open{Host: "127.0.0.1", Port: s.deadPort}, tunnel.CodeRefused
	if c.choice%2 == 0 {
		target, want = tunnel.Open{Host: "169.254.169.254", Port: 25}, tunnel.CodeDenied
	}
	err := p.open(ctx, target, func(tunnel.Status) {})
	var failure *tunnel.Error
	switch {
	case isRefusal(err):
		s.refused.Add(1)
	case !errors.As(err, &failure) || failure.Code != want:
		return fmt.Errorf("want the code %s, got %w", want, err)
	}
	return p.wait(ctx)
}

// converse sends and reads what the scenario says.
func (s *soak) converse(ctx context.Context, c scenario, p *page, r *rand.Rand) error {
	rest := time.NewTimer(c.calm)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-p.over:
	}
	var ends sync.WaitGroup
	defer ends.Wait()
	sent, read := make(chan error, 1), make(chan error, 1)
	steps := rand.New(rand.NewPCG(r.Uint64(), 0))
	ends.Go(func() { sent <- c.send(p, steps) })
	ends.Go(func() { read <- c.receive(p) })
	if c.manner == stalls {
		p.gate.Lock()
		time.AfterFunc(c.stall, p.gate.Unlock)
	}
	if c.manner < leaves {
		if err := <-sent; err != nil && c.kind != resets {
			return fmt.Errorf("sending: %w", err)
		}
		if err := <-read; err != nil && c.kind != resets || errors.Is(err, errWrong) {
			return fmt.Errorf("reading: %w", err)
		}
		return nil
	}
	acts := time.NewTimer(c.acts)
	defer acts.Stop()
	select {
	case <-acts.C:
	case <-p.over:
	}
	c.act(p)
	if err := p.wait(ctx); err != nil {
		_ = p.ws.CloseNow()
		return err
	}
	<-sent
	if err := <-read; errors.Is(err, errWrong) {
		return err
	}
	return nil
}

// act does what the page's manner is.
func (c scenario) act(p *page) {
	switch c.manner {
	case leaves:
		_ = p.Close()
	case aborts:
		p.abort()
	case violates:
		c.violate(p)
	}
}

// violate sends what no page may send. Whether that was noticed, the proxy's ERROR tells.
func (c scenario) violate(p *page) {
	if c.moment == beforeOpen {
		_ = p.frame([]byte{byte(tunnel.TypeData), 'x'})
		return
	}
	switch c.choice {
	case 0:
		_ = p.frame([]byte("\x01" + `{"host":"127.0.0.1","port":25}`)) // a second OPEN
	case 1:
		_ = p.frame([]byte{9}) // no type
	case 2:
		for range 2 {
			_ = p.frame([]byte{byte(tunnel.TypeCredit), 0xff, 0xff, 0xff, 0xff})
		}
	case 3:
		p.writing.Lock()
		defer p.writing.Unlock()
		_ = p.ws.Write(context.Background(), websocket.MessageText, []byte("EHLO page.example"))
	}
}

// judge says whether the tunnel ended as it must.
func (c scenario) judge(failure *tunnel.Error, code websocket.StatusCode) error {
	want := tunnel.Code("")
	switch {
	case c.manner == violates && c.moment != beforeOpen && c.choice == 2:
		want = tunnel.CodeCredit
	case c.manner == violates:
		want = tunnel.CodeBadRequest
	case c.manner < leaves && c.kind == resets:
		want = tunnel.CodeReset
	case c.manner >= leaves:
		return nil // it does not hear
	}
	switch {
	case want == "" && (failure != nil || code != websocket.StatusNormalClosure):
		return fmt.Errorf("want a proper end, got %v, close code %d", failure, code)
	case want != "" && (failure == nil || failure.Code != want):
		return fmt.Errorf("want the code %s, got %v, close code %d", want, failure, code)
	}
	return nil
}

var errWrong = errors.New("a byte is wrong")

// send sends the head and all bytes in pieces of all sizes, then EOF.
func (c scenario) send(p *page, r *rand.Rand) error {
	if _, err := p.Write(c.head()); err != nil {
		return err
	}
	from := newStream(c.id, upward)
	buf := make([]byte, 64<<10)
	for left := c.up; left > 0; {
		piece := buf[:min(left, 1+r.IntN(1<<r.IntN(17)))]
		from.next(piece)
		if _, err := p.Write(piece); err != nil {
			return err
		}
		left -= len(piece)
	}
	if c.manner > stalls {
		return nil
	}
	return p.CloseWrite()
}

// receive reads to the end, and judges every byte by its place.
func (c scenario) receive(p *page) error {
	which, want := downward, c.down
	switch c.kind {
	case echoes:
		which, want = upward, c.up
	case sinks, sips, silent, resets:
		want = 0
	}
	n, err := newStream(c.id, which).compare(p)
	if err == nil && n != int64(want) {
		err = fmt.Errorf("the end came after %d bytes, not %d", n, want)
	}
	return err
}

// compare holds what page, proxy and target counted beside each other.
func (s *soak) compare(ctx context.Context, c scenario, p *page, v *visit) error {
	p.mu.Lock()
	session, sent, got := p.session, p.up, p.down
	p.mu.Unlock()
	if session == "" { // gone before it heard anything, and so before it could send
		return nil
	}
	closing, err := s.log.await(ctx, session)
	if err != nil {
		return err
	}
	if closing.Up >= headSize {
		select {
		case <-v.done:
		case <-ctx.Done():
			return errors.New("the target's connection does not end")
		}
	}
	if v.wrong != nil {
		return fmt.Errorf("at the target: %w", v.wrong)
	}
	counts := fmt.Sprintf("up: page %d, proxy %d, target %d; down: target %d, proxy %d, page %d", sent, closing.Up, v.got, v.sent, closing.Down, got)
	switch {
	case v.got > closing.Up || closing.Up > sent || got > closing.Down || closing.Down > v.sent:
		return fmt.Errorf("more arrived than was sent: %s", counts)
	case c.manner < leaves && c.kind != resets:
		if v.got != sent || got != v.sent || closing.Up != sent || closing.Down != got || sent != headSize+int64(c.up) {
			return fmt.Errorf("bytes were lost: %s", counts)
		}
		if closing.By != "target" || closing.Code != "" {
			return fmt.Errorf("the log says that it was ended by %s with code %q", closing.By, closing.Code)
		}
		s.orderly.Add(1)
	case c.manner == leaves && c.moment == inSession && (c.kind == sinks || c.kind == sips) && (v.got != closing.Up || v.wrong != nil):
		return fmt.Errorf("what a page had sent before it went did not reach the target: %s", counts)
	}
	return nil
}

// settled waits until the proxy has no tunnels.
func (s *soak) settled() {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.count("tunnels_open") == 0 && s.log.closed.Load() == s.accepted.Load() }, s.patience, 20*time.Millisecond,
		"tunnels stay open")
}

// count is the sum of the proxy's series of a name.
func (s *soak) count(name string) (sum int64) {
	s.t.Helper()
	metrics := &program{url: s.log.metrics()}
	_, text := metrics.get(s.t, "/metrics")
	for _, m := range regexp.MustCompile(`(?m)^smtpscope_`+name+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		require.NoError(s.t, err)
		sum += int64(n)
	}
	return sum
}

// accounts compares the proxy's sums with those of its log, which the pages have judged one by one.
func (s *soak) accounts() {
	s.t.Helper()
	assert.Equal(s.t, s.accepted.Load(), s.count("tunnels_ended_total"), "tunnels")
	assert.Equal(s.t, s.log.up.Load(), s.count(`tunnel_bytes_total\{direction="up"\}`), "bytes up")
	assert.Equal(s.t, s.log.down.Load(), s.count(`tunnel_bytes_total\{direction="down"\}`), "bytes down")
	assert.Positive(s.t, s.orderly.Load())
	assert.LessOrEqual(s.t, s.hasty.Load(), s.orderly.Load()/10, "tunnels that ended without a closing handshake")
	assert.Zero(s.t, s.count("tunnels_refused_total"), "requests for a tunnel that were not even upgraded")
}

// hasRoom opens as many tunnels as one client may have, and one more: a place that was not given back would be missed.
func (s *soak) hasRoom(room int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), s.patience)
	defer cancel()
	for i := range room + 1 {
		p, err := connect(ctx, s.proxy.url)
		require.NoError(s.t, err)
		defer p.abort()
		err = p.open(ctx, s.target(), func(tunnel.Status) {})
		if i < room {
			require.NoError(s.t, err, "place %d of %d", i+1, room)
			continue
		}
		var failure *tunnel.Error
		require.ErrorAs(s.t, err, &failure)
		assert.Equal(s.t, quota.RuleClientOpen, failure.Rule)
	}
}

// holdings is what a process has.
type holdings struct {
	goroutines, files int
	heap              uint64
}

func (s *soak) holds() holdings {
	return holdings{runtime.NumGoroutine(), s.files(), heap()}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (s *soak) files() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.t.Skipf("NOT RUN: this system does not list open files: %v", err)
	}
	return len(open)
}

// kept is how much more heap there may be after than before.
const kept = 8 << 20

// leaks waits until no more is held than before.
func (s *soak) leaks(before holdings) {
	s.t.Helper()
	deadline := time.Now().Add(s.patience)
	for {
		now := s.holds()
		if now.goroutines <= before.goroutines && now.files <= before.files && now.heap <= before.heap+kept {
			return
		}
		if time.Now().After(deadline) {
			var stacks bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			s.t.Fatalf("something stays behind: %+v before, %+v after\n%s", before, now, &stacks)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// watch notes the most heap that there was, until what it returns is called.
func (s *soak) watch(peak *atomic.Uint64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapAlloc))
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// closing is what the proxy's log says of the end of a tunnel.
type closing struct {
	Msg, Session, By, Code, URL string
	Up, Down                    int64
}

// ledger reads the proxy's log.
type ledger struct {
	up, down, closed atomic.Int64

	mu   sync.Mutex
	ends map[string]chan closing // by session, with room for one
	url  string                  // of the metrics
}

func newLedger() *ledger { return &ledger{ends: map[string]chan closing{}} }

// end is where the end of a session is written, whether it is awaited already or not.
func (l *ledger) end(session string) chan closing {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends[session] == nil {
		l.ends[session] = make(chan closing, 1)
	}
	return l.ends[session]
}

// Write gets one record.
func (l *ledger) Write(line []byte) (int, error) {
	var c closing
	if err := json.Unmarshal(line, &c); err != nil {
		return 0, fmt.Errorf("log %q: %w", line, err)
	}
	switch c.Msg {
	case "metrics":
		l.mu.Lock()
		defer l.mu.Unlock()
		l.url = c.URL
	case "tunnel closed":
		l.up.Add(c.Up)
		l.down.Add(c.Down)
		l.closed.Add(1)
		select {
		case l.end(c.Session) <- c:
		default:
			return 0, fmt.Errorf("%s ends twice", c.Session)
		}
	}
	return len(line), nil
}

func (l *ledger) String() string { return fmt.Sprintf("%d tunnels closed", l.closed.Load()) }

func (l *ledger) metrics() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.url[:len(l.url)-len("/metrics")]
}

// forget leaves out what nobody will ask for: tunnels whose pages never heard their names.
func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = map[string]chan closing{}
}

// await takes the record of the end of a session out of the book.
func (l *ledger) await(ctx context.Context, session string) (closing, error) {
	select {
	case c := <-l.end(session):
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.ends, session)
		return c, nil
	case <-ctx.Done():
		return closing{}, fmt.Errorf("the proxy does not end %s", session)
	}
}
