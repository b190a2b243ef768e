package policy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

// peer is how an address answers a SYN.
type peer struct {
	after time.Duration
	err   error // nil connects
	deaf  bool  // its answer comes although nobody waits for it any more
}

// silence never answers.
var silence = peer{after: time.Hour}

func refusal(after time.Duration) peer {
	return peer{after: after, err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
}

// course is a network in which time is virtual, and what happened in it.
type course struct {
	mu    sync.Mutex
	began time.Time
	peers map[string]peer
	log   []string
	syns  []string
	open  []string // connections that nobody closed
}

func (c *course) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, fmt.Sprintf("%v ", time.Since(c.began))+fmt.Sprintf(format, args...))
}

func (c *course) dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	if err := d.Control(network, address, nil); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	c.mu.Lock()
	c.syns = append(c.syns, address)
	c.mu.Unlock()
	p, gone := c.peers[address], ctx.Done()
	if p.deaf {
		gone = nil
	}
	select {
	case <-gone:
		return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	case <-time.After(p.after):
	}
	if p.err != nil {
		return nil, p.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, address)
	return &counted{course: c, remote: address}, nil
}

func (c *course) report(s tunnel.Status) {
	switch s.Stage {
	case tunnel.StageDialing:
		c.note("dialing %s", s.Address)
	case tunnel.StageFailed:
		c.note("failed %s: %s, after %v", s.Address, s.Problem, s.Connect)
	case tunnel.StageOpened:
		c.note("opened %s from %s, after %v", s.Address, s.Local, s.Connect)
	}
}

// counted is a connection of a course.
type counted struct {
	net.Conn
	course *course
	remote string
}

func (c *counted) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.remote))
}
func (c *counted) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 40000} }

func (c *counted) Close() error {
	c.course.mu.Lock()
	defer c.course.mu.Unlock()
	if !slices.Contains(c.course.open, c.remote) {
		return net.ErrClosed
	}
	c.course.open = slices.DeleteFunc(c.course.open, func(a string) bool { return a == c.remote })
	return nil
}

