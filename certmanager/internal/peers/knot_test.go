package peers

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/solver"
)

// A slowZone is mainZone with BIND as its primary and Knot as its secondary, both named in the zone. The secondary
// has the zone as it was at first; it gets it anew when it is notified, which nobody does but the test.
type slowZone struct {
	primary, secondary *nameServer
	asked              chan struct{} // has a value for each question that the secondary was asked over UDP through dns
}

// startSlowZone starts both. Where a program is not installed the test is skipped, but not in CI.
func startSlowZone(t *testing.T) *slowZone {
	t.Helper()
	program := lookUpServer(t, "knotd")
	primary, secondary := startBIND(t, "@ NS ns2", "ns2 A 127.0.0.2", "_acme-challenge.led CNAME led.delegated.test."), newNameServer(t)
	secondary.Secret = primary.Secret
	folder := t.TempDir()
	file := filepath.Join(folder, "knot.conf")
	writeFile(t, file, fmt.Sprintf(`server:
    rundir: %[1]q
    listen: %[2]s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: %[1]q
key:
  - id: %[3]s
    algorithm: hmac-sha256
    secret: %[4]s
remote:
  - id: primary
    address: %[5]s
    key: %[3]s
acl:
  - id: test
    key: %[3]s
    action: notify
zone:
  - domain: %[6]s
    storage: %[1]q
    master: primary
    acl: test
`, folder, knotAddress(secondary), tsigKeyName, secondary.Secret, knotAddress(primary), mainZone))
	secondary.start(t, mainZone, exec.Command(program, "-c", file))
	return &slowZone{primary, secondary, make(chan struct{}, 1000)}
}

// knotAddress returns a server's address as Knot writes it.
func knotAddress(s *nameServer) string { return strings.Replace(s.Address, ":", "@", 1) }

// dns returns the DNS in which the zone's servers are found. Its resolver is the primary.
func (z *slowZone) dns() *solver.DNS {
	names := network{primaryAddress: z.primary.Address, secondaryAddress: z.secondary.Address}
	return &solver.DNS{
		Resolvers: []string{z.primary.Address},
		Dial: func(ctx context.Context, protocol, address string) (net.Conn, error) {
			if address == secondaryAddress && protocol == "udp" {
				select {
				case z.asked <- struct{}{}:
				default: // more than any test receives
				}
			}
			return names.dial(ctx, protocol, address)
		},
	}
}

// A secondary that gets the zone late is waited for: the CA is told nothing before the secondary has the record, and its
// first validation, which asks that server alone, succeeds.
func TestSlowSecondary(t *testing.T) {
	zone := startSlowZone(t)
	keepsZones(t, zone.primary)
	way := startRelay(t) // from the CA to the secondary
	way.direct.Store(true)
	way.lead(zone.secondary.Address)
	p := startPebble(t, pebbleSettings{nameServer: way.Addr().String()})
	client := newAccount(t, p)
	requests := record(client)
	s := &solver.DNS01{
		Provider:    zone.primary,
		DNS:         zone.dns(),
		Propagation: solver.Propagation{Interval: 20 * time.Millisecond},
	}
	ended := make(chan error, 1)
	ctx, r := within(t), newRequest(t, s, "*.example.test")
	go func() {
		_, err := client.Issue(ctx, r)
		ended <- err
	}()

	for range 3 { // when the third question is asked, the answers to two have been seen
		select {
		case <-zone.asked:
		case err := <-ended:
			t.Fatalf("the order has ended before the secondary had the record: %v", err)
		}
	}
	if got := zone.primary.texts(t, mainZone); len(got) != 1 {
		t.Errorf("at the primary TXT records are at %q, want one", got)
	}
	if n := requests.count("chalZ"); n != 0 {
		t.Errorf("the CA was told %d times before the secondary had the record", n)
	}
	if n := way.connections.Load(); n != 0 {
		t.Errorf("the CA has asked the secondary %d times before it had the record", n)
	}
	if err := zone.secondary.notify(ctx, mainZone); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	p.wants(t, 1, 1)
	if n := requests.count("chalZ"); n == 0 {
		t.Error("the CA was not told")
	}
	const questions = 3 // of Pebble, for one validation
	if n := way.connections.Load(); n != questions {
		t.Errorf("the CA has asked the secondary %d times, want %d", n, questions)
	}
}
