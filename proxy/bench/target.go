//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// lastWords is what a target says before it closes.
const lastWords = "421 4.3.2 mx.example.net shutting down\r\n"

// target is the server behind all relays. The first line that a connection brings says how it is to
// be served; "ok" answers it.
//
//	echo     what comes goes back
//	down N   N bytes come, the end only after the page's
//	up N     N bytes are taken, then "done" comes
//	deaf     nothing is read
//	words    the next line is answered by the last words, and the end
//	count    the page's end is answered by "N bytes"
//	after    the end comes at once; what the page sends still counts as progress
type target struct {
	l        net.Listener
	running  sync.WaitGroup
	closed   chan struct{}
	progress atomic.Int64 // bytes taken or given, by all connections that tell
}

func newTarget() (*target, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &target{l: l, closed: make(chan struct{})}
	t.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = t.serve(conn.(*net.TCPConn))
			}()
		}
	})
	return t, nil
}

func (t *target) address() string { return t.l.Addr().String() }

func (t *target) close() {
	_ = t.l.Close()
	close(t.closed)
	t.running.Wait()
}

func (t *target) serve(conn *net.TCPConn) error {
	in := bufio.NewReaderSize(conn, 512)
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "ok\n"); err != nil {
		return err
	}
	verb, argument, _ := strings.Cut(strings.TrimSpace(line), " ")
	var n int64
	_, _ = fmt.Sscan(argument, &n)
	switch verb {
	case "echo":
		b := make([]byte, 512)
		for {
			k, err := in.Read(b)
			if err != nil {
				return err
			}
			if _, err := conn.Write(b[:k]); err != nil {
				return err
			}
		}
	case "down":
		b := make([]byte, 256<<10)
		for n > 0 {
			k, err := conn.Write(b[:min(n, int64(len(b)))])
			t.progress.Add(int64(k))
			if err != nil {
				return err
			}
			n -= int64(k)
		}
		_, err = io.Copy(io.Discard, in) // a relay may lose bytes at the end: that is another measurement
		return err
	case "up":
		b := make([]byte, 256<<10)
		for n > 0 {
			k, err := in.Read(b)
			t.progress.Add(int64(k))
			if err != nil {
				return err
			}
			n -= int64(k)
		}
		_, err = io.WriteString(conn, "done\n")
		return err
	case "deaf":
		_ = conn.SetReadBuffer(4096)
		<-t.closed
		return nil
	case "words":
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
		_, err = io.WriteString(conn, lastWords)
		return err
	case "count":
		k, err := io.Copy(io.Discard, in)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(conn, "%d bytes\n", k)
		return err
	case "after":
		_ = conn.CloseWrite()
		for {
			if _, err := in.ReadByte(); err != nil {
				return err
			}
			t.progress.Add(1)
		}
	}
	return fmt.Errorf("%q is no way to be served", verb)
}
