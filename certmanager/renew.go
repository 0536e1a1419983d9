package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/acme"
)

// Renew replaces the certificate that covers name now, whatever its age, with all kinds of key that it has, and returns when
// that is done: nil, or why it failed. It counts against the CA's rate limits. If an issuance is under way, it joins that:
// what replaces the certificate that is served when Renew is called is what it waits for. A Run that has not begun is waited
// for, as long as ctx and ten seconds at most, also after an earlier one has ended: then the error says that the manager isn't
// running. If Run ends meanwhile, it says so at once.
func (m *Manager) Renew(ctx context.Context, name string) error {
	if m.store == nil {
		return errNotMade
	}
	id, err := acme.ParseIdentifier(name)
	if err != nil {
		return fmt.Errorf("certmanager: %w", err)
	}
	e := m.catalogue.covering(id.Value)
	if e == nil {
		return fmt.Errorf("certmanager: %s is not managed", id.Value)
	}
	if m.config.Role == RoleServe {
		return fmt.Errorf("certmanager: %s: %w", id.Value, errReadsOnly)
	}
	stopped, err := m.awaitRun(ctx)
	if err != nil {
		return fmt.Errorf("certmanager: %s: %w", id.Value, err)
	}
	commands := make(map[*entry]<-chan error)
	for a := range familyOf(e).all() {
		commands[a] = a.progress.command()
		if a.roles.has(forgotten) {
			return fmt.Errorf("certmanager: %s: %w", id.Value, errForgotten)
		}
		m.dispatcher.Update(a)
	}
	var errs []error
	for a, done := range commands {
		select {
		case err := <-done:
			errs = append(errs, err)
		case <-stopped:
			return fmt.Errorf("certmanager: %s: %w", id.Value, errEnded)
		case <-ctx.Done():
			s := a.progress.snapshot(time.Now())
			return s.ended(ctx.Err())
		}
	}
	return errors.Join(errs...)
}
