package certmanager

import (
	"errors"
	"fmt"
	"time"
)

const (
	defaultMaxNewNames = 20              // Config.MaxNewNames if that is zero
	newNamesPeriod     = time.Hour       // for which it counts
	maxNewDomains      = 10000           // registered domains that are counted
	cappedPeriod       = 5 * time.Minute // for which it is remembered that a name was one too many
)

// errCapped is why no certificate is obtained for a new name.
var errCapped = errors.New("too many new names of its registered domain are wanted")

// A newNames counts the names that certificates are obtained for on demand, by registered domain: one wildcard record in a
// DNS, and a scanner, make as many as one likes. Each domain has a bucket of so many names that fills up within the
// period. The zero value, with most set, is ready for use. It is not safe for concurrent use.
type newNames struct {
	most   int
	fullAt map[string]time.Time // by domain, when its bucket is full again
}

// take counts a name of the domain. It returns an error if there are too many.
func (n *newNames) take(domain string, now time.Time) error {
	each := newNamesPeriod / time.Duration(n.most)
	full := n.fullAt[domain]
	if full.Before(now) {
		full = now
	}
	full = full.Add(each)
	if wait := full.Sub(now) - newNamesPeriod; wait > 0 {
		return fmt.Errorf("%w: %s has had its %d within the hour (Config.MaxNewNames); the next one may come in %v", errCapped, domain, n.most, wait.Round(time.Second))
	}
	if n.fullAt == nil {
		n.fullAt = make(map[string]time.Time)
	}
	n.forget(now)
	n.fullAt[domain] = full
	return nil
}

// forget forgets some domains whose bucket is full, and if there are too many the one of those looked at that is fullest.
func (n *newNames) forget(now time.Time) {
	const some = 20
	seen, fullest := 0, ""
	for domain, full := range n.fullAt {
		if !full.After(now) {
			delete(n.fullAt, domain)
			continue
		}
		if fullest == "" || full.Before(n.fullAt[fullest]) {
			fullest = domain
		}
		if seen++; seen == some {
			break
		}
	}
	if len(n.fullAt) >= maxNewDomains {
		delete(n.fullAt, fullest)
	}
}
