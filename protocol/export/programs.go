package export

import (
	"fmt"
	"strconv"
	"strings"
)

// python is a program for smtplib of Python 3.
func (r *recipe) python() string {
	s := &script{}
	s.line("#!/usr/bin/env python3")
	for _, line := range r.remarks("Python's smtplib") {
		s.line("# %s", line)
	}
	for _, i := range []struct {
		module string
		used   bool
	}{{"os", r.Auth != nil}, {"smtplib", true}, {"ssl", r.Security != "none"}, {"sys", r.incomplete()}} {
		if i.used {
			s.line("import %s", i.module)
		}
	}
	s.line("")
	if r.Auth != nil {
		s.line(`password = os.environ["SMTP_PASSWORD"]`)
	}
	if r.Security != "none" {
		s.line(`
class Context(ssl.SSLContext):
    """Expects the name that the certificate is for, which need not be the one dialed."""

    def wrap_socket(self, *args, **kwargs):
        kwargs["server_hostname"] = %s
        return super().wrap_socket(*args, **kwargs)

`, pythonString(r.TLS.ServerName))
		s.line("context = Context(ssl.PROTOCOL_TLS_CLIENT)\ncontext.load_default_certs()")
		for _, ca := range r.TLS.CA {
			s.line("context.load_verify_locations(cadata=%s)", pythonText(ca))
		}
		if r.TLS.Insecure {
			s.line("context.check_hostname = False\ncontext.verify_mode = ssl.CERT_NONE")
		}
	}
	s.line("")
	for i := range r.Messages {
		if r.cut(i) {
			s.line("with open(sys.argv[1], \"rb\") as f:\n    message%d = f.read().replace(b\"\\r\\n\", b\"\\n\").replace(b\"\\n\", b\"\\r\\n\")", i+1)
		} else {
			s.line("message%d = %s.replace(\"\\n\", \"\\r\\n\").encode()", i+1, pythonText(r.text(i)))
		}
	}
	class, more := "SMTP", ""
	if r.Security == "tls" {
		class, more = "SMTP_SSL", ", context=context"
	}
	s.line("\nwith smtplib.%s(%s, %d, local_hostname=%s%s) as smtp:", class, pythonString(r.Target.Host), r.Target.Port, pythonString(r.EHLO), more)
	s.line("    smtp.set_debuglevel(1)")
	if r.Security == "starttls" {
		s.line("    smtp.starttls(context=context)")
	}
	s.line("    smtp.ehlo()")
	if r.Auth != nil {
		s.line("    smtp.set_debuglevel(0)  # the password would show")
		s.line("    smtp.user, smtp.password = %s, password", pythonString(r.Auth.Username))
		switch m := r.signIn(); m {
		case "":
			s.line("    smtp.login(smtp.user, smtp.password)")
		case "XOAUTH2":
			s.line(`    smtp.auth("XOAUTH2", lambda challenge=None: f"user={smtp.user}\x01auth=Bearer {smtp.password}\x01\x01" if challenge is None else "")`)
		case "EXTERNAL":
			s.line(`    smtp.auth("EXTERNAL", lambda challenge=None: smtp.user)`)
		default:
			s.line("    smtp.auth(%s, smtp.auth_%s)", pythonString(m), strings.ToLower(strings.ReplaceAll(m, "-", "_")))
		}
		s.line("    smtp.set_debuglevel(1)")
	}
	for _, c := range r.Commands {
		s.line("    print(smtp.docmd(%s))", pythonString(c))
	}
	for i, m := range r.Messages {
		mail, rcpt := r.envelope(i)
		s.line("    smtp.mail(%s, %s)", pythonString(m.From), pythonList(mail))
		for _, to := range m.To {
			s.line("    smtp.rcpt(%s, %s)", pythonString(to), pythonList(rcpt[to]))
		}
		s.line("    print(smtp.data(message%d))", i+1)
	}
	return s.String()
}

