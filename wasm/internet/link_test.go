package internet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLinkCheck(t *testing.T) {
	for _, c := range []struct {
		link Link
		want string // of the error, "" for none
	}{
		{Link{}, ""},
		{Link{Delay: "40ms", Bandwidth: "10Mbit", Loss: 0.02, Reorder: 1, Duplicate: 0.5, Corrupt: 0.1, MTU: 1500}, ""},
		{Link{Delay: "0", Bandwidth: "1.5gbit", MTU: 68}, ""},
		{Link{Delay: "20m", Bandwidth: "300bit", MTU: 65535}, ""},
		{Link{Delay: "fast"}, `link.delay: "fast" is not a duration; write it like "40ms" or "1.5s"`},
		{Link{Delay: "40"}, `link.delay: "40" is not a duration`},
		{Link{Delay: "-1ms"}, "link.delay: -1ms is not between 0 and 24h0m0s"},
		{Link{Delay: "25h"}, "link.delay: 25h is not between 0 and 24h0m0s"},
		{Link{Bandwidth: "10"}, `link.bandwidth: "10" is not a bandwidth; write it like "10Mbit" or "64kbit"`},
		{Link{Bandwidth: "Mbit"}, `link.bandwidth: "Mbit" is not a bandwidth`},
		{Link{Bandwidth: "10 parsec"}, `link.bandwidth: "10 parsec" is not a bandwidth`},
		{Link{Bandwidth: "0kbit"}, "link.bandwidth: 0kbit is not between 1bit and 1000Gbit"},
		{Link{Bandwidth: "-1kbit"}, "link.bandwidth: -1kbit is not between"},
		{Link{Bandwidth: "nanbit"}, "link.bandwidth: nanbit is not between"},
		{Link{Bandwidth: "2000Gbit"}, "link.bandwidth: 2000Gbit is not between"},
		{Link{Loss: 1.5}, "link.loss: 1.5 is not between 0 and 1"},
		{Link{Loss: math.NaN()}, "link.loss: NaN is not between 0 and 1"},
		{Link{Reorder: -0.1}, "link.reorder: -0.1 is not between 0 and 1"},
		{Link{Duplicate: 2}, "link.duplicate: 2 is not between 0 and 1"},
		{Link{Corrupt: 1.01}, "link.corrupt: 1.01 is not between 0 and 1"},
		{Link{MTU: 20}, "link.mtu: 20 is below 68, the smallest that IPv4 permits (RFC 791, 3.2)"},
		{Link{MTU: -1}, "link.mtu: -1 is below 68"},
		{Link{MTU: 65536}, "link.mtu: 65536 is above 65535"},
	} {
		t.Run(fmt.Sprintf("%+v", c.link), func(t *testing.T) {
			if c.want == "" {
				require.NoError(t, c.link.Check())
				return
			}
			err := c.link.Check()
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), c.want), err)
		})
	}
}

func TestLinkFromJSON(t *testing.T) {
	d := json.NewDecoder(strings.NewReader(`{ "delay": "40ms", "bandwidth": "10Mbit", "loss": 0.02, "reorder": 0, "duplicate": 0, "corrupt": 0, "mtu": 1500 }`))
	d.DisallowUnknownFields()
	var l Link
	require.NoError(t, d.Decode(&l))
	s, err := l.parse()
	require.NoError(t, err)
	assert.Equal(t, settings{delay: 40 * time.Millisecond, hold: 20 * time.Millisecond, bits: 1e7, loss: 0.02, mtu: 1500}, s)
}

// line is one direction of a link without stacks, and what it did to n packets of
// the given size that were sent at once.
func line(t *testing.T, link Link, n, size int) []Packet {
	t.Helper()
	s, err := link.parse()
	require.NoError(t, err)
	l := &Lab{clock: newClock(defaultStart)}
	a, b := &Host{lab: l, id: "a"}, &Host{lab: l, id: "b"}
	d := &direction{settings: s, lab: l, from: a, to: &port{host: b}, chance: newChance(1, "test")}
	for i := range n {
		d.send(append(bytes.Repeat([]byte{0}, size-4), byte(i>>24), byte(i>>16), byte(i>>8), byte(i)))
	}
	return l.tapped
}

