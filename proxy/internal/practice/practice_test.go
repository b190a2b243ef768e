package practice

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startTest runs a server; change makes its limits smaller.
func startTest(t *testing.T, change func(*limits)) *Server {
	t.Helper()
	lim := defaults
	lim.wait, lim.write = 10*time.Second, 10*time.Second
	if change != nil {
		change(&lim)
	}
	s, err := start(Config{}, lim)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func clientTLS(t *testing.T, s *Server) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(s.Info().CA)))
	return &tls.Config{ServerName: Host, RootCAs: roots}
}

// talk is a client that does as it is told.
type talk struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dial connects and reads the greeting.
func dial(t *testing.T, s *Server, port int) *talk {
	t.Helper()
	address, ok := s.Listeners()[port]
	require.True(t, ok, "no listener for port %d", port)
	conn, err := net.DialTimeout("tcp", address.String(), 5*time.Second)
	require.NoError(t, err)
	if port == PortSubmissions {
		conn = tls.Client(conn, clientTLS(t, s))
	}
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	t.Cleanup(func() { conn.Close() })
	c := &talk{t, conn, bufio.NewReader(conn)}
	require.Equal(t, []string{"220 mail.practice.test ESMTP Service Ready"}, c.reply())
	return c
}

func (c *talk) write(text string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, text)
	require.NoError(c.t, err)
}

// reply reads one reply, all lines of it.
func (c *talk) reply() []string {
	c.t.Helper()
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		require.NoError(c.t, err, "after %q", lines)
		line = strings.TrimSuffix(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return lines
		}
	}
}

// do sends a command and returns the last line of the reply.
func (c *talk) do(command string) string {
	c.t.Helper()
	c.write(command + "\r\n")
	lines := c.reply()
	return lines[len(lines)-1]
}

func (c *talk) ehlo() []string {
	c.t.Helper()
	c.write("EHLO page.example\r\n")
	lines := c.reply()
	var keywords []string
	for _, line := range lines[1:] {
		keywords = append(keywords, line[4:])
	}
	return keywords
}

func (c *talk) startTLS(s *Server) {
	c.t.Helper()
	require.Equal(c.t, "220 2.0.0 Ready to start TLS", c.do("STARTTLS"))
	conn := tls.Client(c.conn, clientTLS(c.t, s))
	require.NoError(c.t, conn.Handshake())
	c.conn, c.r = conn, bufio.NewReader(conn)
}

func (c *talk) login() {
	c.t.Helper()
	initial := base64.StdEncoding.EncodeToString([]byte("\x00ada\x00engine"))
	require.Equal(c.t, "235 2.0.0 Authentication succeeded", c.do("AUTH PLAIN "+initial))
}

var queued = regexp.MustCompile(`^250 2\.0\.0 OK: queued as ([a-z2-7]{26})$`)

func queueID(t *testing.T, reply string) string {
	t.Helper()
	m := queued.FindStringSubmatch(reply)
	require.NotNil(t, m, "reply %q names no queue id", reply)
	return m[1]
}

func expectPrefix(t *testing.T, reply, prefix string) {
	t.Helper()
	require.True(t, strings.HasPrefix(reply, prefix), "reply %q, want %q", reply, prefix)
}

// original splits the trace fields off the stored message.
func original(t *testing.T, stored []byte) (trace, message string) {
	t.Helper()
	text := string(stored)
	require.True(t, strings.HasPrefix(text, "Return-Path: <"), text[:min(len(text), 200)])
	end := strings.Index(text, "\r\nReceived: ")
	require.Positive(t, end)
	for {
		end += 2 + strings.Index(text[end+2:], "\r\n")
		if c := text[end+2]; c != ' ' && c != '\t' {
			return text[:end+2], text[end+2:]
		}
	}
}

const letter = "From: ada@example.org\r\nTo: bob@example.net\r\nSubject: engine\r\n\r\nHello.\r\n"

