package realservers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session/realservers"
)

// awkward is a valid message whose bytes a careless server would change.
var awkward = strings.Join([]string{
	"Return-Path: <mine@example.org>",
	"Received: from elsewhere by here; Sun, 22 Nov 2026 07:02:38 +0000",
	"From: Ada <ada@example.org>",
	"To: grace@example.net",
	"Bcc: someone@example.com",
	"Date: Sun, 22 Nov 2026 10:00:00 +0000",
	"Message-ID: <awkward@example.org>",
	"Subject: folded",
	"\tline",
	"",
	"From the top",
	".",
	"..two",
	"trailing blanks  \t",
	strings.Repeat("x", 900),
	"h\xc3\xa9 \xff",
	"",
	"",
	"",
}, "\r\n")

const plain = "From: <ada@example.org>\r\nTo: <grace@example.net>\r\nSubject: Note G\r\n" +
	"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <g@example.org>\r\n\r\nThe engine weaves.\r\n"

// loginClient is LOGIN without a look at the challenges: every server words them in its own way.
type loginClient struct{ username, password string }

func (l *loginClient) Start() (string, []byte, error)        { return sasl.Login, []byte(l.username), nil }
func (l *loginClient) Next(challenge []byte) ([]byte, error) { return []byte(l.password), nil }

func dial(t *testing.T, s *realservers.Server, port int, security string) *smtp.Client {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(s.CA)))
	config := &tls.Config{ServerName: s.ServerName, RootCAs: roots}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(s.Host, strconv.Itoa(port)), 5*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	switch security {
	case "starttls":
		c, err := smtp.NewClientStartTLS(conn, config)
		require.NoError(t, err)
		return c
	case "tls":
		return smtp.NewClient(tls.Client(conn, config))
	default:
		return smtp.NewClient(conn)
	}
}

// enter signs in at the submission port, or uses the one that asks for nothing where there is no other.
func enter(t *testing.T, s *realservers.Server) *smtp.Client {
	t.Helper()
	if s.SubmissionsPort == 0 {
		return dial(t, s, s.SMTPPort, "")
	}
	c := dial(t, s, s.SubmissionsPort, "tls")
	require.NoError(t, c.Auth(sasl.NewPlainClient("", s.Username, s.Password)))
	return c
}

// kept is what a server stores of a message: OpenSMTPD takes Bcc off, and adds Date and Message-ID where they are missing,
// as RFC 6409, 8 allows. The messages of these tests have both.
func kept(kind realservers.Kind, message string) string {
	if kind == realservers.OpenSMTPD {
		message = strings.Replace(message, "Bcc: someone@example.com\r\n", "", 1)
	}
	return message
}

func send(t *testing.T, c *smtp.Client, message string) {
	t.Helper()
	require.NoError(t, c.Mail(realservers.Username, nil))
	require.NoError(t, c.Rcpt(realservers.Recipient, nil))
	w, err := c.Data()
	require.NoError(t, err)
	_, err = io.WriteString(w, message)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, c.Quit())
}

func messages(t *testing.T, s *realservers.Server) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stored, err := s.Messages(ctx)
	require.NoError(t, err)
	out := make([]string, len(stored))
	for i, m := range stored {
		out[i] = string(m)
	}
	return out
}

func TestServersStoreWhatTheyAccept(t *testing.T) {
	for _, kind := range realservers.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := realservers.ForTest(t, kind)
			assert.Empty(t, messages(t, s))
			var sent []string
			for _, run := range []struct {
				name, security string
				port           int
				auth           sasl.Client
				message        string
			}{
				{"STARTTLS and PLAIN", "starttls", s.SubmissionPort, sasl.NewPlainClient("", s.Username, s.Password), plain},
				{"STARTTLS and LOGIN", "starttls", s.SubmissionPort, &loginClient{s.Username, s.Password}, awkward},
				{"TLS and PLAIN", "tls", s.SubmissionsPort, sasl.NewPlainClient("", s.Username, s.Password), awkward},
				{"TLS and LOGIN", "tls", s.SubmissionsPort, &loginClient{s.Username, s.Password}, plain},
				{"plain", "", s.SMTPPort, nil, plain},
				{"plain port, awkward", "", s.SMTPPort, nil, awkward},
				{"plain port with STARTTLS", "starttls", s.SMTPPort, nil, awkward},
			} {
				if run.port == 0 || run.security == "starttls" && kind == realservers.SMTPSink {
					continue
				}
				c := dial(t, s, run.port, run.security)
				if run.auth != nil {
					mechanism, _, err := run.auth.Start()
					require.NoError(t, err)
					if !c.SupportsAuth(mechanism) {
						require.Equal(t, []any{realservers.Chasquid, sasl.Login}, []any{kind, mechanism}, "mechanisms")
						continue
					}
					require.NoError(t, c.Auth(run.auth), run.name)
				}
				send(t, c, run.message)
				sent = append(sent, kept(kind, run.message))
				require.Equal(t, sent, messages(t, s), run.name)
			}
		})
	}
}

func TestServersTakeLargeMessages(t *testing.T) {
	large := plain + strings.Repeat(strings.Repeat("0123456789", 50)+"\r\n", 25<<20/502)
	for _, kind := range realservers.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := realservers.ForTest(t, kind)
			send(t, enter(t, s), large)
			stored := messages(t, s)
			require.Len(t, stored, 1)
			assert.True(t, stored[0] == large, "the stored message differs; its length is %d, not %d", len(stored[0]), len(large))
		})
	}
}

