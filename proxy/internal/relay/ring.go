package relay

import "sync"

// ring holds what a page has sent and the target has not taken yet: at most Window
// bytes, which the page's credit ensures. One goroutine fills it and one empties it,
// without a copy in between. While it is empty it holds no memory, and needs no goroutine:
// whoever has put something in, or closed it, starts one if claim says so.
type ring struct {
	mu       sync.Mutex
	changed  sync.Cond
	buf      *[Window]byte // nil while there is nothing in it
	start    int           // first byte
	used     int
	filling  bool // reserved memory is being written
	claimed  bool // somebody empties it
	closed   bool // nothing more is coming
	dropped  bool // nobody wants it any more
	finished bool // closed and emptied, or given up
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
}

// claim tells whether somebody must begin to empty the ring, and that the caller sees to it.
func (q *ring) claim() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.claimed || q.dropped || q.used == 0 && !q.closed {
		return false
	}
	q.claimed = true
	return true
}

// next returns what there is, in one piece. When there is nothing the claim ends, unless last tells
// that no more will come: then finish must follow.
func (q *ring) next() (b []byte, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.dropped:
		return nil, true
	case q.used > 0:
		return q.buf[q.start:min(q.start+q.used, Window)], false
	}
	q.claimed = q.closed
	return nil, q.closed
}

// finish says that nothing more is done with the ring's bytes.
func (q *ring) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finished = true
	q.changed.Broadcast()
}

// wait returns when the ring is finished, or was dropped while nobody emptied it.
func (q *ring) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.finished && (q.claimed || !q.dropped) {
		q.changed.Wait()
	}
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

// close says that nothing comes after what there is.
func (q *ring) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// drop tells both sides to give up.
func (q *ring) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped = true
	q.changed.Broadcast()
}
