package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// takeKey sees to it that the journal has a key that can sign: the one of the order under way, or a new one. Of one that
// Config.Keys makes the reference is stored first, and with it that the key of what it replaces is to be deleted, some day.
func (i *issuance) takeKey(ctx context.Context) error {
	j, ring := i.journal, i.keyring
	if j.Key.Signer != nil {
		return nil
	}
	if ring.keys == nil {
		i.work.Unused.Add(j.Key.Reference, time.Now()) // another configuration's
		key, err := ring.generate(ctx, i.entry.keyType())
		if err != nil {
			return err
		}
		j.Key, j.Notes = record.Key{Signer: key}, nil
		return nil
	}
	if j.Key.Reference == "" {
		j.Key, j.Notes = record.Key{Reference: newReference("certificate")}, nil
	}
	// Other members, and those that lag behind, may serve the predecessor for as long as it is valid.
	for _, stored := range i.stored {
		if stored.Certificate != nil {
			i.work.Unused.Add(stored.Key.Reference, stored.NotAfter)
		}
	}
	if err := i.work.save(ctx); err != nil {
		return storageFailure(fmt.Errorf("record the reference before the key is made: %w", err))
	}
	signer, err := ring.create(ctx, j.Key.Reference, i.entry.keyType())
	if err != nil {
		return err
	}
	j.Key.Signer = signer
	return nil
}

// deleteKeys deletes the keys that nobody can need any more. That they are not used is stored before: nobody who takes
// over the work comes upon one.
func (a *attempt) deleteKeys(ctx context.Context) {
	w := a.work
	if a.keyring.keys == nil || !w.ours || len(w.Unused.Due(time.Now())) == 0 || w.context().Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	err := w.save(ctx)
	if err == nil {
		w.Unused, err = a.keyring.deleteUnused(ctx, w.Unused, a.isInUse)
	}
	if err != nil && ctx.Err() == nil {
		a.warn(ctx, "", fmt.Errorf("certmanager: %v: keys that are not used any more are still there: %w", &a.entry.subject, err))
	}
}

// isInUse reports whether a key is that of the certificate that is served, however old, or of an order under way.
func (a *attempt) isInUse(ref string) bool {
	for _, j := range a.work.Journals {
		if j.Key.Reference == ref {
			return true
		}
	}
	s := a.entry.served.Load()
	if s == nil {
		for _, stored := range a.stored {
			if stored.Certificate != nil && stored.Key.Reference == ref {
				return true
			}
		}
		return false
	}
	d, ok := s.PrivateKey.(*distantKey)
	return ok && d.ref == ref
}

// retireKey notes in the work that the key of a stored certificate, which is about to be replaced by one that was not obtained,
// is to be deleted when that is valid no more. Of a key that is in the record there is nothing to be noted.
func (o *obtainer) retireKey(ctx context.Context, e *entry, stored []byte) error {
	c, err := record.DecodeCertificate(stored, nil, &o.archive.intermediates)
	if err != nil || c.Key.Reference == "" {
		return nil // what can't be read tells of no key
	}
	first := o.issuers[0].ID()
	w, err := o.awaitWork(ctx, e.workKey(first))
	if err != nil {
		return storageFailure(fmt.Errorf("note that the key of the present one is to be deleted: %w", err))
	}
	if err = w.read(first); err == nil {
		w.Unused.Add(c.Key.Reference, c.NotAfter)
		err = w.save(w.context())
	}
	if err = errors.Join(err, w.release(ctx)); err != nil {
		return storageFailure(fmt.Errorf("note that the key of the present one is to be deleted: %w", err))
	}
	return nil
}

// deleteAllKeys deletes the keys of work in vain, before its record is.
func (o *obtainer) deleteAllKeys(ctx context.Context, w *work) error {
	var all record.UnusedKeys
	for _, key := range w.Unused {
		all.Add(key.Reference, time.Time{})
	}
	for _, j := range w.Journals {
		all.Add(j.Key.Reference, time.Time{})
	}
	_, err := o.keyring.deleteUnused(ctx, all, func(string) bool { return false })
	return err
}