func TestWhatEachPortOffers(t *testing.T) {
	s := startTest(t, nil)
	always := []string{"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "SMTPUTF8", "BINARYMIME", "SIZE 31457280", "LIMITS RCPTMAX=100", "DSN", "RRVS",
		"DELIVERBY", "MT-PRIORITY", "ETRN", "EXPN", "HELP", "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT", "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"}
	const auth = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN"
	with := func(more ...string) []string { return append(slices.Clone(always), more...) }

	c := dial(t, s, PortSMTP)
	assert.ElementsMatch(t, with("STARTTLS"), c.ehlo())
	c.startTLS(s)
	assert.ElementsMatch(t, with("REQUIRETLS"), c.ehlo())

	c = dial(t, s, PortSubmission)
	assert.ElementsMatch(t, with("STARTTLS"), c.ehlo(), "AUTH must not be offered without TLS")
	c.startTLS(s)
	assert.ElementsMatch(t, with(auth, "REQUIRETLS"), c.ehlo())

	c = dial(t, s, PortSubmissions)
	assert.ElementsMatch(t, with(auth, "REQUIRETLS"), c.ehlo())
	assert.Equal(t, "221 2.0.0 Bye", c.do("QUIT"))
}

func TestLoopbackOnly(t *testing.T) {
	s := startTest(t, nil)
	require.Len(t, s.Listeners(), 4)
	for port, address := range s.Listeners() {
		assert.True(t, address.Addr().IsLoopback(), "port %d listens on %s", port, address)
	}
}

func TestMessageIsKeptByteForByte(t *testing.T) {
	s := startTest(t, nil)
	tests := []struct{ name, wire, want string }{
		{"plain", letter + ".\r\n", letter},
		{"stuffed dots", "Subject: dots\r\n\r\n..\r\n...two\r\nx.\r\n.\r\n", "Subject: dots\r\n\r\n.\r\n..two\r\nx.\r\n"},
		{"empty", ".\r\n", ""},
		{"8bit and NUL", "\r\n\xff\x00\xe9\r\n.\r\n", "\r\n\xff\x00\xe9\r\n"},
		{"bare line feeds are no line ends", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n"},
		{"line of 10000", strings.Repeat("x", 10000) + "\r\n.\r\n", strings.Repeat("x", 10000) + "\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, s, PortSMTP)
			c.ehlo()
			expectPrefix(t, c.do("MAIL FROM:<ada@example.org>"), "250 2.0.0")
			expectPrefix(t, c.do("RCPT TO:<bob@example.net>"), "250 2.0.0")
			expectPrefix(t, c.do("DATA"), "354 ")
			c.write(tt.wire)
			id := queueID(t, c.reply()[0])
			stored, err := s.Message(id)
			require.NoError(t, err)
			_, got := original(t, append(stored, "\r\n"...))
			assert.Equal(t, tt.want+"\r\n", got)
		})
	}
}

func TestTraceFields(t *testing.T) {
	s := startTest(t, nil)
	tests := []struct {
		name         string
		port         int
		startTLS     bool
		mail         string
		rcpt         []string
		returnPath   string
		with         string
		forPath      string
		tlsMentioned bool
	}{
		{"clear", PortSMTP, false, "MAIL FROM:<ada@example.org>", []string{"bob@example.net"}, "ada@example.org", "ESMTP", "bob@example.net", false},
		{"starttls", PortSMTP, true, "MAIL FROM:<ada@example.org>", []string{"bob@example.net"}, "ada@example.org", "ESMTPS", "bob@example.net", true},
		{"submission", PortSubmission, true, "MAIL FROM:<>", []string{"bob@example.net"}, "", "ESMTPSA", "bob@example.net", true},
		{"submissions, two recipients", PortSubmissions, false, "MAIL FROM:<ada@example.org>", []string{"bob@example.net", "eve@example.net"}, "ada@example.org", "ESMTPSA", "", true},
		{"utf8", PortSubmissions, false, "MAIL FROM:<zoë@example.org> SMTPUTF8", []string{"bob@example.net"}, "zoë@example.org", "UTF8SMTPSA", "bob@example.net", true},
		{"quoted", PortSMTP, false, `MAIL FROM:<"a \"b\" c"@example.org>`, []string{`"x y"@example.net`}, `"a \"b\" c"@example.org`, "ESMTP", `"x y"@example.net`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, s, tt.port)
			c.ehlo()
			if tt.startTLS {
				c.startTLS(s)
				c.ehlo()
			}
			if tt.port != PortSMTP {
				c.login()
			}
			expectPrefix(t, c.do(tt.mail), "250 ")
			for _, rcpt := range tt.rcpt {
				expectPrefix(t, c.do("RCPT TO:<"+rcpt+">"), "250 ")
			}
			expectPrefix(t, c.do("DATA"), "354 ")
			c.write(letter + ".\r\n")
			id := queueID(t, c.reply()[0])
			stored, err := s.Message(id)
			require.NoError(t, err)

			fields, message := original(t, stored)
			assert.Equal(t, letter, message)
			assert.True(t, strings.HasPrefix(fields, "Return-Path: <"+tt.returnPath+">\r\n"), fields)
			assert.NotContains(t, strings.ReplaceAll(fields, "\r\n", ""), "\n")
			parsed, err := mail.ReadMessage(bytes.NewReader(stored))
			require.NoError(t, err)
			received := parsed.Header.Get("Received")
			assert.True(t, strings.HasPrefix(received, "from page.example ([127.0.0.1]) by mail.practice.test with "+tt.with+" id "+id), received)
			if tt.forPath == "" {
				assert.NotContains(t, received, " for ")
			} else {
				assert.Contains(t, received, " for <"+tt.forPath+">")
			}
			assert.Equal(t, tt.tlsMentioned, strings.Contains(received, " tls TLS_"), received)
			_, date, ok := strings.Cut(received, "; ")
			require.True(t, ok, received)
			when, err := time.Parse(time.RFC1123Z, date)
			require.NoError(t, err)
			assert.WithinDuration(t, time.Now(), when, time.Minute)
		})
	}
}

