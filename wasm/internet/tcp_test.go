package internet

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"smtpscope/wasm/internet/labtest"
)

// A dialogue of n round trips takes n times the round-trip time.
func TestTimeOfADialogue(t *testing.T) {
	for _, c := range []struct {
		link  Link
		round time.Duration
	}{
		{Link{Delay: "5ms"}, 10 * time.Millisecond},
		{Link{Delay: "40ms"}, 80 * time.Millisecond},
		{Link{Delay: "600ms"}, 1200 * time.Millisecond},
		{Link{Delay: "40ms", Bandwidth: "1Mbit"}, 80 * time.Millisecond},
		{Link{Delay: "20s"}, 40 * time.Second}, // SYN is repeated five times before the first answer
	} {
		t.Run(c.link.Delay+" "+c.link.Bandwidth, func(t *testing.T) {
			within(t, config(c.link), func(t *testing.T, l *Lab) {
				require.NoError(t, l.Host("mx").Serve("tcp", 25, echo))
				var connected, done time.Duration
				const n = 20
				play(t, l, func() {
					conn, err := l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:25")
					if !assert.NoError(t, err) {
						return
					}
					connected = l.Elapsed()
					_, err = talk(conn, n)
					assert.NoError(t, err)
					done = l.Elapsed()
				})
				assert.InEpsilon(t, c.round, connected, 0.05)
				// The greeting arrives a round trip after SYN ACK: the ACK goes there first.
				assert.InEpsilon(t, (n+1)*c.round, done-connected, 0.05)
			})
		})
	}
}

