package solver

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
)

// Lego is a solver of dns-01 that works by a DNS provider of github.com/go-acme/lego; [LegoV4] and [LegoV5]
// make one. Any such provider will do, as it is; this package does not import them.
//
// A provider's own timeout and interval, from its method Timeout, hold if Propagation has none. One with
// a method Sequential is called for one record after another, with that pause between two presented; what was
// presented is waited for side by side. After one that failed there is no pause.
//
// Some things a lego provider decides for itself:
//
//   - It finds the zone by lego's own DNS client and settings, and follows a CNAME of _acme-challenge by them,
//     a wildcard's too. For the solvers that take a [Provider] that is a field.
//   - It knows no other label, so that it cannot serve dns-account-01 and dns-persist-01.
//   - Many remember in their own memory what they have created. CleanUp then works in the process that
//     presented, by the same Lego, only. After a crash the record stays, which does no harm but to be seen.
//   - Some, such as dnsupdate, replace all values at a name by the one that they present. A wildcard and its
//     base name then take two certificates, one after the other.
type Lego struct {
	// DNS says how to ask for zones and records. Nil: as the system does.
	DNS *DNS

	// Propagation says when the record counts as spread.
	Propagation Propagation

	// Logger is told when a record has to wait for the pause after another, or takes long to spread. Nil: [slog.Default].
	Logger *slog.Logger

	provider legoProvider
	timeout  func() (timeout, interval time.Duration) // nil: the provider has none
	gap      func() time.Duration                     // between two presents; nil: they need not be one after another
	turn     chan time.Time                           // has in it, while nobody calls the provider, when it presented last
}

// legoProvider has the methods of lego's challenge.Provider, version 5. The domain has no "*.".
type legoProvider interface {
	Present(ctx context.Context, domain, token, keyAuth string) error
	CleanUp(ctx context.Context, domain, token, keyAuth string) error
}

// legoProviderV4 has those of version 4.
type legoProviderV4 interface {
	Present(domain, token, keyAuth string) error
	CleanUp(domain, token, keyAuth string) error
}

// withoutContext makes a provider of version 4 one of version 5. A call under way cannot be stopped.
type withoutContext struct{ legoProviderV4 }

func (p withoutContext) Present(ctx context.Context, domain, token, keyAuth string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return p.legoProviderV4.Present(domain, token, keyAuth)
}

func (p withoutContext) CleanUp(ctx context.Context, domain, token, keyAuth string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return p.legoProviderV4.CleanUp(domain, token, keyAuth)
}

// LegoV4 returns a solver for a DNS provider of lego version 4. Such a provider takes no context: a call
// under way goes on when the context ends, and is waited for.
func LegoV4(provider interface {
	Present(domain, token, keyAuth string) error
	CleanUp(domain, token, keyAuth string) error
}) *Lego {
	return newLego(withoutContext{provider}, provider)
}

// LegoV5 returns a solver for a DNS provider of lego version 5.
//
// The token for Cloudflare's API, which may edit the zone's DNS, goes to
//
//	config := cloudflare.NewDefaultConfig()
//	config.AuthToken = token
//	provider, err := cloudflare.NewDNSProviderConfig(config)
//	…
//	dns01 := solver.LegoV5(provider)
func LegoV5(provider interface {
	Present(ctx context.Context, domain, token, keyAuth string) error
	CleanUp(ctx context.Context, domain, token, keyAuth string) error
}) *Lego {
	return newLego(provider, provider)
}

// newLego takes from the provider as it was given what it says of itself.
func newLego(provider legoProvider, given any) *Lego {
	if given == nil {
		return new(Lego)
	}
	l := &Lego{provider: provider, turn: make(chan time.Time, 1)}
	l.turn <- time.Time{}
	if timed, ok := given.(interface {
		Timeout() (timeout, interval time.Duration)
	}); ok {
		l.timeout = timed.Timeout
	}
	if sequential, ok := given.(interface{ Sequential() time.Duration }); ok {
		l.gap = sequential.Sequential
	}
	return l
}

// WithDNS does as [DNS01.WithDNS].
func (l *Lego) WithDNS(dns *DNS) acme.Solver {
	with := *l
	with.DNS = over(l.DNS, dns)
	return &with
}

