package certmanager

import (
	"context"
	"fmt"
	"net/netip"
)

// A Question is what Config.OnDemand is asked: whether a certificate may be obtained for a name that nobody configured.
type Question struct {
	Name    string         // a domain name as handshakes have it: in lower case, with A-labels
	Remote  netip.AddrPort // of the client that wants it, or of the first if several do; zero: unknown, or a renewal
	Renewal bool           // there is a certificate, and it is to be renewed
}

// askPolicy asks Config.OnDemand.
func (m *Manager) askPolicy(ctx context.Context, q Question) error {
	ctx, cancel := context.WithTimeout(ctx, policyTimeout)
	defer cancel()
	err := guard(ctx, m.logger, "Config.OnDemand", func() error {
		if err := m.config.OnDemand(ctx, q); err != nil {
			return fmt.Errorf("Config.OnDemand: %w", err)
		}
		return nil
	})
	if err != nil {
		return policyError{err}
	}
	return nil
}
