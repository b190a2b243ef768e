// Package smtp is the client side of SMTP (RFC 5321) as a state machine without
// input and output: bytes of the server in, events out. It speaks the commands of
// RFC 5321, STARTTLS (RFC 3207), AUTH (RFC 4954), BDAT (RFC 3030), ETRN (RFC 1985)
// and Postfix's XCLIENT and XFORWARD, and sends commands in groups when it is given
// several at once (RFC 2920). LMTP (RFC 2033) is the same client with an option.
//
// It refuses to know sockets, clocks, TLS and SASL mechanisms: a driver sends what
// Output events carry, feeds what it reads, keeps time by Deadline events, does
// the handshake that UpgradeTLS asks for and computes SASL responses. It never
// guesses: once a reply cannot be matched to its command it says Desync and is done.
package smtp

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Options of a client. The zero value is usable.
type Options struct {
	// Name is the domain or address literal of EHLO and HELO when the command names none.
	Name string
	// LMTP says that the server speaks LMTP (RFC 2033): LHLO is sent in place of EHLO,
	// and each recipient that was accepted has a reply of its own to the message.
	LMTP bool
}

// Client is one SMTP session. Its methods must not be called concurrently.
type Client struct {
	name   string
	lmtp   bool
	state  State
	server *Server

	// What guards ask for.
	tls           bool // STARTTLS has been done
	authenticated bool
	ehloPutOff    bool // the last EHLO was answered 4yz

	// What the MAIL of the transaction declared.
	charset charset // of its addresses
	binary  bool    // BODY=BINARYMIME

	accepted int // recipients of the transaction

	in, out int64 // bytes received and bytes output
	parser  replyParser
	replyAt int64 // where the reply that is being received starts
	claim   claim // what that reply answers

	last    Handle        // the last one given out
	sent    Handle        // the last one whose output is out
	pending []pending     // not answered, oldest first
	message *transparency // the message text, while it is being sent
	octets  []byte        // those of BDAT, the last pending command, while they are being sent
	octet   int           // how many of them are out
	timed   bool          // the Deadline of the next Output of either is out
	upgrade bool          // UpgradeTLS is due
	timing  bool          // a Deadline is running
	goodbye bool          // the server announced that it will close
	eof     bool

	events []queued
	taken  int    // how many of events were handed out
	output Output // the one that was handed out last
	line   []byte // of the commands in events
	chunk  []byte // of the message that was handed out last

	legal map[State][]Verb // found so far; nothing that a guard asks for has changed since
}

// queued is an event for Next; no Event stands for the Output.
type queued struct {
	Event
	output Output
}

type pending struct {
	handle Handle
	verb   Verb
	raw    bool
	behind bool // sent while others were pending
	last   bool // the message ends with it
	octets int  // of its line
	heard  int  // replies to it, in LMTP
	more   bool // of them follow the one at hand
}

// claim is what a reply answers. It is settled by its first byte: a server that
// speaks before it is asked does not answer the question that comes later.
type claim int

const (
	answer      claim = iota // the oldest pending command
	unsolicited              // nothing
	early                    // the message or chunk, of which the end is not out yet
)

// NewClient returns a client that awaits the greeting.
func NewClient(o Options) *Client {
	c := &Client{name: o.Name, lmtp: o.LMTP, state: StateConnect, server: new(Server)}
	c.pending = []pending{{verb: VerbGreeting}}
	c.deadline(VerbGreeting, WaitGreeting)
	return c
}

// State is where the client stands.
func (c *Client) State() State { return c.state }

// Server is what the server has told about itself. It does not change any
// more: what the server says later is in a new one.
func (c *Client) Server() *Server { return c.server }

// Ahead is the state that the commands of a group lead to if all that are pending
// succeed: what is submitted now is judged by it. It is State when nothing is
// pending, and when nothing may be sent behind what is.
func (c *Client) Ahead() State {
	s, _ := c.ahead()
	return s
}

func (c *Client) ahead() (s State, open bool) {
	s = c.state
	if len(c.pending) == 0 {
		return s, true
	}
	octets := 0
	for _, p := range c.pending {
		if p.raw || !leads(p.verb) {
			return c.state, false
		}
		octets += p.octets
		// What does not fit because something before it was refused changes nothing.
		if row, ok := onReply(s, p, 250); ok {
			s = row.Next
		}
	}
	if !c.server.Offers("PIPELINING") || len(c.pending) >= MaxGroupCommands || octets+MaxCommandLine > MaxGroup {
		return c.state, false
	}
	return s, true
}

