package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testsIn lists the test and fuzz functions of a package.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "there are no tests in %s", dir)
	names := map[string]bool{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(source, -1) {
			names[string(m[1])] = true
		}
	}
	return names
}

// Every row of the threat table names at least one test, and all that it names exist.
func TestThreatsAreTested(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(readme), "\n## Threats\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")

	dirs := map[string]string{"main": ".", "tunnel": "../protocol/tunnel"}
	known := map[string]map[string]bool{}
	named := regexp.MustCompile("^`(\\w+):((?: (?:Test|Fuzz)\\w+)+)`$")
	attacks := map[string]bool{}
	for line := range strings.Lines(section) {
		line, isRow := strings.CutPrefix(strings.TrimSpace(line), "|")
		if !isRow || strings.HasPrefix(line, "---") || strings.HasPrefix(line, " attack ") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(line, "|"), " | ")
		require.Len(t, cells, 3, "attack, defence, test: %s", line)
		attack := strings.TrimSpace(cells[0])
		assert.False(t, attacks[attack], "twice: %s", attack)
		attacks[attack] = true
		for span := range strings.SplitSeq(strings.TrimSpace(cells[2]), ", ") {
			m := named.FindStringSubmatch(span)
			require.NotNil(t, m, "%s: write `package: TestName TestName`, not %s", attack, span)
			if known[m[1]] == nil {
				dir, special := dirs[m[1]]
				if !special {
					dir = filepath.Join("internal", m[1])
				}
				known[m[1]] = testsIn(t, dir)
			}
			for _, name := range strings.Fields(m[2]) {
				assert.True(t, known[m[1]][name], "%s: package %s has no %s", attack, m[1], name)
			}
		}
	}
	assert.GreaterOrEqual(t, len(attacks), 30, "the table was not read: %v", slices.Sorted(maps.Keys(attacks)))
}
