//go:build !plan9 && !windows && !js

package tunnel

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What package net really returns, on systems that have a network.
func TestDialErrorOfARealDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	_, err = net.Dial("tcp", l.Addr().String())
	require.Error(t, err)
	e := DialError(err, "127.0.0.1", port)
	assert.Equal(t, CodeRefused, e.Code)
	assert.ErrorIs(t, e, syscall.ECONNREFUSED)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	assert.Equal(t, CodeShutdown, DialError(err, "127.0.0.1", port).Code)

	ctx, cancel = context.WithTimeout(t.Context(), -1)
	defer cancel()
	_, err = new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	assert.Equal(t, CodeTimeout, DialError(err, "127.0.0.1", port).Code)
}
