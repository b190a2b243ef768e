package mail

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"
)

func TestDirectDelivery(t *testing.T) {
	var tr *trace.Trace
	w := scene{servers: map[string]Server{"mx": exchange}}.run(t, func(w *world) {
		tr = w.send("mx.example.net", nil)
	})
	assert.Equal(t, trace.Accepted, tr.Result.Outcome)
	assert.Equal(t, []string{"0s mx delivered ada@example.org > bob@example.net"}, w.events)
	id := tr.Result.Messages[0].QueueID
	want := "Return-Path: <ada@example.org>\r\n" +
		"Received: from client.example ([192.0.2.1])\r\n" +
		"\tby mx.example.net with ESMTP id " + id + "\r\n" +
		"\tfor <bob@example.net>;\r\n" +
		"\tThu, 01 Jan 2026 00:00:00 +0000\r\n" + letter
	assert.Equal(t, []string{want}, w.inbox("bob@example.net"))
	assert.Equal(t, []string{want}, w.texts)
	assert.Equal(t, trace.MailData{Host: "mx", QueueID: id, From: "ada@example.org", To: []string{"bob@example.net"},
		Size: len(want), Mailbox: "bob@example.net"}, w.data[0])
}

// The recipients of a message get one copy each, wherever they are, and do not
// learn of each other.
func TestManyRecipients(t *testing.T) {
	to := []string{"bob@example.net", "carol@example.org", "BOB@Example.NET", `"Bob, too"@example.net`, "carol@example.org", "dave@r1.example"}
	w := scene{servers: map[string]Server{"mail": submission, "mx": exchange, "r1": {Name: "r1.example", Domains: []string{"r1.example"}}}}.run(t, func(w *world) {
		assert.Equal(w, trace.Accepted, w.submit(map[string]any{"to": to}).Result.Outcome)
	})
	for owner, copies := range map[string]int{"bob@example.net": 1, `"bob, too"@example.net`: 1, "carol@example.org": 1, "dave@r1.example": 1} {
		inbox := w.inbox(owner)
		require.Len(t, inbox, copies, owner)
		for _, other := range to {
			if !strings.EqualFold(other, owner) && !strings.Contains(letter, other) {
				assert.NotContains(t, inbox[0], other, "in the copy of %s", owner)
			}
		}
	}
	assert.Equal(t, []string{
		"0s mail delivered ada@example.org > carol@example.org",
		`0s mail queued ada@example.org > bob@example.net BOB@Example.NET "Bob, too"@example.net dave@r1.example`,
		`0s mail attempt ada@example.org > bob@example.net BOB@Example.NET "Bob, too"@example.net by mx.example.net`,
		"0s mx delivered ada@example.org > bob@example.net",
		`0s mx delivered ada@example.org > "Bob, too"@example.net`,
		`0s mail relayed ada@example.org > bob@example.net BOB@Example.NET "Bob, too"@example.net by mx.example.net`,
		"0s mail attempt ada@example.org > dave@r1.example by r1.example",
		"0s r1 delivered ada@example.org > dave@r1.example",
		"0s mail relayed ada@example.org > dave@r1.example by r1.example",
	}, w.events)
}

// passed are the servers of a message's Received lines, the last one first.
func passed(message string) (names []string) {
	for _, found := range regexp.MustCompile(`(?m)^Received: from (\S+) \(\[\S+\]\)\r\n\tby (\S+) with (\S+) id`).FindAllStringSubmatch(message, -1) {
		names = append(names, strings.Join(found[1:], " "))
	}
	return names
}

