package site_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/site"
)

// What a visitor downloads, in bytes of brotli.
const shellBudget = 60_000 // index.html and all JavaScript and CSS before the first run

// engineBudgets are those of the engines, of which a visitor downloads what a run needs.
var engineBudgets = map[string]int64{"live": 1_700_000, "lab": 2_700_000, "desk": 1_100_000}

// rootsBudget is that of the certificates of public authorities, which only sessions with live targets over TLS fetch.
const rootsBudget = 100_000

// released skips the test when dist does not hold a page whose sizes count; in CI it fails it.
func released(t *testing.T) {
	t.Helper()
	unfit := ""
	if _, err := fs.Stat(site.Dist, "index.html"); errors.Is(err, fs.ErrNotExist) {
		unfit = "the page is not built"
	} else if _, err := fs.Stat(site.Dist, ".fast"); err == nil {
		unfit = "the page is built with -fast"
	}
	if unfit == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s: run make build first", unfit)
	}
	t.Skipf("NOT RUN: %s: run make build first", unfit)
}

// sizes returns the length of each built file, by path.
func sizes(t *testing.T) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	require.NoError(t, fs.WalkDir(site.Dist, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		info, err := d.Info()
		found[name] = info.Size()
		return err
	}))
	return found
}

// What a built file takes with it at once. Imports that wait for a reason, import("./x.js"), do not fit.
var (
	linked   = regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`)
	imported = regexp.MustCompile(`(?:from|import)\s*"\./([^"]+)"`)
)

// shell returns what a browser loads before anything is clicked.
func shell(t *testing.T) []string {
	t.Helper()
	read := func(name string) string {
		text, err := fs.ReadFile(site.Dist, name)
		require.NoError(t, err)
		return string(text)
	}
	loaded := []string{"index.html"}
	for _, match := range linked.FindAllStringSubmatch(read("index.html"), -1) {
		loaded = append(loaded, match[1])
	}
	require.Greater(t, len(loaded), 1, "index.html loads nothing")
	for i := 1; i < len(loaded); i++ {
		for _, match := range imported.FindAllStringSubmatch(read(loaded[i]), -1) {
			if name := path.Join(path.Dir(loaded[i]), match[1]); !slices.Contains(loaded, name) {
				loaded = append(loaded, name)
			}
		}
	}
	return loaded
}

func TestBudgets(t *testing.T) {
	released(t)
	size := sizes(t)
	var sum int64
	for _, name := range shell(t) {
		require.Contains(t, size, name+".br")
		sum += size[name+".br"]
	}
	t.Logf("brotli: shell %d of %d bytes", sum, shellBudget)
	assert.LessOrEqual(t, sum, int64(shellBudget), "the shell")
	seen := map[string]bool{}
	for name, n := range size {
		if strings.HasPrefix(name, "assets/roots-") && strings.HasSuffix(name, ".der.br") {
			seen["roots"] = true
			t.Logf("brotli: roots %d of %d bytes", n, rootsBudget)
			assert.LessOrEqual(t, n, int64(rootsBudget), name)
		}
		if file, ok := strings.CutSuffix(strings.TrimPrefix(name, "assets/"), ".wasm.br"); ok {
			engine, _, _ := strings.Cut(file, "-")
			seen[engine] = true
			require.Contains(t, engineBudgets, engine, "no budget is set for %s", name)
			t.Logf("brotli: %s.wasm %d of %d", engine, n, engineBudgets[engine])
			assert.LessOrEqual(t, n, engineBudgets[engine], name)
		}
	}
	assert.Len(t, seen, len(engineBudgets)+1, "an engine or the roots are missing")
}

func TestEveryFileHasItsCompressedForms(t *testing.T) {
	released(t)
	found := sizes(t)
	for name := range found {
		if ext := path.Ext(name); ext != ".br" && ext != ".gz" {
			assert.Contains(t, found, name+".br")
			assert.Contains(t, found, name+".gz")
		}
	}
}
