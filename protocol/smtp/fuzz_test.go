package smtp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzClient reads a session out of its input: a byte for what to do, and for some of
// it the rest of the line. The server's bytes reach one client whole and another in
// pieces, and both must say the same.
func FuzzClient(f *testing.F) {
	for _, s := range []string{
		"<220 mx\n.e\n<250-mx\n<250-STARTTLS\n<250 AUTH PLAIN\n.s\n<220 go\n.t\n.e\n<250 mx\n",
		"<220 mx\n.e\n<250 mx\n.mada@example.org\n<250 ok\n.rbob@example.net\n<250 ok\n.d\n<354 go\n.M.x\n<250 ok\n.q\n<221 bye\n.x\n",
		"<220 mx\n.e\n<250 AUTH\n.aPLAIN\n<334 x\n.*QUJD\n<235 ok\n",
		"<220 mx\n.e\n<250-mx\n<250 PIPELINING\n.m\n.rbob@example.net\n.rpostmaster\n.d\n<250 ok\n<550 no\n<450 no\n<354 go\n.M\n<554 no\n.q\n",
		"<220 mx\n.e\n<250-mx\n<250 PIPELINING\n.m\n.rpostmaster\n.d\n<550 no\n<503 no\n<503 no\n.m\n<250 ok\n.cRSET\n.m\n<421 no\n.x\n",
		"<220 mx\n.e\n<250-mx\n<250-CHUNKING\n<250 PIPELINING\n.m\n.rpostmaster\n.babc\n.p\n<250 ok\n<250 ok\n.p\n<250 ok\n.Babc\n.p\n<552 no\n.x\n",
		"<220 mx\n.e\n<250-mx\n<250-CHUNKING\n<250 PIPELINING\n.m\n.rpostmaster\n.Bx\n.cRSET\n<250 ok\n<550 no\n<503 no\n.cRSET\n<250 ok\n.RBDAT 0 LAST\n<503 no\n",
		"<220 mx\n.RDATA\n<354 go\n.M\n.p\n<421 no\n.x\n",
		"<220 mx\n<220 mx\n",
		"<\x16\x03\x01\n",
		"<554 no\n.q\n<221 bye\n.x\n",
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		split := randomly(seed)
		one, two := NewClient(Options{Name: "page.example"}), NewClient(Options{Name: "page.example"})
		both := []*Client{one, two}
		var out bytes.Buffer
		closed, desynced := false, false
		compare := func(most int) {
			for ; most != 0; most-- {
				e, again := one.Next(), two.Next()
				require.Equal(t, e, again, "the same events however the bytes are split")
				if e == nil {
					return
				}
				require.False(t, closed, "nothing follows Closed")
				switch e := e.(type) {
				case *Output:
					require.False(t, desynced, "nothing is sent after Desync")
					require.EqualValues(t, out.Len(), e.Off)
					out.Write(e.Bytes)
				case *ReplyReceived:
					require.False(t, desynced, "no reply after Desync")
				case Desync:
					desynced = true
				case Closed:
					closed = true
				}
			}
		}
		for line := range bytes.SplitSeq(in, []byte("\n")) {
			if len(line) == 0 {
				continue
			}
			if line[0] == '<' {
				reply := append(slices.Clone(line[1:]), "\r\n"...)
				one.Receive(reply)
				for _, piece := range split(string(reply)) {
					two.Receive([]byte(piece))
				}
				compare(-1)
				continue
			}
			var kind byte
			var text string
			if len(line) > 1 {
				kind, text = line[1], string(line[2:])
			}
			submit := func(cmd Command, err error) {
				if err != nil {
					return
				}
				for _, c := range both {
					legal := c.Legal()
					_, err := c.Submit(cmd)
					var syntax *SyntaxError // of what does not fit the transaction
					if !cmd.Raw && !errors.As(err, &syntax) {
						require.Equal(t, slices.Contains(legal, cmd.Verb), err == nil, "Submit agrees with Legal")
					}
				}
			}
			switch kind {
			case 'e':
				submit(Ehlo(text))
			case 'h':
				submit(Helo(text))
			case 'm':
				submit(Mail(text))
			case 'r':
				submit(RcptUTF8(text))
			case 'd':
				submit(Data(), nil)
			case 'M':
				submit(Message(bytes.Repeat([]byte(text+"\r"), 1+min(len(text), 40)*100)), nil)
				continue // its chunks wait for what comes next
			case 'b', 'B':
				submit(Bdat(bytes.Repeat([]byte(strings.ReplaceAll(text, "\r", "")), 1+min(len(text), 40)*1000), kind == 'B'), nil)
				continue
			case 'a':
				submit(Auth(text, nil))
			case '*':
				submit(Response(text))
			case 's':
				submit(StartTLS(), nil)
			case 'q':
				submit(Quit(), nil)
			case 'R':
				submit(Raw(text), nil)
			case 'c':
				submit(ParseCommand(text))
			case 't':
				one.TLSDone()
				two.TLSDone()
			case 'x':
				one.ReceiveEOF()
				two.ReceiveEOF()
			case 'p':
				compare(2)
				continue
			}
			compare(-1)
		}
		compare(-1)
		sent := bytes.ReplaceAll(out.Bytes(), []byte("\r\n"), []byte(" "))
		require.False(t, bytes.ContainsAny(sent, "\r\n"), "neither CR nor LF alone is ever sent")
		for _, c := range both {
			require.LessOrEqual(t, cap(c.parser.buf), 4*(MaxReply+MaxReplyLine), "memory is bounded")
			require.Empty(t, c.events)
		}
		require.Equal(t, one.State(), two.State())
		require.Equal(t, one.Server(), two.Server())
		if closed {
			require.Equal(t, StateClosed, one.State())
		}
	})
}
