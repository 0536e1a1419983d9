package certmanager

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/storage"
)

// A scriptedIssuer does what its function does, and counts.
type scriptedIssuer struct {
	issue func(context.Context, Request) error

	mu    sync.Mutex
	asked int
}

func (*scriptedIssuer) ID() string { return "scripted" }

func (s *scriptedIssuer) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	if err := s.issue(ctx, r); err != nil {
		return nil, err
	}
	return new(acme.Certificate), nil
}

func (s *scriptedIssuer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// askAll has n names ask the issuer at once, and again when they are told to, until they have a certificate or the
// time is over. It returns how many have one.
func askAll(ctx context.Context, g *gatedIssuer, n int) int {
	var group sync.WaitGroup
	var mu sync.Mutex
	issued := 0
	for range n {
		group.Go(func() {
			for ctx.Err() == nil {
				_, err := g.issue(ctx, Request{Record: func(context.Context, []byte) error { return nil }}, time.Time{}, func() {})
				next, deferred := g.defers(err, time.Time{})
				switch {
				case err == nil:
					mu.Lock()
					issued++
					mu.Unlock()
					return
				case !deferred:
					next = time.Now().Add(time.Second)
				}
				select {
				case <-time.After(time.Until(next)):
				case <-ctx.Done():
				}
			}
		})
	}
	group.Wait()
	return issued
}

// TestThousandNamesOfAnIssuerThatIsDown counts what an outage of an hour costs the issuer, from the start of the process
// and later, and how soon all have a certificate after it.
func TestThousandNamesOfAnIssuerThatIsDown(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(ctx context.Context) error
		most  int // requests in the hour
	}{
		{"refused connections", func(context.Context) error { return &net.OpError{Op: "dial", Err: errors.New("connection refused")} }, 8 + 60},
		{"503", func(context.Context) error { return &acme.Problem{Status: 503} }, 8 + 60},
		{"unavailable", func(context.Context) error { return &UnavailableError{Err: errors.New("no HSM")} }, 8 + 60},
		{"503 with Retry-After", func(context.Context) error { return &acme.Problem{Status: 503, RetryAfter: 10 * time.Minute} }, 8 + 6},
		// Within its first ten seconds all have been let in, for want of a word.
		{"hanging", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 1000 + 60},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				repaired := time.Now().Add(time.Hour)
				issuer := &scriptedIssuer{issue: func(ctx context.Context, _ Request) error {
					if time.Now().Before(repaired) {
						ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
						defer cancel()
						return test.fails(ctx)
					}
					return nil
				}}
				g := boundAlone(t, issuer, Services{Storage: new(storage.Memory)})
				hour, cancel := context.WithDeadline(t.Context(), repaired.Add(-time.Second))
				defer cancel()
				if n := askAll(hour, g, 1000); n != 0 || issuer.count() > test.most {
					t.Errorf("%d certificates, the issuer was asked %d times in an hour; want 0, at most %d", n, issuer.count(), test.most)
				}
				soon, cancel := context.WithTimeout(t.Context(), 11*time.Minute)
				defer cancel()
				if n := askAll(soon, g, 1000); n != 1000 {
					t.Errorf("%d certificates after the outage, want 1000", n)
				}
			})
		})
	}
}

// TestIssuerThatFailsAgainAndAgain has an issuer fail and answer by turns, each hour for 39 days: each turn is an event, and the
// log has two a day of each kind, and some at the beginning.
func TestIssuerThatFailsAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails error
		issuer := &scriptedIssuer{issue: func(context.Context, Request) error { return fails }}
		g := boundAlone(t, issuer, Services{Storage: new(storage.Memory)})
		told, lines, kept, quiet := make(map[EventKind]int), make(map[EventKind]int), 0, false
		g.emit = func(_ context.Context, e Event) {
			told[e.Kind]++
			kept += e.similar
			if e.Kind == EventAvailable && e.quiet != quiet {
				t.Error("the log has the end of what it has not, or not that of what it has")
			}
			if quiet = e.quiet; !quiet {
				lines[e.Kind]++
			}
		}
		const turns = 39 * 24
		for turn := range turns {
			fails = nil
			if turn%2 == 0 {
				fails = &UnavailableError{Err: errors.New("no HSM")}
			}
			_, _ = g.issue(t.Context(), Request{}, time.Time{}, func() {})
			time.Sleep(time.Hour)
		}
		down, up := lines[EventUnavailable], lines[EventAvailable]
		if told[EventUnavailable] != turns/2 || told[EventAvailable] != turns/2 || down < 30 || down > 90 || up > 90 || down+kept < turns/2-24 {
			t.Errorf("events %v, of which the log has %v, and tells of %d more", told, lines, kept)
		}
	})
}

