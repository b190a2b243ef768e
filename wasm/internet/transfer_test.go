package internet

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/wasm/internet/labtest"
)

var long = flag.Bool("long", false, "run the long tests with 100 seeds")

// collect takes one connection, reads it to its end and sends what it read.
func collect(into chan<- []byte) func(net.Listener) {
	return func(l net.Listener) {
		defer close(into)
		accepted, err := l.Accept()
		if err != nil {
			return
		}
		c := lazy{accepted}
		defer c.Close()
		b, err := io.ReadAll(c)
		if err != nil {
			b = fmt.Appendf(b, "[%v]", err)
		}
		into <- b
	}
}

// transfer sends b from the client to the mx and requires that it arrives.
func transfer(t *testing.T, l *Lab, b []byte) {
	t.Helper()
	into := make(chan []byte, 1)
	require.NoError(t, l.Host("mx").Serve("tcp", 25, collect(into)))
	play(t, l, func() {
		c, err := l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:25")
		if !assert.NoError(t, err) {
			return
		}
		_, err = c.Write(b)
		assert.NoError(t, err)
		assert.NoError(t, c.Close())
		got := <-into
		assert.True(t, bytes.Equal(b, got), "sent %d octets, %d arrived", len(b), len(got))
	})
}

func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// What the checksums, sequence numbers and retransmissions of TCP are for.
func TestEveryByteArrives(t *testing.T) {
	seeds := labtest.Times(10)
	if *long {
		seeds = 100
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := config(Link{Delay: "10ms", Bandwidth: "100Mbit", Loss: 0.05, Reorder: 0.05, Duplicate: 0.01, Corrupt: 0.01})
			c.Seed = int64(seed)
			fates := map[Fate]int{}
			c.Tap = func(p Packet) { fates[p.Fate]++ }
			within(t, c, func(t *testing.T, l *Lab) {
				transfer(t, l, randomBytes(uint64(seed), 5<<20))
			})
			for _, f := range []Fate{Delivered, Lost, Reordered, Duplicated, Corrupted} {
				assert.NotZero(t, fates[f], f)
			}
		})
	}
}
