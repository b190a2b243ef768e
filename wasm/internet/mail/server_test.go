package mail

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"
)

// Envelopes as lines of a dialogue.
const (
	ehlo = "EHLO client.example"
	from = "MAIL FROM:<ada@example.org>"
	to   = "RCPT TO:<bob@example.net>"
	text = "Subject: x\r\n\r\nx\r\n."
)

func plainResponse(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// What a server says to a command, by how it is configured.
func TestReplies(t *testing.T) {
	user, right, wrong := base64.StdEncoding.EncodeToString([]byte("ada")), base64.StdEncoding.EncodeToString([]byte("engine")), base64.StdEncoding.EncodeToString([]byte("motor"))
	open := Server{Name: "mx.example.net", Relay: true}
	quirk := func(q Quirks) Server { return quirky(exchange, q) }
	mine := submission
	mine.Name, mine.Domains = "mx.example.net", []string{"example.net"}
	for _, c := range []struct {
		name   string
		server Server
		port   string
		lines  []string
		want   string // how the last reply begins
	}{
		{"greeting", exchange, "25", nil, "220 mx.example.net ESMTP"},
		{"local recipient", exchange, "25", []string{ehlo, from, to}, "250 2.0.0 "},
		{"domain in another case", exchange, "25", []string{ehlo, from, "RCPT TO:<bob@EXAMPLE.net>"}, "250 2.0.0 "},
		{"relaying denied", exchange, "25", []string{ehlo, from, "RCPT TO:<eve@example.com>"}, "550 5.7.1 Relaying denied"},
		{"open relay", open, "25", []string{ehlo, from, "RCPT TO:<eve@example.com>"}, "250 2.0.0 "},
		{"queue id", exchange, "25", []string{ehlo, from, to, "DATA", text}, "250 2.0.0 Ok: queued as "},
		{"queue id of BDAT", exchange, "25", []string{ehlo, from, to, "BDAT 3 LAST\r\nx"}, "250 2.0.0 Ok: queued as "},
		{"sender that is no mailbox", exchange, "25", []string{ehlo, "MAIL FROM:<ada@exa_mple.org>"}, "501 5.1.7 "},
		{"recipient that is no mailbox", exchange, "25", []string{ehlo, from, "RCPT TO:<bob@-example.net>"}, "501 5.1.3 "},
		{"recipient beyond ASCII", exchange, "25", []string{ehlo, from, "RCPT TO:<bób@example.net>"}, "501 5.1.3 "},

		{"AUTH PLAIN", mine, "587", []string{ehlo, "AUTH PLAIN " + plainResponse("ada", "engine"), from, "RCPT TO:<eve@example.com>"}, "250 2.0.0 "},
		{"AUTH LOGIN", mine, "25", []string{ehlo, "AUTH LOGIN", user, right, from, "RCPT TO:<eve@example.com>"}, "250 2.0.0 "},
		{"AUTH LOGIN with initial response", mine, "25", []string{ehlo, "AUTH LOGIN " + user, right}, "235 2.0.0 "},
		{"wrong password", mine, "25", []string{ehlo, "AUTH PLAIN " + plainResponse("ada", "motor")}, "535 5.7.8 "},
		{"wrong password, LOGIN", mine, "25", []string{ehlo, "AUTH LOGIN", user, wrong}, "535 5.7.8 "},
		{"unknown user", mine, "25", []string{ehlo, "AUTH PLAIN " + plainResponse("eve", "")}, "535 5.7.8 "},
		{"for somebody else", mine, "25", []string{ehlo, "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("eve\x00ada\x00engine"))}, "535 5.7.8 "},
		{"malformed response", mine, "25", []string{ehlo, "AUTH PLAIN " + user}, "501 5.5.2 "},
		{"unknown mechanism", mine, "25", []string{ehlo, "AUTH CRAM-MD5"}, "504 5.5.4 "},
		{"nobody to sign in", exchange, "25", []string{ehlo, "AUTH PLAIN " + plainResponse("ada", "engine")}, "502 5.5.1 "},
		{"submission without AUTH", mine, "587", []string{ehlo, from}, "530 5.7.0 Authentication required"},
		{"own sender without AUTH", mine, "25", []string{ehlo, "MAIL FROM:<ada@example.net>"}, "530 5.7.0 "},
		{"stranger brings mail", mine, "25", []string{ehlo, from, to}, "250 2.0.0 "},
		{"stranger relays", mine, "25", []string{ehlo, from, "RCPT TO:<eve@example.com>"}, "550 5.7.1 "},
		{"bounce brought", mine, "25", []string{ehlo, "MAIL FROM:<>", to}, "250 2.0.0 "},

		{"unknown recipient", quirk(Quirks{Unknown: []string{"Bob@example.net"}}), "25", []string{ehlo, from, to}, "550 5.1.1 No such mailbox"},
		{"other recipient", quirk(Quirks{Unknown: []string{"carol@example.net"}}), "25", []string{ehlo, from, to}, "250 2.0.0 "},
		{"postmaster always exists", quirk(Quirks{Unknown: []string{"postmaster@example.net"}}), "25", []string{ehlo, from, "RCPT TO:<Postmaster@example.net>"}, "250 2.0.0 "},
		{"full mailbox", quirk(Quirks{MailboxFull: true}), "25", []string{ehlo, from, to}, "452 4.2.2 The mailbox is full"},
		{"greylisted", quirk(Quirks{Greylist: time.Minute}), "25", []string{ehlo, from, to}, "451 4.7.1 Greylisted"},
		{"declared size", quirk(Quirks{Size: 1000}), "25", []string{ehlo, from + " SIZE=1001"}, "552 5.3.4 "},
		{"actual size", quirk(Quirks{Size: 10}), "25", []string{ehlo, from, to, "DATA", text}, "552 5.3.4 "},
		{"shutdown at MAIL", quirk(Quirks{Shutdown: "MAIL"}), "25", []string{ehlo, from}, "421 4.3.2 "},
		{"shutdown at RCPT", quirk(Quirks{Shutdown: "RCPT"}), "25", []string{ehlo, from, to}, "421 4.3.2 "},
		{"shutdown at DATA", quirk(Quirks{Shutdown: "DATA"}), "25", []string{ehlo, from, to, "DATA"}, "421 4.3.2 "},
		{"closed behind the 421", quirk(Quirks{Shutdown: "RCPT"}), "25", []string{ehlo, from, to, "QUIT"}, "(EOF)"},
		{"pipelined into a 421", quirk(Quirks{Shutdown: "RCPT"}), "25", []string{ehlo, from, to + "\r\n" + strings.Repeat("NOOP\r\n", 1000) + "QUIT"}, "421 4.3.2 "},
		{"STARTTLS that is not offered", quirk(Quirks{NoSTARTTLS: true}), "25", []string{ehlo, "STARTTLS"}, "502 5.5.1 "},
		{"endless line", exchange, "25", []string{ehlo, from, to, "DATA", strings.Repeat("x", maxLine+1) + "\r\n."}, "500 5.5.2 A line of the message is longer than 65536 octets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var replies []string
			scene{servers: map[string]Server{"mx": c.server}}.run(t, func(w *world) {
				replies = w.talk("tcp", "mx.example.net:"+c.port, c.lines...)
			})
			require.Len(t, replies, len(c.lines)+1, "%q", replies)
			last := replies[len(replies)-1]
			assert.True(t, strings.HasPrefix(last, c.want), "%q", replies)
		})
	}
}

// What the reply to EHLO offers.
func TestOffers(t *testing.T) {
	mine := exchange
	mine.Accounts = map[string]string{"ada": "engine"}
	for name, c := range map[string]struct {
		server   Server
		port     string
		has, not []string
	}{
		"plain":         {exchange, "25", []string{"PIPELINING", "8BITMIME", "STARTTLS", "SIZE 50000000", "SMTPUTF8", "BINARYMIME", "RRVS"}, []string{"AUTH", "REQUIRETLS"}},
		"accounts":      {mine, "587", []string{"STARTTLS", "AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"}, []string{"SMTPUTF8", "BINARYMIME", "RRVS"}},
		"no STARTTLS":   {quirky(exchange, Quirks{NoSTARTTLS: true}), "25", []string{"PIPELINING"}, []string{"STARTTLS"}},
		"no PIPELINING": {quirky(exchange, Quirks{NoPipelining: true}), "25", []string{"8BITMIME"}, []string{"PIPELINING", "STARTTLS"}},
		"size":          {quirky(exchange, Quirks{Size: 4711}), "25", []string{"SIZE 4711"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var replies []string
			scene{servers: map[string]Server{"mx": c.server}}.run(t, func(w *world) {
				replies = w.talk("tcp", "mx.example.net:"+c.port, ehlo)
			})
			lines := strings.Split(replies[1], "\r\n")
			assert.Equal(t, "250-Hello client.example", lines[0])
			var offers []string
			for _, l := range lines {
				offers = append(offers, l[4:])
			}
			for _, x := range c.has {
				assert.Contains(t, offers, x)
			}
			for _, x := range c.not {
				assert.NotContains(t, offers, x)
			}
		})
	}
}

// A reply goes out as a whole, whatever number of lines it has.
func TestReplyIsOneSegment(t *testing.T) {
	scene{servers: map[string]Server{"mx": exchange}}.run(t, func(w *world) {
		conn, err := w.lab.Host("client").Dial(w.Context(), "tcp", "mx.example.net:25")
		if !assert.NoError(w, err) {
			return
		}
		w.converse(conn)
		_, err = conn.Write([]byte(ehlo + "\r\n"))
		assert.NoError(w, err)
		n, err := conn.Read(make([]byte, 4096))
		assert.NoError(w, err)
		assert.Greater(w, n, 100)
		conn.SetReadDeadline(w.lab.Now().Add(time.Minute))
		n, _ = conn.Read(make([]byte, 4096))
		assert.Zero(w, n)
		conn.Close()
	})
}

func TestHELO(t *testing.T) {
	w := scene{servers: map[string]Server{"mx": exchange}}.run(t, func(w *world) {
		w.talk("tcp", "mx.example.net:25", "HELO old.example", from, to, "DATA", text)
		w.talk("tcp", "mx.example.net:25", "EHLO bad(name", from, to, "DATA", text)
	})
	require.Len(t, w.inbox("bob@example.net"), 2)
	assert.Equal(t, []string{"old.example mx.example.net SMTP"}, passed(w.inbox("bob@example.net")[0]))
	assert.Equal(t, []string{"[192.0.2.1] mx.example.net ESMTP"}, passed(w.inbox("bob@example.net")[1]), "what could not stand in a header field")
}

// Quirks hold behind TLS.
func TestQuirksBehindTLS(t *testing.T) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(authority()))
	const delay = 20 * time.Second
	for _, c := range []struct {
		name, port, shutdown string
		lines                []string
		want                 string
	}{
		{"STARTTLS", "587", "RCPT", []string{ehlo, from, to}, "421 4.3.2 "},
		{"STARTTLS, DATA", "25", "DATA", []string{ehlo, from, to, "DATA", text}, "421 4.3.2 "},
		{"implicit", "465", "RCPT", []string{ehlo, from, to}, "421 4.3.2 "},
		{"implicit, DATA", "465", "DATA", []string{ehlo, from, to, "DATA"}, "421 4.3.2 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := Quirks{Shutdown: c.shutdown, GreetingDelay: delay, NoPipelining: c.port == "465"}
			w := scene{servers: map[string]Server{"mx": quirky(exchange, q)}}.run(t, func(w *world) {
				conn, err := w.lab.Host("client").Dial(w.Context(), "tcp", "mx.example.net:"+c.port)
				if !assert.NoError(w, err) {
					return
				}
				secure := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "mx.example.net", Time: w.lab.Now})
				var replies []string
				if c.port == "465" {
					assert.NoError(w, secure.Handshake())
					assert.Less(w, w.lab.Elapsed(), time.Second, "the delay comes behind TLS")
					replies = w.converse(secure, c.lines...)
					assert.NotContains(w, replies[1], "PIPELINING")
				} else {
					w.converse(conn, ehlo, "STARTTLS")
					assert.NoError(w, secure.Handshake())
					replies = w.silent(secure, c.lines...)
				}
				assert.GreaterOrEqual(w, w.lab.Elapsed(), delay)
				assert.True(w, strings.HasPrefix(replies[len(replies)-1], c.want), "%q", replies)
				_, err = secure.Read(make([]byte, 1))
				assert.Equal(w, io.EOF, err)
				secure.Close()
			})
			assert.Empty(t, w.inbox("bob@example.net"))
		})
	}
}

