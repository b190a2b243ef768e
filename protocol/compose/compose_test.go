package compose_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/compose"
)

// A draft with all there is, and what the standard library's parsers make of it.
func TestEverything(t *testing.T) {
	picture := []byte("\x89PNG\r\n\x1a\n\x00\xff\xfe")
	notes := []byte("one\ntwo\r.\r\n\x00three " + strings.Repeat("long ", 300))
	d := compose.Draft{
		From: "Ada Lovelace <ada@example.org>", To: []string{"Grace <grace@example.net>", "bob@example.net"}, Cc: []string{`"Babbage, Ch." <ch@example.org>`},
		Subject: "The engine", Text: "Grüße,\nAda", HTML: "<p>Gr&uuml;&szlig;e,<br>Ada", Date: "2026-11-23T10:00:00+01:00", ID: "<1@example.org>",
		Attachments: []compose.Attachment{{Name: "a.png", Type: "image/png", Data: picture}, {Name: "Übersicht.txt", Type: "text/plain; charset=utf-8", Data: notes}},
	}
	m, err := compose.Compose(d)
	require.NoError(t, err)
	for name, c := range map[string]struct{ data, text, file string }{
		"data":       {m.Data, "quoted-printable", "base64"},
		"8bitmime":   {m.Alternatives.EightBit, "8bit", "base64"},
		"binarymime": {m.Alternatives.Binary, "8bit", "binary"},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, c.data)
			assert.Equal(t, "The engine", got.subject)
			assert.Equal(t, []string{`"Ada Lovelace" <ada@example.org>`}, got.addresses["From"])
			assert.Equal(t, []string{`"Grace" <grace@example.net>`, "<bob@example.net>"}, got.addresses["To"])
			assert.Equal(t, []string{`"Babbage, Ch." <ch@example.org>`}, got.addresses["Cc"])
			assert.Equal(t, "2026-11-23T10:00:00+01:00", got.date)
			assert.Equal(t, "<1@example.org>", got.id)
			assert.Equal(t, []leaf{
				{path: "mixed/alternative", mediaType: "text/plain", charset: "utf-8", encoding: c.text, content: "Grüße,\r\nAda\r\n"},
				{path: "mixed/alternative", mediaType: "text/html", charset: "us-ascii", encoding: "7bit", content: "<p>Gr&uuml;&szlig;e,<br>Ada\r\n"},
				{path: "mixed", mediaType: "image/png", encoding: "base64", file: "a.png", content: string(picture)}, // no plan can hold these octets
				{path: "mixed", mediaType: "text/plain", charset: "utf-8", encoding: c.file, file: "Übersicht.txt", content: string(notes)},
			}, got.leaves)
			if name != "binarymime" {
				checkLines(t, c.data)
			}
			assert.Equal(t, name == "data", isASCII(c.data))
		})
	}
}

