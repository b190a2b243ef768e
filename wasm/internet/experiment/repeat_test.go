package experiment

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet/labtest"
)

// troubled is a link that does to packets all that a link can do.
var troubled = settings{"delay": "25ms", "bandwidth": "10Mbit", "loss": .03, "reorder": .03, "duplicate": .01, "corrupt": .01}

// Same plan and seed, same trace, to the last octet and nanosecond.
func TestSameSeedSameTrace(t *testing.T) {
	plans := map[string]func(seed int) settings{
		"direct": func(seed int) settings {
			return base(settings{"seed": seed, "link": troubled, "messages": []settings{{"from": "ada@example.org", "to": []string{"grace@example.net"}, "data": long(100_000)}}})
		},
		"chain": func(seed int) settings {
			return base(signedIn, settings{"seed": seed, "link": troubled, "lab": settings{"route": "chain", "server": settings{"greylist": "10m"}}})
		},
	}
	for name, plan := range plans {
		t.Run(name, func(t *testing.T) {
			first := digest(t, run(t, plan(7)))
			labtest.UnderLoad(func() {
				for range labtest.Times(10) {
					require.Equal(t, first, digest(t, run(t, plan(7))))
				}
			})
			assert.NotEqual(t, first, digest(t, run(t, plan(8))))
		})
	}
}

// Stepped event by event, it is the same run.
func TestSteppedAndAtOnce(t *testing.T) {
	plan := base(settings{"link": troubled})
	var stepped *trace.Trace
	steps := 0
	lab(t, Config{Plan: planOf(t, plan)}, func(t *testing.T, e *Experiment) {
		require.NoError(t, e.Start(t.Context()))
		for over := false; !over; steps++ {
			first := true
			over = e.Run(func() bool { defer func() { first = false }(); return !first })
		}
		stepped = e.Result()
	})
	assert.Greater(t, steps, 40)
	assert.Equal(t, digest(t, run(t, plan)), digest(t, stepped))
}
