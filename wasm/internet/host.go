package internet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// HostConfig describes a host.
type HostConfig struct {
	ID      string // "client", "mx"
	Address string // IPv4, of those that RFC 5737 keeps for documentation

	// ReceiveBuffer is how many octets TCP keeps for a program that does not read
	// them; it advertises about half of it as window. Default: 1 MiB that grow as
	// needed. At least 4096.
	ReceiveBuffer int
	// ReadRate, such as "64kbit", slows the programs down: what one has read from a
	// connection takes it that long before it reads there again. Default: no time.
	ReadRate string

	// Zone makes the host a DNS server for these records; the first such host is
	// the one that all hosts ask.
	Zone []Record
}

// Host is a computer of the lab. Its methods can be called by any goroutine but
// the driver, which would wait for itself; it may only Serve and Listen.
type Host struct {
	lab      *Lab
	id       string
	index    int
	address  netip.Addr
	readRate float64 // bits per second, 0 without limit
	zone     *zoneData

	stack  *stack.Stack
	tcp    stack.TransportProtocol
	chance *chance
	nics   map[string]tcpip.NICID // by the id of the host at the other end

	// The driver's own.
	arriving *Packet // being received
	probed   *Inner  // what TCP said when it had processed it
}

// Limits of a host.
const (
	minReceiveBuffer = tcp.MinBufferSize
	maxReceiveBuffer = tcp.MaxBufferSize
)

// lossDetection is by duplicate acknowledgments and SACK (RFC 6675), without RACK-TLP
// (RFC 8985). With that, the stack sometimes has no timer left for octets that were
// not acknowledged (google/gvisor issue 6113), and it takes a probe that was sent too
// early for a loss.
var lossDetection = tcpip.TCPRecovery(0)

var documentation = []netip.Prefix{ // RFC 5737
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
}

func newHost(l *Lab, c HostConfig, index int) (*Host, error) {
	h := &Host{lab: l, id: c.ID, index: index, nics: map[string]tcpip.NICID{},
		chance: newChance(l.config.Seed, "host", c.ID)}
	if c.ID == "" {
		return nil, errors.New("id: missing")
	}
	var err error
	if h.address, err = netip.ParseAddr(c.Address); err != nil || !forDocumentation(h.address) {
		return nil, fmt.Errorf("address: %q is not one of 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 (RFC 5737)", c.Address)
	}
	if h.readRate, err = parseRate(c.ReadRate); err != nil {
		return nil, fmt.Errorf("readRate: %w", err)
	}
	if n := c.ReceiveBuffer; n != 0 && (n < minReceiveBuffer || n > maxReceiveBuffer) {
		return nil, fmt.Errorf("receiveBuffer: %d is not between %d and %d", n, minReceiveBuffer, maxReceiveBuffer)
	}
	if c.Zone != nil {
		if h.zone, err = newZone(c.Zone); err != nil {
			return nil, err
		}
	}
	h.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolProbe(h.probe), udp.NewProtocol},
		Clock:              stackClock{l.clock, h},
		RandSource:         newChance(l.config.Seed, "stack", c.ID),
		SecureRNG:          newChance(l.config.Seed, "secure", c.ID),
	})
	h.tcp = h.stack.TransportProtocolInstance(tcp.ProtocolNumber)
	if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &lossDetection); err != nil {
		h.stop()
		return nil, fmt.Errorf("tcp: the stack does not take the loss detection %v: %v", lossDetection, err)
	}
	if n := c.ReceiveBuffer; n != 0 {
		size := tcpip.TCPReceiveBufferSizeRangeOption{Min: minReceiveBuffer, Default: n, Max: n}
		fixed := tcpip.TCPModerateReceiveBufferOption(false)
		for _, option := range []tcpip.SettableTransportProtocolOption{&size, &fixed} {
			if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
				h.stop()
				return nil, fmt.Errorf("receiveBuffer: the stack does not take %d: %v", n, err)
			}
		}
	}
	return h, nil
}