func TestTraceNameCannotForgeAHeader(t *testing.T) {
	s := startTest(t, nil)
	for _, name := range []string{"a\rSubject:x", "a(b", "é.example", strings.Repeat("a", 300), "a;b"} {
		c := dial(t, s, PortSMTP)
		expectPrefix(t, c.do("EHLO "+name), "250 ")
		c.do("MAIL FROM:<a@example.org>")
		c.do("RCPT TO:<b@example.org>")
		c.do("DATA")
		c.write(letter + ".\r\n")
		stored, err := s.Message(queueID(t, c.reply()[0]))
		require.NoError(t, err)
		assert.Contains(t, string(stored), "Received: from [127.0.0.1] ([127.0.0.1])\r\n", "name %q", name)
	}
}

func TestAuth(t *testing.T) {
	s := startTest(t, nil)
	b64 := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	type step struct{ send, want string }
	tests := []struct {
		name  string
		steps []step
	}{
		{"plain", []step{{"AUTH PLAIN " + b64("\x00ada\x00engine"), "235 "}}},
		{"plain, own identity", []step{{"AUTH plain " + b64("ada\x00ada\x00engine"), "235 "}}},
		{"plain, no initial response", []step{{"AUTH PLAIN", "334 "}, {b64("\x00ada\x00engine"), "235 "}}},
		{"plain, someone else", []step{{"AUTH PLAIN " + b64("bob\x00ada\x00engine"), "535 5.7.8 "}}},
		{"plain, wrong password", []step{{"AUTH PLAIN " + b64("\x00ada\x00engines"), "535 5.7.8 "}}},
		{"plain, wrong user", []step{{"AUTH PLAIN " + b64("\x00Ada\x00engine"), "535 5.7.8 "}}},
		{"plain, malformed", []step{{"AUTH PLAIN " + b64("ada"), "501 5.5.2 "}}},
		{"plain, empty initial response", []step{{"AUTH PLAIN =", "501 5.5.2 "}}},
		{"plain, cancelled", []step{{"AUTH PLAIN", "334 "}, {"*", "501 "}, {"NOOP", "250 "}}},
		{"login", []step{{"AUTH LOGIN", "334 " + b64("Username:")}, {b64("ada"), "334 " + b64("Password:")}, {b64("engine"), "235 "}}},
		{"login, initial response", []step{{"AUTH LOGIN " + b64("ada"), "334 " + b64("Password:")}, {b64("engine"), "235 "}}},
		{"login, wrong password", []step{{"AUTH LOGIN " + b64("ada"), "334 "}, {b64("x"), "535 5.7.8 "}, {"MAIL FROM:<a@example.org>", "530 5.7.0 "}}},
		{"login, empty", []step{{"AUTH LOGIN", "334 "}, {"", "334 "}, {"", "535 5.7.8 "}}},
		{"twice", []step{{"AUTH PLAIN " + b64("\x00ada\x00engine"), "235 "}, {"AUTH PLAIN " + b64("\x00ada\x00engine"), "503 "}}},
		{"unknown", []step{{"AUTH CRAM-MD5", "504 5.5.4 "}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, s, PortSubmissions)
			c.ehlo()
			for _, step := range tt.steps {
				expectPrefix(t, c.do(step.send), step.want)
			}
		})
	}
}