// TestGateLearns has an issuer fail in ways that concern one name, or all, and asks whether another name may go on.
func TestGateLearns(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	refusal := &acme.Problem{Type: acme.ErrUnauthorized, Status: 403}
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		want time.Duration // that the gate is closed for, at least; 0: open
	}{
		{"nothing", nil, nil, 0},
		{"a plain error", nil, errors.New("not for you"), 0},
		{"a refusal of the name", nil, &acme.Problem{Type: acme.ErrRejectedIdentifier, Status: 400}, 0},
		{"a solver's network", nil, &acme.SolverError{Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, 0},
		{"a failing storage", nil, storageError{&net.OpError{Op: "dial", Err: errors.New("refused")}}, 0},
		{"the end of Run", canceled, &UnavailableError{Err: refusal}, 0},
		{"an outage", nil, &acme.Problem{Type: acme.ErrServerInternal, Status: 500}, 10 * time.Second},
		{"a timeout", nil, context.DeadlineExceeded, 10 * time.Second},
		{"an outage of the account's", nil, &UnavailableError{Err: &acme.Problem{Status: 502}}, 10 * time.Second},
		{"a busy server", nil, &UnavailableError{Err: &acme.Problem{Type: acme.ErrRateLimited, Status: 503, RetryAfter: time.Second}}, 10 * time.Second},
		{"a limit, of a busy server", nil, &UnavailableError{Err: &acme.Problem{Type: acme.ErrRateLimited, Status: 503, RetryAfter: 3 * time.Hour}}, 3 * time.Hour},
		{"a limit of the account", nil, &UnavailableError{Err: &acme.Problem{Type: acme.ErrRateLimited, Status: 429, RetryAfter: 3 * time.Hour}}, 3 * time.Hour},
		{"its own word on when", nil, &UnavailableError{Err: refusal, RetryAfter: 5 * time.Hour}, 5 * time.Hour},
		{"an outage of a week", nil, &UnavailableError{RetryAfter: 7 * 24 * time.Hour}, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := test.ctx
				if ctx == nil {
					ctx = t.Context()
				}
				g := boundAlone(t, &scriptedIssuer{issue: func(context.Context, Request) error { return test.err }}, Services{Storage: new(storage.Memory)})
				if _, err := g.issue(ctx, Request{}, time.Time{}, func() {}); !errors.Is(err, test.err) {
					t.Errorf("the error is %v, want %v", err, test.err)
				}
				closed, ok := errors.AsType[*gate.ClosedError](g.closed(time.Time{}))
				switch {
				case ok != (test.want > 0):
					t.Errorf("the gate: %v", g.closed(time.Time{}))
				case ok && time.Until(closed.Until) != test.want:
					t.Errorf("closed for %v, want %v", time.Until(closed.Until), test.want)
				}
			})
		})
	}
}

// TestRefusalsOfAllBackOff has the waits grow, and an answer end that.
func TestRefusalsOfAllBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		g := boundAlone(t, &scriptedIssuer{issue: func(context.Context, Request) error { return err }}, Services{Storage: new(storage.Memory)})
		for _, least := range []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour} {
			err = &UnavailableError{Err: &acme.TermsError{}}
			_, _ = g.issue(t.Context(), Request{}, time.Time{}, func() {})
			closed, ok := errors.AsType[*gate.ClosedError](g.closed(time.Time{}))
			if !ok || time.Until(closed.Until) < least || time.Until(closed.Until) > least*5/4 {
				t.Fatalf("%+v, want one for %v and a quarter of it at most", closed, least)
			}
			if _, refused := g.issue(t.Context(), Request{}, time.Time{}, func() {}); !errors.As(refused, new(*acme.TermsError)) || !errors.As(refused, new(*gate.ClosedError)) {
				t.Errorf("the error for others is %v", refused)
			}
			time.Sleep(time.Until(closed.Until))
		}
		err = nil
		if _, err := g.issue(t.Context(), Request{}, time.Time{}, func() {}); err != nil || g.closed(time.Time{}) != nil {
			t.Errorf("%v, %v", err, g.closed(time.Time{}))
		}
	})
}

// TestAnsweredShowsThatTheIssuerWorks has eight attempts hang, of which one has told that the issuer answered.
func TestAnsweredShowsThatTheIssuerWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("the lease is lost")
		issuer := &scriptedIssuer{issue: func(ctx context.Context, r Request) error {
			r.Answered()
			if err := r.Record(ctx, nil); err != nil {
				return fmt.Errorf("note the order: %w", err)
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		g := boundAlone(t, issuer, Services{Storage: new(storage.Memory)})
		ctx, cancel := context.WithCancel(t.Context())
		record := make(chan error)
		var group sync.WaitGroup
		defer group.Wait()
		defer cancel()
		for range 8 {
			group.Go(func() {
				_, _ = g.issue(ctx, Request{Record: func(ctx context.Context, _ []byte) error {
					select {
					case err := <-record:
						return err
					case <-ctx.Done():
						return ctx.Err()
					}
				}}, time.Time{}, func() {})
			})
		}
		synctest.Wait()
		if n := g.inFlight(); n != 8 {
			t.Errorf("%d are in flight, want 8", n)
		}
		if g.closed(time.Time{}) != nil {
			t.Errorf("%v though it has answered", g.closed(time.Time{}))
		}
		_, err := g.issue(ctx, Request{Record: func(context.Context, []byte) error { return lost }}, time.Time{}, func() {})
		if !errors.Is(err, lost) || !errors.As(err, new(storageError)) {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestPanickingIssuer does not count as at work for ever.
func TestPanickingIssuer(t *testing.T) {
	g := boundAlone(t, &scriptedIssuer{issue: func(context.Context, Request) error { panic("a bug") }}, Services{Storage: new(storage.Memory)})
	func() {
		defer func() { _ = recover() }()
		_, _ = g.issue(t.Context(), Request{}, time.Time{}, func() {})
	}()
	if n := g.inFlight(); n != 0 {
		t.Errorf("%d are in flight", n)
	}
}
