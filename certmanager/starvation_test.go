package certmanager_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A hangingCA is a localCA that never answers for names that begin with "bad-".
type hangingCA struct{ *localCA }

func (ca hangingCA) Issue(ctx context.Context, r certmanager.Request) (*acme.Certificate, error) {
	if strings.HasPrefix(r.Identifiers[0].Value, "bad-") {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return ca.localCA.Issue(ctx, r)
}

// A thousand names that the issuer hangs for, each of a registered domain of its own or all of one, keep nobody else
// waiting: neither ten others that are there from the start, nor one that is added later, nor one that a client wants, nor
// a command.
func TestThousandNamesThatHang(t *testing.T) {
	formats := []string{"bad-%d.example", "bad-%d.example.com"}
	if raceDetector {
		formats = formats[1:]
	}
	for _, format := range formats {
		synctest.Test(t, func(t *testing.T) {
			good := manyNames("good%d.example", 10)
			m, stop := runQuietly(t, certmanager.Config{
				Names: append(manyNames(format, 1000), good...), Storage: new(storage.Memory), Issuers: []certmanager.Issuer{hangingCA{newLocalCA(t, "local")}},
				OnDemand: func(context.Context, certmanager.Question) error { return nil },
			})
			defer stop()
			if took := awaitValid(t, m, len(good)); took > time.Minute {
				t.Errorf("%s: the good ones have their certificates after %v", format, took)
			}
			for _, pause := range []time.Duration{0, 7 * time.Second, time.Minute, time.Hour} {
				time.Sleep(pause)
				wantPrompt(t, m, fmt.Sprintf("%s, after %v", format, pause))
			}
		})
	}
}

// With few workers, the names of one registered domain do not take all there is room for.
func TestDomainThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := manyNames("good%d.example", 10)
		m, stop := runQuietly(t, certmanager.Config{
			Names: manyNames("bad-%d.example.com", 1000), Storage: new(storage.Memory), Issuers: []certmanager.Issuer{hangingCA{newLocalCA(t, "local")}}, Workers: 16,
		})
		defer stop()
		time.Sleep(5 * time.Minute)
		for _, name := range good {
			if err := m.Manage(certmanager.Subject{Names: []string{name}}); err != nil {
				t.Fatal(err)
			}
		}
		if took := awaitValid(t, m, len(good)); took > time.Minute {
			t.Errorf("those of other domains have their certificates after %v", took)
		}
	})
}

// wantPrompt checks that a name that is added, one on demand, and a command are not kept waiting.
func wantPrompt(t *testing.T, m *certmanager.Manager, when string) {
	t.Helper()
	suffix := fmt.Sprintf("%d.example", time.Now().UnixNano())
	begun := time.Now()
	before := valid(m)
	if err := m.Manage(certmanager.Subject{Names: []string{"added" + suffix}}); err != nil {
		t.Fatal(err)
	}
	awaitValid(t, m, before+1)
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("%s: one that was added has its certificate after %v", when, took)
	}
	begun = time.Now()
	if c, err := ask(t, m, "wanted"+suffix); c == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%s: a client is answered after %v: %v", when, time.Since(begun), err)
	}
	begun = time.Now()
	if err := m.Renew(t.Context(), "good3.example"); err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%s: Renew returns after %v: %v", when, time.Since(begun), err)
	}
}

// Of two processes, each has the leases of 32 names, and keeps them. Another name does not wait for them.
func TestNamesLeasedByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ca := new(storage.Memory), newLocalCA(t, "local")
		leased := manyNames("leased%d.example", 64)
		for _, name := range leased {
			hold(t, store, record.WorkKey("local", name, string(certmanager.ECDSAP256)))
		}
		m, stop := runQuietly(t, certmanager.Config{Names: leased, Storage: store, Issuers: []certmanager.Issuer{ca}, Workers: 1})
		defer stop()
		for range 10 {
			time.Sleep(17 * time.Second)
			before, begun := valid(m), time.Now()
			if err := m.Manage(certmanager.Subject{Names: []string{fmt.Sprintf("free%d.example", before)}}); err != nil {
				t.Fatal(err)
			}
			if awaitValid(t, m, before+1); time.Since(begun) > 0 {
				t.Errorf("a name that nobody has leased has its certificate after %v", time.Since(begun))
			}
		}
		if n := ca.count(); n != 10 {
			t.Errorf("%d certificates were issued, want 10: 64 names are leased by others", n)
		}
	})
}