func TestAuthIsRequiredForSubmission(t *testing.T) {
	s := startTest(t, nil)
	const mailFrom = "MAIL FROM:<ada@example.org>"

	c := dial(t, s, PortSubmission)
	c.ehlo()
	assert.Equal(t, "530 5.7.0 Must issue a STARTTLS command first", c.do(mailFrom))
	expectPrefix(t, c.do("AUTH PLAIN AGFkYQBlbmdpbmU="), "523 5.7.10 ")
	c.startTLS(s)
	expectPrefix(t, c.do(mailFrom), "502 ") // EHLO is forgotten (RFC 3207, 4.2)
	c.ehlo()
	assert.Equal(t, "530 5.7.0 Authentication required", c.do(mailFrom))
	c.login()
	expectPrefix(t, c.do(mailFrom), "250 ")

	c = dial(t, s, PortSubmissions)
	c.ehlo()
	assert.Equal(t, "530 5.7.0 Authentication required", c.do(mailFrom))

	c = dial(t, s, PortSMTP)
	c.ehlo()
	assert.Equal(t, "502 5.5.1 No AUTH on this port, use 587 or 465", c.do("AUTH PLAIN AGFkYQBlbmdpbmU="))
	expectPrefix(t, c.do(mailFrom), "250 ")
}

func TestTricks(t *testing.T) {
	s := startTest(t, nil)
	info := s.Info()
	require.Equal(t, []Trick{
		{"reject@example.net", "550 5.1.1 No such mailbox here (this practice address always says so)"},
		{"later@example.net", "451 4.7.1 Greylisted, try again later (this practice address always says so)"},
		{"full@example.net", "452 4.2.2 The mailbox is full (this practice address always says so)"},
		{"bounce-data@example.net", "554 5.6.0 The message was read and is refused (this practice address always says so)"},
	}, info.Tricks)

	for _, trick := range info.Tricks {
		t.Run(trick.To, func(t *testing.T) {
			local, _, _ := strings.Cut(trick.To, "@")
			c := dial(t, s, PortSMTP)
			c.ehlo()
			expectPrefix(t, c.do("MAIL FROM:<ada@example.org>"), "250 ")
			reply := c.do("RCPT TO:<" + strings.ToUpper(local) + "@elsewhere.example>")
			if local == "bounce-data" {
				expectPrefix(t, reply, "250 ")
				expectPrefix(t, c.do("DATA"), "354 ")
				c.write(letter + ".\r\n")
				reply = c.reply()[0]
			}
			assert.Equal(t, trick.Reply, reply)
			assert.Empty(t, s.mailbox.order)
		})
	}
}

func TestOtherRecipientsOfARefusedOneAreServed(t *testing.T) {
	s := startTest(t, nil)
	c := dial(t, s, PortSMTP)
	c.ehlo()
	c.do("MAIL FROM:<ada@example.org>")
	expectPrefix(t, c.do("RCPT TO:<reject@example.net>"), "550 ")
	expectPrefix(t, c.do("RCPT TO:<bob@example.net>"), "250 ")
	expectPrefix(t, c.do("DATA"), "354 ")
	c.write(letter + ".\r\n")
	stored, err := s.Message(queueID(t, c.reply()[0]))
	require.NoError(t, err)
	assert.Contains(t, string(stored), "for <bob@example.net>")
}