func TestLineIsFIFO(t *testing.T) {
	packets := line(t, Link{Delay: "40ms", Bandwidth: "8Mbit"}, 100, 1000)
	require.Len(t, packets, 100)
	for i, p := range packets {
		assert.Equal(t, i, p.Seq)
		assert.Zero(t, p.Sent)
		assert.Equal(t, 40*time.Millisecond+time.Duration(i+1)*time.Millisecond, p.Arrives)
		assert.EqualValues(t, i, p.Bytes[999])
	}
}

func TestLineFates(t *testing.T) {
	const n = 20_000
	original := bytes.Repeat([]byte{0}, 96)
	for _, c := range []struct {
		link Link
		fate Fate
	}{
		{Link{Loss: 0.1}, Lost}, {Link{Reorder: 0.1}, Reordered}, {Link{Duplicate: 0.1}, Duplicated}, {Link{Corrupt: 0.1}, Corrupted},
	} {
		t.Run(string(c.fate), func(t *testing.T) {
			c.link.Delay, c.link.Bandwidth = "10ms", "100Mbit"
			packets := line(t, c.link, n, 100)
			hit := 0
			late, bits := time.Duration(0), map[Flip]bool{}
			for i, p := range packets {
				require.Equal(t, i, p.Seq)
				if p.Fate == Delivered {
					require.Zero(t, p.Held)
					require.Nil(t, p.Flip)
					require.Equal(t, original, p.Bytes[:96])
					continue
				}
				hit++
				require.Equal(t, c.fate, p.Fate)
				switch c.fate {
				case Reordered:
					require.Positive(t, p.Held)
					require.LessOrEqual(t, p.Held, 5*time.Millisecond+1)
					late = max(late, p.Held)
				case Duplicated:
					require.Equal(t, i-1, p.Of)
					require.Equal(t, packets[i-1].Bytes, p.Bytes)
					require.Greater(t, p.Arrives, packets[i-1].Arrives)
				case Corrupted:
					bits[*p.Flip] = true
					p.Bytes[p.Flip.Offset] ^= p.Flip.Mask
					require.Equal(t, original, p.Bytes[:96])
				}
			}
			assert.InDelta(t, n/10, hit, 200) // more than four standard deviations
			if c.fate == Reordered {
				assert.Greater(t, late, 4900*time.Microsecond)
			}
			if c.fate == Corrupted {
				assert.Greater(t, len(bits), 700, "of the 800 bits of a packet, most were hit")
			}
		})
	}
	for _, p := range line(t, Link{Loss: 1}, 100, 100) {
		assert.Equal(t, Lost, p.Fate)
	}
	for _, p := range line(t, Link{Corrupt: 1, Reorder: 1}, 100, 100) {
		assert.Equal(t, Corrupted, p.Fate)
		assert.Positive(t, p.Held)
	}
}

// A setting does not change what the others do.
func TestSettingsAreIndependent(t *testing.T) {
	lost := func(link Link) (all []int) {
		n := -1
		for _, p := range line(t, link, 2000, 100) {
			if p.Of >= 0 {
				continue
			}
			if n++; p.Fate == Lost {
				all = append(all, n)
			}
		}
		return all
	}
	alone := lost(Link{Loss: 0.05})
	assert.NotEmpty(t, alone)
	assert.Equal(t, alone, lost(Link{Loss: 0.05, Duplicate: 0.3, Corrupt: 0.2, Reorder: 0.2, Delay: "1s"}))
	assert.Subset(t, lost(Link{Loss: 0.1}), alone)
}
