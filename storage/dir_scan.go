package storage

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
)

// Scan yields the records that are prefix or lie below it, in the order of their keys; see [Scanner]. In memory it has the
// names in the folders on the way to a record, no others.
func (d Dir) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := d.walk(ctx, prefix, func(root *os.Root) error {
			s := scan{ctx: ctx, dir: d, root: root, cursor: cursor, yield: yield}
			return s.prefix(prefix)
		})
		if err != nil {
			yield(Record{}, err)
		}
	}
}

// A scan is one walk through the records of a Dir. Each folder is opened once, listed, and what is in it opened from there: the
// system need not walk down to each record.
type scan struct {
	ctx    context.Context // of the one call that the scan is
	dir    Dir
	root   *os.Root
	cursor string // keys up to it are passed by
	yield  func(Record, error) bool
	parts  []scanPart // of the folders that the walk is in, from the outer ones to the inner
}

// A scanPart is something in a folder that may be of keys.
type scanPart struct {
	name string // as names of scanFolder gives it
	key  string // what it adds to a key: a segment, and "/" if it is a folder
}

// A scanLevel is a folder that a scan is in.
type scanLevel struct {
	scanFolder
	key       string // what the keys in it begin with
	shortened bool   // whether its name or one on the way to it does not tell its part of the key
}

// errOther is what opening something gives that is neither a folder nor a record's file.
var errOther = errors.New("it is something else")

func (s *scan) prefix(prefix string) error {
	if prefix == "" {
		return s.top("")
	}
	found, err := isRecord(s.root, prefix)
	if err != nil {
		return err
	}
	if found && prefix > s.cursor {
		item, err := readItem(s.root, prefix)
		if err := s.give(prefix, item, err); err != nil {
			return err
		}
	}
	if isOther(s.root, folderName(prefix)) {
		return nil
	}
	return s.top(prefix + "/")
}

// top goes through the records whose keys begin with key, a prefix and "/" or nothing.
func (s *scan) top(key string) error {
	name := folderOf(key)
	f, err := openScanFolder(s.root, name)
	if err != nil {
		return unlessGone(err)
	}
	return s.folder(scanLevel{f, key, strings.Contains(name, shortMark)})
}

// folderOf returns the name of the folder whose keys begin with key.
func folderOf(key string) string { return path.Join(".", folderName(strings.TrimSuffix(key, "/"))) }

// unlessGone returns the error of opening something, or nil if that is not there any more, or something else is.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOther) {
		return nil
	}
	return err
}

// folder goes through a folder and closes it.
func (s *scan) folder(in scanLevel) error {
	defer in.close()
	begin := len(s.parts)
	defer func() {
		clear(s.parts[begin:])
		s.parts = s.parts[:begin]
	}()
	if err := in.names(func(name string) error { return s.note(in, name) }); err != nil {
		return err
	}
	parts := s.parts[begin:]
	slices.SortFunc(parts, func(a, b scanPart) int { return strings.Compare(a.key, b.key) })
	for _, part := range parts {
		if err := ended(s.ctx); err != nil {
			return err
		}
		enter := s.record
		if strings.HasSuffix(part.name, "/") {
			enter = s.enter
		}
		if err := enter(in, part.name, in.key+part.key); err != nil {
			return err
		}
	}
	return nil
}

// note adds to the parts what has a name in a folder, unless that is of no key.
func (s *scan) note(in scanLevel, name string) (err error) {
	if err := ended(s.ctx); err != nil {
		return err
	}
	key, ok := decodePart(name)
	if isShortened(name) || ok && in.shortened && !strings.HasSuffix(name, "/") {
		key, err = s.told(in, name)
		ok = key != ""
	}
	if ok {
		s.parts = append(s.parts, scanPart{name, key})
	}
	return err
}

// decodePart returns what a name adds to a key, if it tells that.
func decodePart(name string) (key string, ok bool) {
	folder, ok := strings.CutSuffix(name, "/")
	if !ok {
		return decodeFile(name)
	}
	segment, ok := decodeFolder(folder)
	if segment == folder {
		return name, ok // nearly always
	}
	return segment + "/", ok
}

// told returns what a name adds to a key according to the header of the file, or of some file in the folder or below; "" if none
// tells.
func (s *scan) told(in scanLevel, name string) (key string, err error) {
	full := path.Join(folderOf(in.key), name)
	if !strings.HasSuffix(name, "/") {
		key, _ = headerKey(s.root, full)
		return strings.TrimPrefix(key, in.key), nil
	}
	l := listing{ctx: s.ctx, root: s.root, near: nearFolder{root: s.root}, yield: func(below string, _ error) bool {
		key, _, _ = strings.Cut(strings.TrimPrefix(below, in.key), "/")
		key += "/"
		return false
	}}
	defer l.near.close()
	if err := l.folder(full); err != nil && !errors.Is(err, errStopped) {
		return "", err
	}
	return key, nil
}

// enter goes through the folder of that name in another, unless all its keys, which begin with key, have come before.
func (s *scan) enter(in scanLevel, name, key string) error {
	if len(key) > MaxKey || key < s.cursor && !strings.HasPrefix(s.cursor, key) {
		return nil
	}
	f, err := in.scanFolder.folder(strings.TrimSuffix(name, "/"))
	if err != nil && !errors.Is(err, errOther) {
		// The folder around it may have been removed and made anew meanwhile.
		f, err = openScanFolder(s.root, folderOf(key))
	}
	if err != nil {
		return unlessGone(err)
	}
	return s.folder(scanLevel{f, key, in.shortened || isShortened(name)})
}

// record yields the record of key, whose file has that name in a folder.
func (s *scan) record(in scanLevel, name, key string) error {
	if key <= s.cursor || CheckKey(key) != nil {
		return nil
	}
	content, err := in.file(name, maxItem)
	if err == nil {
		return s.give(key, decodeItem(key, content), nil)
	}
	if errors.Is(err, errOther) {
		return nil
	}
	item, err := readItem(s.root, key) // see enter; and what is wrong is said as Load does
	return s.give(key, item, err)
}

// give yields what reading a record has given, unless that is not there any more.
func (s *scan) give(key string, item Item, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		err = s.dir.failure("load", key, err)
	}
	if !s.yield(Record{Key: key, Item: item, Cursor: key}, err) {
		return errStopped
	}
	return nil
}
