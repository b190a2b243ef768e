package diagnose

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"smtpscope/protocol/trace"
)

// lookup is a question to the DNS and what was answered. Records are those of the type that was asked for.
type lookup struct {
	trace.LookupData
	event int
	alias string   // what the name stands for, "" where it is no alias
	hosts []string // that the records name
}

func (f *facts) lookup(e *trace.Event) {
	l := lookup{event: e.N}
	if !read(e, &l.LookupData) {
		return
	}
	records := l.Records[:0]
	for i := range l.Records {
		switch r := &l.Records[i]; {
		case r.Type == l.Type:
			records, l.hosts = append(records, *r), append(l.hosts, r.Host)
		case l.alias == "":
			l.alias = r.Host
		}
	}
	l.Records = records
	f.lookups = append(f.lookups, l)
}

// answered tells whether there is an answer, and one that can be relied upon for what is not in it.
// One that the proxy does not tell in full cannot.
func (l *lookup) answered() bool {
	return l != nil && has("NOERROR NXDOMAIN", l.RCode) && l.Withheld == 0 && l.Omitted == 0
}

// none tells whether there is no such record for certain.
func (l *lookup) none() bool { return l.answered() && len(l.Records) == 0 }

// asked returns the first question of a type about a name, "" standing for all; nil when there was none.
func (f *facts) asked(recordType, name string) *lookup {
	for i := range f.lookups {
		if l := &f.lookups[i]; l.Type == recordType && (name == "" || l.Name == name) {
			return l
		}
	}
	return nil
}

// domain looks at what the DNS says of the domain whose mail servers were asked for.
func (f *facts) domain() {
	f.reverse()
	mx := f.asked("MX", "")
	if !mx.answered() {
		return
	}
	for _, host := range mx.hosts {
		if host != "." {
			continue
		}
		more := ""
		if len(mx.hosts) > 1 {
			more = ", and names mail servers beside it, which it must not"
		}
		f.say("null-mx", trace.Error, mx.Name+" takes no mail: it has a null MX"+more+".", mx.event)
		return
	}
	if mx.hosts == nil {
		mx.hosts = []string{mx.Name} // RFC 5321, 5.1
	}
	f.servers(mx)
	f.records(mx.Name)
	f.policies(mx)
	for i := range f.lookups {
		if l := &f.lookups[i]; l.Type == "TLSA" && l.answered() {
			f.dane(mx, l)
		}
	}
}

// servers looks at whether the names of the mail servers lead to addresses.
func (f *facts) servers(mx *lookup) {
	severity := trace.Warn
	if f.opened.Address == "" {
		severity = trace.Error
	}
	for _, host := range mx.hosts {
		a, aaaa := f.asked("A", host), f.asked("AAAA", host)
		either := a
		if a == nil {
			either = aaaa
		}
		if either != nil && either.alias != "" && len(mx.Records) > 0 {
			f.say("mx-is-alias", trace.Note, "The MX of "+mx.Name+" names "+host+", an alias for "+either.alias+".", mx.event, either.event)
		}
		if a.none() && aaaa.none() {
			f.say("mx-without-address", severity, "Mail for "+mx.Name+" is to go to "+host+", which has no address.", mx.event, a.event, aaaa.event)
		}
	}
}

// published are the policies that are text in the DNS. Of each there may be one.
var published = []struct {
	none, several string // findings
	severity      trace.Severity
	what, at      string
	version, end  string // how it begins (RFC 7208, 4.5; RFC 7489, 6.4; RFC 8461, 3.1; RFC 8460, 3)
}{
	{"no-spf", "several-spf", trace.Note, "SPF", "", "v=spf1", " "},
	{"no-dmarc", "several-dmarc", trace.Note, "DMARC", "_dmarc.", "v=DMARC1", ";"},
	{"no-mta-sts", "mta-sts-broken", trace.Note, "MTA-STS", "_mta-sts.", "v=STSv1", ";"},
	{"no-tls-rpt", "no-tls-rpt", trace.Chat, "TLS-RPT", "_smtp._tls.", "v=TLSRPTv1", ";"},
}

func (f *facts) records(domain string) {
	for i := range published {
		p := &published[i]
		l := f.asked("TXT", p.at+domain)
		if !l.answered() {
			continue
		}
		count := 0
		for i := range l.Records {
			version, _, _ := strings.Cut(l.Records[i].Text, p.end)
			version = strings.ReplaceAll(version, " ", "")
			if version == p.version || p.end == " " && strings.EqualFold(version, p.version) {
				count++
			}
		}
		switch at := " at " + l.Name; {
		case count == 0:
			f.say(p.none, p.severity, "There is no "+p.what+" record"+at+".", l.event)
		case count > 1:
			f.say(p.several, trace.Warn, strconv.Itoa(count)+" "+p.what+" records are"+at+", so that none counts.", l.event)
		}
	}
}

