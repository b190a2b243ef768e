package realservers

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errExited: the server's program ended by itself.
var errExited = errors.New("the program ended")

// process is a running server program, the leader of a process group of its own.
type process struct {
	cmd  *exec.Cmd
	logs []string // files that tell what it did
	done chan struct{}
	err  error // why it ended; valid after done
}

// startProcess starts cmd with its output in a file. logs names further files to show when something fails.
func (w *workspace) startProcess(cmd *exec.Cmd, logs ...string) (*process, error) {
	name := w.path("output.log")
	out, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own descriptor
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.dir, out, out
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, logs: append(logs, name), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// stop asks the program to end, and after stopTimeout no longer asks. Children that it left behind go with it.
func (p *process) stop() error {
	select {
	case <-p.done:
		killGroup(p.cmd.Process)
		return fmt.Errorf("%s %w before it was asked to: %v", p.cmd.Path, errExited, p.err)
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		killGroup(p.cmd.Process)
		return nil
	case <-timer.C:
		killGroup(p.cmd.Process)
		<-p.done
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed", p.cmd.Path, stopTimeout)
	}
}

func (p *process) exited() <-chan struct{} { return p.done }

func (p *process) log() string {
	var b strings.Builder
	for _, name := range p.logs {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(&b, err)
		}
		if len(text) > logTailBytes {
			text = text[len(text)-logTailBytes:]
		}
		b.Write(text)
	}
	return b.String()
}

// wholeLog is what the program wrote to its output.
func (p *process) wholeLog() (string, error) {
	text, err := os.ReadFile(p.logs[len(p.logs)-1])
	return string(text), err
}

// run runs a helper program of a server to its end.
func run(ctx context.Context, cmd *exec.Cmd) error {
	cmd.WaitDelay = stopTimeout
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), errors.Join(err, ctx.Err()), strings.TrimSpace(string(out)))
	}
	return nil
}

// waitReady connects to each port until it answers as a mail server with our certificate.
func (s *Server) waitReady(ctx context.Context, roots *x509.CertPool) error {
	type probe struct {
		port     int
		implicit bool
	}
	for _, p := range []probe{{s.SMTPPort, false}, {s.LMTPPort, false}, {s.SubmissionPort, false}, {s.SubmissionsPort, true}} {
		if p.port == 0 {
			continue
		}
		tick := time.NewTicker(pollInterval)
		defer tick.Stop()
		for {
			err := greeted(ctx, roots, p.port, p.implicit)
			if err == nil {
				break
			}
			select {
			case <-tick.C:
			case <-s.backend.exited():
				return fmt.Errorf("%w while port %d was awaited: %v", errExited, p.port, err)
			case <-ctx.Done():
				return fmt.Errorf("port %d did not answer in time: %w", p.port, err)
			}
		}
	}
	return nil
}

// greeted reads the greeting of one port and takes leave.
func greeted(ctx context.Context, roots *x509.CertPool, port int, implicit bool) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if implicit {
		conn = tls.Client(conn, &tls.Config{ServerName: ServerName, RootCAs: roots})
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	if !strings.HasPrefix(line, "220 ") {
		return fmt.Errorf("unexpected greeting %q", line)
	}
	if _, err := fmt.Fprint(conn, "QUIT\r\n"); err != nil {
		return err
	}
	_, err = r.ReadString('\n')
	return err
}
