package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"smtpscope/protocol/tunnel"
)

// queue is how many bytes the system keeps for Read, its own overhead included; it may allow less. What
// comes on top is lost, and counted.
const queue = 512 << 10

// everyProtocol is ETH_P_ALL in network order. Packets on their way out are shown to nobody who asks for less.
var everyProtocol = binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})

// Prepare says why Open cannot work here, and how to change that; nil when it can. It is to be called at the
// start: the system takes the time of packets only while somebody wants to know it, and needs a moment to
// begin with that. A SYN in that moment would have the time at which it is read.
func Prepare() error {
	fd, err := socket()
	if err != nil {
		return err
	}
	_ = unix.Close(fd)
	return interest()
}

// interest in times lasts as long as the program.
var interest = sync.OnceValue(func() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err != nil {
		return fmt.Errorf("times of packets (SO_TIMESTAMPNS): %w", err)
	}
	return nil
})

// socket makes one that receives nothing yet.
func socket() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("this program may not capture packets (%w): %s", err, Grant)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return -1, fmt.Errorf("this program may not have sockets of the family AF_PACKET (%w): under systemd, add it to RestrictAddressFamilies", err)
	case err != nil:
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	return fd, nil
}

// Capture is the packets of one connection.
type Capture struct {
	file       *os.File
	raw        syscall.RawConn
	connection connection
}

// Open captures from now on what local, a port of this machine, and remote send to each other. To be
// called before the connection is made: the first packet it shows is the SYN.
func Open(local uint16, remote netip.AddrPort) (*Capture, error) {
	program, err := filter(local, remote)
	if err != nil {
		return nil, fmt.Errorf("packet filter: %w", err)
	}
	fd, err := socket()
	if err != nil {
		return nil, err
	}
	instructions := make([]unix.SockFilter, len(program))
	for i, p := range program {
		instructions[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	step := "SO_ATTACH_FILTER"
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(instructions)), Filter: &instructions[0]})
	if err == nil {
		step = "SO_TIMESTAMPNS"
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err == nil {
		step = "SO_RCVBUF"
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, queue/2) // the system doubles it
	}
	if err == nil {
		step = "bind" // last, so that nothing comes past the filter
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everyProtocol})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("packet socket: %s: %w", step, err)
	}
	file := os.NewFile(uintptr(fd), "packets")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return &Capture{file: file, raw: raw, connection: connection{remote: remote.Addr().Unmap().WithZone("")}}, nil
}

// Read waits for the next packet. After End it returns what was captured until then, and io.EOF.
func (c *Capture) Read() (tunnel.Packet, error) {
	for {
		var p tunnel.Packet
		var failed error
		receive := func(fd uintptr) bool {
			p, failed = c.receive(int(fd))
			return failed != unix.EAGAIN
		}
		err := c.raw.Read(receive)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if err = c.raw.Control(func(fd uintptr) { receive(fd) }); failed == unix.EAGAIN {
				return tunnel.Packet{}, io.EOF
			}
		}
		if err = errors.Join(err, failed); err != nil {
			return tunnel.Packet{}, fmt.Errorf("packet socket: %w", err)
		}
		if p.IP != nil {
			return p, nil
		}
	}
}

// buffers are for the longest packets, lent to whoever has one waiting.
var buffers = sync.Pool{New: func() any { return new([tunnel.MaxPacket]byte) }}

// receive takes one packet from the queue. It returns none if that is not one to show.
func (c *Capture) receive(fd int) (tunnel.Packet, error) {
	buffer := buffers.Get().(*[tunnel.MaxPacket]byte)
	defer buffers.Put(buffer)
	var control [64]byte
	n, controlled, _, from, err := unix.Recvmsg(fd, buffer[:], control[:], 0)
	for err == unix.EINTR {
		n, controlled, _, from, err = unix.Recvmsg(fd, buffer[:], control[:], 0)
	}
	if err != nil {
		return tunnel.Packet{}, err
	}
	link, ok := from.(*unix.SockaddrLinklayer)
	if !ok {
		return tunnel.Packet{}, nil
	}
	seen := sight{device: link.Ifindex, loopback: link.Hatype == unix.ARPHRD_LOOPBACK, outgoing: link.Pkttype == unix.PACKET_OUTGOING}
	if !c.connection.keeps(buffer[:n], seen) {
		return tunnel.Packet{}, nil
	}
	return tunnel.Packet{Time: stamp(control[:controlled]), IP: append([]byte(nil), buffer[:n]...)}, nil
}

// stamp is when the system saw the packet, which it says in a control message.
func stamp(control []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return time.Unix((*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Unix())
		}
	}
	return time.Now()
}

// End captures for that much longer, and no more.
func (c *Capture) End(after time.Duration) { _ = c.file.SetReadDeadline(time.Now().Add(after)) }

// Close returns how many packets were lost because nobody had called Read in time. It takes some milliseconds: the
// system waits until no processor is in the filter.
func (c *Capture) Close() (lost int) {
	_ = c.raw.Control(func(fd uintptr) {
		if stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			lost = int(stats.Drops)
		}
	})
	_ = c.file.Close()
	return lost
}
