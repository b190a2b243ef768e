package lookup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"smtpscope/protocol/tunnel"
)

// cache keeps what was found for as long as it is good, and has each thing found
// once for all who ask at the same time. It is bounded both in what it keeps and
// in what is under way.
type cache[K comparable, V any] struct {
	find  func(context.Context, K) (found V, good time.Duration, err error)
	most  int           // entries
	limit time.Duration // of a find
	slots chan struct{}
	now   func() time.Time

	mu      sync.Mutex
	entries map[K]*entry[V]
}

// entry is what is being found, or was.
type entry[V any] struct {
	done    chan struct{} // closed when the rest is set
	found   V
	err     error
	stored  time.Time
	expires time.Time
}

func newCache[K comparable, V any](slots chan struct{}, most int, limit time.Duration, find func(context.Context, K) (V, time.Duration, error)) *cache[K, V] {
	return &cache[K, V]{find: find, most: most, limit: limit, slots: slots, now: time.Now, entries: map[K]*entry[V]{}}
}

// get gives what is kept, or waits for who finds it already, or finds it. kept is
// how old it is, and negative when it was found for this call.
func (c *cache[K, V]) get(ctx context.Context, key K) (found V, kept time.Duration, err error) {
	c.mu.Lock()
	e, known := c.entries[key]
	if known && e.finished() {
		now := c.now()
		if now.Before(e.expires) {
			c.mu.Unlock()
			return e.found, now.Sub(e.stored), nil
		}
		known = false
	}
	if !known {
		if e, err = c.begin(ctx, key); err != nil {
			c.mu.Unlock()
			return found, -1, err
		}
	}
	c.mu.Unlock()
	select {
	case <-e.done:
		return e.found, -1, e.err
	case <-ctx.Done():
		return found, -1, calledOff(ctx.Err())
	}
}

// begin is to be called with mu held. Others may come to wait for what is found,
// so it does not end with the call that began it.
func (c *cache[K, V]) begin(ctx context.Context, key K) (*entry[V], error) {
	select {
	case c.slots <- struct{}{}:
	default:
		return nil, &tunnel.Error{Code: tunnel.CodeTooMany, RetryAfter: 1,
			Message: fmt.Sprintf("%d look-ups are under way already, which is as many as this proxy makes at one time. Try again in a second.", cap(c.slots))}
	}
	c.makeRoom()
	e := &entry[V]{done: make(chan struct{})}
	c.entries[key] = e
	go func() {
		defer func() { <-c.slots }()
		finding, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.limit)
		defer cancel()
		found, good, err := c.find(finding, key)
		c.mu.Lock()
		defer c.mu.Unlock()
		e.found, e.err, e.stored = found, err, c.now()
		e.expires = e.stored.Add(good)
		if err != nil || good <= 0 {
			delete(c.entries, key)
		}
		close(e.done)
	}()
	return e, nil
}

func (e *entry[V]) finished() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// makeRoom drops what has expired and, if that is not enough, anything. It is to be
// called with mu held; what is under way is bounded by its slots.
func (c *cache[K, V]) makeRoom() {
	if len(c.entries) < c.most {
		return
	}
	now := c.now()
	for key, e := range c.entries {
		if e.finished() && !now.Before(e.expires) {
			delete(c.entries, key)
		}
	}
	for key, e := range c.entries {
		if len(c.entries) < c.most {
			return
		}
		if e.finished() {
			delete(c.entries, key)
		}
	}
}

// calledOff is the error of a call whose own time ended before anything was found.
func calledOff(cause error) error {
	code := tunnel.CodeShutdown
	if errors.Is(cause, context.DeadlineExceeded) {
		code = tunnel.CodeTimeout
	}
	return &tunnel.Error{Code: code, Message: "The look-up was called off before it was answered."}
}
