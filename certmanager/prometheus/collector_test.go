package prometheus_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/prometheus"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// config returns one whose certificates are signed by a local CA.
func config(names ...string) certmanager.Config {
	return certmanager.Config{
		Names: names, Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: new(storage.Memory),
		NoHTTP: true, Logger: slog.New(slog.DiscardHandler), RenewalInfoInterval: -1, SweepInterval: -1,
	}
}

// run runs a manager until the test ends, and waits until it has its certificates.
func run(t testing.TB, c certmanager.Config) *certmanager.Manager {
	t.Helper()
	m, err := certmanager.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := m.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

// A scrape is what a registry has gathered: values by metric and labels, "name{label=value,…}".
type scrape map[string]float64

// gather scrapes a collector.
func gather(t testing.TB, c *prometheus.Collector) scrape {
	t.Helper()
	registry := prom.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	s := make(scrape)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			s[family.GetName()+labels(m)] = value(m)
		}
	}
	return s
}

func labels(m *dto.Metric) string {
	var all []string
	for _, pair := range m.GetLabel() {
		all = append(all, pair.GetName()+"="+pair.GetValue())
	}
	if len(all) == 0 {
		return ""
	}
	return "{" + strings.Join(all, ",") + "}"
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Gauge != nil:
		return m.GetGauge().GetValue()
	case m.Counter != nil:
		return m.GetCounter().GetValue()
	}
	return float64(m.GetHistogram().GetSampleCount())
}

// of returns the series of the metric.
func (s scrape) of(name string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for series := range maps.Keys(s) {
			if metric, _, _ := strings.Cut(series, "{"); metric == name && !yield(series) {
				return
			}
		}
	})
}

// want fails the test unless the series has the value.
func (s scrape) want(t *testing.T, series string, want float64) {
	t.Helper()
	if got, ok := s[series]; !ok || math.Abs(got-want) > 1e-9 {
		t.Errorf("%s is %v (%t), want %v", series, got, ok, want)
	}
}

// A scrape shows the certificates as Status has them, what they come to together, and nothing of a name that is forgotten.
func TestCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := run(t, config("a.example.com", "b.example.com", "c.example.com"))
		c := &prometheus.Collector{Manager: m}
		time.Sleep(24 * time.Hour)
		s := gather(t, c)
		status, _ := m.Status("b.example.com")
		const of = "{issuer=local,key_type=ecdsa-p256,name=b.example.com}"
		s.want(t, "everseal_certificate_not_before_timestamp_seconds"+of, float64(status.NotBefore.Unix()))
		s.want(t, "everseal_certificate_not_after_timestamp_seconds"+of, float64(status.NotAfter.Unix()))
		s.want(t, "everseal_certificate_renewal_timestamp_seconds"+of, float64(status.Renewal.Unix()))
		s.want(t, "everseal_certificate_ready"+of, 1)
		s.want(t, "everseal_certificate_failed_attempts"+of, 0)
		s.want(t, "everseal_certificates{state=valid}", 3)
		s.want(t, "everseal_certificates{state=expired}", 0)
		s.want(t, "everseal_certificates_overdue", 0)
		s.want(t, "everseal_certificates_loaded", 3)
		s.want(t, "everseal_earliest_not_after_timestamp_seconds", float64(m.Stats().EarliestEnd.Unix()))
		s.want(t, "everseal_next_action_timestamp_seconds", float64(m.Stats().NextDue.Unix()))
		least := 1.0
		for other := range m.All() {
			least = min(least, float64(time.Until(other.NotAfter))/float64(other.NotAfter.Sub(other.NotBefore)))
		}
		s.want(t, "everseal_least_lifetime_left_ratio", least)
		s.want(t, "everseal_certificates_obtained_total", 3)
		s.want(t, "everseal_certificates_renewed_total", 0)
		s.want(t, "everseal_handshakes_total{outcome=served}", 0)
		s.want(t, "everseal_failed_attempts_total{kind=validation}", 0)
		if s["everseal_storage_calls_total{operation=save}"] < 3 {
			t.Errorf("saves: %v", s["everseal_storage_calls_total{operation=save}"])
		}

		if err := m.Forget("b.example.com"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s = gather(t, c)
		if ready := s.of("everseal_certificate_ready"); len(ready) != 2 || strings.Contains(fmt.Sprint(ready), "b.example.com") {
			t.Errorf("series of %v", ready)
		}
		s.want(t, "everseal_certificates{state=valid}", 2)
	})
}

