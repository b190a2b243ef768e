package export_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/export"
	"smtpscope/protocol/export/exporttest"
)

// A session in TLS opens with the secrets in the file, through to the message,
// and not without them.
func TestTSharkDecryptsASession(t *testing.T) {
	for _, x := range []struct {
		name     string
		version  uint16
		implicit bool
	}{
		{"STARTTLS, TLS 1.3", tls.VersionTLS13, false},
		{"STARTTLS, TLS 1.2", tls.VersionTLS12, false},
		{"implicit TLS 1.3", tls.VersionTLS13, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			server := serverAddr
			if x.implicit {
				server = netip.AddrPortFrom(serverAddr.Addr(), 465)
			}
			var keys bytes.Buffer
			said := dialogue(t, x.version, x.implicit, &keys)
			c := export.Capture{Application: "smtpscope/test", Secrets: keys.Bytes(), Packets: packets(said, clientAddr, server)}
			commands := func(c export.Capture) string {
				return strings.Join(exporttest.TShark(t, c, "-Y", "smtp.req.command", "-T", "fields", "-e", "smtp.req.command", "-e", "smtp.req.parameter"), "\n")
			}
			want := "EHLO\tpage.example\nMAIL\tFROM:<ada@example.org>\nRCPT\tTO:<grace@example.net>\nDATA\t\nQUIT\t"
			clear := ""
			if !x.implicit {
				clear = "EHLO\tpage.example\nSTAR\tTLS" // for tshark, four letters are the command
				want = clear + "\n" + want
			}
			assert.Equal(t, want, commands(c))
			assert.Equal(t, []string{"The engine"}, exporttest.TShark(t, c, "-Y", "imf", "-T", "fields", "-e", "imf.subject"))
			assert.Empty(t, exporttest.Malformed(t, c))
			assert.Empty(t, exporttest.TShark(t, c, "-Y", "tcp.analysis.flags"), "the packets are those of a connection without trouble")

			c.Secrets = nil
			assert.Equal(t, clear, commands(c))
		})
	}
}

// chunk is what one side wrote at once.
type chunk struct {
	client bool
	bytes  []byte
}

// dialogue holds a session between a client and a server in memory, and returns
// what crossed, in the order in which it did.
func dialogue(t *testing.T, version uint16, implicit bool, keys io.Writer) []chunk {
	t.Helper()
	var mu sync.Mutex
	var said []chunk
	near, far := pipe(func(client bool, p []byte) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, chunk{client, bytes.Clone(p)})
	})
	watchdog := time.AfterFunc(30*time.Second, func() { near.Close(); far.Close() })
	defer watchdog.Stop()

	certificate, roots := authority(t)
	served := make(chan error, 1)
	go func() {
		served <- serve(far, &tls.Config{Certificates: []tls.Certificate{certificate}}, implicit)
		far.Close()
	}()

	config := &tls.Config{ServerName: "mx.example.net", RootCAs: roots, MinVersion: version, MaxVersion: version, KeyLogWriter: keys}
	conn := near
	if implicit {
		conn = tls.Client(conn, config)
	}
	in := bufio.NewReader(conn)
	say := func(line, code string) {
		t.Helper()
		if line != "" {
			_, err := io.WriteString(conn, line+"\r\n")
			require.NoError(t, err)
		}
		reply, err := in.ReadString('\n')
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(reply, code), reply)
	}
	say("", "220")
	say("EHLO page.example", "250")
	if !implicit {
		say("STARTTLS", "220")
		conn = tls.Client(near, config)
		in = bufio.NewReader(conn)
		say("EHLO page.example", "250")
	}
	say("MAIL FROM:<ada@example.org>", "250")
	say("RCPT TO:<grace@example.net>", "250")
	say("DATA", "354")
	say("From: Ada <ada@example.org>\r\nTo: Grace <grace@example.net>\r\nSubject: The engine\r\n\r\n"+
		strings.Repeat("It weaves algebraical patterns.\r\n", 200)+".", "250")
	say("QUIT", "221")
	require.NoError(t, conn.Close())
	require.NoError(t, <-served)
	return said
}

