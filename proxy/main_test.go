package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/tunnel"
	"smtpscope/proxy/internal/quota"
	"smtpscope/site"
)

// TestMain lets a test run this binary as the program itself, to send it signals.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_SMTPSCOPE") != "" {
		main()
	}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "SMTPSCOPE_") {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// buffer is written by the program and read by the test.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// program is a running smtpscope.
type program struct {
	url    string
	stderr *buffer
	cancel context.CancelFunc
	exit   chan int
}

var startLine = regexp.MustCompile(`^smtpscope is at (http://\S+) — press Run there; Ctrl-C here ends it\.\n$`)

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	stderr := &buffer{}
	p := startLogging(t, stderr, args...)
	p.stderr = stderr
	return p
}

// startLogging starts a program whose log goes elsewhere.
func startLogging(t *testing.T, stderr io.Writer, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{cancel: cancel, exit: make(chan int, 1)}
	r, w := io.Pipe()
	go func() {
		code := run(ctx, append([]string{"--listen", "127.0.0.1:0"}, args...), w, stderr)
		w.Close()
		p.exit <- code
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err, "standard error: %s", stderr)
	m := startLine.FindStringSubmatch(line)
	require.NotNil(t, m, "first line: %q", line)
	p.url = m[1]
	t.Cleanup(func() {
		cancel()
		select {
		case code := <-p.exit:
			assert.Equal(t, exitOK, code, "standard error: %s", stderr)
		case <-time.After(20 * time.Second):
			t.Error("the program did not end")
		}
	})
	return p
}

func (p *program) host() string { return strings.TrimPrefix(p.url, "http://") }

func (p *program) get(t *testing.T, path string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(p.url + path)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

// wire is a page's end of a tunnel, as simple as can be: blocking, no
// concurrency, control frames skipped.
type wire struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	half *tunnel.Half
	text *bufio.Reader // what arrived as DATA
}

// upgrade makes the WebSocket handshake; origin "" sends none. clients are what a proxy
// in between says.
func (p *program) upgrade(t *testing.T, origin string, clients ...string) (*wire, *http.Response) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.host(), 5*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	req, err := http.NewRequest(http.MethodGet, p.url+"/tunnel", nil)
	require.NoError(t, err)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": tunnel.Subprotocol,
	} {
		req.Header.Set(name, value)
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	if clients := strings.Join(clients, ", "); clients != "" {
		req.Header.Set("X-Forwarded-For", clients)
	}
	require.NoError(t, req.Write(conn))
	w := &wire{t: t, conn: conn, r: bufio.NewReader(conn), half: tunnel.NewPage()}
	w.text = bufio.NewReader(w)
	res, err := http.ReadResponse(w.r, req)
	require.NoError(t, err)
	return w, res
}

// open asks for a target and grants enough credit for any test.
func (p *program) open(t *testing.T, host string, port int) *wire {
	t.Helper()
	return p.openFor(t, "", host, port, "")
}

// openFor opens with a token, and as a proxy does that was asked by a client.
func (p *program) openFor(t *testing.T, client, host string, port int, token string) *wire {
	t.Helper()
	w, res := p.upgrade(t, p.url, client)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	assert.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
	message, err := w.half.AppendOpen(nil, tunnel.Open{Host: host, Port: port, Token: token})
	require.NoError(t, err)
	w.send(message)
	message, err = w.half.AppendCredit(nil, 1<<20)
	require.NoError(t, err)
	w.send(message)
	return w
}