// Legal lists what may be submitted now. While replies are awaited that is what
// may join the commands that are on their way, where the server offers PIPELINING
// (RFC 2920), and nothing elsewhere. The list must not be changed.
func (c *Client) Legal() []Verb {
	state, open := c.ahead()
	if !open {
		return nil
	}
	legal, found := c.legal[state]
	if found {
		return legal
	}
	legal = make([]Verb, 0, 16)
	for _, r := range rules[state] {
		if r.verb != "" && c.holds(r) && !slices.Contains(legal, r.verb) {
			legal = append(legal, r.verb)
		}
	}
	if c.legal == nil {
		c.legal = make(map[State][]Verb)
	}
	c.legal[state] = legal
	return legal
}

func (c *Client) holds(r rule) bool {
	switch r.Guard {
	case guardEhlo:
		return !c.lmtp
	case guardLhlo:
		return c.lmtp
	case guardHelo:
		return !c.lmtp && !c.tls && !c.ehloPutOff
	case guardOffered:
		return c.server.Offers(string(r.verb))
	case guardStartTLS:
		return c.server.Offers("STARTTLS") && !c.tls
	case guardBdat:
		return c.server.Offers("CHUNKING")
	case guardData:
		return !c.binary
	case guardAuth:
		return c.server.Offers("AUTH") && !c.authenticated
	}
	return r.Guard == ""
}

// Submit sends a command: its Output comes out of Next. The error is a
// *SyntaxError or a *NotLegalError, and then nothing has changed. EHLO, LHLO and
// HELO without a name get that of the options.
func (c *Client) Submit(cmd Command) (Handle, error) {
	if (cmd.Verb == VerbEhlo || cmd.Verb == VerbLhlo || cmd.Verb == VerbHelo) && cmd.Arg == "" && !cmd.Raw {
		cmd.Arg = c.name
	}
	if err := cmd.check(); err != nil {
		return 0, err
	}
	verb, err := c.permit(cmd)
	if err != nil {
		return 0, err
	}
	if err := c.suits(cmd); err != nil {
		return 0, err
	}
	c.last++
	p := pending{handle: c.last, verb: verb, raw: cmd.Raw, behind: len(c.pending) > 0, last: cmd.Final()}
	if verb == VerbMessage {
		c.pending = append(c.pending, p)
		c.message = newTransparency(cmd.Message)
		return c.last, nil
	}
	if len(c.events) == 0 {
		c.line = c.line[:0]
	}
	at := len(c.line)
	c.line = cmd.wire(c.line)
	o := Output{Handle: c.last, Verb: verb, Off: c.out, Bytes: c.line[at:len(c.line):len(c.line)], First: true, Last: true, Raw: cmd.Raw}
	if verb == VerbAuth || verb == VerbResponse {
		o.Secret = secrets(verb, cmd.Line())
	}
	p.octets = len(o.Bytes)
	c.pending = append(c.pending, p)
	c.out += int64(len(o.Bytes))
	if verb == VerbBdat {
		c.octets, c.octet = cmd.Message, 0
	}
	if !p.behind {
		c.deadline(verb, WaitFor(verb))
	}
	c.events = append(c.events, queued{output: o})
	return c.last, nil
}

// suits takes in what MAIL declares and holds what follows to it.
func (c *Client) suits(cmd Command) error {
	switch {
	case cmd.Verb == VerbMail:
		params := cmd.mailParams()
		c.charset = charsetOf(params)
		binary := declares(params, "BODY=BINARYMIME")
		if binary != c.binary {
			c.binary = binary
			clear(c.legal)
		}
	case cmd.Verb == VerbRcpt && !cmd.Raw && c.charset == ascii:
		if i := strings.IndexFunc(cmd.Arg, func(r rune) bool { return r >= utf8.RuneSelf }); i >= 0 {
			return &SyntaxError{"forward-path", cmd.Arg, i, "a character beyond ASCII needs the parameter SMTPUTF8 of MAIL, " +
				"which this transaction began without", "RFC 6531, 3.4"}
		}
	}
	return nil
}

