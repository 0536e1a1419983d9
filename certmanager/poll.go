package certmanager

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

const (
	pollDelay  = 10 * time.Minute // after the storage has failed
	pollJitter = 16               // the part of an interval that is added to it at random
)

// A poll asks the issuer of what is served when to renew that (RFC 9773), and keeps what it says as the plan in the record of
// work. One process of those on the storage does so for a certificate. The others read the plan, rarely, and one of them takes
// over if it is not kept up.
type poll struct {
	*obtainer
	entry  *entry
	serial string // of what is served
	issuer *gatedIssuer
	work   *work
	began  time.Time
}

// poll does what is due for an entry before its renewal.
func (o *obtainer) poll(ctx context.Context, e *entry) outcome {
	p := &poll{obtainer: o, entry: e, serial: e.serial(), issuer: o.pollable(e.held()), began: time.Now()}
	if p.issuer == nil {
		return p.again(time.Time{})
	}
	if until, err := o.writable.check(ctx); err != nil {
		return p.again(until.Add(spreadOf(o.catalogue.index.Len())))
	}
	if until, ok := p.issuer.polls.open(p.began); !ok {
		return p.again(until)
	}
	if !e.roles.has(polling) {
		left, err := peekWork(ctx, o.store, e, o.issuers[0].ID())
		if err != nil {
			return p.delayed(ctx, err)
		}
		if p.heed(&left.Plan, pollPatience(&left.Plan)) {
			return outcome{kind: lifecycle.Polled}
		}
	}
	if until, ok := p.issuer.polls.enter(time.Now(), o.pollRoom); !ok {
		return p.again(until)
	}
	defer p.issuer.polls.leave(time.Now())
	return p.run(ctx)
}

// again is the outcome when nothing is known but when to try again; zero: not at all.
func (p *poll) again(at time.Time) outcome {
	planned{p.entry}.pollAt(p.serial, at)
	return outcome{kind: lifecycle.Polled}
}

// delayed is the outcome when the storage has failed. Nobody misses anything.
func (p *poll) delayed(ctx context.Context, err error) outcome {
	p.logger.LogAttrs(ctx, slog.LevelDebug, "the plan of a renewal can't be read or kept", slog.Any("names", p.entry.names()), slog.String("error", err.Error()))
	return p.again(time.Now().Add(pollDelay + spreadOf(p.catalogue.index.Len())))
}

// heed takes over a plan that another process has made, and reports whether there is one that is kept up. One that has a window
// and no instant of it is not: whoever polls chooses one for all.
func (p *poll) heed(plan *record.Plan, patience time.Duration) bool {
	now, undecided := time.Now(), !plan.Start.IsZero() && plan.Renewal.IsZero()
	if undecided || !plan.Is(p.issuer.ID(), p.serial) || !isKept(plan, now, patience) {
		return false
	}
	if left := p.entry.left; left != nil {
		left.lease.withdraw()
	}
	e := planned{p.entry}
	return e.follow(plan, e.nextLook(plan, now))
}

// run asks, under the lease, and plans anew.
func (p *poll) run(ctx context.Context) outcome {
	leaf, err := p.leaf(ctx)
	if err != nil {
		return p.delayed(ctx, err)
	}
	left := carryoverOf(p.entry)
	p.work, err = openWork(ctx, p.store, p.entry.workKey(p.issuers[0].ID()), &left.lease)
	if err == nil && len(p.work.stored) == 0 {
		err = p.exists(ctx)
	}
	if err == nil {
		err = p.work.hold(ctx)
	}
	if held, ok := errors.AsType[*storage.HeldError](err); ok {
		return p.again(time.Now().Add(held.RetryAfter + rand.N(time.Minute)))
	}
	if err != nil {
		return p.delayed(ctx, err)
	}
	defer p.release(ctx)
	if err := p.work.read(p.issuers[0].ID()); err != nil {
		return p.again(p.began.Add(unsupportedPeriod)) // it is for the next attempt to mend it
	}
	patience := time.Duration(0)
	if !p.entry.roles.has(polling) {
		patience = pollPatience(&p.work.Plan)
	}
	if p.heed(&p.work.Plan, patience) {
		return outcome{kind: lifecycle.Polled}
	}
	return p.ask(leaf)
}

// exists returns an error if the certificate is gone from the storage, of which there is no record of work: no such record is to
// come back then.
func (p *poll) exists(ctx context.Context) error {
	exists, err := p.archive.has(ctx, p.entry.certificateKey(p.issuer.ID()))
	if err == nil && !exists {
		err = errors.New("the certificate is not in the storage any more")
	}
	return err
}

// release gives the lease back, with the plan if there is another one.
func (p *poll) release(ctx context.Context) {
	if err := p.work.release(ctx); err != nil {
		p.logger.LogAttrs(ctx, slog.LevelDebug, "the plan of a renewal can't be kept", slog.Any("names", p.entry.names()), slog.String("error", err.Error()))
	}
}

