package solver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// A legoProvider is a DNS provider with the methods of lego's, version 5. It edits the zone example.com.
type legoProvider struct {
	zones *zoneProvider
	takes time.Duration // for each call

	mu    sync.Mutex
	calls []string
	under int // calls under way
	most  int // of them at once
}

func (p *legoProvider) Present(ctx context.Context, domain, token, keyAuth string) error {
	return p.call(ctx, "present", domain, token, keyAuth, p.zones.AppendRecord)
}

func (p *legoProvider) CleanUp(ctx context.Context, domain, token, keyAuth string) error {
	return p.call(ctx, "clean up", domain, token, keyAuth, p.zones.DeleteRecord)
}

var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *legoProvider) call(ctx context.Context, what, domain, token, keyAuth string, edit func(context.Context, solver.Record) error) error {
	p.mu.Lock()
	p.calls = append(p.calls, fmt.Sprintf("%v %s %s", time.Since(bubbleStart), what, domain))
	p.under++
	p.most = max(p.most, p.under)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.under--
	}()
	time.Sleep(p.takes)
	proof := solvertest.WithToken(solvertest.NewProof(acme.TypeDNS01, domain), token)
	if proof.KeyAuthorization != keyAuth {
		return fmt.Errorf("the key authorization is %q", keyAuth)
	}
	name, value, err := proof.TXTRecord()
	if err != nil {
		return err
	}
	return edit(ctx, solver.Record{Zone: "example.com", Name: name, Value: value})
}

// A legoProviderV4 has the methods of version 4.
type legoProviderV4 struct{ *legoProvider }

func (p legoProviderV4) Present(domain, token, keyAuth string) error {
	return p.legoProvider.Present(context.Background(), domain, token, keyAuth)
}

func (p legoProviderV4) CleanUp(domain, token, keyAuth string) error {
	return p.legoProvider.CleanUp(context.Background(), domain, token, keyAuth)
}

// A sequentialProvider says more of itself.
type sequentialProvider struct {
	*legoProvider
	gap time.Duration
}

func (p sequentialProvider) Timeout() (timeout, interval time.Duration) {
	return 100 * time.Second, 30 * time.Second
}

func (p sequentialProvider) Sequential() time.Duration { return p.gap }

// A sequentialProviderV4 does in version 4.
type sequentialProviderV4 struct {
	legoProviderV4
	sequentialProvider
}

func (p sequentialProviderV4) Present(domain, token, keyAuth string) error {
	return p.legoProviderV4.Present(domain, token, keyAuth)
}

func (p sequentialProviderV4) CleanUp(domain, token, keyAuth string) error {
	return p.legoProviderV4.CleanUp(domain, token, keyAuth)
}

func inLegoZone(t *testing.T, f func(t *testing.T, p *legoProvider)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, &legoProvider{zones: newZones(solvertest.NewMemoryDNS(t), "example.com")})
	})
}

func TestLego(t *testing.T) {
	for version, use := range map[string]func(*legoProvider) *solver.Lego{
		"4":                func(p *legoProvider) *solver.Lego { return solver.LegoV4(legoProviderV4{p}) },
		"5":                func(p *legoProvider) *solver.Lego { return solver.LegoV5(p) },
		"4 and sequential": func(p *legoProvider) *solver.Lego { return solver.LegoV4(sequentialV4(p, time.Second)) },
		"5 and sequential": func(p *legoProvider) *solver.Lego { return solver.LegoV5(sequentialProvider{p, time.Second}) },
	} {
		t.Run("version "+version, func(t *testing.T) {
			inLegoZone(t, func(t *testing.T, p *legoProvider) {
				s := use(p)
				s.DNS = dnsOf(p.zones.dns)
				if s.Type() != "dns-01" || !s.Supports(acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}, true) || s.Supports(acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}, false) {
					t.Error("not a solver of dns-01 for domain names")
				}
				proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
				proof.Wildcard = true
				_, value := txtOf(t, proof)
				solvertest.Present(t, s, proof)
				if err := s.Wait(t.Context(), proof); err != nil {
					t.Error(err)
				}
				if values := p.zones.dns.TXT("_acme-challenge.example.com"); !slices.Equal(values, []string{value}) {
					t.Errorf("the values are %q", values)
				}
				solvertest.CleanUp(t, s, proof)
				p.zones.wantRecords(t)

				p.zones.failing(func(action string, _ solver.Record) error {
					return fmt.Errorf("%w\n%s", errProvider, strings.Repeat("x", 1000))
				})
				for what, err := range map[string]error{
					"create":    s.Present(t.Context(), proof),
					"take away": s.CleanUp(t.Context(), proof),
				} {
					want := "solver: dns-01 for example.com: " + what + ` the TXT record _acme-challenge.example.com: the provider's error\nxxx`
					if !errors.Is(err, errProvider) || !strings.HasPrefix(err.Error(), want) || len(err.Error()) > 500 {
						t.Errorf("the error is %v, want %s…", err, want)
					}
				}
			})
		})
	}
}

