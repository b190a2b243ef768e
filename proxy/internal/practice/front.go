package practice

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// front is a connection as go-smtp uses it. It does the TLS and what go-smtp does
// not know: VRFY, EXPN, HELP, ETRN (RFC 1985), Postfix's XCLIENT and XFORWARD, and the
// parameters of MAIL that go-smtp looks for in RCPT (RFC 2852, RFC 6710).
//
// One Read hands over one line. Go-smtp answers it before it reads on, so that what is
// answered here comes in its turn, in a group of commands too.
type front struct {
	net.Conn // the lowest layer
	server   *Server
	role     *role
	session  *session // nil before EHLO

	in     *bufio.Reader
	rest   []byte // of a line that go-smtp had no room for
	inLine bool   // the line goes on
	octets int64  // of BDAT still to be handed over

	mu      sync.Mutex // with BDAT the message is read in a goroutine of its own
	top     net.Conn   // what is read from and written to: Conn, or TLS above it
	mode    mode
	greeted bool
	hello   string // EHLO, LHLO or HELO, when its reply is due
	held    []byte // the lines of it so far
	anew    bool   // after STARTTLS and XCLIENT one of them comes first

	xclient, xforward attributes
	asked             []string // parameters of MAIL that go-smtp is not shown
}

// mode is what the client's octets are.
type mode int

const (
	commands mode = iota
	message       // after a 354
	ended         // the line of the final dot was handed over
	response      // after a 334
)

// readBuffer has room for any command; longer lines are handed over in pieces.
const readBuffer = 16 << 10

// fronts hands go-smtp its connections.
type fronts struct {
	net.Listener
	server *Server
	role   *role
}

func (l fronts) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f := &front{Conn: c, server: l.server, role: l.role, top: c}
	if l.role.implicit {
		f.top = tls.Server(c, l.role.tls)
	}
	f.in = bufio.NewReaderSize(f.top, readBuffer)
	return f, nil
}

// RemoteAddr is the client's, or the one that XCLIENT gave.
func (f *front) RemoteAddr() net.Addr {
	if ip, err := netip.ParseAddr(strings.TrimPrefix(strings.ToLower(f.xclient["ADDR"]), "ipv6:")); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))
	}
	return f.Conn.RemoteAddr()
}

func (f *front) upper() net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.top
}

// tlsState is that of TLS, nil without.
func (f *front) tlsState() *tls.ConnectionState {
	if t, ok := f.upper().(*tls.Conn); ok {
		state := t.ConnectionState()
		return &state
	}
	return nil
}

func (f *front) Close() error { return f.upper().Close() }

// CloseWrite ends what is sent.
func (f *front) CloseWrite() error {
	if t, ok := f.upper().(*tls.Conn); ok {
		return t.CloseWrite()
	}
	return f.Conn.(*net.TCPConn).CloseWrite()
}

// handshake runs TLS, without patience for a client that does not speak it.
func (f *front) handshake(t *tls.Conn) error {
	if err := f.SetDeadline(time.Now().Add(f.server.limits.wait)); err != nil {
		return err
	}
	if err := t.Handshake(); err != nil {
		f.server.log.Info("practice server", "port", f.role.port, "event", "TLS handshake: "+err.Error())
		f.Conn.Close() //nolint:errcheck // the handshake has failed
		return err
	}
	return f.SetDeadline(time.Time{})
}

// Write takes what go-smtp answers, line by line. The reply to EHLO is completed and goes out whole.
func (f *front) Write(p []byte) (int, error) {
	f.mu.Lock()
	greet := !f.greeted
	f.greeted = true
	switch {
	case bytes.HasPrefix(p, []byte("354 ")):
		f.mode = message
	case bytes.HasPrefix(p, []byte("334 ")):
		f.mode = response
	case f.mode == ended:
		f.mode = commands
	}
	line := p
	if welcome := bytes.HasPrefix(p, []byte("250")); welcome && f.hello != "" {
		f.held = append(f.held, p...)
		if p[3] == '-' {
			f.mu.Unlock()
			return len(p), nil
		}
		if f.hello != "HELO" {
			f.held[len(f.held)-len(p)+3] = '-'
			f.held = append(f.held, f.offers()...)
		}
		line, f.held, f.anew = f.held, nil, false
	}
	f.hello = ""
	top := f.top
	f.mu.Unlock()
	if t, ok := top.(*tls.Conn); ok && greet {
		if err := f.handshake(t); err != nil {
			return 0, err
		}
	}
	if _, err := top.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}

// offers are the last lines of the reply to EHLO.
func (f *front) offers() string {
	lines := []string{"DELIVERBY", "MT-PRIORITY", "ETRN", "EXPN", "HELP",
		"XCLIENT " + strings.Join(xclientNames, " "), "XFORWARD " + strings.Join(xforwardNames, " ")}
	if _, encrypted := f.top.(*tls.Conn); encrypted {
		lines = append(lines, "REQUIRETLS")
	} else {
		lines = append(lines, "STARTTLS")
	}
	var b strings.Builder
	for i, line := range lines {
		between := "-"
		if i == len(lines)-1 {
			between = " "
		}
		b.WriteString("250" + between + line + "\r\n")
	}
	return b.String()
}

