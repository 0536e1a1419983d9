package certmanager

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/ca"
	"github.com/everseal/everseal/certmanager/internal/tally"
)

const (
	dryRunTimeout = 3 * time.Minute // of one dry run; what takes longer tells nothing
	// dryRunPeriod is after how many refusals one attempt is made without a dry run: staging may be wrong alone, and by
	// then attempts come once a day.
	dryRunPeriod = 8
)

// A dryRunError says that a dry run failed for the names, and that the CA was not asked.
type dryRunError struct {
	err     error
	staging string // ID
}

// Error says why it failed before it says where.
func (e *dryRunError) Error() string {
	return fmt.Sprintf("%v (in the dry run at %s: the CA itself was not asked)", e.err, e.staging)
}

// Unwrap returns why.
func (e *dryRunError) Unwrap() error { return e.err }

// staging returns where dry runs are made; nil: there are none.
func (a *ACME) staging() *ACME {
	known := ca.At(a.directoryURL()).Staging
	var s ACME
	switch {
	case a.NoDryRun, a.Staging == nil && (known == "" || ca.At(known).ExternalAccount):
		return nil
	case a.Staging == nil:
		s = ACME{HTTPClient: a.HTTPClient, Roots: a.Roots}
	default:
		s = *a.Staging
	}
	s.DirectoryURL = cmp.Or(s.DirectoryURL, known)
	s.Email, s.AgreeToTerms = cmp.Or(s.Email, a.Email), s.AgreeToTerms || a.AgreeToTerms
	s.Profile, s.PreferredChain, s.CommonName = cmp.Or(s.Profile, a.Profile), cmp.Or(s.PreferredChain, a.PreferredChain), s.CommonName || a.CommonName
	s.Staging, s.NoDryRun = nil, true
	return &s
}

// dryRun has an order made at staging if the CA has refused the names and none is under way there. It reports whether a
// certificate came of it. The error says that the names fail; that staging itself fails is none.
func (i *acmeIssuance) dryRun(ctx context.Context) (passed bool, err error) {
	a, r := i.issuer, i.request
	if a.staging == nil || r.Refusals%dryRunPeriod == 0 || i.notes.OrderURL != "" || len(i.notes.Proofs) > 0 {
		return false, nil
	}
	solvers, able := dryRunSolvers(r)
	if !able {
		return false, nil
	}
	limited, cancel := context.WithTimeout(ctx, dryRunTimeout)
	defer cancel()
	err = i.rehearse(limited, solvers)
	i.notes.DryRun = nil
	switch {
	case ctx.Err() != nil, errors.As(err, new(storageError)):
		return false, err
	case concernsNames(err):
		return false, &dryRunError{err, a.staging.ID()}
	}
	attrs := []slog.Attr{slog.Any("names", namesOf(r.Identifiers)), slog.String("issuer", a.ID()), slog.String("staging", a.staging.ID())}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
		a.services.Logger.LogAttrs(ctx, slog.LevelInfo, "the dry run tells nothing of the names, and the CA is asked", attrs...)
		return false, nil
	}
	a.services.Logger.LogAttrs(ctx, slog.LevelInfo, "the dry run succeeded, and the CA is asked", attrs...)
	return true, nil
}

// rehearse has a certificate issued at staging, for a key that is used for nothing else. Answers that an earlier process
// published there are taken away with the others.
func (i *acmeIssuance) rehearse(ctx context.Context, solvers []acme.Solver) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	r := Request{Identifiers: i.request.Identifiers, Key: key, Solvers: solvers, Profile: i.request.Profile, waiter: waiter{Waiter: tally.Waiter{Class: i.request.waiter.Class, Alone: true}}}
	if i.request.Record != nil {
		r.Record = func(ctx context.Context, journal []byte) error {
			i.notes.DryRun = journal
			return i.record(ctx)
		}
	}
	dry := &acmeIssuance{issuer: i.issuer.staging, request: &r}
	dry.notes.read(i.notes.DryRun)
	dry.notes.restart()
	_, err = dry.obtain(ctx)
	return err
}

// concernsNames reports whether a dry run failed for what the CA itself would refuse, too: control of the names was not
// proved, or they are not allowed. CAA records may let the CA issue and not its staging.
func concernsNames(err error) bool {
	elsewhere := []error{acme.ErrCAA, acme.ErrRateLimited, acme.ErrInvalidProfile}
	if err == nil || acme.IsOutage(err) || errors.As(err, new(*UnavailableError)) ||
		slices.ContainsFunc(elsewhere, func(other error) bool { return errors.Is(err, other) }) {
		return false
	}
	return errors.As(err, new(*acme.AuthorizationError)) || errors.As(err, new(*acme.SolverError)) || errors.Is(err, acme.ErrRejectedIdentifier)
}

// dryRunSolvers returns those that can answer to staging, and whether they are enough: standing records of
// dns-persist-01 name the account with the CA.
func dryRunSolvers(r *Request) (solvers []acme.Solver, able bool) {
	solvers = slices.DeleteFunc(slices.Clone(r.Solvers), func(s acme.Solver) bool { return s.Type() == acme.TypeDNSPersist01 })
	for _, id := range r.Identifiers {
		base, wildcard := strings.CutPrefix(id.Value, "*.")
		if !slices.ContainsFunc(solvers, func(s acme.Solver) bool {
			return supports(s, acme.Identifier{Type: id.Type, Value: base}, wildcard)
		}) {
			return nil, false
		}
	}
	return solvers, true
}

func namesOf(identifiers []acme.Identifier) []string {
	names := make([]string, len(identifiers))
	for i, id := range identifiers {
		names[i] = id.Value
	}
	return names
}
