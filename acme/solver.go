package acme

import (
	"context"
	"encoding/json"
)

// A Solver puts the answers to one type of challenge in place. Its methods are called concurrently.
//
// Solvers may also have these methods:
//
//	// Wait returns once the CA can be expected to see the answer that Present put in place, or an
//	// error that says why it can't. The CA is told to look only after it has returned nil.
//	Wait(ctx context.Context, p Proof) error
//
//	// Supports reports whether the solver can answer for an identifier. Without it, a solver is
//	// taken to support all identifiers for which the CA offers its type.
//	Supports(id Identifier, wildcard bool) bool
//
//	// Payload returns what to send to the CA for it to look: the answer itself, with types like
//	// onion-csr-01. Without it, or where it returns nil, an empty object is sent. (Issue orders names and
//	// addresses only; what else can be proved, such as a device's identifier, goes step by step.)
//	Payload(ctx context.Context, p Proof) (json.RawMessage, error)
type Solver interface {
	// Type returns the type of challenge the solver answers, such as "http-01".
	Type() string
	// Present puts the answer in place. Doing so again for the same proof is no error.
	Present(ctx context.Context, p Proof) error
	// CleanUp takes the answer away. It works from the proof alone, also in a process that did not
	// present it; that there is nothing to take away is no error.
	CleanUp(ctx context.Context, p Proof) error
}

// Supports reports whether the solver can answer for the identifier: what its Supports method says, or
// true if it has none.
func Supports(s Solver, id Identifier, wildcard bool) bool {
	if f, ok := s.(interface{ Supports(Identifier, bool) bool }); ok {
		return f.Supports(id, wildcard)
	}
	return true
}

// waitPresented calls the solver's Wait method, if it has one.
func waitPresented(ctx context.Context, s Solver, p Proof) error {
	if w, ok := s.(interface {
		Wait(context.Context, Proof) error
	}); ok {
		return w.Wait(ctx, p)
	}
	return nil
}

// payload calls the solver's Payload method, if it has one.
func payload(ctx context.Context, s Solver, p Proof) (json.RawMessage, error) {
	if f, ok := s.(interface {
		Payload(context.Context, Proof) (json.RawMessage, error)
	}); ok {
		return f.Payload(ctx, p)
	}
	return nil, nil
}
