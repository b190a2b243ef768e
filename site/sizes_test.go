package site_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/site"
)

// What a visitor downloads, in bytes of brotli.
const (
	shellBudget = 60_000 // all but WebAssembly: more than is loaded before the first run, since it counts the worker too
	liveBudget  = 1_700_000
)

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

func TestBudgets(t *testing.T) {
	released(t)
	var shell, live int64
	for name, size := range sizes(t) {
		switch plain, brotli := strings.CutSuffix(name, ".br"); {
		case !brotli:
		case path.Ext(plain) == ".wasm":
			assert.True(t, strings.HasPrefix(plain, "assets/live-"), "no budget is set for %s", plain)
			live += size
		default:
			shell += size
		}
	}
	require.NotZero(t, shell)
	require.NotZero(t, live)
	t.Logf("brotli: shell %d of %d bytes, live.wasm %d of %d", shell, shellBudget, live, liveBudget)
	assert.LessOrEqual(t, shell, int64(shellBudget), "the shell")
	assert.LessOrEqual(t, live, int64(liveBudget), "live.wasm")
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
