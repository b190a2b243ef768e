package smtp

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Verb is the first word of a command, in upper case, or, in lower case, something
// else that is sent or awaited.
type Verb string

const (
	VerbEhlo     Verb = "EHLO"
	VerbHelo     Verb = "HELO"
	VerbMail     Verb = "MAIL"
	VerbRcpt     Verb = "RCPT"
	VerbData     Verb = "DATA"
	VerbRset     Verb = "RSET"
	VerbVrfy     Verb = "VRFY"
	VerbExpn     Verb = "EXPN"
	VerbHelp     Verb = "HELP"
	VerbNoop     Verb = "NOOP"
	VerbQuit     Verb = "QUIT"
	VerbStartTLS Verb = "STARTTLS"
	VerbAuth     Verb = "AUTH"
	VerbBdat     Verb = "BDAT"
	VerbLhlo     Verb = "LHLO"     // EHLO of LMTP
	VerbEtrn     Verb = "ETRN"     // RFC 1985
	VerbXclient  Verb = "XCLIENT"  // Postfix
	VerbXforward Verb = "XFORWARD" // Postfix

	VerbGreeting Verb = "greeting" // awaited only
	VerbResponse Verb = "response" // a line of the client in an AUTH exchange
	VerbMessage  Verb = "message"  // the message text up to the final dot, or the octets of BDAT
)

// Command is something to send. The functions below make valid ones.
type Command struct {
	Verb Verb
	// Arg is the rest of the line. For VerbResponse, and when Raw is set, it is
	// the whole line.
	Arg string
	// Raw asks the client not to judge whether the line is legal or valid; its verb
	// is then read from the line. CR, LF and NUL are refused all the same, and
	// so is everything while the server does not read commands.
	Raw bool
	// Message is the text of VerbMessage, and the octets behind the line of
	// VerbBdat. The client reads it until the last of it is out; it must not
	// change before.
	Message []byte
}

// Line is the command as it goes over the wire, without CRLF; "" for a message.
func (c Command) Line() string {
	switch {
	case c.Raw || c.Verb == VerbResponse:
		return c.Arg
	case c.Verb == VerbMessage:
		return ""
	case c.Arg == "":
		return string(c.Verb)
	}
	return string(c.Verb) + " " + c.Arg
}

// wire appends Line and CRLF.
func (c Command) wire(b []byte) []byte {
	if !c.Raw && c.Verb != VerbResponse {
		b = append(b, c.Verb...)
		if c.Arg != "" {
			b = append(b, ' ')
		}
	}
	return append(append(b, c.Arg...), "\r\n"...)
}

// ParseCommand reads a line that a person typed. It returns a *SyntaxError when
// the verb is unknown or the arguments do not fit; Raw sends such a line anyway.
func ParseCommand(line string) (Command, error) {
	line = strings.Trim(line, " ")
	verb, arg, _ := strings.Cut(line, " ")
	c := Command{Verb: Verb(strings.ToUpper(verb)), Arg: arg}
	if why, where := neverSent(c.Verb); why != "" {
		return Command{}, &SyntaxError{"command", line, -1, "this client never sends it: " + why + "; it can be sent as a raw line", where}
	}
	if !isCommand(c.Verb) {
		return Command{}, &SyntaxError{"command", line, -1, "this client does not know the verb; it can be sent as a raw line", "RFC 5321, 4.1.1"}
	}
	return c.checked()
}

// neverSent says of a verb that is known why this client does not send it, and where
// that is written; "" for any other.
func neverSent(v Verb) (why, where string) {
	switch v {
	case "SEND", "SOML", "SAML":
		return "it puts a message on the recipient's terminal, and servers no longer have it", "RFC 5321, F.6"
	case "TURN", "ATRN":
		return "the server would become the client, and this one takes no mail", "RFC 5321, F.1; RFC 2645, 5.2"
	case "VERB", "ONEX":
		return "it is Sendmail's own, and no other server knows it", "RFC 5321, 4.1.5"
	}
	return "", ""
}

// Raw is a line to be sent as it is.
func Raw(line string) Command {
	verb, _ := cutWord(line)
	c := Command{Verb: Verb(strings.ToUpper(verb)), Arg: line, Raw: true}
	if !isCommand(c.Verb) {
		c.Verb = ""
	}
	return c
}

