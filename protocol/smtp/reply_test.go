package smtp

import (
	"bufio"
	"bytes"
	"net/textproto"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parse feeds one reply in pieces.
func parse(p *replyParser, pieces []string) (n int, done bool, bad *violation) {
	for _, piece := range pieces {
		var m int
		m, done, bad = p.feed([]byte(piece))
		n += m
		if done || bad != nil {
			break
		}
	}
	return n, done, bad
}

func TestReplyAccepted(t *testing.T) {
	for _, test := range []struct {
		in    string
		lines []string
		odd   []Oddity
	}{
		{"250 ok\r\n", []string{"ok"}, nil},
		{"250  two spaces \r\n", []string{" two spaces "}, nil},
		{"250-\r\n250-234 Text beginning with numbers\r\n250 The last line\r\n", []string{"", "234 Text beginning with numbers", "The last line"}, nil},
		{"250 a\tb\r\n", []string{"a\tb"}, nil},
		{"250 ok\n", []string{"ok"}, []Oddity{OddityBareLF}},
		{"250\n", []string{""}, []Oddity{OddityBareLF}},
		{"250 a\rb\r\n", []string{"a\rb"}, []Oddity{OddityBareCR}},
		{"250 a\r\r\n", []string{"a\r"}, []Oddity{OddityBareCR}},
		{"250\r\r\n", []string{"\r"}, []Oddity{OddityBareCR, OddityNoSeparator}},
		{"250ok\r\n", []string{"ok"}, []Oddity{OddityNoSeparator}},
		{"250-a\n250ok\r\n", []string{"a", "ok"}, []Oddity{OddityBareLF, OddityNoSeparator}},
		{"299 odd\r\n", []string{"odd"}, []Oddity{OddityCodeRange}},
		{"250 \x07\r\n", []string{"\x07"}, []Oddity{OddityControl}},
		{"250 \x7f\r\n", []string{"\x7f"}, []Oddity{OddityControl}},
		{"250 \xe2\x82\xac\r\n", []string{"€"}, []Oddity{OddityNonASCII}},
		{"250 \xff\r\n", []string{"\xff"}, []Oddity{OddityNonASCII}},
		{"250-\x16\x03\r\n250 \x17\x03\r\n", []string{"\x16\x03", "\x17\x03"}, []Oddity{OddityControl}},
	} {
		for _, split := range []splitting{whole, bytewise, randomly(7)} {
			var p replyParser
			n, done, bad := parse(&p, split(test.in))
			require.Nil(t, bad, "%q", test.in)
			require.True(t, done, "%q", test.in)
			assert.Equal(t, len(test.in), n)
			assert.False(t, p.idle())
			assert.Equal(t, &Reply{Code: int(test.in[0]-'0')*100 + int(test.in[1]-'0')*10 + int(test.in[2]-'0'), Lines: test.lines, Oddities: test.odd}, taken(&p), "%q", test.in)
			assert.True(t, p.idle())
		}
	}
}

func TestReplyRefused(t *testing.T) {
	for _, test := range []struct {
		in    string
		cause Cause
		at    int
	}{
		{"\r\n", CauseNotReply, 0},
		{"\n", CauseNotReply, 0},
		{"25\r\n", CauseNotReply, 0},
		{"2x0 ok\r\n", CauseNotReply, 0},
		{" 250 ok\r\n", CauseNotReply, 0},
		{"150 ftp\r\n", CauseNotReply, 0},
		{"050 no\r\n", CauseNotReply, 0},
		{"650 no\r\n", CauseNotReply, 0},
		{"2500 no\r\n", CauseNotReply, 0},
		{"* OK IMAP4rev1\r\n", CauseNotReply, 0},
		{"+OK POP3\r\n", CauseNotReply, 0},
		{"HTTP/1.1 400 Bad Request\r\n", CauseNotReply, 0},
		{"250-a\r\nb\r\n", CauseNotReply, 7},
		{"250-a\r\n\r\n", CauseNotReply, 7},
		{"250-a\r\n251 b\r\n", CauseMixedCodes, 7},
		{"250-a\r\n251-b\r\n", CauseMixedCodes, 7},
		{"\x15\x03\x03\x00\x02\x02\x46", CauseTLS, 0},
		{"\x16\x03\x01\x02\x00\x01\n", CauseTLS, 0},
		{"\x15\x02\n", CauseNotReply, 0},
		{"\x15\n", CauseNotReply, 0},
	} {
		for _, split := range []splitting{whole, bytewise, randomly(7)} {
			var p replyParser
			_, done, bad := parse(&p, split(test.in))
			require.NotNil(t, bad, "%q", test.in)
			assert.False(t, done)
			assert.Equal(t, test.cause, bad.cause, "%q", test.in)
			assert.Equal(t, test.at, bad.at, "%q", test.in)
			assert.Equal(t, Escape(bad.reason), bad.reason, "reasons can be shown")
		}
	}
}

func TestReplyStopsAtItsEnd(t *testing.T) {
	var p replyParser
	n, done, bad := p.feed([]byte("250-a\r\n250 b\r\n550 c\r\n"))
	require.Nil(t, bad)
	assert.True(t, done)
	assert.Equal(t, len("250-a\r\n250 b\r\n"), n)
}

func TestTakenReplyKeepsItsText(t *testing.T) {
	var p replyParser
	parse(&p, []string{"250-first\r\n250 reply\r\n"})
	r := taken(&p)
	parse(&p, []string{"550-other\r\n550 words\r\n"})
	assert.Equal(t, []string{"first", "reply"}, r.Lines)
}

func TestReplyClasses(t *testing.T) {
	for code, want := range map[int][4]bool{250: {true}, 354: {1: true}, 450: {2: true}, 550: {3: true}} {
		r := &Reply{Code: code}
		assert.Equal(t, want, [4]bool{r.Positive(), r.Intermediate(), r.Temporary(), r.Permanent()}, code)
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"plain text ~":          "plain text ~",
		`back\slash "quotes"`:   `back\slash "quotes"`,
		"tab\there":             `tab\there`,
		"\x1b[2Jcls":            `\x1b[2Jcls`,
		"a\r\nb\x00c\x7f":       `a\x0d\x0ab\x00c\x7f`,
		"café":                  "café",
		"日本":                    "日本",
		"\xff\xc3":              `\xff\xc3`,
		"\u009b31m":             `\u009b31m`, // CSI as a single character
		"a\u202eb\u2066":        `a\u202eb\u2066`,
		"zero\u200bwidth\ufeff": `zero\u200bwidth\ufeff`,
		"\u2028":                `\u2028`,
		"\U000e0041":            `\U000e0041`, // tag characters
		"\ufffd":                "\ufffd",
		"nbsp\u00a0":            `nbsp\u00a0`,
	} {
		assert.Equal(t, want, Escape(in), "%q", in)
	}
}

// taken is the reply that is complete.
func taken(p *replyParser) *Reply {
	r := &struct {
		Reply
		line [1]string
	}{}
	p.take(&r.Reply, r.line[:])
	return &r.Reply
}

func TestFeedingCostsNoAllocation(t *testing.T) {
	reply := []byte("250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
	var p replyParser
	allocs := testing.AllocsPerRun(100, func() {
		if _, done, _ := p.feed(reply); !done {
			t.Fatal("not done")
		}
		p.buf, p.texts, p.line = p.buf[:0], p.texts[:0], 0
	})
	assert.Zero(t, allocs)

	// Taking it costs the Reply, its lines and one string, however many lines it has.
	allocs = testing.AllocsPerRun(100, func() {
		p.feed(reply)
		taken(&p)
	})
	assert.LessOrEqual(t, allocs, 3.0)
}

// Side by side with net/textproto, by which net/smtp and go-smtp read replies.
func BenchmarkReply(b *testing.B) {
	for _, bench := range []struct {
		name  string
		reply string
	}{
		{"line", "250 2.1.5 Recipient ok, go on with the next one\r\n"},
		{"EHLO", "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n"},
		{"100 lines", strings.Repeat("250-2.1.5 Recipient ok, go on with the next one\r\n", 99) + "250 2.1.5 done\r\n"},
	} {
		b.Run(bench.name+"/smtpscope", func(b *testing.B) {
			reply := []byte(bench.reply)
			var p replyParser
			b.SetBytes(int64(len(reply)))
			b.ReportAllocs()
			for b.Loop() {
				if _, done, _ := p.feed(reply); !done {
					b.Fatal("not done")
				}
				taken(&p).readEnhanced()
			}
		})
		b.Run(bench.name+"/textproto", func(b *testing.B) {
			r := textproto.NewReader(bufio.NewReader(&endless{text: bench.reply}))
			b.SetBytes(int64(len(bench.reply)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.ReadResponse(250); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// endless is a text that is read over and over.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"250 ok\r\n", "250-a\r\n250 b\r\n", "250\r\n", "250x\n", "250-a\r\n550 b\r\n", "\x16\x03\x01", "HTTP/1.1 400\r\n", "250 \x1b\xff\r\n", "250-\r\r\n250-\n",
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		var one, two replyParser
		n1, done1, bad1 := one.feed(in)
		n2, done2, bad2 := parse(&two, randomly(seed)(string(in)))
		require.Equal(t, done1, done2)
		require.Equal(t, bad1, bad2, "what is wrong does not depend on the split")
		if bad1 == nil {
			require.Equal(t, n1, n2)
		} else {
			require.Equal(t, Escape(bad1.reason), bad1.reason)
		}
		require.LessOrEqual(t, len(one.buf), MaxReply+2*MaxReplyLine)
		require.LessOrEqual(t, len(one.texts), MaxReplyLines)
		if !done1 {
			if bad1 == nil {
				require.Equal(t, len(in), n1, "all is taken while nothing is wrong")
			}
			return
		}
		r := taken(&one)
		require.Equal(t, r, taken(&two))
		require.Equal(t, bytes.Count(in[:n1], []byte("\n")), len(r.Lines))
		require.True(t, 200 <= r.Code && r.Code <= 599)
		for _, l := range r.EscapedLines() {
			require.True(t, utf8.ValidString(l))
			require.False(t, strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r == 0x7f }))
			require.Equal(t, l, Escape(l))
		}
	})
}
