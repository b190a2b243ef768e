package internet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// Record is a DNS record of a zone.
type Record struct {
	Name       string `json:"name"`       // "example.net"
	Type       string `json:"type"`       // "A" or "MX"
	Value      string `json:"value"`      // an IPv4 address, or the name of a mail exchange; "." for "no mail" (RFC 7505)
	Preference int    `json:"preference"` // of an MX, lower is better (RFC 5321, 5.1)
}

const (
	dnsPort = 53
	// dnsLimit is the longest message over UDP (RFC 1035, 4.2.1).
	dnsLimit = 512
	// recordTTL is of no consequence: nobody in the lab caches.
	recordTTL = 3600
)

// dnsWaits are how long the resolver waits for an answer before it asks again.
// RFC 1035, 4.2.1 recommends 2 to 5 seconds at least.
var dnsWaits = []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}

// zoneData is a zone by names in lower case with the final dot.
type zoneData struct {
	records map[string][]dnsmessage.Resource
}

func newZone(records []Record) (*zoneData, error) {
	z := &zoneData{records: map[string][]dnsmessage.Resource{}}
	for i, r := range records {
		name, err := dnsName(r.Name)
		if err != nil {
			return nil, fmt.Errorf("zone[%d].name: %w", i, err)
		}
		head := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: recordTTL}
		var body dnsmessage.ResourceBody
		switch r.Type {
		case "A":
			a, err := netip.ParseAddr(r.Value)
			if err != nil || !a.Is4() {
				return nil, fmt.Errorf("zone[%d].value: %q is not an IPv4 address", i, r.Value)
			}
			head.Type, body = dnsmessage.TypeA, &dnsmessage.AResource{A: a.As4()}
		case "MX":
			exchange, err := dnsName(r.Value)
			if err != nil {
				return nil, fmt.Errorf("zone[%d].value: %w", i, err)
			}
			if r.Preference < 0 || r.Preference > 65535 {
				return nil, fmt.Errorf("zone[%d].preference: %d is not between 0 and 65535", i, r.Preference)
			}
			head.Type, body = dnsmessage.TypeMX, &dnsmessage.MXResource{Pref: uint16(r.Preference), MX: exchange}
		default:
			return nil, fmt.Errorf(`zone[%d].type: %q is not served here; want "A" or "MX"`, i, r.Type)
		}
		z.records[name.String()] = append(z.records[name.String()], dnsmessage.Resource{Header: head, Body: body})
		for _, parent := range parents(name.String()) { // a name above another exists (RFC 8020, 2)
			if _, ok := z.records[parent]; !ok {
				z.records[parent] = nil
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(z.records)) {
		for _, t := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeMX} {
			question := dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: t, Class: dnsmessage.ClassINET}
			if b, err := z.message(dnsmessage.Header{}, question); err != nil || len(b) > dnsLimit {
				return nil, fmt.Errorf("zone: the %d records of %s do not fit into a UDP answer of %d octets (RFC 1035, 4.2.1)", len(z.records[name]), name, dnsLimit)
			}
		}
	}
	return z, nil
}

// dnsName is a name in the form in which the zone keeps it.
func dnsName(s string) (dnsmessage.Name, error) {
	bad := fmt.Errorf("%q is not a domain name (RFC 1035, 2.3.4)", s)
	if s == "" {
		return dnsmessage.Name{}, bad
	}
	s = strings.ToLower(strings.TrimSuffix(s, ".")) + "."
	name, err := dnsmessage.NewName(s)
	if err != nil {
		return name, bad
	}
	question := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: name}}}
	if _, err := question.Pack(); err != nil { // empty and long labels
		return name, bad
	}
	return name, nil
}

func parents(name string) (names []string) {
	for {
		_, rest, _ := strings.Cut(name, ".")
		if rest == "" {
			return names
		}
		names = append(names, rest)
		name = rest
	}
}