func sequentialV4(p *legoProvider, gap time.Duration) sequentialProviderV4 {
	return sequentialProviderV4{legoProviderV4{p}, sequentialProvider{p, gap}}
}

// proveSideBySide presents all proofs at once, waits for all at once, and cleans up all at once, as package acme
// does. It returns how long each took.
func proveSideBySide(t *testing.T, s *solver.Lego, proofs []acme.Proof) (took [3]time.Duration) {
	t.Helper()
	for i, step := range []func(context.Context, acme.Proof) error{s.Present, s.Wait, s.CleanUp} {
		begun := time.Now()
		var proving sync.WaitGroup
		for _, proof := range proofs {
			proving.Go(func() {
				if err := step(t.Context(), proof); err != nil {
					t.Error(err)
				}
			})
		}
		proving.Wait()
		took[i] = time.Since(begun)
	}
	return took
}

func legoProofs() (proofs []acme.Proof) {
	for _, name := range []string{"a.example.com", "b.example.com", "c.example.com"} {
		proofs = append(proofs, solvertest.NewProof(acme.TypeDNS01, name))
	}
	return proofs
}

func TestLegoSequential(t *testing.T) {
	for version, use := range map[string]func(*legoProvider) *solver.Lego{
		"4": func(p *legoProvider) *solver.Lego { return solver.LegoV4(sequentialV4(p, 10*time.Second)) },
		"5": func(p *legoProvider) *solver.Lego { return solver.LegoV5(sequentialProvider{p, 10 * time.Second}) },
	} {
		t.Run("version "+version, func(t *testing.T) {
			inLegoZone(t, func(t *testing.T, p *legoProvider) {
				p.takes = time.Second
				p.zones.spread = func(_ solver.Record, set func()) { time.AfterFunc(20*time.Second, set) }
				s := use(p)
				s.DNS = dnsOf(p.zones.dns)
				took := proveSideBySide(t, s, legoProofs())
				// 1 s each with 10 s between; then the last is there after 20 s and seen by the question 30 s
				// after the first; then 1 s each without a gap.
				if want := [3]time.Duration{23 * time.Second, 30 * time.Second, 3 * time.Second}; took != want {
					t.Errorf("the steps took %v, want %v", took, want)
				}
				if p.most != 1 {
					t.Errorf("%d calls were under way at once", p.most)
				}
				p.zones.wantRecords(t)
			})
		})
	}
	// A gap of nothing still means one after another.
	inLegoZone(t, func(t *testing.T, p *legoProvider) {
		p.takes = time.Second
		s := solver.LegoV5(sequentialProvider{p, 0})
		s.DNS = dnsOf(p.zones.dns)
		if took, want := proveSideBySide(t, s, legoProofs()), [3]time.Duration{3 * time.Second, 0, 3 * time.Second}; took != want || p.most != 1 {
			t.Errorf("the steps took %v with %d calls at once, want %v", took, p.most, want)
		}
	})
	// Others are called side by side.
	inLegoZone(t, func(t *testing.T, p *legoProvider) {
		p.takes = time.Second
		s := solver.LegoV5(p)
		s.DNS = dnsOf(p.zones.dns)
		if took, want := proveSideBySide(t, s, legoProofs()), [3]time.Duration{time.Second, 0, time.Second}; took != want || p.most != 3 {
			t.Errorf("the steps took %v with %d calls at once, want %v", took, p.most, want)
		}
	})
}

// A record that was refused does not hold up the next.
func TestLegoDoesNotPauseAfterAFailure(t *testing.T) {
	inLegoZone(t, func(t *testing.T, p *legoProvider) {
		s := solver.LegoV5(sequentialProvider{p, time.Minute})
		proofs := legoProofs()
		p.zones.failing(failOn("append"))
		if err := s.Present(t.Context(), proofs[0]); !errors.Is(err, errProvider) {
			t.Fatalf("the error is %v", err)
		}
		p.zones.failing(nil)
		for i, want := range []time.Duration{0, time.Minute} {
			solvertest.Present(t, s, proofs[i+1])
			if took := time.Since(bubbleStart); took != want {
				t.Errorf("record %d was presented after %v, want %v", i+1, took, want)
			}
		}
		p.zones.failing(failOn("append"))
		if err := s.Present(t.Context(), proofs[0]); !errors.Is(err, errProvider) {
			t.Fatalf("the error is %v", err)
		}
		p.zones.failing(nil)
		solvertest.Present(t, s, proofs[0])
		if took := time.Since(bubbleStart); took != 2*time.Minute {
			t.Errorf("the last was presented after %v, want the pause after the one that succeeded alone", took)
		}
	})
}

