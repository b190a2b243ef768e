// Package realservers starts real mail servers on loopback, for tests that must not take our own word for how a server
// behaves: Postfix, OpenSMTPD, chasquid, aiosmtpd and go-smtp, each with STARTTLS and AUTH on a submission port, implicit TLS
// on another, a certificate authority made for the run, one account that may submit, and a mailbox that can be read back; and
// smtp-sink, which has a port in clear and the mailbox.
//
// None of them can deliver outward: the configurations hold no transport that leaves the machine.
//
// It knows nothing of sessions, plans or traces: a test brings its own client. The servers' programs are not in this
// repository; .ci/setup fetches them into .cache/peers. Where one is missing, Start returns a *MissingError.
package realservers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Kind names a server program.
type Kind string

// The servers this package can start.
const (
	Postfix   Kind = "postfix"
	OpenSMTPD Kind = "opensmtpd"
	Chasquid  Kind = "chasquid"
	Aiosmtpd  Kind = "aiosmtpd"
	GoSMTP    Kind = "go-smtp"
	SMTPSink  Kind = "smtp-sink"
)

// Kinds lists every server, the hardest to please first.
var Kinds = []Kind{Postfix, OpenSMTPD, Chasquid, Aiosmtpd, GoSMTP, SMTPSink}

// The one account and the one mailbox of every server, and the size limit each announces.
const (
	ServerName     = "mx.example.net"
	Username       = "ada@example.org"
	Password       = "Analytical-1843"
	Recipient      = "grace@example.net"
	MaxMessageSize = 64 << 20
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 5 * time.Second
	pollInterval = 5 * time.Millisecond
	logTailBytes = 4096
)

// Server is one running mail server.
type Server struct {
	Kind       Kind   `json:"name"`
	Host       string `json:"host"`       // the address to dial
	ServerName string `json:"serverName"` // the name its certificate carries
	// SMTPPort takes mail for Recipient without AUTH, as an MX does. 0: this server has none (see startChasquid).
	SMTPPort        int    `json:"smtpPort,omitempty"`
	LMTPPort        int    `json:"lmtpPort,omitempty"`        // the same by RFC 2033. 0: this server does not speak LMTP
	SubmissionPort  int    `json:"submissionPort,omitempty"`  // STARTTLS, then AUTH PLAIN or LOGIN. 0: it has no TLS and no accounts
	SubmissionsPort int    `json:"submissionsPort,omitempty"` // implicit TLS, AUTH PLAIN or LOGIN (RFC 8314, 3.3). 0: the same
	CA              string `json:"ca"`                        // PEM
	Username        string `json:"username"`
	Password        string `json:"password"`
	Recipient       string `json:"recipient"`

	backend backend
	remove  func() error // the workspace
	stopped sync.Once
	stopErr error
}

// ports are where a server listens; 0 where it does not.
type ports struct{ smtp, lmtp, submission, submissions int }

// backend is what differs between the servers once they run.
type backend interface {
	// messages waits until all accepted mail has been delivered, then returns it in the order of acceptance.
	messages(ctx context.Context) ([][]byte, error)
	log() string
	// exited is closed when the server's program ends; nil where the server is part of this process.
	exited() <-chan struct{}
	stop() error
}

// MissingError says that a server cannot run here, and what would change that.
type MissingError struct {
	Kind Kind
	What string // what is missing
	How  string // how to get it
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s cannot run here: %s is missing; %s", e.Kind, e.What, e.How)
}

