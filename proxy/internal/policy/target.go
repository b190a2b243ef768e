package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Target is one --allow entry: a host or an address, and ports.
type Target struct {
	host  host
	below bool // "*.": every name below host
	ports []int
}

// host is either a name, in lower case and without the final dot, or an address.
type host struct {
	name    string
	address netip.Addr
}

func (h host) String() string {
	if h.address.IsValid() {
		return h.address.String()
	}
	return h.name
}

// ParseTarget reads "mx.example.net:25", "*.example.org:25,587",
// "192.0.2.1:25" or "[2001:db8::1]:25". The error says what to write instead.
func ParseTarget(text string) (Target, error) {
	t, err := parseTarget(text)
	if err != nil {
		return Target{}, fmt.Errorf("%q: %w", text, err)
	}
	return t, nil
}

func parseTarget(text string) (Target, error) {
	switch {
	case text == "":
		return Target{}, errors.New("empty; write a host and its ports, as in mx.example.net:25,587")
	case strings.Contains(text, "://"):
		return Target{}, errors.New("leave the scheme out; write a host and its ports, as in mx.example.net:25")
	case strings.Contains(text, "/"):
		return Target{}, errors.New("networks and paths cannot be allowed; write single addresses, as in 192.0.2.1:25")
	}
	var t Target
	name, ports, hasPorts := cutLast(text, ":")
	if inner, isBracketed := strings.CutPrefix(text, "["); isBracketed {
		var closed bool
		name, ports, closed = strings.Cut(inner, "]")
		if !closed {
			return Target{}, errors.New(`the closing "]" is missing, as in [2001:db8::1]:25`)
		}
		ports, hasPorts = strings.CutPrefix(ports, ":")
		address, err := netip.ParseAddr(name)
		if err != nil || !address.Is6() {
			return Target{}, errors.New("there is no IPv6 address between the brackets; names and IPv4 addresses go without")
		}
	} else if strings.Contains(name, ":") {
		return Target{}, errors.New("write an IPv6 address in brackets, as in [2001:db8::1]:25")
	}
	if !hasPorts {
		return Target{}, errors.New("name the ports as well, as in mx.example.net:25,587")
	}

	if name == "*" {
		return Target{}, errors.New("this would allow every host; --public allows all public ones on mail ports")
	}
	name, t.below = strings.CutPrefix(name, "*.")
	var err error
	if t.host, err = parseHost(name); err != nil {
		return Target{}, err
	}
	if t.below && t.host.address.IsValid() {
		return Target{}, errors.New(`"*." stands before a domain, not before an address`)
	}
	if t.below && !strings.Contains(t.host.name, ".") {
		return Target{}, errors.New("this would allow a whole top-level domain; write at least two labels, as in *.example.org:25")
	}
	if t.host.address.IsValid() {
		if v := judge(t.host.address); v.Never {
			return Target{}, fmt.Errorf("cannot be allowed, it is %s", v)
		}
	}
	if t.ports, err = parsePorts(ports); err != nil {
		return Target{}, err
	}
	return t, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func parsePorts(list string) ([]int, error) {
	var ports []int
	for text := range strings.SplitSeq(list, ",") {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q is not a port; write numbers from 1 to 65535 with commas between, as in mx.example.net:25,587", text)
		}
		ports = append(ports, int(port))
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// String is the form that ParseTarget reads.
func (t Target) String() string {
	var b strings.Builder
	switch {
	case t.below:
		b.WriteString("*." + t.host.name)
	case t.host.address.Is6():
		b.WriteString("[" + t.host.address.String() + "]")
	default:
		b.WriteString(t.host.String())
	}
	sep := byte(':')
	for _, port := range t.ports {
		b.WriteByte(sep)
		b.WriteString(strconv.Itoa(port))
		sep = ','
	}
	return b.String()
}

// Covers tells whether the entry is about this host and port, both as a page may write them.
func (t Target) Covers(hostText string, port int) bool {
	h, err := parseHost(hostText)
	return err == nil && t.names(h) && slices.Contains(t.ports, port)
}

// names is true when the entry is about this host, whatever the port.
func (t Target) names(h host) bool {
	if t.below {
		return strings.HasSuffix(h.name, "."+t.host.name)
	}
	return t.host == h
}

// parseHost reads a domain name or an address without brackets.
func parseHost(text string) (host, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return host{}, errors.New("a host holds neither spaces nor control characters, and international names are written in their ASCII form (xn--…)")
	}
	if address, err := netip.ParseAddr(text); err == nil {
		if address.Zone() != "" {
			return host{}, errors.New("an address with a zone cannot be used")
		}
		return host{address: address.Unmap()}, nil
	}
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	switch {
	case name == "":
		return host{}, errors.New("the host is missing")
	case len(name) > 253:
		return host{}, errors.New("a name has at most 253 characters (RFC 1035, 2.3.4)")
	case strings.ContainsAny(name, ":[]"):
		return host{}, errors.New("an IPv6 address is written without brackets and without a port here")
	case strings.ContainsAny(name, "/@"):
		return host{}, errors.New("a host is only a name or an address: no scheme, no user, no path")
	}
	last := name
	for label := range strings.SplitSeq(name, ".") {
		if problem := checkLabel(label); problem != nil {
			return host{}, problem
		}
		last = label
	}
	// "127.1", "0x7f.0.0.1" and "2130706433" are addresses to some resolvers
	// and names to others. They are refused before anyone can disagree.
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return host{}, errors.New("a name does not end in a number, and an IPv4 address is four decimal numbers without leading zeros")
	}
	return host{name: name}, nil
}

// checkLabel allows the underscore beyond RFC 1123, 2.1: such names exist.
func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("two dots follow each other, or the name begins with one")
	case len(label) > 63:
		return errors.New("a part between dots has at most 63 characters (RFC 1035, 2.3.4)")
	case strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-"):
		return errors.New("no part of a name begins or ends with a hyphen")
	case strings.ContainsFunc(label, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}):
		return errors.New("a name holds letters, digits, hyphens and dots only")
	}
	return nil
}
