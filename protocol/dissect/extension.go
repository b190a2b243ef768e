package dissect

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// extensions takes apart those of a message, or of a certificate in its chain,
// which reach to end.
func (c *cutter) extensions(message string) {
	n, ok := c.vectorLen(2)
	if !ok || c.pos+2+n != c.end {
		return
	}
	c.group(1, c.end, "extensions", "field.extension", byteCount(n))
	c.length(2, 2, n)
	for c.pos < c.end {
		if c.full() || !c.extension(message) {
			c.rest(2, c.end)
		}
	}
}

// extension takes one extension apart. It is false, and nothing is noted, where
// the extension does not fit into what is left.
func (c *cutter) extension(message string) bool {
	b := c.text()
	if len(b) < 4 {
		return false
	}
	number, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	if 4+n > len(b) {
		return false
	}
	name, known := nameOf(extensionTypes, number)
	if !known {
		name = "extension"
	}
	id := entry("tls.extension.", name)
	start, outer := c.pos, c.end
	end := start + 4 + n
	label := fmt.Sprintf("%d %s", number, name)

	if n > 0 {
		mark := len(c.fields)
		c.group(2, end, name, id, byteCount(4+n))
		c.leaf(3, start+2, "extension_type", id, label)
		c.length(3, 2, n)
		c.end = end
		ok := c.extensionData(number, message)
		c.end = outer
		if ok && c.pos == end {
			return true
		}
		c.fields, c.pos = c.fields[:mark], start
	}
	c.leaf(2, end, name, id, label+", "+byteCount(n))
	return true
}

// extensionData takes the content of an extension apart, from pos to end. It is
// false where that is malformed, or where nobody knows its parts.
func (c *cutter) extensionData(number uint16, message string) bool {
	switch number {
	case 0: // RFC 6066, 3
		if !c.list(2) || len(c.text()) == 0 {
			return false
		}
		c.leaf(3, c.pos+1, "name_type", "tls.extension.server_name", strconv.Itoa(int(c.b[c.pos])))
		if !c.list(2) {
			return false
		}
		c.leaf(3, c.end, "host_name", "tls.extension.server_name", "")
		return true
	case 5: // RFC 6066, 8; RFC 8446, 4.4.2.1
		if len(c.text()) < 4 {
			return false
		}
		if message == "certificate" {
			c.statusResponse(3)
			return true
		}
		c.leaf(3, c.pos+1, "status_type", "tls.extension.status_request", strconv.Itoa(int(c.b[c.pos])))
		return c.vector(3, 2, "responder_id_list", "tls.extension.status_request") &&
			c.vector(3, 2, "request_extensions", "tls.extension.status_request")
	case 10: // RFC 8446, 4.2.7
		return c.numbers("named_group", "tls.group.", groups)
	case 11: // RFC 8422, 5.1.2
		return c.bytes("ec_point_format", "tls.extension.ec_point_formats", pointFormats)
	case 13, 50: // RFC 8446, 4.2.3
		return c.numbers("algorithm", "tls.signature.", signatureSchemes)
	case 16: // RFC 7301, 3.1
		return c.protocolNames()
	case 43: // RFC 8446, 4.2.1
		if message != "client_hello" {
			if len(c.text()) != 2 {
				return false
			}
			c.version(3, "selected_version", "")
			return true
		}
		if !c.list(1) || len(c.text())%2 != 0 {
			return false
		}
		for c.pos < c.end && !c.full() {
			c.version(3, "version", "")
		}
		c.rest(3, c.end)
		return true
	case 45: // RFC 8446, 4.2.9
		return c.bytes("ke_mode", "tls.extension.psk_key_exchange_modes", pskModes)
	case 51: // RFC 8446, 4.2.8
		return c.keyShares(message)
	}
	return false
}

// protocolNames takes apart the list of ALPN.
func (c *cutter) protocolNames() bool {
	if !c.list(2) {
		return false
	}
	for c.pos < c.end && !c.full() {
		n, ok := c.vectorLen(1)
		if !ok {
			return false
		}
		c.length(3, 1, n)
		c.leaf(3, c.pos+n, "protocol_name", "tls.extension.application_layer_protocol_negotiation", "")
	}
	c.rest(3, c.end)
	return true
}

// keyShares takes apart what each message has of them: the client a list, the server
// its choice.
func (c *cutter) keyShares(message string) bool {
	switch message {
	case "hello_retry_request":
		if len(c.text()) != 2 {
			return false
		}
		c.namedGroup(3, "selected_group")
		return true
	case "server_hello":
		return c.keyShare()
	}
	if !c.list(2) {
		return false
	}
	for c.pos < c.end && !c.full() {
		if !c.keyShare() {
			return false
		}
	}
	c.rest(3, c.end)
	return true
}

// numbers takes apart a list of numbers of two bytes.
func (c *cutter) numbers(name, prefix string, names []numbered) bool {
	if !c.list(2) || len(c.text())%2 != 0 {
		return false
	}
	for c.pos < c.end && !c.full() {
		c.number(3, name, prefix, names)
	}
	c.rest(3, c.end)
	return true
}

// bytes takes apart a list of numbers of one byte.
func (c *cutter) bytes(name, id string, names []numbered) bool {
	if !c.list(1) {
		return false
	}
	for c.pos < c.end && !c.full() {
		value := strconv.Itoa(int(c.b[c.pos]))
		if known, ok := nameOf(names, uint16(c.b[c.pos])); ok {
			value += " " + known
		}
		c.leaf(3, c.pos+1, name, id, value)
	}
	c.rest(3, c.end)
	return true
}

func (c *cutter) keyShare() bool {
	b := c.text()
	if len(b) < 4 {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if 4+n > len(b) {
		return false
	}
	c.namedGroup(3, "group")
	c.leaf(3, c.pos+2+n, "key_exchange", "tls.extension.key_share", "public key, "+byteCount(n))
	return true
}

// namedGroup needs two bytes.
func (c *cutter) namedGroup(depth int, name string) { c.number(depth, name, "tls.group.", groups) }

// version needs two bytes. Without an id it is explained by its value.
func (c *cutter) version(depth int, name, id string) {
	number := binary.BigEndian.Uint16(c.b[c.pos:])
	value, known := nameOf(versions, number)
	own := "tls.version." + strings.TrimPrefix(value, "TLS ")
	if !known {
		value, own = fmt.Sprintf("0x%04X", number), "tls.version.other"
	}
	if id == "" {
		id = own
	}
	c.leaf(depth, c.pos+2, name, id, value)
}
