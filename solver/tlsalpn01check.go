package solver

import (
	"context"
	"fmt"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/escape"
)

// Check looks once whether the answer to p can be seen from here, as a CA does: by a handshake with
// port 443 of the identifier. Where the CA's directory is on the Internet, what leads to this machine or to a
// private network is not asked there (see Dial). It gives up after ten seconds or when ctx ends. The error
// says what was seen instead of the answer; it wraps [ErrNoALPN] if the server does not offer the protocol, and
// [ErrPrivateAddress] if the identifier leads to where is not asked. [Diagnose] looks closer and says why.
//
// A failed check is no proof that the CA fails too: a network may show its own machines other
// addresses than the outside.
func (t *TLSALPN01) Check(ctx context.Context, p acme.Proof) error {
	p, err := validate(p, acme.TypeTLSALPN01)
	if err != nil {
		return fmt.Errorf("solver: %w", err)
	}
	v := visitTLS(ctx, p, connectByName(t.Dial, privateCA(ctx, p)))
	from := v.Hops[0].Address
	switch v.outcome {
	case outcomeRight:
		return nil
	case outcomeNoALPN:
		return fmt.Errorf(`solver: tls-alpn-01 for %q at %s: %w: put solver.ALPNProto into its tls.Config.NextProtos, `+
			`or use the TLSConfig of a certmanager.Manager`, p.Identifier, from, v.err)
	case outcomeWrong:
		return fmt.Errorf("solver: tls-alpn-01 for %q: %s answered with another certificate than the challenge's: %w", p.Identifier, from, v.err)
	case outcomeSilent, outcomeBroken, outcomeClientCertificate:
		return fmt.Errorf("solver: tls-alpn-01 for %q: the handshake with %s failed: %w", p.Identifier, from, escape.Error(v.err))
	default:
		return fmt.Errorf("solver: tls-alpn-01 for %q cannot be seen from here: %w", p.Identifier, escape.Error(v.err))
	}
}
