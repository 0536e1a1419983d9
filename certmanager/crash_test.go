package certmanager_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/certmanager"
)

// TestKilledBetweenWrites kills the manager at each write of an issuance in turn, before the write or
// just after it, and starts it again: there must be one certificate at the CA, served with its key, and
// a renewal after that must bring a second one. The CA is the only issuer, or the next after one that refuses.
func TestKilledBetweenWrites(t *testing.T) {
	for _, chain := range []bool{false, true} {
		for _, reaches := range []bool{false, true} {
			done := false
			for n := 0; !done; n++ {
				if n > 100 {
					t.Fatal("an issuance takes more than 100 writes")
				}
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					config := w.config("example.com")
					if chain {
						first := newLocalCA(t, "first")
						first.change((*localCA).refusing)
						config.Issuers = append([]certmanager.Issuer{first}, config.Issuers...)
					}
					done = w.killAndRestart(config, n, reaches)
				})
			}
		}
	}
}

// killAndRestart reports whether the issuance was done before the n-th write came.
func (w *world) killAndRestart(sound certmanager.Config, n int, reaches bool) (done bool) {
	t, config := w.t, sound
	dead := make(chan struct{})
	var last string
	config.Storage = mortal(w.store, n, reaches, func(key string) {
		last = key
		close(dead)
	})
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

	config = sound
	served := make(chan struct{})
	var once sync.Once
	serials := make(map[string]bool)
	config.OnEvent = func(e certmanager.Event) {
		if e.Kind == certmanager.EventObtained && serials[e.Serial] {
			t.Errorf("killed at write %d (%s): the same certificate was obtained twice", n, last)
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
		t.Fatalf("killed at write %d (%s): %v", n, last, err)
	}
	certificates := w.ca.Certificates()
	if len(certificates) != 1 || !certificates[0].Equal(leaf) {
		t.Errorf("killed at write %d (%s): %d certificates at the CA, want the one that is served", n, last, len(certificates))
	}
	for key, err := range w.store.List(t.Context(), "challenges") {
		t.Errorf("killed at write %d (%s): the answer %s was left behind (%v)", n, last, key, err)
	}
	if err := m.Renew(t.Context(), "example.com"); err != nil {
		t.Errorf("killed at write %d (%s): Renew: %v", n, last, err)
	}
	if n := len(w.ca.Certificates()); n != 2 {
		t.Errorf("killed at write %d (%s): %d certificates at the CA after Renew, want 2", n, last, n)
	}
	return done
}
