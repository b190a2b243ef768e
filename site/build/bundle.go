package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"smtpscope/protocol/book"
	"smtpscope/protocol/smtp"
)

// assets is the folder of files whose names hold a hash of their content.
const assets = "assets"

// files are built files by slash-separated path below dist.
type files map[string][]byte

// modules are the sources of the modules that exist only in the build, by the name behind "virtual:".
type modules map[string]module

type module struct {
	source string
	loader api.Loader
}

func (p project) virtualModules(ctx context.Context) (modules, error) {
	transitions, err := json.Marshal(smtp.Transitions)
	if err != nil {
		return nil, err
	}
	wasmExec, err := p.wasmExec(ctx)
	if err != nil {
		return nil, err
	}
	return modules{
		"transitions": {string(transitions), api.LoaderJSON},
		"book":        {string(book.JSON()), api.LoaderJSON},
		"wasm_exec":   {string(wasmExec), api.LoaderJS},
	}, nil
}

// setAssets makes the module with one exported string per hashed file.
func (m modules) setAssets(names map[string]string) {
	var source strings.Builder
	for _, key := range slices.Sorted(maps.Keys(names)) { // the order shows in the hash
		fmt.Fprintf(&source, "export const %s = %q;\n", key, names[key])
	}
	m["assets"] = module{source.String(), api.LoaderJS}
}

func (m modules) plugin() api.Plugin {
	return api.Plugin{Name: "virtual modules", Setup: func(build api.PluginBuild) {
		build.OnResolve(api.OnResolveOptions{Filter: `^virtual:`}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: strings.TrimPrefix(args.Path, "virtual:"), Namespace: "virtual"}, nil
		})
		build.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "virtual"}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			made, ok := m[args.Path]
			if !ok {
				return api.OnLoadResult{}, fmt.Errorf("the build makes no module virtual:%s", args.Path)
			}
			return api.OnLoadResult{Contents: &made.source, Loader: made.loader}, nil
		})
	}}
}

// linkedStyles lets a script say which style sheet it needs: the import is left out where index.html links that sheet, and
// an error where nothing does.
func (p project) linkedStyles(entryPoints []string) api.Plugin {
	return api.Plugin{Name: "linked styles", Setup: func(build api.PluginBuild) {
		build.OnResolve(api.OnResolveOptions{Filter: `\.css$`}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			if args.Kind != api.ResolveJSImportStatement {
				return api.OnResolveResult{}, nil
			}
			name, err := filepath.Rel(p.root, filepath.Join(args.ResolveDir, args.Path))
			if err != nil {
				return api.OnResolveResult{}, err
			}
			if !slices.Contains(entryPoints, filepath.ToSlash(name)) {
				return api.OnResolveResult{}, fmt.Errorf("no page loads %s: link it in site/index.html", filepath.ToSlash(name))
			}
			return api.OnResolveResult{Path: name, Namespace: "linked", SideEffects: api.SideEffectsFalse}, nil
		})
		build.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "linked"}, func(api.OnLoadArgs) (api.OnLoadResult, error) {
			return api.OnLoadResult{Contents: new(string), Loader: api.LoaderEmpty}, nil
		})
	}}
}

// bundleWorker adds the script of the worker and returns its name. It is no ES module: those start slower, and in some
// browsers not at all.
func (p project) bundleWorker(made files, m modules) (string, error) {
	entries, err := p.bundle(made, m, api.FormatIIFE, "site/src/worker.ts")
	if err != nil {
		return "", err
	}
	return entries["site/src/worker.ts"], nil
}

// source finds what index.html takes from site/src.
var source = regexp.MustCompile(`(\b(?:src|href)=")(src/[^"]+)(")`)

// bundleIndex adds index.html, and every script and style sheet of site/src that it names.
func (p project) bundleIndex(made files, m modules) error {
	index, err := os.ReadFile(p.path("site/index.html"))
	if err != nil {
		return err
	}
	var names []string
	for _, match := range source.FindAllSubmatch(index, -1) {
		names = append(names, "site/"+string(match[2]))
	}
	if len(names) == 0 {
		return errors.New(`site/index.html names no script: expected <script type="module" src="src/….ts">`)
	}
	entries, err := p.bundle(made, m, api.FormatESModule, names...)
	if err != nil {
		return err
	}
	made["index.html"] = source.ReplaceAllFunc(index, func(attribute []byte) []byte {
		match := source.FindSubmatch(attribute)
		return slices.Concat(match[1], []byte(entries["site/"+string(match[2])]), match[3])
	})
	return nil
}

