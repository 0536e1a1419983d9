package certmanager_test

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A poll costs three operations of the storage; a member that relies on another's polls makes one, about twice a day.
func TestStorageCallsOfPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		polls, looks := &callLog{Store: w.store}, &callLog{Store: w.store}
		config := w.from(ca, "example.com")
		config.Storage, config.SweepInterval, config.FollowInterval = polls, -1, -1
		_, stop := w.serving(config)
		defer stop()
		config.Storage = looks
		_, stopSecond := w.running(config)
		defer stopSecond()
		after(3 * day) // until each knows of the other
		ca.asked("")
		polls.take()
		looks.take()
		after(4 * day)
		if asked, calls := len(ca.asked("")), len(polls.take()); calls != 3*asked || asked < 14 {
			t.Errorf("%d calls for %d polls", calls, asked)
		}
		if calls := looks.take(); len(calls) < 5 || len(calls) > 9 {
			t.Errorf("the one that does not poll calls %v in four days", calls)
		}
	})
}

// What a member believes of the time of renewal may be old: at that time it sees the plan.
func TestPlanIsReadBeforeRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		config := w.from(ca, "example.com")
		m, stop := w.serving(config)
		defer stop()
		second, stopSecond := w.running(config)
		defer stopSecond()
		after(30 * day)
		due := statusOf(t, second, "example.com").Next
		after(time.Until(due) - 8*time.Hour)
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, 75*day, day) })
		after(9 * time.Hour)
		later := statusOf(t, m, "example.com").Next
		if ca.count() != 1 || time.Until(later) < 10*day {
			t.Errorf("%d certificates, the next at %v", ca.count(), later)
		}
		if s := statusOf(t, second, "example.com"); s.Next.Sub(later).Abs() > memberDelay {
			t.Errorf("one member says %v, the other %v", later, s.Next)
		}
		after(time.Until(later))
		if ca.count() != 2 {
			t.Errorf("%d certificates when that has come", ca.count())
		}
	})
}

// A plan says nothing of another certificate than it was made for, be that another serial number or another issuer's.
func TestPlanOfAnotherCertificate(t *testing.T) {
	for name, change := range map[string]func(p *record.Plan){
		"the serial number": func(p *record.Plan) { p.Serial = "0abc" },
		"the issuer":        func(p *record.Plan) { p.Issuer = "other" },
		"nothing":           func(*record.Plan) {},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			ca := newInformingCA(t, "ca")
			m, stop := w.serving(w.from(ca, "example.com"))
			before := statusOf(t, m, "example.com")
			stop()
			plan := record.Plan{Issuer: "ca", Serial: before.Serial, Start: time.Now(), End: time.Now().Add(time.Hour), Renewal: time.Now().Add(time.Hour),
				Polled: time.Now(), Next: time.Now().Add(10 * time.Hour)}
			change(&plan)
			storePlan(t, w.store, workKey("ca"), plan)
			_, stop = w.running(w.from(ca, "example.com"))
			defer stop()
			after(8 * time.Hour) // it looks first after six to seven
			want := 1
			if name == "nothing" {
				want = 2
			}
			if n := ca.count(); n != want {
				t.Errorf("with another %s there are %d certificates, want %d", name, n, want)
			}
		})
	}
}

// storePlan stores a plan as the record of work.
func storePlan(t *testing.T, s storage.Store, key string, plan record.Plan) {
	t.Helper()
	value, err := (&record.Work{Plan: plan}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	lease := hold(t, s, key)
	if err := lease.SaveAndRelease(t.Context(), value); err != nil {
		t.Fatal(err)
	}
}

// A plan that says too much does not keep a certificate from being renewed.
func TestPlanOutOfBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		m, stop := w.serving(w.from(ca, "example.com"))
		before := statusOf(t, m, "example.com")
		stop()
		distant := before.NotAfter.AddDate(100, 0, 0)
		storePlan(t, w.store, workKey("ca"), record.Plan{Issuer: "ca", Serial: before.Serial, Start: distant, End: distant, Renewal: distant, Polled: time.Now(), Next: distant})
		_, stop = w.running(w.from(ca, "example.com"))
		defer stop()
		renewed := w.await(certmanager.EventObtained, "example.com", 2)
		if left := before.NotAfter.Sub(renewed.Time); left < 9*day-time.Minute {
			t.Errorf("it is renewed with %v left", left)
		}
	})
}

