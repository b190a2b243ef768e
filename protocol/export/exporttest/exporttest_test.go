package exporttest_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"smtpscope/protocol/export"
	"smtpscope/protocol/export/exporttest"
)

// recorder stands for a test that is skipped or failed.
type recorder struct {
	*testing.T
	skipped, failed string
}

type stopped struct{}

func (r *recorder) Skipf(format string, _ ...any)  { r.skipped = format; panic(stopped{}) }
func (r *recorder) Fatalf(format string, _ ...any) { r.failed = format; panic(stopped{}) }

func TestMissingProgramSkipsLoudlyAndFailsInCI(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, ci := range []string{"", "true"} {
		t.Setenv("CI", ci)
		r := &recorder{T: t}
		assert.PanicsWithValue(t, stopped{}, func() { exporttest.TShark(r, export.Capture{}) })
		assert.Equal(t, ci == "", strings.HasPrefix(r.skipped, "NOT RUN"))
		assert.Equal(t, ci == "true", r.failed != "")
	}
}

func TestTSharkFailuresFail(t *testing.T) {
	exporttest.TShark(t, export.Capture{}) // or not run
	for name, run := range map[string]func(exporttest.TB){
		"unknown option":  func(r exporttest.TB) { exporttest.TShark(r, export.Capture{}, "--no-such-option") },
		"unknown field":   func(r exporttest.TB) { exporttest.TShark(r, export.Capture{}, "-T", "fields", "-e", "no.such.field") },
		"invalid capture": func(r exporttest.TB) { exporttest.TShark(r, export.Capture{Packets: []export.Packet{{Interface: 9}}}) },
	} {
		r := &recorder{T: t}
		assert.PanicsWithValue(t, stopped{}, func() { run(r) }, name)
		assert.NotEmpty(t, r.failed, name)
	}
}

// A packet that is broken is found.
func TestMalformed(t *testing.T) {
	packet := exporttest.UDP(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:53"), []byte("no DNS at all"))
	capture := func(p []byte) export.Capture {
		return export.Capture{Packets: []export.Packet{{Time: time.Unix(0, 0), Bytes: p}}}
	}
	assert.Len(t, exporttest.Malformed(t, capture(packet)), 1)
	good := exporttest.UDP(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:4444"), []byte("fine"))
	assert.Empty(t, exporttest.Malformed(t, capture(good)))
	for _, at := range []int{8, 27, len(good) - 1} {
		bad := append([]byte(nil), good...)
		bad[at] ^= 1
		assert.Len(t, exporttest.Malformed(t, capture(bad)), 1, at)
	}
}

func TestMarks(t *testing.T) {
	for names, want := range map[string]string{
		"":                                    "",
		"retransmission":                      "retransmission",
		"fast-retransmission window-full":     "retransmission fast_retransmission window_full",
		"zero-window spurious-retransmission": "retransmission spurious_retransmission zero_window",
		"acked-lost-segment keep-alive-ack":   "ack_lost_segment keep_alive_ack",
	} {
		assert.Equal(t, strings.Fields(want), append([]string{}, exporttest.Marks(strings.Fields(names))...), names)
	}
}
