package mail

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/hack-pad/hackpadfs"
	"github.com/hack-pad/hackpadfs/mem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/trace"
	"smtpscope/wasm/internet"
)

func TestMailboxesHaveSafeNames(t *testing.T) {
	for owner, want := range map[string]string{
		"bob@example.net":                      "bob@example.net",
		"bob+lab_1-2.x@example.net":            "bob+lab_1-2.x@example.net",
		`"../../etc/passwd"@example.net`:       "%22..%2F..%2Fetc%2Fpasswd%22@example.net",
		`"a\\b"@example.net`:                   "%22a%5C%5Cb%22@example.net",
		"100%@example.net":                     "100%25@example.net",
		"o'brien*?|@example.net":               "o%27brien%2A%3F%7C@example.net",
		strings.Repeat("/", 64) + "@x.example": strings.Repeat("%2F", 64) + "@x.example",
	} {
		assert.Equal(t, want, folderOf(owner))
		assert.True(t, hackpadfs.ValidPath(folderOf(owner)+"/x"))
	}
}

// delivery is a server without a network that only delivers.
func delivery(t *testing.T, files hackpadfs.FS) (s *System, deliver func(to, text string) error) {
	now := start
	s = New(Config{Now: func() time.Time { return now }, Files: files})
	l, err := internet.New(internet.Config{Hosts: hosts[:1], Settle: func() {}})
	require.NoError(t, err)
	t.Cleanup(l.Close)
	v := &server{Server: Server{Host: l.Host("client"), Name: "mx.example.net", Domains: []string{"example.net"}}, system: s}
	return s, func(to, text string) error {
		now = now.Add(time.Second)
		return v.accept(envelope{id: s.newID(v.Name), to: []string{to}}, []byte(text))
	}
}

func TestMailboxes(t *testing.T) {
	files, err := mem.NewFS()
	require.NoError(t, err)
	s, deliver := delivery(t, files)
	require.NoError(t, deliver("Bob@Example.NET", "1"))
	require.NoError(t, deliver(`"../x"@example.net`, "2"))
	for _, text := range []string{"3", "4", "5"} {
		require.NoError(t, deliver("bob@example.net", text))
	}
	require.NoError(t, hackpadfs.MkdirAll(files, "Something else", 0o700))
	require.NoError(t, hackpadfs.WriteFullFile(files, "bob@example.net/unfinished.part", []byte("x"), 0o600))

	got, err := s.Mailboxes()
	require.NoError(t, err)
	message := func(text string) []byte { return []byte("Return-Path: <>\r\n" + text) }
	assert.Equal(t, []Mailbox{
		{`"../x"@example.net`, [][]byte{message("2")}},
		{"bob@example.net", [][]byte{message("1"), message("3"), message("4"), message("5")}},
	}, got)
}

// broken is a file system that is full.
type broken struct{ *mem.FS }

var errNoSpace = errors.New("no space left")

func (broken) Rename(string, string) error { return errNoSpace }

func TestMessageThatCannotBeStored(t *testing.T) {
	files, err := mem.NewFS()
	require.NoError(t, err)
	s, deliver := delivery(t, broken{files})
	assert.ErrorIs(t, deliver("bob@example.net", "1"), errNoSpace)
	got, err := s.Mailboxes()
	require.NoError(t, err)
	assert.Equal(t, []Mailbox{{Owner: "bob@example.net"}}, got)
	left, err := hackpadfs.ReadDir(files, "bob@example.net")
	require.NoError(t, err)
	assert.Empty(t, left, "no file may be left behind")
	_, err = hackpadfs.Stat(files, "bob@example.net")
	assert.NotErrorIs(t, err, fs.ErrNotExist)
}

