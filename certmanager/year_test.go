package certmanager_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

const (
	yearLifetime = 45 * day
	yearFill     = 30 * day // for which names are added, evenly
	yearLength   = yearDays * day
)

// A yearCA is a CA whose certificates live for 45 days. It says when it wants them replaced, and is asked again a day later.
type yearCA struct {
	*localCA
	began time.Time

	mu     sync.Mutex
	orders map[string][]yearOrder       // by name
	last   map[string]*acme.Certificate // by name: a request with the key of it is for the same order
	hourly []int                        // requests: orders and questions
	asked  int                          // questions about renewals
	closed [2]time.Time                 // from and to when it is down
	pulled map[string]time.Time         // by name: the certificates that are to be replaced at once, by when they were issued
}

// A yearOrder is a certificate that was issued.
type yearOrder struct {
	at     time.Time
	window acme.Window // in which it is to be replaced
	ends   time.Time
}

func newYearCA(t *testing.T) *yearCA {
	ca := &yearCA{localCA: newLocalCA(t, "year"), began: time.Now(), orders: make(map[string][]yearOrder), last: make(map[string]*acme.Certificate), pulled: make(map[string]time.Time)}
	ca.hourly = make([]int, yearLength/time.Hour+100)
	return ca
}

// request counts a request, and returns an error if the CA is down.
func (ca *yearCA) request() error {
	now := time.Now()
	if hour := int(now.Sub(ca.began) / time.Hour); hour < len(ca.hourly) {
		ca.hourly[hour]++
	}
	if !now.Before(ca.closed[0]) && now.Before(ca.closed[1]) {
		return &certmanager.UnavailableError{Err: errClosed}
	}
	return nil
}

func (ca *yearCA) Issue(_ context.Context, r certmanager.Request) (*acme.Certificate, error) {
	ca.mu.Lock()
	err := ca.request()
	ca.mu.Unlock()
	if err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second)
	name := r.Identifiers[0].Value
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if last := ca.last[name]; last != nil && last.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(r.Key.Public()) {
		return last, nil
	}
	certificate, err := ca.sign(r.Identifiers, r.Key.Public(), yearLifetime)
	if err != nil {
		return nil, err
	}
	ca.last[name] = certificate
	now := time.Now()
	usual := now.Add(yearLifetime * 2 / 3)
	ca.orders[name] = append(ca.orders[name], yearOrder{at: now, ends: certificate.Leaf.NotAfter, window: acme.Window{Start: usual.Add(-day), End: usual.Add(day)}})
	return certificate, nil
}

// RenewalInfo returns the window in which a certificate is to be replaced.
func (ca *yearCA) RenewalInfo(_ context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.asked++
	if err := ca.request(); err != nil {
		return nil, err
	}
	for _, o := range ca.orders[leaf.DNSNames[0]] {
		if o.ends.Equal(leaf.NotAfter) {
			return &acme.RenewalInfo{SuggestedWindow: o.window, RetryAfter: day}, nil
		}
	}
	return nil, errors.New("the certificate is not known")
}

// questions returns how many it was asked.
func (ca *yearCA) questions() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.asked
}

// pull has a share of the certificates be replaced at once.
func (ca *yearCA) pull(share int) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	now, n := time.Now(), 0
	for _, name := range slices.Sorted(maps.Keys(ca.orders)) {
		if n++; n%share == 0 {
			last := &ca.orders[name][len(ca.orders[name])-1]
			last.window = acme.Window{Start: now.Add(-2 * time.Hour), End: now.Add(-time.Hour)}
			ca.pulled[name] = last.at
		}
	}
}

// close has the CA be down for a while.
func (ca *yearCA) close(d time.Duration) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.closed = [2]time.Time{time.Now(), time.Now().Add(d)}
}

// A year is a simulated one: members of a fleet on one storage, whose names are added over the first month.
type year struct {
	*testing.T
	ca       *yearCA
	store    storage.Memory
	members  []*yearMember
	names    []string      // so far
	interval time.Duration // Config.RenewalInfoInterval
	calls    int           // of the storage by members that are gone
}