func TestAddressesAreRaced(t *testing.T) {
	const six, four, sixth, fourth = "[2001:4860::1]:25", "192.0.1.1:25", "[2001:4860::2]:25", "192.0.1.2:25"
	unroutable := peer{err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}}
	const from = "192.0.2.9:40000"
	for _, tt := range []struct {
		name  string
		found []string
		peers map[string]peer
		leave time.Duration // when the caller does; 0 never
		log   []string
		opens string
		code  tunnel.Code
	}{
		{"the first answers in its time", []string{"2001:4860::1", "192.0.1.1"},
			map[string]peer{six: {after: 249 * time.Millisecond}}, 0,
			[]string{"0s dialing " + six, "249ms opened " + six + " from " + from + ", after 249ms"}, six, ""},
		{"a first without answer costs its delay", []string{"2001:4860::1", "192.0.1.1"},
			map[string]peer{six: silence, four: {after: 50 * time.Millisecond}}, 0,
			[]string{"0s dialing " + six, "250ms dialing " + four, "300ms opened " + four + " from " + from + ", after 50ms"}, four, ""},
		{"a slow first still wins", []string{"2001:4860::1", "192.0.1.1"},
			map[string]peer{six: {after: 300 * time.Millisecond}, four: {after: time.Second}}, 0,
			[]string{"0s dialing " + six, "250ms dialing " + four, "300ms opened " + six + " from " + from + ", after 300ms"}, six, ""},
		{"a failure does not wait", []string{"2001:4860::1", "192.0.1.1", "2001:4860::2"},
			map[string]peer{six: refusal(10 * time.Millisecond), four: silence, sixth: {after: time.Millisecond}}, 0,
			[]string{"0s dialing " + six, "10ms failed " + six + ": connection refused, after 10ms", "10ms dialing " + four,
				"260ms dialing " + sixth, "261ms opened " + sixth + " from " + from + ", after 1ms"}, sixth, ""},
		{"nor does one behind another", []string{"2001:4860::1", "192.0.1.1", "2001:4860::2"},
			map[string]peer{six: silence, four: refusal(10 * time.Millisecond), sixth: {after: time.Millisecond}}, 0,
			[]string{"0s dialing " + six, "250ms dialing " + four, "260ms failed " + four + ": connection refused, after 10ms",
				"260ms dialing " + sixth, "261ms opened " + sixth + " from " + from + ", after 1ms"}, sixth, ""},
		{"denied addresses take no time", []string{"fd00::1", "10.0.0.1", "::1", "192.0.1.1"},
			map[string]peer{four: {}}, 0,
			[]string{"0s dialing " + four, "0s opened " + four + " from " + from + ", after 0s"}, four, ""},
		{"an answer that comes too late", []string{"2001:4860::1", "192.0.1.1"},
			map[string]peer{six: {after: 400 * time.Millisecond, deaf: true}, four: {after: 50 * time.Millisecond}}, 0,
			[]string{"0s dialing " + six, "250ms dialing " + four, "300ms opened " + four + " from " + from + ", after 50ms"}, four, ""},
		{"a failure that comes too late", []string{"2001:4860::1", "192.0.1.1", "2001:4860::2"},
			map[string]peer{six: {after: 400 * time.Millisecond, deaf: true, err: errors.New("reset")}, four: {after: 50 * time.Millisecond}}, 0,
			[]string{"0s dialing " + six, "250ms dialing " + four, "300ms opened " + four + " from " + from + ", after 50ms"}, four, ""},
		{"all fail, and the most telling failure counts", []string{"2001:4860::1", "192.0.1.1", "2001:4860::2"},
			map[string]peer{six: unroutable, four: refusal(time.Second), sixth: unroutable}, 0,
			[]string{"0s dialing " + six, "0s failed " + six + ": network is unreachable, after 0s", "0s dialing " + four,
				"250ms dialing " + sixth, "250ms failed " + sixth + ": network is unreachable, after 0s",
				"1s failed " + four + ": connection refused, after 1s"}, "", tunnel.CodeRefused},
		{"none answers", []string{"192.0.1.1", "192.0.1.2"},
			map[string]peer{four: silence, fourth: {after: 10 * time.Second, err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}}, 0,
			[]string{"0s dialing " + four, "250ms dialing " + fourth,
				"10.25s failed " + fourth + ": no answer, after 10s", "18s failed " + four + ": no answer, after 18s"}, "", tunnel.CodeTimeout},
		{"the caller leaves", []string{"2001:4860::1", "192.0.1.1", "2001:4860::2"},
			map[string]peer{six: silence, four: silence}, 300 * time.Millisecond,
			[]string{"0s dialing " + six, "250ms dialing " + four}, "", tunnel.CodeShutdown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &course{began: time.Now(), peers: tt.peers}
				p := New(Config{Public: true, Resolver: &answers{names: map[string][][]string{"mx.example.net": always(tt.found...)}}})
				p.dial = c.dial
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.leave > 0 {
					time.AfterFunc(tt.leave, cancel)
				}
				conn, err := p.Dial(ctx, tunnel.Open{Host: "mx.example.net", Port: 25}, c.report)
				took := time.Since(c.began)
				assert.Equal(t, tt.log, c.log)
				if tt.opens == "" {
					var e *tunnel.Error
					require.ErrorAs(t, err, &e)
					assert.Equal(t, tt.code, e.Code, e.Message)
					assert.Empty(t, c.open)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, []string{tt.opens}, c.open, "every other connection is closed")
				assert.NoError(t, conn.Close())
				ends, _, _ := strings.Cut(tt.log[len(tt.log)-1], " ")
				if !tt.peers[six].deaf {
					assert.Equal(t, ends, took.String(), "nobody waits for the others")
				}
			})
		})
	}
}

// A page gets at most so many SYNs for one look-up, however long none is answered.
func TestARaceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &course{began: time.Now(), peers: map[string]peer{}}
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprintf("192.0.1.%d", i), fmt.Sprintf("10.0.0.%d", i))
			c.peers[fmt.Sprintf("192.0.1.%d:25", i)] = silence
		}
		p := New(Config{Public: true, Resolver: &answers{names: map[string][][]string{"mx.example.net": always(many...)}}})
		p.dial = c.dial
		_, err := p.Dial(t.Context(), tunnel.Open{Host: "mx.example.net", Port: 25}, c.report)
		require.Error(t, err)
		assert.Equal(t, connectTimeout, time.Since(c.began))
		var dialing []string
		for _, line := range c.log {
			if strings.Contains(line, "dialing") {
				dialing = append(dialing, line)
			}
		}
		require.Len(t, dialing, maxTries)
		assert.Equal(t, "0s dialing 192.0.1.0:25", dialing[0])
		assert.Equal(t, "1.75s dialing 192.0.1.7:25", dialing[7])
	})
}

