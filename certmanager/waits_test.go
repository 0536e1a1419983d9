package certmanager_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// requireLine fails the test unless one line of what is logged has the text, at level INFO, and all of the parts.
func requireLine(t *testing.T, l *logs, text string, parts ...string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "level=INFO") {
		t.Errorf("%d lines of the log say %q, want one at INFO: %q", len(lines), text, lines)
		return
	}
	for _, part := range parts {
		if !strings.Contains(lines[0], part) {
			t.Errorf("%q is not in the line %q", part, lines[0])
		}
	}
}

// A manager says that it waits for another that has the lease, and for what where that takes too long.
func TestWaitForLeaseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lease, err := storage.Acquire(t.Context(), w.store, w.workKey("example.com"), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var l logs
		config := w.config("example.com")
		config.Logger = l.logger()
		m, stop := w.start(config)
		defer stop()
		time.Sleep(2 * time.Second)
		requireLine(t, &l, "another process", "example.com", "lease="+w.workKey("example.com"))
		time.Sleep(30 * time.Minute)
		requireLine(t, &l, "another process", "example.com")
		status := statusOf(t, m, "example.com")
		if !strings.Contains(status.Deferred, "another process") || status.Failure != nil || time.Until(status.Next) > 15*time.Second {
			t.Errorf("status %+v", status)
		}
		if n := w.count(certmanager.EventFailed); n != 0 {
			t.Errorf("%d failures are told while another process works", n)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.await(certmanager.EventObtained, "example.com", 1)
	})
}

// Who does not wait says nothing.
func TestNoWaitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var l logs
		config := w.config("example.com")
		config.Logger = l.logger()
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		if strings.Contains(l.String(), "wait") {
			t.Errorf("logged is %s", l.String())
		}
	})
}

// The waits of solvers are told to the manager's logger.
func TestWaitForAnotherOrderIsTold(t *testing.T) {
	for name, solvers := range map[string][]acme.Solver{"built in": nil, "given": {new(solver.TLSALPN01)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				other := acme.Proof{
					Challenge:        acme.Challenge{Type: acme.TypeTLSALPN01, Token: "token"},
					Identifier:       acme.Identifier{Type: acme.TypeDNS, Value: "example.com"},
					KeyAuthorization: "token.account",
					DirectoryURL:     "https://other.example/directory",
				}
				if err := (&solver.TLSALPN01{Storage: w.store}).Present(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				var l logs
				config := w.config("example.com")
				config.Logger, config.Solvers = l.logger(), solvers
				_, stop := w.start(config)
				defer stop()
				time.Sleep(time.Minute)
				requireLine(t, &l, "waits until that of another order", "example.com", "holder=https://other.example/directory")
				w.await(certmanager.EventObtained, "example.com", 1)
			})
		})
	}
}

// pausingProvider has the methods of lego's providers, version 5.
type pausingProvider struct{ *dns01 }

func legoProof(domain, keyAuth string) acme.Proof {
	return acme.Proof{Identifier: acme.Identifier{Value: domain}, KeyAuthorization: keyAuth}
}

func (p pausingProvider) Present(ctx context.Context, domain, _, keyAuth string) error {
	return p.dns01.Present(ctx, legoProof(domain, keyAuth))
}

func (p pausingProvider) CleanUp(ctx context.Context, domain, _, keyAuth string) error {
	return p.dns01.CleanUp(ctx, legoProof(domain, keyAuth))
}

func (pausingProvider) Sequential() time.Duration { return time.Minute }

func TestPauseBetweenRecordsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lego := solver.LegoV5(pausingProvider{newDNS01(w.ca)})
		lego.Propagation.Off = true
		var l logs
		config := w.config()
		config.Subjects = []certmanager.Subject{{Names: []string{"*.example.com", "*.example.org"}}}
		config.Logger, config.Solvers, config.Preflight = l.logger(), []acme.Solver{lego}, certmanager.PreflightOff
		_, stop := w.start(config)
		defer stop()
		time.Sleep(30 * time.Second)
		requireLine(t, &l, "waits for the pause", "pause=1m0s", "example.")
		w.await(certmanager.EventObtained, "*.example.com", 1)
		requireLine(t, &l, "waits for the pause")
		if lego.Logger != nil {
			t.Error("the solver that was given is changed")
		}
	})
}
