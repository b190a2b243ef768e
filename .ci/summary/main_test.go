package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadGo(t *testing.T) {
	for name, c := range map[string]struct {
		events []string
		want   counts
		shown  []string
		hidden []string
	}{
		"a test that passes": {
			[]string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}`,
				`{"Action":"pass","Package":"p","Test":"TestA"}`,
				`{"Action":"pass","Package":"p","Elapsed":1.25}`,
			},
			counts{Passed: 1}, []string{"ok   p 1.2s"}, []string{"chatter"},
		},
		"subtests count, their parent does not": {
			[]string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"run","Package":"p","Test":"TestA/x"}`,
				`{"Action":"run","Package":"p","Test":"TestA/y"}`,
				`{"Action":"output","Package":"p","Test":"TestA/y","Output":"why\n"}`,
				`{"Action":"pass","Package":"p","Test":"TestA/x"}`,
				`{"Action":"fail","Package":"p","Test":"TestA/y"}`,
				`{"Action":"fail","Package":"p","Test":"TestA"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			counts{Passed: 1, Failed: 1}, []string{"why", "FAIL p"}, nil,
		},
		"a parent that fails by itself": {
			[]string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"run","Package":"p","Test":"TestA/x"}`,
				`{"Action":"pass","Package":"p","Test":"TestA/x"}`,
				`{"Action":"fail","Package":"p","Test":"TestA"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			counts{Passed: 1, Failed: 1}, nil, nil,
		},
		"skipped for want of something": {
			[]string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a.go:1: NOT RUN: postfix is missing\n"}`,
				`{"Action":"skip","Package":"p","Test":"TestA"}`,
				`{"Action":"pass","Package":"p"}`,
			},
			counts{Skipped: 1, NotRun: []string{"postfix is missing"}}, []string{"NOT RUN: postfix"}, nil,
		},
		"skipped for another reason": {
			[]string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a.go:1: too slow for -short\n"}`,
				`{"Action":"skip","Package":"p","Test":"TestA"}`,
				`{"Action":"pass","Package":"p"}`,
			},
			counts{Skipped: 1}, nil, nil,
		},
		"a panic": {
			[]string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"output","Package":"p","Test":"TestA","Output":"panic: oh\n"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			counts{Failed: 1}, []string{"TestA did not end", "panic: oh"}, nil,
		},
		"does not compile": {
			[]string{
				`{"ImportPath":"p","Action":"build-output","Output":"a.go:1: undefined: x\n"}`,
				`{"ImportPath":"p","Action":"build-fail"}`,
				`{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}`,
				`{"Action":"fail","Package":"p","FailedBuild":"p"}`,
			},
			counts{Failed: 1}, []string{"undefined: x", "build failed"}, nil,
		},
		"no test files": {
			[]string{`{"Action":"skip","Package":"p"}`},
			counts{}, nil, []string{"p"},
		},
		"a word from go itself": {
			[]string{`go: no module`},
			counts{}, []string{"go: no module"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			got, err := readGo(strings.NewReader(strings.Join(c.events, "\n")), &out)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
			for _, text := range c.shown {
				assert.Contains(t, out.String(), text)
			}
			for _, text := range c.hidden {
				assert.NotContains(t, out.String(), text)
			}
		})
	}
}

func TestReadTAP(t *testing.T) {
	for name, c := range map[string]struct {
		text     string
		want     counts
		complete bool
	}{
		"all": {
			"TAP version 13\n    ok 1 - inner # SKIP NOT RUN: no chromium\n# tests 9\n# suites 1\n# pass 3\n# fail 1\n# cancelled 2\n# skipped 2\n# todo 1\n",
			counts{Passed: 3, Failed: 3, Skipped: 3, NotRun: []string{"no chromium"}}, true,
		},
		"died":     {"TAP version 13\nok 1 - a\n", counts{}, false},
		"no tests": {"# tests 0\n# pass 0\n# fail 0\n", counts{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, complete := readTAP([]byte(c.text))
			assert.Equal(t, c.want, got)
			assert.Equal(t, c.complete, complete)
		})
	}
}

func TestRunNode(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("a.test.mjs", []byte(`import { test } from "node:test";
test("passes", () => {});
test("is skipped", { skip: "NOT RUN: nothing to run on" }, () => {});
`), 0o644))
	require.NoError(t, os.WriteFile("b.test.mjs", []byte(`throw new Error("at once");`), 0o644))

	var out strings.Builder
	ok, err := run([]string{"node", "page", "a.test.mjs"}, &out)
	require.NoError(t, err)
	assert.True(t, ok, out.String())
	assert.Contains(t, out.String(), "page: 1 passed, 0 failed, 1 skipped")

	ok, err = run([]string{"node", "broken", "b.test.mjs"}, &out)
	require.NoError(t, err)
	assert.False(t, ok)
	assert.Contains(t, out.String(), "broken: 0 passed, 1 failed, 0 skipped")
}

func TestTotal(t *testing.T) {
	for name, c := range map[string]struct {
		stages map[string]string
		failed []string
		strict bool
		ok     bool
		want   []string
	}{
		"all well":      {map[string]string{"go": `{"passed":2}`, "page": `{"passed":1,"skipped":1}`}, nil, true, true, []string{"3 passed, 0 failed, 1 skipped"}},
		"a failed test": {map[string]string{"go": `{"passed":2,"failed":1}`}, []string{"go"}, false, false, []string{"2 passed, 1 failed, 0 skipped"}},
		"a failed stage without tests": {
			map[string]string{"go": `{"passed":2}`}, []string{"lint"}, false, false,
			[]string{"FAILED: lint", "2 passed, 1 failed, 0 skipped"},
		},
		"something missing": {
			map[string]string{"go": `{"passed":2,"skipped":2,"notRun":["no postfix","no postfix"]}`}, nil, false, true,
			[]string{"NOT RUN: no postfix", "2 passed, 0 failed, 2 skipped"},
		},
		"something missing in CI": {
			map[string]string{"go": `{"passed":2,"skipped":1,"notRun":["no postfix"]}`}, nil, true, false,
			[]string{"NOT RUN: no postfix", "With CI=true everything must run.", "2 passed, 0 failed, 1 skipped"},
		},
		"nothing ran": {nil, nil, false, false, []string{"0 passed, 0 failed, 0 skipped"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			require.NoError(t, os.MkdirAll(folder, 0o755))
			for stage, text := range c.stages {
				require.NoError(t, os.WriteFile(folder+"/"+stage+".json", []byte(text), 0o644))
			}
			var out strings.Builder
			ok, err := total(c.failed, c.strict, &out)
			require.NoError(t, err)
			assert.Equal(t, c.ok, ok)
			assert.Equal(t, strings.Join(c.want, "\n")+"\n", out.String())
		})
	}
}

func TestRunChecksItsArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{nil, {"go"}, {"go", "x"}, {"fly", "x", "y"}} {
		_, err := run(args, &strings.Builder{})
		assert.Error(t, err, args)
	}
	var out strings.Builder
	ok, err := run([]string{"not-run", "e2e", "no browser"}, &out)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Contains(t, out.String(), "NOT RUN: e2e: no browser")
	_, err = run([]string{"go", "go", "/no/such/program"}, &out)
	assert.Error(t, err)
}
