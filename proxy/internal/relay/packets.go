package relay

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/capture"
)

const (
	// maxPackets and maxPacketBytes are what a tunnel sends of captured packets. No credit bounds them, and
	// a target can send packets that carry no DATA.
	maxPackets     = 20_000
	maxPacketBytes = 8 << 20
	// packetsBehind is how many bytes may be under way to the page when a packet is sent: so many, and
	// one packet, are in front of DATA at most. As long as there are more the packets wait in the queue
	// of the capture, which loses what it has no room for.
	packetsBehind = 32 << 10
	// packetPoll and packetPollMost are how soon a packet that waits looks again, at first and later.
	packetPoll     = 5 * time.Millisecond
	packetPollMost = 100 * time.Millisecond
	// lastPackets is how long the tunnel waits for the last packets of a connection that has been closed,
	// and how long for the page to take what was captured.
	lastPackets = 50 * time.Millisecond
)

type watchKey struct{}

// Watch tells what wants to know of the connections that a Dialer makes with this context: it is to be called with
// each one's local port and peer before the SYN is sent. Nil when nothing does.
func Watch(ctx context.Context) func(localPort uint16, remote netip.AddrPort) {
	watch, _ := ctx.Value(watchKey{}).(func(uint16, netip.AddrPort))
	return watch
}

// packets sends the page what the system saw of the connections that were made for it. A nil packets sends nothing.
type packets struct {
	line    *line
	sending sync.WaitGroup // until the last packet
	running sync.WaitGroup // until the sockets are closed
	quit    chan struct{}  // closed when nobody waits for packets any more

	mu       sync.Mutex
	captures map[attempt]*capture.Capture
	over     bool // no capture begins any more
	dropped  bool // quit is closed
	sent     int
	bytes    int
	lost     int
}

// attempt is a connection as far as it is known before it is made.
type attempt struct {
	local  uint16
	remote netip.AddrPort
}

// capture begins with the packets of the connections that are dialed with the context that it returns, if the page
// wants them and the proxy shows them.
func (l *line) capture(ctx context.Context, open tunnel.Open) context.Context {
	if !l.relay.config.Packets || !slices.Contains(open.Wants, tunnel.WantPackets) {
		return ctx
	}
	l.packets = &packets{line: l, quit: make(chan struct{}), captures: make(map[attempt]*capture.Capture)}
	return context.WithValue(ctx, watchKey{}, l.packets.watch)
}

// watch begins a capture. Its queue is the system's and of a fixed length, so that no page and no target can fill
// the proxy's memory, and whoever writes DATA waits for one packet at most.
func (p *packets) watch(local uint16, remote netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	c, err := capture.Open(local, remote)
	if err != nil {
		p.line.log.Warn("no packets of a connection", "address", remote.String(), "error", err)
		return
	}
	this := attempt{local, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}
	p.captures[this] = c
	p.sending.Add(1)
	p.running.Go(func() {
		p.send(c)
		p.sending.Done()
		lost := c.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.captures, this)
		p.lost += lost
	})
}

// send carries packets until there are no more, or there have been enough.
func (p *packets) send(c *capture.Capture) {
	for {
		packet, err := c.Read()
		if err != nil {
			if err != io.EOF {
				p.line.log.Warn("no more packets of a connection", "error", err)
			}
			return
		}
		if !p.room() {
			return
		}
		if !p.count(len(packet.IP)) {
			p.line.log.Warn("no more packets of a connection", "error", "the tunnel has sent as many as it may")
			return
		}
		if p.line.send(func(dst []byte) ([]byte, error) { return p.line.half.AppendPacket(dst, packet) }) != nil {
			return
		}
	}
}

// room waits until the page has taken enough of what is before a packet.
func (p *packets) room() bool {
	for wait := packetPoll; ; wait = min(2*wait, packetPollMost) {
		select {
		case <-p.quit:
			return false
		default:
		}
		if p.line.ws.unacknowledged() <= packetsBehind {
			return true
		}
		select {
		case <-p.quit:
		case <-time.After(wait):
		}
	}
}

func (p *packets) count(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent == maxPackets || p.bytes+n > maxPacketBytes {
		return false
	}
	p.sent++
	p.bytes += n
	return true
}

// opened ends the captures of the attempts that were not successful.
func (p *packets) opened(target net.Conn) {
	if p == nil {
		return
	}
	local, _ := target.LocalAddr().(*net.TCPAddr)
	remote, _ := target.RemoteAddr().(*net.TCPAddr)
	if local == nil || remote == nil {
		return
	}
	address := remote.AddrPort()
	winner := attempt{local.AddrPort().Port(), netip.AddrPortFrom(address.Addr().Unmap(), address.Port())}
	p.mu.Lock()
	defer p.mu.Unlock()
	for this, c := range p.captures {
		if this != winner {
			c.End(0)
		}
	}
}

// flush ends the captures after that time and waits, not for long, until all has been sent.
func (p *packets) flush(after time.Duration) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.over = true
	for _, c := range p.captures {
		c.End(after)
	}
	p.mu.Unlock()
	late := time.AfterFunc(after+lastPackets, p.drop)
	p.sending.Wait()
	late.Stop()
}

// drop ends the captures; what was not sent is not needed any more.
func (p *packets) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if !p.dropped {
		p.dropped = true
		close(p.quit)
	}
	for _, c := range p.captures {
		c.End(0)
	}
}

// close returns when nothing of the captures is left. Nothing can be sent to the page any more.
func (p *packets) close() {
	if p == nil {
		return
	}
	p.drop()
	p.running.Wait()
	p.line.relay.config.Metrics.Packets(p.total())
}

// total is how many packets were sent, and how many were not because the page was not ready for them.
func (p *packets) total() (sent, lost int) {
	if p == nil {
		return 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, p.lost
}
