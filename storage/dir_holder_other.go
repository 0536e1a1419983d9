//go:build !linux

package storage

import "os"

// lockHolder is empty: only Linux tells who holds a lock.
func lockHolder(*os.Root, string) string { return "" }
