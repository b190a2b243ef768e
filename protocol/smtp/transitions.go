package smtp

import (
	"strconv"
	"strings"
)

// State is where the client stands. A command that waits for its reply does not
// change it; the reply does. See Client.Ahead for commands in a group.
type State string

const (
	StateConnect State = "connect" // awaiting the greeting
	StateGreeted State = "greeted" // EHLO is due; also after STARTTLS and XCLIENT
	StateRefused State = "refused" // the greeting was no 220
	StateReady   State = "ready"   // no mail transaction in progress
	StateTLS     State = "tls"     // the handshake is the driver's
	StateAuth    State = "auth"    // in an AUTH exchange, a response is due
	StateMail    State = "mail"    // a reverse-path, no recipient yet
	StateRcpt    State = "rcpt"    // at least one recipient
	StateData    State = "data"    // the message text is due, or being sent
	StateMessage State = "message" // the final dot is out; in LMTP, not every recipient has its reply
	StateChunks  State = "chunks"  // chunks of the message were taken, the last one is still to come
	StateFailed  State = "failed"  // a chunk was refused, which only a new start clears
	StateQuit    State = "quit"    // QUIT was answered
	StateClosed  State = "closed"  // closed, or about to be after a 421
	StateDesync  State = "desync"  // replies no longer match commands
)

// AnyState stands in Transition.From for every state that has no row of its own.
const AnyState State = "*"

// What drives a transition and is not a reply to a verb.
const (
	onTLSDone = "tls done"
	onSent    = "message sent"
	on421     = "reply 421"
	onEOF     = "eof"
	onDesync  = "desync"
)

// Guards. A guard must hold when the command is sent; the last three are about
// replies, and nobody may count on a refusal.
const (
	guardEhlo     = "SMTP"
	guardLhlo     = "LMTP"
	guardHelo     = "SMTP, no STARTTLS done, EHLO not answered 4yz"
	guardStartTLS = "offered, no STARTTLS done"
	guardAuth     = "offered, not authenticated"
	guardBdat     = "CHUNKING offered"
	guardData     = "MAIL without BODY=BINARYMIME"
	guardOffered  = "offered"
	guardRaw      = "sent raw"
	guardGroup    = "sent in a group, what came before it was refused"
	guardMore     = "LMTP, another recipient's reply follows"
)

// Transition is a row of the table that drives the client.
type Transition struct {
	From State `json:"from"`
	// On is a verb and its reply: one code ("DATA 354"), the codes of one first
	// digit ("MAIL 2yz"), or every other completion reply ("MAIL any"), that is 2yz,
	// 4yz or 5yz. "BDAT LAST 2yz" is about the last chunk alone. The narrowest one
	// that fits is taken. Events that are not
	// replies to a command: "tls done", "message sent", "reply 421", "eof", "desync".
	// A 421 is "reply 421" unless a row names it with its verb.
	On string `json:"on"`
	// Guard is the condition under which the command is legal, "" for none.
	Guard string `json:"guard,omitempty"`
	Next  State  `json:"next"`
	RFC   string `json:"rfc"` // or "Postfix, XCLIENT" for its documentation
}

