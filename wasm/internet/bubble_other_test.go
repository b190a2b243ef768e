//go:build !js

package internet

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// overnight is how long a paused lab is left alone.
const overnight = 12 * time.Hour

// someSeeds are as many as a short test has time for.
const someSeeds = 10

// within runs a test in a lab. It is called outside of a bubble and calls test
// inside of one.
func within(t *testing.T, c Config, test func(*testing.T, *Lab)) {
	t.Helper()
	c.Settle = synctest.Wait
	l, err := New(c)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		defer l.Close()
		test(t, l)
	})
}

// underLoad runs f while other goroutines keep every processor busy, the garbage
// collector runs all the time and programs dawdle.
func underLoad(f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	defer func(before func()) { dawdle = before }(dawdle)
	dawdle = func() {
		for range rand.IntN(20) {
			runtime.Gosched()
		}
	}
	var stop atomic.Bool
	var busy sync.WaitGroup
	for range 3 {
		busy.Go(func() {
			for x := 0; !stop.Load(); x++ {
				if x%100_000 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	busy.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	defer busy.Wait()
	defer stop.Store(true)
	f()
}
