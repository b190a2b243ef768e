package labtest

import (
	"testing"
	"time"
)

// Settle is the lab's Config.Settle.
func Settle() func() { return nil }

// Bubble runs what uses a lab; the lab itself is made outside.
func Bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	f(t)
}

// Overnight is how long a paused lab is left alone, where time is real.
const Overnight = 2 * time.Millisecond

// Times is how often a test repeats itself: a tenth of what it could natively, and once at least.
func Times(n int) int { return max(1, n/10) }

// UnderLoad has nothing to do: there is one thread.
func UnderLoad(f func()) { f() }

// Dawdle is what a slow program does before every call.
func Dawdle() {}

// Settled returns when every other goroutine waits.
func Settled() { time.Sleep(time.Millisecond) }
