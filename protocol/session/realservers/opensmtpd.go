package realservers

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// OpenSMTPD has the names of its users and folders compiled in. Here it sees, in a mount namespace of its own, two more users,
// with the numbers of two that Debian's base-passwd gives to every machine, and empty folders of the workspace in place of
// the machine's. Nothing of that is seen from outside.
const (
	openSMTPDUser  = "news" // opensmtpd, who talks to the network
	openSMTPDQueue = "uucp" // opensmtpq, who owns the queue

	openSMTPDDelivery = "nobody" // owns the mailboxes
)

// openSMTPDStart lays out what OpenSMTPD sees and becomes it. $0 is the workspace and $1 the folder of programs.
const openSMTPDStart = `set -e
mount --bind "$0/passwd" /etc/passwd
mount --bind "$0/group" /etc/group
mount --bind "$0/spool" /var/spool
mount --bind "$0/lib" /var/lib
mount --bind "$0/run" /run
mount --bind "$1/usr/libexec" /usr/libexec
exec "$1/usr/sbin/smtpd" -d -f "$0/smtpd.conf"
`

// openSMTPDConfig has no action that relays: "store" is all that can become of a message.
const openSMTPDConfig = `pki %[1]q cert %[2]q
pki %[1]q key %[3]q
table accounts { %[4]q = %[5]q }
table mailboxes { %[6]q = %[7]q, %[4]q = %[7]q }
smtp max-message-size %[8]q
listen on 127.0.0.1 port %[9]d hostname %[1]q tls pki %[1]q
listen on 127.0.0.1 port %[10]d hostname %[1]q tls-require pki %[1]q auth <accounts>
listen on 127.0.0.1 port %[11]d hostname %[1]q smtps pki %[1]q auth <accounts>
action store mda %[12]q virtual <mailboxes>
match auth from any for domain { "example.net", "example.org" } action store
match from any for domain { "example.net", "example.org" } action store
`

func startOpenSMTPD(ctx context.Context, ws *workspace) (ports, backend, error) {
	root, err := need(OpenSMTPD, "usr/sbin/smtpd", "usr/libexec/opensmtpd/mail.mda")
	if err != nil {
		return ports{}, nil, err
	}
	if os.Geteuid() != 0 {
		return ports{}, nil, &MissingError{Kind: OpenSMTPD, What: "the right to change users", How: "run the tests as root"}
	}
	if err := run(ctx, exec.CommandContext(ctx, "unshare", "--mount", "true")); err != nil {
		return ports{}, nil, &MissingError{Kind: OpenSMTPD, What: "the right to mount (" + err.Error() + ")", How: "run the tests as root, where that may mount"}
	}
	delivery, err := lookup(OpenSMTPD, openSMTPDDelivery)
	if err != nil {
		return ports{}, nil, err
	}
	hash, err := exec.CommandContext(ctx, "openssl", "passwd", "-6", Password).Output()
	if err != nil {
		return ports{}, nil, &MissingError{Kind: OpenSMTPD, What: "openssl", How: "apt-get install openssl"}
	}
	free, err := freePorts(3)
	if err != nil {
		return ports{}, nil, err
	}
	at := ports{smtp: free[0], submission: free[1], submissions: free[2]}
	passwd, group, err := withOpenSMTPDUsers()
	if err != nil {
		return ports{}, nil, err
	}
	deliver := fmt.Sprintf("/bin/sh %s %s/%%{rcpt.user}", ws.path("deliver.sh"), ws.path("mail"))
	config := fmt.Sprintf(openSMTPDConfig, ServerName, ws.path("cert.pem"), ws.path("key.pem"), Username, strings.TrimSpace(string(hash)),
		Recipient, openSMTPDDelivery, fmt.Sprint(MaxMessageSize), at.smtp, at.submission, at.submissions, deliver)
	for name, file := range map[string]struct {
		content []byte
		mode    fs.FileMode
	}{
		"smtpd.conf": {[]byte(config), 0o600},
		"deliver.sh": {[]byte(shellDeliver), 0o644},
		"cert.pem":   {ws.tls.certPEM, 0o644},
		"key.pem":    {ws.tls.keyPEM, 0o600},
		"passwd":     {passwd, 0o644},
		"group":      {group, 0o644},
	} {
		if err := ws.write(name, file.content, file.mode); err != nil {
			return ports{}, nil, err
		}
	}
	for _, dir := range []string{"run", "lib/opensmtpd/empty", "mail", "spool/smtpd"} {
		if err := os.MkdirAll(ws.path(dir), 0o755); err != nil {
			return ports{}, nil, err
		}
	}
	if err := os.Chmod(ws.path("spool/smtpd"), 0o711); err != nil { // it insists
		return ports{}, nil, err
	}
	if err := os.Chown(ws.path("mail"), delivery.uid, delivery.gid); err != nil {
		return ports{}, nil, err
	}

	cmd := exec.Command("unshare", "--mount", "/bin/sh", "-c", openSMTPDStart, ws.dir, root)
	libraries, err := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu"))
	if err != nil {
		return ports{}, nil, err
	}
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	p, err := ws.startProcess(cmd)
	if err != nil {
		return ports{}, nil, err
	}
	return at, &spooled{
		process:  p,
		maildir:  ws.path("mail", "grace"),
		queue:    []string{ws.path("spool", "smtpd", "incoming"), ws.path("spool", "smtpd", "queue")},
		trace:    []string{"Return-Path", "Delivered-To", "Received"},
		accepted: regexp.MustCompile(`\bid ([0-9a-f]{8})\b`),
		logged:   "smtp message msgid=%s ",
	}, nil
}

// withOpenSMTPDUsers returns the machine's users and groups, and OpenSMTPD's.
func withOpenSMTPDUsers() (passwd, group []byte, err error) {
	if passwd, err = os.ReadFile("/etc/passwd"); err != nil {
		return nil, nil, err
	}
	if group, err = os.ReadFile("/etc/group"); err != nil {
		return nil, nil, err
	}
	for name, as := range map[string]string{"opensmtpd": openSMTPDUser, "opensmtpq": openSMTPDQueue} {
		a, err := lookup(OpenSMTPD, as)
		if err != nil {
			return nil, nil, err
		}
		passwd = fmt.Appendf(passwd, "%s:x:%d:%d::/nonexistent:/bin/false\n", name, a.uid, a.gid)
		group = fmt.Appendf(group, "%s:x:%d:\n", name, a.gid)
	}
	return passwd, group, nil
}
