// Package book says what the words of a session mean: commands, replies,
// extensions, fields, alerts, errors. Each entry has a title, one or two plain
// sentences, and the section of the document to read further.
//
// The book is data: the page ships the same JSON, so that a saved trace is
// explained without this program. The package parses no protocol and knows no
// session.
package book

import (
	_ "embed"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
)

// JSON is the whole book, an object of entries by id, as the page bundles it.
//
//go:embed book.json
var JSON []byte

// Entry explains one thing.
type Entry struct {
	Title string `json:"title"`
	// Means is what the thing is and, for replies and errors, what to do next.
	Means string `json:"means"`
	// Section names the source: "RFC 5321, 4.1.1.3", or "IANA, ..." for a
	// registry, or another publisher where no RFC exists.
	Section string `json:"section"`
}

var entries = sync.OnceValue(func() map[string]Entry {
	var m map[string]Entry
	if err := json.Unmarshal(JSON, &m); err != nil {
		panic("book.json: " + err.Error())
	}
	return m
})

// Lookup returns the entry of an id such as "command.mail" or "reply.250".
func Lookup(id string) (Entry, bool) {
	e, ok := entries()[id]
	return e, ok
}

// First returns the first of ids that has an entry, or "" when none has.
func First(ids ...string) string {
	for _, id := range ids {
		if _, ok := Lookup(id); ok {
			return id
		}
	}
	return ""
}

// Reply returns the id for a reply code: its own entry, else that of its first
// digit, which a client must be able to act on alone (RFC 5321, 4.2.1).
func Reply(code int) string {
	return First(
		"reply."+strconv.Itoa(code),
		"reply."+strconv.Itoa(code/100)+"yz",
		"field.reply-code",
	)
}

// Enhanced returns the id for an enhanced status code such as "5.1.1": its own
// entry, else that of its subject, else that of its class (RFC 3463, 2).
func Enhanced(code string) string {
	class, rest, _ := strings.Cut(code, ".")
	subject, _, _ := strings.Cut(rest, ".")
	return First(
		"enhanced."+code,
		"enhanced.subject."+subject,
		"enhanced.class."+class,
		"field.enhanced-code",
	)
}
