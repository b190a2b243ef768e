package dissect

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"smtpscope/protocol/trace"
)

const (
	handshakeHeader = 4 // type, 24 bits of length (RFC 8446, 4)
	randomLen       = 32
)

// Handshake takes apart one handshake message of TLS 1.3 as it reads once it is
// decrypted. The first field is the whole message, by the name of RFC 8446, 4.
func Handshake(message []byte) []trace.Field {
	c := &cutter{b: message, end: len(message)}
	if len(message) >= handshakeHeader {
		c.handshake(true)
	}
	c.rest(0, len(message))
	return c.fields
}

// handshake takes apart the message at pos. One that was sealed is of TLS 1.3, and
// one in the clear, save the hellos, of an older version.
func (c *cutter) handshake(sealed bool) {
	start, outer := c.pos, c.end
	kind, length := c.b[start], uint24(c.b[start+1:])
	end := start + handshakeHeader + length
	whole := end <= outer
	body := c.b[start+handshakeHeader : min(end, outer)]
	name, known := nameOf(handshakeTypes, uint16(kind))
	if !known && sealed {
		name, known = nameOf(sealedTypes, uint16(kind))
	}
	if !known {
		name = "handshake"
	}
	label := fmt.Sprintf("%d %s", kind, name)
	if whole && name == "server_hello" && isRetry(body) {
		name = "hello_retry_request"
	}
	id := entry("tls.handshake.", name)
	c.end = start + handshakeHeader + len(body)
	c.group(0, c.end, name, id, byteCount(handshakeHeader+length))
	c.leaf(1, start+1, "msg_type", id, label)
	c.length(1, 3, length)
	switch {
	case !whole:
		c.leaf(1, c.end, "fragment", "field.fragment", byteCount(len(body)))
	case name == "client_hello":
		c.clientHello()
	case name == "server_hello" || name == "hello_retry_request":
		c.serverHello(name)
	case name == "encrypted_extensions":
		c.extensions(name)
	case name == "certificate":
		c.certificates(sealed)
	case name == "certificate_request" && sealed: // RFC 8446, 4.3.2
		if c.vector(1, 1, "certificate_request_context", "field.request-context") {
			c.extensions(name)
		}
	case name == "certificate_request":
		c.certificateRequest()
	case name == "certificate_verify":
		c.signature()
	case name == "finished":
		c.leaf(1, c.end, "verify_data", "field.verify-data", "")
	case name == "server_key_exchange":
		c.serverKeyExchange()
	case name == "client_key_exchange":
		c.clientKeyExchange()
	case name == "certificate_status": // RFC 6066, 8
		if len(body) >= 4 && 4+uint24(body[1:]) == len(body) {
			c.statusResponse(1)
		}
	case name == "new_session_ticket" && !sealed: // RFC 5077, 3.3
		if len(body) >= 4 {
			c.leaf(1, c.pos+4, "ticket_lifetime_hint", "field.ticket-lifetime", plural(int(binary.BigEndian.Uint32(body)), "second"))
			c.vector(1, 2, "ticket", "field.ticket")
		}
	}
	c.leaf(1, c.end, "body", "field.rest", byteCount(c.end-c.pos))
	c.end = outer
}

func (c *cutter) clientHello() {
	if len(c.text()) < 2+randomLen {
		return
	}
	c.version(1, "legacy_version", "field.legacy-version")
	c.leaf(1, c.pos+randomLen, "random", "field.random", "")
	if !c.vector(1, 1, "legacy_session_id", "field.legacy") {
		return
	}
	n, ok := c.vectorLen(2)
	if !ok || n%2 != 0 {
		return
	}
	end := c.pos + 2 + n
	c.group(1, end, "cipher_suites", "field.cipher-suites", plural(n/2, "suite"))
	c.length(2, 2, n)
	for c.pos < end && !c.full() {
		c.suite(2)
	}
	c.rest(2, end)
	if c.vector(1, 1, "legacy_compression_methods", "field.legacy") {
		c.extensions("client_hello")
	}
}

func (c *cutter) serverHello(name string) {
	if len(c.text()) < 2+randomLen {
		return
	}
	c.version(1, "legacy_version", "field.legacy-version")
	if name == "hello_retry_request" {
		c.leaf(1, c.pos+randomLen, "random", "tls.handshake."+name, "marks a "+name)
	} else {
		c.leaf(1, c.pos+randomLen, "random", "field.random", "")
	}
	if !c.vector(1, 1, "legacy_session_id_echo", "field.legacy") || len(c.text()) < 3 {
		return
	}
	c.suite(1)
	c.leaf(1, c.pos+1, "legacy_compression_method", "field.legacy", "")
	c.extensions(name)
}

