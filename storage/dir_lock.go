package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"time"
)

const lockFolder = ".locks"

// errLocked reports that a file is locked by another holder, in this process or another.
var errLocked = errors.New("the file is locked")

// shardOf returns the name of the lock that guards changes of key: one of 256, so that lock files need
// never be removed, which can't be done safely while others may be about to lock them.
func shardOf(key string) string {
	digest := sha256.Sum256([]byte(key))
	return hex.EncodeToString(digest[:1])
}

// lockShard waits until it holds the shard's lock or ctx ends. A blocking lock call would not obey ctx,
// so it asks again and again.
func lockShard(ctx context.Context, root *os.Root, shard string) (*os.File, error) {
	name := path.Join(lockFolder, shard)
	begun := time.Now()
	for wait := time.Millisecond / 4; ; wait = min(2*wait, 16*time.Millisecond) {
		var lock *os.File
		err := intoFolder(root, lockFolder, func() (err error) {
			lock, err = tryLock(root, name, os.O_CREATE)
			return err
		})
		if !errors.Is(err, errLocked) {
			return lock, err
		}
		if err := sleep(ctx, jittered(wait)); err != nil {
			return nil, heldError(root, name, time.Since(begun), err)
		}
	}
}

// heldError returns the error for a lock that was waited for in vain: a change takes milliseconds, so that its
// holder is stuck, suspended perhaps.
func heldError(root *os.Root, name string, waited time.Duration, err error) error {
	holder := lockHolder(root, name)
	if holder == "" {
		holder = "another process"
	}
	return fmt.Errorf("%w, after %v in which the lock %s was held by %s; ending that process frees it", err, waited.Round(time.Millisecond), name, holder)
}
