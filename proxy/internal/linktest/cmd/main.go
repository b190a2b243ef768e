// Command cmd runs another command, and all that it starts, in a network of its own, from which links lead to mail servers:
//
//	cmd '[{"delay":20}, {"delay":50,"loseSYN":true}]' node test.mjs
//
// The first argument has an object for each link: delay is one way, in milliseconds; mtu is 1500 unless it says otherwise;
// loseSYN loses the first SYN of every connection, and loseUp the segment of that number, from 1, that carries data from the
// command's end. In the environment, under LINKS, stands a JSON object: the address of each mail server, which takes all mail on port
// 25; the name in their certificate; and the authority that signed it.
//
// The exit code is that of what ran, or 69, behind a line that says why, where the system makes no such network.
package main

import (
	"fmt"
	"os"
)

// unavailable is EX_UNAVAILABLE of sysexits(3).
const unavailable = 69

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
