package session

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// chunkSize is the most that one BDAT carries. A server answers to a chunk only when
// it has all of it (RFC 3030, 2), and the trace keeps head and tail of each.
const chunkSize = 4 << 20

// content is what follows the envelope: the next chunk of the message where the
// plan wants BDAT and the server takes it, else DATA.
func (p *plot) content(server *smtp.Server) smtp.Command {
	if !p.plan.Options.Chunking {
		return smtp.Data()
	}
	if !server.Offers("CHUNKING") {
		p.note("The server does not offer CHUNKING (RFC 3030): the message goes by DATA instead of BDAT.")
		return smtp.Data()
	}
	if p.octets == nil {
		text, body := p.encoded(server, p.current())
		p.octets = []byte(text)
		if body != binaryMIME {
			p.octets = smtp.Text(p.octets)
		}
	}
	rest := p.octets[p.octet:]
	n := min(len(rest), chunkSize)
	return smtp.Bdat(rest[:n], n == len(rest))
}

// encoded is a message in the encoding that is sent to this server, and the value of
// options.body that this is.
func (p *plot) encoded(server *smtp.Server, m Message) (text, body string) {
	o, alt := p.plan.Options, m.Alternatives
	binary := alt.Binary != "" && o.Chunking && server.Offers("CHUNKING") && server.Offers("BINARYMIME")
	switch {
	case binary && (o.Body == "" || o.Body == binaryMIME):
		return alt.Binary, binaryMIME
	case alt.EightBit != "" && server.Offers("8BITMIME") && (o.Body == "" || o.Body == "8bitmime"):
		return alt.EightBit, "8bitmime"
	}
	return m.Data, o.Body
}

// note is said once in a session, however often its reason comes up.
func (p *plot) note(text string) {
	if !slices.Contains(p.noted, text) {
		p.noted, p.notes = append(p.noted, text), append(p.notes, text)
	}
}

// mailParams are the parameters of MAIL for a message, or why this server cannot
// be given it. What a message needs is never left out to get it through.
func (p *plot) mailParams(server *smtp.Server, m Message) (params []string, f *failure) {
	o := p.plan.Options
	refuse := func(code trace.ErrorCode, format string, args ...any) ([]string, *failure) {
		return nil, &failure{phase: "mail", code: code, permanent: true, message: fmt.Sprintf(format, args...)}
	}

	text, body := p.encoded(server, m)
	if server.Offers("SIZE") {
		size := int64(len(text))
		if body != binaryMIME {
			size = smtp.Measure([]byte(text)).Size
		}
		if limit, known := server.MaxSize(); known && limit > 0 && size > limit {
			return refuse(trace.CodeRejected, "The message has %d octets and the server takes at most %d (SIZE, RFC 1870). It was not sent.", size, limit)
		}
		if o.Size {
			params = append(params, fmt.Sprintf("SIZE=%d", size))
		}
	}

	needs8bit := !isASCII(text)
	switch {
	case body == binaryMIME:
		if !server.Offers("BINARYMIME") || !server.Offers("CHUNKING") {
			return refuse(trace.CodeUnsupported, "The server does not offer BINARYMIME and CHUNKING (RFC 3030), and options.body asks for binarymime. The message was not sent: encode it as base64 and leave options.body empty, or use another server.")
		}
		params = append(params, "BODY=BINARYMIME")
	case needs8bit && (!server.Offers("8BITMIME") || body == "7bit"):
		return refuse(trace.CodeUnsupported, "The message has bytes above 127 and cannot be sent as 7-bit text: encode it as quoted-printable or base64, or use a server that offers 8BITMIME (RFC 6152) and leave options.body empty.")
	case server.Offers("8BITMIME") && (needs8bit || body == "8bitmime"):
		params = append(params, "BODY=8BITMIME")
	}

	// A message that does not need it goes without (RFC 6531, 3.4).
	if what := m.international(text); o.SMTPUTF8 && what != "" {
		if !server.Offers("SMTPUTF8") {
			return refuse(trace.CodeUnsupported, "The message has %s beyond ASCII, and the server does not offer SMTPUTF8 (RFC 6531). It was not sent: use an ASCII form, or another server.", what)
		}
		params = append(params, "SMTPUTF8")
	}

	if o.RequireTLS {
		// RFC 8689, 4.2.1 asks for all three.
		words := ""
		switch {
		case !p.secure:
			words = "the connection is not in TLS. Choose STARTTLS or implicit TLS."
		case !p.verified:
			words = "the server's certificate is not trusted, and the plan went on regardless (tls.insecure)."
		case !server.Offers("REQUIRETLS"):
			words = "the server does not offer it. Use another server, or leave options.requiretls out."
		}
		if words != "" {
			return refuse(trace.CodeUnsupported, "The message was not sent, because it is to go with REQUIRETLS (RFC 8689) and %s", words)
		}
		params = append(params, "REQUIRETLS")
	}

	if o.DSN.asked() {
		if !server.Offers("DSN") {
			p.note("The server does not offer DSN (RFC 3461): it is not asked for notifications, and may send what it sends by default.")
		} else {
			if o.DSN.Ret != "" {
				params = append(params, "RET="+strings.ToUpper(o.DSN.Ret))
			}
			if o.DSN.EnvID != "" {
				params = append(params, "ENVID="+smtp.Xtext(o.DSN.EnvID))
			}
		}
	}
	later, f := p.laterParams(server)
	return append(params, later...), f
}

