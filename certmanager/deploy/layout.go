package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A layout is how files lie in Dir. A lineage is what the files of one name are called.
type layout interface {
	// path returns what programs are told of: a folder or a file.
	path(lineage string) string
	// record returns the file that says for what the command was run. Its name begins with a dot, by which servers pass
	// it over that read whole folders.
	record(lineage string) string
	// files returns what is to be there.
	files(lineage string, v version) []file
	// has reports whether all is as files returned it.
	has(root *os.Root, lineage string, sums []sum) bool
	// install writes the files. However it ends, programs find the old ones or these.
	install(root *os.Root, lineage string, files []file) error
}

// A bundle is one file with everything.
type bundle struct{ access }

func (b bundle) path(lineage string) string { return lineage + ".pem" }

func (b bundle) record(lineage string) string { return ".done-" + lineage }

func (b bundle) files(lineage string, v version) []file {
	// Postfix wants the key first, HAProxy takes any order.
	return []file{{b.path(lineage), slices.Concat(v.key, v.fullchain()), b.keyMode}}
}

func (b bundle) has(root *os.Root, lineage string, sums []sum) bool {
	return b.holds(root, b.path(lineage), b.keyMode, sums[0])
}

func (b bundle) install(root *os.Root, _ string, files []file) error {
	return b.replace(root, files[0])
}

// A folder has four files, which are links by way of one link, current, to those of a version:
//
//	example.com/fullchain.pem -> .current/fullchain.pem
//	example.com/.current      -> .7
//	example.com/.7/fullchain.pem
//
// So one rename replaces all four at once, and the folder has all that its links lead to: it can be mounted into a
// container, and goes on being replaced there.
type folder struct{ access }

const (
	current      = ".current"
	keptVersions = 3 // the current one among them
)

// names are those of the files, in the order in which sums are of them.
func (f folder) names() []string {
	return []string{"fullchain.pem", "privkey.pem", "cert.pem", "chain.pem"}
}

func (f folder) mode(name string) fs.FileMode {
	if name == "privkey.pem" {
		return f.keyMode
	}
	return publicMode
}

func (f folder) path(lineage string) string { return lineage }

func (f folder) record(lineage string) string { return path.Join(lineage, ".done") }

// files returns them with their names in a version's folder.
func (f folder) files(_ string, v version) []file {
	content := map[string][]byte{"fullchain.pem": v.fullchain(), "privkey.pem": v.key, "cert.pem": v.certificate, "chain.pem": v.chain}
	var files []file
	for _, name := range f.names() {
		files = append(files, file{name, content[name], f.mode(name)})
	}
	return files
}

func (f folder) has(root *os.Root, lineage string, sums []sum) bool {
	number, isLink := currentVersion(root, lineage)
	if !isLink {
		return false
	}
	for i, name := range f.names() {
		if !leads(root, path.Join(lineage, name), name) || !f.holds(root, path.Join(lineage, versionName(number), name), f.mode(name), sums[i]) {
			return false
		}
	}
	return true
}

// leads reports whether the link is one to a file of the current version.
func leads(root *os.Root, name, base string) bool {
	to, err := root.Readlink(name)
	return err == nil && to == path.Join(current, base)
}

// install makes the next version and then the current link lead to it.
func (f folder) install(root *os.Root, lineage string, files []file) error {
	if err := makeFolder(root, lineage); err != nil {
		return err
	}
	if err := f.checkOurs(root, lineage); err != nil {
		return err
	}
	last, _ := currentVersion(root, lineage)
	next, err := nextVersion(root, lineage, last)
	if err != nil {
		return err
	}
	version := path.Join(lineage, versionName(next))
	if err := f.switchTo(root, version, files); err != nil {
		return err
	}
	for _, name := range f.names() {
		if full := path.Join(lineage, name); !leads(root, full, name) {
			if err := link(root, path.Join(current, name), full); err != nil {
				return err
			}
		}
	}
	if err := syncFolder(root, lineage); err != nil {
		return err
	}
	return prune(root, lineage, next)
}

// switchTo writes a version and makes the current link lead to it. What fails leaves nothing: where a disk is full, each
// attempt would take more of it.
func (f folder) switchTo(root *os.Root, version string, files []file) error {
	err := f.writeVersion(root, version, files)
	if err == nil {
		err = link(root, path.Base(version), path.Join(path.Dir(version), current))
	}
	if err == nil {
		return nil
	}
	if to, _ := root.Readlink(path.Join(path.Dir(version), current)); to == path.Base(version) {
		return err // done all the same, as network shares may do
	}
	return errors.Join(err, root.RemoveAll(version))
}

// writeVersion writes a version's folder.
func (f folder) writeVersion(root *os.Root, version string, files []file) error {
	if err := makeFolder(root, version); err != nil {
		return err
	}
	for _, each := range files {
		each.name = path.Join(version, each.name)
		if err := f.write(root, each); err != nil {
			return err
		}
	}
	return syncFolder(root, version)
}

// checkOurs returns an error if another program has made the folder, such as certbot: its files can't be replaced at once.
func (f folder) checkOurs(root *os.Root, lineage string) error {
	if _, err := root.Lstat(path.Join(lineage, current)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range f.names() {
		if _, err := root.Lstat(path.Join(lineage, name)); err == nil && !leads(root, path.Join(lineage, name), name) {
			return fmt.Errorf("%s is there, and another program has made it: move the folder away, or set Deployer.Dir to another one", path.Join(lineage, name))
		}
	}
	return nil
}

// currentVersion returns the number of the version that the current link leads to.
func currentVersion(root *os.Root, lineage string) (number int, isLink bool) {
	to, err := root.Readlink(path.Join(lineage, current))
	if err != nil {
		return 0, false
	}
	return versionNumber(to)
}

func versionName(number int) string { return "." + strconv.Itoa(number) }

// versionNumber is the reverse of versionName.
func versionNumber(name string) (number int, isVersion bool) {
	digits, dotted := strings.CutPrefix(name, ".")
	number, err := strconv.Atoi(digits)
	return number, dotted && err == nil && number > 0 && versionName(number) == name
}

// versions returns the numbers of all versions of a lineage.
func versions(root *os.Root, lineage string) ([]int, error) {
	entries, err := fs.ReadDir(root.FS(), lineage)
	var numbers []int
	for _, entry := range entries {
		if number, isVersion := versionNumber(entry.Name()); isVersion {
			numbers = append(numbers, number)
		}
	}
	return numbers, err
}

// nextVersion returns a number that is above all others. Versions above the current one are what crashes have left, and are
// removed.
func nextVersion(root *os.Root, lineage string, last int) (int, error) {
	numbers, err := versions(root, lineage)
	next := last
	for _, number := range numbers {
		if last > 0 && number > last && err == nil {
			err = root.RemoveAll(path.Join(lineage, versionName(number)))
			continue
		}
		next = max(next, number)
	}
	return next + 1, err
}

// prune removes versions that are neither the current one nor the last ones before it.
func prune(root *os.Root, lineage string, last int) error {
	numbers, err := versions(root, lineage)
	for _, number := range numbers {
		if number <= last-keptVersions && err == nil {
			err = root.RemoveAll(path.Join(lineage, versionName(number)))
		}
	}
	return err
}
