//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"bytes"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/deploy"
	"github.com/everseal/everseal/storage"
)

// The four files are as certbot has them, whatever the umask.
func TestFolder(t *testing.T) {
	umask(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test", "*.example.test", "192.0.2.1", "2001:db8::1")
		runs(t, w.deployer().Run)
		for n := range 4 {
			w.succeeded(n + 1)
		}
		for path, name := range map[string]string{"example.test": "example.test", "_.example.test": "*.example.test", "192.0.2.1": "192.0.2.1", "2001_db8__1": "2001:db8::1"} {
			w.wantFiles(path, name)
		}
		read := func(name string) []byte {
			content, err := os.ReadFile(filepath.Join(w.dir, "example.test", name))
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
		if !bytes.Equal(read("fullchain.pem"), slices.Concat(read("cert.pem"), read("chain.pem"))) {
			t.Error("fullchain.pem is not cert.pem and chain.pem")
		}
		served, _ := w.manager.Certificate("example.test")
		if block, rest := pem.Decode(read("chain.pem")); block == nil || !bytes.Equal(block.Bytes, served.Certificate[1]) || len(rest) > 0 {
			t.Error("chain.pem is not what is above the certificate")
		}
		if key := read("privkey.pem"); !bytes.HasPrefix(key, []byte("-----BEGIN PRIVATE KEY-----\n")) {
			t.Error("privkey.pem is not PKCS #8")
		}
		w.wantModes(map[string]fs.FileMode{
			".": 0o755, "example.test": 0o755, "example.test/.current": 0o755, "example.test/privkey.pem": 0o600, "example.test/fullchain.pem": 0o644, "example.test/chain.pem": 0o644,
		})
	})
}

// One file has all, and nothing else in the folder has a name that HAProxy reads.
func TestOneFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test", "*.example.test")
		d := w.deployer()
		d.OneFile, d.Command = true, []string{"true"}
		runs(t, d.Run)
		w.succeeded(2)
		w.renew("example.test")
		w.succeeded(3)
		w.wantFiles("example.test.pem", "example.test")
		w.wantFiles("_.example.test.pem", "*.example.test")
		w.wantModes(map[string]fs.FileMode{"example.test.pem": 0o600})
		if content, err := os.ReadFile(filepath.Join(w.dir, "example.test.pem")); err != nil || !strings.HasPrefix(string(content), "-----BEGIN PRIVATE KEY") {
			t.Errorf("the file does not begin with the key, as Postfix wants it (%v)", err)
		}
		synctest.Wait()
		seen := slices.DeleteFunc(list(t, w.dir), func(name string) bool { return strings.HasPrefix(name, ".") })
		if want := []string{"_.example.test.pem", "example.test.pem"}; !slices.Equal(seen, want) {
			t.Errorf("there is %q, want %q", seen, want)
		}
	})
}

// A renewal is in the files within half a minute, and at once if the manager's events reach the deployer. Of former versions
// two are kept.
func TestRenewal(t *testing.T) {
	tests := map[string]struct {
		events  bool
		longest time.Duration
	}{"polled": {false, 30 * time.Second}, "told": {true, time.Second}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "example.test")
				d := w.deployer()
				runs(t, d.Run)
				w.succeeded(1)
				for n := 2; n < 7; n++ {
					time.Sleep(7 * time.Second)
					w.renew("example.test")
					began := time.Now()
					if test.events {
						d.OnEvent(certmanager.Event{Kind: certmanager.EventObtained})
					}
					w.succeeded(n)
					if took := time.Since(began); took > test.longest {
						t.Errorf("renewal %d was deployed after %v, want %v at most", n, took, test.longest)
					}
					w.wantFiles("example.test", "example.test")
				}
				want := []string{".4", ".5", ".6", ".current", "cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"}
				if seen := list(t, filepath.Join(w.dir, "example.test")); !slices.Equal(seen, want) {
					t.Errorf("there is %q, want %q", seen, want)
				}
			})
		})
	}
}

