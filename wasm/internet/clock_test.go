package internet

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClockOrder(t *testing.T) {
	c := newClock(defaultStart)
	var ran []string
	note := func(s string) func() { return func() { ran = append(ran, s) } }
	c.after(20*time.Millisecond, nil, note("late"))
	c.after(10*time.Millisecond, nil, note("a"))
	c.after(10*time.Millisecond, nil, note("b"))
	c.after(-time.Second, nil, func() {
		note("now")()
		c.after(0, nil, note("behind it"))
	})
	c.after(0, nil, note("also now"))

	at, ok := c.next()
	require.True(t, ok)
	assert.Zero(t, at)
	for c.step() != nil {
	}
	assert.Equal(t, []string{"now", "also now", "behind it", "a", "b", "late"}, ran)
	assert.Equal(t, 20*time.Millisecond, c.elapsed())
	assert.Equal(t, defaultStart.Add(20*time.Millisecond), c.time().UTC())
	_, ok = c.next()
	assert.False(t, ok)
}

func TestTimer(t *testing.T) {
	c := stackClock{newClock(defaultStart), nil}
	ran := 0
	timer := c.AfterFunc(time.Second, func() { ran++ })
	assert.True(t, timer.Stop())
	assert.False(t, timer.Stop())
	assert.Nil(t, c.step())
	timer.Reset(time.Second)
	timer.Reset(2 * time.Second)
	require.NotNil(t, c.step())
	assert.Nil(t, c.step(), "it was set twice and runs once")
	assert.Equal(t, 1, ran)
	assert.False(t, timer.Stop())
	assert.EqualValues(t, 2000, c.NowMonotonic().Milliseconds())
	timer.Reset(time.Second)
	c.clear()
	assert.False(t, timer.Stop())
	assert.Nil(t, c.step())
}

// The heap runs what a sorted list would run.
func TestClockAgainstList(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newClock(defaultStart)
		type entry struct{ at, order, name int }
		var want []entry
		var got []int
		var timers []*timer
		order := 0
		forget := func(name int) { want = slices.DeleteFunc(want, func(e entry) bool { return e.name == name }) }
		for range 300 {
			switch now := int(c.elapsed()); rng.IntN(5) {
			case 0, 1:
				name, d := len(timers), rng.IntN(20)
				order++
				want = append(want, entry{now + d, order, name})
				timers = append(timers, c.after(time.Duration(d), nil, func() { got = append(got, name) }))
			case 2:
				if len(timers) > 0 {
					name := rng.IntN(len(timers))
					pending := slices.ContainsFunc(want, func(e entry) bool { return e.name == name })
					require.Equal(t, pending, timers[name].Stop())
					forget(name)
				}
			case 3:
				if len(timers) > 0 {
					name, d := rng.IntN(len(timers)), rng.IntN(20)
					timers[name].Reset(time.Duration(d))
					forget(name)
					order++
					want = append(want, entry{now + d, order, name})
				}
			case 4:
				slices.SortFunc(want, func(a, b entry) int { return (a.at-b.at)*1000 + a.order - b.order })
				if len(want) == 0 {
					require.Nil(t, c.step())
					break
				}
				got = got[:0]
				require.NotNil(t, c.step())
				require.Equal(t, []int{want[0].name}, got)
				require.EqualValues(t, want[0].at, c.elapsed())
				want = want[1:]
			}
		}
	}
}
