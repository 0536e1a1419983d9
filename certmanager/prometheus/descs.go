package prometheus

import prom "github.com/prometheus/client_golang/prometheus"

// Descs are the metrics' names, labels and meanings.
var descs = struct {
	notBefore, notAfter, renewal, ready, failedAttempts *prom.Desc // of one certificate

	certificates, overdue, failing, loaded, deferred, inFlight, waiting, running *prom.Desc
	earliestNotAfter, leastLifetime, nextAction                                  *prom.Desc

	handshakes, obtained, renewed, failures, requests, duration, calls, callErrors, swept *prom.Desc

	budgetLeft, budgetLimit, budgetLeast, budgetReadErrors *prom.Desc
}{
	notBefore:      desc("certificate_not_before_timestamp_seconds", "When the certificate's validity begins, in seconds since 1970.", "name", "key_type", "issuer"),
	notAfter:       desc("certificate_not_after_timestamp_seconds", "When the certificate, or the first of its chain, ends, in seconds since 1970.", "name", "key_type", "issuer"),
	renewal:        desc("certificate_renewal_timestamp_seconds", "When the certificate is to be renewed, which stays so while attempts fail, in seconds since 1970.", "name", "key_type", "issuer"),
	ready:          desc("certificate_ready", "Whether there is a certificate that has not expired: 1 or 0.", "name", "key_type", "issuer"),
	failedAttempts: desc("certificate_failed_attempts", "Attempts that failed in a row.", "name", "key_type", "issuer"),

	certificates:     desc("certificates", "Certificates under management, by state.", "state"),
	overdue:          desc("certificates_overdue", "Certificates that should have been obtained or renewed by now."),
	failing:          desc("certificates_failing", "Certificates whose last attempt failed."),
	loaded:           desc("certificates_loaded", "Certificates in memory."),
	deferred:         desc("certificates_deferred", "Certificates whose next action waits, by reason.", "reason"),
	inFlight:         desc("certificates_in_flight", "Certificates that are being obtained, by issuer.", "issuer"),
	waiting:          desc("certificates_waiting", "Certificates that are due and wait for room."),
	running:          desc("certificates_running", "Certificates that are being loaded, obtained or renewed."),
	earliestNotAfter: desc("earliest_not_after_timestamp_seconds", "The first end of all certificates that are served, in seconds since 1970."),
	leastLifetime:    desc("least_lifetime_left_ratio", "The least share of its lifetime that is left of any certificate that is served; below 0: expired."),
	nextAction:       desc("next_action_timestamp_seconds", "When the next action that lies in the future is due, in seconds since 1970."),

	handshakes: desc("handshakes_total", "Handshakes that asked for a certificate, by what they got.", "outcome"),
	obtained:   desc("certificates_obtained_total", "First certificates obtained."),
	renewed:    desc("certificates_renewed_total", "Certificates renewed."),
	failures:   desc("failed_attempts_total", "Attempts to load, obtain or renew that failed, by kind of failure.", "kind"),
	requests:   desc("acme_requests_total", "Requests to ACME CAs, by HTTP status; none: no answer.", "issuer", "action", "status"),
	duration:   desc("acme_request_duration_seconds", "How long requests to ACME CAs took.", "issuer", "action"),
	calls:      desc("storage_calls_total", "Calls of the storage.", "operation"),
	callErrors: desc("storage_errors_total", "Calls of the storage that failed.", "operation"),
	swept:      desc("storage_swept_records_total", "Records that this manager has deleted as of no more use."),

	budgetLeft:       desc("budget_left", "What is left of a limit of the CA's, for all who share the storage.", "issuer", "kind", "name"),
	budgetLimit:      desc("budget_limit", "The limit.", "issuer", "kind", "name"),
	budgetLeast:      desc("budget_least_left_ratio", "The least share that is left of any limit of the kind.", "issuer", "kind"),
	budgetReadErrors: desc("budget_read_errors_total", "Readings of the budgets from the storage that failed."),
}

// desc returns the description of a metric.
func desc(name, help string, labels ...string) *prom.Desc {
	return prom.NewDesc(prom.BuildFQName("everseal", "", name), help, labels, nil)
}

// allDescs returns all of them.
func allDescs() []*prom.Desc {
	d := &descs
	return []*prom.Desc{
		d.notBefore, d.notAfter, d.renewal, d.ready, d.failedAttempts,
		d.certificates, d.overdue, d.failing, d.loaded, d.deferred, d.inFlight, d.waiting, d.running,
		d.earliestNotAfter, d.leastLifetime, d.nextAction,
		d.handshakes, d.obtained, d.renewed, d.failures, d.requests, d.duration, d.calls, d.callErrors, d.swept,
		d.budgetLeft, d.budgetLimit, d.budgetLeast, d.budgetReadErrors,
	}
}

func gauge(ch chan<- prom.Metric, d *prom.Desc, value float64, labels ...string) {
	ch <- prom.MustNewConstMetric(d, prom.GaugeValue, value, labels...)
}

func counter(ch chan<- prom.Metric, d *prom.Desc, value int64, labels ...string) {
	ch <- prom.MustNewConstMetric(d, prom.CounterValue, float64(value), labels...)
}
