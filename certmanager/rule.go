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
	works, certificates := workRule{s}, &certificateRule{workRule: workRule{s}}
	return []rule{
		{"challenges/http-01", every, s.judgeAnswer},
		{"challenges/tls-alpn-01", every, s.judgeAnswer},
		{"challenges/responder", every, s.judgeAnswer},
		{record.AllWork, works.mayGo, works.judge},
		{record.AllCertificates, certificates.mayGo, certificates.judge},
		{record.AllDeletions, every, s.judgeDeletion},
		{record.AllCopies, every, s.judgeCopy},
		{probePrefix, every, s.judgeProbe},
		{record.BudgetPrefix, every, s.judgeBudget},
	}
}

// judgeAnswer is for the answer to a challenge: no CA keeps an authorization pending for so long.
func (s *sweep) judgeAnswer(_ context.Context, r storage.Record) (goes bool, err error) {
	published, err := solver.AnswerTime(r.Value)
	return err == nil && s.stage.isOld(published, quietAge), nil
}

// judgeDeletion is for what is left of a deleted certificate: who still serves it knows by then that it has ended.
func (s *sweep) judgeDeletion(_ context.Context, r storage.Record) (goes bool, err error) {
	d, err := record.DecodeDeletion(r.Value)
	return err == nil && s.stage.isOld(d.Deleted, endedAge) && (d.End.IsZero() || s.stage.isOld(d.End, endedAge)), nil
}

// judgeCopy is for the copy of a record that could not be read.
func (s *sweep) judgeCopy(_ context.Context, r storage.Record) (goes bool, err error) {
	return record.IsCopy(r.Key, r.Value) && s.stage.hasStood(r, copyAge), nil
}

// judgeProbe is for what a process left that was killed when it wrote to see whether it can.
func (s *sweep) judgeProbe(_ context.Context, r storage.Record) (goes bool, err error) {
	return string(r.Value) == probeText && s.stage.hasStood(r, probeAge), nil
}

// judgeBudget is for what was counted for a CA's limit: of a bucket that is full again nothing need be known.
func (s *sweep) judgeBudget(_ context.Context, r storage.Record) (goes bool, err error) {
	return record.IsSpareBudget(r.Key, r.Value, s.stage.now()), nil
}
