package certmanager

import (
	"context"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	defaultFollowInterval = time.Minute // Config.FollowInterval if that is zero
	usualCompared         = 10000       // names, up to which that is the interval
)

// nextInterval returns how long after one comparison with the storage the next is due, which is never all of the members'
// time at once. A comparison reads every value: of more names there are fewer, so that they cost no more.
func (f follower) nextInterval() time.Duration {
	interval := f.interval
	if interval == 0 {
		interval = defaultFollowInterval * time.Duration(max(usualCompared, f.catalogue.index.Len())) / usualCompared
	}
	return interval*3/4 + rand.N(interval/4+1)
}

// compareAgain compares what is served with what the storage has, until ctx ends: each time that changes may have been
// missed, if missed tells that, or else at intervals.
func (f follower) compareAgain(ctx context.Context, missed <-chan struct{}) {
	if f.interval < 0 {
		return
	}
	for pause(ctx, f.nextInterval()) == nil {
		if missed != nil {
			select {
			case <-missed:
			case <-ctx.Done():
				return
			}
		}
		f.compare(ctx)
	}
}

// compare finds what other processes have obtained since, replaced and deleted. One record after the other is looked at, and
// nothing kept of it. A storage that fails, or has lost all, is not believed that anything was deleted.
func (f follower) compare(ctx context.Context) {
	for e := range f.catalogue.all() {
		e.roles.unset(seen)
	}
	some := false
	for _, issuer := range f.issuers {
		for item, err := range patientScan(ctx, f.store, record.CertificatePrefix(issuer.ID())) {
			if err != nil && item.Key == "" {
				f.logger.DebugContext(ctx, "the storage can't be read for what other processes have changed; it will be again", "error", err)
				return
			}
			some = true
			f.compareOne(ctx, issuer.ID(), item, err)
		}
	}
	if !some {
		return
	}
	for e := range f.catalogue.all() {
		if s := e.held(); s != nil && !e.roles.has(seen) && ctx.Err() == nil {
			f.reload(ctx, e.certificateKey(s.issuer))
		}
	}
}

// compareOne has a stored record served if it is newer than what is. An error is that of reading it: it is there.
func (f follower) compareOne(ctx context.Context, issuer string, item storage.Record, err error) {
	_, name, keyType, ok := record.ParseCertificateKey(item.Key)
	if !ok {
		return
	}
	e := f.catalogue.subject(name, keyType)
	if e == nil {
		return
	}
	s := e.held()
	if s != nil && s.issuer == issuer {
		e.roles.set(seen)
	}
	if err != nil || s != nil && record.ObtainedAt(item.Value, s.obtainedAt()) {
		return
	}
	obtained, known := record.Obtained(item.Value)
	if known && (s == nil || record.Newer(obtained, s.obtainedAt(), time.Now())) {
		f.reload(ctx, item.Key)
	}
}

// patientScan is [storage.Scan], given up if it hangs: the last pair has the error, and a zero Record.
func patientScan(ctx context.Context, s storage.Store, prefix string) iter.Seq2[storage.Record, error] {
	return unstuck(ctx, patience{scanTimeout, errSlowScan}, func(ctx context.Context) iter.Seq2[storage.Record, error] {
		return storage.Scan(ctx, s, prefix, "")
	})
}
