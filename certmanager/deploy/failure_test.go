//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// What fails is tried again when the result says: after ten seconds, then twice as long, up to a minute.
func TestRetries(t *testing.T) {
	for name, obstacle := range map[string]string{"the folder of a name": "example.test", "Dir": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "example.test")
				obstacle := filepath.Join(w.dir, obstacle)
				if err := os.MkdirAll(filepath.Dir(obstacle), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				runs(t, w.deployer().Run)
				last := time.Now()
				for n, want := range []time.Duration{0, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
					before := w.await(max(n, 1))
					r := w.await(n + 1)
					if took := time.Since(last); took != want || r.Err == nil || r.Attempts != n+1 {
						t.Errorf("%d: after %v, want %v: %+v", n+1, took, want, r)
					}
					if n > 0 && !before.Next.Equal(time.Now()) {
						t.Errorf("%d: it was announced for %v, and came at %v", n+1, before.Next, time.Now())
					}
					last = time.Now()
				}
				if err := os.Remove(obstacle); err != nil {
					t.Fatal(err)
				}
				w.succeeded(7)
			})
		})
	}
}

// Attempts that fail leave nothing: a disk that is full would get fuller.
func TestFailureLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		folder := filepath.Join(w.dir, "example.test")
		if err := os.MkdirAll(filepath.Join(folder, ".new-.current", "full"), 0o755); err != nil {
			t.Fatal(err)
		}
		runs(t, w.deployer().Run)
		if r := w.await(5); r.Err == nil {
			t.Errorf("%+v", r)
		}
		if seen, want := list(t, folder), []string{".new-.current"}; !slices.Equal(seen, want) {
			t.Errorf("there is %q, want %q", seen, want)
		}
	})
}

// Another process has written the files, and has not come to running the command.
func TestAnotherCrashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		d := w.deployer()
		d.Command = []string{"true"}
		runs(t, d.Run)
		w.succeeded(1)
		another := w.deployer()
		stop := runs(t, another.Run)
		time.Sleep(time.Second)
		w.renew("example.test")
		another.OnEvent(certmanager.Event{Kind: certmanager.EventObtained})
		w.succeeded(2)
		stop()
		time.Sleep(time.Minute)
		if n := w.count(); n != 3 {
			t.Fatalf("there are %d results, want 3: the command was not run", n)
		}
		w.succeeded(3)
	})
}

// A stalledStore is a storage that does not answer while it is stalled.
type stalledStore struct {
	storage.Memory
	stalled atomic.Bool
}

func (s *stalledStore) Load(ctx context.Context, key string) (storage.Item, error) {
	if s.stalled.Load() {
		<-ctx.Done()
		return storage.Item{}, ctx.Err()
	}
	return s.Memory.Load(ctx, key)
}

// That Run ends is no failure of what it was about to do.
func TestStoppedWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(stalledStore)
		w := newWorldOf(t, certmanager.Config{Names: numbered(3), MaxLoaded: 1, Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: store, Logger: slog.New(slog.DiscardHandler)})
		synctest.Wait()
		store.stalled.Store(true)
		stop := runs(t, w.deployer().Run)
		time.Sleep(time.Second)
		stop()
		for n := range w.count() {
			w.succeeded(n + 1)
		}
		if n := w.count(); n >= 3 {
			t.Errorf("there are %d results: no certificate was evicted", n)
		}
		store.stalled.Store(false)
	})
}

// The longest names have files as others do.
func TestLongNames(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 49)+".", 4)
	for oneFile, name := range map[bool]string{true: long + strings.Repeat("a", 49), false: long + strings.Repeat("a", 53)} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, name)
			d := w.deployer()
			d.OneFile, d.Command = oneFile, []string{"true"}
			runs(t, d.Run)
			r := w.succeeded(1)
			w.wantFiles(filepath.Base(r.Paths[0]), name)
		})
	}
}

// Folders above Dir are made so that others reach it, whatever the umask.
func TestFoldersAbove(t *testing.T) {
	umask(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		top := w.dir
		w.dir = filepath.Join(top, "above", "live")
		runs(t, w.deployer().Run)
		w.succeeded(1)
		w.wantFiles("example.test", "example.test")
		w.dir = top
		w.wantModes(map[string]fs.FileMode{".": 0o755, "above": 0o755, "above/live": 0o755})
		if seen, want := list(t, top), []string{"above"}; !slices.Equal(seen, want) {
			t.Errorf("there is %q, want %q", seen, want)
		}
	})
}

// More certificates change together than one variable has room for: several runs are for them.
func TestTogetherMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := numbered(80)
		w := newWorld(t, names...)
		d := w.deployer()
		d.Dir = filepath.Join(w.dir, strings.Repeat(strings.Repeat("long", 50)+"/", 9)) // 80 paths are more than 128 KiB
		d.Together, d.Command = true, []string{"true"}
		runs(t, d.Run)
		time.Sleep(time.Minute)
		var seen []string
		for n := range w.count() {
			seen = append(seen, w.succeeded(n+1).Names...)
		}
		if slices.Sort(seen); !slices.Equal(seen, names) {
			t.Errorf("the command was run for %q", seen)
		}
	})
}
