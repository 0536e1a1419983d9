//go:build unix

package migrate_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/certmanager/migrate"
)

// replaced returns the path of the first file of the source's that the function accepts, which is taken away.
func replaced(t *testing.T, folder string, accept func(name string) bool) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && found == "" && entry.Type().IsRegular() && accept(name) {
			found = name
			return os.Remove(name)
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("there is no such file: %v", err)
	}
	return found
}

// isKey reports whether a file of any of the tools has the private key of a certificate.
func isKey(name string) bool {
	return (strings.HasSuffix(name, ".key") || strings.Contains(name, "privkey")) && !strings.Contains(name, "account") && !strings.Contains(name, "/acme/") ||
		strings.HasSuffix(name, "/example.com")
}

// TestHostileFiles puts something else in the place of a private key: what leads out of the folder, what blocks, what never
// ends. It is reported, and the others are taken.
func TestHostileFiles(t *testing.T) {
	for what, put := range map[string]func(t *testing.T, name string, secret []byte){
		"link out": func(t *testing.T, name string, secret []byte) {
			outside := filepath.Join(t.TempDir(), "outside.key")
			if err := os.WriteFile(outside, secret, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, name); err != nil {
				t.Fatal(err)
			}
		},
		"link up": func(t *testing.T, name string, secret []byte) {
			if err := os.Symlink("../../../../../../../../../../../../../etc/passwd", name); err != nil {
				t.Fatal(err)
			}
		},
		"circle": func(t *testing.T, name string, secret []byte) {
			if err := os.Symlink(filepath.Base(name), name); err != nil {
				t.Fatal(err)
			}
		},
		"fifo": func(t *testing.T, name string, secret []byte) {
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"device": func(t *testing.T, name string, secret []byte) {
			if err := syscall.Mknod(name, syscall.S_IFCHR|0o600, 1<<8|5); err != nil { // of /dev/zero
				t.Skip(err)
			}
		},
		"huge": func(t *testing.T, name string, secret []byte) {
			if err := os.WriteFile(name, secret, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, 1<<40); err != nil {
				t.Skip(err)
			}
		},
		"folder": func(t *testing.T, name string, secret []byte) {
			if err := os.Mkdir(name, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"unreadable": func(t *testing.T, name string, secret []byte) {
			if os.Geteuid() == 0 {
				t.Skip("who is root may read all")
			}
			if err := os.WriteFile(name, secret, 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			for tool, s := range sources() {
				if tool == "traefik" || tool == "secrets" || tool == "pem" && what == "folder" || tool == "autocert" && what == "folder" {
					continue // which is no file in a folder, or where any may be
				}
				folder := t.TempDir()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					all := w.obtainAll("example.com", "example.net")
					s.write(w, folder, all)
					victim, other := all[0], all[1]
					if tool == "pem" {
						victim, other = other, victim // whose key is in a file of its own
					}
					name := replaced(t, folder, isKey)
					put(t, name, pkcs8(t, victim.key))
					report, err := s.migrate(t.Context(), s.migration(t, w, all), folder)
					if err != nil {
						t.Fatalf("%s: %v", tool, err)
					}
					if len(report.Left) == 0 {
						t.Errorf("%s: nothing is left:\n%v", tool, report)
					}
					if !slices.ContainsFunc(report.Taken, func(i migrate.Item) bool { return slices.Equal(i.Names, other.names) }) {
						t.Errorf("%s: the other one is not taken:\n%v", tool, report)
					}
					if slices.ContainsFunc(report.Taken, func(i migrate.Item) bool { return slices.Equal(i.Names, victim.names) }) {
						t.Errorf("%s: it is taken:\n%v", tool, report)
					}
				})
			}
		})
	}
}

// TestScriptsAreNotRun has commands where acme.sh and dehydrated have settings.
func TestScriptsAreNotRun(t *testing.T) {
	folder, trap := t.TempDir(), filepath.Join(t.TempDir(), "trap")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.obtainAll("example.com")
		w.acmesh(folder, all)
		w.dehydrated(folder, all)
		for _, name := range []string{"example.com/example.com.conf", "config", "account.conf"} {
			script := fmt.Sprintf("touch %[1]s\nLe_API=$(touch %[1]s)\nLe_API=`touch %[1]s`\nCA=\"$(touch %[1]s)\"\nLe_API='x'$(touch %[1]s)\n. %[1]s\n", trap)
			write(t, folder, name, []byte(script))
		}
		for _, tool := range []string{"acme.sh", "dehydrated"} {
			report, err := sources()[tool].migrate(t.Context(), &migrate.Migration{Manager: newManager(t, w.config("example.com"))}, folder)
			if err != nil || len(report.Taken) == 0 {
				t.Errorf("%s: %v, %v", tool, report, err)
			}
		}
		if _, err := os.Stat(trap); err == nil {
			t.Error("a command was run")
		}
	})
}

