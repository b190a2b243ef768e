package realservers

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

const groupTimeout = time.Second

// ownGroup makes the program the leader of a process group, so that its children can be ended with it, and has the kernel
// end it when this process dies without doing so.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// killGroup ends what is left of the group and waits until it is gone, and its ports with it. That nothing is left is the
// usual case. A dead process whose new parent has not yet taken notice counts as left, so the wait ends without one.
func killGroup(leader *os.Process) {
	if syscall.Kill(-leader.Pid, syscall.SIGKILL) != nil {
		return
	}
	_ = poll(groupTimeout, func() (bool, error) { return syscall.Kill(-leader.Pid, 0) != nil, nil })
}
