//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
)

// report writes the table.
func (b *bench) report(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Measured on %s, Node %s, %s; load %s before, %s after. Medians of %d rounds, the relays taking turns on loopback.\n\n",
		machine(), version("node", "--version"), version("/usr/bin/python3", "--version"), b.before, load(), b.rounds)
	out.WriteString("| |")
	for _, r := range b.relays {
		fmt.Fprintf(&out, " %s |", r.name)
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(b.relays)) + "\n")
	for _, l := range b.lines {
		fmt.Fprintf(&out, "| %s |", l.what)
		for _, r := range b.relays {
			cell := l.cells[r.name]
			switch {
			case r.missing != "":
				cell = "missing"
			case cell == "" && r.command == nil:
				cell = "-"
			case cell == "":
				cell = "failed"
			}
			fmt.Fprintf(&out, " %s |", cell)
		}
		out.WriteByte('\n')
	}
	_, err := w.Write(out.Bytes())
	return err
}

func version(program string, args ...string) string {
	b, err := exec.Command(program, args...).Output()
	if err != nil {
		return "missing"
	}
	return strings.TrimSpace(string(b))
}

// closedPort is an address on which nothing listens.
func closedPort() string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:1"
	}
	defer l.Close()
	return l.Addr().String()
}
