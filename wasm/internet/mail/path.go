package mail

import (
	"strings"

	protocol "smtpscope/protocol/smtp"
)

// Paths are kept as they stand in commands, without the angle brackets: with
// quotes where the local-part needs them. The null path is "".

// quoted restores the quotes that go-smtp takes off (RFC 5321, 4.1.2). What is no
// address in either form stays none.
func quoted(path string) string {
	at := strings.LastIndexByte(path, '@')
	if _, err := protocol.RcptUTF8(path); err == nil || at < 0 {
		return path
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path[:at]) + `"` + path[at:]
}

// valid reports whether a path can be sent on, and so whether to take it. UTF-8 in it
// needs SMTPUTF8 (RFC 6531, 3.3).
func valid(path string, utf8 bool) bool {
	parse := protocol.Rcpt
	if utf8 {
		parse = protocol.RcptUTF8
	}
	_, err := parse(path)
	return err == nil
}

func domainOf(path string) string { return path[strings.LastIndexByte(path, '@')+1:] }
