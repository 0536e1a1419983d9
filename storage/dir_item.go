package storage

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
)

const (
	itemFormat = "everseal-item/1"
	maxHeader  = 1024
	maxItem    = maxHeader + MaxValue + sealedExtra // bytes of a file
	tempFolder = ".temp"
)

// encodeItem returns the content of key's file: a header line with the format, the revision, the
// value's SHA-256 and length and the key; then the value as it is.
func encodeItem(key string, value []byte, revision Revision) []byte {
	digest := sha256.Sum256(value)
	header := fmt.Sprintf("%s %s %x %d %s\n", itemFormat, revision, digest, len(value), key)
	return append([]byte(header), value...)
}

// decodeItem returns what a file of key's holds, also if it was edited or damaged: then the value is
// what follows the header, or the whole content if there is no header, and the revision comes from a
// hash of the content, so that it can be replaced like any other.
func decodeItem(key string, content []byte) Item {
	line, value, found := bytes.Cut(content, []byte("\n"))
	if !found || !bytes.HasPrefix(line, []byte("everseal-item/")) {
		return Item{Value: content, Revision: contentRevision(content)}
	}
	digest := sha256.Sum256(value)
	fields := strings.Split(string(line), " ")
	if len(fields) != 5 || fields[0] != itemFormat || !isNonce(fields[1]) ||
		fields[2] != hex.EncodeToString(digest[:]) || fields[3] != strconv.Itoa(len(value)) || fields[4] != key {
		return Item{Value: value, Revision: contentRevision(content)}
	}
	return Item{Value: value, Revision: Revision(fields[1])}
}

func contentRevision(content []byte) Revision {
	digest := sha256.Sum256(content)
	return Revision("content-" + hex.EncodeToString(digest[:]))
}

// isNonce reports whether s is what rand.Text makes: at least 128 random bits in base32.
func isNonce(s string) bool {
	for i := range len(s) {
		if !('A' <= s[i] && s[i] <= 'Z' || '2' <= s[i] && s[i] <= '7') {
			return false
		}
	}
	return len(s) >= 26 && len(s) <= 64
}

// readItem returns what key's file holds.
func readItem(root *os.Root, key string) (Item, error) {
	name := fileName(key)
	content, err := readFile(root, name, maxItem)
	if err != nil {
		return Item{}, err
	}
	return decodeItem(key, content), nil
}

// readFile reads a regular file of at most limit bytes. It does not wait for a writer if a named
// pipe was put in the file's place.
func readFile(root *os.Root, name string, limit int) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file; move it away", name)
	}
	if info.Size() > int64(limit) {
		return nil, fmt.Errorf("%s has %d bytes, no record is as large; move it away", name, info.Size())
	}
	content := make([]byte, info.Size()) // records are replaced, never written to
	n, err := io.ReadFull(f, content)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return content[:n], nil
}

// headerKey returns the key in the header of a file whose name is shortened and can't tell it.
func headerKey(root *os.Root, name string) (key string, ok bool) {
	f, err := root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	start := make([]byte, maxHeader)
	n, _ := io.ReadFull(f, start)
	line, _, found := strings.Cut(string(start[:n]), "\n")
	fields := strings.Split(line, " ")
	if !found || len(fields) != 5 || fields[0] != itemFormat {
		return "", false
	}
	key = fields[4]
	return key, CheckKey(key) == nil && fileName(key) == name
}

// writeItem replaces key's file such that a crash at any moment leaves the old one or the new one. The
// caller holds the lock of the shard. What reaches the kernel:
//
//	openat(".temp/3f/NONCE", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600)
//	write(content); fsync; close
//	mkdirat(folder, 0700); fsync(its parent)    only if the folder was missing
//	renameat(".temp/3f/NONCE", "folder/name.item")
//	openat("folder"); fsync; close
func writeItem(root *os.Root, shard, key string, value []byte) (Revision, error) {
	revision := Revision(rand.Text())
	temp := path.Join(tempFolder, shard, string(revision))
	if err := sweepFolder(root, path.Dir(temp)); err != nil {
		return "", err
	}
	name := fileName(key)
	err := writeFile(root, temp, encodeItem(key, value, revision))
	if err == nil {
		err = intoFolder(root, path.Dir(name), func() error { return root.Rename(temp, name) })
	}
	if err != nil {
		return "", errors.Join(err, removeFile(root, temp))
	}
	return revision, syncFolder(root, path.Dir(name))
}

func writeFile(root *os.Root, name string, content []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
