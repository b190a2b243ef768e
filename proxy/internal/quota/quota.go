// Package quota keeps account of how much clients take and targets get, so that
// a proxy that anybody may use is of no use for spam, scans and floods.
//
// A client is an IPv4 address or an IPv6 network of 64 bits, which is what one
// customer has at the least. It may have so many tunnels open at one time, open
// so many a minute, and carry so many bytes in a session and in an hour. A target
// is counted in the same way by the address that is dialed, whoever asks and
// under whatever name.
//
// Windows are fixed: a minute, or an hour, begins with the first use and ends for
// all of it at once. So one time and one number per account say everything, a store
// that several replicas share can keep them (a limiter of golang.org/x/time/rate
// cannot be written down), and "try again in" is exact.
//
// The package judges no target and reads no header: who the client is, it is told.
package quota

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"smtpscope/protocol/tunnel"
)

// The rules that an error names.
const (
	RuleClientRate   = "client-rate"   // tunnels a minute from one client
	RuleClientOpen   = "client-open"   // tunnels open at one time from one client
	RuleTargetRate   = "target-rate"   // tunnels a minute to one address
	RuleTargetOpen   = "target-open"   // tunnels open at one time to one address
	RuleSessionBytes = "session-bytes" // bytes of one tunnel
	RuleHourBytes    = "hour-bytes"    // bytes an hour of one client
	RuleTokenBytes   = "token-bytes"   // bytes that the token was made for
	RuleStore        = "quota-store"   // the accounts cannot be read, so nothing is permitted
)

const (
	minute = time.Minute
	hour   = time.Hour
	// chunk is how much a tunnel draws from an account at once, to ask the store
	// rarely. What it has not carried it gives back in the end.
	chunk = 64 << 10
	// busy is when to come back if nobody knows when there will be room.
	busy = 30 * time.Second
)

// Limits of a Gate; 0 is none. Bytes are those of both directions together.
type Limits struct {
	ClientOpen   int // tunnels open at one time, per client
	ClientRate   int // tunnels a minute, per client
	TargetOpen   int // tunnels open at one time, per target
	TargetRate   int // tunnels a minute, per target
	SessionBytes int64
	HourBytes    int64 // per client
}

// Config is what a Gate is made of.
type Config struct {
	// Name keeps apart the accounts of gates that share a store.
	Name   string
	Limits Limits
	// Session is how long a tunnel lasts at most. One whose proxy has crashed counts
	// as open until then.
	Session time.Duration
	Store   Store
	Now     func() time.Time // nil for time.Now
}

// Gate admits tunnels. It is safe for concurrent use.
type Gate struct {
	config Config
}

