package solver

import (
	"context"
	"fmt"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
)

// ErrPrivateAddress reports that an address was not asked, as no CA on the Internet reaches it: a private, link-local or
// loopback one. [Vantage] and [DNS] say by Private that the CA is on a private network itself.
var ErrPrivateAddress = reach.ErrPrivate

// Check looks once whether the answer to p can be seen from here, as a CA does: it asks port 80 of
// the identifier and follows redirects to ports 80 and 443, without verifying certificates. Where the CA's
// directory is on the Internet, what leads to this machine or to a private network is not asked there (see
// Dial). It gives up after ten seconds or when ctx ends. The error says what was seen instead of the answer, and wraps
// [ErrPrivateAddress] if the identifier leads there; [Diagnose] looks closer and says why.
//
// A failed check is no proof that the CA fails too: a network may show its own machines other
// addresses than the outside.
func (h *HTTP01) Check(ctx context.Context, p acme.Proof) error {
	p, err := validate(p, acme.TypeHTTP01)
	if err != nil {
		return fmt.Errorf("solver: %w", err)
	}
	switch v := visitHTTP(ctx, p, connectByName(h.Dial, privateCA(ctx, p))); v.outcome {
	case outcomeRight:
		return nil
	case outcomeWrong:
		return fmt.Errorf("solver: http-01 for %q: %w: let requests for %s* reach HTTP01.Handler", p.Identifier, v.err, http01Path)
	default:
		return fmt.Errorf("solver: http-01 for %q cannot be seen from here: %w", p.Identifier, escape.Error(v.err))
	}
}
