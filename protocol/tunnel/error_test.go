//go:build !plan9 && !windows

package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// dialed wraps a cause as net.Dialer does.
func dialed(cause error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}, Err: os.NewSyscallError("connect", cause)}
}

func TestDialError(t *testing.T) {
	lookup := func(e net.DNSError) error { return &net.OpError{Op: "dial", Net: "tcp", Err: &e} }
	for _, tt := range []struct {
		name string
		err  error
		code Code
		says string
	}{
		{"refused", dialed(syscall.ECONNREFUSED), CodeRefused,
			"mx.example.net refused the connection on port 25: nothing listens there, or a firewall rejects it. Check the port."},
		{"refused, wrapped again", fmt.Errorf("first address: %w", dialed(syscall.ECONNREFUSED)), CodeRefused, "refused"},
		{"refused, joined", errors.Join(dialed(syscall.ECONNREFUSED), io.EOF), CodeRefused, "refused"},
		{"host unreachable", dialed(syscall.EHOSTUNREACH), CodeNoRoute, "No route leads to mx.example.net:25"},
		{"network unreachable", dialed(syscall.ENETUNREACH), CodeNoRoute, "IPv4 or IPv6"},
		{"no address of that kind here", dialed(syscall.EADDRNOTAVAIL), CodeNoRoute, "IPv4 or IPv6"},
		{"no such family here", dialed(syscall.EAFNOSUPPORT), CodeNoRoute, "IPv4 or IPv6"},
		{"timed out by the system", dialed(syscall.ETIMEDOUT), CodeTimeout, "did not answer on port 25 in time"},
		{"timed out by us", context.DeadlineExceeded, CodeTimeout, "try port 587 or 465"},
		{"timed out, wrapped", fmt.Errorf("dial: %w", context.DeadlineExceeded), CodeTimeout, "a firewall drops"},
		{"timed out by a deadline", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, CodeTimeout, "in time"},
		{"reset", dialed(syscall.ECONNRESET), CodeReset, "while it was being made"},
		{"forbidden by the system", dialed(syscall.EPERM), CodeNoRoute, "Check its firewall"},
		{"out of files", dialed(syscall.EMFILE), CodeTooMany, "no socket left"},
		{"called off", &net.OpError{Op: "dial", Err: context.Canceled}, CodeShutdown, "called off"},
		{"no such name", lookup(net.DNSError{Err: "no such host", Name: "mx.example.net", IsNotFound: true}), CodeNameNotFound, "Check the spelling"},
		{"look-up timed out", lookup(net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}), CodeTimeout, "no DNS server answered"},
		{"look-up out of time", lookup(net.DNSError{Err: "late", UnwrapErr: context.DeadlineExceeded}), CodeTimeout, "no DNS server answered"},
		{"look-up called off", lookup(net.DNSError{Err: "off", UnwrapErr: context.Canceled}), CodeShutdown, "called off"},
		{"look-up failed for now", lookup(net.DNSError{Err: "server misbehaving", IsTemporary: true}), CodeTimeout, "server misbehaving"},
		{"look-up failed", lookup(net.DNSError{Err: "unrecognized address"}), CodeNameNotFound, "unrecognized address"},
		{"not an address", &net.AddrError{Err: "missing port in address", Addr: "x"}, CodeBadRequest, "Check host and port"},
		{"not a number", &net.ParseError{Type: "IP address", Text: "x"}, CodeBadRequest, "Check host and port"},
		{"anything else", errors.New("the cat sat on it"), CodeNoRoute, "the cat sat on it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := DialError(tt.err, "mx.example.net", 25)
			assert.Equal(t, tt.code, e.Code)
			assert.Contains(t, e.Message, tt.says)
			assert.Contains(t, e.Message, "mx.example.net")
			assert.True(t, codes[e.Code])
			assert.ErrorIs(t, e, tt.err, "the cause is kept")
		})
	}
	assert.Nil(t, DialError(nil, "a", 25))
	policy := &Error{Code: CodeDenied, Message: "Not allowed.", Rule: "loopback"}
	assert.Same(t, policy, DialError(fmt.Errorf("dial: %w", policy), "a", 25))
	assert.NotContains(t, DialError(context.DeadlineExceeded, "a", 587).Message, "port 25")
}

func TestLostError(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		code Code
		says string
	}{
		{"reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, CodeReset, "reset the connection"},
		{"broken pipe", &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, CodeReset, "reset the connection"},
		{"retransmissions gave up", &net.OpError{Op: "read", Err: syscall.ETIMEDOUT}, CodeTimeout, "stopped answering"},
		{"deadline", os.ErrDeadlineExceeded, CodeTimeout, "stopped answering"},
		{"route gone", &net.OpError{Op: "read", Err: syscall.EHOSTUNREACH}, CodeNoRoute, "route"},
		{"cut off", io.ErrUnexpectedEOF, CodeReset, "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := LostError(tt.err, "::1", 25)
			assert.Equal(t, tt.code, e.Code)
			assert.Contains(t, e.Message, tt.says)
			assert.Contains(t, e.Message, "[::1]:25")
			assert.ErrorIs(t, e, tt.err)
		})
	}
	assert.Nil(t, LostError(nil, "a", 25))
	known := &Error{Code: CodeShutdown}
	assert.Same(t, known, LostError(known, "a", 25))
}
