package relay

import "sync"

// ring holds what a page has sent and the target has not taken yet: at most Window
// bytes, which the page's credit ensures. One goroutine fills it and one empties it,
// without a copy in between. While it is empty it holds no memory.
type ring struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     *[Window]byte // nil while there is nothing in it
	start   int           // first byte
	used    int
	filling bool // reserved memory is being written
	closed  bool // nothing more is coming
	dropped bool // nobody wants it any more
}

var windows = sync.Pool{New: func() any { return new([Window]byte) }}

func newRing() *ring {
	q := &ring{}
	q.changed.L = &q.mu
	return q
}

// reserve returns free space in one piece, nil when the ring was dropped or closed. What is written to
// it counts after commit, which must follow.
func (q *ring) reserve() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropped || q.closed {
		return nil
	}
	if q.buf == nil {
		q.buf, q.start = windows.Get().(*[Window]byte), 0
	}
	q.filling = true
	end := q.start + q.used
	if end >= Window {
		return q.buf[end-Window : q.start]
	}
	return q.buf[end:]
}

func (q *ring) commit(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.filling = false
	q.used += n
	q.tidy()
	q.changed.Signal()
}

// next waits for bytes and returns them in one piece, as many as there are. It returns
// false when no more will come.
func (q *ring) next() ([]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.used == 0 && !q.closed && !q.dropped {
		q.changed.Wait()
	}
	if q.used == 0 || q.dropped {
		return nil, false
	}
	return q.buf[q.start:min(q.start+q.used, Window)], true
}

// advance gives back the first n bytes of what next returned.
func (q *ring) advance(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.start, q.used = (q.start+n)%Window, q.used-n
	q.tidy()
}

// tidy returns the memory when it holds nothing.
func (q *ring) tidy() {
	if q.used == 0 && !q.filling && q.buf != nil {
		windows.Put(q.buf)
		q.buf = nil
	}
}

// close tells the reader that nothing comes after what there is.
func (q *ring) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Signal()
}

// drop tells both sides to give up.
func (q *ring) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped = true
	q.changed.Signal()
}
