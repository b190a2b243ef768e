//go:build unix

package policy

import (
	"fmt"
	"os"
	"syscall"
)

const canBind = true

// bind gives a socket a port of its own before it connects. Without IP_BIND_ADDRESS_NO_PORT
// Linux chooses the port here and not in connect.
func bind(network string, socket syscall.RawConn) (port uint16, err error) {
	var any syscall.Sockaddr = &syscall.SockaddrInet4{}
	if network == "tcp6" {
		any = &syscall.SockaddrInet6{}
	}
	var bound syscall.Sockaddr
	failed := socket.Control(func(fd uintptr) {
		if err = os.NewSyscallError("bind", syscall.Bind(int(fd), any)); err == nil {
			bound, err = syscall.Getsockname(int(fd))
			err = os.NewSyscallError("getsockname", err)
		}
	})
	if failed != nil {
		err = failed
	}
	switch bound := bound.(type) {
	case *syscall.SockaddrInet4:
		port = uint16(bound.Port)
	case *syscall.SockaddrInet6:
		port = uint16(bound.Port)
	}
	if err == nil && port == 0 {
		err = fmt.Errorf("the system gave no port to a socket of %s", network)
	}
	return port, err
}
