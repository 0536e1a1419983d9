package certmanager_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// obtainOnDemand has so many certificates be obtained on demand by a manager that ends then.
func (w *world) obtainOnDemand(config certmanager.Config, n int) {
	w.t.Helper()
	m, stop := w.running(config)
	defer stop()
	const atOnce = 500
	for begun := 0; begun < n; begun += atOnce {
		var clients sync.WaitGroup
		for i := range min(atOnce, n-begun) {
			clients.Go(func() {
				if c, err := ask(w.t, m, fmt.Sprintf("site-%04d.example.com", begun+i)); c == nil || err != nil {
					w.t.Error(err)
				}
			})
		}
		clients.Wait()
	}
}

// TestRenewedWithoutTraffic restarts a fleet whose certificates were all obtained on demand, and that no client calls: none
// of them expires, each is renewed once, and memory has but those that are due.
func TestRenewedWithoutTraffic(t *testing.T) {
	n := 3000
	if raceDetector {
		n = 200
	}
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		local.lifetime = 4 * 24 * time.Hour
		config := w.onDemandFrom(local)
		config.MaxNewNames = n
		w.obtainOnDemand(config, n)
		members := make([]*certmanager.Manager, 2)
		stops := make([]func(), 2)
		for i := range members {
			members[i], stops[i] = w.running(config)
			defer func() { stops[i]() }()
		}
		most := 0
		for range 12 {
			time.Sleep(6 * time.Hour)
			for _, m := range members {
				stats := m.Stats()
				most = max(most, stats.Loaded)
				if expired := stats.States[certmanager.StateExpired]; expired != 0 {
					t.Errorf("%d have expired", expired)
				}
			}
		}
		if issued := local.count(); issued != 2*n {
			t.Errorf("%d certificates, want %d and their renewals", issued, n)
		}
		if most == 0 || most == n && n > 1000 {
			t.Errorf("%d of %d were in memory at once", most, n)
		}
		for i, m := range members {
			if stats := m.Stats(); stats.Loaded != 0 {
				t.Errorf("%d are in memory in the end, want none", stats.Loaded)
			}
			stops[i]()
		}
		local.change((*localCA).refusing)
		m, stop := w.running(config)
		defer stop()
		for i := range 50 {
			name := fmt.Sprintf("site-%04d.example.com", i*n/50)
			if c, err := ask(t, m, name); err != nil || !leafOf(t, c).NotAfter.After(time.Now().Add(24*time.Hour)) {
				t.Errorf("%s is not renewed: %v", name, err)
			}
		}
	})
}

// TestSurveyIsResumed ends the member that goes through the certificates when it has noted how far it is: another begins there.
// A third one has nothing to do for hours.
func TestSurveyIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, page = 1050, 1000
		w, local := newWorld(t), newLocalCA(t, "local")
		s := &storagetest.Faulty{Store: w.store}
		config := w.onDemandFrom(local)
		config.MaxNewNames, config.Storage, config.FollowInterval = n, unscanned{s}, -1
		w.obtainOnDemand(config, n)
		item, err := w.store.Load(t.Context(), "survey/on-demand")
		if err == nil { // it was long enough at work to have begun
			if err := w.store.Delete(t.Context(), "survey/on-demand", item.Revision); err != nil {
				t.Fatal(err)
			}
		}
		noted := make(chan bool, 10)
		s.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Save, Prefix: "survey", After: 1, Times: 1, Hit: func(string) { noted <- true }})
		_, stop := w.running(config)
		<-noted // by the second write, that of the cursor
		synctest.Wait()
		stop()
		s.SetFaults()
		for i, want := range []int{n - page, 0} {
			before := s.Calls(storagetest.Load)
			_, stop = w.running(config)
			time.Sleep(20 * time.Minute)
			stop()
			if reads := s.Calls(storagetest.Load) - before; reads < want || reads > want+20 {
				t.Errorf("member %d has read %d records, want %d and some", i, reads, want)
			}
		}
	})
}

// unscanned hides all but the methods of a Store: what is gone through is loaded record by record.
type unscanned struct{ storage.Store }

