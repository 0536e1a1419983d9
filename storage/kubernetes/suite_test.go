package kubernetes

import (
	"net/url"
	"sync"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/storagetest"
)

// As another process has it: by rbac.yaml's rights alone, and through connections that break.
func TestContract(t *testing.T) {
	s := apiServer(t)
	var places, cutters sync.Map
	many := 3000
	if raceDetector {
		many = 300
	}
	storagetest.Suite{
		Open: func(t *testing.T) storage.Store {
			cutter := server.NewCutter(t, s.Address())
			cutter.LeaveWhole(true)
			direct := place(s, s.Address(), "program")
			u, err := url.Parse(direct)
			if err != nil {
				t.Fatal(err)
			}
			u.Host = cutter.Address()
			store := open(t, u.String())
			places.Store(store, direct)
			cutters.Store(store, cutter)
			return store
		},
		Reopen: func(t *testing.T, s storage.Store) storage.Store {
			direct, _ := places.Load(s)
			return open(t, direct.(string))
		},
		Cut: func(t *testing.T, s storage.Store) {
			cutter, _ := cutters.Load(s)
			cutter.(*server.Cutter).Cut()
		},
		Many: many,
	}.Run(t)
}

func TestCheck(t *testing.T) {
	if err := storage.Check(t.Context(), newStoreOf(t)); err != nil {
		t.Error(err)
	}
}
