package diagnose

import (
	"context"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/escape"
)

// diagnoseTimeout bounds a whole diagnosis: some DNS lookups, then visits side by side.
const diagnoseTimeout = 30 * time.Second

// Before looks at what a CA looks at to validate p, before one is told to, and says why that would fail.
//
// It must be called while the answer is published, before CleanUp. For http-01 and tls-alpn-01 it resolves
// the identifier, here and at its zone's authoritative servers, and asks each address for the answer; for
// dns-01, dns-account-01 and dns-persist-01 it asks the authoritative servers for the record. For all it
// reads the CAA records. It takes half a minute at most, and less if ctx ends; what was not seen by then is
// not judged.
//
// A set-up that is right from here has no cause. What cannot be judged from here, such as IPv6 addresses on a machine
// without IPv6, is none either.
func Before(ctx context.Context, p acme.Proof, from Vantage) *Report { return After(ctx, p, nil, from) }

// After is [Before] for a validation that has failed: it says why. problem is what the CA said, an error in which an
// [*acme.AuthorizationError] or an [*acme.Problem] can be found; what only the CA can have seen is concluded from it.
func After(ctx context.Context, p acme.Proof, problem error, from Vantage) *Report {
	i := newInspection(p, problem, from)
	if err := i.checkProof(); err != nil {
		return i.conclude(because(CauseUnusableProof, "use a challenge that suits the identifier", "%s", escape.Text(err.Error(), 300)))
	}
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	i.begin(ctx)
	i.gather(ctx)
	return i.conclude(i.judge())
}
