package diagnose

import (
	"net/netip"
	"strconv"
	"strings"

	"smtpscope/protocol/trace"
)

// greetings looks at how the server presents itself.
func (f *facts) greetings() {
	if len(f.turns) == 0 || f.turns[0].Verb != "greeting" {
		return
	}
	greeting := f.turns[0]
	name := greeting.domain()
	for _, t := range f.turns {
		if other := t.domain(); t.is("EHLO HELO LHLO") && name != "" && other != "" && !strings.EqualFold(name, other) {
			f.say("banner-name-mismatch", trace.Note, "The server greets as "+name+" and answers "+t.Verb+" as "+other+".", greeting.event, t.event)
		}
	}
	if _, text, _ := strings.Cut(greeting.text(), " "); hasVersion(text) {
		f.say("banner-leaks-version", trace.Chat, "The greeting names a version: "+greeting.quote()+".", greeting.event)
	}
}

// domain is what an answer begins with, "" where that cannot be a domain.
func (t *turn) domain() string {
	name, _, _ := strings.Cut(t.text(), " ")
	name = strings.TrimSuffix(name, ".")
	if t.Code/100 != 2 || !strings.Contains(name, ".") {
		return ""
	}
	return name
}

// hasVersion looks for a number such as 4.96 at the beginning of a word. An IP address is none, and neither
// are the names of machines and messages.
func hasVersion(text string) bool {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" /-_();:,", r) }) {
		word = strings.Trim(word, "vV.")
		suffix := strings.TrimLeft(word, "0123456789.")
		number := word[:len(word)-len(suffix)]
		_, notAddress := netip.ParseAddr(number)
		if strings.Contains(number, ".") && !strings.Contains(suffix, ".") && notAddress != nil {
			return true
		}
	}
	return false
}

// offers looks at what the last reply to EHLO lists.
func (f *facts) offers() {
	if f.offer == nil || f.offer.Verb == "HELO" {
		return
	}
	missing := func(id string, severity trace.Severity, keyword, text string) {
		if !f.offer.offers(keyword) {
			f.say(id, severity, keyword+" is not offered"+text+".", f.offer.event)
		}
	}
	rounds := ""
	if f.Result != nil {
		rounds = ": this session took " + strconv.Itoa(f.Result.RoundTrips) + " round trips"
	}
	missing("no-pipelining", trace.Note, "PIPELINING", rounds)
	missing("no-8bitmime", trace.Note, "8BITMIME", "")
	missing("enhanced-codes-missing", trace.Chat, "ENHANCEDSTATUSCODES", "")
	missing("no-size", trace.Chat, "SIZE", "")
	if f.offer.offers("SMTPUTF8") {
		missing("smtputf8-without-8bitmime", trace.Warn, "8BITMIME", ", and SMTPUTF8 is")
	}
	if f.offer.offers("BINARYMIME") {
		missing("binarymime-without-chunking", trace.Warn, "CHUNKING", ", and BINARYMIME is")
	}
	// The client does not send what is over the limit: it is refused before MAIL, and by no reply.
	if r := f.Result; f.failed(trace.CodeRejected) && r.Phase == "mail" && (r.Reply == nil || r.Reply.Code/100 == 2) {
		f.say("size-below-message", trace.Error, r.Error.Message, f.offer.event)
	}
}

// readable are the mechanisms that hand over the password as it is.
const readable = "PLAIN LOGIN"

// authentication looks at the mechanisms that are offered before and in TLS.
func (f *facts) authentication() {
	before, after := f.clear.mechanisms(), ""
	if f.offer != f.clear {
		after = f.offer.mechanisms()
	}
	if before != "" {
		for _, t := range f.turns {
			if t.command != nil && t.Verb == "AUTH" && !t.secure && common(strings.ToUpper(t.command.Text), readable) {
				f.say("auth-before-tls", trace.Warn, "AUTH "+before+" is offered before TLS, and the password went in the clear.", t.command.N)
			}
		}
		severity := trace.Note
		if !f.clear.offers("STARTTLS") && common(before, readable) {
			severity = trace.Warn
		}
		f.say("auth-before-tls", severity, "AUTH "+before+" is offered before TLS.", f.clear.event)
	} else if f.plan.Auth != nil && f.plan.Security == "none" && f.clear.offers("STARTTLS") && f.failed(trace.CodeUnsupported) {
		f.say("auth-only-after-tls", trace.Error, "Before TLS the server offers STARTTLS and no AUTH, and this session was to sign in without TLS.", f.clear.event)
	}
	if before != "" && after != "" && (more(before, after) || more(after, before)) {
		f.say("auth-changed", trace.Chat, "Before TLS the server offers AUTH "+before+", in TLS AUTH "+after+".", f.clear.event, f.offer.event)
	}
	if after != "" && !more(after, readable) && !common(after, "EXTERNAL") {
		f.say("auth-plain-only", trace.Chat, "In TLS the server offers AUTH "+after+" and nothing else.", f.offer.event)
	}
	for _, t := range f.turns {
		t.oldAuth(f)
	}
}

// common tells whether two lists share a word.
func common(a, b string) bool {
	for _, w := range strings.Fields(a) {
		if has(b, w) {
			return true
		}
	}
	return false
}

// more tells whether a has a mechanism that b lacks, besides those that TLS makes
// possible: channel binding (RFC 5802, 6) and client certificates.
func more(a, b string) bool {
	for _, w := range strings.Fields(a) {
		if !has(b, w) && w != "EXTERNAL" && !strings.HasSuffix(w, "-PLUS") {
			return true
		}
	}
	return false
}

// oldAuth looks for the line that is no extension.
func (t *turn) oldAuth(f *facts) {
	old, usual := "", false
	for _, line := range t.Lines {
		switch upper := strings.ToUpper(line); {
		case strings.HasPrefix(upper, "AUTH="):
			old = line
		case strings.HasPrefix(upper, "AUTH "):
			usual = true
		}
	}
	switch {
	case old == "" || t.Extensions == nil:
	case usual:
		f.say("auth-equals-form", trace.Chat, "The reply to EHLO has a line "+quote(old)+" too.", t.event)
	default:
		f.say("auth-equals-form", trace.Warn, "The reply to EHLO offers AUTH only by a line "+quote(old)+".", t.event)
	}
}
