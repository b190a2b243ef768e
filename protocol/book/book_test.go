package book_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/book"
	"smtpscope/protocol/diagnose"
	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// maxSize is what the page fetches with the first session, before compression
// to about a fifth.
const maxSize = 260_000

type file struct {
	name    string
	text    []byte
	ids     []string // in the order of the file
	entries map[string]book.Entry
}

// read returns the files of the book. A decoder into a map would hide both the
// order of ids and a duplicate.
func read(t *testing.T) []file {
	t.Helper()
	names, err := filepath.Glob("data/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	var files []file
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		f := file{name: name, text: text, entries: map[string]book.Entry{}}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		open, err := dec.Token()
		require.NoError(t, err, name)
		require.Equal(t, json.Delim('{'), open, name)
		for dec.More() {
			key, err := dec.Token()
			require.NoError(t, err, name)
			id := key.(string)
			var e book.Entry
			require.NoError(t, dec.Decode(&e), id)
			f.ids = append(f.ids, id)
			f.entries[id] = e
		}
		require.NotEmpty(t, f.ids, name)
		files = append(files, f)
	}
	return files
}

// all is the whole book as its files have it.
func all(t *testing.T) map[string]book.Entry {
	t.Helper()
	entries := map[string]book.Entry{}
	for _, f := range read(t) {
		for id, e := range f.entries {
			entries[id] = e
		}
	}
	return entries
}

func kindOf(id string) string {
	kind, _, _ := strings.Cut(id, ".")
	return kind
}

func TestEntriesAreComplete(t *testing.T) {
	publishers := "IANA|IETF|ITU|Postfix|Exim|SpamAssassin|Microsoft|Google|smtpscope"
	section := regexp.MustCompile(`^(RFC [1-9]\d{0,4}(, (\d+|[A-Z])(\.\d+)*)?|(` + publishers + `), [A-Za-z][A-Za-z0-9_. -]+)$`)
	for id, e := range all(t) {
		texts := []string{e.Title, e.Means, e.Section}
		// These call for action; a refusal says more by its enhanced code.
		if slices.Contains([]string{"cert", "error", "finding", "reply"}, kindOf(id)) || e.Do != "" {
			texts = append(texts, e.Do)
			assert.Regexp(t, `\.$`, e.Do, "%s: a sentence ends with a full stop", id)
			assert.LessOrEqual(t, len(e.Do), 140, "%s: keep it terse", id)
		}
		for _, text := range texts {
			assert.NotEmpty(t, text, id)
			assert.Equal(t, strings.TrimSpace(text), text, id)
			assert.Regexp(t, `^[\x20-\x7e]+$`, text, id)
		}
		assert.Regexp(t, `\.$`, e.Means, "%s: a sentence ends with a full stop", id)
		assert.LessOrEqual(t, len(e.Means), 140, "%s: keep it terse", id)
		assert.NotRegexp(t, `\.$`, e.Title, "%s: a title does not", id)
		assert.Regexp(t, section, e.Section, id)
	}
}

// A kind has one file with one entry a line, so that a change is a one-line diff
// and a place is found without a search.
func TestFiles(t *testing.T) {
	kinds := []string{
		"cert", "command", "dns", "enhanced", "error", "event", "field", "finding", "header", "ip", "keyword",
		"mechanism", "param", "port", "reply", "state", "tcp", "tls", "udp",
	}
	var seen []string
	for _, f := range read(t) {
		assert.True(t, slices.IsSorted(f.ids), "%s: ids are in byte order", f.name)
		assert.Len(t, f.entries, len(f.ids), "%s: no id twice", f.name)
		assert.Equal(t, len(f.ids)+2, bytes.Count(f.text, []byte("\n")), "%s: one entry a line", f.name)
		for _, id := range f.ids {
			assert.Regexp(t, `^[a-z]+(\.[a-z0-9_-]+)+$`, id)
			assert.Equal(t, kindOf(f.ids[0]), kindOf(id), f.name)
		}
		seen = append(seen, kindOf(f.ids[0]))
	}
	assert.ElementsMatch(t, kinds, seen)
}

func TestJSON(t *testing.T) {
	var bundled map[string]book.Entry
	require.NoError(t, json.Unmarshal(book.JSON(), &bundled))
	assert.Equal(t, all(t), bundled)
	assert.LessOrEqual(t, len(book.JSON()), maxSize)
}

// words returns the lists of testdata/words.txt by their prefix.
func words(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("testdata/words.txt")
	require.NoError(t, err)
	lists := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		prefix, names, _ := strings.Cut(strings.TrimSpace(line), " ")
		if prefix != "" && prefix != "#" {
			lists[prefix] = append(lists[prefix], strings.Fields(names)...)
		}
	}
	require.NotEmpty(t, lists)
	return lists
}

