package prometheus

import (
	"cmp"
	"math"
	"slices"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/everseal/everseal/certmanager"
)

// A survey is what a walk through all certificates has found.
type survey struct {
	stats certmanager.Stats
	least float64 // share of lifetime that is left; not a number: nothing is served
	worst []sight
}

// A sight is what is shown of one certificate.
type sight struct {
	name, keyType, issuer        string
	notBefore, notAfter, renewal time.Time
	ready                        bool
	attempts                     int
	share                        float64 // of the lifetime that is left; 0 if there is no certificate
}

// newSurvey walks through the certificates and keeps the n that need attention most.
func newSurvey(m *certmanager.Manager, n int, now time.Time) survey {
	s := survey{stats: m.Stats(), least: math.NaN()}
	w := worst{most: n}
	for status := range m.All() {
		if len(status.Names) == 0 {
			continue
		}
		share, served := shareLeft(&status, now)
		if served && !(s.least <= share) {
			s.least = share
		}
		if status.OnDemand && !served {
			continue // a client has sent the name: it is to be no label, and to displace none
		}
		if w.wants(share, status.Names[0]) {
			w.add(sight{
				name: status.Names[0], keyType: string(status.KeyType), issuer: status.Issuer,
				notBefore: status.NotBefore, notAfter: status.NotAfter, renewal: status.Renewal,
				ready: served && now.Before(status.NotAfter), attempts: status.Attempts, share: share,
			})
		}
	}
	s.worst = w.sorted()
	return s
}

// shareLeft returns how much of the certificate's lifetime is left, of one; 0, false: there is none.
func shareLeft(s *certmanager.Status, now time.Time) (share float64, served bool) {
	lifetime := s.NotAfter.Sub(s.NotBefore)
	if s.NotAfter.IsZero() || lifetime <= 0 {
		return 0, false
	}
	return float64(s.NotAfter.Sub(now)) / float64(lifetime), true
}

// A worst keeps those of many certificates that have the least share of their lifetime left.
type worst struct {
	most  int
	found []sight // unsorted; twice as many as are kept at most
	limit *sight  // of the last that was kept when some were dropped; nil: none was
}

// wants reports whether the certificate is, so far, among those to keep.
func (w *worst) wants(share float64, name string) bool {
	return w.most > 0 && (w.limit == nil || share < w.limit.share || share == w.limit.share && name < w.limit.name)
}

// add adds one, and drops the best if there are many.
func (w *worst) add(s sight) {
	w.found = append(w.found, s)
	if len(w.found) >= 2*w.most {
		w.cut()
	}
}

// cut keeps what is to be kept: one of each name and kind of key.
func (w *worst) cut() {
	slices.SortFunc(w.found, func(a, b sight) int {
		return cmp.Or(cmp.Compare(a.share, b.share), cmp.Compare(a.name, b.name), cmp.Compare(a.keyType, b.keyType))
	})
	if len(w.found) > w.most {
		w.found = w.found[:w.most]
		last := w.found[w.most-1]
		w.limit = &last
	}
}

// sorted returns those that are kept. Of two with the same labels, as there may be for a moment, it has one.
func (w *worst) sorted() []sight {
	w.cut()
	type identity struct{ name, keyType string }
	seen := make(map[identity]bool, len(w.found))
	return slices.DeleteFunc(w.found, func(s sight) bool {
		id := identity{s.name, s.keyType}
		again := seen[id]
		seen[id] = true
		return again
	})
}

// send sends the figures of the certificates.
func (s *survey) send(ch chan<- prom.Metric) {
	for i := range s.worst {
		s.worst[i].send(ch)
	}
	for _, state := range []certmanager.State{certmanager.StateWaiting, certmanager.StateObtaining, certmanager.StateValid, certmanager.StateRenewing, certmanager.StateExpired} {
		gauge(ch, descs.certificates, float64(s.stats.States[state]), string(state))
	}
	for reason, n := range s.stats.Deferred {
		gauge(ch, descs.deferred, float64(n), string(reason))
	}
	for issuer, n := range s.stats.InFlight {
		gauge(ch, descs.inFlight, float64(n), issuer)
	}
	gauge(ch, descs.overdue, float64(s.stats.Overdue))
	gauge(ch, descs.failing, float64(s.stats.Failing))
	gauge(ch, descs.loaded, float64(s.stats.Loaded))
	gauge(ch, descs.waiting, float64(s.stats.Ready))
	gauge(ch, descs.running, float64(s.stats.Running))
	counter(ch, descs.swept, s.stats.Swept)
	sendTime(ch, descs.earliestNotAfter, s.stats.EarliestEnd)
	sendTime(ch, descs.nextAction, s.stats.NextDue)
	if !math.IsNaN(s.least) {
		gauge(ch, descs.leastLifetime, s.least)
	}
}

func (s *sight) send(ch chan<- prom.Metric) {
	labels := []string{s.name, s.keyType, s.issuer}
	sendTime(ch, descs.notBefore, s.notBefore, labels...)
	sendTime(ch, descs.notAfter, s.notAfter, labels...)
	sendTime(ch, descs.renewal, s.renewal, labels...)
	ready := 0.0
	if s.ready {
		ready = 1
	}
	gauge(ch, descs.ready, ready, labels...)
	gauge(ch, descs.failedAttempts, float64(s.attempts), labels...)
}

// sendTime sends a time in seconds since 1970, unless it is zero.
func sendTime(ch chan<- prom.Metric, d *prom.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		gauge(ch, d, float64(t.Unix()), labels...)
	}
}
