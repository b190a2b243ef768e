package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Guard knows which names this server answers to and which pages may open
// tunnels. Browsers do not keep pages of other sites from opening WebSockets
// (RFC 6455, 10.2), and a name that leads to this server only since its owner
// changed the DNS looks like the same site to a browser; both are stopped here.
type Guard struct {
	listenHost string // as given to --listen: a name, an address, or nothing
	local      bool   // listens on loopback only
	origins    []Origin
}

// Origin is a page's scheme, host and port (RFC 6454), in the form in which
// browsers send it.
type Origin struct{ scheme, host string }

func (o Origin) String() string { return o.scheme + "://" + o.host }

// ParseOrigin reads "https://docs.example" or "http://192.0.2.1:8000".
func ParseOrigin(text string) (Origin, error) {
	o, err := parseOrigin(text)
	if err != nil {
		return Origin{}, fmt.Errorf("%q: %w", text, err)
	}
	return o, nil
}

func parseOrigin(text string) (Origin, error) {
	const want = "write scheme and host, as in https://docs.example or http://192.0.2.1:8000"
	if text == "*" || strings.Contains(text, "://*") {
		return Origin{}, errors.New("origins are named one by one, since each may open tunnels")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return Origin{}, errors.New(want)
	case u.Scheme != "http" && u.Scheme != "https":
		return Origin{}, fmt.Errorf("the scheme of an origin is http or https; %s", want)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return Origin{}, fmt.Errorf("an origin ends after host and port; %s", want)
	case strings.ContainsFunc(u.Host, func(r rune) bool { return !isHostRune(r) }):
		return Origin{}, fmt.Errorf("the host holds a character that no host has; %s", want)
	}
	return Origin{u.Scheme, withoutDefaultPort(strings.ToLower(u.Host), u.Scheme)}, nil
}

// isHostRune keeps everything out that could end a directive of a
// Content-Security-Policy.
func isHostRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_:[]", r)
}

func withoutDefaultPort(host, scheme string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// NewGuard makes a guard for a server that was told to listen on this
// address, host:port.
func NewGuard(listen string, origins []Origin) *Guard {
	h, _, err := net.SplitHostPort(listen)
	if err != nil {
		h = listen
	}
	h = hostname(h)
	return &Guard{listenHost: h, local: isLoopback(h), origins: origins}
}

func isLoopback(h string) bool {
	if h == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(h)
	return err == nil && address.IsLoopback()
}

// hostname is the host of a Host header without port, brackets, final dot and
// capitals.
func hostname(hostport string) string {
	h := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		h = name
	} else if strings.HasPrefix(h, "[") && strings.HasSuffix(h, "]") {
		h = h[1 : len(h)-1]
	}
	return strings.ToLower(strings.TrimSuffix(h, "."))
}

// checkHost tells whether the request was meant for this server. Only a name
// can be rebound, an address cannot; so a server on the network may be called
// by any address, and by a name only when it was told that name.
func (g *Guard) checkHost(r *http.Request) error {
	h := hostname(r.Host)
	if h != "" && (isLoopback(h) || h == g.listenHost) {
		return nil
	}
	if _, err := netip.ParseAddr(h); err == nil && !g.local {
		return nil
	}
	for _, o := range g.origins {
		if h == hostname(o.host) {
			return nil
		}
	}
	name := h
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isHostRune(r) }) {
		return errors.New("This server does not answer to that host name.")
	}
	return fmt.Errorf("This server does not answer to the name %s. If it should, start smtpscope with --origin and the address of the page, as in --origin https://%s.", name, name)
}

// CheckOrigin tells whether the page that asks may open a tunnel: it must be
// this server's own, or of an origin that was named. Browsers always send the
// header with a WebSocket (RFC 6455, 4.1), so a request without it does not come
// from a page.
func (g *Guard) CheckOrigin(r *http.Request) error {
	values := r.Header.Values("Origin")
	if len(values) != 1 {
		return errors.New("Tunnels are for web pages: the request must have one Origin header.")
	}
	if o := g.listed(values[0]); o != (Origin{}) {
		return nil
	}
	o, err := parseOrigin(values[0])
	if err != nil {
		return errors.New("Tunnels are for web pages that are served over http or https: the Origin header names none.")
	}
	if err := g.checkHost(r); err != nil {
		return err
	}
	if o.host == withoutDefaultPort(strings.ToLower(r.Host), o.scheme) {
		return nil
	}
	return fmt.Errorf("Pages of %s may not open tunnels here. The operator of this proxy can permit it with --origin %s.", o, o)
}

// listed returns the named origin that the header's value is, or none.
func (g *Guard) listed(value string) Origin {
	o, err := parseOrigin(value)
	if err != nil {
		return Origin{}
	}
	for _, known := range g.origins {
		if o == known {
			return known
		}
	}
	return Origin{}
}
