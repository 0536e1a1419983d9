package certmanager

import (
	"context"
	"fmt"
)

// Delete forgets the names as [Manager.Forget] does, and deletes what the storage has for their certificates: those of the
// Config's issuers, of all key types, with their keys, and the record of the work. It deletes also what is stored
// for names that are not managed here. Whatever is not there is no error.
//
// It waits for an attempt under way, here or in another process, to give the lease of the work back, so that ctx should
// have time for that. Other running managers on the storage stop serving a certificate as soon as the storage's Watch, or the
// next comparison with it, tells them that its record is gone, and do not order it again until they are started anew:
// by what is noted of the deletion until the certificate has ended. A record that is gone without that was lost, or deleted by
// hand; its certificate is served on and obtained anew, with [EventCorrupt]. A manager that has the name without a certificate
// learns nothing: its Config, or a Forget there, has to.
//
// The error says of each record that was not deleted why; Delete can be called again, and after a crash too. A
// certificate goes before the record of its work: what is left of a deletion that was broken off serves nobody.
func (m *Manager) Delete(ctx context.Context, names ...string) error {
	if m.store == nil {
		return errNotMade
	}
	normal, err := normalizeAll(names)
	if err != nil {
		return err
	}
	if m.config.Role == RoleServe {
		return fmt.Errorf("certmanager: delete: %w", errReadsOnly)
	}
	return m.obtainer.eraser().eraseNames(ctx, normal, m.forget(normal))
}
