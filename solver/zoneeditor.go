package solver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
)

// usualTTL is short, for what comes and goes.
const usualTTL = time.Minute

var errNoProvider = errors.New("the Provider that edits the zone is nil: set it")

// A zoneEditor creates records by a provider, in the zone where they belong.
type zoneEditor struct {
	provider    Provider
	dns         *dnsclient.Client
	zone        string // zero: found by SOA
	followCNAME bool
}

// placeTimeout is for finding out where a record belongs, or is: along CNAMEs, and up the names to a zone.
const placeTimeout = time.Minute

// findingPlace returns a context that ends when that has taken too long.
func findingPlace(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, placeTimeout, fmt.Errorf("the DNS has too few answers within %v", placeTimeout))
}

// place returns the record to create for a value that is asked for at a name.
func (z *zoneEditor) place(ctx context.Context, name, value string, ttl time.Duration) (Record, error) {
	// Before anything is asked or noted: a clean-up would only repeat what is wrong.
	if err := ready(z.provider); err != nil {
		return Record{}, inner{err}
	}
	ctx, cancel := findingPlace(ctx)
	defer cancel()
	r := Record{Zone: dnsclient.BareName(z.zone), Name: name, Value: value, TTL: cmp.Or(max(ttl, 0), usualTTL)}
	var err error
	if z.followCNAME {
		if r.Name, err = z.delegated(ctx, name); err != nil {
			return Record{}, err
		}
		if !isHostLike(r.Name) {
			return Record{}, fmt.Errorf("the CNAME at %s leads to %.260q, where no record will be created: names of letters, digits, - and _ are taken", name, r.Name)
		}
	}
	if r.Zone == "" {
		if r.Zone, err = z.dns.Zone(ctx, r.Name); err != nil {
			return Record{}, fmt.Errorf("find the zone, or set Zone to it: %w", err)
		}
	}
	switch {
	case dnsclient.IsWithin(r.Name, r.Zone):
		return r, nil
	case r.Name != name:
		return Record{}, fmt.Errorf("the CNAME at %s leads to %s, out of the zone %.260q that is set: set the one where it leads, or none for it to be found", name, r.Name, r.Zone)
	}
	return Record{}, fmt.Errorf("the record %s is not in the zone %.260q that is set: set the zone that it is in, or none for it to be found", name, r.Zone)
}

// delegated returns where the CNAMEs of a name lead, or the name itself if there are none. One that comes
// from a wildcard is not followed: a record created beside the wildcard comes before it.
func (z *zoneEditor) delegated(ctx context.Context, name string) (string, error) {
	chain, err := z.dns.CNAMEChain(ctx, name)
	if err != nil {
		return "", err
	}
	for i, target := range chain[1:] {
		synthesized, err := z.isSynthesized(ctx, chain[i], target)
		if err != nil {
			return "", err
		}
		if synthesized {
			return chain[i], nil
		}
	}
	return chain[len(chain)-1], nil
}

// isSynthesized reports whether the CNAME from a name to a target comes from a wildcard. One is known by what
// it does: another name beside it, which nobody has made, leads to the same place. It does so no longer when
// the name has got a record meanwhile, as by another proof of the same order; then its CNAME is gone.
func (z *zoneEditor) isSynthesized(ctx context.Context, name, target string) (bool, error) {
	_, parent, ok := strings.Cut(name, ".")
	if !ok {
		return false, nil
	}
	beside := "_everseal-probe." + parent
	if len(beside) > 253 {
		return false, nil // no name of the kind that a wildcard stands for could be asked about
	}
	r, err := z.dns.Resolve(ctx, beside, dnsmessage.TypeCNAME)
	if err != nil {
		return false, err
	}
	return r.Alias(beside) == target || z.dns.HasNoCNAME(ctx, name), nil
}

// create has the provider create the record.
func (z *zoneEditor) create(ctx context.Context, r Record) error {
	if err := z.provider.AppendRecord(ctx, r); err != nil {
		return fmt.Errorf("create the TXT record %s in the zone %.260q: %w%s", r.Name, r.Zone, escape.Error(inner{err}), z.advice(ctx, r.Name))
	}
	return nil
}

// adviceTimeout is for looking up what to advise if a record could not be created.
const adviceTimeout = 5 * time.Second

// adviser returns what gives advice on a name by the answers of a DNS.
func (z *zoneEditor) adviser(name string) func(ctx context.Context, c *dnsclient.Client) string {
	return func(ctx context.Context, c *dnsclient.Client) string {
		asking := *z
		asking.dns = c
		return asking.advice(ctx, name)
	}
}

// advice returns what may be wrong if a record at a name could not be created, or is not seen, as the end of
// a sentence: with a CNAME there, no other record can be.
func (z *zoneEditor) advice(ctx context.Context, name string) string {
	if z.followCNAME || ctx.Err() != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, adviceTimeout)
	defer cancel()
	target, err := z.delegated(ctx, name)
	if err != nil || target == dnsclient.BareName(name) {
		return ""
	}
	return fmt.Sprintf(". A CNAME leads from there to %.260q: set FollowCNAME for the record to be created where it leads", target)
}

// isHostLike reports whether a name, which may come from the network, can be given to programs as it is.
func isHostLike(name string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
	})
}