// permit returns the verb as which a command may be sent now.
func (c *Client) permit(cmd Command) (Verb, error) {
	verb, state, legal := cmd.Verb, c.Ahead(), c.Legal()
	ok := slices.Contains(legal, verb)
	if cmd.Raw {
		verb = Raw(cmd.Arg).Verb
		// Message text would swallow the line.
		ok = len(legal) > 0 && state != StateData
		if state == StateAuth {
			verb = VerbResponse
		}
	}
	if !ok {
		e := &NotLegalError{State: state, Verb: verb, Legal: legal}
		if len(c.pending) > 0 && len(legal) == 0 && c.state != StateClosed && c.state != StateDesync {
			e.Awaiting = c.pending[len(c.pending)-1].verb
		}
		return "", e
	}
	return verb, nil
}

// Next returns the next event, nil when there is none for now.
func (c *Client) Next() Event {
	if c.taken < len(c.events) {
		q := &c.events[c.taken]
		e := q.Event
		if e == nil {
			e = c.hand(q.output)
		}
		*q = queued{}
		if c.taken++; c.taken == len(c.events) {
			c.events, c.taken = c.events[:0], 0
		}
		return e
	}
	switch {
	case c.upgrade:
		c.upgrade = false
		return UpgradeTLS{}
	case (c.message != nil || len(c.octets) > 0) && !c.timed:
		c.timed, c.timing = true, true
		return Deadline{VerbMessage, WaitDataBlock}
	case c.message != nil:
		c.timed = false
		return c.text()
	case len(c.octets) > 0:
		c.timed = false
		return c.piece()
	}
	return nil
}

// hand puts an Output where Next hands it out.
func (c *Client) hand(o Output) *Output {
	c.output, c.sent = o, o.Handle
	return &c.output
}

// piece makes the next Output of the octets of BDAT.
func (c *Client) piece() *Output {
	p := c.pending[len(c.pending)-1]
	end := min(c.octet+MaxChunk, len(c.octets))
	o := Output{Handle: p.handle, Verb: VerbMessage, Off: c.out, Bytes: c.octets[c.octet:end], First: c.octet == 0, Last: end == len(c.octets)}
	c.out += int64(len(o.Bytes))
	c.octet = end
	if o.Last {
		o.Message = &MessageStats{Size: int64(len(c.octets))}
		c.octets = nil
		c.deadline(c.pending[0].verb, WaitFor(c.pending[0].verb))
	}
	return c.hand(o)
}

// text makes the next Output of the message. Only now: a message of any size
// costs the memory of one chunk.
func (c *Client) text() *Output {
	// At most every octet becomes two: a dot, or a line end that lacks one of its two.
	if size := min(MaxChunk, 2*(len(c.message.text)-c.message.pos)+16); cap(c.chunk) < size {
		c.chunk = make([]byte, 0, size)
	}
	o := Output{Handle: c.pending[0].handle, Verb: VerbMessage, Off: c.out, First: c.message.pos == 0}
	o.Bytes, o.Last = c.message.fill(c.chunk[:0])
	c.out += int64(len(o.Bytes))
	c.hand(o)
	if o.Last {
		c.output.Message = &c.message.stats
		c.message = nil
		c.move(on(c.state, onSent))
		c.deadline(VerbMessage, WaitFinalDot)
	}
	return &c.output
}

// Receive takes bytes of the server, split in any way. After TLSDone they are
// what TLS decrypted. It does not keep p. A command counts as sent when its Output
// has been taken from Next: a reply that starts before that answers nothing.
func (c *Client) Receive(p []byte) {
	for len(p) > 0 && !c.eof && c.state != StateDesync {
		if c.state == StateTLS {
			c.desync(CausePlaintext, c.in, "the server sent bytes in the clear behind its 220 to STARTTLS; read after the handshake "+
				"they would pass as secured, so someone on the way may have put them there (CVE-2011-0411)")
			break
		}
		if c.parser.idle() {
			c.replyAt = c.in
			c.claim = c.claims()
		}
		n, done, bad := c.parser.feed(p)
		c.in += int64(n)
		p = p[n:]
		switch {
		case bad != nil:
			c.desync(bad.cause, c.replyAt+int64(bad.at), bad.reason)
		case done:
			e := &struct { // all of it in one piece
				ReplyReceived
				reply Reply
				line  [1]string
			}{}
			e.Reply = &e.reply
			c.parser.take(e.Reply, e.line[:])
			c.reply(&e.ReplyReceived)
		}
	}
	c.in += int64(len(p))
}

