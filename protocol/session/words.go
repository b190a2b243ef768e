package session

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// failure is why a session, or a message of it, did not succeed.
type failure struct {
	phase     string // "" for where the session is
	code      trace.ErrorCode
	message   string
	rule      string
	retry     int // seconds
	permanent bool
	unknown   bool // the message may have been accepted all the same
	reply     *trace.ResultReply
}

func (f *failure) info() *trace.ErrorInfo {
	return &trace.ErrorInfo{Code: f.code, Message: f.message, Rule: f.rule, RetryAfter: f.retry}
}

// rejected puts a reply that refused something into words.
func rejected(phase string, r *smtp.Reply, quote *trace.ResultReply) *failure {
	what := map[string]string{
		"greeting": "The server does not want to talk to us",
		"ehlo":     "The server refused our greeting",
		"starttls": "The server refused to start TLS",
		"auth":     "The server refused the sign-in",
		"mail":     "The server refused the sender",
		"rcpt":     "The server refused a recipient",
		"data":     "The server refused to take the message",
		"message":  "The server refused the message",
	}[phase]
	said := strings.Join(quote.Lines, " ")
	if quote.Enhanced != "" {
		said = quote.Enhanced + " " + said
	}
	return &failure{phase: phase, code: trace.CodeRejected, permanent: r.Permanent() && !tooMany(phase, r), reply: quote,
		message: fmt.Sprintf("%s: %d %s. %s", what, quote.Code, strings.TrimRight(strings.TrimSpace(said), "."), advice(phase, r))}
}

// tooMany: a 552 to RCPT is read as 452 (RFC 5321, 4.5.3.1.10).
func tooMany(phase string, r *smtp.Reply) bool {
	_, subject, _ := strings.Cut(r.Enhanced.String(), ".")
	return phase == "rcpt" && (r.Code == 452 || r.Code == 552) && (subject == "" || subject == "5.3")
}

// advice says what to do about a refusal, from its enhanced code (RFC 3463) if it has one.
func advice(phase string, r *smtp.Reply) string {
	enhanced := r.Enhanced.String()
	_, subject, _ := strings.Cut(enhanced, ".")
	switch {
	case r.Code == 421:
		return "The server is closing; try again later."
	case subject == "1.1" || subject == "1.2" || subject == "1.3" || subject == "1.10":
		return "Check the spelling of the address and its domain."
	case subject == "2.2":
		return "The mailbox is full; its owner must make room."
	case tooMany(phase, r):
		return "These are too many recipients for one message: send it to the rest in another."
	case subject == "3.4" || r.Code == 552:
		return "The message is larger than the server takes."
	case r.Code == 530:
		return "It wants TLS or a sign-in first (RFC 4954, 6)."
	case r.Code == 535 || subject == "7.8":
		return "Check the user name and the password, and whether this account may sign in with a password."
	case strings.HasPrefix(subject, "7.") && r.Permanent():
		return "This is policy, not a fault of the address: ask the server's postmaster, or sign in first if you submit mail."
	case r.Temporary() && phase == "rcpt":
		return "This is temporary, perhaps greylisting: a real mail server would retry in some minutes."
	case r.Temporary():
		return "This is temporary: try again later."
	case phase == "rcpt" && r.Code == 550:
		return "Check the address; some servers also say this to senders that they distrust."
	case phase == "greeting":
		return "It may refuse this client's address; ask its postmaster."
	}
	return "Trying the same again will not help; its words say why."
}

// tunnelFailure maps what the tunnel said to the result's codes; nil when err is not the tunnel's.
func tunnelFailure(err error) *failure {
	var e *tunnel.Error
	if !errors.As(err, &e) {
		return nil
	}
	f := &failure{code: trace.CodeProtocol, message: e.Message, rule: e.Rule, retry: e.RetryAfter}
	switch e.Code {
	case tunnel.CodeRefused, tunnel.CodeTimeout, tunnel.CodeNameNotFound, tunnel.CodeNoRoute,
		tunnel.CodeDenied, tunnel.CodeQuota, tunnel.CodeTooMany, tunnel.CodeShutdown:
		f.code = trace.ErrorCode(e.Code)
	case tunnel.CodeReset:
		f.code = trace.CodeClosed
	}
	f.permanent = e.Code == tunnel.CodeDenied || e.Code == tunnel.CodeNameNotFound
	return f
}

// closedFailure says what a read or write error means in the present phase.
func (s *Session) closedFailure(err error) *failure {
	if f := tunnelFailure(err); f != nil {
		return s.afterDot(f)
	}
	f := &failure{code: trace.CodeClosed}
	switch {
	case err == nil || errors.Is(err, io.EOF):
		f.message = fmt.Sprintf("The server closed the connection %s, without a reply that says why. Try again; if it recurs, its log will tell.", s.where())
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.code = trace.CodeTimeout
		f.message = fmt.Sprintf("The connection made no progress %s and was given up.", s.where())
	case errors.Is(err, tunnel.ErrLost):
		f.message = smtp.Escape(err.Error())
	default:
		f.message = tunnel.LostError(err, s.plan.Target.Host, s.plan.Target.Port).Message
	}
	return s.afterDot(f)
}

