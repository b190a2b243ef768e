// Command summary runs tests and counts them, so that one line at the end tells the truth about all of them.
//
//	summary go NAME go test -json …     runs Go tests, shows what failed and what was skipped
//	summary node NAME [FLAG…] FILE…     runs tests with Node's test runner
//	summary not-run NAME REASON         notes a whole stage that cannot run here
//	summary total [STAGE…]              adds all of these up; each STAGE failed without counting a test
//
// Counts wait for the total in .cache/test below the working directory. A skipped test whose reason begins with NOT RUN needs
// something that this machine lacks: it is listed at the end, and with CI=true it makes the total fail.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const folder = ".cache/test"

// counts are the results of one stage.
type counts struct {
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"`
	NotRun  []string `json:"notRun,omitempty"` // why tests were skipped that should have run
}

func main() {
	ok, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) (ok bool, err error) {
	if len(args) > 0 && args[0] == "total" {
		return total(args[1:], os.Getenv("CI") == "true", out)
	}
	if len(args) < 3 {
		return false, errors.New("usage: summary go NAME COMMAND… | node NAME FILE… | not-run NAME REASON | total [STAGE…]")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return false, err
	}
	var c counts
	ended := true // without an error
	switch kind, name, rest := args[0], args[1], args[2:]; kind {
	case "go":
		c, ended, err = runGo(rest, out)
	case "node":
		c, ended, err = runNode(filepath.Join(folder, name+".tap"), rest, out)
	case "not-run":
		c = counts{Skipped: 1, NotRun: []string{name + ": " + rest[0]}}
		fmt.Fprintf(out, "NOT RUN: %s: %s\n", name, rest[0])
	default:
		return false, fmt.Errorf("summary does not know %q", kind)
	}
	if err != nil {
		return false, err
	}
	if !ended && c.Failed == 0 {
		c.Failed = 1
	}
	fmt.Fprintf(out, "%s: %s\n", args[1], c)
	text, err := json.Marshal(c)
	if err != nil {
		return false, err
	}
	return c.Failed == 0, os.WriteFile(filepath.Join(folder, args[1]+".json"), text, 0o644)
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.Passed, c.Failed, c.Skipped)
}

// total prints the sum of all stages as its last line.
func total(failedStages []string, strict bool, out io.Writer) (ok bool, err error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return false, err
	}
	var sum counts
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return false, err
		}
		var c counts
		if err := json.Unmarshal(text, &c); err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		if stage := strings.TrimSuffix(filepath.Base(name), ".json"); c.Failed > 0 {
			failedStages = slices.DeleteFunc(failedStages, func(s string) bool { return s == stage })
		}
		sum.Passed += c.Passed
		sum.Failed += c.Failed
		sum.Skipped += c.Skipped
		sum.NotRun = append(sum.NotRun, c.NotRun...)
	}
	sum.Failed += len(failedStages)
	for _, stage := range failedStages {
		fmt.Fprintf(out, "FAILED: %s\n", stage)
	}
	slices.Sort(sum.NotRun)
	for _, reason := range slices.Compact(sum.NotRun) {
		fmt.Fprintf(out, "NOT RUN: %s\n", reason)
	}
	ok = sum.Failed == 0 && sum.Passed > 0
	if strict && len(sum.NotRun) > 0 {
		fmt.Fprintln(out, "With CI=true everything must run.")
		ok = false
	}
	fmt.Fprintln(out, sum)
	return ok, nil
}

// notRun finds the reason in the output of a skipped test.
var notRun = regexp.MustCompile(`NOT RUN:? *(.*)`)

// event is a line of go test -json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

type testID struct{ pkg, name string }

func runGo(command []string, out io.Writer) (c counts, ended bool, err error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = out
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return c, false, err
	}
	if err := cmd.Start(); err != nil {
		return c, false, err
	}
	c, err = readGo(pipe, out)
	return c, cmd.Wait() == nil, err
}

