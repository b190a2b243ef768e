package diagnose_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
)

// script is a session as its trace tells it, an event a line:
//
//	+3s            time goes by
//	OPEN           the connection is there, with a host and its address where that matters
//	DNS MX a ok b|c  the records b and c of a; AD in place of ok with DNSSEC
//	POLICY a b     the MTA-STS policy of mode a for b, or "- b" for none, because of b
//	S: 250-a|250 b a reply to the oldest command that has none, or the greeting; | is a line end
//	S? 250 a       a reply that no command asked for
//	S~ oops        bytes that are no reply
//	C: MAIL FROM:  a command
//	C> Zm9v        a line of an AUTH exchange
//	M              the message
//	TLS            a handshake that was done
//	HELLO TLS 1.0  the server's hello of a handshake
//	ALERT 220 a    a handshake that failed, behind these bytes
//	HOP            what follows is another connection of the lab
//	DESYNC a       the client gave up, because of a
//	EOF            the server closed
//	END            an error ended it
type script []string

// session is a trace to be made.
type session struct {
	plan   string // default: of a submission by STARTTLS
	script script
	tls    trace.HandshakeData
	result trace.Result
}

var started = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// trace plays the script, writes it down and reads it back as a saved trace.
func (s session) trace(t testing.TB) *trace.Trace {
	t.Helper()
	now := started
	plan := s.plan
	if plan == "" {
		plan = `{"target":{"mode":"live","host":"mx.example.net","port":587},"security":"starttls"}`
	}
	r := trace.NewRecorder(trace.Meta{Tool: "smtpscope/test", Mode: trace.ModeLive, Plan: json.RawMessage(plan),
		Hosts: []trace.Host{{ID: trace.HostClient}, {ID: trace.HostServer}}}, func() time.Time { return now }, nil)
	w := writer{rec: r}
	for _, line := range s.script {
		if wait, ok := strings.CutPrefix(line, "+"); ok {
			d, err := time.ParseDuration(wait)
			require.NoError(t, err)
			now = now.Add(d)
			continue
		}
		w.step(line, s.tls)
	}
	b, err := json.Marshal(r.Finish(s.result))
	require.NoError(t, err)
	tr, err := trace.Decode(b)
	require.NoError(t, err)
	return tr
}

// writer knows what package session knows when it writes a trace.
type writer struct {
	rec     *trace.Recorder
	hop     int
	waiting []waiting
	greeted bool
}

type waiting struct {
	event int
	verb  string
}

func (w *writer) add(layer trace.Layer, kind trace.Kind, dir trace.Direction, at *trace.Range, text string, data any) int {
	e := trace.Event{Layer: layer, Kind: kind, Dir: dir, Hop: w.hop, Src: trace.Observed, At: at, Text: text}
	if data != nil {
		e.Data = trace.Encode(data)
	}
	return w.rec.Add(e)
}

func (w *writer) step(line string, tls trace.HandshakeData) {
	op, arg, _ := strings.Cut(line, " ")
	switch op {
	case "OPEN":
		host, address, _ := strings.Cut(arg, " ")
		w.add(trace.LayerTunnel, trace.KindOpened, "", nil, "connected", trace.TunnelData{Host: host, Port: 25, Address: address})
	case "DNS":
		w.lookup(arg)
	case "POLICY":
		w.policy(arg)
	case "S:", "S?":
		w.reply(arg, op == "S?")
	case "S~":
		w.rec.Append(trace.TextIn, []byte(arg))
	case "C:", "C>":
		at := w.rec.Append(trace.TextOut, []byte(arg+"\r\n"))
		verb, _, _ := strings.Cut(arg, " ")
		kind := trace.KindCommand
		if op == "C>" {
			verb, kind = "response", trace.KindResponse
		}
		w.waiting = append(w.waiting, waiting{w.add(trace.LayerSMTP, kind, trace.Out, &at, arg, trace.CommandData{Verb: verb}), verb})
	case "M":
		n := w.add(trace.LayerSMTP, trace.KindMessage, trace.Out, nil, "message", trace.MessageData{})
		if len(w.waiting) == 0 || w.waiting[0].verb != "BDAT" {
			w.waiting = append(w.waiting, waiting{n, "message"})
		}
	case "TLS", "ALERT", "HELLO":
		at := trace.Range{Stream: trace.WireIn, Off: w.rec.Len(trace.WireIn)}
		w.add(trace.LayerTLS, trace.KindStart, trace.In, &at, "", nil)
		w.rec.Append(trace.WireIn, []byte(arg))
		switch op {
		case "TLS":
			w.add(trace.LayerTLS, trace.KindHandshake, "", nil, "handshake", tls)
		case "ALERT":
			w.add(trace.LayerTLS, trace.KindAlert, "", nil, "alert", tls)
		case "HELLO":
			at.Len = int64(len(arg))
			w.rec.Add(trace.Event{Layer: trace.LayerTLS, Kind: trace.KindRecord, Dir: trace.In, Src: trace.Observed, At: &at,
				Fields: []trace.Field{{Name: "legacy_version", Value: arg}}, Data: trace.Encode(trace.RecordData{})})
			w.add(trace.LayerTLS, trace.KindAlert, "", nil, "alert", tls)
		}
	case "HOP":
		w.hop++
	case "DESYNC":
		w.add(trace.LayerSMTP, trace.KindDesync, trace.In, nil, arg, nil)
	case "EOF":
		w.add(trace.LayerSMTP, trace.KindClosed, trace.In, nil, "closed", nil)
	case "END":
		w.add(trace.LayerApp, trace.KindError, "", nil, "error", trace.ErrorInfo{})
	default:
		panic("unknown step " + line)
	}
}