func TestSubmissionAndRelay(t *testing.T) {
	for port, plan := range map[int]map[string]any{
		25:  {"security": "none"},
		587: {"security": "starttls"},
		465: {"security": "tls"},
	} {
		t.Run(fmt.Sprint(port), func(t *testing.T) {
			var tr *trace.Trace
			plan["target"] = map[string]any{"mode": "live", "host": "mail.example.org", "port": port}
			w := scene{servers: map[string]Server{"mail": submission, "mx": exchange}}.run(t, func(w *world) {
				tr = w.submit(plan)
			})
			require.Equal(t, trace.Accepted, tr.Result.Outcome, "%+v", tr.Result.Error)
			require.Len(t, w.inbox("bob@example.net"), 1)
			with := map[int]string{25: "ESMTPA", 587: "ESMTPSA", 465: "ESMTPSA"}[port]
			message := w.inbox("bob@example.net")[0]
			assert.Equal(t, []string{"mail.example.org mx.example.net ESMTP", "client.example mail.example.org " + with}, passed(message))
			assert.True(t, strings.HasPrefix(message, "Return-Path: <ada@example.org>\r\nReceived: "), message)
			assert.True(t, strings.HasSuffix(message, letter), message)

			require.Len(t, w.data, 4)
			queued, attempt, delivered, relayed := w.data[0], w.data[1], w.data[2], w.data[3]
			id := tr.Result.Messages[0].QueueID
			common := trace.MailData{Host: "mail", QueueID: id, From: "ada@example.org", To: []string{"bob@example.net"}, Size: queued.Size}
			assert.Equal(t, common, queued)
			common.Attempt, common.Next = 1, "mx.example.net"
			assert.Equal(t, common, attempt)
			common.Hop = 1
			assert.Equal(t, common, relayed)
			assert.NotEqual(t, id, delivered.QueueID, "every server names a message anew")
			require.Len(t, w.hops, 1)
			assert.Equal(t, "mail", w.hops[0].host)
			assert.Equal(t, "mx.example.net", w.hops[0].next)
			assert.Equal(t, []string{" 220 mx.example.net ESMTP Service Ready", "EHLO mail.example.org", " 250-Hello mail.example.org",
				fmt.Sprintf("MAIL FROM:<ada@example.org> SIZE=%d", queued.Size)}, w.hops[0].said[:4])
			assert.Equal(t, " 250 2.0.0 Ok: queued as "+delivered.QueueID, w.hops[0].said[len(w.hops[0].said)-3])
		})
	}
}

func TestChainOfRelays(t *testing.T) {
	w := scene{servers: map[string]Server{
		"r1": {Name: "r1.example", Relay: true, Next: "r2.example"},
		"r2": {Name: "r2.example", Relay: true, Next: "r3.example"},
		"r3": {Name: "r3.example", Relay: true},
		"mx": exchange,
	}}.run(t, func(w *world) {
		assert.Equal(w, trace.Accepted, w.send("r1.example", nil).Result.Outcome)
	})
	require.Len(t, w.inbox("bob@example.net"), 1)
	assert.Equal(t, []string{"r3.example mx.example.net ESMTP", "r2.example r3.example ESMTP", "r1.example r2.example ESMTP",
		"client.example r1.example ESMTP"}, passed(w.inbox("bob@example.net")[0]))
	require.Len(t, w.hops, 3)
}

// Octets that are not UTF-8, dots at the start of lines and an empty message
// arrive as they were.
func TestMessagesArriveUnchanged(t *testing.T) {
	for name, text := range map[string]string{
		"latin-1": "Subject: caf\xe9\r\n\r\n\xff\x80\r\n",
		"dots":    "Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
		"long":    "Subject: long\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 5_000),
		"empty":   "",
	} {
		t.Run(name, func(t *testing.T) {
			w := scene{servers: map[string]Server{"r1": {Name: "r1.example", Relay: true}, "mx": exchange}}.run(t, func(w *world) {
				stuffed := strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]
				replies := w.talk("tcp", "r1.example:25", "EHLO client.example", "MAIL FROM:<> BODY=8BITMIME", "RCPT TO:<bob@example.net>", "DATA", stuffed+".")
				assert.Contains(w, replies[len(replies)-1], "250 2.0.0 Ok: queued as ")
			})
			require.Len(t, w.inbox("bob@example.net"), 1)
			_, got, _ := strings.Cut(w.inbox("bob@example.net")[0], "+0000\r\n") // of mx
			_, got, _ = strings.Cut(got, "+0000\r\n")                            // of r1
			assert.True(t, text == got, "%.200q", got)
		})
	}
}

