// Command cmd starts the servers of the conformance cases that also run in a browser. It prints one JSON object per server
// and line, with the plan to run and what must come of it, then {"ready":true}; then answers each line "report PORT" of its
// input with what the server on that port saw. It ends when its input closes or on SIGTERM.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"smtpscope/protocol/session/conformance"
	"smtpscope/protocol/session/realservers"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, func() { os.Stdin.Close() })
	if err := serve(os.Stdin, os.Stdout); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type started struct {
	Group int              `json:"group"`
	Name  string           `json:"name"`
	Port  int              `json:"port"`
	Plan  json.RawMessage  `json:"plan"`
	Want  conformance.Want `json:"want"`
}

type report struct {
	Message string `json:"message"`
	Error   string `json:"error,omitempty"`
}

func serve(in io.Reader, out io.Writer) error {
	identity, err := realservers.NewIdentity()
	if err != nil {
		return err
	}
	servers := map[int]*conformance.Server{}
	defer func() {
		for _, s := range servers {
			s.Stop()
		}
	}()
	answer := json.NewEncoder(out)
	for _, c := range conformance.Cases() {
		if !c.Page {
			continue
		}
		s, err := conformance.Start(c, identity, false)
		if err != nil {
			return err
		}
		servers[s.Port] = s
		plan, err := s.Plan()
		if err != nil {
			return err
		}
		if err := answer.Encode(started{c.Group, c.Name, s.Port, plan, c.Want}); err != nil {
			return err
		}
	}
	if err := answer.Encode(map[string]bool{"ready": true}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if err := answer.Encode(reply(servers, lines.Text())); err != nil {
			return err
		}
	}
	return lines.Err()
}

// reply carries out one line of input.
func reply(servers map[int]*conformance.Server, line string) report {
	verb, arg, _ := strings.Cut(line, " ")
	port, err := strconv.Atoi(arg)
	s, ok := servers[port]
	if verb != "report" || err != nil || !ok {
		return report{Error: fmt.Sprintf("cannot do %q: the one command is \"report PORT\", with the port of a server", line)}
	}
	saw := s.Stop()
	if saw.Err != nil {
		return report{Message: saw.Message, Error: saw.Err.Error()}
	}
	return report{Message: saw.Message}
}