// send writes one binary frame, masked with zeros (RFC 6455, 5.2).
func (w *wire) send(message []byte) {
	w.t.Helper()
	frame := []byte{0x82, 0x80 | 126, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(frame[2:], uint16(len(message)))
	_, err := w.conn.Write(append(frame, message...))
	require.NoError(w.t, err)
}

// next reads one frame of the tunnel; false when the WebSocket was closed.
func (w *wire) next() (tunnel.Frame, bool) {
	w.t.Helper()
	for {
		var head [2]byte
		_, err := io.ReadFull(w.r, head[:])
		require.NoError(w.t, err)
		size := uint64(head[1] & 0x7f)
		switch size {
		case 126:
			var b [2]byte
			_, err = io.ReadFull(w.r, b[:])
			size = uint64(binary.BigEndian.Uint16(b[:]))
		case 127:
			var b [8]byte
			_, err = io.ReadFull(w.r, b[:])
			size = binary.BigEndian.Uint64(b[:])
		}
		require.NoError(w.t, err)
		payload := make([]byte, size)
		_, err = io.ReadFull(w.r, payload)
		require.NoError(w.t, err)
		switch head[0] & 0x0f {
		case 2:
			frame, err := w.half.Receive(payload)
			require.NoError(w.t, err)
			return frame, true
		case 8:
			return tunnel.Frame{}, false
		}
	}
}

// until reads frames until one of this type comes.
func (w *wire) until(want tunnel.Type) tunnel.Frame {
	w.t.Helper()
	for {
		frame, ok := w.next()
		require.True(w.t, ok, "the WebSocket was closed before %s came", want)
		if frame.Type == want {
			return frame
		}
	}
}

// Read gives the bytes of the DATA frames.
func (w *wire) Read(p []byte) (int, error) {
	frame := w.until(tunnel.TypeData)
	require.LessOrEqual(w.t, len(frame.Data), len(p))
	return copy(p, frame.Data), nil
}

// do sends text, unless it is empty, and returns the last line of the reply.
func (w *wire) do(text string) string {
	w.t.Helper()
	if text != "" {
		message := append(make([]byte, 1), text...)
		require.NoError(w.t, w.half.FrameData(message))
		w.send(message)
	}
	for {
		line, err := w.text.ReadString('\n')
		require.NoError(w.t, err)
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimSpace(line)
		}
	}
}

const letter = "From: ada@example.org\r\nTo: bob@example.net\r\nSubject: secret-subject\r\n\r\nsecret-body\r\n"

func TestFirstMessage(t *testing.T) {
	p := startProgram(t)
	w := p.open(t, "mail.practice.test", 25)
	dialing, opened := w.until(tunnel.TypeStatus), w.until(tunnel.TypeStatus)
	assert.Equal(t, tunnel.StageDialing, dialing.Status.Stage)
	require.Equal(t, tunnel.StageOpened, opened.Status.Stage)
	assert.Regexp(t, `^127\.0\.0\.1:\d+$`, opened.Status.Address)
	assert.NotZero(t, opened.Status.Connect)
	w.until(tunnel.TypeCredit)

	assert.Equal(t, "220 mail.practice.test ESMTP Service Ready", w.do(""))
	assert.Contains(t, w.do("EHLO page.example\r\n"), "250 ")
	assert.Contains(t, w.do("MAIL FROM:<secret-sender@example.org>\r\n"), "250 ")
	assert.Contains(t, w.do("RCPT TO:<secret-recipient@example.net>\r\n"), "250 ")
	assert.Contains(t, w.do("DATA\r\n"), "354 ")
	id, ok := strings.CutPrefix(w.do(letter+".\r\n"), "250 2.0.0 OK: queued as ")
	require.True(t, ok)
	assert.Equal(t, "221 2.0.0 Bye", w.do("QUIT\r\n"))
	w.until(tunnel.TypeEOF)

	status, stored := p.get(t, "/api/v1/practice/messages/"+id)
	require.Equal(t, http.StatusOK, status)
	assert.True(t, strings.HasPrefix(stored, "Return-Path: <secret-sender@example.org>\r\nReceived: from page.example"), stored)
	assert.True(t, strings.HasSuffix(stored, "\r\n"+letter), stored)

	require.Contains(t, p.stderr.String(), "tunnel opened")
	for _, payload := range []string{"secret", "page.example", id, "engine"} {
		assert.NotContains(t, p.stderr.String(), payload, "logs carry no payload")
	}
}

// Of a name with an address that refuses, the next one is dialed, and the page is told both.
func TestNextAddress(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	args := []string{"--resolver", serveDNS(t), "--max-per-target", "1"}
	for _, host := range []string{"two.example.net", "127.0.0.1", "127.0.0.2"} {
		args = append(args, "--allow", fmt.Sprintf("%s:%d", host, port))
	}
	p := startProgram(t, append(args, "--drain", "10ms")...)
	w := p.open(t, "two.example.net", port)
	var told []string
	for {
		s := w.until(tunnel.TypeStatus).Status
		told = append(told, strings.TrimSpace(fmt.Sprint(s.Stage, " ", s.Address, " ", s.Problem)))
		if s.Stage == tunnel.StageFailed || s.Stage == tunnel.StageOpened {
			assert.Positive(t, s.Connect)
		}
		if s.Stage == tunnel.StageOpened {
			break
		}
	}
	no, yes := fmt.Sprintf("127.0.0.2:%d", port), fmt.Sprintf("127.0.0.1:%d", port)
	assert.Equal(t, []string{"resolving", "addresses", "dialing " + no, "failed " + no + " connection refused", "dialing " + yes, "opened " + yes}, told)

	// The place at the target is at the address that was connected, and nowhere else.
	e := p.open(t, "127.0.0.1", port).until(tunnel.TypeError).Error
	assert.Equal(t, quota.RuleTargetOpen, e.Rule, e.Message)
	e = p.open(t, "127.0.0.2", port).until(tunnel.TypeError).Error
	assert.Equal(t, tunnel.CodeRefused, e.Code, e.Message)
}

