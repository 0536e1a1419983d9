package certmanager

import (
	"context"
	"fmt"

	"github.com/everseal/everseal/acme"
)

// Revoke has the certificate that covers the name, with each kind of key that it has, revoked by the issuer that signed it,
// which has to have a method for it (see [Issuer]). The successor comes first: it is obtained with a new key, stored and
// served, and then the old one is revoked. Revoke returns when both are done, or with the error of the first try.
//
// One that was imported is asked of the first issuer, which may not be who signed it: that can't be told.
//
// A name that is not managed has no successor: of it what is stored is revoked, of all issuers and key types. So a server
// that is given up calls Forget, Revoke and [Manager.Delete], in this order.
//
// What is to be revoked is stored before anything else is done, and tried again after a failure, and after a restart, until
// it is done or the certificate has ended; if the names are deleted meanwhile, without waiting for a successor. That the
// manager can't reach the CA at the moment, or ctx ends, does not end it. A Run that has not begun is waited for, as
// [Manager.Renew] does.
func (m *Manager) Revoke(ctx context.Context, name string, reason acme.RevocationReason) error {
	if m.store == nil {
		return errNotMade
	}
	id, err := acme.ParseIdentifier(name)
	if err != nil {
		return fmt.Errorf("certmanager: %w", err)
	}
	if m.config.Role == RoleServe {
		return fmt.Errorf("certmanager: revoke %s: %w", id.Value, errReadsOnly)
	}
	stopped, err := m.awaitRun(ctx)
	if err != nil {
		return fmt.Errorf("certmanager: revoke %s: %w", id.Value, err)
	}
	return m.pursuits.revoke(ctx, id.Value, reason, stopped)
}
