// Package policy decides what the proxy may connect to, and connects; and what it may
// ask the DNS and tell of the answers.
//
// What is judged is the address that is about to be dialed, in the moment
// before the SYN (net.Dialer.Control), so that no name can change its meaning
// between the judgement and the connection (DNS rebinding). A name decides only
// which rules hold for the addresses behind it:
//
//   - the practice host leads to the practice server's listeners, nowhere else;
//   - a name in an --allow entry leads to public addresses. It leads to a
//     special one (loopback, private, …) only when a further --allow entry names
//     that address itself with the same port, because otherwise whoever controls
//     the name's DNS would choose what is reached inside. The name localhost,
//     which no DNS controls, leads to loopback when it is allowed;
//   - an address in an --allow entry is the operator's own word, special or not;
//     only multicast, broadcast, unspecified, reserved and metadata addresses
//     cannot be allowed at all;
//   - a wildcard and --public lead to public addresses, without exception.
//
// A name is looked up once, as a whole. Its addresses are then raced as RFC 8305 has it (4, 5),
// so that a family of addresses that leads nowhere costs a quarter of a second.
//
// The package refuses to know anything of WebSockets, of SMTP and of who asks.
package policy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"smtpscope/protocol/tunnel"
)

// The rules by which a target is denied before any address is known. Those for
// addresses are in addresses.json.
const (
	RuleNotAllowed      = "not-allowed"      // no --allow entry names the host
	RulePort            = "port"             // the host is allowed, the port is not
	RulePracticeOnly    = "practice-only"    // there is neither --allow nor --public
	RulePracticePort    = "practice-port"    // the practice server has no such port
	RulePracticeOff     = "practice-off"     // it was switched off
	RuleSpecialUseName  = "special-use-name" // --public, but the name is not in the public DNS
	RuleUnjudgedAddress = "unjudged-address" // the system dials something else than it was asked to
)

// mailPorts are those of --public.
var mailPorts = []int{25, 465, 587, 2525}

const resolveTimeout = 10 * time.Second

// Resolver looks up names; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is what a policy is made of. The zero value allows nothing.
type Config struct {
	Allow  []Target
	Public bool
	// PracticeHost leads to the listeners in Practice, by port; a nil map says
	// that there is no practice server.
	PracticeHost string
	Practice     map[int]netip.AddrPort
	// Reach is asked before the connection to an address that the rules permit; it
	// counts, where this package only judges. It gets the context of Dial. What it
	// returns is called when that address is not the one that gets connected, and may be
	// nil. Nil asks nobody.
	Reach func(ctx context.Context, address netip.AddrPort) (leave func(), denial *tunnel.Error)
	// Watch is asked once in each Dial, with its context. What it returns, unless that is
	// nil, is told each address right before the SYN to it, with the port that the SYN
	// will come from; the system chooses the local address later. Several goroutines
	// may call it at the same time. Systems without BSD sockets never ask.
	Watch func(ctx context.Context) func(localPort uint16, remote netip.AddrPort)
	// Resolver is nil for the system's.
	Resolver Resolver
}

// Policy dials what it allows. It is safe for concurrent use.
type Policy struct {
	config   Config
	resolver Resolver

	resolveTimeout, connectTimeout time.Duration
	// dial is (*net.Dialer).DialContext, but for tests of addresses that do
	// not exist on loopback.
	dial func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)
}

// New makes a policy.
func New(cfg Config) *Policy {
	p := &Policy{
		config:         cfg,
		resolver:       cfg.Resolver,
		resolveTimeout: resolveTimeout,
		connectTimeout: connectTimeout,
		dial: func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
			return d.DialContext(ctx, network, address)
		},
	}
	if p.resolver == nil {
		p.resolver = net.DefaultResolver
	}
	return p
}

// Live is what may be dialed beside the practice server, for the page to show.
type Live struct {
	Public bool     `json:"public"`
	Allow  []string `json:"allow"`
}

// Live describes this policy.
func (p *Policy) Live() Live {
	live := Live{Public: p.config.Public, Allow: []string{}}
	for _, t := range p.config.Allow {
		live.Allow = append(live.Allow, t.String())
	}
	return live
}

// Practice tells whether this host is the practice server, which leads nowhere else.
func (p *Policy) Practice(text string) bool {
	h, err := parseHost(text)
	return err == nil && h.name != "" && h.name == p.config.PracticeHost
}