func TestAllPracticePorts(t *testing.T) {
	p := startProgram(t)
	for _, port := range []int{25, 587} {
		w := p.open(t, "mail.practice.test", port)
		assert.Equal(t, "220 mail.practice.test ESMTP Service Ready", w.do(""), port)
	}
	w := p.open(t, "mail.practice.test", 465)
	assert.Equal(t, tunnel.StageDialing, w.until(tunnel.TypeStatus).Status.Stage)
	assert.Equal(t, tunnel.StageOpened, w.until(tunnel.TypeStatus).Status.Stage)
}

func TestDeniedTargets(t *testing.T) {
	p := startProgram(t)
	for host, rule := range map[string]string{
		"127.0.0.1": "practice-only", "mx.example.net": "practice-only", "169.254.169.254": "practice-only", "::ffff:127.0.0.1": "practice-only",
	} {
		w := p.open(t, host, 25)
		e := w.until(tunnel.TypeError).Error
		assert.Equal(t, tunnel.CodeDenied, e.Code, host)
		assert.Equal(t, rule, e.Rule, host)
		assert.Contains(t, e.Message, "--allow")
		_, open := w.next()
		assert.False(t, open, "the Close frame follows the ERROR")
	}

	off := startProgram(t, "--practice=false")
	e := off.open(t, "mail.practice.test", 25).until(tunnel.TypeError).Error
	assert.Equal(t, "practice-off", e.Rule)
	_, config := off.get(t, "/api/v1/config")
	measures, err := json.Marshal(instrument(false))
	require.NoError(t, err)
	assert.JSONEq(t, `{"version":"0.1.0","practice":null,"live":{"public":false,"allow":[]},"instrument":`+string(measures)+`,"lookup":false}`, config)
	status, _ := off.get(t, "/api/v1/practice/messages/abcdefghijklmnopqrstuvwxyz")
	assert.Equal(t, http.StatusNotFound, status)
}

// greeter is a mail server on a port of loopback that greets and leaves.
func greeter(t *testing.T) (port int) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 mx.example.net\r\n")
			_ = c.Close()
		}
	}()
	return ln.Addr().(*net.TCPAddr).Port
}

func TestAllowedTarget(t *testing.T) {
	port := greeter(t)
	p := startProgram(t, "--allow", fmt.Sprintf("localhost:%d,25", port), "--allow", fmt.Sprintf("127.0.0.1:%d", port))
	for _, host := range []string{"127.0.0.1", "localhost"} {
		w := p.open(t, host, port)
		assert.Equal(t, "220 mx.example.net", w.do(""), host)
		w.until(tunnel.TypeEOF)
	}
	_, config := p.get(t, "/api/v1/config")
	var offer struct {
		Live struct{ Allow []string }
	}
	require.NoError(t, json.Unmarshal([]byte(config), &offer))
	assert.Equal(t, []string{fmt.Sprintf("localhost:25,%d", port), fmt.Sprintf("127.0.0.1:%d", port)}, offer.Live.Allow)
}

func TestOrigins(t *testing.T) {
	p := startProgram(t, "--origin", "https://docs.example")
	for origin, want := range map[string]int{
		p.url:                        http.StatusSwitchingProtocols,
		"https://docs.example":       http.StatusSwitchingProtocols,
		"":                           http.StatusForbidden,
		"null":                       http.StatusForbidden,
		"https://evil.example":       http.StatusForbidden,
		"http://127.0.0.1.evil.test": http.StatusForbidden,
	} {
		_, res := p.upgrade(t, origin)
		assert.Equal(t, want, res.StatusCode, "origin %q", origin)
		assert.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
	}
}

func TestRoutes(t *testing.T) {
	p := startProgram(t)
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		status, body := p.get(t, path)
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, want, body)
	}
	status, body := p.get(t, "/")
	if _, err := fs.Stat(site.Dist, "index.html"); err == nil {
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, "<smtp-scope")
	} else {
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Equal(t, "The page is not built. Run `make build`.\n", body)
	}
	_, config := p.get(t, "/api/v1/config")
	var offer struct {
		Version  string
		Practice struct{ Host, Username, Password, CA string }
	}
	require.NoError(t, json.Unmarshal([]byte(config), &offer))
	assert.Equal(t, "0.1.0", offer.Version)
	assert.Equal(t, "mail.practice.test", offer.Practice.Host)
	assert.Contains(t, offer.Practice.CA, "BEGIN CERTIFICATE")
}

