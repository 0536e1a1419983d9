package certmanager_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// wantPanic checks that the error names what panicked, and that the log, at ERROR, has the stack with the function.
func wantPanic(t *testing.T, err error, text string, log *logs, function string) {
	t.Helper()
	if !errors.As(err, new(*acme.PanicError)) || !strings.Contains(err.Error(), text) {
		t.Errorf("the error is %v, want a panic: %q", err, text)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "level=ERROR") && strings.Contains(line, text) && strings.Contains(line, "stack=") && strings.Contains(line, function) {
			return
		}
	}
	t.Errorf("the log has no stack of %s: %s", function, log.String())
}

// TestOnDemandPanics has the policy panic with what would be a denial if it were returned.
func TestOnDemandPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		allowed := policy{}
		config := w.onDemand(&allowed)
		log := new(logs)
		config.Logger = log.logger()
		broken := true
		config.OnDemand = func(ctx context.Context, q certmanager.Question) error {
			if broken {
				panic(certmanager.ErrDenied)
			}
			return allowed.ask(ctx, q)
		}
		m, stop := w.running(config)
		defer stop()
		_, err := ask(t, m, "example.com")
		wantPanic(t, err, "Config.OnDemand panicked: certmanager: the name is not", log, "TestOnDemandPanics")
		if errors.Is(err, certmanager.ErrDenied) {
			t.Error("the panic counts as a denial")
		}
		broken = false
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Errorf("the panic is remembered as a denial: %v", err)
		}
	})
}

func TestIssuerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		ca.work = func(certmanager.Request) error { panic("no HSM") }
		config := w.issuedBy([]certmanager.Issuer{ca}, "example.com")
		log := new(logs)
		config.Logger = log.logger()
		_, stop := w.start(config)
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		wantPanic(t, failed.Err, "Issuer.Issue panicked: no HSM", log, "TestIssuerPanics")
		ca.change(func(ca *localCA) { ca.work = nil })
		w.await(certmanager.EventObtained, "example.com", 1)
	})
}

// A panickingSolver is a solver one of whose methods panics.
type panickingSolver struct {
	acme.Solver
	method string
}

func (s panickingSolver) panicIn(method string) {
	if s.method == method {
		panic("no zone")
	}
}

func (s panickingSolver) Present(ctx context.Context, p acme.Proof) error {
	s.panicIn("Present")
	return s.Solver.Present(ctx, p)
}

func (s panickingSolver) CleanUp(ctx context.Context, p acme.Proof) error {
	s.panicIn("CleanUp")
	return s.Solver.CleanUp(ctx, p)
}

func (s panickingSolver) Wait(context.Context, acme.Proof) error {
	s.panicIn("Wait")
	return nil
}

func (s panickingSolver) Supports(acme.Identifier, bool) bool {
	s.panicIn("Supports")
	return true
}

// TestSolverPanics has the first solver panic: the next one proves control, and the log has the stack.
func TestSolverPanics(t *testing.T) {
	for _, method := range []string{"Present", "Wait", "Supports", "CleanUp"} {
		t.Run(method, func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				config := w.config("example.com")
				config.Solvers = []acme.Solver{panickingSolver{newDNS01(w.ca), method}}
				config.Preflight = certmanager.PreflightOff
				log := new(logs)
				config.Logger = log.logger()
				_, stop := w.start(config)
				defer stop()
				began := time.Now()
				w.await(certmanager.EventObtained, "example.com", 1)
				if took := time.Since(began); took > 5*time.Minute {
					t.Errorf("it took %v", took)
				}
				var event certmanager.Event
				if method == "CleanUp" {
					event = w.await(certmanager.EventWarning, "example.com", 1)
				} else {
					event = w.await(certmanager.EventFailed, "example.com", 1)
				}
				wantPanic(t, event.Err, method+" panicked: no zone", log, "panickingSolver."+method)
			})
		})
	}
}

// A panickingIssuer panics in the optional method of that name; in Supports from the second call on, for New makes the first.
type panickingIssuer struct {
	*localCA
	method string

	mu    sync.Mutex
	calls int
}

