//go:build !js

// The engine fetches what this file makes, and is not to hold it as well.

package roots

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sort"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Bundle makes the file of the roots that Mozilla trusts.
func Bundle() ([]byte, error) { return encode(bundle.Roots()) }

func encode(roots iter.Seq[bundle.Root]) (file []byte, err error) {
	for r := range roots {
		until := int64(0)
		if r.Constraint != nil {
			if until, err = lastTrusted(r.Constraint); err != nil {
				return nil, fmt.Errorf("the root at offset %d of the file: %w", len(file), err)
			}
		}
		file = binary.BigEndian.AppendUint32(file, uint32(len(r.Certificate)))
		file = binary.BigEndian.AppendUint64(file, uint64(until))
		file = append(file, r.Certificate...)
	}
	return file, nil
}

// lastTrusted finds the date in a constraint, which shows it to nobody: the last second at
// which a certificate may be issued.
func lastTrusted(constraint func([]*x509.Certificate) error) (int64, error) {
	end := int(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	first := sort.Search(end, func(at int) bool { // that is refused
		return constraint([]*x509.Certificate{{NotBefore: time.Unix(int64(at), 0)}}) != nil
	})
	if first <= 1 || first == end {
		return 0, errors.New("its constraint is not a date between 1970 and 2200, which is all that the file can hold")
	}
	return int64(first - 1), nil
}
