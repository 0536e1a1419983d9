package redis

import (
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

func TestContract(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.target(t) // starts or skips
			var targets targetsOf
			storagetest.Suite{
				Open: func(t *testing.T) storage.Store {
					d := kind.target(t)
					d = d.with("client_name", d.prefix)
					return targets.add(d.open(t), d)
				},
				Reopen: func(t *testing.T, s storage.Store) storage.Store { return targets.of(s).open(t) },
				Cut:    func(t *testing.T, s storage.Store) { cutWatches(t, s.(*Store), targets.of(s).prefix) },
				Many:   10_000,
			}.Run(t)
		})
	}
}

// targetsOf remembers where stores are.
type targetsOf struct{ all sync.Map }

func (m *targetsOf) add(s storage.Store, d target) storage.Store {
	m.all.Store(s, d)
	return s
}

func (m *targetsOf) of(s storage.Store) target {
	d, _ := m.all.Load(s)
	return d.(target)
}

// cutWatches breaks the connections that the watches of clients with this name have.
func cutWatches(t *testing.T, s *Store, client string) {
	t.Helper()
	n, err := s.node(t.Context(), s.markKey)
	if err != nil {
		t.Fatal(err)
	}
	list, err := n.Do(t.Context(), "client", "list", "type", "pubsub").Text()
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for line := range strings.Lines(list) {
		if !strings.Contains(line, " name="+client+" ") {
			continue
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
		if err := n.Do(t.Context(), "client", "kill", "id", id).Err(); err != nil {
			t.Fatal(err)
		}
		cut++
	}
	if cut == 0 {
		t.Error("there is no watch to cut")
	}
}
