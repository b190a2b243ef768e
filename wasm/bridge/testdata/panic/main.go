//go:build js && wasm

// Command panic stands in for the engine in the test that a panic reaches the user.
package main

import "smtpscope/wasm/bridge"

func main() {
	bridge.Listen(func(m bridge.Message) {
		if m.Type() == "run" {
			go func() { panic("the engine met a case that nobody thought of") }()
		}
	})
	select {}
}