// Transitions drives the client: a command is legal in a state when one of that
// state's rows is about its verb and the guard holds, and a reply for which
// there is no row is a Desync. The table is read once, when the program starts.
var Transitions = []Transition{
	{StateConnect, "greeting 2yz", "", StateGreeted, "RFC 5321, 3.1"},
	{StateConnect, "greeting 421", "", StateRefused, "RFC 5321, 3.8"},
	{StateConnect, "greeting 4yz", "", StateRefused, "RFC 5321, 3.1"},
	{StateConnect, "greeting 5yz", "", StateRefused, "RFC 5321, 3.1; RFC 7504, 3"},

	{StateRefused, "QUIT 2yz", "", StateQuit, "RFC 5321, 3.1"},
	{StateRefused, "QUIT any", "", StateRefused, "RFC 5321, 3.1"},

	{StateGreeted, "EHLO 2yz", guardEhlo, StateReady, "RFC 5321, 3.2"},
	{StateGreeted, "LHLO 2yz", guardLhlo, StateReady, "RFC 2033, 4.1"},
	{StateGreeted, "EHLO any", guardEhlo, StateGreeted, "RFC 5321, 4.1.4"},
	{StateGreeted, "LHLO any", guardLhlo, StateGreeted, "RFC 2033, 4.1"},
	{StateGreeted, "HELO 2yz", guardHelo, StateReady, "RFC 5321, 3.2"},
	{StateGreeted, "HELO any", guardHelo, StateGreeted, "RFC 5321, 4.1.4"},
	{StateGreeted, "RSET any", "", StateGreeted, "RFC 5321, 4.1.4"},
	{StateGreeted, "NOOP any", "", StateGreeted, "RFC 5321, 4.1.4"},
	{StateGreeted, "HELP any", "", StateGreeted, "RFC 5321, 4.1.4"},
	{StateGreeted, "VRFY any", "", StateGreeted, "RFC 5321, 4.1.4"},
	{StateGreeted, "EXPN any", "", StateGreeted, "RFC 5321, 4.1.4"},
	{StateGreeted, "QUIT 2yz", "", StateQuit, "RFC 5321, 4.1.1.10"},
	{StateGreeted, "QUIT any", "", StateGreeted, "RFC 5321, 4.1.1.10"},

	{StateReady, "EHLO any", guardEhlo, StateReady, "RFC 5321, 4.1.4"},
	{StateReady, "LHLO any", guardLhlo, StateReady, "RFC 2033, 4.1"},
	{StateReady, "HELO any", guardHelo, StateReady, "RFC 5321, 4.1.4"},
	{StateReady, "STARTTLS 220", guardStartTLS, StateTLS, "RFC 3207, 4"},
	{StateReady, "STARTTLS 4yz", guardStartTLS, StateReady, "RFC 3207, 4"},
	{StateReady, "STARTTLS 5yz", guardStartTLS, StateReady, "RFC 3207, 4"},
	{StateReady, "AUTH 334", guardAuth, StateAuth, "RFC 4954, 4"},
	{StateReady, "AUTH any", guardAuth, StateReady, "RFC 4954, 4"},
	// The server takes the attributes for those of its client and begins anew.
	{StateReady, "XCLIENT 220", guardOffered, StateGreeted, "Postfix, XCLIENT"},
	{StateReady, "XCLIENT 4yz", guardOffered, StateReady, "Postfix, XCLIENT"},
	{StateReady, "XCLIENT 5yz", guardOffered, StateReady, "Postfix, XCLIENT"},
	{StateReady, "XFORWARD any", guardOffered, StateReady, "Postfix, XFORWARD"},
	{StateReady, "ETRN any", guardOffered, StateReady, "RFC 1985, 5"},
	{StateReady, "MAIL 2yz", "", StateMail, "RFC 5321, 3.3"},
	{StateReady, "MAIL any", "", StateReady, "RFC 5321, 3.3"},
	// MAIL was refused, and what was sent behind it without waiting is answered.
	{StateReady, "RCPT 4yz", guardGroup, StateReady, "RFC 2920, 3.1"},
	{StateReady, "RCPT 5yz", guardGroup, StateReady, "RFC 2920, 3.1"},
	{StateReady, "DATA 354", guardGroup, StateData, "RFC 2920, 3.1"},
	{StateReady, "DATA 4yz", guardGroup, StateReady, "RFC 2920, 3.1"},
	{StateReady, "DATA 5yz", guardGroup, StateReady, "RFC 2920, 3.1"},
	{StateReady, "BDAT 4yz", guardGroup, StateReady, "RFC 3030, 4.2"},
	{StateReady, "BDAT 5yz", guardGroup, StateReady, "RFC 3030, 4.2"},
	{StateReady, "RSET any", "", StateReady, "RFC 5321, 4.1.1.5"},
	{StateReady, "NOOP any", "", StateReady, "RFC 5321, 4.1.1.9"},
	{StateReady, "HELP any", "", StateReady, "RFC 5321, 4.1.1.8"},
	{StateReady, "VRFY any", "", StateReady, "RFC 5321, 4.1.1.6"},
	{StateReady, "EXPN any", "", StateReady, "RFC 5321, 4.1.1.7"},
	{StateReady, "QUIT 2yz", "", StateQuit, "RFC 5321, 4.1.1.10"},
	{StateReady, "QUIT any", "", StateReady, "RFC 5321, 4.1.1.10"},

	{StateTLS, onTLSDone, "", StateGreeted, "RFC 3207, 4.2"},

	{StateAuth, "response 334", "", StateAuth, "RFC 4954, 4"},
	{StateAuth, "response any", "", StateReady, "RFC 4954, 4"}, // also the 501 to "*"

	{StateMail, "RCPT 2yz", "", StateRcpt, "RFC 5321, 3.3"},
	{StateMail, "RCPT any", "", StateMail, "RFC 5321, 3.3"},
	// Every recipient was refused; a server may say 354 all the same, and is then
	// sent a message of nothing but the final dot.
	{StateMail, "DATA 354", guardGroup, StateData, "RFC 2920, 3.1"},
	{StateMail, "DATA 4yz", guardGroup, StateMail, "RFC 2920, 3.1"},
	{StateMail, "DATA 5yz", guardGroup, StateMail, "RFC 2920, 3.1"},
	{StateMail, "BDAT 4yz", guardGroup, StateMail, "RFC 3030, 4.2"},
	{StateMail, "BDAT 5yz", guardGroup, StateMail, "RFC 3030, 4.2"},
	{StateMail, "RSET 2yz", "", StateReady, "RFC 5321, 4.1.1.5"},
	{StateMail, "RSET any", "", StateMail, "RFC 5321, 4.1.1.5"},
	{StateMail, "EHLO 2yz", guardEhlo, StateReady, "RFC 5321, 4.1.4"},
	{StateMail, "LHLO 2yz", guardLhlo, StateReady, "RFC 2033, 4.1"},
	{StateMail, "EHLO any", guardEhlo, StateMail, "RFC 5321, 4.1.4"},
	{StateMail, "LHLO any", guardLhlo, StateMail, "RFC 2033, 4.1"},
	{StateMail, "HELO 2yz", guardHelo, StateReady, "RFC 5321, 4.1.4"},
	{StateMail, "HELO any", guardHelo, StateMail, "RFC 5321, 4.1.4"},
	{StateMail, "NOOP any", "", StateMail, "RFC 5321, 4.1.1.9"},
	{StateMail, "HELP any", "", StateMail, "RFC 5321, 4.1.1.8"},
	{StateMail, "VRFY any", "", StateMail, "RFC 5321, 4.1.1.6"},
	{StateMail, "EXPN any", "", StateMail, "RFC 5321, 4.1.1.7"},
	{StateMail, "QUIT 2yz", "", StateQuit, "RFC 5321, 4.1.1.10"},
	{StateMail, "QUIT any", "", StateMail, "RFC 5321, 4.1.1.10"},

	{StateRcpt, "RCPT any", "", StateRcpt, "RFC 5321, 3.3"},
	{StateRcpt, "DATA 354", guardData, StateData, "RFC 5321, 4.1.1.4; RFC 3030, 3"},
	// Only a 354 lets the message follow. A refused DATA leaves the transaction as it
	// was: the end of the mail data, RSET and EHLO clear its buffers, and
	// nothing else does (4.1.1.4, 4.1.1.5, 4.1.4).
	{StateRcpt, "DATA 4yz", guardData, StateRcpt, "RFC 5321, 3.3"},
	{StateRcpt, "DATA 5yz", guardData, StateRcpt, "RFC 5321, 3.3"},
	{StateRcpt, "BDAT LAST 2yz", guardBdat, StateReady, "RFC 3030, 2"},
	{StateRcpt, "BDAT 2yz", guardBdat, StateChunks, "RFC 3030, 2"},
	{StateRcpt, "BDAT any", guardBdat, StateFailed, "RFC 3030, 2"},
	{StateRcpt, "RSET 2yz", "", StateReady, "RFC 5321, 4.1.1.5"},
	{StateRcpt, "RSET any", "", StateRcpt, "RFC 5321, 4.1.1.5"},
	{StateRcpt, "EHLO 2yz", guardEhlo, StateReady, "RFC 5321, 4.1.4"},
	{StateRcpt, "LHLO 2yz", guardLhlo, StateReady, "RFC 2033, 4.1"},
	{StateRcpt, "EHLO any", guardEhlo, StateRcpt, "RFC 5321, 4.1.4"},
	{StateRcpt, "LHLO any", guardLhlo, StateRcpt, "RFC 2033, 4.1"},
	{StateRcpt, "HELO 2yz", guardHelo, StateReady, "RFC 5321, 4.1.4"},
	{StateRcpt, "HELO any", guardHelo, StateRcpt, "RFC 5321, 4.1.4"},
	{StateRcpt, "NOOP any", "", StateRcpt, "RFC 5321, 4.1.1.9"},
	{StateRcpt, "HELP any", "", StateRcpt, "RFC 5321, 4.1.1.8"},
	{StateRcpt, "VRFY any", "", StateRcpt, "RFC 5321, 4.1.1.6"},
	{StateRcpt, "EXPN any", "", StateRcpt, "RFC 5321, 4.1.1.7"},
	{StateRcpt, "QUIT 2yz", "", StateQuit, "RFC 5321, 4.1.1.10"},
	{StateRcpt, "QUIT any", "", StateRcpt, "RFC 5321, 4.1.1.10"},

	// DATA and BDAT are never mixed in one transaction.
	{StateChunks, "BDAT LAST 2yz", guardBdat, StateReady, "RFC 3030, 2"},
	{StateChunks, "BDAT 2yz", guardBdat, StateChunks, "RFC 3030, 2"},
	{StateChunks, "BDAT any", guardBdat, StateFailed, "RFC 3030, 2"},
	{StateChunks, "RSET 2yz", "", StateReady, "RFC 3030, 2"},
	{StateChunks, "RSET any", "", StateChunks, "RFC 5321, 4.1.1.5"},
	{StateChunks, "EHLO 2yz", guardEhlo, StateReady, "RFC 5321, 4.1.4"},
	{StateChunks, "LHLO 2yz", guardLhlo, StateReady, "RFC 2033, 4.1"},
	{StateChunks, "EHLO any", guardEhlo, StateChunks, "RFC 5321, 4.1.4"},
	{StateChunks, "LHLO any", guardLhlo, StateChunks, "RFC 2033, 4.1"},
	{StateChunks, "HELO 2yz", guardHelo, StateReady, "RFC 5321, 4.1.4"},
	{StateChunks, "HELO any", guardHelo, StateChunks, "RFC 5321, 4.1.4"},
	{StateChunks, "NOOP any", "", StateChunks, "RFC 5321, 4.1.1.9"},
	{StateChunks, "HELP any", "", StateChunks, "RFC 5321, 4.1.1.8"},
	{StateChunks, "VRFY any", "", StateChunks, "RFC 5321, 4.1.1.6"},
	{StateChunks, "EXPN any", "", StateChunks, "RFC 5321, 4.1.1.7"},
	{StateChunks, "QUIT 2yz", "", StateQuit, "RFC 5321, 4.1.1.10"},
	{StateChunks, "QUIT any", "", StateChunks, "RFC 5321, 4.1.1.10"},

	// No more chunks are sent, and no other part of this transaction.
	{StateFailed, "RSET 2yz", "", StateReady, "RFC 3030, 2"},
	{StateFailed, "RSET any", "", StateFailed, "RFC 5321, 4.1.1.5"},
	{StateFailed, "EHLO 2yz", guardEhlo, StateReady, "RFC 5321, 4.1.4"},
	{StateFailed, "LHLO 2yz", guardLhlo, StateReady, "RFC 2033, 4.1"},
	{StateFailed, "EHLO any", guardEhlo, StateFailed, "RFC 5321, 4.1.4"},
	{StateFailed, "LHLO any", guardLhlo, StateFailed, "RFC 2033, 4.1"},
	{StateFailed, "HELO 2yz", guardHelo, StateReady, "RFC 5321, 4.1.4"},
	{StateFailed, "HELO any", guardHelo, StateFailed, "RFC 5321, 4.1.4"},
	{StateFailed, "NOOP any", "", StateFailed, "RFC 5321, 4.1.1.9"},
	{StateFailed, "HELP any", "", StateFailed, "RFC 5321, 4.1.1.8"},
	{StateFailed, "VRFY any", "", StateFailed, "RFC 5321, 4.1.1.6"},
	{StateFailed, "EXPN any", "", StateFailed, "RFC 5321, 4.1.1.7"},
	{StateFailed, "QUIT 2yz", "", StateQuit, "RFC 5321, 4.1.1.10"},
	{StateFailed, "QUIT any", "", StateFailed, "RFC 5321, 4.1.1.10"},

	{StateData, onSent, "", StateMessage, "RFC 5321, 4.1.1.4"},

	{StateMessage, "message any", "", StateReady, "RFC 5321, 4.1.1.4"},
	// Each recipient that was accepted has a reply of its own (RFC 2033, 4.2).
	{StateMessage, "message any", guardMore, StateMessage, "RFC 2033, 4.2"},
	{StateRcpt, "BDAT LAST any", guardMore, StateMessage, "RFC 2033, 4.3"},
	{StateChunks, "BDAT LAST any", guardMore, StateMessage, "RFC 2033, 4.3"},
	{StateMessage, "BDAT LAST any", guardMore, StateMessage, "RFC 2033, 4.3"},
	{StateMessage, "BDAT LAST any", "", StateReady, "RFC 2033, 4.3"},

	// A raw line is not judged, but after these replies the server reads
	// something else than commands, wherever it was before.
	{AnyState, "STARTTLS 220", guardRaw, StateTLS, "RFC 3207, 4"},
	{AnyState, "AUTH 334", guardRaw, StateAuth, "RFC 4954, 4"},
	{AnyState, "DATA 354", guardRaw, StateData, "RFC 5321, 4.1.1.4"},

	{AnyState, on421, "", StateClosed, "RFC 5321, 3.8"},
	{AnyState, onDesync, "", StateDesync, "RFC 5321, 4.2"},
	{AnyState, onEOF, "", StateClosed, "RFC 5321, 3.8"},
}