// Of many certificates those have series that have the least of their lifetime left, and those that have none; aggregates
// are of all.
func TestSeriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 60 {
			names = append(names, fmt.Sprintf("late%02d.example.com", 99-i)) // not in the order of their ends
		}
		c := config(names...)
		c.Names = nil
		m := run(t, c)
		for _, name := range names { // one after another, so that their ends differ
			if err := m.Manage(certmanager.Subject{Names: []string{name}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		s := gather(t, &prometheus.Collector{Manager: m, MaxSeries: 7})
		for _, metric := range []string{"not_before_timestamp_seconds", "not_after_timestamp_seconds", "renewal_timestamp_seconds", "ready", "failed_attempts"} {
			var want []string
			for _, name := range slices.Backward(names[:7]) {
				want = append(want, "everseal_certificate_"+metric+"{issuer=local,key_type=ecdsa-p256,name="+name+"}")
			}
			if got := s.of("everseal_certificate_" + metric); !slices.Equal(got, want) {
				t.Errorf("series %v, want %v", got, want)
			}
		}
		s.want(t, "everseal_certificates{state=valid}", 60)
		first, _ := m.Status(names[0])
		s.want(t, "everseal_least_lifetime_left_ratio", float64(time.Until(first.NotAfter))/float64(first.NotAfter.Sub(first.NotBefore)))
		s = gather(t, &prometheus.Collector{Manager: m, MaxSeries: -1})
		if got := s.of("everseal_certificate_ready"); len(got) > 0 {
			t.Errorf("series %v", got)
		}
		s.want(t, "everseal_certificates{state=valid}", 60)
		if got := gather(t, &prometheus.Collector{Manager: m}).of("everseal_certificate_ready"); len(got) != 60 {
			t.Errorf("%d series", len(got))
		}
	})
}

// A name that a client has sent, and for which there is no certificate, is no label and displaces none.
func TestNamesOfClientsAreNoLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		down := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })}
		c.Issuers = []certmanager.Issuer{&certmanager.ACME{DirectoryURL: "https://ca.example/directory", AgreeToTerms: true, HTTPClient: down}}
		m := run(t, c)
		synctest.Wait()
		if _, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: "hostile.example.com"}); err == nil {
			t.Fatal("there is a certificate")
		}
		s := gather(t, &prometheus.Collector{Manager: m})
		for series := range s {
			if strings.Contains(series, "hostile") {
				t.Error(series)
			}
		}
		s.want(t, "everseal_certificates{state=waiting}", 1)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// limited returns a configuration with a CA whose limits are counted, which nobody asks.
func limited(s storage.Store) certmanager.Config {
	c := config()
	c.Storage = s
	c.Issuers = []certmanager.Issuer{&certmanager.ACME{DirectoryURL: "https://ca.example/directory", AgreeToTerms: true,
		Limits: certmanager.Limits{NewOrders: certmanager.Limit{Count: 300, Per: 3 * time.Hour}}}}
	return c
}

// However often is scraped, budgets are read once a minute, and no scrape waits for the storage.
func TestBudgetsAreReadBesideScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storagetest.Faulty{Store: new(storage.Memory)}
		m, err := certmanager.New(limited(s))
		if err != nil {
			t.Fatal(err)
		}
		c := &prometheus.Collector{Manager: m}
		gather(t, c)
		synctest.Wait()
		first := gather(t, c)
		for range 100 {
			gather(t, c)
		}
		synctest.Wait()
		if n := s.Calls(storagetest.Scan); n != 1 {
			t.Errorf("the budgets were read %d times", n)
		}
		issuer := m.Counts() // has no requests: nobody was asked
		if len(issuer.Requests) > 0 {
			t.Errorf("requests %+v", issuer.Requests)
		}
		left := first.of("everseal_budget_left")
		if len(left) != 1 || first[left[0]] != 300 || !strings.Contains(left[0], "kind=orders,name=}") {
			t.Errorf("budgets %v: %v", left, first)
		}
		time.Sleep(time.Minute)
		s.SetFaults(storagetest.Fault{On: storagetest.Scan, Kind: storagetest.Hang})
		begun := time.Now()
		gather(t, c)
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("a scrape has waited for %v", waited)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		s.SetFaults()
		if after := gather(t, c); after["everseal_budget_read_errors_total"] != 1 || len(after.of("everseal_budget_left")) > 0 {
			t.Errorf("after an error: %v", after.of("everseal_budget_left"))
		}
		synctest.Wait()
	})
}

// A collector without a manager says what is missing.
func TestNoManager(t *testing.T) {
	registry := prom.NewRegistry()
	registry.MustRegister(new(prometheus.Collector))
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), "Collector.Manager is nil") {
		t.Errorf("error %v", err)
	}
}

// Who scrapes often has the certificates walked through every five seconds at most.
func TestWalksAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := run(t, config("a.example.com"))
		c := &prometheus.Collector{Manager: m}
		gather(t, c)
		if err := m.Manage(certmanager.Subject{Names: []string{"b.example.com"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := gather(t, c).of("everseal_certificate_ready"); len(got) != 1 {
			t.Errorf("series %v at once", got)
		}
		time.Sleep(5 * time.Second)
		if got := gather(t, c).of("everseal_certificate_ready"); len(got) != 2 {
			t.Errorf("series %v after five seconds", got)
		}
	})
}
