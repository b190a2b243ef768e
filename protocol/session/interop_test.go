package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/session"
	"smtpscope/protocol/session/realservers"
	"smtpscope/protocol/trace"
)

// door is a way into a server.
type door int

const (
	submission door = iota // STARTTLS and AUTH; where a server has no such port, the one that asks for nothing
	implicit               // TLS from the first octet, and AUTH
	transfer               // the port that asks for nothing; where a server has none, submission
	localPort              // LMTP
	inClear                // as submission, but without AUTH; the row brings its own
)

// row is one thing that every server is asked to do, and a row of the table in the README.
type row struct {
	name   string
	needs  string // the EHLO keyword, or "AUTH X"; "" where nothing has to be offered
	door   door
	plan   map[string]any // besides where to and who
	data   string
	copies int    // of the message that arrive; 0 is 1
	sends  string // part of what the client says: that it made use of it
	logged string // what Postfix then has in its log
	probe  string // the verb whose reply is the cell, for commands
}

// harmless keywords ask for no command.
var harmless = []string{"ENHANCEDSTATUSCODES", "HELP"}

func interopRows() []row {
	option := func(all ...any) map[string]any {
		o := map[string]any{}
		for i := 0; i < len(all); i += 2 {
			o[all[i].(string)] = all[i+1]
		}
		return map[string]any{"options": o}
	}
	ask := func(line string) map[string]any { return map[string]any{"commands": []string{line}} }
	many := slices.Repeat([]string{realservers.Recipient}, 51)
	rows := []row{
		{name: "STARTTLS", needs: "STARTTLS", plan: map[string]any{"security": "starttls"}, sends: "STARTTLS\r\n"},
		{name: "implicit TLS", door: implicit},
		{name: "REQUIRETLS", needs: "REQUIRETLS", plan: option("requiretls", true), sends: " REQUIRETLS"},
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS",
		"OAUTHBEARER", "EXTERNAL", "ANONYMOUS"} {
		rows = append(rows, row{name: "AUTH " + mechanism, needs: "AUTH " + mechanism, door: inClear, sends: "AUTH " + mechanism,
			plan: map[string]any{"auth": map[string]any{"mechanism": mechanism, "username": realservers.Username, "password": realservers.Password}}})
	}
	return append(rows, []row{
		{name: "PIPELINING", needs: "PIPELINING", plan: option("pipelining", true)},
		{name: "SIZE", needs: "SIZE", sends: " SIZE="},
		{name: "8BITMIME", needs: "8BITMIME", data: "Grüße\r\n", sends: " BODY=8BITMIME"},
		{name: "SMTPUTF8", needs: "SMTPUTF8", plan: option("smtputf8", true), data: "Subject: Grüße\r\n", sends: " SMTPUTF8"},
		{name: "CHUNKING", needs: "CHUNKING", plan: option("chunking", true), data: ".\r\n", sends: "BDAT "},
		{name: "CHUNKING, in a group", needs: "CHUNKING", plan: option("chunking", true, "pipelining", true), data: "..\r\n", sends: "BDAT "},
		{name: "CHUNKING, two chunks", needs: "CHUNKING", plan: option("chunking", true), data: strings.Repeat(strings.Repeat("x", 76)+"\r\n", 5<<20/78), sends: "BDAT 4194304\r\n"},
		{name: "BINARYMIME", needs: "BINARYMIME", plan: option("chunking", true, "body", "binarymime"), data: "a\n.\r\x00\nb", sends: " BODY=BINARYMIME"},
		{name: "DSN", needs: "DSN", plan: option("dsn", map[string]any{"notify": []string{"failure", "delay"}, "ret": "hdrs", "envid": "a+b"}), sends: " ENVID=a+2Bb"},
		{name: "DELIVERBY", needs: "DELIVERBY", plan: option("deliverby", "3600;R"), sends: " BY=3600;R"},
		{name: "MT-PRIORITY", needs: "MT-PRIORITY", plan: option("priority", 3), sends: " MT-PRIORITY=3"},
		{name: "RRVS", needs: "RRVS", plan: option("rrvs", "2026-01-01T00:00:00Z"), sends: " RRVS=2026-01-01T00:00:00Z"},
		{name: "LIMITS: 51 recipients", needs: "LIMITS", plan: map[string]any{"messages": []any{map[string]any{"from": realservers.Username, "to": many, "data": typed("LIMITS", "x\r\n")}}},
			data: "x\r\n", copies: 2},
		{name: "two messages, RSET between", plan: map[string]any{"options": map[string]any{"rset": true}, "messages": slices.Repeat([]any{
			map[string]any{"from": realservers.Username, "to": []string{realservers.Recipient}, "data": typed("two", "x\r\n")}}, 2)}, data: "x\r\n", copies: 2, sends: "RSET\r\n"},
		{name: "dots, no line end", data: ".\r\n..\r\n.a\r\n...\r\n\r\n.\r\nthe end"},
		{name: "2.5 MB", data: strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 1<<15)},
		{name: "LMTP, two recipients", door: localPort, copies: 1, plan: map[string]any{"options": map[string]any{"protocol": "lmtp"}, "messages": []any{
			map[string]any{"from": realservers.Username, "to": []string{realservers.Recipient, realservers.Recipient}, "data": typed("LMTP", "x\r\n")}}}, data: "x\r\n", sends: "LHLO "},
		{name: "XCLIENT", needs: "XCLIENT", door: transfer, plan: option("xclient", map[string]any{"NAME": "spike.example.com"}), sends: "XCLIENT NAME=spike.example.com", logged: "client=spike.example.com["},
		{name: "XFORWARD", needs: "XFORWARD", door: transfer, plan: option("xforward", map[string]any{"NAME": "spike.example.com", "ADDR": "192.0.2.7"}), sends: "XFORWARD NAME=spike.example.com ADDR=192.0.2.7", logged: "orig_client=spike.example.com[192.0.2.7]"},
		{name: "VRFY", needs: "VRFY", plan: ask("VRFY " + realservers.Recipient), probe: "VRFY"},
		{name: "EXPN", plan: ask("EXPN staff"), probe: "EXPN"},
		{name: "HELP", plan: ask("HELP"), probe: "HELP"},
		{name: "NOOP", plan: ask("NOOP"), probe: "NOOP"},
		{name: "ETRN", needs: "ETRN", plan: ask("ETRN example.net"), probe: "ETRN"},
	}...)
}

