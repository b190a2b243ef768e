package smtp

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

const (
	rfcSyntax  = "RFC 5321, 4.1.2"
	rfcLiteral = "RFC 5321, 4.1.3"
	rfcUTF8    = "RFC 6531, 3.3"
)

// charset is what an address is made of.
type charset bool

const (
	ascii         charset = false
	international charset = true // UTF-8 in atoms, quoted strings and labels (RFC 6531, 3.3)
)

// takes reports an octet that only an international address has.
func (cs charset) takes(c byte) bool { return cs == international && c >= utf8.RuneSelf }

// checkMailbox checks Mailbox = Local-part "@" ( Domain / address-literal ) of
// RFC 5321, 4.1.2 and the limits of a path. What is how errors call it.
func checkMailbox(what, s string, cs charset) error {
	fail := func(at int, problem string) error { return &SyntaxError{what, s, at, problem, rfcSyntax} }
	if s == "" {
		return fail(-1, "an address is missing")
	}
	if cs == international && !utf8.ValidString(s) {
		return &SyntaxError{what, s, -1, "what is beyond ASCII must be UTF-8", rfcUTF8}
	}
	at, err := localPart(what, s, cs)
	if err != nil {
		return err
	}
	if at == len(s) {
		return fail(-1, "a domain is missing: an address has the form local-part@domain")
	}
	if at > MaxLocalPart {
		return &SyntaxError{what, s, -1, fmt.Sprintf("the local-part has %d octets, the limit is %d", at, MaxLocalPart), "RFC 5321, 4.5.3.1.1"}
	}
	if err := checkHost(what, s, at+1, cs); err != nil {
		return err
	}
	if n := len("<>") + len(s); n > MaxPath {
		return &SyntaxError{what, s, -1, fmt.Sprintf("the path has %d octets with its brackets, the limit is %d", n, MaxPath), "RFC 5321, 4.5.3.1.3"}
	}
	return nil
}

// localPart checks Local-part = Dot-string / Quoted-string and returns where it
// ends: at an "@" or at the end of s.
func localPart(what, s string, cs charset) (end int, err error) {
	fail := func(at int, problem string) (int, error) {
		return 0, &SyntaxError{what, s, at, problem, rfcSyntax}
	}
	switch s[0] {
	case '"':
		return quotedString(what, s, cs)
	case '<':
		return fail(0, "give the address without angle brackets")
	case '@':
		return fail(0, "the local-part is missing; a source route such as @host:address is no longer sent (Appendix C)")
	}
	atom := 0 // where the current atom starts
	for i := 0; i < len(s) && s[i] != '@'; i++ {
		switch {
		case s[i] == '.':
			if i == atom {
				return fail(i, "a dot at the start of the local-part or after another dot needs the quoted form")
			}
			atom = i + 1
		case !isAtext(s[i]) && !cs.takes(s[i]):
			return 0, badOctet(what, s, i, "is not allowed in a local-part without quotes")
		}
		end = i + 1
	}
	if atom == end {
		return fail(end, "a dot at the end of the local-part needs the quoted form")
	}
	return end, nil
}

// quotedString checks Quoted-string at the start of s and returns its end.
func quotedString(what, s string, cs charset) (end int, err error) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if i+1 < len(s) && s[i+1] != '@' {
				return 0, badOctet(what, s, i+1, "is not allowed between the quoted local-part and the @")
			}
			return i + 1, nil
		case c == '\\' && i+1 < len(s) && s[i+1] >= ' ' && s[i+1] < 0x7f:
			i++
		case c == '\\' || c < ' ' || c >= 0x7f && !cs.takes(c):
			return 0, badOctet(what, s, i, "is not allowed in a quoted local-part")
		}
	}
	return 0, &SyntaxError{what, s, -1, "the closing quote of the local-part is missing", rfcSyntax}
}

