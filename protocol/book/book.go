// Package book says what the words of a session mean: commands, replies,
// extensions, fields, alerts, errors. Each entry has a title, one or two plain
// sentences, and the section of the document to read further.
//
// The book is data: the page ships the same entries, so that a saved trace is
// explained without this program. The package parses no protocol and knows no
// session. Programs that name an entry need not import it: they write the most
// specific id, and whoever looks it up finds what is known.
package book

import (
	"embed"
	"encoding/json"
	"path"
	"strings"
	"sync"
)

// Entry explains one thing.
type Entry struct {
	Title string `json:"title"`
	// Means is what the thing is.
	Means string `json:"means"`
	// Do is what to do next, for what calls for it: replies, findings, errors.
	Do string `json:"do,omitempty"`
	// Section names the source: "RFC 5321, 4.1.1.3", or "IANA, ..." for a
	// registry, or another publisher where no RFC exists.
	Section string `json:"section"`
}

// data holds one file of entries for each kind of id.
//
//go:embed data/*.json
var data embed.FS

var entries = sync.OnceValue(func() map[string]Entry {
	files, err := data.ReadDir("data")
	if err != nil {
		panic("book: " + err.Error())
	}
	all := map[string]Entry{}
	for _, file := range files {
		name := path.Join("data", file.Name())
		text, err := data.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(text, &all)
		}
		if err != nil {
			panic("book: " + name + ": " + err.Error())
		}
	}
	return all
})

// JSON is the whole book, an object of entries by id, as the page bundles it.
func JSON() []byte {
	text, err := json.Marshal(entries())
	if err != nil {
		panic("book: " + err.Error())
	}
	return text
}

// Lookup returns the entry of an id such as "command.mail" or "reply.250", or of
// the next wider thing that has one: a reply code is known by its first digit
// (RFC 5321, 4.2.1), an enhanced status code by subject and class (RFC 3463, 2),
// and other words by an entry for those that the book does not know.
func Lookup(id string) (Entry, bool) {
	for _, id := range widening(id) {
		if e, ok := entries()[id]; ok {
			return e, true
		}
	}
	return Entry{}, false
}

// widening lists id and what stands for it where it has no entry.
func widening(id string) []string {
	kind, name, _ := strings.Cut(id, ".")
	switch parts := strings.Split(name, "."); {
	case kind == "reply" && len(parts) == 1 && len(name) == 3:
		return []string{id, "reply." + name[:1] + "yz", "field.reply-code"}
	case kind == "enhanced" && len(parts) == 3:
		class, subject, detail := parts[0], parts[1], parts[2]
		return []string{
			id,
			"enhanced.x." + subject + "." + detail,
			"enhanced.subject." + subject,
			"enhanced.class." + class,
			"field.enhanced-code",
		}
	}
	return []string{id, id[:strings.LastIndexByte(id, '.')+1] + "other"}
}