func TestShapes(t *testing.T) {
	file := compose.Attachment{Data: []byte("x")}
	for name, c := range map[string]struct {
		edit func(*compose.Draft)
		want []leaf
	}{
		"text":          {func(d *compose.Draft) { d.Text = "a\rb\r\nc" }, []leaf{{mediaType: "text/plain", charset: "us-ascii", encoding: "7bit", content: "a\r\nb\r\nc\r\n"}}},
		"nothing":       {func(*compose.Draft) {}, []leaf{{mediaType: "text/plain", charset: "us-ascii", encoding: "7bit"}}},
		"HTML":          {func(d *compose.Draft) { d.HTML = "<p>" }, []leaf{{mediaType: "text/html", charset: "us-ascii", encoding: "7bit", content: "<p>\r\n"}}},
		"a file":        {func(d *compose.Draft) { d.Attachments = []compose.Attachment{file} }, []leaf{{path: "mixed", mediaType: "application/octet-stream", encoding: "base64", content: "x"}}},
		"an empty file": {func(d *compose.Draft) { d.Attachments = []compose.Attachment{{Name: "e"}} }, []leaf{{path: "mixed", mediaType: "application/octet-stream", encoding: "base64", file: "e"}}},
		"a message as a file": {func(d *compose.Draft) {
			d.Attachments = []compose.Attachment{{Type: "message/rfc822", Data: []byte("x")}}
		}, []leaf{{path: "mixed", mediaType: "application/octet-stream", encoding: "base64", content: "x"}}},
		"lines that are too long": {func(d *compose.Draft) { d.Text = strings.Repeat("x", 999) },
			[]leaf{{mediaType: "text/plain", charset: "us-ascii", encoding: "quoted-printable", content: strings.Repeat("x", 999) + "\r\n"}}},
		"lines that are just not": {func(d *compose.Draft) { d.Text = strings.Repeat("x", 998) },
			[]leaf{{mediaType: "text/plain", charset: "us-ascii", encoding: "7bit", content: strings.Repeat("x", 998) + "\r\n"}}},
		"text without ASCII": {func(d *compose.Draft) { d.Text = "привет" }, []leaf{{mediaType: "text/plain", charset: "utf-8", encoding: "base64", content: "привет\r\n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := draft()
			c.edit(&d)
			m, err := compose.Compose(d)
			require.NoError(t, err)
			assert.Equal(t, c.want, read(t, m.Data).leaves)
			checkLines(t, m.Data)
			again, err := compose.Compose(d)
			require.NoError(t, err)
			assert.Equal(t, m, again, "the same draft is the same message")
		})
	}
}

// What a plain message has nothing to gain from is not there.
func TestAlternativesOnlyWhereTheyDiffer(t *testing.T) {
	for text, want := range map[string][]bool{
		"plain": {false, false}, "Grüße": {true, false}, strings.Repeat("x", 2000): {false, true}, "ü" + strings.Repeat("x", 2000): {false, true},
	} {
		d := draft()
		d.Text = text
		m, err := compose.Compose(d)
		require.NoError(t, err)
		assert.Equal(t, want, []bool{m.Alternatives.EightBit != "", m.Alternatives.Binary != ""}, "%.20q", text)
	}
}

func TestHeaderFields(t *testing.T) {
	for _, text := range []string{
		"plain", "Grüße aus Köln", "a  b", " edges ", strings.Repeat("word ", 60) + ".", strings.Repeat("x", 2000), strings.Repeat("ü", 300), "=?utf-8?q?not?=", "🙂", "tail ",
	} {
		for _, from := range []string{"ada@example.org", "дженни@почта.рф"} {
			d := draft()
			d.Subject, d.From = text, from
			m, err := compose.Compose(d)
			require.NoError(t, err, text)
			got := read(t, m.Data)
			assert.Equal(t, text, got.subject)
			assert.Equal(t, []string{"<" + from + ">"}, got.addresses["From"])
			checkLines(t, m.Data)
			assert.Equal(t, isASCII(from), isASCII(m.Data), "UTF-8 only where an address asks for it")
		}
	}
	for _, name := range []string{"Ada", "Ada Lovelace", `Ada "the engine" \ Lovelace`, "Gräfin Ada", "a,b", "a  b", strings.Repeat("long ", 30) + "name", "Ada (countess)", "日本語"} {
		for _, at := range []string{"a@example.org", "é@example.org"} {
			d := draft()
			address := mail.Address{Name: name, Address: at}
			d.To = []string{address.String(), "x@example.org"}
			m, err := compose.Compose(d)
			require.NoError(t, err, name)
			assert.Equal(t, []string{address.String(), "<x@example.org>"}, read(t, m.Data).addresses["To"])
			checkLines(t, m.Data)
		}
	}
}

func TestErrorsNameTheFieldAndWhatToDo(t *testing.T) {
	for want, edit := range map[string]func(*compose.Draft){
		`from: missing`:                  func(d *compose.Draft) { d.From = " " },
		`from: "ada" is not an address`:  func(d *compose.Draft) { d.From = "ada" },
		`to: "a@b, c@d" is not an`:       func(d *compose.Draft) { d.To = []string{"x@example.org", "a@b, c@d"} },
		`to: "" is not an address`:       func(d *compose.Draft) { d.To = []string{""} },
		`cc: "<>" is not an address`:     func(d *compose.Draft) { d.Cc = []string{"<>"} },
		`subject: it has a line break`:   func(d *compose.Draft) { d.Subject = "a\r\nBcc: eve@example.org" },
		`date: missing`:                  func(d *compose.Draft) { d.Date = "" },
		`date: "today" is not a time`:    func(d *compose.Draft) { d.Date = "today" },
		`id: "x" is not a Message-ID`:    func(d *compose.Draft) { d.ID = "x" },
		`id: "a@b>\r\nX: y"`:             func(d *compose.Draft) { d.ID = "a@b>\r\nX: y" },
		`attachments: the name "a\nb"`:   func(d *compose.Draft) { d.Attachments = []compose.Attachment{{Name: "a\nb"}} },
		`attachments: "png" is not a me`: func(d *compose.Draft) { d.Attachments = []compose.Attachment{{Type: "png"}} },
		`attachments: "a/b; c" is not`:   func(d *compose.Draft) { d.Attachments = []compose.Attachment{{Type: "a/b; c"}} },
	} {
		d := draft()
		edit(&d)
		_, err := compose.Compose(d)
		if assert.Error(t, err, want) {
			assert.True(t, strings.HasPrefix(err.Error(), want), "%s: got %s", want, err)
		}
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("Ada <ada@example.org>", "grace@example.net", "Grüße", "text\r.\n..", "<p>", "a.png", "image/png", []byte{0, 255})
	f.Add(`"a\"b" <é@example.org>`, "x@y", "=?utf-8?q?=", "\x00", "", "..", "", []byte("--=_"))
	f.Fuzz(func(t *testing.T, from, to, subject, text, html, name, mediaType string, file []byte) {
		for _, s := range []string{from, to, subject, text, html, name, mediaType} {
			if !utf8.ValidString(s) {
				t.Skip("JSON has none")
			}
		}
		d := draft()
		d.From, d.To, d.Subject, d.Text, d.HTML = from, []string{to}, subject, text, html
		d.Attachments = []compose.Attachment{{Name: name, Type: mediaType, Data: file}}
		m, err := compose.Compose(d)
		if err != nil {
			return
		}
		checkLines(t, m.Data)
		for _, data := range []string{m.Data, m.Alternatives.EightBit, m.Alternatives.Binary} {
			if data == "" {
				continue
			}
			got := read(t, data)
			assert.Equal(t, subject, got.subject)
			last := got.leaves[len(got.leaves)-1]
			assert.Equal(t, string(file), last.content)
			assert.True(t, utf8.ValidString(data), "a plan is JSON")
			for _, key := range []string{"From", "To"} {
				assert.Len(t, got.addresses[key], 1)
			}
		}
	})
}

func draft() compose.Draft {
	return compose.Draft{From: "ada@example.org", To: []string{"grace@example.net"}, Date: "2026-11-23T10:00:00Z"}
}

// received is what parsers that are not ours find in a message.
type received struct {
	subject, date, id string
	addresses         map[string][]string
	leaves            []leaf
}

type leaf struct{ path, mediaType, charset, encoding, file, content string }

func read(t *testing.T, data string) (r received) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(data))
	require.NoError(t, err)
	words := new(mime.WordDecoder)
	r.subject, err = words.DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	date, err := m.Header.Date()
	require.NoError(t, err)
	r.date, r.id = date.Format("2006-01-02T15:04:05Z07:00"), m.Header.Get("Message-ID")
	assert.Equal(t, "1.0", m.Header.Get("MIME-Version"))
	r.addresses = map[string][]string{}
	for _, key := range []string{"From", "To", "Cc"} {
		if m.Header.Get(key) == "" {
			continue
		}
		list, err := m.Header.AddressList(key)
		require.NoError(t, err, "%s: %s", key, m.Header.Get(key))
		for _, a := range list {
			r.addresses[key] = append(r.addresses[key], a.String())
		}
	}
	r.part(t, "", m.Header.Get, m.Body)
	return r
}

