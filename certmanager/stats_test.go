package certmanager_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// TestStats has certificates in several states, and counts them.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		names := siteNames(5)
		hang := make(chan struct{})
		ca.work = func(r certmanager.Request) error {
			switch name := r.Identifiers[0].Value; {
			case strings.HasPrefix(name, "hang"):
				<-hang
			case strings.HasPrefix(name, "bad"):
				return errClosed
			}
			return nil
		}
		config := w.issuedBy([]certmanager.Issuer{ca}, names...)
		config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		m, stop := w.serving(config)
		defer stop()
		defer close(hang)
		if err := m.Manage(certmanager.Subject{Names: []string{"hang.example.com"}}, certmanager.Subject{Names: []string{"bad.example.com"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := ask(t, m, "bad.example.net"); err == nil { // on demand
			t.Fatal("a certificate was had")
		}
		synctest.Wait()
		s := m.Stats()
		if want := map[certmanager.State]int{certmanager.StateValid: 5, certmanager.StateObtaining: 1, certmanager.StateWaiting: 2}; !reflect.DeepEqual(s.States, want) {
			t.Errorf("states %v, want %v", s.States, want)
		}
		if want := map[certmanager.Reason]int{certmanager.ReasonBackoff: 2}; !reflect.DeepEqual(s.Deferred, want) {
			t.Errorf("deferred %v, want %v", s.Deferred, want)
		}
		if s.Failing != 2 || s.Overdue != 3 || s.InFlight["local"] != 1 || len(s.InFlight) != 1 || s.Running != 1 || s.Ready != 0 {
			t.Errorf("stats %+v", s)
		}
		first := slices.MinFunc(statuses(m), func(a, b certmanager.Status) int {
			return cmpTimes(a.Next, b.Next, time.Now())
		})
		if !s.NextDue.Equal(first.Next) || !s.EarliestEnd.Equal(statusOf(t, m, names[0]).NotAfter) {
			t.Errorf("next due %v, first end %v; want %v", s.NextDue, s.EarliestEnd, first.Next)
		}
	})
}

// TestOverdue has renewals fail: the status still says when they were to be, and the figures count them until one succeeds.
func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		var broken atomic.Bool
		ca.work = func(certmanager.Request) error {
			if broken.Load() {
				return errClosed
			}
			return nil
		}
		m, stop := w.serving(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
		defer stop()
		before := statusOf(t, m, "example.com")
		if s := m.Stats(); !before.Renewal.After(before.NotBefore) || !before.Renewal.Before(before.NotAfter) || s.Overdue != 0 {
			t.Errorf("to be renewed at %v, %d are overdue", before.Renewal, s.Overdue)
		}
		broken.Store(true)
		time.Sleep(time.Until(before.Renewal) + time.Hour)
		after := statusOf(t, m, "example.com")
		if s := m.Stats(); after.Failure == nil || !after.Next.After(time.Now()) || !after.Renewal.Equal(before.Renewal) || s.Overdue != 1 {
			t.Errorf("to be renewed at %v, tried next at %v, %d are overdue", after.Renewal, after.Next, s.Overdue)
		}
		broken.Store(false)
		time.Sleep(time.Until(after.Next) + time.Minute)
		if s := m.Stats(); s.Overdue != 0 || statusOf(t, m, "example.com").Serial == before.Serial {
			t.Errorf("after a renewal %d are overdue", s.Overdue)
		}
	})
}

// cmpTimes compares two times, of which those that are over come last.
func cmpTimes(a, b, now time.Time) int {
	if a.After(now) != b.After(now) {
		if a.After(now) {
			return -1
		}
		return 1
	}
	return a.Compare(b)
}

// TestReasons has certificates wait for each reason.
func TestReasons(t *testing.T) {
	for _, test := range []struct {
		want  certmanager.Reason
		spoil func(w *world, ca *localCA, s *storagetest.Faulty)
	}{
		{certmanager.ReasonBackoff, func(_ *world, ca *localCA, _ *storagetest.Faulty) { ca.err = errClosed }},
		{certmanager.ReasonIssuer, func(_ *world, ca *localCA, _ *storagetest.Faulty) {
			ca.err = &certmanager.UnavailableError{Err: errClosed}
		}},
		{certmanager.ReasonStorage, func(_ *world, _ *localCA, s *storagetest.Faulty) {
			s.SetFaults(storagetest.Fault{Prefix: "work", Err: errDisk})
		}},
		{certmanager.ReasonProcess, func(w *world, ca *localCA, _ *storagetest.Faulty) {
			ca.work = func(certmanager.Request) error { time.Sleep(5 * time.Minute); return nil }
			_, stop := w.running(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
			w.t.Cleanup(stop)
		}},
	} {
		t.Run(string(test.want), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := newWorld(t), newLocalCA(t, "local")
				s := &storagetest.Faulty{Store: w.store}
				test.spoil(w, ca, s)
				config := w.issuedBy([]certmanager.Issuer{ca}, "example.com")
				config.Storage = s
				m, err := certmanager.New(config)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var group sync.WaitGroup
				defer group.Wait()
				defer cancel()
				group.Go(func() { m.Run(ctx) })
				time.Sleep(200 * time.Millisecond)
				status, stats := statusOf(t, m, "example.com"), m.Stats()
				if status.Reason != test.want || stats.Deferred[test.want] != 1 || len(stats.Deferred) != 1 {
					t.Errorf("status %+v, stats %+v", status, stats)
				}
				if (status.Deferred == "") != (test.want != certmanager.ReasonProcess) || strings.HasPrefix(status.Deferred, "certmanager") {
					t.Errorf("deferred %q", status.Deferred)
				}
			})
		})
	}
}

