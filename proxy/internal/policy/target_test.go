package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseTarget(t *testing.T) {
	tests := []struct{ text, want string }{
		{"mx.example.net:25", "mx.example.net:25"},
		{"MX.Example.NET.:25", "mx.example.net:25"},
		{"mx.example.net:587,25,587", "mx.example.net:25,587"},
		{"*.example.org:25,587", "*.example.org:25,587"},
		{"localhost:2525", "localhost:2525"},
		{"mail_1:25", "mail_1:25"},
		{"xn--bcher-kva.example:25", "xn--bcher-kva.example:25"},
		{"127.0.0.1:2525", "127.0.0.1:2525"},
		{"[::1]:2525", "[::1]:2525"},
		{"[2001:DB8:0::1]:1,65535", "[2001:db8::1]:1,65535"},
		{"[::ffff:127.0.0.1]:25", "127.0.0.1:25"},
		{"10.0.0.5:25", "10.0.0.5:25"},
	}
	for _, tt := range tests {
		target, err := ParseTarget(tt.text)
		require.NoError(t, err, tt.text)
		assert.Equal(t, tt.want, target.String())
		again, err := ParseTarget(target.String())
		require.NoError(t, err)
		assert.Equal(t, target, again)
	}
}

func TestParseTargetErrors(t *testing.T) {
	tests := []struct{ text, says string }{
		{"", "write a host and its ports"},
		{"mx.example.net", "name the ports as well"},
		{"mx.example.net:", `"" is not a port`},
		{"mx.example.net:0", `"0" is not a port`},
		{"mx.example.net:65536", `"65536" is not a port`},
		{"mx.example.net:25,", `"" is not a port`},
		{"mx.example.net:25 587", `"25 587" is not a port`},
		{"mx.example.net:smtp", `"smtp" is not a port`},
		{"mx.example.net:-25", `"-25" is not a port`},
		{"mx.example.net:+25", `"+25" is not a port`},
		{":25", "the host is missing"},
		{"smtp://mx.example.net:25", "leave the scheme out"},
		{"10.0.0.0/8:25", "networks and paths cannot be allowed"},
		{"user@mx.example.net:25", "no scheme, no user, no path"},
		{"::1:25", "IPv6 address in brackets"},
		{"2001:db8::1", "IPv6 address in brackets"},
		{"[::1]", "name the ports as well"},
		{"[::1:25", `closing "]" is missing`},
		{"[127.0.0.1]:25", "no IPv6 address between the brackets"},
		{"[mx.example.net]:25", "no IPv6 address between the brackets"},
		{"[fe80::1%eth0]:25", "a zone cannot be used"},
		{"*:25", "--public"},
		{"*.org:25", "whole top-level domain"},
		{"*.127.0.0.1:25", "not before an address"},
		{"mx*.example.org:25", "letters, digits, hyphens and dots only"},
		{"*.*.example.org:25", "letters, digits, hyphens and dots only"},
		{"mx..example.org:25", "two dots"},
		{"-mx.example.org:25", "hyphen"},
		{"mx example.org:25", "neither spaces nor control characters"},
		{"bücher.example:25", "xn--"},
		{"127.1:25", "does not end in a number"},
		{"0x7f.0.0.0x1:25", "does not end in a number"},
		{"2130706433:25", "does not end in a number"},
		{"0177.0.0.1:25", "does not end in a number"},
		{strings.Repeat("a", 64) + ".example:25", "at most 63"},
		{strings.Repeat("a.", 127) + "aa:25", "at most 253"},
		{"0.0.0.0:25", "cannot be allowed, it is a special address (this network"},
		{"[::]:25", "cannot be allowed"},
		{"224.0.0.1:25", "cannot be allowed, it is a special address (multicast"},
		{"255.255.255.255:25", "cannot be allowed"},
		{"169.254.169.254:80", "cannot be allowed, it is a special address (metadata"},
		{"[::ffff:169.254.169.254]:80", "cannot be allowed, it is a special address (metadata"},
		{"[64:ff9b::a9fe:a9fe]:80", "cannot be allowed, it is the NAT64 form of 169.254.169.254"},
	}
	for _, tt := range tests {
		_, err := ParseTarget(tt.text)
		require.Error(t, err, tt.text)
		assert.Contains(t, err.Error(), tt.says, tt.text)
		assert.Contains(t, err.Error(), `"`+tt.text+`": `, "the error must show the entry")
	}
}

func TestTargetNames(t *testing.T) {
	tests := []struct {
		target, host string
		want         bool
	}{
		{"mx.example.net:25", "mx.example.net", true},
		{"mx.example.net:25", "MX.EXAMPLE.NET.", true},
		{"mx.example.net:25", "a.mx.example.net", false},
		{"*.example.org:25", "mx.example.org", true},
		{"*.example.org:25", "a.b.example.org", true},
		{"*.example.org:25", "example.org", false},
		{"*.example.org:25", "badexample.org", false},
		{"*.example.org:25", "mx.example.org.evil.example", false},
		{"127.0.0.1:25", "127.0.0.1", true},
		{"127.0.0.1:25", "::ffff:127.0.0.1", true},
		{"127.0.0.1:25", "::ffff:7f00:1", true},
		{"127.0.0.1:25", "127.0.0.2", false},
		{"[2001:db8::1]:25", "2001:0db8:0:0::1", true},
	}
	for _, tt := range tests {
		target, err := ParseTarget(tt.target)
		require.NoError(t, err)
		h, err := parseHost(tt.host)
		require.NoError(t, err)
		assert.Equal(t, tt.want, target.names(h), "%s names %s", tt.target, tt.host)
	}
}

func TestTargetCovers(t *testing.T) {
	target, err := ParseTarget("mx.example.net:25,587")
	require.NoError(t, err)
	assert.True(t, target.Covers("MX.example.net.", 587))
	assert.False(t, target.Covers("mx.example.net", 465))
	assert.False(t, target.Covers("mx.example.com", 25))
	assert.False(t, target.Covers("mx.example.net ", 25), "no host at all")
	assert.False(t, Target{}.Covers("", 25))
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"mx.example.net:25", "*.example.org:25,587", "[::1]:25", "127.0.0.1:2525", "a@b:1", "[::ffff:1.2.3.4]:9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err != nil {
			return
		}
		again, err := ParseTarget(target.String())
		require.NoError(t, err)
		assert.Equal(t, target, again)
		assert.NotEmpty(t, target.ports)
		if target.host.address.IsValid() {
			assert.False(t, judge(target.host.address).Never)
		}
	})
}

func FuzzParseHost(f *testing.F) {
	for _, seed := range []string{"mx.example.net", "::1", "127.1", "a\x00b", "fe80::1%lo", "user@host", strings.Repeat("a", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHost(text)
		if err != nil {
			return
		}
		assert.NotEqual(t, h.name == "", !h.address.IsValid(), "either a name or an address")
		again, err := parseHost(h.String())
		require.NoError(t, err)
		assert.Equal(t, h, again)
		assert.NotContains(t, h.name, "\x00")
		assert.LessOrEqual(t, len(h.name), 253)
	})
}