// laterParams are the parameters of MAIL about when a message is delivered. The
// server names its limits in its reply to EHLO; one that cannot be read is none.
func (p *plot) laterParams(server *smtp.Server) (params []string, f *failure) {
	o := p.plan.Options
	refuse := func(format string, args ...any) ([]string, *failure) {
		return nil, &failure{phase: "mail", code: trace.CodeUnsupported, permanent: true, message: fmt.Sprintf(format, args...)}
	}
	if o.DeliverBy != "" {
		limits, offered := server.Ext("DELIVERBY")
		within, returns, _ := deliverBy(o.DeliverBy)
		if least, ok := seconds(limits); ok && returns && within < least {
			return refuse("The message was not sent: it is to be delivered within %d seconds or returned, and the server needs %d at least (DELIVERBY, RFC 2852, 4).", within, least)
		}
		if offered {
			params = append(params, "BY="+strings.ToUpper(o.DeliverBy))
		} else {
			p.note("The server does not offer DELIVERBY (RFC 2852): it is not told by when to deliver the message.")
		}
	}
	if o.Priority != 0 {
		if server.Offers("MT-PRIORITY") {
			params = append(params, fmt.Sprintf("MT-PRIORITY=%d", o.Priority))
		} else {
			p.note("The server does not offer MT-PRIORITY (RFC 6710): the message goes like any other.")
		}
	}
	if o.Hold != "" {
		limits, offered := server.Ext("FUTURERELEASE")
		span, until, _ := hold(o.Hold)
		if most, ok := seconds(limits); ok && span > most {
			return refuse("The message was not sent: it is to be held for %d seconds, and the server holds one for %d at most (FUTURERELEASE, RFC 4865).", span, most)
		}
		if len(limits) > 1 {
			if last, err := time.Parse(time.RFC3339, limits[1]); err == nil && until.After(last) {
				return refuse("The message was not sent: it is to be held until %s, and the server holds one until %s at most (FUTURERELEASE, RFC 4865).", o.Hold, limits[1])
			}
		}
		switch {
		case !offered:
			p.note("The server does not offer FUTURERELEASE (RFC 4865): the message is not held.")
		case span > 0:
			params = append(params, fmt.Sprintf("HOLDFOR=%d", span))
		default:
			params = append(params, "HOLDUNTIL="+until.UTC().Format(time.RFC3339))
		}
	}
	return params, nil
}

// seconds is the first parameter of an EHLO keyword, where that is a number.
func seconds(params []string) (n int, ok bool) {
	if len(params) == 0 {
		return 0, false
	}
	n, err := strconv.Atoi(params[0])
	return n, err == nil && n >= 0
}

// rcptParams are the parameters of RCPT (RFC 3461, 4.1 and 4.2; RFC 7293, 3.1).
func (p *plot) rcptParams(server *smtp.Server, to string) (params []string) {
	dsn := p.plan.Options.DSN
	if server.Offers("DSN") && dsn.asked() {
		if len(dsn.Notify) > 0 {
			params = append(params, "NOTIFY="+strings.ToUpper(strings.Join(dsn.Notify, ",")))
		}
		params = append(params, "ORCPT="+smtp.OriginalRecipient(to))
	}
	if rrvs := p.plan.Options.RRVS; rrvs != "" {
		if server.Offers("RRVS") {
			since, _ := time.Parse(time.RFC3339, rrvs) //nolint:errcheck // ParsePlan has checked it
			params = append(params, "RRVS="+since.UTC().Format(time.RFC3339))
		} else {
			p.note("The server does not offer RRVS (RFC 7293): it does not look at how long a recipient has had the address.")
		}
	}
	return params
}

// fitting is how many of the recipients one transaction may have, at least one.
func fitting(limits smtp.Limits, recipients []string) (n int) {
	var domains []string
	for _, to := range recipients {
		if d := strings.ToLower(to[strings.LastIndexByte(to, '@')+1:]); !slices.Contains(domains, d) {
			domains = append(domains, d)
		}
		if limits.RcptMax > 0 && n >= limits.RcptMax || limits.RcptDomainMax > 0 && len(domains) > limits.RcptDomainMax {
			return n
		}
		n++
	}
	return n
}

// international names the first part of a message that needs SMTPUTF8, "" if there is none.
func (m Message) international(text string) string {
	if !isASCII(m.From) {
		return "a sender"
	}
	for _, to := range m.To {
		if !isASCII(to) {
			return "a recipient"
		}
	}
	if !isASCII(header(text)) {
		return "a header field"
	}
	return ""
}

// header is what stands before the first empty line of a message, however its lines end.
func header(text string) string {
	for rest := text; rest != ""; {
		if rest[0] == '\r' || rest[0] == '\n' {
			return text[:len(text)-len(rest)]
		}
		end := strings.IndexAny(rest, "\r\n")
		if end < 0 {
			break
		}
		if strings.HasPrefix(rest[end:], "\r\n") {
			end++
		}
		rest = rest[end+1:]
	}
	return text
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
