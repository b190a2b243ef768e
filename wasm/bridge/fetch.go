//go:build js && wasm

package bridge

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
)

// StatusError is an answer by HTTP that is no success.
type StatusError struct {
	URL    string
	Status int
	Body   []byte // what it says
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered with status %d", e.URL, e.Status)
}

// Fetch loads a file. An answer without it is a *StatusError. The end of ctx calls it off.
func Fetch(ctx context.Context, url string) ([]byte, error) {
	abort := js.Global().Get("AbortController").New()
	defer context.AfterFunc(ctx, func() { abort.Call("abort") })()
	response, err := await(js.Global().Call("fetch", url, map[string]any{"signal": abort.Get("signal")}))
	var body js.Value
	if err == nil {
		body, err = await(response.Call("arrayBuffer"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s could not be fetched: %w", url, err)
	}
	array := js.Global().Get("Uint8Array").New(body)
	b := make([]byte, array.Length())
	js.CopyBytesToGo(b, array)
	if !response.Get("ok").Bool() {
		return nil, &StatusError{url, response.Get("status").Int(), b}
	}
	return b, nil
}

// await waits for what a promise promises.
func await(promise js.Value) (js.Value, error) {
	kept, broken := make(chan js.Value, 1), make(chan js.Value, 1)
	onKept := js.FuncOf(func(_ js.Value, args []js.Value) any { kept <- args[0]; return nil })
	onBroken := js.FuncOf(func(_ js.Value, args []js.Value) any { broken <- args[0]; return nil })
	defer onKept.Release()
	defer onBroken.Release()
	promise.Call("then", onKept, onBroken)
	select {
	case v := <-kept:
		return v, nil
	case v := <-broken:
		return js.Undefined(), errors.New(js.Global().Call("String", v).String())
	}
}