// suite needs two bytes.
func (c *cutter) suite(depth int) { c.number(depth, "cipher_suite", "tls.suite.", suites) }

// number notes a number of two bytes that names has a name for.
func (c *cutter) number(depth int, name, prefix string, names []numbered) {
	number := binary.BigEndian.Uint16(c.b[c.pos:])
	value, known := nameOf(names, number)
	id := entry(prefix, value)
	if !known {
		value = fmt.Sprintf("0x%04X", number)
	}
	c.leaf(depth, c.pos+2, name, id, value)
}

// certificates takes apart the chain. In TLS 1.3 there is a context before it, and
// extensions follow each certificate (RFC 5246, 7.4.2; RFC 8446, 4.4.2).
func (c *cutter) certificates(tls13 bool) {
	if tls13 && !c.vector(1, 1, "certificate_request_context", "field.request-context") {
		return
	}
	n, ok := c.vectorLen(3)
	if !ok || c.pos+3+n != c.end {
		return
	}
	c.length(1, 3, n)
	end := c.end
	for c.pos < end && !c.full() {
		n, ok := c.vectorLen(3)
		if !ok {
			return
		}
		c.certificate(c.pos + 3 + n)
		if !tls13 {
			continue
		}
		if n, ok = c.vectorLen(2); !ok {
			return
		}
		c.end = c.pos + 2 + n
		c.extensions("certificate")
		c.end = end
	}
	c.rest(1, end)
}

// certificateRequest is that of TLS 1.2 (RFC 5246, 7.4.4).
func (c *cutter) certificateRequest() {
	if !c.vector(1, 1, "certificate_types", "field.certificate-types") {
		return
	}
	n, ok := c.vectorLen(2)
	if !ok || n%2 != 0 {
		return
	}
	end := c.pos + 2 + n
	c.group(1, end, "supported_signature_algorithms", "tls.extension.signature_algorithms", plural(n/2, "algorithm"))
	c.length(2, 2, n)
	for c.pos < end && !c.full() {
		c.number(2, "algorithm", "tls.signature.", signatureSchemes)
	}
	c.rest(2, end)
	c.vector(1, 2, "certificate_authorities", "field.certificate-authorities")
}

// signature is what proves that an end has the key of its certificate.
func (c *cutter) signature() {
	if len(c.text()) < 4 {
		return
	}
	c.number(1, "algorithm", "tls.signature.", signatureSchemes)
	c.vector(1, 2, "signature", "field.signature")
}

// serverKeyExchange knows the one for elliptic curves (RFC 8422, 5.4). Which one it
// is, only the suite tells; the others begin with the length of a prime.
func (c *cutter) serverKeyExchange() {
	const namedCurve = 3
	b := c.text()
	if len(b) < 4 || b[0] != namedCurve || 4+int(b[3])+4 > len(b) {
		return
	}
	c.leaf(1, c.pos+1, "curve_type", "field.curve-type", "3 named_curve")
	c.namedGroup(1, "namedcurve")
	c.vector(1, 1, "public", "field.public-key")
	c.signature()
}

// clientKeyExchange is a point of the curve, or the premaster secret encrypted with
// RSA (RFC 8422, 5.7; RFC 5246, 7.4.7.1).
func (c *cutter) clientKeyExchange() {
	if n, ok := c.vectorLen(1); ok && 1+n == len(c.text()) {
		c.vector(1, 1, "ecdh_Yc", "field.public-key")
	} else if n, ok := c.vectorLen(2); ok && 2+n == len(c.text()) {
		c.vector(1, 2, "exchange_keys", "field.exchange-keys")
	}
}

// statusResponse needs four bytes and the response that they tell the length of.
func (c *cutter) statusResponse(depth int) {
	c.leaf(depth, c.pos+1, "status_type", "tls.extension.status_request", fmt.Sprint(c.b[c.pos]))
	c.vector(depth, 3, "response", "field.ocsp-response")
}

// isRetry tells a hello_retry_request from a server_hello, which has the same
// type, by its fixed random (RFC 8446, 4.1.3).
func isRetry(body []byte) bool {
	return len(body) >= 2+randomLen && bytes.Equal(body[2:2+randomLen], retryRandom)
}
