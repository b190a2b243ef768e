package tcpinfo

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"smtpscope/protocol/tunnel"
)

// Supported says why Read cannot work on this system; nil when it can.
func Supported() error { return nil }

// Read samples a connection. One that the peer has reset still answers, until it is closed here.
func Read(conn net.Conn) (tunnel.Sample, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return tunnel.Sample{}, fmt.Errorf("TCP_INFO of a %T: it is no TCP socket of this system", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return tunnel.Sample{}, fmt.Errorf("TCP_INFO: %w", err)
	}
	var info *unix.TCPInfo
	var failed error
	if err := raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil {
		return tunnel.Sample{}, fmt.Errorf("TCP_INFO: %w", err)
	}
	if failed != nil {
		return tunnel.Sample{}, fmt.Errorf("TCP_INFO: %w", failed)
	}
	return sample(info), nil
}

// Values of the kernel (include/net/tcp.h, include/uapi/linux/tcp.h).
const (
	infiniteSlowStart = math.MaxInt32  // nothing was lost yet
	noMinRTT          = math.MaxUint32 // nothing was measured yet
	optionWindowScale = 4
)

func sample(i *unix.TCPInfo) tunnel.Sample {
	s := tunnel.Sample{
		State: state(i.State),
		RTT:   microseconds(i.Rtt), RTTVar: microseconds(i.Rttvar), RTO: microseconds(i.Rto),
		CongestionWindow: int(i.Snd_cwnd), MSS: int(i.Snd_mss),
		Unacked: int(i.Unacked), InFlight: inFlight(i), Retransmits: int(i.Total_retrans),
		DeliveryRate: int64(min(i.Delivery_rate, math.MaxInt64)),
		SendWindow:   int(i.Snd_wnd), ReceiveWindow: int(i.Rcv_wnd),
	}
	if i.Snd_ssthresh < infiniteSlowStart {
		s.SlowStartThreshold = int(i.Snd_ssthresh)
	}
	if i.Min_rtt != noMinRTT {
		s.MinRTT = microseconds(i.Min_rtt)
	}
	if i.Options&optionWindowScale != 0 {
		s.SendScale, s.ReceiveScale = scales(i)
	}
	return s
}

func microseconds(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }

// inFlight counts octets: the kernel's Unacked are segments of any size. Acknowledged
// octets include the SYN, and the FIN at the end.
func inFlight(i *unix.TCPInfo) int64 {
	if i.Unacked == 0 {
		return 0
	}
	return max(int64(i.Bytes_sent)-int64(i.Bytes_retrans)-(int64(i.Bytes_acked)-1), 0)
}

// scales reads the two bit fields that the kernel's structure has in octet 6; package unix has no
// name for them. Compilers fill bit fields from the end where the least significant octet is.
func scales(i *unix.TCPInfo) (send, receive int) {
	b := (*[8]byte)(unsafe.Pointer(i))[6]
	low, high := int(b&15), int(b>>4)
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return high, low
	}
	return low, high
}

// states are the kernel's numbers (include/net/tcp_states.h) as RFC 9293, 3.3.2 calls them.
var states = [...]string{1: "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED",
	"CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"}

func state(n uint8) string {
	if int(n) < len(states) && states[n] != "" {
		return states[n]
	}
	return fmt.Sprintf("state %d", n)
}
