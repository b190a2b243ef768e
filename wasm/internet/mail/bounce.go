package mail

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"smtpscope/protocol/trace"
)

// bounce tells the sender of a message that it was not delivered, by a message
// with the null reverse-path, which never leads to another one (RFC 5321, 6.1).
func (v *server) bounce(m *queued, next string, failed []fate) {
	e := envelope{id: v.system.newID(v.Name), to: []string{m.from}}
	if err := v.accept(e, v.report(e.id, m, next, failed)); err != nil {
		v.system.mu.Lock()
		defer v.system.mu.Unlock()
		v.event(trace.KindBounced, trace.MailData{QueueID: e.id, To: e.to, Reason: "the mailbox cannot be written: " + err.Error()}, nil)
	}
}

// report is the text of a bounce: a multipart/report (RFC 6522) of words, a
// delivery status (RFC 3464) and the header of the message.
func (v *server) report(id string, m *queued, next string, failed []fate) []byte {
	original := header(m.text)
	encoding := "7bit"
	if bytes.ContainsFunc(original, func(r rune) bool { return r > 0x7f }) {
		encoding = "8bit"
	}
	boundary := "report-" + id
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	part := func(kind string) {
		line("")
		line("--%s", boundary)
		line("Content-Type: %s", kind)
	}

	line("From: Mail Delivery System <MAILER-DAEMON@%s>", v.Name)
	line("To: <%s>", m.from)
	line("Subject: Undelivered Mail Returned to Sender")
	line("Date: %s", v.date())
	line("Message-ID: <%s@%s>", id, v.Name)
	line("Auto-Submitted: auto-replied") // RFC 3834, 5
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=%q", boundary)
	line("Content-Transfer-Encoding: %s", encoding)

	part("text/plain; charset=us-ascii")
	line("")
	line("This is the mail server %s.", v.Name)
	line("")
	line("Your message could not be delivered to everybody. Who did not get it, and why:")
	for _, f := range failed {
		line("")
		line("<%s>", f.to)
		line("%s", folded("    "+f.reason, "    "))
	}

	part("message/delivery-status")
	line("")
	line("Reporting-MTA: dns; %s", v.Name)
	line("Arrival-Date: %s", m.arrived.Format(time.RFC1123Z))
	for _, f := range failed {
		line("")
		line("Final-Recipient: rfc822; %s", f.to)
		line("Action: failed")
		line("Status: %s", f.status)
		if f.reply != "" {
			line("Remote-MTA: dns; %s", next)
			line("%s", folded("Diagnostic-Code: smtp; "+f.reply, "\t"))
		}
		line("Last-Attempt-Date: %s", v.date())
	}

	part("text/rfc822-headers")
	line("Content-Transfer-Encoding: %s", encoding)
	line("")
	b.Write(original)
	line("")
	line("--%s--", boundary)
	return b.Bytes()
}

// foldAt is how long lines shall be at most (RFC 5322, 2.1.1), without their end.
const foldAt = 78

// folded breaks text between words, so that every line but the first begins with
// indent. What is not ASCII becomes question marks.
func folded(text, indent string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	var b strings.Builder
	for len(text) > foldAt {
		at := strings.LastIndexByte(text[:foldAt+1], ' ')
		if strings.TrimSpace(text[:max(at, 0)]) == "" { // one long word
			if at = strings.IndexByte(text[foldAt:], ' ') + foldAt; at < foldAt {
				break
			}
		}
		b.WriteString(text[:at] + "\r\n")
		text = indent + text[at+1:]
	}
	b.WriteString(text)
	return b.String()
}
