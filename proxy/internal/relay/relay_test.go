package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"smtpscope/protocol/tunnel"
)

func itoa(n int) string { return strconv.Itoa(n) }

func echo(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) }

func TestEcho(t *testing.T) {
	size := 64 << 20
	if testing.Short() {
		size = 4 << 20
	}
	host, port := target(t, echo)
	_, url := start(t, Config{})
	p := connect(t, url)
	p.open(host, port, 300_000)

	sent := make(chan []byte)
	go func() {
		sum := sha256.New()
		rng := rand.New(rand.NewPCG(1, 1))
		source := rand.NewChaCha8([32]byte{7})
		chunk := make([]byte, 1<<20)
		for left := size; left > 0; {
			b := chunk[:min(left, 1+rng.IntN(len(chunk)))]
			_, _ = source.Read(b)
			sum.Write(b)
			p.write(b, func() int { return 1 + rng.IntN(1+rng.IntN(tunnel.MaxData)) })
			left -= len(b)
		}
		p.eof()
		sent <- sum.Sum(nil)
	}()
	got, n := sha256.New(), 0
	ungranted := 0
	for {
		f, err := p.next()
		require.NoError(t, err)
		require.Nil(t, f.Error)
		if f.Type == tunnel.TypeEOF {
			break
		}
		got.Write(f.Data)
		n += len(f.Data)
		if ungranted += len(f.Data); ungranted > 100_000 {
			p.grant(ungranted)
			ungranted = 0
		}
	}
	assert.Equal(t, size, n)
	assert.Equal(t, <-sent, got.Sum(nil))
	_, err := p.next()
	assert.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(err))
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// budget is what a tunnel that is stuck may cost.
const budget = 1 << 20

// flood writes until nothing is taken for a while, or limit is reached.
func flood(conn net.Conn, limit int) (written int) {
	b := make([]byte, 64<<10)
	for written < limit {
		_ = conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := conn.Write(b)
		written += n
		if err != nil {
			break
		}
	}
	return written
}

func TestStalledPage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		window int
		sees   int // DATA bytes that the page may find in the end, at most
	}{
		{"grants no more", 100_000, 100_000},
		{"grants without end, does not read", 4 << 30 >> 1, 64 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const offered = 512 << 20
			written, measured := make(chan int), make(chan struct{})
			host, port := target(t, func(conn *net.TCPConn) {
				written <- flood(conn, offered)
				<-measured
			})
			_, url := start(t, Config{})
			p := connect(t, url)
			before := heap()
			p.open(host, port, tt.window)
			n := <-written
			assert.Less(t, n, 64<<20, "the target must be made to wait")
			assert.Less(t, heap()-before, int64(budget+128<<10)) // and the test's own buffers
			close(measured)
			r := p.ws.CloseNow()
			assert.NoError(t, r)
		})
	}
}

func TestStalledPageGetsItsCreditsWorth(t *testing.T) {
	host, port := target(t, func(conn *net.TCPConn) {
		flood(conn, 64<<20)
	})
	_, url := start(t, Config{})
	p := connect(t, url)
	p.open(host, port, 100_000)
	got := 0
	for got < 100_000 {
		f, err := p.next()
		require.NoError(t, err)
		got += len(f.Data)
	}
	assert.Equal(t, 100_000, got, "and Receive has seen that it is not more")
	p.grant(1)
	f, err := p.next()
	require.NoError(t, err)
	assert.Len(t, f.Data, 1)
}

func TestDeafTarget(t *testing.T) {
	quiet := make(chan struct{})
	host, port := target(t, func(conn *net.TCPConn) {
		_ = conn.SetReadBuffer(4096)
		<-quiet
	})
	_, url := start(t, Config{})
	p := connect(t, url)
	before := heap()
	p.open(host, port, 1000)
	var granted, sent atomic.Int64
	granted.Store(Window)
	last := make(chan struct{})
	go func() {
		defer close(last)
		for {
			f, err := p.next()
			if err != nil {
				return
			}
			granted.Add(int64(f.Credit))
		}
	}()
	progress := make(chan struct{}, 1)
	go func() {
		b := make([]byte, 10_000)
		for {
			n := p.write(b, whole)
			sent.Add(int64(n))
			if n < len(b) {
				return
			}
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}()
	for stuck := false; !stuck; {
		select {
		case <-progress:
		case <-time.After(500 * time.Millisecond):
			stuck = true
		}
	}
	assert.Less(t, sent.Load(), int64(32<<20), "what the kernel holds, and one window")
	assert.LessOrEqual(t, granted.Load()-sent.Load(), int64(10_000), "the page has used its credit and gets no more")
	assert.Less(t, heap()-before, int64(budget+128<<10))
	_ = p.ws.CloseNow()
	close(quiet)
	<-last
}

func TestCreditViolator(t *testing.T) {
	message := append([]byte{byte(tunnel.TypeData)}, make([]byte, tunnel.MaxData)...)
	check := func(t *testing.T, p *page) {
		r := p.drain(false)
		require.NotNil(t, r.err, "%v", r.lost)
		assert.Equal(t, tunnel.CodeCredit, r.err.Code)
		assert.Equal(t, websocket.StatusPolicyViolation, r.close, "%v", r.lost)
	}
	t.Run("by a byte", func(t *testing.T) {
		near, far := net.Pipe() // which holds nothing, so that no credit comes back
		defer far.Close()
		_, url := start(t, Config{Dial: func(context.Context, tunnel.Open, func(tunnel.Status)) (net.Conn, error) { return near, nil }})
		p := connect(t, url)
		p.open("mx.example.net", 25, 1000)
		for range 4 {
			require.NoError(t, p.raw(message[:1+Window/4]))
		}
		require.NoError(t, p.raw(message[:2]))
		check(t, p)
	})
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("without end, target deaf %t", deaf), func(t *testing.T) {
			quiet := make(chan struct{})
			host, port := target(t, func(conn *net.TCPConn) {
				if deaf {
					_ = conn.SetReadBuffer(4096)
					<-quiet
					return
				}
				_, _ = io.Copy(io.Discard, conn)
			})
			defer close(quiet)
			_, url := start(t, Config{})
			p := connect(t, url)
			p.open(host, port, 1000)
			go func() {
				for p.raw(message) == nil { // regardless of credit
				}
			}()
			check(t, p)
		})
	}
}