// bundle adds the entry points, minified, and all they import. It returns the name that each entry point got.
func (p project) bundle(made files, m modules, format api.Format, entryPoints ...string) (map[string]string, error) {
	sourcemap := api.SourceMapNone
	if p.fast {
		sourcemap = api.SourceMapLinked
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir:     p.root,
		EntryPoints:       entryPoints,
		EntryNames:        assets + "/[name]-[hash]",
		ChunkNames:        assets + "/[name]-[hash]",
		AssetNames:        assets + "/[name]-[hash]",
		Outdir:            "site/dist",
		Bundle:            true,
		Splitting:         format == api.FormatESModule,
		Format:            format,
		Platform:          api.PlatformBrowser,
		Target:            api.ES2022,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsEndOfFile,
		Sourcemap:         sourcemap,
		Metafile:          true,
		Plugins:           []api.Plugin{m.plugin(), p.linkedStyles(entryPoints)},
	})
	if err := messages(result); err != nil {
		return nil, err
	}
	dist := p.path("site/dist")
	for _, file := range result.OutputFiles {
		name, err := filepath.Rel(dist, file.Path)
		if err != nil {
			return nil, err
		}
		made[filepath.ToSlash(name)] = file.Contents
	}

	var meta struct {
		Outputs map[string]struct {
			EntryPoint string `json:"entryPoint"`
		} `json:"outputs"`
	}
	if err := json.Unmarshal([]byte(result.Metafile), &meta); err != nil {
		return nil, err
	}
	entries := map[string]string{}
	for name, out := range meta.Outputs {
		if out.EntryPoint != "" {
			entries[out.EntryPoint] = strings.TrimPrefix(name, "site/dist/")
		}
	}
	return entries, nil
}

// buildTests bundles each site/test/**/*.test.ts and *.bench.ts for Node into site/dist-test, at the same place below it.
// Packages stay imports; style sheets are left out.
func (p project) buildTests(ctx context.Context) error {
	if err := p.check(); err != nil {
		return err
	}
	m, err := p.virtualModules(ctx)
	if err != nil {
		return err
	}
	m.setAssets(map[string]string{"worker": assets + "/worker.js", "live": assets + "/live.wasm", "lab": assets + "/lab.wasm", "desk": assets + "/desk.wasm", "roots": assets + "/roots.der"})
	var tests []string
	err = filepath.WalkDir(p.path("site/test"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(name, ".test.ts") || strings.HasSuffix(name, ".bench.ts")) {
			tests = append(tests, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(tests) == 0 {
		return errors.New("there is no site/test/**/*.test.ts")
	}
	if err := os.RemoveAll(p.path("site/dist-test")); err != nil {
		return err
	}
	return messages(api.Build(api.BuildOptions{
		AbsWorkingDir: p.root,
		EntryPoints:   tests,
		Outbase:       "site/test",
		Outdir:        "site/dist-test",
		OutExtension:  map[string]string{".js": ".mjs"},
		Bundle:        true,
		Format:        api.FormatESModule,
		Platform:      api.PlatformNode,
		Packages:      api.PackagesExternal,
		Target:        api.ES2022,
		Loader:        map[string]api.Loader{".css": api.LoaderEmpty},
		Sourcemap:     api.SourceMapInline,
		Plugins:       []api.Plugin{m.plugin()},
		Write:         true,
	}))
}

// messages returns the errors of esbuild as one, each with file, line and the text there. Warnings count as errors: nothing
// of what they say is harmless in a page that is about to be released.
func messages(result api.BuildResult) error {
	text := api.FormatMessages(result.Errors, api.FormatMessagesOptions{Kind: api.ErrorMessage})
	text = append(text, api.FormatMessages(result.Warnings, api.FormatMessagesOptions{Kind: api.WarningMessage})...)
	if len(text) == 0 {
		return nil
	}
	return errors.New(strings.TrimSpace(strings.Join(text, "")))
}

// hashedName is a name below assets that changes with the content, in the manner of esbuild's own.
func hashedName(base, extension string, content []byte) string {
	return path.Join(assets, base+"-"+shortHash(content)+extension)
}