// answer is what the server says to a datagram, nil for nothing.
func (z *zoneData) answer(query []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil || head.Response {
		return nil
	}
	reply := dnsmessage.Header{ID: head.ID, Response: true, OpCode: head.OpCode, RecursionDesired: head.RecursionDesired}
	questions, err := p.AllQuestions()
	switch {
	case err != nil || len(questions) != 1:
		reply.RCode = dnsmessage.RCodeFormatError
	case head.OpCode != 0:
		reply.RCode = dnsmessage.RCodeNotImplemented
	default:
		if b, err := z.message(reply, questions[0]); err == nil {
			return b
		}
		reply.RCode = dnsmessage.RCodeServerFailure
	}
	m := dnsmessage.Message{Header: reply}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// message answers one question with authority.
func (z *zoneData) message(head dnsmessage.Header, q dnsmessage.Question) ([]byte, error) {
	head.Authoritative = true
	m := dnsmessage.Message{Header: head, Questions: []dnsmessage.Question{q}}
	all, exists := z.records[strings.ToLower(q.Name.String())]
	if !exists {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, r := range all {
		if r.Header.Type != q.Type || q.Class != dnsmessage.ClassINET {
			continue
		}
		m.Answers = append(m.Answers, r)
		if mx, ok := r.Body.(*dnsmessage.MXResource); ok { // RFC 1035, 3.3.9
			for _, a := range z.records[mx.MX.String()] {
				if a.Header.Type == dnsmessage.TypeA {
					m.Additionals = append(m.Additionals, a)
				}
			}
		}
	}
	return m.Pack()
}

// startDNS opens the port of a host that has a zone.
func (h *Host) startDNS() error {
	if h.zone == nil {
		return nil
	}
	var ep tcpip.Endpoint
	s := &socket{host: h, id: dnsPort}
	ep, err := h.bindUDP(s, dnsPort, func(from netip.AddrPort, b []byte) {
		if b = h.zone.answer(b); b != nil {
			to := fullAddress(from)
			send(ep, b, &to) // an answer that cannot be sent is as good as lost
		}
	})
	if err != nil {
		return errorOf(err, "bind")
	}
	return nil
}

// LookupMX asks the lab's DNS for the mail exchanges of a domain, the most
// preferred first and equal ones in the order of the zone. The error is a
// *net.DNSError; a domain that exists without an MX gives none and no error, and
// it is for the caller to try its address then (RFC 5321, 5.1).
func (h *Host) LookupMX(ctx context.Context, domain string) ([]*net.MX, error) {
	answers, err := h.resolve(ctx, domain, dnsmessage.TypeMX, "")
	if err != nil {
		return nil, err
	}
	var found []*net.MX
	for _, r := range answers {
		if mx, ok := r.Body.(*dnsmessage.MXResource); ok {
			found = append(found, &net.MX{Host: mx.MX.String(), Pref: mx.Pref})
		}
	}
	slices.SortStableFunc(found, func(a, b *net.MX) int { return cmp.Compare(a.Pref, b.Pref) })
	return found, nil
}

// LookupA asks the lab's DNS for the addresses of a name. The error is a
// *net.DNSError, also when the name exists and has none.
func (h *Host) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	return h.lookupA(ctx, name, "")
}

func (h *Host) lookupA(ctx context.Context, name, purpose string) ([]netip.Addr, error) {
	answers, err := h.resolve(ctx, name, dnsmessage.TypeA, purpose)
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, r := range answers {
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			found = append(found, netip.AddrFrom4(a.A))
		}
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "the name exists but has no address", Name: name, IsNotFound: true}
	}
	return found, nil
}

// resolve asks until there is an answer, each time longer.
func (h *Host) resolve(ctx context.Context, name string, t dnsmessage.Type, purpose string) ([]dnsmessage.Resource, error) {
	fail := func(why string) error { return &net.DNSError{Err: why, Name: name} }
	qname, err := dnsName(name)
	if err != nil {
		return nil, fail(err.Error())
	}
	server := h.lab.nameserver()
	if server == nil {
		return nil, fail("this lab has no DNS server")
	}
	question := dnsmessage.Question{Name: qname, Type: t, Class: dnsmessage.ClassINET}
	for _, wait := range dnsWaits {
		m, err := h.query(ctx, server.address, question, purpose, wait)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			continue
		case ctx.Err() != nil:
			return nil, &net.DNSError{Err: ctx.Err().Error(), Name: name, UnwrapErr: ctx.Err(),
				IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded)}
		case err != nil:
			return nil, &net.DNSError{Err: err.Error(), Name: name, Server: server.address.String(), UnwrapErr: err, IsTemporary: true}
		}
		switch m.RCode {
		case dnsmessage.RCodeSuccess:
			return m.Answers, nil
		case dnsmessage.RCodeNameError:
			return nil, &net.DNSError{Err: "no such name", Name: name, Server: server.address.String(), IsNotFound: true}
		}
		return nil, &net.DNSError{Err: m.RCode.String(), Name: name, Server: server.address.String(), IsTemporary: true}
	}
	return nil, &net.DNSError{Err: fmt.Sprintf("no answer after %d questions", len(dnsWaits)), Name: name,
		Server: server.address.String(), IsTimeout: true, IsTemporary: true}
}

// query asks once, from a port of its own, and waits for the answer to it.
func (h *Host) query(ctx context.Context, server netip.Addr, q dnsmessage.Question, purpose string, wait time.Duration) (*dnsmessage.Message, error) {
	c, err := h.dial(ctx, "udp", netip.AddrPortFrom(server, dnsPort), q.GoString()+purpose, false)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	ask := dnsmessage.Message{Header: dnsmessage.Header{ID: c.nonce, RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	b, err := ask.Pack()
	if err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(h.lab.Now().Add(wait)); err != nil {
		return nil, err
	}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	buf := make([]byte, dnsLimit)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) == nil && m.Response && m.ID == c.nonce && (len(m.Questions) == 0 || m.Questions[0] == q) {
			return &m, nil
		}
	}
}

// nameserver is the host that all hosts ask.
func (l *Lab) nameserver() *Host {
	for _, h := range l.hosts {
		if h.zone != nil {
			return h
		}
	}
	return nil
}
