package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed compress.mjs
var compressScript string

// The brotli qualities of a release and of -fast. 11 takes half a minute for live.wasm and saves 15 % over 5.
const (
	bestBrotli = 11
	fastBrotli = 5
)

// fastMark is a file in dist that tells a page built with -fast, whose sizes say nothing.
const fastMark = ".fast"

func shortHash(content []byte) string {
	sum := sha256.Sum256(content)
	return base32.StdEncoding.EncodeToString(sum[:])[:8]
}

// install makes site/dist hold the files, their compressed forms, and nothing else but .gitkeep.
func (p project) install(ctx context.Context, made files) error {
	brotli, err := p.compress(ctx, made)
	if err != nil {
		return err
	}
	if p.fast {
		made[fastMark] = nil
	}
	dist := p.path("site/dist")
	for name, content := range made {
		if err := writeChanged(filepath.Join(dist, filepath.FromSlash(name)), content); err != nil {
			return err
		}
	}
	if err := removeStale(dist, made); err != nil {
		return err
	}
	report(made, brotli)
	return nil
}

// job asks compress.mjs for one file.
type job struct {
	In      string `json:"in"`
	Out     string `json:"out"`
	Format  string `json:"format"` // br or gz
	Quality int    `json:"quality"`
}

// compress adds F.br and F.gz for every F, and returns the names of the .br files. Node does the work: its brotli is twice as
// fast as the one written in Go, and the build needs Node for its packages anyway. Results are kept in .cache/compressed
// under the hash of what was compressed, so that only new content costs time. Another build may use it at the same time:
// what comes into it is whole, and nothing is read that the other may remove.
func (p project) compress(ctx context.Context, made files) ([]string, error) {
	quality := bestBrotli
	if p.fast {
		quality = fastBrotli
	}
	cache := p.path(".cache/compressed")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(p.path(".cache"), "compressing")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // it is of no use, and harms nobody
	var (
		brotli  []string
		jobs    []job
		wanted  = map[string][]string{} // names of files by what the job makes
		sources = map[string]bool{}     // hashes in use
	)
	for _, name := range slices.Sorted(maps.Keys(made)) {
		sum := sha256.Sum256(made[name])
		hash := hex.EncodeToString(sum[:])
		sources[hash] = true
		for _, f := range []struct {
			format  string
			quality int
		}{{"br", quality}, {"gz", 9}} {
			form, out := name+"."+f.format, fmt.Sprintf("%s.%s%d", hash, f.format, f.quality)
			if f.format == "br" {
				brotli = append(brotli, form)
			}
			if content, err := os.ReadFile(filepath.Join(cache, out)); err == nil {
				made[form] = content
				continue
			}
			wanted[out] = append(wanted[out], form)
			if len(wanted[out]) > 1 { // two files of the same content
				continue
			}
			in := filepath.Join(work, hash)
			if err := writeChanged(in, made[name]); err != nil {
				return nil, err
			}
			jobs = append(jobs, job{In: in, Out: filepath.Join(work, out), Format: f.format, Quality: f.quality})
		}
	}
	if err := runJobs(ctx, jobs); err != nil {
		return nil, err
	}
	for out, forms := range wanted {
		content, err := os.ReadFile(filepath.Join(work, out))
		if err != nil {
			return nil, err
		}
		for _, form := range forms {
			made[form] = content
		}
		if err := os.Rename(filepath.Join(work, out), filepath.Join(cache, out)); err != nil {
			return nil, err
		}
	}
	return brotli, pruneCache(cache, sources)
}

func runJobs(ctx context.Context, jobs []job) error {
	if len(jobs) == 0 {
		return nil
	}
	list, err := json.Marshal(jobs)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "node", "--input-type=module", "--eval", compressScript)
	cmd.Stdin = bytes.NewReader(list)
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("compressing with Node (20 or newer): %w", err)
	}
	return nil
}

// pruneCache removes what was compressed from content that is no longer built.
func pruneCache(cache string, sources map[string]bool) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if hash, _, _ := strings.Cut(e.Name(), "."); sources[hash] {
			continue
		}
		if err := os.Remove(filepath.Join(cache, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// writeChanged leaves a file alone that already holds the content, so that later steps see it unchanged.
func writeChanged(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func removeStale(dist string, made files) error {
	return filepath.WalkDir(dist, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dist, path)
		if err != nil {
			return err
		}
		if _, ok := made[filepath.ToSlash(name)]; ok || name == ".gitkeep" {
			return nil
		}
		return os.Remove(path)
	})
}

// report prints what a browser will load.
func report(made files, brotli []string) {
	slices.SortFunc(brotli, func(a, b string) int { return cmp.Compare(len(made[a]), len(made[b])) })
	for _, name := range brotli {
		plain := strings.TrimSuffix(name, ".br")
		fmt.Printf("%-32s %9d bytes, brotli %8d\n", plain, len(made[plain]), len(made[name]))
	}
}
