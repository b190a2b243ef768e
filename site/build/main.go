// Command build makes the page: it compiles the engine to WebAssembly, bundles the TypeScript, and leaves in site/dist what the
// server program embeds. Run it from the root of the repository:
//
//	go run ./site/build          the page as it is released
//	go run ./site/build -fast    the same, compressed quickly, with source maps
//	go run ./site/build -test    the tests of the page, for Node, into site/dist-test
//
// It knows what the page is made of and nothing of how it is served. It runs Go and Node, and needs "npm ci" done in site.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"smtpscope/wasm/roots"
)

// project is the repository that is built.
type project struct {
	root string
	fast bool
}

func (p project) path(name string) string { return filepath.Join(p.root, filepath.FromSlash(name)) }

func main() {
	test := flag.Bool("test", false, "bundle site/test/**/*.test.ts for Node into site/dist-test, and nothing else")
	fast := flag.Bool("fast", false, "compress quickly instead of well, and add source maps")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run ./site/build [-fast | -test]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()

	root, err := os.Getwd()
	if err == nil {
		p := project{root: root, fast: *fast}
		if *test {
			err = p.buildTests(ctx)
		} else {
			err = p.buildPage(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// check says what to do first when something the build needs is not there.
func (p project) check() error {
	if _, err := os.Stat(p.path("site/index.html")); err != nil {
		return fmt.Errorf("%w: run the build from the root of the repository", err)
	}
	if _, err := os.Stat(p.path("site/node_modules")); errors.Is(err, fs.ErrNotExist) {
		return errors.New("site/node_modules is missing: run npm ci in site, or make build")
	}
	return nil
}

func (p project) buildPage(ctx context.Context) error {
	if err := p.check(); err != nil {
		return err
	}
	modules, err := p.virtualModules(ctx)
	if err != nil {
		return err
	}
	made, names := files{}, map[string]string{}
	for _, engine := range engines {
		code, err := p.compile(ctx, engine)
		if err != nil {
			return err
		}
		names[engine] = hashedName(engine, ".wasm", code)
		made[names[engine]] = code
	}
	authorities, err := roots.Bundle()
	if err != nil {
		return err
	}
	names["roots"] = hashedName("roots", ".der", authorities)
	made[names["roots"]] = authorities
	modules.setAssets(names)
	if names["worker"], err = p.bundleWorker(made, modules); err != nil {
		return err
	}
	modules.setAssets(names)
	if err := p.bundleIndex(made, modules); err != nil {
		return err
	}
	return p.install(ctx, made)
}

// engines are the programs of wasm/ that the page runs.
var engines = []string{"desk", "lab", "live"}

// smallCode keeps the compiler from copying functions into their callers, save in the packages that carry the bulk of TLS:
// without them it would be three times slower, with them it is as fast as a build that inlines everywhere, and a
// tenth less to download. Of the patterns that fit a package, the last one counts.
var smallCode = append([]string{"-gcflags=all=-l"}, inlining(
	"crypto/cipher",
	"crypto/internal/constanttime",
	"crypto/internal/fips140/aes/...",
	"crypto/internal/fips140/alias",
	"crypto/internal/fips140/bigmod",
	"crypto/internal/fips140/edwards25519/field",
	"crypto/internal/fips140/mlkem",
	"crypto/internal/fips140/nistec/...",
	"crypto/internal/fips140/sha256",
	"crypto/internal/fips140/sha3",
	"crypto/internal/fips140/sha512",
	"crypto/internal/fips140/subtle",
	"crypto/internal/fips140deps/...",
	"crypto/subtle",
	"encoding/binary",
	"internal/byteorder",
	"math/bits",
	"vendor/golang.org/x/crypto/chacha20/...",
	"vendor/golang.org/x/crypto/chacha20poly1305",
	"vendor/golang.org/x/crypto/internal/...",
)...)

func inlining(packages ...string) (flags []string) {
	for _, p := range packages {
		flags = append(flags, "-gcflags="+p+"=")
	}
	return flags
}

// compile returns the code of an engine. It stays in .cache, where an unchanged one is not linked again.
func (p project) compile(ctx context.Context, engine string) ([]byte, error) {
	out := p.path(".cache/build/" + engine + ".wasm")
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w"}, smallCode...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", out, "./wasm/"+engine)...)
	cmd.Dir = p.root
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if _, err := output(cmd); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// wasmExec returns the JavaScript that belongs to the Go toolchain which compiles the engines.
func (p project) wasmExec(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT")
	cmd.Dir = p.root
	goroot, err := output(cmd)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(strings.TrimSpace(goroot), "lib", "wasm", "wasm_exec.js"))
}

// output runs a program; an error carries what the program wrote about it.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	name := strings.Join(cmd.Args[:min(2, len(cmd.Args))], " ") // an argument may be a whole script
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w\n%s", name, err, exit.Stderr)
	}
	return "", fmt.Errorf("%s: %w", name, err)
}
