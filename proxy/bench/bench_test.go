//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/relay"
)

// inProcess serves smtpscope's relay for the load generator.
func inProcess(t *testing.T) (*target, string) {
	behind, err := newTarget()
	require.NoError(t, err)
	t.Cleanup(behind.close)
	r := relay.New(relay.Config{Dial: func(ctx context.Context, open tunnel.Open, _ func(tunnel.Status)) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(open.Host, fmt.Sprint(open.Port)))
	}})
	mux := http.NewServeMux()
	mux.Handle("/tunnel", r)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, r.Shutdown(ctx))
		server.Close()
	})
	return behind, strings.TrimPrefix(server.URL, "http://")
}

func TestLinks(t *testing.T) {
	behind, listen := inProcess(t)
	b := &bench{target: behind}
	for _, r := range []*contender{{name: "direct"}, smtpscopeOf("smtpscope", "")} {
		open := func(t *testing.T, credit uint32) *link {
			l, err := dial(r, listen, behind.address(), 4<<10, credit, true)
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
		t.Run(r.name, func(t *testing.T) {
			const n = 3<<20 + 5
			t.Run("echo", func(t *testing.T) {
				l := open(t, 1000)
				require.NoError(t, l.ask("echo"))
				_, err := io.WriteString(l, "NOOP\r\n")
				require.NoError(t, err)
				got := make([]byte, 6)
				_, err = io.ReadFull(l, got)
				require.NoError(t, err)
				assert.Equal(t, "NOOP\r\n", string(got))
			})
			t.Run("down", func(t *testing.T) {
				l := open(t, 2<<20)
				require.NoError(t, l.ask("down %d", n))
				require.NoError(t, drain(l, n))
				require.NoError(t, l.CloseWrite())
				more, err := io.ReadAll(l)
				require.NoError(t, err)
				assert.Empty(t, more)
			})
			t.Run("up", func(t *testing.T) {
				l := open(t, 1000)
				require.NoError(t, l.ask("up %d", n))
				b := make([]byte, chunk)
				for left := n; left > 0; left -= min(left, chunk) {
					_, err := l.Write(b[:min(left, chunk)])
					require.NoError(t, err)
				}
				done := make([]byte, 5)
				_, err := io.ReadFull(l, done)
				require.NoError(t, err)
				assert.Equal(t, "done\n", string(done))
			})
			t.Run("endings", func(t *testing.T) {
				assert.True(t, b.hears(r, listen))
				assert.True(t, b.pageEndsFirst(r, listen))
				assert.True(t, b.targetEndsFirst(r, listen))
			})
		})
	}
}

func TestARefusalHasWords(t *testing.T) {
	_, listen := inProcess(t)
	l, err := dial(smtpscopeOf("smtpscope", ""), listen, closedPort(), 4<<10, 1000, false)
	require.NoError(t, err)
	defer l.Close()
	_, err = l.Read(make([]byte, 1))
	assert.EqualError(t, err, "ERROR refused")
}

// A server's frames, of each framing.
func TestReading(t *testing.T) {
	frame := func(s string) string { return "\x82" + string(rune(len(s))) + s }
	for _, tt := range []struct {
		name    string
		framing framing
		wire    string
		payload string
		err     string
	}{
		{"plain", plain, frame("220 ") + "\x89\x01p" + frame("ready") + "\x88\x02\x03\xe8", "220 ready", "close 1000"},
		{"plain, no code", plain, frame("x") + "\x88\x00", "x", "close 1005"},
		{"plain, long", plain, "\x82\x7e\x01\x2c" + strings.Repeat("y", 300), strings.Repeat("y", 300), "EOF"},
		{"cut off in a header", plain, frame("x") + "\x82", "x", "unexpected EOF"},
		{"text", plain, "\x81\x01x", "", "the relay sent a frame with opcode 1"},
		{"Wisp", wisp, frame("\x03\x01\x00\x00\x00\x80\x00\x00\x00") + frame("\x02\x01\x00\x00\x00220 ready") + frame("\x04\x01\x00\x00\x00\x44"), "220 ready", "CLOSE 0x44"},
		{"Wisp, short", wisp, frame("\x02"), "", "a Wisp packet of 1 bytes"},
		{"Wisp, unknown", wisp, frame("\x09\x01\x00\x00\x00"), "", "a Wisp packet of type 9 with 0 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &link{in: bufio.NewReader(strings.NewReader(tt.wire)), framing: tt.framing}
			var got bytes.Buffer
			_, err := io.Copy(struct{ io.Writer }{&got}, struct{ io.Reader }{l})
			if err == nil {
				err = io.EOF
			}
			assert.Equal(t, tt.payload, got.String())
			assert.EqualError(t, err, tt.err)
		})
	}
}

func TestFrameHeaders(t *testing.T) {
	for n, want := range map[int]string{
		0: "\x82\x80", 125: "\x82\xfd", 126: "\x82\xfe\x00\x7e", 65535: "\x82\xfe\xff\xff", 65536: "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00",
	} {
		assert.Equal(t, want+"\x00\x00\x00\x00", string(appendFrameHeader(nil, opBinary, n)), "%d bytes", n)
	}
}

func TestQuantile(t *testing.T) {
	all := []time.Duration{5, 1, 4, 2, 3}
	assert.Equal(t, time.Duration(3), quantile(all, 0.5))
	assert.Equal(t, time.Duration(5), quantile(all, 0.99))
	assert.Zero(t, quantile([]float64{}, 0.5))
}

func TestReportNamesWhatIsMissing(t *testing.T) {
	b := &bench{relays: []*contender{{name: "direct"}, {name: "gone", missing: "no such file"}, smtpscopeOf("smtpscope", "x")}}
	b.add("down, MB/s", map[string]string{"direct": "1000", "smtpscope": "900"})
	b.add("up, MB/s", map[string]string{"direct": "1000"})
	b.add("idle", map[string]string{"smtpscope": "1"})
	var out strings.Builder
	require.NoError(t, b.report(&out))
	assert.Contains(t, out.String(), "| | direct | gone | smtpscope |\n|---|---|---|---|\n| down, MB/s | 1000 | missing | 900 |\n| up, MB/s | 1000 | missing | failed |\n| idle | - | missing | 1 |\n")
}
