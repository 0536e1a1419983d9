package solver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/everseal/everseal/acme"
)

// Webroot proves control of a domain name or an IP address by a file that another server has on port 80, such
// as nginx (RFC 8555 §8.3). The answer is .well-known/acme-challenge/<token> below that server's document root,
// readable by all. It is there as a whole or not at all, and CleanUp removes it also after a crash.
//
// Folders that are missing are made, with mode 0755 whatever the umask, and removed when they are empty again.
// A file ".everseal" in them tells them from those that were there before, which stay as they are. Relative
// links in the document root are followed within it; they lead no answer out of it.
//
// Names whose document roots differ take a Webroot each: the solvers of a certmanager.Subject say which one is
// for whom. A Webroot is safe for concurrent use, also by several processes on one document root.
type Webroot struct {
	Dir string // the document root, such as "/var/www/html"; must be there; the only required field
}

const (
	wellKnownFolder = ".well-known"
	answersFolder   = wellKnownFolder + "/acme-challenge"

	folderMark     = ".everseal" // the file in folders that a Webroot has made
	folderMarkText = "This folder was made by everseal for answers to ACME challenges, and is removed with the last of them.\n"

	folderMode = 0o755
	fileMode   = 0o644

	maxWebrootTries = 10 // to make a folder that another clean-up keeps removing
)

// Type returns "http-01".
func (w *Webroot) Type() string { return acme.TypeHTTP01 }

// Supports reports whether the identifier is a domain name or an IP address (RFC 8738) and no
// wildcard, for which http-01 is no proof.
func (w *Webroot) Supports(id acme.Identifier, wildcard bool) bool { return supports(id, wildcard) }

// Present writes the file. The error says what is wrong with the document root.
func (w *Webroot) Present(ctx context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeHTTP01)
	if err != nil {
		return err
	}
	if err := w.Ready(); err != nil {
		return err
	}
	root, err := os.OpenRoot(w.Dir)
	if err != nil {
		return fmt.Errorf("solver: Webroot.Dir: %w: set it to the document root of the server on port 80", err)
	}
	defer root.Close()
	for range maxWebrootTries {
		// The clean-up of another answer may remove a folder in between.
		if err = putAnswer(root, a); !errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
			break
		}
	}
	return w.failure("write", a, err)
}

// CleanUp removes the file, and the folders that were made for it if they are empty then.
func (w *Webroot) CleanUp(_ context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeHTTP01)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(w.Dir)
	if w.Dir == "" || errors.Is(err, fs.ErrNotExist) {
		return nil // nothing can have been presented
	}
	if err != nil {
		return w.failure("remove", a, err)
	}
	defer root.Close()
	return w.failure("remove", a, removeAnswer(root, a))
}

func (w *Webroot) failure(operation string, a answer, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("solver: http-01 for %q: %s the answer in the document root %q: %w; this process must be allowed to write there, "+
		"and links there must be relative, and not lead out of it", a.Identifier, operation, w.Dir, err)
}

func putAnswer(root *os.Root, a answer) error {
	for _, folder := range []string{wellKnownFolder, answersFolder} {
		if err := makeFolder(root, folder, unfinishedFolder(a, folder)); err != nil {
			return err
		}
	}
	// The server must not see half of it.
	unfinished := path.Join(answersFolder, unfinishedPrefix(a)+rand.Text())
	f, err := root.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, a.KeyAuthorization)
	err = errors.Join(err, f.Chmod(fileMode), f.Close())
	if err == nil {
		err = root.Rename(unfinished, path.Join(answersFolder, a.Token))
	}
	if err != nil {
		_ = root.Remove(unfinished)
	}
	return err
}

// unfinishedPrefix returns what the name of a file begins with that is to become the answer.
func unfinishedPrefix(a answer) string {
	digest := sha256.Sum256([]byte(a.Token))
	return folderMark + "-" + hex.EncodeToString(digest[:8]) + "-"
}

// unfinishedFolder returns the name that a folder, made for an answer, has until it has its mode and its mark.
func unfinishedFolder(a answer, name string) string {
	return path.Join(path.Dir(name), unfinishedPrefix(a)+"folder")
}

// removeAnswer removes what is left of an answer, and then the folders that were made for it.
func removeAnswer(root *os.Root, a answer) error {
	entries, err := fs.ReadDir(root.FS(), answersFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, folder := range []string{answersFolder, wellKnownFolder} {
		if err := root.RemoveAll(unfinishedFolder(a, folder)); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		name := path.Join(answersFolder, entry.Name())
		if strings.HasPrefix(entry.Name(), unfinishedPrefix(a)) || entry.Name() == a.Token && contains(root, name, a.KeyAuthorization) {
			if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, folder := range []string{answersFolder, wellKnownFolder} {
		if err := removeFolder(root, folder); err != nil {
			return err
		}
	}
	return nil
}

// contains reports whether a file has the text and nothing else.
func contains(root *os.Root, name, text string) bool {
	info, err := root.Stat(name)
	if err != nil || info.Size() != int64(len(text)) {
		return false
	}
	content, err := root.ReadFile(name)
	return err == nil && string(content) == text
}

// makeFolder makes a folder that is missing. It gets its name when it has its mode and its mark.
func makeFolder(root *os.Root, name, unfinished string) error {
	if _, err := root.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.RemoveAll(unfinished); err != nil { // that a crash has left
		return err
	}
	err := root.Mkdir(unfinished, folderMode)
	if err != nil {
		return err
	}
	if err = root.Chmod(unfinished, folderMode); err == nil {
		err = root.WriteFile(path.Join(unfinished, folderMark), []byte(folderMarkText), fileMode)
	}
	if err == nil {
		err = root.Rename(unfinished, name)
	}
	if err == nil {
		return nil
	}
	_ = root.RemoveAll(unfinished)
	// Another may have been faster. If its folder is gone again, the next step will tell.
	if _, statErr := root.Stat(name); statErr == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// removeFolder removes a folder that has its mark and nothing else.
func removeFolder(root *os.Root, name string) error {
	entries, err := fs.ReadDir(root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (len(entries) != 1 || entries[0].Name() != folderMark) {
		return nil
	}
	if err != nil {
		return err
	}
	mark := path.Join(name, folderMark)
	if err := root.Remove(mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if root.Remove(name) == nil {
		return nil
	}
	// Another answer has come into it, or another clean-up was faster.
	if err := root.WriteFile(mark, []byte(folderMarkText), fileMode); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
