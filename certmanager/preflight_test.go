package certmanager_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
)

// inBubbleWorld runs f with a world in a bubble.
func inBubbleWorld(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

// TestPreflightWarns has this process see no such name where the CA sees one: it says so once, and learns
// that from here nothing is to be seen.
func TestPreflightWarns(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		w.zones.remove("example.com")
		m, stop := w.start(w.config("example.com"))
		defer stop()
		warning := w.await(certmanager.EventWarning, "example.com", 1)
		if len(warning.Diagnoses) != 1 || warning.Diagnoses[0].Cause != diagnose.CauseNoAddress {
			t.Errorf("diagnoses %v", warning.Diagnoses)
		}
		for _, word := range []string{"example.com does not resolve", "register the name"} {
			if !strings.Contains(warning.Err.Error(), word) {
				t.Errorf("the warning %q does not say %q", warning.Err, word)
			}
		}
		w.await(certmanager.EventObtained, "example.com", 1)
		if learnt := w.await(certmanager.EventWarning, "example.com", 2); !strings.Contains(learnt.Err.Error(), "no more preflight") {
			t.Errorf("the second warning is %v", learnt.Err)
		}
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := w.count(certmanager.EventWarning); n != 2 {
			t.Errorf("%d warnings, want 2", n)
		}
	})
}

// What looks wrong for one name says nothing of others, nor of other types of challenge.
func TestPreflightLearnsByName(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		w.zones.remove("odd.example.com")
		m, stop := w.start(w.config("odd.example.com", "even.example.com"))
		defer stop()
		w.await(certmanager.EventObtained, "even.example.com", 1)
		w.await(certmanager.EventObtained, "odd.example.com", 1)
		w.await(certmanager.EventWarning, "odd.example.com", 2)
		w.zones.remove("even.example.com")
		for _, name := range []string{"odd.example.com", "even.example.com"} {
			if err := m.Renew(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		warning := w.await(certmanager.EventWarning, "even.example.com", 1)
		if len(warning.Diagnoses) != 1 || warning.Diagnoses[0].Cause != diagnose.CauseNoAddress {
			t.Errorf("the fault of another name is not seen: %v", warning.Err)
		}
		if learnt := w.await(certmanager.EventWarning, "even.example.com", 2); !strings.Contains(learnt.Err.Error(), " for even.example.com: the CA validated") {
			t.Errorf("the second warning is %v", learnt.Err)
		}
		synctest.Wait()
		if n := w.count(certmanager.EventWarning); n != 4 {
			t.Errorf("%d warnings, want two of each", n)
		}
	})
}

func TestPreflightRequires(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		w.zones.remove("example.com")
		config := w.config("example.com")
		config.Preflight = certmanager.PreflightRequire
		_, stop := w.start(config)
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if len(failed.Diagnoses) != 1 || failed.Diagnoses[0].Cause != diagnose.CauseNoAddress || !strings.Contains(failed.Err.Error(), "register the name") {
			t.Errorf("failed with %v, diagnoses %v", failed.Err, failed.Diagnoses)
		}
		if n := w.ca.Requests()["challenge"]; n != 0 {
			t.Errorf("the CA was asked to validate %d times", n)
		}
	})
}

func TestPreflightOff(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		config := w.config("example.com", "example.net")
		config.Preflight = certmanager.PreflightOff
		config.Vantage = diagnose.Vantage{} // to look would leave the bubble
		w.ca.FailValidations("example.net", 1)
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		if failed := w.await(certmanager.EventFailed, "example.net", 1); failed.Diagnoses != nil {
			t.Errorf("diagnoses %v", failed.Diagnoses)
		}
		if n := w.count(certmanager.EventWarning); n != 0 {
			t.Errorf("%d warnings", n)
		}
	})
}

// TestFailureIsDiagnosed has the CA fail for what this process sees too.
func TestFailureIsDiagnosed(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		w.zones.remove("example.com")
		w.ca.FailValidations("example.com", 1)
		config := w.config("example.com")
		log := new(logs)
		config.Logger = log.logger()
		m, stop := w.start(config)
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		var unproved *acme.AuthorizationError
		if !errors.As(failed.Err, &unproved) || unproved.ChallengeType != acme.TypeTLSALPN01 {
			t.Errorf("the error %v holds no AuthorizationError", failed.Err)
		}
		if len(failed.Diagnoses) != 1 || failed.Diagnoses[0].Cause != diagnose.CauseNoAddress {
			t.Fatalf("diagnoses %v", failed.Diagnoses)
		}
		diagnosis := failed.Diagnoses[0]
		synctest.Wait()
		for _, text := range []string{failed.Err.Error(), statuses(m)[0].Failure.Err.Error(), log.String()} {
			if !strings.Contains(text, diagnosis.Reason) || !strings.Contains(text, diagnosis.Cure) {
				t.Errorf("%q lacks the cause %q or the cure %q", text, diagnosis.Reason, diagnosis.Cure)
			}
		}
	})
}