// The cells of the table, and for commands the code of the reply.
const (
	works      = "yes"     // the server took it, and the mailbox holds the octets that were typed
	notOffered = "–"       // and the client did not use it
	refused    = "refused" // although it is offered; with the code of the reply. Without a reply, the code of the error
)

// The same plans against every real server, side by side, and what becomes of them as a table in the README. Whatever
// a server offers must be put to use by some row.
func TestInterop(t *testing.T) {
	rows := interopRows()
	var mu sync.Mutex
	table := map[realservers.Kind][]string{}
	t.Run("servers", func(t *testing.T) {
		for _, kind := range realservers.Kinds {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				p := &peer{Server: realservers.ForTest(t, kind), offered: map[string]bool{}, used: map[string]bool{}}
				var cells []string
				for _, r := range rows {
					t.Run(r.name, func(t *testing.T) { cells = append(cells, p.cell(t, r)) })
				}
				for keyword := range p.offered {
					assert.True(t, p.used[keyword] || slices.Contains(harmless, keyword), "%s offers %s, and no row puts it to use", kind, keyword)
				}
				t.Run("groups", func(t *testing.T) { p.groups(t) })
				if p.SubmissionPort != 0 { // a server without accounts refuses nobody
					t.Run("refusals", func(t *testing.T) { p.refusals(t) })
				}
				mu.Lock()
				defer mu.Unlock()
				table[kind] = cells
			})
		}
	})
	if t.Failed() || len(table) < len(realservers.Kinds) {
		return // a server that is missing has been reported
	}
	compareWithREADME(t, interopTable(rows, table))
}

// peer is a server, and what it offered and was made to do so far.
type peer struct {
	*realservers.Server
	offered, used map[string]bool
	stored        int // messages
}