// silent converses with a server that does not greet.
func (w *world) silent(conn net.Conn, lines ...string) []string {
	if _, err := conn.Write([]byte(lines[0] + "\r\n")); err != nil {
		return []string{err.Error()}
	}
	return w.converse(conn, lines[1:]...)
}

func TestGreetingDelay(t *testing.T) {
	for _, delay := range []time.Duration{8 * time.Second, 4 * time.Minute, 6 * time.Minute} {
		var tr *trace.Trace
		w := scene{servers: map[string]Server{"mx": quirky(exchange, Quirks{GreetingDelay: delay})}}.run(t, func(w *world) {
			tr = w.send("mx.example.net", nil)
		})
		if delay < 5*time.Minute { // RFC 5321, 4.5.3.2.1
			assert.Equal(t, trace.Accepted, tr.Result.Outcome)
			assert.Equal(t, delay, tr.Result.Elapsed.Truncate(time.Second))
			continue
		}
		assert.Equal(t, trace.CodeTimeout, tr.Result.Error.Code)
		assert.Empty(t, w.events)
	}
}

// A client that is patient enough is served after any delay.
func TestGreetingDelayOfHours(t *testing.T) {
	w := scene{servers: map[string]Server{"mx": quirky(exchange, Quirks{GreetingDelay: 3 * time.Hour})}}.run(t, func(w *world) {
		conn, err := w.lab.Host("client").Dial(w.Context(), "tcp", "mx.example.net:25")
		if !assert.NoError(w, err) {
			return
		}
		_, err = conn.Read(make([]byte, 1000))
		assert.NoError(w, err)
		w.silent(conn, ehlo, from, to, "DATA", text)
		conn.Close()
	})
	assert.Len(t, w.inbox("bob@example.net"), 1)
}

