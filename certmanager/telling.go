package certmanager

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// maxClaimPatience is how often a lease is claimed in vain before that counts as a hindrance: more than ten minutes long.
const maxClaimPatience = 45

// A reporter tells what happens, in the log and to Config.OnEvent.
type reporter struct {
	logger  *slog.Logger
	emit    func(context.Context, Event)
	common  commonFailures
	loading loading
}

// isHindered reports whether the outcome is that what is wrong with all certificates, or with another process, kept this one
// from being obtained.
func isHindered(e *entry, o outcome, now time.Time) bool {
	if o.kind != lifecycle.Deferred || !o.until.After(now) {
		return false // what Run's end broke off
	}
	switch reasonOf(o.err) {
	case ReasonGone:
		return false
	case ReasonIssuer:
		return !errors.Is(o.err, gate.ErrUnanswered)
	case ReasonProcess:
		return e.left != nil && e.left.lease.tries > maxClaimPatience
	}
	return true
}

// tell tells what came of a task: a failure as loudly as its report says, and what fails for all certificates alike not
// for each of them.
func (r *reporter) tell(ctx context.Context, e *entry, result outcome, report lifecycle.Report) {
	failure := failing(e)
	for _, event := range result.events {
		switch {
		case result.kind == lifecycle.Failed && event.Err != nil && event.Kind != EventCorrupt:
			event.NotAfter, event.Attempts, event.Since = failure.NotAfter, failure.Attempts, failure.Since
			if event.Next.IsZero() {
				event.Next = failure.Next
			}
			event.loud = failure.loud
			event.quiet = !report.Tell || report.Stage != 0
			if reason := reasonOf(event.Err); !event.quiet && reason != ReasonBackoff && reason != ReasonProcess {
				told, kept := r.common.of(reason, event.Issuer).tell(time.Now())
				event.quiet, event.similar = !told, kept
			}
		case event.Kind == EventObtained:
			r.common.of(ReasonIssuer, event.Issuer).reset()
			r.common.of(ReasonStorage, "").reset()
			r.common.of(ReasonKeys, "").reset()
		case event.Kind == EventLoaded:
			r.common.of(ReasonStorage, "").reset()
			event = r.loading.toned(e, event)
		}
		r.emit(ctx, event)
	}
	if report.Stage != 0 && ctx.Err() == nil {
		failure.Err = result.err
		r.emit(ctx, failure)
	}
}

// failing is the event of a renewal that fails when the end of the certificate comes near. It is as loud as that is near. One that
// is kept from being tried fails since it is due.
func failing(e *entry) Event {
	event := Event{Kind: EventExpiring, Names: e.names(), Renewal: true}
	if f := e.held(); f != nil {
		event.Issuer, event.NotAfter = f.issuer, f.end()
	}
	now := time.Now()
	p := e.progress.snapshot(now)
	event.Attempts, event.Since, event.Next, event.loud = p.attempts, p.since, p.plan.Due, p.stage >= lifecycle.StageTenth
	if p.attempts == 0 && p.renewal.Before(now) {
		event.Since = p.renewal
	}
	return event
}

// turnedAway logs that a name gets no certificate on demand, or that the policy has failed to answer, with how many others
// were turned away likewise since the last such line.
func (r *reporter) turnedAway(ctx context.Context, name string, err error) {
	level, message, reason := slog.LevelWarn, "no answer whether a name may have a certificate: ", reasonNoAnswer
	switch {
	case errors.Is(err, ErrDenied):
		level, message, reason = slog.LevelInfo, "a name is denied a certificate: ", reasonDenied
	case errors.Is(err, errImpossible):
		level, message, reason = slog.LevelInfo, "a name gets no certificate: ", reasonImpossible
	case errors.Is(err, errCapped):
		message, reason = "a new name gets no certificate yet: ", reasonCapped
	}
	told, others := r.common.of(reason, "").tell(time.Now())
	if !told {
		level = slog.LevelDebug
	}
	r.logger.LogAttrs(ctx, level, message+strings.TrimPrefix(err.Error(), "certmanager: "), slog.String("name", name), slog.Int("others", others))
}