// What was still being counted when another address won is neither dialed nor told.
func TestNoSYNAfterTheRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &course{began: time.Now(), peers: map[string]peer{"192.0.1.1:25": {after: 260 * time.Millisecond}, "192.0.1.2:25": {}}}
		left := false
		p := New(Config{
			Public:   true,
			Resolver: &answers{names: map[string][][]string{"mx.example.net": always("192.0.1.1", "192.0.1.2")}},
			Reach: func(_ context.Context, address netip.AddrPort) (func(), *tunnel.Error) {
				if address.Addr() == netip.MustParseAddr("192.0.1.1") {
					return nil, nil
				}
				time.Sleep(50 * time.Millisecond)
				return func() { left = true }, nil
			},
		})
		p.dial = c.dial
		_, err := p.Dial(t.Context(), tunnel.Open{Host: "mx.example.net", Port: 25}, c.report)
		require.NoError(t, err)
		assert.Equal(t, []string{"0s dialing 192.0.1.1:25", "260ms opened 192.0.1.1:25 from 192.0.2.9:40000, after 260ms"}, c.log)
		assert.Equal(t, []string{"192.0.1.1:25"}, c.syns)
		assert.True(t, left)
	})
}

// The place at a target is kept by the address that is connected, and by no other.
func TestReachIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name         string
		peers        map[string]peer
		reached, has string
	}{
		{"the winner keeps its place", map[string]peer{"192.0.1.1:25": silence, "192.0.1.2:25": refusal(0), "192.0.1.3:25": {}},
			"192.0.1.1:25 192.0.1.2:25 192.0.1.3:25", "192.0.1.3:25"},
		{"so does an early one", map[string]peer{"192.0.1.1:25": {after: 260 * time.Millisecond}, "192.0.1.2:25": {after: 300 * time.Millisecond, deaf: true}},
			"192.0.1.1:25 192.0.1.2:25", "192.0.1.1:25"},
		{"nobody won", map[string]peer{"192.0.1.1:25": silence, "192.0.1.2:25": refusal(0), "192.0.1.3:25": refusal(0)},
			"192.0.1.1:25 192.0.1.2:25 192.0.1.3:25", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var reached, has []string
				c := &course{began: time.Now(), peers: tt.peers}
				p := New(Config{
					Public:   true,
					Resolver: &answers{names: map[string][][]string{"mx.example.net": always("192.0.1.1", "192.0.1.2", "192.0.1.3")}},
					Reach: func(_ context.Context, address netip.AddrPort) (func(), *tunnel.Error) {
						mu.Lock()
						defer mu.Unlock()
						reached, has = append(reached, address.String()), append(has, address.String())
						return func() {
							mu.Lock()
							defer mu.Unlock()
							has = slices.DeleteFunc(has, func(a string) bool { return a == address.String() })
						}, nil
					},
				})
				p.dial = c.dial
				_, err := p.Dial(t.Context(), tunnel.Open{Host: "mx.example.net", Port: 25}, c.report)
				assert.Equal(t, tt.has == "", err != nil)
				assert.Equal(t, tt.reached, strings.Join(reached, " "))
				assert.Equal(t, tt.has, strings.Join(has, " "))
			})
		})
	}
}

// What was told before the SYN is what the target sees.
func TestWatchKnowsThePort(t *testing.T) {
	type wanted struct{}
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			ln, err := net.Listen("tcp", at)
			if err != nil {
				unavailable(t, "nobody can listen on %s here: %v", at, err)
			}
			defer ln.Close()
			remote := ln.Addr().(*net.TCPAddr).AddrPort()
			type syn struct {
				port   uint16
				remote netip.AddrPort
			}
			var seen []syn
			p := New(Config{
				Allow: targets(t, remote.String()),
				Watch: func(ctx context.Context) func(uint16, netip.AddrPort) {
					if ctx.Value(wanted{}) == nil {
						return nil
					}
					return func(port uint16, remote netip.AddrPort) { seen = append(seen, syn{port, remote}) }
				},
			})
			for _, ctx := range []context.Context{t.Context(), context.WithValue(t.Context(), wanted{}, true)} {
				conn, err := p.Dial(ctx, tunnel.Open{Host: remote.Addr().String(), Port: int(remote.Port())}, func(s tunnel.Status) {
					if s.Stage == tunnel.StageDialing && ctx.Value(wanted{}) != nil {
						assert.Len(t, seen, 1, "it is told before the SYN")
					}
				})
				require.NoError(t, err)
				defer conn.Close()
				accepted, err := ln.Accept()
				require.NoError(t, err)
				defer accepted.Close()
				if ctx.Value(wanted{}) == nil {
					assert.Empty(t, seen)
					continue
				}
				from := accepted.RemoteAddr().(*net.TCPAddr).AddrPort()
				assert.Equal(t, []syn{{from.Port(), remote}}, seen)
				assert.Equal(t, remote.Addr(), from.Addr(), "the system still chooses the address")
			}
		})
	}
}

// unavailable ends a test that cannot run here, which CI must not take for one that passed.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	message := "NOT RUN: " + fmt.Sprintf(format, args...)
	if os.Getenv("CI") != "" {
		t.Fatal(message)
	}
	t.Skip(message)
}
