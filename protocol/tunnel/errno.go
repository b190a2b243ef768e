//go:build !windows && !plan9

package tunnel

import "syscall"

var errnos = []struct {
	err  error
	kind kind
}{
	{syscall.ECONNREFUSED, kindRefused},
	{syscall.EHOSTUNREACH, kindNoRoute},
	{syscall.ENETUNREACH, kindNoRoute},
	{syscall.ENETDOWN, kindNoRoute},
	{syscall.EADDRNOTAVAIL, kindNoRoute},
	{syscall.EAFNOSUPPORT, kindNoRoute},
	{syscall.ECONNRESET, kindReset},
	{syscall.ECONNABORTED, kindReset},
	{syscall.EPIPE, kindReset},
	{syscall.ETIMEDOUT, kindTimeout},
	{syscall.EACCES, kindForbidden},
	{syscall.EPERM, kindForbidden},
	{syscall.EMFILE, kindExhausted},
	{syscall.ENFILE, kindExhausted},
	{syscall.ENOBUFS, kindExhausted},
}
