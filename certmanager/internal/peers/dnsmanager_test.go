package peers

import (
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// A manager has a certificate for a wildcard with one field of its Config: a solver for DNS. It has nothing to warn of,
// though it looks before the CA does.
func TestManagedWildcard(t *testing.T) {
	server := startBIND(t)
	keepsZones(t, server)
	p := startPebble(t, pebbleSettings{nameServer: server.Address})
	const name = "*.example.test"
	store := new(storage.Memory)
	s := startServer(t, p, certmanager.Config{
		Names:   []string{name},
		Storage: store,
		Solvers: []acme.Solver{&solver.DNS01{Provider: server, DNS: server.dns()}},
		Vantage: diagnose.Vantage{DNS: server.dns()},
	})
	s.events.wait(t, certmanager.EventObtained, name)
	s.served(t, "any.example.test") // verified
	if warnings, _ := s.events.of(certmanager.EventWarning, name); len(warnings) != 0 {
		t.Errorf("warned: %v", warnings)
	}
	p.wants(t, 1, 1)
	s.stop()
	forgetsRecords(t, store)
}

// Where DNS is set up wrongly, the event of the failure says what is wrong and what to do about it.
func TestManagedWildcardFails(t *testing.T) {
	zone := startSlowZone(t)
	keepsZones(t, zone.primary)
	stranger := &nameServer{zone.primary.Address, newNameServer(t).Secret}
	short := solver.Propagation{Timeout: 2 * time.Second, Interval: 50 * time.Millisecond}
	tests := map[string]struct {
		name   string
		solver *solver.DNS01
		cause  diagnose.Cause // of a failure at the CA
		says   []string
	}{
		"the CA is told before the secondary has the record": {
			name:   "*.example.test",
			solver: &solver.DNS01{Provider: zone.primary, Propagation: solver.Propagation{Off: true}},
			cause:  diagnose.CauseRecordMissing,
			says:   []string{"not yet on every server of the zone example.test", "ns2.example.test", "repair the transfer"},
		},
		"a secondary never has the record": {
			name:   "*.example.test",
			solver: &solver.DNS01{Provider: zone.primary, Propagation: short},
			says:   []string{"not seen at 1 of 2 servers", "ns2.example.test (127.0.0.2:53) says that there is no such name", "See why the zone does not get to all of its servers"},
		},
		"a CNAME is in the way": {
			name:   "*.led.example.test",
			solver: &solver.DNS01{Provider: zone.primary, Propagation: short},
			says:   []string{`A CNAME leads from there to "led.delegated.test"`, "set FollowCNAME"},
		},
		"a wrong key": {
			name:   "*.example.test",
			solver: &solver.DNS01{Provider: stranger},
			says:   []string{"create the TXT record _acme-challenge.example.test in the zone", "bad authentication"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := startPebble(t, pebbleSettings{nameServer: zone.secondary.Address})
			test.solver.DNS = zone.dns()
			s := startServer(t, p, certmanager.Config{
				Names:   []string{test.name},
				Solvers: []acme.Solver{test.solver},
				Vantage: diagnose.Vantage{DNS: zone.dns()},
			})
			failed := s.events.wait(t, certmanager.EventFailed, test.name)
			for _, words := range test.says {
				if !strings.Contains(failed.Err.Error(), words) {
					t.Errorf("the error does not say %q: %v", words, failed.Err)
				}
			}
			if test.cause != "" && (len(failed.Diagnoses) != 1 || failed.Diagnoses[0].Cause != test.cause || failed.Diagnoses[0].Cure == "") {
				t.Errorf("the diagnoses are %v, want the cause %q", failed.Diagnoses, test.cause)
			}
			s.stop()
			p.wants(t, 1, 0)
		})
	}
}