// Names wait without a worker while it is not known whether the storage can be written.
func TestProbeHoldsNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, config := stocked(t, "stored.example")
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: 20 * time.Second, On: storagetest.Save, Prefix: "probe"})
		config.Names, config.Workers = manyNames("new%d.example", 100), 1
		config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		m, stop := runQuietly(t, config)
		defer stop()
		time.Sleep(2 * time.Second)
		if err := m.Manage(certmanager.Subject{Names: []string{"stored.example"}}); err != nil {
			t.Fatal(err)
		}
		if took := awaitValid(t, m, 1); took > 2*time.Second {
			t.Errorf("a certificate that is stored is served after %v", took)
		}
		if c, err := ask(t, m, "wanted.example"); c == nil {
			t.Errorf("a client that could have waited was told %v", err)
		}
		if took := awaitValid(t, m, 102); took > 20*time.Second {
			t.Errorf("all have a certificate %v later", took)
		}
	})
}

// Names that are refused wait without a worker.
func TestBackoffHoldsNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newLocalCA(t, "local")
		ca.work = func(r certmanager.Request) error {
			if strings.HasPrefix(r.Identifiers[0].Value, "refused") {
				return refusal("not for you")
			}
			return nil
		}
		m, stop := runQuietly(t, certmanager.Config{Names: manyNames("refused%d.example", 500), Storage: new(storage.Memory), Issuers: []certmanager.Issuer{ca}, Workers: 1})
		defer stop()
		time.Sleep(5 * time.Minute)
		begun := time.Now()
		if err := m.Manage(certmanager.Subject{Names: []string{"good.example"}}); err != nil {
			t.Fatal(err)
		}
		if took := awaitValid(t, m, 1); took > 0 {
			t.Errorf("a good name has its certificate %v after %v", took, begun)
		}
	})
}

// A thousand names of an issuer that takes two seconds for each have their certificates at a rate of 120 a second.
func TestThroughput(t *testing.T) {
	const n = 1000
	synctest.Test(t, func(t *testing.T) {
		ca := newLocalCA(t, "local")
		ca.work = func(certmanager.Request) error { time.Sleep(2 * time.Second); return nil }
		m, stop := runQuietly(t, certmanager.Config{Names: manyNames("site%d.example", n), Storage: new(storage.Memory), Issuers: []certmanager.Issuer{ca}})
		defer stop()
		wantRate(t, n, awaitValid(t, m, n))
	})
}

func wantRate(t *testing.T, n int, took time.Duration) {
	t.Helper()
	t.Logf("%d certificates in %v", n, took)
	if took > time.Duration(n)*time.Second/120 {
		t.Errorf("%.0f certificates a second, want 120", float64(n)/took.Seconds())
	}
}

// Workers bounds how many are at work at once, as long as they are not slow.
func TestWorkers(t *testing.T) {
	const names = 600
	for _, workers := range []int{0, 7} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			atWork, most := 0, 0
			ca := newLocalCA(t, "local")
			ca.work = func(certmanager.Request) error {
				mu.Lock()
				atWork++
				most = max(most, atWork)
				mu.Unlock()
				time.Sleep(2 * time.Second)
				mu.Lock()
				atWork--
				mu.Unlock()
				return nil
			}
			m, stop := runQuietly(t, certmanager.Config{Names: manyNames("site%d.example", names), Storage: new(storage.Memory), Issuers: []certmanager.Issuer{ca}, Workers: workers})
			defer stop()
			awaitValid(t, m, names)
			if want := max(workers, (1-min(workers, 1))*512); most != want {
				t.Errorf("with Workers %d, %d were at work at once, want %d", workers, most, want)
			}
		})
	}
}

// With ACME, that an issuer which has not answered yet is asked for few names at first costs a second: the CA has answered
// as soon as it has made an order.
func TestThroughputOfACME(t *testing.T) {
	const workers, rounds = 64, 2
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.SetFaults(acmetest.Delay(time.Second / 4))
		obtain := func(names ...string) time.Duration {
			config := w.config(names...)
			config.OnEvent, config.Preflight, config.Workers = nil, certmanager.PreflightOff, workers
			m, stop := w.start(config)
			defer stop()
			return awaitValid(t, m, len(names))
		}
		obtain("first.example") // makes the account
		one := obtain("second.example")
		if all := obtain(manyNames("site%d.example", workers*rounds)...); all > rounds*one+1500*time.Millisecond {
			t.Errorf("%d certificates with %d workers take %v, and one takes %v", workers*rounds, workers, all, one)
		} else {
			t.Logf("%d certificates with %d workers take %v, and one takes %v", workers*rounds, workers, all, one)
		}
	})
}
