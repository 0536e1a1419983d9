package nats

import (
	"errors"
	"sync"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/storagetest"
)

// A place is where a store is, and what its connections go through.
type place struct {
	target
	direct target
	cutter *server.Cutter
}

// placesOf renodes where stores are.
type placesOf struct{ all sync.Map }

func (m *placesOf) of(s storage.Store) place {
	p, _ := m.all.Load(s)
	return p.(place)
}

func TestContract(t *testing.T) {
	node := sharedServer(t) // starts or skips
	many := 10_000
	if raceDetector {
		many = 5_000 // more than a page of keys
	}
	var places placesOf
	storagetest.Suite{
		Open: func(t *testing.T) storage.Store {
			p := place{direct: targetAt(node.Address()), cutter: server.NewCutter(t, node.Address())}
			p.cutter.LeaveWhole(true)
			p.target = through(p.cutter, node, p.direct)
			s := p.open(t)
			places.all.Store(s, p)
			return s
		},
		Reopen: func(t *testing.T, s storage.Store) storage.Store { return places.of(s).direct.open(t) },
		Cut:    func(t *testing.T, s storage.Store) { places.of(s).cutter.Cut() },
		Many:   many,
	}.Run(t)
}

// The program's own client serves a store, too, and is left open.
func TestGivenClient(t *testing.T) {
	client := adminOf(t, sharedServer(t))
	s, err := New(client, Config{Bucket: "given"})
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Load(t.Context(), "a"); !errors.Is(err, errClosed) {
		t.Errorf("a store that was closed loads: %v", err)
	}
	if !client.Conn().IsConnected() {
		t.Error("the client was closed")
	}
}
