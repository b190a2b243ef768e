package smtp

import (
	"fmt"
	"strings"
)

// NotLegalError says that a command may not be sent now.
type NotLegalError struct {
	State State // Client.Ahead
	Verb  Verb  // "" for a raw line without a known verb
	// Awaiting is the verb whose reply must come first, "" when something may be sent now.
	Awaiting Verb
	Legal    []Verb // what may be sent instead
}

func (e *NotLegalError) Error() string {
	verb := string(e.Verb)
	if verb == "" {
		verb = "this line"
	}
	if e.Awaiting != "" {
		return fmt.Sprintf("%s cannot be sent while the reply to %s is awaited", verb, awaited(e.Awaiting))
	}
	if len(e.Legal) == 0 {
		return fmt.Sprintf("%s cannot be sent in state %q: nothing can", verb, e.State)
	}
	legal := make([]string, len(e.Legal))
	for i, v := range e.Legal {
		legal[i] = string(v)
	}
	return fmt.Sprintf("%s cannot be sent in state %q; legal now: %s", verb, e.State, strings.Join(legal, ", "))
}

// awaited names a verb in a sentence about its reply.
func awaited(v Verb) string {
	switch v {
	case VerbGreeting:
		return "the connection"
	case VerbMessage:
		return "the message"
	case VerbResponse:
		return "the AUTH response"
	}
	return string(v)
}

// SyntaxError says why something cannot be part of a command.
type SyntaxError struct {
	What string // in the terms of RFC 5321: "reverse-path", "domain", "parameter"
	// Value is the offending text, "" when it is missing or must not be shown.
	Value   string
	At      int // octets of Value before the offence, -1 when it is the whole
	Problem string
	RFC     string // "RFC 5321, 4.1.2"
}

func (e *SyntaxError) Error() string {
	var b strings.Builder
	b.WriteString(e.What)
	if e.Value != "" {
		fmt.Fprintf(&b, " %q", excerpt(e.Value))
	}
	b.WriteString(": ")
	b.WriteString(e.Problem)
	if e.At >= 0 {
		fmt.Fprintf(&b, ", after %d octets", e.At)
	}
	fmt.Fprintf(&b, " (%s)", e.RFC)
	return b.String()
}

// excerpt is the head of a text that may be long.
func excerpt[T string | []byte](s T) string {
	const most = 120
	if len(s) <= most {
		return string(s)
	}
	return string(s[:most]) + "..."
}