func TestGreylisting(t *testing.T) {
	w := scene{servers: map[string]Server{"mail": submission, "mx": quirky(exchange, Quirks{Greylist: 10 * time.Minute})}}.run(t, func(w *world) {
		w.submit(nil)
	})
	assert.Equal(t, []string{
		"0s mail queued ada@example.org > bob@example.net",
		"0s mail attempt ada@example.org > bob@example.net by mx.example.net",
		"0s mail deferred ada@example.org > bob@example.net by mx.example.net",
		"30m0s mail attempt ada@example.org > bob@example.net by mx.example.net",
		"30m0s mx delivered ada@example.org > bob@example.net",
		"30m0s mail relayed ada@example.org > bob@example.net by mx.example.net",
	}, w.events)
	deferred := w.first(trace.KindDeferred)
	assert.Equal(t, "451 4.7.1 Greylisted, try again later", deferred.Reason)
	assert.Equal(t, 1, deferred.Hop)
}

func TestGreylistKnowsTriplets(t *testing.T) {
	later := "451 4.7.1 Greylisted, try again later"
	var got []string
	scene{servers: map[string]Server{"mx": quirky(exchange, Quirks{Greylist: 10 * time.Minute})}}.run(t, func(w *world) {
		say := func(wait time.Duration, from, to string) {
			w.lab.Host("client").Sleep(w.Context(), wait)
			replies := w.talk("tcp", "mx.example.net:25", ehlo, "MAIL FROM:<"+from+">", "RCPT TO:<"+to+">")
			got = append(got, replies[3])
		}
		say(0, "ada@example.org", "bob@example.net")
		say(9*time.Minute, "ada@example.org", "bob@example.net")
		say(2*time.Minute, "Ada@example.org", "Bob@example.net")
		say(0, "ada@example.org", "carol@example.net")
		say(0, "", "bob@example.net")
		say(time.Hour, "ada@example.org", "bob@example.net")
	})
	require.Len(t, got, 6)
	for i, want := range []bool{true, true, false, true, true, false} {
		assert.Equal(t, want, got[i] == later, "%d: %s", i, got[i])
	}
}

