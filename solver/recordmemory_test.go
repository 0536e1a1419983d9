package solver_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// Another process cleans up, though by now the name leads elsewhere and its own fields are others.
func TestDNS01CleansUpAfterACrash(t *testing.T) {
	inZones(t, []string{"example.com", "example.net"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		d.FollowCNAME = true
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		solvertest.Present(t, d, proof)
		p.add("example.com", "_acme-challenge.example.com", "CNAME", "abc.example.net")
		solvertest.Present(t, d, proof) // the order goes on in a second process
		_, value := txtOf(t, proof)
		p.wantRecords(t,
			solver.Record{Zone: "example.com", Name: "_acme-challenge.example.com", Value: value, TTL: time.Minute},
			solver.Record{Zone: "example.net", Name: "abc.example.net", Value: value, TTL: time.Minute})

		p.remove("example.com", "_acme-challenge.example.com", "CNAME", "")
		third := &solver.DNS01{Provider: p, Storage: d.Storage, DNS: &solver.DNS{Resolvers: []string{"192.0.2.99"}}, Zone: "example.org", TTL: time.Hour}
		solvertest.CleanUp(t, third, proof)
		p.wantRecords(t)
		if keys := keysOf(t, d.Storage); len(keys) > 0 {
			t.Errorf("%q are left in the storage", keys)
		}
	})
}

// A process can be killed before and after each of its steps: none leaves a record that nobody knows of, nor a
// memory that can't be cleared.
func TestDNS01IsKilled(t *testing.T) {
	for _, test := range []struct {
		name                          string
		save, appending, deleted, del bool // which step is not taken
		wantRecord                    bool // after the process was killed
	}{
		{name: "before it remembers", save: true},
		{name: "before it appends", appending: true},
		{name: "before it deletes", deleted: true, wantRecord: true},
		{name: "before it forgets", del: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				errKilled := errors.New("killed")
				store := &storagetest.Faulty{Store: d.Storage}
				if test.save {
					store.SetFaults(storagetest.Fault{On: storagetest.Save, Err: errKilled})
				}
				if test.del {
					store.SetFaults(storagetest.Fault{On: storagetest.Delete, Err: errKilled})
				}
				killed := &solver.DNS01{Provider: p, DNS: d.DNS, Storage: store}
				p.failing(func(action string, _ solver.Record) error {
					if action == "append" && test.appending || action == "delete" && test.deleted {
						return errKilled
					}
					return nil
				})
				proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
				err := killed.Present(t.Context(), proof)
				if err == nil {
					err = killed.CleanUp(t.Context(), proof)
				}
				if !errors.Is(err, errKilled) {
					t.Fatalf("the error is %v", err)
				}
				if there := len(p.dns.TXT("_acme-challenge.example.com")) > 0; there != test.wantRecord {
					t.Errorf("the record is there: %t", there)
				}
				if remembered := len(keysOf(t, d.Storage)) > 0; remembered == test.save {
					t.Errorf("the record is remembered: %t", remembered)
				}
				p.failing(nil)
				solvertest.CleanUp(t, d, proof)
				p.wantRecords(t)
				if keys := keysOf(t, d.Storage); len(keys) > 0 {
					t.Errorf("%q are left in the storage", keys)
				}
			})
		})
	}
}

// What a provider failed to delete is deleted by a later order for the name, once it is surely no longer
// needed.
func TestDNS01DeletesWhatIsLeftBehind(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		name, value := txtOf(t, proof)
		left := solver.Record{Zone: "example.com", Name: name, Value: value, TTL: time.Minute}
		solvertest.Present(t, d, proof)
		p.failing(failOn("delete"))
		if err := d.CleanUp(t.Context(), proof); !errors.Is(err, errProvider) {
			t.Fatalf("the error is %v", err)
		}
		p.failing(nil)

		for i, after := range []time.Duration{0, 6 * 24 * time.Hour, 25 * time.Hour} {
			time.Sleep(after) // the bubble's clock
			later := solvertest.WithToken(proof, "token"+string(rune('0'+i)))
			solvertest.Present(t, d, later)
			solvertest.CleanUp(t, d, later)
			if i < 2 {
				p.wantRecords(t, left)
			}
		}
		p.wantRecords(t)
		if keys := keysOf(t, d.Storage); len(keys) > 0 {
			t.Errorf("%q are left in the storage", keys)
		}
	})
}

