//go:build !js

package roots

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func TestFileHoldsTheBundle(t *testing.T) {
	file, err := Bundle()
	require.NoError(t, err)
	want, rest, dates := x509.NewCertPool(), file, 0
	for r := range bundle.Roots() {
		size, until := binary.BigEndian.Uint32(rest), int64(binary.BigEndian.Uint64(rest[4:]))
		require.Equal(t, r.Certificate, rest[headSize:headSize+size])
		rest = rest[headSize+size:]
		cert, err := x509.ParseCertificate(r.Certificate)
		require.NoError(t, err)
		want.AddCert(cert)
		if r.Constraint == nil {
			require.Zero(t, until, cert.Subject)
			continue
		}
		dates++
		t.Logf("%s: until %v", cert.Subject, time.Unix(until, 0).UTC())
		for after, refused := range map[time.Duration]bool{-time.Second: false, 0: false, time.Second: true} {
			chain := []*x509.Certificate{{NotBefore: time.Unix(until, 0).Add(after)}, cert}
			assert.Equal(t, refused, r.Constraint(chain) != nil, "%v: %v", cert.Subject, after)
			assert.Equal(t, refused, issuedBy(time.Unix(until, 0))(chain) != nil, "%v: %v", cert.Subject, after)
		}
	}
	assert.Empty(t, rest)
	assert.NotZero(t, dates, "no root of the bundle has a date: it is time to leave them out of the file")
	pool, err := Pool(file)
	require.NoError(t, err)
	assert.True(t, want.Equal(pool))
}

// root signs leaves; its constraint is the given one.
func root(t *testing.T, constraint func([]*x509.Certificate) error) (_ bundle.Root, leaf func(notBefore time.Time) *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	made := func(of x509.Certificate, parent *x509.Certificate) *x509.Certificate {
		of.NotAfter = of.NotBefore.AddDate(20, 0, 0)
		der, err := x509.CreateCertificate(rand.Reader, &of, parent, &key.PublicKey, key)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert
	}
	self := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true}
	ca := made(self, &self)
	return bundle.Root{Certificate: ca.Raw, Constraint: constraint}, func(notBefore time.Time) *x509.Certificate {
		return made(x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"mx.example.net"}, NotBefore: notBefore}, ca)
	}
}

func TestDateCountsInAChain(t *testing.T) {
	date := time.Date(2026, 4, 15, 23, 59, 59, 0, time.UTC)
	for _, c := range []struct {
		name       string
		constraint func([]*x509.Certificate) error
		issued     time.Time
		trusted    bool
	}{
		{"no date", nil, date.AddDate(1, 0, 0), true},
		{"in time", issuedBy(date), date, true},
		{"late", issuedBy(date), date.Add(time.Second), false},
	} {
		r, leaf := root(t, c.constraint)
		file, err := encode(slices.Values([]bundle.Root{r}))
		require.NoError(t, err)
		pool, err := Pool(file)
		require.NoError(t, err)
		_, err = leaf(c.issued).Verify(x509.VerifyOptions{Roots: pool, DNSName: "mx.example.net", CurrentTime: date.AddDate(2, 0, 0)})
		if c.trusted {
			assert.NoError(t, err, c.name)
		} else {
			assert.Error(t, err, c.name)
		}
	}
}

func TestConstraintThatIsNoDate(t *testing.T) {
	for name, constraint := range map[string]func([]*x509.Certificate) error{
		"refuses all": func([]*x509.Certificate) error { return errors.New("no") },
		"accepts all": func([]*x509.Certificate) error { return nil },
	} {
		_, err := encode(slices.Values([]bundle.Root{{Certificate: []byte("unread"), Constraint: constraint}}))
		assert.ErrorContains(t, err, "not a date", name)
	}
}

func TestBrokenFile(t *testing.T) {
	r, _ := root(t, nil)
	one, err := encode(slices.Values([]bundle.Root{r}))
	require.NoError(t, err)
	two := slices.Concat(one, one)
	for cut := range len(two) {
		if cut == len(one) {
			continue // a whole file, of one root
		}
		_, err := Pool(two[:cut])
		require.Error(t, err, cut)
	}
	changed := func(at int, value byte) []byte {
		b := slices.Clone(one)
		b[at] = value
		return b
	}
	for _, c := range []struct {
		name string
		file []byte
		says string
	}{
		{"empty", nil, "empty"},
		{"half a head", one[:5], "within the head at offset 0"},
		{"half a certificate", two[:len(one)+100], "within the certificate at offset"},
		{"the longest length", slices.Concat([]byte{255, 255, 255, 255}, one[4:]), "of 4294967295"},
		{"length 0", make([]byte, headSize), "no certificate at offset 0"},
		{"not DER", changed(headSize, 0), "no certificate at offset 0"},
		{"a web page", []byte("<!doctype html><title>Not found</title>"), "within the certificate at offset 0"},
	} {
		_, err := Pool(c.file)
		assert.ErrorContains(t, err, c.says, c.name)
	}
}

func FuzzPool(f *testing.F) {
	file, err := Bundle()
	require.NoError(f, err)
	f.Add(file[:headSize+binary.BigEndian.Uint32(file)])
	f.Add([]byte("<!doctype html>"))
	f.Fuzz(func(t *testing.T, file []byte) {
		pool, err := Pool(file)
		assert.NotEqual(t, err == nil, pool == nil, "either a pool or an error")
	})
}
