// Package compose writes a message (RFC 5322, MIME) from what a person fills in:
// addresses, a subject, text, HTML and attachments.
//
// It knows no envelope and no server: it writes the message in the encodings that
// servers differ in, and whoever sends it chooses.
package compose

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/textproto"
)

// Draft is what a person fills in. From and Date are required (RFC 5322, 3.6).
type Draft struct {
	From        string       `json:"from"` // "Ada <ada@example.org>"
	To          []string     `json:"to"`
	Cc          []string     `json:"cc"`
	Subject     string       `json:"subject"`
	Text        string       `json:"text"`
	HTML        string       `json:"html"` // besides Text, as another form of it
	Attachments []Attachment `json:"attachments"`
	Date        string       `json:"date"` // RFC 3339
	ID          string       `json:"id"`   // Message-ID, with or without its angle brackets
}

// Attachment is a file.
type Attachment struct {
	Name string `json:"name"`
	Type string `json:"type"` // media type, default "application/octet-stream"
	Data []byte `json:"-"`
}

// Message is a draft as RFC 5322 text.
type Message struct {
	// Data needs no extension, unless an address has characters beyond ASCII:
	// then its header does, and needs SMTPUTF8 (RFC 6532).
	Data         string
	Alternatives Alternatives
}

// Alternatives are the same message in encodings that need an extension, each ""
// where it would not differ.
type Alternatives struct {
	EightBit string // text as it is (RFC 6152)
	Binary   string // attachments as they are, too (RFC 3030)
}

// transport is what a way to send a message lets pass.
type transport int

const (
	sevenBit transport = iota
	eightBit
	binary
)

// maxLine is the length of the longest line without its CRLF (RFC 5322, 2.1.1).
const maxLine = 998

// Compose writes a message. An error begins with the name of the field that is to
// be mended.
func Compose(d Draft) (*Message, error) {
	fields, err := d.header()
	if err != nil {
		return nil, err
	}
	content, err := d.content()
	if err != nil {
		return nil, err
	}
	var m Message
	if m.Data, err = write(fields, content, sevenBit); err != nil {
		return nil, err
	}
	if content.differs(sevenBit, eightBit) {
		if m.Alternatives.EightBit, err = write(fields, content, eightBit); err != nil {
			return nil, err
		}
	}
	if content.differs(eightBit, binary) {
		if m.Alternatives.Binary, err = write(fields, content, binary); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

// field is one of a header.
type field struct{ name, value string }

// header is what the header says of the message, besides its content.
func (d Draft) header() (fields []field, err error) {
	if strings.TrimSpace(d.From) == "" {
		return nil, errors.New("from: missing; a message says who wrote it (RFC 5322, 3.6.2)")
	}
	var lists [3][]*mail.Address
	raw := false // the header has UTF-8 anyway
	for i, texts := range [][]string{{d.From}, d.To, d.Cc} {
		name := []string{"from", "to", "cc"}[i]
		for _, text := range texts {
			a, err := mail.ParseAddress(text)
			switch {
			case err != nil:
				return nil, fmt.Errorf("%s: %q is not an address; write it like ada@example.org or Ada Lovelace <ada@example.org>", name, text)
			case hasControl(a.Name) || hasControl(a.Address):
				return nil, fmt.Errorf("%s: %q has a control character; leave it out", name, text)
			case len(a.Address) > maxLine/2:
				return nil, fmt.Errorf("%s: %.40q... is longer than an address can be (RFC 5321, 4.5.3.1)", name, text)
			}
			lists[i] = append(lists[i], a)
			raw = raw || !isASCII(a.Address)
		}
	}
	for i, list := range lists {
		var all []string
		for _, a := range list {
			all = append(all, address(a, raw))
		}
		if len(all) > 0 {
			fields = append(fields, field{[]string{"From", "To", "Cc"}[i], strings.Join(all, ", ")})
		}
	}
	if hasControl(d.Subject) {
		return nil, errors.New("subject: it has a line break or another control character; leave it out")
	}
	if d.Subject != "" {
		fields = append(fields, field{"Subject", unstructured(d.Subject, raw)})
	}
	if d.Date == "" {
		return nil, errors.New("date: missing; a message says when it was written (RFC 5322, 3.6.1)")
	}
	date, err := time.Parse(time.RFC3339, d.Date)
	if err != nil {
		return nil, fmt.Errorf(`date: %q is not a time; write it like "2026-11-23T10:00:00Z"`, d.Date)
	}
	fields = append(fields, field{"Date", date.Format("Mon, 02 Jan 2006 15:04:05 -0700")})
	id := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(d.ID), "<"), ">")
	if left, right, _ := strings.Cut(id, "@"); id != "" && (left == "" || right == "" || len(id) > maxLine/2 || strings.ContainsAny(id, "<> \t") || hasControl(id)) {
		return nil, fmt.Errorf("id: %q is not a Message-ID; write it like 20261123.1@example.org (RFC 5322, 3.6.4)", d.ID)
	}
	if id != "" {
		fields = append(fields, field{"Message-ID", "<" + id + ">"})
	}
	return append(fields, field{"MIME-Version", "1.0"}), nil
}