// readGo counts the tests of go test -json that have no subtests, and those with subtests that fail by themselves.
func readGo(in io.Reader, out io.Writer) (counts, error) {
	var c counts
	output := map[testID][]string{}      // of what has not ended
	running := map[string][]testID{}     // by package
	failedInside := map[testID]bool{}    // has a subtest that failed
	hasSubtests := map[testID]bool{}     // has any
	failedInPackage := map[string]bool{} // some test was counted
	show := func(id testID) {
		for _, line := range output[id] {
			if !strings.HasPrefix(line, "=== ") {
				fmt.Fprint(out, line)
			}
		}
		delete(output, id)
	}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return c, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return c, err
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			fmt.Fprintf(out, "%s", line) // go itself, not a test
			continue
		}
		id := testID{e.Package, e.Test}
		switch e.Action {
		case "run":
			running[e.Package] = append(running[e.Package], id)
			if parent, ok := id.parent(); ok {
				hasSubtests[parent] = true
			}
			continue
		case "output":
			output[id] = append(output[id], e.Output)
			continue
		case "build-output":
			fmt.Fprint(out, e.Output)
			continue
		case "pass", "fail", "skip":
		default:
			continue
		}

		if e.Test == "" {
			for _, unfinished := range running[e.Package] { // a panic or a timeout
				c.Failed++
				failedInPackage[e.Package] = true
				fmt.Fprintf(out, "--- FAIL: %s did not end\n", unfinished.name)
				show(unfinished)
			}
			delete(running, e.Package)
			if e.Action == "fail" {
				if !failedInPackage[e.Package] {
					c.Failed++
				}
				show(id)
			}
			delete(output, id)
			if e.Action != "skip" { // skip: no test files
				fmt.Fprintf(out, "%-4s %s %.1fs\n", map[string]string{"pass": "ok", "fail": "FAIL"}[e.Action], e.Package, e.Elapsed)
			}
			continue
		}

		running[e.Package] = slices.DeleteFunc(running[e.Package], func(r testID) bool { return r == id })
		switch {
		case e.Action == "fail":
			show(id)
			if parent, ok := id.parent(); ok {
				failedInside[parent] = true
			}
			if !failedInside[id] {
				c.Failed++
			}
			failedInPackage[e.Package] = true
		case e.Action == "skip":
			c.Skipped++
			if match := notRun.FindStringSubmatch(strings.Join(output[id], "")); match != nil {
				c.NotRun = append(c.NotRun, match[1])
			}
			show(id)
		case !hasSubtests[id]:
			c.Passed++
		}
		delete(output, id)
	}
}

// parent of "TestA/b/c" is "TestA/b".
func (id testID) parent() (testID, bool) {
	i := strings.LastIndexByte(id.name, '/')
	if i < 0 {
		return testID{}, false
	}
	return testID{id.pkg, id.name[:i]}, true
}

func runNode(tap string, args []string, out io.Writer) (c counts, ended bool, err error) {
	// What an earlier run left must not be counted.
	if err := os.Remove(tap); err != nil && !errors.Is(err, os.ErrNotExist) {
		return c, false, err
	}
	cmd := exec.Command("node", append([]string{
		"--test",
		"--test-reporter=spec", "--test-reporter-destination=stdout",
		"--test-reporter=tap", "--test-reporter-destination=" + tap,
	}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return c, false, err
	}
	text, readErr := os.ReadFile(tap)
	if readErr != nil {
		return c, false, readErr
	}
	c, complete := readTAP(text)
	return c, err == nil && complete, nil
}

// nodeTotal is a line of the end of a report, such as "# pass 12".
var nodeTotal = regexp.MustCompile(`^# (tests|pass|fail|cancelled|skipped|todo) (\d+)$`)

// readTAP takes the totals at the end of a report of Node's test runner; complete is false for one that has none or tells of no test.
func readTAP(text []byte) (c counts, complete bool) {
	tests := 0
	for line := range bytes.Lines(text) {
		line := strings.TrimRight(string(line), "\r\n")
		if _, reason, ok := strings.Cut(line, "# SKIP"); ok {
			if match := notRun.FindStringSubmatch(reason); match != nil {
				c.NotRun = append(c.NotRun, match[1])
			}
		}
		match := nodeTotal.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		n, err := strconv.Atoi(match[2])
		if err != nil {
			continue
		}
		switch match[1] {
		case "tests":
			tests = n
		case "pass":
			c.Passed = n
		case "fail", "cancelled":
			c.Failed += n
		case "skipped", "todo":
			c.Skipped += n
		}
	}
	return c, tests > 0
}