// New makes a gate. It panics without a store or a length of sessions.
func New(cfg Config) *Gate {
	if cfg.Store == nil || cfg.Session <= 0 {
		panic("quota: Config.Store and Config.Session are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Gate{config: cfg}
}

// Budget is an allowance of bytes that several tunnels may share.
type Budget struct {
	ID      string // of letters, digits, - and _
	Bytes   int64
	Expires time.Time // when it admits no more tunnels
}

// Tunnel is one that was admitted. A nil *Tunnel has no limits.
type Tunnel struct {
	gate  *Gate
	lease time.Time

	mu     sync.Mutex
	open   []string // keys of the accounts in which it counts as open
	used   int64
	meters []*meter
}

// meter draws from the window of bytes of one account.
type meter struct {
	key   string
	limit int64
	begin func(now time.Time) (ends time.Time) // of a new window
	deny  func(wait time.Duration) *tunnel.Error
	left  int64     // drawn and not used
	drawn time.Time // the end of the window that left is of
}

// Open admits one more tunnel of a client, or says why not. The tunnel must be
// closed.
func (g *Gate) Open(client netip.Addr, budget *Budget) (*Tunnel, *tunnel.Error) {
	l := g.config.Limits
	if l == (Limits{}) && budget == nil {
		return nil, nil
	}
	t := &Tunnel{gate: g, lease: g.config.Now().Add(g.config.Session)}
	who := "One client"
	if client.Unmap().Is6() {
		who = fmt.Sprintf("One client (all of %s)", group(client))
	}
	key := g.key("client", client)
	if l.ClientOpen > 0 || l.ClientRate > 0 {
		err := g.enter(key, t.lease, l.ClientOpen, l.ClientRate, func(open bool, wait time.Duration) *tunnel.Error {
			if open {
				return denied(tunnel.CodeTooMany, RuleClientOpen, wait, "%s may have %d tunnels open at one time through this proxy, and has. End another session, or try again %s", who, l.ClientOpen, inWords(wait))
			}
			return denied(tunnel.CodeQuota, RuleClientRate, wait, "%s may open %d tunnels a minute through this proxy. Try again %s", who, l.ClientRate, inWords(wait))
		})
		if err != nil {
			return nil, err
		}
		t.open = append(t.open, key)
	}
	if l.HourBytes > 0 {
		t.meters = append(t.meters, &meter{
			key: key, limit: l.HourBytes,
			begin: func(now time.Time) time.Time { return now.Add(hour) },
			deny: func(wait time.Duration) *tunnel.Error {
				return denied(tunnel.CodeQuota, RuleHourBytes, wait, "%s may send and receive %s an hour through this proxy, and has. Try again %s", who, Size(l.HourBytes), inWords(wait))
			},
		})
	}
	if budget != nil {
		// A tunnel may outlast the token that opened it, and must not find its account forgotten.
		ends := budget.Expires.Add(g.config.Session)
		m := &meter{
			key: "token." + budget.ID, limit: budget.Bytes,
			begin: func(time.Time) time.Time { return ends },
			deny: func(time.Duration) *tunnel.Error {
				return denied(tunnel.CodeQuota, RuleTokenBytes, 0, "The token is used up: it was made for %s. Get a new one from whoever gave it to you", Size(budget.Bytes))
			},
		}
		t.meters = append(t.meters, m)
		if err := g.draw(m, 1); err != nil {
			t.Close()
			return nil, err
		}
	}
	return t, nil
}

// Use counts n bytes that are about to be carried. After an error they must not be.
func (t *Tunnel) Use(n int) *tunnel.Error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used += int64(n)
	if most := t.gate.config.Limits.SessionBytes; most > 0 && t.used > most {
		return denied(tunnel.CodeQuota, RuleSessionBytes, 0, "One session may send and receive %s through this proxy, and this one reached that. Start a new one", Size(most))
	}
	for _, m := range t.meters {
		if m.left < int64(n) {
			if err := t.gate.draw(m, int64(n)); err != nil {
				return err
			}
		}
		m.left -= int64(n)
	}
	return nil
}

// Close gives back what the tunnel holds.
func (t *Tunnel) Close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.meters {
		if m.left > 0 {
			// Should the store fail, the account keeps what was drawn until its window ends.
			_ = t.gate.config.Store.Update(m.key, func(a *Account) error {
				if a.Bytes.Ends.Equal(m.drawn) {
					a.Bytes.Used -= m.left
				}
				return nil
			})
		}
	}
	for len(t.open) > 0 {
		t.leave(t.open[0])
	}
}

// leave is to be called with mu held. Should the store fail, the lease runs out.
func (t *Tunnel) leave(key string) {
	i := slices.Index(t.open, key)
	if i < 0 {
		return
	}
	t.open = slices.Delete(t.open, i, i+1)
	_ = t.gate.config.Store.Update(key, func(a *Account) error {
		if i := slices.IndexFunc(a.Open, t.lease.Equal); i >= 0 {
			a.Open = slices.Delete(a.Open, i, i+1)
		}
		return nil
	})
}

type contextKey struct{}

// Context returns one in which Reach finds the tunnel.
func (t *Tunnel) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, t)
}

