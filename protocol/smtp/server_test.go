package smtp

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCase10_MaxSize(t *testing.T) {
	for _, test := range []struct {
		line string
		max  int64
		ok   bool
	}{
		{"HELP", 0, false},
		{"SIZE", 0, false},
		{"SIZE 0", 0, true},
		{"SIZE 10240000", 10240000, true},
		{"size 5 6", 5, true},
		{"SIZE 9223372036854775807", math.MaxInt64, true},
		{"SIZE 9223372036854775808", math.MaxInt64, true},
		{"SIZE 99999999999999999999", math.MaxInt64, true},
		{"SIZE -1", 0, false},
		{"SIZE +1", 0, false},
		{"SIZE 10M", 0, false},
		{"SIZE  7", 7, true},
	} {
		var s Server
		assert.True(t, s.introduce([]string{"mx", test.line}))
		n, ok := s.MaxSize()
		assert.Equal(t, test.max, n, test.line)
		assert.Equal(t, test.ok, ok, test.line)
	}
}

func TestExtensions(t *testing.T) {
	for line, want := range map[string]Extension{
		"8BITMIME":          {"8BITMIME", []string{}},
		"pipelining":        {"PIPELINING", []string{}},
		"X-Thing  a  b= ":   {"X-THING", []string{"a", "b="}},
		"AUTH=LOGIN PLAIN":  {"AUTH", []string{"LOGIN", "PLAIN"}},
		"auth=":             {"AUTH", []string{}},
		"AUTH= LOGIN":       {"AUTH", []string{"LOGIN"}},
		"AUTH":              {"AUTH", []string{}},
		"XXXXXXXA":          {"XXXXXXXA", []string{}},
		"LIMITS RCPTMAX=20": {"LIMITS", []string{"RCPTMAX=20"}},
	} {
		got, ok := parseExtension(line)
		assert.True(t, ok, line)
		assert.Equal(t, want, got, line)
	}
	for _, line := range []string{"", "  ", "SIZE=10", "-X", "X Y\tZ", "X\x00", "X \x1b", "X \u00e9", "S\u00cfZE", "X_Y"} {
		_, ok := parseExtension(line)
		assert.False(t, ok, "%q", line)
	}
}

func TestServerIsASnapshot(t *testing.T) {
	c, _ := run(t, ready, 0, whole)
	before := c.Server()
	assert.Equal(t, "mx.example.net ESMTP", before.Greeting.Lines[0])
	assert.Equal(t, "mx.example.net", before.Domain)
	assert.Len(t, before.Extensions, 8)
	c, _ = run(t, append(ready[:len(ready):len(ready)], must(Ehlo("")), "250 other\r\n"), 0, whole)
	assert.Equal(t, "other", c.Server().Domain)
	assert.Empty(t, c.Server().Extensions)
	assert.NotNil(t, c.Server().Greeting)
	assert.Len(t, before.Extensions, 8)
	// A refused EHLO leaves things as they are (RFC 5321, 4.1.4).
	c, _ = run(t, append(ready[:len(ready):len(ready)], must(Ehlo("")), "550 no\r\n"), 0, whole)
	assert.Equal(t, "mx.example.net", c.Server().Domain)
}

func TestLimits(t *testing.T) {
	for line, want := range map[string]Limits{
		"LIMITS": {},
		"LIMITS RCPTMAX=100 MAILMAX=1 RCPTDOMAINMAX=999999": {1, 100, 999999},
		"limits rcptmax=5":             {0, 5, 0},
		"LIMITS X-NEW_1=a,b RCPTMAX=5": {0, 5, 0},
		// A syntax error drops all of it.
		"LIMITS RCPTMAX=5 MAILMAX":         {},
		"LIMITS RCPTMAX=5 MAILMAX=":        {},
		"LIMITS RCPTMAX=5 =1":              {},
		"LIMITS RCPTMAX=5 MAILMAX=0":       {},
		"LIMITS RCPTMAX=5 MAILMAX=01":      {},
		"LIMITS RCPTMAX=5 MAILMAX=-1":      {},
		"LIMITS RCPTMAX=5 MAILMAX=+1":      {},
		"LIMITS RCPTMAX=5 MAILMAX=1000000": {},
		"LIMITS RCPTMAX=5 MAILMAX=many":    {},
		"LIMITS RCPTMAX=5 MAIL!MAX=1":      {},
		"SIZE RCPTMAX=5":                   {},
	} {
		s := new(Server)
		s.introduce([]string{"mx", line})
		assert.Equal(t, want, s.Limits(), line)
	}
}
