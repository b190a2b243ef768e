package lookup

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// read makes an answer of a response: the records of the asked type at the name,
// and the aliases on the way there. Records of other names and types, which no
// one asked for, are left out.
func (r *Resolver) read(response *dns.Msg, q question) *Answer {
	a := &Answer{
		Name:    q.name,
		Type:    dns.TypeToString[q.qtype],
		RCode:   rcode(response.Rcode),
		Records: []Record{},
		AD:      response.AuthenticatedData,
		Notes:   notes(response),
	}
	name, room := q.name, maxText
	keep := func(record dns.RR) {
		out := describe(record)
		size := len(out.Name) + 2*len(out.Data)
		address, err := netip.ParseAddr(out.Address)
		switch {
		case err == nil && !r.config.Policy.TellsAddress(q.name, address):
			a.Withheld++
		case len(a.Records) == maxRecords || size > room:
			a.Omitted++
		default:
			room -= size
			a.Records = append(a.Records, out)
		}
	}
	for range maxAliases {
		alias := find(response.Answer, name)
		if alias == nil {
			break
		}
		keep(alias)
		name = plainName(alias.Target)
		if !r.config.Policy.TellsName(name) {
			// Not even whether it exists.
			a.RCode, a.Notes, a.AD, a.Withheld = "NOERROR", nil, false, 1
			return a
		}
	}
	for _, record := range response.Answer {
		if h := record.Header(); h.Rrtype == q.qtype && h.Class == dns.ClassINET && plainName(h.Name) == name {
			keep(record)
		}
	}
	return a
}

// maxAliases bounds a chain, which may be a circle.
const maxAliases = 16

// find gives the alias at a name.
func find(records []dns.RR, name string) *dns.CNAME {
	for _, record := range records {
		if c, ok := record.(*dns.CNAME); ok && c.Hdr.Class == dns.ClassINET && plainName(c.Hdr.Name) == name {
			return c
		}
	}
	return nil
}

// describe writes a record out.
func describe(record dns.RR) Record {
	h := record.Header()
	out := Record{
		Name: plainName(h.Name),
		Type: dns.TypeToString[h.Rrtype],
		TTL:  uint32(seconds(h.Ttl).Seconds()),
		Data: strings.TrimPrefix(record.String(), h.String()),
	}
	switch v := record.(type) {
	case *dns.A:
		if address, ok := netip.AddrFromSlice(v.A); ok {
			out.Address = address.Unmap().String()
		}
	case *dns.AAAA:
		// Not unmapped: what is told is what the record says.
		if address, ok := netip.AddrFromSlice(v.AAAA.To16()); ok {
			out.Address = address.String()
		}
	case *dns.MX:
		out.Host, out.Preference = plainName(v.Mx), v.Preference
	case *dns.PTR:
		out.Host = plainName(v.Ptr)
	case *dns.CNAME:
		out.Host = plainName(v.Target)
	case *dns.TXT:
		out.Text = strings.ToValidUTF8(unescape(strings.Join(v.Txt, "")), "\uFFFD")
	}
	return out
}

// plainName is in lower case and without the final dot, except for the root.
func plainName(name string) string {
	name = strings.ToLower(name)
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}

// unescape undoes what zone files do to a text: \DDD and \X (RFC 1035, 5.1).
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		if i+3 <= len(text) {
			if n, err := strconv.ParseUint(text[i:i+3], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return "RCODE" + strconv.Itoa(code)
}

// notes are the reasons that the resolver gives for a failure.
func notes(response *dns.Msg) []string {
	opt := response.IsEdns0()
	if opt == nil {
		return nil
	}
	var out []string
	for _, option := range opt.Option {
		ede, ok := option.(*dns.EDNS0_EDE)
		if !ok || len(out) == 4 {
			continue
		}
		note := dns.ExtendedErrorCodeToString[ede.InfoCode]
		if note == "" {
			note = "extended error " + strconv.Itoa(int(ede.InfoCode))
		}
		if ede.ExtraText != "" {
			note += ": " + shorten(strings.ToValidUTF8(ede.ExtraText, "\uFFFD"))
		}
		out = append(out, note)
	}
	return out
}
