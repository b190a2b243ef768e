package quota

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
)

// clock is a time that passes when it is told to.
type clock struct{ now time.Time }

func newClock() *clock                { return &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }
func (c *clock) time() time.Time      { return c.now }
func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }
func (c *clock) gate(l Limits) *Gate  { return c.share(l, NewMemory(c.time)) }
func (c *clock) share(l Limits, s Store) *Gate {
	return New(Config{Name: "live", Limits: l, Session: 30 * time.Minute, Store: s, Now: c.time})
}

var (
	ada = netip.MustParseAddr("203.0.113.7")
	bob = netip.MustParseAddr("203.0.113.8")
	mx  = netip.MustParseAddrPort("198.51.100.25:25")
)

func open(t *testing.T, g *Gate, client netip.Addr) *Tunnel {
	t.Helper()
	tun, err := g.Open(client, nil)
	require.Nil(t, err)
	return tun
}

// refused checks that it is, and how.
func refused(t *testing.T, err *tunnel.Error, code tunnel.Code, rule string, retry int, says string) {
	t.Helper()
	require.NotNil(t, err)
	assert.Equal(t, code, err.Code)
	assert.Equal(t, rule, err.Rule)
	assert.Equal(t, retry, err.RetryAfter)
	assert.Contains(t, err.Message, says)
	assert.Contains(t, err.Message, "(rule "+rule+").")
}

func TestClientRate(t *testing.T) {
	c := newClock()
	g := c.gate(Limits{ClientRate: 3})
	for range 3 {
		open(t, g, ada).Close()
		c.pass(time.Second)
	}
	_, err := g.Open(ada, nil)
	refused(t, err, tunnel.CodeQuota, RuleClientRate, 57, "One client may open 3 tunnels a minute through this proxy. Try again in 57 seconds")
	open(t, g, bob)
	c.pass(57*time.Second - 1)
	_, err = g.Open(ada, nil)
	refused(t, err, tunnel.CodeQuota, RuleClientRate, 1, "in 1 second ")
	c.pass(1)
	open(t, g, ada)
}

func TestClientOpen(t *testing.T) {
	c := newClock()
	g := c.gate(Limits{ClientOpen: 2})
	first := open(t, g, ada)
	open(t, g, ada)
	_, err := g.Open(ada, nil)
	refused(t, err, tunnel.CodeTooMany, RuleClientOpen, 30, "One client may have 2 tunnels open at one time through this proxy, and has. End another session, or try again in 30 seconds")
	open(t, g, bob)
	first.Close()
	first.Close() // gives back once
	open(t, g, ada)
	_, err = g.Open(ada, nil)
	require.NotNil(t, err)
	// Those whose proxy has crashed are never closed; their time runs out.
	c.pass(30 * time.Minute)
	open(t, g, ada)
}

func TestClientsAreGroupedByPrefix(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"203.0.113.7", "203.0.113.7", true},
		{"203.0.113.7", "::ffff:203.0.113.7", true},
		{"203.0.113.7", "203.0.113.8", false},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
		{"::ffff:203.0.113.7", "::cb00:7107", false},
	} {
		c := newClock()
		g := c.gate(Limits{ClientOpen: 1})
		open(t, g, netip.MustParseAddr(tt.a))
		_, err := g.Open(netip.MustParseAddr(tt.b), nil)
		assert.Equal(t, tt.same, err != nil, "%s and %s", tt.a, tt.b)
	}
	g := newClock().gate(Limits{ClientOpen: 1})
	open(t, g, netip.Addr{})
	_, err := g.Open(netip.Addr{}, nil)
	require.NotNil(t, err, "those without an address are one client")
	v6 := netip.MustParseAddr("2001:db8::1")
	open(t, g, v6)
	_, err = g.Open(v6, nil)
	require.NotNil(t, err)
	assert.Contains(t, err.Message, "One client (all of 2001:db8::/64) may have 1 tunnels open")
}

