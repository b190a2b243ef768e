package session_test

import (
	"testing"

	"smtpscope/protocol/trace"
)

// The tenth case of the list: what SIZE, 8BITMIME and SMTPUTF8 make impossible is
// refused before MAIL, and never changed into something else.
func TestCase10_RefusedBeforeMAIL(t *testing.T) {
	const from = "MAIL FROM:<ada@example.org>"
	data := func(text string) map[string]any { return map[string]any{"data": text} }
	utf8 := map[string]any{"smtputf8": true}
	for _, c := range []extensionCase{
		{name: "SIZE absent is unknown", offer: "HELP", script: given(from, toGrace), outcome: trace.Accepted},
		{name: "SIZE without a number", offer: "SIZE", script: given(from+" SIZE=3", toGrace), outcome: trace.Accepted},
		{name: "SIZE 0 is unlimited", offer: "SIZE 0", script: given(from+" SIZE=3", toGrace), outcome: trace.Accepted},
		{name: "SIZE that overflows", offer: "SIZE 99999999999999999999", script: given(from+" SIZE=3", toGrace), outcome: trace.Accepted},
		{name: "SIZE reached", offer: "SIZE 3", script: given(from+" SIZE=3", toGrace), outcome: trace.Accepted},
		{name: "SIZE exceeded", offer: "SIZE 2", outcome: trace.Rejected, says: "The message has 3 octets and the server takes at most 2"},
		{name: "SIZE exceeded, not declared", options: map[string]any{"size": false}, offer: "SIZE 2", outcome: trace.Rejected, says: "at most 2"},
		{name: "SIZE exceeded by line ends", message: data("x\ny\n"), offer: "SIZE 5", outcome: trace.Rejected, says: "has 6 octets"},
		{name: "8 bits", message: data("ü\r\n"), offer: "8BITMIME", script: given(from+" BODY=8BITMIME", toGrace), outcome: trace.Accepted},
		{name: "8 bits, not offered", message: data("ü\r\n"), offer: "SIZE", outcome: trace.Failed, says: "cannot be sent as 7-bit text"},
		{name: "8 bits, as 7", options: map[string]any{"body": "7bit"}, message: data("ü\r\n"), offer: "8BITMIME", outcome: trace.Failed, says: "cannot be sent as 7-bit text"},
		{name: "UTF-8, not offered", options: utf8, message: map[string]any{"from": "ü@example.org"}, offer: "8BITMIME", outcome: trace.Failed, says: "does not offer SMTPUTF8"},
	} {
		if c.options == nil {
			c.options = map[string]any{}
		}
		t.Run(c.name, c.check)
	}
}
