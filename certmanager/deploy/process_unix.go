//go:build unix

package deploy

import (
	"os/exec"
	"syscall"
)

// killTogether has the program killed, when its context ends, together with what it has started.
func killTogether(program *exec.Cmd) {
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	program.Cancel = func() error { return syscall.Kill(-program.Process.Pid, syscall.SIGKILL) }
}
