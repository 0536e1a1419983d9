package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// Renew replaces the certificate, and no handshake fails meanwhile.
func TestRenew(t *testing.T) {
	const name = "renewed.example.test"
	p := startPebble(t, pebbleSettings{})
	s := startServer(t, p, certmanager.Config{Names: []string{name}})
	first := s.events.wait(t, certmanager.EventObtained, name)
	renewed := make(chan error, 1)
	ctx := within(t)
	go func() { renewed <- s.Renew(ctx, name) }()
	for handshakes := 0; ; handshakes++ {
		s.served(t, name)
		select {
		case err := <-renewed:
			if err != nil {
				t.Fatal(err)
			}
		default:
			continue
		}
		t.Logf("%d handshakes meanwhile", handshakes)
		break
	}
	found := s.events.waitFor(t, certmanager.EventObtained, name, 2)
	if len(found) != 2 || !found[1].Renewal || found[1].Serial == first.Serial {
		t.Fatalf("events of certificates obtained: %+v", found)
	}
	if got := serial(s.served(t, name)); got != found[1].Serial {
		t.Errorf("serial number %s is served after Renew, want %s", got, found[1].Serial)
	}
	p.wants(t, 2, 2)
}

// A certificate that lives for seconds is renewed of itself before it ends.
func TestRenewalDue(t *testing.T) {
	const name = "brief.example.test"
	p := startPebble(t, pebbleSettings{lifetime: 6 * time.Second})
	s := startServer(t, p, certmanager.Config{Names: []string{name}})
	first := s.events.wait(t, certmanager.EventObtained, name)
	second := s.events.waitFor(t, certmanager.EventObtained, name, 2)[1]
	if !second.Renewal || second.Time.Before(first.Next) || !second.Time.Before(first.NotAfter) {
		t.Errorf("renewed at %v; it was due at %v and ended at %v", second.Time, first.Next, first.NotAfter)
	}
	s.served(t, name)
}

func TestRestart(t *testing.T) {
	names := []string{"first.example.test", "second.example.test", "third.example.test"}
	several := []string{"a.example.test", "b.example.test", "127.0.0.1"}
	p := startPebble(t, pebbleSettings{})
	config := certmanager.Config{
		Names:    names,
		Subjects: []certmanager.Subject{{Names: several, KeyTypes: []certmanager.KeyType{certmanager.RSA2048}}},
		Storage:  storage.Dir(t.TempDir()),
	}
	before := make(map[string]string)
	s := startServer(t, p, config)
	for _, name := range append(names, several...) {
		s.events.wait(t, certmanager.EventObtained, name)
		before[name] = serial(s.served(t, name))
	}
	s.stop()

	s = startServer(t, p, config)
	for name, want := range before {
		s.events.wait(t, certmanager.EventLoaded, name)
		if got := serial(s.served(t, name)); got != want {
			t.Errorf("%s: serial number %s is served after the restart, want %s", name, got, want)
		}
		status := s.settled(t, name)
		if status.State != certmanager.StateValid || status.Action != certmanager.ActionRenew || time.Until(status.Next) < 24*time.Hour {
			t.Errorf("status after the restart: %+v", status)
		}
	}
	p.wants(t, 4, 4)

	if err := s.Renew(within(t), names[0]); err != nil {
		t.Fatal(err)
	}
	p.wants(t, 5, 5)
	if p.accounts() != 1 {
		t.Errorf("the CA has %d accounts, want 1", p.accounts())
	}
}

// A refusingStore fails a number of writes of certificates: every other one although it was done.
type refusingStore struct {
	storage.Store

	mu       sync.Mutex
	failures int              // to come
	failed   func(key string) // called with each
}

var errRefused = errors.New("the disk is said to be full")

func (s *refusingStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures == 0 || !strings.HasPrefix(key, "certificates/") {
		return s.Store.Save(ctx, key, value, old)
	}
	s.failures--
	if s.failures == 0 {
		if _, err := s.Store.Save(ctx, key, value, old); err != nil {
			return "", err
		}
	}
	s.failed(key)
	return "", errRefused
}

// refuse has the next writes of certificates fail.
func (s *refusingStore) refuse(n int, failed func(key string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.failed = n, failed
}

// Whenever the write of a renewed certificate fails, what is stored is a certificate with its key, and the one that was
// issued is not lost.
func TestRenewalFailingStorage(t *testing.T) {
	const name = "kept.example.test"
	p := startPebble(t, pebbleSettings{})
	memory := new(storage.Memory)
	store := &refusingStore{Store: memory}
	s := startServer(t, p, certmanager.Config{Names: []string{name}, Storage: store})
	first := s.events.wait(t, certmanager.EventObtained, name)
	const writes = 3
	var seen []string // serial numbers stored when a write had failed
	store.refuse(writes, func(key string) {
		item, err := memory.Load(t.Context(), key)
		if err != nil {
			t.Errorf("after a failed write: %v", err)
			return
		}
		pair, err := tls.X509KeyPair(item.Value, item.Value)
		if err != nil {
			t.Errorf("after a failed write: %v", err)
			return
		}
		seen = append(seen, serial(pair.Leaf))
	})
	if err := s.Renew(within(t), name); err != nil {
		t.Fatal(err)
	}
	found := s.events.waitFor(t, certmanager.EventObtained, name, 2)
	want := []string{first.Serial, first.Serial, found[1].Serial}
	if strings.Join(seen, " ") != strings.Join(want, " ") {
		t.Errorf("stored after the failed writes: %v, want %v", seen, want)
	}
	s.stop()
	restarted := startServer(t, p, certmanager.Config{Names: []string{name}, Storage: memory})
	restarted.events.wait(t, certmanager.EventLoaded, name)
	if got := serial(restarted.served(t, name)); got != found[1].Serial {
		t.Errorf("serial number %s is served after the restart, want %s", got, found[1].Serial)
	}
	p.wants(t, 2, 2)
}