func TestBadAddresses(t *testing.T) {
	s := startTest(t, nil)
	tests := []struct{ command, want string }{
		{"MAIL FROM:<" + strings.Repeat("a", 65) + "@example.org>", "501 5.1.7 "},
		{"MAIL FROM:<a@" + strings.Repeat("b", 256) + ">", "501 5.1.7 "},
		{"MAIL FROM:<a\x01@example.org>", "501 5.1.7 "},
		{"MAIL FROM:<\"a\rb\"@example.org>", "501 5.1.7 "},
		{"MAIL FROM:<a@exa(mple.org>", "501 5.1.7 "},
		{"MAIL FROM:<\xff@example.org> SMTPUTF8", "501 5.1.7 "},
		{"MAIL FROM:<zoë@example.org>", "553 5.6.7 "},
		{"MAIL FROM:<zoë@example.org> SMTPUTF8", "250 "},
		{"MAIL FROM:<" + strings.Repeat("a", 64) + "@example.org>", "250 "},
		{"MAIL FROM:<a@[127.0.0.1]>", "250 "},
		{"MAIL FROM:<a@example.org> SIZE=31457281", "552 5.3.4 "},
		{"MAIL FROM:<a@example.org> RET=FULL ENVID=x", "250 "},
		{"MAIL FROM:<a@example.org> RET=SOME", "501 "},
		{"MAIL FROM:<a@example.org> BY=120;R MT-PRIORITY=-3", "250 "},
		{"MAIL FROM:<a@example.org> by=-1;n", "250 "},
		{"MAIL FROM:<a@example.org> BY=0;R", "501 5.5.4 "},
		{"MAIL FROM:<a@example.org> BY=120", "501 5.5.4 "},
		{"MAIL FROM:<a@example.org> MT-PRIORITY=10", "501 5.5.2 "},
		{"MAIL FROM:<a@example.org> REQUIRETLS", "530 5.7.0 "},
		{"MAIL FROM:<a@example.org> COLOR=red", "500 "},
	}
	for _, tt := range tests {
		c := dial(t, s, PortSMTP)
		c.ehlo()
		expectPrefix(t, c.do(tt.command), tt.want)
	}
	c := dial(t, s, PortSMTP)
	c.ehlo()
	c.do("MAIL FROM:<a@example.org>")
	expectPrefix(t, c.do("RCPT TO:<"+strings.Repeat("a", 65)+"@example.org>"), "501 5.1.3 ")
	expectPrefix(t, c.do("RCPT TO:<zoë@example.org>"), "553 5.6.7 ")
}

func TestLimits(t *testing.T) {
	s := startTest(t, func(l *limits) {
		l.message, l.recipients, l.line, l.inFlight = 10_000, 2, 2_000, 15_000
	})
	ready := func(t *testing.T) *talk {
		c := dial(t, s, PortSMTP)
		c.ehlo()
		expectPrefix(t, c.do("MAIL FROM:<a@example.org>"), "250 ")
		expectPrefix(t, c.do("RCPT TO:<b@example.org>"), "250 ")
		return c
	}
	line := strings.Repeat("x", 98) + "\r\n"

	t.Run("recipients", func(t *testing.T) {
		c := ready(t)
		expectPrefix(t, c.do("RCPT TO:<c@example.org>"), "250 ")
		expectPrefix(t, c.do("RCPT TO:<d@example.org>"), "452 4.5.3 ")
	})
	t.Run("message", func(t *testing.T) {
		c := ready(t)
		c.do("DATA")
		c.write(strings.Repeat(line, 101) + ".\r\n")
		expectPrefix(t, c.reply()[0], "552 5.3.4 ")
		expectPrefix(t, c.do("NOOP"), "250 ")
	})
	t.Run("message by BDAT", func(t *testing.T) {
		c := ready(t)
		c.write("BDAT 10100 LAST\r\n" + strings.Repeat(line, 101))
		expectPrefix(t, c.reply()[0], "552 5.3.4 ")
		expectPrefix(t, c.do("NOOP"), "250 ")
	})
	t.Run("line of the message", func(t *testing.T) {
		roomy := startTest(t, func(l *limits) { l.line = 2_000 })
		c := dial(t, roomy, PortSMTP)
		c.ehlo()
		c.do("MAIL FROM:<a@example.org>")
		c.do("RCPT TO:<b@example.org>")
		c.do("DATA")
		c.write(strings.Repeat("x", 8<<20) + "\r\n.\r\nQUIT\r\n")
		expectPrefix(t, c.reply()[0], "500 5.5.2 A line of the message is longer than 2000 octets")
		rest, err := io.ReadAll(c.r)
		require.NoError(t, err, "the connection must be closed, not reset")
		assert.Empty(t, string(rest), "one reply only")
	})
	t.Run("command line", func(t *testing.T) {
		c := ready(t)
		c.write("NOOP " + strings.Repeat("x", 3000) + "\r\n")
		expectPrefix(t, c.reply()[0], "500 5.4.0 ")
	})
	t.Run("all messages in flight", func(t *testing.T) {
		first, second := ready(t), ready(t)
		first.do("DATA")
		first.write(strings.Repeat(line, 90))
		require.Eventually(t, func() bool { return s.inFlight.Load() >= 8_000 }, 5*time.Second, time.Millisecond)
		second.do("DATA")
		second.write(strings.Repeat(line, 90) + ".\r\n")
		expectPrefix(t, second.reply()[0], "452 4.3.1 ")
		expectPrefix(t, second.do("NOOP"), "250 ")
		first.write(".\r\n")
		queueID(t, first.reply()[0])
		require.Eventually(t, func() bool { return s.inFlight.Load() == 0 }, 5*time.Second, time.Millisecond)
	})
}

