package acme

import (
	"context"
	"encoding/json"
)

// A Solver publishes the answers to one type of challenge. Its methods are called concurrently. A panic in one of
// them, but Type, is an error for [Client.Issue], in which errors.As finds a [*PanicError].
//
// Solvers may also have these methods. They are found through those that wrap a solver, too, if these have a method
// Unwrap() Solver (see [As]):
//
//	// Wait returns once the CA can be expected to see the answer that Present published, or an
//	// error that says why it can't. The CA is told of it only after Wait has returned nil.
//	Wait(ctx context.Context, p Proof) error
//
//	// Supports reports whether the solver can answer for an identifier. Without it, a solver is
//	// taken to support all identifiers for which the CA offers its type.
//	Supports(id Identifier, wildcard bool) bool
//
//	// Payload returns what to send to the CA for it to validate: the answer itself, with types like
//	// onion-csr-01. Without it, or if it returns nil, an empty object is sent. (Issue orders names and
//	// addresses only; what else can be proved, such as a device's identifier, goes step by step.)
//	Payload(ctx context.Context, p Proof) (json.RawMessage, error)
type Solver interface {
	// Type returns the type of challenge the solver answers, such as "http-01".
	Type() string
	// Present publishes the answer. Doing so again for the same proof is no error.
	Present(ctx context.Context, p Proof) error
	// CleanUp takes the answer away. It works from the proof alone, also in a process that did not
	// present it; that there is nothing to take away is no error.
	CleanUp(ctx context.Context, p Proof) error
}

// A SolverError reports that a solver could not answer for an identifier: another solver may.
type SolverError struct {
	Proof     Proof
	Presented bool  // Present has returned nil: what failed came after it, such as Wait
	Err       error // the solver's
}

// Error names the identifier and the type of challenge, and says why.
func (e *SolverError) Error() string {
	text := "acme: " + about(e.Proof.name(), e.Proof.Type)
	if e.Err == nil {
		return text + "the solver failed"
	}
	return text + inner{e.Err}.Error()
}

// Unwrap returns the solver's error.
func (e *SolverError) Unwrap() error { return e.Err }

// As returns s, or the first solver that it wraps, that is a T: an interface with methods that not all solvers have,
// or the type of a solver.
func As[T any](s Solver) (T, bool) {
	for s != nil {
		if t, ok := s.(T); ok {
			return t, true
		}
		wrapper, ok := s.(interface{ Unwrap() Solver })
		if !ok {
			break
		}
		s = wrapper.Unwrap()
	}
	var none T
	return none, false
}

// Supports reports whether the solver can answer for the identifier: what its Supports method says, or
// true if it has none.
func Supports(s Solver, id Identifier, wildcard bool) bool {
	if f, ok := As[interface{ Supports(Identifier, bool) bool }](s); ok {
		return f.Supports(id, wildcard)
	}
	return true
}

// supports is Supports for Issue. Its error is a panic of the solver's.
func supports(s Solver, id Identifier, wildcard bool) (able bool, err error) {
	err = guard("Supports", func() error {
		able = Supports(s, id, wildcard)
		return nil
	})
	return able, err
}

func present(ctx context.Context, s Solver, p Proof) error {
	return guard("Present", func() error { return s.Present(ctx, p) })
}

func cleanUp(ctx context.Context, s Solver, p Proof) error {
	return guard("CleanUp", func() error { return s.CleanUp(ctx, p) })
}

// waitPresented calls the solver's Wait method, if it has one.
func waitPresented(ctx context.Context, s Solver, p Proof) error {
	return guard("Wait", func() error {
		if w, ok := As[interface {
			Wait(context.Context, Proof) error
		}](s); ok {
			return w.Wait(ctx, p)
		}
		return nil
	})
}

// payload calls the solver's Payload method, if it has one.
func payload(ctx context.Context, s Solver, p Proof) (answer json.RawMessage, err error) {
	err = guard("Payload", func() (err error) {
		if f, ok := As[interface {
			Payload(context.Context, Proof) (json.RawMessage, error)
		}](s); ok {
			answer, err = f.Payload(ctx, p)
		}
		return err
	})
	return answer, err
}
