package session

import (
	"context"
	"time"
)

// reader reads the connection in a goroutine of its own, one read at a time and
// only when asked, so that the session can wait for the server and its user at
// once, and so that nobody reads while TLS is being started.
type reader struct {
	conn *conduit
	ask  chan struct{}
	got  chan chunk
	busy bool
	over chan struct{} // closed when the goroutine has ended
}

// chunk is what one read returned; its bytes are valid until the next read is asked for.
type chunk struct {
	bytes []byte
	err   error
}

// readSize takes a whole TLS record, so that one read is one record.
const readSize = 16 << 10

func newReader(c *conduit) *reader {
	r := &reader{conn: c, ask: make(chan struct{}, 1), got: make(chan chunk, 1), over: make(chan struct{})}
	go func() {
		defer close(r.over)
		buf := make([]byte, readSize)
		for range r.ask {
			n, err := c.Read(buf)
			r.got <- chunk{buf[:n], err}
		}
	}()
	return r
}

// stop closes the connection and waits until nobody reads any more.
func (r *reader) stop() {
	r.conn.Close()
	close(r.ask)
	<-r.over
}

// start asks for a read unless one is under way.
func (r *reader) start() {
	if !r.busy {
		r.busy = true
		r.ask <- struct{}{}
	}
}

// wait returns what the server sent; the chunk's error is os.ErrDeadlineExceeded
// at the deadline (the zero time is none). It returns false when woken or when ctx is done.
func (r *reader) wait(ctx context.Context, deadline time.Time, woken <-chan struct{}) (chunk, bool) {
	r.conn.raw.SetReadDeadline(deadline) //nolint:errcheck // a connection that cannot wait fails in Read
	r.start()
	select {
	case c := <-r.got:
		r.busy = false
		return c, true
	case <-woken:
	case <-ctx.Done():
	}
	return chunk{}, false
}

// poll returns what has been read already.
func (r *reader) poll() (chunk, bool) {
	r.start()
	select {
	case c := <-r.got:
		r.busy = false
		return c, true
	default:
		return chunk{}, false
	}
}
