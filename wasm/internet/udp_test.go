package internet

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestDialogueOverUDP(t *testing.T) {
	var rec record
	c := config(Link{Delay: "40ms"})
	rec.on(&c)
	within(t, c, func(t *testing.T, l *Lab) {
		require.NoError(t, l.Host("mx").Serve("udp", 25, echo))
		play(t, l, func() {
			conn, err := l.Host("client").Dial(t.Context(), "udp", "198.51.100.25:25")
			if !assert.NoError(t, err) {
				return
			}
			assert.Zero(t, l.Elapsed(), "no handshake")
			heard, err := talk(conn, 2)
			assert.NoError(t, err)
			assert.Equal(t, []string{"220 198.51.100.25:25", "line 0", "line 1"}, heard)
			assert.ErrorContains(t, conn.(interface{ CloseWrite() error }).CloseWrite(), "not supported")
			assert.NoError(t, conn.Close())
			_, err = conn.Read(make([]byte, 1))
			assert.ErrorIs(t, err, net.ErrClosed)
		})
		rest(l)
	})
	var sizes []int
	for _, p := range rec.packets {
		ip := header.IPv4(p.Bytes)
		require.EqualValues(t, header.UDPProtocolNumber, ip.Protocol())
		sizes = append(sizes, len(header.UDP(ip.Payload()).Payload()))
	}
	assert.Equal(t, []int{0, 22, 8, 8, 8, 8}, sizes, "one empty datagram, one for each line, and nothing else")
	assert.Empty(t, rec.states)
}

// What TCP is for: over UDP a lost line is never said again.
func TestLossOverUDP(t *testing.T) {
	var rec record
	c := config(Link{Delay: "40ms", Loss: 0.2})
	rec.on(&c)
	within(t, c, func(t *testing.T, l *Lab) {
		require.NoError(t, l.Host("mx").Serve("udp", 25, echo))
		play(t, l, func() {
			conn, err := l.Host("client").Dial(t.Context(), "udp", "198.51.100.25:25")
			if !assert.NoError(t, err) {
				return
			}
			assert.NoError(t, conn.SetReadDeadline(l.Now().Add(5*time.Minute)))
			_, err = talk(conn, 50)
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		})
		assert.Equal(t, 5*time.Minute, l.Elapsed())
	})
	assert.Equal(t, Lost, rec.packets[len(rec.packets)-1].Fate)
}

// numbered sends n numbered datagrams of the given size and returns the numbers in
// the order in which they arrive.
func numbered(t *testing.T, link Link, n, size int) (arrived []int, rec *record) {
	t.Helper()
	rec = &record{}
	c := config(link)
	rec.on(&c)
	within(t, c, func(t *testing.T, l *Lab) {
		require.NoError(t, l.Host("mx").Serve("udp", 25, func(ln net.Listener) {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, size)
			for {
				if _, err := io.ReadFull(c, buf); err != nil {
					return
				}
				arrived = append(arrived, int(binary.BigEndian.Uint32(buf)))
			}
		}))
		play(t, l, func() {
			conn, err := l.Host("client").Dial(t.Context(), "udp", "198.51.100.25:25")
			if !assert.NoError(t, err) {
				return
			}
			b := make([]byte, size)
			for i := range n {
				binary.BigEndian.PutUint32(b, uint32(i))
				written, err := conn.Write(b)
				assert.NoError(t, err)
				assert.Equal(t, size, written)
				l.Host("client").Sleep(t.Context(), time.Millisecond)
			}
		})
		rest(l)
	})
	return arrived, rec
}

