package experiment

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"sync"
	"time"
)

const (
	backdate      = 24 * time.Hour
	authorityLife = 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
)

// authority signs the certificates of a lab. Everything about it follows from the
// seed: keys are Ed25519 because their signatures need no randomness.
type authority struct {
	seed int64
	now  func() time.Time
	from time.Time // when the lab starts
	key  ed25519.PrivateKey
	cert *x509.Certificate
	pem  string
}

func newAuthority(seed int64, now func() time.Time) (*authority, error) {
	a := &authority{seed: seed, now: now, from: now()}
	a.key = a.derive("authority")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "smtpscope lab CA"},
		NotBefore: a.from.Add(-backdate), NotAfter: a.from.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(nil, template, template, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a, nil
}

// derive makes a key that is the same in every run with this seed.
func (a *authority) derive(label string) ed25519.PrivateKey {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, uint64(a.seed)), label...))
	return ed25519.NewKeyFromSeed(sum[:])
}

// config is for a server that has these names. Its certificate is made when a
// client first asks for it: most experiments do without.
func (a *authority) config(names ...string) *tls.Config {
	certificate := sync.OnceValues(func() (*tls.Certificate, error) { return a.issue(names) })
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
		Time:           a.now,
		// A ticket would be one more message, and of no use: nobody comes back.
		SessionTicketsDisabled: true,
	}
}

func (a *authority) issue(names []string) (*tls.Certificate, error) {
	key := a.derive(names[0])
	serial := sha256.Sum256(key.Public().(ed25519.PublicKey))
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:8]), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: a.from.Add(-backdate), NotAfter: a.from.Add(leafLife), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(nil, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, nil
}
