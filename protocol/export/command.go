package export

import (
	"fmt"
	"net"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"

	"smtpscope/protocol/trace"
)

// recipe is a session as another program is told to run it. The program gets the
// password from the environment, in SMTP_PASSWORD, and never from here.
type recipe struct {
	plan
	t         *trace.Trace
	format    Format
	mechanism string // by which the session signed in, or would have
}

// command is the session as a command of another program. What that cannot do is
// said in a comment.
func command(t *trace.Trace, f Format) string {
	r := recipe{plan: planOf(t), t: t, format: f}
	r.clean()
	if r.Auth != nil {
		r.mechanism = strings.ToUpper(r.Auth.Mechanism)
	}
	for _, e := range t.Events {
		words := strings.Fields(e.Text)
		if r.Auth != nil && r.mechanism == "" && e.Kind == trace.KindCommand && e.Hop == 0 && len(words) > 1 && words[0] == "AUTH" {
			r.mechanism = words[1]
		}
	}
	switch f {
	case Swaks:
		return r.swaks()
	case OpenSSL:
		return r.openssl()
	case Curl:
		return r.curl()
	case Python:
		return r.python()
	}
	return r.golang()
}

// clean drops control characters: a line end would begin another line.
func (r *recipe) clean() {
	words := []*string{&r.Target.Host, &r.TLS.ServerName, &r.EHLO}
	if r.Auth != nil {
		words = append(words, &r.Auth.Mechanism, &r.Auth.Username)
	}
	for i := range r.Commands {
		words = append(words, &r.Commands[i])
	}
	for i := range r.Messages {
		words = append(words, &r.Messages[i].From)
		for j := range r.Messages[i].To {
			words = append(words, &r.Messages[i].To[j])
		}
	}
	for _, w := range words {
		*w = strings.Map(func(c rune) rune {
			if unicode.IsControl(c) {
				return -1
			}
			return c
		}, *w)
	}
}

// remarks are what a reader has to know, a line each: what the program is, what it
// needs, and what it leaves out.
func (r *recipe) remarks(needs string) []string {
	lines := []string{fmt.Sprintf("The session with %s, by %s. Written by %s.", r.where(r.t), needs, r.t.Meta.Tool)}
	switch r.t.Meta.Mode {
	case trace.ModeLab:
		lines = append(lines, "Its servers exist in a simulated internet only: put in the name and the port of a real one.")
	case trace.ModePractice:
		lines = append(lines, "The name of the practice server is known to the program that offers it only: put in its address and port.")
	}
	if r.Auth != nil {
		lines = append(lines, "The password of "+r.Auth.Username+" comes from the environment variable SMTP_PASSWORD.")
	}
	if r.Auth != nil && r.format == Curl {
		lines = append(lines, "--verbose shows what is said, the password too.")
	}
	if r.Security != "none" && !r.TLS.Insecure && r.format == Swaks {
		lines = append(lines, "swaks before 2023 checks who signed the certificate, but not the name in it.")
	}
	if r.incomplete() {
		lines = append(lines, "The record keeps only the head of the message: give the path of the whole message as the first argument.")
	}
	for _, l := range r.left() {
		if !slices.Contains(l.by, r.format) {
			lines = append(lines, fmt.Sprintf("Left out, because %s cannot do it: %s.", needs, l.what))
		}
	}
	for i := range lines {
		lines[i] = oneLine(lines[i])
	}
	return lines
}

// feature is part of a plan that not every program can do.
type feature struct {
	what string
	by   []Format // those that can
}

