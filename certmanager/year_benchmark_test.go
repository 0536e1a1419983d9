package certmanager_test

import (
	"cmp"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

// BenchmarkYear has certificates of 45 days be kept for a simulated year, after a fill spread over 30 days. EVERSEAL_YEAR_NAMES
// sets another number of names, and -benchtime 1x is enough: the figures are those of the last run.
//
// Decisions: lifecycle, dispatcher and budget alone, for 1,000,000 names, each polled for every ten days. Stack: three members
// with all that they have, on a storage in memory, for 100,000 names, likewise. Real time is what all of it takes on the
// processors there are.
func BenchmarkYear(b *testing.B) {
	b.Run("Decisions", func(b *testing.B) {
		for b.Loop() {
			began, renewals := b.Elapsed(), 0
			inBubble(b, func(t *testing.T) { renewals = decideForYear(t, b, benchmarkNames(1_000_000)) })
			b.ReportMetric(float64(b.Elapsed()-began)/float64(renewals), "ns/renewal")
		}
	})
	b.Run("Stack", func(b *testing.B) {
		for b.Loop() {
			began, requests, n := b.Elapsed(), 0, benchmarkNames(100_000)
			inBubble(b, func(t *testing.T) {
				y := &year{T: t, ca: newYearCA(t), interval: 10 * day}
				for range 3 {
					y.join()
				}
				v := yearVariant{quiet: true, late: 15 * time.Minute}
				y.run(n, v)
				y.check(n, v)
				requests = y.report(b)
			})
			b.ReportMetric(float64(b.Elapsed()-began)/float64(requests), "ns/request")
		}
	})
}

// inBubble runs f as a test in a bubble, which a benchmark can't be.
func inBubble(b *testing.B, f func(*testing.T)) {
	test := testing.InternalTest{Name: b.Name(), F: func(t *testing.T) { synctest.Test(t, f) }}
	if !testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{test}) {
		b.Fail()
	}
}

func benchmarkNames(usual int) int {
	n, _ := strconv.Atoi(os.Getenv("EVERSEAL_YEAR_NAMES"))
	return cmp.Or(n, usual)
}

// report reports what the year has come to, and returns how many requests the CA had.
func (y *year) report(b *testing.B) int {
	y.ca.mu.Lock()
	defer y.ca.mu.Unlock()
	issued, sum, peak := 0, 0, 0
	for _, orders := range y.ca.orders {
		issued += len(orders)
	}
	settled := y.ca.hourly[(yearFill+day)/time.Hour : yearLength/time.Hour]
	for _, requests := range settled {
		sum, peak = sum+requests, max(peak, requests)
	}
	b.ReportMetric(float64(issued), "certificates")
	b.ReportMetric(float64(y.ca.asked), "polls")
	b.ReportMetric(float64(peak)*float64(len(settled))/float64(sum), "peak/mean")
	return issued + y.ca.asked
}

// decideForYear has a bareManager keep so many names for a year, and returns how many renewals that took.
func decideForYear(t *testing.T, b *testing.B, n int) (renewals int) {
	// An account whose limit is three times what the names need.
	m := newBareManager(t, budget.Limit{Count: n / 80, Per: 3 * time.Hour})
	m.ca.work, m.ca.retry = 10*time.Second, 10*day
	all := bareNames(n)
	for _, n := range all {
		n.kind = counted
	}
	const fill = int(yearFill / time.Hour)
	for hour := range fill {
		m.dispatcher.Update(all[hour*n/fill : (hour+1)*n/fill]...)
		time.Sleep(time.Hour)
	}
	time.Sleep(yearLength - yearFill)
	m.stop()
	latest := time.Duration(0)
	for _, n := range all {
		renewals += int(n.renewed)
		latest = max(latest, n.late)
		if !n.last.End.After(time.Now()) {
			t.Fatalf("a certificate has expired, after %d renewals", n.renewed)
		}
	}
	settled := int((yearFill + day) / time.Hour)
	orders, peak := m.ca.issued.from(settled)
	questions, _ := m.ca.questions.from(0)
	if m.ca.excesses > 0 || latest > time.Hour || renewals < 10*n {
		t.Errorf("%d excesses, %d renewals, the latest %v after it was due", m.ca.excesses, renewals, latest)
	}
	b.ReportMetric(float64(renewals), "renewals")
	b.ReportMetric(float64(questions), "polls")
	b.ReportMetric(float64(peak)*float64(int(yearLength/time.Hour)-settled)/float64(orders), "peak/mean")
	b.ReportMetric(latest.Seconds(), "s-late")
	return renewals
}