func TestSessionBytes(t *testing.T) {
	g := newClock().gate(Limits{SessionBytes: 1000})
	tun := open(t, g, ada)
	assert.Nil(t, tun.Use(600))
	assert.Nil(t, tun.Use(400), "the last byte that is permitted")
	refused(t, tun.Use(1), tunnel.CodeQuota, RuleSessionBytes, 0, "One session may send and receive 1kB through this proxy")
	assert.Nil(t, open(t, g, ada).Use(1000), "each session has its own")
}

func TestHourBytes(t *testing.T) {
	c := newClock()
	g := c.gate(Limits{HourBytes: 1e6})
	one, two := open(t, g, ada), open(t, g, ada)
	assert.Nil(t, one.Use(600_000))
	c.pass(20 * time.Minute)
	assert.Nil(t, two.Use(400_000))
	refused(t, one.Use(1), tunnel.CodeQuota, RuleHourBytes, 2400, "One client may send and receive 1MB an hour through this proxy, and has. Try again in 40 minutes")
	assert.Nil(t, open(t, g, bob).Use(1e6))
	c.pass(40 * time.Minute)
	assert.Nil(t, one.Use(1e6), "the next hour")
	refused(t, two.Use(1), tunnel.CodeQuota, RuleHourBytes, 3600, "in 60 minutes")
}

func TestWhatWasDrawnAndNotUsedIsGivenBack(t *testing.T) {
	c := newClock()
	g := c.gate(Limits{HourBytes: 100_000})
	one := open(t, g, ada)
	require.Nil(t, one.Use(1000))
	one.Close()
	two := open(t, g, ada)
	assert.Nil(t, two.Use(99_000))
	require.NotNil(t, two.Use(1))

	// But not to another hour than it came from.
	c.pass(time.Hour)
	require.Nil(t, two.Use(1))
	three := open(t, g, ada)
	c.pass(time.Hour)
	require.Nil(t, three.Use(100_000))
	two.Close()
	refused(t, three.Use(1), tunnel.CodeQuota, RuleHourBytes, 3600, "an hour")
}

// A tunnel must not save up what it drew in one hour and carry it in the next.
func TestDrawnBytesEndWithTheirHour(t *testing.T) {
	c := newClock()
	g := c.gate(Limits{HourBytes: 100_000})
	one := open(t, g, ada)
	require.Nil(t, one.Use(1)) // draws 64 KiB
	c.pass(time.Hour)
	require.Nil(t, one.Use(70_000))
	require.Nil(t, one.Use(30_000))
	refused(t, one.Use(1), tunnel.CodeQuota, RuleHourBytes, 3600, "100kB an hour")
}

func TestBudget(t *testing.T) {
	c := newClock()
	g := c.gate(Limits{})
	budget := &Budget{ID: "AB-_12", Bytes: 5000, Expires: c.now.Add(5 * time.Minute)}
	one, err := g.Open(ada, budget)
	require.Nil(t, err)
	require.Nil(t, one.Use(3000))
	one.Close()
	two, err := g.Open(bob, budget)
	require.Nil(t, err)
	require.Nil(t, two.Use(2000))
	refused(t, two.Use(1), tunnel.CodeQuota, RuleTokenBytes, 0, "The token is used up: it was made for 5kB")
	_, err = g.Open(ada, budget)
	refused(t, err, tunnel.CodeQuota, RuleTokenBytes, 0, "used up")
	other, err := g.Open(ada, &Budget{ID: "other", Bytes: 1, Expires: budget.Expires})
	require.Nil(t, err)
	assert.Nil(t, other.Use(1))

	// A tunnel may be older than its token; the account is kept for it.
	c.pass(30 * time.Minute)
	assert.NotNil(t, two.Use(1))
}

