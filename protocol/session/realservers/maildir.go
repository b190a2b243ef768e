package realservers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// spooled is a server program that queues accepted mail on disk and delivers it into a maildir.
type spooled struct {
	*process
	maildir string
	queue   []string // folders that hold accepted mail until it is delivered, in the order in which mail passes through
	failed  string   // the folder of the queue in which undeliverable mail waits; "" for none
	trace   []string // names of the fields that delivery puts on top, in order
	// accepted finds in those fields what sorts messages in the order in which they were accepted. Delivery may overtake. nil:
	// the names of the files do.
	accepted *regexp.Regexp
	// logged is the line of the log about the acceptance of what accepted found, for a server whose log alone keeps the order.
	logged string
}

// shellDeliver is a shell script that writes one message into the maildir $1.
const shellDeliver = `set -eu
mkdir -p "$1/tmp" "$1/new"
file=$(mktemp -p "$1/tmp")
cat >"$file"
mv "$file" "$1/new"
`

func (s *spooled) messages(ctx context.Context) ([][]byte, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		waiting, err := s.waiting()
		if err != nil {
			return nil, err
		}
		if waiting == "" {
			break
		}
		if s.failed != "" && strings.HasPrefix(waiting, s.failed+string(filepath.Separator)) {
			return nil, fmt.Errorf("a message could not be delivered and waits in %s", waiting)
		}
		select {
		case <-tick.C:
		case <-s.exited():
			return nil, fmt.Errorf("%w while %s was not yet delivered", errExited, waiting)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s was not yet delivered", ctx.Err(), waiting)
		}
	}
	return s.read()
}

// read returns what is in the maildir. One that does not exist yet is empty.
func (s *spooled) read() ([][]byte, error) {
	dir := filepath.Join(s.maildir, "new")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	type message struct {
		order string
		text  []byte
	}
	var log string
	if s.logged != "" {
		if log, err = s.wholeLog(); err != nil {
			return nil, err
		}
	}
	stored := make([]message, len(entries))
	for i, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		b = toCRLF(b)
		text, err := stripTrace(b, s.trace)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		stored[i] = message{e.Name(), text}
		if s.accepted != nil {
			match := s.accepted.FindSubmatch(b[:len(b)-len(text)])
			if match == nil {
				return nil, fmt.Errorf("%s: the trace fields do not tell when the message was accepted: %q", e.Name(), b[:len(b)-len(text)])
			}
			stored[i].order = string(match[1])
			if s.logged != "" {
				at := strings.Index(log, fmt.Sprintf(s.logged, match[1]))
				if at < 0 {
					return nil, fmt.Errorf("%s: the log does not tell when %s was accepted", e.Name(), match[1])
				}
				stored[i].order = fmt.Sprintf("%012d", at)
			}
		}
	}
	slices.SortFunc(stored, func(a, b message) int { return strings.Compare(a.order, b.order) })
	texts := make([][]byte, len(stored))
	for i, m := range stored {
		texts[i] = m.text
	}
	return texts, nil
}

// waiting returns the path of one queued message, "" when there is none.
func (s *spooled) waiting() (string, error) {
	for _, dir := range s.queue {
		var found string
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // moved on while we looked
			}
			if err != nil {
				return err
			}
			if d.IsDir() {
				return nil
			}
			found = path
			return fs.SkipAll
		})
		if err != nil || found != "" {
			return found, err
		}
	}
	return "", nil
}

// toCRLF undoes the line ends of a Unix mailbox. A server that kept CRLF is left as it is.
func toCRLF(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// stripTrace removes the named header fields, with their folded lines (RFC 5322, 2.2.3), from the top of a message. Each must
// be there, in that order: anything else means that the server stores mail in a way that this package does not know.
func stripTrace(message []byte, fields []string) ([]byte, error) {
	for _, field := range fields {
		name, _, _ := bytes.Cut(message, []byte(":"))
		if !strings.EqualFold(string(name), field) {
			return nil, fmt.Errorf("the stored message has %.40q where the trace field %s should be", message, field)
		}
		for first := true; first || len(message) > 0 && (message[0] == ' ' || message[0] == '\t'); first = false {
			_, message, _ = bytes.Cut(message, []byte("\r\n"))
		}
	}
	return message, nil
}
