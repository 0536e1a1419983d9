package solver_test

import (
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A storingSolver is one that can keep things in its user's storage.
type storingSolver interface {
	acme.Solver
	WithStorage(s storage.Store) acme.Solver
}

// A field that is added and forgotten here would be lost in a manager.
func TestWithStorage(t *testing.T) {
	dns01 := &solver.DNS01{
		Provider:    new(zoneProvider),
		DNS:         &solver.DNS{Resolvers: []string{"192.0.2.1"}},
		Propagation: solver.Propagation{Quorum: 1},
		Zone:        "example.com",
		FollowCNAME: true,
		TTL:         time.Hour,
		Logger:      slog.New(slog.DiscardHandler),
	}
	for _, given := range []storingSolver{
		&solver.HTTP01{Addr: ":80"}, &solver.TLSALPN01{Logger: slog.New(slog.DiscardHandler)}, dns01, (*solver.DNSAccount01)(dns01),
	} {
		s := new(storage.Memory)
		with := given.WithStorage(s)
		if reflect.TypeOf(with) != reflect.TypeOf(given) {
			t.Fatalf("%T becomes a %T", given, with)
		}
		before, after := reflect.ValueOf(given).Elem(), reflect.ValueOf(with).Elem()
		for i := range before.NumField() {
			field := before.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			want := before.Field(i).Interface()
			if field.Name == "Storage" {
				want = s
			} else if reflect.ValueOf(want).IsZero() {
				t.Errorf("%T.%s is not tested", given, field.Name)
			}
			if !reflect.DeepEqual(after.Field(i).Interface(), want) {
				t.Errorf("%T.%s is %v, want %v", given, field.Name, after.Field(i), want)
			}
		}
		if with.(storingSolver).WithStorage(new(storage.Memory)) != with {
			t.Errorf("%T: a storage that is set is replaced", given)
		}
	}
}