// Start starts a server and returns when its ports answer with its greeting and its certificate. The context bounds the
// start only. The caller must call Stop.
func Start(ctx context.Context, kind Kind) (*Server, error) {
	start, ok := map[Kind]startFunc{
		Postfix: startPostfix, OpenSMTPD: startOpenSMTPD, Chasquid: startChasquid, Aiosmtpd: startAiosmtpd, GoSMTP: startGoSMTP,
		SMTPSink: startSMTPSink,
	}[kind]
	if !ok {
		return nil, fmt.Errorf("no mail server is called %q; there are %v", kind, Kinds)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	// A server that cannot choose its ports gets some that were free a moment ago; if another process took one, it ends at once.
	var s *Server
	var err error
	for range 3 {
		if s, err = start.in(ctx, kind); !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", kind, err)
	}
	return s, nil
}

type startFunc func(context.Context, *workspace) (ports, backend, error)

// in starts the server in a new workspace, which goes when the server does.
func (start startFunc) in(ctx context.Context, kind Kind) (*Server, error) {
	ws, err := newWorkspace(kind)
	if err != nil {
		return nil, err
	}
	at, backend, err := start(ctx, ws)
	if err != nil {
		return nil, errors.Join(err, ws.remove())
	}
	s := &Server{
		Kind: kind, Host: "127.0.0.1", ServerName: ServerName,
		SMTPPort: at.smtp, LMTPPort: at.lmtp, SubmissionPort: at.submission, SubmissionsPort: at.submissions,
		CA: ws.tls.CA, Username: Username, Password: Password, Recipient: Recipient,
		backend: backend, remove: ws.remove,
	}
	if err := s.waitReady(ctx, ws.tls.roots); err != nil {
		return nil, errors.Join(fmt.Errorf("%w; the end of its log:\n%s", err, s.Log()), s.Stop())
	}
	return s, nil
}

// Messages returns what the mailbox of Recipient holds, in the order in which it was accepted, each as it was sent: line ends are CRLF and the
// trace fields that the server put on top (RFC 5321, 4.4) are taken off. It first waits until every message that the server
// has accepted is delivered, so a message whose final dot was answered with 250 is always there.
func (s *Server) Messages(ctx context.Context) ([][]byte, error) {
	messages, err := s.backend.messages(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the mailbox %s of %s: %w; the end of its log:\n%s", s.Recipient, s.Kind, err, s.Log())
	}
	return messages, nil
}

// Log returns the last lines of the server's log.
func (s *Server) Log() string { return s.backend.log() }

// Stop ends the server and removes its files. When it returns, the ports are closed. Further calls return what the first
// returned.
func (s *Server) Stop() error {
	s.stopped.Do(func() { s.stopErr = errors.Join(s.backend.stop(), s.waitClosed(), s.remove()) })
	return s.stopErr
}

// waitClosed waits until nothing listens on the ports: children of a server die a moment after it.
func (s *Server) waitClosed() error {
	return poll(stopTimeout, func() (bool, error) {
		for _, port := range s.Ports() {
			l, err := net.Listen("tcp", net.JoinHostPort(s.Host, strconv.Itoa(port)))
			if err != nil {
				return false, fmt.Errorf("after the stop of %s: %w", s.Kind, err)
			}
			l.Close()
		}
		return true, nil
	})
}

// Ports are those on which the server listens.
func (s *Server) Ports() []int {
	return slices.DeleteFunc([]int{s.SMTPPort, s.LMTPPort, s.SubmissionPort, s.SubmissionsPort}, func(port int) bool { return port == 0 })
}

// TB is the part of testing.TB that ForTest uses.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// ForTest starts a server for one test and stops it at its end. A server that cannot run here skips the test with a
// line that begins with NOT RUN; where the environment says CI=true it fails the test instead.
func ForTest(t TB, kind Kind) *Server {
	t.Helper()
	s, err := Start(context.Background(), kind)
	var missing *MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skipf("NOT RUN: %v", missing)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last lines of the log of %s:\n%s", kind, s.Log())
		}
		if err := s.Stop(); err != nil {
			t.Errorf("stopping %s: %v", kind, err)
		}
	})
	return s
}

// peers is the folder into which .ci/setup unpacks the servers' programs: SMTPSCOPE_PEERS, or .cache/peers beside the
// nearest go.mod above the working directory.
func peers() (string, error) {
	if dir := os.Getenv("SMTPSCOPE_PEERS"); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache", "peers"), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory: run from inside the repository or set SMTPSCOPE_PEERS")
		}
		dir = up
	}
}

// need returns the paths of programs below the peers folder, or a *MissingError that names the first one that is not there.
func need(kind Kind, names ...string) (root string, err error) {
	root, err = peers()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		path := filepath.Join(root, name)
		if _, err := os.Stat(path); err != nil {
			return "", &MissingError{Kind: kind, What: path, How: "run .ci/setup to fetch it"}
		}
	}
	return root, nil
}
