package certmanager

import (
	"cmp"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/ca"
)

// Limits are how often a CA may be asked (RFC 8555 §6.6). All who share a storage count together, so that the CA is not asked
// for what it would refuse; its refusals correct what is counted. A zero field: what is known of the CA of the directory.
type Limits struct {
	NewAccounts           Limit // from one IP address; it is counted as if all who share the storage had the same
	NewOrders             Limit // of the account
	CertificatesPerDomain Limit // for names of one registered domain, or one IPv4 address, or IPv6 network of 64 bits
	CertificatesPerSet    Limit // for exactly the same names
	Failures              Limit // failed validations of one name, of the account
}

// A Limit is a token bucket: Count may be taken at once, and come back evenly over Per. With 50 in a week there is one more
// every 202 minutes. A negative Count: it is not counted.
type Limit struct {
	Count int
	Per   time.Duration
}

const (
	maxCount = 100_000_000
	maxPer   = 366 * 24 * time.Hour
)

// check reports what is wrong with the limits.
func (l *Limits) check(wrong *misconfiguration) {
	for _, field := range []struct {
		name  string
		limit Limit
	}{
		{"NewAccounts", l.NewAccounts}, {"NewOrders", l.NewOrders}, {"CertificatesPerDomain", l.CertificatesPerDomain},
		{"CertificatesPerSet", l.CertificatesPerSet}, {"Failures", l.Failures},
	} {
		switch limit := field.limit; {
		case limit == Limit{}, limit.Count < 0 && limit.Per == 0:
		case limit.Count < 0:
			wrong.addf("ACME.Limits.%s is %d in %v: with a negative Count it is not counted, and Per is to be zero", field.name, limit.Count, limit.Per)
		case limit.Count == 0:
			wrong.addf("ACME.Limits.%s is none in %v: to order nothing leave out the issuer, and -1 says that it is not counted", field.name, limit.Per)
		case limit.Per <= 0, limit.Per > maxPer, limit.Count > maxCount:
			wrong.addf("ACME.Limits.%s is %d in %v: it must be %d at most, in a time of more than nothing and up to a year", field.name, limit.Count, limit.Per, maxCount)
		}
	}
}

// or returns the limit to count by, which is that of the preset unless another is set.
func (l Limit) or(preset ca.Limit) budget.Limit {
	return budget.Limit(cmp.Or(l, Limit(preset)))
}
