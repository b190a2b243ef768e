package mail

import (
	"bufio"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
)

func TestBounce(t *testing.T) {
	refusing := quirky(exchange, Quirks{Unknown: []string{"Bob@example.net", "carol@example.net"}})
	text := strings.Replace(letter, "Subject: hello", "Subject: caf\xc3\xa9", 1)
	w := scene{servers: map[string]Server{"mail": submission, "mx": refusing}}.run(t, func(w *world) {
		assert.Equal(w, trace.Accepted, w.submit(map[string]any{"data": text,
			"to": []string{"bob@example.net", "dave@example.net", "carol@example.net"}}).Result.Outcome)
	})
	assert.Equal(t, []string{
		"0s mail queued ada@example.org > bob@example.net dave@example.net carol@example.net",
		"0s mail attempt ada@example.org > bob@example.net dave@example.net carol@example.net by mx.example.net",
		"0s mx delivered ada@example.org > dave@example.net",
		"0s mail bounced ada@example.org > bob@example.net carol@example.net by mx.example.net",
		"0s mail relayed ada@example.org > dave@example.net by mx.example.net",
		"0s mail delivered  > ada@example.org",
	}, w.events)
	const reason = "550 5.1.1 No such mailbox here"
	assert.Equal(t, reason, w.first(trace.KindBounced).Reason)
	assert.Equal(t, 1, w.first(trace.KindBounced).Hop)

	require.Len(t, w.inbox("ada@example.org"), 1)
	m, err := mail.ReadMessage(strings.NewReader(w.inbox("ada@example.org")[0]))
	require.NoError(t, err)
	id := w.data[len(w.data)-1].QueueID
	assert.Equal(t, mail.Header{
		"Return-Path":               {"<>"},
		"From":                      {"Mail Delivery System <MAILER-DAEMON@mail.example.org>"},
		"To":                        {"<ada@example.org>"},
		"Subject":                   {"Undelivered Mail Returned to Sender"},
		"Date":                      {"Thu, 01 Jan 2026 00:00:00 +0000"},
		"Message-Id":                {"<" + id + "@mail.example.org>"},
		"Auto-Submitted":            {"auto-replied"},
		"Mime-Version":              {"1.0"},
		"Content-Type":              {`multipart/report; report-type=delivery-status; boundary="report-` + id + `"`},
		"Content-Transfer-Encoding": {"8bit"},
	}, m.Header)
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	assert.Equal(t, "multipart/report", kind)
	assert.Equal(t, "delivery-status", params["report-type"])

	parts := multipart.NewReader(m.Body, params["boundary"])
	part := func(kind string) string {
		p, err := parts.NextRawPart()
		require.NoError(t, err)
		assert.Equal(t, kind, p.Header.Get("Content-Type"))
		b, err := io.ReadAll(p)
		require.NoError(t, err)
		return string(b)
	}
	words := part("text/plain; charset=us-ascii")
	assert.Contains(t, words, "This is the mail server mail.example.org.\r\n")
	assert.Contains(t, words, "<bob@example.net>\r\n    "+reason+"\r\n")
	assert.NotContains(t, words, "dave")

	status := textproto.NewReader(bufio.NewReader(strings.NewReader(part("message/delivery-status") + "\r\n\r\n")))
	group := func() textproto.MIMEHeader {
		h, err := status.ReadMIMEHeader()
		require.NoError(t, err)
		return h
	}
	assert.Equal(t, textproto.MIMEHeader{
		"Reporting-Mta": {"dns; mail.example.org"},
		"Arrival-Date":  {"Thu, 01 Jan 2026 00:00:00 +0000"},
	}, group())
	for _, to := range []string{"bob@example.net", "carol@example.net"} {
		assert.Equal(t, textproto.MIMEHeader{
			"Final-Recipient":   {"rfc822; " + to},
			"Action":            {"failed"},
			"Status":            {"5.1.1"},
			"Remote-Mta":        {"dns; mx.example.net"},
			"Diagnostic-Code":   {"smtp; " + reason},
			"Last-Attempt-Date": {"Thu, 01 Jan 2026 00:00:00 +0000"},
		}, group())
	}

	original := part("text/rfc822-headers")
	assert.True(t, strings.HasPrefix(original, "Received: from client.example ([192.0.2.1])\r\n"), original)
	assert.Contains(t, original, "Subject: caf\xc3\xa9\r\n")
	assert.NotContains(t, original, "Hello, Bob")
	_, err = parts.NextPart()
	assert.ErrorIs(t, err, io.EOF)
}