// leaf returns the certificate that is served, from the storage if it has left memory.
func (p *poll) leaf(ctx context.Context) (*x509.Certificate, error) {
	var der []byte
	if s := p.entry.served.Load(); s != nil {
		der = s.Certificate.Certificate[0]
	} else {
		r, _, err := p.archive.load(ctx, p.issuer, &p.entry.subject)
		if err != nil {
			return nil, err
		}
		if r == nil || r.Serial != p.serial {
			return nil, errors.New("the certificate is not the one in the storage any more")
		}
		der = r.Chain[0]
	}
	return x509.ParseCertificate(der)
}

// ask asks the issuer, and plans by what it says.
func (p *poll) ask(leaf *x509.Certificate) outcome {
	ctx, old := p.work.context(), p.work.Plan
	if !old.Is(p.issuer.ID(), p.serial) {
		old = record.Plan{Issuer: p.issuer.ID(), Serial: p.serial}
	}
	info, err := p.issuer.renewalInfo(ctx, p.logger, leaf)
	if ctx.Err() != nil {
		return p.again(time.Now().Add(pollDelay)) // Run ends, or another has taken the lease
	}
	plan, now := old, time.Now()
	plan.Polled = now.UTC()
	if errors.Is(err, errors.ErrUnsupported) {
		return p.again(p.issuer.polls.refuse(now).Add(spreadOf(p.catalogue.index.Len())))
	}
	planned := p.entry.progress.snapshot(now).renewal
	if !old.Renewal.IsZero() {
		planned = old.Renewal
	}
	if err != nil {
		plan.Failures++
		plan.Next = p.failed(ctx, err, plan.Failures).UTC()
	} else {
		p.issuer.polls.answer()
		interval := max(info.RetryAfter, p.pollInterval)
		plan.Start, plan.End, plan.Explanation, plan.Failures = info.SuggestedWindow.Start.UTC(), info.SuggestedWindow.End.UTC(), record.Page(info.ExplanationURL), 0
		plan.Next = now.Add(interval + rand.N(interval/pollJitter)).UTC()
	}
	if plan.Start.IsZero() || err != nil && !plan.Renewal.IsZero() {
		p.keep(plan)
		return outcome{kind: lifecycle.Polled}
	}
	window, valid := schedule.Span{Start: plan.Start, End: plan.End}, schedule.Span{Start: leaf.NotBefore, End: p.entry.end()}
	plan.Renewal = schedule.Suggested(window, valid, planned, rand.Float64()).UTC()
	p.keep(plan)
	return outcome{kind: lifecycle.Polled, events: p.rescheduled(&old, &plan, planned)}
}

// keep has the certificate renewed by the plan, which is stored when the lease is given back.
func (p *poll) keep(plan record.Plan) {
	p.work.Plan, p.work.ours = plan, true
	p.entry.roles.set(polling)
	p.entry.roles.unset(heeding)
	planned{p.entry}.follow(&plan, plan.Next)
}

// failed returns when to ask again after so many failures in a row.
func (p *poll) failed(ctx context.Context, err error, failures int) time.Time {
	now := time.Now()
	p.logger.LogAttrs(ctx, slog.LevelDebug, "no word of the issuer on when to renew", slog.Any("names", p.entry.names()), slog.String("error", err.Error()))
	if !isOutOfOrder(err) {
		p.issuer.polls.answer()
		return now.Add(usualPollInterval + rand.N(usualPollInterval/pollJitter))
	}
	if told, others := p.common.of(reasonPolls, p.issuer.ID()).tell(now); told {
		p.logger.LogAttrs(ctx, slog.LevelInfo, "the issuer does not say when to renew: certificates are renewed at the times planned before, or by their age",
			slog.String("issuer", p.issuer.ID()), slog.Int("others", others), slog.String("error", err.Error()))
	}
	until := p.issuer.polls.fail(p.began, now, retryAfter(err))
	if own := now.Add(schedule.PollBackoff(failures, rand.Float64())); own.After(until) {
		return own
	}
	return until
}

// rescheduled is the event of a plan by which the certificate is renewed far earlier than planned, or which is explained, if the
// one before was not.
func (p *poll) rescheduled(old, plan *record.Plan, planned time.Time) []Event {
	end := p.entry.end()
	isEarly := planned.Sub(plan.Renewal) > end.Sub(time.Unix(p.begin(), 0))/20
	isExplained := plan.Explanation != "" && plan.Explanation != old.Explanation
	if !isEarly && !isExplained {
		return nil
	}
	event := Event{Kind: EventRescheduled, Names: p.entry.names(), Issuer: plan.Issuer, Serial: plan.Serial, NotAfter: end, Next: plan.Renewal, ExplanationURL: plan.Explanation}
	told, similar := p.common.of(reasonRescheduled, plan.Issuer).tell(time.Now())
	event.quiet, event.similar = !told, similar
	return []Event{event}
}

// begin returns when the certificate that is served began, in seconds since 1970.
func (p *poll) begin() int64 {
	if f := p.entry.held(); f != nil {
		return f.begin
	}
	return 0
}
