package peers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A notingProvider notes which records it creates, as "name in zone".
type notingProvider struct {
	solver.Provider
	mu      sync.Mutex
	created []string
}

// AppendRecord is that of solver.Provider.
func (p *notingProvider) AppendRecord(ctx context.Context, r solver.Record) error {
	p.mu.Lock()
	p.created = append(p.created, r.Name+" in "+r.Zone)
	p.mu.Unlock()
	return p.Provider.AppendRecord(ctx, r)
}

// sorted returns what was created so far, in order of names.
func (p *notingProvider) sorted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(slices.Values(p.created))
}

// keepsZones fails the test, when that ends, unless the server's zones are then as they are now.
func keepsZones(t *testing.T, s *nameServer) {
	t.Helper()
	zones := []string{mainZone, delegatedZone}
	var before [][]string
	for _, name := range zones {
		before = append(before, s.zone(t, name))
	}
	t.Cleanup(func() {
		for i, name := range zones {
			if after := s.zone(t, name); !slices.Equal(after, before[i]) {
				t.Errorf("the zone %s was\n%q\nand is now\n%q", name, before[i], after)
			}
		}
	})
}

// forgetsRecords fails the test if a store still remembers that a record was created.
func forgetsRecords(t *testing.T, s storage.Store) {
	t.Helper()
	for key, err := range s.List(within(t), "challenges") {
		t.Errorf("the storage still has %q (%v)", key, err)
	}
}

// newRequest returns one for the names, that has control proved by one solver.
func newRequest(t *testing.T, s acme.Solver, names ...string) acme.Request {
	t.Helper()
	return acme.Request{
		Identifiers: identifiers(t, names...),
		Key:         newKey(t),
		Solvers:     []acme.Solver{s},
		CleanUpFailed: func(proof acme.Proof, err error) {
			t.Errorf("clean-up of %s: %v", proof.Identifier.Value, err)
		},
	}
}

// order has the client obtain a certificate for the names by one solver.
func order(t *testing.T, p *pebble, client *acme.Client, s acme.Solver, names ...string) error {
	t.Helper()
	r := newRequest(t, s, names...)
	certificate, err := client.Issue(within(t), r)
	if err == nil {
		verify(t, p, certificate, r)
	}
	return err
}

// A wildcard and its base name have their records at one name, side by side, in one order.
func TestBIND(t *testing.T) {
	server := startBIND(t)
	names := []string{"example.test", "*.example.test", "www.example.test", "*.www.example.test"}
	for name, newSolver := range map[string]func(*solver.DNS01) acme.Solver{
		acme.TypeDNS01:        func(s *solver.DNS01) acme.Solver { return s },
		acme.TypeDNSAccount01: func(s *solver.DNS01) acme.Solver { return (*solver.DNSAccount01)(s) },
	} {
		t.Run(name, func(t *testing.T) {
			keepsZones(t, server)
			p := startPebble(t, pebbleSettings{nameServer: server.Address})
			provider, store := &notingProvider{Provider: server}, new(storage.Memory)
			s := newSolver(&solver.DNS01{Provider: provider, Storage: store, DNS: server.dns()})
			if err := order(t, p, newAccount(t, p), s, names...); err != nil {
				t.Fatal(err)
			}
			p.wants(t, 1, 1)
			created := provider.sorted()
			if len(created) != 4 || created[0] != created[1] || created[1] == created[2] || created[2] != created[3] {
				t.Errorf("created were %q, want two at each of two names", created)
			}
			forgetsRecords(t, store)
		})
	}
}

