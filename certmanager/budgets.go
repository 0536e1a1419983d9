package certmanager

import (
	"cmp"
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/ca"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/tally"
	"github.com/everseal/everseal/storage"
)

// A countable is what a CA counts, as it stands in the keys of records.
type countable string

// What CAs count.
const (
	newAccounts   countable = "accounts"
	newOrders     countable = "orders"
	certsByDomain countable = "domain"
	certsBySet    countable = "set"
	failures      countable = "failures"
)

// Budgets are what one issuer may still be asked for, by all who share the storage.
type budgets struct {
	book       tally.Book
	ca         string // for people
	accountKey string
	limits     map[countable]budget.Limit
	renewals   time.Duration // as of ca.Limits
}

func newBudgets(a *ACME, known ca.CA, s storage.Store) *budgets {
	preset := known.Limits
	b := &budgets{book: tally.Book{Store: s}, ca: known.Name, accountKey: a.accountKey(), renewals: preset.Renewals}
	if u, err := url.Parse(a.directoryURL()); err == nil {
		b.ca = cmp.Or(b.ca, u.Hostname())
	}
	b.limits = map[countable]budget.Limit{
		newAccounts: a.Limits.NewAccounts.or(preset.AccountsPerAddress), newOrders: a.Limits.NewOrders.or(preset.Orders),
		certsByDomain: a.Limits.CertificatesPerDomain.or(preset.CertificatesPerDomain),
		certsBySet:    a.Limits.CertificatesPerSet.or(preset.CertificatesPerSet), failures: a.Limits.Failures.or(preset.Failures),
	}
	return b
}

// A purse is one of the budgets.
type purse struct {
	*tally.Tally
	spentError                             // but for the time and the place
	giveBack   func(context.Context) error // gives back the token that was taken
}

// purse returns that of what is counted, of a name if it is of one; false: it is not counted.
func (b *budgets) purse(which countable, name, key string) (purse, bool) {
	limit := b.limits[which]
	if !limit.IsCounted() {
		return purse{}, false
	}
	at := record.BudgetKey(b.accountKey, string(which), key)
	return purse{Tally: b.book.Tally(at, limit), spentError: spentError{ca: b.ca, which: which, limit: limit, name: name, key: at}}, true
}

// ofOrder returns the budgets that an order costs, the slow ones first.
func (b *budgets) ofOrder(identifiers []acme.Identifier) []purse {
	var all []purse
	add := func(which countable, name, key string) {
		p, counted := b.purse(which, name, key)
		if counted && !slices.ContainsFunc(all, func(q purse) bool { return q.key == p.key }) {
			all = append(all, p)
		}
	}
	if b.limits[certsBySet].IsCounted() {
		add(certsBySet, "", record.SetName(namesOf(identifiers)))
	}
	if b.limits[certsByDomain].IsCounted() {
		for _, id := range identifiers {
			domain := registeredDomain(id)
			add(certsByDomain, domain, domain)
		}
	}
	add(newOrders, "", "")
	slices.SortStableFunc(all, func(p, q purse) int { return cmp.Compare(q.limit.Interval(), p.limit.Interval()) })
	return all
}

// isExempt reports whether the CA checks none of its limits for the order.
func (b *budgets) isExempt(w waiter) bool { return b.renewals > 0 && w.replaces }

// costs returns the budgets that the order costs, the slow ones first. What is exempt does count for the exact set at Let's
// Encrypt when it is issued. That is left out: it would be a call of the storage for each renewal, and is corrected by a refusal.
func (b *budgets) costs(w waiter) []purse {
	if b.isExempt(w) {
		return nil
	}
	all := b.ofOrder(w.identifiers)
	if time.Since(w.obtained) < b.renewals {
		all = slices.DeleteFunc(all, func(p purse) bool { return p.which != certsBySet })
	}
	return all
}

// ofFailures returns the budgets of failed validations of the names.
func (b *budgets) ofFailures(identifiers []acme.Identifier) []purse {
	var all []purse
	for _, id := range identifiers {
		base := strings.TrimPrefix(id.Value, "*.")
		if p, counted := b.purse(failures, base, base); counted {
			all = append(all, p)
		}
	}
	return all
}

// registeredDomain returns what certificates for the identifier are counted by: its registered domain, or its address, or of
// an IPv6 address the first of its network of 64 bits.
func registeredDomain(id acme.Identifier) string {
	if addr, err := netip.ParseAddr(id.Value); id.Type == acme.TypeIP && err == nil {
		if addr.Is6() && !addr.Is4In6() {
			addr = netip.PrefixFrom(addr, 64).Masked().Addr()
		}
		return addr.String()
	}
	base := strings.TrimPrefix(id.Value, "*.")
	domain, err := publicsuffix.EffectiveTLDPlusOne(base)
	if err != nil {
		return base
	}
	return domain
}

// A waiter is who wants an order.
type waiter struct {
	tally.Waiter
	identifiers []acme.Identifier
	obtained    time.Time   // when the issuer issued the certificate that is replaced, for the same names; zero: another has, or none
	replaces    bool        // it says so (RFC 9773 §5), in the window that was suggested for that
	last        *spentError // what it has waited for; nil: nothing
}

// check returns nil if an order may be tried, as far as is known without asking the storage, or a *spentError. One whose time
// to come again is over has the storage asked once more.
func (b *budgets) check(ctx context.Context, w waiter) error {
	now := time.Now()
	var spent *purse
	var latest time.Time
	for _, p := range b.costs(w) {
		again := w.last != nil && w.last.key == p.key
		if again && now.Before(w.last.until) && w.last.waiter == w.Waiter {
			return w.last
		}
		own := w.Waiter
		if own.Waited = again && !now.Before(w.last.until); own.Waited {
			_ = p.Refresh(ctx) // if it fails, what follows does
		}
		if next := p.Next(own, now); next.After(now) && next.After(latest) {
			p.waiter = own
			spent, latest = &p, next
		}
	}
	if spent == nil {
		return nil
	}
	return spent.spent(now)
}

// spent returns the error that says that the budget is spent, with a slot for who waits.
func (p *purse) spent(now time.Time) *spentError {
	spent := p.spentError
	spent.until, spent.place = p.Slot(spent.waiter, now)
	spent.waiter.Waited = false
	return &spent
}