func TestMaxTunnels(t *testing.T) {
	p := startProgram(t, "--max-tunnels", "1", "--drain", "10ms")
	first := p.open(t, "mail.practice.test", 25)
	first.do("")
	e := p.open(t, "mail.practice.test", 25).until(tunnel.TypeError).Error
	assert.Equal(t, tunnel.CodeTooMany, e.Code)
}

func TestIdleAndSession(t *testing.T) {
	for _, flag := range []string{"--idle", "--session"} {
		p := startProgram(t, flag, "50ms")
		w := p.open(t, "mail.practice.test", 25)
		e := w.until(tunnel.TypeError).Error
		assert.Equal(t, tunnel.CodeTimeout, e.Code, flag)
	}
}

func TestDrain(t *testing.T) {
	p := startProgram(t, "--drain", "3s")
	staying, leaving := p.open(t, "mail.practice.test", 25), p.open(t, "mail.practice.test", 25)
	staying.do("")
	leaving.do("")
	p.cancel()
	require.Eventually(t, func() bool {
		status, body := p.get(t, "/readyz")
		return status == http.StatusServiceUnavailable && body == "draining\n"
	}, 2500*time.Millisecond, time.Millisecond, "it must tell that it is draining")
	_, res := p.upgrade(t, p.url)
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode, "no new tunnels")

	assert.Equal(t, "221 2.0.0 Bye", leaving.do("QUIT\r\n"), "open ones go on")
	leaving.until(tunnel.TypeEOF)
	e := staying.until(tunnel.TypeError).Error
	assert.Equal(t, tunnel.CodeShutdown, e.Code)
	_, open := staying.next()
	assert.False(t, open)
}

func TestDrainWithoutTunnelsTakesNoTime(t *testing.T) {
	p := startProgram(t, "--drain", "1h")
	p.cancel()
	select {
	case code := <-p.exit:
		assert.Equal(t, exitOK, code)
		p.exit <- code
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for nobody")
	}
}

func runOnce(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out, errs buffer
	code = run(ctx, args, &out, &errs)
	require.NoError(t, ctx.Err(), "the program should have ended by itself")
	return code, out.String(), errs.String()
}

func TestPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	code, stdout, stderr := runOnce(t, "--listen", ln.Addr().String())
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, stdout)
	assert.Equal(t, "smtpscope: "+ln.Addr().String()+" is in use: another program, perhaps another smtpscope, listens there; end it, or choose another port with --listen\n", stderr)

	code, _, stderr = runOnce(t, "--listen", "192.0.2.1:8025")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "is not an address of this machine")
}

