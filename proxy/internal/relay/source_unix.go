//go:build unix

package relay

import (
	"os"
	"syscall"
)

const canReadNow = true

// readNow reads a descriptor that does not block.
func readNow(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if err != syscall.EINTR {
			return n, os.NewSyscallError("read", err)
		}
	}
}
