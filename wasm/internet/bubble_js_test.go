package internet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// overnight is as long as a pause can be where time is real.
const overnight = 2 * time.Millisecond

// someSeeds are as many as a short test has time for.
const someSeeds = 2

// within runs a test in a lab that settles as it does in a page.
func within(t *testing.T, c Config, test func(*testing.T, *Lab)) {
	t.Helper()
	l, err := New(c)
	require.NoError(t, err)
	defer l.Close()
	test(t, l)
}

// underLoad has nothing to do: there is one thread.
func underLoad(f func()) { f() }
