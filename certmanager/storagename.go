package certmanager

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/everseal/everseal/storage"
)

// tellStart logs what the manager works with.
func (m *Manager) tellStart(ctx context.Context) {
	ids := make([]string, len(m.issuers))
	for i, issuer := range m.issuers {
		ids[i] = issuer.id
	}
	m.logger.LogAttrs(ctx, slog.LevelInfo, "the manager runs", slog.String("storage", storageName(m.store)), slog.Any("issuers", ids))
}

// storageName returns the folder of a storage.Dir, and of others what they call themselves, or else their type: what is in
// their fields may be secret. Those that wrap another come first.
func storageName(s storage.Store) string {
	var names []string
	for s != nil {
		switch own := s.(type) {
		case countedStore, countedScanner:
		case storage.Dir:
			folder, err := filepath.Abs(string(own))
			if err != nil {
				folder = string(own)
			}
			names = append(names, folder)
		case fmt.Stringer:
			names = append(names, fmt.Sprint(own))
		default:
			names = append(names, fmt.Sprintf("%T", s))
		}
		wrapper, ok := s.(interface{ Unwrap() storage.Store })
		if !ok {
			break
		}
		s = wrapper.Unwrap()
	}
	return strings.Join(names, " of ")
}
