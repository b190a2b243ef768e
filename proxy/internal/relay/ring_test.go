package relay

import (
	"crypto/sha256"
	"io"
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
			b, ok := q.next()
			require.True(t, ok)
			n := 1 + rng.IntN(len(b))
			got.Write(b[:n])
			q.advance(n)
			read, inside = read+n, inside-n
		}
	}
	q.close()
	for {
		b, ok := q.next()
		if !ok {
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
	go func() {
		defer q.close()
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
			sent, free = sent+n, free-n
		}
	}()
	r := 0
	for {
		b, ok := q.next()
		if !ok {
			break
		}
		got.Write(b)
		r += len(b)
		n := len(b)
		q.advance(n)
		credit <- n
	}
	assert.Equal(t, total, r)
	assert.Equal(t, want.Sum(nil), got.Sum(nil))
}

func TestRingDropFreesBothSides(t *testing.T) {
	q := newRing()
	copy(q.reserve(), "abc")
	q.commit(3)
	b, ok := q.next()
	require.True(t, ok)
	require.Equal(t, "abc", string(b))
	q.drop()
	q.advance(0)
	_, ok = q.next()
	assert.False(t, ok)
	assert.Nil(t, q.reserve())

	waiting := newRing()
	done := make(chan error)
	go func() {
		if _, ok := waiting.next(); ok {
			done <- io.ErrNoProgress
		}
		close(done)
	}()
	waiting.drop()
	assert.NoError(t, <-done)
}