// serve says yes to everything.
func serve(conn net.Conn, config *tls.Config, implicit bool) error {
	if implicit {
		conn = tls.Server(conn, config)
	}
	in := bufio.NewReader(conn)
	reply := func(text string) error {
		_, err := io.WriteString(conn, text+"\r\n")
		return err
	}
	if err := reply("220 mx.example.net ESMTP"); err != nil {
		return err
	}
	for message := false; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\r\n")
		text := "250 OK"
		switch {
		case message && line != ".":
			continue
		case message:
			message = false
		case line == "DATA":
			message, text = true, "354 go ahead"
		case line == "STARTTLS":
			text = "220 go ahead"
		case line == "QUIT":
			text = "221 bye"
		}
		if err := reply(text); err != nil {
			return err
		}
		switch line {
		case "STARTTLS":
			conn = tls.Server(conn, config)
			in = bufio.NewReader(conn)
		case "QUIT":
			return conn.Close()
		}
	}
}

func authority(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.net"}, DNSNames: []string{"mx.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, roots
}

// packets are a TCP connection that carries what was said: a handshake, segments
// of 1460 bytes, an acknowledgment of each, and a FIN from either side.
func packets(said []chunk, client, server netip.AddrPort) []export.Packet {
	const size = 1460
	seq := [2]uint32{4_294_960_000, 77_000} // the client's wrap around on the way
	addr := [2]netip.AddrPort{client, server}
	at := start
	var out []export.Packet
	send := func(from int, flags byte, payload []byte, comment string) {
		s := exporttest.TCP{
			Src: addr[from], Dst: addr[1-from], Seq: seq[from], Flags: flags, Window: 65535, Payload: payload,
		}
		if flags&exporttest.ACK != 0 {
			s.Ack = seq[1-from]
		}
		seq[from] += uint32(len(payload))
		if flags&(exporttest.SYN|exporttest.FIN) != 0 {
			seq[from]++
		}
		out = append(out, export.Packet{Time: at, Bytes: s.Packet(), Comment: comment})
		at = at.Add(time.Millisecond)
	}
	send(0, exporttest.SYN, nil, "the client opens")
	send(1, exporttest.SYN|exporttest.ACK, nil, "")
	send(0, exporttest.ACK, nil, "")
	for n, c := range said {
		from := 1
		if c.client {
			from = 0
		}
		for p := c.bytes; len(p) > 0; p = p[min(size, len(p)):] {
			send(from, exporttest.ACK|exporttest.PSH, p[:min(size, len(p))], fmt.Sprintf("piece %d", n))
			send(1-from, exporttest.ACK, nil, "")
		}
	}
	send(0, exporttest.FIN|exporttest.ACK, nil, "")
	send(1, exporttest.FIN|exporttest.ACK, nil, "")
	send(0, exporttest.ACK, nil, "")
	return out
}

// pipe is a connection in memory. Writes do not wait for a reader: TLS says
// close_notify when nobody reads any more.
func pipe(tap func(client bool, p []byte)) (client, server net.Conn) {
	a, b := newHalf(), newHalf()
	return &end{in: a, out: b, tap: func(p []byte) { tap(true, p) }}, &end{in: b, out: a, tap: func(p []byte) { tap(false, p) }}
}

type half struct {
	mu     sync.Mutex
	more   *sync.Cond
	data   []byte
	closed bool
}

func newHalf() *half {
	h := &half{}
	h.more = sync.NewCond(&h.mu)
	return h
}

type end struct {
	net.Conn // nil: what is not below is not used
	in, out  *half
	tap      func([]byte)
}

func (e *end) Read(p []byte) (int, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	for len(e.in.data) == 0 && !e.in.closed {
		e.in.more.Wait()
	}
	if len(e.in.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.in.data)
	e.in.data = e.in.data[n:]
	return n, nil
}

func (e *end) Write(p []byte) (int, error) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	if e.out.closed {
		return 0, io.ErrClosedPipe
	}
	e.tap(p)
	e.out.data = append(e.out.data, p...)
	e.out.more.Broadcast()
	return len(p), nil
}

// Close lets the other side read what is on its way, and then the end.
func (e *end) Close() error {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	e.out.closed = true
	e.out.more.Broadcast()
	return nil
}

func (e *end) SetDeadline(time.Time) error      { return nil }
func (e *end) SetReadDeadline(time.Time) error  { return nil }
func (e *end) SetWriteDeadline(time.Time) error { return nil }
