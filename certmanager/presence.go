package certmanager

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/solver/diagnose"
)

// When a name that was wanted on demand counts as gone.
const (
	absencePeriod   = 3 * 24 * time.Hour // for which it has led elsewhere
	absenceChecks   = 4                  // that found so, at least
	absenceInterval = 18 * time.Hour     // between two of them
	minCheckPause   = 6 * time.Hour      // after which another one counts: members check each by itself

	presenceTimeout  = 20 * time.Second // of one check
	presencePeriod   = 24 * time.Hour   // for which one name that was seen shows that checks see what there is
	maxPresenceTries = 3                // names that are checked to find out
)

var (
	errElsewhere = errors.New("the name does not lead here: its renewal, which it can't pass, is tried again later")
	errGone      = errors.New("for days the name has not led here: it is not renewed until a client asks for it")
)

// A presence finds out whether names lead to this manager.
type presence struct {
	issuers   []*gatedIssuer
	solvers   func(s *subject, own []acme.Solver) []acme.Solver
	preflight Preflight
	vantage   diagnose.Vantage
	logger    *slog.Logger

	mu   sync.Mutex // guards what follows
	seen time.Time  // when a name was last found to
}

// A presenceCheck is part of an attempt. The solver is the one that proves control, if it needs the name to lead here; nil: it
// does not.
type presenceCheck struct {
	*attempt
	solver acme.Solver
}

// run checks, before a certificate obtained on demand is renewed by a solver that needs it, whether its name still leads
// here: if not, the renewal would fail, and count against the CA's limits. It returns the outcome of the attempt if the
// certificate is not to be renewed.
func (c presenceCheck) run(ctx context.Context) (o outcome, ended bool) {
	e, absence := c.entry, &c.work.Absence
	if c.solver == nil || !e.roles.has(onDemand) || e.held() == nil || c.task.Forced || c.left.unsaved != nil {
		return outcome{}, false
	}
	now := time.Now()
	if e.roles.has(wanted) {
		*absence = record.Absence{}
		return outcome{}, false
	}
	if absence.Gone && e.roles.has(recalled) {
		*absence = record.Absence{} // it is found out anew
	}
	e.roles.unset(recalled)
	if absence.Gone {
		return c.gone(nil), true
	}
	if err := c.work.hold(ctx); err != nil { // one process checks
		return c.notHeld(ctx, err), true
	}
	ctx = c.work.context()
	err := c.presence.lookFor(ctx, c.solver, e.identifiers[0])
	if !isElsewhere(err) || !c.seesNames(ctx) {
		if err == nil {
			*absence = record.Absence{}
		}
		return outcome{}, false
	}
	if absence.Checks == 0 {
		absence.Since = now.UTC()
	}
	if pause := now.Sub(absence.Last); pause < 0 || pause >= minCheckPause {
		absence.Checks, absence.Last = absence.Checks+1, now.UTC()
	}
	if absence.Checks >= absenceChecks && now.Sub(absence.Since) >= absencePeriod {
		absence.Gone = true
		return c.gone(err), true
	}
	err = fmt.Errorf("certmanager: %v: %w: %w", &e.subject, errElsewhere, err)
	next := now.Add(absenceInterval)
	return outcome{kind: lifecycle.Failed, until: next, err: err, events: []Event{{Kind: EventFailed, Names: e.names(), Renewal: true, Next: next, Err: err}}}, true
}

// gone is the outcome for a name that is gone. The error is that of the check that has shown it, and nil later.
func (c presenceCheck) gone(shown error) outcome {
	e := c.entry
	o := outcome{kind: lifecycle.Deferred, until: e.end(), err: fmt.Errorf("certmanager: %v: %w", &e.subject, errGone)}
	if shown != nil {
		o.events = []Event{{Kind: EventWarning, Names: e.names(), Err: fmt.Errorf("%w: %w", o.err, shown)}}
	}
	if !time.Now().Before(e.end()) {
		c.retire(c.catalogue.evict(e), e)
	}
	return o
}

// solverFor returns the solver that a CA would be answered by, if that needs the name to lead here and checks are
// not turned off; else nil.
func (p *presence) solverFor(e *entry) acme.Solver {
	if _, ok := capability[*acmeIssuer](p.issuers[0]); !ok || p.preflight == PreflightOff {
		return nil
	}
	own, err := p.issuers[0].solvers()
	if err != nil {
		return nil
	}
	solvers := p.solvers(&e.subject, own)
	if len(solvers) == 0 {
		return nil
	}
	var kind string
	_ = shield(p.logger, "Solver.Type", func() error { kind = solvers[0].Type(); return nil }) // it is in the log
	if kind != acme.TypeHTTP01 && kind != acme.TypeTLSALPN01 {
		return nil
	}
	return solvers[0]
}

// lookFor publishes an answer of its own making for the name, and returns why it can't be seen where the name leads.
func (p *presence) lookFor(ctx context.Context, s acme.Solver, id acme.Identifier) error {
	ctx, cancel := context.WithTimeout(ctx, presenceTimeout)
	defer cancel()
	directory := acme.LetsEncrypt
	if a, ok := capability[*acmeIssuer](p.issuers[0]); ok {
		directory = a.directoryURL()
	}
	token := rand.Text()
	proof := acme.Proof{
		Challenge:  acme.Challenge{Type: s.Type(), Token: token},
		Identifier: id, KeyAuthorization: token + "." + strings.ToLower(rand.Text()), DirectoryURL: directory,
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), presenceTimeout)
		defer cancel()
		_ = guard(ctx, p.logger, "Solver.CleanUp", func() error { return s.CleanUp(ctx, proof) }) // what is left of it hurts nobody
	}()
	if err := guard(ctx, p.logger, "Solver.Present", func() error { return s.Present(ctx, proof) }); err != nil {
		return err
	}
	err := diagnose.Visible(ctx, proof, p.vantage)
	if err == nil {
		p.note(time.Now())
	}
	return err
}

// isElsewhere reports whether a check has shown that the name leads elsewhere, or nowhere: that no answer came is no proof.
func isElsewhere(err error) bool {
	return slices.ContainsFunc([]diagnose.Cause{diagnose.CauseOtherServer, diagnose.CauseNoALPN, diagnose.CauseNoAddress}, func(cause diagnose.Cause) bool {
		return errors.Is(err, cause)
	})
}

// seesNames reports whether checks see names that lead here: one did lately, or one of some others does, or there are none.
// Otherwise what is wrong is likely to be here.
func (c presenceCheck) seesNames(ctx context.Context) bool {
	if c.presence.sawLately(time.Now()) {
		return true
	}
	tries := 0
	for e := range c.catalogue.all() {
		id := e.identifiers[0]
		if id == c.entry.identifiers[0] || e.held() == nil || id.Type != acme.TypeDNS || strings.HasPrefix(id.Value, "*.") {
			continue
		}
		if c.presence.lookFor(ctx, c.solver, id) == nil {
			return true
		}
		if tries++; tries == maxPresenceTries {
			break
		}
	}
	return tries == 0
}

func (p *presence) note(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = now
}

// sawLately reports whether a name was found to lead here.
func (p *presence) sawLately(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := now.Sub(p.seen)
	return !p.seen.IsZero() && since >= 0 && since < presencePeriod
}