func TestIdleClientIsToldAndClosed(t *testing.T) {
	s := startTest(t, func(l *limits) { l.wait = 50 * time.Millisecond })
	c := dial(t, s, PortSMTP)
	expectPrefix(t, c.reply()[0], "421 4.4.2 ")
	_, err := c.r.ReadByte()
	assert.ErrorIs(t, err, io.EOF)
}

func TestSlowMessageOutlastsOneWait(t *testing.T) {
	const wait = time.Second
	s := startTest(t, func(l *limits) { l.wait = wait })
	c := dial(t, s, PortSMTP)
	c.ehlo()
	c.do("MAIL FROM:<a@example.org>")
	c.do("RCPT TO:<b@example.org>")
	c.do("DATA")
	started := time.Now()
	pace := time.NewTicker(wait / 10)
	defer pace.Stop()
	for time.Since(started) < 3*wait/2 {
		<-pace.C
		c.write(strings.Repeat(strings.Repeat("x", 1022)+"\r\n", 5)) // more than a piece
	}
	c.write(".\r\n")
	queueID(t, c.reply()[0])
}

func TestChunkingAndBinary(t *testing.T) {
	s := startTest(t, nil)
	c := dial(t, s, PortSMTP)
	c.ehlo()
	expectPrefix(t, c.do("MAIL FROM:<a@example.org> BODY=BINARYMIME"), "250 ")
	expectPrefix(t, c.do("RCPT TO:<b@example.org>"), "250 ")
	expectPrefix(t, c.do("DATA"), "502 ")
	first, second := "Subject: x\r\n\r\n\x00\r\n.\r\n", "\n\r\xffno final newline"
	c.write(fmt.Sprintf("BDAT %d\r\n%s", len(first), first))
	expectPrefix(t, c.reply()[0], "250 ")
	c.write(fmt.Sprintf("BDAT %d LAST\r\n%s", len(second), second))
	stored, err := s.Message(queueID(t, c.reply()[0]))
	require.NoError(t, err)
	_, got := original(t, stored)
	assert.Equal(t, first+second, got)
}

