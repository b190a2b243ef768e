package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/wasm/roots"
)

// fixture writes a small project of the same shape as this one.
func fixture(t *testing.T, overrides map[string]string) project {
	t.Helper()
	p := project{root: t.TempDir(), fast: true}
	content := map[string]string{
		"go.mod":             "module fixture\n\ngo 1.26\n",
		"wasm/live/main.go":  "package main\n\nfunc main() { println(\"live\") }\n",
		"wasm/lab/main.go":   "package main\n\nfunc main() { println(\"lab\") }\n",
		"wasm/desk/main.go":  "package main\n\nfunc main() { println(\"desk\") }\n",
		"site/index.html":    `<link rel="stylesheet" href="src/page.css"><script type="module" src="src/page.ts"></script><a href="other/x">x</a>`,
		"site/src/page.css":  "body { color: red }\n",
		"site/src/page.ts":   "import \"./page.css\";\nimport { worker, live } from \"virtual:assets\";\nimport book from \"virtual:book\";\nimport transitions from \"virtual:transitions\";\nconsole.log(worker, live, Object.keys(book).length, transitions.length);\n",
		"site/src/worker.ts": "import \"virtual:wasm_exec\";\nconst greeting: string = \"from the worker\";\npostMessage(greeting);\n",
		"site/dist/.gitkeep": "",
		// Nothing of it is used.
		"site/node_modules/.package-lock.json": "{}",
	}
	for name, text := range overrides {
		content[name] = text
	}
	for name, text := range content {
		path := p.path(name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return p
}

func bundled(t *testing.T, p project) (files, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := p.virtualModules(ctx)
	require.NoError(t, err)
	made := files{}
	m.setAssets(map[string]string{"live": "assets/live-X.wasm"})
	worker, err := p.bundleWorker(made, m)
	if err != nil {
		return nil, err
	}
	m.setAssets(map[string]string{"live": "assets/live-X.wasm", "worker": worker})
	return made, p.bundleIndex(made, m)
}

// named returns the one file whose name fits the pattern.
func named(t *testing.T, made files, pattern string) (string, string) {
	t.Helper()
	var found []string
	for name := range made {
		if ok, err := filepath.Match(pattern, name); ok {
			require.NoError(t, err)
			found = append(found, name)
		}
	}
	require.Len(t, found, 1, pattern)
	return found[0], string(made[found[0]])
}

func TestBundle(t *testing.T) {
	p := fixture(t, nil)
	p.fast = false
	made, err := bundled(t, p)
	require.NoError(t, err)
	assert.Len(t, made, 4)

	worker, source := named(t, made, "assets/worker-????????.js")
	assert.Contains(t, source, "globalThis.Go", "wasm_exec.js")
	assert.Contains(t, source, "from the worker")
	page, source := named(t, made, "assets/page-????????.js")
	assert.Contains(t, source, `"`+worker+`"`)
	assert.Contains(t, source, `"assets/live-X.wasm"`)
	assert.Contains(t, source, "5321", "the transitions and the book")
	style, source := named(t, made, "assets/page-????????.css")
	assert.Contains(t, source, "body{color:red}")
	assert.Equal(t,
		`<link rel="stylesheet" href="`+style+`"><script type="module" src="`+page+`"></script><a href="other/x">x</a>`,
		string(made["index.html"]))
}

func TestBundleNamesFollowContent(t *testing.T) {
	names := func(overrides map[string]string) (worker, page string) {
		made, err := bundled(t, fixture(t, overrides))
		require.NoError(t, err)
		worker, _ = named(t, made, "assets/worker-????????.js")
		page, _ = named(t, made, "assets/page-????????.js")
		return worker, page
	}
	worker, page := names(nil)
	sameWorker, samePage := names(nil)
	assert.Equal(t, []string{worker, page}, []string{sameWorker, samePage})
	otherWorker, otherPage := names(map[string]string{"site/src/worker.ts": "postMessage(1);\n"})
	assert.NotEqual(t, worker, otherWorker)
	assert.NotEqual(t, page, otherPage, "it names the worker")
}

func TestBundleErrorsSayWhere(t *testing.T) {
	for name, c := range map[string]struct {
		overrides map[string]string
		want      []string
	}{
		"syntax":          {map[string]string{"site/src/page.ts": "const a = 1;\nconst = 2;\n"}, []string{"site/src/page.ts:2:6", "const = 2"}},
		"missing file":    {map[string]string{"site/src/worker.ts": "import \"./gone.ts\";\n"}, []string{"site/src/worker.ts:1:7", "./gone.ts"}},
		"unknown module":  {map[string]string{"site/src/page.ts": "import \"virtual:weather\";\n"}, []string{"site/src/page.ts:1:7", "virtual:weather"}},
		"unlinked style":  {map[string]string{"site/src/page.ts": "import \"./b.css\";\n", "site/src/b.css": ""}, []string{"site/src/page.ts:1:7", "site/src/b.css", "index.html"}},
		"missing package": {map[string]string{"site/src/page.ts": "import \"lit\";\n"}, []string{"site/src/page.ts:1:7", "lit"}},
		"warning":         {map[string]string{"site/src/page.ts": "const a = {b: 1, b: 2};\nconsole.log(a);\n"}, []string{"site/src/page.ts:1:17", "Duplicate key"}},
		"no script":       {map[string]string{"site/index.html": "<p>"}, []string{"site/index.html"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bundled(t, fixture(t, c.overrides))
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

func TestCheckSaysWhatToDo(t *testing.T) {
	p := project{root: t.TempDir()}
	assert.ErrorContains(t, p.check(), "root of the repository")
	p = fixture(t, nil)
	require.NoError(t, p.check())
	require.NoError(t, os.RemoveAll(p.path("site/node_modules")))
	assert.ErrorContains(t, p.check(), "npm ci")
}

func onDisk(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	found := map[string]time.Time{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		found[filepath.ToSlash(name)] = info.ModTime()
		return err
	}))
	return found
}

func keys(m map[string]time.Time) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestInstall(t *testing.T) {
	p := fixture(t, map[string]string{"site/dist/assets/old-12345678.js": "stale", "site/dist/assets/old-12345678.js.br": "stale"})
	text := strings.Repeat("In the beginning was the EHLO. ", 100)
	made := func() files {
		return files{"index.html": []byte(text), "assets/a-00000000.js": []byte("a")}
	}
	require.NoError(t, p.install(t.Context(), made()))
	want := []string{
		".gitkeep", fastMark,
		"index.html", "index.html.br", "index.html.gz",
		"assets/a-00000000.js", "assets/a-00000000.js.br", "assets/a-00000000.js.gz",
	}
	first := onDisk(t, p.path("site/dist"))
	assert.ElementsMatch(t, want, keys(first))

	packed, err := os.ReadFile(p.path("site/dist/index.html.gz"))
	require.NoError(t, err)
	gz, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	unpacked, err := io.ReadAll(gz)
	require.NoError(t, err)
	assert.Equal(t, text, string(unpacked))

	node := exec.CommandContext(t.Context(), "node", "-e",
		"process.stdout.write(require('zlib').brotliDecompressSync(require('fs').readFileSync(process.argv[1])))", p.path("site/dist/index.html.br"))
	unpacked, err = node.Output()
	require.NoError(t, err)
	assert.Equal(t, text, string(unpacked))

	// The same again touches nothing and needs no compressor.
	t.Setenv("PATH", "")
	require.NoError(t, p.install(t.Context(), made()))
	assert.Equal(t, first, onDisk(t, p.path("site/dist")))
	assert.Len(t, onDisk(t, p.path(".cache/compressed")), 4, "two forms of two files")

	// What is no longer built goes, from dist and from the cache.
	less := made()
	delete(less, "assets/a-00000000.js")
	require.NoError(t, p.install(t.Context(), less))
	assert.NotContains(t, onDisk(t, p.path("site/dist")), "assets/a-00000000.js")
	assert.Len(t, onDisk(t, p.path(".cache/compressed")), 2)
}

func TestFilesOfOneContentAreCompressedOnce(t *testing.T) {
	p := fixture(t, nil)
	require.NoError(t, p.install(t.Context(), files{"a.js": []byte("same"), "b.js": []byte("same"), "c.js": []byte("other")}))
	built := onDisk(t, p.path("site/dist"))
	for _, form := range []string{"br", "gz"} {
		a, err := os.ReadFile(p.path("site/dist/a.js." + form))
		require.NoError(t, err)
		b, err := os.ReadFile(p.path("site/dist/b.js." + form))
		require.NoError(t, err)
		assert.Equal(t, a, b)
	}
	assert.Len(t, built, 3*3+2, "three forms of three files")
	assert.Len(t, onDisk(t, p.path(".cache")), 2*2, "two forms of two contents, and nothing else")
}

func TestBuildsBesideEachOtherShareTheCache(t *testing.T) {
	p := fixture(t, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			made := files{"same.js": []byte("same"), "own.js": fmt.Append(nil, i)}
			_, err := p.compress(t.Context(), made)
			assert.NoError(t, err)
			assert.Len(t, made, 2*3)
		})
	}
	wg.Wait()
}

func TestReleaseIsCompressedBetter(t *testing.T) {
	p := fixture(t, nil)
	// Varied enough that the qualities differ.
	var text []byte
	for i := range 2000 {
		line, err := json.Marshal([]int{i, i * i, i * i * i % 7919})
		require.NoError(t, err)
		text = append(text, line...)
	}
	size := func() int64 {
		require.NoError(t, p.install(t.Context(), files{"index.html": bytes.Clone(text)}))
		info, err := os.Stat(p.path("site/dist/index.html.br"))
		require.NoError(t, err)
		return info.Size()
	}
	fast := size()
	p.fast = false
	best := size()
	assert.Less(t, best, fast)
	assert.NotContains(t, onDisk(t, p.path("site/dist")), fastMark)
	p.fast = true
	assert.Equal(t, fast, size(), "each quality is kept apart")
}

func TestMissingNodeIsNamed(t *testing.T) {
	p := fixture(t, nil)
	t.Setenv("PATH", "")
	assert.ErrorContains(t, p.install(t.Context(), files{"index.html": []byte("x")}), "Node")
}

func TestBuildPage(t *testing.T) {
	p := fixture(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	require.NoError(t, p.buildPage(ctx))
	built := files{}
	for name := range onDisk(t, p.path("site/dist")) {
		content, err := os.ReadFile(p.path("site/dist/" + name))
		require.NoError(t, err)
		built[name] = content
	}
	live, wasm := named(t, built, "assets/live-????????.wasm")
	assert.True(t, strings.HasPrefix(wasm, "\x00asm"))
	lab, _ := named(t, built, "assets/lab-????????.wasm")
	_, page := named(t, built, "assets/page-????????.js")
	assert.Contains(t, page, live)
	assert.Contains(t, built, lab+".br")
	assert.Contains(t, built, live+".br")
	authorities, file := named(t, built, "assets/roots-????????.der")
	assert.Contains(t, built, authorities+".br")
	_, err := roots.Pool([]byte(file))
	assert.NoError(t, err)

	require.NoError(t, os.WriteFile(p.path("wasm/live/main.go"), []byte("package main\n\nfunc main() { x }\n"), 0o644))
	assert.ErrorContains(t, p.buildPage(ctx), "main.go:3:15")
}

func TestBuildTests(t *testing.T) {
	p := fixture(t, map[string]string{
		"site/dist-test/gone.test.mjs": "stale",
		"site/test/helper.ts":          "export const answer: number = 42;\n",
		"site/test/unit/a.test.ts": `import { test } from "node:test";
import { strictEqual } from "node:assert";
import "../../src/page.css";
import { answer } from "../helper.ts";
import book from "virtual:book";
import { live } from "virtual:assets";
test("runs", () => { strictEqual(answer, 42); strictEqual(typeof book, "object"); strictEqual(live, "assets/live.wasm"); });
`,
	})
	require.NoError(t, p.buildTests(t.Context()))
	assert.ElementsMatch(t, []string{"unit/a.test.mjs"}, keys(onDisk(t, p.path("site/dist-test"))))
	out, err := exec.CommandContext(t.Context(), "node", "--test", p.path("site/dist-test/unit/a.test.mjs")).CombinedOutput()
	assert.NoError(t, err, string(out))

	require.NoError(t, os.RemoveAll(p.path("site/test")))
	require.NoError(t, os.Mkdir(p.path("site/test"), 0o755))
	assert.ErrorContains(t, p.buildTests(t.Context()), "no site/test")
}
