package prometheus

import (
	"strconv"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/everseal/everseal/certmanager"
)

// sendCounts sends what the manager has counted.
func sendCounts(ch chan<- prom.Metric, c certmanager.Counts) {
	for outcome, n := range c.Handshakes {
		counter(ch, descs.handshakes, n, string(outcome))
	}
	counter(ch, descs.obtained, c.Obtained)
	counter(ch, descs.renewed, c.Renewed)
	for kind, n := range c.Failures {
		counter(ch, descs.failures, n, string(kind))
	}
	for i := range c.Requests {
		sendRequests(ch, &c.Requests[i])
	}
	for operation, n := range c.Storage {
		counter(ch, descs.calls, n.Calls, operation)
		counter(ch, descs.callErrors, n.Errors, operation)
	}
}

func sendRequests(ch chan<- prom.Metric, r *certmanager.Requests) {
	for status, n := range r.Statuses {
		text := "none"
		if status != 0 {
			text = strconv.Itoa(status)
		}
		counter(ch, descs.requests, n, r.Issuer, r.Action, text)
	}
	var total uint64
	buckets := make(map[float64]uint64, len(r.Durations.Bounds))
	for i, n := range r.Durations.Counts {
		total += uint64(n)
		if i < len(r.Durations.Bounds) {
			buckets[r.Durations.Bounds[i].Seconds()] = total
		}
	}
	ch <- prom.MustNewConstHistogram(descs.duration, total, r.Durations.Sum.Seconds(), buckets, r.Issuer, r.Action)
}
