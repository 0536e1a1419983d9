package certmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/tally"
	"github.com/everseal/everseal/storage"
)

const (
	policyInterval   = 24 * time.Hour   // after which Config.OnDemand is asked again about a name that it denied
	maxClaimInterval = 15 * time.Second // between two tries to take a lease that another has
	maxDeferral      = 10 * time.Minute // after which it is seen whether another process has obtained what this one can't
	yieldPeriod      = 5 * time.Second  // for which names that have failed let others go first
)

// errHeld is why an attempt waits for another process.
var errHeld = errors.New("another process is obtaining the certificate, or was killed at it")

// An attempt is one task of obtaining or renewing an entry's certificate.
type attempt struct {
	*obtainer
	entry  *entry
	task   lifecycle.Task
	left   *carryover
	work   *work
	stored map[string]stored // as found under the lease, by issuer
	places []*tally.Place    // in the lines for budgets, that it has got
}

// A stored certificate is one in the storage; the zero value is none. One that can't be used has a revision alone.
type stored struct {
	*record.Certificate
	revision storage.Revision
}

// run does the task: it sees that nobody has the lease, and whether there is anything left to do, and asks one issuer after
// another. The lease is taken with the first write, which has the key of the certificate: until then nothing is done that
// another process must not do too.
func (a *attempt) run(ctx context.Context) outcome {
	if events, current := a.isDone(ctx); current {
		a.left.memory = nil
		return outcome{kind: lifecycle.Current, events: events}
	}
	if a.role == RoleServe {
		return a.deferred(ctx, awaitUntil(a.entry), fmt.Errorf("certmanager: %v: %w", &a.entry.subject, errServesOnly))
	}
	if o, waits := (turnWait{a}).check(ctx); waits {
		return o
	}
	if o, allowed := a.askPolicy(ctx); !allowed {
		return o
	}
	if until, err := a.writable.check(ctx); err != nil {
		return outcome{kind: lifecycle.Deferred, until: until, err: err}
	}
	if until, err := (standing{a}).nobodyToAsk(ctx); errors.As(err, new(*spentError)) {
		return outcome{kind: lifecycle.Deferred, until: until, err: a.named(err)}
	} else if err != nil {
		return a.deferred(ctx, until, a.named(err))
	}
	var err error
	if a.work, err = openWork(ctx, a.store, a.entry.workKey(a.issuers[0].ID()), &a.left.lease); err != nil {
		return a.notHeld(ctx, err)
	}
	defer a.release(ctx)
	found := reading{a}
	events, err := found.read(ctx)
	if err != nil {
		return a.notHeld(ctx, err)
	}
	found.heedPlan()
	if deleted, err := found.isDeleted(ctx); err != nil {
		return failedInHouse(ctx, a.entry, err)
	} else if deleted {
		return a.forgetDeleted(ctx, a.entry)
	}
	if a.isCurrent() {
		a.left.memory = nil
		return outcome{kind: lifecycle.Current, events: events}
	}
	if waits(a.work.Failure, time.Now()) && !a.task.Forced && a.left.unsaved == nil {
		return a.waiting(a.work.Failure, Event{})
	}
	o, ended := presenceCheck{a, a.presence.solverFor(a.entry)}.run(ctx)
	if !ended {
		o = a.askIssuers(ctx)
	}
	if o.kind == lifecycle.Obtained || o.kind == lifecycle.Current {
		a.left.memory = nil
	} else if a.work.ours {
		a.left.memory = memoryOf(a.work)
	}
	o.events = append(events, o.events...)
	return o
}

// askPolicy asks whether a certificate that was obtained on demand is still allowed, before it is renewed. If it is
// denied, the certificate is served for the rest of its time and then evicted, unless it is allowed again.
func (a *attempt) askPolicy(ctx context.Context) (o outcome, allowed bool) {
	e := a.entry
	current := e.held()
	if !e.roles.has(onDemand) || current == nil {
		return outcome{}, true
	}
	err := a.policy.ask(ctx, Question{Name: e.identifiers[0].Value, Renewal: true})
	switch {
	case err == nil:
		return outcome{}, true
	case !errors.Is(err, ErrDenied):
		return failedInHouse(ctx, e, err), false
	case !time.Now().Before(current.end()):
		a.retire(a.catalogue.evict(e), e)
	}
	a.turnedAway(ctx, e.identifiers[0].Value, err)
	return outcome{kind: lifecycle.Failed, until: earlier(time.Now().Add(policyInterval), current.end()), err: fmt.Errorf("certmanager: %v: %w", &e.subject, err)}, false
}

