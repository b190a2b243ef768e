package capture

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"

	"smtpscope/protocol/tunnel"
)

const (
	syn = 1 << 1
	ack = 1 << 4
)

// packet is a segment without payload, behind so many bytes of IP options.
func packet(from, to string, flags byte, options int) []byte {
	source, destination := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	var p []byte
	if source.Addr().Is4() {
		p = make([]byte, 20+options)
		p[0], p[9] = 4<<4|byte(len(p)/4), protocolTCP
		copy(p[12:], source.Addr().AsSlice())
		copy(p[16:], destination.Addr().AsSlice())
	} else {
		p = make([]byte, 40)
		p[0], p[6] = 6<<4, protocolTCP
		copy(p[8:], source.Addr().AsSlice())
		copy(p[24:], destination.Addr().AsSlice())
	}
	p = binary.BigEndian.AppendUint16(p, source.Port())
	p = binary.BigEndian.AppendUint16(p, destination.Port())
	return append(p, 0, 0, 0, 1, 0, 0, 0, 2, 5<<4, flags, 0, 0, 0, 0, 0, 0)
}

func with(p []byte, at int, value ...byte) []byte {
	copy(p[at:], value)
	return p
}

func TestFilter(t *testing.T) {
	const (
		us4, mx4 = "192.0.2.7:40000", "198.51.100.25:25"
		us6, mx6 = "[2001:db8::7]:40000", "[2001:db8:1::25]:25"
	)
	for _, tt := range []struct {
		name   string
		remote string
		packet []byte
		passes bool
	}{
		{"out", mx4, packet(us4, mx4, syn, 0), true},
		{"in", mx4, packet(mx4, us4, syn|ack, 0), true},
		{"out of another address of this machine", mx4, packet("192.0.2.8:40000", mx4, syn, 0), true}, // it is not known yet which
		{"out with IP options", mx4, packet(us4, mx4, ack, 40), true},
		{"in with IP options", mx4, packet(mx4, us4, ack, 4), true},
		{"remote as IPv4-mapped", "[::ffff:198.51.100.25]:25", packet(us4, mx4, syn, 0), true},
		{"a first fragment", mx4, with(packet(us4, mx4, ack, 0), 6, 1<<5, 0), true},
		{"do not fragment", mx4, with(packet(us4, mx4, ack, 0), 6, 1<<6, 0), true},
		{"another fragment", mx4, with(packet(us4, mx4, ack, 0), 6, 0, 100), false},
		{"from another port", mx4, packet("192.0.2.7:40001", mx4, syn, 0), false},
		{"to another port", mx4, packet(us4, "198.51.100.25:587", syn, 0), false},
		{"to another server", mx4, packet(us4, "198.51.100.26:25", syn, 0), false},
		{"in from another server", mx4, packet("198.51.100.24:25", us4, ack, 0), false},
		{"in from another port", mx4, packet("198.51.100.25:26", us4, ack, 0), false},
		{"in to another port", mx4, packet(mx4, "192.0.2.7:39999", ack, 0), false},
		{"in with the ports exchanged", mx4, packet("198.51.100.25:40000", "192.0.2.7:25", ack, 0), false},
		{"UDP", mx4, with(packet(us4, mx4, 0, 0), 9, 17), false},
		{"no IP", mx4, with(packet(us4, mx4, 0, 0), 0, 0x55), false},
		{"cut short", mx4, packet(us4, mx4, 0, 0)[:22], false},
		{"one byte", mx4, []byte{0x45}, false},
		{"IPv6, with the address in its place", mx4, with(packet(us6, mx6, syn, 0), 16, 198, 51, 100, 25), false},

		{"out, IPv6", mx6, packet(us6, mx6, syn, 0), true},
		{"in, IPv6", mx6, packet(mx6, us6, syn|ack, 0), true},
		{"traffic class", mx6, with(packet(us6, mx6, ack, 0), 0, 0x6f, 0xff), true},
		{"from another port, IPv6", mx6, packet("[2001:db8::7]:40001", mx6, syn, 0), false},
		{"to another port, IPv6", mx6, packet(us6, "[2001:db8:1::25]:26", syn, 0), false},
		{"to another server, IPv6", mx6, packet(us6, "[2001:db8:1::26]:25", syn, 0), false},
		{"to another network, IPv6", mx6, packet(us6, "[2001:db9:1::25]:25", syn, 0), false},
		{"in from another server, IPv6", mx6, packet("[2001:db8:1:0:1::25]:25", us6, ack, 0), false},
		{"in to another port, IPv6", mx6, packet(mx6, "[2001:db8::7]:40001", ack, 0), false},
		{"extension header", mx6, with(packet(us6, mx6, ack, 0), 6, 0), false},
		{"UDP, IPv6", mx6, with(packet(us6, mx6, ack, 0), 6, 17), false},
		{"cut short, IPv6", mx6, packet(us6, mx6, 0, 0)[:43], false},
		{"IPv4 for IPv6", mx6, packet(us4, mx4, syn, 0), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := filter(40000, netip.MustParseAddrPort(tt.remote))
			require.NoError(t, err)
			program, known := bpf.Disassemble(raw)
			require.True(t, known)
			vm, err := bpf.NewVM(program)
			require.NoError(t, err)
			n, err := vm.Run(tt.packet)
			require.NoError(t, err)
			assert.Equal(t, tt.passes, n > 0)
			if tt.passes {
				assert.Equal(t, tunnel.MaxPacket, n, "the most that a PACKET frame can hold")
			}
		})
	}
}

