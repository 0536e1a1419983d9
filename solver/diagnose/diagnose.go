package diagnose

import (
	"context"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/escape"
)

// diagnoseTimeout bounds a whole diagnosis: some DNS lookups, then visits side by side.
const diagnoseTimeout = 30 * time.Second

// Before asks for what a CA asks for to validate p, before one is told to, and says why that would fail.
//
// It must be called while the answer is published, before CleanUp. For http-01 and tls-alpn-01 it resolves
// the identifier, here and at its zone's authoritative servers, and asks each address for the answer; for
// dns-01, dns-account-01 and dns-persist-01 it asks the authoritative servers for the record. For all it
// reads the CAA records. It takes half a minute at most, and less if ctx ends; what was not seen by then is
// not judged.
//
// Cause is empty if the set-up is right from here. What cannot be judged from here, such as IPv6 addresses on a machine
// without IPv6, is no cause either.
func Before(ctx context.Context, p acme.Proof, from Vantage) *Report { return After(ctx, p, nil, from) }

// After is [Before] for a validation that has failed: it says why. problem is what the CA said, an error in which an
// [*acme.AuthorizationError] or an [*acme.Problem] can be found; what only the CA can have seen is concluded from it. Nil stands for a
// CA that was not told yet.
func After(ctx context.Context, p acme.Proof, problem error, from Vantage) *Report {
	i := newInspection(p, problem, from)
	if err := i.checkProof(); err != nil {
		return i.conclude(because(CauseUnusableProof, "use a challenge that suits the identifier", "%s", escape.Text(err.Error(), 300)))
	}
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	if problem != nil {
		i.begin(ctx)
		i.gather(ctx)
		return i.conclude(i.judge())
	}
	var elsewhere []*Report
	var group sync.WaitGroup
	group.Go(func() { elsewhere = from.elsewhere(ctx, p) })
	i.begin(ctx)
	i.gather(ctx)
	d := i.conclude(i.judge())
	group.Wait()
	d.weigh(elsewhere)
	return d
}