// A bounce goes to its sender's server like any other message.
func TestBounceOfARelay(t *testing.T) {
	w := scene{servers: map[string]Server{"mail": submission, "r1": {Name: "r1.example", Relay: true},
		"mx": quirky(exchange, Quirks{Unknown: []string{"bob@example.net"}})}}.run(t, func(w *world) {
		assert.Equal(w, trace.Accepted, w.send("r1.example", nil).Result.Outcome)
	})
	assert.Equal(t, []string{
		"0s r1 queued ada@example.org > bob@example.net",
		"0s r1 attempt ada@example.org > bob@example.net by mx.example.net",
		"0s r1 bounced ada@example.org > bob@example.net by mx.example.net",
		"0s r1 queued  > ada@example.org",
		"0s r1 attempt  > ada@example.org by mail.example.org",
		"0s mail delivered  > ada@example.org",
		"0s r1 relayed  > ada@example.org by mail.example.org",
	}, w.events)
	require.Len(t, w.inbox("ada@example.org"), 1)
	assert.True(t, strings.HasPrefix(w.inbox("ada@example.org")[0], "Return-Path: <>\r\nReceived: from r1.example ("))
}

// What comes from the null path is never bounced (RFC 5321, 6.1).
func TestNullPathIsNotBounced(t *testing.T) {
	w := scene{servers: map[string]Server{"r1": {Name: "r1.example", Relay: true},
		"mx": quirky(exchange, Quirks{Unknown: []string{"bob@example.net"}})}}.run(t, func(w *world) {
		w.send("r1.example", map[string]any{"from": ""})
	})
	assert.Equal(t, []string{
		"0s r1 queued  > bob@example.net",
		"0s r1 attempt  > bob@example.net by mx.example.net",
		"0s r1 bounced  > bob@example.net by mx.example.net",
	}, w.events)
	assert.Equal(t, "550 5.1.1 No such mailbox here", w.first(trace.KindBounced).Reason)
}

// What this side of a dialogue refuses to send comes back too.
func TestBounceOfWhatCannotBeSent(t *testing.T) {
	w := scene{servers: map[string]Server{"mail": submission, "mx": quirky(exchange, Quirks{Size: 100})}}.run(t, func(w *world) { w.submit(nil) })
	require.Len(t, w.inbox("ada@example.org"), 1)
	bounce := w.inbox("ada@example.org")[0]
	assert.Contains(t, bounce, "Status: 5.3.4\r\n")
	assert.NotContains(t, bounce, "Remote-MTA", "the server has not said anything")
	assert.Contains(t, bounce, "the server takes at most 100")
}

func TestFolded(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"short", "short"},
		{"caf\xc3\xa9\r\n\x1b", "caf????"[:4] + "???"},
		{long, long},
		{long + " " + long + " y", long + "\r\n\t" + long + "\r\n\ty"},
		{strings.Repeat("word ", 20), strings.TrimSuffix(strings.Repeat("word ", 15), " ") + "\r\n\t" + strings.Repeat("word ", 5)},
	} {
		assert.Equal(t, c.want, folded(c.text, "\t"), "%q", c.text)
	}
}

func TestDateOfTheLab(t *testing.T) {
	v := &server{system: &System{config: Config{Now: func() time.Time { return start.Add(36 * time.Hour) }}}}
	assert.Equal(t, "Fri, 02 Jan 2026 12:00:00 +0000", v.date())
}