const lastWords = "421 4.3.2 mx.example.net shutting down\r\n"

func TestLastWords(t *testing.T) {
	readLine := func(conn net.Conn) { _, _ = io.ReadFull(conn, make([]byte, 6)) }
	for _, tt := range []struct {
		name   string
		serve  func(*net.TCPConn)
		page   func(*page) // what it does after its first line
		answer bool        // EOF by EOF
		reset  bool        // the page may learn of a reset
	}{
		{"and a clean close", func(conn *net.TCPConn) {
			readLine(conn)
			_, _ = io.WriteString(conn, lastWords)
		}, func(*page) {}, true, false},
		{"at once", func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, lastWords)
		}, func(*page) {}, true, true}, // NOOP comes to a closed socket
		{"with input left unread", func(conn *net.TCPConn) {
			readLine(conn)
			_, _ = conn.Read(make([]byte, 1))
			_, _ = io.WriteString(conn, lastWords)
		}, func(p *page) { p.write(make([]byte, 100_000), whole) }, false, true},
		{"while the page goes on sending", func(conn *net.TCPConn) {
			readLine(conn)
			_, _ = io.WriteString(conn, lastWords)
		}, func(p *page) { p.write(make([]byte, 4<<20), whole) }, false, true},
		{"and a reset", func(conn *net.TCPConn) {
			readLine(conn)
			_, _ = io.WriteString(conn, lastWords)
			_ = conn.SetLinger(0)
		}, func(*page) {}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, port := target(t, tt.serve)
			_, url := start(t, Config{}, func(r *Relay) { r.waits.linger = 200 * time.Millisecond })
			for run := range 200 {
				p := connect(t, url)
				p.open(host, port, 10) // less than the words
				var sending sync.WaitGroup
				sending.Go(func() {
					p.write([]byte("NOOP\r\n"), whole)
					tt.page(p)
				})
				r := p.drain(tt.answer)
				sending.Wait()
				require.Equal(t, lastWords, string(r.data), "run %d: %+v", run, r)
				require.NotEqual(t, r.eof, r.err != nil, "run %d: either EOF or ERROR: %+v", run, r)
				if r.err != nil {
					require.True(t, tt.reset)
					require.Equal(t, tunnel.CodeReset, r.err.Code)
				}
				require.Equal(t, websocket.StatusNormalClosure, r.close, "run %d: %v", run, r.lost)
			}
		})
	}
}

func TestReset(t *testing.T) {
	host, port := target(t, func(conn *net.TCPConn) {
		_, _ = io.ReadFull(conn, make([]byte, 6))
		_ = conn.SetLinger(0)
	})
	_, url := start(t, Config{})
	p := connect(t, url)
	p.open(host, port, 1000)
	p.write([]byte("NOOP\r\n"), whole)
	r := p.drain(false)
	require.NotNil(t, r.err)
	assert.Equal(t, tunnel.CodeReset, r.err.Code)
	assert.Contains(t, r.err.Message, "reset the connection")
	assert.Contains(t, r.err.Message, net.JoinHostPort(host, itoa(port)))
	assert.False(t, r.eof)
	assert.Equal(t, websocket.StatusNormalClosure, r.close)
}

