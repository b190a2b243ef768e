package internet

import (
	"container/heap"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// zone is where the lab's times are. Having a *time.Location of its own is how
// the lab tells a deadline made from Lab.Now from one made from time.Now.
var zone = time.FixedZone("UTC", 0)

// clock is the lab's time: a heap of timers, ordered by due time and, at the
// same time, by who was set first. Time stands still but for step.
type clock struct {
	mu    sync.Mutex
	start time.Time
	now   int64 // nanoseconds since the start
	set   uint64
	due   timers
}

// timer is something that is going to happen. It implements tcpip.Timer.
type timer struct {
	clock *clock
	run   func()
	host  *Host // whose stack this is the business of, or nil
	at    int64
	order uint64
	index int // in the heap, -1 when it is not set
}

func newClock(start time.Time) *clock { return &clock{start: start.In(zone)} }

func (c *clock) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.now)
}

func (c *clock) time() time.Time { return c.start.Add(c.elapsed()) }

// after sets a timer. A duration that is not positive is due at once: at the
// present time, behind everything that is due then already.
func (c *clock) after(d time.Duration, host *Host, run func()) *timer {
	t := &timer{clock: c, run: run, host: host, index: -1}
	t.Reset(d)
	return t
}

// next is when the next timer is due.
func (c *clock) next() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) == 0 {
		return 0, false
	}
	return time.Duration(c.due[0].at), true
}

// step advances time to the next timer and runs it. It returns the timer, or nil
// when there is none.
func (c *clock) step() *timer {
	c.mu.Lock()
	if len(c.due) == 0 {
		c.mu.Unlock()
		return nil
	}
	t := heap.Pop(&c.due).(*timer)
	c.now = t.at
	c.mu.Unlock()
	t.run() // it may set and stop timers
	return t
}

// clear forgets all timers.
func (c *clock) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.due {
		t.index = -1
	}
	c.due = nil
}

// Stop implements tcpip.Timer.
func (t *timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	if t.index < 0 {
		return false
	}
	heap.Remove(&t.clock.due, t.index)
	return true
}

// Reset implements tcpip.Timer.
func (t *timer) Reset(d time.Duration) {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.index >= 0 {
		heap.Remove(&c.due, t.index)
	}
	c.set++
	t.at, t.order = c.now+int64(max(d, 0)), c.set
	heap.Push(&c.due, t)
}

// timers implements heap.Interface.
type timers []*timer

func (h timers) Len() int { return len(h) }

func (h timers) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h, t.index = old[:len(old)-1], -1
	return t
}

// stackClock is the clock as one host's stack sees it. It implements tcpip.Clock.
type stackClock struct {
	*clock
	host *Host
}

var _ tcpip.Clock = stackClock{}

func (c stackClock) Now() time.Time { return c.time() }

// NowMonotonic runs from the start of the lab on.
func (c stackClock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(c.elapsed())
}

// AfterFunc runs f on the driver, not in a goroutine of its own as tcpip.Clock
// says: the stack is idle then, so that f can take every lock.
func (c stackClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	return c.after(d, c.host, f)
}
