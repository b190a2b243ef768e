package internet

import (
	"bytes"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// maxDatagram is what an IP packet leaves for a datagram (RFC 768, RFC 791, 3.1).
const maxDatagram = maxMTU - header.IPv4MinimumSize - header.UDPMinimumSize

// newUDP opens an endpoint whose datagrams may be fragmented. The stack's own
// choice is to forbid it and to do it nevertheless.
func (h *Host) newUDP(queue *waiter.Queue) (tcpip.Endpoint, tcpip.Error) {
	ep, err := h.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, queue)
	if err != nil {
		return nil, err
	}
	if err := ep.SetSockOptInt(tcpip.MTUDiscoverOption, int(tcpip.PMTUDiscoveryDont)); err != nil {
		ep.Close()
		return nil, err
	}
	return ep, nil
}

func (h *Host) connectUDP(s *socket, to netip.AddrPort) *attempt {
	queue := &waiter.Queue{}
	ep, err := h.newUDP(queue)
	if err != nil {
		return failed(err)
	}
	if err := ep.Connect(fullAddress(to)); err != nil {
		ep.Close()
		return failed(err)
	}
	return &attempt{
		poll: func() (bool, tcpip.Error) { return true, nil },
		conn: func() *conn {
			local, _ := ep.GetLocalAddress()
			c := h.newConn("udp", addrPort(local), to)
			c.flow = &udpFlow{receive: func() ([]byte, tcpip.Error) {
				_, b, err := receive(ep)
				return b, err
			}, send: func(b []byte) tcpip.Error { return send(ep, b, nil) }, shut: ep.Close}
			c.hear(queue)
			return c
		},
		abandon: ep.Close,
	}
}

// receive takes one datagram.
func receive(ep tcpip.Endpoint) (from netip.AddrPort, b []byte, err tcpip.Error) {
	var w bytes.Buffer
	res, err := ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true})
	return addrPort(res.RemoteAddr), w.Bytes(), err
}

func send(ep tcpip.Endpoint, b []byte, to *tcpip.FullAddress) tcpip.Error {
	_, err := ep.Write(bytes.NewReader(b), tcpip.WriteOptions{To: to})
	return err
}

// udpFlow reads datagrams as if they were a stream: what does not fit into one
// Read is kept for the next, because what is lost shall be lost on the way only.
type udpFlow struct {
	receive func() ([]byte, tcpip.Error)
	send    func([]byte) tcpip.Error
	shut    func()
	rest    []byte
}

func (f *udpFlow) read(p []byte) (int, tcpip.Error) {
	for len(f.rest) == 0 { // an empty datagram says nothing
		b, err := f.receive()
		if err != nil {
			return 0, err
		}
		f.rest = b
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *udpFlow) write(p []byte) (n int, err tcpip.Error) {
	for {
		b := p[n:min(len(p), n+maxDatagram)]
		if err := f.send(b); err != nil {
			return n, err
		}
		if n += len(b); n == len(p) {
			return n, nil
		}
	}
}

// closeWrite: UDP has no end of the data.
func (f *udpFlow) closeWrite() tcpip.Error { return &tcpip.ErrNotSupported{} }

func (f *udpFlow) close() { f.shut() }

// bindUDP opens a port and calls take, on the driver, with every datagram.
func (h *Host) bindUDP(s *socket, port int, take func(from netip.AddrPort, b []byte)) (tcpip.Endpoint, tcpip.Error) {
	queue := &waiter.Queue{}
	ep, err := h.newUDP(queue)
	if err != nil {
		return nil, err
	}
	if err := ep.Bind(tcpip.FullAddress{Port: uint16(port)}); err != nil {
		ep.Close()
		return nil, err
	}
	s.hear(queue)
	h.lab.post(&call{socket: s, kind: callRead, try: func(*call) bool {
		for {
			from, b, err := receive(ep)
			if err != nil {
				return !wouldBlock(err)
			}
			take(from, b)
		}
	}})
	return ep, nil
}

// listenUDP takes everyone who sends a datagram for a connection.
func (h *Host) listenUDP(port int) (net.Listener, error) {
	address := netip.AddrPortFrom(h.address, uint16(port))
	l := &listener{network: "udp", address: net.UDPAddrFromAddrPort(address)}
	l.host, l.id = h, port
	var (
		ep    tcpip.Endpoint
		peers = map[netip.AddrPort]*peer{}
		fresh []*conn
		mail  = &socket{host: h, id: port}
	)
	ep, err := h.bindUDP(mail, port, func(from netip.AddrPort, b []byte) {
		p := peers[from]
		if p == nil && l.closed {
			return
		}
		if p == nil {
			p = &peer{conn: h.newConn("udp", address, from)}
			to := fullAddress(from)
			p.conn.flow = &udpFlow{receive: p.receive,
				send: func(b []byte) tcpip.Error { return send(ep, b, &to) },
				shut: func() { delete(peers, from) }}
			peers[from] = p
			fresh = append(fresh, p.conn)
			l.wake(callRead)
		}
		p.queue = append(p.queue, b)
		p.conn.wake(callRead)
	})
	if err != nil {
		return nil, opError("listen", "udp", nil, l.address, errorOf(err, "bind"))
	}
	l.next = func() (*conn, tcpip.Error) {
		if len(fresh) == 0 {
			return nil, &tcpip.ErrWouldBlock{}
		}
		c := fresh[0]
		fresh = fresh[1:]
		return c, nil
	}
	l.shut = func() {} // the port stays open for those who are connected
	return l, nil
}

// peer is somebody who sent a datagram to a port.
type peer struct {
	conn  *conn
	queue [][]byte
}

func (p *peer) receive() ([]byte, tcpip.Error) {
	if len(p.queue) == 0 {
		return nil, &tcpip.ErrWouldBlock{}
	}
	b := p.queue[0]
	p.queue = p.queue[1:]
	return b, nil
}
