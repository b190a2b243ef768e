package tunnel

import "syscall"

// Windows answers with Winsock's numbers; package syscall's E constants are inventions there.
var errnos = []struct {
	err  error
	kind kind
}{
	{syscall.Errno(10061), kindRefused},   // WSAECONNREFUSED
	{syscall.Errno(10065), kindNoRoute},   // WSAEHOSTUNREACH
	{syscall.Errno(10051), kindNoRoute},   // WSAENETUNREACH
	{syscall.Errno(10050), kindNoRoute},   // WSAENETDOWN
	{syscall.Errno(10049), kindNoRoute},   // WSAEADDRNOTAVAIL
	{syscall.Errno(10047), kindNoRoute},   // WSAEAFNOSUPPORT
	{syscall.Errno(10054), kindReset},     // WSAECONNRESET
	{syscall.Errno(10053), kindReset},     // WSAECONNABORTED
	{syscall.Errno(10060), kindTimeout},   // WSAETIMEDOUT
	{syscall.Errno(10013), kindForbidden}, // WSAEACCES
	{syscall.Errno(10024), kindExhausted}, // WSAEMFILE
	{syscall.Errno(10055), kindExhausted}, // WSAENOBUFS
}