// maxWord is the longest run without a space that a header field shows as it is:
// where a line is folded, there must be one (RFC 5322, 2.2.3).
const maxWord = 60

// unstructured is the value of a field such as Subject: as it is, or in encoded
// words (RFC 2047).
func unstructured(text string, raw bool) string {
	longest, spaces := 0, 0
	for _, word := range strings.Split(text, " ") {
		longest = max(longest, len(word))
		if word == "" {
			spaces++ // a run of spaces would not survive folding
		}
	}
	if (raw || isASCII(text)) && longest <= maxWord && spaces == 0 && !strings.Contains(text, "=?") {
		return text
	}
	return encodedWords(text)
}

// encodedWords encodes all of a text, also what could stand as it is.
func encodedWords(text string) string {
	const room = 75 - len("=?utf-8?q??=") // RFC 2047, 2
	form, encode := "b", base64.StdEncoding.EncodeToString
	if quotable([]byte(text)) {
		form, encode = "q", q
	}
	var words []string
	word := ""
	for _, r := range text {
		if len(encode([]byte(word+string(r)))) > room {
			words, word = append(words, word), ""
		}
		word += string(r)
	}
	words = append(words, word)
	for i, w := range words {
		words[i] = "=?utf-8?" + form + "?" + encode([]byte(w)) + "?="
	}
	return strings.Join(words, " ")
}

// q is the encoding of that name (RFC 2047, 4.2), fit for a phrase too.
func q(b []byte) string {
	var out strings.Builder
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
			out.WriteByte(c)
		case c == ' ':
			out.WriteByte('_')
		default:
			fmt.Fprintf(&out, "=%02X", c)
		}
	}
	return out.String()
}

// address is a mailbox as a header has it (RFC 5322, 3.4).
func address(a *mail.Address, raw bool) string {
	plain := (&mail.Address{Address: a.Address}).String()
	switch {
	case a.Name == "":
		return strings.TrimSuffix(strings.TrimPrefix(plain, "<"), ">")
	case (raw || isASCII(a.Name)) && len(a.Name) <= maxWord:
		return quoted(a.Name) + " " + plain
	}
	return encodedWords(a.Name) + " " + plain
}