func TestASpentBudgetHoldsNoPlace(t *testing.T) {
	c := newClock()
	g := c.gate(Limits{ClientOpen: 1})
	budget := &Budget{ID: "x", Bytes: 1, Expires: c.now.Add(time.Minute)}
	tun, err := g.Open(ada, budget)
	require.Nil(t, err)
	require.Nil(t, tun.Use(1))
	tun.Close()
	_, err = g.Open(ada, budget)
	require.NotNil(t, err)
	open(t, g, ada)
}

func TestTargets(t *testing.T) {
	c := newClock()
	g := c.gate(Limits{TargetOpen: 2, TargetRate: 3})
	reach := func(tun *Tunnel, target netip.AddrPort) *tunnel.Error {
		_, denial := Reach(tun.Context(context.Background()), target)
		return denial
	}
	one, two, three := open(t, g, ada), open(t, g, bob), open(t, g, ada)
	require.Nil(t, reach(one, mx))
	require.Nil(t, reach(two, netip.MustParseAddrPort("[::ffff:198.51.100.25]:587")), "whatever the port and the form")
	refused(t, reach(three, mx), tunnel.CodeTooMany, RuleTargetOpen, 30, "198.51.100.25 has 2 tunnels from this proxy open")
	two.Close()
	require.Nil(t, reach(three, mx))
	three.Close()
	refused(t, reach(open(t, g, ada), mx), tunnel.CodeQuota, RuleTargetRate, 60, "One target may get 3 tunnels a minute from this proxy, whoever opens them, and 198.51.100.25 got them. Try again in 60 seconds")

	// Of the addresses of a name that are dialed at the same time one is kept.
	c.pass(time.Minute)
	four, other := open(t, g, bob), netip.MustParseAddrPort("198.51.100.26:25")
	kept, denial := Reach(four.Context(context.Background()), other)
	require.Nil(t, denial)
	left, denial := Reach(four.Context(context.Background()), mx)
	require.Nil(t, denial)
	refused(t, reach(open(t, g, ada), mx), tunnel.CodeTooMany, RuleTargetOpen, 30, "198.51.100.25 has 2")
	left()
	left()
	require.Nil(t, reach(open(t, g, ada), mx), "a place is left once")
	require.NotNil(t, reach(open(t, g, ada), mx))
	four.Close()
	kept()
	c.pass(time.Minute)
	for range 2 {
		require.Nil(t, reach(open(t, g, ada), other))
	}
	require.NotNil(t, reach(open(t, g, ada), other))
}

func TestNoLimits(t *testing.T) {
	g := New(Config{Session: time.Hour, Store: broken{}})
	tun, err := g.Open(ada, nil)
	require.Nil(t, err, "an unlimited gate asks no store")
	for _, ctx := range []context.Context{tun.Context(context.Background()), context.Background()} {
		_, denial := Reach(ctx, mx)
		assert.Nil(t, denial)
	}
	assert.Nil(t, tun.Use(1<<40))
	tun.Close()
	assert.Panics(t, func() { New(Config{Session: time.Hour}) })
	assert.Panics(t, func() { New(Config{Store: broken{}}) })
}

type broken struct{}

func (broken) Update(string, func(*Account) error) error { return errors.New("three nodes are gone") }

func TestABrokenStorePermitsNothing(t *testing.T) {
	c := newClock()
	for _, l := range []Limits{{ClientRate: 1}, {ClientOpen: 1}} {
		_, err := c.share(l, broken{}).Open(ada, nil)
		refused(t, err, tunnel.CodeTooMany, RuleStore, 30, "cannot keep account of its tunnels now (three nodes are gone)")
	}
	tun := open(t, c.share(Limits{HourBytes: 10}, broken{}), ada)
	refused(t, tun.Use(1), tunnel.CodeTooMany, RuleStore, 30, "three nodes are gone")
	tun.Close()
	tun = open(t, c.share(Limits{TargetOpen: 1}, broken{}), ada)
	_, denial := Reach(tun.Context(context.Background()), mx)
	refused(t, denial, tunnel.CodeTooMany, RuleStore, 30, "three nodes are gone")
}