// afterDot marks a failure that leaves open whether the message was accepted (RFC 5321, 4.5.3.2.6 and 6.1).
func (s *Session) afterDot(f *failure) *failure {
	if s.dotSent {
		f.unknown = true
		f.message += " The whole message had been sent by then, so the server may have accepted it: look in the mailbox before sending it again."
	}
	return f
}

// where names the phase for a sentence.
func (s *Session) where() string {
	switch s.phase {
	case "connect", "greeting":
		if s.client.Server().Greeting != nil { // while its user thinks
			return "after its greeting"
		}
		return "before its greeting"
	case "tls":
		return "during the TLS handshake"
	case "auth":
		return "while signing in"
	case "message":
		return "while it received the message"
	case "quit":
		return "after QUIT"
	}
	return "at " + strings.ToUpper(s.phase)
}

// queueID finds the name that a server gave to the message it accepted, in the
// ways of the common servers; "" when it gave none.
func queueID(r *smtp.Reply) string {
	text := strings.Join(r.EscapedLines(), " ")
	words := strings.Fields(strings.TrimPrefix(text, r.Enhanced.String()))
	for i, w := range words {
		last := i == len(words)-1
		switch lower := strings.ToLower(w); {
		case lower == "queued" && !last && (words[i+1] == "as" || words[i+1] == "id") && i+2 < len(words):
			return bareID(words[i+2]) // Postfix, Haraka, this project's practice server
		case strings.HasPrefix(lower, "id="): // Exim
			return bareID(w[len("id="):])
		case strings.HasPrefix(lower, "[internalid="): // Exchange
			return bareID(w[len("[internalid="):])
		case i > 0 && lower == "message" && !last && words[i+1] == "accepted": // Sendmail, OpenSMTPD
			return bareID(words[i-1])
		case i > 0 && (lower == "qp" || lower == "gsmtp") && strings.EqualFold(words[0], "ok"): // qmail, Gmail
			return bareID(words[1])
		}
	}
	return ""
}

func bareID(word string) string { return strings.Trim(word, "<>[](),;:.") }

// tunnelText is a status of the tunnel in one line.
func tunnelText(st tunnel.Status) string {
	switch st.Stage {
	case tunnel.StageResolving:
		return "looking up " + smtp.Escape(st.Host)
	case tunnel.StageAddresses:
		return fmt.Sprintf("%s is %s", smtp.Escape(st.Host), smtp.Escape(strings.Join(st.Addresses, ", ")))
	case tunnel.StageDialing:
		return "connecting to " + smtp.Escape(st.Address)
	case tunnel.StageFailed:
		precision := 10 * time.Microsecond
		if st.Connect > time.Second {
			precision = 100 * time.Millisecond
		}
		return fmt.Sprintf("could not connect to %s: %s, after %v", smtp.Escape(st.Address), smtp.Escape(st.Problem), st.Connect.Round(precision))
	}
	return fmt.Sprintf("connected to %s in %v", smtp.Escape(st.Address), st.Connect.Round(10*time.Microsecond))
}

// Of an answer of the DNS, a line has so many records, and so much of each.
const (
	toldRecords = 6
	toldRecord  = 100
)

// lookupText is what the DNS said in one line.
func lookupText(d *trace.LookupData) string {
	question := d.Type + " " + smtp.Escape(d.Name)
	switch {
	case d.Problem != "":
		return question + ": no answer. " + smtp.Escape(d.Problem)
	case d.RCode == "NXDOMAIN":
		return question + ": no such name"
	case d.RCode != "NOERROR":
		return question + ": " + smtp.Escape(d.RCode)
	case len(d.Records) == 0:
		return question + ": none"
	}
	var told []string
	for _, r := range d.Records {
		value := r.Data
		switch r.Type {
		case "MX":
			value = fmt.Sprintf("%d %s", r.Preference, r.Host)
		case "PTR":
			value = r.Host
		case "CNAME":
			value = "alias of " + r.Host
		case "TXT":
			value = r.Text
		}
		if value = smtp.Escape(value); len(value) > toldRecord {
			value = strings.ToValidUTF8(value[:toldRecord], "") + "…"
		}
		if strings.HasPrefix(value, "v=") { // a domain has many texts, and the others are about something else
			told = slices.Insert(told, 0, value)
		} else {
			told = append(told, value)
		}
	}
	if more := len(told) - toldRecords; more > 0 {
		told = append(told[:toldRecords], fmt.Sprintf("%d more", more))
	}
	return question + ": " + strings.Join(told, ", ")
}

// policyText is an MTA-STS policy, or why there is none, in one line.
func policyText(d *trace.PolicyData) string {
	text := "MTA-STS policy of " + smtp.Escape(d.Domain) + ": "
	if d.Problem != "" {
		return text + "none. " + smtp.Escape(d.Problem)
	}
	return text + smtp.Escape(fmt.Sprintf("%s, %s, max_age %d", d.Mode, strings.Join(d.MX, ", "), d.MaxAge))
}

// sampleText is a measurement of TCP in one line.
func sampleText(s tunnel.Sample) string {
	text := fmt.Sprintf("%s, round trip %v, congestion window %d", s.State, s.RTT, s.CongestionWindow)
	if s.Retransmits > 0 {
		text += fmt.Sprintf(", %d sent again", s.Retransmits)
	}
	return text
}
