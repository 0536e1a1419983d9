package certmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
)

// A Preflight says what becomes of the check that the manager makes itself, by [diagnose.Before], before a CA is told to
// validate: a validation that fails costs one of few attempts that a CA grants an hour.
type Preflight string

// The policies. A network may show its own machines other addresses than the outside, so that a fault seen
// from here need not be one; hence PreflightWarn is the usual one.
const (
	// A fault is told (EventWarning), and the CA is asked all the same. What does not show within a second is not waited
	// for. A fault that the CA does not find ends the checks for that name and type of challenge, until the process is
	// started again; when several names in succession do not show in time, all checks for the type end for an hour.
	PreflightWarn Preflight = "warn"
	// A fault is a failure, and the CA is not asked. A check takes half a minute at most.
	PreflightRequire Preflight = "require"
	// Nothing is checked, nor is a failure diagnosed.
	PreflightOff Preflight = "off"
)

// When a fault is but a warning, slow networks are not waited for.
const (
	preflightTimeout  = 5 * time.Second // of one check
	preflightPatience = time.Second     // after which the CA is told all the same; the check continues beside
)

func (p Preflight) check() error {
	switch p {
	case "", PreflightWarn, PreflightRequire, PreflightOff:
		return nil
	}
	return fmt.Errorf("Config.Preflight is %.40q: it can be %q, %q or %q", string(p), PreflightWarn, PreflightRequire, PreflightOff)
}

// A preflight checks what is presented in one issuance before the CA does.
type preflight struct {
	issuer  *acmeIssuer
	client  *acme.Client
	request *Request
	end     context.CancelFunc // of checks that continue beside
	checks  sync.WaitGroup
	seen    findings
}

// finish ends the checks that are not done.
func (f *preflight) finish() {
	f.end()
	f.checks.Wait()
}

// vantage returns where to check from.
func (f *preflight) vantage(ctx context.Context) diagnose.Vantage {
	vantage := f.issuer.services.Vantage
	if directory, err := f.client.GetDirectory(ctx); err == nil && vantage.CAAIdentities == nil {
		vantage.CAAIdentities = directory.Meta.CAAIdentities
	}
	return vantage
}

// checkAll checks all answers side by side, and beside what follows if they are slow and a fault is but a warning. The
// error is an *acme.SolverError: another solver may answer better.
func (f *preflight) checkAll(ctx, issuance context.Context, proofs []acme.Proof) error {
	switch f.issuer.services.Preflight {
	case PreflightOff:
		return nil
	case PreflightRequire:
		return eachProof(ctx, proofs, f.require)
	}
	done := make(chan struct{})
	f.checks.Go(func() {
		defer close(done)
		limited, cancel := context.WithTimeout(issuance, preflightTimeout)
		defer cancel()
		_ = eachProof(limited, proofs, func(ctx context.Context, p acme.Proof) error {
			f.check(ctx, p)
			return nil
		})
	})
	patience := time.NewTimer(preflightPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
		f.seen.noteSlow()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// eachProof calls f for each proof, some side by side.
func eachProof(ctx context.Context, proofs []acme.Proof, f func(context.Context, acme.Proof) error) error {
	const sideBySide = 10
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	for _, p := range proofs {
		group.Go(func() error { return f(ctx, p) })
	}
	return group.Wait()
}

// require returns an error if a fault is seen.
func (f *preflight) require(ctx context.Context, p acme.Proof) error {
	diagnosis := diagnose.Before(ctx, p, f.vantage(ctx))
	if diagnosis.Cause == "" {
		return nil
	}
	return &acme.SolverError{Proof: p, Presented: true, Err: &diagnosed{errors.New("the CA was not asked to validate"), []*diagnose.Report{diagnosis}}}
}

// check warns of a fault, if checks tell anything there.
func (f *preflight) check(ctx context.Context, p acme.Proof) {
	spot := exemptionOf(p)
	if f.issuer.exempt.has(spot) || f.seen.isSlow(p.Type) {
		return
	}
	f.seen.begin(spot)
	diagnosis := diagnose.Before(ctx, p, f.vantage(ctx))
	if ctx.Err() != nil {
		return
	}
	if inTime := f.seen.done(spot, diagnosis.Cause != ""); inTime {
		f.issuer.exempt.sawInTime(p.Type)
	}
	if diagnosis.Cause != "" {
		f.warn(&diagnosed{errors.New("the CA is asked to validate, though from here it seems that it will fail"), []*diagnose.Report{diagnosis}})
	}
}

func (f *preflight) warn(err error) {
	if f.request.Warn != nil {
		f.request.Warn(err)
	}
}

// succeeded learns from a certificate that has come: a fault that was seen is none, so that from here no
// check of that name is to be relied on.
func (f *preflight) succeeded() {
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	if len(f.seen.faults) == 0 {
		return
	}
	var words []string
	for spot, slow := range f.seen.faults {
		f.issuer.exempt.add(spot, slow)
		words = append(words, spot.String())
	}
	slices.Sort(words)
	const most = 3
	if more := len(words) - most; more > 0 {
		words = append(words[:most], fmt.Sprintf("%d more", more))
	}
	f.warn(fmt.Errorf("%s: the CA validated what looked wrong from here, or did not show in time: no more preflight there, as long as the process lives",
		strings.Join(words, ", ")))
}
