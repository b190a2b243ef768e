package internet

import (
	"io"
	"net"
	"os"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// errorOf is the stack's error in the terms of package net, so that a caller
// recognises it as on a real host: io.EOF, or a system call's error number.
func errorOf(err tcpip.Error, syscallName string) error {
	var number syscall.Errno
	switch err.(type) {
	case nil:
		return nil
	case *tcpip.ErrClosedForReceive:
		return io.EOF
	case *tcpip.ErrConnectionRefused:
		number = syscall.ECONNREFUSED
	case *tcpip.ErrTimeout:
		number = syscall.ETIMEDOUT
	case *tcpip.ErrConnectionReset:
		number = syscall.ECONNRESET
	case *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		number = syscall.ECONNABORTED
	case *tcpip.ErrClosedForSend:
		number = syscall.EPIPE
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown:
		number = syscall.EHOSTUNREACH
	case *tcpip.ErrNetworkUnreachable:
		number = syscall.ENETUNREACH
	case *tcpip.ErrPortInUse:
		number = syscall.EADDRINUSE
	case *tcpip.ErrMessageTooLong:
		number = syscall.EMSGSIZE
	case *tcpip.ErrNotConnected:
		number = syscall.ENOTCONN
	default:
		return os.NewSyscallError(syscallName, stackError{err})
	}
	return os.NewSyscallError(syscallName, number)
}

// stackError is an error of the stack that has no number here.
type stackError struct{ err tcpip.Error }

func (e stackError) Error() string { return e.err.String() }

func opError(op, network string, source, address net.Addr, err error) error {
	return &net.OpError{Op: op, Net: network, Source: source, Addr: address, Err: err}
}
