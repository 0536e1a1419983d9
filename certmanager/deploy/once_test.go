//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Deploy does what is due, and nothing if nothing is; what has failed is due at the next call.
func TestDeploy(t *testing.T) {
	for name, together := range map[string]bool{"each": false, "together": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a.example.test", "b.example.test")
				log, works := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "works")
				d := w.deployer()
				d.Command = []string{"sh", script(t, `echo "$RENEWED_DOMAINS" >>"$1"; test -e "$2"`), log, works}
				d.Together = together
				began := time.Now()
				for call := 1; call <= 2; call++ {
					err := d.Deploy(t.Context())
					if runs := len(lines(t, log)); err == nil || !strings.Contains(err.Error(), "exit status 1") || runs != w.count() {
						t.Fatalf("call %d: %v after %d runs and %d results", call, err, runs, w.count())
					}
				}
				w.wantFiles("a.example.test", "a.example.test")
				w.wantFiles("b.example.test", "b.example.test")
				if err := os.WriteFile(works, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := d.Deploy(t.Context()); err != nil {
					t.Fatal(err)
				}
				want := map[bool]int{false: 6, true: 3}[together]
				for range 2 { // nothing is due
					if err := d.Deploy(t.Context()); err != nil || len(lines(t, log)) != want {
						t.Errorf("%v after %q, want %d runs", err, lines(t, log), want)
					}
				}
				w.renew("b.example.test")
				if err := d.Deploy(t.Context()); err != nil || len(lines(t, log)) != want+1 || lines(t, log)[want] != "b.example.test" {
					t.Errorf("%v after %q", err, lines(t, log))
				}
				w.wantFiles("b.example.test", "b.example.test")
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// While another process is at work in the folder Deploy waits, for a minute, or until the context ends.
func TestDeployBesideAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		d := w.deployer()
		unlock := lock(t, w.dir)
		began := time.Now()
		if err := d.Deploy(t.Context()); err == nil || !strings.Contains(err.Error(), "another process deploys in it") || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := d.Deploy(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.AfterFunc(30*time.Second, unlock)
		if err := d.Deploy(t.Context()); err != nil {
			t.Error(err)
		}
		w.wantFiles("example.test", "example.test")
	})
}
