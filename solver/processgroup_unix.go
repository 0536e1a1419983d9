//go:build unix

package solver

import (
	"os/exec"
	"syscall"
)

// killTogether has the command killed, when its context ends, together with what it has started.
func killTogether(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
}