func TestDeadExchange(t *testing.T) {
	down := quirky(exchange, Quirks{Down: 45 * time.Minute})
	w := scene{servers: map[string]Server{"mail": submission, "mx": down}}.run(t, func(w *world) { w.submit(nil) })
	assert.Equal(t, []string{
		"0s mail queued ada@example.org > bob@example.net",
		"0s mail attempt ada@example.org > bob@example.net by mx.example.net",
		"0s mail attempt ada@example.org > bob@example.net by mx2.example.net",
		"0s mail deferred ada@example.org > bob@example.net by mx2.example.net",
		"30m0s mail attempt ada@example.org > bob@example.net by mx.example.net",
		"30m0s mail attempt ada@example.org > bob@example.net by mx2.example.net",
		"30m0s mail deferred ada@example.org > bob@example.net by mx2.example.net",
		"1h30m0s mail attempt ada@example.org > bob@example.net by mx.example.net",
		"1h30m0s mx delivered ada@example.org > bob@example.net",
		"1h30m0s mail relayed ada@example.org > bob@example.net by mx.example.net",
	}, w.events)
	deferred := w.first(trace.KindDeferred)
	assert.Equal(t, "dial tcp 198.51.100.26:25: connect: connection refused", strings.ToLower(deferred.Reason))
	assert.InDelta(t, 30*time.Minute, deferred.Retry, float64(time.Second))
	assert.Zero(t, deferred.Hop)
	assert.Len(t, w.inbox("bob@example.net"), 1)
}

func TestSecondExchange(t *testing.T) {
	second := Server{Name: "mx2.example.net", Domains: []string{"example.net"}}
	for name, first := range map[string]*Server{
		"dead": nil,
		"busy": new(quirky(exchange, Quirks{GreetingDelay: 10 * time.Minute})), // longer than a client waits
	} {
		t.Run(name, func(t *testing.T) {
			servers := map[string]Server{"mail": submission, "mx2": second}
			if first != nil {
				servers["mx"] = *first
			}
			w := scene{servers: servers}.run(t, func(w *world) { w.submit(nil) })
			assert.Len(t, w.inbox("bob@example.net"), 1)
			relayed := w.first(trace.KindRelayed)
			assert.Equal(t, "mx2.example.net", relayed.Next)
			assert.Equal(t, 1, relayed.Attempt)
		})
	}
}

// A backup server takes mail for a domain and brings it to a better server only.
func TestBackupExchange(t *testing.T) {
	backup := Server{Name: "mx2.example.net", Relay: true}
	first := quirky(exchange, Quirks{Down: time.Hour})
	w := scene{servers: map[string]Server{"mail": submission, "mx2": backup, "mx": first}}.run(t, func(w *world) { w.submit(nil) })
	require.Len(t, w.inbox("bob@example.net"), 1)
	assert.Len(t, passed(w.inbox("bob@example.net")[0]), 3)
	assert.NotContains(t, strings.Join(w.events, "\n"), "mx2 attempt ada@example.org > bob@example.net by mx2.example.net")
}

// A message that several servers send to each other comes to an end.
func TestLoopEnds(t *testing.T) {
	w := scene{servers: map[string]Server{
		"r1": {Name: "r1.example", Relay: true, Next: "r2.example"},
		"r2": {Name: "r2.example", Relay: true, Next: "r1.example", Domains: []string{"example.org"}},
	}}.run(t, func(w *world) {
		travelled := strings.Repeat("Received: from a by b;\r\n\tThu, 01 Jan 2026 00:00:00 +0000\r\n", 95) + letter
		assert.Equal(w, trace.Accepted, w.send("r1.example", map[string]any{"data": travelled}).Result.Outcome)
	})
	assert.Empty(t, w.inbox("bob@example.net"))
	assert.Equal(t, "554 5.4.6 The message has passed more than 100 servers: it goes in circles", w.first(trace.KindBounced).Reason)
	assert.Len(t, w.inbox("ada@example.org"), 1)
	assert.Len(t, w.hops, 101-95)
}

func TestServerThatIsItsOwnExchange(t *testing.T) {
	w := scene{servers: map[string]Server{"r1": {Name: "r1.example", Relay: true, Domains: []string{"example.org"}}}}.run(t, func(w *world) {
		w.send("r1.example", map[string]any{"to": []string{"bob@r1.example"}})
	})
	assert.Equal(t, "mail for r1.example loops back to r1.example", w.first(trace.KindBounced).Reason)
	assert.Empty(t, w.hops)
	require.Len(t, w.inbox("ada@example.org"), 1)
	assert.Contains(t, w.inbox("ada@example.org")[0], "Status: 5.4.6\r\n")
}