// named returns an error with the certificate's name.
func (a *attempt) named(err error) error {
	return fmt.Errorf("certmanager: %v: %w", &a.entry.subject, err)
}

// yieldTo returns when the entry is to ask an issuer that is not to be asked before then. Who has failed lets those go first
// that have not: if what fails is not the issuer, their answer tells so.
func yieldTo(e *entry, until time.Time) time.Time {
	if e.progress.snapshot(time.Now()).attempts > 0 {
		return until.Add(yieldPeriod)
	}
	return until
}

// notHeld is the outcome when the lease can't be taken, or what is to be read first can't be.
func (a *attempt) notHeld(ctx context.Context, err error) outcome {
	if held, ok := errors.AsType[*storage.HeldError](err); ok {
		return a.held(ctx, held)
	}
	return failedInHouse(ctx, a.entry, err)
}

// held is the outcome when another process has the lease.
func (a *attempt) held(ctx context.Context, held *storage.HeldError) outcome {
	e, tries := a.entry, a.left.lease.tries
	if tries == 2 {
		a.logger.LogAttrs(ctx, slog.LevelInfo, "waiting for another process that is at work on the certificate, or was killed at it",
			slog.Any("names", e.names()), slog.String("issuer", a.issuers[0].ID()), slog.String("lease", held.Key))
	}
	pause := held.RetryAfter
	if urgent := e.progress.plan(time.Now()).Urgency <= lifecycle.Commanded; tries < 3 || !urgent {
		pause = min(time.Duration(tries)*time.Second, maxClaimInterval)
	}
	return a.deferred(ctx, time.Now().Add(pause), fmt.Errorf("certmanager: %v: %w: %w", &e.subject, errHeld, held))
}

// deferred is the outcome when there is nothing that this process can do before a time. Another may have been faster:
// what it has stored is served.
func (a *attempt) deferred(ctx context.Context, until time.Time, why error) outcome {
	var events []Event
	if r, err := a.archive.newest(ctx, a.entry); err == nil && r != nil && a.serve(a.entry, r) {
		events = []Event{loadedEvent(a.entry, r)}
	}
	if a.isCurrent() {
		return outcome{kind: lifecycle.Current, events: events}
	}
	return outcome{kind: lifecycle.Deferred, until: soonest(until), err: why, events: events}
}

// askIssuers has the certificate issued by the first issuer that does, stores it and serves it. Only a failure of an
// issuer's own leads to the next.
func (a *attempt) askIssuers(run context.Context) outcome {
	if r := a.left.unsaved; r != nil {
		if err := a.work.hold(run); err != nil {
			return a.notHeld(run, err)
		}
		if stored := a.stored[r.Issuer]; stored.Certificate != nil && stored.NewerThan(r, time.Now()) { // another process had no use for waiting
			a.left.unsaved = nil
			a.entry.roles.unset(unstored)
			return outcome{kind: lifecycle.Current}
		}
		k := keeping{a, r}
		return k.run(run)
	}
	all := outcome{kind: lifecycle.Deferred}
	for _, issuer := range ableOf(a.issuers, &a.entry.subject) {
		i := &issuance{attempt: a, issuer: issuer, journal: a.work.Journal(issuer.ID())}
		o, next := i.run(run)
		o.events = append(all.events, o.events...)
		if !next {
			return o
		}
		all.events = o.events
		if o.kind == lifecycle.Failed {
			all.kind = lifecycle.Failed
		}
		if all.err == nil {
			all.err = o.err
		} else {
			all.err = fmt.Errorf("%w; %w", all.err, o.err)
		}
		if all.until.IsZero() || o.until.Before(all.until) {
			all.until = o.until
		}
	}
	return all
}

// release gives the lease back, with how far the work came.
func (a *attempt) release(ctx context.Context) {
	keyDeletion{a}.run(ctx)
	if err := a.work.release(ctx); err != nil {
		a.warn(ctx, "", fmt.Errorf("certmanager: %v: keep the journal and give back the lease: %w", &a.entry.subject, err))
	}
}

// warn reports what wants attention, though the attempt continues.
func (a *attempt) warn(ctx context.Context, issuer string, err error) {
	a.emit(ctx, Event{Kind: EventWarning, Names: a.entry.names(), Issuer: issuer, Err: err, quiet: a.task.Quiet})
}

// soonest returns the time until which something is deferred, or an earlier one to see what others have obtained.
func soonest(until time.Time) time.Time {
	return earlier(until, time.Now().Add(maxDeferral))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
