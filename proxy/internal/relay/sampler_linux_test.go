package relay

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

func TestSamplesOfATunnel(t *testing.T) {
	host, port := target(t, func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("220 ready\r\n"))
		b := make([]byte, 100)
		n, _ := conn.Read(b)
		_, _ = conn.Write(b[:n])
	})
	_, url := start(t, Config{Dial: direct})
	for _, tt := range []struct {
		name  string
		wants []string
		least int
	}{
		{"wanted", []string{tunnel.WantTCPInfo}, 2},
		{"wanted with more", []string{tunnel.WantPackets, tunnel.WantTCPInfo}, 2},
		{"not wanted", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := connect(t, url)
			p.wish(tunnel.Open{Host: host, Port: port, Wants: tt.wants}, 100)
			var order []tunnel.Type
			var samples []tunnel.Sample
			for {
				f, err := p.next()
				require.NoError(t, err)
				if order = append(order, f.Type); f.Type == tunnel.TypeEOF {
					break
				}
				switch {
				case f.Type == tunnel.TypeStatus && f.Status.Stage == tunnel.StageSample:
					samples = append(samples, *f.Status.Sample)
				case f.Type == tunnel.TypeData && string(f.Data) == "220 ready\r\n":
					p.write([]byte("QUIT\r\n"), whole)
				}
			}
			if tt.least == 0 {
				assert.Empty(t, samples)
				return
			}
			require.GreaterOrEqual(t, len(samples), tt.least, "%v", order)
			first, last := samples[0], samples[len(samples)-1]
			assert.Equal(t, "ESTABLISHED", first.State)
			assert.Positive(t, first.RTT)
			assert.Positive(t, first.CongestionWindow)
			assert.Equal(t, "CLOSE-WAIT", last.State, "the last sample comes when the target has ended, before EOF")
		})
	}
}

// What the network did is told also when it broke the connection.
func TestSampleBeforeERROR(t *testing.T) {
	host, port := target(t, func(conn *net.TCPConn) {
		b := make([]byte, 1)
		_, _ = conn.Read(b)
		_ = conn.SetLinger(0)
		_ = conn.Close()
	})
	_, url := start(t, Config{Dial: direct})
	p := connect(t, url)
	p.wish(tunnel.Open{Host: host, Port: port, Wants: []string{tunnel.WantTCPInfo}}, 100)
	var last *tunnel.Sample
	for {
		f, err := p.next()
		require.NoError(t, err)
		if f.Type == tunnel.TypeError {
			assert.Equal(t, tunnel.CodeReset, f.Error.Code)
			break
		}
		if f.Type == tunnel.TypeCredit {
			p.write([]byte("x"), whole)
		}
		if f.Status != nil && f.Status.Stage == tunnel.StageSample {
			last = f.Status.Sample
		}
	}
	require.NotNil(t, last)
	assert.Equal(t, "CLOSED", last.State)
}
