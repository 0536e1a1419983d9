package certmanager

import (
	"context"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A rule says what may go of what is stored below a prefix.
type rule struct {
	prefix string
	// mayGo reports whether the record at the key may be one that goes. It is asked for each key, and reads nothing.
	mayGo func(key string) bool
	// judge reports whether the record goes, once what depends on it is gone. What it does not know stays, which is no
	// error. An error is one of the storage, with which the sweep ends.
	judge func(ctx context.Context, r storage.Record) (goes bool, err error)
}

// rules are those of a sweep, in their order. Below other prefixes nothing is touched: accounts, authorities and revocations
// are never left over, and the records of DNS challenges say what is still to be deleted in zones.
func (s *sweep) rules() []rule {
	every := func(string) bool { return true }
	works, certificates, ages := workRule{s}, &certificateRule{workRule: workRule{s}}, ageRule{&s.stage}
	return []rule{
		{"challenges/http-01", every, ages.judgeAnswer},
		{"challenges/tls-alpn-01", every, ages.judgeAnswer},
		{"challenges/responder", every, ages.judgeAnswer},
		{record.AllWork, works.mayGo, works.judge},
		{record.AllCertificates, certificates.mayGo, certificates.judge},
		{record.AllDeletions, every, ages.judgeDeletion},
		{record.AllCopies, every, ages.judgeCopy},
		{probePrefix, every, ages.judgeProbe},
		{record.BudgetPrefix, every, ages.judgeBudget},
	}
}

// An ageRule is for what goes by its age alone.
type ageRule struct{ stage *sweepStage }

// judgeAnswer is for the answer to a challenge: no CA keeps an authorization pending for so long.
func (a ageRule) judgeAnswer(_ context.Context, r storage.Record) (goes bool, err error) {
	published, err := solver.AnswerTime(r.Value)
	return err == nil && a.stage.isOld(published, quietAge), nil
}

// judgeDeletion is for what is left of a deleted certificate: who still serves it knows by then that it has ended.
func (a ageRule) judgeDeletion(_ context.Context, r storage.Record) (goes bool, err error) {
	d, err := record.DecodeDeletion(r.Value)
	return err == nil && a.stage.isOld(d.Deleted, endedAge) && (d.End.IsZero() || a.stage.isOld(d.End, endedAge)), nil
}

// judgeCopy is for the copy of a record that could not be read.
func (a ageRule) judgeCopy(_ context.Context, r storage.Record) (goes bool, err error) {
	return record.IsCopy(r.Key, r.Value) && a.stage.hasStood(r, copyAge), nil
}

// judgeProbe is for what a process left that was killed when it wrote to see whether it can.
func (a ageRule) judgeProbe(_ context.Context, r storage.Record) (goes bool, err error) {
	return string(r.Value) == probeText && a.stage.hasStood(r, probeAge), nil
}

// judgeBudget is for what was counted for a CA's limit: of a bucket that is full again nothing need be known.
func (a ageRule) judgeBudget(_ context.Context, r storage.Record) (goes bool, err error) {
	return record.IsSpareBudget(r.Key, r.Value, a.stage.now()), nil
}
