//go:build !unix

package deploy

import "os/exec"

// killTogether does nothing: the program alone is killed when its context ends.
func killTogether(*exec.Cmd) {}
