package sasl

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// prepare is SASLprep (RFC 4013) of a query string, in which code points that Unicode 3.2
// does not know may stand. Normalisation, whose tables are large, is the caller's:
// nfkc does form KC, and without it there is ASCII only.
func prepare(what, s string, nfkc func(string) string) (string, error) {
	ascii := strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
	switch {
	case !utf8.ValidString(s):
		return "", fmt.Errorf("sasl: the %s is not UTF-8", what)
	case !ascii && nfkc == nil:
		return "", fmt.Errorf("sasl: the %s has characters beyond ASCII, which SCRAM wants normalised (RFC 4013), and this program cannot do that: choose PLAIN or LOGIN, inside TLS", what)
	case !ascii:
		s = nfkc(strings.Map(mapped, s))
	}
	if s == "" {
		return "", fmt.Errorf("sasl: nothing is left of the %s once it is prepared (RFC 4013)", what)
	}
	rightToLeft, leftToRight := false, false
	for _, r := range s {
		if in(prohibited, r) || r&0xfffe == 0xfffe {
			return "", fmt.Errorf("sasl: the %s has the character U+%04X, which SCRAM does not allow (RFC 4013, 2.3)", what, r)
		}
		rtl := in(randALCat, r)
		rightToLeft = rightToLeft || rtl
		leftToRight = leftToRight || !rtl && unicode.IsLetter(r) // LCat is nearly this (RFC 3454, D.2)
	}
	if rightToLeft {
		first, _ := utf8.DecodeRuneInString(s)
		last, _ := utf8.DecodeLastRuneInString(s)
		if leftToRight || !in(randALCat, first) || !in(randALCat, last) {
			return "", fmt.Errorf("sasl: the %s mixes letters of both writing directions, or does not begin and end with one from right to left (RFC 3454, 6)", what)
		}
	}
	return s, nil
}

// mapped are spaces to the ASCII one, and what is commonly mapped to nothing to that (RFC 4013, 2.1).
func mapped(r rune) rune {
	switch {
	case in(spaces, r):
		return ' '
	case in(nothing, r):
		return -1
	}
	return r
}

// Tables of RFC 3454, as ranges.
var (
	spaces = []rune{0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200b, 0x202f, 0x202f, 0x205f, 0x205f, 0x3000, 0x3000} // C.1.2

	nothing = []rune{0xad, 0xad, 0x34f, 0x34f, 0x1806, 0x1806, 0x180b, 0x180d, 0x200c, 0x200d, 0x2060, 0x2060, 0xfe00, 0xfe0f, 0xfeff, 0xfeff} // B.1

	// C.1.2 and C.2 to C.9; noncharacters at the end of each plane are judged apart.
	prohibited = []rune{0, 0x1f, 0x7f, 0xa0, 0x340, 0x341, 0x6dd, 0x6dd, 0x70f, 0x70f, 0x1680, 0x1680, 0x180e, 0x180e, 0x2000, 0x200f, 0x2028, 0x202f,
		0x205f, 0x2063, 0x206a, 0x206f, 0x2ff0, 0x2ffb, 0x3000, 0x3000, 0xd800, 0xf8ff, 0xfdd0, 0xfdef, 0xfeff, 0xfeff, 0xfff9, 0xfffd,
		0x1d173, 0x1d17a, 0xe0001, 0xe0001, 0xe0020, 0xe007f, 0xf0000, 0x10fffd}

	randALCat = []rune{0x5be, 0x5be, 0x5c0, 0x5c0, 0x5c3, 0x5c3, 0x5d0, 0x5ea, 0x5f0, 0x5f4, 0x61b, 0x61b, 0x61f, 0x61f, 0x621, 0x63a, 0x640, 0x64a,
		0x66d, 0x66f, 0x671, 0x6d5, 0x6dd, 0x6dd, 0x6e5, 0x6e6, 0x6fa, 0x6fe, 0x700, 0x70d, 0x710, 0x710, 0x712, 0x72c, 0x780, 0x7a5, 0x7b1, 0x7b1,
		0x200f, 0x200f, 0xfb1d, 0xfb1d, 0xfb1f, 0xfb28, 0xfb2a, 0xfb36, 0xfb38, 0xfb3c, 0xfb3e, 0xfb3e, 0xfb40, 0xfb41, 0xfb43, 0xfb44,
		0xfb46, 0xfbb1, 0xfbd3, 0xfd3d, 0xfd50, 0xfd8f, 0xfd92, 0xfdc7, 0xfdf0, 0xfdfc, 0xfe70, 0xfe74, 0xfe76, 0xfefc} // D.1
)

func in(ranges []rune, r rune) bool {
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}
