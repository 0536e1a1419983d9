package prometheus

import (
	"maps"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/everseal/everseal/certmanager"
)

// Requests are counted by status, and their durations in buckets that have those of the buckets before.
func TestRequests(t *testing.T) {
	ch := make(chan prom.Metric, 100)
	sendRequests(ch, &certmanager.Requests{Issuer: "ca", Action: "newOrder", Statuses: map[int]int64{0: 4, 201: 2}, Durations: certmanager.Histogram{
		Bounds: []time.Duration{10 * time.Millisecond, time.Second}, Counts: []int64{3, 2, 1}, Sum: 90 * time.Second}})
	close(ch)
	statuses, buckets := make(map[string]float64), make(map[float64]uint64)
	for metric := range ch {
		var m dto.Metric
		if err := metric.Write(&m); err != nil {
			t.Fatal(err)
		}
		for _, label := range m.GetLabel() {
			if label.GetName() == "status" {
				statuses[label.GetValue()] = m.GetCounter().GetValue()
			}
		}
		if h := m.GetHistogram(); h != nil {
			if h.GetSampleCount() != 6 || h.GetSampleSum() != 90 {
				t.Errorf("%d requests in %v seconds", h.GetSampleCount(), h.GetSampleSum())
			}
			for _, b := range h.GetBucket() {
				buckets[b.GetUpperBound()] = b.GetCumulativeCount()
			}
		}
	}
	if want := map[string]float64{"none": 4, "201": 2}; !maps.Equal(statuses, want) {
		t.Errorf("statuses %v, want %v", statuses, want)
	}
	if want := map[float64]uint64{0.01: 3, 1: 5}; !maps.Equal(buckets, want) {
		t.Errorf("buckets %v, want %v", buckets, want)
	}
}
