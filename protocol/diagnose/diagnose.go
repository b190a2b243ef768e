// Package diagnose draws conclusions from a trace: what a mail administrator
// would remark upon, each with its evidence.
//
// A finding says in a sentence what was seen in this session. What that means
// and what to do about it are in the entry "finding.<id>" of package book. The
// rules know nothing but the trace: what the DNS says is known where the session
// asked, and there is no list of servers and no other session.
package diagnose

import (
	"strings"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

const ids = "auth-before-tls auth-changed auth-equals-form auth-only-after-tls auth-plain-only " +
	"banner-leaks-version banner-name-mismatch binarymime-without-chunking " +
	"cert-expired cert-expires-soon cert-name-mismatch cert-not-yet-valid cert-untrusted closed-without-quit " +
	"dane-mismatch early-talker enhanced-codes-missing greylisting-likely incomplete-chain malformed-reply " +
	"mta-sts-broken mta-sts-mx-mismatch mx-is-alias mx-without-address " +
	"no-8bitmime no-dane no-dmarc no-fcrdns no-mta-sts no-pipelining no-size no-spf no-starttls no-tls-rpt null-mx " +
	"pipelining-broken plaintext-after-220 policy-vs-user postmaster-refused " +
	"several-dmarc several-spf size-below-message slow-greeting slow-reply smtputf8-without-8bitmime starttls-refused starttls-stripped " +
	"vrfy-discloses weak-tls wrong-tls-mode"

// IDs are those of all findings that there can be.
func IDs() []string { return strings.Fields(ids) }

// Findings are the conclusions about a session that has ended, each at most
// once, the gravest first and then the earliest.
func Findings(t *trace.Trace) []trace.Finding {
	f := gather(t)
	if f.plan.Lab.Transport == "udp" {
		return nil // what is lost or doubled on the way says nothing about the server
	}
	f.replies()
	f.greetings()
	f.times()
	f.startTLS()
	f.handshakes()
	f.offers()
	f.authentication()
	f.domain()
	f.ends()
	for i := range f.found {
		for j := i; j > 0 && before(&f.found[j], &f.found[j-1]); j-- {
			f.found[j], f.found[j-1] = f.found[j-1], f.found[j]
		}
	}
	return f.found
}

func before(a, b *trace.Finding) bool {
	if a.Severity != b.Severity {
		return rank(a) > rank(b)
	}
	return a.Events[0] < b.Events[0]
}

func rank(f *trace.Finding) int {
	return strings.Index("chat note warn error", string(f.Severity))
}

// say notes a finding. Said again, it is more evidence for what was found first.
func (f *facts) say(id string, severity trace.Severity, text string, events ...int) {
	seen := f.finding(id)
	if seen == nil {
		f.found = append(f.found, trace.Finding{ID: id, Severity: severity, Text: smtp.Escape(text)})
		seen = &f.found[len(f.found)-1]
	}
	for _, event := range events {
		at := len(seen.Events)
		for at > 0 && seen.Events[at-1] > event {
			at--
		}
		if at == 0 || seen.Events[at-1] != event {
			seen.Events = append(seen.Events, event)
			copy(seen.Events[at+1:], seen.Events[at:])
			seen.Events[at] = event
		}
	}
}

func (f *facts) finding(id string) *trace.Finding {
	for i := range f.found {
		if f.found[i].ID == id {
			return &f.found[i]
		}
	}
	return nil
}