func (i *panickingIssuer) panicIn(method string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.method != method {
		return
	}
	if i.calls++; method != "Supports" || i.calls > 1 {
		panic("no HSM")
	}
}

func (i *panickingIssuer) Supports(certmanager.Request) error { i.panicIn("Supports"); return nil }
func (i *panickingIssuer) Solvers() []acme.Solver             { i.panicIn("Solvers"); return nil }
func (i *panickingIssuer) CloseIdleConnections()              { i.panicIn("CloseIdleConnections") }

// TestIssuersOptionalMethodsPanic has the first issuer panic in a method that it need not have: the process goes on, the
// certificate comes from this one or the next, and the log has the stack.
func TestIssuersOptionalMethodsPanic(t *testing.T) {
	for _, method := range []string{"Supports", "Solvers", "CloseIdleConnections"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				config := w.issuedBy([]certmanager.Issuer{&panickingIssuer{localCA: newLocalCA(t, "first"), method: method}, newLocalCA(t, "second")}, "example.com")
				log := new(logs)
				config.Logger = log.logger()
				_, stop := w.start(config)
				obtained := w.await(certmanager.EventObtained, "example.com", 1)
				if isSecond := obtained.Issuer == "second"; isSecond != (method == "Solvers") {
					t.Errorf("the certificate is of the %s issuer", obtained.Issuer)
				}
				stop()
				for _, word := range []string{"level=ERROR", "Issuer." + method + " panicked: no HSM", "stack=", "panickingIssuer"} {
					if !strings.Contains(log.String(), word) {
						t.Errorf("the log lacks %q: %s", word, log)
					}
				}
			})
		})
	}
}

// TestBindPanics has New report the panic.
func TestBindPanics(t *testing.T) {
	log := new(logs)
	_, err := certmanager.New(certmanager.Config{Storage: new(storage.Memory), Logger: log.logger(), Issuers: []certmanager.Issuer{bindingCA{newLocalCA(t, "local")}}})
	wantPanic(t, err, "Issuer.Bind panicked: no HSM", log, "bindingCA")
}

// A bindingCA panics when it is bound.
type bindingCA struct{ *localCA }

func (bindingCA) Bind(certmanager.Services) (certmanager.Issuer, error) { panic("no HSM") }

// A breakingSolver panics in the method of that name once it is broken.
type breakingSolver struct {
	panickingSolver
	broken *atomic.Bool
}

func (s breakingSolver) Type() string {
	if s.broken.Load() {
		s.panicIn("Type")
	}
	return s.Solver.Type()
}

func (s breakingSolver) Present(ctx context.Context, p acme.Proof) error {
	if s.broken.Load() {
		s.panicIn("Present")
	}
	return s.Solver.Present(ctx, p)
}

func (s breakingSolver) CleanUp(ctx context.Context, p acme.Proof) error {
	if s.broken.Load() {
		s.panicIn("CleanUp")
	}
	return s.Solver.CleanUp(ctx, p)
}

// TestSolverPanicsBeforeRenewal has the solver panic when it is to show whether a name still leads here.
func TestSolverPanicsBeforeRenewal(t *testing.T) {
	for _, method := range []string{"Type", "Present", "CleanUp"} {
		t.Run(method, func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				var allowed policy
				config, broken := w.onDemand(&allowed), new(atomic.Bool)
				answering := &solver.TLSALPN01{Storage: w.store}
				config.Solvers = []acme.Solver{breakingSolver{panickingSolver{answering, method}, broken}}
				log := new(logs)
				config.Logger = log.logger()
				m, stop := w.running(config)
				defer stop()
				if _, err := w.handshake(t.Context(), "example.com"); err != nil {
					t.Fatal(err)
				}
				broken.Store(true)
				time.Sleep(time.Until(statusOf(t, m, "example.com").Next) + time.Hour)
				if text := log.String(); !strings.Contains(text, "Solver."+method+" panicked: no zone") || !strings.Contains(text, "stack=") {
					t.Errorf("the log lacks the panic in %s: %s", method, text)
				}
			})
		})
	}
}
