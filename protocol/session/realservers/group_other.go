//go:build !linux

package realservers

import (
	"os"
	"os/exec"
)

// ownGroup does nothing here: .ci/setup fetches the servers' programs on Linux only.
func ownGroup(*exec.Cmd) {}

func killGroup(leader *os.Process) { _ = leader.Kill() }