func (r *received) part(t *testing.T, path string, header func(string) string, body io.Reader) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(header("Content-Type"))
	require.NoError(t, err, header("Content-Type"))
	if sub, ok := strings.CutPrefix(kind, "multipart/"); ok {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if err == io.EOF {
				return
			}
			require.NoError(t, err)
			r.part(t, strings.TrimPrefix(path+"/"+sub, "/"), p.Header.Get, p)
		}
	}
	l := leaf{path: path, mediaType: kind, charset: params["charset"], encoding: header("Content-Transfer-Encoding")}
	switch l.encoding {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	content, err := io.ReadAll(body)
	require.NoError(t, err)
	l.content = string(content)
	if disposition := header("Content-Disposition"); disposition != "" {
		_, params, err := mime.ParseMediaType(disposition)
		require.NoError(t, err)
		l.file = params["filename"]
	}
	r.leaves = append(r.leaves, l)
}

// checkLines holds a message against RFC 5322, 2.1.1 and 2.3.
func checkLines(t *testing.T, data string) {
	t.Helper()
	assert.NotContains(t, data, "\x00")
	lines := bytes.Split([]byte(data), []byte("\r\n"))
	for i, line := range lines {
		assert.LessOrEqual(t, len(line), 998, "line %d", i+1)
		assert.False(t, bytes.ContainsAny(line, "\r\n"), "line %d has half a line end: %.80q", i+1, line)
	}
	head, _, _ := strings.Cut(data, "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n") {
		assert.NotEmpty(t, strings.TrimSpace(line), "a header line of nothing but spaces ends the header for some")
	}
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r > 127 }) < 0
}