// Ehlo introduces the client by a domain or an address literal (RFC 5321, 4.1.1.1).
// Submit fills in an empty name from the options.
func Ehlo(name string) (Command, error) { return introduction(VerbEhlo, name) }

// Lhlo is EHLO in LMTP (RFC 2033, 4.1).
func Lhlo(name string) (Command, error) { return introduction(VerbLhlo, name) }

// Helo is the older form of EHLO, without extensions. Its grammar has no address
// literal, but a client without a domain has nothing else to say, and it is taken.
func Helo(name string) (Command, error) { return introduction(VerbHelo, name) }

func introduction(verb Verb, name string) (Command, error) {
	c := Command{Verb: verb, Arg: name}
	if name == "" {
		return c, nil
	}
	return c.checked()
}

// Mail starts a mail transaction (RFC 5321, 4.1.1.2). The reverse-path is an
// address without brackets, "" for the null reverse-path; the parameters are
// of the form KEYWORD or KEYWORD=value. With SMTPUTF8 among them the addresses
// of this transaction may have UTF-8 (RFC 6531, 3.4).
func Mail(reversePath string, params ...string) (Command, error) {
	if reversePath != "" {
		if err := checkMailbox("reverse-path", reversePath, charsetOf(strings.Join(params, " "))); err != nil {
			return Command{}, err
		}
	}
	return withParams(VerbMail, "FROM:<"+reversePath+">", params)
}

// Rcpt names one recipient (RFC 5321, 4.1.1.3): an address without brackets, or "postmaster".
func Rcpt(forwardPath string, params ...string) (Command, error) {
	return recipient(forwardPath, ascii, params)
}

// RcptUTF8 is Rcpt in a transaction that began with SMTPUTF8 (RFC 6531, 3.4): the
// address may have UTF-8. Submit refuses one that has in any other transaction.
func RcptUTF8(forwardPath string, params ...string) (Command, error) {
	return recipient(forwardPath, international, params)
}

func recipient(forwardPath string, cs charset, params []string) (Command, error) {
	if err := checkForwardPath(forwardPath, cs); err != nil {
		return Command{}, err
	}
	return withParams(VerbRcpt, "TO:<"+forwardPath+">", params)
}

func withParams(verb Verb, arg string, params []string) (Command, error) {
	for _, p := range params {
		if err := checkParam(p); err != nil {
			return Command{}, err
		}
		arg += " " + p
	}
	return Command{Verb: verb, Arg: arg}.checked()
}

// Data asks for leave to send the message text (RFC 5321, 4.1.1.4).
func Data() Command { return Command{Verb: VerbData} }

// Message is the message text that follows the 354 to DATA. Line ends become
// CRLF, dots are doubled where they must be, the final dot is added.
func Message(text []byte) Command { return Command{Verb: VerbMessage, Message: text} }

// Bdat is a chunk of a message in place of DATA, and whether it is the last one (RFC 3030, 2).
// Its octets are sent as they are: no line end changes, no dot is added.
func Bdat(octets []byte, last bool) Command {
	arg := strconv.Itoa(len(octets))
	if last {
		arg += " LAST"
	}
	return Command{Verb: VerbBdat, Arg: arg, Message: octets}
}

// Final reports that the message ends with this command: the server may have
// accepted it once all of the command is out.
func (c Command) Final() bool {
	if c.Verb == VerbBdat {
		words := strings.Fields(c.Line())
		return len(words) == 3 && strings.EqualFold(words[2], "LAST")
	}
	return c.Verb == VerbMessage
}

// Rset aborts the mail transaction (RFC 5321, 4.1.1.5).
func Rset() Command { return Command{Verb: VerbRset} }

// Noop asks for nothing but a reply (RFC 5321, 4.1.1.9).
func Noop() Command { return Command{Verb: VerbNoop} }

// Quit asks the server to close (RFC 5321, 4.1.1.10).
func Quit() Command { return Command{Verb: VerbQuit} }

// StartTLS asks for leave to start TLS (RFC 3207, 4).
func StartTLS() Command { return Command{Verb: VerbStartTLS} }

