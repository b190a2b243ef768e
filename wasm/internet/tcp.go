package internet

import (
	"bytes"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// backlog is how many connections may wait to be accepted.
const backlog = 128

func (h *Host) listenTCP(port int) (net.Listener, error) {
	address := netip.AddrPortFrom(h.address, uint16(port))
	l := &listener{network: "tcp", address: net.TCPAddrFromAddrPort(address)}
	l.host, l.id = h, port
	var queue waiter.Queue
	ep, err := h.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	if err == nil {
		if err = ep.Bind(tcpip.FullAddress{Port: uint16(port)}); err == nil {
			err = ep.Listen(backlog)
		}
		if err != nil {
			ep.Close()
		}
	}
	if err != nil {
		return nil, opError("listen", "tcp", nil, l.address, errorOf(err, "listen"))
	}
	l.hear(&queue)
	l.shut = ep.Close
	l.next = func() (*conn, tcpip.Error) {
		accepted, queue, err := ep.Accept(nil)
		if err != nil {
			return nil, err
		}
		return h.tcpConn(accepted, queue), nil
	}
	return l, nil
}

func (h *Host) connectTCP(s *socket, to netip.AddrPort) *attempt {
	var queue waiter.Queue
	ep, err := h.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	if err != nil {
		return failed(err)
	}
	s.hear(&queue)
	if err = ep.Connect(fullAddress(to)); err != nil {
		if _, started := err.(*tcpip.ErrConnectStarted); !started {
			ep.Close()
			return failed(err)
		}
	}
	return &attempt{
		poll: func() (bool, tcpip.Error) {
			if e, ok := ep.(*tcp.Endpoint); ok {
				if err := e.LastError(); err != nil {
					return false, err
				}
			}
			switch tcp.EndpointState(ep.State()) {
			case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
				return false, nil
			}
			return true, nil
		},
		conn:    func() *conn { return h.tcpConn(ep, &queue) },
		abandon: ep.Close,
	}
}

func failed(err tcpip.Error) *attempt {
	return &attempt{poll: func() (bool, tcpip.Error) { return false, err }, abandon: func() {}}
}

func (h *Host) tcpConn(ep tcpip.Endpoint, queue *waiter.Queue) *conn {
	local, _ := ep.GetLocalAddress()
	remote, _ := ep.GetRemoteAddress() // of a connection that was reset already: unspecified
	c := h.newConn("tcp", addrPort(local), addrPort(remote))
	c.flow = tcpFlow{ep}
	c.hear(queue)
	return c
}

// tcpFlow is an established connection.
type tcpFlow struct{ ep tcpip.Endpoint }

func (f tcpFlow) read(p []byte) (int, tcpip.Error) {
	w := tcpip.SliceWriter(p)
	res, err := f.ep.Read(&w, tcpip.ReadOptions{})
	if res.Count > 0 {
		f.ep.ModerateRecvBuf(res.Count)
	}
	return res.Count, err
}

func (f tcpFlow) write(p []byte) (n int, err tcpip.Error) {
	for n < len(p) && err == nil {
		var taken int64
		taken, err = f.ep.Write(bytes.NewReader(p[n:]), tcpip.WriteOptions{})
		n += int(taken)
	}
	return n, err
}

func (f tcpFlow) closeWrite() tcpip.Error { return f.ep.Shutdown(tcpip.ShutdownWrite) }

func (f tcpFlow) close() { f.ep.Close() }