func TestFirstSYNDecides(t *testing.T) {
	const us, mx = "192.0.2.7:40000", "198.51.100.25:25"
	const us6, mx6 = "[2001:db8::7]:40000", "[2001:db8:1::25]:25"
	out, in := sight{device: 3, outgoing: true}, sight{device: 3}
	type seen struct {
		packet []byte
		sight  sight
		kept   bool
	}
	for _, tt := range []struct {
		name string
		seen []seen
	}{
		{"a connection", []seen{{packet(us, mx, syn, 0), out, true}, {packet(mx, us, syn|ack, 0), in, true}, {packet(us, mx, ack, 0), out, true}, {packet(us, mx, syn, 0), out, true}}},
		{"over IPv6", []seen{{packet(us6, mx6, syn, 0), out, true}, {packet(mx6, us6, syn|ack, 0), in, true}, {packet(mx6, "[2001:db8::8]:40000", ack, 0), in, false}}},
		{"before it, one that passes through this machine", []seen{{packet(us, mx, ack, 0), out, false}, {packet(mx, us, syn|ack, 0), out, false}, {packet(us, mx, syn, 0), in, false}}},
		{"one of another address of this machine", []seen{{packet(us, mx, syn, 0), out, true},
			{packet("192.0.2.8:40000", mx, ack, 0), out, false}, {packet(mx, "192.0.2.8:40000", ack, 0), in, false}}},
		{"a VLAN, then its card", []seen{{packet(us, mx, syn, 0), out, true}, {packet(us, mx, syn, 0), sight{device: 2, outgoing: true}, false},
			{packet(mx, us, syn|ack, 0), sight{device: 2}, false}, {packet(mx, us, syn|ack, 0), in, true}}},
		{"loopback, out and in", []seen{
			{packet("127.0.0.1:40000", "127.0.0.1:25", syn, 0), sight{1, true, true}, true}, {packet("127.0.0.1:40000", "127.0.0.1:25", syn, 0), sight{1, true, false}, false},
			{packet("127.0.0.1:25", "127.0.0.1:40000", syn|ack, 0), sight{1, true, true}, true}, {packet("127.0.0.1:25", "127.0.0.1:40000", syn|ack, 0), sight{1, true, false}, false}}},
		{"no flags", []seen{{packet(us, mx, syn, 0)[:24], out, false}, {with(packet(us, mx, syn, 0), 0, 0x4f), out, false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			remote := netip.MustParseAddrPort(mx).Addr()
			switch tt.name {
			case "over IPv6":
				remote = netip.MustParseAddrPort(mx6).Addr()
			case "loopback, out and in":
				remote = netip.MustParseAddr("127.0.0.1")
			}
			c := connection{remote: remote}
			for i, s := range tt.seen {
				assert.Equal(t, s.kept, c.keeps(s.packet, s.sight), "packet %d", i+1)
			}
		})
	}
}
