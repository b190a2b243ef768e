package linktest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is exec.CommandContext, but what it runs is root in a network namespace of its own,
// with nothing in it but a loopback interface that is down, and ends no later than this
// process. Where there may be no such thing, Start returns the system's error.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// port is where the far end listens; in its own namespace it is free.
const port = 25

// queueLength is how many packets may be under way in one direction.
const queueLength = 4096

// Link joins the namespace of this process to another one, which holds nothing but a listener.
type Link struct {
	net.Listener // at the far end

	delay time.Duration
	mtu   int
	mu    sync.Mutex // guards drop
	drop  func(Packet) bool

	near, far  *os.File // TUN devices
	directions sync.WaitGroup
}

// made counts links, each of which has the network 10.9.n.0/24.
var made atomic.Uint32

// New makes a link and sets it going. This process must be in a namespace made by Command.
func New(c Config) (*Link, error) {
	number := byte(made.Add(1))
	near, far := netip.AddrFrom4([4]byte{10, 9, number, 1}), netip.AddrFrom4([4]byte{10, 9, number, 2})
	l := &Link{delay: c.Delay, mtu: c.MTU, drop: c.Drop}
	if l.mtu == 0 {
		l.mtu = 1500
	}
	var err error
	if l.near, err = l.device(near); err != nil {
		return nil, fmt.Errorf("the near end of the link: %w", err)
	}

	// What is made in the far namespace stays there, whoever uses it. The thread ends with its goroutine, because it is locked.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			if l.far, err = l.device(far); err != nil {
				return err
			}
			if l.Listener, err = net.Listen("tcp4", netip.AddrPortFrom(far, port).String()); err != nil {
				return errors.Join(err, l.far.Close())
			}
			return nil
		}()
	}()
	if err := <-done; err != nil {
		return nil, errors.Join(fmt.Errorf("the far end of the link: %w", err), l.near.Close())
	}
	l.directions.Go(func() { l.carry(l.near, l.far, true) })
	l.directions.Go(func() { l.carry(l.far, l.near, false) })
	return l, nil
}

// Close ends the listener and the link; packets under way are lost.
func (l *Link) Close() error {
	err := errors.Join(l.Listener.Close(), l.near.Close(), l.far.Close())
	l.directions.Wait()
	return err
}

// carry takes packets from one end to the other, in order, until the link is closed.
func (l *Link) carry(from, to *os.File, up bool) {
	type packet struct {
		due time.Time
		ip  []byte
	}
	queue := make(chan packet, queueLength)
	go func() {
		defer close(queue)
		for buffer := make([]byte, l.mtu); ; {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			due := time.Now().Add(l.delay)
			if ip := buffer[:n]; l.carries(ip, up) {
				queue <- packet{due, append([]byte(nil), ip...)}
			}
		}
	}()
	for p := range queue {
		for wait := time.Until(p.due); wait > 0; wait = time.Until(p.due) {
			// The runtime's own timers are late by up to a millisecond when nothing else happens.
			nap := unix.NsecToTimespec(wait.Nanoseconds())
			_ = unix.Nanosleep(&nap, nil)
		}
		_, _ = to.Write(p.ip) // fails only when the link is closed
	}
}

// carries decides about a packet: IPv6, with which an interface greets its neighbours, has nowhere to go.
func (l *Link) carries(ip []byte, up bool) bool {
	const tcp = 6
	if len(ip) < 20 || ip[0]>>4 != 4 || ip[9] != tcp {
		return false
	}
	if l.drop == nil {
		return true
	}
	header := int(ip[0]&15) * 4
	p := Packet{Up: up, Port: binary.BigEndian.Uint16(ip[header:]), Flags: ip[header+13]}
	if !up {
		p.Port = binary.BigEndian.Uint16(ip[header+2:])
	}
	p.Payload = int(binary.BigEndian.Uint16(ip[2:])) - header - int(ip[header+12]>>4)*4
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.drop(p)
}

// device makes a TUN device in the namespace of this thread, with an address in a network of 256, and sets it going.
func (l *Link) device(address netip.Addr) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: /dev/net/tun: %w", ErrUnavailable, err)
	}
	name, err := unix.NewIfreq("link%d")
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	name.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, name); err != nil {
		return nil, errors.Join(fmt.Errorf("TUNSETIFF: %w", err), unix.Close(fd))
	}
	if err := errors.Join(
		configure(name.Name(), unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(address.AsSlice()) }),
		configure(name.Name(), unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(net.CIDRMask(24, 32)) }),
		configure(name.Name(), unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(uint32(l.mtu)); return nil }),
		raise(name.Name()),
	); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// Loopback sets the loopback interface of a namespace going that Command has made.
func Loopback() error { return raise("lo") }

func raise(name string) error {
	return configure(name, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil })
}

// configure sets one thing of an interface in the namespace of this thread.
func configure(name string, request uint, set func(*unix.Ifreq) error) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := set(r); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, request, r); err != nil {
		return fmt.Errorf("interface %s, request %#x: %w", name, request, err)
	}
	return nil
}