// Auth starts a SASL exchange (RFC 4954, 4). The initial response is base64, "="
// for an empty one, nil for none.
func Auth(mechanism string, initial *string) (Command, error) {
	arg := mechanism
	if initial != nil {
		arg += " " + *initial
	}
	return Command{Verb: VerbAuth, Arg: arg}.checked()
}

// Response answers a 334 in base64, an empty one by an empty line; "*" cancels
// the exchange (RFC 4954, 4).
func Response(base64 string) (Command, error) {
	return Command{Verb: VerbResponse, Arg: base64}.checked()
}

// Vrfy asks whether a user or mailbox exists (RFC 5321, 4.1.1.6).
func Vrfy(name string) (Command, error) { return Command{Verb: VerbVrfy, Arg: name}.checked() }

// Expn asks for the members of a mailing list (RFC 5321, 4.1.1.7).
func Expn(list string) (Command, error) { return Command{Verb: VerbExpn, Arg: list}.checked() }

// Help asks for help, on a topic if there is one (RFC 5321, 4.1.1.8).
func Help(topic string) (Command, error) { return Command{Verb: VerbHelp, Arg: topic}.checked() }

// Etrn asks the server to send the mail that it has for a domain: a name, "@" and
// a domain for those below it too, or "#" and a queue (RFC 1985, 5).
func Etrn(node string) (Command, error) { return Command{Verb: VerbEtrn, Arg: node}.checked() }

// Xclient makes the server take its client for another one: attributes of the form
// NAME=value, the value as Xtext (Postfix, XCLIENT).
func Xclient(attributes ...string) (Command, error) {
	return Command{Verb: VerbXclient, Arg: strings.Join(attributes, " ")}.checked()
}

// Xforward tells the server who the client of a relay is, for its log. Its
// attributes have the form of those of Xclient (Postfix, XFORWARD).
func Xforward(attributes ...string) (Command, error) {
	return Command{Verb: VerbXforward, Arg: strings.Join(attributes, " ")}.checked()
}

func (c Command) checked() (Command, error) {
	if err := c.check(); err != nil {
		return Command{}, err
	}
	return c, nil
}

// isCommand reports a verb that stands at the start of a line.
func isCommand(v Verb) bool {
	switch v {
	case VerbEhlo, VerbHelo, VerbMail, VerbRcpt, VerbData, VerbRset, VerbVrfy, VerbExpn, VerbHelp, VerbNoop, VerbQuit,
		VerbStartTLS, VerbAuth, VerbBdat, VerbLhlo, VerbEtrn, VerbXclient, VerbXforward:
		return true
	}
	return false
}

// leads reports whether other commands may follow in the same group. RFC 2920, 3.1
// says so of these. It also allows the message text as the first of a group, and
// RFC 3030, 4.2 several BDAT, but here nothing is sent behind either before the
// server has said what became of it.
func leads(v Verb) bool { return v == VerbMail || v == VerbRcpt || v == VerbRset }

// check finds what keeps a command from being sent at any time.
func (c Command) check() error {
	if c.Raw {
		return checkLine("raw line", c.Arg, MaxAuthLine, "RFC 4954, 4")
	}
	switch c.Verb {
	case VerbMessage:
		return nil
	case VerbResponse:
		return checkResponse(c.Arg)
	case VerbAuth:
		return checkAuth(c.Arg)
	case VerbMail:
		return checkEnvelope("reverse-path", "FROM:", c.Arg)
	case VerbRcpt:
		return checkEnvelope("forward-path", "TO:", c.Arg)
	case VerbEhlo, VerbLhlo, VerbHelo:
		return checkHost("domain", c.Arg, 0, ascii) // an A-label where the name has one (RFC 6531, 3.7.1)
	case VerbData, VerbRset, VerbQuit, VerbStartTLS:
		if c.Arg != "" {
			return &SyntaxError{string(c.Verb), c.Arg, -1, "this command takes no argument", "RFC 5321, 4.1.1; RFC 3207, 4"}
		}
		return nil
	case VerbBdat:
		return c.checkChunk()
	case VerbNoop, VerbHelp:
		return c.checkText()
	case VerbVrfy, VerbExpn, VerbEtrn:
		if c.Arg == "" {
			return &SyntaxError{string(c.Verb), "", -1, "a name is missing", "RFC 5321, 4.1.1"}
		}
		return c.checkText()
	case VerbXclient, VerbXforward: // their attributes have the form of parameters
		if err := checkParams(c.Arg); err != nil {
			return err
		}
		return checkLine(string(c.Verb), c.Line(), MaxCommandLine, "RFC 5321, 4.5.3.1.4")
	}
	return &SyntaxError{"command", string(c.Verb), -1, "this client does not know the verb; it can be sent as a raw line", "RFC 5321, 4.1.1"}
}

