package certmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// An obtainer does what is due for entries: it loads, obtains and renews their certificates.
type obtainer struct {
	store     storage.Store
	issuers   []*gatedIssuer
	catalogue *catalogue
	update    func(...*entry) // has the dispatcher plan entries anew
	logger    *slog.Logger
	emit      func(context.Context, Event)
	policy    func(ctx context.Context, name string) error // for names on demand
	solvers   func(*subject) []acme.Solver
	preflight Preflight
	vantage   diagnose.Vantage

	intermediates record.Intermediates
	writable      writability
	troubles      troubles
	loading       loading
}

// do does what is due for the entry.
func (o *obtainer) do(ctx context.Context, e *entry) {
	task := e.begin()
	var result outcome
	if task.Action == lifecycle.Load {
		result = o.load(ctx, e)
	} else {
		a := &attempt{obtainer: o, entry: e, task: task}
		result = a.run(ctx)
	}
	if result.kind == lifecycle.Obtained || result.kind == lifecycle.Current {
		o.adopt(e)
	}
	first := result.kind == lifecycle.Loaded && !e.isLoaded()
	report := e.finish(result)
	o.tell(ctx, e, result, report)
	if first {
		o.loading.one(ctx, o.logger, e)
	}
}

// serve has handshakes served with r, if it is newer than what they are served with, and reports whether it is.
func (o *obtainer) serve(e *entry, r *record.Certificate) bool {
	if !e.offer(r) {
		return false
	}
	if former := o.catalogue.inherit(e); len(former) > 0 {
		o.update(former...)
	}
	return true
}

// failed returns the outcome when something else than an issuer failed: the storage, or the question whether a name is
// allowed.
func (o *obtainer) failed(ctx context.Context, e *entry, err error) outcome {
	err = fmt.Errorf("certmanager: %v: %w", &e.subject, storageFailure(err))
	if ctx.Err() != nil {
		return outcome{kind: lifecycle.Deferred, until: time.Now(), err: err}
	}
	return outcome{kind: lifecycle.Failed, err: err, events: []Event{{Kind: EventFailed, Names: e.names(), Renewal: e.served.Load() != nil, Err: err}}}
}

// adopt puts an entry that handshakes wait for under management, now that it has a certificate.
func (o *obtainer) adopt(e *entry) {
	if !e.isManaged() {
		o.catalogue.adopt(e)
	}
}

// warn reports what needs a look at an entry.
func (o *obtainer) warn(ctx context.Context, e *entry, issuer string, err error) {
	o.emit(ctx, Event{Kind: EventWarning, Names: e.names(), Issuer: issuer, Err: err, quiet: e.isQuiet()})
}

var errHeld = errors.New("another process is obtaining the certificate, or was killed at it")
