package tcpinfo

import (
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"smtpscope/protocol/tunnel"
)

func TestSupported(t *testing.T) {
	assert.NoError(t, Supported())
}

func TestSample(t *testing.T) {
	for _, tt := range []struct {
		name string
		info unix.TCPInfo
		want tunnel.Sample
	}{
		{"a new connection", unix.TCPInfo{State: 1, Rtt: 40_000, Rttvar: 20_000, Rto: 240_000, Min_rtt: 40_000, Snd_cwnd: 10, Snd_mss: 1448, Snd_ssthresh: math.MaxInt32, Bytes_acked: 1},
			tunnel.Sample{State: "ESTABLISHED", RTT: 40 * time.Millisecond, RTTVar: 20 * time.Millisecond, RTO: 240 * time.Millisecond, MinRTT: 40 * time.Millisecond, CongestionWindow: 10, MSS: 1448}},
		{"nothing measured", unix.TCPInfo{State: 2, Min_rtt: math.MaxUint32, Snd_ssthresh: math.MaxInt32}, tunnel.Sample{State: "SYN-SENT"}},
		{"after a loss", unix.TCPInfo{State: 1, Snd_ssthresh: 7, Total_retrans: 2, Delivery_rate: 125_000, Snd_wnd: 65_535, Rcv_wnd: 64_256},
			tunnel.Sample{State: "ESTABLISHED", SlowStartThreshold: 7, Retransmits: 2, DeliveryRate: 125_000, SendWindow: 65_535, ReceiveWindow: 64_256}},
		{"octets in flight, one segment sent twice", unix.TCPInfo{State: 1, Unacked: 3, Bytes_sent: 9000, Bytes_retrans: 1000, Bytes_acked: 5001},
			tunnel.Sample{State: "ESTABLISHED", Unacked: 3, InFlight: 3000}},
		{"a FIN in flight", unix.TCPInfo{State: 4, Unacked: 1, Bytes_sent: 10, Bytes_acked: 11}, tunnel.Sample{State: "FIN-WAIT-1", Unacked: 1}},
		{"a kernel that does not count octets sent", unix.TCPInfo{State: 1, Unacked: 1, Bytes_acked: 100}, tunnel.Sample{State: "ESTABLISHED", Unacked: 1}},
		{"a state of a newer kernel", unix.TCPInfo{State: 12}, tunnel.Sample{State: "state 12"}},
		{"no state", unix.TCPInfo{}, tunnel.Sample{State: "state 0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.info.Snd_ssthresh == 0 {
				tt.info.Snd_ssthresh = math.MaxInt32
			}
			if tt.info.Min_rtt == 0 {
				tt.info.Min_rtt = math.MaxUint32
			}
			assert.Equal(t, tt.want, sample(&tt.info))
		})
	}
}

// pair is a connection over loopback, both ends.
func pair(t *testing.T) (client, server net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return client, server
}

func TestReadConnection(t *testing.T) {
	client, server := pair(t)
	s, err := Read(client)
	require.NoError(t, err)
	assert.Equal(t, "ESTABLISHED", s.State)
	assert.Positive(t, s.RTT)
	assert.Positive(t, s.MinRTT)
	assert.Greater(t, s.RTO, s.RTT)
	assert.Positive(t, s.CongestionWindow)
	assert.Greater(t, s.MSS, 536)
	assert.Zero(t, s.InFlight)
	assert.Zero(t, s.Retransmits)

	other, err := Read(server)
	require.NoError(t, err)
	assert.Equal(t, s.SendScale, other.ReceiveScale, "what one end says the other one hears")
	assert.Equal(t, s.ReceiveScale, other.SendScale)

	// A megabyte that is read and acknowledged leaves nothing in flight.
	const size = 1 << 20
	done := make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, size))
		done <- err
	}()
	_, err = io.CopyN(io.Discard, server, size)
	require.NoError(t, err)
	require.NoError(t, <-done)
	assert.Eventually(t, func() bool {
		s, err = Read(client)
		return err == nil && s.Unacked == 0
	}, 5*time.Second, time.Millisecond)
	assert.Zero(t, s.InFlight)
	assert.Positive(t, s.DeliveryRate)
	assert.GreaterOrEqual(t, s.SendWindow, 1<<16, "scaled: the field of the header alone says at most 65,535")
}

// A listener with no room for another connection lets SYNs go unanswered, as a lossy line
// does: the connection is made by the second one, a second later, and no round trip is that long.
func TestReadAfterALostSYN(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	bound, err := unix.Getsockname(fd)
	require.NoError(t, err)
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: bound.(*unix.SockaddrInet4).Port}).String()

	first, err := net.Dial("tcp", address) // the one that there is room for
	require.NoError(t, err)
	defer first.Close()
	room := time.AfterFunc(200*time.Millisecond, func() {
		if accepted, _, err := unix.Accept(fd); err == nil {
			unix.Close(accepted)
		}
	})
	defer room.Stop()
	started := time.Now()
	second, err := net.DialTimeout("tcp", address, 30*time.Second)
	require.NoError(t, err)
	defer second.Close()
	took := time.Since(started)
	s, err := Read(second)
	require.NoError(t, err)
	assert.Greater(t, took, 900*time.Millisecond)
	assert.Positive(t, s.Retransmits)
	assert.Less(t, s.RTT, took/2)
}

func TestReadAfterReset(t *testing.T) {
	client, server := pair(t)
	require.NoError(t, server.(*net.TCPConn).SetLinger(0))
	require.NoError(t, server.Close())
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, unix.ECONNRESET)
	s, err := Read(client)
	require.NoError(t, err)
	assert.Equal(t, "CLOSED", s.State)
}

func TestReadFails(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	_, err := Read(a)
	assert.ErrorContains(t, err, "*net.pipe: it is no TCP socket")

	client, _ := pair(t)
	require.NoError(t, client.Close())
	_, err = Read(client)
	assert.ErrorIs(t, err, net.ErrClosed)

	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = Read(l.(*net.UDPConn))
	assert.ErrorIs(t, err, unix.EOPNOTSUPP)
}

func BenchmarkRead(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(b, err)
	defer conn.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(conn); err != nil {
			b.Fatal(err)
		}
	}
}
