package certmanager

import (
	"context"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// isCurrent reports whether there is nothing left to do: another process was faster.
func (a *attempt) isCurrent() bool {
	now := time.Now()
	if a.task.Queued && a.entry.progress.snapshot(now).queued {
		return false
	}
	return a.entry.held() != nil && !a.task.Forced && a.left.unsaved == nil && now.Before(a.entry.progress.snapshot(now).renewal)
}

// isDone reports whether there is nothing left to do before the lease is taken: what was waited for has come, through the
// storage's Watch, or is stored by the process that had the lease.
func (a *attempt) isDone(ctx context.Context) (events []Event, current bool) {
	if a.isCurrent() || a.left.lease.tries == 0 {
		return nil, a.isCurrent()
	}
	if r, err := a.archive.newest(ctx, a.entry); err == nil && r != nil && a.serve(a.entry, r) {
		events = []Event{loadedEvent(a.entry, r)}
	}
	return events, a.isCurrent()
}

// waiting is the outcome when what is due after a failure is not due yet: it was set before, maybe by another process. It is
// told once, to whoever has started the program again and wonders.
func (a *attempt) waiting(f record.Failure, event Event) outcome {
	e := a.entry
	o := outcome{kind: lifecycle.Failed, until: f.Next, err: &earlierFailure{f.Failed, f.Error, FailureKind(f.Kind), f.Paused}}
	if e.progress.snapshot(time.Now()).failure == nil {
		event.Kind, event.Names, event.Renewal = EventFailed, e.names(), e.held() != nil
		event.Next, event.Err, event.quiet = f.Next, o.err, a.task.Quiet
		o.events = []Event{event}
	}
	return o
}
