package lookup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"smtpscope/protocol/tunnel"
)

const (
	policyTimeout = 10 * time.Second
	// policyTTL is short, for who mends a policy, and yet keeps visitors from
	// flooding a web server by way of this proxy.
	policyTTL = 20 * time.Second
	maxPolicy = 64 << 10 // RFC 8461, 3.3
	maxMX     = 200
	maxAge    = 31557600 // about a year, RFC 8461, 3.2
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// MTASTS fetches the MTA-STS policy of a domain. That there is none, or none
// that holds, is told in Policy.Problem. An error is always a *tunnel.Error: a
// domain that is none, or one that may not be asked about.
func (r *Resolver) MTASTS(ctx context.Context, domain string) (*Policy, error) {
	domain, err := r.config.Policy.AdmitQuestion(domain)
	if err != nil {
		return nil, err
	}
	if _, err := r.config.Policy.AdmitQuestion(policyHost(domain)); err != nil {
		return nil, err
	}
	p, _, err := r.policies.get(ctx, domain)
	return p, err
}

func policyHost(domain string) string { return "mta-sts." + domain }

// fetchPolicy always gives a policy, which may be none.
func (r *Resolver) fetchPolicy(ctx context.Context, domain string) (*Policy, time.Duration, error) {
	host := policyHost(domain)
	p := &Policy{Domain: domain, URL: "https://" + host + "/.well-known/mta-sts.txt"}
	started := time.Now()
	err := r.fetch(ctx, p)
	p.Took = time.Since(started)
	if err != nil {
		p.Problem = inWords(err, host)
	} else if err := parsePolicy(p); err != nil {
		p.Mode, p.MX, p.MaxAge = "", nil, 0
		p.Problem = err.Error()
	}
	return p, policyTTL, nil
}

// fetch does what RFC 8461, 3.3 wants of a sender: verified HTTPS, status 200
// without redirects, text/plain.
func (r *Resolver) fetch(ctx context.Context, p *Policy) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DialContext:            r.dialPublic,
		TLSClientConfig:        &tls.Config{RootCAs: r.config.Roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	p.Status = response.StatusCode
	if response.StatusCode != http.StatusOK {
		return problemf("The server answered with HTTP status %d. Only 200 counts, and redirects are not followed (RFC 8461, 3.3).", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxPolicy+1))
	if err != nil {
		return problemf("The policy broke off: %v.", err)
	}
	if len(text) > maxPolicy {
		return problemf("The policy is longer than %d bytes, which is the most that senders need to read (RFC 8461, 3.3).", maxPolicy)
	}
	p.Text = strings.ToValidUTF8(string(text), "\uFFFD")
	kind := response.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); err != nil || media != "text/plain" {
		return problemf("The policy comes as %q. Senders may require text/plain (RFC 8461, 3.3).", shorten(strings.ToValidUTF8(kind, "\uFFFD")))
	}
	return nil
}

// parsePolicy reads the fields (RFC 8461, 3.2). Of a field that comes twice the first
// counts, unknown ones are passed over.
func parsePolicy(p *Policy) error {
	seen := map[string]string{}
	for line := range strings.Lines(p.Text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return problemf("A line of the policy is no field: %q.", shorten(line))
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "mx" {
			if len(p.MX) == maxMX {
				return problemf("The policy names more than %d mail servers.", maxMX)
			}
			p.MX = append(p.MX, strings.ToLower(value))
		}
		if _, twice := seen[key]; !twice {
			seen[key] = value
		}
	}
	if seen["version"] != "STSv1" {
		return problemf("The version is %q. It must be STSv1.", shorten(seen["version"]))
	}
	age, err := strconv.ParseUint(seen["max_age"], 10, 63)
	if err != nil {
		return fmt.Errorf("max_age is %q. It must be a number of seconds.", shorten(seen["max_age"]))
	}
	p.MaxAge = int(min(age, maxAge))
	switch mode := seen["mode"]; {
	case mode != "enforce" && mode != "testing" && mode != "none":
		return problemf("The mode is %q. It must be enforce, testing or none.", shorten(mode))
	case mode != "none" && len(p.MX) == 0:
		return problemf("The policy names no mail server (mx).")
	default:
		p.Mode = mode
	}
	return nil
}

// inWords says why there was no policy to read.
func inWords(err error, host string) string {
	var denied *tunnel.Error
	var wrongName x509.HostnameError
	var untrusted x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var timeout net.Error
	var told problem
	switch {
	case errors.As(err, &told):
		return told.Error()
	case errors.As(err, &denied):
		return denied.Message
	case errors.As(err, &wrongName), errors.As(err, &untrusted), errors.As(err, &invalid):
		return fmt.Sprintf("The certificate of %s does not hold: %s. Senders take no policy from there (RFC 8461, 3.3).", host, cut(err.Error(), 300))
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("%s did not hand out the policy within %s.", host, policyTimeout)
	}
	return fmt.Sprintf("The policy could not be fetched from %s: %s.", host, shorten(err.Error()))
}

// problem is why a policy that was fetched is none, in words.
type problem string

func (p problem) Error() string { return string(p) }

func problemf(format string, args ...any) error { return problem(fmt.Sprintf(format, args...)) }
