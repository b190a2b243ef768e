package internet

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// State is what a host's TCP says of one connection when it has sent a packet of
// it, or has dealt with one that arrived. Windows are counted as the stack does:
// congestion in segments, the rest in octets.
type State struct {
	At     time.Duration // since the lab's start
	Host   string
	Local  netip.AddrPort
	Remote netip.AddrPort
	Packet int    // Seq of the packet sent or arrived
	Name   string // "SYN-SENT", "ESTABLISHED", … (RFC 9293, 3.3.2)

	CongestionWindow   int    // segments that may be under way
	SlowStartThreshold int    // segments; 0 as long as nothing was lost
	Congestion         string // "open", "disorder", "fast recovery", "SACK recovery", "timeout recovery"
	RTO                time.Duration
	SRTT, RTTVar       time.Duration // 0 until measured (RFC 6298)

	// Inner is what the stack tells only when a segment has arrived on an
	// established connection; nil otherwise.
	Inner *Inner
}

// Inner is the part of State that the stack does not tell at all times.
type Inner struct {
	Outstanding   int    // segments under way by the sender's estimate (RFC 6675's pipe)
	InFlight      int    // octets sent and not acknowledged: SND.NXT - SND.UNA
	SendWindow    int    // octets that the peer is ready to take: SND.WND
	SendUna       uint32 // SND.UNA
	SendNxt       uint32 // SND.NXT
	ReceiveNxt    uint32 // RCV.NXT
	ReceiveWindow int    // octets that the peer was told it may still send
	SendBuffered  int    // octets written by the program and not acknowledged
	Unread        int    // octets received and not read by the program
	SackedOut     int    // segments that arrived out of order
	DupAcks       int
	MSS           int // largest payload of a segment, options taken off
}

// probe is called by the stack when a connection has processed a segment.
func (h *Host) probe(s *tcp.TCPEndpointState) {
	if h.lab.config.State == nil || h.arriving == nil {
		return
	}
	snd, rcv := &s.Sender, &s.Receiver
	h.probed = &Inner{
		Outstanding: snd.Outstanding, InFlight: int(snd.SndUna.Size(snd.SndNxt)), SendWindow: int(snd.SndWnd),
		SendUna: uint32(snd.SndUna), SendNxt: uint32(snd.SndNxt),
		ReceiveNxt: uint32(rcv.RcvNxt), ReceiveWindow: int(rcv.RcvNxt.Size(rcv.RcvAcc)),
		SendBuffered: s.SndBufState.SndBufUsed, Unread: s.RcvBufState.RcvBufUsed,
		SackedOut: snd.SackedOut, DupAcks: snd.DupAckCount, MSS: snd.MaxPayloadSize,
	}
}

// sample asks the stack of a host about the connection that a packet belongs to.
func (h *Host) sample(p Packet, arrived bool) (State, bool) {
	local, remote, ok := tcpEnds(p.Bytes)
	if !ok || p.Flip != nil && arrived {
		return State{}, false
	}
	if arrived {
		local, remote = remote, local
	}
	id := stack.TransportEndpointID{
		LocalPort: local.Port(), LocalAddress: tcpip.AddrFrom4(local.Addr().As4()),
		RemotePort: remote.Port(), RemoteAddress: tcpip.AddrFrom4(remote.Addr().As4()),
	}
	found := h.stack.FindTransportEndpoint(header.IPv4ProtocolNumber, tcp.ProtocolNumber, id, h.nics[h.peer(p)])
	ep, ok := found.(tcpip.Endpoint)
	if !ok {
		return State{}, false // it is gone, or there never was one: a RST answers
	}
	var info tcpip.TCPInfoOption
	if err := ep.GetSockOpt(&info); err != nil || tcp.EndpointState(info.State) == tcp.StateListen {
		return State{}, false
	}
	s := State{
		At: h.lab.clock.elapsed(), Host: h.id, Local: local, Remote: remote, Packet: p.Seq,
		Name:             stateName(tcp.EndpointState(info.State)),
		CongestionWindow: int(info.SndCwnd), Congestion: congestion(info.CcState),
		RTO: info.RTO, SRTT: info.RTT, RTTVar: info.RTTVar,
	}
	if info.SndSsthresh != math.MaxUint32 { // what is left of the stack's "infinite"
		s.SlowStartThreshold = int(info.SndSsthresh)
	}
	return s, true
}

// peer is the id of the host at the other end of the link that carried p.
func (h *Host) peer(p Packet) string {
	if p.From == h.id {
		return p.To
	}
	return p.From
}

// stateName is the state's name in RFC 9293, 3.3.2.
func stateName(s tcp.EndpointState) string {
	switch s {
	case tcp.StateSynRecv:
		return "SYN-RECEIVED"
	case tcp.StateFinWait1:
		return "FIN-WAIT-1"
	case tcp.StateFinWait2:
		return "FIN-WAIT-2"
	}
	return s.String()
}

func congestion(s tcpip.CongestionControlState) string {
	switch s {
	case tcpip.RTORecovery:
		return "timeout recovery"
	case tcpip.FastRecovery:
		return "fast recovery"
	case tcpip.SACKRecovery:
		return "SACK recovery"
	case tcpip.Disorder:
		return "disorder"
	}
	return "open"
}

// tcpEnds reads source and destination of a TCP segment that is not a fragment.
func tcpEnds(b []byte) (from, to netip.AddrPort, ok bool) {
	ip := header.IPv4(b)
	if !ip.IsValid(len(b)) || ip.TransportProtocol() != tcp.ProtocolNumber || ip.More() || ip.FragmentOffset() != 0 {
		return from, to, false
	}
	segment := ip.Payload()
	if len(segment) < header.TCPMinimumSize {
		return from, to, false
	}
	from = netip.AddrPortFrom(netip.AddrFrom4(ip.SourceAddress().As4()), binary.BigEndian.Uint16(segment))
	to = netip.AddrPortFrom(netip.AddrFrom4(ip.DestinationAddress().As4()), binary.BigEndian.Uint16(segment[2:]))
	return from, to, true
}
