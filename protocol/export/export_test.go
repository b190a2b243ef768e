package export_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/export"
	"smtpscope/protocol/session/realservers"
	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

var formats = []export.Format{export.PCAPNG, export.Text, export.Markdown, export.SVG, export.Swaks, export.OpenSSL, export.Curl, export.Python, export.Go}

func written(t *testing.T, tr *trace.Trace, r export.Request) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, export.Write(&out, tr, r))
	return out.String()
}

const password = "Analytical-1843"

// spoken is a session in clear that was written down by hand: a line for each
// event, "C:" or "S:", and what of it is secret in braces.
func spoken(t *testing.T, plan string, lines ...string) *trace.Trace {
	t.Helper()
	var now time.Duration
	rec := trace.NewRecorder(trace.Meta{Tool: "smtpscope/test", Mode: trace.ModeLive, Plan: []byte(plan),
		Hosts: []trace.Host{{ID: trace.HostClient, Name: "this page"}, {ID: trace.HostServer, Name: "mx.example.net"}}}, func() time.Time { return start.Add(now) }, nil)
	verb := "greeting"
	for _, line := range lines {
		now += 1500 * time.Microsecond
		who, text, _ := strings.Cut(line, ": ")
		var secret []trace.Span
		if before, rest, ok := strings.Cut(text, "{"); ok {
			hidden, after, _ := strings.Cut(rest, "}")
			secret = []trace.Span{{int64(len(before)), int64(len(before) + len(hidden))}}
			text = before + hidden + after
		}
		wire, stream := trace.WireOut, trace.TextOut
		e := trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindCommand, Dir: trace.Out, Src: trace.Observed, From: trace.HostClient, To: trace.HostServer,
			Text: smtp.Escape(trace.Mask(text, secret)), Secret: secret}
		switch {
		case who == "S":
			wire, stream = trace.WireIn, trace.TextIn
			e.Kind, e.Dir, e.From, e.To = trace.KindReply, trace.In, trace.HostServer, trace.HostClient
			code, err := strconv.Atoi(text[:3])
			require.NoError(t, err)
			e.Data = trace.Encode(trace.ReplyData{Code: code, Lines: []string{e.Text[4:]}, Verb: verb})
		case verb == "DATA":
			e.Kind, e.Text, verb = trace.KindMessage, "", "message"
			e.Data = trace.Encode(trace.MessageData{Started: int64(now), Size: int64(len(text))})
			text = strings.ReplaceAll(text, "\n", "\r\n") + "\r\n."
		default:
			verb, _, _ = strings.Cut(text, " ")
			e.Data = trace.Encode(trace.CommandData{Verb: verb})
		}
		rec.Append(wire, []byte(text+"\r\n"))
		at := rec.Append(stream, []byte(text+"\r\n"))
		e.At = &at
		rec.Add(e)
	}
	return decoded(t, rec.Finish(trace.Result{Outcome: trace.Rejected, Phase: "message", RoundTrips: 3, Permanent: true,
		Error: &trace.ErrorInfo{Code: trace.CodeRejected, Message: "The server refused the message."}}))
}

const plainPlan = `{"target":{"mode":"live","host":"mx.example.net","port":25},"security":"none","tls":{"serverName":"mx.example.net"},"ehlo":"page.example",
"auth":{"mechanism":"PLAIN","username":"ada","password":""},"messages":[{"from":"ada@example.org","to":["grace@example.net"],"data":"Subject: x\r\n\r\ny\r\n"}]}`

func TestText(t *testing.T) {
	tr := spoken(t, plainPlan, "S: 220 mx.example.net", "C: EHLO page.example", "S: 250 hello", "C: AUTH PLAIN {c2VjcmV0}", "S: 235 ok",
		"C: MAIL FROM:<ada@example.org>", "S: 250 ok", "C: DATA", "S: 354 go", "C: Subject: x\n\ny", "S: 550 5.7.1 no \x1b[31m")
	assert.Equal(t, `smtpscope/test, live, mx.example.net, 2026-11-22T10:00:00Z

   1       1.5 ms  S: 220 mx.example.net
   2       3.0 ms  C: EHLO page.example
   3       4.5 ms  S: 250 hello
   4       6.0 ms  C: AUTH PLAIN ••••••••
   5       7.5 ms  S: 235 ok
   6       9.0 ms  C: MAIL FROM:<ada@example.org>
   7      10.5 ms  S: 250 ok
   8      12.0 ms  C: DATA
   9      13.5 ms  S: 354 go
  10      15.0 ms  C: Subject: x

                      y
                      .
  11      16.5 ms  S: 550 5.7.1 no \x1b[31m

rejected, at message: 3 round trips, 16.5 ms
The server refused the message.
`, written(t, tr, export.Request{Format: export.Text}))
	assert.Contains(t, written(t, tr, export.Request{Format: export.Text, Secrets: true}), "AUTH PLAIN c2VjcmV0\n")
}

