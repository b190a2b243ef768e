// Package linktest makes networks for tests of what the kernel's TCP does: a namespace of its own for a
// process, and links from there to other namespaces over TUN devices, with a delay, an MTU and losses
// that the test chooses. It needs no netem, and root only where ordinary users may not have namespaces.
//
// It knows IPv4 and TCP as far as a choice of losses needs, and nothing of what is said over a link.
package linktest

import (
	"errors"
	"time"
)

// ErrUnavailable is that of a link for which the system has no TUN devices.
var ErrUnavailable = errors.New("no link can be made here")

// Config is what a link does to packets.
type Config struct {
	Delay time.Duration // one way
	MTU   int           // 1500 if 0
	// Drop tells whether a packet is lost. It sees every one that is sent, one at a time.
	Drop func(Packet) bool
}

// Packet is a TCP segment on a link.
type Packet struct {
	Up      bool   // from the near end
	Port    uint16 // of the near end, which tells connections apart
	Flags   byte   // as in the header (RFC 9293, 3.1)
	Payload int    // octets
}

// SYN is the flag of a segment that opens a connection.
const SYN = 1 << 1