// A yearMember is one process of the fleet.
type yearMember struct {
	*certmanager.Manager
	store *storagetest.Faulty
	end   func()
}

// A yearVariant is what is out of the usual.
type yearVariant struct {
	quiet    bool                    // requests and calls of the storage come from what is due alone
	fill     time.Duration           // in which names are added; zero: yearFill
	hourly   func(y *year, hour int) // is called each hour; nil: nothing happens
	late     time.Duration           // by which a renewal may come after its window
	faults   []storagetest.Fault     // of all members' storages
	interval time.Duration           // the least between questions about one certificate; zero: the CA's word
}

// join adds a member, with all names that there are so far.
func (y *year) join(faults ...storagetest.Fault) {
	y.Helper()
	s := &storagetest.Faulty{Store: &y.store, Seed: uint64(len(y.members))}
	s.SetFaults(faults...)
	m, err := certmanager.New(certmanager.Config{
		Names: y.names, Storage: s, Issuers: []certmanager.Issuer{y.ca}, Logger: slog.New(slog.DiscardHandler),
		RenewalInfoInterval: y.interval,
	})
	if err != nil {
		y.Fatal(err)
	}
	ctx, cancel := context.WithCancel(y.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	y.members = append(y.members, &yearMember{m, s, func() {
		cancel()
		if err := <-ended; err != nil {
			y.Errorf("Run: %v", err)
		}
	}})
}

// kill kills the first member: from one moment on nothing that it does reaches the storage.
func (y *year) kill() {
	m := y.members[0]
	y.members = y.members[1:]
	m.store.SetFaults(storagetest.Fault{Kind: storagetest.Fail})
	m.end()
	y.calls += m.store.Calls(0xff)
}

// manage adds names to all members.
func (y *year) manage(names []string) {
	y.Helper()
	y.names = append(y.names, names...)
	for _, m := range y.members {
		subjects := make([]certmanager.Subject, len(names))
		for i, name := range names {
			subjects[i].Names = []string{name}
		}
		if err := m.Manage(subjects...); err != nil {
			y.Fatal(err)
		}
	}
}

// run lets the year pass.
func (y *year) run(n int, v yearVariant) {
	fillHours := int(cmp.Or(v.fill, yearFill) / time.Hour)
	for hour := range int(yearLength / time.Hour) {
		if hour < fillHours {
			var names []string
			for i := hour * n / fillHours; i < (hour+1)*n/fillHours; i++ {
				names = append(names, fmt.Sprintf("www.site%d.example", i))
			}
			y.manage(names)
		}
		if v.hourly != nil {
			v.hourly(y, hour)
		}
		time.Sleep(time.Hour)
		if n > 5000 && hour%(30*24) == 0 {
			y.Logf("day %d: %d questions", hour/24, y.ca.questions())
		}
		if hour%24 == 23 {
			for _, m := range y.members {
				if stats := m.Stats(); stats.States[certmanager.StateExpired] > 0 {
					y.Fatalf("day %d: %+v", hour/24, stats)
				}
			}
		}
	}
	for _, m := range y.members {
		m.end()
		y.calls += m.store.Calls(0xff)
	}
}

// check judges what the CA has seen: each certificate was replaced once, when it was due, and none has expired.
func (y *year) check(n int, v yearVariant) {
	y.ca.mu.Lock()
	defer y.ca.mu.Unlock()
	end, issued := time.Now(), 0
	if len(y.ca.orders) != n {
		y.Errorf("%d names have certificates, want %d", len(y.ca.orders), n)
	}
	for name, orders := range y.ca.orders {
		issued += len(orders)
		for i, o := range orders {
			due, latest := o.window.Start, o.window.End.Add(v.late)
			if pulled, ok := y.ca.pulled[name]; ok && pulled.Equal(o.at) {
				latest = latest.Add(2 * day) // it is heard within a day
			}
			switch {
			case i+1 == len(orders) && end.After(latest):
				y.Errorf("%s was to be renewed by %v", name, latest)
			case i+1 < len(orders) && (orders[i+1].at.Before(due) || orders[i+1].at.After(latest) || !orders[i+1].at.Before(o.ends)):
				y.Errorf("%s was renewed at %v, want from %v to %v", name, orders[i+1].at, due, latest)
			}
		}
	}
	renewals := make(map[int64]int) // by hour
	for _, orders := range y.ca.orders {
		for _, o := range orders[1:] {
			renewals[o.at.Unix()/3600]++
		}
	}
	for hour, together := range renewals {
		if v.late < time.Hour && together > max(n/10, 10) {
			y.Errorf("%d of %d names are renewed within one hour, %v", together, n, time.Unix(hour*3600, 0).UTC())
		}
	}
	settled := y.ca.hourly[(yearFill+day)/time.Hour : yearLength/time.Hour]
	sum, peak := 0, slices.Max(settled)
	for _, requests := range settled {
		sum += requests
	}
	mean := float64(sum) / float64(len(settled))
	if v.quiet && mean > 10 && float64(peak) > 3*mean {
		y.Errorf("%d requests in one hour, the mean is %.1f", peak, mean)
	}
	// An issuance takes nine calls, a question three; the others read what one of them has done.
	if most := issued*(9+3*len(y.members)) + y.ca.asked*(3+len(y.members)) + yearDays*40*len(y.members); v.quiet && y.calls > most {
		y.Errorf("%d calls of the storage, want %d at most", y.calls, most)
	}
	y.Logf("%d certificates, %d questions, %d calls of the storage; requests an hour: %.1f, %d at most", issued, y.ca.asked, y.calls, mean, peak)
}

func simulateYear(t *testing.T, n int, v yearVariant) {
	synctest.Test(t, func(t *testing.T) {
		y := &year{T: t, ca: newYearCA(t), interval: v.interval}
		for range 3 {
			y.join(v.faults...)
		}
		y.run(n, v)
		y.check(n, v)
	})
}

// yearNames returns how many names a year is simulated with: the usual number, or as many as EVERSEAL_YEAR_NAMES says.
func yearNames(t *testing.T, usual int) int {
	n, err := strconv.Atoi(os.Getenv("EVERSEAL_YEAR_NAMES"))
	switch {
	case testing.Short():
		t.Skip("a long simulation")
	case raceDetector:
		return 30
	case err == nil:
		return n
	}
	return usual
}

// TestYear has three members keep certificates of 45 days for a year, with a CA that says when to renew each and is asked once a
// day. None expires, each is renewed once and when it is due, and requests come evenly.
func TestYear(t *testing.T) {
	t.Parallel()
	simulateYear(t, yearNames(t, 500), yearVariant{quiet: true, late: 15 * time.Minute})
}

// TestOddYears has things happen in such a year.
func TestOddYears(t *testing.T) {
	down := 3 * day
	if raceDetector {
		down = day // each member probes each minute
	}
	onDay := func(day int, f func(*year)) func(*year, int) {
		return func(y *year, hour int) {
			if hour == 24*day {
				f(y)
			}
		}
	}
	for name, v := range map[string]yearVariant{
		"the CA is down for days": {
			late: down + 2*time.Hour, hourly: onDay(100, func(y *year) { y.ca.close(down) }),
		},
		"a twentieth is to be replaced at once": {
			quiet: true, late: 15 * time.Minute, interval: day, hourly: onDay(110, func(y *year) { y.ca.pull(20) }),
		},
		"all names are added within an hour": {
			late: 15 * time.Minute, fill: time.Hour,
		},
		"a fifth of the storage's calls fail": {
			late: time.Hour, faults: []storagetest.Fault{{Share: 0.2}},
		},
		"members are killed and added": {
			late: 2 * time.Hour, hourly: func(y *year, hour int) {
				if hour%(10*24) == 9*24 {
					y.kill()
					y.join()
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if v.interval == 0 {
				v.interval = 10 * day
			}
			simulateYear(t, yearNames(t, 100), v)
		})
	}
}