// A connection whose SYN was lost took no round trip: the timer took most of it (RFC 6298, 5.7).
func TestConnectionsThatWereMeasured(t *testing.T) {
	measured := func(s ...trace.SampleData) string {
		rec := trace.NewRecorder(trace.Meta{Tool: "smtpscope/test", Mode: trace.ModeLive, Hosts: []trace.Host{}}, func() time.Time { return start }, nil)
		rec.Add(trace.Event{Layer: trace.LayerTunnel, Kind: trace.KindOpened, Src: trace.Measured,
			Data: trace.Encode(trace.TunnelData{Host: "192.0.2.1", Port: 25, Address: "192.0.2.1:25", Connect: 1012 * time.Millisecond})})
		for _, d := range s {
			d.State = "ESTABLISHED"
			rec.Add(trace.Event{Layer: trace.LayerTCP, Kind: trace.KindSample, Src: trace.Measured, Data: trace.Encode(d)})
		}
		return written(t, decoded(t, rec.Finish(trace.Result{Outcome: trace.Accepted, Phase: "quit"})), export.Request{Format: export.Text})
	}
	for _, c := range []struct {
		samples []trace.SampleData
		want    string
	}{
		{nil, "1 round trip, 1012 ms"},
		{[]trace.SampleData{{RTT: 12 * time.Millisecond}}, "1 round trip, 1012 ms"},
		{[]trace.SampleData{{RTT: 12 * time.Millisecond, Retransmits: 1}}, "1012 ms, its SYN was sent twice; the round trip is 12.0 ms"},
		{[]trace.SampleData{{Retransmits: 2}}, "1012 ms, its SYN was sent 3 times"},
		{[]trace.SampleData{{}, {Retransmits: 1}}, "1 round trip, 1012 ms"}, // what was sent again later is no SYN
	} {
		assert.Contains(t, measured(c.samples...), "-- TCP connection to 192.0.2.1:25, "+c.want+"\n")
	}
}

// Of the addresses of a name each that is dialed is a row, and the look-up belongs to the first.
func TestAddressesThatAreRaced(t *testing.T) {
	rec := trace.NewRecorder(trace.Meta{Tool: "smtpscope/test", Mode: trace.ModeLive, Hosts: []trace.Host{{ID: trace.HostClient}, {ID: trace.HostServer}}}, func() time.Time { return start }, nil)
	add := func(kind trace.Kind, address, text string) {
		rec.Add(trace.Event{Layer: trace.LayerTunnel, Kind: kind, Src: trace.Measured, Text: text,
			Data: trace.Encode(trace.TunnelData{Host: "mx.example.net", Port: 25, Address: address, Connect: 2 * time.Millisecond})})
	}
	const six, slow, four = "[2001:db8::25]:25", "[2001:db8::26]:25", "192.0.2.1:25"
	for _, host := range []string{"mx1", "mx2"} {
		add(trace.KindResolving, "", "looking up "+host)
		add(trace.KindAddresses, "", host+" is known")
		add(trace.KindDialing, six, "connecting to "+six)
		add(trace.KindDialing, slow, "connecting to "+slow)
		add(trace.KindFailed, six, "could not connect to "+six+": connection refused, after 1ms")
	}
	add(trace.KindDialing, four, "connecting to "+four)
	add(trace.KindOpened, four, "connected to "+four)
	tr := decoded(t, rec.Finish(trace.Result{Outcome: trace.Accepted, Phase: "quit"}))
	var lines []string
	for line := range strings.Lines(written(t, tr, export.Request{Format: export.Text})) {
		if _, row, ok := strings.Cut(line, " -- "); ok {
			lines = append(lines, strings.TrimSpace(row))
		}
	}
	assert.Equal(t, []string{
		"could not connect to " + six + ": connection refused, after 1ms",
		"connecting to " + slow + ", given up",
		"could not connect to " + six + ": connection refused, after 1ms",
		"connecting to " + slow + ", given up",
		"TCP connection to " + four + ", 1 round trip, 2.00 ms",
	}, lines)
	picture := written(t, tr, export.Request{Format: export.SVG})
	assert.Contains(t, picture, "connecting to "+slow)
	assert.Equal(t, 4, strings.Count(picture, `class="s t s-bad"`), "a cross where no connection came about")
}