func TestOrderOverUDP(t *testing.T) {
	arrived, _ := numbered(t, Link{Delay: "20ms"}, 200, 100)
	assert.Len(t, arrived, 200)
	assert.True(t, slices.IsSorted(arrived))

	arrived, rec := numbered(t, Link{Delay: "20ms", Reorder: 0.2}, 200, 100)
	assert.Len(t, arrived, 200)
	assert.False(t, slices.IsSorted(arrived))
	assert.NotZero(t, rec.fates()[Reordered])

	arrived, rec = numbered(t, Link{Delay: "20ms", Duplicate: 0.2}, 200, 100)
	assert.Len(t, arrived, 200+rec.fates()[Duplicated]-duplicatesOfTheFirst(rec))
	assert.True(t, slices.IsSorted(arrived))

	arrived, rec = numbered(t, Link{Delay: "20ms", Corrupt: 0.2}, 200, 100)
	assert.Len(t, arrived, 201-rec.fates()[Corrupted]-corruptedFirst(rec), "the checksum throws them away")
	assert.True(t, slices.IsSorted(arrived))
}

// The first datagram is the empty one, of which nothing arrives.
func duplicatesOfTheFirst(rec *record) (n int) {
	for _, p := range rec.packets {
		if p.Of == 0 {
			n++
		}
	}
	return n
}

func corruptedFirst(rec *record) int {
	if rec.packets[0].Fate == Corrupted {
		return 0
	}
	return 1
}

func TestFragments(t *testing.T) {
	arrived, rec := numbered(t, Link{Delay: "20ms"}, 1, 8000)
	assert.Equal(t, []int{0}, arrived)
	var fragments, offsets []int
	id := uint16(0)
	for _, p := range rec.packets[1:] {
		ip := header.IPv4(p.Bytes)
		require.LessOrEqual(t, len(p.Bytes), 1500)
		require.Zero(t, ip.Flags()&header.IPv4FlagDontFragment)
		require.NotZero(t, ip.ID())
		if id == 0 {
			id = ip.ID()
		}
		require.Equal(t, id, ip.ID(), "fragments of one datagram have one id (RFC 791, 3.2)")
		fragments = append(fragments, len(ip.Payload()))
		offsets = append(offsets, int(ip.FragmentOffset()))
	}
	assert.Equal(t, []int{1480, 1480, 1480, 1480, 1480, 608}, fragments)
	assert.Equal(t, []int{0, 1480, 2960, 4440, 5920, 7400}, offsets)

	// One fragment lost, and the datagram is.
	arrived, rec = numbered(t, Link{Delay: "20ms", Loss: 0.1}, 100, 8000)
	assert.InDelta(t, 53, len(arrived), 20, "0.9^6 = 0.53")
	assert.InDelta(t, 60, rec.fates()[Lost], 25)

	// A Write that no datagram can hold becomes several.
	arrived, rec = numbered(t, Link{Delay: "20ms", MTU: 65535}, 1, 200_000)
	assert.Equal(t, []int{0}, arrived)
	assert.Len(t, rec.packets, 5)
}

func TestNobodyListensOnUDP(t *testing.T) {
	within(t, config(Link{Delay: "40ms"}), func(t *testing.T, l *Lab) {
		play(t, l, func() {
			conn, err := l.Host("client").Dial(t.Context(), "udp", "198.51.100.25:25")
			if !assert.NoError(t, err) {
				return
			}
			_, err = conn.Read(make([]byte, 1))
			assert.ErrorIs(t, err, syscall.ECONNREFUSED, "ICMP says so")
		})
	})
}

// Two clients on one port do not hear each other, and one that comes again is new.
func TestPeers(t *testing.T) {
	within(t, config(Link{Delay: "1ms"}), func(t *testing.T, l *Lab) {
		require.NoError(t, l.Host("mx").Serve("udp", 25, echo))
		play(t, l, func() {
			for _, from := range []string{"client", "dns", "client"} {
				conn, err := l.Host(from).Dial(t.Context(), "udp", "198.51.100.25:25")
				if !assert.NoError(t, err) {
					return
				}
				heard, err := talk(conn, 3)
				assert.NoError(t, err)
				assert.Equal(t, []string{"220 198.51.100.25:25", "line 0", "line 1", "line 2"}, heard)
			}
		})
	})
}
