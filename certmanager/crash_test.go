package certmanager_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A mortalStore is a storage as a process has it that is killed at one of its writes: of that write,
// and of all that comes after, nothing is known in the process. The write itself reached the medium or
// not.
type mortalStore struct {
	storage.Store
	reaches bool   // the fatal write is done nevertheless
	die     func() // called once

	mu     sync.Mutex
	writes int // still to be survived
	dead   bool
	last   string // key of the fatal write
}

var errKilled = errors.New("the process was killed")

func (s *mortalStore) write(key string, do func() error) error {
	s.mu.Lock()
	dead, fatal := s.dead, s.writes == 0
	if fatal && !dead {
		s.dead, s.last = true, key
	}
	s.writes--
	s.mu.Unlock()
	if dead {
		return errKilled
	}
	var err error
	if !fatal || s.reaches {
		err = do()
	}
	if fatal {
		s.die()
		return errKilled
	}
	return err
}

func (s *mortalStore) Load(ctx context.Context, key string) (storage.Item, error) {
	s.mu.Lock()
	dead := s.dead
	s.mu.Unlock()
	if dead {
		return storage.Item{}, errKilled
	}
	return s.Store.Load(ctx, key)
}

func (s *mortalStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (revision storage.Revision, err error) {
	err = s.write(key, func() (err error) {
		revision, err = s.Store.Save(ctx, key, value, old)
		return err
	})
	return revision, err
}

func (s *mortalStore) Delete(ctx context.Context, key string, old storage.Revision) error {
	return s.write(key, func() error { return s.Store.Delete(ctx, key, old) })
}

func (s *mortalStore) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return s.Store.List(ctx, prefix)
}

// TestKilledBetweenWrites kills the manager at each write of an issuance in turn, before the write or
// just after it, and starts it again: there must be one certificate at the CA, served with its key, and
// a renewal after that must bring a second one.
func TestKilledBetweenWrites(t *testing.T) {
	for _, reaches := range []bool{false, true} {
		done := false
		for n := 0; !done; n++ {
			if n > 100 {
				t.Fatal("an issuance takes more than 100 writes")
			}
			synctest.Test(t, func(t *testing.T) { done = killAndRestart(t, n, reaches) })
		}
	}
}

// killAndRestart reports whether the issuance was done before the n-th write came.
func killAndRestart(t *testing.T, n int, reaches bool) (done bool) {
	w := newWorld(t)
	dead := make(chan struct{})
	mortal := &mortalStore{Store: w.store, reaches: reaches, writes: n, die: func() { close(dead) }}
	config := w.config("example.com")
	config.Storage = mortal
	obtained := make(chan struct{})
	config.OnEvent = func(e certmanager.Event) {
		if e.Kind == certmanager.EventObtained {
			close(obtained)
		}
	}
	m, err := certmanager.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	wait := w.runUntil(m, ended)
	select {
	case <-dead:
	case <-obtained:
		done = true
	}
	close(ended)
	wait()

	config = w.config("example.com")
	served := make(chan struct{})
	var once sync.Once
	serials := make(map[string]bool)
	config.OnEvent = func(e certmanager.Event) {
		if e.Kind == certmanager.EventObtained && serials[e.Serial] {
			t.Errorf("killed at write %d (%s): the same certificate was obtained twice", n, mortal.last)
		}
		serials[e.Serial] = true
		if e.Kind == certmanager.EventObtained || e.Kind == certmanager.EventLoaded {
			once.Do(func() { close(served) })
		}
	}
	m, stop := w.start(config)
	defer stop()
	<-served
	leaf, err := w.handshake(t.Context(), "example.com")
	if err != nil {
		t.Fatalf("killed at write %d (%s): %v", n, mortal.last, err)
	}
	certificates := w.ca.Certificates()
	if len(certificates) != 1 || !certificates[0].Equal(leaf) {
		t.Errorf("killed at write %d (%s): %d certificates at the CA, want the one that is served", n, mortal.last, len(certificates))
	}
	for key, err := range w.store.List(t.Context(), "challenges") {
		t.Errorf("killed at write %d (%s): the answer %s was left behind (%v)", n, mortal.last, key, err)
	}
	if err := m.Renew(t.Context(), "example.com"); err != nil {
		t.Errorf("killed at write %d (%s): Renew: %v", n, mortal.last, err)
	}
	if n := len(w.ca.Certificates()); n != 2 {
		t.Errorf("killed at write %d (%s): %d certificates at the CA after Renew, want 2", n, mortal.last, n)
	}
	return done
}