func TestPipelinedSession(t *testing.T) {
	s := startTest(t, nil)
	c := dial(t, s, PortSMTP)
	c.ehlo()
	c.write("MAIL FROM:<a@example.org>\r\nRCPT TO:<reject@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
	for _, want := range []string{"250 ", "550 ", "250 ", "354 "} {
		expectPrefix(t, c.reply()[0], want)
	}
	c.write(letter + ".\r\nQUIT\r\n")
	queueID(t, c.reply()[0])
	expectPrefix(t, c.reply()[0], "221 ")
}

func TestPlaintextBehindSTARTTLSIsNotExecuted(t *testing.T) {
	s := startTest(t, nil)
	c := dial(t, s, PortSMTP)
	c.ehlo()
	// CVE-2011-0411: a command in the same segment as STARTTLS.
	c.write("STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
	expectPrefix(t, c.reply()[0], "220 ")
	conn := tls.Client(c.conn, clientTLS(t, s))
	if conn.Handshake() == nil {
		after := &talk{t, conn, bufio.NewReader(conn)}
		after.ehlo()
		expectPrefix(t, after.do("RCPT TO:<b@example.org>"), "502 ")
	}
}

func TestPlaintextOnTheTLSPort(t *testing.T) {
	s := startTest(t, nil)
	conn, err := net.DialTimeout("tcp", s.Listeners()[PortSubmissions].String(), 5*time.Second)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "EHLO page.example\r\n")
	require.NoError(t, err)
	answer, _ := io.ReadAll(conn)
	assert.NotContains(t, string(answer), "220")
}

func TestCertificates(t *testing.T) {
	now := time.Now()
	a, err := newAuthority(func() time.Time { return now })
	require.NoError(t, err)
	block, rest := pem.Decode([]byte(a.pem))
	require.NotNil(t, block)
	require.Empty(t, rest)
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(root)

	check := func(leaf *tls.Certificate, at time.Time) error {
		_, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: Host, CurrentTime: at})
		return err
	}
	first, err := a.certificate(nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"mail.practice.test"}, first.Leaf.DNSNames)
	assert.Equal(t, x509.ECDSA, first.Leaf.PublicKeyAlgorithm)
	assert.Len(t, first.Certificate, 2)
	require.NoError(t, check(first, now))
	require.NoError(t, check(first, now.Add(-59*time.Minute)), "a page whose clock is behind")
	require.Error(t, check(first, now.Add(8*24*time.Hour)))

	again, err := a.certificate(nil)
	require.NoError(t, err)
	assert.Same(t, first, again)

	now = now.Add(5*24*time.Hour + time.Minute)
	renewed, err := a.certificate(nil)
	require.NoError(t, err)
	assert.NotSame(t, first, renewed)
	require.NoError(t, check(renewed, now.Add(6*24*time.Hour)))
}

func TestAuthorityIsGoodForPracticeOnly(t *testing.T) {
	a, err := newAuthority(time.Now)
	require.NoError(t, err)
	assert.Equal(t, []string{"practice.test"}, a.cert.PermittedDNSDomains)
	assert.True(t, a.cert.PermittedDNSDomainsCritical)
	assert.True(t, a.cert.MaxPathLenZero)
}

func TestInfo(t *testing.T) {
	s := startTest(t, nil)
	info := s.Info()
	assert.Equal(t, "mail.practice.test", info.Host)
	assert.Equal(t, Ports{SMTP: 25, Submission: 587, Submissions: 465, LMTP: 24}, info.Ports)
	assert.Equal(t, "ada", info.Username)
	assert.Equal(t, "engine", info.Password)
	assert.True(t, strings.HasPrefix(info.CA, "-----BEGIN CERTIFICATE-----\n"))
}

func TestLogsCarryNoPayload(t *testing.T) {
	var log bytes.Buffer
	s, err := Start(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	c := dial(t, s, PortSubmissions)
	c.ehlo()
	c.login()
	c.do("MAIL FROM:<secret-sender@example.org>")
	c.do("RCPT TO:<secret-recipient@example.org>")
	c.do("DATA")
	c.write("Subject: secret-subject\r\n\r\nsecret-body\r\n.\r\n")
	id := queueID(t, c.reply()[0])
	c.do("QUIT")
	require.NoError(t, s.Close())
	require.Contains(t, log.String(), "practice message stored")
	for _, secret := range []string{"secret", Password, id} {
		assert.NotContains(t, log.String(), secret)
	}
}

func TestCloseEndsOpenConnections(t *testing.T) {
	s, err := Start(Config{})
	require.NoError(t, err)
	c := dial(t, s, PortSMTP)
	require.NoError(t, s.Close())
	_, err = c.r.ReadByte()
	require.Error(t, err)
	var timeout net.Error
	assert.False(t, errors.As(err, &timeout) && timeout.Timeout(), "closed at once, not by the deadline: %v", err)
}

func TestUnknownMessage(t *testing.T) {
	s := startTest(t, nil)
	for _, id := range []string{"", "..", "../x", newQueueID(), strings.Repeat("a", 25) + "/", strings.Repeat("A", 26)} {
		_, err := s.Message(id)
		assert.ErrorIs(t, err, fs.ErrNotExist, "id %q", id)
	}
}
