package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"

	"smtpscope/protocol/session/realservers"
	"smtpscope/proxy/internal/linktest"
)

// inside marks the process that is in the network.
const inside = "LINKTEST_INSIDE"

// spec is a link, as in the first argument.
type spec struct {
	Delay   int  `json:"delay"`
	MTU     int  `json:"mtu"`
	LoseSYN bool `json:"loseSYN"`
	LoseUp  int  `json:"loseUp"`
}

// network is what LINKS says.
type network struct {
	Hosts      []string `json:"hosts"`
	ServerName string   `json:"serverName"`
	CA         string   `json:"ca"` // PEM
}

// What this process starts ends with the thread that started it.
func init() { runtime.LockOSThread() }

func run(args []string) (code int, err error) {
	if len(args) < 2 {
		return 2, errors.New(`usage: cmd '[{"delay":20}]' COMMAND [ARGUMENT…]`)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if os.Getenv(inside) == "" {
		cmd := linktest.Command(ctx, "/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr.Setpgid = true // all that is started there ends together
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		if code, err = result(cmd); cmd.Process == nil {
			return unavailable, fmt.Errorf("this system makes no network namespace: %w", err)
		}
		return code, err
	}
	var specs []spec
	d := json.NewDecoder(strings.NewReader(args[0]))
	d.DisallowUnknownFields()
	if err := d.Decode(&specs); err != nil {
		return 2, fmt.Errorf("the first argument, links: %w", err)
	}
	id, err := realservers.NewIdentity()
	if err != nil {
		return 1, err
	}
	if err := linktest.Loopback(); err != nil {
		return 1, err
	}
	n := network{ServerName: realservers.ServerName, CA: id.CA}
	for _, s := range specs {
		link, err := linktest.New(linktest.Config{Delay: time.Duration(s.Delay) * time.Millisecond, MTU: s.MTU, Drop: s.drop()})
		if errors.Is(err, linktest.ErrUnavailable) {
			return unavailable, err
		}
		if err != nil {
			return 1, err
		}
		defer link.Close()
		server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return taker{}, nil }))
		server.Domain = realservers.ServerName
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{id.Pair}}
		go server.Serve(link)
		n.Hosts = append(n.Hosts, link.Addr().(*net.TCPAddr).IP.String())
	}
	text, err := json.Marshal(n)
	if err != nil {
		return 1, err
	}
	cmd := exec.CommandContext(ctx, args[1], args[2:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), "LINKS="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return result(cmd)
}

// result runs a command, which has what this process has to read and to write, and returns its exit code.
func result(cmd *exec.Cmd) (code int, err error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.Exited() {
		return ended.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// drop loses what the specification says, in every connection.
func (s spec) drop() func(linktest.Packet) bool {
	type connection struct{ syns, data int }
	seen := map[uint16]connection{}
	return func(p linktest.Packet) bool {
		if !p.Up {
			return false
		}
		c := seen[p.Port]
		defer func() { seen[p.Port] = c }()
		switch {
		case p.Flags&linktest.SYN != 0:
			c.syns++
			return s.LoseSYN && c.syns == 1
		case p.Payload > 0:
			c.data++
			return c.data == s.LoseUp
		}
		return false
	}
}

// taker takes every message and keeps none.
type taker struct{}

func (taker) Reset()                               {}
func (taker) Logout() error                        { return nil }
func (taker) Mail(string, *smtp.MailOptions) error { return nil }
func (taker) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (taker) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