// A CA that one moves away from is asked about what it has signed as long as it is among the issuers, and nobody else is.
func TestChangeOfIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		old, next := newInformingCA(t, "old"), newInformingCA(t, "next")
		_, stop := w.serving(w.from(old, "example.com"))
		stop()
		var replaced []*x509.Certificate
		next.work = func(r certmanager.Request) error {
			replaced = append(replaced, r.Replaces)
			return nil
		}
		config := w.from(old, "example.com")
		config.Issuers = []certmanager.Issuer{next, old}
		old.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, 30*day, day) })
		m, stop := w.running(config)
		after(2 * day)
		if o, n := len(old.asked("")), len(next.asked("")); o < 6 || n > 0 {
			t.Errorf("the old CA is asked %d times, the next one %d times", o, n)
		}
		w.await(certmanager.EventObtained, "example.com", 2)
		if s := statusOf(t, m, "example.com"); s.Issuer != "next" || len(replaced) != 1 || replaced[0] != nil {
			t.Errorf("%+v replaces %v", s, replaced)
		}
		old.asked("")
		after(2 * day)
		if o, n := len(old.asked("")), len(next.asked("")); n < 6 || o > 0 {
			t.Errorf("the old CA is asked %d times, the next one %d times", o, n)
		}
		after(70 * day)
		if len(replaced) != 2 || replaced[1] == nil {
			t.Errorf("its own is replaced by %v", replaced)
		}
		stop()
		config.Issuers = []certmanager.Issuer{old}
		next.asked("")
		_, stop = w.running(config) // what the other has signed is not even found
		defer stop()
		after(2 * day)
		if n := len(next.asked("")); n > 0 {
			t.Errorf("a CA that is not configured is asked %d times", n)
		}
	})
}

// What was imported was not signed by the issuer, and is not asked about.
func TestImportedIsNotPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		config := w.from(ca, "example.com")
		m, stop := w.running(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		chain, key := elsewhere(t, ecdsaKey(t, elliptic.P256()), 90*day, "example.com")
		time.Sleep(time.Second) // it is newer
		if err := m.Import(t.Context(), chain, key); err != nil {
			t.Fatal(err)
		}
		after(2 * day)
		if n := len(ca.asked("")); n > 0 {
			t.Errorf("it is asked %d times", n)
		}
	})
}

// While another process works on the certificate, and while the storage fails, nobody is asked; after that, somebody is.
func TestPollWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		store := &storagetest.Faulty{Store: w.store}
		config := w.from(ca, "example.com")
		config.Storage = store
		m, stop := w.serving(config)
		defer stop()
		lease := hold(t, w.store, workKey("ca"))
		after(day)
		if n := len(ca.asked("")); n > 0 {
			t.Errorf("it is asked %d times while the lease is held", n)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Minute)
		if n := len(ca.asked("")); n != 1 {
			t.Errorf("it is asked %d times when the lease is free", n)
		}
		store.SetFaults(storagetest.Fault{})
		after(day)
		if n := len(ca.asked("")); n > 0 {
			t.Errorf("it is asked %d times while the storage fails", n)
		}
		store.SetFaults()
		after(30 * time.Minute)
		if n := len(ca.asked("")); n != 1 {
			t.Errorf("it is asked %d times when the storage works", n)
		}
		if s := statusOf(t, m, "example.com"); s.Failure != nil || s.Deferred != "" {
			t.Errorf("%+v", s)
		}
	})
}

// A record of work that can't be read is left to the next attempt.
func TestPollLeavesWhatItCannotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		_, stop := w.serving(w.from(ca, "example.com"))
		defer stop()
		const later = `{"version":3}`
		lease := hold(t, w.store, workKey("ca"))
		if err := lease.SaveAndRelease(t.Context(), []byte(later)); err != nil {
			t.Fatal(err)
		}
		after(3 * day)
		item, err := w.store.Load(t.Context(), workKey("ca"))
		if err != nil {
			t.Fatal(err)
		}
		if value, _, err := storage.LeaseValue(item.Value); err != nil || string(value) != later {
			t.Errorf("it is %s, %v", value, err)
		}
		if n := w.count(certmanager.EventCorrupt); n != 0 || len(ca.asked("")) != 0 {
			t.Errorf("%d events", n)
		}
	})
}