func TestHalfClose(t *testing.T) {
	t.Run("the page ends first", func(t *testing.T) {
		host, port := target(t, func(conn *net.TCPConn) {
			all, _ := io.ReadAll(conn)
			_, _ = fmt.Fprintf(conn, "%d bytes, then the end", len(all))
		})
		_, url := start(t, Config{})
		p := connect(t, url)
		p.open(host, port, 10_000)
		p.write(make([]byte, 5000), func() int { return 777 })
		p.eof()
		r := p.drain(false)
		assert.Equal(t, "5000 bytes, then the end", string(r.data))
		assert.True(t, r.eof)
		assert.Nil(t, r.err)
		assert.Equal(t, websocket.StatusNormalClosure, r.close)
	})
	t.Run("the page ends before the target is dialed", func(t *testing.T) {
		host, port := target(t, func(conn *net.TCPConn) {
			all, _ := io.ReadAll(conn)
			_, _ = fmt.Fprintf(conn, "%d bytes", len(all))
		})
		_, url := start(t, Config{})
		p := connect(t, url)
		p.ask(host, port, 10_000)
		p.eof()
		r := p.drain(false)
		assert.Equal(t, "0 bytes", string(r.data))
		assert.Equal(t, websocket.StatusNormalClosure, r.close)
	})
	t.Run("the target ends first", func(t *testing.T) {
		got := make(chan int, 1)
		host, port := target(t, func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, "bye")
			_ = conn.CloseWrite()
			all, _ := io.ReadAll(conn)
			got <- len(all)
		})
		_, url := start(t, Config{})
		p := connect(t, url)
		p.open(host, port, 10_000)
		for eof := false; !eof; {
			f, err := p.next()
			require.NoError(t, err)
			eof = f.Type == tunnel.TypeEOF
		}
		ended := make(chan rest)
		go func() { ended <- p.drain(false) }()
		p.write(make([]byte, 3*Window), whole) // needs credit after the target's end
		p.eof()
		assert.Equal(t, 3*Window, <-got)
		r := <-ended
		assert.Nil(t, r.err)
		assert.Equal(t, websocket.StatusNormalClosure, r.close)
	})
	t.Run("the target ends, the page says nothing", func(t *testing.T) {
		host, port := target(t, func(*net.TCPConn) {})
		_, url := start(t, Config{}, func(r *Relay) { r.waits.linger = 50 * time.Millisecond })
		p := connect(t, url)
		p.open(host, port, 10_000)
		r := p.drain(false)
		assert.True(t, r.eof)
		assert.Nil(t, r.err)
		assert.Equal(t, websocket.StatusNormalClosure, r.close)
	})
}

func TestWhatAPageLeavesBehindArrives(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed properly %t", clean), func(t *testing.T) {
			got := make(chan int64, 1)
			goAhead := make(chan struct{})
			host, port := target(t, func(conn *net.TCPConn) {
				_ = conn.SetReadBuffer(64 << 10)
				select {
				case <-goAhead:
				case <-t.Context().Done():
				}
				n, _ := io.Copy(io.Discard, conn)
				got <- n
			})
			r, url := start(t, Config{})
			p := connect(t, url)
			p.open(host, port, 1000)
			go p.drain(false)
			// Send until the kernel's buffers and the ring are full.
			progress := make(chan int)
			go func() {
				defer close(progress)
				b := make([]byte, 10_000)
				for n := len(b); n == len(b); {
					n = p.write(b, whole)
					progress <- n
				}
			}()
			total := 0
			for stuck := false; !stuck; {
				select {
				case n := <-progress:
					total += n
				case <-time.After(300 * time.Millisecond):
					stuck = true
				}
			}
			p.quit()
			for n := range progress {
				total += n
			}
			if clean {
				_ = p.ws.Close(websocket.StatusNormalClosure, "")
			} else {
				_ = p.ws.CloseNow()
			}
			require.Eventually(t, r.abandoned, patience, time.Millisecond)
			close(goAhead)
			assert.Equal(t, int64(total), <-got)
		})
	}
}

// The credit that can no longer be granted must not stop the writing.
func TestAWindowLeftBehindArrives(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	r, url := start(t, Config{Dial: func(context.Context, tunnel.Open, func(tunnel.Status)) (net.Conn, error) { return near, nil }})
	p := connect(t, url)
	p.open("mx.example.net", 25, 1000)
	frame := append([]byte{byte(tunnel.TypeData)}, make([]byte, Window/4)...)
	require.NoError(t, p.raw(frame))
	require.Eventually(t, func() bool { return r.held() == Window/4 }, patience, time.Millisecond)
	first := make([]byte, len(line{}.head)) // which arrives on its own: then a quarter of the window is under way
	_, err := io.ReadFull(far, first)
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, p.raw(frame))
	}
	require.NoError(t, p.ws.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, r.abandoned, patience, time.Millisecond)
	n, err := io.Copy(io.Discard, far)
	require.NoError(t, err)
	assert.Equal(t, Window, len(first)+int(n))
}

// held is how much the ring of the only line holds.
func (r *Relay) held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.lines {
		l.ring.mu.Lock()
		defer l.ring.mu.Unlock()
		return l.ring.used
	}
	return -1
}

// abandoned tells whether the relay has noticed that the page of its one line has gone.
func (r *Relay) abandoned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.lines {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.gone
	}
	return true
}

func TestIdle(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{Idle: 100 * time.Millisecond})
	p := connect(t, url)
	p.open(host, port, 1000)
	r := p.drain(false)
	require.NotNil(t, r.err)
	assert.Equal(t, tunnel.CodeTimeout, r.err.Code)
	assert.Contains(t, r.err.Message, "idle: for 100ms no byte passed either way")
	assert.Equal(t, websocket.StatusNormalClosure, r.close)
}