// A mute is a solver of http-01 that presents nothing.
type mute struct {
	mu     sync.Mutex
	proofs []acme.Proof
}

func (*mute) Type() string { return acme.TypeHTTP01 }

func (s *mute) Present(_ context.Context, p acme.Proof) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proofs = append(s.proofs, p)
	return nil
}

func (*mute) CleanUp(context.Context, acme.Proof) error { return nil }

func (s *mute) presented() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.proofs)
}

// TestAnotherTypeAfterAFailure fails by the first solver, and succeeds by the next one that can.
func TestAnotherTypeAfterAFailure(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		first := new(mute)
		config := w.config("example.com")
		// The second is for names that are not there: it must not count as a way that was tried.
		config.Solvers = []acme.Solver{first, onlyFor{newDNS01(w.ca), "example.org"}}
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 1)
		w.await(certmanager.EventObtained, "example.com", 1)
		if n := w.count(certmanager.EventFailed); n != 1 || first.presented() != 1 {
			t.Errorf("%d failures, %d answers by the first solver, want 1 each", n, first.presented())
		}
	})
}

// onlyFor is a solver for one name.
type onlyFor struct {
	acme.Solver
	name string
}

func (s onlyFor) Supports(id acme.Identifier, _ bool) bool { return id.Value == s.name }

func TestSolversOfASubject(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		general := new(mute)
		config := w.config("example.com")
		config.Solvers = []acme.Solver{general}
		config.Subjects = []certmanager.Subject{{Names: []string{"*.example.net", "example.net"}, Solvers: []acme.Solver{newDNS01(w.ca)}}}
		_, stop := w.start(config)
		defer stop()
		obtained := w.await(certmanager.EventObtained, "*.example.net", 1)
		if !slices.Contains(obtained.Names, "example.net") {
			t.Errorf("names %q", obtained.Names)
		}
		w.await(certmanager.EventFailed, "example.com", 1)
		general.mu.Lock()
		defer general.mu.Unlock()
		for _, p := range general.proofs {
			if p.Identifier.Value != "example.com" {
				t.Errorf("the Config's solver answered for %s", p.Identifier)
			}
		}
	})
}

func TestSubjectsWithBadSolvers(t *testing.T) {
	for name, subject := range map[string]certmanager.Subject{
		"nil":                 {Names: []string{"example.com"}, Solvers: []acme.Solver{nil}},
		"none for a wildcard": {Names: []string{"*.example.com"}, Solvers: []acme.Solver{new(solver.HTTP01)}},
	} {
		_, err := certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: "https://ca.example/"}}, Solvers: []acme.Solver{&solver.DNS01{Provider: &solver.Exec{Path: "true"}}}, Subjects: []certmanager.Subject{subject}})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: "https://ca.example/"}}, Preflight: "perhaps"}); err == nil || !strings.Contains(err.Error(), `"require"`) {
		t.Errorf("a Preflight that is none: %v", err)
	}
}

// TestAllFailuresAreDiagnosed has several names of one certificate fail, once for good and once put back to be
// accepted again. Each is diagnosed, in the time of one.
func TestAllFailuresAreDiagnosed(t *testing.T) {
	putBack := acmetest.Edit(func(r *acmetest.Response) {
		r.Body = bytes.ReplaceAll(r.Body, []byte(`"invalid"`), []byte(`"pending"`))
	})
	for about, faults := range map[string][]acmetest.Fault{
		"over":     nil,
		"put back": {acmetest.On("challenge", putBack), acmetest.On("authorization", putBack), acmetest.On("order", putBack)},
	} {
		t.Run(about, func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				names := siteNames(13)
				for _, name := range names[1:] {
					w.zones.remove(name)
					w.ca.FailValidations(name, 1)
				}
				w.ca.SetFaults(faults...)
				config := w.config()
				config.Subjects = []certmanager.Subject{{Names: names}}
				_, stop := w.start(config)
				defer stop()
				failed := w.await(certmanager.EventFailed, names[0], 1)
				var diagnosed []string
				for _, diagnosis := range failed.Diagnoses {
					diagnosed = append(diagnosed, diagnosis.Identifier)
					if diagnosis.Cause != diagnose.CauseNoAddress || !strings.Contains(failed.Err.Error(), diagnosis.Reason) {
						t.Errorf("%s: cause %q, and the error is %v", diagnosis.Identifier, diagnosis.Cause, failed.Err)
					}
				}
				slices.Sort(diagnosed)
				const most = 10
				if len(slices.Compact(diagnosed)) != most || slices.Contains(diagnosed, names[0]) {
					t.Errorf("%q were diagnosed, want %d of those that failed; the error is %v", diagnosed, most, failed.Err)
				}
			})
		})
	}
}
