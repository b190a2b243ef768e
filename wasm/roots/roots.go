// Package roots is the file by which the page's engine gets the certificates of the public
// authorities: a browser has its own and shows them to nobody. It knows the file's form, not
// where it lies and what is judged by it.
//
// The file is one root after the other, each with a head of 12 octets, big-endian:
//
//	uint32  length of the certificate
//	int64   Unix time after which what it issues is not trusted any more; 0: none
//	        the certificate, in DER
package roots

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

const headSize = 4 + 8

// Pool reads the file.
func Pool(file []byte) (*x509.CertPool, error) {
	if len(file) == 0 {
		return nil, errors.New("the file of roots is empty")
	}
	pool := x509.NewCertPool()
	for rest := file; len(rest) > 0; {
		at := len(file) - len(rest)
		if len(rest) < headSize {
			return nil, fmt.Errorf("the file of roots ends within the head at offset %d", at)
		}
		size, until := binary.BigEndian.Uint32(rest), int64(binary.BigEndian.Uint64(rest[4:]))
		if rest = rest[headSize:]; uint64(size) > uint64(len(rest)) {
			return nil, fmt.Errorf("the file of roots ends within the certificate at offset %d: %d octets of %d", at, len(rest), size)
		}
		cert, err := x509.ParseCertificate(rest[:size])
		if err != nil {
			return nil, fmt.Errorf("the file of roots holds no certificate at offset %d: %w", at, err)
		}
		rest = rest[size:]
		if until == 0 {
			pool.AddCert(cert)
		} else {
			pool.AddCertWithConstraint(cert, issuedBy(time.Unix(until, 0)))
		}
	}
	return pool, nil
}

func issuedBy(until time.Time) func([]*x509.Certificate) error {
	return func(chain []*x509.Certificate) error {
		for _, c := range chain {
			if c.NotBefore.After(until) {
				return fmt.Errorf("the root is not trusted with what is issued after %v", until.UTC())
			}
		}
		return nil
	}
}
