package mail

import (
	"testing"

	"github.com/stretchr/testify/require"

	"smtpscope/wasm/internet"
)

// within runs a test in a lab that settles as it does in a page.
func within(t *testing.T, c internet.Config, test func(*testing.T, *internet.Lab)) {
	t.Helper()
	l, err := internet.New(c)
	require.NoError(t, err)
	defer l.Close()
	test(t, l)
}

// rounds is how often a test repeats what the scheduler could change.
const rounds = 1

// underLoad has nothing to do: there is one thread.
func underLoad(f func()) { f() }