// WithLogger does as [DNS01.WithLogger].
func (l *Lego) WithLogger(logger *slog.Logger) acme.Solver {
	with := *l
	with.Logger = cmp.Or(l.Logger, logger)
	return &with
}

// Type returns "dns-01".
func (l *Lego) Type() string { return acme.TypeDNS01 }

// Supports reports whether the identifier is a domain name, also of a wildcard.
func (l *Lego) Supports(id acme.Identifier, _ bool) bool { return id.Type == acme.TypeDNS }

// Present has the provider create the record.
func (l *Lego) Present(ctx context.Context, p acme.Proof) error {
	return l.call(p, "create", func() error {
		return l.afterPause(ctx, p.Identifier.Value, func() error {
			return l.provider.Present(ctx, p.Identifier.Value, p.Token, p.KeyAuthorization)
		})
	})
}

// Wait returns once the record has spread as Propagation says; otherwise the error wraps a
// [*PropagationError].
func (l *Lego) Wait(ctx context.Context, p acme.Proof) error {
	name, value, err := recordOf(p, acme.TypeDNS01)
	if err != nil {
		return err
	}
	propagation := l.Propagation
	if l.timeout != nil {
		timeout, interval := l.timeout()
		propagation.Timeout = cmp.Or(propagation.Timeout, timeout)
		propagation.Interval = cmp.Or(propagation.Interval, interval)
	}
	return propagation.waitFor(ctx, &spread{
		dns: l.DNS.client(ctx, p.DirectoryURL), name: dnsclient.BareName(name), match: textMatch{text: value}, logger: l.Logger,
	})
}

// CleanUp has the provider take the record away.
func (l *Lego) CleanUp(ctx context.Context, p acme.Proof) error {
	return l.call(p, "take away", func() error {
		return l.inTurn(ctx, func() error {
			return l.provider.CleanUp(ctx, p.Identifier.Value, p.Token, p.KeyAuthorization)
		})
	})
}

// call checks the proof, and says in an error what was to be done.
func (l *Lego) call(p acme.Proof, what string, f func() error) error {
	name, _, err := recordOf(p, acme.TypeDNS01)
	if err != nil {
		return err
	}
	if err := l.Ready(); err != nil {
		return err
	}
	if err := f(); err != nil {
		return fmt.Errorf("solver: dns-01 for %s: %s the TXT record %s: %w", p.Identifier.Value, what, name, escape.Error(err))
	}
	return nil
}

// inTurn calls f, and nothing else beside it if the provider asks for that.
func (l *Lego) inTurn(ctx context.Context, f func() error) error {
	if l.gap == nil {
		return f()
	}
	last, err := l.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer func() { l.turn <- last }()
	return f()
}

// takeTurn returns when something was presented last.
func (l *Lego) takeTurn(ctx context.Context) (last time.Time, err error) {
	select {
	case last = <-l.turn:
		return last, nil
	case <-ctx.Done():
		return last, fmt.Errorf("wait until the provider, which takes one record after another, is done with others: %w", context.Cause(ctx))
	}
}

// afterPause is inTurn for f that presents. The turn is not held during the pause between two of them, so that
// a record can be taken away meanwhile.
func (l *Lego) afterPause(ctx context.Context, name string, f func() error) error {
	if l.gap == nil {
		return f()
	}
	gap, told := l.gap(), false
	for {
		last, err := l.takeTurn(ctx)
		if err != nil {
			return err
		}
		wait := gap - time.Since(last)
		if wait <= 0 || last.IsZero() {
			defer func() { l.turn <- last }()
			if err = f(); err == nil {
				last = time.Now() // what failed is not validated, and needs no time to itself: lego does without a pause then, too
			}
			return err
		}
		l.turn <- last
		if !told {
			told = true
			loggerOr(l.Logger).LogAttrs(ctx, slog.LevelInfo, "a record for dns-01 waits for the pause that the provider asks for after each",
				slog.String("identifier", name), slog.Duration("pause", gap))
		}
		if err := pause(ctx, wait); err != nil {
			return fmt.Errorf("wait for the pause of %v after each record, which the provider asks for by its method Sequential: %w", gap, err)
		}
	}
}

// loggerOr returns the logger, or the default one in place of nil.
func loggerOr(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.Default()
	}
	return logger
}