// policies compares the MTA-STS policy with the mail servers, and with the one that this session is with.
// A policy without an address was not fetched, which says nothing about it.
func (f *facts) policies(mx *lookup) {
	p := &f.policy
	if p.URL == "" || p.Mode == "none" {
		return
	}
	if p.Mode == "" {
		f.say("mta-sts-broken", trace.Warn, "A record announces an MTA-STS policy, and there is none that counts. "+p.Problem, f.policed)
		return
	}
	severity, policy := trace.Warn, "The MTA-STS policy (mode "+p.Mode+") "
	if p.Mode == "enforce" {
		severity = trace.Error
	}
	for _, host := range mx.hosts {
		if !covers(p.MX, host) {
			f.say("mta-sts-mx-mismatch", severity, policy+"leaves out "+host+".", mx.event, f.policed)
		}
	}
	why, event := "", 0
	switch {
	case f.clear != nil && !f.clear.offers("STARTTLS"):
		why, event = "TLS, and STARTTLS is not offered.", f.clear.event
	case f.handshake.Problem != "" && f.handshake.ServerName == f.opened.Host:
		why, event = "a certificate that holds, and this one does not.", f.tls.N
	default:
		return
	}
	f.say("mta-sts-broken", severity, policy+"wants "+why, event, f.policed)
}

// covers tells whether a policy names a mail server. "*." stands for one label (RFC 8461, 4.1).
func covers(patterns []string, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	for _, p := range patterns {
		if strings.EqualFold(p, host) || strings.EqualFold(p, "*."+parent) {
			return true
		}
	}
	return false
}

// dane compares the chain that the server sent with the TLSA records of its name. They count as long as
// DNSSEC vouches for every step on the way to them (RFC 7672, 2.2).
func (f *facts) dane(mx, l *lookup) {
	severity, why, event := trace.Note, "", l.event
	switch {
	case len(l.Records) == 0:
		severity, why = trace.Chat, "there is none"
	case !l.AD:
		why = "the resolver does not vouch for them by DNSSEC"
	case !mx.AD:
		why, event = "the resolver does not vouch for the MX by DNSSEC", mx.event
	}
	usable, fits := "", false
	for i := range l.Records {
		if w := strings.Fields(l.Records[i].Data); isUsable(w) {
			usable += ", " + strings.Join(w[:3], " ")
			fits = fits || matches(w, f.handshake.Chain)
		}
	}
	if why == "" && usable == "" {
		why = "none has the usage 2 or 3"
	}
	if why != "" {
		f.say("no-dane", severity, "No TLSA record at "+l.Name+" counts: "+why+".", event)
		return
	}
	if !fits && f.handshake.Chain != nil && l.Name == "_"+strconv.Itoa(f.opened.Port)+"._tcp."+f.opened.Host {
		f.say("dane-mismatch", trace.Error, "The TLSA records at "+l.Name+", "+quote(usable[2:])+", fit no certificate that the server sent.", l.event, f.tls.N)
	}
}

// isUsable tells whether the words of a TLSA record, usage, selector, matching type and data
// (RFC 6698, 2.1), are something that mail servers use (RFC 7672, 3.1).
func isUsable(w []string) bool {
	return len(w) > 3 && has("2 3", w[0]) && has("0 1", w[1]) && has("0 1 2", w[2])
}

// matches tells whether a record is about the server's own certificate (usage 3) or about one of the
// chain (usage 2). Whether the chain holds together is not looked at, and an
// authority that the record has in full need not be in it.
func matches(w []string, chain []trace.Certificate) bool {
	for i := range chain {
		if i > 0 && w[0] == "3" {
			break
		}
		part := chain[i].DER
		if w[1] == "1" {
			c, err := x509.ParseCertificate(part)
			if err != nil {
				return true // nothing is known against it
			}
			part = c.RawSubjectPublicKeyInfo
		}
		switch w[2] {
		case "1":
			sum := sha256.Sum256(part)
			part = sum[:]
		case "2":
			sum := sha512.Sum512(part)
			part = sum[:]
		}
		if strings.EqualFold(hex.EncodeToString(part), strings.Join(w[3:], "")) {
			return true
		}
	}
	return w[0]+w[2] == "20"
}

// reverse looks at the name of the address that the session is with, and whether
// that name leads back to it.
func (f *facts) reverse() {
	ptr := f.asked("PTR", "")
	to, err := netip.ParseAddrPort(f.opened.Address)
	if err != nil || !ptr.answered() {
		return
	}
	address, recordType := to.Addr().Unmap().String(), "A"
	if strings.Contains(address, ":") {
		recordType = "AAAA"
	}
	if ptr.hosts == nil {
		f.say("no-fcrdns", trace.Note, "The address "+address+" has no name (PTR).", ptr.event)
		return
	}
	called := address + " is called " + quote(strings.Join(ptr.hosts, ", "))
	if !f.leadsBack(ptr.hosts, recordType, address) {
		f.say("no-fcrdns", trace.Note, "The address "+called+", which does not lead back to it.", ptr.event)
		for _, name := range ptr.hosts {
			f.say("no-fcrdns", "", "", f.asked(recordType, name).event)
		}
	}
	if len(f.turns) > 0 && f.turns[0].Verb == "greeting" {
		if name := f.turns[0].domain(); name != "" && !covers(ptr.hosts, name) {
			f.say("banner-name-mismatch", trace.Chat, "The server greets as "+name+", and its address "+called+".", ptr.event, f.turns[0].event)
		}
	}
}

// leadsBack tells whether one of the names has the address, or may have it for all that was answered.
func (f *facts) leadsBack(names []string, recordType, address string) bool {
	for _, name := range names {
		l := f.asked(recordType, name)
		if !l.answered() {
			return true
		}
		for i := range l.Records {
			if l.Records[i].Address == address {
				return true
			}
		}
	}
	return false
}
