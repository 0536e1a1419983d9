package certmanager

import (
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// RenewAll queues the certificates for which match returns true to be replaced before they are due, as when a CA must
// revoke many, and returns how many they are. It waits for none: they go after whatever is more urgent (handshakes that wait,
// callers of [Manager.Renew], certificates that have expired or soon will, new ones), Config.Workers at once, and keep
// the pauses after failures and those that issuers ask for. The old ones are served meanwhile.
//
// The Status tells serial number, issuer, type of challenge and time of validation. What is queued is in this process's
// memory: after a restart RenewAll is to be called again, for which those that were replaced have another serial number. Of
// those that another process has replaced in the meantime, its certificate is served. A certificate that was not loaded
// yet is shown to match without what its record says.
//
// With RoleServe, and without match, none is queued. match is called for one certificate after another, and must not take long.
func (m *Manager) RenewAll(match func(Status) bool) int {
	if m.store == nil || match == nil || m.config.Role == RoleServe {
		return 0
	}
	var queued []*entry
	for e := range m.catalogue.all() {
		if hasToLose := e.held() != nil || !e.progress.isLoaded(); hasToLose && match(statusOf(e, time.Now())) {
			e.progress.change((*lifecycle.State).Queue)
			queued = append(queued, e)
		}
	}
	m.dispatcher.Update(queued...)
	return len(queued)
}
