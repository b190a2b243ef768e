// Package exporttest is for tests that must not take our own word for what a
// packet is: it builds packets, puts them into a capture file, and has tshark,
// Wireshark's program for the terminal, read the file.
//
// It knows nothing of this project's dissectors.
package exporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"smtpscope/protocol/export"
)

// Flags of a TCP header (RFC 9293, 3.1; RFC 3168, 6.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// TCP is a segment to build.
type TCP struct {
	Src, Dst netip.AddrPort
	Seq, Ack uint32
	Flags    byte
	Window   uint16
	Options  []byte // padded to a multiple of 4 with end-of-list
	Payload  []byte
}

// Packet returns the IP packet that carries the segment, checksums filled in.
func (s TCP) Packet() []byte {
	options := s.Options
	for len(options)%4 != 0 {
		options = append(options[:len(options):len(options)], 0)
	}
	b := make([]byte, 20, 20+len(options)+len(s.Payload))
	binary.BigEndian.PutUint16(b, s.Src.Port())
	binary.BigEndian.PutUint16(b[2:], s.Dst.Port())
	binary.BigEndian.PutUint32(b[4:], s.Seq)
	binary.BigEndian.PutUint32(b[8:], s.Ack)
	b[12] = byte(20+len(options)) << 2
	b[13] = s.Flags
	binary.BigEndian.PutUint16(b[14:], s.Window)
	b = append(append(b, options...), s.Payload...)
	return IP(s.Src.Addr(), s.Dst.Addr(), 6, 16, b)
}

// UDP returns the IP packet of a datagram, checksums filled in.
func UDP(src, dst netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return IP(src.Addr(), dst.Addr(), 17, 6, append(b, payload...))
}

// IP puts an IPv4 or IPv6 header before body, whose own checksum is at the
// given offset and is filled in.
func IP(src, dst netip.Addr, protocol byte, checksumAt int, body []byte) []byte {
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(protocol))
	binary.BigEndian.PutUint16(body[checksumAt:], 0)
	binary.BigEndian.PutUint16(body[checksumAt:], checksum(append(pseudo, body...)))

	if src.Is4() {
		head := []byte{0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0}
		binary.BigEndian.PutUint16(head[2:], uint16(20+len(body)))
		head = append(append(head, src.AsSlice()...), dst.AsSlice()...)
		binary.BigEndian.PutUint16(head[10:], checksum(head))
		return append(head, body...)
	}
	head := []byte{0x60, 0, 0, 0, 0, 0, protocol, 64}
	binary.BigEndian.PutUint16(head[4:], uint16(len(body)))
	head = append(append(head, src.AsSlice()...), dst.AsSlice()...)
	return append(head, body...)
}

// checksum is RFC 1071, 1, for the sum of an even or odd number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, ch := range b {
		if i%2 == 0 {
			sum += uint32(ch) << 8
		} else {
			sum += uint32(ch)
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// TB is the part of testing.TB that TShark uses.
type TB interface {
	Helper()
	TempDir() string
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

const timeout = time.Minute

// TShark writes c to a file and returns what tshark prints for it with the
// given arguments, line by line; "-2", "-Y smtp" and "-T fields" are of use.
// Where tshark is missing, the test is skipped with a line that begins with NOT
// RUN; where the environment says CI=true it fails instead.
func TShark(t TB, c export.Capture, args ...string) []string {
	t.Helper()
	program, err := exec.LookPath("tshark")
	if errors.Is(err, exec.ErrNotFound) {
		const missing = "tshark cannot run here: it is missing; apt-get install tshark"
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s", missing)
		}
		t.Skipf("NOT RUN: %s", missing)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	var file bytes.Buffer
	if err := export.WritePCAPNG(&file, c); err != nil {
		t.Fatalf("%v", err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "capture.pcapng")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	// -n: tshark must not ask the network for names.
	cmd := exec.CommandContext(ctx, program, append([]string{"-n", "-r", path}, args...)...)
	// The settings of whoever runs the tests must not change what tshark says.
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "WIRESHARK_CONFIG_DIR="+dir, "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	text := strings.TrimSuffix(string(out), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// InOrder are arguments that let tshark put the segments of a connection in order
// before it reads what they carry. By default it takes them as they come, and what
// comes late or twice for an error of the layer above.
var InOrder = []string{"-o", "tcp.reassemble_out_of_order:TRUE"}

// Malformed returns a line for every packet in c that tshark finds fault with:
// malformed at any layer, or with a wrong checksum.
func Malformed(t TB, c export.Capture) []string {
	t.Helper()
	return TShark(t, c, append(InOrder,
		"-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
		"-Y", `_ws.malformed || ip.checksum.status == "Bad" || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad"`)...)
}

// MarkFields are tshark's fields, behind "tcp.analysis.", that say what is
// remarkable about a segment. Its retransmissions include the fast and the
// spurious ones.
var MarkFields = []string{
	"retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "lost_segment", "ack_lost_segment",
	"duplicate_ack", "zero_window", "zero_window_probe", "zero_window_probe_ack", "window_update", "window_full",
	"keep_alive", "keep_alive_ack",
}

// Marks turns the names that a trace has for marks, such as "duplicate-ack", into
// those of MarkFields.
func Marks(names []string) []string {
	var fields []string
	for _, field := range MarkFields {
		name := strings.ReplaceAll(field, "_", "-")
		switch field {
		case "ack_lost_segment":
			name = "acked-lost-segment"
		case "retransmission":
			if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, "-retransmission") }) {
				fields = append(fields, field)
				continue
			}
		}
		if slices.Contains(names, name) {
			fields = append(fields, field)
		}
	}
	return fields
}

// Segment is what tshark says of a TCP segment in its connection. Numbers are as
// it prints them, "" where it says nothing.
type Segment struct {
	Marks                                    []string // of MarkFields
	Seq, Ack, Window, InFlight, DuplicateACK string
}

// Segments has tshark follow the TCP connections in c, which has nothing else.
func Segments(t TB, c export.Capture) []Segment {
	t.Helper()
	args := []string{"-T", "fields"}
	for _, field := range []string{"seq", "ack", "window_size", "analysis.bytes_in_flight", "analysis.duplicate_ack_num"} {
		args = append(args, "-e", "tcp."+field)
	}
	for _, field := range MarkFields {
		args = append(args, "-e", "tcp.analysis."+field)
	}
	var out []Segment
	for _, line := range TShark(t, c, args...) {
		columns := strings.Split(line, "\t")
		s := Segment{Seq: columns[0], Ack: columns[1], Window: columns[2], InFlight: columns[3], DuplicateACK: columns[4]}
		for i, field := range MarkFields {
			if columns[5+i] != "" {
				s.Marks = append(s.Marks, field)
			}
		}
		out = append(out, s)
	}
	return out
}
