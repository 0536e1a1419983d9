//go:build unix

package sql

import (
	"context"
	"crypto/tls"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

// fleetPatience is for the term of a lease that nobody gives back, and the back-off of a validation that a kill has spoilt.
const fleetPatience = 2 * time.Minute

const leaseTerm = time.Minute // of a manager

// wantAll waits until each of the members serves a certificate for each name, of which the CA has issued one and no other.
func (f *fleet) wantAll(t *testing.T, members ...member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fleetPatience)
	defer cancel()
	for i, m := range members {
		for _, name := range f.names {
			for err := f.handshake(ctx, m, name); err != nil; err = f.handshake(ctx, m, name) {
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
					t.Fatalf("member %d does not serve %s after %v: %v", i, name, fleetPatience, err)
				}
			}
		}
	}
	issued := make(map[string]int)
	for _, c := range f.ca.Certificates() {
		issued[nameOf(c)]++
	}
	for _, name := range f.names {
		if issued[name] != 1 {
			t.Errorf("the CA has issued %d certificates for %s", issued[name], name)
		}
	}
	if len(issued) != len(f.names) {
		t.Errorf("the CA has issued certificates for %d names, want %d: %s", len(issued), len(f.names), slices.Sorted(maps.Keys(issued)))
	}
}

// handshake returns nil if the member serves the name.
func (f *fleet) handshake(ctx context.Context, m member, name string) error {
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: f.ca.Roots(), ServerName: name}}
	conn, err := dialer.DialContext(ctx, "tcp", m.address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// signal sends one to the member's process.
func (m member) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := m.command.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Eight processes obtain certificates for 200 names, while they are killed and started again, or suspended, for a moment
// or for longer than the others wait for them. In the end all of them serve all names, and the CA has issued one certificate
// for each.
func TestFleetUnderFire(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("it waits for leases of a minute")
	}
	t.Parallel() // with the other tests that mostly wait
	for name, newTarget := range map[string]func(testing.TB) target{"PostgreSQL": newPostgresTarget, "Dir": newDirTarget} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, newTarget(t), manyNames(200)...)
			f.ca.SetFaults(dawdling(600 * time.Millisecond))
			members := make([]member, 8)
			led := make(map[int]bool)
			lead := func() {
				var addresses []string
				for i := range led {
					addresses = append(addresses, members[i].address)
				}
				f.lead(addresses...)
			}
			for i := range members {
				members[i] = f.start(t)
				led[i] = true
			}
			lead()
			const longAsleep = 2 // the last ones
			for action := range 20 {
				<-time.After(rand.N(300 * time.Millisecond))
				i := rand.IntN(len(members) - longAsleep)
				if action < longAsleep {
					i = len(members) - 1 - action
				}
				delete(led, i)
				lead() // the CA is not led to one that does not answer
				switch {
				case action < longAsleep:
					members[i].signal(t, syscall.SIGSTOP)
					continue
				case action%2 == 0:
					members[i].signal(t, syscall.SIGSTOP)
					<-time.After(rand.N(500 * time.Millisecond))
					members[i].signal(t, syscall.SIGCONT)
				default:
					members[i].kill()
					members[i] = f.start(t)
				}
				led[i] = true
				lead()
			}
			t.Logf("%d of %d are issued after 20 kills and suspensions", len(f.ca.Certificates()), len(f.names))
			// The others have taken over by then what they can: of a Dir, a process that is suspended may hold some locks.
			<-time.After(leaseTerm + 15*time.Second)
			t.Logf("%d are issued when the last ones wake up", len(f.ca.Certificates()))
			for _, m := range members[len(members)-longAsleep:] {
				m.signal(t, syscall.SIGCONT)
			}
			f.wantAll(t, members...)
		})
	}
}

// A process that is at work on many names, each at another step, is killed, and so is its successor. The third one waits
// for the terms of their leases and finishes the orders that they began: of those that were told to them, none is left behind.
func TestKilledAmidManyOrders(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("it waits for leases of a minute")
	}
	t.Parallel() // with the other tests that mostly wait
	fleets := []*fleet{newFleet(t, newSQLiteTarget(t), manyNames(70)...), newFleet(t, newPostgresTarget(t), manyNames(70)...)}
	for _, f := range fleets { // all wait at the same time
		f.killTwo(t)
		t.Logf("killed when %d orders were begun and %d certificates issued", len(f.ca.Orders()), len(f.ca.Certificates()))
	}
	last := make([]member, len(fleets))
	for i, f := range fleets {
		last[i] = f.start(t)
		f.lead(last[i].address)
	}
	for i, f := range fleets {
		f.wantAll(t, last[i])
		states := make(map[string]int)
		for _, o := range f.ca.Orders() {
			states[o.Status]++
		}
		// An order is lost if a kill came between the CA's answer and the record of it: one of 16 workers at most is there.
		if states["valid"] != len(f.names) || len(f.ca.Orders()) > len(f.names)+2*16 {
			t.Errorf("the orders are %v for %d names", states, len(f.names))
		}
		t.Logf("in the end the orders are %v", states)
	}
}

// killTwo starts two processes, one after the other, and kills each when it is at work.
func (f *fleet) killTwo(t *testing.T) {
	t.Helper()
	f.ca.SetFaults(dawdling(800 * time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), fleetPatience)
	defer cancel()
	for life := range 2 {
		m := f.start(t)
		f.lead(m.address)
		for most := 15*life + rand.IntN(15); len(f.ca.Orders()) <= most && ctx.Err() == nil; {
			<-time.After(10 * time.Millisecond)
		}
		<-time.After(rand.N(time.Second))
		f.lead() // the CA waits for the successor
		m.kill()
	}
}
