package diagnose

import (
	"strconv"
	"strings"
	"time"

	"smtpscope/protocol/trace"
)

// pattern is what a reply is like that tells something by itself. Every
// condition that it has must hold.
type pattern struct {
	id       string
	severity trace.Severity
	text     string // before the quotation of the reply; $ is the verb
	verbs    string // one of them was answered
	// codes are those of the reply, or how they begin. 421 and 530 are about the
	// session more than the command: they only match in full.
	codes    string
	enhanced string // subject and detail, or how they begin; "-" for a reply without a code
	says     string // one of these words, between bars, in lower case
	unless   string // none of these
	to       string // how the command goes on, in lower case
	offered  string // this extension
	lacking  string // and not this one
	unknown  bool   // before the client signed in
}

const transaction = "MAIL RCPT DATA BDAT message"

var patterns = []pattern{
	{id: "starttls-stripped", severity: trace.Error, verbs: "STARTTLS", codes: "5", says: "xxxx",
		text: "The server did not get STARTTLS as it was sent: "},
	{id: "starttls-refused", severity: trace.Error, verbs: "STARTTLS", codes: "4 5", offered: "STARTTLS",
		text: "STARTTLS is offered, and was answered by "},
	{id: "auth-only-after-tls", severity: trace.Error, codes: "538", offered: "STARTTLS",
		text: "Before TLS, which is offered, the answer to $ was "},
	{id: "auth-only-after-tls", severity: trace.Error, codes: "530", offered: "STARTTLS", lacking: "AUTH",
		text: "Before TLS, which is offered, the answer to $ was "},
	{id: "vrfy-discloses", severity: trace.Warn, verbs: "VRFY EXPN", codes: "250 251", unknown: true,
		text: "Without a sign-in the answer to $ was "},
	{id: "pipelining-broken", severity: trace.Error, codes: "5", says: "pipelin|synchroni", offered: "PIPELINING",
		text: "PIPELINING is offered, and a group of commands was answered by "},
	{id: "enhanced-codes-missing", severity: trace.Note, verbs: transaction, codes: "2 4 5", enhanced: "-", offered: "ENHANCEDSTATUSCODES",
		text: "ENHANCEDSTATUSCODES is offered, and the answer to $ has no code: "},
	{id: "size-below-message", severity: trace.Error, codes: "552", enhanced: "-", text: "The message is too large for the server: "},
	{id: "size-below-message", severity: trace.Error, codes: "4 5", enhanced: "3.4", text: "The message is too large for the server: "},
	{id: "postmaster-refused", severity: trace.Warn, verbs: "RCPT", codes: "5", to: "rcpt to:<postmaster@", unless: "5.7.|relay",
		text: "Mail for postmaster was refused: "},
	{id: "postmaster-refused", severity: trace.Warn, verbs: "RCPT", codes: "5", to: "rcpt to:<postmaster>", unless: "5.7.|relay",
		text: "Mail for postmaster was refused: "},
	{id: "greylisting-likely", severity: trace.Note, verbs: transaction, codes: "4", says: "greylist|graylist|grey list", text: "$ was put off: "},
	{id: "greylisting-likely", severity: trace.Note, verbs: "RCPT", codes: "450 451", enhanced: "-", text: "$ was put off: "},
	{id: "greylisting-likely", severity: trace.Note, verbs: "RCPT", codes: "450 451", enhanced: "7.", text: "$ was put off: "},
	{id: "policy-vs-user", severity: trace.Error, verbs: transaction, codes: "5", enhanced: "7.", text: "$ was refused as a matter of policy: "},
	{id: "policy-vs-user", severity: trace.Error, verbs: transaction, codes: "5", says: "spam|blacklist|blocklist|blocked|reputation|policy|dnsbl",
		text: "$ was refused as a matter of policy: "},
}

// replies looks for patterns. The first that fits counts, of those with one id.
func (f *facts) replies() {
	for _, t := range f.turns {
		last := ""
		for i := range patterns {
			p := &patterns[i]
			if p.id == last || !p.fits(t) {
				continue
			}
			last = p.id
			if p.offered != "" && f.finding(p.id) == nil {
				f.say(p.id, p.severity, p.sentence(t), t.offer.event)
			}
			f.say(p.id, p.severity, p.sentence(t), t.event)
		}
	}
}

func (p *pattern) sentence(t *turn) string {
	return strings.Replace(p.text, "$", t.Verb, 1) + t.quote() + "."
}

func (p *pattern) fits(t *turn) bool {
	_, subject, _ := strings.Cut(t.Enhanced, ".")
	if subject == "" {
		subject = "-"
	}
	text := strings.ToLower(t.text())
	return t.is(p.verbs) && p.code(strconv.Itoa(t.Code)) && strings.HasPrefix(subject, p.enhanced) &&
		(p.says == "" || mentions(text, p.says)) && (p.unless == "" || !mentions(text, p.unless)) &&
		(p.to == "" || t.command != nil && strings.HasPrefix(strings.ToLower(t.command.Text), p.to)) &&
		(p.offered == "" || t.offer.offers(p.offered)) && (p.lacking == "" || !t.offer.offers(p.lacking)) &&
		!(p.unknown && t.signedIn)
}