// TestSurveyLeavesAlone has certificates be stored that are not to be renewed: configured ones, those that have ended, and those
// that are denied.
func TestSurveyLeavesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		var p policy
		config := w.withPolicy(local, &p)
		config.Names = []string{"configured.example.com"}
		w.obtainOnDemand(config, 3)
		issued := local.count()
		config.Names = nil
		p.set(errForbidden)
		m, stop := w.running(config)
		time.Sleep(100 * 24 * time.Hour)
		if n := local.count() - issued; n != 0 {
			t.Errorf("%d were issued that are denied or not wanted", n)
		}
		if n := p.count(); n > 3*(1+41) {
			t.Errorf("the policy was asked %d times since the three certificates were due", n)
		}
		if all := statuses(m); len(all) != 0 {
			t.Errorf("what has ended is under management: %+v", all)
		}
		stop()
		p.set(nil)
		_, stop = w.running(config)
		time.Sleep(24 * time.Hour)
		stop()
		if n := local.count() - issued; n != 0 {
			t.Errorf("%d were issued that have ended and that nobody has asked for", n)
		}
	})
}

// TestSurveyOfSeveralKinds restarts a manager that has obtained a name on demand with two kinds of key: without traffic both
// certificates are renewed, and leave memory then.
func TestSurveyOfSeveralKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		local.lifetime = 4 * 24 * time.Hour
		config := w.onDemandFrom(local)
		config.KeyTypes = bothKinds
		m, stop := w.running(config)
		if _, err := ask(t, m, "example.com"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		m, stop = w.running(config)
		defer stop()
		time.Sleep(3*24*time.Hour + 12*time.Hour)
		if n := local.count(); n != 2*2 {
			t.Errorf("%d certificates, want two and their renewals", n)
		}
		if all := statuses(m); len(all) != 0 {
			t.Errorf("in memory is %+v", all)
		}
	})
}

func (w *world) withPolicy(ca *localCA, p *policy) certmanager.Config {
	config := w.onDemand(p)
	config.Issuers = []certmanager.Issuer{ca}
	return config
}

// A choosy issuer does not support what it has issued for before.
type choosy struct {
	*localCA
	asked atomic.Int32
}

func (c *choosy) Supports(certmanager.Request) error {
	if c.asked.Add(1) > 1000 {
		time.Sleep(time.Hour) // whoever asks again at once is not to ask for ever
	}
	return errors.New("not any more")
}

// TestSurveyOfNamesThatNoIssuerSupports restarts with an issuer that supports other names than it did.
func TestSurveyOfNamesThatNoIssuerSupports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		local.lifetime = 4 * 24 * time.Hour
		config := w.onDemandFrom(local)
		w.obtainOnDemand(config, 3)
		issuer := &choosy{localCA: local}
		config.Issuers = []certmanager.Issuer{issuer}
		_, stop := w.running(config)
		defer stop()
		time.Sleep(5 * 24 * time.Hour)
		if n := issuer.asked.Load(); n == 0 || n > 1000 {
			t.Errorf("the issuer was asked %d times what it supports", n)
		}
		if n := local.count(); n != 3 {
			t.Errorf("%d certificates, want those that there were", n)
		}
	})
}

// A CA that is about to revoke says so: also certificates that were obtained on demand, and that no client calls, are replaced
// within a day. Memory has none of them in the end, and the CA is asked about each as seldom as about others.
func TestPolledWithoutTraffic(t *testing.T) {
	const n = 40
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		config := w.onDemandFrom(ca.localCA)
		config.Issuers, config.RenewalInfoInterval, config.MaxNewNames = []certmanager.Issuer{ca}, 0, n
		w.obtainOnDemand(config, n)
		m, stop := w.running(config)
		defer stop()
		after(5 * day)
		if polls := len(ca.asked("")); polls < 10*n || polls > 20*n {
			t.Errorf("in five days the CA is asked %d times about %d certificates, want a question each six to twelve hours", polls, n)
		}
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo {
			if time.Since(leaf.NotBefore) < day {
				return usualInfo(leaf)
			}
			return windowAt(leaf, -day, time.Hour)
		})
		after(day)
		if issued := ca.count(); issued != 2*n {
			t.Errorf("a day after the CA wanted them replaced there are %d certificates, want %d", issued, 2*n)
		}
		if loaded := m.Stats().Loaded; loaded != 0 {
			t.Errorf("%d are in memory in the end, want none", loaded)
		}
	})
}