// A DNS that does not answer says nothing against a name.
func TestDNSThatIsSilent(t *testing.T) {
	deaf := []internet.Between{{A: "mail", B: "dns", Link: internet.Link{Loss: 1}}}
	w := scene{links: deaf, servers: map[string]Server{"mail": submission}}.run(t, func(w *world) { w.submit(nil) })
	assert.Equal(t, "0s mail queued ada@example.org > bob@example.net", w.events[0])
	assert.Equal(t, "30s mail deferred ada@example.org > bob@example.net by example.net", w.events[1])
	assert.Contains(t, w.data[1].Reason, "no answer after 4 questions")
}

// A message that finds no server is tried for five days.
func TestGivenUp(t *testing.T) {
	w := scene{servers: map[string]Server{"mail": submission}}.run(t, func(w *world) { w.submit(nil) })
	var at []time.Duration
	for _, e := range w.events {
		if when, of, _ := strings.Cut(e, " "); strings.HasPrefix(of, "mail deferred") {
			d, err := time.ParseDuration(when)
			require.NoError(t, err)
			at = append(at, d.Truncate(time.Minute))
		}
	}
	require.Len(t, at, 33)
	assert.Equal(t, []time.Duration{0, 30 * time.Minute, 90 * time.Minute, 210 * time.Minute, 450 * time.Minute, 690 * time.Minute}, at[:6])
	bounced := w.first(trace.KindBounced)
	assert.Equal(t, 34, bounced.Attempt)
	assert.Contains(t, bounced.Reason, "not delivered within 120h0m0s; the last attempt: dial tcp 198.51.100.26:25: connect: ")
	assert.Equal(t, "120h0m0s mail bounced ada@example.org > bob@example.net by mx2.example.net", w.events[len(w.events)-2])
	require.Len(t, w.inbox("ada@example.org"), 1)
	assert.Contains(t, w.inbox("ada@example.org")[0], "Status: 4.4.7\r\n")
}

// Mail that is queued while another message waits for its retry goes out at once.
func TestQueueDoesNotBlock(t *testing.T) {
	down := quirky(exchange, Quirks{Down: 20 * time.Minute})
	w := scene{servers: map[string]Server{"mail": submission, "mx": down, "r1": {Name: "r1.example", Domains: []string{"r1.example"}}}}.run(t, func(w *world) {
		w.submit(nil)
		w.lab.Host("client").Sleep(w.Context(), 10*time.Minute)
		w.submit(map[string]any{"to": []string{"carol@r1.example"}})
	})
	assert.Equal(t, []string{
		"10m0s r1 delivered ada@example.org > carol@r1.example",
		"10m0s mail relayed ada@example.org > carol@r1.example by r1.example",
		"30m0s mail attempt ada@example.org > bob@example.net by mx.example.net",
	}, w.events[6:9])
	assert.Len(t, w.inbox("bob@example.net"), 1)
}

// Names decide before there is a connection.
func TestNames(t *testing.T) {
	for domain, want := range map[string]struct{ status, reason string }{
		"nowhere.example": {"5.1.2", "lookup nowhere.example on 203.0.113.53: no such name"},
		"silent.example":  {"5.1.10", "silent.example takes no mail: it has a null MX (RFC 7505)"},
		"lost.example":    {"5.4.4", "lookup nowhere.example on 203.0.113.53: no such name"},
		"[192.0.2.99]":    {"5.1.2", "lookup [192.0.2.99] on 203.0.113.53: no such name"},
	} {
		t.Run(domain, func(t *testing.T) {
			w := scene{servers: map[string]Server{"mail": submission}}.run(t, func(w *world) {
				w.submit(map[string]any{"to": []string{"bob@" + domain}})
			})
			assert.Equal(t, want.reason, w.first(trace.KindBounced).Reason)
			require.Len(t, w.inbox("ada@example.org"), 1)
			assert.Contains(t, w.inbox("ada@example.org")[0], "Status: "+want.status+"\r\n")
		})
	}
}
