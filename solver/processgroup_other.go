//go:build !unix

package solver

import "os/exec"

// killTogether does nothing: the command alone is killed when its context ends.
func killTogether(*exec.Cmd) {}
