package relay

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

// pull reads frames into one buffer, as a page with nothing else to do would, and grants what it takes.
func (p *page) pull(b testing.TB, want int) {
	buf := make([]byte, tunnel.MaxMessage)
	for got, ungranted := 0, 0; got < want; {
		_, message, err := p.ws.Reader(p.ctx)
		require.NoError(b, err)
		n, err := io.ReadFull(message, buf)
		if err != io.ErrUnexpectedEOF {
			require.NoError(b, err)
			_, err = message.Read(buf[:0])
			require.ErrorIs(b, err, io.EOF)
		}
		p.mu.Lock()
		f, err := p.half.Receive(buf[:n])
		p.changed.Broadcast()
		p.mu.Unlock()
		require.NoError(b, err)
		got += len(f.Data)
		if ungranted += len(f.Data); ungranted >= 256<<10 {
			p.grant(ungranted)
			ungranted = 0
		}
	}
}

const block = 1 << 20

func BenchmarkDown(b *testing.B) {
	host, port := target(b, func(conn *net.TCPConn) {
		buf := make([]byte, block)
		for range b.N {
			if _, err := conn.Write(buf); err != nil {
				return
			}
		}
	})
	_, url := start(b, Config{})
	p := connect(b, url)
	b.SetBytes(block)
	p.open(host, port, 1<<20)
	p.pull(b, b.N*block)
	b.StopTimer()
	_ = p.ws.CloseNow()
}

func BenchmarkUp(b *testing.B) {
	done := make(chan int64, 1)
	host, port := target(b, func(conn *net.TCPConn) {
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 256<<10))
		done <- n
	})
	_, url := start(b, Config{})
	p := connect(b, url)
	b.SetBytes(block)
	p.open(host, port, 1000)
	go func() {
		for {
			if _, err := p.next(); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, block)
	for range b.N {
		p.write(buf, func() int { return 64 << 10 })
	}
	p.eof()
	require.Equal(b, int64(b.N)*block, <-done)
	b.StopTimer()
	_ = p.ws.CloseNow()
}

// BenchmarkRoundTrip is one small message there and back.
func BenchmarkRoundTrip(b *testing.B) {
	host, port := target(b, echo)
	_, url := start(b, Config{})
	p := connect(b, url)
	p.open(host, port, 1<<30)
	p.roundTrips(b)
}

func (p *page) roundTrips(b *testing.B) {
	frame := make([]byte, 101)
	for range b.N {
		for p.half.Sendable() < 100 {
			_, err := p.next()
			require.NoError(b, err)
		}
		require.NoError(b, p.half.FrameData(frame))
		require.NoError(b, p.raw(frame))
		for got := 0; got < 100; {
			f, err := p.next()
			require.NoError(b, err)
			got += len(f.Data)
		}
	}
	b.StopTimer()
	_ = p.ws.CloseNow()
}
