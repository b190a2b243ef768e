package quota

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Store keeps accounts by key. Memory is the one of a proxy that stands alone;
// replicas that are to count together need one that they share.
type Store interface {
	// Update reads the account, or an empty one, lets change work on it, and keeps
	// the result, as one step that nothing comes between. An error of change is
	// returned as it is, and nothing is kept then. change may be called several
	// times. Keys are of letters, digits and - _ . / only. Update must return within seconds.
	//
	// An account may be forgotten once it is past its Until.
	Update(key string, change func(*Account) error) error
}

// Account is what one client, target or token has used: plain data.
type Account struct {
	Open    []time.Time `json:"open,omitempty"` // for every open tunnel, when it will have ended at the latest
	Tunnels Window      `json:"tunnels,omitzero"`
	Bytes   Window      `json:"bytes,omitzero"`
}

// Until is when the account will say no more than an empty one.
func (a *Account) Until() time.Time {
	until := a.Tunnels.Ends
	if a.Bytes.Ends.After(until) {
		until = a.Bytes.Ends
	}
	for _, ends := range a.Open {
		if ends.After(until) {
			until = ends
		}
	}
	return until
}

// Window counts what was used before it ends.
type Window struct {
	Used int64     `json:"used"`
	Ends time.Time `json:"ends"`
}

// renew begins a new window when this one has ended.
func (w *Window) renew(now time.Time, begin func(now time.Time) time.Time) {
	if !w.Ends.After(now) {
		*w = Window{Ends: begin(now)}
	}
}

const (
	// most is how many accounts are kept: some 20 MB, and more clients than can be
	// served in an hour.
	most = 1 << 16
	// few are kept without looking which have had their time.
	few = 1 << 10
)

// Memory is a Store in the memory of this program. It holds a bounded number of
// accounts and forgets each in time.
type Memory struct {
	now func() time.Time

	mu       sync.Mutex
	accounts map[string]Account
	sweep    int       // how many there must be to look which have had their time
	swept    time.Time // when that was done last
}

// NewMemory makes a store that tells the time by now; nil is time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, accounts: make(map[string]Account), sweep: few}
}

// errFull refuses new clients rather than forget what old ones did: otherwise
// whoever has many addresses could wash his slate with them.
var errFull = errors.New("too many clients for its memory")

// Update implements Store.
func (m *Memory) Update(key string, change func(*Account) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	a, known := m.accounts[key]
	if !known && len(m.accounts) >= m.sweep {
		m.forget(now)
		if len(m.accounts) >= most {
			return errFull
		}
	}
	a.Open = slices.Clone(a.Open)
	if err := change(&a); err != nil {
		return err
	}
	if a.Until().After(now) {
		m.accounts[key] = a
	} else {
		delete(m.accounts, key)
	}
	return nil
}

// forget drops the accounts that have had their time. It is to be called with mu
// held, and costs little on average: there are twice as many when it runs again, or
// a second has passed.
func (m *Memory) forget(now time.Time) {
	if len(m.accounts) >= most && now.Sub(m.swept) < time.Second {
		return
	}
	for key, a := range m.accounts {
		if !a.Until().After(now) {
			delete(m.accounts, key)
		}
	}
	m.swept, m.sweep = now, min(max(few, 2*len(m.accounts)), most)
}
