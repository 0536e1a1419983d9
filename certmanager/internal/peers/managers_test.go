package peers

import (
	"context"
	"fmt"
	"testing"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A manager that forbids a name never hands over the certificate that another one in the process has for it: not while
// that one obtains it, not afterwards, and not where both keep theirs in one storage or use one CA.
func TestManagersApart(t *testing.T) {
	one := startPebble(t, pebbleSettings{})
	two := startPebble(t, pebbleSettings{})
	tests := []struct {
		name       string
		forbidding *pebble
		together   bool // they share a storage
	}{
		{"two CAs and two storages", two, false},
		{"two CAs and one storage", two, true},
		{"one CA and two storages", one, false},
		{"one CA and one storage", one, true},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			allowed, own := fmt.Sprintf("test-%d.shared.example.test", i), fmt.Sprintf("test-%d.own.example.test", i)
			managed := fmt.Sprintf("test-%d.managed.example.test", i)
			servingStore, forbiddingStore := new(storage.Memory), new(storage.Memory)
			if test.together {
				forbiddingStore = servingStore
			}
			forbidden := startServer(t, test.forbidding, certmanager.Config{
				Names:   []string{own},
				Storage: forbiddingStore,
				OnDemand: func(context.Context, certmanager.Question) error {
					return fmt.Errorf("%w: not on this server", certmanager.ErrDenied)
				},
			})
			forbidden.events.wait(t, certmanager.EventObtained, own)
			serving := startServer(t, one, certmanager.Config{
				Names:    []string{managed},
				Storage:  servingStore,
				OnDemand: func(context.Context, certmanager.Question) error { return nil },
			})
			serving.events.wait(t, certmanager.EventObtained, managed) // it runs
			one.tls.lead("")                                           // the validation waits
			ctx := within(t)
			got := make(chan error, 1)
			go func() {
				_, err := handshake(ctx, one, serving.address, allowed)
				got <- err
			}()
			serving.events.wait(t, certmanager.EventObtaining, allowed)
			if _, err := handshake(ctx, one, forbidden.address, allowed); err == nil {
				t.Error("the certificate was handed over while it was obtained")
			}
			one.tls.lead(serving.address)
			if err := <-got; err != nil {
				t.Fatal(err)
			}
			if _, err := handshake(ctx, one, forbidden.address, allowed); err == nil {
				t.Error("the certificate was handed over")
			}
			if n := len(two.certificates(allowed)); n != 0 {
				t.Errorf("the forbidding manager's CA has issued %d certificates", n)
			}
		})
	}
}

// Two managers with one storage and one name but two CAs, such as staging and production, have a certificate each, of
// the CA each was told to use, also after a restart.
func TestIssuersApart(t *testing.T) {
	const name = "twice.example.test"
	store := storage.Dir(t.TempDir())
	cas := []*pebble{startPebble(t, pebbleSettings{}), startPebble(t, pebbleSettings{})}
	for _, want := range []certmanager.EventKind{certmanager.EventObtained, certmanager.EventLoaded} {
		for _, p := range cas {
			s := startServer(t, p, certmanager.Config{Names: []string{name}, Storage: store})
			s.events.wait(t, want, name)
			s.served(t, name) // verified with the roots of its own CA
			s.stop()
		}
	}
	for _, p := range cas {
		p.wants(t, 1, 1)
	}
}