// Read hands go-smtp one line, or a piece of one, that it has to see.
func (f *front) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.octets > 0 {
			n, err := f.in.Read(p[:min(int64(len(p)), f.octets)])
			f.octets -= int64(n)
			return n, err
		}
		line, err := f.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if len(line) == 0 {
				return 0, err
			}
			return copy(p, line), nil // its rest never comes
		}
		begins, whole := !f.inLine, err == nil
		f.inLine = !whole
		line = slices.Clone(line)
		if f.passes(line, begins && whole) {
			f.rest = line
			continue
		}
		if f.rest, err = f.command(string(bytes.TrimRight(line, "\r\n"))); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// passes reports that a line is no command, and keeps account of what the next one is.
func (f *front) passes(line []byte, whole bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.mode {
	case ended: // go-smtp reads on, so that it was not the end
		f.mode = message
		fallthrough
	case message:
		if whole && string(line) == ".\r\n" {
			f.mode = ended
		}
		return true
	case response:
		f.mode = commands
		return true
	}
	return !whole
}

// command does what is to be done here about a command. It returns what go-smtp shall read.
func (f *front) command(line string) (pass []byte, err error) {
	verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	arg = strings.TrimSpace(arg)
	verb = strings.ToUpper(verb)
	pass = []byte(line + "\r\n")
	f.mu.Lock()
	anew := f.anew
	if slices.Contains([]string{"EHLO", "LHLO", "HELO"}, verb) {
		f.hello = verb
	}
	f.mu.Unlock()
	if anew && slices.Contains([]string{"MAIL", "RCPT", "DATA", "BDAT", "AUTH", "XCLIENT", "XFORWARD", "ETRN"}, verb) {
		if verb == "BDAT" { // its octets come all the same
			if _, err := io.CopyN(io.Discard, f.in, chunkSize(arg)); err != nil {
				return nil, err
			}
		}
		return nil, f.say("502 5.5.1 Please introduce yourself first.")
	}
	switch verb {
	case "STARTTLS":
		return nil, f.startTLS(arg)
	case "BDAT":
		f.octets = chunkSize(arg)
	case "MAIL":
		return f.mail(line, pass)
	case "VRFY":
		return nil, f.say(verify(arg))
	case "EXPN":
		return nil, f.say(expand(arg))
	case "HELP":
		return nil, f.say(help())
	case "ETRN":
		if arg == "" {
			return nil, f.say("501 5.5.4 Name the node whose mail is to be sent (RFC 1985, 5)")
		}
		return nil, f.say("251 2.0.0 OK, no messages are waiting for node " + printable(arg))
	case "XCLIENT", "XFORWARD":
		if f.session == nil {
			return nil, f.say("502 5.5.1 Please introduce yourself first.")
		}
		if f.session.begun() {
			return nil, f.say("503 5.5.1 A mail transaction is in progress")
		}
		return nil, f.about(verb, arg)
	}
	return pass, nil
}

func (f *front) say(lines ...string) error {
	if err := f.SetWriteDeadline(time.Now().Add(f.server.limits.write)); err != nil {
		return err
	}
	_, err := io.WriteString(f.upper(), strings.Join(lines, "\r\n")+"\r\n")
	return err
}

// chunkSize is how many octets go-smtp will read behind the line of BDAT.
func chunkSize(arg string) int64 {
	words := strings.Fields(arg)
	if len(words) == 0 || len(words) > 2 || len(words) == 2 && !strings.EqualFold(words[1], "LAST") {
		return 0
	}
	n, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil {
		return 0
	}
	return int64(n)
}

// startTLS forgets everything that was said before, and what the client has sent
// behind the command (RFC 3207, 4.2; CVE-2011-0411).
func (f *front) startTLS(arg string) error {
	switch {
	case f.tlsState() != nil:
		return f.say("502 5.5.1 Already running in TLS")
	case arg != "":
		return f.say("501 5.5.4 STARTTLS takes no argument")
	}
	if err := f.say("220 2.0.0 Ready to start TLS"); err != nil {
		return err
	}
	t := tls.Server(f.Conn, f.role.tls)
	if err := f.handshake(t); err != nil {
		return err
	}
	f.mu.Lock()
	f.top, f.anew = t, true
	f.mu.Unlock()
	f.xclient, f.xforward, f.asked = nil, nil, nil
	f.in = bufio.NewReaderSize(t, readBuffer)
	return f.SetReadDeadline(time.Now().Add(f.server.limits.wait))
}