// While one waits for its turn another's record can be taken away, and the wait ends with the context.
func TestLegoWaitsForItsTurn(t *testing.T) {
	inLegoZone(t, func(t *testing.T, p *legoProvider) {
		s := solver.LegoV5(sequentialProvider{p, time.Hour})
		s.DNS = dnsOf(p.zones.dns)
		proofs := legoProofs()
		solvertest.Present(t, s, proofs[0])
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended := make(chan error)
		go func() { ended <- s.Present(ctx, proofs[1]) }()
		time.Sleep(time.Second)
		begun := time.Now()
		solvertest.CleanUp(t, s, proofs[0])
		if took := time.Since(begun); took != 0 {
			t.Errorf("the clean-up took %v", took)
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the pause of 1h0m0s") {
			t.Errorf("the error is %v", err)
		}
		solvertest.Present(t, s, proofs[1])
		if took := time.Since(bubbleStart); took != time.Hour {
			t.Errorf("the second was presented after %v, want an hour", took)
		}

		p.takes = time.Minute // a call under way, and the turn with it
		go func() { ended <- s.CleanUp(context.WithoutCancel(t.Context()), proofs[1]) }()
		synctest.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if err := s.CleanUp(ctx, proofs[0]); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "one record after another") {
			t.Errorf("the error is %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A provider's own timeout holds where Propagation has none, also in one that is set later.
func TestLegoTimeout(t *testing.T) {
	for _, test := range []struct {
		propagation solver.Propagation
		want        time.Duration
		questions   int
	}{
		{solver.Propagation{}, 100 * time.Second, 4},
		{solver.Propagation{Quorum: 2}, 100 * time.Second, 4},
		{solver.Propagation{Timeout: 45 * time.Second}, 45 * time.Second, 2},
		{solver.Propagation{Timeout: 95 * time.Second, Interval: 10 * time.Second}, 95 * time.Second, 10},
	} {
		inLegoZone(t, func(t *testing.T, p *legoProvider) {
			p.zones.spread = func(solver.Record, func()) {}
			s := solver.LegoV5(sequentialProvider{p, 0})
			s.DNS, s.Propagation = dnsOf(p.zones.dns), test.propagation
			proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
			solvertest.Present(t, s, proof)
			err := s.Wait(t.Context(), proof)
			if _, ok := errors.AsType[*solver.PropagationError](err); !ok || time.Since(bubbleStart) != test.want {
				t.Errorf("%+v: after %v: %v", test.propagation, time.Since(bubbleStart), err)
			}
			if n := p.zones.zones["example.com"][0].Asked("_acme-challenge.example.com", "TXT"); n != test.questions {
				t.Errorf("%+v: a server was asked %d times, want %d", test.propagation, n, test.questions)
			}
		})
	}
}

// A provider of version 4 takes no context: what can be done is not to call it.
func TestLegoV4Context(t *testing.T) {
	inLegoZone(t, func(t *testing.T, p *legoProvider) {
		s := solver.LegoV4(legoProviderV4{p})
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("no more"))
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		for _, err := range []error{s.Present(ctx, proof), s.CleanUp(ctx, proof)} {
			if err == nil || !strings.HasSuffix(err.Error(), ": no more") {
				t.Errorf("the error is %v", err)
			}
		}
		if len(p.calls) > 0 {
			t.Errorf("the calls are %q", p.calls)
		}
	})
}

func TestLegoWithoutProvider(t *testing.T) {
	proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
	for _, s := range []*solver.Lego{new(solver.Lego), solver.LegoV4(nil), solver.LegoV5(nil)} {
		for _, err := range []error{s.Present(t.Context(), proof), s.CleanUp(t.Context(), proof)} {
			if want := "solver: this Lego has no provider: give one to LegoV4 or LegoV5"; err == nil || err.Error() != want {
				t.Errorf("the error is %v, want %s", err, want)
			}
		}
	}
	s := solver.LegoV5(new(legoProvider))
	other := solvertest.NewProof(acme.TypeDNSAccount01, "example.com")
	for _, err := range []error{s.Present(t.Context(), other), s.Wait(t.Context(), other), s.CleanUp(t.Context(), other)} {
		if want := `solver: a challenge of type "dns-account-01" was given to the solver of dns-01`; err == nil || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}
