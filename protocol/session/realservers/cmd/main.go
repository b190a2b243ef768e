// Command cmd starts the mail servers named by its arguments (all of them when there are none) for tests that are not
// written in Go. It prints one JSON object per running server and line, then {"ready":true}; then answers each line
// "messages NAME" of its input with one line {"messages":["base64",…]}. It stops the servers and ends when its input
// closes or on SIGTERM.
//
// A server that cannot run here is printed as {"name":…,"missing":…}; whether that may be is for the test to say.
// An answer that fails is {"error":…}.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"smtpscope/protocol/session/realservers"
)

// deliveryTimeout bounds the wait for accepted mail to reach its mailbox.
const deliveryTimeout = 30 * time.Second

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := serve(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type missing struct {
	Name    realservers.Kind `json:"name"`
	Missing string           `json:"missing"`
}

type answer struct {
	Messages [][]byte `json:"messages"`
}

type failure struct {
	Error string `json:"error"`
}

func serve(ctx context.Context, names []string, in io.Reader, out io.Writer) (err error) {
	kinds := realservers.Kinds
	if len(names) > 0 {
		kinds = nil
		for _, name := range names {
			kinds = append(kinds, realservers.Kind(name))
		}
	}
	running := map[string]*realservers.Server{}
	defer func() {
		for _, s := range running {
			err = errors.Join(err, s.Stop())
		}
	}()

	type started struct {
		server *realservers.Server
		err    error
	}
	starts := make([]started, len(kinds))
	var wg sync.WaitGroup
	for i, kind := range kinds {
		wg.Go(func() { starts[i].server, starts[i].err = realservers.Start(ctx, kind) })
	}
	wg.Wait()

	enc := json.NewEncoder(out)
	for i, start := range starts {
		if start.server != nil {
			running[string(kinds[i])] = start.server
		}
	}
	for i, start := range starts {
		var unavailable *realservers.MissingError
		switch {
		case errors.As(start.err, &unavailable):
			err = enc.Encode(missing{Name: kinds[i], Missing: unavailable.Error()})
		case start.err != nil:
			return start.err
		default:
			err = enc.Encode(start.server)
		}
		if err != nil {
			return err
		}
	}
	if err := enc.Encode(map[string]bool{"ready": true}); err != nil {
		return err
	}

	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			if err := enc.Encode(reply(ctx, running, line)); err != nil {
				return err
			}
		}
	}
}

// reply carries out one line of input.
func reply(ctx context.Context, running map[string]*realservers.Server, line string) any {
	verb, name, _ := strings.Cut(line, " ")
	server, ok := running[name]
	if verb != "messages" || !ok {
		return failure{fmt.Sprintf("cannot do %q: the one command is \"messages NAME\", with the name of a running server", line)}
	}
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	messages, err := server.Messages(ctx)
	if err != nil {
		return failure{err.Error()}
	}
	return answer{Messages: append([][]byte{}, messages...)}
}
