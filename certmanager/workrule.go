package certmanager

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// A workRule is for the records of work on certificates that are not managed here. One goes if it says nothing, or if nothing was
// done or planned for long, with the keys that it has.
type workRule struct{ *sweep }

// mayGo reports whether the key is of work that this process has no part in.
func (w workRule) mayGo(key string) bool {
	first, subject, keyType, ok := record.ParseWorkKey(key)
	return ok && (first != w.issuers[0].ID() || w.catalogue.subject(subject, keyType) == nil)
}

// judge reports whether the record goes.
func (w workRule) judge(ctx context.Context, r storage.Record) (goes bool, err error) {
	value, held, err := storage.LeaseValue(r.Value)
	if err != nil {
		return false, nil
	}
	if !held && record.SaysNothing(value) {
		return w.mayGo(r.Key), nil
	}
	first, _, _, _ := record.ParseWorkKey(r.Key)
	left, err := record.DecodeWork(value, first)
	if err != nil || !w.isQuiet(r, value, held) {
		return false, nil
	}
	// What is under way may have the key of a certificate.
	lives, err := w.hasCertificate(ctx, r.Key, left)
	if err != nil || lives || !w.mayGo(r.Key) {
		return false, err
	}
	if !hasDistantKeys(left) {
		return true, nil
	}
	return false, w.erase(ctx, r.Key)
}

// isQuiet reports whether nothing was done or planned for long by the record of work. One that has no time, or is held by
// whoever is dead by then, has not changed for as long as it has been seen.
func (w workRule) isQuiet(r storage.Record, value []byte, held bool) bool {
	last := record.LatestTime(value)
	if held || last.IsZero() {
		return w.stage.hasStood(r, quietAge) && (last.IsZero() || w.stage.isOld(last, quietAge))
	}
	return w.stage.isOld(last, quietAge)
}

// hasCertificate reports whether a certificate that the work may have come to is there, and has not ended long ago.
func (w workRule) hasCertificate(ctx context.Context, key string, left record.Work) (lives bool, err error) {
	_, subject, keyType, _ := record.ParseWorkKey(key)
	for issuer := range left.Journals {
		item, err := w.steady.load(ctx, record.CertificateKey(issuer, subject, keyType))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, storage.ErrSealed):
			return true, nil
		case err != nil:
			return false, err
		}
		c, err := record.DecodeCertificate(item.Value, nil, nil)
		if err != nil || !w.stage.isOld(c.NotAfter, endedAge) {
			return true, nil
		}
	}
	return false, nil
}

// hasDistantKeys reports whether the work has keys that are kept elsewhere.
func hasDistantKeys(left record.Work) bool {
	for _, j := range left.Journals {
		if j.Key.Reference != "" {
			return true
		}
	}
	return len(left.Unused) > 0
}

// erase deletes the keys that the record of work has, and then the record: under its lease, so that nobody works with them.
func (w workRule) erase(ctx context.Context, key string) error {
	e := eraser{deletion{w.archive}}
	if e.keyring.keys == nil {
		return nil // they are another member's to delete
	}
	patient, cancel := context.WithTimeout(ctx, 2*leaseTerm)
	defer cancel()
	held, err := e.awaitWork(patient, key)
	if err != nil {
		return ctx.Err() // if somebody has it, it is looked at by the next sweep
	}
	first, _, _, _ := record.ParseWorkKey(key)
	if err = held.read(first); err != nil || !w.stage.isOld(record.LatestTime(held.stored), quietAge) {
		return held.release(ctx)
	}
	if err = e.deleteAllKeys(held.context(), held); err != nil {
		w.logger.LogAttrs(ctx, slog.LevelDebug, "keys that nobody needs any more can't be deleted", slog.String("record", key), slog.String("error", err.Error()))
		return held.release(ctx)
	}
	defer held.end(nil)
	if err = attend(ctx, storeTimeout, held.lease.Delete); err == nil {
		w.count(record.AllWork)
	}
	return ctx.Err()
}