// claims settles what a reply answers whose first byte has come.
func (c *Client) claims() claim {
	switch {
	case c.message != nil:
		return early
	case len(c.pending) == 0 || c.pending[0].handle > c.sent:
		return unsolicited
	case len(c.octets) > 0 && len(c.pending) == 1:
		return early
	}
	return answer
}

// reply takes a complete reply.
func (c *Client) reply(e *ReplyReceived) {
	switch r := e.Reply; {
	case c.claim == answer:
		c.answered(e)
	case c.claim == early && (r.Temporary() || r.Permanent()):
		// The server has refused the message before its end. Nothing more of it
		// is sent; but there is no way to break off and go on with a command,
		// as only the final dot would end the message.
		c.abort()
		c.answered(e)
	default:
		c.unasked(e)
	}
}

// answered takes a reply to the oldest pending command.
func (c *Client) answered(e *ReplyReceived) {
	p, r := c.pending[0], e.Reply
	p.heard++
	// A server that took DATA without a recipient, against RFC 2033, 4.2, answers once.
	p.more = c.lmtp && p.last && p.heard < c.accepted && c.claim != early
	if c.pending[0] = p; !p.more {
		c.pending = append(c.pending[:0], c.pending[1:]...)
	}
	c.learn(p.verb, r)
	row, ok := onReply(c.state, p, r.Code)
	if c.claim == early && row.On != on421 {
		row, ok = Transition{}, false
	}
	c.report(p, e, row, ok)
	switch {
	case ok:
		c.upgrade = c.state == StateTLS
	case c.claim == early:
		c.desync(CauseEarly, c.replyAt, fmt.Sprintf("the server answered %d before the end of the message was sent; "+
			"there is no way to break off the message and go on", r.Code))
	case !p.raw && c.state != StateClosed: // after a 421 the rest of a group may get any reply, or none
		c.desync(CauseUnexpected, c.replyAt, fmt.Sprintf("a reply of %d to %s has no meaning (RFC 5321, 4.3.2), "+
			"so it is unknown what the server does now", r.Code, awaited(p.verb)))
	}
}

// unasked takes a reply that answers nothing. A 421 may come at any time, and
// the client often sees it with its next command (RFC 5321, 3.8).
func (c *Client) unasked(e *ReplyReceived) {
	r := e.Reply
	r.readEnhanced()
	if r.Code == 421 {
		c.abort()
		c.report(pending{}, e, on(c.state, on421), true)
		return
	}
	c.report(pending{}, e, Transition{}, false)
	if c.claim == early {
		c.desync(CauseEarly, c.replyAt, fmt.Sprintf("the server answered %d before the end of the message was sent; "+
			"that cannot mean that it has the message", r.Code))
		return
	}
	c.desync(CauseUnsolicited, c.replyAt, fmt.Sprintf("the server sent a reply of %d that nothing asked for; taken for the answer "+
		"to the next command it would put every later reply in the wrong place", r.Code))
}

// report tells of a reply and takes the row of the table for it, if there is one.
func (c *Client) report(p pending, e *ReplyReceived, row Transition, ok bool) {
	from := c.state
	if ok {
		c.state = row.Next
	}
	if c.state == StateClosed { // a 421 to what stood before a chunk in its group
		c.abort()
	}
	c.goodbye = c.goodbye || e.Reply.Code == 421 || c.state == StateQuit
	e.Handle, e.Verb, e.Off, e.Len = p.handle, p.verb, c.replyAt, c.in-c.replyAt
	e.On, e.State, e.Legal = row.On, c.state, c.Legal()
	c.push(e)
	if ok && len(c.pending) > 0 && c.state != StateClosed {
		next := c.pending[0].verb
		c.deadline(next, WaitFor(next))
	} else {
		c.deadline("", 0)
	}
	c.changed(from, row.On)
}

