package internet

import (
	"net"
	"sync/atomic"
)

// kind says what a call needs to be tried again, and is also the order in which
// calls on one socket are tried at the same instant: a deadline counts for the
// reads and writes behind it, and a close comes last.
type kind uint32

const (
	callSet   kind = 1 << iota // never waits
	callRead                   // when the socket can be read from, or accepts
	callWrite                  // when it can be written to, or is connected
	callWake                   // when a sleep is over
	callClose                  // never waits
)

// socket is what calls are about.
type socket struct {
	host *Host
	// id is the lab's number of it, given out on its turns. A listener has its port,
	// and what has no number yet has 0.
	id    int
	ready atomic.Uint32 // kinds of calls that are worth trying again
}

func (s *socket) wake(k kind) { s.ready.Or(uint32(k)) }

// call is something that a program wants of the lab. Only the driver tries it.
type call struct {
	socket *socket
	kind   kind
	detail string // orders calls that have no socket yet
	post   uint64

	try  func(*call) bool // true when it is answered
	n    int
	err  error
	done chan struct{} // closed when it is answered; nil when nobody waits
}

// post hands a call to the driver. It returns false when the lab is closed.
func (l *Lab) post(c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.err = net.ErrClosed
		return false
	}
	l.posts++
	c.post = l.posts
	l.posted = append(l.posted, c)
	return true
}

// ask posts a call and waits for the answer.
func (l *Lab) ask(c *call) (int, error) {
	c.done = make(chan struct{})
	if l.post(c) {
		<-c.done
	}
	return c.n, c.err
}

// fail answers a call because the lab is closed.
func (c *call) fail() {
	c.err = net.ErrClosed
	if c.done != nil {
		close(c.done)
	}
}