// Challenges are delegated to another zone by CNAME records. One of a wildcard is no delegation.
func TestBINDDelegation(t *testing.T) {
	server := startBIND(t,
		"_acme-challenge.near CNAME near.delegated.test.",
		"_acme-challenge.far CNAME halfway",
		"halfway CNAME far.delegated.test.",
		"* CNAME elsewhere.delegated.test.",
	)
	tests := map[string]struct {
		follow bool
		names  []string
		want   []string
	}{
		"delegated": {
			follow: true,
			names:  []string{"near.example.test", "*.near.example.test", "far.example.test"},
			want:   []string{"far.delegated.test in delegated.test", "near.delegated.test in delegated.test", "near.delegated.test in delegated.test"},
		},
		"wildcard, CNAMEs followed": {
			follow: true,
			names:  []string{"caught.example.test", "*.caught.example.test"},
			want:   []string{"_acme-challenge.caught.example.test in example.test", "_acme-challenge.caught.example.test in example.test"},
		},
		"wildcard, CNAMEs not followed": {
			names: []string{"caught.example.test"},
			want:  []string{"_acme-challenge.caught.example.test in example.test"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keepsZones(t, server)
			p := startPebble(t, pebbleSettings{nameServer: server.Address})
			provider, store := &notingProvider{Provider: server}, new(storage.Memory)
			s := &solver.DNS01{Provider: provider, Storage: store, DNS: server.dns(), FollowCNAME: test.follow}
			if err := order(t, p, newAccount(t, p), s, test.names...); err != nil {
				t.Fatal(err)
			}
			p.wants(t, 1, 1)
			if got := provider.sorted(); !slices.Equal(got, test.want) {
				t.Errorf("created were %q, want %q", got, test.want)
			}
			forgetsRecords(t, store)
		})
	}
}

// Ten orders at once, of which all have two names in common, take nothing away from one another.
func TestBINDManyOrders(t *testing.T) {
	const orders = 10
	server := startBIND(t)
	keepsZones(t, server)
	p := startPebble(t, pebbleSettings{nameServer: server.Address})
	store := new(storage.Memory)
	s := &solver.DNS01{Provider: server, Storage: store, DNS: server.dns()}
	client := newAccount(t, p)
	var requests [orders]acme.Request
	for i := range requests {
		names := []string{"example.test", "*.example.test"}
		if i%2 == 1 {
			names = append(names, fmt.Sprintf("host-%d.example.test", i))
		}
		requests[i] = newRequest(t, s, names...)
	}
	var certificates [orders]*acme.Certificate
	var errs [orders]error
	var tasks sync.WaitGroup
	for i, r := range requests {
		tasks.Go(func() { certificates[i], errs[i] = client.Issue(within(t), r) })
	}
	tasks.Wait()
	for i, r := range requests {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		verify(t, p, certificates[i], r)
	}
	p.wants(t, orders, orders)
	forgetsRecords(t, store)
}

// The standing record of dns-persist-01 that the error without it names, set by hand, is one that the CA takes, for one
// order after another. It stays.
func TestBINDPersistByHand(t *testing.T) {
	server := startBIND(t)
	p := startPebble(t, pebbleSettings{nameServer: server.Address})
	client := newAccount(t, p)
	s := &solver.DNSPersist01{DNS: server.dns()}
	err := order(t, p, client, s, "*.example.test")
	missing, ok := errors.AsType[*solver.StandingRecordError](err)
	if !ok {
		t.Fatalf("without the record: %v", err)
	}
	missing.Record.Zone = mainZone
	if err := server.AppendRecord(within(t), missing.Record); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"*.example.test", "example.test"} {
		if err := order(t, p, client, s, name); err != nil {
			t.Fatal(err)
		}
	}
	p.wants(t, 3, 2)
	if got := server.texts(t, mainZone); !slices.Equal(got, []string{missing.Record.Name}) {
		t.Errorf("TXT records are at %q", got)
	}
}

// With a provider the standing record is set once, and stays.
func TestBINDPersistByProvider(t *testing.T) {
	server := startBIND(t)
	p := startPebble(t, pebbleSettings{nameServer: server.Address})
	client := newAccount(t, p)
	provider := &notingProvider{Provider: server}
	for range 2 {
		if err := order(t, p, client, &solver.DNSPersist01{Provider: provider, DNS: server.dns()}, "*.example.test"); err != nil {
			t.Fatal(err)
		}
	}
	p.wants(t, 2, 2)
	if got, want := provider.sorted(), []string{"_validation-persist.example.test in example.test"}; !slices.Equal(got, want) {
		t.Errorf("created were %q, want %q", got, want)
	}
	if got := server.texts(t, mainZone); !slices.Equal(got, []string{"_validation-persist.example.test"}) {
		t.Errorf("TXT records are at %q", got)
	}
}