// checkHost checks Domain or address-literal, which are s from the given offset on.
func checkHost(what, s string, from int, cs charset) error {
	host := s[from:]
	fail := func(at int, problem string) error { return &SyntaxError{what, s, at, problem, rfcSyntax} }
	if host == "" {
		return fail(-1, "a domain or an address literal is missing")
	}
	if len(host) > MaxDomain {
		return &SyntaxError{what, s, -1, fmt.Sprintf("the domain has %d octets, the limit is %d", len(host), MaxDomain), "RFC 5321, 4.5.3.1.2"}
	}
	if host[0] == '[' {
		return checkLiteral(what, s, from)
	}
	for i := from; i < len(s); i++ {
		first := i == from || s[i-1] == '.'
		last := i+1 == len(s) || s[i+1] == '.'
		switch c := s[i]; {
		case isAlnum(c), cs.takes(c):
		case c == '.' && !first && i+1 < len(s):
		case c == '.':
			return fail(i, "a dot in a domain stands between two labels")
		case c == '-' && !first && !last:
		case c == '-':
			return fail(i, "a label of a domain neither starts nor ends with a hyphen")
		default:
			return badOctet(what, s, i, "is not allowed in a domain, only letters, digits and hyphens are")
		}
	}
	return nil
}

// checkLiteral checks address-literal of RFC 5321, 4.1.3. IPv6 is the only tag registered.
func checkLiteral(what, s string, from int) error {
	inner, closed := strings.CutSuffix(s[from+1:], "]")
	text, v6 := inner, false
	if tag := "IPv6:"; len(inner) >= len(tag) && strings.EqualFold(inner[:len(tag)], tag) {
		text, v6 = inner[len(tag):], true
	}
	if ip, err := netip.ParseAddr(text); !closed || err != nil || ip.Is6() != v6 || ip.Zone() != "" {
		return &SyntaxError{what, s, from, "an address literal looks like [192.0.2.1] or [IPv6:2001:db8::1]", rfcLiteral}
	}
	return nil
}

// badOctet says which octet is out of place, by name where it cannot be shown.
func badOctet(what, s string, at int, problem string) error {
	var name string
	switch c := s[at]; {
	case c == '\r':
		name, problem = "CR", "would end the command line and start another one"
	case c == '\n':
		name, problem = "LF", "would end the command line and start another one"
	case c == 0:
		name = "NUL"
	case c == ' ':
		name = "a space"
	case c >= 0x80:
		return &SyntaxError{what, s, at, "a character beyond ASCII needs the parameter SMTPUTF8 (RFC 6531), which is not here; " +
			"a domain has an ASCII form that starts with xn--", rfcSyntax}
	case c < ' ' || c == 0x7f:
		name = fmt.Sprintf("the control byte 0x%02x", c)
	default:
		name = fmt.Sprintf("%q", c)
	}
	return &SyntaxError{what, s, at, name + " " + problem, rfcSyntax}
}

// checkParam checks esmtp-param of RFC 5321, 4.1.2.
func checkParam(s string) error {
	keyword, value, valued := strings.Cut(s, "=")
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return badOctet("parameter", s, i, "is not allowed in a parameter; encode it as xtext (RFC 3461, 4)")
		}
	}
	switch {
	case !isKeyword(keyword):
		return &SyntaxError{"parameter", s, -1, "the keyword of a parameter has letters, digits and hyphens, and does not start with a hyphen", rfcSyntax}
	case valued && value == "":
		return &SyntaxError{"parameter", s, -1, "the value is missing behind the equals sign", rfcSyntax}
	case strings.Contains(value, "="):
		return &SyntaxError{"parameter", s, len(keyword) + 1 + strings.IndexByte(value, '='),
			"an equals sign is not allowed in a value; encode it as xtext (RFC 3461, 4)", rfcSyntax}
	}
	return nil
}

// isKeyword reports ehlo-keyword and esmtp-keyword of RFC 5321, 4.1.1.1 and 4.1.2.
func isKeyword(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && (s[i] != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// isAtext reports atext of RFC 5322, 3.2.3.
func isAtext(c byte) bool {
	return isAlnum(c) || c < 0x80 && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
