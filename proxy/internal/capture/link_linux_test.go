package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/proxy/internal/linktest"
)

const inside = "CAPTURE_TEST_LINK"

// TestLink captures a connection over a link that loses the first SYN and the second segment with data.
func TestLink(t *testing.T) {
	if os.Getenv(inside) != "" {
		t.Run("Losses", linkLosses)
		return
	}
	require.Contains(t, linktest.Again(t, inside), "--- PASS: TestLink/Losses")
}

func linkLosses(t *testing.T) {
	require.NoError(t, linktest.Loopback())
	needPackets(t)
	const delay, mtu = 20 * time.Millisecond, 1400
	syns, data := 0, 0
	link, err := linktest.New(linktest.Config{Delay: delay, MTU: mtu, Drop: func(p linktest.Packet) bool {
		switch {
		case p.Flags&linktest.SYN != 0 && p.Up:
			syns++
			return syns == 1
		case p.Payload > 0:
			data++
			return data == 2
		}
		return false
	}})
	if errors.Is(err, linktest.ErrUnavailable) {
		t.Skipf("NOT RUN: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, link.Close()) })
	go func() {
		if conn, err := link.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	const size = 4000
	conn, c := dial(t, link.Addr().(*net.TCPAddr).AddrPort())
	defer c.Close()
	_, err = conn.Write(make([]byte, size))
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	_, err = io.Copy(io.Discard, conn)
	require.NoError(t, err)

	c.End(patience)
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort().Port()
	times := map[string][]time.Time{} // by what they are
	sent := map[uint32]int{}          // segments with data, by sequence number
	for len(times["FIN ACK in"]) == 0 {
		p, err := c.Read()
		require.NoError(t, err, "%v", times)
		assert.LessOrEqual(t, len(p.IP), mtu)
		s := dissect(t, p, local)
		name := s.flags + " in"
		if s.out {
			name = s.flags
		}
		times[name] = append(times[name], p.Time)
		if s.payload != "" {
			sent[binary.BigEndian.Uint32(p.IP[24:])]++
		}
	}
	require.Len(t, times["SYN"], 2, "both, the lost one and the second")
	require.Len(t, times["SYN ACK in"], 1)
	assert.InDelta(t, time.Second, times["SYN"][1].Sub(times["SYN"][0]), float64(200*time.Millisecond), "RFC 6298, 2.1")
	trip := times["SYN ACK in"][0].Sub(times["SYN"][1])
	assert.GreaterOrEqual(t, trip, 2*delay)
	assert.Less(t, trip, time.Second/2, "it is not the answer to the first SYN")
	twice := 0
	for _, n := range sent {
		if n > 1 {
			twice++
		}
	}
	assert.Len(t, sent, 3, "%d octets in segments of at most %d", size, mtu-40)
	assert.Positive(t, twice, "the lost one is seen again")
}
