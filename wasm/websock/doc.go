// Package websock is the page's end of the tunnel: the browser's WebSocket as a net.Conn.
// It works in a page and in a Worker (js/wasm only).
//
// A net.Conn promises what a browser's WebSocket does not keep by itself. Messages that arrived
// before a close are all read before the close is reported. Bytes that nobody
// reads are never more than one window, because the proxy sends on credit; a Write waits for
// credit, and for the browser to have sent what it was given. Deadlines work.
//
// The package speaks protocol/tunnel and knows neither SMTP nor TLS, nor who reads its bytes.
package websock
