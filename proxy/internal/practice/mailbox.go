package practice

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hack-pad/hackpadfs"
)

const (
	mailboxFolder = "messages"
	suffixMessage = ".eml"
	suffixPartial = ".part"
)

var errTooBig = errors.New("the message is larger than the whole mailbox may be")

var queueIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// queueIDLength is 16 octets in base32.
const queueIDLength = 26

// newQueueID is 128 random bits. To know it is to be allowed to read the message.
func newQueueID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return queueIDs.EncodeToString(b[:])
}

func validQueueID(id string) bool {
	return len(id) == queueIDLength && strings.IndexFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '2' || r > '7')
	}) < 0
}

// mailbox keeps whole messages, one file each, oldest out. One mutex guards
// all of it, because the file systems behind it lose concurrent writes.
type mailbox struct {
	mu       sync.Mutex
	files    hackpadfs.FS
	maxBytes int64
	maxCount int
	order    []entry // oldest first
	total    int64
}

type entry struct {
	id   string
	size int64
}

func openMailbox(files hackpadfs.FS, maxBytes int64, maxCount int) (*mailbox, error) {
	m := &mailbox{files: files, maxBytes: maxBytes, maxCount: maxCount}
	if err := hackpadfs.MkdirAll(files, mailboxFolder, 0o700); err != nil {
		return nil, err
	}
	found, err := hackpadfs.ReadDir(files, mailboxFolder)
	if err != nil {
		return nil, err
	}
	type dated struct {
		entry
		stored time.Time
	}
	var kept []dated
	for _, f := range found {
		if strings.HasSuffix(f.Name(), suffixPartial) {
			// A write that an earlier process did not finish.
			if err := hackpadfs.Remove(files, mailboxFolder+"/"+f.Name()); err != nil {
				return nil, err
			}
			continue
		}
		id, isMessage := strings.CutSuffix(f.Name(), suffixMessage)
		if !isMessage || !validQueueID(id) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		kept = append(kept, dated{entry{id, info.Size()}, info.ModTime()})
	}
	slices.SortFunc(kept, func(a, b dated) int {
		return cmp.Or(a.stored.Compare(b.stored), strings.Compare(a.id, b.id))
	})
	for _, k := range kept {
		m.order = append(m.order, k.entry)
		m.total += k.size
	}
	return m, m.makeRoom(0, 0)
}

func messagePath(id string) string { return mailboxFolder + "/" + id + suffixMessage }

// put stores a message. It is whole or not there: the file gets its name only
// when all of it is written.
func (m *mailbox) put(id string, message []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := int64(len(message))
	if size > m.maxBytes {
		return errTooBig
	}
	if err := m.makeRoom(size, 1); err != nil {
		return err
	}
	partial := mailboxFolder + "/" + id + suffixPartial
	if err := hackpadfs.WriteFullFile(m.files, partial, message, 0o600); err != nil {
		return errors.Join(err, hackpadfs.Remove(m.files, partial))
	}
	if err := hackpadfs.Rename(m.files, partial, messagePath(id)); err != nil {
		return errors.Join(err, hackpadfs.Remove(m.files, partial))
	}
	m.order = append(m.order, entry{id, size})
	m.total += size
	return nil
}

// makeRoom removes the oldest messages until more octets in more messages fit.
func (m *mailbox) makeRoom(octets int64, messages int) error {
	for len(m.order) > 0 && (m.total+octets > m.maxBytes || len(m.order)+messages > m.maxCount) {
		oldest := m.order[0]
		if err := hackpadfs.Remove(m.files, messagePath(oldest.id)); err != nil && !errors.Is(err, hackpadfs.ErrNotExist) {
			return fmt.Errorf("make room in the mailbox: %w", err)
		}
		m.order = m.order[1:]
		m.total -= oldest.size
	}
	return nil
}

func (m *mailbox) get(id string) ([]byte, error) {
	// Checked before it becomes part of a path.
	if !validQueueID(id) {
		return nil, hackpadfs.ErrNotExist
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return hackpadfs.ReadFile(m.files, messagePath(id))
}