// With names given, those have files by their own names and no others. One certificate may have several.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, certmanager.Config{
			Names: []string{"other.test"}, Subjects: []certmanager.Subject{{Names: []string{"example.test", "*.example.test", "www.sub.example.test"}}},
			Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: new(storage.Memory), Logger: slog.New(slog.DiscardHandler),
		})
		d := w.deployer()
		d.Names = []string{"www.sub.example.test", "EXAMPLE.test"}
		stop := runs(t, d.Run)
		w.succeeded(2)
		time.Sleep(time.Minute)
		if seen, want := list(t, w.dir), []string{"example.test", "www.sub.example.test"}; !slices.Equal(seen, want) {
			t.Errorf("there is %q, want %q", seen, want)
		}
		stop()
		d = w.deployer()
		w.dir = filepath.Join(t.TempDir(), "all")
		d.Dir = w.dir
		runs(t, d.Run)
		w.succeeded(4)
		if seen, want := list(t, w.dir), []string{"example.test", "other.test"}; !slices.Equal(seen, want) {
			t.Errorf("there is %q, want %q", seen, want)
		}
	})
}

// A name that is not managed, or comes later, keeps none of the others.
func TestUnmanagedName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		d := w.deployer()
		d.Names = []string{"later.test", "example.test"}
		runs(t, d.Run)
		if r := w.await(1); r.Err == nil || !strings.Contains(r.Err.Error(), "later.test: it is not managed") || r.Attempts != 1 {
			t.Errorf("%+v", r)
		}
		w.succeeded(2)
		if err := w.manager.Manage(certmanager.Subject{Names: []string{"later.test"}}); err != nil {
			t.Fatal(err)
		}
		for n := 3; ; n++ {
			if w.await(n).Err == nil {
				break
			}
		}
		w.wantFiles("later.test", "later.test")
	})
}

// What somebody did to the files is undone within a minute, and the command is run for it.
func TestMending(t *testing.T) {
	inFolder := func(change func(folder string) error) func(dir string) error {
		return func(dir string) error { return change(filepath.Join(dir, "example.test")) }
	}
	remove := func(name string) func(string) error {
		return inFolder(func(folder string) error { return os.RemoveAll(filepath.Join(folder, name)) })
	}
	write := func(name, text string) func(string) error {
		return inFolder(func(folder string) error { return os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600) })
	}
	chmod := func(name string, mode fs.FileMode) func(string) error {
		return inFolder(func(folder string) error { return os.Chmod(filepath.Join(folder, name), mode) })
	}
	relink := func(name, target string) func(string) error {
		return inFolder(func(folder string) error {
			if err := os.Remove(filepath.Join(folder, name)); err != nil {
				return err
			}
			return os.Symlink(target, filepath.Join(folder, name))
		})
	}
	tests := map[string]func(dir string) error{
		"a link is gone":         remove("privkey.pem"),
		"a file is gone":         remove(".1/privkey.pem"),
		"the version is gone":    remove(".1"),
		"the link is gone":       remove(".current"),
		"the folder is gone":     remove(""),
		"everything is gone":     os.RemoveAll,
		"a file was changed":     write("fullchain.pem", "edited"),
		"a file is empty":        write(".1/chain.pem", ""),
		"a file took the link":   inFolder(func(f string) error { return os.Rename(filepath.Join(f, ".1/cert.pem"), filepath.Join(f, "cert.pem")) }),
		"a key is open to all":   chmod("privkey.pem", 0o644),
		"a file can't be read":   chmod("fullchain.pem", 0),
		"the link leads away":    relink(".current", "/etc"),
		"a file leads away":      relink("privkey.pem", "/etc/passwd"),
		"the link leads to none": relink(".current", ".0"),
		"a pipe":                 inFolder(func(f string) error { return pipe(filepath.Join(f, ".1/fullchain.pem")) }),
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "example.test")
				d := w.deployer()
				d.Command = []string{"true"}
				runs(t, d.Run)
				w.succeeded(1)
				if err := change(w.dir); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				w.succeeded(2)
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				w.wantFiles("example.test", "example.test")
				w.wantModes(map[string]fs.FileMode{"example.test/privkey.pem": 0o600, "example.test/fullchain.pem": 0o644})
				time.Sleep(10 * time.Minute)
				if n := w.count(); n != 2 {
					t.Errorf("the command was run %d times, want 2", n)
				}
			})
		})
	}
}

// A folder that certbot made is left alone.
func TestForeignFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		folder := filepath.Join(w.dir, "example.test")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../archive/example.test/privkey1.pem", filepath.Join(folder, "privkey.pem")); err != nil {
			t.Fatal(err)
		}
		runs(t, w.deployer().Run)
		r := w.await(3)
		if r.Err == nil || !strings.Contains(r.Err.Error(), "another program has made it: move the folder away") {
			t.Errorf("%+v", r)
		}
		if seen := list(t, folder); !slices.Equal(seen, []string{"privkey.pem"}) {
			t.Errorf("there is %q", seen)
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		w.succeeded(4)
	})
}