// rule is a row of Transitions taken apart for look-up.
type rule struct {
	Transition
	verb  Verb   // "" when On is not about a verb
	codes string // "354", "2yz", "any"
	last  bool   // only for the last chunk
}

// rules are the rows of each state, in the order of the table.
var rules = index(Transitions)

func index(table []Transition) map[State][]rule {
	rules := make(map[State][]rule)
	for _, t := range table {
		r := rule{Transition: t}
		first, codes, _ := strings.Cut(t.On, " ")
		switch v := Verb(first); {
		case isCommand(v), v == VerbGreeting, v == VerbResponse, v == VerbMessage:
			r.verb = v
			r.codes, r.last = strings.CutPrefix(codes, "LAST ")
		}
		rules[t.From] = append(rules[t.From], r)
	}
	return rules
}

// fit says how narrowly a row's codes fit a code, 0 for not at all.
func (r *rule) fit(code int) int {
	switch class := code / 100; {
	case r.codes == "any":
		if class != 3 {
			return 1
		}
	case r.codes[1:] == "yz":
		if int(r.codes[0]-'0') == class {
			return 2
		}
	default:
		if n, err := strconv.Atoi(r.codes); err == nil && n == code {
			return 3
		}
	}
	return 0
}

// onReply finds the row for the reply to a command. Raw commands have rows of
// their own, and so do those that were sent behind others.
func onReply(s State, p pending, code int) (best Transition, ok bool) {
	v, most := p.verb, 0
	for _, r := range rules[s] {
		if r.verb != v || v == "" || r.Guard == guardGroup && !p.behind || r.last && !p.last || r.Guard == guardMore && !p.more {
			continue
		}
		f := r.fit(code)
		if f > 0 && r.Guard == guardMore && code != 421 { // whatever one recipient's reply says, the next one's follows
			f = 3
		}
		if f > most { // rows about the last chunk come before the others
			most, best = f, r.Transition
		}
	}
	if code == 421 && most < 3 {
		return on(s, on421), true
	}
	if most == 0 && p.raw {
		for _, r := range rules[AnyState] {
			if r.verb == v && v != "" && r.fit(code) > 0 {
				return r.Transition, true
			}
		}
	}
	return best, most > 0
}

// on finds the row for what is not a reply to a verb.
func on(s State, what string) Transition {
	for _, from := range []State{s, AnyState} {
		for _, r := range rules[from] {
			if r.On == what {
				return r.Transition
			}
		}
	}
	panic("smtp: no transition on " + what + " in state " + string(s))
}
