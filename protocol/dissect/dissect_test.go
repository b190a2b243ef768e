package dissect_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/book"
	"smtpscope/protocol/dissect"
	"smtpscope/protocol/trace"
)

var functions = map[string]func([]byte) []trace.Field{
	"Command":         dissect.Command,
	"Response":        plainResponse,
	"Challenge":       scramChallenge,
	"Reply":           dissect.Reply,
	"EHLOReply":       dissect.EHLOReply,
	"Record":          dissect.Record,
	"Packet":          dissect.Packet,
	"Handshake":       dissect.Handshake,
	"Message":         message,
	"Message by BDAT": func(raw []byte) []trace.Field { return dissect.Message(raw, false) },
}

func message(raw []byte) []trace.Field { return dissect.Message(raw, true) }

// check asserts what holds for every input of every function: the fields nest,
// the leaves side by side are the input, and the book explains each. It runs
// for a great many inputs, so it compares by hand and asserts only at the end.
func check(t testing.TB, raw []byte, fields []trace.Field) {
	t.Helper()
	if i, broken := violation(raw, fields); broken != "" {
		require.Fail(t, broken, "field %d of %q:\n%+v", i, raw, fields)
	}
}

func violation(raw []byte, fields []trace.Field) (int, string) {
	var open []trace.Field // the fields that enclose the next one
	var leaves int64
	end := func(f trace.Field) int64 { return f.Off + f.Len }
	unsafe := func(r rune) bool { return !strconv.IsPrint(r) }
	for i, f := range fields {
		_, known := book.Lookup(f.Book)
		switch {
		case f.Name == "":
			return i, "no name"
		case f.Off < 0 || f.Len <= 0 || end(f) > int64(len(raw)):
			return i, "empty or outside the input"
		case f.Depth < 0 || f.Depth > len(open):
			return i, "a depth is skipped"
		case strings.ContainsFunc(f.Value, unsafe):
			return i, "value not safe to show"
		case !known:
			return i, "no entry in the book"
		}
		open = open[:f.Depth]
		if f.Depth > 0 {
			if parent := open[f.Depth-1]; f.Off < parent.Off || end(f) > end(parent) {
				return i, "outside its parent"
			}
		}
		open = append(open, f)
		if i == len(fields)-1 || fields[i+1].Depth <= f.Depth {
			if f.Off != leaves {
				return i, "gap or overlap before this leaf"
			}
			leaves = end(f)
		}
	}
	switch {
	case leaves != int64(len(raw)):
		return len(fields), "the leaves are not the whole input"
	case len(fields) > 1100:
		return len(fields), "too many fields"
	}
	return 0, ""
}

// The rules above catch what they are for.
func TestViolation(t *testing.T) {
	good := []trace.Field{
		{Name: "a", Off: 0, Len: 2, Book: "field.text"},
		{Name: "b", Off: 2, Len: 2, Book: "field.text"},
		{Name: "c", Off: 2, Len: 1, Depth: 1, Book: "field.text"},
		{Name: "d", Off: 3, Len: 1, Depth: 1, Book: "field.text"},
	}
	raw := []byte("abcd")
	_, broken := violation(raw, good)
	require.Empty(t, broken)
	for want, spoil := range map[string]func(f []trace.Field) []trace.Field{
		"no name":                            func(f []trace.Field) []trace.Field { f[0].Name = ""; return f },
		"empty or outside the input":         func(f []trace.Field) []trace.Field { f[3].Len = 2; return f },
		"a depth is skipped":                 func(f []trace.Field) []trace.Field { f[2].Depth = 2; return f },
		"value not safe to show":             func(f []trace.Field) []trace.Field { f[0].Value = "\x1b"; return f },
		"no entry in the book":               func(f []trace.Field) []trace.Field { f[0].Book = "none.none"; return f },
		"outside its parent":                 func(f []trace.Field) []trace.Field { f[2].Off = 1; return f },
		"gap or overlap before this leaf":    func(f []trace.Field) []trace.Field { f[0].Len = 1; return f },
		"the leaves are not the whole input": func(f []trace.Field) []trace.Field { return f[:3] },
	} {
		_, broken := violation(raw, spoil(slices.Clone(good)))
		assert.Equal(t, want, broken)
	}
}

