package mail

import (
	"slices"
	"strings"
	"time"
)

// Quirks are how a server differs from one that simply takes its mail. The zero
// value has none.
type Quirks struct {
	GreetingDelay time.Duration // of silence before the greeting
	// Greylist puts a client, reverse-path and forward-path that were not seen
	// together before off for so long (RFC 6647).
	Greylist time.Duration
	Down     time.Duration // from Start, in which nothing listens

	// Shutdown is the verb that is answered by 421 and the end of the connection
	// (RFC 5321, 3.8): MAIL, RCPT or DATA. Behind STARTTLS, go-smtp answers DATA by
	// itself, so that the 421 comes in answer to the message there.
	Shutdown string

	MailboxFull bool     // every mailbox here
	Unknown     []string // recipients that do not exist; every other address of Domains does

	// NoPipelining leaves PIPELINING out of the reply to EHLO. go-smtp cannot be told
	// that, and behind its STARTTLS nobody can change its replies: STARTTLS is not
	// offered then either.
	NoPipelining bool
	NoSTARTTLS   bool
	Size         int // largest message in octets (RFC 1870); 0: 50 MB
}

// triplet is what greylisting knows senders by (RFC 6647, 2.2).
type triplet struct{ client, from, to string }

// greylisted reports that a triplet has to wait, from the first time on that it is seen.
func (v *server) greylisted(client, from, to string) bool {
	if v.Quirks.Greylist == 0 {
		return false
	}
	s := v.system
	s.mu.Lock()
	defer s.mu.Unlock()
	t, now := triplet{client, strings.ToLower(from), strings.ToLower(to)}, s.config.Now()
	first, seen := v.greylist[t]
	if !seen {
		first = now
		v.greylist[t] = now
	}
	return now.Sub(first) < v.Quirks.Greylist
}

// unknown reports that a local recipient does not exist. The postmaster always
// does (RFC 5321, 4.5.1).
func (v *server) unknown(path string) bool {
	return slices.ContainsFunc(v.Quirks.Unknown, func(u string) bool { return strings.EqualFold(u, path) }) &&
		!strings.EqualFold(path, "postmaster@"+domainOf(path))
}