func TestTrafficIsNotIdle(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{Idle: time.Second})
	p := connect(t, url)
	p.open(host, port, 1000)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 15 {
		<-tick.C
		p.write([]byte("x"), whole)
		f, err := p.next()
		require.NoError(t, err)
		require.Equal(t, "x", string(f.Data))
	}
}

func TestStalledPageIsCutOffAsIdle(t *testing.T) {
	host, port := target(t, func(conn *net.TCPConn) { flood(conn, 512<<20) })
	r, url := start(t, Config{Idle: 200 * time.Millisecond}, func(r *Relay) { r.waits.close = 200 * time.Millisecond })
	p := connect(t, url)
	p.open(host, port, 2<<30) // and reads nothing: the ERROR cannot be written either
	require.Eventually(t, func() bool { return r.Tunnels() == 0 }, patience, 10*time.Millisecond)
}

func TestTotal(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{Total: 150 * time.Millisecond})
	p := connect(t, url)
	p.open(host, port, 1000)
	r := p.drain(false)
	require.NotNil(t, r.err)
	assert.Equal(t, tunnel.CodeTimeout, r.err.Code)
	assert.Contains(t, r.err.Message, "longer than the 150ms")
}

func TestDialing(t *testing.T) {
	report := func(stages ...tunnel.Stage) func(context.Context, tunnel.Open, func(tunnel.Status)) {
		return func(_ context.Context, o tunnel.Open, report func(tunnel.Status)) {
			for _, s := range stages {
				report(tunnel.Status{Stage: s, Host: o.Host, Port: o.Port})
			}
		}
	}
	closedPort := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}()
	host, port := target(t, echo)
	for _, tt := range []struct {
		name   string
		dial   Dialer
		stages []tunnel.Stage
		want   *tunnel.Error
		close  websocket.StatusCode
	}{
		{"opened by the relay", direct, []tunnel.Stage{tunnel.StageOpened}, nil, 0},
		{"opened by the dialer", func(ctx context.Context, o tunnel.Open, f func(tunnel.Status)) (net.Conn, error) {
			report(tunnel.StageResolving, tunnel.StageAddresses, tunnel.StageDialing, tunnel.StageDialing, tunnel.StageOpened)(ctx, o, f)
			return direct(ctx, o, nil)
		}, []tunnel.Stage{tunnel.StageResolving, tunnel.StageAddresses, tunnel.StageDialing, tunnel.StageDialing, tunnel.StageOpened}, nil, 0},
		{"policy says no", func(ctx context.Context, o tunnel.Open, f func(tunnel.Status)) (net.Conn, error) {
			report(tunnel.StageResolving)(ctx, o, f)
			return nil, fmt.Errorf("dial: %w", &tunnel.Error{Code: tunnel.CodeDenied, Message: "Not this one.", Rule: "loopback"})
		}, []tunnel.Stage{tunnel.StageResolving}, &tunnel.Error{Code: tunnel.CodeDenied, Message: "Not this one.", Rule: "loopback"}, websocket.StatusPolicyViolation},
		{"quota", func(context.Context, tunnel.Open, func(tunnel.Status)) (net.Conn, error) {
			return nil, &tunnel.Error{Code: tunnel.CodeQuota, Message: "Not now.", RetryAfter: 7}
		}, nil, &tunnel.Error{Code: tunnel.CodeQuota, Message: "Not now.", RetryAfter: 7}, websocket.StatusTryAgainLater},
		{"refused", func(ctx context.Context, o tunnel.Open, f func(tunnel.Status)) (net.Conn, error) {
			o.Port = closedPort
			return direct(ctx, o, f)
		}, nil, &tunnel.Error{Code: tunnel.CodeRefused, Message: fmt.Sprintf("%s refused the connection on port %d: nothing listens there, or a firewall rejects it. Check the port.", host, port)}, websocket.StatusNormalClosure},
		{"no answer", func(ctx context.Context, o tunnel.Open, f func(tunnel.Status)) (net.Conn, error) {
			report(tunnel.StageDialing)(ctx, o, f)
			<-ctx.Done()
			return nil, ctx.Err()
		}, []tunnel.Stage{tunnel.StageDialing}, &tunnel.Error{Code: tunnel.CodeTimeout, Message: fmt.Sprintf("%s did not answer on port %d in time: the host is down, or a firewall drops what is sent to it. Check host and port.", host, port)}, websocket.StatusNormalClosure},
		{"reports nonsense", func(ctx context.Context, o tunnel.Open, f func(tunnel.Status)) (net.Conn, error) {
			report(tunnel.StageSample, "lunch", tunnel.StageDialing)(ctx, o, f)
			return direct(ctx, o, f)
		}, []tunnel.Stage{tunnel.StageDialing, tunnel.StageOpened}, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, url := start(t, Config{Dial: tt.dial}, func(r *Relay) { r.waits.dial = 100 * time.Millisecond })
			p := connect(t, url)
			p.ask(host, port, 100)
			var stages []tunnel.Stage
			for {
				f, err := p.next()
				require.NoError(t, err)
				if f.Status != nil {
					stages = append(stages, f.Status.Stage)
					if f.Status.Stage == tunnel.StageOpened && len(stages) == 1 {
						assert.Equal(t, net.JoinHostPort(host, itoa(port)), f.Status.Address)
						assert.NotEmpty(t, f.Status.Local)
					}
					continue
				}
				assert.Equal(t, tt.want, f.Error)
				break
			}
			assert.Equal(t, tt.stages, stages)
			if tt.want != nil {
				assert.Equal(t, tt.close, p.drain(false).close)
			}
		})
	}
}

