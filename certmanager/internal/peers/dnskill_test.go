package peers

import (
	"context"
	"runtime"
	"slices"
	"testing"

	"github.com/letsencrypt/pebble/v2/acme"

	"github.com/everseal/everseal/storage"
)

// waitFailed waits until an order has failed.
func (p *pebble) waitFailed(ctx context.Context, t *testing.T) {
	t.Helper()
	failed := func(id string) bool {
		order := p.database.GetOrderByID(id)
		if order == nil {
			return false // of an account
		}
		status, err := order.GetStatus()
		return err == nil && status == acme.StatusInvalid
	}
	for ; !slices.ContainsFunc(p.traffic.ids(), failed); runtime.Gosched() {
		if ctx.Err() != nil {
			t.Fatal("no order fails")
		}
	}
}

// A server that is killed while its record is in the zone and the CA looks for it, takes the record away when it is
// started again: where the CA has found it meanwhile, and where the order has failed and another one is made.
func TestBINDKilled(t *testing.T) {
	const name = "*.example.test"
	for outcome, want := range map[string]struct {
		found  bool
		orders int
	}{
		"the record is found":  {true, 1},
		"the validation fails": {false, 2},
	} {
		t.Run(outcome, func(t *testing.T) {
			server := startBIND(t)
			keepsZones(t, server)
			way := startRelay(t) // from the CA to its DNS
			p := startPebble(t, pebbleSettings{nameServer: way.Addr().String()})
			config := childConfig{
				Directory: p.directory,
				Trust:     p.front.Certificate().Raw,
				Storage:   t.TempDir(),
				Name:      name,
				DNS01:     server,
			}
			killed := startChild(t, p, config)
			for ctx := within(t); way.connections.Load() == 0; runtime.Gosched() {
				if ctx.Err() != nil {
					t.Fatal("the CA does not look for the record")
				}
			}
			killed.kill(t)
			if got := server.texts(t, mainZone); !slices.Equal(got, []string{"_acme-challenge.example.test"}) {
				t.Errorf("after the kill TXT records are at %q", got)
			}

			if !want.found {
				way.direct.Store(true)
				way.lead("") // now what was held fails
				p.waitFailed(within(t), t)
			}
			way.lead(server.Address)
			revived := startChild(t, p, config)
			revived.says(t, "serial")
			revived.kill(t)
			p.wants(t, want.orders, 1)
			forgetsRecords(t, storage.Dir(config.Storage))
		})
	}
}
