package relay

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/capture"
	"smtpscope/proxy/internal/metrics"
	"smtpscope/proxy/internal/policy"
)

// captured is a Config that captures what it dials, which is that target only.
func captured(t testing.TB, host string, port int) Config {
	t.Helper()
	if err := capture.Prepare(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	allowed, err := policy.ParseTarget(net.JoinHostPort(host, itoa(port)))
	require.NoError(t, err)
	return Config{Packets: true, Dial: policy.New(policy.Config{Allow: []policy.Target{allowed}, Watch: Watch}).Dial}
}

// segment names a packet by what the tests look at: its direction and flags, or its payload.
func segment(t *testing.T, ip []byte, port int) string {
	t.Helper()
	tcp := ip[int(ip[0]&0xf)*4:]
	name := "< "
	if int(binary.BigEndian.Uint16(tcp[2:])) == port {
		name = "> "
	}
	if payload := tcp[int(tcp[12]>>4)*4:]; len(payload) > 0 {
		return name + string(payload)
	}
	for i, flag := range []string{"FIN", "SYN", "RST"} {
		if tcp[13]&(1<<i) != 0 {
			return name + flag
		}
	}
	return name + "ACK"
}

// told are the frames of a tunnel in the order of their arrival: PACKETs as segments, other ones by type or stage,
// without acknowledgements and CREDIT.
func told(t *testing.T, p *page, port int, do map[string]func()) (all []string) {
	t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			return all
		}
		name := f.Type.String()
		switch {
		case f.Packet != nil:
			assert.WithinDuration(t, time.Now(), f.Packet.Time, patience)
			name = segment(t, f.Packet.IP, port)
		case f.Status != nil:
			name = string(f.Status.Stage)
		}
		if f := do[name]; f != nil {
			f()
		}
		if f.Type != tunnel.TypeCredit && !strings.HasSuffix(name, "ACK") {
			all = append(all, name)
		}
	}
}

func packetsOf(all []string) (packets []string) {
	for _, name := range all {
		if name[0] == '<' || name[0] == '>' {
			packets = append(packets, name)
		}
	}
	return packets
}

// answering is a target that answers a line by another one, and ends.
func answering(conn *net.TCPConn) {
	_, _ = io.ReadFull(conn, make([]byte, 6))
	_, _ = io.WriteString(conn, "221 bye\r\n")
}

func TestPacketsOfATunnel(t *testing.T) {
	host, port := target(t, answering)
	m := metrics.New("")
	config := captured(t, host, port)
	config.Metrics = m
	r, url := start(t, config)
	p := connect(t, url)
	p.wish(tunnel.Open{Host: host, Port: port, Wants: []string{tunnel.WantTCPInfo, tunnel.WantPackets}}, 1000)
	all := told(t, p, port, map[string]func(){
		"CREDIT": func() { p.write([]byte("QUIT\r\n"), whole) },
		"EOF":    p.eof,
	})
	assert.Equal(t, []string{"> SYN", "< SYN", "> QUIT\r\n", "< 221 bye\r\n", "< FIN", "> FIN"}, packetsOf(all), "%v", all)
	require.Eventually(t, func() bool { return r.Tunnels() == 0 }, patience, time.Millisecond)
	assert.Equal(t, "0", value(t, m, `smtpscope_packets_total{outcome="lost"}`))
	assert.NotEmpty(t, value(t, m, `smtpscope_packets_total{outcome="sent"}`))
}

func TestPacketsAreSentToWhomTheyAreMeantFor(t *testing.T) {
	host, port := target(t, answering)
	for _, tt := range []struct {
		name    string
		packets bool
		wants   []string
		least   int
	}{
		{"wanted, and permitted", true, []string{tunnel.WantPackets}, 6},
		{"not wanted", true, []string{tunnel.WantTCPInfo}, 0},
		{"not permitted", false, []string{tunnel.WantPackets}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := captured(t, host, port)
			config.Packets = tt.packets
			_, url := start(t, config)
			p, other := connect(t, url), connect(t, url)
			p.wish(tunnel.Open{Host: host, Port: port, Wants: tt.wants}, 1000)
			other.open(host, port, 1000)
			packets := packetsOf(told(t, p, port, map[string]func(){
				"CREDIT": func() {
					other.write([]byte("HELP\r\n"), whole) // to the same target, at the same time
					other.drain(true)
					p.write([]byte("QUIT\r\n"), whole)
				},
				"EOF": p.eof,
			}))
			if tt.least == 0 {
				assert.Empty(t, packets)
			}
			assert.GreaterOrEqual(t, len(packets), tt.least)
			assert.NotContains(t, packets, "> HELP\r\n")
		})
	}
}

