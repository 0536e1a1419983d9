package certmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/tally"
	"github.com/everseal/everseal/storage"
)

// An obtainer does what is due for entries: it loads, obtains and renews their certificates.
type obtainer struct {
	store     storage.Store
	issuers   []*gatedIssuer
	archive   archive
	residents residents
	presence  presence
	writable  writability
	rules
	catalogue *catalogue
	lines
	reporter
	solvers func(*subject, []acme.Solver) []acme.Solver
}

// Rules are what the Config says of what is to be obtained.
type rules struct {
	role     Role
	policy   policy
	failover int // failures with one issuer before the next is asked

	pollInterval time.Duration // the least between two questions when to renew a certificate; negative: none is asked
	pollRoom     int           // for such questions to one issuer at once
}

// do does what is due for the entry.
func (o *obtainer) do(ctx context.Context, e *entry) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wasEvicted, places := e.isEvicted(), []*tally.Place{placeIn(&e.progress)}
	task := e.begin(cancel)
	var result outcome
	if e.roles.has(forgotten) {
		result = drop(e)
	} else if task.Action == lifecycle.Load {
		result = loader{o}.load(ctx, e)
	} else if task.Action == lifecycle.Poll {
		result = o.poll(ctx, e)
		tidy(e)
	} else {
		a := &attempt{obtainer: o, entry: e, task: task, left: carryoverOf(e)}
		result = a.run(ctx)
		if result.kind == lifecycle.Obtained || result.kind == lifecycle.Current {
			a.left.withdraw()
		}
		if !errors.As(result.err, new(turnError)) {
			a.left.turn = nil
		}
		places = append(places, a.places...)
		tidy(e)
	}
	if e.roles.has(forgotten) {
		result = drop(e)
	}
	if result.kind == lifecycle.Obtained || result.kind == lifecycle.Current {
		o.adopt(e)
	}
	result.hindered = isHindered(e, result, time.Now())
	report := e.finish(result)
	o.vacate(e, places, result.kind)
	if errors.Is(result.err, errGone) {
		e.roles.set(gone) // not before: a handshake that has it tried again would be forgotten
	}
	o.residents.keep(e, wasEvicted)
	o.tell(ctx, e, result, report)
	o.leave(e)
	if result.kind == lifecycle.Loaded {
		o.loading.one(e)
	}
}

// serve has handshakes served with r, if it is newer than what they are served with, and reports whether it is.
func (o *obtainer) serve(e *entry, r *record.Certificate) bool {
	if !e.offer(r) {
		return false
	}
	o.unqueue(e)
	o.expectPoll(e, r)
	if former := o.catalogue.inherit(e); len(former) > 0 {
		o.retire(former, nil)
	}
	return true
}

// errRetired is why work on a certificate has ended that nobody forgot.
var errRetired = errors.New("it is managed no more: it has left memory, or its name has got another certificate")

// retire has nothing more done for entries that are managed no more, and tells those who wait for it, but not those of the
// entry whose task is under way: its end tells them.
func (o *obtainer) retire(entries []*entry, underway *entry) {
	for _, e := range entries {
		o.loading.one(e)
		if e != underway {
			dismiss(&e.progress, fmt.Errorf("certmanager: %v: %w", &e.subject, errRetired))
		}
	}
	o.unqueue(entries...)
	o.update(entries...)
}

// failedInHouse returns the outcome when something else than an issuer failed: the storage, or the question whether a name is
// allowed.
func failedInHouse(ctx context.Context, e *entry, err error) outcome {
	err = fmt.Errorf("certmanager: %v: %w", &e.subject, storageFailure(err))
	if ctx.Err() != nil {
		return outcome{kind: lifecycle.Deferred, until: time.Now(), err: err}
	}
	return outcome{kind: lifecycle.Failed, err: err, events: []Event{{Kind: EventFailed, Names: e.names(), Renewal: e.held() != nil, Err: err}}}
}

// adopt puts an entry that handshakes wait for under management, now that it has a certificate, with its alternatives.
func (o *obtainer) adopt(e *entry) {
	if !e.roles.has(managed|alternate) && o.catalogue.adopt(e) {
		o.update(slices.Collect(familyOf(e.alternative).all())...)
	}
}
