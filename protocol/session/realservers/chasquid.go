package realservers

import (
	"context"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
)

// chasquidHook is run before a message is accepted. chasquid has no setting that forbids delivery to other servers, so
// everything that would need one is refused here (20 is chasquid's "permanent error"). startChasquid takes
// the port of outgoing connections away as well. What the hook prints becomes a header field: it keeps the order of arrival,
// which delivery does not.
const chasquidHook = `#!/bin/sh
for address in $MAIL_FROM $RCPT_TO; do
	case "$address" in
	*@example.net | *@example.org | "<>") ;;
	*) echo "5.7.1 no mail leaves this test server"; exit 20 ;;
	esac
done
echo "X-Accepted: $(date +%s%N)"
`

// startChasquid starts chasquid without a port for mail from other servers: there it asks the DNS for the SPF policy of every
// reverse-path, and tests do not leave loopback.
func startChasquid(ctx context.Context, ws *workspace) (ports, backend, error) {
	const program, util = "usr/bin/chasquid", "usr/bin/chasquid-util"
	root, err := need(Chasquid, program, util)
	if err != nil {
		return ports{}, nil, err
	}
	free, err := freePorts(2)
	if err != nil {
		return ports{}, nil, err
	}
	at := ports{submission: free[0], submissions: free[1]}
	config := fmt.Sprintf(`hostname: %q
max_data_size_mb: %d
submission_address: "127.0.0.1:%d"
submission_over_tls_address: "127.0.0.1:%d"
mail_delivery_agent_bin: "/bin/sh"
mail_delivery_agent_args: "-c"
mail_delivery_agent_args: %q
mail_delivery_agent_args: "sh"
mail_delivery_agent_args: %q
data_dir: %q
mail_log_path: "<stderr>"
`, ServerName, MaxMessageSize>>20, at.submission, at.submissions, shellDeliver, ws.path("mail")+"/%to_user%", ws.path("data"))
	for name, file := range map[string]struct {
		content []byte
		mode    fs.FileMode
	}{
		"etc/chasquid.conf":                          {[]byte(config), 0o644},
		"etc/hooks/post-data":                        {[]byte(chasquidHook), 0o755},
		"etc/certs/" + ServerName + "/fullchain.pem": {ws.tls.certPEM, 0o644},
		"etc/certs/" + ServerName + "/privkey.pem":   {ws.tls.keyPEM, 0o600},
	} {
		if err := ws.write(name, file.content, file.mode); err != nil {
			return ports{}, nil, err
		}
	}
	for _, address := range []string{Username, Recipient} {
		add := exec.CommandContext(ctx, filepath.Join(root, util), "-C="+ws.path("etc"), "user-add", address, "--password="+Password)
		if err := run(ctx, add); err != nil {
			return ports{}, nil, err
		}
	}
	p, err := ws.startProcess(exec.Command(filepath.Join(root, program),
		"-config_dir="+ws.path("etc"), "-testing__outgoing_smtp_port=0"))
	if err != nil {
		return ports{}, nil, err
	}
	return at, &spooled{
		process:  p,
		maildir:  ws.path("mail", "grace"),
		queue:    []string{ws.path("data", "queue")},
		trace:    []string{"X-Accepted", "Received"},
		accepted: regexp.MustCompile(`^X-Accepted: (\d+)`),
	}, nil
}