func quoted(text string) string {
	word := func(r rune) bool { return r == ' ' || unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' }
	if strings.IndexFunc(text, func(r rune) bool { return !word(r) }) < 0 && !strings.Contains(text, "  ") && strings.TrimSpace(text) == text {
		return text
	}
	text = strings.ReplaceAll(text, `\`, `\\`)
	return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
}

// part is a leaf of the message, or parts under one roof.
type part struct {
	multipart string // "mixed" or "alternative"; "" for a leaf
	parts     []*part

	mediaType, disposition string
	text                   bool // lines, whose ends are CRLF
	octets                 []byte
	base64                 []byte // what they are in that encoding, once that was asked for
}

func (d Draft) content() (*part, error) {
	var forms []*part
	if d.Text != "" || d.HTML == "" && len(d.Attachments) == 0 {
		forms = append(forms, textPart("plain", d.Text))
	}
	if d.HTML != "" {
		forms = append(forms, textPart("html", d.HTML))
	}
	body := together("alternative", forms)
	if len(d.Attachments) == 0 {
		return body, nil
	}
	var all []*part
	if body != nil {
		all = append(all, body)
	}
	for _, a := range d.Attachments {
		p, err := a.part()
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return &part{multipart: "mixed", parts: all}, nil
}

// together is one part, or several as a multipart; nil for none.
func together(multipart string, parts []*part) *part {
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	return &part{multipart: multipart, parts: parts}
}

func textPart(subtype, text string) *part {
	charset := "us-ascii"
	if !isASCII(text) {
		charset = "utf-8"
	}
	text = crlf(text)
	if text != "" && !strings.HasSuffix(text, "\r\n") {
		text += "\r\n"
	}
	return &part{mediaType: "text/" + subtype + "; charset=" + charset, text: true, octets: []byte(text)}
}

// crlf makes CR, LF and CRLF alike CRLF.
func crlf(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	return strings.ReplaceAll(text, "\n", "\r\n")
}

func (a Attachment) part() (*part, error) {
	if hasControl(a.Name) {
		return nil, fmt.Errorf("attachments: the name %q has a control character; rename the file", a.Name)
	}
	mediaType := a.Type
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	kind, params, err := mime.ParseMediaType(mediaType)
	if err != nil || !strings.Contains(kind, "/") {
		return nil, fmt.Errorf(`attachments: %q is not a media type; write it like "image/png"`, a.Type)
	}
	// These must not be encoded (RFC 2045, 6.4).
	if strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "message/") {
		kind, params = "application/octet-stream", nil
	}
	p := &part{mediaType: mime.FormatMediaType(kind, params), disposition: "attachment", octets: a.Data}
	if a.Name != "" {
		p.disposition = mime.FormatMediaType("attachment", map[string]string{"filename": a.Name}) // RFC 2231 where it needs it
	}
	if p.mediaType == "" {
		return nil, fmt.Errorf(`attachments: %q is not a media type; write it like "image/png"`, a.Type)
	}
	return p, nil
}

// encoding is the Content-Transfer-Encoding (RFC 2045, 6) in which a leaf goes.
func (p *part) encoding(by transport) string {
	if p.text && fitsLines(p.octets) {
		switch {
		case isASCII(p.octets):
			return "7bit"
		case by >= eightBit:
			return "8bit"
		}
	}
	switch {
	// A plan is text: octets that are no UTF-8 cannot stand in it.
	case by == binary && utf8.Valid(p.octets):
		return "binary"
	case p.text && quotable(p.octets):
		return "quoted-printable"
	}
	return "base64"
}

// differs tells whether a part goes in another encoding by one transport than by another.
func (p *part) differs(a, b transport) bool {
	if p.multipart == "" {
		return p.encoding(a) != p.encoding(b)
	}
	return slices.ContainsFunc(p.parts, func(child *part) bool { return child.differs(a, b) })
}

// fitsLines tells whether octets are lines as SMTP carries them.
func fitsLines(b []byte) bool {
	if bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	for _, line := range bytes.Split(b, []byte("\r\n")) {
		if len(line) > maxLine || bytes.ContainsAny(line, "\r\n") {
			return false
		}
	}
	return true
}

// quotable tells whether quoted-printable leaves a text that people can read: no
// more than a third of it is escaped.
func quotable(b []byte) bool {
	odd := 0
	for _, c := range b {
		if c > '~' || c < ' ' && c != '\r' && c != '\n' && c != '\t' || c == '=' {
			odd++
		}
	}
	return odd*3 <= len(b)
}

func write(fields []field, content *part, by transport) (string, error) {
	var out strings.Builder
	if err := textproto.WriteHeader(&out, headerOf(append(fields[:len(fields):len(fields)], content.header(by)...))); err != nil {
		return "", err
	}
	if err := content.writeTo(&out, by); err != nil {
		return "", err
	}
	return out.String(), nil
}

// headerOf keeps the order of the fields, and their names as RFCs write them.
func headerOf(fields []field) (h textproto.Header) {
	for _, f := range slices.Backward(fields) { // what is added stands at the top
		if line := f.name + ": " + f.value + "\r\n"; len(line) <= 78 {
			h.AddRaw([]byte(line))
		} else {
			h.Add(f.name, f.value) // folds it
		}
	}
	return h
}

// header is what a header says of the content.
func (p *part) header(by transport) []field {
	if p.multipart != "" {
		return []field{{"Content-Type", fmt.Sprintf("multipart/%s; boundary=%q", p.multipart, p.boundary())}}
	}
	fields := []field{{"Content-Type", p.mediaType}, {"Content-Transfer-Encoding", p.encoding(by)}}
	if p.disposition != "" {
		fields = append(fields, field{"Content-Disposition", p.disposition})
	}
	return fields
}

func (p *part) writeTo(w io.Writer, by transport) error {
	if p.multipart == "" {
		return p.writeLeaf(w, p.encoding(by))
	}
	parts := textproto.NewMultipartWriter(w)
	if err := parts.SetBoundary(p.boundary()); err != nil {
		return err
	}
	for _, child := range p.parts {
		cw, err := parts.CreatePart(headerOf(child.header(by)))
		if err != nil {
			return err
		}
		if err := child.writeTo(cw, by); err != nil {
			return err
		}
	}
	return parts.Close()
}

func (p *part) writeLeaf(w io.Writer, encoding string) error {
	switch encoding {
	case "base64":
		if p.base64 == nil {
			p.base64 = base64Lines(p.octets)
		}
		_, err := w.Write(p.base64)
		return err
	case "quoted-printable":
		q := quotedprintable.NewWriter(w)
		if _, err := q.Write(p.octets); err != nil {
			return err
		}
		return q.Close()
	}
	_, err := w.Write(p.octets)
	return err
}

// base64Lines encodes line by line (RFC 2045, 6.8). One call for all of it would take
// several times as long where this is compiled to WebAssembly: browsers replace the
// code of a function by faster code only when it is called again.
func base64Lines(octets []byte) []byte {
	const perLine = 76 / 4 * 3
	lines := make([]byte, 0, (len(octets)/perLine+1)*(76+2))
	for line := range slices.Chunk(octets, perLine) {
		if len(lines) > 0 {
			lines = append(lines, "\r\n"...)
		}
		lines = base64.StdEncoding.AppendEncode(lines, line)
	}
	return lines
}

// boundary follows from what it separates: the same draft is the same message, and
// no content holds its own digest. Nor do quoted-printable and base64 hold "=_"
// (RFC 2045, 6.7), so that what always goes in base64 need not be digested.
func (p *part) boundary() string {
	return "=_" + hex.EncodeToString(p.digest())[:32]
}

func (p *part) digest() []byte {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %q %d\n", p.multipart, p.mediaType, p.disposition, len(p.octets))
	if p.text || utf8.Valid(p.octets) {
		sum.Write(p.octets)
	}
	for _, child := range p.parts {
		sum.Write(child.digest())
	}
	return sum.Sum(nil)
}

func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }

func isASCII[T string | []byte](text T) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
