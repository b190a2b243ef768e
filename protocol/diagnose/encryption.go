package diagnose

import (
	"strconv"
	"strings"
	"time"

	"smtpscope/protocol/trace"
)

// startTLS looks at whether TLS could begin. Firewalls that look into SMTP keep the length of what they
// do not want to pass: an extension becomes Xs, and the greeting asterisks.
func (f *facts) startTLS() {
	if c := f.clear; c != nil {
		port := strconv.Itoa(f.plan.Target.Port)
		for _, x := range c.Extensions {
			if len(x.Keyword) >= 4 && strings.Trim(x.Keyword[:len(x.Keyword)-1], "X") == "" {
				f.say("starttls-stripped", trace.Error, "The reply to EHLO lists "+quote(x.Keyword)+", which is no extension.", c.event)
			}
		}
		switch {
		case c.offers("STARTTLS") || c.Verb == "LHLO" || f.finding("starttls-stripped") != nil:
		case strings.Contains(f.turns[0].text(), "****"):
			f.say("starttls-stripped", trace.Error, "The greeting is masked, "+f.turns[0].quote()+", and STARTTLS is not offered.", c.event)
		case f.plan.Security == "starttls":
			f.say("no-starttls", trace.Error, "STARTTLS is not offered on port "+port+", and this session wanted it.", c.event)
		default:
			f.say("no-starttls", trace.Warn, "STARTTLS is not offered on port "+port+".", c.event)
		}
	}
	switch {
	case f.tls != nil && f.tls.Kind == trace.KindAlert && f.tlsFrom != nil:
		first, _, _ := strings.Cut(f.excerpt(trace.WireIn, f.tlsFrom.Off), "\r")
		if first != "" && first[0] >= '2' && first[0] <= '5' {
			f.say("wrong-tls-mode", trace.Error, "TLS was begun, and the server answered in the clear: "+quote(first)+".", f.tls.N)
		}
	case len(f.turns) == 0 && f.plan.Security != "tls" && f.plan.Target.Port == 465 && f.Result != nil && f.Result.Phase == "greeting" && len(f.Events) > 0:
		f.say("wrong-tls-mode", trace.Error, "No greeting came on port 465 within "+seconds(f.Result.Elapsed)+".", len(f.Events)-1)
	}
}

const day = 24 * 60 * 60 // seconds

// handshakes looks at TLS and at the certificates.
func (f *facts) handshakes() {
	if f.tls == nil {
		return
	}
	f.strength()
	h := &f.handshake
	// Between mail servers most senders go on with a certificate that they do not trust; whoever submits mail does not.
	severity := trace.Error
	if f.plan.Target.Port == 25 && f.tls.Kind == trace.KindHandshake {
		severity = trace.Warn
	}
	now := f.Meta.Started.Unix() + f.tls.T/1e9
	for i := range h.Chain {
		c := &h.Chain[i]
		if i > 0 && c.Subject == c.Issuer {
			continue // a root is trusted or not, whatever it says (RFC 5280, 6.1)
		}
		from, until := c.NotBefore.Unix(), c.NotAfter.Unix()
		subject, expiry := "The certificate of "+c.Subject, " on "+date(c.NotAfter)
		switch left := until - now; {
		case left < 0:
			f.say("cert-expired", severity, subject+" expired"+expiry+".", f.tls.N)
		case now < from:
			f.say("cert-not-yet-valid", severity, subject+" is valid only from "+date(c.NotBefore)+".", f.tls.N)
		case i == 0 && left < 14*day && left < (until-from)/3: // what lives for days is renewed late
			f.say("cert-expires-soon", trace.Warn, subject+" expires"+expiry+", in "+strconv.Itoa(int(left/day))+" days.", f.tls.N)
		}
	}
	if len(h.Chain) == 0 {
		return
	}
	c := &h.Chain[0]
	switch h.Reason {
	case "wrong-name":
		names := "no name"
		if len(c.Names) > 0 {
			names = quote(strings.Join(c.Names, ", "))
		}
		f.say("cert-name-mismatch", severity, "The certificate is for "+names+", not for "+h.ServerName+".", f.tls.N)
	case "invalid":
		f.say("cert-untrusted", severity, h.Problem, f.tls.N)
	case "untrusted":
		if c.Subject == c.Issuer {
			f.say("cert-untrusted", severity, "The certificate of "+c.Subject+" is signed by itself.", f.tls.N)
			break
		}
		f.say("cert-untrusted", severity, "The certificate of "+c.Subject+" is issued by "+c.Issuer+", which is no trusted authority here.", f.tls.N)
		if len(h.Chain) == 1 { // or its issuer is a private root, which need not be sent
			f.say("incomplete-chain", trace.Warn, "The server sent its own certificate alone, without that of "+c.Issuer+".", f.tls.N)
		}
	}
}

func date(t time.Time) string { return t.UTC().Format("2 January 2006") }

// strength looks for what RFC 9325 advises against and what RFC 8996 ended.
func (f *facts) strength() {
	h, weak := &f.handshake, ""
	severity, version := trace.Warn, h.Version
	if f.tls.Kind == trace.KindAlert {
		severity, version = trace.Error, f.hello
	}
	if version != "" && version != "TLS 1.2" && version != "TLS 1.3" {
		weak = "; " + version
	}
	if s := h.Suite; mentions(s, "_CBC_|_RC4_|TLS_RSA_") {
		weak += "; " + s
	}
	for i := range h.Chain {
		c := &h.Chain[i]
		size, rsa := strings.CutPrefix(c.Key, "RSA ")
		if bits, _ := strconv.Atoi(size); rsa && bits < 2048 {
			weak += "; " + c.Key + " bit of " + c.Subject
		}
		if c.Subject != c.Issuer && mentions(c.Signature, "SHA1|MD5") {
			weak += "; " + c.Signature + " on " + c.Subject
		}
	}
	if weak != "" {
		f.say("weak-tls", severity, "Too weak by now: "+weak[2:]+".", f.tls.N)
	}
}
