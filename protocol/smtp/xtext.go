package smtp

import (
	"fmt"
	"strings"
)

// Xtext encodes a text as the value of a parameter (RFC 3461, 4): what is not
// printable ASCII, and the plus and equals signs, become a plus sign and two
// hexadecimal digits each.
func Xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}

// OriginalRecipient is the value of the ORCPT parameter for an address (RFC 3461, 4.2).
// One beyond ASCII is of the type utf-8, in the form that any server may be sent
// (utf-8-addr-xtext of RFC 6533, 3).
func OriginalRecipient(address string) string {
	if !strings.ContainsFunc(address, func(r rune) bool { return r > 0x7e }) {
		return "rfc822;" + Xtext(address)
	}
	var b strings.Builder
	b.WriteString("utf-8;")
	for _, r := range address {
		if r > ' ' && r < 0x7f && r != '+' && r != '=' && r != '\\' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		}
	}
	return b.String()
}
