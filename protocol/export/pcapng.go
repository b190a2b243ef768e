package export

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"
)

// Capture is the content of a capture file.
type Capture struct {
	// What made the capture, for people; empty ones are left out.
	Hardware, OS, Application, Comment string
	// Interfaces are the points where packets were seen. None stands for one
	// without a name.
	Interfaces []Interface
	// Secrets is a TLS key log, as crypto/tls writes it to Config.KeyLogWriter.
	// Whoever has the file can then read the session; without it the TLS stays
	// closed.
	Secrets []byte
	Packets []Packet
}

// Interface is one point where packets were seen. A program that follows a TCP
// connection takes a packet seen at two points of one file for a retransmission.
type Interface struct{ Name, Description string }

// Packet is one IP packet without a link header.
type Packet struct {
	Time      time.Time
	Interface int // index into Capture.Interfaces
	Bytes     []byte
	Length    int // of the packet, where Bytes are only the head of it
	Comment   string
}

// Block types, option codes and values of the format (IETF
// draft-ietf-opsawg-pcapng, 4 and 3.5).
const (
	blockSection   = 0x0A0D0D0A
	blockInterface = 1
	blockPacket    = 6
	blockSecrets   = 10

	optionEnd         = 0
	optionComment     = 1
	optionHardware    = 2 // of a section
	optionOS          = 3
	optionApplication = 4
	optionName        = 2 // of an interface
	optionDescription = 3
	optionResolution  = 9

	byteOrderMagic = 0x1A2B3C4D
	linkTypeRaw    = 101 // the packet starts with its IPv4 or IPv6 header
	tlsKeyLog      = 0x544C534B
	nanoseconds    = 9 // 10 to the power of -9 seconds

	// maxOption is what the length of an option can say.
	maxOption = math.MaxUint16
	// MaxPacket is the longest packet that readers of the format accept by
	// default; an IP packet without jumbograms is shorter.
	MaxPacket = 262144
)

// WritePCAPNG writes c as one section of a pcapng file. Times are in
// nanoseconds. Packets come in the order given, which need not be that of time.
func WritePCAPNG(w io.Writer, c Capture) error {
	out := &blocks{w: bufio.NewWriter(w)}
	out.section(c)
	interfaces := c.Interfaces
	if len(interfaces) == 0 {
		interfaces = []Interface{{}}
	}
	for _, i := range interfaces {
		out.interfaceDescription(i)
	}
	// Readers decrypt while they read, so the secrets precede the packets.
	if len(c.Secrets) > 0 {
		out.begin(blockSecrets)
		out.u32(tlsKeyLog)
		out.u32(uint32(len(c.Secrets)))
		out.padded(c.Secrets)
		out.end()
	}
	for n, p := range c.Packets {
		if p.Interface < 0 || p.Interface >= len(interfaces) {
			return fmt.Errorf("pcapng: packet %d: there is no interface %d; the capture has %d", n, p.Interface, len(interfaces))
		}
		if len(p.Bytes) > MaxPacket {
			return fmt.Errorf("pcapng: packet %d: %d bytes; readers take at most %d", n, len(p.Bytes), MaxPacket)
		}
		if year := p.Time.UTC().Year(); year < 1970 || year > 2261 {
			return fmt.Errorf("pcapng: packet %d: the year %d does not fit into the format; use one from 1970 to 2261", n, year)
		}
		out.packet(p)
		if out.err != nil {
			return fmt.Errorf("pcapng: packet %d: %w", n, out.err)
		}
	}
	if out.err != nil {
		return fmt.Errorf("pcapng: %w", out.err)
	}
	if err := out.w.Flush(); err != nil {
		return fmt.Errorf("pcapng: %w", err)
	}
	return nil
}

// blocks writes one block after the other. A block is built in b, for its
// length stands at its start and at its end.
type blocks struct {
	w   *bufio.Writer
	b   []byte
	err error // the first
}

func (o *blocks) section(c Capture) {
	o.begin(blockSection)
	o.u32(byteOrderMagic)
	o.u16(1) // version 1.0
	o.u16(0)
	o.u32(math.MaxUint32) // 64 bits of -1: the length of the section is not given
	o.u32(math.MaxUint32)
	o.options(
		option{optionComment, c.Comment}, option{optionHardware, c.Hardware},
		option{optionOS, c.OS}, option{optionApplication, c.Application},
	)
	o.end()
}

func (o *blocks) interfaceDescription(i Interface) {
	o.begin(blockInterface)
	o.u16(linkTypeRaw)
	o.u16(0)
	o.u32(0) // packets are whole, whatever their length
	o.options(
		option{optionName, i.Name}, option{optionDescription, i.Description},
		option{optionResolution, string([]byte{nanoseconds})},
	)
	o.end()
}

func (o *blocks) packet(p Packet) {
	o.begin(blockPacket)
	o.u32(uint32(p.Interface))
	t := uint64(p.Time.UnixNano())
	o.u32(uint32(t >> 32))
	o.u32(uint32(t))
	o.u32(uint32(len(p.Bytes)))
	o.u32(uint32(max(p.Length, len(p.Bytes))))
	o.padded(p.Bytes)
	o.options(option{optionComment, p.Comment})
	o.end()
}

// Little-endian throughout; the magic number tells readers.

func (o *blocks) u16(v uint16) { o.b = binary.LittleEndian.AppendUint16(o.b, v) }
func (o *blocks) u32(v uint32) { o.b = binary.LittleEndian.AppendUint32(o.b, v) }

// padded appends p and fills up to a multiple of 4 bytes.
func (o *blocks) padded(p []byte) {
	o.b = append(o.b, p...)
	o.b = append(o.b, 0, 0, 0)
	o.b = o.b[:len(o.b)&^3]
}

type option struct {
	code  uint16
	value string
}

// options appends those that have a value, and the mark of their end if there
// are any.
func (o *blocks) options(list ...option) {
	any := false
	for _, opt := range list {
		if opt.value == "" {
			continue
		}
		if len(opt.value) > maxOption {
			if o.err == nil {
				o.err = fmt.Errorf("a text of %d bytes is too long; shorten it to %d", len(opt.value), maxOption)
			}
			continue
		}
		any = true
		o.u16(opt.code)
		o.u16(uint16(len(opt.value)))
		o.padded([]byte(opt.value))
	}
	if any {
		o.u32(optionEnd)
	}
}

func (o *blocks) begin(kind uint32) {
	o.b = o.b[:0]
	o.u32(kind)
	o.u32(0) // the length, which end knows
}

func (o *blocks) end() {
	n := uint32(len(o.b) + 4)
	binary.LittleEndian.PutUint32(o.b[4:], n)
	o.u32(n)
	if o.err == nil {
		_, o.err = o.w.Write(o.b)
	}
}