// learn keeps what a reply says about the server and the session.
func (c *Client) learn(v Verb, r *Reply) {
	if v != VerbGreeting && v != VerbEhlo && v != VerbLhlo && v != VerbHelo {
		r.readEnhanced() // the greeting and EHLO have no enhanced codes (RFC 2034, 4)
	}
	switch v {
	default:
		return
	case VerbGreeting:
		c.server = &Server{Greeting: r}
	case VerbEhlo, VerbLhlo:
		c.ehloPutOff = r.Temporary()
		if r.Positive() {
			s := &Server{Greeting: c.server.Greeting}
			if !s.introduce(r.Lines) {
				r.Oddities = append(r.Oddities, OddityKeyword)
			}
			c.server = s
		}
	case VerbHelo:
		if r.Positive() {
			s := &Server{Greeting: c.server.Greeting}
			s.introduce(r.Lines[:1])
			c.server = s
		}
	case VerbAuth, VerbResponse:
		c.authenticated = c.authenticated || r.Positive()
	case VerbXclient:
		if r.Code == 220 {
			c.server, c.authenticated = &Server{Greeting: r}, false
		}
	case VerbMail:
		c.accepted = 0
		return
	case VerbRcpt:
		if r.Positive() {
			c.accepted++
		}
		return
	}
	clear(c.legal)
}

// ReceiveEOF says that the server closed its side, or that the connection broke.
// Nothing may be received after it.
func (c *Client) ReceiveEOF() {
	if c.eof {
		return
	}
	c.eof = true
	e := Closed{Expected: c.goodbye, State: c.state}
	if len(c.pending) > 0 {
		e.Awaiting = c.pending[0].verb
	}
	if c.state != StateDesync {
		e.Partial = Escape(excerpt(c.parser.buf))
	}
	c.stop()
	c.move(on(c.state, onEOF))
	c.push(e)
}

// TLSDone says that the handshake that UpgradeTLS asked for is complete. At any
// other time it does nothing. A connection that starts with TLS needs no call.
func (c *Client) TLSDone() {
	if c.state != StateTLS || c.upgrade {
		return
	}
	c.tls, c.authenticated, c.ehloPutOff = true, false, false
	c.server = new(Server)
	clear(c.legal)
	c.move(on(c.state, onTLSDone))
}

// desync gives up.
func (c *Client) desync(cause Cause, off int64, reason string) {
	d := Desync{Cause: cause, Reason: reason, Off: off, State: c.state}
	c.stop()
	c.move(on(c.state, onDesync))
	c.push(d)
}

// stop ends what is going on. What is pending stays so: Closed names it.
func (c *Client) stop() {
	c.abort()
	c.upgrade = false
	c.deadline("", 0)
}

// abort sends no more of the message.
func (c *Client) abort() { c.message, c.octets, c.timed = nil, nil, false }

// move takes a row of the table.
func (c *Client) move(t Transition) {
	from := c.state
	c.state = t.Next
	c.changed(from, t.On)
}

func (c *Client) changed(from State, on string) {
	if from == c.state {
		return
	}
	change := StateChange{from, c.state, on}
	e, known := changes[change]
	if !known {
		e = change
	}
	c.push(e)
}

// changes has those of the table ready.
var changes = func() map[StateChange]Event {
	m := make(map[StateChange]Event)
	for _, t := range Transitions {
		change := StateChange{t.From, t.Next, t.On}
		m[change] = change
	}
	return m
}()

// deadline starts the timer of the driver anew, or stops it.
func (c *Client) deadline(v Verb, wait time.Duration) {
	if wait == 0 && !c.timing {
		return
	}
	c.timing = wait != 0
	d := Deadline{v, wait}
	e, known := deadlines[d]
	if !known {
		e = d
	}
	c.push(e)
}

// deadlines has the usual ones ready, as there are two for each command.
var deadlines = func() map[Deadline]Event {
	m := map[Deadline]Event{{}: Deadline{}}
	for _, t := range Transitions {
		verb, _, _ := strings.Cut(t.On, " ")
		d := Deadline{Verb(verb), WaitFor(Verb(verb))}
		m[d] = d
	}
	return m
}()

func (c *Client) push(e Event) { c.events = append(c.events, queued{Event: e}) }
