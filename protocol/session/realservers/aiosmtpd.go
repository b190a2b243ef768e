package realservers

import (
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed aiosmtpd_server.py
var aiosmtpdServer []byte

// debianPython runs Debian's Python packages; another python3 earlier in the PATH need not.
const debianPython = "/usr/bin/python3"

func startAiosmtpd(_ context.Context, ws *workspace) (ports, backend, error) {
	const packages = "usr/lib/python3/dist-packages"
	if _, err := os.Stat(debianPython); err != nil {
		return ports{}, nil, &MissingError{Kind: Aiosmtpd, What: debianPython, How: "apt-get install python3"}
	}
	root, err := need(Aiosmtpd, packages+"/aiosmtpd")
	if err != nil {
		return ports{}, nil, err
	}
	free, err := freePorts(4)
	if err != nil {
		return ports{}, nil, err
	}
	at := ports{smtp: free[0], submission: free[1], submissions: free[2], lmtp: free[3]}
	maildir := ws.path("mail")
	settings, err := json.Marshal(map[string]any{
		"serverName": ServerName, "certificate": ws.path("cert.pem"), "key": ws.path("key.pem"), "maildir": maildir,
		"recipient": Recipient, "username": Username, "password": Password, "maxMessageSize": MaxMessageSize,
		"ports": map[string]int{"smtp": at.smtp, "lmtp": at.lmtp, "submission": at.submission, "submissions": at.submissions},
	})
	if err != nil {
		return ports{}, nil, err
	}
	for name, content := range map[string][]byte{"cert.pem": ws.tls.certPEM, "key.pem": ws.tls.keyPEM, "server.py": aiosmtpdServer, "settings.json": settings} {
		if err := ws.write(name, content, 0o600); err != nil {
			return ports{}, nil, err
		}
	}
	for _, dir := range []string{"tmp", "new"} {
		if err := os.MkdirAll(filepath.Join(maildir, dir), 0o700); err != nil {
			return ports{}, nil, err
		}
	}

	cmd := exec.Command(debianPython, ws.path("server.py"), ws.path("settings.json"))
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(root, packages), "PYTHONDONTWRITEBYTECODE=1")
	p, err := ws.startProcess(cmd)
	if err != nil {
		return ports{}, nil, err
	}
	return at, &spooled{process: p, maildir: maildir}, nil
}