// What came before an ERROR is told before it: that may be all there is.
func TestPacketsBeforeERROR(t *testing.T) {
	wants := []string{tunnel.WantPackets}
	t.Run("refused", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
		_, url := start(t, captured(t, "127.0.0.1", port))
		p := connect(t, url)
		p.wish(tunnel.Open{Host: "127.0.0.1", Port: port, Wants: wants}, 1000)
		all := told(t, p, port, nil)
		assert.Equal(t, []string{"> SYN", "< RST"}, packetsOf(all))
		assert.Equal(t, "ERROR", all[len(all)-1])
	})
	t.Run("reset", func(t *testing.T) {
		host, port := target(t, func(conn *net.TCPConn) {
			_, _ = io.ReadFull(conn, make([]byte, 6))
			_ = conn.SetLinger(0)
		})
		_, url := start(t, captured(t, host, port))
		p := connect(t, url)
		p.wish(tunnel.Open{Host: host, Port: port, Wants: wants}, 1000)
		all := told(t, p, port, map[string]func(){"CREDIT": func() { p.write([]byte("NOOP\r\n"), whole) }})
		assert.Equal(t, []string{"> SYN", "< SYN", "> NOOP\r\n", "< RST"}, packetsOf(all))
		assert.Equal(t, "ERROR", all[len(all)-1])
	})
}

// A listener with no room for another connection leaves the SYN unanswered. The page sees it while it waits.
func TestSYNIsSeenBeforeTheConnection(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	bound, err := unix.Getsockname(fd)
	require.NoError(t, err)
	remote := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(bound.(*unix.SockaddrInet4).Port))
	first, err := net.Dial("tcp", remote.String()) // the one that there is room for
	require.NoError(t, err)
	defer first.Close()

	_, url := start(t, captured(t, "127.0.0.1", int(remote.Port())))
	p := connect(t, url)
	p.wish(tunnel.Open{Host: "127.0.0.1", Port: int(remote.Port()), Wants: []string{tunnel.WantPackets}}, 1000)
	room := false
	all := told(t, p, int(remote.Port()), map[string]func(){
		"> SYN": func() {
			if room {
				return
			}
			room = true
			accepted, _, err := unix.Accept(fd)
			require.NoError(t, err)
			_ = unix.Close(accepted)
		},
		"opened": func() { _ = p.ws.CloseNow() },
	})
	require.NotEmpty(t, all)
	assert.Equal(t, "opened", all[len(all)-1])
	assert.Contains(t, all, "> SYN", "there was no room before it")
}

// A page that takes nothing loses packets, and neither memory nor its own DATA wait for it.
func TestPacketsForAPageThatDoesNotRead(t *testing.T) {
	got := make(chan int64, 1)
	host, port := target(t, func(conn *net.TCPConn) {
		n, _ := io.CopyN(io.Discard, conn, Window)
		got <- n
		_, _ = io.Copy(io.Discard, conn)
	})
	m := metrics.New("")
	config := captured(t, host, port)
	config.Metrics = m
	r, url := start(t, config)
	var lc net.Dialer
	lc.Control = func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}
	p := connectBy(t, url, &http.Client{Transport: &http.Transport{DialContext: lc.DialContext}})
	r.mu.Lock()
	for l := range r.lines { // less than the packets of what the page sends
		_ = l.ws.conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
	}
	r.mu.Unlock()
	before := heap()
	p.wish(tunnel.Open{Host: host, Port: port, Wants: []string{tunnel.WantPackets}}, 1000)
	for {
		f, err := p.next()
		require.NoError(t, err)
		if f.Type == tunnel.TypeCredit {
			break
		}
	}
	assert.Equal(t, Window, p.write(make([]byte, Window), func() int { return 10_000 }))
	select {
	case n := <-got:
		assert.EqualValues(t, Window, n)
	case <-time.After(patience):
		require.Fail(t, "the page's DATA waits for its packets")
	}
	assert.Less(t, heap()-before, int64(budget+128<<10)) // and the test's own buffers
	require.NoError(t, p.ws.CloseNow())
	require.Eventually(t, func() bool { return r.Tunnels() == 0 }, patience, time.Millisecond)
	assert.NotEqual(t, "0", value(t, m, `smtpscope_packets_total{outcome="lost"}`))
}

func TestPacketsAreBounded(t *testing.T) {
	p := &packets{}
	for range maxPackets {
		require.True(t, p.count(1))
	}
	assert.False(t, p.count(1))
	p = &packets{}
	for range maxPacketBytes / tunnel.MaxPacket {
		require.True(t, p.count(tunnel.MaxPacket))
	}
	assert.False(t, p.count(tunnel.MaxPacket))
	sent, _ := p.total()
	assert.Equal(t, maxPacketBytes/tunnel.MaxPacket, sent)
}

// BenchmarkRoundTripCaptured is BenchmarkRoundTrip with four packets and more on top.
func BenchmarkRoundTripCaptured(b *testing.B) {
	host, port := target(b, echo)
	_, url := start(b, captured(b, host, port))
	p := connect(b, url)
	p.wish(tunnel.Open{Host: host, Port: port, Wants: []string{tunnel.WantPackets}}, 1<<30)
	p.roundTrips(b)
}
