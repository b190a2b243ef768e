package smtp_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	netsmtp "net/smtp"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"smtpscope/protocol/smtp"
)

// The same dialogue, by this client and by those of net/smtp and go-smtp, with a
// server that costs next to nothing. How fast each reads a reply alone is in BenchmarkReply.

const (
	sender    = "ada@example.org"
	recipient = "bob@example.net"
)

// letter is a message of size octets at least, lines of 76 and CRLF.
func letter(size int) []byte {
	line := strings.Repeat("x", 76) + "\r\n"
	return []byte("From: Ada <ada@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: a letter\r\n\r\n" + strings.Repeat(line, 1+size/len(line)))
}

// wire is a connection to a server that answers every line at once: what is
// written is read by a state machine of two states, and its replies wait to be read.
type wire struct {
	replies bytes.Buffer
	data    bool
	tail    [5]byte // the last octets of the message
	sink    io.Writer
}

var answers = map[byte]string{
	'E': "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n",
	'M': "250 2.1.0 Ok\r\n", 'R': "250 2.1.5 Ok\r\n", 'D': "354 End data with <CR><LF>.<CR><LF>\r\n", 'Q': "221 2.0.0 Bye\r\n",
}

func newWire() *wire {
	w := &wire{}
	w.replies.WriteString("220 mx.example.net ESMTP\r\n")
	return w
}

func (w *wire) Write(p []byte) (int, error) {
	if w.sink != nil {
		w.sink.Write(p) //nolint:errcheck // a buffer
	}
	if w.data {
		if n := copy(w.tail[:], p[max(0, len(p)-5):]); n < 5 {
			return 0, errors.New("the message came in pieces that this server does not read")
		}
		if string(w.tail[:]) == "\r\n.\r\n" {
			w.data = false
			w.replies.WriteString("250 2.0.0 Ok: queued as 4F2C\r\n")
		}
		return len(p), nil
	}
	w.replies.WriteString(answers[p[0]])
	w.data = p[0] == 'D'
	return len(p), nil
}

func (w *wire) Read(p []byte) (int, error)       { return w.replies.Read(p) }
func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// driver moves bytes between our client and a wire, as protocol/session does.
type driver struct {
	c    *smtp.Client
	conn *wire
	buf  [4096]byte
}

func newDriver(w *wire) *driver {
	return &driver{c: smtp.NewClient(smtp.Options{Name: "localhost"}), conn: w}
}

// exchange writes what is to be sent and reads until it is answered.
func (d *driver) exchange() error {
	for answered := false; ; {
		for e := d.c.Next(); e != nil; e = d.c.Next() {
			switch e := e.(type) {
			case *smtp.Output:
				if _, err := d.conn.Write(e.Bytes); err != nil {
					return err
				}
			case *smtp.ReplyReceived:
				if e.Reply.Code >= 400 {
					return errors.New("refused")
				}
				answered = true
			case smtp.Desync:
				return errors.New(e.Reason)
			}
		}
		if answered {
			return nil
		}
		n, err := d.conn.Read(d.buf[:])
		if err != nil {
			return err
		}
		d.c.Receive(d.buf[:n])
	}
}

func (d *driver) do(c smtp.Command, err error) error {
	if err == nil {
		_, err = d.c.Submit(c)
	}
	if err != nil {
		return err
	}
	return d.exchange()
}

// Each client sends a session of some messages over a wire.
var clients = []struct {
	name string
	play func(w *wire, text []byte, messages int) error
}{
	{"smtpscope", func(w *wire, text []byte, messages int) error {
		d := newDriver(w)
		err := errors.Join(d.exchange(), d.do(smtp.Ehlo("localhost")))
		for range messages {
			err = errors.Join(err, d.do(smtp.Mail(sender, "BODY=8BITMIME")), d.do(smtp.Rcpt(recipient)), d.do(smtp.Data(), nil), d.do(smtp.Message(text), nil))
		}
		return errors.Join(err, d.do(smtp.Quit(), nil))
	}},
	{"net-smtp", func(w *wire, text []byte, messages int) error {
		c, err := netsmtp.NewClient(w, "mx.example.net")
		if err != nil {
			return err
		}
		for range messages {
			err := errors.Join(c.Mail(sender), c.Rcpt(recipient))
			body, dataErr := c.Data()
			if err = errors.Join(err, dataErr); err != nil {
				return err
			}
			_, err = body.Write(text)
			if err = errors.Join(err, body.Close()); err != nil {
				return err
			}
		}
		return c.Quit()
	}},
	{"go-smtp", func(w *wire, text []byte, messages int) error {
		c := gosmtp.NewClient(w)
		for range messages {
			err := errors.Join(c.Mail(sender, &gosmtp.MailOptions{Body: gosmtp.Body8BitMIME}), c.Rcpt(recipient, nil))
			body, dataErr := c.Data()
			if err = errors.Join(err, dataErr); err != nil {
				return err
			}
			_, err = body.Write(text)
			if err = errors.Join(err, body.Close()); err != nil {
				return err
			}
		}
		return c.Quit()
	}},
}

// What is compared is the same: every client puts the same lines on the wire.
func TestPeersSayTheSame(t *testing.T) {
	var first string
	for _, c := range clients {
		var sent bytes.Buffer
		w := newWire()
		w.sink = &sent
		require.NoError(t, c.play(w, letter(4<<10), 2), c.name)
		if first == "" {
			first = sent.String()
		}
		require.Equal(t, first, sent.String(), c.name)
	}
}

func BenchmarkSession(b *testing.B) {
	for _, size := range []struct {
		name             string
		octets, messages int
	}{{"1x4kB", 4 << 10, 1}, {"100x4kB", 4 << 10, 100}, {"1x8MB", 8 << 20, 1}} {
		text := letter(size.octets)
		for _, c := range clients {
			b.Run(size.name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(text) * size.messages))
				for b.Loop() {
					if err := c.play(newWire(), text, size.messages); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