func forDocumentation(a netip.Addr) bool {
	for _, p := range documentation {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// plug gives the host an interface for the link to another and a route to it.
func (h *Host) plug(end *port, other *Host) error {
	nic := tcpip.NICID(len(h.nics) + 1)
	h.nics[other.id] = nic
	if err := h.stack.CreateNIC(nic, end); err != nil {
		return fmt.Errorf("%s: link to %s: %v", h.id, other.id, err)
	}
	address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(h.address.As4()), PrefixLen: 32}}
	if err := h.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("%s: address for the link to %s: %v", h.id, other.id, err)
	}
	to := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(other.address.As4()), PrefixLen: 32}
	h.stack.AddRoute(tcpip.Route{Destination: to.Subnet(), NIC: nic})
	return nil
}

// finish waits until the goroutines of the stack's TCP have nothing left to do.
// They stop for Pause only when their queues are empty.
func (h *Host) finish() {
	h.tcp.Pause()
	h.tcp.Resume()
}

func (h *Host) stop() {
	h.stack.Close()
	h.tcp.Wait()
}

// ID is the host's id.
func (h *Host) ID() string { return h.id }

// Address is the host's only address.
func (h *Host) Address() netip.Addr { return h.address }

// Listen opens a port for TCP, or for UDP: see Dial for what a connection is there.
func (h *Host) Listen(network string, port int) (net.Listener, error) {
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("internet: %s cannot listen on port %d; want 1 to 65535", h.id, port)
	}
	switch network {
	case "tcp":
		return h.listenTCP(port)
	case "udp":
		return h.listenUDP(port)
	}
	return nil, net.UnknownNetworkError(network)
}

// Serve listens and runs serve in a goroutine. Serve must return when its
// listener is closed, as Accept then says; Lab.Close waits for it.
func (h *Host) Serve(network string, port int, serve func(net.Listener)) error {
	l, err := h.Listen(network, port)
	if err != nil {
		return err
	}
	h.lab.serving.Go(func() { serve(l) })
	return nil
}

// Dial connects to "name:port" or "address:port". A name is looked up in the
// lab's DNS; Dial tries its addresses in turn.
//
// The network is "tcp", or "udp" for a conversation without TCP: every Write is
// a datagram (several, if it is longer than UDP's 65,507 octets, and in IP
// fragments, if it is longer than the MTU), and what is lost, late or double
// stays so. As UDP has no handshake that would tell the server, Dial sends one
// empty datagram; whoever it is from, or any other, is a connection for the
// server. Close tells the other side nothing.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "udp" {
		return nil, net.UnknownNetworkError(network)
	}
	name, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, &net.AddrError{Err: "the port is not a number up to 65535", Addr: address}
	}
	addresses := []netip.Addr{}
	if a, err := netip.ParseAddr(name); err == nil {
		addresses = append(addresses, a)
	} else if addresses, err = h.lookupA(ctx, name, address); err != nil {
		return nil, err
	}
	var conn net.Conn
	for _, a := range addresses {
		if conn, err = h.dial(ctx, network, netip.AddrPortFrom(a, uint16(port)), address, network == "udp"); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// Sleep waits on the lab's clock.
func (h *Host) Sleep(ctx context.Context, d time.Duration) error {
	s := &socket{host: h}
	var alarm *timer
	c := &call{socket: s, kind: callWake, detail: fmt.Sprintf("%020d", d), done: make(chan struct{})}
	over := false
	c.try = func(*call) bool {
		if alarm == nil {
			alarm = h.lab.clock.after(d, nil, func() { over = true; s.wake(callWake) })
		}
		return over
	}
	if !h.lab.post(c) {
		return c.err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		h.lab.post(&call{socket: s, kind: callClose, try: func(*call) bool {
			if alarm != nil {
				alarm.Stop()
			}
			over = true
			s.wake(callWake)
			return true
		}})
		return ctx.Err()
	}
}

func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{Addr: tcpip.AddrFrom4(a.Addr().As4()), Port: a.Port()}
}

func addrPort(a tcpip.FullAddress) netip.AddrPort {
	if a.Addr.Len() != header.IPv4AddressSize {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(a.Addr.As4()), a.Port)
}
