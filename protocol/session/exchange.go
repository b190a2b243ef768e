package session

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"smtpscope/protocol/dissect"
	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// phases are the names that the result uses for what is being sent.
var phases = map[smtp.Verb]string{
	smtp.VerbEhlo: "ehlo", smtp.VerbLhlo: "ehlo", smtp.VerbHelo: "ehlo", smtp.VerbXclient: "ehlo", smtp.VerbStartTLS: "starttls", smtp.VerbAuth: "auth", smtp.VerbResponse: "auth",
	smtp.VerbMail: "mail", smtp.VerbRcpt: "rcpt", smtp.VerbData: "data", smtp.VerbMessage: "message", smtp.VerbBdat: "message", smtp.VerbQuit: "quit",
}

// send submits the next command, after the pause that the user may want.
func (s *Session) send(ctx context.Context, next smtp.Command) *failure {
	for _, text := range s.plot.notes {
		s.note(text)
	}
	s.plot.notes = nil
	cmd := command{Command: next}
	var handle smtp.Handle
	for problem := ""; ; {
		waits := s.paused || len(s.unsent) == 0 && s.pauses(next)
		if waits {
			text, ok, f := s.pause(ctx, next, problem)
			if !ok || f != nil {
				return f
			}
			if cmd, problem = s.edit(next, text); problem != "" {
				continue
			}
		}
		var err error
		if handle, err = s.client.Submit(cmd.Command); err == nil {
			break
		}
		if problem = err.Error(); !waits {
			return &failure{code: trace.CodeBadPlan, permanent: true, message: problem}
		}
	}
	if s.paused {
		s.resumed(next, cmd.edited)
	}
	s.last, s.asked = cmd.Verb, true
	s.commands[handle] = &cmd
	s.plot.sent(cmd.Command)
	return nil
}

// output records what the client wants sent. A message, or a chunk of one with all
// that stands before it in its group, is written at once, a command when nothing
// more joins its group.
func (s *Session) output(ctx context.Context, out *smtp.Output) *failure {
	cmd := s.commands[out.Handle]
	if out.Verb == smtp.VerbMessage {
		return s.outputMessage(ctx, out, cmd)
	}
	at := s.rec.Append(trace.TextOut, out.Bytes)
	var spans []trace.Span
	for _, sp := range out.Secret {
		spans = append(spans, trace.Span(sp))
		s.remember(out.Bytes[sp[0]:sp[1]])
	}
	e := trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindCommand, Dir: trace.Out, Src: trace.Observed,
		From: trace.HostClient, To: trace.HostServer, At: &at, Secret: spans, Fields: dissect.Command(out.Bytes),
		Text: smtp.Escape(trace.Mask(strings.TrimSuffix(string(out.Bytes), "\r\n"), spans)),
		Data: trace.Encode(trace.CommandData{Verb: string(out.Verb), Raw: out.Raw, Edited: cmd.edited, Deadline: smtp.WaitFor(out.Verb)})}
	switch out.Verb {
	case smtp.VerbMail:
		s.chunked = false
	case smtp.VerbAuth:
		if words := strings.Fields(string(out.Bytes)); len(words) > 1 { // AUTH mechanism [initial-response]
			s.sasl = exchange{words[1], len(words) - 2}
		}
		s.remember(nil) // a server may know the password before it is sent
	case smtp.VerbResponse:
		e.Kind, e.Fields = trace.KindResponse, dissect.Response(s.sasl.mechanism, s.sasl.responses, out.Bytes)
		s.sasl.responses++
	}
	s.maskFields(e.Fields)
	cmd.event = s.rec.Add(e)
	s.dotSent = s.dotSent || cmd.Final() && len(cmd.Message) == 0
	s.unsent = append(s.unsent, out.Bytes...)
	return nil
}

// flush writes a command, or a group of them, so that one segment and one TLS
// record can carry all of it.
func (s *Session) flush(ctx context.Context) *failure {
	p := s.unsent
	s.unsent = nil
	n := int64(len(p))
	return s.write(ctx, p, trace.Range{Stream: trace.TextOut, Off: s.rec.Len(trace.TextOut) - n, Len: n})
}