// cell runs a row.
func (p *peer) cell(t *testing.T, r row) string {
	port, plan := p.enter(r)
	if port == 0 || strings.HasSuffix(r.needs, "-PLUS") && plan["security"] == "none" { // there is no TLS to bind it to
		return notOffered
	}
	data := typed(strings.ReplaceAll(r.name, " ", "-"), r.data)
	if header, ok := strings.CutPrefix(r.data, "Subject: "); ok {
		data = strings.Replace(typed("x", "x\r\n"), "Subject: x\r\n", "Subject: "+header, 1)
	}
	if _, own := r.plan["messages"]; own {
		data = r.plan["messages"].([]any)[0].(map[string]any)["data"].(string)
	} else {
		plan["messages"] = []any{map[string]any{"from": p.Username, "to": []string{p.Recipient}, "data": data}}
	}
	if r.probe != "" {
		plan["messages"] = []any{}
	}
	tr := meet(t, p.Server, port, plan)

	keywords := offers(tr)
	maps.Copy(p.offered, keywords)
	if r.needs != "" && keywords[r.needs] {
		p.used[r.needs] = true
	}
	if r.probe != "" {
		return probed(t, tr, r)
	}
	text, _ := tr.Streams[trace.TextOut].Bytes(0, 64<<10)
	messages, err := p.Messages(t.Context())
	require.NoError(t, err)
	arrived := messages[p.stored:]
	p.stored = len(messages)
	if r.needs != "" && !keywords[r.needs] {
		if r.sends != "" {
			assert.NotContains(t, string(text), r.sends, "what is not offered is not used")
		}
		return notOffered
	}
	assert.Contains(t, string(text), r.sends)
	if tr.Result.Outcome != trace.Accepted {
		assert.Empty(t, arrived)
		if tr.Result.Reply == nil {
			return string(tr.Result.Error.Code)
		}
		return fmt.Sprint(refused, " ", tr.Result.Reply.Code)
	}
	saved, err := json.Marshal(tr.Redact())
	require.NoError(t, err)
	assert.NotContains(t, string(saved), p.Password)
	if !strings.HasSuffix(data, "\r\n") && r.needs != "BINARYMIME" {
		data += "\r\n"
	}
	require.Len(t, arrived, max(r.copies, 1))
	if p.Kind == realservers.Postfix {
		assert.Contains(t, p.Log(), r.logged)
	}
	for _, m := range arrived {
		require.True(t, data == string(m), "the mailbox holds what was typed; got %.300q", m)
	}
	return works
}

// enter is the port of a row's door, 0 where the server has none, and the plan that goes through it.
func (p *peer) enter(r row) (port int, plan map[string]any) {
	plan = map[string]any{
		"security": "none",
		"tls":      map[string]any{"serverName": p.ServerName, "ca": []string{p.CA}},
		"auth":     map[string]any{"mechanism": "PLAIN", "username": p.Username, "password": p.Password},
	}
	switch door := r.door; {
	case door == localPort:
		port = p.LMTPPort
		delete(plan, "auth")
	case door == implicit:
		port, plan["security"] = p.SubmissionsPort, "tls"
	case door == transfer && p.SMTPPort != 0 || p.SubmissionPort == 0:
		port = p.SMTPPort
		delete(plan, "auth")
	default:
		port, plan["security"] = p.SubmissionPort, "starttls"
	}
	maps.Copy(plan, r.plan)
	return port, plan
}

// offers are the keywords of every reply to EHLO and LHLO; those of AUTH with each mechanism.
func offers(tr *trace.Trace) map[string]bool {
	found := map[string]bool{}
	for _, e := range tr.Events {
		if e.Kind != trace.KindReply {
			continue
		}
		var d trace.ReplyData
		if json.Unmarshal(e.Data, &d) != nil {
			continue
		}
		for _, x := range d.Extensions {
			if x.Keyword != "AUTH" {
				found[x.Keyword] = true
			}
			for _, mechanism := range x.Params {
				if x.Keyword == "AUTH" {
					found["AUTH "+mechanism] = true
				}
			}
		}
	}
	return found
}

// probed is the code by which a command was answered.
func probed(t *testing.T, tr *trace.Trace, r row) string {
	require.Equal(t, trace.Accepted, tr.Result.Outcome, "a refused command is no failure: %+v", tr.Result.Error)
	for _, e := range tr.Events {
		var d trace.ReplyData
		if e.Kind == trace.KindReply && json.Unmarshal(e.Data, &d) == nil && d.Verb == r.probe {
			return strconv.Itoa(d.Code)
		}
	}
	assert.False(t, r.needs == "" || offers(tr)[r.needs], "%s has no answer", r.probe)
	return notOffered
}

