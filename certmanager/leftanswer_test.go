package certmanager_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// A refusingDNS01 fails at some of its methods.
type refusingDNS01 struct {
	*dns01
	fails string
}

func (s refusingDNS01) failure(method string) error {
	if strings.Contains(s.fails, method) {
		return errors.New("no " + method)
	}
	return nil
}

func (s refusingDNS01) Present(context.Context, acme.Proof) error { return s.failure("create") }
func (s refusingDNS01) Wait(context.Context, acme.Proof) error    { return s.failure("wait") }
func (s refusingDNS01) CleanUp(context.Context, acme.Proof) error { return s.failure("delete") }

// What could not be published, and could not be taken away either, is told once. What was published is warned of.
func TestAnswerLeftIsTold(t *testing.T) {
	for fails, want := range map[string]struct {
		failure  string
		warnings int
	}{
		"create":         {": no create", 0},
		"create, delete": {": no create; if it was published all the same, it still is: no delete", 0},
		"wait, delete":   {": no wait", 1},
	} {
		t.Run(fails, func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				config := w.config()
				config.Subjects = []certmanager.Subject{{Names: []string{"*.example.com"}}}
				config.Preflight, config.Solvers = certmanager.PreflightOff, []acme.Solver{refusingDNS01{newDNS01(w.ca), fails}}
				_, stop := w.start(config)
				failed := w.await(certmanager.EventFailed, "*.example.com", 1)
				stop()
				if !strings.HasSuffix(failed.Err.Error(), want.failure) || !errors.As(failed.Err, new(*acme.SolverError)) {
					t.Errorf("the failure is %v, want one that ends with %q", failed.Err, want.failure)
				}
				if n := w.count(certmanager.EventWarning); n != want.warnings {
					t.Errorf("%d warnings, want %d", n, want.warnings)
				}
			})
		})
	}
}