func TestPageLeavesWhileDialing(t *testing.T) {
	left := make(chan error, 1)
	dialing := make(chan struct{})
	_, url := start(t, Config{Dial: func(ctx context.Context, _ tunnel.Open, _ func(tunnel.Status)) (net.Conn, error) {
		close(dialing)
		<-ctx.Done()
		left <- ctx.Err()
		return nil, ctx.Err()
	}})
	p := connect(t, url)
	p.ask("mx.example.net", 25, 100)
	<-dialing
	require.NoError(t, p.ws.CloseNow())
	assert.ErrorIs(t, <-left, context.Canceled)
}

func TestBadFrames(t *testing.T) {
	open := []byte("\x01" + `{"host":"mx.example.net","port":25}`)
	long := append([]byte{byte(tunnel.TypeData)}, make([]byte, tunnel.MaxData+1)...)
	for _, tt := range []struct {
		name  string
		text  bool
		first [][]byte
		bad   []byte
		says  string
	}{
		{"text", true, nil, open, "text message"},
		{"text later", true, [][]byte{open}, []byte("hello"), "text message"},
		{"empty", false, nil, nil, "empty message"},
		{"unknown type", false, nil, []byte{9, 9, 9}, "unknown frame type 9"},
		{"DATA first", false, nil, []byte("\x04EHLO"), "OPEN is the first frame"},
		{"CREDIT first", false, nil, []byte{5, 0, 0, 1, 0}, "OPEN is the first frame"},
		{"EOF first", false, nil, []byte{6}, "OPEN is the first frame"},
		{"STATUS", false, nil, []byte("\x02" + `{"stage":"opened"}`), "the page does not send it"},
		{"OPEN that is not JSON", false, nil, []byte("\x01mx.example.net:25"), "not an object"},
		{"OPEN with an unknown key", false, nil, []byte("\x01" + `{"host":"a","port":25,"tls":true}`), `unknown key "tls"`},
		{"OPEN of the wrong type", false, nil, []byte("\x01" + `{"host":"a","port":"smtp"}`), "port"},
		{"OPEN without end", false, nil, append([]byte("\x01"), bytes.Repeat([]byte("x"), 3*tunnel.MaxMessage/2)...), "too long"},
		{"OPEN twice", false, [][]byte{open}, open, "sent twice"},
		{"short CREDIT", false, [][]byte{open}, []byte{5, 0, 1}, "2 bytes, need 4"},
		{"long CREDIT", false, [][]byte{open}, append([]byte{5}, make([]byte, 200)...), "200 bytes, need 4"},
		{"CREDIT of 0", false, [][]byte{open}, []byte{5, 0, 0, 0, 0}, "credit of 0"},
		{"EOF with payload", false, [][]byte{open}, []byte{6, 6}, "1 bytes, need none"},
		{"EOF twice", false, [][]byte{open, {6}}, []byte{6}, "sent twice"},
		{"empty DATA", false, [][]byte{open}, []byte{4}, "no bytes"},
		{"DATA after EOF", false, [][]byte{open, {6}}, []byte("\x04x"), "after EOF"},
		{"DATA too long", false, [][]byte{open}, long, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, url := start(t, Config{Dial: func(ctx context.Context, _ tunnel.Open, _ func(tunnel.Status)) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}})
			p := connect(t, url)
			for _, message := range tt.first {
				require.NoError(t, p.raw(message))
			}
			kind := websocket.MessageBinary
			if tt.text {
				kind = websocket.MessageText
			}
			require.NoError(t, p.ws.Write(p.ctx, kind, tt.bad))
			r := p.drain(false)
			require.NotNil(t, r.err, "%v", r.lost)
			want := tunnel.CodeBadRequest
			if tt.says == "" {
				want = tunnel.CodeCredit
			}
			assert.Equal(t, want, r.err.Code)
			assert.Contains(t, r.err.Message, tt.says)
			assert.Equal(t, websocket.StatusPolicyViolation, r.close, "%v", r.lost)
		})
	}
}

func TestDataLongerThanAFrame(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{})
	p := connect(t, url)
	p.open(host, port, 1<<30)
	// With Window credit outstanding, MaxData+1 bytes exceed both; credit is the lesser wrong to name.
	_ = p.raw(append([]byte{byte(tunnel.TypeData)}, make([]byte, tunnel.MaxData+1)...))
	r := p.drain(false)
	require.NotNil(t, r.err)
	assert.Contains(t, []tunnel.Code{tunnel.CodeBadRequest, tunnel.CodeCredit}, r.err.Code)
}