// Programs that read at any moment find a certificate and its key.
func TestReaders(t *testing.T) {
	for _, oneFile := range []bool{false, true} {
		t.Run("OneFile "+strconv.FormatBool(oneFile), func(t *testing.T) {
			w := newWorld(t, "example.test")
			d := w.deployer()
			d.OneFile = oneFile
			runs(t, d.Run)
			w.succeeded(1)
			path, ended, found := filepath.Join(w.dir, map[bool]string{true: "example.test.pem", false: "example.test"}[oneFile]), make(chan struct{}), make(chan int)
			go func() {
				different := make(map[string]bool)
				for {
					leaf, err := leafOf(path)
					if different[leaf] = true; err != nil {
						t.Error(err)
					}
					select {
					case <-ended:
						found <- len(different)
						return
					default:
					}
				}
			}()
			const renewals = 3 // each of them waits out the pause between two passes
			for n := range renewals {
				w.renew("example.test")
				d.OnEvent(certmanager.Event{Kind: certmanager.EventObtained})
				w.succeeded(n + 2)
			}
			close(ended)
			if n := <-found; n < renewals {
				t.Errorf("%d certificates were seen, want %d", n, renewals)
			}
		})
	}
}

// A key that is kept elsewhere has no file, and the error says so.
func TestKeysElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, certmanager.Config{
			Names: []string{"example.test"}, Keys: new(distantKeys), Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: new(storage.Memory), Logger: slog.New(slog.DiscardHandler),
		})
		runs(t, w.deployer().Run)
		first, fourth := w.await(1), w.await(4)
		if first.Err == nil || !strings.Contains(first.Err.Error(), "deploy: example.test: certmanager: export: example.test: its private key is kept by Config.Keys") {
			t.Errorf("%+v", first)
		}
		if fourth.Attempts != 4 || fourth.Next.Sub(first.Next) < 40*time.Second {
			t.Errorf("it is tried again and again: %+v, then %+v", first, fourth)
		}
	})
}

// While another process is at work in the folder nothing is done there. One that does not end is reported.
func TestAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		unlock := lock(t, w.dir)
		runs(t, w.deployer().Run)
		time.Sleep(50 * time.Second)
		if seen := list(t, w.dir); len(seen) > 0 || w.count() > 0 {
			t.Errorf("there is %q", seen)
		}
		time.Sleep(time.Minute)
		n := w.count()
		if n == 0 {
			t.Fatal("nothing says that the folder is in use all the time")
		}
		if r := w.await(n); r.Err == nil || len(r.Names) > 0 || !strings.Contains(r.Err.Error(), "another process deploys in it") {
			t.Errorf("%+v", r)
		}
		unlock()
		for w.await(n).Err != nil {
			n++
		}
	})
}

func TestSettings(t *testing.T) {
	manager, err := certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: new(storage.Memory)})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*deploy.Deployer)
		want   string
	}{
		"no manager":         {func(d *deploy.Deployer) { d.Manager = nil }, "Manager is nil"},
		"no folder":          {func(d *deploy.Deployer) { d.Dir = "" }, "Dir is empty"},
		"a malformed name":   {func(d *deploy.Deployer) { d.Names = []string{"../../etc"} }, `"../../etc" is not a domain name`},
		"keys for all":       {func(d *deploy.Deployer) { d.KeyMode = 0o644 }, "KeyMode is 0644"},
		"keys for nobody":    {func(d *deploy.Deployer) { d.KeyMode = 0o040 }, "KeyMode is 040"},
		"more than a mode":   {func(d *deploy.Deployer) { d.KeyMode = fs.ModeSetuid | 0o600 }, "KeyMode"},
		"an unknown group":   {func(d *deploy.Deployer) { d.Group = "no-such-group" }, "no-such-group"},
		"an unknown program": {func(d *deploy.Deployer) { d.Command = []string{"no-such-program", "x"} }, "no-such-program"},
		"an empty program":   {func(d *deploy.Deployer) { d.Command = []string{""} }, "Deployer.Command"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := &deploy.Deployer{Manager: manager, Dir: t.TempDir()}
			test.change(d)
			if err := d.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "deploy: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Run can't be called while it runs, and can after it.
func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		d := w.deployer()
		stop := runs(t, d.Run)
		w.succeeded(1)
		if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "while it runs") {
			t.Error(err)
		}
		stop()
		w.renew("example.test")
		runs(t, d.Run)
		w.succeeded(2)
		w.wantFiles("example.test", "example.test")
	})
}