// Orders say what they replace: the certificate of the same CA's that is served, which may have been replaced already.
func TestReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		_, stopFirst := w.serving(config)
		first := *load(t, w.store, certificateKeyOf(config))
		w.await(certmanager.EventObtained, "example.com", 2)
		stopFirst()
		// The storage is restored from a copy: what it has was replaced before.
		restore(t, w.store, certificateKeyOf(config), first.Value)
		m, stop := w.running(config)
		defer stop()
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		leaves, orders := w.ca.Certificates(), w.ca.Orders()
		want := []string{"", idOf(t, leaves[0]), "", idOf(t, leaves[2])}
		if len(orders) != len(want) {
			t.Fatalf("%d orders", len(orders))
		}
		for i, order := range orders {
			if order.Replaces != want[i] || order.Status != "valid" {
				t.Errorf("order %d is %s and replaces %q, want %q", i, order.Status, order.Replaces, want[i])
			}
		}
		if n := w.ca.Requests()["newOrder"]; n != 5 {
			t.Errorf("%d requests for an order, want 5: one was refused", n)
		}
	})
}

// An order under way is resumed, and not another one made that replaces the same.
func TestReplacingOrderIsResumed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		m, stop := w.serving(config)
		front.answerWith(only("challenge", hang))
		time.Sleep(50 * day)
		time.Sleep(time.Until(statusOf(t, m, "example.com").Next) + time.Hour)
		synctest.Wait()
		stop()
		if n := len(w.ca.Orders()); n != 2 {
			t.Fatalf("%d orders", n)
		}
		front.answerWith(nil)
		_, stop = w.running(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 2)
		orders := w.ca.Orders()
		if len(orders) != 2 || w.newOrders() != 2 || orders[1].Replaces != idOf(t, w.ca.Certificates()[0]) || orders[1].Status != "valid" {
			t.Errorf("orders %+v after %d requests", orders, w.newOrders())
		}
	})
}

// Neither a dry run nor another CA is told of what this CA has signed.
func TestReplacesNothingElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		staging := w.addStaging(config)
		_, stop := w.serving(config)
		defer stop()
		w.ca.FailValidations("example.com", 1)
		w.await(certmanager.EventObtained, "example.com", 2)
		if orders := staging.Orders(); len(orders) != 1 || orders[0].Replaces != "" {
			t.Errorf("dry runs %+v", orders)
		}
		orders, id := w.ca.Orders(), idOf(t, w.ca.Certificates()[0])
		if len(orders) != 3 || orders[1].Replaces != id || orders[2].Replaces != id {
			t.Errorf("orders %+v", orders)
		}
	})
}

func idOf(t *testing.T, leaf *x509.Certificate) string {
	t.Helper()
	id, err := acme.CertificateID(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func certificateKeyOf(config certmanager.Config) string {
	return record.CertificateKey(config.Issuers[0].ID(), "example.com", "ecdsa-p256")
}

func load(t *testing.T, s storage.Store, key string) *storage.Item {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &item
}

// restore stores a value in place of what is there.
func restore(t *testing.T, s storage.Store, key string, value []byte) {
	t.Helper()
	if _, err := s.Save(t.Context(), key, value, load(t, s, key).Revision); err != nil {
		t.Fatal(err)
	}
}

// A manager is started, nobody has polled lately, and the CA takes its time: those for which there is no room do not
// ask the storage again and again meanwhile.
func TestSlowRenewalInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := make([]string, 100)
		for i := range names {
			names[i] = fmt.Sprintf("n%d.example.com", i)
		}
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		calls := &callLog{Store: w.store}
		config := w.from(ca, names...)
		config.SweepInterval, config.FollowInterval, config.Workers, config.Storage = -1, -1, 16, calls
		_, stop := w.serving(config)
		after(day)
		stop()
		after(day)
		calls.take()
		ca.asked("")
		ca.informs(func(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) {
			select {
			case <-time.After(8 * time.Second):
				return usualInfo(leaf), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		_, stop = w.running(config)
		defer stop()
		after(15 * time.Minute)
		if asked, n := len(ca.asked("")), len(calls.take()); asked < len(names) || n > 15*asked {
			t.Errorf("%d calls of the storage for %d questions", n, asked)
		}
	})
}

// What a clock has noted that is years ahead does not keep a certificate from being polled for.
func TestPollAfterWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		_, stop := w.serving(w.from(ca, "example.com"))
		stop()
		w.alter("certificates", `"obtained":"[^"]*"`, `"obtained":"2200-01-02T03:04:05Z"`)
		_, stop = w.running(w.from(ca, "example.com"))
		defer stop()
		after(day)
		if n := len(ca.asked("")); n < 3 {
			t.Errorf("%d questions in a day", n)
		}
	})
}