func interopTable(rows []row, table map[realservers.Kind][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	head, rule := []string{""}, []string{"---"}
	for _, kind := range realservers.Kinds {
		head, rule = append(head, string(kind)), append(rule, "---")
	}
	line(head)
	line(rule)
	for i, r := range rows {
		cells := []string{r.name}
		for _, kind := range realservers.Kinds {
			cells = append(cells, table[kind][i])
		}
		line(cells)
	}
	return b.String()
}

// compareWithREADME holds the table between its marks in the README against the one that was just made, or with UPDATE=1
// puts that there.
func compareWithREADME(t *testing.T, table string) {
	const readme, begin, end = "../../README.md", "<!-- interop: made by UPDATE=1 go test ./protocol/session -run TestInterop -->\n", "<!-- /interop -->"
	b, err := os.ReadFile(readme)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(b), begin)
	require.True(t, ok, "README.md has no line %q", begin)
	was, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "README.md has no line %q", end)
	if os.Getenv("UPDATE") == "" {
		assert.Equal(t, was, table, "the table in README.md is no longer true: UPDATE=1 go test ./protocol/session -run TestInterop")
		return
	}
	require.NoError(t, os.WriteFile(readme, []byte(before+begin+table+end+after), 0o644))
}

// groups: in groups the same messages fare as they do one command at a time, in
// fewer round trips where the server offers PIPELINING.
func (p *peer) groups(t *testing.T) {
	const nobody = "nobody@nowhere.invalid"
	messages := []any{
		map[string]any{"from": p.Username, "to": []string{nobody}, "data": typed("nobody", "x\r\n")},
		map[string]any{"from": p.Username, "to": []string{nobody, p.Recipient}, "data": typed("some", "x\r\n")},
		map[string]any{"from": p.Username, "to": []string{p.Recipient}, "data": typed("all", ".\r\n")},
	}
	run := func(pipelining bool) *trace.Trace {
		port, plan := p.enter(row{plan: map[string]any{"options": map[string]any{"pipelining": pipelining}, "messages": messages}})
		return meet(t, p.Server, port, plan)
	}
	alone, grouped := run(false), run(true)
	if a, g := alone.Result.RoundTrips, grouped.Result.RoundTrips; p.offered["PIPELINING"] {
		assert.LessOrEqual(t, g, a-2*len(messages), "MAIL, RCPT and DATA of each message are one round trip")
	} else {
		assert.Equal(t, a, g)
	}
	for _, tr := range []*trace.Trace{alone, grouped} { // what differs from run to run
		tr.Result.RoundTrips, tr.Result.Elapsed, tr.Result.Reply = 0, 0, nil
		for i := range tr.Result.Messages {
			tr.Result.Messages[i].QueueID = ""
			for j := range tr.Result.Messages[i].Recipients {
				tr.Result.Messages[i].Recipients[j].Event = nil
			}
		}
	}
	assert.Equal(t, alone.Result, grouped.Result)
	assert.Equal(t, trace.Accepted, grouped.Result.Messages[2].Outcome, p.Log())
	delivered, err := p.Messages(t.Context())
	require.NoError(t, err)
	delivered = delivered[p.stored:]
	half := len(delivered) / 2
	assert.Equal(t, delivered[:half], delivered[half:])
	assert.Equal(t, typed("all", ".\r\n"), string(delivered[len(delivered)-1]))
}

// refusals have the same verdict everywhere.
func (p *peer) refusals(t *testing.T) {
	port, plan := p.enter(row{plan: map[string]any{"auth": map[string]any{"mechanism": "PLAIN", "username": p.Username, "password": "not-the-password"}}})
	tr := meet(t, p.Server, port, plan)
	assert.Equal(t, trace.Rejected, tr.Result.Outcome)
	assert.Equal(t, "auth", tr.Result.Phase)
	require.NotNil(t, tr.Result.Reply)
	assert.Equal(t, 535, tr.Result.Reply.Code)

	_, plan = p.enter(row{door: implicit})
	tr = meet(t, p.Server, port, plan)
	assert.Equal(t, trace.CodeTLS, tr.Result.Error.Code)
	assert.Contains(t, tr.Result.Error.Message, "clear text")
}

func typed(subject, body string) string {
	return "From: Ada <ada@example.org>\r\nTo: Grace <grace@example.net>\r\nSubject: " + subject +
		"\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + subject + "@example.org>\r\n\r\n" + body
}

// meet runs a plan at a port of a server. The mode is practice, because a live plan may not ask to be believed to be someone else.
func meet(t *testing.T, server *realservers.Server, port int, plan map[string]any) *trace.Trace {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	plan["target"] = map[string]any{"mode": "practice", "host": server.Host, "port": port}
	tr := session.New(session.Config{Plan: parse(t, planJSON(t, plan)), Tool: "smtpscope/test",
		Dial: dialTo(net.JoinHostPort(server.Host, strconv.Itoa(port)))}).Run(ctx)
	require.NoError(t, ctx.Err(), "the session hung")
	checkTrace(t, tr)
	return tr
}