func (w *writer) reply(arg string, unasked bool) {
	at := w.rec.Append(trace.TextIn, []byte(strings.ReplaceAll(arg, "|", "\r\n")+"\r\n"))
	w.rec.Append(trace.WireIn, []byte(strings.ReplaceAll(arg, "|", "\r\n")+"\r\n"))
	var d trace.ReplyData
	for _, line := range strings.Split(arg, "|") {
		d.Code, _ = strconv.Atoi(line[:3])
		d.Lines = append(d.Lines, strings.TrimLeft(line[3:], " -"))
		if len(line) > 3 && !strings.ContainsAny(line[3:4], " -") {
			d.Oddities = append(d.Oddities, "no-separator")
		}
		if strings.Contains(line, "é") {
			d.Oddities = append(d.Oddities, "non-ascii")
		}
	}
	switch {
	case unasked:
	case len(w.waiting) > 0:
		d.Answers, d.Verb = &w.waiting[0].event, w.waiting[0].verb
		w.waiting = w.waiting[1:]
	case !w.greeted:
		d.Verb, w.greeted = "greeting", true
	}
	first, _, _ := strings.Cut(d.Lines[0], " ")
	if strings.Count(first, ".") == 2 && strings.Trim(first, "0123456789.") == "" && d.Verb != "greeting" {
		d.Enhanced = first
	}
	if (d.Verb == "EHLO" || d.Verb == "LHLO") && d.Code == 250 {
		d.Extensions = extensions(d.Lines[1:])
	}
	w.add(trace.LayerSMTP, trace.KindReply, trace.In, &at, strings.SplitN(arg, "|", 2)[0], d)
}

// extensions merges "AUTH=" with AUTH, as package smtp does.
func extensions(lines []string) (list []trace.Extension) {
	for _, line := range lines {
		words := strings.Fields(strings.Replace(strings.ToUpper(line), "AUTH=", "AUTH ", 1))
		i := slices.IndexFunc(list, func(x trace.Extension) bool { return x.Keyword == words[0] })
		if i < 0 {
			list = append(list, trace.Extension{Keyword: words[0], Params: words[1:]})
		}
	}
	return list
}

// lookup writes what a resolver said to the proxy: an RCODE for ok where it is another, "-"
// where nobody answered, "withheld" and "omitted" where the proxy does not tell all.
func (w *writer) lookup(arg string) {
	words := strings.SplitN(arg+" ", " ", 4)
	d := trace.LookupData{Name: words[1], Type: words[0], RCode: words[2], Records: []trace.ResourceRecord{}, AD: words[2] == "AD"}
	switch d.RCode {
	case "ok", "AD":
		d.RCode = "NOERROR"
	case "-":
		d.RCode, d.Problem = "", "No resolver answered."
	case "withheld":
		d.RCode, d.Withheld = "NOERROR", 1
	case "omitted":
		d.RCode, d.Omitted = "NOERROR", 1
	}
	for value := range strings.SplitSeq(strings.TrimSpace(words[3]), "|") {
		r := trace.ResourceRecord{Name: d.Name, Type: d.Type, Data: value}
		if host, ok := strings.CutPrefix(value, "CNAME "); ok {
			r.Type, r.Host = "CNAME", host
		}
		switch r.Type {
		case "A", "AAAA":
			r.Address = value
		case "PTR":
			r.Host = value
		case "MX":
			_, r.Host, _ = strings.Cut(value, " ")
		case "TXT":
			r.Text = value
		}
		if value != "" {
			d.Records = append(d.Records, r)
		}
	}
	w.add(trace.LayerDNS, trace.KindLookup, "", nil, d.Type+" "+d.Name, d)
}

func (w *writer) policy(arg string) {
	mode, rest, _ := strings.Cut(arg, " ")
	d := trace.PolicyData{Domain: "example.net", URL: "https://mta-sts.example.net/.well-known/mta-sts.txt"}
	switch mode {
	case "-":
		d.Problem = rest
	case "unfetched":
		d.URL, d.Problem = "", rest
	default:
		d.Mode, d.MX = mode, strings.Fields(rest)
	}
	w.add(trace.LayerDNS, trace.KindPolicy, "", nil, "policy", d)
}