// What is presented anew during a clean-up stays remembered: it is another's to delete.
func TestDNS01PresentedDuringCleanUp(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		other := solvertest.WithToken(proof, "another_orders_token")
		solvertest.Present(t, d, proof)
		store := &storagetest.Faulty{Store: d.Storage}
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Delete, Times: 1, Hit: func(string) {
			time.Sleep(time.Second) // so that its time is another
			solvertest.Present(t, d, proof)
			solvertest.Present(t, d, other)
		}})
		d.Storage = store
		solvertest.CleanUp(t, d, proof)
		name, value := txtOf(t, proof)
		_, otherValue := txtOf(t, other)
		p.wantRecords(t,
			solver.Record{Zone: "example.com", Name: name, Value: value, TTL: time.Minute},
			solver.Record{Zone: "example.com", Name: name, Value: otherValue, TTL: time.Minute})
		solvertest.CleanUp(t, d, proof)
		solvertest.CleanUp(t, d, other)
		p.wantRecords(t)
		if keys := keysOf(t, d.Storage); len(keys) > 0 {
			t.Errorf("%q are left in the storage", keys)
		}
	})
}

func TestDNS01StorageFails(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		store := &watchedStore{Faulty: storagetest.Faulty{Store: d.Storage}}
		d.Storage = store
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		store.fail(true)
		err := d.Present(t.Context(), proof)
		const want = `solver: dns-01 for example.com: remember the TXT record "_acme-challenge.example.com" before it is created: the store is down: secret-host`
		if !errors.Is(err, errStoreDown) || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
		p.wantCalls(t) // nothing that would not be remembered
		store.fail(false)
		solvertest.Present(t, d, proof)
		store.fail(true)
		if err := d.CleanUp(t.Context(), proof); !errors.Is(err, errStoreDown) {
			t.Errorf("the error is %v", err)
		}
		store.fail(false)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.CleanUp(ended, proof); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		if keys := keysOf(t, d.Storage); len(keys) != 1 {
			t.Errorf("%q are stored", keys)
		}
		solvertest.CleanUp(t, d, proof)
		p.wantRecords(t)
	})
}

// Keys and fields are written out: other versions must find them.
func TestDNS01MemoryFormat(t *testing.T) {
	const key = "challenges/dns-01/d61c5dab906f33d5c1152c117a3882018fd4529576c1f5b5560ca9af0da7506c" // printf _acme-challenge.example.com | sha256sum
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		_, value := txtOf(t, proof)
		solvertest.Present(t, d, proof)
		if keys := keysOf(t, d.Storage); !slices.Equal(keys, []string{key}) {
			t.Fatalf("the keys are %q, want %s", keys, key)
		}
		item, err := d.Storage.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		created, err := time.Now().UTC().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		want := `{"records":[{"zone":"example.com","name":"_acme-challenge.example.com","value":"` + value + `","ttl":60000000000,"created":` + string(created) + `}]}`
		if string(item.Value) != want {
			t.Errorf("stored is\n%s, want\n%s", item.Value, want)
		}
		solvertest.CleanUp(t, d, proof)

		for _, unreadable := range []string{"", "[]", `{"records":[{"ttl":"1m"}]}`} {
			revision, err := d.Storage.Save(t.Context(), key, []byte(unreadable), "")
			if err != nil {
				t.Fatal(err)
			}
			_, syntax := errors.AsType[*json.SyntaxError](d.CleanUp(t.Context(), proof))
			_, kind := errors.AsType[*json.UnmarshalTypeError](d.CleanUp(t.Context(), proof))
			if err := d.CleanUp(t.Context(), proof); !syntax && !kind || !strings.Contains(err.Error(), key+" in the storage can't be read; delete it") {
				t.Errorf("%q: %v", unreadable, err)
			}
			if err := d.Storage.Delete(t.Context(), key, revision); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Without a storage of its own a DNS01 remembers all the same, and another does not clean up for it.
func TestDNS01RemembersItself(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		d.Storage = storage.Store(nil)
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		name, value := txtOf(t, proof)
		solvertest.Present(t, d, proof)
		solvertest.CleanUp(t, &solver.DNS01{Provider: p, DNS: d.DNS}, proof)
		p.wantRecords(t, solver.Record{Zone: "example.com", Name: name, Value: value, TTL: time.Minute})
		solvertest.CleanUp(t, d, proof)
		p.wantRecords(t)
	})
}
