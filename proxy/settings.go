package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
)

// settle sets the flags that the command line leaves out: from the environment, and
// what that leaves out too from the file that --config names. Where a flag is
// given in one place, what later places say of it does not count.
func settle(flags *flag.FlagSet) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	flags.VisitAll(func(f *flag.Flag) {
		name := "SMTPSCOPE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(name)
		// SMTPSCOPE_VERSION is a likely name for other things than a flag.
		if given[f.Name] || value == "" || err != nil || f.Name == "version" {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = fmt.Errorf("invalid value %q in the environment variable %s: %w", value, name, e)
		}
		given[f.Name] = true
	})
	file := flags.Lookup("config").Value.String()
	if err != nil || file == "" {
		return err
	}
	return readSettings(flags, given, file)
}

// readSettings reads a file of lines "name = value", with the names of the flags. Lines
// that are empty or begin with # say nothing.
func readSettings(flags *flag.FlagSet, given map[string]bool, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	lines := map[string]int{} // where a setting came first
	scanner := bufio.NewScanner(f)
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := readSetting(flags, given, lines, line, n); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("--config: %s: %w", name, err)
	}
	return nil
}

func readSetting(flags *flag.FlagSet, given map[string]bool, lines map[string]int, line string, n int) error {
	name, value, found := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !found {
		return fmt.Errorf("%q is no setting: write it as in listen = 127.0.0.1:8025", line)
	}
	f := flags.Lookup(name)
	switch {
	case f == nil:
		return fmt.Errorf("there is no setting %q: the names are those of the flags without dashes in front (smtpscope --help)", name)
	case name == "config" || name == "version":
		return fmt.Errorf("%s can be given on the command line only, not in a file", name)
	case value == "":
		return fmt.Errorf("%s has no value; without the line the default holds", name)
	}
	_, repeatable := f.Value.(interface{ repeatable() })
	if first := lines[name]; first > 0 && !repeatable {
		return fmt.Errorf("%s was set on line %d already", name, first)
	}
	lines[name] = n
	if given[name] {
		return nil
	}
	if err := flags.Set(name, value); err != nil {
		return fmt.Errorf("invalid value %q of %s: %w", value, name, err)
	}
	return nil
}