// outputMessage writes a part of a message, or of a chunk of BDAT behind the
// commands of its group. Their event follows the last part.
func (s *Session) outputMessage(ctx context.Context, out *smtp.Output, cmd *command) *failure {
	if out.First {
		s.conn.longMessage(true)
		s.messageFrom, s.messageAt = int64(s.rec.Elapsed()), s.rec.Len(trace.TextOut)
	}
	at := s.rec.Append(trace.TextOut, out.Bytes)
	p := out.Bytes
	if n := len(s.unsent); n > 0 {
		p, s.unsent = append(s.unsent, p...), nil
		at.Off, at.Len = at.Off-int64(n), at.Len+int64(n)
	}
	f := s.write(ctx, p, at)
	if !out.Last && f == nil {
		if got, ok := s.reader.poll(); ok {
			f = s.take(got) // a reply before the final dot
		}
		return f
	}
	s.conn.longMessage(false)
	data := trace.MessageData{Started: s.messageFrom, Edited: cmd.edited}
	if st := out.Message; st != nil {
		data.Size, data.Stuffed, data.Normalized = st.Size, st.Stuffed, st.Normalized
	}
	whole := trace.Range{Stream: trace.TextOut, Off: s.messageAt, Len: s.rec.Len(trace.TextOut) - s.messageAt}
	n := s.rec.Add(trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindMessage, Dir: trace.Out, Src: trace.Observed,
		From: trace.HostClient, To: trace.HostServer, Data: trace.Encode(data), At: &whole,
		Text: fmt.Sprintf("message, %d bytes", data.Size), Fields: s.messageFields(whole, cmd)})
	if cmd.Verb == smtp.VerbMessage { // what BDAT is answered by answers its line
		cmd.event = n
	}
	s.dotSent = cmd.Final()
	return f
}

// messageFields takes a message apart as far as its beginning is kept. A chunk that
// goes on with a message is taken for nothing else.
func (s *Session) messageFields(at trace.Range, cmd *command) []trace.Field {
	begun := s.chunked
	s.chunked = cmd.Verb == smtp.VerbBdat && !cmd.Final()
	if begun {
		return nil
	}
	raw := s.rec.Bytes(at)
	if int64(len(raw)) < at.Len {
		raw = raw[:trace.BulkHead]
	}
	return dissect.Message(raw, cmd.Verb == smtp.VerbMessage)
}

// write sends bytes. When that fails, what the server said last is still read:
// it tells why more often than the error does.
func (s *Session) write(ctx context.Context, p []byte, at trace.Range) *failure {
	s.conn.raw.SetWriteDeadline(s.config.Now().Add(smtp.WaitDataBlock)) //nolint:errcheck // a connection that cannot wait fails in Write
	err := s.conn.Write(p, at)
	if err == nil {
		return nil
	}
	deadline := s.config.Now().Add(lastWords)
	for s.lost == nil && ctx.Err() == nil {
		got, ok := s.reader.wait(ctx, deadline, nil)
		if !ok {
			break
		}
		s.client.Receive(got.bytes)
		s.lost = got.err
	}
	if s.lost == nil || errors.Is(s.lost, io.EOF) || errors.Is(s.lost, os.ErrDeadlineExceeded) {
		s.lost = err
	}
	s.client.ReceiveEOF() // settle goes on with what was read
	return nil
}

// reply records a reply and hands it to the plan.
func (s *Session) reply(ev *smtp.ReplyReceived) {
	r := ev.Reply
	at := trace.Range{Stream: trace.TextIn, Off: ev.Off, Len: ev.Len}
	raw := s.rec.Bytes(at)
	if r.Code == 334 {
		s.rememberChallenge(r.Lines)
	}
	lines := r.EscapedLines()
	for i := range lines {
		lines[i] = s.maskEchoes(lines[i])
	}
	data := trace.ReplyData{Code: r.Code, Enhanced: r.Enhanced.String(), Lines: lines, Verb: string(ev.Verb), State: string(ev.State)}
	for _, o := range r.Oddities {
		data.Oddities = append(data.Oddities, string(o))
	}
	for _, v := range ev.Legal {
		data.Legal = append(data.Legal, string(v))
	}
	cmd := command{Command: smtp.Command{Verb: ev.Verb}}
	if c := s.commands[ev.Handle]; c != nil {
		cmd, data.Answers = *c, &c.event
	}
	fields := dissect.Reply(raw)
	if r.Code == 334 {
		fields = dissect.Challenge(s.sasl.mechanism, raw)
	}
	if (ev.Verb == smtp.VerbEhlo || ev.Verb == smtp.VerbLhlo) && r.Positive() {
		fields = dissect.EHLOReply(raw)
		for _, x := range s.client.Server().Extensions {
			data.Extensions = append(data.Extensions, trace.Extension{Keyword: x.Keyword, Params: x.Params})
		}
	}
	s.maskFields(fields)
	e := trace.Event{Layer: trace.LayerSMTP, Kind: trace.KindReply, Dir: trace.In, Src: trace.Observed,
		From: trace.HostServer, To: trace.HostClient, At: &at, Fields: fields, Secret: s.echoes(raw),
		Text: s.maskEchoes(firstLine(raw)), Data: trace.Encode(data)}
	n := s.rec.Add(e)
	if s.asked { // the first reply ends the wait, those to the rest of its group come along
		s.roundTrips++
		s.asked = false
	}
	s.last = ev.Verb

	// The enhanced code stands in the first line too; the result names it once.
	quote := &trace.ResultReply{Code: r.Code, Enhanced: data.Enhanced, Lines: slices.Clone(lines), Event: n}
	if data.Enhanced != "" {
		for i := range quote.Lines {
			quote.Lines[i] = strings.TrimPrefix(strings.TrimPrefix(quote.Lines[i], data.Enhanced), " ")
		}
	}
	s.plot.complete = s.dotSent
	s.plot.heard(s.phase, ev.State, ev.Legal, cmd.Command, r, quote)
	s.dotSent = s.dotSent && (!cmd.Final() || ev.State == smtp.StateMessage) && !s.plot.abandoned
}

