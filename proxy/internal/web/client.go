package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ParseProxy reads a --trusted-proxy entry: a network or a single address.
func ParseProxy(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err != nil {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q: write a network or an address, as in 10.0.0.0/8 or 2001:db8::1", text)
		}
		network = netip.PrefixFrom(address, address.BitLen())
	}
	switch {
	case network.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q: write an IPv4 network as such", text)
	case network != network.Masked():
		return netip.Prefix{}, fmt.Errorf("%q: bits are set behind the prefix; if the network is meant, write %s", text, network.Masked())
	case network.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%q: this would let everybody choose the address that is counted; name the proxies only", text)
	}
	return network, nil
}

// errUntrusted: nobody vouches for what the header says.
var errUntrusted = errors.New("X-Forwarded-For is not believed: it came from an address that no --trusted-proxy names")

// client returns who really asks. Every proxy appends the address that it was
// asked from to X-Forwarded-For, so the header is read from its end for as long as
// trusted proxies wrote it; what stands before is anybody's invention.
func client(r *http.Request, trusted []netip.Prefix) (netip.Addr, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("the peer's address %q is none", r.RemoteAddr)
	}
	address := peer.Addr().Unmap().WithZone("")
	isProxy := func(a netip.Addr) bool {
		for _, network := range trusted {
			if network.Contains(a) {
				return true
			}
		}
		return false
	}
	lines := r.Header.Values("X-Forwarded-For")
	if !isProxy(address) {
		if len(lines) > 0 {
			return address, errUntrusted
		}
		return address, nil
	}
	hops := strings.Split(strings.Join(lines, ","), ",")
	for len(hops) > 0 && isProxy(address) {
		hop, err := parseHop(strings.TrimSpace(hops[len(hops)-1]))
		if err != nil {
			break // the last proxy that is known stands for whom it did not name
		}
		address, hops = hop, hops[:len(hops)-1]
	}
	return address, nil
}

// parseHop takes an address with or without a port, as different proxies write it.
func parseHop(text string) (netip.Addr, error) {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), nil
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	address, err := netip.ParseAddr(text)
	return address.Unmap().WithZone(""), err
}

// from returns the request as it would have come from the client itself, so that
// whoever counts or logs it need not know of proxies.
func (s *Web) from(r *http.Request) *http.Request {
	address, err := client(r, s.config.Proxies)
	if err != nil {
		s.misled.Do(func() {
			s.config.Logger.Warn("client addresses may be those of a proxy", "remote", r.RemoteAddr, "error", err)
		})
	}
	if len(s.config.Proxies) == 0 || !address.IsValid() {
		return r
	}
	peer := netip.MustParseAddrPort(r.RemoteAddr)
	if peer.Addr().Unmap().WithZone("") == address {
		return r
	}
	known := *r
	known.RemoteAddr = net.JoinHostPort(address.String(), "0") // its port is not told
	return &known
}
