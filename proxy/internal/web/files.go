package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

const indexFile = "index.html"

const notBuilt = "The page is not built. Run `make build`.\n"

// contentTypes are given here, since what the system's tables say differs from
// one machine to the next, and browsers compile WebAssembly while it streams
// only when it has its right type.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".html":        "text/html; charset=utf-8",
	".ico":         "image/x-icon",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".map":         "application/json",
	".mjs":         "text/javascript; charset=utf-8",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".txt":         "text/plain; charset=utf-8",
	".wasm":        "application/wasm",
	".webmanifest": "application/manifest+json",
	".woff2":       "font/woff2",
}

// codings are the content codings in order of preference, and what a file's
// name ends in that has them.
var codings = []struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// files is the built page: every file once, with its compressed forms.
type files struct {
	fsys   fs.FS
	byPath map[string]*file // by URL path
}

type file struct {
	name    string
	codings []string // that it exists in, in order of preference

	tagOnce sync.Once
	tag     string
	tagErr  error
}

func newFiles(fsys fs.FS) (*files, error) {
	f := &files{fsys: fsys, byPath: map[string]*file{}}
	there := map[string]bool{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			there[name] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the built page: %w", err)
	}
	for name := range there {
		if strings.HasPrefix(path.Base(name), ".") || compressedFormOf(name, there) {
			continue
		}
		entry := &file{name: name}
		for _, c := range codings {
			if there[name+c.suffix] {
				entry.codings = append(entry.codings, c.name)
			}
		}
		f.byPath["/"+name] = entry
	}
	if index, ok := f.byPath["/"+indexFile]; ok {
		f.byPath["/"] = index
	}
	return f, nil
}

func compressedFormOf(name string, there map[string]bool) bool {
	for _, c := range codings {
		if plain, ok := strings.CutSuffix(name, c.suffix); ok && there[plain] {
			return true
		}
	}
	return false
}

// built is false for a program that was compiled without its page.
func (f *files) built() bool { return f.byPath["/"] != nil }

// serve answers for a path, or returns false when there is no such file.
func (f *files) serve(w http.ResponseWriter, r *http.Request) bool {
	entry, ok := f.byPath[r.URL.Path]
	if !ok {
		return false
	}
	if err := f.send(w, r, entry); err != nil {
		// Names of files only; it was compiled in, so this does not happen.
		plain(w, http.StatusInternalServerError, "The file could not be read.\n")
	}
	return true
}

func (f *files) send(w http.ResponseWriter, r *http.Request, entry *file) error {
	tag, err := entry.etag(f.fsys)
	if err != nil {
		return err
	}
	name, coding := entry.name, ""
	if len(entry.codings) > 0 {
		coding = negotiate(r.Header.Values("Accept-Encoding"), entry.codings)
		for _, c := range codings {
			if c.name == coding {
				name += c.suffix
			}
		}
	}
	content, size, err := openSeekable(f.fsys, name)
	if err != nil {
		return err
	}
	defer content.Close()

	h := w.Header()
	h.Set("Content-Type", contentType(entry.name))
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(entry.name, "assets/") {
		// The name holds a hash of the contents.
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if len(entry.codings) > 0 {
		h.Add("Vary", "Accept-Encoding")
	}
	if coding != "" {
		// Each form is a representation of its own (RFC 9110, 8.8.3.3).
		tag += "-" + coding
		h.Set("Content-Encoding", coding)
		// ServeContent leaves the length out of encoded content, and the page
		// shows how far the download has got.
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

func contentType(name string) string {
	if t, ok := contentTypes[path.Ext(name)]; ok {
		return t
	}
	return "application/octet-stream"
}

// etag hashes a file when it is asked for first.
func (e *file) etag(fsys fs.FS) (string, error) {
	e.tagOnce.Do(func() {
		content, err := fsys.Open(e.name)
		if err != nil {
			e.tagErr = err
			return
		}
		defer content.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, content); err != nil {
			e.tagErr = err
			return
		}
		e.tag = base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:16])
	})
	return e.tag, e.tagErr
}

type seekable interface {
	io.ReadSeeker
	io.Closer
}

// openSeekable reads a file into memory when its file system cannot seek.
func openSeekable(fsys fs.FS, name string) (seekable, int64, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if s, ok := f.(seekable); ok {
		return s, info.Size(), nil
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, 0, err
	}
	return nopCloser{bytes.NewReader(data)}, int64(len(data)), nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// negotiate picks a content coding by the client's weights, or "" for none
// (RFC 9110, 12.5.3). Between equal weights our order of preference decides.
func negotiate(header []string, available []string) string {
	weights := map[string]float64{}
	for element := range strings.SplitSeq(strings.Join(header, ","), ",") {
		name, params, _ := strings.Cut(element, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "" {
			continue
		}
		weight, ok := parseWeight(params)
		if !ok {
			continue
		}
		weights[name] = weight
	}
	weightOf := func(coding string, unlisted float64) float64 {
		if w, ok := weights[coding]; ok {
			return w
		}
		if w, ok := weights["*"]; ok {
			return w
		}
		return unlisted
	}
	// Unlisted, the plain form is acceptable, though every listed one is preferred.
	best, bestWeight := "", weightOf("identity", 0.0001)
	for i := len(available) - 1; i >= 0; i-- {
		if w := weightOf(available[i], 0); w > 0 && w >= bestWeight {
			best, bestWeight = available[i], w
		}
	}
	return best
}

// parseWeight reads ";q=0.5" (RFC 9110, 12.4.2).
func parseWeight(params string) (float64, bool) {
	params = strings.TrimSpace(params)
	if params == "" {
		return 1, true
	}
	text, ok := strings.CutPrefix(strings.ToLower(params), "q=")
	if !ok {
		return 0, false
	}
	weight, err := strconv.ParseFloat(text, 64)
	if err != nil || !(weight >= 0 && weight <= 1) {
		return 0, false
	}
	return weight, true
}
