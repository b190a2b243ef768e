//go:build js && wasm

package main

import (
	"context"
	"syscall/js"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
	"smtpscope/protocol/tunnel"
)

// answers makes fetch a function of the test's own.
func answers(t *testing.T, body string) {
	real := js.Global().Get("fetch")
	js.Global().Set("fetch", js.Global().Get("Function").New("url", "options", body))
	t.Cleanup(func() { js.Global().Set("fetch", real) })
}

func TestAPI(t *testing.T) {
	answers(t, `globalThis.asked = url;
		return Promise.resolve(new Response(url.includes("lookup") ? '{"name":"a&b","type":"MX","rcode":"NXDOMAIN","records":[],"ad":true,"took":7,"cached":false}' : '{"domain":"a&b","mode":"testing","took":7}'));`)
	defer js.Global().Delete("asked")
	d, err := api("http://x/api/v1/").lookup(t.Context(), "a&b", "MX")
	require.NoError(t, err)
	assert.Equal(t, &trace.LookupData{Name: "a&b", Type: "MX", RCode: "NXDOMAIN", Records: []trace.ResourceRecord{}, AD: true, Took: 7}, d)
	assert.Equal(t, "http://x/api/v1/lookup?name=a%26b&type=MX", js.Global().Get("asked").String())
	p, err := api("http://x/api/v1/").policy(t.Context(), "a&b")
	require.NoError(t, err)
	assert.Equal(t, &trace.PolicyData{Domain: "a&b", Mode: "testing", Took: 7}, p)
	assert.Equal(t, "http://x/api/v1/mta-sts?domain=a%26b", js.Global().Get("asked").String())
}

// What keeps the proxy from answering reaches its user in words.
func TestAPIRefusals(t *testing.T) {
	for _, c := range []struct {
		name, body string
		code       tunnel.Code // "" for no error of the tunnel's
		words      string
	}{
		{"a denial", `return Promise.resolve(new Response('{"code":"denied","message":"Not this one.","rule":"not-allowed"}', { status: 403 }));`, tunnel.CodeDenied, "Not this one."},
		{"no look-ups", `return Promise.resolve(new Response("This server looks nothing up.\n", { status: 404 }));`, tunnel.CodeDenied, "http://x/lookup?name=a&type=MX answered with status 404. This server looks nothing up."},
		{"a balancer", `return Promise.resolve(new Response("", { status: 502 }));`, tunnel.CodeNoRoute, "http://x/lookup?name=a&type=MX answered with status 502. "},
		{"another program", `return Promise.resolve(new Response("<html>"));`, "", "What answers at http://x/ is not smtpscope, or of another version: invalid character '<' looking for beginning of value"},
		{"no program", `return Promise.reject(new TypeError("Failed to fetch"));`, "", "The smtpscope program behind this page cannot be asked. See that it runs. (http://x/lookup?name=a&type=MX could not be fetched: TypeError: Failed to fetch)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answers(t, c.body)
			_, err := api("http://x/").lookup(t.Context(), "a", "MX")
			assert.EqualError(t, err, c.words)
			var e *tunnel.Error
			if c.code == "" {
				assert.NotErrorAs(t, err, &e)
				return
			}
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.code, e.Code)
		})
	}
}

func TestAPIIsCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stop := js.FuncOf(func(js.Value, []js.Value) any { cancel(); return nil })
	defer stop.Release()
	js.Global().Set("stopAsking", stop)
	defer js.Global().Delete("stopAsking")
	answers(t, `return new Promise((_, reject) => {
		options.signal.onabort = () => reject(options.signal.reason);
		setTimeout(stopAsking);
	});`)
	_, err := api("http://x/").lookup(ctx, "a", "MX")
	assert.EqualError(t, err, "It was not waited for: the session was over.")
}
