package certmanager

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// A diagnosed error is a failure with what was seen of its cause.
type diagnosed struct {
	err       error
	diagnoses []*solver.Diagnosis
}

// Error adds cause and cure to the error's own words.
func (d *diagnosed) Error() string {
	words := []string{d.err.Error()}
	for _, diagnosis := range d.diagnoses {
		if diagnosis.Cause != "" {
			words = append(words, diagnosis.String())
		}
	}
	return strings.Join(words, "; ")
}

func (d *diagnosed) Unwrap() error { return d.err }

// diagnosesOf returns those in an error.
func diagnosesOf(err error) []*solver.Diagnosis {
	if d, ok := errors.AsType[*diagnosed](err); ok {
		return d.diagnoses
	}
	return nil
}

// mostDiagnoses bounds those of one failure. Names that fail together mostly fail for one cause.
const mostDiagnoses = 10

// explain returns what looks why the validations of an order failed, while their answers are in place.
func (f *preflight) explain() func(context.Context, error, []acme.Proof) error {
	if f.request.Preflight == PreflightOff {
		return nil
	}
	return f.diagnose
}

func (f *preflight) diagnose(ctx context.Context, err error, proofs []acme.Proof) error {
	vantage := f.vantage(ctx)
	var of []acme.Proof
	var errs []error
	for _, authorization := range unproved(err) {
		if p, ok := proofOf(authorization, proofs); ok && len(of) < mostDiagnoses {
			of, errs = append(of, p), append(errs, authorization)
		}
	}
	diagnoses := make([]*solver.Diagnosis, len(of))
	var group sync.WaitGroup
	for i := range of {
		group.Go(func() { diagnoses[i] = solver.Diagnose(ctx, of[i], errs[i], vantage) })
	}
	group.Wait()
	return &diagnosed{err, diagnoses}
}

// unproved returns what of an order failed.
func unproved(err error) []*acme.AuthorizationError {
	if order, ok := errors.AsType[*acme.OrderError](err); ok {
		return order.Authorizations
	}
	if one, ok := errors.AsType[*acme.AuthorizationError](err); ok {
		return []*acme.AuthorizationError{one}
	}
	return nil
}

// proofOf returns the proof that failed.
func proofOf(failed *acme.AuthorizationError, proofs []acme.Proof) (acme.Proof, bool) {
	for _, p := range proofs {
		name := p.Identifier.Value
		if p.Wildcard {
			name = "*." + name
		}
		if name == failed.Identifier && (p.Type == failed.ChallengeType || failed.ChallengeType == "") {
			return p, true
		}
	}
	return acme.Proof{}, false
}