// mail takes out of a MAIL what go-smtp would not know.
func (f *front) mail(line string, pass []byte) ([]byte, error) {
	f.asked = nil
	end := strings.LastIndexByte(line, '>') + 1
	kept := line[:end]
	for _, param := range strings.Fields(line[end:]) {
		name, value, _ := strings.Cut(param, "=")
		switch strings.ToUpper(name) {
		case "BY":
			seconds, mode, _ := strings.Cut(strings.ToUpper(value), ";")
			n, err := strconv.Atoi(seconds)
			if err != nil || !slices.Contains([]string{"R", "N", "RT", "NT"}, mode) || mode[0] == 'R' && n <= 0 {
				return nil, f.say("501 5.5.4 BY has the form 120;R or 120;N (RFC 2852, 4)")
			}
		case "MT-PRIORITY":
			if n, err := strconv.Atoi(value); err != nil || n < -9 || n > 9 {
				return nil, f.say("501 5.5.2 MT-PRIORITY is a number from -9 to 9 (RFC 6710, 4.2)")
			}
		default:
			kept += " " + param
			continue
		}
		f.asked = append(f.asked, strings.ToUpper(param))
	}
	if f.asked == nil {
		return pass, nil
	}
	return []byte(kept + "\r\n"), nil
}

// attributes are those of XCLIENT and XFORWARD, names in upper case.
type attributes map[string]string

func (a attributes) list() (out []string) {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		out = append(out, name+"="+printable(a[name]))
	}
	return out
}

// What Postfix's servers take, as far as it means something here.
var (
	xclientNames  = []string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"}
	xforwardNames = []string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"}
)

// about takes XCLIENT and XFORWARD. Everybody is trusted here: no mail leaves this machine.
func (f *front) about(verb, arg string) error {
	known := xclientNames
	if verb == "XFORWARD" {
		known = xforwardNames
	}
	got := attributes{}
	for _, a := range strings.Fields(arg) {
		name, value, ok := strings.Cut(a, "=")
		text, err := decodeXtext(value)
		if name = strings.ToUpper(name); !ok || err != nil || !slices.Contains(known, name) {
			return f.say("501 5.5.4 Bad attribute " + printable(a) + ", known are " + strings.Join(known, " "))
		}
		if _, err := netip.ParseAddr(strings.TrimPrefix(strings.ToLower(text), "ipv6:")); err != nil && name == "ADDR" && text[:1] != "[" {
			return f.say("501 5.5.4 ADDR is an IP address, or IPV6: and one, or [UNAVAILABLE]")
		}
		got[name] = text
	}
	if len(got) == 0 {
		return f.say("501 5.5.4 Name the attributes, as in " + verb + " NAME=spike.example")
	}
	if verb == "XFORWARD" {
		f.xforward = got
		return f.say("250 2.0.0 Ok")
	}
	if f.session.signedIn() {
		return f.say("503 5.5.1 XCLIENT comes before AUTH here")
	}
	f.xclient, f.xforward = got, nil
	f.mu.Lock()
	f.anew = true
	f.mu.Unlock()
	return f.say("220 " + Host + " " + f.role.protocol() + " Service Ready")
}

// decodeXtext is RFC 3461, 4. An empty value is none.
func decodeXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("a plus sign without two digits")
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil || n < ' ' || n == 0x7f {
			return "", errors.New("a plus sign without the two digits of a character")
		}
		b.WriteByte(byte(n))
		i += 2
	}
	if s == "" {
		return "", errors.New("no value")
	}
	return b.String(), nil
}

// printable is a client's word in a reply.
func printable(s string) string {
	const most = 100
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), most)])
}

// verify answers VRFY (RFC 5321, 3.5.3): there is one user, everybody else's mail is taken
// too, and the tricks are as they are in RCPT.
func verify(name string) string {
	address := strings.Trim(name, "<>")
	if t, ok := findTrick(address); ok && !t.afterData {
		return replyText(t.reply)
	}
	switch {
	case name == "":
		return "501 5.5.4 Name a user or a mailbox (RFC 5321, 4.1.1.6)"
	case strings.EqualFold(address, Username) || strings.EqualFold(address, Username+"@"+Host):
		return "250 2.1.5 Ada Lovelace <" + Username + "@" + Host + ">"
	}
	return "252 2.5.0 Cannot VRFY user, but will accept message"
}

// expand answers EXPN (RFC 5321, 3.5.2).
func expand(list string) string {
	if strings.EqualFold(list, "staff") {
		return strings.Join([]string{"250-2.1.5 Ada Lovelace <" + Username + "@" + Host + ">", "250 2.1.5 Charles Babbage <charles@" + Host + ">"}, "\r\n")
	}
	return "550 5.1.1 There is one list here, and its name is staff"
}

// help answers HELP (RFC 5321, 4.1.1.8).
func help() string {
	lines := []string{"This server keeps what it is sent and sends nothing on.", fmt.Sprintf("Sign in as %s, password %s. The list is named staff.", Username, Password), "These local-parts teach a failure, at any domain:"}
	for _, t := range tricks {
		lines = append(lines, "  "+t.localPart+": "+replyText(t.reply))
	}
	for i := range lines {
		between := "-"
		if i == len(lines)-1 {
			between = " "
		}
		lines[i] = "214" + between + "2.0.0 " + lines[i]
	}
	return strings.Join(lines, "\r\n")
}
