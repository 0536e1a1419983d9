//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/deploy"
	"github.com/everseal/everseal/storage"
)

// A world is a manager at work with a CA of its own, a folder that is deployed to, and what came of that.
type world struct {
	t       *testing.T
	config  certmanager.Config
	manager *certmanager.Manager
	dir     string

	mu      sync.Mutex
	results []deploy.Result
	woken   chan struct{} // closed and replaced with each result
}

// newWorld returns one whose names are served.
func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	config := certmanager.Config{Names: names, Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: new(storage.Memory), Logger: slog.New(slog.DiscardHandler)}
	return newWorldOf(t, config)
}

func newWorldOf(t *testing.T, config certmanager.Config) *world {
	t.Helper()
	w := &world{t: t, config: config, dir: filepath.Join(t.TempDir(), "live"), woken: make(chan struct{})}
	var err error
	if w.manager, err = certmanager.New(config); err != nil {
		t.Fatal(err)
	}
	runs(t, w.manager.Run)
	if err := w.manager.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// runs runs something until stop is called, or the test ends.
func runs(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// deployer returns one for the world, to be changed before it is run.
func (w *world) deployer() *deploy.Deployer {
	return &deploy.Deployer{Manager: w.manager, Dir: w.dir, Logger: slog.New(slog.DiscardHandler), OnResult: func(r deploy.Result) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.results = append(w.results, r)
		close(w.woken)
		w.woken = make(chan struct{})
	}}
}

// await returns the n-th result, from 1.
func (w *world) await(n int) deploy.Result {
	w.t.Helper()
	limit := time.NewTimer(time.Hour)
	defer limit.Stop()
	for {
		w.mu.Lock()
		results, woken := w.results, w.woken
		w.mu.Unlock()
		if len(results) >= n {
			return results[n-1]
		}
		select {
		case <-woken:
		case <-limit.C:
			w.t.Fatalf("there are %d results after an hour, want %d: %v", len(results), n, results)
		}
	}
}

// succeeded returns the n-th result, which has to be a success.
func (w *world) succeeded(n int) deploy.Result {
	w.t.Helper()
	r := w.await(n)
	if r.Err != nil {
		w.t.Fatalf("result %d: %v", n, r.Err)
	}
	return r
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.results)
}

func (w *world) renew(name string) {
	w.t.Helper()
	if err := w.manager.Renew(w.t.Context(), name); err != nil {
		w.t.Fatal(err)
	}
}

// served returns the leaf that the manager serves, in DER.
func (w *world) served(name string) string {
	w.t.Helper()
	c, ok := w.manager.Certificate(name)
	if !ok {
		w.t.Fatalf("%s is not served", name)
	}
	return string(c.Certificate[0])
}

// wantFiles fails the test unless the files of the path, a folder or one file, hold what is served for the name.
func (w *world) wantFiles(path, name string) {
	w.t.Helper()
	leaf, err := leafOf(filepath.Join(w.dir, path))
	if err != nil {
		w.t.Error(err)
	} else if leaf != w.served(name) {
		w.t.Errorf("the files of %s hold another certificate than is served", path)
	}
}

// leafOf returns the leaf that a folder or file has, whose key has to be there.
func leafOf(path string) (string, error) {
	var pair tls.Certificate
	if strings.HasSuffix(path, ".pem") {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if pair, err = tls.X509KeyPair(content, content); err != nil {
			return "", err
		}
		return string(pair.Certificate[0]), nil
	}
	// A program that opens both finds them by way of one link.
	chain, err := filepath.EvalSymlinks(filepath.Join(path, "fullchain.pem"))
	if err == nil {
		pair, err = tls.LoadX509KeyPair(chain, filepath.Join(filepath.Dir(chain), "privkey.pem"))
	}
	if err != nil {
		return "", err
	}
	return string(pair.Certificate[0]), nil
}

// wantModes fails the test unless the modes of the files are such, by their names.
func (w *world) wantModes(modes map[string]fs.FileMode) {
	w.t.Helper()
	for name, want := range modes {
		info, err := os.Stat(filepath.Join(w.dir, name))
		if err != nil {
			w.t.Error(err)
		} else if info.Mode().Perm() != want {
			w.t.Errorf("%s has the mode %v, want %v", name, info.Mode(), want)
		}
	}
}

// script writes a program of the shell, and returns its path.
func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "command")
	// While another test starts a program it may have the file open for writing (ETXTBSY): sh reads it.
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// lines returns what a file has, which may not be there.
func lines(t *testing.T, name string) []string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(content), func(r rune) bool { return r == '\n' })
}

// list returns the names in a folder, in order.
func list(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// umask sets a umask that leaves others nothing, until the test ends.
func umask(t *testing.T) {
	before := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(before) })
}

// numbered returns so many names.
func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("name%02d.test", i))
	}
	return slices.Clip(names)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