// checkChunk checks the argument of BDAT (RFC 3030, 2). A size that is not that of
// the octets would make commands part of the message, or the other way around.
func (c Command) checkChunk() error {
	size, _, marked := strings.Cut(c.Arg, " ")
	switch {
	case size == "" || strings.Trim(size, "0123456789") != "" || marked && !c.Final():
		return &SyntaxError{"BDAT", c.Arg, -1, "the argument is the size of the chunk, and LAST behind it when it is the last one", "RFC 3030, 2"}
	case strings.TrimLeft(size, "0") != strings.TrimLeft(strconv.Itoa(len(c.Message)), "0"):
		return &SyntaxError{"BDAT", c.Arg, -1, fmt.Sprintf("the size is not that of the chunk, which has %d octets", len(c.Message)), "RFC 3030, 2"}
	}
	return checkLine("BDAT", c.Line(), MaxCommandLine, "RFC 5321, 4.5.3.1.4")
}

// checkText checks the free argument of VRFY, EXPN, HELP and NOOP. The grammar
// has String = Atom / Quoted-string, yet 3.5.1 has a mailbox behind VRFY, which
// is neither: any printable text passes. UTF-8 needs the parameter SMTPUTF8 behind
// it, which VRFY and EXPN alone have (RFC 6531, 3.7.4.2).
func (c Command) checkText() error {
	cs := ascii
	if c.Verb == VerbVrfy || c.Verb == VerbExpn {
		_, params, _ := strings.Cut(c.Arg, " ")
		cs = charsetOf(params)
	}
	if cs == international && !utf8.ValidString(c.Arg) {
		return &SyntaxError{string(c.Verb), c.Arg, -1, "what is beyond ASCII must be UTF-8", rfcUTF8}
	}
	for i := range len(c.Arg) {
		if c.Arg[i] < ' ' || c.Arg[i] >= 0x7f && !cs.takes(c.Arg[i]) {
			return badOctet(string(c.Verb), c.Arg, i, "is not allowed in a command")
		}
	}
	return checkLine(string(c.Verb), c.Line(), MaxCommandLine, "RFC 5321, 4.5.3.1.4")
}

// checkLine refuses what would not arrive as one line, and a line over the limit.
func checkLine(what, line string, limit int, rfc string) error {
	if i := strings.IndexAny(line, "\r\n\x00"); i >= 0 {
		return badOctet(what, line, i, "is not allowed in a command")
	}
	if n := len(line) + len("\r\n"); n > limit {
		return &SyntaxError{what, line, -1, fmt.Sprintf("the line has %d octets with its CRLF, the limit is %d", n, limit), rfc}
	}
	return nil
}

// checkEnvelope checks the argument of MAIL and RCPT.
func checkEnvelope(what, keyword, arg string) error {
	fail := func(problem, rfc string) error { return &SyntaxError{what, arg, -1, problem, rfc} }
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return fail("the argument starts with "+keyword, "RFC 5321, 4.1.1")
	}
	rest := arg[len(keyword):]
	if strings.HasPrefix(rest, " ") {
		return fail("no space is allowed on either side of the colon", "RFC 5321, 3.3")
	}
	path, params, ok := cutPath(rest)
	if !ok {
		return fail("the path stands in angle brackets, and parameters follow after a space", rfcSyntax)
	}
	var err error
	switch {
	case what == "forward-path":
		err = checkForwardPath(path, international) // what MAIL declared is for Submit to judge
	case path != "":
		err = checkMailbox(what, path, charsetOf(params))
	}
	if err != nil || params == "" {
		return err
	}
	if len(params) > MaxParameters {
		return &SyntaxError{what, arg, -1, fmt.Sprintf("the parameters have %d octets, the most that this client sends is %d",
			len(params), MaxParameters), "RFC 5321, 4.5.3.1.4"}
	}
	return checkParams(params)
}

