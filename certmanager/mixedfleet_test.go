package certmanager_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A ledger counts what issuers issue, by names and kind of key.
type ledger struct {
	mu     sync.Mutex
	issued map[string]int
}

// issuer returns one that takes half a second for a certificate of six days. Members that order of different issuers have no lease in
// common: the longer it takes, the more often their turns, within ten minutes, come too close together.
func (l *ledger) issuer(t *testing.T, id string) certmanager.Issuer {
	ca := newLocalCA(t, id)
	ca.lifetime = 6 * 24 * time.Hour
	ca.work = func(r certmanager.Request) error {
		time.Sleep(time.Second / 2)
		var names []string
		for _, id := range r.Identifiers {
			names = append(names, id.Value)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.issued[fmt.Sprintf("%s %T", strings.Join(names, ","), r.Key.Public())]++
		return nil
	}
	return ca
}

// TestMixedFleet has two members whose configurations differ live through a month with certificates of six days. Each
// is obtained and renewed once, whoever has it; every member serves all that it is to serve.
func TestMixedFleet(t *testing.T) {
	const day = 24 * time.Hour
	allow := func(context.Context, certmanager.Question) error { return nil }
	type config = certmanager.Config
	for _, test := range []struct {
		name     string
		change   func(one, other *config, x, y certmanager.Issuer)
		subjects int // certificates that there are in all
		twice    int // more of them than one for a need, at most
	}{
		{"names", func(one, other *config, _, _ certmanager.Issuer) {
			one.Names, other.Names = []string{"a.example", "both.example"}, []string{"both.example", "b.example"}
		}, 3, 0},
		{"names of one certificate", func(one, _ *config, _, _ certmanager.Issuer) {
			one.Names, one.Subjects = nil, []certmanager.Subject{{Names: []string{"both.example", "www.both.example"}}}
		}, 2, 0},
		{"kinds of key", func(one, other *config, _, _ certmanager.Issuer) {
			one.KeyTypes, other.KeyTypes = []certmanager.KeyType{certmanager.ECDSAP256, certmanager.RSA2048}, []certmanager.KeyType{certmanager.RSA2048}
		}, 2, 0},
		{"one more issuer", func(_, other *config, x, y certmanager.Issuer) { other.Issuers = []certmanager.Issuer{x, y} }, 1, 0},
		{"issuers in another order", func(one, other *config, x, y certmanager.Issuer) {
			one.Issuers, other.Issuers = []certmanager.Issuer{x, y}, []certmanager.Issuer{y, x}
		}, 1, 2},
		{"profile", func(one, _ *config, _, _ certmanager.Issuer) {
			one.Names, one.Subjects = nil, []certmanager.Subject{{Names: []string{"both.example"}, Profile: "short"}}
		}, 1, 0},
		{"on demand", func(one, _ *config, _, _ certmanager.Issuer) { one.Names, one.OnDemand = nil, allow }, 1, 0},
		{"one only serves", func(one, _ *config, _, _ certmanager.Issuer) { one.Role = certmanager.RoleServe }, 1, 0},
		{"one only renews", func(one, _ *config, _, _ certmanager.Issuer) { one.Role = certmanager.RoleRenew }, 1, 0},
		{"solvers", func(one, _ *config, _, _ certmanager.Issuer) { one.Solvers = []acme.Solver{&notices{}} }, 1, 0},
		{"how the storage is followed", func(one, other *config, _, _ certmanager.Issuer) {
			one.Storage, one.FollowInterval = unwatched{other.Storage, other.Storage}, time.Hour
		}, 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{issued: make(map[string]int)}
			x, y := l.issuer(t, "x"), l.issuer(t, "y")
			one := config{Names: []string{"both.example"}, Issuers: []certmanager.Issuer{x}, Storage: new(storage.Memory)}
			other := one
			test.change(&one, &other, x, y)
			var managers []*certmanager.Manager
			for _, c := range []config{one, other} {
				m, stop := runQuietly(t, c)
				defer stop()
				managers = append(managers, m)
			}
			for range 30 * 4 {
				time.Sleep(day / 4)
				for i, m := range managers {
					if m.Stats().Overdue > 0 && m.Stats().States[certmanager.StateExpired] > 0 {
						t.Fatalf("%s: member %d: %+v", test.name, i, m.Stats())
					}
					if _, err := ask(t, m, "both.example"); err != nil {
						t.Fatalf("%s: member %d: %v", test.name, i, err)
					}
				}
			}
			total := 0
			for _, n := range l.issued {
				total += n
			}
			// Each is renewed after half its lifetime and a forty-eighth of that, give or take as much.
			if least, most := 9*test.subjects, 11*test.subjects+test.twice; total < least || total > most || len(l.issued) != test.subjects {
				t.Errorf("%s: %d certificates were issued, want %d to %d: %v", test.name, total, least, most, l.issued)
			}
			t.Logf("%s: %v", test.name, slices.Sorted(maps.Values(l.issued)))
		})
	}
}

// TestLaterRelease has a member come upon records that a later release wrote. It leaves them as they are, obtains nothing in
// their place, and serves what it has; only work on a certificate that is about to end is not left to others for ever.
func TestLaterRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		m, stop := w.serving(config)
		certificate, _ := w.record("certificates")
		w.alter("certificates", "certificate 1 ", "certificate 3 ")
		_, altered := w.record("certificates")
		time.Sleep(70 * 24 * time.Hour)
		if status := statuses(m)[0]; status.State != certmanager.StateValid || status.Failure == nil || !strings.Contains(status.Failure.Err.Error(), "left alone") {
			t.Errorf("the certificate's record is of a later release: %+v", status)
		}
		stop()
		_, stop = w.running(config)
		time.Sleep(40 * 24 * time.Hour)
		stop()
		if _, now := w.record("certificates"); now.Revision != altered.Revision || ca.count() != 1 || w.keys("corrupt") != 0 {
			t.Errorf("%d certificates were issued, and %s was changed", ca.count(), certificate)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		m, stop := w.serving(config)
		defer stop()
		const later = `{"version":3,"plan":"of a later release"}`
		saveJournal(t, w.store, workKey("local"), later)
		renewal := statuses(m)[0].Next
		time.Sleep(time.Until(renewal) + 10*24*time.Hour)
		if key, item := w.record("work"); !strings.Contains(string(item.Value), later) || ca.count() != 1 {
			t.Errorf("%d certificates were issued; %s is %s", ca.count(), key, item.Value)
		}
		time.Sleep(time.Until(statuses(m)[0].NotAfter) - 2*24*time.Hour)
		if ca.count() != 2 || statuses(m)[0].State != certmanager.StateValid {
			t.Errorf("%d certificates were issued when the first was about to end: %+v", ca.count(), statuses(m)[0])
		}
	})
}
