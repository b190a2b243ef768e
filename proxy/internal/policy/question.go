package policy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"smtpscope/protocol/tunnel"
)

// The rules by which a question to the DNS is denied.
const (
	RuleNoQuestions    = "no-questions"    // there is neither --allow nor --public
	RuleReverseName    = "reverse-name"    // a name below arpa was asked for by name
	RuleSpecialAddress = "special-address" // PTR of an address that is not public
)

// AdmitQuestion decides whether the DNS may be asked about a name, and gives
// the name in lower case without its final dot. An --allow entry opens its name
// and what is below it (where TLSA, DMARC and MTA-STS have theirs), a wildcard
// also the domain itself (which has the MX); --public opens every public name.
// The error is always a *tunnel.Error.
func (p *Policy) AdmitQuestion(name string) (string, error) {
	h, err := parseHost(name)
	switch {
	case err != nil:
		return "", &tunnel.Error{Code: tunnel.CodeBadRequest, Message: fmt.Sprintf("%q cannot be a name: %v.", shorten(name), err)}
	case h.address.IsValid():
		return "", &tunnel.Error{Code: tunnel.CodeBadRequest, Message: fmt.Sprintf("%s is an address. Only PTR is asked by address; for all else write a name.", h)}
	case isReverse(h.name):
		return "", denied(RuleReverseName, "%s is looked up by its address: ask for PTR and write the address as the name (rule %s).", h, RuleReverseName)
	case isLocalhost(h.name):
		return "", denied(RuleSpecialUseName, "%s always is this machine itself; the DNS is not asked for it (RFC 6761, 6.3; rule %s).", h, RuleSpecialUseName)
	}
	cfg := p.config
	if slices.ContainsFunc(cfg.Allow, func(t Target) bool { return t.opens(h.name) }) {
		return h.name, nil
	}
	if cfg.Public {
		if why := notPublicName(h.name); why != "" {
			return "", denied(RuleSpecialUseName, "%s is not a public name: %s (rule %s).", h, why, RuleSpecialUseName)
		}
		return h.name, nil
	}
	if len(cfg.Allow) == 0 {
		return "", denied(RuleNoQuestions, "This proxy asks the DNS nothing, so not about %s either (rule %s). The operator can permit it with --allow or --public.", h, RuleNoQuestions)
	}
	return "", denied(RuleNotAllowed, "%s is neither a host that this proxy dials nor below one (rule %s). The operator can permit it with --allow %s.",
		h, RuleNotAllowed, Target{host: h, ports: []int{25}})
}

// opens is true when the entry permits questions about the name.
func (t Target) opens(name string) bool {
	return t.host.name != "" && (name == t.host.name || strings.HasSuffix(name, "."+t.host.name))
}

// AdmitReverse decides whether the DNS may be asked for the name of an address:
// of every public one under --public, of those that an --allow entry names, and
// of the public ones behind a host that may be dialed, which anybody can ask.
func (p *Policy) AdmitReverse(address netip.Addr) error {
	address = address.Unmap()
	if !p.config.Public && len(p.config.Allow) == 0 {
		return denied(RuleNoQuestions, "This proxy asks the DNS nothing, so not about %s either (rule %s). The operator can permit it with --allow or --public.", address, RuleNoQuestions)
	}
	v := judge(address)
	if v.public() || p.allows(address) && !v.Never {
		return nil
	}
	return denied(RuleSpecialAddress, "%s is %s: its name is not looked up (rule %s).", address, v, RuleSpecialAddress)
}

// TellsAddress is true when an address that the DNS gave for a name may be
// told: a public one always, a special one when the operator named the host.
// Otherwise the owner of any name could read a private DNS through the proxy.
func (p *Policy) TellsAddress(name string, address netip.Addr) bool {
	return judge(address.Unmap()).public() || slices.ContainsFunc(p.config.Allow, func(t Target) bool {
		return !t.below && t.host.name != "" && t.host.name == name
	})
}

// TellsName is true when records of a name may be told to which an answer led by
// CNAME. The alias is its owner's; what it points to may be a name that only a
// private DNS knows.
func (p *Policy) TellsName(name string) bool {
	if address, ok := reversed(name); ok {
		return judge(address).public() || p.allows(address)
	}
	return notPublicName(name) == "" || slices.ContainsFunc(p.config.Allow, func(t Target) bool { return t.opens(name) })
}

// TellsResolver is true when the address of the resolver may be told: visitors
// of a public proxy need not know what its network looks like inside.
func (p *Policy) TellsResolver(address netip.Addr) bool {
	return !p.config.Public || judge(address.Unmap()).public()
}

// allows is true when an --allow entry names the address.
func (p *Policy) allows(address netip.Addr) bool {
	return slices.ContainsFunc(p.config.Allow, func(t Target) bool { return t.host.address == address })
}

// DialPublic connects to a host:port and reaches public addresses only, whatever
// is allowed. It has the form of net.Dialer.DialContext, for an http.Transport;
// the caller has admitted the host.
func (p *Policy) DialPublic(ctx context.Context, _, hostport string) (net.Conn, error) {
	text, digits, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	h, err := parseHost(text)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be a host: %w", shorten(text), err)
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q is not a port", shorten(digits))
	}
	a := attempt{policy: p, host: h, port: int(port), report: func(tunnel.Status) {}}
	addresses := []netip.AddrPort{netip.AddrPortFrom(h.address, uint16(port))}
	if h.name != "" {
		if addresses, err = a.resolve(ctx); err != nil {
			return nil, tunnel.DialError(err, h.name, a.port)
		}
	}
	return a.connect(ctx, addresses, a.judge)
}

// isReverse is true for the names under which the DNS keeps those of addresses.
func isReverse(name string) bool {
	return name == "arpa" || strings.HasSuffix(name, ".arpa")
}

// reversed reads the address out of a name below in-addr.arpa or ip6.arpa. Of a
// name that stands for a block, or that lies below one (RFC 2317), it gives the
// first address.
func reversed(name string) (netip.Addr, bool) {
	if digits, ok := strings.CutSuffix("."+name, ".in-addr.arpa"); ok {
		var octets [4]byte
		labels := strings.Split(digits, ".")
		for i := range octets {
			at := len(labels) - 1 - i
			n, err := strconv.ParseUint(labels[max(at, 0)], 10, 8)
			if at < 0 || err != nil {
				break
			}
			octets[i] = byte(n)
		}
		return netip.AddrFrom4(octets), true
	}
	if digits, ok := strings.CutSuffix("."+name, ".ip6.arpa"); ok {
		var octets [16]byte
		labels := strings.Split(digits, ".")
		for i := range 32 {
			at := len(labels) - 1 - i
			n, err := strconv.ParseUint(labels[max(at, 0)], 16, 4)
			if at < 0 || err != nil {
				break
			}
			octets[i/2] |= byte(n) << (4 * (1 - i%2))
		}
		return netip.AddrFrom16(octets), true
	}
	return netip.Addr{}, false
}
