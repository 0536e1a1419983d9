package s3

import (
	"sync"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/storagetest"
)

// The whole contract on a real server, where tombstones stay, through connections that can be cut; and on what answers as
// AWS does, where they do not.
func TestContract(t *testing.T) {
	tests := []struct {
		name   string
		target func(t testing.TB) target
		many   int
	}{
		{"server", realTarget, 2300},
		{"AWS", func(t testing.TB) target {
			_, d := newFake(t)
			return d.with("conditional_delete", "true")
		}, 2300},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.target(t) // starts or skips
			var places sync.Map
			type place struct {
				target
				cutter *server.Cutter
			}
			storagetest.Suite{
				Open: func(t *testing.T) storage.Store {
					d := test.target(t)
					p := place{d, server.NewCutter(t, d.address)}
					p.cutter.LeaveWhole(true)
					d.address = p.cutter.Address()
					s := d.open(t)
					places.Store(s, p)
					return s
				},
				Reopen: func(t *testing.T, s storage.Store) storage.Store {
					p, _ := places.Load(s)
					return p.(place).open(t)
				},
				Cut: func(_ *testing.T, s storage.Store) {
					p, _ := places.Load(s)
					p.(place).cutter.Cut()
				},
				Many: test.many,
			}.Run(t)
		})
	}
}

func TestCheck(t *testing.T) {
	for range 10 {
		if err := storage.Check(t.Context(), realTarget(t).open(t)); err != nil {
			t.Error(err)
		}
	}
}