func TestEndlessMessage(t *testing.T) {
	_, url := start(t, Config{}, func(r *Relay) { r.waits.close = 500 * time.Millisecond })
	p := connect(t, url)
	go func() {
		w, err := p.ws.Writer(p.ctx, websocket.MessageBinary)
		chunk := bytes.Repeat([]byte{byte(tunnel.TypeOpen)}, 1<<16)
		for err == nil {
			_, err = w.Write(chunk)
		}
	}()
	r := p.drain(false)
	require.NotNil(t, r.err, "%v", r.lost)
	assert.Equal(t, tunnel.CodeBadRequest, r.err.Code)
	assert.Contains(t, r.err.Message, "too long")
}

func TestNoOpen(t *testing.T) {
	_, url := start(t, Config{}, func(r *Relay) { r.waits.open = 50 * time.Millisecond })
	r := connect(t, url).drain(false)
	require.NotNil(t, r.err)
	assert.Equal(t, tunnel.CodeBadRequest, r.err.Code)
	assert.Contains(t, r.err.Message, "no OPEN frame")
}

// A page that begins its OPEN and never ends it gets no more time than one that says nothing.
func TestHalfAnOpen(t *testing.T) {
	_, url := start(t, Config{}, func(r *Relay) { r.waits.open, r.waits.close = 50*time.Millisecond, 50*time.Millisecond })
	p := connect(t, url)
	w, err := p.ws.Writer(p.ctx, websocket.MessageBinary)
	require.NoError(t, err)
	_, err = w.Write(bytes.Repeat([]byte{byte(tunnel.TypeOpen)}, 8<<10)) // more than is buffered, so part of it is sent
	require.NoError(t, err)
	r := p.drain(false)
	require.NotNil(t, r.err, "%v", r.lost)
	assert.Equal(t, tunnel.CodeBadRequest, r.err.Code)
	assert.Contains(t, r.err.Message, "no OPEN frame")
}

func TestTooMany(t *testing.T) {
	host, port := target(t, echo)
	r, url := start(t, Config{MaxTunnels: 2})
	first, second := connect(t, url), connect(t, url)
	first.open(host, port, 100)
	second.open(host, port, 100)
	refused := connect(t, url).drain(false)
	require.NotNil(t, refused.err)
	assert.Equal(t, tunnel.CodeTooMany, refused.err.Code)
	assert.Equal(t, 30, refused.err.RetryAfter)
	assert.Contains(t, refused.err.Message, "2 tunnels")
	assert.Equal(t, websocket.StatusTryAgainLater, refused.close)

	require.NoError(t, first.ws.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool { return r.Tunnels() == 1 }, patience, time.Millisecond)
	connect(t, url).open(host, port, 100)
}

func TestFarTooMany(t *testing.T) {
	host, port := target(t, echo)
	_, url := start(t, Config{MaxTunnels: 1})
	connect(t, url).open(host, port, 100)
	connect(t, url) // refused by ERROR, but does not read it: its place is still taken
	require.Eventually(t, func() bool {
		status, body := get(t, url, upgrade("Sec-Websocket-Version", "12"))
		return status == http.StatusServiceUnavailable && strings.Contains(body, "as many tunnels")
	}, patience, time.Millisecond)
}

func TestDrain(t *testing.T) {
	t.Run("the open ones may finish", func(t *testing.T) {
		host, port := target(t, echo)
		r, url := start(t, Config{})
		p := connect(t, url)
		p.open(host, port, 100)
		finished := make(chan error, 1)
		go func() { finished <- r.Shutdown(context.Background()) }()
		require.Eventually(t, func() bool {
			status, body := get(t, url, upgrade("Sec-Websocket-Version", "12"))
			return status == http.StatusServiceUnavailable && strings.Contains(body, "being stopped")
		}, patience, time.Millisecond)
		p.write([]byte("still here"), whole)
		f, err := p.next()
		require.NoError(t, err)
		assert.Equal(t, "still here", string(f.Data))
		select {
		case err := <-finished:
			assert.Fail(t, "too early", "%v", err)
		default:
		}
		p.eof()
		assert.Equal(t, websocket.StatusNormalClosure, p.drain(false).close)
		assert.NoError(t, <-finished)
		assert.NoError(t, r.Shutdown(context.Background()), "once more does no harm")
	})
	t.Run("until time is up", func(t *testing.T) {
		host, port := target(t, echo)
		r, url := start(t, Config{})
		p := connect(t, url)
		p.open(host, port, 100)
		ctx, cancel := context.WithCancel(context.Background())
		finished := make(chan error, 1)
		go func() { finished <- r.Shutdown(ctx) }()
		cancel()
		end := p.drain(false)
		require.NotNil(t, end.err)
		assert.Equal(t, tunnel.CodeShutdown, end.err.Code)
		assert.Equal(t, websocket.StatusGoingAway, end.close)
		assert.ErrorIs(t, <-finished, context.Canceled)
		assert.Zero(t, r.Tunnels())
	})
}