func TestHelpAndVersion(t *testing.T) {
	code, stdout, stderr := runOnce(t, "--version")
	assert.Equal(t, exitOK, code)
	assert.Equal(t, "smtpscope 0.1.0\n", stdout)
	assert.Empty(t, stderr)

	for _, arg := range []string{"--help", "-h"} {
		code, stdout, stderr = runOnce(t, arg)
		assert.Equal(t, exitOK, code)
		assert.Empty(t, stderr)
		for _, flag := range []string{"--listen", "--allow", "--public", "--origin", "--practice", "--max-tunnels", "--idle", "--session", "--drain", "--rate", "--max-per-ip", "--target-rate", "--max-per-target", "--session-bytes", "--hour-bytes", "--token-key", "--trusted-proxy", "--version"} {
			assert.Contains(t, stdout, "  "+flag)
		}
		for line := range strings.Lines(stdout) {
			assert.LessOrEqual(t, len(line), 101, "fits a terminal: %s", line)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"--bogus"}, "-bogus"},
		{[]string{"mx.example.net:25"}, `"mx.example.net:25" is not a flag; what may be dialed is given with --allow`},
		{[]string{"--allow", "mx.example.net"}, "name the ports as well"},
		{[]string{"--allow", ""}, "it is empty"},
		{[]string{"--allow", "*:25"}, "--public"},
		{[]string{"--origin", "docs.example"}, "write scheme and host"},
		{[]string{"--listen", "8025"}, "--listen \"8025\": write address and port"},
		{[]string{"--max-tunnels", "0"}, "at least 1"},
		{[]string{"--max-tunnels", "many"}, "max-tunnels"},
		{[]string{"--idle", "0s"}, "--idle 0s: write a duration above zero"},
		{[]string{"--session", "-1m"}, "--session -1m0s"},
		{[]string{"--drain", "10"}, "drain"},
		{[]string{"--public=perhaps"}, "public"},
	}
	for _, tt := range tests {
		code, stdout, stderr := runOnce(t, tt.args...)
		assert.Equal(t, exitUsage, code, tt.args)
		assert.Empty(t, stdout)
		assert.Contains(t, stderr, tt.says, tt.args)
		assert.True(t, strings.HasSuffix(stderr, "Try smtpscope --help.\n"), stderr)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SMTPSCOPE_LISTEN", "[::1]:9000")
	t.Setenv("SMTPSCOPE_ALLOW", " mx.example.net:25,587  *.example.org:25 ")
	t.Setenv("SMTPSCOPE_ORIGIN", "https://a.example https://b.example")
	t.Setenv("SMTPSCOPE_PUBLIC", "true")
	t.Setenv("SMTPSCOPE_PRACTICE", "false")
	t.Setenv("SMTPSCOPE_MAX_TUNNELS", "7")
	t.Setenv("SMTPSCOPE_IDLE", "1m")
	t.Setenv("SMTPSCOPE_SESSION", "2m")
	t.Setenv("SMTPSCOPE_DRAIN", "")
	t.Setenv("SMTPSCOPE_VERSION", "1.2.3")
	o, err := parse(nil)
	require.NoError(t, err)
	assert.Equal(t, "[::1]:9000", o.listen)
	assert.Equal(t, "mx.example.net:25,587 *.example.org:25", o.allow.String())
	assert.Equal(t, "https://a.example https://b.example", o.origins.String())
	assert.True(t, o.public)
	assert.False(t, o.practice)
	assert.Equal(t, 7, o.maxTunnels)
	assert.Equal(t, time.Minute, o.idle)
	assert.Equal(t, 2*time.Minute, o.session)
	assert.Equal(t, 10*time.Second, o.drain)
	assert.False(t, o.version)

	o, err = parse([]string{"--listen", "127.0.0.1:1", "--allow", "mx.example.com:25", "--allow", "mx.example.com:587", "--public=false", "--practice"})
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:1", o.listen)
	assert.Equal(t, "mx.example.com:25 mx.example.com:587", o.allow.String(), "flags replace the environment")
	assert.False(t, o.public)
	assert.True(t, o.practice)
	assert.Equal(t, 7, o.maxTunnels)

	t.Setenv("SMTPSCOPE_ALLOW", "mx.example.net:25;x:1")
	_, err = parse(nil)
	require.ErrorContains(t, err, "SMTPSCOPE_ALLOW")
}

func TestPageURL(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:8025": "http://127.0.0.1:8025", "0.0.0.0:8025": "http://127.0.0.1:8025", "[::]:8025": "http://127.0.0.1:8025",
		"[::1]:8025": "http://[::1]:8025", "192.168.1.5:80": "http://192.168.1.5:80",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		require.NoError(t, err)
		assert.Equal(t, want, pageURL(tcp))
	}
}

// child runs this test binary as the program, with an open tunnel that keeps it draining.
func child(t *testing.T, args ...string) (*exec.Cmd, *program) {
	t.Helper()
	return childWith(t, nil, args...)
}

// childWith says what else the system is to do for it.
func childWith(t *testing.T, attributes *syscall.SysProcAttr, args ...string) (*exec.Cmd, *program) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "RUN_AS_SMTPSCOPE=1", "GOCOVERDIR="+t.TempDir())
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	p := &program{stderr: &buffer{}}
	cmd.Stderr = p.stderr
	cmd.SysProcAttr = attributes
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "standard error: %s", p.stderr)
	m := startLine.FindStringSubmatch(line)
	require.NotNil(t, m, line)
	p.url = m[1]
	return cmd, p
}

func TestSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd, p := child(t)
		status, _ := p.get(t, "/healthz")
		assert.Equal(t, http.StatusOK, status)
		require.NoError(t, cmd.Process.Signal(signal))
		assert.NoError(t, cmd.Wait(), "%s: exit code 0 is expected; standard error: %s", signal, p.stderr)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	cmd, p := child(t, "--drain", "1h")
	p.open(t, "mail.practice.test", 25).do("")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "stopping") }, 10*time.Second, time.Millisecond)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// Again and again: the first of them may still meet the handler that the
	// program is about to take away.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case err := <-ended:
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			assert.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
			return
		}
	}
}