func checkParams(params string) error {
	for p := range strings.SplitSeq(params, " ") {
		if err := checkParam(p); err != nil {
			return err
		}
	}
	return nil
}

// checkForwardPath allows "postmaster" without a domain (RFC 5321, 4.1.1.3).
func checkForwardPath(s string, cs charset) error {
	if strings.EqualFold(s, "postmaster") {
		return nil
	}
	return checkMailbox("forward-path", s, cs)
}

// charsetOf is what addresses may have beside these parameters.
func charsetOf(params string) charset { return charset(declares(params, "SMTPUTF8")) }

// mailParams are the parameters of a MAIL, as they stand in the line.
func (c Command) mailParams() string {
	_, rest, _ := strings.Cut(c.Arg, ":")
	_, params, _ := cutPath(rest)
	return params
}

// declares tells whether a parameter is among those of a line.
func declares(params, wanted string) bool {
	for p := ""; params != ""; {
		if p, params, _ = strings.Cut(params, " "); strings.EqualFold(p, wanted) {
			return true
		}
	}
	return false
}

// cutPath splits "<path> parameters". A closing bracket inside a quoted string is
// part of the path.
func cutPath(s string) (path, params string, ok bool) {
	if !strings.HasPrefix(s, "<") {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			path, rest := s[1:i], s[i+1:]
			params, spaced := strings.CutPrefix(rest, " ")
			return path, params, rest == "" || spaced && params != ""
		}
	}
	return "", "", false
}

// checkAuth checks the argument of AUTH. Errors do not repeat the response: it
// may hold a password.
func checkAuth(arg string) error {
	mechanism, initial, found := strings.Cut(arg, " ")
	// sasl-mech = 1*20 of letters, digits, hyphen and underscore (RFC 4422, 3.1).
	bad := strings.IndexFunc(mechanism, func(r rune) bool { return r > 0x7f || !isAlnum(byte(r)) && r != '-' && r != '_' })
	if mechanism == "" || len(mechanism) > 20 || bad >= 0 {
		return &SyntaxError{"mechanism", mechanism, bad, "a SASL mechanism has up to 20 letters, digits, hyphens and underscores", "RFC 4422, 3.1"}
	}
	if found && initial != "=" && (initial == "" || !isBase64(initial)) {
		return &SyntaxError{"initial response", "", -1, `it must be base64, or "=" for an empty one`, "RFC 4954, 4"}
	}
	if n := len("AUTH ") + len(arg) + len("\r\n"); n > MaxCommandLine {
		return &SyntaxError{"initial response", "", -1, fmt.Sprintf("it makes a line of %d octets, the limit is %d; "+
			"leave it out and send it as the first response", n, MaxCommandLine), "RFC 4954, 4"}
	}
	return nil
}

// checkResponse checks a line of an AUTH exchange, without repeating it in errors.
func checkResponse(line string) error {
	if line != "*" && !isBase64(line) {
		return &SyntaxError{"response", "", -1, `it must be base64, or "*" to cancel`, "RFC 4954, 4"}
	}
	if n := len(line) + len("\r\n"); n > MaxAuthLine {
		return &SyntaxError{"response", "", -1, fmt.Sprintf("the line has %d octets, the limit is %d", n, MaxAuthLine), "RFC 4954, 4"}
	}
	return nil
}

// isBase64 is strict, as RFC 4954, 4 demands. The decoder skips CR and LF.
func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil && !strings.ContainsAny(s, "\r\n")
}

// secrets finds what redaction must mask in a line of this verb.
func secrets(verb Verb, line string) []Span {
	switch verb {
	case VerbResponse:
		if line != "" && line != "*" {
			return []Span{{0, int64(len(line))}}
		}
	case VerbAuth:
		_, arg := cutWord(line)
		if _, initial := cutWord(arg); initial != "" && initial != "=" {
			return []Span{{int64(len(line) - len(initial)), int64(len(line))}}
		}
	}
	return nil
}

// cutWord splits off the first word as a lenient server would see it.
func cutWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}
