// Package prometheus shows Prometheus what a [certmanager.Manager] does. A [Collector] is registered like any other:
//
//	registry.MustRegister(&prometheus.Collector{Manager: m})
//
// alerts.yml in this folder has rules to alert by, dashboard.json a dashboard for Grafana.
//
// # Metrics
//
// Times are absolute, in seconds since 1970, so that what is left of a lifetime can be had of them at any time:
//
//	(everseal_certificate_not_after_timestamp_seconds - time())
//	  / (everseal_certificate_not_after_timestamp_seconds - everseal_certificate_not_before_timestamp_seconds)
//
// Of single certificates, with the labels name (the first of its names), key_type and issuer:
//
//	everseal_certificate_not_before_timestamp_seconds   when its validity begins
//	everseal_certificate_not_after_timestamp_seconds    when it, or the first of its chain, ends
//	everseal_certificate_renewal_timestamp_seconds      when it is to be renewed; in the past: it is overdue
//	everseal_certificate_ready                          1 if there is one that has not expired, or else 0
//	everseal_certificate_failed_attempts                that failed in a row
//
// Of all of them:
//
//	everseal_certificates{state}                        waiting, obtaining, valid, renewing or expired
//	everseal_certificates_overdue                       that should have been obtained or renewed by now
//	everseal_certificates_failing                       whose last attempt failed
//	everseal_certificates_deferred{reason}              whose next action waits: see certmanager.Reason
//	everseal_certificates_in_flight{issuer}             that are being obtained
//	everseal_certificates_waiting                       that are due and wait for room
//	everseal_certificates_running                       that are being loaded, obtained or renewed
//	everseal_certificates_loaded                        that are in memory
//	everseal_earliest_not_after_timestamp_seconds       the first end of all that are served
//	everseal_least_lifetime_left_ratio                  the least share of its lifetime that is left of any
//	everseal_next_action_timestamp_seconds              when the next action is due
//
// What was counted since the manager was made, as certmanager.Counts has it:
//
//	everseal_handshakes_total{outcome}                  served, challenge, fallback, unknown or failed
//	everseal_certificates_obtained_total                first certificates
//	everseal_certificates_renewed_total
//	everseal_failed_attempts_total{kind}                validation, solver, refusal, rateLimit, issuer, …
//	everseal_acme_requests_total{issuer,action,status}  status is none if there was no answer
//	everseal_acme_request_duration_seconds{issuer,action}
//	everseal_storage_calls_total{operation}             load, save, delete, list or scan
//	everseal_storage_errors_total{operation}
//	everseal_storage_swept_records_total                records deleted as of no more use
//
// Of the limits of CAs, for all who share the storage; name is the registered domain or the name it is of, if it is of one:
//
//	everseal_budget_left{issuer,kind,name}              accounts, orders, domain, set or failures
//	everseal_budget_limit{issuer,kind,name}
//	everseal_budget_least_left_ratio{issuer,kind}       the least share that is left of any of the kind
//	everseal_budget_read_errors_total                   readings from the storage that failed
//
// # Cardinality
//
// Nothing that a client or a CA sends becomes a label, but for the HTTP status, of which those without a name count as the
// first of their hundred. Series of single certificates, and of budgets with a name, are bounded by Collector.MaxSeries; they
// vanish with the certificate. A name that clients want on demand has none before there is a certificate for it. The aggregates are of
// all, however many there are.
package prometheus
