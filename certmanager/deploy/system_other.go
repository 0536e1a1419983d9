//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package deploy

import (
	"io/fs"
	"os"
)

const hasModes = false

func isOfGroup(fs.FileInfo, int) bool { return true }

// lockFolder does nothing: one process alone is to deploy in a folder here.
func lockFolder(*os.File) error { return nil }

func unlockFolder(*os.File) {}

// syncFolder does nothing: folders can't be flushed here.
func syncFolder(*os.Root, string) error { return nil }