func firstLine(raw []byte) string {
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	return smtp.Escape(strings.TrimSuffix(string(line), "\r"))
}

// exchange is what tells the parts of a line of AUTH: the mechanism, and how many
// responses there were, the initial one among them.
type exchange struct {
	mechanism string
	responses int
}

// shortestSecret keeps the masking of echoes from eating ordinary words.
const shortestSecret = 4

// remember keeps a secret that was sent, and what it says in clear, so that a
// server that repeats it does not put it into the trace. A user name is no secret.
func (s *Session) remember(secret []byte) {
	var account Auth
	if s.plan.Auth != nil {
		account = *s.plan.Auth
	}
	keep := func(text string) {
		if text == account.Username && text != account.Password {
			return
		}
		for _, form := range []string{text, smtp.Escape(text)} {
			if len(form) >= shortestSecret && !slices.Contains(s.secrets, form) {
				s.secrets = append(s.secrets, form)
			}
		}
	}
	keep(string(secret))
	keep(account.Password) // which CRAM-MD5 does not send, and XOAUTH2 and OAUTHBEARER send among other things
	if plain, err := base64.StdEncoding.DecodeString(string(secret)); err == nil {
		parts := strings.Split(string(plain), "\x00")
		keep(parts[len(parts)-1])
	}
}

// rememberChallenge makes a secret of a challenge that repeats one below its base64,
// and of the verifier of SCRAM, with which passwords can be tried (RFC 5802, 9).
func (s *Session) rememberChallenge(lines []string) {
	for _, line := range lines {
		plain, err := base64.StdEncoding.DecodeString(line)
		if err != nil || slices.Contains(s.secrets, line) {
			continue
		}
		if len(s.echoes(plain)) > 0 || bytes.HasPrefix(plain, []byte("v=")) {
			s.secrets = append(s.secrets, line)
		}
	}
}

// maskFields hides what a field says of a secret that the server repeats, or that is the user name too.
func (s *Session) maskFields(fields []trace.Field) {
	for i := range fields {
		fields[i].Value = s.maskEchoes(fields[i].Value)
	}
}

func (s *Session) echoes(raw []byte) (spans []trace.Span) {
	for _, secret := range s.secrets {
		for from := 0; ; {
			i := bytes.Index(raw[from:], []byte(secret))
			if i < 0 {
				break
			}
			from += i
			spans = append(spans, trace.Span{int64(from), int64(from + len(secret))})
			from += len(secret)
		}
	}
	return spans
}

func (s *Session) maskEchoes(text string) string {
	spans := s.echoes([]byte(text))
	slices.SortFunc(spans, func(a, b trace.Span) int { return int(a[0] - b[0]) })
	return trace.Mask(text, spans)
}

// secretSpans are the spans of a pending line that a display masks.
func secretSpans(c smtp.Command) []trace.Span {
	line := c.Line()
	if c.Verb == smtp.VerbResponse && line != "*" {
		return []trace.Span{{0, int64(len(line))}}
	}
	if i := strings.IndexByte(c.Arg, ' '); c.Verb == smtp.VerbAuth && i >= 0 && c.Arg[i:] != " =" {
		return []trace.Span{{int64(len(line) - len(c.Arg) + i + 1), int64(len(line))}}
	}
	return []trace.Span{}
}