// A target that closes when the end of the tunnel reaches it must not get in first:
// its EOF would hide the ERROR that says why.
func TestNothingHidesTheShutdown(t *testing.T) {
	host, port := target(t, echo)
	for range 100 {
		r, url := start(t, Config{})
		p := connect(t, url)
		p.open(host, port, 100)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		go func() { _ = r.Shutdown(ctx) }()
		end := p.drain(false)
		require.NotNil(t, end.err)
		require.False(t, end.eof, "EOF before the ERROR")
	}
}

func TestHTTPRefusals(t *testing.T) {
	log := &records{}
	_, checked := start(t, Config{
		CheckOrigin: func(req *http.Request) error {
			if o := req.Header.Get("Origin"); o != "https://docs.example" {
				return fmt.Errorf("pages from %q may not open tunnels here", o)
			}
			return nil
		},
		Logger: slog.New(slog.NewJSONHandler(log, nil)),
	})
	_, same := start(t, Config{})
	for _, tt := range []struct {
		name   string
		url    string
		header http.Header
		status int
		says   string
	}{
		{"origin refused", checked, upgrade("Origin", "https://evil.example"), http.StatusForbidden, `pages from "https://evil.example" may not open tunnels here`},
		{"origin accepted", checked, upgrade("Origin", "https://docs.example"), http.StatusSwitchingProtocols, ""},
		{"other host without a check", same, upgrade("Origin", "https://evil.example"), http.StatusForbidden, "evil.example"},
		{"same host without a check", same, upgrade("Origin", same), http.StatusSwitchingProtocols, ""},
		{"not a WebSocket", same, nil, http.StatusUpgradeRequired, "WebSocket"},
		{"other subprotocol", same, upgrade("Sec-Websocket-Protocol", "mqtt, smtpscope.v0"), http.StatusBadRequest, "smtpscope.v1"},
		{"among other subprotocols", same, upgrade("Sec-Websocket-Protocol", "mqtt, smtpscope.v1"), http.StatusSwitchingProtocols, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.status == http.StatusSwitchingProtocols {
				ws, res, err := websocket.Dial(t.Context(), tt.url, &websocket.DialOptions{
					HTTPHeader:   http.Header{"Origin": tt.header["Origin"]},
					Subprotocols: strings.Split(tt.header.Get("Sec-Websocket-Protocol"), ", "),
				})
				require.NoError(t, err)
				assert.Equal(t, tt.status, res.StatusCode)
				assert.Equal(t, tunnel.Subprotocol, ws.Subprotocol())
				assert.Empty(t, res.Header.Get("Sec-WebSocket-Extensions"))
				assert.NoError(t, ws.Close(websocket.StatusNormalClosure, ""))
				return
			}
			status, body := get(t, tt.url, tt.header)
			assert.Equal(t, tt.status, status)
			assert.Contains(t, body, tt.says)
		})
	}
	first := log.lines(t)[0]
	assert.Equal(t, "tunnel refused", first["msg"])
	assert.Equal(t, "origin", first["reason"])
	assert.Equal(t, "https://evil.example", first["origin"])
}

// records is a log that several goroutines may write.
type records struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *records) lines(t *testing.T) (all []map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range strings.Split(strings.TrimSpace(r.b.String()), "\n") {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(l), &m))
		all = append(all, m)
	}
	return all
}

func TestLog(t *testing.T) {
	host, port := target(t, echo)
	log := &records{}
	r, url := start(t, Config{Logger: slog.New(slog.NewJSONHandler(log, nil)), Dial: func(ctx context.Context, o tunnel.Open, f func(tunnel.Status)) (net.Conn, error) {
		if o.Host == "denied.example" {
			return nil, &tunnel.Error{Code: tunnel.CodeDenied, Message: "Not that.", Rule: "allow"}
		}
		return direct(ctx, o, f)
	}})
	p := connect(t, url)
	p.open(host, port, 100)
	p.write([]byte("AUTH PLAIN c2VjcmV0"), whole)
	_, err := p.next()
	require.NoError(t, err)
	p.eof()
	p.drain(false)
	require.Eventually(t, func() bool { return r.Tunnels() == 0 }, patience, time.Millisecond)
	denied := connect(t, url)
	denied.send(func(dst []byte) ([]byte, error) {
		return denied.half.AppendOpen(dst, tunnel.Open{Host: "denied.example", Port: 25, Token: "c2VjcmV0"})
	})
	denied.drain(false)
	require.Eventually(t, func() bool { return r.Tunnels() == 0 }, patience, time.Millisecond)

	lines := log.lines(t)
	require.Len(t, lines, 3)
	assert.Equal(t, "tunnel opened", lines[0]["msg"])
	address := net.JoinHostPort(host, itoa(port))
	for _, l := range lines[:2] {
		assert.Equal(t, lines[0]["session"], l["session"])
		assert.Equal(t, host, l["host"])
		assert.Equal(t, float64(port), l["port"])
		assert.Equal(t, address, l["address"])
	}
	assert.Equal(t, "tunnel closed", lines[1]["msg"])
	assert.Equal(t, "target", lines[1]["by"])
	assert.Equal(t, 19.0, lines[1]["up"])
	assert.Equal(t, 19.0, lines[1]["down"])
	assert.Positive(t, lines[1]["duration"])
	assert.Equal(t, "", lines[1]["code"])
	assert.Regexp(t, "^[A-Z2-7]{12}$", lines[2]["session"])
	assert.NotEqual(t, lines[0]["session"], lines[2]["session"])
	assert.Equal(t, "denied", lines[2]["code"])
	assert.Equal(t, "allow", lines[2]["rule"])
	assert.NotContains(t, log.b.String(), "c2VjcmV0")
}