// outline renders fields for comparison: name, bytes, value, book entry.
func outline(raw string, fields []trace.Field) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "%s%s %q", strings.Repeat("\t", f.Depth), f.Name, raw[f.Off:f.Off+f.Len])
		if f.Value != "" {
			fmt.Fprintf(&b, " (%s)", f.Value)
		}
		fmt.Fprintf(&b, " %s\n", f.Book)
	}
	return b.String()
}

// brief is outline without the delimiters, which most cases are not about.
func brief(raw string, fields []trace.Field) string {
	var b strings.Builder
	for line := range strings.Lines(outline(raw, fields)) {
		name := strings.TrimLeft(line, "\t")
		if !strings.HasPrefix(name, "delimiter ") && !strings.HasPrefix(name, "line end ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

type example struct{ name, raw, want string }

func run(t *testing.T, f func([]byte) []trace.Field, render func(string, []trace.Field) string, examples []example) {
	t.Helper()
	for _, x := range examples {
		t.Run(x.name, func(t *testing.T) {
			fields := f([]byte(x.raw))
			check(t, []byte(x.raw), fields)
			want := strings.ReplaceAll(strings.TrimPrefix(x.want, "\n"), "\n\t\t\t", "\n")
			assert.Equal(t, strings.TrimSpace(strings.TrimPrefix(want, "\t\t\t")), strings.TrimSpace(render(x.raw, fields)))
		})
	}
}

// Every prefix of a real exchange, as it looks while it arrives or when it is
// cut off, keeps the invariants.
func TestPrefixesAndDamage(t *testing.T) {
	realHello, _, _ := handshake(t, tls.VersionTLS13)
	inputs := []string{
		"MAIL FROM:<@one.example,@two.example:\"a>b\\\" c\"@[IPv6:2001:db8::1]> SIZE=512 BODY=8BITMIME X\r\n",
		"RCPT TO:<grace@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;grace@example.net\r\n",
		"AUTH PLAIN AGFkYQBlbmdpbmU=\r\n",
		"250-mx.example.net greets [192.0.2.10]\r\n250-AUTH=PLAIN LOGIN\r\n250-SIZE 10485760\r\n250 HELP\r\n",
		"550-5.1.1 No such\r\n550 5.1.1 mailbox\r\n",
		"334 VXNlcm5hbWU6\r\n",
		smallHello,
		retryHello,
		string(realHello[0]),
		string(realHello[0][5:]),
		certificateMessage(t),
		letter,
		forwarded,
		string(synPacket()),
		string(dataPacket6()),
		string(mxAnswer),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for name, f := range functions {
		t.Run(name, func(t *testing.T) {
			for _, in := range inputs {
				for n := range len(in) + 1 {
					check(t, []byte(in[:n]), f([]byte(in[:n])))
				}
				for range 500 {
					b := []byte(in)
					for range 1 + rng.IntN(4) {
						b[rng.IntN(len(b))] = byte(rng.IntN(256))
					}
					check(t, b, f(b))
				}
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	for name, f := range functions {
		assert.Empty(t, f(nil), name)
		assert.Empty(t, f([]byte{}), name)
	}
}

// A hostile server or user must not make a line cost many times its size.
func TestHostileSizeIsBounded(t *testing.T) {
	const n = 1 << 18
	extensions := strings.Repeat("\x00\x63\x00\x00", 4000)
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00" +
		string([]byte{byte(len(extensions) >> 8), byte(len(extensions))}) + extensions
	hello := string([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}) + body
	groups := "\x00\x0a" + "\x3e\x82" + "\x3e\x80" + strings.Repeat("\x00\x1d", 8000)
	body = "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00" +
		string([]byte{byte(len(groups) >> 8), byte(len(groups))}) + groups
	suites := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x3e\x80" + strings.Repeat("\x13\x01", 8000)
	chain := "\x00" + "\x01\x00\x00" + strings.Repeat("\x00\x00\x00\x00\x00", 1<<16/5) + "\x00"
	groupsHello := string([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}) + body
	record := func(s string) string { return "\x16\x03\x01" + string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	for name, x := range map[string]struct {
		f   func([]byte) []trace.Field
		raw string
	}{
		"parameters":       {dissect.Command, "MAIL FROM:<> " + strings.Repeat("a=b ", n) + "\r\n"},
		"spaces":           {dissect.Command, "EHLO" + strings.Repeat(" ", n) + "\r\n"},
		"verb":             {dissect.Command, strings.Repeat("A", n)},
		"reply lines":      {dissect.Reply, strings.Repeat("250-2.0.0 x\r\n", n/10)},
		"empty lines":      {dissect.Reply, strings.Repeat("\n", n)},
		"EHLO parameters":  {dissect.EHLOReply, "250-x\r\n250 AUTH" + strings.Repeat(" X", n) + "\r\n"},
		"EHLO lines":       {dissect.EHLOReply, strings.Repeat("250-X\r\n", n/10)},
		"messages":         {dissect.Record, record(strings.Repeat("\x0e\x00\x00\x00", 4000))},
		"extensions":       {dissect.Record, record(hello)},
		"supported groups": {dissect.Record, record(groupsHello)},
		"suites":           {dissect.Record, record(string([]byte{1, 0, byte(len(suites) >> 8), byte(len(suites))}) + suites)},
		"certificates":     {dissect.Handshake, "\x0b\x01\x00\x04" + chain},
		"attributes":       {scramChallenge, "334 " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("r=x,", n))) + "\r\n"},
		"pairs":            {func(b []byte) []trace.Field { return dissect.Response("XOAUTH2", 0, b) }, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a=b\x01", n))) + "\r\n"},
		"header fields":    {message, strings.Repeat("X: y\r\n", n)},
		"addresses":        {message, "To: " + strings.Repeat("a@b, ", n) + "\r\n\r\n"},
		"angle brackets":   {message, "Received: " + strings.Repeat("< ", n) + "\r\n\r\n"},
		"MIME parameters":  {message, "Content-Type: a/b" + strings.Repeat("; c=d", n) + "\r\n\r\n"},
		"message ids":      {message, "References:" + strings.Repeat(" <a@b>", n) + "\r\n\r\n"},
		"dots":             {message, "\r\n" + strings.Repeat("..\r\n", n)},
		"parts":            {message, "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", n/8)},
	} {
		t.Run(name, func(t *testing.T) {
			fields := x.f([]byte(x.raw))
			check(t, []byte(x.raw), fields)
			if name != "spaces" && name != "verb" {
				left := slices.ContainsFunc(fields, func(f trace.Field) bool {
					return f.Name == "rest" && f.Book == "field.rest" && f.Len > int64(len(x.raw)/4)
				})
				assert.True(t, left, "most of the input is left whole")
			}
		})
	}
}

func fuzz(f *testing.F, fn func([]byte) []trace.Field, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		check(t, raw, fn(raw))
		require.Equal(t, before, string(raw), "the input is only read")
	})
}

func seedsOf(examples []example) []string {
	var out []string
	for _, x := range examples {
		out = append(out, x.raw)
	}
	return out
}

func FuzzCommand(f *testing.F)   { fuzz(f, dissect.Command, seedsOf(commandExamples)...) }
func FuzzReply(f *testing.F)     { fuzz(f, dissect.Reply, seedsOf(replyExamples)...) }
func FuzzEHLOReply(f *testing.F) { fuzz(f, dissect.EHLOReply, seedsOf(ehloExamples)...) }
func FuzzRecord(f *testing.F) {
	fuzz(f, dissect.Record, append(seedsOf(recordExamples), smallHello, retryHello)...)
}

func FuzzPacket(f *testing.F) {
	fuzz(f, dissect.Packet, append(seedsOf(packetExamples), string(mxAnswer))...)
}

func ExampleCommand() {
	line := "RCPT TO:<grace@example.net>\r\n"
	for _, f := range dissect.Command([]byte(line)) {
		if f.Name == "delimiter" {
			continue
		}
		value := f.Value
		if value == "" {
			value = line[f.Off : f.Off+f.Len]
		}
		fmt.Println(strconv.FormatInt(f.Off, 10)+"-"+strconv.FormatInt(f.Off+f.Len-1, 10), strings.Repeat("  ", f.Depth)+f.Name, value)
	}
	// Output:
	// 0-3 verb RCPT
	// 5-7 keyword TO:
	// 8-26 forward-path <grace@example.net>
	// 9-13   local-part grace
	// 15-25   domain example.net
	// 27-28 line end CR LF
}
