package export_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/export"
	"smtpscope/protocol/export/exporttest"
)

var (
	start      = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)
	clientAddr = netip.MustParseAddrPort("192.0.2.1:49152")
	serverAddr = netip.MustParseAddrPort("192.0.2.25:25")
)

// Every byte of a file with all there is, worked out from the specification.
func TestGolden(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, export.WritePCAPNG(&out, export.Capture{
		Application: "scope",
		Interfaces:  []export.Interface{{Name: "lab", Description: "the link"}},
		Secrets:     []byte("KEYS\n"),
		Packets:     []export.Packet{{Time: time.Unix(1, 2).UTC(), Bytes: []byte{0x45, 1, 2}, Comment: "lost"}},
	}))
	want := strings.Join([]string{
		// section: type, length 44, byte order, version 1.0, length unknown, application (4) of 5 bytes, end of options, length
		"0a0d0d0a 2c000000 4d3c2b1a 01000000 ffffffffffffffff 04000500 73636f7065000000 00000000 2c000000",
		// interface: type, length 52, raw IP, no limit, name (2), description (3), resolution (9) of 10^-9 s, end, length
		"01000000 34000000 65000000 00000000 02000300 6c616200 03000800 746865206c696e6b 09000100 09000000 00000000 34000000",
		// secrets: type, length 28, TLS key log, length 5, padded, length
		"0a000000 1c000000 4b534c54 05000000 4b4559530a000000 1c000000",
		// packet: type, length 48, interface 0, time 0x3b9aca02 ns, captured 3 of 3, padded, comment (1), end, length
		"06000000 30000000 00000000 00000000 02ca9a3b 03000000 03000000 45010200 01000400 6c6f7374 00000000 30000000",
	}, "")
	assert.Equal(t, strings.ReplaceAll(want, " ", ""), hex.EncodeToString(out.Bytes()))
}

func TestEmptyCapture(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, export.WritePCAPNG(&out, export.Capture{}))
	assert.Equal(t, 28+32, out.Len(), "a section and one interface, without options but the resolution")
}

func TestErrors(t *testing.T) {
	packet := export.Packet{Time: start, Bytes: []byte{0x45}}
	with := func(edit func(*export.Packet)) export.Capture {
		p := packet
		edit(&p)
		return export.Capture{Packets: []export.Packet{packet, p}}
	}
	long := strings.Repeat("x", 1<<16)
	for want, c := range map[string]export.Capture{
		"packet 1: there is no interface 1; the capture has 1":    with(func(p *export.Packet) { p.Interface = 1 }),
		"packet 1: there is no interface -1":                      with(func(p *export.Packet) { p.Interface = -1 }),
		"packet 1: 262145 bytes; readers take at most 262144":     with(func(p *export.Packet) { p.Bytes = make([]byte, 262145) }),
		"packet 1: the year 1 does not fit":                       with(func(p *export.Packet) { p.Time = time.Time{} }),
		"packet 1: the year 2262 does not fit":                    with(func(p *export.Packet) { p.Time = start.AddDate(236, 0, 0) }),
		"packet 1: a text of 65536 bytes is too long; shorten it": with(func(p *export.Packet) { p.Comment = long }),
		"pcapng: a text of 65536 bytes is too long":               {Comment: long},
	} {
		assert.ErrorContains(t, export.WritePCAPNG(&bytes.Buffer{}, c), want)
	}
	c := with(func(p *export.Packet) {
		p.Time, p.Bytes, p.Comment = time.Unix(0, 0), make([]byte, export.MaxPacket), long[1:]
	})
	assert.NoError(t, export.WritePCAPNG(&bytes.Buffer{}, c), "the limits themselves are fine")
}

// fullDisk takes some bytes and no more.
type fullDisk int

var errFull = errors.New("no space left")

func (d *fullDisk) Write(p []byte) (int, error) {
	if *d -= fullDisk(len(p)); *d < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	for _, room := range []fullDisk{0, 5000, 100_000} {
		var packets []export.Packet
		for range 100 {
			packets = append(packets, export.Packet{Time: start, Bytes: make([]byte, 1500)})
		}
		assert.ErrorIs(t, export.WritePCAPNG(&room, export.Capture{Packets: packets}), errFull)
	}
	room := fullDisk(10)
	assert.ErrorIs(t, export.WritePCAPNG(&room, export.Capture{}), errFull)
}

// What tshark reads is what was written.
func TestTSharkReadsWhatWasWritten(t *testing.T) {
	packet := exporttest.TCP{Src: clientAddr, Dst: serverAddr, Seq: 7, Flags: exporttest.SYN, Window: 1}.Packet()
	six := exporttest.UDP(netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:2000"), []byte("odd"))
	c := export.Capture{
		Hardware: "none", OS: "any", Application: "smtpscope/0.1", Comment: "a lab run",
		Interfaces: []export.Interface{{Name: "client"}, {Name: "server", Description: "the far end"}},
		Packets: []export.Packet{
			{Time: start, Bytes: packet, Comment: "sent: \"a\", dropped"},
			{Time: start.Add(time.Nanosecond), Interface: 1, Bytes: six},
		},
	}
	lines := exporttest.TShark(t, c, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.interface_name", "-e", "frame.len", "-e", "frame.comment",
		"-e", "tcp.dstport", "-e", "udp.dstport", "-e", "frame.encap_type")
	assert.Equal(t, []string{
		"1795341600.123456789\tclient\t40\tsent: \"a\", dropped\t25\t\t7",
		"1795341600.123456790\tserver\t51\t\t\t2000\t7",
	}, lines)
	assert.Empty(t, exporttest.Malformed(t, c))
}
