package practice

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	client "smtpscope/protocol/session"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// What go-smtp does not answer is answered in its turn, also in a group.
func TestCommandsOfTheFront(t *testing.T) {
	s := startTest(t, nil)
	c := dial(t, s, PortSMTP)
	c.ehlo()
	for command, want := range map[string]string{
		"VRFY ada":                         "250 2.1.5 Ada Lovelace <ada@mail.practice.test>",
		"vrfy <Ada@mail.practice.test>":    "250 2.1.5 ",
		"VRFY grace":                       "252 2.5.0 ",
		"VRFY reject@example.net":          "550 5.1.1 ",
		"VRFY":                             "501 5.5.4 ",
		"EXPN staff":                       "250 2.1.5 Charles Babbage",
		"EXPN others":                      "550 5.1.1 ",
		"HELP":                             "214 2.0.0   bounce-data: 554 ",
		"ETRN example.org":                 "251 2.0.0 OK, no messages are waiting for node example.org",
		"ETRN":                             "501 5.5.4 ",
		"XFORWARD NAME=x":                  "250 2.0.0 ",
		"XFORWARD COLOR=red":               "501 5.5.4 ",
		"XFORWARD":                         "501 5.5.4 ",
		"XCLIENT ADDR=300.1.1.1":           "501 5.5.4 ",
		"XCLIENT NAME":                     "501 5.5.4 ",
		"XCLIENT NAME=+4":                  "501 5.5.4 ",
		"STARTTLS now":                     "501 5.5.4 ",
		"TURN":                             "502 5.5.1 ",
		"NOOP":                             "250 2.0.0 ",
		"XYZZY " + strings.Repeat("x", 99): "501 5.5.2 ",
	} {
		expectPrefix(t, c.do(command), want)
	}
	c.write("MAIL FROM:<a@example.org>\r\nVRFY ada\r\nRCPT TO:<b@example.org>\r\nXCLIENT NAME=x\r\nNOOP\r\n")
	for _, want := range []string{"250 2.0.0 Roger", "250 2.1.5 Ada", "250 2.0.0 I'll", "503 5.5.1 A mail", "250 2.0.0 I have"} {
		expectPrefix(t, c.reply()[0], want)
	}
	before := dial(t, s, PortSMTP)
	expectPrefix(t, before.do("XCLIENT NAME=x"), "502 ")
}

// A message is no command, whatever stands in it, and what only looks like its end is not.
func TestMessagesPassTheFront(t *testing.T) {
	s := startTest(t, nil)
	c := dial(t, s, PortSMTP)
	c.ehlo()
	text := "VRFY ada\r\nSTARTTLS\r\nQUIT\r\n\n.\n\r\r\n.\r\nVRFY ada\r\n" + strings.Repeat("x", 40_000) + "\r\nEHLO x\r\n"
	c.write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
	for _, want := range []string{"250 ", "250 ", "354 "} {
		expectPrefix(t, c.reply()[0], want)
	}
	c.write(text + ".\r\nVRFY ada\r\n")
	stored, err := s.Message(queueID(t, c.reply()[0]))
	require.NoError(t, err)
	_, got := original(t, stored)
	assert.Equal(t, strings.Replace(text, "\r\r\n.\r\n", "\r\r\n.\r\n", 1), got)
	expectPrefix(t, c.reply()[0], "250 2.1.5 ")

	for i, chunk := range []string{"QUIT\r\n", "STARTTLS\r\nVRFY"} {
		c.write([]string{"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n", ""}[i])
		for range 2 * (1 - i) {
			expectPrefix(t, c.reply()[0], "250 ")
		}
		c.write(fmt.Sprintf("BDAT %d%s\r\n%s", len(chunk), []string{"", " LAST"}[i], chunk))
		expectPrefix(t, c.reply()[0], "250 ")
	}
	c.write("BDAT 6\r\nQUIT\r\nBDAT x\r\nVRFY ada\r\n")
	for _, want := range []string{"502 ", "501 ", "250 2.1.5 "} {
		expectPrefix(t, c.reply()[0], want)
	}
}

// After XCLIENT the session begins anew, and the message says who sent it.
func TestXCLIENT(t *testing.T) {
	s := startTest(t, nil)
	c := dial(t, s, PortSubmission)
	c.ehlo()
	assert.Equal(t, "220 mail.practice.test ESMTP Service Ready", c.do("XCLIENT NAME=spike.example ADDR=IPV6:2001:db8::1 LOGIN=grace+20h"))
	expectPrefix(t, c.do("MAIL FROM:<a@example.org>"), "502 ")
	c.ehlo()
	expectPrefix(t, c.do("XFORWARD NAME=relay.example ADDR=192.0.2.7"), "250 ")
	expectPrefix(t, c.do("MAIL FROM:<a@example.org> BY=120;R RET=HDRS"), "250 ")
	expectPrefix(t, c.do("RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY RRVS=2026-01-01T00:00:00Z"), "250 ")
	expectPrefix(t, c.do("DATA"), "354 ")
	stored, err := s.Message(queueID(t, c.do(letter+".")))
	require.NoError(t, err)
	fields, message := original(t, stored)
	assert.Equal(t, letter, message)
	assert.Contains(t, fields, "X-Practice-Asked: BY=120;R;\r\n\tRET=HDRS;\r\n\tNOTIFY=SUCCESS,DELAY for <b@example.org>;\r\n\tRRVS=2026-01-01T00:00:00Z for <b@example.org>\r\n"+
		"X-Practice-XCLIENT: ADDR=IPV6:2001:db8::1;\r\n\tLOGIN=grace h;\r\n\tNAME=spike.example\r\n"+
		"X-Practice-XFORWARD: ADDR=192.0.2.7;\r\n\tNAME=relay.example\r\nReceived: from page.example ([2001:db8::1])")

	c = dial(t, s, PortSubmissions)
	c.ehlo()
	c.login()
	expectPrefix(t, c.do("XCLIENT NAME=x"), "503 ")
}

