package certmanager

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
)

// A Question is what Config.OnDemand is asked: whether a certificate may be obtained for a name that nobody configured.
type Question struct {
	Name    string         // a domain name as handshakes have it: in lower case, with A-labels
	Remote  netip.AddrPort // of the client that wants it, or of the first if several do; zero: unknown, or a renewal
	Renewal bool           // there is a certificate, and it is to be renewed
}

// A policy says for which names that nobody configured certificates are obtained.
type policy struct {
	decide func(context.Context, Question) error // Config.OnDemand; nil: for none
	logger *slog.Logger
}

// ask asks Config.OnDemand.
func (p policy) ask(ctx context.Context, q Question) error {
	ctx, cancel := context.WithTimeout(ctx, policyTimeout)
	defer cancel()
	err := guard(ctx, p.logger, "Config.OnDemand", func() error {
		if err := p.decide(ctx, q); err != nil {
			return fmt.Errorf("Config.OnDemand: %w", err)
		}
		return nil
	})
	if err != nil {
		return policyError{err}
	}
	return nil
}