// onlyConn hides CloseWrite.
type onlyConn struct{ net.Conn }

func TestTargetWithoutHalfClose(t *testing.T) {
	host, port := target(t, func(conn *net.TCPConn) {
		_, _ = io.ReadFull(conn, make([]byte, 4))
		_, _ = io.WriteString(conn, "221 bye\r\n")
	})
	_, url := start(t, Config{Dial: func(ctx context.Context, o tunnel.Open, f func(tunnel.Status)) (net.Conn, error) {
		c, err := direct(ctx, o, f)
		return onlyConn{c}, err
	}})
	p := connect(t, url)
	p.open(host, port, 100)
	p.write([]byte("QUIT"), whole)
	p.eof()
	r := p.drain(false)
	assert.Equal(t, "221 bye\r\n", string(r.data))
	assert.True(t, r.eof)
	assert.Equal(t, websocket.StatusNormalClosure, r.close)
}

// brokenPipe can be read but not written.
type brokenPipe struct{ net.Conn }

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("the pipe is broken") }

func TestTargetThatCannotBeWritten(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	_, url := start(t, Config{Dial: func(context.Context, tunnel.Open, func(tunnel.Status)) (net.Conn, error) {
		return brokenPipe{near}, nil
	}},
		func(r *Relay) { r.waits.linger = 100 * time.Millisecond })
	p := connect(t, url)
	p.open("mx.example.net", 25, 1000)
	p.write([]byte("NOOP\r\n"), whole)
	_, err := io.WriteString(far, lastWords)
	require.NoError(t, err)
	r := p.drain(false)
	assert.Equal(t, lastWords, string(r.data))
	require.NotNil(t, r.err)
	assert.Equal(t, tunnel.CodeReset, r.err.Code)
	assert.Contains(t, r.err.Message, "the pipe is broken")
}

func TestLastWordsWaitForASlowPage(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	const linger = 50 * time.Millisecond
	_, url := start(t, Config{Dial: func(context.Context, tunnel.Open, func(tunnel.Status)) (net.Conn, error) {
		return brokenPipe{near}, nil
	}},
		func(r *Relay) { r.waits.linger = linger })
	p := connect(t, url)
	p.open("mx.example.net", 25, 10)
	p.write([]byte("NOOP\r\n"), whole)
	said := make(chan error, 1)
	go func() {
		_, err := io.WriteString(far, lastWords)
		said <- err
	}()
	f, err := p.next()
	require.NoError(t, err)
	<-time.After(3 * linger) // the wait for the target must not count the wait for the page
	p.grant(100)
	r := p.drain(false)
	assert.Equal(t, lastWords, string(f.Data)+string(r.data))
	require.NotNil(t, r.err)
	assert.Equal(t, tunnel.CodeReset, r.err.Code)
	assert.NoError(t, <-said)
}

func TestNothingIsLeftRunning(t *testing.T) {
	host, port := target(t, echo)
	r, url := start(t, Config{Idle: 300 * time.Millisecond})
	warm := connect(t, url) // what net/http and the test start once
	warm.ask("127.0.0.1", 1, 100)
	warm.drain(false)
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			p := connect(t, url)
			defer p.ws.CloseNow()
			switch i % 6 {
			case 0: // asks for nothing
			case 1:
				p.ask("127.0.0.1", 1, 100) // refused
				p.drain(false)
			case 2:
				p.open(host, port, 100)
				p.eof()
				p.drain(false)
			case 3:
				p.open(host, port, 100)
				_ = p.ws.Close(websocket.StatusNormalClosure, "")
			case 4:
				p.open(host, port, 100)
				_ = p.raw([]byte{99})
				p.drain(false)
			case 5:
				p.open(host, port, 100) // until it is idle
				p.drain(false)
			}
		})
	}
	all.Wait()
	require.Eventually(t, func() bool { return r.Tunnels() == 0 }, patience, 5*time.Millisecond)
	http.DefaultClient.CloseIdleConnections()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for give := time.Now().Add(patience); runtime.NumGoroutine() > before; <-tick.C {
		if time.Now().After(give) {
			b := make([]byte, 1<<20)
			require.Fail(t, "goroutines are left", "%d before, %d now:\n%s", before, runtime.NumGoroutine(), b[:runtime.Stack(b, true)])
		}
	}
}

func TestNewNeedsADialer(t *testing.T) {
	assert.Panics(t, func() { New(Config{}) })
}
