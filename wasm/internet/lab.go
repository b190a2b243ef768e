package internet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes a lab.
type Config struct {
	Seed  int64
	Start time.Time // what the clocks show at first; default 1 January 2026
	Hosts []HostConfig
	Link  Link      // between any two hosts that Links says nothing of
	Links []Between // at most one for two hosts

	// Tap hears of every packet, in the order in which packets were put on links.
	// State, if not nil, hears what TCP says of it, right behind the packet. Both
	// are called by the goroutine that steps the lab.
	Tap   func(Packet)
	State func(State)

	// Settle returns when every goroutine that has to do with the lab is blocked,
	// but for the one that calls it. In js/wasm leave it nil. Natively it is
	// synctest.Wait (testing/synctest): call New outside of the bubble, because the
	// stacks' own goroutines block in a way that synctest takes for running, and
	// everything else inside of it. There, a program that holds a mutex during a call
	// while another waits for that mutex hangs: synctest takes the other for running.
	// Close and the setting of deadlines never wait, so that they are no such calls.
	Settle func()
}

// Between is the link of two hosts, named by their ids.
type Between struct {
	A, B string
	Link Link
}

// defaultStart has no meaning but that certificates can be made for it.
var defaultStart = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Lab is an internet. Its hosts can be used by any goroutine; Step, Run and
// Close belong to one, the driver.
type Lab struct {
	config  Config
	clock   *clock
	hosts   []*Host
	serving sync.WaitGroup // what Serve started
	release func()         // what Settle needs

	mu     sync.Mutex
	closed bool
	posted []*call // asked since the last turn, by any goroutine
	posts  uint64

	// The driver's own.
	waiting []*call // those that cannot be answered yet
	sockets int

	stopped atomic.Bool // by Close: links drop everything from now on
	tapMu   sync.Mutex
	tapped  []Packet // by the links since the last flush
	packets int
}

// New builds the stacks and the links. Nothing runs until Step.
func New(c Config) (*Lab, error) {
	if c.Start.IsZero() {
		c.Start = defaultStart
	}
	l := &Lab{config: c, clock: newClock(c.Start), release: func() {}}
	if c.Settle == nil {
		wait, release := settle()
		if wait == nil {
			return nil, errors.New("internet: Config.Settle is missing: outside of js/wasm the lab cannot tell by itself when its programs wait; run it in a testing/synctest bubble and set synctest.Wait")
		}
		l.config.Settle, l.release = wait, release
	}
	if err := l.build(); err != nil {
		l.stop()
		return nil, fmt.Errorf("internet: %w", err)
	}
	return l, nil
}

func (l *Lab) build() error {
	for _, c := range l.config.Hosts {
		if l.Host(c.ID) != nil {
			return fmt.Errorf("hosts: two have the id %q", c.ID)
		}
		h, err := newHost(l, c, len(l.hosts))
		if err != nil {
			return fmt.Errorf("hosts: %s: %w", c.ID, err)
		}
		if i := slices.IndexFunc(l.hosts, func(o *Host) bool { return o.address == h.address }); i >= 0 {
			h.stop()
			return fmt.Errorf("hosts: %s has the address of %s", c.ID, l.hosts[i].id)
		}
		l.hosts = append(l.hosts, h)
	}
	links := map[[2]string]Link{}
	for _, b := range l.config.Links {
		if l.Host(b.A) == nil || l.Host(b.B) == nil || b.A == b.B {
			return fmt.Errorf("links: %q and %q are not two hosts of this lab", b.A, b.B)
		}
		if _, twice := links[[2]string{b.A, b.B}]; twice {
			return fmt.Errorf("links: two for %q and %q", b.A, b.B)
		}
		links[[2]string{b.A, b.B}], links[[2]string{b.B, b.A}] = b.Link, b.Link
	}
	for i, a := range l.hosts {
		for _, b := range l.hosts[i+1:] {
			link, ok := links[[2]string{a.id, b.id}]
			if !ok {
				link = l.config.Link
			}
			s, err := link.parse()
			if err != nil {
				return fmt.Errorf("%s to %s: %w", a.id, b.id, err)
			}
			if err := l.join(a, b, s); err != nil {
				return err
			}
		}
	}
	for _, h := range l.hosts {
		if err := h.startDNS(); err != nil {
			return fmt.Errorf("hosts: %s: %w", h.id, err)
		}
	}
	return nil
}

func (l *Lab) join(a, b *Host, s settings) error {
	ends := [2]*port{{host: a}, {host: b}}
	for i, end := range ends {
		other := ends[1-i]
		end.out = &direction{settings: s, lab: l, from: end.host, to: other,
			chance: newChance(l.config.Seed, "link", end.host.id, other.host.id)}
	}
	if err := a.plug(ends[0], b); err != nil {
		return err
	}
	return b.plug(ends[1], a)
}