// A session with a domain is one with the mail server that was tried last, and what was asked of the DNS
// at its side is one row.
func TestDomain(t *testing.T) {
	plan := []byte(`{"target":{"mode":"live","host":"","domain":"example.net","port":25},"security":"starttls","messages":[{"from":"a@example.org","to":["b@example.net"]}]}`)
	rec := trace.NewRecorder(trace.Meta{Tool: "smtpscope/test", Mode: trace.ModeLive, Plan: plan, Hosts: []trace.Host{{ID: trace.HostServer, Name: "example.net"}}}, func() time.Time { return start }, nil)
	dns := func(kind trace.Kind, text string, data any) {
		rec.Add(trace.Event{Layer: trace.LayerDNS, Kind: kind, Src: trace.Measured, From: trace.HostClient, To: trace.HostProxy, Text: text, Data: trace.Encode(data)})
	}
	none := []trace.ResourceRecord{}
	dns(trace.KindLookup, "MX example.net: 10 mx1.example.net, 20 mx2.example.net", trace.LookupData{Name: "example.net", Type: "MX", Records: none, AD: true, Took: 3 * time.Millisecond})
	for i, host := range []string{"mx1.example.net", "mx2.example.net"} {
		rec.Add(trace.Event{Layer: trace.LayerTunnel, Kind: trace.KindResolving, Src: trace.Measured, Text: "looking up " + host, Data: trace.Encode(trace.TunnelData{Host: host, Port: 25})})
		dns(trace.KindLookup, "TXT "+host+": none", trace.LookupData{Name: host, Type: "TXT", Records: none})
		kind := []trace.Kind{trace.KindFailed, trace.KindOpened}[i]
		rec.Add(trace.Event{Layer: trace.LayerTunnel, Kind: kind, Src: trace.Measured, Text: "could not connect", Data: trace.Encode(trace.TunnelData{Host: host, Port: 25, Address: "192.0.2.1:25", Connect: time.Millisecond})})
	}
	dns(trace.KindPolicy, "MTA-STS policy of example.net: none. It is not there.", trace.PolicyData{Domain: "example.net", Problem: "It is not there."})
	tr := decoded(t, rec.Finish(trace.Result{Outcome: trace.Accepted, Phase: "quit"}))
	assert.Contains(t, written(t, tr, export.Request{Format: export.Text}), `
   1       0.0 ms  -- MX example.net: 10 mx1.example.net, 20 mx2.example.net, 3.00 ms, DNSSEC
   2       0.0 ms  -- could not connect
   3       0.0 ms  -- 3 more answers of the DNS
                      TXT mx1.example.net: none
                      TXT mx2.example.net: none
                      MTA-STS policy of example.net: none. It is not there.
   4       0.0 ms  -- TCP connection to 192.0.2.1:25, 1 round trip, 1.00 ms
`)
	assert.Contains(t, written(t, tr, export.Request{Format: export.Markdown}), "# SMTP session with mx2.example.net, port 25, for example.net\n")
	assert.Contains(t, written(t, tr, export.Request{Format: export.Swaks}), "swaks --server mx2.example.net")
	assert.Contains(t, written(t, tr, export.Request{Format: export.OpenSSL}), "mx2.example.net:25")
}

// Nothing of what is secret leaves without being asked for, in any format.
func TestNothingSecretUnlessAsked(t *testing.T) {
	blob := base64.StdEncoding.EncodeToString([]byte("\x00ada\x00" + password))
	clear := spoken(t, plainPlan, "S: 220 hi", "C: EHLO page.example", "S: 250 hi", "C: AUTH PLAIN {"+blob+"}", "S: 535 not {"+blob+"}",
		"C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: {"+password+"}", "S: 535 never heard of {"+password+"}")
	sealed, keys := live(t, realservers.ForTest(t, realservers.GoSMTP), nil)
	key := regexp.MustCompile(`[0-9a-f]{64,}\s*$`).FindString(strings.TrimSpace(string(keys)))
	require.NotEmpty(t, key)
	rawKey, err := hex.DecodeString(key)
	require.NoError(t, err)
	secrets := []string{password, blob, base64.StdEncoding.EncodeToString([]byte(password)), base64.StdEncoding.EncodeToString([]byte("\x00ada@example.org\x00" + password)), key, string(rawKey)}
	for _, format := range formats {
		for name, tr := range map[string]*trace.Trace{"in clear": clear, "in TLS": sealed} {
			t.Run(string(format)+" "+name, func(t *testing.T) {
				out := written(t, tr, export.Request{Format: format, Keys: keys})
				assert.NotEmpty(t, out)
				for _, secret := range secrets {
					assert.NotContains(t, out, secret)
				}
				open := written(t, tr, export.Request{Format: format, Keys: keys, Secrets: true})
				switch format {
				case export.PCAPNG:
					assert.Contains(t, open, key)
				case export.Text, export.Markdown, export.SVG:
					assert.Contains(t, open, "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ada"))[:4])
				default:
					for _, secret := range secrets {
						assert.NotContains(t, open, secret, "a command has the password from its environment")
					}
				}
			})
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	assert.EqualError(t, export.Write(io.Discard, spoken(t, plainPlan), export.Request{Format: "gif"}), `export: there is no format "gif"`)
}