// A message that a server puts off for good ends as a bounce.
func TestShutdownIsRetried(t *testing.T) {
	for _, verb := range []string{"MAIL", "RCPT", "DATA"} {
		w := scene{servers: map[string]Server{"mail": submission, "mx": quirky(exchange, Quirks{Shutdown: verb})}}.run(t, func(w *world) { w.submit(nil) })
		deferred := w.first(trace.KindDeferred)
		assert.Equal(t, "421 4.3.2 mx.example.net is shutting down and closes the connection", deferred.Reason, verb)
		require.Len(t, w.inbox("ada@example.org"), 1, verb)
		assert.Len(t, w.hops, 34, verb)
	}
}

func TestFullMailboxIsRetried(t *testing.T) {
	w := scene{servers: map[string]Server{"mail": submission, "mx": quirky(exchange, Quirks{MailboxFull: true})}}.run(t, func(w *world) { w.submit(nil) })
	assert.Equal(t, "452 4.2.2 The mailbox is full", w.first(trace.KindDeferred).Reason)
	require.Len(t, w.inbox("ada@example.org"), 1)
	assert.Contains(t, w.inbox("ada@example.org")[0], "Status: 4.4.7\r\nRemote-MTA: dns; mx.example.net\r\nDiagnostic-Code: smtp; 452 4.2.2 The mailbox is full\r\n")
}