// Host finds a host by its id. It returns nil when there is none.
func (l *Lab) Host(id string) *Host {
	for _, h := range l.hosts {
		if h.id == id {
			return h
		}
	}
	return nil
}

// Now is the lab's time. Deadlines that are made from it are exact. It has no
// monotonic reading and runs only as the lab is stepped.
func (l *Lab) Now() time.Time { return l.clock.time() }

// Elapsed is the time since the lab's start.
func (l *Lab) Elapsed() time.Duration { return l.clock.elapsed() }

// Next is when the next event is due, since the lab's start; false when nothing
// is going to happen any more unless a program does something by itself.
func (l *Lab) Next() (time.Duration, bool) { return l.clock.next() }

// Step lets the programs run as far as they get, then takes one event, and lets
// them run again. It returns false when there was no event, as after Close.
func (l *Lab) Step() bool {
	l.quiet()
	return l.step()
}

// Run steps until until, which it asks before every event, says true. It returns
// false when there is no event left before that.
func (l *Lab) Run(until func() bool) bool {
	l.quiet()
	for !until() {
		if !l.step() {
			return false
		}
	}
	return true
}

func (l *Lab) step() bool {
	t := l.clock.step()
	if t == nil {
		return false
	}
	if t.host != nil {
		t.host.finish()
	}
	l.flush(t.host)
	if l.answer() {
		l.quiet()
	}
	return true
}

// quiet answers calls until every program waits for something that takes time.
func (l *Lab) quiet() {
	for !l.stopped.Load() {
		l.config.Settle()
		if !l.answer() {
			return
		}
	}
}

// answer tries the calls that may have become possible, in an order that is the
// same in every run, and reports whether a program can go on. It lets the programs
// go only when it is done: one that ran earlier could ask for more at any moment.
func (l *Lab) answer() bool {
	var answered []*call
	for batch := l.take(); len(batch) > 0; batch = l.take() {
		touched := make([]bool, len(l.hosts))
		for _, c := range batch {
			touched[c.socket.host.index] = true
			switch {
			case !c.try(c):
				l.waiting = append(l.waiting, c)
			case c.done != nil:
				answered = append(answered, c)
			}
		}
		for i, h := range l.hosts {
			if touched[i] {
				h.finish()
			}
		}
		l.flush(nil)
	}
	for _, c := range answered {
		close(c.done)
	}
	return len(answered) > 0
}

// take collects the calls that were posted and those whose socket is ready.
func (l *Lab) take() []*call {
	l.mu.Lock()
	batch := l.posted
	l.posted = nil
	l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(c *call) bool {
		ready := c.socket.ready.Load()&uint32(c.kind) != 0
		if ready {
			batch = append(batch, c)
		}
		return ready
	})
	for _, c := range batch {
		c.socket.ready.And(^uint32(c.kind))
	}
	slices.SortFunc(batch, func(a, b *call) int {
		return cmp.Or(
			cmp.Compare(a.socket.host.index, b.socket.host.index),
			cmp.Compare(a.socket.id, b.socket.id),
			cmp.Compare(a.kind, b.kind),
			cmp.Compare(a.detail, b.detail),
			cmp.Compare(a.post, b.post),
		)
	})
	return batch
}

// report takes a packet from a link and numbers it.
func (l *Lab) report(p Packet) int {
	l.tapMu.Lock()
	defer l.tapMu.Unlock()
	p.Seq = l.packets
	l.packets++
	l.tapped = append(l.tapped, p)
	return p.Seq
}

// flush hands on what was tapped while the stacks worked. arrived is the host
// that an event was about, if any.
func (l *Lab) flush(arrived *Host) {
	if arrived != nil && arrived.arriving != nil {
		if l.config.State != nil {
			if s, ok := arrived.sample(*arrived.arriving, true); ok {
				s.Inner = arrived.probed
				l.config.State(s)
			}
		}
		arrived.arriving, arrived.probed = nil, nil
	}
	l.tapMu.Lock()
	tapped := l.tapped
	l.tapped = nil
	l.tapMu.Unlock()
	for _, p := range tapped {
		if l.config.Tap != nil {
			l.config.Tap(p)
		}
		if l.config.State == nil || p.Of >= 0 {
			continue // a copy was not sent by TCP
		}
		if s, ok := l.Host(p.From).sample(p, false); ok {
			l.config.State(s)
		}
	}
}

// Close ends everything: every call of a program fails with net.ErrClosed, what
// Serve started is waited for, and the stacks are taken down without another
// packet. It may be called more than once.
func (l *Lab) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	calls := append(l.waiting, l.posted...)
	l.waiting, l.posted = nil, nil
	l.mu.Unlock()
	for _, c := range calls {
		c.fail()
	}
	l.serving.Wait()
	l.stop()
}

func (l *Lab) stop() {
	l.stopped.Store(true)
	for _, h := range l.hosts {
		h.stop()
	}
	l.clock.clear()
	l.release()
}