func (p *pattern) code(code string) bool {
	for _, c := range strings.Fields(p.codes) {
		if c == code || strings.HasPrefix(code, c) && !has("421 530", code) {
			return true
		}
	}
	return false
}

func mentions(text, words string) bool {
	for _, w := range strings.Split(words, "|") {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

const (
	longGreeting = 5 * time.Second
	longReply    = 2 * time.Second
	longVerdict  = 10 * time.Second // on a message: filters look at it before the server answers
)

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// times compares with the quickest reply, which tells how long the way is.
func (f *facts) times() {
	quickest := time.Duration(-1)
	for _, t := range f.turns {
		if t.is("greeting") && t.wait > longGreeting {
			f.say("slow-greeting", trace.Note, "The greeting took "+seconds(t.wait)+".", t.event)
		}
		if t.prompt && (quickest < 0 || t.wait < quickest) {
			quickest = t.wait
		}
	}
	slowest := &turn{}
	for _, t := range f.turns {
		if t.slow(quickest) && t.wait > slowest.wait {
			slowest = t
		}
	}
	text := "The answer to " + slowest.Verb + " took " + seconds(slowest.wait) + ", the quickest one " + seconds(quickest) + "."
	for _, t := range f.turns {
		if t.slow(quickest) {
			f.say("slow-reply", trace.Note, text, t.event)
		}
	}
}

func (t *turn) slow(quickest time.Duration) bool {
	limit := longReply
	switch {
	case t.command == nil, t.is("AUTH response") && t.Code/100 >= 4: // a refused sign-in is held back on purpose
		return false
	case t.is("message BDAT"):
		limit = longVerdict
	}
	return t.wait-quickest > limit
}

// ends looks at how the session ended, and at replies that could have ended it.
func (f *facts) ends() {
	last := f.last()
	if f.desync != nil {
		tail := f.tail()
		switch {
		case last.Verb == "STARTTLS" && last.Code == 220 && f.tlsFrom == nil:
			f.say("plaintext-after-220", trace.Error, "More came in the clear behind the answer to STARTTLS: "+quote(tail)+".", last.event)
		case len(tail) > 1 && tail[0]&0xfc == 0x14 && tail[1] == 3: // the head of a TLS record (RFC 8446, 5.1)
			f.say("wrong-tls-mode", trace.Error, "The server sent a TLS record where a reply was expected.", f.desync.N)
		case last.Code != 0 && last.Verb == "" && last.Answers == nil:
			f.say("early-talker", trace.Error, "The server sent "+last.quote()+", which nothing had asked for.", last.event)
		case f.failed(trace.CodeRejected): // the message, before all of it was sent
		default:
			f.say("malformed-reply", trace.Error, "The session ended because of what the server sent: "+f.desync.Text+".", f.desync.N)
		}
	}
	for _, t := range f.turns {
		for _, odd := range t.Oddities {
			if odd != "non-ascii" || !f.offer.offers("SMTPUTF8") { // RFC 6531, 3.7.4
				f.say("malformed-reply", trace.Note, "The answer to "+t.Verb+" is not by the grammar: "+odd+".", t.event)
			}
		}
	}
	if f.failed(trace.CodeTimeout) && len(f.unanswered) > 1 && f.offer.offers("PIPELINING") {
		text := "PIPELINING is offered, and " + strconv.Itoa(len(f.unanswered)) + " commands of a group were never answered."
		f.say("pipelining-broken", trace.Error, text, f.offer.event)
		for _, e := range f.unanswered {
			f.say("pipelining-broken", trace.Error, text, e.N)
		}
	}
	f.goodbye(last)
}

// goodbye leaves alone what ended on the way, which is not the server's doing.
func (f *facts) goodbye(last *turn) {
	if f.closed == nil || f.desync != nil || f.Result == nil || last.Verb == "QUIT" && last.Code/100 == 2 {
		return
	}
	for _, t := range f.turns {
		if t.Code == 421 {
			return
		}
	}
	severity, where := trace.Note, "before the greeting"
	switch {
	case f.failed(trace.CodeClosed):
		severity = trace.Error
	case f.Result.Error != nil && !has("rejected unsupported", string(f.Result.Error.Code)):
		return
	}
	switch {
	case len(f.unanswered) > 0:
		where = "when " + f.unanswered[0].Text + " was to be answered"
	case last.Code != 0:
		where = "behind the answer to " + last.Verb
	}
	f.say("closed-without-quit", severity, "The connection was closed "+where+", and no 421 said why.", f.closed.N)
}
