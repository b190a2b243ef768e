// Package docker has tests only: what BuildKit, which builds what docker build is given, says of the Dockerfile. It is
// a module of its own, so that BuildKit is no dependency of the program.
package docker

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	root = "../../../.." // what docker build is given
	file = root + "/proxy/deploy/Dockerfile"
)

// parse gives the stages, and what there is to complain of.
func parse(t *testing.T, text string) (stages []instructions.Stage, complaints []string) {
	t.Helper()
	lines, err := parser.Parse(strings.NewReader(text))
	require.NoError(t, err)
	for _, w := range lines.Warnings {
		complaints = append(complaints, w.Short)
	}
	rules := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		complaints = append(complaints, rule+": "+message)
	}})
	stages, _, err = instructions.Parse(lines.AST, rules)
	if err != nil {
		complaints = append(complaints, err.Error())
	}
	return stages, complaints
}

func dockerfile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func TestBuildKitHasNoComplaints(t *testing.T) {
	_, complaints := parse(t, dockerfile(t))
	assert.Empty(t, complaints)
	for _, bad := range []string{"\nEXPOSED 25\n", "\nmaintainer ada\n", "\nCOPY --frm=build a b\n"} {
		_, complaints = parse(t, dockerfile(t)+bad)
		assert.NotEmpty(t, complaints, bad)
	}
}

func TestImagesArePinned(t *testing.T) {
	stages, _ := parse(t, dockerfile(t))
	mod, err := os.ReadFile(root + "/go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(mod)
	require.NotNil(t, version)
	require.Len(t, stages, 3)
	assert.Equal(t, "golang:"+string(version[1])+"-bookworm", stages[0].BaseName, "the Go of go.mod")
	assert.Regexp(t, `^node:\d+\.\d+\.\d+-`, stages[1].BaseName)
	assert.Equal(t, "gcr.io/distroless/static-debian12:nonroot", stages[2].BaseName)
}

func TestTheLastStageIsUnprivileged(t *testing.T) {
	stages, _ := parse(t, dockerfile(t))
	var user string
	for _, command := range stages[len(stages)-1].Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.RunCommand:
			assert.Fail(t, "there is no shell in the last stage", "%s", c)
		case *instructions.EntrypointCommand:
			assert.False(t, c.PrependShell, "signals must reach the program itself")
		}
	}
	assert.Regexp(t, `^[1-9]\d*:[1-9]\d*$`, user, "Kubernetes can tell that it is not root by numbers only")
}

func TestWhatIsCopiedIsThere(t *testing.T) {
	stages, _ := parse(t, dockerfile(t))
	copied := 0
	for _, stage := range stages {
		for _, command := range stage.Commands {
			c, ok := command.(*instructions.CopyCommand)
			if !ok || c.From != "" {
				continue
			}
			for _, source := range c.SourcePaths {
				_, err := os.Stat(filepath.Join(root, source))
				assert.NoError(t, err)
				copied++
			}
		}
	}
	assert.Equal(t, 5, copied)
	_, err := os.Stat(file + ".dockerignore")
	assert.NotErrorIs(t, err, fs.ErrNotExist)
}