func TestReadingTraces(t *testing.T) {
	reply := func(n int, verb string, code int, enhanced, text string) trace.Event {
		return trace.Event{N: n, Layer: trace.LayerSMTP, Kind: trace.KindReply,
			Data: trace.Encode(trace.ReplyData{Code: code, Enhanced: enhanced, Lines: strings.Split(text, "|"), Verb: verb})}
	}
	recipients := func(o trace.Outcome, events ...int) []trace.MessageResult {
		r := []trace.RecipientResult{{To: "a@x.example", Outcome: o}, {To: "b@x.example", Outcome: o}}
		for i := range events {
			r[i].Event = &events[i]
		}
		return []trace.MessageResult{{Outcome: o, Recipients: r}}
	}
	lost := &trace.ErrorInfo{Code: trace.CodeClosed, Message: "lost"}
	for _, c := range []struct {
		name   string
		events []trace.Event
		result trace.Result
		want   [2]string // kind, status, reason
	}{
		{"accepted", nil, trace.Result{Messages: recipients(trace.Accepted)}, [2]string{"relayed  ", "relayed  "}},
		{"each its own reply",
			[]trace.Event{reply(0, "RCPT", 450, "4.2.1", "4.2.1 later"), reply(1, "RCPT", 550, "", "never")},
			trace.Result{Messages: recipients(trace.Rejected, 0, 1), Error: lost},
			[2]string{"deferred 4.2.1 450 4.2.1 later", "bounced 5.0.0 550 never"}},
		{"refused with the message",
			[]trace.Event{reply(0, "RCPT", 550, "5.1.1", "5.1.1 never"), reply(1, "RCPT", 250, "", "ok"), reply(2, "message", 451, "4.3.0", "4.3.0 one|4.3.0 two")},
			trace.Result{Messages: recipients(trace.Rejected, 0, 1), Error: lost},
			[2]string{"bounced 5.1.1 550 5.1.1 never", "deferred 4.3.0 451 4.3.0 one two"}},
		{"goodbye to the first recipient",
			[]trace.Event{reply(0, "MAIL", 250, "", "ok"), reply(1, "RCPT", 421, "4.3.2", "4.3.2 bye")},
			trace.Result{Messages: recipients(trace.Failed, 1), Error: lost},
			[2]string{"deferred 4.3.2 421 4.3.2 bye", "deferred 4.3.2 421 4.3.2 bye"}},
		{"goodbye out of the blue",
			[]trace.Event{reply(0, "MAIL", 250, "", "ok"), reply(1, "", 421, "", "bye")},
			trace.Result{Messages: recipients(trace.Failed), Error: lost},
			[2]string{"deferred 4.0.0 421 bye", "deferred 4.0.0 421 bye"}},
		{"HELO after all, then lost",
			[]trace.Event{reply(0, "EHLO", 500, "", "what?"), reply(1, "HELO", 250, "", "ok")},
			trace.Result{Messages: recipients(trace.Failed), Error: lost},
			[2]string{"deferred 4.4.2 lost", "deferred 4.4.2 lost"}},
		{"outcome unknown",
			[]trace.Event{reply(0, "RCPT", 250, "", "ok"), reply(1, "RCPT", 250, "", "ok"), reply(2, "DATA", 354, "", "go")},
			trace.Result{Messages: recipients(trace.Unknown, 0, 1), Error: lost},
			[2]string{"deferred 4.4.2 lost", "deferred 4.4.2 lost"}},
		{"8-bit text", []trace.Event{reply(0, "EHLO", 250, "", "ok")},
			trace.Result{Messages: recipients(trace.Rejected), Permanent: true, Error: &trace.ErrorInfo{Code: trace.CodeUnsupported, Message: "no"}},
			[2]string{"bounced 5.6.3 no", "bounced 5.6.3 no"}},
		{"not SMTP", nil,
			trace.Result{Messages: recipients(trace.Failed), Permanent: true, Error: &trace.ErrorInfo{Code: trace.CodeProtocol, Message: "no"}},
			[2]string{"deferred 4.4.2 no", "deferred 4.4.2 no"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := fates(&trace.Trace{Events: c.events, Result: &c.result}, []string{"a@x.example", "b@x.example"})
			require.Len(t, got, 2)
			for i, f := range got {
				assert.Equal(t, []string{"a@x.example", "b@x.example"}[i], f.to)
				assert.Equal(t, c.want[i], string(f.kind)+" "+f.status+" "+f.reason)
			}
		})
	}
}
