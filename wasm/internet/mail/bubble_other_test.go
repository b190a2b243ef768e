//go:build !js

package mail

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"smtpscope/wasm/internet"
)

// within runs a test in a lab, inside of a bubble: it ends only when every
// goroutine of the lab's programs has ended.
func within(t *testing.T, c internet.Config, test func(*testing.T, *internet.Lab)) {
	t.Helper()
	c.Settle = synctest.Wait
	l, err := internet.New(c)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		defer l.Close()
		test(t, l)
	})
}

// rounds is how often a test repeats what the scheduler could change.
const rounds = 5

// underLoad runs f while other goroutines keep every processor busy.
func underLoad(f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
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
	defer busy.Wait()
	defer stop.Store(true)
	f()
}
