//go:build !unix

package policy

import (
	"errors"
	"syscall"
)

const canBind = false

func bind(string, syscall.RawConn) (uint16, error) { return 0, errors.ErrUnsupported }
