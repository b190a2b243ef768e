package relay

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRingKeepsOrderAndCapacity(t *testing.T) {
	q := newRing()
	rng := rand.New(rand.NewPCG(1, 2))
	var wrote, read, inside int
	want, got := sha256.New(), sha256.New()
	for wrote < 20*Window {
		for inside < Window && rng.IntN(3) > 0 { // what credit ensures
			space := q.reserve()
			require.NotEmpty(t, space)
			require.LessOrEqual(t, len(space), Window-inside)
			n := rng.IntN(len(space) + 1)
			for i := range space[:n] {
				space[i] = byte(wrote + i)
			}
			want.Write(space[:n])
			q.commit(n)
			wrote, inside = wrote+n, inside+n
		}
		for inside > 0 && rng.IntN(3) > 0 {
			b, last := q.next()
			require.False(t, last)
			n := 1 + rng.IntN(len(b))
			got.Write(b[:n])
			q.advance(n)
			read, inside = read+n, inside-n
		}
	}
	q.close()
	for {
		b, last := q.next()
		if last {
			break
		}
		got.Write(b)
		q.advance(len(b))
	}
	assert.Equal(t, want.Sum(nil), got.Sum(nil))
	assert.Nil(t, q.buf, "an empty ring holds no memory")
	assert.Nil(t, q.reserve(), "a closed ring takes nothing")
}

func TestRingBetweenTwoGoroutines(t *testing.T) {
	q := newRing()
	const total = 8 * Window
	credit := make(chan int, total)
	credit <- Window
	want, got := sha256.New(), sha256.New()
	r := 0
	empty := func() {
		for {
			b, last := q.next()
			switch {
			case last:
				q.finish()
				return
			case len(b) == 0:
				return
			}
			got.Write(b)
			n := len(b)
			r += n
			q.advance(n)
			credit <- n
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	free := 0
	for sent := 0; sent < total; {
		for free == 0 {
			free += <-credit
		}
		space := q.reserve()
		n := min(len(space), free, 1+rng.IntN(5000), total-sent)
		for i := range space[:n] {
			space[i] = byte((sent + i) >> 3)
		}
		want.Write(space[:n])
		q.commit(n)
		if q.claim() {
			go empty()
		}
		sent, free = sent+n, free-n
	}
	q.close()
	if q.claim() {
		go empty()
	}
	q.wait()
	assert.Equal(t, total, r)
	assert.Equal(t, want.Sum(nil), got.Sum(nil))
	assert.False(t, q.claim(), "what is finished is nobody's again")
}

func TestRingIsClaimedOnce(t *testing.T) {
	q := newRing()
	assert.False(t, q.claim(), "there is nothing to do")
	copy(q.reserve(), "abc")
	q.commit(3)
	assert.True(t, q.claim())
	assert.False(t, q.claim(), "somebody is at it")
	q.advance(3)
	b, last := q.next()
	assert.Empty(t, b)
	assert.False(t, last)
	assert.False(t, q.claim(), "there is nothing to do again")
	q.close()
	assert.True(t, q.claim(), "the end has to be passed on")
}

func TestRingDropFreesBothSides(t *testing.T) {
	q := newRing()
	copy(q.reserve(), "abc")
	q.commit(3)
	require.True(t, q.claim())
	b, last := q.next()
	require.False(t, last)
	require.Equal(t, "abc", string(b))
	q.drop()
	q.advance(0)
	assert.Nil(t, q.reserve())
	waited := make(chan struct{})
	go func() {
		q.wait()
		close(waited)
	}()
	_, last = q.next()
	assert.True(t, last)
	q.finish()
	<-waited

	unclaimed := newRing()
	unclaimed.drop()
	unclaimed.wait()
	assert.False(t, unclaimed.claim())
}
