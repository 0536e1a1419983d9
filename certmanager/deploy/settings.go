package deploy

import (
	"cmp"
	"fmt"
	"io/fs"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// Settings are a Deployer's fields, checked.
type settings struct {
	manager  *certmanager.Manager
	dir      string   // absolute
	names    []string // zero: all
	layout   layout
	command  []string
	timeout  time.Duration
	together bool
}

const (
	commandTimeout = 2 * time.Minute
	ownerKeyMode   = fs.FileMode(0o600)
	groupKeyMode   = fs.FileMode(0o640)
)

// settings checks the fields. Its error says all that is wrong.
func (d *Deployer) settings() (settings, error) {
	s := settings{manager: d.Manager, command: d.Command, timeout: cmp.Or(max(d.Timeout, 0), commandTimeout), together: d.Together}
	var wrong misconfiguration
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if d.Manager == nil {
		report("Deployer.Manager is nil: set it to the manager whose certificates are to be deployed")
	}
	if d.Dir == "" {
		report("Deployer.Dir is empty: set it to the folder of the files, such as \"/etc/everseal/live\"")
	}
	var err error
	if s.dir, err = filepath.Abs(d.Dir); err != nil {
		report("Deployer.Dir: %w", err)
	}
	for _, name := range d.Names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			report("Deployer.Names: %w", err)
		}
		s.names = append(s.names, id.Value)
	}
	a, err := d.access()
	if err != nil {
		wrong = append(wrong, err)
	}
	switch {
	case d.OneFile:
		s.layout = bundle{a}
	case runtime.GOOS == "windows":
		report("folders as certbot has them need symbolic links, which Windows keeps from most programs: set Deployer.OneFile")
	default:
		s.layout = folder{a}
	}
	if len(d.Command) > 0 {
		if _, err := exec.LookPath(d.Command[0]); err != nil {
			report("Deployer.Command: %w: set its first element to a program that can be run", err)
		}
	}
	if len(wrong) > 0 {
		return s, wrong
	}
	return s, nil
}

// A misconfiguration is all that is wrong with a Deployer, in one line.
type misconfiguration []error

func (m misconfiguration) Error() string {
	words := make([]string, len(m))
	for i, err := range m {
		words[i] = err.Error()
	}
	return "deploy: " + strings.Join(words, "; ")
}

func (m misconfiguration) Unwrap() []error { return m }

// access returns who may read the files.
func (d *Deployer) access() (access, error) {
	a := access{gid: -1, keyMode: cmp.Or(d.KeyMode, ownerKeyMode)}
	if d.Group != "" && d.KeyMode == 0 {
		a.keyMode = groupKeyMode
	}
	switch {
	case d.KeyMode&^fs.ModePerm != 0 || a.keyMode&0o007 != 0 || a.keyMode&0o400 == 0:
		return a, fmt.Errorf("Deployer.KeyMode is %#o: a private key is to be read by its owner, and not by all: set Group for other programs, and 0600 or 0640 here", d.KeyMode)
	case !hasModes && (d.Group != "" || d.KeyMode != 0):
		return a, fmt.Errorf("Deployer.Group and KeyMode have no meaning on %s: leave them zero, and have Dir inherit its permissions", runtime.GOOS)
	case d.Group == "":
		return a, nil
	}
	number := d.Group
	if strings.Trim(number, "0123456789") != "" {
		found, err := user.LookupGroup(d.Group)
		if err != nil {
			return a, fmt.Errorf("Deployer.Group: %w: set it to a group of this system, or to its number", err)
		}
		number = found.Gid
	}
	gid, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return a, fmt.Errorf("Deployer.Group: %w", err)
	}
	a.gid = int(gid)
	return a, nil
}

// lineageOf returns what the files of a name are called. A domain name is its own; a wildcard begins with an underscore, such
// as _.example.com, and the colons of an address are underscores, which are in no name.
func lineageOf(name string) (string, error) {
	id, err := acme.ParseIdentifier(name)
	if err != nil {
		return "", fmt.Errorf("deploy: %w", err)
	}
	lineage := strings.NewReplacer("*", "_", ":", "_").Replace(id.Value)
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	if strings.Trim(lineage, letters+".") != "" || strings.ContainsAny(lineage[:1], ".-") || strings.Contains(lineage, "..") {
		return "", fmt.Errorf("deploy: %.100q can't be the name of a file", name)
	}
	return lineage, nil
}

// chief returns by which of its names a certificate's files are called.
func chief(names []string) string {
	for _, name := range names {
		if !strings.HasPrefix(name, "*.") {
			return name
		}
	}
	return names[0]
}
