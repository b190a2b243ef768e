package mail

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hack-pad/hackpadfs"

	"smtpscope/protocol/trace"
)

// Config is what the mail servers of one lab share. Now and Files are required.
type Config struct {
	Now   func() time.Time // the lab's clock: Lab.Now
	Files hackpadfs.FS     // where the mailboxes are, a folder each
	Seed  int64            // queue ids and MIME boundaries derive from it

	// Event hears what becomes of messages: every kind of layer mail. For
	// KindDelivered, message is the text as it stands in the mailbox, else nil.
	// Calls come one at a time, while the System is locked: Event must neither call
	// the System nor wait for the lab.
	Event func(kind trace.Kind, data trace.MailData, message []byte)

	// Hop is told that the server on a host (its id) begins to talk to the server of
	// the name next on a connection of its own. It returns who listens to the trace
	// of that dialogue, which may be nil, and the connection's number: MailData.Hop.
	Hop func(host, next string, conn net.Conn) (trace.Sink, int)

	// TLS makes the configuration of a server, by its name. Without it, or when it
	// returns nil, the server has no TLS.
	TLS func(name string) *tls.Config
}

// System is the mail servers of one lab. Its methods may be called by the
// goroutine that steps the lab.
type System struct {
	config Config
	start  time.Time // what MailData.Retry counts from

	// One lock for everything that changes: mailboxes lose concurrent writes, and
	// events shall come in an order.
	mu      sync.Mutex
	servers []*server
	ids     uint64
}

// New begins a system without servers. MailData.Retry counts from this moment.
func New(c Config) *System {
	if c.Event == nil {
		c.Event = func(trace.Kind, trace.MailData, []byte) {}
	}
	if c.Hop == nil {
		c.Hop = func(string, string, net.Conn) (trace.Sink, int) { return nil, 0 }
	}
	if c.TLS == nil {
		c.TLS = func(string) *tls.Config { return nil }
	}
	return &System{config: c, start: c.Now()}
}

// Idle reports that no message is queued anywhere: each is in a mailbox or was
// given up. It does not see what a client is still sending; ask between two steps.
func (s *System) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.servers {
		if len(v.queue) > 0 {
			return false
		}
	}
	return true
}

// queueIDLength is in octets of a hash; two hexadecimal digits each.
const queueIDLength = 5

// newID names a message at one server.
func (s *System) newID(server string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	sum := sha256.Sum256(fmt.Append(nil, s.config.Seed, " ", server, " ", s.ids))
	return fmt.Sprintf("%X", sum[:queueIDLength])
}
