package mail

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/hack-pad/hackpadfs"

	"smtpscope/protocol/trace"
)

const (
	suffixMessage = ".eml"
	suffixPartial = ".part"
)

// Mailbox is what was delivered to one address.
type Mailbox struct {
	Owner    string   // the address in lower case: the servers of the lab do not tell Ada from ada
	Messages [][]byte // in the order of their arrival
}

// deliver puts a message into a mailbox, with the Return-Path that final delivery
// adds (RFC 5321, 4.4). It is there whole or not at all: the file gets its name
// only when all of it is written. System.mu is held.
func (v *server) deliver(e envelope, to string, text []byte) error {
	s := v.system
	owner := strings.ToLower(to)
	folder := folderOf(owner)
	if err := hackpadfs.MkdirAll(s.config.Files, folder, 0o700); err != nil {
		return err
	}
	message := append(fmt.Appendf(nil, "Return-Path: <%s>\r\n", e.from), text...)
	name := folder + "/" + s.config.Now().UTC().Format("20060102T150405.000000000") + "-" + e.id
	if err := hackpadfs.WriteFullFile(s.config.Files, name+suffixPartial, message, 0o600); err != nil {
		return errors.Join(err, hackpadfs.Remove(s.config.Files, name+suffixPartial))
	}
	if err := hackpadfs.Rename(s.config.Files, name+suffixPartial, name+suffixMessage); err != nil {
		return errors.Join(err, hackpadfs.Remove(s.config.Files, name+suffixPartial))
	}
	v.event(trace.KindDelivered, trace.MailData{QueueID: e.id, From: e.from, To: []string{to}, Size: len(message), Mailbox: owner}, message)
	return nil
}

// folderOf names the folder of a mailbox: the owner, with every octet escaped that
// is not one of a few. It holds an @, so that it is neither "." nor "..".
func folderOf(owner string) string {
	var b strings.Builder
	for _, c := range []byte(owner) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("@.-_+", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Mailboxes reads all mailboxes back, in the order of their folders' names.
func (s *System) Mailboxes() ([]Mailbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	folders, err := hackpadfs.ReadDir(s.config.Files, ".")
	if err != nil {
		return nil, fmt.Errorf("mail: read the mailboxes: %w", err)
	}
	var all []Mailbox
	for _, f := range folders {
		owner, err := url.PathUnescape(f.Name())
		if err != nil || folderOf(owner) != f.Name() {
			continue // not of this package's making
		}
		m := Mailbox{Owner: owner}
		files, err := hackpadfs.ReadDir(s.config.Files, f.Name())
		if err != nil {
			return nil, fmt.Errorf("mail: read the mailbox of %s: %w", owner, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file.Name(), suffixMessage) {
				continue
			}
			text, err := hackpadfs.ReadFile(s.config.Files, f.Name()+"/"+file.Name())
			if err != nil {
				return nil, fmt.Errorf("mail: read the mailbox of %s: %w", owner, err)
			}
			m.Messages = append(m.Messages, text)
		}
		all = append(all, m)
	}
	return all, nil
}
