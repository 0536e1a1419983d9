package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"
)

// watchFolder has a file for each watch, named after an owner that lives as long as the watch, and beside it, for
// each machine that has written since, one with that machine's name added, to which its writers append the keys. So the
// appends to one file are those of one kernel, which keeps them apart also if the folder is on a network.
const watchFolder = ".watches"

const (
	watchInterval = time.Second / 2
	rotatedHints  = 64 << 10 // bytes of a file that is read, after which another is begun
)

// errHintsLost ends a watch. Its caller has to read everything once more.
var errHintsLost = errors.New("hints were lost; watch again, and read everything then")

// Watch yields the keys at or below the prefix that are changed, by whatever process; see [Watcher]. It checks twice
// a second at a file of its own to which all writers append, which costs the same for ten records as for a million.
// Writers pay for it a fraction of what flushing a record costs, and next to nothing when nobody watches.
//
// Hints are lost, and the watch ends, if the caller leaves more than a megabyte of them waiting. A writer that
// is killed between its change and its hint gives none.
func (d Dir) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		w, err := d.openWatch(ctx)
		if err != nil {
			yield("", d.failure("watch", prefix, err))
			return
		}
		defer w.close()
		if !yield("", nil) {
			return
		}
		for {
			if err := sleep(ctx, watchInterval); err != nil {
				yield("", err)
				return
			}
			keys, err := w.poll()
			for key := range keys {
				if Within(key, prefix) && !yield(key, nil) {
					return
				}
			}
			if err != nil {
				yield("", d.failure("watch", prefix, err))
				return
			}
		}
	}
}

// A dirWatch is one call of Watch.
type dirWatch struct {
	root   *os.Root
	name   string // of its file
	unmark func()
	read   map[string]int64 // how far each machine's file has been read
}

func (d Dir) openWatch(ctx context.Context) (*dirWatch, error) {
	owner, unmark, err := d.MarkOwner(ctx)
	if err != nil {
		return nil, err
	}
	root, err := openFolder(string(d), true)
	if err != nil {
		unmark()
		return nil, err
	}
	w := &dirWatch{root: root, name: path.Join(watchFolder, owner), unmark: unmark, read: make(map[string]int64)}
	sweepWatches(root)
	err = intoFolder(root, watchFolder, func() error {
		f, err := root.OpenFile(w.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// close removes the watch's files. Those that can't be removed are removed by others once its owner is gone.
func (w *dirWatch) close() {
	dropWatch(w.root, path.Base(w.name))
	w.root.Close()
	w.unmark()
}

// poll returns the keys that have been appended since the last poll, also with an error.
func (w *dirWatch) poll() (map[string]bool, error) {
	names, err := watchNames(w.root)
	if err != nil {
		return nil, err
	}
	own := path.Base(w.name)
	listening := false
	keys := make(map[string]bool)
	found := make(map[string]bool)
	for _, name := range names {
		if name == own {
			listening = true
		} else if strings.HasPrefix(name, own+".") {
			found[name] = true
			if err := w.readHints(name, keys); err != nil {
				return keys, err
			}
		}
	}
	for name := range w.read {
		listening = listening && found[name]
	}
	if !listening {
		return keys, errHintsLost
	}
	return keys, nil
}

// readHints adds the keys to keys that stand in a machine's file after what was read before. A file that has grown
// long it removes, so that its writers begin another.
func (w *dirWatch) readHints(name string, keys map[string]bool) error {
	full := path.Join(watchFolder, name)
	f, err := w.root.OpenFile(full, os.O_RDONLY|openNonblock, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errHintsLost
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.readFrom(f, name, keys); err != nil || w.read[name] < rotatedHints {
		return err
	}
	// What is appended after the removal the writer appends once more, to the next file.
	if err := removeFile(w.root, full); err != nil {
		return err
	}
	err = w.readFrom(f, name, keys)
	delete(w.read, name)
	return err
}

func (w *dirWatch) readFrom(f *os.File, name string, keys map[string]bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	offset := w.read[name]
	if !info.Mode().IsRegular() || info.Size() < offset || info.Size() > maxHints+MaxKey+1 {
		return errHintsLost
	}
	content, err := io.ReadAll(io.NewSectionReader(f, offset, info.Size()-offset))
	if err != nil {
		return err
	}
	complete := content[:bytes.LastIndexByte(content, '\n')+1]
	for line := range bytes.Lines(complete) {
		key := string(bytes.TrimSuffix(line, []byte("\n")))
		if CheckKey(key) != nil {
			return fmt.Errorf("%s has a line that is no key: %w", name, errHintsLost)
		}
		keys[key] = true
	}
	w.read[name] = offset + int64(len(complete))
	return nil
}

// watchNames returns the names of all files of watches; none if nobody watches.
func watchNames(root *os.Root) ([]string, error) {
	folder, err := root.Open(watchFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return folder.Readdirnames(-1)
}