// Dial connects to what open names, if that is allowed, and reports how far it
// got. An error is always a *tunnel.Error.
func (p *Policy) Dial(ctx context.Context, open tunnel.Open, report func(tunnel.Status)) (net.Conn, error) {
	h, err := parseHost(open.Host)
	if err != nil {
		return nil, &tunnel.Error{Code: tunnel.CodeBadRequest, Message: fmt.Sprintf("%q cannot be a host: %v.", shorten(open.Host), err)}
	}
	if open.Port < 1 || open.Port > 65535 {
		return nil, &tunnel.Error{Code: tunnel.CodeBadRequest, Message: fmt.Sprintf("%d cannot be a port: ports are numbers from 1 to 65535.", open.Port)}
	}
	a := attempt{policy: p, host: h, port: open.Port, report: report}
	if p.config.Watch != nil && canBind {
		a.watch = p.config.Watch(ctx)
	}
	if p.Practice(open.Host) {
		return a.practice(ctx)
	}
	if denial := a.admit(); denial != nil {
		return nil, denial
	}
	if h.address.IsValid() {
		return a.connect(ctx, []netip.AddrPort{netip.AddrPortFrom(h.address, uint16(open.Port))}, a.judge)
	}
	addresses, err := a.resolve(ctx)
	if err != nil {
		return nil, tunnel.DialError(err, h.name, open.Port)
	}
	return a.connect(ctx, addresses, a.judge)
}

// attempt is one Dial.
type attempt struct {
	policy *Policy
	host   host
	port   int
	report func(tunnel.Status)
	watch  func(localPort uint16, remote netip.AddrPort) // nil when nobody does
	// trusted is true when an --allow entry names exactly this host and port.
	trusted bool
}

func denied(rule, format string, args ...any) *tunnel.Error {
	return &tunnel.Error{Code: tunnel.CodeDenied, Rule: rule, Message: fmt.Sprintf(format, args...)}
}

// practice connects to the practice server.
func (a *attempt) practice(ctx context.Context) (net.Conn, error) {
	cfg := a.policy.config
	if cfg.Practice == nil {
		return nil, denied(RulePracticeOff, "This proxy has no practice server (rule %s). Start smtpscope without --practice=false to have one.", RulePracticeOff)
	}
	listener, ok := cfg.Practice[a.port]
	if !ok {
		return nil, denied(RulePracticePort, "The practice server %s does not listen on port %d (rule %s). Use port %s.",
			a.host, a.port, RulePracticePort, joinPorts(sortedPorts(cfg.Practice)))
	}
	return a.connect(ctx, []netip.AddrPort{listener}, func(dialed netip.AddrPort) *tunnel.Error {
		if dialed != listener {
			return denied(RuleUnjudgedAddress, "%s is not the practice server (rule %s).", dialed, RuleUnjudgedAddress)
		}
		return nil
	})
}

// admit decides whether the host may be asked for at all, before any look-up:
// the proxy is nobody's resolver for names that it will not dial.
func (a *attempt) admit() *tunnel.Error {
	cfg := a.policy.config
	var otherPorts []int
	allowed := false
	for _, t := range cfg.Allow {
		if !t.names(a.host) {
			continue
		}
		if !slices.Contains(t.ports, a.port) {
			otherPorts = append(otherPorts, t.ports...)
			continue
		}
		allowed = true
		a.trusted = a.trusted || !t.below
	}
	if allowed {
		return nil
	}
	entry := Target{host: a.host, ports: []int{a.port}}
	if cfg.Public && slices.Contains(mailPorts, a.port) {
		if a.host.address.IsValid() {
			return nil
		}
		if why := notPublicName(a.host.name); why != "" {
			return denied(RuleSpecialUseName, "%s is not a public name: %s (rule %s). The operator of this proxy can permit it with --allow %s.",
				a.host, why, RuleSpecialUseName, entry)
		}
		return nil
	}
	if cfg.Public {
		otherPorts = append(otherPorts, mailPorts...)
	}
	if len(otherPorts) > 0 {
		slices.Sort(otherPorts)
		return denied(RulePort, "%s may be dialed on port %s only, not on %d (rule %s). The operator of this proxy can permit it with --allow %s.",
			a.host, joinPorts(slices.Compact(otherPorts)), a.port, RulePort, entry)
	}
	if len(cfg.Allow) == 0 {
		if cfg.Practice == nil {
			return denied(RuleNotAllowed, "This proxy dials nothing at all, so not %s either (rule %s). The operator can permit it with --allow %s.", a.host, RuleNotAllowed, entry)
		}
		return denied(RulePracticeOnly, "This proxy dials its practice server %s only, not %s (rule %s). The operator can permit it with --allow %s.",
			cfg.PracticeHost, a.host, RulePracticeOnly, entry)
	}
	return denied(RuleNotAllowed, "%s is not among the hosts that this proxy dials (rule %s). The operator can permit it with --allow %s.", a.host, RuleNotAllowed, entry)
}