func TestDialogueOverUDP(t *testing.T) {
	var replies []string
	w := scene{servers: map[string]Server{"mx": exchange}}.run(t, func(w *world) {
		replies = w.talk("udp", "198.51.100.25:25", ehlo, from, to, "DATA", text, "QUIT")
	})
	require.Len(t, replies, 7)
	assert.Equal(t, "221 2.0.0 Bye", replies[6])
	assert.Len(t, w.inbox("bob@example.net"), 1)
}

// Over UDP anything can happen to a dialogue, but it ends.
func TestUDPUnderLoss(t *testing.T) {
	delivered := 0
	for seed := range int64(20) {
		link := internet.Link{Delay: "10ms", Loss: 0.1, Duplicate: 0.2, Reorder: 0.1, Corrupt: 0.05}
		w := scene{seed: seed, link: link, servers: map[string]Server{"mx": exchange}}.run(t, func(w *world) {
			w.talk("udp", "198.51.100.25:25", ehlo, from, to, "DATA", text, "QUIT")
		})
		delivered += len(w.inbox("bob@example.net"))
	}
	assert.Greater(t, delivered, 0)
	assert.Less(t, delivered, 20)
}

func TestServersAreChecked(t *testing.T) {
	scene{servers: map[string]Server{"mx": exchange}}.run(t, func(w *world) {
		again := exchange
		again.Host = w.lab.Host("mx")
		assert.ErrorContains(w, w.mail.Start(again), "mail: mx.example.net: host mx has a mail server already")
		again.Host, again.Name = w.lab.Host("mx2"), "two words"
		assert.ErrorContains(w, w.mail.Start(again), "mail: server on mx2: name: ")
	})
}

// A client that sends ahead still hears the 421, and then the proper end of the
// connection; nothing of what it sent is obeyed.
func TestShutdownUnderPipelining(t *testing.T) {
	for verb, ahead := range map[string]string{
		"MAIL": from + "\r\n" + strings.Repeat("NOOP\r\n", 2000),
		"DATA": from + "\r\n" + to + "\r\nDATA\r\n" + text + "\r\n" + strings.Repeat("NOOP\r\n", 2000),
	} {
		t.Run(verb, func(t *testing.T) {
			w := scene{servers: map[string]Server{"mx": quirky(exchange, Quirks{Shutdown: verb})}}.run(t, func(w *world) {
				conn, err := w.lab.Host("client").Dial(w.Context(), "tcp", "mx.example.net:25")
				if !assert.NoError(w, err) {
					return
				}
				w.converse(conn, ehlo)
				_, err = io.WriteString(conn, ahead)
				assert.NoError(w, err)
				w.lab.Host("client").Sleep(w.Context(), time.Second)
				heard, err := io.ReadAll(conn)
				assert.NoError(w, err)
				lines := strings.Split(strings.TrimSpace(string(heard)), "\r\n")
				assert.True(w, strings.HasPrefix(lines[len(lines)-1], "421 4.3.2 "), "%q", lines)
				conn.Close()
			})
			assert.Empty(t, w.events)
			assert.Zero(t, w.resets)
		})
	}
}