func TestBandwidth(t *testing.T) {
	for _, c := range []struct {
		bandwidth string
		bits      float64
		octets    int
	}{{"64kbit", 64e3, 200_000}, {"1Mbit", 1e6, 1_000_000}, {"10Mbit", 1e7, 1_000_000}, {"100Mbit", 1e8, 5_000_000}} {
		t.Run(c.bandwidth, func(t *testing.T) {
			var rec record
			conf := config(Link{Delay: "2ms", Bandwidth: c.bandwidth})
			rec.on(&conf)
			within(t, conf, func(t *testing.T, l *Lab) { transfer(t, l, randomBytes(1, c.octets)) })
			octets, end := 0, time.Duration(0)
			for _, p := range rec.packets {
				if p.From == "client" {
					octets += len(p.Bytes)
					end = max(end, p.Arrives)
				}
			}
			assert.InEpsilon(t, float64(octets)*8/c.bits, end.Seconds(), 0.05)
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	var rec record
	c := config(Link{Delay: "10ms", Loss: 1})
	rec.on(&c)
	within(t, c, func(t *testing.T, l *Lab) {
		play(t, l, func() {
			_, err := l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:25")
			assert.ErrorIs(t, err, syscall.ETIMEDOUT)
			var op *net.OpError
			if assert.ErrorAs(t, err, &op) {
				assert.True(t, op.Timeout())
				assert.Equal(t, "dial tcp 198.51.100.25:25: connect: "+syscall.ETIMEDOUT.Error(), err.Error())
			}
		})
		assert.Equal(t, 127*time.Second, l.Elapsed(), "1+2+4+8+16+32+64 s (RFC 6298, 5.5)")
	})
	var waits []time.Duration
	for i, p := range rec.packets {
		assert.Equal(t, Lost, p.Fate)
		if i > 0 {
			waits = append(waits, p.Sent-rec.packets[i-1].Sent)
		}
	}
	s := time.Second
	assert.Equal(t, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s}, waits)
}

func TestNobodyListens(t *testing.T) {
	within(t, config(Link{Delay: "10ms"}), func(t *testing.T, l *Lab) {
		play(t, l, func() {
			_, err := l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:25")
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			_, err = l.Host("client").Dial(t.Context(), "tcp", "192.0.2.200:25")
			assert.ErrorIs(t, err, syscall.ENETUNREACH)
			_, err = l.Host("client").Dial(t.Context(), "tcp", "[2001:db8::1]:25")
			assert.ErrorIs(t, err, syscall.ENETUNREACH)
			_, err = l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25")
			assert.ErrorContains(t, err, "missing port")
			_, err = l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:smtp")
			assert.ErrorContains(t, err, "not a number")
			_, err = l.Host("client").Dial(t.Context(), "sctp", "198.51.100.25:25")
			assert.ErrorContains(t, err, "unknown network")
		})
		assert.Equal(t, 20*time.Millisecond, l.Elapsed())
	})
}

func TestListen(t *testing.T) {
	within(t, config(Link{}), func(t *testing.T, l *Lab) {
		for _, network := range []string{"tcp", "udp"} {
			first, err := l.Host("mx").Listen(network, 25)
			require.NoError(t, err)
			assert.Equal(t, "198.51.100.25:25", first.Addr().String())
			assert.Equal(t, network, first.Addr().Network())
			_, err = l.Host("mx").Listen(network, 25)
			assert.ErrorIs(t, err, syscall.EADDRINUSE)
			play(t, l, func() {
				first.Close()
				_, err := first.Accept()
				assert.ErrorIs(t, err, net.ErrClosed)
			})
		}
		_, err := l.Host("mx").Listen("tcp", 0)
		assert.ErrorContains(t, err, "want 1 to 65535")
		_, err = l.Host("mx").Listen("sctp", 25)
		assert.ErrorContains(t, err, "unknown network")
		assert.Nil(t, l.Host("moon"))
	})
}

// An Accept that waits ends when its listener is closed.
func TestCloseWakesAccept(t *testing.T) {
	within(t, config(Link{}), func(t *testing.T, l *Lab) {
		ln, err := l.Host("mx").Listen("tcp", 25)
		require.NoError(t, err)
		play(t, l, func() {
			got := make(chan error)
			go func() {
				_, err := ln.Accept()
				got <- err
			}()
			assert.NoError(t, l.Host("mx").Sleep(t.Context(), time.Second))
			assert.NoError(t, ln.Close())
			assert.ErrorIs(t, <-got, net.ErrClosed)
			assert.ErrorIs(t, ln.Close(), net.ErrClosed)
		})
	})
}

// pair is two ends of a connection.
func pair(t *testing.T, l *Lab) (client, server net.Conn) {
	ln, err := l.Host("mx").Listen("tcp", 25)
	require.NoError(t, err)
	play(t, l, func() {
		client, err = l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:25")
		assert.NoError(t, err)
		server, err = ln.Accept()
		assert.NoError(t, err)
	})
	require.NotNil(t, client)
	require.NotNil(t, server)
	return client, server
}

func TestDeadlines(t *testing.T) {
	within(t, config(Link{Delay: "10ms"}), func(t *testing.T, l *Lab) {
		client, server := pair(t, l)
		buf := make([]byte, 10)
		play(t, l, func() {
			for _, c := range []struct {
				name  string
				set   func() error
				least time.Duration
				most  time.Duration
			}{
				{"lab time", func() error { return client.SetReadDeadline(l.Now().Add(1234567 * time.Nanosecond)) }, 1234567, 1234567},
				{"both ways", func() error { return client.SetDeadline(l.Now().Add(5 * time.Minute)) }, 5 * time.Minute, 5 * time.Minute},
				{"wall time", func() error { return client.SetReadDeadline(time.Now().Add(5 * time.Minute)) }, 5 * time.Minute, 5 * time.Minute},
				{"wall time, some seconds", func() error { return client.SetReadDeadline(time.Now().Add(5 * time.Second)) }, 5 * time.Second, 5 * time.Second},
				{"wall time, short", func() error { return client.SetReadDeadline(time.Now().Add(500 * time.Millisecond)) }, 500 * time.Millisecond, 500 * time.Millisecond},
				{"past", func() error { return client.SetReadDeadline(l.Now().Add(-time.Second)) }, 0, 0},
				{"long past", func() error { return client.SetReadDeadline(time.Unix(1, 0)) }, 0, 0},
			} {
				assert.NoError(t, c.set(), c.name)
				before := l.Elapsed()
				_, err := client.Read(buf)
				assert.ErrorIs(t, err, os.ErrDeadlineExceeded, c.name)
				var timeout net.Error
				assert.True(t, errors.As(err, &timeout) && timeout.Timeout(), c.name)
				assert.GreaterOrEqual(t, l.Elapsed()-before, c.least, c.name)
				assert.LessOrEqual(t, l.Elapsed()-before, c.most, c.name)
			}
			// A deadline that passed can be taken back, and one can be moved.
			assert.NoError(t, client.SetReadDeadline(l.Now().Add(time.Second)))
			assert.NoError(t, client.SetReadDeadline(time.Time{}))
			go func() {
				l.Host("mx").Sleep(t.Context(), time.Hour)
				server.Write([]byte("late"))
			}()
			n, err := client.Read(buf)
			assert.NoError(t, err)
			assert.Equal(t, "late", string(buf[:n]))
			// One goroutine's deadline ends another's read.
			go func() {
				l.Host("client").Sleep(t.Context(), time.Second)
				client.SetReadDeadline(time.Unix(1, 0))
			}()
			before := l.Elapsed()
			_, err = client.Read(buf)
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			assert.Equal(t, time.Second, l.Elapsed()-before)
		})
	})
}

func TestWriteDeadline(t *testing.T) {
	c := config(Link{Delay: "10ms"})
	c.Hosts[1].ReceiveBuffer = 8192
	within(t, c, func(t *testing.T, l *Lab) {
		client, _ := pair(t, l)
		play(t, l, func() {
			assert.NoError(t, client.SetWriteDeadline(l.Now().Add(time.Minute)))
			n, err := client.Write(make([]byte, 10<<20)) // nobody reads
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			assert.Greater(t, n, 100_000)
			_, err = client.Write([]byte("x"))
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		})
		assert.InDelta(t, time.Minute, l.Elapsed(), float64(time.Second))
	})
}

func TestHalfClose(t *testing.T) {
	within(t, config(Link{Delay: "10ms"}), func(t *testing.T, l *Lab) {
		client, server := pair(t, l)
		play(t, l, func() {
			client.Write([]byte("question"))
			assert.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
			b, err := io.ReadAll(server)
			assert.NoError(t, err)
			assert.Equal(t, "question", string(b))
			server.Write([]byte("answer"))
			server.Close()
			b, err = io.ReadAll(client)
			assert.NoError(t, err)
			assert.Equal(t, "answer", string(b))
			_, err = client.Write([]byte("more"))
			assert.ErrorIs(t, err, syscall.EPIPE)
		})
	})
}

// Closing with unread data resets the connection (RFC 2525, 2.17).
func TestReset(t *testing.T) {
	within(t, config(Link{Delay: "10ms"}), func(t *testing.T, l *Lab) {
		client, server := pair(t, l)
		play(t, l, func() {
			client.Write([]byte("unread"))
			l.Host("mx").Sleep(t.Context(), time.Second)
			server.Close()
			_, err := client.Read(make([]byte, 1))
			assert.ErrorIs(t, err, syscall.ECONNRESET)
		})
	})
}

func TestDialIsCalledOff(t *testing.T) {
	within(t, config(Link{Delay: "10s"}), func(t *testing.T, l *Lab) {
		require.NoError(t, l.Host("mx").Serve("tcp", 25, echo))
		for _, address := range []string{"198.51.100.25:25", "mx.mail.example:25"} {
			ctx, cancel := context.WithCancel(t.Context())
			play(t, l, func() {
				go func() {
					l.Host("client").Sleep(context.Background(), time.Second)
					cancel()
				}()
				before := l.Elapsed()
				_, err := l.Host("client").Dial(ctx, "tcp", address)
				assert.ErrorIs(t, err, context.Canceled, address)
				assert.Equal(t, time.Second, l.Elapsed()-before)
			})
			cancel()
		}
	})
}

func TestSleep(t *testing.T) {
	within(t, config(Link{}), func(t *testing.T, l *Lab) {
		h := l.Host("client")
		play(t, l, func() {
			assert.NoError(t, h.Sleep(t.Context(), 3*time.Hour))
			assert.Equal(t, 3*time.Hour, l.Elapsed())
			assert.Equal(t, defaultStart.Add(3*time.Hour), l.Now().UTC())
			assert.NoError(t, h.Sleep(t.Context(), 0))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				h.Sleep(t.Context(), time.Second)
				cancel()
			}()
			assert.ErrorIs(t, h.Sleep(ctx, time.Hour), context.Canceled)
		})
		assert.Equal(t, 3*time.Hour+time.Second, l.Elapsed())
	})
}

// Nothing happens, and no deadline passes, while nobody steps.
func TestPausedLabStandsStill(t *testing.T) {
	within(t, config(Link{Delay: "10ms"}), func(t *testing.T, l *Lab) {
		require.NoError(t, l.Host("mx").Serve("tcp", 25, echo))
		heard := make(chan error, 1)
		go func() {
			c, err := l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:25")
			if err == nil {
				c.SetDeadline(time.Now().Add(time.Second))
				_, err = talk(c, 3)
			}
			heard <- err
		}()
		steps := 0
		for len(heard) == 0 {
			before := l.Elapsed()
			time.Sleep(labtest.Overnight)
			require.Equal(t, before, l.Elapsed())
			at, ok := l.Next()
			if steps++; steps > 1 {
				require.True(t, ok)
			}
			require.True(t, l.Step())
			if steps > 1 {
				require.Equal(t, at, l.Elapsed(), "one step, one event")
			}
		}
		assert.NoError(t, <-heard)
		assert.Greater(t, steps, 10)
	})
}

func TestZeroWindow(t *testing.T) {
	var rec record
	c := config(Link{Delay: "20ms", Bandwidth: "10Mbit"})
	c.Hosts[1].ReceiveBuffer = 16384
	c.Hosts[1].ReadRate = "64kbit"
	rec.on(&c)
	within(t, c, func(t *testing.T, l *Lab) {
		transfer(t, l, randomBytes(1, 60_000))
		assert.Greater(t, l.Elapsed(), 5*time.Second, "64 kbit/s less what the buffer takes")
	})
	var closed, probes, reopened int
	var window uint16 = math.MaxUint16
	for _, s := range rec.segments("mx") {
		if s.Flags()&header.TCPFlagSyn != 0 {
			continue
		}
		if s.WindowSize() == 0 && window != 0 {
			closed++
		}
		if s.WindowSize() != 0 && window == 0 {
			reopened++
		}
		window = s.WindowSize()
	}
	for _, s := range rec.segments("client") {
		if len(s.Payload()) == 1 { // gVisor, like Linux, repeats the last octet acknowledged
			probes++
		}
	}
	assert.Greater(t, closed, 3)
	assert.Greater(t, probes, 3)
	assert.Greater(t, reopened, 3)
	told := 0
	for _, s := range rec.states {
		if s.Host == "client" && s.Inner != nil && s.Inner.SendWindow == 0 {
			told++
		}
	}
	assert.Greater(t, told, 3, "and the stack says so")
}

func TestMTU(t *testing.T) {
	for mtu, size := range map[int]int{68: 1000, 576: 100_000, 1500: 300_000, 9000: 300_000, 65535: 300_000} {
		var rec record
		c := config(Link{Delay: "1ms", MTU: mtu})
		rec.on(&c)
		within(t, c, func(t *testing.T, l *Lab) { transfer(t, l, randomBytes(1, size)) })
		longest := 0
		for _, p := range rec.packets {
			longest = max(longest, len(p.Bytes))
		}
		assert.LessOrEqual(t, longest, mtu)
		if mtu < 65535 {
			assert.Greater(t, longest, mtu-48, "MTU %d is used", mtu)
		}
		syn := header.ParseSynOptions(rec.segments("client")[0].Options(), false)
		assert.EqualValues(t, max(mtu-40, 48), syn.MSS, "MTU %d (RFC 9293, 3.7.1); the stack goes no lower", mtu)
	}
}

// Every corrupted packet is caught by a checksum, wherever the bit was.
func TestCorruptIsDropped(t *testing.T) {
	var rec record
	c := config(Link{Delay: "5ms", Corrupt: 0.2})
	rec.on(&c)
	within(t, c, func(t *testing.T, l *Lab) {
		transfer(t, l, randomBytes(1, 500_000))
		rest(l)
		corrupted, header := 0, 0
		for _, p := range rec.packets {
			if p.Fate == Corrupted {
				if corrupted++; p.Flip.Offset < 20 {
					header++
				}
			}
		}
		require.Greater(t, corrupted, 100)
		require.Greater(t, header, 10)
		var caught, ip uint64
		for _, h := range l.hosts {
			s := h.stack.Stats()
			ip += s.IP.MalformedPacketsReceived.Value()
			caught += s.TCP.ChecksumErrors.Value() + s.TCP.InvalidSegmentsReceived.Value() +
				s.NICs.MalformedL4RcvdPackets.Value() // those whose port was hit
		}
		assert.EqualValues(t, header, ip, "caught by the IP header's checksum")
		assert.EqualValues(t, corrupted-header, caught, "caught by TCP's")
	})
}

func TestCloseEndsEverything(t *testing.T) {
	within(t, config(Link{Delay: "10ms"}), func(t *testing.T, l *Lab) {
		require.NoError(t, l.Host("mx").Serve("tcp", 25, echo))
		var conn net.Conn
		play(t, l, func() {
			var err error
			conn, err = l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:25")
			assert.NoError(t, err)
			talk(conn, 1)
		})
		require.NotNil(t, conn)
		errs := make(chan error, 5)
		go func() { _, err := conn.Read(make([]byte, 1)); errs <- err }()
		go func() { _, err := conn.Write(make([]byte, 10<<20)); errs <- err }()
		go func() { _, err := l.Host("dns").Dial(t.Context(), "tcp", "192.0.2.1:26"); errs <- err }()
		go func() { _, err := l.Host("client").LookupA(t.Context(), "mail.example"); errs <- err }()
		go func() { errs <- l.Host("client").Sleep(t.Context(), time.Hour) }()
		l.quiet()
		packets := l.packets
		l.Close()
		for range 5 {
			assert.ErrorIs(t, <-errs, net.ErrClosed)
		}
		_, err := conn.Write([]byte("x"))
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.NoError(t, conn.Close())
		assert.ErrorIs(t, l.Host("client").Sleep(t.Context(), time.Hour), net.ErrClosed)
		_, err = l.Host("client").Dial(t.Context(), "tcp", "198.51.100.25:25")
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.False(t, l.Step())
		assert.False(t, l.Run(func() bool { return false }))
		assert.Equal(t, packets, l.packets, "nothing is sent any more")
		l.Close()
	})
}

func TestNothingIsLeft(t *testing.T) {
	for _, leave := range []func(*testing.T, *Lab){
		func(*testing.T, *Lab) {},
		func(t *testing.T, l *Lab) { transfer(t, l, randomBytes(1, 100_000)) },
		func(t *testing.T, l *Lab) { // connections in every state
			require.NoError(t, l.Host("mx").Serve("tcp", 25, echo))
			for range 5 {
				go l.Host("client").Dial(t.Context(), "tcp", "mx.mail.example:25")
				l.Step()
				l.Step()
			}
		},
	} {
		goroutines, endpoints := runtime.NumGoroutine(), len(tcpip.GetDanglingEndpoints())
		for range 3 {
			within(t, config(Link{Delay: "10ms"}), leave)
		}
		// The last of them may still be about to return.
		for since := time.Now(); runtime.NumGoroutine() > goroutines && time.Since(since) < 10*time.Second; {
			runtime.Gosched()
		}
		assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
		assert.Len(t, tcpip.GetDanglingEndpoints(), endpoints)
	}
}