// Every word of a registry has an entry, and no entry is of a word that is in
// none.
func TestWords(t *testing.T) {
	entries := all(t)
	for prefix, names := range words(t) {
		var have []string
		for id := range entries {
			if name, ok := strings.CutPrefix(id, prefix); ok && name != "other" {
				have = append(have, name)
			}
		}
		assert.ElementsMatch(t, names, have, prefix)
	}
}

// Where the class of an enhanced code changes what it means, it has an entry of
// its own beside the one for all classes.
func TestEnhancedOfOneClass(t *testing.T) {
	own := regexp.MustCompile(`^enhanced\.([245])\.(\d+\.\d+)$`)
	entries := all(t)
	classes := map[string]bool{}
	for id, e := range entries {
		if !strings.HasPrefix(id, "enhanced.") || regexp.MustCompile(`^enhanced\.(x|class|subject)\.`).MatchString(id) {
			continue
		}
		parts := own.FindStringSubmatch(id)
		require.NotNil(t, parts, id)
		classes[parts[1]] = true
		general, ok := entries["enhanced.x."+parts[2]]
		assert.True(t, ok, "%s: not in the registry", id)
		assert.NotEqual(t, general.Means, e.Means, id)
	}
	assert.Len(t, classes, 3)
}

func TestCipherSuites(t *testing.T) {
	entries := all(t)
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		assert.Contains(t, entries, "tls.suite."+strings.ToLower(s.Name))
	}
}

func TestStates(t *testing.T) {
	var want, have []string
	for _, row := range smtp.Transitions {
		if row.From != smtp.AnyState {
			want = append(want, "state."+string(row.From))
		}
		want = append(want, "state."+string(row.Next))
	}
	for id := range all(t) {
		if kindOf(id) == "state" {
			have = append(have, id)
		}
	}
	slices.Sort(want)
	assert.ElementsMatch(t, slices.Compact(want), have)
}

func TestFindings(t *testing.T) {
	var want, have []string
	for _, id := range diagnose.IDs() {
		want = append(want, "finding."+id)
	}
	for id := range all(t) {
		if kindOf(id) == "finding" {
			have = append(have, id)
		}
	}
	assert.ElementsMatch(t, want, have)
}

// The vocabulary of the trace is explained in full, apart from what the program
// or its user did: those events speak for themselves.
func TestTraceVocabulary(t *testing.T) {
	entries := all(t)
	for _, code := range []trace.ErrorCode{
		trace.CodeRefused, trace.CodeTimeout, trace.CodeNameNotFound, trace.CodeNoRoute, trace.CodeDenied,
		trace.CodeQuota, trace.CodeTooMany, trace.CodeShutdown, trace.CodeTLS, trace.CodeProtocol,
		trace.CodeDesync, trace.CodeClosed, trace.CodeUnsupported, trace.CodeRejected, trace.CodeBadPlan,
		trace.CodeCancelled, trace.CodeCrashed,
	} {
		assert.Contains(t, entries, "error."+string(code))
	}
	for layer, kinds := range map[trace.Layer][]trace.Kind{
		trace.LayerTunnel: {trace.KindResolving, trace.KindAddresses, trace.KindDialing, trace.KindFailed, trace.KindOpened},
		trace.LayerDNS:    {trace.KindQuery, trace.KindAnswer, trace.KindLookup, trace.KindPolicy},
		trace.LayerIP:     {trace.KindPacket},
		trace.LayerUDP:    {trace.KindDatagram},
		trace.LayerTCP:    {trace.KindSegment, trace.KindAnalysis, trace.KindState},
		trace.LayerTLS:    {trace.KindStart, trace.KindRecord, trace.KindHandshake, trace.KindAlert, trace.KindDecrypted},
		trace.LayerSMTP:   {trace.KindClosed, trace.KindDesync},
		trace.LayerMail: {
			trace.KindQueued, trace.KindAttempt, trace.KindDeferred, trace.KindRelayed, trace.KindBounced, trace.KindDelivered,
		},
	} {
		for _, kind := range kinds {
			assert.Contains(t, entries, "event."+string(layer)+"."+string(kind))
		}
	}
}

// The page resolves the same ids to the same entries.
func TestLookup(t *testing.T) {
	text, err := os.ReadFile("testdata/lookup.json")
	require.NoError(t, err)
	var cases map[string]string
	require.NoError(t, json.Unmarshal(text, &cases))
	require.NotEmpty(t, cases)
	entries := all(t)
	for id, want := range cases {
		e, ok := book.Lookup(id)
		assert.Equal(t, want != "", ok, id)
		if ok {
			require.Contains(t, entries, want)
			assert.Equal(t, entries[want], e, id)
		}
	}

	e, _ := book.Lookup("reply.550")
	assert.Equal(t, book.Entry{
		Title:   "Mailbox unavailable",
		Means:   "No such mailbox, no access, or refused by policy: enhanced code and text say which.",
		Do:      "Do not retry; report it to the sender.",
		Section: "RFC 5321, 4.2.3",
	}, e)
}
