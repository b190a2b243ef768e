package realservers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// Postfix takes its privileges apart: it must start as root and hand its daemons to users who own nothing else. These are
// among those that Debian's base-passwd gives to every machine, so none has to be added.
const (
	postfixOwner    = "news"   // mail_owner
	postfixGroup    = "uucp"   // setgid_group
	postfixDelivery = "nobody" // owns the mailboxes; default_privs
)

// postfixLifetime is far longer than any test, in seconds.
const postfixLifetime = "3600"

// Delivery to a mailbox is the only way out: default, relay and local transports answer "error", and master.cf has no
// service that could open a connection. The header settings keep messages as they came: by default Postfix rewrites the
// headers of clients on loopback and drops Bcc and Return-Path.
var postfixMain = template.Must(template.New("main.cf").Parse(`compatibility_level = 3.6
config_directory = {{.Dir}}/etc
queue_directory = {{.Dir}}/spool
data_directory = {{.Dir}}/data
command_directory = {{.Root}}/usr/sbin
daemon_directory = {{.Root}}/usr/lib/postfix/sbin
shlib_directory = {{.Root}}/usr/lib/postfix
mail_owner = {{.Owner}}
setgid_group = {{.Group}}
default_privs = {{.Delivery}}
import_environment = MAIL_CONFIG LANG=C{{range .Env}} {{.}}{{end}}
maillog_file = {{.Dir}}/mail.log
maillog_file_prefixes = {{.Dir}}

myhostname = {{.ServerName}}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
local_recipient_maps =
alias_maps =
alias_database =

virtual_mailbox_domains = example.net, example.org
virtual_mailbox_maps = inline:{ { {{.Recipient}} = grace/ }, { {{.Username}} = ada/ } }
virtual_mailbox_base = {{.Dir}}/mail
virtual_uid_maps = static:{{.DeliveryUID}}
virtual_gid_maps = static:{{.DeliveryGID}}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
message_size_limit = {{.MaxMessageSize}}
enable_long_queue_ids = yes
default_transport = error:5.7.1 no mail leaves this test server
relay_transport = $default_transport
local_transport = $default_transport
smtpd_relay_restrictions = reject_unauth_destination

local_header_rewrite_clients =
message_drop_headers =

smtpd_tls_chain_files = {{.Dir}}/server.pem
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_error_sleep_time = 0
fast_flush_domains = example.net
`))

var postfixMaster = template.Must(template.New("master.cf").Parse(`
127.0.0.1:{{.SMTPPort}} inet n - n - - smtpd
  -o smtpd_authorized_xclient_hosts=127.0.0.1
  -o smtpd_authorized_xforward_hosts=127.0.0.1
127.0.0.1:{{.SubmissionPort}} inet n - n - - smtpd
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{{.SubmissionsPort}} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n - 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
flush unix n - n 1000? 0 flush
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
error unix - - n - - error
virtual unix - n n - - virtual
`))

// postfixSettings fills the two templates.
type postfixSettings struct {
	Dir, Root, ServerName, Username, Recipient string
	Env                                        []string
	Owner, Group, Delivery                     string
	DeliveryUID, DeliveryGID                   int
	SMTPPort, SubmissionPort, SubmissionsPort  int
	MaxMessageSize                             int
}

