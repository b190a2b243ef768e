//go:build !js

package labtest

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Settle is the lab's Config.Settle.
func Settle() func() { return synctest.Wait }

// Bubble runs what uses a lab; the lab itself is made outside.
func Bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// Overnight is how long a paused lab is left alone.
const Overnight = 12 * time.Hour

// Times is how often a test repeats itself. WASM has less time.
func Times(n int) int { return n }

// UnderLoad runs f while other goroutines keep every processor busy and the garbage collector runs all the time. While it
// does, Dawdle takes real time at random.
func UnderLoad(f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	loaded.Store(true)
	defer loaded.Store(false)
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

var loaded atomic.Bool

// Dawdle is what a slow program does before every call.
func Dawdle() {
	if !loaded.Load() {
		return
	}
	for range rand.IntN(20) {
		runtime.Gosched()
	}
}

// Settled returns when every other goroutine waits.
func Settled() { synctest.Wait() }
