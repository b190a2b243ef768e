package export

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"smtpscope/protocol/smtp"
	"smtpscope/protocol/trace"
)

// script is a program for a POSIX shell.
type script struct{ strings.Builder }

func (s *script) line(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// newScript begins one: what it is, what it needs, and the files that it works with.
func (r *recipe) newScript(tool string) *script {
	s := &script{}
	s.line("#!/bin/sh")
	for _, line := range r.remarks(tool) {
		s.line("# %s", line)
	}
	s.line("set -eu")
	s.line("export LC_ALL=C")
	if r.Auth != nil {
		s.line(`: "${SMTP_PASSWORD:?is not set: it holds the password of the account}"`)
	}
	if r.incomplete() {
		s.line(`: "${1:?is missing: the path of the message}"`)
	}
	s.line(`dir=$(mktemp -d)`)
	s.line(`trap 'rm -rf "$dir"' EXIT`)
	if len(r.TLS.CA) > 0 {
		s.file("ca.pem", strings.Join(r.TLS.CA, "\n"))
	}
	return s
}

// message puts a message into the file "$dir/message", its lines ended by LF.
func (s *script) message(r *recipe, i int) {
	if r.cut(i) {
		s.line(`tr -d '\r' <"$1" >"$dir/message"`)
		return
	}
	s.file("message", r.text(i))
}

// file writes a file of text, which ends with a line end. Text with control
// characters goes as base64, for shells and terminals act on some.
func (s *script) file(name, text string) {
	if text = strings.TrimSuffix(text, "\n") + "\n"; strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		s.line(`base64 -d >"$dir/%s" <<'EOF'`, name)
		for encoded := base64.StdEncoding.EncodeToString([]byte(text)); encoded != ""; {
			n := min(76, len(encoded))
			s.line("%s", encoded[:n])
			encoded = encoded[n:]
		}
		s.line("EOF")
		return
	}
	mark := "EOF"
	for strings.Contains("\n"+text, "\n"+mark+"\n") {
		mark += "_"
	}
	s.line(`cat >"$dir/%s" <<'%s'`, name, mark)
	s.WriteString(text)
	s.line("%s", mark)
}