// judge decides about one address of a host that was admitted.
func (a *attempt) judge(dialed netip.AddrPort) *tunnel.Error {
	address := dialed.Addr().Unmap()
	v := judge(address)
	if v.public() {
		return nil
	}
	if v.Never {
		return a.deny(address, v, "No setting of this proxy permits it.")
	}
	if !a.trusted {
		return a.deny(address, v, "Only public addresses may be reached this way.")
	}
	named := slices.ContainsFunc(a.policy.config.Allow, func(t Target) bool {
		return t.host.address == address && slices.Contains(t.ports, int(dialed.Port()))
	})
	onThisHost := isLocalhost(a.host.name) && v.Rule == "loopback" && !v.carried.IsValid()
	if named || onThisHost {
		return nil
	}
	entry := Target{host: host{address: address}, ports: []int{int(dialed.Port())}}
	return a.deny(address, v, fmt.Sprintf("If that is meant, the operator of this proxy can permit it with --allow %s.", entry))
}

// deny names the address only to those who know it already: a look-up of a
// name that the operator did not allow by itself must not tell what a private
// DNS says.
func (a *attempt) deny(address netip.Addr, v verdict, advice string) *tunnel.Error {
	switch {
	case a.host.address.IsValid():
		return denied(v.Rule, "%s is %s, which rule %s denies. %s", address, v, v.Rule, advice)
	case a.trusted:
		return denied(v.Rule, "%s has the address %s. That is %s, which rule %s denies. %s", a.host, address, v, v.Rule, advice)
	}
	return denied(v.Rule, "%s has a special address (%s), which rule %s denies. %s", a.host, v.Name, v.Rule, advice)
}

// isLocalhost: resolvers must not ask the DNS for these (RFC 6761, 6.3).
func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// resolve looks the name up, once.
func (a *attempt) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	a.report(tunnel.Status{Stage: tunnel.StageResolving, Host: a.host.name, Port: a.port})
	ctx, cancel := context.WithTimeout(ctx, a.policy.resolveTimeout)
	defer cancel()
	started := time.Now()
	found, err := a.policy.resolver.LookupNetIP(ctx, "ip", a.host.name)
	took := time.Since(started)
	if err != nil {
		// Some resolvers return only the context's error; with the name in it,
		// the time-out is known to be that of the look-up.
		if cause := ctx.Err(); errors.Is(cause, context.DeadlineExceeded) {
			return nil, &net.DNSError{Err: "time-out", Name: a.host.name, IsTimeout: true, UnwrapErr: cause}
		}
		return nil, err
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: a.host.name, IsNotFound: true}
	}
	addresses := interleave(found)
	out := make([]netip.AddrPort, 0, len(addresses))
	status := tunnel.Status{Stage: tunnel.StageAddresses, Host: a.host.name, Port: a.port, Resolve: took}
	for _, address := range addresses {
		dialable := netip.AddrPortFrom(address, uint16(a.port))
		out = append(out, dialable)
		if len(status.Addresses) < tunnel.MaxAddresses && (a.trusted || a.judge(dialable) == nil) {
			status.Addresses = append(status.Addresses, address.String())
		}
	}
	a.report(status)
	return out, nil
}

// interleave alternates between the families, beginning with the one that the
// system's resolver put first, so that one broken family does not eat all the
// time (RFC 8305, 4).
func interleave(found []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, address := range found {
		address = address.Unmap()
		switch {
		case slices.Contains(first, address) || slices.Contains(second, address):
		case len(first) == 0 || first[0].Is4() == address.Is4():
			first = append(first, address)
		default:
			second = append(second, address)
		}
	}
	out := make([]netip.Addr, 0, len(first)+len(second))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}

func sortedPorts(listeners map[int]netip.AddrPort) []int {
	var ports []int
	for port := range listeners {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	return ports
}

// joinPorts writes "25, 465 or 587".
func joinPorts(ports []int) string {
	var b strings.Builder
	for i, port := range ports {
		switch {
		case i > 0 && i == len(ports)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		fmt.Fprint(&b, port)
	}
	return b.String()
}

// shorten keeps a hostile host from filling the message.
func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