// left are such features of this plan.
func (r *recipe) left() (list []feature) {
	add := func(asked bool, what string, by ...Format) {
		if asked {
			list = append(list, feature{what, by})
		}
	}
	o, handwritten, eightBit, utf8 := r.Options, false, false, false
	for _, e := range r.t.Events {
		switch e.Kind {
		case trace.KindCommand:
			d := data[trace.CommandData](&e)
			handwritten = handwritten || d.Raw || d.Edited
		case trace.KindMessage:
			handwritten = handwritten || data[trace.MessageData](&e).Edited
		}
	}
	for _, m := range r.Messages {
		eightBit = eightBit || !isASCII(m.Data)
		for _, address := range append([]string{m.From}, m.To...) {
			utf8 = utf8 || !isASCII(address)
		}
	}
	add(o.Protocol == "lmtp", "LMTP (RFC 2033)", Swaks, OpenSSL)
	add(len(r.Commands) > 0, strings.Join(r.Commands, ", ")+" before the first message", OpenSSL, Python, Go)
	add(len(r.Messages) > 1, "several messages in one connection; each has its own", OpenSSL, Python, Go)
	add(o.Pipelining, "PIPELINING (RFC 2920)", Swaks)
	add(o.Chunking, "BDAT (CHUNKING, RFC 3030); the message goes by DATA", OpenSSL)
	add(eightBit, "declaring 8-bit text (8BITMIME, RFC 6152)", OpenSSL, Python, Go)
	add(utf8, "addresses beyond ASCII (SMTPUTF8, RFC 6531)", OpenSSL, Curl, Python, Go)
	add(len(o.DSN.Notify) > 0 || o.DSN.Ret != "" || o.DSN.EnvID != "", "asking for notifications (DSN, RFC 3461)", OpenSSL, Python, Go)
	add(o.RequireTLS, "REQUIRETLS (RFC 8689)", OpenSSL, Python, Go)
	add(o.DeliverBy != "", "DELIVERBY (RFC 2852)", OpenSSL, Python, Go)
	add(o.Priority != 0, "MT-PRIORITY (RFC 6710)", OpenSSL, Python, Go)
	add(o.Hold != "", "FUTURERELEASE (RFC 4865)", OpenSSL, Python, Go)
	add(o.RRVS != "", "RRVS (RFC 7293)", OpenSSL, Python, Go)
	add(len(o.XClient) > 0, "XCLIENT", Swaks, OpenSSL)
	add(len(o.XForward) > 0, "XFORWARD", OpenSSL)
	add(handwritten, "what was typed by hand while the session was paused", OpenSSL)
	able := map[string][]Format{
		"PLAIN": {Swaks, OpenSSL, Curl, Python, Go}, "LOGIN": {Swaks, OpenSSL, Curl, Python, Go}, "CRAM-MD5": {Swaks, Curl, Python, Go},
		"XOAUTH2": {OpenSSL, Curl, Python, Go}, "OAUTHBEARER": {Curl}, "EXTERNAL": {OpenSSL, Curl, Python, Go},
	}
	add(r.Auth != nil && r.mechanism != "", "AUTH "+r.mechanism+"; it signs in by PLAIN", able[r.mechanism]...)
	return list
}

// signIn is the mechanism that the program uses.
func (r *recipe) signIn() string {
	for _, l := range r.left() {
		if strings.HasPrefix(l.what, "AUTH ") && !slices.Contains(l.by, r.format) {
			return "PLAIN"
		}
	}
	return r.mechanism
}

// cut tells whether the plan that the trace keeps has only the head of a message.
func (r *recipe) cut(i int) bool { return len(r.Messages[i].Data) >= trace.BulkHead }

// incomplete tells whether a message has to come from its owner.
func (r *recipe) incomplete() bool {
	for i := range r.Messages {
		if r.format != OpenSSL && r.cut(i) {
			return true
		}
	}
	for _, e := range r.t.Events {
		if r.format == OpenSSL && e.Kind == trace.KindMessage && e.At != nil {
			if _, whole := r.t.Streams[e.At.Stream].Bytes(e.At.Off, e.At.Len); !whole {
				return true
			}
		}
	}
	return false
}

// text is a message with its lines ended by LF, the last one too.
func (r *recipe) text(i int) string {
	text := strings.ReplaceAll(strings.ReplaceAll(r.Messages[i].Data, "\r\n", "\n"), "\r", "\n")
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

func (r *recipe) address() string {
	return net.JoinHostPort(r.Target.Host, strconv.Itoa(r.Target.Port))
}

// envelope is what the session said of a message: its MAIL and RCPT with their
// parameters, or what is in the plan where it did not come to that.
func (r *recipe) envelope(i int) (mail []string, rcpt map[string][]string) {
	rcpt = map[string][]string{}
	at := -1
	for _, e := range r.t.Events {
		if e.Kind != trace.KindCommand || e.Hop != 0 {
			continue
		}
		verb, params := data[trace.CommandData](&e).Verb, parameters(e.Text)
		switch {
		case verb == "MAIL":
			if at++; at == i {
				mail = params
			}
		case verb == "RCPT" && at == i:
			for _, to := range r.Messages[i].To {
				if strings.Contains(e.Text, "<"+to+">") {
					rcpt[to] = params
				}
			}
		}
	}
	return mail, rcpt
}

// parameters are those of a MAIL or RCPT line, behind its path, but for those that
// belong to how the message is sent.
func parameters(line string) (params []string) {
	end := strings.LastIndex(line, ">")
	for _, p := range strings.Fields(line[end+1:]) {
		if !strings.HasPrefix(p, "SIZE=") && p != "BODY=BINARYMIME" {
			params = append(params, p)
		}
	}
	return params
}

// sortedKeys makes a command the same each time.
func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r > 0x7e }) < 0
}