// quoted is a word that a shell leaves as it is.
func quoted(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	safe := func(r rune) bool {
		return r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("@%+=:,./-_", r))
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !safe(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// mailbox is an address that no program takes for an option: a local part may be
// quoted, and is the same (RFC 5321, 4.1.2).
func mailbox(address string) string {
	if at := strings.LastIndexByte(address, '@'); at > 0 && address[0] == '-' {
		return `"` + address[:at] + `"` + address[at:]
	}
	return address
}

// words joins those of a command, a line each.
func (s *script) words(words []string) { s.line("%s", strings.Join(words, " \\\n  ")) }

// crlf ends the lines of "$dir/message" as SMTP has them.
const crlf = `sed "s/\$/$(printf '\r')/" "$dir/message"`

func (r *recipe) swaks() string {
	s := r.newScript("swaks")
	common := []string{"swaks --server " + quoted(r.Target.Host), "--port " + strconv.Itoa(r.Target.Port), "--ehlo " + quoted(r.EHLO)}
	if r.Options.Protocol == "lmtp" {
		common = append(common, "--protocol LMTP")
	}
	switch r.Security {
	case "starttls":
		common = append(common, "--tls")
	case "tls":
		common = append(common, "--tls-on-connect")
	}
	if r.Security != "none" {
		common = append(common, "--tls-sni "+quoted(r.TLS.ServerName))
		if !r.TLS.Insecure {
			common = append(common, "--tls-verify")
		}
		if len(r.TLS.CA) > 0 {
			common = append(common, `--tls-ca-path "$dir/ca.pem"`)
		}
	}
	if r.Auth != nil {
		s.line(`export SWAKS_OPT_auth_password="$SMTP_PASSWORD"`)
		common = append(common, strings.TrimSpace("--auth "+r.signIn()), "--auth-user "+quoted(r.Auth.Username), "--auth-hide-password")
	}
	if x := r.Options.XClient; len(x) > 0 {
		common = append(common, "--xclient "+quoted(strings.Join(attributes(x), " ")))
	}
	if r.Options.Pipelining {
		common = append(common, "--pipeline")
	}
	for i, m := range r.Messages {
		s.message(r, i)
		s.line(`{ sed "s/^\./../;s/\$/$(printf '\r')/" "$dir/message"; printf .; } >"$dir/data"`)
		from := mailbox(m.From)
		if from == "" {
			from = "<>"
		}
		var to []string
		for _, address := range m.To {
			to = append(to, mailbox(address))
		}
		s.words(append(common[:len(common):len(common)], "--from "+quoted(from), "--to "+quoted(strings.Join(to, ",")), `--no-data-fixup --data "@$dir/data"`))
	}
	if len(r.Messages) == 0 {
		s.words(append(common, "--quit-after AUTH"))
	}
	return s.String()
}

func (r *recipe) curl() string {
	s := r.newScript("curl")
	scheme := "smtp"
	if r.Security == "tls" {
		scheme = "smtps"
	}
	name := r.TLS.ServerName
	if name == "" {
		name = r.Target.Host
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	place := name + ":" + strconv.Itoa(r.Target.Port)
	common := []string{"curl --verbose --url " + quoted(scheme+"://"+place+"/"+url.PathEscape(r.EHLO))}
	if place != r.address() {
		common = append(common, "--connect-to "+quoted(place+":"+r.address()))
	}
	if r.Security == "starttls" {
		common = append(common, "--ssl-reqd")
	}
	if r.Security != "none" && r.TLS.Insecure {
		common = append(common, "--insecure")
	}
	if r.Security != "none" && len(r.TLS.CA) > 0 {
		common = append(common, `--cacert "$dir/ca.pem"`)
	}
	if r.Auth != nil {
		common = append(common, "--user "+quoted(r.Auth.Username)+`:"$SMTP_PASSWORD"`)
		switch m := r.signIn(); m {
		case "":
		case "XOAUTH2", "OAUTHBEARER":
			common = append(common, "--login-options AUTH="+m, `--oauth2-bearer "$SMTP_PASSWORD"`)
		default:
			common = append(common, "--login-options "+quoted("AUTH="+m))
		}
	}
	for i, m := range r.Messages {
		s.message(r, i)
		s.line(`%s >"$dir/data"`, crlf)
		words := append(common[:len(common):len(common)], "--mail-from "+quoted(mailbox(m.From)))
		for _, to := range m.To {
			words = append(words, "--mail-rcpt "+quoted(mailbox(to)))
		}
		if len(m.To) > 1 {
			words = append(words, "--mail-rcpt-allowfails")
		}
		s.words(append(words, `--upload-file "$dir/data"`))
	}
	if len(r.Messages) == 0 {
		s.words(append(common, "--request NOOP"))
	}
	return s.String()
}

// conversation has openssl carry lines, and waits for the reply to each.
const conversation = `mkfifo "$dir/to" "$dir/from"
trap '' PIPE
carry <"$dir/to" >"$dir/from" 2>"$dir/log" &
exec 3>"$dir/to" 4<"$dir/from"
reply() {
  while IFS= read -r line <&4; do
    printf '%s\n' "$line"
    code=${line%"${line#???}"}
    case $line in [0-9][0-9][0-9]-*) ;; *) return ;; esac
  done
  cat "$dir/log" >&2
  exit 1
}
say() {
  printf '> %s\n' "${2-$1}"
  printf '%s\r\n' "$1" >&3 || :
  reply
}`

// openssl says the lines that the client said, one by one.
func (r *recipe) openssl() string {
	s := r.newScript("openssl")
	if r.Security == "none" {
		s.line("echo 'The session had no TLS, and openssl speaks nothing else: take swaks or curl.' >&2; exit 1")
		return s.String()
	}
	// -quiet also keeps openssl from taking lines with R or Q in front for commands of its own.
	words := []string{"carry() { exec openssl s_client -quiet -connect " + quoted(r.address()), "-servername " + quoted(r.TLS.ServerName)}
	if r.Security == "starttls" {
		protocol := "smtp"
		if r.Options.Protocol == "lmtp" {
			protocol = "lmtp"
		}
		words = append(words, "-starttls "+protocol, "-name "+quoted(r.EHLO))
	}
	if !r.TLS.Insecure {
		words = append(words, "-verify_return_error", "-verify_hostname "+quoted(r.TLS.ServerName))
	}
	if len(r.TLS.CA) > 0 {
		words = append(words, `-CAfile "$dir/ca.pem"`)
	}
	words[len(words)-1] += "; }"
	s.words(words)
	s.line("%s", conversation)
	inside, last := r.Security == "tls", ""
	if inside {
		s.line("reply")
	}
	for _, e := range r.t.Events {
		switch {
		case e.Kind == trace.KindHandshake:
			inside = true
		case !inside || e.Hop != 0 || e.At == nil:
		case e.Kind == trace.KindMessage:
			r.repeat(s, &e)
		case e.Kind == trace.KindCommand:
			last = data[trace.CommandData](&e).Verb
			switch last {
			case "AUTH":
				r.authenticate(s)
			case "BDAT":
				s.line("printf '%%s\\r\\n' %s >&3", quoted(e.Text)) // the octets follow, and then the reply
			case "DATA":
				s.line(`say DATA; [ "$code" = 354 ] || exit 1`)
			default:
				s.line("say %s", quoted(e.Text))
			}
		}
	}
	if last == "" {
		s.line("say %s", quoted("EHLO "+r.EHLO))
	}
	if last != "QUIT" {
		s.line("say QUIT")
	}
	return s.String()
}

func (r *recipe) authenticate(s *script) {
	if r.Auth == nil {
		return
	}
	user := quoted(r.Auth.Username)
	switch r.signIn() {
	case "LOGIN":
		s.line("say 'AUTH LOGIN'")
		s.line(`say "$(printf %%s %s | openssl base64 -A)"`, user)
		s.line(`say "$(printf %%s "$SMTP_PASSWORD" | openssl base64 -A)" '(the password)'`)
	case "XOAUTH2":
		s.line(`say "AUTH XOAUTH2 $(printf 'user=%%s\001auth=Bearer %%s\001\001' %s "$SMTP_PASSWORD" | openssl base64 -A)" 'AUTH XOAUTH2 (the token)'`, user)
	case "EXTERNAL":
		s.line(`say "AUTH EXTERNAL $(printf %%s %s | openssl base64 -A | sed 's/^$/=/')"`, user)
	default:
		s.line(`say "AUTH PLAIN $(printf '\000%%s\000%%s' %s "$SMTP_PASSWORD" | openssl base64 -A)" 'AUTH PLAIN (the password)'`, user)
	}
}

// repeat sends a message, or one chunk of it, as it was sent.
func (r *recipe) repeat(s *script, e *trace.Event) {
	b, whole := r.t.Streams[e.At.Stream].Bytes(e.At.Off, e.At.Len)
	text := string(b)
	lines, ended := strings.CutSuffix(text, "\r\n")
	switch {
	case !whole:
		s.line(`tr -d '\r' <"$1" | sed 's/^\./../' >"$dir/message"`)
		s.line(`echo . >>"$dir/message"`)
		s.line("%s >&3", crlf)
	case ended && !strings.ContainsAny(strings.ReplaceAll(lines, "\r\n", ""), "\r\n\x00"):
		s.file("message", strings.ReplaceAll(text, "\r\n", "\n"))
		s.line("%s >&3", crlf)
	default: // no lines
		s.line("base64 -d >&3 <<'EOF'")
		s.line("%s", base64.StdEncoding.EncodeToString(b))
		s.line("EOF")
	}
	for range r.verdicts(e) {
		s.line("reply")
	}
}

// verdicts is how many replies a message has: in LMTP, one for each recipient
// (RFC 2033, 4.2).
func (r *recipe) verdicts(e *trace.Event) (n int) {
	if r.Options.Protocol != "lmtp" {
		return 1
	}
	for _, next := range r.t.Events[e.N+1:] {
		switch {
		case next.Kind == trace.KindCommand:
			return n
		case next.Kind == trace.KindReply:
			n++
		}
	}
	return n
}

// attributes are those of XCLIENT.
func attributes(x map[string]string) (list []string) {
	for _, key := range sortedKeys(x) {
		list = append(list, key+"="+smtp.Xtext(x[key]))
	}
	return list
}
