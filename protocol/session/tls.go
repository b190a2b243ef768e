package session

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// handshakeWait bounds the TLS handshake, for which the RFCs give no value.
const handshakeWait = 30 * time.Second

// startTLS runs the handshake and writes what came of it into the trace. A
// certificate that is not trusted ends the session, unless the plan says to go on.
func (s *Session) startTLS(ctx context.Context) *failure {
	s.phase = "tls"
	deadline := s.config.Now().Add(handshakeWait)
	s.conn.raw.SetDeadline(deadline)          //nolint:errcheck // a connection that cannot wait fails in the handshake
	defer s.conn.raw.SetDeadline(time.Time{}) //nolint:errcheck // as above

	h := trace.HandshakeData{Started: int64(s.rec.Elapsed()), ServerName: s.plan.TLS.ServerName}
	config := &tls.Config{
		ServerName:   s.plan.TLS.ServerName,
		Time:         s.config.Now,
		KeyLogWriter: s.config.KeyLog,
		// VerifyConnection judges instead, so that the chain is in the trace also
		// when it is not trusted.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			describeHandshake(&h, state)
			if err := s.verify(ctx, deadline, state); err != nil {
				h.Reason, h.Problem = explainCertificate(err, state.PeerCertificates[0], s.plan.TLS.ServerName, s.config.Now())
				if !s.plan.TLS.Insecure {
					return err
				}
			} else {
				h.Verified = true
			}
			return nil
		},
	}
	err := s.conn.handshake(ctx, config)
	if err == nil {
		s.plot.verified = h.Verified
		s.roundTrips += h.RoundTrips
		s.rec.Add(trace.Event{Layer: trace.LayerTLS, Kind: trace.KindHandshake, Src: trace.Derived,
			From: trace.HostClient, To: trace.HostServer, Data: trace.Encode(h),
			Text: fmt.Sprintf("%s, %s, %s", h.Version, h.Suite, h.Group)})
		if h.Problem != "" {
			s.note(h.Problem + " The plan says to go on without trust (tls.insecure).")
		}
		return nil
	}

	f := s.explainHandshake(err, &h)
	s.rec.Add(trace.Event{Layer: trace.LayerTLS, Kind: trace.KindAlert, Src: trace.Derived,
		From: trace.HostClient, To: trace.HostServer, Data: trace.Encode(h), Text: h.Problem})
	return f
}

// binding is what a sign-in is bound to this connection by (tls-exporter, RFC 9266), nil
// where TLS has no secret that is its own: 1.2 without the extended master secret.
func (s *Session) binding() []byte {
	state := s.conn.tls.ConnectionState()
	b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return b
}

func describeHandshake(h *trace.HandshakeData, state tls.ConnectionState) {
	h.Version = tls.VersionName(state.Version)
	h.Suite = tls.CipherSuiteName(state.CipherSuite)
	if state.CurveID != 0 {
		h.Group = state.CurveID.String()
	}
	h.ALPN, h.Resumed = state.NegotiatedProtocol, state.DidResume
	h.RoundTrips = 2 // RFC 5246, 7.3
	if state.Version == tls.VersionTLS13 {
		h.RoundTrips = 1 // RFC 8446, 2
		if state.HelloRetryRequest {
			h.RoundTrips = 2
		}
	}
	h.Chain = nil
	for _, c := range state.PeerCertificates {
		h.Chain = append(h.Chain, describeCertificate(c))
	}
}

func describeCertificate(c *x509.Certificate) trace.Certificate {
	sum := sha256.Sum256(c.Raw)
	d := trace.Certificate{
		Subject: smtp.Escape(c.Subject.String()), Issuer: smtp.Escape(c.Issuer.String()),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Signature: c.SignatureAlgorithm.String(), SHA256: hex.EncodeToString(sum[:]), DER: c.Raw,
	}
	for _, n := range c.DNSNames {
		d.Names = append(d.Names, smtp.Escape(n))
	}
	for _, ip := range c.IPAddresses {
		d.Names = append(d.Names, ip.String())
	}
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		d.Key = "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		d.Key = fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		d.Key = "Ed25519"
	default:
		d.Key = c.PublicKeyAlgorithm.String()
	}
	return d
}

// rootsError says that no certificate can be judged.
type rootsError struct{ cause error }

func (e *rootsError) Error() string { return "loading the roots: " + e.cause.Error() }

