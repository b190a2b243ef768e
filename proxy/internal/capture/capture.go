// Package capture reads the packets of one TCP connection that this program makes, the first SYN
// included, as the system's IP sees them.
//
// A Capture is opened when the local port and the peer are known and nothing has been sent yet. The
// system's own filter (BPF) passes what has these ports and that address, so that nothing else ever reaches
// this program. Of what passes, the first SYN on its way out fixes the rest: the connection's own address, and
// the network device. A packet that goes through several devices, as through a VLAN's and the
// card's, or through loopback both out and in, is seen once.
//
// It needs the capability CAP_NET_RAW and nothing more. Only Linux has it.
//
// Packets are what the system handles, not always what is on the wire: where the card cuts large
// segments (TSO) or joins small ones (GRO) they are longer than the MTU, and where it computes
// checksums those of outgoing packets are not final. Not seen are fragments but the first, segments behind
// an IPv6 extension header, and answers that come in through another device.
//
// The package refuses to know what a packet says, who may see it, and how many are too many.
package capture

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"

	"smtpscope/protocol/tunnel"
)

// Grant says how to let the program capture.
const Grant = "it needs the capability CAP_NET_RAW. Grant it by `setcap cap_net_raw=ep smtpscope`, under systemd by AmbientCapabilities=CAP_NET_RAW (see smtpscope.service), " +
	"in a container by user 0 with --cap-drop ALL --cap-add NET_RAW (in Kubernetes capabilities.add)"

const protocolTCP = 6

// filter passes the segments between a local port and a remote one, in both directions. It sees packets
// from the IP header on.
func filter(local uint16, remote netip.AddrPort) ([]bpf.RawInstruction, error) {
	out := block(checks(local, remote, true))
	in := block(checks(local, remote, false))
	return bpf.Assemble(append(append(out, in...), bpf.RetConstant{Val: 0}))
}

// check is one condition: what load leaves in the accumulator.
type check struct {
	load []bpf.Instruction
	is   uint32
}

// block accepts a packet that meets all the checks; any other one goes on behind the block.
func block(all []check) (program []bpf.Instruction) {
	program = []bpf.Instruction{bpf.RetConstant{Val: tunnel.MaxPacket}}
	for i := len(all) - 1; i >= 0; i-- {
		test := append(all[i].load, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: all[i].is, SkipTrue: uint8(len(program))})
		program = append(test, program...)
	}
	return program
}

// checks are those for one direction.
func checks(local uint16, remote netip.AddrPort, out bool) []check {
	source, destination := uint32(remote.Port()), uint32(local)
	if out {
		source, destination = destination, source
	}
	address := remote.Addr().Unmap()
	if address.Is4() {
		at, ip := uint32(12), address.As4()
		if out {
			at = 16
		}
		return []check{
			{[]bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0}}, 4 << 4},
			{[]bpf.Instruction{bpf.LoadAbsolute{Off: 9, Size: 1}}, protocolTCP},
			{[]bpf.Instruction{bpf.LoadAbsolute{Off: at, Size: 4}}, binary.BigEndian.Uint32(ip[:])},
			// The ports are in the first fragment only.
			{[]bpf.Instruction{bpf.LoadAbsolute{Off: 6, Size: 2}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x1fff}}, 0},
			{[]bpf.Instruction{bpf.LoadMemShift{Off: 0}, bpf.LoadIndirect{Off: 0, Size: 2}}, source},
			{[]bpf.Instruction{bpf.LoadMemShift{Off: 0}, bpf.LoadIndirect{Off: 2, Size: 2}}, destination},
		}
	}
	at, ip := uint32(8), address.As16()
	if out {
		at = 24
	}
	all := []check{
		{[]bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0}}, 6 << 4},
		{[]bpf.Instruction{bpf.LoadAbsolute{Off: 6, Size: 1}}, protocolTCP},
		{[]bpf.Instruction{bpf.LoadAbsolute{Off: 40, Size: 2}}, source},
		{[]bpf.Instruction{bpf.LoadAbsolute{Off: 42, Size: 2}}, destination},
	}
	for i := uint32(0); i < 16; i += 4 {
		all = append(all, check{[]bpf.Instruction{bpf.LoadAbsolute{Off: at + i, Size: 4}}, binary.BigEndian.Uint32(ip[i:])})
	}
	return all
}

// sight is where the system saw a packet.
type sight struct {
	device             int
	loopback, outgoing bool
}

// connection tells its packets from others that pass the filter.
type connection struct {
	remote netip.Addr
	local  netip.Addr // known from the first SYN on
	device int
}

func (c *connection) keeps(packet []byte, seen sight) bool {
	source, destination, syn := header(packet)
	local := source
	if source == c.remote {
		local = destination
	}
	if !c.local.IsValid() && syn && seen.outgoing {
		c.local, c.device = local, seen.device
	}
	return c.local.IsValid() && local == c.local && seen.device == c.device && (seen.outgoing || !seen.loopback)
}

// header reads who sent a packet to whom, and whether it opens a connection. The filter
// has seen to it that there are ports.
func header(packet []byte) (source, destination netip.Addr, syn bool) {
	const flags, isSYN, isACK = 13, 1 << 1, 1 << 4
	segment := 40
	if packet[0]>>4 == 4 {
		segment = int(packet[0]&0xf) * 4
		source, destination = netip.AddrFrom4([4]byte(packet[12:])), netip.AddrFrom4([4]byte(packet[16:]))
	} else {
		source, destination = netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:]))
	}
	if len(packet) > segment+flags {
		syn = packet[segment+flags]&(isSYN|isACK) == isSYN
	}
	return source, destination, syn
}
