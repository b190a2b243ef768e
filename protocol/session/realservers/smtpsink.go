package realservers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// sinkUser owns what smtp-sink writes: it refuses to run as root.
const sinkUser = "nobody"

// sinkMark is what smtp-sink puts before each message in its file.
const sinkMark = "\x01message\n"

// sink is smtp-sink, the test server of Postfix. It has no TLS, takes every recipient and every password, and delivers
// nothing: it appends each message to one file before it answers the final dot.
type sink struct {
	*process
	file string
}

func startSMTPSink(_ context.Context, ws *workspace) (ports, backend, error) {
	const program = "usr/sbin/smtp-sink"
	root, err := need(SMTPSink, program)
	if err != nil {
		return ports{}, nil, err
	}
	env, err := libraryEnv(SMTPSink, root)
	if err != nil {
		return ports{}, nil, err
	}
	free, err := freePorts(1)
	if err != nil {
		return ports{}, nil, err
	}
	at := ports{smtp: free[0]}
	dir := ws.path("mail")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return ports{}, nil, err
	}
	s := &sink{file: filepath.Join(dir, "all")}
	args := []string{"-4", "-h", ServerName, "-S", `\001message\n`, "-D", s.file}
	if os.Geteuid() == 0 {
		owner, err := lookup(SMTPSink, sinkUser)
		if err != nil {
			return ports{}, nil, err
		}
		if err := os.Chown(dir, owner.uid, owner.gid); err != nil {
			return ports{}, nil, err
		}
		args = append(args, "-u", sinkUser)
	}
	cmd := exec.Command(filepath.Join(root, program), append(args, net.JoinHostPort("127.0.0.1", strconv.Itoa(at.smtp)), "64")...)
	cmd.Env = append(os.Environ(), env...)
	s.process, err = ws.startProcess(cmd)
	return at, s, err
}

func (s *sink) messages(context.Context) ([][]byte, error) {
	all, err := os.ReadFile(s.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var messages [][]byte
	for i, b := range bytes.Split(all, []byte(sinkMark)) {
		if i == 0 {
			continue // what is before the first mark: nothing
		}
		b, ended := bytes.CutSuffix(b, []byte("\n\n")) // the message's last line, and an empty one
		_, message, ok := bytes.Cut(toCRLF(b), []byte("\r\nReceived: "))
		if !ended || !ok {
			return nil, fmt.Errorf("%s: message %d is not as smtp-sink(1) says: %.300q", s.file, i, b)
		}
		message, err := stripTrace(append([]byte("Received: "), append(message, "\r\n"...)...), []string{"Received"})
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	return messages, nil
}
