//go:build !unix

package relay

import "errors"

const canReadNow = false

func readNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