// A trace may hold anything; every format is written all the same.
func TestAnyTraceIsWritten(t *testing.T) {
	for name, tr := range map[string]*trace.Trace{
		"empty":         {Meta: trace.Meta{Mode: trace.ModeLive}},
		"no result":     {Meta: trace.Meta{Mode: trace.ModeLab, Plan: []byte("7")}},
		"a greeting":    spoken(t, "", "S: 220 hi"),
		"a plan of air": spoken(t, `{"auth":{},"messages":[{}]}`, "S: 220 hi", "C: DATA"),
	} {
		for _, format := range formats {
			t.Run(name+" "+string(format), func(t *testing.T) { written(t, tr, export.Request{Format: format}) })
		}
	}
}

// What a server says is no markup, in any of its places.
func TestServersTextStaysText(t *testing.T) {
	const evil = "``` </code></pre></svg><script>alert(1)</script> | a \\| b ` [x](javascript:x) ![](http://x) ]]> &amp; # *b* _i_ \u202e"
	plan := strings.ReplaceAll(plainPlan, "mx.example.net", `</title><script>`)
	tr := spoken(t, plan, "S: 220 "+evil, "C: EHLO page.example", "S: 250 "+evil, "C: MAIL FROM:<`|\\|`@example.org>", "S: 250 `", "S: 250 ``|", "S: 250 |")
	tr.Result.Error.Message = evil
	tr.Result.Reply = &trace.ResultReply{Code: 550, Lines: []string{evil}, Event: 0}
	tr.Result.Messages = []trace.MessageResult{{Outcome: trace.Accepted, QueueID: evil, Recipients: []trace.RecipientResult{{To: evil, Outcome: trace.Accepted}}}}
	tr.Meta.Hosts[1].Name, tr.Meta.Tool = evil, evil
	tr.Findings = []trace.Finding{{ID: "no-starttls", Severity: trace.Warn, Text: evil, Events: []int{0}}}

	t.Run("svg", func(t *testing.T) {
		d := xml.NewDecoder(strings.NewReader(written(t, tr, export.Request{Format: export.SVG})))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			if e, ok := token.(xml.StartElement); ok {
				assert.Contains(t, []string{"svg", "title", "style", "rect", "text", "path", "circle"}, e.Name.Local)
			}
		}
	})
	t.Run("markdown", func(t *testing.T) {
		rest, tables := unfenced(t, written(t, tr, export.Request{Format: export.Markdown})), 0
		for _, line := range strings.Split(rest, "\n") {
			bare := uncoded(line)
			assert.NotRegexp(t, "(^|[^\\\\])[<`[]", bare, "no HTML, code or link begins here")
			assert.NotContains(t, line, "\u202e")
			if cells := len(regexp.MustCompile(`(^|[^\\])\|`).FindAllString(line, -1)); strings.HasPrefix(line, "| ") {
				tables++
				assert.Contains(t, []int{3, 5}, cells, line)
			}
		}
		assert.Greater(t, tables, 7)
	})
}

// unfenced is Markdown without its fenced blocks (CommonMark 0.31, 4.5).
func unfenced(t *testing.T, text string) string {
	t.Helper()
	var out []string
	fence := ""
	for _, line := range strings.Split(text, "\n") {
		mark := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(mark) >= 3:
			fence = mark
		case fence != "" && len(mark) >= len(fence) && strings.TrimRight(line, "` ") == "":
			fence = ""
		case fence == "":
			out = append(out, line)
		}
	}
	assert.Empty(t, fence, "a block has no end")
	return strings.Join(out, "\n")
}

// uncoded is a line of Markdown without its code spans (CommonMark 0.31, 6.1).
func uncoded(line string) string {
	var out strings.Builder
	for i := 0; i < len(line); {
		if line[i] == '\\' && i+1 < len(line) {
			out.WriteString(line[i : i+2])
			i += 2
			continue
		}
		n := len(line[i:]) - len(strings.TrimLeft(line[i:], "`"))
		if n == 0 {
			out.WriteByte(line[i])
			i++
			continue
		}
		end := regexp.MustCompile("(?:[^`]|^)(`{" + string(rune('0'+n)) + "})(?:[^`]|$)").FindStringSubmatchIndex(line[i+n:])
		if end == nil {
			out.WriteString(line[i : i+n])
			i += n
			continue
		}
		i += n + end[3]
	}
	return out.String()
}
