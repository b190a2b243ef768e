package smtp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The nineteenth case of the list: xtext (RFC 3461, 4).
func TestCase19_Xtext(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"QQ314159":                 "QQ314159",
		"a+b=c":                    "a+2Bb+3Dc",
		"two words":                "two+20words",
		"\x00\t\x7f~!":             "+00+09+7F~!",
		"ü":                        "+C3+BC",
		"\r\nRSET":                 "+0D+0ARSET",
		strings.Repeat("plain", 9): strings.Repeat("plain", 9),
	} {
		assert.Equal(t, want, Xtext(in), "%q", in)
		if want != "" {
			assert.NoError(t, checkParam("ENVID="+Xtext(in)), "%q", in)
		}
	}
}

func TestOriginalRecipient(t *testing.T) {
	for in, want := range map[string]string{
		"bob@example.net":       "rfc822;bob@example.net",
		"bob+list@example.net":  "rfc822;bob+2Blist@example.net",
		`"a b"@example.net`:     `rfc822;"a+20b"@example.net`,
		"postmaster":            "rfc822;postmaster",
		"jürgen@bücher.example": `utf-8;j\x{FC}rgen@b\x{FC}cher.example`,
		`"用+=\\ 户"@example.org`: `utf-8;"\x{7528}\x{2B}\x{3D}\x{5C}\x{5C}\x{20}\x{6237}"@example.org`,
	} {
		assert.Equal(t, want, OriginalRecipient(in))
		assert.NoError(t, checkParam("ORCPT="+OriginalRecipient(in)))
	}
}
