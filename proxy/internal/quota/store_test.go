package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// until makes an account that is worth keeping for so long.
func until(c *clock, d time.Duration) func(*Account) error {
	return func(a *Account) error {
		a.Tunnels.Ends = c.now.Add(d)
		return nil
	}
}

func TestMemoryForgets(t *testing.T) {
	c := newClock()
	m := NewMemory(c.time)
	for i := range 10 * few {
		require.NoError(t, m.Update(fmt.Sprint(i), until(c, time.Minute)))
		c.pass(time.Second)
		require.LessOrEqual(t, len(m.accounts), few+1, "only those of the last minute are worth anything")
	}
	require.NoError(t, m.Update("0", until(c, 0)))
	assert.NotContains(t, m.accounts, "0", "an account that says nothing is not kept at all")
}

func TestMemoryIsBounded(t *testing.T) {
	c := newClock()
	m := NewMemory(c.time)
	for i := range most {
		require.NoError(t, m.Update(fmt.Sprint(i), until(c, time.Hour)))
	}
	for range 3 {
		require.ErrorIs(t, m.Update("one more", until(c, time.Hour)), errFull)
	}
	require.NoError(t, m.Update("7", until(c, time.Hour)), "those that it knows go on")
	require.Len(t, m.accounts, most)
	c.pass(time.Hour)
	require.NoError(t, m.Update("one more", until(c, time.Hour)))
	assert.Len(t, m.accounts, 1)
}

func TestMemoryKeepsNothingOfAFailedChange(t *testing.T) {
	c := newClock()
	m := NewMemory(c.time)
	require.NoError(t, m.Update("a", func(a *Account) error {
		a.Open = []time.Time{c.now.Add(time.Hour)}
		return nil
	}))
	failure := errors.New("no")
	require.Same(t, failure, m.Update("a", func(a *Account) error {
		a.Open[0] = time.Time{}
		a.Bytes.Used = 1
		return failure
	}))
	require.NoError(t, m.Update("a", func(a *Account) error {
		assert.Equal(t, Account{Open: []time.Time{c.now.Add(time.Hour)}}, *a)
		return nil
	}))
}

func TestAccountIsPlainData(t *testing.T) {
	c := newClock()
	a := Account{Open: []time.Time{c.now.Add(time.Hour)}, Tunnels: Window{Used: 3, Ends: c.now.Add(time.Minute)}, Bytes: Window{Used: 7, Ends: c.now.Add(2 * time.Hour)}}
	text, err := json.Marshal(a)
	require.NoError(t, err)
	var b Account
	require.NoError(t, json.Unmarshal(text, &b))
	assert.Equal(t, a, b)
	assert.Equal(t, c.now.Add(2*time.Hour), b.Until())
	text, err = json.Marshal(Account{})
	require.NoError(t, err)
	assert.Equal(t, "{}", string(text))
	assert.True(t, new(Account).Until().IsZero())
}
