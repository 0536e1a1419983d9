package certmanager_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
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

// The storage that takes no answer lets none be taken away either: its cause is told once, and that of another failure too.
func TestStorageThatTakesNoAnswerIsToldOnce(t *testing.T) {
	for name, test := range map[string]struct {
		faults []storagetest.Fault
		ends   string
	}{
		"full": {[]storagetest.Fault{{Prefix: "challenges", Err: errDisk}},
			`store the answer for "example.com": the storage fails: no space left on device; if it was published all the same, it still is`},
		"for two reasons": {[]storagetest.Fault{{On: storagetest.Save, Prefix: "challenges", Err: errDisk}, {Prefix: "challenges", Err: errClosed}},
			`store the answer for "example.com": the storage fails: no space left on device; if it was published all the same, it still is: clean up the answer for "example.com": the storage fails: ` + errClosed.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				s, config := &storagetest.Faulty{Store: w.store}, w.config("example.com")
				s.SetFaults(test.faults...)
				config.Storage, config.Preflight = s, certmanager.PreflightOff
				_, stop := w.start(config)
				text := w.await(certmanager.EventFailed, "example.com", 1).Err.Error()
				stop()
				if !strings.HasSuffix(text, test.ends) {
					t.Errorf("the failure is %q, want one that ends with %q", text, test.ends)
				}
				if strings.Count(text, errDisk.Error()) != 1 || strings.Count(text, "it still is") != 1 {
					t.Errorf("said twice: %q", text)
				}
			})
		})
	}
}
