package deploy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

const (
	folderMode = fs.FileMode(0o755)
	publicMode = fs.FileMode(0o644) // of files without a key
)

// A file is one that is to be there.
type file struct {
	name    string // in Dir, with slashes
	content []byte
	mode    fs.FileMode
}

// An access says who may read files.
type access struct {
	gid     int // negative: the group is left as it is
	keyMode fs.FileMode
}

// errNoModes is for file systems such as FAT, and network shares.
var errNoModes = errors.New("the file system does not keep the mode or the group of the file: have Dir on one that does")

// write makes a file that is not there. What reaches the kernel:
//
//	openat(NAME, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600)
//	fchown, if there is a group; fchmod; fstat
//	write(content); fsync; close
func (a access) write(root *os.Root, f file) error {
	o, err := root.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, ownerKeyMode)
	if err != nil {
		return err
	}
	if err = a.grant(o, f.mode); err == nil {
		_, err = o.Write(f.content)
	}
	if err == nil {
		err = o.Sync()
	}
	return errors.Join(err, o.Close())
}

// grant sets group and mode, before there is anything to be read.
func (a access) grant(o *os.File, mode fs.FileMode) error {
	if !hasModes {
		return nil
	}
	if a.gid >= 0 {
		if err := o.Chown(-1, a.gid); err != nil {
			return fmt.Errorf("%w: run as a member of the group that Deployer.Group names, or as root", err)
		}
	}
	if err := o.Chmod(mode); err != nil {
		return err
	}
	info, err := o.Stat()
	if err == nil && !a.fits(info, mode) {
		err = errNoModes
	}
	return err
}

// fits reports whether a file is regular and has the mode and the group.
func (a access) fits(info fs.FileInfo, mode fs.FileMode) bool {
	if !hasModes {
		return info.Mode().IsRegular()
	}
	return info.Mode() == mode && (a.gid < 0 || isOfGroup(info, a.gid))
}

// replace puts a file in place of the one by its name, by one rename, so that there is always one of them as a whole.
func (a access) replace(root *os.Root, f file) error {
	unfinished := file{unfinishedName(f.name), f.content, f.mode}
	if err := removeIfThere(root, unfinished.name); err != nil { // that a crash has left
		return err
	}
	err := a.write(root, unfinished)
	if err == nil {
		err = root.Rename(unfinished.name, f.name)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(root, unfinished.name))
	}
	return syncFolder(root, path.Dir(f.name))
}

// unfinishedName returns what a file is called until it is finished: the longest name of a file has 255 bytes.
func unfinishedName(name string) string {
	base := path.Base(name)
	return path.Join(path.Dir(name), ".new-"+base[:min(len(base), 200)])
}

// link puts a link in place of what is there by its name.
func link(root *os.Root, target, name string) error {
	unfinished := unfinishedName(name)
	if err := removeIfThere(root, unfinished); err != nil {
		return err
	}
	if err := root.Symlink(target, unfinished); err != nil {
		return err
	}
	if err := root.Rename(unfinished, name); err != nil {
		return errors.Join(err, removeIfThere(root, unfinished))
	}
	return nil
}

// makeFolder makes a folder that may be there, readable by all whatever the umask. It gets its name with its mode: a crash
// between the two would leave one that nobody else can read.
func makeFolder(root *os.Root, name string) error {
	if info, err := root.Lstat(name); err == nil && info.IsDir() {
		return nil
	}
	unfinished := unfinishedName(name)
	if err := removeIfThere(root, unfinished); err != nil { // that a crash has left
		return err
	}
	if err := root.Mkdir(unfinished, folderMode); err != nil {
		return err
	}
	err := root.Chmod(unfinished, folderMode)
	if err == nil {
		err = root.Rename(unfinished, name)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(root, unfinished))
	}
	return syncFolder(root, path.Dir(name))
}

// holds reports whether a regular file is there with the content, and those alone can read it who are to.
func (a access) holds(root *os.Root, name string, mode fs.FileMode, content sum) bool {
	info, err := root.Lstat(name)
	if err != nil || !a.fits(info, mode) {
		return false
	}
	read, err := readFile(root, name, maxFile)
	return err == nil && sumOf([]file{{content: read}})[0] == content
}

const maxFile = 1 << 20 // bytes that are read of a file

// readFile returns a regular file's content, or an error if it has more bytes than the limit.
func readFile(root *os.Root, name string, limit int) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > int64(limit) {
		return nil, fmt.Errorf("%s is not a file of ours", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	return content, errors.Join(err, f.Close())
}

func removeIfThere(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeDurably removes a file that may not be there.
func removeDurably(root *os.Root, name string) error {
	err := root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncFolder(root, path.Dir(name))
}

// errInUse is that another process is at work in the folder.
var errInUse = errors.New("another process deploys in it: end it if it hangs")

// inFolder makes the folder if it is missing, and has it for itself while the function works in it.
func inFolder(dir string, work func(*os.Root)) error {
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("%w; make it a folder that this process can write", err)
	}
	lock, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := lockFolder(lock); err != nil {
		return err
	}
	defer unlockFolder(lock)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	work(root)
	return nil
}

// makeDir makes Dir, and the folders above it, if they are missing, readable by all whatever the umask.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return err
	}
	if err := errors.Join(makeFolder(root, filepath.Base(dir)), root.Close()); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}