func TestMessagesComeInTheOrderOfAcceptance(t *testing.T) {
	for _, kind := range realservers.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := realservers.ForTest(t, kind)
			var sent []string
			for i := range 10 {
				// The first are large, so that delivery of the later ones may overtake.
				message := plain + strings.Repeat(strings.Repeat("x", 500)+"\r\n", (10-i)*200) + strconv.Itoa(i) + "\r\n"
				send(t, enter(t, s), message)
				sent = append(sent, message)
			}
			assert.True(t, slices.Equal(sent, messages(t, s)))
		})
	}
}

func TestServersRefuse(t *testing.T) {
	for _, kind := range realservers.Kinds {
		if kind == realservers.SMTPSink {
			continue // it refuses nothing, and delivers nothing
		}
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := realservers.ForTest(t, kind)
			permanent := func(err error, what string) {
				t.Helper()
				var refused *smtp.SMTPError
				require.ErrorAs(t, err, &refused, what)
				assert.Equal(t, 5, refused.Code/100, "%s: %v", what, refused)
			}

			c := dial(t, s, s.SubmissionPort, "starttls")
			permanent(c.Auth(sasl.NewPlainClient("", s.Username, "wrong")), "a wrong password")

			c = dial(t, s, s.SubmissionPort, "starttls")
			err := c.Mail(s.Username, nil)
			if err == nil {
				err = c.Rcpt(s.Recipient, nil)
			}
			permanent(err, "submission without AUTH")

			c = dial(t, s, s.SubmissionPort, "")
			require.NoError(t, c.Hello("localhost"))
			ok, _ := c.Extension("AUTH")
			assert.False(t, ok, "AUTH is offered before TLS")

			// Mail for another domain must not even be queued.
			c = dial(t, s, s.SubmissionsPort, "tls")
			require.NoError(t, c.Auth(sasl.NewPlainClient("", s.Username, s.Password)))
			require.NoError(t, c.Mail(s.Username, nil))
			if err = c.Rcpt("someone@elsewhere.example", nil); err == nil {
				w, dataErr := c.Data()
				require.NoError(t, dataErr)
				_, dataErr = io.WriteString(w, plain)
				require.NoError(t, dataErr)
				err = w.Close()
			}
			permanent(err, "mail for another domain")
			assert.Empty(t, messages(t, s))
		})
	}
}

func TestStopEndsTheServer(t *testing.T) {
	for _, kind := range realservers.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := realservers.ForTest(t, kind)
			require.NoError(t, s.Stop())
			for _, port := range s.Ports() {
				conn, err := net.DialTimeout("tcp", net.JoinHostPort(s.Host, strconv.Itoa(port)), time.Second)
				if err == nil {
					conn.Close()
				}
				assert.Error(t, err, "port %d still answers", port)
			}
			assert.NoError(t, s.Stop(), "a second Stop")
		})
	}
}

func TestMissingProgramIsNamed(t *testing.T) {
	t.Setenv("SMTPSCOPE_PEERS", t.TempDir())
	for _, kind := range realservers.Kinds {
		if kind == realservers.GoSMTP {
			continue // part of this process
		}
		_, err := realservers.Start(t.Context(), kind)
		var missing *realservers.MissingError
		require.ErrorAs(t, err, &missing, kind)
		assert.Equal(t, kind, missing.Kind)
		assert.NotEmpty(t, missing.What)
		assert.NotEmpty(t, missing.How)
	}
}

func TestUnknownKind(t *testing.T) {
	_, err := realservers.Start(t.Context(), "sendmail")
	assert.ErrorContains(t, err, "sendmail")
}

func TestProgramThatEndsAtOnceShowsItsLog(t *testing.T) {
	peers := t.TempDir()
	for _, name := range []string{"chasquid", "chasquid-util"} {
		require.NoError(t, os.MkdirAll(peers+"/usr/bin", 0o755))
		script := "#!/bin/sh\necho no room at the inn >&2\nexit " + map[string]string{"chasquid": "1", "chasquid-util": "0"}[name] + "\n"
		require.NoError(t, os.WriteFile(peers+"/usr/bin/"+name, []byte(script), 0o755))
	}
	t.Setenv("SMTPSCOPE_PEERS", peers)
	_, err := realservers.Start(t.Context(), realservers.Chasquid)
	require.ErrorContains(t, err, "no room at the inn")
	var missing *realservers.MissingError
	assert.False(t, errors.As(err, &missing))
}

// recorder stands for a test that is skipped or failed.
type recorder struct {
	*testing.T
	skipped, failed string
}

type stopped struct{}

func (r *recorder) Skipf(format string, _ ...any)  { r.skipped = format; panic(stopped{}) }
func (r *recorder) Fatalf(format string, _ ...any) { r.failed = format; panic(stopped{}) }

func TestMissingProgramSkipsLoudlyAndFailsInCI(t *testing.T) {
	t.Setenv("SMTPSCOPE_PEERS", t.TempDir())
	for _, ci := range []string{"", "true"} {
		t.Setenv("CI", ci)
		r := &recorder{T: t}
		assert.PanicsWithValue(t, stopped{}, func() { realservers.ForTest(r, realservers.Postfix) })
		assert.Equal(t, ci == "", strings.HasPrefix(r.skipped, "NOT RUN"))
		assert.Equal(t, ci == "true", r.failed != "")
	}
}
