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

// A Preflight says what becomes of the look that the manager takes itself, by [diagnose.Before], before a CA
// is told to look: a validation that fails costs one of few attempts that a CA grants an hour.
type Preflight string

// The policies. A network may show its own machines other addresses than the outside, so that a fault seen
// from here need not be one; hence PreflightWarn is the usual one.
const (
	// A fault is told (EventWarning), and the CA is asked all the same. What does not show within five seconds
	// is not waited for. A fault that the CA does not find ends the looks for that name and type of challenge,
	// until the process is started again; where several names in succession do not show in time, all looks for
	// the type end for an hour.
	PreflightWarn Preflight = "warn"
	// A fault is a failure, and the CA is not asked. A look takes half a minute at most.
	PreflightRequire Preflight = "require"
	// Nothing is looked at, nor is a failure diagnosed.
	PreflightOff Preflight = "off"
)

// preflightTime bounds one look. Where a fault is but a warning, slow networks are not waited for.
const preflightTime = 5 * time.Second

func (p Preflight) check() error {
	switch p {
	case "", PreflightWarn, PreflightRequire, PreflightOff:
		return nil
	}
	return fmt.Errorf("certmanager: Config.Preflight is %.40q: it can be %q, %q or %q", string(p), PreflightWarn, PreflightRequire, PreflightOff)
}

// A preflight looks at what is presented in one issuance before the CA does.
type preflight struct {
	issuer  *acmeIssuer
	client  *acme.Client
	request *Request

	mu     sync.Mutex
	faults map[blindSpot]bool // where one was seen, or (true) too little in time; guarded by mu
}

// vantage returns where to look from.
func (f *preflight) vantage(ctx context.Context) diagnose.Vantage {
	vantage := f.request.Vantage
	if directory, err := f.client.GetDirectory(ctx); err == nil && vantage.CAAIdentities == nil {
		vantage.CAAIdentities = directory.Meta.CAAIdentities
	}
	return vantage
}

// lookAll looks at all answers side by side. The error is an *acme.SolverError: another solver may answer better.
func (f *preflight) lookAll(ctx context.Context, proofs []acme.Proof) error {
	const sideBySide = 10
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	for _, p := range proofs {
		group.Go(func() error {
			if err := f.look(groupCtx, p); err != nil {
				return &acme.SolverError{Proof: p, Err: err}
			}
			return nil
		})
	}
	return group.Wait()
}

// look returns an error where a fault is seen and the CA is not to be asked.
func (f *preflight) look(ctx context.Context, p acme.Proof) error {
	switch f.request.Preflight {
	case PreflightOff:
		return nil
	case PreflightRequire:
		if diagnosis := diagnose.Before(ctx, p, f.vantage(ctx)); diagnosis.Cause != "" {
			return &diagnosed{errors.New("the CA was not asked to look"), []*diagnose.Report{diagnosis}}
		}
		return nil
	}
	spot := spotOf(p)
	if f.issuer.blind.has(spot) || f.isSlow(p.Type) {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, preflightTime)
	defer cancel()
	diagnosis := diagnose.Before(limited, p, f.vantage(limited))
	slow := limited.Err() != nil && ctx.Err() == nil
	if limited.Err() == nil {
		f.issuer.blind.sawInTime(p.Type)
	}
	if diagnosis.Cause == "" && !slow {
		return nil
	}
	f.mu.Lock()
	f.faults[spot] = slow
	f.mu.Unlock()
	if diagnosis.Cause != "" {
		f.warn(&diagnosed{errors.New("the CA is asked to look, though from here it seems that it will fail"), []*diagnose.Report{diagnosis}})
	}
	return nil
}

// isSlow reports whether looks at other names of the order ran out of time. The next ones would too.
func (f *preflight) isSlow(challengeType string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := 0
	for spot, slow := range f.faults {
		if slow && spot.challengeType == challengeType {
			names++
		}
	}
	return names >= maxSlowNames
}

func (f *preflight) warn(err error) {
	if f.request.Warn != nil {
		f.request.Warn(err)
	}
}

// succeeded learns from a certificate that has come: a fault that was seen is none, so that from here no
// look at that name is to be relied on.
func (f *preflight) succeeded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.faults) == 0 {
		return
	}
	var words []string
	for spot, slow := range f.faults {
		f.issuer.blind.add(spot, slow)
		words = append(words, spot.String())
	}
	slices.Sort(words)
	const most = 3
	if more := len(words) - most; more > 0 {
		words = append(words[:most], fmt.Sprintf("%d more", more))
	}
	f.warn(fmt.Errorf("%s: the CA validated what looked wrong from here, or could not be seen in time: no more preflight there, as long as the process lives",
		strings.Join(words, ", ")))
}