// Reach counts an address that is about to be dialed for the tunnel of the context.
// The tunnel counts as open there until it is closed, or until leave, which may be nil.
func Reach(ctx context.Context, address netip.AddrPort) (leave func(), denial *tunnel.Error) {
	t, _ := ctx.Value(contextKey{}).(*Tunnel)
	if t == nil {
		return nil, nil
	}
	l := t.gate.config.Limits
	if l.TargetOpen == 0 && l.TargetRate == 0 {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := t.gate.key("target", address.Addr())
	denial = t.gate.enter(key, t.lease, l.TargetOpen, l.TargetRate, func(open bool, wait time.Duration) *tunnel.Error {
		if open {
			return denied(tunnel.CodeTooMany, RuleTargetOpen, wait, "%s has %d tunnels from this proxy open, as many as one target may have, whoever opened them. Try again %s", address.Addr(), l.TargetOpen, inWords(wait))
		}
		return denied(tunnel.CodeQuota, RuleTargetRate, wait, "One target may get %d tunnels a minute from this proxy, whoever opens them, and %s got them. Try again %s", l.TargetRate, address.Addr(), inWords(wait))
	})
	if denial != nil || l.TargetOpen == 0 {
		return nil, denial
	}
	t.open = append(t.open, key)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.leave(key)
	}, nil
}

// enter counts one more tunnel as open and as begun.
func (g *Gate) enter(key string, lease time.Time, open, rate int, deny func(open bool, wait time.Duration) *tunnel.Error) *tunnel.Error {
	now := g.config.Now()
	return g.update(key, func(a *Account) error {
		a.Open = slices.DeleteFunc(a.Open, func(ends time.Time) bool { return !ends.After(now) })
		if open > 0 && len(a.Open) >= open {
			return deny(true, busy)
		}
		if rate > 0 {
			a.Tunnels.renew(now, func(now time.Time) time.Time { return now.Add(minute) })
			if a.Tunnels.Used >= int64(rate) {
				return deny(false, a.Tunnels.Ends.Sub(now))
			}
			a.Tunnels.Used++
		}
		if open > 0 {
			a.Open = append(a.Open, lease)
		}
		return nil
	})
}

// draw gets at least n bytes in all from the meter's account.
func (g *Gate) draw(m *meter, n int64) *tunnel.Error {
	now := g.config.Now()
	left, drawn := m.left, m.drawn
	err := g.update(m.key, func(a *Account) error {
		left, drawn = m.left, m.drawn
		a.Bytes.renew(now, m.begin)
		if !a.Bytes.Ends.Equal(drawn) {
			left, drawn = 0, a.Bytes.Ends // the window that the rest was of has ended
		}
		got := min(max(n-left, chunk), m.limit-a.Bytes.Used)
		if left+got < n {
			return m.deny(a.Bytes.Ends.Sub(now))
		}
		a.Bytes.Used += got
		left += got
		return nil
	})
	if err == nil {
		m.left, m.drawn = left, drawn
	}
	return err
}

// update changes an account; a store that fails permits nothing.
func (g *Gate) update(key string, change func(*Account) error) *tunnel.Error {
	err := g.config.Store.Update(key, change)
	if err == nil {
		return nil
	}
	var denial *tunnel.Error
	if errors.As(err, &denial) {
		return denial
	}
	return denied(tunnel.CodeTooMany, RuleStore, busy, "The proxy cannot keep account of its tunnels now (%v), so it opens none. Try again %s", err, inWords(busy))
}

func denied(code tunnel.Code, rule string, wait time.Duration, format string, args ...any) *tunnel.Error {
	return &tunnel.Error{
		Code: code, Rule: rule, RetryAfter: int(math.Ceil(wait.Seconds())),
		Message: fmt.Sprintf(format, args...) + fmt.Sprintf(" (rule %s).", rule),
	}
}

// group is the network that counts as one.
func group(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// key is of the characters that key-value stores take.
func (g *Gate) key(kind string, a netip.Addr) string {
	network := "unknown"
	if a.IsValid() {
		network = strings.ReplaceAll(group(a).String(), ":", "_")
	}
	return g.config.Name + "." + kind + "." + network
}

// inWords rounds up: who comes back then must be served.
func inWords(d time.Duration) string {
	in := func(unit time.Duration, name string) string {
		n := int64((d + unit - 1) / unit)
		if n != 1 {
			name += "s"
		}
		return "in " + strconv.FormatInt(n, 10) + " " + name
	}
	switch {
	case d <= 100*time.Second:
		return in(time.Second, "second")
	case d <= 100*time.Minute:
		return in(time.Minute, "minute")
	}
	return in(time.Hour, "hour")
}
