package practice

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/hack-pad/hackpadfs"
	"github.com/hack-pad/hackpadfs/mem"
	osfs "github.com/hack-pad/hackpadfs/os"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func memory(t *testing.T) hackpadfs.FS {
	files, err := mem.NewFS()
	require.NoError(t, err)
	return files
}

func disk(t *testing.T) hackpadfs.FS {
	files, err := osfs.NewFS().Sub(strings.TrimPrefix(t.TempDir(), "/"))
	require.NoError(t, err)
	return files
}

func TestMailbox(t *testing.T) {
	for name, files := range map[string]func(*testing.T) hackpadfs.FS{"memory": memory, "disk": disk} {
		t.Run(name, func(t *testing.T) {
			t.Run("a large message comes back whole", func(t *testing.T) {
				m, err := openMailbox(files(t), 64<<20, 200)
				require.NoError(t, err)
				large := bytes.Repeat([]byte("0123456789abcde\n"), 20<<16)
				id := newQueueID()
				require.NoError(t, m.put(id, large))
				got, err := m.get(id)
				require.NoError(t, err)
				assert.True(t, bytes.Equal(large, got))
			})
			t.Run("oldest out by number", func(t *testing.T) {
				box := files(t)
				m, err := openMailbox(box, 1000, 3)
				require.NoError(t, err)
				ids := putMany(t, m, 5, 10)
				present(t, m, ids[2:]...)
				absent(t, m, ids[:2]...)
				left, err := hackpadfs.ReadDir(box, mailboxFolder)
				require.NoError(t, err)
				assert.Len(t, left, 3, "no file may be left behind")
			})
			t.Run("oldest out by size", func(t *testing.T) {
				m, err := openMailbox(files(t), 100, 200)
				require.NoError(t, err)
				ids := putMany(t, m, 4, 30)
				present(t, m, ids[1:]...)
				absent(t, m, ids[0])
				assert.ErrorIs(t, m.put(newQueueID(), make([]byte, 101)), errTooBig)
				present(t, m, ids[1:]...)
				big := newQueueID()
				require.NoError(t, m.put(big, make([]byte, 100)))
				absent(t, m, ids...)
				present(t, m, big)
			})
			t.Run("many at once", func(t *testing.T) {
				m, err := openMailbox(files(t), 1<<20, 200)
				require.NoError(t, err)
				var wg sync.WaitGroup
				ids := make([]string, 160)
				for i := range ids {
					ids[i] = newQueueID()
					wg.Go(func() { assert.NoError(t, m.put(ids[i], []byte(ids[i]))) })
				}
				wg.Wait()
				for _, id := range ids {
					got, err := m.get(id)
					require.NoError(t, err)
					assert.Equal(t, id, string(got))
				}
			})
			t.Run("opened again", func(t *testing.T) {
				box := files(t)
				m, err := openMailbox(box, 1000, 10)
				require.NoError(t, err)
				ids := putMany(t, m, 4, 10)
				require.NoError(t, hackpadfs.WriteFullFile(box, mailboxFolder+"/"+newQueueID()+suffixPartial, []byte("half"), 0o600))
				require.NoError(t, hackpadfs.WriteFullFile(box, mailboxFolder+"/notes.txt", []byte("not ours"), 0o600))
				m, err = openMailbox(box, 1000, 3)
				require.NoError(t, err)
				assert.Len(t, m.order, 3)
				assert.EqualValues(t, 30, m.total)
				there := 0
				for _, id := range ids {
					if _, err := m.get(id); err == nil {
						there++
					}
				}
				assert.Equal(t, 3, there)
				_, err = hackpadfs.Stat(box, mailboxFolder+"/notes.txt")
				assert.NoError(t, err, "files of others stay")
			})
		})
	}
}

func putMany(t *testing.T, m *mailbox, count, size int) []string {
	t.Helper()
	var ids []string
	for range count {
		id := newQueueID()
		require.NoError(t, m.put(id, bytes.Repeat([]byte("m"), size)))
		ids = append(ids, id)
	}
	return ids
}

func present(t *testing.T, m *mailbox, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := m.get(id)
		assert.NoError(t, err)
	}
}

func absent(t *testing.T, m *mailbox, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := m.get(id)
		assert.ErrorIs(t, err, fs.ErrNotExist)
	}
}

// brokenFS fails to rename, as a full disk might.
type brokenFS struct{ hackpadfs.FS }

func (brokenFS) Rename(string, string) error { return errors.New("no space left") }

func (b brokenFS) Mount(name string) (hackpadfs.FS, string) { return b.FS, name }

func TestFailedWriteLeavesNothing(t *testing.T) {
	box := memory(t)
	m, err := openMailbox(brokenFS{box}, 1000, 10)
	require.NoError(t, err)
	require.Error(t, m.put(newQueueID(), []byte("x")))
	assert.Empty(t, m.order)
	left, err := hackpadfs.ReadDir(box, mailboxFolder)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestQueueIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := newQueueID()
		assert.True(t, validQueueID(id), id)
		assert.False(t, seen[id])
		seen[id] = true
	}
	for _, bad := range []string{"", "abc", strings.Repeat("1", 26), strings.Repeat("a", 27), strings.Repeat("a", 24) + "é"} {
		assert.False(t, validQueueID(bad), bad)
	}
}