func startPostfix(ctx context.Context, ws *workspace) (ports, backend, error) {
	const saslpasswd = "usr/sbin/saslpasswd2"
	const master = "usr/lib/postfix/sbin/master"
	root, err := need(Postfix, master, "usr/lib/postfix/sbin/virtual", saslpasswd)
	if err != nil {
		return ports{}, nil, err
	}
	if os.Geteuid() != 0 {
		return ports{}, nil, &MissingError{Kind: Postfix, What: "the right to change users", How: "run the tests as root"}
	}
	owner, err := lookup(Postfix, postfixOwner)
	if err != nil {
		return ports{}, nil, err
	}
	delivery, err := lookup(Postfix, postfixDelivery)
	if err != nil {
		return ports{}, nil, err
	}
	group, err := user.LookupGroup(postfixGroup)
	if err != nil {
		return ports{}, nil, &MissingError{Kind: Postfix, What: "the group " + postfixGroup, How: "run the tests on Debian, or add it"}
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return ports{}, nil, err
	}
	free, err := freePorts(3)
	if err != nil {
		return ports{}, nil, err
	}
	at := ports{smtp: free[0], submission: free[1], submissions: free[2]}

	env, err := libraryEnv(Postfix, root)
	if err != nil {
		return ports{}, nil, err
	}
	settings := postfixSettings{
		Dir: ws.dir, Root: root, ServerName: ServerName, Username: Username, Recipient: Recipient, Env: env,
		Owner: postfixOwner, Group: postfixGroup, Delivery: postfixDelivery, DeliveryUID: delivery.uid, DeliveryGID: delivery.gid,
		SMTPPort: at.smtp, SubmissionPort: at.submission, SubmissionsPort: at.submissions, MaxMessageSize: MaxMessageSize,
	}
	for name, tmpl := range map[string]*template.Template{"etc/main.cf": postfixMain, "etc/master.cf": postfixMaster} {
		var text strings.Builder
		if err := tmpl.Execute(&text, settings); err != nil {
			return ports{}, nil, err
		}
		if err := ws.write(name, []byte(text.String()), 0o644); err != nil {
			return ports{}, nil, err
		}
		// Postfix reads a file again and again while it is so new that someone may still be writing it: two seconds at each start.
		written := time.Now().Add(-time.Minute)
		if err := os.Chtimes(ws.path(name), written, written); err != nil {
			return ports{}, nil, err
		}
	}
	if err := ws.write("server.pem", slices.Concat(ws.tls.keyPEM, ws.tls.certPEM), 0o600); err != nil {
		return ports{}, nil, err
	}

	// Debian's Postfix looks for the SASL configuration beside main.cf, whatever cyrus_sasl_config_path says.
	sasldb := ws.path("etc", "sasl", "sasldb2")
	sasl := "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256\nsasldb_path: " + sasldb + "\n"
	if err := ws.write("etc/sasl/smtpd.conf", []byte(sasl), 0o644); err != nil {
		return ports{}, nil, err
	}
	name, realm, _ := strings.Cut(Username, "@")
	add := exec.CommandContext(ctx, filepath.Join(root, saslpasswd), "-p", "-c", "-f", sasldb, "-u", realm, name)
	add.Env = append(os.Environ(), env...)
	add.Stdin = strings.NewReader(Password)
	if err := run(ctx, add); err != nil {
		return ports{}, nil, err
	}
	if err := os.Chown(sasldb, owner.uid, owner.gid); err != nil {
		return ports{}, nil, err
	}

	// What "postfix start" would lay out.
	queues := []string{"incoming", "active", "bounce", "defer", "deferred", "flush", "corrupt", "hold", "saved", "trace", "private"}
	for _, d := range []struct {
		names    []string
		uid, gid int
		mode     os.FileMode
	}{
		{[]string{"spool", "spool/pid"}, 0, 0, 0o755},
		{prefixed("spool/", queues), owner.uid, 0, 0o700},
		{[]string{"spool/public"}, owner.uid, gid, 0o710},
		{[]string{"spool/maildrop"}, owner.uid, gid, 0o730},
		{[]string{"data"}, owner.uid, owner.gid, 0o700},
		{[]string{"mail"}, delivery.uid, delivery.gid, 0o700},
	} {
		for _, name := range d.names {
			if err := os.Mkdir(ws.path(name), d.mode); err != nil {
				return ports{}, nil, err
			}
			if err := os.Chown(ws.path(name), d.uid, d.gid); err != nil {
				return ports{}, nil, err
			}
			if err := os.Chmod(ws.path(name), d.mode); err != nil { // whatever the umask took away
				return ports{}, nil, err
			}
		}
	}

	// The kernel forgets to end it with this process when it changes users, so it is told to end by itself some day.
	cmd := exec.Command(filepath.Join(root, master), "-d", "-c", ws.path("etc"), "-e", postfixLifetime)
	cmd.Env = append(os.Environ(), env...)
	p, err := ws.startProcess(cmd, ws.path("mail.log"))
	if err != nil {
		return ports{}, nil, err
	}
	return at, &spooled{
		process: p,
		maildir: ws.path("mail", "grace"),
		// A message moves through these in this order; deferred comes last because reaching it is a failure.
		queue:  []string{ws.path("spool", "incoming"), ws.path("spool", "active"), ws.path("spool", "deferred")},
		failed: ws.path("spool", "deferred"),
		trace:  []string{"Return-Path", "X-Original-To", "Delivered-To", "Received"},
		// A long queue ID begins with the time, in digits that sort as text.
		accepted: regexp.MustCompile(`\bid ([0-9A-Za-z]+)\b`),
	}, nil
}

// libraryEnv lets the programs below root find the shared libraries and SASL plugins beside them.
func libraryEnv(kind Kind, root string) ([]string, error) {
	plugins, err := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu", "sasl2"))
	if err != nil {
		return nil, err
	}
	if len(plugins) != 1 {
		return nil, &MissingError{Kind: kind, What: filepath.Join(root, "usr/lib/*-linux-gnu/sasl2"), How: "run .ci/setup to fetch it"}
	}
	libs := filepath.Dir(plugins[0])
	return []string{"LD_LIBRARY_PATH=" + filepath.Join(root, "usr/lib/postfix") + ":" + libs, "SASL_PATH=" + plugins[0]}, nil
}

type account struct{ uid, gid int }

func lookup(kind Kind, name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, &MissingError{Kind: kind, What: "the user " + name, How: "run the tests on Debian, or add it"}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", name, err)
	}
	return account{uid, gid}, nil
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = prefix + name
	}
	return out
}
