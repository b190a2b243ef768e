package realservers

import (
	"bytes"
	"cmp"
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
}

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
	stored, err := readMaildir(s.maildir)
	if err != nil {
		return nil, err
	}
	messages := make([][]byte, len(stored))
	for i, b := range stored {
		if messages[i], err = stripTrace(toCRLF(b), s.trace); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
	}
	return messages, nil
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

// maildirMicros finds seconds and microseconds in the name that Postfix gives to a message in a maildir.
var maildirMicros = regexp.MustCompile(`^(\d+)\.V.*M(\d+)\.`)

// readMaildir returns the new messages of a maildir, oldest first. A maildir that does not exist yet is empty.
func readMaildir(dir string) ([][]byte, error) {
	dir = filepath.Join(dir, "new")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	order := func(e fs.DirEntry) string {
		if m := maildirMicros.FindStringSubmatch(e.Name()); m != nil {
			micros := m[2]
			return m[1] + "." + strings.Repeat("0", max(0, 6-len(micros))) + micros
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(order(a), order(b)) })
	messages := make([][]byte, len(entries))
	for i, e := range entries {
		if messages[i], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return messages, nil
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
