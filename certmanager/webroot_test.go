package certmanager_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
)

// serveRoots has servers of their own on port 80 of each name, with a document root below dir.
func (w *world) serveRoots(dir string, names ...string) (stop func()) {
	port80 := newPipeListener()
	hosts := http.NewServeMux()
	for _, name := range names {
		hosts.Handle(name+"/", http.FileServerFS(os.DirFS(dir+"/"+name)))
	}
	server := &http.Server{Handler: hosts}
	var group sync.WaitGroup
	group.Go(func() { _ = server.Serve(port80) })
	w.ca.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":80") {
			return port80.dial(ctx)
		}
		return w.dial(ctx)
	}
	return func() {
		server.Close()
		group.Wait()
	}
}

// A manager leaves the answers to another server: it waits for no handler or listener of its own, warns of
// nothing, and puts the answers for each subject where its Solvers say.
func TestWebroot(t *testing.T) {
	for _, preflight := range []certmanager.Preflight{certmanager.PreflightOff, certmanager.PreflightRequire} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			names := []string{"example.com", "example.org"}
			w := newWorld(t)
			defer w.serveRoots(dir, names...)()
			config := w.config()
			config.Preflight, config.Vantage = preflight, w.zones.vantage(w.ca.Dial)
			for _, name := range names {
				root := dir + "/" + name
				if err := os.Mkdir(root, 0o755); err != nil {
					t.Fatal(err)
				}
				config.Subjects = append(config.Subjects, certmanager.Subject{Names: []string{name}, Solvers: []acme.Solver{&solver.Webroot{Dir: root}}})
			}
			m, err := certmanager.New(config)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			group.Go(func() { _ = m.Run(ctx) })
			for _, name := range names {
				w.await(certmanager.EventObtained, name, 1)
			}
			cancel()
			group.Wait()
			if n := w.count(certmanager.EventFailed) + w.count(certmanager.EventWarning); n != 0 {
				t.Errorf("%d failures and warnings: %v", n, w.events)
			}
			for _, name := range names {
				if left, err := os.ReadDir(dir + "/" + name); err != nil || len(left) != 0 {
					t.Errorf("in the document root of %s there is %v, %v", name, left, err)
				}
			}
		})
	}
}

// A document root that is not there is a failure that says so, and no warning beside it.
func TestWebrootIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		config.Solvers = []acme.Solver{&solver.Webroot{Dir: t.TempDir() + "/nowhere"}}
		_, stop := w.start(config)
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if !strings.Contains(failed.Err.Error(), "/nowhere: no such file or directory: set it to the document root") {
			t.Errorf("the error is %v", failed.Err)
		}
		if n := w.count(certmanager.EventWarning); n != 0 {
			t.Errorf("%d warnings: %v", n, w.events)
		}
	})
}

// A program that is not there any more is said once, and not before it that answers may still be in place. One that never was
// is refused by New.
func TestProgramIsMissing(t *testing.T) {
	program := filepath.Join(t.TempDir(), "edit-zone")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		config.Subjects = []certmanager.Subject{{Names: []string{"example.com", "*.example.com"}}}
		config.Solvers = []acme.Solver{&solver.DNS01{Provider: &solver.Exec{Path: program}, Zone: "example.com"}}
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(program); err != nil {
			t.Fatal(err)
		}
		defer w.run(m)()
		failed := w.await(certmanager.EventFailed, "*.example.com", 1)
		if !strings.Contains(failed.Err.Error(), "edit-zone: no such file or directory") {
			t.Errorf("the error is %v", failed.Err)
		}
		if n := w.count(certmanager.EventWarning); n != 0 {
			t.Errorf("%d warnings: %v", n, w.events)
		}
	})
}
