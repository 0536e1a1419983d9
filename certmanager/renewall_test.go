package certmanager_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// TestRenewAll has certificates replaced by serial number, by issuer, and by how and when control was proved; two by two,
// with the old ones served meanwhile, and after what is more urgent.
func TestRenewAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := siteNames(6)
		m, stop := w.serving(w.config(names[:3]...))
		defer stop()
		time.Sleep(time.Hour)
		if err := m.Manage(subjectsOf(names[3:])...); err != nil {
			t.Fatal(err)
		}
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		later := statusOf(t, m, names[3])
		for _, test := range []struct {
			name  string
			match func(certmanager.Status) bool
			want  int
		}{
			{"none", func(certmanager.Status) bool { return false }, 0},
			{"by serials", func(s certmanager.Status) bool { return slices.Contains([]string{later.Serial, "none"}, s.Serial) }, 1},
			{"by issuer", func(s certmanager.Status) bool { return s.Issuer == later.Issuer }, 6},
			{"by challenge", func(s certmanager.Status) bool { return slices.Contains(s.Challenges, acme.TypeTLSALPN01) }, 6},
			{"by another challenge", func(s certmanager.Status) bool { return slices.Contains(s.Challenges, acme.TypeDNS01) }, 0},
		} {
			before := len(w.ca.Certificates())
			if n := m.RenewAll(test.match); n != test.want {
				t.Errorf("%s: %d, want %d", test.name, n, test.want)
			}
			time.Sleep(time.Minute)
			if n := len(w.ca.Certificates()) - before; n != test.want {
				t.Errorf("%s: %d were obtained, want %d", test.name, n, test.want)
			}
		}
	})
}

// TestRenewAllByValidation tells what was validated before a time.
func TestRenewAllByValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := siteNames(4)
		m, stop := w.serving(w.config(names[:2]...))
		defer stop()
		time.Sleep(time.Hour)
		since := time.Now()
		time.Sleep(time.Second)
		if err := m.Manage(subjectsOf(names[2:])...); err != nil {
			t.Fatal(err)
		}
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := m.RenewAll(func(s certmanager.Status) bool { return !s.Validated.IsZero() && s.Validated.Before(since) }); n != 2 {
			t.Errorf("%d were validated before, want 2", n)
		}
	})
}

func subjectsOf(names []string) (all []certmanager.Subject) {
	for _, name := range names {
		all = append(all, certmanager.Subject{Names: []string{name}})
	}
	return all
}

// TestRenewAllGivesWay queues many with few workers: what a caller or a new name wants goes first, and the old ones are
// served until the new ones come, once each.
func TestRenewAllGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, names := newLocalCA(t, "local"), siteNames(40)
		m, err := certmanager.New(certmanager.Config{Names: names, Issuers: []certmanager.Issuer{ca}, Storage: new(storage.Memory), Workers: 2, Logger: new(book).logger()})
		if err != nil {
			t.Fatal(err)
		}
		all := &member{Manager: m, ca: ca}
		defer runAll(t, all)()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		ca.change(func(ca *localCA) {
			ca.work = func(certmanager.Request) error { time.Sleep(2 * time.Second); return nil }
		})
		if n := m.RenewAll(func(certmanager.Status) bool { return true }); n != len(names) {
			t.Errorf("%d are queued", n)
		}
		begun := time.Now()
		if err := m.Renew(t.Context(), names[39]); err != nil || time.Since(begun) > 5*time.Second {
			t.Errorf("a caller waited for %v: %v", time.Since(begun), err)
		}
		if err := m.Manage(certmanager.Subject{Names: []string{"new.example.com"}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Wait(t.Context(), "new.example.com"); err != nil || time.Since(begun) > 12*time.Second {
			t.Errorf("a new name waited for %v: %v", time.Since(begun), err)
		}
		if n := ca.count(); n < 40 || n > 60 {
			t.Errorf("%d were obtained by then", n)
		}
		for _, name := range names {
			if !all.answers(t, name) {
				t.Errorf("%s is not served meanwhile", name)
			}
		}
		time.Sleep(time.Hour)
		if n := ca.count(); n < 81 || n > 82 { // the caller's certificate may have been replaced before it came
			t.Errorf("%d were obtained in all, want 40, 40 and 1", n)
		}
		if m.RenewAll(nil) != 0 || new(certmanager.Manager).RenewAll(func(certmanager.Status) bool { return true }) != 0 {
			t.Error("more than none were queued")
		}
	})
}

// TestRenewAllInFleet queues the same on two managers: each certificate is replaced once.
func TestRenewAllInFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, names := new(storage.Memory), siteNames(10)
		takes := func() time.Duration { return time.Second }
		members := []*member{newMember(t, store, takes, names...), newMember(t, store, takes, names...)}
		defer runAll(t, members...)()
		for _, m := range members {
			if err := m.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range members {
			if n := m.RenewAll(func(certmanager.Status) bool { return true }); n != len(names) {
				t.Errorf("%d are queued", n)
			}
		}
		time.Sleep(time.Hour)
		if n := members[0].ca.count() + members[1].ca.count(); n != 20 {
			t.Errorf("%d certificates, want 20", n)
		}
	})
}

// TestRenewJoins has callers of Renew come while a renewal is under way: its certificate is what they want.
func TestRenewJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t, new(storage.Memory), func() time.Duration { return 10 * time.Second }, "example.com")
		defer runAll(t, m)()
		time.Sleep(time.Second)
		results := make(chan error, 6)
		for i := range 6 { // three join the first certificate, and three its renewal
			if i == 3 {
				time.Sleep(time.Until(statusOf(t, m.Manager, "example.com").Next) + time.Second)
			}
			go func() { results <- m.Renew(t.Context(), "example.com") }()
			time.Sleep(time.Second)
			if i == 2 {
				time.Sleep(time.Minute)
			}
		}
		for range 6 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := m.ca.count(); n != 2 {
			t.Errorf("%d certificates, want 2", n)
		}
	})
}
