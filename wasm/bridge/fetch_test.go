//go:build js && wasm

package bridge

import (
	"context"
	"syscall/js"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answers makes fetch a function of the test's own.
func answers(t *testing.T, body string) {
	real := js.Global().Get("fetch")
	js.Global().Set("fetch", js.Global().Get("Function").New("url", "options", body))
	t.Cleanup(func() { js.Global().Set("fetch", real) })
}

func TestFetch(t *testing.T) {
	b, err := Fetch(t.Context(), "data:application/octet-stream;base64,AAH/")
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 1, 255}, b)

	_, err = Fetch(t.Context(), "no address")
	assert.ErrorContains(t, err, "no address could not be fetched: TypeError")
}

func TestFetchIsRefused(t *testing.T) {
	answers(t, `return Promise.resolve(new Response("gone", { status: 404 }));`)
	_, err := Fetch(t.Context(), "https://x.example/file")
	assert.EqualError(t, err, "https://x.example/file answered with status 404")
	var e *StatusError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "gone", string(e.Body))
}

func TestFetchBreaksOff(t *testing.T) {
	answers(t, `return Promise.resolve(new Response(new ReadableStream({ pull(c) { c.error(new TypeError("network error")); } })));`)
	_, err := Fetch(t.Context(), "https://x.example/file")
	assert.ErrorContains(t, err, "file could not be fetched: TypeError: network error")
}

func TestFetchIsCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stop := js.FuncOf(func(js.Value, []js.Value) any { cancel(); return nil })
	defer stop.Release()
	js.Global().Set("stopFetching", stop)
	defer js.Global().Delete("stopFetching")
	answers(t, `return new Promise((_, reject) => {
		options.signal.onabort = () => reject(options.signal.reason);
		setTimeout(stopFetching);
	});`)
	_, err := Fetch(ctx, "https://x.example/file")
	assert.ErrorContains(t, err, "AbortError")
}
