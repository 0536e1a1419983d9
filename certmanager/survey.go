package certmanager

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

const (
	surveyKey      = "survey/on-demand"
	surveyInterval = 6 * time.Hour                   // from the end of one to the next, by whichever member
	surveySpread   = 10 * time.Minute                // by which members wait differently
	surveyHorizon  = surveyInterval + 2*surveySpread // within which the next one comes
	surveyPage     = 1000                            // records, after which it is noted how far it is
	surveyPause    = time.Second                     // after a page
)

// A surveyor makes surveys.
type surveyor struct {
	*obtainer
	normalized func(...Subject) ([]subject, error) // of Manager
}

// A survey goes through the stored certificates that were obtained on demand, and puts those under management that are due
// before the next one and that nobody has asked this process for: they are renewed without traffic. So are, for a moment, those
// whose issuer is to be asked when to renew them. One member of the fleet does it at a time, and another resumes what it leaves.
// When such a certificate is renewed, or has ended, or its issuer has answered, memory has nothing of it.
type survey struct {
	surveyor
	lease   *storage.Lease
	stage   surveyStage
	horizon time.Time // until then certificates are due before the next survey
	polls   int       // to come, of the page
}

// A surveyStage is how far the members are, the value of the lease.
type surveyStage struct {
	Done   time.Time `json:"done,omitzero"`    // when the last survey ended
	Issuer string    `json:"issuer,omitempty"` // whose certificates are gone through at the moment; empty: none are
	Cursor string    `json:"cursor,omitempty"` // behind the last record seen
}

// run makes surveys until ctx ends.
func (s surveyor) run(ctx context.Context) {
	c := chore{
		store: s.store, writable: &s.writable, logger: s.logger,
		key: surveyKey, spread: surveySpread, failure: "certificates on demand that nobody asks for can't be gone through", begin: s.begin,
	}
	c.repeat(ctx)
}

// begin returns how long it is to the next survey, and makes one before if that is due.
func (s surveyor) begin(lease *storage.Lease) (wait time.Duration, work func(context.Context) error) {
	next := survey{surveyor: s, lease: lease, horizon: time.Now().Add(surveyHorizon)}
	if json.Unmarshal(lease.Value(), &next.stage) != nil {
		next.stage = surveyStage{} // whatever it is
	}
	if since := time.Since(next.stage.Done); next.stage.Issuer == "" && since >= 0 && since < surveyInterval {
		return surveyInterval - since, nil
	}
	return surveyInterval, next.run
}

// run goes through the certificates of all issuers, from where the last survey was left.
func (s *survey) run(ctx context.Context) error {
	left := s.stage.Issuer
	for _, issuer := range s.issuers {
		if left != "" && left != issuer.ID() {
			continue
		}
		if left == "" {
			s.stage.Cursor = ""
		}
		left, s.stage.Issuer = "", issuer.ID()
		if err := s.issuer(ctx, issuer); err != nil {
			return err
		}
	}
	s.stage = surveyStage{Done: time.Now().UTC()}
	return noteStage(ctx, s.lease, s.stage)
}

// issuer goes through the certificates of one issuer.
func (s *survey) issuer(ctx context.Context, issuer *gatedIssuer) error {
	n := 0
	for item, err := range unstuck(ctx, patience{storageTimeout, errSlowStorage}, func(ctx context.Context) iter.Seq2[storage.Record, error] {
		return storage.Scan(ctx, s.store, record.CertificatePrefix(issuer.ID()), s.stage.Cursor)
	}) {
		if err != nil && item.Key == "" {
			return err
		}
		if err == nil {
			s.record(ctx, item)
		}
		if n++; n%surveyPage == 0 {
			s.stage.Cursor = item.Cursor
			if err := noteStage(ctx, s.lease, s.stage); err != nil {
				return err
			}
			if err := pause(ctx, surveyPause+time.Duration(s.polls)*pollSpread); err != nil {
				return err
			}
			s.polls = 0
		}
	}
	return nil
}

// record puts the certificate under management if it was obtained on demand and is due soon. One that has ended is left to the
// next handshake.
func (s *survey) record(ctx context.Context, item storage.Record) {
	issuer, name, keyType, ok := record.ParseCertificateKey(item.Key)
	if !ok || !record.IsOnDemand(item.Value) || s.catalogue.lookup(name) != nil {
		return
	}
	subjects, err := s.normalized(Subject{Names: []string{name}})
	if err != nil || subjects[0].name() != name {
		return // also if no issuer supports it any more
	}
	first := newEntry(subjects[0], onDemand|surveyed)
	e := familyOf(first).ofKind(keyType)
	if e == nil {
		return // none of Config.KeyTypes
	}
	r, err := s.obtainer.archive.decode(item.Value, &e.subject)
	if err != nil || !s.isDue(r) && !s.isPolled(r) {
		return
	}
	if len(s.issuers) > 1 {
		if r, err = s.obtainer.archive.newest(ctx, e); err != nil || r == nil || r.Issuer != issuer || !s.isDue(r) && !s.isPolled(r) {
			return
		}
	}
	e.offer(r)
	e.progress.loaded()
	if !s.isDue(r) {
		s.polls++
		at := time.Now().Add(spreadOf(min(s.catalogue.index.Len(), surveyPage)))
		e.progress.change(func(s *lifecycle.State) { s.PollAt(at) })
	}
	if s.catalogue.adopt(first) {
		s.update(slices.Collect(familyOf(first).all())...)
		s.obtainer.residents.add(e)
	}
}

// isDue reports whether the certificate is to be renewed before the next survey, and before it ends.
func (s *survey) isDue(r *record.Certificate) bool {
	return r.End.After(time.Now()) && renewal(r).Before(s.horizon)
}

// isPolled reports whether the certificate's issuer is to be asked when to renew it.
func (s *survey) isPolled(r *record.Certificate) bool {
	now := time.Now()
	isNew := now.Before(r.Obtained.Add(schedule.FirstPoll(0, 1))) && !record.IsAhead(r.Obtained, now)
	f := factsOf(r)
	return r.End.After(now) && !isNew && s.obtainer.pollable(&f) != nil
}

// leave ends the management of an entry that came by a survey, and of its alternatives, if no handshake has asked for any of
// them and for none there is anything to do before the next survey.
func (o *obtainer) leave(e *entry) {
	if !e.roles.has(surveyed) {
		return
	}
	first := o.catalogue.covering(e.identifiers[0].Value)
	if !familyOf(first).has(e) {
		return
	}
	for a := range familyOf(first).all() {
		if !isSurveyedInVain(a, time.Now()) {
			return
		}
	}
	o.retire(o.catalogue.evict(first), nil)
}

// isSurveyedInVain reports whether a survey alone has led to the entry, and there is nothing to do for it.
func isSurveyedInVain(e *entry, now time.Time) bool {
	if !e.roles.has(surveyed) || !e.roles.has(onDemand) || e.roles.has(unstored) {
		return false
	}
	s := e.progress.snapshot(now)
	isRenewed := s.failure == nil && s.deferral == nil && !s.renewal.Before(now.Add(surveyHorizon))
	return e.progress.isLoaded() && !s.working && (isRenewed || !now.Before(e.end()) || e.roles.has(gone))
}