// roots are what certificates are judged by, besides tls.ca.
func (s *Session) roots(ctx context.Context, deadline time.Time) (*x509.CertPool, error) {
	if s.config.Roots == nil {
		return x509.SystemCertPool()
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return s.config.Roots(ctx)
}

func (s *Session) verify(ctx context.Context, deadline time.Time, state tls.ConnectionState) error {
	roots, err := s.roots(ctx, deadline)
	if err != nil {
		return &rootsError{err}
	}
	if len(s.plan.TLS.CA) > 0 {
		roots = roots.Clone() // others may be judged by it too
	}
	for _, text := range s.plan.TLS.CA {
		certs, err := parseCA(text)
		if err != nil {
			return err
		}
		for _, c := range certs {
			roots.AddCert(c)
		}
	}
	intermediates := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err = state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, DNSName: s.plan.TLS.ServerName, CurrentTime: s.config.Now(),
	})
	return err
}

// explainCertificate says why a chain is not trusted, and what to do.
func explainCertificate(err error, leaf *x509.Certificate, name string, now time.Time) (reason, words string) {
	issued := smtp.Escape(strings.Join(describeCertificate(leaf).Names, ", "))
	var (
		wrongName x509.HostnameError
		unknown   x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		noRoots   *rootsError
	)
	switch {
	case errors.As(err, &wrongName):
		if issued == "" {
			issued = "no name at all"
		}
		return "wrong-name", fmt.Sprintf("The certificate is for %s, not for %s. Connect to a name that it covers, say which name to expect (tls.serverName in the plan), or have the server's certificate reissued.", issued, name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c := invalid.Cert
		if now.Before(c.NotBefore) {
			return "not-yet-valid", fmt.Sprintf("The certificate of %s is valid only from %s. Check the clock here and on the server.", smtp.Escape(c.Subject.String()), c.NotBefore.UTC().Format("2 January 2006 15:04 MST"))
		}
		return "expired", fmt.Sprintf("The certificate of %s expired on %s. Its owner must renew it.", smtp.Escape(c.Subject.String()), c.NotAfter.UTC().Format("2 January 2006 15:04 MST"))
	case errors.As(err, &unknown):
		return "untrusted", fmt.Sprintf("The certificate is signed by %q, which is not a trusted authority here. If it is your own authority, add its certificate to those that are trusted (tls.ca in the plan); if it is a public one, the server may be sending an incomplete chain.", smtp.Escape(leaf.Issuer.String()))
	case errors.As(err, &noRoots): // the certificate may be as good as any: no reason is told of it
		return "", fmt.Sprintf("The certificate cannot be judged, because the authorities that are trusted could not be loaded: %s. See that what they are loaded from can be reached, and try again.", smtp.Escape(noRoots.cause.Error()))
	}
	return "invalid", fmt.Sprintf("The certificate is not valid: %s.", smtp.Escape(err.Error()))
}

// explainHandshake turns a failed handshake into the session's failure, and
// completes what the trace says of it.
func (s *Session) explainHandshake(err error, h *trace.HandshakeData) *failure {
	var (
		header  tls.RecordHeaderError
		alert   tls.AlertError
		noRoots *rootsError
		where   = fmt.Sprintf("%s port %d", s.plan.Target.Host, s.plan.Target.Port)
	)
	f := &failure{code: trace.CodeTLS, permanent: true}
	switch {
	case h.Problem != "":
		f.permanent = !errors.As(err, &noRoots)
		f.message = "TLS stopped before anything was sent. " + h.Problem
	case errors.As(err, &header):
		first, _, _ := bytes.Cut(s.rec.Bytes(trace.Range{Stream: trace.WireIn, Off: s.conn.in.from, Len: 80}), []byte("\r\n"))
		f.message = fmt.Sprintf("TLS was expected from %s, but it answered in clear text: %q. This port speaks SMTP without TLS at first: choose STARTTLS or None, or use port 465.", where, smtp.Escape(string(first)))
	case errors.As(err, &alert):
		f.message = fmt.Sprintf("%s refused the TLS handshake: %v. See what versions, suites and names it accepts.", where, alert)
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.code, f.permanent = trace.CodeTimeout, false
		f.message = fmt.Sprintf("%s did not answer the TLS handshake within %v. A server that speaks first in clear text waits here too: try STARTTLS or None.", where, handshakeWait)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f = s.closedFailure(err)
		if f.code == trace.CodeClosed {
			f.message = fmt.Sprintf("%s closed the connection during the TLS handshake. It may want another TLS version, or this port may not speak TLS.", where)
		}
	default:
		if t := tunnelFailure(err); t != nil {
			f = t
			break
		}
		f.message = fmt.Sprintf("The TLS handshake with %s failed: %s.", where, smtp.Escape(err.Error()))
	}
	if h.Problem == "" {
		h.Problem = f.message
	}
	return f
}

// parseCA reads one or more certificates in PEM.
func parseCA(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a PEM block %q; want CERTIFICATE", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds a certificate that cannot be read: %w", err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no certificate; want PEM that begins with -----BEGIN CERTIFICATE-----")
	}
	return certs, nil
}