// TestStatusAsJSON has what a status says come back from JSON, with an error and what was seen of its cause.
func TestStatusAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(ca *acmetest.Server) {
			dial := ca.Dial
			ca.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "192.0.2.99:") {
					return nil, errors.New("connection refused")
				}
				return dial(ctx, network, address)
			}
		})
		config := w.config("example.com", "good.example.com")
		w.ca.SetHost("example.com", "192.0.2.99")
		m, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 1)
		w.await(certmanager.EventObtained, "good.example.com", 1)
		synctest.Wait()
		for _, want := range statuses(m) {
			data, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if text := string(data); strings.Contains(text, "{}") || strings.Contains(text, "0001-01-01") {
				t.Errorf("a hole in %s", text)
			}
			var got certmanager.Status
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			if want.Failure != nil {
				if got.Failure == nil || got.Failure.Err == nil || got.Failure.Err.Error() != want.Failure.Err.Error() ||
					!got.Failure.Time.Equal(want.Failure.Time) || len(want.Failure.Diagnoses) != 1 || !reflect.DeepEqual(got.Failure.Diagnoses, want.Failure.Diagnoses) {
					t.Errorf("failure %+v, want %+v", got.Failure, want.Failure)
				}
				got.Failure, want.Failure = nil, nil
			} else if want.Names[0] == "example.com" {
				t.Error("there is no failure")
			}
			for _, s := range []*certmanager.Status{&got, &want} {
				s.Next, s.Since = s.Next.UTC(), s.Since.UTC()
				s.Next = s.Next.Round(0)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		if data, err := json.Marshal(certmanager.Failure{Err: errClosed}); err != nil || !strings.Contains(string(data), errClosed.Error()) {
			t.Errorf("a Failure by value: %s, %v", data, err)
		}
	})
}

// TestEverySubjectHasANextAction does things at random to a manager and what it depends on: each status says at any time
// what comes next, and when.
func TestEverySubjectHasANextAction(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			w, ca := newWorld(t, func(ca *acmetest.Server) {}), newLocalCA(t, "local")
			ca.lifetime = 6 * 24 * time.Hour
			s := &storagetest.Faulty{Store: w.store}
			names := siteNames(6)
			config := w.issuedBy([]certmanager.Issuer{ca}, names[:3]...)
			config.Storage = s
			var mu sync.Mutex
			var denial error
			config.OnDemand = func(context.Context, certmanager.Question) error { mu.Lock(); defer mu.Unlock(); return denial }
			var m *certmanager.Manager
			config.OnEvent = func(certmanager.Event) { checkNext(t, m) }
			m, err := certmanager.New(config)
			if err != nil {
				t.Fatal(err)
			}
			stop := w.run(m)
			defer func() { stop() }()
			synctest.Wait() // for the storage to be found good
			errs := []error{nil, nil, errClosed, &certmanager.UnavailableError{Err: errClosed}}
			for range 60 {
				switch random.IntN(8) {
				case 0:
					ca.change(func(ca *localCA) { ca.err = errs[random.IntN(len(errs))] })
				case 1:
					s.SetFaults()
				case 2:
					s.SetFaults(storagetest.Fault{Share: 0.5, Err: errDisk})
				case 3:
					_ = m.Manage(certmanager.Subject{Names: []string{names[random.IntN(len(names))]}})
				case 4:
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					_ = m.Renew(ctx, names[random.IntN(len(names))])
					cancel()
				case 5:
					name := fmt.Sprintf("d%d.example.net", random.IntN(3))
					go func() { _, _ = m.GetCertificate(&tls.ClientHelloInfo{ServerName: name}) }()
				case 6:
					mu.Lock()
					denial = []error{nil, certmanager.ErrDenied, errors.New("no answer")}[random.IntN(3)]
					mu.Unlock()
				case 7:
					stop()
					checkNext(t, m)
					s.SetFaults()
					stop = w.run(m)
				}
				time.Sleep(time.Duration(random.Int64N(int64(3 * time.Hour))))
				checkNext(t, m)
			}
			time.Sleep(time.Hour) // handshakes end
		})
	}
}

// checkNext checks that each certificate has a next action and a time for it, and that the sums are right.
func checkNext(t *testing.T, m *certmanager.Manager) {
	actions := []certmanager.Action{certmanager.ActionLoad, certmanager.ActionObtain, certmanager.ActionRenew, certmanager.ActionRetry}
	for s := range m.All() {
		if !slices.Contains(actions, s.Action) || s.Next.IsZero() || s.Next.After(time.Now().AddDate(0, 0, 9)) || s.State == "" {
			t.Errorf("status %+v", s)
		}
		if s.Reason != "" && s.Failure == nil && s.Deferred == "" {
			t.Errorf("it waits for %s without a word: %+v", s.Reason, s)
		}
	}
	sum := 0
	stats := m.Stats()
	for _, n := range stats.States {
		sum += n
	}
	if sum < 3 || stats.Overdue > sum || stats.Failing > sum {
		t.Errorf("stats %+v", stats)
	}
}