func TestGatesOfOneStoreCountApartByName(t *testing.T) {
	c := newClock()
	store := NewMemory(c.time)
	live := c.share(Limits{ClientOpen: 1}, store)
	replica := c.share(Limits{ClientOpen: 1}, store)
	practice := New(Config{Name: "practice", Limits: Limits{ClientOpen: 1}, Session: time.Minute, Store: store, Now: c.time})
	open(t, live, ada)
	open(t, practice, ada)
	_, err := replica.Open(ada, nil)
	assert.NotNil(t, err, "replicas with a common store count together")
}

// spy notes the keys.
type spy struct {
	Store
	keys []string
}

func (s *spy) Update(key string, change func(*Account) error) error {
	s.keys = append(s.keys, key)
	return s.Store.Update(key, change)
}

func TestKeysAreWhatKeyValueStoresTake(t *testing.T) {
	c := newClock()
	s := &spy{Store: NewMemory(c.time)}
	g := c.share(Limits{ClientOpen: 9, TargetOpen: 9}, s)
	for _, client := range []netip.Addr{ada, netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0"), {}} {
		tun, err := g.Open(client, &Budget{ID: "AB-_12", Bytes: 1, Expires: c.now.Add(time.Minute)})
		require.Nil(t, err)
		_, denial := Reach(tun.Context(context.Background()), netip.MustParseAddrPort("[2001:db8::2]:25"))
		require.Nil(t, denial)
		tun.Close()
	}
	for _, key := range s.keys {
		assert.Regexp(t, regexp.MustCompile(`^[-/_=.a-zA-Z0-9]+$`), key)
	}
	assert.Contains(t, s.keys, "live.client.203.0.113.7/32")
}

func TestBothDirectionsOfATunnel(t *testing.T) {
	const each, size = 1000, 100
	g := newClock().gate(Limits{SessionBytes: each * size, HourBytes: each * size})
	tun := open(t, g, ada)
	var passed [2]int
	var both sync.WaitGroup
	for way := range passed {
		both.Go(func() {
			for range each {
				if tun.Use(size) == nil {
					passed[way]++
				}
			}
		})
	}
	both.Wait()
	assert.Equal(t, each, passed[0]+passed[1])
}

func TestInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1: "in 1 second", time.Second: "in 1 second", time.Second + 1: "in 2 seconds", 100 * time.Second: "in 100 seconds",
		101 * time.Second: "in 2 minutes", 100 * time.Minute: "in 100 minutes", 3 * time.Hour: "in 3 hours",
	} {
		assert.Equal(t, want, inWords(d), "%s", d)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "17": 17, "17B": 17, "500kB": 500_000, "1MB": 1e6, "2GB": 2e9, "64KiB": 64 << 10, "3MiB": 3 << 20, "1GiB": 1 << 30,
	} {
		got, err := ParseSize(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		again, err := ParseSize(got.String())
		require.NoError(t, err)
		assert.Equal(t, got, again)
	}
	for want, s := range map[string]Size{"0B": 0, "1MB": 1e6, "64KiB": 64 << 10, "1001B": 1001} {
		assert.Equal(t, want, s.String())
	}
	for _, text := range []string{"", "MB", "-1", "1.5MB", "1 MB", "1mb", "1K", "9223372036854775808", "9223372036854775807kB"} {
		var s Size
		assert.ErrorContains(t, s.Set(text), "as in 500kB", text)
	}
}

func BenchmarkUse(b *testing.B) {
	c := newClock()
	for name, l := range map[string]Limits{"none": {}, "session": {SessionBytes: 1 << 62}, "hour": {HourBytes: 1 << 62}} {
		b.Run(name, func(b *testing.B) {
			tun, _ := c.gate(l).Open(ada, nil)
			for range b.N {
				if err := tun.Use(1500); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleSize() {
	size, _ := ParseSize("64KiB")
	fmt.Println(int64(size), size)
	// Output: 65536 64KiB
}
