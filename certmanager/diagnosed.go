package certmanager

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
)

// A diagnosed error is a failure with what was seen of its cause.
type diagnosed struct {
	err       error
	diagnoses []*diagnose.Report
}

// Error says causes and cures before the error's own words, less those of the CA's that a cause quotes.
func (d *diagnosed) Error() string {
	var words []string
	for _, diagnosis := range d.diagnoses {
		if diagnosis.Cause != "" && !slices.Contains(words, diagnosis.String()) {
			words = append(words, diagnosis.String())
		}
	}
	text := bare(d.err)
	for _, failed := range unproved(d.err) {
		if quote := detailOf(failed); quote != "" && strings.Contains(strings.Join(words, "; "), "(its words: "+quote+")") {
			text = strings.Replace(text, ": "+quote, "", 1)
		}
	}
	if errors.As(d.err, new(*acme.AuthorizationError)) {
		text = "control was not proved: " + text
	}
	return strings.Join(append(words, text), "; ")
}

// detailOf returns the CA's words on why a name's validation failed.
func detailOf(failed *acme.AuthorizationError) string {
	if failed.Problem == nil {
		return ""
	}
	return failed.Problem.Detail
}

func (d *diagnosed) Unwrap() error { return d.err }

// diagnosesOf returns those in an error.
func diagnosesOf(err error) []*diagnose.Report {
	if d, ok := errors.AsType[*diagnosed](err); ok {
		return d.diagnoses
	}
	return nil
}

// mostDiagnoses bounds those of one failure. Names that fail together mostly fail for one cause.
const mostDiagnoses = 10

// explain returns what finds out why the validations of an order failed, while their answers are published.
func (f *preflight) explain() func(context.Context, error, []acme.Proof) error {
	if f.issuer.services.Preflight == PreflightOff {
		return nil
	}
	return f.diagnose
}

func (f *preflight) diagnose(ctx context.Context, err error, proofs []acme.Proof) error {
	vantage := f.vantage(ctx)
	type failed struct {
		proof         acme.Proof
		authorization *acme.AuthorizationError
	}
	var all []failed
	for _, authorization := range unproved(err) {
		if p, ok := proofOf(authorization, proofs); ok && len(all) < mostDiagnoses {
			all = append(all, failed{p, authorization})
		}
	}
	diagnoses := make([]*diagnose.Report, len(all))
	var group sync.WaitGroup
	for i, one := range all {
		group.Go(func() { diagnoses[i] = diagnose.After(ctx, one.proof, one.authorization, vantage) })
	}
	group.Wait()
	return &diagnosed{err, diagnoses}
}

// unproved returns all that failed, wherever in the error it is: of an order that is over, or of one whose
// challenges wait to be accepted once more.
func unproved(err error) []*acme.AuthorizationError {
	switch e := err.(type) {
	case *acme.AuthorizationError:
		return []*acme.AuthorizationError{e}
	case interface{ Unwrap() error }:
		return unproved(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*acme.AuthorizationError
		for _, err := range e.Unwrap() {
			all = append(all, unproved(err)...)
		}
		return all
	}
	return nil
}

// proofOf returns the proof that failed.
func proofOf(failed *acme.AuthorizationError, proofs []acme.Proof) (acme.Proof, bool) {
	for _, p := range proofs {
		if orderedName(p) == failed.Identifier && (p.Type == failed.ChallengeType || failed.ChallengeType == "") {
			return p, true
		}
	}
	return acme.Proof{}, false
}

// orderedName returns the name of a proof as it stands in the order.
func orderedName(p acme.Proof) string {
	if p.Wildcard {
		return "*." + p.Identifier.Value
	}
	return p.Identifier.Value
}
