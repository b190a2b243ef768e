//go:build !linux

package tcpinfo

import (
	"fmt"
	"net"
	"runtime"

	"smtpscope/protocol/tunnel"
)

// Supported says why Read cannot work on this system; nil when it can.
func Supported() error {
	return fmt.Errorf("the proxy runs on %s, and measurements of its TCP (TCP_INFO) are read on Linux only", runtime.GOOS)
}

// Read samples a connection.
func Read(net.Conn) (tunnel.Sample, error) { return tunnel.Sample{}, Supported() }