// TestLinksWithin has links of certbot's that are absolute, to within the folder and out of it.
func TestLinksWithin(t *testing.T) {
	folder, outside := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.obtainAll("example.com", "example.net")
		w.certbot(folder, all)
		w.certbot(outside, all)
		for i, target := range []string{folder, outside} {
			name := filepath.Join(folder, "live", all[i].names[0], "privkey.pem")
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(target, "archive", all[i].names[0], "privkey3.pem"), name); err != nil {
				t.Fatal(err)
			}
		}
		report, err := (&migrate.Migration{Manager: newManager(t, w.config("example.com", "example.net"))}).Certbot(t.Context(), folder)
		if err != nil || len(report.Taken) != 2 || !strings.Contains(leftFor(report, "example.net"), "escapes") {
			t.Errorf("%v, %v", report, err)
		}
	})
}

// TestCircles has links that lead round in circles where accounts are looked for.
func TestCircles(t *testing.T) {
	for _, at := range []string{"accounts", "ca"} {
		folder := t.TempDir()
		for i := range 20 {
			link(t, folder, fmt.Sprintf("%s/round%d", at, i), ".")
		}
		w := newWorld(t)
		g := &migrate.Migration{Manager: newManager(t, w.config("example.com"))}
		for name, migrated := range map[string]func(context.Context, string) (*migrate.Report, error){"accounts": g.Certbot, "ca": g.ACMESh} {
			if _, err := migrated(t.Context(), folder); name == at && (err == nil || !strings.Contains(err.Error(), "circles")) {
				t.Errorf("%s: %v", at, err)
			}
		}
	}
}

// TestHostileNames has names with dots, control characters and the like, in files and in certificates.
func TestHostileNames(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.obtainAll("example.com")
		w.certbot(folder, all)
		for _, name := range []string{"..", "\x1b[2Jname", "new\nline", strings.Repeat("long", 60)} {
			write(t, folder, "renewal/"+name+".conf", []byte("[renewalparams]\nserver = \x1b[31m\naccount = ../../../etc\n"))
		}
		report, err := (&migrate.Migration{Manager: newManager(t, w.config("example.com"))}).Certbot(t.Context(), folder)
		if err != nil || len(report.Taken) != 2 || len(report.Left) != 4 {
			t.Errorf("%v, %v", report, err)
		}
		if text := report.String(); strings.ContainsAny(text, "\x1b") || strings.Count(text, "\n") != 7 {
			t.Errorf("the report is\n%q", text)
		}
	})
}

// TestPublicKeys has a key that all may read, in a folder that all may enter, and in one that keeps them out.
func TestPublicKeys(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.certbot(folder, w.obtainAll("example.com"))
		for _, name := range []string{"archive/example.com/privkey3.pem", "archive", "archive/example.com", "live", "live/example.com", ".", ".."} {
			if err := os.Chmod(filepath.Join(folder, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for at := folder; at != filepath.Dir(at); at = filepath.Dir(at) {
			if info, err := os.Stat(at); err != nil || info.Mode()&1 == 0 {
				t.Skipf("not all may enter %s", at)
			}
		}
		g := &migrate.Migration{Manager: newManager(t, w.config("example.com")), DryRun: true}
		for _, closed := range []string{"", "archive/example.com", "archive", "."} {
			if closed != "" {
				if err := os.Chmod(filepath.Join(folder, closed), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			report, err := g.Certbot(t.Context(), folder)
			if err != nil || len(report.Taken) != 2 || strings.Contains(report.Taken[0].Reason, "could read its key") != (closed == "") {
				t.Errorf("%q is closed: %v, %v", closed, report, err)
			}
			if err := os.Chmod(filepath.Join(folder, closed), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	})
}
