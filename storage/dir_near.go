package storage

import (
	"os"
	"path"
)

// A nearFolder opens files and folders for reading, many of which lie in or below one folder: that is kept open, so that
// the system need not walk down to it for each.
type nearFolder struct {
	root *os.Root
	name string   // from the root
	open *os.Root // the folder of that name; nil: none
}

// openFile opens what name means in the folder. What is not found so, it looks for from the root: the open folder may have been
// removed and made anew meanwhile.
func (n *nearFolder) openFile(folder, name string) (*os.File, error) {
	const flag = os.O_RDONLY | openNonblock
	if n.open == nil || n.name != folder {
		n.close()
		n.name = folder
		n.open, _ = n.root.OpenRoot(folder)
	}
	if n.open != nil {
		if f, err := n.open.OpenFile(name, flag, 0); err == nil {
			return f, nil
		}
	}
	n.close()
	return n.root.OpenFile(path.Join(folder, name), flag, 0)
}

func (n *nearFolder) close() {
	if n.open != nil {
		n.open.Close()
		n.open = nil
	}
}
