package smtp

import "time"

// Event is something that happened, taken from Client.Next. The types are
// *Output, *ReplyReceived, StateChange, UpgradeTLS, Deadline, Desync and Closed.
type Event interface{ isEvent() }

// Handle names a submitted command, so that its output and its reply can be
// found. The first one is 1; 0 stands for no command.
type Handle int

// Span is a half-open interval [from, to) of bytes.
type Span [2]int64

// Output is bytes for the driver to send, in this order, before it takes the next
// event that is no Output: the commands of a group go out in one write. It and its
// bytes are good until the next call of Next or Submit.
type Output struct {
	Handle Handle
	Verb   Verb
	// Off counts the bytes output before these, from the start of the connection on, across TLS.
	Off   int64
	Bytes []byte
	// First and Last are both true for a command; a message, and the octets behind
	// the line of BDAT, come in chunks of at most MaxChunk, one for each call of
	// Next. Verb is VerbMessage for both; the octets have the handle of their BDAT.
	First, Last bool
	// Raw says that the line was not judged by the state machine.
	Raw bool
	// Secret marks what redaction must mask, relative to Bytes: the initial
	// response of AUTH and the lines of its exchange.
	Secret []Span
	// Message is set on the last chunk of a message, and on the last of the octets of BDAT.
	Message *MessageStats
}

// ReplyReceived is a complete reply of the server.
type ReplyReceived struct {
	// Handle is the command that it answers, 0 for the greeting and for an unsolicited reply.
	Handle Handle
	// Verb is that of the command, VerbGreeting for the greeting, "" for an
	// unsolicited reply and for the reply to a raw line without a known verb.
	Verb  Verb
	Reply *Reply
	// Off and Len are its range among the bytes given to Receive.
	Off, Len int64
	// On is the row of Transitions that was taken, as its column On says, "" when
	// there was none. A row that stays in its state is seen here only.
	On string
	// State and Legal are those after this reply. What the server sent right
	// behind it may have moved the client on already.
	State State
	Legal []Verb
}

// StateChange follows the event that caused it. From and To differ.
type StateChange struct {
	From, To State
	// On is the column of the same name of the row of Transitions that was taken.
	On string
}

// UpgradeTLS asks the driver to do a TLS handshake, because STARTTLS was
// answered 220 and nothing was buffered behind it. The driver then calls
// Client.TLSDone. When the handshake fails there is no way back: it closes
// the connection and calls Client.ReceiveEOF (RFC 3207, 4.1).
type UpgradeTLS struct{}

// Deadline sets the timer of the driver anew. It comes before the Output that
// starts the wait, so that it covers the sending too, after a reply for the next
// command of a group, and with Wait 0 when nothing is awaited any more.
type Deadline struct {
	Verb Verb // what is awaited first, "" for nothing or a raw line
	Wait time.Duration
}

// Desync says that replies can no longer be matched to commands. Nothing may be
// submitted any more; only Closed follows. The driver closes the connection.
type Desync struct {
	Cause Cause
	// Reason is plain English: what came, and what should have. Bytes of the server are escaped in it.
	Reason string
	// Off is where the offence starts among the bytes given to Receive.
	Off int64
	// State is the one in which it happened. After StateMessage the outcome of the
	// message is unknown, as in Closed.
	State State
}

// Cause is the kind of a Desync.
type Cause string

const (
	CauseUnsolicited Cause = "unsolicited"     // a reply that no command asked for
	CauseEarly       Cause = "early"           // a reply to the message before its final dot was sent
	CauseUnexpected  Cause = "unexpected-code" // a reply code that has no meaning for the command it answers
	CauseMixedCodes  Cause = "mixed-codes"     // the lines of one reply differ in their code (RFC 5321, 4.2.1)
	CauseNotReply    Cause = "not-a-reply"     // a line that does not start with a reply code
	CauseLongLine    Cause = "long-line"       // longer than MaxReplyLine
	CauseLongReply   Cause = "long-reply"      // longer than MaxReplyLines or MaxReply
	CausePlaintext   Cause = "plaintext"       // bytes in the clear behind the 220 to STARTTLS (CVE-2011-0411)
	CauseTLS         Cause = "tls"             // a TLS record where a reply was expected: the port speaks TLS from the start
)

// Closed says that the server closed the connection, or that the connection
// broke. It is the last event.
type Closed struct {
	// Expected is true after a reply that announces it: 2yz to QUIT, and 421.
	Expected bool
	// Awaiting is what was left without a reply, the first of a group, "" when nothing was.
	Awaiting Verb
	// State is the one in which it happened. When the message is awaited,
	// StateMessage means that its final dot is out: the server may have accepted
	// it, and a second attempt may deliver it twice (RFC 5321, 4.5.3.2.6).
	// StateData means that it cannot have. When BDAT is awaited, or something sent
	// before it, the same is true of one that is Command.Final and all out.
	State State
	// Partial is the beginning of a reply that was cut off, escaped and shortened.
	Partial string
}

func (*Output) isEvent()        {}
func (*ReplyReceived) isEvent() {}
func (StateChange) isEvent()    {}
func (UpgradeTLS) isEvent()     {}
func (Deadline) isEvent()       {}
func (Desync) isEvent()         {}
func (Closed) isEvent()         {}