func TestLMTP(t *testing.T) {
	s := startTest(t, nil)
	conn, err := net.Dial("tcp", s.Listeners()[PortLMTP].String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	c := &talk{t, conn, bufio.NewReader(conn)}
	assert.Equal(t, []string{"220 mail.practice.test LMTP Service Ready"}, c.reply())
	expectPrefix(t, c.do("EHLO page.example"), "500 ")
	expectPrefix(t, c.do("LHLO page.example"), "250 STARTTLS")
	c.write("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<bounce-data@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
	for _, want := range []string{"250 ", "250 ", "250 ", "250 ", "354 "} {
		expectPrefix(t, c.reply()[0], want)
	}
	c.write(letter + ".\r\n")
	expectPrefix(t, c.reply()[0], "250 2.0.0 <b@example.org> OK: queued as ")
	expectPrefix(t, c.reply()[0], "554 5.6.0 <bounce-data@example.org> ")
	stored := c.reply()[0]
	expectPrefix(t, stored, "250 2.0.0 <b@example.org> OK: queued as ")
	kept, err := s.Message(stored[strings.LastIndexByte(stored, ' ')+1:])
	require.NoError(t, err)
	assert.Contains(t, string(kept), " with LMTP id ")
}

// This project's own client uses all of it.
func TestSessions(t *testing.T) {
	s := startTest(t, nil)
	message := map[string]any{"from": "ada@example.org", "to": []string{"bob@example.net", "bounce-data@example.net"}, "data": "Subject: x\r\n\r\nx\r\n",
		"alternatives": map[string]any{"binarymime": "Subject: x\r\n\r\n\x00\r\n"}}
	all := map[string]any{"pipelining": true, "chunking": true, "requiretls": true, "deliverby": "120;R", "priority": 3, "rset": true, "rrvs": "2026-01-01T00:00:00Z",
		"dsn": map[string]any{"notify": []string{"success"}, "ret": "hdrs", "envid": "x"}, "xclient": map[string]any{"NAME": "spike.example", "ADDR": "192.0.2.1"},
		"xforward": map[string]any{"NAME": "spike.example"}}
	lmtp := map[string]any{"protocol": "lmtp", "pipelining": true}
	for _, c := range []struct {
		name, security string
		auth           string
		options        map[string]any
		outcome        trace.Outcome
		mechanism      string
	}{
		{"all", "starttls", "", all, trace.Rejected, "SCRAM-SHA-256-PLUS"},
		{"all, implicit TLS", "tls", "SCRAM-SHA-1", all, trace.Rejected, "SCRAM-SHA-1"},
		{"SCRAM-SHA-1-PLUS", "tls", "SCRAM-SHA-1-PLUS", nil, trace.Rejected, "SCRAM-SHA-1-PLUS"},
		{"LMTP", "starttls", "none", lmtp, trace.Partial, ""},
		{"LMTP in clear", "none", "none", lmtp, trace.Partial, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := map[string]any{"target": map[string]any{"mode": "practice"}, "security": c.security, "tls": map[string]any{"ca": []string{s.Info().CA}},
				"messages": []any{message}, "options": c.options, "commands": []string{"VRFY ada", "EXPN staff", "HELP", "ETRN example.org", "NOOP", "RSET"}}
			if c.options == nil {
				delete(plan, "options")
			}
			if c.auth != "none" {
				plan["auth"] = map[string]any{"mechanism": c.auth, "username": Username, "password": Password}
			}
			text, err := json.Marshal(plan)
			require.NoError(t, err)
			p, err := client.ParsePlan(text)
			require.NoError(t, err)
			tr := client.New(client.Config{Plan: p, Tool: "x", Dial: func(ctx context.Context, target client.Target, _ func(tunnel.Status)) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", s.Listeners()[target.Port].String())
			}}).Run(t.Context())
			require.NotEmpty(t, tr.Result.Messages, "%+v", tr.Result.Error)
			assert.Equal(t, c.outcome, tr.Result.Outcome, "%+v", tr.Result.Error)
			assert.Equal(t, "554", fmt.Sprint(tr.Result.Reply.Code), "what bounce-data always says")
			sent, said := "", ""
			for _, e := range tr.Events {
				switch e.Kind {
				case trace.KindCommand:
					sent += e.Text + "\n"
				case trace.KindReply:
					said += e.Text + "\n"
				case trace.KindNote:
					assert.Fail(t, e.Text)
				}
			}
			if c.mechanism != "" {
				assert.Contains(t, sent, "AUTH "+c.mechanism+" ")
			}
			assert.Contains(t, said, "251 2.0.0 OK, no messages are waiting")
			if c.options["requiretls"] == true {
				assert.Contains(t, sent, "BODY=BINARYMIME REQUIRETLS RET=HDRS ENVID=x BY=120;R MT-PRIORITY=3\n")
				assert.Contains(t, sent, "XCLIENT NAME=spike.example ADDR=192.0.2.1\n")
			}
		})
	}
}
