package relay

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unacknowledged is how many bytes the page's system has not confirmed yet.
func (s *socket) unacknowledged() (n int) {
	c, ok := s.conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}