// pythonString is a literal.
func pythonString(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			out.WriteString(`\` + string(r))
		case r == '\n':
			out.WriteString(`\n`)
		case !strconv.IsPrint(r) && r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		case !strconv.IsPrint(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String() + `"`
}

// pythonText is an expression for text of several lines, a line each.
func pythonText(text string) string {
	return "(\n" + lines(text, func(line string) string { return "    " + pythonString(line) + "\n" }) + ")"
}

func pythonList(words []string) string {
	var list []string
	for _, w := range words {
		list = append(list, pythonString(w))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func lines(text string, write func(string) string) string {
	var out strings.Builder
	for _, line := range strings.SplitAfter(text, "\n") {
		if line != "" {
			out.WriteString(write(line))
		}
	}
	return out.String()
}

// golang is a program for net/smtp of Go, formatted as gofmt does.
func (r *recipe) golang() string {
	s := &script{}
	for _, line := range r.remarks("Go's net/smtp") {
		s.line("// %s", line)
	}
	s.line("package main\n\nimport (")
	tls, signs := r.Security != "none", r.Auth != nil && r.signIn() != "CRAM-MD5"
	for _, i := range []struct {
		path string
		used bool
	}{
		{"crypto/tls", tls}, {"crypto/x509", tls && len(r.TLS.CA) > 0}, {"fmt", len(r.Messages)+len(r.Commands) > 0 || signs}, {"log", true},
		{"net", r.Security != "tls"}, {"net/smtp", true}, {"os", r.Auth != nil || r.incomplete()},
	} {
		if i.used {
			s.line("\t%q", i.path)
		}
	}
	s.line(")\n")
	s.line("func main() {\n\tif err := run(); err != nil {\n\t\tlog.Fatal(err)\n\t}\n}\n")
	s.line("func run() error {")
	failing := func(call string) { s.line("\tif err := %s; err != nil {\n\t\treturn err\n\t}", call) }
	getting := func(name, call string) { s.line("\t%s, err := %s\n\tif err != nil {\n\t\treturn err\n\t}", name, call) }
	if tls {
		s.line("\tconfig := &tls.Config{ServerName: %s}", strconv.Quote(r.TLS.ServerName))
		if r.TLS.Insecure {
			s.line("\tconfig.InsecureSkipVerify = true")
		}
		if len(r.TLS.CA) > 0 {
			getting("roots", "x509.SystemCertPool()")
			for _, ca := range r.TLS.CA {
				s.line("\troots.AppendCertsFromPEM([]byte(%s))", goText(ca))
			}
			s.line("\tconfig.RootCAs = roots")
		}
	}
	if address := strconv.Quote(r.address()); r.Security == "tls" {
		getting("conn", `tls.Dial("tcp", `+address+`, config)`)
	} else {
		getting("conn", `net.Dial("tcp", `+address+`)`)
	}
	getting("c", "smtp.NewClient(conn, "+strconv.Quote(r.TLS.ServerName)+")")
	s.line("\tdefer c.Close()")
	failing("c.Hello(" + strconv.Quote(r.EHLO) + ")")
	if r.Security == "starttls" {
		failing("c.StartTLS(config)")
	}
	if r.Auth != nil {
		failing("c.Auth(" + r.goAuth() + ")")
	}
	say := func(expect int, line string, params []string) {
		failing(fmt.Sprintf("say(c, %d, %s)", expect, strconv.Quote(strings.Join(append([]string{line}, params...), " "))))
	}
	for _, c := range r.Commands {
		say(0, c, nil)
	}
	for i, m := range r.Messages {
		mail, rcpt := r.envelope(i)
		say(2, "MAIL FROM:<"+m.From+">", mail)
		for _, to := range m.To {
			say(0, "RCPT TO:<"+to+">", rcpt[to])
		}
		name := fmt.Sprintf("message%d", i+1)
		if r.cut(i) {
			getting(name, "os.ReadFile(os.Args[1])")
		} else {
			s.line("\t%s := []byte(%s)", name, goText(r.text(i)))
		}
		failing("data(c, " + name + ")")
	}
	s.line("\treturn c.Quit()\n}")
	if len(r.Messages)+len(r.Commands) > 0 {
		s.line("%s", goSay)
	}
	if len(r.Messages) > 0 {
		s.line("%s", goData)
	}
	if signs {
		s.line("%s", goSignIn)
	}
	return s.String()
}

// goAuth is an smtp.Auth. That of net/smtp for PLAIN refuses to do without TLS what
// the session did, and there is none for the others.
func (r *recipe) goAuth() string {
	user := strconv.Quote(r.Auth.Username)
	const password = `os.Getenv("SMTP_PASSWORD")`
	responses := fmt.Sprintf(`"\x00" + %s + "\x00" + %s`, user, password)
	mechanism := r.signIn()
	switch mechanism {
	case "CRAM-MD5":
		return fmt.Sprintf(`smtp.CRAMMD5Auth(%s, %s)`, user, password)
	case "LOGIN":
		responses = fmt.Sprintf(`"", %s, %s`, user, password)
	case "XOAUTH2":
		responses = fmt.Sprintf(`"user=" + %s + "\x01auth=Bearer " + %s + "\x01\x01", ""`, user, password)
	case "EXTERNAL":
		responses = user
	default:
		mechanism = "PLAIN"
	}
	return fmt.Sprintf("&signIn{%q, []string{%s}}", mechanism, responses)
}

// goText is an expression for text of several lines, a line each.
func goText(text string) string {
	return strings.TrimSuffix(lines(text, func(line string) string { return strconv.Quote(line) + " +\n\t\t" }), " +\n\t\t")
}

const goSay = `
// say sends a line and shows the reply, which may be any where 0 is expected.
func say(c *smtp.Client, expect int, line string) error {
	id, err := c.Text.Cmd("%s", line)
	if err != nil {
		return err
	}
	c.Text.StartResponse(id)
	defer c.Text.EndResponse(id)
	code, text, err := c.Text.ReadResponse(expect)
	fmt.Println(line, "->", code, text)
	return err
}`

const goData = `
// data sends a message and shows the verdict.
func data(c *smtp.Client, message []byte) error {
	if err := say(c, 354, "DATA"); err != nil {
		return err
	}
	w := c.Text.DotWriter()
	if _, err := w.Write(message); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	code, text, err := c.Text.ReadResponse(250)
	fmt.Println("message ->", code, text)
	return err
}`

const goSignIn = `
// signIn answers each challenge with the next of its responses.
type signIn struct {
	mechanism string
	responses []string
}

func (a *signIn) Start(*smtp.ServerInfo) (string, []byte, error) {
	initial := []byte(a.responses[0])
	a.responses = a.responses[1:]
	if len(initial) == 0 {
		initial = nil
	}
	return a.mechanism, initial, nil
}

func (a *signIn) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if len(a.responses) == 0 {
		return nil, fmt.Errorf("AUTH %s: another challenge", a.mechanism)
	}
	next := a.responses[0]
	a.responses = a.responses[1:]
	return []byte(next), nil
}`
